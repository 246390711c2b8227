//! From memory to disk.

use std::time::Duration;

use super::Batch;
use crate::telemetry::delivery::batch::Limits;
use crate::telemetry::delivery::measure::Measure;
use crate::telemetry::delivery::queue::{Entry, Queue};
use crate::telemetry::delivery::sink::Sink;
use crate::telemetry::delivery::spool::{Fate, Group, Log};

/// How much of the queue is written at once, by its weight in memory.
const AT_ONCE: Limits = Limits { items: u64::MAX, weight: 1 << 20, linger: Duration::ZERO };

/// Writes a batch, which stays in memory; whether the disk failed.
pub(super) fn write_batch<S: Sink>(
    sink: &S,
    log: &Log,
    queue: &Queue<S::Item>,
    batch: &mut Batch<S::Item>,
) -> bool {
    let mut group = Group::default();
    for (item, measure) in batch.items.iter().zip(&batch.measures) {
        group.add(S::rank(item), measure.items, true, |into| sink.encode(item, into));
    }
    let fates = log.append(group, batch.since);
    let failed = fates.contains(&Fate::Failed);
    let place = |fate: &Fate| if let Fate::Kept(place) = fate { Some(*place) } else { None };
    if fates.iter().any(|fate| place(fate).is_some()) || !failed {
        batch.places = fates.iter().map(place).collect();
        // A destination that hangs must not fill the queue: only so many batches can be on their way.
        queue.settle(batch.measure());
        batch.held = false;
    }
    failed
}

/// Writes what waits, which leaves memory; whether the disk failed.
pub(super) fn write_queue<S: Sink>(sink: &S, log: &Log, queue: &Queue<S::Item>) -> bool {
    let taken = queue.take(&AT_ONCE);
    let Some(since) = taken.first().map(|oldest| oldest.since) else { return false };
    let mut group = Group::default();
    for Entry { thing, measure, .. } in &taken {
        group.add(S::rank(thing), measure.items, false, |into| sink.encode(thing, into));
    }
    let fates = log.append(group, since);
    let (failed, done): (Vec<_>, Vec<_>) =
        taken.into_iter().zip(fates).partition(|(_, fate)| *fate == Fate::Failed);
    let measure = done.iter().fold(Measure::default(), |sum, (entry, _)| sum.plus(entry.measure));
    queue.settle(measure);
    let failed: Vec<_> = failed.into_iter().map(|(entry, _)| entry).collect();
    let any = !failed.is_empty();
    queue.put_back(failed);
    any
}
