//! The one way to write a file that is kept: settings, exports, records, pictures.
//!
//! The bytes go into a new file beside it, under a name that nobody can foresee and that nothing has (`O_EXCL`, which
//! follows no link), are synced, and take the target's place in one step. Whoever reads sees the old file or the new one.
//! What has the target's name is never opened: a link there is replaced, not followed, so that nobody else's link decides
//! which file is overwritten. For the same reason nothing is ever written *through* a link of the user's own.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::files::disk::Disk;
use crate::files::folder::sync_names;
use crate::files::own_folder::private_file;

/// Files under names like these were on their way when Ferry was killed.
const PREFIX: &str = ".ferry-";
const SUFFIX: &str = ".new";

/// Writes a file whole: a crash or a power cut leaves the old one or the new one. Only its owner can read a new file; one
/// that takes the place of another gets its rights.
///
/// # Errors
///
/// Those of the disk, and `AlreadyExists` where something that is no file has the name: a folder, a device, a pipe.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    sync_names(folder_of(path))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = there(path)?;
    let mut beside: NamedTempFile<File> =
        Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder_of(path))?;
    beside.write_all(bytes)?;
    give_rights(beside.as_file(), there.as_ref());
    Disk::judge_file_sync(beside.as_file().sync_all())?;
    // What fails here takes the new file with it: half of a secret, or room that a full disk needs.
    beside.persist(path).map(drop).map_err(|failed| failed.error)
}

/// The same for a record in a folder that nobody else can write to, where no name needs to be hidden: the new file has
/// the record's name, so that the one of a killed run is taken away by the next. Whoever writes a record is alone with it.
/// After a power cut it may be the old one that is there: the caller syncs the folder, for many at once.
pub(crate) fn replace_record(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".ferry-new");
    let beside = Path::new(&beside);
    let mut file = match private_file().create_new(true).write(true).open(beside) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(beside)?;
            private_file().create_new(true).write(true).open(beside)?
        }
        opened => opened?,
    };
    let written = file.write_all(bytes).and_then(|()| Disk::judge_file_sync(file.sync_all()));
    drop(file);
    let done = written.and_then(|()| std::fs::rename(beside, path));
    if done.is_err() {
        let _ = std::fs::remove_file(beside);
    }
    done
}

/// The ordinary file that is about to be replaced, if it is one.
fn there(path: &Path) -> io::Result<Option<Metadata>> {
    let facts = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        facts => facts?,
    };
    // A link to a device stands for it (`/dev/stdout`); any other is replaced.
    let leads_to = if facts.is_symlink() { std::fs::metadata(path).ok() } else { Some(facts.clone()) };
    if leads_to.is_some_and(|facts| !facts.is_file()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no file has this name"));
    }
    Ok(Some(facts).filter(Metadata::is_file))
}

#[cfg(unix)]
fn give_rights(file: &File, replaced: Option<&Metadata>) {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(replaced) = replaced else { return };
    let rights = std::fs::Permissions::from_mode(replaced.permissions().mode() & 0o777);
    if let Err(error) = file.set_permissions(rights) {
        tracing::debug!(%error, "the new file is for its owner only");
    }
}

/// A new file there has the rights that its folder gives.
#[cfg(not(unix))]
fn give_rights(_file: &File, _replaced: Option<&Metadata>) {}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what a killed Ferry left half-written in a folder of its own. Nobody else may be writing there.
pub(crate) fn sweep(folder: &Path) {
    let is_left =
        |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let left: Vec<PathBuf> =
        entries.filter(|entry| is_left(&entry.file_name())).map(|entry| entry.path()).collect();
    for path in left {
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!(%error, "a half-written file stays");
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn no_planted_name_or_link_decides_what_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, target) = (folder.path().join(".bashrc"), folder.path().join("lib.csv"));
        std::fs::write(&precious, "precious").unwrap();
        for planted in ["lib.csv", "lib.csv.ferry-new", ".lib.csv.ferry-new", "lib.csv.new", "lib.csv.tmp"] {
            symlink(&precious, folder.path().join(planted)).unwrap();
        }
        write_whole(&target, b"assets").unwrap();
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        assert!(!target.is_symlink(), "the link was replaced");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "assets");
        assert_eq!(mode(&target), 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6, "nothing is left beside it");
    }

    #[test]
    fn a_record_follows_no_link_that_lies_where_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, record) = (folder.path().join(".bashrc"), folder.path().join("7"));
        std::fs::write(&precious, "precious").unwrap();
        for planted in ["7", "7.ferry-new"] {
            symlink(&precious, folder.path().join(planted)).unwrap();
        }
        replace_record(&record, b"record").unwrap();
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!((std::fs::read_to_string(&record).unwrap().as_str(), mode(&record)), ("record", 0o600));
        assert!(!record.is_symlink() && !folder.path().join("7.ferry-new").exists());
    }

    #[test]
    fn a_file_keeps_its_rights_and_what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("lib.csv");
        std::fs::write(&target, "old").unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
        write_whole(&target, b"new").unwrap();
        assert_eq!((std::fs::read_to_string(&target).unwrap().as_str(), mode(&target)), ("new", 0o640));

        let (place, device) = (folder.path().join("folder"), folder.path().join("stdout"));
        std::fs::create_dir(&place).unwrap();
        symlink("/dev/null", &device).unwrap();
        for path in [place.as_path(), &device, Path::new("/dev/null")] {
            assert_eq!(write_whole(path, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert!(place.is_dir() && device.is_symlink());
    }

    #[test]
    fn many_who_save_the_same_file_at_once_leave_one_of_theirs_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("settings.json");
        let text = |number: usize| number.to_string().repeat(20_000).into_bytes();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let target = &target;
                scope.spawn(move || (0..10).for_each(|_| write_whole(target, &text(number)).unwrap()));
            }
        });
        let left = std::fs::read(&target).unwrap();
        assert!((0..8).any(|number| left == text(number)), "two of them were mixed");
        std::fs::write(folder.path().join(".ferry-a1b2c3.new"), "half").unwrap();
        sweep(folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
