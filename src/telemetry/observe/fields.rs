//! The fields of `tracing`'s spans and events, in OpenTelemetry's words.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

const EXCEPTION_MESSAGE: &str = "exception.message";
/// The field by which an event says whether it is to be reported.
const REPORT: &str = "report";
const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";

/// How deep a chain of sources is followed; an error whose `source` is itself would never end.
const MAX_SOURCES: usize = 16;

/// A count as an integer, as long as OpenTelemetry has one that is large enough.
fn count(value: u64) -> Value {
    i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from)
}

/// A value as it is written, with room for most from the beginning.
fn written(value: &dyn fmt::Debug) -> String {
    let mut text = String::with_capacity(32);
    // What cannot go on has said what it could.
    write!(text, "{value:?}").ok();
    text
}

/// The sources of an error, outermost first.
fn sources(error: &(dyn Error + 'static)) -> Value {
    let sources = std::iter::successors(error.source(), |&source| source.source());
    let texts: Vec<StringValue> = sources.take(MAX_SOURCES).map(|source| source.to_string().into()).collect();
    Value::Array(Array::String(texts))
}

/// An error as attributes: the conventions' for exceptions, then the field itself and the sources beside it.
fn error(field: &Key, message: &str, sources: &Value) -> [KeyValue; 4] {
    [
        KeyValue::new(EXCEPTION_MESSAGE, message.to_owned()),
        KeyValue::new(EXCEPTION_STACKTRACE, sources.clone()),
        KeyValue::new(field.clone(), message.to_owned()),
        KeyValue::new(format!("{field}.chain"), sources.clone()),
    ]
}

/// What a span's fields say: its attributes, and what is said of the span itself by the names that
/// `tracing-opentelemetry` has made usual.
#[derive(Debug, Default)]
pub(super) struct SpanFields {
    /// `otel.name`.
    pub(super) name: Option<String>,
    /// `otel.kind`.
    pub(super) kind: Option<SpanKind>,
    /// `otel.status_code` and `otel.status_description` (or `otel.status_message`).
    pub(super) status: Option<Status>,
    pub(super) attributes: Vec<KeyValue>,
}

impl SpanFields {
    /// Room for so many.
    pub(super) fn with_capacity(fields: usize) -> Self {
        Self { attributes: Vec::with_capacity(fields), ..Self::default() }
    }

    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "otel.name" => self.name = Some(text),
            "otel.kind" => self.kind = kind(&text),
            "otel.status_code" => self.status = Some(status(&text)),
            "otel.status_description" | "otel.status_message" => self.status = Some(Status::error(text)),
            _ => self.push(field, text),
        }
    }
}

fn kind(name: &str) -> Option<SpanKind> {
    let kinds = [
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
        ("internal", SpanKind::Internal),
    ];
    kinds.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| kind)
}

fn status(code: &str) -> Status {
    if code.eq_ignore_ascii_case("ok") {
        Status::Ok
    } else if code.eq_ignore_ascii_case("error") {
        Status::error("")
    } else {
        Status::Unset
    }
}

impl Visit for SpanFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, count(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, written(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.attributes.extend(error(&field.name().into(), &value.to_string(), &sources(value)));
    }
}

/// Gathers an event's fields; counts stay integers.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    /// Whether the event asks to be reported, where it says so.
    pub(super) report: Option<bool>,
    pub(super) others: Vec<KeyValue>,
    /// Which of the others are errors, and their sources.
    errors: Vec<(usize, Value)>,
}

/// What an event says of the span that it was emitted in.
#[derive(Debug)]
pub(super) struct SpanEvent {
    pub(super) name: Cow<'static, str>,
    pub(super) attributes: Vec<KeyValue>,
    /// What becomes of the span's status.
    pub(super) status: Option<Status>,
    /// Attributes of the span itself.
    pub(super) of_span: Vec<KeyValue>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push(KeyValue::new(field.name(), value));
    }

    /// The event as one of its span's: named by its message; one without a message whose field is `error`, as
    /// `#[instrument(err)]` emits it, is an `exception`.
    pub(super) fn span_event(&self, metadata: &'static Metadata<'static>) -> SpanEvent {
        let mut attributes = Vec::with_capacity(2 + self.others.len());
        attributes.push(KeyValue::new("level", metadata.level().as_str()));
        attributes.push(KeyValue::new("target", metadata.target()));
        let status = (*metadata.level() == Level::ERROR).then(|| Status::error(""));
        let name = Cow::Owned(self.message.clone());
        let mut event = SpanEvent { name, attributes, status, of_span: Vec::new() };
        for (place, own) in self.others.iter().enumerate() {
            let sources = self.errors.iter().find(|(at, _)| *at == place).map(|(_, sources)| sources);
            match (sources, &own.value) {
                (Some(sources), Value::String(message)) => {
                    let [message, stacktrace, field, chain] = error(&own.key, message.as_str(), sources);
                    event.of_span.extend([message.clone(), stacktrace.clone()]);
                    event.attributes.extend([message, stacktrace, field, chain]);
                }
                (None, Value::String(message)) if event.name.is_empty() && own.key.as_str() == "error" => {
                    event.name = "exception".into();
                    event.status = Some(Status::error(message.as_str().to_owned()));
                    event.attributes.push(KeyValue::new(EXCEPTION_MESSAGE, message.clone()));
                }
                _ => event.attributes.push(own.clone()),
            }
        }
        if event.name.is_empty() {
            event.name = metadata.name().into();
        }
        event
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, count(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == REPORT {
            self.report = Some(value);
        } else {
            self.push(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.push(field, value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = written(value);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.push(field, text);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.errors.push((self.others.len(), sources(value)));
        self.push(field, value.to_string());
    }
}
