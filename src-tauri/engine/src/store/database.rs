//! The file itself: its schema, reading it at the start, and what is done with a broken one.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};

use rusqlite::{Connection, OptionalExtension as _};
use rusqlite_migration::{M, Migrations};

use super::Stored;
use super::transfers::{TEXTS, WAITING_TEXTS};
use crate::error::{Cause, Error, Result};
use crate::files::own_folder;
use crate::search;
use crate::transfer::TransferId;
use crate::words::{Phrase, shown};

pub(super) const MOST_HELPERS: usize = 4;

pub(super) const MIGRATIONS: &[M<'static>] = &[
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

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
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
pub(super) fn connect_and_load(path: &Path) -> rusqlite::Result<(Connection, Loaded, TransferId)> {
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
pub(super) fn check_contents(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(contents)", [], |row| row.get(0))
}

pub(super) fn is_emptied(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == 0)
}

/// What can be read, and the ids of the rest.
pub(super) type Loaded = (Vec<Stored>, Vec<TransferId>);

pub(super) fn load(connection: &mut Connection) -> rusqlite::Result<Loaded> {
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
pub(super) struct Texts {
    pub(super) text: String,
    pub(super) rows: Vec<(i64, usize, usize, Option<usize>)>,
}

impl Texts {
    /// The next so many rows, or what is left.
    pub(super) fn read(from: &mut rusqlite::Rows<'_>) -> rusqlite::Result<Self> {
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
    pub(super) fn end_of((_, _, task, journal): &(i64, usize, usize, Option<usize>)) -> usize {
        journal.unwrap_or(*task)
    }

    pub(super) fn parse(self) -> Loaded {
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

pub(super) fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as C;
    matches!(error.sqlite_error_code(), Some(C::DatabaseCorrupt | C::NotADatabase))
}

pub(super) fn set_aside(path: &Path) -> Result<PathBuf> {
    let stamp = crate::seams::now();
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

pub(super) fn is_full(path: &Path) -> bool {
    /// SQLite's shared memory file begins with this much.
    const LEAST: u64 = 32 * 1024;
    path.parent().and_then(crate::files::folder::free_space).is_some_and(|free| free < LEAST)
}

pub(super) fn unusable(path: &Path, error: &rusqlite::Error) -> Error {
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

pub(super) fn from_sqlite(error: &rusqlite::Error) -> Error {
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
