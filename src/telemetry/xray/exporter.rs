//! The wire: a datagram for each document, to the daemon's UDP port.
//!
//! The socket is not connected: on a connected one an ICMP refusal of one datagram fails the next. UDP promises
//! nothing, so that delivered means sent. Nor is it known to the runtime's poll: whenever a datagram has left it, that would
//! be told that there is room for another, and a thread woken for it.

mod run;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, sleep};

use self::run::Run;
use super::document::{self, Documents, Form, Item};
use crate::telemetry::delivery::{Gathered, Measure, SendError, Sent, Sink};
use crate::telemetry::observe::span_weight;

/// What every datagram begins with.
const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";
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
    form: Arc<Form>,
    route: Mutex<Option<Arc<Route>>>,
    most: AtomicUsize,
    /// Whether several datagrams may be sent with one call.
    joins: AtomicBool,
    /// Where documents are put together that are sent where they were drawn.
    run: Mutex<Run>,
}

/// A way to the daemon, until its name is looked up again.
#[derive(Debug)]
struct Route {
    socket: UdpSocket,
    address: SocketAddr,
    until: Instant,
}

impl Daemon {
    pub(super) fn new(address: String, form: Arc<Form>) -> Self {
        Self {
            address,
            form,
            route: Mutex::default(),
            most: AtomicUsize::new(document::LARGEST),
            joins: AtomicBool::new(true),
            run: Mutex::default(),
        }
    }

    fn known_route(&self) -> Option<Arc<Route>> {
        let known = self.route.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|route| route.until > Instant::now())
    }

    async fn route(&self) -> io::Result<Arc<Route>> {
        if let Some(route) = self.known_route() {
            return Ok(route);
        }
        let addresses: Vec<_> = lookup_host(&self.address).await?.collect();
        let address = preferred(&addresses).ok_or_else(|| io::Error::other("the name has no address"))?;
        let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        let route = Arc::new(Route { socket, address, until: Instant::now() + FRESH });
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&route));
        Ok(route)
    }

    fn forget_route(&self) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn draw(&self, item: &Item, documents: &mut Documents) {
        document::draw(item, &self.form, self.most.load(Ordering::Relaxed), documents);
    }

    /// How large a datagram may be to be sent with others.
    fn largest_joined(&self, route: &Route) -> usize {
        if self.joins.load(Ordering::Relaxed) { run::largest(route.address) } else { 0 }
    }
}

/// A batch on its way.
struct Sending<'a> {
    daemon: &'a Daemon,
    route: &'a Route,
    run: Run,
    /// What has been sent since the last pause, or is about to be.
    burst: usize,
    /// How many items were not sent, and why.
    failed: u64,
    said: String,
}

impl Sending<'_> {
    /// Sends what waits in the run, together where that is possible.
    async fn flush(&mut self) {
        let (daemon, Route { socket, address, .. }) = (self.daemon, self.route);
        if self.run.count() > 1 && patiently(|| self.run.send(socket, *address)).await.is_ok() {
            return self.run.clear();
        }
        let mut is_whole = true;
        let run = std::mem::take(&mut self.run);
        for datagram in run.datagrams() {
            if let Err(error) = patiently(|| socket.send_to(datagram, address)).await {
                is_whole = false;
                self.note(&error);
            }
        }
        if is_whole && run.count() > 1 {
            // What cannot be sent together and can be alone needs not be tried again.
            daemon.joins.store(false, Ordering::Relaxed);
        }
    }

    fn note(&mut self, error: &io::Error) {
        (self.failed, self.said) = (self.failed + 1, error.to_string());
        self.daemon.forget_route();
    }

    /// Waits before what would be more than the daemon's socket has room for.
    async fn make_way(&mut self, datagram: usize) {
        if self.burst > 0 && self.burst + room(datagram) > BURST {
            self.flush().await;
            sleep(PAUSE).await;
            self.burst = 0;
        }
        self.burst += room(datagram);
    }

    /// Sends a document with its neighbours.
    async fn join(&mut self, document: &[u8]) {
        let length = HEADER.len() + document.len();
        self.make_way(length).await;
        if !self.run.takes(length) {
            self.flush().await;
        }
        self.run.push(HEADER, document);
    }

    /// Sends an item in as many datagrams as it takes.
    async fn send_apart(&mut self, item: &Item, documents: &mut Documents) -> io::Result<()> {
        loop {
            let most = self.daemon.most.load(Ordering::Relaxed);
            match self.send_documents(documents).await {
                // All of it again, in smaller pieces: a document replaces an earlier one of the same id.
                Err(error) if is_too_large(&error) && most > SMALLEST => {
                    self.daemon.most.store((most / 2).max(SMALLEST), Ordering::Relaxed);
                    self.daemon.draw(item, documents);
                }
                sent => return sent,
            }
        }
    }

    async fn send_documents(&mut self, documents: &Documents) -> io::Result<()> {
        for document in documents.iter() {
            let datagram = [HEADER, document].concat();
            self.make_way(datagram.len()).await;
            patiently(|| self.route.socket.send_to(&datagram, self.route.address)).await?;
        }
        Ok(())
    }
}

/// Sends, again and again while there is no room for it in the socket.
async fn patiently<T>(mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            sent => return sent,
        }
    }
}

/// What a datagram takes up at most in a socket of Linux, which has 166 of 300 bytes, 25 of 5,000 or 3 of 60,000 wait
/// in 212,992 bytes.
fn room(datagram: usize) -> usize {
    1024 + 2 * datagram
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

    const GATHERED: Option<Gathered<Item>> = Some(document::gathered);

    fn measure(item: &Item) -> Measure {
        let weight = match item {
            Item::Segment { record, .. } => record.weight(),
            Item::Straggler { span, .. } => span_weight(span),
            Item::Drawn(document) => document.len(),
        };
        Measure { weight, items: 1 }
    }

    fn send_at_once<'a>(&self, documents: impl Iterator<Item = &'a [u8]>) -> bool {
        let Some(route) = self.known_route() else { return false };
        let largest = self.largest_joined(&route).min(self.most.load(Ordering::Relaxed));
        let documents: Vec<_> = documents.collect();
        let lengths = || documents.iter().map(|document| HEADER.len() + document.len());
        // No budget for all threads together: what it kept for the worker, which sends several sheaves behind each other,
        // was what a daemon's socket lost at 60,000 segments a second, and without it nothing was.
        // All looked at before any is sent, for the worker sends all.
        if lengths().any(|length| length > largest) || lengths().map(room).sum::<usize>() > BURST {
            return false;
        }
        // Another thread is at it, or one has panicked over it: the worker has time.
        let Ok(mut run) = self.run.try_lock() else { return false };
        run.clear();
        for (document, length) in documents.iter().zip(lengths()) {
            if !run.takes(length) {
                if run.send(&route.socket, route.address).is_err() {
                    return false;
                }
                run.clear();
            }
            run.push(HEADER, document);
        }
        run.send(&route.socket, route.address).is_ok()
    }

    async fn send(&self, batch: &[Item]) -> Result<Sent, SendError> {
        let route = self.route().await.map_err(|error| {
            let cause = format!("the daemon's name cannot be looked up: {error}");
            SendError::Retry { after: None, cause: cause.into() }
        })?;
        let (run, said) = (Run::default(), String::new());
        let mut sending = Sending { daemon: self, route: &route, run, burst: 0, failed: 0, said };
        let mut documents = Documents::default();
        for item in batch {
            self.draw(item, &mut documents);
            let largest = self.largest_joined(&route);
            match documents.only().filter(|document| HEADER.len() + document.len() <= largest) {
                Some(document) => sending.join(document).await,
                None => {
                    if let Err(error) = sending.send_apart(item, &mut documents).await {
                        sending.note(&error);
                    }
                }
            }
        }
        sending.flush().await;
        let Sending { failed, said, .. } = sending;
        let rejected = if failed > 0 { vec![("udp_error", failed)] } else { Vec::new() };
        Ok(Sent { rejected, said })
    }
}

#[cfg(test)]
mod tests;
