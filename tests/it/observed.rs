//! A service that is observed, on a real socket, with a backend from outside the crate that hands over what it saw.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Router;
use cruddur::config::{Config, Environment};
use cruddur::server;
use cruddur::telemetry::Telemetry;
use cruddur::telemetry::observe::{Enlist, EnlistLayer, Exchange, RequestRecord, View, Views};
use http::response;
use opentelemetry_sdk::trace::SpanData;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::dispatcher::DefaultGuard;

/// How long a test waits for what must come. Only a failing test ever waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the backend of the tests was told.
#[derive(Debug)]
pub(crate) enum Told {
    Closed(Arc<RequestRecord>),
    Straggler(Arc<RequestRecord>, Box<SpanData>),
}

/// A fifth backend, written outside of the crate: what it enlists, and the view.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    told: mpsc::UnboundedSender<Told>,
    logs: bool,
}

impl Enlist for Tap {
    fn enlist(&self, _: &Exchange, views: &mut Views) {
        views.add(TapView(self.clone()));
    }
}

struct TapView(Tap);

impl View for TapView {
    fn on_response(&mut self, head: &mut response::Parts) {
        head.headers.insert("x-tap", http::HeaderValue::from_static("signed"));
    }

    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        // Logging from a view files an event under the very exchange that is calling it.
        if self.0.logs {
            tracing::info!("the tap was told");
        }
        self.0.told.send(Told::Closed(Arc::clone(record))).ok();
    }

    fn on_straggler(&mut self, record: &Arc<RequestRecord>, span: &SpanData) {
        self.0.told.send(Told::Straggler(Arc::clone(record), Box::new(span.clone()))).ok();
    }
}

/// A running service under observation.
pub(crate) struct Observed {
    pub(crate) address: SocketAddr,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) terminal: Buffer,
    told: mpsc::UnboundedReceiver<Told>,
    seen: VecDeque<Told>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinSet<server::Drained>,
    _subscriber: DefaultGuard,
}

/// The configuration that a set of variables makes. Nothing is written to disk unless a test wants it.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let environment = Environment::from_iter([("SPOOL", "off")].iter().chain(variables).copied());
    Config::load(&environment).unwrap_or_else(|errors| panic!("{errors:?}")).config
}

impl Observed {
    /// Serves `routes` as the binary serves its own, configured by `variables`.
    pub(crate) async fn start(routes: Router, variables: &[(&str, &str)]) -> Self {
        Self::start_with(routes, variables, true).await
    }

    /// The same, with a backend of the tests that does not log.
    pub(crate) async fn start_silent(routes: Router, variables: &[(&str, &str)]) -> Self {
        Self::start_with(routes, variables, false).await
    }

    async fn start_with(routes: Router, variables: &[(&str, &str)], logs: bool) -> Self {
        let config = config(variables);
        let terminal = Buffer::default();
        let telemetry = Arc::new(Telemetry::start(&config, terminal.clone()).unwrap());
        cruddur::telemetry::observe::install_hook();
        let subscriber = tracing::dispatcher::set_default(telemetry.dispatch());

        let (sender, told) = mpsc::unbounded_channel();
        let tap = Tap { told: sender, logs };
        let app = server::app(&config, routes.layer(EnlistLayer(tap)), &telemetry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut server = JoinSet::new();
        let grace = config.service.shutdown_grace;
        server.spawn(server::run(listener, app, grace, async move { drop(stopped.await) }));
        let (stop, seen) = (Some(stop), VecDeque::new());
        Self { address, telemetry, terminal, told, seen, stop, server, _subscriber: subscriber }
    }

    /// The next record, which must come.
    pub(crate) async fn record(&mut self) -> Arc<RequestRecord> {
        match self.told().await {
            Told::Closed(record) => record,
            Told::Straggler(_, span) => panic!("a straggler came first: {span:?}"),
        }
    }

    pub(crate) async fn told(&mut self) -> Told {
        if let Some(seen) = self.seen.pop_front() {
            return seen;
        }
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("no view was told").unwrap()
    }

    /// Nothing more was told than what has been asked for. The server is stopped for it, so that nothing can come.
    pub(crate) async fn stop(mut self) -> (server::Drained, Vec<Told>) {
        drop(self.stop.take());
        let drained = self.server.join_next().await.unwrap().unwrap();
        let mut rest: Vec<_> = self.seen.into();
        while let Ok(told) = self.told.try_recv() {
            rest.push(told);
        }
        (drained, rest)
    }

    /// Asks the server to stop, without waiting for it.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the server; exactly the records that were asked for have been drawn.
    pub(crate) async fn finish(self) {
        let (drained, rest) = self.stop().await;
        assert_eq!(drained.cut, 0, "{rest:?}");
        assert!(rest.is_empty(), "{rest:?}");
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection of its own and reads the answer to its end.
    pub(crate) async fn ask(&self, request: &str) -> String {
        String::from_utf8(self.send(request.as_bytes()).await).unwrap()
    }

    /// Sends all of `bytes` before it reads anything, as simple clients do, and then reads until the server closes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    /// What the terminal shows once everything has been written; nothing is shown any more after that.
    pub(crate) async fn shown(&self) -> String {
        let report = self.telemetry.shut_down(tokio::time::Instant::now() + PATIENCE).await;
        let tally = &report.0["terminal"];
        assert!(tally.balances() && tally.lost() == 0, "{report}");
        self.terminal.text()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(&get(path)).await
    }
}

/// A GET that closes its connection.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// Reads until `marker` has come.
pub(crate) async fn read_until(stream: &mut TcpStream, marker: &str) -> String {
    let mut read = Vec::new();
    while !read.windows(marker.len()).any(|window| window == marker.as_bytes()) {
        let mut chunk = [0; 1024];
        let count =
            tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.expect("no answer").unwrap();
        assert!(count > 0, "the connection ended after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// What was written, for all who hold a clone, and a pipe that can be stalled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffer(Arc<Pipe>);

#[derive(Debug, Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    stalled: bool,
    writer_waits: bool,
    writer_gone: bool,
}

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.state.lock().unwrap().text.clone()).unwrap()
    }

    /// From now on, nobody reads what is written.
    pub(crate) fn stall(&self) {
        self.0.state.lock().unwrap().stalled = true;
    }

    /// Whoever writes goes on.
    pub(crate) fn release(&self) {
        self.0.state.lock().unwrap().stalled = false;
        self.0.changed.notify_all();
    }

    /// Returns when someone is blocked in a write.
    pub(crate) fn wait_for_blocked_writer(&self) {
        let state = self.0.state.lock().unwrap();
        let (_state, waited) =
            self.0.changed.wait_timeout_while(state, PATIENCE, |state| !state.writer_waits).unwrap();
        assert!(!waited.timed_out(), "nobody writes");
    }

    /// Returns when the other clone, with which the terminal writes, has been dropped.
    pub(crate) fn wait_for_dropped_writer(&self) {
        let state = self.0.state.lock().unwrap();
        let (_state, waited) =
            self.0.changed.wait_timeout_while(state, PATIENCE, |state| !state.writer_gone).unwrap();
        assert!(!waited.timed_out(), "the writer goes on");
    }
}

/// Tells who waits for the writer's end.
impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.writer_gone = true;
        }
        self.0.changed.notify_all();
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock().unwrap();
        state.writer_waits = true;
        self.0.changed.notify_all();
        // Were a request to wait for the reader, the test would get to its end all the same, and see it.
        let (mut state, _) =
            self.0.changed.wait_timeout_while(state, PATIENCE, |state| state.stalled).unwrap();
        state.writer_waits = false;
        state.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
