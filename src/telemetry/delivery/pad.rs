//! Where sinks draw: each piece behind the one before, in few large blocks.
//!
//! An item waits for its batch as long as that takes to fill, in which time megabytes are drawn. An allocation for each
//! of them costs more than to draw it: what is allocated one by one is freed one by one, and by then no cache has it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::thread::LocalKey;

use bytes::{Bytes, BytesMut};

/// How large a block is, in bytes: of dozens of pieces, and soon free again.
const BLOCK: usize = 64 * 1024;
/// How many blocks that are full are kept to be used again, while they are still in the processor's cache.
const KEPT: usize = 16;

/// What pieces are drawn on, one at a time.
#[derive(Debug, Default)]
pub struct Pad {
    sketch: Vec<u8>,
    block: BytesMut,
    has_block: bool,
    /// Oldest first.
    full: VecDeque<BytesMut>,
}

impl Pad {
    /// Has `draw` draw on the thread's pad, or where that is in use or gone already, as at a thread's end, on another.
    pub(super) fn of_thread<T>(
        own: &'static LocalKey<RefCell<Self>>,
        draw: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let is_free = own.try_with(|pad| pad.try_borrow_mut().is_ok());
        if is_free == Ok(true) { own.with_borrow_mut(draw) } else { draw(&mut Self::default()) }
    }

    /// The bytes that `draw` appends. They share their block with their neighbours'.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        self.sketch.clear();
        draw(&mut self.sketch);
        let length = self.sketch.len();
        if length > BLOCK / 4 {
            // Large enough to be by itself, and to be no burden here.
            return std::mem::take(&mut self.sketch).into();
        }
        if self.block.capacity() < length {
            self.turn();
        }
        self.block.extend_from_slice(&self.sketch);
        self.block.split().freeze()
    }

    /// Goes on to the oldest of the full blocks, if nobody has a piece of it any more, or to a new one.
    fn turn(&mut self) {
        let oldest = self.full.front_mut().is_some_and(|oldest| oldest.try_reclaim(BLOCK));
        let next = if oldest { self.full.pop_front() } else { None };
        let full = std::mem::replace(&mut self.block, next.unwrap_or_else(|| BytesMut::with_capacity(BLOCK)));
        // The first time there is none.
        if std::mem::replace(&mut self.has_block, true) && self.full.len() < KEPT {
            self.full.push_back(full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_was_drawn_whatever_their_size() {
        let mut pad = Pad::default();
        let sizes = [0, 1, 500, BLOCK / 4, BLOCK / 4 + 1, BLOCK, 3 * BLOCK, 7];
        let all: Vec<_> = sizes.iter().cycle().take(100).copied().enumerate().collect();
        let piece = |(at, size): &(usize, usize)| vec![u8::try_from(*at).unwrap(); *size];
        let drawn: Vec<_> =
            all.iter().map(|one| pad.draw(|out| out.extend_from_slice(&piece(one)))).collect();
        for (one, drawn) in all.iter().zip(drawn) {
            assert_eq!(drawn, piece(one), "{one:?}");
        }
    }

    #[test]
    fn a_block_that_nobody_has_a_piece_of_is_used_again() {
        const PIECES: usize = 4;
        let mut pad = Pad::default();
        let block = |pad: &mut Pad| -> Vec<_> {
            (0..PIECES).map(|_| pad.draw(|out| out.resize(BLOCK / PIECES, b'x'))).collect()
        };
        let [first, second, third] = [(); 3].map(|()| block(&mut pad));
        assert_eq!(pad.full.len(), 2, "two are full and in use");
        let begin = first[0].as_ptr();
        drop(first);
        let fourth = block(&mut pad);
        assert_eq!((pad.full.len(), fourth[0].as_ptr()), (2, begin), "in place of a new one");
        let many: Vec<_> = (0..2 * KEPT).map(|_| block(&mut pad)).collect();
        assert_eq!(pad.full.len(), KEPT);
        drop((second, third, many));
    }

    #[test]
    fn a_threads_pad_that_is_in_use_is_no_reason_not_to_draw() {
        thread_local! {
            static PAD: RefCell<Pad> = RefCell::default();
        }
        let draw = |pad: &mut Pad| pad.draw(|out| out.extend_from_slice(b"piece"));
        let (outer, inner) = Pad::of_thread(&PAD, |pad| (draw(pad), Pad::of_thread(&PAD, draw)));
        assert_eq!((&outer[..], &inner[..]), (&b"piece"[..], &b"piece"[..]));
        let next = Pad::of_thread(&PAD, draw);
        assert_eq!(outer.as_ptr_range().end, next.as_ptr_range().start, "it is the thread's");
    }

    #[test]
    fn neighbours_share_their_block() {
        let mut pad = Pad::default();
        let [one, other] = [(); 2].map(|()| pad.draw(|out| out.extend_from_slice(b"piece")));
        assert_eq!(one.as_ptr_range().end, other.as_ptr_range().start);
    }

    #[test]
    fn what_is_left_by_a_panic_is_in_no_piece() {
        let mut pad = Pad::default();
        let torn = std::panic::AssertUnwindSafe(|| {
            pad.draw(|out| {
                out.extend_from_slice(b"half");
                panic!("a test's panic");
            })
        });
        std::panic::catch_unwind(torn).unwrap_err();
        assert_eq!(pad.draw(|out| out.extend_from_slice(b"whole")), "whole");
    }
}
