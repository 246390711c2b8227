//! What must hold of every span and metric: the protocol's rules, which its types do not enforce.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::{span, status};

use super::{Arrived, Received};

/// `Span.flags`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// No test began longer ago, and no two clocks here differ by as much.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// The rules that were broken.
pub(super) fn broken(arrived: &Arrived) -> Vec<String> {
    let mut broken = Vec::new();
    for received in &arrived.spans {
        let mut rules = Vec::new();
        check(received, &mut rules);
        broken.extend(rules.into_iter().map(|rule| format!("{rule}: {:?}", received.span)));
    }
    for metric in &arrived.metrics {
        let mut rules = Vec::new();
        check_metric(metric, &mut rules);
        broken.extend(rules.into_iter().map(|rule| format!("{rule}: {metric:?}")));
    }
    broken
}

fn check(received: &Received, broken: &mut Vec<String>) {
    let Received { span, scope, resource, .. } = received;
    let mut must = |holds: bool, rule: &str| {
        if !holds {
            broken.push(rule.to_owned());
        }
    };
    must(is_id(&span.trace_id, 16), "a trace id has 16 bytes that are not all zero");
    must(is_id(&span.span_id, 8), "a span id has 8 bytes that are not all zero");
    let parent = &span.parent_span_id;
    must(parent.is_empty() || is_id(parent, 8), "a parent's id is empty or has 8 bytes");
    must(span.parent_span_id != span.span_id, "a span is not its own parent");
    must(!span.name.is_empty(), "a span has a name");
    must(span.kind() != span::SpanKind::Unspecified, "a span has a kind");
    must(span.flags & HAS_IS_REMOTE != 0, "the flags say whether the parent is remote");
    must(span.flags & 1 != 0, "only what is sampled is sent");
    must(span.start_time_unix_nano <= span.end_time_unix_nano, "a span ends after it starts");
    must(is_recent(span.start_time_unix_nano), "a span starts about now");
    must(is_recent(span.end_time_unix_nano), "a span ends about now");
    let status = span.status.clone().unwrap_or_default();
    let is_error = status.code() == status::StatusCode::Error;
    must(is_error || status.message.is_empty(), "only an error is described");
    must(!scope.name.is_empty(), "a scope has a name");
    let service = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    must(service.is_some_and(has_text), "a resource names its service");
    for event in &span.events {
        must(!event.name.is_empty(), "an event has a name");
        must(is_recent(event.time_unix_nano), "an event happens about now");
    }
    for link in &span.links {
        must(is_id(&link.trace_id, 16) && is_id(&link.span_id, 8), "a link leads to a span");
    }
    let of_events = span.events.iter().map(|event| &event.attributes);
    let of_links = span.links.iter().map(|link| &link.attributes);
    let own = [&span.attributes, &scope.attributes, &resource.attributes];
    for attributes in own.into_iter().chain(of_events).chain(of_links) {
        check_attributes(attributes, broken);
    }
}

/// Unique keys, none of them empty, each with a value.
fn check_attributes(attributes: &[KeyValue], broken: &mut Vec<String>) {
    let mut keys = HashSet::new();
    for attribute in attributes {
        if attribute.key.is_empty() || !keys.insert(&attribute.key) {
            broken.push(format!("attribute keys are unique and not empty: {:?}", attribute.key));
        }
        if attribute.value.as_ref().is_none_or(|value| value.value.is_none()) {
            broken.push(format!("an attribute has a value: {:?}", attribute.key));
        }
    }
}

fn check_metric(metric: &Metric, broken: &mut Vec<String>) {
    let mut points = Vec::new();
    match &metric.data {
        Some(metric::Data::Sum(sum)) => {
            let of = sum.data_points.iter();
            points.extend(
                of.map(|point| (&point.attributes, point.start_time_unix_nano, point.time_unix_nano)),
            );
        }
        Some(metric::Data::Histogram(histogram)) => {
            for point in &histogram.data_points {
                points.push((&point.attributes, point.start_time_unix_nano, point.time_unix_nano));
                if point.bucket_counts.len() != point.explicit_bounds.len() + 1
                    || point.bucket_counts.iter().sum::<u64>() != point.count
                {
                    broken.push("the buckets of a histogram hold its count".to_owned());
                }
            }
        }
        _ => broken.push("we send sums and histograms".to_owned()),
    }
    if metric.name.is_empty() || metric.unit.is_empty() || metric.description.is_empty() || points.is_empty()
    {
        broken.push("a metric has a name, a unit, a description and points".to_owned());
    }
    let mut distinct = HashSet::new();
    for (attributes, start, end) in points {
        check_attributes(attributes, broken);
        if !is_recent(start) || !is_recent(end) || start > end {
            broken.push("a point's time is about now, after its start".to_owned());
        }
        if !distinct.insert(format!("{attributes:?}")) {
            broken.push("points differ in their attributes".to_owned());
        }
    }
}

fn is_id(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.iter().any(|byte| *byte != 0)
}

fn is_recent(nanos: u64) -> bool {
    let (time, now) = (UNIX_EPOCH + Duration::from_nanos(nanos), SystemTime::now());
    time > now - AN_HOUR && time < now + AN_HOUR
}

fn has_text(attribute: &KeyValue) -> bool {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    matches!(value, Some(any_value::Value::StringValue(text)) if !text.is_empty())
}
