//! Exactly one record for each request, with the right outcome, however it goes.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get as on_get, post};
use cruddur::telemetry::observe::{InCurrentExchange as _, Outcome, Stage, Verdict};
use http::{Response, StatusCode, header};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::observed::{Observed, Told, get, read_until};

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

/// A response whose body the test feeds.
fn fed(length: Option<u64>) -> (Router, Arc<Mutex<Option<Sender>>>) {
    let slot = Arc::new(Mutex::new(None));
    let held = Arc::clone(&slot);
    let routes = Router::new().route(
        "/fed",
        on_get(move || async move {
            let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
            *held.lock().await = Some(sender);
            let mut response = Response::new(Body::new(body));
            if let Some(length) = length {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            }
            response
        }),
    );
    (routes, slot)
}

async fn panics() -> &'static str {
    panic!("before any await")
}

async fn panics_later() -> &'static str {
    tokio::task::yield_now().await;
    panic!("after an await")
}

fn simple() -> Router {
    Router::new()
        .route("/text", on_get(|| async { "twelve bytes" }))
        .route("/empty", on_get(|| async {}))
        .route("/no-content", on_get(|| async { StatusCode::NO_CONTENT }))
        .route("/not-modified", on_get(|| async { (StatusCode::NOT_MODIFIED, "never sent") }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/bare-500", on_get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/panic", on_get(panics))
        .route("/panic-later", on_get(panics_later))
        .route(
            "/error",
            on_get(|| async { cruddur::api::Result::<()>::Err("x".parse::<u32>().unwrap_err().into()) }),
        )
        .route("/hang", on_get(pending::<()>))
        .fallback(cruddur::api::not_found)
}

#[tokio::test]
async fn a_body_with_a_length_is_complete_after_its_last_byte() {
    let mut app = Observed::start(simple(), &[]).await;
    let answer = app.get("/text").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\ntwelve bytes"),
        "{answer}"
    );
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Completed, Verdict::Fine));
    assert_eq!(record.status, Some(StatusCode::OK));
    assert_eq!((record.response_bytes, record.response_content_length), (12, Some(12)));
    assert_eq!(record.request().route.as_deref(), Some("/text"));
    assert!(record.head_after.unwrap() <= record.duration);
    app.finish().await;
}

#[tokio::test]
async fn responses_without_a_body_end_with_their_head() {
    let mut app = Observed::start(simple(), &[]).await;
    for (path, status) in [("/empty", 200), ("/no-content", 204), ("/not-modified", 304)] {
        app.get(path).await;
        let record = app.record().await;
        assert_eq!(record.status.unwrap().as_u16(), status);
        assert_eq!((record.outcome, record.response_bytes), (Outcome::Completed, 0), "{path}");
    }
    let answer = app.ask("HEAD /text HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 12\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let record = app.record().await;
    assert_eq!((record.outcome, record.response_bytes), (Outcome::Completed, 0));
    assert_eq!(record.request().method, http::Method::HEAD);
    app.finish().await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_recorded_without_and_with_their_route() {
    let mut app = Observed::start(simple(), &[]).await;
    app.get("/nowhere").await;
    let record = app.record().await;
    assert_eq!((record.status.unwrap().as_u16(), record.verdict()), (404, Verdict::ClientError));
    assert_eq!(record.request().route, None);
    app.ask("PUT /text HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let record = app.record().await;
    assert_eq!((record.status.unwrap().as_u16(), record.outcome), (405, Outcome::Completed));
    assert_eq!(record.request().route.as_deref(), Some("/text"));
    app.finish().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_recorded_one_by_one() {
    let mut app = Observed::start(simple(), &[]).await;
    let mut stream = app.connect().await;
    let keep = "GET /text HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(keep.as_bytes()).await.unwrap();
    read_until(&mut stream, "twelve bytes").await;
    let first = app.record().await;
    // The connection is kept; now two at once.
    stream.write_all([keep, &get("/empty")].concat().as_bytes()).await.unwrap();
    let (second, third) = (app.record().await, app.record().await);
    assert_eq!(second.request().path, "/text");
    assert_eq!(third.request().path, "/empty");
    assert_ne!(first.identity().trace_id, second.identity().trace_id);
    app.finish().await;
}

#[tokio::test]
async fn http2_streams_are_recorded_one_by_one() {
    let mut app = Observed::start(simple(), &[]).await;
    let io = TokioIo::new(app.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = |path| {
        let uri = format!("http://localhost{path}");
        http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap()
    };
    for path in ["/text", "/empty"] {
        let response = client.send_request(request(path)).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        response.into_body().collect().await.unwrap();
        let record = app.record().await;
        assert_eq!((record.outcome, record.request().protocol_version), (Outcome::Completed, "2"), "{path}");
    }
    // A stream that the client resets is that request's cancellation, not the connection's.
    let hanging = tasks.spawn({
        let hanging = client.send_request(request("/hang"));
        async move {
            hanging.await.ok();
            Ok(())
        }
    });
    let answered = client.send_request(request("/text")).await.unwrap();
    answered.into_body().collect().await.unwrap();
    assert_eq!(app.record().await.outcome, Outcome::Completed);
    hanging.abort();
    assert_eq!(app.record().await.outcome, Outcome::Cancelled(Stage::Head));
    drop(client);
    app.finish().await;
}

#[tokio::test]
async fn a_chunked_body_lasts_until_its_stream_ends() {
    let (routes, slot) = fed(None);
    let mut app = Observed::start(routes, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    let mut sender = slot.lock().await.take().unwrap();
    sender.send_data("one".into()).await.unwrap();
    read_until(&mut stream, "one\r\n").await;
    sender.send_data("two".into()).await.unwrap();
    drop(sender);
    read_until(&mut stream, "0\r\n\r\n").await;
    let record = app.record().await;
    assert_eq!((record.outcome, record.response_bytes), (Outcome::Completed, 6));
    assert_eq!(record.response_content_length, None);
    assert!(record.head_after.unwrap() < record.duration);
    app.finish().await;
}

#[tokio::test]
async fn a_declared_length_ends_the_exchange_even_if_the_stream_goes_on() {
    let (routes, slot) = fed(Some(3));
    let mut app = Observed::start(routes, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    // The sender stays: nobody will ask it whether there is more.
    let mut guard = slot.lock().await;
    let sender = guard.as_mut().unwrap();
    sender.send_data("one".into()).await.unwrap();
    let record = app.record().await;
    assert_eq!((record.outcome, record.response_bytes), (Outcome::Completed, 3));
    drop(guard);
    app.finish().await;
}

#[tokio::test]
async fn a_stream_that_fails_is_a_failure_with_the_bytes_so_far() {
    let (routes, slot) = fed(None);
    let mut app = Observed::start(routes, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sender = slot.lock().await.take().unwrap();
    sender.send_data("four".into()).await.unwrap();
    read_until(&mut stream, "four\r\n").await;
    sender.abort(std::io::Error::other("the disk is gone"));
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Failed, Verdict::ServerFault));
    assert_eq!((record.status, record.response_bytes), (Some(StatusCode::OK), 4));
    let fault = record.fault.as_ref().unwrap();
    assert!(fault.causes().iter().any(|cause| cause.message == "the disk is gone"), "{fault:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_stream_that_panics_cuts_the_connection_and_nothing_else() {
    struct Bomb(bool);
    impl http_body::Body for Bomb {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            assert!(!self.0, "the stream broke");
            self.0 = true;
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data("tick".into()))))
        }
    }
    let bomb = || async { Response::new(Body::new(Bomb(false))) };
    let mut app = Observed::start(simple().route("/bomb", on_get(bomb)), &[]).await;
    let answer = app.get("/bomb").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "the cut must be seen: {answer}");
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Panicked, Verdict::ServerFault));
    assert_eq!((record.status, record.response_bytes), (Some(StatusCode::OK), 4));
    assert_eq!(record.panic.as_ref().unwrap().message, "the stream broke");
    app.get("/text").await;
    assert_eq!(app.record().await.outcome, Outcome::Completed);
    app.finish().await;
}

#[tokio::test]
async fn a_handler_error_brings_its_chain_to_the_record() {
    let mut app = Observed::start(simple(), &[]).await;
    let answer = app.get("/error").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Failed, Verdict::ServerFault));
    let fault = record.fault.as_ref().unwrap();
    assert_eq!(fault.causes()[0].class, "core::num::error::ParseIntError");
    assert!(!fault.backtrace().frames().is_empty());
    app.get("/bare-500").await;
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Completed, Verdict::ServerFault));
    app.finish().await;
}

#[tokio::test]
async fn a_panic_before_or_after_an_await_is_answered_and_recorded_with_its_place() {
    let mut app = Observed::start(simple(), &[]).await;
    for (path, message) in [("/panic", "before any await"), ("/panic-later", "after an await")] {
        let answer = app.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost:3000\r\nconnection: close\r\n\r\n")).await;
        let record = app.record().await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
        assert!(answer.contains("x-tap: signed\r\n"), "{answer}");
        let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["trace_id"], record.identity().trace_id.to_string());
        assert!(!answer.contains(message), "internals leak: {answer}");
        assert_eq!((record.outcome, record.verdict()), (Outcome::Panicked, Verdict::ServerFault));
        let panic = record.panic.as_ref().unwrap();
        assert_eq!(panic.message, message);
        assert!(panic.location.as_ref().unwrap().starts_with("tests/it/outcomes.rs:"), "{panic:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_client_gone_before_the_head_is_recorded_once() {
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
    assert_eq!((record.outcome, record.verdict()), (Outcome::Cancelled(Stage::Head), Verdict::Abandoned));
    assert_eq!((record.status, record.head_after), (None, None));
    app.finish().await;
}

#[tokio::test]
async fn a_client_leaving_mid_body_is_recorded_once_with_the_bytes_so_far() {
    let (routes, slot) = fed(None);
    let mut app = Observed::start(routes, &[]).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/fed").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut sender = slot.lock().await.take().unwrap();
    sender.send_data("four".into()).await.unwrap();
    read_until(&mut stream, "four\r\n").await;
    drop(stream);
    // What is sent into a closed connection tells the server that it is closed.
    while sender.send_data("more".into()).await.is_ok() {}
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Cancelled(Stage::Body), Verdict::Abandoned));
    assert_eq!(record.status, Some(StatusCode::OK));
    assert!(record.response_bytes >= 4 && record.response_bytes % 4 == 0, "{}", record.response_bytes);
    app.finish().await;
}

#[tokio::test]
async fn a_request_out_of_time_is_answered_503_and_failed() {
    let mut app = Observed::start(simple(), &[("REQUEST_TIMEOUT", "20ms")]).await;
    let answer = app.get("/hang").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let record = app.record().await;
    assert_eq!((record.outcome, record.verdict()), (Outcome::Failed, Verdict::ServerFault));
    assert!(record.fault.as_ref().unwrap().causes()[0].class.ends_with("RequestTimeout"));
    assert!(record.duration >= Duration::from_millis(20));
    app.finish().await;
}

#[tokio::test]
async fn a_span_that_outlives_its_request_is_told_as_a_straggler() {
    let (release, tasks) = (Arc::new(Notify::new()), Arc::new(Mutex::new(JoinSet::new())));
    let handler = {
        let (release, tasks) = (Arc::clone(&release), Arc::clone(&tasks));
        move || async move {
            let inner = async move {
                let span = tracing::info_span!("mail", recipients = 3_i64);
                let _entered = span.enter();
                tracing::info!("on its way");
                drop(_entered);
                release.notified().await;
            };
            let work = tracing::Instrument::instrument(inner, tracing::info_span!("background"));
            tasks.lock().await.spawn(work.in_current_exchange());
            "done"
        }
    };
    let mut app = Observed::start(Router::new().route("/spawn", on_get(handler)), &[]).await;
    app.get("/spawn").await;
    let closed = app.record().await;
    release.notify_one();
    tasks.lock().await.join_next().await.unwrap().unwrap();
    let mut names = Vec::new();
    for _ in 0..2 {
        let Told::Straggler(record, span) = app.told().await else { panic!("told twice of the end") };
        assert!(Arc::ptr_eq(&record, &closed));
        assert_eq!(span.span_context.trace_id(), closed.identity().trace_id);
        names.push((span.name.to_string(), span.parent_span_id));
    }
    assert_eq!(names[0].0, "mail");
    assert_eq!(names[1], ("background".to_owned(), closed.identity().span_id));
    app.finish().await;
}

#[tokio::test]
async fn spans_of_both_apis_and_log_events_are_filed_under_their_request() {
    let slot: Arc<std::sync::OnceLock<opentelemetry_sdk::trace::SdkTracerProvider>> = Arc::default();
    let handler = {
        let slot = Arc::clone(&slot);
        move || async move {
            tracing::info!(answer = 42_u64, "in the handler");
            let outer = tracing::info_span!("outer", count = 7_i64);
            let _entered = outer.enter();
            tracing::warn!("in the span");
            let tracer = slot.get().unwrap().tracer("direct");
            tracer.in_span("direct", |context| {
                context.span().set_attribute(opentelemetry::KeyValue::new("own", true));
                tracing::info_span!("inner").in_scope(|| {});
            });
            "ok"
        }
    };
    let mut app = Observed::start(Router::new().route("/spans", on_get(handler)), &[]).await;
    slot.set(app.telemetry.tracer_provider().clone()).unwrap();
    app.get("/spans").await;
    let record = app.record().await;
    let find = |name: &str| record.spans.iter().find(|span| span.name == name).unwrap();
    let (outer, direct, inner) = (find("outer"), find("direct"), find("inner"));
    assert_eq!(record.spans.len(), 3);
    assert_eq!(outer.parent_span_id, record.identity().span_id);
    assert_eq!(direct.parent_span_id, outer.span_context.span_id());
    assert_eq!(inner.parent_span_id, direct.span_context.span_id());
    assert!(record.spans.iter().all(|span| span.span_context.trace_id() == record.identity().trace_id));
    let [first, second] = &record.events[..] else { panic!("{:?}", record.events) };
    assert_eq!(first.message, "in the handler");
    assert_eq!(first.fields, [opentelemetry::KeyValue::new("answer", 42_i64)]);
    assert_eq!(first.span, Some((record.identity().trace_id, record.identity().span_id)));
    assert_eq!(second.span, Some((record.identity().trace_id, outer.span_context.span_id())));
    app.finish().await;
}

#[tokio::test]
async fn an_excluded_path_is_served_signed_and_unseen() {
    let mut app = Observed::start(simple(), &[("TELEMETRY_EXCLUDE_PATHS", "/text")]).await;
    let answer = app.get("/text").await;
    assert!(answer.contains("traceresponse: 00-"), "{answer}");
    app.get("/empty").await;
    assert_eq!(app.record().await.request().path, "/empty");
    let (telemetry, terminal) = (Arc::clone(&app.telemetry), app.terminal.clone());
    app.finish().await;
    let report = telemetry.shut_down(tokio::time::Instant::now() + Duration::from_secs(20)).await;
    assert_eq!(report.0["terminal"].lost(), 0, "{report}");
    let shown = terminal.text();
    assert!(shown.contains("GET /empty") && !shown.contains("GET /text"), "{shown}");
}

#[tokio::test]
async fn what_is_in_flight_at_shutdown_is_finished_or_cut_at_the_deadline() {
    let release = Arc::new(Notify::new());
    let handler = {
        let release = Arc::clone(&release);
        move || async move {
            release.notified().await;
            "finished"
        }
    };
    let routes = simple().route("/slow", on_get(handler));
    let mut app = Observed::start(routes, &[("SHUTDOWN_GRACE", "200ms")]).await;
    let (mut slow, mut hanging) = (app.connect().await, app.connect().await);
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    hanging.write_all(get("/hang").as_bytes()).await.unwrap();
    // An answer on a third connection shows that the first two have been taken in.
    app.get("/text").await;
    assert_eq!(app.record().await.outcome, Outcome::Completed);
    app.ask_to_stop();
    release.notify_one();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("finished"), "{answer}");
    assert_eq!(app.record().await.outcome, Outcome::Completed);
    assert_eq!(app.record().await.outcome, Outcome::Cancelled(Stage::Head));
    let (drained, rest) = app.stop().await;
    assert_eq!(drained.cut, 1);
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let app = Observed::start(simple(), &[]).await;
    for beginning in ["", "P", "GET /text HTTP/1.1\r\nhost: "] {
        let mut stream = app.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The clock stands still while there is something to do, and jumps to the next timer when there is not.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{beginning:?}: {answer}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_a_client_makes_long_is_cut_or_weighs() {
    let mut app = Observed::start(simple(), &[]).await;
    app.get("/nowhere").await;
    let plain = app.record().await.weight();
    let (path, agent) = ("x".repeat(10_000), "y".repeat(30_000));
    app.ask(&format!("GET /{path} HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\nconnection: close\r\n\r\n"))
        .await;
    let long = app.record().await;
    assert!(long.request().user_agent().unwrap().len() == 2048);
    let more = long.weight() - plain;
    assert!((12_000..13_000).contains(&more), "{more}");
    app.finish().await;
}
