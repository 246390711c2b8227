//! An answer in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use http::Request;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service};

use super::error::Problem;
use crate::telemetry::observe::Fault;

/// Answers 503 where the head of the answer takes too long, and gives up on the handler.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    limit: Duration,
}

impl TimeoutLayer {
    /// Gives every request `limit` to be answered.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout { inner, limit: self.limit }
    }
}

/// What [`TimeoutLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limit: Duration,
}

impl<S, B> Service<Request<B>> for Timeout<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        TimeoutFuture { inner: self.inner.call(request), limit: self.limit, sleep: None }
    }
}

pin_project! {
    /// The answer, or 503.
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: F,
        limit: Duration,
        // Most handlers answer when first polled; only the others need a timer.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep(*this.limit)));
        }
        match this.sleep.as_pin_mut().map(|sleep| sleep.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Ok(too_late(*this.limit))),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

/// The handler had not answered when its time was up.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct RequestTimeout(Duration);

fn too_late(limit: Duration) -> Response {
    let mut response = Problem::Timeout.answer("This took too long; it may work if tried again.");
    response.extensions_mut().insert(Fault::capture(&RequestTimeout(limit)));
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use axum::body::Body;
    use tokio::time::Instant;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_when_the_time_is_up_and_not_before() {
        let start = Instant::now();
        let hangs = service_fn(|_: Request<Body>| pending::<Result<Response, Infallible>>());
        let service = TimeoutLayer::new(Duration::from_secs(30)).layer(hangs);
        let Ok(response) = service.oneshot(Request::new(Body::empty())).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.extensions().get::<Fault>().is_some());
    }
}
