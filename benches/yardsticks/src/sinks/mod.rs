//! Where telemetry goes: stand-ins that count what arrives.

pub(crate) mod http;
mod xray;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::http::{Answer, Request};
use crate::folder::Folder;
use crate::variant::Backend;

/// One server's sinks.
pub(crate) struct Sinks {
    otlp: Sink,
    xray: Sink,
    cloudwatch: Sink,
    rollbar: Sink,
    /// A file of rules by which X-Ray gets every request.
    pub(crate) keep_all_rules: PathBuf,
    /// What the server could not deliver there, which goes with them.
    pub(crate) spool: Folder,
}

/// A port, and how much has arrived there.
pub(crate) struct Sink {
    pub(crate) port: u16,
    arrived: Arc<AtomicU64>,
}

impl Sink {
    /// How much has arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }
}

impl Sinks {
    /// Opens them. Those that speak HTTP answer after `away`; X-Ray's rules keep every request, or what the built-in
    /// ones keep.
    pub(crate) fn open(away: Duration, keep_all: bool, folder: &Path) -> anyhow::Result<Self> {
        let keep_all_rules = folder.join("keep-all.json");
        std::fs::write(&keep_all_rules, r#"{"version":2,"rules":[],"default":{"fixed_target":0,"rate":1}}"#)?;
        Ok(Self {
            otlp: http::open(away, otlp)?,
            xray: xray::open(away, keep_all)?,
            cloudwatch: http::open(away, cloudwatch)?,
            rollbar: http::open(away, rollbar)?,
            keep_all_rules,
            spool: Folder::new()?,
        })
    }

    /// A backend's sink.
    pub(crate) fn of(&self, backend: Backend) -> &Sink {
        match backend {
            Backend::Otlp => &self.otlp,
            Backend::Xray => &self.xray,
            Backend::CloudWatch => &self.cloudwatch,
            Backend::Rollbar => &self.rollbar,
        }
    }
}

/// `ExportTraceServiceRequest { 1: ResourceSpans { 2: ScopeSpans { 2: Span } } }`; metrics count for nothing.
fn otlp(request: &Request) -> Answer {
    let resources = fields(&request.body, 1).filter(|_| request.path.ends_with("/v1/traces"));
    let spans = resources.flat_map(|resource| fields(resource, 2)).flat_map(|scope| fields(scope, 2)).count();
    Answer { counted: spans as u64, content_type: "application/x-protobuf", body: "" }
}

/// A log event is an object that begins with its time; within a message its quotes would be escaped.
fn cloudwatch(request: &Request) -> Answer {
    let puts = request.header("x-amz-target").is_some_and(|target| target.ends_with(".PutLogEvents"));
    let times = request.body.windows(TIME.len()).filter(|window| puts && *window == TIME).count();
    Answer { counted: times as u64, content_type: "application/x-amz-json-1.1", body: "{}" }
}

const TIME: &[u8] = br#""timestamp":"#;

fn rollbar(request: &Request) -> Answer {
    let body = r#"{"err":0,"result":{"id":null,"uuid":"00000000000040008000000000000000"}}"#;
    Answer { counted: u64::from(request.path.contains("/item")), content_type: "application/json", body }
}

/// The length-delimited fields of a protobuf message that have this number.
pub(crate) fn fields(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut rest)?;
            let length = match key & 7 {
                0 => varint(&mut rest).map(|_| 0)?,
                1 => 8,
                2 => usize::try_from(varint(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            if key == number << 3 | 2 {
                return Some(value);
            }
        }
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
