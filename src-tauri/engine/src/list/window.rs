//! The list as one face looks at it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::List;
use super::card::Card;
use super::look::{Can, Hidden, Hour, ListChanges, Listing, Look, Opening, TakenBack, Where};
use crate::asset::LibraryChanges;
use crate::engine::Engine;
use crate::error::Result;
use crate::requests::Changes;
use crate::transfer::{State, Transfer, TransferId};
use crate::words::{Phrase, Words};

/// A window onto an engine's list. Everything that it answers or tells carries a revision one higher than the one before,
/// and is told in that order.
///
/// Locks: the list's is taken before the rows' of the queue and the one of what waits to be told; none is held while the
/// window is told something, so that a slow window holds up nobody who asks.
pub struct ListWindow {
    pub(super) engine: Engine,
    pub(super) list: Mutex<List>,
    pub(super) untold: Mutex<Untold>,
    pub(super) tell: Box<dyn Fn(ListChanges) + Send + Sync>,
}

/// What the window is still to be told, in order.
#[derive(Default)]
pub(super) struct Untold {
    pub(super) waiting: VecDeque<ListChanges>,
    /// Somebody tells the window something just now, and then whatever waits.
    pub(super) is_telling: bool,
}

impl std::fmt::Debug for ListWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListWindow").field("list", &self.list).finish_non_exhaustive()
    }
}

impl ListWindow {
    /// A window that shows nothing yet, and how it is told what changes.
    pub fn new(engine: Engine, tell: impl Fn(ListChanges) + Send + Sync + 'static) -> Self {
        Self { engine, list: Mutex::default(), untold: Mutex::default(), tell: Box::new(tell) }
    }

    pub(super) fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the window what waits. Called without the list; whoever finds another one at it leaves it to that one.
    pub(super) fn tell_all(&self) {
        loop {
            let next = {
                let mut untold = self.untold();
                if untold.is_telling {
                    return;
                }
                let Some(next) = untold.waiting.pop_front() else { return };
                untold.is_telling = true;
                next
            };
            (self.tell)(next);
            self.untold().is_telling = false;
        }
    }

    pub(super) fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first look; from here on changes are told. A page that is `fresh` knows of no hidden rows, and sees them all.
    pub fn open(&self, look: Look, fresh: bool) -> Opening {
        let mut list = self.list();
        if fresh {
            list.hidden.clear();
        }
        list.read(&self.engine, look);
        list.is_open = true;
        Opening {
            list: list.seen(&self.engine),
            services: self.engine.services(),
            settings: self.engine.settings(),
            downloads_folder: self.downloads_folder(),
            notices: self.engine.notices(),
        }
    }

    /// Another look: other rows, another filter, search or order. Answers every row in sight.
    pub fn look(&self, look: Look) -> Listing {
        let mut list = self.list();
        list.turn_to(&self.engine, look);
        list.seen(&self.engine)
    }

    /// Takes changes in and tells what of them the window has to know; nothing while there is no window, and nothing of
    /// changes that were in the rows already when they were read.
    pub fn apply(&self, changes: &Changes) {
        let mut list = self.list();
        if list.is_open && changes.revision > list.read_at {
            let ended = list.apply(&changes.changed, &changes.removed);
            let listing = list.told(&self.engine, &changes.changed);
            self.untold().waiting.push_back(ListChanges {
                list: listing,
                ended,
                services: changes.services.clone(),
                settings: changes.settings.as_deref().cloned(),
                downloads_folder: changes.settings.as_ref().map(|_| self.downloads_folder()),
                library: changes.library.clone(),
            });
        }
        drop(list);
        self.tell_all();
    }

    /// Reads everything anew, after changes were missed.
    pub fn catch_up(&self) {
        let mut list = self.list();
        if list.is_open {
            let look = list.look.clone();
            let ended = list.read(&self.engine, look);
            let listing = list.seen(&self.engine);
            self.untold().waiting.push_back(ListChanges {
                list: listing,
                ended,
                services: Some(self.engine.services()),
                settings: Some(self.engine.settings()),
                downloads_folder: Some(self.downloads_folder()),
                library: Some(LibraryChanges { changed: Vec::new(), read_anew: true }),
            });
        }
        drop(list);
        self.tell_all();
    }

    pub(super) fn downloads_folder(&self) -> String {
        self.engine.downloads_folder().display().to_string()
    }

    /// These rows, without those that are unknown.
    pub fn rows(&self, ids: &[TransferId]) -> Vec<Transfer> {
        self.engine.rows(ids)
    }

    /// Those of these rows, or of all that are not hidden, with which this can be done just now.
    pub fn which(&self, ids: Option<&[TransferId]>, can: Can) -> Vec<TransferId> {
        let asked: Option<HashSet<TransferId>> = ids.map(|ids| ids.iter().copied().collect());
        let mut allowed = HashSet::new();
        self.engine.look(|row| {
            if asked.as_ref().is_none_or(|asked| asked.contains(&row.id)) && Card::of(row).allows(can) {
                allowed.insert(row.id);
            }
        });
        if let Some(ids) = ids {
            return ids.iter().copied().filter(|id| allowed.contains(id)).collect();
        }
        let list = self.list();
        let mut all: Vec<TransferId> = allowed.into_iter().filter(|id| !list.hidden.contains(id)).collect();
        all.sort_unstable();
        all
    }

    /// The shown rows from one to the other, in order; no row stands for an end of the list.
    pub fn between(&self, from: Option<TransferId>, to: Option<TransferId>) -> Vec<TransferId> {
        let list = self.list();
        let last = list.shown.len().checked_sub(1);
        let from = from.map_or(last.map(|_| 0), |id| list.place(id));
        let to = to.map_or(last, |id| list.place(id));
        let (Some(from), Some(to)) = (from, to) else { return Vec::new() };
        list.shown[from.min(to)..=from.max(to)].to_vec()
    }

    /// Takes rows out of sight until they are removed or shown again, and stops those that move.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::pause`]; then all of them are in sight.
    pub async fn hide(&self, ids: &[TransferId]) -> Result<Hidden> {
        let paused = self.which(Some(ids), Can::Pause);
        let (hidden, next) = {
            let mut list = self.list();
            let next = list.beside(ids);
            // Before they stop: whoever resumes all of the others meanwhile leaves these alone.
            (list.set_hidden(ids, true), next)
        };
        let stopped = self.engine.pause(&paused).await;
        let mut list = self.list();
        if stopped.is_err() {
            list.set_hidden(&hidden, false);
        }
        list.retell(self);
        drop(list);
        self.tell_all();
        stopped.map(|()| Hidden { ids: hidden, paused, next })
    }

    /// Shows hidden rows again.
    pub fn unhide(&self, ids: &[TransferId]) {
        let mut list = self.list();
        list.set_hidden(ids, false);
        list.retell(self);
        drop(list);
        self.tell_all();
    }

    /// What is still to be done, in the order of the queue.
    pub(super) fn queue(&self) -> Vec<TransferId> {
        let mut queue = Vec::new();
        self.engine.look(|row| {
            if Card::of(row).allows(Can::Reorder) {
                queue.push((row.position, row.id));
            }
        });
        queue.sort_unstable();
        queue.into_iter().map(|(_, id)| id).collect()
    }

    /// Moves rows one place, or to the front, among what is still to be done.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::reorder`].
    pub async fn move_rows(&self, ids: &[TransferId], to: Where) -> Result<()> {
        match moved(&self.queue(), ids, to) {
            Some((ids, before)) => self.engine.reorder(&ids, before).await,
            None => Ok(()),
        }
    }

    /// Puts rows of the queue behind that one of it, or at its front.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::reorder`].
    pub async fn move_behind(&self, ids: &[TransferId], above: Option<TransferId>) -> Result<()> {
        match moved_behind(&self.queue(), ids, above) {
            Some((ids, before)) => self.engine.reorder(&ids, before).await,
            None => Ok(()),
        }
    }

    /// Gives up and removes these, which had just come onto the list. Meant for what was told as new when it was added: a
    /// file that was on its way already goes on in its row, with what has arrived of it, and taking back a drop must not take
    /// that.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::remove`].
    pub async fn take_back(&self, ids: &[TransferId]) -> Result<TakenBack> {
        let asked: HashSet<TransferId> = ids.iter().copied().collect();
        let split = || {
            let (mut going, mut ended) = (Vec::new(), Vec::new());
            self.engine.look(|row| {
                // What a terminal added is its own to take back.
                if row.origin.is_some() || !asked.contains(&row.id) {
                    return;
                }
                // What had been sent before is not there because of this one.
                let was_there =
                    matches!(&row.note, Some(Words::Own(note)) if matches!(**note, Phrase::SentBefore { .. }));
                let part = if row.state == State::Completed && !was_there { &mut ended } else { &mut going };
                part.push(row.id);
            });
            (going, ended)
        };
        // One may arrive while it is being stopped.
        self.engine.cancel(&split().0).await?;
        let (taken, ended) = split();
        self.engine.remove(&taken).await?;
        Ok(TakenBack { taken: taken.len(), ended })
    }

    /// Removes for good what is hidden: with the window goes whoever could take that back.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::remove`].
    pub async fn remove_hidden(&self) -> Result<()> {
        let hidden = self.list().hidden.clone();
        let mut there = Vec::new();
        self.engine.look(|row| {
            if hidden.contains(&row.id) {
                there.push(row.id);
            }
        });
        self.engine.remove(&there).await
    }

    /// Bytes completed since each of these moments and before the next.
    pub fn day(&self, hours: &[u64]) -> Vec<Hour> {
        let list = self.list();
        let mut sums = vec![Hour::default(); hours.len()];
        let Some(first) = hours.first() else { return sums };
        for card in list.visible().filter(|card| card.came_since(*first)) {
            let after = hours.partition_point(|begins| Some(*begins) <= card.ended_at);
            if let Some(sum) = sums.get_mut(after.saturating_sub(1)) {
                *if card.up { &mut sum.up } else { &mut sum.down } += card.bytes;
            }
        }
        sums
    }
}

/// Rows to be moved, and the one that they go before; none = the end.
pub(super) type Moved = Option<(Vec<TransferId>, Option<TransferId>)>;

pub(super) fn moved(queue: &[TransferId], ids: &[TransferId], to: Where) -> Moved {
    let chosen: HashSet<TransferId> = ids.iter().copied().collect();
    let is_chosen = |id: &TransferId| chosen.contains(id);
    let first = queue.iter().position(is_chosen)?;
    let last = queue.iter().rposition(is_chosen)?;
    let moved = queue.iter().copied().filter(is_chosen).collect();
    let before = match to {
        Where::Front => queue.iter().find(|id| !is_chosen(id)),
        Where::Up => Some(&queue[first.checked_sub(1)?]),
        Where::Down if last + 1 == queue.len() => return None,
        Where::Down => queue.get(last + 2),
    };
    Some((moved, before.copied()))
}

pub(super) fn moved_behind(queue: &[TransferId], ids: &[TransferId], above: Option<TransferId>) -> Moved {
    let chosen: HashSet<TransferId> = ids.iter().copied().collect();
    let (moved, rest): (Vec<_>, Vec<_>) = queue.iter().copied().partition(|id| chosen.contains(id));
    let gap = match above {
        None => 0,
        // One that has gone meanwhile says nothing about where.
        Some(above) => queue.iter().position(|id| *id == above)? + 1,
    };
    // A chosen row stays where it is: what counts is the last one above the gap that does.
    let at = queue[..gap].iter().filter(|id| !chosen.contains(id)).count();
    let after = rest[..at].iter().chain(&moved).chain(&rest[at..]);
    if moved.is_empty() || after.eq(queue) {
        return None;
    }
    Some((moved, rest.get(at).copied()))
}
