//! One crud.

use tracing::{Span, field, instrument};
use uuid::Uuid;

use super::model::Activity;
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;
use super::{count, feed, seed};

/// The crud `uuid` with its replies, or the crud under which the reply `uuid` is found.
///
/// `None` where there is none, or none any more.
///
/// # Errors
///
/// The store failed.
#[instrument(name = "activities_show", skip_all, fields(activity.uuid = %uuid, app.result_length = field::Empty))]
pub async fn show<S: Store>(store: &S, uuid: Uuid, now: Timestamp) -> Result<Option<Activity>, StoreError> {
    let found = match find(store, uuid, now).await? {
        Some(activity) => Some(activity),
        None => match store.replied_to(uuid).await? {
            Some(crud) => find(store, crud, now).await?,
            None => None,
        },
    };
    Span::current().record("app.result_length", count(usize::from(found.is_some())));
    let Some(found) = found else { return Ok(None) };
    Ok(feed::with_replies(store, vec![found]).await?.pop())
}

async fn find<S: Store>(store: &S, uuid: Uuid, now: Timestamp) -> Result<Option<Activity>, StoreError> {
    let is_it = |activity: &Activity| {
        activity.uuid == uuid || activity.replies.iter().any(|reply| reply.uuid == uuid)
    };
    match seed::HOME.cruds(now).into_iter().find(is_it) {
        Some(seeded) => Ok(Some(seeded)),
        None => store.activity(uuid, now).await,
    }
}
