//! What a face asks for, and what it is told.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::asset::LibraryChanges;
use crate::curve::SpeedSample;
use crate::error::Failure;
use crate::http::checksum::Checksum;
use crate::seams::Seams;
use crate::secret::Header;
use crate::service::ServiceId;
use crate::services::ServiceStatus;
use crate::settings::Settings;
use crate::transfer::{Extent, Transfer, TransferId};
use crate::upload_method::UploadMethod;
use crate::words::Words;

/// Everything that there is to be shown, at once.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Snapshot {
    /// Counts the changes; the next [`Changes`] carries `revision + 1`.
    #[ts(type = "number")]
    pub revision: u64,
    /// Every row.
    pub transfers: Vec<Transfer>,
    /// Every service.
    pub services: Vec<ServiceStatus>,
    /// The settings.
    pub settings: Settings,
    /// Where downloads go just now, in full.
    pub downloads_folder: String,
    /// What the user should be told once after this start ("Picked up 3 transfers where they stood").
    pub notices: Vec<Words>,
}

/// What changed since the revision before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Changes {
    /// One more than the one before; a gap means that a new snapshot is due.
    pub revision: u64,
    /// Rows that are new or different.
    pub changed: Vec<Transfer>,
    /// Rows that are gone.
    pub removed: Vec<TransferId>,
    /// The services, if any of them changed.
    pub services: Option<Vec<ServiceStatus>>,
    /// The settings, if they were changed, by whomever.
    pub settings: Option<Box<Settings>>,
    /// What changed in the library.
    #[serde(default)]
    pub library: Option<LibraryChanges>,
}

/// The outcome of a live check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct CheckReport {
    /// Service that was checked.
    pub service: ServiceId,
    /// How long the answer took, in milliseconds; absent when there was none.
    #[ts(type = "number | null")]
    pub reached_in: Option<u64>,
    /// The connection is encrypted.
    pub tls: bool,
    /// The key was accepted; absent when the service takes none.
    pub key_accepted: Option<bool>,
    /// What is wrong, with the way out.
    pub problem: Option<Failure>,
    /// This check made it the default service: its key is new, and until now the sandbox was the default.
    pub now_default: bool,
}

/// What files to send where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts", optional_fields = nullable)]
pub struct UploadRequest {
    /// Files, or folders (every file in them).
    #[ts(type = "string[]")]
    pub paths: Vec<PathBuf>,
    /// The service; absent = the default one.
    pub service: Option<ServiceId>,
    /// How to send; absent = the setting.
    pub method: Option<UploadMethod>,
    /// A signed URL of the user's own: the one file goes there, no service is asked. A secret.
    pub to: Option<String>,
    /// The type of the content, for signed URLs that have it bound; absent = by the URL and the file's name.
    #[serde(default)]
    #[ts(optional)]
    pub content_type: Option<String>,
    /// Headers for the signed URL's own origin.
    #[serde(default)]
    #[ts(optional, as = "Option<Vec<Header>>")]
    pub headers: Vec<Header>,
    /// What becomes of files that were sent to the service before; absent = they are sent again.
    #[serde(default)]
    #[ts(optional, as = "Option<IfSent>")]
    pub if_sent: IfSent,
    /// Links in folders that stay inside these are followed; absent = the setting.
    #[serde(default)]
    #[ts(optional)]
    pub follow_links: Option<bool>,
}

/// What came of a request to bring something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct AddedDownload {
    /// The transfer.
    pub id: TransferId,
    /// It came onto the list with this request; else the same was there already, unfinished, and goes on in its row.
    pub is_new: bool,
}

/// What to bring where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts", optional_fields = nullable)]
pub struct DownloadRequest {
    /// A link, an asset id, a video number, a server download id, a page URL. Links are secrets.
    pub what: String,
    /// The service; absent = a link for URLs, else the default one.
    pub service: Option<ServiceId>,
    /// Target folder; absent = the Downloads folder.
    #[ts(as = "Option<String>")]
    pub folder: Option<PathBuf>,
    /// Name to save under, instead of the one the service gives.
    pub name: Option<String>,
    /// Visual Search's `unique_id`; absent = the setting.
    pub unique_id: Option<String>,
    /// Media downloader's quality; absent = the setting.
    pub quality: Option<String>,
    /// Remove from the server afterwards; absent = the setting.
    pub remove_after: Option<bool>,
    /// Most connections for this download; absent = the setting.
    pub connections: Option<u8>,
    /// The checksum that the file must have, `ALGORITHM:HEX`, whatever the source says of it.
    #[ts(as = "Option<String>")]
    pub checksum: Option<Checksum>,
    /// Headers for the link's own origin.
    #[serde(default)]
    #[ts(optional, as = "Option<Vec<Header>>")]
    pub headers: Vec<Header>,
}

/// Whom a download would contact first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstContact {
    /// It tells the other side more than an id.
    pub carries_words: bool,
    /// The address, where a request or the settings name it. A secret. `None` for a service at its built-in address or at
    /// the one of a variable.
    pub address: Option<String>,
}

/// What a change of settings entrusts to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrusted {
    /// Services with the origins to which their files and keys would go.
    pub origins: Vec<(ServiceId, String)>,
    /// Files would be removed from the media server after their download, which they are not now.
    pub removes_there: bool,
}

/// Files found below the paths of a drop, before anything starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct PathSummary {
    /// Files.
    #[ts(type = "number")]
    pub files: u64,
    /// Folders among the paths.
    #[ts(type = "number")]
    pub folders: u64,
    /// Bytes in all.
    #[ts(type = "number")]
    pub bytes: u64,
}

/// What the details of one transfer draw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Pictures {
    /// Its speed over time, oldest first; empty when it did not move since Ferry was started.
    pub speeds: Vec<SpeedSample>,
    /// Which bytes of the file are there, in order: one stretch, or several while several connections run.
    pub pieces: Vec<Extent>,
}

/// What becomes of files that were sent to the same service before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum IfSent {
    /// They are sent like all others. Nothing is looked up.
    #[default]
    Again,
    /// If there are any, nothing is added and the answer is a question.
    Ask,
    /// Their rows end with the asset that is there; what the service no longer has is sent.
    Reuse,
    /// They are left out.
    Skip,
}

/// What wins over the settings for one run.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Most bytes a second, each way.
    pub limit_rate: Option<u64>,
    /// Transfers at the same time, each way.
    pub concurrency: Option<u8>,
    /// Attempts without progress before a transfer fails.
    pub retries: Option<u32>,
    /// Most connections for one download.
    pub connections: Option<u8>,
    /// No byte for this long counts as a stall; else `FERRY_STALL_SECONDS`, else 30 s.
    pub stall: Option<Duration>,
    /// A job on a server that does not move on for this long is given up; else ten minutes.
    pub stuck: Option<Duration>,
    /// The part of their time that Ferry's own waits take (back-off, `Retry-After`, polling, looking again), with every
    /// deadline over them; else all of it. For tests, which would otherwise wait as long as people do.
    pub wait_scale: Option<f64>,
    /// What a test puts in the place of the world.
    #[doc(hidden)]
    pub seams: Seams,
}
