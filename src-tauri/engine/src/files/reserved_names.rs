//! Which unfinished download has which name in which folder, also while its part file is not there: made yet, deleted by
//! the user, on a drive that is away. A part file of one transfer must never be taken for another's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::files::folder::Folder;
use crate::transfer::TransferId;

/// The names of all unfinished downloads.
#[derive(Debug, Default)]
pub(crate) struct ReservedNames(Mutex<HashMap<TransferId, (PathBuf, String)>>);

impl ReservedNames {
    fn names(&self) -> MutexGuard<'_, HashMap<TransferId, (PathBuf, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a name that a transfer has.
    pub fn keep(&self, id: TransferId, folder: &Path, name: &str) {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        self.names().insert(id, (folder, caseless(name)));
    }

    /// Gives a transfer the name that `find` finds, which is told what the others have. Blocks.
    pub fn reserve(
        &self,
        id: TransferId,
        folder: &Folder,
        find: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<String>,
    ) -> Result<String> {
        let mut names = self.names();
        let place = |name: &str| (folder.real_path().to_owned(), caseless(name));
        let is_reserved = |name: &str| {
            let wanted = place(name);
            names.iter().any(|(other, taken)| *other != id && *taken == wanted)
        };
        let name = find(&is_reserved)?;
        let place = place(&name);
        names.insert(id, place);
        Ok(name)
    }

    /// The transfer has ended, or its name belongs to something else by now.
    pub fn forget(&self, id: TransferId) {
        self.names().remove(&id);
    }
}

/// On some file systems names that differ in case only are the same.
fn caseless(name: &str) -> String {
    name.to_lowercase()
}
