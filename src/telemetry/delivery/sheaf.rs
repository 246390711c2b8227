//! What is drawn where it comes up: piece behind piece, and handed over many at once.
//!
//! To hand each piece over by itself costs more than to draw it: a lock, a wake, memory of its own that is cold when the
//! worker frees it. Each thread draws on a sheaf of its own, as a rule, which the worker takes when it looks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::time::Instant;

use super::measure::Measure;
use super::sink::Rank;

/// How long a sheaf gets, in bytes, before the next is begun: dozens of pieces.
const LONG: usize = 64 * 1024;
/// What a piece takes beside its bytes, on a sheaf and as an item that waits, in bytes and by estimate.
const PIECE: usize = 256;
/// The most sheaves that are drawn on at the same time.
const MOST: usize = 16;

/// What is known of a piece beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What it is worth where there is not room for all.
    pub rank: Rank,
    /// When it was, in milliseconds since 1970.
    pub millis: i64,
    /// What came before what within a millisecond.
    pub turn: u64,
}

impl From<Rank> for Mark {
    /// Where nobody needs to know when it was.
    fn from(rank: Rank) -> Self {
        Self { rank, millis: 0, turn: 0 }
    }
}

/// One of the pieces of a sheaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) mark: Mark,
    pub(super) measure: Measure,
}

/// What came of drawing a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawing {
    /// It is there, and takes so much, in bytes and by estimate.
    Piece(usize),
    /// It is none, and nothing of it is left.
    Refused,
    /// To draw it panicked, and nothing of it is left.
    Panicked,
}

/// Pieces that wait together.
#[derive(Debug, Default)]
pub(super) struct Sheaf {
    bytes: Vec<u8>,
    /// Where each ends, and what is known of it.
    pieces: Vec<(usize, Mark, Measure)>,
    /// Those that were as long as they get.
    full: Vec<Bound>,
    /// What all of it sums up to.
    sum: Measure,
    /// When the first came.
    since: Option<Instant>,
}

/// A sheaf that nothing is added to any more.
#[derive(Debug)]
struct Bound {
    bytes: Bytes,
    pieces: Vec<(usize, Mark, Measure)>,
}

impl Sheaf {
    /// What all of it sums up to.
    pub(super) fn sum(&self) -> Measure {
        self.sum
    }

    /// Has `draw` append a piece, if it says that this is one. It is [kept](Self::keep) or [rubbed out](Self::rub_out)
    /// before the next.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Vec<u8>) -> bool) -> Drawing {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(LONG + LONG / 4);
        }
        let begin = self.bytes.len();
        let drawing = match super::unless_panics(|| draw(&mut self.bytes)) {
            Some(true) => return Drawing::Piece(self.bytes.len() - begin + PIECE),
            Some(false) => Drawing::Refused,
            None => Drawing::Panicked,
        };
        self.rub_out();
        drawing
    }

    /// Lets go of what was drawn last.
    pub(super) fn rub_out(&mut self) {
        self.bytes.truncate(self.pieces.last().map_or(0, |&(end, ..)| end));
    }

    /// Keeps what was drawn last.
    pub(super) fn keep(&mut self, mark: Mark, measure: Measure) {
        self.pieces.push((self.bytes.len(), mark, measure));
        self.sum = self.sum.plus(measure);
        self.since.get_or_insert_with(Instant::now);
        if self.bytes.len() >= LONG {
            // The next will have about as many.
            let room = Vec::with_capacity(self.pieces.len());
            let bytes = std::mem::take(&mut self.bytes).into();
            self.full.push(Bound { bytes, pieces: std::mem::replace(&mut self.pieces, room) });
        }
    }

    /// Each piece, where none is bound.
    pub(super) fn pieces(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let mut begin = 0;
        let pieces = self.pieces.iter().map(move |&(end, ..)| {
            let piece = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            piece
        });
        self.full.is_empty().then_some(pieces)
    }

    /// Lets go of all of it, which has been sent; what it summed up to.
    pub(super) fn clear(&mut self) -> Measure {
        self.bytes.clear();
        self.pieces.clear();
        self.full.clear();
        self.since = None;
        std::mem::take(&mut self.sum)
    }

    /// Appends all of it to `taken`, oldest first, as what `make` makes of a piece; since when the first waits.
    fn take<T>(&mut self, taken: &mut Vec<T>, make: impl Fn(Piece) -> T) -> Option<Instant> {
        let since = self.since.take()?;
        self.sum = Measure::default();
        let bound: usize = self.full.iter().map(|bound| bound.pieces.len()).sum();
        taken.reserve(bound + self.pieces.len());
        for Bound { bytes, pieces } in self.full.drain(..) {
            taken.extend(apart(&bytes, &pieces).map(&make));
        }
        // A copy, and not the memory itself: of that there is enough for many more, while it is in the processor's cache.
        let bytes = Bytes::copy_from_slice(&self.bytes);
        taken.extend(apart(&bytes, &self.pieces).map(&make));
        self.bytes.clear();
        self.pieces.clear();
        Some(since)
    }
}

fn apart<'a>(
    bytes: &'a Bytes,
    pieces: &'a [(usize, Mark, Measure)],
) -> impl ExactSizeIterator<Item = Piece> + use<'a> {
    let mut begin = 0;
    pieces.iter().map(move |&(end, mark, measure)| {
        let bytes = bytes.slice(begin..end);
        begin = end;
        Piece { bytes, mark, measure }
    })
}

/// A sheaf for each thread, or for a few.
#[derive(Debug)]
pub(super) struct Sheaves(Vec<Mutex<Sheaf>>);

impl Default for Sheaves {
    fn default() -> Self {
        let threads = available_parallelism().map_or(MOST, usize::from);
        Self((0..threads.min(MOST)).map(|_| Mutex::default()).collect())
    }
}

impl Sheaves {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The thread's own, unless it is in use: by another thread, by the worker, or by this one further up, which has come
    /// here again.
    pub(super) fn own(&self) -> Option<MutexGuard<'_, Sheaf>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        let own = OWN.try_with(|own| *own).unwrap_or_default();
        let tried = self.0.get(own % self.0.len())?.try_lock();
        match tried {
            Ok(sheaf) => Some(sheaf),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether there is nothing in any of them. Looks at all, so that whoever is at one has left it.
    pub(super) fn are_empty(&self) -> bool {
        self.all().filter(|sheaf| sheaf.since.is_some()).count() == 0
    }

    /// What `make` makes of each piece in all of them, and since when the first of all waits.
    pub(super) fn take<T>(&self, make: impl Fn(Piece) -> T) -> (Vec<T>, Option<Instant>) {
        let mut taken = Vec::new();
        let since = self.all().filter_map(|mut sheaf| sheaf.take(&mut taken, &make)).min();
        (taken, since)
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Sheaf>> {
        self.0.iter().map(|sheaf| sheaf.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { rank: Rank::Routine, millis: 7, turn: 0 };
    const ONE: Measure = Measure { weight: 3, items: 2 };

    fn add(sheaf: &mut Sheaf, mark: Mark, piece: &[u8]) -> bool {
        let drawn = sheaf.draw(|out| {
            out.extend_from_slice(piece);
            true
        });
        sheaf.keep(mark, ONE);
        drawn == Drawing::Piece(piece.len() + PIECE)
    }

    fn taken(sheaves: &Sheaves) -> Vec<Piece> {
        sheaves.take(|piece| piece).0
    }

    #[test]
    fn pieces_are_what_was_drawn_whatever_their_size() {
        let sheaves = Sheaves::default();
        let sizes = [0, 1, 500, LONG - 1, LONG, 3 * LONG, 7];
        let all: Vec<_> = sizes.iter().cycle().take(100).copied().enumerate().collect();
        let piece = |(at, size): &(usize, usize)| vec![u8::try_from(*at).unwrap(); *size];
        for one in &all {
            let mut own = sheaves.own().unwrap();
            let mark = Mark { millis: one.0.try_into().unwrap(), ..MARK };
            assert!(add(&mut own, mark, &piece(one)));
        }
        assert_eq!(sheaves.own().unwrap().sum(), Measure { weight: 300, items: 200 });
        let taken = taken(&sheaves);
        assert_eq!(taken.len(), all.len());
        for (one, taken) in all.iter().zip(taken) {
            let at = i64::try_from(one.0).unwrap();
            assert_eq!((&taken.bytes[..], taken.mark.millis, taken.measure), (&piece(one)[..], at, ONE));
        }
        assert!(sheaves.are_empty());
        assert_eq!(sheaves.own().unwrap().sum(), Measure::default());
    }

    #[test]
    fn what_is_not_bound_can_be_seen_and_let_go_of() {
        let sheaves = Sheaves::default();
        let mut own = sheaves.own().unwrap();
        for piece in [b"one".as_slice(), b"", b"three"] {
            add(&mut own, MARK, piece);
        }
        assert_eq!(own.pieces().unwrap().collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
        assert_eq!(own.clear(), Measure { weight: 9, items: 6 });
        assert_eq!((own.pieces().unwrap().count(), own.sum()), (0, Measure::default()));
        add(&mut own, MARK, &[7; LONG]);
        assert!(own.pieces().is_none(), "it is bound");
        drop(own);
        assert_eq!(taken(&sheaves).len(), 1);
    }

    #[test]
    fn of_what_is_no_piece_nothing_is_left() {
        let sheaves = Sheaves::default();
        let draw = |piece: &'static [u8], end: fn() -> bool| {
            sheaves.own().unwrap().draw(|out| {
                out.extend_from_slice(piece);
                end()
            })
        };
        assert_eq!(draw(b"half", || panic!("a test's panic")), Drawing::Panicked);
        assert_eq!(draw(b"other", || false), Drawing::Refused);
        assert!(sheaves.are_empty());
        for piece in [b"one".as_slice(), b"two"] {
            assert!(add(&mut sheaves.own().unwrap(), MARK, piece));
            assert_eq!(draw(b"unwanted", || true), Drawing::Piece(8 + PIECE));
            sheaves.own().unwrap().rub_out();
        }
        let taken = taken(&sheaves);
        assert_eq!(taken.iter().map(|piece| &piece.bytes[..]).collect::<Vec<_>>(), [b"one", b"two"]);
    }

    #[test]
    fn what_comes_to_a_sheaf_in_use_finds_none() {
        let sheaves = Sheaves::default();
        let own = sheaves.own().unwrap();
        assert!(sheaves.own().is_none());
        drop(own);
        assert!(sheaves.own().is_some());
    }
}
