//! Telemetry: one observing core, and a folder for each backend.
//!
//! A backend is four files: `mod` (its configuration), `layer` (what happens in the request's line), `document`
//! (a pure function from record to wire form) and `exporter` (the wire). It imports [`observe`] and [`delivery`],
//! what its variables are read into in [`config`], and no other backend.

mod client;
pub mod cloudwatch;
pub mod delivery;
pub mod observe;
pub mod otlp;
mod resource;
pub mod rollbar;
pub mod stack;
mod subscriber;
pub mod terminal;
pub mod xray;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits};
use serde::Serialize;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level};

pub use self::client::Client;
use self::cloudwatch::{CLOUDWATCH, CloudWatch};
use self::delivery::{Books, Kept, Notice, Runtime, Spool, SpoolError, Surroundings, Tally};
use self::observe::{Enlist, EnlistLayer, EpochIds, ObserveLayer, RecordAll, Settings, SpanCollector};
use self::otlp::{Otlp, Relay};
use self::rollbar::{ROLLBAR, Rollbar};
use self::terminal::{Format, Terminal};
use self::xray::{XRAY, Xray};
use crate::config::{self, Config, LogFormat, SpoolMode};

/// Everything that observes, running.
#[derive(Debug)]
pub struct Telemetry {
    observe: ObserveLayer,
    provider: SdkTracerProvider,
    otlp: Otlp,
    xray: Option<Xray>,
    cloudwatch: Option<CloudWatch>,
    rollbar: Option<Rollbar>,
    terminal: Terminal,
    dispatch: Dispatch,
    books: Books,
    // The last to go: deliveries run on it.
    _runtime: Runtime,
}

/// Telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system did not give a thread or a poller.
    #[error("the operating system gives no thread: {0}")]
    Thread(#[from] io::Error),
    /// OTLP cannot be set up.
    #[error(transparent)]
    Otlp(#[from] otlp::StartError),
    /// Rollbar cannot be set up.
    #[error(transparent)]
    Rollbar(#[from] rollbar::StartError),
    /// The spool that was asked for cannot be used.
    #[error("SPOOL_DIR: {0}; name a directory that this service may write to, or set SPOOL=off")]
    Spool(#[from] SpoolError),
}

impl Telemetry {
    /// Starts what `config` asks for; the terminal's view is written to `out`.
    ///
    /// # Errors
    /// Something that `config` names cannot be used, or the operating system is out of threads.
    pub fn start(config: &Config, out: impl Write + Send + 'static) -> Result<Self, StartError> {
        let (books, runtime) = (Books::default(), Runtime::start()?);
        let resource = resource::resource(config);
        let terminal =
            Terminal::start(format(config.log.format), config.otlp.console, out, books.open(TERMINAL))?;
        let notice: Notice = terminal.notice();
        // Only what has a backend to go to is kept.
        let is_needed = config.otlp.traces.is_some()
            || config.cloudwatch.group.is_some()
            || config.rollbar.token.is_some();
        let spool = if is_needed { open_spool(&config.spool, &notice)? } else { None };
        let around =
            Surroundings { runtime: &runtime, books: &books, notice: &notice, spool: spool.as_ref() };
        let otlp = Otlp::start(&config.otlp, &resource, around)?;
        let log_group = config.cloudwatch.group.as_deref();
        let xray = Xray::start(&config.xray, config.service.version, log_group, around);
        let cloudwatch = CloudWatch::start(&config.cloudwatch, &resource, around)?;
        let rollbar = Rollbar::start(&config.rollbar, &config.service.name, around)?;

        let limits = limits(&config.otlp.limits);
        let sampler = RecordAll(config.otlp.sampler.clone());
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler.clone())
            .with_id_generator(EpochIds::default())
            .with_span_processor(SpanCollector::new(otlp.outside()))
            .with_span_limits(limits)
            .with_resource(resource)
            .build();
        let mut views: Vec<Box<dyn observe::LogView>> = vec![Box::new(terminal.log_view())];
        let mut floor = LevelFilter::INFO;
        if let Some(cloudwatch) = &cloudwatch {
            views.push(Box::new(cloudwatch.log_view()));
            floor = floor.max(cloudwatch.level());
        }
        if let Some(rollbar) = &rollbar {
            views.push(Box::new(rollbar.log_view()));
        }
        let spans = subscriber::spans(sampler, limits, otlp.outside());
        let dispatch = subscriber::subscriber(spans, &config.log.filter, floor, views);
        let mut exclude_paths = config.observe.exclude_paths.clone();
        if otlp.relay().is_some() {
            // What carries telemetry is not observed itself.
            exclude_paths.push(otlp::RELAY_PATH.to_owned());
        }
        runtime.spawn(observe::attend());
        let observe = ObserveLayer::new(Settings {
            trusted_proxies: config.observe.trusted_proxies.clone(),
            exclude_paths,
            propagators: config.observe.propagators.clone(),
            known_methods: config.observe.known_methods.clone(),
            sampler: config.otlp.sampler.clone(),
            // What is to be on disk before the response ends cannot wait.
            tell_at_once: config.spool.mode == SpoolMode::WriteThrough,
            route: stack::matched_route,
        });
        Ok(Self {
            observe,
            provider,
            otlp,
            xray,
            cloudwatch,
            rollbar,
            terminal,
            dispatch,
            books,
            _runtime: runtime,
        })
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

    fn otlp_layer(&self) -> EnlistLayer<Option<impl Enlist + use<>>> {
        EnlistLayer::optional(self.otlp.layer())
    }

    fn xray_layer(&self) -> EnlistLayer<Option<impl Enlist + use<>>> {
        EnlistLayer::optional(self.xray.as_ref().map(Xray::layer))
    }

    fn cloudwatch_layer(&self) -> EnlistLayer<Option<impl Enlist + use<>>> {
        EnlistLayer::optional(self.cloudwatch.as_ref().map(CloudWatch::layer))
    }

    fn rollbar_layer(&self) -> EnlistLayer<Option<impl Enlist + use<>>> {
        EnlistLayer::optional(self.rollbar.as_ref().map(Rollbar::layer))
    }

    fn terminal_layer(&self) -> EnlistLayer<Option<impl Enlist + use<>>> {
        EnlistLayer::optional(self.terminal.layer())
    }

    /// Where OTLP that browsers send is left, if it is wanted (`OTLP_RELAY`).
    #[must_use]
    pub fn relay(&self) -> Option<Relay> {
        self.otlp.relay()
    }

    /// Where the application gets meters for metrics of its own; `None` where metrics are not exported.
    #[must_use]
    pub fn meter_provider(&self) -> Option<&SdkMeterProvider> {
        self.otlp.meter_provider()
    }

    /// Each backend's state, by its name.
    #[must_use]
    pub fn health(&self) -> BTreeMap<&'static str, Health> {
        observe::tell_all();
        let mut states: BTreeMap<_, _> = self.otlp.states().into_iter().collect();
        states.extend(self.xray.as_ref().map(|xray| (XRAY, xray.state())));
        states.extend(self.cloudwatch.as_ref().map(|cloudwatch| (CLOUDWATCH, cloudwatch.state())));
        states.extend(self.rollbar.as_ref().map(|rollbar| (ROLLBAR, rollbar.state())));
        states.insert(TERMINAL, self.terminal.state());
        // First the books: what they say is on disk can be seen there already.
        let tallies = self.books.tallies().into_iter();
        let mut kept: BTreeMap<_, _> = self.otlp.kept().into_iter().collect();
        let lines = self.cloudwatch.as_ref().and_then(CloudWatch::kept);
        kept.extend(lines.map(|lines| (CLOUDWATCH, lines)));
        let items = self.rollbar.as_ref().and_then(Rollbar::kept);
        kept.extend(items.map(|items| (ROLLBAR, items)));
        tallies
            .map(|(backend, items)| {
                let (state, spool) = (states.remove(backend).unwrap_or_default(), kept.remove(backend));
                (backend, Health { state, items, spool })
            })
            .collect()
    }

    /// Delivers what waits, until `deadline` at most. Call it when the last request is over.
    #[must_use]
    pub async fn shut_down(&self, deadline: Instant) -> Report {
        observe::tell_all();
        tokio::join!(
            self.otlp.shut_down(deadline),
            if_any(self.xray.as_ref().map(|xray| xray.shut_down(deadline))),
            if_any(self.cloudwatch.as_ref().map(|cloudwatch| cloudwatch.shut_down(deadline))),
            if_any(self.rollbar.as_ref().map(|rollbar| rollbar.shut_down(deadline))),
        );
        // The terminal is the last to go, for it tells what the others have to say.
        self.terminal.shut_down(deadline).await;
        // Nothing of ours waits in the SDK, so there is nothing to fail but a second shutdown.
        self.provider.shutdown().ok();
        Report(self.books.tallies().into_iter().collect())
    }
}

/// Waits for a backend's end, where there is the backend.
async fn if_any(ending: Option<impl Future<Output = ()>>) {
    if let Some(ending) = ending {
        ending.await;
    }
}

/// What keeps a runaway span within bounds. OTLP's own limits are applied where its spans are drawn.
fn limits(asked: &config::SpanLimits) -> SpanLimits {
    let at_least = |least: u32, asked: usize| least.max(u32::try_from(asked).unwrap_or(u32::MAX));
    let mut limits = SpanLimits::default();
    limits.max_attributes_per_span = at_least(limits.max_attributes_per_span, asked.attributes);
    limits.max_attributes_per_event = at_least(limits.max_attributes_per_event, asked.event_attributes);
    limits.max_attributes_per_link = at_least(limits.max_attributes_per_link, asked.link_attributes);
    limits.max_events_per_span = at_least(1024, asked.events);
    limits.max_links_per_span = at_least(1024, asked.links);
    limits
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
    /// What it has on disk; not there where it has nothing to do with the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<Kept>,
}

/// What became of everything that was accepted, by backend.
#[derive(Debug, Clone, Default)]
pub struct Report(pub BTreeMap<&'static str, Tally>);

impl Report {
    /// Items that were accepted for delivery and neither delivered nor spooled. What the terminal could not
    /// print is not among them: it is a view for people, and a closed pipe says that there are none. Nor is what
    /// X-Ray's daemon did not get: UDP promises nothing.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0
            .iter()
            .filter(|(backend, _)| ![TERMINAL, XRAY].contains(*backend))
            .map(|(_, tally)| tally.lost())
            .sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(backend, tally)| writeln!(f, "  {backend}: {tally}"))
    }
}

/// Opens the spool and says where it is. Where nobody has named a place for it and the usual one cannot be used,
/// memory must do, and that is said.
fn open_spool(config: &config::Spool, notice: &Notice) -> Result<Option<Spool>, SpoolError> {
    if config.mode == SpoolMode::Off {
        return Ok(None);
    }
    match Spool::open(&config.directory, config.max_bytes, config.mode == SpoolMode::WriteThrough) {
        Ok(spool) => {
            let (folder, most) = (spool.folder().display(), config.max_bytes);
            notice(Level::INFO, &format!("undelivered telemetry is kept in {folder}, up to {most} bytes"));
            Ok(Some(spool))
        }
        Err(error) if config.is_named => Err(error),
        Err(error) => {
            let hint = "undelivered telemetry is kept in memory only; SPOOL_DIR names another place";
            notice(Level::ERROR, &format!("{error}; {hint}"));
            Ok(None)
        }
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
