//! Keys and other secrets: a type that does not print, and the places where keys are kept.
//!
//! A key comes from a `FERRY_…_KEY` variable, else from memory, else from the platform's keychain. Where there is
//! no keychain (a server, a locked session) the key stays in memory for this run, and the faces say so.
//!
//! Wherever it is, the origin that it was given for is kept with it: an address that changes afterwards, by whatever hand,
//! takes no key along.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::engine::KeyState;
use crate::error::{Cause, Error, Result};
use crate::http::origin::{BoundKey, Origin};
use crate::words::{Peer, Phrase};

/// A text that is never shown: `Debug` and `Display` print `•••`. Not serializable on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// A header for one transfer by a link or a signed URL. Its value is a secret as the URL's query is: `Debug` hides it, and it
/// is kept in `resume/` only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: •••", self.name)
    }
}

/// These headers for a request, fit for the origin that the user named them for and for no other. Those that say how a
/// message is framed and to whom it goes are Ferry's own.
pub(crate) fn header_map(headers: &[Header]) -> Result<HeaderMap> {
    const OWN: [&str; 10] = [
        "host",
        "connection",
        "content-length",
        "content-range",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "range",
        "if-range",
    ];
    let mut map = HeaderMap::new();
    for header in headers {
        let unusable = || Error::invalid(Phrase::HeaderUnusable { name: header.name.trim().into() });
        let name = HeaderName::from_bytes(header.name.trim().as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(header.value.trim()).map_err(|_| unusable())?;
        if OWN.contains(&name.as_str()) {
            return Err(unusable());
        }
        value.set_sensitive(true);
        map.append(name, value);
    }
    Ok(map)
}

/// The keys in the `FERRY_…_KEY` variables, by service.
pub(crate) fn keys_from_environment() -> impl Iterator<Item = (String, Secret)> {
    let variables = [("mavi", "FERRY_MAVI_KEY"), ("visual-search", "FERRY_VISUAL_SEARCH_KEY")];
    let set = variables.into_iter().filter_map(|(service, name)| Some((service, std::env::var(name).ok()?)));
    let set = set.filter(|(_, key)| !key.trim().is_empty());
    set.map(|(service, key)| (service.to_owned(), Secret::new(key.trim())))
}

/// How long a keychain is believed that it has no key.
const BELIEVED: Duration = Duration::from_secs(10);
/// The application's name in the platform's keychain.
const KEYCHAIN_SERVICE: &str = "Ferry";

/// Where the keys of the services are.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Given for this run: by a variable or by whoever opened the engine.
    given: HashMap<String, BoundKey>,
    memory: Mutex<HashMap<String, (BoundKey, KeyState)>>,
    keychain: bool,
    /// Counts the changes of keys, and of where they go.
    changes: AtomicU64,
    /// When the keychain last had no key for a service, so that a slow one is not asked for each transfer.
    not_found: tokio::sync::Mutex<HashMap<String, Instant>>,
}

impl Keys {
    /// Reads the variables, unless a key was given; the keychain is asked only when a key is needed. What was given goes to
    /// the `outside` address of its service, the built-in one or one that was given the same way: the settings lie in a
    /// file, and a file can be planted.
    pub fn from_environment(
        mut given: HashMap<String, Secret>,
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
        Self { given: bound.collect(), keychain, ..Self::default() }
    }

    /// The same keys, but for those that were given to somebody else for a run of his own.
    pub fn apart(&self, given: HashMap<String, BoundKey>) -> Self {
        let given = self.given.clone().into_iter().chain(given).collect();
        let memory = Mutex::new(lock(&self.memory).clone());
        Self { given, memory, keychain: self.keychain, ..Self::default() }
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
        if let Some((key, _)) = lock(&self.memory).get(service) {
            return Some(key.clone());
        }
        // Held while the keychain is asked: whoever comes second waits for the answer of the first.
        let mut not_found = self.not_found.lock().await;
        if let Some((key, _)) = lock(&self.memory).get(service) {
            return Some(key.clone());
        }
        if not_found.get(service).is_some_and(|at| at.elapsed() < BELIEVED) {
            return None;
        }
        let name = service.to_owned();
        let found = self.on_keychain(move || entry(&name).and_then(|entry| entry.get_password())).await;
        let Ok(found) = found else {
            // A keychain that is locked says so too: the user may unlock it at any time.
            not_found.insert(service.to_owned(), Instant::now());
            return None;
        };
        let key = Entry::read(&found, service)?;
        lock(&self.memory).insert(service.to_owned(), (key.clone(), KeyState::Keychain));
        Some(key)
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
        lock(&self.memory).get(service).map_or(KeyState::Missing, |(_, state)| *state)
    }

    /// The origin that the key of a service goes to, as far as this run has seen.
    pub fn origin(&self, service: &str) -> Option<Origin> {
        if let Some(key) = self.given.get(service) {
            return Some(key.origin().clone());
        }
        lock(&self.memory).get(service).map(|(key, _)| key.origin().clone())
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
        // Whoever is asking the keychain just now must not bring the old key back.
        let _asking = self.not_found.lock().await;
        let (name, secret) = (service.to_owned(), Entry::write(&text, &origin)?);
        let stored =
            self.on_keychain(move || entry(&name).and_then(|entry| entry.set_password(&secret))).await;
        let state = if stored.is_ok() { KeyState::Keychain } else { KeyState::Memory };
        let key = BoundKey::new(Secret::new(text), origin);
        lock(&self.memory).insert(service.to_owned(), (key, state));
        self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(state)
    }

    /// Forgets a key everywhere.
    pub async fn remove(self: &Arc<Self>, service: &str) -> Result<()> {
        let _asking = self.not_found.lock().await;
        let kept = lock(&self.memory).remove(service);
        self.changes.fetch_add(1, Ordering::AcqRel);
        let name = service.to_owned();
        // Asked also when this run has not seen the key: it may lie there since another one.
        match self.on_keychain(move || entry(&name).and_then(|entry| entry.delete_credential())).await {
            Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
            // There is no keychain here, so no key in it.
            Err(keyring_core::Error::PlatformFailure(_))
                if !matches!(kept, Some((_, KeyState::Keychain))) =>
            {
                Ok(())
            }
            Err(error) => {
                Err(Error::new(Cause::PermissionDenied, Phrase::KeyNotRemoved).because(error.to_string()))
            }
        }
    }

    /// Keychains block, ask the user, and on Linux run a D-Bus conversation of their own: never on the async threads.
    async fn on_keychain<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, keyring_core::Error> + Send + 'static,
    ) -> Result<T, keyring_core::Error> {
        if !self.keychain {
            return Err(keyring_core::Error::NoEntry);
        }
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(keyring_core::Error::NoEntry))
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
            Err(_) => (text.to_owned(), crate::services::built_in_origin(service)),
        };
        Some(BoundKey::new(Secret::new(key), origin?))
    }

    fn write(key: &str, origin: &Origin) -> Result<String> {
        let entry = Self { origin: origin.as_str().to_owned(), key: key.to_owned() };
        serde_json::to_string(&entry).map_err(|error| Error::internal(error.to_string()))
    }
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

    #[test]
    fn a_keychain_entry_keeps_the_origin_and_an_older_one_belongs_to_the_built_in_address() {
        let origin = Origin::of_address("https://mavi.example:8443/serve").unwrap();
        let entry = Entry::write("sk-1", &origin).unwrap();
        let key = Entry::read(&entry, "mavi").unwrap();
        assert!(goes_to(&key, "https://mavi.example:8443/x") && !goes_to(&key, "https://mavi.example/x"));

        let built_in = crate::settings::Settings::default().mavi_url;
        for bare in ["sk-mavi-0123", "12345", "{", "{\"key\":\"x\"}", "null"] {
            let key = Entry::read(bare, "mavi").unwrap();
            assert!(goes_to(&key, &built_in) && !goes_to(&key, "https://mavi.example:8443/x"), "{bare}");
        }
        assert!(Entry::read(r#"{"origin":"nowhere","key":"sk-1"}"#, "mavi").is_none());
    }
}
