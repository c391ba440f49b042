//! Memory by the size of the file: it must not grow.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::measure::{memory_of, watch};
use super::report::{Bar, Group, Outcome, Table};
use super::{Bench, check, mib};
use crate::program::{Done, output, program};

const SIZES: [(u64, &str); 3] = [(1 << 30, "1 GiB"), (10 << 30, "10 GiB"), (100 << 30, "100 GiB")];
/// No size is given more time than this; what was held until then is what is told.
const LIMIT: Duration = Duration::from_secs(120);
/// A disk is never filled to the brim.
const SPARE: u64 = 3 << 30;
/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Up and down, each size.
pub fn run(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    let head = ["", "size", "moved", "seconds", "at 20 %", "40 %", "60 %", "80 %", "100 %", "highest"];
    let mut table = Table::new("MiB held by `ferry`", &head);
    let mut bars = Vec::new();
    for way in ["up", "down"] {
        for (size, words) in SIZES {
            if way == "down" && room(&bench.folder).is_some_and(|room| room < size + SPARE) {
                table.push([way, words, "no room on this disk"].map(str::to_owned));
                continue;
            }
            bench.clean()?;
            let source = bench.folder.join("sparse.bin");
            let command = match way {
                "up" => up(bench, &source, size)?,
                _ => down(bench, size),
            };
            bench.sandbox.take_log()?;
            let course = Course::of(command, &bench.complaints())?;
            let moved = bench.sandbox.take_log()?.bytes;
            let _ = std::fs::remove_file(&source);
            let gib = moved as f64 / f64::from(1 << 30);
            let mut row = vec![
                way.to_owned(),
                words.to_owned(),
                format!("{gib:.1} GiB"),
                format!("{:.1}", course.seconds),
            ];
            row.extend(course.fifths().map(|bytes| format!("{:.1}", mib(bytes))));
            row.push(format!("{:.1}", mib(course.highest)));
            table.push(row);
            let value = mib(course.highest);
            bars.push(Bar {
                name: format!("{words} {way}"),
                median: value,
                least: value,
                most: value,
                ours: true,
            });
            outcome.checks.extend(check("memory", &format!("{words} {way}"), value));
        }
    }
    bench.clean()?;
    outcome.tables.push(table);
    outcome.groups.push(Group { title: "Memory by size of file".to_owned(), unit: "MiB", bars });
    Ok(outcome)
}

fn up(bench: &Bench, source: &Path, size: u64) -> Done<Command> {
    let file = std::fs::File::create(source).map_err(|error| format!("making a sparse file: {error}"))?;
    file.set_len(size).map_err(|error| format!("making a sparse file: {error}"))?;
    let mut command = bench.ferry();
    let sink = format!("{}/sink/sparse.bin", bench.sandbox.url);
    command.args(["upload", "--quiet", "--method", "put", "--to", &sink]).arg(source);
    Ok(command)
}

fn down(bench: &Bench, size: u64) -> Command {
    let mut command = bench.ferry();
    let url = format!("{}/generate/{size}/generated.bin", bench.sandbox.url);
    command.args(["download", "--quiet", &url, "--dir"]).arg(bench.fetched());
    command
}

/// The memory of one run over its time.
struct Course {
    seconds: f64,
    looks: Vec<u64>,
    highest: u64,
}

impl Course {
    fn of(mut command: Command, complaints: &Path) -> Done<Self> {
        let mut looks = Vec::new();
        let mut last = Duration::ZERO;
        let run = watch(&mut command, complaints, LIMIT, &mut |process, age| {
            if age >= last + LOOK_EVERY {
                last = age;
                looks.extend(memory_of(process));
            }
        })?;
        // One that was ended before its time cannot tell what its highest was; the looks can.
        let highest = run.map(|run| run.memory).into_iter().chain(looks.iter().copied()).max();
        Ok(Self {
            seconds: run.map_or(LIMIT.as_secs_f64(), |run| run.seconds),
            highest: highest.unwrap_or_default(),
            looks,
        })
    }

    fn fifths(&self) -> impl Iterator<Item = u64> {
        (1..=5).map(|fifth| {
            let at = (self.looks.len() * fifth / 5).saturating_sub(1);
            self.looks.get(at).copied().unwrap_or(self.highest)
        })
    }
}

/// Free bytes on the disk; `None` where the system has no `df` like this.
fn room(folder: &Path) -> Option<u64> {
    let text = output(program("df").args(["--output=avail", "--block-size=1"]).arg(folder)).ok()?;
    text.lines().nth(1)?.trim().parse().ok()
}
