//! The wire: a datagram for each document, to the daemon's UDP port.
//!
//! The socket is not connected: on a connected one an ICMP refusal of one datagram fails the next. UDP promises
//! nothing, so that delivered means sent.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::Instant;

use super::document::{self, Constants, Item};
use super::metadata::Known;
use crate::telemetry::delivery::{Measure, SendError, Sent, Sink};
use crate::telemetry::observe::span_weight;

/// What every datagram begins with.
const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";
/// The largest document, in bytes: the API takes 64 kB, by the smaller reading of it; a datagram could have 65,477.
const LARGEST: usize = 64_000;
/// The least that a document is cut to where a network takes only small datagrams; macOS takes 9,216 bytes.
const SMALLEST: usize = document::LEAST;
/// What may be sent at once, in bytes: half of what Linux lets wait in a socket by default, for what the daemon has no
/// room for is lost there and counted nowhere.
const BURST: usize = 100_000;
/// How long a daemon is given to take a burst from its socket.
const PAUSE: Duration = Duration::from_millis(2);
/// How long an address is believed.
const FRESH: Duration = Duration::from_secs(60);

/// Sends to one daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    /// `host:port`.
    address: String,
    constants: Constants,
    known: Known,
    route: Mutex<Option<Arc<Route>>>,
    most: AtomicUsize,
}

/// A way to the daemon, until its name is looked up again.
#[derive(Debug)]
struct Route {
    socket: UdpSocket,
    address: SocketAddr,
    until: Instant,
}

impl Daemon {
    pub(super) fn new(address: String, constants: Constants, known: Known) -> Self {
        Self { address, constants, known, route: Mutex::default(), most: AtomicUsize::new(LARGEST) }
    }

    async fn route(&self) -> io::Result<Arc<Route>> {
        let known = self.route.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(route) = known.filter(|route| route.until > Instant::now()) {
            return Ok(route);
        }
        let addresses: Vec<_> = lookup_host(&self.address).await?.collect();
        let address = preferred(&addresses).ok_or_else(|| io::Error::other("the name has no address"))?;
        let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).await?;
        let route = Arc::new(Route { socket, address, until: Instant::now() + FRESH });
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&route));
        Ok(route)
    }

    fn forget_route(&self) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sends an item in as many datagrams as it takes.
    async fn send_item(&self, route: &Route, item: &Item, burst: &mut usize) -> io::Result<()> {
        loop {
            let most = self.most.load(Ordering::Relaxed);
            match self.send_documents(route, item, most, burst).await {
                // All of it again, in smaller pieces: a document replaces an earlier one of the same id.
                Err(error) if is_too_large(&error) && most > SMALLEST => {
                    self.most.store((most / 2).max(SMALLEST), Ordering::Relaxed);
                }
                sent => return sent,
            }
        }
    }

    /// `burst` is what has been sent since the last pause.
    async fn send_documents(
        &self,
        route: &Route,
        item: &Item,
        most: usize,
        burst: &mut usize,
    ) -> io::Result<()> {
        for document in document::documents(item, &self.constants, &self.known.get(), most) {
            let size = room(document.len());
            if *burst > 0 && *burst + size > BURST {
                tokio::time::sleep(PAUSE).await;
                *burst = 0;
            }
            *burst += size;
            route.socket.send_to(&[HEADER, &document].concat(), route.address).await?;
        }
        Ok(())
    }
}

/// What a datagram takes up at most in a socket of Linux, which has 166 of 300 bytes, 25 of 5,000 or 3 of 60,000 wait
/// in 212,992 bytes.
fn room(document: usize) -> usize {
    1024 + 2 * document
}

/// The daemon listens by IPv4 unless it was told otherwise, and where it does not listen, nobody says so.
fn preferred(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first()).copied()
}

fn is_too_large(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };
    error.raw_os_error() == Some(EMSGSIZE)
}

impl Sink for Daemon {
    type Item = Item;

    fn measure(item: &Item) -> Measure {
        let weight = match item {
            Item::Segment { record, .. } => record.weight(),
            Item::Straggler { span, .. } => span_weight(span),
        };
        Measure { weight, items: 1 }
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        let route = self.route().await.map_err(|error| {
            let cause = format!("the daemon's name cannot be looked up: {error}");
            SendError::Retry { after: None, cause: cause.into() }
        })?;
        let (mut failed, mut burst, mut said) = (0, 0, String::new());
        for item in batch {
            if let Err(error) = self.send_item(&route, item, &mut burst).await {
                (failed, said) = (failed + 1, error.to_string());
                self.forget_route();
            }
        }
        let rejected = if failed > 0 { vec![("udp_error", failed)] } else { Vec::new() };
        Ok(Sent { rejected, said })
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::document::tests::{OWN, span, with_spans};
    use super::*;

    #[test]
    fn a_name_with_addresses_of_both_kinds_means_ipv4() {
        let (six, four): (SocketAddr, SocketAddr) =
            ("[::1]:2000".parse().unwrap(), "127.0.0.1:2000".parse().unwrap());
        assert_eq!(preferred(&[six, four]), Some(four));
        assert_eq!(preferred(&[six]), Some(six));
        assert_eq!(preferred(&[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_large_trace_is_sent_with_pauses() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let daemon = || {
            let address = receiver.local_addr().unwrap().to_string();
            Daemon::new(address, Constants::default(), Known::default())
        };
        let item = |spans: u64| {
            let record = Arc::new(with_spans((1..=spans).map(|id| span(id, OWN)).collect()));
            Item::Segment { record, name: "cruddur".to_owned(), rule: None }
        };
        let begun = Instant::now();
        daemon().send(&(0..32).map(|_| item(3)).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "a batch of small ones");
        let large = item(3000);
        let documents = document::documents(&large, &Constants::default(), &Known::default().get(), LARGEST);
        let room: usize = documents.iter().map(|document| room(document.len())).sum();
        daemon().send(&[large]).await.unwrap();
        let pauses = u32::try_from(room / BURST).unwrap();
        assert!(pauses > 10 && begun.elapsed() >= PAUSE * pauses, "{pauses} {:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_too_large_for_the_network_is_sent_in_smaller_pieces() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = receiver.local_addr().unwrap().to_string();
        let daemon = Daemon::new(address, Constants::default(), Known::default());
        // More than a datagram can have.
        daemon.most.store(80_000, Ordering::Relaxed);
        let spans = (1..=20).map(|id| {
            let mut span = span(id, OWN);
            span.attributes = vec![KeyValue::new("note", "x".repeat(4000))];
            span
        });
        let record = Arc::new(with_spans(spans.collect()));
        let item = Item::Segment { record, name: "cruddur".to_owned(), rule: None };
        let sent = daemon.send(&[item]).await.unwrap();
        assert_eq!(sent.rejected, [], "nothing is lost");
        assert_eq!(daemon.most.load(Ordering::Relaxed), 40_000);
        let (mut found, mut buffer) = (0, vec![0; 65_536]);
        while found < 20 {
            let count = receiver.recv(&mut buffer).await.unwrap();
            assert!(count <= HEADER.len() + 40_000, "{count}");
            found += String::from_utf8_lossy(&buffer[..count]).matches(r#""note""#).count();
        }
        assert_eq!(found, 20);
    }
}
