//! What the domain speaks of, in the shape the frontend reads.
//!
//! Fields are in the order they are sent. The frontend's page dies where `replies` is not an array, so it always
//! is one.

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use super::timestamp::Timestamp;

/// Text that is either seeded, and then costs nothing to copy, or posted.
pub type Text = Cow<'static, str>;

/// A crud with its replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Names the crud.
    pub uuid: Uuid,
    /// The author's name; the seeded cruds have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Text>,
    /// The author's handle.
    pub handle: Text,
    /// What the author wrote.
    pub message: Text,
    /// When it was posted.
    pub created_at: Timestamp,
    /// When it is gone: at this moment it no longer shows.
    pub expires_at: Timestamp,
    /// How many liked it.
    pub likes_count: u32,
    /// How many replies it has; at least as many as are in `replies`.
    pub replies_count: u32,
    /// How many reposted it.
    pub reposts_count: u32,
    /// A second name for `likes_count` that two seeded cruds have always had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likes: Option<u32>,
    /// The replies, oldest first.
    pub replies: Vec<Reply>,
}

impl Activity {
    /// Whether the crud is gone at `now`.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

/// A reply as it shows under its crud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// Names the reply.
    pub uuid: Uuid,
    /// The crud replied to.
    pub reply_to_activity_uuid: Uuid,
    /// The author's name; the seeded reply has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Text>,
    /// The author's handle.
    pub handle: Text,
    /// What the author wrote.
    pub message: Text,
    /// How many liked it.
    pub likes_count: u32,
    /// How many replies it has.
    pub replies_count: u32,
    /// How many reposted it.
    pub reposts_count: u32,
    /// When it was posted.
    pub created_at: Timestamp,
}

/// A reply as its author sees it right after posting: nobody can have counted anything yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewReply {
    /// Names the reply.
    pub uuid: Uuid,
    /// The author's name.
    pub display_name: Text,
    /// The author's handle.
    pub handle: Text,
    /// What the author wrote.
    pub message: Text,
    /// When it was posted.
    pub created_at: Timestamp,
    /// The crud replied to.
    pub reply_to_activity_uuid: Uuid,
}

/// A direct message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Names the message.
    pub uuid: Uuid,
    /// The sender's name.
    pub display_name: Text,
    /// The sender's handle.
    pub handle: Text,
    /// What the sender wrote.
    pub message: Text,
    /// When it was sent.
    pub created_at: Timestamp,
}

/// A conversation, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageGroup {
    /// Names the conversation.
    pub uuid: Uuid,
    /// The other's name.
    pub display_name: Text,
    /// The other's handle.
    pub handle: Text,
    /// When it began.
    pub created_at: Timestamp,
}
