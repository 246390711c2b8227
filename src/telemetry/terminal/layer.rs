//! The terminal's part of a request.

use std::sync::Arc;

use super::Format;
use super::exporter::{Item, Queue};
use crate::telemetry::observe::{
    Enlist, EnlistLayer, Exchange, LogEvent, LogView, RequestRecord, View, Views,
};

/// Shows every request that passes on the terminal.
pub type TerminalLayer = EnlistLayer<Trees>;

/// What [`TerminalLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Trees(pub(super) Queue);

impl Enlist for Trees {
    fn enlist(&self, _: &Exchange, views: &mut Views) {
        views.add(TerminalView(self.0.clone()));
    }
}

struct TerminalView(Queue);

impl View for TerminalView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        self.0.push(Item::Record(Arc::clone(record)));
    }
}

/// Shows log events: those of a request in flight within its tree, the others as they happen.
#[derive(Debug, Clone)]
pub struct TerminalLog {
    pub(super) queue: Queue,
    pub(super) format: Format,
    pub(super) trees: bool,
}

impl LogView for TerminalLog {
    fn on_event(&self, event: &Arc<LogEvent>, exchange: Option<&Exchange>) {
        if !event.on_console {
            return;
        }
        let is_filed = |exchange: &Exchange| exchange.is_viewed() && !exchange.is_over();
        let in_tree = self.trees && self.format != Format::Json && exchange.is_some_and(is_filed);
        if !in_tree {
            self.queue.push(Item::Event(Arc::clone(event)));
        }
    }
}
