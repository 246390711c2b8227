//! What is known of a request once it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, header};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;

use super::address::{Address, Peer};
use super::fault::Fault;
use super::heads::KeptHeaders;
use super::identity::Identity;
use super::log::{EventId, LogEvent};
use super::panic::PanicReport;

/// One request, from its first byte to the end of its answer: immutable, and the same for every backend.
#[derive(Debug)]
pub struct RequestRecord {
    pub(super) opening: Arc<Opening>,
    /// Names its access line.
    pub event_id: EventId,
    /// From the request's head to the end of the response's body (or to where it was cut off).
    pub duration: Duration,
    /// From the request's head to the response's; `None` where there was no response.
    pub head_after: Option<Duration>,
    /// The response's status; `None` where there was no response.
    pub status: Option<StatusCode>,
    /// Bytes of the response's body handed to the connection, before any transfer encoding.
    pub response_bytes: u64,
    /// The response's `content-length`.
    pub response_content_length: Option<u64>,
    /// How the exchange ended.
    pub outcome: Outcome,
    /// Why it failed: the handler's error, or the body's.
    pub fault: Option<Fault>,
    /// The panic that ended it.
    pub panic: Option<PanicReport>,
    /// A panic in what goes on beside the handler; the answer may be fine all the same.
    pub panic_beside: Option<PanicReport>,
    /// The id of the report about it, where it is one that is reported and somebody reports.
    pub error_id: Option<Uuid>,
    /// For whom the request was made (`enduser.id`).
    pub user: Option<String>,
    /// What the application added to the server span.
    pub attributes: Vec<KeyValue>,
    /// The spans that ended within the exchange, in the order of their ends.
    pub spans: Vec<Box<SpanData>>,
    /// How many spans found no room in the record.
    pub dropped_spans: u32,
    /// The log events within the exchange, oldest first.
    pub events: Vec<Arc<LogEvent>>,
    /// How many log events found no room in the record.
    pub dropped_events: u32,
    /// See [`RequestRecord::weight`]: several backends ask, on the request's way. 0 until one has.
    pub(super) weight: AtomicUsize,
}

/// What is known of a request as soon as it has come in.
#[derive(Debug)]
pub struct Opening {
    /// Its ids.
    pub identity: Identity,
    /// What was asked, by whom.
    pub request: RequestFacts,
    /// When its head had been read.
    pub started: SystemTime,
}

/// A request's head, reduced to what may be known of it: secrets in the query are redacted and headers taken by
/// an allow-list before this exists, so that no backend can leak them.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// The method, as sent.
    pub method: Method,
    /// Whether the method is one of those that metrics and span names may carry.
    pub method_known: bool,
    /// The route's template (`/api/activities/{uuid}`), never the path; `None` where no route matched.
    pub route: Option<String>,
    /// `http` or `https`, as the client sees it.
    pub scheme: Scheme,
    /// The path, as sent (percent-encoded).
    pub path: String,
    /// The query without its `?`, redacted.
    pub query: Option<String>,
    /// The host the client asked for.
    pub server_address: Option<String>,
    /// The port the client asked for.
    pub server_port: Option<u16>,
    /// `1.0`, `1.1`, `2` or `3`.
    pub protocol_version: &'static str,
    /// Who asked: the rightmost address that is not a trusted proxy.
    pub client_address: Option<Address>,
    /// Whether the client's address was told by a proxy.
    pub client_forwarded: bool,
    /// The other end of the connection.
    pub peer: Option<Peer>,
    /// The request's `content-length`.
    pub content_length: Option<u64>,
    /// The headers of the allow-list.
    pub headers: KeptHeaders,
}

impl RequestFacts {
    /// `user-agent`.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.headers.get(&header::USER_AGENT)
    }

    /// The method for span names, metrics and `http.request.method`: `_OTHER` where it is not a known one.
    #[must_use]
    pub fn method_label(&self) -> &str {
        if self.method_known { self.method.as_str() } else { "_OTHER" }
    }
}

/// The scheme that the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response was handed over whole, whatever its status.
    Completed,
    /// The handler returned an error (answered 5xx), it ran out of time, or the body's stream failed.
    Failed,
    /// The client left, or the server was shut down, before the end.
    Cancelled(Stage),
    /// The handler or the body's stream panicked.
    Panicked,
}

/// Where an exchange was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the response's head.
    Head,
    /// Within the response's body.
    Body,
}

impl Outcome {
    /// `completed`, `failed`, `cancelled` or `panicked`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Panicked => "panicked",
        }
    }
}

/// What to think of an exchange: the one mapping that all backends use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Served.
    Fine,
    /// The client's mistake: 4xx.
    ClientError,
    /// The client asked too often: 429.
    Throttled,
    /// Ours: 5xx, an error, a panic or a body cut short by us.
    ServerFault,
    /// The client left before it could be known.
    Abandoned,
}

impl Verdict {
    fn of(outcome: Outcome, status: Option<StatusCode>) -> Self {
        match (outcome, status.map_or(0, |status| status.as_u16())) {
            (Outcome::Failed | Outcome::Panicked, _) | (_, 500..) => Self::ServerFault,
            (_, 429) => Self::Throttled,
            (_, 400..=499) => Self::ClientError,
            (Outcome::Cancelled(_), _) => Self::Abandoned,
            (Outcome::Completed, _) => Self::Fine,
        }
    }
}

impl RequestRecord {
    /// The request's ids.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.opening.identity
    }

    /// What was asked, by whom.
    #[must_use]
    pub fn request(&self) -> &RequestFacts {
        &self.opening.request
    }

    /// When the request's head had been read.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.opening.started
    }

    /// When the exchange was over: by the same clock as everything else in the record.
    #[must_use]
    pub fn ended(&self) -> SystemTime {
        self.opening.started + self.duration
    }

    /// What the record takes in memory, in bytes and by estimate: what a client can make long is counted, and the
    /// rest has a fixed share.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self.weight.load(Ordering::Relaxed) {
            0 => {
                let weight = self.weigh();
                self.weight.store(weight, Ordering::Relaxed);
                weight
            }
            known => known,
        }
    }

    fn weigh(&self) -> usize {
        let request = self.request();
        let headers = 64 + request.headers.length();
        let query = request.query.as_ref().map_or(0, String::len);
        let events =
            self.events.iter().map(|event| 256 + event.message.len() + attributes_weight(&event.fields));
        let spans = self.spans.iter().map(|span| span_weight(span));
        let causes = self.fault.iter().flat_map(Fault::causes).map(|cause| 64 + cause.message.len());
        let own = 1024 + request.path.len() + query + headers + attributes_weight(&self.attributes);
        own + events.sum::<usize>() + spans.sum::<usize>() + causes.sum::<usize>()
    }

    /// Whether it takes so little to draw that it can be done where the request ends: there is no stack to look up, and
    /// nobody has made it long.
    #[must_use]
    pub fn is_light(&self) -> bool {
        const MOST: usize = 16 * 1024;
        self.fault.is_none() && self.panic.is_none() && self.weight() <= MOST
    }

    /// Whether it is one that is reported: the server was at fault, something beside it panicked, or a log event
    /// asks for it.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        let asked = || self.events.iter().any(|event| event.report);
        self.verdict() == Verdict::ServerFault || self.panic_beside.is_some() || asked()
    }

    /// What to think of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.outcome, self.status)
    }
}

/// What a span takes in memory, in bytes and by estimate.
#[must_use]
pub fn span_weight(span: &SpanData) -> usize {
    let events =
        span.events.iter().map(|event| 128 + event.name.len() + attributes_weight(&event.attributes));
    512 + span.name.len() + attributes_weight(&span.attributes) + events.sum::<usize>()
}

/// What attributes take in memory, in bytes and by estimate.
#[must_use]
pub fn attributes_weight(attributes: &[KeyValue]) -> usize {
    let length = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(|text| text.as_str().len() + 24).sum(),
        Value::Array(Array::I64(numbers)) => 8 * numbers.len(),
        Value::Array(Array::F64(numbers)) => 8 * numbers.len(),
        Value::Array(Array::Bool(truths)) => truths.len(),
        _ => 0,
    };
    attributes.iter().map(|attribute| 72 + attribute.key.as_str().len() + length(&attribute.value)).sum()
}

#[cfg(test)]
impl RequestFacts {
    /// A plain `GET`, for the unit tests of what is made of requests.
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            method_known: true,
            route: Some(path.to_owned()),
            scheme: Scheme::Http,
            path: path.to_owned(),
            query: None,
            server_address: None,
            server_port: None,
            protocol_version: "1.1",
            client_address: None,
            client_forwarded: false,
            peer: None,
            content_length: None,
            headers: KeptHeaders::default(),
        }
    }
}

#[cfg(test)]
impl RequestRecord {
    /// The same as [`RequestRecord::served`], with an error's chain to write out.
    pub(crate) fn failed(request: RequestFacts, started: SystemTime) -> Self {
        Self { fault: Some(Fault::capture(&std::fmt::Error)), ..Self::served(request, started) }
    }

    /// A request that was served, the same one always, for the unit tests of what is drawn from records.
    pub(crate) fn served(request: RequestFacts, started: SystemTime) -> Self {
        let identity = Identity {
            trace_id: 0x6b00_df63_c7e3_4edc_0ab2_0790_4997_1888_u128.into(),
            span_id: 0xabcd.into(),
            parent: None,
            parent_sampled: None,
            sampled: true,
            trace_state: opentelemetry::trace::TraceState::NONE,
            amzn: None,
        };
        let opening = Opening { identity, request, started };
        Self {
            opening: Arc::new(opening),
            event_id: EventId::next(),
            duration: Duration::from_millis(5),
            head_after: Some(Duration::from_millis(4)),
            status: Some(StatusCode::OK),
            response_bytes: 2,
            response_content_length: Some(2),
            outcome: Outcome::Completed,
            fault: None,
            panic: None,
            panic_beside: None,
            error_id: None,
            user: None,
            attributes: Vec::new(),
            spans: Vec::new(),
            dropped_spans: 0,
            events: Vec::new(),
            dropped_events: 0,
            weight: AtomicUsize::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_verdict_for_every_outcome_and_status() {
        use Outcome::{Cancelled, Completed, Failed, Panicked};
        use Verdict::{Abandoned, ClientError, Fine, ServerFault, Throttled};
        for (outcome, status, verdict) in [
            (Completed, Some(200), Fine),
            (Completed, Some(101), Fine),
            (Completed, Some(304), Fine),
            (Completed, Some(404), ClientError),
            (Completed, Some(429), Throttled),
            (Completed, Some(500), ServerFault),
            (Completed, Some(503), ServerFault),
            (Failed, Some(200), ServerFault),
            (Failed, None, ServerFault),
            (Panicked, Some(200), ServerFault),
            (Cancelled(Stage::Head), None, Abandoned),
            (Cancelled(Stage::Body), Some(200), Abandoned),
            (Cancelled(Stage::Body), Some(404), ClientError),
            (Cancelled(Stage::Body), Some(500), ServerFault),
        ] {
            let status = status.map(|code| StatusCode::from_u16(code).unwrap());
            assert_eq!(Verdict::of(outcome, status), verdict, "{outcome:?} {status:?}");
        }
    }
}
