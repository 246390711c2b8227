//! Where `tracing` leads: spans to OpenTelemetry, log events to the exchange and to who shows them.

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use super::observe::{EventLayer, LogView};

/// The libraries that carry requests and telemetry: their spans are no part of what the application does.
const CARRIERS: [&str; 8] =
    ["axum", "h2", "hyper", "hyper_util", "opentelemetry", "opentelemetry_sdk", "reqwest", "rustls"];

/// The subscriber: log events at `floor` and above and those that `console` names, spans at `info` and above whatever
/// `console` says, because a quiet console must not make traces empty.
pub(super) fn subscriber(
    provider: &SdkTracerProvider,
    console: &str,
    floor: LevelFilter,
    views: Vec<Box<dyn LogView>>,
) -> Dispatch {
    let carriers = CARRIERS.map(|target| (target, LevelFilter::OFF));
    let spans = Targets::new().with_default(Level::INFO).with_targets(carriers);
    let lean = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    let console = Arc::new(EnvFilter::builder().parse_lossy(console));
    let events = EventLayer::new(views, Arc::clone(&console)).with_filter(Heard { console, floor });
    Registry::default().with(lean.with_filter(spans)).with(events).into()
}

/// What some view wants to hear of. Each is told of everything, and picks.
struct Heard {
    console: Arc<EnvFilter>,
    floor: LevelFilter,
}

impl Heard {
    fn is_above_floor(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.floor
    }
}

impl<S: Subscriber> Filter<S> for Heard {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.is_above_floor(metadata) || Filter::enabled(&*self.console, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let console = Filter::<S>::callsite_enabled(&*self.console, metadata);
        if self.is_above_floor(metadata) { Interest::always() } else { console }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Without a hint anything may be wanted.
        Some(Filter::<S>::max_level_hint(&*self.console)?.max(self.floor))
    }

    // Directives can name spans, and count who is inside.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&*self.console, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&*self.console, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_enter(&*self.console, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_exit(&*self.console, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::on_close(&*self.console, id, context);
    }
}
