//! What goes on for one attempt beside the async threads, and whether the disk that it asks still answers.
//!
//! A disk that is away (a network folder without its server) never answers, and nothing takes a call back that was made to
//! it. So nobody waits for such a call without a way out, and nobody begins anything new on the same file before it has
//! ended. Each piece of work beside the async threads holds a [`Hold`] for as long as it may still do something, and an
//! [`Inside`] while it waits for the disk itself. No lock is held anywhere here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The work of one attempt beside the async threads.
#[derive(Debug)]
pub(crate) struct DiskCalls {
    began: Instant,
    /// Pieces of work that may still do something.
    held: AtomicUsize,
    /// Those of them that wait for the disk.
    inside: AtomicUsize,
    /// When one of them last went in, came out or moved on, in milliseconds since `began`.
    sign: AtomicU64,
    /// Nobody waits for them any more.
    left: AtomicBool,
    /// Told when the last of them has ended, if nobody waited for it.
    over: Arc<Notify>,
}

impl DiskCalls {
    /// Tells `over` when all has ended that nobody waited for.
    pub fn new(over: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            held: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            sign: AtomicU64::new(0),
            left: AtomicBool::new(false),
            over,
        })
    }

    /// Says that there is work which may still do something, until this is dropped.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.held.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(self))
    }

    /// Says that the disk is waited for, until this is dropped.
    pub fn inside(&self) -> Inside<'_> {
        self.moved_on();
        self.inside.fetch_add(1, Ordering::SeqCst);
        Inside(self)
    }

    /// The disk has answered one of many questions: a long file is read, or written.
    pub fn moved_on(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sign.fetch_max(since, Ordering::Relaxed);
    }

    /// Whether the disk is waited for, and has not answered anything for so long.
    pub fn is_silent(&self, limit: Duration) -> bool {
        let sign = Duration::from_millis(self.sign.load(Ordering::Relaxed));
        self.is_inside() && self.began.elapsed().saturating_sub(sign) > limit
    }

    /// Returns when the disk has been waited for without any answer for so long.
    pub async fn falls_silent(&self, limit: Duration) {
        /// Often enough to be late by nothing that anybody notices.
        const LOOK: Duration = Duration::from_millis(50);
        while !self.is_silent(limit) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether the disk is waited for just now.
    pub fn is_inside(&self) -> bool {
        self.inside.load(Ordering::SeqCst) > 0
    }

    /// Whether there is work that may still do something.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst) > 0
    }

    /// From here on nobody waits for what still goes on.
    pub fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    /// Whether nobody waits any more: what is not done yet must not be begun.
    pub fn is_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }
}

/// Work that may still do something.
#[derive(Debug)]
pub(crate) struct Hold(Arc<DiskCalls>);

impl Drop for Hold {
    fn drop(&mut self) {
        let was_last = self.0.held.fetch_sub(1, Ordering::SeqCst) == 1;
        // Whoever leaves looks for holds after that: one of the two sees the other.
        if was_last && self.0.is_left() {
            self.0.over.notify_one();
        }
    }
}

/// A question to the disk.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a DiskCalls);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.moved_on();
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What is likely to be silent together with a folder that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    /// All that lies below is of the same disk.
    is_tree: bool,
}

impl Place {
    /// The network disk that a folder is on by its path, or the folder alone. No disk is asked: one of them is silent.
    pub fn of(folder: &Path) -> Self {
        match network_disk(folder) {
            Some(path) => Self { path, is_tree: true },
            None => Self { path: folder.to_owned(), is_tree: false },
        }
    }

    /// Whether this folder is part of it.
    pub fn has(&self, folder: &Path) -> bool {
        if self.is_tree { folder.starts_with(&self.path) } else { folder == self.path }
    }
}

/// Where the network disk with this path is mounted, as the system's own list says.
#[cfg(target_os = "linux")]
fn network_disk(folder: &Path) -> Option<PathBuf> {
    mounted_at(&std::fs::read("/proc/self/mountinfo").ok()?, folder)
}

#[cfg(any(target_os = "linux", test))]
fn mounted_at(mounts: &[u8], folder: &Path) -> Option<PathBuf> {
    /// Local disks answer, or fail. And a path may lead from them to anywhere by a link.
    const AWAY: [&str; 14] = [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    ];
    let mounts = String::from_utf8_lossy(mounts);
    let mount = |line: &str| {
        let (at, kind) = line.split_once(" - ")?;
        let path = PathBuf::from(unescaped(at.split(' ').nth(4)?));
        let kind = kind.split(' ').next()?;
        let kind = kind.split_once('.').map_or(kind, |(kind, _)| kind).to_owned();
        folder.starts_with(&path).then_some((path, kind))
    };
    // The longest is the innermost, and of several at one place the last one counts.
    let innermost = mounts.lines().filter_map(mount).max_by_key(|(path, _)| path.as_os_str().len());
    innermost.filter(|(_, kind)| AWAY.contains(&kind.as_str())).map(|(path, _)| path)
}

/// A path of the list, where blanks and the like are octal numbers.
#[cfg(any(target_os = "linux", test))]
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (number, letter)| path.replace(number, letter))
}

/// A share is named in the path itself. Behind a letter there may be one, too, but for the system's own.
#[cfg(windows)]
fn network_disk(folder: &Path) -> Option<PathBuf> {
    use std::path::{Component, Prefix};
    let first = folder.components().next()?;
    let Component::Prefix(prefix) = first else { return None };
    let is_share = matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..));
    is_share.then(|| [first, Component::RootDir].iter().collect())
}

/// Other disks have a folder of their own there.
#[cfg(target_os = "macos")]
fn network_disk(folder: &Path) -> Option<PathBuf> {
    let name = folder.strip_prefix("/Volumes").ok()?.components().next()?;
    Some(Path::new("/Volumes").join(name))
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn network_disk(_folder: &Path) -> Option<PathBuf> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_silent_only_while_it_is_asked_and_says_nothing() {
        let calls = DiskCalls::new(Arc::default());
        let limit = Duration::from_millis(20);
        std::thread::sleep(2 * limit);
        assert!(!calls.is_silent(limit), "nobody asks");
        let inside = calls.inside();
        assert!(!calls.is_silent(limit), "it was asked just now");
        std::thread::sleep(2 * limit);
        assert!(calls.is_silent(limit));
        calls.moved_on();
        assert!(!calls.is_silent(limit), "a long file is being read");
        drop(inside);
        std::thread::sleep(2 * limit);
        assert!(!calls.is_silent(limit));
    }

    #[tokio::test]
    async fn the_end_of_work_that_was_left_is_told() {
        let over = Arc::new(Notify::new());
        let calls = DiskCalls::new(Arc::clone(&over));
        drop(calls.hold());
        assert!(futures_util::poll!(std::pin::pin!(over.notified())).is_pending(), "somebody waited for it");
        let (one, other) = (calls.hold(), calls.hold());
        calls.leave();
        drop(one);
        assert!(calls.is_held());
        drop(other);
        assert!(!calls.is_held());
        over.notified().await;
    }

    #[cfg(unix)]
    #[test]
    fn a_network_disk_is_silent_as_a_whole_and_a_folder_elsewhere_by_itself() {
        let mounts = b"\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            30 22 8:2 / /home rw - ext4 /dev/sda2 rw\n\
            31 22 0:40 / /mnt/my\\040nas rw shared:7 master:2 - nfs4 nas:/export rw\n\
            32 22 0:41 / /mnt/phone rw - fuse.sshfs phone:/ rw\n\
            33 31 8:3 / /mnt/my\\040nas/stick rw - vfat /dev/sdb1 rw\n";
        let at = |folder: &str| mounted_at(mounts, Path::new(folder));
        assert_eq!(at("/mnt/my nas/films/new"), Some("/mnt/my nas".into()));
        assert_eq!(at("/mnt/phone"), Some("/mnt/phone".into()));
        assert_eq!(at("/mnt/my nas/stick/films"), None);
        assert_eq!(at("/mnt/my nasty/films"), None);
        assert_eq!(at("/home/me/films"), None);

        let tree = Place { path: "/mnt/nas".into(), is_tree: true };
        assert!(tree.has(Path::new("/mnt/nas/a/b")) && !tree.has(Path::new("/mnt")));
        let folder = Place { path: "/home/me/nas".into(), is_tree: false };
        assert!(folder.has(Path::new("/home/me/nas")) && !folder.has(Path::new("/home/me/nas/a")));
    }
}
