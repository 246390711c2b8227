//! Receivers that stand in for the backends' destinations: they take nothing that the real ones would not take,
//! fail on script, and say afterwards what was wrong with what they were sent.

pub(crate) mod cloudwatch;
mod otlp;
pub(crate) mod rollbar;
pub(crate) mod segment;
mod server;
pub(crate) mod xray;

pub(crate) use self::otlp::{Answer, Otlp, Received, Seen, Signal, Wire, attributes, hex};
