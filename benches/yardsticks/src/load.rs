//! The load: HTTP/1.1 over connections that are kept, by one thread, with as little work as possible of its own.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use yardsticks::PATH;

/// How many connections there are: enough that the server is never idle at saturation.
const CONNECTIONS: usize = 32;
/// Names the timer among the connections.
const TIMER: u64 = u64::MAX;
/// How long an answer may take before something must be wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections to one server.
pub(crate) struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    request: Vec<u8>,
    answered: u64,
}

/// One connection, with one request on its way at most.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    filled: usize,
    /// When the request that is on its way was to be sent.
    intended: Option<Instant>,
}

impl Load {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).context("the server takes no connection")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            connections.push(Connection { stream, answer: vec![0; 16 * 1024], filled: 0, intended: None });
        }
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: yardsticks/1.0\r\nAccept: application/json\r\n\r\n"
        );
        Ok(Self { epoll, connections, request: request.into_bytes(), answered: 0 })
    }

    /// How many requests have been answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// As many requests as the server can take, for so long.
    pub(crate) fn saturate(&mut self, time: Duration) -> anyhow::Result<u64> {
        let end = Instant::now() + time;
        self.keep_busy(|_| Instant::now() < end)
    }

    /// So many requests, as fast as the server can take them.
    pub(crate) fn count(&mut self, requests: u64) -> anyhow::Result<()> {
        self.keep_busy(|sent| sent < requests).map(drop)
    }

    fn keep_busy(&mut self, more: impl Fn(u64) -> bool) -> anyhow::Result<u64> {
        let (mut sent, before) = (0, self.answered);
        for connection in &mut self.connections {
            if more(sent) {
                connection.send(&self.request, Instant::now())?;
                sent += 1;
            }
        }
        let mut events = [EpollEvent::empty(); CONNECTIONS];
        while self.answered - before < sent {
            for event in look(&self.epoll, &mut events)? {
                let connection = &mut self.connections[usize::try_from(event.data())?];
                if connection.receive()?.is_some() {
                    self.answered += 1;
                    if more(sent) {
                        connection.send(&self.request, Instant::now())?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(sent)
    }

    /// Requests at a fixed rate, whatever becomes of those before them. The times are from when each was to be
    /// sent: a server that stands still for a while is charged with all who waited.
    pub(crate) fn at_rate(&mut self, rate: u32, time: Duration) -> anyhow::Result<Vec<Duration>> {
        let interval = Duration::from_secs(1) / rate;
        let all = (time.as_nanos() / interval.as_nanos()) as usize;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        timer.set(Expiration::Interval(TimeSpec::from(interval)), TimerSetTimeFlags::empty())?;
        self.epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut idle: Vec<usize> = (0..self.connections.len()).collect();
        let mut due = VecDeque::new();
        let (mut next, mut sent, mut took) = (Instant::now() + interval, 0, Vec::with_capacity(all));
        let mut events = [EpollEvent::empty(); CONNECTIONS + 1];
        while took.len() < all {
            for event in wait(&self.epoll, &mut events)? {
                if event.data() == TIMER {
                    timer.wait()?;
                    continue;
                }
                let number = usize::try_from(event.data())?;
                if let Some(intended) = self.connections[number].receive()? {
                    took.push(intended.elapsed());
                    self.answered += 1;
                    idle.push(number);
                }
            }
            let now = Instant::now();
            while sent < all && next <= now {
                due.push_back(next);
                next += interval;
                sent += 1;
            }
            while let (Some(intended), Some(number)) = (due.front(), idle.last()) {
                self.connections[*number].send(&self.request, *intended)?;
                due.pop_front();
                idle.pop();
            }
        }
        self.epoll.delete(&timer)?;
        Ok(took)
    }
}

/// Never sleeps: to wake a core costs whoever wakes it, which is the server, as much as half a request.
fn look<'a>(epoll: &Epoll, events: &'a mut [EpollEvent]) -> anyhow::Result<&'a [EpollEvent]> {
    let begun = Instant::now();
    loop {
        let count = epoll.wait(events, EpollTimeout::ZERO)?;
        if count > 0 {
            return Ok(&events[..count]);
        }
        ensure!(begun.elapsed() < PATIENCE, "no answer within {PATIENCE:?}");
        // The sinks are to have this core too.
        std::thread::yield_now();
    }
}

fn wait<'a>(epoll: &Epoll, events: &'a mut [EpollEvent]) -> anyhow::Result<&'a [EpollEvent]> {
    let count = epoll.wait(events, EpollTimeout::try_from(PATIENCE)?)?;
    ensure!(count > 0, "no answer within {PATIENCE:?}");
    Ok(&events[..count])
}

impl Connection {
    fn send(&mut self, request: &[u8], intended: Instant) -> anyhow::Result<()> {
        self.intended = Some(intended);
        // It is smaller than any socket's buffer, which is empty now.
        ensure!(self.stream.write(request)? == request.len(), "half a request was sent");
        Ok(())
    }

    /// Takes what has arrived; where that completes the answer, says when its request was to be sent.
    fn receive(&mut self) -> anyhow::Result<Option<Instant>> {
        match self.stream.read(&mut self.answer[self.filled..]) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if !is_complete(&self.answer[..self.filled])? {
            return Ok(None);
        }
        self.filled = 0;
        Ok(self.intended.take())
    }
}

/// Whether this is an answer with all of its body. One that is not a 200, or has no feed, is an error.
fn is_complete(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (&answer[..head], &answer[head + 4..]);
    ensure!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(answer));
    let length = content_length(head).with_context(|| String::from_utf8_lossy(answer).into_owned())?;
    ensure!(FEED.contains(&length) && body.len() <= length, "a feed of {length} bytes");
    Ok(body.len() == length)
}

/// How long the feed of three cruds may be, in bytes; chrono writes times of several lengths.
const FEED: std::ops::Range<usize> = 1000..1500;

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))? + NAME.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
