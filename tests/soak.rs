//! Row A9: mixed work for as long as wanted, while faults come and go by chance. Nothing is ever wrong, and nothing
//! grows: threads, open files, memory.
//!
//! `cargo xtask soak --minutes N [--seed S]` runs it for long; as one test among others it takes some seconds.
//! `FERRY_SOAK_MINUTES` and `FERRY_SEED` say the same.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test's figures belong to its output")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ferry_engine::{
    Changes, DownloadRequest, Engine, Options, Secret, Settings, State, Transfer, TransferId, UploadMethod,
    UploadRequest,
};
use ferry_sandbox::{Fault, FaultKind};
use serde_json::json;
use support::chance::Chance;
use support::files::{all_below, names, noise_file, same};
use support::home::Home;
use support::http::{request, stream};
use support::served::{self, Served};

/// Transfers that are unfinished at a time.
const AT_A_TIME: usize = 12;
/// Memory is looked at when nothing runs, once in so long: what work needs while it runs is another question.
const REST_EVERY: Duration = Duration::from_secs(120);
/// By then Ferry has given back what is free.
const REST: Duration = Duration::from_secs(12);
/// What the first part of a run may grow by is its warm-up.
const WARM_UP: f64 = 0.25;
/// After the warm-up memory may grow by this much an hour, in KiB (A9).
const SLOPE: f64 = 1024.0;
const LISTENED: Duration = Duration::from_secs(10);
/// A run shorter than this says nothing about a slope.
const LONG_ENOUGH: Duration = Duration::from_secs(240);

/// Not a test: the service in a process of its own, so that this one's figures are Ferry's.
#[test]
fn serve_until_killed() {
    served::serve();
}

fn tell(server: &Served, what: &str, body: &serde_json::Value) {
    let headers = [("Content-Type", "application/json"), ("Authorization", served::KEY)];
    let (status, answer) =
        request("POST", &format!("{}/_sandbox/{what}", server.origin), &headers, body.to_string().as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
}

fn heal(server: &Served) {
    let headers = [("Authorization", served::KEY)];
    request("DELETE", &format!("{}/_sandbox/faults", server.origin), &headers, b"");
}

/// A fault that an honest transfer survives.
fn fault(chance: &mut Chance) -> Fault {
    let some = |chance: &mut Chance| chance.below(400_000);
    let status = |status: u16, wait: Option<&str>| FaultKind::Status {
        status,
        retry_after: wait.map(str::to_owned),
        body: None,
        content_type: None,
        after: 0,
    };
    let kind = match chance.below(20) {
        0..=3 => FaultKind::Cut { after: some(chance) },
        4..=5 => FaultKind::CutUpload { after: some(chance) },
        6 => FaultKind::Stall { after: some(chance) },
        7 => FaultKind::StallUpload { after: some(chance) },
        8 => FaultKind::NoAnswer,
        9 => status(503, Some("1")),
        10 => status(500, None),
        11 => status(429, Some("1")),
        12 => FaultKind::WrongHash,
        13 => FaultKind::IgnoreRange,
        14 => FaultKind::KeepFewer { bytes: 300_000 },
        15 => FaultKind::LoseFinalAnswer,
        16 => FaultKind::SessionGone { status: 410 },
        17 => FaultKind::ExpiredUrls,
        18 => FaultKind::MultipartRanges,
        _ => FaultKind::Slow { bytes_per_second: 200_000 + some(chance) },
    };
    Fault::new(kind).times(1 + chance.below(2))
}

/// What a transfer must be in the end.
struct Wanted {
    bytes: Expected,
    began: Instant,
}

enum Expected {
    /// A download of what this URL gives.
    Download(String),
    /// An upload of this file.
    Upload(PathBuf),
}

struct Soak {
    engine: Engine,
    server: Served,
    home: Home,
    chance: Chance,
    wanted: HashMap<TransferId, Wanted>,
    added: u64,
    completed: u64,
    failed: u64,
    codes: HashMap<String, u64>,
    bytes: u64,
}

impl Soak {
    async fn open(seed: Chance) -> Self {
        let (server, home) = (Served::start("serve_until_killed"), Home::new());
        let mut options = Options::new(home.data());
        options.resume_unfinished = true;
        options.overrides.stall = Some(Duration::from_secs(2));
        options.overrides.retries = Some(8);
        options.keys.insert("mavi".into(), Secret::new(served::KEY));
        options.addresses.insert("mavi".into(), format!("{}/mavi/serve/api/v2", server.origin));
        let engine = Engine::open(options).await.unwrap();
        Self {
            engine,
            server,
            home,
            chance: seed,
            wanted: HashMap::new(),
            added: 0,
            completed: 0,
            failed: 0,
            codes: HashMap::new(),
            bytes: 0,
        }
    }

    /// One piece of work.
    async fn add(&mut self) {
        self.added += 1;
        let number = self.added;
        let (id, bytes) = if self.chance.one_in(2) {
            // Few kinds of files, so that what each must hold is fetched once.
            let kind = self.chance.below(6);
            let size = [0, 1, 9_000, 300_000, 1_500_000, 6_000_000][kind as usize];
            let url = format!("{}/generate/{size}/{kind}.bin", self.server.links);
            let request = DownloadRequest {
                what: format!("{url}?number={number}"),
                folder: Some(self.home.downloads()),
                name: Some(format!("{number}.bin")),
                ..DownloadRequest::default()
            };
            (self.engine.download(request).await.unwrap(), Expected::Download(url))
        } else {
            let kinds = [
                "google_resumable",
                "google_put",
                "amazon_put",
                "azure_put",
                "form",
                "policy_form",
                "session",
            ];
            let kind = kinds[self.chance.below(kinds.len() as u64) as usize];
            tell(&self.server, "settings", &json!({ "signed_urls": kind }));
            let size = [0, 1, 9_000, 700_000, 3_000_000][self.chance.below(5) as usize];
            let path = self.home.path().join(format!("out/{number}.mp4"));
            noise_file(&path, number, size);
            let request = UploadRequest {
                paths: vec![path.clone()],
                service: Some("mavi".into()),
                method: None::<UploadMethod>,
                ..UploadRequest::default()
            };
            (self.engine.upload(request).await.unwrap()[0], Expected::Upload(path))
        };
        self.wanted.insert(id, Wanted { bytes, began: Instant::now() });
    }

    /// Now and then the user does something.
    async fn meddle(&mut self) {
        let ids: Vec<TransferId> = self.wanted.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.chance.below(ids.len() as u64) as usize];
        match self.chance.below(4) {
            0 => {
                self.engine.pause(&[id]).await.unwrap();
                self.engine.resume(&[id]).await.unwrap();
            }
            1 => self.engine.reorder(&[id], None).await.unwrap(),
            2 => {
                let limit = [None, Some(2_000_000)][self.chance.below(2) as usize];
                let settings = Settings { limit_down: limit, ..self.engine.settings() };
                self.engine.save_settings(settings).await.unwrap();
            }
            _ => drop(self.engine.timeline(id).await.unwrap()),
        }
    }

    /// The file that holds what a URL gives.
    fn truth(&self, url: &str) -> PathBuf {
        let path = self.home.path().join("truth").join(url.rsplit('/').next().unwrap());
        if !path.exists() {
            // Without a fault in the way: it is the truth that is fetched.
            heal(&self.server);
            let (status, mut body) = stream("GET", url, &[], b"");
            assert_eq!(status, 200);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::copy(&mut body, &mut File::create(&path).unwrap()).unwrap();
        }
        path
    }

    /// Looks at what has ended. It compares stretch by stretch: this process's memory is to be Ferry's.
    async fn reap(&mut self) {
        let ended: Vec<Transfer> = self
            .wanted
            .keys()
            .filter_map(|id| self.engine.transfer(*id))
            .filter(|row| row.state.has_ended())
            .collect();
        for row in ended {
            if let State::Failed(failure) = &row.state {
                // An error is an end as well, if it has a name and a way out; then the user tries again.
                assert!(
                    !failure.message().is_empty() && !failure.advice.to_string().is_empty(),
                    "{failure:?}"
                );
                assert!(failure.code != ferry_engine::Code::Internal, "{failure:?}");
                self.failed += 1;
                *self.codes.entry(failure.code.to_string()).or_default() += 1;
                self.engine.retry(&[row.id]).await.unwrap();
                continue;
            }
            assert_eq!(row.state, State::Completed);
            let Some(wanted) = self.wanted.remove(&row.id) else { continue };
            match wanted.bytes {
                Expected::Download(url) => {
                    let path = PathBuf::from(row.path.as_deref().unwrap());
                    let truth = self.truth(&url);
                    let found = File::open(&path).unwrap();
                    self.bytes += same(found, File::open(truth).unwrap())
                        .unwrap_or_else(|| panic!("{url} came wrong, as {row:?}"));
                    std::fs::remove_file(path).unwrap();
                }
                Expected::Upload(path) => {
                    heal(&self.server);
                    let id = row.asset_id.as_deref().unwrap();
                    let url = format!("{}/mavi/serve/api/v2/{id}/download", self.server.origin);
                    let headers = [("Authorization", served::KEY)];
                    let (status, stored) = stream("GET", &url, &headers, b"");
                    assert_eq!(status, 200, "{id}");
                    self.bytes += same(stored, File::open(&path).unwrap())
                        .unwrap_or_else(|| panic!("{} is stored wrong, as {row:?}", path.display()));
                    std::fs::remove_file(path).unwrap();
                    request("DELETE", &url.replace("/download", ""), &headers, b"");
                }
            }
            self.completed += 1;
            self.engine.remove(&[row.id]).await.unwrap();
        }
        for (id, wanted) in &self.wanted {
            let row = self.engine.transfer(*id);
            assert!(
                wanted.began.elapsed() < Duration::from_secs(300),
                "five minutes without an end: {row:?}"
            );
        }
    }
}

/// What this process takes just now.
#[derive(Debug, Clone, Copy)]
struct Figures {
    threads: usize,
    files: usize,
    kibibytes: u64,
    /// What is allocated of it and not freed, in KiB. Growth of this alone is a leak; of the rest, waste.
    held: u64,
}

fn held() -> u64 {
    #[cfg(target_env = "gnu")]
    {
        #[allow(unsafe_code, reason = "glibc's own function, which only reads its counters")]
        // SAFETY: it may be called at any time, from any thread.
        let info = unsafe { libc::mallinfo2() };
        (info.uordblks + info.hblkhd) as u64 >> 10
    }
    #[cfg(not(target_env = "gnu"))]
    0
}

fn figures() -> Figures {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Figures {
        threads: number("Threads:") as usize,
        files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        kibibytes: number("VmRSS:"),
        held: held(),
    }
}

/// By how much memory grows in an hour, by the straight line that fits the samples best.
fn slope(samples: &[(Duration, Figures)]) -> f64 {
    let count = samples.len() as f64;
    let hours = |time: &Duration| time.as_secs_f64() / 3600.0;
    let (mean_x, mean_y) = (
        samples.iter().map(|(time, _)| hours(time)).sum::<f64>() / count,
        samples.iter().map(|(_, figures)| figures.kibibytes as f64).sum::<f64>() / count,
    );
    let (mut above, mut below) = (0.0, 0.0);
    for (time, figures) in samples {
        above += (hours(time) - mean_x) * (figures.kibibytes as f64 - mean_y);
        below += (hours(time) - mean_x).powi(2);
    }
    above / below
}

#[test]
fn mixed_work_under_faults_is_always_right_and_grows_nothing() {
    let minutes = std::env::var("FERRY_SOAK_MINUTES").ok().and_then(|text| text.parse::<f64>().ok());
    let time = minutes.map_or(Duration::from_secs(8), |minutes| Duration::from_secs_f64(minutes * 60.0));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(soak(time));
}

async fn soak(time: Duration) {
    let mut soak = Soak::open(Chance::new("soak")).await;
    let mut changes = soak.engine.subscribe();
    // At most five messages a second. Looked at over ten, as a message may be heard later than it was sent.
    let listening = tokio::spawn(async move {
        let (mut most, mut times) = (0, std::collections::VecDeque::new());
        loop {
            match changes.recv().await {
                Ok(change) => {
                    let _: &Changes = &change;
                    let now = Instant::now();
                    times.push_back(now);
                    while times.front().is_some_and(|first| now.duration_since(*first) >= LISTENED) {
                        times.pop_front();
                    }
                    most = times.len().max(most);
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return most,
            }
        }
    });

    let began = Instant::now();
    let mut samples: Vec<(Duration, Figures)> = Vec::new();
    let mut at_rest: Vec<(Duration, Figures)> = Vec::new();
    while began.elapsed() < time {
        let rests = at_rest.last().map_or(REST_EVERY, |(at, _)| *at + REST_EVERY) < began.elapsed();
        if rests && soak.wanted.is_empty() {
            tokio::time::sleep(REST).await;
            at_rest.push((began.elapsed(), figures()));
        }
        while !rests && soak.wanted.len() < AT_A_TIME {
            soak.add().await;
        }
        if soak.chance.one_in(3) {
            let fault = fault(&mut soak.chance);
            tell(&soak.server, "faults", &serde_json::to_value(fault).unwrap());
        }
        if soak.chance.one_in(20) {
            heal(&soak.server);
        }
        if soak.chance.one_in(10) {
            soak.meddle().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        soak.reap().await;
        if samples.last().is_none_or(|(at, _)| began.elapsed() > *at + Duration::from_secs(1)) {
            samples.push((began.elapsed(), figures()));
        }
    }
    // No more faults: everything comes to its end.
    heal(&soak.server);
    let deadline = Instant::now() + Duration::from_secs(120);
    while !soak.wanted.is_empty() {
        assert!(Instant::now() < deadline, "still unfinished: {:?}", soak.engine.snapshot().transfers);
        tokio::time::sleep(Duration::from_millis(50)).await;
        soak.reap().await;
    }
    assert_eq!(names(&soak.home.data().join("resume")), Vec::<String>::new());
    let left: Vec<PathBuf> = all_below(&soak.home.downloads())
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with(".ferrypart"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    soak.engine.shutdown().await;
    let Soak { engine, added, completed, failed, codes, bytes, .. } = soak;
    drop(engine);
    let most =
        tokio::time::timeout(Duration::from_secs(5), listening).await.expect("the stream ends").unwrap();

    let warm = |count: usize| (count as f64 * WARM_UP).ceil() as usize;
    let (early, late) = samples.split_at(warm(samples.len()));
    let (_, memory) = at_rest.split_at(warm(at_rest.len()));
    let growth = if memory.len() > 2 { slope(memory) } else { 0.0 };
    let rest = memory.iter().map(|(_, figures)| figures.kibibytes).max().unwrap_or(0);
    let held = |rest: Option<&(Duration, Figures)>| rest.map_or(0, |(_, figures)| figures.held);
    let top = |samples: &[(Duration, Figures)], of: fn(&Figures) -> usize| {
        samples.iter().map(|(_, figures)| of(figures)).max().unwrap_or(0)
    };
    let peak = samples.iter().map(|(_, figures)| figures.kibibytes).max().unwrap_or(0);
    eprintln!(
        "soak: {:.1} min; {added} transfers, {completed} completed and compared, {} MiB; failed and tried again {failed} {codes:?}; \
         threads {} then {}, open files {} then {}; memory {} MiB at most, {:.1} MiB at rest, slope there {growth:.0} KiB an hour, allocated there {} then {} KiB; {most} messages in ten seconds at most",
        time.as_secs_f64() / 60.0,
        bytes >> 20,
        top(early, |figures| figures.threads),
        top(late, |figures| figures.threads),
        top(early, |figures| figures.files),
        top(late, |figures| figures.files),
        peak >> 10,
        rest as f64 / 1024.0,
        held(memory.first()),
        held(memory.last()),
    );
    assert_eq!(added, completed);
    assert!(most <= 51, "{most} messages in ten seconds");
    assert!(top(late, |figures| figures.threads) <= 2 + 8 * AT_A_TIME, "threads grow");
    assert!(top(late, |figures| figures.files) <= 40 + 8 * AT_A_TIME, "open files grow");
    assert!(peak < 256 << 10, "{} MiB", peak >> 10);
    if time >= LONG_ENOUGH {
        // A short run's line is steep by chance: what it may hide is bounded by what it saw.
        let seen = growth * time.as_secs_f64() / 3600.0;
        assert!(growth < SLOPE || seen < 4096.0, "{growth:.0} KiB an hour");
    }
}
