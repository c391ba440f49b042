//! The body of an answer on its way to the part file: its name, its place, and the writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connections::Connections;
use super::part_writer::{Stretch, Writer, Written};
use super::publish::{publish_now, set_modified};
use super::{Fetched, Kept, Open, blocking, changed, restart, sniff};
use crate::error::{Cause, Error, Result};
use crate::filename::{self, Candidates};
use crate::files::folder::write_at;
use crate::files::part_file::PartFile;
use crate::http::body::Placed;
use crate::http::checksum::{Algorithm, Checksum, Hasher, Proof, prove, wanted};
use crate::http::head::{Answer, Facts, Framing, is_packed_itself};
use crate::http::identity::{Identity, Sameness};
use crate::http::reach::Destination;
use crate::run::Run;
use crate::services::{Plan, Service};
use crate::task::{DownloadTask, Journal, ProvenWhole};
use crate::transfer::{Stage, Verified};
use crate::words::Phrase;

/// A file up to this size is not handed on in pieces, if it is there in a [`MOMENT`].
const SMALL_FILE_BYTES: u64 = 128 * 1024;
const MOMENT: Duration = Duration::from_millis(20);

/// What becomes of what is here already, once the body of an answer has begun.
pub(super) enum Over {
    /// The body is joined to it: its head has shown that both are of one version.
    Join,
    /// It is given up, for this reason.
    Restart(Phrase),
    /// It is kept aside: the source has another version now.
    Changed,
}

/// Saves the body of an answer, and whatever else is missing by further connections.
pub(super) async fn save(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    kept: &mut Kept,
    (answer, answered): (Answer, Duration),
    over: Over,
    service: &dyn Service,
) -> Result<Fetched> {
    let Answer { facts, mut body } = answer;
    let begins = !matches!(over, Over::Join);
    let framing = facts.framing;
    let (mut reserved, mut promised) = (None, None);
    // Whether nothing but what was promised before says how long the body is to be.
    let mut is_held = false;
    if begins {
        if kept.open.as_ref().is_none_or(|open| open.have() == 0) {
            run.update(|row| row.total = facts.total().or(row.total));
            if run.queue().steps_back(run.id) {
                return Err(Error::canceled());
            }
        }
        sniff::first_bytes(run, task, plan, &facts, &mut body, service).await?;
        let is_page = sniff::is_page(&facts, &body.seen()) == Some(true);
        if is_page && plan.pages_welcome && !sniff::page_was_meant(task, plan, kept) {
            return Err(sniff::page_instead(service));
        }
        for note in &facts.digests().notes {
            run.tell(note.clone());
        }
        let name = match &kept.open {
            Some(open) => open.part.name().to_owned(),
            None => {
                let language = filename::language_of(run.settings().language);
                choose_name(task, plan, &facts, &body.seen(), (is_page, language))
            }
        };
        refuse_unwanted_coding(&facts, &name)?;
        promised = kept.open.as_ref().and_then(|open| still_promised(&open.identity, &facts));
        // Only now: what is here is not given up for a body that may never come.
        match over {
            Over::Changed => changed(run, kept).await?,
            Over::Restart(reason) => restart(run, kept, reason, Identity::default()).await?,
            Over::Join => {}
        }
        if let Some(open) = &kept.open {
            show_name(run, open.part.name(), &open.part.target());
        } else {
            let mut whole = None;
            let is_short = facts.total().is_some_and(|total| total <= SMALL_FILE_BYTES)
                && plan.expected_size.is_none_or(|expected| Some(expected) == facts.total())
                && !sniff::may_be_message(&name, &body.seen());
            // Under a limit it comes little by little, and each little is kept.
            if is_short && !run.limit_down().is_set() && body.comes_whole(Instant::now() + MOMENT).await {
                whole = Some(Whole::new(body.take_seen(), &facts, task.checksum.as_ref()));
            }
            reserved = reserve(run, task, name, facts.total(), whole).await?;
            if reserved.is_none() {
                let resumable = facts.identity.can_be_shown() && plan.rangeable && facts.may_give_ranges;
                run.update(|row| row.resumable = resumable);
                return Ok(Fetched::Published);
            }
        }
    }
    let (mut has_room, mut written) = (false, None);
    if let Some(made) = reserved {
        (has_room, written) = (facts.total().is_some(), made.written);
        kept.open = Some(Open::empty(made.part));
        made.room?;
    }
    let Some(open) = &mut kept.open else { return Err(Error::internal("There is no part file")) };
    if begins {
        open.identity = facts.identity.clone();
        if let Some(promised) = &promised {
            open.identity.learn(promised);
        }
        if let (None, Some(size)) = (facts.total(), open.total()) {
            body.hold_to(size);
            is_held = true;
        }
        let algorithms = wanted(&open.identity.digests, task.checksum.as_ref());
        open.stretches = vec![Stretch { start: 0, hasher: Hasher::new(&algorithms) }];
    }
    open.end_unseen = body.is_open();
    let can_continue = open.identity.can_be_shown() && plan.rangeable && !kept.no_ranges;
    let row_total = open.total().or(plan.expected_size);
    run.update(|row| {
        row.total = row_total;
        row.resumable = can_continue && facts.may_give_ranges;
    });
    if let Some(written) = written {
        match written {
            Ok(hasher) => {
                run.counter.set(hasher.bytes());
                open.stretches = vec![Stretch { start: 0, hasher }];
                return Ok(Fetched::Saved(framing));
            }
            Err(error) => {
                let error = Error::target_io("Writing to", &open.part.path(), &error);
                let error = more_needed(error, open).await?;
                // What part of it lies on the disk is not known.
                kept.open = None;
                return Err(error);
            }
        }
    }
    if let Some(total) = open.total().filter(|_| !has_room) {
        let part = open.part.clone();
        blocking(move || part.make_room(total)).await??;
    }
    run.save_journal(&open.journal());
    if can_continue {
        pin(run, plan, &facts, &mut kept.pinned).await?;
    }
    if begins {
        run.tell(Phrase::ServerSends);
    }
    let from = kept.pinned.clone().unwrap_or_else(|| Destination::own(plan.fetch.url.clone()));
    let wanted = task.connections.unwrap_or_else(|| run.settings().connections).clamp(1, 16);
    let most = if kept.one_at_a_time { 1 } else { wanted };
    let writer = Writer::start(run, &open.part, open.stretches.clone(), open.journal());
    let connections = Connections::new(run, &plan.fetch, from, writer.inbox())
        // A disk that fills what lies before a byte would do so for minutes.
        .about(open.identity.clone(), can_continue, facts.gives_ranges && open.part.takes_gaps())
        .start(most, &open.gaps(), answered);
    let result = Arc::clone(&connections).save_all(body).await;
    // What the pieces' own answers named decides as well, and what came behind the last byte.
    let learned = connections.learned();
    open.identity.learn(&learned);
    open.end_unseen &= result.is_err();
    if connections.were_unwelcome() {
        (kept.one_at_a_time, kept.is_crowded) = (true, true);
    }
    // The writer ends when nobody can hand it anything any more.
    drop(connections);
    let Written { stretches, result: written } = writer.finish(result.is_err()).await?;
    let written = match written {
        Err(error) => Err(more_needed(error, open).await?),
        Ok(()) => Ok(()),
    };
    match stretches {
        Some(stretches) => open.stretches = stretches,
        // What is on the disk must be read back.
        None => kept.open = None,
    }
    written?;
    if let (Some(open), Ok(())) = (&kept.open, &result)
        && learned != Identity::default()
    {
        run.save_journal(&open.journal());
    }
    if let Err(error) = &result
        && error.cause == Cause::Misplaced
        && is_held
    {
        return Err(longer_than_promised(run, kept, &facts).await?);
    }
    if let Err(error) = &result
        && error.cause == Cause::Misplaced
    {
        // Nor is it asked to continue again: what it calls a part is none.
        kept.no_ranges = true;
        let promised = kept.open.as_ref().map(|open| open.identity.clone()).unwrap_or_default();
        restart(run, kept, Phrase::ContinuedElsewhere, promised).await?;
    }
    result?;
    Ok(Fetched::Saved(framing))
}

/// What was promised of what is here, and holds for an answer that begins anew, too: all of it for the same version. Of what
/// may be the same, the size alone, where nothing but the end of the connection would tell that this is all.
fn still_promised(before: &Identity, facts: &Facts) -> Option<Identity> {
    match before.same_as(&facts.identity) {
        Sameness::Same => Some(before.clone()),
        Sameness::Unknown
            if before.is_of_the_place_of(&facts.identity) && facts.framing == Framing::Closed =>
        {
            Some(Identity::of_validator(None, before.size))
        }
        Sameness::Unknown | Sameness::Other => None,
    }
}

/// The failure for a body that is longer than what was promised of the file before, which nothing of it can be kept for. Of
/// the same version there are two sizes then; of what may be another one the promise does not hold.
async fn longer_than_promised(run: &Run, kept: &mut Kept, facts: &Facts) -> Result<Error> {
    let promised = kept.open.as_ref().map(|open| open.identity.clone()).unwrap_or_default();
    if promised.same_as(&facts.identity) == Sameness::Same {
        restart(run, kept, Phrase::LongerThanPromised, promised).await?;
        return Ok(Error::new(Cause::BadResponse, Phrase::TwoSizesOfOne));
    }
    restart(run, kept, Phrase::LongerThanPromised, facts.identity.clone()).await?;
    Ok(Error::new(Cause::Misplaced, Phrase::MoreThanNamed))
}

/// Remembers where the address led: another time it may lead to a mirror with marks of its own. The address is a secret
/// as the link is, so it lies beside that.
async fn pin(run: &Run, plan: &Plan, facts: &Facts, pinned: &mut Option<Destination>) -> Result<()> {
    let leads_on = facts.url != plan.fetch.url;
    if !leads_on || pinned.as_ref().is_some_and(|place| place.url == facts.url) {
        return Ok(());
    }
    *pinned = Some(Destination { url: facts.url.clone(), reach: facts.reach });
    run.change_resume(|record| {
        (record.pinned, record.pinned_reach) = (Some(facts.url.to_string()), Some(facts.reach));
    })
    .await
}

/// The bytes came packed though that was not asked for: saved like this, the file could not be opened. What is packed by
/// its own name or type is what was asked for. docs/decisions/0006.
fn refuse_unwanted_coding(facts: &Facts, name: &str) -> Result<()> {
    let Some(coding) = &facts.coding else { return Ok(()) };
    if is_packed_itself(coding, name, facts.media_type().as_deref()) {
        return Ok(());
    }
    Err(Error::new(Cause::BadResponse, Phrase::SentCompressed)
        .because(Phrase::HasEncoding { encoding: coding.as_str().into() })
        .advise(Phrase::GetDirectLink))
}

/// Says how much is missing when a disk ran full.
async fn more_needed(mut error: Error, open: &Open) -> Result<Error> {
    if let (Cause::DiskFull, Some(total)) = (error.cause, open.total()) {
        let part = open.part.clone();
        // Where the disk has room, it is something else that is used up (a quota), and the system says it best.
        if let Err(full) = blocking(move || part.find_room(total)).await? {
            (error.what, error.why) = (Phrase::DiskFull.into(), full.why);
        }
    }
    Ok(error)
}

/// The name that a download that begins is to have.
fn choose_name(
    task: &DownloadTask,
    plan: &Plan,
    facts: &Facts,
    begun: &[u8],
    (is_page, language): (bool, &str),
) -> String {
    if let Some(name) = task.name.as_deref().and_then(filename::make_safe) {
        return name;
    }
    let name = filename::choose(&Candidates {
        content_disposition: facts.disposition(),
        title: plan.title.as_deref(),
        url: plan.pages_welcome.then_some(&facts.url),
        hops: &facts.hops,
        language,
        id: &plan.id,
        content_type: facts.media_type().as_deref(),
        first_bytes: begun,
    });
    if is_page && task.name.is_none() { filename::of_page(name) } else { name }
}

/// Shows the name that the file will have, and writes the row down with whatever is waited for next.
fn show_name(run: &Run, name: &str, target: &Path) {
    run.update(|row| {
        row.name = name.into();
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
    bytes: Vec<Placed>,
    hasher: Hasher,
    /// By what the file is proven and its checksum; `None` if it is not what was offered, or not what the user means.
    proof: Option<(Verified, Option<String>)>,
    identity: Identity,
}

impl Whole {
    fn new(bytes: Vec<Placed>, facts: &Facts, own: Option<&Checksum>) -> Self {
        let mut hasher = Hasher::new(&wanted(facts.digests(), own));
        bytes.iter().for_each(|placed| hasher.update(placed.bytes()));
        let digests = hasher.clone().finish();
        let proof = match prove(&digests, facts.digests(), own) {
            Proof::Match(algorithm) => Some((algorithm.into(), digests.hex(algorithm))),
            // A file is taken for whole by its length.
            Proof::Nothing => Some((Verified::Length, digests.hex(Algorithm::Crc32c))),
            Proof::Mismatch { .. } => None,
        };
        Self { bytes, hasher, proof, identity: facts.identity.clone() }
    }

    fn proven(&self, name: &str) -> Option<ProvenWhole> {
        let (verified, checksum) = self.proof.clone()?;
        let (size, crc32c) = (self.hasher.bytes(), self.hasher.crc32c());
        Some(ProvenWhole { name: name.to_owned(), size, crc32c, verified, checksum })
    }

    fn write_to(&self, part: &PartFile) -> std::io::Result<Hasher> {
        for placed in &self.bytes {
            write_at(part.file(), placed.bytes(), placed.at())?;
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
        let fitted = folder.fitted(&wanted);
        let Some(part) = PartFile::create(folder, &name)? else { continue };
        if fitted != wanted {
            run.note(Phrase::NameFitted { name: name.as_str().into() });
        }
        let room = total.map_or(Ok(()), |total| match &whole {
            // It is about to fill that room by itself.
            Some(_) => part.find_room(total),
            None => part.make_room(total),
        });
        let written = whole.as_ref().filter(|_| room.is_ok()).map(|whole| whole.write_to(&part));
        if let (Some(whole), Some(proven), Some(Ok(_))) = (&whole, proven, &written) {
            run.stage(Stage::Publishing);
            set_modified(&run, &part, whole.identity.modified());
            publish_now(&run, journal, &part, proven)?;
            return Ok(None);
        }
        return Ok(Some(Made { part, room, written }));
    };
    blocking(make).await?
}
