//! One backend's part of the spool, with its books.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;

use super::group::{Group, RANKS};
use super::store::{CORRUPT, Fate, Found, Place, Seen, Store};
use super::{Spool, WhenFull};
use crate::telemetry::delivery::PANICKED;
use crate::telemetry::delivery::batch::Limits;
use crate::telemetry::delivery::ledger::Ledger;
use crate::telemetry::delivery::measure::Measure;
use crate::telemetry::delivery::sink::Rank;
use crate::telemetry::delivery::status::Status;

/// What is lost for want of room is counted under this.
const FULL: &str = "spool_full";
/// What has become too old for its destination.
const EXPIRED: &str = "spool_expired";
/// How many items are read at a time: whoever writes through waits no longer than that takes.
const SLICE: usize = 64;
/// What a former process left has lingered long enough.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// How a backend wants its items kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// What is older than that when its turn comes is not sent any more: its destination would not take it.
    pub max_age: Duration,
    /// Where the spool is told to write through: whether this backend's items are on disk before the push returns.
    pub through: bool,
}

/// One backend's part of the spool. Cloning shares it.
#[derive(Clone)]
pub struct Log {
    spool: Spool,
    own: Arc<Own>,
}

/// What is shared by the worker, whoever writes through, and whoever needs room.
pub(super) struct Own {
    state: Mutex<State>,
    shown: Shown,
    keep: Keep,
    ledger: Arc<Ledger>,
    status: Status,
}

struct State {
    store: Store,
    /// Since when the oldest waits that is not in memory.
    since: Option<Instant>,
}

/// What was on disk after the last change, for who must not wait for a disk that stalls: the state is locked meanwhile.
#[derive(Default)]
struct Shown(Mutex<Left>);

/// Told in one piece: what waits and what it takes up belong together.
#[derive(Clone, Copy, Default)]
struct Left {
    items: u64,
    bytes: u64,
    /// When the oldest was written.
    oldest: Option<u64>,
}

impl Shown {
    fn update(&self, store: &Store) {
        let left = Left { items: store.left().items, bytes: store.bytes(), oldest: store.oldest() };
        *self.left() = left;
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state, locked for a change, after which it is shown.
struct Changing<'a> {
    state: MutexGuard<'a, State>,
    shown: &'a Shown,
    /// Whether all of it is shown: to look at every file takes time.
    is_shown: bool,
}

impl Deref for Changing<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.is_shown = false;
        &mut self.state
    }
}

impl Changing<'_> {
    /// Shows the change at once, and not only when the lock is let go of.
    fn show(&mut self) {
        if !self.is_shown {
            self.shown.update(&self.state.store);
            self.is_shown = true;
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.show();
    }
}

/// What a backend has on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Items that wait there; some may be in memory as well, on their way.
    pub items: u64,
    /// What the files take up.
    pub bytes: u64,
    /// The age of the oldest, in seconds.
    pub oldest_seconds: u64,
}

/// Whether the disk did not give now what it may give later.
type Unreadable = bool;

/// An item that was read back.
#[derive(Debug)]
pub(in super::super) struct Read<T> {
    pub(in super::super) thing: T,
    pub(in super::super) measure: Measure,
    pub(in super::super) place: Place,
    /// How long ago it was written.
    pub(in super::super) age: Duration,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("keep", &self.own.keep).finish_non_exhaustive()
    }
}

impl Log {
    pub(super) fn new(spool: Spool, store: Store, keep: Keep, ledger: Arc<Ledger>, status: Status) -> Self {
        let state = Mutex::new(State { store, since: None });
        let own = Arc::new(Own { state, shown: Shown::default(), keep, ledger, status });
        spool.register(&own);
        let log = Self { spool, own };
        if log.writes_through() {
            // Whoever pushes must not wait for it later.
            drop(log.own.state());
        }
        log
    }

    /// What is there. Never waits for the disk.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let Left { items, bytes, oldest } = *self.own.shown.left();
        let age = oldest.map(|written| age(written, now()));
        Kept { items, bytes, oldest_seconds: age.unwrap_or_default().as_secs() }
    }

    /// Whether items are on disk before whoever pushes them goes on.
    pub(in super::super) fn writes_through(&self) -> bool {
        self.own.keep.through && self.spool.writes_through()
    }

    /// What waits on disk and not in memory, by about its weight, and since when.
    pub(in super::super) fn waits(&self) -> (Measure, Option<Instant>) {
        let state = self.own.state();
        (state.unread(), state.since)
    }

    /// Writes what is queued; the oldest of it since `since`. What could not be written stays queued; what there is no
    /// room for, or its sink panics over, is lost, unless it is in memory as well.
    pub(in super::super) fn append(&self, group: Group, since: Instant) -> Vec<Fate> {
        self.append_behind(group, since, false).0
    }

    /// The same, and what waited there before it. What `is_new` is entered only now, and not at all where it could not be
    /// written.
    fn append_behind(&self, group: Group, since: Instant, is_new: bool) -> (Vec<Fate>, Measure) {
        let admitted = self.admit(&group);
        let entries: Vec<_> =
            group.entries.iter().map(|entry| (u64::from(entry.items()), entry.out)).collect();
        let mut state = self.own.change();
        let before = state.unread();
        let (fates, failure) = state.store.append(group, admitted, now());
        if state.store.unread().0.entries > 0 {
            state.since = state.since.or(Some(since));
        }
        let (mut kept, mut refused, mut failed, mut spoilt) = (0, 0, 0, 0);
        for (fate, (items, out)) in fates.iter().zip(entries) {
            match fate {
                Fate::Kept(_) => kept += items,
                Fate::Refused | Fate::Spoilt if out => {}
                Fate::Refused => refused += items,
                Fate::Failed => failed += items,
                Fate::Spoilt => spoilt += items,
            }
        }
        // Entered under the lock, so that nothing is read back that is not in the books yet, and shown before: who sees in the
        // books that something is on disk finds it there.
        state.show();
        self.own.ledger.enter(|tally| {
            if is_new {
                tally.queue(kept + refused + spoilt);
            }
            tally.spool(kept);
            tally.drop_queued(FULL, refused);
            tally.drop_queued(PANICKED, spoilt);
        });
        drop(state);
        if refused > 0 {
            self.own.status.lost(refused, FULL, &self.spool.is_full());
        }
        if spoilt > 0 {
            self.own.status.lost(spoilt, PANICKED, "the sink panicked over writing it for the disk");
        }
        match failure {
            Some(error) => {
                self.own.status.spool_failed(&format!("{}: {error}", self.spool.folder().display()))
            }
            None if failed == 0 && kept > 0 => self.own.status.spool_works(),
            None => {}
        }
        (fates, before)
    }

    /// Writes one item, on behalf of whoever pushes it, and enters it; what waited before it. `None`: it is neither there nor
    /// in the books, because the disk did not take it.
    pub(in super::super) fn write_through(
        &self,
        rank: Rank,
        items: u64,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Measure> {
        let mut group = Group::default();
        group.add(rank, items, false, encode);
        let (fates, before) = self.append_behind(group, Instant::now(), true);
        (fates != [Fate::Failed]).then_some(before)
    }

    /// For each rank, whether there is room for what the group has of it; what is worth no more makes room for it.
    fn admit(&self, group: &Group) -> [bool; RANKS] {
        let sizes = group.sizes();
        let mut admitted = [false; RANKS];
        for rank in Rank::ALL.into_iter().rev() {
            let size = sizes[rank as usize] as u64;
            admitted[rank as usize] = size == 0 || self.spool.make_room(size, rank) == WhenFull::Room;
        }
        admitted
    }

    /// Reads back what goes into one batch, oldest first, and says whether the disk did not give all of it.
    pub(in super::super) fn take<T>(
        &self,
        limits: &Limits,
        decode: impl Fn(&[u8]) -> Option<T>,
        measure: impl Fn(&T) -> Measure,
    ) -> (Vec<Read<T>>, Unreadable) {
        let mut unreadable = false;
        let (mut read, mut sum, mut lost) = (Vec::new(), Measure::default(), Vec::new());
        let now = now();
        loop {
            let mut things = Vec::with_capacity(SLICE);
            let mut state = self.own.change();
            let taken = state.store.read(SLICE, |stored| {
                let age = age(stored.written, now);
                if age > self.own.keep.max_age {
                    return Seen::Lost(EXPIRED);
                }
                let Some(thing) = decode(stored.body) else { return Seen::Lost(CORRUPT) };
                let own = Measure { items: stored.items, ..measure(&thing) };
                let with = sum.plus(own);
                let fits = with.items <= limits.items && with.weight <= limits.weight;
                if !fits && sum != Measure::default() {
                    return Seen::Left;
                }
                sum = with;
                things.push((thing, own, age));
                Seen::Taken
            });
            if state.store.unread().0.entries == 0 {
                state.since = None;
            }
            drop(state);
            lost.extend(taken.lost);
            unreadable |= taken.unreadable;
            let taken_things = things.into_iter().zip(taken.places);
            read.extend(taken_things.map(|((thing, measure, age), place)| Read {
                thing,
                measure,
                place,
                age,
            }));
            if taken.ended {
                break;
            }
        }
        for (reason, items) in lost {
            self.own.lose(items, reason, "it was read back from the spool");
        }
        (read, unreadable)
    }

    /// Items that were in memory as well have been delivered or lost.
    pub(in super::super) fn settle(&self, places: &[Place]) {
        self.own.change().store.settle(places);
    }
}

impl Own {
    /// The state. Who is first goes through what a former process left: the worker, so that no start waits for that.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = state.store.go_through() {
            self.adopt(found);
            let waits = state.store.unread().0.entries > 0;
            state.since = waits.then(|| Instant::now().checked_sub(LONG_AGO).unwrap_or_else(Instant::now));
            self.shown.update(&state.store);
        }
        state
    }

    /// Takes over what a former process left.
    fn adopt(&self, found: Found) {
        let Self { ledger, status, .. } = self;
        ledger.enter(|tally| {
            tally.adopt(found.items);
            tally.refuse(CORRUPT, found.spoilt);
        });
        status.adopted(found.items);
        if found.spoilt > 0 {
            status.lost(found.spoilt, CORRUPT, "places in a file of the spool cannot be read");
        }
        for strange in found.strange {
            status.warn(&format!("a file of the spool is left alone: {strange}"));
        }
    }

    fn change(&self) -> Changing<'_> {
        Changing { state: self.state(), shown: &self.shown, is_shown: false }
    }

    /// What would be thrown away first, and when it was written.
    pub(super) fn victim(&self) -> Option<(Rank, u64)> {
        self.state().store.victim()
    }

    /// Throws it away.
    pub(super) fn evict(&self, victim: (Rank, u64), why: &str) {
        let mut state = self.change();
        let lost = state.store.evict(victim);
        if state.store.unread().0.entries == 0 {
            state.since = None;
        }
        drop(state);
        self.lose(lost, FULL, why);
    }

    /// Items on disk are lost.
    fn lose(&self, items: u64, reason: &'static str, cause: &str) {
        self.ledger.enter(|tally| {
            tally.recall(items);
            tally.drop_queued(reason, items);
        });
        self.status.lost(items, reason, cause);
    }
}

impl State {
    fn unread(&self) -> Measure {
        let (sum, bytes) = self.store.unread();
        Measure { weight: usize::try_from(bytes).unwrap_or(usize::MAX), items: sum.items }
    }
}

/// The time, in microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn age(written: u64, now: u64) -> Duration {
    Duration::from_micros(now.saturating_sub(written))
}
