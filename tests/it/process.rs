//! The binary, as an orchestrator runs it.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a test waits for what must come. Only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service; it is killed when it is dropped before it was stopped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    /// Starts it with these variables and no others, at a port of its own choice. Nothing is written to disk unless a
    /// test wants it.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cruddur"))
            .env_clear()
            .env("PORT", "0")
            .env("BIND_ADDR", "127.0.0.1")
            .env("SPOOL", "off")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (told, address) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        // A pipe that nobody reads would fill.
        let out = thread::spawn(move || {
            let mut text = String::new();
            while stdout.read_line(&mut text).unwrap() > 0 {
                if let Some((_, rest)) = text.rsplit_once(" listens on http://") {
                    let address = rest.split_whitespace().next().unwrap();
                    told.send(address.parse().unwrap()).ok();
                    break;
                }
            }
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let err = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let address = address.recv_timeout(PATIENCE).expect("it never said where it listens");
        Self { address, child, out: Some(out), err: Some(err) }
    }

    /// Ends it as an orchestrator would.
    pub(crate) fn terminate(mut self) -> Ended {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let [out, err] = [self.out.take(), self.err.take()].map(|reader| reader.unwrap().join().unwrap());
        Ended { code: self.child.wait().unwrap().code(), out, err }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as an orchestrator does that has lost its patience.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended, if all went well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
