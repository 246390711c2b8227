//! X-Ray's part of a request: the decision whether to trace it, which is made once, before the handler.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, response};
use opentelemetry_sdk::trace::SpanData;

use super::document::{self, Form, Item};
use super::naming::Naming;
use super::sampling::{Asked, Sampler};
use crate::telemetry::delivery::{Queue, Rank};
use crate::telemetry::observe::{
    Enlist, EnlistLayer, Exchange, RequestFacts, RequestRecord, Sampled, View, Views, X_AMZN_TRACE_ID,
    amzn_root,
};

/// Makes every request that passes and is sampled an X-Ray segment.
pub type SegmentLayer = EnlistLayer<Segments>;

/// What [`SegmentLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Segments(pub(super) Arc<Parts>);

/// What every request's view has in common.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) sampler: Sampler,
    pub(super) naming: Arc<Naming>,
    pub(super) form: Arc<Form>,
    pub(super) queue: Queue<Item>,
}

impl Enlist for Segments {
    fn enlist(&self, exchange: &Exchange, views: &mut Views) {
        // What nobody is told of takes nothing out of a reservoir.
        if exchange.is_viewed() {
            views.add(self.decide(exchange));
        }
    }
}

impl Segments {
    /// The caller's decision, else the rules'. It goes out with every call that the request makes.
    fn decide(&self, exchange: &Exchange) -> SegmentView {
        let request = exchange.request();
        let host = host(request);
        let name = self.0.naming.of(host.as_deref());
        let told = exchange.identity().amzn.as_ref().and_then(|header| header.sampled);
        let (sampled, rule) = match told {
            Some(Sampled::Yes) => (true, None),
            Some(Sampled::No) => (false, None),
            Some(Sampled::Ask) | None => {
                let asked = Asked {
                    host: host.as_deref(),
                    method: request.method.as_str(),
                    path: &request.path,
                    service_name: &name,
                    service_type: None,
                };
                let decision = self.0.sampler.decide(&asked, exchange.started());
                // Local rules are nobody's but ours; X-Ray knows the names of its own.
                (decision.sampled, decision.central.then_some(decision.rule))
            }
        };
        exchange.set_amzn_sampled(sampled);
        let answer = (told == Some(Sampled::Ask)).then(|| signed(exchange, sampled)).flatten();
        SegmentView { parts: Arc::clone(&self.0), name, sampled, rule, answer }
    }
}

/// The `Host` header, or what stands for it in HTTP/2, which has none.
fn host(request: &RequestFacts) -> Option<Cow<'_, str>> {
    request.headers.get(&HOST).map(Cow::Borrowed).or_else(|| {
        let address = request.server_address.as_deref()?;
        let port = request.server_port.filter(|port| *port != request.scheme.default_port());
        Some(port.map_or_else(|| address.into(), |port| format!("{address}:{port}").into()))
    })
}

/// `Root=…;Sampled=…`, for a caller that asked.
fn signed(exchange: &Exchange, sampled: bool) -> Option<HeaderValue> {
    let root = amzn_root(exchange.trace_id());
    HeaderValue::from_str(&format!("{};Sampled={}", root.to_str().ok()?, u8::from(sampled))).ok()
}

struct SegmentView {
    parts: Arc<Parts>,
    name: Arc<str>,
    sampled: bool,
    rule: Option<Arc<str>>,
    answer: Option<HeaderValue>,
}

impl View for SegmentView {
    fn on_response(&mut self, head: &mut response::Parts) {
        if let Some(answer) = self.answer.take() {
            head.headers.insert(X_AMZN_TRACE_ID, answer);
        }
    }

    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        if !self.sampled {
            return self.parts.queue.ledger().enter(|tally| tally.sample_out(1));
        }
        let (Parts { queue, form, .. }, name, rule) = (&*self.parts, &self.name, &self.rule);
        let draw = |out: &mut Vec<u8>| {
            record.is_light() && document::draw_light(record, name, rule.as_deref(), form, out)
        };
        // They are sent or lost, whatever they are worth.
        let mark = Rank::Notable.into();
        queue.push_drawn(1, mark, draw, || Item::Segment {
            record: Arc::clone(record),
            name: Arc::clone(name),
            rule: rule.clone(),
        });
    }

    fn on_straggler(&mut self, record: &Arc<RequestRecord>, span: &SpanData) {
        if self.sampled {
            let (record, span) = (Arc::clone(record), Box::new(span.clone()));
            self.parts.queue.push(Item::Straggler { record, span });
        } else {
            self.parts.queue.ledger().enter(|tally| tally.sample_out(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::telemetry::xray::exporter::Daemon;
    use crate::telemetry::xray::sampling::LocalRules;

    #[test]
    fn what_takes_long_to_draw_is_left_to_the_worker() {
        let queue = Queue::unattended::<Daemon>();
        let parts = Arc::new(Parts {
            sampler: Sampler::new(LocalRules::default()),
            naming: Arc::new(Naming::new("cruddur", None)),
            form: Arc::default(),
            queue: queue.clone(),
        });
        let mut view = SegmentView { parts, name: "cruddur".into(), sampled: true, rule: None, answer: None };
        view.on_close(&Arc::new(RequestRecord::served(RequestFacts::get("/"), UNIX_EPOCH)));
        assert_eq!(queue.undrawn_and_queued(), (0, 1), "a plain one is drawn");
        view.on_close(&Arc::new(RequestRecord::failed(RequestFacts::get("/"), UNIX_EPOCH)));
        assert_eq!(queue.undrawn_and_queued(), (1, 2));
    }
}
