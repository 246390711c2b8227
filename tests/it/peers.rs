//! Others who speak the same languages: for OTLP a real collector, and OpenTelemetry's own protobuf for Python; for
//! X-Ray, CloudWatch and what is deployed there AWS's own clients; for Kubernetes the schemas of its API.
//!
//! They live in virtual environments below the target folder, which the first test that needs one makes.

mod cloudwatch;
pub(crate) mod environment;
mod folder;
mod kubernetes;
mod lines;
pub(crate) mod moto;
mod provision;
pub(crate) mod running;
mod xray;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::{Value, json};

use self::environment::{Environment, OTLP, run};
use self::folder::Folder;
use self::running::Running;
use crate::caller::Caller;
use crate::process::Process;
use crate::stand_in::{Otlp, Seen, Signal, attributes, hex};

const HOME: &str = "/api/activities/home";
const DURATION: &str = "http.server.request.duration";
const REQUESTS: usize = 200;

/// Sends home requests; returns the trace ids of the answers.
async fn load(address: SocketAddr) -> BTreeSet<String> {
    let mut caller = Caller::connect(address).await;
    let mut traces = BTreeSet::new();
    for _ in 0..REQUESTS {
        traces.insert(caller.get(HOME).await.trace().0);
    }
    assert_eq!(traces.len(), REQUESTS);
    traces
}

/// Rotel, a collector.
pub(crate) struct Collector {
    grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _running: Running,
}

impl Collector {
    /// Starts it, to forward everything to `stand_in`.
    pub(crate) fn start(environment: &Environment, stand_in: &Otlp) -> Self {
        // Both at once, so that they differ.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [grpc, http] = ports.each_ref().map(|port| port.local_addr().unwrap());
        drop(ports);
        let mut command = environment.collector();
        command
            .args(["start", "--batch-timeout", "100ms", "--exporter", "otlp"])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .args(["--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", &stand_in.endpoint()]);
        let (running, _) = Running::start(command, "Starting Rotel");
        Self { grpc, http, _running: running }
    }
}

#[tokio::test]
async fn a_real_collector_takes_and_forwards_every_span() {
    let environment = Environment::get(&OTLP);
    for (protocol, compression) in
        [("http/protobuf", "none"), ("http/protobuf", "gzip"), ("grpc", "none"), ("grpc", "gzip")]
    {
        let stand_in = Otlp::start();
        let collector = Collector::start(&environment, &stand_in);
        let receiver = if protocol == "grpc" { collector.grpc } else { collector.http };
        let process = Process::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{receiver}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_SERVICE_NAME", "seen-by-rotel"),
        ]);
        let traces = load(process.address).await;
        let ended = process.terminate();
        assert_eq!(ended.code, Some(0), "{protocol} {compression}: {ended:?}");
        stand_in.wait_for_spans(2 * REQUESTS).await;
        let forwarded = |seen: &Seen| seen.metrics.iter().any(|metric| metric.name == DURATION);
        stand_in.wait_until("the metrics", forwarded).await;
        drop(collector);
        stand_in.assert_clean();
        let spans = stand_in.spans();
        assert_eq!(spans.len(), 2 * REQUESTS, "{protocol} {compression}");
        let ids: BTreeSet<_> = spans.iter().map(|received| received.trace_id()).collect();
        assert_eq!(ids, traces, "{protocol} {compression}");
        let (home, inner) = ("GET /api/activities/home", "home-activities-mock-data");
        let names: BTreeSet<_> = spans.iter().map(|received| received.span.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from([home, inner]));
        for received in &spans {
            let resource = attributes(&received.resource.attributes);
            assert_eq!(resource["service.name"], "seen-by-rotel");
        }
    }
}

#[tokio::test]
async fn opentelemetrys_own_protobuf_reads_the_same() {
    let environment = Environment::get(&OTLP);
    let stand_in = Otlp::start();
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &stand_in.endpoint())]);
    let mut caller = Caller::connect(process.address).await;
    for path in [HOME, "/test/raise?chain=1", "/rollbar/test", "/nowhere"] {
        caller.get(path).await;
    }
    assert_eq!(process.terminate().code, Some(0));
    stand_in.assert_clean();

    let folder = Folder::new();
    let mut python = environment.python();
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/decode.py"));
    let mut expected = Vec::new();
    for (number, arrived) in stand_in.seen().requests.iter().enumerate() {
        let path = folder.0.join(number.to_string());
        fs::write(&path, &arrived.message).unwrap();
        let signal = if arrived.signal == Signal::Traces { "traces" } else { "metrics" };
        python.arg(format!("{signal}:{}", path.display()));
        expected.extend(arrived.spans.iter().map(|received| {
            let span = &received.span;
            let (trace, own, parent) = (hex(&span.trace_id), hex(&span.span_id), hex(&span.parent_span_id));
            let times = (span.start_time_unix_nano, span.end_time_unix_nano);
            let lengths = (span.attributes.len(), span.events.len());
            json!([
                trace, own, parent, span.name, span.kind, span.flags, times.0, times.1, lengths.0, lengths.1
            ])
        }));
        expected.extend(arrived.metrics.iter().map(|metric| {
            let data = if metric.name == DURATION { "histogram" } else { "sum" };
            json!([metric.name, metric.unit, data])
        }));
    }
    let read = run("Python cannot read what was sent", &mut python);
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, expected);
    assert_eq!(read.len(), 5 + 2, "five spans and two metrics");
}
