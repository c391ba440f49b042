//! A transfer: one file on its way up or down, one row of the list.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::Failure;
use crate::foreign::Foreign;
use crate::http::checksum::Algorithm;
use crate::service::ServiceId;
use crate::words::{Words, what_and_why};

/// Names a transfer for good. Ids grow and are never used twice in a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "number")]
pub struct TransferId(pub u64);

impl std::fmt::Display for TransferId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TransferId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Which way the bytes go. Each way is a lane of the queue with its own number of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Kind {
    /// From this computer to a service.
    Upload,
    /// From a service to this computer.
    Download,
}

impl Kind {
    /// `upload` or `download`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// Where a transfer stands. What few rows have is in a box here and in [`Transfer`]: there may be 100,000 of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum State {
    /// Waits for a free slot.
    Queued,
    /// Bytes move, or are about to.
    Running,
    /// All bytes are there; the proof is being made.
    Verifying,
    /// Proven, under its final name or confirmed by the service.
    Completed,
    /// Stopped by the user; goes on where it stood.
    Paused,
    /// Ended in an error with a way out.
    Failed(Box<Failure>),
    /// Given up by the user.
    Canceled,
}

impl State {
    /// The state's word: `queued`, `running`, …
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Paused => "paused",
            Self::Failed(_) => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Holds a slot of its lane.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Running | Self::Verifying)
    }

    /// Will not move again without the user.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed(_) | Self::Canceled)
    }
}

/// What a running transfer is doing: text for people, not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Stage {
    /// The server fetches or makes the file first.
    Preparing,
    /// Re-reading what is on disk before going on.
    Checking,
    /// Bytes come down.
    Fetching,
    /// Asking for a signed URL.
    Signing,
    /// Bytes go up.
    Sending,
    /// Comparing checksums.
    Verifying,
    /// Waiting for the service to acknowledge the file.
    Confirming,
    /// Giving the file its final name.
    Publishing,
    /// Removing the file from the server after the download.
    Removing,
}

/// Why a running or queued transfer stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Wait {
    /// What it waits for.
    pub reason: WaitReason,
    /// When it goes on by itself, in milliseconds since 1970; absent when no clock decides.
    #[ts(type = "number | null")]
    pub until: Option<u64>,
    /// What went wrong before. An earlier Ferry kept its English sentence here, with the reason after a semicolon.
    #[serde(alias = "message")]
    pub what: Words,
    /// Why it did, where that is known.
    #[serde(default)]
    pub why: Option<Words>,
}

impl Wait {
    /// What went wrong before and why, in English.
    pub fn message(&self) -> String {
        what_and_why(&self.what, self.why.as_ref()).to_string()
    }
}

/// What a transfer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export, export_to = "types.ts")]
pub enum WaitReason {
    /// The next attempt after an error.
    Retry,
    /// The service asked for a pause.
    RateLimit,
    /// The network to come back.
    Network,
    /// A key that the service accepts.
    Key,
    /// The account at the service to have something left again.
    Quota,
    /// Room on the disk.
    Space,
    /// The first byte of an answer: the server makes or packs the file.
    Answer,
    /// The folder with the file, whose disk does not answer.
    Folder,
}

/// How much is known about the bytes being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Verified {
    /// Compared by SHA-512.
    Sha512,
    /// Compared by SHA-256.
    Sha256,
    /// Compared by SHA-1.
    Sha1,
    /// Compared by MD5.
    Md5,
    /// Compared by CRC-64/NVME.
    Crc64Nvme,
    /// Compared by CRC-64 with ECMA-182's polynomial, reflected.
    Crc64Ecma,
    /// Compared by CRC32C.
    Crc32c,
    /// Compared by CRC-32.
    Crc32,
    /// The other side offered no checksum; the length is right.
    Length,
    /// Neither checksum nor length was to be had; the connection ended in order.
    None,
}

impl Verified {
    /// `sha512`, `sha256`, `sha1`, `md5`, `crc64nvme`, `crc64ecma`, `crc32c`, `crc32`, `length` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc64Ecma => "crc64ecma",
            Self::Crc32c => "crc32c",
            Self::Crc32 => "crc32",
            Self::Length => "length",
            Self::None => "none",
        }
    }
}

impl Verified {
    /// The digest that proved it, if one did.
    pub(crate) fn algorithm(self) -> Option<Algorithm> {
        Some(match self {
            Self::Sha512 => Algorithm::Sha512,
            Self::Sha256 => Algorithm::Sha256,
            Self::Sha1 => Algorithm::Sha1,
            Self::Md5 => Algorithm::Md5,
            Self::Crc64Nvme => Algorithm::Crc64Nvme,
            Self::Crc64Ecma => Algorithm::Crc64Ecma,
            Self::Crc32c => Algorithm::Crc32c,
            Self::Crc32 => Algorithm::Crc32,
            Self::Length | Self::None => return None,
        })
    }
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Algorithm> for Verified {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32,
            Algorithm::Crc32c => Self::Crc32c,
            Algorithm::Crc64Ecma => Self::Crc64Ecma,
            Algorithm::Crc64Nvme => Self::Crc64Nvme,
            Algorithm::Md5 => Self::Md5,
            Algorithm::Sha1 => Self::Sha1,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512 => Self::Sha512,
        }
    }
}

/// One row: everything that a face shows about a transfer. Holds no secret. What there is nothing to say of is left out
/// of its JSON: with 100,000 rows that is half of the bytes, and of what the page holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Up or down.
    pub kind: Kind,
    /// The service.
    pub service: ServiceId,
    /// The file's name; for a download the best guess until the service has answered.
    pub name: Foreign,
    /// Where it stands.
    pub state: State,
    /// What it is doing while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub stage: Option<Stage>,
    /// How far the stage is, in percent, where the server tells (preparing).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub stage_percent: Option<f32>,
    /// Why it stands still, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub wait: Option<Box<Wait>>,
    /// Bytes that are really there: written here, or taken by the store.
    #[ts(type = "number")]
    pub bytes: u64,
    /// Size of the file in bytes, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number", optional)]
    pub total: Option<u64>,
    /// Bytes a second over the last seconds; absent while nothing moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number", optional)]
    pub speed: Option<u64>,
    /// Seconds left at that speed; absent for the first seconds and when the size is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number", optional)]
    pub seconds_left: Option<u64>,
    /// Asset id, video number or server download id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub asset_id: Option<Foreign>,
    /// Upload: the source. Download: the finished file, or the folder and name it will get. Exactly, as programs read it:
    /// the folder is the user's own, the name was made safe.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub path: Option<String>,
    /// Host that the bytes come from or go to. Never a whole URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub host: Option<Foreign>,
    /// What was proven at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub verified: Option<Verified>,
    /// The checksum that proved it, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub checksum: Option<Foreign>,
    /// A visible reason for something unusual (started over, size unknown, sent but not yet confirmed).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub note: Option<Words>,
    /// When it was added, in milliseconds since 1970.
    #[ts(type = "number")]
    pub added_at: u64,
    /// When it ended, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number", optional)]
    pub ended_at: Option<u64>,
    /// Order in the list; smaller runs first.
    #[ts(type = "number")]
    pub position: i64,
    /// Whether a pause keeps what has been moved (false: a retry starts at nothing).
    pub resumable: bool,
    /// Who added it, if that was not the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub origin: Option<AddedBy>,
}

/// Who put a transfer on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum AddedBy {
    /// A command in a terminal or a script: its undo is there, not in the window.
    Terminal,
}

impl Transfer {
    /// A row with nothing in it yet.
    pub(crate) fn blank(id: TransferId) -> Self {
        Self {
            id,
            kind: Kind::Download,
            service: ServiceId::default(),
            name: Foreign::default(),
            state: State::Queued,
            stage: None,
            stage_percent: None,
            wait: None,
            bytes: 0,
            total: None,
            speed: None,
            seconds_left: None,
            asset_id: None,
            path: None,
            host: None,
            verified: None,
            checksum: None,
            note: None,
            added_at: 0,
            ended_at: None,
            position: 0,
            resumable: false,
            origin: None,
        }
    }
}

/// Bytes of a file that lie together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Extent {
    /// First byte.
    #[ts(type = "number")]
    pub start: u64,
    /// Byte after the last.
    #[ts(type = "number")]
    pub end: u64,
}

/// One line of a transfer's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct TimelineEntry {
    /// Milliseconds since 1970.
    #[ts(type = "number")]
    pub at: u64,
    /// What happened. Holds no secret.
    pub text: Words,
}
