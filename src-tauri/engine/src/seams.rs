//! Where a test may put something else in the place of the world: what a transfer's work comes to, who waits for the disk, the
//! clock, chance.
//!
//! Nothing here decides anything. Where nothing is put in, which is everywhere but in tests, work is a download or an upload, the
//! disk has threads of its own, the clock is the system's, and so is chance.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rand::Rng as _;

use crate::error::{Error, Result};
use crate::progress;
use crate::run::Run;
use crate::secrets::Header;
use crate::task::Task;
use crate::transfer::{Stage, Transfer};

/// What is put in. Not for programs.
#[derive(Clone, Default)]
pub struct Seams {
    /// In the place of downloads and uploads.
    pub work: Option<Arc<dyn Work>>,
    /// Whoever asks the disk for something does it himself, after so many turns of other tasks, and so does the database:
    /// with it, one thread does everything, in an order that can be had again.
    pub turns_of_the_disk: Option<Arc<dyn Fn() -> usize + Send + Sync>>,
    /// The database does not wait until its disk has what it wrote.
    pub is_unsynced: bool,
    /// Milliseconds since 1970.
    pub clock: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    /// From 0 to 1.
    pub chance: Option<Arc<dyn Fn() -> f64 + Send + Sync>>,
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seams")
    }
}

impl Seams {
    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.clock.as_ref().map_or_else(progress::now, |clock| clock())
    }

    /// From 0 to 1, by chance.
    pub(crate) fn chance(&self) -> f64 {
        self.chance.as_ref().map_or_else(|| rand::rng().random_range(0.0..=1.0), |chance| chance())
    }

    /// Works with the disk off the async threads.
    pub(crate) async fn disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        if let Some(turns) = &self.turns_of_the_disk {
            pass(turns()).await;
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
    }
}

/// Lets every other task that can go on have this many turns.
pub(crate) async fn pass(turns: usize) {
    for _ in 0..turns {
        let mut is_over = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut is_over, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}

/// What is done in the place of a download or an upload.
#[async_trait]
pub trait Work: Send + Sync {
    /// One attempt.
    ///
    /// # Errors
    ///
    /// Whatever is to have gone wrong; after a stop `canceled`, as what was begun is to be given up.
    async fn attempt(&self, attempt: &Attempt<'_>) -> Result<()>;
}

/// What work may ask the queue for, and report.
pub struct Attempt<'a>(&'a Run);

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        Self(run)
    }

    /// The row as it is now.
    pub fn row(&self) -> Transfer {
        self.0.row()
    }

    /// The whole link that would be asked, if there is one and it is known, and the headers that would go along.
    pub fn link(&self) -> (Option<String>, Vec<Header>) {
        let record = self.0.resume_record();
        let link = match self.0.task() {
            Some(Task::Download(task)) if task.is_url => task.url(record.url),
            _ => record.url,
        };
        (link, record.headers)
    }

    /// So long is the file. Whether the transfer is a long one too many, and has to give its slot back before anything is
    /// written.
    pub fn has_size(&self, total: u64) -> bool {
        self.0.update(|row| row.total = Some(total));
        self.0.queue().steps_back(self.0.id)
    }

    /// So many bytes are really there, of all.
    pub fn has_bytes(&self, bytes: u64) {
        self.0.counter.set(bytes);
    }

    /// All bytes are there and are looked at.
    pub fn verifies(&self) {
        self.0.stage(Stage::Verifying);
    }

    /// Comes back when the work is to stop.
    pub async fn is_to_stop(&self) {
        self.0.stop.cancelled().await;
    }
}
