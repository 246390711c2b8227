//! A process's own folder.
//!
//! Several replicas may share a directory: each takes the first `instance-N` in it that no living process holds, by a
//! lock that ends with its process, however it ends. What others that are gone have left is moved over, so that the
//! next start delivers it, whichever folder it was in.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::files::move_all;

/// The most processes that share a directory.
const MOST: u32 = 256;

/// A folder that is this process's alone until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    folder: PathBuf,
    _lock: File,
}

impl Slot {
    /// Takes the first folder below `directory` that is free, and all that has no owner any more.
    pub(super) fn take(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if is_anybodys(&fs::symlink_metadata(directory)?) {
            return Err(io::Error::other("anybody may write to it, or leads elsewhere"));
        }
        let own = (0..MOST).find_map(|number| {
            let folder = directory.join(format!("instance-{number}"));
            Self::lock(folder).transpose()
        });
        let own = own.unwrap_or_else(|| {
            Err(io::Error::other(format!("{MOST} processes hold it already, which is the most")))
        })?;
        for entry in fs::read_dir(directory)? {
            let folder = entry?.path();
            let is_slot =
                folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"instance-"));
            if is_slot
                && folder != own.folder
                && let Ok(Some(orphan)) = Self::lock(folder)
            {
                orphan.hand_over(&own)?;
            }
        }
        Ok(own)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a folder, unless another process or another user has it.
    fn lock(folder: PathBuf) -> io::Result<Option<Self>> {
        if fs::symlink_metadata(&folder).is_ok_and(|found| !found.is_dir()) {
            return Ok(None);
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // The folder itself is locked: what cleans up /tmp leaves alone what is in a folder that is.
        let lock = match File::open(&folder) {
            // It is there, and somebody else's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            opened => opened?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let probe = folder.join("probe");
        // Left by a process that was killed just here.
        fs::remove_file(&probe).ok();
        let ours = match OpenOptions::new().create_new(true).write(true).open(&probe) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            opened => opened?.metadata()?.uid(),
        };
        fs::remove_file(&probe)?;
        let found = fs::symlink_metadata(&folder)?;
        // In a directory for all, such as /tmp, somebody may have made it for us to fill.
        if !found.is_dir() || found.uid() != ours {
            return Ok(None);
        }
        if found.mode() & 0o077 != 0 {
            // Platforms that mount a volume for a group give the group everything that is on it.
            fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        }
        Ok(Some(Self { folder, _lock: lock }))
    }

    /// Moves everything to another folder.
    fn hand_over(&self, to: &Self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                move_all(&entry.path(), &to.folder.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
}

/// Whether others may put folders there in our name, or have it lead elsewhere.
fn is_anybodys(directory: &Metadata) -> bool {
    const STICKY: u32 = 0o1000;
    !directory.is_dir() || directory.mode() & 0o002 != 0 && directory.mode() & STICKY == 0
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::super::group::Group;
    use super::super::store::tests::Folder;
    use super::super::store::{Seen, Store};
    use super::*;
    use crate::telemetry::delivery::sink::Rank;

    fn open(slot: &Slot) -> Store {
        Store::open(slot.folder.join("backend"), 1000, Budget::new(u64::MAX)).unwrap().0
    }

    fn write(slot: &Slot, byte: u8, now: u64) {
        let mut group = Group::default();
        group.add(Rank::Notable, 1, false, |into| into.push(byte));
        open(slot).append(group, [true; 3], now);
    }

    fn bytes(slot: &Slot) -> Vec<u8> {
        let mut bytes = Vec::new();
        open(slot).read(usize::MAX, |stored| {
            bytes.extend_from_slice(stored.body);
            Seen::Taken
        });
        bytes
    }

    #[test]
    fn living_processes_have_folders_of_their_own_and_the_dead_leave_theirs() {
        let directory = Folder::new();
        let [first, second, third] = [(); 3].map(|()| Slot::take(&directory.0).unwrap());
        let names = [&first, &second, &third].map(|slot| slot.folder.file_name().unwrap().to_owned());
        assert_eq!(names, ["instance-0", "instance-1", "instance-2"]);
        // Two at the same moment; neither is to get lost.
        write(&second, 2, 7);
        write(&third, 3, 7);
        drop((second, third));
        let next = Slot::take(&directory.0).unwrap();
        assert!(next.folder.ends_with("instance-1"));
        let mut found = bytes(&next);
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
        drop(next);
        write(&first, 1, 9);
        drop(first);
        let last = Slot::take(&directory.0).unwrap();
        let mut found = bytes(&last);
        found.sort_unstable();
        assert_eq!((found, last.folder.ends_with("instance-0")), (vec![1, 2, 3], true));
    }

    #[test]
    fn what_the_dead_have_spoilt_is_counted_by_who_takes_it_over() {
        let directory = Folder::new();
        let [first, second] = [(); 2].map(|()| Slot::take(&directory.0).unwrap());
        write(&second, 2, 7);
        write(&second, 3, 8);
        for entry in fs::read_dir(second.folder.join("backend")).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if bytes.ends_with(&[2]) {
                bytes[12] ^= 1;
                fs::write(path, bytes).unwrap();
            }
        }
        drop((first, second));
        let slot = Slot::take(&directory.0).unwrap();
        let (_, found) = Store::open(slot.folder.join("backend"), 1000, Budget::new(u64::MAX)).unwrap();
        assert_eq!((found.items, found.spoilt), (1, 1));
    }

    #[test]
    fn a_folder_of_ours_that_others_may_read_is_closed_to_them_and_used() {
        let directory = Folder::new();
        let open = directory.0.join("instance-0");
        fs::create_dir_all(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o2775)).unwrap();
        assert!(Slot::take(&directory.0).unwrap().folder.ends_with("instance-0"));
        assert_eq!(fs::metadata(&open).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_is_anybodys_is_refused_and_a_link_is_not_followed() {
        let directory = Folder::new();
        fs::create_dir_all(&directory.0).unwrap();
        fs::set_permissions(&directory.0, Permissions::from_mode(0o777)).unwrap();
        assert!(Slot::take(&directory.0).unwrap_err().to_string().contains("anybody"));
        // As /tmp is.
        fs::set_permissions(&directory.0, Permissions::from_mode(0o1777)).unwrap();
        let elsewhere = directory.0.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.0.join("instance-0")).unwrap();
        assert!(Slot::take(&directory.0).unwrap().folder.ends_with("instance-1"));
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing is written there");
        let link = directory.0.join("link");
        std::os::unix::fs::symlink(&directory.0, &link).unwrap();
        assert!(Slot::take(&link).is_err());
    }
}
