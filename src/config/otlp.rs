//! What is exported by OTLP, and where to.
//!
//! The variables are those of OpenTelemetry's specification and mean what it says: enumerations ignore case,
//! a value that an enumeration does not have is ignored with a warning, and the variables of a signal win over
//! the generic ones. Other than there, a malformed number, URL or list is a fault, and nothing is exported to
//! `localhost` unasked: without an endpoint, request trees go to the terminal.
//!
//! An account at Honeycomb is an endpoint too. Whatever the variables of OTLP say wins over its part, and its key
//! goes nowhere but to Honeycomb's own hosts.

mod batch;
mod choice;
mod destination;
mod endpoint;
mod exporters;
mod headers;
mod limits;
mod metrics;
mod number;
mod pairs;
mod resource;
mod rows;
mod sampler;
mod tls;
mod traps;

use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;

pub use self::batch::Batch;
use self::choice::Choice;
use self::destination::Absent;
pub use self::destination::Destination;
use self::exporters::{Exporters, ForMetrics, ForTraces};
pub use self::limits::SpanLimits;
pub use self::metrics::Temporality;
pub(super) use self::resource::Attributes;
pub use self::rows::Protocol;
pub use self::tls::Tls;
use super::honeycomb::{self, Honeycomb};
use super::reader::{Given, Reader, Source};
use super::variable::variables;
use super::{Variable, parse};

variables! {
    OTEL_SDK_DISABLED: Choice<bool> = choice::parse, "false", "true exports nothing by OTLP";
    OTEL_TRACES_EXPORTER: Exporters<ForTraces> = exporters::parse, "otlp, or console without an endpoint",
        "otlp, console (request trees on the terminal), both, or none";
    OTEL_METRICS_EXPORTER: Exporters<ForMetrics> = exporters::parse, "otlp", "otlp or none";
    OTEL_RESOURCE_ATTRIBUTES: Attributes = resource::parse, "-",
        "what else is known of this process: key1=value1,key2=value2";
    OTLP_RELAY: bool = parse::switch, "off", "whether OTLP that is sent to this service goes where its traces go";
}

/// The generic variables of a destination.
pub(super) const GENERIC: &[Variable] = &rows::GENERIC.variables();
/// Those of the destination of traces.
pub(super) const TRACES: &[Variable] = &rows::TRACES.variables();
/// Those of the destination of metrics.
pub(super) const METRICS: &[Variable] = &rows::METRICS.variables();
/// The variables of the sampler.
pub(super) const SAMPLING: &[Variable] = sampler::VARIABLES;
/// Those that limit a span.
pub(super) const LIMITS: &[Variable] = limits::VARIABLES;
/// Those of batches of spans.
pub(super) const BATCHES: &[Variable] = batch::VARIABLES;
/// Those that say how metrics are read.
pub(super) const READING: &[Variable] = metrics::VARIABLES;

/// What is exported by OTLP, and where to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Otlp {
    /// Where traces go; `None` exports none.
    pub traces: Option<Destination>,
    /// Where metrics go; `None` exports none.
    pub metrics: Option<Destination>,
    /// Whether the terminal shows request trees: where it is asked for, or where traces should go somewhere and
    /// have nowhere else to go.
    pub console: bool,
    /// Which traces are exported.
    pub sampler: Sampler,
    /// How much of a span is kept.
    pub limits: SpanLimits,
    /// What the batches of spans are told.
    pub batch: Batch,
    /// The time between two exports of metrics, above zero.
    pub metric_interval: Duration,
    /// Whether sums and histograms start anew with every export.
    pub temporality: Temporality,
    /// `OTEL_RESOURCE_ATTRIBUTES` in their order, each key once, without `service.name`.
    pub resource: Vec<(String, String)>,
    /// Whether OTLP that is sent to this service goes where its traces go.
    pub relay: bool,
}

/// A destination, or why there is none.
type Found = Result<Destination, Absent>;

/// The attributes of the resource, before anything is made of them: the service's name may be among them.
pub(super) fn resource(reader: &mut Reader<'_>) -> Given<Attributes> {
    reader.given(&OTEL_RESOURCE_ATTRIBUTES)
}

impl Otlp {
    pub(super) fn read(reader: &mut Reader<'_>, account: &Honeycomb, resource: Given<Attributes>) -> Self {
        let disabled = choice::given(reader, &OTEL_SDK_DISABLED);
        let name = OTEL_SDK_DISABLED.variable.name;
        let enabled = !reader.settle(name, disabled, false, Source::Default, choice::spelt);
        let for_traces = exporters::read(reader, &OTEL_TRACES_EXPORTER, ForTraces::Otlp);
        let for_metrics = exporters::read(reader, &OTEL_METRICS_EXPORTER, ForMetrics::Otlp);
        let name = OTEL_RESOURCE_ATTRIBUTES.variable.name;
        let resource = reader.settle_optional(name, resource, "-").unwrap_or_default().without_service_name();
        let relay = reader.get(&OTLP_RELAY);

        let generic = rows::Layer::read(reader, &rows::GENERIC);
        let (of_traces, of_metrics) = (destination::TRACES.layer(reader), destination::METRICS.layer(reader));
        let traces_wanted = for_traces.contains(&ForTraces::Otlp);
        let traces = if enabled && traces_wanted {
            destination::TRACES.find(reader, of_traces, generic.clone(), account)
        } else {
            Err(Absent::Unwanted)
        };
        let metrics = if enabled && for_metrics.contains(&ForMetrics::Otlp) {
            destination::METRICS.find(reader, of_metrics, generic, account)
        } else {
            Err(Absent::Unwanted)
        };
        vain(reader, &traces, &metrics);
        unsent_key(reader, account, &traces, &metrics);
        if relay && matches!(traces, Err(Absent::Nowhere | Absent::Unwanted)) {
            reader.warn(OTLP_RELAY.variable.name, "on has no effect: traces are not exported by OTLP");
        }
        Self {
            console: for_traces.contains(&ForTraces::Console) || (traces_wanted && traces.is_err()),
            traces: traces.ok(),
            metrics: metrics.ok(),
            sampler: sampler::read(reader),
            limits: SpanLimits::read(reader),
            batch: Batch::read(reader),
            metric_interval: metrics::interval(reader),
            temporality: metrics::temporality(reader),
            resource,
            relay,
        }
    }
}

/// Warns of what is set for signals that have no endpoint. Nobody is warned who has switched a signal off.
fn vain(reader: &mut Reader<'_>, traces: &Found, metrics: &Found) {
    const WITHOUT: &str = "has no effect without OTEL_EXPORTER_OTLP_ENDPOINT or HONEYCOMB_API_KEY";
    let nowhere = |found: &Found| matches!(found, Err(Absent::Nowhere));
    let idle = |found: &Found| matches!(found, Err(Absent::Nowhere | Absent::Unwanted));
    let mut variables = Vec::new();
    if nowhere(traces) {
        variables.extend_from_slice(TRACES);
    }
    if nowhere(metrics) {
        variables.extend_from_slice(METRICS);
        variables.push(metrics::TEMPORALITY);
    }
    if !variables.is_empty() && idle(traces) && idle(metrics) {
        variables.extend_from_slice(GENERIC);
    }
    for variable in variables {
        if reader.is_set(variable.name) {
            reader.warn(variable.name, WITHOUT);
        }
    }
    for (found, row) in [(traces, OTEL_TRACES_EXPORTER.variable), (metrics, OTEL_METRICS_EXPORTER.variable)] {
        let text = reader.environment().get(row.name).ok().flatten();
        if nowhere(found) && text.is_some_and(|text| text.to_ascii_lowercase().contains("otlp")) {
            reader.warn(row.name, format_args!("otlp {WITHOUT}"));
        }
    }
}

/// Warns of a key that nobody gets.
fn unsent_key(reader: &mut Reader<'_>, account: &Honeycomb, traces: &Found, metrics: &Found) {
    let found = [traces, metrics];
    let somewhere = found.iter().any(|found| found.is_ok());
    let elsewhere = found.iter().all(|found| match found {
        Ok(destination) => !destination.honeycomb,
        Err(absent) => *absent == Absent::Unwanted,
    });
    if account.api_key.is_some() && somewhere && elsewhere {
        reader.warn(honeycomb::KEY, "has no effect: the OTLP endpoint is not one of Honeycomb's");
    }
}

#[cfg(test)]
mod tests;
