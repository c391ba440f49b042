//! A second copy of the library, beside the database: the services keep no list that could be asked for, so what was
//! sent and under which id is known here alone.
//!
//! `library.jsonl` holds one asset a line, in JSON; a later line of the same asset adds to the earlier ones. It is read
//! only when the database is lost. Lines are appended without a sync of their own: a power cut may take the last ones
//! from the copy, never from the database.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use crate::asset::Asset;
use crate::files::own_folder::{open_own, private_file};
use crate::files::whole::write_whole;

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
        self.append_all([asset]);
    }

    /// The same for several, in one write.
    pub fn append_all<'a>(&self, assets: impl IntoIterator<Item = &'a Asset>) {
        let text = lines(assets);
        let opened = || private_file().append(true).open(&self.path);
        // The database has it; a full disk is said there.
        if !text.is_empty()
            && let Err(error) = opened().and_then(|mut copy| copy.write_all(&text))
        {
            tracing::warn!(%error, "the copy of the library was not written");
        }
    }

    /// Every line that can be read, oldest first.
    pub fn read(&self) -> Vec<Asset> {
        let Ok(file) = open_own(&self.path, File::options().read(true)) else { return Vec::new() };
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_slice(&line).ok()).collect()
    }

    /// Adds what the database has and the copy lacks (a full disk, a power cut), and writes a copy anew that has grown
    /// long. Nothing that only the copy has is ever taken from it.
    pub fn catch_up(&self, assets: &[Asset]) {
        let read = self.read();
        let key = |asset: &Asset| (asset.service.clone(), asset.asset_id.clone());
        let known: HashSet<_> = read.iter().map(key).collect();
        if read.len() <= assets.len() * LINES_FOR_EACH + SHORT {
            self.append_all(assets.iter().filter(|asset| !known.contains(&key(asset))));
            return;
        }
        let in_database: HashSet<_> = assets.iter().map(key).collect();
        let alone = read.iter().filter(|asset| !in_database.contains(&key(asset)));
        if let Err(error) = write_whole(&self.path, &lines(alone.chain(assets))) {
            tracing::warn!(%error, "the copy of the library was not written");
        }
    }
}

/// Each on a line. The line's end comes first: a line that a full disk tore apart must not spoil the next one.
fn lines<'a>(assets: impl IntoIterator<Item = &'a Asset>) -> Vec<u8> {
    let mut text = Vec::new();
    for asset in assets {
        text.push(b'\n');
        // Only a writer could fail, and this one is memory.
        let _ = serde_json::to_writer(&mut text, asset);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::AssetStatus;

    fn asset(number: usize) -> Asset {
        Asset {
            service: "mavi".into(),
            asset_id: format!("re_{number}").into(),
            name: format!("{number}.mp4").into(),
            size: None,
            crc32c: None,
            status: AssetStatus::Confirmed,
            at: number as u64,
        }
    }

    #[test]
    fn a_copy_catches_up_and_loses_nothing_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let copy = LibraryCopy::beside(&folder.path().join("ferry.db"));
        copy.append(&asset(1));
        std::fs::write(&copy.path, [std::fs::read(&copy.path).unwrap(), b"\n{\"torn".into()].concat())
            .unwrap();
        copy.append(&asset(2));
        copy.catch_up(&[asset(2), asset(3)]);
        assert_eq!(copy.read(), [asset(1), asset(2), asset(3)]);

        for _ in 0..SHORT * 2 {
            copy.append(&asset(3));
        }
        copy.catch_up(&[asset(3)]);
        let mut kept = copy.read();
        kept.dedup();
        assert_eq!(kept, [asset(1), asset(2), asset(3)]);
        assert!(copy.read().len() < SHORT, "it was written anew");
    }

    #[test]
    fn a_copy_that_cannot_be_read_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let copy = LibraryCopy::beside(&folder.path().join("ferry.db"));
        std::fs::create_dir(&copy.path).unwrap();
        copy.catch_up(&[asset(1)]);
        assert_eq!(copy.read(), []);
    }
}
