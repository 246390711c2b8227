//! OpenTelemetry's semantic conventions for HTTP servers, version 1.44: what a record is called and how it is
//! described, for every backend that speaks of spans.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::Version;
use opentelemetry::trace::Status;
use opentelemetry::{InstrumentationScope, Value};

use super::address::Address;
use super::fault::Fault;
use super::panic::PanicReport;
use super::record::{Outcome, RequestFacts, RequestRecord, Stage, Verdict};

/// Which version of the conventions is followed.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The instrumentation that a request's spans come from.
pub static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
});

/// `network.protocol.version`.
#[must_use]
pub fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// The class of a panic where others have the class of an error.
pub const PANIC: &str = "panic";

/// The attribute, annotation and field that names the report of a failure.
pub const ERROR_ID: &str = "error_id";

/// `GET /api/activities/{uuid}`, or the method alone where no route matched; never the path.
#[must_use]
pub fn server_span_name(request: &RequestFacts) -> String {
    server_span_name_parts(request).concat()
}

/// The same in parts, which need no memory of their own.
#[must_use]
pub fn server_span_name_parts(request: &RequestFacts) -> [&str; 3] {
    let method = if request.method_known { request.method.as_str() } else { "HTTP" };
    match &request.route {
        Some(route) => [method, " ", route],
        None => [method, "", ""],
    }
}

/// `Error` where the server is at fault, and unset otherwise: 4xx are the client's business, and a client that
/// leaves does no wrong. The description stays empty where the status or the `exception` event says it all.
#[must_use]
pub fn server_span_status(record: &RequestRecord) -> Status {
    match record.verdict() {
        Verdict::ServerFault => Status::error(""),
        Verdict::Fine | Verdict::ClientError | Verdict::Throttled | Verdict::Abandoned => Status::Unset,
    }
}

/// `error.type`: the class of the error or `panic`, else the status; `None` where the server is not at fault.
#[must_use]
pub fn error_type(record: &RequestRecord) -> Option<Cow<'static, str>> {
    if record.verdict() != Verdict::ServerFault {
        return None;
    }
    if record.panic.is_some() {
        return Some(PANIC.into());
    }
    let class = record.fault.as_ref().and_then(Fault::class);
    class.map(Cow::Borrowed).or_else(|| record.status.map(|status| status.as_u16().to_string().into()))
}

/// A value that describes a request, borrowed from its record where it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Described<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Int(i64),
    /// What the application set.
    Value(&'a Value),
}

impl<'a> From<&'a Value> for Described<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.as_str()),
            Value::I64(number) => Self::Int(*number),
            other => Self::Value(other),
        }
    }
}

/// What is handed attributes, be it a closure.
pub trait Attributes {
    /// Takes one. Worth inlining: nearly all keys are constants, and of a constant is known how long it is.
    fn take(&mut self, key: &str, value: Described<'_>);
}

impl<F: FnMut(&str, Described<'_>)> Attributes for F {
    fn take(&mut self, key: &str, value: Described<'_>) {
        self(key, value);
    }
}

/// Hands `each` the server span's attributes: the conventions', then `enduser.id`, then `cruddur.outcome` where the
/// response was not handed over whole, then what the application added. None comes twice: the observer knows better than
/// the application.
pub fn each_server_attribute(record: &RequestRecord, mut each: impl Attributes) {
    each_observed(record, &mut each);
    for own in &record.attributes {
        let mut is_known = false;
        each_observed(record, &mut |key: &str, _: Described<'_>| is_known |= key == own.key.as_str());
        if !is_known {
            each.take(own.key.as_str(), (&own.value).into());
        }
    }
}

fn each_observed(record: &RequestRecord, each: &mut impl Attributes) {
    let request = record.request();
    let original = (!request.method_known).then(|| request.method.as_str());
    let peer = request.peer.as_ref();
    text(each, "http.request.method", Some(request.method_label()));
    text(each, "http.request.method_original", original);
    text(each, "http.route", request.route.as_deref());
    text(each, "url.path", Some(&request.path));
    text(each, "url.query", request.query.as_deref());
    text(each, "url.scheme", Some(request.scheme.as_str()));
    text(each, "server.address", request.server_address.as_deref());
    count(each, "server.port", request.server_port.map(u64::from));
    text(each, "client.address", request.client_address.as_ref().map(Address::as_str));
    text(each, "network.peer.address", peer.map(|peer| peer.address().as_str()));
    count(each, "network.peer.port", peer.map(|peer| peer.port().into()));
    text(each, "network.protocol.version", Some(request.protocol_version));
    text(each, "user_agent.original", request.user_agent());
    count(each, "http.request.body.size", request.content_length);
    count(each, "http.response.status_code", record.status.map(|status| status.as_u16().into()));
    count(each, "http.response.body.size", record.status.map(|_| record.response_bytes));
    text(each, "error.type", error_type(record).as_deref());
    text(each, ERROR_ID, record.error_id.map(|id| id.to_string()).as_deref());
    text(each, "enduser.id", record.user.as_deref());
    text(each, "cruddur.outcome", outcome(record.outcome));
}

#[inline(always)]
fn text(each: &mut impl Attributes, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        each.take(key, Described::Text(text));
    }
}

#[inline(always)]
fn count(each: &mut impl Attributes, key: &str, count: Option<u64>) {
    if let Some(count) = count {
        each.take(key, Described::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    }
}

/// How an exchange ended, where it did not come to its end.
fn outcome(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Completed => None,
        Outcome::Cancelled(Stage::Head) => Some("cancelled before the response"),
        Outcome::Cancelled(Stage::Body) => Some("cancelled within the response"),
        Outcome::Failed | Outcome::Panicked => Some(outcome.as_str()),
    }
}

/// What the `exception` event of a failed request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// `exception.type`.
    pub class: Cow<'static, str>,
    /// `exception.message`.
    pub message: String,
    /// The beginning of `exception.stacktrace`: the chain of causes, or the panic. The frames are for those who
    /// resolve them.
    pub stacktrace: String,
}

/// The exception that made the request fail, where an error or a panic did.
#[must_use]
pub fn exception(record: &RequestRecord) -> Option<Exception> {
    let panic = record.panic.as_ref().map(|PanicReport { message, location, .. }| Exception {
        class: PANIC.into(),
        message: message.clone(),
        stacktrace: location.as_ref().map(|at| format!("panicked at {at}: {message}")).unwrap_or_default(),
    });
    panic.or_else(|| {
        let fault = record.fault.as_ref()?;
        let mut causes = fault.causes().iter();
        let first = causes.next()?;
        let mut stacktrace = format!("{}: {}", first.class, first.message);
        for cause in causes {
            stacktrace.push_str(&format!("\ncaused by {}: {}", cause.class, cause.message));
        }
        Some(Exception { class: first.class.into(), message: first.message.clone(), stacktrace })
    })
}
