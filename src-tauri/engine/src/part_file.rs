//! The part file `name.ext.ferrypart`: where a download's bytes wait until they are proven.
//!
//! It lies beside its target, so that publishing is one rename on one file system. Its name is reserved together
//! with the final one; nothing is ever written through a link, nothing is ever replaced.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checksum::{Algorithm, Hasher};
use crate::error::{Cause, Error, Result};
use crate::filename::{self, PART_SUFFIX};
use crate::folder::{self, Folder};

/// How many numbered names are tried before Ferry gives up on a folder.
const MOST_NUMBERS: u32 = 10_000;
const READ_BUFFER: usize = 1024 * 1024;

/// An open part file with the name that is reserved for it.
#[derive(Debug, Clone)]
pub(crate) struct PartFile {
    folder: Arc<Folder>,
    name: String,
    file: Arc<File>,
}

impl PartFile {
    /// Reserves the first free name like `wanted`, and makes its part file.
    pub fn reserve(folder: Arc<Folder>, wanted: &str) -> Result<Self> {
        for name in numbered_names(wanted) {
            if folder.has(&name) {
                continue;
            }
            let part = part_name(&name);
            match folder.create_new(&part) {
                Ok(file) => return Ok(Self { folder, name, file: Arc::new(file) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::target_io("Creating", &folder.path_of(&part), &error)),
            }
        }
        Err(Error::new(
            Cause::PermissionDenied,
            format!("There are too many files called `{wanted}` already"),
        ))
    }

    /// Opens the part file that an earlier run left.
    pub fn reopen(folder: Arc<Folder>, name: &str) -> io::Result<Self> {
        let file = folder.open_existing(&part_name(name))?;
        Ok(Self { folder, name: name.to_owned(), file: Arc::new(file) })
    }

    /// Opens a finished file, to look whether it is the one that was proven.
    pub fn published(folder: Arc<Folder>, name: &str) -> io::Result<Self> {
        let file = folder.open_existing(name)?;
        Ok(Self { folder, name: name.to_owned(), file: Arc::new(file) })
    }

    /// The name that the file will get.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, to write to.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the finished file will be.
    pub fn target(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    /// Where the part file is.
    pub fn path(&self) -> PathBuf {
        self.folder.path_of(&part_name(&self.name))
    }

    /// Cuts the part file to what is provable.
    pub fn truncate(&self, length: u64) -> Result<()> {
        self.file.set_len(length).map_err(|error| Error::target_io("Writing to", &self.path(), &error))
    }

    /// Makes sure that there is room for the rest of a file of this size, and sets it aside.
    pub fn make_room(&self, total: u64) -> Result<()> {
        // Room that an earlier attempt set aside is no longer free, but it is ours.
        let needed = total.saturating_sub(folder::allocated(&self.file));
        if let Some(free) = self.folder.free_space()
            && free < needed
        {
            return Err(Error::new(Cause::DiskFull, "There is not enough room on the disk").because(
                format!(
                    "{} more is needed in `{}`",
                    size_words(needed - free),
                    self.folder.path_of("").display()
                ),
            ));
        }
        folder::reserve(&self.file, total)
            .map_err(|error| Error::target_io("Reserving room for", &self.path(), &error))
    }

    /// Keeps the bytes so far under another name (the source changed, or the file was touched) and gives the old
    /// name a new, empty part file.
    pub fn set_aside(self) -> Result<(Self, String)> {
        let part = part_name(&self.name);
        for old in numbered_names(&format!("{}.old", self.name)) {
            let aside = part_name(&old);
            match self.folder.rename_new(&part, &aside) {
                Ok(()) => {
                    let file = self
                        .folder
                        .create_new(&part)
                        .map_err(|error| Error::target_io("Creating", &self.folder.path_of(&part), &error))?;
                    return Ok((Self { file: Arc::new(file), ..self }, aside));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::target_io("Setting aside", &self.path(), &error)),
            }
        }
        Err(Error::new(Cause::PermissionDenied, "There are too many old parts of this file"))
    }

    /// Gives the file its final name. From here on it exists for the user: it must be proven before.
    pub fn publish(self) -> Result<(PathBuf, String)> {
        self.file.sync_all().map_err(|error| Error::target_io("Writing to", &self.path(), &error))?;
        let part = part_name(&self.name);
        // Somebody else may have taken the reserved name meanwhile: then the next free one is right.
        for name in numbered_names(&self.name) {
            match self.folder.rename_new(&part, &name) {
                Ok(()) => {
                    let path = self.folder.path_of(&name);
                    self.folder.sync().map_err(|error| Error::target_io("Writing to", &path, &error))?;
                    return Ok((path, name));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::target_io("Giving the final name to", &self.path(), &error)),
            }
        }
        Err(Error::new(
            Cause::PermissionDenied,
            format!("There are too many files called `{}` already", self.name),
        ))
    }

    /// Reads `length` bytes from `start` on and gives the hasher that has seen them.
    pub fn hash(&self, start: u64, length: u64, extra: Option<Algorithm>) -> io::Result<Hasher> {
        let mut hasher = Hasher::new(extra);
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(start))?;
        let mut left = length;
        let mut buffer = vec![0; READ_BUFFER.min(usize::try_from(length).unwrap_or(READ_BUFFER)).max(1)];
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut buffer[..wanted])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&buffer[..read]);
            left -= read as u64;
        }
        Ok(hasher)
    }
}

/// Takes a part file to another folder, under the first free name there; `None` when there is nothing to take.
pub(crate) fn relocate(from: &Path, name: &str, to: &Path) -> Result<Option<String>> {
    let old = from.join(part_name(name));
    if !old.is_file() {
        return Ok(None);
    }
    let folder = Folder::open(to)?;
    for new in numbered_names(name) {
        if folder.has(&new) || folder.has(&part_name(&new)) {
            continue;
        }
        let target = folder.path_of(&part_name(&new));
        // A second name on the same disk costs nothing; another disk needs a copy. Neither replaces anything.
        if std::fs::hard_link(&old, &target).is_err() {
            let failed = |error| Error::target_io("Copying to", &target, &error);
            let mut copy = folder.create_new(&part_name(&new)).map_err(failed)?;
            let copied = File::open(&old)
                .and_then(|mut old| io::copy(&mut old, &mut copy))
                .and_then(|_| copy.sync_all());
            if let Err(error) = copied {
                // Half a copy helps nobody; the old part is still there.
                let _ = folder.remove(&part_name(&new));
                return Err(failed(error));
            }
        }
        folder.sync().map_err(|error| Error::target_io("Writing to", to, &error))?;
        // What cannot be removed stays where the user can see it; it is no longer needed.
        let _ = std::fs::remove_file(&old);
        return Ok(Some(new));
    }
    Err(Error::new(Cause::PermissionDenied, format!("There are too many files called `{name}` already")))
}

/// Removes the part file of a transfer that the user takes off the list.
pub(crate) fn discard(folder: &Path, name: &str) {
    if let Ok(folder) = Folder::open(folder) {
        // It may be gone already; that is what was wanted.
        let _ = folder.remove(&part_name(name));
    }
}

/// `name.ext.ferrypart`.
pub(crate) fn part_name(name: &str) -> String {
    format!("{name}{PART_SUFFIX}")
}

fn numbered_names(wanted: &str) -> impl Iterator<Item = String> {
    let first = std::iter::once(wanted.to_owned());
    let wanted = wanted.to_owned();
    first.chain((1..MOST_NUMBERS).map(move |number| filename::numbered(&wanted, number)))
}

/// A size for an error's text.
pub(crate) fn size_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}
