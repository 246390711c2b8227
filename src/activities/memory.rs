//! A store in this process's memory.

use std::collections::{HashSet, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use super::model::{Activity, Message, Reply};
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;

/// Keeps what was posted in memory: gone with the process, and bounded, the oldest out first.
///
/// A full store is some 10 MB at worst, of which a home page shows the cruds and their replies.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: RwLock<Kept>,
}

/// Everything oldest first.
#[derive(Debug, Default)]
struct Kept {
    activities: VecDeque<Activity>,
    replies: VecDeque<Reply>,
    messages: VecDeque<(Box<str>, Message)>,
}

impl MemoryStore {
    /// How many cruds are kept. Every home page shows all of them, so this also bounds that page.
    pub const MAX_ACTIVITIES: usize = 256;
    /// How many replies are kept, over all cruds.
    pub const MAX_REPLIES: usize = 1024;
    /// How many messages are kept, over all conversations.
    pub const MAX_MESSAGES: usize = 1024;

    /// A store with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // A panic while the lock was held leaves whole values behind: each change is one push or pop.
    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds `item`; the oldest make room.
fn push_bounded<T>(queue: &mut VecDeque<T>, capacity: usize, item: T) {
    while queue.len() >= capacity {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Store for MemoryStore {
    async fn add_activity(&self, activity: Activity) -> Result<(), StoreError> {
        let mut kept = self.write();
        // What nobody can see any more makes room before what somebody can.
        let now = activity.created_at;
        kept.activities.retain(|other| !other.expired(now));
        push_bounded(&mut kept.activities, Self::MAX_ACTIVITIES, activity);
        Ok(())
    }

    async fn activities(&self, handle: Option<&str>, now: Timestamp) -> Result<Vec<Activity>, StoreError> {
        let kept = self.read();
        let shows = |activity: &&Activity| {
            !activity.expired(now) && handle.is_none_or(|handle| activity.handle == handle)
        };
        Ok(kept.activities.iter().rev().filter(shows).cloned().collect())
    }

    async fn activity(&self, uuid: Uuid, now: Timestamp) -> Result<Option<Activity>, StoreError> {
        let kept = self.read();
        let found = kept.activities.iter().find(|activity| activity.uuid == uuid && !activity.expired(now));
        Ok(found.cloned())
    }

    async fn add_reply(&self, reply: Reply) -> Result<(), StoreError> {
        push_bounded(&mut self.write().replies, Self::MAX_REPLIES, reply);
        Ok(())
    }

    async fn replies(&self, to: &[Uuid]) -> Result<Vec<Reply>, StoreError> {
        let kept = self.read();
        if kept.replies.is_empty() {
            return Ok(Vec::new());
        }
        let to: HashSet<&Uuid> = to.iter().collect();
        Ok(kept.replies.iter().filter(|reply| to.contains(&reply.reply_to_activity_uuid)).cloned().collect())
    }

    async fn replied_to(&self, uuid: Uuid) -> Result<Option<Uuid>, StoreError> {
        let kept = self.read();
        let found = kept.replies.iter().find(|reply| reply.uuid == uuid);
        Ok(found.map(|reply| reply.reply_to_activity_uuid))
    }

    async fn add_message(&self, handle: &str, message: Message) -> Result<(), StoreError> {
        push_bounded(&mut self.write().messages, Self::MAX_MESSAGES, (handle.into(), message));
        Ok(())
    }

    async fn messages(&self, handle: &str) -> Result<Vec<Message>, StoreError> {
        let kept = self.read();
        let sent = kept.messages.iter().filter(|(to, _)| **to == *handle);
        Ok(sent.map(|(_, message)| message.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::super::model::Text;
    use super::*;

    fn activity(number: usize, now: Timestamp, lifetime: TimeDelta) -> Activity {
        Activity {
            uuid: Uuid::from_u128(number as u128),
            display_name: None,
            handle: Text::Borrowed("andrewbrown"),
            message: Text::Owned(number.to_string()),
            created_at: now,
            expires_at: now.offset(lifetime),
            likes_count: 0,
            replies_count: 0,
            reposts_count: 0,
            likes: None,
            replies: Vec::new(),
        }
    }

    fn reply(number: usize, now: Timestamp) -> Reply {
        Reply {
            uuid: Uuid::from_u128(number as u128),
            reply_to_activity_uuid: Uuid::nil(),
            display_name: None,
            handle: Text::Borrowed("andrewbrown"),
            message: Text::Borrowed("yes"),
            likes_count: 0,
            replies_count: 0,
            reposts_count: 0,
            created_at: now,
        }
    }

    fn message(number: usize, now: Timestamp) -> Message {
        Message {
            uuid: Uuid::from_u128(number as u128),
            display_name: Text::Borrowed("Andrew Brown"),
            handle: Text::Borrowed("andrewbrown"),
            message: Text::Borrowed("hello"),
            created_at: now,
        }
    }

    #[tokio::test]
    async fn a_full_store_drops_the_oldest_crud() {
        let (store, now) = (MemoryStore::new(), Timestamp::from(Utc::now()));
        for number in 0..=MemoryStore::MAX_ACTIVITIES {
            store.add_activity(activity(number, now, TimeDelta::hours(1))).await.unwrap();
        }
        let kept = store.activities(None, now).await.unwrap();
        assert_eq!(kept.len(), MemoryStore::MAX_ACTIVITIES);
        assert_eq!(kept[0].message, MemoryStore::MAX_ACTIVITIES.to_string(), "newest first");
        assert_eq!(kept.last().unwrap().message, "1", "the very first is out");
    }

    #[tokio::test]
    async fn expired_cruds_make_room_before_living_ones() {
        let (store, now) = (MemoryStore::new(), Timestamp::from(Utc::now()));
        store.add_activity(activity(0, now, TimeDelta::days(30))).await.unwrap();
        for number in 1..MemoryStore::MAX_ACTIVITIES {
            store.add_activity(activity(number, now, TimeDelta::hours(1))).await.unwrap();
        }
        let later = now.offset(TimeDelta::hours(2));
        store.add_activity(activity(9999, later, TimeDelta::hours(1))).await.unwrap();
        let kept: Vec<_> =
            store.activities(None, later).await.unwrap().into_iter().map(|kept| kept.message).collect();
        assert_eq!(kept, ["9999", "0"]);
    }

    #[tokio::test]
    async fn a_full_store_drops_the_oldest_reply() {
        let (store, now) = (MemoryStore::new(), Timestamp::from(Utc::now()));
        for number in 0..=MemoryStore::MAX_REPLIES {
            store.add_reply(reply(number, now)).await.unwrap();
        }
        let kept = store.replies(&[Uuid::nil()]).await.unwrap();
        assert_eq!(kept.len(), MemoryStore::MAX_REPLIES);
        assert_eq!(kept[0].uuid, Uuid::from_u128(1));
    }

    #[tokio::test]
    async fn a_full_store_drops_the_oldest_message() {
        let (store, now) = (MemoryStore::new(), Timestamp::from(Utc::now()));
        for number in 0..=MemoryStore::MAX_MESSAGES {
            store.add_message("worf", message(number, now)).await.unwrap();
        }
        let kept = store.messages("worf").await.unwrap();
        assert_eq!(kept.len(), MemoryStore::MAX_MESSAGES);
        assert_eq!(kept[0].uuid, Uuid::from_u128(1));
    }
}
