//! Row D14: disks that are full, read-only, gone, or do not take files of this size or name.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "only its answers are wanted here")]
#[path = "support/bad_store.rs"]
mod bad_store;
#[path = "support/mod.rs"]
mod support;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bad_store::{BadStore, reply};
use ferry_engine::{DownloadRequest, Engine, Options, State, Transfer, WaitReason};
use ferry_sandbox::FaultKind;
use support::disk::SmallDisk;
use support::files::{assert_holds, names};
use support::home::{Home, wait_until};
use support::http::request;
use support::service::Service;

const MIB: u64 = 1 << 20;

fn reference(link: &str) -> Vec<u8> {
    let (status, body) = request("GET", link, &[], b"");
    assert_eq!(status, 200);
    body
}

/// Nothing under a final name but these.
#[track_caller]
fn only(folder: &Path, whole: &[&str]) {
    let mut found = names(folder);
    found.retain(|name| !name.ends_with(".ferrypart"));
    assert_eq!(found, whole);
}

#[test]
fn a_disk_that_fills_on_the_way_fails_the_download_and_keeps_what_came() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 8) else { return };
    // Without a length the room cannot be reserved: the disk runs full under the writer.
    service.fault(FaultKind::NoLength);
    disk.fill_up_to(2 * MIB);
    let link = service.link(5 * MIB, "film.bin");
    let run = home.ferry(["download", &link, "--dir", "disk"]).exits(1).says_error("disk_full");
    assert!(run.stderr.contains("make room"), "{}", run.stderr);
    only(disk.path(), &["ballast"]);
    assert_eq!(names(disk.path()), ["ballast", "film.bin.ferrypart"], "the part is kept");

    // Full before the first byte.
    home.ferry(["resume"]).exits(1).says_error("disk_full");
    disk.empty();
    service.heal();
    home.ferry(["resume"]).exits(0);
    only(disk.path(), &["film.bin"]);
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk_and_goes_on_with_a_larger_one() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::with_quota(&home.path().join("disk"), 8) else { return };
    // The disk has room, as far as it tells: the quota shows itself when room is reserved, or under the writer.
    for (fault, name) in [(None, "reserved.bin"), (Some(FaultKind::NoLength), "unknown.bin")] {
        if let Some(fault) = fault {
            service.fault(fault);
        }
        let link = service.link(24 * MIB, name);
        let run = home.ferry(["download", &link, "--dir", "disk"]).exits(1).says_error("disk_full");
        assert!(run.stderr.contains("quota"), "{}", run.stderr);
        assert!(names(disk.path()).contains(&format!("{name}.ferrypart")), "the part is kept");
        service.heal();
    }
    only(disk.path(), &[]);
    disk.without_quota();
    home.ferry(["resume"]).exits(0);
    only(disk.path(), &["reserved.bin", "unknown.bin"]);
    for name in ["reserved.bin", "unknown.bin"] {
        assert_holds(&disk.path().join(name), &reference(&service.link(24 * MIB, name)));
    }
}

#[test]
fn somebody_else_fills_the_disk_while_bytes_come_and_room_was_reserved() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 8) else { return };
    service.slow(3 * MIB);
    let link = service.link(4 * MIB, "film.bin");
    let running = home.start(["download", &link, "--dir", "disk"]);
    let part = disk.path().join("film.bin.ferrypart");
    wait_until("room is reserved", || {
        std::fs::metadata(&part).is_ok_and(|part| part.blocks() * 512 >= 4 * MIB)
    });
    disk.fill_up_to(0);
    // What was reserved is ours.
    running.wait().exits(0);
    only(disk.path(), &["ballast", "film.bin"]);
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

/// What a server claims is no reason to take the disk, and what was taken on its word is given back.
#[test]
fn a_length_that_is_claimed_and_never_comes_takes_a_step_of_the_disk_and_gives_it_back() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 256) else { return };
    let link = service.link(200 * MIB, "film.bin");
    let part = disk.path().join("film.bin.ferrypart");
    let taken = || std::fs::metadata(&part).map_or(0, |part| part.blocks() * 512);

    service.slow(256 * 1024);
    let running = home.start(["download", &link, "--dir", "disk"]);
    wait_until("something was written", || taken() > 0);
    assert!(taken() <= 16 * MIB, "{} bytes are set aside for a few", taken());
    running.signal(rustix::process::Signal::INT);
    running.wait();
    assert!(taken() <= 4 * MIB, "{} bytes are kept after the stop", taken());
    home.ferry(["cancel"]).exits(0);

    service.heal();
    service.fault(FaultKind::Cut { after: 2 * MIB });
    let run = home.ferry(["download", &link, "--dir", "disk", "--name", "cut.bin", "--retries", "0"]);
    run.exits(1).says_error("incomplete");
    let part = disk.path().join("cut.bin.ferrypart");
    let kept = std::fs::metadata(&part).unwrap();
    assert!(kept.blocks() * 512 <= 3 * MIB, "{} bytes for {}", kept.blocks() * 512, kept.len());
}

/// Whoever fills a disk to its last byte stops everything else on it.
#[test]
fn a_margin_is_left_on_the_disk() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 100) else { return };
    // It has 100 MiB; 1 of them is the margin.
    disk.fill_up_to(20 * MIB + MIB / 2);
    let known = service.link(20 * MIB, "known.bin");
    home.ferry(["download", &known, "--dir", "disk"]).exits(1).says_error("disk_full");
    home.ferry(["cancel"]).exits(0);
    service.fault(FaultKind::NoLength);
    let unknown = service.link(24 * MIB, "unknown.bin");
    home.ferry(["download", &unknown, "--dir", "disk"]).exits(1).says_error("disk_full");
    let free = rustix::fs::statvfs(disk.path()).unwrap();
    assert!(free.f_bavail * free.f_frsize >= MIB / 2, "{} bytes are left", free.f_bavail * free.f_frsize);
}

/// The list as it came has 16 MiB; as a tree of values it would take a hundred times that.
#[test]
fn a_list_of_millions_of_trifles_takes_no_memory_beyond_its_bytes() {
    let list = format!("[{}{{\"a\":1}}]", "{\"a\":1},".repeat(2 * 1024 * 1024));
    let server = BadStore::start(move |_, _| reply("200 OK", &[("content-type", "application/json")], &list));
    let mut home = Home::new();
    home.set("FERRY_OFFLINE_TUBE_URL", &server.url(""));
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("skipped: there is no prlimit here");
        return;
    }
    let limited = ["prlimit".to_owned(), format!("--data={}", 256 * MIB)];
    let job = "11111111-2222-3333-4444-555555555555";
    let run = home.ferry_under(&limited, ["download", "--service", "offline-tube", job]);
    run.exits(1).says_error("not_found");
}

#[test]
fn a_full_disk_under_the_data_folder_is_said_and_nothing_is_lost() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.data(), 4) else { return };
    home.file("a.bin", b"content");
    home.ferry(["upload", "a.bin", "--service", "mavi"]).exits(0);
    disk.fill_up_to(0);
    let link = service.link(MIB, "film.bin");
    let run = home.ferry(["download", &link]).exits(1);
    assert!(run.stderr.contains("error[disk_full]"), "{}", run.stderr);
    only(&home.downloads(), &[]);
    disk.empty();
    assert_eq!(home.ferry(["assets", "--json"]).exits(0).objects().len(), 1, "the library is whole");
    home.ferry(["download", &link]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
}

#[test]
fn the_window_waits_for_room_and_goes_on_by_itself() {
    let service = Service::start();
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 8) else { return };
    let link = service.link(5 * MIB, "film.bin");
    disk.fill_up_to(MIB);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut options = Options::new(home.data());
        options.resume_unfinished = true;
        let engine = Engine::open(options).await.unwrap();
        let request = DownloadRequest {
            what: link.clone(),
            folder: Some(disk.path().to_owned()),
            ..DownloadRequest::default()
        };
        let id = engine.download(request).await.unwrap();
        let until = async |wanted: &dyn Fn(&Transfer) -> bool| {
            for _ in 0..3000 {
                let row = engine.transfer(id).unwrap();
                if wanted(&row) {
                    return row;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("still {:?}", engine.transfer(id));
        };
        let waiting = |row: &Transfer| row.wait.as_ref().is_some_and(|wait| wait.reason == WaitReason::Space);
        let row = until(&waiting).await;
        assert!(!row.state.has_ended(), "it waits, it has not failed: {row:?}");
        let said = row.wait.unwrap().message();
        assert!(said.contains("room") && said.contains("MB"), "{said}");
        // Long enough to look at the disk more than once: nobody else is asked meanwhile.
        let asked = service.requests().len();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(service.requests().len(), asked, "asked while there was no room");
        disk.empty();
        let row = until(&|row| row.state.has_ended()).await;
        assert_eq!(row.state, State::Completed);
        engine.shutdown().await;
    });
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end_of_the_program() {
    let service = Service::start();
    let home = Home::with(&service);
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("skipped: there is no prlimit here");
        return;
    }
    let limited = ["prlimit", "--fsize=2097152"].map(str::to_owned);
    for (name, fault) in [("known.bin", None), ("unknown.bin", Some(FaultKind::NoLength))] {
        service.heal();
        if let Some(fault) = fault {
            service.fault(fault);
        }
        let link = service.link(4 * MIB, name);
        home.ferry_under(&limited, ["download", &link]).exits(1).says_error("file_too_large");
        only(&home.downloads(), &[]);
        home.ferry(["cancel"]).exits(0);
    }
    // Without the limit what came is gone on with.
    service.heal();
    home.ferry(["retry"]).exits(0);
    for name in ["known.bin", "unknown.bin"] {
        assert_holds(&home.downloads().join(name), &reference(&service.link(4 * MIB, name)));
    }
    // The source of an upload may be as large as it likes: reading has no limit.
    home.file("large.bin", &vec![7; 3 << 20]);
    home.ferry_under(&limited, ["upload", "large.bin", "--service", "mavi"]).exits(0);
}

#[test]
fn a_read_only_disk_is_said_and_gone_on_with_when_it_can_be_written() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.path().join("disk"), 8) else { return };
    let link = service.link(MIB, "film.bin");
    disk.set_read_only(true);
    home.ferry(["download", &link, "--dir", "disk"]).exits(1).says_error("permission_denied");
    disk.set_read_only(false);

    // Writable at first, then not: what came is kept.
    service.fault(FaultKind::Cut { after: 600_000 });
    home.ferry(["download", &link, "--dir", "disk", "--retries", "0"]).exits(1).says_error("incomplete");
    service.heal();
    disk.set_read_only(true);
    home.ferry(["download", &link, "--dir", "disk"]).exits(1).says_error("permission_denied");
    assert_eq!(names(disk.path()), ["film.bin.ferrypart"]);
    disk.set_read_only(false);
    let mark = service.requests().len();
    home.ferry(["download", &link, "--dir", "disk"]).exits(0);
    assert!(service.requests()[mark].range.is_some(), "it went on where it stood");
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

#[test]
fn a_read_only_data_folder_is_said() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = SmallDisk::mount(&home.data(), 4) else { return };
    home.ferry(["queue"]).exits(0);
    disk.set_read_only(true);
    for words in [vec!["queue"], vec!["download", "http://127.0.0.1:1/a"]] {
        let run = home.ferry(words).exits(1).says_error("permission_denied");
        assert!(run.stderr.contains(home.data().to_str().unwrap()), "{}", run.stderr);
    }
}

#[test]
fn a_folder_that_is_deleted_on_the_way_fails_the_download_and_it_can_be_had_again() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(2 * MIB);
    let link = service.link(2 * MIB, "film.bin");
    let running = home.start(["download", &link, "--dir", "gone"]);
    let folder = home.path().join("gone");
    wait_until("bytes are saved", || folder.join("film.bin.ferrypart").exists());
    std::fs::remove_dir_all(&folder).unwrap();
    running.wait().exits(1).says_error("permission_denied");
    assert!(!folder.exists(), "the folder was made again with half a file in it");
    service.heal();
    home.ferry(["retry"]).exits(0);
    assert_holds(&folder.join("film.bin"), &reference(&link));
}

#[test]
fn a_drive_that_is_pulled_on_the_way_is_said_and_gone_on_with_when_it_is_back() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(drive) = SmallDisk::mount(&home.path().join("drive"), 16) else { return };
    let port = home.path().join("media");
    let Some(plugged) = drive.plug_in(&port) else { return };
    service.slow(2 * MIB);
    let link = service.link(4 * MIB, "film.bin");
    let running = home.start(["download", &link, "--dir", "media"]);
    wait_until("bytes are saved", || service.requests().iter().any(|asked| asked.sent > MIB));
    drop(plugged);
    let run = running.wait().exits(1).says_error("permission_denied");
    assert!(run.stderr.contains("no longer there"), "{}", run.stderr);
    only(drive.path(), &[]);
    only(&port, &[]);
    assert_eq!(names(drive.path()), ["film.bin.ferrypart"], "what came is kept");
    // Without it nothing is begun in the folder that it leaves behind.
    home.ferry(["retry"]).exits(1).says_error("permission_denied");
    assert_eq!(names(&port), Vec::<String>::new());

    let Some(_plugged) = drive.plug_in(&port) else { return };
    service.heal();
    let mark = service.requests().len();
    home.ferry(["retry"]).exits(0);
    assert!(service.requests()[mark..].iter().all(|asked| asked.sent < MIB), "it came a second time");
    assert_holds(&port.join("film.bin"), &reference(&link));
}

#[test]
fn a_folder_that_is_swapped_for_a_link_on_the_way_is_not_followed() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(2 * MIB);
    let link = service.link(2 * MIB, "film.bin");
    let (folder, moved, elsewhere) =
        (home.path().join("there"), home.path().join("moved"), home.path().join("elsewhere"));
    std::fs::create_dir(&elsewhere).unwrap();
    let running = home.start(["download", &link, "--dir", "there"]);
    wait_until("bytes are saved", || folder.join("film.bin.ferrypart").exists());
    std::fs::rename(&folder, &moved).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
    running.wait();
    only(&elsewhere, &[]);
    assert_holds(&moved.join("film.bin"), &reference(&link));
}

#[test]
fn a_path_that_is_too_long_is_said() {
    let service = Service::start();
    let home = Home::with(&service);
    let link = service.link(1000, "film.bin");
    let deep = vec!["d".repeat(200); 30].join("/");
    home.ferry(["download", &link, "--dir", &deep]).exits(1).says_error("path_too_long");
    let long = "d".repeat(300);
    home.ferry(["download", &link, "--dir", &long]).exits(1).says_error("path_too_long");
}

#[test]
fn a_place_that_is_no_folder_is_said() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("file", b"mine");
    let link = service.link(1000, "film.bin");
    for place in ["file", "file/below", "/proc/nothing"] {
        let run = home.ferry(["download", &link, "--dir", place]).exits(1).says_error("permission_denied");
        assert!(run.stderr.contains("choose"), "{}", run.stderr);
    }
    assert_holds(&home.path().join("file"), b"mine");
}
