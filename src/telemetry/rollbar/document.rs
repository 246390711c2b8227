//! Failures as items: pure functions from what was noticed to what Rollbar takes.
//!
//! Names and limits are those of [create-item](https://docs.rollbar.com/reference/create-item), and `attributes` those
//! of Rollbar's own notifiers.

mod finding;
mod fingerprint;
mod fit;
mod request;
mod scrub;
mod timeline;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use self::finding::{Cause, Thrown};
use super::budget::Untold;
use super::failure::{Failure, Kind};
use crate::config::Links;
use crate::telemetry::observe::frames::{self, Frame};
use crate::telemetry::observe::line::timestamp;
use crate::telemetry::observe::{AmznTraceId, RequestRecord, conventions};

pub(super) use self::finding::Finding;
pub(super) use self::fingerprint::fingerprint;
pub(super) use self::fit::{LESS, fit, skeleton};
pub(super) use self::scrub::Scrubber;

/// Longest title and longest name of a person, in characters.
const LONGEST_NAME: usize = 255;
/// Longest id of a person, in characters.
const LONGEST_ID: usize = 40;
/// What our own frames begin with: Rollbar shows the others folded.
const ROOT: &str = "src";

/// What is the same in all items.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    pub(super) service: String,
    pub(super) environment: String,
    pub(super) code_version: String,
    pub(super) host: Option<String>,
    pub(super) links: Links,
    pub(super) scrubber: Scrubber,
}

impl Constants {
    /// The item as JSON, without the token. It is what is posted, as often as it takes.
    pub(super) fn item(&self, failure: &Failure, finding: &Finding, print: &str, untold: &Untold) -> String {
        let record = failure.record.as_deref();
        let known: Vec<_> = record.iter().map(|record| record.identity().trace_id.to_string()).collect();
        let draw = Draw { constants: self, record, known };
        let mut data = json!({
            "environment": self.environment,
            "level": finding.level,
            "timestamp": seconds(failure.at),
            "code_version": self.code_version,
            "platform": std::env::consts::OS,
            "language": "rust",
            "framework": "axum",
            "fingerprint": print,
            "title": draw.title(finding),
            "uuid": failure.id.to_string(),
            "body": draw.body(finding),
            "server": self.server(),
            "custom": draw.custom(failure, finding, untold),
            "notifier": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
        });
        if let Some(record) = record {
            let identity = record.identity();
            data["context"] = draw.text(&conventions::server_span_name(record.request())).into();
            data["request"] = request::request(record.request(), &self.scrubber, &draw.known);
            data["attributes"] = json!([
                {"key": "trace_id", "value": identity.trace_id.to_string()},
                {"key": "span_id", "value": identity.span_id.to_string()},
            ]);
            if let Some(user) = &record.user {
                let user = draw.text(user);
                data["person"] =
                    json!({"id": first(&user, LONGEST_ID), "username": first(&user, LONGEST_NAME)});
            }
        }
        fit(json!({"data": data}), fit::MOST)
    }

    fn server(&self) -> Value {
        let mut server = json!({"root": ROOT, "code_version": self.code_version, "pid": std::process::id()});
        if let Some(host) = &self.host {
            server["host"] = host.as_str().into();
        }
        server
    }
}

/// Drawing one item.
struct Draw<'a> {
    constants: &'a Constants,
    record: Option<&'a RequestRecord>,
    /// Ids that are no secrets.
    known: Vec<String>,
}

impl Draw<'_> {
    fn text(&self, text: &str) -> String {
        self.constants.scrubber.text(text, &self.known)
    }

    /// The line under which it is listed: the first one that says something.
    fn title(&self, finding: &Finding) -> String {
        let message = self.text(finding.message());
        let title = finding.class().map_or_else(|| message.clone(), |class| format!("{class}: {message}"));
        let line = title.lines().find(|line| !line.trim().is_empty());
        first(line.unwrap_or(finding.level), LONGEST_NAME)
    }

    fn body(&self, finding: &Finding) -> Value {
        let mut body = match &finding.cause {
            Cause::Chain(chain) => match &chain[..] {
                [one] => json!({"trace": self.trace(one)}),
                all => {
                    json!({"trace_chain": all.iter().map(|thrown| self.trace(thrown)).collect::<Vec<_>>()})
                }
            },
            Cause::Event(_) | Cause::Message(_) => {
                json!({"message": {"body": self.text(finding.message())}})
            }
        };
        if let Some(record) = self.record {
            body["telemetry"] = timeline::timeline(record, &self.constants.scrubber, &self.known).into();
        }
        body
    }

    fn trace(&self, thrown: &Thrown) -> Value {
        let mut exception = json!({"class": thrown.class, "message": self.text(&thrown.message)});
        if let Some(location) = &thrown.location {
            exception["description"] = format!("panicked at {location}").into();
        }
        // The most recent call last, as Rollbar wants it of all languages but those that it lists.
        let mut frames: Vec<_> = thrown.frames.iter().take(frames::MOST).rev().map(frame).collect();
        if frames.is_empty() {
            frames.extend(thrown.location.as_deref().map(frame_of_location));
        }
        json!({"frames": frames, "exception": exception})
    }

    fn custom(&self, failure: &Failure, finding: &Finding, untold: &Untold) -> Value {
        let mut custom = Map::new();
        let mut put = |key: &str, value: Value| {
            custom.insert(key.to_owned(), value);
        };
        put("service", self.constants.service.as_str().into());
        // The time of the item is when it was posted, for whoever sorts by that.
        put("occurred_at", String::from_utf8_lossy(&timestamp(failure.at)).into());
        if let Some(record) = self.record {
            let identity = record.identity();
            put("xray_trace_id", AmznTraceId(identity.trace_id).to_string().into());
            if let Some(id) = record.request().headers.get(&http::HeaderName::from_static("x-request-id")) {
                put("request_id", self.text(id).into());
            }
            put("outcome", record.outcome.as_str().into());
            if let Some(status) = record.status {
                put("status", status.as_u16().into());
            }
            put("duration_ms", (record.duration.as_secs_f64() * 1e3).into());
            let links = self.links(record);
            if !links.is_empty() {
                put("links", links.into());
            }
            let scrubber = &self.constants.scrubber;
            if !record.attributes.is_empty() {
                put("attributes", timeline::fields(&record.attributes, scrubber, &self.known).into());
            }
            if let Kind::Event(_) | Kind::Panic(_) = failure.kind {
                put("after_the_answer", true.into());
            }
        }
        if let Cause::Event(event) = &finding.cause {
            put("target", event.target.into());
            put("event_id", event.event_id.to_string().into());
            if !event.fields.is_empty() {
                let fields = timeline::fields(&event.fields, &self.constants.scrubber, &self.known);
                put("fields", fields.into());
            }
        }
        if untold.count > 0 {
            put("suppressed_since_last", untold.count.into());
            put("suppressed_ids", untold.ids.iter().map(ToString::to_string).collect());
        }
        custom.into()
    }

    /// Where else it can be looked at.
    fn links(&self, record: &RequestRecord) -> Map<String, Value> {
        let identity = record.identity();
        let filled = |place: &str| match place {
            "trace_id" => identity.trace_id.to_string(),
            "span_id" => identity.span_id.to_string(),
            "xray_trace_id" => AmznTraceId(identity.trace_id).to_string(),
            // A second more: the end is within it.
            "end" => (seconds(record.ended()) + 1).to_string(),
            _ => seconds(record.started()).to_string(),
        };
        let Links { honeycomb, xray, logs, .. } = &self.constants.links;
        let links = [("honeycomb", honeycomb), ("xray", xray), ("logs", logs)];
        let known = links.into_iter().filter_map(|(name, link)| Some((name.to_owned(), link.as_ref()?)));
        known.map(|(name, link)| (name, link.fill(filled).into())).collect()
    }
}

fn frame(frame: &Frame) -> Value {
    let mut own = json!({"filename": frame.file.as_deref().map_or("?", short), "method": frame.function});
    if let Some(line) = frame.line {
        own["lineno"] = line.into();
    }
    own
}

/// `src/api/mod.rs:5:9`.
fn frame_of_location(location: &str) -> Value {
    let mut parts = location.rsplitn(3, ':');
    let (column, line) = (parts.next().and_then(number), parts.next().and_then(number));
    json!({"filename": parts.next().unwrap_or(location), "lineno": line, "colno": column})
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// A file of a dependency without where the builder keeps them: `tokio-1.48.0/src/…`.
fn short(file: &str) -> &str {
    let below = |marker| file.split_once(marker).and_then(|(_, rest)| rest.split_once('/'));
    below("/registry/src/").or_else(|| below("/rustc/")).map_or(file, |(_, rest)| rest)
}

/// The first characters of a text.
fn first(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
