//! Sinks whose weather can be changed, and that remember every item by its id.

use std::collections::HashMap;
use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd as _;

use crate::sinks::fields;
use crate::sinks::http::{Request, read};
use crate::variant::Backend;

/// How a destination fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// Nobody listens.
    Refused,
    /// Connections are taken, and never answered.
    BlackHole,
    /// Every answer takes so long.
    Slow(Duration),
    /// Every answer is an error, after which nothing was taken.
    Fails {
        status: u16,
        body: &'static str,
    },
}

/// A destination.
pub(crate) struct Sink {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    listener: Option<TcpListener>,
}

struct Shared {
    backend: Backend,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    /// How often each item came.
    items: HashMap<u128, u32>,
    /// Those that are open, to be closed when the weather changes.
    streams: Vec<TcpStream>,
}

impl Sink {
    pub(crate) fn open(backend: Backend) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = State { weather: Weather::Fine, items: HashMap::new(), streams: Vec::new() };
        let shared = Arc::new(Shared { backend, state: Mutex::new(state) });
        let mut sink = Self { port, shared, listener: None };
        sink.listen(listener)?;
        Ok(sink)
    }

    fn listen(&mut self, listener: TcpListener) -> anyhow::Result<()> {
        self.listener = Some(listener.try_clone()?);
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                if let Ok(same) = stream.try_clone() {
                    shared.state().streams.push(same);
                }
                // That the other side goes away is how every connection ends.
                thread::spawn(move || shared.converse(&stream).ok());
            }
        });
        Ok(())
    }

    /// From now on. Connections that are open end, as they do where a machine goes down.
    pub(crate) fn set(&mut self, weather: Weather) -> anyhow::Result<()> {
        {
            let mut state = self.shared.state();
            state.weather = weather;
            for stream in state.streams.drain(..) {
                stream.shutdown(std::net::Shutdown::Both).ok();
            }
        }
        match (weather, self.listener.take()) {
            (Weather::Refused, Some(listener)) => {
                // Wakes whoever accepts, and closes the port.
                shutdown(listener.as_raw_fd(), Shutdown::Both)?;
            }
            (Weather::Refused, None) => {}
            (_, Some(listener)) => self.listener = Some(listener),
            (_, None) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
                self.listen(TcpListener::bind(address)?)?;
            }
        }
        Ok(())
    }

    /// How many different items have come, and how many came more than once.
    pub(crate) fn arrived(&self) -> (u64, u64) {
        let state = self.shared.state();
        let again = state.items.values().filter(|times| **times > 1).count();
        (state.items.len() as u64, again as u64)
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = (BufReader::with_capacity(64 * 1024, stream), stream);
        while let Some(request) = read(&mut reader)? {
            let weather = self.state().weather;
            let (status, body) = match weather {
                Weather::Fine => (200, self.take(&request)),
                Weather::Slow(time) => {
                    thread::sleep(time);
                    (200, self.take(&request))
                }
                Weather::Fails { status, body } => (status, body),
                // Until the other side, or a change of the weather, ends the connection.
                Weather::BlackHole | Weather::Refused => continue,
            };
            let (kind, length) = (self.content_type(), body.len());
            write!(
                writer,
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nx-amzn-RequestId: 1\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
        }
        Ok(())
    }

    fn content_type(&self) -> &'static str {
        match self.backend {
            Backend::Otlp => "application/x-protobuf",
            Backend::Xray | Backend::Rollbar => "application/json",
            Backend::CloudWatch => "application/x-amz-json-1.1",
        }
    }

    /// Remembers what the request brings; what is to be answered.
    fn take(&self, request: &Request) -> &'static str {
        let (ids, answer) = match self.backend {
            Backend::Otlp => (spans(request), ""),
            Backend::CloudWatch => (lines(request), "{}"),
            Backend::Rollbar => {
                (items(request), r#"{"err":0,"result":{"uuid":"00000000000040008000000000000000"}}"#)
            }
            Backend::Xray => (Vec::new(), "{}"),
        };
        let mut state = self.state();
        for id in ids {
            *state.items.entry(id).or_default() += 1;
        }
        answer
    }
}

/// `ExportTraceServiceRequest { 1: ResourceSpans { 2: ScopeSpans { 2: Span { 2: span_id } } } }`.
fn spans(request: &Request) -> Vec<u128> {
    let resources = fields(&request.body, 1).filter(|_| request.path.ends_with("/v1/traces"));
    let spans = resources.flat_map(|resource| fields(resource, 2)).flat_map(|scope| fields(scope, 2));
    let ids = spans.filter_map(|span| fields(span, 2).next());
    ids.map(|id| id.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))).collect()
}

/// `\"event_id\":\"<boot>-<sequence>\"`, within a message whose quotes are escaped: boot and sequence as one number.
fn lines(request: &Request) -> Vec<u128> {
    const KEY: &[u8] = br#"\"event_id\":\""#;
    if !request.header("x-amz-target").is_some_and(|target| target.ends_with(".PutLogEvents")) {
        return Vec::new();
    }
    let places = request.body.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY);
    let ids = places.filter_map(|(at, _)| {
        let id = request.body.get(at + KEY.len()..at + KEY.len() + 43)?;
        let (boot, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
        let boot = u128::from_str_radix(boot, 16).ok()?;
        Some(boot.wrapping_add(u128::from(sequence.parse::<u64>().ok()?)))
    });
    ids.collect()
}

/// The item's own `"uuid":"…"`.
fn items(request: &Request) -> Vec<u128> {
    const KEY: &str = r#""uuid":""#;
    let body = String::from_utf8_lossy(&request.body);
    let uuid = body.split_once(KEY).and_then(|(_, rest)| rest.split_once('"'));
    let id = uuid.and_then(|(uuid, _)| u128::from_str_radix(&uuid.replace('-', ""), 16).ok());
    id.into_iter().collect()
}
