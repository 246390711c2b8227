//! How an item is made smaller: by steps that each take what is missed least.
//!
//! Rollbar names three limits in three places: 1024 KB, 512 KB and 128 KB. So items aim at 64 KiB, never have more
//! than 512, and one that is called too large all the same is cut to 128 KiB, and then to its bones.

use serde_json::{Map, Value, json};

use super::scrub::cut;

/// What an item is to have at most, in bytes of compact JSON, as far as that costs nobody anything.
const AIM: usize = 64 << 10;
/// What it may have, however much is lost.
pub(super) const MOST: usize = 512 << 10;
/// What is tried next where that was too much.
pub(in super::super) const LESS: usize = 128 << 10;

/// A step: its name, as the item says that it was taken, and what it does to `data`.
type Step = (&'static str, fn(&mut Value));

/// Steps that leave all there is to see, only less of it.
const GENTLE: [Step; 5] = [
    ("frames: first and last 50", |data| thin_frames(data, 50)),
    ("strings: 1024", |data| cut_strings(data, 1024)),
    ("strings: 512", |data| cut_strings(data, 512)),
    ("strings: 256", |data| cut_strings(data, 256)),
    ("strings: 128", |data| cut_strings(data, 128)),
];
/// Steps that leave things out.
const HARSH: [Step; 3] = [
    ("frames: first and last", |data| thin_frames(data, 1)),
    ("without request and telemetry", |data| {
        remove(data, "request");
        if let Some(body) = data.get_mut("body") {
            remove(body, "telemetry");
        }
    }),
    ("without custom", |data| remove(data, "custom")),
];

/// The item as JSON: as it is, or with as many steps taken as it needs, which `notifier.diagnostic.truncation` names.
pub(in super::super) fn fit(mut item: Value, most: usize) -> String {
    let mut text = item.to_string();
    let gentle = GENTLE.iter().map(|step| (step, AIM.min(most)));
    let harsh = HARSH.iter().map(|step| (step, most));
    for ((name, step), limit) in gentle.chain(harsh) {
        if text.len() <= limit {
            continue;
        }
        let Some(data) = item.get_mut("data") else { break };
        step(data);
        note(data, name);
        text = item.to_string();
    }
    text
}

/// The bones of an item, within 2 KiB: what failed, and the ids by which the rest is found.
pub(in super::super) fn skeleton(item: &Value) -> String {
    let data = &item["data"];
    let mut bones = Map::new();
    for key in ["environment", "level", "timestamp", "code_version", "language", "framework", "uuid"] {
        bones.extend(data.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    for key in ["fingerprint", "title", "context", "attributes", "notifier"] {
        bones.extend(data.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    let body = &data["body"];
    let first = body["trace_chain"].get(0).or_else(|| body.get("trace"));
    let message = match first {
        Some(thrown) => {
            format!("{}: {}", text(&thrown["exception"]["class"]), text(&thrown["exception"]["message"]))
        }
        None => text(&body["message"]["body"]).to_owned(),
    };
    bones.insert("body".to_owned(), json!({"message": {"body": message}}));
    let mut data = Value::Object(bones);
    cut_strings(&mut data, 128);
    note(&mut data, "bones");
    json!({"data": data}).to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn note(data: &mut Value, step: &str) {
    let Some(notifier) = data.get_mut("notifier").and_then(Value::as_object_mut) else { return };
    let diagnostic = notifier.entry("diagnostic").or_insert_with(|| json!({"truncation": []}));
    if let Some(steps) = diagnostic.get_mut("truncation").and_then(Value::as_array_mut) {
        steps.push(step.into());
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(key);
    }
}

/// Keeps so many frames at either end of each stack.
fn thin_frames(data: &mut Value, ends: usize) {
    let Some(body) = data.get_mut("body").and_then(Value::as_object_mut) else { return };
    for (key, part) in body.iter_mut() {
        match (key.as_str(), part) {
            ("trace", trace) => thin(trace, ends),
            ("trace_chain", Value::Array(chain)) => chain.iter_mut().for_each(|trace| thin(trace, ends)),
            _ => {}
        }
    }
}

fn thin(trace: &mut Value, ends: usize) {
    if let Some(frames) = trace.get_mut("frames").and_then(Value::as_array_mut)
        && frames.len() > 2 * ends
    {
        frames.drain(ends..frames.len() - ends);
    }
}

/// Cuts what somebody else wrote. What Rollbar reads by itself is short already, and no longer valid if it is cut.
fn cut_strings(data: &mut Value, most: usize) {
    let Some(fields) = data.as_object_mut() else { return };
    for (key, value) in fields {
        if !matches!(key.as_str(), "uuid" | "fingerprint" | "environment" | "attributes") {
            cut_within(value, most);
        }
    }
}

fn cut_within(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if text.len() > most => *text = cut(text, most).to_owned(),
        Value::Array(values) => values.iter_mut().for_each(|value| cut_within(value, most)),
        Value::Object(fields) => fields.values_mut().for_each(|value| cut_within(value, most)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 2 << 10;

    fn item(frames: usize, text: usize, entries: usize) -> Value {
        let frames: Vec<_> = (0..frames).map(|n| json!({"filename": "src/a.rs", "lineno": n})).collect();
        let custom: Map<_, _> = (0..entries).map(|n| (n.to_string(), "x".repeat(text).into())).collect();
        json!({"data": {
            "environment": "e".repeat(255),
            "uuid": "68f126b0-1ceb-4a33-88be-d90fa7109eee",
            "title": "t".repeat(255),
            "fingerprint": "f".repeat(40),
            "context": "c".repeat(4096),
            "body": {
                "trace_chain": [{"frames": frames, "exception": {"class": "A", "message": "m".repeat(text)}}],
                "telemetry": [],
            },
            "request": {"url": "u".repeat(text)},
            "custom": custom,
            "notifier": {"name": "cruddur", "version": "1"},
        }})
    }

    fn steps(text: &str) -> Vec<String> {
        let item: Value = serde_json::from_str(text).unwrap();
        let steps =
            item["data"]["notifier"]["diagnostic"]["truncation"].as_array().cloned().unwrap_or_default();
        steps.iter().map(|step| text_of(step).to_owned()).collect()
    }

    fn text_of(value: &Value) -> &str {
        value.as_str().unwrap()
    }

    #[test]
    fn a_small_item_is_left_alone() {
        let small = item(100, 100, 10);
        assert_eq!(fit(small.clone(), MOST), small.to_string());
    }

    #[test]
    fn steps_are_taken_one_by_one_and_named() {
        let text = fit(item(100, 2000, 50), MOST);
        assert!(text.len() <= AIM, "{}", text.len());
        assert_eq!(steps(&text), ["frames: first and last 50", "strings: 1024"]);
        // So many entries cannot be had in 64 KiB without leaving things out, which nothing asks for.
        let text = fit(item(100, 2000, 2000), MOST);
        assert!(text.len() > AIM && text.len() <= MOST, "{}", text.len());
        assert_eq!(steps(&text).last().map(String::as_str), Some("strings: 128"));
    }

    #[test]
    fn no_item_is_larger_than_it_may_be() {
        for most in [MOST, LESS] {
            let text = fit(item(5000, 1000, 4000), most);
            assert!(text.len() <= most, "{} {most}", text.len());
            assert_eq!(steps(&text).len(), GENTLE.len() + HARSH.len());
        }
    }

    #[test]
    fn bones_name_what_failed_within_the_least() {
        let large = item(5000, 4000, 100);
        let text = skeleton(&large);
        assert!(text.len() < LEAST, "{}", text.len());
        let bones: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bones["data"]["uuid"], large["data"]["uuid"]);
        assert!(text_of(&bones["data"]["body"]["message"]["body"]).starts_with("A: mmm"));
        assert_eq!(steps(&text), ["bones"]);
    }
}
