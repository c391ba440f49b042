//! One transfer while it runs: what the work may ask for, and what it reports back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::progress::Counter;
use crate::queue::Queue;
use crate::resume::Resume;
use crate::seams::Attempt;
use crate::services::Services;
use crate::settings::Settings;
use crate::speed_limit::SpeedLimit;
use crate::task::{Journal, Task};
use crate::terms::Terms;
use crate::transfer::{Stage, State, Transfer, TransferId, Wait};
use crate::words::Words;

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
    /// What is kept in `resume/` for it, so that it is read and compared in memory.
    resume: Arc<Mutex<Resume>>,
    /// By which it was let go on.
    terms: Option<Arc<Terms>>,
}

impl Run {
    pub(crate) fn new(
        queue: Arc<Queue>,
        id: TransferId,
        counter: Arc<Counter>,
        stop: CancellationToken,
    ) -> Self {
        let resume = Arc::new(Mutex::new(queue.resume_folder.read(id)));
        let terms = queue.terms(id);
        Self { id, stop, counter, queue, resume, terms }
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

    /// Changes the row.
    pub fn update(&self, change: impl FnOnce(&mut Transfer)) {
        self.queue.update(self.id, change);
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
        self.update(|row| row.asset_id = Some(id.into()));
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
        self.resume.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is kept in `resume/`, on disk before this returns; what cannot be written is not changed.
    pub async fn change_resume(&self, change: impl FnOnce(&mut Resume)) -> Result<()> {
        let (before, record) = {
            let mut kept = self.resume.lock().unwrap_or_else(PoisonError::into_inner);
            let before = kept.clone();
            change(&mut kept);
            if *kept == before {
                return Ok(());
            }
            kept.task = self.task();
            kept.service = Some(self.row().service);
            (before, kept.clone())
        };
        let saved = self.queue.save_resume(self.id, record).await;
        if saved.is_err() {
            *self.resume.lock().unwrap_or_else(PoisonError::into_inner) = before;
        }
        saved
    }

    /// How far the download is provable, from the database.
    pub async fn journal(&self) -> Result<Option<Journal>> {
        self.queue.journal(self.id).await
    }

    /// Writes down how far the download is provable. The data must be synced before.
    pub fn save_journal(&self, journal: &Journal) {
        self.queue.begins_journal(self.id);
        self.queue.store.save_journal(self.id, journal);
    }

    /// The same, on disk before this returns. Blocks.
    pub fn save_journal_now(&self, journal: &Journal) -> Result<()> {
        self.queue.begins_journal(self.id);
        self.queue.store.save_journal_now(self.id, journal)
    }

    /// Keeps the journal in `resume/` as well, from where the download comes back if the list is lost. Blocks.
    pub fn keep_journal(&self, journal: &Journal) {
        // Held while it is written, so that an older one never comes after a newer one.
        let mut kept = self.resume.lock().unwrap_or_else(PoisonError::into_inner);
        kept.journal = Some(journal.clone());
        kept.task = self.task();
        kept.service = Some(self.row().service);
        if let Err(error) = self.queue.resume_folder.write(self.id, &kept) {
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
        self.resume.lock().unwrap_or_else(PoisonError::into_inner).journal.is_some()
    }

    /// How long a wait of Ferry's own takes in this run. A deadline over several of them is scaled alike.
    pub fn scaled(&self, time: Duration) -> Duration {
        self.queue.scaled(time)
    }

    /// Waits, as long as this run's waits take, unless the transfer is to stop.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        self.or_stop(tokio::time::sleep(self.scaled(time))).await
    }

    /// The same, for what has `grace` to come to its end even then.
    pub async fn or_stop_after<T>(&self, grace: Duration, work: impl Future<Output = T>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            value = &mut work => Ok(value),
            () = self.stop.cancelled() => {
                tokio::time::timeout(grace, work).await.map_err(|_| Error::canceled())
            }
        }
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
