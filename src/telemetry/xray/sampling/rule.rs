//! A sampling rule, wherever it comes from.

use std::fmt;
use std::sync::Arc;

use super::pattern::Pattern;

/// The name of the central rule that comes last and matches everything.
pub(super) const DEFAULT: &str = "Default";

/// What a rule is asked about a request. A field that is not known matches every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The Host header, port included.
    pub host: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The segment's name.
    pub service_name: &'a str,
    /// The segment's origin, such as `AWS::ECS::Container`.
    pub service_type: Option<&'a str>,
}

/// What a pattern is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    Method,
    Path,
    ServiceName,
    ServiceType,
}

impl Field {
    /// The request's side of it.
    pub(super) fn of<'a>(self, asked: &Asked<'a>) -> Option<&'a str> {
        match self {
            Self::Host => asked.host,
            Self::Method => Some(asked.method),
            Self::Path => Some(asked.path),
            Self::ServiceName => Some(asked.service_name),
            Self::ServiceType => asked.service_type,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::ServiceName => "service name",
            Self::ServiceType => "service type",
        })
    }
}

/// Which requests, and how many of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// 1 to 10,000, the lowest first; `None` for local rules, which come in the order of their file.
    pub(super) priority: Option<u16>,
    /// How many requests a second are kept in any case: by all processes together for a central rule, by this one
    /// for a local rule.
    pub(super) reservoir: u32,
    /// The share of the rest that is kept: 0 to 1.
    pub(super) rate: f64,
    /// All have to match. Those that would match anything are left out.
    criteria: Vec<(Field, Pattern)>,
}

impl Rule {
    pub(super) fn new(name: &str, priority: Option<u16>, reservoir: u32, rate: f64) -> Self {
        Self { name: name.into(), priority, reservoir, rate, criteria: Vec::new() }
    }

    /// The rule, only for requests whose `field` is as `pattern` says.
    pub(super) fn only(mut self, field: Field, pattern: &str) -> Self {
        let pattern = Pattern::new(pattern);
        if !pattern.is_anything() {
            self.criteria.push((field, pattern));
        }
        self
    }

    /// The first criterion that the request does not meet; `None` for a match.
    pub(super) fn mismatch(&self, asked: &Asked<'_>) -> Option<(Field, &Pattern)> {
        let fails =
            |(field, pattern): &&(Field, Pattern)| field.of(asked).is_some_and(|text| !pattern.matches(text));
        self.criteria.iter().find(fails).map(|(field, pattern)| (*field, pattern))
    }

    pub(super) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.mismatch(asked).is_none()
    }

    /// Whether a request of a service with this name could match.
    pub(super) fn admits_name(&self, name: &str) -> bool {
        let about_name = self.criteria.iter().filter(|(field, _)| *field == Field::ServiceName);
        about_name.map(|(_, pattern)| pattern).all(|pattern| pattern.matches(name))
    }

    pub(super) fn is_default(&self) -> bool {
        &*self.name == DEFAULT
    }
}

/// Puts central rules in the order in which they are asked: by priority, then by name, `Default` last.
pub(super) fn sort(rules: &mut [Rule]) {
    rules.sort_by(|a, b| {
        let key = |rule: &Rule| (rule.is_default(), rule.priority);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        host: Some("localhost:4567"),
        method: "GET",
        path: "/api/activities/home",
        service_name: "cruddur-backend",
        service_type: Some("AWS::ECS::Container"),
    };

    #[test]
    fn every_criterion_has_to_match_and_the_first_that_does_not_is_named() {
        let rule = Rule::new("r", None, 0, 0.0)
            .only(Field::Host, "LOCALHOST:*")
            .only(Field::Method, "get")
            .only(Field::Path, "/api/*")
            .only(Field::ServiceName, "cruddur-*")
            .only(Field::ServiceType, "AWS::ECS::*");
        assert!(rule.matches(&ASKED));
        for (asked, field) in [
            (Asked { host: Some("cruddur.com"), ..ASKED }, Field::Host),
            (Asked { method: "POST", ..ASKED }, Field::Method),
            (Asked { path: "/", method: "GET", ..ASKED }, Field::Path),
            (Asked { service_name: "other", ..ASKED }, Field::ServiceName),
            (Asked { service_type: Some("AWS::EC2::Instance"), ..ASKED }, Field::ServiceType),
        ] {
            assert_eq!(rule.mismatch(&asked).map(|(field, _)| field), Some(field));
        }
    }

    #[test]
    fn what_is_not_known_of_a_request_matches() {
        let rule = Rule::new("r", None, 0, 0.0).only(Field::Host, "x").only(Field::ServiceType, "y");
        assert!(!rule.matches(&ASKED));
        assert!(rule.matches(&Asked { host: None, service_type: None, ..ASKED }));
    }

    #[test]
    fn priority_comes_first_then_the_name_and_default_last() {
        let of = |name, priority| Rule::new(name, Some(priority), 0, 0.0);
        let mut rules = [of(DEFAULT, 1), of("b", 2), of("a", 2), of("z", 1), of("c", 9999)];
        sort(&mut rules);
        let names: Vec<_> = rules.iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, ["z", "a", "b", "c", DEFAULT]);
    }

    #[test]
    fn a_name_is_admitted_by_the_criterion_about_it_alone() {
        let rule = Rule::new("r", None, 0, 0.0).only(Field::ServiceName, "cruddur-*").only(Field::Path, "/x");
        assert!(rule.admits_name("cruddur-backend") && !rule.admits_name("backend-flask"));
    }
}
