//! The rows of the list, and what the queue does with each of them: nothing, let it wait in its lane, or run it.
//!
//! Lanes, running work and rows cannot disagree, as only this file changes more than what is in one row:
//! - A lane holds exactly the transfers that were let wait, each at the place that its row has.
//! - What runs has a row, is in no lane, and is counted as active until its end was taken in.
//! - A row goes together with everything that belongs to it; work that still ran for it is told to stop.
//! - Work of a row that a disk still holds after its run has ended is late: until it is over, the row does not run again.
//! - What was let wait and cannot run because of a disk is parked: in no lane, until a disk answers.

use std::collections::hash_map::Values;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::curve::Curves;
use crate::files::disk_calls::{DiskCalls, Place as Disk};
use crate::lane::{Busy, Group, Lane, Origin, Place, SHORT};
use crate::progress::{Counter, Meter};
use crate::resume::Resume;
use crate::task::Task;
use crate::terms::Terms;
use crate::transfer::{Kind, State, Transfer, TransferId, Wait, WaitReason};
use crate::words::{Phrase, shown};

/// What takes longer than this is not quick, whatever its size.
const QUICK: Duration = Duration::from_secs(5);
/// So many that wait for silent disks give their slots away. Each of them keeps threads, of which there is an end.
const MOST_SILENT: usize = 64;

/// Why a run is stopped from outside. Of several, the last in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    Shutdown,
    Pause,
    Cancel,
}

#[derive(Default)]
pub(crate) struct Rows {
    entries: HashMap<TransferId, Entry>,
    /// Every transfer by what it sends or brings, in hashes; made when it is first asked for.
    by_subject: Option<BTreeSet<(u64, TransferId)>>,
    uploads: Lane,
    downloads: Lane,
    active: HashSet<TransferId>,
    /// What a disk still holds of runs that have ended, also of rows that are gone, with the folder that is asked.
    late: HashMap<TransferId, (Arc<DiskCalls>, PathBuf)>,
    /// Disks that do not answer, with the work that waits for them.
    silent: Vec<(Disk, Vec<Arc<DiskCalls>>)>,
    /// Transfers that wait for their turn, and first for a disk.
    parked: BTreeSet<TransferId>,
    /// Speeds over time.
    pub curves: Curves,
    /// Counts what was published.
    pub revision: u64,
    /// Rows that listeners have not been told of as they are.
    pub dirty: HashSet<TransferId>,
    /// Rows that went, of which listeners have not been told.
    pub removed: Vec<TransferId>,
    /// Listeners are to be told of the services.
    pub services_changed: bool,
    /// Listeners are to be told of the settings.
    pub settings_changed: bool,
    /// The links of canceled transfers, and the headers that go along. No file has them any more: as long as this runs, one
    /// that is taken back goes on.
    pub canceled_links: HashMap<TransferId, Resume>,
    /// No row has ever stood behind this place.
    last_position: i64,
    /// That of the row that came last: the next is often of the same.
    last_origin: Option<Arc<Origin>>,
}

/// Small, as a table has room for more than it holds, and is moved as it grows.
pub(crate) struct Entry {
    pub row: Box<Transfer>,
    pub task: Box<Task>,
    /// A journal was written for it, in this run or an earlier one.
    pub has_journal: bool,
    origin: Arc<Origin>,
    running: Option<Box<Running>>,
    /// Those of the run that let it go on, if it has any of its own.
    terms: Option<Arc<Terms>>,
}

impl Entry {
    fn place(&self) -> Place {
        (self.row.position, self.row.id)
    }

    /// Whether it is more than a moment's work, as far as that is known.
    pub fn is_long(&self) -> bool {
        let bytes = self.running.as_ref().map_or(self.row.bytes, |running| running.counter.get());
        let takes_time = self.running.as_ref().is_some_and(|running| running.since.elapsed() > QUICK);
        takes_time || self.row.total.unwrap_or(bytes) > SHORT
    }

    /// Where its file lies, or is to lie.
    pub fn folder(&self) -> &Path {
        match &*self.task {
            Task::Download(task) => &task.folder,
            Task::Upload(task) => task.place().parent().unwrap_or(task.place()),
        }
    }

    fn waits_for_disk(&self) -> bool {
        self.row.wait.as_ref().is_some_and(|wait| wait.reason == WaitReason::Folder)
    }

    /// Says that a folder does not answer, unless it stands still for another reason that it has told.
    fn tell_silence(&mut self, folder: &Path) {
        let folder = shown(folder);
        if self.row.wait.as_ref().is_none_or(|wait| wait.reason == WaitReason::Answer) {
            let what = Phrase::FolderSilent { folder }.into();
            self.row.wait = Some(Box::new(Wait { reason: WaitReason::Folder, until: None, what, why: None }));
        }
    }

    /// Whether it counts among its run's own number of transfers at a time.
    pub fn is_grouped(&self) -> bool {
        self.origin.group.is_some()
    }

    pub fn terms(&self) -> Option<&Arc<Terms>> {
        self.terms.as_ref()
    }

    pub fn running(&self) -> Option<&Running> {
        self.running.as_deref()
    }

    pub fn running_mut(&mut self) -> Option<&mut Running> {
        self.running.as_deref_mut()
    }

    /// The row and the work for it, to change both.
    pub fn parts_mut(&mut self) -> (&mut Transfer, Option<&mut Running>) {
        (&mut self.row, self.running.as_deref_mut())
    }

    /// Whether the row on the disk may be made as the one in memory: while an end is being written, it is ahead of it.
    pub fn may_be_saved(&self) -> bool {
        self.running.as_ref().is_none_or(|running| !running.is_ending)
    }
}

/// Work that goes on for a row.
pub(crate) struct Running {
    since: Instant,
    pub stop: CancellationToken,
    pub counter: Arc<Counter>,
    pub meter: Meter,
    /// Why it is to stop; set by whoever stops it.
    pub asked: Option<Stop>,
    /// It waits for its turn again.
    pub again: bool,
    /// The work has returned, and how it ended is being written.
    pub is_ending: bool,
    pub ended: CancellationToken,
    /// Its work beside the async threads.
    calls: Arc<DiskCalls>,
    /// The disk does not answer, and that was told.
    is_silent: bool,
    /// Others have its slot meanwhile.
    gives_slot: bool,
}

/// What became of the search for the next transfer to start.
pub(crate) enum Start {
    Now(Slot),
    /// The next one waits for a disk; there may be others.
    Parked,
    Nothing,
}

/// A transfer that has just been given a slot; from then on it counts as running.
pub(crate) struct Slot {
    pub id: TransferId,
    pub stop: CancellationToken,
    pub counter: Arc<Counter>,
    pub ended: CancellationToken,
    pub calls: Arc<DiskCalls>,
}

impl Rows {
    pub fn reserve(&mut self, count: usize) {
        self.entries.reserve(count);
    }

    pub fn insert(&mut self, row: Box<Transfer>, task: Box<Task>, has_journal: bool) {
        let host = row.host.as_ref().filter(|_| row.service.is_any_link());
        let known = self.last_origin.take().filter(|origin| {
            origin.service == row.service
                && origin.host.as_deref() == host.map(|host| &**host)
                && (origin.group, origin.apart) == (None, None)
        });
        let origin = known.unwrap_or_else(|| {
            Arc::new(Origin {
                service: row.service.clone(),
                host: host.map(ToString::to_string),
                group: None,
                apart: None,
            })
        });
        self.last_origin = Some(Arc::clone(&origin));
        self.last_position = self.last_position.max(row.position);
        if let Some(known) = &mut self.by_subject {
            known.insert((hash_of(task.subject()), row.id));
        }
        self.entries.insert(row.id, Entry { row, task, origin, running: None, has_journal, terms: None });
    }

    /// Takes a row off the list, with all that belongs to it.
    pub fn remove(&mut self, id: TransferId) {
        self.hold(id);
        self.active.remove(&id);
        self.canceled_links.remove(&id);
        self.curves.forget(id);
        self.dirty.remove(&id);
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(running) = entry.running {
            running.stop.cancel();
            self.leave(id, &running.calls, PathBuf::new());
        }
        if let Some(known) = &mut self.by_subject {
            known.remove(&(hash_of(entry.task.subject()), id));
        }
        self.removed.push(id);
    }

    pub fn has(&self, id: TransferId) -> bool {
        self.entries.contains_key(&id)
    }

    pub fn get(&self, id: TransferId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub fn get_mut(&mut self, id: TransferId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub fn all(&self) -> Values<'_, TransferId, Entry> {
        self.entries.values()
    }

    /// Those that run.
    pub fn active(&self) -> impl Iterator<Item = &Entry> {
        self.active.iter().filter_map(|id| self.entries.get(id))
    }

    pub fn active_ids(&self) -> Vec<TransferId> {
        self.active.iter().copied().collect()
    }

    pub fn is_at_rest(&self) -> bool {
        self.active.is_empty()
    }

    /// What is picked out of the transfers that send or bring one of these.
    pub fn find_same<'a, T>(
        &mut self,
        subjects: impl Iterator<Item = &'a [u8]>,
        pick: impl Fn(&Transfer, &Task) -> Option<T>,
    ) -> Vec<T> {
        let Self { entries, by_subject, .. } = self;
        let known = by_subject.get_or_insert_with(|| {
            entries.iter().map(|(id, entry)| (hash_of(entry.task.subject()), *id)).collect()
        });
        let mut found = Vec::new();
        for subject in subjects {
            let hash = hash_of(subject);
            let same = known.range((hash, TransferId(0))..=(hash, TransferId(u64::MAX)));
            let same = same.filter_map(|(_, id)| entries.get(id));
            let same = same.filter(|entry| entry.task.subject() == subject);
            found.extend(same.filter_map(|entry| pick(&entry.row, &entry.task)));
        }
        found
    }

    // ---- the lanes ----

    /// The lane of one direction, for what it learns. Who waits in it is changed by [`Rows::wait`] and [`Rows::hold`].
    pub fn lane(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Upload => &mut self.uploads,
            Kind::Download => &mut self.downloads,
        }
    }

    /// Lets a transfer wait for its turn. One that runs, or is not there, does not.
    pub fn wait(&mut self, id: TransferId) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.running.is_none()) else { return };
        let (kind, origin, place) = (entry.row.kind, Arc::clone(&entry.origin), entry.place());
        if let Some((calls, folder)) = self.late.get(&id) {
            // What it left behind may still write.
            let silent = calls.is_inside().then(|| folder.clone());
            self.park(id, silent);
        } else {
            self.lane(kind).add(&origin, place);
        }
    }

    fn park(&mut self, id: TransferId, silent: Option<PathBuf>) {
        self.parked.insert(id);
        if let (Some(entry), Some(folder)) = (self.entries.get_mut(&id), silent) {
            entry.tell_silence(&folder);
            self.dirty.insert(id);
        }
    }

    /// Takes a transfer out of its lane. Whether it waited there.
    pub fn hold(&mut self, id: TransferId) -> bool {
        let Some(entry) = self.entries.get(&id) else { return false };
        let (kind, origin, place) = (entry.row.kind, Arc::clone(&entry.origin), entry.place());
        self.parked.remove(&id) || self.lane(kind).remove(&origin, place)
    }

    /// Whether nobody waits for a turn.
    pub fn has_nobody_waiting(&self) -> bool {
        self.uploads.is_empty() && self.downloads.is_empty() && self.parked.is_empty()
    }

    /// A transfer goes on by these terms from now on, whoever's it followed before.
    pub fn put_under(&mut self, id: TransferId, terms: Option<&Arc<Terms>>) {
        let group = terms.and_then(|terms| Some(Group { id: terms.id, most: terms.pace.concurrency? }));
        let apart = terms.filter(|terms| terms.services.is_some()).map(|terms| terms.id);
        let Some(entry) = self.entries.get(&id) else { return };
        let is_other = (entry.origin.group, entry.origin.apart) != (group, apart);
        let waited = is_other && self.hold(id);
        let last = self.last_origin.take();
        if let Some(entry) = self.entries.get_mut(&id) {
            if is_other {
                let origin = Origin { group, apart, ..Origin::clone(&entry.origin) };
                let known = last.filter(|known| **known == origin);
                entry.origin = known.unwrap_or_else(|| Arc::new(origin));
            }
            self.last_origin = Some(Arc::clone(&entry.origin));
            entry.terms = terms.cloned();
        }
        if waited {
            self.wait(id);
        }
    }

    /// The place that no row has ever stood behind.
    pub fn last_position(&self) -> i64 {
        self.last_position
    }

    /// Gives a row another place in the list's order, and with it in its lane.
    pub fn put(&mut self, id: TransferId, position: i64) {
        let waited = self.hold(id);
        self.last_position = self.last_position.max(position);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.row.position = position;
            self.dirty.insert(id);
        }
        if waited {
            self.wait(id);
        }
    }

    pub fn busy(&self, kind: Kind) -> Busy {
        let mut busy = Busy::default();
        let has_slot = |entry: &&Entry| entry.running().is_some_and(|running| !running.gives_slot);
        for entry in self.active().filter(|entry| entry.row.kind == kind).filter(has_slot) {
            if let Some(group) = entry.origin.group {
                *busy.groups.entry(group.id).or_default() += 1;
                continue;
            }
            busy.total += 1;
            busy.long += usize::from(entry.is_long());
            busy.origins.insert(Arc::clone(&entry.origin));
        }
        busy
    }

    /// Whether nothing else of where this one comes from or goes to runs in its direction.
    pub fn is_alone_of_its_origin(&self, entry: &Entry) -> bool {
        let is_like = |other: &&Entry| other.origin == entry.origin && other.row.kind == entry.row.kind;
        self.active().filter(is_like).count() == 1
    }

    /// Takes the next transfer in one direction that may start out of its lane, and gives it its slot.
    pub fn start_next(
        &mut self,
        kind: Kind,
        slots: usize,
        exactly: bool,
        may_run: impl Fn(&Origin) -> bool,
        over: &Arc<Notify>,
    ) -> Start {
        let busy = self.busy(kind);
        let lane = if kind == Kind::Upload { &self.uploads } else { &self.downloads };
        let is_long = |id| self.entries.get(&id).is_none_or(Entry::is_long);
        let Some(place) = lane.next(&busy, slots, exactly, may_run, is_long) else { return Start::Nothing };
        let id = place.1;
        let Some(entry) = self.entries.get_mut(&id) else { return Start::Nothing };
        let origin = Arc::clone(&entry.origin);
        let is_silent = self.silent.iter().any(|(disk, _)| disk.has(entry.folder()));
        let lane = if kind == Kind::Upload { &mut self.uploads } else { &mut self.downloads };
        lane.remove(&origin, place);
        if is_silent {
            let folder = entry.folder().to_owned();
            self.park(id, Some(folder));
            return Start::Parked;
        }
        let calls = DiskCalls::new(Arc::clone(over));
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let counter = Arc::new(Counter::default());
        counter.set(entry.row.bytes);
        entry.row.state = State::Running;
        (entry.row.wait, entry.row.ended_at) = (None, None);
        entry.running = Some(Box::new(Running {
            since: Instant::now(),
            stop: stop.clone(),
            counter: Arc::clone(&counter),
            meter: Meter::default(),
            asked: None,
            again: false,
            is_ending: false,
            ended: ended.clone(),
            calls: Arc::clone(&calls),
            is_silent: false,
            gives_slot: false,
        }));
        self.active.insert(id);
        self.dirty.insert(id);
        Start::Now(Slot { id, stop, counter, ended, calls })
    }

    /// The work for a row has ended.
    pub fn end(&mut self, id: TransferId) -> Option<Box<Running>> {
        self.active.remove(&id);
        let entry = self.entries.get_mut(&id)?;
        let (running, folder) = (entry.running.take()?, entry.folder().to_owned());
        self.leave(id, &running.calls, folder);
        Some(running)
    }

    // ---- disks that do not answer ----

    /// Nobody waits any more for what goes on for a row beside the async threads.
    pub fn leave(&mut self, id: TransferId, calls: &Arc<DiskCalls>, folder: PathBuf) {
        calls.leave();
        if calls.is_held() {
            self.late.insert(id, (Arc::clone(calls), folder));
        }
    }

    /// Whether something of an earlier run may still write to its file.
    pub fn is_late(&self, id: TransferId) -> bool {
        self.late.get(&id).is_some_and(|(calls, _)| calls.is_held())
    }

    /// Whether there is work of ended runs that still gets answers.
    pub fn has_late_moving(&self, limit: Duration) -> bool {
        self.late.values().any(|(calls, _)| calls.is_held() && !calls.is_silent(limit))
    }

    /// Those that wait for a disk without an answer, and do not say so yet, each with its folder.
    pub fn newly_silent(&self, limit: Duration) -> Vec<(TransferId, PathBuf)> {
        let is_silent = |entry: &&Entry| {
            entry.running().is_some_and(|running| !running.is_silent && running.calls.is_silent(limit))
        };
        self.active().filter(is_silent).map(|entry| (entry.row.id, entry.folder().to_owned())).collect()
    }

    /// The disk of one that runs does not answer: it says so, and others have its slot until it does.
    pub fn fell_silent(&mut self, id: TransferId, disk: Disk) {
        let silent = self.active().filter_map(Entry::running).filter(|running| running.gives_slot).count();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(running) = entry.running.as_deref_mut() else { return };
        (running.is_silent, running.gives_slot) = (true, silent < MOST_SILENT);
        let calls = Arc::clone(&running.calls);
        let folder = entry.folder().to_owned();
        entry.tell_silence(&folder);
        self.dirty.insert(id);
        match self.silent.iter_mut().find(|(known, _)| *known == disk) {
            Some((_, waiting)) => waiting.push(calls),
            None => self.silent.push((disk, vec![calls])),
        }
    }

    /// Takes in what disks have answered since: what waited for them waits for its turn again. Gives the transfers of which
    /// nothing is late any more, and whether anything has changed.
    pub fn hear_disks(&mut self, limit: Duration) -> (Vec<TransferId>, bool) {
        let mut has_changed = false;
        for id in self.active_ids() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let waited = entry.waits_for_disk();
            let Some(running) = entry.running.as_deref_mut().filter(|running| running.is_silent) else {
                continue;
            };
            if running.calls.is_silent(limit) {
                continue;
            }
            (running.is_silent, running.gives_slot) = (false, false);
            if waited {
                entry.row.wait = None;
            }
            self.dirty.insert(id);
            has_changed = true;
        }
        let over: Vec<TransferId> =
            self.late.extract_if(|_, (calls, _)| !calls.is_held()).map(|(id, _)| id).collect();
        let disks = self.silent.len();
        self.silent.retain_mut(|(_, waiting)| {
            waiting.retain(|calls| calls.is_silent(limit));
            !waiting.is_empty()
        });
        if !over.is_empty() || self.silent.len() != disks {
            has_changed = true;
            self.unpark();
        }
        (over, has_changed)
    }

    /// The user lets these go on: their disks are asked again, whatever was known of them.
    pub fn ask_disks_again(&mut self, ids: &[TransferId]) {
        if self.silent.is_empty() {
            return;
        }
        let folders: HashSet<PathBuf> =
            ids.iter().filter_map(|id| self.entries.get(id)).map(|entry| entry.folder().to_owned()).collect();
        let disks = self.silent.len();
        self.silent.retain(|(disk, _)| !folders.iter().any(|folder| disk.has(folder)));
        if self.silent.len() != disks {
            self.unpark();
        }
    }

    /// Lets all that are parked wait for their turn; those that still cannot run are parked again then.
    fn unpark(&mut self) {
        for id in std::mem::take(&mut self.parked) {
            if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.waits_for_disk()) {
                entry.row.wait = None;
                self.dirty.insert(id);
            }
            self.wait(id);
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        /// Fewer are dropped in a moment.
        const MANY: usize = 10_000;
        if self.entries.len() > MANY {
            // Only the end of the program drops it: the system takes all of the memory back at once.
            std::mem::forget(std::mem::take(&mut self.entries));
        }
    }
}

fn hash_of(subject: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}
