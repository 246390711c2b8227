//! From the queue to standard output, on a thread of its own: a pipe that nobody reads blocks that thread, and
//! no request.

use std::fmt;
use std::io::Write;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::layer::{TerminalLayer, TerminalLog, Trees};
use super::{Format, document};
use crate::telemetry::delivery::{Ledger, Notice};
use crate::telemetry::observe::{EnlistLayer, LogEvent, RequestRecord};

/// How many items may wait. At 2 kB a record, 8 MB.
const QUEUE: usize = 4096;

/// What the terminal shows.
#[derive(Debug)]
pub(super) enum Item {
    Record(Arc<RequestRecord>),
    Event(Arc<LogEvent>),
}

/// Where views leave their items: never blocks; what finds no room is counted.
#[derive(Clone)]
pub(super) struct Queue {
    sender: Arc<Mutex<Option<SyncSender<Item>>>>,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn push(&self, item: Item) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else {
            return self.ledger.enter(|tally| tally.refuse("shut_down", 1));
        };
        // Entered first, so that the worker never delivers what is not in the books.
        self.ledger.queue(1);
        match sender.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.ledger.enter(|tally| tally.drop_queued("queue_full", 1)),
            Err(TrySendError::Disconnected(_)) => {
                self.ledger.enter(|tally| tally.drop_queued("worker_gone", 1));
            }
        }
    }
}

/// The running terminal.
#[derive(Debug)]
pub struct Terminal {
    queue: Queue,
    format: Format,
    trees: bool,
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Terminal {
    /// Starts the worker, which writes to `out`. With `trees` off, requests are not shown, and their log events are
    /// printed as they happen.
    ///
    /// # Errors
    /// The operating system did not give a thread.
    pub fn start(
        format: Format,
        trees: bool,
        out: impl Write + Send + 'static,
        ledger: Arc<Ledger>,
    ) -> std::io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(QUEUE);
        let (finished, done) = oneshot::channel();
        let queue = Queue { sender: Arc::new(Mutex::new(Some(sender))), ledger: Arc::clone(&ledger) };
        thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            write_all(&items, format, out, &ledger);
            // Where the deadline has passed, nobody waits for it.
            finished.send(()).ok();
        })?;
        Ok(Self { queue, format, trees, done: Mutex::new(Some(done)) })
    }

    /// The layer that shows requests, where they are shown.
    #[must_use]
    pub fn layer(&self) -> Option<TerminalLayer> {
        self.trees.then(|| EnlistLayer(Trees(self.queue.clone())))
    }

    /// The view that shows log events.
    #[must_use]
    pub fn log_view(&self) -> TerminalLog {
        TerminalLog { queue: self.queue.clone(), format: self.format, trees: self.trees }
    }

    /// Shows what deliveries have to say, as log events that no other backend sees.
    #[must_use]
    pub fn notice(&self) -> Notice {
        let queue = self.queue.clone();
        Arc::new(move |level, message| queue.push(Item::Event(Arc::new(LogEvent::notice(level, message)))))
    }

    /// How it is doing, in a sentence.
    #[must_use]
    pub fn state(&self) -> String {
        match self.queue.ledger.tally().lost() {
            0 => "writing to standard output".to_owned(),
            lost => format!("writing to standard output, which was too slow or gone for {lost} items"),
        }
    }

    /// Writes out what waits, until `deadline` at most; what is left then is counted as lost.
    pub async fn shut_down(&self, deadline: Instant) {
        drop(self.queue.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            // An error means that the time is over, or that the worker is gone; the books say what is left.
            timeout_at(deadline, done).await.ok();
        }
        self.queue.ledger.enter(|tally| tally.drop_queued("deadline", tally.queued));
    }
}

fn write_all(items: &Receiver<Item>, format: Format, mut out: impl Write, ledger: &Ledger) {
    while let Ok(first) = items.recv() {
        // All that waits leaves in one write.
        let mut text = String::new();
        let mut count = 0;
        for item in std::iter::once(first).chain(items.try_iter()).take(QUEUE) {
            text.push_str(&document::render(&item, format));
            count += 1;
        }
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        ledger.enter(|tally| match written {
            Ok(()) => tally.deliver(count),
            Err(_) => tally.drop_queued("write_failed", count),
        });
    }
}
