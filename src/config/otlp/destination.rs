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

/// Why a signal goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nobody wants it to go anywhere.
    Unwanted,
    /// There is no endpoint for it.
    Nowhere,
    /// There is a fault, which has been noted.
    Refused,
}

impl Signal {
    pub(super) fn layer(&self, reader: &mut Reader<'_>) -> Layer {
        Layer::read(reader, &self.rows)
    }

    /// Puts together what the signal's own variables, the generic ones and the account at Honeycomb say.
    ///
    /// # Errors
    /// Why there is no destination; a fault has been noted.
    pub(super) fn find(
        &self,
        reader: &mut Reader<'_>,
        own: Layer,
        generic: Layer,
        account: &Honeycomb,
    ) -> Result<Destination, Absent> {
        let base = own.endpoint.is_nothing();
        let layer = own.over(generic);
        let target = self.target(reader, &layer, base, account)?;
        Ok(self.settle(reader, layer, target, account))
    }

    /// Where the signal goes; where nowhere, why.
    fn target(
        &self,
        reader: &mut Reader<'_>,
        layer: &Layer,
        base: bool,
        account: &Honeycomb,
    ) -> Result<Target, Absent> {
        let (endpoint, from) = match &layer.endpoint {
            Given::Value(endpoint, name) => (endpoint.clone(), *name),
            Given::Refused => return Err(Absent::Refused),
            Given::Nothing if account.api_key.is_some() => (Endpoint::honeycomb(), honeycomb::KEY),
            Given::Nothing => {
                reader.settle_optional::<Endpoint>(self.rows.endpoint.variable.name, Given::Nothing, "-");
                return Err(Absent::Nowhere);
            }
        };
        let protocol = layer.protocol.value().copied().unwrap_or(Protocol::HttpProtobuf);
        let url = match protocol {
            Protocol::Grpc => endpoint.for_grpc(layer.insecure.value() == Some(&true)),
            Protocol::HttpProtobuf | Protocol::HttpJson => endpoint.for_http(base.then_some(self.path)),
        };
        let Some(url) = url else {
            let expected = "a URL that begins with http:// or https://, which only gRPC does without";
            reader.refuse(from, quoted(&endpoint.shown()), expected);
            return Err(Absent::Refused);
        };
        traps::endpoint(reader, from, &endpoint, &url, protocol, !base);
        Ok(Target { endpoint, from, protocol, url })
    }

    /// Makes settings of all that holds for the target.
    fn settle(
        &self,
        reader: &mut Reader<'_>,
        layer: Layer,
        Target { endpoint, from, protocol, url }: Target,
        account: &Honeycomb,
    ) -> Destination {
        let [endpoint_name, protocol_name, headers_name, compression_name, timeout_name, insecure_name, ..] =
            self.rows.variables().map(|variable| variable.name);
        let default = Source::Default;
        reader.settle(endpoint_name, Given::Value((), from), (), default, |()| url.to_string());
        reader.settle(protocol_name, layer.protocol, protocol, default, choice::spelt);
        if matches!(endpoint, Endpoint::Bare(_)) {
            reader.settle(insecure_name, layer.insecure, false, default, choice::spelt);
        } else if let Given::Value(true, name) = layer.insecure {
            reader.warn(name, "has no effect: only a gRPC endpoint without a scheme asks for it");
        }
        let honeycomb = honeycomb::is_host(&url);
        let headers = if honeycomb {
            at_honeycomb(reader, headers_name, layer.headers, &url, account)
        } else {
            reader.settle(headers_name, layer.headers, Headers::default(), default, Shown::shown)
        };
        let none = Compression::None;
        let compression = reader.settle(compression_name, layer.compression, none, default, choice::spelt);
        let Millis(timeout) =
            reader.settle(timeout_name, layer.timeout, Millis::TEN_SECONDS, default, Shown::shown);
        traps::plain(reader, &layer.certificate, &url);
        traps::plain(reader, &layer.client_certificate, &url);
        let ca = reader.settle_optional(self.rows.certificate.variable.name, layer.certificate, "-");
        let identity = tls::identity(reader, &self.rows, layer.client_certificate, layer.client_key);
        Destination {
            url,
            protocol,
            headers: headers.0,
            gzip: compression == Compression::Gzip,
            timeout,
            tls: Tls { ca: ca.map(|ca| ca.pem), identity },
            honeycomb,
        }
    }
}

/// Where a signal goes, before the rest is settled.
struct Target {
    endpoint: Endpoint,
    /// The variable that says so.
    from: &'static str,
    protocol: Protocol,
    url: Url,
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
