//! Records as segment documents: pure functions from a record to what X-Ray takes.
//!
//! Limits are those of the X-Ray developer guide, section "segment documents"; where it contradicts the schema that
//! AWS publishes, the narrower one holds.

mod fields;
mod fit;
mod json;
mod names;
mod parts;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;

use self::parts::{Aws, Document, Http, Request, Response, SdkInfo, Service};
use super::metadata::Surroundings;
use crate::telemetry::observe::{AmznTraceId, RequestRecord, Verdict, conventions, frames, id_text};

pub(super) use self::fit::LEAST;
pub use self::names::is_name_character;
pub(super) use self::names::legal as legal_name;

/// How deep subsegments are nested in one document; deeper ones are documents of their own.
const DEEPEST: usize = 32;
/// Longest string where nothing else is said, in characters.
const LONGEST: usize = 250;

/// What X-Ray is given.
#[derive(Debug)]
pub(super) enum Item {
    /// A finished request, as a segment of this name, sampled by this rule or by its caller.
    Segment { record: Arc<RequestRecord>, name: String, rule: Option<Arc<str>> },
    /// A span that outlived its request, as a subsegment on its own.
    Straggler { record: Arc<RequestRecord>, span: Box<SpanData> },
}

/// What is the same in all documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants {
    /// The service's version.
    pub(super) version: String,
    /// The log group that the request's lines are in.
    pub(super) log_group: Option<String>,
}

/// The documents of an item, each at most `most` bytes of compact JSON: the segment, and what does not fit into it.
pub(super) fn documents(
    item: &Item,
    constants: &Constants,
    around: &Surroundings,
    most: usize,
) -> Vec<Vec<u8>> {
    let roots = match item {
        Item::Segment { record, name, rule } => segment(record, name, rule.as_deref(), constants, around),
        Item::Straggler { record, span } => vec![alone(span, record)],
    };
    roots.into_iter().flat_map(|root| fit::fit(root, most)).collect()
}

/// The segment with its subsegments, and those that lie too deep.
fn segment(
    record: &RequestRecord,
    name: &str,
    rule: Option<&str>,
    constants: &Constants,
    around: &Surroundings,
) -> Vec<Document> {
    let (identity, request, verdict) = (record.identity(), record.request(), record.verdict());
    let mut own = fields::sorted(&record.attributes);
    own.annotations
        .extend(record.error_id.map(|id| (conventions::ERROR_ID.to_owned(), id.to_string().into())));
    let mut segment = Document {
        id: id_text(identity.span_id.to_bytes()),
        trace_id: Some(trace_id(identity.trace_id)),
        parent_id: identity.parent.map(|parent| id_text(parent.to_bytes())),
        name: names::legal(name),
        start_time: seconds(record.started()),
        end_time: seconds(record.ended()),
        service: Some(Service { version: cut(&constants.version, LONGEST), runtime: "rust" }),
        user: record.user.as_deref().map(|user| cut(user, LONGEST)),
        origin: around.origin,
        http: Some(Http {
            request: Some(Request {
                method: Some(cut(request.method.as_str(), LONGEST)),
                url: Some(cut(&url(request), LONGEST)),
                user_agent: request.user_agent().map(|agent| cut(agent, LONGEST)),
                client_ip: request.client_address.map(conventions::address),
                x_forwarded_for: request.client_forwarded.then_some(true),
            }),
            response: record.status.map(|status| Response {
                status: Some(status.as_u16().into()),
                content_length: Some(record.response_bytes),
            }),
        }),
        error: matches!(verdict, Verdict::ClientError | Verdict::Throttled).then_some(true),
        throttle: (verdict == Verdict::Throttled).then_some(true),
        fault: (verdict == Verdict::ServerFault).then_some(true),
        aws: Some(Aws {
            xray: Some(SdkInfo {
                sdk: concat!(env!("CARGO_PKG_NAME"), " for Rust"),
                sdk_version: env!("CARGO_PKG_VERSION"),
                sampling_rule_name: rule.map(|rule| cut(rule, 32)),
            }),
            cloudwatch_logs: constants
                .log_group
                .iter()
                .map(|group| parts::LogGroup { log_group: group.clone() })
                .collect(),
            account_id: around.account_id.clone(),
            ec2: around.ec2.clone(),
            ecs: around.ecs.clone(),
            ..Aws::default()
        }),
        cause: cause(record),
        annotations: own.annotations,
        metadata: own.metadata,
        ..Document::default()
    };
    let mut family = Family::of(record);
    let mut deep = Vec::new();
    segment.subsegments = family.below(identity.span_id, 1, &mut deep);
    // What is left has a parent that is neither here nor the request: it is still running, or found no room.
    for parent in family.strangers() {
        segment.subsegments.extend(family.below(parent, 1, &mut deep));
    }
    // And now what is its own ancestor.
    segment.subsegments.extend(family.0.drain().flat_map(|(_, spans)| spans).map(fields::subsegment));
    segment.subsegments.sort_by(|one, other| one.start_time.total_cmp(&other.start_time));
    deep.insert(0, segment);
    deep
}

/// A subsegment that is sent on its own. Its request says which trace it belongs to, and is its parent if no span is.
fn alone(span: &SpanData, record: &RequestRecord) -> Document {
    let identity = record.identity();
    let parent = if span.parent_span_id == SpanId::INVALID { identity.span_id } else { span.parent_span_id };
    Document {
        trace_id: Some(trace_id(identity.trace_id)),
        parent_id: Some(id_text(parent.to_bytes())),
        kind: Some("subsegment"),
        ..fields::subsegment(span)
    }
}

/// A record's spans by their parents.
struct Family<'a>(HashMap<SpanId, Vec<&'a SpanData>>, &'a RequestRecord);

impl<'a> Family<'a> {
    fn of(record: &'a RequestRecord) -> Self {
        let mut family: HashMap<_, Vec<_>> = HashMap::with_capacity(record.spans.len());
        for span in &record.spans {
            family.entry(span.parent_span_id).or_default().push(span);
        }
        Self(family, record)
    }

    /// The parents that are no spans of the record.
    fn strangers(&self) -> Vec<SpanId> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let known: HashSet<_> = self.1.spans.iter().map(|span| span.span_context.span_id()).collect();
        self.0.keys().copied().filter(|parent| !known.contains(parent)).collect()
    }

    /// The subsegments below a span, in the order of their beginnings. What lies too deep goes to `deep`, as
    /// documents of their own, which name their parents.
    fn below(&mut self, parent: SpanId, depth: usize, deep: &mut Vec<Document>) -> Vec<Document> {
        let mut children = self.0.remove(&parent).unwrap_or_default();
        children.sort_by_key(|span| span.start_time);
        if depth <= DEEPEST {
            return children.into_iter().map(|span| self.with_children(span, depth, deep)).collect();
        }
        // Level by level, without recursion: a chain of thousands must not exhaust the stack.
        let mut next = children;
        while let Some(span) = next.pop() {
            deep.push(alone(span, self.1));
            next.extend(self.0.remove(&span.span_context.span_id()).unwrap_or_default());
        }
        Vec::new()
    }

    fn with_children(&mut self, span: &SpanData, depth: usize, deep: &mut Vec<Document>) -> Document {
        let subsegments = self.below(span.span_context.span_id(), depth + 1, deep);
        Document { subsegments, ..fields::subsegment(span) }
    }
}

/// Why the request failed: the error's chain, or the panic.
fn cause(record: &RequestRecord) -> Option<parts::Cause> {
    if let Some(panic) = &record.panic {
        let stack = panic.backtrace.as_ref().map(|stack| frames::resolve(stack)).unwrap_or_default();
        let exception = parts::Exception {
            id: exception_id(record, 0),
            message: cut(&panic.message, LONGEST),
            class: "panic".to_owned(),
            stack: stack.iter().map(stack_frame).collect(),
            ..parts::Exception::default()
        };
        return Some(parts::Cause::of(vec![exception]));
    }
    let fault = record.fault.as_ref()?;
    let last = fault.causes().len() - 1;
    let exceptions = fault.causes().iter().enumerate().map(|(at, cause)| parts::Exception {
        id: exception_id(record, at),
        message: cut(&cause.message, LONGEST),
        class: cut(cause.class, LONGEST),
        cause: (at < last).then(|| exception_id(record, at + 1)),
        // The stack belongs to the outermost error: where it became ours.
        stack: if at == 0 {
            frames::resolve(fault.backtrace()).iter().map(stack_frame).collect()
        } else {
            Vec::new()
        },
    });
    Some(parts::Cause::of(exceptions.collect()))
}

/// An id for the exception at this place of the chain, the same whoever asks.
fn exception_id(record: &RequestRecord, at: usize) -> String {
    let span = u64::from_be_bytes(record.identity().span_id.to_bytes());
    // An odd constant of high entropy (2^64 divided by the golden ratio) keeps neighbours apart.
    let id = span ^ 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at as u64 + 1);
    format!("{id:016x}")
}

fn stack_frame(frame: &frames::Frame) -> parts::StackFrame {
    parts::StackFrame {
        path: frame.file.as_deref().map(|file| cut(file, LONGEST)),
        line: frame.line,
        label: cut(&frame.function, LONGEST),
    }
}

/// Protocol, host and path, without the query.
fn url(request: &crate::telemetry::observe::RequestFacts) -> String {
    let host = request.server_address.as_deref().unwrap_or("-");
    let port = request.server_port.filter(|port| *port != request.scheme.default_port());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    [request.scheme.as_str(), "://", host, &port, &request.path].concat()
}

/// `1-8hex-24hex`.
fn trace_id(id: TraceId) -> String {
    AmznTraceId(id).to_string()
}

/// Seconds since 1970 with microseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit a mantissa until the year 2255")]
fn seconds(time: SystemTime) -> f64 {
    let micros = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    micros as f64 / 1e6
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> String {
    // No text has more characters than bytes.
    if text.len() <= most {
        return text.to_owned();
    }
    match text.char_indices().nth(most) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests;
