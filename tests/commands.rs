//! Commands against each other, by chance: adds, pauses, cancels, retries, removals, undos, other orders, settings, keys, and
//! Ferry's own end by quitting and by `kill -9`, in any order and at any moment of each other.
//!
//! The engine is the real one, with its queue, its list and its database. What work comes to is planned
//! (`commands/work.rs`), the clock passes only when there is nothing to do, the disk is memory. What may be seen at each moment
//! is what a model says that knows nothing of how Ferry does it (`commands/model.rs`). One thread does everything in an order
//! that a seed brings back, so that what is found is made as small as it gets and printed as a plan that can stand in
//! `commands/named.rs`; several threads look for what only they can do to each other (`commands/threads.rs`).
//!
//! `FERRY_COMMANDS_STEPS` makes a run longer, `FERRY_SEED` brings it back.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "what was found, and a run's figures, belong to its output")]
#![allow(clippy::print_stderr, reason = "the seed is told beside it")]

#[path = "support/chance.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod chance;
#[path = "commands/life.rs"]
mod life;
#[path = "commands/model.rs"]
mod model;
#[path = "commands/named.rs"]
mod named;
#[path = "commands/plan.rs"]
mod plan;
#[path = "commands/threads.rs"]
mod threads;
#[path = "commands/work.rs"]
mod work;

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chance::Chance;
use life::{Breach, Tally};
use plan::Plan;

/// Steps in the run that everybody waits for.
const STEPS: usize = 60_000;
/// Steps of one plan.
const LENGTH: usize = 120;
/// Plans at a time.
const AT_A_TIME: usize = 2;
/// Commands of several threads, for each step of one thread.
const COMMANDS_FOR_A_STEP: f64 = 0.25;
/// Plans that are tried to make one finding smaller.
const SHRINKING: usize = 3_000;

/// Each life of Ferry's reads all certificates of the system, which would take most of the time: one is enough here. The
/// environment, which says which, can be given to a process of its own only. Whether this is it.
fn is_in_a_quick_process() -> bool {
    const SAYS_SO: &str = "FERRY_COMMANDS_IN_A_PROCESS";
    let thread = std::thread::current();
    // The harness names the thread of a test as the test; with one thread only there is nothing to go by.
    let Some(test) = thread.name().filter(|name| *name != "main") else { return true };
    if std::env::var_os(SAYS_SO).is_some() {
        return true;
    }
    let none = life::folder();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "--nocapture", test]).env(SAYS_SO, "1").env("SSL_CERT_DIR", none.path());
    command.env(
        "SSL_CERT_FILE",
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/certificate.pem"),
    );
    let status = command.status().expect("it starts");
    assert!(status.success(), "found in a process of its own, see above");
    false
}

fn steps() -> usize {
    std::env::var("FERRY_COMMANDS_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(STEPS)
}

/// The plan of a place in a run.
fn plan_of(seed: u64, place: usize) -> Plan {
    Plan::by(&mut Chance::of(seed.wrapping_add(place as u64)), LENGTH)
}

/// Makes a finding as small as it gets.
fn smallest(plan: &Plan, breach: &Breach) -> (Plan, Breach) {
    let mut last = breach.clone();
    let steps = plan.steps[..breach.step.min(plan.steps.len())].to_vec();
    // What came after it has no part in it, unless it was found at the very end.
    let cut = Plan { disk: plan.disk, steps };
    let mut is_so = |plan: &Plan| match life::run(plan) {
        Err(found) if found.kind == breach.kind => {
            last = found;
            true
        }
        _ => false,
    };
    let begin = if is_so(&cut) { cut } else { plan.clone() };
    let smallest = begin.shrunk(SHRINKING, is_so);
    (smallest, last)
}

#[test]
fn whatever_is_asked_at_the_same_time_nothing_is_lost_and_nothing_stands_still() {
    if !is_in_a_quick_process() {
        return;
    }
    let seed = Chance::new("commands").next();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let plans = steps().div_ceil(LENGTH);
    let found = Mutex::new(None);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= plans || found.lock().expect("no panic while held").is_some() {
                        return;
                    }
                    let plan = plan_of(seed, place);
                    match life::run(&plan) {
                        Ok(tally) => done.lock().expect("no panic while held").add(tally),
                        Err(breach) => {
                            *found.lock().expect("no panic while held") = Some((place, plan, breach));
                        }
                    }
                }
            });
        }
    });
    let tally = done.into_inner().expect("no panic while held");
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} steps, {} attempts, {} lives in {seconds:.1} s: {:.0} steps a second",
        tally.steps,
        tally.attempts,
        tally.lives,
        tally.steps as f64 / seconds
    );
    if let Some((place, plan, breach)) = found.into_inner().expect("no panic while held") {
        println!("plan {place}, after {} steps: {breach:?}\nmade smaller:", tally.steps + breach.step);
        let (smallest, breach) = smallest(&plan, &breach);
        panic!("{}: {}\n{}", breach.kind, breach.what, smallest.written());
    }
}

#[test]
fn whatever_several_threads_ask_at_once_nothing_is_lost_and_nothing_stands_still() {
    if !is_in_a_quick_process() {
        return;
    }
    let commands = steps() as f64 * COMMANDS_FOR_A_STEP;
    threads::run(
        Chance::new("commands of threads"),
        (commands as usize).div_ceil(threads::COMMANDS_OF_A_LIFE),
    );
}
