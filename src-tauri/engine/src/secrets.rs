//! The places where keys are kept.
//!
//! A key comes from a `FERRY_…_KEY` variable, else from memory, else from the platform's keychain. Where there is
//! no keychain (a server, a locked session) the key stays in memory for this run, and the faces say so.
//!
//! Wherever it is, the origin that it was given for is kept with it: an address that changes afterwards, by whatever hand,
//! takes no key along.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use ts_rs::TS;

use crate::error::{Cause, Error, Result};
use crate::http::origin::{BoundKey, Origin};
use crate::secret::Secret;
use crate::service::{self, ServiceId};
use crate::words::{Peer, Phrase, Words};

/// The `FERRY_…_KEY` variables that are in the environment no more.
static TAKEN: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Takes the keys out of the environment, so that no program inherits them that is started from here on, by Ferry or by what
/// it is built from: browsers and players that open a file, decoders, the processes of the page. The engine has them from
/// here.
///
/// # Safety
///
/// There must be no other thread yet: it could read the environment while that changes.
#[allow(unsafe_code, reason = "changing the environment is, and nothing but that keeps it from all programs")]
pub unsafe fn take_keys_from_environment() {
    let is_key =
        |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("FERRY_") && name.ends_with("_KEY"));
    let taken = std::env::vars_os().filter(|(name, _)| is_key(name)).collect();
    for (name, _) in TAKEN.get_or_init(|| taken) {
        // SAFETY: the caller sees to it that nobody reads.
        unsafe { std::env::remove_var(name) };
    }
}

/// Hands the keys that were taken on to a program: to Ferry itself, which takes the place of this process.
pub fn hand_on_keys(to: &mut Command) {
    to.envs(TAKEN.get().into_iter().flatten().map(|(name, value)| (name, value)));
}

fn key_variable(name: &str) -> Option<OsString> {
    let mut taken = TAKEN.get().into_iter().flatten();
    let taken = taken.find(|(variable, _)| variable == name).map(|(_, value)| value.clone());
    taken.or_else(|| std::env::var_os(name))
}

/// The keys in the `FERRY_…_KEY` variables, by service.
pub(crate) fn keys_from_environment() -> impl Iterator<Item = (ServiceId, Secret)> {
    let set = service::all()
        .filter_map(|about| Some((about, key_variable(about.key_variable?)?.into_string().ok()?)));
    let set = set.filter(|(_, key)| !key.trim().is_empty());
    set.map(|(about, key)| (about.into(), Secret::new(key.trim())))
}

/// How long a keychain is believed that it has no key.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long a keychain is waited for when a transfer needs a key. It may be hung, or be asking somebody who is not there; what
/// it says later still counts.
const READING_LIMIT: Duration = Duration::from_secs(4);
/// How long it is waited for by a user who changes a key, and whom it may be asking for a password.
const CHANGING_LIMIT: Duration = Duration::from_secs(15);
/// The application's name in the platform's keychain.
const KEYCHAIN_SERVICE: &str = "Ferry";

/// What one service's entry in the keychain is being asked: one thing at a time. Inside is when there was last no key, so
/// that a slow keychain is not asked for each transfer.
type Place = Arc<tokio::sync::Mutex<Option<Instant>>>;
/// The right to ask for one service. Whoever asks holds it until the keychain has answered, also when nobody waits for that.
type Turn = tokio::sync::OwnedMutexGuard<Option<Instant>>;

type KeychainResult<T> = Result<T, keyring_core::Error>;
/// Told of a service.
type TellOf = Box<dyn Fn(&str) + Send + Sync>;

/// The keys that this run knows.
#[derive(Debug, Clone, Default)]
struct Known {
    keys: HashMap<String, (BoundKey, KeyState)>,
    /// How often each was set or removed, so that what the keychain says of an older one is told apart.
    versions: HashMap<String, u64>,
}

/// Where a service's key is kept. The key itself never leaves the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum KeyState {
    /// The service takes no key.
    Unneeded,
    /// There is none yet.
    Missing,
    /// In the platform's keychain.
    Keychain,
    /// In memory until Ferry ends, as there is no keychain.
    Memory,
    /// In an environment variable.
    Variable,
}

/// Where the keys of the services are.
///
/// The keychain is asked in threads of its own, as it may never answer: the end of the program does not wait for them, nor
/// does one service for what another one asked.
pub(crate) struct Keys {
    /// Given for this run: by a variable or by whoever opened the engine.
    given: HashMap<ServiceId, BoundKey>,
    memory: Mutex<Known>,
    keychain: Option<Arc<dyn Keychain>>,
    reading_limit: Duration,
    changing_limit: Duration,
    /// Counts the changes of keys, and of where they go.
    changes: AtomicU64,
    places: Mutex<HashMap<String, Place>>,
    /// Services for which the keychain was asked something, and has not answered in time nor since.
    silent: Mutex<HashSet<String>>,
    /// Told of a service whose key came when nobody waited for it any more.
    when_late: OnceLock<TellOf>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("given", &self.given)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// The platform's keychain: blocks, asks the user, and on Linux runs a D-Bus conversation of its own.
trait Keychain: Send + Sync {
    fn read(&self, service: &str) -> KeychainResult<String>;
    fn write(&self, service: &str, entry: &str) -> KeychainResult<()>;
    fn delete(&self, service: &str) -> KeychainResult<()>;
}

struct Platform;

impl Keychain for Platform {
    fn read(&self, service: &str) -> KeychainResult<String> {
        entry(service)?.get_password()
    }

    fn write(&self, service: &str, text: &str) -> KeychainResult<()> {
        entry(service)?.set_password(text)
    }

    fn delete(&self, service: &str) -> KeychainResult<()> {
        entry(service)?.delete_credential()
    }
}

impl Keys {
    /// Reads the variables, unless a key was given; the keychain is asked only when a key is needed. What was given goes to
    /// the `outside` address of its service, the built-in one or one that was given the same way: the settings lie in a
    /// file, and a file can be planted.
    pub fn from_environment(
        mut given: HashMap<ServiceId, Secret>,
        keychain: bool,
        outside: impl Fn(&str) -> Option<Origin>,
    ) -> Self {
        for (service, key) in keys_from_environment() {
            given.entry(service).or_insert(key);
        }
        let bound = given.into_iter().filter_map(|(service, key)| {
            let origin = outside(&service)?;
            Some((service, BoundKey::new(key, origin)))
        });
        let keychain = keychain.then(|| Arc::new(Platform) as Arc<dyn Keychain>);
        Self::new(bound.collect(), keychain)
    }

    fn new(given: HashMap<ServiceId, BoundKey>, keychain: Option<Arc<dyn Keychain>>) -> Self {
        Self {
            given,
            memory: Mutex::default(),
            keychain,
            reading_limit: READING_LIMIT,
            changing_limit: CHANGING_LIMIT,
            changes: AtomicU64::new(0),
            places: Mutex::default(),
            silent: Mutex::default(),
            when_late: OnceLock::new(),
        }
    }

    /// The same keys, but for those that were given to somebody else for a run of his own.
    pub fn apart(&self, given: HashMap<ServiceId, BoundKey>) -> Self {
        let given = self.given.clone().into_iter().chain(given).collect();
        let apart = Self::new(given, self.keychain.clone());
        *lock(&apart.memory) = lock(&self.memory).clone();
        apart
    }

    /// The key that was given for this run, if one was.
    pub fn given(&self, service: &str) -> Option<&BoundKey> {
        self.given.get(service)
    }

    /// The key of a service, wherever it is, with the origin that it goes to.
    pub async fn get(self: &Arc<Self>, service: &str) -> Option<BoundKey> {
        if let Some(key) = self.given.get(service) {
            return Some(key.clone());
        }
        if let Some((key, _)) = lock(&self.memory).keys.get(service) {
            return Some(key.clone());
        }
        // Whoever comes second waits for the answer of the first.
        let turn = self.turn(service, self.reading_limit).await?;
        if let Some((key, _)) = lock(&self.memory).keys.get(service) {
            return Some(key.clone());
        }
        if turn.is_some_and(|at| at.elapsed() < BELIEVED) {
            return None;
        }
        let version = self.version(service);
        let late = move |keys: &Self, service: &str, found: KeychainResult<String>| {
            let key = found.ok().and_then(|found| Entry::read(&found, service));
            // Whatever was set or removed since counts.
            if key.is_some_and(|key| keys.learn(service, version, Some((key, KeyState::Keychain)))) {
                keys.tell_late(service);
            }
        };
        let name = service.to_owned();
        let (mut turn, found) =
            self.ask(service, turn, self.reading_limit, move |keychain| keychain.read(&name), late).await?;
        let Ok(found) = found else {
            // A keychain that is locked says so too: the user may unlock it at any time.
            *turn = Some(Instant::now());
            return None;
        };
        self.learn(service, version, Some((Entry::read(&found, service)?, KeyState::Keychain)));
        lock(&self.memory).keys.get(service).map(|(key, _)| key.clone())
    }

    fn version(&self, service: &str) -> u64 {
        lock(&self.memory).versions.get(service).copied().unwrap_or(0)
    }

    /// The user sets or removes a key: from now on that counts. Gives the version that it makes.
    fn put(&self, service: &str, key: Option<(BoundKey, KeyState)>) -> u64 {
        let mut known = lock(&self.memory);
        let version = known.versions.entry(service.to_owned()).or_default();
        *version += 1;
        let version = *version;
        match key {
            Some(key) => drop(known.keys.insert(service.to_owned(), key)),
            None => drop(known.keys.remove(service)),
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        version
    }

    /// What the keychain says about a key, unless the user has set or removed it since. Whether it counts.
    fn learn(&self, service: &str, version: u64, key: Option<(BoundKey, KeyState)>) -> bool {
        let mut known = lock(&self.memory);
        if known.versions.get(service).copied().unwrap_or(0) != version {
            return false;
        }
        match key {
            Some(key) => drop(known.keys.insert(service.to_owned(), key)),
            None => drop(known.keys.remove(service)),
        }
        true
    }

    fn tell_late(&self, service: &str) {
        if let Some(tell) = self.when_late.get() {
            tell(service);
        }
    }

    /// Whether the keychain was asked about this service and has not answered yet, for longer than anybody waits.
    pub fn is_silent(&self, service: &str) -> bool {
        lock(&self.silent).contains(service)
    }

    /// What is to be done when a key comes out of the keychain after whoever asked for it has given up.
    pub fn when_late(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        // Only the engine that is being opened says it.
        let _ = self.when_late.set(Box::new(tell));
    }

    /// How often a key was set or removed in this run, or its service got another address: tells an answer to an old key
    /// from one to the present key.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A service has another address.
    pub fn address_changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Where the key of a service is, as far as this run has seen.
    pub fn state(&self, service: &str) -> KeyState {
        if self.given.contains_key(service) {
            return KeyState::Variable;
        }
        lock(&self.memory).keys.get(service).map_or(KeyState::Missing, |(_, state)| *state)
    }

    /// The origin that the key of a service goes to, as far as this run has seen.
    pub fn origin(&self, service: &str) -> Option<Origin> {
        if let Some(key) = self.given.get(service) {
            return Some(key.origin().clone());
        }
        lock(&self.memory).keys.get(service).map(|(key, _)| key.origin().clone())
    }

    /// Keeps a key for this origin in the keychain, or in memory where there is none; says which.
    pub async fn set(self: &Arc<Self>, service: &str, key: Secret, origin: Origin) -> Result<KeyState> {
        let text = key.expose().trim().to_owned();
        if text.is_empty() || text.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(Error::invalid(Phrase::NoKeyGiven));
        }
        if self.given.contains_key(service) {
            return Err(Error::invalid(Phrase::KeyFromVariable { service: Peer::service(service) })
                .advise(Phrase::ChangeVariable));
        }
        let entry = Entry::write(&text, &origin)?;
        let key = BoundKey::new(Secret::new(text), origin);
        // In force from now on, whatever the keychain does: whoever is asking it must not bring the old key back.
        let version = self.put(service, Some((key.clone(), KeyState::Memory)));
        let Some(turn) = self.turn(service, self.changing_limit).await else {
            return Ok(KeyState::Memory);
        };
        let kept = key.clone();
        let late = move |keys: &Self, service: &str, stored: KeychainResult<()>| {
            if stored.is_err() {
                return;
            }
            if keys.learn(service, version, Some((kept, KeyState::Keychain))) {
                keys.tell_late(service);
            } else {
                keys.put_right(service);
            }
        };
        let name = service.to_owned();
        let limit = self.changing_limit;
        let stored =
            self.ask(service, turn, limit, move |keychain| keychain.write(&name, &entry), late).await;
        let Some((_turn, Ok(()))) = stored else { return Ok(KeyState::Memory) };
        self.learn(service, version, Some((key, KeyState::Keychain)));
        Ok(KeyState::Keychain)
    }

    /// An older key was written into the keychain after it had been replaced or removed: what counts now is written there.
    fn put_right(&self, service: &str) {
        let Some(keychain) = &self.keychain else { return };
        let version = self.version(service);
        let now = lock(&self.memory).keys.get(service).map(|(key, _)| key.clone());
        let outcome = match &now {
            Some(key) => Entry::write(key.secret().expose(), key.origin())
                .map_err(|error| error.to_string())
                .and_then(|entry| keychain.write(service, &entry).map_err(|error| error.to_string())),
            None => keychain.delete(service).map_err(|error| error.to_string()),
        };
        match outcome {
            Ok(()) => {
                self.learn(service, version, now.map(|key| (key, KeyState::Keychain)));
                self.tell_late(service);
            }
            Err(error) => {
                tracing::warn!(error, service, "the keychain has a key that was replaced or removed");
            }
        }
    }

    /// Forgets a key everywhere.
    pub async fn remove(self: &Arc<Self>, service: &str) -> Result<()> {
        let kept = lock(&self.memory).keys.get(service).cloned();
        let version = self.put(service, None);
        let not_removed =
            |why: Words| Err(Error::new(Cause::PermissionDenied, Phrase::KeyNotRemoved).because(why));
        let limit = self.changing_limit;
        let Some(turn) = self.turn(service, limit).await else {
            return not_removed(Phrase::KeychainSilent.into());
        };
        let name = service.to_owned();
        // Asked also when this run has not seen the key: it may lie there since another one.
        let removed =
            self.ask(service, turn, limit, move |keychain| keychain.delete(&name), |_, _, _| ()).await;
        let Some((_turn, removed)) = removed else { return not_removed(Phrase::KeychainSilent.into()) };
        match removed {
            Ok(()) | Err(keyring_core::Error::NoEntry) => {
                // Whoever asked just before it was removed may have learned it anew.
                self.learn(service, version, None);
                Ok(())
            }
            // There is no keychain here, so no key in it.
            Err(keyring_core::Error::PlatformFailure(_))
                if !matches!(kept, Some((_, KeyState::Keychain))) =>
            {
                Ok(())
            }
            Err(error) => not_removed(error.to_string().into()),
        }
    }

    /// The right to ask the keychain about a service; nothing while it has not answered what it was asked before.
    async fn turn(&self, service: &str, limit: Duration) -> Option<Turn> {
        if self.is_silent(service) {
            return None;
        }
        let place = Arc::clone(lock(&self.places).entry(service.to_owned()).or_default());
        tokio::time::timeout(limit, place.lock_owned()).await.ok()
    }

    /// Asks the keychain and waits so long for it. What it answers after that goes to `late`; the turn is held until then.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        service: &str,
        turn: Turn,
        limit: Duration,
        work: impl FnOnce(&dyn Keychain) -> KeychainResult<T> + Send + 'static,
        late: impl FnOnce(&Self, &str, KeychainResult<T>) + Send + 'static,
    ) -> Option<(Turn, KeychainResult<T>)> {
        let Some(keychain) = self.keychain.clone() else {
            return Some((turn, Err(keyring_core::Error::NoEntry)));
        };
        let (answer, mut answered) = oneshot::channel();
        let (keys, name) = (Arc::clone(self), service.to_owned());
        let asking = move || {
            let result = work(&*keychain);
            if let Err((turn, result)) = answer.send((turn, result)) {
                late(&keys, &name, result);
                lock(&keys.silent).remove(&name);
                drop(turn);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("keychain".into()).spawn(asking) {
            tracing::warn!(%error, "the keychain could not be asked");
            return None;
        }
        if let Ok(answer) = tokio::time::timeout(limit, &mut answered).await {
            return answer.ok();
        }
        // Noted before nobody takes an answer any more, as the thread takes it back when it finds that so.
        lock(&self.silent).insert(service.to_owned());
        answered.close();
        let Ok(answer) = answered.try_recv() else {
            tracing::warn!(service, "the keychain does not answer");
            return None;
        };
        lock(&self.silent).remove(service);
        Some(answer)
    }
}

/// What lies in the keychain for a service.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// The one origin that the key goes to.
    origin: String,
    key: String,
}

impl Entry {
    /// Reads an entry. An earlier Ferry wrote the bare key: that belongs to the service's own address, as nobody can tell
    /// any more for which it was given. `None` for a key whose origin is none: it goes nowhere.
    fn read(text: &str, service: &str) -> Option<BoundKey> {
        let (key, origin) = match serde_json::from_str::<Self>(text) {
            Ok(entry) => (entry.key, Origin::of_address(&entry.origin)),
            Err(_) => (text.to_owned(), built_in_origin(service)),
        };
        Some(BoundKey::new(Secret::new(key), origin?))
    }

    fn write(key: &str, origin: &Origin) -> Result<String> {
        let entry = Self { origin: origin.as_str().to_owned(), key: key.to_owned() };
        serde_json::to_string(&entry).map_err(|error| Error::internal(error.to_string()))
    }
}

/// The origin of a service's built-in address.
pub(crate) fn built_in_origin(service: &str) -> Option<Origin> {
    Origin::of_address(service::about(service)?.built_in())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entry(service: &str) -> Result<keyring_core::Entry, keyring_core::Error> {
    if keyring_core::get_default_store().is_none() {
        keyring_core::set_default_store(platform_store()?);
    }
    keyring_core::Entry::new(KEYCHAIN_SERVICE, service)
}

#[cfg(target_os = "linux")]
fn platform_store() -> Result<Arc<keyring_core::CredentialStore>, keyring_core::Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn platform_store() -> Result<Arc<keyring_core::CredentialStore>, keyring_core::Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn platform_store() -> Result<Arc<keyring_core::CredentialStore>, keyring_core::Error> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn goes_to(key: &BoundKey, address: &str) -> bool {
        key.belongs_to(&Url::parse(address).unwrap())
    }

    const LIMIT: Duration = Duration::from_millis(600);

    /// A keychain that hangs for one service until it is let go.
    struct Hanging {
        hangs_for: &'static str,
        entries: Mutex<HashMap<String, String>>,
        leave: Mutex<std::sync::mpsc::Receiver<()>>,
    }

    impl Hanging {
        fn wait(&self, service: &str) {
            if service == self.hangs_for {
                let _ = lock(&self.leave).recv();
            }
        }
    }

    impl Keychain for Hanging {
        fn read(&self, service: &str) -> KeychainResult<String> {
            self.wait(service);
            lock(&self.entries).get(service).cloned().ok_or(keyring_core::Error::NoEntry)
        }

        fn write(&self, service: &str, entry: &str) -> KeychainResult<()> {
            self.wait(service);
            lock(&self.entries).insert(service.to_owned(), entry.to_owned());
            Ok(())
        }

        fn delete(&self, service: &str) -> KeychainResult<()> {
            self.wait(service);
            lock(&self.entries).remove(service).map(drop).ok_or(keyring_core::Error::NoEntry)
        }
    }

    fn origin() -> Origin {
        Origin::of_address("https://keys.example/").unwrap()
    }

    fn hanging(
        hangs_for: &'static str,
        entries: &[(&str, &str)],
    ) -> (Arc<Keys>, Arc<Hanging>, std::sync::mpsc::Sender<()>) {
        let (let_go, leave) = std::sync::mpsc::channel();
        let entries = entries
            .iter()
            .map(|(service, key)| ((*service).to_owned(), Entry::write(key, &origin()).unwrap()))
            .collect();
        let keychain =
            Arc::new(Hanging { hangs_for, entries: Mutex::new(entries), leave: Mutex::new(leave) });
        let asked: Arc<dyn Keychain> = Arc::<Hanging>::clone(&keychain);
        let mut keys = Keys::new(HashMap::new(), Some(asked));
        (keys.reading_limit, keys.changing_limit) = (LIMIT, LIMIT);
        (Arc::new(keys), keychain, let_go)
    }

    /// Until this is so: what a thread does when it is let go is done soon.
    async fn soon(so: impl Fn() -> bool) {
        for _ in 0..1_000 {
            if so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come to that");
    }

    #[tokio::test]
    async fn a_keychain_that_hangs_is_waited_for_a_moment_and_holds_up_no_other_service() {
        let (keys, _, let_go) = hanging("mavi", &[("mavi", "sk-1"), ("visual-search", "sk-2")]);
        let (told, hears) = std::sync::mpsc::channel();
        keys.when_late(move |service| told.send(service.to_owned()).unwrap());
        let began = Instant::now();
        let many = (0..20).map(|_| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { keys.get("mavi").await })
        });
        let many: Vec<_> = many.collect();
        tokio::task::yield_now().await;
        assert_eq!(keys.get("visual-search").await.unwrap().secret().expose(), "sk-2");
        assert!(began.elapsed() < LIMIT, "another service waited");
        for one in many {
            assert!(one.await.unwrap().is_none());
        }
        assert!(keys.is_silent("mavi") && !keys.is_silent("visual-search"));
        // Known to be silent, it is not waited for again; a key of this run is good meanwhile.
        let began = Instant::now();
        assert!(keys.get("mavi").await.is_none());
        assert!(keys.remove("mavi").await.is_err(), "it may lie there for ever");
        let set = keys.set("mavi", Secret::new("sk-run"), origin()).await.unwrap();
        assert_eq!((set, keys.state("mavi")), (KeyState::Memory, KeyState::Memory));
        assert!(began.elapsed() < LIMIT, "waited for what is known to be silent");
        // What it says at last is an answer to an older question.
        let_go.send(()).unwrap();
        soon(|| !keys.is_silent("mavi")).await;
        assert_eq!(keys.get("mavi").await.unwrap().secret().expose(), "sk-run");
        assert!(hears.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_key_that_comes_late_counts() {
        let (keys, _, let_go) = hanging("mavi", &[("mavi", "sk-1")]);
        let (told, hears) = std::sync::mpsc::channel();
        keys.when_late(move |service| told.send(service.to_owned()).unwrap());
        assert!(keys.get("mavi").await.is_none());
        let_go.send(()).unwrap();
        soon(|| keys.state("mavi") == KeyState::Keychain).await;
        assert_eq!(keys.get("mavi").await.unwrap().secret().expose(), "sk-1");
        assert_eq!(hears.recv().unwrap(), "mavi");
    }

    #[tokio::test]
    async fn a_key_that_is_written_late_gives_way_to_what_was_said_since() {
        let (keys, keychain, let_go) = hanging("mavi", &[]);
        let set = keys.set("mavi", Secret::new("sk-old"), origin()).await.unwrap();
        assert_eq!(set, KeyState::Memory, "nothing says that it is kept");
        assert!(keys.remove("mavi").await.is_err());
        // The writing, and the removal that puts it right.
        (0..2).for_each(|_| let_go.send(()).unwrap());
        soon(|| !keys.is_silent("mavi")).await;
        assert!(lock(&keychain.entries).is_empty(), "a removed key lies in the keychain");

        assert_eq!(keys.set("mavi", Secret::new("sk-a"), origin()).await.unwrap(), KeyState::Memory);
        assert_eq!(keys.set("mavi", Secret::new("sk-b"), origin()).await.unwrap(), KeyState::Memory);
        (0..2).for_each(|_| let_go.send(()).unwrap());
        soon(|| !keys.is_silent("mavi")).await;
        assert!(lock(&keychain.entries)["mavi"].contains("sk-b"));
        assert_eq!(keys.get("mavi").await.unwrap().secret().expose(), "sk-b");
    }

    #[test]
    fn a_keychain_entry_keeps_the_origin_and_an_older_one_belongs_to_the_built_in_address() {
        let origin = Origin::of_address("https://mavi.example:8443/serve").unwrap();
        let entry = Entry::write("sk-1", &origin).unwrap();
        let key = Entry::read(&entry, "mavi").unwrap();
        assert!(goes_to(&key, "https://mavi.example:8443/x") && !goes_to(&key, "https://mavi.example/x"));

        let built_in = service::about("mavi").unwrap().built_in();
        for bare in ["sk-mavi-0123", "12345", "{", "{\"key\":\"x\"}", "null"] {
            let key = Entry::read(bare, "mavi").unwrap();
            assert!(goes_to(&key, built_in) && !goes_to(&key, "https://mavi.example:8443/x"), "{bare}");
        }
        assert!(Entry::read(r#"{"origin":"nowhere","key":"sk-1"}"#, "mavi").is_none());
    }
}
