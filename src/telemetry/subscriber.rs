//! Where `tracing` leads: spans to OpenTelemetry, log events to the exchange and to who shows them.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use super::observe::{EventLayer, LogView};

/// The libraries that carry requests and telemetry: their spans are no part of what the application does.
const CARRIERS: [&str; 8] =
    ["axum", "h2", "hyper", "hyper_util", "opentelemetry", "opentelemetry_sdk", "reqwest", "rustls"];

/// The subscriber: log events by the directives of `logs`, spans at `info` and above whatever `logs` says, because a
/// quiet console must not make traces empty.
pub(super) fn subscriber(provider: &SdkTracerProvider, logs: &str, views: Vec<Box<dyn LogView>>) -> Dispatch {
    let carriers = CARRIERS.map(|target| (target, LevelFilter::OFF));
    let spans = Targets::new().with_default(Level::INFO).with_targets(carriers);
    let lean = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    let logs = EnvFilter::builder().parse_lossy(logs);
    Registry::default().with(lean.with_filter(spans)).with(EventLayer::new(views).with_filter(logs)).into()
}
