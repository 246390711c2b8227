//! What is open, by span id: a map that threads rarely meet at.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many that threads rarely meet at one lock.
const SHARDS: usize = 16;

type Shard<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

/// Something for each open span.
#[derive(Debug)]
pub(super) struct Shards<T>([Mutex<Shard<T>>; SHARDS]);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<T> Shards<T> {
    /// Locks the part of the map that the id belongs to. Nothing that may emit events is done while it is held.
    pub(super) fn of(&self, id: u64) -> MutexGuard<'_, Shard<T>> {
        let shard = &self.0[usize::try_from(id % SHARDS as u64).unwrap_or_default()];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

/// Span ids are random already.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The low bits chose the shard; the map looks at both ends.
        self.0 = id.rotate_left(32);
    }
}
