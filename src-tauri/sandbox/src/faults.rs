//! Faults that can be switched on and off while the sandbox runs, so that a test can say exactly what goes
//! wrong, where and how often.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What goes wrong. In JSON the name stands in `fault`, in snake case: `{"fault":"cut","after":1000}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum FaultKind {
    /// Any request: answered with this status, in the spelling of errors of the service asked. A request body
    /// is read up to `after` bytes (0: not at all) before the answer leaves, which is how a store refuses
    /// early.
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, sent as it stands: seconds, a date, or nonsense.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        /// Body in place of the service's own error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// `Content-Type` of `body`; plain text when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// Bytes of the request body to read first.
        #[serde(default)]
        after: u64,
    },
    /// Any request: the account's rate limit, in one of the spellings of the services.
    RateLimit {
        /// Which spelling.
        spelling: RateLimitSpelling,
        /// `Retry-After`, sent as it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// Any request: redirected.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// `Location`, sent as it stands.
        location: String,
    },
    /// Any request: the connection closes without an answer.
    NoAnswer,
    /// Any request: the request is read and then nothing happens.
    Silence,
    /// Any request: the clock of the service and its store is ahead of this computer's.
    ClockAhead {
        /// Seconds; negative: behind.
        seconds: i64,
    },
    /// Any request: nothing comes for this long, then all goes on as if nothing had been.
    FirstByteAfter {
        /// Milliseconds of silence.
        milliseconds: u64,
    },
    /// MAVI and Visual Search: an endpoint that was asked less than this long ago answers 429. A refused request counts
    /// as well.
    AccountLimit {
        /// Milliseconds between two requests.
        milliseconds: u64,
    },
    /// Any request: the account's balance or points are used up, in one of the spellings of the services.
    BalanceUsedUp {
        /// Which spelling.
        spelling: BalanceSpelling,
    },
    /// Any request without the cookie `ferry=1`: redirected to itself, with that cookie.
    CookieWall,
    /// Any GET: redirected to the next one of so many mirrors in turn, each of which has an `ETag` of its own.
    Mirrors {
        /// How many there are.
        count: u64,
    },
    /// MAVI and Visual Search: the API key is refused.
    KeyRevoked,

    /// Download: the connection closes after this many bytes of the body.
    Cut {
        /// Bytes of the body that are still sent.
        after: u64,
    },
    /// Download: nothing comes after this many bytes of the body.
    Stall {
        /// Bytes of the body that are still sent.
        after: u64,
    },
    /// Downloads and uploads: bytes of the body a second, for each connection.
    Slow {
        /// Bytes a second, at least 1.
        bytes_per_second: u64,
    },
    /// Download: `Content-Length` promises this many bytes more than come.
    LongerLength {
        /// Bytes promised too many.
        by: u64,
    },
    /// Download: `Content-Length` promises this many bytes fewer than come.
    ShorterLength {
        /// Bytes promised too few.
        by: u64,
    },
    /// Download: chunked, without a length.
    NoLength,
    /// Download: no length and no chunks; the end of the connection is the end of the body.
    CloseDelimited,
    /// Download with `Range`: answered with 200 and the whole file.
    IgnoreRange,
    /// Download without `Range`: answered with 206 all the same.
    UnaskedRange,
    /// Download with `Range`: `Content-Range` and the bytes start elsewhere.
    WrongRangeStart {
        /// Bytes after (or before) the start that was asked for.
        by: i64,
    },
    /// Download with `Range`: the total in `Content-Range` is wrong.
    WrongRangeTotal {
        /// Added to the total.
        by: i64,
    },
    /// Download with `Range`: answered as `multipart/byteranges`.
    MultipartRanges,
    /// Download with `Range`: answered with 416.
    RangeRefused {
        /// `Content-Range` of the answer, with `{size}` replaced by the size; absent: no such header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_range: Option<String>,
    },
    /// Download with `Range`: answered with this in place of the file.
    RangeAnswer {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, sent as it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        /// Its body; empty when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// `Content-Type` of `body`; plain text when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
    },
    /// Download with `Range`: a 206 whatever `If-Range` says, without validators and hashes.
    IfRangeIgnored {
        /// Which other content, as in `changed`; 0: the same.
        #[serde(default)]
        revision: u8,
    },
    /// Download with `Range`: more bytes come than `Content-Range` names; `Content-Length` counts them.
    SurplusBytes {
        /// How many more.
        by: usize,
    },
    /// Download with `Range`: no more than so many bytes of what was asked for, and an honest `Content-Range`.
    ShortRanges {
        /// The most bytes of an answer.
        most: u64,
    },
    /// Download: every second answer is of another version, which is `changed` in itself.
    Alternating {
        /// Which other content, as in `changed`.
        revision: u8,
    },
    /// Download: chunked, and a `Content-Length` besides that is not true.
    TwoFramings {
        /// What `Content-Length` says.
        length: u64,
    },
    /// Download: the `ETag` is weak.
    WeakEtag,
    /// Download: neither `ETag` nor `Last-Modified`.
    NoValidators,
    /// Download: the body is compressed although identity was asked for.
    Gzip {
        /// Whether the checksum at its end is wrong.
        #[serde(default)]
        broken: bool,
    },
    /// Download: a JSON error under HTTP 200.
    JsonError {
        /// The envelope's `code`.
        code: String,
        /// The envelope's `msg`.
        msg: String,
    },
    /// Download: an HTML page under HTTP 200, as a captive portal sends it.
    LoginPage,
    /// Download: 200 and no bytes.
    EmptyBody,
    /// Download: these headers, in place of those of the same name and otherwise beside them; any bytes are
    /// allowed in the values, an empty list of bytes removes the header.
    Headers {
        /// Names and values, in order.
        headers: Vec<(String, HeaderBytes)>,
    },
    /// Downloads and answers to uploads: `x-goog-hash`, `Content-MD5` and S3's `ETag` belong to other bytes.
    WrongHash,
    /// Downloads and answers to uploads: `x-goog-hash` that cannot be read.
    MalformedHash,
    /// Downloads and answers to uploads: no hash at all, and no word of how much is stored.
    NoHash,
    /// Download: the file has other content, another `ETag` and another `Last-Modified`, with hashes that fit
    /// the new content.
    Changed {
        /// Which other content; the same number gives the same bytes.
        revision: u8,
    },

    /// Upload: the connection closes after this many bytes of the body have been read.
    CutUpload {
        /// Bytes of the body that are read.
        after: u64,
    },
    /// Upload: nothing is read after this many bytes of the body.
    StallUpload {
        /// Bytes of the body that are read.
        after: u64,
    },
    /// The store says that the signed URL has expired.
    ExpiredUrls,
    /// The store says that the time of the signed URL has not come yet.
    NotYetValidUrls,
    /// Answers to uploads: these headers, in place of those of the same name and otherwise beside them.
    UploadHeaders {
        /// Names and values, in order.
        headers: Vec<(String, String)>,
    },
    /// Resumable session: a chunk that is not the last is answered as if it were, and the whole not stored.
    DoneEarly,
    /// Signing: the URL lives this long.
    UrlLifetime {
        /// Seconds.
        seconds: u64,
    },
    /// Resumable session: the store keeps this many bytes fewer of the chunk than it got (then rounded down
    /// to 256 KiB).
    KeepFewer {
        /// Bytes lost.
        bytes: u64,
    },
    /// Resumable session: gone for good.
    SessionGone {
        /// 404 or 410.
        status: u16,
    },
    /// Resumable session and plain upload: everything is stored, but the connection closes before the answer.
    LoseFinalAnswer,
    /// Start of a resumable session: no `Location`.
    NoLocation,
    /// Opaque link: takes a PUT too, and keeps a form as it came, with all that is around the file.
    FormKeptWhole,

    /// MAVI metadata: `file_size` is wrong.
    MetadataSize {
        /// Added to the size.
        by: i64,
    },
    /// MAVI metadata: this `upload_status`, whatever was sent.
    MetadataStatus {
        /// `WAITING`, `UPLOADING`, `SUCCESS`, `FAILED`, or something new.
        status: String,
    },

    /// Media downloader: jobs never get beyond `downloading`.
    JobStuck,
    /// Media downloader: jobs end in `error`.
    JobError {
        /// Their `error_message`.
        message: String,
    },
    /// Media downloader: jobs are missing from the list.
    JobVanishes,
    /// Media downloader: `progress` as listed.
    JobProgress {
        /// Percent; may lie beyond 100.
        progress: f64,
    },
}

/// How a service says that too much was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitSpelling {
    /// HTTP 429, `code` 429.
    Http,
    /// HTTP 200, `code` 429.
    Code,
    /// HTTP 200, `code` `"0429"`.
    TextCode,
    /// HTTP 400, `msg` "Request has exceeded the limit."
    BadRequest,
}

/// How a service says that nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceSpelling {
    /// HTTP 402, `code` 402 (v2).
    Http,
    /// HTTP 400, `msg` "Insufficient balance … Please recharge and try again."
    BadRequest,
    /// HTTP 200, `code` `"0402"` (v1).
    TextCode,
}

/// The value of a header: text (sent as UTF-8) or, in JSON, a list of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderBytes {
    /// Sent as UTF-8.
    Text(String),
    /// Sent as they are, even if no header may hold them.
    Bytes(Vec<u8>),
}

impl HeaderBytes {
    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<&str> for HeaderBytes {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for HeaderBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// One switched-on fault: what, where, how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How many more times it hits; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How many matching occasions it lets pass first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// Only requests whose path holds this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only requests of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Fault {
    /// Hits every time and everywhere, until narrowed.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, times: None, skip: 0, path: None, method: None }
    }

    /// Hits this often, then is gone.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Hits once, then is gone.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Lets this many matching occasions pass first.
    #[must_use]
    pub fn skip(mut self, occasions: u64) -> Self {
        self.skip = occasions;
        self
    }

    /// Only requests whose path (without the query) holds `text`.
    #[must_use]
    pub fn on_path(mut self, text: impl Into<String>) -> Self {
        self.path = Some(text.into());
        self
    }

    /// Only requests of this method.
    #[must_use]
    pub fn on_method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::new(kind)
    }
}

/// When a fault can hit. A fault is counted only where it has an effect, so that "once" means one visible
/// effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Request,
    Clock,
    Account,
    Cookie,
    Mirror,
    Auth,
    Download,
    WholeDownload,
    RangedDownload,
    Upload,
    UploadAnswer,
    UploadDone,
    Signing,
    Signature,
    Session,
    SessionStart,
    SessionChunk,
    TokenUse,
    Metadata,
    JobList,
    JobState,
}

impl FaultKind {
    fn hits_at(&self, moment: Moment) -> bool {
        use FaultKind as F;
        match self {
            F::Status { .. }
            | F::RateLimit { .. }
            | F::Redirect { .. }
            | F::NoAnswer
            | F::Silence
            | F::FirstByteAfter { .. }
            | F::BalanceUsedUp { .. } => moment == Moment::Request,
            F::AccountLimit { .. } => moment == Moment::Account,
            F::CookieWall => moment == Moment::Cookie,
            F::Mirrors { .. } => moment == Moment::Mirror,
            F::ClockAhead { .. } => moment == Moment::Clock,
            F::KeyRevoked => moment == Moment::Auth,
            F::Cut { .. }
            | F::Stall { .. }
            | F::LongerLength { .. }
            | F::ShorterLength { .. }
            | F::NoLength
            | F::CloseDelimited
            | F::WeakEtag
            | F::NoValidators
            | F::Gzip { .. }
            | F::JsonError { .. }
            | F::LoginPage
            | F::EmptyBody
            | F::Headers { .. }
            | F::Alternating { .. }
            | F::TwoFramings { .. }
            | F::Changed { .. } => moment == Moment::Download,
            F::Slow { .. } => matches!(moment, Moment::Download | Moment::Upload),
            F::WrongHash | F::MalformedHash | F::NoHash => {
                matches!(moment, Moment::Download | Moment::UploadAnswer)
            }
            F::IgnoreRange
            | F::WrongRangeStart { .. }
            | F::WrongRangeTotal { .. }
            | F::MultipartRanges
            | F::RangeAnswer { .. }
            | F::IfRangeIgnored { .. }
            | F::SurplusBytes { .. }
            | F::ShortRanges { .. }
            | F::RangeRefused { .. } => moment == Moment::RangedDownload,
            F::UnaskedRange => moment == Moment::WholeDownload,
            F::CutUpload { .. } | F::StallUpload { .. } => moment == Moment::Upload,
            F::ExpiredUrls | F::NotYetValidUrls => moment == Moment::Signature,
            F::UploadHeaders { .. } => moment == Moment::UploadAnswer,
            F::DoneEarly => moment == Moment::SessionChunk,
            F::UrlLifetime { .. } => moment == Moment::Signing,
            F::KeepFewer { .. } => moment == Moment::SessionChunk,
            F::SessionGone { .. } => moment == Moment::Session,
            F::NoLocation => moment == Moment::SessionStart,
            F::FormKeptWhole => moment == Moment::TokenUse,
            F::LoseFinalAnswer => moment == Moment::UploadDone,
            F::MetadataSize { .. } | F::MetadataStatus { .. } => moment == Moment::Metadata,
            F::JobVanishes => moment == Moment::JobList,
            F::JobStuck | F::JobError { .. } | F::JobProgress { .. } => moment == Moment::JobState,
        }
    }
}

/// The switchboard. Clones share the same switches.
///
/// Of several faults of one kind that match, the first is used until its count is spent, then the next: a
/// list of statuses is a sequence.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    switched_on: Arc<Mutex<Vec<Fault>>>,
    count: Arc<AtomicU64>,
    turns: Arc<Turns>,
}

/// What faults that depend on what was before remember.
#[derive(Debug, Default)]
struct Turns {
    mirror: AtomicU64,
    version: AtomicU64,
    asked: Mutex<HashMap<String, Instant>>,
}

impl Faults {
    /// Switches a fault on.
    pub fn add(&self, fault: impl Into<Fault>) {
        let mut list = self.lock();
        list.push(fault.into());
        self.count.store(list.len() as u64, Ordering::Release);
    }

    /// The number of the next mirror, from 0.
    pub(crate) fn next_mirror(&self, count: u64) -> u64 {
        self.turns.mirror.fetch_add(1, Ordering::Relaxed) % count.max(1)
    }

    /// Whether it is the other version's turn.
    pub(crate) fn is_other_version(&self) -> bool {
        self.turns.version.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }

    /// Whether this endpoint was asked less than `pause` ago; from now on it was asked now.
    pub(crate) fn was_asked_within(&self, endpoint: &str, pause: Duration) -> bool {
        let now = Instant::now();
        let mut asked = self.turns.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let last = asked.insert(endpoint.to_owned(), now);
        last.is_some_and(|last| now.duration_since(last) < pause)
    }

    /// Switches all faults off.
    pub fn clear(&self) {
        self.lock().clear();
        self.count.store(0, Ordering::Release);
    }

    /// The faults that are switched on, with what is left of their counts.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Takes what hits at this moment, at most one fault of each kind, and counts it.
    pub(crate) fn claim(&self, moment: Moment, method: &str, path: &str) -> Vec<FaultKind> {
        // The benchmarks' way: nothing is switched on, nothing is locked.
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut list = self.lock();
        let mut claimed: Vec<FaultKind> = Vec::new();
        for fault in list.iter_mut() {
            let here = fault.kind.hits_at(moment)
                && fault.path.as_deref().is_none_or(|part| path.contains(part))
                && fault.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
            if !here || claimed.iter().any(|kind| discriminant(kind) == discriminant(&fault.kind)) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if let Some(left) = &mut fault.times {
                if *left == 0 {
                    continue;
                }
                *left -= 1;
            }
            claimed.push(fault.kind.clone());
        }
        list.retain(|fault| fault.times != Some(0));
        self.count.store(list.len() as u64, Ordering::Release);
        claimed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.switched_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> FaultKind {
        FaultKind::Status { status, retry_after: None, body: None, content_type: None, after: 0 }
    }

    #[test]
    fn faults_of_one_kind_are_a_sequence() {
        let faults = Faults::default();
        faults.add(Fault::new(status(503)).once());
        faults.add(Fault::new(status(429)).once());
        assert_eq!(faults.claim(Moment::Request, "GET", "/"), [status(503)]);
        assert_eq!(faults.claim(Moment::Request, "GET", "/"), [status(429)]);
        assert_eq!(faults.claim(Moment::Request, "GET", "/"), []);
        assert_eq!(faults.list(), []);
    }

    #[test]
    fn filters_and_skips_narrow_a_fault() {
        let faults = Faults::default();
        faults
            .add(Fault::new(FaultKind::Cut { after: 1 }).on_path("/files/").on_method("get").skip(1).once());
        assert_eq!(faults.claim(Moment::Download, "GET", "/generate/1/a"), []);
        assert_eq!(faults.claim(Moment::Upload, "GET", "/files/a"), []);
        assert_eq!(faults.claim(Moment::Download, "GET", "/files/a"), [], "the first occasion passes");
        assert_eq!(faults.claim(Moment::Download, "GET", "/files/a"), [FaultKind::Cut { after: 1 }]);
    }

    #[test]
    fn json_is_flat_and_short() {
        let fault: Fault =
            serde_json::from_str(r#"{"fault":"cut","after":1000,"times":1,"path":"/download"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::Cut { after: 1000 }).once().on_path("/download"));
        let headers = r#"{"fault":"headers","headers":[["Content-Disposition","attachment"],["X",[255,0]]]}"#;
        let fault: Fault = serde_json::from_str(headers).unwrap();
        assert_eq!(serde_json::to_string(&fault).unwrap(), headers);
    }
}
