//! The environment, read once.
//!
//! Each topic owns a struct, the rows of its variables (name, parser, default, meaning) and the function that
//! reads them: [`Http`], [`Service`], [`Log`], [`Observe`], [`Honeycomb`], [`Otlp`], [`Xray`], [`CloudWatch`],
//! [`Rollbar`], [`Spool`]. What `--help` and `--check` print and
//! which misspelt names are noticed follow from those rows, so a variable exists in one place.
//!
//! Values are trimmed, and an empty one counts as unset: compose files write `${X:-}`. Every fault is reported,
//! not only the first. What starts but deserves a second look is a [`Warning`].

mod cloudwatch;
mod environment;
mod honeycomb;
mod http;
mod known;
mod log;
mod observe;
mod origin;
mod otlp;
mod parse;
mod reader;
mod rollbar;
mod service;
mod shown;
mod spool;
mod traps;
mod variable;
mod xray;

pub use cloudwatch::{AccessKey, CloudWatch, LineFormat, LogClass, StreamName};
pub use environment::Environment;
pub use honeycomb::Honeycomb;
pub use http::Http;
pub use known::{TOPICS, Topic};
pub use log::{Log, LogFormat};
pub use observe::Observe;
pub use otlp::{Batch, Destination, Otlp, Protocol, SpanLimits, Temporality, Tls};
pub use reader::{ConfigError, Setting, Source, Warning};
pub use rollbar::{Links, Rollbar, Template};
pub use service::Service;
pub use spool::{Spool, SpoolMode};
pub use variable::Variable;
pub use xray::{DaemonAddress, Xray};

use reader::Reader;

/// Everything the service can be told, in types that no longer need checking.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Who the service is.
    pub service: Service,
    /// How it is reached.
    pub http: Http,
    /// What its own log says, and how.
    pub log: Log,
    /// How requests are observed.
    pub observe: Observe,
    /// The account at Honeycomb.
    pub honeycomb: Honeycomb,
    /// What is exported by OTLP.
    pub otlp: Otlp,
    /// X-Ray.
    pub xray: Xray,
    /// CloudWatch Logs.
    pub cloudwatch: CloudWatch,
    /// Rollbar.
    pub rollbar: Rollbar,
    /// What is kept on disk.
    pub spool: Spool,
}

/// A configuration, and how it came about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every effective setting, by topic.
    pub settings: Vec<Setting>,
    /// What starts but deserves a second look.
    pub warnings: Vec<Warning>,
}

/// What `--check` reports: the faults do not hide the rest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checked {
    /// Every effective setting, by topic; a faulty one is missing here and among the errors instead.
    pub settings: Vec<Setting>,
    /// What starts but deserves a second look.
    pub warnings: Vec<Warning>,
    /// What keeps the service from starting.
    pub errors: Vec<ConfigError>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// All faults at once, each naming its variable.
    pub fn load(environment: &Environment) -> Result<Loaded, Vec<ConfigError>> {
        let (config, Checked { settings, warnings, errors }) = Self::read(environment);
        if errors.is_empty() { Ok(Loaded { config, settings, warnings }) } else { Err(errors) }
    }

    /// Reads the configuration only to report on it.
    #[must_use]
    pub fn check(environment: &Environment) -> Checked {
        Self::read(environment).1
    }

    /// A faulty variable has its default here, which nobody gets to see: the errors go first.
    fn read(environment: &Environment) -> (Self, Checked) {
        let mut reader = Reader::new(environment);
        let resource = otlp::resource(&mut reader);
        let service = Service::read(&mut reader, &resource);
        let http = Http::read(&mut reader, &service);
        let log = Log::read(&mut reader);
        let observe = Observe::read(&mut reader);
        let honeycomb = Honeycomb::read(&mut reader);
        let otlp = Otlp::read(&mut reader, &honeycomb, resource);
        let xray = Xray::read(&mut reader, &service);
        let cloudwatch = CloudWatch::read(&mut reader, http.bind.port());
        let rollbar = Rollbar::read(&mut reader, &service);
        let spool = Spool::read(&mut reader);
        let config = Self { service, http, log, observe, honeycomb, otlp, xray, cloudwatch, rollbar, spool };
        traps::set_in_vain(&mut reader);
        (config, reader.finish())
    }
}

#[cfg(test)]
mod tests;
