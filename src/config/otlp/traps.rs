//! Destinations that work differently from what somebody may expect.

use reqwest::Url;

use super::endpoint::Endpoint;
use super::headers::Headers;
use super::rows::Protocol;
use crate::config::honeycomb;
use crate::config::reader::{Given, Reader};

/// Points out what is odd about an endpoint; `as_is` where no path is added to it.
pub(super) fn endpoint(
    reader: &mut Reader<'_>,
    name: &'static str,
    endpoint: &Endpoint,
    url: &Url,
    protocol: Protocol,
    as_is: bool,
) {
    if let Endpoint::Url { url, cut: true } = endpoint {
        reader.warn(name, format_args!("an endpoint has no query, so only {url} is used"));
    }
    let over_http = protocol != Protocol::Grpc;
    match (url.port(), over_http) {
        (Some(4317), true) => {
            reader.warn(name, "port 4317 is gRPC's by custom, and OTLP over HTTP has 4318");
        }
        (Some(4318), false) => {
            reader.warn(name, "port 4318 is by custom for OTLP over HTTP, and gRPC has 4317");
        }
        _ => {}
    }
    let Endpoint::Url { url: given, .. } = endpoint else { return };
    let path = given.path().trim_end_matches('/');
    if over_http && as_is && path.is_empty() {
        reader
            .warn(name, format_args!("has no path, so {url} itself is posted to; its path is used as it is"));
    }
    if over_http && !as_is && ["/v1/traces", "/v1/metrics"].iter().any(|signal| path.ends_with(signal)) {
        reader.warn(name, format_args!("is a base to which a path is added, so {url} is posted to"));
    }
    if !over_http && !path.is_empty() {
        reader.warn(name, format_args!("gRPC has paths of its own, so only {url} is used"));
    }
}

/// Points out certificates for a connection that is not encrypted.
pub(super) fn plain<T>(reader: &mut Reader<'_>, given: &Given<T>, url: &Url) {
    if let Given::Value(_, name) = given
        && url.scheme() == "http"
    {
        reader.warn(name, format_args!("has no effect: {url} is not encrypted"));
    }
}

/// Points out what Honeycomb answers with 401, and a key that travels in the open; `key_from` is the variable that
/// the key came from.
pub(super) fn honeycomb(reader: &mut Reader<'_>, key_from: &'static str, url: &Url, headers: &Headers) {
    let Some(key) = headers.get(&honeycomb::TEAM) else {
        let message = format_args!("is unset, and {url} answers 401 without a key");
        reader.warn(honeycomb::KEY, message);
        return;
    };
    if url.scheme() == "http" {
        reader.warn(key_from, format_args!("travels in the open to {url}; Honeycomb takes https"));
    }
    let dataset = headers.get(&honeycomb::DATASET).is_some_and(|dataset| !dataset.is_empty());
    if honeycomb::is_classic(key.as_bytes()) && !dataset {
        let message =
            "this is a Classic key, which Honeycomb answers with 401 unless HONEYCOMB_DATASET is set too";
        reader.warn(key_from, message);
    }
}
