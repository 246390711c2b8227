//! Behaviour, seen from outside.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but sees only their functions, not their helpers"
)]

mod cli;
mod contract;
mod cors;
mod errors;
mod feed;
mod harness;
mod observed;
mod outcomes;
mod readme;
mod spans;
