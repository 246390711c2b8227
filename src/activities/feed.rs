//! Cruds and their replies, put together.

use std::collections::HashMap;

use uuid::Uuid;

use super::json;
use super::model::{Activity, Reply};
use super::seed::Seed;
use super::store::{Store, StoreError};
use super::timestamp::Timestamp;

/// What shows, in its order.
#[derive(Debug, Default)]
pub struct Feed {
    cruds: Vec<Activity>,
    /// What is as it was seeded, and comes behind them: at what moment it is read.
    untouched: Option<(&'static Seed, Timestamp)>,
}

impl Feed {
    /// How many cruds it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cruds.len() + self.untouched.map_or(0, |(seed, _)| seed.uuids().len())
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    #[must_use]
    pub fn into_cruds(self) -> Vec<Activity> {
        let Self { mut cruds, untouched } = self;
        if let Some((seed, now)) = untouched {
            cruds.extend(seed.cruds(now));
        }
        cruds
    }

    /// Appends it to `out` as an array in JSON: the same as serde would write of all of them.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        json::write(&self.cruds, out);
        if let Some((seed, now)) = self.untouched {
            if !self.cruds.is_empty() {
                out.push(b',');
            }
            seed.write(now, out);
        }
        out.push(b']');
    }

    /// What is seeded, and nobody can reply to.
    pub(super) fn seeded(seed: &'static Seed, now: Timestamp) -> Self {
        Self { cruds: Vec::new(), untouched: Some((seed, now)) }
    }

    /// What `handle`, or anybody, posted, newest first, and the seeded cruds behind it, each with the replies posted to it.
    pub(super) async fn of<S: Store>(
        store: &S,
        handle: Option<&str>,
        seed: &'static Seed,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut posted = store.activities(handle, now).await?;
        let replies = if posted.is_empty() {
            store.replies(seed.uuids()).await?
        } else {
            let uuids = posted.iter().map(|crud| crud.uuid).chain(seed.uuids().iter().copied());
            store.replies(&uuids.collect::<Vec<_>>()).await?
        };
        let is_touched = replies.iter().any(|reply| seed.uuids().contains(&reply.reply_to_activity_uuid));
        if is_touched {
            posted.extend(seed.cruds(now));
        }
        add(&mut posted, replies);
        Ok(Self { cruds: posted, untouched: (!is_touched).then_some((seed, now)) })
    }
}

impl From<Vec<Activity>> for Feed {
    fn from(cruds: Vec<Activity>) -> Self {
        Self { cruds, untouched: None }
    }
}

/// The same cruds, each with the replies posted to it after those it already had, and counted.
pub(super) async fn with_replies<S: Store>(
    store: &S,
    mut cruds: Vec<Activity>,
) -> Result<Vec<Activity>, StoreError> {
    let uuids: Vec<Uuid> = cruds.iter().map(|crud| crud.uuid).collect();
    add(&mut cruds, store.replies(&uuids).await?);
    Ok(cruds)
}

fn add(cruds: &mut [Activity], replies: Vec<Reply>) {
    if replies.is_empty() {
        return;
    }
    let places: HashMap<Uuid, usize> =
        cruds.iter().enumerate().map(|(place, crud)| (crud.uuid, place)).collect();
    for reply in replies {
        if let Some(&place) = places.get(&reply.reply_to_activity_uuid) {
            cruds[place].replies_count += 1;
            cruds[place].replies.push(reply);
        }
    }
}
