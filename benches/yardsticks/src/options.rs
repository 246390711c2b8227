//! What can be asked for on the command line.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// What `--help` says.
pub(crate) const HELP: &str = "\
What the instrumentation of the Cruddur backend costs: benches/run [option]...

  --rounds N     how often every variant has its turn (9)
  --burst MS     how long a turn at saturation, and one at the fixed rate, lasts (500)
  --rate N       requests a second at the fixed rate (10000)
  --only A,B     these variants only, and bare, which all are compared with; of --outages, these destinations
  --away MS      how long every HTTP sink thinks before it answers (0)
  --no-callgrind do not count instructions
  --outages      no comparison: every backend's destination fails in every way, under load
  --soak [S]     no comparison: all four under full load for S seconds (600), by memory and by what arrived
  --quick        3 rounds of 200 ms, without callgrind
";

/// The command line, understood.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) burst: Duration,
    pub(crate) rate: u32,
    pub(crate) only: Option<Vec<String>>,
    pub(crate) away: Duration,
    pub(crate) instructions: bool,
    pub(crate) outages: bool,
    pub(crate) soak: Option<Duration>,
}

impl Options {
    /// `None` where only help is wanted.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut arguments = arguments.peekable();
        let mut options = Self {
            rounds: 9,
            burst: Duration::from_millis(500),
            rate: 10_000,
            only: None,
            away: Duration::ZERO,
            instructions: true,
            outages: false,
            soak: None,
        };
        while let Some(option) = arguments.next() {
            if option == "--soak" {
                let seconds = arguments.next_if(|value| !value.starts_with("--"));
                let seconds = seconds.map_or(Ok(600), |seconds| number(&seconds))?;
                ensure!(seconds > 0, "--soak takes a second at least");
                options.soak = Some(Duration::from_secs(seconds));
                continue;
            }
            let mut value = || arguments.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--help" => return Ok(None),
                "--quick" => {
                    (options.rounds, options.burst, options.instructions) =
                        (3, Duration::from_millis(200), false);
                }
                "--outages" => options.outages = true,
                "--no-callgrind" => options.instructions = false,
                "--rounds" => options.rounds = number(&value()?)?,
                "--burst" => options.burst = Duration::from_millis(number(&value()?)?),
                "--rate" => options.rate = number(&value()?)?,
                "--away" => options.away = Duration::from_millis(number(&value()?)?),
                "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
                unknown => bail!("{unknown} is not an option\n\n{HELP}"),
            }
        }
        if options.rounds == 0 || options.burst.is_zero() || options.rate == 0 {
            bail!("--rounds, --burst and --rate must be more than 0");
        }
        Ok(Some(options))
    }

    /// Whether a variant has been asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> anyhow::Result<T> {
    text.parse().ok().with_context(|| format!("{text} is not a whole number"))
}
