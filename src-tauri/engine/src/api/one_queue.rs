//! A terminal's way to the one queue of a data folder: it holds the folder, or is a client of who does. When the holder goes,
//! however it goes, another of its clients becomes the holder; commands and what is followed go on there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Connection, Listening, Unreached, busy};
use super::command::{
    Caller, Command, Download, Follow, GoOn, Ids, Resume, Retry, Rows, Stop, Upload, Watch, Which, WirePath,
};
use super::holder::Holder;
use super::place::Said;
use super::wire::{HolderKind, PATIENCE};
use crate::engine::{Changes, DownloadRequest, Engine, Options, UploadRequest, is_held};
use crate::error::{Code, Error, Result};
use crate::terms::{Pace, Terms};
use crate::transfer::{AddedBy, Transfer, TransferId};
use crate::upload::sent_before::AddedUploads;
use crate::words::Words;

/// Listeners may fall behind this many messages before they must read again.
const BACKLOG: usize = 64;
/// How often a place that is not served yet is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A window that takes the folder over has it by then; if it comes to nothing, a client takes it.
const WINDOWS_TURN: Duration = Duration::from_secs(3);
/// When a holder has died, one of its clients has become the next by then.
const AFTER_ANOTHER: Duration = Duration::from_millis(500);
/// What is going on when a run ends in order has this long.
const CLOSING: Duration = Duration::from_millis(1900);
/// So many ids are named in one command: it fits into a line.
const IDS_TOGETHER: usize = 20_000;
/// So many rows are answered at a time.
const ROWS_TOGETHER: usize = 1_000;
/// So many bytes of links are added together.
const LINKS_TOGETHER: usize = 256 << 10;

/// How a queue is opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The data folder.
    pub data_dir: PathBuf,
    /// `Terminal` or `Serve`. The latter goes on with everything unfinished.
    pub kind: HolderKind,
    /// What this run wants for the transfers that it lets go on.
    pub pace: Pace,
}

/// What this process is to the data folder just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Looks for a holder.
    Looking,
    /// Holds it, and serves it there.
    Holder {
        /// Absent where no socket could be made.
        place: Option<String>,
    },
    /// Is served.
    Client {
        /// By what.
        kind: HolderKind,
        /// By which process.
        pid: u32,
    },
    /// Has ended.
    Ended,
}

/// The queue, whoever holds it.
#[derive(Debug, Clone)]
pub struct OneQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    opened: Opened,
    terms: Arc<Terms>,
    /// Whether it becomes the holder where there is none.
    may_hold: bool,
    link: watch::Sender<Link>,
    changes: Mutex<Option<broadcast::Sender<Arc<Changes>>>>,
    /// What this run has let go on.
    mine: Mutex<BTreeSet<TransferId>>,
    /// Those of them that somebody else had let go on before.
    others: Mutex<BTreeSet<TransferId>>,
    watches: std::sync::atomic::AtomicBool,
    closing: CancellationToken,
    minding: Mutex<Option<JoinHandle<()>>>,
    notices: Mutex<Vec<Words>>,
}

/// The way to whoever holds the folder.
#[derive(Debug, Clone)]
enum Link {
    /// There is none just now.
    Looking,
    Own(Arc<Own>),
    Client(Arc<Connection>),
    /// There will be none any more.
    Failed(Error),
}

#[derive(Debug)]
struct Own {
    holder: Holder,
    caller: Caller,
}

impl OneQueue {
    /// Finds the holder of a data folder, or becomes it.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::open`]; `busy_data_dir` if the holder does not answer within ten seconds, or speaks another version.
    pub async fn open(opened: Opened) -> Result<Self> {
        Self::opened(opened, true).await?.ok_or_else(Error::canceled)
    }

    /// Finds the holder of a data folder; nothing if nobody holds it.
    ///
    /// # Errors
    ///
    /// `busy_data_dir` if the holder does not answer within ten seconds, or speaks another version.
    pub async fn join(opened: Opened) -> Result<Option<Self>> {
        Self::opened(opened, false).await
    }

    async fn opened(opened: Opened, may_hold: bool) -> Result<Option<Self>> {
        let shared = Arc::new(Shared {
            terms: Terms::new(opened.pace, opened.kind == HolderKind::Terminal, None),
            opened,
            may_hold,
            link: watch::Sender::new(Link::Looking),
            changes: Mutex::new(Some(broadcast::Sender::new(BACKLOG))),
            mine: Mutex::default(),
            others: Mutex::default(),
            watches: false.into(),
            closing: CancellationToken::new(),
            minding: Mutex::default(),
            notices: Mutex::default(),
        });
        let Some((link, overtaken)) = shared.find(Duration::ZERO).await? else { return Ok(None) };
        if let Link::Own(own) = &link {
            *lock(&shared.notices) = own.holder.engine().notices();
        }
        shared.link.send_replace(link.clone());
        let minding = tokio::spawn(Arc::clone(&shared).mind(link, overtaken));
        *lock(&shared.minding) = Some(minding);
        Ok(Some(Self { shared }))
    }

    /// What the user must be told about this start, if this process holds the folder.
    pub fn notices(&self) -> Vec<Words> {
        lock(&self.shared.notices).clone()
    }

    /// What this process is to the data folder just now.
    pub fn role(&self) -> Role {
        role_of(&self.shared.link.borrow())
    }

    /// Waits until this process is something else than that to the data folder.
    pub async fn role_other_than(&self, than: &Role) -> Role {
        let mut links = self.shared.link.subscribe();
        let is_other = |link: &Link| role_of(link) != *than;
        links.wait_for(is_other).await.map_or(Role::Ended, |link| role_of(&link))
    }

    /// Whether nothing is to be done: nothing moves or waits for its turn, and nobody is served.
    pub fn is_idle(&self) -> bool {
        match &*self.shared.link.borrow() {
            Link::Own(own) => own.holder.clients() == 0 && own.holder.engine().is_idle(),
            Link::Client(_) | Link::Failed(_) => true,
            Link::Looking => false,
        }
    }

    /// Has a command carried out by whoever holds the queue, also if that is another one in the end.
    ///
    /// # Errors
    ///
    /// Those of the command; `busy_data_dir` when no holder can be reached any more.
    pub async fn call<C: Command>(&self, command: C) -> Result<C::Reply> {
        let mut links = self.shared.link.subscribe();
        loop {
            let link = links.borrow_and_update().clone();
            if let Some(reply) = call_on(&link, &command).await {
                return reply;
            }
            if links.changed().await.is_err() {
                return Err(Error::canceled());
            }
        }
    }

    /// Changes of what is followed, from now on; a listener that falls behind gets `Lagged` and reads its rows again. Ends
    /// when no holder can be reached any more.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Changes>> {
        lock(&self.shared.changes)
            .as_ref()
            .map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    /// Why no holder can be reached any more, if so.
    pub fn failure(&self) -> Option<Error> {
        match &*self.shared.link.borrow() {
            Link::Failed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Adds files.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::add_uploads`] and [`OneQueue::call`].
    pub async fn upload(&self, request: UploadRequest) -> Result<AddedUploads> {
        let UploadRequest { paths, .. } = request;
        let paths = paths.into_iter().map(WirePath::from).collect();
        let request = UploadRequest { paths: Vec::new(), ..request };
        let added = self.call(Upload { token: rand::random(), paths, request }).await?;
        lock(&self.shared.mine).extend(&added.ids);
        Ok(added)
    }

    /// Adds downloads; what is wrong with one keeps none of the others.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::download_all`] and [`OneQueue::call`].
    pub async fn download(&self, requests: Vec<DownloadRequest>) -> Result<Vec<Result<TransferId>>> {
        let mut all = Vec::with_capacity(requests.len());
        let mut left = requests.into_iter().peekable();
        while left.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(next) =
                left.next_if(|next| some.is_empty() || bytes + weight(next) <= LINKS_TOGETHER)
            {
                bytes += weight(&next);
                some.push(next);
            }
            let added = self.call(Download { token: rand::random(), requests: some }).await?;
            lock(&self.shared.mine).extend(added.iter().flatten());
            all.extend(added.into_iter().map(|one| one.map_err(Error::from)));
        }
        Ok(all)
    }

    /// Lets transfers go on: stopped ones, or (`again`) those that failed.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::resume`] and [`OneQueue::call`].
    pub async fn go_on(&self, ids: &[TransferId], again: bool) -> Result<()> {
        let moving = self.rows(ids).await?.into_iter().filter(|row| row.state.is_active());
        lock(&self.shared.others).extend(moving.map(|row| row.id));
        lock(&self.shared.mine).extend(ids);
        for ids in ids.chunks(IDS_TOGETHER) {
            let ids = ids.to_vec();
            if again {
                self.call(Retry { ids }).await?;
            } else {
                self.call(Resume { ids }).await?;
            }
        }
        Ok(())
    }

    /// Hears of these from here on, and gets them as they stand, without those that are unknown.
    ///
    /// # Errors
    ///
    /// Those of [`OneQueue::call`].
    pub async fn follow(&self, ids: &[TransferId]) -> Result<Vec<Transfer>> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ROWS_TOGETHER) {
            rows.extend(self.call(Follow { ids: ids.to_vec() }).await?);
        }
        Ok(rows)
    }

    /// Hears of every transfer from here on.
    ///
    /// # Errors
    ///
    /// Those of [`OneQueue::call`].
    pub async fn watch(&self) -> Result<()> {
        self.shared.watches.store(true, std::sync::atomic::Ordering::Relaxed);
        self.call(Watch {}).await
    }

    /// These rows, without those that are unknown.
    ///
    /// # Errors
    ///
    /// Those of [`OneQueue::call`].
    pub async fn rows(&self, ids: &[TransferId]) -> Result<Vec<Transfer>> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ROWS_TOGETHER) {
            rows.extend(self.call(Rows { ids: ids.to_vec() }).await?);
        }
        Ok(rows)
    }

    /// The rows that stand like this, in the list's order.
    ///
    /// # Errors
    ///
    /// Those of [`OneQueue::call`].
    pub async fn all(&self, which: Which) -> Result<Vec<Transfer>> {
        let ids = self.call(Ids { which }).await?;
        self.rows(&ids).await
    }

    /// Has a command about some rows carried out, as many at a time as it can name.
    ///
    /// # Errors
    ///
    /// Those of the command and of [`OneQueue::call`].
    pub async fn each<C: Command<Reply = ()>>(
        &self,
        ids: &[TransferId],
        command: impl Fn(Vec<TransferId>) -> C,
    ) -> Result<()> {
        for ids in ids.chunks(IDS_TOGETHER) {
            self.call(command(ids.to_vec())).await?;
        }
        Ok(())
    }

    /// This run ends before its work has. As a client it stops (`pause`) what it has let go on, or leaves that running; what it
    /// holds itself stays in the queue. Says whether something is unfinished.
    pub async fn interrupt(&self, pause: bool) -> bool {
        let link = self.shared.link.borrow().clone();
        if let Link::Own(own) = &link {
            return own.holder.engine().has_transfer(|row| !row.state.has_ended());
        }
        if !pause {
            return false;
        }
        let mine: Vec<TransferId> =
            lock(&self.shared.mine).difference(&lock(&self.shared.others)).copied().collect();
        let stopping = async {
            let mut some = self.call(Stop { ids: Vec::new() }).await? > 0;
            for ids in mine.chunks(IDS_TOGETHER) {
                some |= self.call(Stop { ids: ids.to_vec() }).await? > 0;
            }
            Ok::<bool, Error>(some)
        };
        match timeout(PATIENCE, stopping).await {
            Ok(Ok(some)) => some,
            Ok(Err(_)) | Err(_) => !mine.is_empty(),
        }
    }

    /// Writes everything down and lets the folder go, within two seconds.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        let minding = lock(&self.shared.minding).take();
        if let Some(minding) = minding
            && timeout(CLOSING, minding).await.is_err()
        {
            tracing::warn!("some transfers did not stop in time; they go on from their last journal entry");
        }
    }
}

fn weight(request: &DownloadRequest) -> usize {
    let headers: usize = request.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    request.what.len() + headers + 512
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn role_of(link: &Link) -> Role {
    match link {
        Link::Looking => Role::Looking,
        Link::Own(own) => Role::Holder { place: own.holder.place().map(str::to_owned) },
        Link::Client(connection) => {
            Role::Client { kind: connection.welcome().kind, pid: connection.welcome().pid }
        }
        Link::Failed(_) => Role::Ended,
    }
}

async fn call_on<C: Command>(link: &Link, command: &C) -> Option<Result<C::Reply>> {
    match link {
        Link::Looking => None,
        Link::Own(own) => own.holder.call(command.clone(), &own.caller).await,
        Link::Client(connection) => connection.call(command).await,
        Link::Failed(error) => Some(Err(error.clone())),
    }
}

type Found = (Link, mpsc::UnboundedReceiver<()>);

impl Shared {
    /// Finds the holder, or becomes it; not before this time has passed.
    async fn find(&self, hold_off: Duration) -> Result<Option<Found>> {
        let began = Instant::now();
        let data_dir = &self.opened.data_dir;
        loop {
            let (overtaken, told_overtaken) = mpsc::unbounded_channel();
            let listening = lock(&self.changes)
                .clone()
                .map(|changes| Listening { changes, overtaken: overtaken.clone() });
            match Connection::open(data_dir, self.opened.kind, self.opened.pace, listening).await {
                Ok(connection) => return Ok(Some((Link::Client(Arc::new(connection)), told_overtaken))),
                Err(Unreached::Refused(error)) => return Err(*error),
                Err(Unreached::Nobody) => {}
            }
            if !self.may_hold {
                // The next holder may be about to take it.
                if began.elapsed() >= AFTER_ANOTHER && !is_held(data_dir) {
                    return Ok(None);
                }
                if began.elapsed() >= PATIENCE {
                    return Err(busy(
                        &Said::read(data_dir).map_or_else(String::new, |said| said.pid.to_string()),
                    ));
                }
            } else if began.elapsed() >= hold_off {
                let mut options = Options::new(data_dir.clone());
                options.resume_unfinished = self.opened.kind == HolderKind::Serve;
                match Engine::open(options).await {
                    Ok(engine) => {
                        return Ok(Some((Link::Own(Arc::new(self.own(engine))), told_overtaken)));
                    }
                    Err(error) if error.code() == Code::BusyDataDir => {
                        if began.elapsed() >= PATIENCE {
                            let pid = Said::read(data_dir).map(|said| said.pid.to_string());
                            return Err(pid.map_or(error, |pid| busy(&pid)));
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            // Not all at the same moments.
            tokio::time::sleep(LOOK_AGAIN.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    fn own(&self, engine: Engine) -> Own {
        let caller = Caller {
            engine: engine.clone(),
            terms: Arc::clone(&self.terms),
            followed: Mutex::default(),
            at_work: Arc::default(),
            origin: Some(AddedBy::Terminal),
        };
        Own { holder: Holder::start(engine, self.opened.kind), caller }
    }

    /// Passes on what changes, from whoever holds the folder, and looks for the next one when that is no more.
    async fn mind(self: Arc<Self>, mut link: Link, mut overtaken: mpsc::UnboundedReceiver<()>) {
        loop {
            let hold_off = match &link {
                Link::Own(own) => self.mind_own(own).await,
                Link::Client(connection) => self.mind_connection(connection, &link, &mut overtaken).await,
                Link::Looking | Link::Failed(_) => None,
            };
            let Some(hold_off) = hold_off else { return };
            self.link.send_replace(Link::Looking);
            drop(link);
            let found = tokio::select! {
                found = self.find(hold_off) => found,
                () = self.closing.cancelled() => return,
            };
            match found {
                Ok(Some((next, told_overtaken))) => {
                    (link, overtaken) = (next, told_overtaken);
                    self.link.send_replace(link.clone());
                    if let Err(error) = self.go_on_at(&link).await {
                        self.fails(error);
                        return;
                    }
                }
                Ok(None) | Err(_) => {
                    let error = found.err().unwrap_or_else(Error::canceled);
                    self.fails(error);
                    return;
                }
            }
        }
    }

    /// Whoever listens hears that it is over.
    fn fails(&self, error: Error) {
        self.link.send_replace(Link::Failed(error));
        lock(&self.changes).take();
    }

    /// Until this process holds the folder no more. `None`: it ends; else how long a window has to take it.
    async fn mind_own(&self, own: &Own) -> Option<Duration> {
        let mut changes = own.holder.engine().subscribe();
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => self.tell(change),
                    Err(RecvError::Lagged(_)) => self.read_again(&Link::Looking, Some(own)).await,
                    Err(RecvError::Closed) => return None,
                },
                () = own.holder.wanted() => {
                    own.holder.let_go().await;
                    return Some(WINDOWS_TURN);
                }
                () = self.closing.cancelled() => {
                    own.holder.let_go().await;
                    return None;
                }
            }
        }
    }

    /// Until the connection is lost.
    async fn mind_connection(
        &self,
        connection: &Connection,
        link: &Link,
        overtaken: &mut mpsc::UnboundedReceiver<()>,
    ) -> Option<Duration> {
        loop {
            tokio::select! {
                () = connection.lost() => {
                    return Some(if connection.goes_to_window() { WINDOWS_TURN } else { Duration::ZERO });
                }
                Some(()) = overtaken.recv() => self.read_again(link, None).await,
                () = self.closing.cancelled() => {
                    connection.close();
                    return None;
                }
            }
        }
    }

    fn tell(&self, changes: Arc<Changes>) {
        if let Some(to) = &*lock(&self.changes) {
            // Nobody listens: nobody misses it.
            let _ = to.send(changes);
        }
    }

    fn watches(&self) -> bool {
        self.watches.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What this run has let go on goes on at a new holder.
    async fn go_on_at(&self, link: &Link) -> Result<()> {
        let mine: Vec<TransferId> = lock(&self.mine).iter().copied().collect();
        for ids in mine.chunks(ROWS_TOGETHER) {
            // One that is gone again is followed by the next.
            call_on(link, &GoOn { ids: ids.to_vec() }).await.transpose()?;
        }
        if self.watches() {
            call_on(link, &Watch {}).await.transpose()?;
        }
        self.read_again(link, None).await;
        Ok(())
    }

    /// Tells how everything that is followed stands. What cannot be read is read at the next holder.
    async fn read_again(&self, link: &Link, own: Option<&Own>) {
        let mut ids: Vec<TransferId> = lock(&self.mine).iter().copied().collect();
        if self.watches() {
            let which = Ids { which: Which::All };
            let all = match own {
                Some(own) => own.holder.call(which, &own.caller).await,
                None => call_on(link, &which).await,
            };
            if let Some(Ok(all)) = all {
                ids = all;
            }
        }
        for ids in ids.chunks(ROWS_TOGETHER) {
            let rows = Rows { ids: ids.to_vec() };
            let rows = match own {
                Some(own) => own.holder.call(rows, &own.caller).await,
                None => call_on(link, &rows).await,
            };
            let Some(Ok(changed)) = rows else { return };
            let there: BTreeSet<TransferId> = changed.iter().map(|row| row.id).collect();
            let removed = ids.iter().copied().filter(|id| !there.contains(id)).collect();
            self.tell(Arc::new(Changes { changed, removed, ..Changes::default() }));
        }
    }
}
