//! A backend's interest in one exchange.

use std::sync::Arc;

use http::response;
use opentelemetry_sdk::trace::SpanData;

use super::record::RequestRecord;

/// One backend's interest in one exchange: its layer enlists it when the request comes in.
///
/// The calls come from the threads that serve requests, so a view does no more than take a note, or draw what is
/// [light](RequestRecord::is_light) and push it on a queue. None may block.
pub trait View: Send + 'static {
    /// The response's head is ready; the view may sign it.
    fn on_response(&mut self, head: &mut response::Parts) {
        let _ = head;
    }

    /// The exchange is over. Called exactly once, at once or [later](super::on_thread_park).
    fn on_close(&mut self, record: &Arc<RequestRecord>);

    /// A span ended that had outlived its exchange. Called after [`View::on_close`].
    fn on_straggler(&mut self, record: &Arc<RequestRecord>, span: &SpanData) {
        let _ = (record, span);
    }
}
