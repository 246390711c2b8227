//! Which pages of other origins may read our answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::MatchedPath;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD, POST");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, if-modified-since, authorization, traceparent, tracestate, baggage, x-amzn-trace-id",
);
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("location, link, traceresponse, x-amzn-trace-id");
/// Two hours, in seconds: as long as Chrome keeps a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// The origins whose pages may read our answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, each as a browser sends it: scheme, host and port in lower case, without a slash at the end.
    List(Vec<HeaderValue>),
}

impl Origins {
    /// What `Access-Control-Allow-Origin` says to a request with these headers; `None` if it may not be there.
    fn grant(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(ANY),
            Self::List(origins) => {
                let origin = headers.get(ORIGIN)?;
                origins.iter().find(|&allowed| allowed == origin).cloned()
            }
        }
    }
}

/// Adds the CORS headers to every answer, and answers OPTIONS on every route itself.
///
/// An origin that is not allowed gets none of the headers, whatever it asks. There are no credentials: the frontend
/// sends no cookies.
#[derive(Debug, Clone)]
pub struct CorsLayer {
    origins: Arc<Origins>,
}

impl CorsLayer {
    /// CORS for these origins.
    #[must_use]
    pub fn new(origins: Origins) -> Self {
        Self { origins: Arc::new(origins) }
    }
}

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Cors { inner, origins: Arc::clone(&self.origins) }
    }
}

/// What [`CorsLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Cors<S> {
    inner: S,
    origins: Arc<Origins>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Cors<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let grant = self.origins.grant(request.headers());
        // On an unknown path OPTIONS is as lost as any other method.
        let options =
            *request.method() == Method::OPTIONS && request.extensions().get::<MatchedPath>().is_some();
        let preflight = options && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let inner = if options { None } else { Some(self.inner.call(request)) };
        CorsFuture { inner, grant, preflight }
    }
}

pin_project! {
    /// The answer to come, or where there is no one to ask, our own.
    #[derive(Debug)]
    pub struct CorsFuture<F> {
        #[pin]
        inner: Option<F>,
        grant: Option<HeaderValue>,
        preflight: bool,
    }
}

impl<F, ResBody, E> Future for CorsFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx))?,
            None => Response::new(ResBody::default()),
        };
        let headers = response.headers_mut();
        // Also where nothing is granted: a cache must not give that answer to an allowed origin.
        headers.append(VARY, BY_ORIGIN);
        if let Some(origin) = this.grant.take() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if *this.preflight {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
                headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            } else {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
            }
        }
        Poll::Ready(Ok(response))
    }
}
