//! `strace` as a fault machine: it makes chosen system calls of a chosen number fail, or end the process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::home::Home;

/// Whether strace is here and may trace. If not, the test says so and ends.
pub fn can_trace() -> bool {
    let traced = std::process::Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let can = cfg!(target_os = "linux") && traced.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: needs Linux and a strace that may trace (`cargo xtask setup test`)");
    }
    can
}

/// What a call has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Database,
    /// The part file of the transfer.
    Part,
    /// The folder that it lies in: names that are made, changed, synced there.
    Downloads,
    /// What is kept in secret for the transfer.
    Resume,
    /// The second copy of the library.
    Library,
}

impl Place {
    /// The files of a place, as strace is told them.
    pub fn paths(self, home: &Home, name: &str) -> Vec<PathBuf> {
        let data = home.data();
        match self {
            Self::Database => ["ferry.db", "ferry.db-wal"].map(|file| data.join(file)).into(),
            Self::Part => vec![home.downloads().join(format!("{name}.ferrypart"))],
            Self::Downloads => vec![home.downloads()],
            Self::Resume => {
                let (folder, id) = (data.join("resume"), next_id(&data));
                vec![folder.join(id.to_string()), folder.join(format!("{id}.ferry-new")), folder]
            }
            Self::Library => vec![data.join("library.jsonl")],
        }
    }

    /// Which place a line of a trace is about.
    fn of(call: &str, home: &Home) -> Option<Self> {
        let (data, downloads) = (home.data(), home.downloads());
        let has = |path: PathBuf| call.contains(&*path.to_string_lossy());
        if has(data.join("ferry.db")) {
            return Some(Self::Database);
        }
        if has(data.join("library.jsonl")) {
            return Some(Self::Library);
        }
        if has(data.join("resume")) {
            return Some(Self::Resume);
        }
        // By the file itself; what only names it goes through the folder.
        if call.split_once('>').is_some_and(|(file, _)| file.ends_with(".ferrypart")) {
            return Some(Self::Part);
        }
        has(downloads).then_some(Self::Downloads)
    }
}

/// The id that the next transfer gets.
fn next_id(data: &Path) -> u64 {
    let connection = rusqlite::Connection::open(data.join("ferry.db")).unwrap();
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'transfers'";
    connection.query_row(last, [], |row| row.get::<_, i64>(0)).unwrap_or(0).unsigned_abs() + 1
}

/// One call to spoil: which, on what, and the how manieth of these in its thread, as strace counts for each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub place: Place,
    pub call: &'static str,
    pub number: usize,
}

/// The command line of a strace that only writes down these calls, with the files that each is about.
pub fn watch(calls: &[&str], log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    let trace = format!("trace={}", calls.join(","));
    ["strace", "-f", "-y", "-qq", "-o", &log, "-e", &trace].map(str::to_owned).into()
}

/// The command line of a strace that does this at one point, and writes down whether it came to that.
pub fn spoil(point: Point, how: &str, home: &Home, name: &str, log: &Path) -> Vec<String> {
    let Point { place, call, number } = point;
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}:when={number}"));
    let log = log.display().to_string();
    let mut words: Vec<String> =
        ["strace", "-f", "-qq", "-o", &log, "-e", &trace, "-e", &inject].map(str::to_owned).into();
    for path in place.paths(home, name) {
        words.extend(["-P".to_owned(), path.display().to_string()]);
    }
    words
}

/// Whether a spoiled run met its fault.
pub fn was_felt(log: &Path) -> bool {
    let log = std::fs::read(log).unwrap_or_default();
    ["INJECTED", "killed by SIGKILL"].iter().any(|sign| String::from_utf8_lossy(&log).contains(sign))
}

/// The command line of a strace that does each of these to every such call that touches this file.
pub fn spoil_all(faults: &[(&str, &str)], file: &Path) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null", "-P"].map(str::to_owned).into();
    words.push(file.display().to_string());
    let calls: Vec<&str> = faults.iter().map(|(call, _)| *call).collect();
    words.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    for (call, how) in faults {
        words.extend(["-e".to_owned(), format!("inject={call}:{how}")]);
    }
    words
}

/// Every point that a watched run passed.
pub fn points(calls: &[&'static str], log: &Path, home: &Home) -> Vec<Point> {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let mut counts = BTreeMap::<(&str, &str, Place), usize>::new();
    let mut points = BTreeSet::new();
    for line in text.lines() {
        // `1234  fsync(7</home/…>) = 0`; the second half of an interrupted call has no bracket behind its name.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let Some(call) = calls.iter().find(|call| rest.starts_with(&format!("{call}("))) else { continue };
        // Where the process stands does not count: `openat(AT_FDCWD</home>, "/lib/…")`.
        let about =
            rest.split_once("AT_FDCWD<").map_or(rest, |(_, rest)| rest.split_once('>').map_or("", |r| r.1));
        let Some(place) = Place::of(about, home) else { continue };
        let number = counts.entry((thread, call, place)).or_default();
        *number += 1;
        points.insert(Point { place, call, number: *number });
    }
    points.into_iter().collect()
}
