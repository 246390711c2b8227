//! Behaviour, seen from outside.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but sees only their functions, not their helpers"
)]

mod contract;
mod cors;
mod errors;
mod feed;
mod harness;
mod spans;
