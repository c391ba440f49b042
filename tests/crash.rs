//! Rows D16 and U8: `ferry` is killed at random instants, again and again, and nothing is lost by it. After every kill
//! one function checks all that must hold ([`Truth::check`]); at the end everything is complete.
//!
//! `FERRY_CRASH_ROUNDS` says how many kills each test makes (20), `FERRY_SEED` repeats a run.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test's figures belong to its output")]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferry_sandbox::SignedUrls;
use support::chance::Chance;
use support::files::{names, noise};
use support::home::{Home, Run};
use support::http::request;
use support::service::{KEY, Service};
use support::strace::{self, Place, Point};
use support::truth::{Told, Truth, records};

const MIB: u64 = 1 << 20;
/// What may be fetched again after a kill: this much …
const SYNC_BYTES: u64 = 64 * MIB;
/// … or the work of this long (5 s, and the time that the sync itself takes on a busy machine).
const SYNC_TIME: Duration = Duration::from_secs(7);

fn rounds() -> usize {
    std::env::var("FERRY_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// By hand, with many rounds, files are so large that the 64 MiB and the 5 s matter.
fn thorough() -> bool {
    rounds() >= 100
}

/// A file as its server has it, fetched without Ferry.
fn fetched(url: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let (status, body) = request("GET", url, headers, b"");
    assert_eq!(status, 200);
    body
}

/// How `ferry` is ended: at once, or while it is busy ending in order.
fn end(mut running: support::home::Started, after: Duration, chance: &mut Chance) -> Option<Run> {
    #[cfg(unix)]
    if chance.one_in(3) {
        let began = Instant::now();
        while !running.has_ended() && began.elapsed() < after {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !running.has_ended() {
            running.signal(rustix::process::Signal::INT);
        }
        // Mostly it has written down where it stands by then; sometimes it is killed doing so.
        return running.kill_after(chance.within(Duration::from_millis(400)));
    }
    running.kill_after(after)
}

/// Bytes of bodies that the service has sent since a number of requests.
fn sent_since(service: &Service, mark: usize) -> u64 {
    service.requests()[mark..].iter().map(|request| request.sent).sum()
}

#[track_caller]
fn done(told: &Told, id: u64) -> bool {
    told.row(id).is_some_and(|row| row["state"] == "completed")
}

/// `ferry resume` until nothing is left: what only waits is not failed.
#[track_caller]
fn completes(home: &Home) -> Run {
    home.ferry(["resume"]).exits(0)
}

fn downloads_survive_kills(test: &str, connections: &str) {
    let mut chance = Chance::new(test);
    let service = Service::start();
    let home = Home::with(&service);
    let (size, rate) = if thorough() { (192 * MIB, 32 * MIB) } else { (24 * MIB, 6 * MIB) };
    let link = service.link(size, "film.bin");
    let mut truth = Truth::default();
    truth.will_download("film.bin", fetched(&link, &[]));
    // Somebody else's file has the name already.
    truth.stays(&home.file("Downloads/film.bin", b"mine"));
    service.slow(rate);

    let (mut kills, mut id, mut again, mut longest) = (0, 1, 0, 0);
    while kills < rounds() {
        let mark = service.requests().len();
        let before = truth.check(&home);
        let words = if before.row(id).is_some() && !chance.one_in(4) {
            vec!["resume"]
        } else {
            vec!["download", &link, "--connections", connections]
        };
        let began = Instant::now();
        let time = chance.within(Duration::from_millis(if thorough() { 2500 } else { 900 }));
        let ended = end(home.start(words), time, &mut chance);
        let took = began.elapsed();
        let after = truth.check(&home);
        assert!(after.rows.len() <= 1, "one row: {:?}", after.rows);
        // One that was killed while it was being added is off the list, and the next has another id.
        id = after.rows.first().and_then(|row| row["id"].as_u64()).unwrap_or(id);
        if done(&after, id) {
            // Faster than the kill: off the list, and once more from the start.
            home.ferry(["remove", &id.to_string()]).exits(0);
            for name in home.downloaded().iter().filter(|name| *name != "film.bin") {
                std::fs::remove_file(home.downloads().join(name)).unwrap();
            }
            id += 1;
            continue;
        }
        if ended.is_none() {
            kills += 1;
        }
        let lost = (before.bytes(id) + sent_since(&service, mark)).saturating_sub(after.bytes(id));
        longest = lost.max(longest);
        again += lost;
        assert!(
            lost <= SYNC_BYTES || took <= SYNC_TIME,
            "{lost} bytes, fetched in {took:?}, must be fetched again"
        );
    }
    service.heal();
    let last = truth.check(&home);
    if last.row(id).is_some() {
        completes(&home);
    } else {
        home.ferry(["download", &link]).exits(0);
    }
    let end = truth.check(&home);
    assert!(done(&end, id), "{:?}", end.rows);
    let whole = |name: &String| name.starts_with("film (") && !name.ends_with(".ferrypart");
    assert!(home.downloaded().iter().any(whole), "{:?}", home.downloaded());
    eprintln!(
        "{test}: {kills} kills, {} MiB fetched again, {} MiB at most after one",
        again / MIB,
        longest / MIB
    );
}

#[test]
fn a_download_survives_kills_at_any_instant() {
    downloads_survive_kills("download over one connection", "1");
}

#[test]
fn a_download_over_several_connections_survives_kills_at_any_instant() {
    downloads_survive_kills("download over four connections", "4");
}

fn uploads_survive_kills(test: &str, kind: SignedUrls, rate: u64, size: u64) {
    let mut chance = Chance::new(test);
    let service = Service::start();
    service.sign_with(kind);
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let (mut kills, mut number, mut unwritten, mut received) = (0, 1, 0, 0);
    let source = |truth: &mut Truth, number: u64| -> PathBuf {
        let path = home.file(&format!("film-{number}.mp4"), &noise(number, size as usize));
        truth.stays(&path);
        path
    };
    let mut path = source(&mut truth, number);
    service.slow(rate);
    let mark = service.requests().len();
    while kills < rounds() {
        let known = truth.check(&home).row(number).is_some();
        let words = if known && !chance.one_in(4) {
            vec!["resume".into()]
        } else {
            vec!["upload".into(), path.display().to_string(), "--service".into(), "mavi".into()]
        };
        let time = chance.within(Duration::from_millis(if thorough() { 2000 } else { 800 }));
        let ended = end(home.start(words), time, &mut chance);
        let told = truth.check(&home);
        if ended.is_none() {
            kills += 1;
            // The service may have given an id that no disk here has seen: nobody can know that one.
            unwritten += u64::from(truth.asset_of(number).is_none());
        }
        if done(&told, number) {
            arrived(&service, &told, &truth, number, size);
            number += 1;
            path = source(&mut truth, number);
        }
    }
    service.heal();
    let last = truth.check(&home);
    if last.row(number).is_some() {
        completes(&home);
    } else {
        home.ferry([Path::new("upload"), &path, Path::new("--service"), Path::new("mavi")]).exits(0);
    }
    let told = truth.check(&home);
    assert!(done(&told, number), "{:?}", told.rows);
    arrived(&service, &told, &truth, number, size);

    let requests = service.requests();
    let signed =
        requests.iter().filter(|request| request.path.ends_with("/upload/signed-url")).count() as u64;
    assert!(
        signed <= number + unwritten,
        "{signed} ids for {number} files, {unwritten} of them lost before they could be written down"
    );
    for request in &requests[mark..] {
        received += request.received;
    }
    let needed = number * size;
    if kind == SignedUrls::GoogleResumable {
        // The store here keeps what came, up to a unit of 256 KiB, however large the chunk was: what it asks for again
        // does not depend on how quick this computer is.
        let allowed = needed + kills as u64 * MIB;
        assert!(received <= allowed, "{received} bytes sent for {needed}: more than the store had lost");
    }
    eprintln!(
        "{test}: {kills} kills, {number} files, {signed} asset ids, {} MiB sent for {} MiB",
        received / MIB,
        needed / MIB
    );
}

/// The service has the right bytes under the id that Ferry says, and the library knows it.
#[track_caller]
fn arrived(service: &Service, told: &Told, truth: &Truth, number: u64, size: u64) {
    let row = told.row(number).unwrap();
    let id = row["asset_id"].as_str().unwrap_or_else(|| panic!("no asset id in {row}"));
    assert!(truth.asset_of(number).is_none_or(|known| known == id), "{id} is not what was written down");
    let asset = told.assets.iter().find(|asset| asset["asset_id"] == id);
    assert_eq!(asset.unwrap_or_else(|| panic!("{id} is not in the library"))["status"], "confirmed");
    let url = format!("{}/{id}/download", service.mavi_url());
    let stored = fetched(&url, &[("Authorization", KEY)]);
    assert!(stored == noise(number, size as usize), "the service has other bytes under {id}");
}

#[test]
fn a_resumable_upload_survives_kills_at_any_instant() {
    let (rate, size) = if thorough() { (48 * MIB, 96 * MIB) } else { (16 * MIB, 24 * MIB) };
    uploads_survive_kills("resumable upload", SignedUrls::GoogleResumable, rate, size);
}

#[test]
fn a_plain_upload_survives_kills_at_any_instant() {
    uploads_survive_kills("plain upload", SignedUrls::GooglePut, 16 * MIB, 6 * MIB);
}

/// The whole life of small files is short, so that kills fall into naming, proving, publishing and writing down.
#[test]
fn a_download_survives_kills_while_it_is_proven_and_named() {
    let mut chance = Chance::new("publish");
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let link = |number: usize| service.link(200_000, &format!("{number}.bin"));
    truth.will_download("0.bin", fetched(&link(0), &[]));
    let usual = home.ferry(["download", &link(0)]).exits(0).took;
    let mut number = 0;
    for _ in 0..rounds() {
        number += 1;
        truth.will_download(&format!("{number}.bin"), fetched(&link(number), &[]));
        home.start(["download", &link(number)]).kill_after(chance.within(usual));
        truth.check(&home);
        if !chance.one_in(4) {
            continue;
        }
        // Killed while everything that earlier kills left is gone on with.
        home.start(["resume"]).kill_after(chance.within(usual));
        truth.check(&home);
    }
    completes(&home);
    let told = truth.check(&home);
    assert!(told.rows.iter().all(|row| row["state"] == "completed"), "{:?}", told.rows);
}

/// Beside each other, sharing syncs, and with one file for what is kept of those that were added together.
#[test]
fn many_short_downloads_survive_kills_at_any_instant() {
    let mut chance = Chance::new("many short downloads");
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let links = |round: usize| (0..40).map(move |number| format!("{round}x{number}.bin"));
    let begin = |truth: &mut Truth, round: usize| {
        let mut words = vec!["download".to_owned()];
        for name in links(round) {
            let link = format!("{}?token=marked", service.link(8_000, &name));
            truth.will_download(&name, fetched(&link, &[]));
            words.push(link);
        }
        words
    };
    let words = begin(&mut truth, 0);
    let usual = home.ferry(&words).exits(0).took;
    for round in 1..=rounds() {
        let words = begin(&mut truth, round);
        home.start(&words).kill_after(chance.within(usual));
        truth.check(&home);
        if chance.one_in(4) {
            home.start(["resume"]).kill_after(chance.within(usual));
            truth.check(&home);
        }
    }
    completes(&home);
    let told = truth.check(&home);
    assert!(told.rows.iter().all(|row| row["state"] == "completed"), "{:?}", told.rows);
    assert_eq!(names(&home.data().join("resume")), Vec::<String>::new());
    assert_eq!(home.downloaded().len(), told.rows.len(), "one file for each row");
}

#[test]
fn taking_rows_off_the_list_survives_kills_at_any_instant() {
    let mut chance = Chance::new("remove");
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let link = service.link(300_000, "part.bin");
    truth.will_download("part.bin", fetched(&link, &[]));
    let kept = service.link(1000, "kept.bin");
    truth.will_download("kept.bin", fetched(&kept, &[]));
    home.ferry(["download", &kept]).exits(0);
    let usual = home.ferry(["queue"]).exits(0).took * 2;
    let mut id = 1;
    for _ in 0..rounds() {
        service.fault(ferry_sandbox::FaultKind::Cut { after: 200_000 });
        home.ferry(["download", &link, "--retries", "0"]).exits(1).says_error("incomplete");
        service.heal();
        id = truth.check(&home).rows.iter().filter_map(|row| row["id"].as_u64()).max().unwrap_or(id);
        home.start(["remove", &id.to_string()]).kill_after(chance.within(usual));
        let told = truth.check(&home);
        if let Some(row) = told.row(id) {
            // Half-way it is given up, which throws its link away; before that it can still be had.
            if row["state"] != "canceled" && chance.one_in(2) {
                home.ferry(["retry", &id.to_string()]).exits(0);
                truth.check(&home);
                for name in home.downloaded().iter().filter(|name| name.starts_with("part")) {
                    std::fs::remove_file(home.downloads().join(name)).unwrap();
                }
            }
            home.ferry(["remove", &id.to_string()]).exits(0);
        }
        assert_eq!(home.downloaded(), ["kept.bin"], "the part file goes with its row, finished files stay");
        assert!(records(&home.data()).is_empty());
    }
}

// ---- not by chance: at every step that reaches the disk ----

/// The calls by which Ferry and its database make things durable, name and remove them.
const STEPS: [&str; 8] =
    ["fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "ftruncate", "fallocate"];

/// Kills `ferry` at steps of the disk, each time checks, goes on, checks again.
fn killed_at_steps(
    test: &str,
    home: &Home,
    truth: &mut Truth,
    name: impl Fn(usize) -> String,
    mut begin: impl FnMut(&mut Truth, usize) -> Vec<String>,
    mut whole: impl FnMut(&Told, &Truth, usize),
) {
    let mut chance = Chance::new(test);
    let log = home.path().join("steps");
    // The first run makes the folders.
    for number in [0, 1] {
        let words = begin(truth, number);
        home.ferry_under(&strace::watch(&STEPS, &log), words).exits(0);
        truth.check(home);
        home.ferry(["remove"]).exits(0);
    }
    let all = strace::points(&STEPS, &log, home);
    let passed = all.len();
    let chosen = chance.some(all, if thorough() { usize::MAX } else { rounds() });
    let (tried, mut killed) = (chosen.len(), 0);
    for (number, point) in (2..).zip(chosen) {
        let words = begin(truth, number);
        let fault = strace::spoil(point, "signal=KILL", home, &name(number), &log);
        let run = home.ferry_under(&fault, words.clone());
        killed += usize::from(run.code.is_none());
        let here = |what: &str| format!("{what} after a kill at {point:?}");
        truth.check(home);
        if run.code.is_some() {
            // Background writes do not come in the same number each time.
            run.exits(0);
        } else {
            let resumed = home.ferry(["resume"]);
            assert_eq!(resumed.code, Some(0), "{}: {}", here("resuming"), resumed.stderr);
        }
        let mut told = truth.check(home);
        if told.rows.is_empty() {
            // Killed before the answer that it was written down: nothing was promised.
            home.ferry(words).exits(0);
            told = truth.check(home);
        }
        assert!(
            told.rows.iter().all(|row| row["state"] == "completed"),
            "{}: {:?}",
            here("unfinished"),
            told.rows
        );
        whole(&told, truth, number);
        home.ferry(["remove"]).exits(0);
    }
    eprintln!("{test}: killed at {killed} of {tried} steps, of {passed} in all");
    // On a busy machine writes of the background join others, and steps near the end do not come.
    assert!(killed * 2 >= tried, "only {killed} of {tried} kills came: the test waits at the wrong steps");
}

#[test]
fn a_download_killed_at_any_step_of_the_disk_is_one_whole_file_with_its_own_name_in_the_end() {
    download_killed_at_steps("download, steps", 200_000);
}

/// What comes whole in a moment is not handed on in pieces, and takes fewer steps.
#[test]
fn a_short_download_killed_at_any_step_of_the_disk_is_one_whole_file_with_its_own_name_in_the_end() {
    download_killed_at_steps("short download, steps", 8_000);
}

fn download_killed_at_steps(test: &str, size: u64) {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let name = |number: usize| format!("{number}.bin");
    killed_at_steps(
        test,
        &home,
        &mut truth,
        name,
        |truth, number| {
            let link = service.link(size, &name(number));
            truth.will_download(&name(number), fetched(&link, &[]));
            vec!["download".into(), link]
        },
        |_, _, number| {
            let mine = format!("{number}");
            let mut found = home.downloaded();
            found.retain(|name| name.split(['.', ' ']).next() == Some(mine.as_str()));
            assert_eq!(found, [name(number)]);
        },
    );
}

/// What a short file needs of the disk, one at a time so that none shares a sync with another: its record before it is
/// made, its bytes, its name, its end. A sync more for each would be a quarter of the time that thousands of them take.
#[test]
fn short_downloads_reach_the_disk_no_oftener_than_their_promises_need() {
    const FILES: usize = 20;
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    home.ferry(["download", &service.link(8_000, "first.bin")]).exits(0);
    let log = home.path().join("steps");
    let mut words = ["download", "--concurrency", "1"].map(str::to_owned).to_vec();
    words.extend((0..FILES).map(|number| service.link(8_000, &format!("{number}.bin"))));
    home.ferry_under(&strace::watch(&["fsync", "fdatasync"], &log), words).exits(0);
    assert_eq!(home.downloaded().len(), FILES + 1);
    let text = std::fs::read_to_string(&log).unwrap();
    let syncs = |path: &Path| {
        let path = path.display().to_string();
        text.lines().filter(|line| line.contains("sync(") && line.contains(&path)).count()
    };
    assert_eq!(syncs(&home.downloads()), 2 * FILES, "the bytes and the name of each");
    // Beside them: the start, the adding, the end, and now and then one for what nobody waits for.
    let list = syncs(&home.data().join("ferry.db"));
    assert!(list <= 2 * FILES + FILES / 2, "{list} commits for {FILES} files");
    assert!(syncs(&home.data().join("resume")) <= 4, "their records share a file");
}

#[test]
fn an_upload_killed_at_any_step_of_the_disk_has_one_asset_in_the_end() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let signed = || service.requests().iter().filter(|asked| asked.path.ends_with("/signed-url")).count();
    let before = std::cell::Cell::new(0);
    killed_at_steps(
        "upload, steps",
        &home,
        &mut truth,
        |number| format!("{number}.mp4"),
        |truth, number| {
            let path = home.file(&format!("{number}.mp4"), &noise(number as u64, 300_000));
            truth.stays(&path);
            before.set(signed());
            ["upload", &path.display().to_string(), "--service", "mavi"].map(str::to_owned).into()
        },
        |told, truth, number| {
            let row = &told.rows[0];
            let id = row["asset_id"].as_str().unwrap_or_else(|| panic!("no asset id in {row}"));
            let url = format!("{}/{id}/download", service.mavi_url());
            let stored = fetched(&url, &[("Authorization", KEY)]);
            assert!(stored == noise(number as u64, 300_000));
            assert!(told.assets.iter().any(|asset| asset["asset_id"] == id), "{id} is not in the library");
            let ids = signed() - before.get();
            let written = truth.asset_of(row["id"].as_u64().unwrap());
            assert!(written.is_none_or(|written| written == id));
            assert!(ids <= 1 || written.is_none(), "{ids} asset ids for one file");
        },
    );
}

#[test]
fn points_are_read_from_a_trace() {
    let home = Home::new();
    let (data, downloads) = (home.data().display().to_string(), home.downloads().display().to_string());
    let log = home.path().join("log");
    let trace = [
        format!("7 fsync(3<{data}/ferry.db-wal>) = 0"),
        format!("8  fsync(4<{downloads}/a.bin.ferrypart> <unfinished ...>"),
        "8  <... fsync resumed>) = 0".to_owned(),
        format!("8 fsync(5<{downloads}>) = 0"),
        format!("7 fsync(3<{data}/ferry.db-wal>) = 0"),
        format!("9 openat(AT_FDCWD<{downloads}>, \"/lib/x.so\", O_RDONLY) = 3"),
        format!("9 rename(\"{data}/resume/1.ferry-new\", \"{data}/resume/1\") = 0"),
    ];
    std::fs::write(&log, trace.join("\n")).unwrap();
    let point = |place, call, number| Point { place, call, number };
    assert_eq!(
        strace::points(&["fsync", "openat", "rename"], &log, &home),
        [
            point(Place::Database, "fsync", 1),
            point(Place::Database, "fsync", 2),
            point(Place::Part, "fsync", 1),
            point(Place::Downloads, "fsync", 1),
            point(Place::Resume, "rename", 1),
        ]
    );
}
