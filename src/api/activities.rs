//! `/api/activities`.

use std::sync::Arc;

use axum::extract::State;
use chrono::Utc;
use serde::Deserialize;

use super::error::{Error, Result};
use super::extract::{self, Params, Segment};
use super::json::{Feed, Json, Object};
use crate::activities::{self, AUTHOR, Activity, NewReply, Store};
use crate::telemetry::observe::Exchange;

pub(super) async fn home<S: Store>(State(store): State<Arc<S>>) -> Result<Feed> {
    Ok(Feed(activities::home(&*store, Utc::now().into()).await?))
}

pub(super) async fn notifications() -> Feed {
    Feed(activities::notifications(Utc::now().into()))
}

pub(super) async fn user<S: Store>(State(store): State<Arc<S>>, Segment(handle): Segment) -> Result<Feed> {
    Ok(Feed(activities::user(&*store, &handle, Utc::now().into()).await?))
}

/// An array of one, as the frontend reads it.
pub(super) async fn show<S: Store>(State(store): State<Arc<S>>, Segment(uuid): Segment) -> Result<Feed> {
    // The router sends a handle here that is empty, or whose `@` is written `%40`.
    if let Some(handle) = uuid.strip_prefix('@') {
        return user(State(store), Segment(handle.to_owned())).await;
    }
    let found = match extract::uuid(&uuid) {
        Some(uuid) => activities::show(&*store, uuid, Utc::now().into()).await?,
        None => None,
    };
    let activity = found.ok_or_else(|| Error::not_found("There is no such activity, or it has expired."))?;
    Ok(Feed(vec![activity].into()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    term: Option<String>,
}

pub(super) async fn search<S: Store>(
    State(store): State<Arc<S>>,
    Params(search): Params<Search>,
) -> Result<Feed> {
    let found = activities::search(&*store, search.term.as_deref(), Utc::now().into()).await?;
    Ok(Feed(found.into()))
}

pub(super) async fn create<S: Store>(
    State(store): State<Arc<S>>,
    mut body: Object,
) -> Result<Json<Activity>> {
    posting_as_author();
    let (message, ttl) = (body.take_text("message")?, body.take_text("ttl")?);
    Ok(Json(activities::create(&*store, message, ttl.as_deref(), Utc::now().into()).await?))
}

pub(super) async fn reply<S: Store>(
    State(store): State<Arc<S>>,
    Segment(to): Segment,
    mut body: Object,
) -> Result<Json<NewReply>> {
    posting_as_author();
    let to = extract::uuid(&to).ok_or_else(|| Error::not_found("There is no such activity."))?;
    let message = body.take_text("message")?;
    Ok(Json(activities::reply(&*store, to, message, Utc::now().into()).await?))
}

/// Tells the observer who posts: always the same, as long as there is no login.
pub(super) fn posting_as_author() {
    if let Some(exchange) = Exchange::current() {
        exchange.set_user(AUTHOR);
    }
}
