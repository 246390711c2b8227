//! The variables of an exporter: the generic ones, and those of each signal, which win.

use super::choice::{self, Choice, Choices};
use super::endpoint::{self, Endpoint};
use super::headers::{self, Headers};
use super::number::{self, Millis};
use super::tls::{self, Certificates, PrivateKey};
use crate::config::Variable;
use crate::config::reader::{Given, Reader};
use crate::config::variable::Typed;

/// How telemetry travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf over HTTP.
    HttpProtobuf,
    /// JSON over HTTP.
    HttpJson,
    /// gRPC, that is, protobuf over HTTP/2.
    Grpc,
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Choices for Protocol {
    const ALL: &'static [(&'static str, Self)] =
        &[("http/protobuf", Self::HttpProtobuf), ("http/json", Self::HttpJson), ("grpc", Self::Grpc)];
}

impl Choices for Compression {
    const ALL: &'static [(&'static str, Self)] = &[("gzip", Self::Gzip), ("none", Self::None)];
}

/// One exporter's variables.
pub(super) struct Rows {
    pub(super) endpoint: Typed<Endpoint>,
    pub(super) protocol: Typed<Choice<Protocol>>,
    pub(super) headers: Typed<Headers>,
    pub(super) compression: Typed<Choice<Compression>>,
    pub(super) timeout: Typed<Millis>,
    pub(super) insecure: Typed<Choice<bool>>,
    pub(super) certificate: Typed<Certificates>,
    pub(super) client_certificate: Typed<Certificates>,
    pub(super) client_key: Typed<PrivateKey>,
}

/// Declares the variables below a prefix. Those of a signal default to the generic ones.
macro_rules! rows {
    ($name:ident, $prefix:literal, $inherit:ident, $endpoint:literal) => {
        pub(super) const $name: Rows = Rows {
    endpoint: rows!(@$inherit $prefix, "ENDPOINT", endpoint::parse, "-", $endpoint),
    protocol: rows!(@$inherit $prefix, "PROTOCOL", choice::parse, "http/protobuf",
                "http/protobuf, http/json or grpc"),
    headers: rows!(@$inherit $prefix, "HEADERS", headers::parse, "-",
                "headers to add: key1=value1,key2=value2"),
    compression: rows!(@$inherit $prefix, "COMPRESSION", choice::parse, "none", "gzip or none"),
    timeout: rows!(@$inherit $prefix, "TIMEOUT", number::timeout, "10000",
                "milliseconds that an export may take; 0 is no limit"),
    insecure: rows!(@$inherit $prefix, "INSECURE", choice::parse, "false",
                "true: a gRPC endpoint without a scheme is not encrypted"),
    certificate: rows!(@$inherit $prefix, "CERTIFICATE", tls::certificates, "-",
                "PEM file of certificates to trust instead of the system's"),
    client_certificate: rows!(@$inherit $prefix, "CLIENT_CERTIFICATE", tls::certificates, "-",
                "PEM file of this client's certificate"),
    client_key: rows!(@$inherit $prefix, "CLIENT_KEY", tls::private_key, "-",
                "PEM file of this client's private key"),
        };
    };
    (@generic $prefix:literal, $suffix:literal, $parse:expr, $default:literal, $meaning:literal) => {
        Typed::new(concat!($prefix, $suffix), $parse, $default, $meaning)
    };
    (@signal $prefix:literal, $suffix:literal, $parse:expr, $default:literal, $meaning:literal) => {
        Typed::new(concat!($prefix, $suffix), $parse, concat!("OTEL_EXPORTER_OTLP_", $suffix), $meaning)
    };
}

rows!(
    GENERIC,
    "OTEL_EXPORTER_OTLP_",
    generic,
    "base URL, as in http://localhost:4318; HTTP adds the signal's path"
);
rows!(TRACES, "OTEL_EXPORTER_OTLP_TRACES_", signal, "full URL, as in http://localhost:4318/v1/traces");
rows!(METRICS, "OTEL_EXPORTER_OTLP_METRICS_", signal, "full URL, as in http://localhost:4318/v1/metrics");

impl Rows {
    pub(super) const fn variables(&self) -> [Variable; 9] {
        let Self { endpoint, protocol, headers, compression, timeout, insecure, .. } = self;
        let Self { certificate, client_certificate, client_key, .. } = self;
        [
            endpoint.variable,
            protocol.variable,
            headers.variable,
            compression.variable,
            timeout.variable,
            insecure.variable,
            certificate.variable,
            client_certificate.variable,
            client_key.variable,
        ]
    }
}

/// What the variables of one exporter say.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) endpoint: Given<Endpoint>,
    pub(super) protocol: Given<Protocol>,
    pub(super) headers: Given<Headers>,
    pub(super) compression: Given<Compression>,
    pub(super) timeout: Given<Millis>,
    pub(super) insecure: Given<bool>,
    pub(super) certificate: Given<Certificates>,
    pub(super) client_certificate: Given<Certificates>,
    pub(super) client_key: Given<PrivateKey>,
}

impl Layer {
    pub(super) fn read(reader: &mut Reader<'_>, rows: &Rows) -> Self {
        Self {
            endpoint: reader.given(&rows.endpoint),
            protocol: choice::given(reader, &rows.protocol),
            headers: reader.given(&rows.headers),
            compression: choice::given(reader, &rows.compression),
            timeout: reader.given(&rows.timeout),
            insecure: choice::given(reader, &rows.insecure),
            certificate: reader.given(&rows.certificate),
            client_certificate: reader.given(&rows.client_certificate),
            client_key: reader.given(&rows.client_key),
        }
    }

    /// What holds: this one's, and the other one's where this one says nothing.
    pub(super) fn over(self, other: Self) -> Self {
        Self {
            endpoint: self.endpoint.or(other.endpoint),
            protocol: self.protocol.or(other.protocol),
            headers: self.headers.or(other.headers),
            compression: self.compression.or(other.compression),
            timeout: self.timeout.or(other.timeout),
            insecure: self.insecure.or(other.insecure),
            certificate: self.certificate.or(other.certificate),
            client_certificate: self.client_certificate.or(other.client_certificate),
            client_key: self.client_key.or(other.client_key),
        }
    }
}
