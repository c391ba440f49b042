//! The list as a window shows it: filtered, searched, counted and put in order here, where every row is anyway. A window
//! is handed the rows in its sight and what changes of them, so that what it holds, and what a change costs it, does not
//! grow with the list.
//!
//! Owns a card for each row, its order and its sums. May use the engine's handle; called by the window. Its lock is taken before
//! that of the queue's rows and never the other way round; nobody is told anything under it. There is nothing to cancel.

mod card;
mod look;
mod totals;
mod window;

use std::cmp::Ordering;
use std::collections::HashSet;

use icu_collator::options::{CollatorOptions, Strength};
use icu_collator::preferences::CollationNumericOrdering;
use icu_collator::{CollatorBorrowed, CollatorPreferences};
use icu_locale_core::Locale;

use crate::engine::Engine;
use crate::foreign::Foreign;
use crate::search::Search;
use crate::service::ServiceId;
use crate::transfer::{Transfer, TransferId};
use card::{Card, Stands};
use totals::Sums;

pub use look::{
    Can, Counts, Endings, Filter, Hidden, Hour, ListChanges, Listing, Look, Opening, Order, TakenBack, Today,
    Totals, Where,
};
pub use window::ListWindow;

/// No screen has room for more rows.
const MOST_ROWS: usize = 1_000;

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

/// Compares names as people of a language do, `file 2` before `file 10`, without regard to case.
fn collator(locale: &str) -> Option<CollatorBorrowed<'static>> {
    let mut preferences =
        Locale::try_from_str(locale).map(|locale| CollatorPreferences::from(&locale)).unwrap_or_default();
    preferences.numeric_ordering = Some(CollationNumericOrdering::True);
    let mut options = CollatorOptions::default();
    options.strength = Some(Strength::Secondary);
    CollatorBorrowed::try_new(preferences, options).ok()
}
