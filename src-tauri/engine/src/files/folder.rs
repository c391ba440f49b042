//! The target folder, held open: every name in it is reached through the folder itself, so that nobody can swap
//! the folder or plant a symbolic link between two steps.

#![allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "numbers of links and devices are narrower on other systems"
)]

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::filename;
use crate::files::disk::Disk;
use crate::files::own_file::Access;

/// Room that Ferry leaves to the rest of the system on a full disk, in bytes; one part in a hundred of a small one.
const MARGIN: u64 = 64 * 1024 * 1024;

/// An open folder that files are made in.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The same without links on the way.
    real: PathBuf,
    drive: Option<PathBuf>,
    disk: Arc<Disk>,
    sync: SharedSync,
    inner: platform::Folder,
}

/// The folders that are open just now: whoever goes to the same one shares it, and its syncs.
#[derive(Debug, Default)]
pub(crate) struct OpenFolders(Mutex<HashMap<PathBuf, Weak<Folder>>>);

impl OpenFolders {
    fn folders(&self) -> MutexGuard<'_, HashMap<PathBuf, Weak<Folder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a folder like [`Folder::open`], unless it is open and still what its path leads to.
    pub fn open(&self, path: &Path) -> Result<Arc<Folder>> {
        let open = self.folders().get(path).and_then(Weak::upgrade);
        if let Some(folder) = open.filter(|folder| folder.inner.is_at(path)) {
            return Ok(folder);
        }
        let folder = Arc::new(Folder::open(path)?);
        let mut folders = self.folders();
        folders.retain(|_, folder| folder.strong_count() > 0);
        folders.insert(path.to_owned(), Arc::downgrade(&folder));
        Ok(folder)
    }
}

impl Folder {
    /// Opens a folder, making it (and those above it) if it is not there.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)
            .map_err(|error| Error::target_io("Creating the folder", path, &error))?;
        let inner = platform::Folder::open(path)
            .map_err(|error| Error::target_io("Opening the folder", path, &error))?;
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let drive = mount_of(&real);
        let disk = inner.disk();
        Ok(Self { path: path.to_owned(), real, drive, disk, sync: SharedSync::default(), inner })
    }

    /// What its disk can do.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// A name as this disk can store it, with room for the suffixes of a part file; the same name if it can.
    pub fn fitted(&self, name: &str) -> String {
        let facts = self.disk.facts();
        filename::fitted(name, self.disk.longest_name(), facts.any_letters != Some(false))
    }

    /// Learns from the refusal of a name. True when [`Self::fitted`] gives another one now.
    pub fn learn_from_refusal(&self, name: &str, error: &io::Error) -> bool {
        self.disk.learn_from_refusal(name, error, |length| {
            let asked = self.inner.find(&"x".repeat(length));
            asked.is_err_and(|error| error.kind() == io::ErrorKind::InvalidFilename)
        })
    }

    /// Its path without links on the way.
    pub fn real_path(&self) -> &Path {
        &self.real
    }

    /// Where the drive with this folder is mounted; `None` for the one that the system is on.
    pub fn drive(&self) -> Option<&Path> {
        self.drive.as_deref()
    }

    /// Where it was asked for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The full path of a name in it.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a new file that is this user's alone; `AlreadyExists` if anything, also a dangling link, has that name.
    pub fn create_new(&self, name: &str) -> io::Result<File> {
        let file = self.inner.create_new(name)?;
        self.inner.learn_numbers(name, &file, &self.disk, true);
        Ok(file)
    }

    /// Opens an existing ordinary file for reading and writing. Links, and files with a second name, are refused by an
    /// error of the kind `InvalidInput`.
    pub fn open_existing(&self, name: &str) -> io::Result<File> {
        let file = self.inner.open_existing(name)?;
        let facts = file.metadata()?;
        #[cfg(unix)]
        let second_name = std::os::unix::fs::MetadataExt::nlink(&facts)
            > self.disk.facts().names_of_new.unwrap_or(1).max(1);
        #[cfg(not(unix))]
        let second_name = false;
        if !facts.is_file() || second_name {
            return Err(not_ordinary());
        }
        self.inner.learn_numbers(name, &file, &self.disk, false);
        Ok(file)
    }

    /// The same for a file that is on its way to another folder, where a second name of it may be.
    pub fn open_on_its_way(&self, name: &str) -> io::Result<File> {
        let file = self.inner.open_existing(name)?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_ordinary()) }
    }

    /// Whether anything has that name, or may have it: a disk that does not answer says nothing.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).unwrap_or(true)
    }

    /// Whether anything has that name; an error if the disk does not say.
    pub fn find(&self, name: &str) -> io::Result<bool> {
        self.inner.find(name)
    }

    /// Whether this name stands for this very file, which has no other name; an error if nothing has it.
    pub fn is_same(&self, name: &str, file: &File) -> io::Result<bool> {
        self.inner.is_same(name, file, &self.disk)
    }

    /// Gives a file its other name, or fails with `AlreadyExists`: nothing is ever replaced.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename_new(from, to, &self.disk)
    }

    /// Whether its drive was taken out of the place where the user sees it. A file may still be written there, and
    /// nobody would ever find it.
    pub fn is_unplugged(&self) -> bool {
        self.inner.is_unplugged(&self.path)
    }

    /// Who can put files into it.
    pub fn access(&self) -> Access {
        self.inner.access()
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    /// Makes names durable, as far as the disk can.
    pub fn sync(&self) -> io::Result<()> {
        self.sync.run(|| self.disk.sync_folder(|| self.inner.sync()))
    }

    /// How many times that has failed, for whomever.
    pub fn failed_syncs(&self) -> u64 {
        self.sync.failures()
    }

    /// Bytes that Ferry still writes here: what this user can, but for a margin that the rest of the system is left with.
    /// `None` where the disk does not tell. One that tells of no room at all may only not know; one that is full says so
    /// by itself, to whoever writes.
    pub fn free_space(&self) -> Option<u64> {
        let space = self.inner.space().filter(|space| space.free > 0)?;
        Some(space.free.saturating_sub(MARGIN.min(space.size / 100)))
    }
}

fn not_ordinary() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not an ordinary file")
}

/// Where the drive with this path is mounted; `None` for the one that the system is on.
#[cfg(unix)]
fn drive_of(path: &Path) -> Option<PathBuf> {
    mount_of(&path.canonicalize().ok()?)
}

/// The same for a path without links on the way.
#[cfg(unix)]
fn mount_of(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).map(|facts| facts.dev()).ok();
    let here = device(path)?;
    let mount = path.ancestors().take_while(|folder| device(folder) == Some(here)).last()?;
    mount.parent().is_some().then(|| mount.to_owned())
}

/// Paths there begin with their drive: one that is gone is an error by itself.
#[cfg(not(unix))]
fn drive_of(_path: &Path) -> Option<PathBuf> {
    None
}

#[cfg(not(unix))]
fn mount_of(_path: &Path) -> Option<PathBuf> {
    None
}

/// Whether a drive that was mounted here is so no longer.
pub(crate) fn is_gone(drive: &Path) -> bool {
    drive_of(drive).as_deref() != Some(drive)
}

/// What a disk tells of its room, in bytes.
struct Space {
    /// Of the whole disk.
    size: u64,
    /// That this user can still write.
    free: u64,
}

/// Bytes that this user can still write to an existing folder; `None` where the system does not tell.
pub(crate) fn free_space(path: &Path) -> Option<u64> {
    Some(platform::Folder::open(path).ok()?.space()?.free)
}

/// Bytes on disk that belong to a file, also those set aside and not yet written.
pub(crate) fn allocated(file: &File) -> u64 {
    file.metadata().map_or(0, |facts| {
        #[cfg(unix)]
        let blocks = std::os::unix::fs::MetadataExt::blocks(&facts) * 512;
        #[cfg(not(unix))]
        let blocks = 0;
        facts.len().max(blocks)
    })
}

/// Makes the names in a folder durable, as far as its disk can.
#[cfg(unix)]
pub(crate) fn sync_names(path: &Path) -> io::Result<()> {
    let folder = platform::Folder::open(path)?;
    folder.disk().sync_folder(|| folder.sync())
}

/// Names there are written through by the rename itself.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(crate) fn sync_names(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// One sync for all who need one at the same time.
#[derive(Debug, Default)]
pub(crate) struct SharedSync {
    /// How many have asked.
    asked: AtomicU64,
    done: Mutex<Synced>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Synced {
    /// Whoever asked as one of these is served.
    upto: u64,
    /// Among these a sync has failed. The system tells that once: a later sync that succeeds says nothing about them.
    failed_upto: u64,
    failure: Option<(io::ErrorKind, Option<i32>)>,
}

impl SharedSync {
    /// How many syncs have failed so far. What is done while this grows may be lost, though the next sync succeeds.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// Makes durable what the caller has done before: by `sync`, or by that of somebody who began it after this call.
    pub fn run(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.upto < mine {
            let upto = self.asked.load(Ordering::SeqCst);
            let result = sync();
            done.upto = upto;
            if let Err(error) = result {
                (done.failed_upto, done.failure) = (upto, Some((error.kind(), error.raw_os_error())));
                self.failures.fetch_add(1, Ordering::SeqCst);
            }
        }
        match done.failure {
            Some((_, Some(code))) if mine <= done.failed_upto => Err(io::Error::from_raw_os_error(code)),
            Some((kind, None)) if mine <= done.failed_upto => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

/// Writes all of these bytes from `offset` on.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all of these bytes from `offset` on.
#[cfg(windows)]
pub(crate) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Reads so many bytes from `offset` on.
pub(crate) fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use io::{Read as _, Seek as _};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// Whether two files of the same length begin and end with the same bytes.
#[cfg(unix)]
fn begin_and_end_alike(one: &File, other: &File) -> io::Result<bool> {
    const EDGE: u64 = 64 * 1024;
    let length = one.metadata()?.len();
    let edge = EDGE.min(length);
    let (mut here, mut there) = (vec![0; edge as usize], vec![0; edge as usize]);
    for at in [0, length - edge] {
        read_at(one, &mut here, at)?;
        read_at(other, &mut there, at)?;
        if here != there {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::{Arc, PoisonError};

    use rustix::fs::{self, AtFlags, Mode, OFlags};
    use rustix::io::Errno;

    use crate::filename::LONGEST_NAME;
    use crate::files::disk::{self, Disk, DiskId};
    use crate::files::own_file::{self, Access};

    #[derive(Debug)]
    pub(super) struct Folder(File);

    impl Folder {
        pub fn open(path: &Path) -> io::Result<Self> {
            let fd = fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok(Self(File::from(fd)))
        }

        pub fn disk(&self) -> Arc<Disk> {
            use std::os::unix::fs::MetadataExt as _;
            let told = self.0.metadata().ok().zip(disk::file_system(&self.0));
            let Some((facts, file_system)) = told else { return Arc::default() };
            let disk = Disk::known(DiskId { device: facts.dev(), file_system });
            if disk.facts().longest_name.is_none()
                && let Some(told) = fs::fstatvfs(&self.0).ok().and_then(|facts| usize::try_from(facts.f_namemax).ok())
                // FAT tells how many bytes its letters could take at most, and some tell nothing.
                && (1..LONGEST_NAME).contains(&told)
            {
                disk.learn(|facts| facts.longest_name = Some(told));
            }
            disk
        }

        /// Looks, once on a disk, whether a file that was just opened under this name is known again by its number.
        pub fn learn_numbers(&self, name: &str, file: &File, disk: &Disk, is_new: bool) {
            let known = disk.facts();
            if known.stable_numbers.is_some() && (known.names_of_new.is_some() || !is_new) {
                return;
            }
            let there = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
            let (Ok(there), Ok(ours)) = (there, fs::fstat(file)) else { return };
            let stable = ours.st_ino != 0 && numbers(&there) == numbers(&ours);
            disk.learn(|facts| {
                facts.stable_numbers = Some(stable);
                if is_new {
                    facts.names_of_new = Some(u64::from(ours.st_nlink));
                }
            });
        }

        pub fn create_new(&self, name: &str) -> io::Result<File> {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(File::from(fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?))
        }

        pub fn open_existing(&self, name: &str) -> io::Result<File> {
            // NONBLOCK: a FIFO planted under the name must not hang the transfer.
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            match fs::openat(&self.0, name, flags, Mode::empty()) {
                Ok(fd) => Ok(File::from(fd)),
                Err(Errno::LOOP | Errno::ISDIR) => Err(super::not_ordinary()),
                Err(error) => Err(error.into()),
            }
        }

        pub fn is_unplugged(&self, path: &Path) -> bool {
            use std::os::unix::fs::MetadataExt as _;
            match (self.0.metadata(), std::fs::metadata(path)) {
                (Ok(ours), Ok(there)) => ours.dev() != there.dev(),
                _ => false,
            }
        }

        pub fn access(&self) -> Access {
            own_file::access(&self.0)
        }

        /// Whether the path still leads to this very folder. While it is open, no other gets its number.
        pub fn is_at(&self, path: &Path) -> bool {
            use std::os::unix::fs::MetadataExt as _;
            match (self.0.metadata(), std::fs::metadata(path)) {
                (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
                _ => false,
            }
        }

        pub fn find(&self, name: &str) -> io::Result<bool> {
            match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(true),
                Err(Errno::NOENT) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }

        pub fn is_same(&self, name: &str, file: &File, disk: &Disk) -> io::Result<bool> {
            let there = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let ours = fs::fstat(file)?;
            let known = disk.facts();
            if u64::from(there.st_nlink) > known.names_of_new.unwrap_or(1).max(1) {
                return Ok(false);
            }
            if known.stable_numbers != Some(false) && ours.st_ino != 0 {
                return Ok(numbers(&there) == numbers(&ours));
            }
            // The disk gives numbers as they come. What was put in the file's place has another length, time or content.
            if there.st_dev != ours.st_dev || (there.st_size, there.st_mtime) != (ours.st_size, ours.st_mtime)
            {
                return Ok(false);
            }
            super::begin_and_end_alike(&self.open_existing(name)?, file)
        }

        pub fn rename_new(&self, from: &str, to: &str, disk: &Disk) -> io::Result<()> {
            match fs::renameat_with(&self.0, from, &self.0, to, fs::RenameFlags::NOREPLACE) {
                // Some network file systems know no such rename, and some guards of the system do not let it through: a
                // second name, then the first one away.
                Err(error) if error == Errno::PERM || disk::is_unsupported(&error.into()) => {
                    match fs::linkat(&self.0, from, &self.0, to, AtFlags::empty()) {
                        Ok(()) => fs::unlinkat(&self.0, from, AtFlags::empty()).map_err(|error| {
                            // One file with two names could be changed behind the transfer's back.
                            let _ = fs::unlinkat(&self.0, to, AtFlags::empty());
                            error.into()
                        }),
                        Err(Errno::EXIST) => Err(Errno::EXIST.into()),
                        // FAT and its like in user space, on sticks and in cameras, know no second name either, and have
                        // many words for that. What is left is to look and to rename: docs/decisions/0012.
                        Err(_) => self.rename_if_free(from, to, disk),
                    }
                }
                result => Ok(result?),
            }
        }

        fn rename_if_free(&self, from: &str, to: &str, disk: &Disk) -> io::Result<()> {
            // Two transfers that look at the same time must not both find the name free.
            let _alone = disk.naming.lock().unwrap_or_else(PoisonError::into_inner);
            match fs::statat(&self.0, to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(fs::renameat(&self.0, from, &self.0, to)?),
                Err(error) => Err(error.into()),
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            }
        }

        pub fn remove(&self, name: &str) -> io::Result<()> {
            Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
        }

        pub fn sync(&self) -> io::Result<()> {
            self.0.sync_all()
        }

        pub fn space(&self) -> Option<super::Space> {
            let facts = fs::fstatvfs(&self.0).ok()?;
            // A disk without blocks, or with more free ones than it has, has not told.
            if facts.f_blocks == 0 || facts.f_bavail > facts.f_blocks {
                return None;
            }
            let block = if facts.f_frsize == 0 { facts.f_bsize } else { facts.f_frsize };
            (block > 0).then(|| super::Space {
                size: facts.f_blocks.saturating_mul(block),
                free: facts.f_bavail.saturating_mul(block),
            })
        }
    }

    fn numbers(facts: &fs::Stat) -> (u64, u64) {
        (facts.st_dev as u64, facts.st_ino)
    }
}

#[cfg(windows)]
mod platform {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::ffi::OsStrExt as _;
    use std::os::windows::fs::OpenOptionsExt as _;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use crate::files::disk::Disk;
    use crate::files::own_file::Access;
    use windows_sys::Win32::Storage::FileSystem as win;

    #[derive(Debug)]
    pub(super) struct Folder(PathBuf);

    fn wide(path: &Path) -> Vec<u16> {
        path.as_os_str().encode_wide().chain(Some(0)).collect()
    }

    impl Folder {
        pub fn open(path: &Path) -> io::Result<Self> {
            if !std::fs::metadata(path)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok(Self(path.to_owned()))
        }

        /// Of a disk there nothing is asked: its own calls name, and refuse, what it cannot do.
        pub fn disk(&self) -> Arc<Disk> {
            Arc::default()
        }

        /// Files are known by handles there.
        pub fn learn_numbers(&self, _name: &str, _file: &File, _disk: &Disk, _is_new: bool) {}

        pub fn create_new(&self, name: &str) -> io::Result<File> {
            OpenOptions::new().read(true).write(true).create_new(true).open(self.0.join(name))
        }

        pub fn open_existing(&self, name: &str) -> io::Result<File> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(win::FILE_FLAG_OPEN_REPARSE_POINT);
            options.open(self.0.join(name))
        }

        /// Every step here goes by the path: a drive that is gone is an error by itself.
        pub fn is_unplugged(&self, _path: &Path) -> bool {
            false
        }

        /// What is the user's own is so by the rights of the folder above.
        pub fn access(&self) -> Access {
            Access::Private
        }

        /// Every step here goes by the path: only that there is a folder counts.
        pub fn is_at(&self, path: &Path) -> bool {
            std::fs::metadata(path).is_ok_and(|facts| facts.is_dir())
        }

        pub fn find(&self, name: &str) -> io::Result<bool> {
            match std::fs::symlink_metadata(self.0.join(name)) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }

        pub fn is_same(&self, name: &str, file: &File, _disk: &Disk) -> io::Result<bool> {
            let there = same_file::Handle::from_file(self.open_existing(name)?)?;
            Ok(there == same_file::Handle::from_file(file.try_clone()?)?)
        }

        #[allow(unsafe_code, reason = "the standard library's rename always replaces on Windows")]
        pub fn rename_new(&self, from: &str, to: &str, _disk: &Disk) -> io::Result<()> {
            let (from, to) = (wide(&self.0.join(from)), wide(&self.0.join(to)));
            // SAFETY: both are NUL-terminated and outlive the call.
            let done = unsafe { win::MoveFileExW(from.as_ptr(), to.as_ptr(), win::MOVEFILE_WRITE_THROUGH) };
            if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        }

        pub fn remove(&self, name: &str) -> io::Result<()> {
            std::fs::remove_file(self.0.join(name))
        }

        pub fn sync(&self) -> io::Result<()> {
            // Names are written through by the rename itself.
            Ok(())
        }

        #[allow(unsafe_code, reason = "the standard library does not tell free space")]
        pub fn space(&self) -> Option<super::Space> {
            let path = wide(&self.0);
            let (mut free, mut size) = (0, 0);
            // SAFETY: the path is NUL-terminated, both numbers outlive the call, the third result may be null.
            let done = unsafe {
                win::GetDiskFreeSpaceExW(path.as_ptr(), &raw mut free, &raw mut size, std::ptr::null_mut())
            };
            (done != 0).then_some(super::Space { size, free })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_while_a_sync_runs_shares_the_next_one_and_its_failure() {
        let shared = SharedSync::default();
        let syncs = AtomicU64::new(0);
        let (begun, waiting) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                shared.run(|| {
                    begun.wait();
                    waiting.wait();
                    Ok(())
                })
            });
            begun.wait();
            // These have come after it began: it says nothing about what they did before.
            let late: Vec<_> = (0..5)
                .map(|_| {
                    scope.spawn(|| {
                        shared.run(|| {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            Err(io::Error::from_raw_os_error(5))
                        })
                    })
                })
                .collect();
            while shared.asked.load(Ordering::SeqCst) < 6 {
                std::thread::yield_now();
            }
            waiting.wait();
            assert!(first.join().unwrap().is_ok());
            for late in late {
                assert_eq!(late.join().unwrap().unwrap_err().raw_os_error(), Some(5));
            }
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
        assert!(shared.run(|| Ok(())).is_ok(), "the failure was about what came before");
    }

    #[test]
    fn a_folder_is_shared_while_it_is_open_and_still_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new");
        let folders = OpenFolders::default();
        let first = folders.open(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &folders.open(&path).unwrap()));
        #[cfg(unix)]
        {
            std::fs::rename(&path, place.path().join("old")).unwrap();
            let second = folders.open(&path).unwrap();
            assert!(!Arc::ptr_eq(&first, &second) && path.is_dir());
        }
        drop(first);
    }
}
