//! `/api/messages` and `/api/message_groups`.

use std::sync::Arc;

use axum::extract::State;
use chrono::Utc;

use super::activities::posting_as_author;
use super::error::{Error, Result};
use super::extract::Segment;
use super::json::{Json, Object};
use crate::activities::{self, Message, MessageGroup, Store};

pub(super) async fn groups() -> Json<Vec<MessageGroup>> {
    Json(activities::message_groups(Utc::now().into()))
}

pub(super) async fn list<S: Store>(
    State(store): State<Arc<S>>,
    Segment(handle): Segment,
) -> Result<Json<Vec<Message>>> {
    Ok(Json(activities::messages(&*store, &handle, Utc::now().into()).await?))
}

/// The same for a handle whose `@` is written `%40`; without any `@` there is no such page.
pub(super) async fn list_encoded<S: Store>(
    store: State<Arc<S>>,
    Segment(handle): Segment,
) -> Result<Json<Vec<Message>>> {
    match handle.strip_prefix('@') {
        Some(handle) if !handle.is_empty() => list(store, Segment(handle.to_owned())).await,
        _ => Err(Error::not_found("A conversation is named by a handle, which starts with an @.")),
    }
}

pub(super) async fn send<S: Store>(State(store): State<Arc<S>>, mut body: Object) -> Result<Json<Message>> {
    posting_as_author();
    let (to, message) = (body.take_text("user_receiver_handle")?, body.take_text("message")?);
    Ok(Json(activities::send_message(&*store, to.as_deref(), message, Utc::now().into()).await?))
}
