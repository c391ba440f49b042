//! Several users at once, each with a thread of his own: what only that shows is a lock that two of them wait for, and a moment
//! between two locks. The model is the same; a run cannot be repeated step by step, so nothing is made smaller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};

use ferry_engine::seams::Seams;
use ferry_engine::{Code, Engine, KeyState, ListWindow, Look, Settings, TransferId};

use super::chance::Chance;
use super::life::{Answer, add, command, folder, key_state, moving, options, setting, values, wrong_with};
use super::model::{Asked, Model, Stands, Value};
use super::plan::{Number, Step, Try, What};
use super::work::{World, number_of};

const USERS: u64 = 6;
/// Commands of each user in one life of Ferry's.
const COMMANDS: usize = 150;
/// And of all of them.
pub const COMMANDS_OF_A_LIFE: usize = COMMANDS * USERS as usize;
/// So many are commanded, the latest: the longer a command for all of them is at it, the likelier another one comes between.
const IN_SIGHT: usize = 120;
/// The list is looked at after every so manieth command.
const LOOK_EVERY: u64 = 5;
/// All of Ferry's waits, and all work, take this part of their time.
const SCALE: f64 = 0.000_5;
/// Nothing that is asked takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    root: PathBuf,
    engine: Engine,
    window: Arc<ListWindow>,
    world: Arc<World>,
    seen: Mutex<Seen>,
    next: AtomicU32,
    answered: Arc<AtomicU64>,
}

#[derive(Clone, Default)]
struct Seen {
    model: Model,
    /// Those whose command to add was answered, and which nobody has removed.
    ids: BTreeMap<Number, TransferId>,
}

impl Bench {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while held")
    }

    /// Looks at the list. Nothing begins or is answered meanwhile.
    fn look(&self) -> Result<(), String> {
        if let Some(breach) = self.world.breach() {
            return Err(breach);
        }
        let mut seen = self.seen();
        let rows = self.engine.transfers(|_| true);
        if let Some(wrong) = rows.iter().find_map(wrong_with) {
            return Err(wrong);
        }
        let list: BTreeMap<Number, Stands> =
            rows.iter().filter_map(|row| Some((number_of(row)?, Stands::of(&row.state)))).collect();
        if list.len() != rows.len() {
            return Err("one is on the list twice".to_owned());
        }
        seen.model.sees(&list)?;
        for (name, value) in values(&self.engine.settings(), key_state(&self.engine)) {
            seen.model.sees_setting(name, value)?;
        }
        Ok(())
    }

    async fn add(&self, chance: &mut Chance) -> Result<(), String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let what = What::by(chance);
        let tries: Vec<Try> = (0..chance.below(4)).map(|_| Try::by(chance)).collect();
        self.world.add(number, what, chance.one_in(3), &tries);
        let ticket = self.seen().model.begins(Asked::Add, &[number], what.has_account());
        match add(&self.engine, &self.root, number, what).await {
            Ok(Answer::Added(id)) => {
                let mut seen = self.seen();
                seen.ids.insert(number, id);
                seen.model.ends(&ticket, false)
            }
            Ok(Answer::Done) => Err(format!("{number} was added and has no id")),
            Err(error) => Err(format!("{number} was not added: {error}")),
        }
    }

    async fn ask(&self, step: &Step) -> Result<(), String> {
        if let Some((name, value, asking)) = setting(&self.engine, step) {
            let ticket = self.seen().model.sets(name, value);
            asking.await.map_err(|error| format!("{step:?}: {error}"))?;
            return self.seen().model.ends(&ticket, false);
        }
        let known = |seen: &Seen| -> (Vec<Number>, Vec<TransferId>) {
            step.numbers().iter().filter_map(|number| Some((*number, *seen.ids.get(number)?))).unzip()
        };
        let (numbers, ids) = known(&self.seen());
        if numbers.is_empty() {
            return Ok(());
        }
        match step {
            Step::Unhide(_) => self.window.unhide(&ids),
            Step::Reorder(_, before) => {
                let before = before.and_then(|before| self.seen().ids.get(&before).copied());
                match self.engine.reorder(&ids, before).await {
                    Err(error) if error.code() != Code::InvalidInput => {
                        return Err(format!("{step:?}: {error}"));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        let Some((asked, asking)) = command(&self.engine, &self.window, step, ids) else { return Ok(()) };
        let ticket = self.seen().model.begins(asked, &numbers, false);
        let is_refused = match asking.await {
            Ok(_) => false,
            Err(error) if error.code() == Code::InvalidInput => true,
            Err(error) => return Err(format!("{step:?}: {error}")),
        };
        let mut seen = self.seen();
        if asked == Asked::Remove && !is_refused {
            seen.ids.retain(|number, _| !numbers.contains(number));
        }
        seen.model.ends(&ticket, is_refused)
    }

    /// One of several.
    async fn user(self: Arc<Self>, mut chance: Chance) -> Result<(), String> {
        for _ in 0..COMMANDS {
            let known: Vec<Number> = self.seen().ids.keys().rev().take(IN_SIGHT).copied().collect();
            if known.len() < IN_SIGHT / 2 && !chance.one_in(3) {
                self.add(&mut chance).await?;
            } else {
                self.ask(&Step::command(&mut chance, &known)).await?;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            if chance.one_in(LOOK_EVERY) {
                self.look()?;
            }
        }
        Ok(())
    }

    /// Once nobody asks for anything more, everything ends or says what of its user it waits for.
    async fn rest(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.look()?;
            let moving = moving(&self.engine);
            if moving.is_empty() && self.world.is_at_work().is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("still on their way: {moving:?}"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Ferry's lives, one after the other, on one data folder.
async fn live(mut chance: Chance, lives: usize, answered: Arc<AtomicU64>) -> Result<(), String> {
    let root = folder();
    for name in ["uploads", "downloads"] {
        std::fs::create_dir(root.path().join(name)).expect("a folder");
    }
    let world = Arc::new(World::new(SCALE));
    let mut before = Seen::default();
    for (name, value) in values(&Settings::default(), KeyState::Missing) {
        before.model.has_setting(name, value);
    }
    for life in 0..lives {
        let seams = Seams { work: Some(Arc::clone(&world) as _), is_unsynced: true, ..Seams::default() };
        let engine = open(root.path().to_owned(), seams).await?;
        let rows = engine.transfers(|_| true);
        let list: BTreeMap<Number, Stands> =
            rows.iter().filter_map(|row| Some((number_of(row)?, Stands::of(&row.state)))).collect();
        before.model.has_setting("key", Value::Word("none"));
        before.model.begins_anew(&list, &values(&engine.settings(), key_state(&engine)))?;
        before.ids = rows.iter().filter_map(|row| Some((number_of(row)?, row.id))).collect();
        for (number, _) in list.iter().filter(|(_, stands)| **stands == Stands::Canceled) {
            world.may_lack_secrets(*number);
        }
        let window = Arc::new(ListWindow::new(engine.clone(), |_| ()));
        window.open(Look::default(), true);
        let bench = Arc::new(Bench {
            root: root.path().to_owned(),
            engine,
            window,
            world: Arc::clone(&world),
            seen: Mutex::new(before),
            next: AtomicU32::new((life as u32 + 1) * 10_000),
            answered: Arc::clone(&answered),
        });
        let users: Vec<_> =
            (0..USERS).map(|_| tokio::spawn(Arc::clone(&bench).user(chance.fork()))).collect();
        for user in users {
            user.await.map_err(|panic| panic.to_string())??;
        }
        bench.rest().await?;
        bench.engine.shutdown().await;
        before = bench.seen().clone();
    }
    Ok(())
}

/// Opens the data folder once the life before has let go of it.
async fn open(root: PathBuf, seams: Seams) -> Result<Engine, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Engine::open(options(&root, seams.clone(), SCALE)).await {
            Ok(engine) => return Ok(engine),
            Err(error) if error.code() == Code::BusyDataDir && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(format!("the data folder was not opened: {error}")),
        }
    }
}

/// Lets several users at Ferry, in so many of its lives. Locks that are taken in two orders stand still for ever, with every
/// timer: that is looked at from outside.
pub fn run(chance: Chance, lives: usize) {
    let answered = Arc::<AtomicU64>::default();
    let (done, is_done) = mpsc::channel();
    let counted = Arc::clone(&answered);
    let began = Instant::now();
    let working = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(USERS as usize).enable_all().build();
        let found = runtime.expect("a runtime").block_on(live(chance, lives, counted));
        // Nobody waits any more if it has stood still.
        let _ = done.send(found);
    });
    let mut before = 0;
    let found = loop {
        match is_done.recv_timeout(PATIENCE) {
            Ok(found) => break found,
            Err(RecvTimeoutError::Disconnected) => {
                std::panic::resume_unwind(working.join().expect_err("it has said nothing"));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = answered.load(Ordering::Relaxed);
                assert_ne!(now, before, "it stands still after {now} commands");
                before = now;
            }
        }
    };
    let (commands, seconds) = (answered.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    println!("{commands} commands by {USERS} threads in {seconds:.1} s");
    if let Err(breach) = found {
        panic!("after {commands} commands: {breach}");
    }
}
