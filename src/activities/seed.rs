//! What is there before anybody posts, at ages relative to the moment it is read.

use std::fmt;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta};
use uuid::{Uuid, uuid};

use super::json::Template;
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
pub(super) static HOME: LazyLock<Seed> = LazyLock::new(|| Seed::of(home));
/// The one crud of everybody's page.
pub(super) static USER: LazyLock<Seed> = LazyLock::new(|| Seed::of(user));
/// The one notification.
pub(super) static NOTIFICATION: LazyLock<Seed> = LazyLock::new(|| Seed::of(notification));

/// Cruds that are there whatever is posted, and what is the same of them at any moment.
pub(super) struct Seed {
    cruds: fn(Timestamp) -> Vec<Activity>,
    uuids: Vec<Uuid>,
    template: Template,
}

impl Seed {
    fn of(cruds: fn(Timestamp) -> Vec<Activity>) -> Self {
        let now = DateTime::UNIX_EPOCH.into();
        let known = cruds(now);
        let uuids = known.iter().map(|crud| crud.uuid).collect();
        Self { cruds, uuids, template: Template::of(&known, now) }
    }

    /// As they are at the moment `now`.
    pub(super) fn cruds(&self, now: Timestamp) -> Vec<Activity> {
        (self.cruds)(now)
    }

    /// Their names, in their order.
    pub(super) fn uuids(&self) -> &[Uuid] {
        &self.uuids
    }

    /// Appends them, as they are at the moment `now`, as the elements of an array in JSON.
    pub(super) fn write(&self, now: Timestamp, out: &mut Vec<u8>) {
        self.template.write(&now.written(), out);
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seed").field(&self.uuids).finish()
    }
}

fn home(now: Timestamp) -> Vec<Activity> {
    vec![
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

fn user(now: Timestamp) -> Vec<Activity> {
    let (created, expires) = (-TimeDelta::days(1), TimeDelta::days(31));
    vec![crud(SIMPLE_TAILOR, "Andrew Brown", "Cloud is fun!", now, created, expires)]
}

fn notification(now: Timestamp) -> Vec<Activity> {
    vec![Activity {
        likes_count: 5,
        replies_count: 1,
        replies: vec![no_honor(now)],
        ..crud(VERY_FUN, "coco", "I am white unicorn", now, -TimeDelta::days(2), TimeDelta::days(5))
    }]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_seeded_is_written_as_serde_writes_it(seconds in 1_000_000_i64..4_000_000_000, nanos in 0_u32..1_000_000_000) {
            let now = Timestamp::from(DateTime::from_timestamp(seconds, nanos).unwrap());
            for seed in [&HOME, &USER, &NOTIFICATION] {
                let mut written = vec![b'['];
                seed.write(now, &mut written);
                written.push(b']');
                let cruds = seed.cruds(now);
                prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&cruds).unwrap());
                prop_assert_eq!(seed.uuids(), cruds.iter().map(|crud| crud.uuid).collect::<Vec<_>>());
            }
        }
    }
}
