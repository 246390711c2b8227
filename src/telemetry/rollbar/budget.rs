//! How many items there may be: decisions without effects, from what has been and the time.
//!
//! A failure that repeats says nothing new after a few times, and a plan has so many items a month. So of each
//! fingerprint the first five go, then the 10th, the 100th and so on, and begin anew every hour; all together keep to so
//! many a minute. What is not sent is counted, and the next item of its fingerprint says so.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// How many of a fingerprint go at once.
const AT_ONCE: u64 = 5;
/// When counting begins anew.
const WINDOW: Duration = Duration::from_secs(3600);
/// How many fingerprints are remembered.
const REMEMBERED: usize = 1000;
/// How many ids of suppressed failures are named.
const NAMED: usize = 5;
/// The share of the budget that is kept for panics and for what has not been seen before.
const RESERVE: f64 = 0.25;

/// What becomes of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It becomes an item, which tells of those that did not.
    Send(Untold),
    /// It is counted.
    Suppress,
}

/// Failures that nobody has been told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Untold {
    /// How many there were.
    pub(super) count: u64,
    /// The ids of the first few of them: clients may ask about one.
    pub(super) ids: Vec<Uuid>,
}

/// What has been spent, and on what.
#[derive(Debug)]
pub(super) struct Budget {
    bucket: Bucket,
    seen: HashMap<String, Seen>,
}

/// A fingerprint's history.
#[derive(Debug)]
struct Seen {
    since: Instant,
    last: Instant,
    times: u64,
    untold: Untold,
}

impl Budget {
    pub(super) fn new(per_minute: u16, now: Instant) -> Self {
        Self { bucket: Bucket::new(per_minute, now), seen: HashMap::new() }
    }

    /// Decides about a failure of this fingerprint.
    pub(super) fn decide(&mut self, now: Instant, fingerprint: &str, id: Uuid, is_panic: bool) -> Decision {
        self.make_room(fingerprint);
        let fresh = || Seen { since: now, last: now, times: 0, untold: Untold::default() };
        let seen = self.seen.entry(fingerprint.to_owned()).or_insert_with(fresh);
        if now.duration_since(seen.since) >= WINDOW {
            (seen.since, seen.times) = (now, 0);
        }
        (seen.last, seen.times) = (now, seen.times + 1);
        let favoured = is_panic || seen.times == 1;
        if is_telling(seen.times) && self.bucket.take(now, favoured) {
            return Decision::Send(std::mem::take(&mut seen.untold));
        }
        seen.untold.count += 1;
        if seen.untold.ids.len() < NAMED {
            seen.untold.ids.push(id);
        }
        Decision::Suppress
    }

    /// Decides about what the delivery has to say of itself, which is rare.
    pub(super) fn notice(&mut self, now: Instant) -> Decision {
        if self.bucket.take(now, true) { Decision::Send(Untold::default()) } else { Decision::Suppress }
    }

    /// Forgets the fingerprint that has not come for the longest time, where one more would be too many.
    fn make_room(&mut self, fingerprint: &str) {
        if self.seen.len() < REMEMBERED || self.seen.contains_key(fingerprint) {
            return;
        }
        let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.last).map(|(known, _)| known.clone());
        if let Some(oldest) = oldest {
            self.seen.remove(&oldest);
        }
    }
}

/// Whether the n-th of a kind is one to tell of.
fn is_telling(times: u64) -> bool {
    times <= AT_ONCE || 10_u64.checked_pow(times.ilog10()) == Some(times)
}

/// Tokens, which come at a constant rate up to a minute's worth.
#[derive(Debug)]
struct Bucket {
    most: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u16, now: Instant) -> Self {
        let most = f64::from(per_minute);
        Self { most, tokens: most, at: now }
    }

    /// Takes a token, if there is one; the last ones go to who is `favoured`.
    fn take(&mut self, now: Instant, favoured: bool) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.most / 60.0).min(self.most);
        self.at = now;
        // Of a budget of one there is nothing to keep.
        let kept = if favoured { 0.0 } else { (self.most * RESERVE).min(self.most - 1.0).floor() };
        let enough = self.tokens >= kept + 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sent(decision: &Decision) -> bool {
        matches!(decision, Decision::Send(_))
    }

    #[test]
    fn the_first_five_go_and_then_powers_of_ten() {
        let start = Instant::now();
        let mut budget = Budget::new(6000, start);
        let times: Vec<_> =
            (1..=1000).filter(|_| sent(&budget.decide(start, "a", Uuid::nil(), false))).collect();
        assert_eq!(times, [1, 2, 3, 4, 5, 10, 100, 1000]);
    }

    #[test]
    fn an_item_tells_how_many_were_suppressed_since_the_last_one_and_names_a_few() {
        let start = Instant::now();
        let mut budget = Budget::new(6000, start);
        let mut told = Vec::new();
        for n in 1..=100_u128 {
            if let Decision::Send(untold) = budget.decide(start, "a", Uuid::from_u128(n), false) {
                told.push((n, untold.count, untold.ids));
            }
        }
        let ids = |from: u128, to: u128| (from..=to).map(Uuid::from_u128).collect::<Vec<_>>();
        assert!(told.iter().take(5).all(|(_, count, ids)| *count == 0 && ids.is_empty()), "{told:?}");
        assert_eq!(told[5..], [(10, 4, ids(6, 9)), (100, 89, ids(11, 15))]);
    }

    #[test]
    fn counting_begins_anew_every_hour_and_nothing_is_forgotten() {
        let start = Instant::now();
        let mut budget = Budget::new(6000, start);
        for _ in 0..8 {
            budget.decide(start, "a", Uuid::nil(), false);
        }
        assert!(!sent(&budget.decide(start + WINDOW - SECOND, "a", Uuid::nil(), false)));
        let Decision::Send(untold) = budget.decide(start + WINDOW, "a", Uuid::nil(), false) else {
            panic!("suppressed")
        };
        assert_eq!(untold.count, 4);
    }

    #[test]
    fn a_quarter_is_kept_for_panics_and_for_what_is_new() {
        let start = Instant::now();
        let mut budget = Budget::new(60, start);
        for n in 0..60 {
            // Twice each: what is new, and what is not.
            budget.decide(start, &n.to_string(), Uuid::nil(), false);
            budget.decide(start, &n.to_string(), Uuid::nil(), false);
        }
        assert!(!sent(&budget.decide(start, "new", Uuid::nil(), false)), "nothing is left");
        let mut budget = Budget::new(60, start);
        for n in 0..30 {
            for _ in 0..2 {
                budget.decide(start, &n.to_string(), Uuid::nil(), false);
            }
        }
        // 30 were new, and 15 were not: then what is left is for others.
        assert!(!sent(&budget.decide(start, "0", Uuid::nil(), false)));
        assert!(sent(&budget.decide(start, "0", Uuid::nil(), true)), "a panic");
        assert!(sent(&budget.decide(start, "new", Uuid::nil(), false)));
    }

    #[test]
    fn a_budget_of_one_is_one() {
        let start = Instant::now();
        let mut budget = Budget::new(1, start);
        assert!(sent(&budget.decide(start, "a", Uuid::nil(), false)));
        assert!(!sent(&budget.decide(start + 59 * SECOND, "a", Uuid::nil(), false)));
        assert!(sent(&budget.decide(start + 60 * SECOND, "a", Uuid::nil(), false)));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_is_forgotten() {
        let start = Instant::now();
        let mut budget = Budget::new(60, start);
        for n in 0..REMEMBERED + 10 {
            budget.decide(start + Duration::from_millis(n as u64), &n.to_string(), Uuid::nil(), false);
        }
        assert_eq!(budget.seen.len(), REMEMBERED);
        assert!(!budget.seen.contains_key("9") && budget.seen.contains_key("10"));
    }

    proptest! {
        #[test]
        fn never_more_than_a_minutes_worth_and_the_rate(
            steps in prop::collection::vec((0..5_000_u64, 0..50_u8, any::<bool>()), 1..400),
            per_minute in 1..200_u16,
        ) {
            let start = Instant::now();
            let (mut now, mut count, mut told) = (start, 0_u64, 0_u64);
            let mut budget = Budget::new(per_minute, start);
            for (millis, fingerprint, is_panic) in &steps {
                now += Duration::from_millis(*millis);
                let decision = budget.decide(now, &fingerprint.to_string(), Uuid::nil(), *is_panic);
                if let Decision::Send(untold) = decision {
                    count += 1;
                    told += untold.count;
                }
            }
            let minutes = (now - start).as_secs_f64() / 60.0;
            let most = f64::from(per_minute) * (1.0 + minutes);
            #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
            let sent = count as f64;
            prop_assert!(sent <= most + 1e-6, "{sent} {most}");
            // Every failure has been sent, or told, or is yet to be told.
            let untold: u64 = budget.seen.values().map(|seen| seen.untold.count).sum();
            prop_assert_eq!(count + told + untold, steps.len() as u64);
        }
    }
}
