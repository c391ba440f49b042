//! One run of a transfer: attempt after attempt, and the waits in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LOOK_AGAIN, Queue};
use crate::error::retry::Attempts;
use crate::error::{Cause, Code, Error, Failure, Result};
use crate::rows::Slot;
use crate::run::Run;
use crate::task::Task;
use crate::transfer::{Wait, WaitReason};
use crate::words::{Phrase, Seconds};
use crate::{download, services, upload};

/// So much more room than when the disk was full is worth an attempt.
pub(super) const ROOM_AGAIN: u64 = 1 << 20;

/// Full by a limit that nobody tells (a quota): it is tried this often.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(300);

impl Queue {
    // ---- one run, from slot to end ----

    pub(super) async fn run(self: Arc<Self>, slot: Slot) {
        let Slot { id, stop, counter, ended, calls } = slot;
        self.publishing.notify_one();
        let run = Run::new(Arc::clone(&self), id, counter, (stop, calls));
        let result = Box::pin(self.attempts(&run)).await;
        self.finish(&run, result).await;
        ended.cancel();
        self.scheduling.notify_one();
    }

    pub(super) async fn attempts(&self, run: &Run) -> Result<()> {
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
            let result = match (&self.overrides.seams.work, &task) {
                (Some(work), _) => work.attempt(run).await,
                (None, Task::Download(_)) => download::run(run, &mut kept_download).await,
                (None, Task::Upload(_)) => Box::pin(upload::run(run, &mut kept_upload)).await,
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
            let Some(wait) = attempts.next(&error, self.overrides.seams.chance()) else {
                return Err(attempts.given_up(error));
            };
            let reason = match error.cause {
                Cause::RateLimited | Cause::Crowded => WaitReason::RateLimit,
                Cause::ServerTrouble if error.retry_after.is_some() => WaitReason::RateLimit,
                _ => WaitReason::Retry,
            };
            let seconds = Seconds(wait.as_secs_f64().round() as u64);
            run.tell(Phrase::TriedAgain { what: error.happened(), seconds });
            tracing::info!(id = %run.id, cause = ?error.cause, wait = ?wait, "attempt failed");
            run.wait(Some(Wait {
                until: Some(self.now() + run.scaled(wait).as_millis() as u64),
                ..waiting_for(reason, &Failure::from(&error))
            }));
            run.sleep(wait).await?;
            run.wait(None);
        }
    }

    /// Without a network nothing is tried: it goes on when there is one.
    pub(super) async fn wait_for_network(run: &Run, error: &Error) -> Result<()> {
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
    pub(super) async fn wait_for_room(&self, run: &Run, error: &Error) -> Result<()> {
        run.tell(error.happened());
        run.wait(Some(waiting_for(WaitReason::Space, &Failure::from(error))));
        let row = run.row();
        let missing = row.total.map_or(0, |total| total.saturating_sub(row.bytes));
        let mut folders = vec![self.resume_folder.path().to_owned()];
        if let Some(Task::Download(download)) = run.task() {
            folders.push(download.folder);
        }
        let before = free_space(run, &folders).await?;
        let began = Instant::now();
        loop {
            run.sleep(LOOK_AGAIN).await?;
            let now = free_space(run, &folders).await?;
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
}

/// Free bytes in each of these folders; nothing where the system does not tell.
pub(super) async fn free_space(run: &Run, folders: &[PathBuf]) -> Result<Vec<u64>> {
    let folders = folders.to_vec();
    let look =
        move || folders.iter().map(|folder| crate::files::folder::free_space(folder).unwrap_or(0)).collect();
    run.disk(look).await
}

/// Whether it is the service's key or account that is at fault, and with it all that goes there.
pub(super) fn is_of_service(code: Code) -> bool {
    matches!(code, Code::Unauthorized | Code::QuotaExceeded)
}

/// What all that goes to a service ends with while that stands still.
pub(super) fn of_service(failure: Failure) -> Error {
    let cause = if failure.code == Code::QuotaExceeded { Cause::QuotaExceeded } else { Cause::Unauthorized };
    let mut error = Error::new(cause, failure.what).advise(failure.advice);
    error.why = failure.why;
    error
}

/// Standing still until something happens, because of this.
pub(super) fn waiting_for(reason: WaitReason, failure: &Failure) -> Wait {
    Wait { reason, until: None, what: failure.what.clone(), why: failure.why.clone() }
}
