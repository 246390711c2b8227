//! An OTLP receiver: HTTP (protobuf and JSON) and gRPC on one port, decoded with OpenTelemetry's own types.

mod answer;
mod rules;
mod wire;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use self::answer::Act;
pub(crate) use self::answer::Answer;
pub(crate) use self::wire::Wire;
use super::server::Server;

/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What OTLP carries for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
}

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) signal: Signal,
    pub(crate) wire: Wire,
    pub(crate) gzip: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
    /// The message, decompressed: protobuf, or JSON's text.
    pub(crate) message: Vec<u8>,
    pub(crate) spans: Vec<Received>,
    pub(crate) metrics: Vec<Metric>,
}

/// A span, with what it came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) span: Span,
    pub(crate) scope: InstrumentationScope,
    pub(crate) resource: Arc<Resource>,
    pub(crate) schema_url: String,
}

/// All that has happened.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Every request, in the order of its arrival, whatever it was answered.
    pub(crate) requests: Vec<Arc<Arrived>>,
    /// The spans of the requests that were taken.
    pub(crate) spans: Vec<Received>,
    /// The metrics of the requests that were taken.
    pub(crate) metrics: Vec<Metric>,
    /// How many requests were answered, and with anything at all.
    pub(crate) answered: usize,
    ids: HashSet<Vec<u8>>,
    /// The ids of spans that were taken before, where that is allowed.
    pub(crate) repeated: Option<HashSet<Vec<u8>>>,
    violations: Vec<String>,
    script: [VecDeque<Answer>; 2],
    otherwise: [Answer; 2],
}

/// A running receiver; it ends when this is dropped.
pub(crate) struct Otlp {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    seen: watch::Sender<Seen>,
    released: CancellationToken,
    _server: Server,
}

impl Otlp {
    pub(crate) fn start() -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), None)
    }

    /// Starts where nobody has been listening.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        Self::serve(TcpListener::bind(address).unwrap(), None)
    }

    pub(crate) fn start_tls(config: ServerConfig) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), Some(config))
    }

    fn serve(listener: TcpListener, tls: Option<ServerConfig>) -> Self {
        let (seen, _) = watch::channel(Seen::default());
        let released = CancellationToken::new();
        let service = Service { seen: seen.clone(), released: released.clone() };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let server = Server::start(listener, move |stream| service.clone().accept(stream, acceptor.clone()));
        Self { address: server.address, scheme, seen, released, _server: server }
    }

    /// The base that `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What the next requests of a signal are answered, one by one; it takes those that come after.
    pub(crate) fn script(&self, signal: Signal, answers: impl IntoIterator<Item = Answer>) {
        self.seen.send_modify(|seen| seen.script[signal as usize].extend(answers));
    }

    /// What every request of a signal is answered that the script has nothing for.
    pub(crate) fn always(&self, signal: Signal, answer: Answer) {
        self.seen.send_modify(|seen| seen.otherwise[signal as usize] = answer);
    }

    /// Notes what is taken again, instead of calling it a fault: whoever sends may have been killed.
    pub(crate) fn allow_repeats(&self) {
        self.seen.send_modify(|seen| seen.repeated = Some(HashSet::new()));
    }

    /// Lets those that hang be taken, and be answered.
    pub(crate) fn release(&self) {
        self.released.cancel();
    }

    /// What has happened so far.
    pub(crate) fn seen(&self) -> watch::Ref<'_, Seen> {
        // The receiver's thread waits while it is held.
        self.seen.borrow()
    }

    /// The spans taken so far.
    pub(crate) fn spans(&self) -> Vec<Received> {
        self.seen().spans.clone()
    }

    /// The one span of this name that was taken.
    #[track_caller]
    pub(crate) fn span(&self, name: &str) -> Received {
        let spans = self.spans();
        let mut named = spans.iter().filter(|received| received.span.name == name);
        let found = named.next().unwrap_or_else(|| panic!("no {name} in {:?}", names(&spans)));
        assert!(named.next().is_none(), "more than one {name}: {:?}", names(&spans));
        found.clone()
    }

    /// The requests so far, of one signal.
    pub(crate) fn requests(&self, signal: Signal) -> Vec<Arc<Arrived>> {
        self.seen().requests.iter().filter(|arrived| arrived.signal == signal).cloned().collect()
    }

    /// Waits for what must happen.
    pub(crate) async fn wait_until(&self, what: &str, mut happened: impl FnMut(&Seen) -> bool) {
        let mut receiver = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, receiver.wait_for(|seen| happened(seen))).await;
        let waited = waited.map(|seen| drop(seen.unwrap()));
        assert!(waited.is_ok(), "never came: {what}; {}", self.seen().summary());
    }

    /// Waits until so many spans have been taken.
    pub(crate) async fn wait_for_spans(&self, count: usize) {
        self.wait_until(&format!("{count} spans"), |seen| seen.spans.len() >= count).await;
    }

    /// Nothing was wrong with anything that was sent, and the whole script was needed.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let seen = self.seen();
        assert!(seen.violations.is_empty(), "{:#?}", seen.violations);
        assert!(seen.script.iter().all(VecDeque::is_empty), "not needed: {:?}", seen.script);
    }
}

impl Seen {
    fn summary(&self) -> String {
        let Self { requests, spans, metrics, answered, violations, .. } = self;
        let (requests, spans, metrics) = (requests.len(), spans.len(), metrics.len());
        format!("{requests} requests, {answered} answered, {spans} spans, {metrics} metrics; {violations:?}")
    }

    fn take(&mut self, arrived: &Arrived) {
        for received in &arrived.spans {
            if self.ids.insert(received.span.span_id.clone()) {
                continue;
            }
            if let Some(repeated) = &mut self.repeated {
                repeated.insert(received.span.span_id.clone());
            } else {
                self.violations.push(format!("taken twice: {:?}", received.span));
            }
        }
        self.spans.extend(arrived.spans.iter().cloned());
        self.metrics.extend(arrived.metrics.iter().cloned());
    }
}

impl Received {
    pub(crate) fn attributes(&self) -> BTreeMap<String, Value> {
        attributes(&self.span.attributes)
    }

    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn event(&self, name: &str) -> BTreeMap<String, Value> {
        let events = &self.span.events;
        let event = events.iter().find(|event| event.name == name).unwrap_or_else(|| {
            let others: Vec<_> = events.iter().map(|event| &event.name).collect();
            panic!("no {name}: {others:?}")
        });
        attributes(&event.attributes)
    }
}

/// Attributes as JSON, which tests can compare.
pub(crate) fn attributes(all: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |attribute: &KeyValue| attribute.value.as_ref().map_or(Value::Null, json);
    all.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn json(value: &AnyValue) -> Value {
    match &value.value {
        Some(any_value::Value::StringValue(text)) => text.as_str().into(),
        Some(any_value::Value::BoolValue(flag)) => (*flag).into(),
        Some(any_value::Value::IntValue(number)) => (*number).into(),
        Some(any_value::Value::DoubleValue(number)) => (*number).into(),
        Some(any_value::Value::ArrayValue(array)) => array.values.iter().map(json).collect(),
        other => panic!("not among the types that we send: {other:?}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(spans: &[Received]) -> Vec<&str> {
    spans.iter().map(|received| received.span.name.as_str()).collect()
}

#[derive(Clone)]
struct Service {
    seen: watch::Sender<Seen>,
    released: CancellationToken,
}

type Answered = Result<Response<Body>, hyper::Error>;

impl Service {
    async fn accept(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        match acceptor {
            // A client that does not trust us goes away, which is its right.
            Some(acceptor) => {
                if let Ok(stream) = acceptor.accept(stream).await {
                    self.serve(stream).await;
                }
            }
            None => self.serve(stream).await,
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let closed = CancellationToken::new();
        let close = closed.clone();
        let service = service_fn(move |request| self.clone().answer(request, close.clone()));
        let builder = Builder::new(TokioExecutor::new());
        // An error is a connection that the client has closed.
        closed.run_until_cancelled(builder.serve_connection(TokioIo::new(stream), service)).await;
    }

    async fn answer(self, request: Request<Incoming>, close: CancellationToken) -> Answered {
        let at = Instant::now();
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let arrived = match wire::read(&head, &body, at) {
            Ok(arrived) => Arc::new(arrived),
            Err((status, violation)) => {
                self.seen.send_modify(|seen| seen.violations.push(violation.clone()));
                return Ok(answer::refusal(status, violation));
            }
        };
        let (wire, signal) = (arrived.wire, arrived.signal);
        let mut answer = Answer::default();
        self.seen.send_modify(|seen| {
            seen.violations.extend(rules::broken(&arrived));
            seen.requests.push(Arc::clone(&arrived));
            let next = seen.script[signal as usize].pop_front();
            answer = next.unwrap_or_else(|| seen.otherwise[signal as usize].clone());
        });
        let act = answer.act.to(&arrived);
        tokio::time::sleep(answer.delay).await;
        if let Act::Hang = act {
            self.released.cancelled().await;
        }
        self.seen.send_modify(|seen| {
            seen.answered += 1;
            if act.takes() {
                seen.take(&arrived);
            }
        });
        match act.response(wire, signal) {
            Some(response) => Ok(response),
            None => {
                close.cancel();
                std::future::pending().await
            }
        }
    }
}
