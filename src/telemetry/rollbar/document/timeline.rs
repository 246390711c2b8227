//! What came before: the request's own log events and outgoing calls. Rollbar calls it telemetry.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, Value as Attribute};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

use super::finding::level;
use super::scrub::Scrubber;
use crate::telemetry::observe::line::json as value_of;
use crate::telemetry::observe::{LogEvent, RequestRecord};

/// As many entries as Rollbar's own notifiers keep, the last ones; theirs are of the whole process.
const MOST: usize = 50;

/// `body.telemetry`, oldest first.
pub(super) fn timeline(record: &RequestRecord, scrubber: &Scrubber, known: &[String]) -> Vec<Value> {
    let events = record.events.iter().map(|event| (event.time, Entry::Event(event)));
    let calls = record.spans.iter().filter(|span| span.span_kind == SpanKind::Client);
    let mut entries: Vec<_> = events.chain(calls.map(|span| (span.end_time, Entry::Call(span)))).collect();
    entries.sort_by_key(|(time, _)| *time);
    let last = entries.len().saturating_sub(MOST);
    let drawn = entries.into_iter().skip(last).map(|(time, entry)| {
        let (level, kind, body) = match entry {
            Entry::Event(event) => (level(event.level), "log", event_body(event, scrubber, known)),
            Entry::Call(span) => {
                let failed = matches!(span.status, opentelemetry::trace::Status::Error { .. });
                (if failed { "error" } else { "info" }, "network", call_body(span, scrubber, known))
            }
        };
        json!({"level": level, "type": kind, "source": "server", "timestamp_ms": millis(time), "body": body})
    });
    drawn.collect()
}

enum Entry<'a> {
    Event(&'a LogEvent),
    Call(&'a SpanData),
}

fn event_body(event: &LogEvent, scrubber: &Scrubber, known: &[String]) -> Value {
    let mut body = fields(&event.fields, scrubber, known);
    body.insert("message".to_owned(), scrubber.text(&event.message, known).into());
    body.into()
}

fn call_body(span: &SpanData, scrubber: &Scrubber, known: &[String]) -> Value {
    let attribute =
        |key: &str| span.attributes.iter().find(|own| own.key.as_str() == key).map(|own| &own.value);
    let text = |key: &str| attribute(key).map(|value| Value::from(scrubber.text(&value.as_str(), known)));
    let status = attribute("http.response.status_code").and_then(|value| match value {
        Attribute::I64(status) => Some(Value::from(*status)),
        _ => None,
    });
    let parts = [
        ("subtype", Some("http".into())),
        ("method", text("http.request.method")),
        ("url", text("url.full")),
        ("status_code", status),
        ("start_timestamp_ms", Some(millis(span.start_time).into())),
        ("end_timestamp_ms", Some(millis(span.end_time).into())),
    ];
    parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>().into()
}

/// Fields without their secrets.
pub(super) fn fields(fields: &[KeyValue], scrubber: &Scrubber, known: &[String]) -> Map<String, Value> {
    let clean = fields.iter().map(|field| {
        let key = field.key.as_str();
        (scrubber.text(key, known), scrubber.field(key, &value_of(&field.value), known))
    });
    clean.collect()
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
