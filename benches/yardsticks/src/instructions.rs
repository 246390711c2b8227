//! How many instructions a request takes, in user space and all threads, by callgrind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::load::Load;
use crate::server::Server;
use crate::sinks::Sinks;
use crate::variant::Variant;

/// Two runs' requests: what they differ in is requests alone, and not the start or the end.
const RUNS: [u64; 2] = [1000, 5000];

/// Whether valgrind can be run.
pub(crate) fn available() -> bool {
    std::process::Command::new("valgrind").arg("--version").output().is_ok_and(|asked| asked.status.success())
}

/// The instructions of one request. What callgrind wrote of the longer run stays in `folder`.
pub(crate) fn each(variant: &Variant, folder: &Path, away: Duration) -> anyhow::Result<f64> {
    let [less, more] = RUNS.map(|requests| total(variant, folder, away, requests));
    Ok((more? as f64 - less? as f64) / (RUNS[1] - RUNS[0]) as f64)
}

fn total(variant: &Variant, folder: &Path, away: Duration, requests: u64) -> anyhow::Result<u64> {
    let sinks = Sinks::open(away, variant.keeps_all, folder)?;
    let written = folder.join(format!("{}.callgrind", variant.name));
    let out = format!("--callgrind-out-file={}", written.display());
    let said = folder.join(format!("{}.valgrind.log", variant.name));
    let valgrind = ["valgrind", "--tool=callgrind", &out];
    let mut command = variant.command(&sinks);
    // Under valgrind a call takes so long that all of it would be written to disk meanwhile, which it is not otherwise.
    command.environment.push(("SPOOL", "off".to_owned()));
    let server = Server::start(&command, &valgrind, &said)?;
    let mut load = Load::connect(server.address)?;
    load.count(requests)?;
    drop(load);
    server.end()?;
    let written = fs::read_to_string(&written)?;
    let total = written.lines().find_map(|line| line.strip_prefix("totals: ")).context("no totals")?;
    Ok(total.trim().parse()?)
}
