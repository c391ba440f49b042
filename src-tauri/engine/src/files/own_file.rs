//! Whether a file that is found under a name again is the one that Ferry made there.
//!
//! What lies in a folder that others may write to can be theirs, and a CRC proves nothing against them: anybody can make
//! other bytes with the same one. What they cannot have is a file of this user's that nobody else may write to
//! (docs/decisions/0028).

#![allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "the numbers of rights are narrower on other systems"
)]

use std::fs::File;

use serde::{Deserialize, Serialize};

/// What tells a file from others, noted when it was made. Not the number of its disk: that changes from mount to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    /// Its inode.
    inode: u64,
    /// The user that it belongs to.
    owner: u32,
    /// Whether others may write to it. Ferry makes none that is: this disk keeps no rights (FAT and its like).
    open_to_others: bool,
}

/// Who can make files in a folder, and take them away.
#[cfg_attr(not(unix), allow(dead_code, reason = "every folder counts as private there"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// This user alone, or others only what is their own (`/tmp`).
    Private,
    /// Others as well.
    Shared,
}

#[cfg(unix)]
mod platform {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::LazyLock;

    use super::{Access, File, FileId};

    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;

    /// What the user's other programs make files with.
    static USUAL_RIGHTS: LazyLock<u32> = LazyLock::new(|| {
        // It can only be read by setting it. What another thread makes in this instant is stricter, not looser.
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        rustix::process::umask(mask);
        0o666 & !u32::from(mask.bits())
    });

    impl FileId {
        pub fn of(file: &File) -> Option<Self> {
            let facts = file.metadata().ok()?;
            Some(Self {
                inode: facts.ino(),
                owner: facts.uid(),
                open_to_others: facts.mode() & OTHERS_WRITE != 0,
            })
        }
    }

    pub fn access(folder: &File) -> Access {
        let Ok(facts) = folder.metadata() else { return Access::Shared };
        let by_whom = facts.uid() == 0 || facts.uid() == this_user();
        let alone = facts.mode() & OTHERS_WRITE == 0 || facts.mode() & STICKY != 0;
        if by_whom && alone { Access::Private } else { Access::Shared }
    }

    pub fn this_user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    pub fn give_usual_rights(file: &File) {
        // A disk that keeps no rights has nothing to give.
        let _ = rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(*USUAL_RIGHTS as _));
    }
}

/// Folders and files there have lists of rights that they take from the folder above: the user's own.
#[cfg(not(unix))]
mod platform {
    use super::{File, FileId};

    impl FileId {
        pub fn of(_file: &File) -> Option<Self> {
            None
        }
    }

    pub fn this_user() -> u32 {
        0
    }

    pub fn give_usual_rights(_file: &File) {}
}

#[cfg(unix)]
pub(super) use platform::access;
pub(super) use platform::give_usual_rights;

/// Whether only this user can have put what is in this file there: it is the one that was noted, or, where nothing was or
/// the disk gives numbers as they come, one of this user's in a folder where nobody else could have put it.
pub(crate) fn is_own(file: &File, noted: Option<FileId>, folder: Access) -> bool {
    FileId::of(file).is_none_or(|found| is_as_noted(found, noted, folder, platform::this_user()))
}

/// The same for a finished file, which others may write to if the user lets them.
pub(crate) fn was_own(file: &File, noted: Option<FileId>, folder: Access) -> bool {
    FileId::of(file).is_none_or(|found| {
        let open_to_others = noted.is_some_and(|noted| noted.open_to_others);
        is_as_noted(FileId { open_to_others, ..found }, noted, folder, platform::this_user())
    })
}

fn is_as_noted(found: FileId, noted: Option<FileId>, folder: Access, this_user: u32) -> bool {
    let is_users = found.owner == noted.map_or(this_user, |noted| noted.owner);
    let is_closed = found.open_to_others == noted.is_some_and(|noted| noted.open_to_others);
    let is_same = noted.is_some_and(|noted| noted.inode == found.inode);
    is_users && is_closed && (is_same || folder == Access::Private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_own_by_owner_rights_and_number_or_a_folder_of_ones_own() {
        let made = FileId { inode: 5, owner: 1000, open_to_others: false };
        let other = |inode, owner, open_to_others| FileId { inode, owner, open_to_others };
        for (found, noted, folder, expected) in [
            (made, Some(made), Access::Shared, true),
            // Somebody else's, also where the disk gave it the number of the one that was there.
            (other(5, 1001, false), Some(made), Access::Private, false),
            // One that somebody let others write to.
            (other(5, 1000, true), Some(made), Access::Private, false),
            // Another one of this user's: moved there by others, or the disk gives numbers as they come.
            (other(6, 1000, false), Some(made), Access::Shared, false),
            (other(6, 1000, false), Some(made), Access::Private, true),
            // Of a Ferry that noted nothing.
            (made, None, Access::Private, true),
            (made, None, Access::Shared, false),
            (other(5, 1001, false), None, Access::Private, false),
            (other(5, 1000, true), None, Access::Private, false),
            // A disk without owners and rights.
            (other(5, 0, true), Some(other(5, 0, true)), Access::Shared, true),
        ] {
            assert_eq!(is_as_noted(found, noted, folder, 1000), expected, "{found:?} {noted:?} {folder:?}");
        }
    }
}
