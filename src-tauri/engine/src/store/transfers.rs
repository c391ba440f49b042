//! Rows, tasks, journals and histories in the database.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::database::from_sqlite;
use super::{Store, json};
use crate::error::{Error, Result};
use crate::task::{Journal, Task};
use crate::transfer::{TimelineEntry, Transfer, TransferId};
use crate::words::Words;

/// So many rows of a long list are made sense of in one go.
pub(super) const TEXTS: usize = 256;

/// So many goes wait for somebody to do that: memory is bounded.
pub(super) const WAITING_TEXTS: usize = 16;

impl Store {
    /// Writes new transfers down, gives them their ids (unless they have one) and places behind this one, in one commit.
    pub async fn add(
        &self,
        new: Vec<(Transfer, Task, Option<Journal>)>,
        behind: i64,
    ) -> Result<Vec<Transfer>> {
        self.run(move |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO transfers (id, position, row, task, journal) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET row = ?3, task = ?4, journal = ?5",
            )?;
            let mut update =
                transaction.prepare_cached("UPDATE transfers SET position = ?2, row = ?3 WHERE id = ?1")?;
            let (mut rows, mut last) = (Vec::with_capacity(new.len()), behind);
            for (mut row, task, journal) in new {
                let id = (row.id.0 > 0).then_some(row.id.0);
                let journal = journal.as_ref().map(json).transpose()?;
                insert.execute(params![id, 0, json(&row)?, json(&task)?, journal])?;
                row.id = TransferId(id.unwrap_or_else(|| transaction.last_insert_rowid().unsigned_abs()));
                // Rows that were moved to the end may stand behind the place of the next id.
                last = (row.id.0.cast_signed() << 20).max(last + (1 << 20));
                row.position = last;
                update.execute(params![row.id.0, row.position, json(&row)?])?;
                rows.push(row);
            }
            Ok(rows)
        })
        .await
    }

    /// Writes rows as they are now. They are handed over by the call itself, so that the order of calls is that on disk;
    /// the answer comes when they are there.
    pub fn save_rows(&self, rows: Vec<Transfer>) -> impl Future<Output = Result<()>> + Send + use<> {
        let handed_over =
            self.hand_over(move |transaction| rows.iter().try_for_each(|row| save_row(transaction, row)));
        async move { handed_over?.await.map_err(|_| Error::internal("The database thread has ended"))? }
    }

    /// Writes a row without waiting for the disk.
    pub fn save_row_later(&self, row: Transfer) {
        self.later(move |transaction| save_row(transaction, &row));
    }

    /// Writes a task as it is now.
    pub async fn save_task(&self, id: TransferId, task: Task) -> Result<()> {
        self.run(move |transaction| save_task(transaction, id, &task)).await
    }

    /// Writes a task without waiting for the disk.
    pub fn save_task_later(&self, id: TransferId, task: Task) {
        self.later(move |transaction| save_task(transaction, id, &task));
    }

    /// Writes where a download goes and how far it is, both or neither.
    pub async fn save_place(&self, id: TransferId, task: Task, journal: Option<Journal>) -> Result<()> {
        self.run(move |transaction| {
            let journal = journal.as_ref().map(json).transpose()?;
            transaction.execute(
                "UPDATE transfers SET task = ?2, journal = ?3 WHERE id = ?1",
                params![id.0, json(&task)?, journal],
            )?;
            Ok(())
        })
        .await
    }

    /// Writes how far a download is. Comes after the data's own sync, so it may be a moment late, never early.
    pub fn save_journal(&self, id: TransferId, journal: &Journal) {
        let journal = json(journal).unwrap_or_default();
        self.later(move |transaction| save_journal(transaction, id, &journal));
    }

    /// Writes a journal, on disk before this returns. Blocks.
    pub fn save_journal_now(&self, id: TransferId, journal: &Journal) -> Result<()> {
        let journal = json(journal).map_err(|error| from_sqlite(&error))?;
        let saved = self.hand_over(move |transaction| save_journal(transaction, id, &journal))?;
        saved.blocking_recv().map_err(|_| Error::internal("The database thread has ended"))?
    }

    /// The journal of a download; `None` when there is none that can be read.
    pub async fn journal(&self, id: TransferId) -> Result<Option<Journal>> {
        self.run(move |transaction| {
            let text: Option<Option<String>> = transaction
                .query_row("SELECT journal FROM transfers WHERE id = ?1", [id.0], |row| row.get(0))
                .optional()?;
            Ok(text.flatten().and_then(|text| Journal::read(&text)))
        })
        .await
    }

    /// Takes rows off the list.
    pub async fn remove(&self, ids: Vec<TransferId>) -> Result<()> {
        self.run(move |transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM transfers WHERE id = ?1")?;
            ids.iter().try_for_each(|id| delete.execute([id.0]).map(drop))
        })
        .await
    }

    /// Adds a line to a transfer's history.
    pub fn tell(&self, id: TransferId, at: u64, text: &Words) {
        let text = text.to_column();
        self.later(move |transaction| {
            // The row may have been removed meanwhile; then nobody wants its history.
            let mut insert = transaction.prepare_cached(
                "INSERT INTO timeline (transfer, at, text) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM transfers WHERE id = ?1)",
            )?;
            insert.execute(params![id.0, at, text]).map(drop)
        });
    }

    /// A transfer's history, oldest first.
    pub async fn timeline(&self, id: TransferId) -> Result<Vec<TimelineEntry>> {
        self.run(move |transaction| {
            let mut select = transaction
                .prepare_cached("SELECT at, text FROM timeline WHERE transfer = ?1 ORDER BY at, rowid")?;
            let rows = select.query_map([id.0], |row| {
                Ok(TimelineEntry { at: row.get(0)?, text: Words::from_column(row.get(1)?) })
            })?;
            rows.collect()
        })
        .await
    }
}

pub(super) fn save_row(transaction: &Transaction<'_>, row: &Transfer) -> rusqlite::Result<()> {
    let mut update =
        transaction.prepare_cached("UPDATE transfers SET position = ?2, row = ?3 WHERE id = ?1")?;
    update.execute(params![row.id.0, row.position, json(row)?])?;
    Ok(())
}

pub(super) fn save_journal(
    transaction: &Transaction<'_>,
    id: TransferId,
    journal: &str,
) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE transfers SET journal = ?2 WHERE id = ?1")?;
    update.execute(params![id.0, journal]).map(drop)
}

pub(super) fn save_task(transaction: &Transaction<'_>, id: TransferId, task: &Task) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE transfers SET task = ?2 WHERE id = ?1")?;
    update.execute(params![id.0, json(task)?]).map(drop)
}
