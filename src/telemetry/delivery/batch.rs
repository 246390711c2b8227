//! When to send, and how much: decisions without effects.

use std::time::Duration;

use super::measure::Measure;

/// What one request to a destination may hold, and how long it may wait to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items, as the ledger counts them.
    pub items: u64,
    /// The sum of their weights, in whatever the sink weighs by.
    pub weight: usize,
    /// How long the oldest entry waits for company.
    pub linger: Duration,
}

/// What to do about what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send a batch now.
    Ship,
    /// Look again when this much time has passed.
    Wait(Duration),
    /// Nothing waits.
    Idle,
}

/// Decides by how much waits and since when (`age`, of the oldest); what is `flushing` does not linger.
pub(super) fn next(limits: &Limits, waiting: Measure, age: Option<Duration>, flushing: bool) -> Next {
    let Some(age) = age else { return Next::Idle };
    let full = is_full(limits, waiting);
    match limits.linger.checked_sub(age) {
        Some(left) if !full && !flushing && left > Duration::ZERO => Next::Wait(left),
        _ => Next::Ship,
    }
}

/// Whether a batch is full.
pub(super) fn is_full(limits: &Limits, waiting: Measure) -> bool {
    waiting.items >= limits.items || waiting.weight >= limits.weight
}

/// Whether more than four full batches wait, which one request at a time does not make up for in a moment.
pub(super) fn is_behind(limits: &Limits, waiting: Measure) -> bool {
    let (items, weight) = (limits.items.saturating_mul(5), limits.weight.saturating_mul(5));
    is_full(&Limits { items, weight, ..*limits }, waiting)
}

/// What one of `sheaves` may have before the worker is woken for it: together they are a batch, but it is not woken for a
/// few.
pub(super) fn share(limits: &Limits, sheaves: usize) -> Limits {
    const ITEMS: u64 = 32;
    const WEIGHT: usize = 1 << 16;
    let sheaves = sheaves.max(1);
    Limits {
        items: (limits.items / sheaves as u64).max(limits.items.min(ITEMS)),
        weight: (limits.weight / sheaves).max(limits.weight.min(WEIGHT)),
        linger: limits.linger,
    }
}

/// How many of the entries of these measures, oldest first, go into one batch: as many as fit, and at least one,
/// since an entry that is too large is the destination's to refuse.
pub(super) fn cut(limits: &Limits, measures: impl Iterator<Item = Measure>) -> usize {
    let mut sum = Measure::default();
    let fitting = measures.take_while(|measure| {
        sum = sum.plus(*measure);
        sum.items <= limits.items && sum.weight <= limits.weight
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { items: 10, weight: 100, linger: Duration::from_millis(500) };

    #[test]
    fn a_batch_is_shipped_when_it_is_full_or_old_or_flushed() {
        let wait = |ms| Next::Wait(Duration::from_millis(ms));
        for (items, weight, age, flushing, expected) in [
            (0, 0, None, false, Next::Idle),
            (0, 0, None, true, Next::Idle),
            (1, 1, Some(0), false, wait(500)),
            (1, 1, Some(499), false, wait(1)),
            (1, 1, Some(500), false, Next::Ship),
            (1, 1, Some(0), true, Next::Ship),
            (10, 10, Some(0), false, Next::Ship),
            (2, 100, Some(0), false, Next::Ship),
            (9, 99, Some(100), false, wait(400)),
        ] {
            let (waiting, age) = (Measure { weight, items }, age.map(Duration::from_millis));
            assert_eq!(next(&LIMITS, waiting, age, flushing), expected, "{waiting:?} {age:?}");
        }
    }

    #[test]
    fn more_than_four_full_batches_are_a_backlog() {
        for (items, weight, expected) in
            [(0, 0, false), (49, 499, false), (50, 1, true), (1, 500, true), (49, 500, true)]
        {
            assert_eq!(is_behind(&LIMITS, Measure { weight, items }), expected, "{items} {weight}");
        }
    }

    #[test]
    fn a_batch_keeps_within_both_limits_but_takes_one_entry_at_least() {
        for (measures, expected) in [
            (vec![(1, 1); 30], 10),
            (vec![(1, 4), (1, 4), (1, 4)], 2),
            (vec![(40, 1), (40, 1), (40, 1)], 2),
            (vec![(50, 1), (50, 1), (1, 1)], 2),
            (vec![(500, 1), (1, 1)], 1),
            (vec![(usize::MAX, u64::MAX); 2], 1),
            (vec![(3, 1)], 1),
        ] {
            let measures = measures.into_iter().map(|(weight, items)| Measure { weight, items });
            assert_eq!(cut(&LIMITS, measures.clone()), expected, "{measures:?}");
        }
    }

    #[test]
    fn the_shares_of_all_sheaves_are_a_batch_but_none_is_a_few() {
        let of = |items, weight, sheaves| {
            let Limits { items, weight, .. } = share(&Limits { items, weight, ..LIMITS }, sheaves);
            (items, weight)
        };
        assert_eq!(of(1024, 4 << 20, 1), (1024, 4 << 20));
        assert_eq!(of(1024, 4 << 20, 8), (128, 4 << 17));
        assert_eq!(of(32, 1 << 20, 8), (32, 1 << 17));
        assert_eq!(of(1, 100, 8), (1, 100));
    }
}
