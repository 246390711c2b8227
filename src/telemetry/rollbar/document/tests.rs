use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::config::{Config, Environment};
use crate::telemetry::observe::{EventId, LogEvent, RequestFacts};

#[path = "../../../../tests/it/stand_in/rollbar/item.rs"]
mod item;

const START: u64 = 1_800_000_000;

fn constants() -> Constants {
    let environment = Environment::from_iter([
        ("ROLLBAR_LINK_HONEYCOMB", "https://h/t?trace_id={trace_id}&span={span_id}&a={start}&b={end}"),
        ("ROLLBAR_LINK_XRAY", "https://x/#t/{xray_trace_id}"),
        ("CODE_VERSION", "5eed"),
    ]);
    let config = Config::load(&environment).unwrap().config;
    Constants {
        service: "cruddur".to_owned(),
        environment: config.rollbar.environment,
        code_version: config.rollbar.code_version,
        host: None,
        links: config.rollbar.links,
        scrubber: Scrubber::new("our-own-token".into()),
    }
}

fn record() -> RequestRecord {
    record_of("/a/c".to_owned(), None)
}

fn record_of(path: String, query: Option<String>) -> RequestRecord {
    let request = RequestFacts {
        route: Some("/a/{b}".to_owned()),
        query,
        server_address: Some("localhost".to_owned()),
        server_port: Some(4567),
        client_address: Some("203.0.113.9".parse::<IpAddr>().unwrap().into()),
        headers: [(HeaderName::from_static("x-request-id"), "r-1")].into_iter().collect(),
        path,
        ..RequestFacts::get("/")
    };
    RequestRecord::served(request, UNIX_EPOCH + Duration::from_secs(START))
}

fn event(message: &str, fields: Vec<KeyValue>) -> Arc<LogEvent> {
    Arc::new(LogEvent {
        time: UNIX_EPOCH + Duration::from_secs(START),
        level: tracing::Level::ERROR,
        target: "here",
        message: message.to_owned(),
        fields,
        event_id: EventId::next(),
        span: None,
        on_console: true,
        in_tracing_span: false,
        report: true,
    })
}

fn drawn(record: Option<RequestRecord>, kind: Kind, untold: &Untold) -> Value {
    let at = UNIX_EPOCH + Duration::from_secs(START);
    let failure = Failure { id: Uuid::from_u128(7), at, record: record.map(Arc::new), kind };
    let finding = Finding::of(&failure);
    let text = constants().item(&failure, &finding, &fingerprint(&finding, &failure), untold);
    let item: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(item::faults(&item), Vec::<String>::new(), "{item:#}");
    item["data"].clone()
}

#[test]
fn an_item_leads_to_the_other_places() {
    let data = drawn(Some(record()), Kind::Request, &Untold::default());
    assert_eq!(
        data["custom"]["links"],
        json!({
            "honeycomb": format!(
                "https://h/t?trace_id=6b00df63c7e34edc0ab2079049971888&span=000000000000abcd&a={START}&b={}",
                START + 1
            ),
            "xray": "https://x/#t/1-6b00df63-c7e34edc0ab2079049971888",
        })
    );
    assert_eq!(data["custom"]["request_id"], "r-1");
    assert_eq!(data["custom"]["xray_trace_id"], "1-6b00df63-c7e34edc0ab2079049971888");
    assert_eq!(
        data["attributes"][0],
        json!({"key": "trace_id", "value": "6b00df63c7e34edc0ab2079049971888"})
    );
    assert_eq!(data["attributes"][1], json!({"key": "span_id", "value": "000000000000abcd"}));
    assert_eq!(data["context"], "GET /a/{b}");
    assert_eq!(data["request"]["user_ip"], "203.0.113.0");
    assert_eq!(data["uuid"], Uuid::from_u128(7).to_string());
}

#[test]
fn an_item_says_how_many_before_it_were_suppressed() {
    let untold = Untold { count: 40, ids: vec![Uuid::from_u128(1), Uuid::from_u128(2)] };
    let data = drawn(None, Kind::Event(event("again", Vec::new())), &untold);
    assert_eq!(data["custom"]["suppressed_since_last"], 40);
    let ids = [1, 2].map(|id| Uuid::from_u128(id).to_string());
    assert_eq!(data["custom"]["suppressed_ids"], json!(ids));
}

#[test]
fn calls_and_events_are_told_in_their_order_without_their_secrets() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(START + seconds);
    let call = SpanData {
        span_context: SpanContext::empty_context(),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: "GET".into(),
        start_time: at(0),
        end_time: at(2),
        attributes: vec![
            KeyValue::new("http.request.method", "GET"),
            KeyValue::new("url.full", "https://u:hunter2@mail/?token=hunter2"),
            KeyValue::new("http.response.status_code", 503),
        ],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::error("503"),
        instrumentation_scope: InstrumentationScope::default(),
    };
    let mut record = record();
    let mut later = LogEvent::clone(&event("after it", Vec::new()));
    later.time = at(3);
    record.events = vec![Arc::new(later), event("before it", vec![KeyValue::new("password", "hunter2")])];
    record.spans = vec![Box::new(call)];
    let data = drawn(Some(record), Kind::Request, &Untold::default());
    let millis = |seconds: u64| (START + seconds) * 1000;
    assert_eq!(
        data["body"]["telemetry"],
        json!([
            {"level": "error", "type": "log", "source": "server", "timestamp_ms": millis(0),
                "body": {"message": "before it", "password": "REDACTED"}},
            {"level": "error", "type": "network", "source": "server", "timestamp_ms": millis(2), "body": {
                "subtype": "http", "method": "GET", "url": "https://REDACTED@mail/?token=REDACTED",
                "status_code": 503, "start_timestamp_ms": millis(0), "end_timestamp_ms": millis(2)}},
            {"level": "error", "type": "log", "source": "server", "timestamp_ms": millis(3),
                "body": {"message": "after it"}},
        ])
    );
}

#[test]
fn the_user_is_the_person() {
    let mut known = record();
    known.user = Some("u".repeat(300));
    let data = drawn(Some(known), Kind::Request, &Untold::default());
    assert_eq!(data["person"], json!({"id": "u".repeat(40), "username": "u".repeat(255)}));
}

#[test]
fn files_of_others_are_named_without_where_they_are_kept() {
    for (file, shown) in [
        ("src/api/mod.rs", "src/api/mod.rs"),
        (
            "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.48.0/src/lib.rs",
            "tokio-1.48.0/src/lib.rs",
        ),
        (
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ops.rs",
            "library/core/src/ops.rs",
        ),
    ] {
        assert_eq!(short(file), shown);
    }
    let frame = frame_of_location("src/a.rs:5:9");
    assert_eq!(frame, json!({"filename": "src/a.rs", "lineno": 5, "colno": 9}));
}

#[test]
fn what_the_delivery_says_of_itself_is_a_warning() {
    let data = drawn(None, Kind::Notice("Rollbar took no items".to_owned()), &Untold::default());
    assert_eq!(
        (&data["level"], &data["body"]["message"]["body"]),
        (&json!("warning"), &json!("Rollbar took no items"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn every_item_is_valid_and_not_too_large(
        message in "(?s).{0,300}",
        path in "/[ -~]{0,60}",
        query in proptest::option::of("[ -~]{0,80}"),
        user in proptest::option::of("\\PC{1,60}"),
        fields in prop::collection::vec(("\\PC{1,20}", "(?s).{0,100}"), 0..8),
        repeat in 1..60_usize,
    ) {
        let fields: Vec<_> = fields.into_iter().map(|(key, value)| KeyValue::new(key, value.repeat(repeat))).collect();
        let mut record = record_of(path, query);
        record.user = user;
        record.attributes = fields.clone();
        record.events = (0..8).map(|_| event(&message.repeat(repeat), fields.clone())).collect();
        let data = drawn(Some(record), Kind::Request, &Untold::default());
        prop_assert!(data.to_string().len() <= 512 << 10);
    }
}

#[test]
fn a_title_is_the_first_line_that_says_something() {
    for (message, title) in [("\n \nhere\nthere", "here"), ("\n", "error")] {
        let kind = Kind::Event(event(message, Vec::new()));
        assert_eq!(drawn(None, kind, &Untold::default())["title"], title);
    }
}
