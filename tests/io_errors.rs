//! Row D14, the rare half of it: the disk itself fails. `strace` lets one call that writes, syncs, names or opens fail
//! with `EIO` or `ENOSPC`, at one place after the other, during a download and an upload. Each time the failure has
//! its right name, nothing that is not whole stands under a final name, and without the fault it completes.
//!
//! Places are chosen by chance (`FERRY_SEED` repeats a run); `FERRY_IO_ERRORS=all` tries every one.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test's figures belong to its output")]

#[path = "support/mod.rs"]
mod support;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ferry_sandbox::FaultKind;
use support::chance::Chance;
use support::files::{assert_holds, noise};
use support::home::{Home, wait_until};
use support::http::request;
use support::service::{KEY, Service};
use support::strace;
use support::truth::{Told, Truth};

const CALLS: [&str; 9] =
    ["write", "pwrite64", "fdatasync", "fsync", "rename", "renameat2", "openat", "ftruncate", "fallocate"];
/// Places in one test, unless all are wanted.
const USUAL: usize = 24;

fn fetched(url: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let (status, body) = request("GET", url, headers, b"");
    assert_eq!(status, 200);
    body
}

/// Spoils a command at one place after the other.
fn spoiled(
    test: &str,
    home: &Home,
    truth: &mut Truth,
    name: impl Fn(usize) -> String,
    mut begin: impl FnMut(&mut Truth, usize) -> Vec<String>,
    whole: impl Fn(&Told, usize),
) {
    let mut chance = Chance::new(test);
    let log = home.path().join("calls");
    // The first run makes the folders.
    for number in [0, 1] {
        let words = begin(truth, number);
        home.ferry_under(&strace::watch(&CALLS, &log), words).exits(0);
        truth.check(home);
        home.ferry(["remove"]).exits(0);
    }
    let all = strace::points(&CALLS, &log, home);
    let passed = all.len();
    let wanted =
        if std::env::var("FERRY_IO_ERRORS").is_ok_and(|all| all == "all") { usize::MAX } else { USUAL };
    let chosen = chance.some(all, wanted);
    let (tried, mut felt, mut failed) = (chosen.len(), 0, 0);
    for (number, point) in (2..).zip(chosen) {
        let error = if chance.one_in(2) { "EIO" } else { "ENOSPC" };
        let words = begin(truth, number);
        let fault = strace::spoil(point, &format!("error={error}"), home, &name(number), &log);
        failed += usize::from(one(home, truth, &words, &fault));
        felt += usize::from(strace::was_felt(&log));
        let told = truth.check(home);
        assert!(told.rows.iter().all(|row| row["state"] == "completed"), "{point:?}: {:?}", told.rows);
        whole(&told, number);
        home.ferry(["remove"]).exits(0);
    }
    eprintln!("{test}: {tried} of {passed} calls spoiled, {felt} met, {failed} of them failed the command");
    // Background writes do not come in the same number each time.
    assert!(felt * 4 >= tried * 3, "only {felt} of {tried} faults were met: the test spoils the wrong calls");
}

/// One spoiled run, and the way out of it. Says whether the command failed.
fn one(home: &Home, truth: &mut Truth, words: &[String], fault: &[String]) -> bool {
    let run = home.ferry_under(fault, words);
    let here = || format!("{fault:?}: exit {:?}, stderr: {}", run.code, run.stderr);
    // Calls do not come in the same order each time: the fault may hit the pipe by which the runtime wakes itself,
    // which no disk does. What it ends by then is a crash like any other.
    let is_runtimes_own = run.stderr.contains("failed to wake I/O driver");
    let in_order = matches!(run.code, Some(0 | 1)) && !run.stderr.contains("panicked");
    assert!(in_order || is_runtimes_own, "{}", here());
    if run.code == Some(1) {
        let named = ["disk_full", "permission_denied"];
        let is_named = named.iter().any(|code| run.stderr.contains(&format!("error[{code}]: ")));
        assert!(is_named && run.stderr.contains("; "), "{}", here());
    }
    let told = truth.check(home);
    for row in &told.rows {
        if row["kind"] == "download" && row["state"] != "completed" && row["bytes"].as_u64() > Some(0) {
            // Under its final name, where only the list could not be written any more: `check` has seen that it is whole.
            let path = row["path"].as_str().unwrap();
            let kept = [path, &format!("{path}.ferrypart")].into_iter().any(|path| Path::new(path).is_file());
            assert!(kept, "the part is gone: {row}; {}", here());
        }
    }
    if told.rows.iter().any(|row| row["state"] == "failed") {
        home.ferry(["retry"]).exits(0);
    } else if told.rows.is_empty() {
        home.ferry(words).exits(0);
    } else {
        home.ferry(["resume"]).exits(0);
    }
    run.code == Some(1)
}

#[test]
fn a_download_survives_every_kind_of_disk_error() {
    download_spoiled("download, disk errors", 300_000);
}

#[test]
fn a_short_download_survives_every_kind_of_disk_error() {
    download_spoiled("short download, disk errors", 8_000);
}

fn download_spoiled(test: &str, size: u64) {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let name = |number: usize| format!("{number}.bin");
    spoiled(
        test,
        &home,
        &mut truth,
        name,
        |truth, number| {
            let link = service.link(size, &name(number));
            truth.will_download(&name(number), fetched(&link, &[]));
            vec!["download".into(), link]
        },
        |told, _| assert_eq!(told.rows.len(), 1, "{:?}", told.rows),
    );
}

/// Where no disk with a quota can be made (tests/disk.rs), this is what one says.
#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    for (call, fault) in [("fallocate", None), ("pwrite64", Some(FaultKind::NoLength))] {
        let home = Home::with(&service);
        let part = home.downloads().join("film.bin.ferrypart");
        let quota = strace::spoil_all(&[(call, "error=EDQUOT")], &part);
        if let Some(fault) = fault {
            service.fault(fault);
        }
        let link = service.link(300_000, "film.bin");
        home.ferry_under(&quota, ["download", &link]).exits(1).says_error("disk_full");
        assert_eq!(home.downloaded(), ["film.bin.ferrypart"], "{call}");
        service.heal();
        home.ferry(["retry"]).exits(0);
        assert_holds(&home.downloads().join("film.bin"), &fetched(&link, &[]));
    }
}

/// The system tells once that bytes were lost on their way to the disk; a later sync that succeeds knows nothing of it.
#[test]
fn a_sync_that_fails_in_the_background_is_never_forgotten() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    // For longer than may pass without a sync.
    service.slow(200_000);
    let link = service.link(1_500_000, "film.bin");
    let part = home.downloads().join("film.bin.ferrypart");
    let spoil = strace::spoil_all(&[("fdatasync", "error=EIO:when=1")], &part);
    home.ferry_under(&spoil, ["download", &link, "--retries", "0"]).exits(1);
    assert_eq!(home.downloaded(), ["film.bin.ferrypart"], "it has no final name");
    service.heal();
    home.ferry(["retry"]).exits(0);
    assert_eq!(home.downloaded(), ["film.bin"]);
    assert_holds(&home.downloads().join("film.bin"), &fetched(&link, &[]));
}

/// The same for a file that is written and synced in one go: what can be read back is not what is on the disk.
#[test]
fn a_short_file_whose_sync_failed_is_fetched_again() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let link = service.link(8_000, "note.bin");
    let spoil =
        strace::spoil_all(&[("fsync", "error=EIO:when=1")], &home.downloads().join("note.bin.ferrypart"));
    home.ferry_under(&spoil, ["download", &link, "--retries", "0"]).exits(1);
    assert_eq!(home.downloaded(), ["note.bin.ferrypart"], "it has no final name");
    let asked = || service.requests().iter().filter(|request| request.path.contains("/generate/")).count();
    assert_eq!(asked(), 1);
    home.ferry(["retry"]).exits(0);
    assert_eq!(asked(), 2, "what was read back from memory was taken for what is on the disk");
    assert_holds(&home.downloads().join("note.bin"), &fetched(&link, &[]));
}

/// The writer gives up in the middle; the connections must not go on asking for what has no place.
#[test]
fn a_disk_that_takes_no_more_is_said_at_once_and_the_server_is_left_in_peace() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let part = home.downloads().join("film.bin.ferrypart");
    let full = strace::spoil_all(&[("pwrite64", "error=EDQUOT:when=3+")], &part);
    let link = service.link(24 << 20, "film.bin");
    home.ferry_under(&full, ["download", &link]).exits(1).says_error("disk_full");
    let asked = service.requests().iter().filter(|request| request.path.contains("/generate/")).count();
    assert!(asked <= 2, "{asked} requests");
    home.ferry(["retry"]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &fetched(&link, &[]));
}

/// FAT in user space: no rename that replaces nothing, no second name for a file.
#[test]
fn a_disk_that_knows_neither_safe_renames_nor_links_gets_the_file_and_nothing_is_replaced() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    std::fs::create_dir_all(home.downloads()).unwrap();
    let simple =
        strace::spoil_all(&[("renameat2", "error=EINVAL"), ("linkat", "error=EPERM")], &home.downloads());
    let link = service.link(300_000, "film.bin");
    home.ferry_under(&simple, ["download", &link]).exits(0);
    assert_eq!(home.downloaded(), ["film.bin"]);
    assert_holds(&home.downloads().join("film.bin"), &fetched(&link, &[]));

    // A name that somebody else takes meanwhile stays theirs.
    service.slow(200_000);
    let link = service.link(300_001, "other.bin");
    let mut ferry = home.command_under(&simple, ["download", &link]).spawn().unwrap();
    wait_until("a part", || home.downloads().join("other.bin.ferrypart").exists());
    std::fs::write(home.downloads().join("other.bin"), "somebody else's").unwrap();
    assert!(ferry.wait().unwrap().success());
    assert_eq!(home.downloaded(), ["film.bin", "other (1).bin", "other.bin"]);
    assert_eq!(std::fs::read(home.downloads().join("other.bin")).unwrap(), b"somebody else's");
}

/// Shares and disks in user space that cannot make the names in a folder durable, in each of their words for it. They are
/// disks of their own, beside the one that the data lie on, which can: `EIO` from that one would be a failure (above).
#[test]
fn a_folder_that_is_never_synced_is_no_failure_of_the_file() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    for error in ["EINVAL", "EOPNOTSUPP", "EACCES", "EIO"] {
        let home = Home::with(&service);
        let share = tempfile::tempdir_in("/dev/shm").unwrap();
        let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
        assert_ne!(device(share.path()), device(home.path()), "another disk is needed");
        let never = strace::spoil_all(&[("fsync", &format!("error={error}"))], share.path());
        for (name, size) in [("film.bin", 300_000), ("note.bin", 8_000)] {
            let link = service.link(size, name);
            let to = share.path().to_str().unwrap();
            home.ferry_under(&never, ["download", &link, "--dir", to]).exits(0);
            assert_holds(&share.path().join(name), &fetched(&link, &[]));
        }
        let mut found: Vec<_> =
            std::fs::read_dir(share.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, ["film.bin", "note.bin"], "{error}");
    }
}

/// A disk that has synced a folder can: what it says later is a failure, however often.
#[test]
fn a_folder_whose_sync_fails_on_a_disk_that_can_sync_is_a_failure() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    std::fs::create_dir_all(home.downloads()).unwrap();
    let fails = strace::spoil_all(&[("fsync", "error=EIO")], &home.downloads());
    let link = service.link(300_000, "film.bin");
    home.ferry_under(&fails, ["download", &link]).exits(1).says_error("permission_denied");
    home.ferry(["retry"]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &fetched(&link, &[]));
}

/// A disk of short names that says so only to whoever makes a file.
#[test]
fn a_name_that_is_refused_as_too_long_is_shortened_at_once() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    std::fs::create_dir_all(home.downloads()).unwrap();
    let refused = strace::spoil_all(&[("openat", "error=ENAMETOOLONG:when=1")], &home.downloads());
    let link = service.link(300_000, &format!("{}.tar.gz", "x".repeat(220)));
    home.ferry_under(&refused, ["download", &link]).exits(0);
    let found = home.downloaded();
    assert!(found.len() == 1 && found[0].len() < 220 && found[0].ends_with("xx.tar.gz"), "{found:?}");
    assert_holds(&home.downloads().join(&found[0]), &fetched(&link, &[]));
    let row = home.ferry(["queue", "--json"]).exits(0).objects().remove(0);
    assert!(row["note"].to_string().contains("does not take"), "{row}");
}

/// What some file systems in user space and shares tell: a size of no blocks, which is not a full disk.
#[test]
fn a_disk_that_tells_of_no_blocks_is_not_taken_for_a_full_one() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    std::fs::create_dir_all(home.downloads()).unwrap();
    // The beginning of the answer: its kind (FUSE), its block size (4096), its blocks (none, of which none is free).
    let words = [0x6573_5546_u64, 4096, 0, 0, 0].map(u64::swap_bytes);
    let told: String = words.iter().map(|word| format!("{word:016x}")).collect();
    let none = strace::spoil_all(&[("fstatfs", &format!("poke_exit=@arg2={told}"))], &home.downloads());
    for (name, size) in [("film.bin", 300_000), ("note.bin", 8_000)] {
        let link = service.link(size, name);
        home.ferry_under(&none, ["download", &link]).exits(0);
        assert_holds(&home.downloads().join(name), &fetched(&link, &[]));
    }
}

/// A whole, proven file whose name could not be given needs nobody's answer to get it later.
#[test]
fn a_proven_file_that_got_no_name_gets_it_without_asking_again() {
    if !strace::can_trace() {
        return;
    }
    for fault in [None, Some(FaultKind::NoValidators)] {
        let service = Service::start();
        let home = Home::with(&service);
        let link = service.link(300_000, "film.bin");
        let content = fetched(&link, &[]);
        if let Some(fault) = &fault {
            service.fault(fault.clone());
        }
        let refused = strace::spoil_all(&[("renameat2", "error=EACCES")], &home.downloads());
        std::fs::create_dir_all(home.downloads()).unwrap();
        home.ferry_under(&refused, ["download", &link]).exits(1).says_error("permission_denied");
        assert_eq!(home.downloaded(), ["film.bin.ferrypart"]);
        let asked = service.requests().len();
        home.ferry(["retry"]).exits(0);
        assert_eq!(service.requests().len(), asked, "{fault:?}: nobody was asked");
        assert_eq!(home.downloaded(), ["film.bin"]);
        assert_holds(&home.downloads().join("film.bin"), &content);
    }
}

/// A record beside the list is for downloads that take their time; five thousand small files must not pay for it.
#[test]
fn a_small_download_by_id_costs_no_record_beside_the_list() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", &noise(2, 8000));
    let id = home.ferry(["upload", "a.bin", "--service", "mavi"]).exits(0).asset_ids().remove(0);
    let log = home.path().join("calls");
    let watch = strace::watch(&["openat", "fsync", "fdatasync", "rename"], &log);
    home.ferry_under(&watch, ["download", &id, "--service", "mavi"]).exits(0);
    let calls = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(calls.contains("ferry.db-wal"), "the list is written, and that is seen");
    let written = |call: &&str| !call.contains("openat(") || call.contains("O_CREAT");
    let records: Vec<_> = calls.lines().filter(|call| call.contains("/resume/")).filter(written).collect();
    assert!(records.is_empty(), "{records:?}");
}

#[test]
fn an_upload_survives_every_kind_of_disk_error() {
    if !strace::can_trace() {
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let mut truth = Truth::default();
    let content = |number: usize| noise(number as u64, 300_000);
    spoiled(
        "upload, disk errors",
        &home,
        &mut truth,
        |number| format!("{number}.mp4"),
        |truth, number| {
            let path = home.file(&format!("{number}.mp4"), &content(number));
            truth.stays(&path);
            ["upload", &path.display().to_string(), "--service", "mavi"].map(str::to_owned).into()
        },
        |told, number| {
            let id = told.rows[0]["asset_id"].as_str().unwrap();
            let stored = fetched(&format!("{}/{id}/download", service.mavi_url()), &[("Authorization", KEY)]);
            assert!(stored == content(number), "the service has other bytes");
            let asset = told.assets.iter().find(|asset| asset["asset_id"] == id).unwrap();
            assert_eq!(asset["status"], "confirmed");
        },
    );
}
