//! Records as OTLP spans: pure functions from records to the bytes of an export request.
//!
//! The bytes are written straight from the records. The protocol's message types would be built from copies of every
//! text, encoded and thrown away again, for more instructions than the whole request takes (`benches/`); the tests
//! read with those types what is written here. The numbers are those of `opentelemetry/proto/trace/v1/trace.proto`
//! and its kin.

mod protobuf;
mod span;

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::Status;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use self::protobuf::Message;
use self::span::{inner_span, key_value, server_span};
use crate::config::SpanLimits;
use crate::telemetry::delivery::{Mark, Rank};
use crate::telemetry::observe::conventions::Described;
use crate::telemetry::observe::{RequestRecord, Verdict, conventions};

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
    scopes: Vec<(InstrumentationScope, usize)>,
}

/// Draws what is not drawn yet.
pub(super) fn draw(item: Item, limits: &SpanLimits) -> Item {
    let (rank, mut spans, mut scopes) = (rank(&item), Vec::new(), Vec::new());
    let mut pencil = Pencil { spans: Message::behind(&mut spans), scopes: &mut scopes };
    match &item {
        Item::Request(record) => pencil.push_record(record, limits),
        Item::Straggler(span) => pencil.push_span(span, limits),
        Item::Drawn(_) | Item::Stored(_) => return item,
    }
    Item::Drawn(Drawn { rank, spans: spans.into(), scopes })
}

/// Appends a request's spans, where all come from our own instrumentation, as they mostly do; says whether they do.
pub(super) fn draw_own(record: &RequestRecord, limits: &SpanLimits, out: &mut Vec<u8>) -> bool {
    let sampled = || record.spans.iter().filter(|span| span.span_context.is_sampled());
    let is_own = sampled().all(|span| span.instrumentation_scope == *conventions::SCOPE);
    if is_own {
        let mut spans = Message::behind(out);
        spans.long_message(2, |span| server_span(span, record, limits));
        sampled().for_each(|data| spans.long_message(2, |span| inner_span(span, data, limits)));
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

/// What an item is worth when there is not room for all: what succeeded says least.
pub(super) fn rank(item: &Item) -> Rank {
    match item {
        Item::Request(record) => rank_of(record),
        Item::Straggler(span) if !matches!(span.status, Status::Error { .. }) => Rank::Routine,
        Item::Straggler(_) | Item::Stored(_) => Rank::Notable,
        Item::Drawn(drawn) => drawn.rank,
    }
}

/// The same of a request's spans.
pub(super) fn rank_of(record: &RequestRecord) -> Rank {
    if record.verdict() == Verdict::Fine { Rank::Routine } else { Rank::Notable }
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
    scope: &'a InstrumentationScope,
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

    fn push_spans(&mut self, scope: &'a InstrumentationScope, spans: &'a [u8]) {
        let same = |known: &&mut ScopeSpans<'_>| std::ptr::eq(known.scope, scope) || known.scope == scope;
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
    scopes: &'a mut Vec<(InstrumentationScope, usize)>,
}

impl Pencil<'_> {
    fn push_record(&mut self, record: &RequestRecord, limits: &SpanLimits) {
        self.push(&conventions::SCOPE, |span| server_span(span, record, limits));
        for data in record.spans.iter().filter(|span| span.span_context.is_sampled()) {
            self.push_span(data, limits);
        }
    }

    fn push_span(&mut self, data: &SpanData, limits: &SpanLimits) {
        self.push(&data.instrumentation_scope, |span| inner_span(span, data, limits));
    }

    fn push(&mut self, scope: &InstrumentationScope, write: impl FnOnce(&mut Message<'_>)) {
        self.spans.long_message(2, write);
        let end = self.spans.length();
        match self.scopes.last_mut().filter(|(known, _)| known == scope) {
            Some((_, known)) => *known = end,
            None => self.scopes.push((scope.clone(), end)),
        }
    }
}
