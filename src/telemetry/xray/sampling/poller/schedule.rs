//! When to ask the daemon for what: a state without effects.

use std::time::Duration;

use tokio::time::Instant;

/// How often the rules are fetched, and how much later at most, so that not all processes come at once.
const RULES: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(5));
/// The same for reporting.
const TARGETS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(100));

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    FetchRules,
    Report,
    /// Nothing until then.
    Wait(Instant),
}

/// When what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) rules: Instant,
    pub(super) targets: Instant,
    /// Fetches in a row that failed.
    pub(super) failures: u32,
}

/// The rules come first: what is reported belongs to them.
pub(super) fn next_action(schedule: &Schedule, now: Instant) -> Action {
    match schedule {
        Schedule { rules, .. } if *rules <= now => Action::FetchRules,
        Schedule { targets, .. } if *targets <= now => Action::Report,
        Schedule { rules, targets, .. } => Action::Wait(*rules.min(targets)),
    }
}

/// `random` is in `0.0..1.0` everywhere.
impl Schedule {
    /// Rules at once.
    pub(super) fn new(now: Instant, random: f64) -> Self {
        Self { rules: now, targets: now + jittered(TARGETS, random), failures: 0 }
    }

    pub(super) fn fetched(&mut self, now: Instant, random: f64) {
        (self.rules, self.failures) = (now + jittered(RULES, random), 0);
    }

    /// Sooner than the next regular time, for the daemon is often started after the service, but ever later, for
    /// AWS may be the one that is in trouble.
    pub(super) fn failed(&mut self, now: Instant, random: f64) {
        let doubled = TARGETS.0.saturating_mul(2_u32.saturating_pow(self.failures.min(20)));
        self.failures = self.failures.saturating_add(1);
        self.rules = now + jittered((doubled.min(RULES.0), RULES.1), random);
    }

    pub(super) fn reported(&mut self, now: Instant, random: f64) {
        self.targets = now + jittered(TARGETS, random);
    }

    /// The rules are out of date. Failures keep their own pace.
    pub(super) fn refetch(&mut self, now: Instant) {
        if self.failures == 0 {
            self.rules = now;
        }
    }
}

fn jittered((every, jitter): (Duration, Duration), random: f64) -> Duration {
    every + jitter.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_done_and_rules_come_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (rules, targets, now, expected) in [
            (0, 10, 0, Action::FetchRules),
            (300, 10, 0, Action::Wait(at(10))),
            (300, 10, 9, Action::Wait(at(10))),
            (300, 10, 10, Action::Report),
            (300, 10, 11, Action::Report),
            (300, 310, 11, Action::Wait(at(300))),
            (300, 300, 300, Action::FetchRules),
            (300, 10, 400, Action::FetchRules),
        ] {
            let schedule = Schedule { rules: at(rules), targets: at(targets), failures: 0 };
            assert_eq!(next_action(&schedule, at(now)), expected, "{rules} {targets} {now}");
        }
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        let now = Instant::now();
        let after = |at: Instant| at.duration_since(now).as_secs_f64();
        for (random, rules, targets) in
            [(0.0, 300.0, 10.0), (0.5, 302.5, 10.05), (1.0, 305.0, 10.1), (f64::MAX, 305.0, 10.1)]
        {
            let mut schedule = Schedule::new(now, random);
            assert_eq!((after(schedule.rules), after(schedule.targets)), (0.0, targets));
            schedule.fetched(now, random);
            schedule.reported(now, random);
            assert_eq!((after(schedule.rules), after(schedule.targets)), (rules, targets));
        }
    }

    #[test]
    fn failures_are_retried_ever_later_up_to_the_regular_time() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, 0.0);
        let waits: Vec<_> = (0..8)
            .map(|_| {
                schedule.failed(now, 0.0);
                schedule.refetch(now);
                schedule.rules.duration_since(now).as_secs()
            })
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        schedule.failed(now, 1.0);
        assert_eq!(schedule.rules.duration_since(now).as_secs(), 305);
        schedule.fetched(now, 0.0);
        schedule.refetch(now);
        assert_eq!(next_action(&schedule, now), Action::FetchRules);
        schedule.failed(now, 0.0);
        assert_eq!(schedule.rules.duration_since(now).as_secs(), 10);
    }
}
