//! The X-Ray daemon: documents by UDP, sampling by TCP on the same port.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::segment;
use crate::observed::PATIENCE;

/// What every datagram begins with, byte by byte.
const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";
/// The daemon's buffer.
const BUFFER: usize = 64 * 1024;

/// A running stand-in, until it is dropped. Its port is free afterwards.
pub(crate) struct XRay {
    port: u16,
    heard: Arc<Heard>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// What has been heard by now.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The documents that nothing is wrong with, in the order of their arrival.
    pub(crate) documents: Vec<Value>,
    /// Their texts.
    pub(crate) texts: Vec<String>,
    /// What is wrong with the others.
    faults: Vec<String>,
    /// All ids of segments and subsegments.
    ids: BTreeSet<String>,
    /// What `GetSamplingRules` answers.
    rules: Value,
    /// How often that was asked.
    pub(crate) asked: usize,
    /// What `SamplingTargets` was told.
    pub(crate) reported: Vec<Value>,
}

/// A rule as X-Ray serves it, which matches everything.
pub(crate) fn rule(name: &str, priority: u32, rate: f64) -> Value {
    json!({"SamplingRule": {"RuleName": name, "Priority": priority, "FixedRate": rate, "ReservoirSize": 0,
        "ServiceName": "*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*",
        "Version": 1, "Attributes": {}}})
}

impl XRay {
    /// One that has everything sampled.
    pub(crate) fn start() -> Self {
        Self::with_rules(&[rule("Default", 10_000, 1.0)])
    }

    /// One that serves these rules, on a port that is free for UDP and TCP.
    pub(crate) fn with_rules(rules: &[Value]) -> Self {
        let sockets = (0..100).find_map(|_| {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            Some((UdpSocket::bind(tcp.local_addr().unwrap()).ok()?, tcp))
        });
        let (udp, tcp) = sockets.expect("no port is free for both");
        Self::run(udp, tcp, rules)
    }

    /// One more, on the port of one that is gone.
    pub(crate) fn again(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
        Self::run(udp, tcp, &[rule("Default", 10_000, 1.0)])
    }

    fn run(udp: UdpSocket, tcp: TcpListener, rules: &[Value]) -> Self {
        // However busy the machine is that the tests run on.
        socket2::SockRef::from(&udp).set_recv_buffer_size(4 << 20).unwrap();
        let port = udp.local_addr().unwrap().port();
        let heard = Arc::new(Heard::default());
        heard.state.lock().unwrap().rules = json!({"SamplingRuleRecords": rules});
        // What has come is taken from the socket at once, lest its buffer run over, and judged elsewhere.
        let (sender, receiver) = mpsc::channel();
        let listen = {
            let heard = Arc::clone(&heard);
            move || {
                let mut buffer = vec![0; BUFFER + 1];
                loop {
                    let count = udp.recv(&mut buffer).unwrap();
                    if heard.stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    sender.send(buffer[..count].to_vec()).unwrap();
                }
            }
        };
        let judge = {
            let heard = Arc::clone(&heard);
            move || receiver.iter().for_each(|datagram| heard.take(&datagram))
        };
        let serve = {
            let heard = Arc::clone(&heard);
            move || {
                for stream in tcp.incoming() {
                    if heard.stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    heard.answer(stream.unwrap());
                }
            }
        };
        let threads = vec![std::thread::spawn(listen), std::thread::spawn(judge), std::thread::spawn(serve)];
        Self { port, heard, threads }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The value for `AWS_XRAY_DAEMON_ADDRESS`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Blocks until what has been heard gives an answer. Only a failing test waits long.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, answer: impl Fn(&State) -> Option<T>) -> T {
        let state = self.heard.state.lock().unwrap();
        let (state, waited) = self
            .heard
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.faults.is_empty() && answer(state).is_none())
            .unwrap();
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
        assert!(!waited.timed_out(), "it never came: {state:#?}");
        answer(&state).unwrap()
    }

    /// What has come by now.
    #[track_caller]
    pub(crate) fn documents(&self) -> Vec<Value> {
        self.assert_clean();
        self.heard.state.lock().unwrap().documents.clone()
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let state = self.heard.state.lock().unwrap();
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
    }
}

impl Drop for XRay {
    fn drop(&mut self) {
        self.heard.stopped.store(true, Ordering::Relaxed);
        // Both are waiting; this is something to come.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        waker.send_to(b"stop", ("127.0.0.1", self.port)).unwrap();
        for thread in self.threads.drain(..) {
            // What went wrong there is told by whoever waits for it.
            thread.join().ok();
        }
    }
}

impl Heard {
    fn take(&self, datagram: &[u8]) {
        let judged = match datagram.strip_prefix(HEADER) {
            _ if datagram.len() > BUFFER => Err(vec!["the datagram is cut".to_owned()]),
            None => Err(vec!["another header".to_owned()]),
            Some(text) => {
                segment::check(text).map(|document| (document, String::from_utf8_lossy(text).into_owned()))
            }
        };
        let mut state = self.state.lock().unwrap();
        match judged {
            Ok((document, text)) => {
                for id in ids(&document) {
                    if !state.ids.insert(id.clone()) {
                        state.faults.push(format!("{id} has come before"));
                    }
                }
                state.documents.push(document);
                state.texts.push(text);
            }
            Err(faults) => {
                let text = String::from_utf8_lossy(datagram);
                state.faults.extend(faults.into_iter().map(|fault| format!("{fault}: {text}")));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Answers one request on a connection.
    fn answer(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            // A connection without a request is one that was given up.
            if !matches!(stream.read_line(&mut line), Ok(1..)) {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        let (status, answer) = self.reply(&head[0], &body);
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n\
             {answer}",
            answer.len()
        );
        stream.get_mut().write_all(text.as_bytes()).ok();
        self.changed.notify_all();
    }

    fn reply(&self, line: &str, body: &[u8]) -> (&'static str, String) {
        let mut state = self.state.lock().unwrap();
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            state.faults.push(format!("{line}: no JSON"));
            return ("400 Bad Request", String::new());
        };
        match line {
            "post /getsamplingrules http/1.1" => {
                state.asked += 1;
                ("200 OK", state.rules.to_string())
            }
            "post /samplingtargets http/1.1" => {
                let told = body["SamplingStatisticsDocuments"].as_array().cloned().unwrap_or_default();
                state.reported.extend(told);
                let answer = json!({"SamplingTargetDocuments": [], "LastRuleModification": 0, "UnprocessedStatistics": []});
                ("200 OK", answer.to_string())
            }
            _ => {
                state.faults.push(format!("{line}: nothing is there"));
                ("404 Not Found", String::new())
            }
        }
    }
}

/// The id of a document and of everything in it.
pub(crate) fn ids(document: &Value) -> Vec<String> {
    let below = document["subsegments"].as_array().into_iter().flatten().flat_map(ids);
    std::iter::once(document["id"].as_str().unwrap().to_owned()).chain(below).collect()
}
