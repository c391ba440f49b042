//! A download: prepare, fetch, verify, publish.
//!
//! The first GET is the transfer: its head gives name, size, version and checksums, its body is saved at once.
//! Bytes go through a short channel to a writer beside the async threads, which hashes and writes them; what is on
//! disk is journaled only after a sync. What the first answer promised is journaled beside it and decides at the end.
//! Bytes that cannot be shown to be of the version that was begun are never joined to it.
//!
//! Owns the part file of one transfer while it runs. May use `http`, `files`, `services`, and the queue through its
//! [`Run`]; called by the queue only. Holds no lock over a wait, and asks the disk by
//! [`Run::disk`] alone. A cancel leaves the part file, synced, and its journal.

mod body;
mod connections;
mod part_writer;
mod publish;
mod response;
mod resume_part;
mod sniff;

use std::path::Path;
use std::sync::Arc;

use url::Url;

use crate::asset::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::files::folder::Folder;
use crate::files::part_file::PartFile;
use crate::http::answer::Refusal;
use crate::http::checksum::{Algorithm, Digests, combine, combine_crc32c};
use crate::http::head::Framing;
use crate::http::identity::Identity;
use crate::http::reach::{self, Destination};
use crate::http::refusals;
use crate::progress::now;
use crate::run::Run;
use crate::services::{Plan, Service, refused};
use crate::task::{DownloadTask, Journal, Task};
use crate::transfer::Stage;
use crate::words::{Peer, Phrase};
use part_writer::{Stretch, pieces};

/// What one attempt leaves to the next within a run.
#[derive(Default)]
pub(crate) struct Kept {
    plan: Option<Plan>,
    open: Option<Open>,
    /// Where the address led: mirrors differ, so the one that the bytes are from is asked for the rest.
    pinned: Option<Destination>,
    /// The server cannot continue: do not ask again.
    no_ranges: bool,
    looked_for_part: bool,
    /// How often the source has changed on the way.
    changes: u32,
    /// The server has refused further connections for the file: it is fetched by one.
    one_at_a_time: bool,
    /// It has refused this one beside others, and may do so for a while after they have ended.
    is_crowded: bool,
    /// How often in a row it refused the file then.
    refused_after: u32,
    /// How many were served beside it when the file was refused.
    refused_beside: Option<usize>,
    /// How often in a row the pinned place has not answered as a server of the file does.
    missed: u32,
}

impl Kept {
    /// Which address the file is asked for at.
    fn asked_at<'a>(&'a self, plan: &'a Plan) -> &'a Url {
        self.pinned.as_ref().map_or(&plan.fetch.url, |place| &place.url)
    }

    /// Counts these misses of the pinned place. Whether it is to be given up now.
    fn pin_misses(&mut self, misses: u32) -> bool {
        if self.pinned.is_none() {
            return false;
        }
        self.missed += misses;
        self.missed >= response::MOST_MISSES
    }
}

/// A part file with what is known about its bytes.
struct Open {
    part: PartFile,
    stretches: Vec<Stretch>,
    /// Of which version they are, and all that was promised of it.
    identity: Identity,
    /// Whether the answer that brought the last byte could still have turned out to be longer.
    end_unseen: bool,
}

impl Open {
    /// An empty part file.
    fn empty(part: PartFile) -> Self {
        Self { part, stretches: Vec::new(), identity: Identity::default(), end_unseen: false }
    }

    /// Bytes on disk.
    fn have(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.hasher.bytes()).sum()
    }

    /// Size of the whole file, if known.
    fn total(&self) -> Option<u64> {
        self.identity.size
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
        let end = self.total().unwrap_or(u64::MAX);
        if at < end {
            gaps.push((at, end));
        }
        gaps
    }

    /// Whether every byte of a file of known size is here.
    fn is_complete(&self) -> bool {
        self.have() > 0 && self.gaps().is_empty()
    }

    fn journal(&self) -> Journal {
        Journal {
            name: self.part.name().to_owned(),
            identity: self.identity.clone(),
            total: self.total(),
            pieces: pieces(&self.stretches),
            end_unseen: self.end_unseen,
            drive: self.part.drive(),
            file: self.part.id(),
            ..Journal::default()
        }
    }

    /// The whole file's checksums, from its stretches; `None` where they do not suffice for what is wanted.
    fn digests(&self, wanted: &[Algorithm]) -> Option<Digests> {
        let mut in_order: Vec<&Stretch> = self.stretches.iter().collect();
        in_order.sort_by_key(|stretch| stretch.start);
        let digests = match in_order[..] {
            [whole] => whole.hasher.clone().finish(),
            _ => {
                let crc32c = in_order.iter().fold(0, |crc, stretch| {
                    combine_crc32c(crc, stretch.hasher.crc32c(), stretch.hasher.bytes())
                });
                let of_all = |algorithm: &Algorithm| {
                    let mut each = in_order.iter().map(|stretch| {
                        let value = stretch.hasher.clone().finish().value(*algorithm)?;
                        Some((value, stretch.hasher.bytes()))
                    });
                    let first = each.next()??.0;
                    let whole = each.try_fold(first, |whole, next| {
                        let (value, length) = next?;
                        combine(*algorithm, &whole, &value, length)
                    });
                    whole.map(|value| (*algorithm, value))
                };
                Digests::new(crc32c, wanted.iter().filter_map(of_all).collect())
            }
        };
        wanted.iter().all(|algorithm| digests.value(*algorithm).is_some()).then_some(digests)
    }

    /// The same, read back from the disk.
    fn read_back(&self, wanted: &[Algorithm], run: &Run) -> std::io::Result<Digests> {
        Ok(self.part.hash(0, self.have(), wanted, || run.goes_on())?.finish())
    }
}

/// What became of the answer.
enum Fetched {
    /// All of the file lies in the part file, and is to be proven.
    Saved(Framing),
    /// It was short: proven and published in one go.
    Published,
}

/// Makes one attempt at a download; `kept` carries what is worth keeping to the next.
pub(crate) async fn run(run: &Run, kept: &mut Kept) -> Result<()> {
    let task = download_task(run)?;
    let service_id = run.row().service;
    let service = run.or_stop(run.service()).await??;
    let journal = if kept.looked_for_part { None } else { run.journal().await? };
    let journal = resume_part::finish_move(run, &task, journal).await?;
    if !resume_part::proven_before(run, &task, journal.as_ref()).await? {
        let brought = bring(run, &task, kept, journal, service.as_ref()).await;
        // After a failure that took the part file out of these hands, only the journal knows what lies on the disk.
        kept.looked_for_part &= kept.open.is_some();
        brought?;
    }

    if !service.about().is_any_link() {
        let row = run.row();
        let task = download_task(run)?;
        let asset_id = task.server_id.clone().unwrap_or_else(|| task.what.clone());
        let asset = Asset {
            service: service_id,
            asset_id: asset_id.into(),
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
        kept.open = resume_part::continue_part(run, task, journal).await?;
        kept.pinned = pinned_before(run, &plan).await;
        kept.looked_for_part = true;
    }
    run.stage(Stage::Fetching);
    let framing = match response::fetch(run, task, &plan, kept, service).await {
        Ok(Fetched::Saved(framing)) => framing,
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
    let (open, whole) = publish::verify(run, task, &plan, open, framing, kept).await?;
    let modified = open.identity.modified().map(str::to_owned);
    publish::publish(run, open.journal(), open.part, whole, modified).await
}

/// Where the address led in an earlier run.
async fn pinned_before(run: &Run, plan: &Plan) -> Option<Destination> {
    let record = run.resume_record();
    let url = Url::parse(&record.pinned?).ok()?;
    let reach = match record.pinned_reach {
        Some(reach) => reach,
        None => reach::on_word_of(&plan.fetch.url).await,
    };
    Some(Destination { url, reach })
}

fn download_task(run: &Run) -> Result<DownloadTask> {
    match run.task() {
        Some(Task::Download(task)) => Ok(task),
        _ => Err(Error::internal("This is no download")),
    }
}

/// Begins again at the first byte, in the same part file. What is `promised` decides about the bytes that come next.
async fn restart(run: &Run, kept: &mut Kept, reason: Phrase, promised: Identity) -> Result<()> {
    if let Some(open) = &mut kept.open {
        if open.have() > 0 {
            run.note(reason);
        }
        let part = open.part.clone();
        run.disk(move || part.truncate(0)).await??;
        *open = Open { identity: promised, ..Open::empty(open.part.clone()) };
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
        let (part, aside) = run.disk(move || part.set_aside()).await??;
        run.note(Phrase::ChangedAtSource { aside: aside.into() });
        let open = Open::empty(part);
        run.save_journal(&open.journal());
        run.renew_journal(&open.journal()).await?;
        kept.open = Some(open);
    }
    run.counter.set(0);
    Ok(())
}

async fn open_folder(run: &Run, path: &Path) -> Result<Arc<Folder>> {
    let (folders, path) = (Arc::clone(&run.queue().folders), path.to_owned());
    run.disk(move || folders.open(&path)).await?
}

/// What was asked for, as it may be shown: without a query.
fn endpoint(plan: &Plan, url: &Url) -> String {
    format!("{} {}", if plan.fetch.post.is_some() { "POST" } else { "GET" }, url.path())
}

fn who(service: &dyn Service) -> Peer {
    Peer::service(service.about().id)
}

fn refusal_of(service: &dyn Service, said: &Refusal, endpoint: &str) -> Error {
    let kind = service.meaning(said).unwrap_or(said.kind);
    let said = &Refusal { kind: refusals::of_download(kind, said), ..said.clone() };
    refused(said, who(service), endpoint)
}
