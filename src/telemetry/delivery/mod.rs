//! How telemetry leaves the process; it knows no vendor.

mod ledger;

pub use self::ledger::{Ledger, Tally};
