//! How large things are, and how much there is of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How large something is, or how much there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// What it takes in memory and on the wire; roughly bytes.
    pub weight: usize,
    /// What it counts for in the ledger: spans, log events, items.
    pub items: u64,
}

impl Measure {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_add(other.weight),
            items: self.items.saturating_add(other.items),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_sub(other.weight),
            items: self.items.saturating_sub(other.items),
        }
    }
}

/// A measure that all threads keep together.
#[derive(Debug, Default)]
pub(super) struct Held {
    weight: AtomicUsize,
    items: AtomicU64,
}

impl Held {
    /// Adds something, and returns what there was before; nothing where it would be more than `most`.
    pub(super) fn take(&self, measure: Measure, most: Measure) -> Option<Measure> {
        let (weight, items) = (&self.weight, &self.items);
        let before = Measure {
            weight: weight.fetch_add(measure.weight, Ordering::Relaxed),
            items: items.fetch_add(measure.items, Ordering::Relaxed),
        };
        let after = before.plus(measure);
        if after.weight > most.weight || after.items > most.items {
            self.give(measure);
            return None;
        }
        Some(before)
    }

    /// Takes off what was added.
    pub(super) fn give(&self, Measure { weight, items }: Measure) {
        let before = (
            self.weight.fetch_sub(weight, Ordering::Relaxed),
            self.items.fetch_sub(items, Ordering::Relaxed),
        );
        debug_assert!(before.0 >= weight && before.1 >= items, "more than was added: {before:?}");
    }

    #[cfg(test)]
    pub(super) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }
}
