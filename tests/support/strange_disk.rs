//! A disk of a test's own, in user space, that lacks what others have: a real file system to everybody who uses it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

/// What the kernel remembers of an answer: nothing, so that every question is heard.
const NOTHING: Duration = Duration::ZERO;
const BLOCK: u64 = 512;
const MIB: u64 = 1 << 20;

/// What is strange about a disk. Errors are numbers of the system's.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// The longest name that it takes, in bytes, and whether it says so when it is asked.
    pub longest_name: Option<(usize, bool)>,
    /// Names that differ in case only are the same.
    pub folds_case: bool,
    /// It stores no letters beyond ASCII.
    pub ascii_only: bool,
    /// It knows no rename that replaces nothing.
    pub plain_renames: bool,
    /// How many names it says that a file has, instead of one.
    pub names_of_file: Option<u32>,
    /// A file has another number each time it is looked up.
    pub changing_numbers: bool,
    pub folder_sync: Option<i32>,
    pub file_sync: Option<i32>,
    pub times: Option<i32>,
    pub locks: Option<i32>,
    /// Room is set aside by writing zeroes, so long for each MiB.
    pub sets_aside_slowly: Option<Duration>,
    /// Setting room aside makes the file longer.
    pub sets_aside_longer: bool,
    /// What lies before a byte is filled with zeroes.
    pub fills_gaps: bool,
    /// It tells of no blocks at all.
    pub tells_no_space: bool,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    modified: Option<SystemTime>,
    set_aside: u64,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, u64>,
    files: HashMap<u64, Content>,
    /// Numbers that were given out, and the file that each stands for.
    numbers: HashMap<u64, u64>,
    last: u64,
    is_hung: bool,
    /// Bytes that were set aside, and zeroes that were written to fill a gap.
    set_aside: u64,
    filled: u64,
}

#[derive(Clone)]
struct Disk {
    quirks: Quirks,
    state: Arc<(Mutex<State>, Condvar)>,
}

/// A mounted disk; unmounted with the test.
pub struct StrangeDisk {
    place: PathBuf,
    state: Arc<(Mutex<State>, Condvar)>,
    session: Option<BackgroundSession>,
}

impl StrangeDisk {
    /// A disk with these quirks at this place. Without the right to mount one the test says so, and ends.
    pub fn mount(place: &Path, quirks: Quirks) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        state.0.lock().unwrap().last = INodeNo::ROOT.0;
        let disk = Disk { quirks, state: Arc::clone(&state) };
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("strange".to_owned())];
        match fuser::spawn_mount(disk, place, &options) {
            Ok(session) => Some(Self { place: place.to_owned(), state, session: Some(session) }),
            Err(error) => {
                eprintln!(
                    "skipped: a file system in user space needs /dev/fuse and the right to mount ({error})"
                );
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.place
    }

    /// From now on nobody gets an answer, or everybody does again.
    pub fn hang(&self, is_hung: bool) {
        self.state.0.lock().unwrap().is_hung = is_hung;
        self.state.1.notify_all();
    }

    /// Bytes that were set aside so far.
    pub fn set_aside(&self) -> u64 {
        self.state.0.lock().unwrap().set_aside
    }

    /// Zeroes that were written into gaps so far.
    pub fn filled(&self) -> u64 {
        self.state.0.lock().unwrap().filled
    }
}

impl Drop for StrangeDisk {
    fn drop(&mut self) {
        self.hang(false);
        drop(self.session.take());
    }
}

impl Disk {
    /// The state, as soon as the disk answers.
    fn state(&self) -> MutexGuard<'_, State> {
        let (state, changed) = &*self.state;
        changed.wait_while(state.lock().unwrap(), |state| state.is_hung).unwrap()
    }

    /// A name as it is stored, or why it cannot be.
    fn name(&self, name: &OsStr) -> Result<String, Errno> {
        let name = name.to_str().ok_or(Errno::EILSEQ)?;
        if self.quirks.longest_name.is_some_and(|(longest, _)| name.len() > longest) {
            return Err(Errno::ENAMETOOLONG);
        }
        if self.quirks.ascii_only && !name.is_ascii() {
            return Err(Errno::EINVAL);
        }
        Ok(name.to_owned())
    }

    fn find(&self, state: &State, name: &str) -> Option<(String, u64)> {
        let is_it = |stored: &str| {
            if self.quirks.folds_case { stored.to_lowercase() == name.to_lowercase() } else { stored == name }
        };
        state.names.iter().find(|(stored, _)| is_it(stored)).map(|(stored, file)| (stored.clone(), *file))
    }

    fn facts(&self, state: &State, number: INodeNo) -> Result<FileAttr, Errno> {
        let is_folder = number == INodeNo::ROOT;
        let nothing = Content::default();
        let content = if is_folder { &nothing } else { Self::content(state, number)? };
        let time = content.modified.unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(FileAttr {
            ino: number,
            size: content.bytes.len() as u64,
            blocks: Self::used(content).max(content.set_aside).div_ceil(BLOCK),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
            perm: if is_folder { 0o755 } else { 0o644 },
            nlink: if is_folder { 2 } else { self.quirks.names_of_file.unwrap_or(1) },
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Whole blocks of zeroes take no room, as if they were gaps: where gaps are filled, `set_aside` says what they take.
    fn used(content: &Content) -> u64 {
        let blocks = content.bytes.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0));
        4096 * blocks.count() as u64 + u64::from(!content.bytes.is_empty()) * BLOCK
    }

    fn content(state: &State, number: INodeNo) -> Result<&Content, Errno> {
        let file = state.numbers.get(&number.0).ok_or(Errno::ENOENT)?;
        state.files.get(file).ok_or(Errno::ENOENT)
    }

    fn content_mut(state: &mut State, number: INodeNo) -> Result<&mut Content, Errno> {
        let file = state.numbers.get(&number.0).ok_or(Errno::ENOENT)?;
        state.files.get_mut(file).ok_or(Errno::ENOENT)
    }

    /// A number for a file: its own, or a new one each time.
    fn number(&self, state: &mut State, file: u64) -> INodeNo {
        let number = if self.quirks.changing_numbers { state.last + 1 } else { file };
        state.last = state.last.max(number);
        state.numbers.insert(number, file);
        INodeNo(number)
    }

    fn lookup_name(&self, name: &OsStr) -> Result<FileAttr, Errno> {
        let mut state = self.state();
        let name = self.name(name)?;
        let (_, file) = self.find(&state, &name).ok_or(Errno::ENOENT)?;
        let number = self.number(&mut state, file);
        self.facts(&state, number)
    }

    fn make(&self, name: &OsStr) -> Result<FileAttr, Errno> {
        let mut state = self.state();
        let name = self.name(name)?;
        if self.find(&state, &name).is_some() {
            return Err(Errno::EEXIST);
        }
        let file = state.last + 1;
        state.last = file;
        state.names.insert(name, file);
        state.files.insert(file, Content { modified: Some(SystemTime::now()), ..Content::default() });
        let number = self.number(&mut state, file);
        self.facts(&state, number)
    }

    fn resize(&self, state: &mut State, number: INodeNo, length: u64) -> Result<(), Errno> {
        let fills = self.quirks.fills_gaps;
        let content = Self::content_mut(state, number)?;
        let before = content.bytes.len() as u64;
        content.bytes.resize(usize::try_from(length).unwrap(), 0);
        content.modified = Some(SystemTime::now());
        content.set_aside = content.set_aside.min(length);
        if fills && length > before {
            content.set_aside = length;
            state.filled += length - before;
        }
        Ok(())
    }

    fn write_at(&self, number: INodeNo, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let mut state = self.state();
        if offset > Self::content(&state, number)?.bytes.len() as u64 {
            self.resize(&mut state, number, offset)?;
        }
        let content = Self::content_mut(&mut state, number)?;
        let (start, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset).unwrap() + data.len());
        content.bytes.resize(content.bytes.len().max(end), 0);
        content.bytes[start..end].copy_from_slice(data);
        content.modified = Some(SystemTime::now());
        Ok(())
    }

    fn give_name(&self, name: &OsStr, new: &OsStr, flags: RenameFlags) -> Result<(), Errno> {
        let mut state = self.state();
        let (name, new) = (self.name(name)?, self.name(new)?);
        if self.quirks.plain_renames && !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        let (stored, file) = self.find(&state, &name).ok_or(Errno::ENOENT)?;
        let taken = self.find(&state, &new).filter(|(_, other)| *other != file);
        if taken.is_some() && flags.contains(RenameFlags::RENAME_NOREPLACE) {
            return Err(Errno::EEXIST);
        }
        if let Some((taken, _)) = taken {
            state.names.remove(&taken);
        }
        state.names.remove(&stored);
        state.names.insert(new, file);
        Ok(())
    }
}

/// Answers a request that has no other answer than that it was done.
fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn refuses(quirk: Option<i32>) -> Result<(), Errno> {
    quirk.map_or(Ok(()), |error| Err(Errno::from_i32(error)))
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        if self.quirks.locks.is_some() {
            let all = InitFlags::FUSE_FLOCK_LOCKS | InitFlags::FUSE_POSIX_LOCKS;
            config.add_capabilities(all).map_err(|_| std::io::ErrorKind::Unsupported)?;
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.lookup_name(name) {
            Ok(facts) => reply.entry(&NOTHING, &facts, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let facts = self.facts(&self.state(), number);
        match facts {
            Ok(facts) => reply.attr(&NOTHING, &facts),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let set = || {
            if let Some(size) = size {
                self.resize(&mut state, number, size)?;
            }
            if let Some(TimeOrNow::SpecificTime(time)) = modified {
                refuses(self.quirks.times)?;
                Self::content_mut(&mut state, number)?.modified = Some(time);
            }
            self.facts(&state, number)
        };
        match { set }() {
            Ok(facts) => reply.attr(&NOTHING, &facts),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.state();
        let found = self.name(name).and_then(|name| self.find(&state, &name).ok_or(Errno::ENOENT));
        let removed = found.map(|(stored, _)| {
            state.names.remove(&stored);
        });
        done(reply, removed);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(reply, self.give_name(name, new, flags));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: fuser::ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.make(name) {
            Ok(facts) => {
                reply.created(&NOTHING, &facts, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state();
        match Self::content(&state, number) {
            Ok(content) => {
                let start = usize::try_from(offset).unwrap().min(content.bytes.len());
                let end = (start + size as usize).min(content.bytes.len());
                reply.data(&content.bytes[start..end]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_at(number, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        drop(self.state());
        done(reply, refuses(self.quirks.file_sync));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        drop(self.state());
        done(reply, refuses(self.quirks.folder_sync));
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.state();
        for (at, (name, file)) in (1..).zip(&state.names).skip(usize::try_from(offset).unwrap()) {
            if reply.add(INodeNo(*file), at, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        drop(self.state());
        let longest = match self.quirks.longest_name {
            Some((longest, true)) => u32::try_from(longest).unwrap(),
            _ => 255,
        };
        let blocks = if self.quirks.tells_no_space { 0 } else { 1024 * MIB / 4096 };
        reply.statfs(blocks, blocks, blocks, 0, 0, 4096, longest, 4096);
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        done(reply, refuses(self.quirks.locks));
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        if let Some(time) = self.quirks.sets_aside_slowly {
            std::thread::sleep(time * u32::try_from(length / MIB).unwrap());
        }
        let mut state = self.state();
        state.set_aside += length;
        let end = offset + length;
        let is_longer = self.quirks.sets_aside_longer;
        let set = Self::content_mut(&mut state, number).map(|content| {
            content.set_aside = content.set_aside.max(end);
            if is_longer && (content.bytes.len() as u64) < end {
                content.bytes.resize(usize::try_from(end).unwrap(), 0);
            }
        });
        done(reply, set);
    }
}
