//! Metrics: how long requests take, and what became of the telemetry itself.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

use crate::telemetry::delivery::{Books, Queue};
use crate::telemetry::observe::{RequestRecord, conventions};

/// The buckets that the conventions advise for `http.server.request.duration`, in seconds.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The metrics of the requests. Cloning shares them.
#[derive(Clone)]
pub(super) struct RequestMetrics {
    duration: Histogram<f64>,
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetrics").finish_non_exhaustive()
    }
}

impl RequestMetrics {
    fn new(meter: &Meter) -> Self {
        let duration = meter
            .f64_histogram("http.server.request.duration")
            .with_description("Duration of HTTP server requests.")
            .with_unit("s")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        Self { duration }
    }

    /// Counts a finished request, with the very duration that its span has.
    pub(super) fn record(&self, record: &RequestRecord) {
        let request = record.request();
        let mut attributes = Vec::with_capacity(6);
        attributes.push(KeyValue::new("http.request.method", request.method_label().to_owned()));
        attributes.push(KeyValue::new("url.scheme", request.scheme.as_str()));
        attributes.push(KeyValue::new("network.protocol.version", request.protocol_version));
        if let Some(route) = &request.route {
            attributes.push(KeyValue::new("http.route", route.clone()));
        }
        if let Some(status) = record.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        if let Some(class) = conventions::error_type(record).map(Cow::into_owned) {
            attributes.push(KeyValue::new("error.type", class));
        }
        self.duration.record(record.duration.as_secs_f64(), &attributes);
    }
}

/// The provider, whose reader leaves what it collects in `queue` every `interval`.
pub(super) fn provider(
    resource: Resource,
    queue: Queue<ExportMetricsServiceRequest>,
    temporality: Temporality,
    interval: Duration,
    books: Books,
) -> (SdkMeterProvider, RequestMetrics) {
    let reader = PeriodicReader::builder(Exporter { queue, temporality }).with_interval(interval).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    let meter = provider.meter(env!("CARGO_PKG_NAME"));
    observe_books(&meter, books);
    let requests = RequestMetrics::new(&meter);
    (provider, requests)
}

/// `cruddur.telemetry.items{backend,outcome,reason}`: the ledgers' figures. What waits goes down again, so that
/// this is no counter.
fn observe_books(meter: &Meter, books: Books) {
    meter
        .i64_observable_up_down_counter("cruddur.telemetry.items")
        .with_description("What became of the items that each telemetry backend was given.")
        .with_unit("{item}")
        .with_callback(move |observer| {
            for (backend, tally) in books.tallies() {
                let backend = KeyValue::new("backend", backend);
                for (outcome, items) in tally.outcomes() {
                    observer.observe(int(items), &[backend.clone(), KeyValue::new("outcome", outcome)]);
                }
                for (reason, items) in &tally.dropped {
                    let dropped = KeyValue::new("outcome", "dropped");
                    let reason = KeyValue::new("reason", *reason);
                    observer.observe(int(*items), &[backend.clone(), dropped, reason]);
                }
            }
        })
        .build();
}

/// How many data points a metric has: what receivers count by.
pub(super) fn points(metric: &Metric) -> u64 {
    let points = match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    };
    points as u64
}

fn int(items: u64) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// Takes what the SDK has collected out of its hands: delivering it is the delivery's business.
#[derive(Debug)]
struct Exporter {
    queue: Queue<ExportMetricsServiceRequest>,
    temporality: Temporality,
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.queue.push(ExportMetricsServiceRequest::from(metrics));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}
