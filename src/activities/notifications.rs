//! The notifications.

use tracing::{Span, field, instrument};

use super::model::Activity;
use super::timestamp::Timestamp;
use super::{count, seed};

/// The notifications: one, for now, and always the same.
#[instrument(name = "activities_notifications", skip_all, fields(app.result_length = field::Empty))]
pub fn notifications(now: Timestamp) -> Vec<Activity> {
    let notifications = vec![seed::notification(now)];
    Span::current().record("app.result_length", count(notifications.len()));
    notifications
}
