//! Requests as X-Ray's daemon gets them.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get as on_get;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::Client;
use cruddur::telemetry::delivery::Tally;
use cruddur::telemetry::observe::{AmznTraceId, InCurrentExchange as _, Outcome, RequestRecord, Stage};
use http::{Response, StatusCode};
use http_body_util::channel::Channel;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::observed::{Observed, PATIENCE, Told, read_until};
use crate::stand_in::xray::{XRay, ids, rule};

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

fn api() -> Router {
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
}

/// Serves `routes` with segments going to `daemon`.
async fn start(routes: Router, daemon: &XRay, more: &[(&str, &str)]) -> Observed {
    let address = daemon.address();
    let quiet = ("RUST_LOG", "info,it::observed=off");
    let variables = [&[("AWS_XRAY_DAEMON_ADDRESS", &*address), quiet], more].concat();
    Observed::start(routes, &variables).await
}

/// A GET with this `X-Amzn-Trace-Id`.
fn told(path: &str, header: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: curl/8\r\nx-amzn-trace-id: {header}\r\n\
         connection: close\r\n\r\n"
    )
}

/// A GET that is sampled whatever the rules say.
fn sampled(path: &str) -> String {
    told(path, "Sampled=1")
}

/// The value of the answer's `X-Amzn-Trace-Id`.
fn signature(answer: &str) -> &str {
    let mut lines = answer.lines();
    lines.find_map(|line| line.strip_prefix("x-amzn-trace-id: ")).unwrap_or_else(|| panic!("{answer}"))
}

fn root(record: &RequestRecord) -> String {
    AmznTraceId(record.identity().trace_id).to_string()
}

/// What the daemon has got of a request, once all of it is there: the segment, and then what was sent apart.
#[track_caller]
fn documents(daemon: &XRay, record: &RequestRecord) -> Vec<Value> {
    let root = root(record);
    let documents = daemon.wait_for(|state| {
        let own = state.documents.iter().filter(|document| document["trace_id"] == *root);
        let own: Vec<_> = own.cloned().collect();
        let found: usize = own.iter().map(|document| ids(document).len()).sum();
        (found > record.spans.len()).then_some(own)
    });
    assert_is(&documents, record);
    documents
}

/// The one document of a request.
#[track_caller]
fn document(daemon: &XRay, record: &RequestRecord) -> Value {
    let mut documents = documents(daemon, record);
    assert_eq!(documents.len(), 1, "{documents:#?}");
    documents.remove(0)
}

/// A document's ids with their parents' and their times.
type Place = (String, Option<String>, f64, f64);

fn places(document: &Value, parent: Option<&str>, found: &mut Vec<Place>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let time = |key: &str| document[key].as_f64().unwrap();
    let above = document.get("parent_id").map(text).or(parent.map(str::to_owned));
    let id = text(&document["id"]);
    for subsegment in document["subsegments"].as_array().into_iter().flatten() {
        places(subsegment, Some(&id), found);
    }
    found.push((id, above, time("start_time"), time("end_time")));
}

/// The documents say of the request what the record says: each span once, by its id, at its place and time.
#[track_caller]
fn assert_is(documents: &[Value], record: &RequestRecord) {
    let mut found = Vec::new();
    documents.iter().for_each(|document| places(document, None, &mut found));
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let identity = record.identity();
    let parent = identity.parent.map(|parent| parent.to_string());
    let own = (identity.span_id.to_string(), parent, seconds(record.started()), seconds(record.ended()));
    let spans = record.spans.iter().map(|span| {
        let (id, parent) = (span.span_context.span_id().to_string(), span.parent_span_id.to_string());
        (id, Some(parent), seconds(span.start_time), seconds(span.end_time))
    });
    let mut expected: Vec<_> = spans.chain([own]).collect();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    let names = |places: &[Place]| -> Vec<_> {
        places.iter().map(|(id, parent, _, _)| (id.clone(), parent.clone())).collect()
    };
    assert_eq!(names(&found), names(&expected));
    for (one, other) in found.iter().zip(&expected) {
        assert!((one.2 - other.2).abs() < 2e-6 && (one.3 - other.3).abs() < 2e-6, "{one:?} {other:?}");
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The document without what changes from run to run, which has been checked by [`assert_is`] or is checked here.
fn shown(document: &Value) -> String {
    let mut document = document.clone();
    mask(&mut document);
    serde_json::to_string_pretty(&document).unwrap()
}

fn mask(document: &mut Value) {
    let map = document.as_object_mut().unwrap();
    for (key, mask) in
        [("id", "<id>"), ("trace_id", "<trace>"), ("start_time", "<start>"), ("end_time", "<end>")]
    {
        if map.contains_key(key) {
            map.insert(key.to_owned(), mask.into());
        }
    }
    for (object, key) in [("service", "version"), ("aws", "xray")] {
        let Some(own) = map.get_mut(object) else { continue };
        let version = if key == "xray" { &mut own["xray"]["sdk_version"] } else { &mut own[key] };
        assert_eq!(*version, env!("CARGO_PKG_VERSION"));
        *version = "<version>".into();
    }
    if let Some(cause) = map.get_mut("cause") {
        assert_eq!(cause["working_directory"], env!("CARGO_MANIFEST_DIR"));
        cause["working_directory"] = "<here>".into();
        let mut exceptions = std::mem::take(&mut cause["exceptions"]);
        let exceptions = exceptions.as_array_mut().unwrap();
        let ids: Vec<_> = exceptions.iter().map(|exception| exception["id"].clone()).collect();
        for (at, exception) in exceptions.iter_mut().enumerate() {
            exception["id"] = format!("<exception {at}>").into();
            if let Some(cause) = exception.get_mut("cause") {
                let at = ids.iter().position(|id| id == cause).unwrap();
                *cause = format!("<exception {at}>").into();
            }
            if let Some(stack) = exception.get_mut("stack") {
                // Where it became ours; what called it is axum's and tokio's.
                let frames = stack.as_array_mut().unwrap();
                assert!(frames.len() > 5, "{frames:?}");
                frames.truncate(1);
                assert!(frames[0]["line"].as_u64().unwrap() > 0);
                frames[0]["line"] = "<line>".into();
            }
        }
        cause["exceptions"] = exceptions.clone().into();
    }
    for subsegment in map.get_mut("subsegments").and_then(Value::as_array_mut).into_iter().flatten() {
        mask(subsegment);
    }
    mask_now(document);
}

/// The times that the application wrote.
fn mask_now(value: &mut Value) {
    match value {
        Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => {
            *text = "<now>".to_owned()
        }
        Value::Array(values) => values.iter_mut().for_each(mask_now),
        Value::Object(values) => values.values_mut().for_each(mask_now),
        _ => {}
    }
}

/// The document of one request.
async fn document_of(path: &str) -> String {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[]).await;
    app.ask(&sampled(path)).await;
    let record = app.record().await;
    let shown = shown(&document(&daemon, &record));
    app.finish().await;
    shown
}

#[tokio::test]
async fn the_home_feed_is_a_segment_with_its_subsegment() {
    insta::assert_snapshot!(document_of("/api/activities/home").await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "end_time": "<end>",
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/api/activities/home",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 1087,
          "status": 200
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "subsegments": [
        {
          "end_time": "<end>",
          "id": "<id>",
          "metadata": {
            "default": {
              "app.now": "<now>",
              "app.result_length": 3
            }
          },
          "name": "activities_home",
          "start_time": "<start>"
        }
      ],
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_users_page_has_the_metadata_of_the_original() {
    insta::assert_snapshot!(document_of("/api/activities/@andrewbrown").await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "end_time": "<end>",
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/api/activities/@andrewbrown",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 260,
          "status": 200
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "subsegments": [
        {
          "end_time": "<end>",
          "id": "<id>",
          "metadata": {
            "default": {
              "app.handle": "andrewbrown",
              "app.result_length": 1
            }
          },
          "name": "activities_users",
          "start_time": "<start>",
          "subsegments": [
            {
              "end_time": "<end>",
              "id": "<id>",
              "metadata": {
                "namespace": {
                  "key": {
                    "now": "<now>",
                    "results-size": 1
                  }
                }
              },
              "name": "mock-data",
              "start_time": "<start>"
            }
          ]
        }
      ],
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_crud_is_a_segment_with_its_subsegment() {
    let uuid = "68f126b0-1ceb-4a33-88be-d90fa7109eee";
    insta::assert_snapshot!(document_of(&format!("/api/activities/{uuid}")).await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "end_time": "<end>",
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/api/activities/68f126b0-1ceb-4a33-88be-d90fa7109eee",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 528,
          "status": 200
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "subsegments": [
        {
          "end_time": "<end>",
          "id": "<id>",
          "metadata": {
            "default": {
              "activity.uuid": "68f126b0-1ceb-4a33-88be-d90fa7109eee",
              "app.result_length": 1
            }
          },
          "name": "activities_show",
          "start_time": "<start>"
        }
      ],
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_404_is_an_error_and_its_query_is_not_told() {
    insta::assert_snapshot!(document_of("/nowhere?token=hunter2").await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "end_time": "<end>",
      "error": true,
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/nowhere",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 110,
          "status": 404
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_500_is_a_fault_with_its_chain_of_exceptions() {
    insta::assert_snapshot!(document_of("/test/raise?chain=1").await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "cause": {
        "exceptions": [
          {
            "cause": "<exception 1>",
            "id": "<exception 0>",
            "message": "the feed is unavailable",
            "stack": [
              {
                "label": "cruddur::api::test_routes::raise::{{closure}}",
                "line": "<line>",
                "path": "src/api/test_routes.rs"
              }
            ],
            "type": "cruddur::api::test_routes::FeedUnavailable"
          },
          {
            "cause": "<exception 2>",
            "id": "<exception 1>",
            "message": "page 1 cannot be read",
            "type": "dyn Error"
          },
          {
            "id": "<exception 2>",
            "message": "connection refused",
            "type": "std::io::error::Error"
          }
        ],
        "working_directory": "<here>"
      },
      "end_time": "<end>",
      "fault": true,
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/test/raise",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 118,
          "status": 500
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_panic_is_a_fault_with_its_place() {
    insta::assert_snapshot!(document_of("/test/panic").await, @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "cause": {
        "exceptions": [
          {
            "id": "<exception 0>",
            "message": "a panic that was asked for",
            "stack": [
              {
                "label": "cruddur::api::test_routes::panic::{{closure}}",
                "line": "<line>",
                "path": "src/api/test_routes.rs"
              }
            ],
            "type": "panic"
          }
        ],
        "working_directory": "<here>"
      },
      "end_time": "<end>",
      "fault": true,
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/test/panic",
          "user_agent": "curl/8"
        },
        "response": {
          "content_length": 118,
          "status": 500
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "trace_id": "<trace>"
    }
    "#);
}

#[tokio::test]
async fn a_429_is_an_error_and_a_throttle() {
    let daemon = XRay::start();
    let routes = Router::new().route("/", on_get(|| async { StatusCode::TOO_MANY_REQUESTS }));
    let mut app = start(routes, &daemon, &[]).await;
    app.ask(&sampled("/")).await;
    let record = app.record().await;
    let document = document(&daemon, &record);
    assert_eq!((&document["error"], &document["throttle"]), (&json!(true), &json!(true)));
    assert_eq!(document.get("fault"), None);
    app.finish().await;
}

#[tokio::test]
async fn a_client_gone_before_the_head_is_one_closed_segment_without_a_response() {
    let (reached, daemon) = (Arc::new(Notify::new()), XRay::start());
    let handler = {
        let reached = Arc::clone(&reached);
        move || {
            let work = async move {
                reached.notify_one();
                pending::<()>().await;
            };
            tracing::Instrument::instrument(work, tracing::info_span!("working"))
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), &daemon, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(sampled("/").as_bytes()).await.unwrap();
    reached.notified().await;
    drop(stream);
    let record = app.record().await;
    assert_eq!(record.outcome, Outcome::Cancelled(Stage::Head));
    insta::assert_snapshot!(shown(&document(&daemon, &record)), @r#"
    {
      "aws": {
        "xray": {
          "sdk": "cruddur for Rust",
          "sdk_version": "<version>"
        }
      },
      "end_time": "<end>",
      "http": {
        "request": {
          "client_ip": "127.0.0.1",
          "method": "GET",
          "url": "http://localhost/",
          "user_agent": "curl/8"
        }
      },
      "id": "<id>",
      "name": "cruddur-backend",
      "service": {
        "runtime": "rust",
        "version": "<version>"
      },
      "start_time": "<start>",
      "subsegments": [
        {
          "end_time": "<end>",
          "id": "<id>",
          "name": "working",
          "start_time": "<start>"
        }
      ],
      "trace_id": "<trace>"
    }
    "#);
    app.finish().await;
}

/// A response whose body the test feeds.
fn fed() -> (Router, Arc<Mutex<Option<Sender>>>) {
    let slot = Arc::new(Mutex::new(None));
    let held = Arc::clone(&slot);
    let handler = move || async move {
        let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
        *held.lock().await = Some(sender);
        Response::new(Body::new(body))
    };
    (Router::new().route("/", on_get(handler)), slot)
}

#[tokio::test]
async fn a_client_gone_mid_body_is_one_closed_segment_with_the_bytes_so_far() {
    let ((routes, slot), daemon) = (fed(), XRay::start());
    let mut app = start(routes, &daemon, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(sampled("/").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sender = slot.lock().await.take().unwrap();
    sender.send_data("four".into()).await.unwrap();
    read_until(&mut stream, "four\r\n").await;
    drop(stream);
    while sender.send_data("more".into()).await.is_ok() {}
    let record = app.record().await;
    let document = document(&daemon, &record);
    assert_eq!(document["http"]["response"], json!({"status": 200, "content_length": record.response_bytes}));
    assert!(["error", "throttle", "fault"].iter().all(|flag| document.get(flag).is_none()), "{document:#}");
    app.finish().await;
}

#[tokio::test]
async fn a_streamed_body_lasts_until_its_end() {
    let ((routes, slot), daemon) = (fed(), XRay::start());
    let mut app = start(routes, &daemon, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(sampled("/").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sender = slot.lock().await.take().unwrap();
    sender.send_data("one".into()).await.unwrap();
    read_until(&mut stream, "one\r\n").await;
    let streaming = seconds(SystemTime::now());
    sender.send_data("two".into()).await.unwrap();
    drop(sender);
    read_until(&mut stream, "0\r\n\r\n").await;
    let record = app.record().await;
    let document = document(&daemon, &record);
    assert_eq!(document["http"]["response"]["content_length"], 6);
    assert!(document["end_time"].as_f64().unwrap() > streaming - 2e-6, "{document:#}");
    app.finish().await;
}

#[tokio::test]
async fn thousands_of_spans_arrive_each_once() {
    let daemon = XRay::start();
    let handler = || async {
        for outer in 0..60_i64 {
            tracing::info_span!("outer", app.outer = outer).in_scope(|| {
                for inner in 0..49_i64 {
                    let note = "x".repeat(100);
                    tracing::info_span!("inner", app.inner = inner, app.note = note).in_scope(|| {});
                }
            });
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), &daemon, &[]).await;
    app.ask(&sampled("/")).await;
    let record = app.record().await;
    assert_eq!(record.spans.len(), 3000);
    let documents = documents(&daemon, &record);
    assert!(documents.len() > 1, "all of it cannot be in one");
    app.finish().await;
}

#[tokio::test]
async fn spans_nested_two_hundred_deep_arrive_each_once() {
    fn nest(depth: u32) {
        if depth > 0 {
            tracing::info_span!("level").in_scope(|| nest(depth - 1));
        }
    }
    let daemon = XRay::start();
    let mut app = start(Router::new().route("/", on_get(|| async { nest(200) })), &daemon, &[]).await;
    app.ask(&sampled("/")).await;
    let record = app.record().await;
    assert_eq!(record.spans.len(), 200);
    documents(&daemon, &record);
    app.finish().await;
}

/// The subsegment that a span with these attributes becomes, from the API that knows kinds.
async fn subsegment(name: &'static str, kind: SpanKind, attributes: Vec<KeyValue>) -> Value {
    let (daemon, slot) = (XRay::start(), Arc::new(OnceLock::<SdkTracerProvider>::new()));
    let handler = {
        let slot = Arc::clone(&slot);
        move || async move {
            let tracer = slot.get().unwrap().tracer("test");
            tracer.span_builder(name).with_kind(kind).with_attributes(attributes).start(&tracer).end();
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), &daemon, &[]).await;
    slot.set(app.telemetry.tracer_provider().clone()).unwrap();
    app.ask(&sampled("/")).await;
    let record = app.record().await;
    let mut document = document(&daemon, &record);
    mask(&mut document);
    app.finish().await;
    document["subsegments"][0].take()
}

#[tokio::test]
async fn a_call_is_a_remote_subsegment_named_after_its_host() {
    let attributes = vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.full", "http://api.example.com/items/7?token=REDACTED"),
        KeyValue::new("server.address", "api.example.com"),
        KeyValue::new("server.port", 80),
        KeyValue::new("http.response.status_code", 429),
    ];
    let subsegment = subsegment("GET", SpanKind::Client, attributes).await;
    assert_eq!(
        (&subsegment["name"], &subsegment["namespace"]),
        (&json!("api.example.com"), &json!("remote"))
    );
    let request = json!({"method": "GET", "url": "http://api.example.com/items/7"});
    assert_eq!(subsegment["http"], json!({"request": request, "response": {"status": 429}}));
    assert_eq!((&subsegment["error"], &subsegment["throttle"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn a_query_is_a_remote_subsegment_named_after_its_database() {
    let attributes = vec![
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.namespace", "cruddur"),
        KeyValue::new("db.query.text", "SELECT * FROM activities WHERE uuid = $1"),
        KeyValue::new("server.address", "db"),
        KeyValue::new("server.port", 5432),
        KeyValue::new("db.user", "app"),
    ];
    let subsegment = subsegment("SELECT", SpanKind::Client, attributes).await;
    assert_eq!((&subsegment["name"], &subsegment["namespace"]), (&json!("cruddur@db"), &json!("remote")));
    assert_eq!(
        subsegment["sql"],
        json!({"database_type": "postgresql", "url": "postgresql://db:5432/cruddur", "user": "app",
            "sanitized_query": "SELECT * FROM activities WHERE uuid = $1"})
    );
}

#[tokio::test]
async fn fields_are_annotations_and_metadata_of_their_types() {
    let attributes = vec![
        KeyValue::new("xray.name", "named"),
        KeyValue::new("xray.annotation.user.handle", "worf"),
        KeyValue::new("xray.annotation.count", 3),
        KeyValue::new("xray.annotation.share", 0.5),
        KeyValue::new("xray.annotation.fresh", true),
        KeyValue::new("xray.metadata.feed.page", r#"{"size": 2, "items": [1, null]}"#),
        KeyValue::new("xray.metadata.feed.text", "{no json"),
        KeyValue::new("xray.metadata.bare", 1),
        KeyValue::new("app.handle", "worf"),
    ];
    let subsegment = subsegment("own", SpanKind::Internal, attributes).await;
    assert_eq!((&subsegment["name"], subsegment.get("namespace")), (&json!("named"), None));
    assert_eq!(
        subsegment["annotations"],
        json!({"user_handle": "worf", "count": 3, "share": 0.5, "fresh": true})
    );
    assert_eq!(
        subsegment["metadata"],
        json!({"feed": {"page": {"size": 2, "items": [1, null]}, "text": "{no json"},
            "default": {"bare": 1, "app.handle": "worf"}})
    );
}

#[tokio::test]
async fn a_span_that_outlives_its_request_is_a_subsegment_by_itself() {
    let (daemon, release) = (XRay::start(), Arc::new(Notify::new()));
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let handler = {
        let (release, tasks) = (Arc::clone(&release), Arc::clone(&tasks));
        move || async move {
            let work = async move { release.notified().await };
            let work = tracing::Instrument::instrument(work, tracing::info_span!("background"));
            tasks.lock().await.spawn(work.in_current_exchange());
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), &daemon, &[]).await;
    app.ask(&sampled("/")).await;
    let record = app.record().await;
    document(&daemon, &record);
    release.notify_one();
    tasks.lock().await.join_next().await.unwrap().unwrap();
    let Told::Straggler(_, span) = app.told().await else { panic!("told twice of the end") };
    let id = span.span_context.span_id().to_string();
    let late = daemon.wait_for(|state| state.documents.iter().find(|late| late["id"] == *id).cloned());
    assert_eq!((&late["type"], &late["name"]), (&json!("subsegment"), &json!("background")));
    assert_eq!(late["parent_id"], record.identity().span_id.to_string());
    assert_eq!(late["trace_id"], root(&record));
    app.finish().await;
}

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
const PARENT: &str = "53995c3f42cd8ad8";

/// The books of X-Ray.
fn books(app: &Observed) -> Tally {
    let tally = app.telemetry.health()["xray"].items.clone();
    assert!(tally.balances(), "{tally}");
    tally
}

#[tokio::test]
async fn a_caller_that_decided_is_obeyed_and_its_segment_is_the_parent() {
    // These rules want nothing, so that what comes is the callers' doing.
    let daemon = XRay::with_rules(&[rule("Default", 10_000, 0.0)]);
    let mut app = start(api(), &daemon, &[]).await;
    let header = format!("Self=1-67891234-12456789abcdef0123456789;Root={ROOT};Parent={PARENT};Sampled=1");
    let answer = app.ask(&told("/api/activities/home", &header)).await;
    assert_eq!(signature(&answer), format!("Root={ROOT}"));
    let record = app.record().await;
    assert_eq!(root(&record), ROOT);
    let document = document(&daemon, &record);
    assert_eq!(document["parent_id"], PARENT);
    assert_eq!(document["aws"]["xray"].get("sampling_rule_name"), None, "no rule was asked");

    let answer = app.ask(&told("/api/activities/home", &format!("Root={ROOT};Sampled=0"))).await;
    assert_eq!(signature(&answer), format!("Root={ROOT}"), "the real id, sampled or not");
    let record = app.record().await;
    assert_eq!(root(&record), ROOT, "the others are told all the same");
    assert_eq!(books(&app).sampled_out, 1);
    let telemetry = Arc::clone(&app.telemetry);
    app.finish().await;
    let report = telemetry.shut_down(tokio::time::Instant::now() + PATIENCE).await;
    assert_eq!((report.0["xray"].delivered, report.0["xray"].sampled_out), (1, 1), "{report}");
    assert_eq!(daemon.documents().len(), 1);
}

/// Waits until the sampler goes by the daemon's rules.
async fn wait_for_rules(app: &Observed, count: usize) {
    let text = format!("{count} rule{} from ", if count == 1 { "" } else { "s" });
    let rules = async {
        while !app.telemetry.health()["xray"].state.contains(&text) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rules).await.expect("the rules never came");
}

#[tokio::test]
async fn a_caller_that_did_not_decide_leaves_it_to_the_rules() {
    let daemon = XRay::with_rules(&[rule("Everything", 9000, 1.0), rule("Default", 10_000, 0.0)]);
    let mut app = start(api(), &daemon, &[]).await;
    wait_for_rules(&app, 2).await;
    // As a load balancer sends it.
    let answer = app.ask(&told("/api/activities/home", &format!("Root={ROOT}"))).await;
    assert_eq!(signature(&answer), format!("Root={ROOT}"), "nobody asked");
    let record = app.record().await;
    let first = document(&daemon, &record);
    assert_eq!(first["trace_id"], ROOT);
    assert_eq!(first.get("parent_id"), None);
    assert_eq!(first["aws"]["xray"]["sampling_rule_name"], "Everything");
    // And without any header.
    app.get("/api/activities/home").await;
    let record = app.record().await;
    assert_eq!(document(&daemon, &record)["aws"]["xray"]["sampling_rule_name"], "Everything");
    app.finish().await;
}

#[tokio::test]
async fn a_caller_that_asks_is_told() {
    for (rate, sampled) in [(1.0, 1), (0.0, 0)] {
        let daemon = XRay::with_rules(&[rule("Default", 10_000, rate)]);
        let mut app = start(api(), &daemon, &[]).await;
        wait_for_rules(&app, 1).await;
        let answer = app.ask(&told("/api/activities/home", &format!("Root={ROOT};Sampled=?"))).await;
        assert_eq!(signature(&answer), format!("Root={ROOT};Sampled={sampled}"));
        let record = app.record().await;
        if sampled == 1 {
            document(&daemon, &record);
        } else {
            assert_eq!(books(&app).sampled_out, 1);
        }
        app.finish().await;
    }
}

#[tokio::test]
async fn a_malformed_root_begins_a_new_trace_without_a_parent() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[]).await;
    let header = format!("Root=1-5759e988-bd862e3fe1be46a99427279;Parent={PARENT};Sampled=1");
    let answer = app.ask(&told("/api/activities/home", &header)).await;
    let record = app.record().await;
    assert_eq!(signature(&answer), format!("Root={}", root(&record)));
    assert_eq!(document(&daemon, &record).get("parent_id"), None);
    app.finish().await;
}

#[tokio::test]
async fn what_came_with_the_header_goes_on_with_the_decision() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (daemon, slot) = (XRay::start(), Arc::new(OnceLock::<Client>::new()));
    let handler = {
        let slot = Arc::clone(&slot);
        move || async move {
            let request = reqwest::Request::new("GET".parse().unwrap(), url.parse().unwrap());
            let answer = slot.get().unwrap().execute(request).await.unwrap();
            answer.bytes().await.unwrap();
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), &daemon, &[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    slot.set(Client::new(http, &app.telemetry)).unwrap();
    wait_for_rules(&app, 1).await;

    for (asked, decided) in [("", 1), (";Sampled=0", 0), (";Sampled=?", 1)] {
        let header = format!("Self=1-1-2;Root={ROOT};Lineage=25:3a:1|x:0{asked};junk;CalledFrom=app=x");
        let request = told("/", &header);
        let called = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            head
        };
        let (_, head) = tokio::join!(app.ask(&request), called);
        let record = app.record().await;
        let [span] = &record.spans[..] else { panic!("{:?}", record.spans) };
        let expected = format!(
            "Root={ROOT};Parent={};Sampled={decided};Lineage=25:3a:1|x:0;CalledFrom=app=x",
            span.span_context.span_id()
        );
        assert_eq!(signature(&head), expected, "{asked}");
    }
    app.finish().await;
}

/// The name of the segment of a request to this host.
async fn name(host: &str, variables: &[(&str, &str)]) -> String {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, variables).await;
    app.ask(&format!(
        "GET /api/activities/home HTTP/1.1\r\nhost: {host}\r\nx-amzn-trace-id: Sampled=1\r\n\
         connection: close\r\n\r\n"
    ))
    .await;
    let record = app.record().await;
    let name = document(&daemon, &record)["name"].as_str().unwrap().to_owned();
    app.finish().await;
    name
}

#[tokio::test]
async fn a_segment_is_named_after_its_host_where_the_pattern_matches_else_as_configured() {
    let gitpod = ("AWS_XRAY_URL", "*4567-*.gitpod.io*");
    let (tracing, service) = (("AWS_XRAY_TRACING_NAME", "axum"), ("OTEL_SERVICE_NAME", "worf"));
    for (host, variables, expected) in [
        ("localhost", &[] as &[_], "cruddur-backend"),
        ("localhost", &[service], "worf"),
        ("localhost", &[service, tracing], "axum"),
        ("localhost", &[gitpod, tracing], "axum"),
        ("4567-omenking-aws-x.ws-us.GITPOD.io", &[gitpod, tracing], "4567-omenking-aws-x.ws-us.GITPOD.io"),
    ] {
        assert_eq!(name(host, variables).await, expected, "{host} {variables:?}");
    }
}

#[tokio::test]
async fn a_segment_is_named_after_the_host_of_http2_as_well() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[("AWS_XRAY_URL", "*.gitpod.io:4567")]).await;
    let io = TokioIo::new(app.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::get("http://a.gitpod.io:4567/api/activities/home")
        .header("x-amzn-trace-id", "Sampled=1")
        .body(http_body_util::Empty::<Bytes>::new());
    let response = client.send_request(request.unwrap()).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    let record = app.record().await;
    assert_eq!(document(&daemon, &record)["name"], "a.gitpod.io:4567");
    drop(client);
    app.finish().await;
}

#[tokio::test]
async fn requests_are_served_and_booked_where_no_daemon_listens() {
    // A port that was free a moment ago, and is again.
    let address = XRay::start().address();
    let mut app = Observed::start(api(), &[("AWS_XRAY_DAEMON_ADDRESS", &address)]).await;
    for _ in 0..20 {
        let answer = app.ask(&sampled("/api/activities/home")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        app.record().await;
    }
    let telemetry = Arc::clone(&app.telemetry);
    app.finish().await;
    let report = telemetry.shut_down(tokio::time::Instant::now() + PATIENCE).await;
    let tally = &report.0["xray"];
    assert!(tally.balances() && tally.created == 20 && tally.queued == 0, "{report}");
    assert_eq!(report.lost(), 0, "UDP is no reason for an exit code");
    assert!(report.to_string().contains("  xray: created 20, "), "{report}");
}

#[tokio::test]
async fn a_daemon_that_comes_back_gets_what_happens_then() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[]).await;
    app.ask(&sampled("/api/activities/home")).await;
    document(&daemon, &*app.record().await);
    let port = daemon.port();
    drop(daemon);
    // What goes to nobody must not make what follows fail.
    for _ in 0..3 {
        app.ask(&sampled("/api/activities/home")).await;
        app.record().await;
    }
    wait_until_sent(&app, 4).await;
    let daemon = XRay::again(port);
    app.ask(&sampled("/api/activities/home")).await;
    document(&daemon, &*app.record().await);
    app.finish().await;
}

async fn wait_until_sent(app: &Observed, items: u64) {
    let sent = async {
        while books(app).delivered < items {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("it is not sent");
}

#[tokio::test]
async fn a_daemon_is_found_by_its_name() {
    let daemon = XRay::start();
    let address = format!("localhost:{}", daemon.port());
    let mut app = Observed::start(api(), &[("AWS_XRAY_DAEMON_ADDRESS", &address)]).await;
    wait_for_rules(&app, 1).await;
    app.ask(&sampled("/api/activities/home")).await;
    document(&daemon, &*app.record().await);
    app.finish().await;
}

#[tokio::test]
async fn documents_and_sampling_may_go_to_different_places() {
    let (documents_to, rules_from) = (XRay::start(), XRay::with_rules(&[rule("Default", 10_000, 0.0)]));
    let address = format!("tcp:{} udp:{}", rules_from.address(), documents_to.address());
    let mut app = Observed::start(api(), &[("AWS_XRAY_DAEMON_ADDRESS", &address)]).await;
    wait_for_rules(&app, 1).await;
    app.ask(&sampled("/api/activities/home")).await;
    document(&documents_to, &*app.record().await);
    assert_eq!(rules_from.documents(), [Value::Null; 0]);
    app.finish().await;
}

#[tokio::test]
async fn what_waits_at_shutdown_arrives() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[]).await;
    let mut records = Vec::new();
    for _ in 0..40 {
        app.ask(&sampled("/api/activities/home")).await;
        records.push(app.record().await);
    }
    let telemetry = Arc::clone(&app.telemetry);
    app.finish().await;
    let report = telemetry.shut_down(tokio::time::Instant::now() + PATIENCE).await;
    assert_eq!(report.0["xray"].delivered, 40, "{report}");
    records.iter().for_each(|record| drop(document(&daemon, record)));
}

#[tokio::test]
async fn each_backend_samples_for_itself() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[("OTEL_TRACES_SAMPLER", "always_off")]).await;
    let answer = app.ask(&sampled("/api/activities/home")).await;
    assert!(answer.contains("-00\r\n"), "OTLP does not want it: {answer}");
    let record = app.record().await;
    assert_eq!(document(&daemon, &record)["subsegments"][0]["name"], "activities_home");
    // And what X-Ray does not want is shown to the others.
    app.ask(&told("/api/activities/home", "Sampled=0")).await;
    let record = app.record().await;
    assert_eq!(record.spans.len(), 1);
    assert_eq!(daemon.documents().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn the_documents_of_several_requests_do_not_mix() {
    let daemon = XRay::start();
    let mut app = start(api(), &daemon, &[]).await;
    let paths = ["/api/activities/home", "/api/activities/@worf", "/nowhere", "/test/raise"];
    let requests = paths.map(sampled);
    let asked: Vec<_> = requests.iter().cycle().take(32).map(|request| app.ask(request)).collect();
    for asked in asked {
        asked.await;
    }
    let mut names = BTreeMap::new();
    for _ in 0..32 {
        let record = app.record().await;
        let document = document(&daemon, &record);
        let name = document["subsegments"][0]["name"].as_str().unwrap_or("none").to_owned();
        *names.entry((record.request().path.clone(), name)).or_insert(0) += 1;
    }
    let expected = paths.iter().zip(["activities_home", "activities_users", "none", "none"]);
    assert_eq!(names, expected.map(|(path, name)| (((*path).to_owned(), name.to_owned()), 8)).collect());
    app.finish().await;
}
