//! What a backend brings to its delivery.

use std::error::Error;
use std::time::Duration;

use super::measure::Measure;
use super::queue::Gathered;

/// Puts batches on the wire. One attempt, one answer: when to try again is not its business.
pub trait Sink: Send + Sync + 'static {
    /// What a batch is made of.
    type Item: Send + Sync + 'static;

    /// Makes an item of a piece that was drawn where it came up, where the backend's views draw any.
    const GATHERED: Option<Gathered<Self::Item>> = None;

    /// How large an item is.
    fn measure(item: &Self::Item) -> Measure;

    /// Makes of an item what will be sent or written of it, unless it is that already: as soon as the worker gets hold of
    /// it, for what it is drawn from takes several times the room.
    fn draw(&self, item: Self::Item) -> Self::Item {
        item
    }

    /// Sends a batch of what [`Sink::draw`] and [`Sink::decode`] have made, within a time that the sink itself bounds.
    fn send(&self, batch: &[Self::Item]) -> impl Future<Output = Result<Sent, SendError>> + Send;

    /// Sends drawn pieces on the thread that has drawn them, if that takes no waiting. Where it has not sent all of them,
    /// the worker sends all.
    fn send_at_once<'a>(&self, _pieces: impl Iterator<Item = &'a [u8]>) -> bool {
        false
    }

    /// What is thrown away first when the disk is full.
    fn rank(_item: &Self::Item) -> Rank {
        Rank::Notable
    }

    /// Writes a drawn item for the disk, without anything secret. Only a sink whose delivery is spooled is asked for it.
    /// An item over which it panics is lost, and no other.
    fn encode(&self, _item: &Self::Item, _into: &mut Vec<u8>) {}

    /// Reads what [`Sink::encode`] has written, be it that of an earlier version. What is `None` is lost.
    fn decode(&self, _bytes: &[u8]) -> Option<Self::Item> {
        None
    }
}

/// What an item is worth when there is not room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// What only a developer wants to know: debug events.
    Detail,
    /// What says that all is well: requests that succeeded.
    Routine,
    /// Everything else.
    Notable,
}

impl Rank {
    pub(super) const ALL: [Self; 3] = [Self::Detail, Self::Routine, Self::Notable];
}

/// The destination has answered that it took the batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// What it did not take all the same: items, by reason.
    pub rejected: Vec<(&'static str, u64)>,
    /// What it said about that, for people; empty where it said nothing.
    pub said: String,
}

/// The batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Time may mend it: send the same batch again.
    #[error("{cause}")]
    Retry {
        /// How long the destination asked to be left alone.
        after: Option<Duration>,
        /// What happened, for people.
        cause: BoxError,
    },
    /// Too large, or something in it is bad: send it in halves; a single item is lost.
    #[error("{cause}")]
    Split {
        /// Why a single item is lost.
        reason: &'static str,
        /// What happened, for people.
        cause: BoxError,
    },
    /// A person must mend it: keep everything, and look every `probe` whether it has been done.
    #[error("{cause}")]
    Hold {
        /// How often to look.
        probe: Duration,
        /// What happened and what to do about it, for people.
        cause: BoxError,
    },
    /// Nothing will mend it: the batch is lost.
    #[error("{cause}")]
    Reject {
        /// What the loss is counted under.
        reason: &'static str,
        /// What happened, for people.
        cause: BoxError,
    },
}

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;
