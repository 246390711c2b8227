//! When and how many spans are exported at once.

use std::time::Duration;

use super::number::{self, Millis};
use crate::config::reader::Reader;
use crate::config::variable::variables;

variables! {
    OTEL_BSP_SCHEDULE_DELAY: Millis = number::interval, "-", "milliseconds between two exports";
    OTEL_BSP_MAX_QUEUE_SIZE: usize = number::size, "-",
        "spans that wait in memory at most; it is bounded in bytes anyway";
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: usize = number::size, "-", "spans that go at once at most";
    OTEL_BSP_EXPORT_TIMEOUT: Millis = number::timeout, "-",
        "milliseconds that an export may take; 0 is no limit";
}

/// What the batches of spans are told; what is not set is for the exporter to decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The time between two exports, above zero.
    pub schedule_delay: Option<Duration>,
    /// How many spans wait at most; above zero.
    pub max_queue_size: Option<usize>,
    /// How many spans go at once at most; above zero, and not above `max_queue_size`.
    pub max_export_batch_size: Option<usize>,
    /// How long an export may take, above zero.
    pub export_timeout: Option<Duration>,
}

impl Batch {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let read = Self {
            schedule_delay: reader.find(&OTEL_BSP_SCHEDULE_DELAY).map(|Millis(delay)| delay),
            max_queue_size: reader.find(&OTEL_BSP_MAX_QUEUE_SIZE),
            max_export_batch_size: reader.find(&OTEL_BSP_MAX_EXPORT_BATCH_SIZE),
            export_timeout: reader.find(&OTEL_BSP_EXPORT_TIMEOUT).map(|Millis(timeout)| timeout),
        };
        if let (Some(queue), Some(batch)) = (read.max_queue_size, read.max_export_batch_size)
            && batch > queue
        {
            let expected = format!("at most OTEL_BSP_MAX_QUEUE_SIZE, which is {queue}");
            reader.refuse(OTEL_BSP_MAX_EXPORT_BATCH_SIZE.variable.name, format!("`{batch}`"), &expected);
        }
        read
    }
}
