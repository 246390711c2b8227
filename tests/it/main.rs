//! Behaviour, seen from outside.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but sees only their functions, not their helpers"
)]

mod architecture;
mod authority;
mod binary;
mod caller;
mod cli;
mod client;
mod cloudwatch;
mod compose;
mod contract;
mod conventions;
mod cors;
mod dependencies;
mod errors;
mod feed;
mod harness;
mod honeycomb;
mod hostile;
mod identity;
mod later;
mod observed;
mod otlp;
mod otlp_binary;
mod outcomes;
mod packets;
mod peers;
mod process;
mod readme;
mod rollbar;
mod spans;
mod spool;
mod stand_in;
mod terminal;
mod xray;
