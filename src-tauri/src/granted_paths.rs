//! Which paths the page may name: those that the user dropped on the window or chose in a dialog of the system.
//!
//! The list itself is the scope of `tauri-plugin-fs`, which takes in drops by itself. None of that plugin's commands
//! is granted to the page.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ferry_engine::{Cause, Error, Failure, Foreign, Phrase};
use tauri::scope::fs::Pattern;
use tauri::{AppHandle, DragDropEvent, Manager as _};
use tauri_plugin_fs::FsExt as _;

/// What is being dragged over the window just now: the page may ask how much it is, and nothing else.
#[derive(Debug, Default)]
pub(crate) struct Hovering(Mutex<Vec<PathBuf>>);

impl Hovering {
    /// Follows a drag.
    pub fn follow(&self, event: &DragDropEvent) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            DragDropEvent::Enter { paths: entered, .. } => paths.clone_from(entered),
            DragDropEvent::Drop { .. } | DragDropEvent::Leave => paths.clear(),
            _ => {}
        }
    }

    fn covers(&self, path: &Path) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|hovering| hovering == path)
    }
}

/// Adds what the user chose in a dialog.
pub(crate) fn grant(app: &AppHandle, path: &Path) -> Result<(), Failure> {
    let scope = app.fs_scope();
    let outcome = if path.is_dir() { scope.allow_directory(path, true) } else { scope.allow_file(path) };
    outcome
        .map_err(|error| Failure::from(&Error::internal(Phrase::ChoiceNotNoted).because(error.to_string())))
}

/// Refuses the lot if a single path was neither dropped nor chosen.
pub(crate) async fn require(app: &AppHandle, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let app = app.clone();
    // Looking up where a path really leads may take long on a network drive.
    tauri::async_runtime::spawn_blocking(move || {
        let granted = Granted::now(&app);
        match paths.iter().find(|path| !granted.has(path)) {
            Some(path) => Err(refusal(path)),
            None => Ok(paths),
        }
    })
    .await
    .map_err(|error| {
        Failure::from(&Error::internal("Checking the paths failed").because(error.to_string()))
    })?
}

/// As [`require`], and also lets through what hovers over the window.
pub(crate) async fn require_visible(app: &AppHandle, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let hovering = app.state::<Hovering>();
    if paths.iter().all(|path| hovering.covers(path)) {
        return Ok(paths);
    }
    require(app, paths).await
}

/// The scope as it stands, ready for thousands of questions.
struct Granted {
    scope: tauri::scope::fs::Scope,
    /// The scope compares one path with every pattern in turn; thousands of dropped files would take it minutes.
    exact: HashSet<Pattern>,
}

impl Granted {
    fn now(app: &AppHandle) -> Self {
        let scope = app.fs_scope();
        let exact = scope.allowed_patterns();
        Self { scope, exact }
    }

    fn has(&self, path: &Path) -> bool {
        if !is_plain(path) {
            return false;
        }
        // Where it really lies decides, so that a link inside a granted folder opens nothing outside of it.
        let Ok(real) = path.canonicalize() else { return false };
        let exact = Pattern::new(&Pattern::escape(&real.to_string_lossy()));
        exact.is_ok_and(|exact| self.exact.contains(&exact)) || self.scope.is_allowed(&real)
    }
}

/// Drops and dialogs give full paths without detours.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir))
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

    #[test]
    fn detours_are_refused() {
        assert!(!is_plain(Path::new("relative/file")));
        assert!(!is_plain(Path::new("")));
        #[cfg(unix)]
        {
            assert!(is_plain(Path::new("/home/a b/ä.txt")));
            assert!(!is_plain(Path::new("/home/granted/../../etc/passwd")));
        }
    }

    #[test]
    fn only_what_hovers_is_visible() {
        let hovering = Hovering::default();
        let position = tauri::PhysicalPosition::new(0.0, 0.0);
        hovering.follow(&DragDropEvent::Enter { paths: vec!["/a/b".into()], position });
        assert!(hovering.covers(Path::new("/a/b")));
        assert!(!hovering.covers(Path::new("/a")));
        assert!(!hovering.covers(Path::new("/a/b/c")));
        hovering.follow(&DragDropEvent::Leave);
        assert!(!hovering.covers(Path::new("/a/b")));
    }
}
