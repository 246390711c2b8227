//! How metrics are read before they are exported.

use std::time::Duration;

use super::choice::{self, Choice, Choices};
use super::number::{self, Millis};
use crate::config::Variable;
use crate::config::reader::{Reader, Source};
use crate::config::variable::variables;

variables! {
    OTEL_METRIC_EXPORT_INTERVAL: Millis = number::interval, "60000", "milliseconds between two exports";
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: Choice<Temporality> = choice::parse, "cumulative",
        "cumulative, delta or lowmemory";
}

/// The variable that only OTLP knows.
pub(super) const TEMPORALITY: Variable = OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE.variable;

/// Whether a sum or histogram starts anew with every export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Never.
    Cumulative,
    /// Those of counters, observable counters and histograms do.
    Delta,
    /// Those of counters and histograms do.
    LowMemory,
}

impl Choices for Temporality {
    const ALL: &'static [(&'static str, Self)] =
        &[("cumulative", Self::Cumulative), ("delta", Self::Delta), ("lowmemory", Self::LowMemory)];
}

pub(super) fn interval(reader: &mut Reader<'_>) -> Duration {
    reader.get(&OTEL_METRIC_EXPORT_INTERVAL).0
}

pub(super) fn temporality(reader: &mut Reader<'_>) -> Temporality {
    let given = choice::given(reader, &OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE);
    let name = OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE.variable.name;
    reader.settle(name, given, Temporality::Cumulative, Source::Default, choice::spelt)
}
