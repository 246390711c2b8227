//! All four backends under full load for as long as is asked for: memory must not grow, and everything must arrive.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::books::Account;
use crate::figures::median;
use crate::load::Load;
use crate::options::Options;
use crate::server::Server;
use crate::sinks::Sinks;
use crate::variant::{Backend, Variant};

/// How many lines the table has.
const SAMPLES: u32 = 20;
/// The part of the time after which caches and buffers have their size.
const WARM_UP: usize = SAMPLES as usize / 4;
/// How much more the last quarter may take than the first one after the warm-up.
const GROWTH: f64 = 1.1;

/// One moment.
struct Sample {
    /// Seconds since the start.
    at: f64,
    answered: u64,
    /// MB.
    resident: f64,
}

/// Prints what it sees. Growth and loss are errors; but for what is sent to X-Ray's daemon, since UDP promises nothing.
pub(crate) fn run(time: Duration, options: &Options, folder: &Path) -> anyhow::Result<()> {
    let four =
        Variant::all().into_iter().find(|variant| variant.name == "four").context("no such variant")?;
    let sinks = Sinks::open(options.away, true, folder)?;
    let server = Server::start(&four.command(&sinks), &[], &folder.join("soak.log"))?;
    let mut load = Load::connect(server.address)?;
    let (begun, mut samples) = (Instant::now(), Vec::new());
    println!("| seconds | requests | memory, MB |\n|--:|--:|--:|");
    for _ in 0..SAMPLES {
        load.saturate(time / SAMPLES)?;
        server.fail_on_purpose()?;
        let resident = server.resident()? as f64 / 1e3;
        let sample = Sample { at: begun.elapsed().as_secs_f64(), answered: load.answered(), resident };
        println!("| {:.0} | {} | {resident:.1} |", sample.at, sample.answered);
        samples.push(sample);
    }
    let (answered, most) = (load.answered(), server.memory()? as f64 / 1e3);
    drop(load);
    let end = server.end()?;
    let warm = &samples[WARM_UP..];
    println!("\nmemory after the warm-up: {:+.2} MB a minute; {most:.0} MB at most", slope(warm) * 60.0);
    let mut whole = end.is_success();
    for backend in Backend::ALL {
        let account = Account::reported(&end.report(), backend.name()).context("it reports nothing")?;
        let (arrived, sent) = (sinks.of(backend).arrived(), account.created - account.suppressed);
        println!("{}: {arrived} of {sent} {} arrived", backend.name(), backend.unit());
        ensure!(sent >= backend.each() * answered, "{answered} requests have left more than {sent}");
        whole &= arrived == sent || backend == Backend::Xray;
    }
    ensure!(whole, "not everything has arrived: {}", end.report());
    let quarter = warm.len() / 3;
    let part = |samples: &[Sample]| median(samples, |sample| sample.resident);
    let (before, after) = (part(&warm[..quarter]), part(&warm[warm.len() - quarter..]));
    ensure!(after <= before * GROWTH, "memory has grown from {before:.1} MB to {after:.1} MB");
    Ok(())
}

/// MB a second, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let (time, memory) = samples
        .iter()
        .fold((0.0, 0.0), |(time, memory), one| (time + one.at / count, memory + one.resident / count));
    let (mut along, mut square) = (0.0, 0.0);
    for one in samples {
        along += (one.at - time) * (one.resident - memory);
        square += (one.at - time).powi(2);
    }
    along / square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_growth_a_second() {
        let samples: Vec<_> = (0..9_u32)
            .map(|at| Sample { at: at.into(), answered: 0, resident: 30.0 + 0.5 * f64::from(at) })
            .collect();
        assert!((slope(&samples) - 0.5).abs() < 1e-9);
    }
}
