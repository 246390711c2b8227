//! The service on a real socket, and a client that hides nothing of what comes back.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cruddur::activities::{MemoryStore, Store};
use cruddur::api::{self, CorsLayer, LimitsLayer, Options, Origins, TimeoutLayer};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceBuilder;

pub(crate) const FRONTEND: &str = "http://localhost:3000";
pub(crate) const BACKEND: &str = "http://localhost:4567";

/// How a test wants its service.
pub(crate) struct Setup<S> {
    pub(crate) store: Arc<S>,
    pub(crate) origins: Origins,
    pub(crate) test_routes: bool,
    pub(crate) timeout: Duration,
}

impl Default for Setup<MemoryStore> {
    fn default() -> Self {
        Self::with_store(MemoryStore::new())
    }
}

impl<S: Store> Setup<S> {
    pub(crate) fn with_store(store: S) -> Self {
        let origins = [FRONTEND, BACKEND].map(HeaderValue::from_static);
        let origins = Origins::List(Vec::from(origins));
        Self { store: Arc::new(store), origins, test_routes: true, timeout: Duration::from_secs(30) }
    }

    pub(crate) fn router(self) -> Router {
        let layers = ServiceBuilder::new()
            .layer(CorsLayer::new(self.origins))
            .layer(TimeoutLayer::new(self.timeout))
            .layer(LimitsLayer);
        api::routes(self.store, &Options { test_routes: self.test_routes }).layer(layers)
    }

    pub(crate) async fn start(self) -> TestApp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(axum::serve(listener, self.router()).into_future());
        TestApp { address, _tasks: tasks }
    }
}

/// A running service; it ends when this is dropped.
pub(crate) struct TestApp {
    address: SocketAddr,
    _tasks: JoinSet<std::io::Result<()>>,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
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
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Answer::parse(&answer)
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
