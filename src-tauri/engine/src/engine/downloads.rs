//! Downloads that are added: ids, links and pages, what goes on in its own row, what is downloaded once more.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{AddedDownload, Adding, DownloadRequest, Engine, FirstContact, blocking, row_for};
use crate::deep_link::{self, LinkOffer};
use crate::error::{Error, Result};
use crate::http::address;
use crate::queue::no_such_transfer;
use crate::resume::Resume;
use crate::secret::{Header, header_map};
use crate::service::{self, About, Place, ServiceId, may_be_id};
use crate::services::{self, Recognised, Services};
use crate::task::{DownloadTask, Task, Token};
use crate::transfer::{State, TransferId};
use crate::words::{Peer, Phrase};

/// A download as it was asked for and understood.
pub(super) struct Asked {
    service: ServiceId,
    task: DownloadTask,
    /// The whole link, if it is one.
    url: Option<String>,
    /// Secrets that go along with it.
    headers: Vec<Header>,
}

/// What makes two requests the same download. With another checksum it is another one: what is begun keeps the one that it
/// was begun with.
pub(super) type Same = (ServiceId, String, PathBuf, [Option<String>; 5]);

impl Engine {
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
    pub(super) async fn renew_headers(&self, id: TransferId, asked: &Asked) -> Result<()> {
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
    pub(super) fn asked(&self, request: DownloadRequest, services: &Services) -> Result<Asked> {
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
    pub(super) fn downloads_that_came_by(
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
    pub(super) async fn unfinished_downloads<'a>(
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
}

/// Refuses what is no id of this service, before it is told to anybody.
pub(super) fn check_id(service: &str, id: &str) -> Result<()> {
    match service::about(service) {
        // It has none, and says so.
        Some(about) if about.is_any_link() || may_be_id(id) => Ok(()),
        Some(_) => Err(Error::invalid(Phrase::IdUnusable).advise(Phrase::CheckId)),
        None => Err(services::unknown(service)),
    }
}

impl Asked {
    pub(super) fn same(&self) -> Same {
        let task = self.task.clone();
        let checksum = task.checksum.map(String::from);
        let rest = [task.name, task.unique_id, task.quality, self.url.clone(), checksum];
        (self.service.clone(), task.what, task.folder, rest)
    }
}
