//! The file that is sent: read-only, watched for changes, read and hashed by a thread of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::checksum::{Algorithm, Digests, Hasher};
use crate::error::{Cause, Error, Result};
use crate::task::SourceState;
use crate::words::{Phrase, shown};

/// Bytes in one read. Smaller ones make an upload several times slower.
const BUFFER: usize = 256 * 1024;
/// Buffers between the disk and the network.
const CHANNEL: usize = 8;

/// An open source file with the checksums of what has been read.
#[derive(Clone)]
pub(crate) struct SourceFile {
    path: PathBuf,
    file: Arc<File>,
    state: SourceState,
    hasher: Arc<Mutex<Hasher>>,
}

impl SourceFile {
    /// Opens a file. Folders, pipes and devices are refused: they have no content that could be proven.
    pub fn open(path: &Path) -> Result<Self> {
        let facts = std::fs::metadata(path).map_err(|error| Error::source_io("Reading", path, &error))?;
        if !facts.is_file() {
            let path = shown(path);
            let what = if facts.is_dir() { Phrase::IsFolder { path } } else { Phrase::IsDevice { path } };
            return Err(Error::invalid(what).advise(Phrase::ChooseFile));
        }
        let file = File::open(path).map_err(|error| Error::source_io("Reading", path, &error))?;
        let state = state(&file.metadata().map_err(|error| Error::source_io("Reading", path, &error))?);
        let hasher = Arc::new(Mutex::new(Hasher::new(None)));
        Ok(Self { path: path.to_owned(), file: Arc::new(file), state, hasher })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it was when it was opened.
    pub fn state(&self) -> SourceState {
        self.state
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// Fails when the file under this path is no longer the one that was opened.
    pub fn check_unchanged(&self) -> Result<()> {
        let facts =
            std::fs::metadata(&self.path).map_err(|error| Error::source_io("Reading", &self.path, &error))?;
        if state(&facts) == self.state { Ok(()) } else { Err(self.changed()) }
    }

    /// The failure for a file that changed.
    pub fn changed(&self) -> Error {
        Error::new(Cause::SourceChanged, Phrase::SourceChanged { path: shown(&self.path) })
    }

    /// Computes this checksum, too, from the next read of the first byte on.
    pub fn also(&self, algorithm: Algorithm) {
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        if hasher.bytes() == 0 {
            *hasher = Hasher::new(Some(algorithm));
        }
    }

    /// How many bytes have been hashed, from the first one on.
    pub fn hashed(&self) -> u64 {
        self.hasher.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// The whole file's checksums, if it was read for them already.
    pub fn known_digests(&self, wanted: Option<Algorithm>) -> Option<Digests> {
        let hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = (hasher.bytes() == self.size()).then(|| hasher.clone().finish())?;
        wanted.is_none_or(|algorithm| digests.value(algorithm).is_some()).then_some(digests)
    }

    /// The whole file's checksums; what has not been read yet, or not for `wanted`, is read now. Blocks.
    pub fn digests(&self, wanted: Option<Algorithm>) -> Result<Digests> {
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

/// What tells whether a file is still the same.
pub(crate) fn state(facts: &std::fs::Metadata) -> SourceState {
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
