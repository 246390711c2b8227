//! Direct messages.

use tracing::{Span, field, instrument};
use uuid::Uuid;

use super::model::{Message, MessageGroup, Text};
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;
use super::validation::{Invalid, Refused, message as validate};
use super::{AUTHOR, AUTHOR_NAME, count, seed};

/// How long a message may be, in characters (code points).
const MAX_CHARS: usize = 1024;

/// The conversations: two, for now, and always the same.
#[instrument(name = "message_groups", skip_all, fields(app.handle = AUTHOR, app.result_length = field::Empty))]
pub fn message_groups(now: Timestamp) -> Vec<MessageGroup> {
    let groups = Vec::from(seed::message_groups(now));
    Span::current().record("app.result_length", count(groups.len()));
    groups
}

/// The conversation with `handle`, oldest first: it starts with the seeded messages.
///
/// # Errors
///
/// The store failed.
#[instrument(name = "messages_list", skip_all, fields(app.handle = handle, app.result_length = field::Empty))]
pub async fn messages<S: Store>(store: &S, handle: &str, now: Timestamp) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::from(seed::messages(now));
    messages.extend(store.messages(handle).await?);
    Span::current().record("app.result_length", count(messages.len()));
    Ok(messages)
}

/// Sends a message to the user `to`, with or without an `@` before the handle.
///
/// # Errors
///
/// The message is blank or too long; else the receiver is blank; or the store failed.
#[instrument(name = "messages_create", skip_all, fields(app.handle = field::Empty, message.uuid = field::Empty))]
pub async fn send_message<S: Store>(
    store: &S,
    to: Option<&str>,
    message: Option<String>,
    now: Timestamp,
) -> Result<Message, Refused> {
    let message = validate(message, MAX_CHARS)?;
    // The page names the receiver by the last part of its own address, which starts with an `@`.
    let to = to.map(|to| to.strip_prefix('@').unwrap_or(to)).filter(|to| !to.is_empty());
    let to = to.ok_or(Invalid::UserReceiverHandleBlank)?;
    let message = Message {
        uuid: Uuid::new_v4(),
        display_name: Text::Borrowed(AUTHOR_NAME),
        handle: Text::Borrowed(AUTHOR),
        message: Text::Owned(message),
        created_at: now,
    };
    let span = Span::current();
    span.record("app.handle", to);
    span.record("message.uuid", field::display(message.uuid));
    store.add_message(to, message.clone()).await?;
    Ok(message)
}
