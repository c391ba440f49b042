//! The ways of sending a file.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How the bytes of an upload are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum UploadMethod {
    /// Decided by what the signed URL says, changed once if the store refuses.
    #[default]
    Auto,
    /// Raw PUT of the bytes.
    Put,
    /// POST as multipart form.
    Post,
    /// POST of the bare bytes.
    #[serde(rename = "post-raw")]
    PostRaw,
    /// A resumable session.
    Resumable,
}
