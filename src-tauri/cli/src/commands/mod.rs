//! The commands, one file a group. Each parses nothing and decides nothing: it asks the engine and reports.

mod assets;
mod completions;
mod demo;
mod detached;
mod download;
mod key;
mod lines;
mod man;
mod queue;
mod sandbox;
mod serve;
mod services;
mod upload;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ferry_engine::api::{self, HolderKind, OneQueue, Opened};
use ferry_engine::{Engine, Error, Options, Secret};

use crate::Outcome;
use crate::arguments::{Command, Everywhere, Pace};
use crate::interrupt::{Ending, Interrupt};
use crate::report::Report;

/// The most that is read from stdin: no URL and no key is longer.
const LONGEST_SECRET: u64 = 64 * 1024;

/// Runs a command to its end.
pub async fn run(command: Command, mut session: Session) -> Outcome {
    let ended = dispatch(command, &mut session).await;
    session.close(ended)
}

/// Runs a command that goes on until it is interrupted.
pub async fn run_until(command: Command, interrupt: &mut Interrupt, mut session: Session) -> Outcome {
    let ended = match command {
        Command::Sandbox { port } => sandbox::run(port, interrupt, &mut session).await,
        Command::Serve { idle } => serve::run(idle, interrupt, &mut session).await,
        Command::Queue(shown) => queue::watch(&shown.ids, interrupt, &mut session).await,
        other => dispatch(other, &mut session).await,
    };
    session.close(ended)
}

async fn dispatch(command: Command, session: &mut Session) -> Result<Outcome, Error> {
    match command {
        Command::Upload(upload) => upload::run(upload, session).await,
        Command::Download(download) => download::run(download, session).await,
        Command::Queue(shown) => queue::list(&shown.ids, session).await,
        Command::Pause(rows) => queue::pause(rows, session).await,
        Command::Resume(rows) => queue::resume(rows, session).await,
        Command::Cancel(rows) => queue::cancel(rows, session).await,
        Command::Retry(rows) => queue::retry(rows, session).await,
        Command::Remove(rows) => queue::remove(rows, session).await,
        Command::Assets(assets) => assets::run(assets, session).await,
        Command::Services => services::list(session).await,
        Command::Check { service } => services::check(service, session).await,
        Command::Key(key) => key::run(key, session).await,
        Command::Demo { size } => demo::run(size, session).await,
        Command::Sandbox { .. } | Command::Serve { .. } => {
            Err(Error::internal("A server was started without an ear for Ctrl-C"))
        }
        Command::Completions { shell } => completions::run(shell, session),
        Command::Man => man::run(session),
    }
}

/// What every command works with.
#[derive(Debug)]
pub struct Session {
    /// Where it says what it has to say.
    pub report: Report,
    data_dir: Option<PathBuf>,
    engines: Arc<Engines>,
}

impl Session {
    /// A session with the options that stand on the command line.
    pub fn new(everywhere: &Everywhere, engines: Arc<Engines>) -> Self {
        let data_dir = everywhere.data_dir.clone().filter(|folder| !folder.as_os_str().is_empty());
        Self { report: Report::new(everywhere), data_dir, engines }
    }

    /// Says how a command failed, if it did.
    fn close(&mut self, ended: Result<Outcome, Error>) -> Outcome {
        self.report.finish();
        ended.unwrap_or_else(|error| {
            self.report.error(&error);
            Outcome::Failed
        })
    }

    /// Where settings, queue and library live.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        match &self.data_dir {
            Some(folder) => std::path::absolute(folder).map_err(|error| {
                Error::invalid("The data folder has no full path").because(error.to_string())
            }),
            None => ferry_engine::default_data_dir(),
        }
    }

    /// Finds whoever holds the user's queue, or becomes its holder. Then only what is added or resumed will move.
    pub async fn open(&self, pace: Pace) -> Result<OneQueue, Error> {
        self.open_as(HolderKind::Terminal, pace, None).await
    }

    /// The same, as a terminal's run or a server, with a number of connections for the downloads of this run.
    pub async fn open_as(
        &self,
        kind: HolderKind,
        pace: Pace,
        connections: Option<u8>,
    ) -> Result<OneQueue, Error> {
        let Pace { limit_rate, concurrency, retries } = pace;
        let pace = api::Pace { limit_rate, concurrency, retries, connections };
        let opened = Opened { data_dir: self.data_dir()?, kind, pace };
        let queue = OneQueue::open(opened).await?;
        self.engines.keep(&queue);
        for notice in queue.notices() {
            self.report.note(&notice.to_string());
        }
        Ok(queue)
    }

    /// Finds whoever holds the user's queue; nothing if nobody does.
    pub async fn join(&self, pace: Pace, connections: Option<u8>) -> Result<Option<OneQueue>, Error> {
        let Pace { limit_rate, concurrency, retries } = pace;
        let pace = api::Pace { limit_rate, concurrency, retries, connections };
        let opened = Opened { data_dir: self.data_dir()?, kind: HolderKind::Terminal, pace };
        let queue = OneQueue::join(opened).await?;
        if let Some(queue) = &queue {
            self.engines.keep(queue);
        }
        Ok(queue)
    }

    /// Opens an engine that has nothing to do with the user's queue.
    pub async fn open_apart(&self, data_dir: PathBuf) -> Result<Engine, Error> {
        let mut options = Options::new(data_dir);
        options.resume_unfinished = false;
        let engine = Engine::open(options).await?;
        self.engines.keep_apart(&engine);
        Ok(engine)
    }
}

/// What this run has opened, so that an interruption can close it in order.
#[derive(Default)]
pub struct Engines {
    queue: Mutex<Option<OneQueue>>,
    apart: Mutex<Vec<Engine>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engines")
    }
}

impl Engines {
    fn keep(&self, queue: &OneQueue) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue.clone());
    }

    fn keep_apart(&self, engine: &Engine) {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner).push(engine.clone());
    }

    fn queue(&self) -> Option<OneQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The user ends this run. Says whether the queue holds something that `ferry resume` would go on with.
    pub async fn interrupt(&self, ending: Ending) -> bool {
        match self.queue() {
            Some(queue) => queue.interrupt(ending == Ending::Wanted).await,
            None => false,
        }
    }

    /// Writes everything down and lets the data folders go.
    pub async fn shut_down(&self) {
        if let Some(queue) = self.queue() {
            queue.close().await;
        }
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for engine in apart {
            engine.shutdown().await;
        }
    }
}

/// Reads a secret: asked for without echo on a terminal, else the whole of stdin.
async fn read_secret(prompt: &'static str) -> Result<Secret, Error> {
    // Reading blocks for as long as a person thinks: not on the async threads.
    let read = tokio::task::spawn_blocking(move || {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return rpassword::prompt_password(prompt);
        }
        let mut text = String::new();
        stdin.lock().take(LONGEST_SECRET).read_to_string(&mut text)?;
        Ok(text)
    });
    let text = match read.await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            return Err(Error::invalid("Nothing usable came from stdin").because(error.to_string()));
        }
        Err(error) => return Err(Error::internal(error.to_string())),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(
            Error::invalid("Nothing came from stdin").advise("write it to stdin, as in `ferry … < FILE`")
        );
    }
    Ok(Secret::new(text))
}
