//! The binary as an operator runs it: what it says, how it ends.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stand_in::xray::XRay;

/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running binary, whose log is JSON; it is killed if a test fails.
struct Process {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
    /// The start event.
    start: Value,
}

fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cruddur"));
    let own = [("PORT", "0"), ("BIND_ADDR", "127.0.0.1"), ("LOG_FORMAT", "json"), ("SPOOL", "off")];
    command.env_clear().envs(own);
    command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The lines of what is read, on a thread of its own so that a test can lose its patience. Whoever drops the
/// receiver closes the pipe at its next line.
fn lines(read: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(read).lines() {
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

impl Process {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = command(variables).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, lines, address, start: Value::Null };
        process.start = process.message(" listens on http://");
        let message = process.start["message"].as_str().unwrap();
        process.address = message.rsplit_once("http://").unwrap().1.parse().unwrap();
        process
    }

    /// The next line of the log that `is` it. What comes before is passed over.
    fn line(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = parsed(&self.lines.recv_timeout(PATIENCE).expect("the line never comes"));
            if is(&line) {
                return line;
            }
        }
    }

    fn message(&mut self, text: &str) -> Value {
        self.line(|line| line["message"].as_str().is_some_and(|message| message.contains(text)))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends the head of a request that is answered when its body has come. The connection is the server's as soon
    /// as it asks for the body.
    fn begin(&self) -> TcpStream {
        let mut stream = self.connect();
        let head = "POST /api/activities HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: 32\r\nexpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end; the exit code, the rest of the log and all of standard error.
    fn end(mut self) -> (i32, Vec<Value>, String) {
        let rest = |lines: &Receiver<String>| {
            let mut rest = Vec::new();
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => rest.push(line),
                    Err(RecvTimeoutError::Disconnected) => return rest,
                    Err(RecvTimeoutError::Timeout) => panic!("it goes on: {rest:?}"),
                }
            }
        };
        // Both end with the process.
        let stderr = rest(&lines(self.child.stderr.take().unwrap()));
        let stdout = rest(&self.lines);
        let code = self.child.wait().unwrap().code().expect("a signal ended it");
        (code, stdout.iter().map(|line| parsed(line)).collect(), stderr.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it has ended, this fails, and that is well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const BODY: &str = r#"{"message": "x", "ttl": "1-day"}"#;

#[test]
fn the_start_event_names_service_version_and_backends() {
    let process = Process::start(&[("OTEL_SERVICE_NAME", "axum")]);
    let start = &process.start;
    assert_eq!(start["level"], "INFO");
    assert_eq!(start["message"], format!("axum listens on http://{}", process.address));
    assert_eq!(start["fields"]["version"], env!("CARGO_PKG_VERSION"));
    let backends = start["fields"]["backends"].as_str().unwrap();
    assert!(backends.split(", ").any(|backend| backend == "terminal"), "{backends}");
}

#[test]
fn warnings_of_the_configuration_are_the_first_events() {
    let mut child = command(&[("LOGLEVEL", "debug")]).spawn().unwrap();
    let first = lines(child.stdout.take().unwrap()).recv_timeout(PATIENCE);
    child.kill().unwrap();
    child.wait().unwrap();
    let first = parsed(&first.unwrap());
    assert_eq!(first["message"], "LOGLEVEL: unknown; did you mean LOG_LEVEL?");
    assert_eq!(first["level"], "WARN");
}

#[test]
fn a_signal_lets_what_is_in_flight_finish_and_then_reports() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&[]);
        let (idle, mut busy) = (process.connect(), process.begin());
        process.signal(signal);
        process.message(&format!("SIG{signal}: finishing what is in flight"));
        busy.write_all(BODY.as_bytes()).unwrap();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("andrewbrown"), "{answer}");
        let access = process.line(|line| line.get("status").is_some());
        assert_eq!((&access["status"], &access["route"]), (&200.into(), &"/api/activities".into()));

        let (code, rest, stderr) = process.end();
        assert_eq!(code, 0, "{stderr}");
        assert!(rest.iter().all(|line| line.get("status").is_none()), "{rest:?}");
        assert_eq!(stderr.lines().next(), Some("stopped: every request was finished"));
        let counts = stderr.lines().find_map(|line| line.strip_prefix("  terminal: created ")).unwrap();
        let (created, delivered) = counts.split_once(", delivered ").unwrap();
        assert_eq!(created, delivered, "{stderr}");
        drop(idle);
    }
}

#[test]
fn what_hangs_is_cut_in_time_for_its_record_to_be_seen() {
    let mut process = Process::start(&[("SHUTDOWN_GRACE", "4s")]);
    let mut hanging = process.begin();
    let asked = Instant::now();
    process.signal("TERM");
    process.message("SIGTERM");
    let cut = process.line(|line| line.get("status").is_some());
    assert_eq!((&cut["status"], &cut["outcome"]), (&Value::Null, &"cancelled".into()));
    let (code, _, stderr) = process.end();
    let took = asked.elapsed();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.starts_with("stopped: 1 busy connections were cut\n"), "{stderr}");
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(!stderr.contains("dropped"), "{stderr}");
    let mut answer = Vec::new();
    hanging.read_to_end(&mut answer).ok();
    assert_eq!(answer, b"");
}

#[test]
fn a_segment_of_the_last_moment_arrives() {
    let daemon = XRay::start();
    let process = Process::start(&[("AWS_XRAY_DAEMON_ADDRESS", &daemon.address())]);
    let mut stream = process.connect();
    let request = "GET /api/activities/home HTTP/1.1\r\nhost: localhost\r\nx-amzn-trace-id: Sampled=1\r\n\
         connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    process.signal("TERM");
    let (code, _, stderr) = process.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.lines().any(|line| line == "  xray: created 1, delivered 1"), "{stderr}");
    let document = daemon.wait_for(|state| state.documents.first().cloned());
    let root = format!("x-amzn-trace-id: Root={}\r\n", document["trace_id"].as_str().unwrap());
    assert!(answer.contains(&root), "{answer}");
    assert_eq!(document["subsegments"][0]["name"], "activities_home");
}

#[test]
fn a_port_that_is_taken_is_refused_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command(&[("PORT", &port.to_string())]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let expected = format!("error: BIND_ADDR, PORT: cannot listen on 127.0.0.1:{port}: ");
    assert!(stderr.starts_with(&expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

#[test]
fn the_healthcheck_asks_the_running_server() {
    let process = Process::start(&[]);
    let port = process.address.port().to_string();
    let ask = || {
        let output = command(&[("PORT", &port)]).arg("--healthcheck").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(ask(), (Some(0), String::new()));
    process.signal("TERM");
    assert_eq!(process.end().0, 0);
    assert_eq!(ask().0, Some(1));
}

#[test]
fn a_closed_standard_output_is_no_reason_to_stop_serving() {
    let mut child = command(&[]).spawn().unwrap();
    // Read here and not by a thread, so that the pipe is closed when the first request goes out.
    let mut start = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut start).unwrap();
    let start = parsed(&start);
    let address = start["message"].as_str().unwrap().rsplit_once("http://").unwrap().1.parse().unwrap();
    let process = Process { child, lines: mpsc::channel().1, address, start };
    let ask = |path| {
        let mut stream = process.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        answer
    };
    // A process that another test is starting may hold the pipe for a moment more.
    let began = Instant::now();
    while !ask("/health").contains("write_failed") {
        assert!(began.elapsed() < PATIENCE, "everything is still written");
        ask("/api/activities/home");
    }
    ask("/api/activities/home");
    process.signal("TERM");
    let (code, _, stderr) = process.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("(write_failed)"), "{stderr}");
}
