//! Outgoing HTTP, seen as client spans and with the trace handed on.

use std::error::Error;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};
use reqwest::ResponseBuilderExt as _;
use reqwest::{Request, Response, Url};

use super::Telemetry;
use super::observe::{
    AmznTraceId, BAGGAGE, Exchange, Propagator, TRACEPARENT, TRACESTATE, X_AMZN_TRACE_ID, conventions,
    redact, trace_parent,
};

/// The one client for calls that the application makes.
///
/// A call is a client span by OpenTelemetry's conventions, which ends with the response's body, and carries the
/// trace in the headers of the configured propagators. Calls that carry telemetry do not go through it: observing
/// them would make more telemetry. Nothing is observed in a context whose telemetry is suppressed.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    tracer: SdkTracer,
    propagators: Vec<Propagator>,
    known_methods: Vec<String>,
}

impl Client {
    /// Observes the calls made through `http`.
    #[must_use]
    pub fn new(http: reqwest::Client, telemetry: &Telemetry) -> Self {
        let settings = telemetry.observe.settings();
        Self {
            http,
            tracer: telemetry.tracer_provider().tracer(env!("CARGO_PKG_NAME")),
            propagators: settings.propagators.clone(),
            known_methods: settings.known_methods.clone(),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Those of [`reqwest::Client::execute`]. An answer with an error's status is an answer.
    pub async fn execute(&self, mut request: Request) -> reqwest::Result<Response> {
        let parent = Context::current();
        if parent.is_telemetry_suppressed() {
            return self.http.execute(request).await;
        }
        let mut span = self.start(&request, &parent);
        self.inject(request.headers_mut(), &span, &parent);
        match self.http.execute(request).await {
            Ok(response) => Ok(answered(response, span)),
            Err(error) => {
                fail(&mut span, error_class(&error));
                Err(error)
            }
        }
    }

    fn start(&self, request: &Request, parent: &Context) -> Span {
        let (method, url) = (request.method().as_str(), request.url());
        let known = self.known_methods.iter().any(|known| known == method);
        let mut attributes = vec![
            KeyValue::new("http.request.method", if known { method.to_owned() } else { "_OTHER".to_owned() }),
            KeyValue::new("url.full", shown(url)),
        ];
        if !known {
            attributes.push(KeyValue::new("http.request.method_original", method.to_owned()));
        }
        attributes.extend(url.host_str().map(|host| KeyValue::new("server.address", host.to_owned())));
        attributes
            .extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
        self.tracer
            .span_builder(if known { method.to_owned() } else { "HTTP".to_owned() })
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, parent)
    }

    /// Hands the trace on: each header with its own decision about sampling.
    fn inject(&self, headers: &mut HeaderMap, span: &Span, context: &Context) {
        let ids = span.span_context();
        for propagator in &self.propagators {
            match propagator {
                Propagator::TraceContext => {
                    headers
                        .insert(TRACEPARENT, trace_parent(ids.trace_id(), ids.span_id(), ids.is_sampled()));
                    insert(headers, TRACESTATE, &ids.trace_state().header());
                }
                Propagator::Amzn => {
                    let mut value = format!("Root={};Parent={}", AmznTraceId(ids.trace_id()), ids.span_id());
                    let exchange = context.get::<Exchange>();
                    if let Some(sampled) = exchange.and_then(Exchange::amzn_sampled) {
                        value.push_str(if sampled { ";Sampled=1" } else { ";Sampled=0" });
                    }
                    let incoming = exchange.and_then(|exchange| exchange.identity().amzn.as_ref());
                    for (key, extra) in incoming.map_or(&[][..], |incoming| &incoming.extra) {
                        value.extend([";", key, "=", extra]);
                    }
                    insert(headers, X_AMZN_TRACE_ID, &value);
                }
                Propagator::Baggage => {
                    let mut carrier = std::collections::HashMap::new();
                    BaggagePropagator::new().inject_context(context, &mut carrier);
                    insert(headers, BAGGAGE, carrier.get(BAGGAGE.as_str()).map_or("", String::as_str));
                }
            }
        }
    }
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// The URL without its secrets.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL that cannot have userinfo has none to hide.
    if !url.username().is_empty() {
        url.set_username(redact::REDACTED).ok();
    }
    if url.password().is_some() {
        url.set_password(Some(redact::REDACTED)).ok();
    }
    if let Some(query) = url.query().map(|query| redact::query(query).into_owned()) {
        url.set_query(Some(&query));
    }
    url.into()
}

fn fail(span: &mut Span, class: String) {
    span.set_attribute(KeyValue::new("error.type", class));
    span.set_status(Status::error(""));
}

/// A low-cardinality word for what kept a call from being answered.
fn error_class(error: &reqwest::Error) -> String {
    let class = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_redirect() {
        "redirect"
    } else {
        std::any::type_name_of_val(error)
    };
    class.to_owned()
}

/// Notes the answer's head, and has the span end with its body.
fn answered(response: Response, mut span: Span) -> Response {
    let status = response.status();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_client_error() || status.is_server_error() {
        fail(&mut span, status.as_u16().to_string());
    }
    if let Some(peer) = response.remote_addr() {
        span.set_attribute(KeyValue::new("network.peer.address", peer.ip().to_string()));
        span.set_attribute(KeyValue::new("network.peer.port", i64::from(peer.port())));
    }
    let version = conventions::protocol_version(response.version());
    span.set_attribute(KeyValue::new("network.protocol.version", version));

    let url = response.url().clone();
    let (mut head, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    // The conversion has lost the URL, and only a builder gives it back.
    if let Ok(carrier) = http::Response::builder().url(url).body(()) {
        head.extensions.extend(carrier.into_parts().0.extensions);
    }
    // Nobody polls a body that is over before it begins.
    let span = if body.is_end_stream() { None } else { Some(span) };
    let body = SpannedBody { inner: body, span };
    http::Response::from_parts(head, reqwest::Body::wrap(body)).into()
}

/// A response body; its span ends with it, or when it is dropped.
struct SpannedBody {
    inner: reqwest::Body,
    span: Option<Span>,
}

impl Body for SpannedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.inner.is_end_stream() => {}
            Some(Ok(_)) | None => drop(self.span.take()),
            Some(Err(error)) => {
                if let Some(mut span) = self.span.take() {
                    fail(&mut span, error_class(error));
                }
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
