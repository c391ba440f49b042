//! The store's objects on disk. An object is a data file that never changes and a record that names it; the
//! record is replaced in one step, so a kill at any instant leaves the old object or the new one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes};
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use md5::{Digest as _, Md5};
use rand::Rng as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Call;
use crate::content::{Content, Source, paced};
use crate::faults::{FaultKind, Moment};
use crate::{private, timestamp};

/// Bytes gathered before they are written: large enough that a system call costs nothing beside it.
const WRITE_SIZE: usize = 512 << 10;

/// Up to this size Google's uploads get an MD5 beside the CRC-32C. Larger ones are treated like composite
/// objects, which have none; MD5 is five times slower than a disk and would be all that a benchmark measures.
pub(crate) const MD5_UP_TO: u64 = 64 << 20;

/// An object's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) crc32c: u32,
    /// Hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) md5: Option<String>,
    pub(crate) content_type: String,
    /// Milliseconds since 1970; also the object's generation.
    pub(crate) modified: u64,
    /// The data file's name.
    data: String,
}

impl Object {
    pub(crate) fn md5_bytes(&self) -> Option<[u8; 16]> {
        let hex = self.md5.as_deref()?;
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(bytes)
    }

    /// With its quotes: the MD5 as Amazon's stores have it, otherwise something that changes with every
    /// write.
    pub(crate) fn etag(&self) -> String {
        self.md5.as_ref().map_or_else(
            || format!("\"{:x}-{:08x}\"", self.modified, self.crc32c),
            |md5| format!("\"{md5}\""),
        )
    }
}

/// The folder of objects.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    folder: PathBuf,
    receiving: Arc<Mutex<HashSet<String>>>,
}

impl Objects {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let objects = Self { folder: root.join("objects"), receiving: Arc::default() };
        private::folder(&objects.folder)?;
        // What was being received when the process ended belongs to nobody.
        match fs::remove_dir_all(objects.folder.join("incoming")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => private::folder(&objects.folder.join("incoming"))?,
        }
        Ok(objects)
    }

    /// A fresh file to receive into.
    pub(crate) fn incoming(&self) -> io::Result<(PathBuf, File)> {
        let path = self.folder.join("incoming").join(random_hex());
        let file = private::create(&path)?;
        Ok((path, file))
    }

    pub(crate) fn get(&self, bucket: &str, name: &str) -> Option<Object> {
        read_json(&self.record(bucket, name)).filter(|object: &Object| private::is_plain_name(&object.data))
    }

    /// Where the data of a new object goes; part of its record, so that a finalisation that was cut short can
    /// be repeated.
    pub(crate) fn new_object(bucket: &str, name: &str, content_type: String, sums: &Sums) -> Object {
        let modified = timestamp::now_millis();
        Object {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            size: sums.bytes,
            crc32c: sums.crc32c(),
            md5: sums.md5(),
            content_type,
            modified,
            data: format!("{}.{modified:x}.{}", key(bucket, name), &random_hex()[..8]),
        }
    }

    /// Makes the received file the object's data. Repeating it is harmless.
    pub(crate) fn publish(&self, object: &Object, received: &Path) -> io::Result<()> {
        match fs::rename(received, self.folder.join(&object.data)) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.folder.join(&object.data).exists() => {}
            other => other?,
        }
        self.set_receiving(&object.bucket, &object.name, false);
        let before = self.get(&object.bucket, &object.name);
        write_json(&self.record(&object.bucket, &object.name), object)?;
        if let Some(before) = before.filter(|before| before.data != object.data) {
            // Readers keep the open file; a leftover costs only space.
            let _ = fs::remove_file(self.folder.join(before.data));
        }
        Ok(())
    }

    /// Notes that an object is on its way, or no longer.
    pub(crate) fn set_receiving(&self, bucket: &str, name: &str, on: bool) {
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{bucket}/{name}");
        if on {
            receiving.insert(key);
        } else {
            receiving.remove(&key);
        }
    }

    /// Whether an object is on its way.
    pub(crate) fn is_receiving(&self, bucket: &str, name: &str) -> bool {
        self.receiving.lock().unwrap_or_else(PoisonError::into_inner).contains(&format!("{bucket}/{name}"))
    }

    /// Returns whether there was one.
    pub(crate) fn delete(&self, bucket: &str, name: &str) -> io::Result<bool> {
        let Some(object) = self.get(bucket, name) else { return Ok(false) };
        fs::remove_file(self.record(bucket, name))?;
        let _ = fs::remove_file(self.folder.join(object.data));
        Ok(true)
    }

    /// The object as something to download.
    pub(crate) fn content(&self, object: &Object) -> io::Result<Content> {
        Ok(Content {
            source: Source::File(Arc::new(private::open(&self.folder.join(&object.data))?)),
            size: object.size,
            media_type: object.content_type.clone(),
            etag: object.etag(),
            modified: object.modified,
            file_name: None,
            crc32c: Some(object.crc32c),
            md5: object.md5_bytes(),
            mask: 0,
        })
    }

    fn record(&self, bucket: &str, name: &str) -> PathBuf {
        self.folder.join(format!("{}.json", key(bucket, name)))
    }
}

/// A file name for an object, whatever its own name holds and however long it is.
fn key(bucket: &str, name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{bucket}/{name}").as_bytes());
    hex(&digest.as_ref()[..20])
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 128 random bits.
pub(crate) fn random_hex() -> String {
    hex(&rand::rng().random::<[u8; 16]>())
}

/// `None` if there is no such record; records are only ever written whole.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&private::read(path).ok()?).ok()
}

/// Replaces a record in one step.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(value)?)
}

/// Replaces a file in one step.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = private::beside(path, &random_hex()[..8]);
    private::write_new(&fresh, bytes)?;
    fs::rename(&fresh, path)
}

/// Checksums of the bytes so far.
#[derive(Clone)]
pub(crate) struct Sums {
    pub(crate) bytes: u64,
    crc32c: crc_fast::Digest,
    md5: Option<Md5>,
}

impl Sums {
    pub(crate) fn new(with_md5: bool) -> Self {
        Self {
            bytes: 0,
            crc32c: crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi),
            md5: with_md5.then(Md5::new),
        }
    }

    /// The checksums of the first `size` bytes of a file.
    pub(crate) fn of_file(file: &mut File, size: u64, with_md5: bool) -> io::Result<Self> {
        let mut sums = Self::new(with_md5);
        let mut buffer = vec![0; WRITE_SIZE];
        let mut reader = file.take(size);
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(sums);
            }
            sums.update(&buffer[..read]);
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    pub(crate) fn crc32c(&self) -> u32 {
        self.crc32c.finalize() as u32
    }

    /// Hexadecimal.
    pub(crate) fn md5(&self) -> Option<String> {
        self.md5.clone().map(|md5| hex(&md5.finalize()))
    }

    pub(crate) fn md5_base64(&self) -> Option<String> {
        self.md5.clone().map(|md5| BASE64.encode(md5.finalize()))
    }
}

/// Where received bytes go.
pub(crate) enum Target {
    File(File),
    /// Counted and hashed only.
    Nowhere,
}

/// Why a body ended before its time.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The connection broke.
    Cut,
    /// Another request took over.
    TakenOver,
    /// The disk refused.
    Disk(io::Error),
    /// A switched-on fault: hang up.
    Fault,
}

/// The bytes of a request's body, or of a part of it.
pub(crate) type Incoming<'a> = BoxStream<'a, Result<Bytes, axum::Error>>;

/// Receives a body at the target's present position. What came before an early end is written all the same,
/// and counted in the sums.
pub(crate) async fn receive(
    call: &Call,
    mut body: Incoming<'_>,
    target: Target,
    sums: Sums,
    taken_over: &CancellationToken,
) -> (Sums, Result<(), Ended>) {
    let mut cut_after = None;
    let mut stall_after = None;
    for fault in call.claim(Moment::Upload) {
        match fault {
            FaultKind::CutUpload { after } => cut_after = Some(after),
            FaultKind::StallUpload { after } => stall_after = Some(after),
            FaultKind::Slow { bytes_per_second } => body = paced(body, bytes_per_second).boxed(),
            _ => {}
        }
    }
    let limit = cut_after.into_iter().chain(stall_after).min();
    let mut received: u64 = 0;
    let mut gathered: Vec<Bytes> = Vec::new();
    let mut gathered_bytes = 0;
    let mut writer = Writer::Idle(Box::new((target, sums)));
    let end = loop {
        let piece = tokio::select! {
            biased;
            () = taken_over.cancelled() => break Err(Ended::TakenOver),
            piece = body.next() => piece,
        };
        match piece {
            None => break Ok(()),
            Some(Err(_)) => break Err(Ended::Cut),
            Some(Ok(mut piece)) => {
                if let Some(limit) = limit {
                    piece.truncate(usize::try_from(limit - received).unwrap_or(usize::MAX));
                }
                received += piece.len() as u64;
                gathered_bytes += piece.len();
                gathered.push(piece);
            }
        }
        if gathered_bytes >= WRITE_SIZE || limit == Some(received) {
            gathered_bytes = 0;
            writer = match writer.write(std::mem::take(&mut gathered)).await {
                Ok(writer) => writer,
                Err((sums, error)) => return (sums, Err(Ended::Disk(error))),
            };
        }
        if limit == Some(received) {
            if cut_after == Some(received) {
                break Err(Ended::Fault);
            }
            tokio::select! {
                () = call.gone.cancelled() => break Err(Ended::Cut),
                () = taken_over.cancelled() => break Err(Ended::TakenOver),
            }
        }
    };
    let settled = match writer.write(gathered).await {
        Ok(writer) => writer.settle().await,
        Err(failed) => Err(failed),
    };
    match settled {
        Ok(pending) => (pending.1, end),
        Err((sums, error)) => (sums, Err(Ended::Disk(error))),
    }
}

type Pending = Box<(Target, Sums)>;

/// Writes on another thread while the next bytes arrive.
enum Writer {
    Idle(Pending),
    Busy(tokio::task::JoinHandle<(Pending, io::Result<()>)>),
}

impl Writer {
    async fn write(self, pieces: Vec<Bytes>) -> Result<Self, (Sums, io::Error)> {
        let mut pending = self.settle().await?;
        let small = pieces.iter().map(Bytes::len).sum::<usize>() <= 64 << 10;
        if small {
            // A hand-over to another thread would cost more than the write.
            return match write_pieces(&mut pending, &pieces) {
                Ok(()) => Ok(Self::Idle(pending)),
                Err(error) => Err((pending.1, error)),
            };
        }
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            let result = write_pieces(&mut pending, &pieces);
            (pending, result)
        })))
    }

    async fn settle(self) -> Result<Pending, (Sums, io::Error)> {
        match self {
            Self::Idle(pending) => Ok(pending),
            Self::Busy(task) => match task.await {
                Ok((pending, Ok(()))) => Ok(pending),
                Ok((pending, Err(error))) => Err((pending.1, error)),
                Err(panic) => Err((Sums::new(false), io::Error::other(panic))),
            },
        }
    }
}

fn write_pieces((target, sums): &mut (Target, Sums), pieces: &[Bytes]) -> io::Result<()> {
    if let Target::File(file) = target {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece.chunk())).collect();
        let mut slices = &mut slices[..];
        while slices.iter().any(|slice| !slice.is_empty()) {
            match file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    for piece in pieces {
        sums.update(piece);
    }
    Ok(())
}
