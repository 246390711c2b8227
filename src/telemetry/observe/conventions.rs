//! OpenTelemetry's semantic conventions for HTTP servers, version 1.44: what a record is called and how it is
//! described, for every backend that speaks of spans.

use std::borrow::Cow;
use std::net::IpAddr;

use http::Version;
use opentelemetry::Value;
use opentelemetry::trace::Status;

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
        Some(route) => [method, " ", route].concat().into(),
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

/// A value that describes a request, borrowed from its record where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Described<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A number.
    Int(i64),
    /// What the application set.
    Value(&'a Value),
}

impl<'a> From<&'a str> for Described<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u16> for Described<'_> {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<u64> for Described<'_> {
    fn from(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a Value> for Described<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::String(text) => text.as_str().into(),
            Value::I64(number) => Self::Int(*number),
            other => Self::Value(other),
        }
    }
}

/// The server span's attributes: the conventions', then `enduser.id` and what the application added, then
/// `cruddur.outcome` where the response was not handed over whole.
#[must_use]
pub fn server_attributes<'a>(record: &'a RequestRecord) -> Vec<(&'a str, Described<'a>)> {
    let request = record.request();
    let mut attributes = Vec::with_capacity(20 + record.attributes.len());
    let mut push = |key: &'static str, value: Option<Described<'a>>| {
        attributes.extend(value.map(|value| (key, value)));
    };
    let original = (!request.method_known).then(|| request.method.as_str().into());
    push("http.request.method", Some(request.method_label().into()));
    push("http.request.method_original", original);
    push("http.route", request.route.as_deref().map(Described::from));
    push("url.path", Some(request.path.as_str().into()));
    push("url.query", request.query.as_deref().map(Described::from));
    push("url.scheme", Some(request.scheme.as_str().into()));
    push("server.address", request.server_address.as_deref().map(Described::from));
    push("server.port", request.server_port.map(Described::from));
    push("client.address", request.client_address.map(|ip| Described::Text(address(ip).into())));
    let peer = request.peer.map(|peer| address(peer.ip().to_canonical()));
    push("network.peer.address", peer.map(|peer| Described::Text(peer.into())));
    push("network.peer.port", request.peer.map(|peer| peer.port().into()));
    push("network.protocol.version", Some(request.protocol_version.into()));
    push("user_agent.original", request.user_agent().map(Described::from));
    push("http.request.body.size", request.content_length.map(Described::from));
    push("http.response.status_code", record.status.map(|status| status.as_u16().into()));
    push("http.response.body.size", record.status.map(|_| record.response_bytes.into()));
    push("error.type", error_type(record).map(Described::Text));
    push(ERROR_ID, record.error_id.map(|id| Described::Text(id.to_string().into())));
    push("enduser.id", record.user.as_deref().map(Described::from));
    push("cruddur.outcome", outcome(record.outcome).map(Described::from));
    for own in &record.attributes {
        if !attributes.iter().any(|(known, _)| *known == own.key.as_str()) {
            attributes.push((own.key.as_str(), (&own.value).into()));
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

/// An address as text. `Display` goes to more trouble over each of IPv4's, in case that it has to be padded, than all
/// other attributes take together.
#[must_use]
pub fn address(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else { return ip.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, octet) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for unit in [100, 10, 1].into_iter().filter(|unit| octet >= *unit || *unit == 1) {
            text.push(char::from(b'0' + octet / unit % 10));
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_what_display_says(ip in any::<IpAddr>()) {
            prop_assert_eq!(address(ip), ip.to_string());
        }
    }
}
