//! Serving: the caller brings the listener and the moment to stop.

mod aside;
mod head_timer;
mod health;
mod relay;
mod write_last;

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service as _, ServiceBuilder};

use self::aside::Aside;
use self::head_timer::HeadTimer;
use self::write_last::WriteLast;
use crate::api::{self, CorsLayer, LimitsLayer, Origins, TimeoutLayer};
use crate::config::Config;
use crate::telemetry::observe::{CatchPanicLayer, Peer};
use crate::telemetry::otlp::RELAY_PATH;
use crate::telemetry::{Telemetry, stack};

/// The whole application: `routes` and the health endpoint, with every layer around them.
pub fn app(config: &Config, routes: Router, telemetry: &Arc<Telemetry>) -> Router {
    let edge = ServiceBuilder::new()
        // A browser must be able to read every answer, errors and panics included.
        .layer(CorsLayer::new(origins(&config.http.origins)))
        // Answers what panics below, so that everything above sees an answer like any other.
        .layer(CatchPanicLayer::new(api::panicked))
        // Bounds the time to the response's head.
        .layer(TimeoutLayer::new(config.http.request_timeout))
        // Bounds path, headers and body.
        .layer(LimitsLayer);
    let health = Router::new()
        .route("/health", api::get(health::report))
        .method_not_allowed_fallback(api::method_not_allowed)
        .with_state(health::State::new(config, telemetry));
    let mut routes = routes.merge(health);
    if let Some(relay) = telemetry.relay() {
        let relayed = Router::new()
            .route(RELAY_PATH, api::post(relay::take))
            .method_not_allowed_fallback(api::method_not_allowed)
            .with_state(relay);
        routes = routes.merge(relayed);
    }
    stack::observed(routes, edge, telemetry)
}

fn origins(origins: &[HeaderValue]) -> Origins {
    if origins.iter().any(|origin| origin == "*") { Origins::Any } else { Origins::List(origins.to_vec()) }
}

/// How long a client may take over a request's head, or be silent before its first and, in HTTP/1, between two; how
/// often an HTTP/2 client must show that it is there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the operating system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/2's limit on a request's headers; our own answer, at 64 KiB, comes first.
const MAX_HEADER_LIST: u32 = 96 * 1024;

/// The most of the time given for the end that is kept for delivering what the requests leave behind.
const MAX_RESERVE: Duration = Duration::from_secs(2);

/// How long connections may take to finish within `grace`: a quarter of it is not theirs. Were they cut at the very
/// deadline, their own records would come too late to be delivered.
fn drain_time(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 4).min(MAX_RESERVE))
}

/// What became of the connections when the server stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when their time was up and were cut.
    pub cut: usize,
    /// When everything must be over.
    pub deadline: Instant,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cut {
            0 => write!(f, "every request was finished"),
            cut => write!(f, "{cut} busy connections were cut"),
        }
    }
}

/// Serves `app` on `listener` until `shutdown` is ready, then finishes what is in flight, for most of `grace`: the
/// rest, until [`Drained::deadline`], is for delivering telemetry.
///
/// When it returns, no request is being served any more: those that did not finish in time have been cancelled.
pub async fn run(
    listener: TcpListener,
    app: Router,
    grace: Duration,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let connections = Connections::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connections.serve(stream, peer, app.clone()),
                // The peer may be gone already, or we may be out of sockets; neither is a reason to stop.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.drain(grace).await
}

/// The connections being served: none is detached, all are told when to stop and waited for.
struct Connections {
    tasks: TaskTracker,
    draining: CancellationToken,
    cut: CancellationToken,
    builder: Builder<Tracked>,
}

impl Connections {
    fn new() -> Self {
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        let mut builder = Builder::new(Tracked { tasks: tasks.clone(), cut: cut.clone() });
        builder.http1().header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(HEAD_TIMEOUT)
            .keep_alive_timeout(HEAD_TIMEOUT);
        Self { tasks, draining: CancellationToken::new(), cut, builder }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, app: Router) {
        // Small answers must not wait for the client's acknowledgement of the last one.
        stream.set_nodelay(true).ok();
        let asked = Arc::new(AtomicBool::new(false));
        let silent = silent(Arc::clone(&asked));
        let known = Peer::from(peer);
        // A router is always ready.
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(known.clone());
            app.clone().call(request)
        });
        let (mut builder, cut) = (self.builder.clone(), self.cut.clone());
        builder.http1().timer(HeadTimer::default());
        let mut draining = Aside::new(self.draining.clone().cancelled_owned());
        let mut ended = Aside::new(async move {
            tokio::select! {
                () = silent => {}
                () = cut.cancelled() => {}
            }
        });
        self.tasks.spawn(async move {
            let mut connection =
                pin!(builder.serve_connection(TokioIo::new(WriteLast::new(stream)), service));
            let mut is_draining = false;
            let finished = loop {
                tokio::select! {
                    biased;
                    finished = &mut connection => break finished,
                    () = &mut ended => return,
                    () = &mut draining, if !is_draining => {
                        is_draining = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            };
            // A client that left in the middle of things is the usual cause; each request has its own record.
            if let Err(error) = finished {
                tracing::debug!(%peer, error, "a connection ended early");
            }
        });
    }

    async fn drain(self, grace: Duration) -> Drained {
        let now = Instant::now();
        let deadline = now + grace;
        self.draining.cancel();
        self.tasks.close();
        let mut cut = 0;
        if timeout_at(now + drain_time(grace), self.tasks.wait()).await.is_err() {
            cut = self.tasks.len();
            self.cut.cancel();
            self.tasks.wait().await;
        }
        Drained { cut, deadline }
    }
}

/// Ready when a connection has asked for nothing since it was opened. While it is not even known which version of
/// HTTP it speaks, no other timer runs.
async fn silent(asked: Arc<AtomicBool>) {
    sleep(HEAD_TIMEOUT).await;
    if asked.load(Ordering::Relaxed) {
        pending().await
    }
}

/// Runs what a connection spawns (HTTP/2 does, for each request) among the tracked tasks.
#[derive(Debug, Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_time_for_the_end_is_kept_for_delivery() {
        for (grace, drain) in [(0, 0), (200, 150), (8_000, 6_000), (10_000, 8_000), (60_000, 58_000)] {
            assert_eq!(drain_time(Duration::from_millis(grace)), Duration::from_millis(drain));
        }
    }
}
