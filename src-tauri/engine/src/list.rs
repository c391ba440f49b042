//! The list as a window shows it: filtered, searched, counted and put in order here, where every row is anyway. A window
//! is handed the rows in its sight and what changes of them, so that what it holds, and what a change costs it, does not
//! grow with the list.

use std::cmp::{Ordering, Reverse};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::preferences::CollationNumericOrdering;
use icu_collator::{CollatorBorrowed, CollatorPreferences};
use icu_locale_core::Locale;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::asset::LibraryChanges;
use crate::engine::{Changes, Engine};
use crate::error::{Failure, Result};
use crate::foreign::Foreign;
use crate::search::Search;
use crate::service::ServiceId;
use crate::services::ServiceStatus;
use crate::settings::Settings;
use crate::transfer::{Kind, State, Transfer, TransferId, WaitReason};
use crate::words::{Phrase, Words};

/// No screen has room for more rows.
const MOST_ROWS: usize = 1_000;

/// Which rows a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Filter {
    /// Every row.
    #[default]
    All,
    /// What is still to be done by itself.
    Active,
    /// Completed or given up: nothing is left to do. Who stopped a transfer has done with it, and clears it away with what
    /// is complete; it is neither under way nor in need of anybody.
    Done,
    /// What needs the user.
    Attention,
}

/// What puts the rows in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Order {
    /// What is to be done, in the order in which it will be; then what is over, the newest first.
    #[default]
    Queue,
    /// Added last first.
    Newest,
    /// By the rules of the language, numbers by their value.
    Name,
    /// Largest first.
    Size,
    /// What needs the user first.
    State,
}

/// What can be done with a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export, export_to = "types.ts")]
pub enum Can {
    /// It waits or moves.
    Pause,
    /// It is paused.
    Resume,
    /// It failed or was given up.
    Retry,
    /// It is not over.
    Cancel,
    /// It has a place in the queue.
    Reorder,
    /// Its file is there to be given to another program.
    DragOut,
    /// It is completed or given up.
    Clear,
}

/// What a window wants to see of the list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Look {
    /// Which rows.
    pub filter: Filter,
    /// Typed into the search; empty = everything.
    pub search: String,
    /// In which order.
    pub order: Order,
    /// BCP 47 tag of the language whose rules put names in order.
    pub locale: String,
    /// When the window's day began, in milliseconds since 1970.
    #[ts(type = "number")]
    pub midnight: u64,
    /// First row that is wanted, counted from 0.
    pub from: usize,
    /// How many rows are wanted, at most 1,000.
    pub count: usize,
    /// The row whose place is wanted.
    pub cursor: Option<TransferId>,
}

/// Rows by the tab that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Counts {
    /// Every row.
    #[ts(type = "number")]
    pub all: i64,
    /// See [`Filter::Active`].
    #[ts(type = "number")]
    pub active: i64,
    /// See [`Filter::Done`].
    #[ts(type = "number")]
    pub done: i64,
    /// See [`Filter::Attention`].
    #[ts(type = "number")]
    pub attention: i64,
}

/// What goes on, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Totals {
    /// Bytes a second that come down.
    #[ts(type = "number")]
    pub down: i64,
    /// Bytes a second that go up.
    #[ts(type = "number")]
    pub up: i64,
    /// Transfers that move.
    #[ts(type = "number")]
    pub running: i64,
    /// Transfers that wait.
    #[ts(type = "number")]
    pub waiting: i64,
    /// Transfers that are paused.
    #[ts(type = "number")]
    pub paused: i64,
    /// Transfers that wait for the network.
    #[ts(type = "number")]
    pub offline: i64,
}

/// What was completed today of what is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Today {
    /// Files.
    #[ts(type = "number")]
    pub files: i64,
    /// Bytes that came down.
    #[ts(type = "number")]
    pub down: i64,
    /// Bytes that went up.
    #[ts(type = "number")]
    pub up: i64,
}

/// Bytes that were completed in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Hour {
    /// Came down.
    #[ts(type = "number")]
    pub down: u64,
    /// Went up.
    #[ts(type = "number")]
    pub up: u64,
}

/// The list as a window sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Listing {
    /// One more than that of the last answer or message.
    #[ts(type = "number")]
    pub revision: u64,
    /// Rows that are shown: filtered and searched.
    pub length: usize,
    /// So many of the first of them can be put elsewhere in the queue; none where the order is another one.
    pub movable: usize,
    /// Rows by tab.
    pub counts: Counts,
    /// What goes on.
    pub totals: Totals,
    /// What was done.
    pub today: Today,
    /// The first of the queue that waits.
    pub next: Option<TransferId>,
    /// Place of the cursor's row among those that are shown, from 0; absent where it is not shown.
    pub cursor: Option<usize>,
    /// Place of the first of `ids`.
    pub from: usize,
    /// The rows in the window's sight, in order.
    pub ids: Vec<TransferId>,
    /// Those of them that are new to the window or have changed.
    pub rows: Vec<Transfer>,
}

/// What ended since the last message: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Endings {
    /// How many were completed.
    pub completed: usize,
    /// Name of the first.
    pub completed_name: Option<Foreign>,
    /// How many failed.
    pub failed: usize,
    /// Name of the first.
    pub failed_name: Option<Foreign>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What a window is told: at most five times a second, and when rows are hidden or shown again.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct ListChanges {
    /// The list now.
    pub list: Listing,
    /// What ended.
    pub ended: Endings,
    /// The services, if any of them changed.
    pub services: Option<Vec<ServiceStatus>>,
    /// The settings, if they were changed, by whomever.
    pub settings: Option<Settings>,
    /// Where downloads go, in full, if the settings were changed.
    pub downloads_folder: Option<String>,
    /// What changed in the library.
    pub library: Option<LibraryChanges>,
}

/// All that a window needs to draw itself.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Opening {
    /// The list now.
    pub list: Listing,
    /// Every service.
    pub services: Vec<ServiceStatus>,
    /// The settings.
    pub settings: Settings,
    /// Where downloads go just now, in full.
    pub downloads_folder: String,
    /// What the user should be told once after this start.
    pub notices: Vec<Words>,
}

/// Where rows go in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Where {
    /// One place forward.
    Up,
    /// One place back.
    Down,
    /// The very front.
    Front,
}

/// Rows that were taken out of sight.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Hidden {
    /// Those that were in sight before.
    pub ids: Vec<TransferId>,
    /// Those of them that were paused for it.
    pub paused: Vec<TransferId>,
    /// The row that took the place of the last of them, or stands above.
    pub next: Option<TransferId>,
}

/// What an undo did with rows that had come onto the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct TakenBack {
    /// How many were given up and removed.
    pub taken: usize,
    /// Those that had ended with a file at the service or in a folder: they stay until somebody decides about that file.
    pub ended: Vec<TransferId>,
}

/// A window onto an engine's list. Everything that it answers or tells carries a revision one higher than the one before,
/// and is told in that order.
///
/// Locks: the list's is taken before the rows' of the queue and the one of what waits to be told; none is held while the
/// window is told something, so that a slow window holds up nobody who asks.
pub struct ListWindow {
    engine: Engine,
    list: Mutex<List>,
    untold: Mutex<Untold>,
    tell: Box<dyn Fn(ListChanges) + Send + Sync>,
}

/// What the window is still to be told, in order.
#[derive(Default)]
struct Untold {
    waiting: VecDeque<ListChanges>,
    /// Somebody tells the window something just now, and then whatever waits.
    is_telling: bool,
}

impl std::fmt::Debug for ListWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListWindow").field("list", &self.list).finish_non_exhaustive()
    }
}

impl ListWindow {
    /// A window that shows nothing yet, and how it is told what changes.
    pub fn new(engine: Engine, tell: impl Fn(ListChanges) + Send + Sync + 'static) -> Self {
        Self { engine, list: Mutex::default(), untold: Mutex::default(), tell: Box::new(tell) }
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the window what waits. Called without the list; whoever finds another one at it leaves it to that one.
    fn tell_all(&self) {
        loop {
            let next = {
                let mut untold = self.untold();
                if untold.is_telling {
                    return;
                }
                let Some(next) = untold.waiting.pop_front() else { return };
                untold.is_telling = true;
                next
            };
            (self.tell)(next);
            self.untold().is_telling = false;
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first look; from here on changes are told. A page that is `fresh` knows of no hidden rows, and sees them all.
    pub fn open(&self, look: Look, fresh: bool) -> Opening {
        let mut list = self.list();
        if fresh {
            list.hidden.clear();
        }
        list.read(&self.engine, look);
        list.is_open = true;
        Opening {
            list: list.seen(&self.engine),
            services: self.engine.services(),
            settings: self.engine.settings(),
            downloads_folder: self.downloads_folder(),
            notices: self.engine.notices(),
        }
    }

    /// Another look: other rows, another filter, search or order. Answers every row in sight.
    pub fn look(&self, look: Look) -> Listing {
        let mut list = self.list();
        list.turn_to(&self.engine, look);
        list.seen(&self.engine)
    }

    /// Takes changes in and tells what of them the window has to know; nothing while there is no window, and nothing of
    /// changes that were in the rows already when they were read.
    pub fn apply(&self, changes: &Changes) {
        let mut list = self.list();
        if list.is_open && changes.revision > list.read_at {
            let ended = list.apply(&changes.changed, &changes.removed);
            let listing = list.told(&self.engine, &changes.changed);
            self.untold().waiting.push_back(ListChanges {
                list: listing,
                ended,
                services: changes.services.clone(),
                settings: changes.settings.as_deref().cloned(),
                downloads_folder: changes.settings.as_ref().map(|_| self.downloads_folder()),
                library: changes.library.clone(),
            });
        }
        drop(list);
        self.tell_all();
    }

    /// Reads everything anew, after changes were missed.
    pub fn catch_up(&self) {
        let mut list = self.list();
        if list.is_open {
            let look = list.look.clone();
            let ended = list.read(&self.engine, look);
            let listing = list.seen(&self.engine);
            self.untold().waiting.push_back(ListChanges {
                list: listing,
                ended,
                services: Some(self.engine.services()),
                settings: Some(self.engine.settings()),
                downloads_folder: Some(self.downloads_folder()),
                library: Some(LibraryChanges { changed: Vec::new(), read_anew: true }),
            });
        }
        drop(list);
        self.tell_all();
    }

    fn downloads_folder(&self) -> String {
        self.engine.downloads_folder().display().to_string()
    }

    /// These rows, without those that are unknown.
    pub fn rows(&self, ids: &[TransferId]) -> Vec<Transfer> {
        self.engine.rows(ids)
    }

    /// Those of these rows, or of all that are not hidden, with which this can be done just now.
    pub fn which(&self, ids: Option<&[TransferId]>, can: Can) -> Vec<TransferId> {
        let asked: Option<HashSet<TransferId>> = ids.map(|ids| ids.iter().copied().collect());
        let mut allowed = HashSet::new();
        self.engine.look(|row| {
            if asked.as_ref().is_none_or(|asked| asked.contains(&row.id)) && Card::of(row).allows(can) {
                allowed.insert(row.id);
            }
        });
        if let Some(ids) = ids {
            return ids.iter().copied().filter(|id| allowed.contains(id)).collect();
        }
        let list = self.list();
        let mut all: Vec<TransferId> = allowed.into_iter().filter(|id| !list.hidden.contains(id)).collect();
        all.sort_unstable();
        all
    }

    /// The shown rows from one to the other, in order; no row stands for an end of the list.
    pub fn between(&self, from: Option<TransferId>, to: Option<TransferId>) -> Vec<TransferId> {
        let list = self.list();
        let last = list.shown.len().checked_sub(1);
        let from = from.map_or(last.map(|_| 0), |id| list.place(id));
        let to = to.map_or(last, |id| list.place(id));
        let (Some(from), Some(to)) = (from, to) else { return Vec::new() };
        list.shown[from.min(to)..=from.max(to)].to_vec()
    }

    /// Takes rows out of sight until they are removed or shown again, and stops those that move.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::pause`]; then all of them are in sight.
    pub async fn hide(&self, ids: &[TransferId]) -> Result<Hidden> {
        let paused = self.which(Some(ids), Can::Pause);
        let (hidden, next) = {
            let mut list = self.list();
            let next = list.beside(ids);
            // Before they stop: whoever resumes all of the others meanwhile leaves these alone.
            (list.set_hidden(ids, true), next)
        };
        let stopped = self.engine.pause(&paused).await;
        let mut list = self.list();
        if stopped.is_err() {
            list.set_hidden(&hidden, false);
        }
        list.retell(self);
        drop(list);
        self.tell_all();
        stopped.map(|()| Hidden { ids: hidden, paused, next })
    }

    /// Shows hidden rows again.
    pub fn unhide(&self, ids: &[TransferId]) {
        let mut list = self.list();
        list.set_hidden(ids, false);
        list.retell(self);
        drop(list);
        self.tell_all();
    }

    /// What is still to be done, in the order of the queue.
    fn queue(&self) -> Vec<TransferId> {
        let mut queue = Vec::new();
        self.engine.look(|row| {
            if Card::of(row).allows(Can::Reorder) {
                queue.push((row.position, row.id));
            }
        });
        queue.sort_unstable();
        queue.into_iter().map(|(_, id)| id).collect()
    }

    /// Moves rows one place, or to the front, among what is still to be done.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::reorder`].
    pub async fn move_rows(&self, ids: &[TransferId], to: Where) -> Result<()> {
        match moved(&self.queue(), ids, to) {
            Some((ids, before)) => self.engine.reorder(&ids, before).await,
            None => Ok(()),
        }
    }

    /// Puts rows of the queue behind that one of it, or at its front.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::reorder`].
    pub async fn move_behind(&self, ids: &[TransferId], above: Option<TransferId>) -> Result<()> {
        match moved_behind(&self.queue(), ids, above) {
            Some((ids, before)) => self.engine.reorder(&ids, before).await,
            None => Ok(()),
        }
    }

    /// Gives up and removes these, which had just come onto the list. Meant for what was told as new when it was added: a
    /// file that was on its way already goes on in its row, with what has arrived of it, and taking back a drop must not take
    /// that.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::remove`].
    pub async fn take_back(&self, ids: &[TransferId]) -> Result<TakenBack> {
        let asked: HashSet<TransferId> = ids.iter().copied().collect();
        let split = || {
            let (mut going, mut ended) = (Vec::new(), Vec::new());
            self.engine.look(|row| {
                // What a terminal added is its own to take back.
                if row.origin.is_some() || !asked.contains(&row.id) {
                    return;
                }
                // What had been sent before is not there because of this one.
                let was_there =
                    matches!(&row.note, Some(Words::Own(note)) if matches!(**note, Phrase::SentBefore { .. }));
                let part = if row.state == State::Completed && !was_there { &mut ended } else { &mut going };
                part.push(row.id);
            });
            (going, ended)
        };
        // One may arrive while it is being stopped.
        self.engine.cancel(&split().0).await?;
        let (taken, ended) = split();
        self.engine.remove(&taken).await?;
        Ok(TakenBack { taken: taken.len(), ended })
    }

    /// Removes for good what is hidden: with the window goes whoever could take that back.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::remove`].
    pub async fn remove_hidden(&self) -> Result<()> {
        let hidden = self.list().hidden.clone();
        let mut there = Vec::new();
        self.engine.look(|row| {
            if hidden.contains(&row.id) {
                there.push(row.id);
            }
        });
        self.engine.remove(&there).await
    }

    /// Bytes completed since each of these moments and before the next.
    pub fn day(&self, hours: &[u64]) -> Vec<Hour> {
        let list = self.list();
        let mut sums = vec![Hour::default(); hours.len()];
        let Some(first) = hours.first() else { return sums };
        for card in list.visible().filter(|card| card.came_since(*first)) {
            let after = hours.partition_point(|begins| Some(*begins) <= card.ended_at);
            if let Some(sum) = sums.get_mut(after.saturating_sub(1)) {
                *if card.up { &mut sum.up } else { &mut sum.down } += card.bytes;
            }
        }
        sums
    }
}

/// What a row is put in order, filtered and counted by. There may be 100,000, so it is small.
#[derive(Debug, Clone)]
struct Card {
    id: TransferId,
    position: i64,
    added_at: u64,
    ended_at: Option<u64>,
    size: u64,
    bytes: u64,
    speed: u64,
    /// What names are compared by, while they are.
    name: Option<Box<[u8]>>,
    stands: Stands,
    wait: Option<WaitReason>,
    up: bool,
    has_path: bool,
    /// Completed because the service still had it: no bytes moved.
    sent_before: bool,
    /// Matches the search.
    found: bool,
    hidden: bool,
}

/// A [`State`] without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Failed,
    Running,
    Paused,
    Queued,
    Completed,
    Canceled,
}

impl Card {
    fn of(row: &Transfer) -> Self {
        Self {
            id: row.id,
            position: row.position,
            added_at: row.added_at,
            ended_at: row.ended_at,
            size: row.total.unwrap_or(row.bytes),
            bytes: row.bytes,
            speed: row.speed.unwrap_or(0),
            name: None,
            stands: match row.state {
                State::Failed(_) => Stands::Failed,
                State::Running | State::Verifying => Stands::Running,
                State::Paused => Stands::Paused,
                State::Queued => Stands::Queued,
                State::Completed => Stands::Completed,
                State::Canceled => Stands::Canceled,
            },
            wait: row.wait.as_ref().map(|wait| wait.reason),
            up: row.kind == Kind::Upload,
            has_path: row.path.is_some(),
            sent_before: matches!(&row.note, Some(Words::Own(phrase)) if matches!(**phrase, Phrase::SentBefore { .. })),
            found: true,
            hidden: false,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stands, Stands::Completed | Stands::Canceled)
    }

    fn tab(&self) -> Filter {
        match (self.stands, self.wait) {
            (Stands::Completed | Stands::Canceled, _) => Filter::Done,
            (Stands::Failed, _) | (_, Some(WaitReason::Key | WaitReason::Quota | WaitReason::Space)) => {
                Filter::Attention
            }
            _ => Filter::Active,
        }
    }

    fn is_shown(&self, filter: Filter) -> bool {
        !self.hidden && self.found && (filter == Filter::All || filter == self.tab())
    }

    fn allows(&self, can: Can) -> bool {
        match can {
            Can::Pause => matches!(self.stands, Stands::Queued | Stands::Running),
            Can::Resume => self.stands == Stands::Paused,
            Can::Retry => matches!(self.stands, Stands::Failed | Stands::Canceled),
            Can::Cancel => matches!(self.stands, Stands::Queued | Stands::Running | Stands::Paused),
            Can::Reorder => !self.is_over(),
            Can::DragOut => self.stands == Stands::Completed && self.has_path,
            Can::Clear => self.is_over(),
        }
    }

    /// Completed since then by bytes that moved.
    fn came_since(&self, then: u64) -> bool {
        self.stands == Stands::Completed && self.ended_at.unwrap_or(0) >= then && !self.sent_before
    }

    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let by = match order {
            Order::Queue => return self.in_queue(other),
            Order::Newest => {
                return (Reverse(self.added_at), Reverse(self.id))
                    .cmp(&(Reverse(other.added_at), Reverse(other.id)));
            }
            Order::State => {
                return (self.stands as u8).cmp(&(other.stands as u8)).then_with(|| self.in_queue(other));
            }
            Order::Name => self.name.cmp(&other.name),
            Order::Size => other.size.cmp(&self.size),
        };
        by.then(self.id.cmp(&other.id))
    }

    /// What still has to be done in the order of the queue, then what is over, the newest first.
    fn in_queue(&self, other: &Self) -> Ordering {
        let end = |card: &Self| card.ended_at.unwrap_or(card.added_at);
        self.is_over().cmp(&other.is_over()).then_with(|| {
            if self.is_over() {
                (Reverse(end(self)), Reverse(self.id)).cmp(&(Reverse(end(other)), Reverse(other.id)))
            } else {
                (self.position, self.id).cmp(&(other.position, other.id))
            }
        })
    }
}

#[derive(Debug, Default)]
struct Sums {
    counts: Counts,
    totals: Totals,
    today: Today,
}

impl Sums {
    /// Adds a row (1), or takes it out again (-1).
    fn add(&mut self, card: &Card, sign: i64, midnight: u64) {
        if card.hidden {
            return;
        }
        let Self { counts, totals, today } = self;
        let signed = |number: u64| sign * i64::try_from(number).unwrap_or(i64::MAX);
        counts.all += sign;
        *match card.tab() {
            Filter::Done => &mut counts.done,
            Filter::Attention => &mut counts.attention,
            Filter::Active | Filter::All => &mut counts.active,
        } += sign;
        match card.stands {
            Stands::Running => {
                *if card.wait.is_some() { &mut totals.waiting } else { &mut totals.running } += sign;
                *if card.up { &mut totals.up } else { &mut totals.down } += signed(card.speed);
            }
            Stands::Completed if card.came_since(midnight) => {
                today.files += sign;
                *if card.up { &mut today.up } else { &mut today.down } += signed(card.bytes);
            }
            Stands::Queued => totals.waiting += sign,
            Stands::Paused => totals.paused += sign,
            Stands::Failed | Stands::Completed | Stands::Canceled => {}
        }
        if card.wait == Some(WaitReason::Network) {
            totals.offline += sign;
        }
    }
}

/// Rows to be moved, and the one that they go before; none = the end.
type Moved = Option<(Vec<TransferId>, Option<TransferId>)>;

#[derive(Default)]
struct List {
    is_open: bool,
    look: Look,
    query: Search,
    /// Names of the services that the search finds.
    services: HashSet<ServiceId>,
    collator: Option<CollatorBorrowed<'static>>,
    /// Every row, by its id.
    cards: Vec<Card>,
    hidden: HashSet<TransferId>,
    /// What is shown, in order.
    shown: Vec<TransferId>,
    next: Option<TransferId>,
    sums: Sums,
    revision: u64,
    /// The engine's revision of the rows when they were read last; changes up to it are in them.
    read_at: u64,
    /// Rows that the window has.
    known: HashSet<TransferId>,
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List")
            .field("look", &self.look)
            .field("rows", &self.cards.len())
            .finish_non_exhaustive()
    }
}

impl List {
    fn at(&self, id: TransferId) -> std::result::Result<usize, usize> {
        self.cards.binary_search_by_key(&id, |card| card.id)
    }

    fn card(&self, id: TransferId) -> Option<&Card> {
        self.at(id).ok().map(|at| &self.cards[at])
    }

    fn visible(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(|card| !card.hidden)
    }

    fn place(&self, id: TransferId) -> Option<usize> {
        self.shown.iter().position(|shown| *shown == id)
    }

    /// The first shown row below all of these, or the last above.
    fn beside(&self, ids: &[TransferId]) -> Option<TransferId> {
        let ids: HashSet<TransferId> = ids.iter().copied().collect();
        let last = self.shown.iter().rposition(|id| ids.contains(id))?;
        let above = || self.shown[..last].iter().rfind(|id| !ids.contains(id));
        self.shown.get(last + 1).or_else(above).copied()
    }

    /// Everything anew. Answers what ended since the last time.
    fn read(&mut self, engine: &Engine, look: Look) -> Endings {
        self.prepare(engine, look);
        let mut ended = Endings::default();
        let mut cards = Vec::with_capacity(self.cards.len());
        let read_at = engine.look(|row| {
            let card = self.card_of(row);
            if self.is_open {
                ended.note(self.card(row.id), &card, row);
            }
            cards.push(card);
        });
        cards.sort_unstable_by_key(|card: &Card| card.id);
        (self.cards, self.read_at) = (cards, read_at);
        let Self { cards, hidden, .. } = self;
        hidden.retain(|id| cards.binary_search_by_key(id, |card| card.id).is_ok());
        self.sort();
        self.find_next();
        self.count();
        ended
    }

    /// Another look at the same rows.
    fn turn_to(&mut self, engine: &Engine, look: Look) {
        let before = self.look.clone();
        self.prepare(engine, look);
        let searched = before.search != self.look.search;
        let named = (before.order, &before.locale) != (self.look.order, &self.look.locale);
        if searched || named && Order::Name == self.look.order {
            let mut cards = std::mem::take(&mut self.cards);
            engine.look(|row| {
                if let Ok(at) = cards.binary_search_by_key(&row.id, |card| card.id) {
                    (cards[at].found, cards[at].name) = (self.finds(row), self.key(&row.name));
                }
            });
            self.cards = cards;
        }
        if before.order == Order::Name && self.look.order != Order::Name {
            self.cards.iter_mut().for_each(|card| card.name = None);
        }
        if searched || named || before.filter != self.look.filter {
            self.sort();
        }
        if before.midnight != self.look.midnight {
            self.count();
        }
    }

    /// Gets ready for what a look asks.
    fn prepare(&mut self, engine: &Engine, look: Look) {
        if look.order != Order::Name {
            self.collator = None;
        } else if self.collator.is_none() || self.look.locale != look.locale {
            self.collator = collator(&look.locale);
        }
        self.query = Search::new(&look.search);
        self.services = if self.query.is_empty() {
            HashSet::new()
        } else {
            let statuses = engine.services().into_iter();
            statuses.filter(|service| self.query.finds(&service.name)).map(|service| service.id).collect()
        };
        self.look = look;
    }

    fn card_of(&self, row: &Transfer) -> Card {
        let mut card = Card::of(row);
        card.found = self.finds(row);
        card.name = self.key(&row.name);
        card.hidden = self.hidden.contains(&row.id);
        card
    }

    fn finds(&self, row: &Transfer) -> bool {
        let holds = |text: &Option<Foreign>| text.as_ref().is_some_and(|text| self.query.finds(text));
        self.query.finds(&row.name)
            || self.services.contains(&row.service)
            || holds(&row.asset_id)
            || holds(&row.host)
    }

    /// What a name is compared by; nothing while names are not.
    fn key(&self, name: &str) -> Option<Box<[u8]>> {
        if self.look.order != Order::Name {
            return None;
        }
        let Some(collator) = &self.collator else { return Some(name.as_bytes().into()) };
        let mut key = Vec::new();
        let Ok(()) = collator.write_sort_key_to(name, &mut key);
        Some(key.into())
    }

    fn apply(&mut self, changed: &[Transfer], removed: &[TransferId]) -> Endings {
        let mut ended = Endings::default();
        let (mut unsorted, mut requeued) = (false, false);
        let (filter, order, midnight) = (self.look.filter, self.look.order, self.look.midnight);
        for row in changed {
            let card = self.card_of(row);
            self.sums.add(&card, 1, midnight);
            requeued |= card.stands == Stands::Queued;
            match self.at(row.id) {
                Ok(at) => {
                    let before = std::mem::replace(&mut self.cards[at], card);
                    let now = &self.cards[at];
                    self.sums.add(&before, -1, midnight);
                    ended.note(Some(&before), now, row);
                    requeued |= before.stands == Stands::Queued;
                    unsorted |= before.is_shown(filter) != now.is_shown(filter)
                        || before.compare(now, order) != Ordering::Equal;
                }
                Err(at) => {
                    ended.note(None, &card, row);
                    unsorted |= card.is_shown(filter);
                    self.cards.insert(at, card);
                }
            }
        }
        if !removed.is_empty() {
            let gone: HashSet<TransferId> = removed.iter().copied().collect();
            let Self { cards, sums, hidden, .. } = self;
            cards.retain(|card| {
                let stays = !gone.contains(&card.id);
                if !stays {
                    sums.add(card, -1, midnight);
                    unsorted |= card.is_shown(filter);
                    requeued |= card.stands == Stands::Queued;
                    hidden.remove(&card.id);
                }
                stays
            });
        }
        if unsorted {
            self.sort();
        }
        if requeued {
            self.find_next();
        }
        ended
    }

    /// Answers those that were not so before.
    fn set_hidden(&mut self, ids: &[TransferId], hidden: bool) -> Vec<TransferId> {
        let midnight = self.look.midnight;
        let mut changed = Vec::new();
        for id in ids {
            let Ok(at) = self.at(*id) else { continue };
            let (card, sums) = (&mut self.cards[at], &mut self.sums);
            if card.hidden == hidden {
                continue;
            }
            sums.add(card, -1, midnight);
            card.hidden = hidden;
            sums.add(card, 1, midnight);
            changed.push(*id);
            if hidden {
                self.hidden.insert(*id);
            } else {
                self.hidden.remove(id);
            }
        }
        self.sort();
        self.find_next();
        changed
    }

    fn sort(&mut self) {
        let Self { cards, look, .. } = self;
        let mut shown: Vec<&Card> = cards.iter().filter(|card| card.is_shown(look.filter)).collect();
        // Mostly in order already, which this sort is quick with.
        shown.sort_by(|one, other| one.compare(other, look.order));
        self.shown = shown.into_iter().map(|card| card.id).collect();
    }

    fn find_next(&mut self) {
        let waiting = self.visible().filter(|card| card.stands == Stands::Queued);
        self.next = waiting.min_by_key(|card| (card.position, card.id)).map(|card| card.id);
    }

    fn count(&mut self) {
        let midnight = self.look.midnight;
        self.sums = Sums::default();
        self.cards.iter().for_each(|card| self.sums.add(card, 1, midnight));
    }

    /// What is in sight, with every row of it.
    fn seen(&mut self, engine: &Engine) -> Listing {
        self.known.clear();
        self.told(engine, &[])
    }

    /// What is in sight, to be told; nothing while there is no window.
    fn retell(&mut self, window: &ListWindow) {
        if self.is_open {
            let list = self.told(&window.engine, &[]);
            window.untold().waiting.push_back(ListChanges {
                list,
                ended: Endings::default(),
                services: None,
                settings: None,
                downloads_folder: None,
                library: None,
            });
        }
    }

    /// What is in sight, with the rows of it that are new to the window or among these.
    fn told(&mut self, engine: &Engine, changed: &[Transfer]) -> Listing {
        let from = self.look.from.min(self.shown.len());
        let count = self.look.count.min(MOST_ROWS).min(self.shown.len() - from);
        let ids = self.shown[from..from + count].to_vec();
        let changed: HashSet<TransferId> = changed.iter().map(|row| row.id).collect();
        let fresh = |id: &TransferId| changed.contains(id) || !self.known.contains(id);
        let rows = engine.rows(&ids.iter().copied().filter(fresh).collect::<Vec<_>>());
        self.known = ids.iter().copied().collect();
        self.revision += 1;
        let in_queue = self.look.order == Order::Queue;
        let is_open = |id: &TransferId| self.card(*id).is_some_and(|card| !card.is_over());
        Listing {
            revision: self.revision,
            length: self.shown.len(),
            movable: if in_queue { self.shown.partition_point(is_open) } else { 0 },
            counts: self.sums.counts,
            totals: self.sums.totals,
            today: self.sums.today,
            next: self.next.filter(|_| in_queue),
            cursor: self.look.cursor.and_then(|id| self.place(id)),
            from,
            ids,
            rows,
        }
    }
}

fn moved(queue: &[TransferId], ids: &[TransferId], to: Where) -> Moved {
    let chosen: HashSet<TransferId> = ids.iter().copied().collect();
    let is_chosen = |id: &TransferId| chosen.contains(id);
    let first = queue.iter().position(is_chosen)?;
    let last = queue.iter().rposition(is_chosen)?;
    let moved = queue.iter().copied().filter(is_chosen).collect();
    let before = match to {
        Where::Front => queue.iter().find(|id| !is_chosen(id)),
        Where::Up => Some(&queue[first.checked_sub(1)?]),
        Where::Down if last + 1 == queue.len() => return None,
        Where::Down => queue.get(last + 2),
    };
    Some((moved, before.copied()))
}

fn moved_behind(queue: &[TransferId], ids: &[TransferId], above: Option<TransferId>) -> Moved {
    let chosen: HashSet<TransferId> = ids.iter().copied().collect();
    let (moved, rest): (Vec<_>, Vec<_>) = queue.iter().copied().partition(|id| chosen.contains(id));
    let gap = match above {
        None => 0,
        // One that has gone meanwhile says nothing about where.
        Some(above) => queue.iter().position(|id| *id == above)? + 1,
    };
    // A chosen row stays where it is: what counts is the last one above the gap that does.
    let at = queue[..gap].iter().filter(|id| !chosen.contains(id)).count();
    let after = rest[..at].iter().chain(&moved).chain(&rest[at..]);
    if moved.is_empty() || after.eq(queue) {
        return None;
    }
    Some((moved, rest.get(at).copied()))
}

impl Endings {
    /// A short transfer may end before it was ever told of.
    fn note(&mut self, before: Option<&Card>, now: &Card, row: &Transfer) {
        if now.sent_before || before.is_some_and(|before| before.stands == now.stands) {
            return;
        }
        match &row.state {
            State::Completed => {
                self.completed += 1;
                self.completed_name.get_or_insert_with(|| row.name.clone());
            }
            State::Failed(failure) => {
                self.failed += 1;
                self.failed_name.get_or_insert_with(|| row.name.clone());
                self.failure.get_or_insert_with(|| Failure::clone(failure));
            }
            _ => {}
        }
    }
}

/// Compares names as people of a language do, `file 2` before `file 10`, without regard to case.
fn collator(locale: &str) -> Option<CollatorBorrowed<'static>> {
    let mut preferences =
        Locale::try_from_str(locale).map(|locale| CollatorPreferences::from(&locale)).unwrap_or_default();
    preferences.numeric_ordering = Some(CollationNumericOrdering::True);
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Secondary);
    CollatorBorrowed::try_new(preferences, options).ok()
}
