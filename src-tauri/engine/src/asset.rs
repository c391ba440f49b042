//! Files at services: what the library keeps, and what a service says of one.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::foreign::Foreign;
use crate::service::ServiceId;

/// One file at a service that this app sent or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Asset {
    /// The service.
    pub service: ServiceId,
    /// Its id there.
    pub asset_id: Foreign,
    /// The file's name.
    pub name: Foreign,
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
    pub asset_id: Foreign,
    /// Its name there.
    pub name: Option<Foreign>,
    /// Size in bytes there.
    #[ts(type = "number | null")]
    pub size: Option<u64>,
    /// The service's own word for its state.
    pub status: Option<Foreign>,
    /// When it was made there, as the service writes it.
    pub created: Option<Foreign>,
}

/// What came of importing a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct ImportedAssets {
    /// Assets in the file.
    #[ts(type = "number")]
    pub count: u64,
    /// Those that were not known here.
    #[ts(type = "number")]
    pub new: u64,
}

/// What changed in the library since it was last told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct LibraryChanges {
    /// Assets that are new or different, as they are now. Of one that is here several times the last counts.
    pub changed: Vec<Asset>,
    /// More changed, or it is not known what did: the whole library is to be read anew.
    pub read_anew: bool,
}
