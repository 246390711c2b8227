//! How much of a request is too much.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::error::{Error, Problem, Result};

/// The longest path with query, in bytes.
const MAX_TARGET: usize = 16 * 1024;
/// The most that all names and values of headers may come to, in bytes.
const MAX_HEADERS: usize = 64 * 1024;
/// The longest body, in bytes: many times the longest message, however it is escaped.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How much of a body is read only to be thrown away, in bytes.
const MAX_DRAINED: usize = 1024 * 1024;

/// Answers 414 and 431 where the address or the headers are too long.
///
/// The server underneath has limits of its own, further out, and its answers there have no body.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitsLayer;

impl<S> Layer<S> for LimitsLayer {
    type Service = Limits<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limits { inner }
    }
}

/// What [`LimitsLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Limits<S> {
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Limits<S>
where
    S: Service<http::Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = LimitsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let kind = if target > MAX_TARGET {
            Kind::TooMuch { problem: Problem::UriTooLong, message: "The path with its query is too long." }
        } else if len(request.headers()) > MAX_HEADERS {
            Kind::TooMuch { problem: Problem::HeadersTooLarge, message: "The headers are too long together." }
        } else {
            Kind::Within { inner: self.inner.call(request) }
        };
        LimitsFuture { kind }
    }
}

fn len(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

pin_project! {
    /// The answer to come, or where the request is too much, our own.
    #[derive(Debug)]
    pub struct LimitsFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<F> {
        Within { #[pin] inner: F },
        TooMuch { problem: Problem, message: &'static str },
    }
}

impl<F, E> Future for LimitsFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::Within { inner } => inner.poll(cx),
            // Made here, not in `call`: the exchange is current only while we are polled.
            KindProjection::TooMuch { problem, message } => Poll::Ready(Ok(problem.answer(message))),
        }
    }
}

/// The whole body, if it is not too long.
///
/// A body that is too long is drained as far as is reasonable before the answer: most clients read only when they
/// have sent everything, and would see a broken connection instead.
pub(crate) async fn read_body(request: Request, most: usize) -> Result<Bytes> {
    let too_long = || Error::payload_too_large(format!("The body is longer than {most} bytes."));
    let asks_first = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    let declared = body.size_hint().lower();
    let limit = if asks_first { most } else { most.max(MAX_DRAINED) };
    if usize::try_from(declared).is_ok_and(|declared| declared > limit) {
        return Err(too_long());
    }
    match Limited::new(&mut body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let mut drained = 0;
            while drained < MAX_DRAINED
                && let Some(Ok(frame)) = body.frame().await
            {
                drained += frame.data_ref().map_or(0, Bytes::len);
            }
            Err(too_long())
        }
        Err(_) => Err(Error::bad_request("The body could not be read to its end.")),
    }
}
