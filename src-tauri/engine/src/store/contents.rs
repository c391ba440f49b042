//! What is remembered of the contents of files, and what was learned of services.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Sha256, Store};
use crate::error::Result;
use crate::upload::source_file::Sighting;

/// So many files that were read are remembered, those that were read last.
pub(super) const CONTENTS: i64 = 200_000;

/// What may be compared with a file: it arrived, and it was sent from here, so that its SHA-256 is known. A CRC can be had
/// by anybody, and a line of an imported library is anybody's word.
pub(super) const RECOGNISABLE: &str = "sha256 IS NOT NULL AND status IN ('sent', 'confirmed')";

impl Store {
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

pub(super) fn all_learned(connection: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    let mut select = connection.prepare("SELECT key, value FROM learned")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
