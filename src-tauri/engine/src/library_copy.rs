//! A second copy of the library, beside the database: the services keep no list that could be asked for, so what was
//! sent and under which id is known here alone.
//!
//! `library.jsonl` holds one asset a line, in JSON; a later line of the same asset adds to the earlier ones. It is read
//! only when the database is lost. Lines are appended without a sync of their own: a power cut may take the last ones
//! from the copy, never from the database.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use crate::engine::Asset;

/// A copy with more lines than this for each asset is written anew.
const LINES_FOR_EACH: usize = 8;
/// A short copy is not worth the work.
const SHORT: usize = 1000;

/// The copy of one data folder.
#[derive(Debug)]
pub(crate) struct LibraryCopy {
    path: PathBuf,
}

impl LibraryCopy {
    /// The copy that belongs to this database.
    pub fn beside(database: &Path) -> Self {
        Self { path: database.with_file_name("library.jsonl") }
    }

    /// Adds what is now known about an asset.
    pub fn append(&self, asset: &Asset) {
        // The database has it; a full disk is said there.
        if let Err(error) = self.try_append(asset) {
            tracing::warn!(%error, "the copy of the library was not written");
        }
    }

    fn try_append(&self, asset: &Asset) -> std::io::Result<()> {
        // The line's end comes first: a line that a full disk tore apart must not spoil the next one.
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, asset)?;
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&line)
    }

    /// Every line that can be read, oldest first.
    pub fn read(&self) -> Vec<Asset> {
        let Ok(file) = File::open(&self.path) else { return Vec::new() };
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_slice(&line).ok()).collect()
    }

    /// Writes the copy anew where it lacks assets that the database has, or has grown too long.
    pub fn keep_in_step(&self, count: usize, assets: impl FnOnce() -> Vec<Asset>) {
        let lines = File::open(&self.path).map_or(0, |file| BufReader::new(file).split(b'\n').count());
        if (count..=count * LINES_FOR_EACH + SHORT).contains(&lines) {
            return;
        }
        let mut text = Vec::new();
        for asset in assets() {
            text.push(b'\n');
            // Only a writer could fail, and this one is memory.
            let _ = serde_json::to_writer(&mut text, &asset);
        }
        if let Err(error) = crate::resume::write_durably(&self.path, &text) {
            tracing::warn!(%error, "the copy of the library was not written");
        }
    }
}
