//! What CloudWatch Logs gets, and what becomes of lines when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get as on_get;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::Report;
use http::Response;
use http_body_util::channel::Channel;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::observed::{Observed, get, read_until};
use crate::stand_in::cloudwatch::{Answer, CloudWatch, Operation};

const HOME: &str = "/api/activities/home";
/// More than enough for what is to be delivered at the end.
const GRACE: Duration = Duration::from_secs(30);

/// The routes of the binary.
fn routes() -> Router {
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
}

/// Serves `routes` with lines going to `logs`, to a stream called `s`, unless `more` says otherwise.
async fn serve(routes: Router, logs: &CloudWatch, more: &[(&str, &str)]) -> Observed {
    let found = logs.vars();
    let mut variables: Vec<(&str, &str)> =
        found.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.push(("CLOUDWATCH_LOG_STREAM", "s"));
    variables.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    variables.extend_from_slice(more);
    Observed::start_silent(routes, &variables).await
}

/// Stops the server and delivers what waits; the books balance.
async fn stop(app: Observed) -> Report {
    let telemetry = Arc::clone(&app.telemetry);
    app.stop().await;
    let report = telemetry.shut_down(Instant::now() + GRACE).await;
    let tally = &report.0["cloudwatch"];
    assert!(tally.balances() && tally.queued == 0, "{tally}");
    report
}

/// The lines of the stream, as JSON, in the order of their acceptance.
fn lines(logs: &CloudWatch) -> Vec<Value> {
    let accepted = logs.accepted();
    accepted.iter().map(|event| serde_json::from_str(&event.message).unwrap()).collect()
}

fn access_lines(logs: &CloudWatch) -> Vec<Value> {
    lines(logs).into_iter().filter(|line| line.get("status").is_some()).collect()
}

/// What the health endpoint says of it.
async fn state(app: &Observed) -> String {
    let mut caller = Caller::connect(app.address).await;
    caller.get("/health").await.json()["backends"]["cloudwatch"]["state"].as_str().unwrap().to_owned()
}

/// Asks for `/health` until the state has `words`.
async fn state_with(app: &Observed, words: &str) -> String {
    let asking = async {
        loop {
            let state = state(app).await;
            if state.contains(words) {
                return state;
            }
        }
    };
    tokio::time::timeout(GRACE, asking).await.unwrap_or_else(|_| panic!("/health never said {words}"))
}

#[tokio::test]
async fn a_request_is_an_access_line_and_its_log_events_in_json() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    let (trace_id, span_id, _) = caller.get(&format!("{HOME}?page=2&token=hush")).await.trace();
    let report = stop(app).await;
    logs.assert_clean();

    let lines = lines(&logs);
    assert_eq!(report.0["cloudwatch"].delivered, 2, "{report}");
    let [event, access] = &lines[..] else { panic!("{lines:#?}") };
    let (epoch, rest) = trace_id.split_at(8);
    let xray = format!("1-{epoch}-{rest}");
    for line in [event, access] {
        assert_eq!((&line["trace_id"], &line["xray_trace_id"]), (&json!(trace_id), &json!(xray)));
        assert!(line["time"].as_str().unwrap().ends_with('Z') && line["event_id"].is_string());
    }
    assert_eq!((&event["message"], &event["level"]), (&json!("HomeActivities"), &json!("INFO")));
    assert_ne!(event["span_id"], json!(span_id), "it was logged within a span of its own");
    assert_eq!(access["span_id"], json!(span_id));
    for (key, value) in [
        ("level", json!("INFO")),
        ("message", json!("GET /api/activities/home 200")),
        ("method", json!("GET")),
        ("route", json!(HOME)),
        ("path", json!(HOME)),
        ("status", json!(200)),
        ("client", json!("127.0.0.1")),
        ("outcome", json!("completed")),
    ] {
        assert_eq!(access[key], value, "{key}");
    }
    assert!(access["duration_ms"].as_f64().unwrap() > 0.0 && access["bytes"].as_u64().unwrap() > 500);
    let all = logs.accepted();
    assert!(all.iter().all(|event| !event.message.contains("hush")), "{all:?}");
}

#[tokio::test]
async fn the_classic_line_is_what_the_first_edition_wrote() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[("CLOUDWATCH_LOG_FORMAT", "classic")]).await;
    let mut caller = Caller::connect(app.address).await;
    for path in [HOME, "/nowhere?a=1&token=hush", "/x%0d%0a[2026"] {
        caller.get(path).await;
    }
    stop(app).await;
    logs.assert_clean();
    let messages: Vec<_> = logs.accepted().into_iter().map(|event| event.message).collect();
    let [event, home, nowhere, broken] = &messages[..] else { panic!("{messages:#?}") };
    assert!(event.starts_with("HomeActivities trace_id="), "{event}");
    for (line, rest) in [
        (home, "127.0.0.1 GET http /api/activities/home 200 OK"),
        (nowhere, "127.0.0.1 GET http /nowhere?a=1&token=REDACTED 404 Not Found"),
        (broken, "127.0.0.1 GET http /x%0d%0a[2026 404 Not Found"),
    ] {
        let (time, found) = line.split_once("] ").unwrap();
        assert_eq!(found, rest);
        chrono::NaiveDateTime::parse_from_str(time, "[%Y-%b-%d %H:%M").unwrap_or_else(|_| panic!("{line}"));
    }
}

#[tokio::test]
async fn every_request_is_one_line_whatever_becomes_of_it() {
    let held = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&held);
    let routes = Router::new()
        .route("/fine", on_get(|| async { "fine" }))
        .route("/panic", on_get(|| async { panic!("of no use") as &'static str }))
        .route(
            "/endless",
            on_get(move || async move {
                let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
                *slot.lock().await = Some(sender);
                Response::new(Body::new(body))
            }),
        );
    let logs = CloudWatch::start();
    // What the console shows decides nothing.
    let app = serve(routes, &logs, &[("RUST_LOG", "off"), ("CLOUDWATCH_LOG_LEVEL", "off")]).await;
    app.get("/fine").await;
    app.get("/panic").await;
    app.get("/nowhere").await;
    let mut leaving = app.connect().await;
    leaving.write_all(get("/endless").as_bytes()).await.unwrap();
    held_sender(&held).await.send_data(Bytes::from_static(b"beginning")).await.unwrap();
    read_until(&mut leaving, "beginning").await;
    drop(leaving);
    // The connection's end is seen by whoever has more to send.
    let mut sender = held.lock().await.take().unwrap();
    while sender.send_data(Bytes::from_static(b"more")).await.is_ok() {}
    stop(app).await;
    logs.assert_clean();
    let seen: BTreeMap<_, _> = access_lines(&logs)
        .into_iter()
        .map(|line| {
            let of = |key: &str| line[key].to_string();
            (line["path"].as_str().unwrap().to_owned(), [of("level"), of("status"), of("outcome")].join(" "))
        })
        .collect();
    let expected = [
        ("/endless", r#""INFO" 200 "cancelled""#),
        ("/fine", r#""INFO" 200 "completed""#),
        ("/nowhere", r#""WARN" 404 "completed""#),
        ("/panic", r#""ERROR" 500 "panicked""#),
    ];
    assert_eq!(seen, expected.map(|(path, line)| (path.to_owned(), line.to_owned())).into());
    assert_eq!(logs.accepted().len(), 4, "and no log events");
}

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

/// The body's sender, once the handler has left it.
async fn held_sender(held: &Mutex<Option<Sender>>) -> tokio::sync::MappedMutexGuard<'_, Sender> {
    loop {
        let guard = held.lock().await;
        if let Ok(sender) = tokio::sync::MutexGuard::try_map(guard, Option::as_mut) {
            return sender;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn log_events_have_a_level_of_their_own_and_no_carriers_among_them() {
    let routes = Router::new().route(
        "/",
        on_get(|| async {
            tracing::debug!("of no interest to the console");
            tracing::trace!("to nobody");
            tracing::error!(target: "aws_smithy_runtime::client", "the carrier's own");
            tracing::warn!(count = 3, "seen by both");
        }),
    );
    let logs = CloudWatch::start();
    let more = [("LOG_LEVEL", "warn"), ("CLOUDWATCH_LOG_LEVEL", "debug")];
    let app = serve(routes, &logs, &more).await;
    app.get("/").await;
    let telemetry = Arc::clone(&app.telemetry);
    let terminal = app.terminal.clone();
    stop(app).await;
    drop(telemetry);
    logs.assert_clean();
    let events: Vec<_> = lines(&logs).into_iter().filter(|line| line.get("status").is_none()).collect();
    let messages: Vec<_> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["of no interest to the console", "seen by both"]);
    assert_eq!(events[1]["fields"], json!({"count": 3}));
    assert!(events.iter().all(|event| event["trace_id"].is_string()));
    let shown = terminal.text();
    assert!(shown.contains("seen by both") && !shown.contains("of no interest"), "{shown}");
}

#[tokio::test]
async fn a_missing_group_and_stream_are_created_as_told_and_nothing_is_lost_meanwhile() {
    let logs = CloudWatch::start();
    let more = [
        ("CLOUDWATCH_LOG_GROUP", "own/group"),
        ("CLOUDWATCH_RETENTION_DAYS", "30"),
        ("CLOUDWATCH_LOG_CLASS", "INFREQUENT_ACCESS"),
        ("CLOUDWATCH_LOG_STREAM", "{environment}/{service}"),
        ("APP_ENV", "test"),
    ];
    logs.hold(Operation::CreateLogStream);
    let app = serve(routes(), &logs, &more).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get(HOME).await;
    // Twice: without its group the stream cannot be, so the first one is refused.
    logs.wait_for_calls(Operation::CreateLogStream, 1).await;
    for _ in 0..500 {
        caller.get(HOME).await;
    }
    logs.release(Operation::CreateLogStream);
    let report = stop(app).await;
    logs.assert_clean();
    assert_eq!(report.0["cloudwatch"].delivered, 1002, "{report}");
    let group = logs.group("own/group").unwrap();
    assert_eq!((&*group.class, group.retention_days), ("INFREQUENT_ACCESS", Some(30)));
    assert_eq!(group.streams.keys().collect::<Vec<_>>(), ["test/cruddur-backend"]);
    assert_eq!(logs.accepted().len(), 1002);
}

#[tokio::test]
async fn a_group_that_cannot_be_told_how_long_to_keep_lines_keeps_none_waiting() {
    for answer in [Answer::error(501, "NotImplemented"), Answer::hang()] {
        let logs = CloudWatch::start();
        logs.always(Operation::PutRetentionPolicy, answer);
        let app = serve(routes(), &logs, &[("CLOUDWATCH_RETENTION_DAYS", "30")]).await;
        let mut caller = Caller::connect(app.address).await;
        for call in 1..=3 {
            caller.get(HOME).await;
            logs.wait_for(2 * call).await;
        }
        // Once before the group is there, and once for the group that is new.
        assert!(logs.calls(Operation::PutRetentionPolicy) <= 2);
        assert_eq!(stop(app).await.0["cloudwatch"].lost(), 0);
        logs.assert_clean();
    }
}

#[tokio::test]
async fn a_stream_and_a_group_deleted_in_mid_run_are_created_again() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for round in 0..3_usize {
        for _ in 0..100 {
            caller.get(HOME).await;
        }
        logs.wait_for(200 * (round + 1)).await;
        match round {
            0 => logs.delete_stream("cruddur", "s"),
            1 => logs.delete_group("cruddur"),
            _ => {}
        }
    }
    let report = stop(app).await;
    logs.assert_clean();
    let ids: BTreeSet<_> = lines(&logs).iter().map(|line| line["event_id"].to_string()).collect();
    assert_eq!((ids.len(), logs.accepted().len()), (600, 600));
    assert_eq!(report.0["cloudwatch"].delivered, 600, "{report}");
    assert_eq!(logs.streams()[&("cruddur".to_owned(), "s".to_owned())].len(), 200, "the last third");
}

#[tokio::test]
async fn a_group_that_must_not_be_created_is_waited_for() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[("CLOUDWATCH_CREATE_GROUP", "off")]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get(HOME).await;
    let state = state_with(&app, "not delivering").await;
    assert!(
        state.contains("the log group cruddur is not there") && state.contains("CLOUDWATCH_CREATE_GROUP"),
        "{state}"
    );
    assert_eq!(logs.calls(Operation::CreateLogGroup), 0);
    let report = stop(app).await;
    assert_eq!(report.0["cloudwatch"].dropped, [("undelivered_at_shutdown", 2)].into(), "{report}");
}

#[tokio::test]
async fn no_fault_loses_a_line_or_keeps_a_request_waiting() {
    // What time mends comes twice; what a person must mend is held, and tried once more at the end.
    for (fault, answer, held) in [
        ("throttled", Answer::error(400, "ThrottlingException"), false),
        ("unavailable", Answer::error(503, "ServiceUnavailableException"), false),
        ("an empty 500", Answer::empty(500), false),
        ("an empty 200, with no request id", Answer::empty(200), false),
        ("a page for people", Answer::html(), false),
        ("a reset", Answer::reset(), false),
        ("an operation in progress", Answer::error(400, "OperationAbortedException"), false),
        ("denied", Answer::error(400, "AccessDeniedException"), true),
        ("an unknown key", Answer::error(400, "UnrecognizedClientException"), true),
        ("expired", Answer::error(400, "ExpiredTokenException"), true),
        ("a gateway's 403", Answer::empty(403), true),
    ] {
        let logs = CloudWatch::start();
        let failures = if held { 1 } else { 2 };
        logs.script(Operation::PutLogEvents, vec![answer; failures]);
        let app = serve(routes(), &logs, &[]).await;
        let mut caller = Caller::connect(app.address).await;
        caller.get(HOME).await;
        logs.wait_for_calls(Operation::PutLogEvents, 1).await;
        if held {
            state_with(&app, "not delivering").await;
        }
        // Nobody waits for it.
        caller.get(HOME).await;
        let report = stop(app).await;
        logs.assert_clean();
        assert_eq!(report.0["cloudwatch"].delivered, 4, "{fault}: {report}");
        let ids: Vec<_> = lines(&logs).iter().map(|line| line["event_id"].to_string()).collect();
        assert_eq!(ids.len(), 4, "{fault}");
        assert!(ids.is_sorted(), "{fault}: what came back goes first");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_costs_a_duplicate_that_its_id_tells() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get(HOME).await;
    logs.wait_for(2).await;
    logs.script(Operation::PutLogEvents, [Answer::reset_afterwards()]);
    caller.get(HOME).await;
    let report = stop(app).await;
    logs.assert_clean();
    assert_eq!(report.0["cloudwatch"].delivered, 4, "{report}");
    let lines = lines(&logs);
    let ids: BTreeSet<_> = lines.iter().map(|line| line["event_id"].to_string()).collect();
    assert_eq!((lines.len(), ids.len()), (6, 4));
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_explained() {
    for (answer, words) in [
        (Answer::error(400, "AccessDeniedException"), "logs:PutLogEvents"),
        (Answer::error(400, "ExpiredTokenException"), "AWS_SESSION_TOKEN"),
        (Answer::empty(404), "AWS_ENDPOINT_URL"),
    ] {
        let logs = CloudWatch::start();
        logs.always(Operation::PutLogEvents, answer);
        let app = serve(routes(), &logs, &[]).await;
        app.get(HOME).await;
        let state = state_with(&app, words).await;
        assert!(state.starts_with("not delivering to CloudWatch Logs, cruddur s"), "{state}");
        drop(app);
    }
}

#[tokio::test]
async fn temporary_credentials_are_signed_with_their_token_and_wrong_ones_held() {
    let logs = CloudWatch::start_with_session();
    let app = serve(routes(), &logs, &[]).await;
    app.get(HOME).await;
    let report = stop(app).await;
    logs.assert_clean();
    assert_eq!(report.0["cloudwatch"].delivered, 2);

    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[("AWS_SECRET_ACCESS_KEY", "another-dummy")]).await;
    app.get(HOME).await;
    let state = state_with(&app, "not delivering").await;
    assert!(state.contains("AWS_SECRET_ACCESS_KEY") && !state.contains("another-dummy"), "{state}");
    assert!(logs.accepted().is_empty());
}

/// Puts lines by the SDK and without it, has a call of the latter kind answered so, and puts others.
async fn who_calls(failing: Answer) {
    const SDK: &str = "aws-sdk-rust";
    const OURS: &str = "cruddur";
    let logs = CloudWatch::start_with_session();
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    let mut put = async |scripted: Option<Answer>| {
        let before = logs.accepted().len();
        logs.script(Operation::PutLogEvents, scripted);
        caller.get(HOME).await;
        logs.wait_for(before + 2).await;
        logs.agents()
    };
    // The stream is not there yet.
    assert_eq!(put(None).await, [SDK, SDK]);
    assert_eq!(put(None).await, [SDK, SDK, OURS]);
    assert_eq!(put(None).await[3..], [OURS], "again and again");
    assert_eq!(put(Some(failing)).await[4], OURS);
    put(None).await;
    let report = stop(app).await;
    logs.assert_clean();
    let agents = logs.agents();
    assert!(agents.len() >= 7 && agents[5..].iter().all(|agent| agent == SDK), "for a while: {agents:?}");
    // With lines about the failure, where it kept others waiting.
    let delivered = usize::try_from(report.0["cloudwatch"].delivered).unwrap();
    assert!(delivered >= 10 && delivered == logs.accepted().len(), "{report}");
}

#[tokio::test]
async fn where_the_sdk_got_through_lines_go_without_it_until_a_call_is_refused() {
    who_calls(Answer::error(400, "AccessDeniedException")).await;
}

#[tokio::test]
async fn where_the_sdk_got_through_lines_go_without_it_until_there_are_too_many() {
    who_calls(Answer::error(400, "ThrottlingException")).await;
}

#[tokio::test]
async fn where_the_sdk_got_through_lines_go_without_it_until_a_call_breaks_off() {
    who_calls(Answer::reset()).await;
}

#[tokio::test]
async fn lines_that_are_not_taken_are_lost_and_counted_by_the_sdk_and_without_it() {
    const FORTNIGHT: Duration = Duration::from_secs(15 * 24 * 3600);
    for calls in [0, 2] {
        let logs = CloudWatch::start();
        let app = serve(routes(), &logs, &[]).await;
        let mut caller = Caller::connect(app.address).await;
        for call in 1..=calls {
            caller.get(HOME).await;
            logs.wait_for(2 * call).await;
        }
        let before = logs.agents().len();
        logs.age(FORTNIGHT);
        caller.get(HOME).await;
        let report = stop(app).await;
        logs.assert_clean();
        let tally = &report.0["cloudwatch"];
        assert_eq!((tally.delivered, tally.dropped["too_old"]), (2 * calls as u64, 2), "{report}");
        let by_sdk = logs.agents()[before..].iter().any(|agent| agent == "aws-sdk-rust");
        assert_eq!(by_sdk, calls == 0, "{:?}", logs.agents());
    }
}

#[tokio::test]
async fn a_poisonous_line_is_found_and_the_others_arrive() {
    let logs = CloudWatch::start();
    logs.poison(|message| message.contains("/poison"));
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for n in 0..40 {
        caller.get(if n == 17 { "/poison" } else { "/nowhere" }).await;
    }
    let report = stop(app).await;
    logs.assert_clean();
    let tally = &report.0["cloudwatch"];
    assert_eq!((tally.delivered, &tally.dropped), (39, &[("invalid", 1)].into()), "{report}");
    let mut lines = lines(&logs);
    // In its place is one that says so, and has its ids.
    let instead = lines.remove(lines.iter().position(|line| line.get("status").is_none()).unwrap());
    assert_eq!(instead["message"], "CloudWatch refused this line");
    let mut ids: Vec<_> = lines.iter().map(|line| line["event_id"].to_string()).collect();
    assert!(ids.len() == 39 && ids.is_sorted(), "{ids:?}");
    ids.push(instead["event_id"].to_string());
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 40);
    assert!(logs.calls(Operation::PutLogEvents) < 20, "halving, not one by one");
}

#[tokio::test]
async fn where_every_line_is_refused_none_is_to_blame_and_all_are_kept() {
    let logs = CloudWatch::start();
    logs.always(Operation::PutLogEvents, Answer::error(400, "InvalidParameterException"));
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for _ in 0..40 {
        caller.get("/nowhere").await;
    }
    let state = state_with(&app, "every line is refused").await;
    assert!(state.contains("CLOUDWATCH_LOG_GROUP"), "{state}");
    // Somebody has mended it.
    logs.always(Operation::PutLogEvents, Answer::default());
    let report = stop(app).await;
    logs.assert_clean();
    let tally = &report.0["cloudwatch"];
    assert_eq!((tally.delivered, tally.lost()), (40, 0), "{report}");
    assert_eq!(lines(&logs).len(), 40);
}

#[tokio::test]
async fn a_peer_that_never_answers_keeps_nobody_waiting_and_is_given_up_at_the_end() {
    let logs = CloudWatch::start();
    logs.always(Operation::PutLogEvents, Answer::hang());
    let app = serve(routes(), &logs, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get(HOME).await;
    logs.wait_for_calls(Operation::PutLogEvents, 1).await;
    for _ in 0..100 {
        caller.get(HOME).await;
    }
    let telemetry = Arc::clone(&app.telemetry);
    app.stop().await;
    let report = telemetry.shut_down(Instant::now() + Duration::from_millis(100)).await;
    let tally = &report.0["cloudwatch"];
    assert!(tally.balances(), "{tally}");
    assert_eq!(tally.dropped, [("undelivered_at_shutdown", 202)].into());
    assert_eq!(report.lost(), 202);
}

#[tokio::test]
async fn thousands_of_lines_go_in_calls_that_keep_every_limit_and_in_order() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[]).await;
    let long = format!("/{}", "x".repeat(2_000));
    let mut caller = Caller::connect(app.address).await;
    for n in 0..3_000 {
        caller.get(if n % 3 == 0 { &long } else { HOME }).await;
    }
    let report = stop(app).await;
    logs.assert_clean();
    assert_eq!(report.0["cloudwatch"].delivered, 5_000, "{report}");
    let ids: Vec<_> = lines(&logs).iter().map(|line| line["event_id"].to_string()).collect();
    assert!(ids.len() == 5_000 && ids.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn an_access_line_can_be_a_metric_and_paths_never_are() {
    let logs = CloudWatch::start();
    let app = serve(routes(), &logs, &[("CLOUDWATCH_METRICS_NAMESPACE", "Cruddur")]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.get("/api/activities/@andrewbrown").await;
    caller.get("/test/raise").await;
    stop(app).await;
    logs.assert_clean();
    let metrics: Vec<_> = access_lines(&logs)
        .iter()
        .map(|line| {
            (
                line["Route"].clone(),
                line["Faults"].clone(),
                line["_aws"]["CloudWatchMetrics"][0]["Namespace"].clone(),
            )
        })
        .collect();
    assert_eq!(
        metrics,
        [
            (json!("/api/activities/@{handle}"), json!(0), json!("Cruddur")),
            (json!("/test/raise"), json!(1), json!("Cruddur")),
        ]
    );
}

#[tokio::test]
async fn segments_name_the_group_that_has_the_lines() {
    let (logs, daemon) = (CloudWatch::start(), crate::stand_in::xray::XRay::start());
    let app = serve(routes(), &logs, &[("AWS_XRAY_DAEMON_ADDRESS", &daemon.address())]).await;
    let mut caller = Caller::connect(app.address).await;
    caller.ask("GET", HOME, &[("x-amzn-trace-id", "Sampled=1")], "").await;
    stop(app).await;
    let segment = daemon.wait_for(|state| state.documents.first().cloned());
    assert_eq!(segment["aws"]["cloudwatch_logs"], json!([{"log_group": "cruddur"}]));
}
