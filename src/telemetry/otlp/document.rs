//! Records as OTLP spans: pure functions from records to the bytes of an export request.
//!
//! The bytes are written straight from the records. The protocol's message types would be built from copies of every
//! text, encoded and thrown away again, for more instructions than the whole request takes (`benches/`); the tests
//! read with those types what is written here. The numbers are those of `opentelemetry/proto/trace/v1/trace.proto`
//! and its kin.

mod protobuf;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::trace::{Event, Link, SpanId, SpanKind, Status, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span, status};
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use self::protobuf::Message;
use crate::config::SpanLimits;
use crate::telemetry::delivery::{Mark, Rank};
use crate::telemetry::observe::conventions::Described;
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
    /// What either has become.
    Drawn(Drawn),
    /// What was written to disk of either, perhaps by another process: its resource is the other's.
    Stored(Box<ResourceSpans>),
}

/// Spans, as they will be of an export request.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    rank: Rank,
    /// Field 2 of `ScopeSpans`, as often as there are spans.
    spans: Bytes,
    /// The instrumentations that the spans come from, and where those of each end. Where there is none, all come from our
    /// own.
    scopes: Vec<(Arc<InstrumentationScope>, usize)>,
}

/// What spans look like.
#[derive(Debug)]
pub(super) struct Form {
    limits: SpanLimits,
    known: Known,
}

impl Form {
    pub(super) fn new(limits: SpanLimits) -> Self {
        Self { limits, known: Known::default() }
    }
}

/// The instrumentations that are known, so that not each span has a copy. There are few, so they are looked for one by
/// one.
#[derive(Debug, Default)]
struct Known(Mutex<Vec<Arc<InstrumentationScope>>>);

impl Known {
    /// More than this only who makes up names has.
    const MOST: usize = 64;

    fn shared(&self, scope: &InstrumentationScope) -> Arc<InstrumentationScope> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| ***known == *scope) {
            return Arc::clone(known);
        }
        let new = Arc::new(scope.clone());
        if all.len() < Self::MOST {
            all.push(Arc::clone(&new));
        }
        new
    }
}

/// Draws what is not drawn yet.
pub(super) fn draw(item: Item, form: &Form) -> Item {
    let (rank, mut spans, mut scopes) = (rank(&item), Vec::new(), Vec::with_capacity(2));
    let mut pencil = Pencil { spans: Message::behind(&mut spans), scopes: &mut scopes, known: &form.known };
    match &item {
        Item::Request(record) => pencil.push_record(record, &form.limits),
        Item::Straggler(span) => pencil.push_span(span, &form.limits),
        Item::Drawn(_) | Item::Stored(_) => return item,
    }
    Item::Drawn(Drawn { rank, spans: spans.into(), scopes })
}

/// Appends a request's spans, where all come from our own instrumentation, as they mostly do; says whether they do.
pub(super) fn draw_own(item: &Item, form: &Form, out: &mut Vec<u8>) -> bool {
    let Item::Request(record) = item else { return false };
    let sampled = || record.spans.iter().filter(|span| span.span_context.is_sampled());
    let is_own = sampled().all(|span| span.instrumentation_scope == **conventions::SCOPE);
    if is_own {
        let mut spans = Message::behind(out);
        spans.long_message(2, |span| server_span(span, record, &form.limits));
        sampled().for_each(|data| spans.long_message(2, |span| inner_span(span, data, &form.limits)));
    }
    is_own
}

/// What [`draw_own`] has appended.
pub(super) fn gathered(spans: Bytes, Mark { rank, .. }: Mark) -> Item {
    Item::Drawn(Drawn { rank, spans, scopes: Vec::new() })
}

/// One `ExportTraceServiceRequest` for all of `items`, which are drawn; `resource` is an encoded `Resource`.
pub(super) fn export_request(items: &[Item], resource: &[u8]) -> Vec<u8> {
    let (mut scopes, mut stored) = (Scopes::default(), Vec::new());
    for item in items {
        match item {
            Item::Drawn(drawn) => scopes.push(drawn),
            Item::Stored(spans) => merge(&mut stored, spans),
            Item::Request(_) | Item::Straggler(_) => {}
        }
    }
    let length = scopes.length(resource);
    let mut bytes = Vec::with_capacity(length + 16);
    let mut request = Message::behind(&mut bytes);
    if !scopes.0.is_empty() {
        request.open(1, length);
        scopes.write(&mut request, resource);
    }
    for spans in stored {
        request.chosen_bytes(1, &spans.encode_to_vec());
    }
    bytes
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

/// An item as it is written to disk: the `ResourceSpans` that it will be of an export request.
pub(super) fn encode(item: &Item, resource: &[u8], into: &mut Vec<u8>) {
    match item {
        Item::Drawn(drawn) => {
            let mut scopes = Scopes::default();
            scopes.push(drawn);
            scopes.write(&mut Message::behind(into), resource);
        }
        Item::Stored(spans) => into.extend_from_slice(&spans.encode_to_vec()),
        Item::Request(_) | Item::Straggler(_) => {}
    }
}

/// What [`encode`] has written.
pub(super) fn decode(bytes: &[u8]) -> Option<Item> {
    ResourceSpans::decode(bytes).ok().map(Box::new).map(Item::Stored)
}

/// What an item is worth when there is not room for all: a request that succeeded says least.
pub(super) fn rank(item: &Item) -> Rank {
    let is_fine = match item {
        Item::Request(record) => record.verdict() == Verdict::Fine,
        Item::Straggler(span) => !matches!(span.status, Status::Error { .. }),
        Item::Drawn(drawn) => return drawn.rank,
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

/// The spans of many items, by the instrumentation that they come from. There are few, so they are looked for one by
/// one.
#[derive(Default)]
struct Scopes<'a>(Vec<ScopeSpans<'a>>);

struct ScopeSpans<'a> {
    scope: &'a Arc<InstrumentationScope>,
    /// All but the spans.
    head: Vec<u8>,
    spans: Vec<&'a [u8]>,
    length: usize,
}

impl<'a> Scopes<'a> {
    fn push(&mut self, drawn: &'a Drawn) {
        if drawn.scopes.is_empty() {
            self.push_spans(&conventions::SCOPE, &drawn.spans);
        }
        let mut begin = 0;
        for (scope, end) in &drawn.scopes {
            self.push_spans(scope, drawn.spans.get(begin..*end).unwrap_or_default());
            begin = *end;
        }
    }

    fn push_spans(&mut self, scope: &'a Arc<InstrumentationScope>, spans: &'a [u8]) {
        let same = |known: &&mut ScopeSpans<'_>| Arc::ptr_eq(known.scope, scope) || known.scope == scope;
        let known = self.0.iter_mut().find(same);
        if let Some(known) = known {
            known.length += spans.len();
            return known.spans.push(spans);
        }
        let head = scope_head(scope);
        let length = head.len() + spans.len();
        self.0.push(ScopeSpans { scope, head, spans: vec![spans], length });
    }

    /// How many bytes [`Scopes::write`] writes.
    fn length(&self, resource: &[u8]) -> usize {
        let scopes: usize = self.0.iter().map(|scope| protobuf::field_length(2, scope.length)).sum();
        let schema = protobuf::field_length(3, conventions::SCHEMA_URL.len());
        protobuf::field_length(1, resource.len()) + scopes + schema
    }

    /// Writes all of it as `ResourceSpans`.
    fn write(self, spans: &mut Message<'_>, resource: &[u8]) {
        spans.chosen_bytes(1, resource);
        for scope in self.0 {
            spans.open(2, scope.length);
            spans.raw(&scope.head);
            scope.spans.into_iter().for_each(|one| spans.raw(one));
        }
        spans.bytes(3, conventions::SCHEMA_URL);
    }
}

/// `ScopeSpans` without spans.
fn scope_head(scope: &InstrumentationScope) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut head = Message::behind(&mut bytes);
    head.message(1, |described| {
        described.bytes(1, scope.name());
        described.bytes(2, scope.version().unwrap_or_default());
        for attribute in scope.attributes() {
            key_value(described, 3, attribute.key.as_str(), Described::from(&attribute.value), None);
        }
    });
    head.bytes(3, scope.schema_url().unwrap_or_default());
    bytes
}

/// Draws spans one behind the other.
struct Pencil<'a> {
    spans: Message<'a>,
    scopes: &'a mut Vec<(Arc<InstrumentationScope>, usize)>,
    known: &'a Known,
}

impl Pencil<'_> {
    fn push_record(&mut self, record: &RequestRecord, limits: &SpanLimits) {
        self.push(&conventions::SCOPE, |span| server_span(span, record, limits));
        for data in record.spans.iter().filter(|span| span.span_context.is_sampled()) {
            self.push_span(data, limits);
        }
    }

    fn push_span(&mut self, data: &SpanData, limits: &SpanLimits) {
        let scope = self.known.shared(&data.instrumentation_scope);
        self.push(&scope, |span| inner_span(span, data, limits));
    }

    fn push(&mut self, scope: &Arc<InstrumentationScope>, write: impl FnOnce(&mut Message<'_>)) {
        self.spans.long_message(2, write);
        let end = self.spans.length();
        match self.scopes.last_mut().filter(|(known, _)| Arc::ptr_eq(known, scope)) {
            Some((_, known)) => *known = end,
            None => self.scopes.push((Arc::clone(scope), end)),
        }
    }
}

/// The request as a whole. Its events are those that no `tracing` span inside has among its own.
fn server_span(span: &mut Message<'_>, record: &RequestRecord, limits: &SpanLimits) {
    let identity = record.identity();
    span.id(1, identity.trace_id.to_bytes());
    span.id(2, identity.span_id.to_bytes());
    trace_state(span, &identity.trace_state);
    if let Some(parent) = identity.parent {
        span.id(4, parent.to_bytes());
    }
    span.bytes(5, conventions::server_span_name(record.request()).as_bytes());
    span.chosen_uint(6, span::SpanKind::Server as u64);
    span.fixed64(7, nanos(record.started()));
    span.fixed64(8, nanos(record.ended()));
    let (mut kept, mut dropped) = (0, 0_u32);
    conventions::each_server_attribute(record, |key, value| {
        if kept < limits.attributes {
            key_value(span, 9, key, value, limits.attribute_value_length);
            kept += 1;
        } else {
            dropped += 1;
        }
    });
    span.uint(10, dropped);
    let dropped_events = server_events(span, record, limits);
    span.uint(12, dropped_events);
    status(span, &conventions::server_span_status(record));
    span.fixed32(16, flags(identity.sampled, identity.parent.is_some()));
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
fn inner_span(span: &mut Message<'_>, data: &SpanData, limits: &SpanLimits) {
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
fn key_value(message: &mut Message<'_>, field: u64, key: &str, value: Described<'_>, length: Option<usize>) {
    match value {
        Described::Text(text) => message.pair(field, key.as_bytes(), shortened(text, length).as_bytes()),
        Described::Int(number) => message.count(field, key.as_bytes(), number.cast_unsigned()),
        Described::Value(value) => message.message(field, |attribute| {
            attribute.bytes(1, key);
            attribute.message(2, |any| any_value(any, value, length));
        }),
    }
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

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
