//! Where `tracing` leads: spans and log events to the exchange, and to who shows them.

use opentelemetry_sdk::trace::SpanLimits;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::observe::{EventLayer, Heard, LogView, Outside, RecordAll, Spans};

/// The libraries that carry requests and telemetry: their spans are no part of what the application does.
const CARRIERS: [&str; 8] =
    ["axum", "h2", "hyper", "hyper_util", "opentelemetry", "opentelemetry_sdk", "reqwest", "rustls"];

/// The subscriber's lower half: spans at `info` and above, whatever the console says.
pub(super) fn spans(sampler: RecordAll, limits: SpanLimits, outside: Option<Outside>) -> Spans {
    let carriers = CARRIERS.map(|target| (target, LevelFilter::OFF));
    let wanted = Targets::new().with_default(Level::INFO).with_targets(carriers);
    Spans::new(wanted, sampler, limits, outside)
}

/// The subscriber: log events at `floor` and above and those that `console` names, above `spans`.
pub(super) fn subscriber(
    spans: Spans,
    console: &str,
    floor: LevelFilter,
    views: Vec<Box<dyn LogView>>,
) -> Dispatch {
    let events = EventLayer::new(views, Heard::new(console, floor), spans.clone());
    spans.with(events).into()
}
