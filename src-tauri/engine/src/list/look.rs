//! What a face asks for of the list, and what it is shown.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::card::Card;
use crate::asset::LibraryChanges;
use crate::error::Failure;
use crate::foreign::Foreign;
use crate::services::ServiceStatus;
use crate::settings::Settings;
use crate::transfer::{State, Transfer, TransferId};
use crate::words::Words;

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

impl Endings {
    /// A short transfer may end before it was ever told of.
    pub(super) fn note(&mut self, before: Option<&Card>, now: &Card, row: &Transfer) {
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
