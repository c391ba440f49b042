//! The queue: every transfer, two lanes, what runs next, and how a run ends.
//!
//! All rows are in memory, all changes go through here: to the database, and (coalesced) to whoever listens.
//!
//! `operations` is what the user does, `scheduler` who starts next, `attempts` one run with its waits, `finish` how it ends,
//! `publisher` who hears of it. May use `download`, `upload` and the floors below; called by the engine. A cancelled command is
//! carried out to where it stood: each of its steps is on disk before the next.

mod attempts;
mod finish;
mod operations;
mod publisher;
mod scheduler;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::curve::SpeedSample;
use crate::error::{Error, Result};
use crate::files::folder::OpenFolders;
use crate::files::own_folder::OwnFolder;
use crate::files::reserved_names::ReservedNames;
use crate::http::Http;
use crate::requests::{Changes, Overrides};
use crate::resume::{Resume, ResumeFolder};
use crate::rows::{Entry, Rows};
use crate::services::Services;
use crate::settings::Settings;
use crate::speed_limit::SpeedLimit;
use crate::store::{Store, Stored};
use crate::task::{Journal, Task};
use crate::terms::Terms;
use crate::transfer::{Extent, State, Transfer, TransferId};
use crate::turns::Turns;
use crate::words::{Phrase, Size};
use operations::MOST_DISCARDING;

/// Listeners may fall behind this many messages before they must take a snapshot.
const BACKLOG: usize = 64;

/// Enough for one download at a server that throttles each connection; more would be unfriendly.
const EXTRA_CONNECTIONS: usize = 24;

/// A disk that has answered nothing for so long is said to be silent.
const SILENT: Duration = Duration::from_secs(5);

/// How often a lost network or a full disk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Everything that the transfers share.
///
/// Locks: a command first takes the [`Turns`] of its transfers, for as long as it goes on. `rows` is locked for moments,
/// never across a wait, and comes before every other lock (`settings`, those of `services`, `names`, `turns`, that of a
/// run's record); nothing locks `rows` while it holds one of these. What is written of a row is handed to the store while
/// `rows` is locked, so that the disk sees changes in the order in which they were made. A window's list is locked before
/// `rows` and never after it.
///
/// Locks that are held while a disk is asked are taken on threads beside the async ones alone: a run's `writing`, a folder's
/// in `names`, that of a folder's syncs. `rows` may be locked under them, never the other way round.
pub(crate) struct Queue {
    pub store: Store,
    pub http: Http,
    pub services: Services,
    pub resume_folder: ResumeFolder,
    /// What is sent nowhere.
    pub own_folder: OwnFolder,
    pub names: Arc<ReservedNames>,
    pub folders: Arc<OpenFolders>,
    pub limit_up: SpeedLimit,
    pub limit_down: SpeedLimit,
    /// Connections beyond the first one of each download, all downloads together.
    pub extra_connections: Arc<Semaphore>,
    settings: Arc<RwLock<Settings>>,
    overrides: Overrides,
    /// The window holds transfers back until the user has entered a key; a terminal run must come to an end.
    patient: bool,
    turns: Turns,
    rows: Mutex<Rows>,
    /// Something may be able to start, or a disk has let go of what nobody waited for.
    scheduling: Arc<Notify>,
    /// Something changed that listeners want to hear of.
    publishing: Notify,
    /// Nothing runs any more, and nothing can start.
    all_ended: Notify,
    changes: broadcast::Sender<Arc<Changes>>,
    closing: CancellationToken,
    /// Nothing may be written down any more: the data folder may be another process's.
    is_closed: AtomicBool,
    /// Folders that are asked to give up part files.
    discarding: Arc<Semaphore>,
}

impl Queue {
    #[allow(
        clippy::too_many_arguments,
        reason = "it is put together once, from parts that are made in order"
    )]
    pub fn new(
        store: Store,
        http: Http,
        services: Services,
        resume_folder: ResumeFolder,
        own_folder: OwnFolder,
        settings: Arc<RwLock<Settings>>,
        overrides: Overrides,
        patient: bool,
        stored: Vec<Stored>,
    ) -> Arc<Self> {
        let (changes, _) = broadcast::channel(BACKLOG);
        let (limit_up, limit_down) = {
            let settings = settings.read().unwrap_or_else(PoisonError::into_inner);
            Size::show_in(settings.units);
            (overrides.limit_rate.or(settings.limit_up), overrides.limit_rate.or(settings.limit_down))
        };
        let (mut rows, names) = (Rows::default(), ReservedNames::default());
        rows.reserve(stored.len());
        for stored in stored {
            let Stored { mut row, task, journal } = stored;
            if row.state.is_active() {
                // It was cut off: it waits where it stood.
                row.state = State::Queued;
            }
            let has_journal = journal.is_some();
            if let Some(journal) = journal.filter(|_| row.state != State::Completed) {
                // The row may have been written long before the kill; the journal knows what is provable.
                row.bytes = journal.proven();
                row.total = journal.total.or(row.total);
                if let Task::Download(download) = &*task {
                    names.keep(row.id, &download.folder, &journal.name);
                }
            }
            (row.stage, row.stage_percent, row.wait, row.speed, row.seconds_left) =
                (None, None, None, None, None);
            rows.insert(row, task, has_journal);
        }
        let queue = Arc::new(Self {
            store,
            http,
            services,
            resume_folder,
            own_folder,
            names: Arc::new(names),
            folders: Arc::default(),
            limit_up: SpeedLimit::new(limit_up),
            limit_down: SpeedLimit::new(limit_down),
            extra_connections: Arc::new(Semaphore::new(EXTRA_CONNECTIONS)),
            settings,
            overrides,
            patient,
            turns: Turns::default(),
            rows: Mutex::new(rows),
            scheduling: Arc::default(),
            discarding: Arc::new(Semaphore::new(MOST_DISCARDING)),
            is_closed: AtomicBool::new(false),
            publishing: Notify::new(),
            all_ended: Notify::new(),
            changes,
            closing: CancellationToken::new(),
        });
        tokio::spawn(Arc::clone(&queue).schedule());
        tokio::spawn(Arc::clone(&queue).publish());
        queue
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.overrides.seams.now()
    }

    /// Works with the disk off the async threads.
    pub async fn disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.overrides.seams.disk(work).await
    }

    /// Puts new settings into force, also for what runs.
    pub fn set_settings(&self, settings: Settings) {
        self.limit_up.set(self.overrides.limit_rate.or(settings.limit_up));
        self.limit_down.set(self.overrides.limit_rate.or(settings.limit_down));
        Size::show_in(settings.units);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.rows().settings_changed = true;
        self.services_changed();
        self.scheduling.notify_one();
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.changes.subscribe()
    }

    /// The rows that are wanted, with the revision that they belong to, in the list's order.
    pub fn all(&self, wanted: impl Fn(&Transfer) -> bool) -> (u64, Vec<Transfer>) {
        let rows = self.rows();
        // Rows are large: their places are put in order, not they.
        let mut all: Vec<&Transfer> = rows.all().map(|entry| &*entry.row).filter(|row| wanted(row)).collect();
        all.sort_unstable_by_key(|row| (row.position, row.id));
        (rows.revision, all.into_iter().cloned().collect())
    }

    /// Shows every row, in no order, without a copy, and answers the revision that they belong to. The list waits meanwhile.
    pub fn look(&self, look: impl FnMut(&Transfer)) -> u64 {
        let rows = self.rows();
        rows.all().map(|entry| &*entry.row).for_each(look);
        rows.revision
    }

    /// Whether there is a row like this.
    pub fn any(&self, wanted: impl Fn(&Transfer) -> bool) -> bool {
        self.rows().all().any(|entry| wanted(&entry.row))
    }

    pub fn some(&self, ids: &[TransferId]) -> Vec<Transfer> {
        let rows = self.rows();
        ids.iter().filter_map(|id| rows.get(*id)).map(|entry| Transfer::clone(&entry.row)).collect()
    }

    pub fn row(&self, id: TransferId) -> Option<Transfer> {
        self.rows().get(id).map(|entry| Transfer::clone(&entry.row))
    }

    /// The speed of a transfer so far, and where its bytes lie if it is running.
    pub fn course(&self, id: TransferId) -> (Vec<SpeedSample>, Option<Vec<Extent>>) {
        let rows = self.rows();
        let running = rows.get(id).and_then(Entry::running);
        (rows.curves.of(id), running.map(|running| running.counter.extents()))
    }

    pub fn task(&self, id: TransferId) -> Option<Task> {
        self.rows().get(id).map(|entry| Task::clone(&entry.task))
    }

    /// What is picked out of the transfers that send or bring one of these.
    pub fn find_same<'a, T>(
        &self,
        subjects: impl Iterator<Item = &'a [u8]>,
        pick: impl Fn(&Transfer, &Task) -> Option<T>,
    ) -> Vec<T> {
        self.rows().find_same(subjects, pick)
    }

    /// Those of these that no transfer needs anything for any more: it has ended, or is not on the list.
    pub fn without_need(&self, mut ids: Vec<TransferId>) -> Vec<TransferId> {
        let rows = self.rows();
        let is_over = |entry: &Entry| matches!(entry.row.state, State::Completed | State::Canceled);
        ids.retain(|id| rows.get(*id).is_none_or(is_over));
        ids
    }

    /// Changes a row in memory; the change reaches the listeners soon, the database at the next milestone.
    pub fn update(&self, id: TransferId, change: impl FnOnce(&mut Transfer)) {
        let mut rows = self.rows();
        if let Some(entry) = rows.get_mut(id) {
            change(&mut entry.row);
            rows.dirty.insert(id);
            self.publishing.notify_one();
        }
    }

    /// Writes a row down with whatever is waited for next, unless its end is being written.
    pub fn save_row_soon(&self, id: TransferId) {
        let rows = self.rows();
        if let Some(entry) = rows.get(id).filter(|entry| entry.may_be_saved()) {
            self.store.save_row_later(Transfer::clone(&entry.row));
        }
    }

    /// Changes a task in memory and gives the new one.
    pub fn change_task(&self, id: TransferId, change: impl FnOnce(&mut Task)) -> Option<Task> {
        let mut rows = self.rows();
        let entry = rows.get_mut(id)?;
        change(&mut entry.task);
        Some(Task::clone(&entry.task))
    }

    /// How far a download is provable. The database is asked only where there is something.
    pub async fn journal(&self, id: TransferId) -> Result<Option<Journal>> {
        if self.rows().get(id).is_none_or(|entry| entry.has_journal) {
            return self.store.journal(id).await;
        }
        Ok(None)
    }

    /// From here on there is a journal.
    pub fn begins_journal(&self, id: TransferId) {
        if let Some(entry) = self.rows().get_mut(id) {
            entry.has_journal = true;
        }
    }

    /// Writes what must stay secret, off the async threads.
    pub async fn save_resume(&self, id: TransferId, record: Resume) -> Result<()> {
        let folder = self.resume_folder.clone();
        self.in_resume(move || {
            if record.is_empty() {
                folder.remove(id);
                return Ok(());
            }
            folder.write(id, &record)
        })
        .await
    }

    /// The same for new transfers.
    pub async fn save_new_resumes(&self, records: Vec<(TransferId, Resume)>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let folder = self.resume_folder.clone();
        self.in_resume(move || folder.write_all(&records)).await
    }

    pub async fn in_resume(
        &self,
        write: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let written = self.disk(write).await?;
        written.map_err(|error| Error::target_io("Writing to", Path::new("resume"), &error))
    }

    pub fn services_changed(&self) {
        self.rows().services_changed = true;
        self.publishing.notify_one();
    }

    /// Adds transfers that are on disk already, with whether they have a journal there. They run as their turn comes
    /// (`released`), or wait to be released, by these terms if they have any of their own.
    pub fn insert(&self, added: Vec<(Transfer, Task, bool)>, released: bool, terms: Option<&Arc<Terms>>) {
        let mut rows = self.rows();
        for (row, task, has_journal) in added {
            let id = row.id;
            rows.insert(Box::new(row), Box::new(task), has_journal);
            rows.dirty.insert(id);
            if terms.is_some() {
                rows.put_under(id, terms);
            }
            if released {
                rows.ask_disks_again(&[id]);
                rows.wait(id);
            }
        }
        drop(rows);
        self.publishing.notify_one();
        self.scheduling.notify_one();
    }

    /// Transfers go on by these terms from now on, or by those of everybody.
    pub fn put_under(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) {
        let mut rows = self.rows();
        ids.iter().for_each(|id| rows.put_under(*id, terms));
    }

    /// The terms that a transfer has of its own.
    pub fn terms(&self, id: TransferId) -> Option<Arc<Terms>> {
        self.rows().get(id).and_then(|entry| entry.terms().cloned())
    }

    /// Whether a transfer may wait for its user: in a window, and for as long as nobody stands at a terminal for its end.
    fn is_patient(&self, id: TransferId) -> bool {
        self.patient && !self.terms(id).is_some_and(|terms| terms.is_awaited())
    }

    /// Whether nothing runs and nothing waits for its turn.
    pub fn is_idle(&self) -> bool {
        let rows = self.rows();
        rows.is_at_rest() && rows.has_nobody_waiting()
    }

    /// The place that no row has ever stood behind.
    pub fn last_position(&self) -> i64 {
        self.rows().last_position()
    }
}

/// The refusal for an id that is not on the list.
pub(crate) fn no_such_transfer(id: TransferId) -> Error {
    Error::invalid(Phrase::TransferUnknown { id }).advise(Phrase::SeeQueue)
}
