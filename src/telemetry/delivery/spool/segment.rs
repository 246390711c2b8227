//! One file of the spool: items in the order of their writing, and marks of those that are settled.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::entry::{Facts, HEADER, Header, MAGIC};
use super::salvage::{self, Salvaged};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// A file, and what is known of its content.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    /// Open where something is being written or read.
    file: Option<File>,
    /// Up to here it is whole.
    length: u64,
    /// How many items it has.
    count: u32,
    /// What is not settled.
    left: Sum,
    /// What is not settled and not in memory.
    unread: Sum,
    /// The numbers of items that must not be read: they are settled, or have been in memory all the time.
    skip: Vec<Range<u32>>,
    /// Settled, but not marked yet, because the disk was full.
    unmarked: Vec<Range<u32>>,
    next: Cursor,
    ahead: Ahead,
    /// The sequence of the oldest item that has been read and is not settled.
    oldest_out: Option<u64>,
}

/// Some items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) entries: u32,
    pub(super) items: u64,
}

impl Sum {
    fn add(&mut self, items: u32) {
        (self.entries, self.items) = (self.entries + 1, self.items + u64::from(items));
    }

    fn take(&mut self, items: u32) {
        self.entries = self.entries.saturating_sub(1);
        self.items = self.items.saturating_sub(u64::from(items));
    }
}

/// What is to be read next.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    offset: u64,
    /// How many items come before.
    number: u32,
    /// No unread item has a lower sequence.
    sequence: u64,
}

/// What has been read ahead.
#[derive(Debug, Default)]
struct Ahead {
    at: u64,
    bytes: Vec<u8>,
}

/// An item that waits to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) number: u32,
    pub(super) facts: Facts,
    offset: u64,
}

/// What was found in a file that a former process left.
#[derive(Debug)]
pub(super) struct Opened {
    /// `None`: all of it is settled, and the file is gone.
    pub(super) segment: Option<Segment>,
    /// The highest sequence in it.
    pub(super) last: u64,
    pub(super) end: End,
    /// How many items it had where it was spoilt, as far as can be told. It is without those places now.
    pub(super) spoilt: u64,
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole entry.
    Whole,
    /// Within an item: its writing was interrupted, or the file has lost its end.
    Torn {
        /// How many it was, at least.
        items: u64,
    },
    /// With something else, behind which there may be more.
    Spoilt,
}

/// What the headers of a file say.
struct Scanned {
    /// What each item counts for.
    items: Vec<u32>,
    last: u64,
    end: End,
}

impl Segment {
    /// Begins a file.
    pub(super) fn create(path: PathBuf, first: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.create_new(true).append(true).read(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all(&MAGIC) {
            // Nobody else has seen it.
            fs::remove_file(&path).ok();
            return Err(error);
        }
        Ok(Self::new(path, Some(file), first))
    }

    fn new(path: PathBuf, file: Option<File>, first: u64) -> Self {
        let offset = MAGIC.len() as u64;
        Self {
            path,
            file,
            length: offset,
            count: 0,
            left: Sum::default(),
            unread: Sum::default(),
            skip: Vec::new(),
            unmarked: Vec::new(),
            next: Cursor { offset, number: 0, sequence: first },
            ahead: Ahead::default(),
            oldest_out: None,
        }
    }

    /// Opens what a former process left; `None` is a file that is not of this format, and is left alone.
    pub(super) fn open(path: &Path, first: u64) -> io::Result<Option<Opened>> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        let mut segment = Self::new(path.to_owned(), Some(file), first);
        if size < segment.length {
            // It had only just been created.
            fs::remove_file(path)?;
            return Ok(Some(Opened { segment: None, last: first, end: End::Whole, spoilt: 0 }));
        }
        let mut magic = MAGIC;
        segment.file()?.read_exact_at(&mut magic, 0)?;
        if magic != MAGIC {
            return Ok(None);
        }
        let Scanned { items, last, end } = segment.scan(size, first)?;
        if end == End::Spoilt {
            let spoilt = mend(path)?;
            let opened = Self::open(path, first)?;
            return Ok(opened.map(|opened| Opened { spoilt, ..opened }));
        }
        if segment.length < size {
            // What is written later must not come behind what cannot be read.
            let whole = segment.length;
            segment.file()?.set_len(whole)?;
        }
        for (number, items) in (0..).zip(&items) {
            if !segment.is_skipped(number) {
                segment.left.add(*items);
            }
        }
        segment.unread = segment.left;
        segment.close();
        if segment.left.entries == 0 {
            segment.remove()?;
            return Ok(Some(Opened { segment: None, last, end, spoilt: 0 }));
        }
        Ok(Some(Opened { segment: Some(segment), last, end, spoilt: 0 }))
    }

    /// Cuts what a process that is gone was writing, which can be told only as long as nobody else writes.
    pub(super) fn trim(path: &Path, first: u64) -> io::Result<()> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        let mut segment = Self::new(path.to_owned(), Some(file), first);
        if size < segment.length {
            return Ok(());
        }
        if let End::Torn { .. } = segment.scan(size, first)?.end {
            let whole = segment.length;
            segment.file()?.set_len(whole)?;
        }
        Ok(())
    }

    /// Reads through all headers.
    fn scan(&mut self, size: u64, first: u64) -> io::Result<Scanned> {
        let (mut items, mut last) = (Vec::new(), first);
        let end = loop {
            let left = size - self.length;
            if left == 0 {
                break End::Whole;
            }
            if left < HEADER as u64 {
                // A header that is cut says nothing for certain; what has none yet was not accepted.
                break End::Torn { items: 0 };
            }
            let header = self.header(self.length, size)?;
            match header {
                None => break End::Spoilt,
                Some(Header::Item(facts)) if left < HEADER as u64 + u64::from(facts.length) => {
                    break End::Torn { items: facts.items.into() };
                }
                Some(Header::Item(facts)) => {
                    items.push(facts.items);
                    last = last.max(facts.sequence);
                }
                Some(Header::Mark(ref range)) => skip(&mut self.skip, range.clone()),
            }
            self.length += header.map_or(0, |header| header.entry_length());
        };
        self.count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Ok(Scanned { items, last, end })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn left(&self) -> Sum {
        self.left
    }

    pub(super) fn unread(&self) -> Sum {
        self.unread
    }

    /// The bytes that are still to be read, roughly.
    pub(super) fn unread_bytes(&self) -> u64 {
        if self.unread.entries == 0 { 0 } else { self.length - self.next.offset }
    }

    /// Whether some of it is in memory.
    pub(super) fn is_out(&self) -> bool {
        self.left.entries > self.unread.entries
    }

    /// The sequence of the oldest item that is left, or a little less.
    pub(super) fn oldest(&self) -> Option<u64> {
        let unread = (self.unread.entries > 0).then_some(self.next.sequence);
        unread.into_iter().chain(self.oldest_out.filter(|_| self.is_out())).min()
    }

    /// Writes entries, whole or not at all.
    pub(super) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        let length = self.length;
        let mut file = self.file()?;
        if let Err(error) = file.write_all(entries) {
            // A part may have been written. Where even this fails, the end is torn, and the next write is refused.
            file.set_len(length)?;
            return Err(error);
        }
        self.length += entries.len() as u64;
        Ok(())
    }

    /// Notes an item that has been appended; its number.
    pub(super) fn note(&mut self, sequence: u64, items: u32, out: bool) -> u32 {
        let number = self.count;
        self.count += 1;
        self.left.add(items);
        if out {
            skip(&mut self.skip, number..number + 1);
            self.oldest_out = self.oldest_out.or(Some(sequence));
        } else {
            self.unread.add(items);
        }
        number
    }

    /// Nothing is written or read for a while.
    pub(super) fn close(&mut self) {
        (self.file, self.ahead) = (None, Ahead::default());
    }

    /// The next item that is neither settled nor in memory.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it was when it was opened.
    pub(super) fn peek(&mut self) -> io::Result<Option<Waiting>> {
        while self.unread.entries > 0 {
            let Cursor { offset, number, .. } = self.next;
            match self.header(offset, self.length)? {
                None => return Err(io::ErrorKind::InvalidData.into()),
                Some(Header::Item(facts)) if !self.is_skipped(number) => {
                    return Ok(Some(Waiting { number, facts, offset }));
                }
                Some(header) => {
                    self.next.number += u32::from(matches!(header, Header::Item(_)));
                    self.next.offset += header.entry_length();
                }
            }
        }
        Ok(None)
    }

    /// The body of an item, unless it is spoilt.
    pub(super) fn body(&mut self, waiting: &Waiting) -> io::Result<Option<&[u8]>> {
        let (length, limit) = (waiting.facts.length as usize, self.length);
        let body = self.read(waiting.offset + HEADER as u64, length, limit)?;
        Ok((crc32fast::hash(body) == waiting.facts.check).then_some(body))
    }

    /// The item has been taken into memory.
    pub(super) fn pass(&mut self, waiting: &Waiting) {
        self.next = Cursor {
            offset: waiting.offset + HEADER as u64 + u64::from(waiting.facts.length),
            number: waiting.number + 1,
            sequence: waiting.facts.sequence,
        };
        self.unread.take(waiting.facts.items);
        self.oldest_out = self.oldest_out.or(Some(waiting.facts.sequence));
    }

    /// Nothing more will be read of it; what that was.
    pub(super) fn abandon(&mut self) -> Sum {
        let unread = std::mem::take(&mut self.unread);
        self.left.entries = self.left.entries.saturating_sub(unread.entries);
        self.left.items = self.left.items.saturating_sub(unread.items);
        unread
    }

    /// Items that were in memory need not be kept any more.
    pub(super) fn settle(&mut self, numbers: Range<u32>, items: u64) {
        self.left.entries = self.left.entries.saturating_sub(numbers.end - numbers.start);
        self.left.items = self.left.items.saturating_sub(items);
        if !self.is_out() {
            self.oldest_out = None;
        }
        skip(&mut self.unmarked, numbers);
    }

    /// Writes down what is settled, so that the next process does not send it again.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if self.unmarked.is_empty() {
            return Ok(());
        }
        let marks = self.unmarked.iter().flat_map(|range| Header::Mark(range.clone()).to_bytes());
        let marks: Vec<u8> = marks.collect();
        self.append(&marks)?;
        self.unmarked.clear();
        Ok(())
    }

    /// Deletes the file.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn is_skipped(&self, number: u32) -> bool {
        self.skip.iter().any(|range| range.contains(&number))
    }

    fn header(&mut self, offset: u64, limit: u64) -> io::Result<Option<Header>> {
        let bytes = self.read(offset, HEADER, limit)?;
        Ok(bytes.first_chunk().and_then(Header::parse))
    }

    /// Bytes of the file, which has `limit` of them; more than asked for are read ahead.
    fn read(&mut self, offset: u64, length: usize, limit: u64) -> io::Result<&[u8]> {
        let end = offset + length as u64;
        if end > limit {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if offset < self.ahead.at || end > self.ahead.at + self.ahead.bytes.len() as u64 {
            let most = usize::try_from(limit - offset).unwrap_or(usize::MAX);
            let mut bytes = std::mem::take(&mut self.ahead.bytes);
            bytes.resize(length.max(CHUNK).min(most), 0);
            self.file()?.read_exact_at(&mut bytes, offset)?;
            self.ahead = Ahead { at: offset, bytes };
        }
        let start = usize::try_from(offset - self.ahead.at).unwrap_or(usize::MAX);
        Ok(self.ahead.bytes.get(start..start + length).unwrap_or_default())
    }

    fn file(&mut self) -> io::Result<&File> {
        match self.file {
            Some(ref file) => Ok(file),
            None => Ok(self.file.insert(append_to(&self.path)?)),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).read(true).open(path)
}

/// Writes a file anew without what is spoilt in it; how many items that was. Where there is no room for that, it stays
/// as it is, for the next start.
fn mend(path: &Path) -> io::Result<u64> {
    let Salvaged { bytes, lost } = salvage::salvage(&fs::read(path)?);
    let mended = path.with_extension("mended");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600).open(&mended)?.write_all(&bytes)?;
    fs::rename(&mended, path)?;
    Ok(lost)
}

/// Takes numbers into a list of ranges, which stays short where they come in order.
fn skip(ranges: &mut Vec<Range<u32>>, more: Range<u32>) {
    match ranges.last_mut() {
        Some(last) if last.end == more.start => last.end = more.end,
        _ => ranges.push(more),
    }
}
