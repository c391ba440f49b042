//! Several cases at once in one engine: so many servers are too many to open an engine for each.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferry_engine::{DownloadRequest, Engine, State, Transfer, TransferId, UploadRequest};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::digests::noise;
use super::life::{Life, Place, RealLife};
use super::memory;
use super::oracle::{Breach, Outcome, judge_download, judge_upload};
use super::plan::{FileKind, Meddling, ServerPlan, StorePlan};
use super::server::Server;
use super::store::{Service, Store};
use super::wire::{Event, Lives, Passage, settle};

/// By then every transfer has ended, or stands still for a reason that its row names.
const PATIENCE: Duration = Duration::from_secs(25);
/// So many requests are more than all attempts come to: what waits then, waits.
const MANY_REQUESTS: usize = 80;
/// Nobody is asked this often for one small file.
const TOO_MANY_REQUESTS: usize = 3_000;
/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Memory that the real program may take at most for a batch, with its code.
const MOST_OF_A_PROGRAM: usize = 128 << 20;
/// How long the real program lives when nothing of a plan ends it.
const REAL_LIFE: Duration = Duration::from_millis(1_500);

/// What Ferry is to meet.
#[derive(Debug, Clone)]
pub enum Plan {
    Server(ServerPlan),
    Store(StorePlan),
}

impl Plan {
    /// Plans in which one thing is as in a good one, or smaller.
    pub fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Server(plan) => plan.simpler().into_iter().map(Self::Server).collect(),
            Self::Store(plan) => plan.simpler().into_iter().map(Self::Store).collect(),
        }
    }

    /// Whether a patient program comes to its end with it.
    pub fn can_be_served(&self) -> bool {
        match self {
            Self::Server(plan) => plan.can_be_served(),
            Self::Store(plan) => plan.can_be_served(),
        }
    }

    /// As it is written down in a test.
    pub fn written(&self) -> String {
        let text = match self {
            Self::Server(plan) => plan.written(),
            Self::Store(plan) => plan.written(),
        };
        text.replace(": [", ": vec![")
    }
}

enum Peer {
    Server(Arc<Server>),
    Store(Arc<Store>),
}

struct Case {
    /// Its place in the batch, and in the name of its file.
    number: usize,
    peer: Peer,
    id: Option<TransferId>,
    outcome: Option<Outcome>,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub outcome: Outcome,
    pub breach: Option<Breach>,
    pub trace: Vec<String>,
    /// The longest time for which this computer let Ferry or its servers stand still while the batch ran.
    pub stood_still: Duration,
}

/// Looks every so often how late it is; keeps the worst, in milliseconds.
async fn watch(worst: &AtomicU64) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(LOOK).await;
        let late = began.elapsed().saturating_sub(LOOK).as_millis();
        worst.fetch_max(late as u64, Ordering::Relaxed);
    }
}

impl Case {
    fn passage(&self) -> &Passage {
        match &self.peer {
            Peer::Server(server) => &server.passage,
            Peer::Store(store) => &store.passage,
        }
    }

    /// Where its servers listen.
    fn places(&self) -> Vec<String> {
        match &self.peer {
            Peer::Server(server) => server.places.clone(),
            Peer::Store(store) => vec![store.place.clone()],
        }
    }

    async fn add(&mut self, engine: &Engine, place: &Place) {
        self.id = Some(match &self.peer {
            Peer::Server(server) => {
                let request = DownloadRequest {
                    what: server.link(),
                    folder: Some(place.downloads.clone()),
                    ..DownloadRequest::default()
                };
                engine.download(request).await.expect("written down")
            }
            Peer::Store(store) => {
                let to_own_url = store.plan.service.is_none();
                let request = UploadRequest {
                    paths: vec![place.upload(self.number)],
                    service: (!to_own_url).then(|| "mavi".into()),
                    to: to_own_url.then(|| store.link()),
                    ..UploadRequest::default()
                };
                engine.upload(request).await.expect("written down")[0]
            }
        });
    }

    /// The name that a server gives its file.
    fn name(number: usize, kind: FileKind) -> String {
        let ending = match kind {
            FileKind::Packed => "tar.gz",
            FileKind::Text => "txt",
            FileKind::Plain | FileKind::Untyped | FileKind::Attachment => "bin",
        };
        format!("c{number}.{ending}")
    }
}

/// Runs Ferry against all of these, one beside the other, and says what came of each. `real`: its first life is that of
/// the program at this place. `many_threads`: the engine has several, and is quit where it would be killed. The last
/// breach is the queue's own, if a good transfer does not run through at the end.
pub fn run(
    world: &Handle,
    plans: &[Plan],
    root: &Path,
    real: Option<&Path>,
    many_threads: bool,
) -> (Vec<Verdict>, Option<Breach>) {
    let (events, mut heard) = mpsc::unbounded_channel();
    let lives = Arc::<Lives>::default();
    let worst = Arc::<AtomicU64>::default();
    let mut tasks = JoinSet::new();
    let (mut cases, last, place) = world.block_on(async {
        let servers_worst = Arc::clone(&worst);
        tasks.spawn(async move { watch(&servers_worst).await });
        let mut cases = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let peer = match plan {
                Plan::Server(plan) => {
                    let passage = Passage::new(number, &plan.meddling, events.clone(), Arc::clone(&lives));
                    let name = Case::name(number, plan.kind);
                    Peer::Server(Server::start(plan.clone(), &name, passage, &mut tasks).await)
                }
                Plan::Store(plan) => {
                    let passage = Passage::new(number, &plan.meddling, events.clone(), Arc::clone(&lives));
                    let file = Arc::new(noise(number as u64 + 77, plan.size as usize));
                    Peer::Store(Store::start(plan.clone(), file, passage, &mut tasks).await)
                }
            };
            cases.push(Case { number, peer, id: None, outcome: None });
        }
        let stores = cases.iter().filter_map(|case| match &case.peer {
            Peer::Store(store) => Some((case.number, Arc::clone(store))),
            Peer::Server(_) => None,
        });
        let nobody = Passage::new(usize::MAX, &[], events.clone(), Arc::clone(&lives));
        let api = Service::start(stores.collect(), nobody, &mut tasks).await;
        let good = ServerPlan::good(20_000);
        let passage = Passage::new(usize::MAX, &[], events.clone(), Arc::clone(&lives));
        let last = Server::start(good, "last.bin", passage, &mut tasks).await;
        let place = Place::make(root, api, plans.len().clamp(1, 64) as u8, many_threads);
        (cases, last, place)
    });
    for case in &cases {
        if let Peer::Store(store) = &case.peer {
            std::fs::write(place.upload(case.number), &**store.file).expect("a file");
        }
    }
    let mut places: Vec<String> = cases.iter().flat_map(Case::places).collect();
    places.push(place.api.clone());
    let next_life = || {
        // Whatever this life has begun is known to be its own before the next one begins.
        world.block_on(settle(&places));
        lives.next();
    };
    let mut too_much = None;
    if let Some(program) = real {
        lives.begin();
        too_much = really(program, &cases, &place, &lives, &mut heard);
        next_life();
    }
    lives.begin();
    let mut life = Life::begin(&place);
    life.run(find_or_add(&life.engine, &place, &mut cases));
    let mut pausing = HashSet::new();
    loop {
        let next = life.run(async {
            tokio::select! {
                next = drive(&life.engine, &mut cases, &mut heard, &mut pausing) => next,
                () = watch(&worst) => None,
            }
        });
        match next {
            None => break,
            Some(event) => {
                lives.end();
                if event.what == Meddling::Kill && !many_threads {
                    life.kill();
                } else {
                    life.quit();
                }
                next_life();
                lives.begin();
                life = Life::begin(&place);
                pausing.clear();
                // A server that does not listen any more has seen its connection end.
                let _ = event.done.send(());
            }
        }
    }
    let rows: Vec<Transfer> = cases
        .iter()
        .map(|case| life.engine.transfer(case.id.expect("added")).expect("on the list"))
        .collect();
    let dead = life.run(runs_through(&life.engine, &place, &last)).err();
    world.block_on(settle(&places));
    lives.end();
    life.quit();
    let stood_still = Duration::from_millis(worst.load(Ordering::Relaxed));
    let verdicts = cases
        .iter()
        .zip(rows)
        .map(|(case, row)| verdict(case, &row, &place.downloads, stood_still))
        .collect();
    drop(tasks);
    (verdicts, dead.or(too_much))
}

/// The first life is a process of its own: it ends by `kill -9`, wherever it stands. A breach if it took too much memory.
fn really(
    program: &Path,
    cases: &[Case],
    place: &Place,
    lives: &Lives,
    heard: &mut mpsc::UnboundedReceiver<Event>,
) -> Option<Breach> {
    let (mut links, mut files) = (Vec::new(), Vec::new());
    for case in cases {
        match &case.peer {
            Peer::Server(server) => links.push(server.link()),
            // A URL of one's own is a command of its own.
            Peer::Store(store) if store.plan.service.is_some() => files.push(place.upload(case.number)),
            Peer::Store(_) => {}
        }
    }
    let mut life = if !links.is_empty() {
        RealLife::begin_downloads(program, place, &links)
    } else if !files.is_empty() {
        RealLife::begin_uploads(program, place, &files)
    } else {
        return None;
    };
    let began = Instant::now();
    let (mut told, mut most) = (None, 0);
    while told.is_none() && began.elapsed() < REAL_LIFE && !life.has_ended() {
        told = heard.try_recv().ok();
        most = life.most_memory().unwrap_or(most);
        std::thread::sleep(LOOK);
    }
    memory::note_program(most);
    lives.end();
    life.kill();
    if let Some(event) = told {
        let _ = event.done.send(());
    }
    (most > MOST_OF_A_PROGRAM).then(|| Breach {
        kind: "memory without bound",
        what: format!("the program took {} MiB", most >> 20),
    })
}

/// Finds what the life before was given, and adds the rest.
async fn find_or_add(engine: &Engine, place: &Place, cases: &mut [Case]) {
    let known = engine.transfers(|_| true);
    for case in cases {
        let (begin, begin_numbered) = (format!("c{}.", case.number), format!("c{} (", case.number));
        let found =
            known.iter().find(|row| row.name.starts_with(&begin) || row.name.starts_with(&begin_numbered));
        match found {
            Some(row) => {
                case.id = Some(row.id);
                if !row.state.has_ended() {
                    engine.resume(&[row.id]).await.expect("resumed");
                }
            }
            None => case.add(engine, place).await,
        }
    }
}

/// Lets the cases run until all have come to an end (`None`), or until this life is to end.
async fn drive(
    engine: &Engine,
    cases: &mut [Case],
    heard: &mut mpsc::UnboundedReceiver<Event>,
    pausing: &mut HashSet<TransferId>,
) -> Option<Event> {
    let until = Instant::now() + PATIENCE;
    let (paused, mut resumed) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            event = heard.recv() => {
                let Some(event) = event else { continue };
                let Some(id) = cases.get(event.case).and_then(|case| case.id) else { continue };
                if event.what != Meddling::Pause {
                    return Some(event);
                }
                pausing.insert(id);
                let (engine, paused) = (engine.clone(), paused.clone());
                tokio::spawn(async move {
                    pause_and_resume(&engine, id).await;
                    let _ = event.done.send(());
                    let _ = paused.send(id);
                });
            }
            Some(id) = resumed.recv() => drop(pausing.remove(&id)),
            () = tokio::time::sleep(LOOK) => {
                let mut all = true;
                for case in cases.iter_mut().filter(|case| case.outcome.is_none()) {
                    let id = case.id.expect("added");
                    let row = engine.transfer(id).expect("on the list");
                    if row.state == State::Paused && !pausing.contains(&id) {
                        engine.resume(&[id]).await.expect("resumed");
                    }
                    case.outcome = outcome(case, &row, Instant::now() > until);
                    all &= case.outcome.is_some();
                }
                if all {
                    return None;
                }
            }
        }
    }
}

async fn pause_and_resume(engine: &Engine, id: TransferId) {
    engine.pause(&[id]).await.expect("paused");
    let began = Instant::now();
    while engine.transfer(id).is_some_and(|row| row.state.is_active()) && began.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    if engine.transfer(id).is_some_and(|row| !row.state.has_ended()) {
        engine.resume(&[id]).await.expect("resumed");
    }
}

fn outcome(case: &Case, row: &Transfer, late: bool) -> Option<Outcome> {
    let requests = case.passage().requests.load(Ordering::Relaxed);
    match &row.state {
        State::Completed => Some(Outcome::Completed(
            row.verified.map_or_else(|| "nothing".to_owned(), |verified| verified.as_str().to_owned()),
        )),
        State::Failed(failure) => Some(Outcome::Failed(failure.code)),
        _ => match &row.wait {
            Some(wait) if late || requests > MANY_REQUESTS => Some(Outcome::Waits(wait.reason)),
            _ if requests > TOO_MANY_REQUESTS => Some(Outcome::Hangs),
            _ => late.then_some(Outcome::Hangs),
        },
    }
}

/// The queue still lives: a good file comes.
async fn runs_through(engine: &Engine, place: &Place, good: &Server) -> Result<(), Breach> {
    // What waits must not go on asking meanwhile.
    let unfinished: Vec<TransferId> =
        engine.transfers(|row| !row.state.has_ended()).iter().map(|row| row.id).collect();
    engine.cancel(&unfinished).await.expect("canceled");
    let request = DownloadRequest {
        what: good.link(),
        folder: Some(place.downloads.clone()),
        ..DownloadRequest::default()
    };
    let id = engine.download(request).await.expect("written down");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let row = engine.transfer(id).expect("on the list");
        if row.state == State::Completed {
            return Ok(());
        }
        if row.state.has_ended() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let row = engine.transfer(id);
    Err(Breach { kind: "a dead queue", what: format!("a good transfer is {:?}", row.map(|row| row.state)) })
}

fn verdict(case: &Case, row: &Transfer, downloads: &Path, stood_still: Duration) -> Verdict {
    let outcome = case.outcome.clone().expect("it has ended");
    let judged = match &case.peer {
        Peer::Server(server) => {
            let (begin, numbered) = (format!("c{}.", case.number), format!("c{} (", case.number));
            let mut finals: Vec<String> = std::fs::read_dir(downloads)
                .expect("a folder")
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .filter(|name| name.starts_with(&begin) || name.starts_with(&numbered))
                .filter(|name| !name.ends_with(".ferrypart"))
                .collect();
            finals.sort();
            judge_download(server, row, &outcome, downloads, &finals)
        }
        Peer::Store(store) => judge_upload(store, row, &outcome),
    };
    Verdict { outcome, breach: judged.err(), trace: case.passage().trace(), stood_still }
}
