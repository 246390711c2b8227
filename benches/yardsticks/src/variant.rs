//! What is compared: servers that answer the same request with the same bytes.

use std::path::{Path, PathBuf};

use crate::sinks::Sinks;

/// One server, as it is started.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// For the table.
    pub(crate) title: &'static str,
    program: Program,
    backends: &'static [Backend],
    /// Whether X-Ray keeps every request.
    pub(crate) keeps_all: bool,
    /// Further variables.
    environment: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// The service's own binary.
    Ours,
    /// A binary of this package, with an argument.
    Other(&'static str, Option<&'static str>),
}

/// Where telemetry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Otlp,
    Xray,
    CloudWatch,
    Rollbar,
}

impl Backend {
    pub(crate) const ALL: [Self; 4] = [Self::Otlp, Self::Xray, Self::CloudWatch, Self::Rollbar];

    /// The variable that switches it on.
    fn switch(self) -> &'static str {
        match self {
            Self::Otlp => "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            Self::Xray => "AWS_XRAY_DAEMON_ADDRESS",
            Self::CloudWatch => "CLOUDWATCH_LOG_GROUP",
            Self::Rollbar => "ROLLBAR_ACCESS_TOKEN",
        }
    }

    /// Its name in the service's books.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::Xray => "xray",
            Self::CloudWatch => "cloudwatch",
            Self::Rollbar => "rollbar",
        }
    }

    /// What it counts.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Otlp => "spans",
            Self::Xray => "segments",
            Self::CloudWatch => "lines",
            Self::Rollbar => "items",
        }
    }

    /// How much one request leaves there: the server span and the one inside; a segment; the access line and the
    /// handler's own; nothing, because nothing fails.
    pub(crate) fn each(self) -> u64 {
        match self {
            Self::Otlp | Self::CloudWatch => 2,
            Self::Xray => 1,
            Self::Rollbar => 0,
        }
    }

    /// The variables that lead to its sink at `port`. All credentials are dummies.
    fn environment(self, port: u16) -> Vec<(&'static str, String)> {
        let address = format!("http://127.0.0.1:{port}");
        match self {
            Self::Otlp => vec![
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{address}/v1/traces")),
                ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
            ],
            Self::Xray => {
                vec![("AWS_XRAY_DAEMON_ADDRESS", format!("127.0.0.1:{port}"))]
            }
            Self::CloudWatch => vec![
                ("CLOUDWATCH_LOG_GROUP", "yardsticks".to_owned()),
                ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", address),
                ("AWS_REGION", "eu-central-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "dummy".to_owned()),
            ],
            Self::Rollbar => vec![
                ("ROLLBAR_ACCESS_TOKEN", "0123456789abcdef0123456789abcdef".to_owned()),
                ("ROLLBAR_ENDPOINT", format!("{address}/api/1/")),
            ],
        }
    }
}

/// Everything is compared with the one of this name.
pub(crate) const BARE: &str = "bare";

/// A terminal that shows neither requests nor what is less than a warning, as where nobody sits before it.
const QUIET: &[(&str, &str)] = &[("OTEL_TRACES_EXPORTER", "none"), ("LOG_LEVEL", "warn")];

impl Variant {
    /// All of them, in the table's order.
    pub(crate) fn all() -> Vec<Self> {
        let ours = |name, title, backends| Self {
            name,
            title,
            program: Program::Ours,
            backends,
            keeps_all: true,
            environment: QUIET,
        };
        let other = |name, title, binary, argument, backends| Self {
            program: Program::Other(binary, argument),
            environment: &[],
            ..ours(name, title, backends)
        };
        vec![
            other(BARE, "bare axum, `Json(feed)`", "bare", None, &[]),
            other("chrono", "the same, times by chrono's serde", "bare", Some("chrono"), &[]),
            other("hand", "the same, feed written by hand", "bare", Some("hand"), &[]),
            ours("quiet", "ours, observed for nobody", &[]),
            Self {
                environment: &[],
                ..ours("terminal", "ours, nothing configured: trees on the terminal", &[])
            },
            ours("otlp", "ours, OTLP", &[Backend::Otlp]),
            ours("xray", "ours, X-Ray, all requests", &[Backend::Xray]),
            ours("cloudwatch", "ours, CloudWatch", &[Backend::CloudWatch]),
            ours("rollbar", "ours, Rollbar", &[Backend::Rollbar]),
            ours("traces", "ours, OTLP and X-Ray, all requests", &[Backend::Otlp, Backend::Xray]),
            ours("four", "**ours, all four, all requests**", &Backend::ALL),
            Self {
                keeps_all: false,
                ..ours("sampled", "ours, all four, X-Ray's default sampling", &Backend::ALL)
            },
            other("usual", "axum-tracing-opentelemetry, OTLP only", "usual", None, &[Backend::Otlp]),
        ]
    }

    /// Program, arguments and variables.
    pub(crate) fn command(&self, sinks: &Sinks) -> Command {
        let here = std::env::current_exe().ok();
        let sibling = |name: &str| here.as_ref().map(|here| here.with_file_name(name)).unwrap_or_default();
        let (program, argument) = match self.program {
            Program::Ours => (sibling("cruddur"), None),
            Program::Other(binary, argument) => (sibling(binary), argument),
        };
        let own = self.environment.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut environment: Vec<_> = own.collect();
        environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        environment.push(("BIND_ADDR", "127.0.0.1".to_owned()));
        environment.push(("SPOOL_DIR", sinks.spool.path().display().to_string()));
        if self.keeps_all && self.backends.contains(&Backend::Xray) {
            // What holds until X-Ray's own rules have arrived.
            environment.push(("AWS_XRAY_SAMPLING_RULES", sinks.keep_all_rules.display().to_string()));
        }
        environment
            .extend(self.backends.iter().flat_map(|backend| backend.environment(sinks.of(*backend).port)));
        Command { program, argument, environment }
    }

    /// Where its telemetry goes.
    pub(crate) fn backends(&self) -> &'static [Backend] {
        self.backends
    }

    /// The variables that its binary does not know, by the settings that `--check` names.
    pub(crate) fn unknown(&self, sinks: &Sinks) -> anyhow::Result<Vec<&'static str>> {
        if self.program != Program::Ours {
            return Ok(Vec::new());
        }
        let Command { program, environment, .. } = self.command(sinks);
        let checked =
            std::process::Command::new(program).arg("--check").env_clear().envs(environment).output()?;
        let settings = String::from_utf8_lossy(&checked.stdout);
        let knows = |switch: &str| settings.lines().any(|line| line.split(' ').next() == Some(switch));
        let switches = self.backends.iter().map(|backend| backend.switch());
        Ok(switches.filter(|switch| !knows(switch)).collect())
    }
}

/// How a variant is started.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) argument: Option<&'static str>,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// The service's own binary, with all backends at these ports, and what it cannot deliver below `spool`.
pub(crate) fn with_destinations(ports: &[(Backend, u16)], spool: &Path) -> Command {
    let here = std::env::current_exe().ok();
    let own = QUIET.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut environment: Vec<_> = own.collect();
    environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    environment.push(("BIND_ADDR", "127.0.0.1".to_owned()));
    environment.push(("SPOOL_DIR", spool.display().to_string()));
    environment.extend(ports.iter().flat_map(|(backend, port)| backend.environment(*port)));
    let program = here.map(|here| here.with_file_name("cruddur")).unwrap_or_default();
    Command { program, argument: None, environment }
}
