//! What came in, read as strictly as the specification allows.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Instant;

use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderName, StatusCode, Version, request};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Arrived, Received, Signal};

/// How a request travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Protobuf,
    Json,
    Grpc,
}

/// Why a request was not understood, and what a receiver would answer.
type Violation = (StatusCode, String);

fn violation<T>(status: StatusCode, text: impl Into<String>) -> Result<T, Violation> {
    Err((status, text.into()))
}

pub(super) fn read(head: &request::Parts, body: &[u8], at: Instant) -> Result<Arrived, Violation> {
    if head.method != "POST" {
        return violation(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not POST", head.method));
    }
    let header = |name: &HeaderName| {
        let mut values = head.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let first = values.next();
        if values.next().is_some() {
            return violation(StatusCode::BAD_REQUEST, format!("more than one {name}"));
        }
        Ok(first)
    };
    let (signal, grpc) = match head.uri.path() {
        "/v1/traces" => (Signal::Traces, false),
        "/v1/metrics" => (Signal::Metrics, false),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => (Signal::Traces, true),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => (Signal::Metrics, true),
        path => return violation(StatusCode::NOT_FOUND, format!("nothing takes OTLP at {path}")),
    };
    // Exactly, as Honeycomb has it: without a charset.
    let wire = match (header(&CONTENT_TYPE)?, grpc) {
        (Some("application/x-protobuf"), false) => Wire::Protobuf,
        (Some("application/json"), false) => Wire::Json,
        (Some("application/grpc"), true) => Wire::Grpc,
        (other, _) => return violation(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("it is {other:?}")),
    };
    let (gzip, message) = if wire == Wire::Grpc {
        if head.version != Version::HTTP_2 || header(&TE)? != Some("trailers") {
            return violation(StatusCode::BAD_REQUEST, "gRPC is HTTP/2 with `te: trailers`");
        }
        unframe(header(&HeaderName::from_static("grpc-encoding"))?, body)?
    } else {
        match header(&CONTENT_ENCODING)? {
            None => (false, body.to_vec()),
            Some("gzip") => (true, gunzip(body)?),
            Some(other) => {
                return violation(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("encoding {other}"));
            }
        }
    };
    let (spans, metrics) = match signal {
        Signal::Traces => (spans(decode(wire, &message)?), Vec::new()),
        Signal::Metrics => {
            let request: ExportMetricsServiceRequest = decode(wire, &message)?;
            let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
            (Vec::new(), scopes.flat_map(|scope| scope.metrics).collect())
        }
    };
    Ok(Arrived { signal, wire, gzip, headers: head.headers.clone(), at, message, spans, metrics })
}

/// One message, and nothing after it.
fn unframe(encoding: Option<&str>, body: &[u8]) -> Result<(bool, Vec<u8>), Violation> {
    let Some((head, message)) = body.split_first_chunk::<5>() else {
        return violation(StatusCode::BAD_REQUEST, "a frame has five bytes at least");
    };
    let [compressed, length @ ..] = *head;
    if u32::from_be_bytes(length) as usize != message.len() {
        return violation(StatusCode::BAD_REQUEST, "the frame has another length");
    }
    match (compressed, encoding) {
        (0, None | Some("identity")) => Ok((false, message.to_vec())),
        (1, Some("gzip")) => Ok((true, gunzip(message)?)),
        other => violation(StatusCode::BAD_REQUEST, format!("compression is {other:?}")),
    }
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut plain = Vec::new();
    match GzDecoder::new(body).read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(error) => violation(StatusCode::BAD_REQUEST, format!("no gzip: {error}")),
    }
}

fn decode<M: Message + Default + DeserializeOwned>(wire: Wire, message: &[u8]) -> Result<M, Violation> {
    if wire != Wire::Json {
        let decoded = M::decode(message);
        return decoded.or_else(|error| violation(StatusCode::BAD_REQUEST, error.to_string()));
    }
    let shaped: Result<Value, _> = serde_json::from_slice(message);
    let shaped = shaped.or_else(|error| violation(StatusCode::BAD_REQUEST, error.to_string()))?;
    check_shape(&shaped)?;
    serde_json::from_value(shaped).or_else(|error| violation(StatusCode::BAD_REQUEST, error.to_string()))
}

/// What OTLP's JSON asks beyond what the types are willing to take: lowerCamelCase, ids in hexadecimal, enumerations
/// as numbers, 64-bit times as strings.
fn check_shape(value: &Value) -> Result<(), Violation> {
    match value {
        Value::Array(all) => all.iter().try_for_each(check_shape),
        Value::Object(all) => all.iter().try_for_each(|(key, value)| {
            let fits = match key.as_str() {
                "traceId" => value.as_str().is_some_and(|id| is_hex(id, 32)),
                "spanId" => value.as_str().is_some_and(|id| is_hex(id, 16)),
                "parentSpanId" => value.as_str().is_some_and(|id| id.is_empty() || is_hex(id, 16)),
                "kind" | "code" | "aggregationTemporality" => value.is_u64(),
                key if key.ends_with("UnixNano") => {
                    value.as_str().is_some_and(|time| time.parse::<u64>().is_ok())
                }
                key => !key.contains('_'),
            };
            if !fits {
                return violation(StatusCode::BAD_REQUEST, format!("{key} is {value}"));
            }
            check_shape(value)
        }),
        _ => Ok(()),
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Received> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = Arc::new(resource_spans.resource.unwrap_or_default());
        for scope_spans in resource_spans.scope_spans {
            let scope = scope_spans.scope.unwrap_or_default();
            spans.extend(scope_spans.spans.into_iter().map(|span| Received {
                span,
                scope: scope.clone(),
                resource: Arc::clone(&resource),
                schema_url: resource_spans.schema_url.clone(),
            }));
        }
    }
    spans
}
