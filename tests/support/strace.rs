//! `strace` as a fault machine: it makes chosen system calls of a chosen number fail, or end the process.

use std::collections::BTreeMap;
use std::path::Path;

/// Whether strace is here and may trace. If not, the test says so and ends.
pub fn can_trace() -> bool {
    let traced = std::process::Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let can = cfg!(target_os = "linux") && traced.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: needs Linux and a strace that may trace (`cargo xtask setup test`)");
    }
    can
}

/// One call to spoil: which, and the how manieth of them in the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub call: &'static str,
    pub number: usize,
}

/// The command line of a strace that only writes down these calls.
pub fn watch(calls: &[&str], log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    ["strace", "-f", "-qq", "-o", &log, "-e", &format!("trace={}", calls.join(","))].map(str::to_owned).into()
}

/// The same, with the files that each call is about.
pub fn watch_paths(calls: &[&str], log: &Path) -> Vec<String> {
    let mut words = watch(calls, log);
    words.insert(1, "-y".to_owned());
    words
}

/// The command line of a strace that does this at one point, and only to calls that touch one of these paths (none:
/// to any).
pub fn spoil(point: Point, how: &str, paths: &[&Path]) -> Vec<String> {
    let Point { call, number } = point;
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"].map(str::to_owned).into();
    words.push(format!("trace={call}"));
    words.extend(["-e".to_owned(), format!("inject={call}:{how}:when={number}")]);
    for path in paths {
        words.extend(["-P".to_owned(), path.display().to_string()]);
    }
    words
}

/// The command line of a strace that does this to every such call that touches this file.
pub fn spoil_all(call: &str, how: &str, file: &Path) -> Vec<String> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}"));
    let file = file.display().to_string();
    ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-P", &file]
        .map(str::to_owned)
        .into()
}

/// Every point that a watched run passed.
pub fn points(calls: &[&'static str], log: &Path) -> Vec<Point> {
    chosen_points(calls, log, |_| true)
}

/// Every point that has to do with something below a folder, of a run that was watched with its paths.
pub fn points_below(calls: &[&'static str], log: &Path, folder: &Path) -> Vec<Point> {
    let folder = folder.display().to_string();
    chosen_points(calls, log, |call| {
        // `openat(AT_FDCWD</home>, "/lib/…")`: where the process stands does not count.
        let call =
            call.split_once("AT_FDCWD<").map_or(call, |(_, rest)| rest.split_once('>').map_or("", |r| r.1));
        call.contains(&folder)
    })
}

fn chosen_points(calls: &[&'static str], log: &Path, choose: impl Fn(&str) -> bool) -> Vec<Point> {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut points = Vec::new();
    for line in text.lines() {
        // `1234  fsync(7) = 0`; the second half of an interrupted call has no bracket behind its name.
        let rest = line.split_once(' ').map_or("", |(_, rest)| rest).trim_start();
        let Some(call) = calls.iter().find(|call| rest.starts_with(&format!("{call}("))) else { continue };
        let number = counts.entry(call).or_default();
        *number += 1;
        if choose(rest) {
            points.push(Point { call, number: *number });
        }
    }
    points
}
