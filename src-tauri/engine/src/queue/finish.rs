//! How a run ends, and what of it is written down in which order.

use std::path::PathBuf;
use std::sync::Arc;

use super::attempts::is_of_service;
use super::{LOOK_AGAIN, Queue};
use crate::error::{Cause, Failure, Result};
use crate::rows::Stop;
use crate::run::Run;
use crate::services;
use crate::transfer::{State, Transfer, TransferId};
use crate::words::Phrase;

impl Queue {
    pub(super) async fn finish(self: &Arc<Self>, run: &Run, result: Result<()>) {
        let id = run.id;
        let mut row = {
            let mut rows = self.rows();
            let Some(entry) = rows.get_mut(id) else {
                rows.leave(id, run.calls(), PathBuf::new());
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
            row.ended_at = row.state.has_ended().then(|| self.now());
            row
        };
        self.store.tell(id, self.now(), &how_it_ended(&row, &result).into());
        // The end is on disk before anybody hears of it, and before what is needed to go on is thrown away: a kill
        // between any two of these steps leaves a transfer that has ended, or one that can still go on.
        let saved = self.store.save_rows(vec![row.clone()]).await;
        {
            let mut rows = self.rows();
            if row.state != State::Completed {
                rows.curves.note(id, self.now(), 0);
            }
            let Some(running) = rows.end(id) else { return };
            let written = (row.state.clone(), row.position);
            // Whoever asked for another end meanwhile gets it.
            let state = state_after(&result, running.asked);
            if state != row.state {
                row.ended_at = state.has_ended().then(|| self.now());
                row.state = state;
                self.store.tell(id, self.now(), &how_it_ended(&row, &result).into());
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
    pub(super) async fn save_end(self: Arc<Self>, id: TransferId) {
        loop {
            tokio::select! {
                biased;
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

    pub(super) fn forget_resume(&self, id: TransferId) {
        if self.row(id).is_some_and(|row| row.state == State::Completed) {
            self.names.forget(id);
        }
        self.resume_folder.remove(id);
    }
}

/// What has become of a transfer whose work returned this, and which was asked to stop or not.
pub(super) fn state_after(result: &Result<()>, asked: Option<Stop>) -> State {
    match (result, asked) {
        (Ok(()), _) => State::Completed,
        (Err(_), Some(Stop::Cancel)) => State::Canceled,
        (Err(error), _) if error.cause != Cause::Canceled => State::Failed(Box::new(Failure::from(error))),
        (Err(_), Some(Stop::Pause)) => State::Paused,
        (Err(_), Some(Stop::Shutdown) | None) => State::Queued,
    }
}

/// The line about it in the history.
pub(super) fn how_it_ended(row: &Transfer, result: &Result<()>) -> Phrase {
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
