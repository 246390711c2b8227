//! How many requests are kept: states without clock and chance of their own.
//!
//! `now` is in whole seconds since the epoch, `random` in `0.0..1.0`.

/// How often a process reports a rule unless AWS says otherwise, in seconds.
const INTERVAL: u64 = 10;
/// The longest interval that is believed: whoever never reports never gets a quota.
const LONGEST_INTERVAL: u64 = 3600;

/// What has been taken in the current second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Second {
    at: u64,
    taken: u32,
}

impl Second {
    /// Takes one, if fewer than `most` have been taken in this second.
    fn take(&mut self, now: u64, most: u32) -> bool {
        if self.at != now {
            *self = Self { at: now, taken: 0 };
        }
        let free = self.taken < most;
        self.taken += u32::from(free);
        free
    }
}

/// The reservoir of a local rule: so many a second, then a share of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LocalReservoir(Second);

impl LocalReservoir {
    pub(super) fn decide(&mut self, target: u32, rate: f64, now: u64, random: f64) -> bool {
        self.0.take(now, target) || random < rate
    }
}

/// What a process reports of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Requests that matched.
    pub(super) requests: u64,
    /// Those of them that were kept by quota or by chance. AWS's guide counts borrowed ones in; its SDKs do not.
    pub(super) sampled: u64,
    /// Those of them that were borrowed.
    pub(super) borrowed: u64,
}

/// A share of a rule's reservoir: so many a second, up to and including a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) per_second: u32,
    pub(super) until: u64,
}

/// What AWS wants of this process for a rule from now on; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Target {
    pub(super) rate: Option<f64>,
    pub(super) quota: Option<u32>,
    pub(super) quota_until: Option<u64>,
    pub(super) interval: Option<u64>,
}

/// The reservoir of a central rule, with its statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reservoir {
    quota: Quota,
    used: Second,
    borrowed: Second,
    rate: Option<f64>,
    statistics: Statistics,
    interval: u64,
    reported: Option<u64>,
}

impl Default for Reservoir {
    fn default() -> Self {
        Self {
            quota: Quota::default(),
            used: Second::default(),
            borrowed: Second::default(),
            rate: None,
            statistics: Statistics::default(),
            interval: INTERVAL,
            reported: None,
        }
    }
}

impl Reservoir {
    /// Decides on a request that matched a rule with this reservoir (by all processes together) and this rate.
    pub(super) fn decide(&mut self, size: u32, rate: f64, now: u64, random: f64) -> bool {
        self.statistics.requests += 1;
        let taken = match self.quota_at(now) {
            Some(quota) => self.used.take(now, quota),
            // While the share is not known, one a second, as long as there is anything to share.
            None if self.borrowed.take(now, size.min(1)) => {
                self.statistics.borrowed += 1;
                return true;
            }
            None => false,
        };
        let sampled = taken || random < self.rate.unwrap_or(rate);
        self.statistics.sampled += u64::from(sampled);
        sampled
    }

    /// The share that holds now, a second; `None` where none has been given, or the last one has expired.
    pub(super) fn quota_at(&self, now: u64) -> Option<u32> {
        (self.quota.until >= now).then_some(self.quota.per_second)
    }

    /// The rate that AWS has given this process in place of the rule's.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// What would be reported.
    pub(super) fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Takes the statistics to report them, if there are any and their time has come.
    pub(super) fn take_statistics(&mut self, now: u64) -> Option<Statistics> {
        // A clock that has been set back must not keep the rule waiting.
        let due = self.reported.is_none_or(|reported| now.abs_diff(reported) >= self.interval);
        if self.statistics.requests == 0 || !due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.statistics))
    }

    /// Puts back what could not be reported.
    pub(super) fn put_back(&mut self, statistics: Statistics) {
        let Statistics { requests, sampled, borrowed } = &mut self.statistics;
        *requests += statistics.requests;
        *sampled += statistics.sampled;
        *borrowed += statistics.borrowed;
    }

    /// Follows AWS.
    pub(super) fn aim(&mut self, target: Target) {
        self.rate = target.rate.or(self.rate);
        self.quota.per_second = target.quota.unwrap_or(self.quota.per_second);
        self.quota.until = target.quota_until.unwrap_or(self.quota.until);
        self.interval = target.interval.map_or(self.interval, |interval| interval.min(LONGEST_INTERVAL));
    }

    /// The rule has been fetched anew: its own rate holds again until the next target.
    pub(super) fn forget_rate(&mut self) {
        self.rate = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate is 0.1, so these hit and miss it.
    const HIT: f64 = 0.09;
    const MISS: f64 = 0.1;

    fn statistics(requests: u64, sampled: u64, borrowed: u64) -> Statistics {
        Statistics { requests, sampled, borrowed }
    }

    fn with_quota(per_second: u32, until: u64) -> Reservoir {
        let mut reservoir = Reservoir::default();
        reservoir.aim(Target { quota: Some(per_second), quota_until: Some(until), ..Target::default() });
        reservoir
    }

    #[test]
    fn without_quota_one_a_second_is_borrowed_and_the_rest_left_to_chance() {
        let mut reservoir = Reservoir::default();
        for (now, random, sampled) in
            [(100, MISS, true), (100, MISS, false), (100, HIT, true), (101, MISS, true), (101, MISS, false)]
        {
            assert_eq!(reservoir.decide(5, 0.1, now, random), sampled, "{now} {random}");
        }
        assert_eq!(reservoir.statistics(), statistics(5, 1, 2));
    }

    #[test]
    fn an_empty_reservoir_lends_nothing() {
        let mut reservoir = Reservoir::default();
        assert!(!reservoir.decide(0, 0.1, 100, MISS));
        assert!(reservoir.decide(0, 0.1, 100, HIT));
        assert_eq!(reservoir.statistics(), statistics(2, 1, 0));
    }

    #[test]
    fn a_quota_is_used_up_each_second_and_then_chance_decides() {
        let mut reservoir = with_quota(2, 110);
        let mut at = |now, random| reservoir.decide(5, 0.1, now, random);
        assert_eq!([at(100, MISS), at(100, MISS), at(100, MISS), at(100, HIT)], [true, true, false, true]);
        assert_eq!([at(101, MISS), at(101, MISS), at(101, MISS)], [true, true, false]);
        assert_eq!(reservoir.statistics(), statistics(7, 5, 0));
    }

    #[test]
    fn a_quota_of_none_leaves_all_to_chance_and_borrows_nothing() {
        let mut reservoir = with_quota(0, 110);
        assert!(!reservoir.decide(5, 0.1, 100, MISS));
        assert_eq!(reservoir.statistics(), statistics(1, 0, 0));
    }

    #[test]
    fn an_expired_quota_is_borrowed_from_again() {
        let mut reservoir = with_quota(2, 110);
        assert_eq!((reservoir.quota_at(110), reservoir.quota_at(111)), (Some(2), None));
        assert!(reservoir.decide(5, 0.1, 110, MISS));
        assert!(reservoir.decide(5, 0.1, 111, MISS));
        assert!(!reservoir.decide(5, 0.1, 111, MISS));
        assert_eq!(reservoir.statistics(), statistics(3, 1, 1));
    }

    #[test]
    fn a_rate_of_one_keeps_all_and_of_zero_none() {
        let mut reservoir = with_quota(0, 110);
        assert!(reservoir.decide(0, 1.0, 100, 0.999_999));
        assert!(!reservoir.decide(0, 0.0, 100, 0.0));
    }

    #[test]
    fn what_a_target_does_not_say_stays() {
        let mut reservoir = with_quota(2, 110);
        reservoir.aim(Target { rate: Some(1.0), ..Target::default() });
        assert_eq!(reservoir.quota_at(110), Some(2));
        assert_eq!(reservoir.rate(), Some(1.0));
        for _ in 0..3 {
            assert!(reservoir.decide(5, 0.0, 100, 0.5), "the target's rate replaces the rule's");
        }
        reservoir.forget_rate();
        assert!(!reservoir.decide(5, 0.0, 100, 0.5));
        assert_eq!(reservoir.quota_at(110), Some(2));
    }

    #[test]
    fn statistics_are_taken_when_there_are_any_and_the_interval_is_over() {
        let mut reservoir = Reservoir::default();
        assert_eq!(reservoir.take_statistics(100), None);
        reservoir.decide(1, 0.0, 100, MISS);
        assert_eq!(reservoir.take_statistics(100), Some(statistics(1, 0, 1)));
        reservoir.decide(1, 0.0, 101, MISS);
        assert_eq!(reservoir.take_statistics(109), None);
        assert_eq!(reservoir.take_statistics(110), Some(statistics(1, 0, 1)));
        reservoir.aim(Target { interval: Some(30), ..Target::default() });
        reservoir.decide(1, 0.0, 111, MISS);
        assert_eq!(reservoir.take_statistics(139), None);
        assert!(reservoir.take_statistics(140).is_some());
    }

    #[test]
    fn neither_an_endless_interval_nor_a_clock_set_back_silences_a_rule() {
        let mut reservoir = Reservoir::default();
        reservoir.aim(Target { interval: Some(u64::MAX), ..Target::default() });
        reservoir.decide(1, 0.0, 10_000, MISS);
        assert!(reservoir.take_statistics(10_000).is_some());
        reservoir.decide(1, 0.0, 10_000, MISS);
        assert_eq!(reservoir.take_statistics(9_000), None);
        assert!(reservoir.take_statistics(6_400).is_some());
    }

    #[test]
    fn what_could_not_be_reported_is_put_back() {
        let mut reservoir = Reservoir::default();
        reservoir.decide(1, 0.0, 100, MISS);
        let taken = reservoir.take_statistics(100).unwrap();
        reservoir.decide(1, 1.0, 100, MISS);
        reservoir.put_back(taken);
        assert_eq!(reservoir.statistics(), statistics(2, 1, 1));
    }

    #[test]
    fn a_local_rule_keeps_so_many_a_second_and_a_share_of_the_rest() {
        let mut reservoir = LocalReservoir::default();
        let mut at = |now, random| reservoir.decide(2, 0.1, now, random);
        assert_eq!([at(5, MISS), at(5, MISS), at(5, MISS), at(5, HIT)], [true, true, false, true]);
        assert!(at(6, MISS));
    }
}
