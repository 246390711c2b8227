//! Who asked, for which host and by which scheme, when proxies stand in between.
//!
//! Forwarding headers are written by anyone. They are believed from the right, one trusted hop after the other,
//! beginning with the connection's peer: the client is the first address that is not a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::address::{Address, Peer};
use super::record::Scheme;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What could be learned of the client's side of the proxies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) client: Option<Address>,
    /// Whether a proxy told the address.
    pub(super) forwarded: bool,
    pub(super) host: Option<String>,
    pub(super) scheme: Option<Scheme>,
}

impl Origin {
    /// What is known where no proxy has told of anything.
    pub(super) fn direct(peer: Option<&Peer>) -> Self {
        Self { client: peer.map(|peer| peer.address().clone()), ..Self::default() }
    }
}

/// Reads `Forwarded`, else the `X-Forwarded-*` family, as far as `trusted` proxies vouch for them. That order is
/// OpenTelemetry's; a proxy that writes only the older family and is trusted must not hand on a client's `Forwarded`.
pub(super) fn origin(headers: &HeaderMap, peer: Option<&Peer>, trusted: &[IpNet]) -> Origin {
    let direct = Origin::direct(peer);
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    if !direct.client.as_ref().is_some_and(|client| is_trusted(client.ip())) {
        return direct;
    }
    let hops =
        if headers.contains_key(header::FORWARDED) { forwarded(headers) } else { x_forwarded(headers) };
    let mut found = direct;
    for hop in hops.into_iter().rev() {
        found.host = hop.host.or(found.host);
        found.scheme = hop.scheme.or(found.scheme);
        // A hop that names no address, or none that can be read, ends what the proxies vouch for.
        let Some(ip) = hop.address.as_deref().and_then(node_ip) else { break };
        (found.client, found.forwarded) = (Some(ip.into()), true);
        if !is_trusted(ip) {
            break;
        }
    }
    found
}

/// What one proxy says of the hop before it.
#[derive(Debug, Default)]
struct Hop {
    address: Option<String>,
    host: Option<String>,
    scheme: Option<Scheme>,
}

/// `Forwarded: for=192.0.2.60;proto=http;host=example.com, for="[2001:db8::1]:4711"` (RFC 7239).
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    list(headers, &header::FORWARDED)
        .iter()
        .map(|element| {
            let mut hop = Hop::default();
            for (key, value) in split_quoted(element, ';').filter_map(|pair| pair.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match key.trim().to_ascii_lowercase().as_str() {
                    "for" => hop.address = Some(value.to_owned()),
                    "host" => hop.host = Some(value.to_owned()),
                    "proto" => hop.scheme = scheme(value),
                    _ => {}
                }
            }
            hop
        })
        .collect()
}

/// The three `X-Forwarded-*` lists, aligned at their right ends: the nearest proxy writes last.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let mut addresses = list(headers, &X_FORWARDED_FOR);
    let mut hosts = list(headers, &X_FORWARDED_HOST);
    let mut schemes = list(headers, &X_FORWARDED_PROTO);
    let mut hops = Vec::new();
    while !(addresses.is_empty() && hosts.is_empty() && schemes.is_empty()) {
        hops.push(Hop {
            address: addresses.pop(),
            host: hosts.pop(),
            scheme: schemes.pop().as_deref().and_then(scheme),
        });
    }
    hops.reverse();
    hops
}

fn scheme(text: &str) -> Option<Scheme> {
    if text.eq_ignore_ascii_case("https") {
        Some(Scheme::Https)
    } else if text.eq_ignore_ascii_case("http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// All values of a header as one list.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| split_quoted(value, ','))
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

/// Splits where `separator` does not stand within double quotes.
fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; not `unknown` or `_hidden`.
fn node_ip(node: &str) -> Option<IpAddr> {
    let bracketed = node.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let ip = bracketed
        .and_then(|ip| ip.parse().ok())
        .or_else(|| node.parse().ok())
        .or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(peer: &str, pairs: &[(&'static str, &str)]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        origin(&headers, Some(&SocketAddr::new(peer.parse().unwrap(), 1).into()), &trusted)
    }

    fn client(peer: &str, xff: &str) -> (String, bool) {
        let origin = read(peer, &[("x-forwarded-for", xff)]);
        (origin.client.unwrap().as_str().to_owned(), origin.forwarded)
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_address() {
        for (peer, xff, expected, forwarded) in [
            ("203.0.113.9", "1.2.3.4", "203.0.113.9", false),
            ("10.0.0.1", "1.2.3.4", "1.2.3.4", true),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4", true),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4", true),
            ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1", true),
            ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4", true),
            ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::1", true),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1", true),
            ("10.0.0.1", "6.6.6.6, unknown", "10.0.0.1", false),
            ("10.0.0.1", "6.6.6.6, junk, 10.2.2.2", "10.2.2.2", true),
            ("::1", "1.2.3.4", "1.2.3.4", true),
            ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4", true),
        ] {
            assert_eq!(client(peer, xff), (expected.to_owned(), forwarded), "{peer} {xff}");
        }
    }

    #[test]
    fn scheme_and_host_come_from_the_hop_of_the_client() {
        let origin = read(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "1.2.3.4, 10.2.2.2"),
                ("x-forwarded-proto", "https, http"),
                ("x-forwarded-host", "example.com"),
            ],
        );
        assert_eq!(origin.scheme, Some(Scheme::Https));
        assert_eq!(origin.host.as_deref(), Some("example.com"));
        let alone = read("10.0.0.1", &[("x-forwarded-proto", "HTTPS")]);
        assert_eq!(alone.scheme, Some(Scheme::Https));
        assert!(!alone.forwarded);
        let forged = read("203.0.113.9", &[("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")]);
        assert_eq!((forged.scheme, forged.host), (None, None));
    }

    #[test]
    fn a_hop_that_names_no_address_ends_what_is_believed() {
        let origin = read("10.0.0.1", &[("forwarded", "for=6.6.6.6, proto=https")]);
        assert_eq!(origin.client.unwrap().as_str(), "10.0.0.1");
        assert_eq!(origin.scheme, Some(Scheme::Https));
    }

    #[test]
    fn forwarded_wins_over_the_older_family() {
        let origin = read(
            "10.0.0.1",
            &[(
                "forwarded",
                r#"for="[2001:db8::1]:47";proto=https;host="a,b.example", for=10.2.2.2;by=10.0.0.1"#,
            )],
        );
        assert_eq!(origin.client.unwrap().as_str(), "2001:db8::1");
        assert_eq!(origin.scheme, Some(Scheme::Https));
        assert_eq!(origin.host.as_deref(), Some("a,b.example"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(name in 0..4_usize, text in "[ -~]{0,120}") {
            let name = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"][name];
            let _ = read("10.0.0.1", &[(name, &text)]);
        }
    }
}
