//! All names there are.

use super::{Variable, cloudwatch, honeycomb, http, log, observe, otlp, rollbar, service, spool, xray};

/// Variables that belong together.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Topic {
    /// What they are about.
    pub title: &'static str,
    /// The variables.
    pub variables: &'static [Variable],
}

/// Every variable that is read, by topic.
pub const TOPICS: &[Topic] = &[
    Topic { title: "Service", variables: service::VARIABLES },
    Topic { title: "HTTP", variables: http::VARIABLES },
    Topic { title: "Log", variables: log::VARIABLES },
    Topic { title: "Observing", variables: observe::VARIABLES },
    Topic { title: "Honeycomb", variables: honeycomb::VARIABLES },
    Topic { title: "OTLP", variables: otlp::VARIABLES },
    Topic { title: "OTLP, where to", variables: otlp::GENERIC },
    Topic { title: "OTLP, where to with traces", variables: otlp::TRACES },
    Topic { title: "OTLP, where to with metrics", variables: otlp::METRICS },
    Topic { title: "Traces: sampling", variables: otlp::SAMPLING },
    Topic { title: "Traces: limits of a span", variables: otlp::LIMITS },
    Topic { title: "Traces: batches", variables: otlp::BATCHES },
    Topic { title: "Metrics", variables: otlp::READING },
    Topic { title: "X-Ray", variables: xray::VARIABLES },
    Topic { title: "CloudWatch Logs", variables: cloudwatch::VARIABLES },
    Topic { title: "Rollbar", variables: rollbar::VARIABLES },
    Topic { title: "Spool", variables: spool::VARIABLES },
];

/// Names that have a place in this service but that this version does not read; whoever reads one deletes it here.
pub(super) const RESERVED: &[&str] = &["OTEL_METRIC_EXPORT_TIMEOUT"];

/// Why well-known names, by their beginning, have no effect in this service.
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("AWS_XRAY_NOOP_ID", "a request keeps its trace id, kept or not"),
    ("AWS_XRAY_SDK_DISABLED", "AWS_XRAY_SDK_ENABLED=false switches X-Ray off"),
    ("OTEL_BLRP_", "log events are not exported by OTLP"),
    ("OTEL_CONFIG_FILE", "this service is configured by variables alone"),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", "this service is configured by variables alone"),
    ("OTEL_EXPORTER_JAEGER_", "Jaeger takes OTLP"),
    ("OTEL_EXPORTER_OTLP_LOGS_", "log events are not exported by OTLP"),
    ("OTEL_EXPORTER_PROMETHEUS_", "metrics are not exported to Prometheus"),
    ("OTEL_EXPORTER_ZIPKIN_", "Zipkin is not a backend of this service"),
    ("OTEL_GO_", "it belongs to another language"),
    ("OTEL_JAVAAGENT_", "it belongs to another language"),
    ("OTEL_LOG_LEVEL", "LOG_LEVEL governs every line"),
    ("OTEL_LOGS_EXPORTER", "log events are not exported by OTLP"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "metrics carry no exemplars"),
    ("OTEL_NODE_", "it belongs to another language"),
    ("OTEL_PYTHON_", "it belongs to another language"),
    ("OTEL_SEMCONV_", "the conventions of one version are followed"),
];

/// Every name that is read.
pub(super) fn read() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().flat_map(|topic| topic.variables).map(|variable| variable.name)
}
