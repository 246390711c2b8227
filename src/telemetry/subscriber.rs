//! Where `tracing` leads: spans and log events to the exchange, and to who shows them.

use opentelemetry_sdk::trace::SpanLimits;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::layer::SubscriberExt as _;

use super::observe::{EventLayer, Heard, LogView, Outside, RecordAll, Spans};

/// The libraries that carry requests and telemetry, by how their targets begin: their spans are no part of what the
/// application does.
const CARRIERS: [&str; 6] = ["axum", "h2", "hyper", "opentelemetry", "reqwest", "rustls"];

/// The subscriber's lower half: spans at `info` and above, whatever the console says.
pub(super) fn spans(sampler: RecordAll, limits: SpanLimits, outside: Option<Outside>) -> Spans {
    Spans::new(is_wanted, sampler, limits, outside)
}

/// Asked for every span and every event within one.
fn is_wanted(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && !CARRIERS.iter().any(|carrier| metadata.target().starts_with(carrier))
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
