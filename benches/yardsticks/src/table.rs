//! The figures, for people: one table in Markdown and how to read it.

use std::fmt::Write as _;

use crate::figures::{Figures, median};
use crate::options::Options;

const HEAD: &str = "\
| Variant | requests a CPU second, of bare | CPU a request, µs | requests a second (busy) | instructions a request | p50, p99 at the fixed rate, µs | p99, of bare | memory, MB | arrived |
|---|--:|--:|--:|--:|--:|--:|--:|---|
";

/// The table; `figures` begin with what all are compared with.
pub(crate) fn table(figures: &[Figures]) -> String {
    let mut table = HEAD.to_owned();
    let Some(bare) = figures.first() else { return table };
    for own in figures {
        let turns = &own.turns;
        // Writing to a string does not fail.
        writeln!(
            table,
            "| {} | {:.0} % | {:.1} | {:.0} ({:.0} %) | {} | {:.0}, {:.0} | {:.2} | {:.0} | {} |",
            own.title,
            100.0 / own.ratio(bare, |turn| turn.cpu),
            1e6 * median(turns, |turn| turn.cpu),
            median(turns, |turn| turn.rate),
            100.0 * median(turns, |turn| turn.busy),
            instructions(own, bare),
            1e6 * median(turns, |turn| turn.p50),
            1e6 * median(turns, |turn| turn.p99),
            own.ratio(bare, |turn| turn.p99),
            own.memory as f64 / 1000.0,
            own.arrived,
        )
        .ok();
    }
    table
}

fn instructions(own: &Figures, bare: &Figures) -> String {
    match (own.instructions, bare.instructions) {
        (Some(own), Some(bare)) => format!("{own:.0} ({:+.0})", own - bare),
        _ => "-".to_owned(),
    }
}

/// How to read it.
pub(crate) fn legend(options: &Options) -> String {
    let Options { rounds, burst, rate, away, .. } = options;
    format!(
        "\n{rounds} rounds of {burst:?} at saturation and {burst:?} at {rate} requests a second (open loop: the time \
         counts from when a\nrequest was to be sent); sinks {away:?} away. The server has one core with all its \
         threads, exporters included; load and\nsinks have the other. Figures are medians of the rounds; those *of \
         bare* are medians of the ratios within a round, which is\nwhat to rely on where others use the machine: \
         believe differences of 3 points or more. *Busy* below 95 % means that the\nserver could have done more. \
         Instructions are callgrind's, in user space, and repeat within 1 %; in brackets what is beyond\nbare. \
         *Arrived* compares what the sinks counted with what every request must leave there, after SIGTERM.\n"
    )
}
