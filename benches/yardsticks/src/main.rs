//! What the instrumentation costs: the home request, served by variants that take turns, in one table.
//!
//! `benches/run` builds all of it and starts this on one core; the servers get the other. See [`options::HELP`].

mod books;
mod figures;
mod folder;
mod instructions;
mod load;
mod options;
mod outages;
mod server;
mod sinks;
mod soak;
mod start;
mod table;
mod variant;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use self::figures::{Figures, Turn};
use self::load::Load;
use self::options::{HELP, Options};
use self::server::{OUR_CORE, Server};
use self::sinks::Sinks;
use self::variant::{BARE, Variant};

/// How long a server is warmed up before each turn.
const WARM_UP: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        cores == 1,
        "start it by benches/run, which gives it core {OUR_CORE} and leaves the others to the servers"
    );
    let folder = folder()?;
    if options.outages {
        return outages::run(&options, &folder);
    }
    if let Some(time) = options.soak {
        return soak::run(time, &options, &folder);
    }
    println!("{}\n", start::measure(&folder)?);
    let mut running = Vec::new();
    for variant in Variant::all() {
        if variant.name == BARE || options.wants(variant.name) {
            running.extend(Running::start(variant, &options, &folder)?);
        }
    }
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        for running in &mut running {
            running.take_turn(&options)?;
        }
    }
    let mut all = Vec::new();
    for running in running {
        all.push(running.end(&options, &folder)?);
    }
    print!("{}{}", table::table(&all), table::legend(&options));
    Ok(())
}

/// Where logs and profiles are left: beside the binaries.
fn folder() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).context("a binary without a folder")?.join("yardsticks");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A variant whose server runs.
struct Running {
    variant: Variant,
    server: Server,
    sinks: Sinks,
    answered: u64,
    turns: Vec<Turn>,
}

impl Running {
    /// `None`, and a line about it, where the binary does not know what the variant needs.
    fn start(variant: Variant, options: &Options, folder: &Path) -> anyhow::Result<Option<Self>> {
        let sinks = Sinks::open(options.away, variant.keeps_all, folder)?;
        let unknown = variant.unknown(&sinks)?;
        if !unknown.is_empty() {
            eprintln!("{}: left out, for the binary does not know {}", variant.name, unknown.join(", "));
            return Ok(None);
        }
        let said = folder.join(format!("{}.log", variant.name));
        let server = Server::start(&variant.command(&sinks), &[], &said)?;
        Ok(Some(Self { variant, sinks, server, answered: 0, turns: Vec::new() }))
    }

    fn take_turn(&mut self, options: &Options) -> anyhow::Result<()> {
        let mut load = Load::connect(self.server.address).context(self.variant.name)?;
        load.saturate(WARM_UP).context(self.variant.name)?;
        self.server.settle()?;
        let (begun, before) = (Instant::now(), self.server.cpu()?);
        let requests = load.saturate(options.burst).context(self.variant.name)?;
        let (time, within) = (begun.elapsed(), self.server.cpu()? - before);
        // What the exporters have not done yet belongs to these requests too.
        self.server.settle()?;
        let cpu = self.server.cpu()? - before;
        let mut took = load.at_rate(options.rate, options.burst).context(self.variant.name)?;
        self.server.settle()?;
        self.answered += load.answered();
        self.turns.push(Turn::new(requests, time, within, cpu, &mut took));
        Ok(())
    }

    fn end(self, options: &Options, folder: &Path) -> anyhow::Result<Figures> {
        let Self { variant, sinks, server, answered, turns } = self;
        let memory = server.memory()?;
        let end = server.end()?;
        let arrived = arrived(&variant, &sinks, answered);
        if arrived.contains(" of ") {
            eprintln!("{}: {arrived}; it said:\n{}", variant.name, end.report());
        }
        let instructions = if !options.instructions {
            None
        } else if instructions::available() {
            eprintln!("{}: counting instructions", variant.name);
            Some(instructions::each(&variant, folder, options.away)?)
        } else {
            eprintln!(
                "{}: instructions are not counted without valgrind (apt-get install valgrind)",
                variant.name
            );
            None
        };
        Ok(Figures { title: variant.title, turns, instructions, memory, arrived })
    }
}

/// What has arrived of what `answered` requests must leave at each sink.
fn arrived(variant: &Variant, sinks: &Sinks, answered: u64) -> String {
    let each = variant.backends().iter().map(|backend| {
        let (arrived, unit) = (sinks.of(*backend).arrived(), backend.unit());
        let expected = backend.each() * answered;
        match arrived {
            _ if !variant.keeps_all && *backend == variant::Backend::Xray => {
                format!("{arrived} {unit}, sampled")
            }
            all if all == expected => format!("all {all} {unit}"),
            some => format!("{some} of {expected} {unit}"),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}
