//! What a browser lets a page of another origin read.

use crate::harness::{Answer, BACKEND, FRONTEND, Setup, TestApp};

const FOREIGN: &str = "https://evil.example";

fn cors_headers(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<_> = answer
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("access-control-"))
        .collect();
    names.sort_unstable();
    names
}

#[track_caller]
fn assert_granted(answer: &Answer, origin: &str) {
    assert_eq!(
        cors_headers(answer),
        ["access-control-allow-origin", "access-control-expose-headers"],
        "{answer:?}"
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("location, link, traceresponse, x-amzn-trace-id")
    );
    assert_eq!(answer.header("vary"), Some("Origin"));
}

#[track_caller]
fn assert_withheld(answer: &Answer) {
    assert!(cors_headers(answer).is_empty(), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("Origin"));
}

/// Every kind of answer there is, from the handlers, the layers around them and a panic.
async fn every_answer(app: &TestApp, origin: Option<&str>) -> Vec<Answer> {
    let long_path = format!("/{}", "x".repeat(20_000));
    let long = "x".repeat(60_000);
    let body = vec![b' '; 70_000];
    let json = ("content-type", "application/json");
    let mut answers = Vec::new();
    for (method, path, headers, body) in [
        ("GET", "/api/activities/home", vec![], &b""[..]),
        ("HEAD", "/api/activities/home", vec![], b""),
        ("POST", "/api/activities", vec![json], br#"{"message": "x", "ttl": "1-day"}"#),
        ("POST", "/api/activities", vec![json], b"{"),
        ("GET", "/nowhere", vec![], b""),
        ("DELETE", "/api/activities/home", vec![], b""),
        ("POST", "/api/activities", vec![json], &body),
        ("GET", &long_path, vec![], b""),
        ("POST", "/api/activities", vec![], b"{}"),
        ("POST", "/api/activities", vec![json], b"{}"),
        ("GET", "/", vec![("x-a", &*long), ("x-b", &*long)], b""),
        ("GET", "/test/raise", vec![], b""),
        ("GET", "/test/panic", vec![], b""),
        ("GET", "/health", vec![], b""),
        ("DELETE", "/health", vec![], b""),
    ] {
        let headers: Vec<_> = headers.into_iter().chain(origin.map(|origin| ("origin", origin))).collect();
        answers.push(app.send(method, path, &headers, body).await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 404, 405, 413, 414, 415, 422, 431, 500, 500, 200, 405]);
    answers
}

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    app.send("OPTIONS", path, &headers, b"").await
}

#[tokio::test]
async fn allowed_origins_may_read_every_answer() {
    let app = TestApp::start().await;
    for origin in [FRONTEND, BACKEND] {
        for answer in every_answer(&app, Some(origin)).await {
            assert_granted(&answer, origin);
        }
    }
}

#[tokio::test]
async fn foreign_origins_may_read_nothing() {
    let app = TestApp::start().await;
    for origin in
        [FOREIGN, "null", "http://localhost:3000.evil.example", "http://localhost", "HTTP://LOCALHOST:3000"]
    {
        for answer in every_answer(&app, Some(origin)).await {
            assert_withheld(&answer);
        }
    }
}

#[tokio::test]
async fn without_an_origin_there_is_nothing_to_grant() {
    let app = TestApp::start().await;
    for answer in every_answer(&app, None).await {
        assert_withheld(&answer);
    }
}

#[tokio::test]
async fn a_star_lets_everybody_read_every_answer() {
    let app = Setup::default().set("FRONTEND_URL", "*").start().await;
    for origin in [Some(FRONTEND), Some(FOREIGN), None] {
        for answer in every_answer(&app, origin).await {
            assert_granted(&answer, "*");
        }
    }
}

#[tokio::test]
async fn a_preflight_passes_on_every_known_route() {
    let app = TestApp::start().await;
    for path in [
        "/api/activities",
        "/api/activities/home",
        "/api/activities/notifications",
        "/api/activities/search",
        "/api/activities/@worf",
        "/api/activities/68f126b0-1ceb-4a33-88be-d90fa7109eee",
        "/api/activities/68f126b0-1ceb-4a33-88be-d90fa7109eee/reply",
        "/api/message_groups",
        "/api/messages",
        "/api/messages/@worf",
        "/api/health-check",
        "/health",
        "/rollbar/test",
        "/test/panic",
    ] {
        let answer = preflight(&app, path, FRONTEND).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(FRONTEND));
        assert_eq!(answer.header("access-control-allow-methods"), Some("OPTIONS, GET, HEAD, POST"));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some(
                "content-type, if-modified-since, authorization, traceparent, tracestate, baggage, x-amzn-trace-id"
            )
        );
        assert_eq!(answer.header("access-control-max-age"), Some("7200"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn a_foreign_preflight_is_told_nothing() {
    let app = TestApp::start().await;
    let answer = preflight(&app, "/api/activities", FOREIGN).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""));
    assert_withheld(&answer);
}

#[tokio::test]
async fn a_preflight_on_an_unknown_route_is_not_found() {
    let app = TestApp::start().await;
    for path in ["/nowhere", "/api/activities/home/"] {
        let answer = preflight(&app, path, FRONTEND).await;
        answer.assert_error(404, "not_found");
        assert_eq!(answer.header("access-control-allow-origin"), Some(FRONTEND));
    }
}

#[tokio::test]
async fn options_without_a_preflight_is_an_empty_200() {
    let app = TestApp::start().await;
    let answer = app.send("OPTIONS", "/api/activities/home", &[("origin", FRONTEND)], b"").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, ""));
    assert_granted(&answer, FRONTEND);
    assert_eq!(answer.header("content-length"), Some("0"));
}
