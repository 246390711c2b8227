//! What can still be read of a file in which something is spoilt.
//!
//! Behind a header that cannot be read, the next one is searched for, byte by byte: one whose own checksum and whose
//! body's are right is no accident.

use std::ops::Range;

use super::entry::{HEADER, Header, MAGIC};

/// The good part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// A file of what is neither spoilt nor settled.
    pub(super) bytes: Vec<u8>,
    /// What cannot be read any more, in the ledger's items: exact where each is an item of its own, and else by the
    /// measure of those that can be read.
    pub(super) lost: u64,
}

/// What a place hides that cannot be read.
enum Hidden {
    /// A mark: what it settled is sent again.
    Mark,
    /// One item.
    Item,
    /// Nobody knows how many.
    Unknown,
}

/// Goes through all of a file.
pub(super) fn salvage(file: &[u8]) -> Salvaged {
    let mut found = Found::default();
    let mut at = MAGIC.len();
    while at < file.len() {
        at = match whole(file, at) {
            Some((header, end)) => {
                found.take(header, at..end);
                end
            }
            None => {
                let next = (at + 1..file.len()).find(|at| is_sound(file, *at)).unwrap_or(file.len());
                found.miss(&hidden(file, at..next), next - at);
                next
            }
        };
    }
    found.salvaged(file)
}

#[derive(Default)]
struct Found {
    /// By their number: where they are, and what they count for.
    items: Vec<(u32, Range<usize>, u32)>,
    settled: Vec<Range<u32>>,
    /// The number of the next item.
    number: u32,
    /// From here on, numbers may not be those that marks mean.
    uncertain_from: Option<u32>,
    /// Items that are hidden for certain.
    hidden: u64,
    /// Places that hide nobody knows how many, and their bytes.
    unknown: Vec<usize>,
}

impl Found {
    fn take(&mut self, header: Header, place: Range<usize>) {
        match header {
            Header::Item(facts) => {
                self.items.push((self.number, place, facts.items));
                self.number += 1;
            }
            // What is settled and not known to be is sent twice, which is better than never.
            Header::Mark(range) => {
                let end = self.uncertain_from.map_or(range.end, |from| range.end.min(from));
                self.settled.push(range.start..end);
            }
        }
    }

    fn miss(&mut self, hidden: &Hidden, bytes: usize) {
        match hidden {
            Hidden::Mark => {}
            Hidden::Item => {
                self.hidden += 1;
                self.number += 1;
            }
            Hidden::Unknown => {
                self.unknown.push(bytes);
                self.uncertain_from.get_or_insert(self.number);
            }
        }
    }

    fn salvaged(self, file: &[u8]) -> Salvaged {
        let entries = self.items.len().max(1) as u64;
        let items: u64 = self.items.iter().map(|(_, _, items)| u64::from(*items)).sum();
        let size = self.items.iter().map(|(_, place, _)| place.len()).sum::<usize>().max(1) as u64;
        let by_size = self.unknown.iter().map(|bytes| (*bytes as u64 * items / size).max(1));
        let lost = by_size.sum::<u64>() + self.hidden * (items / entries).max(1);
        let mut bytes = MAGIC.to_vec();
        for (number, place, _) in &self.items {
            if !self.settled.iter().any(|settled| settled.contains(number)) {
                bytes.extend_from_slice(file.get(place.clone()).unwrap_or_default());
            }
        }
        Salvaged { bytes, lost }
    }
}

/// The entry at a place, if its header is right and all of it is there; where it ends.
fn whole(file: &[u8], at: usize) -> Option<(Header, usize)> {
    let header = Header::parse(file.get(at..)?.first_chunk()?)?;
    let end = at.checked_add(usize::try_from(header.entry_length()).ok()?)?;
    (end <= file.len()).then_some((header, end))
}

/// Whether an entry at a place is right from its beginning to its end.
fn is_sound(file: &[u8], at: usize) -> bool {
    match whole(file, at) {
        Some((Header::Item(facts), end)) => crc32fast::hash(&file[at + HEADER..end]) == facts.check,
        Some((Header::Mark(range), _)) => range.start <= range.end,
        None => false,
    }
}

/// What is at a place whose header is spoilt, and behind which the next entry is right.
fn hidden(file: &[u8], place: Range<usize>) -> Hidden {
    let word = |at: usize| {
        file.get(place.start + at..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word))
    };
    let Some(body) = file.get(place.start + HEADER..place.end) else { return Hidden::Unknown };
    let is_one = word(8) == u32::try_from(body.len()).ok() || word(4) == Some(crc32fast::hash(body));
    match body.len() {
        0 => Hidden::Mark,
        _ if is_one => Hidden::Item,
        _ => Hidden::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Facts;
    use super::*;

    fn item(sequence: u64, items: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        let facts = Facts { sequence, items, length, check: crc32fast::hash(body) };
        [Header::Item(facts).to_bytes().as_slice(), body].concat()
    }

    fn file(entries: &[Vec<u8>]) -> Vec<u8> {
        [MAGIC.to_vec(), entries.concat()].concat()
    }

    /// Four items of two each, the first of them settled.
    fn entries() -> Vec<Vec<u8>> {
        let mut entries: Vec<_> = (0..4).map(|at| item(at, 2, &[u8::try_from(at).unwrap(); 40])).collect();
        entries.push(Header::Mark(0..1).to_bytes().to_vec());
        entries
    }

    #[test]
    fn a_spoilt_header_costs_one_entry_and_marks_mean_what_they_meant() {
        for byte in 0..HEADER {
            let mut entries = entries();
            entries.push(Header::Mark(3..4).to_bytes().to_vec());
            entries[1][byte] ^= 0x55;
            let salvaged = salvage(&file(&entries));
            assert_eq!((salvaged.bytes, salvaged.lost), (file(&entries[2..3]), 2), "byte {byte}");
        }
    }

    #[test]
    fn a_spoilt_mark_settles_nothing_and_nothing_is_lost() {
        let mut entries = entries();
        entries[4][20] ^= 1;
        assert_eq!(salvage(&file(&entries)), Salvaged { bytes: file(&entries[..4]), lost: 0 });
    }

    #[test]
    fn where_nobody_knows_how_many_are_gone_the_others_tell() {
        let whole = entries();
        let mut entries = entries();
        entries[1].fill(0);
        entries[2].fill(0);
        // It means the fourth, whose number is not certain any more.
        entries.push(Header::Mark(3..4).to_bytes().to_vec());
        let expected = Salvaged { bytes: file(&whole[3..4]), lost: 4 };
        assert_eq!(salvage(&file(&entries)), expected);
    }

    #[test]
    fn zeros_to_the_end_hide_something() {
        let mut file = file(&[]);
        file.extend_from_slice(&[0; 500]);
        assert_eq!(salvage(&file), Salvaged { bytes: MAGIC.to_vec(), lost: 1 });
    }
}
