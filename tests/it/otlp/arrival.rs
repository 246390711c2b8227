//! What arrives of a request.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get as on_get;
use cruddur::telemetry::observe::{Exchange, InCurrentExchange as _};
use http::Response;
use http_body_util::channel::Channel;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{HOME, routes, serve, spans, start, stop};
use crate::caller::Caller;
use crate::observed::{config, get, read_until};
use crate::stand_in::{Otlp, Signal, Wire, attributes, hex};

const WIRES: [(&str, Wire); 3] =
    [("http/protobuf", Wire::Protobuf), ("http/json", Wire::Json), ("grpc", Wire::Grpc)];

#[tokio::test]
async fn a_request_arrives_as_its_span_and_the_one_inside_whatever_the_wire() {
    for (protocol, wire) in WIRES {
        for compression in ["none", "gzip"] {
            let stand_in = Otlp::start();
            let variables = [
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=crew%2C7,service.name=overruled"),
                ("OTEL_SERVICE_NAME", "cruddur-under-test"),
                ("APP_ENV", "test"),
            ];
            let app = start(&stand_in, &variables).await;
            let peer = app.address;
            let mut caller = Caller::connect(peer).await;
            let path = format!("{HOME}?page=2&api_key=hush");
            let reply = caller.ask("GET", &path, &[("user-agent", "curl/8")], "").await;
            let (trace_id, span_id, flags) = reply.trace();
            let report = stop(app).await;
            stand_in.assert_clean();

            let requests = stand_in.requests(Signal::Traces);
            assert!(requests.iter().all(|request| request.wire == wire), "{protocol}");
            assert!(requests.iter().all(|request| request.gzip == (compression == "gzip")), "{protocol}");
            let (server, inner) =
                (stand_in.span("GET /api/activities/home"), stand_in.span("home-activities-mock-data"));
            assert_eq!(stand_in.spans().len(), 2);
            assert_eq!((spans(&report).created, spans(&report).delivered), (2, 2));

            assert_eq!((server.trace_id(), hex(&server.span.span_id)), (trace_id.clone(), span_id));
            assert_eq!((inner.trace_id(), &inner.span.parent_span_id), (trace_id, &server.span.span_id));
            assert_eq!((server.span.kind(), inner.span.kind()), (SpanKind::Server, SpanKind::Internal));
            assert_eq!((server.span.flags, inner.span.flags, flags.as_str()), (0x101, 0x101, "01"));
            assert!(server.span.parent_span_id.is_empty(), "{server:?}");
            assert_eq!(server.span.status.clone().unwrap_or_default().code(), StatusCode::Unset);
            assert!(server.span.start_time_unix_nano <= inner.span.start_time_unix_nano);
            assert_eq!((server.scope.name.as_str(), inner.scope.name.as_str()), ("cruddur", "cruddur"));
            assert_eq!(server.schema_url, "https://opentelemetry.io/schemas/1.44.0");

            let mut found = server.attributes();
            let port = found.remove("network.peer.port").and_then(|port| port.as_u64());
            assert!(port.is_some_and(|port| port != u64::from(peer.port())), "{port:?}");
            let expected = json!({
                "http.request.method": "GET",
                "http.route": HOME,
                "url.path": HOME,
                "url.query": "page=2&api_key=REDACTED",
                "url.scheme": "http",
                "server.address": "localhost",
                "server.port": 80,
                "client.address": "127.0.0.1",
                "network.peer.address": "127.0.0.1",
                "network.protocol.version": "1.1",
                "user_agent.original": "curl/8",
                "http.response.status_code": 200,
                "http.response.body.size": reply.body.len(),
            });
            assert_eq!(json!(found), expected);
            assert_eq!(inner.attributes()["app.result_length"], 3);
            assert!(inner.attributes()["app.now"].is_string());

            let resource = attributes(&server.resource.attributes);
            let said = ["service.name", "team", "deployment.environment.name", "service.version", "os.type"];
            let said = said.map(|key| resource[key].as_str().unwrap().to_owned());
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(said, ["cruddur-under-test", "crew,7", "test", version, "linux"]);
            let instance = resource["service.instance.id"].as_str().unwrap();
            uuid::Uuid::try_parse(instance).unwrap();
            assert_eq!(resource["process.pid"], std::process::id());
            assert_eq!(resource["process.runtime.name"], "rust");
            assert_eq!(resource["telemetry.sdk.language"], "rust");
        }
    }
}

#[tokio::test]
async fn a_key_arrives_as_a_header_and_is_seen_nowhere_else() {
    const KEY: &str = "hcaik_not-a-real-key";
    for (protocol, _) in WIRES {
        let stand_in = Otlp::start();
        let endpoint = stand_in.endpoint();
        let headers = format!("x-honeycomb-team={KEY},x-other=a%20b%2Cc");
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_TRACES_EXPORTER", "otlp,console"),
            ("HONEYCOMB_API_KEY", KEY),
        ];
        let app = start(&stand_in, &variables).await;
        let mut caller = Caller::connect(app.address).await;
        caller.get(HOME).await;
        stand_in.wait_for_spans(2).await;
        let health = String::from_utf8(caller.get("/health").await.body.to_vec()).unwrap();
        let (telemetry, terminal) = (Arc::clone(&app.telemetry), app.terminal.clone());
        let shown = format!("{:?} {telemetry:?} {telemetry:#?}", config(&variables));
        stop(app).await;
        stand_in.assert_clean();
        for request in stand_in.requests(Signal::Traces) {
            assert_eq!(request.headers["x-honeycomb-team"], KEY);
            assert_eq!(request.headers["x-other"], "a b,c");
        }
        let terminal = terminal.text();
        assert!(terminal.contains("home-activities-mock-data"), "{terminal}");
        for (what, text) in [("terminal", terminal), ("health", health), ("Debug", shown)] {
            assert!(!text.contains(KEY), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn a_remote_parent_is_kept() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    let parent = ("traceparent", "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01");
    let reply = caller.ask("GET", HOME, &[parent, ("tracestate", "congo=t61rcWkgMzE")], "").await;
    stop(app).await;
    stand_in.assert_clean();
    let server = stand_in.span("GET /api/activities/home");
    assert_eq!(reply.trace().0, "4efaaf4d1e8720b39541901950019ee5");
    assert_eq!(server.trace_id(), "4efaaf4d1e8720b39541901950019ee5");
    assert_eq!(hex(&server.span.parent_span_id), "53995c3f42cd8ad8");
    assert_eq!((server.span.flags, server.span.trace_state.as_str()), (0x301, "congo=t61rcWkgMzE"));
    assert_eq!(stand_in.span("home-activities-mock-data").span.flags, 0x101);
}

#[tokio::test]
async fn an_error_arrives_with_its_exception_and_its_causes() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    assert_eq!(caller.get("/test/raise?chain=1").await.status, 500);
    stop(app).await;
    stand_in.assert_clean();
    let server = stand_in.span("GET /test/raise");
    let status = server.span.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, ""));
    let class = "cruddur::api::test_routes::FeedUnavailable";
    let found = server.attributes();
    assert_eq!((&found["error.type"], &found["http.response.status_code"]), (&json!(class), &json!(500)));
    assert_eq!(found["cruddur.outcome"], "failed");
    let exception = server.event("exception");
    assert_eq!(exception["exception.type"], class);
    assert_eq!(exception["exception.message"], "the feed is unavailable");
    let trace = exception["exception.stacktrace"].as_str().unwrap();
    assert!(trace.contains("caused by std::io::error::Error: connection refused"), "{trace}");
}

#[tokio::test]
async fn a_panic_arrives_as_an_exception() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    assert_eq!(caller.get("/test/panic").await.status, 500);
    stop(app).await;
    stand_in.assert_clean();
    let server = stand_in.span("GET /test/panic");
    assert_eq!(server.span.status.clone().unwrap().code(), StatusCode::Error);
    assert_eq!((&server.attributes()["error.type"]), "panic");
    let exception = server.event("exception");
    assert_eq!(exception["exception.type"], "panic");
    assert_eq!(exception["exception.message"], "a panic that was asked for");
    assert!(exception["exception.stacktrace"].as_str().unwrap().contains("src/api/test_routes.rs"));
}

#[tokio::test]
async fn a_clients_mistake_is_no_error() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    assert_eq!(caller.get("/nowhere").await.status, 404);
    assert_eq!(caller.ask("FOO", HOME, &[], "").await.status, 405);
    stop(app).await;
    stand_in.assert_clean();
    let unrouted = stand_in.span("GET");
    assert_eq!(unrouted.span.status.clone().unwrap_or_default().code(), StatusCode::Unset);
    let found = unrouted.attributes();
    assert!(!found.contains_key("http.route") && !found.contains_key("error.type"), "{found:?}");
    let unknown = stand_in.span("HTTP /api/activities/home").attributes();
    assert_eq!(unknown["http.request.method"], "_OTHER");
    assert_eq!(unknown["http.request.method_original"], "FOO");
}

#[tokio::test]
async fn log_events_arrive_within_the_span_they_belong_to() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get("/rollbar/test").await;
    caller.get(HOME).await;
    stop(app).await;
    stand_in.assert_clean();
    let of_handler = stand_in.span("GET /rollbar/test").event("Hello World!");
    assert_eq!(of_handler["level"], "WARN");
    assert_eq!(of_handler["target"], "cruddur::api::test_routes");
    let of_inner = stand_in.span("home-activities-mock-data").event("HomeActivities");
    assert_eq!(of_inner["level"], "INFO");
    assert!(stand_in.span("GET /api/activities/home").span.events.is_empty());
}

#[tokio::test]
async fn an_exception_arrives_however_much_was_logged_before() {
    let stand_in = Otlp::start();
    let chatty = || async {
        for line in 0..300 {
            tracing::info!(line, "still here");
        }
        cruddur::api::Result::<()>::Err("x".parse::<u32>().unwrap_err().into())
    };
    let app = serve(Router::new().route("/chatty", on_get(chatty)), &stand_in.endpoint(), &[]).await;
    let mut caller = Caller::connect(app.address).await;
    assert_eq!(caller.get("/chatty").await.status, 500);
    stop(app).await;
    stand_in.assert_clean();
    let server = stand_in.span("GET /chatty");
    assert_eq!(server.event("exception")["exception.message"], "invalid digit found in string");
    assert_eq!((server.span.events.len(), server.span.dropped_events_count), (128, 173));
}

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

/// A response whose body the test feeds.
fn fed() -> (Router, Arc<Mutex<Option<Sender>>>) {
    let slot = Arc::new(Mutex::new(None));
    let held = Arc::clone(&slot);
    let handler = move || async move {
        let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
        *held.lock().await = Some(sender);
        Response::new(Body::new(body))
    };
    (Router::new().route("/fed", on_get(handler)), slot)
}

#[tokio::test]
async fn a_streamed_response_is_a_span_up_to_its_last_byte() {
    let stand_in = Otlp::start();
    let (routes, sender) = fed();
    let mut app = serve(routes.merge(self::routes()), &stand_in.endpoint(), &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sender = sender.lock().await.take().unwrap();
    sender.send_data("first".into()).await.unwrap();
    read_until(&mut stream, "first").await;
    // A request that came later has been over and delivered long before.
    app.get(HOME).await;
    stand_in.wait_for_spans(2).await;
    assert!(stand_in.spans().iter().all(|received| received.span.name != "GET /fed"));
    drop(sender);
    let _other = app.record().await;
    let record = app.record().await;
    stop(app).await;
    stand_in.assert_clean();
    let fed = stand_in.span("GET /fed").span;
    let home = stand_in.span("GET /api/activities/home").span;
    assert!(fed.end_time_unix_nano > home.end_time_unix_nano);
    let duration = fed.end_time_unix_nano - fed.start_time_unix_nano;
    assert_eq!(u128::from(duration), record.duration.as_nanos());
}

#[tokio::test]
async fn a_client_that_leaves_is_told_of_without_blame() {
    let stand_in = Otlp::start();
    let (routes, sender) = fed();
    let app = serve(routes, &stand_in.endpoint(), &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    drop(stream);
    stand_in.wait_for_spans(1).await;
    drop(sender);
    stop(app).await;
    stand_in.assert_clean();
    let server = stand_in.span("GET /fed");
    assert_eq!(server.attributes()["cruddur.outcome"], "cancelled within the response");
    assert_eq!(server.span.status.clone().unwrap_or_default().code(), StatusCode::Unset);
    assert!(!server.attributes().contains_key("error.type"));
}

#[tokio::test]
async fn a_span_that_outlives_its_request_arrives_after_it() {
    let stand_in = Otlp::start();
    let finish = Arc::new(Notify::new());
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let (wait, spawned) = (Arc::clone(&finish), Arc::clone(&tasks));
    let handler = move || async move {
        let late = async move { wait.notified().await }.instrument(tracing::info_span!("late"));
        spawned.lock().await.spawn(late.in_current_exchange());
        Exchange::current().unwrap().set_user("worf");
    };
    let app = serve(Router::new().route("/soon", on_get(handler)), &stand_in.endpoint(), &[]).await;
    app.get("/soon").await;
    stand_in.wait_for_spans(1).await;
    finish.notify_one();
    stand_in.wait_for_spans(2).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    let (server, late) = (stand_in.span("GET /soon"), stand_in.span("late"));
    assert_eq!(server.attributes()["enduser.id"], Value::from("worf"));
    assert_eq!(late.span.parent_span_id, server.span.span_id);
    assert!(late.span.end_time_unix_nano > server.span.end_time_unix_nano);
    assert_eq!((spans(&report).created, spans(&report).delivered), (2, 2));
}

#[tokio::test]
async fn a_span_of_no_request_arrives_as_a_root() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[]).await;
    tracing::info_span!("housekeeping").in_scope(|| {});
    let report = stop(app).await;
    stand_in.assert_clean();
    assert!(stand_in.span("housekeeping").span.parent_span_id.is_empty());
    assert_eq!(spans(&report).to_string(), "created 1, delivered 1");
}

#[tokio::test]
async fn an_event_in_a_span_of_opentelemetrys_own_api_is_not_lost() {
    let stand_in = Otlp::start();
    let provider: Arc<std::sync::OnceLock<opentelemetry_sdk::trace::SdkTracerProvider>> = Arc::default();
    let slot = Arc::clone(&provider);
    let handler = move || async move {
        use opentelemetry::trace::{Tracer as _, TracerProvider as _};
        slot.get().unwrap().tracer("direct").in_span("direct", |_| tracing::info!("heard"));
    };
    let app = serve(Router::new().route("/direct", on_get(handler)), &stand_in.endpoint(), &[]).await;
    provider.set(app.telemetry.tracer_provider().clone()).unwrap();
    app.get("/direct").await;
    stop(app).await;
    stand_in.assert_clean();
    let events = stand_in.span("GET /direct").span.events;
    assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["heard"]);
}
