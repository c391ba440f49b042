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
/// No queue is filled for longer; what is in it by then is what is measured.
const FILLING: Duration = Duration::from_secs(180);

/// Adds rows by a command that would run them, and kills it when `count` are written down or `limit` is over. Gives how
/// many there are, and how long that took.
pub fn add(mut command: Command, count: usize, limit: Duration) -> Done<(usize, Duration)> {
    command.arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut process = command.spawn().map_err(|error| format!("`ferry` did not start: {error}"))?;
    let lines = process.stdout.take().map(|out| BufReader::new(out).lines());
    let added = lines
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == "added"))
        .take_while(|_| started.elapsed() < limit)
        .take(count)
        .count();
    let took = started.elapsed();
    let _ = process.kill();
    let _ = process.wait();
    if added == count || took >= limit {
        Ok((added, took))
    } else {
        Err(format!("only {added} of {count} were added"))
    }
}

/// Start-up, listing and memory by the length of the queue.
pub fn run(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    // Nothing may arrive while rows are added: the server reads every request and says nothing.
    bench.sandbox.fault(&json!({"fault": "silence", "path": "/generate/"}))?;
    let in_memory = Path::new(IN_MEMORY).is_dir();
    let where_ = if in_memory { "Adding them (to a data folder in memory)" } else { "Adding them" };
    let mut adding = Table::new(where_, &["queued", "seconds", "rows a second", "at the end"]);
    let mut folders = Vec::new();
    let mut each = Vec::new();
    for (length, words) in LENGTHS {
        let folder = bench.folder.join(format!("queue-{length}"));
        let filled = if in_memory { Path::new(IN_MEMORY).join("ferry-bench-queue") } else { folder.clone() };
        let _ = std::fs::remove_dir_all(&filled);
        let (added, took, last) = fill(bench, &filled, length)?;
        if in_memory && length > 0 {
            program::run(program("cp").arg("-r").arg(&filled).arg(&folder))?;
            let _ = std::fs::remove_dir_all(&filled);
        }
        if length > 0 {
            let rate = |rows: usize, seconds: f64| format!("{:.0}", rows as f64 / seconds);
            let count = if added < length { format!("{added} of {words}") } else { words.to_owned() };
            adding.push([count, format!("{took:.2}"), rate(added, took), rate(last.0, last.1)]);
            each.push(took / added as f64);
        }
        if added < length {
            let minutes = FILLING.as_secs() / 60;
            outcome.notes.push(format!(
                "Only {added} of {words} rows could be added in {minutes} minutes: all that is said of {words} is about those."
            ));
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

/// Fills a data folder with so many queued downloads. Gives how many there are, the seconds that they took, and both
/// for the last of the command lines that this needed.
pub fn fill(bench: &Bench, folder: &Path, length: usize) -> Done<(usize, f64, (usize, f64))> {
    let (mut there, mut all, mut last) = (0, Duration::ZERO, (0, 0.0));
    while there < length && all < FILLING {
        // The last tenth is a command line of its own, so that what a row costs at the end can be told.
        let to_last_tenth = (length - length / 10).saturating_sub(there);
        let count = AT_ONCE.min(if to_last_tenth > 0 { to_last_tenth } else { length - there });
        let mut command = bench.ferry_in(folder);
        command.args(["download", "--dir"]).arg(bench.fetched());
        command
            .args((there..there + count).map(|number| format!("{}/generate/9/{number}", bench.sandbox.url)));
        let (added, took) = add(command, count, FILLING.saturating_sub(all))?;
        there += added;
        all += took;
        last = (added, took.as_secs_f64());
    }
    Ok((there, all.as_secs_f64(), last))
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
