//! Posting a crud.

use tracing::{Span, field, instrument};
use uuid::Uuid;

use super::model::{Activity, Text};
use super::store::Store;
use super::timestamp::Timestamp;
use super::ttl::Ttl;
use super::validation::{Invalid, Refused, message as validate};
use super::{AUTHOR, AUTHOR_NAME};

/// How long a crud may be, in characters (code points).
const MAX_CHARS: usize = 280;

/// Posts a crud that lives for `ttl`.
///
/// # Errors
///
/// The message is blank or too long; else the time to live is none of those offered; or the store failed.
#[instrument(
    name = "activities_create",
    skip_all,
    fields(app.handle = AUTHOR, app.ttl = field::Empty, activity.uuid = field::Empty)
)]
pub async fn create<S: Store>(
    store: &S,
    message: Option<String>,
    ttl: Option<&str>,
    now: Timestamp,
) -> Result<Activity, Refused> {
    let message = validate(message, MAX_CHARS)?;
    let ttl: Ttl = ttl.and_then(|ttl| ttl.parse().ok()).ok_or(Invalid::TtlBlank)?;
    let activity = Activity {
        uuid: Uuid::new_v4(),
        display_name: Some(Text::Borrowed(AUTHOR_NAME)),
        handle: Text::Borrowed(AUTHOR),
        message: Text::Owned(message),
        created_at: now,
        expires_at: now.offset(ttl.lifetime()),
        likes_count: 0,
        replies_count: 0,
        reposts_count: 0,
        likes: None,
        replies: Vec::new(),
    };
    let span = Span::current();
    span.record("app.ttl", ttl.name());
    span.record("activity.uuid", field::display(activity.uuid));
    store.add_activity(activity.clone()).await?;
    Ok(activity)
}
