use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};
use proptest::prelude::*;

use super::*;
use crate::telemetry::observe::{EventId, Outcome, RequestFacts, Stage};

const JSON: Form = Form { format: LineFormat::Json, metrics: None };
const CLASSIC: Form = Form { format: LineFormat::Classic, metrics: None };

fn facts() -> RequestFacts {
    RequestFacts {
        client_address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST).into()),
        ..RequestFacts::get("/api/activities/home")
    }
}

/// 2026-11-20 23:55:07.123.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_218_907_123)
}

fn record(request: RequestFacts) -> RequestRecord {
    let mut record = RequestRecord::served(request, moment());
    record.duration = Duration::ZERO;
    record
}

fn event(message: &str) -> LogEvent {
    LogEvent {
        time: moment(),
        level: Level::INFO,
        target: "cruddur::activities",
        message: message.to_owned(),
        fields: Vec::new(),
        event_id: EventId::next(),
        span: None,
        in_tracing_span: false,
        on_console: true,
        report: false,
    }
}

fn of(record: RequestRecord, form: &Form) -> Line {
    drawn(Item::Request(Arc::new(record)), form)
}

fn on_pad(item: Item, form: &Form) -> Item {
    draw(item, form)
}

fn drawn(item: Item, form: &Form) -> Line {
    on_pad(item, form).line().unwrap().clone()
}

fn of_event(event: LogEvent, form: &Form) -> Line {
    drawn(Item::Event(Arc::new(event)), form)
}

#[test]
fn the_classic_line_is_the_first_editions() {
    let classic = |change: fn(&mut RequestFacts), status: Option<u16>| {
        let mut request = facts();
        change(&mut request);
        let mut record = record(request);
        record.status = status.map(|status| StatusCode::from_u16(status).unwrap());
        if status.is_none() {
            record.outcome = Outcome::Cancelled(Stage::Head);
        }
        of(record, &CLASSIC).message()
    };
    assert_eq!(
        classic(|_| {}, Some(200)),
        "[2026-Nov-20 23:55] 127.0.0.1 GET http /api/activities/home 200 OK"
    );
    assert_eq!(
        classic(|request| request.query = Some("a=1&token=REDACTED".to_owned()), Some(404)),
        "[2026-Nov-20 23:55] 127.0.0.1 GET http /api/activities/home?a=1&token=REDACTED 404 Not Found"
    );
    assert_eq!(
        classic(|request| request.query = Some(String::new()), Some(299)),
        "[2026-Nov-20 23:55] 127.0.0.1 GET http /api/activities/home 299"
    );
    assert_eq!(
        classic(|request| request.client_address = None, None),
        "[2026-Nov-20 23:55] - GET http /api/activities/home - cancelled"
    );
}

#[test]
fn a_classic_event_is_its_message_with_what_came_along() {
    let mut own = event("HomeActivities");
    assert_eq!(of_event(own.clone(), &CLASSIC).message(), "HomeActivities");
    own.fields = vec![KeyValue::new("count", 3)];
    own.span = Some((TraceId::from(1), SpanId::from(2)));
    assert_eq!(
        of_event(own, &CLASSIC).message(),
        "HomeActivities count=3 trace_id=00000000000000000000000000000001 span_id=0000000000000002"
    );
    assert_eq!(of_event(event(""), &CLASSIC).message(), "cruddur::activities", "no event may be empty");
    assert_eq!(of_event(event("two\nlines"), &CLASSIC).message(), "two\\nlines");
}

#[test]
fn a_line_has_the_time_of_its_end_in_milliseconds() {
    let mut record = record(facts());
    record.duration = Duration::from_millis(77);
    assert_eq!(of(record, &JSON).timestamp, 1_795_218_907_200);
}

#[test]
fn lines_are_in_the_order_of_their_times_and_of_their_ids_within_one() {
    let at = |millis: u64, event_id: EventId, message: &str| {
        let mut event = event(message);
        event.time = moment() + Duration::from_millis(millis);
        event.event_id = event_id;
        on_pad(Item::Event(Arc::new(event)), &CLASSIC)
    };
    let [first, second, third] = [(); 3].map(|()| EventId::next());
    let items = [at(5, third, "d"), at(1, second, "a"), at(5, first, "c"), at(2, first, "b")];
    let messages = |items: &[Item]| lines(items).into_iter().map(Line::message).collect::<Vec<_>>();
    assert_eq!(messages(&items), ["a", "b", "c", "d"]);
    // What has been on disk stays in the order that it was written in.
    let read: Vec<_> = items
        .iter()
        .rev()
        .filter_map(|item| {
            let mut written = Vec::new();
            encode(item, &mut written);
            decode(&written)
        })
        .collect();
    assert_eq!(messages(&read), ["a", "b", "c", "d"]);
    let read: Vec<_> = read.into_iter().rev().collect();
    assert_eq!(messages(&read), ["a", "b", "d", "c"]);
}

#[test]
fn an_access_line_can_be_a_metric_by_route() {
    let metrics = Metrics {
        namespace: "Cruddur".to_owned(),
        service: "backend".to_owned(),
        environment: "test".to_owned(),
    };
    let form = Form { format: LineFormat::Json, metrics: Some(metrics) };
    let mut failed = record(facts());
    failed.status = Some(StatusCode::INTERNAL_SERVER_ERROR);
    failed.duration = Duration::from_millis(5);
    let line: Value = serde_json::from_str(&of(failed, &form).message()).unwrap();
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(line["_aws"]["Timestamp"], 1_795_218_907_128_i64);
    assert_eq!(directive["Namespace"], "Cruddur");
    assert_eq!(directive["Dimensions"], json!([["Service", "Environment", "Route"]]));
    // Every target is a member of the root, of the right kind.
    for dimension in directive["Dimensions"][0].as_array().unwrap() {
        assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
    }
    for metric in directive["Metrics"].as_array().unwrap() {
        assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
    }
    assert_eq!((&line["Latency"], &line["Count"], &line["Faults"]), (&json!(5.0), &json!(1), &json!(1)));
    assert_eq!((&line["Route"], &line["status"]), (&json!("/api/activities/home"), &json!(500)));

    let mut unmatched = facts();
    unmatched.route = None;
    unmatched.path = "/wp-login.php".to_owned();
    let line: Value = serde_json::from_str(&of(record(unmatched), &form).message()).unwrap();
    assert_eq!((&line["Route"], &line["Faults"]), (&json!("(none)"), &json!(0)));
    // Log events are no requests.
    let event: Value = serde_json::from_str(&of_event(event("hello"), &form).message()).unwrap();
    assert!(event.get("_aws").is_none());
}

#[test]
fn the_largest_field_is_cut_and_the_line_is_still_json() {
    let mut own = event(&"🖖\"\n".repeat(200_000));
    own.fields = vec![KeyValue::new("kept", "whole"), KeyValue::new("long", "é".repeat(300_000))];
    let id = own.event_id.to_string();
    let line = of_event(own, &JSON);
    assert!(line.message().len() <= LONGEST, "{}", line.message().len());
    assert!(line.message().len() > LONGEST / 2, "no more is cut than must be: {}", line.message().len());
    let read: Value = serde_json::from_str(&line.message()).unwrap();
    assert_eq!((&read["event_id"], &read["fields"]["kept"]), (&json!(id), &json!("whole")));
    for cut in [&read["message"], &read["fields"]["long"]] {
        assert!(cut.as_str().unwrap().ends_with(CUT));
    }
}

#[test]
fn what_has_nothing_to_cut_keeps_what_identifies_it() {
    let mut own = event("hello");
    own.fields = (0..40_000).map(|n| KeyValue::new(format!("a.number.{n}"), n)).collect();
    let id = own.event_id.to_string();
    let line = of_event(own, &JSON);
    let read: Value = serde_json::from_str(&line.message()).unwrap();
    assert_eq!((&read["event_id"], &read["message"]), (&json!(id), &json!(CUT)));
}

proptest! {
    #[test]
    fn a_call_says_what_it_was_given(
        group in ".*",
        texts in prop::collection::vec(prop_oneof![any::<String>(), "[ -~]{0,40}"], 0..4),
        timestamp in any::<i64>(),
    ) {
        let lines: Vec<_> = texts.iter().map(|text| Line::new(timestamp, 0, text)).collect();
        let events: Vec<_> =
            texts.iter().map(|text| json!({"timestamp": timestamp, "message": text})).collect();
        let body = body(&group, "stream", &lines.iter().collect::<Vec<_>>());
        prop_assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({"logGroupName": group, "logStreamName": "stream", "logEvents": events})
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_line_is_one_line_of_legal_size(
        message in ".{0,200}",
        field in "\\PC{0,100}|.{0,100}",
        path in "/[ -~]{0,300}",
        repeat in prop_oneof![Just(1_usize), Just(3_000)],
        classic: bool,
    ) {
        let form = if classic { &CLASSIC } else { &JSON };
        let mut own = event(&message.repeat(repeat));
        own.fields = vec![KeyValue::new("field", field.repeat(repeat))];
        let mut request = facts();
        request.path = path;
        for line in [of_event(own, form), of(record(request), form)] {
            prop_assert!(!line.message().is_empty() && line.message().len() <= LONGEST);
            prop_assert!(!line.message().contains(line::is_unruly), "{:?}", line.message());
            if !classic {
                let read: Value = serde_json::from_str(&line.message()).unwrap();
                prop_assert!(read["event_id"].is_string());
            }
        }
    }
}

#[test]
fn every_line_has_an_id_of_its_own() {
    let ids: HashSet<_> = (0..100)
        .map(|_| of_event(event("hello"), &JSON))
        .map(|line| serde_json::from_str::<Value>(&line.message()).unwrap()["event_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 100);
}

#[test]
fn what_was_on_disk_is_the_same_line() {
    for item in [Item::Request(Arc::new(record(facts()))), Item::Event(Arc::new(event("hello é")))] {
        let (item, mut bytes) = (on_pad(item, &JSON), Vec::new());
        encode(&item, &mut bytes);
        let read = decode(&bytes).unwrap();
        let expected = Line { turn: 0, ..item.line().unwrap().clone() };
        assert_eq!(on_pad(read, &CLASSIC).line(), Some(&expected), "it was drawn before");
        assert_eq!(weight(&decode(&bytes).unwrap()), SHARE * item.line().unwrap().size());
    }
    for bytes in [&b""[..], b"1234567", b"12345678", b"12345678\xff"] {
        assert!(decode(bytes).is_none(), "{bytes:?}");
    }
}

#[test]
fn debug_events_are_worth_least_and_failures_most() {
    let mut failed = record(facts());
    failed.status = Some(StatusCode::BAD_GATEWAY);
    let mut detail = event("hello");
    detail.level = Level::DEBUG;
    for (item, expected) in [
        (Item::Event(Arc::new(detail)), Rank::Detail),
        (Item::Request(Arc::new(record(facts()))), Rank::Routine),
        (Item::Request(Arc::new(failed)), Rank::Notable),
        (Item::Event(Arc::new(event("hello"))), Rank::Notable),
    ] {
        assert_eq!(rank(&item), expected, "{item:?}");
        assert_eq!(rank(&on_pad(item, &JSON)), expected, "drawn");
    }
}
