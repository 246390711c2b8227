//! The terminal's part of a request.

use std::sync::Arc;

use tower::{Layer, Service};

use super::Format;
use super::exporter::{Item, Queue};
use crate::telemetry::observe::{Exchange, LogEvent, LogView, RequestRecord, View};

/// Shows every request that passes on the terminal.
#[derive(Debug, Clone)]
pub struct TerminalLayer(pub(super) Queue);

impl<S> Layer<S> for TerminalLayer {
    type Service = TerminalService<S>;

    fn layer(&self, inner: S) -> TerminalService<S> {
        TerminalService { inner, queue: self.0.clone() }
    }
}

/// See [`TerminalLayer`].
#[derive(Debug, Clone)]
pub struct TerminalService<S> {
    inner: S,
    queue: Queue,
}

impl<S, B> Service<http::Request<B>> for TerminalService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        if let Some(exchange) = request.extensions().get::<Exchange>() {
            exchange.enlist(TerminalView(self.queue.clone()));
        }
        self.inner.call(request)
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
        let is_filed = |exchange: &Exchange| exchange.is_viewed() && !exchange.is_over();
        let in_tree = self.trees && self.format != Format::Json && exchange.is_some_and(is_filed);
        if !in_tree {
            self.queue.push(Item::Event(Arc::clone(event)));
        }
    }
}
