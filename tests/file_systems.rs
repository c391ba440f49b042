//! Row W4: file systems that lack what others have. Each is a real one, mounted in user space (`/dev/fuse`); what can
//! also be had from `strace`, where there is no such device, is in `tests/io_errors.rs`.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![cfg(target_os = "linux")]

#[path = "support/strange_disk.rs"]
mod strange_disk;
#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use ferry_engine::{
    DownloadRequest, Engine, Options, Secret, Stage, State, Transfer, TransferId, UploadRequest, WaitReason,
};
use ferry_sandbox::{Fault, FaultKind};
use strange_disk::{Quirks, StrangeDisk};
use support::chance::Chance;
use support::files::{assert_holds, names};
use support::home::{Home, wait_until};
use support::http::request;
use support::service::{KEY, Service};

const MIB: u64 = 1 << 20;

fn reference(link: &str) -> Vec<u8> {
    let (status, body) = request("GET", link, &[], b"");
    assert_eq!(status, 200);
    body
}

/// A whole download to a disk with these quirks, from cut to final name; `None` where none can be mounted.
#[track_caller]
fn arrives(quirks: Quirks) -> Option<()> {
    let service = Service::start();
    let home = Home::with(&service);
    let disk = StrangeDisk::mount(&home.path().join("disk"), quirks)?;
    // A short one, whole at once; and one that is cut, goes on in another run, and is proven from the disk.
    let short = service.link(8_000, "note.bin");
    home.ferry(["download", &short, "--dir", "disk"]).exits(0);
    let link = service.link(MIB, "film.bin");
    service.fault(FaultKind::Cut { after: 600_000 });
    home.ferry(["download", &link, "--dir", "disk", "--retries", "0"]).exits(1).says_error("incomplete");
    service.heal();
    let mark = service.requests().len();
    home.ferry(["retry"]).exits(0);
    assert!(service.requests()[mark].range.is_some(), "it went on where it stood");
    // The same name again: nothing is replaced.
    home.ferry(["download", &link, "--dir", "disk"]).exits(0);
    assert_eq!(names(disk.path()), ["film (1).bin", "film.bin", "note.bin"]);
    for name in ["film (1).bin", "film.bin"] {
        assert_holds(&disk.path().join(name), &reference(&link));
    }
    assert_holds(&disk.path().join("note.bin"), &reference(&short));
    Some(())
}

#[test]
fn a_disk_that_syncs_no_folders_gets_the_file() {
    for error in [libc::EINVAL, libc::ENOTSUP, libc::EIO, libc::EACCES, libc::EBADF] {
        if arrives(Quirks { folder_sync: Some(error), ..Quirks::default() }).is_none() {
            return;
        }
    }
}

#[test]
fn a_disk_that_syncs_no_files_gets_the_file() {
    for error in [libc::EINVAL, libc::ENOTSUP] {
        if arrives(Quirks { file_sync: Some(error), ..Quirks::default() }).is_none() {
            return;
        }
    }
}

#[test]
fn a_disk_that_counts_names_wrongly_gets_the_file() {
    arrives(Quirks { names_of_file: Some(0), ..Quirks::default() });

    // Where each file seems to have a second name, what an earlier run left cannot be told from a trap, and comes anew.
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { names_of_file: Some(2), ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    for (name, size) in [("note.bin", 8_000), ("film.bin", MIB)] {
        let link = service.link(size, name);
        home.ferry(["download", &link, "--dir", "disk"]).exits(0);
        assert_holds(&disk.path().join(name), &reference(&link));
    }
}

#[test]
fn a_disk_that_numbers_files_anew_each_time_gets_the_file() {
    arrives(Quirks { changing_numbers: true, ..Quirks::default() });
}

#[test]
fn a_disk_that_knows_neither_locks_nor_safe_renames_nor_links_nor_room_gets_the_file() {
    let quirks =
        Quirks { plain_renames: true, locks: Some(libc::ENOLCK), tells_no_space: true, ..Quirks::default() };
    arrives(quirks);
}

#[test]
fn a_disk_that_lacks_everything_at_once_gets_the_file() {
    let quirks = Quirks {
        longest_name: Some((143, false)),
        folds_case: true,
        ascii_only: true,
        plain_renames: true,
        names_of_file: Some(0),
        changing_numbers: true,
        folder_sync: Some(libc::EINVAL),
        file_sync: Some(libc::EINVAL),
        times: Some(libc::EPERM),
        locks: Some(libc::ENOTSUP),
        sets_aside_longer: true,
        fills_gaps: true,
        tells_no_space: true,
        ..Quirks::default()
    };
    arrives(quirks);
}

#[test]
fn a_file_that_took_the_part_files_place_is_found_out_also_where_numbers_change() {
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { changing_numbers: true, ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    service.slow(MIB / 2);
    let link = service.link(MIB, "film.bin");
    let running = home.start(["download", &link, "--dir", "disk", "--retries", "0"]);
    let part = disk.path().join("film.bin.ferrypart");
    wait_until("bytes are saved", || std::fs::metadata(&part).is_ok_and(|part| part.len() > 0));
    std::fs::remove_file(&part).unwrap();
    std::fs::write(&part, "somebody else's").unwrap();
    running.wait().exits(1).says_error("integrity_mismatch");
    assert!(!disk.path().join("film.bin").exists());
    assert_eq!(std::fs::read(&part).unwrap(), b"somebody else's");
}

#[test]
fn a_name_that_is_too_long_for_the_disk_is_shortened_at_once_and_that_is_said() {
    let service = Service::start();
    for (longest, tells) in [(143, true), (143, false), (255, true), (100, false)] {
        let home = Home::with(&service);
        let quirks = Quirks { longest_name: Some((longest, tells)), ..Quirks::default() };
        let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
        let wanted = format!("{}.tar.gz", "x".repeat(210));
        let link = service.link(MIB, &wanted);
        for expected in 1..=2 {
            let began = Instant::now();
            home.ferry(["download", &link, "--dir", "disk"]).exits(0);
            assert!(began.elapsed() < Duration::from_secs(20), "it went through numbers");
            let found = names(disk.path());
            assert_eq!(found.len(), expected, "{found:?}");
            for name in &found {
                assert!(name.starts_with("xxxx") && name.ends_with(".tar.gz"), "{name}");
                assert!(name.len() + ".old.ferrypart".len() <= longest, "{} bytes of {longest}", name.len());
                assert_holds(&disk.path().join(name), &reference(&link));
            }
            // No shorter than it must be, where the disk tells what it takes.
            let has_whole = found.contains(&wanted);
            assert_eq!(has_whole, longest == 255, "{found:?}");
            assert!(longest != 143 || found.iter().any(|name| name.len() == 123), "{found:?}");
        }
        let rows = home.ferry(["queue", "--json"]).exits(0).objects();
        assert_eq!(rows.len(), 2, "{rows:?}");
        for row in rows {
            let note = row["note"].to_string();
            assert_eq!(note.contains("does not take"), longest != 255, "{note}");
        }
    }
}

#[test]
fn letters_that_the_disk_cannot_store_are_replaced_and_that_is_said() {
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { ascii_only: true, ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    let link = service.link(MIB, "Cr%C3%A8me%20%E8%A7%86.bin");
    home.ferry(["download", &link, "--dir", "disk"]).exits(0);
    assert_eq!(names(disk.path()), ["Creme _.bin"]);
    let row = home.ferry(["queue", "--json"]).exits(0).objects().remove(0);
    assert!(row["note"].to_string().contains("Creme _.bin"), "{row}");
}

#[test]
fn names_that_differ_in_case_only_are_two_files_where_case_is_folded() {
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { folds_case: true, ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    let links = ["Film.bin", "FILM.bin", "film.bin"].map(|name| service.link(MIB + name.len() as u64, name));
    home.ferry(["download", &links[0], &links[1], "--dir", "disk"]).exits(0);
    home.ferry(["download", &links[2], "--dir", "disk"]).exits(0);
    let found = names(disk.path());
    assert_eq!(found.len(), 3, "{found:?}");
    for name in &found {
        assert_eq!(std::fs::metadata(disk.path().join(name)).unwrap().len(), MIB + 8, "{found:?}");
    }
}

/// At 10 MB/s, as a stick has them, 300 MB would take half a minute before the first byte is saved.
#[test]
fn room_that_is_set_aside_by_writing_zeroes_is_left_to_the_bytes_themselves() {
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { sets_aside_slowly: Some(Duration::from_millis(100)), ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    let link = service.link(64 * MIB, "film.bin");
    home.ferry(["download", &link, "--dir", "disk"]).exits(0);
    assert!(disk.set_aside() <= 24 * MIB, "{} bytes were filled with zeroes", disk.set_aside());
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

#[test]
fn room_that_makes_the_file_longer_is_given_back() {
    let service = Service::start();
    let home = Home::with(&service);
    let quirks = Quirks { sets_aside_longer: true, ..Quirks::default() };
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
    let link = service.link(4 * MIB, "film.bin");
    service.fault(FaultKind::Cut { after: 600_000 });
    home.ferry(["download", &link, "--dir", "disk", "--retries", "0"]).exits(1).says_error("incomplete");
    let part = std::fs::metadata(disk.path().join("film.bin.ferrypart")).unwrap().len();
    assert!(part < MIB, "{part} bytes, most of them nobody's");
    service.heal();
    home.ferry(["retry"]).exits(0);
    assert_holds(&disk.path().join("film.bin"), &reference(&link));
}

#[test]
fn several_connections_are_left_alone_where_gaps_are_filled_with_zeroes() {
    let service = Service::start();
    for fills_gaps in [false, true] {
        let home = Home::with(&service);
        let quirks = Quirks { fills_gaps, ..Quirks::default() };
        let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), quirks) else { return };
        service.slow(4 * MIB);
        let link = service.link(24 * MIB, "film.bin");
        let mark = service.requests().len();
        home.ferry(["download", &link, "--dir", "disk"]).exits(0);
        let fetches =
            service.requests()[mark..].iter().filter(|asked| asked.path.contains("film.bin")).count();
        service.heal();
        assert_eq!(fetches > 1, !fills_gaps, "{fetches} connections");
        assert!(disk.filled() <= 5 * MIB, "{} bytes were filled with zeroes", disk.filled());
        assert_holds(&disk.path().join("film.bin"), &reference(&link));
    }
}

#[test]
fn a_folder_that_hangs_keeps_no_other_download_waiting() {
    let service = Service::start();
    let home = Home::with(&service);
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    service.slow(MIB / 2);
    let begin = |name: &str, folder: &str| {
        let link = service.link(MIB, name);
        let started = home.start(["download", &link, "--dir", folder]);
        let part = home.path().join(folder).join(format!("{name}.ferrypart"));
        wait_until("it has begun", || part.exists());
        started.signal(rustix::process::Signal::INT);
        started.wait();
        link
    };
    let hung = begin("hung.bin", "disk");
    let free = begin("free.bin", "Downloads");
    service.heal();
    disk.hang(true);
    let mut running = home.start(["resume"]);
    wait_until("the other one is done", || home.downloads().join("free.bin").exists());
    assert!(!running.has_ended(), "it waits for its folder");
    disk.hang(false);
    running.wait().exits(0);
    assert_holds(&disk.path().join("hung.bin"), &reference(&hung));
    assert_holds(&home.downloads().join("free.bin"), &reference(&free));
}

/// What a command may take to be answered, whatever a disk does.
const ANSWERED: Duration = Duration::from_secs(3);

/// An engine whose rows are looked at, with links of one origin.
struct Queue {
    engine: Engine,
    service: Service,
    home: Home,
}

impl Queue {
    async fn new(home: Home, concurrency: Option<u8>) -> Self {
        let mut options = Options::new(home.data());
        options.keychain = false;
        options.overrides.concurrency = concurrency;
        options.keys.insert("mavi".into(), Secret::new(KEY));
        let service = tokio::task::spawn_blocking(Service::start).await.unwrap();
        options.addresses.insert("mavi".into(), service.mavi_url());
        let engine = Engine::open(options).await.unwrap();
        Self { engine, service, home }
    }

    async fn download(&self, link: &str, folder: &Path) -> TransferId {
        let folder = Some(folder.to_owned());
        let request = DownloadRequest { what: link.to_owned(), folder, ..DownloadRequest::default() };
        self.engine.download(request).await.unwrap()
    }

    #[track_caller]
    fn row(&self, id: TransferId) -> Transfer {
        self.engine.transfer(id).unwrap()
    }

    async fn until(&self, what: &str, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        for _ in 0..3000 {
            let row = self.row(id);
            if wanted(&row) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: still {:?}", self.engine.snapshot().transfers);
    }

    async fn completes(&self, id: TransferId) {
        let row = self.until("it ends", id, |row| row.state.has_ended()).await;
        assert_eq!(row.state, State::Completed, "{row:?}");
    }

    /// Leaves, also if a disk still hangs.
    async fn leave(self) -> Home {
        self.engine.shutdown().await;
        tokio::task::spawn_blocking(move || drop(self.service)).await.unwrap();
        self.home
    }
}

/// A command that no disk may hold up.
async fn answers(what: &str, command: impl Future<Output = ferry_engine::Result<()>>) {
    let answer = tokio::time::timeout(ANSWERED, command).await;
    answer.unwrap_or_else(|_| panic!("{what} was not answered")).unwrap();
}

fn waits_for_folder(row: &Transfer) -> bool {
    row.wait.as_ref().is_some_and(|wait| wait.reason == WaitReason::Folder)
}

/// On two threads, as on the smallest machine: a call to the disk on one of them would be half of all. Also when the test
/// fails the disk answers at the end: the threads that wait for it must end.
fn on_two_threads(disk: &StrangeDisk, test: impl Future<Output = ()>) {
    struct Answers<'a>(&'a StrangeDisk);
    impl Drop for Answers<'_> {
        fn drop(&mut self) {
            self.0.hang(false);
        }
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let _answers = Answers(disk);
    runtime.block_on(test);
}

async fn file_of(link: &str) -> Vec<u8> {
    let link = link.to_owned();
    tokio::task::spawn_blocking(move || reference(&link)).await.unwrap()
}

#[test]
fn rows_in_a_folder_that_hangs_stop_nobody_and_every_command_for_them_is_answered() {
    let home = Home::new();
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    on_two_threads(&disk, async {
        let queue = Queue::new(home, Some(1)).await;
        let link = |name: &str| queue.service.link(3 * MIB, name);
        let names = ["a.bin", "b.bin", "c.bin", "d.bin"];
        disk.hang(true);
        let mut hung = Vec::new();
        for name in names {
            hung.push(queue.download(&link(name), disk.path()).await);
        }
        let free = queue.download(&link("free.bin"), &queue.home.downloads()).await;

        // One at a time, and the first four have nowhere to go.
        queue.completes(free).await;
        let told = queue.until("the first one says why", hung[0], waits_for_folder).await;
        assert!(told.wait.unwrap().message().contains("disk"), "it names the folder");
        for id in &hung[1..] {
            let row = queue.until("the others say why", *id, waits_for_folder).await;
            assert_eq!(row.state, State::Queued, "no thread is spent on it");
        }

        answers("pause", queue.engine.pause(&hung[..1])).await;
        assert_eq!(queue.row(hung[0]).state, State::Paused);
        answers("resume", queue.engine.resume(&hung[..1])).await;
        let row = queue.row(hung[0]);
        assert!(row.state == State::Queued, "what it left behind must end first: {row:?}");
        answers("cancel", queue.engine.cancel(&hung[1..2])).await;
        answers("remove", queue.engine.remove(&hung[2..3])).await;
        answers("pause all", queue.engine.pause(&[hung[0], hung[1], hung[3]])).await;
        answers("resume all", queue.engine.resume(&[hung[0], hung[3]])).await;

        disk.hang(false);
        queue.completes(hung[0]).await;
        queue.completes(hung[3]).await;
        assert_eq!(names_in(&disk), ["a.bin", "d.bin"], "what was given up leaves nothing");
        for name in ["a.bin", "d.bin"] {
            assert_holds(&disk.path().join(name), &file_of(&link(name)).await);
        }
        queue.leave().await;
    });
}

fn names_in(disk: &StrangeDisk) -> Vec<String> {
    names(disk.path())
}

#[test]
fn a_download_that_is_stopped_in_a_hung_folder_goes_on_alone_and_its_file_is_whole() {
    let home = Home::new();
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    let mut chance = Chance::new("stopped_in_a_hung_folder");
    on_two_threads(&disk, async {
        let queue = Queue::new(home, None).await;
        for round in 0..4 {
            queue.service.heal();
            queue.service.slow(4 * MIB);
            let name = format!("film{round}.bin");
            let link = queue.service.link(3 * MIB, &name);
            let id = queue.download(&link, disk.path()).await;
            tokio::time::sleep(Duration::from_millis(chance.below(600))).await;
            disk.hang(true);
            tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
            answers("pause", queue.engine.pause(&[id])).await;
            answers("resume", queue.engine.resume(&[id])).await;
            tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
            disk.hang(false);
            queue.completes(id).await;
            let whole = file_of(&link).await;
            assert_holds(&disk.path().join(&name), &whole);
        }
        let names = names_in(&disk);
        assert_eq!(names.len(), 4, "nothing was begun twice: {names:?}");
        queue.leave().await;
    });
}

#[test]
fn sources_on_a_disk_that_hangs_stop_no_other_upload_and_are_sent_when_it_answers() {
    let home = Home::new();
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    let bytes = vec![7_u8; 12 << 20];
    for name in ["a.bin", "b.bin"] {
        std::fs::write(disk.path().join(name), &bytes).unwrap();
    }
    std::fs::write(home.path().join("free.bin"), &bytes).unwrap();
    on_two_threads(&disk, async {
        let queue = Queue::new(home, Some(2)).await;
        let upload = async |path: &Path| {
            let request = UploadRequest {
                paths: vec![path.to_owned()],
                service: Some("mavi".into()),
                ..UploadRequest::default()
            };
            queue.engine.upload(request).await.unwrap()[0]
        };
        queue.service.fault(Fault::new(FaultKind::FirstByteAfter { milliseconds: 1500 }).on_path("/store/"));
        let hung = [upload(&disk.path().join("a.bin")).await, upload(&disk.path().join("b.bin")).await];
        for id in hung {
            queue.until("it is being sent", id, |row| row.stage == Some(Stage::Sending)).await;
        }
        // Between two chunks, where the source is looked at again.
        disk.hang(true);
        let free = upload(&queue.home.path().join("free.bin")).await;
        for id in hung {
            queue.until("it says why", id, waits_for_folder).await;
        }
        queue.service.heal();
        queue.completes(free).await;
        answers("pause", queue.engine.pause(&hung)).await;
        answers("resume", queue.engine.resume(&hung)).await;
        disk.hang(false);
        for id in hung {
            queue.completes(id).await;
        }
        queue.leave().await;
    });
}

#[test]
fn a_download_is_taken_out_of_a_folder_that_hangs_as_soon_as_that_answers() {
    let home = Home::new();
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    on_two_threads(&disk, async {
        let queue = Queue::new(home, None).await;
        queue.service.slow(MIB / 2);
        let link = queue.service.link(2 * MIB, "film.bin");
        let id = queue.download(&link, disk.path()).await;
        queue.until("bytes are here", id, |row| row.bytes > 0).await;
        queue.engine.pause(&[id]).await.unwrap();
        queue.service.heal();

        disk.hang(true);
        let elsewhere = queue.home.path().join("elsewhere");
        let moved = tokio::time::timeout(2 * ANSWERED, queue.engine.move_download(id, &elsewhere)).await;
        moved.expect("the move is answered").unwrap();
        queue.until("it says why", id, waits_for_folder).await;
        // Into one that hangs nothing goes.
        answers("pause", queue.engine.pause(&[id])).await;
        let moved = tokio::time::timeout(2 * ANSWERED, queue.engine.move_download(id, disk.path())).await;
        let refused = moved.expect("the move is answered").unwrap_err().to_string();
        assert!(refused.contains("does not answer"), "{refused}");
        answers("resume", queue.engine.resume(&[id])).await;

        disk.hang(false);
        queue.completes(id).await;
        assert_holds(&elsewhere.join("film.bin"), &file_of(&link).await);
        assert!(names_in(&disk).is_empty(), "{:?}", names_in(&disk));
        queue.leave().await;
    });
}

#[test]
fn a_part_file_in_a_folder_that_hangs_goes_later_and_takes_no_other_with_it() {
    let home = Home::new();
    let Some(disk) = StrangeDisk::mount(&home.path().join("disk"), Quirks::default()) else { return };
    on_two_threads(&disk, async {
        let queue = Queue::new(home, None).await;
        queue.service.slow(MIB / 2);
        let link = queue.service.link(2 * MIB, "film.bin");
        let old = queue.download(&link, disk.path()).await;
        queue.until("bytes are here", old, |row| row.bytes > 0).await;
        queue.engine.pause(&[old]).await.unwrap();
        queue.service.heal();

        disk.hang(true);
        answers("remove", queue.engine.remove(&[old])).await;
        assert!(queue.engine.transfer(old).is_none());
        let new = queue.download(&link, disk.path()).await;
        disk.hang(false);
        queue.completes(new).await;
        let row = queue.row(new);
        let path = row.path.unwrap();
        assert_holds(Path::new(&path), &file_of(&link).await);
        wait_until("the old part is gone", || {
            names_in(&disk).iter().all(|name| !name.ends_with(".ferrypart"))
        });
        queue.leave().await;
    });
}
