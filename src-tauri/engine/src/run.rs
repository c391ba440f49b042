//! One transfer while it runs: what the work may ask for, and what it reports back.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::files::disk_calls::DiskCalls;
use crate::progress::Counter;
use crate::queue::Queue;
use crate::resume::Resume;
use crate::seams::Attempt;
use crate::services::{Service, Services};
use crate::settings::Settings;
use crate::speed_limit::SpeedLimit;
use crate::task::{Journal, Task};
use crate::terms::Terms;
use crate::transfer::{Stage, State, Transfer, TransferId, Wait};
use crate::words::Words;

/// How long what a disk is doing has to come to its end when the transfer stops. Whoever stops it is answered soon after.
const LAST_CALL: Duration = Duration::from_millis(1500);

/// The handle between a transfer's work and the queue.
#[derive(Clone)]
pub(crate) struct Run {
    /// Which transfer.
    pub id: TransferId,
    /// Ends the work: pause, cancel, shutdown. The work writes down what it has, then returns.
    pub stop: CancellationToken,
    /// Bytes that are really there.
    pub counter: Arc<Counter>,
    queue: Arc<Queue>,
    /// What goes on for it beside the async threads.
    calls: Arc<DiskCalls>,
    /// When it was first seen to be stopped.
    stopped: Arc<OnceLock<Instant>>,
    /// What is kept in `resume/` for it, so that it is read and compared in memory. Locked for moments.
    resume: Arc<Mutex<Resume>>,
    /// Held while that is written, on threads beside the async ones: an older record never comes after a newer one.
    writing: Arc<Mutex<()>>,
    /// By which it was let go on.
    terms: Option<Arc<Terms>>,
}

impl Run {
    pub(crate) fn new(
        queue: Arc<Queue>,
        id: TransferId,
        counter: Arc<Counter>,
        (stop, calls): (CancellationToken, Arc<DiskCalls>),
    ) -> Self {
        let resume = Arc::new(Mutex::new(queue.resume_folder.read(id)));
        let terms = queue.terms(id);
        let (stopped, writing) = (Arc::default(), Arc::default());
        Self { id, stop, counter, queue, calls, stopped, resume, writing, terms }
    }

    /// What all transfers share.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The services, as its run has them.
    pub fn services(&self) -> &Services {
        let own = self.terms.as_ref().and_then(|terms| terms.services.as_deref());
        own.unwrap_or(&self.queue.services)
    }

    /// Its service, where that was when the transfer was added.
    pub async fn service(&self) -> Result<Arc<dyn Service>> {
        let origin = self.task().and_then(|task| task.origin().map(str::to_owned));
        self.services().get_at(&self.row().service, origin.as_deref()).await
    }

    /// The limit that its bytes go by, up: its run's own, or that of all.
    pub fn limit_up(&self) -> &SpeedLimit {
        let own = self.terms.as_ref().and_then(|terms| terms.limit_up.as_ref());
        own.unwrap_or(&self.queue.limit_up)
    }

    /// The limit that its bytes go by, down: its run's own, or that of all.
    pub fn limit_down(&self) -> &SpeedLimit {
        let own = self.terms.as_ref().and_then(|terms| terms.limit_down.as_ref());
        own.unwrap_or(&self.queue.limit_down)
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Settings {
        self.queue.settings()
    }

    /// The row as it is now.
    pub fn row(&self) -> Transfer {
        self.queue.row(self.id).unwrap_or_else(|| Transfer::blank(self.id))
    }

    /// Changes the row, unless this is work that nobody waits for any more.
    pub fn update(&self, change: impl FnOnce(&mut Transfer)) {
        if !self.calls.is_left() {
            self.queue.update(self.id, change);
        }
    }

    /// Enters a stage.
    pub fn stage(&self, stage: Stage) {
        self.update(|row| {
            row.stage = Some(stage);
            row.stage_percent = None;
            row.wait = None;
            row.state = if matches!(stage, Stage::Verifying | Stage::Confirming | Stage::Publishing) {
                State::Verifying
            } else {
                State::Running
            };
        });
    }

    /// The server works on the file.
    pub fn preparing(&self, title: Option<&str>, percent: Option<f32>) {
        self.update(|row| {
            row.stage_percent = percent;
            if let Some(name) = title.and_then(crate::filename::from_title) {
                row.name = name.into();
            }
        });
    }

    /// Stands still for a reason.
    pub fn wait(&self, wait: Option<Wait>) {
        self.update(|row| row.wait = wait.map(Box::new));
    }

    /// Adds a line to the history.
    pub fn tell(&self, text: impl Into<Words>) {
        self.queue.store.tell(self.id, self.queue.now(), &text.into());
    }

    /// Shows the user something unusual, and keeps it in the history.
    pub fn note(&self, text: impl Into<Words>) {
        let text = text.into();
        self.update(|row| row.note = Some(text.clone()));
        self.tell(text);
    }

    /// The task as it is now.
    pub fn task(&self) -> Option<Task> {
        self.queue.task(self.id)
    }

    /// Changes the task, on disk before this returns.
    pub async fn change_task(&self, change: impl FnOnce(&mut Task)) -> Result<()> {
        match self.queue.change_task(self.id, change) {
            Some(task) => self.queue.store.save_task(self.id, task).await,
            None => Ok(()),
        }
    }

    /// Changes the task; it is on disk with whatever is waited for next.
    pub fn change_task_soon(&self, change: impl FnOnce(&mut Task)) {
        if let Some(task) = self.queue.change_task(self.id, change) {
            self.queue.store.save_task_later(self.id, task);
        }
    }

    /// Writes down the media server's own id for this job.
    pub async fn set_server_id(&self, id: &str) -> Result<()> {
        // Also when nobody waits for the answer any more.
        self.queue.update(self.id, |row| row.asset_id = Some(id.into()));
        self.change_task(|task| {
            if let Task::Download(download) = task {
                download.server_id = Some(id.to_owned());
            }
        })
        .await
    }

    /// The media server's job came to nothing.
    pub async fn forget_server_id(&self) -> Result<()> {
        self.change_task(|task| {
            if let Task::Download(download) = task {
                download.server_id = None;
            }
        })
        .await
    }

    /// What is kept in `resume/` for this transfer.
    pub fn resume_record(&self) -> Resume {
        self.record().clone()
    }

    fn record(&self) -> MutexGuard<'_, Resume> {
        self.resume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is kept in `resume/`, on disk before this returns; what cannot be written is not changed.
    pub async fn change_resume(&self, change: impl FnOnce(&mut Resume)) -> Result<()> {
        let (task, service) = (self.task(), self.row().service);
        let before = {
            let mut kept = self.record();
            let before = kept.clone();
            change(&mut kept);
            if *kept == before {
                return Ok(());
            }
            (kept.task, kept.service) = (task, Some(service));
            before
        };
        let run = self.clone();
        let saved = self.queue.in_resume(move || run.write_record()).await;
        if saved.is_err() {
            *self.record() = before;
        }
        saved
    }

    /// Writes the record as it is now. Blocks.
    fn write_record(&self) -> std::io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.resume_record();
        if !self.may_write_down() {
            return Ok(());
        }
        if record.is_empty() {
            self.queue.resume_folder.remove(self.id);
            return Ok(());
        }
        self.queue.resume_folder.write(self.id, &record)
    }

    /// Whether anything may still be written down for it.
    pub fn may_write_down(&self) -> bool {
        !self.calls.is_left() || self.queue.takes_late(self.id)
    }

    /// How far the download is provable, from the database.
    pub async fn journal(&self) -> Result<Option<Journal>> {
        self.queue.journal(self.id).await
    }

    /// Writes down how far the download is provable. The data must be synced before.
    pub fn save_journal(&self, journal: &Journal) {
        if self.may_write_down() {
            self.queue.begins_journal(self.id);
            self.queue.store.save_journal(self.id, journal);
        }
    }

    /// The same, on disk before this returns. Blocks.
    pub fn save_journal_now(&self, journal: &Journal) -> Result<()> {
        if !self.may_write_down() {
            return Err(Error::canceled());
        }
        self.queue.begins_journal(self.id);
        self.queue.store.save_journal_now(self.id, journal)
    }

    /// Keeps the journal in `resume/` as well, from where the download comes back if the list is lost. Blocks.
    pub fn keep_journal(&self, journal: &Journal) {
        let (task, service) = (self.task(), self.row().service);
        {
            let mut kept = self.record();
            kept.journal = Some(journal.clone());
            (kept.task, kept.service) = (task, Some(service));
        }
        if let Err(error) = self.write_record() {
            // The list has it; this is only for the day when that is lost.
            tracing::warn!(%error, "the journal was not kept beside the list");
        }
    }

    /// The same for a journal that takes something back, if an older one is kept: a download that was never synced needs
    /// none. Blocks.
    pub fn renew_kept_journal(&self, journal: &Journal) {
        if self.keeps_journal() {
            self.keep_journal(journal);
        }
    }

    /// The same from where nothing may block.
    pub async fn renew_journal(&self, journal: &Journal) -> Result<()> {
        if !self.keeps_journal() {
            return Ok(());
        }
        let (run, journal) = (self.clone(), journal.clone());
        tokio::task::spawn_blocking(move || run.keep_journal(&journal))
            .await
            .map_err(|_| Error::internal("A disk task was interrupted"))
    }

    fn keeps_journal(&self) -> bool {
        self.record().journal.is_some()
    }

    /// Its work beside the async threads.
    pub fn calls(&self) -> &Arc<DiskCalls> {
        &self.calls
    }

    /// Work that may take long says that it still gets answers. Whether it is to go on.
    pub fn goes_on(&self) -> bool {
        self.calls.moved_on();
        !self.stop.is_cancelled() && !self.calls.is_left()
    }

    /// For work that nobody waits for any more: it begins nothing new.
    pub fn require_wait(&self) -> Result<()> {
        if self.calls.is_left() { Err(Error::canceled()) } else { Ok(()) }
    }

    /// Asks a disk, on a thread beside the async ones. This is the only way: a disk may never answer. Then the row says so,
    /// and its slot is others' meanwhile; a stop waits [`LAST_CALL`] for the answer, and what comes after that finds
    /// [`Run::require_wait`] to fail. The transfer does not run again before it has come.
    pub async fn disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        if self.stop.is_cancelled() && Instant::now() >= self.last_call() {
            return Err(Error::canceled());
        }
        let (hold, calls) = (self.calls.hold(), Arc::clone(&self.calls));
        let ask = move || {
            let value = {
                let _inside = calls.inside();
                work()
            };
            // What the work brought ends before it counts as over, also when nobody takes it.
            (value, hold)
        };
        let (value, _hold) = self.outlast(tokio::task::spawn_blocking(ask)).await?;
        Ok(value)
    }

    /// Waits for work beside the async threads, for [`LAST_CALL`] once the transfer is to stop.
    pub async fn outlast<T>(&self, work: tokio::task::JoinHandle<T>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let done = tokio::select! {
            biased;
            done = &mut work => Ok(done),
            () = self.stop.cancelled() => tokio::time::timeout_at(self.last_call(), work).await,
        };
        match done {
            Ok(done) => done.map_err(|_| Error::internal("A disk task was interrupted")),
            Err(_) => {
                self.calls.leave();
                Err(Error::canceled())
            }
        }
    }

    /// Does what makes something elsewhere: it goes to its end whoever stops waiting for it, and the transfer does not run again
    /// before that. It ends by itself, in the time that an answer may take.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let hold = self.calls.hold();
        let doing = tokio::spawn(async move {
            let done = work.await;
            (done, hold)
        });
        let (done, _hold) = self.outlast(doing).await?;
        done
    }

    fn last_call(&self) -> Instant {
        *self.stopped.get_or_init(Instant::now) + LAST_CALL
    }

    /// How long a wait of Ferry's own takes in this run. A deadline over several of them is scaled alike.
    pub fn scaled(&self, time: Duration) -> Duration {
        self.queue.scaled(time)
    }

    /// Waits, as long as this run's waits take, unless the transfer is to stop.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        self.or_stop(tokio::time::sleep(self.scaled(time))).await
    }

    /// Waits for something, unless the transfer is to stop.
    pub async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::canceled()),
            value = work => Ok(value),
        }
    }
}

/// For what a test puts in the place of a download or an upload.
#[async_trait]
impl Attempt for Run {
    fn row(&self) -> Transfer {
        self.row()
    }

    fn link(&self) -> (Option<String>, Vec<(String, String)>) {
        let Resume { url, headers, .. } = self.resume_record();
        let link = match self.task() {
            Some(Task::Download(task)) if task.is_url => task.url(url),
            _ => url,
        };
        (link, headers.into_iter().map(|header| (header.name, header.value)).collect())
    }

    fn has_size(&self, total: u64) -> bool {
        self.update(|row| row.total = Some(total));
        self.queue.steps_back(self.id)
    }

    fn has_bytes(&self, bytes: u64) {
        self.counter.set(bytes);
    }

    fn verifies(&self) {
        self.stage(Stage::Verifying);
    }

    async fn is_to_stop(&self) {
        self.stop.cancelled().await;
    }
}
