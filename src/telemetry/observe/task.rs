//! Work that goes on beside the request that began it.

use opentelemetry::trace::FutureExt as _;
use opentelemetry::{Context, context};
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

/// Carries a request's context into work that is spawned.
///
/// A task that is spawned bare knows nothing of the request that began it: its spans are roots of their own, its
/// log events have no trace id. `tasks.spawn(work.in_current_exchange())` keeps both.
pub trait InCurrentExchange: Future + Sized {
    /// Runs the future in the exchange and the span that are current now, wherever it is polled.
    fn in_current_exchange(self) -> context::WithContext<Instrumented<Self>> {
        self.in_current_span().with_context(Context::current())
    }
}

impl<F: Future> InCurrentExchange for F {}
