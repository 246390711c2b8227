//! How much all backends together may keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on disk, and how many there may be. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    used: AtomicU64,
    most: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self(Arc::new(Bytes { used: AtomicU64::new(0), most }))
    }

    pub(super) fn most(&self) -> u64 {
        self.0.most
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes room where there is enough.
    pub(super) fn try_take(&self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.most);
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Takes room, be there enough or not: for what a former process left, and for the little that is beside items.
    pub(super) fn take(&self, bytes: u64) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // The closure always has an answer.
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
    }
}
