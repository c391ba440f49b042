//! The data folder, trusted only if it is the user's own.
//!
//! Ferry does what it finds there: goes on with transfers, sends keys to addresses. So nobody else may have put anything
//! into it. At opening it must belong to this user, let nobody else write, and lie where nobody else can put another in
//! its place; else Ferry does not start, and says how that is mended. What it holds is then for its owner's eyes only,
//! whatever the umask was when it was made.
//!
//! On Windows nothing is asked: the default folder lies in the user's profile, where the system lets nobody else in but
//! its administrators, and a folder elsewhere has the rights that its parent gives.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::words::Phrase;

/// Makes a folder, and those above it, that only the owner can enter. One that is there stays as it is.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// How a file is opened that is made if need be, for its owner only; no link is followed.
pub(crate) fn private_file() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    }
    options
}

/// Opens the data folder, making it if need be: see the top of this file. Gives what the user must be told.
///
/// # Errors
///
/// `permission_denied` with the way out where it is not this user's own.
pub(crate) fn open(data_dir: &Path) -> Result<Option<Phrase>> {
    #[cfg(unix)]
    unix::check_way(data_dir)?;
    make_private_folder(data_dir)
        .map_err(|error| Error::target_io("Creating the data folder", data_dir, &error))?;
    #[cfg(unix)]
    return unix::make_own(data_dir);
    #[cfg(not(unix))]
    Ok(None)
}

/// Tells what lies in the data folder, whatever name it is reached by: another spelling, a link, a mount elsewhere, a second
/// name.
#[derive(Debug, Clone)]
pub(crate) struct OwnFolder {
    path: PathBuf,
}

/// The folder in it that belongs to the sandbox.
pub(crate) const SANDBOX: &str = "sandbox";

/// Where a folder in it could be mounted from.
#[cfg(unix)]
const PARTS: [&str; 6] = ["", "resume", SANDBOX, "sandbox/objects", "sandbox/sessions", "cache"];
/// What holds secrets, and not only what was chosen to be sent before.
#[cfg(unix)]
const SECRET_PARTS: [&str; 2] = ["", "resume"];

impl OwnFolder {
    /// The data folder at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether this is the data folder, or something in it. `place` is a path without links on the way, `facts` are of
    /// what lies there.
    pub fn holds(&self, place: &Path, facts: &Metadata) -> bool {
        if self.is_or_has(facts) {
            return true;
        }
        #[cfg(unix)]
        {
            let parts = self.parts();
            place
                .ancestors()
                .skip(1)
                .any(|folder| std::fs::metadata(folder).is_ok_and(|facts| parts.contains(&numbers(&facts))))
        }
        #[cfg(not(unix))]
        match (place.canonicalize(), self.path.canonicalize()) {
            (Ok(place), Ok(own)) => place.starts_with(own),
            _ => place.starts_with(&self.path),
        }
    }

    /// Whether this is the data folder itself, a part of it, or one of its files under a second name, wherever that is.
    pub fn is_or_has(&self, facts: &Metadata) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            if facts.is_dir() {
                return self.parts().contains(&numbers(facts));
            }
            facts.nlink() > 1
                && SECRET_PARTS.iter().any(|part| {
                    let entries = std::fs::read_dir(self.path.join(part)).into_iter().flatten().flatten();
                    entries
                        .filter_map(|entry| entry.metadata().ok())
                        .any(|own| numbers(&own) == numbers(facts))
                })
        }
        #[cfg(not(unix))]
        {
            let _ = facts;
            false
        }
    }

    #[cfg(unix)]
    fn parts(&self) -> Vec<(u64, u64)> {
        let facts = PARTS.iter().filter_map(|part| std::fs::metadata(self.path.join(part)).ok());
        facts.map(|facts| numbers(&facts)).collect()
    }
}

#[cfg(unix)]
fn numbers(facts: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (facts.dev(), facts.ino())
}

/// Lets nobody else read a file in the data folder that somebody other than Ferry makes.
pub(crate) fn close_if_open(path: &Path) {
    #[cfg(unix)]
    unix::close_if_open(path);
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(unix)]
mod unix {
    use std::fs::{Metadata, Permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;

    use rustix::process::geteuid;

    use super::SANDBOX;
    use crate::error::{Cause, Error, Result};
    use crate::words::{Phrase, shown};

    const OTHERS_WRITE: u32 = 0o022;
    const OTHERS: u32 = 0o077;
    const STICKY: u32 = 0o1000;
    /// The folders of the sandbox inside and of `ferry sandbox`.
    const SANDBOXES: [&str; 2] = [SANDBOX, "sandbox-server"];
    /// As many links as the system itself follows.
    const MOST_LINKS: usize = 40;

    /// Who else than this user can do what they want here anyway.
    fn is_trusted(owner: u32) -> bool {
        owner == geteuid().as_raw() || owner == 0 || is_unmapped(owner)
    }

    /// Within a sandbox or a container (Flatpak, a user namespace) all users from outside, the system's own among them,
    /// are one: nobody from outside gets in.
    #[cfg(target_os = "linux")]
    fn is_unmapped(owner: u32) -> bool {
        let number = |text: String| text.trim().parse::<u32>().ok();
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok().and_then(number);
        let is_everyone = |map: String| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
        overflow == Some(owner) && !std::fs::read_to_string("/proc/self/uid_map").is_ok_and(is_everyone)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_unmapped(_owner: u32) -> bool {
        false
    }

    /// Whether somebody else can make and rename things in a folder with these facts.
    fn lets_others_write(facts: &Metadata) -> bool {
        let others = facts.mode() & OTHERS_WRITE;
        others & 0o002 != 0 || (others != 0 && !is_group_of_one(facts.gid(), facts.uid()))
    }

    /// Whether a group is one user's own, as many systems make one for each user, with a umask that lets it write.
    fn is_group_of_one(group: u32, user: u32) -> bool {
        let listed = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let entry = listed.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, number, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (number.parse() == Ok(group)).then_some((name, members))
        });
        let is_alone = |(name, members): (&str, &str)| {
            members.split(',').all(|member| member.is_empty() || member == name)
        };
        group == user && entry.is_none_or(is_alone)
    }

    /// Looks at every folder on the way to this one: whoever can rename what is in one of them can put another folder in
    /// its place, or another link. As `/tmp`, a folder where everybody removes only what is their own is no danger.
    pub(super) fn check_way(data_dir: &Path) -> Result<()> {
        let whole = std::path::absolute(data_dir)
            .map_err(|error| Error::target_io("Looking at", data_dir, &error))?;
        let (mut ways, mut links) = (vec![whole.clone()], 0);
        while let Some(way) = ways.pop() {
            for place in way.ancestors() {
                // What is not there yet will be made, by this user.
                let Ok(facts) = std::fs::symlink_metadata(place) else { continue };
                if facts.is_symlink() {
                    links += 1;
                    if !is_trusted(facts.uid()) || links > MOST_LINKS {
                        return Err(replaceable(data_dir, place));
                    }
                    let target = std::fs::read_link(place)
                        .map_err(|error| Error::target_io("Looking at", place, &error))?;
                    ways.push(place.parent().unwrap_or(place).join(target));
                } else if place != whole {
                    let is_sticky = facts.mode() & STICKY != 0;
                    if !is_trusted(facts.uid()) || (lets_others_write(&facts) && !is_sticky) {
                        return Err(replaceable(data_dir, place));
                    }
                }
            }
        }
        Ok(())
    }

    fn replaceable(data_dir: &Path, place: &Path) -> Error {
        let what = Phrase::FolderReplaceable { folder: shown(data_dir), place: shown(place) };
        Error::new(Cause::PermissionDenied, what)
            .advise(Phrase::CloseFolder { command: format!("chmod go-w {}", quoted(place)) })
    }

    /// Refuses a folder that is not this user's own, and makes what is in it readable for its owner only.
    pub(super) fn make_own(data_dir: &Path) -> Result<Option<Phrase>> {
        let failed = |error: std::io::Error| Error::target_io("Looking at", data_dir, &error);
        let facts = std::fs::metadata(data_dir).map_err(failed)?;
        if facts.uid() != geteuid().as_raw() {
            let command = format!("sudo chown -R {} {}", geteuid().as_raw(), quoted(data_dir));
            return Err(Error::new(
                Cause::PermissionDenied,
                Phrase::FolderOfAnother { folder: shown(data_dir) },
            )
            .advise(Phrase::BeItsOwner { command }));
        }
        if facts.mode() & OTHERS_WRITE != 0 {
            return Err(Error::new(Cause::PermissionDenied, Phrase::FolderOpen { folder: shown(data_dir) })
                .advise(Phrase::CloseFolder { command: format!("chmod 700 {}", quoted(data_dir)) }));
        }
        let was_open = facts.mode() & OTHERS != 0;
        if was_open {
            close(data_dir, 0o700);
        }
        // Once done, nobody can get at what lies deeper, whatever its rights are: it need not be looked through again. The
        // file that each opening makes tells whether an earlier Ferry was the last.
        let lock = data_dir.join("lock");
        let is_done =
            !was_open && std::fs::symlink_metadata(&lock).is_ok_and(|facts| facts.mode() & OTHERS == 0);
        look_through(data_dir, !is_done, &lock)?;
        if !is_done {
            close_if_open(&lock);
        }
        let stays_open = std::fs::metadata(data_dir).map_err(failed)?.mode() & OTHERS != 0;
        Ok(stays_open.then(|| Phrase::FolderStaysReadable { folder: shown(data_dir) }))
    }

    /// Closes what is in a folder, and refuses what somebody else has put there. Links are looked at, never followed.
    fn look_through(top: &Path, deeper: bool, but: &Path) -> Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder)
                .map_err(|error| Error::target_io("Looking at", &folder, &error))?;
            for entry in entries.flatten() {
                let (path, Ok(facts)) = (entry.path(), entry.metadata()) else { continue };
                if !is_trusted(facts.uid()) {
                    return Err(planted(&path));
                }
                if facts.is_dir() {
                    if facts.mode() & OTHERS != 0 {
                        close(&path, 0o700);
                    }
                    // The sandbox closes what it keeps by itself: from the rights of its secret it sees whether that has to be
                    // made anew.
                    if deeper && !SANDBOXES.iter().any(|name| path == top.join(name)) {
                        folders.push(path);
                    }
                } else if path != but {
                    close_file(&path, &facts);
                }
            }
        }
        Ok(())
    }

    fn planted(path: &Path) -> Error {
        Error::new(Cause::PermissionDenied, Phrase::FileOfAnother { path: shown(path) })
            .advise(Phrase::RemovePlanted { command: format!("rm -r {}", quoted(path)) })
    }

    pub(super) fn close_if_open(path: &Path) {
        if let Ok(facts) = std::fs::symlink_metadata(path) {
            close_file(path, &facts);
        }
    }

    /// A file with a second name may be somebody's web page: its rights are not Ferry's to change.
    fn close_file(path: &Path, facts: &Metadata) {
        if facts.is_file() && facts.nlink() == 1 && facts.mode() & OTHERS != 0 {
            close(path, facts.mode() & 0o700);
        }
    }

    fn close(path: &Path, mode: u32) {
        // Some disks know no rights; that is told once, for the folder.
        if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
            tracing::debug!(%error, "the rights of a file stay as they are");
        }
    }

    /// A path as a shell reads it.
    fn quoted(path: &Path) -> String {
        let text = path.display().to_string();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
        if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_command_can_be_pasted_whatever_the_folder_is_called() {
            assert_eq!(quoted(Path::new("/home/a/.local/ferry")), "/home/a/.local/ferry");
            assert_eq!(quoted(Path::new("/tmp/a b'; rm -rf $HOME '")), r"'/tmp/a b'\''; rm -rf $HOME '\'''");
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;
    use crate::error::Code;

    fn give(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[track_caller]
    fn is_refused(data: &Path, command: &str) {
        let error = open(data).unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(error.to_string().contains(command), "{error}");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_with_the_command_that_mends_it() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        create_dir(&data).unwrap();
        for open_to in [0o777, 0o770, 0o702, 0o1777, 0o2775] {
            give(&data, open_to);
            is_refused(&data, &format!("chmod 700 {}", data.display()));
        }
        give(&data, 0o700);
        assert_eq!(open(&data).unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_put_another_in_the_place_of_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let shared = home.path().join("shared");
        let data = shared.join("mine/data");
        std::fs::create_dir_all(&data).unwrap();
        give(&shared, 0o777);
        is_refused(&data, &format!("chmod go-w {}", shared.display()));
        // A link there could be turned as well.
        let link = home.path().join("link");
        symlink(&data, &link).unwrap();
        is_refused(&link, &format!("chmod go-w {}", shared.display()));
        is_refused(&link.join("not/there/yet"), "chmod go-w");
        assert!(!data.join("not").exists(), "nothing is made there");
        // As `/tmp` is.
        give(&shared, 0o1777);
        open(&data).unwrap();
        open(&link).unwrap();
    }

    #[test]
    fn what_an_earlier_ferry_left_open_is_closed_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let (data, outside) = (home.path().join("data"), home.path().join("outside"));
        std::fs::create_dir_all(data.join("pictures/small")).unwrap();
        create_dir(&outside).unwrap();
        std::fs::write(outside.join("page.html"), "").unwrap();
        give(&outside, 0o755);
        give(&outside.join("page.html"), 0o644);
        for name in ["ferry.db", "ferry.db-wal", "library.jsonl", "lock", "pictures/small/film.webp"] {
            std::fs::write(data.join(name), "").unwrap();
            give(&data.join(name), 0o644);
        }
        for name in ["", "pictures", "pictures/small"] {
            give(&data.join(name), 0o755);
        }
        symlink(&outside, data.join("cache")).unwrap();
        symlink(outside.join("page.html"), data.join("report")).unwrap();
        std::fs::hard_link(outside.join("page.html"), data.join("second name")).unwrap();
        open(&data).unwrap();
        for name in ["", "pictures", "pictures/small"] {
            assert_eq!(mode(&data.join(name)), 0o700, "{name}");
        }
        for name in ["ferry.db", "ferry.db-wal", "library.jsonl", "lock", "pictures/small/film.webp"] {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
        assert_eq!((mode(&outside), mode(&outside.join("page.html"))), (0o755, 0o644));
    }
}
