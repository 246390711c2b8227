//! Routes that fail on purpose, to see failures arrive where they should. Switched off in production.

use std::io;

use serde::Deserialize;

use super::error::Result;
use super::extract::Params;

/// Asks for a report of a warning, and otherwise goes well.
pub(super) async fn message() -> &'static str {
    tracing::warn!(report = true, "Hello World!");
    "Hello World!"
}

#[derive(Debug, Deserialize)]
pub(super) struct Raise {
    chain: Option<String>,
}

/// Fails with one error, or with a chain of three.
pub(super) async fn raise(Params(raise): Params<Raise>) -> Result<&'static str> {
    if raise.chain.is_some() {
        load_feed()?;
    } else {
        "forty-two".parse::<u32>()?;
    }
    Ok("This was to fail.")
}

/// Panics.
pub(super) async fn panic() -> &'static str {
    panic!("a panic that was asked for")
}

#[derive(Debug, thiserror::Error)]
#[error("the feed is unavailable")]
struct FeedUnavailable(#[source] PageUnreadable);

#[derive(Debug, thiserror::Error)]
#[error("page {page} cannot be read")]
struct PageUnreadable {
    page: u32,
    #[source]
    cause: io::Error,
}

fn load_feed() -> Result<(), FeedUnavailable> {
    read_page(1).map_err(FeedUnavailable)
}

fn read_page(page: u32) -> Result<(), PageUnreadable> {
    let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    Err(PageUnreadable { page, cause })
}
