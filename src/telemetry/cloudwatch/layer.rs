//! CloudWatch's part of a request: to be told of its end, and of the log events within.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use super::document::{self, Form, Item, Source};
use crate::telemetry::delivery::Queue;
use crate::telemetry::observe::{
    Enlist, EnlistLayer, Exchange, LogEvent, LogView, RequestRecord, View, Views,
};

/// Makes every request that passes a line.
pub type LineLayer = EnlistLayer<Lines>;

/// What [`LineLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Lines(pub(super) LineView);

impl Enlist for Lines {
    fn enlist(&self, _: &Exchange, views: &mut Views) {
        views.add(self.0.clone());
    }
}

/// Makes requests and log events lines.
#[derive(Debug, Clone)]
pub(super) struct LineView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Queue<Item>,
    form: Arc<Form>,
}

impl LineView {
    pub(super) fn new(queue: Queue<Item>, form: Arc<Form>) -> Self {
        Self(Arc::new(Inner { queue, form }))
    }

    fn push(&self, source: Source<'_>, is_light: bool, item: impl FnOnce() -> Item) {
        let Inner { queue, form } = &*self.0;
        let draw = |out: &mut Vec<u8>| is_light && document::draw_quoted(source, form, out);
        queue.push_drawn(1, source.mark(), draw, item);
    }
}

impl View for LineView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        let item = || Item::Request(Arc::clone(record));
        self.push(Source::Request(record), record.is_light(), item);
    }
}

/// Makes log events lines, within requests and outside of them.
#[derive(Debug, Clone)]
pub struct LineLog {
    pub(super) view: LineView,
    pub(super) level: LevelFilter,
}

/// Who carries lines must not write any: one line would cause the next. Targets, by their beginning.
const CARRIERS: [&str; 7] = ["aws_", "h2", "hyper", "opentelemetry", "reqwest", "rustls", "tonic"];

impl LogView for LineLog {
    fn on_event(&self, event: &Arc<LogEvent>, _: Option<&Exchange>) {
        let carries = CARRIERS.iter().any(|carrier| event.target.starts_with(carrier));
        if event.level <= self.level && !carries {
            let item = || Item::Event(Arc::clone(event));
            self.view.push(Source::Event(event), event.is_light(), item);
        }
    }
}
