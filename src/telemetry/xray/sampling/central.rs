//! What AWS's sampling API says, in its own words: `GetSamplingRules` and `GetSamplingTargets`.
//!
//! The limits are those of the service's model (`xray`, 2016-04-12).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reservoir::{Statistics, Target};
use super::rule::{self, DEFAULT, Field, Rule};

/// Priorities go from 1 to this; it is `Default`'s.
const LAST_PRIORITY: u16 = 10_000;
/// The most characters of a rule's name.
const LONGEST_NAME: usize = 32;
/// The most characters of a pattern. AWS's own limits are lower; this only bounds the work of matching.
const LONGEST_PATTERN: usize = 500;

/// The rules of an AWS account, in the order in which they are asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CentralRules {
    pub(super) rules: Vec<Rule>,
    /// Why a rule was left out, a sentence for each.
    pub(super) skipped: Vec<String>,
}

impl CentralRules {
    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds a page of the API's answer and returns the token of the next one. A record that is no rule for us is
    /// skipped.
    pub(super) fn add_page(&mut self, body: &[u8]) -> serde_json::Result<Option<String>> {
        let page: RulesPage = serde_json::from_slice(body)?;
        for record in page.sampling_rule_records.unwrap_or_default() {
            match rule(record) {
                Ok(rule) if self.rules.iter().any(|other| other.name == rule.name) => {
                    self.skipped.push(format!("rule {:?} comes twice", rule.name));
                }
                Ok(rule) => self.rules.push(rule),
                Err(reason) => self.skipped.push(reason),
            }
        }
        rule::sort(&mut self.rules);
        Ok(page.next_token.filter(|token| !token.is_empty()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RulesPage {
    sampling_rule_records: Option<Vec<Value>>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    sampling_rule: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireRule {
    rule_name: String,
    #[serde(rename = "ResourceARN")]
    resource_arn: String,
    priority: u16,
    fixed_rate: f64,
    reservoir_size: u32,
    service_name: String,
    service_type: Option<String>,
    host: String,
    #[serde(rename = "HTTPMethod")]
    http_method: String,
    #[serde(rename = "URLPath")]
    url_path: String,
    version: i64,
    attributes: Option<Map<String, Value>>,
}

/// A record of `GetSamplingRules`, or what `create-sampling-rule` takes: both are `{"SamplingRule": {…}}`.
pub(super) fn rule(record: Value) -> Result<Rule, String> {
    let record: Record = serde_json::from_value(record).map_err(|_| "a record is not an object")?;
    let Some(fields) = record.sampling_rule else { return Err("a record has no SamplingRule".to_owned()) };
    let label = match fields.get("RuleName").and_then(Value::as_str) {
        Some(name) => format!("rule {:?}", name.chars().take(LONGEST_NAME).collect::<String>()),
        None => "a rule without a RuleName".to_owned(),
    };
    let wire = serde_json::from_value(Value::Object(fields)).map_err(|fault| format!("{label}: {fault}"))?;
    usable(wire).map_err(|reason| format!("{label}: {reason}"))
}

fn usable(wire: WireRule) -> Result<Rule, String> {
    let name_length = wire.rule_name.chars().count();
    if !(1..=LONGEST_NAME).contains(&name_length) {
        return Err(format!("its RuleName has {name_length} characters, not 1 to {LONGEST_NAME}"));
    }
    if wire.version != 1 {
        return Err(format!("Version {} is not 1", wire.version));
    }
    if wire.resource_arn != "*" {
        return Err("it is for one ResourceARN".to_owned());
    }
    if wire.attributes.is_some_and(|attributes| !attributes.is_empty()) {
        return Err("it asks for Attributes, which are not known when a request begins".to_owned());
    }
    let Some(service_type) = wire.service_type else { return Err("it has no ServiceType".to_owned()) };
    if !(1..=LAST_PRIORITY).contains(&wire.priority) {
        return Err(format!("Priority {} is not from 1 to {LAST_PRIORITY}", wire.priority));
    }
    if !(0.0..=1.0).contains(&wire.fixed_rate) {
        return Err(format!("FixedRate {} is not from 0 to 1", wire.fixed_rate));
    }
    let criteria = [
        (Field::Host, wire.host),
        (Field::Method, wire.http_method),
        (Field::Path, wire.url_path),
        (Field::ServiceName, wire.service_name),
        (Field::ServiceType, service_type),
    ];
    if let Some((field, _)) = criteria.iter().find(|(_, pattern)| pattern.len() > LONGEST_PATTERN) {
        return Err(format!("its {field} has more than {LONGEST_PATTERN} bytes"));
    }
    let rule = Rule::new(&wire.rule_name, Some(wire.priority), wire.reservoir_size, wire.fixed_rate);
    // Whatever it says, it is what catches the rest.
    let criteria = criteria.into_iter().filter(|_| wire.rule_name != DEFAULT);
    Ok(criteria.fold(rule, |rule, (field, pattern)| rule.only(field, &pattern)))
}

/// The most documents in a request.
pub(super) const REPORT_AT_MOST: usize = 25;

/// What `GetSamplingTargets` is asked with.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report<'a> {
    pub(super) sampling_statistics_documents: Vec<Document<'a>>,
}

/// What a process has seen of a rule.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document<'a> {
    rule_name: &'a str,
    #[serde(rename = "ClientID")]
    client_id: &'a str,
    timestamp: u64,
    request_count: u64,
    sampled_count: u64,
    borrow_count: u64,
}

impl<'a> Document<'a> {
    pub(super) fn new(rule: &'a str, client_id: &'a str, timestamp: u64, statistics: Statistics) -> Self {
        Self {
            rule_name: rule,
            client_id,
            timestamp,
            request_count: statistics.requests,
            sampled_count: statistics.sampled,
            borrow_count: statistics.borrowed,
        }
    }
}

/// What `GetSamplingTargets` answers.
#[derive(Debug, PartialEq)]
pub(super) struct Targets {
    /// By the rule's name.
    pub(super) targets: Vec<(String, Target)>,
    /// When any rule was last changed, in seconds since the epoch.
    pub(super) last_modification: Option<f64>,
    pub(super) unprocessed: Vec<Unprocessed>,
}

/// A document that AWS did not take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Unprocessed {
    #[serde(default)]
    pub(super) rule_name: String,
    #[serde(default)]
    pub(super) error_code: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Unprocessed {
    /// Whether AWS is at fault, and not what it was sent.
    pub(super) fn is_theirs(&self) -> bool {
        self.error_code.starts_with('5')
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetsReply {
    sampling_target_documents: Option<Vec<Value>>,
    last_rule_modification: Option<f64>,
    unprocessed_statistics: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireTarget {
    rule_name: String,
    fixed_rate: Option<f64>,
    reservoir_quota: Option<u32>,
    #[serde(rename = "ReservoirQuotaTTL")]
    reservoir_quota_ttl: Option<f64>,
    interval: Option<u64>,
}

impl Targets {
    /// Reads the API's answer. An entry that makes no sense is as good as absent.
    pub(super) fn parse(body: &[u8]) -> serde_json::Result<Self> {
        let reply: TargetsReply = serde_json::from_slice(body)?;
        let targets = entries::<WireTarget>(reply.sampling_target_documents).map(|wire| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the cast saturates, and a negative time is long over"
            )]
            let quota_until = wire.reservoir_quota_ttl.map(|seconds| seconds as u64);
            let rate = wire.fixed_rate.filter(|rate| (0.0..=1.0).contains(rate));
            let (quota, interval) = (wire.reservoir_quota, wire.interval);
            (wire.rule_name, Target { rate, quota, quota_until, interval })
        });
        Ok(Self {
            targets: targets.collect(),
            last_modification: reply.last_rule_modification,
            unprocessed: entries(reply.unprocessed_statistics).collect(),
        })
    }
}

fn entries<T: for<'de> Deserialize<'de>>(values: Option<Vec<Value>>) -> impl Iterator<Item = T> {
    values.into_iter().flatten().filter_map(|value| serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::rule::Asked;
    use super::*;

    const ASKED: Asked<'_> = Asked {
        host: Some("localhost"),
        method: "GET",
        path: "/",
        service_name: "cruddur-backend",
        service_type: None,
    };

    /// A good record, changed by `changes`; null removes a field.
    fn record(changes: &Value) -> Value {
        let mut fields = json!({
            "RuleName": "Cruddur", "RuleARN": "arn:aws:xray:eu-central-1:1:sampling-rule/Cruddur",
            "ResourceARN": "*", "Priority": 9000, "FixedRate": 0.1, "ReservoirSize": 5,
            "ServiceName": "cruddur-backend", "ServiceType": "*", "Host": "*", "HTTPMethod": "*",
            "URLPath": "*", "Version": 1, "Attributes": {},
            "SamplingRateBoost": {"MaxRate": 0.5, "CooldownWindowMinutes": 10},
        });
        for (key, value) in changes.as_object().unwrap() {
            fields[key] = value.clone();
        }
        let fields: Map<_, _> =
            fields.as_object().unwrap().clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
        json!({"SamplingRule": fields, "CreatedAt": 0.0, "ModifiedAt": 1_795_219_299.5})
    }

    fn page(records: &[Value]) -> CentralRules {
        let mut rules = CentralRules::default();
        let body = json!({"SamplingRuleRecords": records}).to_string();
        assert_eq!(rules.add_page(body.as_bytes()).unwrap(), None);
        rules
    }

    #[test]
    fn a_good_record_is_a_rule() {
        let rule = rule(record(&json!({}))).unwrap();
        assert_eq!((&*rule.name, rule.priority, rule.reservoir, rule.rate), ("Cruddur", Some(9000), 5, 0.1));
        assert!(rule.matches(&ASKED));
        assert!(!rule.matches(&Asked { service_name: "backend-flask", ..ASKED }));
    }

    #[test]
    fn a_record_that_is_no_rule_for_us_is_skipped_with_its_reason() {
        for (changes, reason) in [
            (json!({"Version": 2}), r#"rule "Cruddur": Version 2 is not 1"#),
            (json!({"ResourceARN": "arn:x"}), r#"rule "Cruddur": it is for one ResourceARN"#),
            (
                json!({"Attributes": {"k": "v"}}),
                r#"rule "Cruddur": it asks for Attributes, which are not known when a request begins"#,
            ),
            (json!({"ServiceType": null}), r#"rule "Cruddur": it has no ServiceType"#),
            (json!({"Priority": 0}), r#"rule "Cruddur": Priority 0 is not from 1 to 10000"#),
            (json!({"Priority": 10_001}), r#"rule "Cruddur": Priority 10001 is not from 1 to 10000"#),
            (json!({"FixedRate": 1.5}), r#"rule "Cruddur": FixedRate 1.5 is not from 0 to 1"#),
            (json!({"FixedRate": -0.1}), r#"rule "Cruddur": FixedRate -0.1 is not from 0 to 1"#),
            (json!({"Host": null}), r#"rule "Cruddur": missing field `Host`"#),
            (json!({"URLPath": "/".repeat(501)}), r#"rule "Cruddur": its path has more than 500 bytes"#),
            (json!({"RuleName": ""}), r#"rule "": its RuleName has 0 characters, not 1 to 32"#),
            (json!({"RuleName": null}), "a rule without a RuleName: missing field `RuleName`"),
        ] {
            assert_eq!(rule(record(&changes)).unwrap_err(), reason);
        }
        for changes in [
            json!({"ReservoirSize": -1}),
            json!({"ReservoirSize": 1.5}),
            json!({"FixedRate": "0.1"}),
            json!({"Priority": 65536}),
            json!({"RuleName": "x".repeat(33)}),
        ] {
            assert_eq!(page(&[record(&changes)]).skipped.len(), 1, "{changes}");
        }
        let rules =
            page(&[json!(1), json!({}), json!({"SamplingRule": 1}), record(&json!({})), record(&json!({}))]);
        assert_eq!((rules.len(), rules.skipped.len()), (1, 4), "{rules:?}");
    }

    #[test]
    fn default_matches_whatever_it_says() {
        let rule =
            rule(record(&json!({"RuleName": "Default", "Host": "nobody", "Priority": 10_000}))).unwrap();
        assert!(rule.matches(&Asked { service_name: "backend-flask", ..ASKED }));
    }

    #[test]
    fn pages_add_up_in_order() {
        let mut rules = CentralRules::default();
        let first = json!({"SamplingRuleRecords": [record(&json!({"RuleName": "Default", "Priority": 10_000}))],
            "NextToken": "more"});
        assert_eq!(rules.add_page(first.to_string().as_bytes()).unwrap().as_deref(), Some("more"));
        let second = json!({"SamplingRuleRecords": [record(&json!({}))], "NextToken": null});
        assert_eq!(rules.add_page(second.to_string().as_bytes()).unwrap(), None);
        assert_eq!(rules.rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>(), ["Cruddur", "Default"]);
        assert_eq!(rules.add_page(b"{}").unwrap(), None);
        assert!(rules.add_page(b"<html>").is_err());
    }

    #[test]
    fn targets_are_read_and_nonsense_in_them_is_not() {
        let reply = json!({
            "SamplingTargetDocuments": [
                {"RuleName": "a", "FixedRate": 0.1, "ReservoirQuota": 2, "ReservoirQuotaTTL": 1_795_219_309.9,
                    "Interval": 10, "SamplingBoost": {"BoostRate": 0.5, "BoostRateTTL": 1.0}},
                {"RuleName": "b", "FixedRate": 2.0, "ReservoirQuotaTTL": -1.0},
                {"FixedRate": 0.1},
            ],
            "LastRuleModification": 1_795_219_299.0,
            "UnprocessedStatistics": [{"RuleName": "c", "ErrorCode": "500", "Message": "sorry"}, {"RuleName": "d"}],
        });
        let Targets { targets, last_modification, unprocessed } =
            Targets::parse(reply.to_string().as_bytes()).unwrap();
        let a =
            Target { rate: Some(0.1), quota: Some(2), quota_until: Some(1_795_219_309), interval: Some(10) };
        let b = Target { quota_until: Some(0), ..Target::default() };
        assert_eq!(targets, [("a".to_owned(), a), ("b".to_owned(), b)]);
        assert_eq!(last_modification, Some(1_795_219_299.0));
        assert_eq!(unprocessed.iter().map(Unprocessed::is_theirs).collect::<Vec<_>>(), [true, false]);
        assert!(Targets::parse(b"{}").is_ok() && Targets::parse(b"").is_err());
    }

    #[test]
    fn a_report_says_what_the_api_wants() {
        let statistics = Statistics { requests: 3, sampled: 2, borrowed: 1 };
        let report = Report {
            sampling_statistics_documents: vec![Document::new("Cruddur", "c0ffee", 17, statistics)],
        };
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            json!({"SamplingStatisticsDocuments": [{"RuleName": "Cruddur", "ClientID": "c0ffee", "Timestamp": 17,
                "RequestCount": 3, "SampledCount": 2, "BorrowCount": 1}]})
        );
    }

    proptest! {
        #[test]
        fn any_value_in_any_field_is_a_rule_or_a_reason(
            field in prop::sample::select(vec!["RuleName", "ResourceARN", "Priority", "FixedRate",
                "ReservoirSize", "ServiceName", "ServiceType", "Host", "HTTPMethod", "URLPath", "Version",
                "Attributes"]),
            value in prop_oneof![
                any::<f64>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
                "(?s).{0,40}".prop_map(Value::from), Just(json!([])), Just(json!({})), Just(Value::Null),
            ],
        ) {
            let rules = page(&[record(&json!({field: value}))]);
            prop_assert_eq!(rules.len() + rules.skipped.len(), 1);
            let reasons = rules.skipped.concat();
            prop_assert!(!reasons.contains(char::is_control), "{}", reasons);
        }
    }
}
