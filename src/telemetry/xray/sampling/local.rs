//! Local rules: a file as X-Ray's SDKs read it, or the rules that they have built in.

use std::fmt;

use serde_json::{Map, Value};

use super::central;
use super::rule::{Field, Rule};

/// The SDKs' built-in rule: one request a second, and 5 % of the rest.
const BUILT_IN: (u32, f64) = (1, 0.05);

/// Rules that this process goes by itself, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRules {
    pub(super) rules: Vec<Rule>,
    /// For whatever none of the rules matches.
    pub(super) default: Rule,
    path: Option<String>,
}

/// A file of local rules cannot be used: which field is at fault, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but not as it should be.
    #[error("{field}: {fault}")]
    Field {
        /// Where in the file, such as `rules[0].rate`.
        field: String,
        /// What is wrong there.
        fault: String,
    },
}

impl Default for LocalRules {
    /// The built-in rule.
    fn default() -> Self {
        let (target, rate) = BUILT_IN;
        Self { rules: Vec::new(), default: Rule::new("default", None, target, rate), path: None }
    }
}

impl LocalRules {
    /// Understands the contents of the file at `path`: version 1 or 2 of the SDKs' files, or one rule as
    /// `aws xray create-sampling-rule --cli-input-json` takes it, after which the built-in one catches the rest.
    ///
    /// # Errors
    /// The first field that is not as it should be.
    pub fn parse(text: &str, path: &str) -> Result<Self, FileFault> {
        let file: Value =
            serde_json::from_str(text).map_err(|fault| FileFault::NotJson(fault.to_string()))?;
        let Value::Object(file) = file else { return Err(at("the file", "it is not an object")) };
        let rules = if file.contains_key("SamplingRule") { one_rule(file) } else { sdk_rules(&file) };
        Ok(Self { path: Some(path.to_owned()), ..rules? })
    }

    /// Whether they are those that hold where there is no file.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.path.is_none()
    }

    /// Whether there are rules, and none is for a service whose segments have this name: the default would decide
    /// on everything. The SDKs' files have no such criterion; one rule as AWS takes it has.
    #[must_use]
    pub fn pass_over(&self, name: &str) -> bool {
        !self.rules.is_empty() && !self.rules.iter().any(|rule| rule.admits_name(name))
    }
}

/// Says where they come from.
impl fmt::Display for LocalRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "local rules from {path}"),
            None => f.write_str("built-in local rules"),
        }
    }
}

fn at(field: &str, fault: &str) -> FileFault {
    FileFault::Field { field: field.to_owned(), fault: fault.to_owned() }
}

fn one_rule(file: Map<String, Value>) -> Result<LocalRules, FileFault> {
    let mut rule = central::rule(Value::Object(file)).map_err(|reason| at("SamplingRule", &reason))?;
    // Priorities are for comparing with others.
    rule.priority = None;
    Ok(LocalRules { rules: vec![rule], ..LocalRules::default() })
}

fn sdk_rules(file: &Map<String, Value>) -> Result<LocalRules, FileFault> {
    let host = match file.get("version").and_then(Value::as_f64) {
        // Version 1 calls it the service's name, but compares it with the Host header all the same.
        Some(1.0) => "service_name",
        Some(2.0) => "host",
        _ if file.contains_key("version") => return Err(at("version", "it is neither 1 nor 2")),
        _ => return Err(at("version", "it is missing; 1 and 2 are known")),
    };
    let default = match file.get("default") {
        None => return Err(at("default", "it is missing; it catches what no rule matches")),
        Some(Value::Object(default)) => default_rule(default)?,
        Some(_) => return Err(at("default", "it is not an object")),
    };
    let rules = match file.get("rules") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(rules)) => rules
            .iter()
            .enumerate()
            .map(|(index, rule)| sdk_rule(index, rule, host))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(at("rules", "it is not an array")),
    };
    Ok(LocalRules { rules, default, path: None })
}

fn default_rule(fields: &Map<String, Value>) -> Result<Rule, FileFault> {
    for field in ["host", "service_name", "http_method", "url_path"] {
        if fields.contains_key(field) {
            return Err(at(&format!("default.{field}"), "the default matches everything and cannot have it"));
        }
    }
    let (target, rate) = numbers("default", fields)?;
    Ok(Rule::new("default", None, target, rate))
}

fn sdk_rule(index: usize, rule: &Value, host: &str) -> Result<Rule, FileFault> {
    let place = format!("rules[{index}]");
    let Value::Object(fields) = rule else { return Err(at(&place, "it is not an object")) };
    for (other, version) in [("host", 2), ("service_name", 1)] {
        if other != host && fields.contains_key(other) {
            let fault = format!("it belongs to version {version} of the file; here it is {host}");
            return Err(at(&format!("{place}.{other}"), &fault));
        }
    }
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(_) => Err(at(&format!("{place}.{name}"), "it is not a text such as * or /api/*")),
        None => Err(at(&format!("{place}.{name}"), "it is missing; * matches anything")),
    };
    let (host, method, path) = (text(host)?, text("http_method")?, text("url_path")?);
    let (target, rate) = numbers(&place, fields)?;
    let name = match fields.get("description").and_then(Value::as_str).map(str::trim) {
        Some(description) if !description.is_empty() => description.to_owned(),
        _ => format!("rule {}", index + 1),
    };
    let rule = Rule::new(&name, None, target, rate);
    Ok(rule.only(Field::Host, host).only(Field::Method, method).only(Field::Path, path))
}

/// `fixed_target` and `rate`.
fn numbers(place: &str, fields: &Map<String, Value>) -> Result<(u32, f64), FileFault> {
    let number = |name: &str, expected: &str| match fields.get(name) {
        Some(value) => Ok(value),
        None => Err(at(&format!("{place}.{name}"), &format!("it is missing; it is {expected}"))),
    };
    let wrong = |name: &str, value: &Value, expected: &str| {
        let shown: String = value.to_string().chars().take(40).collect();
        at(&format!("{place}.{name}"), &format!("{shown} is not {expected}"))
    };
    const TARGET: &str = "a whole number of requests a second, 0 or more";
    const RATE: &str = "a share from 0 to 1";
    let target = number("fixed_target", TARGET)?;
    let whole = target.as_u64().and_then(|target| u32::try_from(target).ok());
    let rate = number("rate", RATE)?;
    let share = rate.as_f64().filter(|rate| (0.0..=1.0).contains(rate));
    Ok((
        whole.ok_or_else(|| wrong("fixed_target", target, TARGET))?,
        // Above 1 the SDKs keep everything; whoever writes 5 most likely means 5 %.
        share.ok_or_else(|| wrong("rate", rate, RATE))?,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rule::Asked;
    use super::*;

    const ASKED: Asked<'_> = Asked {
        host: Some("localhost:4567"),
        method: "GET",
        path: "/api/move/1",
        service_name: "cruddur-backend",
        service_type: None,
    };

    fn parse(file: &Value) -> Result<LocalRules, String> {
        LocalRules::parse(&file.to_string(), "rules.json").map_err(|fault| fault.to_string())
    }

    fn file(host: &str, version: u8) -> Value {
        json!({
            "version": version,
            "rules": [
                {"description": "moves", host: "*", "http_method": "*", "url_path": "/api/move/*",
                    "fixed_target": 0, "rate": 0.05},
                {host: "localhost:*", "http_method": "GET", "url_path": "*", "fixed_target": 2, "rate": 1},
            ],
            "default": {"fixed_target": 1, "rate": 0.1},
        })
    }

    #[test]
    fn both_versions_of_the_file_are_understood() {
        for (host, version) in [("service_name", 1), ("host", 2)] {
            let rules = parse(&file(host, version)).unwrap();
            let names: Vec<_> = rules.rules.iter().map(|rule| &*rule.name).collect();
            assert_eq!(names, ["moves", "rule 2"]);
            assert!(rules.rules[0].matches(&ASKED));
            assert!(rules.rules[1].matches(&ASKED));
            assert!(!rules.rules[1].matches(&Asked { host: Some("cruddur.com"), ..ASKED }));
            assert_eq!((rules.default.reservoir, rules.default.rate), (1, 0.1));
            assert_eq!(rules.to_string(), "local rules from rules.json");
            assert!(!rules.pass_over("anything"), "it is the Host header that they speak of");
        }
        let least = parse(&json!({"version": 2, "default": {"fixed_target": 0, "rate": 0}})).unwrap();
        assert!(least.rules.is_empty() && !least.is_built_in() && !least.pass_over("anything"));
    }

    #[test]
    fn faults_name_the_field() {
        for (pointer, value, fault) in [
            ("/version", json!(3), "version: it is neither 1 nor 2"),
            ("/default", json!([]), "default: it is not an object"),
            ("/default/rate", json!(5), "default.rate: 5 is not a share from 0 to 1"),
            ("/default/rate", json!("0.1"), r#"default.rate: "0.1" is not a share from 0 to 1"#),
            ("/rules", json!({}), "rules: it is not an array"),
            ("/rules/1", json!(7), "rules[1]: it is not an object"),
            ("/rules/1/rate", json!(-0.1), "rules[1].rate: -0.1 is not a share from 0 to 1"),
            (
                "/rules/0/fixed_target",
                json!(-1),
                "rules[0].fixed_target: -1 is not a whole number of requests a second, 0 or more",
            ),
            ("/rules/0/url_path", json!(1), "rules[0].url_path: it is not a text such as * or /api/*"),
            ("/rules/0/http_method", json!(""), "rules[0].http_method: it is not a text such as * or /api/*"),
        ] {
            let mut file = file("host", 2);
            *file.pointer_mut(pointer).unwrap() = value;
            assert_eq!(parse(&file).unwrap_err(), fault);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (pointer, field, fault) in [
            ("", "version", "version: it is missing; 1 and 2 are known"),
            ("", "default", "default: it is missing; it catches what no rule matches"),
            ("/default", "rate", "default.rate: it is missing; it is a share from 0 to 1"),
            ("/rules/0", "host", "rules[0].host: it is missing; * matches anything"),
            ("/rules/0", "http_method", "rules[0].http_method: it is missing; * matches anything"),
            ("/rules/1", "url_path", "rules[1].url_path: it is missing; * matches anything"),
            (
                "/rules/1",
                "fixed_target",
                "rules[1].fixed_target: it is missing; it is a whole number of requests a second, 0 or more",
            ),
        ] {
            let mut file = file("host", 2);
            file.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field).unwrap();
            assert_eq!(parse(&file).unwrap_err(), fault);
        }
    }

    #[test]
    fn a_field_of_the_other_version_is_a_fault() {
        for (host, version, fault) in [
            (
                "service_name",
                2,
                "rules[0].service_name: it belongs to version 1 of the file; here it is host",
            ),
            ("host", 1, "rules[0].host: it belongs to version 2 of the file; here it is service_name"),
        ] {
            assert_eq!(parse(&file(host, version)).unwrap_err(), fault);
        }
    }

    #[test]
    fn the_default_cannot_be_narrowed() {
        for field in ["host", "service_name", "http_method", "url_path"] {
            let mut file = file("host", 2);
            file["default"][field] = json!("*");
            let fault = format!("default.{field}: the default matches everything and cannot have it");
            assert_eq!(parse(&file).unwrap_err(), fault);
        }
    }

    #[test]
    fn what_is_not_json_or_no_object_is_refused() {
        assert!(LocalRules::parse("{", "f").unwrap_err().to_string().starts_with("it is not JSON: EOF"));
        assert_eq!(parse(&json!([])).unwrap_err(), "the file: it is not an object");
    }

    #[test]
    fn our_own_record_is_a_file_and_matches_our_name() {
        let text = include_str!("../../../../aws/json/xray.json");
        let rules = LocalRules::parse(text, "aws/json/xray.json").unwrap();
        let [rule] = &rules.rules[..] else { panic!("one rule") };
        assert_eq!((&*rule.name, rule.reservoir, rule.rate), ("Cruddur", 5, 0.1));
        assert!(rule.matches(&ASKED));
        assert!(!rule.matches(&Asked { service_name: "backend-flask", ..ASKED }));
        assert!(rules.pass_over("backend-flask") && !rules.pass_over("cruddur-backend"));
        assert_eq!((rules.default.reservoir, rules.default.rate), BUILT_IN);
        // As a central rule, too: this is what AWS hands back once it has been created.
        let central = central::rule(serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(central.priority, Some(9000));
        let broken = text.replace("\"Version\": 1", "\"Version\": 2");
        let fault = LocalRules::parse(&broken, "f").unwrap_err().to_string();
        assert_eq!(fault, r#"SamplingRule: rule "Cruddur": Version 2 is not 1"#);
    }
}
