//! The loop between a queue and its sink.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::batch::{self, Limits, Next};
use super::gate::{Backoff, Gate, Permit};
use super::queue::{Measure, Queue};
use super::sink::{SendError, Sent, Sink};
use super::status::Status;

/// How a backend wants its items delivered.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What one request holds.
    pub batch: Limits,
    /// How much may be undelivered.
    pub capacity: Measure,
    /// How many requests may be on their way at the same time. One keeps the order.
    pub in_flight: usize,
    /// How to stay away from a destination that fails.
    pub backoff: Backoff,
}

/// Some items that travel together until they are settled.
struct Batch<T> {
    items: Vec<T>,
    measures: Vec<Measure>,
}

impl<T> Batch<T> {
    fn measure(&self) -> Measure {
        self.measures.iter().fold(Measure::default(), |sum, one| sum.plus(*one))
    }
}

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Send,
    /// Nothing, until something changes or, where an instant is given, until then.
    Wait(Option<Instant>),
    /// Everything is settled.
    Finish,
    /// The time is over, or nothing can happen before it is.
    GiveUp,
}

/// All that the next action depends on.
#[derive(Debug, Clone, Copy)]
struct Situation {
    now: Instant,
    /// When to be done, once the delivery is shutting down.
    deadline: Option<Instant>,
    ready: Next,
    permit: Permit,
    in_flight: usize,
}

fn next_action(situation: Situation) -> Action {
    let Situation { now, deadline, ready, permit, in_flight } = situation;
    if deadline.is_some_and(|deadline| now >= deadline) {
        let settled = ready == Next::Idle && in_flight == 0;
        return if settled { Action::Finish } else { Action::GiveUp };
    }
    match (ready, permit) {
        (Next::Idle, _) if in_flight == 0 && deadline.is_some() => Action::Finish,
        (Next::Idle, _) => Action::Wait(deadline),
        (Next::Wait(wait), _) => Action::Wait(Some(earlier(now + wait, deadline))),
        (Next::Ship, Permit::Go) => Action::Send,
        (Next::Ship, Permit::Busy) => Action::Wait(deadline),
        (Next::Ship, Permit::At(until)) => match deadline {
            Some(deadline) if until >= deadline && in_flight == 0 => Action::GiveUp,
            _ => Action::Wait(Some(earlier(until, deadline))),
        },
    }
}

fn earlier(instant: Instant, deadline: Option<Instant>) -> Instant {
    deadline.map_or(instant, |deadline| deadline.min(instant))
}

/// A running delivery's insides.
pub(super) struct Worker<S: Sink> {
    sink: Arc<S>,
    queue: Queue<S::Item>,
    policy: Policy,
    status: Status,
    gate: Gate,
    /// Sent before, and to be sent again before anything else.
    returned: VecDeque<Arc<Batch<S::Item>>>,
    sending: JoinSet<Result<Sent, SendError>>,
    on_its_way: HashMap<Id, Arc<Batch<S::Item>>>,
}

impl<S: Sink> Worker<S> {
    pub(super) fn new(sink: S, queue: Queue<S::Item>, policy: Policy, status: Status) -> Self {
        Self {
            sink: Arc::new(sink),
            queue,
            policy,
            status,
            gate: Gate::new(policy.backoff),
            returned: VecDeque::new(),
            sending: JoinSet::new(),
            on_its_way: HashMap::new(),
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
            }
            let until = match next_action(self.situation(due)) {
                Action::Send => {
                    self.send();
                    continue;
                }
                Action::Wait(until) => until,
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

    fn situation(&self, deadline: Option<Instant>) -> Situation {
        let (now, in_flight) = (Instant::now(), self.on_its_way.len());
        let (waiting, oldest) = self.queue.waits();
        let age = oldest.map(|since| now.duration_since(since));
        let fresh = batch::next(&self.policy.batch, waiting, age, deadline.is_some());
        let ready = if self.returned.is_empty() { fresh } else { Next::Ship };
        let permit = self.gate.permit(now, in_flight, self.policy.in_flight);
        Situation { now, deadline, ready, permit, in_flight }
    }

    fn send(&mut self) {
        let batch = self.returned.pop_front().unwrap_or_else(|| self.cut());
        let (sink, sent) = (Arc::clone(&self.sink), Arc::clone(&batch));
        let handle = self.sending.spawn(async move { sink.send(&sent.items).await });
        self.on_its_way.insert(handle.id(), batch);
    }

    fn cut(&self) -> Arc<Batch<S::Item>> {
        let taken = self.queue.take(&self.policy.batch).into_iter();
        let (items, measures) = taken.map(|entry| (entry.thing, entry.measure)).unzip();
        Arc::new(Batch { items, measures })
    }

    fn settle(&mut self, answer: Result<(Id, Result<Sent, SendError>), tokio::task::JoinError>) {
        let id = answer.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let Some(batch) = self.on_its_way.remove(&id) else { return };
        let now = Instant::now();
        match answer {
            Ok((_, Ok(sent))) => {
                self.gate.succeeded(now);
                if self.gate.failures() == 0 {
                    self.status.succeeded();
                }
                self.delivered(&batch, &sent);
            }
            Ok((_, Err(SendError::Retry { after, cause }))) => {
                self.gate.failed(now, after, super::random());
                self.come_back(batch, &cause.to_string());
            }
            Ok((_, Err(SendError::Hold { probe, cause }))) => {
                self.gate.hold(now, probe);
                self.come_back(batch, &cause.to_string());
            }
            Ok((_, Err(SendError::Split { reason, cause }))) => {
                // An answer that is about the batch shows that the destination is well.
                self.gate.succeeded(now);
                self.split(batch, reason, &cause.to_string());
            }
            Ok((_, Err(SendError::Reject { reason, cause }))) => {
                self.gate.succeeded(now);
                self.lose(&batch, reason, &cause.to_string());
            }
            Err(_) => self.lose(&batch, "sink_panicked", "the sink panicked over this batch"),
        }
    }

    fn delivered(&self, batch: &Batch<S::Item>, sent: &Sent) {
        let measure = batch.measure();
        self.queue.ledger().enter(|tally| {
            let mut left = measure.items;
            for (reason, items) in &sent.rejected {
                let items = left.min(*items);
                tally.drop_queued(reason, items);
                left -= items;
            }
            tally.deliver(left);
        });
        self.queue.settle(measure);
        for (reason, items) in &sent.rejected {
            self.status.lost(
                *items,
                reason,
                &format!("the destination took the rest; it said: {:?}", sent.said),
            );
        }
    }

    fn come_back(&mut self, batch: Arc<Batch<S::Item>>, cause: &str) {
        self.status.failed(cause, self.gate.failures(), self.gate.closed_until());
        self.returned.push_front(batch);
    }

    fn split(&mut self, batch: Arc<Batch<S::Item>>, reason: &'static str, cause: &str) {
        // The task that sent it has ended, and with it the only other reference.
        let Batch { mut items, mut measures } = match Arc::try_unwrap(batch) {
            Ok(batch) => batch,
            Err(shared) => return self.returned.push_front(shared),
        };
        if items.len() < 2 {
            return self.lose(&Batch { items, measures }, reason, cause);
        }
        let half = items.len() / 2;
        let second = Batch { items: items.split_off(half), measures: measures.split_off(half) };
        self.returned.push_front(Arc::new(second));
        self.returned.push_front(Arc::new(Batch { items, measures }));
    }

    fn lose(&self, batch: &Batch<S::Item>, reason: &'static str, cause: &str) {
        let measure = batch.measure();
        self.queue.ledger().enter(|tally| tally.drop_queued(reason, measure.items));
        self.queue.settle(measure);
        self.status.lost(measure.items, reason, cause);
    }

    /// Counts everything that is left as lost. What is on its way may arrive all the same; nobody will know.
    fn give_up(self) {
        self.queue.ledger().enter(|tally| tally.drop_queued(super::UNDELIVERED, tally.queued));
    }
}

#[cfg(test)]
mod tests;
