//! The handle that both faces hold.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use ts_rs::TS;

use crate::asset::{Asset, AssetInfo, AssetStatus, ImportedAssets, LibraryChanges};
use crate::curve::SpeedSample;
use crate::deep_link::{self, LinkOffer};
use crate::error::{Cause, Error, Failure, Result};
use crate::filename;
use crate::files::folder::Folder;
use crate::files::own_folder::{self, OwnFolder};
use crate::files::part_file::PartFile;
use crate::files::whole::{self, write_whole};
use crate::http::address;
use crate::http::checksum::Checksum;
use crate::http::{Http, Limits};
use crate::library_file;
use crate::progress::joined;
use crate::queue::{Queue, no_such_transfer};
use crate::resume::{Resume, ResumeFolder};
use crate::rows::Stop;
use crate::seams::Seams;
use crate::secret::{Header, Secret, header_map};
use crate::secrets::{KeyState, Keys};
use crate::service::{self, About, Input, Place, ServiceId, may_be_id};
use crate::services::{self, OutsideAddresses, Recognised, ServiceStatus, Services};
use crate::settings::{Settings, SettingsPatch};
use crate::store::{Opened, Store, Stored};
use crate::task::{DownloadTask, Journal, Piece, Reuse, Task, Token, UploadTask};
use crate::terms::Terms;
use crate::transfer::{AddedBy, Extent, Kind, State, TimelineEntry, Transfer, TransferId};
use crate::upload::chosen::{ChosenFile, ChosenFiles};
use crate::upload::sent_before::{self, AddedUploads, Found, IfSent};
use crate::upload::signed_url::SignedUrl;
use crate::upload::source_file::file_name;
use crate::upload_method::UploadMethod;
use crate::words::{Count, Peer, Phrase, Words, shown};

/// How long [`Engine::shutdown`] waits for running transfers to write down what they have.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);
/// How long a folder that a download is to go to may take to answer.
const FOLDER_LIMIT: Duration = Duration::from_millis(2500);

/// Everything that there is to be shown, at once.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Snapshot {
    /// Counts the changes; the next [`Changes`] carries `revision + 1`.
    #[ts(type = "number")]
    pub revision: u64,
    /// Every row.
    pub transfers: Vec<Transfer>,
    /// Every service.
    pub services: Vec<ServiceStatus>,
    /// The settings.
    pub settings: Settings,
    /// Where downloads go just now, in full.
    pub downloads_folder: String,
    /// What the user should be told once after this start ("Picked up 3 transfers where they stood").
    pub notices: Vec<Words>,
}

/// What changed since the revision before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Changes {
    /// One more than the one before; a gap means that a new snapshot is due.
    pub revision: u64,
    /// Rows that are new or different.
    pub changed: Vec<Transfer>,
    /// Rows that are gone.
    pub removed: Vec<TransferId>,
    /// The services, if any of them changed.
    pub services: Option<Vec<ServiceStatus>>,
    /// The settings, if they were changed, by whomever.
    pub settings: Option<Box<Settings>>,
    /// What changed in the library.
    #[serde(default)]
    pub library: Option<LibraryChanges>,
}

/// The outcome of a live check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct CheckReport {
    /// Service that was checked.
    pub service: ServiceId,
    /// How long the answer took, in milliseconds; absent when there was none.
    #[ts(type = "number | null")]
    pub reached_in: Option<u64>,
    /// The connection is encrypted.
    pub tls: bool,
    /// The key was accepted; absent when the service takes none.
    pub key_accepted: Option<bool>,
    /// What is wrong, with the way out.
    pub problem: Option<Failure>,
    /// This check made it the default service: its key is new, and until now the sandbox was the default.
    pub now_default: bool,
}

/// What files to send where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts", optional_fields = nullable)]
pub struct UploadRequest {
    /// Files, or folders (every file in them).
    #[ts(type = "string[]")]
    pub paths: Vec<PathBuf>,
    /// The service; absent = the default one.
    pub service: Option<ServiceId>,
    /// How to send; absent = the setting.
    pub method: Option<UploadMethod>,
    /// A signed URL of the user's own: the one file goes there, no service is asked. A secret.
    pub to: Option<String>,
    /// The type of the content, for signed URLs that have it bound; absent = by the URL and the file's name.
    #[serde(default)]
    #[ts(optional)]
    pub content_type: Option<String>,
    /// Headers for the signed URL's own origin.
    #[serde(default)]
    #[ts(optional, as = "Option<Vec<Header>>")]
    pub headers: Vec<Header>,
    /// What becomes of files that were sent to the service before; absent = they are sent again.
    #[serde(default)]
    #[ts(optional, as = "Option<IfSent>")]
    pub if_sent: IfSent,
    /// Links in folders that stay inside these are followed; absent = the setting.
    #[serde(default)]
    #[ts(optional)]
    pub follow_links: Option<bool>,
}

/// What came of a request to bring something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct AddedDownload {
    /// The transfer.
    pub id: TransferId,
    /// It came onto the list with this request; else the same was there already, unfinished, and goes on in its row.
    pub is_new: bool,
}

/// What to bring where.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts", optional_fields = nullable)]
pub struct DownloadRequest {
    /// A link, an asset id, a video number, a server download id, a page URL. Links are secrets.
    pub what: String,
    /// The service; absent = a link for URLs, else the default one.
    pub service: Option<ServiceId>,
    /// Target folder; absent = the Downloads folder.
    #[ts(as = "Option<String>")]
    pub folder: Option<PathBuf>,
    /// Name to save under, instead of the one the service gives.
    pub name: Option<String>,
    /// Visual Search's `unique_id`; absent = the setting.
    pub unique_id: Option<String>,
    /// Media downloader's quality; absent = the setting.
    pub quality: Option<String>,
    /// Remove from the server afterwards; absent = the setting.
    pub remove_after: Option<bool>,
    /// Most connections for this download; absent = the setting.
    pub connections: Option<u8>,
    /// The checksum that the file must have, `ALGORITHM:HEX`, whatever the source says of it.
    #[ts(as = "Option<String>")]
    pub checksum: Option<Checksum>,
    /// Headers for the link's own origin.
    #[serde(default)]
    #[ts(optional, as = "Option<Vec<Header>>")]
    pub headers: Vec<Header>,
}

/// Whom a download would contact first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstContact {
    /// It tells the other side more than an id.
    pub carries_words: bool,
    /// The address, where a request or the settings name it. A secret. `None` for a service at its built-in address or at
    /// the one of a variable.
    pub address: Option<String>,
}

/// What a change of settings entrusts to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrusted {
    /// Services with the origins to which their files and keys would go.
    pub origins: Vec<(ServiceId, String)>,
    /// Files would be removed from the media server after their download, which they are not now.
    pub removes_there: bool,
}

/// Files found below the paths of a drop, before anything starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct PathSummary {
    /// Files.
    #[ts(type = "number")]
    pub files: u64,
    /// Folders among the paths.
    #[ts(type = "number")]
    pub folders: u64,
    /// Bytes in all.
    #[ts(type = "number")]
    pub bytes: u64,
}

/// What the details of one transfer draw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Pictures {
    /// Its speed over time, oldest first; empty when it did not move since Ferry was started.
    pub speeds: Vec<SpeedSample>,
    /// Which bytes of the file are there, in order: one stretch, or several while several connections run.
    pub pieces: Vec<Extent>,
}

/// How an [`Engine`] is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where settings, queue and library live.
    pub data_dir: PathBuf,
    /// Whether everything unfinished goes on at once (window), or only what this run adds or resumes (terminal).
    pub resume_unfinished: bool,
    /// What wins over the settings for this run.
    pub overrides: Overrides,
    /// Keys by service id for this run, over variables and keychain. Each goes to its address in `addresses`, else to the
    /// one of the `FERRY_…_URL` variable, else to the built-in one; never to one from the settings.
    pub keys: HashMap<ServiceId, Secret>,
    /// Base URLs by service id for this run, over variables and settings.
    pub addresses: HashMap<ServiceId, String>,
    /// Whether the platform's keychain is used; without it keys stay in memory for this run.
    pub keychain: bool,
}

impl Options {
    /// The terminal's way: nothing moves that is not asked for.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            resume_unfinished: false,
            overrides: Overrides::default(),
            keys: HashMap::new(),
            addresses: HashMap::new(),
            keychain: true,
        }
    }
}

/// What wins over the settings for one run.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Most bytes a second, each way.
    pub limit_rate: Option<u64>,
    /// Transfers at the same time, each way.
    pub concurrency: Option<u8>,
    /// Attempts without progress before a transfer fails.
    pub retries: Option<u32>,
    /// Most connections for one download.
    pub connections: Option<u8>,
    /// No byte for this long counts as a stall; else `FERRY_STALL_SECONDS`, else 30 s.
    pub stall: Option<Duration>,
    /// A job on a server that does not move on for this long is given up; else ten minutes.
    pub stuck: Option<Duration>,
    /// The part of their time that Ferry's own waits take (back-off, `Retry-After`, polling, looking again), with every
    /// deadline over them; else all of it. For tests, which would otherwise wait as long as people do.
    pub wait_scale: Option<f64>,
    /// What a test puts in the place of the world.
    #[doc(hidden)]
    pub seams: Seams,
}

/// `FERRY_DATA_DIR`, or the platform's folder for application data.
pub fn default_data_dir() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FERRY_DATA_DIR").filter(|folder| !folder.is_empty()) {
        return std::path::absolute(&folder).map_err(|error| {
            Error::invalid("`FERRY_DATA_DIR` is no usable path").because(error.to_string())
        });
    }
    own_folder::usual_data_dir()
        .ok_or_else(|| Error::invalid("This system names no folder for data").advise("set FERRY_DATA_DIR"))
}

/// Everything that Ferry does, behind one cheap handle. Dropping it stops nothing; [`Engine::shutdown`] does.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    keys: Arc<Keys>,
    settings: Arc<RwLock<Settings>>,
    settings_file: PathBuf,
    notices: Mutex<Vec<Words>>,
    /// The default service that stands in for the sandbox while its key is known, which is for this run only.
    default_for_this_run: Mutex<Option<ServiceId>>,
    /// Held by whoever changes the settings: one change after the other, each of what the one before left.
    changing_settings: tokio::sync::Mutex<()>,
    /// Services whose key was given in this run and not accepted yet.
    new_keys: Mutex<HashSet<ServiceId>>,
    /// Ends the comparisons with what was sent before that are going on.
    comparing: Mutex<CancellationToken>,
    data_dir: PathBuf,
    /// Held until the engine lets go: one process at a time owns the data folder.
    lock: Mutex<Option<File>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Opens a data folder, making it if need be. `busy_data_dir` if another process has it.
    pub async fn open(options: Options) -> Result<Self> {
        survive_file_size_limits();
        crate::memory::keep_together();
        let data_dir = options.data_dir;
        let (lock, open_folder) = {
            let data_dir = data_dir.clone();
            blocking(move || own_folder::open(&data_dir).and_then(|told| Ok((lock_folder(&data_dir)?, told))))
                .await??
        };
        let settings_file = data_dir.join("settings.json");
        let (mut settings, broken_settings) = Settings::load(&settings_file);
        let addresses = OutsideAddresses::from_environment(options.addresses)?;
        let keys =
            Keys::from_environment(options.keys, options.keychain, |service| addresses.origin(service));
        let keys = Arc::new(keys);
        let mut default_for_this_run = None;
        if settings.default_service.is_at_first()
            && let Some(set_up) = services::set_up_by_key(|id| keys.state(id) == KeyState::Variable)
        {
            // A key in the environment is a real service set up, for as long as it is there.
            settings.default_service = set_up.clone();
            default_for_this_run = Some(set_up);
        }
        let settings = Arc::new(RwLock::new(settings));
        let Opened { store, mut stored, unreadable, notes: broken_store, last_id } = {
            let (file, seams) = (data_dir.join("ferry.db"), options.overrides.seams.clone());
            blocking(move || Store::open_with(&file, &seams)).await??
        };
        let resume_folder = ResumeFolder::open(&data_dir)
            .map_err(|error| Error::target_io("Creating", &data_dir.join("resume"), &error))?;
        let http = Http::new(limits(&options.overrides))?;
        let services = Services::new(
            http.clone(),
            Arc::clone(&keys),
            Arc::clone(&settings),
            addresses,
            data_dir.join(own_folder::SANDBOX),
        );
        let mut notices: Vec<Words> =
            open_folder.into_iter().chain(broken_settings).map(Words::from).collect();
        notices.extend(broken_store);
        notices.extend(drop_half_added(&store, &resume_folder, &mut stored).await?.map(Words::from));
        let mut unfinished: Vec<TransferId> = stored
            .iter()
            .filter(|stored| matches!(stored.row.state, State::Queued | State::Running | State::Verifying))
            .map(|stored| stored.row.id)
            .collect();
        let queue = Queue::new(
            store,
            http,
            services,
            resume_folder,
            OwnFolder::new(data_dir.clone()),
            Arc::clone(&settings),
            options.overrides,
            options.resume_unfinished,
            stored,
        );
        let engine = Self {
            inner: Arc::new(Inner {
                queue,
                keys,
                settings,
                settings_file,
                notices: Mutex::default(),
                default_for_this_run: Mutex::new(default_for_this_run),
                changing_settings: tokio::sync::Mutex::default(),
                new_keys: Mutex::default(),
                comparing: Mutex::default(),
                data_dir,
                lock: Mutex::new(Some(lock)),
            }),
        };
        let queue = Arc::downgrade(&engine.inner.queue);
        engine.inner.keys.when_late(move |service| {
            if let Some(queue) = queue.upgrade() {
                // What stood still for want of a key goes on.
                queue.clear_problem(service);
                queue.services_changed();
            }
        });
        let rebuilt = engine.rebuild(&unreadable, last_id).await?;
        if !unreadable.is_empty() {
            let back = unreadable.iter().filter(|id| rebuilt.contains(id)).count();
            let back = Count(back as u64);
            notices.push(match unreadable.len() as u64 {
                1 => Phrase::UnreadableOne { back }.into(),
                count => Phrase::Unreadable { count: Count(count), back }.into(),
            });
        }
        let count = rebuilt.iter().filter(|id| !unreadable.contains(id)).count();
        match count as u64 {
            0 => {}
            1 => notices.push(Phrase::ListLostOne.into()),
            count => notices.push(Phrase::ListLost { count: Count(count) }.into()),
        }
        unfinished.extend(rebuilt);
        if options.resume_unfinished {
            match unfinished.len() as u64 {
                0 => {}
                1 => notices.push(Phrase::PickedUpOne.into()),
                count => notices.push(Phrase::PickedUp { count: Count(count) }.into()),
            }
            engine.queue().release(&unfinished).await?;
            // The services page should be right from the start; a slow keychain must not hold up the window.
            let looking = engine.clone();
            tokio::spawn(async move {
                looking.queue().services.look_up_keys().await;
                looking.queue().services_changed();
            });
        }
        *engine.inner.notices.lock().unwrap_or_else(PoisonError::into_inner) = notices;
        Ok(engine)
    }

    /// Goes through `resume/`. A record with an id that this list never gave belongs to a list that was lost: its
    /// transfer comes back under that id, so that a crash in between changes nothing. Any other record that no
    /// transfer needs is of one that ended in the moment of a crash: it goes.
    async fn rebuild(&self, unreadable: &[TransferId], last_id: TransferId) -> Result<Vec<TransferId>> {
        let folder = self.queue().resume_folder.clone();
        let mut lost = Vec::new();
        for id in self.queue().without_need(folder.ids()) {
            let record = folder.read(id);
            match (record.task, record.service) {
                (Some(task), Some(service)) if id > last_id || unreadable.contains(&id) => {
                    let mut row = row_for(&task, &service, self.queue().now());
                    if let Task::Upload(upload) = &task {
                        let size = || std::fs::symlink_metadata(upload.place()).ok().map(|facts| facts.len());
                        row.total = row.total.or_else(size);
                    }
                    row.id = id;
                    row.asset_id = record.asset_id.map(Into::into).or(row.asset_id);
                    if let Some(journal) = &record.journal {
                        row.name = journal.name.as_str().into();
                        row.bytes = journal.proven();
                        row.total = journal.total;
                        row.resumable = journal.identity.can_be_shown();
                        if let Task::Download(download) = &task {
                            self.queue().names.keep(id, &download.folder, &journal.name);
                        }
                    }
                    lost.push((row, task, record.journal));
                }
                _ if unreadable.contains(&id) => {}
                _ => folder.remove(id),
            }
        }
        lost.sort_by_key(|(row, ..)| row.id);
        let tasks: Vec<(Task, bool)> =
            lost.iter().map(|(_, task, journal)| (task.clone(), journal.is_some())).collect();
        let rows = self.queue().store.add(lost, self.queue().last_position()).await?;
        let ids = rows.iter().map(|row| row.id).collect();
        let added = rows.into_iter().zip(tasks).map(|(row, (task, has_journal))| (row, task, has_journal));
        self.queue().insert(added.collect(), false, None);
        Ok(ids)
    }

    /// The services, as a run with these terms has them.
    pub(crate) fn services_for<'a>(&'a self, terms: Option<&'a Arc<Terms>>) -> &'a Services {
        let own = terms.and_then(|terms| terms.services.as_deref());
        own.unwrap_or(&self.queue().services)
    }

    fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    /// Everything, with the revision that the next change counts from.
    pub fn snapshot(&self) -> Snapshot {
        let (revision, transfers) = self.queue().all(|_| true);
        Snapshot {
            revision,
            transfers,
            services: self.services(),
            settings: self.settings(),
            downloads_folder: self.downloads_folder().display().to_string(),
            notices: self.notices(),
        }
    }

    /// What the user must be told about this start.
    pub fn notices(&self) -> Vec<Words> {
        self.inner.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A face has something more to tell about this start.
    pub fn add_notice(&self, notice: Phrase) {
        self.inner.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice.into());
    }

    /// The transfers that are wanted, in the list's order.
    pub fn transfers(&self, wanted: impl Fn(&Transfer) -> bool) -> Vec<Transfer> {
        self.queue().all(wanted).1
    }

    /// Shows every transfer, in no order, without a copy of it. The list waits meanwhile. Answers the revision that they
    /// belong to: whoever listens has seen [`Changes`] up to that one already.
    pub fn look(&self, look: impl FnMut(&Transfer)) -> u64 {
        self.queue().look(look)
    }

    /// Whether there is a transfer like this.
    pub fn has_transfer(&self, wanted: impl Fn(&Transfer) -> bool) -> bool {
        self.queue().any(wanted)
    }

    /// Changes from now on: at most five a second, none while nothing changes. A listener that falls behind gets
    /// `Lagged` and takes a [`Engine::snapshot`]; what it still receives of revisions up to that one is older than what it has
    /// then, and to be skipped.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.queue().subscribe()
    }

    /// These rows, without those that are unknown.
    pub fn rows(&self, ids: &[TransferId]) -> Vec<Transfer> {
        self.queue().some(ids)
    }

    /// One row.
    pub fn transfer(&self, id: TransferId) -> Option<Transfer> {
        self.queue().row(id)
    }

    /// A transfer's history, oldest first.
    pub async fn timeline(&self, id: TransferId) -> Result<Vec<TimelineEntry>> {
        self.queue().store.timeline(id).await
    }

    /// What the details of a transfer draw, as it is now. Meant for the one that is open: nothing is sent by itself.
    pub async fn pictures(&self, id: TransferId) -> Result<Pictures> {
        let row = self.transfer(id).ok_or_else(|| no_such_transfer(id))?;
        let (speeds, running) = self.queue().course(id);
        let pieces = match running {
            Some(pieces) => pieces,
            None if row.kind == Kind::Download && row.state != State::Completed => {
                let journal = self.queue().journal(id).await?.unwrap_or_default();
                joined(journal.pieces.iter().map(Piece::extent).collect())
            }
            None => joined(vec![Extent { start: 0, end: row.bytes }]),
        };
        Ok(Pictures { speeds, pieces })
    }

    /// Adds files, and every file in folders, to the uploads. They are written down before this returns, in order.
    pub async fn upload(&self, request: UploadRequest) -> Result<Vec<TransferId>> {
        self.add_uploads(request).await.map(|added| added.ids)
    }

    /// The same, and says what became of files that were sent before.
    pub async fn add_uploads(&self, request: UploadRequest) -> Result<AddedUploads> {
        self.add_uploads_by(request, &Adding::default()).await
    }

    pub(crate) async fn add_uploads_by(&self, request: UploadRequest, by: &Adding) -> Result<AddedUploads> {
        let services = self.services_for(by.terms.as_ref());
        let service = match (&request.to, request.service) {
            (Some(_), None) => ServiceId::any_link(),
            (Some(_), Some(_)) => {
                return Err(Error::invalid(Phrase::OwnUrlTakesNoService).advise(Phrase::GiveOneOfTheTwo));
            }
            (None, service) => service.unwrap_or_else(|| services.default_id()),
        };
        let about = service.about().ok_or_else(|| services::unknown(&service))?;
        if request.to.is_none() && !about.uploads {
            return Err(Error::new(
                Cause::Unsupported,
                Phrase::NoUploadsThere { service: Peer::service(about.id) },
            ));
        }
        if let Some(url) = &request.to {
            SignedUrl::parse(url).map_err(|why| {
                Error::invalid(Phrase::NoSignedUrl).because(why).advise(Phrase::PasteWholeUrl)
            })?;
        }
        if request.to.is_none() && !request.headers.is_empty() {
            return Err(Error::invalid(Phrase::HeadersForUrlsOnly));
        }
        header_map(&request.headers)?;
        if let Some(content_type) = &request.content_type {
            let header = Header { name: "content-type".to_owned(), value: content_type.clone() };
            header_map(&[header])?;
        }
        let ChosenFiles { files: chosen, left_out } =
            self.chosen_files(request.paths, request.follow_links).await?;
        let files: Vec<PathBuf> = chosen.iter().map(|file| file.path.clone()).collect();
        if request.to.is_some() && files.len() != 1 {
            return Err(Error::invalid(Phrase::SignedUrlTakesOneFile { count: Count(files.len() as u64) }));
        }
        let mut unfinished = if request.to.is_none() {
            self.unfinished_uploads(&service, &chosen, services)
        } else {
            HashMap::new()
        };
        // What this very request has added already, wherever it stands by now.
        let came_by = self.uploads_that_came_by(by.token, &files);
        unfinished.retain(|path, _| !came_by.contains_key(path));
        let to_reuse = |path: &Path| unfinished.get(path).filter(|id| self.is_to_reuse(**id));
        let mut found = Found::new();
        if request.to.is_none() && request.if_sent != IfSent::Again {
            let stop = self.comparing().clone();
            let places = chosen.iter().map(|file| file.place().to_owned()).collect();
            let queue = self.queue();
            found = sent_before::find(&queue.store, &service, places, &queue.own_folder, &stop).await?;
            // What is on its way goes on; what was only to be reused can still be decided otherwise.
            found.retain(|place, _| {
                let path = &files[*place];
                !unfinished.contains_key(path) || to_reuse(path).is_some()
            });
        }
        let mut answer = AddedUploads { links: left_out, ..AddedUploads::default() };
        if request.if_sent == IfSent::Ask && !found.is_empty() {
            answer.question = Some(sent_before::question(&service, &files, &found));
            return Ok(answer);
        }
        if request.if_sent == IfSent::Again {
            for id in files.iter().filter_map(|path| to_reuse(path)) {
                if let Some(task) = self.queue().change_task(*id, Task::send_anyway) {
                    self.queue().store.save_task(*id, task).await?;
                }
            }
        }
        let is_skipped = |place: &usize| request.if_sent == IfSent::Skip && found.contains_key(place);
        let going_on = files.iter().enumerate().filter(|(place, _)| !is_skipped(place));
        let going_on: Vec<TransferId> =
            going_on.filter_map(|(_, path)| unfinished.get(path).copied()).collect();
        self.queue().put_under(&going_on, by.terms.as_ref());
        let there = self.queue().release_those_there(&going_on).await?;
        self.go_on(&came_by.values().copied().collect::<Vec<_>>(), by.terms.as_ref()).await?;
        // What was removed in this moment is sent anew.
        unfinished.retain(|_, id| there.contains(id));
        unfinished.extend(came_by);
        let mut ids = Vec::new();
        let mut new = Vec::new();
        let origin = services.origin(&service).ok().map(|origin| origin.to_string());
        for (place, ChosenFile { path, chosen, size }) in chosen.into_iter().enumerate() {
            let sent = found.remove(&place);
            if let Some(id) = unfinished.get(&path)
                && (sent.is_none() || request.if_sent != IfSent::Skip)
            {
                answer.reused += u64::from(sent.is_some());
                ids.push(Some(*id));
                continue;
            }
            if sent.is_some() && request.if_sent == IfSent::Skip {
                answer.skipped += 1;
                continue;
            }
            answer.reused += u64::from(sent.is_some());
            let reuse =
                sent.map(|(asset, source)| Box::new(Reuse { asset_id: asset.asset_id.into(), source }));
            let to_own_url = request.to.is_some();
            let task = Task::Upload(UploadTask {
                path,
                chosen: Some(chosen),
                method: request.method,
                content_type: request.content_type.clone(),
                to_own_url,
                source: None,
                reuse,
                token: by.token,
                origin: if to_own_url { None } else { origin.clone() },
            });
            let record =
                Resume { url: request.to.clone(), headers: request.headers.clone(), ..Resume::default() };
            let row = Transfer { total: Some(size), ..row_for(&task, &service, self.queue().now()) };
            new.push((row, task, record));
            ids.push(None);
        }
        answer.new = self.write_down(new, by).await?;
        let mut added = answer.new.iter().copied();
        answer.ids = ids.into_iter().filter_map(|known| known.or_else(|| added.next())).collect();
        Ok(answer)
    }

    /// Ends every comparison with what was sent before: those who wait for one get `canceled`, and nothing is added.
    pub fn stop_comparing(&self) {
        std::mem::take(&mut *self.comparing()).cancel();
    }

    fn comparing(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.inner.comparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this upload is to end with an asset that is there.
    fn is_to_reuse(&self, id: TransferId) -> bool {
        matches!(self.queue().task(id), Some(Task::Upload(UploadTask { reuse: Some(_), .. })))
    }

    /// Which of these files are on their way to a service, begun and not ended: they go on under their ids, with their
    /// asset ids.
    fn unfinished_uploads(
        &self,
        service: &str,
        files: &[ChosenFile],
        services: &Services,
    ) -> HashMap<PathBuf, TransferId> {
        let subjects = files.iter().map(|file| file.path.as_os_str().as_encoded_bytes());
        // A link may lead elsewhere by now.
        let places: HashMap<&Path, &Path> =
            files.iter().map(|file| (file.path.as_path(), file.place())).collect();
        let mut found: Vec<(PathBuf, TransferId)> =
            self.queue().find_same(subjects, |row, task| match task {
                Task::Upload(upload)
                    if row.service == service
                        && !upload.to_own_url
                        && services.is_still_at(service, upload.origin.as_deref())
                        && places.get(upload.path.as_path()) == Some(&upload.place())
                        && !matches!(row.state, State::Completed | State::Canceled) =>
                {
                    Some((upload.path.clone(), row.id))
                }
                _ => None,
            });
        // Of several, the latest.
        found.sort_unstable_by_key(|(_, id)| *id);
        found.into_iter().collect()
    }

    /// Which of these uploads were added by this request.
    fn uploads_that_came_by(&self, token: Option<Token>, files: &[PathBuf]) -> HashMap<PathBuf, TransferId> {
        if token.is_none() {
            return HashMap::new();
        }
        let subjects = files.iter().map(|path| path.as_os_str().as_encoded_bytes());
        let found = self.queue().find_same(subjects, |row, task| match task {
            Task::Upload(upload) if upload.token == token => Some((upload.path.clone(), row.id)),
            _ => None,
        });
        found.into_iter().collect()
    }

    /// Lets those of these go on that a holder before this one left in the queue. What was stopped stays so.
    pub(crate) async fn go_on(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        let is_left = |id: &TransferId| self.transfer(*id).is_some_and(|row| row.state == State::Queued);
        let left: Vec<TransferId> = ids.iter().copied().filter(is_left).collect();
        self.queue().put_under(&left, terms);
        self.queue().release_those_there(&left).await.map(drop)
    }

    /// Adds a download; written down before this returns. The same download that is not finished yet goes on.
    pub async fn download(&self, request: DownloadRequest) -> Result<TransferId> {
        self.add_download(request).await.map(|added| added.id)
    }

    /// Adds a download as [`Engine::download`] does, and says whether it is one more.
    pub async fn add_download(&self, request: DownloadRequest) -> Result<AddedDownload> {
        let mut added = self.add_downloads(vec![request], &Adding::default()).await?;
        added.pop().ok_or_else(|| Error::internal("The download was not written down"))?
    }

    /// Whom a download would contact first, and whether it would carry words of its request there.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::add_download`] for a request that cannot be understood.
    pub fn first_contact(&self, request: &DownloadRequest) -> Result<FirstContact> {
        let services = &self.queue().services;
        let asked = self.asked(request.clone(), services)?;
        let place = asked.service.about().map_or(Place::InTheLink, |about| about.place);
        Ok(match place {
            Place::InTheLink => FirstContact { carries_words: true, address: asked.url },
            Place::Inside => FirstContact { carries_words: false, address: None },
            Place::Address { .. } => FirstContact {
                carries_words: asked.url.is_some(),
                address: services.address_of_settings(&asked.service),
            },
        })
    }

    /// Adds many downloads at once, which costs hardly more than one; what is wrong with one keeps none of the others.
    pub async fn download_all(&self, requests: Vec<DownloadRequest>) -> Result<Vec<Result<TransferId>>> {
        let added = self.add_downloads(requests, &Adding::default()).await?;
        Ok(added.into_iter().map(|added| added.map(|added| added.id)).collect())
    }

    pub(crate) async fn add_downloads(
        &self,
        mut requests: Vec<DownloadRequest>,
        by: &Adding,
    ) -> Result<Vec<Result<AddedDownload>>> {
        let connections = by.terms.as_ref().and_then(|terms| terms.pace.connections);
        for request in &mut requests {
            request.connections = request.connections.or(connections);
        }
        let services = self.services_for(by.terms.as_ref());
        let asked: Vec<Result<Asked>> =
            requests.into_iter().map(|request| self.asked(request, services)).collect();
        let mut unfinished = self.unfinished_downloads(asked.iter().flatten(), services).await;
        let came_by = self.downloads_that_came_by(&asked, by.token);
        let wanted: HashSet<Same> = asked.iter().flatten().map(Asked::same).collect();
        unfinished.retain(|same, _| wanted.contains(same));
        // What this very request has added already goes on if it can, and is not begun anew if it is over.
        self.go_on(&came_by.values().copied().collect::<Vec<_>>(), by.terms.as_ref()).await?;
        unfinished.retain(|same, _| !came_by.contains_key(same));
        let known: Vec<TransferId> = unfinished.values().copied().collect();
        for asked in asked.iter().flatten().filter(|asked| !asked.headers.is_empty()) {
            if let Some(id) = unfinished.get(&asked.same()) {
                self.renew_headers(*id, asked).await?;
            }
        }
        self.queue().put_under(&known, by.terms.as_ref());
        let there = self.queue().release_those_there(&known).await?;
        // What was removed in this moment is fetched anew.
        unfinished.retain(|_, id| there.contains(id));
        unfinished.extend(came_by);
        let (mut places, mut new) = (HashMap::new(), Vec::new());
        // For each request the transfer that is there already, or its place among the new ones.
        let mut answers = Vec::with_capacity(asked.len());
        for (place, asked) in asked.into_iter().enumerate() {
            answers.push(match asked {
                Err(error) => Err(error),
                Ok(asked) => Ok(match unfinished.get(&asked.same()) {
                    Some(id) => Ok(*id),
                    None => Err(*places.entry(asked.same()).or_insert_with(|| {
                        let record = Resume { url: asked.url, headers: asked.headers, ..Resume::default() };
                        let task = Task::Download(asked.task);
                        let token = by.token.map(|token| token.of_place(place));
                        let row = row_for(&task, &asked.service, self.queue().now());
                        new.push((row, Task::comes_by(task, token), record));
                        new.len() - 1
                    })),
                }),
            });
        }
        let added = self.write_down(new, by).await?;
        let answer = |place: std::result::Result<TransferId, usize>| AddedDownload {
            is_new: place.is_err(),
            id: place.unwrap_or_else(|place| added[place]),
        };
        Ok(answers.into_iter().map(|place| place.map(answer)).collect())
    }

    /// The headers that a download goes on with are those that were given last.
    async fn renew_headers(&self, id: TransferId, asked: &Asked) -> Result<()> {
        let folder = self.queue().resume_folder.clone();
        let (url, headers) = (asked.url.clone(), asked.headers.clone());
        let written = blocking(move || {
            let mut record = folder.read(id);
            record.headers = headers;
            record.url = record.url.or(url);
            folder.write(id, &record)
        });
        written.await?.map_err(|error| Error::target_io("Writing to", Path::new("resume"), &error))?;
        match self.queue().change_task(id, Task::needs_record) {
            Some(task) => self.queue().store.save_task(id, task).await,
            None => Ok(()),
        }
    }

    /// Understands a request.
    fn asked(&self, request: DownloadRequest, services: &Services) -> Result<Asked> {
        let what = request.what.trim().to_owned();
        if what.is_empty() || what.chars().any(char::is_control) {
            return Err(Error::invalid(Phrase::NothingToDownload).advise(Phrase::GiveLinkOrId));
        }
        // Without a service named, what has neither `https://` nor the form of an address is an id of the default one.
        let takes_links = |service: &ServiceId| service.about().is_some_and(About::takes_links);
        let what = match &request.service {
            Some(service) if !takes_links(service) => what,
            _ => address::completed(&what).unwrap_or(what),
        };
        let url = address::parse_http(&what);
        let looks_like_url = what.contains("://");
        let service = match request.service {
            Some(service) => service,
            None if looks_like_url => ServiceId::any_link(),
            None => services.default_id(),
        };
        let about = service.about().ok_or_else(|| services::unknown(&service))?;
        let is_url = looks_like_url || about.is_any_link();
        if is_url && let Err(why) = &url {
            return Err(Error::invalid(Phrase::LinkNotFetchable).because(why.clone()));
        }
        if is_url && !about.takes_links() {
            return Err(Error::invalid(Phrase::IdsOnly { service: Peer::service(about.id) }));
        }
        // It is neither asked for, nor kept, nor repeated.
        if !is_url && !may_be_id(&what) {
            return Err(Error::invalid(Phrase::IdUnusable).advise(Phrase::GiveLinkOrId));
        }
        if !about.is_any_link() && !request.headers.is_empty() {
            return Err(Error::invalid(Phrase::HeadersForUrlsOnly));
        }
        header_map(&request.headers)?;
        let folder = match request.folder {
            Some(folder) => std::path::absolute(&folder)
                .map_err(|error| Error::invalid(Phrase::FolderUnusable).because(error.to_string()))?,
            None => self.downloads_folder(),
        };
        // What is written to the database is the address without what may be secret in it.
        let (shown, is_whole) = match &url {
            Ok(url) if is_url => {
                let mut shown = url.clone();
                shown.set_query(None);
                shown.set_fragment(None);
                // Always possible for http(s).
                let _ = (shown.set_username(""), shown.set_password(None));
                // With headers the address alone does not bring it.
                (shown.to_string(), shown == *url && request.headers.is_empty())
            }
            _ => (what.clone(), false),
        };
        let task = DownloadTask {
            what: shown,
            is_url,
            is_whole,
            folder,
            name: request.name,
            unique_id: request.unique_id,
            quality: request.quality,
            remove_after: request.remove_after,
            connections: request.connections.or(self.queue().overrides().connections),
            checksum: request.checksum,
            server_id: None,
            token: None,
            origin: services.origin(&service).ok().map(|origin| origin.to_string()),
        };
        Ok(Asked { service, task, url: is_url.then_some(what), headers: request.headers })
    }

    /// Which of these were added by this very request, wherever they stand by now.
    fn downloads_that_came_by(
        &self,
        asked: &[Result<Asked>],
        token: Option<Token>,
    ) -> HashMap<Same, TransferId> {
        let Some(token) = token else { return HashMap::new() };
        let subjects = asked.iter().flatten().map(|asked| asked.task.what.as_bytes());
        let found = self.queue().find_same(subjects, |row, task| Some((task.token()?, row.id)));
        let found: HashMap<Token, TransferId> = found.into_iter().collect();
        // A link whose query is hidden is known by its place in the request alone.
        let of_place = |(place, asked): (usize, &Result<Asked>)| {
            Some((asked.as_ref().ok()?.same(), *found.get(&token.of_place(place))?))
        };
        asked.iter().enumerate().filter_map(of_place).collect()
    }

    /// Which of these are on the list already, and not finished.
    async fn unfinished_downloads<'a>(
        &self,
        wanted: impl Iterator<Item = &'a Asked>,
        services: &Services,
    ) -> HashMap<Same, TransferId> {
        let shown: HashSet<&[u8]> = wanted.map(|asked| asked.task.what.as_bytes()).collect();
        let mut found: Vec<(TransferId, Asked)> =
            self.queue().find_same(shown.into_iter(), |row, task| match task {
                Task::Download(task)
                    if !matches!(row.state, State::Completed | State::Canceled)
                        && services.is_still_at(&row.service, task.origin.as_deref()) =>
                {
                    Some((
                        row.id,
                        Asked {
                            service: row.service.clone(),
                            task: task.clone(),
                            url: None,
                            headers: Vec::new(),
                        },
                    ))
                }
                _ => None,
            });
        // Of several, the latest.
        found.sort_unstable_by_key(|(id, _)| *id);
        let folder = self.queue().resume_folder.clone();
        let with_url = move |(id, mut asked): (TransferId, Asked)| {
            // Two links may differ only in what the list does not show.
            asked.url = if asked.task.is_url { asked.task.url(folder.read(id).url) } else { None };
            (asked.same(), id)
        };
        self.queue().disk(move || found.into_iter().map(with_url).collect()).await.unwrap_or_default()
    }

    /// Writes transfers down: rows, tasks, and what must stay secret; then lets them start.
    async fn write_down(
        &self,
        mut new: Vec<(Transfer, Task, Resume)>,
        by: &Adding,
    ) -> Result<Vec<TransferId>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let queue = self.queue();
        new.iter_mut().for_each(|(row, ..)| row.origin = by.origin);
        let (rows, records): (Vec<_>, Vec<_>) =
            new.into_iter().map(|(row, task, record)| ((row, task, None), record)).unzip();
        let tasks: Vec<Task> = rows.iter().map(|(_, task, _)| task.clone()).collect();
        let rows = queue.store.add(rows, queue.last_position()).await?;
        let ids: Vec<TransferId> = rows.iter().map(|row| row.id).collect();
        let records =
            rows.iter().zip(records.into_iter().zip(&tasks)).filter(|(_, (record, _))| !record.is_empty());
        let records = records.map(|(row, (record, task))| {
            let (task, service) = (Some(task.clone()), Some(row.service.clone()));
            (row.id, Resume { task, service, ..record })
        });
        if let Err(error) = queue.save_new_resumes(records.collect()).await {
            // Without its link it could never run: better not to have it on the list at all.
            ids.iter().for_each(|id| queue.resume_folder.remove(*id));
            queue.store.remove(ids).await?;
            return Err(error);
        }
        let added = rows.into_iter().zip(tasks).map(|(row, task)| (row, task, false));
        queue.insert(added.collect(), true, by.terms.as_ref());
        Ok(ids)
    }

    /// Stops transfers where they stand.
    pub async fn pause(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().pause(ids).await
    }

    /// Lets transfers go on: paused, failed, canceled, or left over by an earlier run. An account that had nothing left is
    /// given another chance.
    pub async fn resume(&self, ids: &[TransferId]) -> Result<()> {
        self.resume_by(ids, None).await
    }

    pub(crate) async fn resume_by(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        self.queue().account_was_seen_to(ids);
        self.queue().put_under(ids, terms);
        self.queue().release(ids).await
    }

    /// Gives transfers up. Their part files stay until the row is removed.
    pub async fn cancel(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().cancel(ids).await
    }

    /// Tries failed transfers again; what is confirmed is kept. A refused key, or an account that
    /// had nothing left, is given another chance.
    pub async fn retry(&self, ids: &[TransferId]) -> Result<()> {
        self.retry_by(ids, None).await
    }

    pub(crate) async fn retry_by(&self, ids: &[TransferId], terms: Option<&Arc<Terms>>) -> Result<()> {
        for id in ids {
            let row = self.queue().row(*id).ok_or_else(|| no_such_transfer(*id))?;
            self.queue().clear_problem(&row.service);
        }
        self.queue().put_under(ids, terms);
        self.queue().release(ids).await
    }

    /// Whether a download can be had once more by what is known of it: by its id, or by a link of which nothing was hidden.
    pub fn can_download_again(&self, id: TransferId) -> bool {
        matches!(self.queue().task(id), Some(Task::Download(task)) if task.is_known())
    }

    /// Downloads the same once more, into the Downloads folder.
    pub async fn download_again(&self, id: TransferId) -> Result<AddedDownload> {
        self.add_download(self.request_again(id)?).await
    }

    /// What to ask for to download the same once more.
    ///
    /// # Errors
    ///
    /// `invalid_input` where it is not on the list, or its link is no longer kept.
    pub fn request_again(&self, id: TransferId) -> Result<DownloadRequest> {
        let row = self.queue().row(id).ok_or_else(|| no_such_transfer(id))?;
        let Some(Task::Download(task)) = self.queue().task(id).filter(|_| self.can_download_again(id)) else {
            return Err(Error::invalid(Phrase::LinkNotKept).advise(Phrase::PasteLinkAgain));
        };
        Ok(DownloadRequest {
            what: task.what,
            service: Some(row.service),
            folder: None,
            name: task.name,
            unique_id: task.unique_id,
            quality: task.quality,
            remove_after: task.remove_after,
            connections: task.connections,
            checksum: task.checksum,
            headers: Vec::new(),
        })
    }

    /// Lets a download go on in another folder, with what has arrived so far.
    pub async fn move_download(&self, id: TransferId, folder: &Path) -> Result<()> {
        let folder = std::path::absolute(folder)
            .map_err(|error| Error::invalid(Phrase::FolderUnusable).because(error.to_string()))?;
        let queue = self.queue();
        let turn = queue.turn(id).await;
        queue.stop_in(&turn, Stop::Pause).await?;
        let row = queue.row(id).ok_or_else(|| no_such_transfer(id))?;
        let Some(Task::Download(task)) = queue.task(id) else {
            return Err(Error::invalid(Phrase::OnlyDownloadsHaveFolder));
        };
        if queue.is_late(id) {
            // What still hangs there may write to the part file when it comes back.
            return Err(folder_is_silent(&task.folder));
        }
        if row.state == State::Completed {
            return Err(Error::invalid(Phrase::AlreadyFinished).advise(Phrase::MoveFileItself));
        }
        let before = queue.journal(id).await?;
        let mut journal = before.clone();
        if let Some(journal) = &mut journal {
            let (names, wanted, to) = (Arc::clone(&queue.names), journal.name.clone(), folder.clone());
            let is_wanted = Arc::new(AtomicBool::new(true));
            let (still_wanted, was_folder) = (Arc::clone(&is_wanted), task.folder.clone());
            let name = blocking(move || {
                let inside = Folder::open(&to)?;
                let name = names
                    .reserve(id, &inside, |is_reserved| PartFile::free_name(&inside, &wanted, is_reserved));
                if !still_wanted.load(Ordering::SeqCst) {
                    names.keep(id, &was_folder, &wanted);
                }
                name
            });
            let Ok(name) = tokio::time::timeout(FOLDER_LIMIT, name).await else {
                is_wanted.store(false, Ordering::SeqCst);
                // It may have found a name just before that.
                queue.names.keep(id, &task.folder, &journal.name);
                return Err(folder_is_silent(&folder));
            };
            let name = name??;
            // Known again as soon as the part file is opened there.
            journal.drive = None;
            journal.moved_from = Some((task.folder.clone(), std::mem::replace(&mut journal.name, name)));
        }
        // Written down first: whatever happens on the way, the next start finds it and goes on.
        self.put_in(id, &folder, journal.clone()).await?;
        if let Some(Journal { name, moved_from: Some((from, old)), .. }) = journal.clone() {
            let to = folder.clone();
            let (was_folder, was_name) = (from.clone(), old.clone());
            let noted = journal.as_ref().and_then(|journal| journal.file);
            let calls = queue.disk_calls();
            let (hold, asked) = (calls.hold(), Arc::clone(&calls));
            let mut moving = tokio::task::spawn_blocking(move || {
                let _hold = hold;
                let _inside = asked.inside();
                crate::files::part_file::relocate(&from, &old, &to, &name, noted, || asked.moved_on())
            });
            let moved = tokio::select! {
                moved = &mut moving => moved.map_err(|_| Error::internal("A disk task was interrupted"))?,
                () = calls.falls_silent(FOLDER_LIMIT) => {
                    // What has begun ends when the disk answers; then the transfer runs, and does the rest of it.
                    queue.leave(id, &calls, was_folder);
                    return queue.release_in(&turn).await;
                }
            };
            let file = match moved {
                Ok(file) => file,
                Err(error) => {
                    queue.names.keep(id, &was_folder, &was_name);
                    self.put_in(id, &was_folder, before).await?;
                    return Err(error);
                }
            };
            let journal = journal.map(|journal| Journal { moved_from: None, file, ..journal });
            self.put_in(id, &folder, journal).await?;
        }
        queue.release_in(&turn).await
    }

    /// Writes down where a download goes, and what its part file there proves.
    async fn put_in(&self, id: TransferId, folder: &Path, journal: Option<Journal>) -> Result<()> {
        let queue = self.queue();
        let changed = queue.change_task(id, |task| {
            if let Task::Download(download) = task {
                folder.clone_into(&mut download.folder);
            }
        });
        let Some(task) = changed else { return Ok(()) };
        queue.store.save_place(id, task.clone(), journal.clone()).await?;
        let mut record = queue.resume_folder.read(id);
        if !record.is_empty() {
            record.task = Some(task);
            record.journal = record.journal.and(journal);
            queue.save_resume(id, record).await?;
        }
        Ok(())
    }

    /// Takes transfers off the list. The part file of an unfinished download goes with it; finished files stay.
    pub async fn remove(&self, ids: &[TransferId]) -> Result<()> {
        self.queue().remove(ids).await
    }

    /// Moves transfers before another one, or to the end.
    pub async fn reorder(&self, ids: &[TransferId], before: Option<TransferId>) -> Result<()> {
        self.queue().reorder(ids, before).await
    }

    /// Counts what lies below some paths, before anything starts.
    pub async fn summarise(&self, paths: Vec<PathBuf>) -> Result<PathSummary> {
        let files = self.chosen_files(paths.clone(), None).await?.files;
        blocking(move || PathSummary {
            files: files.len() as u64,
            folders: paths.iter().filter(|path| path.is_dir()).count() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
        })
        .await
    }

    async fn chosen_files(&self, paths: Vec<PathBuf>, follow: Option<bool>) -> Result<ChosenFiles> {
        let own = self.queue().own_folder.clone();
        let follow = follow.unwrap_or(self.settings().follow_links);
        self.queue().disk(move || ChosenFiles::below(&paths, &own, follow)).await?
    }

    /// What a text in the add bar may mean, the likeliest first.
    pub fn recognise(&self, text: &str) -> Vec<Recognised> {
        self.queue().services.recognise(text)
    }

    /// What a `ferry://` link proposes, as the add bar takes it and as it may be shown. Starts nothing.
    pub fn read_link(&self, link: &str) -> (Option<String>, LinkOffer) {
        let what = deep_link::what_of(link);
        let readings = what.as_deref().map(|what| self.recognise(what)).unwrap_or_default();
        match what {
            Some(what) if !readings.is_empty() => {
                let offer = LinkOffer { shown: deep_link::shown(&what), readings };
                (Some(what), offer)
            }
            _ => (None, LinkOffer::refused()),
        }
    }

    /// The library: what was sent and seen, newest first.
    pub async fn assets(&self, search: &str) -> Result<Vec<Asset>> {
        self.queue().store.assets(search).await
    }

    /// What was sent from here with the content of this file, by SHA-256, whichever service has it; newest first for each.
    /// The answer is as good as the library: what the services hold is not asked. A file that cannot be read is an error.
    pub async fn assets_with_content(&self, file: &Path) -> Result<Vec<Asset>> {
        sent_before::with_content_of(&self.queue().store, file, &self.queue().own_folder).await
    }

    /// How many assets the library holds.
    pub async fn asset_count(&self) -> Result<u64> {
        self.queue().store.asset_count().await
    }

    /// Writes the library to a file, as CSV or (by its extension) JSON. Gives the number of assets.
    pub async fn export_assets(&self, file: &Path) -> Result<usize> {
        let assets = self.assets("").await?;
        let as_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if as_json {
            serde_json::to_string_pretty(&assets).map_err(|error| Error::internal(error.to_string()))?
        } else {
            library_file::csv(&assets)
        };
        let (file, count) = (file.to_owned(), assets.len());
        blocking(move || {
            write_whole(&file, text.as_bytes()).map_err(|error| Error::target_io("Writing", &file, &error))
        })
        .await??;
        Ok(count)
    }

    /// Takes in a library that Ferry exported. What this one knows already stays as it is here; only a size or a
    /// checksum that it lacks is taken over.
    pub async fn import_assets(&self, file: &Path) -> Result<ImportedAssets> {
        /// Enough for a million assets.
        const LARGEST: u64 = 512 * 1024 * 1024;
        let file = file.to_owned();
        let read = move || {
            let another = |why: Words| {
                Error::invalid(Phrase::NoLibraryInFile).because(why).advise(Phrase::ChooseExported)
            };
            library_file::read(&read_up_to(&file, LARGEST, another)?).map_err(another)
        };
        let assets = blocking(read).await??;
        let count = assets.len() as u64;
        let new = self.queue().store.import_assets(assets).await?;
        Ok(ImportedAssets { count, new })
    }

    async fn service_of(
        &self,
        asset_id: &str,
        service: Option<&str>,
        services: &Services,
    ) -> Result<ServiceId> {
        if let Some(service) = service {
            return Ok(service.into());
        }
        let known = self.queue().store.asset(None, asset_id).await?;
        Ok(known.map_or_else(|| services.default_id(), |asset| asset.service))
    }

    /// Asks the service about an asset.
    pub async fn asset_info(&self, asset_id: &str, service: Option<&str>) -> Result<AssetInfo> {
        self.asset_info_by(asset_id, service, None).await
    }

    pub(crate) async fn asset_info_by(
        &self,
        asset_id: &str,
        service: Option<&str>,
        terms: Option<&Arc<Terms>>,
    ) -> Result<AssetInfo> {
        let services = self.services_for(terms);
        let service = self.service_of(asset_id, service, services).await?;
        check_id(&service, asset_id)?;
        services.get(&service).await?.info(asset_id).await
    }

    /// Deletes an asset at its service for good. Ask the user first.
    pub async fn asset_delete(&self, asset_id: &str, service: Option<&str>) -> Result<()> {
        self.asset_delete_by(asset_id, service, None).await
    }

    pub(crate) async fn asset_delete_by(
        &self,
        asset_id: &str,
        service: Option<&str>,
        terms: Option<&Arc<Terms>>,
    ) -> Result<()> {
        let services = self.services_for(terms);
        let service = self.service_of(asset_id, service, services).await?;
        check_id(&service, asset_id)?;
        services.get(&service).await?.delete(asset_id).await?;
        self.queue().store.set_asset_status(&service, asset_id, AssetStatus::Deleted).await
    }

    /// Every service.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.queue().services.statuses()
    }

    /// Asks the keychain for the keys, so that [`Engine::services`] knows where they are.
    pub async fn look_up_keys(&self) {
        self.queue().services.look_up_keys().await;
    }

    /// Asks a service something harmless: is it there, does it accept the key? The first key of a service that takes
    /// uploads makes it the default one once it is accepted, if that is still the sandbox.
    pub async fn check(&self, service: impl Into<ServiceId>) -> Result<CheckReport> {
        self.check_by(&service.into(), None).await
    }

    pub(crate) async fn check_by(
        &self,
        service: &ServiceId,
        terms: Option<&Arc<Terms>>,
    ) -> Result<CheckReport> {
        service.about().ok_or_else(|| services::unknown(service))?;
        let services = self.services_for(terms);
        let began = Instant::now();
        let key_changes = services.key_changes();
        let result = match services.get(service).await {
            Ok(asked) => asked.check().await,
            Err(error) => Err(error),
        };
        let reached = match &result {
            Ok(()) => true,
            Err(error) => error.http_status.is_some(),
        };
        let status = services.statuses().into_iter().find(|status| status.id == *service);
        let needs_key = status.as_ref().is_some_and(|status| status.key != KeyState::Unneeded);
        let problem = result.as_ref().err().map(Failure::from);
        match &result {
            Ok(()) if terms.is_some_and(|terms| terms.services.is_some()) => {}
            Ok(()) => self.queue().clear_problem(service),
            Err(error) if error.cause == Cause::Unauthorized && reached => {
                if services.key_refused(service, &Failure::from(error), key_changes) == Some(true) {
                    self.queue().services_changed();
                }
            }
            Err(_) => {}
        }
        let now_default = result.is_ok() && needs_key && self.becomes_default(service).await;
        Ok(CheckReport {
            now_default,
            service: service.clone(),
            reached_in: reached.then(|| began.elapsed().as_millis() as u64),
            tls: status.is_some_and(|status| status.address.starts_with("https:")),
            key_accepted: match &result {
                _ if !needs_key => None,
                Ok(()) => Some(true),
                // No key at all is no refusal.
                Err(error) if error.cause == Cause::Unauthorized && reached => Some(false),
                Err(_) => None,
            },
            problem,
        })
    }

    /// Makes a service the default one, now that its new key was accepted, if until now that is the sandbox. Whether it
    /// is the default from now on and was not before.
    async fn becomes_default(&self, service: &ServiceId) -> bool {
        let may_be = service.about().is_some_and(|about| about.uploads && about.may_be_default());
        if !self.new_keys().remove(service) || !may_be {
            return false;
        }
        let is_kept = self.inner.keys.state(service) == KeyState::Keychain;
        let _changing = self.inner.changing_settings.lock().await;
        let mut settings = self.settings();
        let was = std::mem::replace(&mut settings.default_service, service.clone());
        // What was so for this run only stays.
        let was_for_this_run = is_kept && self.default_for_this_run().take_if(|it| it == service).is_some();
        if !was.is_at_first() && !was_for_this_run {
            return false;
        }
        if is_kept {
            if let Err(error) = self.put_settings(settings).await {
                tracing::warn!(%error, "the default service stays as it was");
                return false;
            }
        } else {
            // A key in memory ends with this run.
            *self.default_for_this_run() = Some(service.clone());
            self.queue().set_settings(settings);
        }
        was != *service
    }

    fn new_keys(&self) -> std::sync::MutexGuard<'_, HashSet<ServiceId>> {
        self.inner.new_keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a key for a service at its present address, in the keychain or (said by the answer) in memory for this run.
    /// Whether it is any good is found out by [`Engine::check`].
    pub async fn set_key(&self, service: impl Into<ServiceId>, key: Secret) -> Result<KeyState> {
        self.set_key_by(&service.into(), key, None).await
    }

    pub(crate) async fn set_key_by(
        &self,
        service: &ServiceId,
        key: Secret,
        terms: Option<&Arc<Terms>>,
    ) -> Result<KeyState> {
        let about = service.about().ok_or_else(|| services::unknown(service))?;
        if !about.needs_key() {
            return Err(Error::invalid(Phrase::KeyUnneeded { service: Peer::service(about.id) }));
        }
        let origin = self.services_for(terms).origin(service)?;
        let state = self.inner.keys.set(service, key, origin).await?;
        self.new_keys().insert(service.clone());
        self.queue().clear_problem(service);
        self.queue().services_changed();
        Ok(state)
    }

    /// Forgets a service's key. What was wrong with it is forgotten too: what waits says that there is none.
    pub async fn remove_key(&self, service: impl Into<ServiceId>) -> Result<()> {
        let service = &service.into();
        service.about().ok_or_else(|| services::unknown(service))?;
        self.new_keys().remove(service);
        let removed = self.inner.keys.remove(service).await;
        if removed.is_ok() {
            self.queue().clear_problem(service);
        }
        self.queue().services_changed();
        removed
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.inner.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks, writes and applies settings; what runs keeps to them from now on.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::change_settings`].
    pub async fn save_settings(&self, settings: Settings) -> Result<()> {
        self.change_settings(|all| *all = settings).await.map(drop)
    }

    /// Changes some of the settings, checks, writes and applies them. Several changes at once are made one after the
    /// other, and each leaves alone what it does not name. Gives what is in force now; every listener is told, too.
    ///
    /// # Errors
    ///
    /// `invalid_input` for values that cannot work, `disk_full` or `permission_denied` when they cannot be written; then
    /// nothing is changed.
    pub async fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<Settings> {
        let _changing = self.inner.changing_settings.lock().await;
        let mut settings = self.settings();
        change(&mut settings);
        self.put_settings(settings.clone()).await?;
        Ok(settings)
    }

    /// [`Engine::change_settings`] by the names of the fields.
    ///
    /// # Errors
    ///
    /// Those, and `internal` for a field that there is none of.
    pub async fn patch_settings(&self, patch: SettingsPatch) -> Result<Settings> {
        let _changing = self.inner.changing_settings.lock().await;
        let settings = self.settings().patched(patch)?;
        self.put_settings(settings.clone()).await?;
        Ok(settings)
    }

    /// What a change of settings would entrust to others that they do not have yet.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::patch_settings`].
    pub fn entrusts(&self, patch: &SettingsPatch) -> Result<Entrusted> {
        let before = self.settings();
        let after = before.patched(patch.clone())?;
        after.check()?;
        let moved = self.queue().services.moved(&after).into_iter();
        Ok(Entrusted {
            origins: moved.map(|(service, origin)| (service, origin.to_string())).collect(),
            removes_there: service::settings().any(|known| {
                let is_on = |settings: &Settings| settings.of_services.is_on(known.name);
                matches!(known.input, Some(Input::Switch { deletes: true, .. }))
                    && is_on(&after)
                    && !is_on(&before)
            }),
        })
    }

    /// For one who holds `changing_settings`.
    async fn put_settings(&self, settings: Settings) -> Result<()> {
        let (file, mut written) = (self.inner.settings_file.clone(), settings.clone());
        {
            let mut for_this_run = self.default_for_this_run();
            if for_this_run.as_ref() == Some(&settings.default_service) {
                written.default_service = ServiceId::at_first();
            } else {
                // The user chose another.
                *for_this_run = None;
            }
        }
        self.queue().disk(move || written.save(&file)).await??;
        let before = self.settings();
        self.queue().set_settings(settings.clone());
        for service in self.queue().services.readdressed(&before, &settings) {
            self.queue().clear_problem(service);
        }
        Ok(())
    }

    /// Everything as it was at first, but where files and keys go. Gives what is in force now.
    pub async fn reset_settings(&self) -> Result<Settings> {
        self.change_settings(|all| *all = Settings::default().keeping_places_of(all)).await
    }

    /// Writes the settings to a file, for another computer or another day. Keys are not in it.
    pub async fn export_settings(&self, file: &Path) -> Result<()> {
        let (settings, file) = (self.settings(), file.to_owned());
        blocking(move || settings.save(&file)).await?
    }

    /// Takes settings over from a file, but where files and keys go. Gives what is in force now.
    pub async fn import_settings(&self, file: &Path) -> Result<Settings> {
        /// The longest text that can hold them.
        const LARGEST: u64 = 1024 * 1024;
        let file = file.to_owned();
        let read = move || {
            let another = |why: Words| {
                Error::invalid(Phrase::NoSettingsInFile).because(why).advise(Phrase::ChooseExported)
            };
            Settings::parse(&read_up_to(&file, LARGEST, another)?).map_err(another)
        };
        let settings = blocking(read).await??;
        self.change_settings(|all| *all = settings.keeping_places_of(all)).await
    }

    fn default_for_this_run(&self) -> std::sync::MutexGuard<'_, Option<ServiceId>> {
        self.inner.default_for_this_run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where downloads go.
    pub fn downloads_folder(&self) -> PathBuf {
        if let Some(folder) = self.settings().downloads_folder {
            return folder;
        }
        directories::UserDirs::new().map_or_else(
            || PathBuf::from("Downloads"),
            |user| user.download_dir().map_or_else(|| user.home_dir().join("Downloads"), Path::to_owned),
        )
    }

    /// Stops everything where it stands, within two seconds. Unfinished transfers go on at the next start.
    pub async fn shutdown(&self) {
        self.stop_comparing();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.queue().close()).await.is_err() {
            tracing::warn!("some transfers did not stop in time; they go on from their last journal entry");
        }
    }

    /// Stops everything where it stands, however long that takes, and lets another process have the data folder: from
    /// here on this one writes nothing there. Nobody may ask this engine for anything any more.
    pub(crate) async fn let_go(&self) {
        self.stop_comparing();
        self.queue().close().await;
        drop(self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// Whether nothing runs and nothing waits for its turn.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue().is_idle()
    }
}

/// Who adds transfers, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Adding {
    /// Names the request, where the same one may come again.
    pub token: Option<Token>,
    /// What the transfers go by, if not by what all do.
    pub terms: Option<Arc<Terms>>,
    /// Where the request comes from, if not from the window.
    pub origin: Option<AddedBy>,
}

/// So many are named where there may be thousands.
const NAMED: usize = 3;

/// A transfer is written down in two steps when part of it must stay secret. One that a kill caught between them was
/// never promised to anybody, and without its link it can never run: it goes off the list, and that is told.
async fn drop_half_added(
    store: &Store,
    folder: &ResumeFolder,
    stored: &mut Vec<Stored>,
) -> Result<Option<Phrase>> {
    let half_added = |stored: &Stored| {
        let needs_secret = stored.task.hides_link() && stored.row.service.is_any_link();
        let untouched =
            stored.row.state == State::Queued && stored.row.bytes == 0 && stored.journal.is_none();
        needs_secret && untouched && !folder.has(stored.row.id)
    };
    let (gone, kept) = std::mem::take(stored).into_iter().partition::<Vec<_>, _>(half_added);
    *stored = kept;
    if gone.is_empty() {
        return Ok(None);
    }
    store.remove(gone.iter().map(|stored| stored.row.id).collect()).await?;
    let some: Vec<&str> = gone.iter().map(|stored| stored.row.name.as_str()).take(NAMED).collect();
    let names = some.join("`, `").into();
    Ok(Some(match gone.len().saturating_sub(NAMED) {
        0 => Phrase::HalfAdded { names },
        more => Phrase::HalfAddedAndMore { names, more: Count(more as u64) },
    }))
}

/// A download as it was asked for and understood.
struct Asked {
    service: ServiceId,
    task: DownloadTask,
    /// The whole link, if it is one.
    url: Option<String>,
    /// Secrets that go along with it.
    headers: Vec<Header>,
}

/// Refuses what is no id of this service, before it is told to anybody.
fn check_id(service: &str, id: &str) -> Result<()> {
    match service::about(service) {
        // It has none, and says so.
        Some(about) if about.is_any_link() || may_be_id(id) => Ok(()),
        Some(_) => Err(Error::invalid(Phrase::IdUnusable).advise(Phrase::CheckId)),
        None => Err(services::unknown(service)),
    }
}

/// What makes two requests the same download. With another checksum it is another one: what is begun keeps the one that it
/// was begun with.
type Same = (ServiceId, String, PathBuf, [Option<String>; 5]);

impl Asked {
    fn same(&self) -> Same {
        let task = self.task.clone();
        let checksum = task.checksum.map(String::from);
        let rest = [task.name, task.unique_id, task.quality, self.url.clone(), checksum];
        (self.service.clone(), task.what, task.folder, rest)
    }
}

/// A new row for a task that is added now, in milliseconds since 1970.
fn row_for(task: &Task, service: &ServiceId, now: u64) -> Transfer {
    let mut row = Transfer::blank(TransferId(0));
    row.service = service.clone();
    row.added_at = now;
    match task {
        Task::Upload(upload) => {
            row.kind = Kind::Upload;
            row.name = file_name(&upload.path).into();
            row.path = Some(upload.path.display().to_string());
            row.total = upload.source.map(|source| source.size);
        }
        Task::Download(download) => {
            row.kind = Kind::Download;
            row.asset_id = (!download.is_url).then(|| download.what.as_str().into());
            let url = url::Url::parse(&download.what).ok();
            let last = download.what.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let guess = match &download.name {
                Some(name) => filename::make_safe(name),
                None => url
                    .as_ref()
                    .and_then(|url| filename::last_segment(url, filename::system_language()))
                    .or_else(|| filename::make_safe(last)),
            };
            row.name = guess.unwrap_or_else(|| "download".to_owned()).into();
            row.host = url.and_then(|url| url.host_str().map(Into::into));
            row.path = Some(download.folder.display().to_string());
        }
    }
    row
}

/// A file that the user chose. What Ferry wrote is never longer than `most`: then it is another one.
fn read_up_to(file: &Path, most: u64, another: impl Fn(Words) -> Error) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::source_io("Reading", file, &error);
    let opened = File::open(file).map_err(failed)?;
    let mut text = Vec::new();
    // A device has no length that could be asked for.
    if opened.metadata().map_err(failed)?.len() <= most {
        let mut taken = std::io::Read::take(opened, most + 1);
        std::io::Read::read_to_end(&mut taken, &mut text).map_err(failed)?;
        if text.len() as u64 <= most {
            return Ok(text);
        }
    }
    Err(another(format!("it is longer than {most} bytes").into()))
}

fn lock_folder(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("lock");
    let file = own_folder::private_file()
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Error::target_io("Opening", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            whole::sweep(data_dir);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Cause::BusyDataDir, Phrase::OtherFerry { folder: shown(data_dir) }))
        }
        Err(TryLockError::Error(error)) => Err(Error::target_io("Locking", &path, &error)),
    }
}

/// Whether a process holds this data folder.
pub(crate) fn is_held(data_dir: &Path) -> bool {
    let lock = File::open(data_dir.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn limits(overrides: &Overrides) -> Limits {
    let variable = || std::env::var("FERRY_STALL_SECONDS").ok()?.parse().ok().map(Duration::from_secs);
    let mut limits = Limits::default();
    if let Some(stall) = overrides.stall.or_else(variable).filter(|stall| !stall.is_zero()) {
        limits.stall = stall;
        limits.first_byte = limits.first_byte.min(stall * 10);
        limits.answer = limits.answer.min(stall * 4);
    }
    limits.stuck = overrides.stuck.unwrap_or(limits.stuck);
    limits
}

/// A process that writes past its file size limit is killed unless it listens to the signal; then the write fails
/// with an error that Ferry can show.
fn survive_file_size_limits() {
    #[cfg(unix)]
    {
        /// `SIGXFSZ` has this number on Linux and macOS.
        const SIGXFSZ: i32 = 25;
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(signal) = signal(SignalKind::from_raw(SIGXFSZ)) {
            // The handler stays for the life of the process; nobody needs to hear it.
            std::mem::forget(signal);
        }
    }
}

fn folder_is_silent(folder: &Path) -> Error {
    Error::new(Cause::PermissionDenied, Phrase::FolderSilent { folder: shown(folder) })
        .advise(Phrase::WaitForFolder)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
}
