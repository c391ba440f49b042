//! What Ferry's list may look like, by what was asked of it. It knows nothing of how Ferry does it.
//!
//! Commands overlap, so it is not one list but all that are possible: each command takes effect at some moment between when
//! it was asked and when it was answered, and work ends whenever it likes. What is seen then narrows that down, and if
//! nothing is left, Ferry has done what nobody asked for, or not done what somebody did.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use ferry_engine::State;

use super::plan::Number;

/// Commands on one transfer, or writers of one setting, that are under way at a time.
const MOST_UNDER_WAY: usize = 16;

/// What a command does, in one step or several.
pub trait Effect<S>: Debug {
    /// What may come of its next step, `done` having been taken; with how many are done then. Nothing if it is over.
    fn step(&self, done: u8, state: &S) -> Vec<(S, u8)>;
    /// Whether it may be over after so many.
    fn may_end(&self, done: u8) -> bool;
}

/// How one thing may stand.
#[derive(Debug, Clone)]
pub struct Tracker<S, E> {
    /// With the steps that each of those under way has taken.
    possible: HashSet<(S, [u8; MOST_UNDER_WAY])>,
    under_way: Vec<Option<E>>,
}

impl<S: Debug + Clone + Eq + Hash, E: Effect<S>> Tracker<S, E> {
    pub fn new(state: S) -> Self {
        Self { possible: HashSet::from([(state, [0; MOST_UNDER_WAY])]), under_way: Vec::new() }
    }

    /// A command is asked; it is known by what this answers.
    pub fn begins(&mut self, effect: E) -> usize {
        let free = self.under_way.iter().position(Option::is_none).unwrap_or(self.under_way.len());
        assert!(free < MOST_UNDER_WAY, "more commands at a time than a test asks");
        if free == self.under_way.len() {
            self.under_way.push(None);
        }
        self.under_way[free] = Some(effect);
        free
    }

    /// Everything that may have come of what is under way; `by_itself` is what happens unasked.
    fn spread(&mut self, by_itself: impl Fn(&S) -> Vec<S>) {
        let mut left: Vec<_> = self.possible.iter().cloned().collect();
        while let Some((state, done)) = left.pop() {
            let mut next: Vec<_> = by_itself(&state).into_iter().map(|state| (state, done)).collect();
            for (place, effect) in self.under_way.iter().enumerate() {
                let Some(effect) = effect else { continue };
                for (state, now_done) in effect.step(done[place], &state) {
                    let mut done = done;
                    done[place] = now_done;
                    next.push((state, done));
                }
            }
            for possible in next {
                if self.possible.insert(possible.clone()) {
                    left.push(possible);
                }
            }
        }
    }

    /// A command was answered, or refused, as if it had never been asked. Whether that is possible.
    pub fn ends(&mut self, place: usize, is_done: bool, by_itself: impl Fn(&S) -> Vec<S>) -> bool {
        self.spread(by_itself);
        let Some(effect) = self.under_way[place].take() else { return false };
        let fits = |done: u8| if is_done { effect.may_end(done) } else { done == 0 };
        self.possible.retain(|(_, done)| fits(done[place]));
        self.settle(place);
        !self.possible.is_empty()
    }

    /// A command failed on its way: whatever it has done so far is done.
    pub fn breaks_off(&mut self, place: usize, by_itself: impl Fn(&S) -> Vec<S>) {
        self.spread(by_itself);
        self.under_way[place] = None;
        self.settle(place);
    }

    fn settle(&mut self, place: usize) {
        let possible = std::mem::take(&mut self.possible);
        self.possible = possible
            .into_iter()
            .map(|(state, mut done)| {
                done[place] = 0;
                (state, done)
            })
            .collect();
    }

    /// It is seen to stand like this. Whether that is possible.
    pub fn is_seen(&mut self, seen: &S, by_itself: impl Fn(&S) -> Vec<S>) -> bool {
        self.spread(by_itself);
        self.possible.retain(|(state, _)| state == seen);
        !self.possible.is_empty()
    }

    /// Whether it may stand like this.
    pub fn may_be(&self, wanted: &S, by_itself: impl Fn(&S) -> Vec<S>) -> bool
    where
        E: Clone,
    {
        self.clone().is_seen(wanted, by_itself)
    }

    /// Whether it stands like this, and nothing is under way.
    fn is_only(&self, wanted: &S) -> bool {
        self.under_way.iter().all(Option::is_none) && self.possible.iter().all(|(state, _)| state == wanted)
    }

    pub fn states(&self) -> HashSet<S> {
        self.possible.iter().map(|(state, _)| state.clone()).collect()
    }

    /// What is under way, for whoever reads a breach.
    pub fn said(&self) -> String {
        let under_way: Vec<_> = self.under_way.iter().flatten().collect();
        format!("{:?}, {under_way:?} under way", self.states())
    }
}

/// How a transfer stands, as far as commands have a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stands {
    NotYet,
    /// It waits for its turn, or runs.
    Live,
    Paused,
    Canceled,
    Failed,
    Completed,
    Gone,
}

impl Stands {
    pub fn of(state: &State) -> Self {
        match state {
            State::Queued | State::Running | State::Verifying => Self::Live,
            State::Paused => Self::Paused,
            State::Canceled => Self::Canceled,
            State::Failed(_) => Self::Failed,
            State::Completed => Self::Completed,
        }
    }

    /// What may become of it without a command. `may_go_on`: what failed for its service goes on when that is seen to.
    pub fn by_itself(self, may_go_on: bool) -> Vec<Self> {
        match self {
            Self::Live => vec![Self::Completed, Self::Failed],
            Self::Failed if may_go_on => vec![Self::Live],
            _ => Vec::new(),
        }
    }

    fn canceled(self) -> Self {
        match self {
            Self::Live | Self::Paused | Self::Failed => Self::Canceled,
            other => other,
        }
    }

    fn is_on_the_list(self) -> bool {
        !matches!(self, Self::NotYet | Self::Gone)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Add,
    Pause,
    /// Those that could be paused when the window looked: whether this one could is not known.
    PauseIfLive,
    GoOn,
    Cancel,
    Remove,
    TakeBack,
}

/// A command of one step has taken this many when it is over.
const OVER: u8 = 9;

impl Effect<Stands> for Asked {
    fn step(&self, done: u8, state: &Stands) -> Vec<(Stands, u8)> {
        let state = *state;
        match (self, done) {
            (_, OVER) => Vec::new(),
            (Self::Add, _) => vec![(if state == Stands::NotYet { Stands::Live } else { state }, OVER)],
            (Self::Pause, _) => vec![(if state == Stands::Live { Stands::Paused } else { state }, OVER)],
            (Self::PauseIfLive, _) => vec![(state, OVER), (Self::Pause.step(0, &state)[0].0, OVER)],
            (Self::GoOn, _) => match state {
                Stands::Paused | Stands::Canceled | Stands::Failed => vec![(Stands::Live, OVER)],
                _ => vec![(state, OVER)],
            },
            (Self::Cancel, _) => vec![(state.canceled(), OVER)],
            (Self::TakeBack, 0) if state == Stands::Completed => vec![(state, OVER)],
            // What works for it is stopped before it goes; what has completed meanwhile stays completed until then.
            (Self::Remove | Self::TakeBack, 0) => vec![(state.canceled(), 1)],
            // Another command may have come in between.
            (Self::TakeBack, 1) if state == Stands::Completed => vec![(state, OVER), (Stands::Gone, OVER)],
            (Self::TakeBack, 1) => vec![(state.canceled(), 2)],
            (Self::Remove | Self::TakeBack, _) => {
                vec![(if state.is_on_the_list() { Stands::Gone } else { state }, OVER)]
            }
        }
    }

    fn may_end(&self, done: u8) -> bool {
        done == OVER
    }
}

/// A setting, or where a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    Number(u32),
    Word(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set(pub Value);

impl Effect<Value> for Set {
    fn step(&self, done: u8, _: &Value) -> Vec<(Value, u8)> {
        if done == OVER { Vec::new() } else { vec![(self.0, OVER)] }
    }

    fn may_end(&self, done: u8) -> bool {
        done == OVER
    }
}

fn no_change(_: &Value) -> Vec<Value> {
    Vec::new()
}

/// One transfer, as it stands in memory and as the disk has it.
#[derive(Debug, Clone)]
struct Both {
    seen: Tracker<Stands, Asked>,
    kept: Tracker<Stands, Asked>,
    may_go_on: bool,
}

#[derive(Debug, Clone)]
struct Setting {
    seen: Tracker<Value, Set>,
    kept: Tracker<Value, Set>,
}

/// A command that was asked.
#[derive(Debug, Clone)]
pub enum Ticket {
    Transfers(Asked, Vec<(Number, usize, usize)>),
    Setting(&'static str, usize, usize),
}

/// The whole list, and the settings.
#[derive(Debug, Clone, Default)]
pub struct Model {
    transfers: BTreeMap<Number, Both>,
    settings: BTreeMap<&'static str, Setting>,
}

impl Model {
    pub fn has_setting(&mut self, name: &'static str, value: Value) {
        self.settings.insert(name, Setting { seen: Tracker::new(value), kept: Tracker::new(value) });
    }

    /// `may_go_on`: it goes to a service with an account, and what fails for that goes on once it is seen to.
    pub fn begins(&mut self, asked: Asked, numbers: &[Number], may_go_on: bool) -> Ticket {
        let mut places = Vec::new();
        for number in numbers {
            let both = self.transfers.entry(*number).or_insert_with(|| Both {
                seen: Tracker::new(Stands::NotYet),
                kept: Tracker::new(Stands::NotYet),
                may_go_on,
            });
            places.push((*number, both.seen.begins(asked), both.kept.begins(asked)));
        }
        Ticket::Transfers(asked, places)
    }

    pub fn sets(&mut self, name: &'static str, value: Value) -> Ticket {
        let setting = self.settings.get_mut(name).expect("a setting of this model");
        Ticket::Setting(name, setting.seen.begins(Set(value)), setting.kept.begins(Set(value)))
    }

    /// A command was answered (`None`) or refused because something it named is not on the list.
    pub fn ends(&mut self, ticket: &Ticket, is_refused: bool) -> Result<(), String> {
        match ticket {
            Ticket::Transfers(asked, places) => {
                let mut is_one_gone = false;
                for (number, seen, kept) in places {
                    let both = self.transfers.get_mut(number).expect("begun");
                    let may_go_on = both.may_go_on;
                    let by_itself = |stands: &Stands| stands.by_itself(may_go_on);
                    is_one_gone |= both.seen.may_be(&Stands::Gone, by_itself);
                    is_one_gone |= both.seen.may_be(&Stands::NotYet, by_itself);
                    let before = both.seen.said();
                    if is_refused && *asked == Asked::TakeBack {
                        // It looks twice.
                        both.seen.breaks_off(*seen, by_itself);
                        both.kept.breaks_off(*kept, by_itself);
                    } else if !both.seen.ends(*seen, !is_refused, by_itself) {
                        let how = if is_refused { "refused" } else { "done" };
                        return Err(format!(
                            "{asked:?} of {number} is called {how}, and {number} was {before}"
                        ));
                    } else if !both.kept.ends(*kept, !is_refused, by_itself) {
                        // A refusal leaves the disk as it is; it cannot contradict what is kept.
                        return Err(format!("{asked:?} of {number}: nothing on the disk fits"));
                    }
                }
                if is_refused && !is_one_gone {
                    return Err(format!(
                        "{asked:?} of {places:?} was refused, and all of them are on the list"
                    ));
                }
            }
            Ticket::Setting(name, seen, kept) => {
                let setting = self.settings.get_mut(name).expect("begun");
                if !setting.seen.ends(*seen, !is_refused, no_change)
                    || !setting.kept.ends(*kept, !is_refused, no_change)
                {
                    return Err(format!("the setting {name} cannot have been set like this"));
                }
            }
        }
        Ok(())
    }

    /// How every transfer stands that is on the list.
    pub fn sees(&mut self, list: &BTreeMap<Number, Stands>) -> Result<(), String> {
        if let Some(unknown) = list.keys().find(|number| !self.transfers.contains_key(number)) {
            return Err(format!("{unknown} is on the list, and nobody added it"));
        }
        for (number, both) in &mut self.transfers {
            let before = both.seen.said();
            let may_go_on = both.may_go_on;
            let by_itself = |stands: &Stands| stands.by_itself(may_go_on);
            let is_possible = match list.get(number) {
                Some(stands) => both.seen.is_seen(stands, by_itself),
                None => {
                    both.seen.spread(by_itself);
                    both.seen.possible.retain(|(stands, _)| !stands.is_on_the_list());
                    !both.seen.possible.is_empty()
                }
            };
            if !is_possible {
                let stands =
                    list.get(number).map_or("off the list".to_owned(), |stands| format!("{stands:?}"));
                return Err(format!("{number} is {stands}, and can only be {before}"));
            }
            // An end is on the disk before anybody hears of it.
            if list.get(number) == Some(&Stands::Completed)
                && !both.kept.states().iter().all(|kept| *kept == Stands::Completed)
                && !both.kept.is_seen(&Stands::Completed, by_itself)
            {
                return Err(format!("{number} is completed, which the disk cannot have"));
            }
        }
        // Whatever is asked of these is asked of nothing.
        self.transfers
            .retain(|_, both| !(both.seen.is_only(&Stands::Gone) && both.kept.is_only(&Stands::Gone)));
        Ok(())
    }

    pub fn sees_setting(&mut self, name: &str, value: Value) -> Result<(), String> {
        let setting = self.settings.get_mut(name).expect("a setting of this model");
        let before = setting.seen.said();
        if setting.seen.is_seen(&value, no_change) {
            return Ok(());
        }
        Err(format!("{name} is {value:?}, and can only be {before}"))
    }

    /// Ferry has ended, and was started again: what was not answered may have been done or not, and this is what the disk
    /// has.
    pub fn begins_anew(
        &mut self,
        list: &BTreeMap<Number, Stands>,
        settings: &[(&'static str, Value)],
    ) -> Result<(), String> {
        if let Some(unknown) = list.keys().find(|number| !self.transfers.contains_key(number)) {
            return Err(format!("{unknown} is on the list after a new start, and nobody added it"));
        }
        for (number, both) in &mut self.transfers {
            let before = both.kept.said();
            let may_go_on = both.may_go_on;
            both.kept.spread(|stands| stands.by_itself(may_go_on));
            let states = both.kept.states();
            let stands = match list.get(number) {
                Some(stands) => states.contains(stands).then_some(*stands),
                None => states.into_iter().find(|stands| !stands.is_on_the_list()),
            };
            let Some(stands) = stands else {
                let found = list.get(number);
                return Err(format!("after a new start {number} is {found:?}, and can only be {before}"));
            };
            (both.seen, both.kept) = (Tracker::new(stands), Tracker::new(stands));
        }
        for (name, value) in settings {
            let setting = self.settings.get_mut(name).expect("a setting of this model");
            let before = setting.kept.said();
            if !setting.kept.is_seen(value, no_change) {
                return Err(format!("after a new start {name} is {value:?}, and can only be {before}"));
            }
            (setting.seen, setting.kept) = (Tracker::new(*value), Tracker::new(*value));
        }
        Ok(())
    }
}
