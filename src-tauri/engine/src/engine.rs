//! The handle that both faces hold.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::{Failure, Result};
use crate::settings::{Settings, UploadMethod};
use crate::transfer::{TimelineEntry, Transfer, TransferId};

/// Everything the window needs to draw itself, also after a reload.
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
    pub notices: Vec<String>,
}

/// What changed since the revision before.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Changes {
    /// One more than the one before; a gap means that a new snapshot is due.
    #[ts(type = "number")]
    pub revision: u64,
    /// Rows that are new or different.
    pub changed: Vec<Transfer>,
    /// Rows that are gone.
    pub removed: Vec<TransferId>,
    /// The services, if any of them changed.
    pub services: Option<Vec<ServiceStatus>>,
}

/// One service as the services page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct ServiceStatus {
    /// `mavi`, `visual-search`, `offline-tube`, `sandbox`, `link`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it does, in one sentence.
    pub description: String,
    /// Takes uploads.
    pub uploads: bool,
    /// Gives downloads.
    pub downloads: bool,
    /// Base URL in force, without any secret.
    pub address: String,
    /// Whether `address` comes from a variable and cannot be changed in the settings.
    pub address_from_variable: bool,
    /// Where its key is.
    pub key: KeyState,
    /// Ready to be used: has an address, and a key if it needs one.
    pub ready: bool,
    /// Why it stands still (a refused key), with the way out.
    pub problem: Option<Failure>,
    /// Upload method that worked last.
    pub method: Option<UploadMethod>,
}

/// Where a service's key is kept. The key itself never leaves the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum KeyState {
    /// The service takes no key.
    Unneeded,
    /// There is none yet.
    Missing,
    /// In the platform's keychain.
    Keychain,
    /// In memory until Ferry ends, as there is no keychain.
    Memory,
    /// In an environment variable.
    Variable,
}

/// The outcome of a live check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct CheckReport {
    /// Service that was checked.
    pub service: String,
    /// How long the answer took, in milliseconds; absent when there was none.
    #[ts(type = "number | null")]
    pub reached_in: Option<u64>,
    /// The connection is encrypted.
    pub tls: bool,
    /// The key was accepted; absent when the service takes none.
    pub key_accepted: Option<bool>,
    /// What is wrong, with the way out.
    pub problem: Option<Failure>,
}

/// One file at a service that this app sent or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Asset {
    /// The service.
    pub service: String,
    /// Its id there.
    pub asset_id: String,
    /// The file's name.
    pub name: String,
    /// Size in bytes.
    #[ts(type = "number | null")]
    pub size: Option<u64>,
    /// CRC32C of the content, 8 hexadecimal digits.
    pub crc32c: Option<String>,
    /// How it stands there.
    pub status: AssetStatus,
    /// When it was sent or seen, in milliseconds since 1970.
    #[ts(type = "number")]
    pub at: u64,
}

/// How an asset stands at its service, as far as known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum AssetStatus {
    /// An id was given; the bytes are not (all) there.
    Begun,
    /// The store took the bytes; the service has not confirmed yet.
    Sent,
    /// The service confirmed it.
    Confirmed,
    /// Downloaded here without having been sent from here.
    Seen,
    /// The id was given up (its signed URL expired, the transfer was canceled).
    Abandoned,
    /// Deleted at the service.
    Deleted,
}

/// What the service says about one asset, asked just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct AssetInfo {
    /// Its id.
    pub asset_id: String,
    /// Its name there.
    pub name: Option<String>,
    /// Size in bytes there.
    #[ts(type = "number | null")]
    pub size: Option<u64>,
    /// The service's own word for its state.
    pub status: Option<String>,
    /// When it was made there, as the service writes it.
    pub created: Option<String>,
}

/// What files to send where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct UploadRequest {
    /// Files, or folders (every file in them).
    #[ts(type = "string[]")]
    pub paths: Vec<PathBuf>,
    /// The service; absent = the default one.
    pub service: Option<String>,
    /// How to send; absent = the setting.
    pub method: Option<UploadMethod>,
    /// A signed URL of the user's own: the one file goes there, no service is asked. A secret.
    pub to: Option<String>,
}

/// What to bring where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct DownloadRequest {
    /// A link, an asset id, a video number, a server download id, a page URL. Links are secrets.
    pub what: String,
    /// The service; absent = a link for URLs, else the default one.
    pub service: Option<String>,
    /// Target folder; absent = the Downloads folder.
    #[ts(type = "string | null")]
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
}

/// What the add bar made of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Recognised {
    /// The service that would be asked.
    pub service: String,
    /// "MAVI asset", "Link to files.example.org", "Page for the media server".
    pub label: String,
    /// Whether that service can be used now.
    pub ready: bool,
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
