//! What an unfinished transfer needs to go on and nobody else may see: one file each in `resume/`, readable by
//! the owner only, gone when the transfer ends.
//!
//! Signed URLs and session URIs live here and nowhere else: not in the database, not in logs, not in the window.
//! A download that has been synced once keeps here what its part file proves, too: it outlives the list.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::task::{Journal, Task};
use crate::transfer::TransferId;

/// How many records are written at the same time.
const WRITERS: usize = 8;

/// Everything that is kept for one unfinished transfer. No `Debug`: nothing may print it by accident.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// Download of a link: the whole URL. Upload with `--to`: the user's signed URL.
    pub url: Option<String>,
    /// Upload: the signed URL that the service gave for [`Resume::asset_id`].
    pub signed_url: Option<String>,
    /// Upload: form fields that go with it.
    #[serde(default)]
    pub form: Vec<(String, String)>,
    /// Upload: when the signed URL ends, seconds since 1970.
    pub expires_at: Option<u64>,
    /// Upload: the asset id that the signed URL belongs to.
    pub asset_id: Option<String>,
    /// Upload: URI of the resumable session, once the store has opened it.
    pub session: Option<String>,
    /// The task itself and its service, so that a lost database can be rebuilt.
    pub task: Option<Task>,
    pub service: Option<String>,
    /// Download: how far it is provable, as the list has it, once it was synced.
    #[serde(default)]
    pub journal: Option<Journal>,
}

impl Resume {
    /// Reads a record; a broken one is an empty one, and a journal that contradicts itself proves nothing.
    pub fn read(bytes: &[u8]) -> Self {
        let mut record: Self = serde_json::from_slice(bytes).unwrap_or_default();
        record.journal = record.journal.filter(Journal::is_sound);
        record
    }

    /// Whether there is anything to keep.
    pub fn is_empty(&self) -> bool {
        self.url.is_none() && self.signed_url.is_none() && self.session.is_none() && self.journal.is_none()
    }

    /// Whether the signed URL has not ended; once a session is open, its end no longer counts.
    pub fn is_good_at(&self, now: SystemTime) -> bool {
        // A time beyond what the clock can show comes from a damaged record: the store will say what it thinks of it.
        let end = self.expires_at.and_then(|end| UNIX_EPOCH.checked_add(Duration::from_secs(end)));
        self.session.is_some() || end.is_none_or(|end| end > now)
    }
}

/// The folder of these files.
#[derive(Debug, Clone)]
pub(crate) struct ResumeFolder(PathBuf);

impl ResumeFolder {
    /// Opens (and makes) `DATA_DIR/resume`, for the owner only.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("resume");
        make_private_folder(&folder)?;
        for entry in std::fs::read_dir(&folder)?.flatten() {
            // Half-written records of a killed run hold secrets that nobody will ever need.
            if entry.file_name().to_str().is_none_or(|name| name.parse::<TransferId>().is_err()) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, id: TransferId) -> PathBuf {
        self.0.join(id.to_string())
    }

    /// Reads a record; a missing or broken one is an empty one.
    pub fn read(&self, id: TransferId) -> Resume {
        std::fs::read(self.file(id)).map(|bytes| Resume::read(&bytes)).unwrap_or_default()
    }

    /// Writes a record so that a crash leaves either the old or the new one.
    pub fn write(&self, id: TransferId, record: &Resume) -> io::Result<()> {
        write_durably(&self.file(id), &serde_json::to_vec(record)?)
    }

    /// The same for many. The disk syncs what is handed to it at the same time together.
    pub fn write_all(&self, records: &[(TransferId, Resume)]) -> io::Result<()> {
        let share = records.len().div_ceil(WRITERS).max(1);
        std::thread::scope(|scope| {
            let writers: Vec<_> = records
                .chunks(share)
                .map(|records| {
                    scope.spawn(|| {
                        records.iter().try_for_each(|(id, record)| {
                            replace(&self.file(*id), &serde_json::to_vec(record)?)
                        })
                    })
                })
                .collect();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().map_err(|_| io::Error::other("interrupted"))?)
        })?;
        sync_folder(&self.0)
    }

    /// Removes a record: the transfer has ended.
    pub fn remove(&self, id: TransferId) {
        // A record that is already gone is what was wanted.
        let _ = std::fs::remove_file(self.file(id));
    }

    /// Ids of all records.
    pub fn ids(&self) -> Vec<TransferId> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

/// Makes a folder that only the owner can enter.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// Writes a small file whole: beside it, synced, renamed over it, folder synced. Owner-only.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The same without the last step: after a power cut it may be the old file that is there.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Beside it and of nobody else: a file of the user's own must not be in the way.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".ferry-new");
    let beside = PathBuf::from(beside);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&beside, path)
}

#[cfg_attr(not(unix), allow(clippy::unnecessary_wraps, reason = "only Unix has folders that can be synced"))]
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_is_good_until_its_end_or_while_its_session_is_open() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let record = |expires_at, session: Option<&str>| Resume {
            expires_at,
            session: session.map(str::to_owned),
            ..Resume::default()
        };
        assert!(record(None, None).is_good_at(now));
        assert!(record(Some(1001), None).is_good_at(now));
        assert!(!record(Some(1000), None).is_good_at(now));
        assert!(record(Some(1000), Some("https://h/")).is_good_at(now));
        // More than a clock can show must not end the program.
        assert!(record(Some(u64::MAX), None).is_good_at(now));
    }
}
