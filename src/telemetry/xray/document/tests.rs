use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use http::{StatusCode, header};
use opentelemetry::trace::{Event, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::metadata::Surroundings;
use super::*;
use crate::telemetry::observe::{Fault, Outcome, PanicReport, RequestFacts, Stage};

#[path = "../../../../tests/it/stand_in/segment.rs"]
mod segment;

/// What the API takes at most, and a little less than a datagram can have.
const MOST: usize = 64_000;
/// The span of [`RequestRecord::served`].
pub(in super::super) const OWN: u64 = 0xabcd;

fn facts() -> RequestFacts {
    RequestFacts {
        server_address: Some("localhost".to_owned()),
        server_port: Some(4567),
        ..RequestFacts::get("/")
    }
}

/// The record of a request with these spans.
pub(in super::super) fn with_spans(spans: Vec<SpanData>) -> RequestRecord {
    let mut record = RequestRecord::served(facts(), at(0));
    record.spans = spans.into_iter().map(Box::new).collect();
    record
}

/// Seconds from a moment of 2026.
fn at(seconds: i64) -> SystemTime {
    let moment = UNIX_EPOCH + Duration::from_secs(1_795_219_299);
    let offset = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { moment - offset } else { moment + offset }
}

pub(in super::super) fn span(id: u64, parent: u64) -> SpanData {
    let record = RequestRecord::served(facts(), at(0));
    let trace = record.identity().trace_id;
    SpanData {
        span_context: SpanContext::new(trace, id.into(), TraceFlags::default(), false, TraceState::NONE),
        parent_span_id: parent.into(),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "span".into(),
        start_time: at(1),
        end_time: at(2),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn drawn(record: RequestRecord, most: usize) -> Vec<Json> {
    let item = Item::Segment { record: Arc::new(record), name: "cruddur".into(), rule: None };
    checked(&item, &Surroundings::default(), most)
}

/// The documents of an item, with which nothing is wrong.
#[track_caller]
fn checked(item: &Item, around: &Surroundings, most: usize) -> Vec<Json> {
    let constants = Constants::new("1.0", Some("cruddur"));
    let form = Form { constants, known: Known::from(around.clone()) };
    let mut documents = Documents::default();
    draw(item, &form, most, &mut documents);
    let check = |document: &[u8]| {
        assert!(document.len() <= most, "{} of {most} bytes", document.len());
        segment::check(document).unwrap_or_else(|faults| panic!("{faults:#?}"))
    };
    documents.iter().map(check).collect()
}

/// Each id with its parent's, of a document and everything in it.
fn places(document: &Json, parent: Option<&Json>, places: &mut Vec<(String, Option<String>)>) {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    places.push((text(&document["id"]), document.get("parent_id").or(parent).map(text)));
    let below = document["subsegments"].as_array().into_iter().flatten();
    below.for_each(|subsegment| self::places(subsegment, Some(&document["id"]), places));
}

/// Every span is there exactly once, below its parent where it has one that is in the record, else below the segment.
#[track_caller]
fn assert_complete(documents: &[Json], spans: &[(u64, u64)]) {
    let mut found = Vec::new();
    documents.iter().for_each(|document| places(document, None, &mut found));
    let hex = |id: u64| format!("{id:016x}");
    let mut ids: Vec<_> = found.iter().map(|(id, _)| id.clone()).collect();
    let mut expected: Vec<_> = spans.iter().map(|(id, _)| hex(*id)).chain([hex(OWN)]).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(documents.iter().all(|document| document["trace_id"] == documents[0]["trace_id"]));
    // Of ids that are there twice, and of circles, it is enough that they are there.
    let parents: HashMap<_, _> = spans.iter().copied().collect();
    let found: BTreeMap<_, _> = found.into_iter().collect();
    if parents.len() < spans.len() || parents.contains_key(&OWN) {
        return;
    }
    for (id, parent) in spans {
        let mut ancestor = *parent;
        let circle = (0..=spans.len()).all(|_| match parents.get(&ancestor) {
            Some(next) => {
                ancestor = *next;
                true
            }
            None => false,
        });
        let expected = if parents.contains_key(parent) { hex(*parent) } else { hex(OWN) };
        assert!(circle || found[&hex(*id)].as_deref() == Some(&expected), "{id:x} below {expected}");
    }
}

fn absurd() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z._-]{0,12}",
        2 => any::<String>(),
        1 => "\\PC{0,300}",
        1 => Just(String::new()),
        1 => Just("\u{0}\n\"\\".repeat(300)),
        1 => Just("🦀ü\u{301}".repeat(200)),
        1 => Just("[".repeat(120) + &"]".repeat(120)),
        1 => Just("\u{1}".repeat(70_000)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => absurd().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => (any::<f64>(), 0..4).prop_map(|(any, which)| {
            Value::F64([any, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE][usize::try_from(which).unwrap()])
        }),
        1 => vec(any::<f64>(), 0..4).prop_map(|values| Value::Array(Array::F64(values))),
        1 => vec(absurd(), 0..4)
            .prop_map(|texts| Value::Array(Array::String(texts.into_iter().map(Into::into).collect()))),
    ]
}

fn attribute() -> impl Strategy<Value = KeyValue> {
    const KNOWN: [&str; 18] = [
        "xray.name",
        "http.request.method",
        "http.response.status_code",
        "http.response.body.size",
        "url.full",
        "server.address",
        "server.port",
        "db.system.name",
        "db.namespace",
        "db.query.text",
        "db.user",
        "rpc.system",
        "rpc.method",
        "cloud.region",
        "aws.request_id",
        "exception.type",
        "exception.message",
        "xray.metadata.AWS.x",
    ];
    let key = prop_oneof![
        4 => (0..KNOWN.len()).prop_map(|at| KNOWN[at].to_owned()),
        1 => absurd(),
        1 => absurd().prop_map(|key| format!("xray.annotation.{key}")),
        1 => absurd().prop_map(|key| format!("xray.metadata.{key}")),
    ];
    let common = prop_oneof![
        9 => (key, value()),
        1 => Just(("rpc.system".to_owned(), Value::from("aws-api"))),
        1 => (100..600_i64).prop_map(|status| ("http.response.status_code".to_owned(), Value::I64(status))),
    ];
    common.prop_map(|(key, value)| KeyValue::new(key, value))
}

/// Ids are few, so that orphans, doubles and circles are many.
fn any_span() -> impl Strategy<Value = SpanData> {
    let times = (-2_000_000_000..6_000_000_000_i64, -2_000_000_000..6_000_000_000_i64);
    let attributes = (vec(attribute(), 0..6), vec(vec(attribute(), 0..3), 0..3));
    (1..60_u64, 0..60_u64, absurd(), times, attributes, 0..6).prop_map(
        |(id, parent, name, (start, end), (attributes, events), kind)| {
            let parent = if parent == 1 { OWN } else { parent };
            let events = events.into_iter().map(|attributes| Event::new("exception", at(1), attributes, 0));
            let mut span = span(id, parent);
            span.events.events = events.collect();
            span.span_kind = if kind < 3 { SpanKind::Client } else { SpanKind::Internal };
            span.status = if kind % 2 == 0 { Status::error("x") } else { Status::Unset };
            let (start_time, end_time) = (at(start), at(end));
            SpanData { name: name.into(), attributes, start_time, end_time, ..span }
        },
    )
}

/// A failure that says something absurd.
#[derive(Debug)]
struct Absurd(String);

impl std::fmt::Display for Absurd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Absurd {}

fn any_record() -> impl Strategy<Value = RequestRecord> {
    let request = (absurd(), proptest::option::of(absurd()), any::<Option<u16>>(), any::<bool>());
    let ending = (0..7, proptest::option::of(absurd()), absurd());
    (request, ending, vec(attribute(), 0..60), vec(any_span(), 0..40), -2_000_000_000..6_000_000_000_i64)
        .prop_map(|((path, host, port, forwarded), (outcome, user, message), attributes, spans, started)| {
            let agent = "\"".repeat(4000);
            let request = RequestFacts {
                method: "x".repeat(300).parse().unwrap(),
                path: path.replace(['?', '#'], "%3F"),
                server_address: host.map(|host| host.replace(['?', '#'], "")),
                server_port: port,
                client_address: forwarded.then(|| IpAddr::from([10, 0, 0, 1]).into()),
                client_forwarded: forwarded,
                headers: [(header::USER_AGENT, agent.as_str())].into_iter().collect(),
                ..facts()
            };
            let status = |code| StatusCode::from_u16(code).ok();
            let mut record = RequestRecord::served(request, at(started));
            (record.user, record.attributes) = (user, attributes);
            record.spans = spans.into_iter().map(Box::new).collect();
            match outcome {
                0 => {}
                1 => record.status = status(404),
                2 => record.status = status(429),
                3 => (record.outcome, record.status) = (Outcome::Cancelled(Stage::Head), None),
                4 => record.outcome = Outcome::Cancelled(Stage::Body),
                5 => {
                    let panic = PanicReport { message, location: None, backtrace: None };
                    (record.outcome, record.panic) = (Outcome::Panicked, Some(panic));
                }
                _ => {
                    let fault = Fault::capture(&Absurd(message));
                    (record.outcome, record.status, record.fault) =
                        (Outcome::Failed, status(500), Some(fault));
                }
            }
            record
        })
}

fn pairs(spans: &[Box<SpanData>]) -> Vec<(u64, u64)> {
    let id = |id: SpanId| u64::from_be_bytes(id.to_bytes());
    spans.iter().map(|span| (id(span.span_context.span_id()), id(span.parent_span_id))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_record_gives_documents_that_are_right_and_complete(
        record in any_record(),
        name in absurd(),
        rule in proptest::option::of("\\PC{1,40}"),
        most in prop_oneof![Just(LEAST), Just(MOST), LEAST..MOST],
    ) {
        let spans = pairs(&record.spans);
        let rule = rule.map(Arc::from);
        let name = legal_name(&name).into();
        let item = Item::Segment { record: Arc::new(record), name, rule };
        let around = Surroundings {
            origin: Some("AWS::ECS::Container"),
            account_id: Some("123456789012".to_owned()),
            ecs: [("container_arn", "\"".repeat(250)), ("task_arn", "\u{1}".repeat(250))].into(),
            ..Surroundings::default()
        };
        assert_complete(&checked(&item, &around, most), &spans);
    }

    #[test]
    fn any_straggler_gives_one_right_document(span in any_span(), most in LEAST..MOST) {
        let record = Arc::new(RequestRecord::served(facts(), at(0)));
        let item = Item::Straggler { record, span: Box::new(span) };
        prop_assert_eq!(checked(&item, &Surroundings::default(), most).len(), 1);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Thousands of them, in trees of any form.
    #[test]
    fn any_tree_is_complete(parents in vec(any::<proptest::sample::Index>(), 1..3000), deep in any::<bool>()) {
        let tree = parents.iter().enumerate().map(|(at, parent)| {
            // Below one of the last ten, or below any.
            let parent = if deep { at.saturating_sub(parent.index(10)) } else { parent.index(at + 1) };
            (at as u64 + 1, if parent == 0 { OWN } else { parent as u64 })
        });
        let tree: Vec<_> = tree.collect();
        let spans = tree.iter().map(|(id, parent)| span(*id, *parent)).collect();
        assert_complete(&drawn(with_spans(spans), MOST), &tree);
    }
}

#[test]
fn a_chain_of_thousands_is_nested_to_a_depth_and_complete() {
    let chain: Vec<_> = (1..=5000).map(|id| (id, if id == 1 { OWN } else { id - 1 })).collect();
    let spans = chain.iter().map(|(id, parent)| span(*id, *parent)).collect();
    let documents = drawn(with_spans(spans), MOST);
    assert_complete(&documents, &chain);
    let mut deepest = &documents[0];
    let mut depth = 0;
    while let Some(below) = deepest.get("subsegments") {
        (deepest, depth) = (&below[0], depth + 1);
    }
    assert_eq!(depth, DEEPEST);
}

#[test]
fn an_orphan_keeps_what_is_below_it() {
    let tree = [(1, 99), (2, 1), (3, 2), (4, 98), (5, 5)];
    let spans = tree.map(|(id, parent)| span(id, parent)).to_vec();
    let documents = drawn(with_spans(spans), MOST);
    assert_eq!(documents.len(), 1);
    assert_complete(&documents, &tree);
}

#[test]
fn what_does_not_fit_is_given_up_by_name_and_nothing_else() {
    let mut large = span(1, OWN);
    large.attributes = vec![
        KeyValue::new("huge", "x".repeat(10 << 20)),
        KeyValue::new("xray.annotation.kept", true),
        KeyValue::new("xray.name", "huge"),
    ];
    let mut small = span(2, OWN);
    small.attributes = vec![KeyValue::new("note", "x")];
    let documents = drawn(with_spans(vec![large, small]), MOST);
    let [segment, huge] = &documents[..] else { panic!("{documents:#?}") };
    assert_eq!(segment["subsegments"][0]["metadata"], json!({"default": {"note": "x"}}));
    assert_eq!(huge["name"], "huge");
    assert_eq!(huge["metadata"], json!({"cruddur": {"dropped": ["metadata"]}}));
    assert_eq!(huge["annotations"], json!({"kept": true}));
    assert_eq!((&huge["type"], &huge["parent_id"]), (&json!("subsegment"), &segment["id"]));
}

#[test]
fn the_largest_subtrees_are_sent_apart_and_the_rest_stays() {
    let note = |size: usize| vec![KeyValue::new("note", "x".repeat(size))];
    let tree = [(1, OWN, 10), (2, OWN, 40_000), (3, OWN, 20), (4, 3, 30_000), (5, OWN, 30)];
    let spans = tree.map(|(id, parent, size)| SpanData { attributes: note(size), ..span(id, parent) });
    let documents = drawn(with_spans(spans.to_vec()), MOST);
    assert_complete(&documents, &tree.map(|(id, parent, _)| (id, parent)));
    let ids = |document: &Json| document["id"].as_str().unwrap().trim_start_matches('0').to_owned();
    assert_eq!(documents.iter().map(ids).collect::<Vec<_>>(), ["abcd", "2"]);
}

#[test]
fn a_straggler_of_another_trace_is_a_subsegment_of_its_request() {
    let mut other = span(7, 0);
    let flags = TraceFlags::default();
    other.span_context = SpanContext::new(TraceId::from(1), 7.into(), flags, false, TraceState::NONE);
    let record = Arc::new(RequestRecord::served(facts(), at(0)));
    let item = Item::Straggler { record, span: Box::new(other) };
    let documents = checked(&item, &Surroundings::default(), MOST);
    assert_eq!(documents[0]["trace_id"], "1-6b00df63-c7e34edc0ab2079049971888");
    assert_eq!(documents[0]["parent_id"], "000000000000abcd");
}

#[test]
fn a_status_that_is_none_is_left_out() {
    let mut call = span(1, OWN);
    call.span_kind = opentelemetry::trace::SpanKind::Client;
    call.attributes =
        vec![KeyValue::new("http.request.method", "GET"), KeyValue::new("http.response.status_code", 7_i64)];
    let documents = drawn(with_spans(vec![call]), MOST);
    assert_eq!(documents[0]["subsegments"][0]["http"], serde_json::json!({"request": {"method": "GET"}}));
}

#[test]
fn times_before_1970_and_ends_before_their_beginnings_are_put_right() {
    let mut early = span(1, OWN);
    (early.start_time, early.end_time) =
        (UNIX_EPOCH - Duration::from_secs(5), UNIX_EPOCH - Duration::from_secs(9));
    let mut reversed = span(2, OWN);
    (reversed.start_time, reversed.end_time) = (at(9), at(3));
    let documents = drawn(with_spans(vec![early, reversed]), MOST);
    let times = |at: usize| {
        let subsegment = &documents[0]["subsegments"][at];
        (subsegment["start_time"].as_f64().unwrap(), subsegment["end_time"].as_f64().unwrap())
    };
    assert_eq!(times(0), (0.0, 0.0));
    assert_eq!(times(1), (1_795_219_308.0, 1_795_219_308.0));
}

#[test]
fn only_what_is_one_small_document_is_drawn_at_once() {
    let form = Form::default();
    let (record, mut expected) = (Arc::new(with_spans(vec![span(1, OWN)])), Documents::default());
    let item = Item::Segment { record: Arc::clone(&record), name: "cruddur".into(), rule: None };
    draw(&item, &form, LARGEST, &mut expected);
    let mut document = Vec::new();
    assert!(draw_light(&record, "cruddur", None, &form, &mut document), "a small one");
    assert_eq!(expected.only(), Some(&document[..]));
    let mut again = Documents::default();
    draw(&Item::Drawn(document.into()), &form, LEAST, &mut again);
    assert_eq!(again.only(), expected.only(), "as it is");

    let mut long = with_spans(Vec::new());
    long.attributes = vec![KeyValue::new("note", "x".repeat(LEAST))];
    // One within the other, too deep for one document.
    let deep = with_spans((1..40).map(|id| span(id, if id == 1 { OWN } else { id - 1 })).collect());
    for record in [long, deep] {
        assert!(!draw_light(&record, "cruddur", None, &form, &mut Vec::new()));
    }
}

#[test]
fn failures_and_what_is_long_are_for_the_worker() {
    let usual = || with_spans(vec![span(1, OWN)]);
    assert!(usual().is_light());
    let panic = PanicReport { message: String::new(), location: None, backtrace: None };
    let [mut failed, mut panicked] = [usual(), usual()];
    failed.fault = Some(Fault::capture(&std::fmt::Error));
    panicked.panic = Some(panic);
    let long = with_spans((1..100).map(|id| span(id, OWN)).collect());
    assert!([failed, panicked, long].iter().all(|record| !record.is_light()));
}
