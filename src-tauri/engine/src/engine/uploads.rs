//! Uploads that are added: files and folders, what goes on in its own row, what was sent before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Adding, Engine, PathSummary, UploadRequest, blocking, row_for};
use crate::error::{Cause, Error, Result};
use crate::requests::IfSent;
use crate::resume::Resume;
use crate::secret::{Header, header_map};
use crate::service::ServiceId;
use crate::services::{self, Services};
use crate::task::{Reuse, Task, Token, UploadTask};
use crate::transfer::{State, Transfer, TransferId};
use crate::upload::chosen::{ChosenFile, ChosenFiles};
use crate::upload::sent_before::{self, AddedUploads, Found};
use crate::upload::signed_url::SignedUrl;
use crate::words::{Count, Peer, Phrase};

/// How long a folder that a download is to go to may take to answer.
pub(super) const FOLDER_LIMIT: Duration = Duration::from_millis(2500);

impl Engine {
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

    pub(super) fn comparing(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.inner.comparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this upload is to end with an asset that is there.
    pub(super) fn is_to_reuse(&self, id: TransferId) -> bool {
        matches!(self.queue().task(id), Some(Task::Upload(UploadTask { reuse: Some(_), .. })))
    }

    /// Which of these files are on their way to a service, begun and not ended: they go on under their ids, with their
    /// asset ids.
    pub(super) fn unfinished_uploads(
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
    pub(super) fn uploads_that_came_by(
        &self,
        token: Option<Token>,
        files: &[PathBuf],
    ) -> HashMap<PathBuf, TransferId> {
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

    pub(super) async fn chosen_files(
        &self,
        paths: Vec<PathBuf>,
        follow: Option<bool>,
    ) -> Result<ChosenFiles> {
        let own = self.queue().own_folder.clone();
        let follow = follow.unwrap_or(self.settings().follow_links);
        self.queue().disk(move || ChosenFiles::below(&paths, &own, follow)).await?
    }
}
