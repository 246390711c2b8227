//! Which spans and events there are, as far as anyone wants to hear of them.

use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer};

use super::spans::Spans;

/// What some view wants to hear of. Each is told of everything, and picks.
#[derive(Debug)]
pub struct Heard {
    console: EnvFilter,
    floor: LevelFilter,
    /// Whether the console's directives look into spans, and must be told of them.
    pub(super) looks_into_spans: bool,
}

impl Heard {
    /// Events at `floor` and above, and what the directives of `console` name.
    #[must_use]
    pub fn new(console: &str, floor: LevelFilter) -> Self {
        let looks_into_spans = console.contains('[');
        Self { console: EnvFilter::builder().parse_lossy(console), floor, looks_into_spans }
    }

    /// The console's own filter.
    pub(super) fn console(&self) -> &EnvFilter {
        &self.console
    }

    /// What is decided once for all of a kind: most is, and costs nothing afterwards.
    pub(super) fn interest<S: Subscriber>(
        &self,
        metadata: &'static Metadata<'static>,
        spans: &Spans,
    ) -> Interest {
        // Asked in any case, because it takes note of the spans that it looks into.
        let console = Layer::<S>::register_callsite(&self.console, metadata);
        if self.is_filed(metadata, spans) {
            Interest::always()
        } else if metadata.is_event() || self.looks_into_spans {
            console
        } else {
            Interest::never()
        }
    }

    /// The same where it is not decided once for all.
    pub(super) fn enabled<S: Subscriber>(
        &self,
        metadata: &Metadata<'_>,
        context: Context<'_, S>,
        spans: &Spans,
    ) -> bool {
        let may_be = metadata.is_event() || self.looks_into_spans;
        self.is_filed(metadata, spans) || (may_be && self.console.enabled(metadata, context))
    }

    /// Whether it is filed, whatever the console says: a quiet console must not make traces empty.
    fn is_filed(&self, metadata: &Metadata<'_>, spans: &Spans) -> bool {
        if metadata.is_span() { spans.wants(metadata) } else { *metadata.level() <= self.floor }
    }

    /// The least grave level that anyone wants to hear of.
    pub(super) fn max_level(&self) -> Option<LevelFilter> {
        // Without a hint anything may be wanted.
        Some(self.console.max_level_hint()?.max(self.floor).max(LevelFilter::INFO))
    }
}
