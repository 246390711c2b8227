//! How telemetry leaves the process; it knows no vendor.
//!
//! A view leaves in a [`Queue`], which never blocks, what is to be drawn, or draws it there, on its thread's sheaf. A
//! worker takes the sheaves and has the backend's [`Sink`] draw the rest, decides by pure functions what to send when
//! (`batch`, `gate`), has the sink send it, and enters in the [`Ledger`] what became of it.
//!
//! ```text
//! push_drawn -> sheaf -+  (a full one goes on the wire at once, where a sink can do that without waiting)
//! push -> queue: new -> drawn -> batch -> sink -> the wire
//!                         |       ^ ^       |
//!                         |       | +- gate <+      retry, split, hold, reject; what alone is refused is set aside
//!                         +-> spool               what has waited too long, and outlives the process
//! ```

mod answer;
mod batch;
mod gate;
mod ledger;
mod measure;
mod queue;
mod runtime;
mod sheaf;
mod sink;
mod spool;
mod status;
mod surroundings;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

pub(super) use self::answer::{chain, excerpt, read_beginning};
pub use self::batch::Limits;
pub use self::gate::Backoff;
pub use self::ledger::{Books, Ledger, Tally};
pub use self::measure::Measure;
use self::queue::{Asks, AtOnce, Through};
pub use self::queue::{Gathered, Queue};
pub use self::runtime::Runtime;
pub use self::sheaf::Mark;
pub use self::sink::{BoxError, Rank, SendError, Sent, Sink};
pub use self::spool::{Keep, Kept, Log, Spool, SpoolError};
pub use self::status::{Notice, Status};
pub use self::surroundings::Surroundings;
pub use self::worker::Policy;
use self::worker::Worker;

/// A running delivery to one destination, with a queue, a worker and a ledger of its own: no other can starve it.
#[derive(Debug)]
pub struct Delivery<T> {
    queue: Queue<T>,
    status: Status,
    log: Option<Log>,
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
        Self::start_spooled(sink, policy, status, ledger, None, runtime)
    }

    /// The same, but what cannot be delivered for a while is kept in `log`, where there is one: the sink must say how
    /// its items are written and read.
    pub fn start_spooled<S: Sink<Item = T>>(
        sink: S,
        policy: Policy,
        status: Status,
        ledger: Arc<Ledger>,
        log: Option<Log>,
        runtime: &Runtime,
    ) -> Self {
        let sink = Arc::new(sink);
        let through = log.clone().filter(Log::writes_through).map(|log| {
            let (sink, ledger) = (Arc::clone(&sink), Arc::clone(&ledger));
            let through: Through<T> = Box::new(move |item, items| {
                let Some(item) = unless_panics(|| sink.draw(item)) else {
                    ledger.enter(|tally| tally.refuse(PANICKED, items));
                    return Ok(log.waits().0);
                };
                let written = log.write_through(S::rank(&item), items, |into| sink.encode(&item, into));
                written.ok_or(item)
            });
            through
        });
        let at_once: AtOnce = {
            let sink = Arc::clone(&sink);
            Box::new(move |sheaf| {
                let sent = sheaf.pieces().and_then(|pieces| unless_panics(|| sink.send_at_once(pieces)));
                sent.unwrap_or_default()
            })
        };
        let asks = Asks { measure: S::measure, gathered: S::GATHERED, at_once, through };
        let queue = Queue::new(asks, policy.capacity, policy.batch, ledger);
        let (deadline, due) = watch::channel(None);
        let (finished, done) = oneshot::channel();
        let worker = Worker::new(sink, queue.clone(), policy, status.clone(), log.clone());
        runtime.spawn(async move {
            worker.run(due).await;
            // Nobody may be waiting.
            finished.send(()).ok();
        });
        Self { queue, status, log, deadline, done: std::sync::Mutex::new(Some(done)) }
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

    /// What it has on disk; `None` where it has nothing to do with the disk.
    #[must_use]
    pub fn kept(&self) -> Option<Kept> {
        self.log.as_ref().map(Log::kept)
    }

    /// Takes nothing more, and delivers what waits until `deadline` at most. What is left is spooled, or counted as
    /// lost.
    pub async fn shut_down(&self, deadline: Instant) -> Tally {
        self.queue.close();
        self.deadline.send_replace(Some(deadline));
        let done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(done) = done {
            // The worker keeps the deadline itself; a little more covers the way back.
            timeout_at(deadline + std::time::Duration::from_millis(200), done).await.ok();
        }
        // Where the worker is stuck or gone, nobody else will say so.
        self.queue.ledger().enter(|tally| tally.drop_queued(UNDELIVERED, tally.queued));
        self.queue.ledger().tally()
    }
}

/// Why something may still be undelivered at the end.
const UNDELIVERED: &str = "undelivered_at_shutdown";

/// Why something may be lost over which its sink panics.
const PANICKED: &str = "sink_panicked";

/// What `f` returns, unless it panics. Whoever calls this drops what panicked, so that nothing broken is looked at again.
fn unless_panics<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
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
