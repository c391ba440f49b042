//! Commands against each other: whatever is asked of transfers at the same time, the queue goes on, no work is left
//! without a row, and no command is lost.
//!
//! `FERRY_SEED` brings a run back, `FERRY_QUEUE_SECONDS` makes it longer.
#![allow(clippy::print_stderr, reason = "the seed is for whoever repeats a run")]

#[path = "support/chance.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod chance;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use chance::Chance;
use ferry_engine::{
    Code, DownloadRequest, Engine, Options, Result, Secret, State, Transfer, TransferId, UploadRequest,
};
use ferry_sandbox::{FaultKind, Sandbox};

/// Longer than any command, and than the rest of the work once nobody interferes any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the sandbox takes for a key.
const API_KEY: &str = "sk-queue";

/// An engine and a sandbox that answers at once.
struct Bench {
    engine: Engine,
    sandbox: Sandbox,
    root: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = ferry_sandbox::Options {
            root: root.path().join("sandbox"),
            port: 0,
            api_key: Some(API_KEY.to_owned()),
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let mut options = Options::new(root.path().join("data"));
        // As the window opens it.
        options.resume_unfinished = true;
        options.keychain = false;
        options.keys.insert("mavi".into(), Secret::new(API_KEY));
        options.addresses.insert("mavi".into(), sandbox.mavi_url());
        let engine = Engine::open(options).await.unwrap();
        std::fs::create_dir(root.path().join("downloads")).unwrap();
        Self { engine, sandbox, root }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("downloads")
    }

    /// A link that Ferry may show only a part of: what is canceled needs all of it to go on.
    fn link(&self, number: u64, size: u64) -> DownloadRequest {
        DownloadRequest {
            what: format!("{}/generate/{size}/{number}.bin?number={number}", self.sandbox.url()),
            folder: Some(self.folder()),
            name: Some(format!("{number}.bin")),
            ..DownloadRequest::default()
        }
    }

    fn file(&self, number: u64, size: usize) -> UploadRequest {
        let path = self.root.path().join(format!("{number}.mp4"));
        std::fs::write(&path, vec![number as u8; size]).unwrap();
        UploadRequest { paths: vec![path], service: Some("mavi".into()), ..UploadRequest::default() }
    }

    async fn until(&self, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.engine.transfer(id).expect("on the list");
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "still {row:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn completes(&self, id: TransferId) {
        let row = self.until(id, |row| row.state.has_ended()).await;
        assert_eq!(row.state, State::Completed, "{row:?}");
    }
}

/// A command of the user's that may come too late for what it names.
fn unless_gone(done: Result<()>) {
    if let Err(error) = done {
        assert_eq!(error.code(), Code::InvalidInput, "{error:?}");
    }
}

/// What is known of what was added.
#[derive(Default)]
struct Added {
    ids: Vec<TransferId>,
    /// The file of each download.
    files: HashMap<TransferId, PathBuf>,
    /// Downloads that were off the list before their files were there.
    removed: HashSet<TransferId>,
}

/// One who adds, pauses, cancels, retries, removes and reorders, as one of several.
async fn meddle(bench: Arc<Bench>, added: Arc<Mutex<Added>>, mut chance: Chance, first: u64, until: Instant) {
    let engine = &bench.engine;
    let mut number = first;
    while Instant::now() < until {
        let known = added.lock().unwrap().ids.clone();
        let wanted = 1 + chance.below(12) as usize;
        let ids = chance.some(known.clone(), wanted);
        match chance.below(16) {
            0..=3 if known.len() < 60 => {
                let size = [0, 9_000, 400_000][chance.below(3) as usize];
                number += 1;
                if chance.one_in(3) {
                    let id = engine.upload(bench.file(number, size as usize)).await.unwrap()[0];
                    added.lock().unwrap().ids.push(id);
                } else {
                    let request = bench.link(number, size);
                    let id = engine.download(request).await.unwrap();
                    let mut added = added.lock().unwrap();
                    added.ids.push(id);
                    added.files.insert(id, bench.folder().join(format!("{number}.bin")));
                }
            }
            0..=6 => unless_gone(engine.resume(&ids).await),
            7..=8 => unless_gone(engine.pause(&ids).await),
            9..=10 => unless_gone(engine.cancel(&ids).await),
            11 => unless_gone(engine.retry(&ids).await),
            12..=13 => {
                let before = chance.some(known, 1).pop();
                unless_gone(engine.reorder(&ids, before).await);
            }
            _ => {
                added.lock().unwrap().ids.retain(|id| !ids.contains(id));
                unless_gone(engine.remove(&ids).await);
                let mut added = added.lock().unwrap();
                for id in ids {
                    assert!(engine.transfer(id).is_none(), "removed, and on the list");
                    if added.files.get(&id).is_some_and(|file| !file.exists()) {
                        added.removed.insert(id);
                    }
                }
            }
        }
    }
}

async fn meddle_together(seconds: u64, mut chance: Chance) {
    let bench = Arc::new(Bench::new().await);
    let added = Arc::<Mutex<Added>>::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    let users: Vec<_> = (1..=6)
        .map(|user| {
            let (bench, added) = (Arc::clone(&bench), Arc::clone(&added));
            tokio::spawn(meddle(bench, added, chance.fork(), user * 1_000_000, until))
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    // Now everything is to come to its end, also what was canceled: with the link that it had.
    let left = added.lock().unwrap().ids.clone();
    bench.engine.resume(&left).await.unwrap();
    for id in left {
        bench.completes(id).await;
    }
    let new = bench.engine.download(bench.link(7, 10)).await.unwrap();
    bench.completes(new).await;
    bench.engine.shutdown().await;
    let added = added.lock().unwrap();
    for file in added.removed.iter().map(|id| &added.files[id]) {
        assert!(!file.exists(), "{} arrived without a row", file.display());
    }
}

/// Locks that are taken in two orders stand still for ever, with every timer: it is looked at from outside.
fn in_time(limit: Duration, work: impl Future<Output = ()> + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let working = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build();
        runtime.unwrap().block_on(work);
        let _ = done.send(());
    });
    match is_done.recv_timeout(limit) {
        Ok(()) => working.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(working.join().unwrap_err());
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it stands still"),
    }
}

#[test]
fn commands_against_each_other_lose_nothing_and_stop_nothing_for_ever() {
    let seconds = std::env::var("FERRY_QUEUE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let chance = Chance::new("queue");
    in_time(Duration::from_secs(seconds) + 2 * PATIENCE, meddle_together(seconds, chance));
}

#[test]
fn the_queue_goes_on_after_a_removal_that_a_resume_came_into() {
    in_time(2 * PATIENCE, async {
        let bench = Bench::new().await;
        for round in 0..20 {
            let mut ids = Vec::new();
            for number in 0..12 {
                ids.push(bench.engine.download(bench.link(round * 100 + number, 300_000)).await.unwrap());
            }
            let (removed, ()) = tokio::join!(bench.engine.remove(&ids), async {
                // The tray's "Resume all", again and again.
                while bench.engine.has_transfer(|row| ids.contains(&row.id)) {
                    let there: Vec<TransferId> = bench.engine.rows(&ids).iter().map(|row| row.id).collect();
                    unless_gone(bench.engine.resume(&there).await);
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            });
            removed.unwrap();
            let new = bench.engine.download(bench.link(round * 100 + 99, 10)).await.unwrap();
            bench.completes(new).await;
        }
    });
}

#[test]
fn nothing_moves_before_a_row_that_is_not_there() {
    in_time(PATIENCE, async {
        let bench = Bench::new().await;
        bench.sandbox.faults().add(FaultKind::Slow { bytes_per_second: 1000 });
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(bench.engine.download(bench.link(number, 1_000_000)).await.unwrap());
        }
        let order = |bench: &Bench| -> Vec<TransferId> {
            bench.engine.transfers(|_| true).iter().map(|row| row.id).collect()
        };
        let error = bench.engine.reorder(&ids[..1], Some(TransferId(999))).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput);
        let error = bench.engine.reorder(&[ids[0], TransferId(999)], None).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput);
        assert_eq!(order(&bench), ids, "all stay where they are");
        // Before one of those that move: where that one stands.
        bench.engine.reorder(&[ids[2], ids[1]], Some(ids[1])).await.unwrap();
        assert_eq!(order(&bench), [ids[0], ids[2], ids[1], ids[3]]);
        bench.engine.shutdown().await;
    });
}

#[test]
fn what_is_resumed_or_paused_together_with_one_that_is_gone_stays_as_it_is() {
    in_time(PATIENCE, async {
        let bench = Bench::new().await;
        bench.sandbox.faults().add(FaultKind::Slow { bytes_per_second: 1000 });
        let id = bench.engine.download(bench.link(1, 1_000_000)).await.unwrap();
        let error = bench.engine.pause(&[id, TransferId(999)]).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput);
        assert_ne!(bench.engine.transfer(id).unwrap().state, State::Paused);
        bench.engine.pause(&[id]).await.unwrap();
        let error = bench.engine.resume(&[id, TransferId(999)]).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidInput);
        assert_eq!(bench.engine.transfer(id).unwrap().state, State::Paused);
        bench.engine.shutdown().await;
    });
}

/// What a new start finds, which only the disk knows.
async fn after_a_restart(bench: Bench, id: TransferId) -> Option<Transfer> {
    let data: &Path = &bench.root.path().join("data");
    bench.engine.shutdown().await;
    drop(bench.engine);
    let mut options = Options::new(data.to_owned());
    options.keychain = false;
    Engine::open(options).await.unwrap().transfer(id)
}

#[test]
fn a_cancel_that_comes_while_a_pause_is_written_down_counts_and_can_be_taken_back() {
    in_time(2 * PATIENCE, async {
        let bench = Bench::new().await;
        for number in 0..30 {
            let id = bench.engine.download(bench.link(number, 400_000)).await.unwrap();
            bench.until(id, |row| row.state != State::Queued).await;
            let ids = [id];
            let (paused, canceled) = tokio::join!(bench.engine.pause(&ids), bench.engine.cancel(&ids));
            paused.unwrap();
            canceled.unwrap();
            let row = bench.engine.transfer(id).unwrap();
            assert!(matches!(row.state, State::Canceled | State::Completed), "{row:?}");
            bench.engine.resume(&[id]).await.unwrap();
            bench.completes(id).await;
        }
    });
}

#[test]
fn a_pause_that_is_under_way_counts_although_ferry_ends() {
    in_time(PATIENCE, async {
        let bench = Bench::new().await;
        bench.sandbox.faults().add(FaultKind::Slow { bytes_per_second: 100_000 });
        let id = bench.engine.download(bench.link(1, 10_000_000)).await.unwrap();
        bench.until(id, |row| row.state == State::Running).await;
        let ids = [id];
        let (paused, ()) = tokio::join!(bench.engine.pause(&ids), bench.engine.shutdown());
        paused.unwrap();
        assert_eq!(after_a_restart(bench, id).await.unwrap().state, State::Paused);
    });
}
