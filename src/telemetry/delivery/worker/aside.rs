//! Batches that are refused again and again while others wait: set aside, so that nothing waits behind them.
//!
//! Whoever answers a batch with 5xx each time, because something in it is more than it bears, would otherwise have
//! nothing else until that batch expires. Set aside, it is tried by itself; where the destination takes others, it is
//! halved, until what is refused is alone.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Batch;
use crate::telemetry::delivery::gate::{Backoff, Gate, Permit};
use crate::telemetry::delivery::queue::Measure;

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
