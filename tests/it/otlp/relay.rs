//! What browsers send, and what becomes of it.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use super::{HOME, start, stop};
use crate::caller::{Caller, Reply};
use crate::harness::FRONTEND;
use crate::observed::Observed;
use crate::stand_in::{Answer, Otlp, Signal, attributes, hex};

const PATH: &str = "/v1/traces";
const ON: (&str, &str) = ("OTLP_RELAY", "on");
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const TRACE: &str = "4efaaf4d1e8720b39541901950019ee5";

/// A batch as OpenTelemetry's JavaScript writes it, with one span.
pub(crate) fn batch(span_id: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    json!({"resourceSpans": [{
        "resource": {
            "attributes": [{"key": "service.name", "value": {"stringValue": "frontend"}}],
            "droppedAttributesCount": 0
        },
        "scopeSpans": [{
            "scope": {"name": "@opentelemetry/instrumentation-fetch", "version": "0.200.0"},
            "spans": [{
                "traceId": TRACE,
                "spanId": format!("{span_id:016x}"),
                "name": "HTTP GET",
                "kind": 3,
                "startTimeUnixNano": now.to_string(),
                "endTimeUnixNano": (now + 1_000_000).to_string(),
                "attributes": [
                    {"key": "http.response.status_code", "value": {"intValue": 200}},
                    {"key": "http.url", "value": {"stringValue": "http://localhost:4567/api/activities/home"}},
                    {"key": "ratio", "value": {"doubleValue": 0.5}},
                    {"key": "tags", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}}
                ],
                "droppedAttributesCount": 0,
                "events": [{
                    "name": "fetchStart", "timeUnixNano": now.to_string(),
                    "attributes": [], "droppedAttributesCount": 0
                }],
                "droppedEventsCount": 0,
                "status": {"code": 0},
                "links": [],
                "droppedLinksCount": 0,
                "flags": 0x101,
                "somethingOfTomorrow": {"x": 1}
            }]
        }]
    }]})
}

fn protobuf(batch: Value) -> Vec<u8> {
    serde_json::from_value::<ExportTraceServiceRequest>(batch).unwrap().encode_to_vec()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

async fn post(app: &Observed, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    Caller::connect(app.address).await.ask("POST", PATH, headers, body).await
}

#[tokio::test]
async fn what_a_browser_sends_is_forwarded_as_it_came() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[ON, ("OTEL_EXPORTER_OTLP_HEADERS", "x-honeycomb-team=key")]).await;
    let json = |id| batch(id).to_string().into_bytes();
    let bodies = [
        (vec![JSON], json(1)),
        (vec![PROTOBUF], protobuf(batch(2))),
        (vec![JSON, GZIP], gzip(&json(3))),
        (vec![PROTOBUF, GZIP], gzip(&protobuf(batch(4)))),
        (vec![("content-type", "Application/JSON; charset=utf-8")], json(5)),
    ];
    for (headers, body) in bodies {
        let answer = post(&app, &headers, body).await;
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
        let of_json = headers[0].1.to_ascii_lowercase().contains("json");
        let expected = if of_json { ("application/json", "{}") } else { ("application/x-protobuf", "") };
        let said = answer.headers["content-type"].to_str().unwrap();
        assert_eq!((said, &answer.body[..]), (expected.0, expected.1.as_bytes()), "{headers:?}");
    }
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(report.0["otlp_relay"].to_string(), "created 5, delivered 5");
    let spans = stand_in.spans();
    let mut ids: Vec<_> = spans.iter().map(|received| hex(&received.span.span_id)).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "2", "3", "4", "5"].map(|id| format!("{id:0>16}")));
    for received in &spans {
        assert_eq!((received.trace_id().as_str(), received.span.name.as_str()), (TRACE, "HTTP GET"));
        assert_eq!(attributes(&received.resource.attributes)["service.name"], "frontend");
        assert_eq!(received.attributes()["http.response.status_code"], 200);
        assert_eq!(received.attributes()["tags"], json!(["a"]));
        assert_eq!(received.span.events[0].name, "fetchStart");
    }
    assert!(stand_in.requests(Signal::Traces).iter().all(|sent| sent.headers["x-honeycomb-team"] == "key"));
}

#[tokio::test]
async fn the_relay_itself_is_not_observed() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[ON, ("OTEL_TRACES_EXPORTER", "otlp,console")]).await;
    let terminal = app.terminal.clone();
    assert_eq!(post(&app, &[JSON], batch(1).to_string().into()).await.status, 200);
    app.get(HOME).await;
    let report = stop(app).await;
    stand_in.assert_clean();
    let names: std::collections::BTreeSet<_> =
        stand_in.spans().into_iter().map(|one| one.span.name).collect();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["GET /api/activities/home", "HTTP GET", "home-activities-mock-data"]
    );
    assert_eq!(report.0["otlp"].to_string(), "created 2, delivered 2");
    let terminal = terminal.text();
    assert!(terminal.contains(HOME) && !terminal.contains(PATH), "{terminal}");
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[ON]).await;
    let large = vec![0; 1024 * 1024 + 1];
    let many = json!({"resourceSpans": [{"scopeSpans": [{"spans": vec![json!({}); 5000]}]}]});
    let many = many.to_string().into_bytes();
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1024 * 1024);
    for (headers, body, status, error) in [
        (vec![], batch(1).to_string().into(), 415, "unsupported_media_type"),
        (vec![("content-type", "text/plain")], vec![], 415, "unsupported_media_type"),
        (vec![JSON, ("content-encoding", "br")], vec![], 415, "unsupported_media_type"),
        (vec![JSON], b"{\"resourceSpans\": 7}".to_vec(), 400, "bad_request"),
        (vec![JSON], b"{".to_vec(), 400, "bad_request"),
        (vec![JSON], vec![], 400, "bad_request"),
        (vec![PROTOBUF], b"junk".to_vec(), 400, "bad_request"),
        (vec![PROTOBUF, GZIP], b"junk".to_vec(), 400, "bad_request"),
        (vec![JSON, GZIP], gzip(b"junk"), 400, "bad_request"),
        (vec![PROTOBUF], large, 413, "payload_too_large"),
        (vec![JSON], many, 413, "payload_too_large"),
        (vec![PROTOBUF, GZIP], bomb, 413, "payload_too_large"),
    ] {
        let answer = post(&app, &headers, body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &json!(error)), "{headers:?}");
    }
    let mut caller = Caller::connect(app.address).await;
    assert_eq!(caller.get(PATH).await.status, 405);
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(report.0["otlp_relay"].created, 0);
    assert!(stand_in.requests(Signal::Traces).is_empty());
}

#[tokio::test]
async fn a_batch_larger_than_the_apis_bodies_is_taken() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[ON]).await;
    let mut large = batch(1);
    large["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"key": "text", "value": {"stringValue": "x".repeat(900_000)}}));
    assert_eq!(post(&app, &[JSON], large.to_string().into()).await.status, 200);
    stop(app).await;
    stand_in.assert_clean();
    assert_eq!(stand_in.span("HTTP GET").attributes()["text"].as_str().unwrap().len(), 900_000);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send() {
    let stand_in = Otlp::start();
    let app = start(&stand_in, &[ON]).await;
    let mut caller = Caller::connect(app.address).await;
    for (origin, granted) in [(FRONTEND, true), ("https://evil.example", false)] {
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = caller.ask("OPTIONS", PATH, &preflight, "").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        let allowed = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(allowed("access-control-allow-origin").as_deref(), granted.then_some(origin));
        let methods = allowed("access-control-allow-methods").is_some_and(|all| all.contains("POST"));
        let headers = allowed("access-control-allow-headers").is_some_and(|all| all.contains("content-type"));
        assert_eq!((methods, headers), (granted, granted), "{answer:?}");
        let answer = caller.ask("POST", PATH, &[JSON, ("origin", origin)], batch(1).to_string()).await;
        let allowed = answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, granted.then_some(origin));
    }
}

#[tokio::test]
async fn there_is_no_relay_unless_it_is_asked_for() {
    let stand_in = Otlp::start();
    let nowhere = [ON, ("OTEL_EXPORTER_OTLP_ENDPOINT", "")];
    for variables in [&[][..], &[("OTLP_RELAY", "off")], &nowhere] {
        let app = start(&stand_in, variables).await;
        assert_eq!(post(&app, &[JSON], batch(1).to_string().into()).await.status, 404, "{variables:?}");
        stop(app).await;
    }
}

#[tokio::test]
async fn what_is_relayed_waits_for_a_receiver_that_fails() {
    let stand_in = Otlp::start();
    stand_in.script(Signal::Traces, [Answer::status(503), Answer::close()]);
    let app = start(&stand_in, &[ON]).await;
    assert_eq!(post(&app, &[JSON], batch(1).to_string().into()).await.status, 200);
    let report = stop(app).await;
    stand_in.assert_clean();
    assert_eq!(report.0["otlp_relay"].to_string(), "created 1, delivered 1");
}
