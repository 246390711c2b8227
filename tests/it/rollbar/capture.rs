//! What becomes an item: every failure, once.

use std::panic::catch_unwind;
use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get as on_get;
use cruddur::telemetry::observe::InCurrentExchange as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{books, item_of, serve, start, stop};
use crate::caller::Caller;
use crate::stand_in::rollbar::Rollbar;

/// Shows as many failures as its query names.
async fn fails(RawQuery(query): RawQuery) -> cruddur::api::Result<StatusCode> {
    let query = query.unwrap_or_default();
    let shows = |what: &str| query.contains(what);
    if shows("warns") {
        tracing::warn!(report = true, "a warning that asks for a report");
    }
    if shows("logs") {
        tracing::error!("an error in the log");
        tracing::error!("and another one");
    }
    if shows("spawns") {
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("a task panics") }.in_current_exchange());
        let joined: Result<(), _> = tasks.join_next().await.unwrap();
        if shows("joins") {
            joined?;
        }
    }
    if shows("errs") {
        "forty-two".parse::<u32>()?;
    }
    assert!(!shows("panics"), "a panic that was asked for");
    Ok(if shows("bare") { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
}

#[tokio::test]
async fn a_failed_request_is_one_item_whatever_it_shows() {
    let stand_in = Rollbar::start();
    // The same failure in another route is another one; of the same, only five would come.
    let own = (0..8).fold(Router::new(), |own, aside| own.route(&format!("/fails/{aside}"), on_get(fails)));
    let app = serve(own, &stand_in, &[("ROLLBAR_ITEMS_PER_MINUTE", "6000")]).await;
    let mut expected = Vec::new();
    for aside in 0..8_u8 {
        for end in ["", "joins", "errs", "panics", "bare"] {
            let named = ["warns", "logs", "spawns"];
            let shown: Vec<_> = (0..3).filter(|bit| aside & (1 << bit) != 0).map(|bit| named[bit]).collect();
            let path = format!("/fails/{aside}?{}&{end}", shown.join("&"));
            let mut caller = Caller::connect(app.address).await;
            let reply = caller.get(&path).await;
            let fails = matches!(end, "errs" | "panics" | "bare") || aside != 0;
            expected.push((path, reply.trace().0, fails));
        }
    }
    let report = stop(app).await;
    stand_in.assert_clean();
    let items = stand_in.items();
    for (path, trace_id, fails) in &expected {
        if *fails {
            let item = item_of(&items, trace_id);
            let shows = |what| path.contains(what);
            let level = match () {
                () if shows("panics") || shows("spawns") => "critical",
                () if shows("errs") || shows("bare") || shows("logs") => "error",
                () => "warning",
            };
            assert_eq!(item["level"], level, "{path}: {item:#}");
        }
    }
    let failed = expected.iter().filter(|(_, _, fails)| *fails).count();
    assert_eq!(items.len(), failed);
    assert_eq!(books(&report).created, failed as u64);
}

#[tokio::test]
async fn a_task_that_panics_is_the_cause_of_the_error_that_it_becomes() {
    let stand_in = Rollbar::start();
    let own = Router::new().route("/fails", on_get(fails));
    let app = serve(own, &stand_in, &[]).await;
    Caller::connect(app.address).await.get("/fails?spawns&joins").await;
    stop(app).await;
    stand_in.assert_clean();
    let [item] = &stand_in.items()[..] else { panic!("one item: {:#?}", stand_in.items()) };
    let chain = item["data"]["body"]["trace_chain"].as_array().unwrap();
    let classes: Vec<_> = chain.iter().map(|thrown| thrown["exception"]["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["tokio::runtime::task::error::JoinError", "panic"]);
    assert_eq!(chain[1]["exception"]["message"], "a task panics");
    let last = chain[1]["frames"].as_array().unwrap().last().unwrap();
    assert_eq!(last["filename"], "tests/it/rollbar/capture.rs");
}

#[tokio::test]
async fn the_test_route_says_hello_to_both() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[]).await;
    let reply = Caller::connect(app.address).await.get("/rollbar/test?a=b").await;
    assert_eq!((reply.status, &*reply.body), (StatusCode::OK, &b"Hello World!"[..]));
    stop(app).await;
    stand_in.assert_clean();
    let item = item_of(&stand_in.items(), &reply.trace().0);
    assert_eq!(item["body"]["message"]["body"], "Hello World!");
    assert_eq!((&item["level"], &item["context"]), (&json!("warning"), &json!("GET /rollbar/test")));
    assert_eq!(item["request"]["GET"], json!({"a": "b"}));
    assert_eq!((&item["environment"], &item["code_version"]), (&json!("development"), &json!("5eed")));
}

#[tokio::test]
async fn failures_outside_of_requests_are_items_without_one() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[]).await;
    tracing::error!(job = 7, "the nightly job failed");
    tracing::error!(report = false, "nobody needs to know");
    tracing::warn!("nor of this");
    let mut tasks = JoinSet::new();
    tasks.spawn(async { panic!("a task of nobody") });
    assert!(tasks.join_next().await.unwrap().is_err());
    catch_unwind(|| panic!("a thread of nobody")).unwrap_err();
    let report = stop(app).await;
    stand_in.assert_clean();
    let items = stand_in.items();
    let shown: Vec<_> = items
        .iter()
        .map(|item| {
            let data = &item["data"];
            assert!(data.get("request").is_none() && data.get("attributes").is_none(), "{data:#}");
            (data["level"].as_str().unwrap(), data["title"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("error", "the nightly job failed"),
            ("critical", "panic: a task of nobody"),
            ("critical", "panic: a thread of nobody"),
        ]
    );
    assert_eq!(items[0]["data"]["custom"]["fields"], json!({"job": 7}));
    let frames = items[2]["data"]["body"]["trace"]["frames"].as_array().unwrap();
    assert_eq!(frames.last().unwrap()["filename"], "tests/it/rollbar/capture.rs", "{frames:#?}");
    assert_eq!(books(&report).to_string(), "created 3, delivered 3");
}

/// Answers, and goes on until it is told to end; then it fails.
fn outliving(end: &Arc<Notify>, tasks: &Arc<tokio::sync::Mutex<JoinSet<()>>>, panics: bool) -> Router {
    let (end, tasks) = (Arc::clone(end), Arc::clone(tasks));
    Router::new().route(
        "/outlived",
        on_get(move |RawQuery(query): RawQuery| async move {
            let work = async move {
                end.notified().await;
                tracing::error!("too late for the answer");
                tracing::error!("and later still");
                assert!(!panics, "and then it panics");
            };
            tasks.lock().await.spawn(work.in_current_exchange());
            if query.is_some() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
        }),
    )
}

#[tokio::test]
async fn what_outlives_its_request_is_reported_with_it_unless_that_has_been_done() {
    for (path, panics) in [("/outlived", false), ("/outlived", true), ("/outlived?fails", false)] {
        let stand_in = Rollbar::start();
        let (end, tasks) = (Arc::new(Notify::new()), Arc::default());
        let mut app = serve(outliving(&end, &tasks, panics), &stand_in, &[("RUST_LOG", "error")]).await;
        let reply = Caller::connect(app.address).await.get(path).await;
        app.record().await;
        end.notify_one();
        let ended = tasks.lock().await.join_next().await.unwrap();
        assert_eq!(ended.is_err(), panics);
        let report = stop(app).await;
        stand_in.assert_clean();
        let item = item_of(&stand_in.items(), &reply.trace().0);
        let late = item["custom"].get("after_the_answer").is_some();
        assert_eq!(late, path == "/outlived", "{item:#}");
        if late {
            assert_eq!(item["body"]["message"]["body"], "too late for the answer");
            assert_eq!(item["request"]["method"], "GET");
        }
        assert_eq!(books(&report).to_string(), "created 1, delivered 1");
    }
}

#[tokio::test]
async fn what_is_no_failure_is_no_item() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for path in ["/api/activities/home", "/nowhere", "/api/activities/%ff", "/health"] {
        caller.get(path).await;
    }
    caller.ask("POST", "/api/activities", &[("content-type", "application/json")], r#"{"message":""}"#).await;
    drop(caller);
    let report = stop(app).await;
    assert_eq!(stand_in.items(), Vec::<Value>::new());
    assert_eq!(books(&report).created, 0);
}

#[tokio::test]
async fn an_event_that_asks_for_a_report_is_kept_however_many_there_are() {
    let stand_in = Rollbar::start();
    let chatty = || async {
        for n in 0..500 {
            tracing::info!(n, "chatter");
        }
        tracing::error!("what it was all about");
    };
    let app = serve(Router::new().route("/chatty", on_get(chatty)), &stand_in, &[]).await;
    Caller::connect(app.address).await.get("/chatty").await;
    stop(app).await;
    stand_in.assert_clean();
    let [item] = &stand_in.items()[..] else { panic!("one item") };
    assert_eq!(item["data"]["body"]["message"]["body"], "what it was all about");
    let telemetry = item["data"]["body"]["telemetry"].as_array().unwrap();
    assert_eq!(telemetry.len(), 50);
    assert_eq!(telemetry[49]["body"]["message"], "what it was all about");
}
