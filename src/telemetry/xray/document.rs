//! Records as segment documents: pure functions from a record to what X-Ray takes.
//!
//! A document is first a tree of what it is drawn from, which is what packing needs to know, and then written straight
//! from the records and spans, without copies of their texts in between.
//!
//! Limits are those of the X-Ray developer guide, section "segment documents"; where it contradicts the schema that
//! AWS publishes, the narrower one holds.

mod cause;
mod fields;
mod fit;
mod json;
mod names;
mod segment;
mod subsegment;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;

use self::json::{Hex, Object, TraceIdText, key};
use self::segment::Segment;
use super::metadata::Known;
use crate::telemetry::delivery::Mark;
use crate::telemetry::observe::RequestRecord;

pub(super) use self::fit::LEAST;
pub use self::names::is_name_character;
pub(super) use self::names::legal as legal_name;

/// The largest document, in bytes: the API takes 64 kB, by the smaller reading of it; a datagram could have 65,477.
pub(super) const LARGEST: usize = 64_000;
/// How deep subsegments are nested in one document; deeper ones are documents of their own.
const DEEPEST: usize = 32;
/// Longest string where nothing else is said, in characters.
const LONGEST: usize = 250;

/// What X-Ray is given.
#[derive(Debug)]
pub(super) enum Item {
    /// A finished request, as a segment of this name, which is legal, sampled by this rule or by its caller.
    Segment { record: Arc<RequestRecord>, name: Arc<str>, rule: Option<Arc<str>> },
    /// A span that outlived its request, as a subsegment on its own.
    Straggler { record: Arc<RequestRecord>, span: Box<SpanData> },
    /// The document of a request that one was enough for, no longer than [`LEAST`].
    Drawn(Bytes),
}

/// What is the same in all documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants {
    /// The fields of `service`.
    service: Vec<u8>,
    /// The field that names the log group.
    logs: Vec<u8>,
}

impl Constants {
    /// Those of a service's `version`, whose lines are in `log_group`.
    pub(super) fn new(version: &str, log_group: Option<&str>) -> Self {
        let (mut service, mut logs) = (Vec::new(), Vec::new());
        Object::open(&mut service)
            .field(key!("version"), cut(version, LONGEST))
            .constant(concat!(key!("runtime"), "\"rust\""));
        Object::open(&mut logs).array(key!("cloudwatch_logs"), log_group, |group, out| {
            Object::open(out).field(key!("log_group"), group).close();
        });
        Self { service, logs }
    }
}

/// Documents one behind the other.
#[derive(Debug, Default)]
pub(super) struct Documents {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Documents {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default())
    }

    /// One document only.
    fn be(&mut self, document: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(document);
        self.ends.push(document.len());
    }

    /// The document, where there is one only.
    pub(super) fn only(&self) -> Option<&[u8]> {
        (self.ends.len() == 1).then_some(&self.bytes)
    }
}

/// What documents look like.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) constants: Constants,
    pub(super) known: Known,
}

/// Appends a request's document; says whether it is the only one, and small.
pub(super) fn draw_light(
    record: &RequestRecord,
    name: &str,
    rule: Option<&str>,
    form: &Form,
    out: &mut Vec<u8>,
) -> bool {
    let segment = Segment::new(record, name, rule, &form.constants, form.known.get());
    let (root, deep) = with_family(&segment, record);
    let begin = out.len();
    root.write(out);
    deep.is_empty() && out.len() - begin <= LEAST
}

/// What [`draw_light`] has appended.
pub(super) fn gathered(document: Bytes, _: Mark) -> Item {
    Item::Drawn(document)
}

/// Makes `documents` those of an item, each at most `most` bytes of compact JSON: the segment, and what does not fit into
/// it.
pub(super) fn draw(item: &Item, form: &Form, most: usize, documents: &mut Documents) {
    documents.clear();
    match item {
        Item::Drawn(document) => documents.be(document),
        Item::Segment { record, name, rule } => {
            let segment = Segment::new(record, name, rule.as_deref(), &form.constants, form.known.get());
            let (root, deep) = with_family(&segment, record);
            fit::fit(root, most, documents);
            deep.into_iter().for_each(|document| fit::fit(document, most, documents));
        }
        Item::Straggler { record, span } => fit::fit(alone(span, record), most, documents),
    }
}

/// A document before it is written.
struct Document<'a> {
    of: Of<'a>,
    /// The trace and the parent, which are said where the document is not within its parent's.
    place: Option<(TraceId, Option<SpanId>)>,
    /// How many of the parts that it can do without have been given up.
    given_up: usize,
    subsegments: Vec<Document<'a>>,
}

/// What a document is drawn from.
enum Of<'a> {
    Request(&'a Segment<'a>),
    Span(&'a SpanData),
}

/// What a document can do without, in the order in which it is given up.
#[derive(Debug, Clone, Copy)]
enum Part {
    Metadata,
    Stacks,
    Annotations,
    Cause,
    Sql,
    Aws,
}

impl<'a> Document<'a> {
    fn of(span: &'a SpanData) -> Self {
        Self { of: Of::Span(span), place: None, given_up: 0, subsegments: Vec::new() }
    }

    fn id(&self) -> SpanId {
        match &self.of {
            Of::Request(segment) => segment.record.identity().span_id,
            Of::Span(span) => span.span_context.span_id(),
        }
    }

    fn start_time(&self) -> SystemTime {
        match &self.of {
            Of::Request(segment) => segment.record.started(),
            Of::Span(span) => span.start_time,
        }
    }

    fn keeps(&self, part: Part) -> bool {
        part as usize >= self.given_up
    }

    /// The daemon looks for `id` and `trace_id` before anything nested.
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.field(key!("id"), Hex(self.id().to_bytes()));
        if let Some((trace_id, parent)) = self.place {
            let kind = matches!(self.of, Of::Span(_)).then_some("subsegment");
            object
                .field(key!("trace_id"), TraceIdText(trace_id))
                .field(key!("parent_id"), parent.map(|parent| Hex(parent.to_bytes())))
                .field(key!("type"), kind);
        }
        match &self.of {
            Of::Request(segment) => segment.write(self, &mut object),
            Of::Span(span) => subsegment::write(span, self, &mut object),
        }
        object.array(key!("subsegments"), &self.subsegments, Self::write).close();
    }
}

/// The segment with its subsegments, and those that lie too deep.
fn with_family<'a>(segment: &'a Segment<'a>, record: &'a RequestRecord) -> (Document<'a>, Vec<Document<'a>>) {
    let (subsegments, deep) = match record.spans.as_slice() {
        // Whoever its parent is.
        [only] => (vec![Document::of(only)], Vec::new()),
        _ => family(record),
    };
    let identity = record.identity();
    let place = Some((identity.trace_id, identity.parent));
    (Document { of: Of::Request(segment), place, given_up: 0, subsegments }, deep)
}

/// The subsegments of a request, and those that lie too deep.
fn family(record: &RequestRecord) -> (Vec<Document<'_>>, Vec<Document<'_>>) {
    let identity = record.identity();
    let mut deep = Vec::new();
    let mut family = Family::of(record);
    let mut subsegments = family.below(identity.span_id, 1, &mut deep);
    // What is left has a parent that is neither here nor the request: it is still running, or found no room.
    for parent in family.strangers() {
        subsegments.extend(family.below(parent, 1, &mut deep));
    }
    // And now what is its own ancestor.
    subsegments.extend(family.rest());
    by_beginning(&mut subsegments);
    (subsegments, deep)
}

/// A subsegment that is sent on its own. Its request says which trace it belongs to, and is its parent if no span is.
fn alone<'a>(span: &'a SpanData, record: &RequestRecord) -> Document<'a> {
    let identity = record.identity();
    let parent = if span.parent_span_id == SpanId::INVALID { identity.span_id } else { span.parent_span_id };
    Document { place: Some((identity.trace_id, Some(parent))), ..Document::of(span) }
}

fn by_beginning(documents: &mut [Document<'_>]) {
    documents.sort_by_key(Document::start_time);
}

/// A record's spans that have not found their place yet, by their parents.
struct Family<'a> {
    members: Vec<(SpanId, Option<&'a SpanData>)>,
    record: &'a RequestRecord,
}

impl<'a> Family<'a> {
    fn of(record: &'a RequestRecord) -> Self {
        let mut members: Vec<_> =
            record.spans.iter().map(|span| (span.parent_span_id, Some(&**span))).collect();
        members.sort_by_key(|(parent, _)| parent.to_bytes());
        Self { members, record }
    }

    /// The spans below one; none of them is there afterwards.
    fn take(&mut self, parent: SpanId) -> Vec<&'a SpanData> {
        let parent = parent.to_bytes();
        let begin = self.members.partition_point(|(other, _)| other.to_bytes() < parent);
        let children = self.members.get_mut(begin..).unwrap_or_default().iter_mut();
        children
            .take_while(|(other, _)| other.to_bytes() == parent)
            .filter_map(|(_, span)| span.take())
            .collect()
    }

    /// The parents that are no spans of the record.
    fn strangers(&self) -> Vec<SpanId> {
        let mut parents: Vec<_> =
            self.members.iter().filter(|(_, span)| span.is_some()).map(|(parent, _)| *parent).collect();
        if parents.is_empty() {
            return parents;
        }
        parents.dedup();
        let known: std::collections::HashSet<_> =
            self.record.spans.iter().map(|span| span.span_context.span_id()).collect();
        parents.retain(|parent| !known.contains(parent));
        parents
    }

    /// The subsegments below a span, in the order of their beginnings. What lies too deep goes to `deep`, as
    /// documents of their own, which name their parents.
    fn below(&mut self, parent: SpanId, depth: usize, deep: &mut Vec<Document<'a>>) -> Vec<Document<'a>> {
        let mut next = self.take(parent);
        if depth <= DEEPEST {
            next.sort_by_key(|span| span.start_time);
            return next.into_iter().map(|span| self.with_children(span, depth, deep)).collect();
        }
        // Level by level, without recursion: a chain of thousands must not exhaust the stack.
        while let Some(span) = next.pop() {
            deep.push(alone(span, self.record));
            next.extend(self.take(span.span_context.span_id()));
        }
        Vec::new()
    }

    fn with_children(
        &mut self,
        span: &'a SpanData,
        depth: usize,
        deep: &mut Vec<Document<'a>>,
    ) -> Document<'a> {
        let subsegments = self.below(span.span_context.span_id(), depth + 1, deep);
        Document { subsegments, ..Document::of(span) }
    }

    /// All that is left.
    fn rest(self) -> impl Iterator<Item = Document<'a>> {
        self.members.into_iter().filter_map(|(_, span)| span).map(Document::of)
    }
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> &str {
    // No text has more characters than bytes.
    if text.len() <= most {
        return text;
    }
    let end = text.char_indices().nth(most);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
pub(super) mod tests;
