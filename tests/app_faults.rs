//! Rows A1, A2, A7, D16 to D18, and peers that mean harm: what the whole program does when its own files, its
//! surroundings or the other side are not as they should be.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "support/bad_server.rs"]
mod bad_server;
#[path = "support/mod.rs"]
mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bad_server::{BadServer, Step, response};
use ferry_engine::{Code, Engine, Options, Snapshot};
use ferry_sandbox::{Fault, FaultKind};
use support::files::{assert_holds, names, noise};
use support::home::{Home, Run, wait_until};
use support::http::request;
use support::service::Service;

const MIB: u64 = 1 << 20;

/// Opens the home's data folder as the window does, says what it finds, and closes it.
fn snapshot(home: &Home) -> ferry_engine::Result<Snapshot> {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = Engine::open(Options::new(home.data())).await?;
        let snapshot = engine.snapshot();
        engine.shutdown().await;
        Ok(snapshot)
    })
}

fn reference(link: &str) -> Vec<u8> {
    let (status, body) = request("GET", link, &[], b"");
    assert_eq!(status, 200);
    body
}

/// An unfinished download with its part, an unfinished upload with its session, and something in the library.
fn lived_in(service: &Service) -> (Home, String) {
    let home = Home::with(service);
    home.file("sent.bin", b"sent");
    home.ferry(["upload", "sent.bin", "--service", "mavi"]).exits(0);
    home.ferry(["remove"]).exits(0);
    let link = format!("{}?token=1", service.link(MIB, "film.bin"));
    service.fault(FaultKind::Cut { after: 500_000 });
    home.ferry(["download", &link, "--retries", "0"]).exits(1);
    service.heal();
    home.file("up.mp4", &noise(1, 20 << 20));
    service.slow(4 * MIB);
    let running = home.start(["upload", "up.mp4", "--service", "mavi"]);
    let chunks = |request: &ferry_sandbox::Request| {
        request.content_range.as_deref().is_some_and(|range| !range.contains('*'))
            && request.received > 2 * MIB
    };
    wait_until("a session takes bytes", || service.requests().iter().any(chunks));
    running.kill();
    service.heal();
    assert_eq!(names(&home.data().join("resume")).len(), 2);
    (home, link)
}

/// What must be so after the list was lost: told, kept, rebuilt, and it goes on.
fn comes_back(service: &Service, home: &Home, link: &str, told: &[&str]) {
    let signed = || service.requests().iter().filter(|asked| asked.path.ends_with("/signed-url")).count();
    let before = signed();
    let snapshot = snapshot(home).unwrap();
    for word in told {
        assert!(
            snapshot.notices.iter().any(|notice| notice.to_string().contains(word)),
            "“{word}” is not told: {:?}",
            snapshot.notices
        );
    }
    assert_eq!(snapshot.transfers.len(), 2, "{:?}", snapshot.transfers);
    home.ferry(["resume"]).exits(0);
    // How far the part file is proven stands beside the list as well.
    assert_holds(&home.downloads().join("film.bin"), &reference(link));
    assert_eq!(home.downloaded(), ["film.bin"]);
    assert_eq!(signed(), before, "the upload went on with its asset");
    let rows = home.ferry(["queue", "--json"]).exits(0).objects();
    let upload = rows.iter().find(|row| row["kind"] == "upload").unwrap();
    assert_eq!(upload["service"], "mavi");
    assert!(upload["asset_id"].is_string(), "{upload}");
    assert_eq!(names(&home.data().join("resume")), Vec::<String>::new());
    // What was sent in better times is known nowhere else.
    let assets = home.ferry(["assets", "--json"]).exits(0).objects();
    let old = assets.iter().find(|asset| asset["name"] == "sent.bin").unwrap_or_else(|| panic!("{assets:?}"));
    assert_eq!(old["status"], "confirmed");
}

fn kept_aside(home: &Home) -> Vec<String> {
    let mut kept = names(&home.data());
    kept.retain(|name| {
        name.starts_with("ferry.db.broken-") && !name.ends_with("-wal") && !name.ends_with("-shm")
    });
    kept
}

#[test]
fn a2_a_list_that_is_garbage_is_kept_aside_told_and_rebuilt() {
    let service = Service::start();
    let (home, link) = lived_in(&service);
    for suffix in ["", "-wal", "-shm"] {
        let file = home.data().join(format!("ferry.db{suffix}"));
        if file.exists() {
            std::fs::write(&file, noise(3, 50_000)).unwrap();
        }
    }
    comes_back(&service, &home, &link, &["damaged", "kept as"]);
    assert_eq!(kept_aside(&home).len(), 1);
    assert_holds(&home.data().join(&kept_aside(&home)[0]), &noise(3, 50_000));
}

#[test]
fn a2_a_list_that_is_damaged_in_the_middle_is_kept_aside_told_and_rebuilt() {
    let service = Service::start();
    let (home, link) = lived_in(&service);
    let file = home.data().join("ferry.db");
    checkpoint(&file);
    let mut bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 3 * 4096, "{}", bytes.len());
    let length = bytes.len();
    bytes[4096..length].copy_from_slice(&noise(4, length - 4096));
    std::fs::write(&file, bytes).unwrap();
    comes_back(&service, &home, &link, &["damaged", "kept as"]);
    assert_eq!(kept_aside(&home).len(), 1);
}

#[test]
fn a2_a_list_that_was_cut_off_is_kept_aside_told_and_rebuilt() {
    for keep in [0, 100, 5000] {
        let service = Service::start();
        let (home, link) = lived_in(&service);
        let file = home.data().join("ferry.db");
        checkpoint(&file);
        std::fs::File::options().write(true).open(&file).unwrap().set_len(keep).unwrap();
        comes_back(&service, &home, &link, &["kept as"]);
        assert_eq!(kept_aside(&home).len(), 1, "cut to {keep}");
    }
}

/// A kill, or only an error, and then the list is gone: the download comes back with what its part file proves.
#[test]
fn a2_a_download_by_id_outlives_the_list_and_goes_on_with_its_part() {
    for killed in [false, true] {
        let service = Service::start();
        let home = Home::with(&service);
        let film = noise(6, 3 << 20);
        home.file("film.bin", &film);
        let id = home.ferry(["upload", "film.bin", "--service", "mavi"]).exits(0).asset_ids().remove(0);
        let download = ["download", &id, "--service", "mavi", "--retries", "0", "--connections", "1"];
        if killed {
            // Longer than the five seconds after which data is synced.
            service.slow(400_000);
            let running = home.start(download);
            wait_until("it is kept beside the list", || {
                names(&home.data().join("resume")).iter().any(|name| name.parse::<u64>().is_ok())
            });
            running.kill();
        } else {
            service.fault(FaultKind::Cut { after: 2 * MIB });
            home.ferry(download).exits(1).says_error("incomplete");
        }
        service.heal();
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(home.data().join(format!("ferry.db{suffix}")));
        }
        let snapshot = snapshot(&home).unwrap();
        let [row] = &snapshot.transfers[..] else { panic!("{:?}", snapshot.transfers) };
        assert_eq!((row.name.as_str(), row.total), ("film.bin", Some(3 * MIB)), "killed: {killed}");
        assert!(row.bytes > MIB, "killed: {killed}: {row:?}");
        let mark = service.requests().len();
        home.ferry(["resume"]).exits(0);
        let asked = service.requests().split_off(mark);
        assert_eq!(asked[0].range, Some(format!("bytes={}-", row.bytes)), "killed: {killed}: {asked:?}");
        assert_holds(&home.downloads().join("film.bin"), &film);
        assert_eq!(home.downloaded(), ["film.bin"], "killed: {killed}");
        assert_eq!(names(&home.data().join("resume")), Vec::<String>::new(), "killed: {killed}");
    }
}

#[test]
fn a2_a_part_that_was_touched_after_the_list_was_lost_is_found_out() {
    let service = Service::start();
    let home = Home::with(&service);
    let link = service.link(MIB, "film.bin");
    service.fault(FaultKind::Cut { after: 500_000 });
    home.ferry(["download", &link, "--retries", "0"]).exits(1);
    service.heal();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(home.data().join(format!("ferry.db{suffix}")));
    }
    let part = home.downloads().join("film.bin.ferrypart");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    home.ferry(["resume"]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
    assert_eq!(home.downloaded(), ["film.bin", "film.bin.old.ferrypart"], "what was touched is kept aside");
}

/// As after a newer Ferry, which knows states that this one does not.
#[test]
fn a2_a_transfer_that_cannot_be_read_is_told_and_comes_back_from_what_is_kept_for_it() {
    let service = Service::start();
    for damage in [
        r#"row = replace(row, '"failed"', '"postponed"')"#,
        // A flipped byte: no text any more.
        "row = CAST(x'7b22ff227d' AS TEXT)",
        "task = CAST(x'7b22ff227d' AS TEXT)",
    ] {
        damaged_row(&service, damage);
    }
}

fn damaged_row(service: &Service, damage: &str) {
    let home = Home::with(service);
    let link = service.link(MIB, "film.bin");
    for (link, name) in [(&link, "film.bin"), (&service.link(MIB, "other.bin"), "other.bin")] {
        service.fault(Fault::new(FaultKind::Cut { after: 500_000 }).once());
        home.ferry(["download", link, "--retries", "0"]).exits(1);
        assert!(home.downloaded().contains(&format!("{name}.ferrypart")));
    }
    let connection = rusqlite::Connection::open(home.data().join("ferry.db")).unwrap();
    let update = format!("UPDATE transfers SET {damage} WHERE row LIKE '%film.bin%'");
    assert_eq!(connection.execute(&update, []).unwrap(), 1, "{damage}");
    drop(connection);
    let snapshot = snapshot(&home).unwrap();
    assert!(
        snapshot.notices.iter().any(|notice| notice.to_string().contains("could not be read")),
        "{:?}",
        snapshot.notices
    );
    assert_eq!(snapshot.transfers.len(), 2, "{:?}", snapshot.transfers);
    home.ferry(["retry"]);
    home.ferry(["resume"]).exits(0);
    assert_eq!(home.downloaded(), ["film.bin", "other.bin"]);
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
}

#[test]
fn a2_a_list_that_is_gone_is_told_and_rebuilt() {
    let service = Service::start();
    let (home, link) = lived_in(&service);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(home.data().join(format!("ferry.db{suffix}")));
    }
    comes_back(&service, &home, &link, &["list of transfers"]);
}

/// Puts everything into the one file, as after an orderly end.
fn checkpoint(file: &Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[test]
fn a2_a_list_of_a_newer_ferry_is_left_alone_and_said() {
    let service = Service::start();
    let (home, link) = lived_in(&service);
    let file = home.data().join("ferry.db");
    let set = |version: i64| {
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    };
    let before: i64 = {
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    set(before + 100);
    let error = snapshot(&home).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
    let run = home.ferry(["queue"]).exits(1).says_error("unsupported");
    assert!(run.stderr.contains("newer Ferry"), "{}", run.stderr);
    assert_eq!(kept_aside(&home), Vec::<String>::new(), "nothing was touched");
    assert_eq!(names(&home.data().join("resume")).len(), 2, "what is secret waits as well");
    set(before);
    comes_back(&service, &home, &link, &[]);
}

#[test]
fn a2_settings_that_cannot_be_read_are_kept_aside_and_told() {
    let home = Home::new();
    home.ferry(["queue"]).exits(0);
    let file = home.data().join("settings.json");
    let all = ["", "{", "null", "[]", "\u{0}", r#"{"concurrent_downloads":"many"}"#, r#"{"retries":-1}"#];
    for broken in all {
        std::fs::write(&file, broken).unwrap();
        let told = snapshot(&home).unwrap().notices;
        assert!(told.iter().any(|notice| notice.to_string().contains("settings")), "{broken:?}: {told:?}");
        let kept = names(&home.data()).into_iter().any(|name| {
            name.starts_with("settings.json.broken")
                && std::fs::read(home.data().join(name)).unwrap() == broken.as_bytes()
        });
        assert!(kept, "{broken:?} is not kept: {:?}", names(&home.data()));
    }
    let aside = names(&home.data()).into_iter().filter(|name| name.starts_with("settings.json.broken"));
    assert_eq!(aside.count(), all.len(), "one took the place of another");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    let told = snapshot(&home).unwrap().notices;
    assert!(told.iter().any(|notice| notice.to_string().contains("settings")), "{told:?}");
}

/// The data folder that a Ferry of November 2026 left behind when it was killed, with its user's Downloads. Where its user
/// lived, this home is now.
fn data_of_2026_11() -> Home {
    const LIVED: &str = "/tmp/ferry-data-2026-11/ada";
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data-2026-11");
    let home = Home::new();
    let lives = home.path().to_str().unwrap();
    let moved = |text: Vec<u8>| match String::from_utf8(text) {
        Ok(text) => text.replace(LIVED, lives).into_bytes(),
        Err(other) => other.into_bytes(),
    };
    let mut folders =
        vec![(fixture.join("data"), home.data()), (fixture.join("Downloads"), home.downloads())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).unwrap();
        std::fs::set_permissions(&to, Permissions::from_mode(0o700)).unwrap();
        for entry in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type().unwrap().is_dir() {
                folders.push((from, to));
                continue;
            }
            std::fs::write(&to, moved(std::fs::read(&from).unwrap())).unwrap();
            std::fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
        }
    }
    let list = rusqlite::Connection::open(home.data().join("ferry.db")).unwrap();
    let moved = "UPDATE transfers SET row = replace(row, ?1, ?2), task = replace(task, ?1, ?2)";
    assert_eq!(list.execute(moved, [LIVED, lives]).unwrap(), 10);
    list.close().unwrap();
    home
}

#[test]
fn a_data_folder_of_november_2026_opens_with_everything_in_it() {
    let home = data_of_2026_11();
    let settings = std::fs::read(home.data().join("settings.json")).unwrap();
    let settings: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&settings).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut options = Options::new(home.data());
        options.keychain = false;
        let engine = Engine::open(options).await.unwrap();
        assert!(engine.notices().is_empty(), "{:?}", engine.notices());
        let rows = engine.transfers(|_| true);
        let states: Vec<_> =
            rows.iter().map(|row| (row.id.0, &*row.service, &*row.name, row.state.word())).collect();
        let expected = [
            (1, "sandbox", "sea, über.txt", "completed"),
            (2, "sandbox", "sea, über.txt", "completed"),
            (3, "sandbox", "sea, über.txt", "completed"),
            (4, "link", "gone.bin", "failed"),
            (5, "link", "canceled.bin", "canceled"),
            (6, "link", "paused.bin", "paused"),
            (7, "link", "other.txt", "failed"),
            (8, "link", "cut off.bin", "queued"),
            (9, "sandbox", "half.txt", "queued"),
            (10, "mavi", "other.txt", "failed"),
        ];
        assert_eq!(states, expected);
        let said = |id: usize| match &rows[id - 1].state {
            ferry_engine::State::Failed(failure) => failure.message(),
            _ => rows[id - 1].note.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        assert_eq!(said(3), "Sent before; Sandbox still has it, nothing was sent again");
        assert!(said(4).contains("does not have this item") && said(10).contains("needs a key"));
        for row in &rows {
            assert!(!engine.timeline(row.id).await.unwrap().is_empty(), "the history of {}", row.name);
        }
        // What had arrived of the unfinished ones is known, and the part is there.
        for row in [&rows[5], &rows[7]] {
            let pieces = engine.pictures(row.id).await.unwrap().pieces;
            assert!(pieces.iter().any(|piece| piece.end - piece.start > 10_000), "{}: {pieces:?}", row.name);
            let part = home.downloads().join(format!("{}.ferrypart", row.name));
            assert!(part.is_file(), "{}", part.display());
        }
        let assets = engine.assets("UBER").await.unwrap();
        assert_eq!((assets.len(), &*assets[0].name, assets[0].size), (1, "sea, über.txt", Some(21)));
        assert_eq!(engine.asset_count().await.unwrap(), 2);
        let now = serde_json::to_value(engine.settings()).unwrap();
        assert!(settings.len() >= 27);
        for (field, value) in &settings {
            assert_eq!(now.get(field), Some(value), "{field}");
        }
        engine.shutdown().await;
    });
    // The library comes back from its copy, and what was unfinished from what is kept in secret.
    for name in ["ferry.db", "ferry.db-wal", "ferry.db-shm"] {
        let _ = std::fs::remove_file(home.data().join(name));
    }
    let found = snapshot(&home).unwrap();
    let names: Vec<&str> = found.transfers.iter().map(|row| &*row.name).collect();
    assert!(
        names.contains(&"paused.bin") && names.contains(&"cut off.bin") && names.contains(&"half.txt"),
        "{names:?}"
    );
    let told: Vec<String> = found.notices.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|notice| notice.contains("library came back from its copy, with 2 assets")),
        "{told:?}"
    );
}

#[test]
fn a2_secrets_that_cannot_be_read_fail_only_their_own_transfer() {
    let service = Service::start();
    let (home, _) = lived_in(&service);
    let resume = home.data().join("resume");
    for (name, bytes) in names(&resume).iter().zip([&b"{"[..], b"\xff\x00"]) {
        std::fs::write(resume.join(name), bytes).unwrap();
    }
    let other = service.link(1000, "other.bin");
    home.ferry(["download", &other]).exits(0);
    let run = home.ferry(["resume"]);
    assert!(
        !run.stderr.contains("panicked") && run.stderr.contains("paste the link again"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_a_crash_left_half_written_in_secret_is_cleared_away() {
    let home = Home::new();
    home.ferry(["queue"]).exits(0);
    let resume = home.data().join("resume");
    for name in ["1.new", "7", ".7.123.new"] {
        std::fs::write(resume.join(name), br#"{"url":"http://a.example/?token=marked5ecret"}"#).unwrap();
    }
    // Of a newer Ferry, perhaps: not this one's to take away.
    std::fs::write(resume.join("7.of-a-newer"), b"x").unwrap();
    home.ferry(["queue"]).exits(0);
    assert_eq!(names(&resume), ["7.of-a-newer"]);
}

#[test]
fn of_many_links_that_were_lost_a_few_are_named() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(1000);
    let links: Vec<String> =
        (0..5).map(|number| format!("{}?key=1", service.link(MIB, &format!("film {number}.bin")))).collect();
    let running = home.start(["download"].into_iter().chain(links.iter().map(String::as_str)));
    wait_until("all are written down", || names(&home.data().join("resume")) == ["1-5"]);
    running.kill();
    std::fs::remove_file(home.data().join("resume/1-5")).unwrap();
    let run = home.ferry(["queue"]);
    let told = run.stderr.lines().find(|line| line.contains("links were kept")).unwrap_or_default();
    assert!(
        told.contains("film 2.bin`") && told.contains(" and 2 more") && !told.contains("film 3"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_library_is_exported_without_touching_what_lies_beside_it() {
    let home = Home::new();
    let beside = ["library.new", "library.csv.new", "library"].map(|name| home.file(name, b"mine"));
    home.ferry(["assets", "--export", "library.csv"]).exits(0);
    for file in &beside {
        assert_holds(file, b"mine");
    }
    assert!(home.path().join("library.csv").is_file());
}

#[test]
fn a1_a_second_process_is_served_and_no_engine_but_the_first_touches_the_folder() {
    let service = Service::start();
    let home = Home::with(&service);
    // It lasts longer than all that is tried meanwhile, and is ended by the test.
    service.slow(MIB);
    let link = service.link(600 * MIB, "film.bin");
    let mut running = home.start(["download", &link]);
    let sent = || service.requests().iter().map(|asked| asked.sent).sum::<u64>();
    wait_until("bytes flow", || sent() > 0);
    let error = snapshot(&home).unwrap_err();
    assert_eq!(error.code(), Code::BusyDataDir, "{error}");
    for words in [vec!["queue"], vec!["assets"], vec!["services"]] {
        home.ferry(words).exits(0);
    }
    let before = sent();
    wait_until("the first goes on", || sent() > before + MIB);
    assert!(!running.has_ended());
    running.kill();
    // The lock of a killed process does not outlive it.
    assert_eq!(snapshot(&home).unwrap().transfers.len(), 1);
}

#[test]
fn a7_without_a_keychain_the_variable_works_and_a_key_is_kept_for_the_run_only() {
    let service = Service::start();
    let home = Home::with(&service);
    home.ferry(["check", "mavi"]).exits(0);
    let bare = Home::new();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut options = Options::new(bare.data());
        options.keychain = false;
        let engine = Engine::open(options).await.unwrap();
        let state = engine.set_key("mavi", ferry_engine::Secret::new("sk-1")).await.unwrap();
        let said = engine.services().into_iter().find(|service| service.id == "mavi").unwrap();
        assert_eq!(said.key, state, "where the key is, is said openly");
        assert_eq!(state, ferry_engine::KeyState::Memory);
        engine.remove_key("mavi").await.unwrap();
        let said = engine.services().into_iter().find(|service| service.id == "mavi").unwrap();
        assert_eq!(said.key, ferry_engine::KeyState::Missing);
        engine.shutdown().await;
    });
}

/// `ferry` within a desktop session of its own whose keychain is in the home: unlocked with its password, or locked.
/// Without the programs for it the test says so, and ends.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn with_keychain(home: &mut Home, unlocked: bool) -> Option<Vec<String>> {
    for program in ["dbus-run-session", "gnome-keyring-daemon"] {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: there is no {program} here");
            return None;
        }
    }
    let runtime = home.path().join("runtime");
    std::fs::create_dir_all(&runtime).unwrap();
    home.set("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
    let start = if unlocked {
        "printf password | gnome-keyring-daemon --unlock --components=secrets"
    } else {
        "gnome-keyring-daemon --start --components=secrets"
    };
    // The daemon must not hold the pipes that the test reads to their end.
    let script = format!("{start} >/dev/null 2>&1; printf %s \"$TYPED\" | \"$@\"");
    Some(["dbus-run-session", "--", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec())
}

#[cfg(target_os = "linux")]
#[test]
fn a7_an_unlocked_keychain_keeps_a_key_from_run_to_run_until_it_is_removed() {
    let service = Service::start();
    let mut home = Home::new();
    home.set("FERRY_MAVI_URL", &service.mavi_url());
    home.set("TYPED", support::service::KEY);
    let Some(session) = with_keychain(&mut home, true) else { return };
    home.ferry_under(&session, ["check", "mavi"]).exits(1).says_error("unauthorized");
    home.ferry_under(&session, ["key", "set", "mavi"]).exits(0).hides(support::service::KEY);
    let run = home.ferry_under(&session, ["services"]).exits(0);
    assert!(run.stdout.contains("key in the keychain"), "{}", run.stdout);
    home.ferry_under(&session, ["check", "mavi"]).exits(0);
    for file in support::files::all_below(home.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let key = support::service::KEY.as_bytes();
        assert!(!bytes.windows(key.len()).any(|window| window == key), "the key lies in {}", file.display());
    }
    home.ferry_under(&session, ["key", "remove", "mavi"]).exits(0);
    home.ferry_under(&session, ["check", "mavi"]).exits(1).says_error("unauthorized");
}

/// Another base URL in the settings, as a page gone bad or a planted file writes it.
fn readdress(home: &Home, mavi_url: &str) {
    std::fs::create_dir_all(home.data()).unwrap();
    let settings = ferry_engine::Settings::default().with("mavi_url", mavi_url);
    std::fs::write(home.data().join("settings.json"), serde_json::to_vec(&settings).unwrap()).unwrap();
}

#[test]
fn a_planted_address_gets_no_key_from_a_variable() {
    let stranger = Service::start();
    let mut home = Home::new();
    home.set("FERRY_MAVI_KEY", support::service::KEY);
    readdress(&home, &stranger.mavi_url());
    home.file("a.bin", &noise(1, 1000));
    for words in [
        &["check", "mavi"][..],
        &["upload", "a.bin", "--service", "mavi"],
        &["download", "re_0123456789", "--service", "mavi"],
        &["assets", "info", "re_0123456789", "--service", "mavi"],
        &["assets", "delete", "re_0123456789", "--yes", "--service", "mavi"],
    ] {
        let run = home.ferry(words).exits(1).says_error("unauthorized").hides(support::service::KEY);
        assert!(run.stderr.contains("no key for this address"), "{words:?}: {}", run.stderr);
    }
    assert_eq!(stranger.requests().len(), 0, "nobody there was to be asked");
    // The same address by the variable is the user's own word.
    home.set("FERRY_MAVI_URL", &stranger.mavi_url());
    home.ferry(["check", "mavi"]).exits(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_in_the_keychain_belongs_to_the_address_that_it_was_given_for() {
    let (service, stranger) = (Service::start(), Service::start());
    let mut home = Home::new();
    home.set("TYPED", support::service::KEY);
    let Some(session) = with_keychain(&mut home, true) else { return };
    readdress(&home, &service.mavi_url());
    let run = home.ferry_under(&session, ["key", "set", "mavi"]).exits(0).hides(support::service::KEY);
    assert!(run.stderr.contains(&service.mavi_url()), "it says for which address: {}", run.stderr);
    home.ferry_under(&session, ["check", "mavi"]).exits(0);
    readdress(&home, &stranger.mavi_url());
    let run = home.ferry_under(&session, ["check", "mavi"]).exits(1).says_error("unauthorized");
    assert!(run.stderr.contains("no key for this address"), "{}", run.stderr);
    let run = home.ferry_under(&session, ["services"]).exits(0);
    assert!(run.stdout.contains(&format!("key for {}", service.origin())), "{}", run.stdout);
    assert_eq!(stranger.requests().len(), 0, "nobody there was to be asked");
    readdress(&home, &service.mavi_url());
    home.ferry_under(&session, ["check", "mavi"]).exits(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a7_a_locked_keychain_is_said_and_the_variable_works() {
    let service = Service::start();
    let mut home = Home::new();
    home.set("FERRY_MAVI_URL", &service.mavi_url());
    home.set("TYPED", support::service::KEY);
    let Some(unlocked) = with_keychain(&mut home, true) else { return };
    home.ferry_under(&unlocked, ["key", "set", "mavi"]).exits(0);
    let Some(locked) = with_keychain(&mut home, false) else { return };
    // Another key is not kept, and that is no success.
    let run = home.ferry_under(&locked, ["key", "set", "mavi"]).exits(1).says_error("unsupported");
    assert!(run.stderr.contains("unlock the keychain"), "{}", run.stderr);
    let run = home.ferry_under(&locked, ["check", "mavi"]).exits(1).says_error("unauthorized");
    assert!(run.took < Duration::from_secs(20), "a locked keychain held it up for {:?}", run.took);
    // To say that it is forgotten would be a lie: it is there again when the keychain is unlocked.
    home.ferry_under(&locked, ["key", "remove", "mavi"]).exits(1);
    home.set("FERRY_MAVI_KEY", support::service::KEY);
    home.ferry_under(&locked, ["check", "mavi"]).exits(0);
}

#[test]
fn u10_a_large_folder_is_counted_beside_everything_else_and_a_file_given_twice_is_one() {
    const FILES: u64 = 20_000;
    let home = Home::new();
    for number in 0..FILES {
        let folder = home.path().join(format!("many/{}", number % 40));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(number.to_string()), b"x").unwrap();
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let engine = Engine::open(Options::new(home.data())).await.unwrap();
        let counting = engine.summarise(vec![home.path().join("many")]);
        let ticking = async {
            let mut longest = Duration::ZERO;
            loop {
                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                longest = began.elapsed().max(longest);
                if longest > Duration::from_secs(2) {
                    break;
                }
            }
        };
        tokio::select! {
            counted = counting => {
                let counted = counted.unwrap();
                assert_eq!((counted.files, counted.folders, counted.bytes), (FILES, 1, FILES));
            }
            () = ticking => panic!("everything else stood still while files were counted"),
        }
        let request = ferry_engine::UploadRequest {
            paths: vec![home.path().join("many/0/0")],
            service: Some("sandbox".into()),
            ..ferry_engine::UploadRequest::default()
        };
        engine.pause(&engine.upload(request.clone()).await.unwrap()).await.unwrap();
        let again = engine.upload(request).await.unwrap();
        assert_eq!(engine.snapshot().transfers.len(), 1, "the same file twice is one transfer");
        engine.cancel(&again).await.unwrap();
        engine.shutdown().await;
    });
}

// ---- the data folder is the user's own, or Ferry does not start ----

/// Nobody that this machine knows.
const STRANGER: u32 = 54_321;

/// What somebody else does on this machine; only root can try that.
fn as_stranger(script: &str) -> std::process::Output {
    use std::os::unix::process::CommandExt as _;
    assert!(support::peers::is_root(), "only root can be somebody else");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).uid(STRANGER).gid(STRANGER).current_dir("/").output().unwrap()
}

/// Only root can; whoever tests without it is told so.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn can_be_somebody_else() -> bool {
    if !support::peers::is_root() {
        eprintln!("skipped: only root can be another user");
    }
    support::peers::is_root()
}

fn give(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A home that others can look into, as most are.
fn open_home(service: &Service) -> Home {
    let home = Home::with(service);
    give(home.path(), 0o755);
    home
}

#[test]
fn what_another_user_planted_in_an_open_data_folder_sends_nothing() {
    if !can_be_somebody_else() {
        return;
    }
    let service = Service::start();
    let home = open_home(&service);
    let private = home.file("private.txt", b"for my eyes only");
    let (data, url) = (home.data(), service.signed_url("x.bin").0);
    std::fs::create_dir(&data).unwrap();
    give(&data, 0o777);
    let record = serde_json::json!({
        "url": url, "service": "link",
        "task": {"upload": {"path": private, "to_own_url": true}},
    });
    let shown = data.display();
    let planted = as_stranger(&format!(
        "mkdir {shown}/resume && printf '%s' '{record}' > {shown}/resume/7 && chmod -R a+rwX {shown}/resume && \
         printf '%s' '{{\"retries\": 77}}' > {shown}/settings.json"
    ));
    assert!(planted.status.success(), "{planted:?}");
    let asked = service.requests().len();
    let run = home.ferry(["resume"]).exits(1).says_error("permission_denied");
    assert!(run.stderr.contains(&format!("chmod 700 {shown}")), "{}", run.stderr);
    // The folder alone is not all: what was put there is still there.
    give(&data, 0o700);
    for _ in 0..2 {
        let run = home.ferry(["resume"]).exits(1).says_error("permission_denied");
        assert!(run.stderr.contains("belongs to another user"), "{}", run.stderr);
        let named = |name: &&str| run.stderr.contains(&format!("rm -r {}", data.join(name).display()));
        match ["resume", "settings.json"].into_iter().find(named) {
            Some("resume") => std::fs::remove_dir_all(data.join("resume")).unwrap(),
            Some(file) => std::fs::remove_file(data.join(file)).unwrap(),
            None => panic!("it names nothing that was planted: {}", run.stderr),
        }
    }
    home.ferry(["resume"]).exits(0);
    assert_eq!(service.requests().len(), asked, "nobody was asked for anything");
}

#[test]
fn a_record_that_was_planted_while_the_folders_were_open_does_not_count_once_they_are_closed() {
    if !can_be_somebody_else() {
        return;
    }
    let service = Service::start();
    let home = open_home(&service);
    let private = home.file("private.txt", b"for my eyes only");
    let data = home.data();
    home.ferry(["queue"]).exits(0);
    for folder in [data.clone(), data.join("resume")] {
        give(&folder, 0o777);
    }
    let record = serde_json::json!({
        "url": service.signed_url("x.bin").0, "service": "link",
        "task": {"upload": {"path": private, "to_own_url": true}},
    });
    let planted = data.join("resume/77");
    let shown = planted.display();
    let done = as_stranger(&format!("printf '%s' '{record}' > {shown} && chmod a+rw {shown}"));
    assert!(done.status.success(), "{done:?}");
    let asked = service.requests().len();
    let run = home.ferry(["resume"]).exits(1).says_error("permission_denied");
    assert!(run.stderr.contains(&format!("chmod 700 {}", data.display())), "{}", run.stderr);
    // As it was told. Then all of it, as somebody careful would.
    for closed in [vec![&data], vec![&data, &planted]] {
        for place in closed {
            give(place, 0o700);
        }
        give(&data.join("resume"), 0o700);
        for _ in 0..2 {
            let run = home.ferry(["resume"]).exits(1).says_error("permission_denied");
            assert!(run.stderr.contains(&format!("rm -r {shown}")), "{}", run.stderr);
        }
    }
    std::fs::remove_file(&planted).unwrap();
    home.ferry(["resume"]).exits(0);
    assert_eq!(service.requests().len(), asked, "nobody was asked for anything");
}

#[test]
fn a_command_that_is_advised_names_the_very_file() {
    if !can_be_somebody_else() {
        return;
    }
    let service = Service::start();
    let home = open_home(&service);
    home.ferry(["queue"]).exits(0);
    // Cleaned as words for a screen are, its name is that of the other one.
    let (theirs, mine) = (home.data().join("no\u{200b}tes"), home.data().join("notes"));
    std::fs::write(&theirs, "").unwrap();
    std::fs::write(&mine, "").unwrap();
    std::os::unix::fs::chown(&theirs, Some(STRANGER), Some(STRANGER)).unwrap();
    let run = home.ferry(["queue"]).exits(1).says_error("permission_denied");
    let (_, command) = run.stderr.split_once("run `").unwrap();
    let (command, _) = command.split_once('`').unwrap();
    assert!(std::process::Command::new("bash").args(["-c", command]).status().unwrap().success());
    assert!(!theirs.exists() && mine.exists(), "{command}");
    home.ferry(["queue"]).exits(0);
}

#[test]
fn a_data_folder_of_another_user_or_in_such_a_place_is_refused() {
    if !can_be_somebody_else() {
        return;
    }
    let service = Service::start();
    let mut home = open_home(&service);
    let theirs = home.path().join("theirs");
    std::fs::create_dir_all(theirs.join("data")).unwrap();
    // As root in somebody else's home (`sudo ferry`), and as somebody else in what root has made.
    for place in [theirs.join("data"), theirs.clone()] {
        std::os::unix::fs::chown(&place, Some(STRANGER), Some(STRANGER)).unwrap();
        home.set("FERRY_DATA_DIR", theirs.join("data").to_str().unwrap());
        let run = home.ferry(["queue"]).exits(1).says_error("permission_denied");
        assert!(!theirs.join("data/ferry.db").exists(), "nothing was made there");
        std::os::unix::fs::chown(&place, Some(0), Some(0)).unwrap();
        assert!(run.stderr.contains("another user") || run.stderr.contains("chmod go-w"), "{}", run.stderr);
    }
    home.ferry(["queue"]).exits(0);
    give(&theirs, 0o777);
    let run = home.ferry(["queue"]).exits(1).says_error("permission_denied");
    assert!(run.stderr.contains(&format!("chmod go-w {}", theirs.display())), "{}", run.stderr);
    give(&theirs, 0o1777);
    home.ferry(["queue"]).exits(0);
}

#[test]
fn nobody_else_reads_what_ferry_keeps_whatever_the_umask_and_whatever_an_earlier_one_left() {
    use std::os::unix::fs::MetadataExt as _;
    let service = Service::start();
    let home = open_home(&service);
    home.file("a.bin", &noise(1, 300_000));
    let umask = ["sh", "-c", "umask 000; exec \"$@\"", "sh"].map(str::to_owned);
    let for_owner_only = |what: &str| {
        for path in support::files::all_below(&home.data()) {
            let facts = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(facts.mode() & 0o077, 0, "{what}: {}", path.display());
        }
        assert_eq!(std::fs::metadata(home.data()).unwrap().mode() & 0o777, 0o700, "{what}");
    };
    home.ferry_under(&umask, ["upload", "a.bin", "--service", "mavi"]).exits(0);
    service.fault(FaultKind::Cut { after: 1000 });
    let link = service.link(100_000, "b.bin");
    home.ferry_under(&umask, ["download", &link, "--retries", "0"]).exits(1);
    service.heal();
    for_owner_only("made with an open umask");
    // An earlier one, whose folder everybody can read.
    for path in support::files::all_below(&home.data()) {
        give(&path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    give(&home.data(), 0o755);
    if support::peers::is_root() {
        assert!(as_stranger(&format!("cat {}", home.data().join("ferry.db").display())).status.success());
    }
    home.ferry(["queue"]).exits(0);
    for_owner_only("left open by an earlier one");
    if support::peers::is_root() {
        for name in ["ferry.db", "library.jsonl", "lock"] {
            let read = as_stranger(&format!("cat {}", home.data().join(name).display()));
            assert!(!read.status.success(), "{name} can be read by anybody");
        }
    }
}

#[test]
fn an_export_overwrites_no_file_that_a_planted_link_leads_to() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", &noise(1, 1000));
    home.ferry(["upload", "a.bin", "--service", "mavi"]).exits(0);
    let precious = home.file(".bashrc", b"precious");
    for name in ["lib.csv", "lib.csv.ferry-new", "lib.csv.tmp", "lib.json", "lib.json.ferry-new"] {
        std::os::unix::fs::symlink(&precious, home.path().join(name)).unwrap();
    }
    for name in ["lib.csv", "lib.json"] {
        home.ferry(["assets", "--export", name]).exits(0);
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious", "{name}");
        assert!(!home.path().join(name).is_symlink());
        assert!(std::fs::read_to_string(home.path().join(name)).unwrap().contains("a.bin"));
    }
}

// ---- what leaves this computer was chosen ----

#[test]
fn a_folder_with_links_sends_its_own_files_and_says_what_was_left_out() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("films/a.mp4", &noise(1, 1000));
    home.file(".ssh/id_rsa", b"a very private key");
    for (target, link) in
        [("../.ssh/id_rsa", "films/b.mp4"), ("../.ssh", "films/more"), ("a.mp4", "films/c.mp4")]
    {
        std::os::unix::fs::symlink(target, home.path().join(link)).unwrap();
    }
    let stored = || service.requests().iter().filter(|asked| asked.path.contains("signed-url")).count();
    let run = home.ferry(["upload", "films", "--service", "mavi"]).exits(0);
    assert_eq!((run.asset_ids().len(), stored()), (1, 1), "{}", run.stdout);
    assert!(run.stderr.contains("3 links left out: "), "{}", run.stderr);
    let run = home.ferry(["upload", "films", "--service", "mavi", "--follow-links", "--json"]).exits(0);
    let objects = run.objects();
    let left = objects.iter().find(|object| object["event"] == "left_out").unwrap();
    assert_eq!((&left["reason"], &left["count"]), (&"link".into(), &2.into()));
    assert!(left["paths"][0].as_str().unwrap().ends_with("films/b.mp4"), "{left}");
    let sent = objects.iter().filter(|object| object["event"] == "completed").count();
    assert_eq!((sent, stored()), (2, 3));
    // A link that is named itself is followed.
    let run = home.ferry(["upload", "films/b.mp4", "--service", "mavi"]).exits(0);
    assert!(run.stdout.ends_with("\tfilms/b.mp4\n"), "{}", run.stdout);
    let id = run.asset_ids().remove(0);
    let run = home.ferry(["download", &id, "--service", "mavi"]).exits(0);
    assert_holds(Path::new(run.lines()[0]), b"a very private key");
}

/// A folder that is there under a second path, for as long as this lives.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn bind(folder: &Path, place: &'a Path) -> Option<Self> {
        let bound = std::process::Command::new("mount").arg("--bind").args([folder, place]).output();
        let is_bound = support::peers::is_root() && bound.is_ok_and(|bound| bound.status.success());
        is_bound.then_some(Self(place))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // With `-l`, also while a child that was left behind still looks into it.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn ferrys_own_data_is_not_sent_also_where_its_folder_is_mounted_elsewhere() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", b"a");
    home.ferry(["upload", "a.bin", "--service", "mavi"]).exits(0);
    let asked = service.requests().len();
    let mounted = home.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let run = |what: &str| {
        let run = home.ferry(["upload", what, "--service", "mavi"]).exits(1).says_error("invalid_input");
        assert!(run.stderr.contains("keeps for itself"), "{what}: {}", run.stderr);
    };
    run("data");
    run("data/ferry.db");
    run("mounted/../data/library.jsonl");
    std::fs::write(home.data().join("resume/kept"), "secret").unwrap();
    for (part, file) in [("", "mounted/ferry.db"), ("resume", "mounted/kept")] {
        // Only root can, and not everywhere.
        if let Some(_mount) = Mount::bind(&home.data().join(part), &mounted) {
            run("mounted");
            run(file);
        }
    }
    assert_eq!(service.requests().len(), asked, "nothing was signed for");
}

#[test]
fn the_data_of_another_ferry_does_not_leave_either() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.file("a.bin", b"a");
    let usual = home.path().join(".local/share/ferry");
    let others = home.path().join("elsewhere/of ferry");
    for data in [&usual, &others] {
        home.set("FERRY_DATA_DIR", data.to_str().unwrap());
        home.ferry(["upload", "a.bin", "--service", "sandbox"]).exits(0);
    }
    home.set("FERRY_DATA_DIR", home.path().join("mine").to_str().unwrap());
    home.ferry(["queue"]).exits(0);
    // What the sandbox was given is kept for its user as well.
    let kept =
        support::files::all_below(&usual.join("sandbox")).into_iter().find(|path| path.is_file()).unwrap();
    let second_name = home.path().join("second name");
    std::fs::hard_link(&kept, &second_name).unwrap();
    std::fs::write(others.join("resume/7"), "secret").unwrap();
    let asked = service.requests().len();
    for what in [
        usual.clone(),
        usual.join("ferry.db"),
        kept,
        second_name,
        others.clone(),
        others.join("library.jsonl"),
        others.join("resume"),
        others.join("resume/7"),
    ] {
        let words = ["upload", what.to_str().unwrap(), "--service", "mavi"];
        let run = home.ferry(words).exits(1).says_error("invalid_input");
        assert!(run.stderr.contains("keeps for itself"), "{}: {}", what.display(), run.stderr);
    }
    assert_eq!(service.requests().len(), asked, "nothing was signed for");
    // Met on the way it is passed over.
    home.file("elsewhere/b.bin", b"b");
    let run = home.ferry(["upload", "elsewhere", "--service", "mavi"]).exits(0);
    assert_eq!(run.asset_ids().len(), 1, "{}", run.stdout);
}

// ---- D17: the way to the other side ----

#[test]
fn d17_names_that_nobody_knows_and_ports_where_nobody_listens_are_network_errors() {
    let home = Home::new();
    let closed = format!("http://127.0.0.1:{}/a.bin", support::peers::free_port());
    for link in [closed.as_str(), "http://no-such-host.invalid/a.bin"] {
        home.ferry(["download", link, "--retries", "0"]).exits(1).says_error("network");
    }
    let silent = BadServer::start(|_, _| vec![Step::Reset]);
    let run = home.ferry(["download", &silent.url("/a.bin"), "--retries", "0"]).exits(1);
    assert!(
        run.stderr.contains("error[network]") || run.stderr.contains("error[incomplete]"),
        "{}",
        run.stderr
    );
    assert_eq!(home.downloaded(), Vec::<String>::new());
}

#[test]
fn d17_a_network_that_comes_back_is_used_again() {
    let home = Home::new();
    let port = support::peers::free_port();
    let running = home.start(["download", &format!("http://127.0.0.1:{port}/a.bin")]);
    std::thread::sleep(Duration::from_millis(700));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback");
        }
    });
    running.wait().exits(0);
    assert_holds(&home.downloads().join("a.bin"), b"back");
}

#[test]
fn d17_ipv6_is_spoken() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("skipped: this computer has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            use std::io::{Read as _, Write as _};
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix");
        }
    });
    let home = Home::new();
    home.ferry(["download", &format!("http://{address}/a.bin")]).exits(0);
    assert_holds(&home.downloads().join("a.bin"), b"six");
}

#[test]
fn d17_a_proxy_of_the_environment_is_used() {
    let proxy = BadServer::start(|head, _| {
        let asked = head.lines().next().unwrap_or_default();
        if asked != "GET http://files.invalid/a.bin HTTP/1.1" {
            return vec![Step::Send(response("404 Not Found", &[("Content-Length", "0")], b""))];
        }
        vec![Step::Send(response("200 OK", &[("Content-Length", "5")], b"proxy"))]
    });
    for variable in ["HTTP_PROXY", "http_proxy"] {
        let mut home = Home::new();
        home.set(variable, &proxy.url(""));
        home.ferry(["download", "http://files.invalid/a.bin", "--retries", "0"]).exits(0);
        assert_holds(&home.downloads().join("a.bin"), b"proxy");
    }
    let mut home = Home::new();
    home.set("HTTP_PROXY", &format!("http://127.0.0.1:{}", support::peers::free_port()));
    home.ferry(["download", "http://files.invalid/a.bin", "--retries", "0"]).exits(1).says_error("network");
}

#[test]
fn w3_this_computer_is_never_reached_by_way_of_a_proxy() {
    let server =
        BadServer::start(|_, _| vec![Step::Send(response("200 OK", &[("Content-Length", "5")], b"right"))]);
    let mut home = Home::new();
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        home.set(variable, &format!("http://127.0.0.1:{}", support::peers::free_port()));
    }
    home.ferry(["download", &server.url("/a.bin"), "--retries", "0"]).exits(0);
    assert_holds(&home.downloads().join("a.bin"), b"right");
}

#[test]
fn w3_a_proxy_that_wants_to_know_who_asks_is_asked_once_and_says_so() {
    for link in ["https://files.invalid/a.bin", "http://files.invalid/a.bin"] {
        let proxy = BadServer::start(|_, _| {
            let headers = [("Proxy-Authenticate", "Basic"), ("Content-Length", "0")];
            vec![Step::Send(response("407 Proxy Authentication Required", &headers, b"")), Step::Close]
        });
        let mut home = Home::new();
        home.set("HTTP_PROXY", &proxy.url(""));
        home.set("HTTPS_PROXY", &proxy.url(""));
        let ran = home.ferry(["download", link]).exits(1).says_error("network");
        assert!(ran.stderr.contains("proxy"), "{link}: {}", ran.stderr);
        assert_eq!(proxy.requests().len(), 1, "{link}");
    }
}

fn server_config(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> rustls::ServerConfig {
    rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap()
}

/// A SOCKS5 server that leads everything to one place, and notes what it was asked for. It answers with `reply`: 0 is
/// yes.
fn socks_server(to: std::net::SocketAddr, reply: u8) -> (u16, Arc<Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let serve = move |mut client: std::net::TcpStream, asked: &Mutex<Vec<String>>| -> std::io::Result<()> {
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting)?;
        client.read_exact(&mut vec![0; usize::from(greeting[1])])?;
        client.write_all(&[5, 0])?;
        let mut request = [0; 4];
        client.read_exact(&mut request)?;
        let host = if request[3] == 3 {
            let mut length = [0];
            client.read_exact(&mut length)?;
            let mut name = vec![0; usize::from(length[0])];
            client.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        } else {
            let mut address = [0; 4];
            client.read_exact(&mut address)?;
            std::net::Ipv4Addr::from(address).to_string()
        };
        let mut port = [0; 2];
        client.read_exact(&mut port)?;
        asked.lock().unwrap().push(format!("{host}:{}", u16::from_be_bytes(port)));
        client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let mut server = std::net::TcpStream::connect(to)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        std::io::copy(&mut server, &mut client).map(drop)
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that breaks off is its own business.
            let _ = serve(client, &seen);
        }
    });
    (port, asked)
}

#[test]
fn d17_a_socks_proxy_of_the_environment_is_used_and_asked_for_names() {
    let server = BadServer::start(|_, _| {
        let headers = [("Content-Length", "5"), ("Connection", "close")];
        vec![Step::Send(response("200 OK", &headers, b"socks")), Step::Close]
    });
    let to = server.url("").trim_start_matches("http://").parse().unwrap();
    for (variable, scheme, host) in [
        ("ALL_PROXY", "socks5h", "files.invalid"),
        ("all_proxy", "socks5h", "files.invalid"),
        ("HTTP_PROXY", "socks5h", "files.invalid"),
        ("ALL_PROXY", "socks5", "192.0.2.7"),
    ] {
        let (port, asked) = socks_server(to, 0);
        let mut home = Home::new();
        home.set(variable, &format!("{scheme}://127.0.0.1:{port}"));
        home.ferry(["download", &format!("http://{host}/a.bin"), "--retries", "0"]).exits(0);
        assert_holds(&home.downloads().join("a.bin"), b"socks");
        assert_eq!(*asked.lock().unwrap(), [format!("{host}:80")], "{variable} {scheme}");
    }
    // One that is not there, and one that says no ("not allowed by the rules").
    let (refusing, _) = socks_server(to, 2);
    for port in [support::peers::free_port(), refusing] {
        let mut home = Home::new();
        home.set("ALL_PROXY", &format!("socks5h://127.0.0.1:{port}"));
        home.ferry(["download", "http://files.invalid/a.bin", "--retries", "0"])
            .exits(1)
            .says_error("network");
    }
}

/// A server that speaks TLS with this certificate, and tells nobody that it closes. `answer` gets a request's head and
/// its number (0 = first).
fn secure_answers(
    certificate: &rcgen::Certificate,
    key: &rcgen::KeyPair,
    answer: impl Fn(&str, usize) -> Vec<u8> + Send + 'static,
) -> u16 {
    let config = Arc::new(server_config(certificate, key));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let Ok(mut session) = rustls::ServerConnection::new(config.clone()) else { continue };
            let mut secure = rustls::Stream::new(&mut session, &mut stream);
            let mut head = [0; 4096];
            let Ok(read) = secure.read(&mut head) else { continue };
            let answer = answer(&String::from_utf8_lossy(&head[..read]), number);
            // The client may have refused the certificate.
            let _ = secure.write_all(&answer).and_then(|()| secure.flush());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    port
}

/// The same with a file, of which the first answer may be cut.
fn secure_server(certificate: &rcgen::Certificate, key: &rcgen::KeyPair, cut: Option<usize>) -> u16 {
    secure_answers(certificate, key, move |asked, number| {
        let file = noise(9, 100_000);
        let start = bad_server::range_start(asked).unwrap_or(0);
        let range = format!("bytes {start}-99999/100000");
        let length = (100_000 - start).to_string();
        let mut headers = vec![("Content-Length", length.as_str()), ("ETag", "\"1\"")];
        if start > 0 {
            headers.push(("Content-Range", &range));
        }
        let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
        let mut answer = response(status, &headers, &file[start..]);
        if let (0, Some(keep)) = (number, cut) {
            answer.truncate(answer.len() - 100_000 + keep);
        }
        answer
    })
}

/// A certificate for these names, until this year, by an authority of the test's own.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut about = rcgen::CertificateParams::new(Vec::new()).unwrap();
        about.distinguished_name.push(rcgen::DnType::CommonName, "An authority of a test");
        about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = about.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(about, key) }
    }

    fn sign(&self, name: &str, until: i32) -> (rcgen::Certificate, rcgen::KeyPair) {
        let mut about = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        about.not_before = rcgen::date_time_ymd(2020, 1, 1);
        about.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }
}

#[test]
fn d17_a_computer_without_any_authority_brings_what_needs_none() {
    let authority = Authority::new();
    let service = Service::start();
    let mut home = Home::new();
    std::fs::create_dir(home.path().join("none")).unwrap();
    home.set("SSL_CERT_FILE", home.path().join("missing.pem").to_str().unwrap());
    home.set("SSL_CERT_DIR", home.path().join("none").to_str().unwrap());
    home.ferry(["download", &service.link(1000, "a.bin")]).exits(0);
    let (good, key) = authority.sign("127.0.0.1", 2090);
    let link = format!("https://127.0.0.1:{}/b.bin", secure_server(&good, &key, None));
    home.ferry(["download", &link, "--retries", "0"]).exits(1).says_error("tls");
}

#[test]
fn d17_certificates_that_prove_nothing_are_refused_and_good_ones_are_taken() {
    let authority = Authority::new();
    let mut home = Home::new();
    let trusted = home.file("authority.pem", authority.certificate.pem().as_bytes());
    home.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    let ferry =
        |port: u16| home.ferry(["download", &format!("https://127.0.0.1:{port}/a.bin"), "--retries", "0"]);

    let (good, key) = authority.sign("127.0.0.1", 2090);
    ferry(secure_server(&good, &key, None)).exits(0);
    assert_holds(&home.downloads().join("a.bin"), &noise(9, 100_000));
    std::fs::remove_file(home.downloads().join("a.bin")).unwrap();

    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (expired, expired_key) = authority.sign("127.0.0.1", 2021);
    let (other, other_key) = authority.sign("other.example", 2090);
    for (what, port, words) in [
        ("self-signed", secure_server(&own, &key, None), &["nknown", "ssuer", "trust"][..]),
        ("expired", secure_server(&expired, &expired_key, None), &["xpired"]),
        (
            "of another host",
            secure_server(&other, &other_key, None),
            &["name", "other.example", "not valid for"],
        ),
    ] {
        let run = ferry(port).exits(1).says_error("tls");
        assert!(words.iter().any(|word| run.stderr.contains(word)), "{what}: {}", run.stderr);
    }
    // Plain HTTP where TLS is meant.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    ferry(port).exits(1).says_error("tls");
    assert_eq!(home.downloaded(), Vec::<String>::new());
}

#[test]
fn d17_a_secure_connection_that_ends_without_a_goodbye_is_a_cut() {
    let authority = Authority::new();
    let mut home = Home::new();
    let trusted = home.file("authority.pem", authority.certificate.pem().as_bytes());
    home.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    let (good, key) = authority.sign("127.0.0.1", 2090);
    let port = secure_server(&good, &key, Some(60_000));
    home.ferry(["download", &format!("https://127.0.0.1:{port}/a.bin")]).exits(0);
    assert_holds(&home.downloads().join("a.bin"), &noise(9, 100_000));
}

#[test]
fn d1_a_secure_body_that_only_its_connection_ends_is_cut_where_there_is_no_goodbye() {
    let authority = Authority::new();
    let mut home = Home::new();
    let trusted = home.file("authority.pem", authority.certificate.pem().as_bytes());
    home.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    let (good, key) = authority.sign("127.0.0.1", 2090);
    for headers in [&[][..], &[("Transfer-Encoding", "identity")]] {
        let port = secure_answers(&good, &key, move |_, _| response("200 OK", headers, &noise(9, 60_000)));
        let link = format!("https://127.0.0.1:{port}/a.bin");
        home.ferry(["download", &link, "--retries", "1"]).exits(1).says_error("incomplete");
        assert!(!home.downloads().join("a.bin").exists(), "{headers:?}");
    }
}

// ---- D9, D10: what a service's download must not become ----

#[test]
fn d10_a_redirect_out_of_the_encrypted_web_is_refused_and_one_within_it_is_followed() {
    let authority = Authority::new();
    let (good, key) = authority.sign("127.0.0.1", 2090);
    let open = BadServer::start(|_, _| {
        let headers = [("Content-Length", "4"), ("Connection", "close")];
        vec![Step::Send(response("200 OK", &headers, b"open")), Step::Close]
    });
    let redirects = |to: String| {
        secure_answers(&good, &key, move |_, _| {
            let headers = [("Location", to.as_str()), ("Content-Length", "0")];
            response("302 Found", &headers, b"")
        })
    };
    let home = trusting(&authority);
    let ferry =
        |port: u16| home.ferry(["download", &format!("https://127.0.0.1:{port}/a.bin"), "--retries", "0"]);
    ferry(redirects(open.url("/a.bin"))).exits(1).says_error("insecure_redirect");
    assert_eq!(open.requests(), Vec::<String>::new(), "the open address was not asked");
    assert_eq!(home.downloaded(), Vec::<String>::new());
    ferry(redirects(format!("https://127.0.0.1:{}/a.bin", secure_server(&good, &key, None)))).exits(0);
    assert_holds(&home.downloads().join("a.bin"), &noise(9, 100_000));
    // From an open address to an encrypted one is no harm.
    let secure = format!("https://127.0.0.1:{}/b.bin", secure_server(&good, &key, None));
    let open = BadServer::start(move |_, _| {
        let headers = [("Location", secure.as_str()), ("Content-Length", "0")];
        vec![Step::Send(response("302 Found", &headers, b""))]
    });
    home.ferry(["download", &open.url("/b.bin"), "--retries", "0"]).exits(0);
    assert_holds(&home.downloads().join("b.bin"), &noise(9, 100_000));
}

#[test]
fn d10_a_services_key_goes_to_its_own_address_only() {
    let service = Service::start();
    let home = Home::with(&service);
    let film = noise(7, 200_000);
    home.file("film.bin", &film);
    let id = home.ferry(["upload", "film.bin", "--service", "mavi"]).exits(0).asset_ids().remove(0);
    let bytes = film.clone();
    let elsewhere = BadServer::start(move |head, number| {
        let start = bad_server::range_start(head).unwrap_or(0);
        let length = (bytes.len() - start).to_string();
        let range = format!("bytes {start}-199999/200000");
        let mut headers = vec![
            ("Content-Length", length.as_str()),
            ("ETag", "\"1\""),
            ("Content-Disposition", "attachment; filename=film.bin"),
        ];
        if start > 0 {
            headers.push(("Content-Range", &range));
        }
        let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
        let mut answer = response(status, &headers, &bytes[start..]);
        if number == 0 {
            // What is asked for after a cut goes without the key as well.
            answer.truncate(answer.len() - 100_000);
        }
        vec![Step::Send(answer), Step::Wait(Duration::from_millis(50)), Step::Close]
    });
    let redirect = |location: String| FaultKind::Redirect { status: 302, location };
    service.fault(Fault::new(redirect(elsewhere.url("/film.bin"))).on_path("/download"));
    let mark = service.requests().len();
    home.ferry(["download", &id, "--service", "mavi"]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &film);
    let heads = elsewhere.requests();
    assert_eq!(heads.len(), 2, "{heads:?}");
    for head in heads {
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("authorization:") && !head.contains(support::service::KEY), "{head}");
        assert!(!head.contains("referer:"), "{head}");
    }
    assert!(service.requests()[mark..].iter().all(|asked| asked.authorization));
    service.heal();
    std::fs::remove_file(home.downloads().join("film.bin")).unwrap();
    // Within its own address it goes along: without it nothing would come.
    let own = format!("{}/{id}/download?again", service.mavi_url());
    service.fault(Fault::new(redirect(own)).on_path("/download").once());
    home.ferry(["download", &id, "--service", "mavi"]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &film);
    // A request with a body goes nowhere else, with or without the key.
    let mark = elsewhere.requests().len();
    let moved = FaultKind::Redirect { status: 307, location: elsewhere.url("/film.bin") };
    service.fault(Fault::new(moved).on_method("POST").on_path("/download"));
    home.ferry(["download", "film.bin", "--service", "visual-search", "--retries", "0"])
        .exits(1)
        .says_error("bad_response");
    assert_eq!(elsewhere.requests().len(), mark);
}

#[test]
fn a_page_where_a_services_answer_was_meant_is_no_word_of_the_service() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("film.bin", &noise(7, 200_000));
    service.fault(FaultKind::Status {
        status: 200,
        retry_after: None,
        body: Some("<!doctype html><title>Welcome to the airport</title>".to_owned()),
        content_type: Some("text/html".to_owned()),
        after: 0,
    });
    for args in [
        vec!["upload", "film.bin", "--service", "mavi"],
        // Nobody has accepted the key.
        vec!["check", "mavi"],
        vec!["check", "visual-search"],
        vec!["check", "offline-tube"],
    ] {
        let run = home.ferry(args.clone()).exits(1).says_error("bad_response");
        assert!(run.stderr.contains("airport") && run.stderr.contains("sign in"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn d9_a_page_where_a_services_file_was_meant_is_refused_and_nothing_is_saved() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.file("film.bin", &noise(7, 200_000));
    let id = home.ferry(["upload", "film.bin", "--service", "mavi"]).exits(0).asset_ids().remove(0);
    service.fault(FaultKind::LoginPage);
    let page = service.link(100_000, "talk.mp4");
    for (what, of) in [(id.as_str(), "mavi"), (&page, "offline-tube")] {
        let run = home.ferry(["download", what, "--service", of, "--retries", "0"]).exits(1);
        let run = run.says_error("bad_response");
        assert!(run.stderr.contains("web page") && run.stderr.contains("sign in"), "{of}: {}", run.stderr);
        assert_eq!(home.downloaded(), Vec::<String>::new(), "{of}");
    }
    // Also one that does not say what it is.
    for kind in [Some("text/html"), None] {
        let captive = BadServer::start(move |_, _| {
            let body = b"\r\n<!DOCTYPE html><title>Welcome to the airport</title>";
            let length = body.len().to_string();
            let mut headers = vec![("Content-Length", length.as_str())];
            headers.extend(kind.map(|kind| ("Content-Type", kind)));
            vec![Step::Send(response("200 OK", &headers, body))]
        });
        home.set("FERRY_MAVI_URL", &captive.url(""));
        home.set("FERRY_VISUAL_SEARCH_URL", &captive.url(""));
        for of in ["mavi", "visual-search"] {
            let run = home.ferry(["download", "re_1", "--service", of, "--retries", "0"]).exits(1);
            run.says_error("bad_response");
            assert_eq!(home.downloaded(), Vec::<String>::new(), "{of} {kind:?}");
        }
    }
}

/// What was agreed upon for each connection.
type Agreed = Arc<Mutex<Vec<String>>>;

/// TLS in front of the sandbox, for HTTP/2 and nothing else. The first connection is reset after so many bytes of
/// answers, if that is wanted.
fn http_2_front(authority: &Authority, service: &Service, reset_after: Option<usize>) -> u16 {
    tls_front(authority, service, &["h2"], reset_after).0
}

/// TLS in front of the sandbox, for these protocols.
fn tls_front(
    authority: &Authority,
    service: &Service,
    protocols: &[&str],
    reset_after: Option<usize>,
) -> (u16, Agreed) {
    let (certificate, key) = authority.sign("127.0.0.1", 2090);
    let mut config = server_config(&certificate, &key);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let agreed = Agreed::default();
    let (seen, reset_after) = (Arc::clone(&agreed), Arc::new(Mutex::new(reset_after)));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = service.origin().trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let (seen, reset_after) = (Arc::clone(&seen), Arc::clone(&reset_after));
                tokio::spawn(lead_through(acceptor.clone(), client, behind.clone(), seen, reset_after));
            }
        });
    });
    (port, agreed)
}

async fn lead_through(
    acceptor: tokio_rustls::TlsAcceptor,
    client: tokio::net::TcpStream,
    behind: String,
    agreed: Agreed,
    reset_after: Arc<Mutex<Option<usize>>>,
) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut client = acceptor.accept(client).await?;
    let protocol = client.get_ref().1.alpn_protocol().unwrap_or_default();
    agreed.lock().unwrap().push(String::from_utf8_lossy(protocol).into_owned());
    let reset_after = reset_after.lock().unwrap().take();
    if reset_after.is_some() {
        // Closing is breaking off then.
        socket2::SockRef::from(client.get_ref().0).set_linger(Some(Duration::ZERO))?;
    }
    let mut server = tokio::net::TcpStream::connect(behind).await?;
    let Some(reset_after) = reset_after else {
        return tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop);
    };
    let (mut asked, mut answered) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut passed = 0;
    while passed < reset_after {
        tokio::select! {
            read = client.read(&mut asked) => server.write_all(&asked[..read?]).await?,
            read = server.read(&mut answered) => {
                let read = read?;
                passed += read;
                client.write_all(&answered[..read]).await?;
                client.flush().await?;
            }
        }
    }
    Ok(())
}

/// A home that trusts this authority.
fn trusting(authority: &Authority) -> Home {
    let mut home = Home::new();
    let trusted = home.file("authority.pem", authority.certificate.pem().as_bytes());
    home.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    home
}

#[test]
fn d1_over_http_2_a_cut_anywhere_is_resumed_and_complete() {
    let authority = Authority::new();
    let service = Service::start();
    let port = http_2_front(&authority, &service, None);
    for after in [0, 1, MIB / 2, MIB - 1] {
        let home = trusting(&authority);
        service.fault(Fault::new(FaultKind::Cut { after }).once());
        let mark = service.requests().len();
        let link = service.link(MIB, "film.bin");
        let secure = link.replace(&service.origin(), &format!("https://127.0.0.1:{port}"));
        home.ferry(["download", &secure]).exits(0);
        let asked: Vec<_> = service.requests().split_off(mark);
        assert_eq!(asked.len(), 2, "cut after {after}: {asked:?}");
        assert_eq!(asked[1].range.is_some(), after > 0, "cut after {after}: {asked:?}");
        assert_holds(&home.downloads().join("film.bin"), &reference(&link));
        assert_eq!(home.downloaded(), ["film.bin"]);
    }
    // Without a validator it starts over.
    let home = trusting(&authority);
    service.fault(FaultKind::NoValidators);
    service.fault(Fault::new(FaultKind::Cut { after: MIB / 2 }).once());
    let link = service.link(MIB, "other.bin");
    home.ferry(["download", &link.replace(&service.origin(), &format!("https://127.0.0.1:{port}"))]).exits(0);
    assert_holds(&home.downloads().join("other.bin"), &reference(&link));
    assert!(
        service.requests().iter().all(|asked| !asked.path.ends_with("other.bin") || asked.range.is_none())
    );
}

#[test]
fn a_server_that_throttles_each_connection_gets_several_also_if_it_has_http_2() {
    let authority = Authority::new();
    let service = Service::start();
    let (port, agreed) = tls_front(&authority, &service, &["h2", "http/1.1"], None);
    let home = trusting(&authority);
    service.slow(4 * MIB);
    let link = service.link(32 * MIB, "film.bin");
    home.ferry(["download", &link.replace(&service.origin(), &format!("https://127.0.0.1:{port}"))]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
    let agreed = agreed.lock().unwrap();
    assert!(agreed.len() >= 4, "{agreed:?}");
    assert!(agreed.iter().all(|protocol| protocol == "http/1.1"), "{agreed:?}");
}

#[test]
fn an_upload_to_a_server_that_speaks_http_2_only_arrives() {
    let authority = Authority::new();
    let service = Service::start();
    let port = http_2_front(&authority, &service, None);
    let home = trusting(&authority);
    let source = home.file("up.bin", &noise(7, 3 << 20));
    let base = service.url().replace(&service.origin(), &format!("https://127.0.0.1:{port}"));
    let to = format!("{base}/sink/up.bin");
    let words = ["upload", "--method", "put", "--to", &to].map(std::ffi::OsStr::new);
    home.ferry(words.into_iter().chain([source.as_os_str()])).exits(0);
    let sent: Vec<_> = service.requests().into_iter().filter(|asked| asked.path == "/sink/up.bin").collect();
    assert_eq!(sent.iter().map(|asked| asked.received).collect::<Vec<_>>(), [3 << 20], "{sent:?}");
}

#[test]
fn several_downloads_from_a_server_that_speaks_http_2_only_all_arrive() {
    let authority = Authority::new();
    let service = Service::start();
    let port = http_2_front(&authority, &service, None);
    let home = trusting(&authority);
    let links: Vec<_> = (0..4).map(|number| service.link(200_000, &format!("{number}.bin"))).collect();
    let secure =
        links.iter().map(|link| link.replace(&service.origin(), &format!("https://127.0.0.1:{port}")));
    let words = ["download", "--concurrency", "4", "--retries", "0"].map(str::to_owned);
    home.ferry(words.into_iter().chain(secure)).exits(0);
    for (number, link) in links.iter().enumerate() {
        assert_holds(&home.downloads().join(format!("{number}.bin")), &reference(link));
    }
}

#[test]
fn d17_an_http_2_connection_that_is_reset_is_gone_on_with() {
    let authority = Authority::new();
    let service = Service::start();
    let port = http_2_front(&authority, &service, Some(700_000));
    let home = trusting(&authority);
    // Slow enough that most of what was sent is also received before the reset throws it away.
    service.slow(4 * MIB);
    let link = service.link(2 * MIB, "film.bin");
    home.ferry(["download", &link.replace(&service.origin(), &format!("https://127.0.0.1:{port}"))]).exits(0);
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
    let ranges: Vec<_> = service.requests().into_iter().filter_map(|asked| asked.range).collect();
    assert!(ranges.iter().any(|range| !range.starts_with("bytes=0-")), "not gone on with: {ranges:?}");
}

/// What a laptop's lid does to a program, as far as a test can do it: it stands still, and then everything is due.
#[cfg(unix)]
#[test]
fn d16_a_program_that_stood_still_goes_on() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.set("FERRY_STALL_SECONDS", "2");
    home.file("up.bin", &noise(5, 4 << 20));
    service.slow(MIB);
    let link = service.link(4 * MIB, "film.bin");
    for words in [vec!["download", link.as_str()], vec!["upload", "up.bin", "--service", "mavi"]] {
        let mark = service.requests().len();
        let moves = || service.requests()[mark..].iter().any(|asked| asked.sent + asked.received > MIB / 2);
        let running = home.start(&words);
        wait_until("bytes flow", moves);
        running.signal(rustix::process::Signal::STOP);
        std::thread::sleep(Duration::from_secs(5));
        running.signal(rustix::process::Signal::CONT);
        running.wait().exits(0);
    }
    assert_holds(&home.downloads().join("film.bin"), &reference(&link));
    assert_eq!(home.downloaded(), ["film.bin"]);
}

// ---- D18: the server's own work ----

#[test]
fn d18_whatever_becomes_of_the_servers_work_it_ends_and_is_said() {
    let service = Service::start();
    let home = Home::with(&service);
    let page = service.link(100_000, "talk.mp4");
    let ferry = || home.ferry(["download", &page, "--service", "offline-tube", "--retries", "1"]);

    service.fault(FaultKind::JobError { message: "Sign in to confirm your age".into() });
    let run = ferry().exits(1).says_error("service_error");
    assert!(run.stderr.contains("Sign in to confirm your age"), "{}", run.stderr);
    service.heal();

    service.fault(FaultKind::JobVanishes);
    ferry().exits(1).says_error("not_found");
    service.heal();

    service.fault(FaultKind::JobProgress { progress: 250.0 });
    let run = home.ferry(["download", &page, "--service", "offline-tube", "--json"]).exits(0);
    for object in run.objects() {
        assert!(
            object["total"].is_null() || object["bytes"].as_u64() <= object["total"].as_u64(),
            "{object}"
        );
    }
    service.heal();
    assert_eq!(home.downloaded().len(), 1);
    home.ferry(["remove"]).exits(0);

    // The list is not to be had for a moment.
    service.fault(
        Fault::new(FaultKind::Status {
            status: 503,
            retry_after: None,
            body: None,
            content_type: None,
            after: 0,
        })
        .on_path("/api/downloads")
        .times(3),
    );
    ferry().exits(0);
}

#[test]
fn d18_a_job_canceled_on_the_server_and_a_list_without_end_are_borne() {
    let service = Service::start();
    let mut home = Home::with(&service);
    let entry =
        |id: &str, status: &str| format!(r#"{{"id":"{id}","title":"t","status":"{status}","progress":"?"}}"#);
    let list = (0..10_000).map(|n| entry(&format!("other-{n}"), "pending")).collect::<Vec<_>>().join(",");
    let list = format!(r#"[7,null,{{}},{list},{{"id":"mine","status":"cancelled"}}]"#);
    let server = BadServer::start(move |head, _| {
        let body =
            if head.starts_with("POST") { r#"{"download_id":"mine"}"#.to_owned() } else { list.clone() };
        let length = body.len().to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        vec![Step::Send(response("200 OK", &headers, body.as_bytes()))]
    });
    home.set("FERRY_OFFLINE_TUBE_URL", &server.url(""));
    let page = service.link(1000, "talk.mp4");
    let run = home.ferry(["download", &page, "--service", "offline-tube", "--retries", "0"]).exits(1);
    assert!(run.stderr.contains("canceled on the media server"), "{}", run.stderr);
}

fn remove_job(service: &Service, id: &str) {
    let (status, _) =
        request("DELETE", &format!("{}/api/downloads/{id}/remove", service.offline_tube_url()), &[], b"");
    assert_eq!(status, 200);
}

/// The ids of all jobs that the media server has.
fn jobs(service: &Service) -> Vec<String> {
    let (_, list) = request("GET", &format!("{}/api/downloads", service.offline_tube_url()), &[], b"");
    let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
    list.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

/// A media server keeps its jobs in memory: after a restart it knows none.
#[test]
fn d18_a_media_server_that_forgot_its_jobs_gives_a_clear_end_and_the_next_attempt_begins_anew() {
    for while_bytes_come in [false, true] {
        let service = Service::start();
        let home = Home::with(&service);
        let page = service.link(100_000, "talk.mp4");
        if while_bytes_come {
            service.fault(Fault::new(FaultKind::Cut { after: MIB }).on_path("/file").once());
            home.ferry(["download", &page, "--service", "offline-tube", "--retries", "0"])
                .exits(1)
                .says_error("incomplete");
        } else {
            service.fault(FaultKind::JobStuck);
            let running = home.start(["download", &page, "--service", "offline-tube"]);
            wait_until("the job is followed", || {
                service.requests().iter().any(|asked| asked.path.ends_with("/api/downloads"))
            });
            running.kill();
            service.heal();
        }
        let old = jobs(&service);
        assert_eq!(old.len(), 1);
        remove_job(&service, &old[0]);
        let again = if while_bytes_come { "retry" } else { "resume" };
        home.ferry([again]).exits(1).says_error("not_found");
        assert!(jobs(&service).is_empty(), "nothing is begun again unasked");
        assert!(
            !home.downloaded().iter().any(|name| !name.ends_with(".ferrypart")),
            "{:?}",
            home.downloaded()
        );
        home.ferry(["retry"]).exits(0);
        let new = jobs(&service);
        assert!(new.len() == 1 && new != old, "{new:?}");
        // What came of the old job is no part of the new one's file.
        let file = format!("{}/api/download/{}/file", service.offline_tube_url(), new[0]);
        let mut whole = home.downloaded();
        whole.retain(|name| !name.ends_with(".ferrypart"));
        let [name] = &whole[..] else { panic!("{whole:?}") };
        assert_holds(&home.downloads().join(name), &reference(&file));
    }
}

/// A media server that counts its jobs from one gives an id to another file after a restart.
#[test]
fn d18_an_id_that_is_given_to_another_file_never_splices_the_two() {
    for same_length in [true, false] {
        let (first, second) = (noise(1, 300_000), noise(2, if same_length { 300_000 } else { 250_000 }));
        let (one, other) = (first.clone(), second.clone());
        let restarted = bad_server::Signal::default();
        let now = restarted.clone();
        let server = BadServer::start(move |head, _| {
            if head.starts_with("GET /api/downloads ") {
                let list = r#"[{"id":"1","title":"talk","status":"completed","progress":100}]"#;
                let length = list.len().to_string();
                let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
                return vec![Step::Send(response("200 OK", &headers, list.as_bytes()))];
            }
            let (file, tag) = if now.is_given() { (&other, "\"b\"") } else { (&one, "\"a\"") };
            // As Starlette: a range of a file that has changed is the whole of the new one.
            let fits = head.to_ascii_lowercase().contains(&format!("if-range: {tag}"));
            let start = bad_server::range_start(head).filter(|_| fits).unwrap_or(0);
            let (length, total) = ((file.len() - start).to_string(), file.len());
            let range = format!("bytes {start}-{}/{total}", total - 1);
            let mut headers =
                vec![("Content-Length", length.as_str()), ("Content-Type", "video/mp4"), ("ETag", tag)];
            if start > 0 {
                headers.push(("Content-Range", &range));
            }
            let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
            let mut answer = response(status, &headers, &file[start..]);
            if !now.is_given() {
                answer.truncate(answer.len() - 100_000);
            }
            vec![Step::Send(answer), Step::Wait(Duration::from_millis(50)), Step::Close]
        });
        let mut home = Home::new();
        home.set("FERRY_OFFLINE_TUBE_URL", &server.url(""));
        home.ferry(["download", "1", "--service", "offline-tube", "--retries", "0"])
            .exits(1)
            .says_error("incomplete");
        restarted.give();
        home.ferry(["retry"]).exits(0);
        assert_holds(&home.downloads().join("talk.mp4"), &second);
        assert_holds(&home.downloads().join("talk.mp4.old.ferrypart"), &first[..200_000]);
        assert_eq!(home.downloaded(), ["talk.mp4", "talk.mp4.old.ferrypart"]);
        let rows = home.ferry(["queue", "--json"]).exits(0).objects();
        assert!(
            rows[0]["note"].as_str().is_some_and(|note| note.to_string().contains("Changed at the source")),
            "{rows:?}"
        );
    }
}

// ---- peers that mean harm: bounded memory, bounded time ----

/// The most memory that a process has had so far, in MiB.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[cfg(not(target_os = "linux"))]
fn peak(_process: u32) -> Option<u64> {
    Some(0)
}

/// Runs `ferry` to its end, and gives the most memory that it took, in MiB.
fn measured(home: &Home, words: &[&str]) -> (Run, u64) {
    let mut running = home.start(words);
    let (process, mut most) = (running.id(), 0);
    while !running.has_ended() {
        most = peak(process).unwrap_or(0).max(most);
        std::thread::sleep(Duration::from_millis(5));
    }
    (running.wait(), most)
}

/// A chunk of a chunked body.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// How much memory a debug build may take at worst; without harm it takes about a third.
const MOST_MEMORY: u64 = 160;

#[test]
fn answers_without_an_end_are_given_up_in_bounded_memory_and_time() {
    let endless = |kind: &'static str, first: &'static [u8]| {
        BadServer::start(move |_, _| {
            let headers = [("Content-Type", kind), ("Transfer-Encoding", "chunked")];
            let mut steps = vec![Step::Send(response("200 OK", &headers, &chunk(first)))];
            steps.extend((0..4000).map(|_| Step::Send(chunk(&b" ".repeat(64 * 1024)))));
            steps
        })
    };
    let mut home = Home::new();
    home.set("FERRY_MAVI_KEY", "sk-1");
    let began = Instant::now();

    let server = endless("application/json", b"{\"code\":200,\"data\":");
    home.set("FERRY_MAVI_URL", &server.url(""));
    home.file("a.bin", b"a");
    let (run, memory) = measured(&home, &["upload", "a.bin", "--service", "mavi", "--retries", "0"]);
    run.exits(1).says_error("bad_response");
    assert!(memory < MOST_MEMORY, "{memory} MiB");

    // An error whose text has no end.
    let server = BadServer::start(|_, _| {
        let headers = [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")];
        let mut steps = vec![Step::Send(response("500 Oops", &headers, &chunk(b"no")))];
        steps.extend((0..4000).map(|_| Step::Send(chunk(&b"x".repeat(64 * 1024)))));
        steps
    });
    let (run, memory) = measured(&home, &["download", &server.url("/a.bin"), "--retries", "0"]);
    let run = run.exits(1).says_error("service_error");
    assert!(run.stderr.len() < 20_000, "{} bytes of error", run.stderr.len());
    assert!(memory < MOST_MEMORY, "{memory} MiB");

    // A head without an end: one line of it, and lines of it.
    for line in [vec![b'x'; 64 * 1024], b"X-More: and more\r\n".repeat(4000)] {
        let server = BadServer::start(move |_, _| {
            let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec())];
            steps.extend((0..1000).map(|_| Step::Send(line.clone())));
            steps
        });
        let (run, memory) = measured(&home, &["download", &server.url("/a.bin"), "--retries", "0"]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(memory < MOST_MEMORY, "{memory} MiB");
    }
    assert_eq!(home.downloaded(), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn u6_a_sparse_file_of_five_tebibytes_takes_little_memory() {
    let service = Service::start();
    let home = Home::with(&service);
    let path = home.file("huge.bin", b"");
    if let Err(error) = std::fs::File::options().write(true).open(&path).unwrap().set_len(5 << 40) {
        eprintln!("skipped: this file system takes no file of 5 TiB: {error}");
        return;
    }
    let running = home.start(["upload", "huge.bin", "--service", "mavi"]);
    let received = || service.requests().iter().map(|asked| asked.received).sum::<u64>();
    wait_until("more is sent than may be kept in memory", || received() > MOST_MEMORY * 2 * MIB);
    let memory = peak(running.id()).unwrap();
    assert!(memory < MOST_MEMORY, "{memory} MiB");
    running.kill();
}

#[test]
fn hostile_texts_are_read_without_harm() {
    let deep = "[".repeat(200_000);
    let entities = format!(
        "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>{}]><Error><Code>&z;</Code><Message>&z;</Message></Error>",
        (b'b'..=b'z')
            .map(|c| {
                let (name, before) = (c as char, (c - 1) as char);
                format!("<!ENTITY {name} '{}'>", format!("&{before};").repeat(10))
            })
            .collect::<String>()
    );
    let outside = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><Error><Code>A</Code><Message>&e;</Message></Error>";
    let mut home = Home::new();
    home.set("FERRY_MAVI_KEY", "sk-1");
    home.set("FERRY_STALL_SECONDS", "5");
    home.file("a.bin", b"a");
    for (status, kind, body) in [
        ("200 OK", "application/json", deep.clone()),
        ("400 Bad Request", "application/json", deep),
        ("400 Bad Request", "application/xml", entities),
        ("400 Bad Request", "application/xml", outside.to_owned()),
        ("400 Bad Request", "text/html", "<title>".repeat(20_000)),
        ("400 Bad Request", "text/html", "<script>".repeat(20_000)),
        ("200 OK", "application/json", format!(r#"{{"code":"{}","msg":"x"}}"#, "9".repeat(60_000))),
        ("200 OK", "application/json", r#"{"code":1e999,"msg":"x"}"#.to_owned()),
    ] {
        let shown = format!("{status} {kind} {}", body.chars().take(40).collect::<String>());
        let server = BadServer::start(move |_, _| {
            let length = body.len().to_string();
            let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
            vec![Step::Send(response(status, &headers, body.as_bytes()))]
        });
        home.set("FERRY_MAVI_URL", &server.url(""));
        let (run, memory) = measured(&home, &["upload", "a.bin", "--service", "mavi", "--retries", "0"]);
        assert_eq!(run.code, Some(1), "{shown}: {}", run.stderr);
        assert!(run.stderr.contains("error[") && !run.stderr.contains("root:"), "{shown}: {}", run.stderr);
        assert!(
            !run.stderr.contains("panicked") && run.stderr.len() < 20_000,
            "{shown}: {}",
            run.stderr.len()
        );
        assert!(
            memory < MOST_MEMORY && run.took < Duration::from_secs(20),
            "{shown}: {memory} MiB, {:?}",
            run.took
        );
    }
}

#[test]
fn d2_one_byte_a_second_is_slow_and_not_stalled() {
    let server = BadServer::start(|_, _| {
        let mut steps = vec![Step::Send(response("200 OK", &[("Content-Length", "8")], b""))];
        for byte in b"patience" {
            steps.extend([Step::Wait(Duration::from_secs(1)), Step::Send(vec![*byte])]);
        }
        steps
    });
    let mut home = Home::new();
    // Less than it takes in all, and much more than from byte to byte.
    home.set("FERRY_STALL_SECONDS", "6");
    let run = home.ferry(["download", &server.url("/a.txt"), "--retries", "0"]).exits(0);
    assert!(run.took > Duration::from_secs(6), "{:?}", run.took);
    assert_holds(&home.downloads().join("a.txt"), b"patience");
    assert_eq!(server.requests().len(), 1, "it was one request");
}

#[test]
fn answers_that_drip_for_ever_are_given_up() {
    let drip = |status: &'static str| {
        BadServer::start(move |_, _| {
            let headers = [("Content-Type", "application/json"), ("Content-Length", "60000")];
            let mut steps = vec![Step::Send(response(status, &headers, b"{"))];
            steps.extend(
                (0..600).flat_map(|_| [Step::Wait(Duration::from_millis(100)), Step::Send(b" ".to_vec())]),
            );
            steps
        })
    };
    let mut home = Home::new();
    home.set("FERRY_MAVI_KEY", "sk-1");
    home.set("FERRY_STALL_SECONDS", "1");
    home.file("a.bin", b"a");
    for status in ["200 OK", "403 Forbidden"] {
        // An answer of a service is small: it comes as a whole in bounded time or not at all.
        let server = drip(status);
        home.set("FERRY_MAVI_URL", &server.url(""));
        let run = home.ferry(["upload", "a.bin", "--service", "mavi", "--retries", "0"]).exits(1);
        assert!(run.took < Duration::from_secs(15), "{status}: {:?}", run.took);
        home.ferry(["cancel"]).exits(0);
    }
    let server = drip("403 Forbidden");
    let run = home.ferry(["download", &server.url("/a.bin"), "--retries", "0"]).exits(1);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    // A head that drips is no answer either.
    let server = BadServer::start(|_, _| {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nX-Slow: ".to_vec())];
        steps.extend(
            (0..600).flat_map(|_| [Step::Wait(Duration::from_millis(100)), Step::Send(b"x".to_vec())]),
        );
        steps
    });
    let run =
        home.ferry(["download", &server.url("/a.bin"), "--retries", "0"]).exits(1).says_error("timed_out");
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
}
