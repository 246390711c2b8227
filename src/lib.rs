//! The Cruddur backend: one service, observed once, seen in four places.

pub mod activities;
pub mod api;
pub mod cli;
pub mod config;
pub mod server;
pub mod telemetry;
