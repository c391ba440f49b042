//! Commands on one transfer go one after another.
//!
//! A pause, a cancel or a removal takes several steps with waits between them: the work stops, its end is written, links
//! and part files go. Another command for the same transfer that came in between would find half of that. So each
//! takes its turn first, and what it leaves behind is whole when the next one looks.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::transfer::TransferId;

/// Which transfers a command is busy with.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<HashSet<TransferId>>,
    given_back: Notify,
}

/// The right to command these transfers, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    ids: Vec<TransferId>,
}

impl Turn<'_> {
    pub fn ids(&self) -> &[TransferId] {
        &self.ids
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken();
        for id in &self.ids {
            taken.remove(id);
        }
        drop(taken);
        self.turns.given_back.notify_waiters();
    }
}

impl Turns {
    fn taken(&self) -> MutexGuard<'_, HashSet<TransferId>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a command is busy with it.
    pub fn is_taken(&self, id: TransferId) -> bool {
        self.taken().contains(&id)
    }

    /// Takes the turn of as many of these as no other command is busy with, at least one, and takes them out of `ids`.
    /// One that is slow to stop holds up none of the others.
    pub async fn take_some(&self, ids: &mut Vec<TransferId>) -> Turn<'_> {
        loop {
            let mut given_back = std::pin::pin!(self.given_back.notified());
            // From here on nothing is missed.
            given_back.as_mut().enable();
            let turn = self.take_free(ids);
            if !turn.ids.is_empty() || ids.is_empty() {
                return turn;
            }
            given_back.await;
        }
    }

    /// Takes the turn of one.
    pub async fn take(&self, id: TransferId) -> Turn<'_> {
        self.take_some(&mut vec![id]).await
    }

    fn take_free(&self, ids: &mut Vec<TransferId>) -> Turn<'_> {
        let mut taken = self.taken();
        let mut mine = HashSet::new();
        let mut in_order = Vec::new();
        ids.retain(|id| {
            if mine.contains(id) {
                return false;
            }
            if !taken.insert(*id) {
                return true;
            }
            mine.insert(*id);
            in_order.push(*id);
            false
        });
        Turn { turns: self, ids: in_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_free_need_not_wait_for_what_is_not() {
        let turns = Turns::default();
        let first = turns.take(TransferId(1)).await;
        let mut wanted = vec![TransferId(1), TransferId(2), TransferId(2)];
        let second = turns.take_some(&mut wanted).await;
        assert_eq!(second.ids(), [TransferId(2)], "named twice, taken once");
        assert_eq!(wanted, [TransferId(1)]);
        let mut later = std::pin::pin!(turns.take_some(&mut wanted));
        assert!(futures_util::poll!(&mut later).is_pending());
        drop(first);
        assert_eq!(later.await.ids(), [TransferId(1)]);
        assert!(!turns.is_taken(TransferId(1)));
    }
}
