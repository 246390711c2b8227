//! One user's page.

use tracing::{Span, field, instrument};

use super::feed::Feed;
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;
use super::validation::{Invalid, Refused};
use super::{count, seed};

/// What `handle` posted, newest first, then the crud that every page has.
///
/// # Errors
///
/// The handle is blank, or the store failed.
#[instrument(name = "activities_users", skip_all, fields(app.handle = handle, app.result_length = field::Empty))]
pub async fn user<S: Store>(store: &S, handle: &str, now: Timestamp) -> Result<Feed, Refused> {
    if handle.is_empty() {
        return Err(Invalid::BlankUserHandle.into());
    }
    let page = page(store, handle, now).await?;
    Span::current().record("app.result_length", count(page.len()));
    Ok(page)
}

/// A span of its own, so that a trace shows the time spent on data apart from the rest.
#[instrument(name = "mock-data", skip_all, fields(xray.metadata.namespace.key = field::Empty))]
async fn page<S: Store>(store: &S, handle: &str, now: Timestamp) -> Result<Feed, StoreError> {
    let page = Feed::of(store, Some(handle), &seed::USER, now).await?;
    let span = Span::current();
    if !span.is_disabled() {
        let metadata = format!(r#"{{"now": "{now}", "results-size": {}}}"#, page.len());
        span.record("xray.metadata.namespace.key", metadata);
    }
    Ok(page)
}
