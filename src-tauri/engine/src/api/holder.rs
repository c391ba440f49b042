//! The holder's side: it takes clients in, carries their commands out, and tells them what changes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncWrite, BufReader, split};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore, broadcast, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client::Connection;
use super::command::{self, Caller, Command, Stop};
use super::place::{self, Listener, Said, Stream};
use super::wire::{
    self, Asked, CLIENT_TOO_NEW, CLIENT_TOO_OLD, FULL, GONE, Hello, HolderKind, INVALID_PARAMS,
    LONGEST_REQUEST, Lines, NO_SUCH_METHOD, OLDEST, Outside, PARSE_ERROR, PATIENCE, PROTOCOL, RpcError,
    Welcome, write_line,
};
use crate::engine::{Changes, Engine, Options};
use crate::error::{Code, Result};
use crate::secret::Secret;
use crate::terms::{Pace, Terms};
use crate::transfer::{AddedBy, Transfer};

/// So many clients are served; more are told so, and try again.
const MOST_CLIENTS: usize = 64;
/// So many of one client's commands are carried out at a time; further ones are not read before.
const MOST_COMMANDS: usize = 16;
/// A client says who it is within this time.
const GREETING: Duration = Duration::from_secs(5);
/// So many rows are told in one message.
const ROWS_TOGETHER: usize = 500;
/// Commands that are being carried out have this long to come to their end before the holder lets go; the others are sent
/// again to the next one.
const GRACE: Duration = Duration::from_secs(1);

pub(super) const LET_GO: &str = "let_go";
pub(super) const CHANGED: &str = "changed";
pub(super) const OVERTAKEN: &str = "overtaken";
pub(super) const LETTING_GO: &str = "letting_go";

/// Serves an engine to the other processes of its user, until it is told to let go. Where no socket can be made, it serves
/// nobody, and says why in the log.
#[derive(Debug)]
pub struct Holder {
    shared: Arc<Shared>,
    place: Option<String>,
}

struct Shared {
    engine: Engine,
    kind: HolderKind,
    word: Option<wire::WireSecret>,
    /// Whether commands are carried out. Held while one is.
    is_open: RwLock<bool>,
    /// A window wants to have the data folder.
    wanted: CancellationToken,
    /// Nobody else is taken in.
    closing: CancellationToken,
    /// What is still being carried out is given up.
    giving_up: CancellationToken,
    /// Connections end.
    ended: CancellationToken,
    places: Arc<Semaphore>,
    clients: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Opens the engine of a data folder for a window, and serves it. Whatever else holds the folder is asked to let go, but
/// for another window.
///
/// # Errors
///
/// Those of [`Engine::open`]; `busy_data_dir` if a window has it, or whoever has it does not let go within ten seconds.
pub async fn take_over(options: Options) -> Result<(Engine, Holder)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let busy = match Engine::open(options.clone()).await {
            Ok(engine) => {
                let holder = Holder::start(engine.clone(), HolderKind::Window);
                return Ok((engine, holder));
            }
            Err(error) if error.code() == Code::BusyDataDir => error,
            Err(error) => return Err(error),
        };
        if let Ok(holder) =
            Connection::open(&options.data_dir, HolderKind::Window, Pace::default(), None).await
        {
            if holder.welcome().kind == HolderKind::Window {
                return Err(busy);
            }
            let asked = holder.ask_to_let_go();
            // It may be gone before it has answered.
            let _ = timeout(PATIENCE, asked).await;
            let _ = tokio::time::timeout_at(deadline, holder.lost()).await;
        }
        if Instant::now() >= deadline {
            return Err(busy);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Holder {
    /// Serves this engine from now on.
    pub fn start(engine: Engine, kind: HolderKind) -> Self {
        let data_dir = engine.data_dir().to_owned();
        let listener = place::listen(&data_dir).and_then(|listener| {
            let said = Said {
                kind,
                pid: std::process::id(),
                program: env!("CARGO_PKG_VERSION").to_owned(),
                place: listener.place.clone(),
                word: listener.word.clone(),
            };
            said.write(&data_dir)?;
            Ok(listener)
        });
        let listener = listener.inspect_err(|error| {
            tracing::warn!(%error, "no other Ferry can use this data folder meanwhile");
        });
        let listener = listener.ok();
        let shared = Arc::new(Shared {
            engine,
            kind,
            word: listener.as_ref().and_then(|listener| listener.word.clone()),
            is_open: RwLock::new(true),
            wanted: CancellationToken::new(),
            closing: CancellationToken::new(),
            giving_up: CancellationToken::new(),
            ended: CancellationToken::new(),
            places: Arc::new(Semaphore::new(MOST_CLIENTS)),
            clients: AtomicUsize::new(0),
        });
        let place = listener.as_ref().map(|listener| listener.place.clone());
        if let Some(listener) = listener {
            tokio::spawn(Arc::clone(&shared).take_in(listener));
        }
        Self { shared, place }
    }

    /// Where it serves, if it does.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// How many clients are there.
    pub fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::Relaxed)
    }

    /// Waits until a window wants to have the data folder.
    pub async fn wanted(&self) {
        self.shared.wanted.cancelled().await;
    }

    /// The engine that it serves.
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Carries a command of this process out. `None`: the holder has let go, and the next one is to be asked.
    pub(super) async fn call<C: Command>(&self, command: C, caller: &Caller) -> Option<Result<C::Reply>> {
        self.shared.while_open(command.carry_out(caller)).await
    }

    /// Stops everything where it stands and lets another process have the data folder; clients hear of it when it is theirs.
    pub(super) async fn let_go(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        let giving_up = shared.giving_up.clone();
        let grace = tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            giving_up.cancel();
        });
        *shared.is_open.write().await = false;
        grace.abort();
        place::clear(shared.engine.data_dir());
        shared.engine.let_go().await;
        shared.ended.cancel();
    }
}

impl Shared {
    /// Does something as long as this process holds the data folder.
    async fn while_open<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let is_open = self.is_open.read().await;
        if !*is_open {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.giving_up.cancelled() => None,
        }
    }

    async fn take_in(self: Arc<Self>, mut listener: Listener) {
        loop {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&self.places).try_acquire_owned()) {
                (Ok(stream), Ok(place)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream, place));
                }
                (Ok(mut stream), Err(_)) => {
                    let full = RpcError::new(FULL, "too many clients at once");
                    if let Ok(line) = wire::answer(None, &Err(full)) {
                        // It fits into what the system holds for it, or is not said at all: nobody is waited for.
                        let _ = timeout(Duration::from_millis(10), write_line(&mut stream, line.as_bytes()))
                            .await;
                    }
                }
                (Err(error), _) => {
                    tracing::warn!(%error, "a client could not be taken in");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// One client, from its greeting to its end.
    async fn serve(self: Arc<Self>, stream: Stream, _place: OwnedSemaphorePermit) {
        let (read, mut write) = split(stream);
        let mut lines = Lines::new(BufReader::new(read), LONGEST_REQUEST);
        let greeted = tokio::select! {
            greeted = timeout(GREETING, self.greet(&mut lines, &mut write)) => greeted,
            () = self.ended.cancelled() => return,
        };
        let Ok(Some(hello)) = greeted else { return };
        let Hello { pace, outside: Outside { addresses, keys }, .. } = hello;
        let keys = keys.into_iter().map(|(service, key)| (service, Secret::new(key.0))).collect();
        let Ok(services) = self.engine.services_for(None).apart(addresses, keys) else { return };
        let caller = Arc::new(Caller {
            engine: self.engine.clone(),
            terms: Terms::new(pace, hello.kind == HolderKind::Terminal, services),
            followed: std::sync::Mutex::default(),
            at_work: Arc::default(),
            origin: Some(AddedBy::Terminal),
        });
        self.clients.fetch_add(1, Ordering::Relaxed);
        let changes = self.engine.subscribe();
        let (replies, inbox) = mpsc::channel(MOST_COMMANDS);
        tokio::select! {
            () = self.read(&mut lines, &caller, hello.kind, replies) => {}
            () = tell(&mut write, &caller, changes, inbox, &self.wanted) => {}
            () = self.ended.cancelled() => {}
        }
        self.clients.fetch_sub(1, Ordering::Relaxed);
        caller.terms.is_left();
    }

    async fn greet(
        &self,
        lines: &mut Lines<impl AsyncBufRead + Unpin>,
        write: &mut (impl AsyncWrite + Unpin),
    ) -> Option<Hello> {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return None,
            Err(_) => {
                refuse(write, None, PARSE_ERROR, "the first line is too long").await;
                return None;
            }
        };
        let asked = serde_json::from_slice::<Asked<'_>>(line).ok().filter(|asked| asked.method == "hello");
        let hello = asked.as_ref().and_then(|asked| Some((asked.id, asked.params?.get())));
        let hello = hello.and_then(|(id, text)| Some((id, serde_json::from_str::<Hello>(text).ok()?)));
        let Some((id, hello)) = hello else {
            refuse(write, None, PARSE_ERROR, "the first line is no greeting").await;
            return None;
        };
        if self.word.is_some() && self.word != hello.word {
            refuse(write, Some(id), INVALID_PARAMS, "the word is another").await;
            return None;
        }
        if hello.protocol < OLDEST || PROTOCOL < hello.oldest {
            let code = if hello.protocol < OLDEST { CLIENT_TOO_OLD } else { CLIENT_TOO_NEW };
            refuse(write, Some(id), code, env!("CARGO_PKG_VERSION")).await;
            return None;
        }
        let welcome = Welcome {
            protocol: hello.protocol.min(PROTOCOL),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            kind: self.kind,
            pid: std::process::id(),
        };
        let result = wire::json(&welcome).ok().and_then(|text| RawValue::from_string(text).ok())?;
        let line = wire::answer(Some(id), &Ok(result)).ok()?;
        write_line(write, line.as_bytes()).await.ok()?;
        tracing::debug!(pid = hello.pid, program = %hello.program, "a client is there");
        Some(hello)
    }

    /// Reads commands until the client is gone, and carries each out in a task of its own: what was begun comes to its end,
    /// whoever hears of it.
    async fn read(
        self: &Arc<Self>,
        lines: &mut Lines<impl AsyncBufRead + Unpin>,
        caller: &Arc<Caller>,
        kind: HolderKind,
        replies: mpsc::Sender<String>,
    ) {
        let places = Arc::new(Semaphore::new(MOST_COMMANDS));
        while let Ok(Some(line)) = lines.next().await {
            let Ok(asked) = serde_json::from_slice::<Asked<'_>>(line) else {
                let error = RpcError::new(PARSE_ERROR, "the line is no request");
                send(&replies, None, &Err(error)).await;
                return;
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            if asked.method == LET_GO {
                let may = kind == HolderKind::Window && self.kind != HolderKind::Window;
                let answer = if may {
                    self.wanted.cancel();
                    RawValue::from_string("null".to_owned())
                        .map_err(|error| RpcError::new(INVALID_PARAMS, error.to_string()))
                } else {
                    Err(RpcError::new(NO_SUCH_METHOD, "only a window takes over, and never from a window"))
                };
                send(&replies, Some(asked.id), &answer).await;
                continue;
            }
            let (id, method) = (asked.id, asked.method);
            // In the order in which they came: what stops everything waits for what was asked before.
            let at_work = if method == Stop::METHOD {
                None
            } else {
                Some(Arc::clone(&caller.at_work).read_owned().await)
            };
            let params = asked.params.map(ToOwned::to_owned);
            let (shared, caller, replies) = (Arc::clone(self), Arc::clone(caller), replies.clone());
            tokio::spawn(async move {
                let work = command::carry_out(&method, params.as_deref(), &caller);
                let gone = || Err(RpcError::new(GONE, "the holder lets go"));
                let answer = shared.while_open(work).await.unwrap_or_else(gone);
                drop(at_work);
                send(&replies, Some(id), &answer).await;
                drop(place);
            });
        }
    }
}

async fn refuse(write: &mut (impl AsyncWrite + Unpin), id: Option<u64>, code: i32, why: &str) {
    if let Ok(line) = wire::answer(id, &Err(RpcError::new(code, why))) {
        // Whoever does not hear it has ended.
        let _ = write_line(write, line.as_bytes()).await;
    }
}

async fn send(
    replies: &mpsc::Sender<String>,
    id: Option<u64>,
    answer: &std::result::Result<Box<RawValue>, RpcError>,
) {
    if let Ok(line) = wire::answer(id, answer) {
        // A client that is gone hears nothing more.
        let _ = replies.send(line).await;
    }
}

/// Tells a client what it asked for and what changes of the transfers that it follows. One that takes nothing is left: what
/// waits for it is bounded by the backlog that all listeners share.
async fn tell(
    write: &mut (impl AsyncWrite + Unpin),
    caller: &Caller,
    mut changes: broadcast::Receiver<Arc<Changes>>,
    mut replies: mpsc::Receiver<String>,
    wanted: &CancellationToken,
) {
    let mut told_wanted = false;
    loop {
        let lines = tokio::select! {
            biased;
            () = wanted.cancelled(), if !told_wanted => {
                told_wanted = true;
                wire::notification(LETTING_GO, &()).map(|line| vec![line])
            }
            reply = replies.recv() => match reply {
                Some(line) => Ok(vec![line]),
                None => return,
            },
            change = changes.recv() => match change {
                Ok(change) => told(caller, &change),
                Err(RecvError::Lagged(_)) => wire::notification(OVERTAKEN, &()).map(|line| vec![line]),
                Err(RecvError::Closed) => return,
            },
        };
        let Ok(lines) = lines else { return };
        for line in lines {
            if write_line(write, line.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// What of a change a client follows, as lines.
fn told(caller: &Caller, change: &Changes) -> Result<Vec<String>> {
    #[derive(serde::Serialize)]
    struct Part<'a> {
        changed: &'a [&'a Transfer],
        removed: &'a [crate::transfer::TransferId],
    }
    let followed = caller.followed();
    let changed: Vec<&Transfer> = change.changed.iter().filter(|row| followed.has(row.id)).collect();
    let removed: Vec<_> = change.removed.iter().copied().filter(|id| followed.has(*id)).collect();
    drop(followed);
    let mut lines = Vec::new();
    for part in changed.chunks(ROWS_TOGETHER) {
        lines.push(wire::notification(CHANGED, &Part { changed: part, removed: &[] })?);
    }
    if !removed.is_empty() {
        lines.push(wire::notification(CHANGED, &Part { changed: &[], removed: &removed })?);
    }
    Ok(lines)
}
