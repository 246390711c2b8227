//! Why a request is kept or not, in words.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use super::reservoir::{Reservoir, Statistics};
use super::rule::{Asked, Rule};
use super::sampler::Sampler;
use super::{VALID_FOR, counted, seconds};

impl Sampler {
    /// What [`Sampler::decide`] goes by for such a request: every rule in order and whether it matches, which one
    /// decides, and by which numbers. Nothing is counted.
    #[must_use]
    pub fn explain(&self, request: &Asked<'_>) -> String {
        self.explain_at(request, SystemTime::now())
    }

    /// The same, at a given time.
    #[must_use]
    pub fn explain_at(&self, request: &Asked<'_>, now: SystemTime) -> String {
        let mut text = String::new();
        // A String takes whatever is written.
        self.write(&mut text, request, seconds(now)).ok();
        // Names and paths are somebody else's: what they hold must not reach the terminal as it is.
        text.chars().fold(String::new(), |mut safe, c| {
            if c.is_control() && c != '\n' {
                safe.extend(c.escape_default())
            } else {
                safe.push(c)
            }
            safe
        })
    }

    fn write(&self, text: &mut String, request: &Asked<'_>, now: u64) -> fmt::Result {
        let Asked { host, method, path, service_name, service_type } = request;
        let unknown = "not known (matches any)";
        writeln!(text, "{method} {path}")?;
        writeln!(text, "  host          {}", host.unwrap_or(unknown))?;
        writeln!(text, "  service name  {service_name}")?;
        writeln!(text, "  service type  {}\n", service_type.unwrap_or(unknown))?;

        let central = self.central();
        let valid = match central.as_ref() {
            Some(central) if central.valid(now).is_some() => Some(central),
            Some(central) => {
                let age = now.abs_diff(central.fetched);
                writeln!(text, "Central rules: fetched {age} s ago, and they hold for {VALID_FOR} s.\n")?;
                None
            }
            None => {
                writeln!(text, "Central rules: none have been fetched.\n")?;
                None
            }
        };
        if let Some(central) = valid {
            let age = now.abs_diff(central.fetched);
            writeln!(text, "Central rules, fetched {age} s ago, in the order in which they are asked:")?;
            let rules = central.entries.iter().map(|entry| &entry.rule);
            list(text, rules, request)?;
            central.skipped.iter().try_for_each(|reason| writeln!(text, "  skipped: {reason}"))?;
            writeln!(text)?;
            if let Some(entry) = central.entry(request) {
                return standing(text, &entry.rule, &entry.standing(), now);
            }
            writeln!(text, "None of them matches, so local rules decide.\n")?;
        }
        drop(central);

        let local = &self.local().rules;
        writeln!(text, "These are the {local}, in the order in which they are asked:")?;
        let rules = || local.rules.iter().chain([&local.default]);
        list(text, rules(), request)?;
        let rule = rules().find(|rule| rule.matches(request)).unwrap_or(&local.default);
        writeln!(text)?;
        verdict(text, rule, "this process")
    }
}

/// A line for each rule.
fn list<'a>(text: &mut String, rules: impl Iterator<Item = &'a Rule>, request: &Asked<'_>) -> fmt::Result {
    let mut decided = false;
    for (rule, number) in rules.zip(1..) {
        write!(text, "  {number}. {}", rule.name)?;
        if let Some(priority) = rule.priority {
            write!(text, " (priority {priority})")?;
        }
        match rule.mismatch(request) {
            Some((field, pattern)) => {
                let found = field.of(request).unwrap_or_default();
                writeln!(text, ": no, its {field} is {pattern}, not {found}")?;
            }
            None if decided => writeln!(text, ": matches, but comes too late")?,
            None => writeln!(text, ": matches, and decides")?,
        }
        decided |= rule.matches(request);
    }
    Ok(())
}

/// Which rule decides, and how many requests it keeps in whom.
fn verdict(text: &mut String, rule: &Rule, whom: &str) -> fmt::Result {
    let (kept, rest) = (counted(rule.reservoir, "request"), Percent(rule.rate));
    writeln!(text, "{} decides: it keeps {kept} a second in {whom}, and {rest} of the rest.", rule.name)
}

/// The numbers of the central rule that decides.
fn standing(text: &mut String, rule: &Rule, reservoir: &Reservoir, now: u64) -> fmt::Result {
    verdict(text, rule, "all processes together")?;
    if let Some(rate) = reservoir.rate() {
        writeln!(text, "AWS has since set the rate of this process to {}.", Percent(rate))?;
    }
    match reservoir.quota_at(now) {
        Some(quota) => {
            writeln!(text, "The share of this process is {} a second.", counted(quota, "request"))?;
        }
        None if rule.reservoir > 0 => {
            writeln!(text, "The share of this process is not known, so it borrows one request a second.")?;
        }
        None => {}
    }
    let Statistics { requests, sampled, borrowed } = reservoir.statistics();
    let requests = counted(requests, "request");
    writeln!(text, "Not reported yet: {requests}, {sampled} kept by quota or chance, {borrowed} borrowed.")
}

/// A share, as people write it.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", (self.0 * 1_000_000.0).round() / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::reservoir::Target;
    use super::super::{CentralRules, LocalRules};
    use super::*;

    const ASKED: Asked<'_> = Asked {
        host: Some("localhost:4567"),
        method: "GET",
        path: "/api/activities/home",
        service_name: "cruddur-backend",
        service_type: None,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn central(rules: &[(&str, u16, &str, i32)]) -> CentralRules {
        let mut all = CentralRules::default();
        let records = rules.iter().map(|(name, priority, path, version)| {
            json!({"SamplingRule": {"RuleName": name, "ResourceARN": "*", "Priority": priority, "FixedRate": 0.1,
                "ReservoirSize": 5, "ServiceName": "*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
                "URLPath": path, "Version": version}})
        });
        let page = json!({"SamplingRuleRecords": records.collect::<Vec<_>>()});
        all.add_page(page.to_string().as_bytes()).unwrap();
        all
    }

    #[test]
    fn every_rule_is_listed_with_what_it_says_and_the_first_match_with_its_numbers() {
        let sampler = Sampler::new(LocalRules::default());
        let rules = [
            ("Default", 10_000, "*", 1),
            ("Cruddur", 9000, "*", 1),
            ("Move", 5, "/move/*", 1),
            ("New", 1, "*", 2),
        ];
        sampler.install(central(&rules), at(100));
        drop(sampler.decide_at(&ASKED, at(100), 0.5));
        let expected = "\
GET /api/activities/home
  host          localhost:4567
  service name  cruddur-backend
  service type  not known (matches any)

Central rules, fetched 40 s ago, in the order in which they are asked:
  1. Move (priority 5): no, its path is /move/*, not /api/activities/home
  2. Cruddur (priority 9000): matches, and decides
  3. Default (priority 10000): matches, but comes too late
  skipped: rule \"New\": Version 2 is not 1

Cruddur decides: it keeps 5 requests a second in all processes together, and 10 % of the rest.
The share of this process is not known, so it borrows one request a second.
Not reported yet: 1 request, 0 kept by quota or chance, 1 borrowed.
";
        assert_eq!(sampler.explain_at(&ASKED, at(140)), expected);
        assert_eq!(sampler.explain_at(&ASKED, at(140)), expected, "nothing was counted");

        let target = Target { rate: Some(0.005), quota: Some(2), quota_until: Some(150), interval: None };
        sampler.aim("Cruddur", target);
        let text = sampler.explain_at(&ASKED, at(140));
        assert!(text.contains("AWS has since set the rate of this process to 0.5 %.\n"), "{text}");
        assert!(text.contains("The share of this process is 2 requests a second.\n"), "{text}");
    }

    #[test]
    fn without_central_rules_the_local_ones_are_explained() {
        let text = Sampler::new(LocalRules::default()).explain_at(&ASKED, at(1));
        let (_, explained) = text.split_once("\n\n").unwrap();
        assert_eq!(
            explained,
            "\
Central rules: none have been fetched.

These are the built-in local rules, in the order in which they are asked:
  1. default: matches, and decides

default decides: it keeps 1 request a second in this process, and 5 % of the rest.
"
        );
    }

    #[test]
    fn central_rules_that_do_not_hold_or_match_are_no_end_of_the_story() {
        let sampler = Sampler::new(LocalRules::default());
        sampler.install(central(&[("Move", 5, "/move/*", 1)]), at(100));
        let text = sampler.explain_at(&ASKED, at(100));
        assert!(
            text.contains("None of them matches, so local rules decide.\n\nThese are the built-in"),
            "{text}"
        );
        let text = sampler.explain_at(&ASKED, at(3701));
        assert!(text.contains("fetched 3601 s ago, and they hold for 3600 s.\n\nThese are"), "{text}");
    }

    #[test]
    fn the_terminal_is_safe_from_what_others_write() {
        let asked = Asked { path: "/\u{1b}[31m", ..ASKED };
        let text = Sampler::new(LocalRules::default()).explain_at(&asked, at(1));
        assert!(text.starts_with("GET /\\u{1b}[31m\n"), "{text}");
    }
}
