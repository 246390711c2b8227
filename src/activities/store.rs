//! Where what was posted is kept.

use std::error::Error;

use uuid::Uuid;

use super::model::{Activity, Message, Reply};
use super::timestamp::Timestamp;

/// Keeps what was posted.
///
/// The seeded feed is not in the store, and replies are kept apart from their cruds: a seeded crud has replies too.
/// Whether a posted crud still shows is decided here, against the caller's `now`.
pub trait Store: Send + Sync + 'static {
    /// Keeps a crud.
    fn add_activity(&self, activity: Activity) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The cruds posted by `handle`, or by anybody, that have not expired at `now`: newest first, without replies.
    fn activities(
        &self,
        handle: Option<&str>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Activity>, StoreError>> + Send;

    /// One posted crud, without its replies, unless it has expired at `now`.
    fn activity(
        &self,
        uuid: Uuid,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Activity>, StoreError>> + Send;

    /// Keeps a reply, whether or not its crud is a posted one.
    fn add_reply(&self, reply: Reply) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The posted replies to any of the cruds `to`, oldest first.
    fn replies(&self, to: &[Uuid]) -> impl Future<Output = Result<Vec<Reply>, StoreError>> + Send;

    /// The crud that the posted reply `uuid` replies to.
    fn replied_to(&self, uuid: Uuid) -> impl Future<Output = Result<Option<Uuid>, StoreError>> + Send;

    /// Keeps a message sent to `handle`.
    fn add_message(
        &self,
        handle: &str,
        message: Message,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The messages sent to `handle`, oldest first.
    fn messages(&self, handle: &str) -> impl Future<Output = Result<Vec<Message>, StoreError>> + Send;
}

/// The store could not answer.
///
/// Each store has failures of its own; the domain only passes them on, as the source of this one.
#[derive(Debug, thiserror::Error)]
#[error("the store of activities could not answer")]
pub struct StoreError {
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// A failure of the store, and why.
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: cause.into() }
    }
}
