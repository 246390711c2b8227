//! Records and log events as JSON lines: one flat object each, the same on the console and in log stores.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::{Array, KeyValue, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tracing::Level;

use super::conventions::ERROR_ID;
use super::identity::AmznTraceId;
use super::log::LogEvent;
use super::record::{RequestRecord, Verdict};

/// ISO 8601 in UTC with microseconds: `2026-11-20T23:56:35.179053Z`.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// How grave a finished request is: the server's faults are errors, the client's warnings.
#[must_use]
pub fn level(record: &RequestRecord) -> Level {
    match record.verdict() {
        Verdict::ServerFault => Level::ERROR,
        Verdict::ClientError | Verdict::Throttled => Level::WARN,
        Verdict::Fine | Verdict::Abandoned => Level::INFO,
    }
}

/// The access line of a request, without a line break.
#[must_use]
pub fn access_line(record: &RequestRecord) -> String {
    let (identity, request) = (record.identity(), record.request());
    let route = request.route.as_deref();
    let status = record.status.map(|status| status.as_u16());
    let shown = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let error = super::conventions::exception(record);
    let mut fields = Vec::new();
    fields.extend(record.user.clone().map(|user| KeyValue::new("enduser.id", user)));
    fields.extend(record.error_id.map(|id| KeyValue::new(ERROR_ID, id.to_string())));
    if let Some(error) = error {
        fields.push(KeyValue::new("error.type", error.class.into_owned()));
        fields.push(KeyValue::new("error.message", error.message));
    }
    for own in &record.attributes {
        // An object has each key once; the observer knows better than the application.
        if !fields.iter().any(|known| known.key == own.key) {
            fields.push(own.clone());
        }
    }
    render(&Line {
        time: timestamp(record.ended()),
        level: level(record).as_str(),
        message: &format!("{} {} {shown}", request.method_label(), route.unwrap_or("-")),
        event_id: record.event_id.to_string(),
        trace_id: Some(identity.trace_id.to_string()),
        xray_trace_id: Some(AmznTraceId(identity.trace_id).to_string()),
        span_id: Some(identity.span_id.to_string()),
        access: Some(Access {
            method: request.method_label(),
            route,
            path: &request.path,
            status,
            duration_ms: record.duration.as_secs_f64() * 1e3,
            bytes: record.response_bytes,
            client: request.client_address.map(|client| client.to_string()),
            outcome: record.outcome.as_str(),
        }),
        fields: Fields(&fields),
    })
}

/// A log event as a line, without a line break.
#[must_use]
pub fn event_line(event: &LogEvent) -> String {
    render(&Line {
        time: timestamp(event.time),
        level: event.level.as_str(),
        message: &event.message,
        event_id: event.event_id.to_string(),
        trace_id: event.span.map(|(trace_id, _)| trace_id.to_string()),
        xray_trace_id: event.span.map(|(trace_id, _)| AmznTraceId(trace_id).to_string()),
        span_id: event.span.map(|(_, span_id)| span_id.to_string()),
        access: None,
        fields: Fields(&event.fields),
    })
}

/// The one form of a line. Only access lines have a `status`.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    message: &'a str,
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    access: Option<Access<'a>>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    fields: Fields<'a>,
}

#[derive(Serialize)]
struct Access<'a> {
    method: &'a str,
    route: Option<&'a str>,
    path: &'a str,
    status: Option<u16>,
    duration_ms: f64,
    bytes: u64,
    client: Option<String>,
    outcome: &'static str,
}

/// Attributes as an object, each value in its own type.
struct Fields<'a>(&'a [KeyValue]);

impl Fields<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for field in self.0 {
            map.serialize_entry(field.key.as_str(), &json(&field.value))?;
        }
        map.end()
    }
}

/// An attribute's value in JSON, in its own type.
#[must_use]
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) => (*value).into(),
        Value::String(value) => value.as_str().into(),
        Value::Array(Array::Bool(values)) => values.clone().into(),
        Value::Array(Array::I64(values)) => values.clone().into(),
        Value::Array(Array::F64(values)) => values.clone().into(),
        Value::Array(Array::String(values)) => values.iter().map(|value| value.as_str()).collect(),
        other => other.to_string().into(),
    }
}

/// Whether a terminal would act upon the character, or a reader of lines or of text be misled by it: controls of
/// both sets, the separators of lines and paragraphs, marks that change the direction of reading.
#[must_use]
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

fn render(line: &Line<'_>) -> String {
    // Strings and numbers cannot fail to be written; a line that says so is better than none.
    let json = serde_json::to_string(line)
        .unwrap_or_else(|error| format!("{{\"message\":\"unreadable line: {error}\"}}"));
    if json.contains(is_unruly) { escaped(&json) } else { json }
}

/// JSON with its unruly characters as `\uXXXX`: they stand in strings only, and JSON itself has just those below
/// U+0020 escaped.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len() + 16), |mut escaped, c| {
        if is_unruly(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::super::log::EventId;
    use super::*;

    fn event(message: &str, fields: Vec<KeyValue>) -> LogEvent {
        LogEvent {
            time: SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_042),
            level: Level::INFO,
            target: "here",
            message: message.to_owned(),
            fields,
            event_id: EventId::next(),
            span: None,
            in_tracing_span: false,
            report: false,
        }
    }

    #[test]
    fn a_timestamp_has_microseconds_and_names_utc() {
        assert_eq!(timestamp(event("", Vec::new()).time), "2023-11-14T22:13:20.000042Z");
    }

    #[test]
    fn an_event_outside_of_requests_has_no_ids_and_no_empty_fields() {
        let event = event("hello", Vec::new());
        let expected = format!(
            r#"{{"time":"2023-11-14T22:13:20.000042Z","level":"INFO","message":"hello","event_id":"{}"}}"#,
            event.event_id
        );
        assert_eq!(event_line(&event), expected);
    }

    #[test]
    fn every_field_keeps_its_type() {
        let fields = vec![
            KeyValue::new("bool", true),
            KeyValue::new("count", 3),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("not.a.number", f64::NAN),
            KeyValue::new("text", "a\"b"),
            KeyValue::new("bools", Value::Array(Array::Bool(vec![true]))),
            KeyValue::new("counts", Value::Array(Array::I64(vec![1, 2]))),
            KeyValue::new("ratios", Value::Array(Array::F64(vec![0.5]))),
            KeyValue::new("texts", Value::Array(Array::String(vec!["a".into()]))),
        ];
        let line = event_line(&event("", fields));
        let fields = line.split_once(r#""fields":"#).unwrap().1;
        assert_eq!(
            fields,
            r#"{"bool":true,"count":3,"ratio":0.5,"not.a.number":null,"text":"a\"b","bools":[true],"counts":[1,2],"ratios":[0.5],"texts":["a"]}}"#
        );
    }

    #[test]
    fn unruly_characters_are_escaped_and_mean_the_same() {
        let message = "\0\u{7}\n\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{202e}\u{2066} é 🖖";
        let line = event_line(&event(message, vec![KeyValue::new("k\u{9b}", message)]));
        assert!(!line.contains(is_unruly), "{line:?}");
        assert!(line.contains("é 🖖"), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["message"], &read["fields"]["k\u{9b}"]), (&message.into(), &message.into()));
    }
}
