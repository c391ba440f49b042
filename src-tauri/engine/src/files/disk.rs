//! What the disk under a folder can do: told by it when the folder is opened, or learnt from what it refuses first.
//!
//! Nothing here is assumed. What a disk has not shown yet is unknown, and unknown is a value: a name is tried as it
//! is, room is believed to be there until a write says otherwise. What is learnt is shared by all folders on the disk
//! and forgotten a minute after the last of them was opened and let go, since the next disk in the same place may be another.

use crate::filename::LONGEST_NAME;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A disk that takes no name of this many bytes takes none that is of use to anyone.
const SHORTEST_LIMIT: usize = 48;
/// Setting a step of room aside takes no time, unless the disk fills it with zeroes; after this long the rest is left to
/// the writing.
const STEP_TIME: Duration = Duration::from_millis(500);
/// How long what is known of a disk outlives the last folder that was open on it.
const KEPT: Duration = Duration::from_secs(60);
/// So far from the beginning one byte is written to see whether what lies before it is filled.
const GAP: u64 = 4 * 1024 * 1024;

/// What is known about a disk; `None` is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The longest name that it takes, in bytes of UTF-8.
    pub longest_name: Option<usize>,
    /// Whether it stores names beyond ASCII: a FAT mounted with an old code page does not.
    pub any_letters: Option<bool>,
    /// Whether it can make the names in a folder durable.
    pub syncs_folders: Option<bool>,
    /// Whether it sets room aside at once, rather than by filling it with zeroes, or not at all.
    pub sets_aside: Option<bool>,
    /// Whether a write far behind the end of a file leaves a gap, rather than filling it with zeroes.
    pub leaves_gaps: Option<bool>,
    /// Whether a file is known by its number, however often one asks.
    pub stable_numbers: Option<bool>,
    /// How many names it says that a new file has: 0 on some in user space.
    pub names_of_new: Option<u64>,
}

/// A disk that some folder is open on.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    facts: Mutex<Facts>,
    /// Held by whoever looks whether a name is free and then gives it, where one step cannot do both.
    pub naming: Mutex<()>,
}

/// What tells one disk from another while both are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DiskId {
    /// The number of the device.
    pub device: u64,
    /// What the file system calls itself.
    pub file_system: u64,
}

/// Every disk that was looked at, and when.
type Known = HashMap<DiskId, (Arc<Disk>, Instant)>;

impl Disk {
    /// The disk with this id, which is known already if a folder on it is open or was so just now.
    pub fn known(id: DiskId) -> Arc<Self> {
        static DISKS: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|_, (disk, asked)| Arc::strong_count(disk) > 1 || asked.elapsed() < KEPT);
        let (disk, asked) = disks.entry(id).or_insert_with(|| (Arc::default(), Instant::now()));
        *asked = Instant::now();
        Arc::clone(disk)
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known by now.
    pub fn facts(&self) -> Facts {
        *self.lock()
    }

    /// Writes down what the disk has shown.
    pub fn learn(&self, learn: impl FnOnce(&mut Facts)) {
        learn(&mut self.lock());
    }

    /// The longest name that is worth trying, in bytes of UTF-8.
    pub fn longest_name(&self) -> usize {
        self.facts().longest_name.unwrap_or(LONGEST_NAME)
    }

    /// Learns from the refusal of a name. True when another one is worth trying. `is_too_long` says what the disk makes
    /// of a name of ASCII letters with this many bytes; it is asked a few times.
    pub fn learn_from_refusal(
        &self,
        name: &str,
        error: &io::Error,
        is_too_long: impl Fn(usize) -> bool,
    ) -> bool {
        if error.kind() == io::ErrorKind::InvalidFilename {
            let refused = name.len().min(self.longest_name());
            if refused <= SHORTEST_LIMIT {
                return false;
            }
            let longest = if is_too_long(refused) {
                longest_between(SHORTEST_LIMIT, refused, is_too_long)
            } else {
                // It tells only who makes a file: some steps down instead of one for each byte.
                (refused * 7 / 8).max(SHORTEST_LIMIT)
            };
            self.learn(|facts| facts.longest_name = Some(longest));
            return true;
        }
        let is_new = !name.is_ascii() && self.facts().any_letters != Some(false) && is_unstorable(error);
        if is_new {
            self.learn(|facts| facts.any_letters = Some(false));
        }
        is_new
    }

    /// Sets blocks aside for a step of a file without changing its length, as far as the disk does that at once.
    #[cfg(target_os = "linux")]
    pub fn set_aside(&self, file: &File, start: u64, length: u64) -> io::Result<()> {
        if length == 0 || self.facts().sets_aside == Some(false) {
            return Ok(());
        }
        let before = file.metadata()?.len();
        let began = Instant::now();
        let works = set_aside_part(file, start, length)?;
        let is_longer = works && file.metadata()?.len() > before;
        if is_longer {
            // It knows no room behind the end: what it has written there is no byte of the file.
            file.set_len(before)?;
        }
        if !works || is_longer || began.elapsed() > STEP_TIME {
            self.learn(|facts| facts.sets_aside = Some(false));
        }
        Ok(())
    }

    /// Gives room back that was set aside in this range and not written to. Only room: a disk that cannot keeps it until
    /// the file goes on or goes.
    #[cfg(target_os = "linux")]
    pub fn give_back(file: &File, range: &std::ops::Range<u64>) {
        use rustix::fs::FallocateFlags;
        let Ok(facts) = file.metadata() else { return };
        let hole = range.start..range.end.min(facts.len());
        if hole.start < hole.end {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(file, punch, hole.start, hole.end - hole.start);
        }
        if range.end > facts.len() {
            // Cut to the length that it has, a file loses what lies behind its end.
            let _ = file.set_len(facts.len());
        }
    }

    /// No other system sets room aside for a file without changing its length.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Linux")]
    pub fn set_aside(&self, _file: &File, _start: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Where none was set aside there is none to give back.
    #[cfg(not(target_os = "linux"))]
    pub fn give_back(_file: &File, _range: &std::ops::Range<u64>) {}

    /// Finds out, with a file that is still empty, whether the disk leaves gaps.
    pub fn look_for_gaps(&self, file: &File) {
        if self.facts().leaves_gaps.is_some() || file.metadata().map_or(1, |facts| facts.len()) > 0 {
            return;
        }
        let used = super::folder::write_at(file, &[0], GAP).ok().and_then(|()| used(file));
        if let Some(used) = used.filter(|used| *used > 0) {
            self.learn(|facts| facts.leaves_gaps = Some(used < GAP / 2));
        }
        // A disk that cannot take the byte back is one that the next write fails on.
        let _ = file.set_len(0);
    }

    /// What became of a file's sync: a disk that knows none has nothing that could fail.
    pub fn judge_file_sync(result: io::Result<()>) -> io::Result<()> {
        result.or_else(|error| if is_unsupported(&error) { Ok(()) } else { Err(error) })
    }

    /// Makes the names in a folder durable by `sync`, as far as the disk can.
    ///
    /// Disks that cannot have many words for that, some of them `EIO`. A real failure is told once and by a disk that can
    /// sync otherwise; one that says it each time, and never anything else, cannot.
    pub fn sync_folder(&self, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        const EIO: i32 = 5;
        let result = sync();
        let can = match &result {
            Ok(()) => true,
            Err(error) if is_no_folder_sync(error) => false,
            Err(error) if error.raw_os_error() == Some(EIO) => {
                let says_so =
                    |result: io::Result<()>| result.is_err_and(|error| error.raw_os_error() == Some(EIO));
                if self.facts().syncs_folders == Some(true) || !says_so(sync()) || !says_so(sync()) {
                    return result;
                }
                false
            }
            Err(_) => return result,
        };
        self.learn(|facts| facts.syncs_folders = Some(can));
        Ok(())
    }
}

/// The longest length that is not too long, when the first is not and the second is.
fn longest_between(mut fits: usize, mut too_long: usize, is_too_long: impl Fn(usize) -> bool) -> usize {
    while fits + 1 < too_long {
        let middle = usize::midpoint(fits, too_long);
        if is_too_long(middle) { too_long = middle } else { fits = middle }
    }
    fits
}

/// Bytes of the disk that a file takes; `None` where the system tells nothing of use.
#[cfg(unix)]
fn used(file: &File) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    /// Shares of Windows and Samba: their blocks are made up from the length.
    const MADE_UP: [u64; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
    let kind = file_system(file)?;
    if MADE_UP.contains(&(kind & 0xffff_ffff)) {
        return None;
    }
    Some(file.metadata().ok()?.blocks() * 512)
}

#[cfg(not(unix))]
fn used(_file: &File) -> Option<u64> {
    None
}

/// Which kind of file system a file lies on, as a number of the system's own.
#[cfg(target_os = "linux")]
#[allow(clippy::cast_sign_loss, reason = "a magic number, signed on some platforms only")]
pub(crate) fn file_system(file: &File) -> Option<u64> {
    Some(rustix::fs::fstatfs(file).ok()?.f_type as u64)
}

/// Which kind of file system a file lies on: told on Linux only.
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn file_system(_file: &File) -> Option<u64> {
    Some(0)
}

/// Sets a part of a file aside; false where the disk cannot.
#[cfg(target_os = "linux")]
fn set_aside_part(file: &File, start: u64, length: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, start, length) {
        Ok(()) => Ok(true),
        Err(error @ (Errno::NOSPC | Errno::FBIG | Errno::DQUOT)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Whether an error says that the disk knows no such call.
#[cfg(unix)]
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let told = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(told, Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::NOTTY))
}

/// Whether an error says that the disk knows no such call.
#[cfg(not(unix))]
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// Whether an error says that a folder cannot be synced: some disks want it open for writing, which no folder can be.
#[cfg(unix)]
fn is_no_folder_sync(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let told = error.raw_os_error().map(Errno::from_raw_os_error);
    is_unsupported(error) || matches!(told, Some(Errno::BADF | Errno::ISDIR | Errno::ACCESS | Errno::PERM))
}

#[cfg(not(unix))]
fn is_no_folder_sync(error: &io::Error) -> bool {
    is_unsupported(error)
}

/// Whether an error says that a name holds letters that the disk cannot store.
#[cfg(unix)]
fn is_unstorable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::INVAL | Errno::ILSEQ))
}

/// Names there are Unicode, whatever the disk.
#[cfg(not(unix))]
fn is_unstorable(_error: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn errno(code: rustix::io::Errno) -> io::Error {
        code.into()
    }

    #[test]
    fn the_longest_name_is_found_by_a_few_questions_or_in_a_few_steps() {
        let too_long = || errno(rustix::io::Errno::NAMETOOLONG);
        let (disk, questions) = (Disk::default(), Cell::new(0));
        let is_too_long = |length| {
            questions.set(questions.get() + 1);
            length > 143
        };
        assert!(disk.learn_from_refusal(&"x".repeat(200), &too_long(), is_too_long));
        assert_eq!((disk.longest_name(), questions.get() < 10), (143, true));

        // One that tells only who makes a file.
        let (disk, mut tries) = (Disk::default(), 0);
        while disk.longest_name() > 143 {
            assert!(disk.learn_from_refusal(&"x".repeat(disk.longest_name()), &too_long(), |_| false));
            tries += 1;
        }
        assert!(tries < 6 && disk.longest_name() > 120, "{tries} tries: {}", disk.longest_name());
        // And an end: a disk that takes no name at all.
        while disk.learn_from_refusal(&"x".repeat(disk.longest_name()), &too_long(), |_| true) {
            tries += 1;
        }
        assert!(tries < 12);
    }

    #[test]
    fn a_folder_that_cannot_be_synced_is_told_from_a_sync_that_failed() {
        use rustix::io::Errno;
        for cannot in [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS, Errno::BADF, Errno::ACCESS, Errno::IO] {
            let disk = Disk::default();
            assert!(disk.sync_folder(|| Err(errno(cannot))).is_ok(), "{cannot:?} each time");
            assert_eq!(disk.facts().syncs_folders, Some(false));
        }
        let once = Cell::new(true);
        let fails_once = || if once.replace(false) { Err(errno(Errno::IO)) } else { Ok(()) };
        assert!(Disk::default().sync_folder(fails_once).is_err(), "told once: it was real");
        let disk = Disk::default();
        disk.sync_folder(|| Ok(())).unwrap();
        assert!(disk.sync_folder(|| Err(errno(Errno::IO))).is_err(), "it could before");
        assert!(Disk::default().sync_folder(|| Err(errno(Errno::NOSPC))).is_err());
    }

    #[test]
    fn only_a_name_beyond_ascii_is_refused_for_its_letters() {
        let refused = errno(rustix::io::Errno::INVAL);
        let disk = Disk::default();
        assert!(!disk.learn_from_refusal("film.mp4", &refused, |_| false));
        assert!(disk.learn_from_refusal("фильм.mp4", &refused, |_| false));
        assert!(!disk.learn_from_refusal("фильм.mp4", &refused, |_| false), "once is enough");
        assert_eq!(disk.facts().any_letters, Some(false));
    }
}
