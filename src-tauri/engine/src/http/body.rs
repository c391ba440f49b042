//! The bytes of an answer, each with its place in the file.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use reqwest::Response;
use tokio::time::Instant;

use super::checksum::{Offered, offered};
use super::client::{from_reqwest, stalled};
use crate::error::{Cause, Error, Result};
use crate::words::Phrase;

/// Bytes that may be written, and where. Only a [`Body`] makes them: nothing else ever reaches a part file.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    at: u64,
    bytes: Bytes,
}

impl Placed {
    /// Offset of the first of them in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Keeps no more than the first `length` of them.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }
}

/// A body that is coming in. Made by the reading of its head alone.
pub(crate) struct Body {
    incoming: reqwest::Body,
    /// What was looked at before it was decided what becomes of it.
    begun: VecDeque<Bytes>,
    /// Place of the next byte that is handed out.
    at: u64,
    /// The byte after the last that is named; `None` = until the protocol says that this was it.
    end: Option<u64>,
    /// Whether nothing but its end shows that it is as long as was named, and that end was not seen yet.
    is_open: bool,
    /// Whether that was named by an earlier answer only: then its end has to be seen.
    is_held: bool,
    /// Whether it is a part of the file only.
    is_part: bool,
    /// What was said behind the last byte.
    trailers: Option<HeaderMap>,
}

/// How long the end of a body may take to show itself, once all that was named is here.
const END_SHOWS: Duration = Duration::from_secs(10);

impl Body {
    /// For [`super::head`] only.
    pub(super) fn new(answer: Response, (at, end): (u64, Option<u64>), is_open: bool, is_part: bool) -> Self {
        let incoming = http::Response::<reqwest::Body>::from(answer).into_body();
        Self { incoming, begun: VecDeque::new(), at, end, is_open, is_held: false, is_part, trailers: None }
    }

    /// Holds a body whose head names no end to the size that was promised of the file before.
    pub fn hold_to(&mut self, size: u64) {
        if self.end.is_none() {
            (self.end, self.is_open, self.is_held) = (Some(size), true, true);
        }
    }

    /// Whether it can still turn out to be longer than what was named.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The checksums that were named behind the last byte (RFC 9110 §6.5); none before that was read.
    pub fn trailing_digests(&self) -> Offered {
        self.trailers.as_ref().map(|trailers| offered(trailers, self.is_part)).unwrap_or_default()
    }

    /// The byte after the last that this answer brings.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Whether everything that the head named was handed out.
    pub fn is_complete(&self) -> bool {
        self.end == Some(self.at)
    }

    /// The next bytes, no later than the stall limit; `None` at the end of what the head named, or of the body.
    ///
    /// # Errors
    ///
    /// Beside those of the connection [`Cause::Misplaced`]: more came than the head named, so that nobody knows which of the
    /// bytes belong where, and those that were handed out before are worth nothing.
    pub async fn next(&mut self, stall: Duration) -> Result<Option<Placed>> {
        loop {
            let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
            if left == 0 {
                self.see_end(stall).await?;
                return Ok(None);
            }
            let Some(mut bytes) = self.receive(stall).await? else { return Ok(None) };
            if self.is_open && bytes.len() as u64 > left {
                return Err(misplaced());
            }
            // What lies beyond what was asked for is left out.
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if bytes.is_empty() {
                continue;
            }
            let at = self.at;
            self.at += bytes.len() as u64;
            return Ok(Some(Placed { at, bytes }));
        }
    }

    /// Looks behind the last byte that was named: more would contradict what was said of the length. Without an effect
    /// where the protocol itself sees to that.
    ///
    /// # Errors
    ///
    /// [`Cause::Misplaced`], as of [`Self::next`]; those of the connection where nothing but an earlier answer has named its
    /// length.
    pub async fn see_end(&mut self, stall: Duration) -> Result<()> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        let is_held = self.is_held;
        let looking = async {
            loop {
                match self.receive(stall).await {
                    Ok(Some(more)) if more.is_empty() => {}
                    Ok(Some(_)) => return Err(misplaced()),
                    Err(error) if is_held => return Err(error),
                    // Whatever breaks from here on: every byte that this answer itself named is here.
                    Ok(None) | Err(_) => return Ok(()),
                }
            }
        };
        if is_held {
            return looking.await;
        }
        tokio::time::timeout(END_SHOWS.min(stall), looking).await.unwrap_or(Ok(()))
    }

    async fn receive(&mut self, stall: Duration) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.begun.pop_front() {
            return Ok(Some(bytes));
        }
        match tokio::time::timeout(stall, self.chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => Err(stalled(stall)),
        }
    }

    /// The next bytes as they come. Not a byte is lost if nobody waits for them any longer.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.incoming.frame().await {
            match frame.map_err(|error| from_reqwest(&error))?.into_data() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(other) => self.trailers = other.into_trailers().ok().or(self.trailers.take()),
            }
        }
        Ok(None)
    }

    /// Looks at more of the body without handing it out. False at its end.
    pub async fn look(&mut self, stall: Duration) -> Result<bool> {
        match tokio::time::timeout(stall, self.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.begun.push_back(chunk);
                Ok(true)
            }
            Ok(Ok(None)) => Ok(false),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(stalled(stall)),
        }
    }

    /// What was looked at so far.
    pub fn seen(&self) -> Vec<u8> {
        self.begun.iter().flatten().copied().collect()
    }

    /// How many bytes were looked at so far.
    pub fn seen_length(&self) -> u64 {
        self.begun.iter().map(|bytes| bytes.len() as u64).sum()
    }

    /// Whether all of its bytes are here, or come until then. What goes wrong is seen by whoever reads on.
    pub async fn comes_whole(&mut self, until: Instant) -> bool {
        // Where only the end shows how long it is, whoever reads on sees that end.
        let Some(wanted) = self.end.filter(|_| !self.is_open).map(|end| end.saturating_sub(self.at)) else {
            return false;
        };
        while self.seen_length() < wanted {
            match tokio::time::timeout_at(until, self.chunk()).await {
                Ok(Ok(Some(chunk))) => self.begun.push_back(chunk),
                _ => return false,
            }
        }
        self.seen_length() == wanted
    }

    /// Hands out everything that was looked at.
    pub fn take_seen(&mut self) -> Vec<Placed> {
        let begun = std::mem::take(&mut self.begun);
        begun
            .into_iter()
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| {
                let at = self.at;
                self.at += bytes.len() as u64;
                Placed { at, bytes }
            })
            .collect()
    }
}

fn misplaced() -> Error {
    Error::new(Cause::Misplaced, Phrase::MoreThanNamed)
}
