//! What changed in the library and was not told yet. The writing thread of the database puts it in, in the order of the
//! commits; the publisher takes it out. Its lock is held for neither longer than that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::asset::{Asset, LibraryChanges};

/// More assets than this are not told one by one.
const MOST_TOLD: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct LibraryNews {
    untold: Mutex<LibraryChanges>,
    came: Notify,
}

impl LibraryNews {
    fn untold(&self) -> MutexGuard<'_, LibraryChanges> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are committed as they are here.
    pub fn note(&self, assets: &[Asset]) {
        if assets.is_empty() {
            return;
        }
        let mut untold = self.untold();
        if untold.read_anew || untold.changed.len() + assets.len() > MOST_TOLD {
            *untold = LibraryChanges { changed: Vec::new(), read_anew: true };
        } else {
            untold.changed.extend_from_slice(assets);
        }
        drop(untold);
        self.came.notify_one();
    }

    /// Waits for something to be told.
    pub async fn come(&self) {
        self.came.notified().await;
    }

    /// What is to be told now.
    pub fn take(&self) -> Option<LibraryChanges> {
        let untold = std::mem::take(&mut *self.untold());
        (untold.read_anew || !untold.changed.is_empty()).then_some(untold)
    }
}
