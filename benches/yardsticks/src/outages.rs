//! What happens to requests and to telemetry when a destination fails: every backend, every fault, under load.
//!
//! Two servers with all backends take turns at the same core: one whose destinations are well, and one of whose
//! destinations one fails. Afterwards the destination recovers, and what has arrived there, by the items' own ids, is
//! compared with the server's books.

mod sink;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use self::sink::{Sink, Weather};
use crate::books::Account;
use crate::figures::{Turn, median};
use crate::folder::Folder;
use crate::load::Load;
use crate::options::Options;
use crate::server::Server;
use crate::variant::{Backend, Command, with_destinations};

/// How long a destination that is well again may take to get everything: the longest of all waits, and some.
const RECOVERY: Duration = Duration::from_secs(120);

/// What can happen to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    name: &'static str,
    weather: Weather,
    /// Whether the server is ended and started again meanwhile.
    restart: bool,
}

fn faults(backend: Backend) -> Vec<Fault> {
    let fails = |status, body| Weather::Fails { status, body };
    let fault = |name, weather| Fault { name, weather, restart: false };
    let (throttled, denied) = match backend {
        Backend::CloudWatch => (
            fails(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#),
            fails(400, r#"{"__type":"ExpiredTokenException","message":"The security token is expired"}"#),
        ),
        _ => (fails(429, ""), fails(401, "")),
    };
    let mut faults = vec![
        fault("refused", Weather::Refused),
        fault("black hole", Weather::BlackHole),
        fault("10 s an answer", Weather::Slow(Duration::from_secs(10))),
        fault("503", fails(503, "")),
        fault("throttled", throttled),
        Fault { restart: true, ..fault("refused, and restarted", Weather::Refused) },
    ];
    // Rollbar's token does not expire, and is tried again every ten minutes only.
    if backend != Backend::Rollbar {
        faults.push(fault("credentials expired", denied));
    }
    faults
}

/// What came of one fault.
struct Outcome {
    title: String,
    /// Of the server with the fault, in the other one's.
    cpu: f64,
    p99: f64,
    /// MB.
    memory: f64,
    accounts: String,
}

/// Goes through all of it, and prints a table. Anything that is lost or does not add up is an error.
pub(crate) fn run(options: &Options, folder: &Path) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    let all = [Backend::Otlp, Backend::CloudWatch, Backend::Rollbar];
    for backend in all.into_iter().filter(|backend| options.wants(backend.name())) {
        for fault in faults(backend) {
            eprintln!("{backend:?}: {}", fault.name);
            let outcome = endure(backend, fault, options, folder);
            outcomes.push(outcome.with_context(|| format!("{backend:?}, {}", fault.name))?);
        }
    }
    println!("| Fault | CPU a request, of the healthy | p99, of the healthy | memory, MB | items |");
    println!("|---|--:|--:|--:|---|");
    for Outcome { title, cpu, p99, memory, accounts } in outcomes {
        println!("| {title} | {cpu:.2} | {p99:.2} | {memory:.0} | {accounts} |");
    }
    Ok(())
}

/// Two servers, one fault.
fn endure(backend: Backend, fault: Fault, options: &Options, folder: &Path) -> anyhow::Result<Outcome> {
    let (mut well, mut ill) = (Side::start("well", folder)?, Side::start("ill", folder)?);
    // The first turns warm up.
    well.turn(options)?;
    ill.turn(options)?;
    ill.destination(backend).set(fault.weather)?;
    let (mut healthy, mut faulty) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        if backend == Backend::Rollbar {
            well.server()?.fail_on_purpose()?;
            ill.server()?.fail_on_purpose()?;
        }
        healthy.push(well.turn(options)?);
        faulty.push(ill.turn(options)?);
        if fault.restart && round == options.rounds / 2 {
            ill.restart(backend)?;
        }
    }
    ill.destination(backend).set(Weather::Fine)?;
    let accounts = ill.settled(backend)?;
    let memory = ill.memory.max(ill.server()?.memory()?) as f64 / 1000.0;
    let pairs: Vec<_> = healthy.iter().zip(&faulty).collect();
    let outcome = Outcome {
        title: format!("{backend:?}, {}", fault.name),
        cpu: median(&pairs, |(well, ill)| ill.cpu / well.cpu),
        p99: median(&pairs, |(well, ill)| ill.p99 / well.p99),
        memory,
        accounts,
    };
    well.end()?;
    ill.end()?;
    Ok(outcome)
}

/// A server with its destinations.
struct Side {
    command: Command,
    said: std::path::PathBuf,
    destinations: Vec<(Backend, Sink)>,
    server: Option<Server>,
    answered: u64,
    /// The most of those that were ended before, in kB.
    memory: u64,
    /// What those before have sent, where only the books tell how much that is.
    sent_before: u64,
    _spool: Folder,
}

impl Side {
    fn start(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut destinations = Vec::new();
        for backend in Backend::ALL {
            destinations.push((backend, Sink::open(backend)?));
        }
        let spool = Folder::new()?;
        let ports: Vec<_> = destinations.iter().map(|(backend, sink)| (*backend, sink.port)).collect();
        let command = with_destinations(&ports, spool.path());
        let said = folder.join(format!("{name}.log"));
        let server = Some(Server::start(&command, &[], &said)?);
        Ok(Self {
            command,
            said,
            destinations,
            server,
            answered: 0,
            memory: 0,
            sent_before: 0,
            _spool: spool,
        })
    }

    fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("no server")
    }

    fn destination(&mut self, backend: Backend) -> &mut Sink {
        let found = self.destinations.iter_mut().find(|(known, _)| *known == backend);
        &mut found.expect("there is one for each").1
    }

    fn turn(&mut self, options: &Options) -> anyhow::Result<Turn> {
        let server = self.server()?;
        let mut load = Load::connect(server.address)?;
        let (begun, before) = (Instant::now(), server.cpu()?);
        let requests = load.saturate(options.burst)?;
        let (time, within) = (begun.elapsed(), server.cpu()? - before);
        server.settle()?;
        let cpu = server.cpu()? - before;
        let mut took = load.at_rate(options.rate, options.burst)?;
        server.settle()?;
        self.answered += load.answered();
        Ok(Turn::new(requests, time, within, cpu, &mut took))
    }

    /// In the middle of the outage: what is undelivered must have been kept.
    fn restart(&mut self, backend: Backend) -> anyhow::Result<()> {
        let server = self.server.take().context("no server")?;
        self.memory = self.memory.max(server.memory()?);
        let end = server.end()?;
        ensure!(end.is_success(), "items were lost at the end: {}", end.report());
        let account = Account::reported(&end.report(), backend.name()).context("it reports nothing")?;
        self.sent_before = account.created - account.suppressed - account.spooled;
        self.server = Some(Server::start(&self.command, &[], &self.said)?);
        Ok(())
    }

    /// Waits until all of it has arrived.
    fn settled(&mut self, backend: Backend) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let expected = self.expected(backend)?;
            let (arrived, again) = self.destination(backend).arrived();
            // The service tells of its start, and of its destinations' troubles, in log events of its own.
            let is_whole = arrived >= expected && arrived <= expected + 64;
            if is_whole {
                return Ok(format!("all {expected}, {again} of them twice"));
            }
            if begun.elapsed() > RECOVERY {
                let health = self.server()?.health()?;
                bail!("{arrived} of {expected} have arrived, {again} of them twice: {health}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What must arrive: by the requests where each leaves something, and by the books where only failures do, of which
    /// not each is reported.
    fn expected(&self, backend: Backend) -> anyhow::Result<u64> {
        if backend.each() > 0 {
            return Ok(backend.each() * self.answered);
        }
        let health = self.server()?.health()?;
        let account = Account::shown(&health, backend.name()).with_context(|| health.clone())?;
        let sent = self.sent_before + account.created - account.suppressed;
        ensure!(sent > 0, "nothing was reported: {health}");
        Ok(sent)
    }

    fn end(mut self) -> anyhow::Result<()> {
        let end = self.server.take().context("no server")?.end()?;
        ensure!(end.is_success(), "{}", end.report());
        Ok(())
    }
}
