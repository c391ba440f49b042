//! Telling the listeners, and saving what moves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Queue;
use crate::memory;
use crate::progress::Meter;
use crate::requests::Changes;
use crate::transfer::{Transfer, TransferId};

/// Listeners hear of changes this often at most.
pub(super) const PUBLISH_EVERY: Duration = Duration::from_millis(200);

/// The end of all work is told at once, if that was not done this long: with the others, five a second at most.
pub(super) const TELL_END_EVERY: Duration = Duration::from_secs(1);

/// A message holds no more rows than this; the others come with the next ones. The list waits while they are copied.
pub(super) const MOST_CHANGED: usize = 5_000;

/// A running row is written down this often, so that a kill shows nearly the truth.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(5);

impl Queue {
    // ---- telling the listeners ----

    pub(super) async fn publish(self: Arc<Self>) {
        let (mut saved_at, mut gave_back_at) = (Instant::now(), std::time::Instant::now());
        let (mut told_end_at, mut early): (Option<Instant>, _) = (None, Duration::ZERO);
        loop {
            let moving = !self.rows().is_at_rest();
            if moving {
                self.gather(&mut told_end_at, &mut early).await;
                self.look_at_disks();
            } else {
                tokio::select! {
                    biased;
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
                gave_back_at = std::time::Instant::now();
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
    pub(super) async fn gather(&self, told_end_at: &mut Option<Instant>, early: &mut Duration) {
        let may_tell = told_end_at.is_none_or(|at| at.elapsed() >= TELL_END_EVERY);
        let began = Instant::now();
        let long = PUBLISH_EVERY + std::mem::take(early);
        tokio::select! {
            biased;
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

    pub(super) fn save_active(&self) {
        let rows = self.rows();
        let unended = rows.active().filter(|entry| entry.may_be_saved());
        unended.for_each(|entry| self.store.save_row_later(Transfer::clone(&entry.row)));
    }

    pub(super) fn publish_once(&self) {
        let at = Instant::now().into_std();
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
            rows.curves.note(id, self.now(), speed.unwrap_or(0));
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
