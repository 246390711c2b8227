//! What a file of the spool consists of, byte by byte.
//!
//! ```text
//! file    MAGIC entry*
//! entry   0  crc32 of bytes 4..24      little endian throughout
//!         4  crc32 of the body
//!         8  length of the body        the highest bit set: a mark
//!        12  items                     as the ledger counts them
//!        16  sequence                  of a mark: the first and, past it, the last of the settled
//!        24  body                      what the sink made of the item; a mark has none
//! ```
//!
//! The header is checked apart from the body, so that one spoilt item does not hide those behind it.

use std::ops::Range;

/// What a file begins with; the last byte is the format's version.
pub(super) const MAGIC: [u8; 8] = *b"cruddur\x01";
/// The length of an entry's header, in bytes.
pub(super) const HEADER: usize = 24;

const MARK: u32 = 1 << 31;

/// What an entry's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// An item follows.
    Item(Facts),
    /// Those items of the same file that are settled, by their number in it.
    Mark(Range<u32>),
}

/// What is known of an item without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// When it was written, in microseconds since 1970, or one more than the one before: unique and ascending.
    pub(super) sequence: u64,
    /// What it counts for in the ledger.
    pub(super) items: u32,
    /// The length of its body; less than 2³¹.
    pub(super) length: u32,
    /// The body's checksum.
    pub(super) check: u32,
}

impl Header {
    pub(super) fn to_bytes(&self) -> [u8; HEADER] {
        let (check, length, items, sequence) = match self {
            Self::Item(facts) => (facts.check, facts.length & !MARK, facts.items, facts.sequence),
            Self::Mark(range) => (0, MARK, 0, u64::from(range.start) | (u64::from(range.end) << 32)),
        };
        let mut bytes = [0; HEADER];
        bytes[4..8].copy_from_slice(&check.to_le_bytes());
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&items.to_le_bytes());
        bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        let own = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// Reads a header, unless it is spoilt.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        if word(0) != crc32fast::hash(&bytes[4..]) {
            return None;
        }
        let (length, low, high) = (word(8), word(16), word(20));
        if length & MARK != 0 {
            return Some(Self::Mark(low..high));
        }
        let sequence = u64::from(low) | (u64::from(high) << 32);
        Some(Self::Item(Facts { sequence, items: word(12), length, check: word(4) }))
    }

    /// The length of the whole entry.
    pub(super) fn entry_length(&self) -> u64 {
        let body = match self {
            Self::Item(facts) => facts.length,
            Self::Mark(_) => 0,
        };
        HEADER as u64 + u64::from(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(
            sequence: u64,
            items: u32,
            length in 0..MARK,
            check: u32,
            range: (u32, u32),
            spoilt in 0..HEADER * 8,
        ) {
            for header in [
                Header::Item(Facts { sequence, items, length, check }),
                Header::Mark(range.0..range.1),
            ] {
                let mut bytes = header.to_bytes();
                prop_assert_eq!(Header::parse(&bytes), Some(header));
                bytes[spoilt / 8] ^= 1 << (spoilt % 8);
                prop_assert_eq!(Header::parse(&bytes), None);
            }
        }
    }

    #[test]
    fn zeros_are_no_header() {
        assert_eq!(Header::parse(&[0; HEADER]), None);
    }
}
