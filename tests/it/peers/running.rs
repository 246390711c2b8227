//! A peer's process.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

/// A peer that serves; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    output: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it; returns what it has printed by the end of the line that has `ready` in it.
    pub(crate) fn start(mut command: Command, ready: &str) -> (Self, String) {
        let (reader, writer) = io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Only the peer may hold the pipe, whose end is then its own.
        drop(command);
        let mut reader = BufReader::new(reader);
        let mut said = String::new();
        while !said.contains(ready) {
            let read = reader.read_line(&mut said).unwrap();
            assert!(read > 0, "the peer does not run: {:?}; {said}", child.wait());
        }
        // A pipe that nobody reads would fill.
        let output = thread::spawn(move || reader.lines().map_while(Result::ok).for_each(drop));
        (Self { child, output: Some(output) }, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(output) = self.output.take() {
            output.join().ok();
        }
    }
}
