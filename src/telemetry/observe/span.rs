//! A span that a `tracing` span has opened, as OpenTelemetry's API sees it.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, Link, Span, SpanContext, Status};
use opentelemetry_sdk::trace::{SpanData, SpanLimits};

use super::collect::Outside;
use super::exchange::Exchange;

/// What is noted of a span until it ends. It does what the SDK's does, but knows where it is filed, so that nobody has
/// to look that up.
#[derive(Debug)]
pub(super) struct OpenSpan {
    context: SpanContext,
    /// `None` once it has ended. Half a kilobyte, which would be copied at every turn.
    data: Option<Box<SpanData>>,
    place: Place,
    limits: SpanLimits,
}

/// Where a span is filed when it ends.
#[derive(Clone)]
pub(super) enum Place {
    /// Under the request that it is a part of.
    Exchange(Exchange),
    /// With those that belong to no request.
    Outside(Option<Outside>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exchange(exchange) => exchange.fmt(f),
            Self::Outside(_) => f.write_str("Outside"),
        }
    }
}

impl Place {
    /// Files a span that has ended.
    pub(super) fn file(self, span: Box<SpanData>) {
        match self {
            Self::Exchange(exchange) => exchange.file(span),
            Self::Outside(Some(outside)) => outside(*span),
            Self::Outside(None) => {}
        }
    }
}

impl OpenSpan {
    /// Opens a span of which so much is known.
    pub(super) fn new(mut data: Box<SpanData>, place: Place, limits: SpanLimits) -> Self {
        let most = most(limits.max_attributes_per_span);
        data.dropped_attributes_count = beyond(data.attributes.len(), most);
        data.attributes.truncate(most);
        Self { context: data.span_context.clone(), data: Some(data), place, limits }
    }
}

/// A limit, as a length.
fn most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many of `len` find no room.
fn beyond(len: usize, most: usize) -> u32 {
    u32::try_from(len.saturating_sub(most)).unwrap_or(u32::MAX)
}

impl Span for OpenSpan {
    fn add_event_with_timestamp<T: Into<Cow<'static, str>>>(
        &mut self,
        name: T,
        timestamp: SystemTime,
        mut attributes: Vec<KeyValue>,
    ) {
        let Some(SpanData { events, .. }) = self.data.as_deref_mut() else { return };
        if events.events.len() < most(self.limits.max_events_per_span) {
            let most = most(self.limits.max_attributes_per_event);
            let dropped = beyond(attributes.len(), most);
            attributes.truncate(most);
            if events.events.is_empty() {
                // Most spans have one, and room for more would go through memory all the same.
                events.events.reserve_exact(1);
            }
            events.events.push(Event::new(name, timestamp, attributes, dropped));
        } else {
            events.dropped_count += 1;
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        self.data.is_some()
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        let Some(data) = &mut self.data else { return };
        if data.attributes.len() < most(self.limits.max_attributes_per_span) {
            data.attributes.push(attribute);
        } else {
            data.dropped_attributes_count += 1;
        }
    }

    fn set_status(&mut self, status: Status) {
        // Ok is final, and an error is graver than nothing: that is the order of the type.
        if let Some(data) = &mut self.data
            && status > data.status
        {
            data.status = status;
        }
    }

    fn update_name<T: Into<Cow<'static, str>>>(&mut self, name: T) {
        if let Some(data) = &mut self.data {
            data.name = name.into();
        }
    }

    fn add_link(&mut self, span_context: SpanContext, mut attributes: Vec<KeyValue>) {
        let Some(data) = &mut self.data else { return };
        if data.links.links.len() < most(self.limits.max_links_per_span) {
            let most = most(self.limits.max_attributes_per_link);
            let dropped = beyond(attributes.len(), most);
            attributes.truncate(most);
            data.links.links.push(Link::new(span_context, attributes, dropped));
        } else {
            data.links.dropped_count += 1;
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        if let Some(mut data) = self.data.take() {
            data.end_time = timestamp;
            // The place is not needed any more, and holds what must go.
            std::mem::replace(&mut self.place, Place::Outside(None)).file(data);
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        // Mostly it has ended, and nobody needs to look at the clock.
        if self.is_recording() {
            self.end();
        }
    }
}
