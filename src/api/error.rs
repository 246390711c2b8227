//! What goes wrong, as the client sees it.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::json::{APPLICATION_JSON, Json};
use crate::activities::{Invalid, Refused};
use crate::telemetry::observe::{Exchange, Fault};

/// What a handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request is not answered with 200.
///
/// Any `std::error::Error` becomes one by `?`, and that is where it is captured: the type is still known there, and
/// the stack is still the handler's. The client learns of it no more than that it happened; the [`Fault`] travels to
/// the observer in the response's extensions.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Invalid(Invalid),
    Refused(Problem, Cow<'static, str>),
    Failed(Fault),
}

/// The kinds of failure a client can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    HeadersTooLarge,
    Internal,
    Timeout,
    Unavailable,
}

impl Problem {
    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Internal => "internal_error",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
        }
    }

    /// The whole answer. To be called where the exchange is current: while a future is polled.
    pub(super) fn answer(self, message: &str) -> Response {
        let exchange = Exchange::current();
        let trace_id = exchange.as_ref().map(|exchange| exchange.trace_id().to_string());
        // Only our own failures are reported.
        let failed = exchange.filter(|_| self.status().is_server_error());
        let error_id = failed.and_then(|exchange| exchange.error_id()).map(|id| id.to_string());
        let body = body(self.code(), message, trace_id.as_deref(), error_id.as_deref());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(APPLICATION_JSON));
        response
    }
}

impl Error {
    /// 400: the request makes no sense, in a way that `message` tells the client.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(Problem::BadRequest, message)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(Problem::NotFound, message)
    }

    /// 413: the body is too long.
    #[must_use]
    pub fn payload_too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(Problem::PayloadTooLarge, message)
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(Problem::Unavailable, message)
    }

    /// 415: the body is in a form that is not taken here.
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(Problem::UnsupportedMediaType, message)
    }

    pub(super) fn refused(problem: Problem, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Refused(problem, message.into()))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Kind::Failed(Fault::capture(&error)))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => Self(Kind::Invalid(invalid)),
            Refused::Store(error) => Self::from(error),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self.0 {
            // The frontend's contract: a bare array.
            Kind::Invalid(invalid) => {
                (StatusCode::UNPROCESSABLE_ENTITY, Json([invalid.code()])).into_response()
            }
            Kind::Refused(problem, message) => problem.answer(&message),
            Kind::Failed(fault) => {
                let mut response = panicked();
                response.extensions_mut().insert(fault);
                response
            }
        }
    }
}

/// 404 for a path that no route has.
pub async fn not_found() -> Response {
    Problem::NotFound.answer("There is nothing at this path.")
}

/// 405 for a route that has other methods. The router adds `Allow`.
pub async fn method_not_allowed() -> Response {
    Problem::MethodNotAllowed.answer("This path does not take this method; Allow lists those it takes.")
}

/// 500 without a [`Fault`]: whoever catches the panic knows where it was.
#[must_use]
pub fn panicked() -> Response {
    Problem::Internal.answer("Something went wrong on our side.")
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<&'a str>,
}

fn body(error: &str, message: &str, trace_id: Option<&str>, error_id: Option<&str>) -> Vec<u8> {
    // Strings always serialise; and were they not to, the status still tells.
    serde_json::to_vec(&ErrorBody { error, message, trace_id, error_id }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_ids_that_there_are() {
        let trace_id = "5759e988bd862e3fe1be46a994272793";
        let with = body("not_found", "No.", Some(trace_id), None);
        let text = r#"{"error":"not_found","message":"No.","trace_id":"5759e988bd862e3fe1be46a994272793"}"#;
        assert_eq!(String::from_utf8(with).unwrap(), text);
        let reported = body("not_found", "No.", Some(trace_id), Some("7"));
        assert_eq!(String::from_utf8(reported).unwrap(), text.replace('}', r#","error_id":"7"}"#));
        let without = body("not_found", "No.", None, None);
        assert_eq!(String::from_utf8(without).unwrap(), r#"{"error":"not_found","message":"No."}"#);
    }

    #[test]
    fn a_failure_carries_its_fault_and_tells_the_client_nothing() {
        fn fails() -> Result<()> {
            "secret".parse::<u32>()?;
            Ok(())
        }
        let response = fails().unwrap_err().into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let fault = response.extensions().get::<Fault>().unwrap();
        assert_eq!(fault.causes()[0].class, "core::num::error::ParseIntError");
    }

    #[test]
    fn a_refusal_has_no_fault() {
        for error in [Error::bad_request("no"), Refused::Invalid(Invalid::TtlBlank).into()] {
            assert!(error.into_response().extensions().get::<Fault>().is_none());
        }
    }
}
