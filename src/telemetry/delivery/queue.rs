//! What waits to be sent: bounded, and never in the way of whoever pushes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::{self, Limits};
use super::ledger::Ledger;
use super::measure::{Held, Measure};
use super::sheaf::{Drawing, Mark, Piece, Sheaf, Sheaves};

/// Where views leave what is to be delivered. Cloning shares it.
pub struct Queue<T>(Arc<Shared<T>>);

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// What is drawn where it comes up, until the worker looks.
    sheaves: Sheaves,
    /// What is not settled yet, waiting or on its way.
    held: Held,
    /// Whether the worker will look soon in any case, so that the first to come needs not wake it.
    attended: AtomicBool,
    closed: AtomicBool,
    wake: Notify,
    ledger: Arc<Ledger>,
    asks: Asks<T>,
    capacity: Measure,
    wake_at: Limits,
    /// The same for one sheaf of many.
    wake_sheaf_at: Limits,
}

/// What a queue asks of its sink.
pub(super) struct Asks<T> {
    pub(super) measure: fn(&T) -> Measure,
    /// Where items are drawn where they come up.
    pub(super) gathered: Option<Gathered<T>>,
    pub(super) at_once: AtOnce,
    /// Where nothing may be lost with the process.
    pub(super) through: Option<Through<T>>,
}

/// Makes of a drawn piece what is delivered.
pub type Gathered<T> = fn(Bytes, Mark) -> T;

/// Sends what is on a sheaf, if that takes no waiting; whether it has.
pub(super) type AtOnce = Box<dyn Fn(&Sheaf) -> bool + Send + Sync>;

/// Puts an item on disk, and enters it, before the push returns; what waited there before it. What comes back must wait
/// in memory, and is not in the books.
pub(super) type Through<T> = Box<dyn Fn(T, u64) -> Result<Measure, T> + Send + Sync>;

#[derive(Debug)]
struct Waiting<T> {
    /// What is drawn.
    entries: VecDeque<Entry<T>>,
    /// What is newer and may have to be drawn.
    fresh: Vec<Entry<T>>,
    /// When the first came of what has come since the worker looked.
    came: Option<Instant>,
    /// What `entries` and `fresh` sum up to.
    sum: Measure,
}

/// One thing that waits.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) thing: T,
    pub(super) measure: Measure,
    pub(super) since: Instant,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.0.capacity).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// An empty queue; the worker is woken when something comes, when a batch by `wake_at` is full, when more than four
    /// are, and when half of `capacity` is taken. Of what is drawn, each thread has its own share of a batch.
    pub(super) fn new(asks: Asks<T>, capacity: Measure, wake_at: Limits, ledger: Arc<Ledger>) -> Self {
        let waiting =
            Waiting { entries: VecDeque::new(), fresh: Vec::new(), came: None, sum: Measure::default() };
        let sheaves = Sheaves::default();
        let wake_sheaf_at = batch::share(&wake_at, sheaves.count());
        Self(Arc::new(Shared {
            waiting: Mutex::new(waiting),
            sheaves,
            held: Held::default(),
            attended: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            ledger,
            asks,
            capacity,
            wake_at,
            wake_sheaf_at,
        }))
    }

    /// Leaves something to be delivered, and says whether there was room. Never blocks: what finds no room is counted
    /// and gone.
    pub fn push(&self, thing: T) -> bool {
        let measure = (self.0.asks.measure)(&thing);
        if let Some(through) = &self.0.asks.through
            && self.is_open_and_empty()
        {
            return match through(thing, measure.items) {
                Ok(before) => {
                    self.wake(measure, before, Measure::default(), &self.0.wake_at, false);
                    true
                }
                Err(thing) => self.hold(thing, measure),
            };
        }
        self.hold(thing, measure)
    }

    /// The same for something of so many `items` that is drawn at once, while what it is drawn from is in the processor's
    /// cache. `draw` appends the bytes, and says whether that is all of it; otherwise, and where nothing can be drawn
    /// here, it is pushed as what `thing` makes of it, for the worker to draw. What panics is lost, and counted.
    pub fn push_drawn(
        &self,
        items: u64,
        mark: Mark,
        draw: impl FnOnce(&mut Vec<u8>) -> bool,
        thing: impl FnOnce() -> T,
    ) -> bool {
        let Shared { sheaves, ledger, asks, wake_sheaf_at, .. } = &*self.0;
        let can_be_drawn = asks.through.is_none() && asks.gathered.is_some();
        let Some(mut sheaf) = can_be_drawn.then(|| sheaves.own()).flatten() else {
            return self.push(thing());
        };
        let weight = match sheaf.draw(draw) {
            Drawing::Piece(weight) => weight,
            Drawing::Refused => {
                drop(sheaf);
                return self.push(thing());
            }
            Drawing::Panicked => {
                ledger.enter(|tally| tally.refuse(super::PANICKED, items));
                return false;
            }
        };
        let (before, drawn) = (sheaf.sum(), Measure { weight, items });
        let held_before = match self.take_room(drawn) {
            Ok(before) => before,
            Err(reason) => {
                sheaf.rub_out();
                ledger.enter(|tally| tally.refuse(reason, items));
                return false;
            }
        };
        // Entered under the lock, so that nothing is delivered that is not in the books yet.
        ledger.queue(items);
        sheaf.keep(mark, drawn);
        let is_full = |sum| batch::is_full(wake_sheaf_at, sum);
        if !is_full(before) && is_full(before.plus(drawn)) && (asks.at_once)(&sheaf) {
            let sent = sheaf.clear();
            // Entered under the lock, so that the worker's last look finds either this or what was sent.
            ledger.enter(|tally| tally.deliver(sent.items));
            drop(sheaf);
            self.0.held.give(sent);
            return true;
        }
        drop(sheaf);
        let attended = self.0.attended.load(Ordering::Acquire);
        self.wake(drawn, before, held_before, wake_sheaf_at, attended);
        true
    }

    /// Takes room for something, and returns what there was before; or why there is none. Asked under the lock of where it
    /// will wait, so that nothing comes behind the worker's last look.
    fn take_room(&self, measure: Measure) -> Result<Measure, &'static str> {
        let Shared { held, closed, capacity, .. } = &*self.0;
        if closed.load(Ordering::Acquire) {
            return Err("shut_down");
        }
        held.take(measure, *capacity).ok_or("queue_full")
    }

    /// Keeps something in memory, if there is room.
    fn hold(&self, thing: T, measure: Measure) -> bool {
        let Shared { ledger, attended, .. } = &*self.0;
        let mut waiting = self.waiting();
        let held_before = match self.take_room(measure) {
            Ok(before) => before,
            Err(reason) => {
                ledger.enter(|tally| tally.refuse(reason, measure.items));
                return false;
            }
        };
        // Entered under the lock, so that nothing is delivered that is not in the books yet.
        ledger.queue(measure.items);
        let before = waiting.sum;
        // The clock is asked once for all that the worker will find: what is taken for a little older waits no longer.
        let since = *waiting.came.get_or_insert_with(Instant::now);
        waiting.fresh.push(Entry { thing, measure, since });
        waiting.sum = before.plus(measure);
        drop(waiting);
        self.wake(measure, before, held_before, &self.0.wake_at, attended.load(Ordering::Acquire));
        true
    }

    /// Takes what has been drawn where it came up, and has `draw` make of the rest of what has come what will be sent of
    /// it; says whether anything has come. What it makes nothing of is lost, and counted under `reason`.
    pub(super) fn draw(&self, reason: &'static str, mut draw: impl FnMut(T) -> Option<T>) -> bool {
        let (pieces, since) = self.0.asks.gathered.map_or_else(Default::default, |gathered| {
            self.0.sheaves.take(|Piece { bytes, mark, measure }| (gathered(bytes, mark), measure))
        });
        let mut waiting = self.waiting();
        // All of it since the first of it came: what is due goes by the oldest, which is looked for in front, and what is
        // taken for a little older waits no longer.
        let since = since.into_iter().chain(waiting.came.take()).min();
        let Some(since) = since else { return false };
        waiting.sum = pieces.iter().fold(waiting.sum, |sum, (_, measure)| sum.plus(*measure));
        waiting.entries.extend(pieces.into_iter().map(|(thing, measure)| Entry { thing, measure, since }));
        let mut fresh = std::mem::take(&mut waiting.fresh);
        drop(waiting);
        if fresh.is_empty() {
            return true;
        }
        let mut lost = Measure::default();
        let drawn: Vec<_> = fresh
            .drain(..)
            .filter_map(|Entry { thing, measure, .. }| {
                let drawn = draw(thing).map(|thing| Entry { thing, measure, since });
                lost = if drawn.is_none() { lost.plus(measure) } else { lost };
                drawn
            })
            .collect();
        let mut waiting = self.waiting();
        waiting.entries.extend(drawn);
        waiting.sum = waiting.sum.minus(lost);
        if waiting.fresh.is_empty() {
            // Room for the next.
            waiting.fresh = fresh;
        }
        drop(waiting);
        self.0.held.give(lost);
        if lost.items > 0 {
            self.0.ledger.enter(|tally| tally.drop_queued(reason, lost.items));
        }
        true
    }

    /// Notes whether the worker will look soon in any case; says whether something came while it would have.
    pub(super) fn attend(&self, soon: bool) -> bool {
        // Before it looks: whoever comes after that sees it.
        self.0.attended.store(soon, Ordering::Release);
        // One lock after the other and never both: who draws on a sheaf may push.
        self.waiting().came.is_some() || !self.0.sheaves.are_empty()
    }

    /// Wakes the worker where `measure`, coming to what waited `before` and to all that was `held_before`, gives it something
    /// to do.
    fn wake(
        &self,
        measure: Measure,
        before: Measure,
        held_before: Measure,
        wake_at: &Limits,
        attended: bool,
    ) {
        let reaches = |before: Measure, is: &dyn Fn(Measure) -> bool| is(before.plus(measure)) && !is(before);
        if (!attended && before == Measure::default())
            || reaches(before, &|sum| batch::is_full(wake_at, sum))
            || reaches(before, &|sum| batch::is_behind(wake_at, sum))
            || reaches(held_before, &|sum| self.is_half(sum))
        {
            self.0.wake.notify_one();
        }
    }

    /// Whether this is half of what there may be.
    pub(super) fn is_half(&self, sum: Measure) -> bool {
        let Measure { weight, items } = self.0.capacity;
        sum.weight > weight / 2 || sum.items > items / 2
    }

    fn is_open_and_empty(&self) -> bool {
        let waiting = self.waiting();
        !self.0.closed.load(Ordering::Acquire) && waiting.entries.is_empty() && waiting.fresh.is_empty()
    }

    /// The ledger that is kept of what is pushed.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.0.ledger
    }

    /// How much waits, and since when the oldest does.
    pub(super) fn waits(&self) -> (Measure, Option<Instant>) {
        let waiting = self.waiting();
        let oldest = waiting.entries.front().or_else(|| waiting.fresh.first());
        (waiting.sum, oldest.map(|oldest| oldest.since))
    }

    /// As much of the oldest as is drawn and goes into one batch. The rest stays, so that pushing wakes nobody while it lingers.
    pub(super) fn take(&self, limits: &Limits) -> Vec<Entry<T>> {
        let mut waiting = self.waiting();
        let count = batch::cut(limits, waiting.entries.iter().map(|entry| entry.measure));
        let count = count.min(waiting.entries.len());
        let taken: Vec<_> = waiting.entries.drain(..count).collect();
        waiting.sum = taken.iter().fold(waiting.sum, |sum, entry| sum.minus(entry.measure));
        taken
    }

    /// Takes back what was taken last, as the oldest.
    pub(super) fn put_back(&self, taken: Vec<Entry<T>>) {
        let mut waiting = self.waiting();
        for entry in taken.into_iter().rev() {
            waiting.sum = waiting.sum.plus(entry.measure);
            waiting.entries.push_front(entry);
        }
    }

    /// Makes room: what was taken has been delivered or lost.
    pub(super) fn settle(&self, measure: Measure) {
        self.0.held.give(measure);
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        // Whoever has not seen it is done when these locks can be had; but for who is writing to disk, whose item is entered
        // when it is there, for the next process.
        drop(self.waiting());
        self.0.sheaves.are_empty();
        self.0.wake.notify_one();
    }

    /// Ready when there is something new to look at.
    pub(super) async fn changed(&self) {
        self.0.wake.notified().await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the unit tests of those who push.
#[cfg(test)]
impl<T: 'static> Queue<T> {
    /// One that nobody takes anything from, of what goes to a sink of this kind.
    pub(crate) fn unattended<S: super::Sink<Item = T>>() -> Self {
        let asks =
            Asks { measure: S::measure, gathered: S::GATHERED, at_once: Box::new(|_| false), through: None };
        let limits = Limits { items: 1024, weight: 1 << 20, linger: std::time::Duration::ZERO };
        Self::new(asks, Measure { weight: 1 << 20, items: 1024 }, limits, Arc::default())
    }

    /// How many things are left to a worker to draw, and how many items wait in all.
    pub(crate) fn undrawn_and_queued(&self) -> (usize, u64) {
        (self.waiting().fresh.len(), self.ledger().tally().queued)
    }
}

#[cfg(test)]
mod tests;
