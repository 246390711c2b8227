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
/// The least that a document is cut to where a network takes only small datagrams.
const SMALLEST: usize = 4_096;
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
        let mut addresses = lookup_host(&self.address).await?;
        let address = addresses.next().ok_or_else(|| io::Error::other("the name has no address"))?;
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
    async fn send_item(&self, route: &Route, item: &Item) -> io::Result<()> {
        loop {
            let most = self.most.load(Ordering::Relaxed);
            match self.send_documents(route, item, most).await {
                // All of it again, in smaller pieces: a document replaces an earlier one of the same id.
                Err(error) if is_too_large(&error) && most > SMALLEST => {
                    self.most.store((most / 2).max(SMALLEST), Ordering::Relaxed);
                }
                sent => return sent,
            }
        }
    }

    async fn send_documents(&self, route: &Route, item: &Item, most: usize) -> io::Result<()> {
        for document in document::documents(item, &self.constants, &self.known.get(), most) {
            route.socket.send_to(&[HEADER, &document].concat(), route.address).await?;
        }
        Ok(())
    }
}

/// EMSGSIZE.
fn is_too_large(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    error.raw_os_error() == Some(EMSGSIZE)
}

impl Sink for Daemon {
    type Item = Item;

    fn measure(item: &Item) -> Measure {
        let weight = match item {
            Item::Segment { record, .. } => record.weight(),
            Item::Straggler(span) => span_weight(span),
        };
        Measure { weight, items: 1 }
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        let route = self.route().await.map_err(|error| {
            let cause = format!("the daemon's name cannot be looked up: {error}");
            SendError::Retry { after: None, cause: cause.into() }
        })?;
        let (mut failed, mut said) = (0, String::new());
        for item in batch {
            if let Err(error) = self.send_item(&route, item).await {
                (failed, said) = (failed + 1, error.to_string());
                self.forget_route();
            }
        }
        let rejected = if failed > 0 { vec![("udp_error", failed)] } else { Vec::new() };
        Ok(Sent { rejected, said })
    }
}
