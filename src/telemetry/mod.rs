//! Telemetry.

pub mod observe;
