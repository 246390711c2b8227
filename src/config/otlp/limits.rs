//! How much of a span is kept.

use super::number;
use crate::config::reader::{Given, Reader, Source};
use crate::config::variable::{Typed, variables};

variables! {
    OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: usize = number::limit, "-", "characters of any attribute's value";
    OTEL_ATTRIBUTE_COUNT_LIMIT: usize = number::limit, "128", "attributes of a span, an event or a link";
    OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: usize = number::limit, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "characters of an attribute's value";
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: usize = number::limit, "OTEL_ATTRIBUTE_COUNT_LIMIT", "attributes";
    OTEL_SPAN_EVENT_COUNT_LIMIT: usize = number::limit, "128", "events";
    OTEL_SPAN_LINK_COUNT_LIMIT: usize = number::limit, "128", "links";
    OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: usize = number::limit, "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "attributes of an event";
    OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: usize = number::limit, "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "attributes of a link";
}

/// What the specification sets where nobody else does.
const COUNT: usize = 128;

/// How much of a span is kept; zero keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanLimits {
    /// Characters of an attribute's value; `None` keeps all.
    pub attribute_value_length: Option<usize>,
    /// Attributes of the span.
    pub attributes: usize,
    /// Events.
    pub events: usize,
    /// Links.
    pub links: usize,
    /// Attributes of each event.
    pub event_attributes: usize,
    /// Attributes of each link.
    pub link_attributes: usize,
}

impl SpanLimits {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let length = reader.given(&OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT);
        let length = reader.given(&OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT).or(length);
        let name = OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT.variable.name;
        let attribute_value_length = reader.settle_optional(name, length, "-");
        let any = reader.given(&OTEL_ATTRIBUTE_COUNT_LIMIT);
        Self {
            attribute_value_length,
            attributes: count(reader, &OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, any),
            events: count(reader, &OTEL_SPAN_EVENT_COUNT_LIMIT, Given::Nothing),
            links: count(reader, &OTEL_SPAN_LINK_COUNT_LIMIT, Given::Nothing),
            event_attributes: count(reader, &OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, any),
            link_attributes: count(reader, &OTEL_LINK_ATTRIBUTE_COUNT_LIMIT, any),
        }
    }
}

fn count(reader: &mut Reader<'_>, row: &Typed<usize>, any: Given<usize>) -> usize {
    let given = reader.given(row).or(any);
    reader.settle(row.variable.name, given, COUNT, Source::Default, usize::to_string)
}
