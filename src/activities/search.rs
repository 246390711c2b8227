//! Searching the feed.

use tracing::{Span, field, instrument};

use super::feed::Feed;
use super::model::Activity;
use super::store::Store;
use super::timestamp::Timestamp;
use super::validation::{Invalid, Refused};
use super::{count, seed};

/// The cruds of the home feed, in its order, whose message or author has `term` in it, in any case.
///
/// # Errors
///
/// The term is blank, or the store failed.
#[instrument(
    name = "activities_search",
    skip_all,
    fields(app.term_length = field::Empty, app.result_length = field::Empty)
)]
pub async fn search<S: Store>(
    store: &S,
    term: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Activity>, Refused> {
    let term = term.filter(|term| !term.is_empty()).ok_or(Invalid::SearchTermBlank)?;
    let span = Span::current();
    span.record("app.term_length", count(term.chars().count()));
    let term = term.to_lowercase();
    let mut found = Feed::of(store, None, &seed::HOME, now).await?.into_cruds();
    found.retain(|activity| {
        let name = activity.display_name.as_deref().unwrap_or_default();
        [&activity.message, &activity.handle, name].iter().any(|text| text.to_lowercase().contains(&term))
    });
    span.record("app.result_length", count(found.len()));
    Ok(found)
}
