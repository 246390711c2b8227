//! What happens inside a request: spans and log events, filed under their exchange.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::TraceId;
use opentelemetry::trace::{Link, Span as _, SpanId, SpanKind, TraceContextExt};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData, SpanProcessor,
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::exchange::Exchange;
use super::log::{EventId, Fields, LogEvent, LogView};
use super::panic::PanicReport;

/// Keeps a span's exchange from its start, when the context knows it, to its end, when only its id is left.
#[derive(Clone, Default)]
pub struct SpanCollector {
    open: Arc<Shards>,
    outside: Option<Outside>,
}

/// What becomes of a span that belongs to no request.
pub type Outside = Arc<dyn Fn(SpanData) + Send + Sync>;

impl fmt::Debug for SpanCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanCollector").field("open", &self.open_spans()).finish_non_exhaustive()
    }
}

/// So many that threads rarely meet at one lock.
const SHARDS: usize = 16;

type Shards = [Mutex<HashMap<u64, Exchange, BuildHasherDefault<IdHasher>>>; SHARDS];

impl SpanCollector {
    /// A collector that hands spans of no request to `outside`.
    #[must_use]
    pub fn new(outside: Option<Outside>) -> Self {
        Self { open: Arc::default(), outside }
    }

    fn shard(
        &self,
        id: SpanId,
    ) -> (u64, MutexGuard<'_, HashMap<u64, Exchange, BuildHasherDefault<IdHasher>>>) {
        let id = u64::from_be_bytes(id.to_bytes());
        let shard = &self.open[usize::try_from(id % SHARDS as u64).unwrap_or_default()];
        (id, shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many spans of exchanges are open.
    #[must_use]
    pub fn open_spans(&self) -> usize {
        self.open.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl SpanProcessor for SpanCollector {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        if let Some(exchange) = cx.get::<Exchange>() {
            let (id, mut shard) = self.shard(span.span_context().span_id());
            shard.insert(id, exchange.clone());
        }
    }

    fn on_end(&self, span: SpanData) {
        let exchange = {
            let (id, mut shard) = self.shard(span.span_context.span_id());
            shard.remove(&id)
        };
        match (exchange, &self.outside) {
            (Some(exchange), _) => exchange.file(span),
            (None, Some(outside)) => outside(span),
            (None, None) => {}
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _resource: &Resource) {}
}

/// Span ids are random already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The low bits chose the shard; the map looks at both ends.
        self.0 = id.rotate_left(32);
    }
}

/// Lets the configured sampler decide what OTLP exports, and everything be recorded all the same: a span that
/// OTLP does not want may be X-Ray's subsegment.
#[derive(Debug, Clone)]
pub struct RecordAll(pub Sampler);

impl ShouldSample for RecordAll {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[opentelemetry::KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        if result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

/// Makes a [`LogEvent`] of every `tracing` event, files it under its exchange and shows it to the views.
#[expect(missing_debug_implementations, reason = "views need not be Debug")]
pub struct EventLayer {
    views: Vec<Box<dyn LogView>>,
    console: Arc<EnvFilter>,
}

impl EventLayer {
    /// A layer that shows events to `views`, and notes which of them are for the console.
    #[must_use]
    pub fn new(views: Vec<Box<dyn LogView>>, console: Arc<EnvFilter>) -> Self {
        Self { views, console }
    }

    /// Shows a panic that no request is answered for to the views.
    pub(super) fn panicked(&self, panic: &PanicReport, exchange: Option<&Exchange>) {
        for view in &self.views {
            view.on_panic(panic, exchange);
        }
    }
}

impl<S> Layer<S> for EventLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (exchange, span) = Context::map_current(|context| {
            let exchange = context.get::<Exchange>().cloned();
            let span = context.span();
            let ids = span.span_context();
            (exchange, ids.is_valid().then(|| (ids.trace_id(), ids.span_id())))
        });
        let event = Arc::new(LogEvent {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: fields.message,
            report: fields.report.unwrap_or(*event.metadata().level() == Level::ERROR),
            fields: fields.others,
            event_id: EventId::next(),
            span,
            in_tracing_span: context.event_span(event).is_some(),
            on_console: self.console.enabled(event.metadata(), context.clone()),
        });
        if let Some(exchange) = &exchange {
            exchange.log(&event);
        }
        for view in &self.views {
            view.on_event(&event, exchange.as_ref());
        }
    }
}
