//! Small disks that fill up, of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::is_root;

/// A mounted disk in memory; unmounted with the test.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A disk of this many MiB at this place. Without one the test says why, and ends.
    pub fn mount(place: &Path, mebibytes: usize) -> Option<Self> {
        if !cfg!(target_os = "linux") || !is_root() {
            eprintln!("skipped: a small disk can be made by root on Linux only");
            return None;
        }
        std::fs::create_dir_all(place).unwrap();
        let options = format!("size={mebibytes}m,mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place.to_owned()));
        }
        eprintln!("skipped: this root may not mount");
        None
    }

    /// A disk on which everything together may take this many MiB, by a quota; the disk itself has room for more.
    pub fn with_quota(place: &Path, mebibytes: usize) -> Option<Self> {
        let done = |program: &str, words: &[&str], path: &Path| {
            let output = Command::new(program).args(words).arg(path).output();
            output.is_ok_and(|output| output.status.success())
        };
        let image = place.with_extension("image");
        std::fs::create_dir_all(place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
        let image_text = image.display().to_string();
        if !is_root()
            || !done("mkfs.btrfs", &["--quiet"], &image)
            || !done("mount", &["-t", "btrfs", "-o", "loop", &image_text], place)
        {
            eprintln!("skipped: a disk with a quota needs root on Linux, btrfs, and a loop device");
            return None;
        }
        let disk = Self(place.to_owned());
        assert!(done("btrfs", &["quota", "enable"], place));
        assert!(done("btrfs", &["qgroup", "limit", &format!("{mebibytes}M")], place));
        Some(disk)
    }

    /// Takes the quota away.
    pub fn without_quota(&self) {
        let done = Command::new("btrfs").args(["qgroup", "limit", "none"]).arg(&self.0).status().unwrap();
        assert!(done.success(), "btrfs qgroup limit none");
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Shows it at a second place, as a drive that is plugged in there: pulled out again when this goes.
    pub fn plug_in(&self, place: &Path) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let mounted = Command::new("mount").arg("--bind").arg(&self.0).arg(place).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place.to_owned()));
        }
        eprintln!("skipped: this root may not mount a folder twice");
        None
    }

    /// Makes it read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap();
        assert!(done.success(), "mount -o {options}");
    }

    /// Leaves only this much room, by a file of the test's own.
    pub fn fill_up_to(&self, bytes_left: u64) {
        let ballast = self.0.join("ballast");
        let _ = std::fs::remove_file(&ballast);
        let facts = rustix::fs::statvfs(&self.0).unwrap();
        let free = facts.f_bavail * facts.f_frsize;
        std::fs::write(&ballast, vec![1; free.saturating_sub(bytes_left) as usize]).unwrap();
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
