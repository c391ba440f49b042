//! Opening a data folder: what an earlier run left there goes on.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::{Engine, Inner, Options, Overrides, blocking, row_for};
use crate::error::{Cause, Error, Result};
use crate::files::own_folder::{self, OwnFolder};
use crate::files::whole;
use crate::http::{Http, Limits};
use crate::queue::Queue;
use crate::resume::ResumeFolder;
use crate::secrets::{KeyState, Keys};
use crate::services::{self, OutsideAddresses, Services};
use crate::settings::Settings;
use crate::store::{Opened, Store, Stored};
use crate::task::Task;
use crate::transfer::{State, TransferId};
use crate::words::{Count, Phrase, Words, shown};

/// So many are named where there may be thousands.
pub(super) const NAMED: usize = 3;

impl Engine {
    /// Opens a data folder, making it if need be. `busy_data_dir` if another process has it.
    pub async fn open(options: Options) -> Result<Self> {
        survive_file_size_limits();
        crate::memory::keep_together();
        let data_dir = options.data_dir;
        let (lock, open_folder) = {
            let data_dir = data_dir.clone();
            blocking(move || own_folder::open(&data_dir, || lock_folder(&data_dir))).await??
        };
        let settings_file = data_dir.join("settings.json");
        let (mut settings, broken_settings) = Settings::load(&settings_file)?;
        let addresses = OutsideAddresses::from_environment(options.addresses)?;
        let keys =
            Keys::from_environment(options.keys, options.keychain, |service| addresses.origin(service));
        let keys = Arc::new(keys);
        let mut default_for_this_run = None;
        if settings.default_service.is_at_first()
            && let Some(set_up) = services::set_up_by_key(|id| keys.state(id) == KeyState::Variable)
        {
            // A key in the environment is a real service set up, for as long as it is there.
            settings.default_service = set_up.clone();
            default_for_this_run = Some(set_up);
        }
        let settings = Arc::new(RwLock::new(settings));
        let Opened { store, mut stored, unreadable, notes: broken_store, last_id } = {
            let (file, seams) = (data_dir.join("ferry.db"), options.overrides.seams.clone());
            blocking(move || Store::open_with(&file, &seams)).await??
        };
        let resume_folder = ResumeFolder::open(&data_dir)
            .map_err(|error| Error::target_io("Creating", &data_dir.join("resume"), &error))?;
        let http = Http::new(limits(&options.overrides))?;
        let services = Services::new(
            http.clone(),
            Arc::clone(&keys),
            Arc::clone(&settings),
            addresses,
            data_dir.join(own_folder::SANDBOX),
        );
        let mut notices: Vec<Words> =
            open_folder.into_iter().chain(broken_settings).map(Words::from).collect();
        notices.extend(broken_store);
        notices.extend(drop_half_added(&store, &resume_folder, &mut stored).await?.map(Words::from));
        let mut unfinished: Vec<TransferId> = stored
            .iter()
            .filter(|stored| matches!(stored.row.state, State::Queued | State::Running | State::Verifying))
            .map(|stored| stored.row.id)
            .collect();
        let queue = Queue::new(
            store,
            http,
            services,
            resume_folder,
            OwnFolder::new(data_dir.clone()),
            Arc::clone(&settings),
            options.overrides,
            options.resume_unfinished,
            stored,
        );
        let engine = Self {
            inner: Arc::new(Inner {
                queue,
                keys,
                settings,
                settings_file,
                notices: Mutex::default(),
                default_for_this_run: Mutex::new(default_for_this_run),
                changing_settings: tokio::sync::Mutex::default(),
                new_keys: Mutex::default(),
                comparing: Mutex::default(),
                data_dir,
                lock: Mutex::new(Some(lock)),
            }),
        };
        let queue = Arc::downgrade(&engine.inner.queue);
        engine.inner.keys.when_late(move |service| {
            if let Some(queue) = queue.upgrade() {
                // What stood still for want of a key goes on.
                queue.clear_problem(service);
                queue.services_changed();
            }
        });
        let rebuilt = engine.rebuild(&unreadable, last_id).await?;
        if !unreadable.is_empty() {
            let back = unreadable.iter().filter(|id| rebuilt.contains(id)).count();
            let back = Count(back as u64);
            notices.push(match unreadable.len() as u64 {
                1 => Phrase::UnreadableOne { back }.into(),
                count => Phrase::Unreadable { count: Count(count), back }.into(),
            });
        }
        let count = rebuilt.iter().filter(|id| !unreadable.contains(id)).count();
        match count as u64 {
            0 => {}
            1 => notices.push(Phrase::ListLostOne.into()),
            count => notices.push(Phrase::ListLost { count: Count(count) }.into()),
        }
        unfinished.extend(rebuilt);
        if options.resume_unfinished {
            match unfinished.len() as u64 {
                0 => {}
                1 => notices.push(Phrase::PickedUpOne.into()),
                count => notices.push(Phrase::PickedUp { count: Count(count) }.into()),
            }
            engine.queue().release(&unfinished).await?;
            // The services page should be right from the start; a slow keychain must not hold up the window.
            let looking = engine.clone();
            tokio::spawn(async move {
                looking.queue().services.look_up_keys().await;
                looking.queue().services_changed();
            });
        }
        *engine.inner.notices.lock().unwrap_or_else(PoisonError::into_inner) = notices;
        Ok(engine)
    }

    /// Goes through `resume/`. A record with an id that this list never gave belongs to a list that was lost: its
    /// transfer comes back under that id, so that a crash in between changes nothing. Any other record that no
    /// transfer needs is of one that ended in the moment of a crash: it goes.
    pub(super) async fn rebuild(
        &self,
        unreadable: &[TransferId],
        last_id: TransferId,
    ) -> Result<Vec<TransferId>> {
        let folder = self.queue().resume_folder.clone();
        let mut lost = Vec::new();
        for id in self.queue().without_need(folder.ids()) {
            let record = folder.read(id);
            match (record.task, record.service) {
                (Some(task), Some(service)) if id > last_id || unreadable.contains(&id) => {
                    let mut row = row_for(&task, &service, self.queue().now());
                    if let Task::Upload(upload) = &task {
                        let size = || std::fs::symlink_metadata(upload.place()).ok().map(|facts| facts.len());
                        row.total = row.total.or_else(size);
                    }
                    row.id = id;
                    row.asset_id = record.asset_id.map(Into::into).or(row.asset_id);
                    if let Some(journal) = &record.journal {
                        row.name = journal.name.as_str().into();
                        row.bytes = journal.proven();
                        row.total = journal.total;
                        row.resumable = journal.identity.can_be_shown();
                        if let Task::Download(download) = &task {
                            self.queue().names.keep(id, &download.folder, &journal.name);
                        }
                    }
                    lost.push((row, task, record.journal));
                }
                _ if unreadable.contains(&id) => {}
                _ => folder.remove(id),
            }
        }
        lost.sort_by_key(|(row, ..)| row.id);
        let tasks: Vec<(Task, bool)> =
            lost.iter().map(|(_, task, journal)| (task.clone(), journal.is_some())).collect();
        let rows = self.queue().store.add(lost, self.queue().last_position()).await?;
        let ids = rows.iter().map(|row| row.id).collect();
        let added = rows.into_iter().zip(tasks).map(|(row, (task, has_journal))| (row, task, has_journal));
        self.queue().insert(added.collect(), false, None);
        Ok(ids)
    }
}

/// A transfer is written down in two steps when part of it must stay secret. One that a kill caught between them was
/// never promised to anybody, and without its link it can never run: it goes off the list, and that is told.
pub(super) async fn drop_half_added(
    store: &Store,
    folder: &ResumeFolder,
    stored: &mut Vec<Stored>,
) -> Result<Option<Phrase>> {
    let half_added = |stored: &Stored| {
        let needs_secret = stored.task.hides_link() && stored.row.service.is_any_link();
        let untouched =
            stored.row.state == State::Queued && stored.row.bytes == 0 && stored.journal.is_none();
        needs_secret && untouched && !folder.has(stored.row.id)
    };
    let (gone, kept) = std::mem::take(stored).into_iter().partition::<Vec<_>, _>(half_added);
    *stored = kept;
    if gone.is_empty() {
        return Ok(None);
    }
    store.remove(gone.iter().map(|stored| stored.row.id).collect()).await?;
    let some: Vec<&str> = gone.iter().map(|stored| stored.row.name.as_str()).take(NAMED).collect();
    let names = some.join("`, `").into();
    Ok(Some(match gone.len().saturating_sub(NAMED) {
        0 => Phrase::HalfAdded { names },
        more => Phrase::HalfAddedAndMore { names, more: Count(more as u64) },
    }))
}

pub(super) fn lock_folder(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("lock");
    let file = own_folder::private_file()
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Error::target_io("Opening", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            whole::sweep(data_dir);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Cause::BusyDataDir, Phrase::OtherFerry { folder: shown(data_dir) }))
        }
        Err(TryLockError::Error(error)) => Err(Error::target_io("Locking", &path, &error)),
    }
}

/// Whether a process holds this data folder.
pub(crate) fn is_held(data_dir: &Path) -> bool {
    let lock = File::open(data_dir.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

pub(super) fn limits(overrides: &Overrides) -> Limits {
    let variable = || std::env::var("FERRY_STALL_SECONDS").ok()?.parse().ok().map(Duration::from_secs);
    let mut limits = Limits::default();
    if let Some(stall) = overrides.stall.or_else(variable).filter(|stall| !stall.is_zero()) {
        limits.stall = stall;
        limits.first_byte = limits.first_byte.min(stall * 10);
        limits.answer = limits.answer.min(stall * 4);
    }
    limits.stuck = overrides.stuck.unwrap_or(limits.stuck);
    limits
}

/// A process that writes past its file size limit is killed unless it listens to the signal; then the write fails
/// with an error that Ferry can show.
pub(super) fn survive_file_size_limits() {
    #[cfg(unix)]
    {
        /// `SIGXFSZ` has this number on Linux and macOS.
        const SIGXFSZ: i32 = 25;
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(signal) = signal(SignalKind::from_raw(SIGXFSZ)) {
            // The handler stays for the life of the process; nobody needs to hear it.
            std::mem::forget(signal);
        }
    }
}
