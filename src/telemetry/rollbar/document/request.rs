//! The request, as far as it may be told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::scrub::Scrubber;
use crate::telemetry::observe::{RequestFacts, TRACEPARENT, X_AMZN_TRACE_ID};

/// The most headers of an item.
const MOST_HEADERS: usize = 64;

/// `request`: never a body, of the headers those that a record keeps, of the client's address the network.
pub(super) fn request(request: &RequestFacts, scrubber: &Scrubber, known: &[String]) -> Value {
    let query: Vec<_> = request.query.iter().flat_map(|query| scrubber.query(query, known)).collect();
    let query_string =
        query.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
    let url = url(request, &query_string, scrubber, known);
    let mut own = json!({
        "url": url,
        "method": request.method.as_str(),
        "headers": headers(request, scrubber, known),
        "GET": query.into_iter().map(|(key, value)| (key, value.into())).collect::<Map<_, _>>(),
        "query_string": query_string,
    });
    if let Some(address) = &request.client_address {
        own["user_ip"] = masked(address.ip()).to_string().into();
    }
    own
}

fn url(request: &RequestFacts, query: &str, scrubber: &Scrubber, known: &[String]) -> String {
    let host = scrubber.text(request.server_address.as_deref().unwrap_or("-"), known);
    let port = request.server_port.filter(|port| *port != request.scheme.default_port());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{}://{host}{port}{}{query}", request.scheme.as_str(), scrubber.text(&request.path, known))
}

fn headers(request: &RequestFacts, scrubber: &Scrubber, known: &[String]) -> Map<String, Value> {
    let clean = request.headers.iter().map(|(name, value)| {
        // Its ids look like secrets. They are the caller's, but only in the form that ids have.
        let is_ids = (name == TRACEPARENT || name == X_AMZN_TRACE_ID) && is_trace_header(value);
        let value = if is_ids { value.to_owned() } else { scrubber.text(value, known) };
        (name.to_string(), value.into())
    });
    clean.take(MOST_HEADERS).collect()
}

/// `00-<32 hex>-<16 hex>-01`, `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=1`.
fn is_trace_header(value: &str) -> bool {
    let parts: Vec<_> = value.split(['-', ';', '=']).collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_word = |part: &&str| matches!(*part, "Root" | "Self" | "Parent" | "Sampled" | "?");
    let lengths: Vec<_> = parts.iter().filter(|part| !is_word(part)).map(|part| part.len()).collect();
    let is_w3c = lengths == [2, 32, 16, 2];
    let is_amzn = lengths.iter().all(|length| matches!(length, 1 | 8 | 16 | 24));
    (is_w3c || is_amzn) && parts.iter().all(|part| is_word(part) || is_hex(part))
}

/// The network that an address is of: /24 of IPv4, /48 of IPv6.
fn masked(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_whatever_their_form() {
        for (address, network) in [
            ("203.0.113.9", "203.0.113.0"),
            ("::ffff:203.0.113.9", "203.0.113.0"),
            ("2001:db8:1:2::1", "2001:db8:1::"),
            ("::1", "::"),
        ] {
            assert_eq!(masked(address.parse().unwrap()).to_string(), network);
        }
    }

    #[test]
    fn only_ids_pass_for_ids() {
        for (value, is_ids) in [
            ("00-6b010660e0e8f3c1ea139ac73842046c-cec55180a0571cc6-01", true),
            ("Root=1-6b010660-e0e8f3c1ea139ac73842046c;Parent=cec55180a0571cc6;Sampled=1", true),
            ("Root=1-6b010660-e0e8f3c1ea139ac73842046c", true),
            ("00-hunter2", false),
            ("6b010660e0e8f3c1ea139ac73842046c", false),
            ("Root=1-6b010660-e0e8f3c1ea139ac73842046c;token=6b010660e0e8f3c1ea139ac7", false),
        ] {
            assert_eq!(is_trace_header(value), is_ids, "{value}");
        }
    }
}
