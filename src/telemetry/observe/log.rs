//! One log event, as every backend that shows logs gets it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};
use tracing::Level;

use super::exchange::Exchange;
use super::identity::hex_pairs;
use super::panic::PanicReport;
use super::record::attributes_weight;
use crate::digits;

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
    /// Whether it asks to be reported, as errors do and as its field `report` says.
    pub report: bool,
}

impl LogEvent {
    /// Whether it takes so little to draw that it can be done where it is emitted.
    #[must_use]
    pub fn is_light(&self) -> bool {
        const MOST: usize = 4 * 1024;
        self.message.len() + attributes_weight(&self.fields) <= MOST
    }

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
            report: false,
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

    /// Which of this process's it is.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl EventId {
    /// Its digits and its dash.
    pub(super) fn digits(self) -> [u8; 43] {
        static BOOT: LazyLock<[[u8; 2]; 16]> = LazyLock::new(|| hex_pairs(uuid::Uuid::new_v4().into_bytes()));
        let mut text = [b'-'; 43];
        text[..32].copy_from_slice(BOOT.as_flattened());
        text[33..].copy_from_slice(&digits::ten(self.0));
        text
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

/// One backend's interest in log events, within requests and outside of them.
pub trait LogView: Send + Sync + 'static {
    /// An event was emitted; `exchange` is the request it belongs to. Must not block, panic or emit events.
    fn on_event(&self, event: &Arc<LogEvent>, exchange: Option<&Exchange>);

    /// Something panicked that no request is answered for: a task, a thread. `exchange` is the request that it worked
    /// for. Called from the panic hook, so it must not do more than take a note; and it must not panic.
    fn on_panic(&self, panic: &PanicReport, exchange: Option<&Exchange>) {
        let _ = (panic, exchange);
    }
}
