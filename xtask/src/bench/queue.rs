//! Long queues: what it costs to add to them and to start with them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::measure::{Contender, Race, Samples, race};
use super::report::{Outcome, Table, race_group};
use super::servers::Cost;
use super::{Bench, check, mib};
use crate::program::{self, Done, program};

/// How many rows, and the same in words.
const LENGTHS: [(usize, &str); 4] = [(0, "empty"), (1000, "1,000"), (10_000, "10,000"), (100_000, "100,000")];
/// A folder in memory, where a sync costs nothing: filling queues there takes minutes less.
const IN_MEMORY: &str = "/dev/shm";
/// So many links fit into one command line.
const AT_ONCE: usize = 20_000;
/// Adding so many must not take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Adds rows by a command that would run them, and kills it when `count` are written down. Gives how long that took.
pub fn add(mut command: Command, count: usize) -> Done<Duration> {
    command.arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut process = command.spawn().map_err(|error| format!("`ferry` did not start: {error}"))?;
    let lines = process.stdout.take().map(|out| BufReader::new(out).lines());
    let added = lines
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == "added"))
        .take_while(|_| started.elapsed() < PATIENCE)
        .take(count)
        .count();
    let took = started.elapsed();
    let _ = process.kill();
    let _ = process.wait();
    if added == count { Ok(took) } else { Err(format!("only {added} of {count} were added")) }
}

/// Start-up, listing and memory by the length of the queue.
pub fn run(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    // Nothing may arrive while rows are added: the server reads every request and says nothing.
    bench.sandbox.fault(&json!({"fault": "silence", "path": "/generate/"}))?;
    let in_memory = Path::new(IN_MEMORY).is_dir();
    let where_ = if in_memory { "Adding them (to a data folder in memory)" } else { "Adding them" };
    let mut adding =
        Table::new(where_, &["queued", "seconds", "rows a second", "the last tenth: rows a second"]);
    let mut folders = Vec::new();
    let mut each = Vec::new();
    for (length, words) in LENGTHS {
        let folder = bench.folder.join(format!("queue-{length}"));
        let filled = if in_memory { Path::new(IN_MEMORY).join("ferry-bench-queue") } else { folder.clone() };
        let _ = std::fs::remove_dir_all(&filled);
        let (took, last_tenth) = fill(bench, &filled, length)?;
        if in_memory && length > 0 {
            program::run(program("cp").arg("-r").arg(&filled).arg(&folder))?;
            let _ = std::fs::remove_dir_all(&filled);
        }
        if length > 0 {
            let rate = |rows: usize, seconds: f64| format!("{:.0}", rows as f64 / seconds);
            adding.push([
                words.to_owned(),
                format!("{took:.2}"),
                rate(length, took),
                rate(length / 10, last_tenth),
            ]);
            each.push(took / length as f64);
        }
        folders.push(folder);
    }
    bench.sandbox.heal()?;
    outcome.tables.push(adding);
    if let [_, ten, hundred] = each[..] {
        outcome.checks.extend(check("adding-growth", "adding", hundred / ten));
    }

    let opened = look(bench, &folders, &["services"])?;
    let listed = look(bench, &folders, &["queue", "--json"])?;
    let mut table = Table::new(
        "Starting with them",
        &["queued", "start-up (s)", "min–max", "start-up and list (s)", "min–max", "highest MiB"],
    );
    for ((_, words), (opened, listed)) in LENGTHS.iter().zip(opened.iter().zip(&listed)) {
        let (start, list) = (opened.seconds(), listed.seconds());
        table.push([
            (*words).to_owned(),
            format!("{:.3}", start.median),
            format!("{:.3}–{:.3}", start.least, start.most),
            format!("{:.3}", list.median),
            format!("{:.3}–{:.3}", list.least, list.most),
            format!("{:.1}", mib(opened.memory().max(listed.memory()))),
        ]);
    }
    outcome.tables.push(table);
    outcome.groups.push(race_group("Start-up by length of the queue", &opened));
    if let [empty, _, ten, hundred] = &opened[..] {
        let more = |samples: &Samples| samples.seconds().median - empty.seconds().median;
        outcome.checks.extend(check("queue", "`ferry services`", more(hundred)));
        // Under a hundredth of a second, what ten thousand rows take is noise.
        outcome.checks.extend(check(
            "queue-growth",
            "`ferry services`",
            more(hundred) / 10.0 / more(ten).max(0.01),
        ));
    }
    for folder in folders {
        std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    }
    Ok(outcome)
}

/// Fills a data folder with so many queued downloads. Gives the seconds that all of them took, and the last tenth.
fn fill(bench: &Bench, folder: &Path, length: usize) -> Done<(f64, f64)> {
    let (mut all, mut last_tenth) = (0.0, 0.0);
    let mut first = 0;
    while first < length {
        // The last tenth is a command line of its own, so that what each row costs at the end can be told.
        let to_last = (length - length / 10).saturating_sub(first);
        let count = AT_ONCE.min(if to_last > 0 { to_last } else { length - first });
        let mut command = bench.ferry_in(folder);
        command.args(["download", "--dir"]).arg(bench.fetched());
        command
            .args((first..first + count).map(|number| format!("{}/generate/9/{number}", bench.sandbox.url)));
        let took = add(command, count)?.as_secs_f64();
        all += took;
        if to_last == 0 {
            last_tenth += took;
        }
        first += count;
    }
    Ok((all, last_tenth))
}

/// Runs a command over each of the folders in turns.
fn look(bench: &Bench, folders: &[PathBuf], arguments: &[&str]) -> Done<Vec<Samples>> {
    let contenders = LENGTHS.iter().zip(folders).map(|((_, words), folder)| {
        Contender::new(words, move || {
            let mut command = bench.ferry_in(folder);
            command.args(arguments);
            Ok(command)
        })
    });
    let race_ = Race { contenders: contenders.collect(), before: &|| Ok(()), after: &|| Ok(Cost::default()) };
    race(bench.rounds, &bench.complaints(), &race_)
}
