//! Panics: where they happened is known to the hook alone, what they end is known to who catches them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, ready};

use backtrace::Backtrace;
use http::{Request, Response};
use tower::{Layer, Service};

use super::events::EventLayer;
use super::exchange::Exchange;

#[cfg(panic = "abort")]
compile_error!(
    "a panic must unwind: it is answered with a 500 and reported, and neither can be done by who aborts"
);

/// A panic, as the hook saw it.
#[derive(Clone)]
pub struct PanicReport {
    /// What it said; panics with something other than text say nothing.
    pub message: String,
    /// `file:line:column` of the `panic!`.
    pub location: Option<String>,
    /// The stack, unresolved: symbols are looked up later and elsewhere.
    pub backtrace: Option<Arc<Backtrace>>,
}

impl fmt::Debug for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, location, .. } = self;
        f.debug_struct("PanicReport")
            .field("message", message)
            .field("location", location)
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// The last panic of this thread; the unwinding reaches the catcher on the same thread.
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
    /// How many of our own catchers this thread is within.
    static CATCHERS: Cell<usize> = const { Cell::new(0) };
}

/// Makes panics known to whoever catches them, and those that none of ours will catch to the log views: installs a
/// hook, once, in front of the one there is.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let report = report(info);
            if CATCHERS.get() == 0 {
                stray(&report);
            }
            LAST.with(|last| {
                if let Ok(mut last) = last.try_borrow_mut() {
                    *last = Some(report);
                }
            });
            previous(info);
        }));
    });
}

/// A panic that no request is answered for, though it may work for one. It leads where `tracing` does, but is no event
/// of it: the panic may have happened within the subscriber, which may hold a lock.
fn stray(report: &PanicReport) {
    let exchange = Exchange::current();
    if let Some(exchange) = &exchange {
        exchange.panicked_beside(report);
    }
    tracing::dispatcher::get_default(|dispatch| {
        if let Some(layer) = dispatch.downcast_ref::<EventLayer>() {
            layer.panicked(report, exchange.as_ref());
        }
    });
}

fn report(info: &PanicHookInfo<'_>) -> PanicReport {
    PanicReport {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Some(Arc::new(Backtrace::new_unresolved())),
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
        .to_owned()
}

/// What the hook noted of the panic that is unwinding, or has been caught, on this thread.
pub(super) fn last_report() -> PanicReport {
    let last = LAST.with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()));
    last.unwrap_or_else(|| PanicReport {
        message: "the panic hook was replaced".to_owned(),
        location: None,
        backtrace: None,
    })
}

/// Runs `f`; a panic in it becomes what is known of the panic.
pub(super) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, PanicReport> {
    CATCHERS.set(CATCHERS.get() + 1);
    // Whoever calls this drops what panicked right after, so that nothing broken is looked at again.
    let caught = panic::catch_unwind(AssertUnwindSafe(f));
    CATCHERS.set(CATCHERS.get() - 1);
    caught.map_err(|payload| {
        let report = last_report();
        // A payload may panic when it is dropped; what that panic carries is leaked, the lesser harm.
        if let Err(worse) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(worse);
        }
        report
    })
}

/// Answers a panic below it, and tells the exchange. Innermost of the telemetry's layers, so that the others
/// and CORS see an answer like any other.
#[derive(Debug, Clone, Copy)]
pub struct CatchPanicLayer<A> {
    answer: A,
}

impl<A> CatchPanicLayer<A> {
    /// `answer` makes what the client gets.
    #[must_use]
    pub fn new(answer: A) -> Self {
        Self { answer }
    }
}

impl<S, A: Clone> Layer<S> for CatchPanicLayer<A> {
    type Service = CatchPanic<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { inner, answer: self.answer.clone() }
    }
}

/// See [`CatchPanicLayer`].
#[derive(Debug, Clone)]
pub struct CatchPanic<S, A> {
    inner: S,
    answer: A,
}

impl<S, R, B, A> Service<Request<R>> for CatchPanic<S, A>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    A: Fn() -> Response<B> + Clone,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = CatchPanicFuture<S::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (inner, panicked) = match catch(|| self.inner.call(request)) {
            Ok(future) => (Some(future), None),
            Err(report) => (None, Some(report)),
        };
        CatchPanicFuture { inner, panicked, answer: self.answer.clone() }
    }
}

pin_project_lite::pin_project! {
    /// The response future of [`CatchPanic`].
    #[derive(Debug)]
    pub struct CatchPanicFuture<F, A> {
        #[pin]
        inner: Option<F>,
        panicked: Option<PanicReport>,
        answer: A,
    }
}

impl<F, B, A> Future for CatchPanicFuture<F, A>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    A: Fn() -> Response<B>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            match catch(|| inner.poll(cx)) {
                Ok(polled) => return Poll::Ready(ready!(polled)),
                Err(report) => *this.panicked = Some(report),
            }
            // A future that has panicked may panic again when it is dropped.
            if let Err(report) = catch(|| this.inner.set(None)) {
                this.panicked.get_or_insert(report);
            }
        }
        if let (Some(exchange), Some(report)) = (Exchange::current(), this.panicked.take()) {
            exchange.panicked(report);
        }
        Poll::Ready(Ok((this.answer)()))
    }
}
