//! The queue: every transfer, two lanes, what runs next, and how a run ends.
//!
//! All rows are in memory, all changes go through here: to the database, and (coalesced) to whoever listens.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::curve::SpeedSample;
use crate::engine::{AssetStatus, Changes, Overrides};
use crate::error::{Cause, Code, Error, Failure, Result};
use crate::files::folder::OpenFolders;
use crate::files::own_folder::OwnFolder;
use crate::files::reserved_names::ReservedNames;
use crate::http::Http;
use crate::lane::{Lane, Origin};
use crate::progress::{Meter, now};
use crate::resume::{Resume, ResumeFolder};
use crate::retry::Attempts;
use crate::rows::{Entry, Rows, Slot, Stop};
use crate::run::Run;
use crate::services::Services;
use crate::settings::Settings;
use crate::speed_limit::SpeedLimit;
use crate::store::{Store, Stored};
use crate::task::{Journal, Task};
use crate::terms::Terms;
use crate::transfer::{Extent, Kind, State, Transfer, TransferId, Wait, WaitReason};
use crate::turns::{Turn, Turns};
use crate::words::{Phrase, Seconds, Size};
use crate::{download, memory, services, upload};

/// Listeners hear of changes this often at most.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);
/// The end of all work is told at once, if that was not done this long: with the others, five a second at most.
const TELL_END_EVERY: Duration = Duration::from_secs(1);
/// A message holds no more rows than this; the others come with the next ones. The list waits while they are copied.
const MOST_CHANGED: usize = 5_000;
/// Listeners may fall behind this many messages before they must take a snapshot.
const BACKLOG: usize = 64;
/// Enough for one download at a server that throttles each connection; more would be unfriendly.
const EXTRA_CONNECTIONS: usize = 24;
/// A running row is written down this often, so that a kill shows nearly the truth.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How often a lost network or a full disk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// So much more room than when the disk was full is worth an attempt.
const ROOM_AGAIN: u64 = 1 << 20;
/// Full by a limit that nobody tells (a quota): it is tried this often.
const TRY_AGAIN: Duration = Duration::from_secs(300);

/// Everything that the transfers share.
///
/// Locks: a command first takes the [`Turns`] of its transfers, for as long as it goes on. `rows` is locked for moments,
/// never across a wait, and comes before every other lock (`settings`, those of `services`, `names`, `turns`); nothing
/// locks `rows` while it holds one of these. What is written of a row is handed to the store while `rows` is locked, so
/// that the disk sees changes in the order in which they were made.
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
    /// Something may be able to start.
    scheduling: Notify,
    /// Something changed that listeners want to hear of.
    publishing: Notify,
    /// Nothing runs any more, and nothing can start.
    all_ended: Notify,
    changes: broadcast::Sender<Arc<Changes>>,
    closing: CancellationToken,
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
                row.total = row.total.or(journal.total);
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
            scheduling: Notify::new(),
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
        in_resume(move || {
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
        in_resume(move || folder.write_all(&records)).await
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
        let mut rows = self.rows();
        rows.is_at_rest() && [Kind::Upload, Kind::Download].iter().all(|kind| rows.lane(*kind).is_empty())
    }

    /// Refuses ids that are not on the list: a command is for all of its transfers or for none.
    fn require(&self, ids: &[TransferId]) -> Result<()> {
        let rows = self.rows();
        match ids.iter().find(|id| !rows.has(**id)) {
            Some(unknown) => Err(no_such_transfer(*unknown)),
            None => Ok(()),
        }
    }

    /// Lets transfers go on: what was paused, failed, canceled or left over by an earlier run.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is changed.
    pub async fn release(&self, ids: &[TransferId]) -> Result<()> {
        self.require(ids)?;
        self.release_those_there(ids).await.map(drop)
    }

    /// Lets those of these go on that are on the list when their turn comes, and answers which.
    pub async fn release_those_there(&self, ids: &[TransferId]) -> Result<HashSet<TransferId>> {
        let (mut left, mut there) = (ids.to_vec(), HashSet::new());
        while !left.is_empty() {
            let turn = self.turns.take_some(&mut left).await;
            self.release_in(&turn).await?;
            let rows = self.rows();
            there.extend(turn.ids().iter().copied().filter(|id| rows.has(*id)));
        }
        Ok(there)
    }

    /// Lets transfers go on for one who has the turn.
    pub async fn release_in(&self, turn: &Turn<'_>) -> Result<()> {
        self.bring_links_back(turn.ids()).await?;
        let saved = {
            let mut rows = self.rows();
            let mut changed = Vec::new();
            for id in turn.ids() {
                let Some(entry) = rows.get_mut(*id) else { continue };
                if entry.running().is_some() || matches!(entry.row.state, State::Completed) {
                    continue;
                }
                // A new row is on disk like this already, and told of; so is one that a start only lets wait again.
                if entry.row.state != State::Queued || entry.row.wait.is_some() {
                    entry.row.state = State::Queued;
                    (entry.row.wait, entry.row.ended_at) = (None, None);
                    changed.push(Transfer::clone(&entry.row));
                    rows.dirty.insert(*id);
                }
                rows.wait(*id);
            }
            (!changed.is_empty()).then(|| self.store.save_rows(changed))
        };
        self.publishing.notify_one();
        self.scheduling.notify_one();
        match saved {
            Some(saved) => saved.await,
            None => Ok(()),
        }
    }

    /// The right to command one transfer for as long as it is held.
    pub async fn turn(&self, id: TransferId) -> Turn<'_> {
        self.turns.take(id).await
    }

    /// Stops transfers and waits until each has written down what it has.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is changed.
    pub async fn pause(&self, ids: &[TransferId]) -> Result<()> {
        self.require(ids)?;
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let turn = self.turns.take_some(&mut left).await;
            self.stop_in(&turn, Stop::Pause).await?;
        }
        Ok(())
    }

    /// Stops transfers for one who has the turn, and waits until each has written down what it has.
    pub async fn stop_in(&self, turn: &Turn<'_>, why: Stop) -> Result<()> {
        let then = if why == Stop::Cancel { State::Canceled } else { State::Paused };
        let (ends, saved) = {
            let mut rows = self.rows();
            let (mut ends, mut changed) = (Vec::new(), Vec::new());
            for id in turn.ids() {
                rows.hold(*id);
                if let Some(end) = ask_to_stop(&mut rows, *id, why) {
                    ends.push(end);
                    continue;
                }
                let Some(entry) = rows.get_mut(*id) else { continue };
                let may_change = match why {
                    Stop::Cancel => !matches!(entry.row.state, State::Completed | State::Canceled),
                    Stop::Pause | Stop::Shutdown => !entry.row.state.has_ended(),
                };
                if may_change {
                    entry.row.ended_at = then.has_ended().then(now);
                    entry.row.state = then.clone();
                    entry.row.wait = None;
                    changed.push(Transfer::clone(&entry.row));
                    rows.dirty.insert(*id);
                }
            }
            (ends, self.store.save_rows(changed))
        };
        self.publishing.notify_one();
        let any_ran = !ends.is_empty();
        for end in ends {
            end.cancelled().await;
        }
        saved.await?;
        if any_ran {
            // An end that was changed while it was being written.
            self.store.flush().await?;
        }
        if why == Stop::Cancel {
            for id in turn.ids() {
                self.resume_folder.remove(*id);
                self.give_up_asset(*id).await?;
            }
        }
        Ok(())
    }

    /// Gives transfers up for as long as nobody takes that back.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is changed.
    pub async fn cancel(&self, ids: &[TransferId]) -> Result<()> {
        self.require(ids)?;
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let turn = self.turns.take_some(&mut left).await;
            // Before the files forget them.
            let links = self.hidden_links(turn.ids());
            self.rows().canceled_links.extend(links);
            let stopped = self.stop_in(&turn, Stop::Cancel).await;
            let mut rows = self.rows();
            for id in turn.ids() {
                if rows.get(*id).is_none_or(|entry| entry.row.state != State::Canceled) {
                    rows.canceled_links.remove(id);
                }
            }
            drop(rows);
            stopped?;
        }
        Ok(())
    }

    /// What cannot be asked for again once the files forget it.
    fn hidden_links(&self, ids: &[TransferId]) -> Vec<(TransferId, String)> {
        let is_needed = |task: &Task| match task {
            Task::Download(task) => task.is_url && !task.is_whole,
            Task::Upload(task) => task.to_own_url,
        };
        let needed = ids.iter().filter(|id| self.task(**id).is_some_and(|task| is_needed(&task)));
        needed.filter_map(|id| Some((*id, self.resume_folder.read(*id).url?))).collect()
    }

    /// Writes the links of canceled transfers down again before they go on.
    async fn bring_links_back(&self, ids: &[TransferId]) -> Result<()> {
        let records: Vec<(TransferId, Resume)> = {
            let rows = self.rows();
            let record = |id: &TransferId| {
                let url = rows.canceled_links.get(id)?.clone();
                let entry = rows.get(*id).filter(|entry| entry.row.state == State::Canceled)?;
                let (task, service) = (Some(Task::clone(&entry.task)), Some(entry.row.service.clone()));
                Some((*id, Resume { url: Some(url), task, service, ..Resume::default() }))
            };
            ids.iter().filter_map(record).collect()
        };
        let back: Vec<TransferId> = records.iter().map(|(id, _)| *id).collect();
        self.save_new_resumes(records).await?;
        // Not before they are on the disk.
        let mut rows = self.rows();
        back.iter().for_each(|id| drop(rows.canceled_links.remove(id)));
        Ok(())
    }

    /// The asset id of an upload that is given up will never hold the file.
    async fn give_up_asset(&self, id: TransferId) -> Result<()> {
        let Some(row) = self.row(id).filter(|row| row.kind == Kind::Upload && row.state != State::Completed)
        else {
            return Ok(());
        };
        match &row.asset_id {
            Some(asset) => self.store.set_asset_status(&row.service, asset, AssetStatus::Abandoned).await,
            None => Ok(()),
        }
    }

    /// Takes transfers off the list. A part file goes with its row: that is how the user says so.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is changed.
    pub async fn remove(&self, ids: &[TransferId]) -> Result<()> {
        self.require(ids)?;
        let mut left = ids.to_vec();
        while !left.is_empty() {
            let turn = self.turns.take_some(&mut left).await;
            self.remove_in(&turn).await?;
        }
        Ok(())
    }

    async fn remove_in(&self, turn: &Turn<'_>) -> Result<()> {
        self.stop_in(turn, Stop::Cancel).await?;
        for id in turn.ids() {
            if let (Some(Task::Download(task)), Some(row)) = (self.task(*id), self.row(*id))
                && row.state != State::Completed
                && let Ok(Some(journal)) = self.journal(*id).await
            {
                let folder = task.folder.clone();
                let discarded = tokio::task::spawn_blocking(move || {
                    crate::files::part_file::discard(&folder, &journal.name);
                });
                // A part file that cannot be removed stays where the user can see it.
                let _ = discarded.await;
            }
        }
        self.store.remove(turn.ids().to_vec()).await?;
        let mut rows = self.rows();
        for id in turn.ids() {
            self.names.forget(*id);
            rows.remove(*id);
        }
        drop(rows);
        self.publishing.notify_one();
        Ok(())
    }

    /// Moves rows before another one, or to the end. Before one of those that move is where that one stands.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is moved.
    pub async fn reorder(&self, ids: &[TransferId], before: Option<TransferId>) -> Result<()> {
        let saved = {
            let mut rows = self.rows();
            if let Some(unknown) = ids.iter().chain(&before).find(|id| !rows.has(**id)) {
                return Err(no_such_transfer(*unknown));
            }
            let moved: HashSet<TransferId> = ids.iter().copied().collect();
            let mut all: Vec<(i64, TransferId)> =
                rows.all().map(|entry| (entry.row.position, entry.row.id)).collect();
            all.sort_unstable();
            let from = before.map_or(all.len(), |before| {
                all.iter().position(|(_, id)| *id == before).unwrap_or(all.len())
            });
            let at = all[..from].iter().filter(|(_, id)| !moved.contains(id)).count();
            let order: Vec<(i64, TransferId)> =
                all.into_iter().filter(|(_, id)| !moved.contains(id)).collect();
            let low = at.checked_sub(1).map_or(i64::MIN >> 1, |at| order[at].0);
            let high = order.get(at).map_or(low.saturating_add(2 << 20), |(position, _)| *position);
            let low = if low == i64::MIN >> 1 { high - ((ids.len() as i64 + 1) << 20) } else { low };
            let step = (high - low) / (ids.len() as i64 + 1);
            let places: Vec<(TransferId, i64)> = if step > 0 {
                ids.iter().zip(1..).map(|(id, n)| (*id, low + step * n)).collect()
            } else {
                // No room left between two neighbours: all rows get new places.
                let mut order: Vec<TransferId> = order.into_iter().map(|(_, id)| id).collect();
                order.splice(at..at, ids.iter().copied());
                order.iter().zip(1..).map(|(id, n)| (*id, n << 20)).collect()
            };
            let mut changed = Vec::new();
            for (id, position) in places {
                rows.put(id, position);
                if let Some(entry) = rows.get(id).filter(|entry| entry.may_be_saved()) {
                    changed.push(Transfer::clone(&entry.row));
                }
            }
            self.store.save_rows(changed)
        };
        self.publishing.notify_one();
        saved.await
    }

    /// The user lets transfers go on whose account had nothing left: it is asked again, for all of them.
    pub fn account_was_seen_to(&self, ids: &[TransferId]) {
        let services: HashSet<String> = self.some(ids).into_iter().map(|row| row.service).collect();
        for service in services {
            if self.services.problem(&service).is_some_and(|problem| problem.code == Code::QuotaExceeded) {
                self.clear_problem(&service);
            }
        }
    }

    /// A service is fine again: what waited for its key or its account goes on, in the window also what failed for it.
    pub fn clear_problem(&self, service: &str) {
        if self.services.clear_problem(service) {
            let mut rows = self.rows();
            rows.services_changed = true;
            rows.lane(Kind::Upload).forget_told();
            rows.lane(Kind::Download).forget_told();
            let of_it: Vec<TransferId> =
                rows.all().filter(|entry| entry.row.service == service).map(|entry| entry.row.id).collect();
            for id in of_it {
                let Some(entry) = rows.get_mut(id) else { continue };
                let row = &mut *entry.row;
                if row
                    .wait
                    .as_ref()
                    .is_some_and(|wait| matches!(wait.reason, WaitReason::Key | WaitReason::Quota))
                {
                    row.wait = None;
                    rows.dirty.insert(id);
                    continue;
                }
                let failed_for_it =
                    matches!(&row.state, State::Failed(failure) if is_of_service(failure.code));
                // A command that is busy with it decides what becomes of it.
                if failed_for_it && self.patient && !self.turns.is_taken(id) {
                    (row.state, row.ended_at) = (State::Queued, None);
                    self.store.save_row_later(row.clone());
                    rows.dirty.insert(id);
                    rows.wait(id);
                }
            }
        }
        self.publishing.notify_one();
        self.scheduling.notify_one();
    }

    /// Stops everything that runs, each where it stands.
    pub async fn close(&self) {
        let ends = {
            let mut rows = self.rows();
            // Under the lock: nothing starts after those that run were counted.
            self.closing.cancel();
            let active = rows.active_ids();
            active.into_iter().filter_map(|id| ask_to_stop(&mut rows, id, Stop::Shutdown)).collect::<Vec<_>>()
        };
        for end in ends {
            end.cancelled().await;
        }
        self.services.shut_down().await;
        if let Err(error) = self.store.flush().await {
            tracing::warn!(%error, "closing the list");
        }
    }

    // ---- what runs next ----

    async fn schedule(self: Arc<Self>) {
        let mut works = false;
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = self.scheduling.notified() => {}
            }
            while let Some(slot) = self.next() {
                works = true;
                tokio::spawn(Arc::clone(&self).run(slot));
            }
            if works && self.rows().is_at_rest() {
                works = false;
                self.all_ended.notify_one();
            }
        }
    }

    /// How long a wait takes in this run ([`Overrides::wait_scale`]).
    pub fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.overrides.wait_scale.unwrap_or(1.0))
    }

    /// The user's number of transfers at a time; whether it was given for this run, to be kept to exactly.
    fn slots(&self, kind: Kind) -> (usize, bool) {
        let settings = self.settings();
        let usual = match kind {
            Kind::Upload => settings.concurrent_uploads,
            Kind::Download => settings.concurrent_downloads,
        };
        (self.overrides.concurrency.unwrap_or(usual).into(), self.overrides.concurrency.is_some())
    }

    /// Takes the next transfer that may start and gives it its slot.
    fn next(self: &Arc<Self>) -> Option<Slot> {
        let mut rows = self.rows();
        if self.closing.is_cancelled() {
            return None;
        }
        for kind in [Kind::Upload, Kind::Download] {
            let (slots, exactly) = self.slots(kind);
            let must_wait = |origin: &Origin| {
                self.patient && origin.apart.is_none() && self.services.problem(&origin.service).is_some()
            };
            for id in rows.lane(kind).untold(must_wait) {
                if let Some(entry) = rows.get_mut(id)
                    && let Some(failure) = self.services.problem(&entry.row.service)
                    && entry.row.wait.is_none()
                {
                    let reason = match failure.code {
                        Code::QuotaExceeded => WaitReason::Quota,
                        _ => WaitReason::Key,
                    };
                    entry.row.wait = Some(Box::new(waiting_for(reason, &failure)));
                    rows.dirty.insert(id);
                    self.publishing.notify_one();
                }
            }
            if let Some(slot) = rows.start_next(kind, slots, exactly, |origin| !must_wait(origin)) {
                return Some(slot);
            }
        }
        None
    }

    /// A transfer has learned its size. If it is a long one too many, it waits for its turn again; nothing was written.
    pub fn steps_back(&self, id: TransferId) -> bool {
        let mut rows = self.rows();
        let is_one = |entry: &&Entry| entry.is_long() && !entry.is_grouped();
        let Some(entry) = rows.get(id).filter(is_one) else { return false };
        let kind = entry.row.kind;
        let (slots, exactly) = self.slots(kind);
        let is_alone = rows.is_alone_of_its_origin(entry);
        if !Lane::is_one_too_many(&rows.busy(kind), slots, exactly, is_alone) {
            return false;
        }
        let Some(running) = rows.get_mut(id).and_then(Entry::running_mut) else { return false };
        if running.stop.is_cancelled() {
            return false;
        }
        running.again = true;
        running.stop.cancel();
        true
    }

    // ---- one run, from slot to end ----

    async fn run(self: Arc<Self>, slot: Slot) {
        let Slot { id, stop, counter, ended } = slot;
        self.publishing.notify_one();
        let run = Run::new(Arc::clone(&self), id, counter, stop);
        let result = Box::pin(self.attempts(&run)).await;
        self.finish(&run, result).await;
        ended.cancel();
        self.scheduling.notify_one();
    }

    async fn attempts(&self, run: &Run) -> Result<()> {
        let Some(task) = run.task() else {
            return Err(Error::internal("The transfer is no longer on the list"));
        };
        if let Some(failure) = run.services().problem(&run.row().service) {
            return Err(of_service(failure));
        }
        let given = self.terms(run.id).and_then(|terms| terms.pace.retries).or(self.overrides.retries);
        let retries = given.unwrap_or_else(|| self.settings().retries);
        let mut attempts = Attempts::new(retries, self.http.limits.stuck);
        let mut best = run.counter.get();
        let mut kept_download = download::Kept::default();
        let mut kept_upload = upload::Kept::new();
        loop {
            let keys = run.services().key_changes();
            let result = match &task {
                Task::Download(_) => download::run(run, &mut kept_download).await,
                Task::Upload(_) => upload::run(run, &mut kept_upload).await,
            };
            let Err(mut error) = result else { return Ok(()) };
            if error.cause == Cause::Offline && !self.is_patient(run.id) {
                // A terminal run must come to an end; the window waits for the network.
                error.cause = Cause::Unreachable;
            }
            if run.stop.is_cancelled() {
                return Err(Error::canceled());
            }
            if error.cause == Cause::Unauthorized
                || (error.cause == Cause::QuotaExceeded && services::has_account(&run.row().service))
            {
                match run.services().key_refused(&run.row().service, &Failure::from(&error), keys) {
                    None => continue,
                    Some(true) => self.services_changed(),
                    Some(false) => {}
                }
                return Err(error);
            }
            let reached = run.counter.get();
            if reached > best {
                attempts.progressed();
                best = reached;
            } else if run.row().resumable {
                // It had to start over; from here on each confirmed byte is progress again.
                best = reached;
            }
            if error.cause == Cause::DiskFull && self.is_patient(run.id) {
                self.wait_for_room(run, &error).await?;
                continue;
            }
            if error.cause == Cause::Offline {
                Self::wait_for_network(run, &error).await?;
                continue;
            }
            let Some(wait) = attempts.next(&error) else { return Err(attempts.given_up(error)) };
            let reason = match error.cause {
                Cause::RateLimited | Cause::Crowded => WaitReason::RateLimit,
                Cause::ServerTrouble if error.retry_after.is_some() => WaitReason::RateLimit,
                _ => WaitReason::Retry,
            };
            let seconds = Seconds(wait.as_secs_f64().round() as u64);
            run.tell(Phrase::TriedAgain { what: error.happened(), seconds });
            tracing::info!(id = %run.id, cause = ?error.cause, wait = ?wait, "attempt failed");
            run.wait(Some(Wait {
                until: Some(now() + run.scaled(wait).as_millis() as u64),
                ..waiting_for(reason, &Failure::from(&error))
            }));
            run.sleep(wait).await?;
            run.wait(None);
        }
    }

    /// Without a network nothing is tried: it goes on when there is one.
    async fn wait_for_network(run: &Run, error: &Error) -> Result<()> {
        run.tell(error.happened());
        run.wait(Some(waiting_for(WaitReason::Network, &Failure::from(error))));
        loop {
            run.sleep(LOOK_AGAIN).await?;
            if crate::http::has_network() {
                break;
            }
        }
        run.wait(None);
        Ok(())
    }

    /// The disk is full: goes on by itself when there is room. The disk is looked at, the other side is not asked.
    async fn wait_for_room(&self, run: &Run, error: &Error) -> Result<()> {
        run.tell(error.happened());
        run.wait(Some(waiting_for(WaitReason::Space, &Failure::from(error))));
        let row = run.row();
        let missing = row.total.map_or(0, |total| total.saturating_sub(row.bytes));
        let mut folders = vec![self.resume_folder.path().to_owned()];
        if let Some(Task::Download(download)) = run.task() {
            folders.push(download.folder);
        }
        let before = free_space(&folders).await;
        let began = Instant::now();
        loop {
            run.sleep(LOOK_AGAIN).await?;
            let now = free_space(&folders).await;
            let has_grown = before.iter().zip(&now).any(|(before, now)| *now >= before + ROOM_AGAIN);
            // What is missing lies in the last of them. A quota shows itself only when it is tried.
            if (has_grown && now.last().is_none_or(|free| *free >= missing))
                || began.elapsed() >= run.scaled(TRY_AGAIN)
            {
                break;
            }
        }
        run.wait(None);
        Ok(())
    }

    async fn finish(self: &Arc<Self>, run: &Run, result: Result<()>) {
        let id = run.id;
        let mut row = {
            let mut rows = self.rows();
            let Some(entry) = rows.get_mut(id) else {
                drop(rows);
                // It was removed: nothing may stay of what its work wrote since.
                self.names.forget(id);
                self.resume_folder.remove(id);
                return;
            };
            let was_quick = result.is_ok() && !entry.is_long();
            let mut row = Transfer::clone(&entry.row);
            let asked = entry.running_mut().and_then(|running| {
                running.is_ending = true;
                running.asked
            });
            let (slots, _) = self.slots(row.kind);
            rows.lane(row.kind).ended(slots, was_quick);
            row.state = state_after(&result, asked);
            row.bytes = match (&result, row.total) {
                (Ok(()), Some(total)) => total,
                _ => run.counter.get(),
            };
            (row.stage, row.stage_percent, row.wait, row.speed, row.seconds_left) =
                (None, None, None, None, None);
            row.ended_at = row.state.has_ended().then(now);
            row
        };
        self.store.tell(id, now(), &how_it_ended(&row, &result).into());
        // The end is on disk before anybody hears of it, and before what is needed to go on is thrown away: a kill
        // between any two of these steps leaves a transfer that has ended, or one that can still go on.
        let saved = self.store.save_rows(vec![row.clone()]).await;
        {
            let mut rows = self.rows();
            if row.state != State::Completed {
                rows.curves.note(id, now(), 0);
            }
            let Some(running) = rows.end(id) else { return };
            let written = (row.state.clone(), row.position);
            // Whoever asked for another end meanwhile gets it.
            let state = state_after(&result, running.asked);
            if state != row.state {
                row.ended_at = state.has_ended().then(now);
                row.state = state;
                self.store.tell(id, now(), &how_it_ended(&row, &result).into());
            }
            // Only now does the row count as failed: a new key that came meanwhile has not found it among those.
            let has_new_key = matches!(&result, Err(error) if is_of_service(error.code()))
                && services::has_account(&row.service)
                && matches!(row.state, State::Failed(_))
                && self.patient
                && run.services().problem(&row.service).is_none();
            if has_new_key {
                (row.state, row.ended_at) = (State::Queued, None);
            }
            if let Some(entry) = rows.get_mut(id) {
                row.position = entry.row.position;
                *entry.row = row.clone();
            }
            if written != (row.state.clone(), row.position) {
                self.store.save_row_later(row.clone());
            }
            if has_new_key || (running.again && row.state == State::Queued) {
                rows.wait(id);
            }
            rows.dirty.insert(id);
        }
        self.publishing.notify_one();
        if saved.is_err() {
            // The end of a transfer must not be lost because the database's disk is full just now; nor must anybody wait.
            tokio::spawn(Arc::clone(self).save_end(id));
        } else if matches!(row.state, State::Completed | State::Canceled) {
            self.forget_resume(id);
        }
    }

    /// Writes down how a transfer ended as soon as that can be written, unless it runs again meanwhile.
    async fn save_end(self: Arc<Self>, id: TransferId) {
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let _turn = self.turns.take(id).await;
            let saved = {
                let rows = self.rows();
                let row = rows.get(id).map(|entry| &*entry.row);
                let ended = row.filter(|row| !row.state.is_active() && row.state != State::Queued);
                let Some(row) = ended else { return };
                self.store.save_rows(vec![row.clone()])
            };
            if saved.await.is_ok() {
                if self.row(id).is_some_and(|row| matches!(row.state, State::Completed | State::Canceled)) {
                    self.forget_resume(id);
                }
                return;
            }
        }
    }

    fn forget_resume(&self, id: TransferId) {
        if self.row(id).is_some_and(|row| row.state == State::Completed) {
            self.names.forget(id);
        }
        self.resume_folder.remove(id);
    }

    // ---- telling the listeners ----

    async fn publish(self: Arc<Self>) {
        let (mut saved_at, mut gave_back_at) = (Instant::now(), Instant::now());
        let (mut told_end_at, mut early): (Option<Instant>, _) = (None, Duration::ZERO);
        loop {
            let moving = !self.rows().is_at_rest();
            if moving {
                self.gather(&mut told_end_at, &mut early).await;
            } else {
                tokio::select! {
                    () = self.closing.cancelled() => {}
                    () = self.publishing.notified() => {}
                    () = self.store.news.come() => {}
                }
            }
            self.publish_once();
            if self.closing.is_cancelled() && !moving {
                return;
            }
            if moving && saved_at.elapsed() >= SAVE_EVERY {
                saved_at = Instant::now();
                self.save_active();
            }
            let at_rest = moving && self.rows().is_at_rest();
            let often_enough = if at_rest { memory::EVERY_REST } else { memory::EVERY };
            if gave_back_at.elapsed() >= often_enough {
                gave_back_at = Instant::now();
                tokio::task::spawn_blocking(memory::give_back);
            }
            if !moving {
                // The first change goes out at once; what follows it is gathered.
                self.gather(&mut told_end_at, &mut early).await;
            }
        }
    }

    /// Lets changes come together for as long as listeners may wait, or until all work has ended. What was told `early` for
    /// that is waited for the next time: five messages a second in all.
    async fn gather(&self, told_end_at: &mut Option<Instant>, early: &mut Duration) {
        let may_tell = told_end_at.is_none_or(|at| at.elapsed() >= TELL_END_EVERY);
        let began = Instant::now();
        let long = PUBLISH_EVERY + std::mem::take(early);
        tokio::select! {
            () = tokio::time::sleep(long) => {}
            () = self.all_ended.notified(), if may_tell => {
                *early = long.saturating_sub(began.elapsed());
                // An end that was told with the others already uses nothing up.
                if self.rows().is_at_rest() {
                    *told_end_at = Some(Instant::now());
                }
            }
        }
    }

    fn save_active(&self) {
        let rows = self.rows();
        let unended = rows.active().filter(|entry| entry.may_be_saved());
        unended.for_each(|entry| self.store.save_row_later(Transfer::clone(&entry.row)));
    }

    fn publish_once(&self) {
        let at = Instant::now();
        let library = self.store.news.take();
        let mut rows = self.rows();
        for id in rows.active_ids() {
            let Some(entry) = rows.get_mut(id) else { continue };
            let (row, Some(running)) = entry.parts_mut() else { continue };
            let bytes = running.counter.get();
            running.meter.sample(at, bytes);
            if row.wait.is_some() {
                // What was measured before says nothing of the time after the wait.
                running.meter = Meter::default();
            }
            let (speed, left) = (running.meter.speed(), running.meter.seconds_left(row.total));
            if (row.bytes, row.speed, row.seconds_left) != (bytes, speed, left) {
                (row.bytes, row.speed, row.seconds_left) = (bytes, speed, left);
                rows.dirty.insert(id);
            }
            rows.curves.note(id, now(), speed.unwrap_or(0));
        }
        if rows.dirty.is_empty()
            && rows.removed.is_empty()
            && !rows.services_changed
            && !rows.settings_changed
            && library.is_none()
        {
            return;
        }
        rows.revision += 1;
        let mut dirty: Vec<TransferId> = rows.dirty.drain().collect();
        if dirty.len() > MOST_CHANGED {
            dirty.sort_unstable_by_key(|id| (rows.get(*id).map(|entry| entry.row.position), *id));
            rows.dirty.extend(dirty.drain(MOST_CHANGED..));
            self.publishing.notify_one();
        }
        let mut changed: Vec<Transfer> =
            dirty.iter().filter_map(|id| rows.get(*id)).map(|entry| Transfer::clone(&entry.row)).collect();
        changed.sort_by_key(|row| (row.position, row.id));
        let services = std::mem::take(&mut rows.services_changed).then(|| self.services.statuses());
        let settings = std::mem::take(&mut rows.settings_changed).then(|| Box::new(self.settings()));
        let changes = Changes {
            revision: rows.revision,
            settings,
            changed,
            removed: std::mem::take(&mut rows.removed),
            services,
            library,
        };
        drop(rows);
        // Nobody listens: nobody misses it.
        let _ = self.changes.send(Arc::new(changes));
    }
}

/// Tells work to stop. Gives what says that its end is written down; nothing for what does not run.
fn ask_to_stop(rows: &mut Rows, id: TransferId, why: Stop) -> Option<CancellationToken> {
    let running = rows.get_mut(id)?.running_mut()?;
    running.asked = running.asked.max(Some(why));
    running.stop.cancel();
    Some(running.ended.clone())
}

/// What has become of a transfer whose work returned this, and which was asked to stop or not.
fn state_after(result: &Result<()>, asked: Option<Stop>) -> State {
    match (result, asked) {
        (Ok(()), _) => State::Completed,
        (Err(_), Some(Stop::Cancel)) => State::Canceled,
        (Err(error), _) if error.cause != Cause::Canceled => State::Failed(Box::new(Failure::from(error))),
        (Err(_), Some(Stop::Pause)) => State::Paused,
        (Err(_), Some(Stop::Shutdown) | None) => State::Queued,
    }
}

/// The line about it in the history.
fn how_it_ended(row: &Transfer, result: &Result<()>) -> Phrase {
    match (&row.state, result) {
        (State::Completed, _) => match row.verified {
            Some(verified) => Phrase::CompletedWithProof { proof: verified },
            None => Phrase::Completed,
        },
        (State::Failed(_), Err(error)) => Phrase::Failed { what: error.happened() },
        (State::Paused, _) => Phrase::WasPaused,
        (State::Canceled, _) => Phrase::WasCanceled,
        _ => Phrase::WentBackToQueue,
    }
}

/// Free bytes in each of these folders; nothing where the system does not tell.
async fn free_space(folders: &[PathBuf]) -> Vec<u64> {
    let folders = folders.to_vec();
    let look =
        move || folders.iter().map(|folder| crate::files::folder::free_space(folder).unwrap_or(0)).collect();
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

async fn in_resume(write: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<()> {
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::target_io("Writing to", std::path::Path::new("resume"), &error)),
        Err(_) => Err(Error::internal("Writing to the data folder was interrupted")),
    }
}

/// The refusal for an id that is not on the list.
pub(crate) fn no_such_transfer(id: TransferId) -> Error {
    Error::invalid(Phrase::TransferUnknown { id }).advise(Phrase::SeeQueue)
}

/// Whether it is the service's key or account that is at fault, and with it all that goes there.
fn is_of_service(code: Code) -> bool {
    matches!(code, Code::Unauthorized | Code::QuotaExceeded)
}

/// What all that goes to a service ends with while that stands still.
fn of_service(failure: Failure) -> Error {
    let cause = if failure.code == Code::QuotaExceeded { Cause::QuotaExceeded } else { Cause::Unauthorized };
    let mut error = Error::new(cause, failure.what).advise(failure.advice);
    error.why = failure.why;
    error
}

/// Standing still until something happens, because of this.
fn waiting_for(reason: WaitReason, failure: &Failure) -> Wait {
    Wait { reason, until: None, what: failure.what.clone(), why: failure.why.clone() }
}
