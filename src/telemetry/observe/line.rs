//! Records and log events as JSON lines: one flat object each, the same on the console and in log stores.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use opentelemetry::{Array, KeyValue, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tracing::Level;

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
    let mut fields = record.attributes.clone();
    fields.extend(record.user.clone().map(|user| KeyValue::new("enduser.id", user)));
    if let Some(error) = error {
        fields.push(KeyValue::new("error.type", error.class.into_owned()));
        fields.push(KeyValue::new("error.message", error.message));
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

fn json(value: &Value) -> serde_json::Value {
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

fn render(line: &Line<'_>) -> String {
    // Strings and numbers cannot fail to be written; a line that says so is better than none.
    serde_json::to_string(line)
        .unwrap_or_else(|error| format!("{{\"message\":\"unreadable line: {error}\"}}"))
}
