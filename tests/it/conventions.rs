//! OpenTelemetry's conventions for HTTP server spans, version 1.44, row by row over a socket.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::observe::conventions::{
    Described, each_server_attribute, error_type, exception, server_span_name, server_span_status,
};
use cruddur::telemetry::observe::{Exchange, RequestRecord};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::Value;
use opentelemetry::trace::Status;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::observed::{Observed, get};

/// What an attribute must be: text as a string, a count as `i64`, or not there.
#[derive(Debug, Clone, Copy)]
enum Is {
    Text(&'static str),
    Int(i64),
    Absent,
}

use Is::{Absent, Int, Text};

/// Compares in both directions, so that a count that has become a string is not equal.
#[track_caller]
fn assert_row(fact: &str, record: &RequestRecord, key: &str, is: Is) {
    let attributes = attributes(record);
    let expected = match is {
        Text(text) => Some(Value::from(text)),
        Int(count) => Some(Value::I64(count)),
        Absent => None,
    };
    assert_eq!(attributes.get(key), expected.as_ref(), "{fact}: {key}");
}

/// The attributes by key; none is there twice.
#[track_caller]
fn attributes(record: &RequestRecord) -> BTreeMap<String, Value> {
    let mut attributes = BTreeMap::new();
    each_server_attribute(record, |key: &str, value: Described<'_>| {
        let value = match value {
            Described::Text(text) => Value::from(text.to_owned()),
            Described::Int(number) => Value::from(number),
            Described::Value(value) => value.clone(),
        };
        assert!(attributes.insert(key.to_owned(), value).is_none(), "{key} is there twice");
    });
    attributes
}

fn routes() -> Router {
    let own = || async {
        let exchange = Exchange::current().unwrap();
        exchange.set_attribute("app.plan", "free");
        exchange.set_attribute("app.plan", "gold");
        exchange.set_attribute("app.count", 7_i64);
        exchange.set_attribute("app.ratio", 0.5);
        exchange.set_attribute("app.flag", true);
        // The conventions' own cannot be overwritten.
        exchange.set_attribute("url.path", "/forged");
        exchange.set_attribute("enduser.id", "worf");
    };
    let both = || async {
        Exchange::current().unwrap().set_attribute("enduser.id", "forged");
        Exchange::current().unwrap().set_user("worf");
    };
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
        .route("/own", on_get(own))
        .route("/both", on_get(both))
        .route("/status/{code}", on_get(|code: axum::extract::Path<u16>| async move { status(code.0) }))
}

fn status(code: u16) -> http::StatusCode {
    code.try_into().unwrap()
}

/// Writes a head that has one header a line.
fn head(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n"))
}

async fn seen(variables: &[(&str, &str)], request: &str) -> Arc<RequestRecord> {
    let mut app = Observed::start(routes(), variables).await;
    app.ask(&head(request)).await;
    let record = app.record().await;
    app.finish().await;
    record
}

/// A value that notes something while it is made one: whether it could.
struct Told(Exchange);

impl From<Told> for Value {
    fn from(Told(exchange): Told) -> Self {
        let (done, noted) = mpsc::channel();
        thread::spawn(move || {
            exchange.set_user("worf");
            done.send(())
        });
        noted.recv_timeout(Duration::from_secs(10)).is_ok().into()
    }
}

#[tokio::test]
async fn what_is_made_an_attribute_may_note_something_meanwhile() {
    let told = || async {
        let exchange = Exchange::current().unwrap();
        exchange.set_attribute("app.told", Told(exchange.clone()));
    };
    let mut app = Observed::start(Router::new().route("/told", on_get(told)), &[]).await;
    app.ask(&head("GET /told HTTP/1.1\nhost: localhost")).await;
    let record = app.record().await;
    assert_eq!((record.user.as_deref(), &attributes(&record)["app.told"]), (Some("worf"), &true.into()));
    app.finish().await;
}

type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a [(&'a str, Is)]);

const NOBODY_TRUSTED: &[(&str, &str)] = &[("TRUSTED_PROXIES", "none")];

#[tokio::test]
async fn attributes_follow_the_conventions_row_by_row() {
    let cases: &[Case<'_>] = &[
        (
            "an ordinary request",
            &[],
            "GET /api/activities/@worf HTTP/1.1\nhost: example.com:8080\nuser-agent: tricorder/7.1",
            &[
                ("http.request.method", Text("GET")),
                ("http.request.method_original", Absent),
                ("http.route", Text("/api/activities/@{handle}")),
                ("url.path", Text("/api/activities/@worf")),
                ("url.query", Absent),
                ("url.scheme", Text("http")),
                ("server.address", Text("example.com")),
                ("server.port", Int(8080)),
                ("client.address", Text("127.0.0.1")),
                ("network.peer.address", Text("127.0.0.1")),
                ("network.protocol.name", Absent),
                ("network.protocol.version", Text("1.1")),
                ("user_agent.original", Text("tricorder/7.1")),
                ("http.response.status_code", Int(200)),
                ("http.request.body.size", Absent),
                ("error.type", Absent),
                ("enduser.id", Absent),
                ("cruddur.outcome", Absent),
            ],
        ),
        (
            "a version 1.0 request without a host",
            &[],
            "GET /own HTTP/1.0",
            &[
                ("network.protocol.version", Text("1.0")),
                ("server.address", Absent),
                ("server.port", Absent),
                ("user_agent.original", Absent),
            ],
        ),
        (
            "an unknown method",
            &[],
            "BREW /api/activities/home HTTP/1.1\nhost: localhost",
            &[
                ("http.request.method", Text("_OTHER")),
                ("http.request.method_original", Text("BREW")),
                ("http.route", Text("/api/activities/home")),
                ("http.response.status_code", Int(405)),
            ],
        ),
        (
            "methods are told apart by case",
            &[],
            "get /api/activities/home HTTP/1.1\nhost: localhost",
            &[("http.request.method", Text("_OTHER")), ("http.request.method_original", Text("get"))],
        ),
        (
            "a method that has been made known",
            &[("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW,WHEN")],
            "BREW /api/activities/home HTTP/1.1\nhost: localhost",
            &[("http.request.method", Text("BREW")), ("http.request.method_original", Absent)],
        ),
        (
            "the list of known methods replaces the usual ones",
            &[("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW,WHEN")],
            "GET /api/activities/home HTTP/1.1\nhost: localhost",
            &[("http.request.method", Text("_OTHER")), ("http.request.method_original", Text("GET"))],
        ),
        (
            "a path that no route has",
            &[],
            "GET /no/such%20path?page=2 HTTP/1.1\nhost: localhost",
            &[
                ("http.route", Absent),
                ("url.path", Text("/no/such%20path")),
                ("url.query", Text("page=2")),
                ("http.response.status_code", Int(404)),
                ("error.type", Absent),
            ],
        ),
        (
            "the queries that the conventions have redacted",
            &[],
            "GET /own?AWSAccessKeyId=s&Signature=s&sig=s&X-Goog-Signature=s&X-Amz-Signature=s&X-Amz-Credential=s\
             &X-Amz-Security-Token=s&page=2 HTTP/1.1\nhost: localhost",
            &[(
                "url.query",
                Text(
                    "AWSAccessKeyId=REDACTED&Signature=REDACTED&sig=REDACTED&X-Goog-Signature=REDACTED\
                     &X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED&page=2",
                ),
            )],
        ),
        (
            "a trusted proxy of the older family",
            &[],
            "GET /own HTTP/1.1\nhost: internal:4567\nx-forwarded-proto: https\n\
             x-forwarded-host: cruddur.example\nx-forwarded-for: 6.6.6.6, 203.0.113.7",
            &[
                ("url.scheme", Text("https")),
                ("server.address", Text("cruddur.example")),
                ("server.port", Int(443)),
                ("client.address", Text("203.0.113.7")),
                ("network.peer.address", Text("127.0.0.1")),
            ],
        ),
        (
            "a trusted proxy that speaks RFC 7239",
            &[],
            "GET /own HTTP/1.1\nhost: internal\nx-forwarded-for: 6.6.6.6\nx-forwarded-proto: http\n\
             forwarded: for=\"[2001:db8::7]:47\";proto=https;host=cruddur.example:8443",
            &[
                ("url.scheme", Text("https")),
                ("server.address", Text("cruddur.example")),
                ("server.port", Int(8443)),
                ("client.address", Text("2001:db8::7")),
            ],
        ),
        (
            "a peer that is no trusted proxy",
            NOBODY_TRUSTED,
            "GET /own HTTP/1.1\nhost: internal:4567\nx-forwarded-proto: https\n\
             x-forwarded-host: evil.example\nx-forwarded-for: 203.0.113.7",
            &[
                ("url.scheme", Text("http")),
                ("server.address", Text("internal")),
                ("server.port", Int(4567)),
                ("client.address", Text("127.0.0.1")),
            ],
        ),
        (
            "a peer that is no trusted proxy and speaks RFC 7239",
            NOBODY_TRUSTED,
            "GET /own HTTP/1.1\nhost: internal\nforwarded: for=203.0.113.7;proto=https;host=evil.example",
            &[
                ("url.scheme", Text("http")),
                ("server.address", Text("internal")),
                ("server.port", Int(80)),
                ("client.address", Text("127.0.0.1")),
            ],
        ),
        (
            "what the application adds",
            &[],
            "GET /own HTTP/1.1\nhost: localhost",
            &[
                ("app.plan", Text("gold")),
                ("app.count", Int(7)),
                ("url.path", Text("/own")),
                ("enduser.id", Text("worf")),
            ],
        ),
        (
            "the user that the application names",
            &[],
            "GET /both HTTP/1.1\nhost: localhost",
            &[("enduser.id", Text("worf"))],
        ),
        (
            "whoever posts",
            &[],
            "POST /api/activities HTTP/1.1\nhost: localhost\ncontent-type: application/json\ncontent-length: 0",
            &[
                ("http.request.body.size", Int(0)),
                ("http.response.status_code", Int(400)),
                ("error.type", Absent),
            ],
        ),
        (
            "a handler's error",
            &[],
            "GET /test/raise HTTP/1.1\nhost: localhost",
            &[
                ("http.response.status_code", Int(500)),
                ("error.type", Text("core::num::error::ParseIntError")),
                ("cruddur.outcome", Text("failed")),
            ],
        ),
        (
            "a panic",
            &[],
            "GET /test/panic HTTP/1.1\nhost: localhost",
            &[
                ("http.response.status_code", Int(500)),
                ("error.type", Text("panic")),
                ("cruddur.outcome", Text("panicked")),
            ],
        ),
        (
            "a status of ours without an error",
            &[],
            "GET /status/502 HTTP/1.1\nhost: localhost",
            &[
                ("http.response.status_code", Int(502)),
                ("error.type", Text("502")),
                ("cruddur.outcome", Absent),
            ],
        ),
    ];
    for (fact, variables, request, rows) in cases {
        let record = seen(variables, request).await;
        for (key, is) in *rows {
            assert_row(fact, &record, key, *is);
        }
        let peer = i64::from(record.request().peer.as_ref().unwrap().port());
        assert_row(fact, &record, "network.peer.port", Int(peer));
    }
}

#[tokio::test]
async fn version_2_takes_the_host_from_the_authority() {
    let mut app = Observed::start(routes(), &[]).await;
    let io = TokioIo::new(app.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request =
        http::Request::get("http://cruddur.example:8080/own").body(Empty::<bytes::Bytes>::new()).unwrap();
    client.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    let record = app.record().await;
    for (key, is) in [
        ("network.protocol.version", Text("2")),
        ("server.address", Text("cruddur.example")),
        ("server.port", Int(8080)),
    ] {
        assert_row("version 2", &record, key, is);
    }
    drop(client);
    app.finish().await;
}

#[tokio::test]
async fn posting_names_the_author() {
    let mut app = Observed::start(routes(), &[]).await;
    let uuid = "68f126b0-1ceb-4a33-88be-d90fa7109eee";
    for (path, body) in [
        ("/api/activities".to_owned(), r#"{"message": "x", "ttl": "1-day"}"#),
        (format!("/api/activities/{uuid}/reply"), r#"{"message": "x"}"#),
        ("/api/messages".to_owned(), r#"{"message": "x", "user_receiver_handle": "worf"}"#),
    ] {
        let length = body.len();
        let head = head(&format!(
            "POST {path} HTTP/1.1\nhost: localhost\ncontent-type: application/json\ncontent-length: {length}"
        ));
        app.ask(&(head + body)).await;
        let record = app.record().await;
        assert_eq!(record.status, Some(http::StatusCode::OK), "{path}");
        assert_row(&path, &record, "enduser.id", Text("andrewbrown"));
        assert_row(&path, &record, "http.request.body.size", Int(i64::try_from(length).unwrap()));
    }
    app.finish().await;
}

#[tokio::test]
async fn names_have_the_template_and_never_the_path() {
    let known: &[(&str, &str)] = &[("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW")];
    for (variables, request, name) in [
        (&[][..], "GET /api/activities/@worf HTTP/1.1", "GET /api/activities/@{handle}"),
        (&[], "HEAD /api/activities/home HTTP/1.1", "HEAD /api/activities/home"),
        (&[], "GET /4b1d0b9c/secret HTTP/1.1", "GET"),
        (&[], "BREW /api/activities/home HTTP/1.1", "HTTP /api/activities/home"),
        (&[], "BREW /4b1d0b9c HTTP/1.1", "HTTP"),
        (known, "BREW /api/activities/home HTTP/1.1", "BREW /api/activities/home"),
    ] {
        let record = seen(variables, &format!("{request}\nhost: localhost")).await;
        assert_eq!(server_span_name(record.request()), name, "{request}");
    }
}

#[tokio::test]
async fn only_our_own_failures_are_errors_and_none_has_a_description() {
    for (path, is_error) in [
        ("/own", false),
        ("/status/204", false),
        ("/status/304", false),
        ("/status/400", false),
        ("/nowhere", false),
        ("/status/429", false),
        ("/status/500", true),
        ("/status/503", true),
        ("/test/raise", true),
        ("/test/panic", true),
    ] {
        let record = seen(&[], &format!("GET {path} HTTP/1.1\nhost: localhost")).await;
        let expected = if is_error { Status::error("") } else { Status::Unset };
        assert_eq!(server_span_status(&record), expected, "{path}");
        assert_eq!(error_type(&record).is_some(), is_error, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_no_error_but_an_outcome() {
    let reached = Arc::new(Notify::new());
    let handler = {
        let reached = Arc::clone(&reached);
        move || async move {
            reached.notify_one();
            pending::<()>().await;
        }
    };
    let mut app = Observed::start(Router::new().route("/wait", on_get(handler)), &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/wait").as_bytes()).await.unwrap();
    reached.notified().await;
    drop(stream);
    let record = app.record().await;
    assert_eq!(server_span_status(&record), Status::Unset);
    for (key, is) in [
        ("error.type", Absent),
        ("http.response.status_code", Absent),
        ("http.response.body.size", Absent),
        ("cruddur.outcome", Text("cancelled before the response")),
    ] {
        assert_row("client gone", &record, key, is);
    }
    assert_eq!(exception(&record), None);
    app.finish().await;
}

#[tokio::test]
async fn an_exception_tells_the_whole_chain() {
    let record = seen(&[], "GET /test/raise?chain=1 HTTP/1.1\nhost: localhost").await;
    let chain = exception(&record).unwrap();
    assert_eq!(chain.class, "cruddur::api::test_routes::FeedUnavailable");
    assert_eq!(error_type(&record), Some(chain.class));
    assert_eq!(chain.message, "the feed is unavailable");
    assert_eq!(
        chain.stacktrace,
        "cruddur::api::test_routes::FeedUnavailable: the feed is unavailable\n\
         caused by dyn Error: page 1 cannot be read\n\
         caused by std::io::error::Error: connection refused"
    );

    let record = seen(&[], "GET /test/panic HTTP/1.1\nhost: localhost").await;
    let panic = exception(&record).unwrap();
    assert_eq!((&*panic.class, &*panic.message), ("panic", "a panic that was asked for"));
    let (place, message) = panic.stacktrace.rsplit_once(": ").unwrap();
    assert!(place.starts_with("panicked at src/api/test_routes.rs:"), "{place}");
    assert_eq!(message, panic.message);

    for path in ["/own", "/nowhere", "/status/500"] {
        let record = seen(&[], &format!("GET {path} HTTP/1.1\nhost: localhost")).await;
        assert_eq!(exception(&record), None, "{path}");
    }
}

#[tokio::test]
async fn no_secret_of_the_head_is_anywhere_in_the_record() {
    for request in [
        "GET /own?token=hunter2&password=hunter2&sig=hunter2&X-Amz-Signature=hunter2 HTTP/1.1\nhost: localhost\n\
         authorization: Bearer hunter2\nproxy-authorization: Basic hunter2\ncookie: session=hunter2\n\
         x-api-key: hunter2\nx-honeycomb-team: hunter2\nx-amz-security-token: hunter2\n\
         referer: https://ann:hunter2@example.com/?token=hunter2#hunter2",
        "GET http://ann:hunter2@localhost/own HTTP/1.1\nhost: ann:hunter2@localhost",
        "GET /nowhere?api_key=hunter2 HTTP/1.1\nhost: localhost\nx-forwarded-host: ann:hunter2@localhost",
    ] {
        let record = seen(&[], request).await;
        let noted = format!("{record:?} {:?}", attributes(&record));
        assert!(!noted.contains("hunter2"), "{noted}");
        assert!(noted.contains("localhost"), "{noted}");
    }
}
