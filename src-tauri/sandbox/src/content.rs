//! Something that can be downloaded: its bytes, wherever they come from, and what is known about them.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum, checksum_combine};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use crate::pattern::Pattern;

/// Bytes read, sent and hashed at a time: large enough that a system call or a thread switch costs nothing
/// beside it.
const PIECE: u64 = 1 << 20;
/// Smaller bodies are read on the spot; a hand-over to another thread would cost more than the read.
const AT_ONCE: u64 = 64 << 10;

/// Where the bytes come from.
#[derive(Clone)]
pub(crate) enum Source {
    File(Arc<File>),
    Generated(Arc<Pattern>),
}

/// What a GET can answer with.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) source: Source,
    pub(crate) size: u64,
    pub(crate) media_type: String,
    /// With its quotes.
    pub(crate) etag: String,
    /// Milliseconds since 1970.
    pub(crate) modified: u64,
    /// The name for `Content-Disposition`, if it is to have one.
    pub(crate) file_name: Option<String>,
    pub(crate) crc32c: Option<u32>,
    pub(crate) md5: Option<[u8; 16]>,
    /// XORed into every byte: the same file with other content.
    pub(crate) mask: u8,
}

impl Content {
    /// A generated file.
    pub(crate) fn generated(name: &str, size: u64) -> Self {
        let pattern = Pattern::new(name, size);
        let crc32c = pattern.crc32c();
        Self {
            size,
            media_type: content_type(name),
            etag: format!("\"{:016x}-{size:x}\"", checksum(CrcAlgorithm::Crc64Nvme, name.as_bytes())),
            // Any fixed day will do: the bytes never change.
            modified: 1_767_225_600_000,
            file_name: None,
            crc32c,
            md5: None,
            mask: 0,
            source: Source::Generated(Arc::new(pattern)),
        }
    }

    /// The same file with other bytes and validators.
    pub(crate) fn changed(mut self, revision: u8) -> Self {
        // An even multiple of nothing would change nothing.
        self.mask = revision.max(1);
        self.etag = format!("\"{}-{revision}\"", self.etag.trim_matches('"'));
        self.modified += u64::from(self.mask) * 60_000;
        self.crc32c = self.crc32c.map(|crc| crc ^ mask_change(self.mask, self.size));
        self.md5 = None;
        self
    }

    /// The bytes from `start` up to but not including `end`.
    pub(crate) fn body(&self, start: u64, end: u64) -> Body {
        if end - start <= AT_ONCE {
            return match self.read(start, (end - start) as usize) {
                Ok(bytes) => Body::from(bytes),
                Err(error) => Body::from_stream(stream::iter([Err::<Bytes, _>(error)])),
            };
        }
        Body::from_stream(self.clone().pieces(start, end))
    }

    /// Reads one piece ahead on another thread, so that reading and sending overlap.
    fn pieces(self, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> {
        let content = Arc::new(self);
        let read = move |content: &Arc<Self>, position: u64| {
            let content = Arc::clone(content);
            (position < end).then(|| {
                tokio::task::spawn_blocking(move || {
                    content.read(position, (end - position).min(PIECE) as usize)
                })
            })
        };
        let first = read(&content, start);
        stream::unfold((first, start), move |(pending, position)| {
            let content = Arc::clone(&content);
            async move {
                let piece = pending?.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                match piece {
                    Ok(piece) => {
                        let position = position + piece.len() as u64;
                        let next = read(&content, position);
                        Some((Ok(piece), (next, position)))
                    }
                    Err(error) => Some((Err(error), (None, position))),
                }
            }
        })
    }

    fn read(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; length];
        match &self.source {
            Source::File(file) => read_at(file, &mut buffer, position)?,
            Source::Generated(pattern) => pattern.fill(position, &mut buffer),
        }
        if self.mask != 0 {
            for byte in &mut buffer {
                *byte ^= self.mask;
            }
        }
        Ok(buffer.into())
    }
}

/// Fills the buffer from a position, without a shared cursor: several requests read one file at once.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, position)
}

/// Fills the buffer from a position, without a shared cursor: several requests read one file at once.
#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        position += read as u64;
    }
    Ok(())
}

/// The type that belongs to a name's extension.
pub(crate) fn content_type(name: &str) -> String {
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream").to_owned()
}

/// `crc32c=…,md5=…` as Google's stores spell it.
pub(crate) fn goog_hash(crc32c: Option<u32>, md5: Option<[u8; 16]>) -> Option<String> {
    let crc32c = crc32c.map(|crc| format!("crc32c={}", BASE64.encode(crc.to_be_bytes())));
    let md5 = md5.map(|md5| format!("md5={}", BASE64.encode(md5)));
    let parts: Vec<String> = crc32c.into_iter().chain(md5).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// By how much the CRC-32C of `size` bytes changes when each is XORed with `mask`: the difference of the CRCs
/// of a run of masks and a run of zeros, each built by doubling.
fn mask_change(mask: u8, size: u64) -> u32 {
    let algorithm = CrcAlgorithm::Crc32Iscsi;
    let run = |byte: u8| {
        let mut crc = 0;
        let (mut power, mut length) = (checksum(algorithm, &[byte]), 1);
        let mut left = size;
        while left > 0 {
            if left & 1 == 1 {
                crc = checksum_combine(algorithm, crc, power, length);
            }
            power = checksum_combine(algorithm, power, power, length);
            length *= 2;
            left >>= 1;
        }
        crc
    };
    (run(mask) ^ run(0)) as u32
}

/// Lets bytes pass at no more than so many a second.
pub(crate) fn paced<S, E>(bytes: S, bytes_per_second: u64) -> impl Stream<Item = Result<Bytes, E>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let rate = bytes_per_second.max(1);
    // Twenty pieces a second look like a steady stream to a client that measures.
    let largest = usize::try_from((rate / 20).max(1)).unwrap_or(usize::MAX);
    let start = Instant::now();
    stream::unfold((bytes, Bytes::new(), 0), move |(mut bytes, mut rest, passed)| async move {
        while rest.is_empty() {
            match bytes.next().await? {
                Ok(piece) => rest = piece,
                Err(error) => return Some((Err(error), (bytes, rest, passed))),
            }
        }
        let piece = rest.split_to(rest.len().min(largest));
        let passed = passed + piece.len() as u64;
        tokio::time::sleep_until(start + Duration::from_secs_f64(passed as f64 / rate as f64)).await;
        Some((Ok(piece), (bytes, rest, passed)))
    })
}

/// The body as gzip, in stored blocks: valid for every reader, and no compressor needed.
pub(crate) fn gzipped(body: Body, broken: bool) -> Body {
    enum State {
        Start,
        Within,
        Over,
    }
    let crc = crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc);
    let pieces = stream::unfold(
        (body.into_data_stream(), State::Start, crc),
        move |(mut body, state, mut crc)| async move {
            match state {
                State::Start => {
                    let head = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
                    Some((Ok(head), (body, State::Within, crc)))
                }
                State::Within => match body.next().await {
                    Some(Ok(bytes)) => {
                        crc.update(&bytes);
                        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 5);
                        for block in bytes.chunks(usize::from(u16::MAX)) {
                            let length = block.len() as u16;
                            out.push(0);
                            out.extend_from_slice(&length.to_le_bytes());
                            out.extend_from_slice(&(!length).to_le_bytes());
                            out.extend_from_slice(block);
                        }
                        Some((Ok(out.into()), (body, State::Within, crc)))
                    }
                    Some(Err(error)) => Some((Err(error), (body, State::Over, crc))),
                    None => {
                        let mut sum = crc.finalize() as u32;
                        if broken {
                            sum = !sum;
                        }
                        let mut out = vec![1, 0, 0, 255, 255];
                        out.extend_from_slice(&sum.to_le_bytes());
                        out.extend_from_slice(&(crc.get_amount() as u32).to_le_bytes());
                        Some((Ok(out.into()), (body, State::Over, crc)))
                    }
                },
                State::Over => None,
            }
        },
    );
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_has_the_checksum_of_its_bytes() {
        for size in [0, 1, 7, 4096, 100_001] {
            let changed = Content::generated("a.bin", size).changed(3);
            let bytes = changed.read(0, size as usize).unwrap();
            assert_eq!(changed.crc32c, Some(checksum(CrcAlgorithm::Crc32Iscsi, &bytes) as u32), "{size}");
        }
    }
}
