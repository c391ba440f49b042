//! The handle that both faces hold.
//!
//! Owns an open data folder, its lock file, the settings and the keys. May use every floor below; called by the faces and by `api`.
//! `open` reads what is there, `uploads` and `downloads` add, `relocate` moves, `library`, `accounts` and `settings` are about what lasts.
//! Locks: `changing_settings` over a whole change, the others for a moment and never across a wait. A cancelled call has either
//! added what it was asked for, on disk, or nothing.

mod accounts;
mod downloads;
mod library;
mod open;
mod relocate;
mod settings;
mod uploads;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::filename;
use crate::files::own_folder;
use crate::progress::joined;
use crate::queue::{Queue, no_such_transfer};
use crate::resume::Resume;
use crate::secret::Secret;
use crate::secrets::Keys;
use crate::service::ServiceId;
use crate::services::Services;
use crate::settings::Settings;
use crate::task::{Piece, Task, Token};
use crate::terms::Terms;
use crate::transfer::{AddedBy, Extent, Kind, State, TimelineEntry, Transfer, TransferId};
use crate::upload::source_file::file_name;
use crate::words::{Phrase, Words};

pub use crate::requests::{
    AddedDownload, Changes, CheckReport, DownloadRequest, Entrusted, FirstContact, Overrides, PathSummary,
    Pictures, Snapshot, UploadRequest,
};
pub(crate) use open::is_held;

/// How long [`Engine::shutdown`] waits for running transfers to write down what they have.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// How an [`Engine`] is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where settings, queue and library live.
    pub data_dir: PathBuf,
    /// Whether everything unfinished goes on at once (window), or only what this run adds or resumes (terminal).
    pub resume_unfinished: bool,
    /// What wins over the settings for this run.
    pub overrides: Overrides,
    /// Keys by service id for this run, over variables and keychain. Each goes to its address in `addresses`, else to the
    /// one of the `FERRY_…_URL` variable, else to the built-in one; never to one from the settings.
    pub keys: HashMap<ServiceId, Secret>,
    /// Base URLs by service id for this run, over variables and settings.
    pub addresses: HashMap<ServiceId, String>,
    /// Whether the platform's keychain is used; without it keys stay in memory for this run.
    pub keychain: bool,
}

impl Options {
    /// The terminal's way: nothing moves that is not asked for.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            resume_unfinished: false,
            overrides: Overrides::default(),
            keys: HashMap::new(),
            addresses: HashMap::new(),
            keychain: true,
        }
    }
}

/// `FERRY_DATA_DIR`, or the platform's folder for application data.
pub fn default_data_dir() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FERRY_DATA_DIR").filter(|folder| !folder.is_empty()) {
        return std::path::absolute(&folder).map_err(|error| {
            Error::invalid("`FERRY_DATA_DIR` is no usable path").because(error.to_string())
        });
    }
    own_folder::usual_data_dir()
        .ok_or_else(|| Error::invalid("This system names no folder for data").advise("set FERRY_DATA_DIR"))
}

/// Everything that Ferry does, behind one cheap handle. Dropping it stops nothing; [`Engine::shutdown`] does.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    keys: Arc<Keys>,
    settings: Arc<RwLock<Settings>>,
    settings_file: PathBuf,
    notices: Mutex<Vec<Words>>,
    /// The default service that stands in for the sandbox while its key is known, which is for this run only.
    default_for_this_run: Mutex<Option<ServiceId>>,
    /// Held by whoever changes the settings: one change after the other, each of what the one before left.
    changing_settings: tokio::sync::Mutex<()>,
    /// Services whose key was given in this run and not accepted yet.
    new_keys: Mutex<HashSet<ServiceId>>,
    /// Ends the comparisons with what was sent before that are going on.
    comparing: Mutex<CancellationToken>,
    data_dir: PathBuf,
    /// Held until the engine lets go: one process at a time owns the data folder.
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// The services, as a run with these terms has them.
    pub(crate) fn services_for<'a>(&'a self, terms: Option<&'a Arc<Terms>>) -> &'a Services {
        let own = terms.and_then(|terms| terms.services.as_deref());
        own.unwrap_or(&self.queue().services)
    }

    fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    /// Everything, with the revision that the next change counts from.
    pub fn snapshot(&self) -> Snapshot {
        let (revision, transfers) = self.queue().all(|_| true);
        Snapshot {
            revision,
            transfers,
            services: self.services(),
            settings: self.settings(),
            downloads_folder: self.downloads_folder().display().to_string(),
            notices: self.notices(),
        }
    }

    /// What the user must be told about this start.
    pub fn notices(&self) -> Vec<Words> {
        self.inner.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A face has something more to tell about this start.
    pub fn add_notice(&self, notice: Phrase) {
        self.inner.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice.into());
    }

    /// The transfers that are wanted, in the list's order.
    pub fn transfers(&self, wanted: impl Fn(&Transfer) -> bool) -> Vec<Transfer> {
        self.queue().all(wanted).1
    }

    /// Shows every transfer, in no order, without a copy of it. The list waits meanwhile. Answers the revision that they
    /// belong to: whoever listens has seen [`Changes`] up to that one already.
    pub fn look(&self, look: impl FnMut(&Transfer)) -> u64 {
        self.queue().look(look)
    }

    /// Whether there is a transfer like this.
    pub fn has_transfer(&self, wanted: impl Fn(&Transfer) -> bool) -> bool {
        self.queue().any(wanted)
    }

    /// Changes from now on: at most five a second, none while nothing changes. A listener that falls behind gets
    /// `Lagged` and takes a [`Engine::snapshot`]; what it still receives of revisions up to that one is older than what it has
    /// then, and to be skipped.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.queue().subscribe()
    }

    /// These rows, without those that are unknown.
    pub fn rows(&self, ids: &[TransferId]) -> Vec<Transfer> {
        self.queue().some(ids)
    }

    /// One row.
    pub fn transfer(&self, id: TransferId) -> Option<Transfer> {
        self.queue().row(id)
    }

    /// A transfer's history, oldest first.
    pub async fn timeline(&self, id: TransferId) -> Result<Vec<TimelineEntry>> {
        self.queue().store.timeline(id).await
    }

    /// What the details of a transfer draw, as it is now. Meant for the one that is open: nothing is sent by itself.
    pub async fn pictures(&self, id: TransferId) -> Result<Pictures> {
        let row = self.transfer(id).ok_or_else(|| no_such_transfer(id))?;
        let (speeds, running) = self.queue().course(id);
        let pieces = match running {
            Some(pieces) => pieces,
            None if row.kind == Kind::Download && row.state != State::Completed => {
                let journal = self.queue().journal(id).await?.unwrap_or_default();
                joined(journal.pieces.iter().map(Piece::extent).collect())
            }
            None => joined(vec![Extent { start: 0, end: row.bytes }]),
        };
        Ok(Pictures { speeds, pieces })
    }

    /// Lets those of these go on that a holder before this one left in the queue. What was stopped stays so.
    pub(crate) async fn go_on(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        let is_left = |id: &TransferId| self.transfer(*id).is_some_and(|row| row.state == State::Queued);
        let left: Vec<TransferId> = ids.iter().copied().filter(is_left).collect();
        self.queue().put_under(&left, terms);
        self.queue().release_those_there(&left).await.map(drop)
    }

    /// Writes transfers down: rows, tasks, and what must stay secret; then lets them start.
    async fn write_down(
        &self,
        mut new: Vec<(Transfer, Task, Resume)>,
        by: &Adding,
    ) -> Result<Vec<TransferId>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let queue = self.queue();
        new.iter_mut().for_each(|(row, ..)| row.origin = by.origin);
        let (rows, records): (Vec<_>, Vec<_>) =
            new.into_iter().map(|(row, task, record)| ((row, task, None), record)).unzip();
        let tasks: Vec<Task> = rows.iter().map(|(_, task, _)| task.clone()).collect();
        let rows = queue.store.add(rows, queue.last_position()).await?;
        let ids: Vec<TransferId> = rows.iter().map(|row| row.id).collect();
        let records =
            rows.iter().zip(records.into_iter().zip(&tasks)).filter(|(_, (record, _))| !record.is_empty());
        let records = records.map(|(row, (record, task))| {
            let (task, service) = (Some(task.clone()), Some(row.service.clone()));
            (row.id, Resume { task, service, ..record })
        });
        if let Err(error) = queue.save_new_resumes(records.collect()).await {
            // Without its link it could never run: better not to have it on the list at all.
            ids.iter().for_each(|id| queue.resume_folder.remove(*id));
            queue.store.remove(ids).await?;
            return Err(error);
        }
        let added = rows.into_iter().zip(tasks).map(|(row, task)| (row, task, false));
        queue.insert(added.collect(), true, by.terms.as_ref());
        Ok(ids)
    }

    /// Stops transfers where they stand.
    pub async fn pause(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().pause(ids).await
    }

    /// Lets transfers go on: paused, failed, canceled, or left over by an earlier run. An account that had nothing left is
    /// given another chance.
    pub async fn resume(&self, ids: &[TransferId]) -> Result<()> {
        self.resume_by(ids, None).await
    }

    pub(crate) async fn resume_by(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        self.queue().account_was_seen_to(ids);
        self.queue().put_under(ids, terms);
        self.queue().release(ids).await
    }

    /// Gives transfers up. Their part files stay until the row is removed.
    pub async fn cancel(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().cancel(ids).await
    }

    /// Tries failed transfers again; what is confirmed is kept. A refused key, or an account that
    /// had nothing left, is given another chance.
    pub async fn retry(&self, ids: &[TransferId]) -> Result<()> {
        self.retry_by(ids, None).await
    }

    pub(crate) async fn retry_by(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        for id in ids {
            let row = self.queue().row(*id).ok_or_else(|| no_such_transfer(*id))?;
            self.queue().clear_problem(&row.service);
        }
        self.queue().put_under(ids, terms);
        self.queue().release(ids).await
    }

    /// Takes transfers off the list. The part file of an unfinished download goes with it; finished files stay.
    pub async fn remove(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().remove(ids).await
    }

    /// Moves transfers before another one, or to the end.
    pub async fn reorder(&self, ids: &[TransferId], before: Option<TransferId>) -> Result<()> {
        self.queue().reorder(ids, before).await
    }

    /// Stops everything where it stands, within two seconds. Unfinished transfers go on at the next start.
    pub async fn shutdown(&self) {
        self.stop_comparing();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.queue().close()).await.is_err() {
            tracing::warn!("some transfers did not stop in time; they go on from their last journal entry");
        }
    }

    /// Stops everything where it stands, however long that takes, and lets another process have the data folder: from
    /// here on this one writes nothing there. Nobody may ask this engine for anything any more.
    pub(crate) async fn let_go(&self) {
        self.stop_comparing();
        self.queue().close().await;
        drop(self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// Whether nothing runs and nothing waits for its turn.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue().is_idle()
    }
}

/// Who adds transfers, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adding {
    /// Names the request, where the same one may come again.
    pub token: Option<Token>,
    /// What the transfers go by, if not by what all do.
    pub terms: Option<Arc<Terms>>,
    /// Where the request comes from, if not from the window.
    pub origin: Option<AddedBy>,
}

/// A new row for a task that is added now, in milliseconds since 1970.
fn row_for(task: &Task, service: &ServiceId, now: u64) -> Transfer {
    let mut row = Transfer::blank(TransferId(0));
    row.service = service.clone();
    row.added_at = now;
    match task {
        Task::Upload(upload) => {
            row.kind = Kind::Upload;
            row.name = file_name(&upload.path).into();
            row.path = Some(upload.path.display().to_string());
            row.total = upload.source.map(|source| source.size);
        }
        Task::Download(download) => {
            row.kind = Kind::Download;
            row.asset_id = (!download.is_url).then(|| download.what.as_str().into());
            let url = url::Url::parse(&download.what).ok();
            let last = download.what.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let guess = match &download.name {
                Some(name) => filename::make_safe(name),
                None => url
                    .as_ref()
                    .and_then(|url| filename::last_segment(url, filename::system_language()))
                    .or_else(|| filename::make_safe(last)),
            };
            row.name = guess.unwrap_or_else(|| "download".to_owned()).into();
            row.host = url.and_then(|url| url.host_str().map(Into::into));
            row.path = Some(download.folder.display().to_string());
        }
    }
    row
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
}
