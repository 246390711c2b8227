//! Whatever the receiver does, no request waits for it.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{HOME, books, routes, serve, spans, start, stop};
use crate::caller::Caller;
use crate::stand_in::{Answer, Otlp, Signal};

/// More than a test ever takes: whoever waits for it does not finish.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn no_request_waits_for_a_receiver_that_hangs() {
    for (protocol, answer) in [
        ("http/protobuf", Answer::hang()),
        ("http/protobuf", Answer::default().after(FOR_EVER)),
        ("grpc", Answer::hang()),
    ] {
        let stand_in = Otlp::start();
        stand_in.always(Signal::Traces, answer);
        let variables =
            [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_EXPORTER_OTLP_TIMEOUT", "2147483647")];
        let app = start(&stand_in, &variables).await;
        let mut caller = Caller::connect(app.address).await;
        caller.get(HOME).await;
        stand_in.wait_until("an export", |seen| !seen.requests.is_empty()).await;
        for _ in 1..500 {
            assert_eq!(caller.get(HOME).await.status, 200);
        }
        assert_eq!(stand_in.seen().answered, 0);
        let tally = books(&app.telemetry);
        assert_eq!((tally.created, tally.queued), (1000, 1000), "{tally}");

        let telemetry = std::sync::Arc::clone(&app.telemetry);
        app.stop().await;
        let report = telemetry.shut_down(Instant::now()).await;
        stand_in.assert_clean();
        let expected = "created 1000, delivered 0, dropped 1000 (undelivered_at_shutdown)";
        assert_eq!(spans(&report).to_string(), expected, "{protocol}");
        assert_eq!(report.lost(), 1000);
    }
}

#[tokio::test]
async fn what_a_hanging_receiver_takes_in_the_end_is_delivered() {
    let stand_in = Otlp::start();
    stand_in.always(Signal::Traces, Answer::hang());
    let app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for _ in 0..500 {
        assert_eq!(caller.get(HOME).await.status, 200);
    }
    stand_in.release();
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.spans().len(), 1000);
    assert_eq!(spans(&report).to_string(), "created 1000, delivered 1000");
}

#[tokio::test]
async fn no_request_waits_for_a_receiver_that_fails_or_is_absent() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let absent = format!("http://{}", reserved.local_addr().unwrap());
    drop(reserved);
    let stand_in = Otlp::start();
    stand_in.always(Signal::Traces, Answer::status(503).header("retry-after", "86400"));
    for endpoint in [stand_in.endpoint(), absent] {
        let app = serve(routes(), &endpoint, &[]).await;
        let mut caller = Caller::connect(app.address).await;
        for _ in 0..500 {
            assert_eq!(caller.get(HOME).await.status, 200);
        }
        let tally = books(&app.telemetry);
        assert_eq!((tally.created, tally.queued), (1000, 1000), "{tally}");
    }
    // Left alone for a day, as it asked: nothing was sent but what was on its way already.
    assert!(stand_in.requests(Signal::Traces).len() <= 8);
    stand_in.assert_clean();
}

#[tokio::test]
async fn a_full_queue_drops_what_is_new_and_counts_it() {
    let stand_in = Otlp::start();
    stand_in.always(Signal::Traces, Answer::hang());
    let app = start(&stand_in, &[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]).await;
    let mut caller = Caller::connect(app.address).await;
    for _ in 0..50 {
        assert_eq!(caller.get(HOME).await.status, 200);
    }
    let tally = books(&app.telemetry);
    assert_eq!((tally.created, tally.queued, tally.dropped["queue_full"]), (100, 10, 90), "{tally}");
    stand_in.release();
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.spans().len(), 10);
    assert_eq!(spans(&report).to_string(), "created 100, delivered 10, dropped 90 (queue_full)");
}

#[tokio::test]
async fn batches_are_as_large_as_asked_for() {
    let stand_in = Otlp::start();
    let variables = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"), ("OTEL_BSP_SCHEDULE_DELAY", "2147483647")];
    let app = start(&stand_in, &variables).await;
    let mut caller = Caller::connect(app.address).await;
    for _ in 0..5 {
        caller.get(HOME).await;
    }
    stop(app).await;
    stand_in.assert_clean();
    let mut sizes: Vec<_> =
        stand_in.requests(Signal::Traces).iter().map(|request| request.spans.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 4, 4]);
}

#[tokio::test]
async fn an_export_takes_no_longer_than_its_batch_may() {
    let stand_in = Otlp::start();
    stand_in.script(Signal::Traces, [Answer::hang()]);
    // The exporter itself would wait for ever.
    let variables = [("OTEL_BSP_EXPORT_TIMEOUT", "300"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "0")];
    let app = start(&stand_in, &variables).await;
    Caller::connect(app.address).await.get(HOME).await;
    stand_in.wait_for_spans(2).await;
    stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.requests(Signal::Traces).len(), 2);
}
