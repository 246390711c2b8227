//! Records as OTLP spans: pure functions from a record to the protocol's messages.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{self as common, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as trace, ResourceSpans, ScopeSpans, span, status};
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use crate::config::SpanLimits;
use crate::telemetry::delivery::Rank;
use crate::telemetry::observe::{Fault, LogEvent, RequestRecord, Verdict, conventions, frames};

/// `Span.flags`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// `Span.flags`: the parent is in another process.
const IS_REMOTE: u32 = 0x200;

/// What OTLP is given.
#[derive(Debug)]
pub(super) enum Item {
    /// A request, with the spans that ended within it.
    Request(Arc<RequestRecord>),
    /// A span that outlived its request, or that belongs to none.
    Straggler(Box<SpanData>),
    /// What was written to disk of either, perhaps by another process: its resource is the other's.
    Stored(ResourceSpans),
}

/// One export request for all of `items`.
pub(super) fn export_request(
    items: &[Item],
    resource: &Resource,
    limits: &SpanLimits,
) -> ExportTraceServiceRequest {
    let mut scopes = Scopes(Vec::new());
    let mut resource_spans = Vec::new();
    for item in items {
        match item {
            Item::Request(record) => {
                scopes.push(&server_scope(), server_span(record, limits));
                for span in record.spans.iter().filter(|span| span.span_context.is_sampled()) {
                    scopes.push(&span.instrumentation_scope, inner_span(span, limits));
                }
            }
            Item::Straggler(span) => scopes.push(&span.instrumentation_scope, inner_span(span, limits)),
            Item::Stored(stored) => merge(&mut resource_spans, stored),
        }
    }
    if !scopes.0.is_empty() {
        resource_spans.push(ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: scopes.0.into_iter().map(|(_, spans)| spans).collect(),
            schema_url: conventions::SCHEMA_URL.to_owned(),
        });
    }
    ExportTraceServiceRequest { resource_spans }
}

/// Adds spans to those of the same process and the same instrumentation.
fn merge(all: &mut Vec<ResourceSpans>, more: &ResourceSpans) {
    let same = |one: &&mut ResourceSpans| one.resource == more.resource && one.schema_url == more.schema_url;
    let Some(known) = all.iter_mut().find(same) else { return all.push(more.clone()) };
    for scope in &more.scope_spans {
        let known_scope = known
            .scope_spans
            .iter_mut()
            .find(|one| one.scope == scope.scope && one.schema_url == scope.schema_url);
        match known_scope {
            Some(known) => known.spans.extend_from_slice(&scope.spans),
            None => known.scope_spans.push(scope.clone()),
        }
    }
}

/// An item as it is written to disk: the part of an export request that it will be.
pub(super) fn encode(item: &Item, resource: &Resource, limits: &SpanLimits, into: &mut Vec<u8>) {
    let request = export_request(std::slice::from_ref(item), resource, limits);
    for spans in &request.resource_spans {
        into.reserve(spans.encoded_len());
        // A vector grows, so that there is always room.
        spans.encode(into).ok();
    }
}

/// What [`encode`] has written.
pub(super) fn decode(bytes: &[u8]) -> Option<Item> {
    ResourceSpans::decode(bytes).ok().map(Item::Stored)
}

/// What an item is worth when there is not room for all: a request that succeeded says least.
pub(super) fn rank(item: &Item) -> Rank {
    let is_fine = match item {
        Item::Request(record) => record.verdict() == Verdict::Fine,
        Item::Straggler(span) => !matches!(span.status, Status::Error { .. }),
        Item::Stored(_) => false,
    };
    if is_fine { Rank::Routine } else { Rank::Notable }
}

/// How many spans were written.
pub(super) fn stored_spans(stored: &ResourceSpans) -> u64 {
    stored.scope_spans.iter().map(|scope| scope.spans.len() as u64).sum()
}

/// How many of a record's spans OTLP wants: the server span and the sampled ones inside.
pub(super) fn sampled_spans(record: &RequestRecord) -> u64 {
    1 + record.spans.iter().filter(|span| span.span_context.is_sampled()).count() as u64
}

/// The instrumentation that the server spans come from.
fn server_scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// Spans by the instrumentation they come from. There are few, so they are looked for one by one.
struct Scopes(Vec<(InstrumentationScope, ScopeSpans)>);

impl Scopes {
    fn push(&mut self, scope: &InstrumentationScope, span: trace::Span) {
        if let Some((_, spans)) = self.0.iter_mut().find(|(known, _)| known == scope) {
            return spans.spans.push(span);
        }
        let described = common::InstrumentationScope {
            name: scope.name().to_owned(),
            version: scope.version().unwrap_or_default().to_owned(),
            attributes: scope.attributes().map(|attribute| key_value(attribute, None)).collect(),
            dropped_attributes_count: 0,
        };
        let schema_url = scope.schema_url().unwrap_or_default().to_owned();
        let spans = ScopeSpans { scope: Some(described), spans: vec![span], schema_url };
        self.0.push((scope.clone(), spans));
    }
}

/// The request as a whole. Its events are those that no `tracing` span inside has among its own.
fn server_span(record: &RequestRecord, limits: &SpanLimits) -> trace::Span {
    let identity = record.identity();
    let (attributes, dropped_attributes_count) = attributes(&conventions::server_attributes(record), limits);
    let exception =
        conventions::exception(record).map(|exception| exception_event(record, exception, limits));
    // Why a request failed goes before what it had to say until then.
    let (exception, dropped_exceptions) = bounded(exception.into_iter(), limits.events);
    let logged = record.events.iter().filter(|event| !event.in_tracing_span);
    let room = limits.events - exception.len();
    let (mut events, dropped_events) = bounded(logged.map(|event| log_event(event, limits)), room);
    events.extend(exception);
    trace::Span {
        trace_id: identity.trace_id.to_bytes().to_vec(),
        span_id: identity.span_id.to_bytes().to_vec(),
        trace_state: identity.trace_state.header(),
        parent_span_id: identity.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        flags: flags(identity.sampled, identity.parent.is_some()),
        name: conventions::server_span_name(record.request()).into_owned(),
        kind: span::SpanKind::Server.into(),
        start_time_unix_nano: nanos(record.started()),
        end_time_unix_nano: nanos(record.ended()),
        attributes,
        dropped_attributes_count,
        events,
        dropped_events_count: dropped_events + dropped_exceptions + record.dropped_events,
        links: Vec::new(),
        dropped_links_count: 0,
        status: Some(status(&conventions::server_span_status(record))),
    }
}

/// A span that the application opened.
fn inner_span(data: &SpanData, limits: &SpanLimits) -> trace::Span {
    let (context, parent) = (&data.span_context, data.parent_span_id);
    let (attributes, dropped_attributes) = attributes(&data.attributes, limits);
    let (events, dropped_events) =
        bounded(data.events.iter().map(|event| span_event(event, limits)), limits.events);
    let (links, dropped_links) = bounded(data.links.iter().map(|link| span_link(link, limits)), limits.links);
    let has_parent = parent != opentelemetry::trace::SpanId::INVALID;
    trace::Span {
        trace_id: context.trace_id().to_bytes().to_vec(),
        span_id: context.span_id().to_bytes().to_vec(),
        trace_state: context.trace_state().header(),
        parent_span_id: if has_parent { parent.to_bytes().to_vec() } else { Vec::new() },
        flags: flags(context.is_sampled(), data.parent_span_is_remote),
        name: data.name.to_string(),
        kind: kind(&data.span_kind).into(),
        start_time_unix_nano: nanos(data.start_time),
        end_time_unix_nano: nanos(data.end_time),
        attributes,
        dropped_attributes_count: dropped_attributes + data.dropped_attributes_count,
        events,
        dropped_events_count: dropped_events + data.events.dropped_count,
        links,
        dropped_links_count: dropped_links + data.links.dropped_count,
        status: Some(status(&data.status)),
    }
}

fn log_event(event: &LogEvent, limits: &SpanLimits) -> span::Event {
    let mut own = vec![KeyValue::new("level", event.level.as_str()), KeyValue::new("target", event.target)];
    own.extend_from_slice(&event.fields);
    make_event(event.time, event.message.clone(), &own, 0, limits)
}

fn exception_event(
    record: &RequestRecord,
    exception: conventions::Exception,
    limits: &SpanLimits,
) -> span::Event {
    let own = [
        KeyValue::new("exception.type", exception.class.into_owned()),
        KeyValue::new("exception.message", exception.message),
        KeyValue::new("exception.stacktrace", exception.stacktrace + &stack(record)),
    ];
    make_event(record.ended(), "exception".to_owned(), &own, 0, limits)
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

fn span_event(event: &Event, limits: &SpanLimits) -> span::Event {
    let dropped = event.dropped_attributes_count;
    make_event(event.timestamp, event.name.to_string(), &event.attributes, dropped, limits)
}

fn make_event(
    time: SystemTime,
    name: String,
    own: &[KeyValue],
    dropped_before: u32,
    limits: &SpanLimits,
) -> span::Event {
    let length = limits.attribute_value_length;
    let (attributes, dropped) =
        bounded(own.iter().map(|attribute| key_value(attribute, length)), limits.event_attributes);
    let dropped_attributes_count = dropped + dropped_before;
    span::Event { time_unix_nano: nanos(time), name, attributes, dropped_attributes_count }
}

fn span_link(link: &Link, limits: &SpanLimits) -> span::Link {
    let (context, length) = (&link.span_context, limits.attribute_value_length);
    let (attributes, dropped) =
        bounded(link.attributes.iter().map(|attribute| key_value(attribute, length)), limits.link_attributes);
    span::Link {
        trace_id: context.trace_id().to_bytes().to_vec(),
        span_id: context.span_id().to_bytes().to_vec(),
        trace_state: context.trace_state().header(),
        attributes,
        dropped_attributes_count: dropped + link.dropped_attributes_count,
        flags: flags(context.is_sampled(), context.is_remote()),
    }
}

fn attributes(own: &[KeyValue], limits: &SpanLimits) -> (Vec<common::KeyValue>, u32) {
    let length = limits.attribute_value_length;
    bounded(own.iter().map(|attribute| key_value(attribute, length)), limits.attributes)
}

/// The first `most`, and how many there were beyond.
fn bounded<T>(mut all: impl Iterator<Item = T>, most: usize) -> (Vec<T>, u32) {
    let kept = all.by_ref().take(most).collect();
    (kept, u32::try_from(all.count()).unwrap_or(u32::MAX))
}

/// An attribute; text longer than `length` characters is cut.
fn key_value(attribute: &KeyValue, length: Option<usize>) -> common::KeyValue {
    let mut value = common::AnyValue::from(attribute.value.clone());
    if let Some(length) = length {
        shorten(&mut value, length);
    }
    common::KeyValue { key: attribute.key.to_string(), value: Some(value), ..common::KeyValue::default() }
}

fn shorten(value: &mut common::AnyValue, length: usize) {
    match &mut value.value {
        Some(any_value::Value::StringValue(text)) => {
            if let Some((end, _)) = text.char_indices().nth(length) {
                text.truncate(end);
            }
        }
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter_mut().for_each(|value| shorten(value, length));
        }
        _ => {}
    }
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

fn status(own: &Status) -> trace::Status {
    let (code, message) = match own {
        Status::Unset => (status::StatusCode::Unset, String::new()),
        Status::Ok => (status::StatusCode::Ok, String::new()),
        Status::Error { description } => (status::StatusCode::Error, description.to_string()),
    };
    trace::Status { code: code.into(), message }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
