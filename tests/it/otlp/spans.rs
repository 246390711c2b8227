//! What becomes of `tracing`'s spans and of the events within them.

use axum::Router;
use axum::routing::get as on_get;
use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use tracing::{error, field, info, info_span, instrument};

use super::{serve, stop};
use crate::caller::Caller;
use crate::stand_in::{Otlp, Received};

/// What arrives of a request whose handler runs `inside`.
async fn arrived(inside: fn()) -> Otlp {
    let stand_in = Otlp::start();
    let routes = Router::new().route("/inside", on_get(move || async move { inside() }));
    let app = serve(routes, &stand_in.endpoint(), &[]).await;
    assert_eq!(Caller::connect(app.address).await.get("/inside").await.status, 200);
    stop(app).await;
    stand_in.assert_clean();
    stand_in
}

fn is_child(child: &Received, parent: &Received) -> bool {
    child.span.parent_span_id == parent.span.span_id && child.span.trace_id == parent.span.trace_id
}

#[derive(Debug, thiserror::Error)]
#[error("the warp core is offline")]
struct Offline(#[source] std::num::ParseIntError);

fn offline() -> Offline {
    Offline("x".parse::<u8>().unwrap_err())
}

#[instrument(err)]
fn fails() -> Result<(), Offline> {
    Err(offline())
}

#[tokio::test]
async fn a_span_has_its_fields_in_their_types() {
    let stand_in = arrived(|| {
        let span = info_span!(
            "inner",
            flag = true,
            ratio = 0.5,
            count = 3_u64,
            huge = u64::MAX,
            late = field::Empty
        );
        span.record("late", "said later");
        span.in_scope(|| {});
    })
    .await;
    let attributes = stand_in.span("inner").attributes();
    assert_eq!(attributes["flag"], true);
    assert_eq!(attributes["ratio"], 0.5);
    assert_eq!(attributes["count"], 3);
    assert_eq!(attributes["huge"], "18446744073709551615");
    assert_eq!(attributes["late"], "said later");
}

#[tokio::test]
async fn fields_of_opentelemetrys_speak_of_the_span_itself() {
    let stand_in = arrived(|| {
        info_span!("plain", otel.name = "renamed", otel.kind = "Client", otel.status_code = "ok")
            .in_scope(|| {});
        let span = info_span!("other", otel.status_description = field::Empty, otel.name = field::Empty);
        span.record("otel.status_description", "gone").record("otel.name", "later");
    })
    .await;
    let renamed = stand_in.span("renamed");
    assert_eq!(renamed.span.kind, i32::from(SpanKind::Client));
    assert_eq!(renamed.span.status.as_ref().unwrap().code, i32::from(StatusCode::Ok));
    assert!(renamed.attributes().is_empty());
    let status = stand_in.span("later").span.status.unwrap();
    assert_eq!((status.code, &*status.message), (i32::from(StatusCode::Error), "gone"));
}

#[tokio::test]
async fn an_error_is_told_by_its_event_and_makes_the_span_fail() {
    let stand_in = arrived(|| {
        fails().ok();
        info_span!("told").in_scope(|| {
            let error = offline();
            info!(cause = &error as &dyn std::error::Error, "it is");
        });
        info_span!("grave").in_scope(|| error!("grave"));
    })
    .await;
    let fails = stand_in.span("fails");
    assert_eq!(fails.event("exception")["exception.message"], "the warp core is offline");
    assert_eq!(fails.span.status.as_ref().unwrap().message, "the warp core is offline");
    let told = stand_in.span("told");
    let sources = json!(["invalid digit found in string"]);
    assert_eq!(told.event("it is")["cause"], "the warp core is offline");
    assert_eq!(told.event("it is")["cause.chain"], sources);
    assert_eq!(told.attributes()["exception.stacktrace"], sources);
    let status = stand_in.span("grave").span.status.unwrap();
    assert_eq!((status.code, &*status.message), (i32::from(StatusCode::Error), ""));
}

#[tokio::test]
async fn spans_are_nested_as_they_are_entered_named_or_followed() {
    let stand_in = arrived(|| {
        let outer = info_span!("outer");
        let _entered = outer.clone().entered();
        info_span!("within").in_scope(|| {});
        let beside = info_span!(parent: None, "beside");
        beside.in_scope(|| {});
        info_span!(parent: &beside, "named").in_scope(|| {});
        info_span!("follower").follows_from(&outer);
        info!(parent: &beside, "said of another");
    })
    .await;
    let [server, outer, within, beside, named, follower] =
        ["GET /inside", "outer", "within", "beside", "named", "follower"].map(|name| stand_in.span(name));
    assert!(is_child(&outer, &server) && is_child(&within, &outer) && is_child(&named, &beside));
    assert!(beside.span.parent_span_id.is_empty());
    assert_eq!(follower.span.links[0].span_id, outer.span.span_id);
    beside.event("said of another");
    assert!(outer.span.events.is_empty());
}

#[tokio::test]
async fn a_span_is_current_for_opentelemetrys_own_api() {
    let stand_in = arrived(|| {
        let _entered = info_span!("outer").entered();
        Context::map_current(|context| context.span().update_name("renamed"));
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
        let span = provider.tracer("own").start("own");
        let own = Context::current().with_span(span);
        let _attached = own.attach();
        info_span!("below").in_scope(|| {});
    })
    .await;
    let (outer, below) = (stand_in.span("renamed"), stand_in.span("below"));
    assert_eq!(below.span.trace_id, outer.span.trace_id);
    assert!(!is_child(&below, &outer), "there is one in between");
}

#[tokio::test]
async fn a_span_ends_where_it_was_left_last() {
    let stand_in = arrived(|| {
        let kept = info_span!("kept");
        kept.in_scope(|| {});
        info_span!("after").in_scope(|| {});
        drop(kept);
    })
    .await;
    let (kept, after) = (stand_in.span("kept").span, stand_in.span("after").span);
    assert!(kept.end_time_unix_nano <= after.start_time_unix_nano);
}

#[tokio::test]
async fn nothing_is_made_of_a_span_where_telemetry_is_suppressed() {
    let stand_in = arrived(|| {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        info_span!("hidden").in_scope(|| {});
    })
    .await;
    let names: Vec<_> = stand_in.spans().into_iter().map(|received| received.span.name).collect();
    assert_eq!(names, ["GET /inside"]);
}
