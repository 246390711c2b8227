//! The wire: one attempt to export one request, by HTTP or gRPC.

mod answer;
mod grpc;
mod http;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Destination, Protocol};
use crate::telemetry::delivery::{BoxError, SendError, Sent, chain};

/// An OTLP export request, and what the protocol says of its signal.
pub(super) trait Export: prost::Message + Serialize + Default + Sized {
    /// What the receiver answers.
    type Response: prost::Message + DeserializeOwned + Default + 'static;
    /// The gRPC method.
    const METHOD: &'static str;

    /// How many items the receiver did not take although it took the request, and why.
    fn rejected(response: Self::Response) -> Option<(i64, String)>;
}

impl Export for ExportTraceServiceRequest {
    type Response = ExportTraceServiceResponse;

    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn rejected(response: Self::Response) -> Option<(i64, String)> {
        response.partial_success.map(|partial| (partial.rejected_spans, partial.error_message))
    }
}

impl Export for ExportMetricsServiceRequest {
    type Response = ExportMetricsServiceResponse;

    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

    fn rejected(response: Self::Response) -> Option<(i64, String)> {
        response.partial_success.map(|partial| (partial.rejected_data_points, partial.error_message))
    }
}

/// A way to one destination.
#[derive(Debug)]
pub(super) enum Wire {
    Http(http::Http),
    Grpc(grpc::Grpc),
}

/// The destination cannot be spoken to: a certificate, a key or an address is unusable.
#[derive(Debug, thiserror::Error)]
#[error(
    "OTEL_EXPORTER_OTLP_*: no connection to {url} can be set up: {}; check the files that _CERTIFICATE, \
     _CLIENT_CERTIFICATE and _CLIENT_KEY name",
    chain(cause.as_ref())
)]
pub struct SetupError {
    url: String,
    cause: BoxError,
}

impl Wire {
    pub(super) fn new(destination: &Destination) -> Result<Self, SetupError> {
        let wire = match destination.protocol {
            Protocol::Grpc => grpc::Grpc::new(destination).map(Self::Grpc),
            Protocol::HttpProtobuf | Protocol::HttpJson => http::Http::new(destination).map(Self::Http),
        };
        wire.map_err(|cause| SetupError { url: destination.url.to_string(), cause })
    }

    /// `request` is an encoded `E`.
    pub(super) async fn export<E: Export>(&self, request: Vec<u8>) -> Result<Sent, SendError> {
        let response = match self {
            Self::Http(http) => http.export::<E>(request).await?,
            Self::Grpc(grpc) => grpc.export::<E>(request).await?,
        };
        let (items, said) = E::rejected(response).unwrap_or_default();
        let rejected =
            u64::try_from(items).ok().filter(|items| *items > 0).map(|items| ("partial_success", items));
        Ok(Sent { rejected: rejected.into_iter().collect(), said })
    }
}

/// There was no answer: what happened on the way, and what to do about it where that is known.
fn unanswered(what: String) -> SendError {
    const DISTRUST: &str = "invalid peer certificate";
    let hint = "; OTEL_EXPORTER_OTLP_CERTIFICATE names the certificates to trust instead of the system's";
    let hint = if what.contains(DISTRUST) { hint } else { "" };
    SendError::Retry { after: None, cause: (what + hint).into() }
}
