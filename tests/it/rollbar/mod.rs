//! What Rollbar gets of failures, and when.

mod capture;
mod delivery;
mod ids;
mod items;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cruddur::activities::MemoryStore;
use cruddur::api::{self, Options};
use cruddur::telemetry::Report;
use cruddur::telemetry::delivery::Tally;
use serde_json::Value;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::observed::Observed;
use crate::stand_in::rollbar::{Rollbar, TOKEN};

/// More than enough for what is to be delivered at the end.
const GRACE: Duration = Duration::from_secs(30);
/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The routes of the binary.
fn routes() -> Router {
    api::routes(Arc::new(MemoryStore::new()), &Options { test_routes: true })
}

/// Serves `routes` with items going to `stand_in`.
async fn serve(routes: Router, stand_in: &Rollbar, more: &[(&str, &str)]) -> Observed {
    let endpoint = stand_in.endpoint();
    let mut variables =
        vec![("ROLLBAR_ACCESS_TOKEN", TOKEN), ("ROLLBAR_ENDPOINT", &endpoint), ("CODE_VERSION", "5eed")];
    variables.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    variables.extend_from_slice(more);
    Observed::start(routes, &variables).await
}

async fn start(stand_in: &Rollbar, more: &[(&str, &str)]) -> Observed {
    serve(routes(), stand_in, more).await
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

fn books(report: &Report) -> &Tally {
    &report.0["rollbar"]
}

/// The item of this trace, which must be the only one.
#[track_caller]
fn item_of(items: &[Value], trace_id: &str) -> Value {
    let attribute = |item: &Value| item["data"]["attributes"][0]["value"] == trace_id;
    let found: Vec<_> = items.iter().filter(|item| attribute(item)).collect();
    assert_eq!(found.len(), 1, "{trace_id}: {items:#?}");
    found[0]["data"].clone()
}

/// Asks for `/health` until the backend is as it should be; returns its state.
async fn health_until(app: &Observed, is_so: impl Fn(&str) -> bool) -> String {
    let asking = async {
        let mut caller = Caller::connect(app.address).await;
        loop {
            let health = caller.get("/health").await.json();
            let state = health["backends"]["rollbar"]["state"].as_str().unwrap().to_owned();
            if is_so(&state) {
                return state;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("/health never said so")
}
