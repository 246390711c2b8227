//! Addresses, and how they are written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An IP address and its text, which is made once and shared from then on: every backend writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    text: Arc<str>,
}

impl Address {
    /// The address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<IpAddr> for Address {
    /// One of IPv4 that is mapped to IPv6 is taken for itself.
    fn from(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self { ip, text: ip.to_string().into() }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)
    }
}

/// Who is on the other end of a connection. The server makes it once for each, and puts it in each request's extensions,
/// from where it goes into the exchange: with one more beside it, their map would have to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    address: Address,
    port: u16,
}

impl Peer {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for Peer {
    fn from(socket: SocketAddr) -> Self {
        Self { address: socket.ip().into(), port: socket.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_mapped_is_taken_for_itself() {
        for (socket, text) in [
            ("192.0.2.7:80", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
            ("[2001:DB8::0:1]:80", "2001:db8::1"),
        ] {
            let peer = Peer::from(socket.parse::<SocketAddr>().unwrap());
            assert_eq!((peer.address().as_str(), peer.port()), (text, 80), "{socket}");
            assert_eq!(peer.address().ip().to_string(), text);
        }
    }
}
