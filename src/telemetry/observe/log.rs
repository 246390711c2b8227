//! One log event, as every backend that shows logs gets it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{KeyValue, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::exchange::Exchange;

/// A `tracing` event, with the ids of the request it belongs to.
#[derive(Debug, Clone)]
pub struct LogEvent {
    /// When it was emitted.
    pub time: SystemTime,
    /// How grave it is.
    pub level: Level,
    /// The module that emitted it.
    pub target: &'static str,
    /// Its text.
    pub message: String,
    /// Its other fields, in order.
    pub fields: Vec<KeyValue>,
    /// Where it stands among all events and access lines.
    pub event_id: EventId,
    /// The trace and the span it was emitted in, where there was a request.
    pub span: Option<(TraceId, SpanId)>,
    /// Whether it was emitted within a `tracing` span, which has it among its own events then.
    pub in_tracing_span: bool,
    /// Whether `LOG_LEVEL` lets it onto the console; other views have levels of their own.
    pub on_console: bool,
}

impl LogEvent {
    /// What telemetry itself has to say: an event of no request.
    #[must_use]
    pub fn notice(level: Level, message: &str) -> Self {
        Self {
            time: SystemTime::now(),
            level,
            target: "cruddur::telemetry",
            message: message.to_owned(),
            fields: Vec::new(),
            event_id: EventId::next(),
            span: None,
            in_tracing_span: false,
            on_console: true,
        }
    }
}

/// Names one log line for ever: `<boot id>-<sequence>`.
///
/// At-least-once delivery brings duplicates; they are told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(u64);

impl EventId {
    /// The next id of this process.
    #[must_use]
    pub fn next() -> Self {
        static SEQUENCE: AtomicU64 = AtomicU64::new(0);
        Self(SEQUENCE.fetch_add(1, Ordering::Relaxed))
    }
}

impl EventId {
    /// Writes it at the end of `text`.
    pub(super) fn write(self, text: &mut String) {
        static BOOT: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
        text.push_str(&BOOT);
        text.push('-');
        super::line::digits::<10>(text, self.0);
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(43);
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// One backend's interest in log events, within requests and outside of them.
pub trait LogView: Send + Sync + 'static {
    /// An event was emitted; `exchange` is the request it belongs to. Must not block, panic or emit events.
    fn on_event(&self, event: &Arc<LogEvent>, exchange: Option<&Exchange>);
}

/// Gathers an event's fields; counts stay integers.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Vec<KeyValue>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push(KeyValue::new(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.push(field, value),
            Err(_) => self.push(field, value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.push(field, format!("{value:?}"));
        }
    }
}
