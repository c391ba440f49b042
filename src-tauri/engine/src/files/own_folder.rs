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

/// Opens what Ferry wrote in the data folder and is about to believe, if nobody else can have written it: the open file is an
/// ordinary one of this user's, without a second name, to which others may not write. No link is followed.
///
/// # Errors
///
/// Those of the disk, and `PermissionDenied` where somebody else can have written it.
pub(crate) fn open_own(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<std::fs::File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // A pipe in its place must not hold the start up.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits() as i32);
    }
    let file = options.open(path)?;
    #[cfg(unix)]
    if !unix::is_own(&file)? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "somebody else can have written it"));
    }
    Ok(file)
}

/// All that is in such a file.
pub(crate) fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open_own(path, std::fs::File::options().read(true))?, &mut bytes)?;
    Ok(bytes)
}

/// All that is in the settings; nothing if there are none. They alone may be a link: many keep their settings in one place and
/// link to them from where they belong. Nobody else may be able to turn that link or anything on its way, nor to write what
/// it leads to.
///
/// # Errors
///
/// Those of the disk, and `permission_denied` where somebody else can have written them.
pub(crate) fn read_settings(path: &Path) -> Result<Option<Vec<u8>>> {
    let failed = |error: io::Error| Error::target_io("Reading", path, &error);
    #[cfg(unix)]
    if path.symlink_metadata().is_ok_and(|facts| facts.is_symlink()) {
        unix::check_way(path)?;
        return unix::read_linked(path).map(Some).map_err(failed);
    }
    match read_own(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Opens the data folder, making it if need be: see the top of this file. `lock` keeps other Ferrys out of it; it is called as
/// soon as the folder is known to be the user's own, since what is looked through must not change hands meanwhile. Gives what
/// `lock` gave, and what the user must be told.
///
/// # Errors
///
/// `permission_denied` with the way out where it is not this user's own, and those of `lock`.
pub(crate) fn open<T>(data_dir: &Path, lock: impl FnOnce() -> Result<T>) -> Result<(T, Option<Phrase>)> {
    #[cfg(unix)]
    unix::check_way(data_dir)?;
    make_private_folder(data_dir)
        .map_err(|error| Error::target_io("Creating the data folder", data_dir, &error))?;
    #[cfg(unix)]
    unix::make_own(data_dir)?;
    let locked = lock()?;
    #[cfg(unix)]
    let told = unix::look_at_all(data_dir)?;
    #[cfg(not(unix))]
    let told = None;
    Ok((locked, told))
}

/// Tells what lies in the data folder, whatever name it is reached by: another spelling, a link, a mount elsewhere, a second
/// name.
#[derive(Debug, Clone)]
pub(crate) struct OwnFolder {
    path: PathBuf,
    /// Where the data is if nobody says otherwise: another Ferry's, perhaps, with other keys.
    usual: Option<PathBuf>,
}

/// The folder in it that belongs to the sandbox.
pub(crate) const SANDBOX: &str = "sandbox";

/// The platform's folder for application data.
pub(crate) fn usual_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("app", "Ferry", "Ferry").map(|folders| folders.data_local_dir().to_owned())
}

/// What every data folder has in it, whichever Ferry it belongs to.
const SIGN: (&str, &str) = ("ferry.db", "resume");

/// Whether a folder is some Ferry's data folder.
pub(crate) fn is_ferrys(folder: &Path) -> bool {
    folder.join(SIGN.0).symlink_metadata().is_ok_and(|facts| facts.is_file())
        && folder.join(SIGN.1).symlink_metadata().is_ok_and(|facts| facts.is_dir())
}

/// Where a folder in it could be mounted from, and a file have a second name.
#[cfg(unix)]
const PARTS: [&str; 6] = ["", "resume", SANDBOX, "sandbox/objects", "sandbox/sessions", "cache"];

impl OwnFolder {
    /// The data folder at this path.
    pub fn new(path: PathBuf) -> Self {
        let usual = usual_data_dir().filter(|usual| *usual != path);
        Self { path, usual }
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&*self.path).chain(self.usual.as_deref())
    }

    /// Whether this is a data folder, Ferry's own or another's, or something in it. `place` is a path without links on the way,
    /// `facts` are of what lies there.
    pub fn holds(&self, place: &Path, facts: &Metadata) -> bool {
        if self.is_or_has(facts) || place.ancestors().any(is_ferrys) {
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
        self.folders().any(|own| match (place.canonicalize(), own.canonicalize()) {
            (Ok(place), Ok(own)) => place.starts_with(own),
            _ => place.starts_with(own),
        })
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
                && self.part_paths().any(|part| {
                    let entries = std::fs::read_dir(part).into_iter().flatten().flatten();
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
        let facts = self.part_paths().filter_map(|part| std::fs::metadata(part).ok());
        facts.map(|facts| numbers(&facts)).collect()
    }

    #[cfg(unix)]
    fn part_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.folders().flat_map(|folder| PARTS.iter().map(move |part| folder.join(part)))
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
    use std::fs::{File, Metadata, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;

    use rustix::process::geteuid;

    use super::SANDBOX;
    use crate::error::{Cause, Error, Result};
    use crate::shell_command::ShellCommand;
    use crate::words::{Phrase, shown};

    const OTHERS_WRITE: u32 = 0o022;
    const OTHERS: u32 = 0o077;
    const STICKY: u32 = 0o1000;
    /// The folders of the sandbox inside and of `ferry sandbox`.
    const SANDBOXES: [&str; 2] = [SANDBOX, "sandbox-server"];
    /// What is opened to be locked, and never read.
    const LOCK: &str = "lock";
    /// What Ferry believes, and does: here a file under a second name is nobody's web page.
    const BELIEVED: [&str; 6] =
        ["resume", "settings.json", "ferry.db", "ferry.db-wal", "ferry.db-journal", "library.jsonl"];
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

    /// Whether somebody else can write to what has these facts. `has_list` tells whether it has a list of rights beside them.
    fn lets_others_write(facts: &Metadata, has_list: impl FnOnce() -> bool) -> bool {
        let others = facts.mode() & OTHERS_WRITE;
        // With such a list the rights of the group are the most that anybody on it has, whoever that is.
        others & 0o002 != 0 || (others != 0 && (!is_group_of_one(facts.gid(), facts.uid()) || has_list()))
    }

    fn lets_others_write_at(path: &Path, facts: &Metadata) -> bool {
        lets_others_write(facts, || has_list(|name, value| rustix::fs::lgetxattr(path, name, value)))
    }

    /// Whether there is a list of rights (POSIX.1e). A disk that has none says so.
    #[cfg(target_os = "linux")]
    fn has_list(ask: impl FnOnce(&str, &mut [u8]) -> rustix::io::Result<usize>) -> bool {
        use rustix::io::Errno;
        // However long it is, it is there.
        match ask("system.posix_acl_access", &mut [0; 1]) {
            Ok(_) => true,
            Err(error) => !matches!(error, Errno::NODATA | Errno::NOTSUP | Errno::NOSYS),
        }
    }

    /// Elsewhere the group's rights are the group's.
    #[cfg(not(target_os = "linux"))]
    fn has_list(_ask: impl FnOnce(&str, &mut [u8]) -> rustix::io::Result<usize>) -> bool {
        false
    }

    /// Whether a group is one user's own, as many systems make one for each user, with a umask that lets it write.
    fn is_group_of_one(group: u32, user: u32) -> bool {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        group == user && is_alone_in(group, user, &read("/etc/group"), &read("/etc/passwd"))
    }

    /// The same by the lists of groups and users. Of a group that is in neither (a directory service has it) nobody here can say
    /// who is in it.
    fn is_alone_in(group: u32, user: u32, groups: &str, users: &str) -> bool {
        let entry = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, number, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            (number.parse() == Ok(group)).then_some((name, members))
        });
        let has_others = users.lines().any(|line| {
            let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
            let (Some(Ok(one)), Some(Ok(first))) = (numbers.next(), numbers.next()) else { return false };
            first == group && one != user
        });
        let is_alone = |(name, members): (&str, &str)| {
            members.split(',').all(|member| member.is_empty() || member == name)
        };
        !has_others && entry.is_some_and(is_alone)
    }

    /// Whether nobody but this user can have written what is in an open file.
    pub(super) fn is_own(file: &File) -> io::Result<bool> {
        let facts = file.metadata()?;
        let is_users = facts.uid() == geteuid().as_raw() || is_unmapped(facts.uid());
        Ok(facts.is_file() && is_users && facts.nlink() == 1 && !lets_others_write_to(file, &facts))
    }

    fn lets_others_write_to(file: &File, facts: &Metadata) -> bool {
        lets_others_write(facts, || has_list(|name, value| rustix::fs::fgetxattr(file, name, value)))
    }

    /// What is in a file that a link leads to, whose way was looked at: this user's own, or root's, as it is where a whole
    /// home is made from a description (Nix). There one file often has many names.
    pub(super) fn read_linked(path: &Path) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        // A pipe in its place must not hold the start up.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut file = File::options().read(true).custom_flags(flags).open(path)?;
        let facts = file.metadata()?;
        let is_roots = facts.is_file() && facts.uid() == 0 && !lets_others_write_to(&file, &facts);
        if !is_roots && !is_own(&file)? {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "somebody else can have written it"));
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(bytes)
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
                    if !is_trusted(facts.uid()) || (lets_others_write_at(place, &facts) && !is_sticky) {
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
            .advise(Phrase::CloseFolder { command: ShellCommand::new("chmod go-w", place) })
    }

    /// Refuses a folder that is not this user's own, and lets only its owner in.
    pub(super) fn make_own(data_dir: &Path) -> Result<()> {
        let facts = facts_of(data_dir)?;
        if facts.uid() != geteuid().as_raw() {
            // Taking it over would make everything his own that somebody else has put there.
            return Err(Error::new(
                Cause::PermissionDenied,
                Phrase::FolderOfAnother { folder: shown(data_dir) },
            )
            .advise(Phrase::BeItsOwner));
        }
        if facts.mode() & OTHERS_WRITE != 0 {
            return Err(Error::new(Cause::PermissionDenied, Phrase::FolderOpen { folder: shown(data_dir) })
                .advise(Phrase::CloseFolder { command: ShellCommand::new("chmod 700", data_dir) }));
        }
        if facts.mode() & OTHERS != 0 {
            close(data_dir, 0o700);
        }
        // It is opened before the rest is looked at: one that somebody else holds, or a pipe of theirs, would keep Ferry from
        // starting, and nobody would say why.
        let lock = data_dir.join(LOCK);
        if std::fs::symlink_metadata(&lock).is_ok_and(|facts| !is_trusted(facts.uid())) {
            return Err(planted(&lock));
        }
        Ok(())
    }

    fn facts_of(data_dir: &Path) -> Result<Metadata> {
        std::fs::metadata(data_dir).map_err(|error| Error::target_io("Looking at", data_dir, &error))
    }

    /// Looks at all that is in the folder, and makes it readable for its owner only. Gives what the user must be told.
    pub(super) fn look_at_all(data_dir: &Path) -> Result<Option<Phrase>> {
        // At each opening, and all of it: that all is closed now says nothing of what was open before the user closed it.
        look_through(data_dir)?;
        let stays_open = facts_of(data_dir)?.mode() & OTHERS != 0;
        Ok(stays_open.then(|| Phrase::FolderStaysReadable { folder: shown(data_dir) }))
    }

    /// Closes what is in a folder, and refuses what somebody else has put there, or can have written. Links are looked at, never
    /// followed. What another program of the user's takes away meanwhile is gone, and no danger.
    fn look_through(top: &Path) -> Result<()> {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != top => continue,
                entries => entries.map_err(|error| Error::target_io("Looking at", &folder, &error))?,
            };
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
                    if !SANDBOXES.iter().any(|name| path == top.join(name)) {
                        folders.push(path);
                    }
                    continue;
                }
                if facts.is_file() && path != top.join(LOCK) {
                    // Of one that is gone by now nobody can say who could write to it.
                    if lets_others_write_at(&path, &facts) && path.symlink_metadata().is_ok() {
                        return Err(Error::new(
                            Cause::PermissionDenied,
                            Phrase::FileOpen { path: shown(&path) },
                        )
                        .advise(Phrase::CloseFolder { command: ShellCommand::new("chmod -R go-w", top) }));
                    }
                    if facts.nlink() > 1 && BELIEVED.iter().any(|name| path.starts_with(top.join(name))) {
                        // Mostly it is the user's own, linked by a program that makes backups or saves room. Removing it
                        // would take the list away.
                        return Err(Error::new(
                            Cause::PermissionDenied,
                            Phrase::FileWithSecondName { path: shown(&path) },
                        )
                        .advise(Phrase::CopyInItsPlace { command: copy_in_place(&path) }));
                    }
                }
                close_file(&path, &facts);
            }
        }
        Ok(())
    }

    fn planted(path: &Path) -> Error {
        Error::new(Cause::PermissionDenied, Phrase::FileOfAnother { path: shown(path) })
            .advise(Phrase::RemovePlanted { command: ShellCommand::new("rm -r", path) })
    }

    /// The command that gives a file an inode of its own, with the same content and rights.
    fn copy_in_place(path: &Path) -> ShellCommand {
        let mut copy = path.as_os_str().to_owned();
        copy.push(".own");
        let copy = Path::new(&copy);
        let copied = ShellCommand::new(&ShellCommand::new("cp -p", path).to_string(), copy);
        let moved = ShellCommand::new(&format!("{copied} && mv"), copy);
        ShellCommand::new(&moved.to_string(), path)
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

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_group_is_a_users_own_only_if_nobody_else_is_known_to_be_in_it() {
            let users = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
            for (groups, users, expected) in [
                ("root:x:0:\nann:x:1000:\n", users, true),
                ("ann:x:1000:ann\n", users, true),
                ("ann:x:1000:ann,bob\n", users, false),
                // It is the first group of somebody else's.
                ("ann:x:1000:\n", &*users.replace("1001:1001", "1001:1000"), false),
                // A directory service knows it, and who is in it.
                ("root:x:0:\n", users, false),
            ] {
                assert_eq!(is_alone_in(1000, 1000, groups, users), expected, "{groups}{users}");
            }
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

    fn open(data: &Path) -> Result<Option<Phrase>> {
        super::open(data, || Ok(())).map(|((), told)| told)
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
    fn what_others_can_have_written_is_refused_at_each_opening_and_read_at_none() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        std::fs::create_dir_all(data.join("resume")).unwrap();
        give(&data, 0o700);
        std::fs::write(data.join("lock"), "").unwrap();
        give(&data.join("lock"), 0o666);
        open(&data).unwrap();
        assert_eq!(mode(&data.join("lock")), 0o600);
        let (record, other) = (data.join("resume/7"), home.path().join("other"));
        std::fs::write(&record, "{}").unwrap();
        for (rights, is_refused_then) in [(0o600, false), (0o644, false), (0o666, true), (0o602, true)] {
            // Closed all around, as after the command that was advised.
            give(&record, rights);
            if !is_refused_then {
                assert_eq!(read_own(&record).unwrap(), b"{}");
                open(&data).unwrap();
                continue;
            }
            assert_eq!(read_own(&record).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            for _ in 0..2 {
                is_refused(&data, &format!("chmod -R go-w {}", data.display()));
            }
        }
        give(&record, 0o600);
        std::fs::hard_link(&record, &other).unwrap();
        assert_eq!(read_own(&record).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (own, name) = (data.join("resume/7.own"), record.display());
        let command = format!("cp -p {name} {0} && mv {0} {name}", own.display());
        is_refused(&data, &command);
        // What is advised keeps the content.
        assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
        open(&data).unwrap();
        assert_eq!(read_own(&record).unwrap(), b"{}");
        std::fs::remove_file(&record).unwrap();
        symlink(&other, &record).unwrap();
        read_own(&record).unwrap_err();
        std::fs::remove_file(&record).unwrap();
        // Opening such a pipe would wait for somebody who writes.
        assert!(std::process::Command::new("mkfifo").arg(&record).status().unwrap().success());
        assert_eq!(read_own(&record).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn settings_may_be_a_link_to_what_nobody_else_can_write() {
        let home = tempfile::tempdir().unwrap();
        let (data, kept) = (home.path().join("data"), home.path().join("dotfiles"));
        create_dir(&data).unwrap();
        create_dir(&kept).unwrap();
        give(&data, 0o700);
        give(&kept, 0o755);
        let (settings, theirs) = (data.join("settings.json"), kept.join("ferry.json"));
        assert_eq!(read_settings(&settings).unwrap(), None);
        symlink(&theirs, &settings).unwrap();
        // A link that leads nowhere: the disk that they are on is not there.
        read_settings(&settings).unwrap_err();
        std::fs::write(&theirs, "{}").unwrap();
        give(&theirs, 0o644);
        assert_eq!(read_settings(&settings).unwrap().unwrap(), b"{}");
        for (place, open_to, closed) in [(&theirs, 0o666, 0o644), (&kept, 0o777, 0o755)] {
            give(place, open_to);
            assert_eq!(read_settings(&settings).unwrap_err().code(), Code::PermissionDenied);
            give(place, closed);
        }
        assert_eq!(read_settings(&settings).unwrap().unwrap(), b"{}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_list_of_rights_lets_others_in_whatever_the_group_is() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        create_dir(&data).unwrap();
        give(&data, 0o700);
        let settings = data.join("settings.json");
        std::fs::write(&settings, "{}").unwrap();
        // For user 65534, as acl(5) has it.
        let entry = |tag: u16, rights: u16, id: u32| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let list = [(1, 6, none), (2, 6, 65_534), (4, 0, none), (0x10, 6, none), (0x20, 0, none)];
        let list: Vec<u8> = list.into_iter().flat_map(|(tag, rights, id)| entry(tag, rights, id)).collect();
        let value = [&2_u32.to_le_bytes()[..], &list].concat();
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&settings, "system.posix_acl_access", &value, flags).is_err() {
            // This disk keeps no such lists.
            return;
        }
        assert_eq!(mode(&settings), 0o660);
        read_own(&settings).unwrap_err();
        is_refused(&data, "chmod -R go-w");
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
