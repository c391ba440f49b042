//! A download that goes on in another folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::uploads::FOLDER_LIMIT;
use super::{Engine, blocking};
use crate::error::{Cause, Error, Result};
use crate::files::folder::Folder;
use crate::files::part_file::PartFile;
use crate::queue::no_such_transfer;
use crate::rows::Stop;
use crate::task::{Journal, Task};
use crate::transfer::{State, TransferId};
use crate::words::{Phrase, shown};

impl Engine {
    /// Lets a download go on in another folder, with what has arrived so far.
    pub async fn move_download(&self, id: TransferId, folder: &Path) -> Result<()> {
        let folder = std::path::absolute(folder)
            .map_err(|error| Error::invalid(Phrase::FolderUnusable).because(error.to_string()))?;
        let queue = self.queue();
        let turn = queue.turn(id).await;
        queue.stop_in(&turn, Stop::Pause).await?;
        let row = queue.row(id).ok_or_else(|| no_such_transfer(id))?;
        let Some(Task::Download(task)) = queue.task(id) else {
            return Err(Error::invalid(Phrase::OnlyDownloadsHaveFolder));
        };
        if queue.is_late(id) {
            // What still hangs there may write to the part file when it comes back.
            return Err(folder_is_silent(&task.folder));
        }
        if row.state == State::Completed {
            return Err(Error::invalid(Phrase::AlreadyFinished).advise(Phrase::MoveFileItself));
        }
        let before = queue.journal(id).await?;
        let mut journal = before.clone();
        if let Some(journal) = &mut journal {
            let (names, wanted, to) = (Arc::clone(&queue.names), journal.name.clone(), folder.clone());
            let is_wanted = Arc::new(AtomicBool::new(true));
            let (still_wanted, was_folder) = (Arc::clone(&is_wanted), task.folder.clone());
            let name = blocking(move || {
                let inside = Folder::open(&to)?;
                let name = names
                    .reserve(id, &inside, |is_reserved| PartFile::free_name(&inside, &wanted, is_reserved));
                if !still_wanted.load(Ordering::SeqCst) {
                    names.keep(id, &was_folder, &wanted);
                }
                name
            });
            let Ok(name) = tokio::time::timeout(FOLDER_LIMIT, name).await else {
                is_wanted.store(false, Ordering::SeqCst);
                // It may have found a name just before that.
                queue.names.keep(id, &task.folder, &journal.name);
                return Err(folder_is_silent(&folder));
            };
            let name = name??;
            // Known again as soon as the part file is opened there.
            journal.drive = None;
            journal.moved_from = Some((task.folder.clone(), std::mem::replace(&mut journal.name, name)));
        }
        // Written down first: whatever happens on the way, the next start finds it and goes on.
        self.put_in(id, &folder, journal.clone()).await?;
        if let Some(Journal { name, moved_from: Some((from, old)), .. }) = journal.clone() {
            let to = folder.clone();
            let (was_folder, was_name) = (from.clone(), old.clone());
            let noted = journal.as_ref().and_then(|journal| journal.file);
            let calls = queue.disk_calls();
            let (hold, asked) = (calls.hold(), Arc::clone(&calls));
            let mut moving = tokio::task::spawn_blocking(move || {
                let _hold = hold;
                let _inside = asked.inside();
                crate::files::part_file::relocate(&from, &old, &to, &name, noted, || asked.moved_on())
            });
            let moved = tokio::select! {
                moved = &mut moving => moved.map_err(|_| Error::internal("A disk task was interrupted"))?,
                () = calls.falls_silent(FOLDER_LIMIT) => {
                    // What has begun ends when the disk answers; then the transfer runs, and does the rest of it.
                    queue.leave(id, &calls, was_folder);
                    return queue.release_in(&turn).await;
                }
            };
            let file = match moved {
                Ok(file) => file,
                Err(error) => {
                    queue.names.keep(id, &was_folder, &was_name);
                    self.put_in(id, &was_folder, before).await?;
                    return Err(error);
                }
            };
            let journal = journal.map(|journal| Journal { moved_from: None, file, ..journal });
            self.put_in(id, &folder, journal).await?;
        }
        queue.release_in(&turn).await
    }

    /// Writes down where a download goes, and what its part file there proves.
    pub(super) async fn put_in(&self, id: TransferId, folder: &Path, journal: Option<Journal>) -> Result<()> {
        let queue = self.queue();
        let changed = queue.change_task(id, |task| {
            if let Task::Download(download) = task {
                folder.clone_into(&mut download.folder);
            }
        });
        let Some(task) = changed else { return Ok(()) };
        queue.store.save_place(id, task.clone(), journal.clone()).await?;
        let mut record = queue.resume_folder.read(id);
        if !record.is_empty() {
            record.task = Some(task);
            record.journal = record.journal.and(journal);
            queue.save_resume(id, record).await?;
        }
        Ok(())
    }
}

pub(super) fn folder_is_silent(folder: &Path) -> Error {
    Error::new(Cause::PermissionDenied, Phrase::FolderSilent { folder: shown(folder) })
        .advise(Phrase::WaitForFolder)
}
