//! One request in flight: what is noted of it until it is over, and who wants to know then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use http::response;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData};
use uuid::Uuid;

use super::clock::Moment;
use super::enlist::Views;
use super::facts::{Ending, Facts};
use super::fault::Fault;
use super::identity::{Identity, Sampled};
use super::later;
use super::log::LogEvent;
use super::panic::{self, PanicReport, catch};
use super::record::{Opening, RequestFacts, RequestRecord, Stage, Verdict};
use super::view::View;

/// One request in flight. Cloning shares it; the first to close it decides how it ended.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    opening: Arc<Opening>,
    clock: Instant,
    excluded: bool,
    tell_at_once: bool,
    state: Mutex<State>,
    /// One more than what was decided about tracing; 0 where nothing was.
    amzn_sampled: AtomicU8,
    /// Whether somebody reports failures.
    reporting: AtomicBool,
    error_id: OnceLock<Uuid>,
    record: OnceLock<Arc<RequestRecord>>,
}

/// What changes, behind one lock: a request takes it a dozen times.
#[derive(Default)]
struct State {
    facts: Facts,
    audience: Audience,
}

/// The views, and what they have not been told yet.
#[derive(Default)]
struct Audience {
    views: Vec<Box<dyn View>>,
    stragglers: VecDeque<Box<SpanData>>,
    /// Whether somebody tells them, or has put it off: whatever comes meanwhile is theirs to tell as well.
    busy: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("trace_id", &self.trace_id()).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Opens an exchange whose head had been read at `clock`; an `excluded` one is nobody's to view. Where views are not
    /// to be told at once, they are told when the thread has nothing else to do.
    pub(super) fn open(opening: Opening, clock: Instant, excluded: bool, tell_at_once: bool) -> Self {
        Self(Arc::new(Inner {
            opening: Arc::new(opening),
            clock,
            excluded,
            tell_at_once,
            state: Mutex::default(),
            amzn_sampled: AtomicU8::new(0),
            reporting: AtomicBool::new(false),
            error_id: OnceLock::new(),
            record: OnceLock::new(),
        }))
    }

    /// The exchange that the current task works for, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(|context| context.get::<Self>().cloned())
    }

    /// The trace id that every backend knows this request by.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.identity().trace_id
    }

    /// The server span's id.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.identity().span_id
    }

    /// The request's ids.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.opening.identity
    }

    /// What was asked, by whom.
    #[must_use]
    pub fn request(&self) -> &RequestFacts {
        &self.0.opening.request
    }

    /// When the request's head had been read.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.0.opening.started
    }

    /// The moment, by the clock that all times of the record go by.
    pub(super) fn moment(&self) -> Moment {
        let now = Instant::now();
        (now, self.started() + now.saturating_duration_since(self.0.clock))
    }

    /// Notes what was decided about tracing this request, for the `Sampled=` of `X-Amzn-Trace-Id` in the calls that
    /// it makes; what is noted first stands.
    pub fn set_amzn_sampled(&self, sampled: bool) {
        let order = Ordering::Relaxed;
        self.0.amzn_sampled.compare_exchange(0, 1 + u8::from(sampled), order, order).ok();
    }

    /// What `Sampled=` says in the calls that this request makes: the decision, else what the caller said.
    #[must_use]
    pub fn amzn_sampled(&self) -> Option<bool> {
        let decided = self.0.amzn_sampled.load(Ordering::Relaxed).checked_sub(1).map(|sampled| sampled == 1);
        decided.or_else(|| match self.identity().amzn.as_ref()?.sampled? {
            Sampled::Yes => Some(true),
            Sampled::No => Some(false),
            Sampled::Ask => None,
        })
    }

    /// Names the user for whom the request is made (`enduser.id`).
    pub fn set_user(&self, user: impl Into<String>) {
        let user = user.into();
        self.state().facts.user = Some(user);
    }

    /// Adds an attribute to the server span, or replaces one; no-op once the exchange is over.
    pub fn set_attribute(&self, key: &'static str, value: impl Into<Value>) {
        // Before the lock is taken: to convert it is the caller's code, which may log.
        let attribute = KeyValue::new(key, value);
        self.state().facts.set_attribute(attribute);
    }

    /// Whether a view will be told of it.
    #[must_use]
    pub fn is_viewed(&self) -> bool {
        !self.0.excluded
    }

    /// Whether it is over: its record is drawn, and nothing is filed in it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.record.get().is_some()
    }

    /// Enlists views behind those that are there.
    pub(super) fn enlist(&self, mut views: Views) {
        if views.all.is_empty() {
            return;
        }
        let known = &mut self.state().audience.views;
        if known.is_empty() {
            *known = views.all;
        } else {
            known.append(&mut views.all);
        }
    }

    /// Notes that somebody reports failures, so that those of this request get an id.
    pub fn expect_reports(&self) {
        self.0.reporting.store(true, Ordering::Relaxed);
    }

    /// The id of the report about this request's failure; `None` where nobody reports. To ask for it is to fail: the
    /// request is reported under it, whatever comes after.
    #[must_use]
    pub fn error_id(&self) -> Option<Uuid> {
        self.0.reporting.load(Ordering::Relaxed).then(|| *self.0.error_id.get_or_init(new_error_id))
    }

    /// For what happens when the exchange is over: an id for a report of its own, and the record. `None` before the
    /// end, where nobody reports, and where the request has been reported, which is done once.
    #[must_use]
    pub fn late_report(&self) -> Option<(Uuid, Arc<RequestRecord>)> {
        let record = self.0.record.get()?;
        let (id, reporting) = (new_error_id(), self.0.reporting.load(Ordering::Relaxed));
        (reporting && self.0.error_id.set(id).is_ok()).then(|| (id, Arc::clone(record)))
    }

    /// Notes why the request fails; what is noted first stands.
    pub fn failed(&self, fault: Fault) {
        self.state().facts.fault.get_or_insert(fault);
    }

    pub(super) fn panicked(&self, report: PanicReport) {
        self.state().facts.panic.get_or_insert(report);
    }

    /// Notes a panic in what goes on beside the handler; one that comes too late is not in the record.
    pub(super) fn panicked_beside(&self, report: &PanicReport) {
        let facts = &mut self.state().facts;
        if !self.is_over() {
            facts.panic_beside.get_or_insert_with(|| report.clone());
        }
    }

    /// Notes the response's head, after every view may have signed it.
    pub(super) fn respond(&self, head: &mut response::Parts, content_length: Option<u64>) {
        let fault = head.extensions.remove::<Fault>();
        let mut views = {
            let State { facts, audience } = &mut *self.state();
            facts.head_after = Some(self.0.clock.elapsed());
            facts.status = Some(head.status);
            facts.response_content_length = content_length;
            if let Some(fault) = fault {
                facts.fault.get_or_insert(fault);
            }
            std::mem::take(&mut audience.views)
        };
        each(&mut views, |view| view.on_response(head));
        self.state().audience.take_back(views);
    }

    /// Files a span that has ended under this request, or hands it on where the request is over.
    pub(super) fn file(&self, span: Box<SpanData>) {
        let mut state = self.state();
        let State { facts, audience } = &mut *state;
        if self.is_over() {
            audience.stragglers.push_back(span);
            if !audience.busy {
                self.tell_stragglers(state);
            }
        } else {
            facts.file(span);
        }
    }

    /// Files a log event; one that comes too late is not in the record.
    pub(super) fn log(&self, event: &Arc<LogEvent>) {
        let facts = &mut self.state().facts;
        if !self.is_over() {
            facts.log(event);
        }
    }

    /// Ends the exchange, unless it has ended before: draws the record and tells the views.
    pub(super) fn close(self, ending: Ending, response_bytes: u64) {
        let mut state = self.state();
        if self.is_over() {
            return;
        }
        let duration = self.0.clock.elapsed();
        let mut record = state.facts.draw(&self.0.opening, duration, ending, response_bytes);
        let is_reported = record.is_reported();
        record.error_id = if is_reported { self.error_id() } else { self.0.error_id.get().copied() };
        // A failure is told before anything that follows from it.
        let at_once = self.0.tell_at_once || is_reported || record.verdict() != Verdict::Fine;
        // Set under the lock, so that a span is either in the record or a straggler.
        if self.0.record.set(Arc::new(record)).is_err() {
            return;
        }
        state.audience.busy = true;
        let views = std::mem::take(&mut state.audience.views);
        drop(state);
        let ended = Ended { exchange: self, views };
        let untold = if at_once { Some(ended) } else { later::put_off(ended) };
        if let Some(ended) = untold {
            tell_ended(vec![ended]);
        }
    }

    /// Ends it where whoever was to end it is dropped, perhaps by a panic further up.
    pub(super) fn cut_off(self, stage: Stage, response_bytes: u64) {
        if std::thread::panicking() {
            self.panicked(panic::last_report());
        }
        self.close(Ending::Dropped(stage), response_bytes);
    }

    /// Tells the views of spans that ended too late, one after the other. No lock is held meanwhile: a view may log, which
    /// files an event under this very exchange, and what it causes is told when it has returned.
    fn tell_stragglers<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        state.audience.busy = true;
        while let (Some(record), Some(span)) = (self.0.record.get(), state.audience.stragglers.pop_front()) {
            let mut views = std::mem::take(&mut state.audience.views);
            drop(state);
            each(&mut views, |view| view.on_straggler(record, &span));
            state = self.state();
            state.audience.take_back(views);
        }
        state.audience.busy = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience {
    /// What was enlisted meanwhile comes after those who were there.
    fn take_back(&mut self, mut views: Vec<Box<dyn View>>) {
        views.append(&mut self.views);
        self.views = views;
    }
}

/// A random UUID, without the system call that the crate's own takes.
#[must_use]
pub fn new_error_id() -> Uuid {
    uuid::Builder::from_random_bytes(RandomIdGenerator::default().new_trace_id().to_bytes()).into_uuid()
}

/// An exchange that is over, and the views that are to be told so.
pub(super) struct Ended {
    exchange: Exchange,
    views: Vec<Box<dyn View>>,
}

/// Tells the views of exchanges that are over, with no lock held. What one kind of view does for all of them comes
/// before the next kind: the same few thousand instructions, which then need not be fetched again for each.
pub(super) fn tell_ended(mut ended: Vec<Ended>) {
    let most = ended.iter().map(|ended| ended.views.len()).max().unwrap_or_default();
    for kind in 0..most {
        for Ended { exchange, views } in &mut ended {
            if let (Some(record), Some(view)) = (exchange.0.record.get(), views.get_mut(kind)) {
                each(std::slice::from_mut(view), |view| view.on_close(record));
            }
        }
    }
    for Ended { exchange, views } in ended {
        let mut state = exchange.state();
        state.audience.take_back(views);
        exchange.tell_stragglers(state);
    }
}

/// Calls every view; one that panics is no reason for the others not to be told, nor for the request to fail.
fn each(views: &mut [Box<dyn View>], mut call: impl FnMut(&mut dyn View)) {
    for view in views {
        if let Err(report) = catch(|| call(view.as_mut())) {
            tracing::error!(panic = ?report, "a telemetry view panicked");
        }
    }
}
