//! Rollbar's item API: takes nothing that the real one would not take, and answers by script.

mod item;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::item::faults;

/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The token that is taken.
pub(crate) const TOKEN: &str = "dummy-token-of-the-tests";

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    hangs: bool,
}

impl Answer {
    /// What says that an item was taken.
    pub(crate) fn taken() -> Self {
        Self::of(
            200,
            &json!({"err": 0, "result": {"id": null, "uuid": "d4c7acef55bf4c9ea95e4fe9428a8287"}})
                .to_string(),
        )
    }

    /// A refusal in Rollbar's words.
    pub(crate) fn refused(status: u16, message: &str) -> Self {
        Self::of(status, &json!({"err": 1, "message": message}).to_string())
    }

    pub(crate) fn of(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned(), hangs: false }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// No answer until the stand-in ends.
    pub(crate) fn hang() -> Self {
        Self { hangs: true, ..Self::taken() }
    }
}

/// A post as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) at: Instant,
    /// Head and body, as they were on the wire but for the order of headers.
    pub(crate) text: String,
    pub(crate) item: Value,
    pub(crate) bytes: usize,
    pub(crate) status: u16,
}

/// All that has happened.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) posts: Vec<Posted>,
    violations: Vec<String>,
    script: VecDeque<Answer>,
    otherwise: Option<Answer>,
}

impl Seen {
    /// The items that were taken.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.posts.iter().filter(|posted| posted.status == 200).map(|posted| posted.item.clone()).collect()
    }
}

/// A running stand-in; it ends when this is dropped.
pub(crate) struct Rollbar {
    pub(crate) address: SocketAddr,
    seen: watch::Sender<Seen>,
    stopped: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Rollbar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (seen, _) = watch::channel(Seen::default());
        let stopped = CancellationToken::new();
        let (until, shared) = (stopped.clone(), seen.clone());
        // On a thread of its own, so that it answers while a test is busy.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(until.run_until_cancelled_owned(accept(listener, shared)));
        });
        Self { address, seen, stopped, thread: Some(thread) }
    }

    /// What `ROLLBAR_ENDPOINT` is set to.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}/api/1/", self.address)
    }

    /// What the next posts are answered, one by one; those that come after are taken.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.seen.send_modify(|seen| seen.script.extend(answers));
    }

    /// What every post is answered that the script has nothing for.
    pub(crate) fn always(&self, answer: Answer) {
        self.seen.send_modify(|seen| seen.otherwise = Some(answer));
    }

    pub(crate) fn posts(&self) -> Vec<Posted> {
        self.seen.borrow().posts.clone()
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        self.seen.borrow().items()
    }

    /// Waits for what must happen.
    pub(crate) async fn wait_until(&self, what: &str, mut happened: impl FnMut(&Seen) -> bool) {
        let mut receiver = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, receiver.wait_for(|seen| happened(seen))).await;
        let waited = waited.map(|seen| drop(seen.unwrap()));
        assert!(waited.is_ok(), "never came: {what}; {:#?}", *self.seen.borrow());
    }

    /// The items, when so many have been taken.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Value> {
        self.wait_until(&format!("{count} items"), |seen| seen.items().len() >= count).await;
        self.items()
    }

    /// Nothing was wrong with anything that was posted, and the whole script was needed.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let seen = self.seen.borrow();
        assert!(seen.violations.is_empty(), "{:#?}", seen.violations);
        assert!(seen.script.is_empty(), "not needed: {:?}", seen.script);
    }
}

impl Drop for Rollbar {
    fn drop(&mut self) {
        self.stopped.cancel();
        if let Some(thread) = self.thread.take() {
            // It has panicked where a test has failed already.
            thread.join().ok();
        }
    }
}

async fn accept(listener: TcpListener, seen: watch::Sender<Seen>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = seen.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| take(request, seen.clone()));
            let connection = hyper::server::conn::http1::Builder::new();
            // An error is a connection that the client has closed.
            connection.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn take(request: Request<Incoming>, seen: watch::Sender<Seen>) -> Result<Response<Body>, Infallible> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    // A body that is cut short is a violation like any other.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = format!("{} {} {:?}\n{}", head.method, head.uri, head.headers, String::from_utf8_lossy(&body));
    let item: Value = serde_json::from_slice(&body).unwrap_or_default();
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut violations = Vec::new();
    let mut must = |is_so: bool, what: &str| {
        if !is_so {
            violations.push(format!("{what}: {text}"));
        }
    };
    must(head.method == http::Method::POST, "not a POST");
    must(head.uri == "/api/1/item/", "another path");
    must(header("content-type") == "application/json", "not JSON by its header");
    must(header("content-length") == body.len().to_string(), "no length, or a wrong one");
    must(!header("user-agent").is_empty(), "nameless");
    must(body.len() <= 512 << 10, "larger than 512 KiB");
    must(!String::from_utf8_lossy(&body).contains(TOKEN), "the token in a body");
    for fault in faults(&item) {
        must(false, &fault);
    }
    let authorised = header("x-rollbar-access-token") == TOKEN;
    let mut answer = Answer::taken();
    seen.send_modify(|seen| {
        let next = seen.script.pop_front().or_else(|| seen.otherwise.clone());
        answer = next.unwrap_or_else(|| {
            if authorised { Answer::taken() } else { Answer::refused(401, "invalid access token") }
        });
        seen.violations.extend(violations);
        seen.posts.push(Posted { at, text, item, bytes: body.len(), status: answer.status });
    });
    if answer.hangs {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
