//! OTLP: each request as spans at Honeycomb or a collector, and metrics beside them.
//!
//! [`SpanLayer`] enlists a view, which leaves the finished record, or the spans that `document` makes of it, in a queue;
//! `exporter` is the wire, one attempt at a time. When to send and to try again is the delivery's business, for spans,
//! metrics and what browsers relay alike.
//!
//! `opentelemetry-otlp` is not used: its batch processor loses spans, its certificates are not configurable, and
//! with two senders there would be two authorities on retries.

mod document;
mod exporter;
mod layer;
mod metrics;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};

use self::document::Item;
pub use self::exporter::SetupError;
use self::exporter::Wire;
use self::layer::SpanView;
pub use self::layer::{SpanLayer, Spans};
pub use self::relay::{Encoding, Relay, RelayError};
use self::relay::{Forward, Relayed};
use super::delivery::{
    Backoff, Delivery, Gathered, Keep, Kept, Limits, Measure, Policy, Rank, SendError, Sent, Sink,
    SpoolError, Surroundings,
};
use super::observe::{EnlistLayer, Outside, span_weight};
use crate::config::{self, Batch, Destination, SpanLimits};

/// How much may wait for a receiver that is slow or gone, in bytes and by estimate: at 2.5 kB a request with one
/// span inside, 13,000 requests.
const CAPACITY: usize = 32 << 20;
/// How much larger than on disk spans are in memory, roughly: what is read back goes out by the megabyte.
const STORED: usize = 4;
/// How long undelivered spans are worth sending: who has not looked for two weeks does not look any more.
const KEEP: Keep = Keep { max_age: Duration::from_secs(14 * 24 * 3600), through: false };
/// One request's limits. On the wire it is less than half of this estimate; collectors take 4 MiB by gRPC and 20 MiB
/// by HTTP. More spans at once save little, and keep a single core from requests for longer. What lingers longer is
/// written to disk before it is sent.
const BATCH: Limits = Limits { items: 1024, weight: 4 << 20, linger: Duration::from_millis(50) };
/// Several requests on their way at once: one alone delivers a batch a round trip, which a distant receiver makes
/// too slow. 8 batches of 1,024 spans at 50 ms are 160,000 spans a second.
const IN_FLIGHT: usize = 8;
/// OTLP asks for exponential backoff with jitter, and names no figures.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// Where browsers send their OTLP: what an exporter appends to the endpoint it is given.
pub const RELAY_PATH: &str = "/v1/traces";

/// The names under which the deliveries are shown.
const SPANS: &str = "otlp";
const METRICS: &str = "otlp_metrics";
const RELAY: &str = "otlp_relay";

/// The running exporters.
#[derive(Debug)]
pub(super) struct Otlp {
    spans: Option<Delivery<Item>>,
    relay: Option<Delivery<Relayed>>,
    metrics: Option<Delivery<ExportMetricsServiceRequest>>,
    meters: Option<SdkMeterProvider>,
    layer: SpanLayer,
}

/// OTLP cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A destination cannot be spoken to.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What is undelivered cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Otlp {
    /// Starts what is configured.
    pub(super) fn start(
        config: &config::Otlp,
        resource: &Resource,
        around: Surroundings<'_>,
    ) -> Result<Self, StartError> {
        // Channels spawn their workers where they are made.
        let _entered = around.runtime.enter();
        let mut spans = None;
        let mut relay = None;
        if let Some(destination) = &config.traces {
            let resource = proto_resource(resource);
            // Two variables limit an export; it must keep within both.
            let timeout = config.batch.export_timeout.unwrap_or(Duration::MAX).min(destination.timeout);
            let wire = Wire::new(&Destination { timeout, ..destination.clone() })?;
            let sink = SpanSink { wire, resource, limits: config.limits };
            let delivery = deliver(SPANS, sink, destination, &config.batch, IN_FLIGHT, around)?;
            spans = Some(delivery);
            if config.relay {
                let sink = Forward { wire: Wire::new(destination)? };
                relay = Some(deliver(RELAY, sink, destination, &Batch::default(), 2, around)?);
            }
        }
        let mut metrics = None;
        let mut meters = None;
        let mut requests = None;
        if let Some(destination) = &config.metrics {
            let sink = MetricsSink { wire: Wire::new(destination)? };
            // One at a time: a later collection must not arrive before an earlier one.
            // A collection that is late is no use beside the next one: it is not spooled.
            let around = Surroundings { spool: None, ..around };
            let delivery = deliver(METRICS, sink, destination, &Batch::default(), 1, around)?;
            let (provider, own) = metrics::provider(
                resource.clone(),
                delivery.queue().clone(),
                temporality(config.temporality),
                config.metric_interval,
                around.books.clone(),
            );
            (metrics, meters, requests) = (Some(delivery), Some(provider), Some(own));
        }
        let layer = EnlistLayer(Spans {
            spans: spans.as_ref().map(|spans| SpanView::new(spans.queue().clone(), config.limits)),
            metrics: requests,
        });
        Ok(Self { spans, relay, metrics, meters, layer })
    }

    /// The layer, where there is something for it to do.
    pub(super) fn layer(&self) -> Option<SpanLayer> {
        (self.spans.is_some() || self.meters.is_some()).then(|| self.layer.clone())
    }

    /// What becomes of spans that belong to no request: background work, calls at the start.
    pub(super) fn outside(&self) -> Option<Outside> {
        let queue = self.spans.as_ref()?.queue().clone();
        Some(Arc::new(move |span| layer::push_alone(&queue, span)))
    }

    /// Where what browsers send is left, if it is wanted.
    pub(super) fn relay(&self) -> Option<Relay> {
        self.relay.as_ref().map(|relay| Relay(relay.queue().clone()))
    }

    /// The provider of the metrics, for the application's own.
    pub(super) fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.meters.as_ref()
    }

    /// Each delivery's name and state.
    pub(super) fn states(&self) -> Vec<(&'static str, String)> {
        let states = [
            self.spans.as_ref().map(|delivery| (SPANS, delivery.status())),
            self.relay.as_ref().map(|delivery| (RELAY, delivery.status())),
            self.metrics.as_ref().map(|delivery| (METRICS, delivery.status())),
        ];
        states.into_iter().flatten().map(|(name, status)| (name, status.sentence())).collect()
    }

    /// What each delivery has on disk.
    pub(super) fn kept(&self) -> Vec<(&'static str, Kept)> {
        let kept = [
            self.spans.as_ref().map(|delivery| (SPANS, delivery.kept())),
            self.relay.as_ref().map(|delivery| (RELAY, delivery.kept())),
        ];
        kept.into_iter().flatten().filter_map(|(name, kept)| Some((name, kept?))).collect()
    }

    /// Delivers what waits. The metrics come last, because they tell what became of the rest; a fifth of the time
    /// is kept for them.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let earlier = if self.metrics.is_some() { deadline - left / 5 } else { deadline };
        tokio::join!(drain(self.spans.as_ref(), earlier), drain(self.relay.as_ref(), earlier));
        if let Some(meters) = self.meters.clone() {
            // Leaves a last collection in the queue. It waits for the reader's thread, so it does so on another one.
            let last = tokio::task::spawn_blocking(move || meters.shutdown());
            timeout_at(deadline, last).await.ok();
        }
        drain(self.metrics.as_ref(), deadline).await;
    }
}

async fn drain<T: Send + Sync + 'static>(delivery: Option<&Delivery<T>>, deadline: Instant) {
    if let Some(delivery) = delivery {
        delivery.shut_down(deadline).await;
    }
}

/// How to deliver, by our own measure where `OTEL_BSP_*` does not say otherwise.
fn policy(asked: &Batch, in_flight: usize) -> Policy {
    let queue = asked.max_queue_size.map_or(u64::MAX, |size| size as u64);
    // A batch that the queue could not fill would always linger; a quarter keeps the queue taking meanwhile.
    let usual = BATCH.items.min((queue / 4).max(1));
    let items = asked.max_export_batch_size.map_or(usual, |size| size as u64);
    let linger = asked.schedule_delay.unwrap_or(BATCH.linger);
    Policy {
        batch: Limits { items, linger, ..BATCH },
        capacity: Measure { weight: CAPACITY, items: queue },
        in_flight,
        in_flight_behind: in_flight,
        backoff: BACKOFF,
        keep: KEEP,
    }
}

fn deliver<S: Sink>(
    name: &'static str,
    sink: S,
    destination: &Destination,
    asked: &Batch,
    in_flight: usize,
    around: Surroundings<'_>,
) -> Result<Delivery<S::Item>, SpoolError> {
    let policy = policy(asked, in_flight);
    let (url, ledger) = (destination.url.to_string(), around.books.open(name));
    around.deliver(name, url, ledger, policy, sink)
}

fn proto_resource(resource: &Resource) -> Vec<u8> {
    let attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
    ProtoResource { attributes, ..ProtoResource::default() }.encode_to_vec()
}

fn temporality(asked: config::Temporality) -> Temporality {
    match asked {
        config::Temporality::Cumulative => Temporality::Cumulative,
        config::Temporality::Delta => Temporality::Delta,
        config::Temporality::LowMemory => Temporality::LowMemory,
    }
}

/// Finished requests, and spans that outlived theirs.
struct SpanSink {
    wire: Wire,
    /// A `Resource`, encoded.
    resource: Vec<u8>,
    limits: SpanLimits,
}

impl Sink for SpanSink {
    type Item = Item;

    const GATHERED: Option<Gathered<Item>> = Some(document::gathered);

    fn measure(item: &Item) -> Measure {
        match item {
            Item::Request(record) => {
                Measure { weight: record.weight(), items: document::sampled_spans(record) }
            }
            Item::Straggler(span) => Measure { weight: span_weight(span), items: 1 },
            // What is drawn has been measured before.
            Item::Drawn(_) => Measure::default(),
            Item::Stored(stored) => {
                Measure { weight: STORED * stored.encoded_len(), items: document::stored_spans(stored) }
            }
        }
    }

    fn rank(item: &Item) -> Rank {
        document::rank(item)
    }

    fn draw(&self, item: Item) -> Item {
        document::draw(item, &self.limits)
    }

    fn encode(&self, item: &Item, into: &mut Vec<u8>) {
        document::encode(item, &self.resource, into);
    }

    fn decode(&self, bytes: &[u8]) -> Option<Item> {
        document::decode(bytes)
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        let request = document::export_request(batch, &self.resource);
        self.wire.export::<ExportTraceServiceRequest>(request).await
    }
}

/// What the meter provider has collected.
struct MetricsSink {
    wire: Wire,
}

impl Sink for MetricsSink {
    type Item = ExportMetricsServiceRequest;

    fn measure(request: &Self::Item) -> Measure {
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        let points = scopes.flat_map(|scope| &scope.metrics).map(metrics::points).sum();
        Measure { weight: request.encoded_len(), items: points }
    }

    async fn send(&self, batch: &[Self::Item]) -> Result<Sent, SendError> {
        let all = batch.iter().flat_map(|request| request.resource_metrics.clone()).collect();
        let request = ExportMetricsServiceRequest { resource_metrics: all };
        self.wire.export::<ExportMetricsServiceRequest>(request.encode_to_vec()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_queue_still_fills_its_batches() {
        for (queue, size, items, capacity) in [
            (None, None, 1024, u64::MAX),
            (Some(100_000), None, 1024, 100_000),
            (Some(2048), None, 512, 2048),
            (Some(100), None, 25, 100),
            (Some(1), None, 1, 1),
            (Some(2048), Some(512), 512, 2048),
        ] {
            let mut asked = Batch::default();
            (asked.max_queue_size, asked.max_export_batch_size) = (queue, size);
            let policy = policy(&asked, 8);
            assert_eq!((policy.batch.items, policy.capacity.items), (items, capacity), "{asked:?}");
        }
    }
}
