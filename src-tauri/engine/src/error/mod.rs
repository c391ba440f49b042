//! The one error type of Ferry: what happened, why, and the way out.
//!
//! A transfer never ends in a bare status or a library's message. Every [`Error`] carries a [`Cause`];
//! the cause decides the stable [`Code`] that scripts see, the [`Remedy`] that the window offers as a
//! button, and (in [`retry`]) whether and how often Ferry tries again by itself.

pub(crate) mod retry;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::words::{Phrase, Words, shown, what_and_why};

/// The result of everything in the engine that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The stable name of an error, as scripts, the window and the documents know it. None is ever renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export, export_to = "types.ts")]
pub enum Code {
    /// The service refused the key, or there is none.
    Unauthorized,
    /// The service wants fewer requests.
    RateLimited,
    /// The service does not know the item.
    NotFound,
    /// The item exists but cannot be fetched yet.
    NotReady,
    /// The service or the store reported an error of its own.
    ServiceError,
    /// The answer breaks the service's own contract or HTTP.
    BadResponse,
    /// Fewer bytes arrived than were promised.
    Incomplete,
    /// The bytes differ from the checksum that the other side gave.
    IntegrityMismatch,
    /// The file at the service is no longer the one that was begun.
    ChangedAtSource,
    /// The signed URL has expired.
    ExpiredUrl,
    /// The disk, or a quota on it, is full.
    DiskFull,
    /// The file is larger than the file system, a limit of this process or the store allows.
    FileTooLarge,
    /// The file's path is longer than the file system allows.
    PathTooLong,
    /// The operating system refused access.
    PermissionDenied,
    /// The file to be sent does not exist.
    SourceMissing,
    /// The file to be sent changed while it was being sent.
    SourceChanged,
    /// The other side could not be reached, or the connection broke.
    Network,
    /// No byte moved for too long.
    TimedOut,
    /// A secure connection could not be made.
    Tls,
    /// A redirect would have left https or http; or somebody outside named an address inside this computer's own network.
    InsecureRedirect,
    /// The user ended it.
    Canceled,
    /// Ferry cannot do this with this service.
    Unsupported,
    /// Another Ferry owns the data folder.
    BusyDataDir,
    /// What was asked for makes no sense as it stands.
    InvalidInput,
    /// The account's balance, its points or its space are used up.
    QuotaExceeded,
    /// A fault in Ferry itself.
    Internal,
}

impl Code {
    /// The spelling used in `error[CODE]`, in JSON and in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::NotFound => "not_found",
            Self::NotReady => "not_ready",
            Self::ServiceError => "service_error",
            Self::BadResponse => "bad_response",
            Self::Incomplete => "incomplete",
            Self::IntegrityMismatch => "integrity_mismatch",
            Self::ChangedAtSource => "changed_at_source",
            Self::ExpiredUrl => "expired_url",
            Self::DiskFull => "disk_full",
            Self::FileTooLarge => "file_too_large",
            Self::PathTooLong => "path_too_long",
            Self::PermissionDenied => "permission_denied",
            Self::SourceMissing => "source_missing",
            Self::SourceChanged => "source_changed",
            Self::Network => "network",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::InsecureRedirect => "insecure_redirect",
            Self::Canceled => "canceled",
            Self::Unsupported => "unsupported",
            Self::BusyDataDir => "busy_data_dir",
            Self::InvalidInput => "invalid_input",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The way out of a failure: the window shows it as a button, the terminal as the last clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export, export_to = "types.ts")]
pub enum Remedy {
    /// Try the same again; what is already confirmed is kept.
    Retry,
    /// Give the service a key that it accepts.
    EnterKey,
    /// Save to (or read from) another folder.
    ChooseFolder,
    /// Make room on the disk, then go on.
    FreeSpace,
    /// Ask for a new signed URL and send again.
    SignAgain,
    /// Paste a new link.
    NewLink,
    /// Pick the file again.
    ChooseFile,
    /// Look at the address of the service.
    CheckService,
    /// Begin from the first byte.
    StartOver,
    /// Delete the wrong asset at the service, then send again.
    DeleteAsset,
    /// Take the row off the list.
    Remove,
    /// Copy a report for the people who maintain Ferry.
    Report,
}

/// What went wrong, finely enough to decide about trying again. The table in [`retry`] has one row each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The key was refused or is missing.
    Unauthorized,
    /// The service counts requests and wants a pause.
    RateLimited,
    /// The server serves others of this Ferry's transfers and takes no more: asked again when it may.
    Crowded,
    /// The service says that a limit was exceeded, in words that it has for invalid requests as well.
    LimitOrInvalid,
    /// The account at the service or the store has nothing left.
    QuotaExceeded,
    /// The item is unknown.
    NotFound,
    /// The item is not ready yet.
    NotReady,
    /// HTTP 202: the server is about to make it, and is asked again.
    NotYet,
    /// A job on a server no longer moves on.
    JobStuck,
    /// HTTP 408, 500, 502, 503, 504 and their like: the server's trouble, likely to pass.
    ServerTrouble,
    /// The service said "network abnormal" or similar under its own code: may pass, tried twice.
    ServiceHiccup,
    /// The service refused for a reason of its own.
    ServiceRefused,
    /// It was done before: there, or gone, already.
    Duplicate,
    /// The answer is no valid answer.
    BadResponse,
    /// The connection ended before the body did.
    CutShort,
    /// Checksums differ.
    Integrity,
    /// The object stored at the service is not what was sent.
    StoredWrong,
    /// The source at the service changed.
    ChangedAtSource,
    /// A signed URL that Ferry can ask for anew has expired.
    Expired,
    /// A signed URL whose time has not come, by the store's clock.
    NotYetValid,
    /// The signed URL begins later than anybody waits.
    ValidMuchLater,
    /// An answer brought other bytes than its head named: none of them has a place.
    Misplaced,
    /// A signed URL or link that only the user can replace has expired.
    LinkExpired,
    /// No space left.
    DiskFull,
    /// The file system's or this process's limit of a file's size.
    FileTooLarge,
    /// More than the store takes in one request.
    TooLargeForStore,
    /// Path or name too long.
    PathTooLong,
    /// Access refused by the operating system, at the target.
    PermissionDenied,
    /// Access refused by the operating system, at the source.
    SourceUnreadable,
    /// Source file is not there.
    SourceMissing,
    /// Source file changed meanwhile.
    SourceChanged,
    /// This computer has no network at all.
    Offline,
    /// The host's name could not be resolved.
    Dns,
    /// Refused, reset, unreachable.
    Unreachable,
    /// The proxy wants to know who asks.
    ProxyRefused,
    /// No byte for the stall limit.
    Stalled,
    /// Certificate or protocol trouble.
    Tls,
    /// A forbidden redirect.
    InsecureRedirect,
    /// Somebody outside named an address of this computer or its network.
    LedInward,
    /// Ended by the user.
    Canceled,
    /// Not possible with this service.
    Unsupported,
    /// Data folder in use.
    BusyDataDir,
    /// Nonsense asked for.
    InvalidInput,
    /// Fault in Ferry.
    Internal,
}

/// A failure with everything that a person or a script needs to go on.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Error {
    /// What went wrong, in kind.
    pub cause: Cause,
    /// What happened, as a sentence without its full stop.
    pub what: Words,
    /// Why, where that is known: the service's own words, the operating system's reason.
    pub why: Option<Words>,
    /// What to do, when it differs from the usual advice for the cause.
    pub advice: Option<Words>,
    /// How long the other side asked to wait.
    pub retry_after: Option<Duration>,
    /// HTTP status, where there was one.
    pub http_status: Option<u16>,
}

impl fmt::Display for Error {
    /// `what happened; why; what to do`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)?;
        if let Some(why) = &self.why {
            write!(f, "; {why}")?;
        }
        write!(f, "; {}", self.advice())
    }
}

impl Error {
    /// An error of this kind: `what` happened (no full stop, no secrets).
    pub fn new(cause: Cause, what: impl Into<Words>) -> Self {
        Self { cause, what: what.into(), why: None, advice: None, retry_after: None, http_status: None }
    }

    /// The same error with its reason.
    #[must_use]
    pub fn because(mut self, why: impl Into<Words>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// The same error with advice of its own.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Words>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        crate::error::retry::rule(self.cause).code
    }

    /// The way out.
    pub fn remedy(&self) -> Remedy {
        crate::error::retry::rule(self.cause).remedy
    }

    /// What to do, as a clause.
    pub fn advice(&self) -> Words {
        self.advice.clone().unwrap_or_else(|| crate::error::retry::rule(self.cause).advice.clone().into())
    }

    /// What happened and why, as one line of a history.
    pub fn happened(&self) -> Words {
        what_and_why(&self.what, self.why.as_ref())
    }

    /// A fault in Ferry itself: something that its own rules exclude. Words that are no sentence of Ferry's are for its
    /// maintainers, and become the reason.
    pub fn internal(what: impl Into<Words>) -> Self {
        match what.into() {
            Words::Said(why) => Self::new(Cause::Internal, Phrase::FaultInside).because(why),
            own @ Words::Own(_) => Self::new(Cause::Internal, own),
        }
    }

    /// What was asked for cannot be right.
    pub fn invalid(what: impl Into<Words>) -> Self {
        Self::new(Cause::InvalidInput, what)
    }

    /// The user ended it.
    pub fn canceled() -> Self {
        Self::new(Cause::Canceled, Phrase::Stopped)
    }

    /// An operating-system error while Ferry did `doing` ("writing to", "creating") to a file it writes.
    pub fn target_io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let cause = match error.kind() {
            K::StorageFull | K::QuotaExceeded => Cause::DiskFull,
            K::FileTooLarge => Cause::FileTooLarge,
            K::InvalidFilename => Cause::PathTooLong,
            K::PermissionDenied
            | K::ReadOnlyFilesystem
            | K::NotFound
            | K::NotADirectory
            | K::AlreadyExists => Cause::PermissionDenied,
            _ if error.raw_os_error() == Some(5) => Cause::PermissionDenied,
            _ => Cause::Internal,
        };
        Self::new(cause, Phrase::FileFailed { doing: doing.into(), path: shown(path) })
            .because(plain_os_words(error))
    }

    /// An operating-system error while Ferry did `doing` to a file that the user wants sent.
    pub fn source_io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let cause = match error.kind() {
            K::NotFound | K::NotADirectory => Cause::SourceMissing,
            K::InvalidFilename => Cause::PathTooLong,
            _ => Cause::SourceUnreadable,
        };
        Self::new(cause, Phrase::FileFailed { doing: doing.into(), path: shown(path) })
            .because(plain_os_words(error))
    }
}

/// The operating system's reason without the "(os error 28)" that helps nobody.
pub(crate) fn plain_os_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(cut) => text[..cut].to_lowercase(),
        None => text,
    }
}

/// How a failure looks to the window: the same facts as [`Error`], ready to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What happened. An earlier Ferry kept its English sentence here, with the reason after a semicolon.
    #[serde(alias = "message")]
    pub what: Words,
    /// Why, where that is known.
    #[serde(default)]
    pub why: Option<Words>,
    /// What to do.
    pub advice: Words,
    /// The way out, as a button.
    pub remedy: Remedy,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code(),
            what: error.what.clone(),
            why: error.why.clone(),
            advice: error.advice(),
            remedy: error.remedy(),
        }
    }
}

impl Failure {
    /// What happened and why, in English.
    pub fn message(&self) -> String {
        what_and_why(&self.what, self.why.as_ref()).to_string()
    }
}
