//! Where failures are looked into: off the requests' threads, and off the one that delivers.
//!
//! Only when a stack is resolved is it known which failure it is, and only then can the budget say whether there is to
//! be an item. Until then a failure is in no ledger; it is entered when that is decided, or when it is lost before.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use std::{io, thread};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Dispatch;
use tracing::dispatcher::set_default;

use super::budget::{Budget, Decision};
use super::document::{Constants, Finding, fingerprint};
use super::exporter::Item;
use super::failure::{Failure, Kind};
use crate::telemetry::delivery::{Ledger, Queue};
use crate::telemetry::observe::new_error_id;

/// How much may wait to be looked into, in bytes and by estimate: 1,200 failures of 7 kB.
const CAPACITY: usize = 8 << 20;

/// Where views leave failures. Cloning shares it.
#[derive(Clone)]
pub(super) struct Desk(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Default)]
struct Waiting {
    failures: VecDeque<Failure>,
    weight: usize,
    /// Whether one has been taken that is in no ledger yet.
    in_hand: bool,
    closed: bool,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self(Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new(), ledger }))
    }

    /// Leaves a failure to be looked into. Never blocks: what finds no room is counted and gone.
    pub(super) fn push(&self, failure: Failure) {
        let mut waiting = self.waiting();
        let weight = waiting.weight.saturating_add(failure.weight());
        let refusal = match waiting.closed {
            true => Some("shut_down"),
            false => (weight > CAPACITY).then_some("queue_full"),
        };
        if let Some(reason) = refusal {
            return self.0.ledger.enter(|tally| tally.refuse(reason, 1));
        }
        let first = waiting.failures.is_empty();
        waiting.failures.push_back(failure);
        waiting.weight = weight;
        drop(waiting);
        if first {
            self.0.changed.notify_one();
        }
    }

    /// Leaves what the delivery has to say of itself, unless it is over anyway.
    pub(super) fn notice(&self, text: String) {
        if !self.waiting().closed {
            let (id, at) = (new_error_id(), SystemTime::now());
            self.push(Failure { id, at, record: None, kind: Kind::Notice(text) });
        }
    }

    /// The oldest failure; waits for one, and returns `None` when there will be none.
    pub(super) fn next(&self) -> Option<Failure> {
        let waiting = self.waiting();
        let idle = |waiting: &mut Waiting| waiting.failures.is_empty() && !waiting.closed;
        let mut waiting = self.0.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        let failure = waiting.failures.pop_front()?;
        waiting.weight = waiting.weight.saturating_sub(failure.weight());
        waiting.in_hand = true;
        Some(failure)
    }

    /// Whether what was taken last may be entered: it has not been given up meanwhile.
    fn settle(&self) -> bool {
        std::mem::take(&mut self.waiting().in_hand)
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().failures.is_empty()
    }

    /// Takes nothing any more.
    fn close(&self) {
        self.waiting().closed = true;
        self.0.changed.notify_one();
    }

    /// Counts what waits, and what is being looked into, as lost.
    fn give_up(&self) {
        let mut waiting = self.waiting();
        let in_hand = std::mem::take(&mut waiting.in_hand);
        let left = std::mem::take(&mut waiting.failures).len() as u64 + u64::from(in_hand);
        drop(waiting);
        if left > 0 {
            self.0.ledger.enter(|tally| tally.refuse("undelivered_at_shutdown", left));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks into failures, one after another.
pub(super) struct Clerk {
    pub(super) constants: Constants,
    pub(super) budget: Budget,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queue: Queue<Item>,
}

impl Clerk {
    /// Decides whether there is to be an item, and draws it.
    fn look_into(&mut self, failure: &Failure, now: Instant) -> Option<Item> {
        let finding = Finding::of(failure);
        let print = fingerprint(&finding, failure);
        let decision = match failure.kind {
            Kind::Notice(_) => self.budget.notice(now),
            Kind::Request | Kind::Event(_) | Kind::Panic(_) => {
                self.budget.decide(now, &print, failure.id, finding.is_panic())
            }
        };
        let Decision::Send(untold) = decision else { return None };
        Some(Item::new(failure.id, self.constants.item(failure, &finding, &print, &untold)))
    }

    /// Leaves an item to be delivered, or counts that there is none.
    fn enter(&self, item: Option<Item>) {
        match item {
            // Where there is no room, the queue counts it.
            Some(item) => _ = self.queue.push(item),
            None => self.ledger.enter(|tally| tally.suppress(1)),
        }
    }
}

/// A clerk at work, on a thread of its own: the first stack takes a tenth of a second.
#[derive(Debug)]
pub(super) struct Work {
    desk: Desk,
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Work {
    pub(super) fn start(desk: Desk, mut clerk: Clerk) -> io::Result<Self> {
        let (finished, done) = oneshot::channel();
        let source = desk.clone();
        thread::Builder::new().name("rollbar".to_owned()).spawn(move || {
            // What it says, and how it fails, must not come back to it.
            let _unobserved = set_default(&Dispatch::none());
            while let Some(failure) = source.next() {
                let item = clerk.look_into(&failure, Instant::now());
                if source.settle() {
                    clerk.enter(item);
                }
            }
            // Where the deadline has passed, nobody waits for it.
            finished.send(()).ok();
        })?;
        Ok(Self { desk, done: Mutex::new(Some(done)) })
    }

    /// Looks into what waits, until `deadline` at most.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        self.desk.close();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            timeout_at(deadline, done).await.ok();
        }
        self.desk.give_up();
    }
}

/// Nobody will ask for it to be shut down.
impl Drop for Work {
    fn drop(&mut self) {
        self.desk.close();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn failure(bytes: usize) -> Failure {
        let kind = Kind::Notice("x".repeat(bytes));
        Failure { id: Uuid::nil(), at: SystemTime::UNIX_EPOCH, record: None, kind }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_what_waits_is_bounded() {
        let desk = Desk::new(Arc::default());
        for _ in 0..100 {
            desk.push(failure(1 << 20));
        }
        assert_eq!(desk.waiting().failures.len(), 7, "8 MiB, and what each stack takes");
        assert_eq!(desk.0.ledger.tally().to_string(), "created 93, delivered 0, dropped 93 (queue_full)");
        // What has been taken makes room.
        assert!(desk.next().is_some());
        desk.push(failure(1));
        assert_eq!(desk.waiting().failures.len(), 7);
    }

    #[test]
    fn at_the_deadline_everything_that_is_not_entered_yet_is_lost_once() {
        let desk = Desk::new(Arc::default());
        for _ in 0..3 {
            desk.push(failure(1));
        }
        assert!(desk.next().is_some() && desk.settle(), "entered");
        assert!(desk.next().is_some());
        desk.close();
        desk.give_up();
        assert!(!desk.settle(), "given up");
        desk.push(failure(1));
        desk.notice("over".to_owned());
        assert!(desk.next().is_none());
        let lost = "created 3, delivered 0, dropped 1 (shut_down), dropped 2 (undelivered_at_shutdown)";
        assert_eq!(desk.0.ledger.tally().to_string(), lost);
    }
}
