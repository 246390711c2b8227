//! Batches that are refused again and again while others wait: set aside, so that nothing waits behind them.
//!
//! Whoever answers a batch with 5xx each time, because something in it is more than it bears, would otherwise have
//! nothing else until that batch expires. Set aside, it is tried by itself; where the destination takes others, it is
//! halved, until what is refused is alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Batch, Worker};
use crate::telemetry::delivery::gate::{Backoff, Gate, Permit};
use crate::telemetry::delivery::measure::Measure;
use crate::telemetry::delivery::random;
use crate::telemetry::delivery::sink::Sink;

/// How often in a row a batch fails before what waits behind it has its turn: with the backoffs there are, 10 s to 2
/// minutes, so that what only an outage refuses keeps its place in the order of a short one.
const TRIES: u32 = 8;
/// How they are tried, one at a time: what nobody ever takes costs two requests a minute until it expires.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(60) };

/// What is set aside, in the order in which it is tried.
pub(super) struct Aside<T> {
    batches: VecDeque<Batch<T>>,
    gate: Gate,
    /// The most weight that it may have: it is in memory.
    room: usize,
}

impl<T> Aside<T> {
    /// Nothing yet, and half of what there may be at most.
    pub(super) fn new(capacity: Measure) -> Self {
        Self { batches: VecDeque::new(), gate: Gate::new(BACKOFF), room: capacity.weight / 2 }
    }

    /// Whether a batch has failed often enough, and finds room.
    pub(super) fn is_for(&self, batch: &Batch<T>) -> bool {
        let weight = self.batches.iter().map(|batch| batch.measure().weight);
        let with = weight.fold(batch.measure().weight, usize::saturating_add);
        batch.failures >= TRIES && with <= self.room
    }

    /// Puts a batch behind all that are here.
    pub(super) fn push(&mut self, batch: Batch<T>) {
        self.batches.push_back(Batch { aside: true, ..batch });
    }

    /// Whether one of them may be sent, with `on_its_way` of them sent already: when the destination is well by its own
    /// `gate`, or when there is nothing else to find that out with, which is when the rest `is_idle`. `None` where there is none.
    pub(super) fn permit(
        &self,
        now: Instant,
        gate: &Gate,
        is_idle: bool,
        on_its_way: usize,
    ) -> Option<Permit> {
        if self.batches.is_empty() {
            return None;
        }
        Some(match gate.permit(now, 0, 1) {
            Permit::Go if gate.failures() > 0 && !is_idle => Permit::Busy,
            Permit::Go => self.gate.permit(now, on_its_way, 1),
            closed => closed,
        })
    }

    pub(super) fn take(&mut self) -> Option<Batch<T>> {
        self.batches.pop_front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Batch<T>> {
        self.batches.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Batch<T>> {
        self.batches.iter_mut()
    }

    pub(super) fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }
}

impl<S: Sink> Worker<S> {
    pub(super) fn send_aside(&mut self) {
        if let Some(batch) = self.aside.take() {
            self.put_on_its_way(batch);
        }
    }

    /// A batch was not taken, which time may mend.
    pub(super) fn failed(
        &mut self,
        mut batch: Batch<S::Item>,
        now: Instant,
        after: Option<Duration>,
        cause: &str,
    ) {
        let random = random();
        batch.failures = batch.failures.saturating_add(1);
        if batch.aside {
            // It says nothing of the destination, unless that asks to be left alone.
            if after.is_some() {
                self.gate.failed(now, after, random);
            }
            self.aside.gate().failed(now, after, random);
            return self.halve(batch);
        }
        self.gate.failed(now, after, random);
        if self.aside.is_for(&batch) && self.is_followed() {
            let (items, failures) = (batch.measure().items, batch.failures);
            self.status.warn(&format!("{items} items are set aside after {failures} failures: {cause}"));
            self.status.failed(cause, self.gate.failures(), self.gate.closed_until());
            return self.aside.push(batch);
        }
        self.come_back(batch, cause);
    }

    /// Whether anything waits behind what comes back.
    fn is_followed(&self) -> bool {
        let on_disk = self.log.as_ref().is_some_and(|log| log.waits().0.items > 0);
        !self.returned.is_empty() || on_disk || self.queue.waits().1.is_some()
    }

    /// A batch that was refused alone: where others are taken, something in it is the reason, and half of it is well.
    fn halve(&mut self, mut batch: Batch<S::Item>) {
        if self.gate.failures() == 0
            && batch.items.len() > 1
            && let Some(items) = Arc::get_mut(&mut batch.items)
        {
            let mut first = std::mem::take(items);
            let second = batch.split_off(&mut first);
            self.aside.push(Batch { items: Arc::new(first), ..batch });
            return self.aside.push(second);
        }
        self.aside.push(batch);
    }
}
