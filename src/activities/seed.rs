//! What is there before anybody posts, at ages relative to the moment it is read.

use chrono::TimeDelta;
use uuid::{Uuid, uuid};

use super::model::{Activity, Message, MessageGroup, Reply, Text};
use super::timestamp::Timestamp;
use super::{AUTHOR, AUTHOR_NAME};

const VERY_FUN: Uuid = uuid!("68f126b0-1ceb-4a33-88be-d90fa7109eee");
const PRUNE_JUICE: Uuid = uuid!("66e12864-8c26-4c3a-9658-95a10f8fea67");
const SIMPLE_TAILOR: Uuid = uuid!("248959df-3079-4947-b847-9e0892d1bab4");
const NO_HONOR: Uuid = uuid!("26e12864-1c26-5c3a-9658-97a10f8fea67");
const ANDREW_GROUP: Uuid = uuid!("24b95582-9e7b-4e0a-9ad1-639773ab7552");
const WORF_GROUP: Uuid = uuid!("417c360e-c4e6-4fce-873b-d2d71469b4ac");
const FIRST_MESSAGE: Uuid = uuid!("4e81c06a-db0f-4281-b4cc-98208537772a");
/// The original gave its second message the id of a crud; the two never meet.
const SECOND_MESSAGE: Uuid = PRUNE_JUICE;

/// The three cruds of the home feed, in their order.
pub(super) fn home(now: Timestamp) -> [Activity; 3] {
    [
        Activity {
            likes_count: 5,
            replies_count: 1,
            replies: vec![no_honor(now)],
            ..crud(
                VERY_FUN,
                "Andrew Brown",
                "Cloud is very fun!",
                now,
                -TimeDelta::days(2),
                TimeDelta::days(5),
            )
        },
        Activity {
            likes: Some(0),
            ..crud(
                PRUNE_JUICE,
                "Worf",
                "I am out of prune juice",
                now,
                -TimeDelta::days(7),
                TimeDelta::days(9),
            )
        },
        Activity {
            likes: Some(0),
            ..crud(
                SIMPLE_TAILOR,
                "Garek",
                "My dear doctor, I am just simple tailor",
                now,
                -TimeDelta::hours(1),
                TimeDelta::hours(12),
            )
        },
    ]
}

/// The one crud of everybody's page.
pub(super) fn user(now: Timestamp) -> Activity {
    crud(SIMPLE_TAILOR, "Andrew Brown", "Cloud is fun!", now, -TimeDelta::days(1), TimeDelta::days(31))
}

/// The one notification.
pub(super) fn notification(now: Timestamp) -> Activity {
    Activity {
        likes_count: 5,
        replies_count: 1,
        replies: vec![no_honor(now)],
        ..crud(VERY_FUN, "coco", "I am white unicorn", now, -TimeDelta::days(2), TimeDelta::days(5))
    }
}

/// The two conversations.
pub(super) fn message_groups(now: Timestamp) -> [MessageGroup; 2] {
    [(ANDREW_GROUP, AUTHOR_NAME, AUTHOR), (WORF_GROUP, "Worf", "worf")].map(|(uuid, name, handle)| {
        MessageGroup {
            uuid,
            display_name: Text::Borrowed(name),
            handle: Text::Borrowed(handle),
            created_at: now,
        }
    })
}

/// The two messages that every conversation starts with.
pub(super) fn messages(now: Timestamp) -> [Message; 2] {
    [(FIRST_MESSAGE, "Cloud is fun!"), (SECOND_MESSAGE, "This platform is great!")].map(|(uuid, message)| {
        Message {
            uuid,
            display_name: Text::Borrowed(AUTHOR_NAME),
            handle: Text::Borrowed(AUTHOR),
            message: Text::Borrowed(message),
            created_at: now,
        }
    })
}

fn crud(
    uuid: Uuid,
    handle: &'static str,
    message: &'static str,
    now: Timestamp,
    created: TimeDelta,
    expires: TimeDelta,
) -> Activity {
    Activity {
        uuid,
        display_name: None,
        handle: Text::Borrowed(handle),
        message: Text::Borrowed(message),
        created_at: now.offset(created),
        expires_at: now.offset(expires),
        likes_count: 0,
        replies_count: 0,
        reposts_count: 0,
        likes: None,
        replies: Vec::new(),
    }
}

fn no_honor(now: Timestamp) -> Reply {
    Reply {
        uuid: NO_HONOR,
        reply_to_activity_uuid: VERY_FUN,
        display_name: None,
        handle: Text::Borrowed("Worf"),
        message: Text::Borrowed("This post has no honor!"),
        likes_count: 0,
        replies_count: 0,
        reposts_count: 0,
        created_at: now.offset(-TimeDelta::days(2)),
    }
}
