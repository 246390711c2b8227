//! From the queue to standard output, on a thread of its own: a pipe that nobody reads blocks that thread, and
//! no request.

use std::fmt;
use std::io::Write;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::layer::{TerminalLayer, TerminalLog};
use super::{Format, document};
use crate::telemetry::delivery::{Ledger, Tally};
use crate::telemetry::observe::{LogEvent, RequestRecord};

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
        self.ledger.enter(|tally| tally.queue(1));
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
    done: Mutex<Receiver<()>>,
}

impl Terminal {
    pub(super) fn start(
        format: Format,
        trees: bool,
        out: impl Write + Send + 'static,
        ledger: Arc<Ledger>,
    ) -> std::io::Result<Self> {
        let (sender, items) = mpsc::sync_channel(QUEUE);
        let (finished, done) = mpsc::sync_channel(1);
        let queue = Queue { sender: Arc::new(Mutex::new(Some(sender))), ledger: Arc::clone(&ledger) };
        thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            write_all(&items, format, out, &ledger);
            // Where the deadline has passed, nobody waits for it.
            finished.send(()).ok();
        })?;
        Ok(Self { queue, format, trees, done: Mutex::new(done) })
    }

    /// The layer that shows requests, where they are shown.
    #[must_use]
    pub fn layer(&self) -> Option<TerminalLayer> {
        self.trees.then(|| TerminalLayer(self.queue.clone()))
    }

    /// The view that shows log events.
    #[must_use]
    pub fn log_view(&self) -> TerminalLog {
        TerminalLog { queue: self.queue.clone(), format: self.format, trees: self.trees }
    }

    /// What became of its items so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.queue.ledger.tally()
    }

    /// Writes out what waits, for `deadline` at most; what is left then is counted as lost.
    pub fn shut_down(&self, deadline: Duration) -> Tally {
        drop(self.queue.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that the time is over, or that the worker is gone; either way the books say what is left.
        done.recv_timeout(deadline).ok();
        self.queue.ledger.enter(|tally| tally.drop_queued("deadline", tally.queued));
        self.queue.ledger.tally()
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
