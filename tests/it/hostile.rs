//! Clients that mean no good, or know no better: each is answered or cut off, and the others notice nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::process::Process;

const HOME: &str = "GET /api/activities/home HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes; what comes back until the server closes.
fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // A server that has seen enough may close before it has all of it.
    stream.write_all(bytes).ok();
    answer(stream)
}

/// The same, and nothing more.
fn send_all(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    answer(stream)
}

fn answer(mut stream: TcpStream) -> Vec<u8> {
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("neither answered nor cut off: {error}"),
        }
    }
}

#[track_caller]
fn assert_serves(address: SocketAddr) {
    let answer = send(address, HOME.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
}

/// Resident memory, in kB.
fn memory(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Requests that are nearly right: a valid one of which pieces are replaced.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"GET ".to_vec()),
        1 => Just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        3 => Just(b"/api/activities/home".to_vec()),
        1 => Just(b"/api/activities/@%ff%00\xff".to_vec()),
        3 => Just(b" HTTP/1.1\r\n".to_vec()),
        2 => Just(b"host: localhost\r\n".to_vec()),
        2 => Just(b"content-length: 18446744073709551616\r\n".to_vec()),
        2 => Just(b"transfer-encoding: chunked\r\n".to_vec()),
        1 => Just(b"content-type: application/json\r\n".to_vec()),
        1 => Just(b"traceparent: 00-\xf0\x9f\x96\x96-1-01\r\n".to_vec()),
        1 => Just(b"x-amzn-trace-id: Root=1-;Root=;;=;Sampled=9\r\n".to_vec()),
        1 => Just(b"forwarded: for=\"[::\r\n".to_vec()),
        3 => Just(b"\r\n".to_vec()),
        1 => Just(b"ffffffffffffffff\r\n{".to_vec()),
        3 => vec(any::<u8>(), 0..40),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn malformed_requests_are_answered_or_cut_off_and_nothing_panics() {
    let process = Process::start(&[]);
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    runner
        .run(&nearly_a_request(), |bytes| {
            let answer = send_all(process.address, &bytes);
            let is_http = answer.is_empty() || answer.starts_with(b"HTTP/1.") || answer.starts_with(b"\0\0");
            prop_assert!(is_http, "{}", String::from_utf8_lossy(&answer));
            prop_assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&answer));
            Ok(())
        })
        .unwrap();
    assert_serves(process.address);
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.out.contains("panicked"), "{}", ended.out);
}

#[test]
fn who_sends_slowly_or_not_at_all_keeps_nobody_waiting_and_costs_little() {
    const CONNECTIONS: usize = 1500;
    let process = Process::start(&[]);
    assert_serves(process.address);
    let before = memory(&process);
    // Half of them say nothing, half of them begin a head that they do not end.
    let slow: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut stream = connect(process.address);
            if number % 2 == 0 {
                stream.write_all(b"GET /api/activities/home HTTP/1.1\r\nx-slow: ").unwrap();
            }
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_serves(process.address);
    }
    let each = memory(&process).saturating_sub(before) / CONNECTIONS as u64;
    assert!(each < 64, "{each} kB for each connection");
    drop(slow);
    assert_serves(process.address);
    assert_eq!(process.terminate().code, Some(0), "none of them was busy");
}

#[test]
fn heads_and_bodies_without_an_end_are_refused() {
    let process = Process::start(&[]);
    let endless_head =
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x-one: 1\r\n".repeat(10_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let large_body = format!(
        "POST /api/activities HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{}",
        16 << 20,
        " ".repeat(16 << 20),
    );
    for (what, request, statuses) in [
        ("an endless head", endless_head, &["431", "400"][..]),
        ("many headers", many_headers, &["431", "400"]),
        ("a long path", long_path, &["414", "431", "400"]),
        ("a large body", large_body, &["413"]),
    ] {
        let answer = send_all(process.address, request.as_bytes());
        let head = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        // Who is still sending when the answer is on its way may see the connection reset instead.
        let refused = statuses.iter().any(|status| head.contains(status)) || head.is_empty();
        assert!(refused, "{what}: {head}");
        assert_serves(process.address);
    }
    assert_eq!(process.terminate().code, Some(0));
}
