//! `/health`: how the service and each backend are doing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract;
use serde::Serialize;

use crate::config::Config;
use crate::telemetry::{Health, Telemetry};

/// What the answer is made from.
#[derive(Debug, Clone)]
pub(super) struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: String,
    version: &'static str,
    environment: String,
    started: Instant,
    telemetry: Arc<Telemetry>,
}

impl State {
    pub(super) fn new(config: &Config, telemetry: &Arc<Telemetry>) -> Self {
        Self(Arc::new(Inner {
            service: config.service.name.clone(),
            version: config.service.version,
            environment: config.service.environment.clone(),
            started: Instant::now(),
            telemetry: Arc::clone(telemetry),
        }))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    service: String,
    version: &'static str,
    environment: String,
    uptime_seconds: u64,
    backends: BTreeMap<&'static str, Health>,
}

pub(super) async fn report(extract::State(state): extract::State<State>) -> Json<Report> {
    let Inner { service, version, environment, started, telemetry } = &*state.0;
    Json(Report {
        service: service.clone(),
        version,
        environment: environment.clone(),
        uptime_seconds: started.elapsed().as_secs(),
        backends: telemetry.health(),
    })
}
