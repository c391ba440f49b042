//! curl, wget and aria2 against the same servers by chance: what each of them makes of them.
//!
//! `cargo xtask world compare [--cases N] [--seed S]` runs it; docs/comparison.md has the figures.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "batch.rs"]
#[allow(dead_code, reason = "Ferry runs without what happens to it here")]
mod batch;
#[path = "digests.rs"]
mod digests;
#[path = "life.rs"]
mod life;
#[path = "memory.rs"]
#[allow(dead_code, reason = "nothing is judged by it here")]
mod memory;
#[path = "oracle.rs"]
mod oracle;
#[path = "plan.rs"]
#[allow(dead_code, reason = "only servers are compared")]
mod plan;
#[path = "server.rs"]
mod server;
#[path = "store.rs"]
mod store;
#[path = "strategies.rs"]
#[allow(dead_code, reason = "only servers are compared")]
mod strategies;
#[path = "wire.rs"]
mod wire;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use batch::Plan;
use oracle::Outcome;
use plan::{FileKind, ServerPlan};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use server::Server;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::Passage;

/// A program as a careful user calls it: it goes on where it stood, and does not give up at once.
struct Program {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// Its time limits are near those that Ferry has in this test, so that silence costs all of them alike.
const PROGRAMS: [Program; 3] = [
    Program {
        name: "curl",
        // `-J` cannot be combined with `-C -`: the name is the link's.
        arguments: &[
            "-fsSL",
            "-O",
            "-C",
            "-",
            "--retry",
            "5",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "--speed-limit",
            "1",
            "--speed-time",
            "1",
            "--retry-max-time",
            "20",
        ],
    },
    Program {
        name: "wget",
        arguments: &[
            "-q",
            "-c",
            "--content-disposition",
            "--tries=6",
            "--waitretry=1",
            "--timeout=1",
            "--retry-on-http-error=408,425,429,500,502,503,504",
        ],
    },
    Program {
        name: "aria2c",
        arguments: &[
            "-q",
            "-c",
            "--max-tries=6",
            "--retry-wait=1",
            "--timeout=1",
            "--connect-timeout=1",
            "-x4",
            "-k1M",
            "--auto-file-renaming=false",
        ],
    },
];
/// A user who sees a program fail calls it again, so often in all; it goes on where it stood.
const CALLS: usize = 3;
/// A call that takes longer is ended, and counts as a failure.
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// Servers at a time: most of the time is waiting.
const AT_ONCE: usize = 16;

/// What came of all servers with one program.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    /// Success, and the file is one whole version.
    right: usize,
    /// Success, and it is not.
    wrong: usize,
    /// It said that it failed.
    failed: usize,
    /// Of these: something that is not the file stands under its final name all the same.
    left_behind: usize,
    /// Of the servers that a patient program gets the file from: it was not got.
    missed: usize,
}

fn main() -> ExitCode {
    let number =
        |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (cases, seed) = (number("FERRY_WORLD_CASES", 2_000) as usize, number("FERRY_SEED", 1));
    let missing: Vec<&str> =
        PROGRAMS.iter().map(|program| program.name).filter(|name| version(name).is_none()).collect();
    if !missing.is_empty() {
        println!("error: {} must be installed", missing.join(", "));
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let plans: Vec<ServerPlan> = (0..cases).map(|case| plan_of(seed, case)).collect();
    let servable = plans.iter().filter(|plan| plan.can_be_served()).count();
    println!("{cases} servers (seed {seed}); a patient program gets the file from {servable} of them\n");
    println!(
        "| program | right file | wrong file, and success said | failure said | of these: something else under the final name | not got, of those {servable} |"
    );
    println!("|---|---|---|---|---|---|");
    row(&format!("Ferry {}", env!("CARGO_PKG_VERSION")), ferry(runtime.handle(), &plans));
    for program in &PROGRAMS {
        let version = version(program.name).unwrap_or_default();
        row(&version, run_all(runtime.handle(), &plans, program));
    }
    println!("\nEach called up to {CALLS} times until it says success:");
    for program in &PROGRAMS {
        println!("- `{} {} LINK`", program.name, program.arguments.join(" "));
    }
    ExitCode::SUCCESS
}

fn row(name: &str, count: Count) {
    let Count { right, wrong, failed, left_behind, missed } = count;
    println!("| {name} | {right} | {wrong} | {failed} | {left_behind} | {missed} |");
}

/// Servers alone: what happens to Ferry meanwhile cannot be done to the others.
fn plan_of(seed: u64, case: usize) -> ServerPlan {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(case as u64).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = strategies::servers().new_tree(&mut runner).expect("any plan is a plan");
    ServerPlan { meddling: Vec::new(), ..tree.current() }
}

/// `curl 7.88.1`.
fn version(name: &str) -> Option<String> {
    let output = Command::new(name).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number =
        text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(format!("{name} {number}"))
}

fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("ferry-world-").tempdir_in(parent).expect("a folder")
}

fn ferry(world: &Handle, plans: &[ServerPlan]) -> Count {
    let mut count = Count::default();
    for some in plans.chunks(AT_ONCE) {
        let wanted: Vec<Plan> = some.iter().cloned().map(Plan::Server).collect();
        let root = folder();
        let (verdicts, _) = batch::run(world, &wanted, root.path(), None, true);
        for (plan, verdict) in some.iter().zip(verdicts) {
            let completed = matches!(verdict.outcome, Outcome::Completed(_));
            let is_wrong =
                verdict.breach.as_ref().is_some_and(|breach| breach.kind == "not one whole version");
            count.right += usize::from(completed && !is_wrong);
            count.wrong += usize::from(completed && is_wrong);
            count.failed += usize::from(!completed);
            count.left_behind += usize::from(!completed && verdict.breach.is_some());
            count.missed += usize::from(plan.can_be_served() && (is_wrong || !completed));
        }
    }
    count
}

fn run_all(world: &Handle, plans: &[ServerPlan], program: &Program) -> Count {
    let (next, count) = (AtomicUsize::new(0), Mutex::new(Count::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (said, is_right, left) = run_one(world, plan, program);
                    let mut count = count.lock().expect("no panic while held");
                    count.right += usize::from(said && is_right);
                    count.wrong += usize::from(said && !is_right);
                    count.failed += usize::from(!said);
                    count.left_behind += usize::from(!said && left && !is_right);
                    count.missed += usize::from(plan.can_be_served() && (!said || !is_right));
                }
            });
        }
    });
    count.into_inner().expect("no panic while held")
}

/// Whether the program says success, whether the file is whole, and whether anything stands under its final name.
fn run_one(world: &Handle, plan: &ServerPlan, program: &Program) -> (bool, bool, bool) {
    let name = match plan.kind {
        FileKind::Packed => "c0.tar.gz",
        FileKind::Text => "c0.txt",
        FileKind::Plain | FileKind::Untyped | FileKind::Attachment => "c0.bin",
    };
    let (events, _heard) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let passage = Passage::new(0, &[], events, Arc::default());
    let server = world.block_on(Server::start(plan.clone(), name, passage, &mut tasks));
    let root = folder();
    let mut said = false;
    for _ in 0..CALLS {
        said = call(program, &server.link(), root.path());
        if said {
            break;
        }
    }
    let file = root.path().join(name);
    // aria2 keeps a file of its own beside what is not finished.
    let unfinished = root.path().join(format!("{name}.aria2")).exists();
    let found = std::fs::read(&file).ok().filter(|_| !unfinished);
    let is_right = found.as_ref().is_some_and(|found| !server.wholes(found).is_empty());
    (said, is_right, found.is_some())
}

fn call(program: &Program, link: &str, folder: &Path) -> bool {
    let mut command = Command::new(program.name);
    command.args(program.arguments).arg(link).current_dir(folder).env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let began = Instant::now();
    loop {
        match child.try_wait().expect("a child of this process") {
            Some(status) => return status.success(),
            None if began.elapsed() > LONGEST_CALL => {
                // It may have ended in this moment.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
