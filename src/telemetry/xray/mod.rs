//! X-Ray: each sampled request as a segment, by datagrams to the daemon.
//!
//! [`SegmentLayer`] decides, before the handler, whether a request is traced, by the caller's word or by the rules that
//! X-Ray serves ([`sampling`]); `document` draws the segment with its subsegments from the finished record; `exporter`
//! is the wire. The document's ids are the spans' ids, so that X-Ray and OTLP name the same things alike.

mod document;
mod exporter;
mod layer;
mod metadata;
mod naming;
pub mod sampling;

use std::sync::Arc;
use std::time::Duration;

pub use self::document::is_name_character;
use self::layer::Parts;
pub use self::layer::{SegmentLayer, Segments};

use self::document::{Constants, Form, Item};
use self::exporter::Daemon;
use self::metadata::Known;
use self::naming::Naming;
use self::sampling::{Poller, Sampler};
use super::delivery::{Backoff, Delivery, Keep, Limits, Measure, Policy, Status, Surroundings};
use super::observe::EnlistLayer;
use crate::config;

/// How much may wait while the daemon's name cannot be looked up, by estimate.
const CAPACITY: Measure = Measure { weight: 16 << 20, items: u64::MAX };
/// Short bursts: the daemon's socket buffer holds some 200 kB, and what comes at once beyond that is lost there.
const BATCH: Limits = Limits { items: 32, weight: 1 << 20, linger: Duration::from_millis(5) };
/// For looking up the daemon's name again.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// Collectors of old refuse traces of more than 28 days.
const KEEP: Keep = Keep { max_age: Duration::from_secs(28 * 24 * 3600), through: false };

/// The name under which the delivery is shown.
pub(super) const XRAY: &str = "xray";

/// The running backend.
#[derive(Debug)]
pub(super) struct Xray {
    delivery: Delivery<Item>,
    poller: Poller,
    layer: SegmentLayer,
}

impl Xray {
    /// Starts it, if there is a daemon to send to. `log_group` is where X-Ray finds the lines of a trace.
    pub(super) fn start(
        config: &config::Xray,
        version: &str,
        log_group: Option<&str>,
        around: Surroundings<'_>,
    ) -> Option<Self> {
        let daemon = config.daemon.clone()?;
        let constants = Constants::new(version, log_group);
        let form = Arc::new(Form { constants, known: Known::default() });
        let (ecs, ec2) = (config.ecs_metadata.clone(), config.ec2_metadata.clone());
        around.runtime.spawn(form.known.clone().find_out(metadata::Sources { ecs, ec2 }));

        let local = config.local_rules.clone();
        let sampler = match config.pattern {
            None => Sampler::for_service(&config.name, local),
            Some(_) => Sampler::new(local),
        };
        let poller = Poller::start(sampler.clone(), daemon.tcp, around.runtime, around.notice.clone());
        let status = Status::new(format!("the X-Ray daemon at {}", daemon.udp), around.notice.clone());
        let policy = Policy {
            batch: BATCH,
            capacity: CAPACITY,
            in_flight: 1,
            in_flight_behind: 1,
            backoff: BACKOFF,
            keep: KEEP,
        };
        let sink = Daemon::new(daemon.udp, Arc::clone(&form));
        let delivery = Delivery::start(sink, policy, status, around.books.open(XRAY), around.runtime);
        let naming = Arc::new(Naming::new(&config.name, config.pattern.clone()));
        let layer =
            EnlistLayer(Segments(Arc::new(Parts { sampler, naming, form, queue: delivery.queue().clone() })));
        Some(Self { delivery, poller, layer })
    }

    pub(super) fn layer(&self) -> SegmentLayer {
        self.layer.clone()
    }

    /// How it is doing: where segments go, and by which rules they are sampled.
    pub(super) fn state(&self) -> String {
        format!("{}; {}", self.delivery.status().sentence(), self.poller.state())
    }

    /// Sends what waits.
    pub(super) async fn shut_down(&self, deadline: tokio::time::Instant) {
        self.delivery.shut_down(deadline).await;
    }
}
