//! Going on where an earlier run stood: the part file, and how much of it is provable.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::part_writer::Stretch;
use super::publish::publish;
use super::{Open, open_folder};
use crate::error::{Cause, Error, Result};
use crate::filename::part_name;
use crate::files::part_file::PartFile;
use crate::run::Run;
use crate::task::{DownloadTask, Journal, Piece, ProvenWhole};
use crate::transfer::Stage;
use crate::words::{Phrase, Size, shown};

/// A kill caught the part file on its way to another folder: it goes the rest of it.
pub(super) async fn finish_move(
    run: &Run,
    task: &DownloadTask,
    journal: Option<Journal>,
) -> Result<Option<Journal>> {
    let Some(mut journal) = journal else { return Ok(None) };
    if let Some((from, old)) = journal.moved_from.take() {
        run.stage(Stage::Checking);
        let (to, new) = (task.folder.clone(), journal.name.clone());
        // To its end, also when the transfer is to stop: two of these at once would take the file from each other.
        let (writing, moved) = (run.clone(), journal.clone());
        let finish = move || {
            let file = crate::files::part_file::relocate(&from, &old, &to, &new, moved.file, || {
                writing.calls().moved_on();
            })?;
            let moved = Journal { file, ..moved };
            writing.save_journal_now(&moved)?;
            writing.renew_kept_journal(&moved);
            Ok::<_, Error>(moved)
        };
        journal = run.disk(finish).await??;
    }
    Ok(Some(journal))
}

/// A kill, or a folder that took no new name, between the proof and the end of the transfer leaves a proven file: with
/// its final name, or still without. Nobody is asked for it a second time.
pub(super) async fn proven_before(run: &Run, task: &DownloadTask, journal: Option<&Journal>) -> Result<bool> {
    let Some(journal) = journal else { return Ok(false) };
    // A Ferry that knew no checksums of the user's may have gone on with it meanwhile.
    let is_meant =
        |whole: &ProvenWhole| task.checksum.as_ref().is_none_or(|own| whole.checksum == Some(own.hex()));
    let Some(whole) = journal.proven_whole.clone().filter(is_meant) else { return Ok(false) };
    refuse_without_drive(run, task, journal.drive.clone()).await?;
    run.stage(Stage::Checking);
    let folder = open_folder(run, &task.folder).await?;
    let (name, file) = (journal.name.clone(), journal.file);
    let (wanted, reading) = (whole.clone(), run.clone());
    let found = run.disk(move || {
        let is_whole = |part: &PartFile| {
            part.file().metadata().is_ok_and(|facts| facts.len() == wanted.size)
                && part
                    .hash(0, wanted.size, &[], || reading.goes_on())
                    .is_ok_and(|hasher| hasher.crc32c() == wanted.crc32c)
        };
        if folder.has(&part_name(&name)) {
            return PartFile::reopen(folder, &name, file).ok().filter(is_whole).map(|part| Ok(Some(part)));
        }
        let published = PartFile::published(folder, &wanted.name, file).ok().filter(is_whole)?;
        // It may have its name, and not yet for good.
        Some(published.sync_with_name().map(|()| None))
    });
    let found = found.await?.transpose()?;
    // What was stopped halfway says nothing about the file.
    if run.stop.is_cancelled() {
        return Err(Error::canceled());
    }
    match found {
        Some(Some(part)) => {
            run.tell(Phrase::OnlyNameMissing);
            publish(run, journal.clone(), part, whole, None).await?;
        }
        Some(None) => {
            run.tell(Phrase::HadItsName);
            show_published(run, &task.folder.join(&whole.name), whole);
        }
        None => return Ok(false),
    }
    Ok(true)
}

pub(super) fn show_published(run: &Run, path: &Path, whole: ProvenWhole) {
    run.counter.set(whole.size);
    run.update(|row| {
        row.name = whole.name.into();
        row.path = Some(path.display().to_string());
        row.verified = Some(whole.verified);
        row.checksum = whole.checksum.map(Into::into);
        row.total = Some(whole.size);
    });
}

/// What has come lies on a drive that is away: nothing is made in the folder that it left behind.
async fn refuse_without_drive(run: &Run, task: &DownloadTask, drive: Option<PathBuf>) -> Result<()> {
    let Some(drive) = drive else { return Ok(()) };
    if run.disk(move || crate::files::folder::is_gone(&drive)).await? {
        return Err(crate::files::part_file::drive_is_gone(&task.folder));
    }
    Ok(())
}

/// Opens the part file of an earlier run and keeps as much of it as is provable.
pub(super) async fn continue_part(
    run: &Run,
    task: &DownloadTask,
    journal: Option<Journal>,
) -> Result<Option<Open>> {
    let Some(journal) = journal else {
        run.counter.set(0);
        return Ok(None);
    };
    let proven = journal.proven();
    if proven > 0 {
        run.stage(Stage::Checking);
    }
    run.counter.set(proven);
    refuse_without_drive(run, task, journal.drive.clone().filter(|_| proven > 0)).await?;
    let folder = open_folder(run, &task.folder).await?;
    let path = folder.path_of(&part_name(&journal.name));
    let (name, file) = (journal.name.clone(), journal.file);
    let opened = run.disk(move || PartFile::reopen(folder, &name, file)).await?;
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
    let (reading, wanted, reader) = (part.clone(), journal.pieces.clone(), run.clone());
    let stretches = run
        .disk(move || {
            let stretch = |piece: &Piece| {
                let hasher = reading.hash(piece.start, piece.end - piece.start, &[], || reader.goes_on())?;
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
            let (part, aside) = run.disk(move || part.set_aside()).await??;
            run.note(Phrase::PartFileChanged { aside: aside.into() });
            return Ok(Some(Open::empty(part)));
        }
        Err(error) => return Err(Error::target_io("Checking", &path, &error)),
    };
    let (cut, end) = (part.clone(), stretches.iter().map(Stretch::end).max().unwrap_or(0));
    run.disk(move || cut.truncate(end)).await??;
    if proven > 0 {
        run.tell(Phrase::GoesOnAt { done: Size(proven) });
    }
    Ok(Some(Open { part, stretches, identity: journal.identity, end_unseen: journal.end_unseen }))
}
