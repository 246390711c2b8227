//! What backends have accepted and could not deliver yet, on disk: it outlives the process, and an outage that is
//! longer than memory is large.
//!
//! ```text
//! push ─▶ memory ───────────────▶ batch ─▶ sink        a destination that answers in time: nothing is written
//!           │  150 ms old           ▲ │
//!           ▼                       │ └ delivered: marked as settled, deleted with the rest of its file
//!         disk (a line of segments) ┘   else: stays in memory for the next try, and on disk
//! ```
//!
//! - **A line, not a copy.** What is written leaves memory, unless it is on its way. While anything waits on disk,
//!   batches are read from there, and what is pushed meanwhile queues up behind it; so nothing overtakes, and memory
//!   holds 150 ms of items and the batches on their way, however long the outage.
//! - **What is safe.** The worker writes together what has waited for 150 ms, so that whoever kills the process 200 ms
//!   after a request ended finds its items at the next start. `write-through` has a push write by itself, for the
//!   backends that ask for it. `write(2)` is enough: what is in the page cache outlives a killed process, and only the
//!   machine's own death would ask for fdatasync, which costs a hundred times as much.
//! - **Once more, or not at all.** What was delivered is marked in the file that it is in. What was on its way when
//!   the process was killed is sent again, with the same ids.
//! - **When it is full**, what is worth least is thrown away first ([`Rank`]), whichever backend's it is,
//!   and of that the oldest. Each rank has a line of files, so that throwing away is deleting a file.
//! - **When the disk does not take it**, items stay in memory as if there were no spool, it is said, and tried again
//!   every second.
//! - **Files** are written and read where the workers run: what is written together is a few hundred kilobytes, some
//!   hundred microseconds in the page cache. A disk that stalls holds up all deliveries, but no request.
//! - **The books.** What a former process left is adopted: it counts as created by this one, so that every process's
//!   books balance by themselves.

mod budget;
mod entry;
mod files;
mod group;
mod log;
mod salvage;
mod segment;
mod slot;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::budget::Budget;
pub(super) use self::group::Group;
use self::log::Own;
pub use self::log::{Keep, Kept, Log};
use self::slot::Slot;
use self::store::Store;
#[cfg(test)]
pub(super) use self::store::tests::Folder;
pub(super) use self::store::{Fate, Place};
use super::ledger::Ledger;
use super::sink::Rank;
use super::status::Status;

/// What one file holds, in bytes: small enough that little is thrown away at once, large enough for few files.
const SEGMENT: std::ops::RangeInclusive<u64> = 16 * 1024..=4 * 1024 * 1024;
/// How many files fill the spool, where that is within [`SEGMENT`].
const SEGMENTS: u64 = 64;

/// A folder on disk that this process holds, for all its backends. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    slot: Slot,
    budget: Budget,
    through: bool,
    logs: Mutex<Vec<Weak<Own>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used as a spool: {cause}", path.display())]
pub struct SpoolError {
    path: PathBuf,
    cause: io::Error,
}

/// What comes of asking for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// There is enough now.
    Room,
    /// What there is is worth more.
    Refused,
}

impl Spool {
    /// Takes a folder below `directory`, for `most` bytes; `through` has those backends write through that ask for it.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn open(directory: &Path, most: u64, through: bool) -> Result<Self, SpoolError> {
        let slot = Slot::take(directory).map_err(|cause| SpoolError { path: directory.to_owned(), cause })?;
        let shared = Shared { slot, budget: Budget::new(most), through, logs: Mutex::default() };
        Ok(Self(Arc::new(shared)))
    }

    /// The part of `backend`, with what a former process left of it, which the worker goes through; the books and the
    /// state are the delivery's.
    ///
    /// # Errors
    /// Its folder cannot be made or read.
    pub fn log(
        &self,
        backend: &'static str,
        keep: Keep,
        ledger: Arc<Ledger>,
        status: Status,
    ) -> Result<Log, SpoolError> {
        let folder = self.folder().join(backend);
        let size = (self.0.budget.most() / SEGMENTS).clamp(*SEGMENT.start(), *SEGMENT.end());
        let listed = Store::list(folder.clone(), size, self.0.budget.clone());
        let store = listed.map_err(|cause| SpoolError { path: folder, cause })?;
        Ok(Log::new(self.clone(), store, keep, ledger, status))
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.slot.folder()
    }

    fn writes_through(&self) -> bool {
        self.0.through
    }

    fn register(&self, own: &Arc<Own>) {
        self.0.logs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(own));
    }

    /// Takes room for what has this rank. Nothing is thrown away for it that is worth more.
    fn make_room(&self, bytes: u64, rank: Rank) -> WhenFull {
        while !self.0.budget.try_take(bytes) {
            let logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let logs = logs.iter().filter_map(Weak::upgrade);
            let victims = logs.filter_map(|log| Some((log.victim()?, log)));
            match victims.min_by_key(|(victim, _)| *victim).filter(|((lowest, _), _)| *lowest <= rank) {
                Some((victim, log)) => log.evict(victim, &self.is_full()),
                None => return WhenFull::Refused,
            }
        }
        WhenFull::Room
    }

    fn is_full(&self) -> String {
        format!("the spool has its {} bytes, which is what SPOOL_MAX_BYTES allows", self.0.budget.most())
    }
}
