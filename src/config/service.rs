//! Who the service is, and how it ends.

use std::time::Duration;

use super::otlp::Attributes;
use super::parse::{self, Parsed};
use super::reader::{Given, Reader, Source};
use super::shown::Shown;
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
    pub(super) fn read(reader: &mut Reader<'_>, resource: &Given<Attributes>) -> Self {
        Self {
            name: name(reader, resource),
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

/// The specification has the variable win over the attribute; Honeycomb's name for it comes last.
fn name(reader: &mut Reader<'_>, resource: &Given<Attributes>) -> String {
    let own = reader.given(&OTEL_SERVICE_NAME);
    let attribute = match resource {
        Given::Value(attributes, name) => {
            attributes.service_name().map_or(Given::Nothing, |service| Given::Value(service.to_owned(), name))
        }
        Given::Nothing => Given::Nothing,
        Given::Refused => Given::Refused,
    };
    let last = reader.given(&HONEYCOMB_SERVICE_NAME);
    if let (Given::Value(own, winner), Given::Value(attribute, name)) = (&own, &attribute)
        && own != attribute
    {
        let message = format_args!("its service.name has no effect, because {winner} is set too and wins");
        reader.warn(name, message);
    }
    let given = own.or(attribute);
    if let Given::Value(_, winner) = &given
        && !last.is_nothing()
    {
        let message = format_args!("has no effect, because {winner} is set too and wins");
        reader.warn(HONEYCOMB_SERVICE_NAME.variable.name, message);
    }
    let default = HONEYCOMB_SERVICE_NAME.variable.default.to_owned();
    reader.settle(OTEL_SERVICE_NAME.variable.name, given.or(last), default, Source::Default, Shown::shown)
}

/// Rollbar takes at most 255 characters.
pub(super) fn environment_name(text: &str) -> Parsed<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text.len() <= 255 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name of 1 to 255 letters, digits, _, . or -".into())
    }
}
