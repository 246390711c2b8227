//! How telemetry leaves the process; it knows no vendor.
//!
//! A view pushes on a [`Queue`], which never blocks. A worker takes what waits, decides by pure functions what to
//! send when (`batch`, `gate`), has the backend's [`Sink`] send it, and enters in the [`Ledger`] what became of it.
//!
//! ```text
//! push -> queue -> batch -> sink -> the wire
//!                    ^        |
//!                    +- gate <+       retry, split, hold, reject
//! ```

mod batch;
mod gate;
mod ledger;
mod queue;
mod runtime;
mod sink;
mod status;
mod worker;

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

pub use self::batch::Limits;
pub use self::gate::Backoff;
pub use self::ledger::{Books, Ledger, Tally};
pub use self::queue::{Measure, Queue};
pub use self::runtime::Runtime;
pub use self::sink::{BoxError, SendError, Sent, Sink};
pub use self::status::{Notice, Status};
pub use self::worker::Policy;
use self::worker::Worker;

/// A running delivery to one destination, with a queue, a worker and a ledger of its own: no other can starve it.
#[derive(Debug)]
pub struct Delivery<T> {
    queue: Queue<T>,
    status: Status,
    deadline: watch::Sender<Option<Instant>>,
    done: std::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl<T: Send + Sync + 'static> Delivery<T> {
    /// Starts to deliver through `sink`, on `runtime`, by the books of `ledger`.
    pub fn start<S: Sink<Item = T>>(
        sink: S,
        policy: Policy,
        status: Status,
        ledger: Arc<Ledger>,
        runtime: &Runtime,
    ) -> Self {
        let queue = Queue::new(S::measure, policy.capacity, policy.batch, ledger);
        let (deadline, due) = watch::channel(None);
        let (finished, done) = oneshot::channel();
        let worker = Worker::new(sink, queue.clone(), policy, status.clone());
        runtime.spawn(async move {
            worker.run(due).await;
            // Nobody may be waiting.
            finished.send(()).ok();
        });
        Self { queue, status, deadline, done: std::sync::Mutex::new(Some(done)) }
    }

    /// Where to push.
    #[must_use]
    pub fn queue(&self) -> &Queue<T> {
        &self.queue
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Takes nothing more, and delivers what waits until `deadline` at most. What is left is counted as lost.
    pub async fn shut_down(&self, deadline: Instant) -> Tally {
        self.queue.close();
        self.deadline.send_replace(Some(deadline));
        let done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(done) = done {
            // The worker keeps the deadline itself; a little more covers the way back.
            timeout_at(deadline + std::time::Duration::from_millis(200), done).await.ok();
        }
        self.queue.ledger().tally()
    }
}

/// A number in `0.0..1.0`.
pub(super) fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState has keys of its own, drawn from the operating system's randomness.
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a mantissa holds")]
    let (bits, range) = (bits as f64, (1_u64 << 53) as f64);
    bits / range
}
