//! CloudWatch's part of a request: to be told of its end, and of the log events within.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use super::document::Item;
use crate::telemetry::delivery::Queue;
use crate::telemetry::observe::{Enlist, EnlistLayer, Exchange, LogEvent, LogView, RequestRecord, View};

/// Makes every request that passes a line.
pub type LineLayer = EnlistLayer<Lines>;

/// What [`LineLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Lines(pub(super) Queue<Item>);

impl Enlist for Lines {
    fn enlist(&self, exchange: &Exchange) {
        exchange.enlist(LineView(self.0.clone()));
    }
}

struct LineView(Queue<Item>);

impl View for LineView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        self.0.push(Item::Request(Arc::clone(record)));
    }
}

/// Makes log events lines, within requests and outside of them.
#[derive(Debug, Clone)]
pub struct LineLog {
    pub(super) queue: Queue<Item>,
    pub(super) level: LevelFilter,
}

/// Who carries lines must not write any: one line would cause the next. Targets, by their beginning.
const CARRIERS: [&str; 7] = ["aws_", "h2", "hyper", "opentelemetry", "reqwest", "rustls", "tonic"];

impl LogView for LineLog {
    fn on_event(&self, event: &Arc<LogEvent>, _: Option<&Exchange>) {
        let carries = CARRIERS.iter().any(|carrier| event.target.starts_with(carrier));
        if event.level <= self.level && !carries {
            self.queue.push(Item::Event(Arc::clone(event)));
        }
    }
}
