//! What becomes of items, whatever Rollbar answers.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{books, health_until, start, stop};
use crate::caller::Caller;
use crate::observed::Observed;
use crate::process::Process;
use crate::stand_in::rollbar::{Answer, Rollbar, TOKEN};

const RAISE: &str = "/test/raise";

async fn raise(app: &Observed) {
    let reply = Caller::connect(app.address).await.get(RAISE).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_item_is_retried_as_it_is_until_it_is_taken() {
    for answer in [Answer::of(502, "<html>Bad Gateway</html>"), Answer::of(200, "<html>Welcome</html>")] {
        let stand_in = Rollbar::start();
        stand_in.script([answer]);
        let app = start(&stand_in, &[]).await;
        raise(&app).await;
        stand_in.wait_until("a second post", |seen| seen.posts.len() == 2).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        let [first, second] = &stand_in.posts()[..] else { panic!("two posts") };
        assert_eq!(first.item, second.item);
        assert_eq!(books(&report).to_string(), "created 1, delivered 1");
    }
}

#[tokio::test]
async fn a_limit_is_kept_and_shown() {
    let stand_in = Rollbar::start();
    stand_in.script([Answer::refused(429, "rate limit").header("x-rate-limit-remaining-seconds", "2")]);
    let app = start(&stand_in, &[]).await;
    raise(&app).await;
    let state = health_until(&app, |state| state.starts_with("not delivering")).await;
    assert!(state.contains("429") && state.contains("rate limit"), "{state}");
    // The failure, and the notice that there was a limit.
    let items = stand_in.wait_for(2).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    let posts = stand_in.posts();
    assert_eq!(posts.len(), 3);
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(2), "{:?}", posts[1].at - posts[0].at);
    assert!(
        items[1]["data"]["title"].as_str().unwrap().starts_with("Rollbar took no items for 2 s"),
        "{items:#?}"
    );
    assert_eq!(books(&report).to_string(), "created 2, delivered 2");
}

#[tokio::test]
async fn a_wrong_token_is_explained_and_nothing_is_lost_until_the_end() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[("ROLLBAR_ACCESS_TOKEN", "another-dummy")]).await;
    let terminal = app.terminal.clone();
    for _ in 0..3 {
        raise(&app).await;
    }
    let state = health_until(&app, |state| state.starts_with("not delivering")).await;
    assert!(state.contains("ROLLBAR_ACCESS_TOKEN") && state.contains("invalid access token"), "{state}");
    let (telemetry, posts) = (Arc::clone(&app.telemetry), stand_in.posts().len());
    assert_eq!(posts, 1, "one is enough to know");
    app.stop().await;
    let report = telemetry.shut_down(Instant::now() + Duration::from_secs(2)).await;
    assert_eq!(books(&report).to_string(), "created 3, delivered 0, dropped 3 (undelivered_at_shutdown)");
    assert_eq!(report.lost(), 3);
    let terminal = terminal.text();
    assert_eq!(terminal.matches("ROLLBAR_ACCESS_TOKEN").count(), 1, "{terminal}");
    assert!(!terminal.contains("another-dummy") && !state.contains("another-dummy"), "{terminal}");
}

#[tokio::test]
async fn what_is_refused_is_dropped_and_what_comes_after_is_not() {
    for (answer, reason) in [
        (Answer::refused(400, "bad"), "http_400"),
        (Answer::refused(422, "bad"), "http_422"),
        (Answer::refused(200, "bad"), "refused"),
    ] {
        let stand_in = Rollbar::start();
        stand_in.script([answer]);
        let app = start(&stand_in, &[]).await;
        raise(&app).await;
        stand_in.wait_until("a post", |seen| seen.posts.len() == 1).await;
        raise(&app).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(books(&report).to_string(), format!("created 2, delivered 1, dropped 1 ({reason})"));
    }
}

#[tokio::test]
async fn what_is_always_too_large_is_posted_no_more_than_three_times() {
    let stand_in = Rollbar::start();
    stand_in.always(Answer::refused(413, "too large"));
    let app = start(&stand_in, &[]).await;
    raise(&app).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    let posts = stand_in.posts();
    assert!((2..=3).contains(&posts.len()), "{}", posts.len());
    assert!(posts.last().unwrap().bytes <= 2 << 10);
    assert_eq!(books(&report).to_string(), "created 1, delivered 0, dropped 1 (http_413)");
}

/// Asks for the failing route on several connections at once.
async fn storm(address: std::net::SocketAddr, requests: usize) {
    const CONNECTIONS: usize = 8;
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        callers.spawn(async move {
            let mut caller = Caller::connect(address).await;
            for _ in 0..requests / CONNECTIONS {
                assert_eq!(caller.get(RAISE).await.status, StatusCode::INTERNAL_SERVER_ERROR);
            }
        });
    }
    callers.join_all().await;
}

#[tokio::test]
async fn ten_thousand_failures_stay_within_the_budget_and_every_one_is_accounted_for() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[("LOG_LEVEL", "off")]).await;
    storm(app.address, 10_000).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    let (tally, items) = (books(&report), stand_in.items());
    assert_eq!(tally.created, 10_000);
    assert_eq!(tally.created, tally.delivered + tally.suppressed + tally.lost(), "{tally}");
    assert_eq!(tally.delivered, items.len() as u64);
    // The first five, and powers of ten; what finds no room to be looked into is not among those that are counted.
    assert!((5..=9).contains(&items.len()), "{tally}");
    assert!(tally.dropped.keys().all(|reason| *reason == "queue_full"), "{tally}");
    let told: u64 =
        items.iter().filter_map(|item| item["data"]["custom"]["suppressed_since_last"].as_u64()).sum();
    assert!(told <= tally.suppressed && told > 0, "{told} {tally}");
    let prints: Vec<_> = items.iter().map(|item| &item["data"]["fingerprint"]).collect();
    assert!(prints.iter().all(|print| print == &prints[0]), "{prints:?}");
}

#[tokio::test]
async fn different_failures_share_what_there_is() {
    let stand_in = Rollbar::start();
    let app = start(&stand_in, &[("ROLLBAR_ITEMS_PER_MINUTE", "4")]).await;
    let mut caller = Caller::connect(app.address).await;
    for path in [RAISE, "/api/test/raise", "/test/raise?chain=1", "/rollbar/test", "/test/panic"].repeat(3) {
        caller.get(path).await;
    }
    drop(caller);
    let report = stop(app).await;
    stand_in.assert_clean();
    let tally = books(&report);
    assert_eq!((tally.created, tally.lost()), (15, 0), "{tally}");
    // A few more where the test takes its time: one comes every 15 s.
    assert!((4..=6).contains(&tally.delivered), "{tally}");
}

#[tokio::test]
async fn a_stand_in_that_hangs_holds_nobody_up_and_is_reported_by_the_exit_code() {
    let stand_in = Rollbar::start();
    stand_in.always(Answer::hang());
    let endpoint = stand_in.endpoint();
    let process = Process::start(&[
        ("ROLLBAR_ACCESS_TOKEN", TOKEN),
        ("ROLLBAR_ENDPOINT", &endpoint),
        ("SHUTDOWN_GRACE", "1s"),
    ]);
    storm(process.address, 80).await;
    stand_in.wait_until("a post", |seen| seen.posts.len() == 1).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let account = "  rollbar: created 80, delivered 0, suppressed 74, dropped 6 (undelivered_at_shutdown)\n";
    assert!(ended.err.contains(account), "{}", ended.err);
    assert!(!format!("{ended:?}").contains(TOKEN));
}

#[tokio::test]
async fn the_binary_reports_by_a_token_from_a_file() {
    let stand_in = Rollbar::start();
    let folder = std::env::temp_dir().join(format!("cruddur-rollbar-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let endpoint = stand_in.endpoint();
    let process = Process::start(&[
        ("ROLLBAR_ACCESS_TOKEN_FILE", file.to_str().unwrap()),
        ("ROLLBAR_ENDPOINT", &endpoint),
        ("APP_ENV", "staging"),
    ]);
    let mut caller = Caller::connect(process.address).await;
    for path in ["/rollbar/test", "/test/raise?chain=1", "/test/panic"] {
        caller.get(path).await;
    }
    let health = caller.get("/health").await.json();
    drop(caller);
    assert!(health["backends"]["rollbar"]["state"].is_string(), "{health}");
    let ended = process.terminate();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("  rollbar: created 3, delivered 3\n"), "{}", ended.err);
    assert!(!format!("{ended:?}{health}").contains(TOKEN));
    stand_in.assert_clean();
    let items = stand_in.items();
    let shown: Vec<_> = items
        .iter()
        .map(|item| (&item["data"]["level"], &item["data"]["environment"], &item["data"]["context"]))
        .collect();
    let expected =
        [("warning", "GET /rollbar/test"), ("error", "GET /test/raise"), ("critical", "GET /test/panic")]
            .map(|(level, context)| (json!(level), json!("staging"), json!(context)));
    assert_eq!(shown, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<(&Value, &Value, &Value)>>());
    // The revision of the build is known where there is a repository; else it is the version.
    assert!(items.iter().all(|item| item["data"]["code_version"].as_str().unwrap().len() >= 5), "{items:#?}");
}
