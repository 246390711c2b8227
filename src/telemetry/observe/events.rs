//! Log events, filed under their exchange and shown to who wants to see them.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, layer};

use super::exchange::Exchange;
use super::fields::{Fields, SpanEvent};
use super::heard::Heard;
use super::log::{EventId, LogEvent, LogView};
use super::panic::PanicReport;
use super::spans::Spans;

/// Makes a [`LogEvent`] of every `tracing` event, files it under its exchange and its span, and shows it to the views.
/// Being the topmost, it says as well which spans and events there are.
#[expect(missing_debug_implementations, reason = "views need not be Debug")]
pub struct EventLayer {
    views: Vec<Box<dyn LogView>>,
    heard: Heard,
    spans: Spans,
}

impl EventLayer {
    /// A layer above `spans` that shows what is `heard` to `views`.
    #[must_use]
    pub fn new(views: Vec<Box<dyn LogView>>, heard: Heard, spans: Spans) -> Self {
        Self { views, heard, spans }
    }

    /// Shows a panic that no request is answered for to the views.
    pub(super) fn panicked(&self, panic: &PanicReport, exchange: Option<&Exchange>) {
        for view in &self.views {
            view.on_panic(panic, exchange);
        }
    }

    /// Files an event with the `tracing` span that it was emitted in, and says whether there is one.
    fn file(&self, event: &Event<'_>, fields: &Fields, time: SystemTime) -> bool {
        let filed = self.spans.with_context_of(event, |context| {
            if self.spans.wants(event.metadata()) {
                let SpanEvent { name, attributes, status, of_span } = fields.span_event(event.metadata());
                let span = context.span();
                if let Some(status) = status {
                    span.set_status(status);
                }
                // Each call takes a lock.
                if !of_span.is_empty() {
                    span.set_attributes(of_span);
                }
                span.add_event_with_timestamp(name, time, attributes);
            }
        });
        filed.is_some()
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = SystemTime::now();
        let in_tracing_span = self.file(event, &fields, time);
        let (exchange, span) = Context::map_current(|context| {
            let exchange = context.get::<Exchange>().cloned();
            let span = context.span();
            let ids = span.span_context();
            (exchange, ids.is_valid().then(|| (ids.trace_id(), ids.span_id())))
        });
        let event = Arc::new(LogEvent {
            time,
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: fields.message,
            report: fields.report.unwrap_or(*event.metadata().level() == Level::ERROR),
            fields: fields.others,
            event_id: EventId::next(),
            span,
            in_tracing_span,
            on_console: self.heard.console().enabled(event.metadata(), context),
        });
        if let Some(exchange) = &exchange {
            exchange.log(&event);
        }
        for view in &self.views {
            view.on_event(&event, exchange.as_ref());
        }
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.heard.interest::<S>(metadata, &self.spans)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: layer::Context<'_, S>) -> bool {
        self.heard.enabled(metadata, context, &self.spans)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.heard.max_level()
    }

    // Directives can name spans, and count who is inside.
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        if self.heard.looks_into_spans {
            self.heard.console().on_new_span(attributes, id, context);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        if self.heard.looks_into_spans {
            self.heard.console().on_record(id, values, context);
        }
    }

    fn on_enter(&self, id: &Id, context: layer::Context<'_, S>) {
        if self.heard.looks_into_spans {
            self.heard.console().on_enter(id, context);
        }
    }

    fn on_exit(&self, id: &Id, context: layer::Context<'_, S>) {
        if self.heard.looks_into_spans {
            self.heard.console().on_exit(id, context);
        }
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        if self.heard.looks_into_spans {
            self.heard.console().on_close(id, context);
        }
    }
}
