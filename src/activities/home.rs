//! The home feed.

use tracing::{Span, field, info, instrument};

use super::feed::Feed;
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;
use super::{count, seed};

/// What was posted, newest first, then the seeded cruds.
///
/// # Errors
///
/// The store failed.
#[instrument(
    name = "home-activities-mock-data",
    skip_all,
    fields(xray.name = "activities_home", app.now = now.written().as_str(), app.result_length = field::Empty)
)]
pub async fn home<S: Store>(store: &S, now: Timestamp) -> Result<Feed, StoreError> {
    info!("HomeActivities");
    let feed = Feed::of(store, None, &seed::HOME, now).await?;
    Span::current().record("app.result_length", count(feed.len()));
    Ok(feed)
}
