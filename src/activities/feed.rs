//! Cruds and their replies, put together.

use std::collections::HashMap;

use uuid::Uuid;

use super::model::Activity;
use super::seed;
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;

/// Everything that shows: what was posted, newest first, then the seeded cruds in their order.
pub(super) async fn all<S: Store>(store: &S, now: Timestamp) -> Result<Vec<Activity>, StoreError> {
    let mut feed = store.activities(None, now).await?;
    feed.extend(seed::home(now));
    with_replies(store, feed).await
}

/// The same cruds, each with the replies posted to it after those it already had, and counted.
pub(super) async fn with_replies<S: Store>(
    store: &S,
    mut feed: Vec<Activity>,
) -> Result<Vec<Activity>, StoreError> {
    let uuids: Vec<Uuid> = feed.iter().map(|activity| activity.uuid).collect();
    let replies = store.replies(&uuids).await?;
    if replies.is_empty() {
        return Ok(feed);
    }
    let places: HashMap<Uuid, usize> =
        uuids.into_iter().enumerate().map(|(place, uuid)| (uuid, place)).collect();
    for reply in replies {
        if let Some(&place) = places.get(&reply.reply_to_activity_uuid) {
            feed[place].replies_count += 1;
            feed[place].replies.push(reply);
        }
    }
    Ok(feed)
}
