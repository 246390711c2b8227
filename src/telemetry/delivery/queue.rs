//! What waits to be sent: bounded, and never in the way of whoever pushes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::{self, Limits};
use super::ledger::Ledger;
use super::sheaf::{Mark, Piece, Sheaf, Sheaves};

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
    measure: fn(&T) -> Measure,
    gathered: Option<Gathered<T>>,
    capacity: Measure,
    wake_at: Limits,
    /// The same for one sheaf of many.
    wake_sheaf_at: Limits,
    at_once: AtOnce,
    through: Option<Through<T>>,
}

/// Makes of a drawn piece what is delivered.
pub type Gathered<T> = fn(Bytes, Mark) -> T;

/// Sends what is on a sheaf, if that takes no waiting; whether it has.
pub(super) type AtOnce = Box<dyn Fn(&Sheaf) -> bool + Send + Sync>;

/// Puts an item on disk before the push returns; what waited there before it. What comes back must wait in memory.
pub(super) type Through<T> = Box<dyn Fn(T, u64) -> Result<Measure, T> + Send + Sync>;

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

/// A measure that all threads keep together.
#[derive(Debug, Default)]
struct Held {
    weight: AtomicUsize,
    items: AtomicU64,
}

impl Held {
    /// Adds something, and returns what there was before; nothing where it would be more than `most`.
    fn take(&self, measure: Measure, most: Measure) -> Option<Measure> {
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
    fn give(&self, Measure { weight, items }: Measure) {
        let before = (
            self.weight.fetch_sub(weight, Ordering::Relaxed),
            self.items.fetch_sub(items, Ordering::Relaxed),
        );
        debug_assert!(before.0 >= weight && before.1 >= items, "more than was added: {before:?}");
    }
}

/// Whether the ledger knows of something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    Yes,
    No,
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
    pub(super) fn new(
        measure: fn(&T) -> Measure,
        gathered: Option<Gathered<T>>,
        capacity: Measure,
        wake_at: Limits,
        ledger: Arc<Ledger>,
        (at_once, through): (AtOnce, Option<Through<T>>),
    ) -> Self {
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
            measure,
            gathered,
            capacity,
            wake_at,
            wake_sheaf_at,
            at_once,
            through,
        }))
    }

    /// Leaves something to be delivered, and says whether there was room. Never blocks: what finds no room is counted
    /// and gone.
    pub fn push(&self, thing: T) -> bool {
        let measure = (self.0.measure)(&thing);
        if let Some(through) = &self.0.through
            && self.is_open_and_empty()
        {
            // Entered first, so that nothing is delivered that is not in the books yet.
            self.0.ledger.queue(measure.items);
            return match through(thing, measure.items) {
                Ok(before) => {
                    self.wake(before, before.plus(measure), &self.0.wake_at, false);
                    true
                }
                Err(thing) => self.hold(thing, measure, Entered::Yes),
            };
        }
        self.hold(thing, measure, Entered::No)
    }

    /// The same for something that, if it `is_light`, is drawn at once, while what it is drawn from is in the processor's
    /// cache. `draw` appends the bytes, and says whether that is all of it; otherwise, and where it is not light, the
    /// worker draws it. What panics is lost, and counted.
    pub fn push_drawn(
        &self,
        thing: T,
        is_light: bool,
        mark: Mark,
        draw: impl FnOnce(&T, &mut Vec<u8>) -> bool,
    ) -> bool {
        let Shared { sheaves, held, ledger, measure, capacity, .. } = &*self.0;
        let is_drawn = is_light && self.0.through.is_none() && self.0.gathered.is_some();
        let Some(mut sheaf) = is_drawn.then(|| sheaves.own()).flatten() else { return self.push(thing) };
        let measure = measure(&thing);
        // Looked at under the lock, so that nothing comes behind the worker's last look.
        let room = if self.0.closed.load(Ordering::Acquire) {
            Err("shut_down")
        } else {
            held.take(measure, *capacity).ok_or("queue_full")
        };
        let held_before = match room {
            Ok(before) => before,
            Err(reason) => {
                ledger.enter(|tally| tally.refuse(reason, measure.items));
                return false;
            }
        };
        let before = sheaf.sum();
        match sheaf.draw(mark, measure, |out| draw(&thing, out)) {
            Some(true) => {}
            Some(false) => {
                held.give(measure);
                drop(sheaf);
                return self.push(thing);
            }
            None => {
                held.give(measure);
                ledger.enter(|tally| tally.refuse(super::PANICKED, measure.items));
                return false;
            }
        }
        // Entered under the lock, so that nothing is delivered that is not in the books yet.
        ledger.queue(measure.items);
        let after = sheaf.sum();
        let is_full = |sum| batch::is_full(&self.0.wake_sheaf_at, sum);
        if !is_full(before) && is_full(after) && (self.0.at_once)(&sheaf) {
            let sent = sheaf.clear();
            // Entered under the lock, so that the worker's last look finds either this or what was sent.
            ledger.enter(|tally| tally.deliver(sent.items));
            drop(sheaf);
            held.give(sent);
            return true;
        }
        drop(sheaf);
        let attended = self.0.attended.load(Ordering::Acquire);
        let is_half = self.is_half(held_before) != self.is_half(held_before.plus(measure));
        if is_half {
            self.0.wake.notify_one();
        } else {
            self.wake(before, after, &self.0.wake_sheaf_at, attended);
        }
        true
    }

    /// Keeps something in memory, if there is room.
    fn hold(&self, thing: T, measure: Measure, entered: Entered) -> bool {
        let Shared { ledger, capacity, held, closed, attended, .. } = &*self.0;
        let mut waiting = self.waiting();
        let refusal = if closed.load(Ordering::Acquire) {
            Some("shut_down")
        } else if held.take(measure, *capacity).is_none() {
            Some("queue_full")
        } else {
            None
        };
        if let Some(reason) = refusal {
            ledger.enter(|tally| match entered {
                Entered::Yes => tally.drop_queued(reason, measure.items),
                Entered::No => tally.refuse(reason, measure.items),
            });
            return false;
        }
        if entered == Entered::No {
            // Entered under the lock, so that nothing is delivered that is not in the books yet.
            ledger.queue(measure.items);
        }
        let (before, after) = (waiting.sum, waiting.sum.plus(measure));
        // The clock is asked once for all that the worker will find: what is taken for a little older waits no longer.
        let since = *waiting.came.get_or_insert_with(Instant::now);
        waiting.fresh.push(Entry { thing, measure, since });
        waiting.sum = after;
        drop(waiting);
        self.wake(before, after, &self.0.wake_at, attended.load(Ordering::Acquire));
        true
    }

    /// Takes what has been drawn where it came up, and has `draw` make of the rest of what has come what will be sent of
    /// it; says whether anything has come. What it makes nothing of is lost, and counted under `reason`.
    pub(super) fn draw(&self, reason: &'static str, mut draw: impl FnMut(T) -> Option<T>) -> bool {
        let pieces = self.0.gathered.map_or_else(Vec::new, |gathered| {
            let entry = |Piece { bytes, mark, measure }, since| Entry {
                thing: gathered(bytes, mark),
                measure,
                since,
            };
            self.0.sheaves.take(entry)
        });
        let mut came = !pieces.is_empty();
        let mut fresh = {
            let mut waiting = self.waiting();
            waiting.sum = pieces.iter().fold(waiting.sum, |sum, entry| sum.plus(entry.measure));
            waiting.entries.extend(pieces);
            came |= waiting.came.take().is_some();
            std::mem::take(&mut waiting.fresh)
        };
        if fresh.is_empty() {
            return came;
        }
        let mut lost = Measure::default();
        let drawn: Vec<_> = fresh
            .drain(..)
            .filter_map(|Entry { thing, measure, since }| {
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
        self.waiting().came.is_some() || !self.0.sheaves.are_empty()
    }

    /// Wakes the worker where more than `before` gives it something to do.
    fn wake(&self, before: Measure, after: Measure, wake_at: &Limits, attended: bool) {
        let reached = |sum: Measure| {
            let batch = batch::is_full(wake_at, sum);
            let behind = batch::is_behind(wake_at, sum);
            (attended || sum != Measure::default(), batch, behind, self.is_half(sum))
        };
        if reached(before) != reached(after) {
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
        // Whoever has not seen it is done when these locks can be had.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::delivery::sink::Rank;
    use std::time::Duration;

    fn queue(weight: usize, items: u64) -> Queue<usize> {
        let wake_at = Limits { items: 3, weight: 50, linger: Duration::ZERO };
        let measure = |weight: &usize| Measure { weight: *weight, items: 1 };
        let gathered: Gathered<usize> = |piece, _| piece.iter().map(|byte| usize::from(*byte)).sum();
        Queue::new(
            measure,
            Some(gathered),
            Measure { weight, items },
            wake_at,
            Arc::default(),
            (Box::new(|_| false), None),
        )
    }

    #[test]
    fn a_full_sheaf_is_sent_where_it_was_drawn_or_left_to_the_worker() {
        for sends in [true, false] {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let at_once: AtOnce = {
                let seen = Arc::clone(&seen);
                Box::new(move |sheaf| {
                    let pieces = sheaf.pieces().unwrap().map(<[u8]>::to_vec).collect::<Vec<_>>();
                    seen.lock().unwrap().push(pieces);
                    sends
                })
            };
            let wake_at = Limits { items: 3, weight: 50, linger: Duration::ZERO };
            let measure = |weight: &usize| Measure { weight: *weight, items: 1 };
            let gathered: Gathered<usize> = |piece, _| piece.iter().map(|byte| usize::from(*byte)).sum();
            let capacity = Measure { weight: 100, items: 100 };
            let queue =
                Queue::new(measure, Some(gathered), capacity, wake_at, Arc::default(), (at_once, None));
            for thing in 1..=5 {
                queue.push_drawn(thing, true, Rank::Routine.into(), |thing, out| {
                    out.push(u8::try_from(*thing).unwrap());
                    true
                });
            }
            assert_eq!(*seen.lock().unwrap(), [[[1], [2], [3]]], "asked when it gets full, and not again");
            let tally = queue.ledger().tally();
            assert!(tally.balances());
            let (delivered, left) = if sends { (3, vec![4, 5]) } else { (0, vec![1, 2, 3, 4, 5]) };
            assert_eq!((tally.created, tally.delivered), (5, delivered));
            assert_eq!(queue.0.held.items.load(Ordering::Relaxed), 5 - delivered, "room is made");
            queue.draw("odd", Some);
            let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
            assert_eq!(queue.take(&all).into_iter().map(|entry| entry.thing).collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_until_something_is_settled() {
        let queue = queue(10, 100);
        for weight in [6, 6, 4] {
            queue.push(weight);
        }
        let tally = queue.ledger().tally();
        assert_eq!((tally.created, tally.queued, tally.dropped["queue_full"]), (3, 2, 1));
        assert!(tally.balances());
        let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
        assert_eq!(queue.take(&all).len(), 0, "nothing is drawn");
        queue.draw("odd", Some);
        let taken = queue.take(&all);
        assert_eq!(taken.iter().map(|entry| entry.thing).collect::<Vec<_>>(), [6, 4]);
        // Taken is not settled: it may come back.
        queue.push(1);
        assert_eq!(queue.ledger().tally().dropped["queue_full"], 2);
        queue.settle(taken[0].measure);
        queue.push(6);
        queue.draw("odd", Some);
        assert_eq!(queue.take(&all).len(), 1);
    }

    #[test]
    fn what_cannot_be_drawn_makes_room_and_is_counted() {
        let queue = queue(10, 100);
        for weight in [3, 2, 5] {
            queue.push(weight);
        }
        queue.draw("odd", |weight| (weight % 2 == 0).then_some(10 * weight));
        assert_eq!(queue.waits().0, Measure { weight: 2, items: 1 });
        let tally = queue.ledger().tally();
        assert_eq!((tally.queued, tally.dropped["odd"]), (1, 2));
        assert!(queue.push(8), "there is room again");
        let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
        let things: Vec<_> = queue.take(&all).into_iter().map(|entry| entry.thing).collect();
        assert_eq!(things, [20]);
    }

    #[test]
    fn items_are_bounded_too() {
        let queue = queue(1000, 2);
        for _ in 0..3 {
            queue.push(1);
        }
        assert_eq!(queue.ledger().tally().dropped["queue_full"], 1);
    }

    #[test]
    fn a_closed_queue_refuses() {
        let queue = queue(10, 10);
        queue.close();
        queue.push(1);
        assert_eq!(queue.ledger().tally().dropped["shut_down"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_worker_is_woken_by_the_first_and_by_a_full_batch() {
        let woken = async |queue: &Queue<usize>| {
            tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok()
        };
        let queue = queue(1000, 100);
        queue.push(1);
        assert!(woken(&queue).await);
        queue.push(1);
        assert!(!woken(&queue).await);
        queue.push(1);
        assert!(woken(&queue).await, "three items");
        queue.draw("odd", Some);
        while !queue.take(&Limits { items: 100, weight: 1000, linger: Duration::ZERO }).is_empty() {}
        queue.push(1);
        assert!(woken(&queue).await, "the first again");
        queue.push(60);
        assert!(woken(&queue).await, "heavy");
        queue.push(1);
        assert!(!woken(&queue).await);
        queue.push(439);
        assert!(woken(&queue).await, "half full");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_looks_soon_is_not_woken_by_the_first() {
        let queue = queue(1000, 100);
        let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
        assert!(!queue.attend(true));
        queue.push(1);
        assert!(!woken().await);
        assert!(queue.attend(false), "it came unnoticed");
        queue.draw("odd", Some);
        while !queue.take(&Limits { items: 100, weight: 1000, linger: Duration::ZERO }).is_empty() {}
        assert!(!queue.attend(false));
        queue.push(1);
        assert!(woken().await);
    }

    const MARK: Mark = Mark { rank: Rank::Routine, millis: 0, turn: 0 };

    /// Draws a number as its one byte.
    fn byte(number: &usize, out: &mut Vec<u8>) -> bool {
        out.extend(u8::try_from(*number));
        true
    }

    fn all_drawn(queue: &Queue<usize>) -> Vec<(usize, Measure)> {
        queue.draw("odd", Some);
        let all = Limits { items: 100, weight: 1000, linger: Duration::ZERO };
        queue.take(&all).into_iter().map(|entry| (entry.thing, entry.measure)).collect()
    }

    #[test]
    fn what_is_drawn_at_once_is_measured_before_and_lost_where_that_panics() {
        let queue = queue(10, 100);
        let draw = |number: &usize, out: &mut Vec<u8>| byte(&(10 * number), out);
        assert!(queue.push_drawn(3, true, MARK, draw));
        assert!(!queue.push_drawn(2, true, MARK, |_, _| panic!("a test's panic")));
        let tally = queue.ledger().tally();
        assert_eq!((tally.created, tally.queued, tally.dropped["sink_panicked"]), (2, 1, 1));
        assert_eq!(all_drawn(&queue), [(30, Measure { weight: 3, items: 1 })]);
        assert!(queue.push_drawn(7, true, MARK, byte), "what was lost takes no room");
    }

    #[test]
    fn what_is_not_light_or_cannot_be_drawn_at_once_is_for_the_worker() {
        let queue = queue(100, 100);
        assert!(queue.push_drawn(3, false, MARK, |_, _| panic!("not here")));
        let half = |number: &usize, out: &mut Vec<u8>| !byte(number, out);
        assert!(queue.push_drawn(4, true, MARK, half));
        assert_eq!(queue.ledger().tally().queued, 2);
        assert_eq!(all_drawn(&queue).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn what_is_drawn_at_once_finds_as_much_room_as_all_else() {
        let queue = queue(10, 100);
        queue.push(6);
        assert!(!queue.push_drawn(5, true, MARK, |_, _| panic!("there is no room")));
        assert!(queue.push_drawn(4, true, MARK, byte));
        assert!(!queue.push(1));
        for (_, measure) in all_drawn(&queue) {
            queue.settle(measure);
        }
        assert!(queue.push_drawn(10, true, MARK, byte));
        queue.close();
        assert!(!queue.push_drawn(1, true, MARK, byte));
        let tally = queue.ledger().tally();
        assert_eq!((tally.queued, tally.dropped["queue_full"], tally.dropped["shut_down"]), (3, 2, 1));
    }

    #[test]
    fn what_comes_up_while_it_is_drawn_waits_too() {
        let queue = queue(100, 100);
        let inner = queue.clone();
        let draw =
            |number: &usize, out: &mut Vec<u8>| inner.push_drawn(5, true, MARK, byte) && byte(number, out);
        assert!(queue.push_drawn(4, true, MARK, draw));
        assert_eq!(all_drawn(&queue).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_worker_is_woken_for_what_is_drawn_at_once_as_for_all_else() {
        let queue = queue(1000, 100);
        let woken = async || tokio::time::timeout(Duration::from_millis(1), queue.changed()).await.is_ok();
        assert!(queue.push_drawn(1, true, MARK, byte));
        assert!(woken().await, "the first");
        assert!(queue.push_drawn(1, true, MARK, byte));
        assert!(!woken().await);
        assert!(queue.push_drawn(1, true, MARK, byte));
        assert!(woken().await, "three items");
        queue.draw("odd", Some);
        assert!(!queue.attend(true));
        assert!(queue.push_drawn(1, true, MARK, byte));
        assert!(!woken().await, "it looks soon");
        assert!(queue.attend(false), "it came unnoticed");
        queue.draw("odd", Some);
        assert!(!queue.attend(false));
    }
}
