//! Whether a destination may be sent to: the one authority on retries, as a state without effects.
//!
//! A failure closes the gate for a while that doubles with each failure in a row, by full jitter, or for as long
//! as the destination asked for, however long. When it opens again, one request goes through as a probe; if it
//! succeeds, all may follow.

use std::time::Duration;

use tokio::time::Instant;

/// How long to stay away after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The most after the first failure.
    pub base: Duration,
    /// The most after any number of failures.
    pub cap: Duration,
}

impl Backoff {
    /// Full jitter: anything up to the doubled limit, by `random` in `0.0..1.0`.
    fn delay(&self, failures: u32, random: f64) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
        self.base.saturating_mul(factor).min(self.cap).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// The longest wait of our own when the process ends.
const HURRIED: Duration = Duration::from_secs(1);

/// What the gate says to a batch that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// Send it.
    Go,
    /// Not before then.
    At(Instant),
    /// Not before one that is on its way has come back.
    Busy,
}

/// The state of one destination.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    backoff: Backoff,
    failures: u32,
    closed_until: Option<Instant>,
    /// How long the destination itself asked to be left alone.
    asked_until: Option<Instant>,
}

impl Gate {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, closed_until: None, asked_until: None }
    }

    pub(super) fn permit(&self, now: Instant, in_flight: usize, most: usize) -> Permit {
        match self.closed_until {
            Some(until) if until > now => Permit::At(until),
            _ if self.failures > 0 && in_flight > 0 => Permit::Busy,
            _ if in_flight >= most => Permit::Busy,
            _ => Permit::Go,
        }
    }

    /// A success opens the gate, unless it is the answer to something sent before the gate was closed.
    pub(super) fn succeeded(&mut self, now: Instant) {
        if self.closed_until.is_none_or(|until| until <= now) {
            (self.failures, self.closed_until, self.asked_until) = (0, None, None);
        }
    }

    /// The process ends: waits that were our own idea are over, so that what waits gets one more chance, and new
    /// ones are short. What the destination asked for still holds.
    pub(super) fn hurry(&mut self) {
        self.closed_until = self.asked_until;
        self.backoff.cap = self.backoff.cap.min(HURRIED);
    }

    /// A failure that time may mend. `after` is what the destination asked for.
    pub(super) fn failed(&mut self, now: Instant, after: Option<Duration>, random: f64) {
        self.count_failure(now);
        let own = self.backoff.delay(self.failures, random);
        if let Some(after) = after {
            self.asked_until = self.asked_until.max(Some(later(now, after)));
        }
        self.close(now, after.map_or(own, |after| after.max(own)));
    }

    /// A failure that a person must mend: look again every `probe`.
    pub(super) fn hold(&mut self, now: Instant, probe: Duration) {
        self.count_failure(now);
        self.close(now, probe);
    }

    /// What was on its way when the gate was closed fails for the same reason: that is one failure, not many.
    fn count_failure(&mut self, now: Instant) {
        if self.closed_until.is_none_or(|until| until <= now) {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Closing never shortens what another answer has asked for.
    fn close(&mut self, now: Instant, wait: Duration) {
        self.closed_until = self.closed_until.max(Some(later(now, wait)));
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }
}

/// That much later; beyond the clock's range is for ever.
pub(super) fn later(now: Instant, wait: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now.checked_add(wait.min(FOR_EVER)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(30) };

    #[test]
    fn delays_double_up_to_the_cap_and_are_jittered_in_full() {
        let ms = Duration::from_millis;
        for (failures, random, expected) in [
            (1, 1.0, ms(200)),
            (1, 0.5, ms(100)),
            (1, 0.0, ms(0)),
            (2, 1.0, ms(400)),
            (5, 1.0, ms(3_200)),
            (9, 1.0, ms(30_000)),
            (u32::MAX, 1.0, ms(30_000)),
        ] {
            assert_eq!(BACKOFF.delay(failures, random), expected, "{failures} {random}");
        }
    }

    #[test]
    fn a_failure_closes_the_gate_and_one_probe_opens_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut gate = Gate::new(BACKOFF);
        assert_eq!(gate.permit(start, 3, 4), Permit::Go);
        assert_eq!(gate.permit(start, 4, 4), Permit::Busy);
        gate.failed(start, None, 1.0);
        assert_eq!(gate.permit(at(199), 0, 4), Permit::At(at(200)));
        assert_eq!(gate.permit(at(200), 0, 4), Permit::Go);
        assert_eq!(gate.permit(at(200), 1, 4), Permit::Busy);
        gate.failed(at(200), None, 1.0);
        assert_eq!(gate.permit(at(200), 0, 4), Permit::At(at(600)));
        gate.succeeded(at(599));
        assert_eq!(gate.permit(at(599), 0, 4), Permit::At(at(600)), "an answer from before");
        gate.succeeded(at(600));
        assert_eq!(gate.permit(at(600), 3, 4), Permit::Go);
    }

    #[test]
    fn what_the_destination_asks_for_is_honoured_however_long() {
        let start = Instant::now();
        let mut gate = Gate::new(BACKOFF);
        gate.failed(start, Some(Duration::from_secs(7200)), 0.0);
        assert_eq!(gate.permit(start, 0, 4), Permit::At(start + Duration::from_secs(7200)));
        // Another answer, on its way at the same time, does not shorten it.
        gate.failed(start, None, 1.0);
        assert_eq!(gate.permit(start, 0, 4), Permit::At(start + Duration::from_secs(7200)));
        gate.failed(start, Some(Duration::MAX), 0.0);
        assert!(matches!(gate.permit(start, 0, 4), Permit::At(_)));
    }

    #[test]
    fn a_burst_that_fails_together_is_one_failure() {
        let start = Instant::now();
        let mut gate = Gate::new(BACKOFF);
        for _ in 0..8 {
            gate.failed(start, None, 1.0);
        }
        assert_eq!(gate.failures(), 1);
        assert_eq!(gate.permit(start, 0, 4), Permit::At(start + BACKOFF.base));
    }

    #[test]
    fn at_the_end_only_what_the_destination_asked_for_is_waited_for() {
        let start = Instant::now();
        let mut gate = Gate::new(BACKOFF);
        gate.hold(start, Duration::from_secs(60));
        gate.hurry();
        assert_eq!(gate.permit(start, 0, 4), Permit::Go);
        gate.failed(start, Some(Duration::from_secs(5)), 0.0);
        gate.hurry();
        assert_eq!(gate.permit(start, 0, 4), Permit::At(start + Duration::from_secs(5)));
        let mut gate = Gate::new(BACKOFF);
        gate.hurry();
        for _ in 0..20 {
            let now = gate.closed_until().unwrap_or(start);
            gate.failed(now, None, 1.0);
            assert!(gate.closed_until().unwrap() - now <= HURRIED);
        }
    }
}
