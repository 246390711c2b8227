//! OTLP: each request as spans at Honeycomb or a collector, and metrics beside them.
//!
//! [`SpanLayer`] enlists a view, which leaves the finished record in a queue; `document` makes spans of it, by
//! OpenTelemetry's own protocol types; `exporter` is the wire, one attempt at a time. When to send and to try again
//! is the delivery's business, for spans, metrics and what browsers relay alike.

mod document;
mod exporter;
mod layer;
mod metrics;
mod relay;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use prost::Message as _;
use tokio::time::Instant;

pub use self::exporter::SetupError;
pub use self::layer::{SpanLayer, SpanService};
pub(super) use self::metrics::Ledgers;

use self::document::Item;
use self::exporter::Wire;
use super::Health;
use super::delivery::{
    Backoff, Delivery, Limits, Measure, Notice, Policy, Runtime, SendError, Sent, Sink, Status, Tally,
};
use crate::config::{self, Batch, Destination, SpanLimits};

/// How much may wait for a receiver that is slow or gone, by estimate: at 1.5 kB a request with one span inside,
/// 20,000 requests.
const CAPACITY: usize = 32 << 20;
/// One request's limits. Receivers take 20 MiB (the collector) and more.
const BATCH: Limits = Limits { items: 2048, weight: 2 << 20, linger: Duration::from_secs(1) };
/// Several requests on their way at once: one alone delivers a batch a round trip, which a distant receiver makes
/// too slow. 8 batches of 2,048 spans at 50 ms are 320,000 spans a second.
const IN_FLIGHT: usize = 8;
/// OTLP asks for exponential backoff with jitter, and names no figures.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };
