//! Which requests X-Ray keeps: central rules, fetched from AWS through the daemon, and local ones until there are
//! any.
//!
//! ```text
//! poller ──▶ daemon (HTTP) ──▶ central (JSON) ──▶ rule ─┐
//!   ▲  next action: pure                                ├──▶ Sampler::decide ──▶ reservoir (pure)
//!   └── statistics ◀────────────────────────────────────┤
//!                      local (a file, or built in) ─────┘
//! ```
//!
//! The daemon and AWS share the work of limiting: each process reports every ten seconds what it has seen, and is
//! given its share of a rule's reservoir for the next ones. Until it has one, it borrows a request a second.
//!
//! What X-Ray's SDKs do is done here as they do it, unless said otherwise. Adaptive sampling (`SamplingRateBoost`)
//! is not supported: such a rule holds without its boost.

mod central;
mod daemon;
mod explain;
mod local;
mod pattern;
mod poller;
mod reservoir;
mod rule;
mod sampler;

pub use self::central::CentralRules;
pub use self::daemon::{DaemonError, fetch_rules};
pub use self::local::{FileFault, LocalRules};
pub use self::pattern::Pattern;
pub use self::poller::Poller;
pub use self::rule::Asked;
pub use self::sampler::{Decision, Sampler};

use std::time::{Duration, SystemTime};

/// How long central rules hold after they were last fetched.
const VALID_FOR: u64 = 3600;

/// Whole seconds since the epoch: what reservoirs count in. A clock before it counts as the epoch.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

/// `1 rule`, `2 rules`.
fn counted(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
