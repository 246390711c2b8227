//! From the request's head to the response's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use opentelemetry::Context as TraceContext;
use pin_project_lite::pin_project;

use super::body::{EndOfBody, ObserveBody};
use super::exchange::Exchange;
use super::facts::Ending;
use super::identity::{self, TRACERESPONSE, X_AMZN_TRACE_ID};
use super::layer::content_length;
use super::record::Stage;

pin_project! {
    /// The response future of [`Observe`](super::layer::Observe).
    #[derive(Debug)]
    pub struct ObserveFuture<F> {
        #[pin]
        inner: F,
        waiting: Waiting,
        context: TraceContext,
        head_request: bool,
    }
}

/// Closes the exchange if it is dropped before there is a response: the client has left, or a layer panicked.
#[derive(Debug)]
struct Waiting(Option<Exchange>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.cut_off(Stage::Head, 0);
        }
    }
}

impl<F> ObserveFuture<F> {
    pub(super) fn new(inner: F, exchange: Exchange, context: TraceContext, head_request: bool) -> Self {
        Self { inner, waiting: Waiting(Some(exchange)), context, head_request }
    }
}

impl<F, B> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body,
{
    type Output = Result<Response<ObserveBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _attached = this.context.clone().attach();
        let Ok(response) = ready!(this.inner.poll(cx));
        let (mut head, body) = response.into_parts();
        let Some(exchange) = this.waiting.0.take() else {
            return Poll::Ready(Ok(Response::from_parts(head, ObserveBody::unobserved(body))));
        };

        sign(&mut head.headers, &exchange);
        let length = content_length(&head.headers).or_else(|| body.size_hint().exact());
        exchange.respond(&mut head, length);

        // Nobody will poll the body of these, so the head is their end.
        let bodyless = *this.head_request || is_bodyless(head.status) || body.is_end_stream();
        let end = if bodyless {
            exchange.close(Ending::Complete, 0);
            EndOfBody::default()
        } else {
            EndOfBody::new(exchange, length)
        };
        let body = ObserveBody::new(body, end, std::mem::take(this.context));
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

/// Tells the client which trace its request was, whichever backends are on.
fn sign(headers: &mut HeaderMap<HeaderValue>, exchange: &Exchange) {
    headers.insert(TRACERESPONSE, exchange.identity().trace_parent());
    headers.insert(X_AMZN_TRACE_ID, identity::amzn_root(exchange.trace_id()));
}

/// Statuses whose responses have no body, whatever the handler returned; RFC 9110 section 6.4.1.
fn is_bodyless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
