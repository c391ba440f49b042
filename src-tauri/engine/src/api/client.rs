//! The client's side: one connection to whoever holds the data folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, split};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Ping};
use super::holder::{CHANGED, LET_GO, LETTING_GO, OVERTAKEN};
use super::place::{self, Said};
use super::wire::{
    self, CLIENT_TOO_NEW, CLIENT_TOO_OLD, FULL, GONE, Hello, HolderKind, LONGEST_ANSWER, LONGEST_REQUEST,
    Lines, NO_SUCH_METHOD, OLDEST, Outside, PATIENCE, PROTOCOL, RpcError, Told, Welcome, WireSecret,
    write_line,
};
use crate::engine::Changes;
use crate::error::{Cause, Error, Result};
use crate::terms::Pace;
use crate::transfer::{Transfer, TransferId};
use crate::words::{Phrase, shown};

/// What comes of trying to reach a holder.
#[derive(Debug)]
pub(super) enum Unreached {
    /// Nobody answers there, yet or any more.
    Nobody,
    /// Somebody answers and will not be spoken to.
    Refused(Box<Error>),
}

/// A connection to the holder.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    welcome: Welcome,
}

type Answer = std::result::Result<Box<RawValue>, RpcError>;
/// Who waits for the answer to which request.
type Waiting = HashMap<u64, oneshot::Sender<Answer>>;

#[derive(Debug)]
struct Shared {
    lines: mpsc::Sender<String>,
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
    lost: CancellationToken,
    /// The holder gives the folder to a window.
    goes_to_window: AtomicBool,
    overtaken: Option<mpsc::UnboundedSender<()>>,
    changes: Option<broadcast::Sender<Arc<Changes>>>,
}

/// Where what changes is to be told.
pub(super) struct Listening {
    pub changes: broadcast::Sender<Arc<Changes>>,
    /// Changes were missed: what is followed is to be read again.
    pub overtaken: mpsc::UnboundedSender<()>,
}

impl Connection {
    /// Reaches the holder of a data folder and greets it.
    pub async fn open(
        data_dir: &Path,
        kind: HolderKind,
        pace: Pace,
        listening: Option<Listening>,
    ) -> std::result::Result<Self, Unreached> {
        let (stream, word) = place::connect(data_dir).await.map_err(|error| {
            tracing::debug!(%error, "no holder is reached");
            Unreached::Nobody
        })?;
        let greeted = timeout(PATIENCE, greet(stream, kind, pace, word, data_dir)).await;
        let (lines, write, welcome) = greeted.map_err(|_| Unreached::Nobody)??;
        let (outgoing, inbox) = mpsc::channel(64);
        let (changes, overtaken) =
            listening.map(|listening| (listening.changes, listening.overtaken)).unzip();
        let shared = Arc::new(Shared {
            lines: outgoing,
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            lost: CancellationToken::new(),
            goes_to_window: AtomicBool::new(false),
            overtaken,
            changes,
        });
        tokio::spawn(Arc::clone(&shared).run(lines, write, inbox));
        Ok(Self { shared, welcome })
    }

    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Waits until the connection is lost.
    pub async fn lost(&self) {
        self.shared.lost.cancelled().await;
    }

    /// Whether the folder goes to a window, so that nobody else is to take it.
    pub fn goes_to_window(&self) -> bool {
        self.shared.goes_to_window.load(Ordering::Relaxed)
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.shared.lost.cancel();
    }

    /// Asks the holder to let another process have the folder.
    pub async fn ask_to_let_go(&self) -> Option<Result<()>> {
        let line = |id| wire::request(id, LET_GO, &serde_json::json!({}));
        Some(self.ask(line).await?.map(drop).map_err(|error| self.failed(LET_GO, error)))
    }

    /// Has the holder carry a command out. `None`: the connection is lost, and the next holder is to be asked.
    ///
    /// # Errors
    ///
    /// Those of the command; `busy_data_dir` if the holder does not answer for ten seconds.
    pub async fn call<C: Command>(&self, command: &C) -> Option<Result<C::Reply>> {
        let mut answer = std::pin::pin!(self.ask(|id| wire::request(id, C::METHOD, command)));
        let answer = loop {
            match timeout(PATIENCE / 2, &mut answer).await {
                Ok(answer) => break answer?,
                Err(_) => {
                    // It may well work on it for long; what must not be is that it stands still.
                    let ping = self.ask(|id| wire::request(id, Ping::METHOD, &Ping {}));
                    match timeout(PATIENCE / 2, ping).await {
                        Ok(pong) => drop(pong?),
                        Err(_) => return Some(Err(silent(&self.welcome))),
                    }
                }
            }
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) if error.code == GONE => {
                self.lost().await;
                return None;
            }
            Err(error) => return Some(Err(self.failed(C::METHOD, error))),
        };
        Some(
            serde_json::from_str(reply.get())
                .map_err(|error| Error::internal(format!("the answer to {} is another: {error}", C::METHOD))),
        )
    }

    fn failed(&self, method: &str, error: RpcError) -> Error {
        match error.data {
            Some(data) => data.into(),
            None if error.code == NO_SUCH_METHOD => too_old(&self.welcome.program),
            None => Error::internal(format!("{method}: {}", error.message)),
        }
    }

    async fn ask(&self, line: impl Fn(u64) -> Result<String>) -> Option<Answer> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let line = match line(id) {
            Ok(line) if line.len() <= LONGEST_REQUEST => line,
            Ok(_) => return Some(Err(Error::invalid(Phrase::RequestTooLong).into())),
            Err(error) => return Some(Err(error.into())),
        };
        let (answer, answered) = oneshot::channel();
        self.shared.waiting().insert(id, answer);
        if self.shared.lost.is_cancelled() {
            return None;
        }
        self.shared.lines.send(line).await.ok()?;
        answered.await.ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// The holder does not answer.
pub(super) fn silent(welcome: &Welcome) -> Error {
    busy(&welcome.pid.to_string())
}

pub(super) fn busy(pid: &str) -> Error {
    Error::new(Cause::BusyDataDir, Phrase::HolderSilent { pid: pid.into() })
}

fn too_old(version: &str) -> Error {
    Error::new(Cause::BusyDataDir, Phrase::HolderTooOld { version: version.into() })
        .advise(Phrase::UpdateOtherFerry)
}

type Greeted<R, W> = (Lines<BufReader<R>>, W, Welcome);

async fn greet(
    stream: place::Stream,
    kind: HolderKind,
    pace: Pace,
    word: Option<WireSecret>,
    data_dir: &Path,
) -> std::result::Result<Greeted<impl AsyncRead + Unpin + use<>, impl AsyncWrite + Unpin + use<>>, Unreached>
{
    let (read, mut write) = split(stream);
    let mut lines = Lines::new(BufReader::new(read), LONGEST_ANSWER);
    let refused = |error: Error| Unreached::Refused(Box::new(error));
    let hello = Hello {
        protocol: PROTOCOL,
        oldest: OLDEST,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        kind,
        pid: std::process::id(),
        pace,
        outside: Outside::from_environment().map_err(refused)?,
        word,
    };
    let line = wire::request(0, "hello", &hello).map_err(refused)?;
    write_line(&mut write, line.as_bytes()).await.map_err(|_| Unreached::Nobody)?;
    let Ok(Some(line)) = lines.next().await else { return Err(Unreached::Nobody) };
    // A line that makes no sense is another program's, or one of the future's.
    let strange = || {
        let version = Said::read(data_dir).map_or_else(|| "?".to_owned(), |said| said.program);
        refused(too_new(&version))
    };
    let told: Told<'_> = serde_json::from_slice(line).map_err(|_| strange())?;
    match (told.error, told.result) {
        (Some(error), _) if error.code == CLIENT_TOO_OLD => Err(refused(too_new(&error.message))),
        (Some(error), _) if error.code == CLIENT_TOO_NEW => Err(refused(too_old(&error.message))),
        (Some(error), _) if error.code == FULL => Err(Unreached::Nobody),
        (Some(error), _) => {
            let told = Error::new(Cause::BusyDataDir, Phrase::OtherFerry { folder: shown(data_dir) });
            Err(refused(told.because(error.message)))
        }
        (None, Some(result)) => {
            let welcome: Welcome = serde_json::from_str(result.get()).map_err(|_| strange())?;
            if welcome.protocol < OLDEST {
                return Err(refused(too_old(&welcome.program)));
            }
            if welcome.protocol > PROTOCOL {
                return Err(refused(too_new(&welcome.program)));
            }
            Ok((lines, write, welcome))
        }
        (None, None) => Err(strange()),
    }
}

fn too_new(version: &str) -> Error {
    Error::new(Cause::BusyDataDir, Phrase::HolderTooNew { version: version.into() })
        .advise(Phrase::UpdateThisFerry)
}

/// The rows of a `changed`.
#[derive(Deserialize)]
struct Part {
    changed: Vec<Transfer>,
    removed: Vec<TransferId>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        self: Arc<Self>,
        mut lines: Lines<BufReader<impl AsyncRead + Unpin>>,
        mut write: impl AsyncWrite + Unpin,
        mut inbox: mpsc::Receiver<String>,
    ) {
        let reading = async {
            while let Ok(Some(line)) = lines.next().await {
                self.take(line);
            }
        };
        let writing = async {
            while let Some(line) = inbox.recv().await {
                if write_line(&mut write, line.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
            () = self.lost.cancelled() => {}
        }
        self.lost.cancel();
        // Whoever waits for an answer hears that there is none.
        self.waiting().clear();
    }

    fn take(&self, line: &[u8]) {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(line) else {
            tracing::warn!("the holder said something strange");
            return;
        };
        if let Some(id) = told.id {
            if let Some(waiting) = self.waiting().remove(&id) {
                let answer = match told.error {
                    Some(error) => Err(error),
                    None => Ok(told.result.map_or_else(null, ToOwned::to_owned)),
                };
                // Whoever asked may have gone meanwhile.
                let _ = waiting.send(answer);
            }
            return;
        }
        match told.method.as_deref() {
            Some(CHANGED) => {
                let part = told.params.and_then(|params| serde_json::from_str::<Part>(params.get()).ok());
                if let (Some(changes), Some(Part { changed, removed })) = (&self.changes, part) {
                    // Nobody listens: nobody misses it.
                    let _ = changes.send(Arc::new(Changes { changed, removed, ..Changes::default() }));
                }
            }
            Some(OVERTAKEN) => {
                if let Some(overtaken) = &self.overtaken {
                    // It ends only with this connection.
                    let _ = overtaken.send(());
                }
            }
            Some(LETTING_GO) => self.goes_to_window.store(true, Ordering::Relaxed),
            // Of a newer protocol: what it must not be without comes otherwise.
            _ => {}
        }
    }
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
