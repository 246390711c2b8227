//! The outermost layer: it opens an exchange for every request, signs the answer, and sees to it that the
//! exchange is closed exactly once.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, HeaderName, Method, Request, Response, header};
use http_body::Body;
use ipnet::IpNet;
use opentelemetry::Context as TraceContext;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use tower::{Layer, Service};

use super::address::Peer;
use super::body::ObserveBody;
use super::clock;
use super::conventions;
use super::exchange::Exchange;
use super::forwarded::{self, Origin};
use super::future::ObserveFuture;
use super::heads::{Heads, without_userinfo};
use super::identity::{EpochIds, Identity, Propagator};
use super::record::{Opening, RequestFacts, Scheme};
use super::redact;

/// What the observer must be told about the world around it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose forwarding headers are believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Paths that no view is told of (`TELEMETRY_EXCLUDE_PATHS`).
    pub exclude_paths: Vec<String>,
    /// In which formats ids come in, by precedence (`OTEL_PROPAGATORS`).
    pub propagators: Vec<Propagator>,
    /// Which methods may name a span (`OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`).
    pub known_methods: Vec<String>,
    /// Decides which traces OTLP exports; the other backends decide for themselves.
    pub sampler: Sampler,
    /// Whether views are told before a response ends, even on a thread that could do it [later](super::on_thread_park).
    pub tell_at_once: bool,
    /// Finds the route's template in a request's extensions. It is a router's to know.
    pub route: fn(&Extensions) -> Option<&str>,
}

/// Observes every request that passes: the outermost of the telemetry's layers.
#[derive(Debug, Clone)]
pub struct ObserveLayer(Arc<Observer>);

#[derive(Debug)]
struct Observer {
    settings: Settings,
    ids: EpochIds,
    baggage: BaggagePropagator,
}

impl ObserveLayer {
    /// A layer that observes by `settings`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Observer { settings, ids: EpochIds::default(), baggage: BaggagePropagator::new() }))
    }

    /// What it observes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, observer: Arc::clone(&self.0) }
    }
}

/// See [`ObserveLayer`].
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    observer: Arc<Observer>,
}

impl<S, R, B> Service<Request<R>> for Observe<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    type Response = Response<ObserveBody<B>>;
    type Error = Infallible;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let peer = request.extensions_mut().remove::<Peer>();
        let (exchange, context) = self.observer.open(&request, peer);
        let bodyless = request.method() == Method::HEAD;
        request.extensions_mut().insert(exchange.clone());
        let inner = {
            let _attached = context.clone().attach();
            self.inner.call(request)
        };
        ObserveFuture::new(inner, exchange, context, bodyless)
    }
}

impl Observer {
    /// Opens the exchange, and the context in which everything below runs.
    fn open<R>(&self, request: &Request<R>, peer: Option<Peer>) -> (Exchange, TraceContext) {
        let (clock, started) = clock::now();
        let heads = Heads::of(request.headers());
        let (has_ids, has_baggage) = (heads.ids, heads.baggage);
        let facts = self.facts(request, peer, heads);
        // Where there is nothing to read, nobody needs to look for it.
        let propagators = if has_ids { &*self.settings.propagators } else { &[] };
        let mut identity = Identity::extract(request.headers(), propagators, &self.ids, started);
        identity.sampled = self.sampled(&identity);
        let excluded = self.settings.exclude_paths.iter().any(|path| path == request.uri().path());
        let opening = Opening { identity, request: facts, started };
        let exchange = Exchange::open(opening, clock, excluded, self.settings.tell_at_once);
        let baggage = has_baggage.then(|| self.baggage(request.headers())).flatten();
        let context = baggage.unwrap_or_default().with_value(exchange.clone());
        let server_span = exchange.identity().span_context();
        (exchange, context.with_remote_span_context(server_span))
    }

    /// A context with the caller's baggage, if it is taken.
    fn baggage(&self, headers: &HeaderMap) -> Option<TraceContext> {
        let is_taken = self.settings.propagators.contains(&Propagator::Baggage);
        is_taken.then(|| self.baggage.extract_with_context(&TraceContext::new(), &Headers(headers)))
    }

    fn sampled(&self, identity: &Identity) -> bool {
        let parent =
            identity.remote_parent().map(|parent| TraceContext::new().with_remote_span_context(parent));
        // The samplers that can be configured look at ids and parents alone, so nothing else is made for them.
        let sampler = &self.settings.sampler;
        let result =
            sampler.should_sample(parent.as_ref(), identity.trace_id, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn facts<R>(&self, request: &Request<R>, peer: Option<Peer>, heads: Heads<'_>) -> RequestFacts {
        let (headers, uri) = (request.headers(), request.uri());
        let origin = if heads.forwarding {
            forwarded::origin(headers, peer.as_ref(), &self.settings.trusted_proxies)
        } else {
            Origin::direct(peer.as_ref())
        };
        let scheme = origin.scheme.unwrap_or(match uri.scheme_str() {
            Some("https") => Scheme::Https,
            _ => Scheme::Http,
        });
        let host = origin.host.as_deref().or_else(|| uri.authority().map(|authority| authority.as_str()));
        let (server_address, server_port) = split_host(host.or(heads.host), scheme);
        let method = request.method().clone();
        RequestFacts {
            method_known: self.settings.known_methods.iter().any(|known| known == method.as_str()),
            method,
            route: (self.settings.route)(request.extensions()).map(str::to_owned),
            scheme,
            path: uri.path().to_owned(),
            query: uri.query().map(|query| redact::query(query).into_owned()),
            server_address,
            server_port,
            protocol_version: conventions::protocol_version(request.version()),
            client_address: origin.client,
            client_forwarded: origin.forwarded,
            peer,
            content_length: heads.content_length,
            headers: heads.kept,
        }
    }
}

/// `example.com:8080` as address and port; the scheme's port where none is named.
fn split_host(host: Option<&str>, scheme: Scheme) -> (Option<String>, Option<u16>) {
    let Some(host) = host.filter(|host| !host.is_empty()) else { return (None, None) };
    let host = without_userinfo(host);
    let (address, port) = match host.as_bytes().iter().rposition(|byte| *byte == b':') {
        Some(colon) => {
            let (address, port) = host.split_at(colon);
            // The last colon of an address without brackets belongs to IPv6 where there are several.
            let is_port = address.ends_with(']') || !address.as_bytes().contains(&b':');
            if is_port {
                (address, port.strip_prefix(':').and_then(|port| port.parse().ok()))
            } else {
                (host, None)
            }
        }
        None => (host, None),
    };
    (Some(address.to_owned()), port.or_else(|| Some(scheme.default_port())))
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Headers, as OpenTelemetry's propagators read them.
struct Headers<'a>(&'a HeaderMap);

impl opentelemetry::propagation::Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::pin::Pin;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Empty};
    use opentelemetry::trace::TraceId;
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    fn settings() -> Settings {
        Settings {
            trusted_proxies: Vec::new(),
            exclude_paths: Vec::new(),
            propagators: Vec::new(),
            known_methods: Vec::new(),
            sampler: Sampler::AlwaysOn,
            tell_at_once: true,
            route: |_| None,
        }
    }

    /// A body that is not there at once, has as many frames as it was made with, and notes whose it is at each poll.
    struct Slow {
        polls: usize,
        frames: usize,
        seen: Arc<Mutex<Vec<Option<TraceId>>>>,
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let current = Exchange::current().map(|exchange| exchange.trace_id());
            self.seen.lock().unwrap().push(current);
            self.polls += 1;
            if self.polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let frame = Frame::data(Bytes::from_static(b"frame"));
            Poll::Ready((self.polls < self.frames + 2).then_some(Ok(frame)))
        }
    }

    #[tokio::test]
    async fn a_body_is_polled_in_its_exchanges_context_until_it_ends() {
        let seen = Arc::default();
        let body = || Slow { polls: 0, frames: 3, seen: Arc::clone(&seen) };
        let inner = service_fn(async |request: Request<()>| {
            let exchange = request.extensions().get::<Exchange>().unwrap();
            let mut response = Response::new(body());
            response.extensions_mut().insert(exchange.trace_id());
            Ok(response)
        });
        let Ok(response) = ObserveLayer::new(settings()).layer(inner).oneshot(Request::new(())).await;
        let own = *response.extensions().get::<TraceId>().unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), 15);
        assert_eq!(*seen.lock().unwrap(), [Some(own); 5], "one before the frames and one behind them");
        assert!(Exchange::current().is_none(), "nothing stays attached");
    }

    #[tokio::test]
    async fn the_peer_goes_from_the_extensions_into_the_exchange() {
        let peer = Peer::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 7)));
        let inner = service_fn(async |request: Request<()>| {
            let exchange = request.extensions().get::<Exchange>();
            assert_eq!(exchange.and_then(|exchange| exchange.request().peer.as_ref()), Some(&peer));
            assert!(request.extensions().get::<Peer>().is_none());
            Ok(Response::new(Empty::<Bytes>::new()))
        });
        let mut request = Request::new(());
        request.extensions_mut().insert(peer.clone());
        let Ok(response) = ObserveLayer::new(settings()).layer(inner).oneshot(request).await;
        assert_eq!(response.status(), 200);
    }

    #[test]
    fn hosts_are_split_into_address_and_port() {
        for (host, address, port) in [
            ("example.com", "example.com", 80),
            ("example.com:8080", "example.com", 8080),
            ("[2001:db8::1]:8080", "[2001:db8::1]", 8080),
            ("[2001:db8::1]", "[2001:db8::1]", 80),
            ("2001:db8::1", "2001:db8::1", 80),
            ("user:secret@example.com:1", "example.com", 1),
            ("example.com:junk", "example.com", 80),
        ] {
            assert_eq!(
                split_host(Some(host), Scheme::Http),
                (Some(address.to_owned()), Some(port)),
                "{host}"
            );
        }
        assert_eq!(split_host(None, Scheme::Http), (None, None));
        assert_eq!(split_host(Some("example.com"), Scheme::Https).1, Some(443));
    }
}
