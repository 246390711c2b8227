//! OTLP's part of a request.

use std::sync::Arc;
use std::task::{Context, Poll};

use opentelemetry_sdk::trace::SpanData;
use tower::{Layer, Service};

use super::document::{self, Item};
use super::metrics::RequestMetrics;
use crate::telemetry::delivery::Queue;
use crate::telemetry::observe::{Exchange, RequestRecord, View};

/// Exports every request that passes as spans, and counts it in the metrics.
#[derive(Debug, Clone)]
pub struct SpanLayer {
    pub(super) spans: Option<Queue<Item>>,
    pub(super) metrics: Option<RequestMetrics>,
}

impl<S> Layer<S> for SpanLayer {
    type Service = SpanService<S>;

    fn layer(&self, inner: S) -> SpanService<S> {
        SpanService { inner, layer: self.clone() }
    }
}

/// See [`SpanLayer`].
#[derive(Debug, Clone)]
pub struct SpanService<S> {
    inner: S,
    layer: SpanLayer,
}

impl<S, B> Service<http::Request<B>> for SpanService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        if let Some(exchange) = request.extensions().get::<Exchange>() {
            if let Some(metrics) = &self.layer.metrics {
                exchange.enlist_counter(MetricsView(metrics.clone()));
            }
            if let Some(queue) = &self.layer.spans {
                exchange.enlist(SpanView(queue.clone()));
            }
        }
        self.inner.call(request)
    }
}

struct SpanView(Queue<Item>);

impl View for SpanView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        let spans = 1 + record.spans.len() as u64;
        let wanted = if record.identity().sampled { document::sampled_spans(record) } else { 0 };
        if spans > wanted {
            self.0.ledger().enter(|tally| tally.sample_out(spans - wanted));
        }
        if record.dropped_spans > 0 {
            self.0.ledger().enter(|tally| tally.refuse("record_full", record.dropped_spans.into()));
        }
        if wanted > 0 {
            self.0.push(Item::Request(Arc::clone(record)));
        }
    }

    fn on_straggler(&mut self, _: &Arc<RequestRecord>, span: &SpanData) {
        push_alone(&self.0, span.clone());
    }
}

/// A span that travels without its request: it has outlived it, or there is none.
pub(super) fn push_alone(queue: &Queue<Item>, span: SpanData) {
    if span.span_context.is_sampled() {
        queue.push(Item::Straggler(Box::new(span)));
    } else {
        queue.ledger().enter(|tally| tally.sample_out(1));
    }
}

struct MetricsView(RequestMetrics);

impl View for MetricsView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        self.0.record(record);
    }
}
