//! "Sent before?": which of the files that are to be sent are at the service already, and what becomes of those.
//!
//! The same content is the same size and the same SHA-256 as something that was sent there from here: a CRC is anybody's,
//! and what another library says was sent is its word alone (docs/decisions/0018, 0027). Only files whose size
//! fits are looked at any closer; what was read once is known by path, size, times and inode and is not read again.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use ts_rs::TS;

use crate::asset::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::files::own_folder::OwnFolder;
use crate::foreign::Foreign;
use crate::http::checksum::{Algorithm, Digests};
use crate::run::Run;
use crate::service::{self, ServiceId};
use crate::services::{Confirmation, Service};
use crate::store::{Sha256, Store};
use crate::task::{Reuse, SourceState, Task};
use crate::transfer::{Stage, TransferId, Verified};
use crate::upload::chosen::LinksLeftOut;
use crate::upload::source_file::{Sighting, SourceFile, file_name};
use crate::words::{Peer, Phrase};

/// Sizes or files that the database is asked about in one go: others wait for it meanwhile.
const PORTION: usize = 1024;
/// Bytes that are read between two looks at whether anybody still wants to know.
const STRETCH: u64 = 8 * 1024 * 1024;
/// Files that a question names.
const EXAMPLES: usize = 4;
/// The two clocks that say how long to wait may differ by less.
const MARGIN: Duration = Duration::from_millis(10);

/// The question: so many of these files were sent before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct SentBefore {
    /// The service.
    pub service: ServiceId,
    /// Files in all.
    #[ts(type = "number")]
    pub files: u64,
    /// Those of them that were sent before.
    #[ts(type = "number")]
    pub sent: u64,
    /// Their size in bytes, together.
    #[ts(type = "number")]
    pub bytes: u64,
    /// The first few of them.
    pub examples: Vec<SentFile>,
}

/// A file that was sent before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct SentFile {
    /// Its name here.
    pub name: Foreign,
    /// The asset that holds the same content.
    pub asset: Asset,
}

/// What came of a request to send files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct AddedUploads {
    /// The transfers, in the order of the files.
    pub ids: Vec<TransferId>,
    /// Those of them that came onto the list with this request; the others were on their way already.
    #[serde(default)]
    pub new: Vec<TransferId>,
    /// Those of them that are to end with an asset that is there.
    #[ts(type = "number")]
    pub reused: u64,
    /// Files that were left out.
    #[ts(type = "number")]
    pub skipped: u64,
    /// Links in folders that were left out.
    #[serde(default)]
    pub links: LinksLeftOut,
    /// Nothing was added: this is to be answered first.
    pub question: Option<SentBefore>,
}

/// Files that were sent before, by their places among all, with the newest asset of each and the file as it was looked at.
pub(crate) type Found = HashMap<usize, (Asset, SourceState)>;

/// Looks for what was sent to this service before. `files` is where they really lie. A file that cannot be read counts as one that was not: sending it
/// will say why.
pub(crate) async fn find(
    store: &Store,
    service: &str,
    files: Vec<PathBuf>,
    own: &OwnFolder,
    stop: &CancellationToken,
) -> Result<Found> {
    if !store.has_sent(service).await? {
        return Ok(Found::new());
    }
    let files: Arc<[PathBuf]> = files.into();
    let all = Arc::clone(&files);
    // Every empty file is like every other: there is nothing to be saved.
    let look = move || all.iter().map(|file| Sighting::of(file).filter(|file| file.state.size > 0)).collect();
    let sightings: Vec<Option<Sighting>> = blocking(look).await?;
    let mut sizes: Vec<u64> = sightings.iter().flatten().map(|file| file.state.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut by_content: HashMap<(u64, Sha256), Asset> = HashMap::new();
    let mut known_sizes = HashSet::new();
    for portion in sizes.chunks(PORTION) {
        stopped(stop)?;
        for (asset, sha256) in store.sent_with_sizes(service, portion.to_vec()).await? {
            if let Some(size) = asset.size {
                known_sizes.insert(size);
                // Newest first.
                by_content.entry((size, sha256)).or_insert(asset);
            }
        }
    }
    let mut candidates: Vec<(usize, Sighting)> = sightings
        .into_iter()
        .enumerate()
        .filter_map(|(place, file)| {
            Some((place, file.filter(|file| known_sizes.contains(&file.state.size))?))
        })
        .collect();
    // What may change unseen while it is read or asked about is no candidate yet.
    if let Some(wait) = candidates.iter().filter_map(|(_, file)| file.settles_in()).max() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait + MARGIN) => {}
        }
        stopped(stop)?;
        let all = Arc::clone(&files);
        let look_again = move || {
            let again = |(place, file): (usize, Sighting)| {
                Some((place, if file.is_settled() { file } else { Sighting::of(&all[place])? }))
            };
            candidates.into_iter().filter_map(again).collect()
        };
        candidates = blocking(look_again).await?;
    }
    candidates.retain(|(_, file)| file.is_settled());
    let mut found = Found::new();
    for portion in candidates.chunks(PORTION) {
        stopped(stop)?;
        let asked = portion.iter().map(|(place, file)| (files[*place].clone(), *file)).collect();
        let known = store.known_contents(asked).await?;
        let unread: Vec<(usize, Sighting)> = portion
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(candidate, _)| *candidate)
            .collect();
        let (all, wanted, own) = (Arc::clone(&files), stop.clone(), own.clone());
        let all_read: HashMap<usize, Read> = blocking(move || {
            let one = |(place, file): (usize, Sighting)| {
                Some((place, read(&all[place], file.state, &own, &wanted)?))
            };
            unread.into_iter().filter_map(one).collect()
        })
        .await?;
        stopped(stop)?;
        for ((place, file), known) in portion.iter().zip(known) {
            let read = all_read.get(place).copied();
            if let Some(read) = read {
                remember(store, &files[*place], *file, read);
            }
            let Some(sha256) = known.or(read.map(|read| read.sha256)) else { continue };
            if let Some(asset) = by_content.get(&(file.state.size, sha256)) {
                found.insert(*place, (asset.clone(), file.state));
            }
        }
    }
    Ok(found)
}

/// Everything that was sent from here with the content of this file, whichever service has it. Read only where the size
/// fits something.
pub(crate) async fn with_content_of(store: &Store, file: &Path, own: &OwnFolder) -> Result<Vec<Asset>> {
    let (path, own) = (file.to_owned(), own.clone());
    let source = blocking(move || SourceFile::open(&path, None, &own)).await??;
    let mut candidates = Vec::new();
    for about in service::all() {
        candidates.extend(store.sent_with_sizes(about.id, vec![source.size()]).await?);
    }
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let content = blocking(move || {
        source.also(&[Algorithm::Sha256]);
        let digests = source.digests(&[Algorithm::Sha256], || true)?;
        source.check_unchanged()?;
        Ok::<_, Error>(sha256(&digests))
    })
    .await??;
    candidates.retain(|(_, sha256)| Some(*sha256) == content);
    Ok(candidates.into_iter().map(|(asset, _)| asset).collect())
}

/// The question about what was found.
pub(crate) fn question(service: &str, files: &[PathBuf], found: &Found) -> SentBefore {
    let mut places: Vec<usize> = found.keys().copied().collect();
    places.sort_unstable();
    let name = |place: usize| file_name(&files[place]).into();
    SentBefore {
        service: service.into(),
        files: files.len() as u64,
        sent: found.len() as u64,
        bytes: found.values().map(|(_, state)| state.size).sum(),
        examples: places
            .into_iter()
            .take(EXAMPLES)
            .map(|place| SentFile { name: name(place), asset: found[&place].0.clone() })
            .collect(),
    }
}

/// Writes down which content a file has that was read after it was found like this, with the next commit, so that it
/// need not be read for this question again.
pub(crate) fn remember(store: &Store, path: &Path, file: Sighting, read: Read) {
    if file.tells_content() {
        store.keep_content(path, file, read.crc32c, read.sha256);
    }
}

/// What is in a file that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    pub crc32c: u32,
    pub sha256: Sha256,
}

/// The SHA-256, if it was computed.
pub(crate) fn sha256(digests: &Digests) -> Option<Sha256> {
    digests.value(Algorithm::Sha256)?.try_into().ok()
}

/// A CRC32C as the library has it.
pub(crate) fn shown(crc32c: u32) -> String {
    format!("{crc32c:08x}")
}

/// Ends an upload with the asset that the user wants reused, if file and asset are as they were. Otherwise the row says
/// why, and the file is to be sent.
pub(crate) async fn ends_with(run: &Run, path: &Path, reuse: &Reuse, service: &dyn Service) -> Result<bool> {
    let peer = Peer::service(service.about().id);
    let file = path.to_owned();
    let is_same = run.disk(move || Sighting::of(&file)).await?.is_some_and(|file| file.state == reuse.source);
    if is_same {
        run.stage(Stage::Confirming);
        match run.or_stop(service.confirm(&reuse.asset_id)).await? {
            // Meanwhile the user may have asked for it to be sent again.
            Ok(_) if !is_wanted(run, reuse) => return Ok(false),
            Ok(Confirmation::Success { size }) if size.is_none_or(|size| size == reuse.source.size) => {
                run.update(|row| {
                    row.asset_id = Some(reuse.asset_id.as_str().into());
                    row.total = Some(reuse.source.size);
                    row.verified = size.map(|_| Verified::Length);
                });
                run.note(Phrase::SentBefore { service: peer });
                return Ok(true);
            }
            Err(error) if error.cause == Cause::NotFound => {
                let id = service.about().id;
                run.queue().store.set_asset_status(id, &reuse.asset_id, AssetStatus::Deleted).await?;
            }
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    run.note(if is_same { Phrase::GoneThere { service: peer } } else { Phrase::ChangedSinceCompared });
    run.change_task(Task::send_anyway).await?;
    Ok(false)
}

fn is_wanted(run: &Run, reuse: &Reuse) -> bool {
    matches!(run.task(), Some(Task::Upload(upload)) if upload.reuse.as_deref() == Some(reuse))
}

/// What is in a file that stays as it was. Blocks.
fn read(path: &Path, before: SourceState, own: &OwnFolder, stop: &CancellationToken) -> Option<Read> {
    let source = SourceFile::open(path, None, own).ok().filter(|source| source.state() == before)?;
    source.also(&[Algorithm::Sha256]);
    let mut end = 0;
    while end < before.size {
        if stop.is_cancelled() {
            return None;
        }
        end = before.size.min(end + STRETCH);
        source.hash_up_to(end, || true).ok()?;
    }
    source.check_unchanged().ok()?;
    let digests = source.known_digests(&[Algorithm::Sha256])?;
    Some(Read { crc32c: digests.crc32c, sha256: sha256(&digests)? })
}

fn stopped(stop: &CancellationToken) -> Result<()> {
    if stop.is_cancelled() { Err(Error::canceled()) } else { Ok(()) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_known_is_not_read() {
        const HUGE: u64 = 4 << 40;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.img");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(HUGE).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).unwrap();
        let store = Store::open(&folder.path().join("ferry.db")).unwrap().store;
        let asset = Asset {
            service: "mavi".into(),
            asset_id: "re_1".into(),
            name: "huge.img".into(),
            size: Some(HUGE),
            crc32c: Some(shown(7)),
            status: AssetStatus::Confirmed,
            at: 1,
        };
        store.save_sent(asset.clone(), [7; 32]).await.unwrap();
        store.keep_content(&path, Sighting::of(&path).unwrap(), 7, [7; 32]);
        let stop = CancellationToken::new();
        let own = OwnFolder::new(folder.path().to_owned());
        let found = find(&store, "mavi", vec![path], &own, &stop);
        let found =
            tokio::time::timeout(Duration::from_secs(10), found).await.expect("nothing is read").unwrap();
        assert_eq!(found.get(&0).map(|(asset, _)| asset), Some(&asset));
    }
}
