//! Items that are written together.

use super::entry::{Facts, HEADER, Header};
use crate::telemetry::delivery::sink::Rank;
use crate::telemetry::delivery::unless_panics;

/// How many ranks there are.
pub(super) const RANKS: usize = 3;

/// Items on their way to the disk, encoded, by rank: what is written together is one write for each rank.
#[derive(Debug, Default)]
pub(in super::super) struct Group {
    pub(super) lanes: [Vec<u8>; RANKS],
    pub(super) entries: Vec<Pending>,
}

/// An item in a group.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) rank: Rank,
    /// Where its header is to be written in the lane.
    at: usize,
    /// All but the sequence.
    facts: Facts,
    /// Whether it stays in memory as well, so that it is not to be read again by this process.
    pub(super) out: bool,
    /// Whether its encoding panicked, so that nothing of it is in the lane.
    pub(super) spoilt: bool,
}

impl Pending {
    pub(super) fn items(&self) -> u32 {
        self.facts.items
    }

    pub(super) fn sequence(&self) -> u64 {
        self.facts.sequence
    }
}

impl Group {
    /// Takes up an item, which `encode` writes. Where that panics, the item has a place among the fates and none on disk.
    pub(in super::super) fn add(
        &mut self,
        rank: Rank,
        items: u64,
        out: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let lane = &mut self.lanes[rank as usize];
        let at = lane.len();
        lane.extend_from_slice(&[0; HEADER]);
        let spoilt = unless_panics(|| encode(lane)).is_none();
        if spoilt {
            lane.truncate(at);
        }
        let body = lane.get(at + HEADER..).unwrap_or_default();
        let facts = Facts {
            sequence: 0,
            items: u32::try_from(items).unwrap_or(u32::MAX),
            // Nothing that waits in memory is as large.
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
            check: crc32fast::hash(body),
        };
        self.entries.push(Pending { rank, at, facts, out, spoilt });
    }

    /// Gives every item its place in the order.
    pub(super) fn number(&mut self, mut next: impl FnMut(Rank) -> u64) {
        let whole = self.entries.iter_mut().filter(|entry| !entry.spoilt);
        for Pending { rank, at, facts, .. } in whole {
            facts.sequence = next(*rank);
            if let Some(header) = self.lanes[*rank as usize].get_mut(*at..*at + HEADER) {
                header.copy_from_slice(&Header::Item(*facts).to_bytes());
            }
        }
    }

    /// How many bytes it has of each rank.
    pub(super) fn sizes(&self) -> [usize; RANKS] {
        self.lanes.each_ref().map(Vec::len)
    }
}
