//! Telemetry: one observing core, and a folder for each backend.
//!
//! A backend is four files: `mod` (its configuration), `layer` (what happens in the request's line), `document`
//! (a pure function from record to wire form) and `exporter` (the wire). It imports [`observe`] and [`delivery`],
//! and no other backend.

mod client;
pub mod delivery;
pub mod observe;
pub mod stack;
mod subscriber;
pub mod terminal;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::Serialize;
use tracing::Dispatch;

pub use self::client::Client;
use self::delivery::Tally;
use self::observe::{EpochIds, ObserveLayer, RecordAll, Settings, SpanCollector};
use self::terminal::{Format, Terminal, TerminalLayer};
use crate::config::{Config, LogFormat};

/// Everything that observes, running.
#[derive(Debug)]
pub struct Telemetry {
    observe: ObserveLayer,
    provider: SdkTracerProvider,
    terminal: Terminal,
    dispatch: Dispatch,
}

impl Telemetry {
    /// Starts what `config` asks for; the terminal's view is written to `out`.
    ///
    /// # Errors
    /// The operating system did not give a thread.
    pub fn start(config: &Config, out: impl Write + Send + 'static) -> io::Result<Self> {
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let provider = SdkTracerProvider::builder()
            .with_sampler(RecordAll(sampler.clone()))
            .with_id_generator(EpochIds::default())
            .with_span_processor(SpanCollector::default())
            .build();
        let terminal = terminal::start(format(config.log.format), true, out)?;
        let views: Vec<Box<dyn observe::LogView>> = vec![Box::new(terminal.log_view())];
        let dispatch = subscriber::subscriber(&provider, &config.log.filter, views);
        let observe = ObserveLayer::new(Settings {
            trusted_proxies: config.observe.trusted_proxies.clone(),
            exclude_paths: config.observe.exclude_paths.clone(),
            propagators: config.observe.propagators.clone(),
            known_methods: config.observe.known_methods.clone(),
            sampler,
            route: stack::matched_route,
        });
        Ok(Self { observe, provider, terminal, dispatch })
    }

    /// Makes this the process's telemetry: the `tracing` subscriber, OpenTelemetry's tracer provider, the panic
    /// hook. Without it, `tracing` leads here only where [`Telemetry::dispatch`] is made the default.
    ///
    /// # Errors
    /// Another subscriber has been installed before.
    pub fn install(&self) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
        tracing::dispatcher::set_global_default(self.dispatch.clone())?;
        opentelemetry::global::set_tracer_provider(self.provider.clone());
        observe::install_hook();
        Ok(())
    }

    /// The subscriber that leads here.
    #[must_use]
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Where application code that uses the OpenTelemetry API directly gets its tracers.
    #[must_use]
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    fn observe_layer(&self) -> ObserveLayer {
        self.observe.clone()
    }

    fn terminal_layer(&self) -> Option<TerminalLayer> {
        self.terminal.layer()
    }

    /// Each backend's state, by its name.
    #[must_use]
    pub fn health(&self) -> BTreeMap<&'static str, Health> {
        let tally = self.terminal.tally();
        let state = match tally.lost() {
            0 => "writing to standard output".to_owned(),
            lost => format!("writing to standard output, which was too slow or gone for {lost} items"),
        };
        BTreeMap::from([(TERMINAL, Health { state, items: tally })])
    }

    /// Delivers what waits, for `deadline` at most. Call it when the last request is over.
    #[must_use]
    pub fn shut_down(&self, deadline: Duration) -> Report {
        let terminal = self.terminal.shut_down(deadline);
        // Nothing of ours waits in the SDK, so there is nothing to fail but a second shutdown.
        self.provider.shutdown_with_timeout(deadline).ok();
        Report(BTreeMap::from([(TERMINAL, terminal)]))
    }
}

/// The terminal's name at the health endpoint and in the report.
const TERMINAL: &str = "terminal";

/// How a backend is doing.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// One sentence for people.
    pub state: String,
    /// Its account.
    pub items: Tally,
}

/// What became of everything that was accepted, by backend.
#[derive(Debug, Clone, Default)]
pub struct Report(pub BTreeMap<&'static str, Tally>);

impl Report {
    /// Items that were accepted for delivery and neither delivered nor spooled. What the terminal could not
    /// print is not among them: it is a view for people, and a closed pipe says that there are none.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.iter().filter(|(backend, _)| **backend != TERMINAL).map(|(_, tally)| tally.lost()).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(backend, tally)| writeln!(f, "  {backend}: {tally}"))
    }
}

/// The format asked for, or the one that suits where standard output leads.
fn format(asked: Option<LogFormat>) -> Format {
    match asked {
        Some(LogFormat::Pretty) => Format::Pretty,
        Some(LogFormat::Plain) => Format::Plain,
        Some(LogFormat::Json) => Format::Json,
        None if io::stdout().is_terminal() => Format::Pretty,
        None => Format::Plain,
    }
}
