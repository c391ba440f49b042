//! The file that is sent: read-only, watched for changes, read and hashed by a thread of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::{Cause, Error, Result};
use crate::files::own_folder::OwnFolder;
use crate::http::checksum::{Algorithm, Digests, Hasher};
use crate::task::{Chosen, SourceState};
use crate::upload::chosen;
use crate::words::{Phrase, shown};

/// Bytes in one read. Smaller ones make an upload several times slower.
const BUFFER: usize = 256 * 1024;
/// Buffers between the disk and the network.
const CHANNEL: usize = 8;

/// A file that changed so lately may change again without its time telling: some disks count in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// A file as it was found at some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// What is compared with it later.
    pub state: SourceState,
    /// The last change of anything about the file, nanoseconds since 1970. Unlike `modified` nobody sets it back; not
    /// every system tells.
    pub changed: Option<i64>,
    /// When the file was asked, before it answered.
    at: SystemTime,
}

impl Sighting {
    /// The file that these facts were asked about after `at`.
    pub fn new(facts: &std::fs::Metadata, at: SystemTime) -> Self {
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt as _;
            facts.ctime().checked_mul(1_000_000_000).and_then(|time| time.checked_add(facts.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let changed = None;
        Self { state: state(facts), changed, at }
    }

    /// The file under this path, if it is one.
    pub fn of(path: &Path) -> Option<Self> {
        let at = SystemTime::now();
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|facts| Self::new(&facts, at))
    }

    /// Whether every change after it shows in `state`, unless somebody sets the time back.
    pub fn is_settled(&self) -> bool {
        self.since(self.state.modified).is_some_and(|age| age >= SETTLED)
    }

    /// How long until it is, if waiting helps: a time to come may be that of a clock that goes wrong.
    pub fn settles_in(&self) -> Option<Duration> {
        SETTLED.checked_sub(self.since(self.state.modified)?).filter(|left| !left.is_zero())
    }

    /// Whether the content can be known again by `state` and `changed` alone.
    pub fn tells_content(&self) -> bool {
        let changed = self.changed.and_then(|time| u64::try_from(time).ok());
        self.state.modified > 0
            && self.is_settled()
            && changed.and_then(|time| self.since(time)).is_some_and(|age| age >= SETTLED)
    }

    fn since(&self, nanoseconds: u64) -> Option<Duration> {
        self.at.duration_since(UNIX_EPOCH).ok()?.checked_sub(Duration::from_nanos(nanoseconds))
    }
}

/// An open source file with the checksums of what has been read.
#[derive(Clone)]
pub(crate) struct SourceFile {
    /// As people know it.
    path: PathBuf,
    /// Where it really lies.
    place: PathBuf,
    file: Arc<File>,
    sighting: Sighting,
    hasher: Arc<Mutex<Hasher>>,
}

impl SourceFile {
    /// Opens a file that was chosen: see [`chosen::open`]. Folders, pipes and devices are refused: they have no content that
    /// could be proven.
    pub fn open(path: &Path, chosen: Option<&Chosen>, own: &OwnFolder) -> Result<Self> {
        let at = SystemTime::now();
        let (file, facts) = chosen::open(path, chosen, own)?;
        let place = chosen.and_then(|chosen| chosen.real.clone()).unwrap_or_else(|| path.to_owned());
        let (sighting, hasher) = (Sighting::new(&facts, at), Arc::new(Mutex::new(Hasher::new(&[]))));
        let source = Self { path: path.to_owned(), place, file: Arc::new(file), sighting, hasher };
        source.check_end()?;
        Ok(source)
    }

    /// A file that has more bytes than its own size says has no size that could be sent: those of `/proc`, documents that
    /// are mounted from elsewhere. Nor has one that has fewer: those of `/sys`. Of a short file all is read, of a long one
    /// the last byte.
    fn check_end(&self) -> Result<()> {
        const SHORT: u64 = 64 * 1024;
        let read = |buffer: &mut [u8], at| {
            read_at(&self.file, buffer, at).map_err(|error| Error::source_io("Reading", &self.path, &error))
        };
        let size = self.size();
        let mut at = if size > SHORT { size - 1 } else { 0 };
        let mut buffer = vec![0; usize::try_from(size.min(SHORT)).unwrap_or(1)];
        while at < size {
            match read(&mut buffer, at)? {
                0 => break,
                some => at += some as u64,
            }
        }
        if at == size && read(&mut [0], size)? == 0 {
            return Ok(());
        }
        self.check_unchanged()?;
        Err(Error::invalid(Phrase::SizeUntold { path: shown(&self.path) }).advise(Phrase::CopyThenSend))
    }

    /// Where it really lies.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The file as it was when it was opened.
    pub fn state(&self) -> SourceState {
        self.sighting.state
    }

    /// The same, and when that was.
    pub fn sighting(&self) -> Sighting {
        self.sighting
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.sighting.state.size
    }

    /// Fails when the file under this path is no longer the one that was opened.
    pub fn check_unchanged(&self) -> Result<()> {
        let facts = std::fs::symlink_metadata(&self.place)
            .map_err(|error| Error::source_io("Reading", &self.path, &error))?;
        if state(&facts) == self.state() { Ok(()) } else { Err(self.changed()) }
    }

    /// The failure for a file that changed.
    pub fn changed(&self) -> Error {
        Error::new(Cause::SourceChanged, Phrase::SourceChanged { path: shown(&self.path) })
    }

    /// Computes these digests, too, from the next read of the first byte on.
    pub fn also(&self, algorithms: &[Algorithm]) {
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        if hasher.bytes() == 0 {
            *hasher = Hasher::new(algorithms);
        }
    }

    /// How many bytes have been hashed, from the first one on.
    pub fn hashed(&self) -> u64 {
        self.hasher.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// The whole file's digests, if it was read for all that are wanted already.
    pub fn known_digests(&self, wanted: &[Algorithm]) -> Option<Digests> {
        let hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        (hasher.bytes() == self.size() && hasher.computes(wanted)).then(|| hasher.clone().finish())
    }

    /// The whole file's digests; what has not been read yet, or not for all that are wanted, is read now. Blocks.
    pub fn digests(&self, wanted: &[Algorithm]) -> Result<Digests> {
        self.hash_up_to(self.size())?;
        if let Some(digests) = self.known_digests(wanted) {
            return Ok(digests);
        }
        let again = Self { hasher: Arc::new(Mutex::new(Hasher::new(wanted))), ..self.clone() };
        again.digests(wanted)
    }

    /// Reads what the hasher has not seen up to `end`. Blocks.
    pub fn hash_up_to(&self, end: u64) -> Result<()> {
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = usize::try_from(end.saturating_sub(hasher.bytes())).unwrap_or(usize::MAX);
        let mut buffer = vec![0; BUFFER.min(missing)];
        while hasher.bytes() < end {
            let wanted = buffer.len().min(usize::try_from(end - hasher.bytes()).unwrap_or(usize::MAX));
            let read = read_at(&self.file, &mut buffer[..wanted], hasher.bytes())
                .map_err(|error| Error::source_io("Reading", &self.path, &error))?;
            if read == 0 {
                return Err(self.changed());
            }
            hasher.update(&buffer[..read]);
        }
        Ok(())
    }

    /// Reads `start..end` on a thread of its own and gives the bytes in order, hashing those not seen before.
    pub fn read(&self, start: u64, end: u64) -> mpsc::Receiver<Result<Bytes>> {
        let (chunks, outbox) = mpsc::channel(CHANNEL);
        let source = self.clone();
        tokio::task::spawn_blocking(move || {
            let used = Arc::default();
            let mut at = start;
            while at < end {
                let wanted = BUFFER.min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let mut buffer = Buffer::take(&used, wanted);
                let chunk = match read_at(&source.file, &mut buffer.bytes[..wanted], at) {
                    Ok(0) => Err(source.changed()),
                    Ok(read) => {
                        buffer.filled = read;
                        source.hash(at, buffer.as_ref());
                        at += read as u64;
                        Ok(Bytes::from_owner(buffer))
                    }
                    Err(error) => Err(Error::source_io("Reading", &source.path, &error)),
                };
                let failed = chunk.is_err();
                // A closed channel means that the request has ended; so does this.
                if chunks.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        });
        outbox
    }

    /// Hashes bytes that lie at `at`, except those that were hashed before (a chunk that is sent again).
    fn hash(&self, at: u64, bytes: &[u8]) {
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = hasher.bytes();
        if at <= seen
            && let Ok(known) = usize::try_from(seen - at)
            && known < bytes.len()
        {
            hasher.update(&bytes[known..]);
        }
    }
}

/// Buffers that have been sent and can be filled again: fresh ones would be zeroed and mapped each time.
type Used = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer on its way from the disk to the network.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    used: Used,
}

impl Buffer {
    fn take(used: &Used, least: usize) -> Self {
        let mut bytes = used.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < least {
            bytes.resize(least, 0);
        }
        Self { bytes, filled: 0, used: Arc::clone(used) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// What a file is called, as services are told it.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What tells whether a file is still the same.
fn state(facts: &std::fs::Metadata) -> SourceState {
    let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(facts);
    #[cfg(not(unix))]
    let inode = 0;
    SourceState { size: facts.len(), modified: modified.map_or(0, |time| time.as_nanos() as u64), inode }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_tells_of_changes_only_when_it_is_two_seconds_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let modified_at = |time: SystemTime| {
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        let seen_at = |at| Sighting::new(&std::fs::metadata(&path).unwrap(), at);
        let now = SystemTime::now();
        let later = now + 2 * SETTLED;
        let hour = Duration::from_secs(3600);

        modified_at(now);
        let fresh = seen_at(now + Duration::from_secs(1));
        assert!(!fresh.is_settled() && !fresh.tells_content());
        assert_eq!(fresh.settles_in().map(|time| time.as_secs_f64().round()), Some(1.0));
        let settled = seen_at(later);
        assert!(settled.is_settled() && settled.settles_in().is_none());
        assert_eq!(
            settled.tells_content(),
            cfg!(unix),
            "elsewhere nothing tells of a time that was set back"
        );

        modified_at(now - hour);
        let set_back = seen_at(now);
        assert!(set_back.is_settled() && !set_back.tells_content(), "something else changed just now");
        modified_at(now + hour);
        let to_come = seen_at(later);
        assert!(!to_come.is_settled() && to_come.settles_in().is_none() && !to_come.tells_content());
        modified_at(UNIX_EPOCH);
        assert!(!seen_at(later).tells_content(), "a time that is none");
    }
}
