//! The decision on a request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use super::central::CentralRules;
use super::local::LocalRules;
use super::reservoir::{LocalReservoir, Reservoir, Statistics, Target};
use super::rule::{Asked, Rule};
use super::{VALID_FOR, seconds};
use crate::telemetry::delivery::random;

/// Decides which requests are kept: by the central rules while there are valid ones that match, else by the local
/// ones. Cloning shares it; any number of threads may ask at once, and none waits for the network.
#[derive(Clone)]
pub struct Sampler(Arc<Inner>);

struct Inner {
    name: Option<String>,
    local: Local,
    /// Written every few minutes, read by every request.
    central: RwLock<Option<Central>>,
}

/// The local rules and where each stands in its second.
pub(super) struct Local {
    pub(super) rules: LocalRules,
    reservoirs: Vec<Mutex<LocalReservoir>>,
    default: Mutex<LocalReservoir>,
}

/// The central rules and where each stands.
pub(super) struct Central {
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: Vec<String>,
    /// When they were fetched, in seconds since the epoch.
    pub(super) fetched: u64,
}

pub(super) struct Entry {
    pub(super) rule: Rule,
    /// Outlives the rule's record when the rules are fetched anew.
    reservoir: Arc<Mutex<Reservoir>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether X-Ray gets a document.
    pub sampled: bool,
    /// The rule that decided.
    pub rule: Arc<str>,
    /// Whether it is one of X-Ray's own. The SDKs give `sampling_rule_name` in a document only for those.
    pub central: bool,
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").finish_non_exhaustive()
    }
}

impl Sampler {
    /// Goes by `local` until there are central rules.
    #[must_use]
    pub fn new(local: LocalRules) -> Self {
        Self::build(None, local)
    }

    /// The same, for a service whose segments all have this name: where no central rule but `Default` is for it,
    /// the poller says so.
    #[must_use]
    pub fn for_service(name: &str, local: LocalRules) -> Self {
        Self::build(Some(name.to_owned()), local)
    }

    fn build(name: Option<String>, rules: LocalRules) -> Self {
        let reservoirs = rules.rules.iter().map(|_| Mutex::default()).collect();
        let local = Local { rules, reservoirs, default: Mutex::default() };
        Self(Arc::new(Inner { name, local, central: RwLock::default() }))
    }

    /// Decides on a request, and counts it.
    #[must_use]
    pub fn decide(&self, request: &Asked<'_>, now: SystemTime) -> Decision {
        self.decide_at(request, now, random())
    }

    /// The same, with a given chance in `0.0..1.0`.
    #[must_use]
    pub fn decide_at(&self, request: &Asked<'_>, now: SystemTime, random: f64) -> Decision {
        let now = seconds(now);
        self.decide_centrally(request, now, random)
            .unwrap_or_else(|| self.0.local.decide(request, now, random))
    }

    /// `None` where no valid rule matches.
    fn decide_centrally(&self, request: &Asked<'_>, now: u64, random: f64) -> Option<Decision> {
        let central = self.central();
        let Entry { rule, reservoir } = central.as_ref()?.valid(now)?.entry(request)?;
        let sampled = lock(reservoir).decide(rule.reservoir, rule.rate, now, random);
        Some(Decision { sampled, rule: Arc::clone(&rule.name), central: true })
    }

    /// Goes by `rules` from now on. A rule that was there before keeps its quota and its statistics.
    pub fn install(&self, rules: CentralRules, now: SystemTime) {
        let CentralRules { rules, skipped } = rules;
        let mut central = self.0.central.write().unwrap_or_else(PoisonError::into_inner);
        let known = central.take().map_or_else(Vec::new, |before| before.entries);
        let entries = rules.into_iter().map(|rule| {
            let before = known.iter().find(|entry| entry.rule.name == rule.name);
            let reservoir = before.map_or_else(Arc::default, |entry| Arc::clone(&entry.reservoir));
            lock(&reservoir).forget_rate();
            Entry { rule, reservoir }
        });
        *central = Some(Central { entries: entries.collect(), skipped, fetched: seconds(now) });
    }

    /// Takes what is due to be reported, by rule.
    pub(super) fn take_statistics(&self, now: SystemTime) -> Vec<(Arc<str>, Statistics)> {
        let now = seconds(now);
        let central = self.central();
        let entries = central.as_ref().map_or(&[][..], |central| &central.entries);
        let due = entries.iter().filter_map(|entry| {
            let statistics = lock(&entry.reservoir).take_statistics(now)?;
            Some((Arc::clone(&entry.rule.name), statistics))
        });
        due.collect()
    }

    /// Puts back what could not be reported; a rule that is gone meanwhile has nobody to report to.
    pub(super) fn put_back(&self, rule: &str, statistics: Statistics) {
        self.with_reservoir(rule, |reservoir| reservoir.put_back(statistics));
    }

    /// Follows what AWS wants for a rule.
    pub(super) fn aim(&self, rule: &str, target: Target) {
        self.with_reservoir(rule, |reservoir| reservoir.aim(target));
    }

    fn with_reservoir(&self, rule: &str, change: impl FnOnce(&mut Reservoir)) {
        let central = self.central();
        let entries = central.as_ref().map_or(&[][..], |central| &central.entries);
        if let Some(entry) = entries.iter().find(|entry| &*entry.rule.name == rule) {
            change(&mut lock(&entry.reservoir));
        }
    }

    /// How many central rules there are, and when they were fetched, in seconds since the epoch; whether they hold
    /// still or not.
    pub(super) fn fetched(&self) -> Option<(usize, u64)> {
        self.central().as_ref().map(|central| (central.entries.len(), central.fetched))
    }

    /// The service's name, if no central rule but `Default` is for it.
    pub(super) fn name_without_rule(&self) -> Option<&str> {
        let name = self.0.name.as_deref()?;
        let central = self.central();
        let own = |entry: &Entry| !entry.rule.is_default() && entry.rule.admits_name(name);
        (!central.as_ref()?.entries.iter().any(own)).then_some(name)
    }

    pub(super) fn central(&self) -> RwLockReadGuard<'_, Option<Central>> {
        self.0.central.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn local(&self) -> &Local {
        &self.0.local
    }
}

impl Central {
    /// These, if they hold still.
    pub(super) fn valid(&self, now: u64) -> Option<&Self> {
        (now.abs_diff(self.fetched) <= VALID_FOR).then_some(self)
    }

    /// The first one that matches.
    pub(super) fn entry(&self, request: &Asked<'_>) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.rule.matches(request))
    }
}

impl Entry {
    /// Where it stands.
    pub(super) fn standing(&self) -> Reservoir {
        *lock(&self.reservoir)
    }
}

impl Local {
    fn decide(&self, request: &Asked<'_>, now: u64, random: f64) -> Decision {
        let mut rules = self.rules.rules.iter().zip(&self.reservoirs);
        let (rule, reservoir) =
            rules.find(|(rule, _)| rule.matches(request)).unwrap_or((&self.rules.default, &self.default));
        let sampled = lock(reservoir).decide(rule.reservoir, rule.rate, now, random);
        Decision { sampled, rule: Arc::clone(&rule.name), central: false }
    }
}

/// What is behind it is counters: a panic elsewhere does not make them unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const ASKED: Asked<'_> = Asked {
        host: Some("localhost"),
        method: "GET",
        path: "/api/activities/home",
        service_name: "cruddur-backend",
        service_type: None,
    };
    /// Above every rate here, and below.
    const MISS: f64 = 0.99;
    const HIT: f64 = 0.0;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Rules by name, priority, service name and reservoir, at a rate of 10 %.
    fn central(rules: &[(&str, u16, &str, u32)]) -> CentralRules {
        let record = |(name, priority, service, reservoir): &(&str, u16, &str, u32)| -> Value {
            json!({"SamplingRule": {"RuleName": name, "ResourceARN": "*", "Priority": priority, "FixedRate": 0.1,
                "ReservoirSize": reservoir, "ServiceName": service, "ServiceType": "*", "Host": "*",
                "HTTPMethod": "*", "URLPath": "*", "Version": 1}})
        };
        let mut all = CentralRules::default();
        let page = json!({"SamplingRuleRecords": rules.iter().map(record).collect::<Vec<_>>()});
        all.add_page(page.to_string().as_bytes()).unwrap();
        assert!(all.skipped.is_empty(), "{all:?}");
        all
    }

    fn decided(sampler: &Sampler, second: u64, random: f64) -> (bool, String, bool) {
        let Decision { sampled, rule, central } = sampler.decide_at(&ASKED, at(second), random);
        (sampled, rule.to_string(), central)
    }

    fn local(sampled: bool) -> (bool, String, bool) {
        (sampled, "default".to_owned(), false)
    }

    #[test]
    fn local_rules_decide_until_there_are_central_ones_and_after_those_have_expired() {
        let sampler = Sampler::new(LocalRules::default());
        assert_eq!(decided(&sampler, 100, MISS), local(true));
        assert_eq!(decided(&sampler, 100, MISS), local(false));
        assert_eq!(decided(&sampler, 100, HIT), local(true));
        sampler.install(central(&[("Cruddur", 9000, "cruddur-*", 0)]), at(100));
        assert_eq!(decided(&sampler, 100, MISS), (false, "Cruddur".to_owned(), true));
        assert_eq!(decided(&sampler, 100 + VALID_FOR, HIT), (true, "Cruddur".to_owned(), true));
        assert_eq!(decided(&sampler, 101 + VALID_FOR, MISS), local(true));
        sampler.install(central(&[("Cruddur", 9000, "cruddur-*", 0)]), at(5000));
        assert_eq!(decided(&sampler, 5000, MISS), (false, "Cruddur".to_owned(), true));
    }

    #[test]
    fn local_rules_decide_where_no_central_one_matches() {
        let sampler = Sampler::new(LocalRules::default());
        sampler.install(central(&[("Other", 1, "other", 1)]), at(100));
        assert_eq!(decided(&sampler, 100, MISS), local(true));
        sampler.install(CentralRules::default(), at(100));
        assert_eq!(decided(&sampler, 101, MISS), local(true));
    }

    #[test]
    fn the_first_rule_in_order_decides_and_default_comes_last() {
        let sampler = Sampler::new(LocalRules::default());
        let name = |second| decided(&sampler, second, MISS).1;
        sampler.install(central(&[("Default", 10_000, "*", 1), ("b", 2, "*", 1), ("a", 2, "*", 1)]), at(1));
        assert_eq!(name(1), "a");
        sampler.install(central(&[("Default", 1, "nobody", 1), ("b", 2, "other", 1)]), at(2));
        assert_eq!(name(2), "Default");
    }

    #[test]
    fn first_match_in_file_order_decides_locally() {
        let rule = |path: &str, rate: f64| json!({"host": "*", "http_method": "*", "url_path": path, "fixed_target": 0, "rate": rate});
        let file = json!({"version": 2, "rules": [rule("/x", 0.0), rule("/api/*", 1.0), rule("*", 0.0)],
            "default": {"fixed_target": 0, "rate": 0}});
        let sampler = Sampler::new(LocalRules::parse(&file.to_string(), "f").unwrap());
        assert_eq!(decided(&sampler, 1, MISS), (true, "rule 2".to_owned(), false));
        let elsewhere = sampler.decide_at(&Asked { path: "/", ..ASKED }, at(1), HIT);
        assert_eq!((elsewhere.sampled, &*elsewhere.rule), (false, "rule 3"));
    }

    #[test]
    fn fetching_anew_keeps_quota_and_statistics_by_name_but_not_the_targets_rate() {
        let sampler = Sampler::new(LocalRules::default());
        let rules = || central(&[("a", 1, "cruddur-*", 5), ("b", 2, "*", 5)]);
        sampler.install(rules(), at(100));
        let target = Target { rate: Some(0.0), quota: Some(1), quota_until: Some(200), interval: None };
        sampler.aim("a", target);
        sampler.aim("gone", target);
        assert!(decided(&sampler, 100, MISS).0, "by quota");
        assert!(!decided(&sampler, 100, HIT).0, "the target's rate is 0");
        sampler.install(rules(), at(101));
        assert!(!decided(&sampler, 100, MISS).0, "the quota of this second is used up");
        assert!(decided(&sampler, 100, HIT).0, "the rule's rate is 0.1");
        let statistics = Statistics { requests: 4, sampled: 2, borrowed: 0 };
        assert_eq!(sampler.take_statistics(at(101)), [("a".into(), statistics)]);
        assert_eq!(sampler.take_statistics(at(102)), []);
        sampler.put_back("a", statistics);
        sampler.put_back("gone", statistics);
        sampler.install(central(&[("b", 2, "*", 5)]), at(111));
        assert_eq!(sampler.take_statistics(at(111)), [], "it went with its rule");
    }

    #[test]
    fn a_name_that_no_rule_is_for_is_noticed() {
        let sampler = Sampler::for_service("backend-flask", LocalRules::default());
        assert_eq!(sampler.name_without_rule(), None, "nothing is known yet");
        sampler.install(central(&[("Default", 10_000, "*", 1), ("Cruddur", 9000, "cruddur-*", 1)]), at(1));
        assert_eq!(sampler.name_without_rule(), Some("backend-flask"));
        sampler.install(central(&[("All", 9000, "*", 1)]), at(1));
        assert_eq!(sampler.name_without_rule(), None);
    }

    #[test]
    fn many_threads_ask_at_once_and_every_request_is_counted() {
        let sampler = Sampler::new(LocalRules::default());
        sampler.install(central(&[("a", 1, "*", 5)]), at(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        drop(sampler.decide_at(&ASKED, at(1), MISS));
                    }
                });
            }
            for _ in 0..10 {
                sampler.install(central(&[("a", 1, "*", 5)]), at(1));
            }
        });
        let statistics = Statistics { requests: 4000, sampled: 0, borrowed: 1 };
        assert_eq!(sampler.take_statistics(at(1)), [("a".into(), statistics)]);
    }
}
