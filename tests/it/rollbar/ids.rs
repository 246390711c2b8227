//! One failure, the same ids everywhere.

use cruddur::telemetry::observe::conventions::{Described, each_server_attribute};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{item_of, routes, serve, start, stop};
use crate::caller::Caller;
use crate::observed::Observed;
use crate::stand_in::Otlp;
use crate::stand_in::rollbar::Rollbar;
use crate::stand_in::xray::XRay;

#[tokio::test]
async fn the_items_uuid_is_in_the_answer_the_line_the_span_and_the_segment() {
    let (stand_in, collector, daemon) = (Rollbar::start(), Otlp::start(), XRay::start());
    let (endpoint, address) = (collector.endpoint(), daemon.address());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("AWS_XRAY_DAEMON_ADDRESS", &address),
        ("LOG_FORMAT", "json"),
    ];
    let app = serve(routes(), &stand_in, &variables).await;
    let terminal = app.terminal.clone();
    let mut caller = Caller::connect(app.address).await;
    let sampled = [("x-amzn-trace-id", "Sampled=1")];
    let mut answered = Vec::new();
    for path in ["/test/raise", "/test/panic"] {
        let reply = caller.ask("GET", path, &sampled, "").await;
        answered.push((reply.trace().0, reply.json()["error_id"].as_str().unwrap().to_owned()));
    }
    drop(caller);
    stop(app).await;
    stand_in.assert_clean();
    collector.assert_clean();
    let lines: Vec<Value> = terminal.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (trace_id, error_id) in answered {
        let item = item_of(&stand_in.items(), &trace_id);
        assert_eq!(item["uuid"], error_id);
        assert_eq!(Uuid::try_parse(&error_id).unwrap().get_version_num(), 4);
        let line =
            lines.iter().find(|line| line["trace_id"] == trace_id && line.get("status").is_some()).unwrap();
        assert_eq!(line["fields"]["error_id"], error_id, "{line}");
        let spans = collector.spans();
        let span = spans.iter().find(|received| received.trace_id() == trace_id).unwrap();
        assert_eq!(span.attributes()["error_id"], json!(error_id));
        let xray_id = item["custom"]["xray_trace_id"].clone();
        let segment = daemon.wait_for(|state| {
            state.documents.iter().find(|document| document["trace_id"] == xray_id).cloned()
        });
        assert_eq!(segment["annotations"]["error_id"], error_id, "{segment:#}");
    }
}

#[tokio::test]
async fn without_rollbar_there_is_no_id() {
    let mut app = Observed::start(routes(), &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for path in ["/test/raise", "/test/panic"] {
        assert_eq!(caller.get(path).await.json().get("error_id"), None, "{path}");
        assert_eq!(app.record().await.error_id, None);
    }
    drop(caller);
    app.finish().await;
}

#[tokio::test]
async fn only_what_is_reported_has_an_id() {
    let stand_in = Rollbar::start();
    let mut app = start(&stand_in, &[]).await;
    let mut caller = Caller::connect(app.address).await;
    for (path, reported) in
        [("/api/activities/home", false), ("/nowhere", false), ("/rollbar/test", true), ("/test/raise", true)]
    {
        caller.get(path).await;
        let record = app.record().await;
        assert_eq!(record.error_id.is_some(), reported, "{path}");
        let (mut named, id) = (false, record.error_id.map(|id| id.to_string()));
        each_server_attribute(&record, |key: &str, value: Described<'_>| {
            if key == "error_id" {
                assert_eq!(Some(value), id.as_deref().map(Described::Text));
                named = true;
            }
        });
        assert_eq!(named, reported, "{path}");
    }
    drop(caller);
    stop(app).await;
}
