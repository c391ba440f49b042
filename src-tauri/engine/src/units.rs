//! The units that sizes are shown in.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How sizes are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Units {
    /// As the desktop's own programs do.
    #[default]
    System,
    /// In steps of 1000: kB, MB, GB.
    Decimal,
    /// In steps of 1024: KiB, MiB, GiB.
    Binary,
}

impl Units {
    /// Whether sizes are counted in steps of 1024. Only Windows' own programs do, and they call a KiB a KB.
    pub(crate) fn is_binary(self) -> bool {
        self == Self::Binary || (self == Self::System && cfg!(windows))
    }
}
