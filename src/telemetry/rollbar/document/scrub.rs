//! No secret leaves: whatever somebody else wrote passes here first.
//!
//! Keys tell secrets (`password=…`, `"token": "…"`), and so do values that look like nothing else: tokens of known
//! makes, keys, card numbers, userinfo in URLs. Better one word too many is taken out than one too few.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use regex::{Captures, Regex};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::telemetry::observe::redact::{self, REDACTED};

/// The longest text in an item, in bytes.
pub(super) const LONGEST: usize = 4096;
/// As much of a text is looked at; what comes after is not sent anyway.
const LONGEST_READ: usize = 8 * LONGEST;
/// How deep values are nested at most.
const DEEPEST: usize = 8;

/// Takes secrets out of texts.
#[derive(Clone)]
pub(in super::super) struct Scrubber {
    /// Our own: it may have been sent to us as well.
    token: SecretString,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").finish_non_exhaustive()
    }
}

impl Scrubber {
    pub(in super::super) fn new(token: SecretString) -> Self {
        Self { token }
    }

    /// A text without its secrets, and not longer than [`LONGEST`]; `known` are ids that only look like some.
    pub(super) fn text(&self, text: &str, known: &[String]) -> String {
        let clean = self.clean(cut(text, LONGEST_READ), known);
        let decoded = percent_decode_str(&clean).decode_utf8_lossy();
        if decoded == clean {
            return cut(&clean, LONGEST).to_owned();
        }
        // What was hidden by its encoding is shown without it, or it would still be there.
        let clean_decoded = self.clean(&decoded, known);
        cut(if clean_decoded == decoded { &clean } else { &clean_decoded }, LONGEST).to_owned()
    }

    /// A value without its secrets, of which those under suspect keys are some whatever they look like.
    pub(super) fn value(&self, value: &Value, known: &[String]) -> Value {
        self.nested(value, known, DEEPEST)
    }

    /// A field's value.
    pub(super) fn field(&self, key: &str, value: &Value, known: &[String]) -> Value {
        if is_secret(key) { REDACTED.into() } else { self.value(value, known) }
    }

    fn nested(&self, value: &Value, known: &[String], depth: usize) -> Value {
        match value {
            Value::String(text) => self.text(text, known).into(),
            Value::Number(number) => {
                let text = number.to_string();
                if self.text(&text, known) == text { value.clone() } else { REDACTED.into() }
            }
            Value::Array(_) | Value::Object(_) if depth == 0 => "…".into(),
            Value::Array(values) => values.iter().map(|value| self.nested(value, known, depth - 1)).collect(),
            Value::Object(fields) => {
                let clean = fields.iter().map(|(key, value)| {
                    let value =
                        if is_secret(key) { REDACTED.into() } else { self.nested(value, known, depth - 1) };
                    (self.text(key, known), value)
                });
                clean.collect::<Map<_, _>>().into()
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// A query's parameters, decoded.
    pub(super) fn query<'a>(
        &'a self,
        query: &'a str,
        known: &'a [String],
    ) -> impl Iterator<Item = (String, String)> + 'a {
        query.split(['&', ';']).filter(|pair| !pair.is_empty()).map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key), decoded(value));
            let value = if is_secret(&key) && !value.is_empty() {
                REDACTED.to_owned()
            } else {
                self.text(&value, known)
            };
            (self.text(&key, known), value)
        })
    }

    fn clean(&self, text: &str, known: &[String]) -> String {
        let text = text.replace(self.token.expose_secret(), REDACTED);
        PATTERNS.iter().fold(text, |text, pattern| match pattern.replace(&text, known) {
            Cow::Owned(clean) => clean,
            Cow::Borrowed(_) => text,
        })
    }
}

/// Whether what is kept under the key is a secret. A status code is none.
fn is_secret(key: &str) -> bool {
    redact::is_suspect(key) && !key.ends_with("status_code")
}

fn decoded(part: &str) -> String {
    percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The beginning of a text, in whole characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// Something that secrets look like, and what remains of it.
struct Pattern {
    regex: Regex,
    remains: fn(&Captures<'_>, &[String]) -> Option<String>,
}

impl Pattern {
    fn new(regex: &str, remains: fn(&Captures<'_>, &[String]) -> Option<String>) -> Self {
        Self { regex: Regex::new(regex).expect("a pattern of this file"), remains }
    }

    fn replace<'a>(&self, text: &'a str, known: &[String]) -> Cow<'a, str> {
        self.regex.replace_all(text, |found: &Captures<'_>| {
            (self.remains)(found, known).unwrap_or_else(|| part(found, 0).to_owned())
        })
    }
}

fn part<'a>(found: &'a Captures<'_>, at: usize) -> &'a str {
    found.get(at).map_or("", |part| part.as_str())
}

/// In the order in which they are looked for: what names a secret goes before what looks like one.
static PATTERNS: LazyLock<[Pattern; 10]> = LazyLock::new(|| {
    /// What a key of a secret has in it; `redact` has the same for queries.
    const WORDS: &str = "pass|pwd|secret|token|api[ _-]?key|auth|session|csrf|cookie|signature|credential|card|cvv|\
                         ssn|otp|access_?key";
    const QUOTED: &str = r#"\w*\(?\\?"(?:[^"\\]|\\[^"])*\\?"?|'[^']*'?"#;
    let whole: fn(&Captures<'_>, &[String]) -> Option<String> = |_, _| Some(REDACTED.to_owned());
    let assigned =
        format!(r#"(?i)([\w.\[\]-]*(?:{WORDS}|code)[\w.\[\]-]*\\?["']?\s*=>?\s*)({QUOTED}|[^\s&;,"']+)"#);
    let labelled = format!(
        r#"(?i)([\w.\[\]-]*(?:{WORDS})[\w.\[\]-]*\\?["']?\s*:\s*)({QUOTED}|[^\s:,;&"'}}\]][^,;&\n"'}}\]]*)"#
    );
    [
        Pattern::new(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
            whole,
        ),
        Pattern::new(r#"(?i)([a-z][a-z0-9+.-]*://)([^\s"'<>]*)@"#, |found, _| {
            (!is_host(part(found, 2))).then(|| format!("{}{REDACTED}@", part(found, 1)))
        }),
        Pattern::new(r#"[^\s/@:"'<>=]+:[^\s/@:"'<>]+@([\w-])"#, |found, _| {
            Some(format!("{REDACTED}@{}", part(found, 1)))
        }),
        Pattern::new(r"(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=:-]{4,}", |found, _| {
            Some(format!("{} {REDACTED}", part(found, 1)))
        }),
        Pattern::new(&assigned, |found, _| {
            let (key, value) = (part(found, 1), part(found, 2));
            // An exit code, a status code.
            let is_number = value.len() <= 3 && value.bytes().all(|byte| byte.is_ascii_digit());
            (!is_number && value != REDACTED).then(|| format!("{key}{REDACTED}"))
        }),
        Pattern::new(&labelled, |found, _| {
            let (key, value) = (part(found, 1), part(found, 2));
            // A line of a file that is about secrets: src/auth.rs:5:9.
            let is_place = key.ends_with(".rs:") || value == REDACTED;
            (!is_place).then(|| format!("{key}{REDACTED}"))
        }),
        // JSON Web Tokens; tokens of GitHub, GitLab, Slack, Stripe, Honeycomb and Google; ids of AWS's keys.
        Pattern::new(
            r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{10,}|xox[abeoprs]-[\w-]{8,}|[sr]k_(?:live|test)_\w{8,}|hc[a-z]i[ck]_\w{10,}|AIza[\w-]{30,}|\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|ANPA|AROA)[A-Z0-9]{12,}",
            whole,
        ),
        // A secret key of AWS has 40 characters of base64. Paths may be as long, but rarely have all of these.
        Pattern::new(r"[A-Za-z0-9/+=]{40,}", |found, _| {
            let has = |kind: fn(&u8) -> bool| part(found, 0).as_bytes().iter().any(kind);
            let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
            mixed.then(|| REDACTED.to_owned())
        }),
        Pattern::new(r"(?i)[0-9a-f]{32,}", |found, known| {
            let text = part(found, 0);
            (!known.iter().any(|known| known == text)).then(|| REDACTED.to_owned())
        }),
        Pattern::new(r"\b[0-9](?:[ -]?[0-9]){12,18}\b", |found, _| {
            is_card(part(found, 0)).then(|| REDACTED.to_owned())
        }),
    ]
});

/// Whether what stands before an `@` in a URL is no userinfo, but host, port and path of `https://host:8080/@handle`.
fn is_host(before: &str) -> bool {
    let port = before.split('/').next().and_then(|authority| authority.split_once(':')).map(|(_, port)| port);
    before.ends_with('/') && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether digits end with the check digit that those of cards have (Luhn's).
fn is_card(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|c| c.to_digit(10)).enumerate();
    let sum: u32 = digits
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "6b010660e0e8f3c1ea139ac73842046c";

    fn scrub(text: &str) -> String {
        Scrubber::new("our-own-token".into()).text(text, &[TRACE.to_owned()])
    }

    #[test]
    fn secrets_are_taken_out_of_texts() {
        for (text, clean) in [
            ("postgres://admin:hunter2@db refused", "postgres://REDACTED@db refused"),
            ("https://hunter2@github.com/x", "https://REDACTED@github.com/x"),
            ("https://hunter2/a/b@github.com/x", "https://REDACTED@github.com/x"),
            ("https://u:hunter2/@github.com/x", "https://REDACTED@github.com/x"),
            ("redis://:hunter2@cache:6379/0", "redis://REDACTED@cache:6379/0"),
            ("amqp://u:a/hunter2@mq", "amqp://REDACTED@mq"),
            ("admin:hunter2@db.example.com", "REDACTED@db.example.com"),
            ("got our-own-token here", "got REDACTED here"),
            ("Authorization: Bearer hunter2.abc", "Authorization: REDACTED"),
            ("sent Basic aHVudGVyMg== to it", "sent Basic REDACTED to it"),
            ("password=hunter2 host=db", "password=REDACTED host=db"),
            ("PGPASSWORD = 'hunter 2' x", "PGPASSWORD = REDACTED x"),
            (r#"{"user":"a","api_key":"hunter2"}"#, r#"{"user":"a","api_key":REDACTED}"#),
            (r#"{\"secret\":\"hunter2\",\"a\":1}"#, r#"{\"secret\":REDACTED,\"a\":1}"#),
            (r#"Login { password: Some("hunter2, 3"), user: 1 }"#, "Login { password: REDACTED), user: 1 }"),
            ("password: hunter2 and more; user: 1", "password: REDACTED; user: 1"),
            ("?token=hunter2&page=2", "?token=REDACTED&page=2"),
            ("pass%77ord%3Dhunter2 x", "password=REDACTED x"),
            ("https://u%3Ahunter2%40db/", "https://REDACTED@db/"),
            ("a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln b", "a REDACTED b"),
            ("key AKIAIOSFODNN7EXAMPLE used", "key REDACTED used"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK4Y", "REDACTED"),
            ("it is //wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEK4Y!", "it is REDACTED!"),
            ("id 0123456789abcdef0123456789ABCDEF!", "id REDACTED!"),
            ("paid with 4111 1111 1111 1111.", "paid with REDACTED."),
            ("paid with 4111-1111-1111-1111.", "paid with REDACTED."),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----.", "REDACTED."),
            ("-----BEGIN PRIVATE KEY-----\nMII", "REDACTED"),
        ] {
            assert_eq!(scrub(text), clean, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "page 1 cannot be read",
            "invalid digit found in string",
            "no such crud 68f126b0-1ceb-4a33-88be-d90fa7109eee",
            "http://localhost:4567/api/activities/@worf",
            "worf@enterprise.example",
            "exit code=1, status_code=500",
            "100% of 4111 1111 1111 1112",
            "cruddur::auth::login panicked at src/auth.rs:5:9",
            "/usr/share/doc/libraries/with/long/names/and/more",
            TRACE,
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn values_are_judged_by_their_keys_and_by_their_looks() {
        let scrubber = Scrubber::new("our-own-token".into());
        let value = json!({
            "user": {"password": ["hunter2"], "name": "worf"},
            "card": 4_111,
            "paid": 4_111_111_111_111_111_u64,
            "http.response.status_code": 500,
            "deep": [[[[[[[[["hunter2"]]]]]]]]],
        });
        let clean = json!({
            "user": {"password": REDACTED, "name": "worf"},
            "card": REDACTED,
            "paid": REDACTED,
            "http.response.status_code": 500,
            "deep": [[[[[[["…"]]]]]]],
        });
        assert_eq!(scrubber.value(&value, &[]), clean);
        assert_eq!(scrubber.field("otp", &json!(123_456), &[]), json!(REDACTED));
    }

    #[test]
    fn a_query_is_judged_decoded() {
        let scrubber = Scrubber::new("our-own-token".into());
        let pairs: Vec<_> = scrubber.query("a=b+c&to%6ben=x&next=https%3A%2F%2Fu%3Ap%40h&d", &[]).collect();
        let expected = [("a", "b c"), ("token", REDACTED), ("next", "https://REDACTED@h"), ("d", "")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn long_texts_are_cut_in_whole_characters() {
        assert_eq!(scrub(&"ä".repeat(LONGEST)).len(), LONGEST);
        assert_eq!(scrub(&"€".repeat(LONGEST)).len(), LONGEST - 1);
    }
}
