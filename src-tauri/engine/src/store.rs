//! The queue and the library on disk: one SQLite file (WAL), written by one thread.
//!
//! Jobs that are waiting together are committed together (group commit), so a burst of small transfers costs a
//! few syncs, not one each. An answer is given only after the commit: what a caller was told is on disk. What nobody
//! waits for takes part in the next commit that somebody does wait for, or in one of its own soon after.

mod news;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use rusqlite_migration::{M, Migrations};
use tokio::sync::{Notify, oneshot};

use crate::asset::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::files::own_folder;
use crate::foreign::Foreign;
use crate::library_copy::LibraryCopy;
use crate::seams::{self, Seams};
use crate::search::{self, Search};
use crate::service::ServiceId;
use crate::task::{Journal, Task};
use crate::transfer::{TimelineEntry, Transfer, TransferId};
use crate::upload::source_file::Sighting;
use crate::words::{Count, Phrase, Words, shown};
use news::LibraryNews;

/// The most jobs that share one commit.
const GROUP: usize = 256;
/// How long a job that nobody waits for may wait for company.
const LATER: Duration = Duration::from_millis(100);

/// So many imported assets are written into the copy of the library in one go.
const COPIED: usize = 1024;

/// So many rows of a long list are made sense of in one go.
const TEXTS: usize = 256;
/// So many goes wait for somebody to do that: memory is bounded.
const WAITING_TEXTS: usize = 16;
const MOST_HELPERS: usize = 4;

const MIGRATIONS: &[M<'static>] = &[
    M::up(
        "CREATE TABLE transfers (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        position INTEGER NOT NULL,
        row      TEXT NOT NULL,      -- what the faces show, as JSON
        task     TEXT NOT NULL,      -- what was asked for, as JSON
        journal  TEXT                -- how far a download is provable, as JSON
     ) STRICT;
     CREATE TABLE timeline (
        transfer INTEGER NOT NULL REFERENCES transfers(id) ON DELETE CASCADE,
        at       INTEGER NOT NULL,   -- milliseconds since 1970
        text     TEXT NOT NULL
     ) STRICT;
     CREATE INDEX timeline_of ON timeline(transfer, at);
     CREATE TABLE assets (
        service  TEXT NOT NULL,
        asset_id TEXT NOT NULL,
        name     TEXT NOT NULL,
        size     INTEGER,
        crc32c   TEXT,
        status   TEXT NOT NULL,
        at       INTEGER NOT NULL,   -- milliseconds since 1970
        PRIMARY KEY (service, asset_id)
     ) STRICT;
     CREATE INDEX assets_by_time ON assets(at);
     CREATE TABLE learned (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;",
    ),
    M::up(
        "CREATE INDEX assets_by_size ON assets(service, size);
     CREATE TABLE contents (         -- what is in files that were read, so that they need not be read again
        path     TEXT PRIMARY KEY,
        size     INTEGER NOT NULL,
        modified INTEGER NOT NULL,   -- nanoseconds since 1970
        inode    INTEGER NOT NULL,
        changed  INTEGER NOT NULL,   -- anything about the file, nanoseconds since 1970
        crc32c   INTEGER NOT NULL
     ) STRICT;",
    ),
    // Only for what was sent from here and what is in files here: nothing that is imported brings it along.
    M::up(
        "ALTER TABLE assets ADD COLUMN sha256 BLOB;
     ALTER TABLE contents ADD COLUMN sha256 BLOB;
     CREATE INDEX assets_sent ON assets(service, size) WHERE sha256 IS NOT NULL;",
    ),
];

/// A SHA-256 of some content.
pub(crate) type Sha256 = [u8; 32];

/// So many files that were read are remembered, those that were read last.
const CONTENTS: i64 = 200_000;

/// What may be compared with a file: it arrived, and it was sent from here, so that its SHA-256 is known. A CRC can be had
/// by anybody, and a line of an imported library is anybody's word.
const RECOGNISABLE: &str = "sha256 IS NOT NULL AND status IN ('sent', 'confirmed')";

/// What is to be written, and what is to be said when it was committed or not.
type Work = Box<dyn FnOnce(&mut Transaction<'_>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(std::result::Result<(), &rusqlite::Error>) + Send>;

/// Work for the writing thread.
struct Job {
    work: Work,
    /// Nobody waits for it.
    later: bool,
}

/// One stored transfer. What is large of it is in boxes, which stay where they are as it goes from hand to hand: moved
/// rows would leave holes in memory that nothing fills.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The row as it was last written.
    pub row: Box<Transfer>,
    /// What it was asked to do.
    pub task: Box<Task>,
    /// How far a download is provable.
    pub journal: Option<Box<Journal>>,
}

impl Stored {
    /// Reads the three texts of one row. Without its journal a download begins anew; without the others there is nothing.
    pub fn read(row: &str, task: &str, journal: Option<&str>) -> Option<Self> {
        let row = serde_json::from_str(row).ok()?;
        let mut task: Box<Task> = serde_json::from_str(task).ok()?;
        task.without_secrets();
        Some(Self { row, task, journal: journal.and_then(Journal::read).map(Box::new) })
    }
}

/// A database that was just opened.
pub(crate) struct Opened {
    /// The handle.
    pub store: Store,
    /// Every transfer in it that can be read.
    pub stored: Vec<Stored>,
    /// Those that cannot.
    pub unreadable: Vec<TransferId>,
    /// What the user must be told: it was broken, where it is kept, what came back.
    pub notes: Vec<Words>,
    /// The highest id that this list has ever given.
    pub last_id: TransferId,
}

/// The handle of the writing thread.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
    /// For one who has no thread to wait for jobs.
    has_jobs: Arc<Notify>,
    library: Arc<LibraryCopy>,
    /// What of the library is still to be told to listeners.
    pub news: Arc<LibraryNews>,
    /// What the database has of it: a handful of words that every upload asks for.
    learned: Arc<Mutex<HashMap<String, String>>>,
    /// Whether `contents` is sound. One look at a damaged page would fail the commit with everything else in it.
    has_contents: Arc<AtomicBool>,
}

impl Store {
    /// Opens the database as it is opened everywhere but in some tests.
    #[cfg(test)]
    pub fn open(path: &Path) -> Result<Opened> {
        Self::open_with(path, &Seams::default())
    }

    /// Opens the database. A broken one is set aside, and the note says where; it is never silently emptied.
    pub fn open_with(path: &Path, seams: &Seams) -> Result<Opened> {
        let library = Arc::new(LibraryCopy::beside(path));
        let damage = if is_emptied(path) {
            // SQLite would take it for a new one, and everything would be gone in silence.
            Err("it is empty".to_owned())
        } else {
            match connect_and_load(path) {
                Ok(read) => Ok(read),
                Err(error) if is_broken(&error) => Err(error.to_string()),
                Err(error) => return Err(unusable(path, &error)),
            }
        };
        let ((mut connection, (stored, unreadable), last_id), mut notes) = match damage {
            Ok(read) => (read, Vec::new()),
            Err(why) => {
                let aside = set_aside(path)?;
                let damaged = Phrase::ListDamaged { why: why.into(), aside: shown(&aside) };
                (connect_and_load(path).map_err(|error| unusable(path, &error))?, vec![damaged.into()])
            }
        };
        if seams.is_unsynced {
            let unsynced = connection.pragma_update(None, "synchronous", "OFF");
            unsynced.map_err(|error| unusable(path, &error))?;
        }
        let count = "SELECT count(*) FROM assets";
        let count: usize =
            connection.query_row(count, [], |row| row.get(0)).map_err(|error| unusable(path, &error))?;
        // Empty also after a start that was cut off between the new database and the library in it.
        if count == 0 {
            let count =
                bring_back(&mut connection, &library.read()).map_err(|error| unusable(path, &error))?;
            if count > 0 {
                notes.push(Phrase::LibraryBack { count: Count(count as u64) }.into());
            }
        }
        let learned = all_learned(&connection).map_err(|error| unusable(path, &error))?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (copy, has_contents) = (Arc::clone(&library), Arc::<AtomicBool>::default());
        let (found_sound, has_jobs) = (Arc::clone(&has_contents), Arc::<Notify>::default());
        let look_through = move |connection: &Connection| {
            match all_assets(connection) {
                Ok(assets) => copy.catch_up(&assets),
                Err(error) => tracing::warn!(%error, "the copy of the library was left as it is"),
            }
            match check_contents(connection).as_deref() {
                Ok("ok") => found_sound.store(true, Ordering::Relaxed),
                damage => tracing::warn!(?damage, "what was read before is read again"),
            }
        };
        if let Some(turns) = &seams.turns_of_the_disk {
            look_through(&connection);
            let (turns, has_jobs) = (Arc::clone(turns), Arc::clone(&has_jobs));
            tokio::spawn(write_jobs_in_turn(connection, inbox, has_jobs, move || turns()));
        } else {
            let thread = std::thread::Builder::new().name("ferry-store".into());
            let work = move || {
                look_through(&connection);
                write_jobs(connection, &inbox);
            };
            thread.spawn(work).map_err(|error| {
                Error::internal("The database thread did not start").because(error.to_string())
            })?;
        }
        let store = Self {
            jobs,
            has_jobs,
            library,
            news: Arc::default(),
            learned: Arc::new(Mutex::new(learned)),
            has_contents,
        };
        Ok(Opened { store, stored, unreadable, notes, last_id })
    }

    /// Runs a job in the next commit and answers when that commit is on disk.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.hand_over(job)?.await.map_err(|_| Error::internal("The database thread has ended"))?
    }

    /// Runs a job that changes the library and answers what it changed. That is told once it is committed, also if nobody
    /// waits for the answer any more.
    async fn change_library(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Vec<Asset>> + Send + 'static,
    ) -> Result<()> {
        let news = Arc::clone(&self.news);
        let answered = self.hand_over_and(job, move |changed| news.note(changed))?;
        answered.await.map_err(|_| Error::internal("The database thread has ended"))?.map(drop)
    }

    /// Hands a job over whose answer is waited for.
    fn hand_over<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        self.hand_over_and(job, |_| ())
    }

    /// Hands a job over, and what is to be done with its result by the writing thread once that is on disk.
    fn hand_over_and<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
        when_committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |transaction| {
            let result = in_savepoint(transaction, job);
            Box::new(move |committed| {
                let result = match (result, committed) {
                    (Ok(value), Ok(())) => {
                        when_committed(&value);
                        Ok(value)
                    }
                    (Err(error), _) => Err(from_sqlite(&error)),
                    (_, Err(error)) => Err(from_sqlite(error)),
                };
                // Nobody waits for the answer any more: the work is done all the same.
                let _ = answer.send(result);
            })
        });
        let job = Job { work, later: false };
        self.jobs.send(job).map_err(|_| Error::internal("The database thread has ended"))?;
        self.has_jobs.notify_one();
        Ok(answered)
    }

    /// Hands a job over without waiting for its commit, for what may be a moment old after a crash.
    pub fn later(&self, job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static) {
        let work: Work = Box::new(move |transaction| {
            let result = in_savepoint(transaction, job);
            Box::new(move |committed| {
                if let Err(error) = result {
                    tracing::warn!(%error, "a background write to the database failed");
                } else if let Err(error) = committed {
                    tracing::warn!(%error, "a background write to the database was not committed");
                }
            })
        });
        if self.jobs.send(Job { work, later: true }).is_err() {
            tracing::error!("the database thread has ended");
        }
        self.has_jobs.notify_one();
    }

    /// Waits until everything that was handed over before is on disk.
    pub async fn flush(&self) -> Result<()> {
        self.run(|_| Ok(())).await
    }

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

    /// Writes an asset into the library, or what is new about it.
    pub async fn save_asset(&self, asset: Asset) -> Result<()> {
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let now = upsert(transaction, &asset)?;
            library.append(&asset);
            Ok(vec![now])
        })
        .await
    }

    /// The same for one that was just sent, with what it holds.
    pub async fn save_sent(&self, asset: Asset, sha256: Sha256) -> Result<()> {
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let now = upsert(transaction, &asset)?;
            transaction
                .prepare_cached("UPDATE assets SET sha256 = ?3 WHERE service = ?1 AND asset_id = ?2")?
                .execute(params![asset.service, asset.asset_id, sha256])?;
            library.append(&asset);
            Ok(vec![now])
        })
        .await
    }

    /// Takes assets of another library in; what is known here stays. Says how many were new.
    pub async fn import_assets(&self, assets: Vec<Asset>) -> Result<u64> {
        let (new, changed) = self
            .run(move |transaction| {
                let count = || transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0));
                let before: u64 = count()?;
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO assets (service, asset_id, name, size, crc32c, status, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (service, asset_id) DO UPDATE SET
                       size = coalesce(size, excluded.size), crc32c = coalesce(crc32c, excluded.crc32c)
                     WHERE (size IS NULL AND excluded.size IS NOT NULL)
                        OR (crc32c IS NULL AND excluded.crc32c IS NOT NULL)",
                )?;
                let mut changed = Vec::new();
                for asset in assets {
                    let Asset { service, asset_id, name, size, crc32c, status, at } = asset;
                    let values = params![service, asset_id, name, size, crc32c, status_word(status), at];
                    if insert.execute(values)? > 0 {
                        changed.push((service, asset_id));
                    }
                }
                Ok((count()? - before, changed))
            })
            .await?;
        // In portions, so that others need not wait for all of it; what a kill leaves out is added at the next start.
        for portion in changed.chunks(COPIED) {
            let (portion, library) = (portion.to_vec(), Arc::clone(&self.library));
            self.change_library(move |transaction| {
                // As it is by now: what comes later in the copy counts.
                let mut select = transaction.prepare_cached(
                    "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                     WHERE service = ?1 AND asset_id = ?2",
                )?;
                let mut now = |(service, asset_id): &(ServiceId, Foreign)| {
                    select.query_row(params![service, asset_id], read_asset)
                };
                let assets = portion.iter().map(&mut now).collect::<rusqlite::Result<Vec<_>>>()?;
                library.append_all(&assets);
                Ok(assets)
            })
            .await?;
        }
        Ok(new)
    }

    /// Changes how an asset stands.
    pub async fn set_asset_status(&self, service: &str, asset_id: &str, status: AssetStatus) -> Result<()> {
        let (service, asset_id) = (service.to_owned(), asset_id.to_owned());
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let changed = transaction
                .query_row(
                    "UPDATE assets SET status = ?3 WHERE service = ?1 AND asset_id = ?2
                     RETURNING service, asset_id, name, size, crc32c, status, at",
                    params![service, asset_id, status_word(status)],
                    read_asset,
                )
                .optional()?;
            if let Some(asset) = &changed {
                library.append(asset);
            }
            Ok(Vec::from_iter(changed))
        })
        .await
    }

    /// Assets whose name or id holds the text, newest first; all of them for an empty text.
    pub async fn assets(&self, search: &str) -> Result<Vec<Asset>> {
        let search = Search::new(search);
        self.run(move |transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                 WHERE finds(name, ?1) OR finds(asset_id, ?1) ORDER BY at DESC, rowid DESC",
            )?;
            let rows = select.query_map([search], read_asset)?;
            rows.collect()
        })
        .await
    }

    /// How many assets there are.
    pub async fn asset_count(&self) -> Result<u64> {
        self.run(|transaction| {
            let count: i64 = transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    /// One asset, by id, at one service or wherever it was last seen.
    pub async fn asset(&self, service: Option<&str>, asset_id: &str) -> Result<Option<Asset>> {
        let (service, asset_id) = (service.map(str::to_owned), asset_id.to_owned());
        self.run(move |transaction| {
            transaction
                .query_row(
                    "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                     WHERE asset_id = ?1 AND (?2 IS NULL OR service = ?2) ORDER BY at DESC LIMIT 1",
                    params![asset_id, service],
                    read_asset,
                )
                .optional()
        })
        .await
    }

    /// Whether anything that was sent to this service can be recognised.
    pub async fn has_sent(&self, service: &str) -> Result<bool> {
        let service = service.to_owned();
        self.run(move |transaction| {
            let any = format!("SELECT 1 FROM assets WHERE service = ?1 AND {RECOGNISABLE} LIMIT 1");
            transaction.prepare_cached(&any)?.exists([service])
        })
        .await
    }

    /// What was sent to this service and has one of these sizes, newest first.
    pub async fn sent_with_sizes(&self, service: &str, sizes: Vec<u64>) -> Result<Vec<(Asset, Sha256)>> {
        let service = service.to_owned();
        self.run(move |transaction| {
            let mut select = transaction.prepare_cached(&format!(
                "SELECT service, asset_id, name, size, crc32c, status, at, sha256 FROM assets
                 WHERE service = ?1 AND size = ?2 AND {RECOGNISABLE} ORDER BY at DESC, rowid DESC"
            ))?;
            let mut assets = Vec::new();
            for size in sizes {
                for asset in
                    select.query_map(params![service, size], |row| Ok((read_asset(row)?, row.get(7)?)))?
                {
                    assets.push(asset?);
                }
            }
            Ok(assets)
        })
        .await
    }

    /// The SHA-256 of each of these files, where it was read before and the file is still as it was then.
    pub async fn known_contents(&self, files: Vec<(PathBuf, Sighting)>) -> Result<Vec<Option<Sha256>>> {
        let has_contents = Arc::clone(&self.has_contents);
        self.run(move |transaction| {
            if !has_contents.load(Ordering::Relaxed) {
                return Ok(vec![None; files.len()]);
            }
            let mut select = transaction.prepare_cached(
                "SELECT sha256 FROM contents
                 WHERE sha256 IS NOT NULL AND path = ?1 AND size = ?2 AND modified = ?3 AND inode = ?4 AND changed = ?5",
            )?;
            let mut known = |(path, Sighting { state, changed, .. }): &(PathBuf, Sighting)| {
                // The database's numbers have a sign: what is too high for it is a number all the same.
                let (modified, inode) = (state.modified.cast_signed(), state.inode.cast_signed());
                let asked = params![path.to_str(), state.size, modified, inode, changed];
                select.query_row(asked, |row| row.get(0)).optional()
            };
            files.iter().map(&mut known).collect()
        })
        .await
    }

    /// Remembers which content a file has, without waiting for the disk.
    pub fn keep_content(&self, path: &Path, file: Sighting, crc32c: u32, sha256: Sha256) {
        // Only what is text is ever sent to a service.
        let Some(path) = path.to_str().map(str::to_owned) else { return };
        let has_contents = Arc::clone(&self.has_contents);
        self.later(move |transaction| {
            if !has_contents.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut keep = transaction.prepare_cached(
                "INSERT OR REPLACE INTO contents (path, size, modified, inode, changed, crc32c, sha256)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            let Sighting { state, changed, .. } = file;
            let (modified, inode) = (state.modified.cast_signed(), state.inode.cast_signed());
            keep.execute(params![path, state.size, modified, inode, changed, crc32c, sha256])?;
            // Each new row has a higher id than all others.
            let oldest = transaction.last_insert_rowid() - CONTENTS;
            transaction.prepare_cached("DELETE FROM contents WHERE rowid <= ?1")?.execute([oldest]).map(drop)
        });
    }

    /// What was learned under this key ("the method that worked").
    pub fn learned(&self, key: &str) -> Option<String> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Remembers something under a key.
    pub fn learn(&self, key: String, value: String) {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), value.clone());
        self.later(move |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO learned (key, value) VALUES (?1, ?2)",
                params![key, value],
            )?;
            Ok(())
        });
    }
}

impl ToSql for ServiceId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for ServiceId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(Self::from)
    }
}

impl ToSql for Foreign {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// What an earlier Ferry, or another hand, wrote is cleaned as it is read.
impl FromSql for Foreign {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(Self::from)
    }
}

fn save_row(transaction: &Transaction<'_>, row: &Transfer) -> rusqlite::Result<()> {
    let mut update =
        transaction.prepare_cached("UPDATE transfers SET position = ?2, row = ?3 WHERE id = ?1")?;
    update.execute(params![row.id.0, row.position, json(row)?])?;
    Ok(())
}

fn save_journal(transaction: &Transaction<'_>, id: TransferId, journal: &str) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE transfers SET journal = ?2 WHERE id = ?1")?;
    update.execute(params![id.0, journal]).map(drop)
}

fn save_task(transaction: &Transaction<'_>, id: TransferId, task: &Task) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE transfers SET task = ?2 WHERE id = ?1")?;
    update.execute(params![id.0, json(task)?]).map(drop)
}

fn read_asset(row: &rusqlite::Row<'_>) -> rusqlite::Result<Asset> {
    Ok(Asset {
        service: row.get(0)?,
        asset_id: row.get(1)?,
        name: row.get(2)?,
        size: row.get(3)?,
        crc32c: row.get(4)?,
        status: match row.get::<_, String>(5)?.as_str() {
            "sent" => AssetStatus::Sent,
            "confirmed" => AssetStatus::Confirmed,
            "seen" => AssetStatus::Seen,
            "abandoned" => AssetStatus::Abandoned,
            "deleted" => AssetStatus::Deleted,
            _ => AssetStatus::Begun,
        },
        at: row.get(6)?,
    })
}

fn status_word(status: AssetStatus) -> &'static str {
    match status {
        AssetStatus::Begun => "begun",
        AssetStatus::Sent => "sent",
        AssetStatus::Confirmed => "confirmed",
        AssetStatus::Seen => "seen",
        AssetStatus::Abandoned => "abandoned",
        AssetStatus::Deleted => "deleted",
    }
}

/// Writes an asset down and answers how it stands then. A file that was only seen changes nothing about how it was sent: its
/// name here may be another.
fn upsert(connection: &Connection, asset: &Asset) -> rusqlite::Result<Asset> {
    connection
        .prepare_cached(
            "INSERT INTO assets (service, asset_id, name, size, crc32c, status, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (service, asset_id) DO UPDATE SET
               name = CASE WHEN excluded.status = 'seen' THEN name ELSE excluded.name END,
               size = coalesce(excluded.size, size), crc32c = coalesce(excluded.crc32c, crc32c),
               status = CASE WHEN excluded.status = 'seen' THEN status ELSE excluded.status END,
               at = CASE WHEN excluded.status = 'seen' THEN at ELSE excluded.at END
             RETURNING service, asset_id, name, size, crc32c, status, at",
        )?
        .query_row(
            params![
                asset.service,
                asset.asset_id,
                asset.name,
                asset.size,
                asset.crc32c,
                status_word(asset.status),
                asset.at
            ],
            read_asset,
        )
}

/// Fills a new database from the copy of the library; says how many assets there are then.
fn bring_back(connection: &mut Connection, assets: &[Asset]) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    for asset in assets {
        upsert(&transaction, asset)?;
    }
    let count = transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(count)
}

fn all_assets(connection: &Connection) -> rusqlite::Result<Vec<Asset>> {
    let mut select = connection
        .prepare("SELECT service, asset_id, name, size, crc32c, status, at FROM assets ORDER BY rowid")?;
    select.query_map([], read_asset)?.collect()
}

fn all_learned(connection: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    let mut select = connection.prepare("SELECT key, value FROM learned")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A job that fails takes back its own changes only, not those of the jobs committed with it.
fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
    match job(transaction) {
        Ok(value) => transaction.prepare_cached("RELEASE job")?.execute([]).map(|_| value),
        Err(error) => {
            transaction.execute_batch("ROLLBACK TO job; RELEASE job")?;
            Err(error)
        }
    }
}

fn write_jobs(mut connection: Connection, inbox: &mpsc::Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let jobs = gather(first, inbox);
        commit(&mut connection, jobs);
    }
}

/// The same without a thread ([`Seams::turns_of_the_disk`]).
async fn write_jobs_in_turn(
    mut connection: Connection,
    inbox: mpsc::Receiver<Job>,
    has_jobs: Arc<Notify>,
    turns: impl Fn() -> usize,
) {
    loop {
        has_jobs.notified().await;
        seams::pass(turns()).await;
        let jobs: Vec<Job> = inbox.try_iter().collect();
        if !jobs.is_empty() {
            commit(&mut connection, jobs);
        }
    }
}

fn commit(connection: &mut Connection, jobs: Vec<Job>) {
    let mut answers = Vec::with_capacity(jobs.len());
    let committed = match connection.transaction() {
        Ok(mut transaction) => {
            answers.extend(jobs.into_iter().map(|job| (job.work)(&mut transaction)));
            transaction.commit()
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &committed {
        tracing::error!(%error, "the database could not be written");
    }
    for answer in answers {
        answer(committed.as_ref().copied());
    }
}

/// Everything that is waiting, in order. While nobody waits for any of it, there is time for more.
fn gather(first: Job, inbox: &mpsc::Receiver<Job>) -> Vec<Job> {
    let until = Instant::now() + LATER;
    let mut somebody_waits = !first.later;
    let mut jobs = vec![first];
    while jobs.len() < GROUP {
        let next = if somebody_waits {
            inbox.try_recv().ok()
        } else {
            inbox.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        };
        let Some(job) = next else { break };
        somebody_waits |= !job.later;
        jobs.push(job);
    }
    jobs
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    // SQLite makes it by the umask, and gives its helper files the rights that it has when they are made.
    own_folder::close_if_open(path);
    // One process has the data folder, by its own lock: SQLite needs none for every commit.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    search::add_to(&connection)?;
    Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err,
        other => rusqlite::Error::ToSqlConversionFailure(other.into()),
    })?;
    Ok(connection)
}

/// Damage shows itself at the first read of the page that has it: reading is part of opening.
fn connect_and_load(path: &Path) -> rusqlite::Result<(Connection, Loaded, TransferId)> {
    let mut connection = connect(path)?;
    // Damage there would otherwise show only when the library is looked at. The texts themselves are asked for: a count
    // is content with an index. What only saves reading files again may be damaged: it is then left alone.
    for (text, table) in [("text", "timeline"), ("name", "assets"), ("value", "learned")] {
        let read_all = format!("SELECT total(length({text})) FROM {table}");
        connection.query_row(&read_all, [], |row| row.get::<_, f64>(0))?;
    }
    let last_id = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'transfers'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let stored = load(&mut connection)?;
    Ok((connection, stored, TransferId(last_id)))
}

/// "ok", or what is wrong with the table and its index.
fn check_contents(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(contents)", [], |row| row.get(0))
}

fn is_emptied(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == 0)
}

/// What can be read, and the ids of the rest.
type Loaded = (Vec<Stored>, Vec<TransferId>);

fn load(connection: &mut Connection) -> rusqlite::Result<Loaded> {
    let mut select = connection.prepare("SELECT id, row, task, journal FROM transfers")?;
    let mut rows = select.query([])?;
    let mut texts = Texts::read(&mut rows)?;
    if texts.rows.len() < TEXTS {
        return Ok(texts.parse());
    }
    // Making sense of the texts takes longer than reading them: others do that meanwhile.
    let (sender, inbox) = mpsc::sync_channel::<Texts>(WAITING_TEXTS);
    let inbox = Mutex::new(inbox);
    let parse_all = || {
        let next = || inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
        std::iter::from_fn(next).map(Texts::parse).collect::<Vec<Loaded>>()
    };
    let (read, parsed) = std::thread::scope(|scope| {
        let helpers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_HELPERS);
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(parse_all)).collect();
        let mut read = Ok(());
        while !texts.rows.is_empty() && sender.send(texts).is_ok() {
            texts = Texts::read(&mut rows).unwrap_or_else(|error| {
                read = Err(error);
                Texts::default()
            });
        }
        drop(sender);
        let parsed: Vec<_> = helpers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (read, parsed)
    });
    read?;
    let (mut stored, mut unreadable) = Loaded::default();
    for parsed in parsed {
        for (some, others) in parsed.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            stored.extend(some);
            unreadable.extend(others);
        }
    }
    Ok((stored, unreadable))
}

/// Rows as they lie in the database: id, and where its row, task and journal end in the text.
#[derive(Default)]
struct Texts {
    text: String,
    rows: Vec<(i64, usize, usize, Option<usize>)>,
}

impl Texts {
    /// The next so many rows, or what is left.
    fn read(from: &mut rusqlite::Rows<'_>) -> rusqlite::Result<Self> {
        let mut texts = Self::default();
        while texts.rows.len() < TEXTS
            && let Some(row) = from.next()?
        {
            let mut end = |column: usize| -> rusqlite::Result<Option<usize>> {
                // What is no text is a row that cannot be read, and takes no other with it.
                let text = row.get_ref(column)?.as_str_or_null().unwrap_or(Some(""));
                texts.text.push_str(text.unwrap_or_default());
                Ok(text.map(|_| texts.text.len()))
            };
            let (row_end, task_end, journal_end) = (end(1)?, end(2)?, end(3)?);
            let row_end = row_end.unwrap_or(texts.rows.last().map_or(0, Self::end_of));
            let task_end = task_end.unwrap_or(row_end);
            texts.rows.push((row.get(0)?, row_end, task_end, journal_end));
        }
        Ok(texts)
    }

    /// Where the texts of a row end.
    fn end_of((_, _, task, journal): &(i64, usize, usize, Option<usize>)) -> usize {
        journal.unwrap_or(*task)
    }

    fn parse(self) -> Loaded {
        let (mut stored, mut unreadable) = (Vec::with_capacity(self.rows.len()), Vec::new());
        let mut begin = 0;
        for (id, row, task, journal) in self.rows {
            let journal_text = journal.map(|end| &self.text[task..end]);
            match Stored::read(&self.text[begin..row], &self.text[row..task], journal_text) {
                Some(transfer) => stored.push(transfer),
                // One unreadable row must not take the others with it; it stays in the file for a repair.
                None => unreadable.push(TransferId(id.unsigned_abs())),
            }
            begin = journal.unwrap_or(task);
        }
        (stored, unreadable)
    }
}

fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as C;
    matches!(error.sqlite_error_code(), Some(C::DatabaseCorrupt | C::NotADatabase))
}

fn set_aside(path: &Path) -> Result<PathBuf> {
    let stamp = crate::progress::now();
    let aside = path.with_extension(format!("db.broken-{stamp}"));
    std::fs::rename(path, &aside).map_err(|error| Error::target_io("Setting aside", path, &error))?;
    for suffix in ["-wal", "-shm"] {
        let (mut from, mut to) = (path.as_os_str().to_owned(), aside.as_os_str().to_owned());
        from.push(suffix);
        to.push(suffix);
        // Usually there is none.
        let _ = std::fs::rename(from, to);
    }
    Ok(aside)
}

fn is_full(path: &Path) -> bool {
    /// SQLite's shared memory file begins with this much.
    const LEAST: u64 = 32 * 1024;
    path.parent().and_then(crate::files::folder::free_space).is_some_and(|free| free < LEAST)
}

fn unusable(path: &Path, error: &rusqlite::Error) -> Error {
    if matches!(error, rusqlite::Error::ToSqlConversionFailure(_)) {
        return Error::new(Cause::Unsupported, Phrase::ListOfNewerFerry { path: shown(path) })
            .advise(Phrase::StartNewerFerry);
    }
    let mut fault = from_sqlite(error);
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) && is_full(path) {
        // Its helper files cannot grow: SQLite calls that an I/O error.
        fault.cause = Cause::DiskFull;
    }
    fault.what = Phrase::ListNotOpened { path: shown(path) }.into();
    fault
}

fn from_sqlite(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as C;
    let cause = match error.sqlite_error_code() {
        Some(C::DiskFull) => Cause::DiskFull,
        Some(C::ReadOnly | C::PermissionDenied | C::CannotOpen | C::SystemIoFailure) => {
            Cause::PermissionDenied
        }
        _ => Cause::Internal,
    };
    Error::new(cause, Phrase::ListNotWritten).because(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file in this folder, and how it is found.
    fn file(folder: &Path, name: &str) -> (PathBuf, Sighting) {
        let path = folder.join(name);
        std::fs::write(&path, name).unwrap();
        let mut sighting = Sighting::of(&path).unwrap();
        // As where the system tells it.
        sighting.changed = sighting.changed.or(Some(5));
        (path, sighting)
    }

    #[tokio::test]
    async fn what_was_imported_is_in_the_copy_as_the_list_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ferry.db");
        let asset = |number: usize, name: &str, size, status| Asset {
            service: "mavi".into(),
            asset_id: format!("re_{number}").into(),
            name: name.into(),
            size,
            crc32c: None,
            status,
            at: number as u64,
        };
        let store = Store::open(&path).unwrap().store;
        store.save_asset(asset(0, "mine", None, AssetStatus::Deleted)).await.unwrap();
        store.save_asset(asset(1, "whole", Some(1), AssetStatus::Confirmed)).await.unwrap();
        let theirs = (0..COPIED * 2 + 5).map(|n| asset(n, "theirs", Some(9), AssetStatus::Sent)).collect();
        assert_eq!(store.import_assets(theirs).await.unwrap(), COPIED as u64 * 2 + 3);
        let listed = store.assets("").await.unwrap();
        let copy = store.library.read();
        // Two that were here, the size of one of them, and all that is new.
        assert_eq!(copy.len(), 3 + COPIED * 2 + 3);
        assert_eq!(copy[2], asset(0, "mine", Some(9), AssetStatus::Deleted));
        for asset in &listed {
            let last = copy.iter().rfind(|line| line.asset_id == asset.asset_id);
            assert_eq!(last, Some(asset));
        }
    }

    #[tokio::test]
    async fn changes_of_the_library_are_told_as_they_stand_once_they_are_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ferry.db")).unwrap().store;
        let asset = |id: &str, name: &str, status| Asset {
            service: "mavi".into(),
            asset_id: id.into(),
            name: name.into(),
            size: None,
            crc32c: None,
            status,
            at: 7,
        };
        assert_eq!(store.news.take(), None);
        store.save_asset(asset("re_1", "mine", AssetStatus::Begun)).await.unwrap();
        store.set_asset_status("mavi", "re_1", AssetStatus::Abandoned).await.unwrap();
        store.save_sent(asset("re_2", "other", AssetStatus::Sent), [1; 32]).await.unwrap();
        store.set_asset_status("mavi", "re_none", AssetStatus::Deleted).await.unwrap();
        let told = store.news.take().unwrap();
        assert_eq!(
            told.changed,
            [
                asset("re_1", "mine", AssetStatus::Begun),
                asset("re_1", "mine", AssetStatus::Abandoned),
                asset("re_2", "other", AssetStatus::Sent),
            ]
        );
        assert!(!told.read_anew);
        store.save_asset(asset("re_2", "its name here", AssetStatus::Seen)).await.unwrap();
        assert_eq!(store.news.take().unwrap().changed, [asset("re_2", "other", AssetStatus::Sent)]);
        let many = (0..1_500).map(|n| asset(&format!("re_new_{n}"), "theirs", AssetStatus::Sent)).collect();
        store.import_assets(many).await.unwrap();
        assert!(store.news.take().unwrap().read_anew, "many are not told one by one");
        let many = (0..1_500).map(|n| asset(&format!("re_new_{n}"), "theirs", AssetStatus::Sent)).collect();
        store.import_assets(many).await.unwrap();
        assert_eq!(store.news.take(), None, "what was known already is no news");
    }

    #[tokio::test]
    async fn the_library_is_searched_in_any_script() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ferry.db");
        let store = Store::open(&path).unwrap().store;
        for (number, name) in
            ["Überfahrt 100%.mp4", "a_b.mov", "axb.mov", "Привет.txt"].into_iter().enumerate()
        {
            let asset = Asset {
                service: "mavi".into(),
                asset_id: format!("RE_{number}").into(),
                name: name.into(),
                size: None,
                crc32c: None,
                status: AssetStatus::Sent,
                at: number as u64,
            };
            store.save_asset(asset).await.unwrap();
        }
        let found = async |search: &str| {
            let assets = store.assets(search).await.unwrap();
            assets.into_iter().map(|asset| asset.name.to_string()).collect::<Vec<_>>()
        };
        for search in ["überfahrt", "UBERFAHRT", "u\u{308}berfahrt ", "100%", "re_0"] {
            assert_eq!(found(search).await, ["Überfahrt 100%.mp4"], "{search}");
        }
        assert_eq!(found("a_b").await, ["a_b.mov"]);
        assert_eq!(found("привет").await, ["Привет.txt"]);
        assert_eq!(found("").await.len(), 4);
        assert_eq!(found("none").await, [""; 0]);
    }

    #[tokio::test]
    async fn what_was_read_long_ago_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ferry.db")).unwrap().store;
        let files = ["old", "newer", "newest"].map(|name| file(folder.path(), name));
        for (number, (path, sighting)) in files.iter().enumerate() {
            if number == 2 {
                // As if so many had been read in between.
                let skipped = "UPDATE contents SET rowid = rowid + ?1 WHERE path LIKE '%newer'";
                store.run(move |list| list.execute(skipped, [CONTENTS - 2])).await.unwrap();
            }
            store.keep_content(path, *sighting, 0, [number as u8; 32]);
        }
        assert_eq!(store.known_contents(files.to_vec()).await.unwrap(), [None, Some([1; 32]), Some([2; 32])]);
    }

    #[tokio::test]
    async fn a_time_after_2262_is_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ferry.db")).unwrap().store;
        let mut files = vec![file(folder.path(), "now"), file(folder.path(), "then")];
        files[1].1.state.modified = u64::MAX;
        for (path, sighting) in &files {
            store.keep_content(path, *sighting, 3, [3; 32]);
        }
        assert_eq!(store.known_contents(files).await.unwrap(), [Some([3; 32]), Some([3; 32])]);
    }

    #[tokio::test]
    async fn damage_to_what_only_saves_reading_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ferry.db");
        let connection = connect(&path).unwrap();
        let root = "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'contents'";
        let roots: Vec<usize> = connection
            .prepare(root)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(roots.len(), 2, "the table and its index");
        let size: usize = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        connection.execute("INSERT INTO learned (key, value) VALUES ('a', 'b')", []).unwrap();
        connection.close().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for root in roots {
            bytes[(root - 1) * size..root * size].fill(0xa5);
        }
        std::fs::write(&path, bytes).unwrap();

        let Opened { store, notes, .. } = Store::open(&path).unwrap();
        assert_eq!(notes, []);
        let files = vec![file(folder.path(), "one")];
        store.keep_content(&files[0].0, files[0].1, 1, [1; 32]);
        assert_eq!(store.known_contents(files).await.unwrap(), [None]);
        assert_eq!(store.learned("a").as_deref(), Some("b"));
        store.learn("c".into(), "d".into());
        store.flush().await.unwrap();
        assert_eq!(store.run(|list| all_learned(list)).await.unwrap().len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_row_makes_it_panic_and_a_bad_one_hides_no_other(
            text in "\\PC{0,40}",
            words in "(\\{|\\}|\\[|\\]|\"|:|,|null|-1|18446744073709551616|\"pieces\"|\"start\"|\"state\"| ){0,30}",
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ferry.db");
            let mut connection = connect(&path).unwrap();
            let good = json(&Transfer::blank(TransferId(9))).unwrap();
            let task = r#"{"upload":{"path":"/a","method":null,"to_own_url":false,"source":null}}"#;
            for (id, row, task, journal) in
                [(1, &text, &text, &words), (2, &words, &text, &text), (3, &good, &task.to_owned(), &words)]
            {
                connection
                    .execute(
                        "INSERT INTO transfers (id, position, row, task, journal) VALUES (?1, ?1, ?2, ?3, ?4)",
                        params![id, row, task, journal],
                    )
                    .unwrap();
            }
            let (stored, unreadable) = load(&mut connection).unwrap();
            prop_assert!(stored.iter().any(|stored| stored.row.id == TransferId(9)));
            prop_assert_eq!(stored.len() + unreadable.len(), 3, "each is known, read or not");
        }
    }
}
