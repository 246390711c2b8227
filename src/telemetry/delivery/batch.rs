//! When to send, and how much: decisions without effects.

use std::time::Duration;

/// What one request to a destination may hold, and how long it may wait to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
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

/// Decides by how much waits (`entries`, `weight`) and since when (`age`); what is `flushing` does not linger.
pub(super) fn next(limits: &Limits, entries: usize, weight: usize, age: Duration, flushing: bool) -> Next {
    if entries == 0 {
        return Next::Idle;
    }
    let full = entries >= limits.entries || weight >= limits.weight;
    match limits.linger.checked_sub(age) {
        Some(left) if !full && !flushing && left > Duration::ZERO => Next::Wait(left),
        _ => Next::Ship,
    }
}

/// How many of the entries with these weights, oldest first, go into one batch: as many as fit, and at least one,
/// since an entry that is too heavy is the destination's to refuse.
pub(super) fn cut(limits: &Limits, weights: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0_usize;
    let fitting = weights.take(limits.entries).take_while(|weight| {
        sum = sum.saturating_add(*weight);
        sum <= limits.weight
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { entries: 10, weight: 100, linger: Duration::from_millis(500) };

    #[test]
    fn a_batch_is_shipped_when_it_is_full_or_old_or_flushed() {
        let wait = |ms| Next::Wait(Duration::from_millis(ms));
        for (entries, weight, age, flushing, expected) in [
            (0, 0, 0, false, Next::Idle),
            (0, 0, 900, true, Next::Idle),
            (1, 1, 0, false, wait(500)),
            (1, 1, 499, false, wait(1)),
            (1, 1, 500, false, Next::Ship),
            (1, 1, 0, true, Next::Ship),
            (10, 10, 0, false, Next::Ship),
            (2, 100, 0, false, Next::Ship),
            (9, 99, 100, false, wait(400)),
        ] {
            let age = Duration::from_millis(age);
            assert_eq!(next(&LIMITS, entries, weight, age, flushing), expected, "{entries} {weight} {age:?}");
        }
    }

    #[test]
    fn a_batch_keeps_within_both_limits_but_takes_one_entry_at_least() {
        for (weights, expected) in [
            (vec![1; 30], 10),
            (vec![40, 40, 40], 2),
            (vec![50, 50, 1], 2),
            (vec![500, 1], 1),
            (vec![usize::MAX, usize::MAX], 1),
            (vec![3], 1),
        ] {
            assert_eq!(cut(&LIMITS, weights.iter().copied()), expected, "{weights:?}");
        }
    }
}
