//! What the user does with transfers: go on, pause, cancel, remove, reorder.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::attempts::is_of_service;
use super::{Queue, no_such_transfer};
use crate::asset::AssetStatus;
use crate::error::{Code, Result};
use crate::resume::Resume;
use crate::rows::{Rows, Stop};
use crate::service::ServiceId;
use crate::task::Task;
use crate::transfer::{Kind, State, Transfer, TransferId, WaitReason};
use crate::turns::Turn;

/// How long a removal waits for a folder to give up a part file.
pub(super) const DISCARDING: Duration = Duration::from_millis(1500);

/// So many folders may be asked for that at a time: a thread each, for good where a folder never answers.
pub(super) const MOST_DISCARDING: usize = 8;

impl Queue {
    /// Refuses ids that are not on the list: a command is for all of its transfers or for none.
    pub(super) fn require(&self, ids: &[TransferId]) -> Result<()> {
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
            rows.ask_disks_again(turn.ids());
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
                    entry.row.ended_at = then.has_ended().then(|| self.now());
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

    /// What cannot be asked for again once the files forget it: the link, where the list does not show all of it, and the
    /// headers that go along.
    pub(super) fn hidden_links(&self, ids: &[TransferId]) -> Vec<(TransferId, Resume)> {
        let hidden_of = |id: &TransferId| {
            let task = self.task(*id).filter(Task::has_link)?;
            let Resume { url, headers, .. } = self.resume_folder.read(*id);
            let url = url.filter(|_| task.hides_link());
            let is_needed = url.is_some() || !headers.is_empty();
            is_needed.then(|| (*id, Resume { url, headers, ..Resume::default() }))
        };
        ids.iter().filter_map(hidden_of).collect()
    }

    /// Writes the links of canceled transfers down again before they go on.
    pub(super) async fn bring_links_back(&self, ids: &[TransferId]) -> Result<()> {
        let records: Vec<(TransferId, Resume)> = {
            let rows = self.rows();
            let record = |id: &TransferId| {
                let entry = rows.get(*id).filter(|entry| entry.row.state == State::Canceled)?;
                let hidden = match rows.canceled_links.get(id) {
                    Some(hidden) => hidden.clone(),
                    // It was canceled before this start and will fail for want of its link, and say so. Without a record
                    // the next start would take it for one that was never wholly added.
                    None if entry.task.hides_link() => Resume::default(),
                    None => return None,
                };
                let (task, service) = (Some(Task::clone(&entry.task)), Some(entry.row.service.clone()));
                Some((*id, Resume { task, service, ..hidden }))
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
    pub(super) async fn give_up_asset(&self, id: TransferId) -> Result<()> {
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

    pub(super) async fn remove_in(&self, turn: &Turn<'_>) -> Result<()> {
        self.stop_in(turn, Stop::Cancel).await?;
        let mut parts: HashMap<PathBuf, Vec<(TransferId, String)>> = HashMap::new();
        for id in turn.ids() {
            if let (Some(Task::Download(task)), Some(row)) = (self.task(*id), self.row(*id))
                && row.state != State::Completed
                && let Ok(Some(journal)) = self.journal(*id).await
            {
                parts.entry(task.folder).or_default().push((*id, journal.name));
            }
        }
        self.discard(parts).await;
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

    /// Removes part files. One that cannot be removed stays where the user can see it; a folder that does not answer is waited
    /// for a moment, and does it when it answers again. Nobody gets those names before that.
    pub(super) async fn discard(&self, parts: HashMap<PathBuf, Vec<(TransferId, String)>>) {
        let moved_on = Arc::new(Notify::new());
        let removing = parts.into_iter().map(|(folder, parts)| {
            parts.iter().for_each(|(id, _)| self.names.is_going(*id));
            let (places, moved_on) = (Arc::clone(&self.discarding), Arc::clone(&moved_on));
            let names = Arc::clone(&self.names);
            tokio::spawn(async move {
                let Ok(place) = places.acquire_owned().await else { return };
                let remove = move || {
                    let _place = place;
                    for (id, name) in parts {
                        crate::files::part_file::discard(&folder, &name);
                        names.is_gone(id);
                        moved_on.notify_one();
                    }
                };
                let _ = tokio::task::spawn_blocking(remove).await;
            })
        });
        let mut all = std::pin::pin!(futures_util::future::join_all(removing));
        loop {
            tokio::select! {
                _ = &mut all => return,
                () = moved_on.notified() => {}
                () = tokio::time::sleep(DISCARDING) => return,
            }
        }
    }

    /// Moves rows before another one, or to the end. Before one of those that move is where that one stands.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an id that is not on the list; then nothing is moved.
    pub async fn reorder(&self, ids: &[TransferId], before: Option<TransferId>) -> Result<()> {
        let (ends, saved) = {
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
            let above = at.checked_sub(1).map(|at| order[at].0);
            let below = order.get(at).map(|(position, _)| *position);
            let room = (ids.len() as i64 + 1) << 20;
            let (low, high) = match (above, below) {
                (Some(above), Some(below)) => (above, below),
                (Some(above), None) => (above, above + room),
                (None, below) => (below.unwrap_or(room) - room, below.unwrap_or(room)),
            };
            let step = (high - low) / (ids.len() as i64 + 1);
            let places: Vec<(TransferId, i64)> = if step > 0 {
                ids.iter().zip(1..).map(|(id, n)| (*id, low + step * n)).collect()
            } else {
                // No room left between two neighbours: all rows get new places.
                let mut order: Vec<TransferId> = order.into_iter().map(|(_, id)| id).collect();
                order.splice(at..at, ids.iter().copied());
                order.iter().zip(1..).map(|(id, n)| (*id, n << 20)).collect()
            };
            let (mut ends, mut changed) = (Vec::new(), Vec::new());
            for (id, position) in places {
                rows.put(id, position);
                let Some(entry) = rows.get(id) else { continue };
                match entry.running().filter(|_| !entry.may_be_saved()) {
                    Some(running) => ends.push(running.ended.clone()),
                    None => changed.push(Transfer::clone(&entry.row)),
                }
            }
            (ends, self.store.save_rows(changed))
        };
        self.publishing.notify_one();
        saved.await?;
        if ends.is_empty() {
            return Ok(());
        }
        // An end that was being written takes the new place along after it.
        for end in ends {
            end.cancelled().await;
        }
        self.store.flush().await
    }

    /// The user lets transfers go on whose account had nothing left: it is asked again, for all of them.
    pub fn account_was_seen_to(&self, ids: &[TransferId]) {
        let services: HashSet<ServiceId> = self.some(ids).into_iter().map(|row| row.service).collect();
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
}

/// Tells work to stop. Gives what says that its end is written down; nothing for what does not run.
pub(super) fn ask_to_stop(rows: &mut Rows, id: TransferId, why: Stop) -> Option<CancellationToken> {
    let running = rows.get_mut(id)?.running_mut()?;
    running.asked = running.asked.max(Some(why));
    running.stop.cancel();
    Some(running.ended.clone())
}
