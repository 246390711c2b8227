//! The files of a backend's folder, by their names.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::segment::Segment;
use crate::telemetry::delivery::sink::Rank;

/// A segment's file.
#[derive(Debug)]
pub(super) struct Listed {
    /// The sequence of its first item, which is its name.
    pub(super) first: u64,
    pub(super) rank: Rank,
    pub(super) path: PathBuf,
}

impl Listed {
    /// Whether it is the newest of its rank, which is the one that was being written.
    pub(super) fn is_last(&self, all: &[Self]) -> bool {
        !all.iter().any(|other| other.rank == self.rank && other.first > self.first)
    }
}

const EXTENSION: &str = "segment";

pub(super) fn path(folder: &Path, first: u64, rank: Rank) -> PathBuf {
    folder.join(format!("{first:020}-{}.{EXTENSION}", rank as u8))
}

/// Moves the segments of a folder whose process is gone to another one, where no name is taken twice.
pub(super) fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    let all = files(from)?;
    for file in &all {
        let Listed { first, rank, path: ref old } = *file;
        if file.is_last(&all) {
            // What the dead process was writing is cut here, where it can still be told from what has lost its end.
            Segment::trim(old, first).ok();
        }
        let free = (first..).map(|first| path(to, first, rank)).find(|path| !path.exists());
        if let Some(new) = free.filter(|_| old.exists()) {
            fs::rename(old, new)?;
        }
    }
    Ok(())
}

fn rank_of(digit: &str) -> Option<Rank> {
    Rank::ALL.into_iter().find(|rank| (*rank as u8).to_string() == digit)
}

/// The segments in a folder, oldest first.
pub(super) fn files(folder: &Path) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()?.split_once('-'));
        let named = name.and_then(|(first, rank)| Some((first.parse().ok()?, rank_of(rank)?)));
        let ours = path.extension().is_some_and(|extension| extension == EXTENSION);
        if let Some((first, rank)) = named.filter(|_| ours) {
            files.push(Listed { first, rank, path });
        }
    }
    files.sort_by_key(|file| (file.first, file.rank));
    Ok(files)
}
