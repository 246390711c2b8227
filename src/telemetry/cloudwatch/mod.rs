//! CloudWatch Logs: an access line for each request, and the application's own log events.
//!
//! [`LineLayer`] enlists a view, which leaves the finished record's line in a queue; [`LineLog`] leaves log events' there;
//! `document` makes lines of both; `exporter` is the wire, one attempt at a time. When to send and to try again is the
//! delivery's business, so the SDK's own retries are off.

mod document;
mod exporter;
mod layer;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Key;
use opentelemetry_sdk::Resource;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use self::layer::LineView;
pub use self::layer::{LineLayer, LineLog, Lines};

use self::document::{Form, Item, Metrics};
use self::exporter::{Place, Stream};
use super::delivery::{Backoff, Delivery, Keep, Kept, Limits, Measure, Policy, SpoolError, Surroundings};
use super::observe::EnlistLayer;
use crate::config;

/// How much may wait in memory, in bytes and by estimate.
const CAPACITY: Measure = Measure { weight: 32 << 20, items: u64::MAX };
/// An eighth of what one call takes, which is 1 MiB by the API's model (2014-03-28), of which each event takes 26 bytes
/// beside its text: a whole one is hashed and written for a millisecond, in which a single core answers nobody. Few lines
/// wait a second for company, on disk, since an account has 5,000 calls a second for all that it runs.
const BATCH: Limits = Limits { items: 10_000, weight: document::SHARE << 17, linger: Duration::from_secs(1) };
/// Calls on their way at once when lines pile up: one alone takes an eighth of a mebibyte a round trip, which is 2.5 MiB a
/// second from a service 50 ms away, and less than that from one that takes its time.
const IN_FLIGHT_BEHIND: usize = 32;
/// Full jitter from 200 ms: a throttled account has 5,000 calls a second, and is soon itself again.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(30) };

/// The name under which the delivery is shown.
pub(super) const CLOUDWATCH: &str = "cloudwatch";

/// The running backend.
#[derive(Debug)]
pub(super) struct CloudWatch {
    delivery: Delivery<Item>,
    view: LineView,
    level: LevelFilter,
}

impl CloudWatch {
    /// Starts it, if there is a group to write to. No call is made yet.
    ///
    /// # Errors
    /// What is undelivered cannot be kept.
    pub(super) fn start(
        config: &config::CloudWatch,
        resource: &Resource,
        around: Surroundings<'_>,
    ) -> Result<Option<Self>, SpoolError> {
        let Some(group) = config.group.clone() else { return Ok(None) };
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
        let destination = format!("CloudWatch Logs, {group} {stream}");
        let place = Place {
            group,
            stream,
            create_group: config.create_group,
            retention_days: config.retention_days,
            class: config.class,
        };
        let form = Arc::new(Form { format: config.format, metrics });
        let sink = Stream::new(place, Arc::clone(&form), exporter::Access::of(config), around.notice.clone());
        // One call at a time keeps the stream in order of arrival as well; in a backlog the order of time, which is
        // CloudWatch's, must do.
        let policy = Policy {
            batch: BATCH,
            capacity: CAPACITY,
            in_flight: 1,
            in_flight_behind: IN_FLIGHT_BEHIND,
            backoff: BACKOFF,
            keep: Keep { max_age: max_age(config.retention_days), through: true },
        };
        let ledger = around.books.open(CLOUDWATCH);
        let delivery = around.deliver(CLOUDWATCH, destination, ledger, policy, sink)?;
        let view = LineView::new(delivery.queue().clone(), form);
        Ok(Some(Self { delivery, view, level: config.level }))
    }

    pub(super) fn layer(&self) -> LineLayer {
        EnlistLayer(Lines(self.view.clone()))
    }

    /// The view that sends log events.
    pub(super) fn log_view(&self) -> LineLog {
        LineLog { view: self.view.clone(), level: self.level }
    }

    /// Down to where log events are wanted.
    pub(super) fn level(&self) -> LevelFilter {
        self.level
    }

    /// How it is doing, in a sentence.
    pub(super) fn state(&self) -> String {
        self.delivery.status().sentence()
    }

    /// What is on disk.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.delivery.kept()
    }

    /// Sends what waits.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        self.delivery.shut_down(deadline).await;
    }
}

/// How old a line may be that CloudWatch takes: two weeks, and not older than the group keeps lines; less an hour, which it
/// may still have to wait.
fn max_age(retention_days: Option<i32>) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let days = retention_days.and_then(|days| u32::try_from(days).ok()).unwrap_or(14).min(14);
    days * DAY - Duration::from_secs(3600)
}

fn known(resource: &Resource, key: &'static str) -> Option<String> {
    Some(resource.get(&Key::from_static_str(key))?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_for_longer_than_cloudwatch_takes_it() {
        let hours = |days| max_age(days).as_secs() / 3600;
        assert_eq!([None, Some(3653), Some(14), Some(7), Some(1)].map(hours), [335, 335, 335, 167, 23]);
    }
}
