//! What whoever starts the service sees of it.

use std::future::pending;
use std::sync::Arc;

use axum::Router;
use axum::routing::get as on_get;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::observe::{Exchange, InCurrentExchange as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::observed::{Observed, PATIENCE, get};

fn routes() -> Router {
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
}

/// Serves `routes` with this `LOG_FORMAT`, without what the tests' own backend logs.
async fn start(routes: Router, format: &str) -> Observed {
    Observed::start(routes, &[("LOG_FORMAT", format), ("RUST_LOG", "info,it::observed=off")]).await
}

/// What changes from run to run, replaced after it was found to be what it should be.
fn masked(text: &str, trace_ids: &[String]) -> String {
    text.split_inclusive('\n').map(|line| masked_line(line, trace_ids)).collect()
}

fn masked_line(line: &str, trace_ids: &[String]) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if form(&words[0]) == "00:00:00.000" {
        words[0] = "<time>".to_owned();
    }
    for at in 0..words.len() {
        let unit = words.get(at + 1).map(|unit| unit.trim_end().to_owned());
        if matches!(unit.as_deref(), Some("µs" | "ms" | "s")) {
            let number: f64 = words[at].parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(number > 0.0, "{line}");
            words[at] = "<some>".to_owned();
            words[at + 1] = words[at + 1].replace(&unit.unwrap(), "time");
        }
        if let [file, row, column, ""] = words[at].split(':').collect::<Vec<_>>()[..]
            && [row, column].iter().all(|number| number.parse::<u32>().is_ok())
        {
            words[at] = format!("{file}:<place>:");
        }
        if trace_ids.contains(&words[at].trim_end().to_owned()) {
            words[at] = words[at].replace(words[at].trim_end(), "<trace>");
        }
        if let Some((key, value)) = words[at].split_once('=')
            && form(value.trim_end()).starts_with("0000-00-00T00:00:00.000000")
        {
            words[at] = format!("{key}=<now>{}", if value.ends_with('\n') { "\n" } else { "" });
        }
    }
    words.join(" ")
}

/// Digits as zeroes.
fn form(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// The trees of these paths, asked for one after the other.
async fn trees(app: &mut Observed, paths: &[&str]) -> String {
    let mut trace_ids = Vec::new();
    for path in paths {
        app.get(path).await;
        trace_ids.push(app.record().await.identity().trace_id.to_string());
    }
    masked(&app.shown().await, &trace_ids)
}

#[tokio::test]
async fn the_home_feed_is_a_request_with_its_span_and_its_log_event() {
    let mut app = start(routes(), "plain").await;
    insta::assert_snapshot!(trees(&mut app, &["/api/activities/home"]).await, @r"
    <time> GET /api/activities/home 200 completed <some> time 1.1 kB trace <trace>
    └─ home-activities-mock-data <some> time xray.name=activities_home app.now=<now> app.result_length=3
       └─ INFO HomeActivities
    ");
}

#[tokio::test]
async fn an_error_shows_its_chain_and_a_panic_its_place() {
    let mut app = start(routes(), "plain").await;
    insta::assert_snapshot!(trees(&mut app, &["/test/raise?chain=1", "/test/panic"]).await, @r"
    <time> GET /test/raise 500 failed <some> time 118 B trace <trace> /test/raise?chain=1
    └─ cruddur::api::test_routes::FeedUnavailable: the feed is unavailable
       caused by dyn Error: page 1 cannot be read
       caused by std::io::error::Error: connection refused
    <time> GET /test/panic 500 panicked <some> time 118 B trace <trace>
    └─ panicked at src/api/test_routes.rs:<place>: a panic that was asked for
    ");
}

#[tokio::test]
async fn a_path_without_a_route_is_shown_with_its_redacted_query() {
    let mut app = start(routes(), "plain").await;
    insta::assert_snapshot!(trees(&mut app, &["/nowhere?token=hunter2&page=2"]).await, @"<time> GET (no route) 404 completed <some> time 110 B trace <trace> /nowhere?token=REDACTED&page=2");
}

#[tokio::test]
async fn spans_within_spans_are_branches_of_branches() {
    let handler = || async {
        tracing::info_span!("outer", app.note = "two words").in_scope(|| {
            tracing::info_span!("inner", app.count = 3_i64)
                .in_scope(|| tracing::warn!(attempt = 2, "in there"));
            tracing::info!("between");
            tracing::info_span!("after").in_scope(|| {});
        });
        tracing::error!("at the end");
    };
    let mut app = start(Router::new().route("/", on_get(handler)), "plain").await;
    insta::assert_snapshot!(trees(&mut app, &["/"]).await, @r#"
    <time> GET / 200 completed <some> time 0 B trace <trace>
    ├─ outer <some> time app.note="two words"
    │  ├─ inner <some> time app.count=3
    │  │  └─ WARN in there attempt=2
    │  ├─ INFO between
    │  └─ after <some> time
    └─ ERROR at the end
    "#);
}

#[tokio::test]
async fn a_log_event_after_the_end_of_its_request_is_shown_by_itself() {
    let (release, tasks) = (Arc::new(Notify::new()), Arc::new(Mutex::new(JoinSet::new())));
    let handler = {
        let (release, tasks) = (Arc::clone(&release), Arc::clone(&tasks));
        move || async move {
            let work = async move {
                tracing::info!("begun");
                release.notified().await;
                tracing::info!("ended");
            };
            tasks.lock().await.spawn(work.in_current_exchange());
            tokio::task::yield_now().await;
        }
    };
    let mut app = start(Router::new().route("/", on_get(handler)), "plain").await;
    app.get("/").await;
    let trace_id = app.record().await.identity().trace_id.to_string();
    release.notify_one();
    tasks.lock().await.join_next().await.unwrap().unwrap();
    insta::assert_snapshot!(masked(&app.shown().await, &[trace_id]), @r"
    <time> GET / 200 completed <some> time 0 B trace <trace>
    └─ INFO begun
    <time> INFO ended
    ");
}

#[tokio::test]
async fn a_client_that_leaves_has_no_status() {
    let reached = Arc::new(Notify::new());
    let handler = {
        let reached = Arc::clone(&reached);
        move || async move {
            reached.notify_one();
            pending::<()>().await;
        }
    };
    let mut app = start(Router::new().route("/wait", on_get(handler)), "plain").await;
    let mut stream = app.connect().await;
    stream.write_all(get("/wait").as_bytes()).await.unwrap();
    reached.notified().await;
    drop(stream);
    let trace_id = app.record().await.identity().trace_id.to_string();
    insta::assert_snapshot!(masked(&app.shown().await, &[trace_id]), @"<time> GET /wait --- cancelled before the response <some> time 0 B trace <trace>");
}

#[tokio::test]
async fn answers_of_the_layers_are_shown_like_those_of_handlers() {
    let app = start(routes(), "json").await;
    app.ask("OPTIONS /api/activities/home HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    app.get(&format!("/{}", "x".repeat(20_000))).await;
    let headers = format!("x-a: {0}\r\nx-b: {0}", "x".repeat(60_000));
    app.ask(&format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n\r\n")).await;
    let lines = lines(&app.shown().await);
    let seen: Vec<_> = lines.iter().map(|line| (line["method"].as_str(), line["status"].as_u64())).collect();
    assert_eq!(
        seen,
        [(Some("OPTIONS"), Some(200)), (Some("GET"), Some(414)), (Some("GET"), Some(431))],
        "{lines:?}"
    );
}

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// The keys as they stand in the text, which a map would sort.
fn keys(line: &str) -> Vec<String> {
    let Value::Object(object) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
    let mut keys: Vec<_> =
        object.keys().map(|key| (line.find(&format!("\"{key}\":")), key.clone())).collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

#[tokio::test]
async fn json_has_a_line_for_each_event_and_each_request_with_exactly_these_keys() {
    let handler = || async {
        let exchange = Exchange::current().unwrap();
        exchange.set_attribute("app.plan", "gold");
        exchange.set_attribute("enduser.id", "forged");
        exchange.set_user("worf");
        tracing::info_span!("inner")
            .in_scope(|| tracing::warn!(count = 3_u64, ratio = 0.5, ok = true, "In it"));
        "five!"
    };
    let mut app = start(Router::new().route("/items/{id}", on_get(handler)), "json").await;
    app.get("/items/7?token=hunter2").await;
    let record = app.record().await;
    tracing::info!("outside of any request");
    let text = app.shown().await;
    let [event, access, outside] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };

    let ids = ["trace_id", "xray_trace_id", "span_id"];
    let common = ["time", "level", "message", "event_id"];
    let of_access = ["method", "route", "path", "status", "duration_ms", "bytes", "client", "outcome"];
    assert_eq!(keys(event), [&common[..], &ids, &["fields"]].concat());
    assert_eq!(keys(access), [&common[..], &ids, &of_access, &["fields"]].concat());
    assert_eq!(keys(outside), common);

    let mut parsed = lines(&text);
    let trace_id = record.identity().trace_id.to_string();
    let (epoch, random) = trace_id.split_at(8);
    let inner = record.spans[0].span_context.span_id().to_string();
    for line in &mut parsed {
        let time = line["time"].take();
        assert_eq!(form(time.as_str().unwrap()), "0000-00-00T00:00:00.000000Z");
        let event_id = line["event_id"].take();
        let (boot, sequence) = event_id.as_str().unwrap().split_once('-').unwrap();
        assert_eq!((boot.len(), form(sequence).as_str()), (32, "0000000000"), "{event_id}");
    }
    assert_eq!(
        parsed[0],
        json!({
            "time": null, "level": "WARN", "message": "In it", "event_id": null,
            "trace_id": trace_id, "xray_trace_id": format!("1-{epoch}-{random}"), "span_id": inner,
            "fields": {"count": 3, "ratio": 0.5, "ok": true},
        })
    );
    let duration = parsed[1]["duration_ms"].take();
    assert!(duration.as_f64().is_some_and(|duration| duration > 0.0), "{duration}");
    assert_eq!(
        parsed[1],
        json!({
            "time": null, "level": "INFO", "message": "GET /items/{id} 200", "event_id": null,
            "trace_id": trace_id, "xray_trace_id": format!("1-{epoch}-{random}"),
            "span_id": record.identity().span_id.to_string(),
            "method": "GET", "route": "/items/{id}", "path": "/items/7", "status": 200, "duration_ms": null,
            "bytes": 5, "client": "127.0.0.1", "outcome": "completed",
            "fields": {"app.plan": "gold", "enduser.id": "worf"},
        })
    );
    assert_eq!(access.matches("enduser.id").count(), 1, "{access}");
    assert_eq!(
        parsed[2],
        json!({"time": null, "level": "INFO", "message": "outside of any request", "event_id": null})
    );
    assert!(!text.contains("hunter2"), "{text}");
    app.finish().await;
}

#[tokio::test]
async fn json_tells_how_a_request_failed() {
    let app = start(routes(), "json").await;
    for path in ["/test/raise", "/test/panic", "/nowhere"] {
        app.get(path).await;
    }
    let text = app.shown().await;
    let lines = lines(&text);
    let access: Vec<_> = lines.iter().filter(|line| line.get("status").is_some()).collect();
    let [error, panic, lost] = access[..] else { panic!("{text}") };
    for (line, level, message, outcome) in [
        (error, "ERROR", "GET /test/raise 500", "failed"),
        (panic, "ERROR", "GET /test/panic 500", "panicked"),
        (lost, "WARN", "GET - 404", "completed"),
    ] {
        assert_eq!((line["level"].as_str(), line["outcome"].as_str()), (Some(level), Some(outcome)));
        assert_eq!(line["message"], message);
    }
    assert_eq!(
        error["fields"],
        json!({
            "error.type": "core::num::error::ParseIntError",
            "error.message": "invalid digit found in string",
        })
    );
    assert_eq!(
        panic["fields"],
        json!({"error.type": "panic", "error.message": "a panic that was asked for"})
    );
    assert_eq!((lost.get("route"), lost.get("fields")), (Some(&Value::Null), None));
}

/// Characters that a terminal acts upon, or that end a line or reverse it for one reader or another.
fn is_unruly(c: char) -> bool {
    c.is_control() || "\u{2028}\u{2029}\u{200e}\u{200f}\u{202e}\u{2066}".contains(c)
}

#[tokio::test]
async fn what_a_client_sends_neither_breaks_a_line_nor_moves_the_cursor() {
    let paths: [&[u8]; 7] = [
        b"/%0d%0aforged%1b[2J",
        // CSI and NEL as one character each, DEL, a line separator, a reversal of the line: hyper takes them raw.
        "/csi\u{9b}2J".as_bytes(),
        "/nel\u{85}forged".as_bytes(),
        b"/del\x7f",
        "/separator\u{2028}forged".as_bytes(),
        "/reversed\u{202e}forged".as_bytes(),
        "/query?\u{9b}2J\u{85}\u{2067}=x".as_bytes(),
    ];
    for format in ["plain", "json", "pretty"] {
        let app = Observed::start(Router::new(), &[("LOG_FORMAT", format), ("LOG_LEVEL", "off")]).await;
        let mut taken = 0;
        for path in paths {
            let request =
                [b"GET ", path, b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"].concat();
            let answer = String::from_utf8(app.send(&request).await).unwrap();
            taken += usize::from(answer.starts_with("HTTP/1.1 404"));
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        assert!(taken >= 4, "hyper lets too little through for this to be a test: {taken}");
        let shown = app.shown().await;
        assert_eq!(shown.lines().count(), taken, "{shown:?}");
        for line in shown.lines() {
            let bare = without_colours(line);
            assert!(!bare.contains(is_unruly), "{format}: {bare:?}");
            assert_eq!(line == bare, format != "pretty", "{line:?}");
        }
        if format == "json" {
            let lines = lines(&shown);
            assert!(lines.iter().any(|line| line["path"] == "/csi\u{9b}2J"), "{lines:?}");
        }
    }
}

/// The text without the sequences that set colours and weights.
fn without_colours(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        let Some((codes, after)) = after.split_once('m') else { break };
        if codes.contains(|c: char| !c.is_ascii_digit() && c != ';') {
            break;
        }
        bare.push_str(before);
        rest = after;
    }
    bare + rest
}

#[tokio::test]
async fn pretty_is_plain_in_colours() {
    let mut shown = Vec::new();
    for format in ["pretty", "plain"] {
        let mut app = start(routes(), format).await;
        let mut trace_ids = Vec::new();
        for path in ["/api/activities/home", "/nowhere", "/test/raise?chain=1"] {
            app.get(path).await;
            trace_ids.push(app.record().await.identity().trace_id.to_string());
        }
        tracing::warn!("outside");
        let text = app.shown().await;
        assert_eq!(text.contains('\u{1b}'), format == "pretty", "{text}");
        shown.push(masked(&without_colours(&text), &trace_ids));
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test]
async fn a_reader_that_stalls_keeps_no_request_waiting_and_costs_only_what_finds_no_room() {
    const QUEUE: usize = 4096;
    let handler = || async {
        (0..QUEUE).for_each(|n| tracing::info!(n, "flood"));
        "answered"
    };
    let mut app = start(Router::new().route("/", on_get(handler)), "json").await;
    app.terminal.stall();
    tracing::info!("first");
    app.terminal.wait_for_blocked_writer();
    for _ in 0..2 {
        assert!(app.get("/").await.ends_with("answered"));
        app.record().await;
    }
    let items = app.telemetry.health()["terminal"].items.clone();
    assert!(items.balances(), "{items}");
    // An event before, then twice the flood and the access line.
    let created = 1 + 2 * (QUEUE as u64 + 1);
    let dropped = created - 1 - QUEUE as u64;
    assert_eq!((items.created, items.delivered, items.queued), (created, 0, QUEUE as u64 + 1));
    assert_eq!(items.dropped, [("queue_full", dropped)].into(), "{items}");
    let state = &app.telemetry.health()["terminal"].state;
    assert!(state.contains(&dropped.to_string()), "{state}");

    app.terminal.release();
    let report = app.telemetry.shut_down(tokio::time::Instant::now() + PATIENCE).await;
    let items = &report.0["terminal"];
    assert!(items.balances(), "{items}");
    assert_eq!((items.delivered, items.queued, items.lost()), (QUEUE as u64 + 1, 0, dropped));
    assert_eq!(app.terminal.text().lines().count(), QUEUE + 1);
    assert_eq!(report.lost(), 0, "a view for people is no loss of data");
    app.finish().await;
}

#[tokio::test]
async fn a_reader_that_never_comes_back_costs_what_waits_at_the_deadline() {
    let app = start(Router::new(), "plain").await;
    app.terminal.stall();
    tracing::info!("first");
    app.terminal.wait_for_blocked_writer();
    tracing::info!("second");
    let report =
        app.telemetry.shut_down(tokio::time::Instant::now() + std::time::Duration::from_millis(10)).await;
    let items = &report.0["terminal"];
    assert_eq!(items.to_string(), "created 2, delivered 0, dropped 2 (deadline)");
    assert!(items.balances());
    tracing::info!("after the end");
    // The reader is back, too late: what has been given up for lost is not delivered as well.
    app.terminal.release();
    app.terminal.wait_for_dropped_writer();
    let items = app.telemetry.health()["terminal"].items.clone();
    assert!(items.balances(), "{items}");
    assert_eq!((items.created, items.dropped["shut_down"]), (3, 1));
}
