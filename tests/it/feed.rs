//! What shows, and for how long. The clock is an argument, so days pass at once.

use chrono::{TimeDelta, Utc};
use cruddur::activities::{self, Activity, MemoryStore, Timestamp};
use uuid::{Uuid, uuid};

const VERY_FUN: Uuid = uuid!("68f126b0-1ceb-4a33-88be-d90fa7109eee");
const SIMPLE_TAILOR: Uuid = uuid!("248959df-3079-4947-b847-9e0892d1bab4");
const NO_HONOR: Uuid = uuid!("26e12864-1c26-5c3a-9658-97a10f8fea67");

fn now() -> Timestamp {
    Utc::now().into()
}

async fn post(store: &MemoryStore, message: &str, ttl: &str, now: Timestamp) -> Activity {
    activities::create(store, Some(message.to_owned()), Some(ttl), now).await.unwrap()
}

async fn reply(store: &MemoryStore, to: Uuid, message: &str, now: Timestamp) -> Uuid {
    activities::reply(store, to, Some(message.to_owned()), now).await.unwrap().uuid
}

fn messages(feed: &[Activity]) -> Vec<&str> {
    feed.iter().map(|activity| &*activity.message).collect()
}

#[tokio::test]
async fn posts_come_newest_first_before_the_seeded_cruds() {
    let (store, now) = (MemoryStore::new(), now());
    post(&store, "one", "1-day", now).await;
    post(&store, "two", "1-day", now.offset(TimeDelta::seconds(1))).await;
    let feed = activities::home(&store, now.offset(TimeDelta::seconds(2))).await.unwrap().into_cruds();
    assert_eq!(
        messages(&feed),
        [
            "two",
            "one",
            "Cloud is very fun!",
            "I am out of prune juice",
            "My dear doctor, I am just simple tailor"
        ]
    );
}

#[tokio::test]
async fn seeded_times_are_relative_to_now() {
    let (store, now) = (MemoryStore::new(), now());
    let feed = activities::home(&store, now).await.unwrap().into_cruds();
    let ages: Vec<_> = feed
        .iter()
        .map(|crud| (now.time() - crud.created_at.time(), crud.expires_at.time() - now.time()))
        .collect();
    assert_eq!(
        ages,
        [
            (TimeDelta::days(2), TimeDelta::days(5)),
            (TimeDelta::days(7), TimeDelta::days(9)),
            (TimeDelta::hours(1), TimeDelta::hours(12))
        ]
    );
    assert_eq!(feed[0].replies[0].created_at, now.offset(-TimeDelta::days(2)));
}

#[tokio::test]
async fn an_expired_crud_is_gone_everywhere() {
    let (store, now) = (MemoryStore::new(), now());
    let crud = post(&store, "fleeting", "1-hour", now).await;
    reply(&store, crud.uuid, "indeed", now).await;

    let before = now.offset(TimeDelta::hours(1) - TimeDelta::microseconds(1));
    assert_eq!(activities::home(&store, before).await.unwrap().len(), 4);
    assert_eq!(activities::user(&store, "andrewbrown", before).await.unwrap().len(), 2);
    assert_eq!(activities::search(&store, Some("fleeting"), before).await.unwrap().len(), 1);
    assert!(activities::show(&store, crud.uuid, before).await.unwrap().is_some());

    let at = now.offset(TimeDelta::hours(1));
    assert_eq!(activities::home(&store, at).await.unwrap().len(), 3);
    assert_eq!(activities::user(&store, "andrewbrown", at).await.unwrap().len(), 1);
    assert_eq!(activities::search(&store, Some("fleeting"), at).await.unwrap(), []);
    assert_eq!(activities::show(&store, crud.uuid, at).await.unwrap(), None);
}

#[tokio::test]
async fn replies_follow_those_that_were_there_and_are_counted() {
    let (store, now) = (MemoryStore::new(), now());
    reply(&store, VERY_FUN, "first", now).await;
    reply(&store, VERY_FUN, "second", now).await;
    let feed = activities::home(&store, now).await.unwrap().into_cruds();
    let replies: Vec<_> = feed[0].replies.iter().map(|reply| &*reply.message).collect();
    assert_eq!(replies, ["This post has no honor!", "first", "second"]);
    assert_eq!(feed[0].replies_count, 3);
    assert_eq!(feed[1].replies_count, 0);
}

#[tokio::test]
async fn a_reply_is_found_under_its_crud() {
    let (store, now) = (MemoryStore::new(), now());
    let crud = post(&store, "hello", "1-day", now).await;
    let posted = reply(&store, crud.uuid, "hi", now).await;

    let under = activities::show(&store, posted, now).await.unwrap().unwrap();
    assert_eq!((under.uuid, under.replies[0].uuid), (crud.uuid, posted));
    let under = activities::show(&store, NO_HONOR, now).await.unwrap().unwrap();
    assert_eq!((under.uuid, under.replies[0].uuid), (VERY_FUN, NO_HONOR));
}

#[tokio::test]
async fn a_reply_to_what_is_gone_shows_nowhere() {
    let (store, now) = (MemoryStore::new(), now());
    let posted = reply(&store, Uuid::new_v4(), "anybody?", now).await;
    assert_eq!(activities::show(&store, posted, now).await.unwrap(), None);
    let feed = activities::home(&store, now).await.unwrap().into_cruds();
    assert!(feed.iter().all(|crud| crud.replies.iter().all(|reply| reply.uuid != posted)));
}

#[tokio::test]
async fn a_user_page_has_that_handles_posts_then_the_seeded_crud() {
    let (store, now) = (MemoryStore::new(), now());
    post(&store, "mine", "1-day", now).await;
    reply(&store, SIMPLE_TAILOR, "agreed", now).await;
    let mine = activities::user(&store, "andrewbrown", now).await.unwrap().into_cruds();
    assert_eq!(messages(&mine), ["mine", "Cloud is fun!"]);
    assert_eq!(mine[1].replies_count, 1);
    let others = activities::user(&store, "worf", now).await.unwrap().into_cruds();
    assert_eq!(messages(&others), ["Cloud is fun!"]);
}

#[tokio::test]
async fn search_finds_text_and_authors_in_any_case() {
    let (store, now) = (MemoryStore::new(), now());
    post(&store, "Clouds over ÄRGER", "1-day", now).await;
    for (term, found) in [
        ("CLOUD", vec!["Clouds over ÄRGER", "Cloud is very fun!"]),
        ("ärger", vec!["Clouds over ÄRGER"]),
        ("worf", vec!["I am out of prune juice"]),
        ("klingon", vec![]),
    ] {
        assert_eq!(messages(&activities::search(&store, Some(term), now).await.unwrap()), found, "{term}");
    }
}

#[test]
fn a_feed_of_nothing_is_an_empty_array() {
    let (feed, mut json) = (activities::Feed::from(Vec::new()), Vec::new());
    feed.write(&mut json);
    assert_eq!((&json[..], feed.is_empty()), (&b"[]"[..], true));
}

#[tokio::test]
async fn a_feed_is_written_as_serde_writes_its_cruds() {
    let (store, now) = (MemoryStore::new(), now());
    let written = async || {
        let (mut home, mut user) = (Vec::new(), Vec::new());
        activities::home(&store, now).await.unwrap().write(&mut home);
        activities::user(&store, "andrewbrown", now).await.unwrap().write(&mut user);
        [home, user].map(|json| String::from_utf8(json).unwrap())
    };
    let by_serde = async || {
        let home = activities::home(&store, now).await.unwrap();
        let user = activities::user(&store, "andrewbrown", now).await.unwrap();
        [home, user].map(|feed| {
            let (len, cruds) = (feed.len(), feed.into_cruds());
            assert_eq!(len, cruds.len());
            serde_json::to_string(&cruds).unwrap()
        })
    };
    assert_eq!(written().await, by_serde().await, "as seeded");
    let crud = post(&store, "mine", "1-day", now).await;
    reply(&store, crud.uuid, "to what was posted", now).await;
    assert_eq!(written().await, by_serde().await, "with a crud before");
    reply(&store, SIMPLE_TAILOR, "to what was seeded", now).await;
    let written = written().await;
    assert_eq!(written, by_serde().await);
    assert!(written.iter().all(|json| json.contains("to what was seeded")));
}
