//! What waits to be sent: bounded, and never in the way of whoever pushes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::LocalKey;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::{self, Limits};
use super::ledger::Ledger;
use super::pad::Pad;

/// Where views leave what is to be delivered. Cloning shares it.
pub struct Queue<T>(Arc<Shared<T>>);

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    wake: Notify,
    ledger: Arc<Ledger>,
    measure: fn(&T) -> Measure,
    capacity: Measure,
    wake_at: Limits,
    through: Option<Through<T>>,
}

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
    /// What is not settled yet, waiting or on its way.
    held: Measure,
    /// Whether the worker will look soon in any case, so that the first to come needs not wake it.
    attended: bool,
    closed: bool,
}

/// Whether the ledger knows of something already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    Yes,
    No,
}

/// Whether something has been drawn already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawn {
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
    /// are, and when half of `capacity` is taken.
    pub(super) fn new(
        measure: fn(&T) -> Measure,
        capacity: Measure,
        wake_at: Limits,
        ledger: Arc<Ledger>,
        through: Option<Through<T>>,
    ) -> Self {
        let (sum, held) = (Measure::default(), Measure::default());
        let waiting = Waiting {
            entries: VecDeque::new(),
            fresh: Vec::new(),
            came: None,
            sum,
            held,
            attended: false,
            closed: false,
        };
        let (waiting, wake) = (Mutex::new(waiting), Notify::new());
        Self(Arc::new(Shared { waiting, wake, ledger, measure, capacity, wake_at, through }))
    }

    /// Leaves something to be delivered, and says whether there was room. Never blocks: what finds no room is counted
    /// and gone.
    pub fn push(&self, thing: T) -> bool {
        let measure = (self.0.measure)(&thing);
        self.push_measured(thing, measure, Drawn::No)
    }

    fn push_measured(&self, thing: T, measure: Measure, drawn: Drawn) -> bool {
        if let Some(through) = &self.0.through
            && self.is_open_and_empty()
        {
            // Entered first, so that nothing is delivered that is not in the books yet.
            self.0.ledger.enter(|tally| tally.queue(measure.items));
            return match through(thing, measure.items) {
                Ok(before) => {
                    self.wake(before, before.plus(measure), false);
                    true
                }
                Err(thing) => self.hold(thing, measure, drawn, Entered::Yes),
            };
        }
        self.hold(thing, measure, drawn, Entered::No)
    }

    /// The same for something that is drawn at once if it `is_light`, on the thread's `pad` and while what it is drawn from
    /// is in the processor's cache, and by the worker if not. What panics is lost, and counted.
    pub fn push_drawn(
        &self,
        thing: T,
        is_light: bool,
        pad: &'static LocalKey<RefCell<Pad>>,
        draw: impl FnOnce(T, &mut Pad) -> T,
    ) -> bool {
        if !is_light {
            return self.push(thing);
        }
        let measure = (self.0.measure)(&thing);
        let drawn = super::unless_panics(|| Pad::of_thread(pad, |pad| draw(thing, pad)));
        let Some(drawn) = drawn else {
            self.0.ledger.enter(|tally| tally.refuse(super::PANICKED, measure.items));
            return false;
        };
        self.push_measured(drawn, measure, Drawn::Yes)
    }

    /// Keeps something in memory, if there is room.
    fn hold(&self, thing: T, measure: Measure, drawn: Drawn, entered: Entered) -> bool {
        let Shared { ledger, capacity, .. } = &*self.0;
        let mut waiting = self.waiting();
        let held = waiting.held.plus(measure);
        let refusal = if waiting.closed {
            Some("shut_down")
        } else if held.weight > capacity.weight || held.items > capacity.items {
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
            ledger.enter(|tally| tally.queue(measure.items));
        }
        let (before, after) = (waiting.sum, waiting.sum.plus(measure));
        // The clock is asked once for all that the worker will find: what is taken for a little older waits no longer.
        let since = *waiting.came.get_or_insert_with(Instant::now);
        let entry = Entry { thing, measure, since };
        if drawn == Drawn::Yes && waiting.fresh.is_empty() {
            waiting.entries.push_back(entry);
        } else {
            waiting.fresh.push(entry);
        }
        (waiting.sum, waiting.held) = (after, held);
        let attended = waiting.attended;
        drop(waiting);
        self.wake(before, after, attended);
        true
    }

    /// Has `draw` make of what is not drawn yet what will be sent of it; says whether anything has come. What it makes
    /// nothing of is lost, and counted under `reason`.
    pub(super) fn draw(&self, reason: &'static str, mut draw: impl FnMut(T) -> Option<T>) -> bool {
        let (came, mut fresh) = {
            let mut waiting = self.waiting();
            (waiting.came.take().is_some(), std::mem::take(&mut waiting.fresh))
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
        waiting.held = waiting.held.minus(lost);
        if waiting.fresh.is_empty() {
            // Room for the next.
            waiting.fresh = fresh;
        }
        drop(waiting);
        if lost.items > 0 {
            self.0.ledger.enter(|tally| tally.drop_queued(reason, lost.items));
        }
        true
    }

    /// Notes whether the worker will look soon in any case; says whether something came while it would have.
    pub(super) fn attend(&self, soon: bool) -> bool {
        let mut waiting = self.waiting();
        waiting.attended = soon;
        waiting.came.is_some()
    }

    /// Wakes the worker where more than `before` gives it something to do.
    fn wake(&self, before: Measure, after: Measure, attended: bool) {
        let reached = |sum: Measure| {
            let batch = sum.items >= self.0.wake_at.items || sum.weight >= self.0.wake_at.weight;
            let behind = batch::is_behind(&self.0.wake_at, sum);
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
        !waiting.closed && waiting.entries.is_empty() && waiting.fresh.is_empty()
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
        let mut waiting = self.waiting();
        waiting.held = waiting.held.minus(measure);
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
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
    use std::time::Duration;

    fn queue(weight: usize, items: u64) -> Queue<usize> {
        let wake_at = Limits { items: 3, weight: 50, linger: Duration::ZERO };
        let measure = |weight: &usize| Measure { weight: *weight, items: 1 };
        Queue::new(measure, Measure { weight, items }, wake_at, Arc::default(), None)
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

    #[test]
    fn what_is_drawn_at_once_is_measured_before_and_lost_where_that_panics() {
        thread_local! {
            static PAD: RefCell<Pad> = RefCell::default();
        }
        let queue = queue(10, 100);
        assert!(queue.push_drawn(3, true, &PAD, |weight, _| 10 * weight));
        assert!(!queue.push_drawn(2, true, &PAD, |_, _| panic!("a test's panic")));
        assert_eq!(queue.waits().0, Measure { weight: 3, items: 1 });
        let tally = queue.ledger().tally();
        assert_eq!((tally.created, tally.queued, tally.dropped["sink_panicked"]), (2, 1, 1));
    }
}
