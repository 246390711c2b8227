//! OTLP that others have made, delivered with our own care.
//!
//! A request is read to see that it is one, and then kept as bytes: decoded it may be a hundred times as large, and
//! it is not ours to judge how much of it is worth that.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use prost::bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::exporter::Wire;
use crate::telemetry::delivery::{BoxError, Measure, Queue, SendError, Sent, Sink};

/// The most spans in one request; an exporter's batch has 512.
const MOST_SPANS: usize = 4096;

/// Takes export requests that others have made. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Relay(pub(super) Queue<Relayed>);

/// In which of OTLP's two forms over HTTP a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why a request is not forwarded.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It is not an `ExportTraceServiceRequest`.
    #[error("the body is not an OTLP trace request: {0}")]
    Malformed(BoxError),
    /// It has more spans than are taken at once.
    #[error("the request has {0} spans; {MOST_SPANS} are taken at once")]
    TooMany(usize),
    /// There is no room for it now.
    #[error("too much is waiting to be delivered")]
    Full,
}

impl Relay {
    /// Leaves a request to be forwarded; never blocks. One without spans is done with.
    ///
    /// # Errors
    /// It is none, too large, or there is no room now.
    pub fn push(&self, encoding: Encoding, body: &[u8]) -> Result<(), RelayError> {
        // Counted first, at no cost in memory: a span of two bytes would take three hundred.
        let spans = match encoding {
            Encoding::Protobuf => {
                protobuf_spans(body).map_err(|error| RelayError::Malformed(error.into()))?
            }
            Encoding::Json => json_spans(body).map_err(|error| RelayError::Malformed(error.into()))?,
        };
        if spans > MOST_SPANS {
            return Err(RelayError::TooMany(spans));
        }
        let request = match encoding {
            Encoding::Protobuf => ExportTraceServiceRequest::decode(body).map_err(BoxError::from),
            Encoding::Json => serde_json::from_slice(body).map_err(BoxError::from),
        };
        let request: ExportTraceServiceRequest = request.map_err(RelayError::Malformed)?;
        let relayed = Relayed { request: request.encode_to_vec(), spans: spans as u64 };
        if spans == 0 || self.0.push(relayed) { Ok(()) } else { Err(RelayError::Full) }
    }
}

/// A request to be forwarded, in protobuf.
#[derive(Debug)]
pub(super) struct Relayed {
    request: Vec<u8>,
    spans: u64,
}

/// An export request, as far as spans have to be counted: what is inside stays bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Requests {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resources>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resources {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scopes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scopes {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    spans: Vec<Bytes>,
}

fn protobuf_spans(body: &[u8]) -> Result<usize, prost::DecodeError> {
    let requests = Requests::decode(Bytes::copy_from_slice(body))?;
    Ok(requests.resources.iter().flat_map(|resource| &resource.scopes).map(|scope| scope.spans.len()).sum())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRequest {
    #[serde(default)]
    resource_spans: Vec<JsonResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResource {
    #[serde(default)]
    scope_spans: Vec<JsonScope>,
}

#[derive(Deserialize)]
struct JsonScope {
    #[serde(default)]
    spans: Vec<IgnoredAny>,
}

fn json_spans(body: &[u8]) -> Result<usize, serde_json::Error> {
    let request: JsonRequest = serde_json::from_slice(body)?;
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    Ok(scopes.map(|scope| scope.spans.len()).sum())
}

/// Sends several requests as one.
pub(super) struct Forward {
    pub(super) wire: Wire,
}

impl Sink for Forward {
    type Item = Relayed;

    fn measure(relayed: &Relayed) -> Measure {
        Measure { weight: 64 + relayed.request.len(), items: relayed.spans }
    }

    fn encode(&self, relayed: &Relayed, into: &mut Vec<u8>) {
        into.extend_from_slice(&relayed.request);
    }

    fn decode(&self, bytes: &[u8]) -> Option<Relayed> {
        Some(Relayed { request: bytes.to_vec(), spans: protobuf_spans(bytes).ok()? as u64 })
    }

    async fn send(&self, batch: &[Relayed]) -> Result<Sent, SendError> {
        // Requests one behind the other are one request with all their parts: that is how protobuf merges.
        let joined: Vec<u8> = batch.iter().flat_map(|relayed| &relayed.request).copied().collect();
        self.wire.export::<ExportTraceServiceRequest>(joined).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_counted_without_being_decoded() {
        // {resource_spans: {scope_spans: {spans: {}, spans: {}}}}
        assert_eq!(protobuf_spans(&[0x0a, 0x06, 0x12, 0x04, 0x12, 0x00, 0x12, 0x00]).unwrap(), 2);
        assert_eq!(protobuf_spans(&[]).unwrap(), 0);
        assert!(protobuf_spans(b"junk").is_err());
        assert_eq!(json_spans(br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},{}]}]},{}]}"#).unwrap(), 2);
        assert_eq!(json_spans(b"{}").unwrap(), 0);
        assert!(json_spans(b"7").is_err());
    }
}
