//! New ids, in a form that X-Ray takes too.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// The SDK's random ids, with a trace id's first 32 bits replaced by the seconds since 1970.
///
/// X-Ray reads a trace's age from them; the remaining 96 bits are random, which satisfies W3C Trace Context.
#[derive(Debug, Clone, Default)]
pub struct EpochIds(RandomIdGenerator);

impl EpochIds {
    /// The id of a trace that begins `at` a time.
    #[must_use]
    pub fn new_trace_id_at(&self, at: SystemTime) -> TraceId {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // The id has room for 32 bits of seconds, which lasts until 2106.
        let epoch = u128::from(seconds & u64::from(u32::MAX)) << 96;
        let random = u128::from_be_bytes(self.0.new_trace_id().to_bytes()) & (u128::MAX >> 32);
        TraceId::from(epoch | random.max(1))
    }
}

impl IdGenerator for EpochIds {
    fn new_trace_id(&self) -> TraceId {
        self.new_trace_id_at(SystemTime::now())
    }

    fn new_span_id(&self) -> SpanId {
        let random = u64::from_be_bytes(self.0.new_span_id().to_bytes());
        SpanId::from(random.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_begin_with_the_current_second() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let id = u128::from_be_bytes(EpochIds::default().new_trace_id().to_bytes());
        let epoch = u64::try_from(id >> 96).unwrap();
        assert!((now..now + 5).contains(&epoch), "{epoch} is not {now}");
        assert_ne!(id & (u128::MAX >> 32), 0);
    }
}
