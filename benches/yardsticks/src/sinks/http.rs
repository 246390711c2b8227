//! As much of an HTTP/1.1 server as those who send telemetry need: a thread for each connection.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::Sink;

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// Unpacked, where it was packed.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The header of this name, in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered, with status 200.
#[derive(Debug)]
pub(super) struct Answer {
    /// What the request brought.
    pub(super) counted: u64,
    pub(super) content_type: &'static str,
    pub(super) body: &'static str,
}

/// Listens on a port of its own.
pub(super) fn open(away: Duration, answer: fn(&Request) -> Answer) -> std::io::Result<Sink> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (port, arrived) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
    serve(listener, away, Arc::clone(&arrived), answer);
    Ok(Sink { port, arrived })
}

/// Answers whoever connects, for as long as the process lives.
pub(super) fn serve(
    listener: TcpListener,
    away: Duration,
    arrived: Arc<AtomicU64>,
    answer: impl Fn(&Request) -> Answer + Clone + Send + 'static,
) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (arrived, answer) = (Arc::clone(&arrived), answer.clone());
            // That the other side goes away is how every connection ends.
            thread::spawn(move || converse(&stream, away, &arrived, answer).ok());
        }
    });
}

fn converse(
    stream: &TcpStream,
    away: Duration,
    arrived: &AtomicU64,
    answer: impl Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::with_capacity(64 * 1024, stream), stream);
    while let Some(request) = read(&mut reader)? {
        let Answer { counted, content_type, body } = answer(&request);
        arrived.fetch_add(counted, Ordering::Relaxed);
        thread::sleep(away);
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nx-amzn-RequestId: 1\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
    Ok(())
}

/// The next request; `None` where there is no more.
pub(crate) fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, ..Request::default() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let body = match length {
        Some(length) => sized(reader, length)?,
        None if request.header("transfer-encoding").is_some() => chunked(reader)?,
        None => Vec::new(),
    };
    request.body = match request.header("content-encoding") {
        Some("gzip") => {
            let mut unpacked = Vec::new();
            GzDecoder::new(body.as_slice()).read_to_end(&mut unpacked)?;
            unpacked
        }
        _ => body,
    };
    Ok(Some(request))
}

fn sized(reader: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn chunked(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        body.extend(sized(reader, size)?);
        // The end of the chunk's line.
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}
