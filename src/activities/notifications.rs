//! The notifications.

use tracing::{Span, field, instrument};

use super::feed::Feed;
use super::timestamp::Timestamp;
use super::{count, seed};

/// The notifications: one, for now, and always the same.
#[instrument(name = "activities_notifications", skip_all, fields(app.result_length = field::Empty))]
pub fn notifications(now: Timestamp) -> Feed {
    let notifications = Feed::seeded(&seed::NOTIFICATION, now);
    Span::current().record("app.result_length", count(notifications.len()));
    notifications
}
