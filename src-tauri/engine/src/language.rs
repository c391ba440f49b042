//! The languages that Ferry speaks.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The language of the window, the tray and the notices. The terminal speaks English.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Language {
    /// As the desktop says.
    #[default]
    System,
    /// English.
    En,
    /// Spanish.
    Es,
    /// Chinese.
    Zh,
}
