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

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use tracing::Level;

    use super::*;
    use crate::config::LineFormat;
    use crate::telemetry::cloudwatch::exporter::Stream;
    use crate::telemetry::observe::RequestFacts;

    #[test]
    fn what_takes_long_to_draw_is_left_to_the_worker() {
        let queue = Queue::unattended::<Stream>();
        let form = Arc::new(Form { format: LineFormat::Json, metrics: None });
        let view = LineView::new(queue.clone(), form);
        let log = LineLog { view: view.clone(), level: LevelFilter::INFO };
        let told = |message: &str| {
            log.on_event(&Arc::new(LogEvent::notice(Level::INFO, message)), None);
            queue.undrawn_and_queued()
        };
        assert_eq!(told("short"), (0, 1), "a short one is drawn");
        assert_eq!(told(&"long ".repeat(1000)), (1, 2));
        let closed = |record: fn(RequestFacts, SystemTime) -> RequestRecord| {
            view.clone().on_close(&Arc::new(record(RequestFacts::get("/"), UNIX_EPOCH)));
            queue.undrawn_and_queued()
        };
        assert_eq!(closed(RequestRecord::served), (1, 3), "a plain one is drawn");
        assert_eq!(closed(RequestRecord::failed), (2, 4));
    }
}
