//! What a segment document must look like: X-Ray's developer guide, narrowed by AWS's schema, and unknown keys refused,
//! because AWS, the daemon and moto take malformed documents without a word.

use serde_json::{Map, Value};
use unicode_general_category::{GeneralCategory, get_general_category};

/// The most bytes of a document.
const LARGEST: usize = 64 * 1024;
/// The most characters of a string where nothing else is said.
const LONGEST: usize = 250;

type Rule = fn(&mut Checker, &str, &Value);

/// Finds what is wrong; one sentence for each fault, which names the place.
#[derive(Debug, Default)]
struct Checker {
    faults: Vec<String>,
}

/// The document, where nothing is wrong with it.
pub(crate) fn check(document: &[u8]) -> Result<Value, Vec<String>> {
    let value: Value = serde_json::from_slice(document).map_err(|error| vec![format!("no JSON: {error}")])?;
    let mut checker = Checker::default();
    checker.require("the document", document.len() <= LARGEST, &format!("{} bytes", document.len()));
    checker.require("the document", !document.contains(&b'\n'), "more than one line");
    // Where an upload fails, the daemon finds the ids to log by their first occurrence.
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let ids = format!(r#"{{"id":"{}","trace_id":"{}","#, text("id"), text("trace_id"));
    checker.require("the document", document.starts_with(ids.as_bytes()), "the ids do not come first");
    if value.get("type").is_some() {
        checker.require("type", value["type"] == "subsegment", "unknown");
        checker.object("", &value, &["trace_id", "parent_id"], &[INDEPENDENT, COMMON, SUBSEGMENT]);
    } else {
        checker.object("", &value, &["trace_id"], &[INDEPENDENT, COMMON, SEGMENT]);
        checker.verdict(&value);
    }
    checker.timed("", &value);
    if checker.faults.is_empty() { Ok(value) } else { Err(checker.faults) }
}

/// Of whatever is sent by itself.
const INDEPENDENT: &[(&str, Rule)] = &[
    ("trace_id", |checker, at, value| checker.require(at, is_trace_id(value), "no trace id")),
    ("parent_id", |checker, at, value| checker.require(at, is_id(value), "no id")),
    ("type", |_, _, _| {}),
];

const COMMON: &[(&str, Rule)] = &[
    ("id", |checker, at, value| checker.require(at, is_id(value), "no id")),
    ("name", |checker, at, value| checker.require(at, is_name(value), "illegal")),
    ("start_time", |_, _, _| {}),
    ("end_time", |_, _, _| {}),
    ("error", truth),
    ("throttle", truth),
    ("fault", truth),
    ("annotations", annotations),
    ("metadata", metadata),
    ("cause", cause),
    ("subsegments", |checker, at, value| {
        let subsegments = checker.items(at, value);
        checker.require(at, !subsegments.is_empty(), "empty");
        for (at, subsegment) in subsegments {
            checker.object(&at, subsegment, &[], &[COMMON, SUBSEGMENT]);
            checker.timed(&at, subsegment);
        }
    }),
];

const SEGMENT: &[(&str, Rule)] = &[
    ("service", |checker, at, value| {
        checker.object(at, value, &[], &[&[("version", text), ("runtime", text)]]);
    }),
    ("user", text),
    ("origin", |checker, at, value| {
        let known = ["AWS::EC2::Instance", "AWS::ECS::Container", "AWS::ElasticBeanstalk::Environment"];
        checker.require(at, value.as_str().is_some_and(|origin| known.contains(&origin)), "unknown");
    }),
    ("http", |checker, at, value| {
        http(checker, at, value, &[("x_forwarded_for", truth)]);
        checker.require(at, value.get("request").is_some(), "no request");
    }),
    ("aws", |checker, at, value| {
        const AWS: &[(&str, Rule)] = &[
            ("account_id", text),
            ("cloudwatch_logs", |checker, at, value| {
                for (at, group) in checker.items(at, value) {
                    checker.object(&at, group, &["log_group"], &[&[("log_group", text), ("arn", text)]]);
                }
            }),
            ("ec2", |checker, at, value| {
                let known = ["instance_id", "instance_size", "ami_id", "availability_zone"];
                texts(checker, at, value, &known);
            }),
            ("ecs", |checker, at, value| {
                let known = [
                    "container",
                    "container_id",
                    "container_arn",
                    "task_arn",
                    "task_family",
                    "cluster_arn",
                    "launch_type",
                ];
                texts(checker, at, value, &known);
            }),
            ("xray", |checker, at, value| {
                texts(checker, at, value, &["sdk", "sdk_version", "sampling_rule_name"]);
                let rule = value["sampling_rule_name"].as_str().unwrap_or("x");
                checker.require(at, (1..=32).contains(&rule.chars().count()), "no rule's name");
            }),
        ];
        checker.object(at, value, &[], &[AWS]);
    }),
];

const SUBSEGMENT: &[(&str, Rule)] = &[
    ("namespace", |checker, at, value| {
        checker.require(at, value == "aws" || value == "remote", "unknown");
    }),
    ("http", |checker, at, value| http(checker, at, value, &[("traced", truth)])),
    ("aws", |checker, at, value| {
        let known = ["operation", "account_id", "region", "request_id", "queue_url", "table_name"];
        texts(checker, at, value, &known);
    }),
    ("sql", |checker, at, value| {
        let known = [
            "connection_string",
            "url",
            "sanitized_query",
            "database_type",
            "database_version",
            "driver_version",
            "user",
            "preparation",
        ];
        texts(checker, at, value, &known);
    }),
];

fn http(checker: &mut Checker, at: &str, value: &Value, more: &'static [(&str, Rule)]) {
    const REQUEST: &[(&str, Rule)] =
        &[("method", text), ("url", text), ("user_agent", text), ("client_ip", text)];
    const RESPONSE: &[(&str, Rule)] = &[
        ("status", |checker, at, value| {
            checker.require(
                at,
                value.as_i64().is_some_and(|status| (100..1000).contains(&status)),
                "no status",
            );
        }),
        ("content_length", |checker, at, value| checker.require(at, value.is_u64(), "no length")),
    ];
    checker.object(at, value, &[], &[&[("request", |_, _, _| {}), ("response", |_, _, _| {})]]);
    if let Some(request) = value.get("request") {
        checker.object(&format!("{at}.request"), request, &[], &[REQUEST, more]);
        let url = request["url"].as_str().unwrap_or_default();
        checker.require(at, !url.contains(['?', '#']), "a URL with its query");
        let told = request.get("x_forwarded_for").is_some() && request.get("client_ip").is_none();
        checker.require(at, !told, "an address that is not there was forwarded");
    }
    if let Some(response) = value.get("response") {
        checker.object(&format!("{at}.response"), response, &["status"], &[RESPONSE]);
    }
}

fn annotations(checker: &mut Checker, at: &str, value: &Value) {
    let Some(map) = checker.map(at, value) else { return };
    checker.require(at, (1..=50).contains(&map.len()), "none or more than are indexed");
    for (key, value) in map {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let legal = (1..=500).contains(&key.len()) && key.chars().all(word);
        checker.require(at, legal, &format!("the key {key:?}"));
        let short = value.as_str().is_none_or(|text| text.chars().count() <= 1000);
        let scalar = value.is_string() || value.is_number() || value.is_boolean();
        checker.require(at, scalar && short, &format!("the value of {key:?}"));
    }
}

fn metadata(checker: &mut Checker, at: &str, value: &Value) {
    let Some(namespaces) = checker.map(at, value) else { return };
    checker.require(at, !namespaces.is_empty(), "empty");
    for (namespace, values) in namespaces {
        checker.require(at, !namespace.starts_with("AWS."), "a reserved namespace");
        checker.map(&format!("{at}.{namespace}"), values);
    }
}

fn cause(checker: &mut Checker, at: &str, value: &Value) {
    const CAUSE: &[(&str, Rule)] = &[
        ("working_directory", text),
        ("paths", |checker, at, value| {
            for (at, path) in checker.items(at, value) {
                text(checker, &at, path);
            }
        }),
        ("exceptions", exceptions),
    ];
    // Or the id of an exception that has been recorded elsewhere.
    if !is_id(value) {
        checker.object(at, value, &["exceptions"], &[CAUSE]);
    }
}

fn exceptions(checker: &mut Checker, at: &str, value: &Value) {
    const EXCEPTION: &[(&str, Rule)] = &[
        ("id", |checker, at, value| checker.require(at, is_id(value), "no id")),
        ("message", text),
        ("type", text),
        ("remote", truth),
        ("truncated", count),
        ("skipped", count),
        ("cause", |checker, at, value| checker.require(at, is_id(value), "no id")),
        ("stack", |checker, at, value| {
            for (at, frame) in checker.items(at, value) {
                checker.object(&at, frame, &[], &[&[("path", text), ("line", count), ("label", text)]]);
            }
        }),
    ];
    let exceptions = checker.items(at, value);
    checker.require(at, !exceptions.is_empty(), "empty");
    let mut later: Vec<_> = exceptions.iter().map(|(_, exception)| exception["id"].as_str()).collect();
    later.reverse();
    for (at, exception) in exceptions {
        let id = later.pop().flatten();
        checker.object(&at, exception, &["id", "message", "type"], &[EXCEPTION]);
        checker.require(&at, !later.contains(&id), "an id that is there twice");
        let cause = exception.get("cause").map(Value::as_str);
        checker.require(
            &at,
            cause.is_none_or(|cause| later.contains(&cause)),
            "a cause that does not follow",
        );
    }
}

fn truth(checker: &mut Checker, at: &str, value: &Value) {
    checker.require(at, value.is_boolean(), "neither true nor false");
}

fn count(checker: &mut Checker, at: &str, value: &Value) {
    checker.require(at, value.is_u64(), "no count");
}

fn text(checker: &mut Checker, at: &str, value: &Value) {
    let short = value.as_str().is_some_and(|text| text.chars().count() <= LONGEST);
    checker.require(at, short, "no text, or too long");
}

fn texts(checker: &mut Checker, at: &str, value: &Value, known: &[&str]) {
    let Some(map) = checker.map(at, value) else { return };
    checker.require(at, !map.is_empty(), "empty");
    for (key, value) in map {
        checker.require(at, known.contains(&key.as_str()), &format!("the key {key:?}"));
        text(checker, &format!("{at}.{key}"), value);
    }
}

impl Checker {
    fn require(&mut self, at: &str, holds: bool, fault: &str) {
        if !holds {
            self.faults.push(format!("{at}: {fault}"));
        }
    }

    fn map<'a>(&mut self, at: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        self.require(at, value.is_object(), "no object");
        value.as_object()
    }

    fn items<'a>(&mut self, at: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
        self.require(at, value.is_array(), "no array");
        let items = value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, item)| (format!("{at}[{index}]"), item)).collect()
    }

    /// Every key must be known, by one of the tables; those that are `required` must be there.
    fn object(&mut self, at: &str, value: &Value, required: &[&str], known: &[&[(&str, Rule)]]) {
        let Some(map) = self.map(at, value) else { return };
        for key in required {
            self.require(at, map.contains_key(*key), &format!("{key} is missing"));
        }
        for (key, value) in map {
            match known.iter().copied().flatten().find(|(known, _)| known == key) {
                Some((_, rule)) => rule(self, &format!("{at}.{key}"), value),
                None => self.require(at, false, &format!("the key {key:?}")),
            }
        }
    }

    /// What segments and subsegments have alike: an id, a name, times in their order, and flags that agree.
    fn timed(&mut self, at: &str, value: &Value) {
        for key in ["id", "name", "start_time", "end_time"] {
            self.require(at, value.get(key).is_some(), &format!("{key} is missing"));
        }
        // Milliseconds or microseconds since 1970 would be far above this, which is the year 2286.
        let (start, end) = (value["start_time"].as_f64(), value["end_time"].as_f64());
        let (start, end) = (start.unwrap_or(f64::MAX), end.unwrap_or(f64::MAX));
        self.require(at, 0.0 <= start && start <= end && end < 1e10, "impossible times");
        let flag = |name: &str| value[name] == true;
        self.require(at, flag("error") || !flag("throttle"), "throttled, and yet no error");
        self.require(at, !(flag("error") && flag("fault")), "an error and a fault");
    }

    /// A segment's flags follow from its status, and an exception is a fault.
    fn verdict(&mut self, segment: &Value) {
        let (error, throttle, fault) =
            (segment["error"] == true, segment["throttle"] == true, segment["fault"] == true);
        let status = segment["http"]["response"]["status"].as_i64().unwrap_or_default();
        self.require("fault", fault || status < 500, "not set");
        self.require("error", fault || error == (400..500).contains(&status), "not by the status");
        self.require("throttle", fault || throttle == (status == 429), "not by the status");
        self.require("fault", fault || segment.get("cause").is_none(), "not set by an exception");
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| id.len() == 16 && is_hex(id) && id.bytes().any(|byte| byte != b'0'))
}

fn is_trace_id(value: &Value) -> bool {
    let parts: Vec<_> = value.as_str().unwrap_or_default().split('-').collect();
    let [version, epoch, random] = parts[..] else { return false };
    version == "1" && epoch.len() == 8 && random.len() == 24 && is_hex(epoch) && is_hex(random)
}

/// `[\p{L}\p{Z}\p{N}_.:/%&#=+\-@]{1,200}`, and something to be seen of it.
fn is_name(value: &Value) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LineSeparator, LowercaseLetter, ModifierLetter, OtherLetter,
        OtherNumber, ParagraphSeparator, SpaceSeparator, TitlecaseLetter, UppercaseLetter,
    };
    const LEGAL: [GeneralCategory; 11] = [
        UppercaseLetter,
        LowercaseLetter,
        TitlecaseLetter,
        ModifierLetter,
        OtherLetter,
        SpaceSeparator,
        LineSeparator,
        ParagraphSeparator,
        DecimalNumber,
        LetterNumber,
        OtherNumber,
    ];
    let is_legal = |c: char| "_.:/%&#=+-@".contains(c) || LEGAL.contains(&get_general_category(c));
    value.as_str().is_some_and(|name| {
        (1..=200).contains(&name.chars().count()) && name.chars().all(is_legal) && !name.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = r#"{"id":"d0acd66f0daf3560","trace_id":"1-6b00df63-c7e34edc0ab2079049971888","name":"axum","parent_id":"53995c3f42cd8ad8","start_time":1795219299.137014,"end_time":1795219299.137038,"service":{"version":"1.2.3","runtime":"rust"},"origin":"AWS::ECS::Container","user":"andrewbrown","http":{"request":{"method":"GET","url":"http://localhost:4567/api/activities/home","user_agent":"curl/8","client_ip":"1.2.3.4","x_forwarded_for":true},"response":{"status":500,"content_length":265}},"fault":true,"aws":{"xray":{"sdk":"x","sdk_version":"0.1.0","sampling_rule_name":"Cruddur"},"cloudwatch_logs":[{"log_group":"cruddur"}]},"annotations":{"user_handle":"andrewbrown"},"metadata":{"namespace":{"key":{"results-size":1}}},"cause":{"working_directory":"/app","exceptions":[{"id":"c68733dcd9573752","type":"a","message":"b","cause":"c68733dcd9573753","stack":[{"path":"src/home.rs","line":42,"label":"home::run"}]},{"id":"c68733dcd9573753","type":"c","message":"d"}]},"subsegments":[{"id":"4454e168d7ee5194","name":"mock-data","start_time":1795219299.137023,"end_time":1795219299.137025}]}"#;

    /// What is wrong with the good one after a change.
    fn faults(pointer: &str, key: &str, value: Value) -> Vec<String> {
        let mut document: Value = serde_json::from_str(GOOD).unwrap();
        let place = document.pointer_mut(pointer).unwrap();
        match place {
            Value::Object(map) => drop(map.insert(key.to_owned(), value)),
            other => *other = value,
        }
        // A map sorts its keys; the ids must come first all the same.
        let map = document.as_object_mut().unwrap();
        let ids = ["id", "trace_id"].map(|key| (key, map.remove(key).unwrap_or_default()));
        let ids = ids.map(|(key, value)| format!("\"{key}\":{value},")).concat();
        let rest = document.to_string();
        check(format!("{{{ids}{}", rest.trim_start_matches('{')).as_bytes()).err().unwrap_or_default()
    }

    #[test]
    fn a_good_document_has_no_fault() {
        check(GOOD.as_bytes()).unwrap();
        assert_eq!(faults("", "user", json!("worf")), [""; 0]);
    }

    #[test]
    fn each_planted_fault_is_found() {
        for (pointer, key, value) in [
            ("", "id", json!("d0acd66f0daf356")),
            ("", "id", json!("0000000000000000")),
            ("", "id", json!("D0ACD66F0DAF3560")),
            ("", "trace_id", json!("6b00df63c7e34edc0ab2079049971888")),
            ("", "name", json!("a?b")),
            ("", "name", json!("")),
            ("", "name", json!("x".repeat(201))),
            ("", "unknown", json!(1)),
            ("", "in_progress", json!(true)),
            ("", "namespace", json!("remote")),
            ("", "type", json!("segment")),
            ("", "start_time", json!("now")),
            ("", "start_time", json!(1_795_219_300)),
            ("", "end_time", json!(1_795_219_299_137_038_i64)),
            ("", "fault", json!(false)),
            ("", "fault", json!("true")),
            ("", "throttle", json!(true)),
            ("", "user", json!("x".repeat(251))),
            ("", "origin", json!("AWS::Lambda::Function")),
            ("", "cloudwatch_logs", json!([])),
            ("", "subsegments", json!([])),
            ("/aws", "cloudwatch_logs", json!({"log_group": ["cruddur"]})),
            ("/aws/xray", "rule_name", json!("Cruddur")),
            ("/annotations", "user.handle", json!("x")),
            ("/annotations", "user", json!({})),
            ("/annotations", "user", json!(null)),
            ("/annotations", "user", json!("x".repeat(1001))),
            ("/metadata", "AWS.x", json!({})),
            ("/metadata", "x", json!(1)),
            ("/http/request", "url", json!("http://localhost/?token=secret")),
            ("/http/request", "status", json!(200)),
            ("/http/response", "status", json!("200")),
            ("/cause/exceptions/0", "messages", json!("x")),
            ("/cause/exceptions/0", "cause", json!("c68733dcd9573752")),
            ("/cause/exceptions/1", "id", json!("c68733dcd9573752")),
            ("/cause/exceptions/1", "cause", json!("c68733dcd9573752")),
            ("/cause/exceptions/0/stack/0", "line", json!("42")),
            ("/subsegments/0", "trace_id", json!("1-6b00df63-c7e34edc0ab2079049971888")),
            ("/subsegments/0", "user", json!("worf")),
            ("/subsegments/0", "id", json!(null)),
            ("/subsegments/0", "throttle", json!(true)),
            ("/subsegments/0", "end_time", json!(null)),
        ] {
            assert!(!faults(pointer, key, value.clone()).is_empty(), "{pointer} {key} {value}");
        }
    }

    #[test]
    fn ids_come_first_in_one_line_of_at_most_64_kb() {
        assert!(check(GOOD.replace(r#""id":"d0acd66f0daf3560","#, "").as_bytes()).is_err());
        assert!(check(GOOD.replace(',', ",\n").as_bytes()).is_err());
        assert!(
            check(GOOD.replace(r#"":1}"#, &format!(r#"":"{}"}}"#, "x".repeat(65_536))).as_bytes()).is_err()
        );
        assert!(check(format!("[{GOOD}]").as_bytes()).is_err());
    }
}
