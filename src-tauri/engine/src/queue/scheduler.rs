//! Which transfer starts next, and what waits for a disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempts::waiting_for;
use super::operations::ask_to_stop;
use super::{Queue, SILENT};
use tokio::time::Instant;

use crate::error::Code;
use crate::files::disk_calls::{DiskCalls, Place as Disk};
use crate::lane::{Lane, Origin};
use crate::rows::{Entry, Slot, Start, Stop};
use crate::transfer::{Kind, State, TransferId, WaitReason};

/// Closing waits no longer than this for work of ended runs: whoever closes gives two seconds for all of it.
const LATE_AT_CLOSE: Duration = Duration::from_millis(1500);

impl Queue {
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
        // Not for ever: an answer of a service may take minutes, and what is here must be closed in order before that.
        let last = Instant::now() + LATE_AT_CLOSE;
        while self.rows().has_late_moving(self.silent_after()) && Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.is_closed.store(true, Ordering::SeqCst);
        self.services.shut_down().await;
        if let Err(error) = self.store.flush().await {
            tracing::warn!(%error, "closing the list");
        }
    }

    // ---- what runs next ----

    pub(super) async fn schedule(self: Arc<Self>) {
        let mut works = false;
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = self.scheduling.notified() => {}
            }
            self.hear_disks();
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
    pub(super) fn slots(&self, kind: Kind) -> (usize, bool) {
        let settings = self.settings();
        let usual = match kind {
            Kind::Upload => settings.concurrent_uploads,
            Kind::Download => settings.concurrent_downloads,
        };
        (self.overrides.concurrency.unwrap_or(usual).into(), self.overrides.concurrency.is_some())
    }

    /// Takes the next transfer that may start and gives it its slot.
    pub(super) fn next(self: &Arc<Self>) -> Option<Slot> {
        loop {
            // The lock is given back between any two: there may be many that wait for a disk.
            match self.start_next() {
                Start::Now(slot) => return Some(slot),
                Start::Parked => self.publishing.notify_one(),
                Start::Nothing => return None,
            }
        }
    }

    pub(super) fn start_next(&self) -> Start {
        let mut rows = self.rows();
        if self.closing.is_cancelled() {
            return Start::Nothing;
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
            match rows.start_next(kind, slots, exactly, |origin| !must_wait(origin), &self.scheduling) {
                Start::Nothing => {}
                found => return found,
            }
        }
        Start::Nothing
    }

    pub(super) fn silent_after(&self) -> Duration {
        /// Disks take no less time because a test's waits do.
        const LEAST: Duration = Duration::from_secs(1);
        self.scaled(SILENT).max(LEAST)
    }

    /// Lets those say so whose disk does not answer, and those go on whose disk does again.
    pub(super) fn look_at_disks(self: &Arc<Self>) {
        let limit = self.silent_after();
        let silent = self.rows().newly_silent(limit);
        if !silent.is_empty() {
            let silent: Vec<_> = silent.into_iter().map(|(id, folder)| (id, Disk::of(&folder))).collect();
            let mut rows = self.rows();
            for (id, disk) in silent {
                tracing::info!(%id, "a folder does not answer");
                rows.fell_silent(id, disk);
            }
            drop(rows);
            self.scheduling.notify_one();
        }
        if self.hear_disks() {
            self.scheduling.notify_one();
        }
    }

    /// Takes in what disks have answered since. Whether anything may go on.
    pub(super) fn hear_disks(self: &Arc<Self>) -> bool {
        let (over, has_changed) = self.rows().hear_disks(self.silent_after());
        for id in over {
            tokio::spawn(Arc::clone(self).forget_late(id));
        }
        if has_changed {
            self.publishing.notify_one();
        }
        has_changed
    }

    /// What was late may have been written for a row that needs it no more. In its turn: who takes a cancel back just now
    /// writes the record anew before the row counts as waiting.
    async fn forget_late(self: Arc<Self>, id: TransferId) {
        let _turn = self.turns.take(id).await;
        let state = self.row(id).map(|row| row.state);
        if state.is_none() {
            self.names.forget(id);
        }
        if matches!(state, None | Some(State::Canceled)) {
            let folder = self.resume_folder.clone();
            if let Err(error) = self.disk(move || folder.remove(id)).await {
                tracing::warn!(%error, %id, "a record that nobody needs stays until the next start");
            }
        }
    }

    /// For a command that asks a disk about a transfer which does not run.
    pub fn disk_calls(&self) -> Arc<DiskCalls> {
        DiskCalls::new(Arc::clone(&self.scheduling))
    }

    /// Nobody waits any more for what this folder was asked; the transfer does not run before that has ended.
    pub fn leave(&self, id: TransferId, calls: &Arc<DiskCalls>, folder: PathBuf) {
        self.rows().leave(id, calls, folder);
    }

    /// Whether something of an earlier run of this transfer may still write to its file.
    pub fn is_late(&self, id: TransferId) -> bool {
        self.rows().is_late(id)
    }

    /// Whether what is late of a transfer may still be written down: not for one that was given up or has ended since, nor
    /// when the data folder may be somebody else's.
    pub fn takes_late(&self, id: TransferId) -> bool {
        let has_need = |entry: &Entry| !matches!(entry.row.state, State::Completed | State::Canceled);
        !self.is_closed.load(Ordering::SeqCst) && self.rows().get(id).is_some_and(has_need)
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
}
