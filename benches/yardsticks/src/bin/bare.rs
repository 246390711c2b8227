//! What everything is measured against: the same feed, served by axum alone.
//!
//! `bare` serves the service's own types; `bare chrono` serves types as one would first write them, with times that
//! chrono's serde writes; `bare hand` has the feed written as the service writes it.

use std::env;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use cruddur::activities::{self, Activity, Feed, MemoryStore};
use serde::Serialize;
use uuid::Uuid;
use yardsticks::{PATH, READY, serve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let home = match env::args().nth(1).as_deref() {
        Some("chrono") => get(first_written),
        Some("hand") => get(by_hand),
        _ => get(own),
    };
    let routes = Router::new().route(PATH, home).route(READY, get(async || ()));
    serve(routes.with_state(Arc::new(MemoryStore::new()))).await
}

async fn own(State(store): State<Arc<MemoryStore>>) -> Json<Vec<Activity>> {
    Json(feed(&store).await.into_cruds())
}

async fn by_hand(State(store): State<Arc<MemoryStore>>) -> impl IntoResponse {
    let feed = feed(&store).await;
    let mut body = Vec::with_capacity(2048);
    feed.write(&mut body);
    ([(CONTENT_TYPE, "application/json")], body)
}

async fn first_written(State(store): State<Arc<MemoryStore>>) -> Json<Vec<Crud>> {
    Json(feed(&store).await.into_cruds().into_iter().map(Crud::from).collect())
}

async fn feed(store: &MemoryStore) -> Feed {
    activities::home(store, Utc::now().into()).await.unwrap_or_default()
}

#[derive(Serialize)]
struct Crud {
    uuid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<activities::Text>,
    handle: activities::Text,
    message: activities::Text,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    likes_count: u32,
    replies_count: u32,
    reposts_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    likes: Option<u32>,
    replies: Vec<Reply>,
}

#[derive(Serialize)]
struct Reply {
    uuid: Uuid,
    reply_to_activity_uuid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<activities::Text>,
    handle: activities::Text,
    message: activities::Text,
    likes_count: u32,
    replies_count: u32,
    reposts_count: u32,
    created_at: DateTime<Utc>,
}

impl From<Activity> for Crud {
    fn from(crud: Activity) -> Self {
        Self {
            uuid: crud.uuid,
            display_name: crud.display_name,
            handle: crud.handle,
            message: crud.message,
            created_at: crud.created_at.time(),
            expires_at: crud.expires_at.time(),
            likes_count: crud.likes_count,
            replies_count: crud.replies_count,
            reposts_count: crud.reposts_count,
            likes: crud.likes,
            replies: crud.replies.into_iter().map(Reply::from).collect(),
        }
    }
}

impl From<activities::Reply> for Reply {
    fn from(reply: activities::Reply) -> Self {
        Self {
            uuid: reply.uuid,
            reply_to_activity_uuid: reply.reply_to_activity_uuid,
            display_name: reply.display_name,
            handle: reply.handle,
            message: reply.message,
            likes_count: reply.likes_count,
            replies_count: reply.replies_count,
            reposts_count: reply.reposts_count,
            created_at: reply.created_at.time(),
        }
    }
}
