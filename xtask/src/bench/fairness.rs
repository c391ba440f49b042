//! Speed limits, one slow service beside a quick one, and both ways at once.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::measure::{Contender, Race, Spread, race, run as run_once};
use super::report::{Outcome, Table};
use super::servers::Cost;
use super::{Bench, check, make, queue};
use crate::program::Done;

/// The limit, the bytes that are moved under it, and what that must take.
const LIMIT: &str = "8M";
const LIMITED: u64 = 64 << 20;
const LIMITED_SECONDS: f64 = 8.0;
/// A run is as long as the limit says; a few are enough.
const ROUNDS: usize = 3;

/// Six files that take 16 s each at this speed.
const SLOW_FILES: usize = 6;
const SLOW_SIZE: u64 = 4 << 20;
const SLOW_RATE: u64 = 256 << 10;
const QUICK_SIZE: u64 = 64 << 10;

/// Writing one transfer down takes a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// All of it.
pub fn run(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    limits(bench, &mut outcome)?;
    starving(bench, &mut outcome)?;
    both_ways(bench, &mut outcome)?;
    Ok(outcome)
}

fn limits(bench: &Bench, outcome: &mut Outcome) -> Done {
    let source = bench.file("limited.bin", LIMITED)?;
    let sink = format!("{}/sink/limited.bin", bench.sandbox.url);
    let link = format!("{}/generate/{LIMITED}/limited.bin", bench.sandbox.url);
    let contenders = vec![
        Contender::new("down", || {
            let mut command = bench.ferry();
            command.args(["download", "--quiet", "--limit-rate", LIMIT, &link, "--dir"]).arg(bench.fetched());
            Ok(command)
        }),
        Contender::new("up", || {
            let mut command = bench.ferry();
            command
                .args(["upload", "--quiet", "--limit-rate", LIMIT, "--method", "put", "--to", &sink])
                .arg(&source);
            Ok(command)
        }),
    ];
    let race_ = Race { contenders, before: &|| bench.clean(), after: &|| Ok(Cost::default()) };
    let mut table = Table::new("64 MiB at 8 MiB/s", &["", "seconds", "min–max", "should be", "off by"]);
    for samples in race(bench.rounds.min(ROUNDS), &bench.complaints(), &race_)? {
        let Spread { median, least, most } = samples.seconds();
        let off = (median / LIMITED_SECONDS - 1.0) * 100.0;
        table.push([
            samples.name.to_owned(),
            format!("{median:.2}"),
            format!("{least:.2}–{most:.2}"),
            format!("{LIMITED_SECONDS:.2}"),
            format!("{off:+.1} %"),
        ]);
        outcome.checks.extend(check("limit", samples.name, off.abs()));
    }
    outcome.tables.push(table);
    std::fs::remove_file(&source).map_err(|error| error.to_string())
}

/// Six slow files of MAVI, then a small one of another service: when is that one here?
fn starving(bench: &Bench, outcome: &mut Outcome) -> Done {
    let folder = bench.folder.join("slow");
    make(&folder)?;
    for number in 0..SLOW_FILES {
        super::fill(&folder.join(format!("{number}.bin")), SLOW_SIZE + number as u64)?;
    }
    bench.clean()?;
    let sent =
        crate::program::output(bench.ferry().args(["upload", "--quiet", "--service", "mavi"]).arg(&folder))?;
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    let slow = sent.lines().filter_map(|line| line.split('\t').next());
    let quick = format!("{}/generate/{QUICK_SIZE}/quick.bin", bench.sandbox.url);

    bench.clean()?;
    bench.sandbox.fault(&json!({"fault": "slow", "bytes_per_second": SLOW_RATE, "path": "/mavi/"}))?;
    let started = Instant::now();
    let mut command = bench.ferry();
    command.args(["download", "--json", "--dir"]).arg(bench.fetched()).args(slow).arg(&quick);
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("`ferry` did not start: {error}"))?;
    let lines = process.stdout.take().map(|out| BufReader::new(out).lines());
    let came = lines.into_iter().flatten().map_while(Result::ok).any(|line| {
        serde_json::from_str::<Value>(&line)
            .is_ok_and(|line| line["event"] == "completed" && line["name"] == "quick.bin")
    });
    let seconds = started.elapsed().as_secs_f64();
    let _ = process.kill();
    let _ = process.wait();
    bench.sandbox.heal()?;
    bench.sandbox.forget()?;
    if !came {
        return Err("the quick file never came".to_owned());
    }
    let alone = {
        bench.clean()?;
        let mut command = bench.ferry();
        command.args(["download", "--quiet", &quick, "--dir"]).arg(bench.fetched());
        run_once(&mut command, &bench.complaints())?.seconds
    };
    let mut table = Table::new("A quick file behind six slow ones", &["", "seconds"]);
    table.push(["alone".to_owned(), format!("{alone:.2}")]);
    table.push(["behind six slow ones".to_owned(), format!("{seconds:.2}")]);
    outcome.tables.push(table);
    outcome.checks.extend(check("starving", "until it is here", seconds));
    Ok(())
}

/// An upload and a download under one limit each, alone and together.
fn both_ways(bench: &Bench, outcome: &mut Outcome) -> Done {
    let source = bench.file("both.bin", LIMITED)?;
    let link = format!("{}/generate/{LIMITED}/both.bin", bench.sandbox.url);
    let queue_up = || -> Done {
        let mut command = bench.ferry();
        command.args(["upload", "--service", "mavi"]).arg(&source);
        queue::add(command, 1, PATIENCE).map(drop)
    };
    let queue_down = || -> Done {
        let mut command = bench.ferry();
        command.args(["download", &link, "--dir"]).arg(bench.fetched());
        queue::add(command, 1, PATIENCE).map(drop)
    };
    let resume = || {
        let mut command = bench.ferry();
        command.args(["resume", "--quiet", "--limit-rate", "16M"]);
        command
    };
    let (mut up, mut down, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds.min(ROUNDS) {
        for (times, upload, download) in
            [(&mut up, true, false), (&mut down, false, true), (&mut both, true, true)]
        {
            bench.clean()?;
            bench.sandbox.forget()?;
            // Written down, and stopped before anything is sent.
            bench.sandbox.fault(&json!({"fault": "silence"}))?;
            if upload {
                queue_up()?;
            }
            if download {
                queue_down()?;
            }
            bench.sandbox.heal()?;
            times.push(run_once(&mut resume(), &bench.complaints())?.seconds);
        }
    }
    let mut table = Table::new("64 MiB each way at 16 MiB/s", &["", "seconds", "min–max"]);
    for (words, times) in [("up alone", &up), ("down alone", &down), ("both together", &both)] {
        let Spread { median, least, most } = Spread::of(times.iter().copied());
        table.push([words.to_owned(), format!("{median:.2}"), format!("{least:.2}–{most:.2}")]);
    }
    outcome.tables.push(table);
    let median = |times: &[f64]| Spread::of(times.iter().copied()).median;
    outcome.checks.extend(check(
        "both-ways",
        "16 MiB/s each",
        median(&both) / median(&up).max(median(&down)),
    ));
    bench.clean()?;
    bench.sandbox.forget()?;
    std::fs::remove_file(source).map_err(|error| error.to_string())
}
