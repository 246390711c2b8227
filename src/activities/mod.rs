//! The domain: cruds, replies and messages.
//!
//! A *crud* is a short post that expires. Three cruds are seeded, at ages relative to the moment they are read;
//! what users post is kept by a [`Store`]. Each operation has a file, runs inside one `tracing` span named for
//! it, and takes `now` as an argument, so that expiry needs no waiting to be tested.
//!
//! Spans carry handles, ids, lengths and counts, never what somebody wrote or searched for. Counts are recorded as
//! `i64`, the one integer that stays an integer all the way to OpenTelemetry.
//!
//! Nothing here knows HTTP, nor who watches: `std`, `serde`, `chrono`, `uuid` and `tracing` only.

mod create;
mod feed;
mod home;
mod json;
mod memory;
mod messages;
mod model;
mod notifications;
mod reply;
mod search;
mod seed;
mod show;
mod store;
mod timestamp;
mod ttl;
mod user;
mod validation;

pub use self::create::create;
pub use self::feed::Feed;
pub use self::home::home;
pub use self::memory::MemoryStore;
pub use self::messages::{message_groups, messages, send_message};
pub use self::model::{Activity, Message, MessageGroup, NewReply, Reply, Text};
pub use self::notifications::notifications;
pub use self::reply::reply;
pub use self::search::search;
pub use self::show::show;
pub use self::store::{Store, StoreError};
pub use self::timestamp::Timestamp;
pub use self::ttl::{Ttl, UnknownTtl};
pub use self::user::user;
pub use self::validation::{Invalid, Refused};

/// The handle of everybody who posts: there is no login yet.
pub const AUTHOR: &str = "andrewbrown";

/// The name that goes with [`AUTHOR`].
const AUTHOR_NAME: &str = "Andrew Brown";

/// A number of things as spans take it.
///
/// OpenTelemetry has no unsigned integers; no collection here outgrows an `i64`.
fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
