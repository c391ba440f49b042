//! Which unfinished download has which name in which folder, also while its part file is not there: made yet, deleted by
//! the user, on a drive that is away. A part file of one transfer must never be taken for another's.
//!
//! Two locks, taken in this order: that of one folder, held while a name is looked for in it, and that of the list, never
//! held while a disk is asked. A folder whose disk hangs keeps only those waiting that want to save in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use crate::error::Result;
use crate::files::folder::Folder;
use crate::transfer::TransferId;

/// How long a folder may take to tell where it really is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The names of all unfinished downloads.
#[derive(Debug, Default)]
pub(crate) struct ReservedNames {
    names: Mutex<Names>,
    folders: Mutex<HashMap<PathBuf, Weak<Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Names {
    taken: HashMap<TransferId, Reserved>,
    /// Of transfers that are off the list, whose part files are still being removed: by name, whosever they are then.
    going: HashMap<TransferId, Reserved>,
}

#[derive(Debug, Clone)]
struct Reserved {
    folder: PathBuf,
    /// Whether that path is without links on the way.
    is_real: bool,
    name: String,
}

impl ReservedNames {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of a folder.
    fn turn(&self, folder: &Path) -> Arc<Mutex<()>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = folders.get(folder).and_then(Weak::upgrade) {
            return turn;
        }
        folders.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        folders.insert(folder.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Remembers a name that a transfer has. No disk is asked.
    pub fn keep(&self, id: TransferId, folder: &Path, name: &str) {
        self.names()
            .taken
            .insert(id, Reserved { folder: folder.to_owned(), is_real: false, name: caseless(name) });
    }

    /// Gives a transfer the name that `find` finds, which is told what the others have. Blocks as long as the disk does;
    /// others are kept waiting only if they look for a name in the same folder.
    pub fn reserve(
        &self,
        id: TransferId,
        folder: &Folder,
        find: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<String>,
    ) -> Result<String> {
        let turn = self.turn(folder.real_path());
        let _alone = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let name = find(&|name| self.is_reserved(id, folder, &caseless(name)))?;
        let taken = Reserved { folder: folder.real_path().to_owned(), is_real: true, name: caseless(&name) };
        self.names().taken.insert(id, taken);
        Ok(name)
    }

    /// Whether another transfer has this name in the folder.
    fn is_reserved(&self, id: TransferId, folder: &Folder, name: &str) -> bool {
        let same: Vec<(TransferId, Reserved)> = {
            let names = self.names();
            let others = names.taken.iter().filter(|(other, _)| **other != id);
            let same = others.chain(&names.going).filter(|(_, taken)| taken.name == name);
            same.map(|(other, taken)| (*other, taken.clone())).collect()
        };
        same.into_iter().any(|(other, taken)| {
            if taken.folder == folder.real_path() || taken.folder == folder.path() {
                return true;
            }
            if taken.is_real {
                return false;
            }
            // It may be this folder by another way. Where its disk does not say, a number costs nothing.
            let Some(real) = real_path(&taken.folder) else { return true };
            let is_here = real == folder.real_path();
            if let Some(kept) = self.names().taken.get_mut(&other).filter(|kept| kept.folder == taken.folder)
            {
                (kept.folder, kept.is_real) = (real, true);
            }
            is_here
        })
    }

    /// The transfer has ended, or its name belongs to something else by now.
    pub fn forget(&self, id: TransferId) {
        self.names().taken.remove(&id);
    }

    /// The transfer goes off the list, and its part file with it.
    pub fn is_going(&self, id: TransferId) {
        let mut names = self.names();
        if let Some(name) = names.taken.remove(&id) {
            names.going.insert(id, name);
        }
    }

    /// The part file is gone.
    pub fn is_gone(&self, id: TransferId) {
        self.names().going.remove(&id);
    }
}

/// The path without links on the way, as far as there is one; `None` if its disk does not answer in time.
fn real_path(path: &Path) -> Option<PathBuf> {
    let (answer, told) = mpsc::sync_channel(1);
    let path = path.to_owned();
    std::thread::spawn(move || {
        let real = path.canonicalize().unwrap_or(path);
        // Nobody may be waiting any more.
        let _ = answer.send(real);
    });
    told.recv_timeout(PATIENCE).ok()
}

/// On some file systems names that differ in case only are the same.
fn caseless(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::part_file::PartFile;

    fn reserve(names: &ReservedNames, id: u64, folder: &Folder) -> String {
        let find = |is_reserved: &dyn Fn(&str) -> bool| PartFile::free_name(folder, "Film.mp4", is_reserved);
        names.reserve(TransferId(id), folder, find).unwrap()
    }

    #[test]
    fn a_folder_that_hangs_keeps_nobody_waiting_who_saves_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str| Folder::open(&place.path().join(name)).unwrap();
        let (hung, other) = (folder("hung"), folder("other"));
        let names = ReservedNames::default();
        let (inside, answered) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                names.reserve(TransferId(1), &hung, |_| {
                    inside.wait();
                    answered.wait();
                    Ok("Film.mp4".to_owned())
                })
            });
            inside.wait();
            assert_eq!(reserve(&names, 2, &other), "Film.mp4");
            names.keep(TransferId(3), &place.path().join("hung"), "x");
            names.forget(TransferId(2));
            answered.wait();
            assert_eq!(waiting.join().unwrap().unwrap(), "Film.mp4");
        });
        assert_eq!(reserve(&names, 4, &hung), "Film (1).mp4");
    }

    #[test]
    fn many_who_look_at_once_each_get_a_name_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let names = ReservedNames::default();
        let mut got: Vec<String> = std::thread::scope(|scope| {
            let look = |id| {
                let (names, place) = (&names, &place);
                scope.spawn(move || reserve(names, id, &Folder::open(place.path()).unwrap()))
            };
            let looking: Vec<_> = (0..16).map(look).collect();
            looking.into_iter().map(|looking| looking.join().unwrap()).collect()
        });
        got.sort();
        got.dedup();
        assert_eq!(got.len(), 16, "{got:?}");
    }

    #[test]
    fn a_name_is_nobody_elses_before_its_part_file_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let names = ReservedNames::default();
        assert_eq!(reserve(&names, 1, &folder), "Film.mp4");
        names.is_going(TransferId(1));
        names.forget(TransferId(1));
        assert_eq!(reserve(&names, 2, &folder), "Film (1).mp4");
        names.is_gone(TransferId(1));
        assert_eq!(reserve(&names, 3, &folder), "Film.mp4");
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_kept_by_another_way_to_the_folder_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("there")).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let names = ReservedNames::default();
        names.keep(TransferId(1), &link, "FILM.mp4");
        names.keep(TransferId(2), &place.path().join("elsewhere"), "Film (1).mp4");
        assert_eq!(reserve(&names, 3, &folder), "Film (1).mp4");
    }
}
