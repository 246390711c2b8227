//! The service as the binary serves it, on a real socket, and a client that hides nothing of what comes back.

use std::fmt::Write as _;
use std::sync::Arc;

use cruddur::activities::{MemoryStore, Store};
use cruddur::api::{self, Options};
use cruddur::telemetry::observe::RequestRecord;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::observed::{Observed, config};

pub(crate) const FRONTEND: &str = "http://localhost:3000";
pub(crate) const BACKEND: &str = "http://localhost:4567";

/// How a test wants its service: the store, and the variables that are set.
pub(crate) struct Setup<S> {
    store: Arc<S>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Default for Setup<MemoryStore> {
    fn default() -> Self {
        Self::with_store(MemoryStore::new())
    }
}

impl<S: Store> Setup<S> {
    pub(crate) fn with_store(store: S) -> Self {
        Self { store: Arc::new(store), variables: Vec::new() }
    }

    pub(crate) fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    pub(crate) async fn start(self) -> TestApp {
        let test_routes = config(&self.variables).http.test_routes;
        let routes = api::routes(self.store, &Options { test_routes });
        TestApp(Observed::start(routes, &self.variables).await)
    }
}

/// The running service, as its clients see it.
pub(crate) struct TestApp(Observed);

impl TestApp {
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// What was noted of the next request.
    pub(crate) async fn record(&mut self) -> Arc<RequestRecord> {
        self.0.record().await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// A request as a client would send it: its length is declared where it has a body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if method == "POST" {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    /// Sends all of `bytes` before it reads anything, as simple clients do, and then reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let answer = Answer::parse(&self.0.send(bytes).await);
        answer.assert_signed();
        answer
    }
}

/// What came back on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        });
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body, which must be JSON and say so.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must be a 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// The trace id by which the answer is signed.
    #[track_caller]
    pub(crate) fn trace_id(&self) -> &str {
        let signature = self.header("traceresponse").unwrap_or_else(|| panic!("unsigned: {self:?}"));
        let parts: Vec<_> = signature.split('-').collect();
        let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match parts[..] {
            ["00", trace, span, "00" | "01"] if trace.len() == 32 && span.len() == 16 => {
                assert!(hex(trace) && hex(span), "{signature}");
                trace
            }
            _ => panic!("{signature}"),
        }
    }

    /// Every answer names its trace in both forms, and a failure in its body as well.
    #[track_caller]
    fn assert_signed(&self) {
        let trace_id = self.trace_id();
        let (epoch, random) = trace_id.split_at(8);
        assert_eq!(self.header("x-amzn-trace-id"), Some(&*format!("Root=1-{epoch}-{random}")));
        let is_error = self.status != 422 && (self.status.is_client_error() || self.status.is_server_error());
        if is_error && !self.body.is_empty() {
            assert_eq!(self.json()["trace_id"], trace_id, "{self:?}");
        }
    }

    /// Must be this failure, in the form that all have.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, error: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert_eq!(body["error"], error, "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
    }

    /// Must be a 422 with this one code.
    #[track_caller]
    pub(crate) fn assert_invalid(&self, code: &str) {
        assert_eq!(self.status, 422, "{self:?}");
        assert_eq!(self.json(), serde_json::json!([code]));
    }
}
