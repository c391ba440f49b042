//! Plans that were too much for Ferry once, as small as they got.

use super::plan::Plan;

/// Nothing is lost, and nothing stands still.
fn holds(plan: &Plan) {
    if let Err(breach) = super::life::run(plan) {
        panic!("{}\n{breach:?}", plan.written());
    }
}

#[test]
fn nothing_asked_is_nothing_done() {
    holds(&Plan { disk: 0, steps: vec![] });
}
