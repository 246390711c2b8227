//! The loop between a queue and its sink.

mod aside;
mod next;
mod outcome;
mod spooling;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::aside::Aside;
use self::next::{Action, Situation, next_action};
use super::batch::{self, Limits, Next};
use super::gate::{Backoff, Gate, later};
use super::measure::Measure;
use super::queue::Queue;
use super::sink::{SendError, Sent, Sink};
use super::spool::{Keep, Log, Place};
use super::status::Status;
use super::unless_panics;

/// How a backend wants its items delivered.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What one request holds.
    pub batch: Limits,
    /// How much may be undelivered.
    pub capacity: Measure,
    /// How many requests may be on their way at the same time. One keeps the order.
    pub in_flight: usize,
    /// How many, when more than four full batches wait: one alone delivers no more than a batch a round trip.
    pub in_flight_behind: usize,
    /// How to stay away from a destination that fails.
    pub backoff: Backoff,
    /// How long they are worth sending, and how they are kept meanwhile.
    pub keep: Keep,
}

/// Some items that travel together until they are settled.
struct Batch<T> {
    /// Shared with the task that sends them.
    items: Arc<Vec<T>>,
    measures: Vec<Measure>,
    /// Where each of them is on disk as well; empty while nothing has been tried.
    places: Vec<Option<Place>>,
    /// Whether they take room in the queue until they are settled: not what was read back.
    held: bool,
    /// When the oldest was pushed.
    since: Instant,
    /// When the newest is too old to be sent.
    expires: Instant,
    /// How often in a row the destination could not take it.
    failures: u32,
    /// Whether it is tried by itself.
    aside: bool,
}

impl<T> Batch<T> {
    fn measure(&self) -> Measure {
        self.measures.iter().fold(Measure::default(), |sum, one| sum.plus(*one))
    }

    /// What of it is on disk, in items.
    fn spooled(&self) -> u64 {
        let placed = self.places.iter().zip(&self.measures).filter(|(place, _)| place.is_some());
        placed.map(|(_, measure)| measure.items).sum()
    }

    /// The second half, which is taken off.
    fn split_off(&mut self, items: &mut Vec<T>) -> Self {
        let half = items.len() / 2;
        let places = if self.places.is_empty() { Vec::new() } else { self.places.split_off(half) };
        Self {
            items: Arc::new(items.split_off(half)),
            measures: self.measures.split_off(half),
            places,
            ..*self
        }
    }
}

/// Whether to wait, and until when at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attention {
    Paid(Option<Instant>),
    /// Something has come.
    Due,
}

/// How soon a worker that has been busy looks again.
const SOON: Duration = Duration::from_millis(50);
/// How old an item may get in memory alone. A little less than the 200 ms that are promised.
const SPOOL_AFTER: Duration = Duration::from_millis(150);
/// What has become too old in memory is counted under this.
const EXPIRED: &str = "expired";
/// How soon a disk that took nothing is asked again.
const SPOOL_AGAIN: Duration = Duration::from_secs(1);

/// A running delivery's insides.
pub(super) struct Worker<S: Sink> {
    sink: Arc<S>,
    queue: Queue<S::Item>,
    policy: Policy,
    status: Status,
    gate: Gate,
    log: Option<Log>,
    /// When a disk that took nothing is asked again.
    spool_again: Option<Instant>,
    /// When a disk that gave nothing is asked again.
    read_again: Option<Instant>,
    /// Sent before, and to be sent again before anything else.
    returned: VecDeque<Batch<S::Item>>,
    aside: Aside<S::Item>,
    sending: JoinSet<Result<Sent, SendError>>,
    on_its_way: HashMap<Id, Batch<S::Item>>,
    /// Whether something has come since it was last looked without need.
    busy: bool,
}

impl<S: Sink> Worker<S> {
    pub(super) fn new(
        sink: Arc<S>,
        queue: Queue<S::Item>,
        policy: Policy,
        status: Status,
        log: Option<Log>,
    ) -> Self {
        Self {
            sink,
            queue,
            policy,
            status,
            gate: Gate::new(policy.backoff),
            log,
            spool_again: None,
            read_again: None,
            returned: VecDeque::new(),
            aside: Aside::new(policy.capacity),
            sending: JoinSet::new(),
            on_its_way: HashMap::new(),
            busy: false,
        }
    }

    /// Delivers until `deadline` holds an instant, and then until everything is settled or that instant has come.
    pub(super) async fn run(mut self, mut deadline: watch::Receiver<Option<Instant>>) {
        let mut hurried = false;
        loop {
            let due = *deadline.borrow_and_update();
            if due.is_some() && !hurried {
                hurried = true;
                self.gate.hurry();
                self.aside.gate().hurry();
            }
            self.busy |= self.draw();
            let until = match next_action(self.situation(due)) {
                Action::Send => {
                    self.send();
                    continue;
                }
                Action::SendAside => {
                    self.send_aside();
                    continue;
                }
                Action::Spool => {
                    self.spool();
                    continue;
                }
                Action::Wait(until) => match self.attend(until) {
                    Attention::Paid(until) => until,
                    Attention::Due => continue,
                },
                Action::Finish => return,
                Action::GiveUp => return self.give_up(),
            };
            tokio::select! {
                () = self.queue.changed() => {}
                Some(answer) = self.sending.join_next_with_id() => self.settle(answer),
                // An error means that whoever could have named a deadline is gone.
                changed = deadline.changed() => if changed.is_err() { return self.give_up() },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// Until when to wait: who has been busy looks again soon, so that the next to come needs not wake the thread,
    /// which costs a request more than all else that it does for its telemetry.
    fn attend(&mut self, until: Option<Instant>) -> Attention {
        let soon = Instant::now() + self.policy.batch.linger.min(SOON);
        let looks_soon = until.is_some_and(|until| until <= soon);
        if looks_soon || std::mem::take(&mut self.busy) {
            self.queue.attend(true);
            return Attention::Paid(Some(until.map_or(soon, |until| until.min(soon))));
        }
        if self.queue.attend(false) { Attention::Due } else { Attention::Paid(until) }
    }

    /// Draws what is new; whether anything was.
    fn draw(&mut self) -> bool {
        let Self { sink, queue, .. } = self;
        queue.draw(super::PANICKED, |item| unless_panics(|| sink.draw(item)))
    }

    fn situation(&self, deadline: Option<Instant>) -> Situation {
        let (now, in_flight) = (Instant::now(), self.on_its_way.len());
        let queued = self.queue.waits();
        let spooled = self.log.as_ref().map(Log::waits).filter(|(waiting, _)| waiting.items > 0);
        let (waiting, oldest) = spooled.unwrap_or(queued);
        let age = oldest.map(|since| now.duration_since(since));
        let fresh = batch::next(&self.policy.batch, waiting, age, deadline.is_some());
        let ready = match self.read_again.map(|again| again.saturating_duration_since(now)) {
            _ if !self.returned.is_empty() => Next::Ship,
            Some(wait) if !wait.is_zero() && fresh == Next::Ship => Next::Wait(wait),
            _ => fresh,
        };
        let most = if batch::is_behind(&self.policy.batch, waiting) {
            self.policy.in_flight_behind
        } else {
            self.policy.in_flight
        };
        let apart = self.on_its_way.values().filter(|batch| batch.aside).count();
        let permit = self.gate.permit(now, in_flight - apart, most);
        let is_idle = ready == Next::Idle && in_flight == apart;
        let aside = self.aside.permit(now, &self.gate, is_idle, apart);
        let spool_at = self.spool_at(now, queued);
        Situation { now, deadline, ready, permit, aside, in_flight, spool_at }
    }

    /// When to write what is only in memory.
    fn spool_at(&self, now: Instant, (waiting, oldest): (Measure, Option<Instant>)) -> Option<Instant> {
        self.log.as_ref()?;
        let travelling = self.only_in_memory().map(|batch| batch.since);
        let due = travelling.chain(oldest).min()? + SPOOL_AFTER;
        let due = if self.queue.is_half(waiting) { now } else { due };
        Some(self.spool_again.map_or(due, |again| again.max(due)))
    }

    /// Batches that nobody has tried to write yet.
    fn only_in_memory(&self) -> impl Iterator<Item = &Batch<S::Item>> {
        let all = self.on_its_way.values().chain(&self.returned).chain(self.aside.iter());
        all.filter(|batch| batch.places.is_empty())
    }

    fn send(&mut self) {
        let batch = self.returned.pop_front().or_else(|| self.recall()).unwrap_or_else(|| self.cut());
        self.put_on_its_way(batch);
    }

    fn put_on_its_way(&mut self, batch: Batch<S::Item>) {
        if batch.items.is_empty() {
            // All that was read back was of no use.
            return;
        }
        if batch.expires <= Instant::now() {
            return self.lose(
                &batch,
                EXPIRED,
                "the destination has not taken it for as long as it is worth anything",
            );
        }
        let (sink, items) = (Arc::clone(&self.sink), Arc::clone(&batch.items));
        let handle = self.sending.spawn(async move { sink.send(&items).await });
        self.on_its_way.insert(handle.id(), batch);
    }

    /// The oldest batch on disk. As long as there is one, what is in memory is newer.
    fn recall(&mut self) -> Option<Batch<S::Item>> {
        let log = self.log.as_ref().filter(|log| log.waits().0.items > 0)?;
        let decode = |bytes: &[u8]| unless_panics(|| self.sink.decode(bytes)).flatten();
        let (read, unreadable) = log.take(&self.policy.batch, decode, S::measure);
        let newest = read.last().map_or(Duration::ZERO, |newest| newest.age);
        self.read_again = unreadable.then(|| Instant::now() + SPOOL_AGAIN);
        let mut batch = Batch {
            items: Arc::default(),
            measures: Vec::with_capacity(read.len()),
            places: Vec::with_capacity(read.len()),
            held: false,
            since: Instant::now(),
            expires: self.expires(newest),
            failures: 0,
            aside: false,
        };
        let mut items = Vec::with_capacity(read.len());
        for one in read {
            items.push(one.thing);
            batch.measures.push(one.measure);
            batch.places.push(Some(one.place));
        }
        Some(Batch { items: Arc::new(items), ..batch })
    }

    fn cut(&self) -> Batch<S::Item> {
        let taken = self.queue.take(&self.policy.batch);
        let since = taken.first().map_or_else(Instant::now, |oldest| oldest.since);
        let newest = taken.last().map_or(Duration::ZERO, |newest| newest.since.elapsed());
        let (items, measures) = taken.into_iter().map(|entry| (entry.thing, entry.measure)).unzip();
        Batch {
            items: Arc::new(items),
            measures,
            places: Vec::new(),
            held: true,
            since,
            expires: self.expires(newest),
            failures: 0,
            aside: false,
        }
    }

    /// When what has this age now is too old.
    fn expires(&self, age: Duration) -> Instant {
        later(Instant::now(), self.policy.keep.max_age.saturating_sub(age))
    }

    /// Writes the oldest of what is only in memory: a batch that travels, or what waits.
    fn spool(&mut self) {
        let Some(log) = &self.log else { return };
        let sink = &self.sink;
        let travelling = self.on_its_way.values_mut().chain(&mut self.returned).chain(self.aside.iter_mut());
        let oldest = travelling.filter(|batch| batch.places.is_empty()).min_by_key(|batch| batch.since);
        let failed = match oldest {
            Some(batch) => spooling::write_batch(sink.as_ref(), log, &self.queue, batch),
            None => spooling::write_queue(sink.as_ref(), log, &self.queue),
        };
        self.spool_again = failed.then(|| Instant::now() + SPOOL_AGAIN);
    }

    /// Writes everything that is left, for the next process, and counts as lost what cannot be written. What is on its
    /// way may arrive all the same; nobody will know.
    fn give_up(mut self) {
        // Where nobody has said that this is the end, something would go on coming.
        self.queue.close();
        // What has been answered meanwhile is known.
        while let Some(answer) = self.sending.try_join_next_with_id() {
            self.settle(answer);
        }
        self.spool_again = None;
        self.draw();
        while self.spool_at(Instant::now(), self.queue.waits()).is_some() && self.spool_again.is_none() {
            self.spool();
        }
        self.queue.ledger().enter(|tally| tally.drop_queued(super::UNDELIVERED, tally.queued));
    }
}

#[cfg(test)]
mod tests;
