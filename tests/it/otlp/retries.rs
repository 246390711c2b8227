//! What becomes of spans that the receiver does not take at once.

use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpListener;

use super::{HOME, books, health_until, routes, serve, spans, start, stop};
use crate::caller::Caller;
use crate::observed::Observed;
use crate::stand_in::{Answer, Otlp, Signal};

/// Nothing is sent before the end, and then all at once.
const TOGETHER: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "2147483647");

async fn ask(app: &Observed, paths: &[&str]) {
    let mut caller = Caller::connect(app.address).await;
    for path in paths {
        assert_ne!(caller.get(path).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_receiver_that_is_overwhelmed_gets_everything_once() {
    for status in [429, 502, 503, 504] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [Answer::status(status), Answer::status(status)]);
        let app = start(&stand_in, &[]).await;
        ask(&app, &[HOME]).await;
        stand_in.wait_for_spans(2).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(stand_in.requests(Signal::Traces).len(), 3, "{status}");
        assert_eq!((spans(&report).delivered, spans(&report).lost()), (2, 0), "{status}");
    }
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    for status in [429, 503] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [Answer::status(status).header("retry-after", "1")]);
        let app = start(&stand_in, &[]).await;
        ask(&app, &[HOME]).await;
        stand_in.wait_for_spans(2).await;
        stop(app).await;
        stand_in.assert_clean();
        let [first, second] = &stand_in.requests(Signal::Traces)[..] else { panic!("two requests") };
        assert!(second.at - first.at >= Duration::from_secs(1), "{:?}", second.at - first.at);
        assert_eq!(first.message, second.message);
    }
}

#[tokio::test]
async fn a_batch_that_is_called_bad_is_not_sent_again() {
    let stand_in = Otlp::start();
    stand_in.script(Signal::Traces, [Answer::status(400).body("bad")]);
    let app = start(&stand_in, &[TOGETHER]).await;
    ask(&app, &[HOME; 5]).await;
    let health = app.telemetry.clone();
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.requests(Signal::Traces).len(), 1);
    assert_eq!(spans(&report).to_string(), "created 10, delivered 0, dropped 10 (http_400)");
    let state = &health.health()["otlp"].state;
    assert!(state.contains("items were lost") && state.contains("(http_400)"), "{state}");
}

#[tokio::test]
async fn what_is_too_much_at_once_is_taken_in_parts() {
    let stand_in = Otlp::start();
    stand_in.always(Signal::Traces, Answer::status_if(413, |arrived| arrived.spans.len() > 4));
    let app = start(&stand_in, &[TOGETHER]).await;
    ask(&app, &[HOME; 9]).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.spans().len(), 18);
    assert_eq!((spans(&report).delivered, spans(&report).lost()), (18, 0));
}

#[tokio::test]
async fn a_receivers_own_failure_is_final_and_told_once() {
    let stand_in = Otlp::start();
    stand_in.script(Signal::Traces, [Answer::status(500).body("boom"), Answer::status(500)]);
    let app = start(&stand_in, &[]).await;
    let terminal = app.terminal.clone();
    for requests in 1..=3 {
        ask(&app, &[HOME]).await;
        stand_in.wait_until("an answer", |seen| seen.answered == requests).await;
    }
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(spans(&report).to_string(), "created 6, delivered 2, dropped 4 (http_500)");
    assert_eq!(report.lost(), 4);
    let terminal = terminal.text();
    assert_eq!(terminal.matches("items are lost").count(), 1, "{terminal}");
    assert!(terminal.contains("2 items are lost (http_500): 500 Internal Server Error (it said: boom)"));
}

#[tokio::test]
async fn refused_credentials_keep_the_spans_and_name_the_variable() {
    for (answer, protocol) in [
        (Answer::status(401).body("unknown API key"), "http/protobuf"),
        (Answer::status(403).body("unknown API key"), "http/json"),
        (Answer::grpc(16, "unknown API key"), "grpc"),
    ] {
        let stand_in = Otlp::start();
        stand_in.always(Signal::Traces, answer);
        let app = start(&stand_in, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).await;
        ask(&app, &[HOME]).await;
        let state = health_until(&app, "otlp", |otlp| {
            otlp["state"].as_str().is_some_and(|state| state.starts_with("not delivering"))
        });
        let state = state.await;
        for part in [&stand_in.endpoint(), "OTEL_EXPORTER_OTLP_HEADERS", "unknown API key", "next try in"] {
            assert!(state.contains(part), "{part}: {state}");
        }
        ask(&app, &[HOME]).await;
        assert_eq!((books(&app.telemetry).queued, books(&app.telemetry).lost()), (4, 0));
        let terminal = app.terminal.clone();
        let report = stop(app).await;
        stand_in.assert_clean();
        // The next look at it is due in a minute. Who is told to stop looks once more, and waits no longer.
        assert_eq!(stand_in.requests(Signal::Traces).len(), 2);
        assert_eq!(spans(&report).to_string(), "created 4, delivered 0, dropped 4 (undelivered_at_shutdown)");
        let terminal = terminal.text();
        assert_eq!(terminal.matches("OTEL_EXPORTER_OTLP_HEADERS").count(), 1, "{terminal}");
    }
}

#[tokio::test]
async fn what_a_receiver_takes_only_partly_is_counted_on_every_wire() {
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [Answer::partly(1)]);
        let app = start(&stand_in, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).await;
        ask(&app, &[HOME]).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        let expected = "created 2, delivered 1, dropped 1 (partial_success)";
        assert_eq!(spans(&report).to_string(), expected, "{protocol}");
    }
}

#[tokio::test]
async fn spans_wait_for_a_receiver_that_is_not_there_yet() {
    for protocol in ["http/protobuf", "grpc"] {
        let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = reserved.local_addr().unwrap();
        drop(reserved);
        let endpoint = format!("http://{address}");
        let app = serve(routes(), &endpoint, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]).await;
        ask(&app, &[HOME]).await;
        let refused =
            |otlp: &serde_json::Value| otlp["state"].as_str().unwrap().contains("onnection refused");
        health_until(&app, "otlp", refused).await;
        let stand_in = Otlp::start_at(address);
        stand_in.wait_for_spans(2).await;
        let delivering = format!("delivering to http://{address}");
        health_until(&app, "otlp", |otlp| otlp["state"].as_str().unwrap().starts_with(&delivering)).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(spans(&report).to_string(), "created 2, delivered 2", "{protocol}");
    }
}

#[tokio::test]
async fn an_export_that_is_cut_off_or_takes_too_long_is_sent_again() {
    for (protocol, answer) in [
        ("http/protobuf", Answer::close()),
        ("http/protobuf", Answer::hang()),
        ("grpc", Answer::close()),
        ("grpc", Answer::hang()),
    ] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [answer.clone()]);
        let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
        let app = start(&stand_in, &variables).await;
        ask(&app, &[HOME]).await;
        stand_in.wait_for_spans(2).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(spans(&report).to_string(), "created 2, delivered 2", "{protocol} {answer:?}");
    }
}

#[tokio::test]
async fn grpc_statuses_have_their_consequences() {
    for (code, expected) in [
        (14, "created 4, delivered 4"),
        (8, "created 4, delivered 4"),
        (3, "created 4, delivered 0, dropped 4 (grpc_refused)"),
        (13, "created 4, delivered 0, dropped 4 (grpc_refused)"),
    ] {
        let stand_in = Otlp::start();
        stand_in.script(Signal::Traces, [Answer::grpc(code, "no")]);
        let app = start(&stand_in, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), TOGETHER]).await;
        ask(&app, &[HOME, HOME]).await;
        let report = stop(app).await;
        stand_in.assert_clean();
        assert_eq!(spans(&report).to_string(), expected, "{code}");
    }
}
