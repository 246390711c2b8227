//! The Cruddur backend: one service, observed once, seen in four places.
//!
//! ```text
//!   main ── config ──▶ Telemetry::start ──▶ server::app(routes) ──▶ server::run(listener, shutdown) ──▶ report
//!
//!                              Exchange  ──────────▶  Arc<RequestRecord>
//!                              in flight  closed once  immutable
//!                                                          │
//!                         ┌────────────────────────────────┼─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//!                     View::on_close                   View::on_close      one for each backend,
//!                         │                                │                  called when the thread has leisure:
//!                       queue                            queue                it draws what is short, pushes,
//!                         │                                │                  and never waits
//!                       worker                           worker            off the request's path:
//!                         │                                │                  the rest of the drawing, then the wire
//!                 OTLP, X-Ray, CloudWatch              terminal            and a ledger of what became of it
//!                          ┆
//!                        spool                                             on disk, where the wire fails
//! ```
//!
//! # The flow
//!
//! 1. [`config`] turns the environment into [`config::Config`], once, or into the list of all that is wrong with it.
//! 2. [`telemetry::Telemetry::start`] starts the backends that the configuration asks for, and
//!    [`Telemetry::install`](telemetry::Telemetry::install) makes `tracing` and OpenTelemetry lead there.
//! 3. [`server::app`] puts the layers around [`api::routes`]; [`telemetry::stack`] shows them in order.
//! 4. For each request, [`ObserveLayer`](telemetry::observe::ObserveLayer) opens an
//!    [`Exchange`](telemetry::observe::Exchange). Each backend's layer enlists a
//!    [`View`](telemetry::observe::View) in it and steps aside. The spans and log events of [`activities`] and the
//!    [`Fault`](telemetry::observe::Fault) of a failing handler are filed under it.
//! 5. The last byte, an error, a client that leaves or a panic closes it, whichever comes first. It becomes a
//!    [`RequestRecord`](telemetry::observe::RequestRecord), which every view is handed, in the binary once the
//!    [thread](telemetry::observe::on_thread_park) has nothing else to do. The answers to requests that came at once are
//!    written together, once these have been handled.
//! 6. Told to stop, [`server::run`] finishes what is in flight; then
//!    [`Telemetry::shut_down`](telemetry::Telemetry::shut_down) delivers what waits, by the same deadline, leaves the
//!    rest on disk for the next process, and reports what became of every item.
//!
//! # The modules
//!
//! | Module | What it is | What it may import of the others |
//! |---|---|---|
//! | `digits` | how numbers are written; whoever writes some may import it | nothing |
//! | [`activities`] | the domain | nothing |
//! | [`api`] | the HTTP face | [`activities`], and of [`telemetry::observe`] the exchange and its fault |
//! | [`telemetry::observe`], [`telemetry::delivery`] | the core, which knows no vendor | nothing |
//! | [`telemetry::terminal`], [`telemetry::otlp`], [`telemetry::xray`], [`telemetry::cloudwatch`], [`telemetry::rollbar`] | a backend each: layer, document, exporter | the core, and its variables in [`config`] |
//! | [`telemetry`] | the backends, started and stopped together | [`config`] and all in its folder |
//! | [`config`] | the environment, typed | what a value is parsed into |
//! | [`cli`] | the command line | [`config`] |
//! | [`server`] | all of it put together | everything but [`cli`] |

pub mod activities;
pub mod api;
pub mod cli;
pub mod config;
mod digits;
pub mod server;
pub mod telemetry;
