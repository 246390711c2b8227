//! CloudWatch Logs: an access line for each request, and the application's own log events.
//!
//! [`LineLayer`] enlists a view, which leaves the finished record in a queue; [`LineLog`] leaves log events there;
//! `document` makes lines of both; `exporter` is the wire, one attempt at a time. When to send and to try again is the
//! delivery's business, so the SDK's own retries are off.

mod document;
mod exporter;
mod layer;

use std::time::Duration;

use opentelemetry::Key;
use opentelemetry_sdk::Resource;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

pub use self::layer::{LineLayer, LineLog, Lines};

use self::document::{Form, Item, Metrics};
use self::exporter::{Place, Stream};
use super::delivery::{Backoff, Books, Delivery, Limits, Measure, Notice, Policy, Runtime, Status};
use super::observe::EnlistLayer;
use crate::config;

/// How much may wait, in bytes of lines by estimate: half a minute of a thousand requests a second.
const CAPACITY: Measure = Measure { weight: 32 << 20, items: u64::MAX };
/// What one call takes, by the API's model (2014-03-28): 10,000 events, and 1 MiB of which each event takes 26 bytes
/// beside its text.
const BATCH: Limits = Limits { items: 10_000, weight: 1 << 20, linger: Duration::from_secs(1) };
/// Full jitter from 200 ms: a throttled account has 5,000 calls a second, and is soon itself again.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(30) };

/// The name under which the delivery is shown.
pub(super) const CLOUDWATCH: &str = "cloudwatch";

/// The running backend.
#[derive(Debug)]
pub(super) struct CloudWatch {
    delivery: Delivery<Item>,
    level: LevelFilter,
}

impl CloudWatch {
    /// Starts it, if there is a group to write to. No call is made yet.
    pub(super) fn start(
        config: &config::CloudWatch,
        resource: &Resource,
        runtime: &Runtime,
        books: &Books,
        notice: &Notice,
    ) -> Option<Self> {
        let group = config.group.clone()?;
        let (service, environment) =
            (known(resource, "service.name"), known(resource, "deployment.environment.name"));
        let (host, instance) = (known(resource, "host.name"), known(resource, "service.instance.id"));
        let port = config.port.to_string();
        let stream = config.stream.fill(|place| match place {
            "service" => service.as_deref(),
            "environment" => environment.as_deref(),
            "host" => host.as_deref(),
            "instance" => instance.as_deref(),
            _ => Some(&port),
        });
        let metrics = config.metrics_namespace.clone().map(|namespace| Metrics {
            namespace,
            service: service.unwrap_or_default(),
            environment: environment.unwrap_or_default(),
        });
        let status = Status::new(format!("CloudWatch Logs, {group} {stream}"), notice.clone());
        let place = Place {
            group,
            stream,
            create_group: config.create_group,
            retention_days: config.retention_days,
            class: config.class,
        };
        let form = Form { format: config.format, metrics };
        let sink = Stream::new(place, form, exporter::Access::of(config), notice.clone());
        // One call at a time keeps the stream in order.
        let policy = Policy { batch: BATCH, capacity: CAPACITY, in_flight: 1, backoff: BACKOFF };
        let delivery = Delivery::start(sink, policy, status, books.open(CLOUDWATCH), runtime);
        Some(Self { delivery, level: config.level })
    }

    pub(super) fn layer(&self) -> LineLayer {
        EnlistLayer(Lines(self.delivery.queue().clone()))
    }

    /// The view that sends log events.
    pub(super) fn log_view(&self) -> LineLog {
        LineLog { queue: self.delivery.queue().clone(), level: self.level }
    }

    /// Down to where log events are wanted.
    pub(super) fn level(&self) -> LevelFilter {
        self.level
    }

    /// How it is doing, in a sentence.
    pub(super) fn state(&self) -> String {
        self.delivery.status().sentence()
    }

    /// Sends what waits.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        self.delivery.shut_down(deadline).await;
    }
}

fn known(resource: &Resource, key: &'static str) -> Option<String> {
    Some(resource.get(&Key::from_static_str(key))?.to_string())
}
