//! Keys and other secrets: a type that does not print, and the places where keys are kept.
//!
//! A key comes from a `FERRY_…_KEY` variable, else from memory, else from the platform's keychain. Where there is
//! no keychain (a server, a locked session) the key stays in memory for this run, and the faces say so.

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

/// How long a keychain is believed that it has no key.
const BELIEVED: Duration = Duration::from_secs(10);
/// The application's name in the platform's keychain.
const KEYCHAIN_SERVICE: &str = "Ferry";

/// Where the keys of the services are.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Given for this run: by a variable or by whoever opened the engine.
    given: HashMap<String, Secret>,
    memory: Mutex<HashMap<String, (Secret, KeyState)>>,
    keychain: bool,
    /// Counts the changes of keys.
    changes: AtomicU64,
    /// When the keychain last had no key for a service, so that a slow one is not asked for each transfer.
    not_found: tokio::sync::Mutex<HashMap<String, Instant>>,
}

impl Keys {
    /// Reads the variables, unless a key was given; the keychain is asked only when a key is needed.
    pub fn from_environment(mut given: HashMap<String, Secret>, keychain: bool) -> Self {
        for (service, variable) in [("mavi", "FERRY_MAVI_KEY"), ("visual-search", "FERRY_VISUAL_SEARCH_KEY")]
        {
            if let Ok(key) = std::env::var(variable)
                && !key.trim().is_empty()
            {
                given.entry(service.to_owned()).or_insert_with(|| Secret::new(key.trim()));
            }
        }
        Self { given, keychain, ..Self::default() }
    }

    /// The key of a service, wherever it is.
    pub async fn get(self: &Arc<Self>, service: &str) -> Option<Secret> {
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
        let key = Secret::new(found);
        lock(&self.memory).insert(service.to_owned(), (key.clone(), KeyState::Keychain));
        Some(key)
    }

    /// How often a key was set or removed in this run: tells an answer to an old key from one to the present key.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Where the key of a service is, as far as this run has seen.
    pub fn state(&self, service: &str) -> KeyState {
        if self.given.contains_key(service) {
            return KeyState::Variable;
        }
        lock(&self.memory).get(service).map_or(KeyState::Missing, |(_, state)| *state)
    }

    /// Keeps a key in the keychain, or in memory where there is none; says which.
    pub async fn set(self: &Arc<Self>, service: &str, key: Secret) -> Result<KeyState> {
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
        let (name, secret) = (service.to_owned(), text.clone());
        let stored =
            self.on_keychain(move || entry(&name).and_then(|entry| entry.set_password(&secret))).await;
        let state = if stored.is_ok() { KeyState::Keychain } else { KeyState::Memory };
        lock(&self.memory).insert(service.to_owned(), (Secret::new(text), state));
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
