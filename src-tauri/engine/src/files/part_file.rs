//! The part file `name.ext.ferrypart`: where a download's bytes wait until they are proven.
//!
//! It lies beside its target, so that publishing is one rename on one file system. Its name is reserved together
//! with the final one; nothing is ever written through a link, nothing is ever replaced.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Cause, Error, Result};
use crate::filename::{self, part_name};
use crate::files::disk::Disk;
use crate::files::folder::{Folder, allocated};
use crate::files::origin_mark::{self, MarkTried};
use crate::files::own_file::{FileId, give_usual_rights, is_own, was_own};
use crate::http::checksum::{Algorithm, Hasher};
use crate::words::{Phrase, Size, shown};

/// How many numbered names are tried before Ferry gives up on a folder.
const MOST_NUMBERS: u32 = 10_000;
const READ_BUFFER: usize = 1024 * 1024;
/// Files larger than this may come over several connections, each with a place of its own in the file.
const GAPS_FROM: u64 = 16 * 1024 * 1024;
/// How long a part file may be in use by somebody who is about to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open part file with the name that is reserved for it.
#[derive(Debug, Clone)]
pub(crate) struct PartFile {
    folder: Arc<Folder>,
    name: String,
    file: Arc<File>,
    id: Option<FileId>,
}

impl PartFile {
    /// The first name like `wanted` that the disk takes, and that neither a file nor a part file has, nor another
    /// transfer has reserved.
    pub fn free_name(folder: &Folder, wanted: &str, is_reserved: impl Fn(&str) -> bool) -> Result<String> {
        'fitted: loop {
            let wanted = folder.fitted(wanted);
            for name in numbered_names(folder, &wanted) {
                let part = part_name(&name);
                match folder.find(&name).and_then(|has| Ok(has || folder.find(&part)?)) {
                    Ok(false) if !is_reserved(&name) => return Ok(name),
                    Ok(_) => {}
                    // Shorter at once, not by another number.
                    Err(error) if folder.learn_from_refusal(&part, &error) => continue 'fitted,
                    Err(error) => return Err(Error::target_io("Opening", &folder.path_of(&name), &error)),
                }
            }
            return Err(too_many(&wanted));
        }
    }

    /// Makes the part file of a name; `None` when somebody else has made it meanwhile, or the disk does not take the
    /// name: [`Self::free_name`] gives another one then.
    pub fn create(folder: Arc<Folder>, name: &str) -> Result<Option<Self>> {
        match folder.create_new(&part_name(name)) {
            Ok(file) => {
                let path = folder.path_of(&part_name(name));
                let part = Self::own(folder, name, file);
                part.map(Some).map_err(|error| Error::target_io("Creating", &path, &error))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) if folder.learn_from_refusal(&part_name(name), &error) => Ok(None),
            Err(error) => Err(Error::target_io("Creating", &folder.path_of(&part_name(name)), &error)),
        }
    }

    /// Takes back one that was just made, and that nobody wants any more.
    pub fn discard_empty(&self) {
        let part = part_name(&self.name);
        // One that stays holds nothing, and belongs to a name that is noted.
        if self.folder.is_same(&part, &self.file).is_ok_and(|is_same| is_same) {
            let _ = self.folder.remove(&part);
        }
    }

    /// Opens the part file that an earlier run left, and noted. What cannot be that file is refused as a link is, by
    /// `InvalidInput`.
    pub fn reopen(folder: Arc<Folder>, name: &str, noted: Option<FileId>) -> io::Result<Self> {
        let file = folder.open_existing(&part_name(name))?;
        if !is_own(&file, noted, folder.access()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "somebody else may have written it"));
        }
        Self::own(folder, name, file)
    }

    /// Nobody else writes to the file while this lives: another process, with a list of its own, may have come to the
    /// same name.
    fn own(folder: Arc<Folder>, name: &str, file: File) -> io::Result<Self> {
        let began = Instant::now();
        loop {
            match file.try_lock() {
                // A process that was killed, or a last sync of this one, may still be ending.
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
                // A file system without locks is no reason to save nothing there.
                Ok(()) | Err(TryLockError::Error(_)) => {
                    let id = FileId::of(&file);
                    return Ok(Self { folder, name: name.to_owned(), file: Arc::new(file), id });
                }
            }
        }
    }

    /// Opens a finished file, to look whether it is the one that was noted and proven.
    pub fn published(folder: Arc<Folder>, name: &str, noted: Option<FileId>) -> io::Result<Self> {
        let file = folder.open_existing(name)?;
        if !was_own(&file, noted, folder.access()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "somebody else may have written it"));
        }
        // A kill may have come before it was given them.
        give_usual_rights(&file);
        let id = FileId::of(&file);
        Ok(Self { folder, name: name.to_owned(), file: Arc::new(file), id })
    }

    /// What tells the file from others, to be noted; `None` where the system tells nothing.
    pub fn id(&self) -> Option<FileId> {
        self.id
    }

    /// The name that the file will get.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the drive with it is mounted; `None` for the one that the system is on.
    pub fn drive(&self) -> Option<PathBuf> {
        self.folder.drive().map(Path::to_owned)
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

    /// Makes sure that there is room for the rest of a file of this size, and that it can be written in pieces.
    pub fn make_room(&self, total: u64) -> Result<()> {
        self.find_room(total)?;
        if total > GAPS_FROM {
            self.folder.disk().look_for_gaps(&self.file);
        }
        Ok(())
    }

    /// Makes sure that there is room for the rest of a file of this size.
    pub fn find_room(&self, total: u64) -> Result<()> {
        // Room that an earlier attempt set aside is no longer free, but it is ours.
        self.has_room_for(total.saturating_sub(allocated(&self.file)))
    }

    /// Makes sure that there is room for so many bytes more.
    fn has_room_for(&self, needed: u64) -> Result<()> {
        match self.folder.free_space() {
            Some(free) if free < needed => {
                Err(Error::new(Cause::DiskFull, Phrase::NoRoom).because(Phrase::MoreNeeded {
                    needed: Size(needed - free),
                    folder: shown(self.folder.path()),
                }))
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that there is room for the next bytes of a file, and for a step beyond them as far as the file or the disk
    /// goes; gives where that ends. It is set aside if the file is known to go so far.
    pub fn step_ahead(&self, bytes: Range<u64>, step: u64, total: Option<u64>) -> Result<u64> {
        let Some(total) = total else {
            self.has_room_for(bytes.end - bytes.start)?;
            let free = self.folder.free_space().unwrap_or(u64::MAX);
            return Ok(bytes.end.max(bytes.start.saturating_add(free.min(step))));
        };
        let end = bytes.end.saturating_add(step).min(total).max(bytes.end);
        let length = end - bytes.start;
        if allocated(&self.file) < end {
            self.has_room_for(length)?;
        }
        self.folder
            .disk()
            .set_aside(&self.file, bytes.start, length)
            .map_err(|error| Error::target_io("Reserving room for", &self.path(), &error))?;
        Ok(end)
    }

    /// Gives back what was set aside in this range and not written to.
    pub fn give_back(&self, range: &Range<u64>) {
        Disk::give_back(&self.file, range);
    }

    /// Keeps the bytes so far under another name (the source changed, or the file was touched) and gives the old
    /// name a new, empty part file.
    pub fn set_aside(self) -> Result<(Self, String)> {
        let part = part_name(&self.name);
        for old in numbered_names(&self.folder, &format!("{}.old", self.name)) {
            let aside = part_name(&old);
            match self.folder.rename_new(&part, &aside) {
                Ok(()) => {
                    let new = self
                        .folder
                        .create_new(&part)
                        .and_then(|file| Self::own(Arc::clone(&self.folder), &self.name, file))
                        .map_err(|error| Error::target_io("Creating", &self.folder.path_of(&part), &error))?;
                    return Ok((new, aside));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::target_io("Setting aside", &self.path(), &error)),
            }
        }
        Err(Error::new(Cause::PermissionDenied, Phrase::TooManyOldParts))
    }

    /// The first name like the reserved one that is still free: somebody else may have taken that meanwhile.
    pub fn final_name(&self) -> Result<String> {
        let mut names = numbered_names(&self.folder, &self.name);
        names.find(|name| !self.folder.has(name)).ok_or_else(|| too_many(&self.name))
    }

    /// Makes the bytes durable.
    pub fn sync(&self) -> Result<()> {
        Disk::judge_file_sync(self.file.sync_all())
            .map_err(|error| Error::target_io("Writing to", &self.path(), &error))
    }

    /// Makes the bytes durable that were written so far, as far as the disk can.
    pub fn sync_data(&self) -> io::Result<()> {
        Disk::judge_file_sync(self.file.sync_data())
    }

    /// Whether bytes can be written far behind the end at no cost: not where the disk fills what lies before them.
    pub fn takes_gaps(&self) -> bool {
        self.folder.disk().facts().leaves_gaps != Some(false)
    }

    /// Makes the bytes durable, and the name that they have.
    pub fn sync_with_name(&self) -> Result<()> {
        let synced = Disk::judge_file_sync(self.file.sync_all()).and_then(|()| self.folder.sync());
        synced.map_err(|error| Error::target_io("Writing to", &self.target(), &error))
    }

    /// Marks the file as what came from outside.
    pub fn mark(&self) -> MarkTried {
        origin_mark::set(&self.file, &self.path())
    }

    /// Gives the file a final name; false when that was taken in this instant. From here on it exists for the user: it
    /// must be proven and durable before, and marked as what came from outside.
    pub fn publish(&self, name: &str, _mark: &MarkTried) -> Result<bool> {
        if self.folder.is_unplugged() {
            return Err(drive_is_gone(&self.folder.path_of("")));
        }
        let part = part_name(&self.name);
        let failed = |error| Error::target_io("Giving the final name to", &self.path(), &error);
        if !self.folder.is_same(&part, &self.file).map_err(failed)? {
            return Err(self.replaced());
        }
        let failures = self.folder.failed_syncs();
        match self.folder.rename_new(&part, name) {
            Ok(()) if !self.folder.is_same(name, &self.file).map_err(failed)? => {
                // In the instant between: whatever it is, it gets its name back.
                let _ = self.folder.rename_new(name, &part);
                Err(self.replaced())
            }
            Ok(()) => {
                give_usual_rights(&self.file);
                let path = self.folder.path_of(name);
                let synced = self.folder.sync().and_then(|()| {
                    // A sync of somebody else that failed since the rename may have been about this name, too.
                    let is_lost = self.folder.failed_syncs() != failures;
                    if is_lost { Err(io::Error::other("the folder could not be synced")) } else { Ok(()) }
                });
                synced.map_err(|error| Error::target_io("Writing to", &path, &error))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// What has the part file's name is not what was written and proven.
    fn replaced(&self) -> Error {
        Error::new(Cause::Integrity, Phrase::PartFileReplaced)
            .because(Phrase::NotWhatWasWritten { path: shown(&self.path()) })
    }

    /// Where a file of this name lies.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.path_of(name)
    }

    /// Reads `length` bytes from `start` on and gives the hasher that has seen them. Stops in the middle, with
    /// `Interrupted`, when it does not go on: a large file takes its time, and nobody else can have it meanwhile.
    pub fn hash(
        &self,
        start: u64,
        length: u64,
        extra: &[Algorithm],
        goes_on: impl Fn() -> bool,
    ) -> io::Result<Hasher> {
        let mut hasher = Hasher::new(extra);
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(start))?;
        let mut left = length;
        let mut buffer = vec![0; READ_BUFFER.min(usize::try_from(length).unwrap_or(READ_BUFFER)).max(1)];
        while left > 0 {
            if !goes_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
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

/// The refusal to go on without the drive that holds what has arrived.
pub(crate) fn drive_is_gone(folder: &Path) -> Error {
    Error::new(Cause::PermissionDenied, Phrase::DriveGone { folder: shown(folder) })
        .advise(Phrase::ConnectDrive)
}

/// Takes a part file to another folder, under a name that is reserved for it there, and gives what is to be noted of it
/// then. Cut off anywhere, it can be done again: what an earlier try has begun is begun anew. A long copy says that it
/// `moved_on`.
pub(crate) fn relocate(
    from: &Path,
    name: &str,
    to: &Path,
    new: &str,
    noted: Option<FileId>,
    moved_on: impl Fn(),
) -> Result<Option<FileId>> {
    let old = from.join(part_name(name));
    // A link in its place leads to a file that is not to be copied.
    if !std::fs::symlink_metadata(&old).is_ok_and(|facts| facts.is_file()) {
        // It was never made, or is there already.
        return Ok(noted);
    }
    let was_in = Folder::open(from)?;
    let part = was_in.open_on_its_way(&part_name(name)).ok();
    let part = part.filter(|part| is_own(part, noted, was_in.access()));
    // Something else has its name by now: that stays where it is.
    let Some(mut part) = part else { return Ok(noted) };
    let folder = Folder::open(to)?;
    let new = part_name(new);
    let target = folder.path_of(&new);
    let failed = |error| Error::target_io("Copying to", &target, &error);
    if folder.has(&new) {
        if !begins_like(&target, &old).map_err(failed)? {
            return Err(Error::new(Cause::PermissionDenied, Phrase::PartNameTaken)
                .because(Phrase::NotTheBeginning { target: shown(&target), old: shown(&old) }));
        }
        folder.remove(&new).map_err(failed)?;
    }
    // A second name on the same disk costs nothing; another disk needs a copy. Neither replaces anything.
    let is_linked = std::fs::hard_link(&old, &target).is_ok();
    let mut moved = FileId::of(&part);
    if is_linked {
        let linked = File::open(&target).map_err(failed)?;
        if FileId::of(&linked) != moved {
            // Put there in the instant between.
            let _ = folder.remove(&new);
            return Err(Error::new(Cause::Integrity, Phrase::PartFileReplaced)
                .because(Phrase::NotWhatWasWritten { path: shown(&old) }));
        }
    } else {
        let mut copy = folder.create_new(&new).map_err(failed)?;
        moved = FileId::of(&copy);
        let copied =
            copy_all(&mut part, &mut copy, moved_on).and_then(|()| Disk::judge_file_sync(copy.sync_all()));
        if let Err(error) = copied {
            // Half a copy helps nobody; the old part is still there.
            let _ = folder.remove(&new);
            return Err(failed(error));
        }
    }
    folder.sync().map_err(|error| Error::target_io("Writing to", to, &error))?;
    match std::fs::remove_file(&old) {
        // One file with two names could be changed behind the transfer's back.
        Err(error) if is_linked => {
            let _ = folder.remove(&new);
            Err(Error::target_io("Removing", &old, &error))
        }
        // An old copy that cannot be removed stays where the user can see it; it is no longer needed.
        _ => Ok(moved),
    }
}

/// Copies the rest of a file, and says after each stretch that it `moved_on`.
fn copy_all(from: &mut File, to: &mut File, moved_on: impl Fn()) -> io::Result<()> {
    const STRETCH: u64 = 16 * 1024 * 1024;
    while io::copy(&mut io::Read::by_ref(from).take(STRETCH), to)? > 0 {
        moved_on();
    }
    Ok(())
}

/// Whether a file holds the beginning of another, or all of it.
fn begins_like(beginning: &Path, whole: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(beginning)?, File::open(whole)?);
    let (mut here, mut there) = (vec![0; READ_BUFFER], vec![0; READ_BUFFER]);
    loop {
        let read = one.read(&mut here)?;
        if read == 0 {
            return Ok(true);
        }
        if other.read_exact(&mut there[..read]).is_err() || here[..read] != there[..read] {
            return Ok(false);
        }
    }
}

/// Removes the part file of a transfer that the user takes off the list.
pub(crate) fn discard(folder: &Path, name: &str) {
    if let Ok(folder) = Folder::open(folder) {
        // It may be gone already; that is what was wanted.
        let _ = folder.remove(&part_name(name));
    }
}

fn too_many(name: &str) -> Error {
    Error::new(Cause::PermissionDenied, Phrase::TooManyOfThatName { name: name.into() })
}

fn numbered_names(folder: &Folder, wanted: &str) -> impl Iterator<Item = String> + use<> {
    let longest = folder.disk().longest_name();
    let first = std::iter::once(wanted.to_owned());
    let wanted = wanted.to_owned();
    first.chain((1..MOST_NUMBERS).map(move |number| filename::numbered(&wanted, number, longest)))
}
