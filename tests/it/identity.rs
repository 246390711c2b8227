//! One trace id and one span id for each request, whichever header brought them.

use std::sync::Arc;

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::observe::{RequestRecord, Sampled};

use crate::observed::Observed;

const TRACE: &str = "4efaaf4d1e8720b39541901950019ee5";
const SPAN: &str = "53995c3f42cd8ad8";
const AMZN: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=2440c77113924d23;Sampled=0;Lineage=a:1";
const AMZN_TRACE: &str = "5759e988bd862e3fe1be46a994272793";
const AMZN_SPAN: &str = "2440c77113924d23";

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-{flags}")
}

/// Sends `headers` to a service with these `OTEL_PROPAGATORS`; the answer must be signed as the record says.
async fn seen(propagators: &str, headers: &[&str]) -> Arc<RequestRecord> {
    let handler = || async { tracing::info_span!("child").in_scope(|| "ok") };
    let routes = Router::new().route("/", on_get(handler));
    let mut app = Observed::start(routes, &[("OTEL_PROPAGATORS", propagators)]).await;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let answer =
        app.ask(&format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")).await;
    let record = app.record().await;
    let identity = record.identity();
    let (trace, span) = (identity.trace_id.to_string(), identity.span_id);
    let flags = if identity.sampled { "01" } else { "00" };
    assert!(answer.contains(&format!("\r\ntraceresponse: 00-{trace}-{span}-{flags}\r\n")), "{answer}");
    let (epoch, random) = trace.split_at(8);
    assert!(answer.contains(&format!("\r\nx-amzn-trace-id: Root=1-{epoch}-{random}\r\n")), "{answer}");

    let [child] = &record.spans[..] else { panic!("{:?}", record.spans) };
    assert_eq!(child.parent_span_id, span);
    assert_eq!(child.span_context.trace_id(), identity.trace_id);
    assert_eq!(child.span_context.is_sampled(), identity.sampled);
    assert_eq!(child.span_context.trace_state(), &identity.trace_state);
    app.finish().await;
    record
}

/// The trace's id and the parent's, as text.
fn lineage(record: &RequestRecord) -> (String, Option<String>) {
    let identity = record.identity();
    (identity.trace_id.to_string(), identity.parent.map(|parent| parent.to_string()))
}

fn came_in(trace: &str, parent: &str) -> (String, Option<String>) {
    (trace.to_owned(), Some(parent.to_owned()))
}

#[tokio::test]
async fn a_request_without_ids_gets_new_ones_every_time() {
    let (one, other) = (seen("tracecontext", &[]).await, seen("tracecontext", &[]).await);
    assert_ne!(one.identity().trace_id, other.identity().trace_id);
    assert_ne!(one.identity().span_id, other.identity().span_id);
    assert_eq!((one.identity().parent, one.identity().parent_sampled), (None, None));
    assert!(one.identity().sampled);
    // X-Ray reads the time out of the id's first 32 bits.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let epoch = u64::from_str_radix(one.identity().trace_id.to_string().split_at(8).0, 16).unwrap();
    assert!((now - 60..=now).contains(&epoch), "{epoch} is not {now}");
}

#[tokio::test]
async fn a_traceparent_is_continued_with_its_state() {
    let record =
        seen("tracecontext,baggage,xray", &[&traceparent("01"), "tracestate: congo=t61,rojo=00f"]).await;
    assert_eq!(lineage(&record), came_in(TRACE, SPAN));
    assert_ne!(record.identity().span_id.to_string(), SPAN);
    assert_eq!((record.identity().parent_sampled, record.identity().sampled), (Some(true), true));
    assert_eq!(record.identity().trace_state.header(), "congo=t61,rojo=00f");
}

#[tokio::test]
async fn a_traceparent_that_is_malformed_is_ignored() {
    let repeated = format!("{}\r\n{}", traceparent("01"), traceparent("01"));
    for bad in [
        "traceparent: ",
        "traceparent: 00-4EFAAF4D1E8720B39541901950019EE5-53995c3f42cd8ad8-01",
        "traceparent: 00-00000000000000000000000000000000-53995c3f42cd8ad8-01",
        "traceparent: 00-4efaaf4d1e8720b39541901950019ee5-0000000000000000-01",
        "traceparent: ff-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01",
        "traceparent: 00-4efaaf4d1e8720b39541901950019ee5-53995c3f42cd8ad8-01-more",
        &repeated,
    ] {
        let record = seen("tracecontext", &[bad, "tracestate: congo=t61"]).await;
        assert_eq!(record.identity().parent, None, "{bad}");
        assert!(!record.identity().trace_id.to_string().eq_ignore_ascii_case(TRACE), "{bad}");
        assert_eq!(record.identity().trace_state.header(), "", "{bad}");
        assert!(record.identity().sampled, "{bad}");
    }
}

#[tokio::test]
async fn an_amazon_header_is_continued_and_decides_for_x_ray_alone() {
    let record = seen("tracecontext,baggage,xray", &[&format!("X-Amzn-Trace-Id: {AMZN}")]).await;
    assert_eq!(lineage(&record), came_in(AMZN_TRACE, AMZN_SPAN));
    assert_eq!((record.identity().parent_sampled, record.identity().sampled), (None, true));
    let amzn = record.identity().amzn.as_ref().unwrap();
    assert_eq!(amzn.sampled, Some(Sampled::No));
    assert_eq!(amzn.extra, [("Lineage".to_owned(), "a:1".to_owned())]);
}

#[tokio::test]
async fn of_both_headers_the_first_propagator_names_the_trace_and_each_keeps_its_decision() {
    let both = [&*traceparent("01"), &format!("x-amzn-trace-id: {AMZN}")];
    for (propagators, expected) in [
        ("tracecontext,baggage,xray", came_in(TRACE, SPAN)),
        ("xray,tracecontext", came_in(AMZN_TRACE, AMZN_SPAN)),
        ("tracecontext", came_in(TRACE, SPAN)),
        ("xray", came_in(AMZN_TRACE, AMZN_SPAN)),
    ] {
        let record = seen(propagators, &both).await;
        assert_eq!(lineage(&record), expected, "{propagators}");
        let flag = propagators.contains("tracecontext").then_some(true);
        assert_eq!(record.identity().parent_sampled, flag, "{propagators}");
        let amzn = record.identity().amzn.as_ref().and_then(|amzn| amzn.sampled);
        assert_eq!(amzn, propagators.contains("xray").then_some(Sampled::No), "{propagators}");
    }
}

#[tokio::test]
async fn without_propagators_what_comes_in_is_ignored() {
    let record = seen("none", &[&traceparent("00"), &format!("x-amzn-trace-id: {AMZN}")]).await;
    let (trace, parent) = lineage(&record);
    assert!(trace != TRACE && trace != AMZN_TRACE, "{trace}");
    assert_eq!(parent, None);
    assert!(record.identity().amzn.is_none() && record.identity().sampled);
}

#[tokio::test]
async fn an_unsampled_request_is_recorded_all_the_same_and_says_so() {
    // `seen` holds the child span and the answer to the same decision.
    let record = seen("tracecontext,baggage,xray", &[&traceparent("00")]).await;
    assert_eq!(lineage(&record), came_in(TRACE, SPAN));
    assert_eq!((record.identity().parent_sampled, record.identity().sampled), (Some(false), false));
}
