//! Spans as subsegments, and span fields as annotations and metadata.
//!
//! `tracing` fields are all that a developer writes: `xray.name` names the subsegment (OTLP goes on using the span's
//! own name), `xray.annotation.<key>` is indexed, `xray.metadata.<namespace>.<key>` is not. All other fields are
//! metadata under `default`.

use std::collections::BTreeMap;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value as Json;

use super::parts::{Aws, Cause, Document, Exception, Http, Metadata, Request, Response, Sql};
use super::{LONGEST, cut, names, seconds};
use crate::telemetry::observe::line::json;
use crate::telemetry::observe::{id_text, redact};

const NAME: &str = "xray.name";
const ANNOTATION: &str = "xray.annotation.";
const METADATA: &str = "xray.metadata.";
/// Where fields without a namespace of their own go; the SDKs' word for it.
const DEFAULT: &str = "default";
/// Longest value of an annotation, in characters.
const LONGEST_ANNOTATION: usize = 1000;
/// Only so many annotations of a trace are indexed.
const MOST_ANNOTATIONS: usize = 50;
/// How deep a value may be nested: many who read JSON stop at a depth of 128, and subsegments take 64 of it.
const DEEPEST_VALUE: usize = 32;
/// The most causes of one subsegment.
const MOST_EXCEPTIONS: usize = 16;

/// Fields, sorted by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) annotations: BTreeMap<String, Json>,
    pub(super) metadata: Metadata,
}

/// Sorts fields into annotations and metadata.
pub(super) fn sorted(fields: &[KeyValue]) -> Sorted {
    let mut sorted = Sorted::default();
    for KeyValue { key, value, .. } in fields {
        let key = key.as_str();
        if let Some(key) = key.strip_prefix(ANNOTATION) {
            if sorted.annotations.len() < MOST_ANNOTATIONS {
                sorted.annotations.insert(names::annotation_key(key), annotation(value));
            }
        } else if let Some(path) = key.strip_prefix(METADATA) {
            let (namespace, key) = path.split_once('.').unwrap_or((DEFAULT, path));
            sorted.put(namespace, key, structured(value));
        } else if key != NAME {
            sorted.put(DEFAULT, key, json(value));
        }
    }
    sorted
}

impl Sorted {
    fn put(&mut self, namespace: &str, key: &str, value: Json) {
        // Namespaces that begin with `AWS.` are reserved.
        let reserved = if namespace.starts_with("AWS.") { "_" } else { "" };
        self.metadata.entry(format!("{reserved}{namespace}")).or_default().insert(key.to_owned(), value);
    }
}

/// A span as a subsegment, without those below it.
pub(super) fn subsegment(span: &SpanData) -> Document {
    let attributes = Attributes(&span.attributes);
    let remote = span.span_kind == SpanKind::Client;
    let aws = attributes.aws();
    let sql = attributes.sql();
    let status = attributes.int("http.response.status_code").filter(|status| (100..=599).contains(status));
    let failed = matches!(span.status, Status::Error { .. });
    let namespace = match (&aws, remote) {
        (Some(_), _) => Some("aws"),
        (None, true) => Some("remote"),
        (None, false) => None,
    };
    let Sorted { annotations, metadata } = sorted(&span.attributes);
    Document {
        id: id_text(span.span_context.span_id().to_bytes()),
        name: names::legal(&attributes.name(span, remote)),
        start_time: seconds(span.start_time),
        end_time: seconds(span.end_time.max(span.start_time)),
        namespace,
        http: if remote { attributes.http(status) } else { None },
        error: matches!(status, Some(400..=499)).then_some(true),
        throttle: (status == Some(429)).then_some(true),
        fault: (failed && !matches!(status, Some(400..=499))).then_some(true),
        aws: aws
            .filter(|aws| [&aws.operation, &aws.region, &aws.request_id].iter().any(|known| known.is_some())),
        sql,
        cause: cause(span),
        annotations,
        metadata,
        ..Document::default()
    }
}

/// The exceptions that a span's events tell of.
fn cause(span: &SpanData) -> Option<Cause> {
    let own = u64::from_be_bytes(span.span_context.span_id().to_bytes());
    let events = span.events.iter().filter(|event| event.name == "exception").take(MOST_EXCEPTIONS);
    let exceptions: Vec<_> = events
        .enumerate()
        .map(|(at, event)| {
            let attributes = Attributes(&event.attributes);
            let text = |key| cut(&attributes.text(key).unwrap_or_default(), LONGEST);
            let id = format!("{:016x}", own ^ 0xc2b2_ae3d_27d4_eb4f_u64.wrapping_mul(at as u64 + 1));
            let (class, message) = (text("exception.type"), text("exception.message"));
            Exception { id, class, message, ..Exception::default() }
        })
        .collect();
    (!exceptions.is_empty()).then(|| Cause::of(exceptions))
}

/// Attributes, looked up by name.
struct Attributes<'a>(&'a [KeyValue]);

impl Attributes<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|value| value.as_str().into_owned())
    }

    fn short(&self, key: &str) -> Option<String> {
        self.text(key).map(|text| cut(&text, LONGEST))
    }

    fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::I64(value) => Some(*value),
            _ => None,
        }
    }

    /// `xray.name`, else for a database or another host what the service map knows them by, else the span's name.
    fn name(&self, span: &SpanData, remote: bool) -> String {
        if let Some(name) = self.text(NAME) {
            return name;
        }
        let host = self.text("server.address").filter(|_| remote);
        match (self.text("db.namespace"), host) {
            (Some(database), Some(host)) => format!("{database}@{host}"),
            (None, Some(host)) => host,
            _ => span.name.to_string(),
        }
    }

    fn http(&self, status: Option<i64>) -> Option<Http> {
        let url = self.text("url.full").map(|url| redact::url_without_query(&url));
        let method = self.short("http.request.method");
        let request = Request { method, url: url.map(|url| cut(&url, LONGEST)), ..Request::default() };
        let content_length = self.int("http.response.body.size").and_then(|size| u64::try_from(size).ok());
        let response = Response { status, content_length };
        let known = request.method.is_some() || request.url.is_some();
        known.then(|| Http { request: Some(request), response: status.map(|_| response) })
    }

    fn sql(&self) -> Option<Sql> {
        let database_type = self.short("db.system.name").or_else(|| self.short("db.system"))?;
        let query = self.short("db.query.text").or_else(|| self.short("db.statement"));
        let host = self.short("server.address");
        let port = self.int("server.port").map(|port| format!(":{port}")).unwrap_or_default();
        let database = self.short("db.namespace").map(|name| format!("/{name}")).unwrap_or_default();
        let url = host.map(|host| cut(&format!("{database_type}://{host}{port}{database}"), LONGEST));
        Some(Sql {
            url,
            database_type: Some(database_type),
            user: self.short("db.user"),
            sanitized_query: query,
        })
    }

    fn aws(&self) -> Option<Aws> {
        let is_aws = self.text("rpc.system").is_some_and(|system| system == "aws-api");
        is_aws.then(|| Aws {
            operation: self.short("rpc.method"),
            region: self.short("cloud.region"),
            request_id: self.short("aws.request_id"),
            ..Aws::default()
        })
    }
}

/// A value that can be searched for: text, a number or a truth.
fn annotation(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::F64(value) if value.is_finite() => (*value).into(),
        other => cut(&other.as_str(), LONGEST_ANNOTATION).into(),
    }
}

/// A value as it is; text that is a JSON object or array becomes one, unless it is nested too deep.
fn structured(value: &Value) -> Json {
    if let Value::String(text) = value
        && text.as_str().starts_with(['{', '['])
        && let Ok(parsed) = serde_json::from_str(text.as_str())
        && depth(&parsed) <= DEEPEST_VALUE
    {
        return parsed;
    }
    json(value)
}

/// How deep a value is nested; the parser has seen to it that this is at most 128.
fn depth(value: &Json) -> usize {
    match value {
        Json::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Json::Object(values) => 1 + values.values().map(depth).max().unwrap_or_default(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
    }
}
