//! Spans of no request, which are handed to whoever takes those, on several threads and under several subscribers.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use http::HeaderMap;
use opentelemetry_sdk::trace::Sampler;
use tracing::dispatcher::{self, with_default};
use tracing::{Dispatch, Span, info, info_span};
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};

use super::super::identity::Identity;
use super::super::record::{Opening, RequestFacts};
use super::*;

/// A subscriber, and the names of the spans that it has filed.
#[derive(Clone)]
struct Bench {
    dispatch: Dispatch,
    spans: Spans,
    filed: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let filed = Arc::new(Mutex::new(Vec::new()));
        let outside: Outside = {
            let filed = Arc::clone(&filed);
            Arc::new(move |span| filed.lock().unwrap().push(span.name.into_owned()))
        };
        let sampler = RecordAll(Sampler::AlwaysOn);
        let spans = Spans::new(|_| true, sampler, SpanLimits::default(), Some(outside));
        Self { dispatch: Dispatch::new(spans.clone()), spans, filed }
    }

    fn within<T>(&self, run: impl FnOnce() -> T) -> T {
        with_default(&self.dispatch, run)
    }

    /// The same on a thread of its own, to its end.
    fn elsewhere<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(|| self.within(run)).join().unwrap())
    }

    fn filed(&self) -> Vec<String> {
        self.filed.lock().unwrap().clone()
    }

    fn open(&self) -> usize {
        self.spans.0.open.len()
    }
}

#[test]
fn a_span_that_goes_from_thread_to_thread_is_filed_once_when_the_last_lets_go() {
    let bench = Bench::new();
    let span = bench.within(|| info_span!("outer"));
    bench.elsewhere(|| span.in_scope(|| info_span!("inner").in_scope(|| {})));
    assert_eq!(bench.filed(), ["inner"]);
    let other = span.clone();
    bench.elsewhere(move || drop(other));
    assert_eq!(bench.open(), 1);
    bench.elsewhere(move || drop(span));
    assert_eq!((bench.filed(), bench.open()), (vec!["inner".to_owned(), "outer".to_owned()], 0));
}

#[test]
fn a_handle_that_is_taken_inside_keeps_the_span_open_elsewhere() {
    let bench = Bench::new();
    let kept = bench.within(|| info_span!("kept").in_scope(Span::current));
    assert_eq!((bench.filed(), bench.open()), (Vec::new(), 1));
    bench.elsewhere(move || kept.in_scope(|| drop(kept.clone())));
    assert_eq!((bench.filed(), bench.open()), (vec!["kept".to_owned()], 0));
}

#[test]
fn a_span_is_nothing_to_another_subscriber_on_its_thread() {
    let [first, second] = [Bench::new(), Bench::new()];
    let seen = first.within(|| {
        let span = info_span!("first");
        let _inside = span.enter();
        second.within(|| {
            let current = Span::current();
            let id = dispatcher::get_default(|dispatch| dispatch.current_span().id().cloned());
            (current, id)
        })
    });
    assert!(seen.1.is_none(), "{seen:?}");
    drop(seen);
    assert_eq!((first.filed(), first.open()), (vec!["first".to_owned()], 0));
    assert_eq!((second.filed(), second.open()), (Vec::new(), 0));
}

#[test]
fn how_long_a_span_took_is_by_the_stopwatch() {
    const AGO: Duration = Duration::from_millis(20);
    let took = Arc::new(Mutex::new(Vec::new()));
    let outside: Outside = {
        let took = Arc::clone(&took);
        Arc::new(move |span| {
            took.lock().unwrap().push(span.end_time.duration_since(span.start_time).unwrap())
        })
    };
    let spans = Spans::new(|_| true, RecordAll(Sampler::AlwaysOn), SpanLimits::default(), Some(outside));
    let metadata = with_default(&Dispatch::new(spans.clone()), || info_span!("any").metadata().unwrap());
    // The system's time is set anew while the span is open: it began in 1970.
    let opened = (Instant::now().checked_sub(AGO).unwrap(), SystemTime::UNIX_EPOCH);
    let fields = SpanFields::with_capacity(0);
    let context = spans.open_in(&Context::new(), SpanId::from(7), "span", fields, opened.1);
    let (handles, left) = (AtomicUsize::new(1), AtomicU64::new(0));
    let open = Open { metadata, context: Some(context), handles, opened, left };
    open.leave();
    open.end();
    let took = took.lock().unwrap();
    assert!(matches!(took[..], [_, took] if (AGO..Duration::from_secs(86_400)).contains(&took)), "{took:?}");
}

/// A request that came at `started` by its clock, so long `ago`.
fn request(started: SystemTime, ago: Duration) -> Exchange {
    let request = RequestFacts::get("/");
    let identity = Identity::extract(&HeaderMap::new(), &[], &EpochIds::default(), started);
    let clock = Instant::now().checked_sub(ago).unwrap();
    Exchange::open(Opening { identity, request, started }, clock, false, true)
}

#[test]
fn within_a_request_a_span_opens_by_the_requests_clock() {
    const AGO: Duration = Duration::from_millis(20);
    // The system's time has been set anew since the request came: that was in 1970.
    let inside = Context::new().with_value(request(SystemTime::UNIX_EPOCH, AGO));
    let bench = Bench::new();
    let spans = bench.within(|| {
        let attached = inside.attach();
        let current = info_span!("current");
        drop(attached);
        let below = info_span!(parent: &current, "below");
        [current, below, info_span!("outside"), info_span!(parent: None, "root")]
    });
    let opened = spans.each_ref().map(|span| bench.spans.find(&span.id().unwrap()).unwrap().opened.1);
    let of_request = |time: SystemTime| {
        let after = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        (AGO..Duration::from_secs(86_400)).contains(&after)
    };
    assert_eq!(opened.map(of_request), [true, true, false, false], "{opened:?}");
}

/// Is not to be written.
struct Loud;

impl fmt::Debug for Loud {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("nobody wants to know")
    }
}

#[test]
fn what_is_suppressed_is_not_even_looked_at() {
    let bench = Bench::new();
    bench.within(|| {
        let _quiet = Context::enter_telemetry_suppressed_scope();
        info_span!("quiet", value = ?Loud).in_scope(|| {});
    });
    assert_eq!((bench.filed(), bench.open()), (Vec::new(), 0));
}

/// Notes the span that each event belongs to.
struct Belongs(Spans, Arc<Mutex<Vec<Option<SpanId>>>>);

impl<S: Subscriber> Layer<S> for Belongs {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let id = self.0.with_context_of(event, |context| context.span().span_context().span_id());
        self.1.lock().unwrap().push(id);
    }
}

#[test]
fn an_event_belongs_to_the_innermost_span_that_is_filed() {
    let sampler = RecordAll(Sampler::AlwaysOn);
    let spans = Spans::new(|metadata| metadata.name() != "unfiled", sampler, SpanLimits::default(), None);
    let found = Arc::new(Mutex::new(Vec::new()));
    let belongs = Belongs(spans.clone(), Arc::clone(&found));
    let outer = with_default(&Dispatch::new(spans.with(belongs)), || {
        info!("outside");
        let outer = info_span!("outer");
        outer.in_scope(|| info_span!("unfiled").in_scope(|| info!("inside")));
        info!(parent: &outer, "explicitly");
        SpanId::from(outer.id().unwrap().into_u64())
    });
    assert_eq!(*found.lock().unwrap(), [None, Some(outer), Some(outer)]);
}
