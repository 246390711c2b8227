//! One request in flight.

use opentelemetry::trace::TraceId;

/// One request in flight (a stub until the observing core lands).
#[derive(Debug, Clone)]
pub struct Exchange {
    trace_id: TraceId,
}

impl Exchange {
    /// The exchange that the current task works for, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        None
    }

    /// The trace id that every backend knows this request by.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Names the user this request is made for (`enduser.id`).
    pub fn set_user(&self, _user: impl Into<String>) {}
}
