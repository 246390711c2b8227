//! Failures, which are JSON everywhere.

use std::future::pending;

use cruddur::activities::{Activity, Message, Reply, Store, StoreError, Timestamp};
use cruddur::telemetry::observe::Fault;
use http::StatusCode;
use uuid::Uuid;

use crate::harness::{Setup, TestApp};

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let app = TestApp::start().await;
    for path in
        ["/", "/api", "/api/activities/home/", "/api/activities/", "/api/activities/@worf/", "//", "/%ff"]
    {
        app.get(path).await.assert_error(404, "not_found");
    }
    app.send("POST", "/nowhere", &[], b"").await.assert_error(404, "not_found");
    app.send("OPTIONS", "*", &[], b"").await.assert_error(404, "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::start().await;
    for (method, path, allow) in [
        ("POST", "/api/activities/home", "GET,HEAD,OPTIONS"),
        ("DELETE", "/api/activities/@worf", "GET,HEAD,OPTIONS"),
        ("PUT", "/api/health-check", "GET,HEAD,OPTIONS"),
        ("PATCH", "/rollbar/test", "GET,HEAD,OPTIONS"),
        ("GET", "/api/activities", "POST,OPTIONS"),
        ("GET", "/api/messages", "POST,OPTIONS"),
        ("POST", "/health", "GET,HEAD,OPTIONS"),
        ("BREW", "/api/activities/x/reply", "POST,OPTIONS"),
    ] {
        let answer = app.send(method, path, &[], b"").await;
        answer.assert_error(405, "method_not_allowed");
        let mut methods: Vec<_> = answer.header("allow").unwrap().split(',').collect();
        let mut expected: Vec<_> = allow.split(',').collect();
        methods.sort_unstable();
        expected.sort_unstable();
        assert_eq!(methods, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_bad_request() {
    let app = TestApp::start().await;
    for body in [
        "",
        "{",
        "[]",
        "\"x\"",
        "null",
        "{\"message\": \"x\"",
        "{'message': 'x'}",
        r#"{"message": "\ud800"}"#,
    ] {
        app.post_text("/api/activities", body).await.assert_error(400, "bad_request");
    }
    let deep = "[".repeat(10_000);
    app.post_text("/api/activities", &deep).await.assert_error(400, "bad_request");
    let json = [("content-type", "application/json")];
    app.send("POST", "/api/activities", &json, b"{\"message\": \"\xff\"}")
        .await
        .assert_error(400, "bad_request");
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = TestApp::start().await;
    for (path, body, field) in [
        ("/api/activities", r#"{"message": 5, "ttl": "1-day"}"#, "message"),
        ("/api/activities", r#"{"message": "x", "ttl": {}}"#, "ttl"),
        ("/api/messages", r#"{"message": "x", "user_receiver_handle": ["worf"]}"#, "user_receiver_handle"),
    ] {
        let answer = app.post_text(path, body).await;
        answer.assert_error(400, "bad_request");
        assert_eq!(answer.json()["message"], format!("The field {field} must be a string."));
    }
}

#[tokio::test]
async fn a_body_that_does_not_claim_to_be_json_is_not_read() {
    let app = TestApp::start().await;
    let body = br#"{"message": "x", "ttl": "1-day"}"#;
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x-www-form-urlencoded")]]
    {
        app.send("POST", "/api/activities", headers, body).await.assert_error(415, "unsupported_media_type");
    }
    let headers = [("content-type", "application/json; charset=utf-8")];
    app.send("POST", "/api/activities", &headers, body).await.ok();
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_a_bad_request() {
    let app = TestApp::start().await;
    for path in [
        "/api/activities/%ff",
        "/api/activities/@%ff",
        "/api/activities/@%zz",
        "/api/messages/@%e2%82",
        "/api/activities/search?term=a&term=b",
    ] {
        app.get(path).await.assert_error(400, "bad_request");
    }
}

#[tokio::test]
async fn a_body_too_long_is_answered_even_to_a_client_that_sends_it_all_first() {
    let app = TestApp::start().await;
    let json = [("content-type", "application/json")];
    for len in [64 * 1024 + 1, 1024 * 1024] {
        let body = vec![b' '; len];
        app.send("POST", "/api/activities", &json, &body).await.assert_error(413, "payload_too_large");
    }
    let fits = vec![b' '; 64 * 1024];
    app.send("POST", "/api/activities", &json, &fits).await.assert_error(400, "bad_request");
}

#[tokio::test]
async fn a_body_too_long_is_refused_before_it_is_sent_to_a_client_that_asks() {
    let app = TestApp::start().await;
    let head = "POST /api/activities HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 100000\r\n\r\n";
    app.raw(head.as_bytes()).await.assert_error(413, "payload_too_large");
}

#[tokio::test]
async fn a_chunked_body_too_long_is_refused_too() {
    let app = TestApp::start().await;
    let mut request = b"POST /api/activities HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..100 {
        request.extend_from_slice(b"400\r\n");
        request.resize(request.len() + 1024, b' ');
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    app.raw(&request).await.assert_error(413, "payload_too_large");
}

#[tokio::test]
async fn an_address_too_long_is_answered() {
    let app = TestApp::start().await;
    let fits = format!("/api/activities/@{}", "x".repeat(16 * 1024 - "/api/activities/@".len()));
    app.get(&fits).await.ok();
    app.get(&format!("{fits}x")).await.assert_error(414, "uri_too_long");
    let query = format!("/api/activities/search?term={}", "x".repeat(16 * 1024));
    app.get(&query).await.assert_error(414, "uri_too_long");
    app.get(&format!("/{}", "x".repeat(60_000))).await.assert_error(414, "uri_too_long");
}

#[tokio::test]
async fn headers_too_long_are_answered() {
    let app = TestApp::start().await;
    let most = "x".repeat(60 * 1024);
    app.send("GET", "/api/activities/home", &[("x-most", &most)], b"").await.ok();
    for path in ["/api/activities/home", "/nowhere"] {
        let answer = app.send("GET", path, &[("x-most", &most), ("x-rest", &most)], b"").await;
        answer.assert_error(431, "headers_too_large");
    }
}

/// A store whose every answer is what `answer` makes of it.
struct Faulty {
    hangs: bool,
}

impl Faulty {
    async fn answer<T>(&self) -> Result<T, StoreError> {
        if self.hangs {
            pending::<()>().await;
        }
        Err(StoreError::new(std::io::Error::other("postgres://admin:hunter2@db refused")))
    }
}

impl Store for Faulty {
    async fn add_activity(&self, _: Activity) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn activities(&self, _: Option<&str>, _: Timestamp) -> Result<Vec<Activity>, StoreError> {
        self.answer().await
    }
    async fn activity(&self, _: Uuid, _: Timestamp) -> Result<Option<Activity>, StoreError> {
        self.answer().await
    }
    async fn add_reply(&self, _: Reply) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn replies(&self, _: &[Uuid]) -> Result<Vec<Reply>, StoreError> {
        self.answer().await
    }
    async fn replied_to(&self, _: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.answer().await
    }
    async fn add_message(&self, _: &str, _: Message) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn messages(&self, _: &str) -> Result<Vec<Message>, StoreError> {
        self.answer().await
    }
}

#[tokio::test]
async fn a_failing_store_is_a_500_that_tells_nothing() {
    let app = Setup::with_store(Faulty { hangs: false }).start().await;
    for path in [
        "/api/activities/home",
        "/api/activities/@worf",
        "/api/activities/search?term=x",
        "/api/activities/4b1d0b9c-0000-4000-8000-000000000000",
        "/api/messages/@worf",
    ] {
        let answer = app.get(path).await;
        answer.assert_error(500, "internal_error");
        assert!(!answer.body.contains("postgres") && !answer.body.contains("store"), "{}", answer.body);
    }
    for (path, body) in [
        ("/api/activities", r#"{"message": "x", "ttl": "1-day"}"#),
        ("/api/activities/68f126b0-1ceb-4a33-88be-d90fa7109eee/reply", r#"{"message": "x"}"#),
        ("/api/messages", r#"{"message": "x", "user_receiver_handle": "worf"}"#),
    ] {
        app.post_text(path, body).await.assert_error(500, "internal_error");
    }
    app.get("/api/activities/@").await.assert_invalid("blank_user_handle");
}

#[tokio::test]
async fn an_answer_too_late_is_a_503() {
    let store = Faulty { hangs: true };
    let mut app = Setup::with_store(store).set("REQUEST_TIMEOUT", "10ms").start().await;
    app.get("/api/activities/home").await.assert_error(503, "timeout");
    let record = app.record().await;
    let fault = record.fault.as_ref().unwrap();
    assert_eq!(classes(fault), ["cruddur::api::timeout::RequestTimeout"]);
    assert_eq!(fault.causes()[0].message, "no answer within 10ms");
    app.get("/api/health-check").await.ok();
}

/// The answer's status, and what the observer noted.
async fn fault_of<S: Store>(setup: Setup<S>, path: &str) -> (StatusCode, Fault) {
    let mut app = setup.start().await;
    let answer = app.get(path).await;
    (answer.status, app.record().await.fault.clone().unwrap())
}

fn classes(fault: &Fault) -> Vec<&str> {
    fault.causes().iter().map(|cause| cause.class).collect()
}

#[tokio::test]
async fn observer_sees_why_the_store_failed() {
    let (status, fault) = fault_of(Setup::with_store(Faulty { hangs: false }), "/api/activities/home").await;
    assert_eq!(status, 500);
    assert_eq!(classes(&fault), ["cruddur::activities::store::StoreError", "std::io::error::Error"]);
}

#[tokio::test]
async fn observer_sees_the_error_that_was_asked_for() {
    for path in ["/test/raise", "/api/test/raise"] {
        let (status, fault) = fault_of(Setup::default(), path).await;
        assert_eq!(status, 500);
        assert_eq!(classes(&fault), ["core::num::error::ParseIntError"]);
        let (status, fault) = fault_of(Setup::default(), &format!("{path}?chain=1")).await;
        assert_eq!(status, 500);
        let causes: Vec<_> = fault.causes().iter().map(|cause| &*cause.message).collect();
        assert_eq!(causes, ["the feed is unavailable", "page 1 cannot be read", "connection refused"]);
        assert_eq!(classes(&fault)[2], "std::io::error::Error");
    }
}

#[tokio::test]
async fn client_sees_the_test_routes_only_where_they_are_on() {
    let app = TestApp::start().await;
    let hello = app.get("/rollbar/test").await;
    assert_eq!((hello.status, &*hello.body), (StatusCode::OK, "Hello World!"));
    app.get("/test/raise").await.assert_error(500, "internal_error");
    app.get("/test/panic").await.assert_error(500, "internal_error");

    let app = Setup::default().set("TEST_ROUTES", "off").start().await;
    for path in ["/rollbar/test", "/test/raise", "/api/test/raise", "/test/panic"] {
        app.get(path).await.assert_error(404, "not_found");
    }
    app.get("/api/health-check").await.ok();
}
