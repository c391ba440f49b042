//! The queue and the library on disk: one SQLite file (WAL), written by one thread.
//!
//! Jobs that are waiting together are committed together (group commit), so a burst of small transfers costs a
//! few syncs, not one each. An answer is given only after the commit: what a caller was told is on disk. What nobody
//! waits for takes part in the next commit that somebody does wait for, or in one of its own soon after.
//!
//! `database` is the file, `commits` its thread, `transfers`, `assets` and `contents` are what lies in it. Knows no queue and no
//! service. No lock is held over a wait; who stops waiting for an answer undoes nothing.

mod assets;
mod commits;
mod contents;
mod database;
mod news;
mod transfers;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use news::LibraryNews;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction};
use tokio::sync::{Notify, oneshot};

use crate::error::{Error, Result};
use crate::foreign::Foreign;
use crate::library_copy::LibraryCopy;
use crate::seams::Seams;
use crate::service::ServiceId;
use crate::task::{Journal, Task};
use crate::transfer::{Transfer, TransferId};
use crate::words::{Count, Phrase, Words, shown};
use assets::{all_assets, bring_back};
use commits::{Job, in_savepoint, write_jobs, write_jobs_in_turn};
use contents::all_learned;
use database::{check_contents, connect_and_load, from_sqlite, is_broken, is_emptied, set_aside, unusable};

/// How long a job that nobody waits for may wait for company.
const LATER: Duration = Duration::from_millis(100);

/// So many imported assets are written into the copy of the library in one go.
const COPIED: usize = 1024;

/// A SHA-256 of some content.
pub(crate) type Sha256 = [u8; 32];

/// What is to be written, and what is to be said when it was committed or not.
type Work = Box<dyn FnOnce(&mut Transaction<'_>) -> Answer + Send>;

type Answer = Box<dyn FnOnce(std::result::Result<(), &rusqlite::Error>) + Send>;

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

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::path::PathBuf;

    use rusqlite::params;

    use super::contents::CONTENTS;
    use super::database::{connect, load};
    use super::*;
    use crate::asset::{Asset, AssetStatus};
    use crate::upload::source_file::Sighting;

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
