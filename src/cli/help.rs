//! What `--help` prints.

use std::io::{self, Write};

use crate::config::TOPICS;

const USAGE: &str = "\
The Cruddur backend: one service, observed once, seen in four places.

Usage: cruddur [--check | --healthcheck | --explain-sampling METHOD HOST PATH | --help | --version]

Without an argument it serves until SIGTERM or SIGINT.

  --check        print every setting and where it came from, warnings and faults; exit 0, or 2 on a fault
  --healthcheck  ask the running server for /api/health-check; exit 0 if it is well, else 1
  --explain-sampling METHOD HOST PATH
                 print which of X-Ray's sampling rules decides on such a request, and why
  -h, --help     print this
  -V, --version  print the version

It is configured by environment variables. An empty one counts as unset.
";

pub(super) fn write(out: &mut impl Write) -> io::Result<()> {
    out.write_all(USAGE.as_bytes())?;
    let variables = || TOPICS.iter().flat_map(|topic| topic.variables);
    let width = variables().map(|variable| variable.name.len()).max().unwrap_or(0);
    for topic in TOPICS {
        writeln!(out, "\n{}:", topic.title)?;
        for variable in topic.variables {
            writeln!(out, "  {:width$}  {}", variable.name, variable.meaning)?;
            if variable.default != "-" {
                writeln!(out, "  {:width$}  [default: {}]", "", variable.default)?;
            }
        }
    }
    Ok(())
}
