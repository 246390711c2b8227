//! How requests are observed.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

use super::parse::{self, Parsed};
use super::reader::Reader;
use super::shown::{Shown, quoted};
use super::variable::variables;
use crate::telemetry::observe::Propagator;

variables! {
    TRUSTED_PROXIES: Vec<IpNet> = networks, "private",
        "peers whose forwarding headers are believed: addresses and networks; private; none";
    TELEMETRY_EXCLUDE_PATHS: Vec<String> = paths, "/health,/api/health-check",
        "paths that are counted in metrics and otherwise unseen; none";
    OTEL_PROPAGATORS: Propagators = propagators, "tracecontext,baggage,xray",
        "whose trace context is continued, in order of precedence; none ignores what comes in";
    OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS: Vec<String> = methods,
        "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE",
        "the full list of methods that are told apart; any other is _OTHER";
}

/// What `private` stands for: loopback, RFC 1918 and RFC 4193. Link-local addresses are not among them, for any
/// neighbour on the link can take one.
const PRIVATE: [&str; 6] =
    ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"];

/// How requests are observed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observe {
    /// Peers whose forwarding headers are believed. A peer's IPv4-mapped address has to be made canonical
    /// (`IpAddr::to_canonical`) before it is looked up here.
    pub trusted_proxies: Vec<IpNet>,
    /// Exact paths that are counted in metrics and otherwise unseen; each starts with `/`.
    pub exclude_paths: Vec<String>,
    /// Whose trace context is continued, in order of precedence; empty ignores what comes in.
    pub propagators: Vec<Propagator>,
    /// The methods that are told apart, case-sensitive; any other is `_OTHER`.
    pub known_methods: Vec<String>,
}

/// What `OTEL_PROPAGATORS` says, and the names in it that nobody here knows.
#[derive(Clone)]
struct Propagators {
    known: Vec<Propagator>,
    unknown: Vec<String>,
}

impl Observe {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let trusted_proxies = reader.get(&TRUSTED_PROXIES);
        let exclude_paths = reader.get(&TELEMETRY_EXCLUDE_PATHS);
        let Propagators { known, unknown } = reader.get(&OTEL_PROPAGATORS);
        for name in unknown {
            let message =
                format_args!("{} is ignored; known are {}", quoted(&name), "tracecontext, baggage, xray");
            reader.warn(OTEL_PROPAGATORS.variable.name, message);
        }
        let known_methods = reader.get(&OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS);
        Self { trusted_proxies, exclude_paths, propagators: known, known_methods }
    }
}

impl Shown for Propagator {
    fn shown(&self) -> String {
        self.name().to_owned()
    }
}

impl Shown for Propagators {
    fn shown(&self) -> String {
        self.known.shown()
    }
}

impl Shown for IpNet {
    fn shown(&self) -> String {
        if self.prefix_len() == self.max_prefix_len() { self.addr().to_string() } else { self.to_string() }
    }
}

fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |entry: &str| {
        if entry.eq_ignore_ascii_case("private") {
            return PRIVATE.iter().map(|network| network.parse().ok()).collect();
        }
        let one = entry.parse::<IpAddr>().map(IpNet::from);
        Some(vec![one.or_else(|_| entry.parse()).ok()?.trunc()])
    };
    parse::list(text, "a list of addresses or networks such as private,203.0.113.0/24, or none", network)
}

fn paths(text: &str) -> Parsed<Vec<String>> {
    let path = |entry: &str| {
        let plain =
            entry.starts_with('/') && !entry.contains(['?', '#']) && !entry.contains(char::is_control);
        plain.then(|| vec![entry.to_owned()])
    };
    parse::list(text, "a list of paths such as /health,/api/health-check, or none", path)
}

/// The specification has unknown names ignored with a warning, and repeated ones taken once.
fn propagators(text: &str) -> Parsed<Propagators> {
    const EXPECTED: &str = "a list of tracecontext, baggage and xray, or none alone";
    let mut unknown = Vec::new();
    let mut known = parse::list(text, EXPECTED, |entry| {
        if entry.eq_ignore_ascii_case("none") {
            return None;
        }
        let propagator = Propagator::from_name(entry);
        if propagator.is_none() {
            unknown.push(entry.to_owned());
        }
        Some(vec![propagator])
    })?;
    let only_unknown = !known.is_empty() && known.iter().all(Option::is_none);
    if only_unknown {
        known = Propagator::ALL.map(Some).to_vec();
    }
    let mut once = Vec::new();
    for propagator in known.into_iter().flatten() {
        if !once.contains(&propagator) {
            once.push(propagator);
        }
    }
    Ok(Propagators { known: once, unknown })
}

fn methods(text: &str) -> Parsed<Vec<String>> {
    let method = |entry: &str| Some(vec![Method::from_bytes(entry.as_bytes()).ok()?.to_string()]);
    parse::list(text, "a list of methods such as GET,HEAD,POST", method)
}
