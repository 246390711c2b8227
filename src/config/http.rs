//! How the service is reached.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;

use super::Service;
use super::origin::{self, Origin};
use super::parse::{self, Parsed};
use super::reader::{Reader, Source};
use super::variable::{Typed, variables};

variables! {
    PORT: u16 = port, "4567", "TCP port to listen on; 0 takes any free one";
    BIND_ADDR: IpAddr = address, "0.0.0.0", "IP address to listen on";
    FRONTEND_URL: Origin = origin::parse, "http://localhost:3000",
        "where the frontend is served from: a CORS origin, or * for any";
    BACKEND_URL: Origin = origin::parse, "http://localhost:4567",
        "where this service is reached: a CORS origin, or * for any";
    REQUEST_TIMEOUT: Duration = parse::limit, "30s", "a request that takes longer is answered 503";
    TEST_ROUTES: bool = parse::switch, "on, but off when APP_ENV is production",
        "routes that fail on purpose: /rollbar/test, /test/raise, /api/test/raise, /test/panic";
}

/// How the service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http {
    /// Where to listen; port 0 takes any free one.
    pub bind: SocketAddr,
    /// The CORS origins, as browsers spell them in `Origin`; `*` stands for any.
    pub origins: Vec<HeaderValue>,
    /// How long a request may take, above zero.
    pub request_timeout: Duration,
    /// Whether the routes that fail on purpose exist.
    pub test_routes: bool,
}

impl Http {
    pub(super) fn read(reader: &mut Reader<'_>, service: &Service) -> Self {
        let port = reader.get(&PORT);
        let bind = SocketAddr::new(reader.get(&BIND_ADDR), port);
        let mut origins = vec![read_origin(reader, &FRONTEND_URL), read_origin(reader, &BACKEND_URL)];
        origins.dedup();
        let request_timeout = reader.get(&REQUEST_TIMEOUT);
        let test_routes = if service.in_production() {
            reader.get_or(&TEST_ROUTES, false, Source::Variable("APP_ENV"))
        } else {
            reader.get_or(&TEST_ROUTES, true, Source::Default)
        };
        Self { bind, origins, request_timeout, test_routes }
    }
}

fn read_origin(reader: &mut Reader<'_>, row: &Typed<Origin>) -> HeaderValue {
    let origin = reader.get(row);
    if origin.cut {
        let message = format_args!("an origin has no path, so only {} is used", origin.text);
        reader.warn(row.variable.name, message);
    }
    origin.value()
}

fn port(text: &str) -> Parsed<u16> {
    text.parse().map_err(|_| "a port from 0 to 65535".into())
}

fn address(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| "an IP address such as 0.0.0.0, 127.0.0.1 or ::".into())
}
