//! How much of a span is sent, and what is said of the rest.

use axum::Router;
use axum::routing::get as on_get;
use cruddur::telemetry::observe::Exchange;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use serde_json::json;

use super::{serve, stop};
use crate::caller::Caller;
use crate::stand_in::{Otlp, Received, attributes};

/// A span that has much of everything.
async fn rich() {
    let exchange = Exchange::current().unwrap();
    for key in ["one", "two", "three"] {
        exchange.set_attribute(key, "1234567890");
    }
    tracing::info!(a = 1, b = 2, c = 3, "first");
    tracing::info!("second");
    tracing::info!("third");
    let _entered = tracing::info_span!("inner").entered();
    let context = opentelemetry::Context::current();
    let span = context.span();
    span.set_attribute(KeyValue::new("text", "äöü€12345"));
    let list = ["äöü€12345", "x"].map(StringValue::from).to_vec();
    span.set_attribute(KeyValue::new("list", Value::Array(Array::String(list))));
    span.set_attribute(KeyValue::new("number", 1_234_567_890_i64));
    for id in 1..=3_u64 {
        let sampled = TraceFlags::SAMPLED;
        let to = SpanContext::new(TraceId::from(7), SpanId::from(id), sampled, true, TraceState::NONE);
        span.add_link(to, vec![KeyValue::new("a", "äöü€12345"), KeyValue::new("b", 2)]);
    }
    let own = |key| KeyValue::new(key, "äöü€12345");
    span.add_event("early", vec![own("a"), own("b")]);
    tracing::info!("late");
}

/// What arrives of the request and of the span inside.
async fn arrived(limits: &[(&str, &str)]) -> (Received, Received) {
    let stand_in = Otlp::start();
    let app = serve(Router::new().route("/rich", on_get(rich)), &stand_in.endpoint(), limits).await;
    assert_eq!(Caller::connect(app.address).await.get("/rich").await.status, 200);
    stop(app).await;
    stand_in.assert_clean();
    (stand_in.span("GET /rich"), stand_in.span("inner"))
}

#[tokio::test]
async fn without_limits_all_arrives() {
    let (server, inner) = arrived(&[]).await;
    assert_eq!(server.attributes()["three"], "1234567890");
    assert_eq!((server.span.dropped_attributes_count, server.span.dropped_events_count), (0, 0));
    assert_eq!((server.span.events.len(), inner.span.links.len()), (3, 3));
    assert_eq!(inner.attributes()["list"], json!(["äöü€12345", "x"]));
}

#[tokio::test]
async fn attributes_beyond_the_limit_are_counted() {
    let (whole, _) = arrived(&[]).await;
    let all = u32::try_from(whole.span.attributes.len()).unwrap();
    for variable in ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"] {
        let (server, inner) = arrived(&[(variable, "2")]).await;
        let keys: Vec<_> = server.span.attributes.iter().map(|attribute| &attribute.key).collect();
        assert_eq!(keys, ["http.request.method", "http.route"], "{variable}");
        assert_eq!(server.span.dropped_attributes_count, all - 2, "{variable}");
        assert_eq!((inner.span.attributes.len(), inner.span.links.len()), (2, 3), "{variable}");
    }
    let (server, _) = arrived(&[("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0")]).await;
    assert_eq!((server.span.attributes.len(), server.span.dropped_attributes_count), (0, all));
}

#[tokio::test]
async fn values_are_cut_at_characters_and_numbers_are_not() {
    for variable in ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"] {
        let (server, inner) = arrived(&[(variable, "4")]).await;
        assert_eq!(server.attributes()["three"], "1234", "{variable}");
        let inner_attributes = inner.attributes();
        assert_eq!(inner_attributes["text"], "äöü€", "{variable}");
        assert_eq!(inner_attributes["list"], json!(["äöü€", "x"]), "{variable}");
        assert_eq!(inner_attributes["number"], 1_234_567_890, "{variable}");
        assert_eq!(attributes(&inner.span.links[0].attributes)["a"], "äöü€", "{variable}");
        assert_eq!(inner.event("early")["a"], "äöü€", "{variable}");
        // Names are no values.
        assert_eq!(inner.span.events[0].name, "early");
    }
}

#[tokio::test]
async fn events_and_their_attributes_beyond_the_limit_are_counted() {
    let (server, inner) = arrived(&[("OTEL_SPAN_EVENT_COUNT_LIMIT", "1")]).await;
    let names: Vec<_> = server.span.events.iter().map(|event| &event.name).collect();
    assert_eq!((names.as_slice(), server.span.dropped_events_count), (&[&"first".to_owned()][..], 2));
    assert_eq!((inner.span.events.len(), inner.span.dropped_events_count), (1, 1));

    for variable in ["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"] {
        let (server, inner) = arrived(&[(variable, "1")]).await;
        let (first, early) = (&server.span.events[0], &inner.span.events[0]);
        // Besides its three, a log event has its level and its target.
        assert_eq!((first.attributes.len(), first.dropped_attributes_count), (1, 4), "{variable}");
        assert_eq!((early.attributes.len(), early.dropped_attributes_count), (1, 1), "{variable}");
    }
}

#[tokio::test]
async fn links_and_their_attributes_beyond_the_limit_are_counted() {
    let (_, inner) = arrived(&[("OTEL_SPAN_LINK_COUNT_LIMIT", "2")]).await;
    assert_eq!((inner.span.links.len(), inner.span.dropped_links_count), (2, 1));
    assert_eq!(inner.span.links[0].attributes.len(), 2);
    for variable in ["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"] {
        let (_, inner) = arrived(&[(variable, "1")]).await;
        let link = &inner.span.links[0];
        assert_eq!((link.attributes.len(), link.dropped_attributes_count), (1, 1), "{variable}");
    }
}
