//! What an item must be, by <https://docs.rollbar.com/reference/create-item>; what it does not name is refused.

use serde_json::{Map, Value};
use uuid::Uuid;

/// Whether a value is what it must be; if not, why, with where it stands.
type Check = fn(&Value, &str, &mut Vec<String>);

/// A key, whether it must be there, and what its value must be.
type Field = (&'static str, bool, Check);

const MUST: bool = true;
const MAY: bool = false;

/// All that is wrong with an item.
pub(crate) fn faults(item: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    object(item, "item", &[("data", MUST, data)], &mut faults);
    faults
}

fn data(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("environment", MUST, |value, at, faults| text(value, at, 1, 255, faults)),
        ("body", MUST, body),
        ("level", MUST, |value, at, faults| one_of(value, at, &LEVELS, faults)),
        ("timestamp", MUST, |value, at, faults| within(value, at, 1_700_000_000, 9_999_999_999, faults)),
        ("code_version", MUST, |value, at, faults| text(value, at, 1, 40, faults)),
        ("platform", MAY, short),
        ("language", MUST, |value, at, faults| one_of(value, at, &["rust"], faults)),
        ("framework", MUST, |value, at, faults| one_of(value, at, &["axum"], faults)),
        ("context", MAY, |value, at, faults| text(value, at, 1, 255, faults)),
        ("request", MAY, request),
        ("person", MAY, person),
        ("server", MAY, server),
        ("custom", MAY, free),
        ("fingerprint", MUST, fingerprint),
        ("title", MUST, |value, at, faults| text(value, at, 1, 255, faults)),
        ("uuid", MUST, uuid),
        ("attributes", MAY, |value, at, faults| each(value, at, attribute, faults)),
        ("notifier", MUST, notifier),
    ];
    object(value, at, FIELDS, faults);
}

const LEVELS: [&str; 5] = ["critical", "error", "warning", "info", "debug"];

fn body(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("trace", MAY, trace),
        ("trace_chain", MAY, |value, at, faults| {
            if value.as_array().is_none_or(Vec::is_empty) {
                faults.push(format!("{at} is empty"));
            }
            each(value, at, trace, faults);
        }),
        ("message", MAY, |value, at, faults| object(value, at, &[("body", MUST, long)], faults)),
        ("telemetry", MAY, |value, at, faults| {
            if value.as_array().is_some_and(|entries| entries.len() > 50) {
                faults.push(format!("{at} has more than 50 entries"));
            }
            each(value, at, entry, faults);
        }),
    ];
    object(value, at, FIELDS, faults);
    let kinds = ["trace", "trace_chain", "message"].iter().filter(|kind| value.get(kind).is_some()).count();
    if kinds != 1 {
        faults.push(format!("{at} has {kinds} of trace, trace_chain and message"));
    }
}

fn trace(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("frames", MUST, |value, at, faults| {
            if value.as_array().is_some_and(|frames| frames.len() > 100) {
                faults.push(format!("{at} are more than 100"));
            }
            each(value, at, frame, faults);
        }),
        ("exception", MUST, |value, at, faults| {
            object(
                value,
                at,
                &[("class", MUST, short), ("message", MAY, long), ("description", MAY, long)],
                faults,
            );
        }),
    ];
    object(value, at, FIELDS, faults);
}

fn frame(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] =
        &[("filename", MUST, short), ("lineno", MAY, line), ("colno", MAY, line), ("method", MAY, long)];
    object(value, at, FIELDS, faults);
}

fn entry(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("level", MUST, |value, at, faults| one_of(value, at, &LEVELS, faults)),
        ("type", MUST, |value, at, faults| one_of(value, at, &["log", "network"], faults)),
        ("source", MUST, |value, at, faults| one_of(value, at, &["server"], faults)),
        ("timestamp_ms", MUST, |value, at, faults| {
            within(value, at, 1_700_000_000_000, 9_999_999_999_999, faults);
        }),
        ("body", MUST, free),
    ];
    object(value, at, FIELDS, faults);
}

fn request(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("url", MUST, long),
        ("method", MUST, short),
        ("headers", MUST, |value, at, faults| {
            const ALLOWED: [&str; 9] = [
                "host",
                "user-agent",
                "accept",
                "content-type",
                "content-length",
                "referer",
                "x-request-id",
                "traceparent",
                "x-amzn-trace-id",
            ];
            texts(value, at, faults);
            let names = value.as_object().into_iter().flat_map(Map::keys);
            faults.extend(
                names.filter(|name| !ALLOWED.contains(&name.as_str())).map(|name| format!("{at}.{name}")),
            );
        }),
        ("GET", MAY, texts),
        ("query_string", MAY, |value, at, faults| text(value, at, 0, 16 << 10, faults)),
        // Others are not indexed.
        ("user_ip", MAY, |value, at, faults| {
            let is_network = value.as_str().is_some_and(|text| text.ends_with(".0") || text.ends_with("::"));
            if !is_network {
                faults.push(format!("{at}: {value} names more than a network"));
            }
        }),
    ];
    object(value, at, FIELDS, faults);
}

fn person(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("id", MUST, |value, at, faults| text(value, at, 1, 40, faults)),
        ("username", MAY, |value, at, faults| text(value, at, 1, 255, faults)),
    ];
    object(value, at, FIELDS, faults);
}

fn server(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[
        ("host", MAY, short),
        ("root", MAY, |value, at, faults| {
            short(value, at, faults);
            if value.as_str().is_some_and(|root| root.ends_with('/')) {
                faults.push(format!("{at} ends with a slash"));
            }
        }),
        ("code_version", MAY, |value, at, faults| text(value, at, 1, 40, faults)),
        ("pid", MAY, line),
    ];
    object(value, at, FIELDS, faults);
}

fn notifier(value: &Value, at: &str, faults: &mut Vec<String>) {
    const FIELDS: &[Field] = &[("name", MUST, short), ("version", MUST, short), ("diagnostic", MAY, free)];
    object(value, at, FIELDS, faults);
}

fn attribute(value: &Value, at: &str, faults: &mut Vec<String>) {
    object(value, at, &[("key", MUST, short), ("value", MUST, short)], faults);
}

fn object(value: &Value, at: &str, fields: &[Field], faults: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return faults.push(format!("{at} is no object")) };
    for key in object.keys().filter(|key| fields.iter().all(|(known, ..)| known != key)) {
        faults.push(format!("{at}.{key} is not known"));
    }
    for (key, must, check) in fields {
        match object.get(*key) {
            Some(value) => check(value, &format!("{at}.{key}"), faults),
            None if *must => faults.push(format!("{at}.{key} is missing")),
            None => {}
        }
    }
}

fn each(value: &Value, at: &str, check: Check, faults: &mut Vec<String>) {
    let Some(values) = value.as_array() else { return faults.push(format!("{at} is no list")) };
    for (index, value) in values.iter().enumerate() {
        check(value, &format!("{at}[{index}]"), faults);
    }
}

/// Anything, as deep as it may be.
fn free(value: &Value, at: &str, faults: &mut Vec<String>) {
    fn depth(value: &Value) -> usize {
        let inner = match value {
            Value::Array(values) => values.iter().map(depth).max(),
            Value::Object(fields) => fields.values().map(depth).max(),
            _ => return 0,
        };
        1 + inner.unwrap_or_default()
    }
    if !value.is_object() {
        faults.push(format!("{at} is no object"));
    }
    if depth(value) > 10 {
        faults.push(format!("{at} is too deep"));
    }
}

fn texts(value: &Value, at: &str, faults: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return faults.push(format!("{at} is no object")) };
    object.iter().for_each(|(key, value)| text(value, &format!("{at}.{key}"), 0, 4096, faults));
}

fn text(value: &Value, at: &str, least: usize, most: usize, faults: &mut Vec<String>) {
    let length = value.as_str().map(|text| text.chars().count());
    if length.is_none_or(|length| length < least || length > most) {
        faults.push(format!("{at} is no text of {least} to {most} characters: {value}"));
    }
}

fn short(value: &Value, at: &str, faults: &mut Vec<String>) {
    text(value, at, 1, 1024, faults);
}

fn long(value: &Value, at: &str, faults: &mut Vec<String>) {
    text(value, at, 0, 8192, faults);
}

fn one_of(value: &Value, at: &str, known: &[&str], faults: &mut Vec<String>) {
    if value.as_str().is_none_or(|text| !known.contains(&text)) {
        faults.push(format!("{at}: {value} is none of {known:?}"));
    }
}

fn within(value: &Value, at: &str, least: u64, most: u64, faults: &mut Vec<String>) {
    if value.as_u64().is_none_or(|number| number < least || number > most) {
        faults.push(format!("{at}: {value} is no number from {least} to {most}"));
    }
}

fn line(value: &Value, at: &str, faults: &mut Vec<String>) {
    within(value, at, 1, u32::MAX.into(), faults);
}

fn uuid(value: &Value, at: &str, faults: &mut Vec<String>) {
    let is_uuid = value.as_str().is_some_and(|text| text.len() == 36 && Uuid::try_parse(text).is_ok());
    if !is_uuid {
        faults.push(format!("{at}: {value} is no UUID"));
    }
}

fn fingerprint(value: &Value, at: &str, faults: &mut Vec<String>) {
    let is_sha1 = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !value.as_str().is_some_and(is_sha1) {
        faults.push(format!("{at}: {value} is no SHA-1"));
    }
}

#[test]
fn faults_are_found() {
    use serde_json::json;
    let good = json!({"data": {
        "environment": "test",
        "body": {"trace": {"frames": [{"filename": "src/a.rs", "lineno": 1}], "exception": {"class": "A"}}},
        "level": "error",
        "timestamp": 1_800_000_000,
        "code_version": "1",
        "language": "rust",
        "framework": "axum",
        "fingerprint": "0".repeat(40),
        "title": "A",
        "uuid": "68f126b0-1ceb-4a33-88be-d90fa7109eee",
        "notifier": {"name": "cruddur", "version": "1"},
        "server": {"root": "src", "pid": 1},
    }});
    assert_eq!(faults(&good), Vec::<String>::new());
    for (pointer, bad) in [
        ("/data/environment", json!("")),
        ("/data/level", json!("fatal")),
        ("/data/timestamp", json!(1_800_000_000_000_u64)),
        ("/data/uuid", json!("68f126b01ceb4a3388bed90fa7109eee")),
        ("/data/fingerprint", json!("f".repeat(41))),
        ("/data/title", json!("t".repeat(256))),
        ("/data/body", json!({})),
        ("/data/body", json!({"message": {"body": "a"}, "trace_chain": []})),
        ("/data/body/trace/frames/0", json!({"filename": "a", "lineno": null})),
        ("/data/body/trace/frames/0", json!({"filename": "a", "line": 1})),
        ("/data/body/trace/exception", json!({"message": "a"})),
        ("/data/server/root", json!("src/")),
        ("/data/notifier", json!({"name": "cruddur", "version": "1", "token": "x"})),
    ] {
        let mut item = good.clone();
        *item.pointer_mut(pointer).unwrap() = bad;
        assert!(!faults(&item).is_empty(), "{pointer}");
    }
    assert!(!faults(&json!({"access_token": "x", "data": good["data"]})).is_empty());
}
