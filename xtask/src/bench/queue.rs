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
use crate::program::Done;

/// How many rows, and the same in words.
const LENGTHS: [(usize, &str); 4] = [(0, "empty"), (1000, "1,000"), (10_000, "10,000"), (100_000, "100,000")];
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
    let mut adding = Table::new("Adding them", &["queued", "seconds", "rows a second"]);
    let mut folders = Vec::new();
    for (length, words) in LENGTHS {
        let folder = bench.folder.join(format!("queue-{length}"));
        let took = fill(bench, &folder, length)?;
        if length > 0 {
            let seconds = took.as_secs_f64();
            adding.push([
                words.to_owned(),
                format!("{seconds:.2}"),
                format!("{:.0}", length as f64 / seconds),
            ]);
        }
        folders.push(folder);
    }
    bench.sandbox.heal()?;
    outcome.tables.push(adding);

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

/// Fills a data folder with so many queued downloads.
fn fill(bench: &Bench, folder: &Path, length: usize) -> Done<Duration> {
    let mut took = Duration::ZERO;
    let mut first = 0;
    while first < length {
        let count = AT_ONCE.min(length - first);
        let mut command = bench.ferry_in(folder);
        command.args(["download", "--dir"]).arg(bench.fetched());
        command
            .args((first..first + count).map(|number| format!("{}/generate/9/{number}", bench.sandbox.url)));
        took += add(command, count)?;
        first += count;
    }
    Ok(took)
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
