//! What the receiver answers.

use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;

use super::{Arrived, Signal, Wire};

/// One answer. The default takes the request, at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(super) act: Act,
    pub(super) delay: Duration,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Act {
    #[default]
    Take,
    /// Takes the request but for so many items.
    TakePartly(i64),
    Refuse {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    RefuseGrpc {
        code: u8,
        message: &'static str,
    },
    /// Refuses with this status what is like that, and takes the rest.
    RefuseIf(fn(&Arrived) -> bool, u16),
    Close,
    Hang,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::from(Act::Refuse { status, headers: Vec::new(), body: String::new() })
    }

    pub(crate) fn grpc(code: u8, message: &'static str) -> Self {
        Self::from(Act::RefuseGrpc { code, message })
    }

    pub(crate) fn partly(rejected: i64) -> Self {
        Self::from(Act::TakePartly(rejected))
    }

    pub(crate) fn status_if(status: u16, like_that: fn(&Arrived) -> bool) -> Self {
        Self::from(Act::RefuseIf(like_that, status))
    }

    /// Closes the connection instead.
    pub(crate) fn close() -> Self {
        Self::from(Act::Close)
    }

    /// Nothing until all are released, and then the request is taken.
    pub(crate) fn hang() -> Self {
        Self::from(Act::Hang)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Act::Refuse { headers, .. } = &mut self.act {
            headers.push((name, value.into()));
        }
        self
    }

    pub(crate) fn body(mut self, text: impl Into<String>) -> Self {
        if let Act::Refuse { body, .. } = &mut self.act {
            *body = text.into();
        }
        self
    }

    /// How long it takes to answer.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl From<Act> for Answer {
    fn from(act: Act) -> Self {
        Self { act, delay: Duration::ZERO }
    }
}

impl Act {
    /// What is done about this very request.
    pub(super) fn to(self, arrived: &Arrived) -> Self {
        match self {
            Self::RefuseIf(like_that, status) if like_that(arrived) => Answer::status(status).act,
            Self::RefuseIf(..) => Self::Take,
            act => act,
        }
    }

    pub(super) fn takes(&self) -> bool {
        matches!(self, Self::Take | Self::TakePartly(_) | Self::Hang)
    }

    /// `None` closes the connection.
    pub(super) fn response(&self, wire: Wire, signal: Signal) -> Option<Response<Body>> {
        Some(match self {
            Self::Take | Self::RefuseIf(..) | Self::Hang => taken(wire, signal, 0),
            Self::TakePartly(rejected) => taken(wire, signal, *rejected),
            Self::Refuse { status, headers, body } => {
                let mut response = refusal(StatusCode::from_u16(*status).unwrap(), body.clone());
                for (name, value) in headers {
                    response.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
                }
                response
            }
            Self::RefuseGrpc { code, message } => {
                let response = Response::builder().header(CONTENT_TYPE, "application/grpc");
                let response = response.header("grpc-status", code.to_string());
                response.header("grpc-message", *message).body(Body::empty()).unwrap()
            }
            Self::Close => return None,
        })
    }
}

pub(super) fn refusal(status: StatusCode, text: String) -> Response<Body> {
    Response::builder().status(status).header(CONTENT_TYPE, "text/plain").body(text.into()).unwrap()
}

/// Success, in the encoding of the request, as the specification asks.
fn taken(wire: Wire, signal: Signal, rejected: i64) -> Response<Body> {
    let error_message = if rejected > 0 { "some were not to our taste" } else { "" }.to_owned();
    let message = match (signal, rejected) {
        (_, 0) => Vec::new(),
        (Signal::Traces, rejected_spans) => {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.clone() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
        (Signal::Metrics, rejected_data_points) => {
            let error_message = error_message.clone();
            let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
            ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        }
    };
    match wire {
        Wire::Protobuf => {
            Response::builder().header(CONTENT_TYPE, "application/x-protobuf").body(message.into()).unwrap()
        }
        Wire::Json => {
            // 64-bit numbers are strings in protobuf's JSON.
            let key = if signal == Signal::Traces { "rejectedSpans" } else { "rejectedDataPoints" };
            let text = match rejected {
                0 => json!({}),
                _ => json!({"partialSuccess": {key: rejected.to_string(), "errorMessage": error_message}}),
            };
            let response = Response::builder().header(CONTENT_TYPE, "application/json");
            response.body(text.to_string().into()).unwrap()
        }
        Wire::Grpc => {
            let length = u32::try_from(message.len()).unwrap();
            let frame = [&[0][..], &length.to_be_bytes(), &message].concat();
            let trailers: HeaderMap =
                [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]
                    .into_iter()
                    .collect();
            let body = Full::from(frame).with_trailers(std::future::ready(Some(Ok(trailers))));
            let body = Body::new(body);
            Response::builder().header(CONTENT_TYPE, "application/grpc").body(body).unwrap()
        }
    }
}
