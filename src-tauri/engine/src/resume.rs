//! What an unfinished transfer needs to go on and nobody else may see: files in `resume/`, readable by the owner only,
//! gone when the transfer ends.
//!
//! Signed URLs and session URIs live here and nowhere else: not in the database, not in logs, not in the window.
//! A download that has been synced once keeps here what its part file proves, too: it outlives the list.
//!
//! A record is a file of its own, named after its transfer. Transfers that are added together share one file
//! (`FIRST-LAST`), as thousands of files would each be made, synced and removed: a record is a line of it, its id in
//! front. It is blanked in place when its transfer ends or gets a file of its own; the last one takes the file with it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::files::folder::{SharedSync, read_at, sync_names, write_at};
use crate::files::own_folder::{make_private_folder, open_own, read_own};
use crate::files::whole::replace_record;
use crate::http::reach::Reach;
use crate::secret::Header;
use crate::service::ServiceId;
use crate::task::{Journal, Task};
use crate::transfer::TransferId;

/// So many records that are written together share a file.
const TOGETHER: usize = 4;

/// Everything that is kept for one unfinished transfer. No `Debug`: nothing may print it by accident.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// Download of a link: the whole URL. Upload with `--to`: the user's signed URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Download: where the link led, as its mirrors differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// How far [`Resume::pinned`] may lead. Of this and the two below, earlier records say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_reach: Option<Reach>,
    /// Upload: the signed URL that the service gave for [`Resume::asset_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_url: Option<String>,
    /// How far [`Resume::signed_url`] may lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_reach: Option<Reach>,
    /// Upload: form fields that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form: Vec<(String, String)>,
    /// Upload: when the signed URL ends, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Upload: the asset id that the signed URL belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_id: Option<String>,
    /// Headers that the user gave, for the URL's own origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Upload: every byte was handed over in the session, and no answer has denied since then that all of them arrived. A
    /// store that says otherwise that it has the file may be wrong. (`last_chunk_sent`, which earlier records have, was
    /// written before the last chunk went out: it shows nothing.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handed_over: bool,
    /// Upload: the highest byte of the file, plus one, that may have been handed over in the session; written down before
    /// it is. A store that has more has it from somebody else. `None` in records of earlier versions, and where nothing
    /// was handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed: Option<u64>,
    /// Upload: URI of the resumable session, once the store has opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How far [`Resume::session`] may lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_reach: Option<Reach>,
    /// The task itself and its service, so that a lost database can be rebuilt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// Download: how far it is provable, as the list has it, once it was synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
}

impl Resume {
    /// Reads a record; a broken one is an empty one, and a journal that contradicts itself proves nothing.
    pub fn read(bytes: &[u8]) -> Self {
        let mut record: Self = serde_json::from_slice(bytes).unwrap_or_default();
        record.journal = record.journal.and_then(Journal::checked);
        record
    }

    /// Whether there is anything to keep.
    pub fn is_empty(&self) -> bool {
        self.url.is_none()
            && self.signed_url.is_none()
            && self.session.is_none()
            && self.headers.is_empty()
            && self.journal.is_none()
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
pub(crate) struct ResumeFolder {
    path: PathBuf,
    together: Arc<Mutex<Together>>,
    sync: Arc<SharedSync>,
}

/// The records that share files.
#[derive(Debug, Default)]
struct Together {
    /// By the name of the file: how many records in it are in use.
    files: HashMap<Arc<str>, usize>,
    places: HashMap<TransferId, Place>,
    /// The file that was used last: what is added together runs, and ends, together.
    open: Option<(Arc<str>, File)>,
}

/// Where a record lies: a line without its end.
#[derive(Debug, Clone)]
struct Place {
    file: Arc<str>,
    start: u64,
    length: usize,
}

impl ResumeFolder {
    /// Opens (and makes) `DATA_DIR/resume`, for the owner only.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("resume");
        make_private_folder(&path)?;
        let folder = Self { path, together: Arc::default(), sync: Arc::default() };
        let (mut shared, mut alone) = (Vec::new(), HashSet::new());
        for entry in std::fs::read_dir(&folder.path)?.flatten() {
            let name = entry.file_name();
            match (name.to_str(), name.to_str().and_then(|name| name.parse::<TransferId>().ok())) {
                (_, Some(id)) => drop(alone.insert(id)),
                (Some(name), _) if is_shared(name) => shared.push(Arc::from(name)),
                // Half-written records of a killed run hold secrets that nobody will ever need. What else there is may
                // be of a newer Ferry, which needs it.
                (Some(name), _) if !name.ends_with("new") => {}
                _ => std::fs::remove_file(entry.path())?,
            }
        }
        for name in shared {
            if let Err(error) = folder.look_through(&name, &alone) {
                // Those of its records that can be read are known; the file stays for a repair, and Ferry starts.
                tracing::warn!(%error, file = &*name, "records of unfinished transfers cannot be read");
                folder.together().files.insert(name, usize::MAX);
            }
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn together(&self) -> MutexGuard<'_, Together> {
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: TransferId) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// Learns which records a shared file holds, but for those that have got a file of their own since.
    fn look_through(&self, name: &Arc<str>, alone: &HashSet<TransferId>) -> io::Result<()> {
        let Some(ids) = ids_of(name) else { return Ok(()) };
        let mut lines = BufReader::with_capacity(
            256 << 10,
            open_own(&self.path.join(&**name), File::options().read(true))?,
        );
        let (mut line, mut start, mut count, mut stale) = (Vec::new(), 0, 0, Vec::new());
        let mut together = self.together();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let length = line.strip_suffix(b"\n").unwrap_or(&line).len();
            let place = Place { file: Arc::clone(name), start, length };
            start += line.len() as u64;
            match id_of(&line).filter(|id| ids.contains(id)) {
                Some(id) if !together.places.contains_key(&id) && !alone.contains(&id) => {
                    together.places.insert(id, place);
                    count += 1;
                }
                None if line.trim_ascii().is_empty() => {}
                // Of a record that was blanked a power cut may have left a part.
                _ => stale.push(place),
            }
            line.clear();
        }
        stale.iter().for_each(|place| self.blank(&mut together, place));
        if count == 0 {
            together.open = None;
            // If it cannot be removed, the next start tries again.
            let _ = std::fs::remove_file(self.path.join(&**name));
        } else {
            together.files.insert(Arc::clone(name), count);
        }
        Ok(())
    }

    /// Reads a record; a missing or broken one is an empty one.
    pub fn read(&self, id: TransferId) -> Resume {
        let mut together = self.together();
        let bytes = match together.places.get(&id).cloned() {
            // Under the lock: it may be blanked at any time.
            Some(place) => self.line(&mut together, &place),
            None => {
                drop(together);
                read_own(&self.file(id))
            }
        };
        let bytes = bytes.unwrap_or_default();
        // A record is an object: what stands before it in a shared file is its id.
        let begin = bytes.iter().position(|byte| *byte == b'{').unwrap_or(0);
        Resume::read(&bytes[begin..])
    }

    fn line(&self, together: &mut Together, place: &Place) -> io::Result<Vec<u8>> {
        let mut line = vec![0; place.length];
        read_at(self.shared(together, &place.file)?, &mut line, place.start)?;
        Ok(line)
    }

    fn shared<'a>(&self, together: &'a mut Together, name: &Arc<str>) -> io::Result<&'a File> {
        let file = match together.open.take() {
            Some((open, file)) if open == *name => file,
            _ => open_own(&self.path.join(&**name), File::options().read(true).write(true))?,
        };
        Ok(&together.open.insert((Arc::clone(name), file)).1)
    }

    /// Writes a record so that a crash leaves either the old or the new one.
    pub fn write(&self, id: TransferId, record: &Resume) -> io::Result<()> {
        replace_record(&self.file(id), &serde_json::to_vec(record)?)?;
        self.sync.run(|| sync_names(&self.path))?;
        self.forget_shared(id);
        Ok(())
    }

    /// Writes several records at once, which costs hardly more than one.
    pub fn write_all(&self, records: &[(TransferId, Resume)]) -> io::Result<()> {
        let alone = || records.iter().try_for_each(|(id, record)| self.write(*id, record));
        // The name of their file says which ids may lie in it: the next start believes no others.
        let mut records: Vec<&(TransferId, Resume)> = records.iter().collect();
        records.sort_by_key(|(id, _)| *id);
        let ((Some((first, _)), Some((last, _))), TOGETHER..) =
            ((records.first(), records.last()), records.len())
        else {
            return alone();
        };
        let name: Arc<str> = format!("{first}-{last}").into();
        if self.path.join(&*name).symlink_metadata().is_ok() {
            // It holds those of others that lie between them.
            return alone();
        }
        let (mut text, mut places) = (Vec::new(), Vec::with_capacity(records.len()));
        for (id, record) in records {
            let start = text.len();
            write!(text, "{id} ")?;
            serde_json::to_writer(&mut text, record)?;
            let length = text.len() - start;
            places.push((*id, Place { file: Arc::clone(&name), start: start as u64, length }));
            text.push(b'\n');
        }
        let file = self.path.join(&*name);
        if let Err(error) = replace_record(&file, &text).and_then(|()| sync_names(&self.path)) {
            // Its transfers will not be added: nothing of them may stay.
            let _ = std::fs::remove_file(file);
            return Err(error);
        }
        let mut together = self.together();
        together.files.insert(name, places.len());
        together.places.extend(places);
        Ok(())
    }

    /// Removes a record: the transfer has ended.
    pub fn remove(&self, id: TransferId) {
        self.forget_shared(id);
        // A record that is already gone is what was wanted. There may be both: a file of its own whose sync failed.
        let _ = std::fs::remove_file(self.file(id));
    }

    /// Takes a record out of the file that it shares, if it does.
    fn forget_shared(&self, id: TransferId) {
        let mut together = self.together();
        let Some(place) = together.places.remove(&id) else { return };
        let left = together.files.get_mut(&place.file).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left > 0 {
            self.blank(&mut together, &place);
        } else {
            together.files.remove(&place.file);
            together.open = None;
            let _ = std::fs::remove_file(self.path.join(&*place.file));
        }
    }

    fn blank(&self, together: &mut Together, place: &Place) {
        let file = self.shared(together, &place.file);
        // One that cannot be written now is blanked by the next start, as nothing needs it any more.
        let _ = file.and_then(|file| write_at(file, &vec![b' '; place.length], place.start));
    }

    /// Whether there is a record.
    pub fn has(&self, id: TransferId) -> bool {
        self.together().places.contains_key(&id) || self.file(id).exists()
    }

    /// Ids of all records.
    pub fn ids(&self) -> Vec<TransferId> {
        let mut ids: Vec<TransferId> = self.together().places.keys().copied().collect();
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        ids.extend(entries.filter_map(|entry| entry.file_name().to_str()?.parse::<TransferId>().ok()));
        ids
    }
}

/// Whether a file of this name holds records that were written together: `FIRST-LAST`.
fn is_shared(name: &str) -> bool {
    ids_of(name).is_some()
}

/// The ids between which those in a file of this name lie.
fn ids_of(name: &str) -> Option<RangeInclusive<TransferId>> {
    let (first, last) = name.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// The id at the beginning of a record in a shared file.
fn id_of(line: &[u8]) -> Option<TransferId> {
    let digits = line.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
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

    fn record(url: &str) -> Resume {
        Resume { url: Some(url.to_owned()), ..Resume::default() }
    }

    fn files(folder: &ResumeFolder) -> Vec<String> {
        let names = std::fs::read_dir(folder.path()).unwrap().flatten();
        let mut names: Vec<String> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn records_that_are_written_together_again_are_kept_in_any_order_and_beside_others() {
        let data = tempfile::tempdir().unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        let of = |ids: &[u64]| -> Vec<_> {
            ids.iter().map(|id| (TransferId(*id), record(&format!("https://h/{id}?secret")))).collect()
        };
        folder.write_all(&of(&[1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
        // Canceled, and taken back in the order of the selection, the first and the last among them.
        for back in [[8, 3, 1, 6], [1, 4, 5, 8], [7, 2, 5, 4]] {
            back.iter().for_each(|id| folder.remove(TransferId(*id)));
            folder.write_all(&of(&back)).unwrap();
            for folder in [&folder, &ResumeFolder::open(data.path()).unwrap()] {
                for (id, expected) in of(&[1, 2, 3, 4, 5, 6, 7, 8]) {
                    assert!(folder.has(id), "{id} after {back:?}");
                    assert!(folder.read(id) == expected, "{id} after {back:?}");
                }
            }
        }
    }

    #[test]
    fn records_that_are_written_together_share_a_file_and_go_one_by_one() {
        let data = tempfile::tempdir().unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        let some: Vec<_> =
            (3..9).map(|id| (TransferId(id), record(&format!("https://h/{id}?secret{id}")))).collect();
        folder.write_all(&some).unwrap();
        assert_eq!(files(&folder), ["3-8"]);
        let text = || std::fs::read_to_string(folder.path().join("3-8")).unwrap();

        // Also after a new start.
        for folder in [folder.clone(), ResumeFolder::open(data.path()).unwrap()] {
            let mut ids = folder.ids();
            ids.sort();
            assert_eq!(ids, (3..9).map(TransferId).collect::<Vec<_>>());
            assert_eq!(folder.read(TransferId(5)).url.as_deref(), Some("https://h/5?secret5"));
            assert!(folder.read(TransferId(9)).is_empty() && !folder.has(TransferId(9)));
        }

        folder.remove(TransferId(3));
        folder.remove(TransferId(3));
        assert!(!text().contains("secret3") && folder.read(TransferId(3)).is_empty());
        // One that changes gets a file of its own.
        folder.write(TransferId(4), &record("https://h/new")).unwrap();
        assert!(!text().contains("secret4") && text().contains("secret5"));
        let again = ResumeFolder::open(data.path()).unwrap();
        assert_eq!(again.read(TransferId(4)).url.as_deref(), Some("https://h/new"));
        assert_eq!(again.ids().len(), 5);
        (5..9).for_each(|id| again.remove(TransferId(id)));
        assert_eq!(files(&again), ["4"], "the last one takes the file with it");
    }

    #[test]
    fn a_record_that_has_both_places_goes_from_both() {
        let data = tempfile::tempdir().unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        let some: Vec<_> = (1..6).map(|id| (TransferId(id), record("https://h/?secret"))).collect();
        folder.write_all(&some).unwrap();
        // As when the sync of the folder fails after the rename.
        replace_record(&folder.file(TransferId(2)), b"{\"url\":\"https://h/?newer\"}").unwrap();
        folder.remove(TransferId(2));
        assert_eq!(files(&folder), ["1-5"]);
    }

    #[cfg(unix)]
    #[test]
    fn records_that_cannot_be_read_keep_nobody_else_from_starting() {
        let data = tempfile::tempdir().unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        folder.write(TransferId(9), &record("https://h/9")).unwrap();
        // Opens, and cannot be read.
        std::fs::create_dir(folder.path().join("1-5")).unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        assert_eq!(folder.read(TransferId(9)).url.as_deref(), Some("https://h/9"));
        assert!(folder.read(TransferId(3)).is_empty());
        assert_eq!(files(&folder), ["1-5", "9"], "it stays for a repair");
    }

    #[test]
    fn what_a_power_cut_left_of_a_shared_file_is_blanked_or_the_newer_wins() {
        let data = tempfile::tempdir().unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        let file = folder.path().join("1-5");
        let line = |id: u64| format!("{id} {{\"url\":\"https://h/{id}?secret{id}\"}}");
        let torn = line(2).replace("2 {\"url\"", "         ");
        // The last one has lost a part of its id: it is none of these.
        let lines = [line(1), torn, " ".repeat(9), line(3), line(4)[..12].to_owned(), line(5), line(7)];
        std::fs::write(&file, lines.join("\n")).unwrap();
        std::fs::write(folder.path().join("3"), "{\"url\":\"https://h/new\"}").unwrap();
        std::fs::write(folder.path().join("7-9.ferry-new"), line(7)).unwrap();
        let folder = ResumeFolder::open(data.path()).unwrap();
        assert_eq!(files(&folder), ["1-5", "3"]);
        let text = std::fs::read_to_string(&file).unwrap();
        for secret in ["secret2", "secret3", "secret7"] {
            assert!(!text.contains(secret), "{text}");
        }
        for (id, url) in [
            (1, Some("https://h/1?secret1")),
            (3, Some("https://h/new")),
            (4, None),
            (5, Some("https://h/5?secret5")),
        ] {
            assert_eq!(folder.read(TransferId(id)).url.as_deref(), url, "{id}");
        }
        [1, 4, 5].into_iter().for_each(|id| folder.remove(TransferId(id)));
        assert_eq!(files(&folder), ["3"]);
    }
}
