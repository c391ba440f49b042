//! A server by chance, a store by chance: whatever the world answers, and whatever happens to Ferry meanwhile, it ends in
//! a whole file or a plain error.
//!
//! Servers and stores are put together by chance (`world/plan.rs`), Ferry runs against each with pauses, restarts and
//! kills thrown in, and an oracle that knows nothing of Ferry judges what came of it (`world/oracle.rs`). What is found
//! is made as small as it gets and printed as a plan that can stand here as a test of its own.
//!
//! `cargo xtask world --cases N [--seed S]` runs it for long; `FERRY_WORLD_CASES` and `FERRY_SEED` say the same.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "what was found, and a run's figures, belong to its output")]
#![allow(clippy::print_stderr, reason = "the seed is told beside it")]

#[path = "world/batch.rs"]
mod batch;
#[path = "support/chance.rs"]
#[allow(dead_code, reason = "only the seed is needed")]
mod chance;
#[path = "world/digests.rs"]
mod digests;
#[path = "world/life.rs"]
mod life;
#[path = "world/memory.rs"]
mod memory;
#[path = "world/named.rs"]
mod named;
#[path = "world/oracle.rs"]
mod oracle;
#[path = "world/plan.rs"]
mod plan;
#[path = "world/server.rs"]
mod server;
#[path = "world/store.rs"]
mod store;
#[path = "world/strategies.rs"]
mod strategies;
#[path = "world/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use batch::{Plan, Verdict};
use chance::Chance;
use oracle::{Breach, Outcome};
use proptest::strategy::{BoxedStrategy, Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Handle;

/// Servers, and as many stores, in the run that everybody waits for.
const CASES: usize = 2_000;
/// Cases in one engine.
const AT_ONCE: usize = 24;
/// Engines at a time: they wait for their servers more than they work.
const ENGINES: usize = 6;
/// Every so manieth batch begins with the real program, and `kill -9`.
const REAL_EVERY: usize = 8;
/// And every so manieth has an engine with several threads.
const MANY_THREADS_EVERY: usize = 3;
/// How long one finding is made smaller.
const SHRINKING: Duration = Duration::from_secs(8);
/// So many servers that were not got are named, for each way in which they ended.
const EXAMPLES: usize = 3;
/// Findings after which a run is over.
const MOST_FINDINGS: usize = 5;
/// Memory that all engines may hold together at any time; they were seen to hold 13 MiB. Any one answer can be larger.
const MOST_MEMORY: usize = 64 << 20;

/// Found once, and not again when the case ran alone.
const IN_COMPANY: &str = "not again when alone";
/// When Ferry or a server stood still for longer, an answer may have come after Ferry had given it up, and nobody saw in which
/// order. Ferry gives up after twice this time (`STALL`).
const STOOD_STILL: Duration = Duration::from_millis(200);

/// A breach, with what led to it.
struct Finding {
    case: usize,
    plan: String,
    breach: Breach,
    trace: Vec<String>,
    /// How it was found: alone, or only in company.
    note: &'static str,
}

/// What a run came to.
#[derive(Default)]
struct Tally {
    ends: BTreeMap<String, usize>,
    /// Those that a patient program would have got, by how they ended.
    not_served: BTreeMap<String, Missed>,
    served: usize,
    findings: Vec<Finding>,
    /// Findings that did not come again, from batches in which this computer stood still for too long to judge them.
    not_judged: usize,
}

/// Servers that were not got although a patient program gets them.
#[derive(Default)]
struct Missed {
    count: usize,
    /// Some of them.
    examples: Vec<String>,
}

struct World {
    runtime: tokio::runtime::Runtime,
    /// Not shared by threads.
    plans: fn() -> BoxedStrategy<Plan>,
    seed: u64,
    most: usize,
}

impl World {
    fn new(what: &str, plans: fn() -> BoxedStrategy<Plan>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(|| memory::work_for_the_test(true))
            .enable_all()
            .build()
            .expect("a runtime");
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let most = number("FERRY_WORLD_FINDINGS").unwrap_or(MOST_FINDINGS);
        Self { runtime, plans, seed: Chance::new(what).next(), most }
    }

    fn runner(&self, case: usize) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(case as u64).to_le_bytes());
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    /// The plan of a case.
    fn plan(&self, case: usize) -> Plan {
        (self.plans)().new_tree(&mut self.runner(case)).expect("any plan is a plan").current()
    }

    /// Runs so many cases.
    fn run(&self, cases: usize) -> Tally {
        let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
        let batches = cases.div_ceil(AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 0..ENGINES.min(batches) {
                scope.spawn(|| {
                    memory::work_for_the_test(true);
                    loop {
                        let batch = next.fetch_add(1, Ordering::Relaxed);
                        let enough = tally.lock().expect("no panic while held").findings.len() >= self.most;
                        if batch >= batches || enough {
                            return;
                        }
                        self.batch(batch, cases, &tally);
                    }
                });
            }
        });
        tally.into_inner().expect("no panic while held")
    }

    fn batch(&self, batch: usize, cases: usize, tally: &Mutex<Tally>) {
        let numbers: Vec<usize> = (batch * AT_ONCE..cases.min((batch + 1) * AT_ONCE)).collect();
        let plans: Vec<Plan> = numbers.iter().map(|case| self.plan(*case)).collect();
        let (verdicts, dead) = in_a_folder(self.runtime.handle(), &plans, batch);
        let mut findings: Vec<Finding> = dead
            .into_iter()
            .map(|breach| Finding {
                case: numbers[0],
                plan: plans.iter().map(Plan::written).collect::<Vec<_>>().join("\n"),
                breach,
                trace: Vec::new(),
                note: "one of these, or all together",
            })
            .collect();
        if memory::peak() > MOST_MEMORY {
            findings.push(Finding {
                case: numbers[0],
                plan: plans.iter().map(Plan::written).collect::<Vec<_>>().join("\n"),
                breach: Breach {
                    kind: "memory without bound",
                    what: format!("the engines held {} MiB", memory::peak() >> 20),
                },
                trace: Vec::new(),
                note: "one of these, or of the other engines'",
            });
        }
        for ((case, plan), verdict) in numbers.iter().zip(&plans).zip(&verdicts) {
            let mut tally = tally.lock().expect("no panic while held");
            let end = format!("{:?}", verdict.outcome);
            *tally.ends.entry(end.clone()).or_default() += 1;
            let can_be_served = plan.can_be_served();
            if can_be_served && matches!(verdict.outcome, Outcome::Completed(_)) {
                tally.served += 1;
            } else if can_be_served {
                let missed = tally.not_served.entry(end).or_default();
                missed.count += 1;
                if missed.examples.len() < EXAMPLES {
                    missed.examples.push(format!("case {case}: {}", plan.written()));
                }
            }
            drop(tally);
            if let Some(breach) = &verdict.breach {
                findings.push(self.smallest(*case, plan, breach, verdict));
            }
        }
        let stood_still = verdicts.first().map_or(Duration::ZERO, |verdict| verdict.stood_still);
        let not_judged =
            findings.extract_if(.., |found| found.note == IN_COMPANY && stood_still > STOOD_STILL);
        for finding in not_judged {
            tally.lock().expect("no panic while held").not_judged += 1;
            println!("{}    not judged: this computer stood still for {stood_still:?}", shown(&finding));
        }
        for finding in &findings {
            println!("{}", shown(finding));
        }
        tally.lock().expect("no panic while held").findings.extend(findings);
    }

    /// Looks for the smallest plan that leads to the same kind of breach.
    fn smallest(&self, case: usize, plan: &Plan, breach: &Breach, verdict: &Verdict) -> Finding {
        let alone = |plan: &Plan| {
            let (verdicts, _) = in_a_folder(self.runtime.handle(), std::slice::from_ref(plan), 0);
            let verdict = verdicts.into_iter().next()?;
            let found = verdict.breach.filter(|found| found.kind == breach.kind)?;
            Some((found, verdict.trace))
        };
        let until = Instant::now() + SHRINKING;
        let Some(mut best) = alone(plan).or_else(|| alone(plan)).map(|found| (plan.clone(), found)) else {
            return Finding {
                case,
                plan: plan.written(),
                breach: breach.clone(),
                trace: verdict.trace.clone(),
                note: IN_COMPANY,
            };
        };
        while Instant::now() < until {
            let simpler = best.0.simpler().into_iter().take_while(|_| Instant::now() < until);
            let Some(found) =
                simpler.map(|plan| (alone(&plan), plan)).find_map(|(found, plan)| Some((plan, found?)))
            else {
                break;
            };
            best = found;
        }
        let (plan, (breach, trace)) = best;
        Finding { case, plan: plan.written(), breach, trace, note: "alone" }
    }
}

/// Runs a batch in a folder of its own, in memory where there is such a place.
fn in_a_folder(world: &Handle, plans: &[Plan], batch: usize) -> (Vec<Verdict>, Option<Breach>) {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let root = tempfile::Builder::new().prefix("ferry-world-").tempdir_in(parent).expect("a folder");
    batch::run(
        world,
        plans,
        root.path(),
        (batch % REAL_EVERY == REAL_EVERY - 1).then_some(program().as_path()),
        batch % MANY_THREADS_EVERY == MANY_THREADS_EVERY - 1,
    )
}

/// The real program: the one beside this test, where both were copied to run for long, else the one that was just built.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|test| test.with_file_name("ferry"));
    beside.filter(|place| place.is_file()).unwrap_or_else(|| env!("CARGO_BIN_EXE_ferry").into())
}

fn shown(finding: &Finding) -> String {
    let mut text = format!(
        "\n=== case {} ({}): {}: {}\n{}\n",
        finding.case, finding.note, finding.breach.kind, finding.breach.what, finding.plan
    );
    for line in &finding.trace {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn report(what: &str, tally: &Tally, took: Duration) {
    let all: usize = tally.ends.values().sum();
    let most = memory::peak() as f64 / f64::from(1 << 20);
    let program = memory::peak_of_programs() >> 20;
    println!(
        "{what}: {all} in {:.1} s; the engines held {most:.1} MiB at most, the program took {program} MiB",
        took.as_secs_f64()
    );
    for (end, count) in &tally.ends {
        println!("  {count:>7} {end}");
    }
    let missed: usize = tally.not_served.values().map(|missed| missed.count).sum();
    if tally.not_judged > 0 {
        println!("  not judged, as this computer stood still: {}", tally.not_judged);
    }
    println!("  of {} that a patient program gets, {missed} were not got:", tally.served + missed);
    for (end, missed) in &tally.not_served {
        println!("  {:>7} {end}", missed.count);
        for example in &missed.examples {
            println!("          {example}");
        }
    }
}

fn cases() -> usize {
    std::env::var("FERRY_WORLD_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

fn all_of_them(what: &str, plans: fn() -> BoxedStrategy<Plan>) {
    let world = World::new(what, plans);
    if let Some(case) = std::env::var("FERRY_WORLD_CASE").ok().and_then(|text| text.parse().ok()) {
        let plan = world.plan(case);
        let (verdicts, dead) = in_a_folder(world.runtime.handle(), std::slice::from_ref(&plan), 0);
        println!("{}\n{verdicts:#?}\n{dead:?}", plan.written());
        assert!(verdicts.iter().all(|verdict| verdict.breach.is_none()) && dead.is_none());
        return;
    }
    let began = Instant::now();
    let tally = world.run(cases());
    report(what, &tally, began.elapsed());
    let kinds: Vec<String> =
        tally.findings.iter().map(|found| format!("case {}: {}", found.case, found.breach.kind)).collect();
    assert!(kinds.is_empty(), "{what}: {} breaches, shown above: {}", kinds.len(), kinds.join("; "));
}

#[test]
fn any_server_ends_in_one_whole_version_or_a_plain_error() {
    all_of_them("servers", || strategies::servers().prop_map(Plan::Server).boxed());
}

#[test]
fn any_store_has_what_an_upload_calls_completed() {
    all_of_them("stores", || strategies::stores().prop_map(Plan::Store).boxed());
}
