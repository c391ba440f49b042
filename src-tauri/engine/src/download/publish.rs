//! The proof, and the final name. A name exists only with bytes that are complete, compared and synced.

use std::io::ErrorKind;

use super::resume_part::show_published;
use super::{Kept, Open, restart, sniff};
use crate::error::{Cause, Error, Result};
use crate::files::part_file::PartFile;
use crate::http::checksum::{Algorithm, Proof, prove, wanted};
use crate::http::head::Framing;
use crate::run::Run;
use crate::services::Plan;
use crate::task::{DownloadTask, Journal, ProvenWhole};
use crate::transfer::{Stage, Verified};
use crate::words::{Count, Phrase, Size};

pub(super) async fn verify(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    open: Open,
    framing: Framing,
    kept: &mut Kept,
) -> Result<(Open, ProvenWhole)> {
    run.stage(Stage::Verifying);
    let size = open.have();
    let total = open.total().or(plan.expected_size);
    if let Some(total) = open.total().filter(|total| *total != size) {
        kept.open = Some(open);
        return Err(Error::new(Cause::CutShort, Phrase::CameIncomplete)
            .because(Phrase::OnlyArrived { done: Size(size), total: Size(total) }));
    }
    if let Some(listed) = plan.expected_size.filter(|listed| *listed != size) {
        kept.open = Some(open);
        return Err(of_another_size(listed, size));
    }
    let (offered, own) = (open.identity.digests.clone(), task.checksum.as_ref());
    let wanted = wanted(&offered, own);
    let (open, digests) = match open.digests(&wanted) {
        Some(digests) => (open, Ok(digests)),
        None => {
            let reading = run.clone();
            let read_back = move || {
                let digests = open.read_back(&wanted, &reading);
                (open, digests)
            };
            run.disk(read_back).await?
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
    match prove(&digests, &offered, own) {
        Proof::Match(algorithm) => {
            let whole = proven(algorithm.into(), algorithm);
            Ok((open, whole))
        }
        Proof::Nothing => {
            let is_told = total.is_some() || framing == Framing::Marked;
            let part = open.part.clone();
            let may_be_message = run.disk(move || sniff::is_short_text(&part, size)).await?;
            let verified = if is_told && !may_be_message { Verified::Length } else { Verified::None };
            if may_be_message {
                run.note(Phrase::OnlyShortText);
            } else if !is_told {
                run.note(Phrase::NoSizeNoChecksum);
            }
            let whole = proven(verified, Algorithm::Crc32c);
            Ok((open, whole))
        }
        Proof::Mismatch { algorithm, expected, got } => {
            // One that came damaged is no reason to take the next for whole unseen.
            let promised = open.identity.clone();
            kept.open = Some(open);
            restart(run, kept, Phrase::ChecksumDiffered, promised).await?;
            let error = match own.filter(|own| !own.is_of(&digests)) {
                Some(_) => Error::new(Cause::Integrity, Phrase::NotTheOneMeant).advise(Phrase::CheckChecksum),
                None => Error::new(Cause::Integrity, Phrase::NotAsDescribed),
            };
            Err(error.because(Phrase::ChecksumCame {
                algorithm: algorithm.as_str().into(),
                got: got.into(),
                expected: expected.into(),
            }))
        }
    }
}

/// The failure for a file of which the service's own list names another size. One of the two words is wrong, and nothing else
/// is there to say which: it may have lost the end of the file, and have counted what was left. So it is as loud as the same
/// contradiction after an upload, and as it always was where the answer named no size.
pub(super) fn of_another_size(listed: u64, sent: u64) -> Error {
    let cause = if sent < listed { Cause::CutShort } else { Cause::BadResponse };
    Error::new(cause, Phrase::OtherSizeListed)
        .because(Phrase::SizeListed { sent: Count(sent), listed: Count(listed) })
        .advise(Phrase::CheckIdOrTryLater)
}

/// Gives the file the time that its source has, if the user wants that. Blocks.
pub(super) fn set_modified(run: &Run, part: &PartFile, modified: Option<&str>) {
    if run.settings().keep_modified_time
        && let Some(time) = modified.and_then(|text| httpdate::parse_http_date(text).ok())
    {
        // Only a convenience: a file system without times is no reason to fail.
        let _ = part.file().set_modified(time);
    }
}

/// Makes a proven file durable and gives it its final name.
pub(super) async fn publish(
    run: &Run,
    journal: Journal,
    part: PartFile,
    whole: ProvenWhole,
    modified: Option<String>,
) -> Result<()> {
    run.stage(Stage::Publishing);
    let publishing = run.clone();
    let publish = move || {
        set_modified(&publishing, &part, modified.as_deref());
        publish_now(&publishing, journal, &part, whole)
    };
    run.disk(publish).await?
}

/// The same. Blocks.
pub(super) fn publish_now(
    run: &Run,
    mut journal: Journal,
    part: &PartFile,
    mut whole: ProvenWhole,
) -> Result<()> {
    let mark = part.mark();
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
        // Whoever has stopped the transfer was told that it has not ended.
        run.require_wait()?;
        // On disk before the file has it: a kill in between must not bring the same file a second time.
        if journal.proven_whole.as_ref() != Some(&whole) {
            journal.proven_whole = Some(whole.clone());
            run.save_journal_now(&journal)?;
            run.renew_kept_journal(&journal);
        }
        if part.publish(&whole.name, &mark)? {
            let path = part.path_of(&whole.name);
            show_published(run, &path, whole);
            return Ok(());
        }
        whole.name = part.final_name()?;
    }
}
