//! What went wrong, as it was noticed: not yet looked into, because that takes time.

use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use crate::telemetry::observe::{LogEvent, PanicReport, RequestRecord};

/// What is kept of a stack until it is resolved, in bytes and by estimate.
const STACK: usize = 4096;

/// Something to report.
#[derive(Debug)]
pub(super) struct Failure {
    /// The item's uuid: the same, however often it is sent.
    pub(super) id: Uuid,
    pub(super) at: SystemTime,
    /// The request that it happened in, or that began what it happened in.
    pub(super) record: Option<Arc<RequestRecord>>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A request that is over, whatever failures it shows: all of them are one.
    Request,
    /// A log event outside of requests, or after the end of its own.
    Event(Arc<LogEvent>),
    /// A panic outside of requests, or after the end of its own.
    Panic(PanicReport),
    /// What the delivery has to say of itself.
    Notice(String),
}

impl Failure {
    /// What it takes in memory, in bytes and by estimate.
    pub(super) fn weight(&self) -> usize {
        let record = self.record.as_ref().map_or(0, |record| record.weight());
        let own = match &self.kind {
            Kind::Request => 0,
            Kind::Event(event) => event.message.len() + 128 * event.fields.len(),
            Kind::Panic(panic) => panic.message.len(),
            Kind::Notice(text) => text.len(),
        };
        STACK + record + own
    }
}
