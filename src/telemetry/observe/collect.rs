//! Spans that are opened through OpenTelemetry's API, filed under their exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::TraceId;
use opentelemetry::trace::{Link, Span as _, SpanId, SpanKind};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData, SpanProcessor,
};

use super::exchange::Exchange;
use super::shards::Shards;

/// Keeps a span's exchange from its start, when the context knows it, to its end, when only its id is left.
#[derive(Clone, Default)]
pub struct SpanCollector {
    open: Arc<Shards<Exchange>>,
    outside: Option<Outside>,
}

/// What becomes of a span that belongs to no request.
pub type Outside = Arc<dyn Fn(SpanData) + Send + Sync>;

impl fmt::Debug for SpanCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanCollector").field("open", &self.open_spans()).finish_non_exhaustive()
    }
}

impl SpanCollector {
    /// A collector that hands spans of no request to `outside`.
    #[must_use]
    pub fn new(outside: Option<Outside>) -> Self {
        Self { open: Arc::default(), outside }
    }

    /// How many spans of exchanges are open.
    #[must_use]
    pub fn open_spans(&self) -> usize {
        self.open.len()
    }
}

impl SpanProcessor for SpanCollector {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        if let Some(exchange) = cx.get::<Exchange>() {
            let id = number(span.span_context().span_id());
            self.open.of(id).insert(id, exchange.clone());
        }
    }

    fn on_end(&self, span: SpanData) {
        let id = number(span.span_context.span_id());
        let exchange = self.open.of(id).remove(&id);
        match (exchange, &self.outside) {
            (Some(exchange), _) => exchange.file(Box::new(span)),
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

/// A span id as a number.
pub(super) fn number(id: SpanId) -> u64 {
    u64::from_be_bytes(id.to_bytes())
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
