//! What becomes of a batch when it has been sent.

use std::sync::Arc;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::{Batch, Worker};
use crate::telemetry::delivery::PANICKED;
use crate::telemetry::delivery::answer::excerpt;
use crate::telemetry::delivery::ledger::Tally;
use crate::telemetry::delivery::sink::{SendError, Sent, Sink};

/// How much is shown of what was said, in characters.
const EXCERPT: usize = 300;

impl<S: Sink> Worker<S> {
    pub(super) fn settle(&mut self, answer: Result<(Id, Result<Sent, SendError>), JoinError>) {
        let id = answer.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(batch) = self.on_its_way.remove(&id) else { return };
        let now = Instant::now();
        match answer {
            Ok((_, Ok(sent))) => {
                self.gate.succeeded(now);
                if batch.aside {
                    self.aside.gate().succeeded(now);
                }
                self.delivered(&batch, &sent);
            }
            Ok((_, Err(SendError::Retry { after, cause }))) => {
                self.failed(batch, now, after, &cause.to_string());
            }
            Ok((_, Err(SendError::Hold { probe, cause }))) => {
                self.gate.hold(now, probe);
                self.come_back(batch, &cause.to_string());
            }
            Ok((_, Err(SendError::Split { reason, cause }))) => {
                // An answer that is about the batch shows that the destination is well.
                self.gate.succeeded(now);
                self.split(batch, reason, &cause.to_string());
            }
            Ok((_, Err(SendError::Reject { reason, cause }))) => {
                self.gate.succeeded(now);
                self.lose(&batch, reason, &cause.to_string());
            }
            Err(_) => self.lose(&batch, PANICKED, "the sink panicked over this batch"),
        }
    }

    fn delivered(&self, batch: &Batch<S::Item>, sent: &Sent) {
        let mut taken = batch.measure().items;
        let mut reject = |(reason, items): &(&'static str, u64)| {
            let items = taken.min(*items);
            taken -= items;
            (*reason, items)
        };
        let rejected: Vec<_> = sent.rejected.iter().map(&mut reject).collect();
        if self.gate.failures() == 0 && taken > 0 {
            self.status.succeeded();
        }
        self.enter(batch, |tally| {
            rejected.iter().for_each(|(reason, items)| tally.drop_queued(reason, *items));
            tally.deliver(taken);
        });
        let rest = if taken > 0 { "the rest was delivered" } else { "nothing was delivered" };
        let why = format!("{rest}{}", excerpt(&sent.said, EXCERPT));
        rejected.iter().for_each(|(reason, items)| self.status.lost(*items, reason, &why));
    }

    /// Enters what became of a batch, which is done with.
    fn enter(&self, batch: &Batch<S::Item>, outcome: impl FnOnce(&mut Tally)) {
        self.queue.ledger().enter(|tally| {
            tally.recall(batch.spooled());
            outcome(tally);
        });
        if batch.held {
            self.queue.settle(batch.measure());
        }
        if let Some(log) = &self.log {
            let places: Vec<_> = batch.places.iter().copied().flatten().collect();
            log.settle(&places);
        }
    }

    pub(super) fn come_back(&mut self, batch: Batch<S::Item>, cause: &str) {
        self.status.failed(cause, self.gate.failures(), self.gate.closed_until());
        self.return_first(batch);
    }

    /// Puts a batch before all that are to be sent again.
    fn return_first(&mut self, batch: Batch<S::Item>) {
        if batch.aside {
            self.aside.push(batch);
        } else {
            self.returned.push_front(batch);
        }
    }

    fn split(&mut self, mut batch: Batch<S::Item>, reason: &'static str, cause: &str) {
        if batch.items.len() < 2 {
            return self.lose(&batch, reason, cause);
        }
        // The task that sent it has ended, and with it the only other reference.
        let Some(items) = Arc::get_mut(&mut batch.items) else { return self.return_first(batch) };
        let mut first = std::mem::take(items);
        let second = batch.split_off(&mut first);
        self.return_first(second);
        self.return_first(Batch { items: Arc::new(first), ..batch });
    }

    pub(super) fn lose(&self, batch: &Batch<S::Item>, reason: &'static str, cause: &str) {
        let measure = batch.measure();
        self.enter(batch, |tally| tally.drop_queued(reason, measure.items));
        self.status.lost(measure.items, reason, cause);
    }
}
