//! Which paths the page may send: those that the user dropped on the window or chose in a dialog of the system, each once
//! for every time that they did.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferry_engine::{Cause, Error, Failure, Foreign, Phrase};
use tauri::DragDropEvent;

/// A question about files that were sent before may wait for its answer as long. After that they are to be dropped again.
const LASTS: Duration = Duration::from_secs(60 * 60);

/// What was dropped and chosen, and what is being dragged over the window just now: of the latter the page may ask how much
/// it is, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct GrantedPaths(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    hovering: Vec<PathBuf>,
    /// When each was granted, once for each time.
    granted: HashMap<PathBuf, Vec<Instant>>,
    /// Paths whose upload is being added.
    in_use: HashMap<PathBuf, usize>,
}

impl GrantedPaths {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a drag.
    pub fn follow(&self, event: &DragDropEvent) {
        match event {
            DragDropEvent::Enter { paths, .. } => self.known().hovering.clone_from(paths),
            DragDropEvent::Drop { paths, .. } => {
                self.known().hovering.clear();
                self.grant(paths.iter().cloned());
            }
            DragDropEvent::Leave => self.known().hovering.clear(),
            _ => {}
        }
    }

    /// The user dropped or chose these.
    pub fn grant(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut known = self.known();
        known.granted.retain(|_, times| {
            times.retain(|at| at.elapsed() < LASTS);
            !times.is_empty()
        });
        for path in paths {
            known.granted.entry(path).or_default().push(Instant::now());
        }
    }

    /// Whether the page may look at these.
    pub fn require_visible(&self, paths: &[PathBuf]) -> Result<(), Failure> {
        let known = self.known();
        let hovering: HashSet<&PathBuf> = known.hovering.iter().collect();
        let seen = |path: &PathBuf| {
            hovering.contains(path) || known.is_granted(path) || known.in_use.contains_key(path)
        };
        paths.iter().find(|path| !seen(path)).map_or(Ok(()), |path| Err(refusal(path)))
    }

    /// Takes what was granted for one upload. Refuses the lot if a single path was neither dropped nor chosen, or was sent
    /// since.
    pub fn take(&self, paths: &[PathBuf]) -> Result<Taken<'_>, Failure> {
        let mut known = self.known();
        if let Some(path) = paths.iter().find(|path| !known.is_granted(path)) {
            return Err(refusal(path));
        }
        let mut taken = Taken { from: self, grants: Vec::with_capacity(paths.len()) };
        for path in paths {
            // Named twice with one grant, it is still one upload.
            if let Some(at) = known.granted.get_mut(path).and_then(Vec::pop) {
                *known.in_use.entry(path.clone()).or_default() += 1;
                taken.grants.push((path.clone(), at));
            }
        }
        Ok(taken)
    }
}

impl Known {
    fn is_granted(&self, path: &Path) -> bool {
        self.granted.get(path).is_some_and(|times| times.iter().any(|at| at.elapsed() < LASTS))
    }

    fn release(&mut self, path: &Path) {
        if let Some(times) = self.in_use.get_mut(path) {
            *times -= 1;
            if *times == 0 {
                self.in_use.remove(path);
            }
        }
    }
}

/// What was granted for an upload that is being added. It goes back, as nothing was sent, unless it is used up.
#[derive(Debug)]
pub(crate) struct Taken<'of> {
    from: &'of GrantedPaths,
    grants: Vec<(PathBuf, Instant)>,
}

impl Taken<'_> {
    /// The upload that it was given for is on the list.
    pub fn use_up(mut self) {
        let mut known = self.from.known();
        for (path, _) in std::mem::take(&mut self.grants) {
            known.release(&path);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.grants.is_empty() {
            return;
        }
        let mut known = self.from.known();
        for (path, at) in std::mem::take(&mut self.grants) {
            known.release(&path);
            known.granted.entry(path).or_default().push(at);
        }
    }
}

fn refusal(path: &Path) -> Failure {
    let error = Error::new(Cause::SourceUnreadable, Phrase::NotSent { path: Foreign::path(path) })
        .because(Phrase::NeitherDroppedNorChosen)
        .advise(Phrase::DropOrChoose);
    Failure::from(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_grant_is_used_up_by_its_upload() {
        let granted = GrantedPaths::default();
        let position = tauri::PhysicalPosition::new(0.0, 0.0);
        granted.follow(&DragDropEvent::Drop { paths: paths(&["/a/b", "/a/folder"]), position });
        let both = paths(&["/a/b", "/a/folder"]);

        // A question came, or an error: nothing was sent.
        drop(granted.take(&both).unwrap());
        let taken = granted.take(&both).unwrap();
        assert!(granted.take(&both).is_err(), "the same grant for two uploads at once");
        assert!(granted.require_visible(&both).is_ok(), "it may still be looked at");
        taken.use_up();
        assert!(granted.take(&paths(&["/a/b"])).is_err(), "a file is sent again");
        assert!(granted.take(&paths(&["/a/folder"])).is_err(), "a folder is sent again");
        assert!(granted.require_visible(&both).is_err());

        // Each drop is good for one upload.
        granted.grant(paths(&["/a/b"]));
        granted.grant(paths(&["/a/b"]));
        granted.take(&paths(&["/a/b", "/a/b"])).unwrap().use_up();
        assert!(granted.take(&paths(&["/a/b"])).is_err());
    }

    #[test]
    fn only_the_very_paths_that_were_granted_are_sent() {
        let granted = GrantedPaths::default();
        granted.grant(paths(&["/home/granted", "/home/a b/ä.txt"]));
        for other in ["/home", "/home/granted/below", "/home/granted/../secret", "home/granted", ""] {
            assert!(granted.take(&paths(&["/home/granted", other])).is_err(), "{other}");
        }
        assert!(granted.take(&paths(&["/home/granted", "/home/a b/ä.txt"])).is_ok());
    }

    #[test]
    fn what_hovers_is_visible_and_no_more() {
        let granted = GrantedPaths::default();
        let position = tauri::PhysicalPosition::new(0.0, 0.0);
        granted.follow(&DragDropEvent::Enter { paths: paths(&["/a/b"]), position });
        assert!(granted.require_visible(&paths(&["/a/b"])).is_ok());
        assert!(granted.require_visible(&paths(&["/a"])).is_err());
        assert!(granted.require_visible(&paths(&["/a/b/c"])).is_err());
        assert!(granted.take(&paths(&["/a/b"])).is_err());
        granted.follow(&DragDropEvent::Leave);
        assert!(granted.require_visible(&paths(&["/a/b"])).is_err());
    }
}
