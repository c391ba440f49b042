//! Writes a download's bytes beside the async threads: hashes, writes, syncs, journals.
//!
//! Chunks come with their place in the file, from one connection or several. What lies on disk is a list of
//! stretches, each with its own checksum; a chunk lengthens the stretch that ends where it begins, or begins one.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::files::folder::write_at;
use crate::files::part_file::PartFile;
use crate::http::body::Placed;
use crate::http::checksum::{Algorithm, Hasher};
use crate::run::Run;
use crate::task::{Journal, Piece};

/// Data is synced and journaled after this much …
const SYNC_BYTES: u64 = 64 * 1024 * 1024;
/// … or this long.
const SYNC_TIME: Duration = Duration::from_secs(5);
/// Room is set aside in steps that begin with this many bytes …
const FIRST_STEP: u64 = 8 * 1024 * 1024;
/// … and grow to this many.
const LONGEST_STEP: u64 = 64 * 1024 * 1024;
/// Chunks between the network and the disk: a few megabytes, so that neither waits for the other.
const CHANNEL: usize = 16;

/// Bytes that lie together on disk, with the hasher that has seen them.
#[derive(Clone)]
pub(crate) struct Stretch {
    /// First byte.
    pub start: u64,
    /// Its checksums.
    pub hasher: Hasher,
}

impl Stretch {
    /// Byte after the last.
    pub fn end(&self) -> u64 {
        self.start + self.hasher.bytes()
    }
}

/// Stretches as the journal keeps them.
pub(crate) fn pieces(stretches: &[Stretch]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = stretches
        .iter()
        .filter(|stretch| stretch.hasher.bytes() > 0)
        .map(|stretch| Piece { start: stretch.start, end: stretch.end(), crc32c: stretch.hasher.crc32c() })
        .collect();
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

/// Where connections hand their chunks in.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::Sender<Placed>);

impl Inbox {
    /// Hands bytes over; false when the writer has stopped.
    pub async fn write(&self, placed: Placed) -> bool {
        self.0.send(placed).await.is_ok()
    }
}

/// The writer of one part file.
pub(crate) struct Writer {
    inbox: Inbox,
    task: tokio::task::JoinHandle<(Vec<Stretch>, Result<()>)>,
    syncer: Arc<Syncer>,
}

/// What a writer leaves.
pub(crate) struct Written {
    /// What lies on disk; `None` when a sync failed: then only what was journaled before is, and that must be read back.
    pub stretches: Option<Vec<Stretch>>,
    /// Whether everything that was handed in could be written.
    pub result: Result<()>,
}

impl Writer {
    /// Starts writing to a part file that holds these stretches already. `journal` says what to journal beside them.
    pub fn start(run: &Run, part: &PartFile, stretches: Vec<Stretch>, journal: Journal) -> Self {
        let (sender, inbox) = mpsc::channel(CHANNEL);
        run.counter.set_places(pieces(&stretches).iter().map(Piece::extent).collect());
        let syncer = Arc::new(Syncer {
            run: run.clone(),
            part: part.clone(),
            journal,
            beside: Mutex::default(),
            failure: Mutex::default(),
        });
        let beside = Arc::clone(&syncer);
        let hold = run.calls().hold();
        let task = tokio::task::spawn_blocking(move || {
            let written = write_all(inbox, stretches, &beside);
            drop(hold);
            written
        });
        Self { inbox: Inbox(sender), task, syncer }
    }

    /// Where to hand chunks in.
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Waits for the last byte, after every other [`Inbox`] is gone; what is to be continued later is synced and
    /// journaled.
    pub async fn finish(self, run: &Run, to_be_continued: bool) -> Result<Written> {
        drop(self.inbox);
        let (stretches, mut result) = run.outlast(self.task).await?;
        let beside = self.syncer.beside().take();
        if let Some(beside) = beside {
            // What it writes down must not come after what is written down from here on.
            run.outlast(beside).await?;
        }
        if (to_be_continued || result.is_err()) && !self.syncer.has_failed() {
            let (syncer, proven) = (Arc::clone(&self.syncer), pieces(&stretches));
            run.disk(move || syncer.sync(proven)).await?;
        }
        let Some(failure) = self.syncer.failure().take() else {
            return Ok(Written { stretches: Some(stretches), result });
        };
        if result.is_ok() {
            result = Err(failure);
        }
        Ok(Written { stretches: None, result })
    }
}

fn write_all(
    mut inbox: mpsc::Receiver<Placed>,
    mut stretches: Vec<Stretch>,
    syncer: &Arc<Syncer>,
) -> (Vec<Stretch>, Result<()>) {
    // Of pieces only these can be put together; what else was promised is computed when the file is whole.
    let cheap: Vec<Algorithm> =
        syncer.journal.identity.digests.algorithms().into_iter().filter(|one| one.is_crc()).collect();
    let (mut unsynced, mut synced_at) = (0, Instant::now());
    let mut last = 0;
    let mut room = Room::default();
    let calls = Arc::clone(syncer.run.calls());
    let give_back = |stretches: &[Stretch], room: &Room| {
        let _inside = calls.inside();
        room.give_back(&syncer.part, stretches);
    };
    while let Some(placed) = inbox.blocking_recv() {
        let (offset, bytes) = (placed.at(), placed.bytes());
        if syncer.has_failed() {
            // Nothing that comes could be relied on.
            return (stretches, Ok(()));
        }
        let inside = calls.inside();
        let written = room.ahead_of(syncer, offset, bytes.len() as u64).and_then(|()| {
            write_at(syncer.part.file(), bytes, offset)
                .map_err(|error| Error::target_io("Writing to", &syncer.part.path(), &error))
        });
        drop(inside);
        if let Err(error) = written.and_then(|()| syncer.run.require_wait()) {
            give_back(&stretches, &room);
            return (stretches, Err(error));
        }
        if stretches.get(last).is_none_or(|stretch| stretch.end() != offset) {
            last = stretches.iter().position(|stretch| stretch.end() == offset).unwrap_or_else(|| {
                stretches.push(Stretch { start: offset, hasher: Hasher::new(&cheap) });
                stretches.len() - 1
            });
        }
        stretches[last].hasher.update(bytes);
        syncer.run.counter.add_at(offset, bytes.len() as u64);
        unsynced += bytes.len() as u64;
        if unsynced >= SYNC_BYTES || synced_at.elapsed() >= SYNC_TIME {
            (unsynced, synced_at) = (0, Instant::now());
            syncer.sync_beside(pieces(&stretches));
        }
    }
    give_back(&stretches, &room);
    (stretches, Ok(()))
}

/// The room that is set aside ahead of the writing: so much that it lies together on the disk, and never as much as a
/// server can claim that a file will have.
#[derive(Default)]
struct Room(Vec<Range<u64>>);

impl Room {
    /// Makes sure that these bytes have room, and those that follow them.
    fn ahead_of(&mut self, syncer: &Syncer, offset: u64, length: u64) -> Result<()> {
        let end = offset + length;
        let here = self.0.iter().position(|range| range.start <= offset && offset <= range.end);
        if here.is_some_and(|here| end <= self.0[here].end) {
            return Ok(());
        }
        let (start, had) =
            here.map_or((offset, 0), |here| (self.0[here].end, self.0[here].end - self.0[here].start));
        let step = had.clamp(FIRST_STEP, LONGEST_STEP);
        let upto = syncer.part.step_ahead(start..end, step, syncer.journal.total)?;
        match here {
            Some(here) => self.0[here].end = upto,
            None => self.0.push(start..upto),
        }
        Ok(())
    }

    /// Gives back what was not written to.
    fn give_back(&self, part: &PartFile, stretches: &[Stretch]) {
        let mut written: Vec<Range<u64>> =
            stretches.iter().map(|stretch| stretch.start..stretch.end()).collect();
        written.sort_by_key(|range| range.start);
        for range in &self.0 {
            let mut start = range.start;
            for done in written.iter().filter(|done| done.end > range.start && done.start < range.end) {
                if start < done.start {
                    part.give_back(&(start..done.start));
                }
                start = start.max(done.end);
            }
            if start < range.end {
                part.give_back(&(start..range.end));
            }
        }
    }
}

/// Syncs and journals what is then provable; in the background one at a time.
struct Syncer {
    run: Run,
    part: PartFile,
    journal: Journal,
    /// The sync in the background.
    beside: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// A sync has failed. The system tells that once: a later one that succeeds says nothing about those bytes.
    failure: Mutex<Option<Error>>,
}

impl Syncer {
    fn sync(&self, pieces: Vec<Piece>) {
        let synced = {
            let _inside = self.run.calls().inside();
            self.part.sync_data()
        };
        if let Err(error) = synced {
            *self.failure() = Some(Error::target_io("Writing to", &self.part.path(), &error));
            return;
        }
        let journal = Journal { pieces, ..self.journal.clone() };
        self.run.save_journal(&journal);
        self.run.keep_journal(&journal);
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    fn beside(&self) -> std::sync::MutexGuard<'_, Option<tokio::task::JoinHandle<()>>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_beside(self: &Arc<Self>, pieces: Vec<Piece>) {
        let mut beside = self.beside();
        if beside.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let syncer = Arc::clone(self);
        let hold = self.run.calls().hold();
        *beside = Some(tokio::task::spawn_blocking(move || {
            syncer.sync(pieces);
            drop(hold);
        }));
    }
}
