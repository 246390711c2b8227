//! What a failure is: the errors or the panic behind it, with their stacks, or the message that tells of it.

use std::borrow::Cow;
use std::sync::Arc;

use tracing::Level;

use super::super::failure::{Failure, Kind};
use crate::telemetry::observe::frames::{self, Frame};
use crate::telemetry::observe::{Fault, LogEvent, PanicReport, RequestRecord, Verdict, conventions};

/// What a failure turns out to be.
#[derive(Debug)]
pub(in super::super) struct Finding {
    /// `critical`, `error`, `warning`, `info` or `debug`.
    pub(super) level: &'static str,
    pub(super) cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// Errors and panics, outermost first; never empty.
    Chain(Vec<Thrown>),
    /// A log event that asks for a report, or has nothing but itself to show for the failure.
    Event(Arc<LogEvent>),
    /// Neither: the answer alone says that something is wrong, or the delivery has something to say.
    Message(String),
}

/// An error or a panic.
#[derive(Debug)]
pub(super) struct Thrown {
    pub(super) class: Cow<'static, str>,
    pub(super) message: String,
    /// `file:line:column` of a `panic!`.
    pub(super) location: Option<String>,
    /// Innermost first; of a chain, only the outermost error knows where it became ours.
    pub(super) frames: Arc<[Frame]>,
}

impl Finding {
    /// Looks into a failure. Takes milliseconds where a stack is new.
    pub(in super::super) fn of(failure: &Failure) -> Self {
        match &failure.kind {
            Kind::Request => failure.record.as_ref().map_or_else(Self::unknown, |record| of_request(record)),
            Kind::Event(event) => Self { level: level(event.level), cause: Cause::Event(Arc::clone(event)) },
            Kind::Panic(panic) => Self { level: "critical", cause: Cause::Chain(vec![of_panic(panic)]) },
            Kind::Notice(text) => Self { level: "warning", cause: Cause::Message(text.clone()) },
        }
    }

    fn unknown() -> Self {
        Self {
            level: "error",
            cause: Cause::Message("a request failed of which nothing is known".to_owned()),
        }
    }

    /// Whether there was a panic.
    pub(in super::super) fn is_panic(&self) -> bool {
        self.level == "critical"
    }

    /// The line under which it is listed, unscrubbed.
    pub(super) fn message(&self) -> &str {
        match &self.cause {
            Cause::Chain(chain) => chain.first().map_or("", |first| &first.message),
            Cause::Event(event) => &event.message,
            Cause::Message(text) => text,
        }
    }

    /// The class of the outermost error.
    pub(super) fn class(&self) -> Option<&str> {
        match &self.cause {
            Cause::Chain(chain) => chain.first().map(|first| first.class.as_ref()),
            Cause::Event(_) | Cause::Message(_) => None,
        }
    }
}

/// All that a request shows is one failure: what it failed with, and what panicked, says most; then what was logged;
/// then the status.
fn of_request(record: &RequestRecord) -> Finding {
    let panic = record.panic.as_ref().or(record.panic_beside.as_ref());
    let mut chain: Vec<_> = record.fault.as_ref().map(of_fault).unwrap_or_default();
    chain.extend(panic.map(of_panic));
    if !chain.is_empty() {
        let level = if panic.is_some() { "critical" } else { "error" };
        return Finding { level, cause: Cause::Chain(chain) };
    }
    let asking = || record.events.iter().filter(|event| event.report);
    let gravest = asking().find(|event| event.level == Level::ERROR).or_else(|| asking().next());
    if let Some(event) = gravest {
        // A warning about an answer that is an error is more than a warning.
        let failed = record.verdict() == Verdict::ServerFault;
        let level = if failed { "error" } else { level(event.level) };
        return Finding { level, cause: Cause::Event(Arc::clone(event)) };
    }
    let name = conventions::server_span_name(record.request());
    let status = record.status.map_or_else(|| "without an answer".to_owned(), |status| status.to_string());
    Finding { level: "error", cause: Cause::Message(format!("{name}: {status}")) }
}

fn of_fault(fault: &Fault) -> Vec<Thrown> {
    let frames = frames::resolve(fault.backtrace());
    let thrown = |(at, cause): (usize, &crate::telemetry::observe::Cause)| Thrown {
        class: cause.class.into(),
        message: cause.message.clone(),
        location: None,
        frames: if at == 0 { Arc::clone(&frames) } else { Arc::default() },
    };
    fault.causes().iter().enumerate().map(thrown).collect()
}

fn of_panic(panic: &PanicReport) -> Thrown {
    Thrown {
        class: conventions::PANIC.into(),
        message: panic.message.clone(),
        location: panic.location.clone(),
        frames: panic.backtrace.as_ref().map(|stack| frames::resolve(stack)).unwrap_or_default(),
    }
}

/// Rollbar's word for a level.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}
