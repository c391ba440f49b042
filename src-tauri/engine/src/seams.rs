//! Where a test may put something else in the place of the world: what a transfer's work comes to, who waits for the disk, the
//! clock, chance.
//!
//! Nothing here decides anything. Where nothing is put in, which is everywhere but in tests, work is a download or an upload, the
//! disk has threads of its own, the clock is the system's, and so is chance.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rand::Rng as _;

use crate::error::{Error, Result};
use crate::transfer::Transfer;

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
        self.clock.as_ref().map_or_else(now, |clock| clock())
    }

    /// From 0 to 1, by chance.
    pub(crate) fn chance(&self) -> f64 {
        self.chance.as_ref().map_or_else(|| rand::rng().random_range(0.0..=1.0), |chance| chance())
    }

    /// Works with the disk off the async threads.
    pub(crate) async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        if let Some(turns) = &self.turns_of_the_disk {
            pass(turns()).await;
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
    }
}

/// Milliseconds since 1970, by the system's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Lets every other task that can go on have this many turns.
pub(crate) async fn pass(turns: usize) {
    for _ in 0..turns {
        let mut is_over = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
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
    /// Whatever is to have gone wrong; `canceled` if what was begun is given up because it is to stop.
    async fn attempt(&self, attempt: &dyn Attempt) -> Result<()>;
}

/// What work may ask the queue for, and report.
#[async_trait]
pub trait Attempt: Send + Sync {
    /// The row as it is now.
    fn row(&self) -> Transfer;

    /// The whole link that would be asked, if there is one and it is known, and names and values of the headers that would
    /// go along.
    fn link(&self) -> (Option<String>, Vec<(String, String)>);

    /// So many bytes long is the file. Whether the transfer is a long one too many, and has to give its slot back before
    /// anything is written.
    fn has_size(&self, total: u64) -> bool;

    /// So many bytes are really there, of all.
    fn has_bytes(&self, bytes: u64);

    /// All bytes are there and are looked at.
    fn verifies(&self);

    /// Comes back when the work is to stop.
    async fn is_to_stop(&self);
}
