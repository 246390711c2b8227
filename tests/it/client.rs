//! The calls that the application makes, against a stand-in that the test scripts byte by byte.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::Client;
use cruddur::telemetry::observe::{InCurrentExchange as _, RequestRecord};
use opentelemetry::trace::{FutureExt as _, SpanKind, Status};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::trace::SpanData;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::observed::{Observed, PATIENCE, get, read_until};

/// A server that answers nothing by itself.
struct StandIn(TcpListener);

/// A call that has come in.
struct Call {
    stream: TcpStream,
    head: String,
}

impl StandIn {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    async fn call(&self) -> Call {
        let (mut stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("nobody called").unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        Call { stream, head }
    }
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(mut self, status: &str) -> Self {
        self.send(&format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nbody")).await;
        self
    }
}

/// A service whose one route, `/`, does `work` with a client.
async fn caller<W, F>(variables: &[(&str, &str)], work: W) -> Observed
where
    W: Fn(Client) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let slot: Arc<OnceLock<Client>> = Arc::default();
    let handler = {
        let slot = Arc::clone(&slot);
        move || work(slot.get().unwrap().clone())
    };
    let app = Observed::start(Router::new().route("/", on_get(handler)), variables).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    slot.set(Client::new(http, &app.telemetry)).unwrap();
    app
}

fn request(method: &str, url: &str) -> reqwest::Request {
    reqwest::Request::new(method.parse().unwrap(), url.parse().unwrap())
}

/// Makes the call, and reads the answer to its end.
async fn call(client: Client, method: &'static str, url: String) {
    let response = client.execute(request(method, &url)).await.unwrap();
    response.bytes().await.unwrap();
}

/// The one span of the record that is a call.
#[track_caller]
fn client_span(record: &RequestRecord) -> &SpanData {
    let mut calls = record.spans.iter().filter(|span| span.span_kind == SpanKind::Client);
    let (Some(span), None) = (calls.next(), calls.next()) else { panic!("{:?}", record.spans) };
    span
}

fn attributes(span: &SpanData) -> BTreeMap<&str, Value> {
    let attributes: BTreeMap<_, _> =
        span.attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.clone())).collect();
    assert_eq!(attributes.len(), span.attributes.len(), "one is there twice: {span:?}");
    attributes
}

#[tokio::test]
async fn a_call_is_a_client_span_by_the_conventions_below_the_request() {
    let stand_in = StandIn::start().await;
    let port = stand_in.port();
    let url = format!("http://ann:hunter2@127.0.0.1:{port}/items/7?token=hunter2&page=2");
    let mut app = caller(&[], move |client| call(client, "GET", url.clone())).await;
    let (_, called) = tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
    let record = app.record().await;
    let span = client_span(&record);
    assert_eq!((&*span.name, &span.status), ("GET", &Status::Unset));
    assert_eq!(span.parent_span_id, record.identity().span_id);
    assert_eq!(span.span_context.trace_id(), record.identity().trace_id);
    let full = format!("http://REDACTED:REDACTED@127.0.0.1:{port}/items/7?token=REDACTED&page=2");
    let port = Value::I64(port.into());
    assert_eq!(
        attributes(span),
        BTreeMap::from([
            ("http.request.method", "GET".into()),
            ("url.full", full.into()),
            ("server.address", "127.0.0.1".into()),
            ("server.port", port.clone()),
            ("http.response.status_code", Value::I64(200)),
            ("network.peer.address", "127.0.0.1".into()),
            ("network.peer.port", port),
            ("network.protocol.version", "1.1".into()),
        ])
    );
    assert!(!format!("{record:?}").contains("hunter2"), "{record:?}");
    // What was hidden from the span has been sent all the same.
    assert!(called.head.starts_with("GET /items/7?token=hunter2&page=2 HTTP/1.1\r\n"), "{}", called.head);
    app.finish().await;
}

#[tokio::test]
async fn a_call_hands_the_trace_on_with_everything_that_came_in() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let mut app = caller(&[], move |client| call(client, "GET", url.clone())).await;
    let asked = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
        traceparent: 00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01\r\ntracestate: congo=t61\r\n\
        x-amzn-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=2440c77113924d23;Sampled=0;Lineage=a:1;\
        CalledFrom=app\r\nbaggage: crew=worf\r\n\r\n";
    let (_, called) = tokio::join!(app.ask(asked), async { stand_in.call().await.answer("200 OK").await });
    let record = app.record().await;
    let id = client_span(&record).span_context.span_id().to_string();
    assert_eq!(called.header("traceparent"), Some(&*format!("00-4efaaf4d1e8720b39541901950019ee5-{id}-01")));
    assert_eq!(called.header("tracestate"), Some("congo=t61"));
    assert_eq!(
        called.header("x-amzn-trace-id"),
        Some(&*format!(
            "Root=1-4efaaf4d-1e8720b39541901950019ee5;Parent={id};Sampled=0;Lineage=a:1;CalledFrom=app"
        ))
    );
    assert_eq!(called.header("baggage"), Some("crew=worf"));
    app.finish().await;
}

#[tokio::test]
async fn an_unsampled_trace_is_handed_on_as_such() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let mut app = caller(&[], move |client| call(client, "GET", url.clone())).await;
    let asked = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
        traceparent: 00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-00\r\n\r\n";
    let (_, called) = tokio::join!(app.ask(asked), async { stand_in.call().await.answer("200 OK").await });
    assert!(called.header("traceparent").unwrap().ends_with("-00"), "{}", called.head);
    let record = app.record().await;
    assert!(!client_span(&record).span_context.is_sampled());
    app.finish().await;
}

#[tokio::test]
async fn only_the_headers_of_the_configured_propagators_go_out() {
    for (propagators, expected) in
        [("none", [false, false]), ("xray", [false, true]), ("tracecontext", [true, false])]
    {
        let stand_in = StandIn::start().await;
        let url = format!("http://127.0.0.1:{}/", stand_in.port());
        let variables = [("OTEL_PROPAGATORS", propagators)];
        let mut app = caller(&variables, move |client| call(client, "GET", url.clone())).await;
        let (_, called) = tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
        let sent = ["traceparent", "x-amzn-trace-id"].map(|name| called.header(name).is_some());
        assert_eq!(sent, expected, "{propagators}: {}", called.head);
        let record = app.record().await;
        assert_eq!(&*client_span(&record).name, "GET", "it is observed whatever goes out");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_call_within_a_span_is_its_child() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let work = move |client| {
        let span = tracing::info_span!("outer");
        tracing::Instrument::instrument(call(client, "POST", url.clone()), span)
    };
    let mut app = caller(&[], work).await;
    tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
    let record = app.record().await;
    let outer = record.spans.iter().find(|span| span.name == "outer").unwrap();
    assert_eq!(client_span(&record).parent_span_id, outer.span_context.span_id());
    app.finish().await;
}

#[tokio::test]
async fn answers_that_tell_of_errors_make_the_span_one() {
    for (status, code) in [("404 Not Found", 404), ("503 Service Unavailable", 503)] {
        let stand_in = StandIn::start().await;
        let url = format!("http://127.0.0.1:{}/", stand_in.port());
        let mut app = caller(&[], move |client| call(client, "GET", url.clone())).await;
        tokio::join!(app.get("/"), async { stand_in.call().await.answer(status).await });
        let record = app.record().await;
        let span = client_span(&record);
        assert_eq!(span.status, Status::error(""));
        let attributes = attributes(span);
        assert_eq!(attributes["error.type"], Value::from(code.to_string()));
        assert_eq!(attributes["http.response.status_code"], Value::I64(code));
        app.finish().await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_a_status() {
    let url = {
        let stand_in = StandIn::start().await;
        format!("http://127.0.0.1:{}/", stand_in.port())
    };
    let work = move |client: Client| {
        let request = request("GET", &url);
        async move { assert!(client.execute(request).await.is_err()) }
    };
    let mut app = caller(&[], work).await;
    app.get("/").await;
    let record = app.record().await;
    let span = client_span(&record);
    assert_eq!(span.status, Status::error(""));
    let attributes = attributes(span);
    assert_eq!(attributes["error.type"], Value::from("connect"));
    assert!(!attributes.contains_key("http.response.status_code"), "{attributes:?}");
    app.finish().await;
}

#[tokio::test]
async fn an_unknown_method_does_not_name_the_span() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let mut app = caller(&[], move |client| call(client, "BREW", url.clone())).await;
    tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
    let record = app.record().await;
    let span = client_span(&record);
    assert_eq!(&*span.name, "HTTP");
    let attributes = attributes(span);
    assert_eq!(attributes["http.request.method"], Value::from("_OTHER"));
    assert_eq!(attributes["http.request.method_original"], Value::from("BREW"));
    app.finish().await;
}

/// Spans are filed in the order of their ends, so one that is opened and closed here tells before from after.
fn mark() {
    tracing::info_span!("mark").in_scope(|| {});
}

fn order(record: &RequestRecord) -> Vec<&str> {
    record.spans.iter().map(|span| &*span.name).collect()
}

#[tokio::test]
async fn a_span_lasts_until_the_end_of_the_body() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let marked = Arc::new(Notify::new());
    let work = {
        let marked = Arc::clone(&marked);
        move |client: Client| {
            let (request, marked) = (request("GET", &url), Arc::clone(&marked));
            async move {
                let mut response = client.execute(request).await.unwrap();
                assert_eq!(response.chunk().await.unwrap().unwrap(), "half");
                mark();
                marked.notify_one();
                assert_eq!(response.chunk().await.unwrap().unwrap(), "full");
                assert!(response.chunk().await.unwrap().is_none());
            }
        }
    };
    let mut app = caller(&[], work).await;
    let script = async {
        let mut call = stand_in.call().await;
        call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        marked.notified().await;
        call.send("4\r\nfull\r\n0\r\n\r\n").await;
        call
    };
    tokio::join!(app.get("/"), script);
    let record = app.record().await;
    assert_eq!(order(&record), ["mark", "GET"]);
    assert!(record.spans[1].end_time >= record.spans[0].end_time);
    app.finish().await;
}

#[tokio::test]
async fn a_span_ends_with_the_head_where_there_is_no_body() {
    for (method, head) in [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let stand_in = StandIn::start().await;
        let url = format!("http://127.0.0.1:{}/", stand_in.port());
        let work = move |client: Client| {
            let request = request(method, &url);
            async move {
                let response = client.execute(request).await.unwrap();
                mark();
                drop(response);
            }
        };
        let mut app = caller(&[], work).await;
        let script = async {
            let mut call = stand_in.call().await;
            call.send(head).await;
            call
        };
        tokio::join!(app.get("/"), script);
        let record = app.record().await;
        assert_eq!(order(&record), [method, "mark"], "{head}");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let work = move |client: Client| {
        let request = request("GET", &url);
        async move {
            let response = client.execute(request).await.unwrap();
            assert!(response.bytes().await.is_err());
        }
    };
    let mut app = caller(&[], work).await;
    let script = async {
        let mut call = stand_in.call().await;
        call.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    };
    tokio::join!(app.get("/"), script);
    let record = app.record().await;
    let span = client_span(&record);
    assert_eq!(span.status, Status::error(""));
    assert_eq!(attributes(span)["error.type"], Value::from("reqwest::error::Error"));
    assert_eq!(attributes(span)["http.response.status_code"], Value::I64(200));
    app.finish().await;
}

#[tokio::test]
async fn an_answer_keeps_its_url() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/items/7?page=2", stand_in.port());
    let work = move |client: Client| {
        let (request, url) = (request("GET", &url), url.clone());
        async move {
            let response = client.execute(request).await.unwrap();
            assert_eq!(response.url().as_str(), url);
            assert!(response.remote_addr().is_some());
            assert_eq!(response.text().await.unwrap(), "body");
        }
    };
    let mut app = caller(&[], work).await;
    let (answer, _) = tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    app.record().await;
    app.finish().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_without_an_error() {
    let stand_in = Arc::new(StandIn::start().await);
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let work = move |client: Client| {
        let (request, stand_in) = (request("GET", &url), Arc::clone(&stand_in));
        async move {
            tokio::select! {
                answered = client.execute(request) => panic!("{answered:?}"),
                // The stand-in has heard the call and holds it unanswered.
                _call = stand_in.call() => {}
            }
        }
    };
    let mut app = caller(&[], work).await;
    assert!(app.get("/").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let record = app.record().await;
    let span = client_span(&record);
    assert_eq!(span.status, Status::Unset);
    let attributes = attributes(span);
    assert!(!attributes.contains_key("error.type"), "{attributes:?}");
    assert!(!attributes.contains_key("http.response.status_code"), "{attributes:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_call_in_a_suppressed_context_is_not_observed_and_carries_nothing() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let work = move |client| {
        call(client, "GET", url.clone()).with_context(Context::current().with_telemetry_suppressed())
    };
    let mut app = caller(&[], work).await;
    let (_, called) = tokio::join!(app.get("/"), async { stand_in.call().await.answer("200 OK").await });
    for name in ["traceparent", "tracestate", "x-amzn-trace-id", "baggage"] {
        assert_eq!(called.header(name), None, "{name}");
    }
    assert!(app.record().await.spans.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_call_that_outlives_its_request_is_still_of_its_trace() {
    let stand_in = StandIn::start().await;
    let url = format!("http://127.0.0.1:{}/", stand_in.port());
    let tasks = Arc::new(tokio::sync::Mutex::new(tokio::task::JoinSet::new()));
    let work = {
        let tasks = Arc::clone(&tasks);
        move |client| {
            let (tasks, call) = (Arc::clone(&tasks), call(client, "GET", url.clone()).in_current_exchange());
            async move {
                tasks.lock().await.spawn(call);
            }
        }
    };
    let mut app = caller(&[], work).await;
    app.ask(&get("/")).await;
    let record = app.record().await;
    let called = stand_in.call().await;
    let trace_id = record.identity().trace_id.to_string();
    assert!(called.header("traceparent").unwrap().contains(&trace_id), "{}", called.head);
    called.answer("200 OK").await;
    tasks.lock().await.join_next().await.unwrap().unwrap();
    let crate::observed::Told::Straggler(of, span) = app.told().await else {
        panic!("told twice of the end")
    };
    assert!(Arc::ptr_eq(&of, &record));
    assert_eq!((span.parent_span_id, &*span.name), (record.identity().span_id, "GET"));
    app.finish().await;
}
