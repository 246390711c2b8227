//! The binary at full load, and how it ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::caller::Caller;
use crate::process::Process;
use crate::stand_in::{Answer, Otlp, Signal};

const HOME: &str = "/api/activities/home";
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 10_000;

/// Sends home requests as fast as they are answered; returns the trace ids of the answers.
async fn load(address: SocketAddr, requests: usize) -> BTreeSet<String> {
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        callers.spawn(async move {
            let mut caller = Caller::connect(address).await;
            let mut traces = Vec::new();
            for _ in 0..requests / CONNECTIONS {
                let reply = caller.get(HOME).await;
                assert_eq!(reply.status, 200);
                traces.push(reply.trace().0);
            }
            traces
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_span_of_ten_thousand_requests_arrives_once() {
    let slow = Answer::default().after(Duration::from_millis(50));
    for (answer, protocol) in
        [(Answer::default(), "http/protobuf"), (slow, "http/protobuf"), (Answer::default(), "grpc")]
    {
        let stand_in = Otlp::start();
        stand_in.always(Signal::Traces, answer);
        let process = Process::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &stand_in.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ]);
        let traces = load(process.address, REQUESTS).await;
        assert_eq!(traces.len(), REQUESTS);
        let ended = process.terminate();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        // By span id, which the stand-in takes once only.
        stand_in.assert_clean();
        let spans = stand_in.spans();
        assert_eq!(spans.len(), 2 * REQUESTS, "{}", ended.err);
        let (servers, inner): (Vec<_>, Vec<_>) =
            spans.iter().partition(|received| received.span.parent_span_id.is_empty());
        let ids = |spans: &[&crate::stand_in::Received]| {
            spans.iter().map(|received| received.trace_id()).collect::<BTreeSet<_>>()
        };
        assert_eq!(ids(&servers), traces);
        assert_eq!(ids(&inner), traces);
        let parents: BTreeSet<_> = inner.iter().map(|received| &received.span.parent_span_id).collect();
        assert_eq!(parents, servers.iter().map(|received| &received.span.span_id).collect());
        let account = format!("  otlp: created {0}, delivered {0}\n", 2 * REQUESTS);
        assert!(ended.err.contains(&account), "{}", ended.err);
    }
}

#[tokio::test]
async fn what_a_receiver_does_not_take_by_the_end_is_reported_by_the_exit_code() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let absent = format!("http://{}", reserved.local_addr().unwrap());
    drop(reserved);
    let hanging = Otlp::start();
    hanging.always(Signal::Traces, Answer::hang());
    for protocol in ["http/protobuf", "grpc"] {
        for endpoint in [absent.clone(), hanging.endpoint()] {
            let process = Process::start(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("SHUTDOWN_GRACE", "1s"),
            ]);
            load(process.address, 80).await;
            let ended = process.terminate();
            assert_eq!(ended.code, Some(3), "{ended:?}");
            let account = "  otlp: created 160, delivered 0, dropped 160 (undelivered_at_shutdown)\n";
            assert!(ended.err.contains(account), "{}", ended.err);
            assert_eq!(ended.out.contains("onnection refused"), endpoint == absent, "{}", ended.out);
            // Killed at the end of the grace, it would not have said anything.
            assert!(ended.err.starts_with("stopped: every request was finished\n"), "{}", ended.err);
        }
    }
}

#[tokio::test]
async fn what_nobody_wanted_is_no_loss() {
    let stand_in = Otlp::start();
    let process = Process::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &stand_in.endpoint()),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ]);
    load(process.address, 80).await;
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("  otlp: created 160, delivered 0, sampled out 160\n"), "{}", ended.err);
    stand_in.assert_clean();
    assert!(stand_in.spans().is_empty());
}

#[tokio::test]
async fn the_systems_authorities_are_believed_unless_others_are_named() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (of_ours, of_other) = (ours.certificate(), other.certificate());
    for protocol in ["http/protobuf", "grpc"] {
        for (named, delivered) in [("", true), (of_ours.as_str(), true), (of_other.as_str(), false)] {
            let stand_in = Otlp::start_tls(ours.server(false));
            let process = Process::start(&[
                // What OpenSSL and rustls take for the system's.
                ("SSL_CERT_FILE", &of_ours),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", named),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &stand_in.endpoint()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("SHUTDOWN_GRACE", if delivered { "30s" } else { "1s" }),
            ]);
            load(process.address, 8).await;
            let ended = process.terminate();
            assert_eq!(ended.code, Some(if delivered { 0 } else { 3 }), "{protocol} {named:?}: {ended:?}");
            stand_in.assert_clean();
            assert_eq!(stand_in.spans().len(), if delivered { 16 } else { 0 }, "{protocol} {named:?}");
        }
    }
}
