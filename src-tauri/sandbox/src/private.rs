//! Folders and files for their owner only, whatever the umask is and whatever an older version left behind; nothing
//! below the root is reached through a link.
//!
//! The mode of a file is no lock for a program of the same user, and none is meant here: what is shut out is every
//! other user of the computer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

/// Makes a folder if it is missing, and sees to it that it is a folder of this user's own that nobody else may enter.
///
/// # Errors
/// It is a link or no folder, belongs to somebody else, or cannot be made.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if let Err(error) = builder.create(path) {
        // Of a link that leads nowhere it says that something is there already, which is not the reason.
        return Err(if is_link(path) { leads_away(path) } else { error });
    }
    if is_link(path) {
        return Err(leads_away(path));
    }
    shut(&options().read(true).open(path)?, path, 0o700)
}

/// Makes a file that was not there.
///
/// # Errors
/// As those of [`OpenOptions::create_new`].
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.read(true).write(true).create_new(true).open(path)?;
    // A umask can only have taken more away than was meant.
    #[cfg(unix)]
    rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    Ok(file)
}

/// Opens a file for reading.
///
/// # Errors
/// It is missing, is a link or no file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    only_file(options().read(true).open(path)?)
}

/// Opens a file for reading and writing.
///
/// # Errors
/// As those of [`open`].
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    only_file(options().read(true).write(true).open(path)?)
}

/// Reads a file whole.
///
/// # Errors
/// As those of [`open`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that was not there.
///
/// # Errors
/// As those of [`create`], and of writing.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create(path)?.write_all(bytes)
}

/// Opens a file below a folder by its relative name, no part of which may be a link or lead upwards.
///
/// # Errors
/// There is no such file.
pub(crate) fn open_below(folder: &Path, name: &str) -> io::Result<File> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut parts = Vec::new();
    for component in Path::new(name).components() {
        let Component::Normal(part) = component else { return Err(missing()) };
        parts.push(part);
    }
    let last = parts.pop().ok_or_else(missing)?;
    open_part(folder, &parts, last)
}

#[cfg(unix)]
fn open_part(folder: &Path, folders: &[&std::ffi::OsStr], last: &std::ffi::OsStr) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open, openat};
    let way = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let mut at = open(folder, way, Mode::empty())?;
    for part in folders {
        at = openat(&at, *part, way, Mode::empty())?;
    }
    // A pipe would be waited for.
    let end = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NONBLOCK;
    only_file(File::from(openat(&at, last, end, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_part(folder: &Path, folders: &[&std::ffi::OsStr], last: &std::ffi::OsStr) -> io::Result<File> {
    let mut path = folder.to_owned();
    for part in folders.iter().chain([&last]) {
        path.push(part);
        if is_link(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
    }
    only_file(File::open(path)?)
}

/// Takes the root of a sandbox into possession: it, and all that is in it, is for this user alone from now on. Older
/// versions left files that anybody could read.
///
/// # Errors
/// Something in it belongs to somebody else: it was not this program that put it there.
pub(crate) fn take_possession(root: &Path) -> io::Result<()> {
    folder(root)?;
    // Folders first, so that no way leads in any more while the rest is looked through.
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folder(&path)?;
                waiting.push(path);
            } else if kind.is_file() {
                shut_file(&entry, &path)?;
            }
        }
    }
    Ok(())
}

/// Whether other users may do anything with a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    return path
        .symlink_metadata()
        .is_ok_and(|about| std::os::unix::fs::MetadataExt::mode(&about) & 0o077 != 0);
    #[cfg(not(unix))]
    return false;
}

#[cfg(unix)]
fn shut_file(entry: &fs::DirEntry, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = entry.metadata()?;
    if about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o777 == 0o600 {
        return Ok(());
    }
    shut(&options().read(true).open(path)?, path, 0o600)
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as where files have modes")]
fn shut_file(_entry: &fs::DirEntry, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives what is open its mode, if it is this user's.
#[cfg(unix)]
fn shut(opened: &File, path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = opened.metadata()?;
    if about.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} belongs to another user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if about.mode() & 0o777 == mode {
        return Ok(());
    }
    match rustix::fs::fchmod(opened, rustix::fs::Mode::from_raw_mode(mode as rustix::fs::RawMode)) {
        // A file system without modes, as on a memory stick: whoever mounted it has said who may read it.
        Err(rustix::io::Errno::PERM | rustix::io::Errno::NOTSUP | rustix::io::Errno::INVAL) => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as where folders have modes")]
fn shut(_opened: &File, _path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// How everything is opened: never through a link, and without waiting for whoever is at the other end of a pipe.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32,
    );
    #[cfg(windows)]
    {
        /// `FILE_FLAG_BACKUP_SEMANTICS`, without which a folder cannot be opened, and `FILE_FLAG_OPEN_REPARSE_POINT`.
        const FLAGS: u32 = 0x0200_0000 | 0x0020_0000;
        std::os::windows::fs::OpenOptionsExt::custom_flags(&mut options, FLAGS);
    }
    options
}

fn only_file(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_symlink())
}

fn leads_away(path: &Path) -> io::Error {
    let why = format!("{} is a link, and the sandbox keeps its files in no other place", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// A name that is one part of a path and no more: what a record says of where its data lies.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

/// A record's neighbour while it is written.
pub(crate) fn beside(path: &Path, mark: &str) -> PathBuf {
    path.with_extension(format!("{mark}.tmp"))
}
