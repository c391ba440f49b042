//! Plans that were too much for Ferry once, as small as they got.

use super::plan::{Plan, Step, Try, What};

/// Nothing is lost, and nothing stands still.
fn hold(plans: impl IntoIterator<Item = Plan>) {
    if !super::is_in_a_quick_process() {
        return;
    }
    for plan in plans {
        if let Err(breach) = super::life::run(&plan) {
            panic!("{}\n{breach:?}", plan.written());
        }
    }
}

/// Added, and on the list.
fn all_added(adds: &[Step]) -> Vec<Step> {
    [adds, &[Step::Answered]].concat()
}

/// Added, and at work for a while.
fn at_work(number: u32, what: What) -> Step {
    let slow = Try { after: 4_000, deaf: 0, stubborn: false, fails: None };
    Step::Add { number, what, is_long: false, tries: vec![slow] }
}

#[test]
fn what_is_canceled_goes_on_with_the_link_and_the_headers_that_it_had() {
    let kinds = [What::Link, What::LinkWithHeader, What::OpenLinkWithHeader, What::FileToUrlWithHeader];
    hold(kinds.map(|what| {
        let cancel = vec![Step::Cancel(vec![1]), Step::Answered, Step::Resume(vec![1]), Step::Rest];
        Plan { disk: 0, steps: [vec![at_work(1, what), Step::Time(600)], cancel].concat() }
    }));
}

#[test]
fn who_comes_last_stands_behind_those_that_were_moved_to_the_end() {
    let begin = vec![at_work(1, What::OpenLink), at_work(2, What::OpenLink), Step::Answered];
    let moved = vec![Step::Reorder(vec![1], None), Step::Reorder(vec![2], None), Step::Answered];
    let steps = [begin, moved, vec![at_work(3, What::OpenLink), Step::Answered]].concat();
    hold([Plan { disk: 0, steps }]);
}

#[test]
fn rows_can_be_put_between_others_after_all_of_them_were_moved() {
    let all: Vec<Step> = (1..=4).map(|number| at_work(number, What::OpenLink)).collect();
    let moved = |ids: &[u32], before| vec![Step::Reorder(ids.to_vec(), before), Step::Answered];
    let plan = |before: [Option<u32>; 2]| {
        let steps = [all_added(&all), moved(&[3, 4, 2, 1], before[0]), moved(&[3, 4], before[1])];
        Plan { disk: 0, steps: steps.concat() }
    };
    hold([plan([None, Some(1)]), plan([Some(1), Some(1)]), plan([None, Some(2)])]);
}

#[test]
fn a_new_place_outlives_a_kill_although_the_transfer_was_just_ending() {
    let plan = |turns: u8, until_killed: u8| {
        let ends = Step::Add { number: 1, what: What::OpenLink, is_long: false, tries: vec![] };
        let begin = vec![at_work(2, What::OpenLink), Step::Answered, ends, Step::Turns(turns)];
        let end = vec![Step::Reorder(vec![1], Some(2)), Step::Turns(until_killed), Step::Kill];
        Plan { disk: u64::from(turns) * 8 + u64::from(until_killed), steps: [begin, end].concat() }
    };
    hold((1..40).flat_map(|turns| (1..8).map(move |until_killed| plan(turns, until_killed))));
}

#[test]
fn one_whose_link_went_with_an_earlier_life_stays_on_the_list() {
    hold((1..20).map(|turns| {
        let begin = vec![at_work(1, What::Link), Step::Answered, Step::Cancel(vec![1]), Step::Answered];
        let end = vec![Step::Quit, Step::Resume(vec![1]), Step::Turns(turns), Step::Kill];
        Plan { disk: u64::from(turns), steps: [begin, end].concat() }
    }));
}
