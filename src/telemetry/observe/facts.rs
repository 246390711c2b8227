//! What is gathered of a request until it is over.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

use super::fault::Fault;
use super::log::{EventId, LogEvent};
use super::panic::PanicReport;
use super::record::{Opening, Outcome, RequestRecord, Stage};

/// How many spans one record holds; a request with more is a runaway loop, and its memory is not ours to spend.
const MAX_SPANS: usize = 10_000;
/// How many log events one record holds: OpenTelemetry's default limit of events on a span.
const MAX_EVENTS: usize = 128;
/// How many attributes the application may add: OpenTelemetry's default limit of attributes on a span.
const MAX_ATTRIBUTES: usize = 128;

/// What is gathered until the end.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) status: Option<StatusCode>,
    pub(super) head_after: Option<Duration>,
    pub(super) response_content_length: Option<u64>,
    pub(super) fault: Option<Fault>,
    pub(super) panic: Option<PanicReport>,
    pub(super) panic_beside: Option<PanicReport>,
    /// Whether a log event asks for a report.
    report: bool,
    pub(super) user: Option<String>,
    attributes: Vec<KeyValue>,
    #[expect(clippy::vec_box, reason = "each stays where it was made: half a kilobyte that nobody copies")]
    spans: Vec<Box<SpanData>>,
    dropped_spans: u32,
    events: Vec<Arc<LogEvent>>,
    dropped_events: u32,
}

/// How the observer saw the exchange end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The body came to its end.
    Complete,
    /// The body's stream failed.
    Broken,
    /// Whoever waited for it went away.
    Dropped(Stage),
}

impl Facts {
    /// Adds an attribute, or replaces one.
    pub(super) fn set_attribute(&mut self, attribute: KeyValue) {
        if let Some(known) = self.attributes.iter_mut().find(|known| known.key == attribute.key) {
            *known = attribute;
        } else if self.attributes.len() < MAX_ATTRIBUTES {
            self.attributes.push(attribute);
        }
    }

    /// Files a span that has ended.
    pub(super) fn file(&mut self, span: Box<SpanData>) {
        if self.spans.len() < MAX_SPANS {
            self.spans.push(span);
        } else {
            self.dropped_spans += 1;
        }
    }

    /// Files a log event.
    pub(super) fn log(&mut self, event: &Arc<LogEvent>) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(Arc::clone(event));
        } else {
            self.dropped_events += 1;
            // What the report will be about is kept, at the cost of another one.
            if let (true, false, Some(last)) = (event.report, self.report, self.events.last_mut()) {
                *last = Arc::clone(event);
            }
        }
        self.report |= event.report;
    }

    /// The record of all that was gathered, of which nothing is left here.
    pub(super) fn draw(
        &mut self,
        opening: &Arc<Opening>,
        duration: Duration,
        ending: Ending,
        response_bytes: u64,
    ) -> RequestRecord {
        let facts = std::mem::take(self);
        let outcome = match ending {
            _ if facts.panic.is_some() => Outcome::Panicked,
            Ending::Broken => Outcome::Failed,
            _ if facts.fault.is_some() => Outcome::Failed,
            Ending::Complete => Outcome::Completed,
            Ending::Dropped(stage) => Outcome::Cancelled(stage),
        };
        RequestRecord {
            opening: Arc::clone(opening),
            event_id: EventId::next(),
            duration,
            head_after: facts.head_after,
            status: facts.status,
            response_bytes,
            response_content_length: facts.response_content_length,
            outcome,
            fault: facts.fault,
            panic: facts.panic,
            panic_beside: facts.panic_beside,
            error_id: None,
            user: facts.user,
            attributes: facts.attributes,
            spans: facts.spans,
            dropped_spans: facts.dropped_spans,
            events: facts.events,
            dropped_events: facts.dropped_events,
            weight: AtomicUsize::new(0),
        }
    }
}
