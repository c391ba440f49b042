//! What runs next in one direction.
//!
//! In the list's order, as many at a time as the user wants, and beyond that only what costs the others nothing:
//! - **Somebody else's.** When all slots are taken, one transfer each may run of up to [`GUESTS`] services or hosts of
//!   which nothing runs: a slow one must not hold up the others.
//! - **Short ones.** Small files spend their time waiting for answers. After each one that was quick, one more may run
//!   beside the others, up to [`MOST`]; a long one is never among them.
//!
//! Nothing here looks at more than the first transfer of each origin: a list of 100,000 costs no more than a short one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::service::ServiceId;
use crate::transfer::TransferId;

/// The most that run at a time in one direction, whatever their size.
const MOST: usize = 16;
/// The most of all groups together.
const MOST_GROUPED: usize = 64;
/// Slots beyond the user's number for origins of which nothing runs.
const GUESTS: usize = 2;
/// A transfer of more bytes than this is a long one.
pub(crate) const SHORT: u64 = 1 << 20;

/// Where a transfer goes to or comes from: what is slow there is slow for all of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub service: ServiceId,
    /// Of a plain link, which may lead anywhere.
    pub host: Option<String>,
    /// Transfers of a run that has a number of its own at a time.
    pub group: Option<Group>,
    /// Transfers of a run that has addresses or keys of its own.
    pub apart: Option<u64>,
}

/// Transfers of which so many run at a time, whatever else runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    /// Which run.
    pub id: u64,
    /// The number that was given for it, each way.
    pub most: u8,
}

/// A transfer's place in the list's order.
pub(crate) type Place = (i64, TransferId);

/// What runs now. Those of a group count for it alone.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    pub total: usize,
    pub long: usize,
    pub origins: HashSet<Arc<Origin>>,
    pub groups: HashMap<u64, usize>,
}

/// Transfers in one direction that are released and wait for a slot.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    waiting: HashMap<Arc<Origin>, BTreeSet<Place>>,
    /// Origins of which every waiting transfer says that it waits for the user.
    told: HashSet<Arc<Origin>>,
    /// How many short ones may run beyond the user's number.
    more: usize,
}

impl Lane {
    /// Lets a transfer wait for its turn.
    pub fn add(&mut self, origin: &Arc<Origin>, place: Place) {
        self.told.remove(origin);
        self.waiting.entry(Arc::clone(origin)).or_default().insert(place);
    }

    /// It waits no longer. Whether it did.
    pub fn remove(&mut self, origin: &Arc<Origin>, place: Place) -> bool {
        let Some(places) = self.waiting.get_mut(origin) else { return false };
        let waited = places.remove(&place);
        if places.is_empty() {
            self.waiting.remove(origin);
        }
        waited
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Transfers of origins that `must_wait` and have not been told so.
    pub fn untold(&mut self, must_wait: impl Fn(&Origin) -> bool) -> Vec<TransferId> {
        let mut ids = Vec::new();
        for (origin, places) in &self.waiting {
            if must_wait(origin) && self.told.insert(Arc::clone(origin)) {
                ids.extend(places.iter().map(|(_, id)| *id));
            }
        }
        ids
    }

    /// Whoever waited for the user does so no longer.
    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    /// The transfer that may start now. `slots`: the user's number; `exactly`: no other rule counts.
    pub fn next(
        &self,
        busy: &Busy,
        slots: usize,
        exactly: bool,
        may_run: impl Fn(&Origin) -> bool,
        is_long: impl Fn(TransferId) -> bool,
    ) -> Option<Place> {
        let first_of = |fits: &dyn Fn(&Arc<Origin>) -> bool| {
            let fitting = self.waiting.iter().filter(|(origin, _)| may_run(origin) && fits(origin));
            fitting.filter_map(|(_, places)| places.first().copied()).min()
        };
        let has_room = |group: Group| {
            busy.groups.get(&group.id).copied().unwrap_or(0) < group.most.into()
                && busy.groups.values().sum::<usize>() < MOST_GROUPED
        };
        if let Some(place) = first_of(&|origin| origin.group.is_some_and(has_room)) {
            return Some(place);
        }
        let first =
            |fits: &dyn Fn(&Arc<Origin>) -> bool| first_of(&|origin| origin.group.is_none() && fits(origin));
        if busy.total < slots {
            return first(&|_| true);
        }
        if exactly || busy.total >= MOST {
            return None;
        }
        if busy.total < slots + GUESTS
            && let Some(guest) = first(&|origin| !busy.origins.contains(origin))
        {
            return Some(guest);
        }
        let has_room = busy.long < slots && busy.total < slots + self.more;
        first(&|_| has_room).filter(|(_, id)| !is_long(*id))
    }

    /// Whether a transfer that has just turned out to be long is one too many. `busy` counts it, too.
    pub fn is_one_too_many(busy: &Busy, slots: usize, exactly: bool, is_alone_of_its_origin: bool) -> bool {
        let guests = if is_alone_of_its_origin { GUESTS } else { 0 };
        !exactly && busy.long > slots + guests
    }

    /// Learns from how a transfer ended.
    pub fn ended(&mut self, slots: usize, was_quick: bool) {
        self.more = if was_quick { (self.more + 1).min(MOST.saturating_sub(slots)) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(service: &str) -> Arc<Origin> {
        Arc::new(Origin { service: service.into(), host: None, group: None, apart: None })
    }

    fn lane(waiting: &[(&str, u64)]) -> Lane {
        let mut lane = Lane::default();
        for (service, id) in waiting {
            lane.add(&origin(service), (*id as i64, TransferId(*id)));
        }
        lane
    }

    fn busy(total: usize, long: usize, origins: &[&str]) -> Busy {
        Busy {
            total,
            long,
            origins: origins.iter().map(|service| origin(service)).collect(),
            ..Busy::default()
        }
    }

    fn next(lane: &Lane, busy: &Busy, exactly: bool, long: &[u64]) -> Option<u64> {
        lane.next(busy, 3, exactly, |origin| origin.service != "sick", |id| long.contains(&id.0))
            .map(|(_, id)| id.0)
    }

    #[test]
    fn the_lists_order_counts_and_what_must_wait_holds_nobody_up() {
        let lane = lane(&[("sick", 1), ("b", 3), ("a", 2)]);
        assert_eq!(next(&lane, &busy(2, 2, &["a"]), true, &[]), Some(2));
        assert_eq!(next(&lane, &busy(3, 3, &["a", "b"]), false, &[]), None);
    }

    #[test]
    fn a_slow_service_leaves_room_for_two_others() {
        let lane = lane(&[("slow", 1), ("quick", 2)]);
        assert_eq!(next(&lane, &busy(3, 3, &["slow"]), false, &[2]), Some(2));
        assert_eq!(next(&lane, &busy(3, 3, &["slow"]), true, &[]), None, "the user's number, exactly");
        assert_eq!(next(&lane, &busy(5, 3, &["slow", "x", "y"]), false, &[]), None);
        assert_eq!(next(&lane, &busy(4, 4, &["slow", "quick"]), false, &[]), None);
    }

    #[test]
    fn short_ones_run_beside_each_other_and_long_ones_never_do() {
        let mut lane = lane(&[("a", 1), ("a", 2)]);
        assert_eq!(next(&lane, &busy(3, 0, &["a"]), false, &[]), None);
        (0..100).for_each(|_| lane.ended(3, true));
        assert_eq!(next(&lane, &busy(15, 0, &["a"]), false, &[]), Some(1));
        assert_eq!(next(&lane, &busy(16, 0, &["a"]), false, &[]), None, "sixteen at most");
        assert_eq!(next(&lane, &busy(3, 0, &["a"]), false, &[1]), None, "the next one is long");
        assert_eq!(next(&lane, &busy(3, 3, &["a"]), false, &[]), None, "all slots are with long ones");
        lane.ended(3, false);
        assert_eq!(next(&lane, &busy(3, 0, &["a"]), false, &[]), None, "it has become slow");
        assert!(Lane::is_one_too_many(&busy(4, 4, &["a"]), 3, false, false));
        assert!(!Lane::is_one_too_many(&busy(4, 4, &["a", "b"]), 3, false, true));
        assert!(!Lane::is_one_too_many(&busy(3, 3, &["a"]), 3, false, false));
    }

    #[test]
    fn a_run_with_a_number_of_its_own_keeps_to_it_and_takes_nobodys_slot() {
        let mut lane = lane(&[("a", 9)]);
        let group = Group { id: 1, most: 2 };
        let grouped = Arc::new(Origin { group: Some(group), ..Origin::clone(&origin("a")) });
        lane.add(&grouped, (10, TransferId(10)));
        let with = |running: usize| Busy { groups: HashMap::from([(1, running)]), ..busy(3, 3, &["a"]) };
        assert_eq!(next(&lane, &with(1), false, &[]), Some(10), "though all the other slots are taken");
        assert_eq!(next(&lane, &with(2), false, &[]), None);
        assert_eq!(
            next(&lane, &Busy { groups: HashMap::from([(1, 2)]), ..busy(2, 2, &["a"]) }, false, &[]),
            Some(9)
        );
    }

    #[test]
    fn who_waits_for_the_user_is_told_once() {
        let mut lane = lane(&[("sick", 1), ("sick", 2), ("a", 3)]);
        let sick = |origin: &Origin| origin.service == "sick";
        assert_eq!(lane.untold(sick).len(), 2);
        assert_eq!(lane.untold(sick).len(), 0);
        lane.add(&origin("sick"), (4, TransferId(4)));
        assert_eq!(lane.untold(sick).len(), 3, "a new one, and nobody is forgotten");
        assert!(lane.remove(&origin("a"), (3, TransferId(3))));
        assert!(!lane.remove(&origin("a"), (3, TransferId(3))));
    }
}
