//! A plan is carried out: by one thread, with a clock that passes only when nothing is left to do, on a disk in memory. The
//! list is looked at after every step.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use ferry_engine::seams::Seams;
use ferry_engine::{
    Changes, Code, DownloadRequest, Engine, Header, KeyState, Kind, ListWindow, Look, Options, Result,
    Secret, ServiceId, Settings, State, Transfer, TransferId, UploadRequest, WaitReason,
};
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::chance::Chance;
use super::model::{Asked, Model, Stands, Ticket, Value};
use super::plan::{Number, Plan, Step, What};
use super::work::{World, header, link, number_of, pass};

/// Ferry's own waits take this part of their time.
const WAIT_SCALE: f64 = 0.05;
/// No command takes longer, nor does all work once nobody interferes.
const PATIENCE: Duration = Duration::from_secs(600);
/// A shutdown ends, whatever still runs.
const SHUTDOWN: Duration = Duration::from_secs(3);
/// More never run at a time in one direction.
const MOST_AT_A_TIME: usize = 18;
/// So many commands wait for their answers at most.
const MOST_UNDER_WAY: usize = 12;
/// The one that is added when everything else is over.
const LAST: Number = 9_999;

/// What Ferry has done wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The same word for the same sort of fault.
    pub kind: &'static str,
    pub what: String,
    /// At which step.
    pub step: usize,
}

/// What a plan came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub steps: usize,
    pub attempts: u64,
    pub lives: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.attempts += other.attempts;
        self.lives += other.lives;
    }
}

/// How one of Ferry's lives ends.
enum End {
    Over,
    Quit,
    Kill,
}

/// What is answered to a command.
pub enum Answer {
    Done,
    Added(TransferId),
}

/// A command on its way.
pub type Asking = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

/// A command that was asked and not answered.
struct UnderWay {
    step: Step,
    ticket: Ticket,
    answer: JoinHandle<Result<Answer>>,
    /// Which of the orders that were asked for this one is.
    order: Option<usize>,
}

/// The orders that the list may have on the disk.
#[derive(Default)]
struct Orders {
    /// As it was last seen.
    seen: Vec<Number>,
    /// As the disk may have it, with how often it had been changed.
    kept: Vec<(usize, Vec<Number>)>,
    /// How often it was changed.
    count: usize,
    /// Those that were there when these were asked for, and how often it had been changed.
    asked: HashMap<Number, (usize, Vec<Number>)>,
}

struct Case {
    root: PathBuf,
    world: Arc<World>,
    model: Model,
    plan: Plan,
    /// The step that is being done.
    at: usize,
    ids: BTreeMap<Number, TransferId>,
    services: HashMap<Number, ServiceId>,
    orders: Orders,
    seams: Seams,
    clock: Arc<AtomicI64>,
    lives: usize,
}

/// One of Ferry's lives.
struct Life {
    engine: Engine,
    window: Arc<ListWindow>,
    changes: broadcast::Receiver<Arc<Changes>>,
    /// What a listener knows.
    told: BTreeMap<TransferId, Transfer>,
    revision: u64,
    hidden: Vec<Number>,
    under_way: Vec<UnderWay>,
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Work that panics is nobody's answer: it has to be counted where it happens.
pub fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

pub fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("ferry-commands-").tempdir_in(parent).expect("a folder")
}

/// How an engine of these tests is opened: as a window opens it.
pub fn options(root: &Path, seams: Seams, wait_scale: f64) -> Options {
    let mut options = Options::new(root.join("data"));
    options.resume_unfinished = true;
    options.keychain = false;
    options.overrides.wait_scale = Some(wait_scale);
    options.overrides.seams = seams;
    options
}

/// Does what a plan says, and looks at the list after each step.
pub fn run(plan: &Plan) -> std::result::Result<Tally, Breach> {
    count_panics();
    PANICS.set(0);
    let root = folder();
    for name in ["uploads", "downloads"] {
        std::fs::create_dir(root.path().join(name)).expect("a folder");
    }
    let world = Arc::new(World::new(1.0));
    let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
    let now = Arc::clone(&clock);
    let disk = Mutex::new(Chance::of(plan.disk));
    let waits = plan.disk > 0;
    let mut retry = Chance::of(plan.disk + 1);
    let longest = Mutex::new(move || retry.below(1_000) as f64 / 1_000.0);
    let seams = Seams {
        work: Some(Arc::clone(&world) as _),
        turns_of_the_disk: Some(Arc::new(move || {
            let mut chance = disk.lock().expect("no panic while held");
            if waits && chance.one_in(2) { chance.below(8) as usize } else { 0 }
        })),
        is_unsynced: true,
        // Every look at it takes a millisecond.
        clock: Some(Arc::new(move || now.fetch_add(1, Ordering::Relaxed).unsigned_abs())),
        chance: Some(Arc::new(move || longest.lock().expect("no panic while held")())),
    };
    let mut case = Case {
        root: root.path().to_owned(),
        world,
        model: Model::default(),
        plan: plan.clone(),
        at: 0,
        ids: BTreeMap::new(),
        services: HashMap::new(),
        orders: Orders::default(),
        seams,
        clock,
        lives: 0,
    };
    let settings = Settings::default();
    for (name, value) in values(&settings, KeyState::Missing) {
        case.model.has_setting(name, value);
    }
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (back, end) = runtime
            .block_on(runtime.spawn(async move {
                let end = case.live().await;
                (case, end)
            }))
            .expect("the test itself does not panic");
        case = back;
        // A kill: no task is ever asked again.
        drop(runtime);
        match end {
            Err(mut breach) => {
                breach.step = case.at;
                return Err(breach);
            }
            Ok(End::Over) => {
                return Ok(Tally { steps: case.at, attempts: case.world.attempts(), lives: case.lives });
            }
            Ok(End::Quit | End::Kill) => {}
        }
    }
}

/// The settings that plans change, and where the key is.
pub fn values(settings: &Settings, key: KeyState) -> [(&'static str, Value); 5] {
    let default = match &*settings.default_service {
        "mavi" => "mavi",
        "visual-search" => "visual-search",
        _ => "another",
    };
    let key = if key == KeyState::Missing { "none" } else { "there" };
    [
        ("uploads", Value::Number(settings.concurrent_uploads.into())),
        ("downloads", Value::Number(settings.concurrent_downloads.into())),
        ("retries", Value::Number(settings.retries)),
        ("default", Value::Word(default)),
        ("key", Value::Word(key)),
    ]
}

fn breach(kind: &'static str, what: impl Into<String>) -> Breach {
    Breach { kind, what: what.into(), step: 0 }
}

pub fn key_state(engine: &Engine) -> KeyState {
    let status = engine.services().into_iter().find(|status| status.id == "mavi");
    status.map_or(KeyState::Missing, |status| status.key)
}

/// What is wrong with a row, whatever happened before.
pub fn wrong_with(row: &Transfer) -> Option<String> {
    let is_live = matches!(row.state, State::Queued | State::Running | State::Verifying);
    let wrong = if row.ended_at.is_some() != row.state.has_ended() {
        "has an end that does not fit its state"
    } else if row.total.is_some_and(|total| row.bytes > total) {
        "has more bytes than there are"
    } else if row.state == State::Completed && row.total != Some(row.bytes) {
        "is completed and not whole"
    } else if row.wait.is_some() && !is_live {
        "waits, and is over"
    } else if row.stage.is_some() && !row.state.is_active() {
        "does something, and does not run"
    } else {
        return None;
    };
    Some(format!("{} {wrong}: {row:?}", row.name))
}

/// Where rows are to stand after a command.
fn reordered(order: &[Number], moved: &[Number], before: Option<Number>) -> Vec<Number> {
    let from = before.and_then(|before| order.iter().position(|number| *number == before));
    let is_moved = |number: &Number| moved.contains(number);
    let at = order[..from.unwrap_or(order.len())].iter().filter(|number| !is_moved(number)).count();
    let mut order: Vec<Number> = order.iter().copied().filter(|number| !is_moved(number)).collect();
    order.splice(at..at, moved.iter().copied());
    order
}

impl Case {
    async fn live(&mut self) -> std::result::Result<End, Breach> {
        self.lives += 1;
        let options = options(&self.root, self.seams.clone(), WAIT_SCALE);
        let engine = Engine::open(options)
            .await
            .map_err(|error| breach("not opened", format!("the data folder was not opened: {error}")))?;
        let changes = engine.subscribe();
        let window = Arc::new(ListWindow::new(engine.clone(), |_| ()));
        window.open(Look::default(), true);
        let snapshot = engine.snapshot();
        let mut life = Life {
            engine,
            window,
            changes,
            told: snapshot.transfers.into_iter().map(|row| (row.id, row)).collect(),
            revision: snapshot.revision,
            hidden: Vec::new(),
            under_way: Vec::new(),
        };
        self.begins_anew(&life)?;
        while let Some(step) = self.plan.steps.get(self.at).cloned() {
            self.at += 1;
            match step {
                Step::Kill => return Ok(End::Kill),
                Step::Quit => {
                    let quit = timeout(SHUTDOWN, life.engine.shutdown()).await;
                    quit.map_err(|_| breach("no end", "a shutdown did not end"))?;
                    self.take_answers(&mut life).await?;
                    return Ok(End::Quit);
                }
                step => self.do_step(&mut life, step).await?,
            }
            self.look(&mut life).await?;
        }
        self.come_to_an_end(&mut life).await?;
        Ok(End::Over)
    }

    /// What a new start finds.
    fn begins_anew(&mut self, life: &Life) -> std::result::Result<(), Breach> {
        let rows = life.engine.transfers(|_| true);
        let list = self.list(&rows)?;
        let settings = values(&life.engine.settings(), key_state(&life.engine));
        self.model.has_setting("key", Value::Word("none"));
        self.model.begins_anew(&list, &settings).map_err(|what| breach("another list", what))?;
        for row in &rows {
            let Some(number) = number_of(row) else { continue };
            // One whose command to add was never answered.
            self.ids.entry(number).or_insert(row.id);
            if row.state == State::Canceled {
                self.world.may_lack_secrets(number);
            }
        }
        let order: Vec<Number> = rows.iter().filter_map(number_of).collect();
        let is_kept = |kept: &[Number]| {
            let both = |one: &[Number], other: &[Number]| -> Vec<Number> {
                one.iter().copied().filter(|number| other.contains(number)).collect()
            };
            both(&order, kept) == both(kept, &order)
        };
        // Of an order whose command was not answered a part may be there.
        if let [(_, kept)] = &self.orders.kept[..]
            && !is_kept(kept)
        {
            return Err(breach("another order", format!("after a new start {order:?} in place of {kept:?}")));
        }
        self.orders.kept = vec![(self.orders.count, order.clone())];
        self.orders.seen = order;
        Ok(())
    }

    fn list(&self, rows: &[Transfer]) -> std::result::Result<BTreeMap<Number, Stands>, Breach> {
        let mut list = BTreeMap::new();
        for row in rows {
            let Some(number) = number_of(row) else {
                return Err(breach("another list", format!("nobody added {row:?}")));
            };
            if self.ids.get(&number).is_some_and(|id| *id != row.id) {
                return Err(breach("another list", format!("{number} has another id: {row:?}")));
            }
            if list.insert(number, Stands::of(&row.state)).is_some() {
                return Err(breach("another list", format!("{number} is on the list twice")));
            }
        }
        Ok(list)
    }

    /// Looks at everything that can be seen from outside.
    async fn look(&mut self, life: &mut Life) -> std::result::Result<(), Breach> {
        self.take_answers(life).await?;
        Self::hear(life)?;
        if PANICS.get() > 0 {
            return Err(breach("panic", "work of Ferry's panicked, see above"));
        }
        if let Some(what) = self.world.breach() {
            return Err(breach("work", what));
        }
        let rows = life.engine.transfers(|_| true);
        let list = self.list(&rows)?;
        self.model.sees(&list).map_err(|what| breach("another state", what))?;
        for (name, value) in values(&life.engine.settings(), key_state(&life.engine)) {
            self.model.sees_setting(name, value).map_err(|what| breach("another setting", what))?;
        }
        for row in &rows {
            if let Some(wrong) = wrong_with(row) {
                return Err(breach("a row that is wrong in itself", wrong));
            }
            let number = number_of(row).unwrap_or_default();
            if self.services.get(&number).is_some_and(|service| *service != row.service) {
                return Err(breach("another service", format!("{number} goes to {}", row.service)));
            }
        }
        for kind in [Kind::Upload, Kind::Download] {
            let active = rows.iter().filter(|row| row.kind == kind && row.state.is_active()).count();
            if active > MOST_AT_A_TIME {
                return Err(breach("too many at a time", format!("{active} {kind:?}s at a time")));
            }
        }
        self.looks_for_order(&rows)
    }

    /// Rows stay where they are, and who is new stands behind those that were there before.
    fn looks_for_order(&mut self, rows: &[Transfer]) -> std::result::Result<(), Breach> {
        let order: Vec<Number> = rows.iter().filter_map(number_of).collect();
        let is_wrong = |what: &str| {
            Err(breach("another order", format!("{:?} became {order:?}{what}", self.orders.seen)))
        };
        let stays = |one: &[Number], other: &[Number]| -> Vec<Number> {
            one.iter().copied().filter(|number| other.contains(number)).collect()
        };
        if stays(&self.orders.seen, &order) != stays(&order, &self.orders.seen) {
            return is_wrong(", which nobody asked for");
        }
        for (place, number) in order.iter().enumerate() {
            // One that was asked for while others were moved may stand between them.
            if !self.orders.seen.contains(number)
                && let Some((count, before)) = self.orders.asked.get(number)
                && *count == self.orders.count
                && order[place..].iter().any(|other| before.contains(other))
            {
                return is_wrong(&format!(", and {number} is new"));
            }
        }
        self.orders.seen = order;
        Ok(())
    }

    /// Takes in what a listener is told.
    fn hear(life: &mut Life) -> std::result::Result<(), Breach> {
        loop {
            match life.changes.try_recv() {
                Ok(changes) => {
                    if changes.revision <= life.revision {
                        continue;
                    }
                    if changes.revision != life.revision + 1 {
                        let before = life.revision;
                        return Err(breach("a gap", format!("{before} is followed by {}", changes.revision)));
                    }
                    life.revision = changes.revision;
                    for id in &changes.removed {
                        life.told.remove(id);
                    }
                    for row in &changes.changed {
                        life.told.insert(row.id, row.clone());
                    }
                    life.window.apply(&changes);
                }
                Err(TryRecvError::Lagged(_)) => {
                    let snapshot = life.engine.snapshot();
                    life.told = snapshot.transfers.into_iter().map(|row| (row.id, row)).collect();
                    life.revision = snapshot.revision;
                    life.window.catch_up();
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Takes in what was answered.
    async fn take_answers(&mut self, life: &mut Life) -> std::result::Result<(), Breach> {
        let (answered, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut life.under_way).into_iter().partition(|command| command.answer.is_finished());
        life.under_way = left;
        for command in answered {
            let Ok(answer) = command.answer.await else {
                return Err(breach("panic", format!("{:?} panicked", command.step)));
            };
            self.take_answer(life, &command.step, &command.ticket, command.order, answer)?;
        }
        Ok(())
    }

    fn take_answer(
        &mut self,
        life: &mut Life,
        step: &Step,
        ticket: &Ticket,
        order: Option<usize>,
        answer: Result<Answer>,
    ) -> std::result::Result<(), Breach> {
        let is_refused = match answer {
            Ok(Answer::Added(id)) => {
                if let Step::Add { number, .. } = step {
                    self.ids.insert(*number, id);
                }
                false
            }
            Ok(Answer::Done) => false,
            Err(error) if error.code() == Code::InvalidInput && matches!(ticket, Ticket::Transfers(..)) => {
                true
            }
            Err(error) => return Err(breach("an error", format!("{step:?}: {error}"))),
        };
        if let (Step::Hide(numbers), true) = (step, is_refused) {
            life.hidden.retain(|number| !numbers.contains(number));
        }
        if let Some(order) = order.filter(|_| !is_refused) {
            self.orders.kept.retain(|(count, _)| *count >= order);
        }
        self.model.ends(ticket, is_refused).map_err(|what| breach("another answer", what))
    }

    /// Asks for something; it is under way from here on.
    async fn ask(
        &mut self,
        life: &mut Life,
        step: Step,
        ticket: Ticket,
        mut asking: Asking,
    ) -> std::result::Result<(), Breach> {
        // Its first step is taken now, so that it is known of what it was asked.
        let first = futures_util::poll!(&mut asking);
        let order = match &step {
            Step::Reorder(moved, before) => self.is_reordered(life, moved, *before)?,
            _ => None,
        };
        match first {
            std::task::Poll::Ready(answer) => self.take_answer(life, &step, &ticket, order, answer),
            std::task::Poll::Pending => {
                let answer = tokio::spawn(asking);
                life.under_way.push(UnderWay { step, ticket, answer, order });
                Ok(())
            }
        }
    }

    /// A new order is there at once, if all of its rows are.
    fn is_reordered(
        &mut self,
        life: &Life,
        moved: &[Number],
        before: Option<Number>,
    ) -> std::result::Result<Option<usize>, Breach> {
        let was = self.orders.seen.clone();
        if moved.iter().chain(&before).any(|number| !was.contains(number)) {
            return Ok(None);
        }
        let wanted = reordered(&was, moved, before);
        let order: Vec<Number> = life.engine.transfers(|_| true).iter().filter_map(number_of).collect();
        if order != wanted {
            return Err(breach("another order", format!("{was:?} became {order:?} in place of {wanted:?}")));
        }
        self.orders.count += 1;
        self.orders.kept.push((self.orders.count, order.clone()));
        self.orders.seen = order;
        Ok(Some(self.orders.count))
    }

    /// The ids of those of these whose command to add was answered.
    fn known(&self, numbers: &[Number]) -> (Vec<Number>, Vec<TransferId>) {
        numbers.iter().filter_map(|number| Some((*number, *self.ids.get(number)?))).unzip()
    }

    async fn do_step(&mut self, life: &mut Life, step: Step) -> std::result::Result<(), Breach> {
        let all = match &step {
            Step::RemoveHidden => life.hidden.clone(),
            step => step.numbers().to_vec(),
        };
        let (numbers, ids) = self.known(&all);
        if numbers.is_empty() && !all.is_empty() {
            return Ok(());
        }
        if life.under_way.len() > MOST_UNDER_WAY {
            self.all_answered(life).await?;
            self.look(life).await?;
        }
        if let Some((name, value, asking)) = setting(&life.engine, &step) {
            let ticket = self.model.sets(name, value);
            return self.ask(life, step, ticket, asking).await;
        }
        match &step {
            Step::Add { number, what, is_long, tries } => {
                if self.services.contains_key(number) {
                    return Ok(());
                }
                let (number, what) = (*number, *what);
                self.world.add(number, what, *is_long, tries);
                self.services.insert(number, service_of(&life.engine, what));
                self.orders.asked.insert(number, (self.orders.count, self.orders.seen.clone()));
                let ticket = self.model.begins(Asked::Add, &[number], what.has_account());
                let asking = add(&life.engine, &self.root, number, what);
                return self.ask(life, step, ticket, asking).await;
            }
            Step::Hide(_) => {
                life.hidden.retain(|number| !numbers.contains(number));
                // A window hides what it was told of.
                let both = numbers.iter().zip(&ids).filter(|(_, id)| life.told.contains_key(id));
                life.hidden.extend(both.map(|(number, _)| number));
            }
            Step::Unhide(_) => {
                life.window.unhide(&ids);
                life.hidden.retain(|number| !numbers.contains(number));
            }
            Step::RemoveHidden => {
                let there: Vec<Number> =
                    numbers.iter().copied().filter(|number| self.orders.seen.contains(number)).collect();
                let ticket = self.model.begins(Asked::Remove, &there, false);
                let window = Arc::clone(&life.window);
                return self.ask(life, step, ticket, done(async move { window.remove_hidden().await })).await;
            }
            Step::Reorder(_, before) => {
                let before_id = before.map(|before| self.ids.get(&before).copied());
                // It was not added yet.
                if before_id == Some(None) {
                    return Ok(());
                }
                let (engine, step) = (life.engine.clone(), Step::Reorder(numbers, *before));
                let asking = done(async move { engine.reorder(&ids, before_id.flatten()).await });
                return self.ask_order(life, step, asking).await;
            }
            Step::Clock(by) => drop(self.clock.fetch_add(*by, Ordering::Relaxed)),
            Step::Turns(turns) => pass(*turns).await,
            Step::Time(time) => sleep(Duration::from_millis((*time).into())).await,
            Step::Answered => return self.all_answered(life).await,
            Step::Rest => return self.rest(life).await,
            _ => {}
        }
        let Some((asked, asking)) = command(&life.engine, &life.window, &step, ids) else { return Ok(()) };
        let ticket = self.model.begins(asked, &numbers, false);
        self.ask(life, step, ticket, asking).await
    }

    /// Asks for another order: who named a row that is gone is refused.
    async fn ask_order(
        &mut self,
        life: &mut Life,
        step: Step,
        asking: Asking,
    ) -> std::result::Result<(), Breach> {
        let Step::Reorder(moved, before) = &step else { return Ok(()) };
        let is_one_gone = moved.iter().chain(before).any(|number| !self.orders.seen.contains(number));
        if !is_one_gone {
            // It changes nothing that a transfer is.
            let ticket = self.model.begins(Asked::GoOn, &[], false);
            return self.ask(life, step, ticket, asking).await;
        }
        match asking.await {
            Err(error) if error.code() == Code::InvalidInput => Ok(()),
            Err(error) => Err(breach("an error", format!("{step:?}: {error}"))),
            Ok(_) => Err(breach("another answer", format!("{step:?} was done, and one of them is gone"))),
        }
    }

    /// Waits until every command is answered.
    async fn all_answered(&mut self, life: &mut Life) -> std::result::Result<(), Breach> {
        for command in std::mem::take(&mut life.under_way) {
            let UnderWay { step, ticket, answer, order } = command;
            let Ok(answer) = timeout(PATIENCE, answer).await else {
                return Err(breach("no end", format!("{step:?} is not answered")));
            };
            let Ok(answer) = answer else {
                return Err(breach("panic", format!("{step:?} panicked")));
            };
            self.take_answer(life, &step, &ticket, order, answer)?;
        }
        Ok(())
    }

    /// Waits until everything has ended or says what of its user it waits for.
    async fn rest(&mut self, life: &mut Life) -> std::result::Result<(), Breach> {
        self.all_answered(life).await?;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.look(life).await?;
            let moving = moving(&life.engine);
            if moving.is_empty() && self.world.is_at_work().is_empty() {
                break;
            }
            if tokio::time::Instant::now() > until {
                let work = self.world.is_at_work();
                return Err(breach("no end", format!("work for {work:?}; still on their way: {moving:?}")));
            }
            sleep(Duration::from_millis(300)).await;
        }
        // Listeners are told within a moment, and then know all.
        sleep(Duration::from_secs(1)).await;
        Self::hear(life)?;
        let rows = life.engine.transfers(|_| true);
        if let Some(row) = rows.iter().find(|row| life.told.get(&row.id) != Some(row)) {
            let told = life.told.get(&row.id);
            return Err(breach("not told", format!("{row:?}, and a listener knows {told:?}")));
        }
        if life.told.len() != rows.len() {
            return Err(breach("not told", "a listener knows rows that are gone"));
        }
        Ok(())
    }

    /// Nothing goes wrong any more: everything arrives that can.
    async fn come_to_an_end(&mut self, life: &mut Life) -> std::result::Result<(), Breach> {
        self.world.calms_down();
        // Who asks for one more attempt while one is about to fail asks for nothing.
        self.rest(life).await?;
        self.do_step(life, Step::SetKey).await?;
        self.all_answered(life).await?;
        let there = self.orders.seen.clone();
        if !there.is_empty() {
            self.do_step(life, Step::Retry(there)).await?;
        }
        let last = Step::Add { number: LAST, what: What::OpenLink, is_long: false, tries: Vec::new() };
        self.do_step(life, last).await?;
        self.rest(life).await?;
        let left = life.engine.transfers(|row| row.state != State::Completed);
        // Of a canceled one the link was in memory only, and went with it.
        let lost =
            |row: &Transfer| matches!(&row.state, State::Failed(failure) if failure.code == Code::ExpiredUrl);
        if let Some(row) = left.iter().find(|row| !lost(row)) {
            return Err(breach("no end", format!("it was to arrive, and is {row:?}")));
        }
        if !life.engine.has_transfer(|row| number_of(row) == Some(LAST)) {
            return Err(breach("no end", "nothing is added any more"));
        }
        timeout(SHUTDOWN, life.engine.shutdown())
            .await
            .map_err(|_| breach("no end", "a shutdown did not end"))
    }
}

/// A command on transfers, as it is asked of Ferry.
pub fn command(
    engine: &Engine,
    window: &Arc<ListWindow>,
    step: &Step,
    ids: Vec<TransferId>,
) -> Option<(Asked, Asking)> {
    let (engine, window) = (engine.clone(), Arc::clone(window));
    Some(match step {
        Step::Pause(_) => (Asked::Pause, done(async move { engine.pause(&ids).await })),
        Step::Cancel(_) => (Asked::Cancel, done(async move { engine.cancel(&ids).await })),
        Step::Resume(_) => (Asked::GoOn, done(async move { engine.resume(&ids).await })),
        Step::Retry(_) => (Asked::GoOn, done(async move { engine.retry(&ids).await })),
        Step::Remove(_) => (Asked::Remove, done(async move { engine.remove(&ids).await })),
        Step::TakeBack(_) => (Asked::TakeBack, done(async move { window.take_back(&ids).await.map(drop) })),
        Step::Hide(_) => (Asked::PauseIfLive, done(async move { window.hide(&ids).await.map(drop) })),
        _ => return None,
    })
}

/// A change of a setting or a key: its name, its new value, and how it is asked of Ferry.
pub fn setting(engine: &Engine, step: &Step) -> Option<(&'static str, Value, Asking)> {
    let (engine, step) = (engine.clone(), step.clone());
    let (name, value) = match step {
        Step::SetUploads(most) => ("uploads", Value::Number(most.into())),
        Step::SetDownloads(most) => ("downloads", Value::Number(most.into())),
        Step::SetRetries(most) => ("retries", Value::Number(most)),
        Step::SetDefault(service) => ("default", Value::Word(service)),
        Step::SetKey => ("key", Value::Word("there")),
        Step::RemoveKey => ("key", Value::Word("none")),
        _ => return None,
    };
    let asking = done(async move {
        let patch = match step {
            Step::SetUploads(most) => serde_json::json!({ "concurrent_uploads": most }),
            Step::SetDownloads(most) => serde_json::json!({ "concurrent_downloads": most }),
            Step::SetRetries(most) => serde_json::json!({ "retries": most }),
            Step::SetDefault(service) => serde_json::json!({ "default_service": service }),
            Step::SetKey => return engine.set_key("mavi", Secret::new("sk-commands")).await.map(drop),
            _ => return engine.remove_key("mavi").await,
        };
        let patch = serde_json::from_value(patch).expect("a patch");
        engine.patch_settings(patch).await.map(drop)
    });
    Some((name, value, asking))
}

/// Rows that are to go on by themselves.
pub fn moving(engine: &Engine) -> Vec<String> {
    let problems: Vec<ServiceId> = engine
        .services()
        .into_iter()
        .filter(|status| status.problem.is_some())
        .map(|status| status.id)
        .collect();
    let waits_for_user = |row: &Transfer| {
        problems.contains(&row.service)
            && row
                .wait
                .as_ref()
                .is_some_and(|wait| matches!(wait.reason, WaitReason::Key | WaitReason::Quota))
    };
    let moving = engine.transfers(|row| Stands::of(&row.state) == Stands::Live && !waits_for_user(row));
    moving.iter().map(|row| format!("{} {} {:?}", row.name, row.state.word(), row.wait)).collect()
}

fn done(asking: impl Future<Output = Result<()>> + Send + 'static) -> Asking {
    Box::pin(async move { asking.await.map(|()| Answer::Done) })
}

/// The service that a transfer is to go to, if it is added now.
fn service_of(engine: &Engine, what: What) -> ServiceId {
    match what {
        What::Asset | What::File => "mavi".into(),
        What::AssetOfDefault => engine.settings().default_service,
        _ => ServiceId::any_link(),
    }
}

/// Adds a transfer.
pub fn add(engine: &Engine, root: &Path, number: Number, what: What) -> Asking {
    let engine = engine.clone();
    let header = Header { name: "cookie".to_owned(), value: header(number) };
    let headers = if what.has_header() { vec![header] } else { Vec::new() };
    if what.is_upload() {
        let path = root.join("uploads").join(format!("{number}.bin"));
        std::fs::write(&path, [number as u8; 7]).expect("a file");
        let to = (what != What::File).then(|| link(number, what));
        let service = (what == What::File).then(|| "mavi".into());
        let request = UploadRequest { paths: vec![path], to, service, headers, ..UploadRequest::default() };
        return Box::pin(async move {
            let ids = engine.upload(request).await?;
            Ok(ids.first().map_or(Answer::Done, |id| Answer::Added(*id)))
        });
    }
    let is_asset = matches!(what, What::Asset | What::AssetOfDefault);
    let request = DownloadRequest {
        what: if is_asset { format!("asset{number}") } else { link(number, what) },
        service: (what == What::Asset).then(|| "mavi".into()),
        folder: Some(root.join("downloads")),
        name: Some(format!("{number}.bin")),
        headers,
        ..DownloadRequest::default()
    };
    Box::pin(async move { engine.download(request).await.map(Answer::Added) })
}
