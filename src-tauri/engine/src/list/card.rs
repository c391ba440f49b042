//! What the list keeps of each row: as much as tabs, orders, searches and sums need.

use std::cmp::{Ordering, Reverse};

use super::look::{Can, Filter, Order};
use crate::transfer::{Kind, State, Transfer, TransferId, WaitReason};
use crate::words::{Phrase, Words};

/// What a row is put in order, filtered and counted by. There may be 100,000, so it is small.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) id: TransferId,
    pub(super) position: i64,
    pub(super) added_at: u64,
    pub(super) ended_at: Option<u64>,
    pub(super) size: u64,
    pub(super) bytes: u64,
    pub(super) speed: u64,
    /// What names are compared by, while they are.
    pub(super) name: Option<Box<[u8]>>,
    pub(super) stands: Stands,
    pub(super) wait: Option<WaitReason>,
    pub(super) up: bool,
    pub(super) has_path: bool,
    /// Completed because the service still had it: no bytes moved.
    pub(super) sent_before: bool,
    /// Matches the search.
    pub(super) found: bool,
    pub(super) hidden: bool,
}

/// A [`State`] without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Failed,
    Running,
    Paused,
    Queued,
    Completed,
    Canceled,
}

impl Card {
    pub(super) fn of(row: &Transfer) -> Self {
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

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stands, Stands::Completed | Stands::Canceled)
    }

    pub(super) fn tab(&self) -> Filter {
        match (self.stands, self.wait) {
            (Stands::Completed | Stands::Canceled, _) => Filter::Done,
            (Stands::Failed, _) | (_, Some(WaitReason::Key | WaitReason::Quota | WaitReason::Space)) => {
                Filter::Attention
            }
            _ => Filter::Active,
        }
    }

    pub(super) fn is_shown(&self, filter: Filter) -> bool {
        !self.hidden && self.found && (filter == Filter::All || filter == self.tab())
    }

    pub(super) fn allows(&self, can: Can) -> bool {
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
    pub(super) fn came_since(&self, then: u64) -> bool {
        self.stands == Stands::Completed && self.ended_at.unwrap_or(0) >= then && !self.sent_before
    }

    pub(super) fn compare(&self, other: &Self, order: Order) -> Ordering {
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
    pub(super) fn in_queue(&self, other: &Self) -> Ordering {
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
