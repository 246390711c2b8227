//! A span of OTLP's, written from the request's record or from a span within.

use std::time::SystemTime;

use opentelemetry::trace::{Event, Link, SpanId, SpanKind, Status, TraceState};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_proto::tonic::trace::v1::{span, status};
use opentelemetry_sdk::trace::SpanData;

use super::protobuf::Message;
use crate::config::SpanLimits;
use crate::telemetry::observe::conventions::Described;
use crate::telemetry::observe::{Fault, LogEvent, RequestRecord, conventions, frames, nanos};

/// `Span.flags`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `Span.flags`: the parent is in another process.
const IS_REMOTE: u32 = 0x200;

/// The request as a whole. Its events are those that no `tracing` span inside has among its own.
pub(super) fn server_span(span: &mut Message<'_>, record: &RequestRecord, limits: &SpanLimits) {
    let identity = record.identity();
    span.id(1, identity.trace_id.to_bytes());
    span.id(2, identity.span_id.to_bytes());
    trace_state(span, &identity.trace_state);
    if let Some(parent) = identity.parent {
        span.id(4, parent.to_bytes());
    }
    span.text(5, &conventions::server_span_name_parts(record.request()));
    span.chosen_uint(6, span::SpanKind::Server as u64);
    span.fixed64(7, nanos(record.started()));
    span.fixed64(8, nanos(record.ended()));
    let mut attributes = ServerAttributes { span, limits, kept: 0, dropped: 0 };
    conventions::each_server_attribute(record, &mut attributes);
    let ServerAttributes { span, dropped, .. } = attributes;
    span.uint(10, dropped);
    let dropped_events = server_events(span, record, limits);
    span.uint(12, dropped_events);
    status(span, &conventions::server_span_status(record));
    span.fixed32(16, flags(identity.sampled, identity.parent.is_some()));
}

/// Those of a server span, which are written as they come.
struct ServerAttributes<'a, 'b> {
    span: &'a mut Message<'b>,
    limits: &'a SpanLimits,
    kept: usize,
    dropped: u32,
}

impl conventions::Attributes for &mut ServerAttributes<'_, '_> {
    #[inline(always)]
    fn take(&mut self, key: &str, value: Described<'_>) {
        if self.kept < self.limits.attributes {
            key_value(self.span, 9, key, value, self.limits.attribute_value_length);
            self.kept += 1;
        } else {
            self.dropped += 1;
        }
    }
}

/// Log events, and why the request failed, which goes before what it had to say until then. Returns how many found no
/// room.
fn server_events(span: &mut Message<'_>, record: &RequestRecord, limits: &SpanLimits) -> u32 {
    let exception = conventions::exception(record);
    let dropped_exceptions = u32::from(exception.is_some() && limits.events == 0);
    let exception = exception.filter(|_| limits.events > 0);
    let room = limits.events - usize::from(exception.is_some());
    let logged: Vec<_> = record.events.iter().filter(|event| !event.in_tracing_span).collect();
    let (kept, dropped) = bounded(&logged, room);
    for event in kept {
        log_event(span, event, limits);
    }
    if let Some(exception) = exception {
        exception_event(span, record, exception, limits);
    }
    dropped + dropped_exceptions + record.dropped_events
}

/// A span that the application opened.
pub(super) fn inner_span(span: &mut Message<'_>, data: &SpanData, limits: &SpanLimits) {
    let (context, parent) = (&data.span_context, data.parent_span_id);
    span.id(1, context.trace_id().to_bytes());
    span.id(2, context.span_id().to_bytes());
    trace_state(span, context.trace_state());
    if parent != SpanId::INVALID {
        span.id(4, parent.to_bytes());
    }
    span.bytes(5, data.name.as_bytes());
    span.chosen_uint(6, kind(&data.span_kind) as u64);
    span.fixed64(7, nanos(data.start_time));
    span.fixed64(8, nanos(data.end_time));
    let dropped = attributes(span, 9, &data.attributes, limits.attributes, limits);
    span.uint(10, dropped + data.dropped_attributes_count);
    let (kept, dropped) = bounded(&data.events, limits.events);
    kept.iter().for_each(|event| span_event(span, event, limits));
    span.uint(12, dropped + data.events.dropped_count);
    let (kept, dropped) = bounded(&data.links, limits.links);
    kept.iter().for_each(|link| span_link(span, link, limits));
    span.uint(14, dropped + data.links.dropped_count);
    status(span, &data.status);
    span.fixed32(16, flags(context.is_sampled(), data.parent_span_is_remote));
}

fn log_event(span: &mut Message<'_>, event: &LogEvent, limits: &SpanLimits) {
    let mut own = vec![KeyValue::new("level", event.level.as_str()), KeyValue::new("target", event.target)];
    own.extend_from_slice(&event.fields);
    make_event(span, event.time, &event.message, &own, 0, limits);
}

fn exception_event(
    span: &mut Message<'_>,
    record: &RequestRecord,
    exception: conventions::Exception,
    limits: &SpanLimits,
) {
    let own = [
        KeyValue::new("exception.type", exception.class.into_owned()),
        KeyValue::new("exception.message", exception.message),
        KeyValue::new("exception.stacktrace", exception.stacktrace + &stack(record)),
    ];
    make_event(span, record.ended(), "exception", &own, 0, limits);
}

/// Where it happened, innermost call first; looked up here, where no request waits for it.
fn stack(record: &RequestRecord) -> String {
    let of_panic = record.panic.as_ref().and_then(|panic| panic.backtrace.as_deref());
    let captured = of_panic.or_else(|| record.fault.as_ref().map(Fault::backtrace));
    let frames = captured.map(frames::resolve).unwrap_or_default();
    frames.iter().fold(String::new(), |stack, frame| {
        let file = frame.file.as_deref().unwrap_or("?");
        let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
        stack + &format!("\n   at {} ({file}{line})", frame.function)
    })
}

fn span_event(span: &mut Message<'_>, event: &Event, limits: &SpanLimits) {
    let dropped = event.dropped_attributes_count;
    make_event(span, event.timestamp, &event.name, &event.attributes, dropped, limits);
}

fn make_event(
    span: &mut Message<'_>,
    time: SystemTime,
    name: &str,
    own: &[KeyValue],
    dropped_before: u32,
    limits: &SpanLimits,
) {
    span.message(11, |event| {
        event.fixed64(1, nanos(time));
        event.bytes(2, name);
        let dropped = attributes(event, 3, own, limits.event_attributes, limits);
        event.uint(4, dropped + dropped_before);
    });
}

fn span_link(span: &mut Message<'_>, own: &Link, limits: &SpanLimits) {
    let context = &own.span_context;
    span.message(13, |link| {
        link.id(1, context.trace_id().to_bytes());
        link.id(2, context.span_id().to_bytes());
        trace_state(link, context.trace_state());
        let dropped = attributes(link, 4, &own.attributes, limits.link_attributes, limits);
        link.uint(5, dropped + own.dropped_attributes_count);
        link.fixed32(6, flags(context.is_sampled(), context.is_remote()));
    });
}

/// Field 3 of spans and links alike.
fn trace_state(message: &mut Message<'_>, state: &TraceState) {
    // Most have none, and to say so takes a copy.
    if *state != TraceState::NONE {
        message.bytes(3, state.header());
    }
}

/// Attributes in field `field`; returns how many are beyond the `most`.
fn attributes(
    message: &mut Message<'_>,
    field: u64,
    own: &[KeyValue],
    most: usize,
    limits: &SpanLimits,
) -> u32 {
    let (kept, dropped) = bounded(own, most);
    for KeyValue { key, value, .. } in kept {
        key_value(message, field, key.as_str(), Described::from(value), limits.attribute_value_length);
    }
    dropped
}

/// The first `most`, and how many there are beyond.
fn bounded<T>(all: &[T], most: usize) -> (&[T], u32) {
    let (kept, beyond) = all.split_at(most.min(all.len()));
    (kept, u32::try_from(beyond.len()).unwrap_or(u32::MAX))
}

/// A `KeyValue`; text longer than `length` characters is cut.
#[inline(always)]
pub(super) fn key_value(
    message: &mut Message<'_>,
    field: u64,
    key: &str,
    value: Described<'_>,
    length: Option<usize>,
) {
    match value {
        Described::Text(text) => message.pair(field, key.as_bytes(), shortened(text, length).as_bytes()),
        Described::Int(number) => message.count(field, key.as_bytes(), number.cast_unsigned()),
        Described::Value(value) => other_value(message, field, key, value, length),
    }
}

#[inline(never)]
fn other_value(message: &mut Message<'_>, field: u64, key: &str, value: &Value, length: Option<usize>) {
    message.message(field, |attribute| {
        attribute.bytes(1, key);
        attribute.message(2, |any| any_value(any, value, length));
    });
}

/// An `AnyValue`.
fn any_value(any: &mut Message<'_>, value: &Value, length: Option<usize>) {
    match value {
        Value::Bool(truth) => any.chosen_uint(2, u64::from(*truth)),
        Value::I64(number) => any.chosen_uint(3, number.cast_unsigned()),
        Value::F64(number) => any.fixed64(4, number.to_bits()),
        Value::Array(array) => any.message(5, |list| elements(list, array, length)),
        other => any.chosen_bytes(1, shortened(&other.as_str(), length).as_bytes()),
    }
}

/// An `ArrayValue`.
fn elements(list: &mut Message<'_>, array: &Array, length: Option<usize>) {
    match array {
        Array::Bool(truths) => {
            truths.iter().for_each(|truth| list.message(1, |any| any.chosen_uint(2, u64::from(*truth))));
        }
        Array::I64(numbers) => numbers
            .iter()
            .for_each(|number| list.message(1, |any| any.chosen_uint(3, number.cast_unsigned()))),
        Array::F64(numbers) => {
            numbers.iter().for_each(|number| list.message(1, |any| any.fixed64(4, number.to_bits())));
        }
        Array::String(texts) => texts.iter().for_each(|text| {
            list.message(1, |any| any.chosen_bytes(1, shortened(text.as_str(), length).as_bytes()));
        }),
        // There are no others yet.
        _ => {}
    }
}

/// The first `length` characters.
fn shortened(text: &str, length: Option<usize>) -> &str {
    let end = length.and_then(|length| text.char_indices().nth(length));
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn flags(sampled: bool, remote_parent: bool) -> u32 {
    u32::from(sampled) | HAS_IS_REMOTE | if remote_parent { IS_REMOTE } else { 0 }
}

fn kind(kind: &SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Producer => span::SpanKind::Producer,
        SpanKind::Consumer => span::SpanKind::Consumer,
        SpanKind::Internal => span::SpanKind::Internal,
    }
}

fn status(span: &mut Message<'_>, own: &Status) {
    let (code, message) = match own {
        Status::Unset => (status::StatusCode::Unset, ""),
        Status::Ok => (status::StatusCode::Ok, ""),
        Status::Error { description } => (status::StatusCode::Error, description.as_ref()),
    };
    span.message(15, |status| {
        status.bytes(2, message);
        status.uint(3, code as u64);
    });
}
