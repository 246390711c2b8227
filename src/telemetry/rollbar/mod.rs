//! Rollbar: every failure as an item, once.
//!
//! [`HookLayer`] enlists a view, which leaves a request that has failed at the `desk`; log events and panics outside of
//! requests get there by the log view. There it is looked into, on a thread of its own: the stack is resolved, the
//! fingerprint taken, and the `budget` asked whether there is to be an item. `document` draws the item, by a pure
//! function, and takes every secret out of it; `exporter` is the wire.
//!
//! ```text
//! layer -> desk -> budget -> document -> queue -> exporter
//! ```
//!
//! An item that has been drawn is text that does not change any more: retried, it has the same uuid, of which Rollbar
//! takes one. The uuid is the request's `error_id` in every other place.

mod budget;
mod desk;
mod document;
mod exporter;
mod failure;
mod layer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::budget::Budget;
use self::desk::{Clerk, Desk, Work};
use self::document::{Constants, Scrubber};
use self::exporter::{Api, Http, Item};
pub use self::layer::{HookLayer, ReportLog, Reports};
use super::delivery::{
    Backoff, BoxError, Delivery, Keep, Kept, Limits, Measure, Policy, SpoolError, Surroundings,
};
use super::observe::EnlistLayer;
use crate::config;

/// How much may wait for Rollbar, in bytes: 250 items of 64 KiB, or some 3,000 of the usual size.
const CAPACITY: Measure = Measure { weight: 16 << 20, items: u64::MAX };
/// One item a post, one post at a time: a budget of 60 items a minute needs no more.
const POLICY: Policy = Policy {
    batch: Limits { items: 1, weight: usize::MAX, linger: Duration::ZERO },
    capacity: CAPACITY,
    in_flight: 1,
    in_flight_behind: 1,
    // On 2025-09-03 Rollbar answered half of all posts with 502, for eight hours and a half.
    backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(300) },
    // Who has not mended a failure by then has seen it again.
    keep: Keep { max_age: Duration::from_secs(7 * 24 * 3600), through: false },
};

/// The name under which the delivery is shown.
pub(super) const ROLLBAR: &str = "rollbar";

/// The running backend.
#[derive(Debug)]
pub(super) struct Rollbar {
    desk: Desk,
    work: Work,
    delivery: Delivery<Item>,
}

/// Rollbar cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system did not give a thread.
    #[error("the operating system gives no thread: {0}")]
    Thread(#[from] io::Error),
    /// The client cannot be made.
    #[error("no client for Rollbar can be made: {0}")]
    Client(BoxError),
    /// What is undelivered cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Rollbar {
    /// Starts it, if there is a token.
    pub(super) fn start(
        config: &config::Rollbar,
        service: &str,
        around: Surroundings<'_>,
    ) -> Result<Option<Self>, StartError> {
        let Some(token) = config.token.clone() else { return Ok(None) };
        let http = Http::new(&config.endpoint, &token).map_err(StartError::Client)?;
        let ledger = around.books.open(ROLLBAR);
        let desk = Desk::new(Arc::clone(&ledger));
        let destination = format!("Rollbar at {}", config.endpoint);
        let api = Api::new(http, token.clone(), desk.clone(), Arc::clone(&ledger));
        let delivery = around.deliver(ROLLBAR, destination, Arc::clone(&ledger), POLICY, api)?;
        let clerk = Clerk {
            constants: Constants {
                service: service.to_owned(),
                environment: config.environment.clone(),
                code_version: config.code_version.clone(),
                host: host(),
                links: config.links.clone(),
                scrubber: Scrubber::new(token),
            },
            budget: Budget::new(config.items_per_minute, Instant::now()),
            ledger,
            queue: delivery.queue().clone(),
        };
        let work = Work::start(desk.clone(), clerk)?;
        Ok(Some(Self { desk, work, delivery }))
    }

    pub(super) fn layer(&self) -> HookLayer {
        EnlistLayer(Reports(self.desk.clone()))
    }

    /// What hears of failures outside of requests.
    pub(super) fn log_view(&self) -> ReportLog {
        ReportLog(self.desk.clone())
    }

    /// How it is doing.
    pub(super) fn state(&self) -> String {
        self.delivery.status().sentence()
    }

    /// What is on disk.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.delivery.kept()
    }

    /// Looks into what waits, and sends it.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        self.work.shut_down(deadline).await;
        self.delivery.shut_down(deadline).await;
    }
}

fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
