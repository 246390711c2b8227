//! The domain as a trace shows it.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use cruddur::activities::{self, MemoryStore, Timestamp};
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use uuid::{Uuid, uuid};

const NOW: &str = "2026-11-20T23:56:35.179053+00:00";

/// Writes every span as a line when it closes, with its ancestors before it and its typed fields after it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        write!(self.0, " {field}={value}i64").unwrap();
    }
    fn record_u64(&mut self, field: &Field, _: u64) {
        panic!("{field} is a u64, which OpenTelemetry would get as a string");
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value}").unwrap();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }
    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event).map_or("nowhere", |span| span.name());
        self.0.lock().unwrap().push(format!("event in {span}:{}", fields.0));
    }
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let path: Vec<_> = span.scope().from_root().map(|span| span.name()).collect();
        let fields = span.extensions().get::<Fields>().unwrap().0.clone();
        self.0.lock().unwrap().push(format!("{}:{fields}", path.join(" > ")));
    }
}

async fn lines_of<T>(operation: impl Future<Output = T>) -> (T, Vec<String>) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let answer = operation.with_subscriber(subscriber).await;
    let lines = std::mem::take(&mut *lines.0.lock().unwrap());
    (answer, lines)
}

fn now() -> Timestamp {
    NOW.parse::<DateTime<Utc>>().unwrap().into()
}

const SEEDED: Uuid = uuid!("68f126b0-1ceb-4a33-88be-d90fa7109eee");

#[tokio::test]
async fn home_is_a_span_with_the_time_and_the_length() {
    let store = MemoryStore::new();
    let (_, lines) = lines_of(activities::home(&store, now())).await;
    assert_eq!(
        lines,
        [
            "event in home-activities-mock-data: message=HomeActivities".to_owned(),
            format!(
                "home-activities-mock-data: xray.name=activities_home app.now={NOW} app.result_length=3i64"
            ),
        ]
    );
}

#[tokio::test]
async fn user_has_a_child_with_the_metadata() {
    let store = MemoryStore::new();
    let (_, lines) = lines_of(activities::user(&store, "worf", now())).await;
    assert_eq!(
        lines,
        [
            format!(
                r#"activities_users > mock-data: xray.metadata.namespace.key={{"now": "{NOW}", "results-size": 1}}"#
            ),
            "activities_users: app.handle=worf app.result_length=1i64".to_owned(),
        ]
    );
}

#[tokio::test]
async fn show_is_a_span_with_the_uuid() {
    let store = MemoryStore::new();
    let (_, lines) = lines_of(activities::show(&store, SEEDED, now())).await;
    assert_eq!(lines, [format!("activities_show: activity.uuid={SEEDED} app.result_length=1i64")]);
}

#[tokio::test]
async fn lists_are_spans_with_their_length() {
    let store = MemoryStore::new();
    let (_, lines) = lines_of(async {
        activities::notifications(now());
        activities::message_groups(now());
        activities::messages(&store, "worf", now()).await.unwrap();
    })
    .await;
    assert_eq!(
        lines,
        [
            "activities_notifications: app.result_length=1i64",
            "message_groups: app.handle=andrewbrown app.result_length=2i64",
            "messages_list: app.handle=worf app.result_length=2i64",
        ]
    );
}

#[tokio::test]
async fn posting_is_a_span_with_what_was_made_but_not_what_was_said() {
    const SECRET: &str = "the shield frequency is 257.4";
    let store = MemoryStore::new();
    let (made, lines) = lines_of(async {
        let secret = || Some(SECRET.to_owned());
        let crud = activities::create(&store, secret(), Some("3-days"), now()).await.unwrap();
        let reply = activities::reply(&store, crud.uuid, secret(), now()).await.unwrap();
        let message = activities::send_message(&store, Some("worf"), secret(), now()).await.unwrap();
        activities::search(&store, Some(SECRET), now()).await.unwrap();
        (crud.uuid, reply.uuid, message.uuid)
    })
    .await;
    let (crud, reply, message) = made;
    assert_eq!(
        lines,
        [
            format!("activities_create: app.handle=andrewbrown app.ttl=3-days activity.uuid={crud}"),
            format!("activities_reply: app.handle=andrewbrown activity.uuid={crud} reply.uuid={reply}"),
            format!("messages_create: app.handle=worf message.uuid={message}"),
            "activities_search: app.term_length=29i64 app.result_length=1i64".to_owned(),
        ]
    );
    assert!(lines.iter().all(|line| !line.contains("shield")), "{lines:?}");
}

#[tokio::test]
async fn a_refused_post_still_has_its_span() {
    let store = MemoryStore::new();
    let (refused, lines) = lines_of(activities::create(&store, None, None, now())).await;
    assert!(refused.is_err());
    assert_eq!(lines, ["activities_create: app.handle=andrewbrown"]);
}
