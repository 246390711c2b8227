//! What became of every item that a backend was given.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// One backend's account. The books balance at every moment:
/// created = delivered + sampled out + suppressed + dropped + queued + spooled.
#[derive(Debug, Default)]
pub struct Ledger {
    tally: Mutex<Tally>,
    /// Items that have been queued since the last entry.
    queued: AtomicU64,
}

/// A ledger's figures at one moment, in items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// What the backend was given.
    pub created: u64,
    /// What its destination has taken.
    pub delivered: u64,
    /// What its sampler did not want.
    pub sampled_out: u64,
    /// What its budget did not allow.
    pub suppressed: u64,
    /// What was lost, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// What waits in memory.
    pub queued: u64,
    /// What waits on disk.
    pub spooled: u64,
}

impl Ledger {
    /// Changes the account; one call is one entry, so that the books never show half of it.
    pub fn enter(&self, entry: impl FnOnce(&mut Tally)) {
        entry(&mut self.current());
    }

    /// Enters that items are given to the backend and wait in its queue, as every request does for each backend: without
    /// the lock.
    pub fn queue(&self, items: u64) {
        self.queued.fetch_add(items, Ordering::Relaxed);
    }

    /// The figures now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.current().clone()
    }

    fn current(&self) -> MutexGuard<'_, Tally> {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.queue(self.queued.swap(0, Ordering::Relaxed));
        tally
    }
}

/// All ledgers, by the names of their backends. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Books(Arc<Mutex<Vec<Account>>>);

type Account = (&'static str, Arc<Ledger>);

impl Books {
    /// A new ledger under `backend`.
    #[must_use]
    pub fn open(&self, backend: &'static str) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((backend, Arc::clone(&ledger)));
        ledger
    }

    /// Every backend's figures now, in the order of their opening.
    #[must_use]
    pub fn tallies(&self) -> Vec<(&'static str, Tally)> {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        books.iter().map(|(backend, ledger)| (*backend, ledger.tally())).collect()
    }
}

impl Tally {
    /// Items are given to the backend and wait in its queue.
    pub(super) fn queue(&mut self, items: u64) {
        self.created += items;
        self.queued += items;
    }

    /// Items are given to the backend and lost at once.
    pub fn refuse(&mut self, reason: &'static str, items: u64) {
        self.created += items;
        self.lose(reason, items);
    }

    /// Queued items are on disk now.
    pub fn spool(&mut self, items: u64) {
        self.spooled += self.unqueue(items);
    }

    /// Spooled items are about to be delivered or lost, and count as queued until that is entered.
    pub fn recall(&mut self, items: u64) {
        let taken = items.min(self.spooled);
        self.spooled -= taken;
        self.queued += taken;
    }

    /// A former process has left items on disk: they are this one's now, as if it had been given them.
    pub fn adopt(&mut self, items: u64) {
        self.created += items;
        self.spooled += items;
    }

    /// Items that the sampler does not want.
    pub fn sample_out(&mut self, items: u64) {
        self.created += items;
        self.sampled_out += items;
    }

    /// Items that the budget does not allow.
    pub fn suppress(&mut self, items: u64) {
        self.created += items;
        self.suppressed += items;
    }

    /// Every outcome but `dropped`, by its name.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        let Self { delivered, sampled_out, suppressed, queued, spooled, .. } = *self;
        [
            ("delivered", delivered),
            ("sampled_out", sampled_out),
            ("suppressed", suppressed),
            ("queued", queued),
            ("spooled", spooled),
        ]
    }

    /// Queued items have been taken by their destination. Those that were given up before, at a deadline, stay
    /// lost.
    pub fn deliver(&mut self, items: u64) {
        self.delivered += self.unqueue(items);
    }

    /// Queued items are lost.
    pub fn drop_queued(&mut self, reason: &'static str, items: u64) {
        let lost = self.unqueue(items);
        self.lose(reason, lost);
    }

    /// Takes items out of the queue, as many as there are.
    fn unqueue(&mut self, items: u64) -> u64 {
        let taken = items.min(self.queued);
        self.queued -= taken;
        taken
    }

    fn lose(&mut self, reason: &'static str, items: u64) {
        if items > 0 {
            *self.dropped.entry(reason).or_default() += items;
        }
    }

    /// All that was lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether every item is accounted for.
    #[must_use]
    pub fn balances(&self) -> bool {
        let known = self.delivered + self.sampled_out + self.suppressed + self.queued + self.spooled;
        self.created == known + self.lost()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, delivered, sampled_out, suppressed, dropped, queued, spooled } = self;
        write!(f, "created {created}, delivered {delivered}")?;
        let rest = [("sampled out", sampled_out), ("suppressed", suppressed)];
        let waiting = [("queued", queued), ("spooled", spooled)];
        for (name, items) in rest.into_iter().chain(waiting).filter(|(_, items)| **items > 0) {
            write!(f, ", {name} {items}")?;
        }
        dropped.iter().try_for_each(|(reason, items)| write!(f, ", dropped {items} ({reason})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_keeps_the_books_balanced() {
        let ledger = Ledger::default();
        let entries: [fn(&Ledger); 10] = [
            |ledger| ledger.enter(|tally| tally.adopt(4)),
            |ledger| ledger.enter(|tally| tally.recall(4)),
            |ledger| ledger.enter(|tally| tally.deliver(4)),
            |ledger| ledger.queue(5),
            |ledger| ledger.enter(|tally| tally.refuse("queue_full", 2)),
            |ledger| ledger.enter(|tally| tally.deliver(3)),
            |ledger| ledger.enter(|tally| tally.drop_queued("write_failed", 1)),
            |ledger| ledger.enter(|tally| tally.drop_queued("deadline", tally.queued)),
            |ledger| ledger.enter(|tally| tally.deliver(1)),
            |ledger| ledger.enter(|tally| tally.spool(1)),
        ];
        for entry in entries {
            entry(&ledger);
            assert!(ledger.tally().balances(), "{:?}", ledger.tally());
        }
        assert_eq!(
            ledger.tally().to_string(),
            "created 11, delivered 7, dropped 1 (deadline), dropped 2 (queue_full), dropped 1 (write_failed)"
        );
    }
}
