//! What the engine asks of memory for each MiB that it moves: large buffers that are filled again and again, not a new
//! one for every read. Counted, not timed, so that a busy machine tells the same as a quiet one.

#[path = "support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ferry_engine::{DownloadRequest, Engine, Options, State, TransferId, UploadMethod, UploadRequest};
use serde_json::Value;
use support::files::noise;
use support::home::Home;
use support::http::request;
use support::served::{self, Served};

const MIB: usize = 64;

/// Half as much again as was measured (13.2 and 41.3). A new buffer for every read of the source would be 1024 KiB more.
const UP: Use = Use { allocations: 20.0, kib: 62.0 };
/// Half as much again as was measured (12.4 and 1036.9): the HTTP client reads into a new buffer each time, so every byte
/// lies in fresh memory once. A second copy of each would be 1024 KiB more.
const DOWN: Use = Use { allocations: 19.0, kib: 1560.0 };

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting what is asked of it.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator can be written in no other way")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// What was asked of memory for each MiB that was moved.
#[derive(Debug)]
struct Use {
    allocations: f64,
    kib: f64,
}

impl Use {
    fn assert_within(&self, most: &Self, what: &str) {
        assert!(
            self.allocations <= most.allocations && self.kib <= most.kib,
            "{what}: {:.1} allocations and {:.1} KiB for each MiB, at most {} and {}",
            self.allocations,
            self.kib,
            most.allocations,
            most.kib
        );
    }
}

/// Waits for the end of a transfer without asking again and again.
async fn completed(engine: &Engine, id: TransferId) {
    let mut changes = engine.subscribe();
    loop {
        match engine.transfer(id).expect("on the list").state {
            State::Completed => return,
            State::Failed(failure) => panic!("{failure:?}"),
            _ => drop(changes.recv().await),
        }
    }
}

async fn up(engine: &Engine, file: &Path, url: &str) {
    let request = UploadRequest {
        paths: vec![file.to_owned()],
        method: Some(UploadMethod::Put),
        to: Some(url.to_owned()),
        ..UploadRequest::default()
    };
    completed(engine, engine.upload(request).await.expect("written down")[0]).await;
}

async fn down(engine: &Engine, url: String, folder: &Path) {
    let request =
        DownloadRequest { what: url, folder: Some(folder.to_owned()), ..DownloadRequest::default() };
    completed(engine, engine.download(request).await.expect("written down")).await;
}

/// What a piece of work that moves [`MIB`] asks of memory.
async fn used(work: impl Future<Output = ()>) -> Use {
    let before = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    work.await;
    Use {
        allocations: (ALLOCATIONS.load(Ordering::Relaxed) - before.0) as f64 / MIB as f64,
        kib: (BYTES.load(Ordering::Relaxed) - before.1) as f64 / 1024.0 / MIB as f64,
    }
}

/// Not a test: the process that the test below starts.
#[test]
fn serve_until_killed() {
    served::serve();
}

// The only test of this program that does anything: another one beside it would be counted, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_through_buffers_that_are_used_again_and_by_one_request() {
    let home = Home::new();
    // In a process of its own, so that its memory does not count.
    let server = Served::start("serve_until_killed");
    let url = &server.links;
    let mut options = Options::new(home.path().join("engine"));
    options.keychain = false;
    let engine = Engine::open(options).await.expect("an engine");
    let small = home.file("small.bin", b"small");
    let large = home.file("large.bin", &noise(1, MIB << 20));

    // What comes once (connections, threads, tables) is not what is asked about.
    up(&engine, &small, &format!("{url}/sink/small.bin")).await;
    down(&engine, format!("{url}/generate/5/small.bin"), &home.downloads()).await;

    let sent = used(up(&engine, &large, &format!("{url}/sink/large.bin"))).await;
    let fetched = used(down(&engine, format!("{url}/generate/{MIB}MiB/large.bin"), &home.downloads())).await;
    engine.shutdown().await;

    sent.assert_within(&UP, "up");
    fetched.assert_within(&DOWN, "down");
    let (status, log) = request(
        "GET",
        &format!("{}/_sandbox/requests", server.origin),
        &[("Authorization", served::KEY)],
        b"",
    );
    assert_eq!(status, 200);
    let log: Value = serde_json::from_slice(&log).expect("a list");
    let asked = log.as_array().expect("a list").iter();
    let asked =
        asked.filter(|request| request["path"].as_str().is_some_and(|path| path.ends_with("/large.bin")));
    let asked: Vec<_> = asked.map(|request| request["method"].as_str().expect("a method")).collect();
    assert_eq!(asked, ["PUT", "GET"], "one request for each transfer");
}
