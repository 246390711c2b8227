//! All names there are.

use super::{Variable, honeycomb, http, log, observe, service};

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
];

/// Names that have a place in this service but that this version does not read; whoever reads one deletes it here.
pub(super) const RESERVED: &[&str] = &[
    "AWS_XRAY_DAEMON_ADDRESS",
    "AWS_XRAY_TRACING_NAME",
    "AWS_XRAY_URL",
    "CLOUDWATCH_LOG_FORMAT",
    "CLOUDWATCH_LOG_GROUP",
    "CLOUDWATCH_LOG_LEVEL",
    "CLOUDWATCH_LOG_STREAM",
    "CLOUDWATCH_RETENTION_DAYS",
    "CODE_VERSION",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTLP_RELAY",
    "ROLLBAR_ACCESS_TOKEN",
    "ROLLBAR_ACCESS_TOKEN_FILE",
    "ROLLBAR_ENDPOINT",
    "ROLLBAR_ENVIRONMENT",
    "ROLLBAR_ITEMS_PER_MINUTE",
    "SPOOL",
    "SPOOL_DIR",
    "SPOOL_MAX_BYTES",
];

/// Why well-known `OTEL_*` names, by their beginning, have no effect in this service.
pub(super) const WITHOUT_EFFECT: &[(&str, &str)] = &[
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
