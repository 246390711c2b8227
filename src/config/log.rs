//! What the service's own log says, and how.

use tracing_subscriber::EnvFilter;

use super::parse::Parsed;
use super::reader::Reader;
use super::shown::Shown;
use super::variable::variables;

variables! {
    LOG_LEVEL: String = level, "info", "off, error, warn, info, debug or trace";
    RUST_LOG: String = directives, "LOG_LEVEL", "the same by module (info,cruddur=debug); wins over LOG_LEVEL";
    LOG_FORMAT: LogFormat = format, "pretty on a terminal, else plain", "pretty, plain or json";
}

/// What the service's own log says, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// Directives that `EnvFilter` has accepted.
    pub filter: String,
    /// `None` leaves it to whether standard output is a terminal.
    pub format: Option<LogFormat>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, coloured.
    Pretty,
    /// For people, without colours.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Log {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { filter: reader.either("LOG_LEVEL", &RUST_LOG, &LOG_LEVEL), format: reader.find(&LOG_FORMAT) }
    }
}

impl Shown for LogFormat {
    fn shown(&self) -> String {
        match self {
            Self::Pretty => "pretty",
            Self::Plain => "plain",
            Self::Json => "json",
        }
        .to_owned()
    }
}

fn level(text: &str) -> Parsed<String> {
    let level = text.to_ascii_lowercase();
    match level.as_str() {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => Ok(level),
        _ => Err("one of off, error, warn, info, debug, trace".into()),
    }
}

fn directives(text: &str) -> Parsed<String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(fault) => Err(format!("a list of directives such as info,cruddur=debug: {fault}").into()),
    }
}

fn format(text: &str) -> Parsed<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "pretty" => Ok(LogFormat::Pretty),
        "plain" => Ok(LogFormat::Plain),
        "json" => Ok(LogFormat::Json),
        _ => Err("one of pretty, plain, json".into()),
    }
}
