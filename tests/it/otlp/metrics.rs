//! Metrics beside the spans.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint, metric, number_data_point,
};
use serde_json::{Value, json};

use super::{HOME, start, stop};
use crate::caller::Caller;
use crate::stand_in::{Answer, Otlp, Seen, Signal, attributes};

const DURATION: &str = "http.server.request.duration";
const WITH_METRICS: (&str, &str) = ("OTEL_METRICS_EXPORTER", "otlp");

/// The points of every export of the durations so far.
fn points(seen: &Seen) -> Vec<HistogramDataPoint> {
    let of_durations = seen.metrics.iter().filter(|metric| metric.name == DURATION);
    of_durations.flat_map(|metric| histogram(metric).0).collect()
}

fn histogram(metric: &Metric) -> (Vec<HistogramDataPoint>, AggregationTemporality) {
    let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    (histogram.data_points.clone(), histogram.aggregation_temporality())
}

fn by_route(points: &[HistogramDataPoint]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for point in points {
        let route = attributes(&point.attributes).remove("http.route").unwrap_or(Value::Null);
        *counts.entry(route.as_str().unwrap_or("-").to_owned()).or_default() += point.count;
    }
    counts
}

#[tokio::test]
async fn every_request_is_counted_by_its_route_with_the_spans_duration() {
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        let stand_in = Otlp::start();
        let app = start(&stand_in, &[WITH_METRICS, ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).await;
        let mut caller = Caller::connect(app.address).await;
        for path in [HOME, HOME, HOME, "/nowhere", "/test/raise", "/health", "/api/health-check"] {
            caller.get(path).await;
        }
        caller.ask("FOO", HOME, &[], "").await;
        stop(app).await;
        stand_in.assert_clean();

        let metric = stand_in.seen().metrics.iter().find(|metric| metric.name == DURATION).cloned().unwrap();
        let (points, temporality) = histogram(&metric);
        assert_eq!((metric.unit.as_str(), temporality), ("s", AggregationTemporality::Cumulative));
        let routes = [("-", 1), (HOME, 4), ("/api/health-check", 1), ("/health", 1), ("/test/raise", 1)];
        let expected: BTreeMap<_, _> =
            routes.into_iter().map(|(route, count)| (route.to_owned(), count)).collect();
        assert_eq!(by_route(&points), expected, "{protocol}");

        let point = |like: &Value| {
            let found = points.iter().find(|point| json!(attributes(&point.attributes)) == *like);
            found.unwrap_or_else(|| panic!("no {like} in {points:?}")).clone()
        };
        let home = point(&json!({
            "http.request.method": "GET", "url.scheme": "http", "network.protocol.version": "1.1",
            "http.route": HOME, "http.response.status_code": 200,
        }));
        let advised = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
        assert_eq!((home.explicit_bounds.as_slice(), home.count), (&advised[..], 3));
        let spans = stand_in.spans();
        let of_home = spans.iter().filter(|received| received.span.name == format!("GET {HOME}"));
        let nanos: u64 = of_home.map(|one| one.span.end_time_unix_nano - one.span.start_time_unix_nano).sum();
        let sum = std::time::Duration::from_nanos(nanos).as_secs_f64();
        assert!((home.sum.unwrap() - sum).abs() < 1e-9, "{:?} {sum}", home.sum);
        point(&json!({
            "http.request.method": "_OTHER", "url.scheme": "http", "network.protocol.version": "1.1",
            "http.route": HOME, "http.response.status_code": 405,
        }));
        point(&json!({
            "http.request.method": "GET", "url.scheme": "http", "network.protocol.version": "1.1",
            "http.route": "/test/raise", "http.response.status_code": 500,
            "error.type": "core::num::error::ParseIntError",
        }));
    }
}

/// The ledgers' figures in the last export, by backend, outcome and reason.
fn ledgers(stand_in: &Otlp) -> BTreeMap<(String, String, String), i64> {
    let seen = stand_in.seen();
    let metric = seen.metrics.iter().rfind(|metric| metric.name == "cruddur.telemetry.items").unwrap();
    let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    assert!(!sum.is_monotonic, "what is queued goes down again");
    assert_eq!(
        (metric.unit.as_str(), sum.aggregation_temporality()),
        ("{item}", AggregationTemporality::Cumulative)
    );
    let figure = |point: &NumberDataPoint| {
        let mut keys = attributes(&point.attributes);
        let mut key =
            |key: &str| keys.remove(key).map_or_else(String::new, |value| value.as_str().unwrap().to_owned());
        let Some(number_data_point::Value::AsInt(items)) = point.value else { panic!("{point:?}") };
        ((key("backend"), key("outcome"), key("reason")), items)
    };
    sum.data_points.iter().map(figure).collect()
}

#[tokio::test]
async fn metrics_tell_what_became_of_the_telemetry() {
    for temporality in ["cumulative", "delta", "lowmemory"] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [Answer::status(500), Answer::partly(1)]);
        let variables = [
            WITH_METRICS,
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
        ];
        let app = start(&stand_in, &variables).await;
        let mut caller = Caller::connect(app.address).await;
        caller.get(HOME).await;
        stand_in.wait_until("an export of spans", |seen| seen.answered == 1).await;
        caller.get(HOME).await;
        let unsampled = "00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-00";
        caller.ask("GET", HOME, &[("traceparent", unsampled)], "").await;
        let report = stop(app).await;
        stand_in.assert_clean();
        let expected =
            "created 6, delivered 1, sampled out 2, dropped 2 (http_500), dropped 1 (partial_success)";
        assert_eq!(super::spans(&report).to_string(), expected);
        let figures = ledgers(&stand_in);
        let figure = |outcome: &str, reason: &str| {
            figures[&("otlp".to_owned(), outcome.to_owned(), reason.to_owned())]
        };
        assert_eq!([figure("delivered", ""), figure("sampled_out", ""), figure("queued", "")], [1, 2, 0]);
        assert_eq!([figure("dropped", "http_500"), figure("dropped", "partial_success")], [2, 1]);
        assert!(figures.keys().any(|(backend, ..)| backend == "terminal"), "{figures:?}");
    }
}

#[tokio::test]
async fn delta_counts_each_request_in_one_export() {
    let stand_in = Otlp::start();
    let variables = [
        WITH_METRICS,
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ];
    let app = start(&stand_in, &variables).await;
    let mut caller = Caller::connect(app.address).await;
    let counted = |seen: &Seen| by_route(&points(seen)).get(HOME).copied().unwrap_or_default();
    for (requests, total) in [(3, 3), (2, 5)] {
        for _ in 0..requests {
            caller.get(HOME).await;
        }
        stand_in.wait_until("another export", |seen| counted(seen) == total).await;
    }
    stop(app).await;
    assert_eq!(counted(&stand_in.seen()), 5);
    let seen = stand_in.seen();
    let durations = seen.metrics.iter().filter(|metric| metric.name == DURATION);
    assert!(durations.map(histogram).all(|(_, temporality)| temporality == AggregationTemporality::Delta));
    drop(seen);
    stand_in.assert_clean();
}

#[tokio::test]
async fn metrics_are_sent_only_if_wanted() {
    for (variables, metrics, traces) in [
        (vec![("OTEL_METRICS_EXPORTER", "none")], false, true),
        (vec![WITH_METRICS, ("OTEL_TRACES_EXPORTER", "none")], true, false),
        (vec![WITH_METRICS, ("OTEL_SDK_DISABLED", "true")], false, false),
    ] {
        let stand_in = Otlp::start();
        let app = start(&stand_in, &variables).await;
        let reply = Caller::connect(app.address).await.get(HOME).await;
        // The ids are there whatever is exported.
        assert_ne!(reply.trace().0, "0".repeat(32));
        stop(app).await;
        stand_in.assert_clean();
        assert_eq!(!stand_in.requests(Signal::Metrics).is_empty(), metrics, "{variables:?}");
        assert_eq!(!stand_in.requests(Signal::Traces).is_empty(), traces, "{variables:?}");
    }
}

#[tokio::test]
async fn metrics_wait_for_a_receiver_that_fails() {
    let stand_in = Otlp::start();
    stand_in.script(Signal::Metrics, [Answer::status(503), Answer::close(), Answer::status(503)]);
    let app = start(&stand_in, &[WITH_METRICS]).await;
    Caller::connect(app.address).await.get(HOME).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(by_route(&points(&stand_in.seen()))[HOME], 1);
    assert_eq!(report.lost(), 0, "{report}");
}
