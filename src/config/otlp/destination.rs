//! Where a signal goes, and how.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;

use super::endpoint::Endpoint;
use super::headers::Headers;
use super::number::Millis;
use super::rows::{self, Compression, Layer, Protocol, Rows};
use super::tls::{self, Tls};
use super::{choice, traps};
use crate::config::Variable;
use crate::config::honeycomb::{self, Honeycomb};
use crate::config::reader::{Given, Reader, Source};
use crate::config::shown::{Shown, quoted};

/// Where a signal goes, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Destination {
    /// Complete for HTTP; for gRPC without a path. Neither user nor query is in it.
    pub url: Url,
    /// How telemetry travels.
    pub protocol: Protocol,
    /// Headers to add, each name once; the values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// How long an export may take, above zero.
    pub timeout: Duration,
    /// What TLS is told beyond its defaults.
    pub tls: Tls,
    /// Whether the host is Honeycomb's.
    pub honeycomb: bool,
}

/// One of the signals that are exported.
pub(super) struct Signal {
    rows: Rows,
    path: &'static str,
}

pub(super) const TRACES: Signal = Signal { rows: rows::TRACES, path: "v1/traces" };
pub(super) const METRICS: Signal = Signal { rows: rows::METRICS, path: "v1/metrics" };

/// What is known of a signal's destination.
pub(super) enum Found {
    Destination(Destination),
    /// Nobody wants one.
    Unwanted,
    /// There is no endpoint for it.
    Nowhere,
    /// There is a fault, which has been noted.
    Refused,
}

impl Found {
    pub(super) fn destination(self) -> Option<Destination> {
        match self {
            Self::Destination(destination) => Some(destination),
            Self::Unwanted | Self::Nowhere | Self::Refused => None,
        }
    }

    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self, Self::Nowhere)
    }
}

impl Signal {
    pub(super) fn layer(&self, reader: &mut Reader<'_>) -> Layer {
        Layer::read(reader, &self.rows)
    }

    pub(super) fn variables(&self) -> [Variable; 9] {
        self.rows.variables()
    }

    /// Puts together what the signal's own variables, the generic ones and the account at Honeycomb say.
    pub(super) fn find(
        &self,
        reader: &mut Reader<'_>,
        own: Layer,
        generic: Layer,
        account: &Honeycomb,
    ) -> Found {
        let rows = &self.rows;
        let below = own.endpoint.is_nothing().then_some(self.path);
        let layer = own.over(generic);
        let (endpoint, from) = match &layer.endpoint {
            Given::Value(endpoint, name) => (endpoint.clone(), *name),
            Given::Refused => return Found::Refused,
            Given::Nothing if account.api_key.is_some() => (Endpoint::honeycomb(), honeycomb::KEY),
            Given::Nothing => {
                reader.settle_optional(rows.endpoint.variable.name, layer.endpoint, "-");
                return Found::Nowhere;
            }
        };
        let protocol = layer.protocol.value().copied().unwrap_or(Protocol::HttpProtobuf);
        let url = match protocol {
            Protocol::Grpc => endpoint.for_grpc(layer.insecure.value() == Some(&true)),
            Protocol::HttpProtobuf | Protocol::HttpJson => endpoint.for_http(below),
        };
        let Some(url) = url else {
            let expected = "a URL that begins with http:// or https://, which only gRPC does without";
            reader.refuse(from, quoted(&endpoint.shown()), expected);
            return Found::Refused;
        };
        traps::endpoint(reader, from, &endpoint, &url, protocol, below.is_none());
        let honeycomb = honeycomb::is_host(&url);
        let default = Source::Default;
        reader.settle(rows.endpoint.variable.name, Given::Value((), from), (), default, |()| url.to_string());
        reader.settle(rows.protocol.variable.name, layer.protocol, protocol, default, choice::spelt);
        if matches!(endpoint, Endpoint::Bare(_)) {
            reader.settle(rows.insecure.variable.name, layer.insecure, false, default, choice::spelt);
        } else if let Given::Value(true, name) = layer.insecure {
            reader.warn(name, "has no effect: only a gRPC endpoint without a scheme asks for it");
        }
        let headers_name = rows.headers.variable.name;
        let headers = if honeycomb {
            at_honeycomb(reader, headers_name, layer.headers, &url, account)
        } else {
            reader.settle(headers_name, layer.headers, Headers::default(), default, Shown::shown)
        };
        let compression = rows.compression.variable.name;
        let compression =
            reader.settle(compression, layer.compression, Compression::None, default, choice::spelt);
        let timeout = rows.timeout.variable.name;
        let Millis(timeout) =
            reader.settle(timeout, layer.timeout, Millis::TEN_SECONDS, default, Shown::shown);
        traps::plain(reader, &layer.certificate, &url);
        traps::plain(reader, &layer.client_certificate, &url);
        let trusted = reader.settle_optional(rows.certificate.variable.name, layer.certificate, "-");
        let identity = tls::identity(reader, rows, layer.client_certificate, layer.client_key);
        Found::Destination(Destination {
            url,
            protocol,
            headers: headers.0,
            gzip: compression == Compression::Gzip,
            timeout,
            tls: Tls { ca: trusted.map(|trusted| trusted.pem), identity },
            honeycomb,
        })
    }
}

/// The headers given, and what the account adds to them; what is given wins.
fn at_honeycomb(
    reader: &mut Reader<'_>,
    name: &'static str,
    given: Given<Headers>,
    url: &Url,
    account: &Honeycomb,
) -> Headers {
    let complete = |mut headers: Headers| {
        for (name, value) in account.headers() {
            if headers.get(&name).is_none() {
                headers.0.push((name, value));
            }
        }
        headers
    };
    let faulty = matches!(given, Given::Refused);
    let team = given.value().and_then(|headers| headers.get(&honeycomb::TEAM)).cloned();
    let key_from = match (&given, &team) {
        (Given::Value(_, from), Some(_)) => from,
        _ => honeycomb::KEY,
    };
    if let (Given::Value(_, from), Some(team)) = (&given, &team)
        && account.headers().any(|(name, value)| name == honeycomb::TEAM && value != team)
    {
        let message = format_args!("has no effect, because {from} has {} too and wins", honeycomb::TEAM);
        reader.warn(honeycomb::KEY, message);
    }
    let source = account.source().map_or(Source::Default, Source::Variable);
    let headers =
        reader.settle(name, given.map(complete), complete(Headers::default()), source, Shown::shown);
    if !faulty {
        traps::honeycomb(reader, key_from, url, &headers);
    }
    headers
}
