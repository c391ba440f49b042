//! A download: prepare, fetch, verify, publish.
//!
//! The first GET is the transfer: its head gives name, size, validator and checksums, its body is saved at once.
//! Bytes go through a short channel to a writer beside the async threads, which hashes and writes them; what is on
//! disk is journaled only after a sync. A stretch that cannot be proven to belong to the same file is never joined.

mod connections;
mod part_writer;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING,
};
use tokio_util::sync::CancellationToken;

use crate::download::connections::{Connections, next_chunk};
use crate::download::part_writer::{Stretch, Writer, Written, pieces};
use crate::engine::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::filename::{self, Candidates};
use crate::files::folder::{Folder, write_at};
use crate::files::part_file::{PartFile, part_name};
use crate::http::answer::{self, Refusal};
use crate::http::checksum::{Algorithm, Digests, Hasher, Offered, Proof, combine_crc32c, compare, offered};
use crate::http::error_body;
use crate::http::range::{ContentRange, Validator};
use crate::progress::now;
use crate::run::Run;
use crate::services::{Plan, Service, refused};
use crate::task::{DownloadTask, Journal, Piece, ProvenWhole, Task};
use crate::transfer::{Stage, Verified};
use crate::words::{Peer, Phrase, Size, shown};

/// A file up to this size is not handed on in pieces, if it is there in a [`MOMENT`].
const SHORT: u64 = 128 * 1024;
const MOMENT: Duration = Duration::from_millis(20);
/// A body that may be an error in JSON is read this far before it is believed to be a file.
const JSON_LIMIT: usize = 64 * 1024;
/// By so many bytes a web page has shown that it is one.
const PAGE_BEGINS_WITHIN: usize = 512;

/// A source that changes more often while it is fetched (or only seems to: several servers behind one name, each with a
/// mark of its own) would fill the disk with old parts.
const MOST_CHANGES: u32 = 3;

/// What one attempt leaves to the next within a run.
#[derive(Default)]
pub(crate) struct Kept {
    plan: Option<Plan>,
    open: Option<Open>,
    /// The server cannot continue: do not ask again.
    no_ranges: bool,
    looked_for_part: bool,
    /// How often the source has changed on the way.
    changes: u32,
}

/// A part file with what is known about its bytes.
struct Open {
    part: PartFile,
    stretches: Vec<Stretch>,
    validator: Option<Validator>,
    total: Option<u64>,
}

impl Open {
    /// An empty part file.
    fn empty(part: PartFile) -> Self {
        Self { part, stretches: Vec::new(), validator: None, total: None }
    }

    /// Bytes on disk.
    fn have(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.hasher.bytes()).sum()
    }

    /// What is missing, in order; the last one is open-ended where the size is not known.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for piece in pieces(&self.stretches) {
            if piece.start > at {
                gaps.push((at, piece.start));
            }
            at = piece.end;
        }
        let end = self.total.unwrap_or(u64::MAX);
        if at < end {
            gaps.push((at, end));
        }
        gaps
    }

    /// The first missing byte.
    fn offset(&self) -> u64 {
        self.gaps().first().map_or_else(|| self.have(), |gap| gap.0)
    }

    fn journal(&self) -> Journal {
        Journal {
            name: self.part.name().to_owned(),
            validator: self.validator.clone(),
            total: self.total,
            pieces: pieces(&self.stretches),
            proven_whole: None,
            drive: self.part.drive(),
            moved_from: None,
        }
    }

    /// The whole file's checksums, from its stretches; `None` where they do not suffice for what is wanted.
    fn digests(&self, wanted: Option<Algorithm>) -> Option<Digests> {
        let mut in_order: Vec<&Stretch> = self.stretches.iter().collect();
        in_order.sort_by_key(|stretch| stretch.start);
        let digests = match in_order[..] {
            [whole] => whole.hasher.clone().finish(),
            _ => {
                let crc32c = in_order.iter().fold(0, |crc, stretch| {
                    combine_crc32c(crc, stretch.hasher.crc32c(), stretch.hasher.bytes())
                });
                Digests::new(crc32c, Vec::new())
            }
        };
        wanted.is_none_or(|algorithm| digests.value(algorithm).is_some()).then_some(digests)
    }

    /// The same, read back from the disk.
    fn read_back(&self, wanted: Option<Algorithm>, stop: &CancellationToken) -> std::io::Result<Digests> {
        Ok(self.part.hash(0, self.have(), wanted, stop)?.finish())
    }
}

/// Makes one attempt at a download; `kept` carries what is worth keeping to the next.
pub(crate) async fn run(run: &Run, kept: &mut Kept) -> Result<()> {
    let task = download_task(run)?;
    let service_id = run.row().service;
    let service = run.or_stop(run.queue().services.get(&service_id)).await??;
    let journal = if kept.looked_for_part { None } else { run.journal().await? };
    let journal = finish_move(run, &task, journal).await?;
    if !proven_before(run, &task, journal.as_ref()).await? {
        let brought = bring(run, &task, kept, journal, service.as_ref()).await;
        // After a failure that took the part file out of these hands, only the journal knows what lies on the disk.
        kept.looked_for_part &= kept.open.is_some();
        brought?;
    }

    if service.about().id != "link" {
        let row = run.row();
        let task = download_task(run)?;
        let asset_id = task.server_id.clone().unwrap_or_else(|| task.what.clone());
        let asset = Asset {
            service: service_id,
            asset_id,
            name: row.name,
            size: Some(run.counter.get()),
            crc32c: None,
            status: AssetStatus::Seen,
            at: now(),
        };
        // The file is there under its name: nothing that comes after may fetch it a second time.
        if let Err(error) = run.queue().store.save_asset(asset).await {
            run.note(Phrase::LibraryNotWritten { what: error.what });
        }
        if let Err(error) = service.after_download(&task).await {
            run.note(Phrase::NotRemovedThere { what: error.what });
        }
    }
    Ok(())
}

/// Prepare, fetch, verify, publish.
async fn bring(
    run: &Run,
    task: &DownloadTask,
    kept: &mut Kept,
    journal: Option<Journal>,
    service: &dyn Service,
) -> Result<()> {
    if kept.plan.is_none() {
        kept.plan = Some(run.or_stop(service.prepare(task, run)).await??);
    }
    let Some(plan) = kept.plan.clone() else { return Err(Error::internal("There is no plan")) };

    if !kept.looked_for_part {
        kept.open = run.or_stop(continue_part(run, task, journal)).await??;
        kept.looked_for_part = true;
    }
    run.stage(Stage::Fetching);
    let result = fetch(run, task, &plan, kept, service).await;
    let (offered, framing) = match result {
        Ok(Fetched::Saved(proofs, framing)) => (proofs, framing),
        Ok(Fetched::Published) => return Ok(()),
        Err(error) => {
            if matches!(error.cause, Cause::NotFound | Cause::NotReady | Cause::Expired | Cause::Unauthorized)
            {
                // The next attempt asks the service anew how to fetch it.
                kept.plan = None;
            }
            return Err(error);
        }
    };
    let Some(open) = kept.open.take() else { return Err(Error::internal("There is no part file")) };
    let (open, whole) = verify(run, &plan, open, &offered, framing, kept).await?;
    set_modified(run, &open.part, offered.modified.as_deref());
    publish(run, open.journal(), open.part, whole).await
}

fn download_task(run: &Run) -> Result<DownloadTask> {
    match run.task() {
        Some(Task::Download(task)) => Ok(task),
        _ => Err(Error::internal("This is no download")),
    }
}

/// How the end of the body was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// By a length, or by a mark of the protocol (chunked, HTTP/2).
    Marked,
    /// By closing the connection: a cut looks the same.
    Closed,
}

/// What the head of the answer offers for the proof.
struct Proofs {
    offered: Offered,
    modified: Option<String>,
}

/// What became of the answer.
enum Fetched {
    /// All of the file lies in the part file, and is to be proven.
    Saved(Proofs, Framing),
    /// It was short: proven and published in one go.
    Published,
}

// ---- going on where an earlier run stood ----

/// A kill caught the part file on its way to another folder: it goes the rest of it.
async fn finish_move(run: &Run, task: &DownloadTask, journal: Option<Journal>) -> Result<Option<Journal>> {
    let Some(mut journal) = journal else { return Ok(None) };
    if let Some((from, old)) = journal.moved_from.take() {
        run.stage(Stage::Checking);
        let (to, new) = (task.folder.clone(), journal.name.clone());
        // To its end, also when the transfer is to stop: two of these at once would take the file from each other.
        let (writing, moved) = (run.clone(), journal.clone());
        let finish = move || {
            crate::files::part_file::relocate(&from, &old, &to, &new)?;
            writing.save_journal_now(&moved)?;
            writing.renew_kept_journal(&moved);
            Ok::<_, Error>(())
        };
        blocking(finish).await??;
    }
    Ok(Some(journal))
}

/// A kill, or a folder that took no new name, between the proof and the end of the transfer leaves a proven file: with
/// its final name, or still without. Nobody is asked for it a second time.
async fn proven_before(run: &Run, task: &DownloadTask, journal: Option<&Journal>) -> Result<bool> {
    let Some(journal) = journal else { return Ok(false) };
    let Some(whole) = journal.proven_whole.clone() else { return Ok(false) };
    refuse_without_drive(task, journal.drive.clone()).await?;
    run.stage(Stage::Checking);
    let folder = open_folder(run, &task.folder).await?;
    let (name, wanted, stop) = (journal.name.clone(), whole.clone(), run.stop.clone());
    let found = blocking(move || {
        let is_whole = |part: &PartFile| {
            part.file().metadata().is_ok_and(|facts| facts.len() == wanted.size)
                && part.hash(0, wanted.size, None, &stop).is_ok_and(|hasher| hasher.crc32c() == wanted.crc32c)
        };
        if folder.has(&part_name(&name)) {
            return PartFile::reopen(folder, &name).ok().filter(is_whole).map(|part| Ok(Some(part)));
        }
        let published = PartFile::published(folder, &wanted.name).ok().filter(is_whole)?;
        // It may have its name, and not yet for good.
        Some(published.sync_with_name().map(|()| None))
    });
    match run.or_stop(found).await??.transpose()? {
        Some(Some(part)) => {
            run.tell(Phrase::OnlyNameMissing);
            publish(run, journal.clone(), part, whole).await?;
        }
        Some(None) => {
            run.tell(Phrase::HadItsName);
            show_published(run, &task.folder.join(&whole.name), whole);
        }
        None => return Ok(false),
    }
    Ok(true)
}

fn show_published(run: &Run, path: &Path, whole: ProvenWhole) {
    run.counter.set(whole.size);
    run.update(|row| {
        row.name = whole.name;
        row.path = Some(path.display().to_string());
        row.verified = Some(whole.verified);
        row.checksum = whole.checksum;
        row.total = Some(whole.size);
    });
}

/// What has come lies on a drive that is away: nothing is made in the folder that it left behind.
async fn refuse_without_drive(task: &DownloadTask, drive: Option<PathBuf>) -> Result<()> {
    let Some(drive) = drive else { return Ok(()) };
    if blocking(move || crate::files::folder::is_gone(&drive)).await? {
        return Err(crate::files::part_file::drive_is_gone(&task.folder));
    }
    Ok(())
}

/// Opens the part file of an earlier run and keeps as much of it as is provable.
async fn continue_part(run: &Run, task: &DownloadTask, journal: Option<Journal>) -> Result<Option<Open>> {
    let Some(journal) = journal else {
        run.counter.set(0);
        return Ok(None);
    };
    let proven = journal.proven();
    if proven > 0 {
        run.stage(Stage::Checking);
    }
    run.counter.set(proven);
    refuse_without_drive(task, journal.drive.clone().filter(|_| proven > 0)).await?;
    let folder = open_folder(run, &task.folder).await?;
    let path = folder.path_of(&part_name(&journal.name));
    let name = journal.name.clone();
    let opened = blocking(move || PartFile::reopen(folder, &name)).await?;
    let part = match opened {
        Ok(part) => part,
        Err(error) => {
            let told = match error.kind() {
                ErrorKind::NotFound => Phrase::PartFileGone,
                ErrorKind::InvalidInput => Phrase::BesidePartName,
                ErrorKind::ResourceBusy if proven == 0 => Phrase::PartFileOpenElsewhere,
                ErrorKind::ResourceBusy => {
                    return Err(Error::new(Cause::PermissionDenied, Phrase::PartFileOpenElsewhere)
                        .because(Phrase::IsLocked { path: shown(&path) })
                        .advise(Phrase::CloseOtherProgram));
                }
                // The file is there, and may be readable later: nothing is given up.
                _ => return Err(Error::target_io("Opening", &path, &error)),
            };
            run.counter.set(0);
            if proven > 0 {
                run.note(told);
            }
            // Nothing is left of it that anybody should look for again.
            run.save_journal(&Journal::default());
            run.renew_journal(&Journal::default()).await?;
            run.queue().names.forget(run.id);
            return Ok(None);
        }
    };
    let (reading, wanted, stop) = (part.clone(), journal.pieces.clone(), run.stop.clone());
    let stretches = blocking(move || {
        let stretch = |piece: &Piece| {
            let hasher = reading.hash(piece.start, piece.end - piece.start, None, &stop)?;
            let same = hasher.crc32c() == piece.crc32c;
            same.then_some(Stretch { start: piece.start, hasher }).ok_or(ErrorKind::InvalidData.into())
        };
        wanted.iter().map(stretch).collect::<std::io::Result<Vec<Stretch>>>()
    })
    .await?;
    let stretches = match stretches {
        Ok(stretches) => stretches,
        Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            run.counter.set(0);
            let (part, aside) = blocking(move || part.set_aside()).await??;
            run.note(Phrase::PartFileChanged { aside });
            return Ok(Some(Open::empty(part)));
        }
        Err(error) => return Err(Error::target_io("Checking", &path, &error)),
    };
    part.truncate(stretches.iter().map(Stretch::end).max().unwrap_or(0))?;
    if proven > 0 {
        run.tell(Phrase::GoesOnAt { done: Size(proven) });
    }
    Ok(Some(Open { part, stretches, validator: journal.validator, total: journal.total }))
}

async fn open_folder(run: &Run, path: &Path) -> Result<Arc<Folder>> {
    let (folders, path) = (Arc::clone(&run.queue().folders), path.to_owned());
    blocking(move || folders.open(&path)).await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
}

// ---- the request and its answer ----

async fn fetch(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    kept: &mut Kept,
    service: &dyn Service,
) -> Result<Fetched> {
    // At most twice: once asking to continue, and once more from the start if the answer cannot be used.
    for _ in 0..2 {
        let have = kept.open.as_ref().map_or(0, Open::have);
        let gap = kept.open.as_ref().and_then(|open| open.gaps().first().copied());
        let validator = kept.open.as_ref().and_then(|open| open.validator.clone());
        let continues = have > 0 && plan.rangeable && !kept.no_ranges && validator.is_some();
        if gap.is_none() && continues {
            // Everything is here already; only the proof or the final name was still to come.
            if let Some((proofs, framing)) = ask_about_whole(run, plan, validator.as_ref()).await? {
                return Ok(Fetched::Saved(proofs, framing));
            }
        }
        let mut headers = HeaderMap::new();
        if continues && let (Some(validator), Some((start, end))) = (&validator, gap) {
            let is_last = kept.open.as_ref().is_some_and(|open| open.total.is_none_or(|total| total == end));
            let range =
                if is_last { format!("bytes={start}-") } else { format!("bytes={start}-{}", end - 1) };
            headers.insert(RANGE, header(&range)?);
            headers.insert(IF_RANGE, header(validator.if_range())?);
        }
        let asked = Instant::now();
        let answer = run.or_stop(run.queue().http.fetch(&plan.fetch, &headers)).await??;
        let answered = asked.elapsed();
        let host = answer.url().host_str().map(str::to_owned);
        run.update(|row| row.host = host);
        match judge(run, plan, kept, answer, continues, service).await? {
            Judgement::Body(answer) => {
                if have > 0 && !continues {
                    // Only now: what is here is not given up for an answer that may never come.
                    restart(run, kept, Phrase::CannotContinueHere).await?;
                }
                return body(run, task, plan, kept, (*answer, answered), service).await;
            }
            Judgement::Whole(proofs) => return Ok(Fetched::Saved(proofs, Framing::Marked)),
            Judgement::StartOver(reason) => {
                kept.no_ranges = true;
                restart(run, kept, reason).await?;
            }
            Judgement::Changed => {
                kept.changes += 1;
                if kept.changes > MOST_CHANGES {
                    break;
                }
                changed(run, kept).await?;
            }
        }
    }
    Err(Error::new(Cause::ChangedAtSource, Phrase::KeepsChanging))
}

enum Judgement {
    /// The body is to be saved, from the offset on.
    Body(Box<Response>),
    /// There is nothing left to fetch.
    Whole(Proofs),
    /// The rest cannot be had this way.
    StartOver(Phrase),
    /// The source is no longer the file that was begun.
    Changed,
}

/// Decides by status and head what an answer is. services.md §2.
async fn judge(
    run: &Run,
    plan: &Plan,
    kept: &Kept,
    answer: Response,
    continues: bool,
    service: &dyn Service,
) -> Result<Judgement> {
    let status = answer.status().as_u16();
    let headers = answer.headers();
    let offset = kept.open.as_ref().map_or(0, Open::offset);
    let known_total = kept.open.as_ref().and_then(|open| open.total);
    let validator = kept.open.as_ref().and_then(|open| open.validator.as_ref());
    let range =
        headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(ContentRange::parse);
    let differs = validator.is_some_and(|validator| validator.agrees_with(headers) == Some(false));
    match status {
        206 if continues => {
            let several =
                headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"multipart/byteranges"));
            match range {
                _ if several => Ok(Judgement::StartOver(Phrase::SeveralParts)),
                _ if differs => Ok(Judgement::Changed),
                Some(ContentRange::Part { total: Some(total), .. })
                    if known_total.is_some_and(|known| known != total) =>
                {
                    Ok(Judgement::Changed)
                }
                Some(ContentRange::Part { first, .. }) if first == offset => {
                    Ok(Judgement::Body(Box::new(answer)))
                }
                _ => Ok(Judgement::StartOver(Phrase::ContinuedElsewhere)),
            }
        }
        206 => match range {
            // Not asked for, but it is the whole file all the same.
            Some(ContentRange::Part { first: 0, last, total: Some(total) }) if last + 1 == total => {
                Ok(Judgement::Body(Box::new(answer)))
            }
            _ => Err(Error::new(Cause::BadResponse, Phrase::PartNotAskedFor { service: who(service) })),
        },
        // What a network shows before one has signed in to it: the part is as good as it was.
        200 if continues
            && page_type(headers) == Some(PageType::Page)
            && validator.and_then(|validator| validator.agrees_with(headers)) != Some(true)
            && kept.open.as_ref().is_some_and(|open| !is_page_name(open.part.name())) =>
        {
            Err(page_instead(service))
        }
        200 if continues => {
            if differs
                || known_total
                    .is_some_and(|total| content_length(headers).is_some_and(|length| length != total))
            {
                return Ok(Judgement::Changed);
            }
            Ok(Judgement::StartOver(Phrase::CannotContinueHere))
        }
        200..=299 => Ok(Judgement::Body(Box::new(answer))),
        416 if continues => match range {
            Some(ContentRange::Unsatisfied { total }) if total == offset && !differs => {
                Ok(Judgement::Whole(Proofs { offered: offered(headers, true), modified: None }))
            }
            _ => Ok(Judgement::Changed),
        },
        _ => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            let endpoint = endpoint(plan, &answer);
            let text = run.or_stop(error_body(answer, run.queue().http.limits.stall)).await?;
            let mut error = refusal_of(service, &answer::decode(status, &headers, &text), &endpoint);
            if error.cause == Cause::Expired && plan.pages_welcome {
                error.cause = Cause::LinkExpired;
                error.what = Phrase::LinkExpired.into();
            }
            if error.cause == Cause::Unauthorized && plan.fetch.key.is_none() {
                // Nobody asked for a key here: the link itself is refused.
                error.cause = Cause::ServiceRefused;
                error.what = Phrase::LinkRefused.into();
                error.advice = Some(Phrase::GetOpenLink.into());
            }
            Err(error)
        }
    }
}

/// What was asked for, as it may be shown: without a query.
fn endpoint(plan: &Plan, answer: &Response) -> String {
    format!("{} {}", if plan.fetch.post.is_some() { "POST" } else { "GET" }, answer.url().path())
}

fn who(service: &dyn Service) -> Peer {
    Peer::service(service.about().id)
}

fn refusal_of(service: &dyn Service, said: &Refusal, endpoint: &str) -> Error {
    let said = &Refusal { kind: service.meaning(said).unwrap_or(said.kind), ..said.clone() };
    refused(said, who(service), endpoint)
}

/// All bytes are on disk: asks whether the source is still that file, without fetching it again.
async fn ask_about_whole(
    run: &Run,
    plan: &Plan,
    validator: Option<&Validator>,
) -> Result<Option<(Proofs, Framing)>> {
    let Some(validator) = validator else { return Ok(None) };
    let mut headers = HeaderMap::new();
    // The last byte, not none: an empty range is not a valid one.
    headers.insert(RANGE, HeaderValue::from_static("bytes=-1"));
    headers.insert(IF_RANGE, header(validator.if_range())?);
    let answer = run.or_stop(run.queue().http.fetch(&plan.fetch, &headers)).await??;
    let same = answer.status().as_u16() == 206 && validator.agrees_with(answer.headers()) != Some(false);
    Ok(same.then(|| (Proofs { offered: offered(answer.headers(), true), modified: None }, Framing::Marked)))
}

/// Begins again at the first byte, in the same part file.
async fn restart(run: &Run, kept: &mut Kept, reason: Phrase) -> Result<()> {
    if let Some(open) = &mut kept.open {
        if open.have() > 0 {
            run.note(reason);
        }
        let part = open.part.clone();
        blocking(move || part.truncate(0)).await??;
        *open = Open::empty(open.part.clone());
        run.save_journal(&open.journal());
        run.renew_journal(&open.journal()).await?;
    }
    run.counter.set(0);
    Ok(())
}

/// The source changed: the old part is kept aside, the new file begins in a new one.
async fn changed(run: &Run, kept: &mut Kept) -> Result<()> {
    if let Some(open) = kept.open.take() {
        let part = open.part;
        let (part, aside) = blocking(move || part.set_aside()).await??;
        run.note(Phrase::ChangedAtSource { aside });
        let open = Open::empty(part);
        run.save_journal(&open.journal());
        run.renew_journal(&open.journal()).await?;
        kept.open = Some(open);
    }
    run.counter.set(0);
    Ok(())
}

fn header(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::internal("A header could not be written"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

// ---- the body ----

async fn body(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    kept: &mut Kept,
    (mut answer, answered): (Response, Duration),
    service: &dyn Service,
) -> Result<Fetched> {
    let headers = answer.headers().clone();
    let partial = answer.status().as_u16() == 206;
    let url = answer.url().clone();
    let begins = kept.open.as_ref().is_none_or(|open| open.have() == 0);
    let is_http1 = answer.version() <= reqwest::Version::HTTP_11;
    let length = content_length(&headers);
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let framing = if length.is_none() && is_http1 && !chunked { Framing::Closed } else { Framing::Marked };
    let range_total = headers.get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).and_then(ContentRange::parse);
    let total = match range_total {
        Some(ContentRange::Part { total, .. }) if partial => total,
        _ => length,
    };
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(Error::new(Cause::BadResponse, Phrase::SentCompressed)
            .because(Phrase::HasEncoding {
                encoding: String::from_utf8_lossy(encoding.as_bytes()).into_owned(),
            })
            .advise(Phrase::GetDirectLink));
    }
    if begins {
        run.update(|row| row.total = total.or(row.total));
        if run.queue().steps_back(run.id) {
            return Err(Error::canceled());
        }
    }
    let mut begun = Vec::new();
    if begins {
        begun = first_bytes(run, plan, &headers, &mut answer, service).await?;
    }
    let proofs = Proofs {
        offered: offered(&headers, partial),
        modified: headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok()).map(str::to_owned),
    };
    for note in &proofs.offered.notes {
        run.tell(note.clone());
    }
    let validator = Validator::from_headers(&headers);
    let extra = proofs.offered.algorithms().first().copied().filter(|a| *a != Algorithm::Crc32c);
    let mut made = None;
    if begins {
        let is_page = is_page(&headers, &begun) == Some(true);
        if is_page && plan.pages_welcome && !page_was_meant(task, plan, kept) {
            return Err(page_instead(service));
        }
        if let Some(open) = &kept.open {
            show_name(run, open.part.name(), &open.part.target());
        } else {
            let name = choose_name(task, plan, &headers, &url, &begun, is_page);
            let mut whole = None;
            // Under a limit it comes little by little, and each little is kept.
            if !run.queue().limit_down.is_set() && comes_whole(&mut answer, &mut begun, total).await {
                whole = Some(Whole::new(std::mem::take(&mut begun), extra, &proofs));
            }
            made = reserve(run, task, name, total, whole).await?;
            if made.is_none() {
                let resumable = validator.is_some() && plan.rangeable && takes_ranges(&headers);
                run.update(|row| row.resumable = resumable);
                return Ok(Fetched::Published);
            }
        }
    }
    let (mut has_room, mut written) = (false, None);
    if let Some(made) = made {
        (has_room, written) = (total.is_some(), made.written);
        kept.open = Some(Open::empty(made.part));
        made.room?;
    }
    let Some(open) = &mut kept.open else { return Err(Error::internal("There is no part file")) };
    if begins {
        open.stretches = vec![Stretch { start: 0, hasher: Hasher::new(extra.as_slice()) }];
        open.validator = validator.filter(|_| plan.rangeable);
        open.total = total;
    }
    open.total = open.total.or(total);
    let resumable = open.validator.is_some() && takes_ranges(&headers);
    let row_total = open.total.or(plan.expected_size);
    run.update(|row| {
        row.total = row_total;
        row.resumable = resumable;
    });
    if let Some(written) = written {
        match written {
            Ok(hasher) => {
                run.counter.set(hasher.bytes());
                open.stretches = vec![Stretch { start: 0, hasher }];
                return Ok(Fetched::Saved(proofs, framing));
            }
            Err(error) => {
                let error = more_needed(Error::target_io("Writing to", &open.part.path(), &error), open);
                // What part of it lies on the disk is not known.
                kept.open = None;
                return Err(error);
            }
        }
    }
    if let Some(total) = open.total.filter(|_| !has_room) {
        let part = open.part.clone();
        blocking(move || part.make_room(total)).await??;
    }
    run.save_journal(&open.journal());

    // Proven by the answer itself; a server that ignores ranges would send everything again.
    let ranges_work = partial || headers.get(ACCEPT_RANGES).is_some_and(|value| value == "bytes");
    let several = match (&open.validator, open.total) {
        (Some(validator), Some(total)) if ranges_work && plan.rangeable && !kept.no_ranges => {
            Some((validator.clone(), total))
        }
        _ => None,
    };
    if begins {
        run.tell(Phrase::ServerSends);
    }
    let most = task.connections.unwrap_or_else(|| run.settings().connections).clamp(1, 16);
    let writer = Writer::start(run, &open.part, open.stretches.clone(), open.journal());
    let connections =
        Connections::new(run, &plan.fetch, writer.inbox(), several, most, &open.gaps(), answered);
    let result = connections.save_all(answer, begun).await;
    let Written { stretches, result: written } = writer.finish(result.is_err()).await?;
    let written = written.map_err(|error| more_needed(error, open));
    match stretches {
        Some(stretches) => open.stretches = stretches,
        // What is on the disk must be read back.
        None => kept.open = None,
    }
    written?;
    result?;
    Ok(Fetched::Saved(proofs, framing))
}

/// Whether a server does not say that it knows no ranges.
fn takes_ranges(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT_RANGES).is_none_or(|value| value.as_bytes() != b"none")
}

/// Says how much is missing when a disk ran full.
fn more_needed(mut error: Error, open: &Open) -> Error {
    if let (Cause::DiskFull, Some(total)) = (error.cause, open.total) {
        error.what = Phrase::DiskFull.into();
        let needed = Size(total.saturating_sub(open.have()));
        let folder = shown(open.part.path().parent().unwrap_or(Path::new("")));
        error.why = Some(Phrase::MoreNeeded { needed, folder }.into());
    }
    error
}

/// Reads as much as is needed to know what the body is: an error in JSON, a web page, or a file.
async fn first_bytes(
    run: &Run,
    plan: &Plan,
    headers: &HeaderMap,
    answer: &mut Response,
    service: &dyn Service,
) -> Result<Vec<Bytes>> {
    let stall = run.queue().http.limits.stall;
    let content_type =
        headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let mime = content_type.split(';').next().unwrap_or_default().trim();
    let attachment = headers.get(CONTENT_DISPOSITION).is_some_and(|v| filename::is_attachment(v.as_bytes()));
    let is_json = answer::is_json(mime);
    let wanted = if is_json && !attachment { JSON_LIMIT } else { 1 };
    let (mut begun, mut length) = (Vec::new(), 0);
    while length < wanted || (length < PAGE_BEGINS_WITHIN && is_page(headers, &begun).is_none()) {
        let Some(chunk) = next_chunk(run, answer, stall).await? else { break };
        length += chunk.len();
        begun.push(chunk);
    }
    if is_json && !attachment && length < JSON_LIMIT {
        let whole = begun.concat();
        if let Some(said) = answer::is_json_error(Some(mime), attachment, &whole) {
            let endpoint = endpoint(plan, answer);
            return Err(refusal_of(service, &said, &endpoint));
        }
    }
    if !plan.pages_welcome
        && (page_type(headers) == Some(PageType::Page) || is_page(headers, &begun) == Some(true))
    {
        return Err(page_instead(service));
    }
    if !plan.pages_welcome && length == 0 && content_length(headers) != Some(0) {
        return Err(Error::new(Cause::CutShort, Phrase::SentNothing));
    }
    Ok(begun)
}

/// What a head says about whether its body is a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageType {
    /// It is one.
    Page,
    /// It says nothing about the kind of the body.
    Untold,
}

/// Whether the body may be a web page, and none that is meant to be saved as a file.
fn page_type(headers: &HeaderMap) -> Option<PageType> {
    if headers.get(CONTENT_DISPOSITION).is_some_and(|v| filename::is_attachment(v.as_bytes())) {
        return None;
    }
    let Some(told) = headers.get(CONTENT_TYPE) else { return Some(PageType::Untold) };
    let told = told.to_str().unwrap_or_default().to_ascii_lowercase();
    matches!(told.split(';').next().unwrap_or_default().trim(), "text/html" | "application/xhtml+xml")
        .then_some(PageType::Page)
}

/// Whether the body is a web page; `None` while too little of it is here. Some servers call everything they do not
/// know a page: its bytes must agree.
fn is_page(headers: &HeaderMap, begun: &[Bytes]) -> Option<bool> {
    let marks: &[&str] = match page_type(headers) {
        Some(PageType::Page) => &["<"],
        Some(PageType::Untold) => &["<!doctype html", "<html"],
        None => return Some(false),
    };
    let begun = begun.concat();
    let text = begun.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&begun).trim_ascii_start();
    let agrees = |mark: &&str| {
        let shared = mark.len().min(text.len());
        text[..shared].eq_ignore_ascii_case(&mark.as_bytes()[..shared])
    };
    // A drawing, or data in XML, begins like a page; in XML only what follows tells.
    if agrees(&"<svg") {
        return (text.len() >= 4).then_some(false);
    }
    if agrees(&"<?xml") {
        let has = |mark: &[u8]| text.windows(mark.len()).any(|word| word.eq_ignore_ascii_case(mark));
        let is_html = has(b"<html") || has(b"<!doctype html");
        return (is_html || text.len() >= PAGE_BEGINS_WITHIN).then_some(is_html);
    }
    let mark = marks.iter().find(|mark| agrees(mark));
    mark.map_or(Some(false), |mark| (text.len() >= mark.len()).then_some(true))
}

fn is_page_name(name: &str) -> bool {
    filename::of_page(name.to_owned()) == name
}

/// Whether a web page can be what the user wants: not when the name that is wanted, or the link, or what came before
/// is something else.
fn page_was_meant(task: &DownloadTask, plan: &Plan, kept: &Kept) -> bool {
    let begun = kept.open.as_ref().map(|open| open.part.name());
    begun.is_none_or(is_page_name)
        && !filename::link_is_no_page(&plan.fetch.url)
        && !task.name.as_deref().is_some_and(filename::is_no_page)
}

/// The refusal of a web page. A network that one has not signed in to sends it in place of everything.
fn page_instead(service: &dyn Service) -> Error {
    let advice = if service.about().id == "link" {
        Phrase::CheckSignInOrDirectLink
    } else {
        Phrase::CheckAddressAndSignIn
    };
    Error::new(Cause::BadResponse, Phrase::SentPage { service: who(service) }).advise(advice)
}

/// The name that a download that begins is to have.
fn choose_name(
    task: &DownloadTask,
    plan: &Plan,
    headers: &HeaderMap,
    url: &url::Url,
    begun: &[Bytes],
    is_page: bool,
) -> String {
    if let Some(name) = task.name.as_deref().and_then(filename::make_safe) {
        return name;
    }
    let name = filename::choose(&Candidates {
        content_disposition: headers.get(CONTENT_DISPOSITION).map(HeaderValue::as_bytes),
        title: plan.title.as_deref(),
        url: plan.pages_welcome.then_some(url),
        id: &plan.id,
        content_type: headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
        first_bytes: begun.first().map_or(&[], |bytes| bytes),
    });
    if is_page && task.name.is_none() { filename::of_page(name) } else { name }
}

/// Whether a short file is here whole, or comes in the next moment.
async fn comes_whole(answer: &mut Response, begun: &mut Vec<Bytes>, total: Option<u64>) -> bool {
    let Some(total) = total.filter(|total| *total <= SHORT) else { return false };
    let until = tokio::time::Instant::now() + MOMENT;
    while length_of(begun) < total {
        match tokio::time::timeout_at(until, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => begun.push(chunk),
            // What went wrong, or is too slow, is seen by whoever reads on.
            _ => return false,
        }
    }
    length_of(begun) == total
}

fn length_of(begun: &[Bytes]) -> u64 {
    begun.iter().map(|bytes| bytes.len() as u64).sum()
}

/// Shows the name that the file will have, and writes the row down with whatever is waited for next.
fn show_name(run: &Run, name: &str, target: &Path) {
    run.update(|row| {
        name.clone_into(&mut row.name);
        row.path = Some(target.display().to_string());
    });
    run.queue().store.save_row_later(run.row());
}

/// A part file that was just made.
struct Made {
    part: PartFile,
    /// Whether there is room for the whole file.
    room: Result<()>,
    /// What became of the file's bytes, if all of them were here already.
    written: Option<std::io::Result<Hasher>>,
}

/// All bytes of a short file, and what they prove.
struct Whole {
    bytes: Vec<Bytes>,
    hasher: Hasher,
    /// By what the file is proven and its checksum; `None` if it is not what was offered.
    proof: Option<(Verified, Option<String>)>,
    modified: Option<String>,
}

impl Whole {
    fn new(bytes: Vec<Bytes>, extra: Option<Algorithm>, proofs: &Proofs) -> Self {
        let mut hasher = Hasher::new(extra.as_slice());
        bytes.iter().for_each(|bytes| hasher.update(bytes));
        let digests = hasher.clone().finish();
        let proof = match compare(&digests, &proofs.offered) {
            Proof::Match(algorithm) => Some((algorithm.into(), digests.hex(algorithm))),
            // A file is taken for whole by its length.
            Proof::Nothing => Some((Verified::Length, digests.hex(Algorithm::Crc32c))),
            Proof::Mismatch { .. } => None,
        };
        Self { bytes, hasher, proof, modified: proofs.modified.clone() }
    }

    fn proven(&self, name: &str) -> Option<ProvenWhole> {
        let (verified, checksum) = self.proof.clone()?;
        let (size, crc32c) = (self.hasher.bytes(), self.hasher.crc32c());
        Some(ProvenWhole { name: name.to_owned(), size, crc32c, verified, checksum })
    }

    fn write_to(&self, part: &PartFile) -> std::io::Result<Hasher> {
        let mut at = 0;
        for bytes in &self.bytes {
            write_at(part.file(), bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(self.hasher.clone())
    }
}

/// Takes the first free name like `wanted` and makes its part file, with all that can be in it already. The name is on
/// disk before the part file is: a kill in between must not leave a part file that belongs to nobody. A short file that
/// is here whole and proven goes all the way to its final name, and nothing is left to do: `None`. docs/decisions/0016.
async fn reserve(
    run: &Run,
    task: &DownloadTask,
    wanted: String,
    total: Option<u64>,
    whole: Option<Whole>,
) -> Result<Option<Made>> {
    let (run, path) = (run.clone(), task.folder.clone());
    // In one go: for a short file each change of hands costs as much as the work.
    let make = move || loop {
        let folder = run.queue().folders.open(&path)?;
        let free = |is_reserved: &dyn Fn(&str) -> bool| PartFile::free_name(&folder, &wanted, is_reserved);
        let name = run.queue().names.reserve(run.id, &folder, free)?;
        show_name(&run, &name, &folder.path_of(&name));
        let proven = whole.as_ref().and_then(|whole| whole.proven(&name));
        let drive = folder.drive().map(Path::to_owned);
        let journal =
            Journal { name: name.clone(), total, proven_whole: proven.clone(), drive, ..Journal::default() };
        run.save_journal_now(&journal)?;
        let Some(part) = PartFile::create(folder, &name)? else { continue };
        let room = total.map_or(Ok(()), |total| match &whole {
            // It is about to fill that room by itself.
            Some(_) => part.find_room(total),
            None => part.make_room(total),
        });
        let written = whole.as_ref().filter(|_| room.is_ok()).map(|whole| whole.write_to(&part));
        if let (Some(whole), Some(proven), Some(Ok(_))) = (&whole, proven, &written) {
            run.stage(Stage::Publishing);
            set_modified(&run, &part, whole.modified.as_deref());
            publish_now(&run, journal, &part, proven)?;
            return Ok(None);
        }
        return Ok(Some(Made { part, room, written }));
    };
    blocking(make).await?
}

// ---- proof and publication ----

async fn verify(
    run: &Run,
    plan: &Plan,
    open: Open,
    proofs: &Proofs,
    framing: Framing,
    kept: &mut Kept,
) -> Result<(Open, ProvenWhole)> {
    run.stage(Stage::Verifying);
    let size = open.have();
    let total = open.total.or(plan.expected_size);
    if let Some(total) = total
        && total != size
    {
        kept.open = Some(open);
        return Err(Error::new(Cause::CutShort, Phrase::CameIncomplete)
            .because(Phrase::OnlyArrived { done: Size(size), total: Size(total) }));
    }
    let best = proofs.offered.algorithms().first().copied();
    let (open, digests) = match open.digests(best) {
        Some(digests) => (open, Ok(digests)),
        None => {
            let stop = run.stop.clone();
            let read_back = move || {
                let digests = open.read_back(best, &stop);
                (open, digests)
            };
            blocking(read_back).await?
        }
    };
    let digests = match digests {
        Ok(digests) => digests,
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            kept.open = Some(open);
            return Err(Error::canceled());
        }
        Err(error) => return Err(Error::target_io("Checking", &open.part.path(), &error)),
    };
    let proven = |verified: Verified, algorithm: Algorithm| ProvenWhole {
        name: open.part.name().to_owned(),
        size,
        crc32c: digests.crc32c,
        verified,
        checksum: digests.hex(algorithm),
    };
    match compare(&digests, &proofs.offered) {
        Proof::Match(algorithm) => {
            let whole = proven(algorithm.into(), algorithm);
            Ok((open, whole))
        }
        Proof::Nothing => {
            let verified =
                if total.is_some() || framing == Framing::Marked { Verified::Length } else { Verified::None };
            if verified == Verified::None {
                run.note(Phrase::NoSizeNoChecksum);
            }
            let whole = proven(verified, Algorithm::Crc32c);
            Ok((open, whole))
        }
        Proof::Mismatch { algorithm, expected, got } => {
            kept.open = Some(open);
            restart(run, kept, Phrase::ChecksumDiffered).await?;
            Err(Error::new(Cause::Integrity, Phrase::NotAsDescribed).because(Phrase::ChecksumCame {
                algorithm: algorithm.as_str().to_owned(),
                got,
                expected,
            }))
        }
    }
}

/// Gives the file the time that its source has, if the user wants that.
fn set_modified(run: &Run, part: &PartFile, modified: Option<&str>) {
    if run.settings().keep_modified_time
        && let Some(time) = modified.and_then(|text| httpdate::parse_http_date(text).ok())
    {
        // Only a convenience: a file system without times is no reason to fail.
        let _ = part.file().set_modified(time);
    }
}

/// Makes a proven file durable and gives it its final name.
async fn publish(run: &Run, journal: Journal, part: PartFile, whole: ProvenWhole) -> Result<()> {
    run.stage(Stage::Publishing);
    let run = run.clone();
    blocking(move || publish_now(&run, journal, &part, whole)).await?
}

/// The same. Blocks.
fn publish_now(run: &Run, mut journal: Journal, part: &PartFile, mut whole: ProvenWhole) -> Result<()> {
    // Synced before anybody sees it under its name.
    if let Err(error) = part.sync() {
        // The system tells of it once, and what did not reach the disk is read back from memory as if it were there: by
        // the next attempt, too. So it is proven no longer, whoever is asked.
        journal.proven_whole = None;
        if run.save_journal_now(&journal).is_err() {
            let _ = part.truncate(0);
        }
        run.renew_kept_journal(&journal);
        return Err(error);
    }
    loop {
        // On disk before the file has it: a kill in between must not bring the same file a second time.
        if journal.proven_whole.as_ref() != Some(&whole) {
            journal.proven_whole = Some(whole.clone());
            run.save_journal_now(&journal)?;
            run.renew_kept_journal(&journal);
        }
        if part.publish(&whole.name)? {
            let path = part.path_of(&whole.name);
            crate::files::origin_mark::set(&path);
            show_published(run, &path, whole);
            return Ok(());
        }
        whole.name = part.final_name()?;
    }
}
