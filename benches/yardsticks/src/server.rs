//! A server's process: started on a core of its own, asked for its CPU time, ended by SIGTERM.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use yardsticks::{PORT, READY};

use crate::variant::Command;

/// The server's core; everything else runs on [`OUR_CORE`].
const CORE: &str = "1";
/// Where the load and the sinks run; `benches/run` sees to it.
pub(crate) const OUR_CORE: usize = 0;

/// How long a server may take to start or to end; under valgrind it takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    clock: ClockId,
    said: PathBuf,
    pub(crate) address: SocketAddr,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct End {
    status: ExitStatus,
    said: String,
}

impl Server {
    /// Starts a server behind `wrapper` (a program and its arguments, or nothing), and waits until it answers.
    pub(crate) fn start(command: &Command, wrapper: &[&str], said: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        // With whatever ends this process the server ends too: what went on would take the core from the next run, and ask
        // at ports that have become somebody else's.
        let child = std::process::Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", CORE])
            .args(wrapper)
            .arg(&command.program)
            .args(command.argument)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(PORT, port.to_string())
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(said)?)
            .spawn()
            .context("setpriv, of util-linux, cannot be run")?;
        let pid = Pid::from_raw(child.id().try_into()?);
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut server =
            Self { child, pid, clock: ClockId::pid_cpu_clock_id(pid)?, said: said.to_owned(), address };
        server.wait_until_ready().with_context(|| format!("{}", command.program.display()))?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended at its start, {status}: {}", fs::read_to_string(&self.said)?);
            }
            if begun.elapsed() > PATIENCE {
                bail!("does not answer at {}", self.address);
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.ask(READY).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn ask(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Has it fail, in each of the ways that its test routes know, as often as a few kinds of items are reported.
    pub(crate) fn fail_on_purpose(&self) -> anyhow::Result<()> {
        for path in ["/test/raise", "/test/raise?chain=1", "/api/test/raise", "/rollbar/test"] {
            for _ in 0..10 {
                ensure!(self.ask(path)?.starts_with("HTTP/1.1 "), "{path} is not answered");
            }
        }
        Ok(())
    }

    /// What it says of itself.
    pub(crate) fn health(&self) -> anyhow::Result<String> {
        Ok(self.ask("/health")?)
    }

    /// The CPU time of all its threads until now, those that have ended included.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// Waits until it has done what is left to do: three times in a row it must have been idle.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        const STEP: Duration = Duration::from_millis(20);
        let (begun, mut idle, mut before) = (Instant::now(), 0, self.cpu()?);
        while idle < 3 && begun.elapsed() < Duration::from_secs(3) {
            sleep(STEP);
            let now = self.cpu()?;
            idle = if now.saturating_sub(before) < STEP / 40 { idle + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// The most memory it has had, in kB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// The memory it has now, in kB.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|found| found.trim().trim_end_matches(" kB").parse().ok()).context("no such memory")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) -> anyhow::Result<End> {
        kill(self.pid, Signal::SIGTERM)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(End { status, said: fs::read_to_string(&self.said)? });
            }
            if begun.elapsed() > PATIENCE {
                bail!("a server does not end");
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where a measurement has failed; a server that has ended is nobody to be killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl End {
    /// Whether nothing was lost.
    pub(crate) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// What it said at its end, which for ours is what became of every item, and its exit code where it is not 0.
    pub(crate) fn report(&self) -> String {
        let code = if self.status.success() { String::new() } else { format!("\n{}", self.status) };
        format!("{}{code}", self.said.trim_end())
    }
}
