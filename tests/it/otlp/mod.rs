//! What OTLP's receiver gets, and when.

mod arrival;
mod backpressure;
mod console;
mod limits;
mod metrics;
pub(crate) mod relay;
mod retries;
mod sampling;
mod spans;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::delivery::Tally;
use cruddur::telemetry::{Report, Telemetry};
use serde_json::Value;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::observed::Observed;
use crate::stand_in::Otlp;

/// The route that makes a server span with one span inside.
const HOME: &str = "/api/activities/home";
/// More than enough for what is to be delivered at the end.
const GRACE: Duration = Duration::from_secs(30);
/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The routes of the binary.
fn routes() -> Router {
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
}

/// Serves `routes` with spans going to `endpoint`: at once, unless `more` says otherwise.
async fn serve(routes: Router, endpoint: &str, more: &[(&str, &str)]) -> Observed {
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    variables.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    variables.extend_from_slice(more);
    Observed::start(routes, &variables).await
}

async fn start(stand_in: &Otlp, more: &[(&str, &str)]) -> Observed {
    serve(routes(), &stand_in.endpoint(), more).await
}

/// Stops the server and delivers what waits.
async fn stop(app: Observed) -> Report {
    let telemetry = Arc::clone(&app.telemetry);
    app.stop().await;
    let report = telemetry.shut_down(Instant::now() + GRACE).await;
    for (backend, tally) in &report.0 {
        assert!(tally.balances() && tally.queued == 0, "{backend}: {tally}");
    }
    report
}

/// The account of the spans.
fn spans(report: &Report) -> &Tally {
    &report.0["otlp"]
}

/// The account that must be balanced at any moment.
fn books(telemetry: &Telemetry) -> Tally {
    let tally = telemetry.health()["otlp"].items.clone();
    assert!(tally.balances(), "{tally}");
    tally
}

/// Asks for `/health` until a backend is as it should be; returns its state.
async fn health_until(app: &Observed, backend: &str, is_so: impl Fn(&Value) -> bool) -> String {
    let asking = async {
        let mut caller = Caller::connect(app.address).await;
        loop {
            let health = caller.get("/health").await.json();
            let found = &health["backends"][backend];
            if is_so(found) {
                return found["state"].as_str().unwrap().to_owned();
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("/health never said so")
}
