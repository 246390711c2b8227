//! Who the service is, and how it ends.

use std::time::Duration;

use super::parse::{self, Parsed};
use super::reader::Reader;
use super::variable::variables;

variables! {
    OTEL_SERVICE_NAME: String = parse::text, "HONEYCOMB_SERVICE_NAME", "service.name at every backend";
    HONEYCOMB_SERVICE_NAME: String = parse::text, "cruddur-backend", "the same; OTEL_SERVICE_NAME wins";
    APP_ENV: String = environment_name, "development",
        "deployment.environment.name, and Rollbar's environment";
    SHUTDOWN_GRACE: Duration = parse::duration, "10s",
        "one deadline for draining requests and delivering telemetry at the end";
}

/// Who the service is, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// `service.name`.
    pub name: String,
    /// `service.version`: the package's.
    pub version: &'static str,
    /// `deployment.environment.name`: 1 to 255 of `A-Z a-z 0-9 _ . -`.
    pub environment: String,
    /// One deadline for drain, delivery and spooling together; zero waits for nothing.
    pub shutdown_grace: Duration,
}

impl Service {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            name: reader.either("OTEL_SERVICE_NAME", &OTEL_SERVICE_NAME, &HONEYCOMB_SERVICE_NAME),
            version: env!("CARGO_PKG_VERSION"),
            environment: reader.get(&APP_ENV),
            shutdown_grace: reader.get(&SHUTDOWN_GRACE),
        }
    }

    /// Whether this is the environment that users depend on.
    pub(super) fn in_production(&self) -> bool {
        self.environment == "production"
    }
}

/// Rollbar takes at most 255 characters.
fn environment_name(text: &str) -> Parsed<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text.len() <= 255 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name of 1 to 255 letters, digits, _, . or -".into())
    }
}
