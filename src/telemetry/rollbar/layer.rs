//! Rollbar's part of a request, and of what happens outside of requests: failures are noted, and no more.

use std::sync::Arc;
use std::time::SystemTime;

use super::desk::Desk;
use super::failure::{Failure, Kind};
use crate::telemetry::observe::{
    Enlist, EnlistLayer, Exchange, LogEvent, LogView, PanicReport, RequestRecord, View, Views, new_error_id,
};

/// Reports every request that passes and fails.
pub type HookLayer = EnlistLayer<Reports>;

/// What [`HookLayer`] enlists.
#[derive(Debug, Clone)]
pub struct Reports(pub(super) Desk);

impl Enlist for Reports {
    fn enlist(&self, exchange: &Exchange, views: &mut Views) {
        // An id that nobody reports under would lead nowhere.
        if exchange.is_viewed() {
            exchange.expect_reports();
            views.add(ReportView(self.0.clone()));
        }
    }
}

struct ReportView(Desk);

impl View for ReportView {
    fn on_close(&mut self, record: &Arc<RequestRecord>) {
        if let Some(id) = record.error_id {
            let record = Arc::clone(record);
            self.0.push(Failure { id, at: record.ended(), record: Some(record), kind: Kind::Request });
        }
    }
}

/// Reports log events and panics that are not in the record of a request: those outside of requests, and those in
/// what has outlived its own.
#[derive(Debug, Clone)]
pub struct ReportLog(pub(super) Desk);

impl ReportLog {
    fn report(&self, at: SystemTime, kind: Kind, exchange: Option<&Exchange>) {
        match exchange.filter(|exchange| exchange.is_viewed()) {
            None => self.0.push(Failure { id: new_error_id(), at, record: None, kind }),
            Some(exchange) => {
                // Otherwise it is in the record, or the request is one that has been reported.
                if let Some((id, record)) = exchange.late_report() {
                    self.0.push(Failure { id, at, record: Some(record), kind });
                }
            }
        }
    }
}

impl LogView for ReportLog {
    fn on_event(&self, event: &Arc<LogEvent>, exchange: Option<&Exchange>) {
        if event.report {
            self.report(event.time, Kind::Event(Arc::clone(event)), exchange);
        }
    }

    fn on_panic(&self, panic: &PanicReport, exchange: Option<&Exchange>) {
        self.report(SystemTime::now(), Kind::Panic(panic.clone()), exchange);
    }
}
