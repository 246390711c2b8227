//! What was measured, and what is made of it.

use std::time::Duration;

/// One turn of one variant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Requests a second at saturation.
    pub(crate) rate: f64,
    /// CPU seconds a request.
    pub(crate) cpu: f64,
    /// How much of its core the server used at saturation: 1 is all.
    pub(crate) busy: f64,
    /// Seconds that half of the requests at the fixed rate took at most.
    pub(crate) p50: f64,
    /// Seconds that 99 of 100 took at most.
    pub(crate) p99: f64,
}

impl Turn {
    pub(crate) fn new(
        requests: u64,
        time: Duration,
        burst_cpu: Duration,
        cpu: Duration,
        took: &mut [Duration],
    ) -> Self {
        let requests = requests as f64;
        took.sort_unstable();
        Self {
            rate: requests / time.as_secs_f64(),
            cpu: cpu.as_secs_f64() / requests,
            busy: burst_cpu.as_secs_f64() / time.as_secs_f64(),
            p50: quantile(took, 0.5),
            p99: quantile(took, 0.99),
        }
    }
}

fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

/// The median of what `of` says of each.
pub(crate) fn median<T>(all: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All turns of one variant, and what was left at its end.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) title: &'static str,
    pub(crate) turns: Vec<Turn>,
    pub(crate) instructions: Option<f64>,
    /// kB.
    pub(crate) memory: u64,
    /// What arrived of what was sent, in words.
    pub(crate) arrived: String,
}

impl Figures {
    /// The median of the ratios between the turns of one round, here and at `bare`.
    pub(crate) fn ratio(&self, bare: &Self, of: impl Fn(&Turn) -> f64) -> f64 {
        let pairs: Vec<_> = self.turns.iter().zip(&bare.turns).collect();
        median(&pairs, |(own, bare)| of(own) / of(bare))
    }
}
