//! Span fields as annotations and metadata.
//!
//! `tracing` fields are all that a developer writes: `xray.name` names the subsegment (OTLP goes on using the span's
//! own name), `xray.annotation.<key>` is indexed, `xray.metadata.<namespace>.<key>` is not. All other fields are
//! metadata under `default`.

use std::borrow::Cow;

use opentelemetry::{KeyValue, Value};
use serde_json::Value as Tree;
use uuid::Uuid;

use super::json::{Json, Object, key};
use super::{Document, Part, cut, fit, names};
use crate::telemetry::observe::conventions::ERROR_ID;
use crate::telemetry::observe::line::json;

/// Names the subsegment.
pub(super) const NAME: &str = "xray.name";
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

/// Fields, sorted by what becomes of them and then by their keys; where a key is there twice, the last one holds.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    annotations: Vec<(Cow<'a, str>, &'a Value)>,
    /// What names the report of a failure.
    error_id: Option<Uuid>,
    /// By namespace and key.
    metadata: Vec<((Cow<'a, str>, &'a str), Written<'a>)>,
}

/// A value, and how it is written.
#[derive(Debug, Clone, Copy)]
enum Written<'a> {
    /// As it is.
    Plain(&'a Value),
    /// Text may be JSON.
    Structured(&'a Value),
}

impl<'a> Sorted<'a> {
    pub(super) fn of(fields: &'a [KeyValue]) -> Self {
        let mut sorted = Self { metadata: Vec::with_capacity(fields.len()), ..Self::default() };
        for KeyValue { key, value, .. } in fields {
            let key = key.as_str();
            if let Some(key) = key.strip_prefix(ANNOTATION) {
                if sorted.annotations.len() < MOST_ANNOTATIONS {
                    sorted.annotations.push((names::annotation_key(key), value));
                }
            } else if let Some(path) = key.strip_prefix(METADATA) {
                let (namespace, key) = path.split_once('.').unwrap_or((DEFAULT, path));
                sorted.metadata.push(((unreserved(namespace), key), Written::Structured(value)));
            } else if key != NAME {
                sorted.metadata.push(((DEFAULT.into(), key), Written::Plain(value)));
            }
        }
        order(&mut sorted.annotations);
        order(&mut sorted.metadata);
        sorted
    }

    /// With what names the report of a failure, as an annotation that nobody else can make.
    pub(super) fn reported(mut self, error_id: Option<Uuid>) -> Self {
        if error_id.is_some() {
            self.annotations.retain(|(key, _)| key != ERROR_ID);
            self.annotations.truncate(MOST_ANNOTATIONS - 1);
        }
        Self { error_id, ..self }
    }

    /// What the document has not given up, and what it has, if anything, by name.
    pub(super) fn write(&self, document: &Document<'_>, object: &mut Object<'_>) {
        if document.keeps(Part::Annotations) {
            object.object(key!("annotations"), |object| {
                self.annotations.iter().for_each(|(key, value)| annotation(key, value, object));
                if let Some(id) = self.error_id {
                    object.entry(ERROR_ID, id.to_string().as_str());
                }
            });
        }
        object.object(key!("metadata"), |object| {
            if !document.keeps(Part::Metadata) {
                return fit::name_what_is_given_up(document, object);
            }
            for namespace in self.metadata.chunk_by(|((one, _), _), ((next, _), _)| one == next) {
                let Some(((name, _), _)) = namespace.first() else { continue };
                object.object_entry(name, |object| {
                    namespace.iter().for_each(|((_, key), value)| object.entry(key, *value));
                });
            }
        });
    }
}

/// Sorts by key, and leaves the last of those that are the same.
fn order<K: Ord, V>(fields: &mut Vec<(K, V)>) {
    if fields.len() > 1 {
        fields.reverse();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields.dedup_by(|(later, _), (kept, _)| later == kept);
    }
}

/// Namespaces that begin with `AWS.` are reserved.
fn unreserved(namespace: &str) -> Cow<'_, str> {
    if namespace.starts_with("AWS.") { ["_", namespace].concat().into() } else { namespace.into() }
}

/// A value that can be searched for: text, a number or a truth.
fn annotation(key: &str, value: &Value, object: &mut Object<'_>) {
    match value {
        Value::Bool(_) | Value::I64(_) => object.entry(key, Written::Plain(value)),
        Value::F64(number) if number.is_finite() => object.entry(key, Written::Plain(value)),
        other => object.entry(key, cut(&other.as_str(), LONGEST_ANNOTATION)),
    }
}

impl Json for Written<'_> {
    fn write(self, out: &mut Vec<u8>) {
        if let Self::Structured(Value::String(text)) = self
            && let Some(tree) = structure(text.as_str())
        {
            return (&tree).write(out);
        }
        let (Self::Plain(value) | Self::Structured(value)) = self;
        match value {
            Value::String(text) => text.as_str().write(out),
            Value::I64(number) => number.write(out),
            Value::Bool(truth) => truth.write(out),
            other => (&json(other)).write(out),
        }
    }
}

/// Text that is a JSON object or array, unless it is nested too deep.
fn structure(text: &str) -> Option<Tree> {
    let tree = text.starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()?;
    (depth(&tree) <= DEEPEST_VALUE).then_some(tree)
}

/// How deep a value is nested; the parser has seen to it that this is at most 128.
fn depth(value: &Tree) -> usize {
    match value {
        Tree::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Tree::Object(values) => 1 + values.values().map(depth).max().unwrap_or_default(),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => 0,
    }
}
