//! Asks the running server whether it is well, for containers without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// From connecting to the last byte.
const PATIENCE: Duration = Duration::from_secs(3);

/// The answer is a line of JSON; whoever sends more than this is not our server.
const LONGEST_ANSWER: usize = 64 * 1024;

pub(super) fn ask(bind: SocketAddr) -> Result<(), String> {
    let address = reachable(bind).ok_or("PORT is 0, so the server's port cannot be known")?;
    let answer = exchange(address).map_err(|fault| format!("{address}: {fault}"))?;
    verdict(&answer).map_err(|fault| format!("{address}: {fault}"))
}

/// Where a server that listens at `bind` is reached from the same machine.
fn reachable(bind: SocketAddr) -> Option<SocketAddr> {
    let ip = match bind.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (bind.port() != 0).then_some(SocketAddr::new(ip, bind.port()))
}

/// Reads to the end although the first line would do: leaving earlier would be recorded as a client gone.
fn exchange(address: SocketAddr) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /api/health-check HTTP/1.1\r\nHost: {address}\r\nUser-Agent: cruddur-healthcheck\r\n\
         Connection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < LONGEST_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend(chunk.iter().take(read)),
            // What a read timeout is called depends on the platform.
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(io::Error::other("an endless answer"))
}

fn verdict(answer: &[u8]) -> Result<(), String> {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line.strip_prefix(b"HTTP/1.1 ") {
        Some(status) if status.starts_with(b"200") => Ok(()),
        Some(status) => Err(format!("answered {}", String::from_utf8_lossy(status).escape_debug())),
        None => Err("did not answer HTTP/1.1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection and returns what it was asked.
    fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    #[test]
    fn a_server_that_answers_200_is_well() {
        let (address, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        assert_eq!(ask(everywhere), Ok(()));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /api/health-check HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
        assert!(asked.contains("\r\nConnection: close\r\n"), "{asked}");
    }

    #[test]
    fn any_other_answer_is_named() {
        for (answer, said) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 503 Service Unavailable"),
            ("", "did not answer HTTP/1.1"),
            ("SSH-2.0-OpenSSH\r\n", "did not answer HTTP/1.1"),
        ] {
            let (address, _) = server(answer);
            assert_eq!(ask(address), Err(format!("{address}: {said}")), "{answer}");
        }
    }

    #[test]
    fn nobody_listening_is_not_well() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fault = ask(address).unwrap_err();
        assert!(fault.contains("refused"), "{fault}");
    }

    #[test]
    fn everywhere_is_reached_by_loopback_and_a_free_port_not_at_all() {
        for (bind, address) in [
            ("0.0.0.0:4567", Some("127.0.0.1:4567")),
            ("[::]:4567", Some("[::1]:4567")),
            ("10.0.0.7:80", Some("10.0.0.7:80")),
            ("0.0.0.0:0", None),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(reachable(bind.parse().unwrap()), address, "{bind}");
        }
    }
}
