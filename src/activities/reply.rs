//! Replying to a crud.

use tracing::{Span, field, instrument};
use uuid::Uuid;

use super::model::{NewReply, Reply, Text};
use super::store::Store;
use super::timestamp::Timestamp;
use super::validation::{Refused, message as validate};
use super::{AUTHOR, AUTHOR_NAME};

/// How long a reply may be, in characters (code points).
const MAX_CHARS: usize = 1024;

/// Replies to the crud `to`.
///
/// It need not be one that still shows: a page that was open while its crud expired may still reply, as it could
/// to the original backend. Such a reply shows nowhere.
///
/// # Errors
///
/// The message is blank or too long, or the store failed.
#[instrument(
    name = "activities_reply",
    skip_all,
    fields(app.handle = AUTHOR, activity.uuid = %to, reply.uuid = field::Empty)
)]
pub async fn reply<S: Store>(
    store: &S,
    to: Uuid,
    message: Option<String>,
    now: Timestamp,
) -> Result<NewReply, Refused> {
    let message = Text::Owned(validate(message, MAX_CHARS)?);
    let reply = Reply {
        uuid: Uuid::new_v4(),
        reply_to_activity_uuid: to,
        display_name: Some(Text::Borrowed(AUTHOR_NAME)),
        handle: Text::Borrowed(AUTHOR),
        message: message.clone(),
        likes_count: 0,
        replies_count: 0,
        reposts_count: 0,
        created_at: now,
    };
    let uuid = reply.uuid;
    Span::current().record("reply.uuid", field::display(uuid));
    store.add_reply(reply).await?;
    Ok(NewReply {
        uuid,
        display_name: Text::Borrowed(AUTHOR_NAME),
        handle: Text::Borrowed(AUTHOR),
        message,
        created_at: now,
        reply_to_activity_uuid: to,
    })
}
