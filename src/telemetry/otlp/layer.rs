//! OTLP's part of a request.

use std::sync::Arc;

use opentelemetry_sdk::trace::SpanData;

use super::document::{self, Item};
use super::metrics::RequestMetrics;
use crate::config::SpanLimits;
use crate::telemetry::delivery::Queue;
use crate::telemetry::observe::{Enlist, EnlistLayer, Exchange, RequestRecord, View, Views};

/// Exports every request that passes as spans, and counts it in the metrics.
pub type SpanLayer = EnlistLayer<Spans>;

/// What [`SpanLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Spans {
    pub(super) spans: Option<SpanView>,
    pub(super) metrics: Option<RequestMetrics>,
}

impl Enlist for Spans {
    fn enlist(&self, _: &Exchange, views: &mut Views) {
        if let Some(metrics) = &self.metrics {
            views.add_counter(MetricsView(metrics.clone()));
        }
        if let Some(view) = &self.spans {
            views.add(view.clone());
        }
    }
}

/// Makes a request spans.
#[derive(Debug, Clone)]
pub(super) struct SpanView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue<Item>,
    limits: SpanLimits,
}

impl SpanView {
    pub(super) fn new(queue: Queue<Item>, limits: SpanLimits) -> Self {
        Self(Arc::new(Inner { queue, limits }))
    }
}

impl View for SpanView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        let Inner { queue, limits } = &*self.0;
        let spans = 1 + record.spans.len() as u64;
        let wanted = if record.identity().sampled { document::sampled_spans(record) } else { 0 };
        if spans > wanted {
            queue.ledger().enter(|tally| tally.sample_out(spans - wanted));
        }
        if record.dropped_spans > 0 {
            queue.ledger().enter(|tally| tally.refuse("record_full", record.dropped_spans.into()));
        }
        if wanted > 0 {
            let draw = |out: &mut Vec<u8>| record.is_light() && document::draw_own(record, limits, out);
            let mark = document::rank_of(record).into();
            queue.push_drawn(wanted, mark, draw, || Item::Request(Arc::clone(record)));
        }
    }

    fn on_straggler(&mut self, _: &Arc<RequestRecord>, span: &SpanData) {
        push_alone(&self.0.queue, span.clone());
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::telemetry::observe::RequestFacts;
    use crate::telemetry::otlp::SpanSink;

    #[test]
    fn what_takes_long_to_draw_is_left_to_the_worker() {
        const LIMITS: SpanLimits = SpanLimits {
            attribute_value_length: None,
            attributes: 128,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
        };
        let queue = Queue::unattended::<SpanSink>();
        let mut view = SpanView::new(queue.clone(), LIMITS);
        view.on_close(&Arc::new(RequestRecord::served(RequestFacts::get("/"), UNIX_EPOCH)));
        assert_eq!(queue.undrawn_and_queued(), (0, 1), "a plain one is drawn");
        view.on_close(&Arc::new(RequestRecord::failed(RequestFacts::get("/"), UNIX_EPOCH)));
        assert_eq!(queue.undrawn_and_queued(), (1, 2));
    }
}
