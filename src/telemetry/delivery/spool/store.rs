//! The files of one backend: a line of segments for each rank, so that what is worth least can be thrown away first,
//! a file at a time. They are read in the order in which items were written, whatever their rank.

use std::collections::VecDeque;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind::InvalidData, ErrorKind::UnexpectedEof};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use super::budget::Budget;
use super::files::{Listed, files, path};
use super::group::{Group, RANKS};
use super::segment::{End, Opened, Segment, Sum, Waiting};
use crate::telemetry::delivery::sink::Rank;

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Place {
    rank: Rank,
    segment: u64,
    number: u32,
    items: u32,
}

/// What became of an item that should have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fate {
    /// It is on disk.
    Kept(Place),
    /// There is no room for what is worth as little.
    Refused,
    /// It could not be written.
    Failed,
    /// Its sink panicked over it.
    Spoilt,
}

/// What a reader makes of an item that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Seen {
    /// It is in memory now.
    Taken,
    /// It waits, and so do those after it.
    Left,
    /// It is no use; the reason.
    Lost(&'static str),
}

/// An item on disk, as a reader is shown it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Stored<'a> {
    /// When it was written, in microseconds since 1970.
    pub(in super::super) written: u64,
    /// What it counts for in the ledger.
    pub(in super::super) items: u64,
    /// What its sink made of it.
    pub(in super::super) body: &'a [u8],
}

/// What came of a reading.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Where the items are that were taken, in their order.
    pub(super) places: Vec<Place>,
    /// What was lost on the way, in items, by reason.
    pub(super) lost: Vec<(&'static str, u64)>,
    /// There is no more, or it was left.
    pub(super) ended: bool,
    /// The disk does not give it now; it may later.
    pub(super) unreadable: bool,
}

/// What a former process left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Items that wait.
    pub(super) items: u64,
    /// Items that were accepted and cannot be read, at least.
    pub(super) spoilt: u64,
    /// Files that are left alone, and why.
    pub(super) strange: Vec<String>,
}

/// What a spoilt item is counted under.
pub(super) const CORRUPT: &str = "spool_corrupt";
/// What an item is counted under whose file cannot be read.
const UNREADABLE: &str = "spool_failed";

/// The segments of one backend.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// The most that a file grows to, in bytes, unless one group is larger.
    segment_size: u64,
    lanes: [Lane; RANKS],
    /// The highest sequence given.
    last: u64,
    budget: Budget,
    /// What has not been gone through.
    listed: Vec<Listed>,
}

/// The segments of one rank, oldest first.
#[derive(Debug, Default)]
struct Lane {
    segments: VecDeque<(u64, Segment)>,
    /// The last of them is still being written.
    open: bool,
}

impl Store {
    /// Opens a folder, which is made where there is none. What a former process left in it is there as soon as it has been
    /// gone through.
    pub(super) fn list(folder: PathBuf, segment_size: u64, budget: Budget) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let listed = files(&folder)?;
        Ok(Self { folder, segment_size, lanes: Default::default(), last: 0, budget, listed })
    }

    /// Goes through all files that a former process left, which takes a third of a second for a gigabyte, and longer where a
    /// disk has to be asked; `None` where that has been done. Nothing may be written or read before.
    pub(super) fn go_through(&mut self) -> Option<Found> {
        let files = std::mem::take(&mut self.listed);
        if files.is_empty() {
            return None;
        }
        let mut found = Found::default();
        for file in &files {
            match Segment::open(&file.path, file.first) {
                Ok(Some(opened)) => {
                    found.spoilt += opened.spoilt + torn(opened.end, file.is_last(&files));
                    self.adopt(file, opened);
                }
                Ok(None) => found.strange.push(format!("{} is not of this version", file.path.display())),
                Err(error) => found.strange.push(format!("{}: {error}", file.path.display())),
            }
        }
        found.items = self.left().items;
        Some(found)
    }

    fn adopt(&mut self, file: &Listed, opened: Opened) {
        self.last = self.last.max(opened.last);
        if let Some(segment) = opened.segment {
            self.budget.take(segment.length());
            self.lanes[file.rank as usize].segments.push_back((file.first, segment));
        }
    }

    /// Writes a group at `now`, in microseconds since 1970, of each rank that is `admitted`. The fates are in the
    /// group's order. The room has been taken from the budget before; it is given back where it was not needed.
    pub(super) fn append(
        &mut self,
        mut group: Group,
        admitted: [bool; RANKS],
        now: u64,
    ) -> (Vec<Fate>, Option<io::Error>) {
        let mut firsts = [0; RANKS];
        let mut last = self.last;
        group.number(|rank| {
            last = now.max(last + 1);
            let first = &mut firsts[rank as usize];
            *first = if *first == 0 { last } else { *first };
            last
        });
        self.last = last;
        let mut failure = None;
        let mut written = [Fate::Refused; RANKS].map(Err);
        for rank in Rank::ALL.into_iter().filter(|rank| admitted[*rank as usize]) {
            let entries = &group.lanes[rank as usize];
            if entries.is_empty() {
                continue;
            }
            written[rank as usize] = match self.write(rank, entries, firsts[rank as usize]) {
                Ok(segment) => Ok(segment),
                Err(error) => {
                    self.budget.give_back(entries.len() as u64);
                    failure = Some(error);
                    Err(Fate::Failed)
                }
            };
        }
        let fates = group.entries.iter().map(|entry| match written[entry.rank as usize] {
            _ if entry.spoilt => Fate::Spoilt,
            Ok(segment) => self.note(entry.rank, segment, entry.sequence(), entry.items(), entry.out),
            Err(fate) => fate,
        });
        (fates.collect(), failure)
    }

    /// Writes entries to the end of a rank's line; in which segment they are.
    fn write(&mut self, rank: Rank, entries: &[u8], first: u64) -> io::Result<u64> {
        let lane = &mut self.lanes[rank as usize];
        let more = entries.len() as u64;
        if lane.open && lane.segments.back().is_some_and(|(_, last)| last.length() + more > self.segment_size)
        {
            lane.shut();
        }
        if !lane.open {
            let segment = Segment::create(path(&self.folder, first, rank), first)?;
            self.budget.take(segment.length());
            lane.segments.push_back((first, segment));
            lane.open = true;
        }
        let Some((id, segment)) = lane.segments.back_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (id, written) = (*id, segment.append(entries));
        if written.is_err() {
            // Where its end is torn, nothing must follow it.
            lane.shut();
            self.sweep(rank);
        }
        written.map(|()| id)
    }

    fn note(&mut self, rank: Rank, segment: u64, sequence: u64, items: u32, out: bool) -> Fate {
        match self.lanes[rank as usize].find(segment) {
            Some(found) => {
                Fate::Kept(Place { rank, segment, number: found.note(sequence, items, out), items })
            }
            None => Fate::Failed,
        }
    }

    /// Shows `see` items in the order of their writing, `most` of them, until it leaves one.
    pub(super) fn read(&mut self, most: usize, mut see: impl FnMut(Stored<'_>) -> Seen) -> Taken {
        let (mut taken, mut gone) = (Taken::default(), Vec::new());
        for _ in 0..most {
            let Some((rank, id, waiting)) = self.head(&mut taken) else {
                taken.ended = true;
                break;
            };
            let Some(segment) = self.lanes[rank as usize].find(id) else { break };
            let facts = waiting.facts;
            let seen = match segment.body(&waiting) {
                Ok(Some(body)) => see(Stored { written: facts.sequence, items: facts.items.into(), body }),
                Ok(None) => Seen::Lost(CORRUPT),
                Err(_) => {
                    taken.unreadable = true;
                    Seen::Left
                }
            };
            if seen == Seen::Left {
                taken.ended = true;
                break;
            }
            segment.pass(&waiting);
            let place = Place { rank, segment: id, number: waiting.number, items: facts.items };
            if let Seen::Lost(reason) = seen {
                taken.lost.push((reason, facts.items.into()));
                gone.push(place);
            } else {
                taken.places.push(place);
            }
        }
        if !gone.is_empty() {
            self.settle(&gone);
        }
        taken
    }

    /// The next item to be read: the one that was written first.
    fn head(&mut self, taken: &mut Taken) -> Option<(Rank, u64, Waiting)> {
        let mut heads = Vec::with_capacity(RANKS);
        for rank in Rank::ALL {
            while let Some((id, segment)) = self.lanes[rank as usize].next_unread() {
                match segment.peek() {
                    Ok(Some(waiting)) => {
                        heads.push((rank, *id, waiting));
                        break;
                    }
                    Ok(None) => {
                        segment.abandon();
                    }
                    // Somebody has deleted it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        taken.lost.push((UNREADABLE, segment.abandon().items));
                    }
                    // What was whole when it was opened is not any more, and numbers mean nothing behind it.
                    Err(error) if [InvalidData, UnexpectedEof].contains(&error.kind()) => {
                        taken.lost.push((CORRUPT, segment.abandon().items));
                    }
                    // Out of descriptors, or a disk that is away for a moment. Nothing newer may go before it.
                    Err(_) => {
                        taken.unreadable = true;
                        return None;
                    }
                }
            }
            self.sweep(rank);
        }
        heads.into_iter().min_by_key(|(_, _, waiting)| waiting.facts.sequence)
    }

    /// Items that were in memory are delivered or lost, and need not be kept any more.
    pub(super) fn settle(&mut self, places: &[Place]) {
        let together = |one: &Place, next: &Place| {
            (one.rank, one.segment, one.number + 1) == (next.rank, next.segment, next.number)
        };
        for run in places.chunk_by(together) {
            let [first, ..] = run else { continue };
            let end = first.number + u32::try_from(run.len()).unwrap_or(u32::MAX);
            let items = run.iter().map(|place| u64::from(place.items)).sum();
            let lane = &mut self.lanes[first.rank as usize];
            if let Some(segment) = lane.find(first.segment) {
                segment.settle(first.number..end, items);
            }
        }
        for rank in Rank::ALL {
            self.sweep(rank);
            for (_, segment) in &mut self.lanes[rank as usize].segments {
                let before = segment.length();
                // What cannot be marked now is marked with what is settled next.
                if segment.mark().is_ok() {
                    self.budget.take(segment.length() - before);
                }
            }
        }
    }

    /// Deletes what has nothing left.
    fn sweep(&mut self, rank: Rank) {
        let lane = &mut self.lanes[rank as usize];
        let done = |(_, segment): &(u64, Segment)| segment.left().entries == 0;
        while let Some(at) = lane.segments.iter().position(done) {
            lane.open &= at + 1 != lane.segments.len();
            if let Some((_, segment)) = lane.segments.remove(at) {
                self.budget.give_back(segment.length());
                // Where it cannot be deleted, the next process finds it, and its marks.
                segment.remove().ok();
            }
        }
    }

    /// The oldest file of the lowest rank that could be thrown away: nothing of it is in memory.
    pub(super) fn victim(&self) -> Option<(Rank, u64)> {
        let of = |rank: Rank| {
            let segments = &self.lanes[rank as usize].segments;
            segments.iter().find(|(_, segment)| !segment.is_out()).map(|(id, _)| (rank, *id))
        };
        Rank::ALL.into_iter().find_map(of)
    }

    /// Throws a file away; how many items that were.
    pub(super) fn evict(&mut self, (rank, id): (Rank, u64)) -> u64 {
        let lost = self.lanes[rank as usize].find(id).map_or(0, |segment| segment.abandon().items);
        self.sweep(rank);
        lost
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.lanes.iter().flat_map(|lane| &lane.segments).map(|(_, segment)| segment)
    }

    /// What is not settled.
    pub(super) fn left(&self) -> Sum {
        sum(self.segments().map(Segment::left))
    }

    /// What waits to be read, and about how many bytes it is.
    pub(super) fn unread(&self) -> (Sum, u64) {
        let bytes = self.segments().map(Segment::unread_bytes).sum();
        (sum(self.segments().map(Segment::unread)), bytes)
    }

    /// What the files take up, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.segments().map(Segment::length).sum()
    }

    /// When the oldest of what is left was written, in microseconds since 1970, or a little before.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.segments().filter_map(Segment::oldest).min()
    }
}

impl Lane {
    fn find(&mut self, id: u64) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&id, |(own, _)| *own).ok()?;
        self.segments.get_mut(at).map(|(_, segment)| segment)
    }

    fn next_unread(&mut self) -> Option<&mut (u64, Segment)> {
        self.segments.iter_mut().find(|(_, segment)| segment.unread().entries > 0)
    }

    /// Nothing more is written to the last segment. It is opened again when it is read.
    fn shut(&mut self) {
        self.open = false;
        if let Some((_, segment)) = self.segments.back_mut() {
            segment.close();
        }
    }
}

fn sum(all: impl Iterator<Item = Sum>) -> Sum {
    all.fold(Sum::default(), |sum, more| Sum {
        entries: sum.entries + more.entries,
        items: sum.items + more.items,
    })
}

/// How many items a file has lost by the way it ends.
fn torn(end: End, is_last: bool) -> u64 {
    match end {
        End::Whole | End::Spoilt => 0,
        // A process that ends while it writes: what it wrote had not been accepted by the spool yet.
        End::Torn { .. } if is_last => 0,
        End::Torn { items } => items,
    }
}

#[cfg(test)]
pub(super) mod tests;
