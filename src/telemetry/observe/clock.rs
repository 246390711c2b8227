//! The time and the stopwatch, read together.
//!
//! They are two clocks, and between the two readings a busy machine may do something else for milliseconds: a request
//! whose end is counted from both would seem to end after what came of it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far two pairs of readings may be from each other and agree, in nanoseconds: many times what it takes to read a
/// clock.
const CLOSE: u64 = 10_000;
/// How many pairs are read at most. Where none agrees with the one before it, the machine has no better to give.
const MOST: usize = 8;

/// What both clocks show at a moment.
pub(super) type Moment = (Instant, SystemTime);

/// The moment, by both clocks.
pub(super) fn now() -> Moment {
    static AGREED: AtomicU64 = AtomicU64::new(0);
    pair(&AGREED, || (Instant::now(), SystemTime::now()))
}

/// The first pair that agrees with the one before it about the time at which the stopwatch was at its origin. `agreed` is
/// that time, in nanoseconds since 1970. When the system's time has been set anew, the second pair agrees with the first.
fn pair(agreed: &AtomicU64, mut read: impl FnMut() -> (Instant, SystemTime)) -> (Instant, SystemTime) {
    let mut last = read();
    for _ in 1..MOST {
        let (own, known) = (at_origin(last), agreed.load(Ordering::Relaxed));
        if own.abs_diff(known) <= CLOSE {
            break;
        }
        agreed.store(own, Ordering::Relaxed);
        last = read();
    }
    last
}

fn at_origin((instant, time): (Instant, SystemTime)) -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = instant.saturating_duration_since(*ORIGIN);
    nanos(time.checked_sub(since).unwrap_or(UNIX_EPOCH))
}

/// A time in nanoseconds since 1970; 0 for what is before.
#[must_use]
pub fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is taken of pairs whose readings are that many microseconds apart, and how many were read.
    fn taken(agreed: &AtomicU64, begin: Instant, apart: &[u64]) -> (u64, usize) {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut read = 0;
        let taken = pair(agreed, || {
            let apart = apart[read.min(apart.len() - 1)];
            read += 1;
            let turn = Duration::from_micros(50 * read as u64);
            (begin + turn, time + turn + Duration::from_micros(apart))
        });
        let late = taken.1.duration_since(time).unwrap() - taken.0.duration_since(begin);
        (u64::try_from(late.as_micros()).unwrap(), read)
    }

    #[test]
    fn a_pair_with_a_pause_in_it_is_read_again() {
        let (agreed, (begin, _)) = (AtomicU64::new(0), now());
        assert_eq!(taken(&agreed, begin, &[0, 1]), (1, 2), "the first has none before it");
        let known = agreed.load(Ordering::Relaxed);
        for (apart, late, read) in [
            (&[5, 16_000][..], 5, 1),
            (&[16_000, 3_000, 2, 2], 2, 4),
            // The time has been set anew.
            (&[16_000, 16_001], 16_001, 2),
            (&[20, 40, 60, 80, 100, 120, 140, 160, 180], 160, MOST),
        ] {
            agreed.store(known, Ordering::Relaxed);
            assert_eq!(taken(&agreed, begin, apart), (late, read), "{apart:?}");
        }
    }
}
