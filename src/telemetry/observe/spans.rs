//! `tracing`'s spans, filed under their exchange.
//!
//! The usual way is a registry for `tracing`, a layer that turns its spans into the SDK's, and a processor that is told
//! of their ends: three books about one span, and a third of what it cost to observe a request. Here the book is kept
//! once. What is inside of a span still sees it by OpenTelemetry's API: it is the current one of its context.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, ContextGuard};
use opentelemetry_sdk::trace::{
    IdGenerator as _, SamplingDecision, ShouldSample as _, SpanData, SpanEvents, SpanLimits, SpanLinks,
};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

use super::clock::{self, Moment};
use super::collect::{Outside, RecordAll, number};
use super::conventions;
use super::exchange::Exchange;
use super::fields::SpanFields;
use super::identity::EpochIds;
use super::shards::Shards;
use super::span::{OpenSpan, Place};

/// The subscriber at the bottom: it opens a span of OpenTelemetry's for each of `tracing`'s. Cloning shares it.
#[derive(Clone)]
pub struct Spans(Arc<Inner>);

struct Inner {
    wanted: fn(&Metadata<'_>) -> bool,
    ids: EpochIds,
    sampler: RecordAll,
    limits: SpanLimits,
    outside: Option<Outside>,
    open: Shards<Arc<Open>>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").field("open", &self.0.open.len()).finish_non_exhaustive()
    }
}

/// A span that somebody has a handle of.
struct Open {
    metadata: &'static Metadata<'static>,
    /// What is current inside of it; `None` where only a filter of the console's has asked for the span.
    context: Option<Context>,
    handles: AtomicUsize,
    opened: Moment,
    /// When it was left last, in nanoseconds after that, by the stopwatch; 0 if it never was.
    left: AtomicU64,
}

/// A span that a thread is in.
struct Entered {
    id: Id,
    /// Where it is open: a thread may be in spans of several subscribers, one after the other.
    of: usize,
    open: Arc<Open>,
    attached: Option<ContextGuard>,
}

thread_local! {
    /// The spans that this thread is in, innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

impl Spans {
    /// Files spans that are `wanted`, and those of no request with `outside`.
    #[must_use]
    pub fn new(
        wanted: fn(&Metadata<'_>) -> bool,
        sampler: RecordAll,
        limits: SpanLimits,
        outside: Option<Outside>,
    ) -> Self {
        let (ids, open) = (EpochIds::default(), Shards::default());
        Self(Arc::new(Inner { wanted, ids, sampler, limits, outside, open }))
    }

    /// Whether spans, and events within spans, of this kind are filed.
    pub(super) fn wants(&self, metadata: &Metadata<'_>) -> bool {
        (self.0.wanted)(metadata)
    }

    /// Which one this is, among those that share a thread.
    fn own(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// What `see` finds in one of the spans that this thread is in, innermost first. It must not enter or leave any.
    fn entered<T>(&self, see: impl FnMut(&Entered) -> Option<T>) -> Option<T> {
        let own = self.own();
        let find = |all: &RefCell<Vec<Entered>>| {
            all.borrow().iter().rev().filter(|entered| entered.of == own).find_map(see)
        };
        ENTERED.try_with(find).ok().flatten()
    }

    /// Shows `see` the context of the span that an event belongs to, where there is one that is filed. It must not enter
    /// or leave spans.
    pub(super) fn with_context_of<T>(&self, event: &Event<'_>, see: impl FnOnce(&Context) -> T) -> Option<T> {
        if event.is_contextual() {
            let mut see = Some(see);
            return self.entered(|entered| {
                let context = entered.open.context.as_ref()?;
                see.take().map(|see| see(context))
            });
        }
        self.find(event.parent()?)?.context.as_ref().map(see)
    }

    /// Shows `see` a span that this thread is in: there it is asked for mostly, and it takes no lock.
    fn here<T>(&self, id: &Id, see: impl FnOnce(&Arc<Open>) -> T) -> Option<T> {
        let mut see = Some(see);
        self.entered(|entered| if entered.id == *id { Some(see.take()?(&entered.open)) } else { None })
    }

    /// Shows `see` a span, wherever it is. It must not enter or leave any.
    fn with<T>(&self, id: &Id, see: impl FnOnce(&Open) -> T) -> Option<T> {
        let mut see = Some(see);
        let seen = self.here(id, |open| see.take().map(|see| see(open)));
        seen.unwrap_or_else(|| Some(see?(&*self.find(id)?)))
    }

    fn find(&self, id: &Id) -> Option<Arc<Open>> {
        self.0.open.of(id.into_u64()).get(&id.into_u64()).cloned()
    }

    /// Shows `see` the context that a span is opened in: its explicit parent's, or what is current. It must not enter or leave
    /// spans.
    fn with_parent_of<T>(&self, attributes: &Attributes<'_>, see: impl FnOnce(&Context) -> T) -> T {
        let parent = attributes.parent().and_then(|parent| self.find(parent));
        match parent.as_ref().and_then(|open| open.context.as_ref()) {
            Some(parent) => see(parent),
            None if attributes.is_contextual() => Context::map_current(see),
            None => see(&Context::new()),
        }
    }

    /// Opens a span, and makes the context that holds inside.
    fn open(&self, id: SpanId, attributes: &Attributes<'_>, start: SystemTime) -> Context {
        let name = attributes.metadata().name();
        let mut fields = SpanFields::with_capacity(attributes.fields().len());
        // The caller's code may run here, so that nothing is borrowed yet.
        attributes.record(&mut fields);
        self.with_parent_of(attributes, |parent| self.open_in(parent, id, name, fields, start))
    }

    /// Opens a span of OpenTelemetry's, and makes the context that holds inside.
    fn open_in(
        &self,
        parent: &Context,
        id: SpanId,
        name: &'static str,
        fields: SpanFields,
        start_time: SystemTime,
    ) -> Context {
        let name = fields.name.map_or(Cow::Borrowed(name), Cow::Owned);
        let kind = fields.kind.unwrap_or(SpanKind::Internal);
        let span_context = self.span_context(id, parent, &name, &kind);
        let above = parent.span();
        let above = above.span_context();
        let data = Box::new(SpanData {
            span_context,
            parent_span_id: above.span_id(),
            parent_span_is_remote: above.is_valid() && above.is_remote(),
            span_kind: kind,
            name,
            start_time,
            end_time: start_time,
            attributes: fields.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: fields.status.unwrap_or(Status::Unset),
            instrumentation_scope: conventions::SCOPE.clone(),
        });
        let exchange = parent.get::<Exchange>().cloned();
        let place = exchange.map_or_else(|| Place::Outside(self.0.outside.clone()), Place::Exchange);
        parent.with_span(OpenSpan::new(data, place, self.0.limits))
    }

    /// The ids of a new span. Within this process one decision holds for the whole trace: each sampler that can be
    /// configured would come to its parent's.
    fn span_context(&self, id: SpanId, parent: &Context, name: &str, kind: &SpanKind) -> SpanContext {
        let above = parent.span();
        let above = above.span_context();
        if above.is_valid() && !above.is_remote() {
            let (flags, state) = (above.trace_flags(), above.trace_state().clone());
            return SpanContext::new(above.trace_id(), id, flags, false, state);
        }
        let trace_id = if above.is_valid() { above.trace_id() } else { self.0.ids.new_trace_id() };
        let result = self.0.sampler.should_sample(Some(parent), trace_id, name, kind, &[], &[]);
        let flags = above.trace_flags().with_sampled(result.decision == SamplingDecision::RecordAndSample);
        SpanContext::new(trace_id, id, flags, false, result.trace_state)
    }
}

impl Open {
    fn add(&self, fields: SpanFields) {
        let Some(context) = &self.context else { return };
        let span = context.span();
        if let Some(name) = fields.name {
            span.update_name(name);
        }
        if let Some(status) = fields.status {
            span.set_status(status);
        }
        span.set_attributes(fields.attributes);
    }

    fn leave(&self) {
        let after = u64::try_from(self.opened.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.left.store(after.max(1), Ordering::Relaxed);
    }

    /// Ends when it was left last: what keeps a handle of a span is not a part of it.
    fn end(&self) {
        let Some(context) = &self.context else { return };
        match self.left.load(Ordering::Relaxed) {
            0 => context.span().end(),
            left => context.span().end_with_timestamp(self.opened.1 + Duration::from_nanos(left)),
        }
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        // The layer above has decided.
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let (id, metadata) = (self.0.ids.new_span_id(), attributes.metadata());
        let (is_suppressed, by_request) = self.with_parent_of(attributes, |parent| {
            (parent.is_telemetry_suppressed(), parent.get::<Exchange>().map(Exchange::moment))
        });
        // Within a request by its clock, which all times of its record go by.
        let opened = by_request.unwrap_or_else(clock::now);
        let is_filed = self.wants(metadata) && !is_suppressed;
        let context = is_filed.then(|| self.open(id, attributes, opened.1));
        let id = number(id);
        let (handles, left) = (AtomicUsize::new(1), AtomicU64::new(0));
        self.0.open.of(id).insert(id, Arc::new(Open { metadata, context, handles, opened, left }));
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = SpanFields::with_capacity(values.len());
        values.record(&mut fields);
        self.with(id, |open| open.add(fields));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        let context = |id: &Id| self.find(id)?.context.clone();
        if let (Some(own), Some(other)) = (context(id), context(follows)) {
            own.span().add_link(other.span().span_context().clone(), Vec::new());
        }
    }

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        let Some(open) = self.find(id) else { return };
        let attached = open.context.clone().map(Context::attach);
        let entered = Entered { id: id.clone(), of: self.own(), open, attached };
        ENTERED.try_with(|all| all.borrow_mut().push(entered)).ok();
    }

    fn exit(&self, id: &Id) {
        let left = ENTERED.try_with(|all| {
            let mut all = all.borrow_mut();
            let place = all.iter().rposition(|entered| entered.of == self.own() && entered.id == *id)?;
            Some(all.remove(place))
        });
        if let Ok(Some(Entered { open, attached, .. })) = left {
            open.leave();
            drop(attached);
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.with(id, |open| open.handles.fetch_add(1, Ordering::Relaxed));
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let number = id.into_u64();
        let was_last = |open: &Arc<Open>| open.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        let closed = match self.here(&id, was_last) {
            Some(false) => None,
            Some(true) => self.0.open.of(number).remove(&number),
            None => {
                let mut shard = self.0.open.of(number);
                if shard.get(&number).is_some_and(was_last) { shard.remove(&number) } else { None }
            }
        };
        // Filing tells views, which must not find the lock held.
        closed.map(|open| open.end()).is_some()
    }

    fn current_span(&self) -> Current {
        let innermost = self.entered(|entered| Some(Current::new(entered.id.clone(), entered.open.metadata)));
        innermost.unwrap_or_else(Current::none)
    }
}

#[cfg(test)]
mod tests;
