//! OpenTelemetry's semantic conventions for HTTP servers, version 1.44: what a record is called and how it is
//! described, for every backend that speaks of spans.

use std::borrow::Cow;

use http::Version;
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, StringValue, Value};

use super::fault::Fault;
use super::panic::PanicReport;
use super::record::{Outcome, RequestFacts, RequestRecord, Stage, Verdict};

/// Which version of the conventions is followed.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

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
pub fn server_span_name(request: &RequestFacts) -> Cow<'static, str> {
    let method = if request.method_known { request.method.as_str() } else { "HTTP" };
    match &request.route {
        Some(route) => format!("{method} {route}").into(),
        None => method.to_owned().into(),
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

/// The server span's attributes: the conventions', then `enduser.id` and what the application added, then
/// `cruddur.outcome` where the response was not handed over whole.
#[must_use]
pub fn server_attributes(record: &RequestRecord) -> Vec<KeyValue> {
    let request = record.request();
    let mut attributes = Vec::with_capacity(20 + record.attributes.len());
    let mut push = |key: &'static str, value: Option<Value>| {
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    };
    let original = (!request.method_known).then(|| text(request.method.as_str()));
    push("http.request.method", Some(text(request.method_label())));
    push("http.request.method_original", original);
    push("http.route", request.route.as_deref().map(text));
    push("url.path", Some(text(&request.path)));
    push("url.query", request.query.as_deref().map(text));
    push("url.scheme", Some(Value::from(request.scheme.as_str())));
    push("server.address", request.server_address.as_deref().map(text));
    push("server.port", request.server_port.map(|port| i64::from(port).into()));
    push("client.address", request.client_address.map(|address| text(&address.to_string())));
    push("network.peer.address", request.peer.map(|peer| text(&peer.ip().to_canonical().to_string())));
    push("network.peer.port", request.peer.map(|peer| i64::from(peer.port()).into()));
    push("network.protocol.version", Some(Value::from(request.protocol_version)));
    push("user_agent.original", request.user_agent().map(text));
    push("http.request.body.size", request.content_length.map(int));
    push("http.response.status_code", record.status.map(|status| i64::from(status.as_u16()).into()));
    push("http.response.body.size", record.status.map(|_| int(record.response_bytes)));
    push("error.type", error_type(record).map(|class| Value::String(class.into_owned().into())));
    push(ERROR_ID, record.error_id.map(|id| text(&id.to_string())));
    push("enduser.id", record.user.as_deref().map(text));
    push("cruddur.outcome", outcome(record.outcome).map(Value::from));
    for own in &record.attributes {
        if !attributes.iter().any(|known| known.key == own.key) {
            attributes.push(own.clone());
        }
    }
    attributes
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

fn text(text: &str) -> Value {
    Value::String(StringValue::from(text.to_owned()))
}

fn int(count: u64) -> Value {
    Value::I64(i64::try_from(count).unwrap_or(i64::MAX))
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
