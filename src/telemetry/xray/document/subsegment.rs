//! A span as a subsegment.

use std::borrow::Cow;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::fields::{NAME, Sorted};
use super::json::{Object, key};
use super::{Document, LONGEST, Part, cause, cut, names};
use crate::telemetry::observe::redact;

/// All but ids and what is below.
pub(super) fn write(span: &SpanData, document: &Document<'_>, object: &mut Object<'_>) {
    let known = Known::of(&span.attributes);
    let is_remote = span.span_kind == SpanKind::Client;
    let is_aws = known.rpc_system.is_some_and(|system| system.as_str() == "aws-api");
    let status = int(known.status).filter(|status| (100..=599).contains(status));
    let is_error = matches!(status, Some(400..=499));
    let has_failed = matches!(span.status, Status::Error { .. });
    let namespace = match (is_aws, is_remote) {
        (true, _) => Some("aws"),
        (false, true) => Some("remote"),
        (false, false) => None,
    };
    object
        .field(key!("name"), names::legal(&known.name(span, is_remote)).as_ref())
        .field(key!("start_time"), span.start_time)
        .field(key!("end_time"), span.end_time.max(span.start_time))
        .field(key!("namespace"), namespace);
    if is_remote {
        object.object(key!("http"), |http| known.http(status, http));
    }
    object
        .field(key!("error"), is_error.then_some(true))
        .field(key!("throttle"), (status == Some(429)).then_some(true))
        .field(key!("fault"), (has_failed && !is_error).then_some(true));
    if is_aws && document.keeps(Part::Aws) {
        object.object(key!("aws"), |aws| known.aws(aws));
    }
    if document.keeps(Part::Sql) {
        known.sql(object);
    }
    Sorted::of(&span.attributes).write(document, object);
    if document.keeps(Part::Cause) {
        cause::of_events(span, object);
    }
}

/// The attributes that mean something to X-Ray.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    name: Option<&'a Value>,
    method: Option<&'a Value>,
    status: Option<&'a Value>,
    body_size: Option<&'a Value>,
    url: Option<&'a Value>,
    address: Option<&'a Value>,
    port: Option<&'a Value>,
    db_system: Option<&'a Value>,
    db_system_before: Option<&'a Value>,
    db_namespace: Option<&'a Value>,
    db_query: Option<&'a Value>,
    db_query_before: Option<&'a Value>,
    db_user: Option<&'a Value>,
    rpc_system: Option<&'a Value>,
    rpc_method: Option<&'a Value>,
    region: Option<&'a Value>,
    request_id: Option<&'a Value>,
    pub(super) exception_type: Option<&'a Value>,
    pub(super) exception_message: Option<&'a Value>,
}

impl<'a> Known<'a> {
    pub(super) fn of(attributes: &'a [KeyValue]) -> Self {
        let mut known = Self::default();
        for KeyValue { key, value, .. } in attributes {
            let place = match key.as_str() {
                NAME => &mut known.name,
                "http.request.method" => &mut known.method,
                "http.response.status_code" => &mut known.status,
                "http.response.body.size" => &mut known.body_size,
                "url.full" => &mut known.url,
                "server.address" => &mut known.address,
                "server.port" => &mut known.port,
                "db.system.name" => &mut known.db_system,
                "db.system" => &mut known.db_system_before,
                "db.namespace" => &mut known.db_namespace,
                "db.query.text" => &mut known.db_query,
                "db.statement" => &mut known.db_query_before,
                "db.user" => &mut known.db_user,
                "rpc.system" => &mut known.rpc_system,
                "rpc.method" => &mut known.rpc_method,
                "cloud.region" => &mut known.region,
                "aws.request_id" => &mut known.request_id,
                "exception.type" => &mut known.exception_type,
                "exception.message" => &mut known.exception_message,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        known
    }

    /// `xray.name`, else for a database or another host what the service map knows them by, else the span's name.
    fn name(&self, span: &'a SpanData, is_remote: bool) -> Cow<'a, str> {
        if let Some(name) = self.name {
            return name.as_str();
        }
        let host = self.address.filter(|_| is_remote).map(Value::as_str);
        match (self.db_namespace.map(Value::as_str), host) {
            (Some(database), Some(host)) => [&database, "@", &host].concat().into(),
            (None, Some(host)) => host,
            (_, None) => span.name.as_ref().into(),
        }
    }

    fn http(&self, status: Option<i64>, http: &mut Object<'_>) {
        if self.method.is_none() && self.url.is_none() {
            return;
        }
        let url = self.url.map(|url| redact::url_without_query(&url.as_str()));
        let content_length = int(self.body_size).and_then(|size| u64::try_from(size).ok());
        http.object(key!("request"), |request| {
            text(key!("method"), self.method, request);
            request.field(key!("url"), url.as_deref().map(|url| cut(url, LONGEST)));
        });
        if status.is_some() {
            http.object(key!("response"), |response| {
                response.field(key!("status"), status).field(key!("content_length"), content_length);
            });
        }
    }

    fn sql(&self, object: &mut Object<'_>) {
        let Some(system) = self.db_system.or(self.db_system_before).map(short) else { return };
        let port = int(self.port).map(|port| format!(":{port}")).unwrap_or_default();
        let database = self.db_namespace.map(|name| ["/", &short(name)].concat()).unwrap_or_default();
        let url = self.address.map(|host| [&system, "://", &short(host), &port, &database].concat());
        object.object(key!("sql"), |sql| {
            sql.field(key!("url"), url.as_deref().map(|url| cut(url, LONGEST)))
                .field(key!("database_type"), system.as_ref());
            text(key!("user"), self.db_user, sql);
            text(key!("sanitized_query"), self.db_query.or(self.db_query_before), sql);
        });
    }

    fn aws(&self, aws: &mut Object<'_>) {
        text(key!("operation"), self.rpc_method, aws);
        text(key!("region"), self.region, aws);
        text(key!("request_id"), self.request_id, aws);
    }
}

fn text(key: &'static str, value: Option<&Value>, object: &mut Object<'_>) {
    if let Some(value) = value {
        object.field(key, short(value).as_ref());
    }
}

fn short(value: &Value) -> Cow<'_, str> {
    match value.as_str() {
        Cow::Borrowed(text) => cut(text, LONGEST).into(),
        Cow::Owned(text) => cut(&text, LONGEST).to_owned().into(),
    }
}

fn int(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::I64(value) => Some(*value),
        _ => None,
    }
}
