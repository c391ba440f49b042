//! The services that Ferry speaks to.
//!
//! Each has one file here, which holds everything about it: its [`About`], which all faces show it by, and how it is spoken to,
//! behind [`Service`]. Its line in [`REGISTRY`] makes it known. docs/adding-a-service.md goes through it step by step. May use
//! the floors below, and of the one above the [`Run`] that waits for it; holds no lock across a call to a service, but the
//! sandbox's while that starts.

mod api;
mod link;
mod mavi;
mod offline_tube;
mod sandbox;
mod status;
mod visual_search;

#[cfg(test)]
#[path = "../../../../tests/adding_a_service.rs"]
mod added;
#[cfg(test)]
#[path = "../../../../tests/fixtures/echo.rs"]
mod echo;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::join_all;
use url::Url;

pub(crate) use api::from_refusal as refused;
pub use status::{LinksTaken, Recognised, ServicePlace, ServiceSetting, ServiceStatus, SettingInput};

use crate::asset::AssetInfo;
use crate::error::{Cause, Error, Failure, Result};
use crate::foreign::Foreign;
use crate::http::address;
use crate::http::answer::{Refusal, RefusalKind};
use crate::http::origin::{BoundKey, Origin};
use crate::http::pace::Paces;
use crate::http::reach::{self, Reach};
use crate::http::refusals::Row;
use crate::http::{Fetch, Http};
use crate::run::Run;
use crate::secret::Secret;
use crate::secrets::{KeyState, Keys, built_in_origin};
use crate::service::{self, About, Links, Place, ServiceId};
use crate::settings::{ServiceSettings, Settings};
use crate::task::DownloadTask;
use crate::upload::signed_url::SignedUrl;
use crate::upload_method::UploadMethod;
use crate::words::{Peer, Phrase};
use api::Api;

/// Every service, in the order that the faces show them: a new one is its file and its line here, and nothing else
/// (docs/adding-a-service.md).
pub(crate) static REGISTRY: &[&Kind] = &[
    &mavi::KIND,
    &visual_search::KIND,
    &offline_tube::KIND,
    &sandbox::KIND,
    &link::KIND,
    #[cfg(test)]
    &echo::KIND,
];

/// A service: what it is, and how it is spoken to.
pub(crate) struct Kind {
    pub about: About,
    /// What its refusals mean, where that differs from what they mean everywhere.
    pub refusals: &'static [Row],
    /// Makes it ready to be asked.
    pub open: for<'a> fn(Opening<'a>) -> Opened<'a>,
}

/// A service that is being made ready.
pub(crate) type Opened<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn Service>>> + Send + 'a>>;

/// What a service may use to be made ready.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    services: &'a Services,
    kind: &'static Kind,
}

impl Opening<'_> {
    /// Its API at the address in force, with its key.
    ///
    /// # Errors
    ///
    /// `invalid_input` without an address, `unauthorized` without a key that is for it.
    pub async fn api(&self) -> Result<Api> {
        self.services.api(self.kind).await
    }

    /// What is set for the services.
    pub fn settings(&self) -> ServiceSettings {
        self.services.settings().of_services
    }
}

/// What a service is and how it is spoken to, by id.
pub(crate) fn kind(id: &str) -> Option<&'static Kind> {
    REGISTRY.iter().copied().find(|kind| kind.about.id == id)
}

/// The first service that takes uploads and whose key is there, in the order of the registry: whoever has its key has set
/// it up.
pub(crate) fn set_up_by_key(has_key: impl Fn(&str) -> bool) -> Option<ServiceId> {
    let may_be = |about: &&'static About| about.uploads && about.may_be_default() && about.needs_key();
    service::all().filter(may_be).find(|about| has_key(about.id)).map(ServiceId::from)
}

/// A signed URL with what belongs to it.
pub(crate) struct Signed {
    /// The service's id for the file that is about to be sent.
    pub asset_id: String,
    /// Where the bytes go.
    pub url: SignedUrl,
    /// How far it may lead.
    pub reach: Reach,
    /// Form fields that a POST must carry before the file.
    pub form: Vec<(String, String)>,
    /// When the URL ends.
    pub expires_at: Option<SystemTime>,
}

/// What the service says about a file that was sent.
#[derive(Debug)]
pub(crate) enum Confirmation {
    /// Not yet.
    Pending,
    /// There, of this size if the service tells.
    Success { size: Option<u64> },
    /// The service could not use it; its own word for it.
    Failed(Foreign),
}

/// How a file is fetched.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The request.
    pub fetch: Fetch,
    /// Can be continued by `Range` (never a POST).
    pub rangeable: bool,
    /// Name that the service's list gives.
    pub title: Option<String>,
    /// The id, as the last resort for a name.
    pub id: String,
    /// Size that the service's list gives.
    pub expected_size: Option<u64>,
    /// Whether a web page may be what was asked for (plain links only).
    pub pages_welcome: bool,
}

/// What a service can do. What it cannot do says so with `unsupported`.
#[async_trait]
pub(crate) trait Service: Send + Sync {
    /// What it is, with how it is spoken to.
    fn kind(&self) -> &'static Kind;

    /// What it is.
    fn about(&self) -> &'static About {
        &self.kind().about
    }

    /// Asks for a signed URL for a file of this name.
    async fn sign(&self, _file_name: &str) -> Result<Signed> {
        Err(self.cannot(|service| Phrase::NoUploadsThere { service }))
    }

    /// Whether a signed URL or a session that was kept from an earlier run leads to this service still. Where the
    /// stores of a real one are is its own affair.
    fn is_own(&self, _address: &str) -> bool {
        true
    }

    /// Asks whether a file has arrived.
    async fn confirm(&self, _asset_id: &str) -> Result<Confirmation> {
        Err(self.cannot(|service| Phrase::NoConfirmationThere { service }))
    }

    /// Does what must be done before a file can be fetched, and says how to fetch it.
    async fn prepare(&self, _task: &DownloadTask, _run: &Run) -> Result<Plan> {
        Err(self.cannot(|service| Phrase::NoDownloadsThere { service }))
    }

    /// Cleans up at the service after a download, if the user wants that.
    async fn after_download(&self, _task: &DownloadTask) -> Result<()> {
        Ok(())
    }

    /// What the service knows of an asset.
    async fn info(&self, _asset_id: &str) -> Result<AssetInfo> {
        Err(self.cannot(|service| Phrase::NoInformationThere { service }))
    }

    /// Deletes an asset for good.
    async fn delete(&self, _asset_id: &str) -> Result<()> {
        Err(self.cannot(|service| Phrase::NoDeletionThere { service }))
    }

    /// Makes one harmless call that needs the key. `Ok` = reached and accepted.
    async fn check(&self) -> Result<()>;

    /// What a refusal means at this service, where that differs from what it means everywhere.
    fn meaning(&self, refusal: &Refusal) -> Option<RefusalKind> {
        refusal.meaning_in(self.kind().refusals)
    }

    /// The refusal for what this service cannot do.
    fn cannot(&self, what: fn(Peer) -> Phrase) -> Error {
        Error::new(Cause::Unsupported, what(Peer::service(self.about().id)))
    }
}

/// The base URLs that come from outside of the settings: by variable, or from whoever opened the engine.
#[derive(Debug, Default, Clone)]
pub(crate) struct OutsideAddresses(HashMap<ServiceId, String>);

impl OutsideAddresses {
    /// Reads the `FERRY_…_URL` variables, unless an address was given.
    ///
    /// # Errors
    ///
    /// `invalid_input` for one that cannot be a base URL.
    pub fn from_environment(mut given: HashMap<ServiceId, String>) -> Result<Self> {
        for about in service::all() {
            let Some((_, variable)) = about.address_names() else { continue };
            if let Ok(text) = std::env::var(variable)
                && !text.trim().is_empty()
            {
                let named = |mut error: Error| {
                    error.what = format!("`{variable}` holds no usable address").into();
                    error
                };
                crate::settings::check_base_url(about.id, text.trim()).map_err(named)?;
                given.entry(about.into()).or_insert_with(|| text.trim().to_owned());
            }
        }
        for (service, text) in &given {
            crate::settings::check_base_url(service, text)?;
        }
        Ok(Self(given))
    }

    /// All of them, by service.
    pub fn into_all(self) -> HashMap<ServiceId, String> {
        self.0
    }

    /// Where a key goes that came the same way: to the address beside it, else to the built-in one.
    pub fn origin(&self, service: &str) -> Option<Origin> {
        match self.0.get(service) {
            Some(address) => Origin::of_address(address),
            None => built_in_origin(service),
        }
    }
}

/// All services with what they share.
pub(crate) struct Services {
    http: Http,
    keys: Arc<Keys>,
    settings: Arc<RwLock<Settings>>,
    addresses: OutsideAddresses,
    paces: Paces,
    sandbox: Arc<sandbox::Launcher>,
    /// The default service, where the variables of a run of its own make it another.
    default: Option<ServiceId>,
    problems: Mutex<HashMap<ServiceId, Failure>>,
    methods: Mutex<HashMap<ServiceId, UploadMethod>>,
}

impl Services {
    /// Addresses from outside win over those of the settings.
    pub fn new(
        http: Http,
        keys: Arc<Keys>,
        settings: Arc<RwLock<Settings>>,
        addresses: OutsideAddresses,
        sandbox_root: PathBuf,
    ) -> Self {
        Self {
            http,
            keys,
            settings,
            addresses,
            paces: Paces::default(),
            sandbox: Arc::new(sandbox::Launcher::new(sandbox_root)),
            default: None,
            problems: Mutex::default(),
            methods: Mutex::default(),
        }
    }

    /// The same services for a run that has other addresses or keys, and what it finds out about these; nothing if it has no
    /// others. A key goes to the address that came with it, else to the built-in one.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an address that cannot be a base URL.
    pub fn apart(
        &self,
        mut addresses: HashMap<ServiceId, String>,
        keys: HashMap<ServiceId, Secret>,
    ) -> Result<Option<Arc<Self>>> {
        for (service, text) in &addresses {
            crate::settings::check_base_url(service, text)?;
        }
        let own = OutsideAddresses(addresses.clone());
        let bound = keys.into_iter().filter_map(|(service, key)| {
            let origin = own.origin(&service)?;
            Some((service, BoundKey::new(key, origin)))
        });
        let keys: HashMap<ServiceId, BoundKey> =
            bound.filter(|(service, key)| self.keys.given(service) != Some(key)).collect();
        addresses.retain(|service, address| self.addresses.0.get(service) != Some(address));
        if addresses.is_empty() && keys.is_empty() {
            return Ok(None);
        }
        let set_up = set_up_by_key(|id| keys.contains_key(id)).filter(|_| self.default_id().is_at_first());
        Ok(Some(Arc::new(Self {
            http: self.http.clone(),
            default: set_up,
            keys: Arc::new(self.keys.apart(keys)),
            settings: Arc::clone(&self.settings),
            addresses: OutsideAddresses(self.addresses.0.clone().into_iter().chain(addresses).collect()),
            paces: self.paces.clone(),
            sandbox: Arc::clone(&self.sandbox),
            problems: Mutex::default(),
            methods: Mutex::new(lock(&self.methods).clone()),
        })))
    }

    /// The service of this id, ready to be asked.
    pub async fn get(&self, id: &str) -> Result<Arc<dyn Service>> {
        let kind = kind(id).ok_or_else(|| unknown(id))?;
        (kind.open)(Opening { services: self, kind }).await
    }

    /// The same for what was given to the service while it was at this origin.
    ///
    /// # Errors
    ///
    /// `unsupported` where it is at another one by now.
    pub async fn get_at(&self, id: &str, noted: Option<&str>) -> Result<Arc<dyn Service>> {
        if self.is_still_at(id, noted) {
            return self.get(id).await;
        }
        let what = Phrase::AtAnotherAddress { service: Peer::service(id) };
        let origin = noted.unwrap_or_default().into();
        Err(Error::new(Cause::Unsupported, what)
            .because(Phrase::WasGivenTo { origin })
            .advise(Phrase::SetAddressBack))
    }

    /// Whether what was given to a service while it was at this origin may go to it as it is now. What a variable names is the
    /// user's own word for this run; of what an earlier Ferry noted nothing, nothing is known.
    pub fn is_still_at(&self, id: &str, noted: Option<&str>) -> bool {
        let now = self.origin(id).ok();
        noted.is_none_or(|noted| now.is_none_or(|now| now.as_str() == noted)) || self.is_from_outside(id)
    }

    /// Whether the address in force came from outside of the settings.
    fn is_from_outside(&self, id: &str) -> bool {
        self.addresses.0.contains_key(id)
    }

    /// The address in force, where that is neither the built-in one nor one from outside: somebody wrote it into the settings.
    pub fn address_of_settings(&self, id: &str) -> Option<String> {
        let address = self.address(id);
        let origin = Origin::of_address(&address)?;
        (!self.is_from_outside(id) && built_in_origin(id).as_ref() != Some(&origin)).then_some(address)
    }

    /// Which services get another origin by these settings, one that is not built in, and which it is.
    pub fn moved(&self, settings: &Settings) -> Vec<(ServiceId, Origin)> {
        let moves = |about: &'static About| {
            let origin = Origin::of_address(settings.address(about.id))?;
            let is_known = built_in_origin(about.id).as_ref() == Some(&origin)
                || Origin::of_address(self.settings().address(about.id)).as_ref() == Some(&origin);
            (!is_known).then_some((about.into(), origin))
        };
        service::all().filter_map(moves).collect()
    }

    async fn api(&self, kind: &'static Kind) -> Result<Api> {
        let about = &kind.about;
        let address = self.address(about.id);
        if address.is_empty() {
            return Err(Error::new(
                Cause::InvalidInput,
                Phrase::NoAddressYet { service: Peer::service(about.id) },
            )
            .advise(Phrase::EnterAddress));
        }
        let key = self.keys.get(about.id).await;
        if about.needs_key() && key.is_none() {
            let error =
                Error::new(Cause::Unauthorized, Phrase::NoKeyYet { service: Peer::service(about.id) })
                    .advise(Phrase::EnterKeyOf { id: about.id.into() });
            let is_silent = self.keys.is_silent(about.id);
            return Err(if is_silent { error.because(Phrase::KeychainSilent) } else { error });
        }
        if let Some(key) =
            key.as_ref().filter(|key| Origin::of_address(&address).as_ref() != Some(key.origin()))
        {
            return Err(self.key_elsewhere(about.id, key));
        }
        Api::new(self.http.clone(), kind, &address, key, self.paces.clone())
    }

    /// There is a key, and it was given for another address than the one in force.
    fn key_elsewhere(&self, id: &str, key: &BoundKey) -> Error {
        let advice = match self.keys.state(id) {
            KeyState::Variable => Phrase::NameAddressOutside,
            _ => Phrase::EnterKeyAnew { id: id.into() },
        };
        Error::new(Cause::Unauthorized, Phrase::NoKeyForAddress { service: Peer::service(id) })
            .because(Phrase::KeyIsFor { origin: key.origin().as_str().into() })
            .advise(advice)
    }

    /// The origin that a key for this service would be for now.
    ///
    /// # Errors
    ///
    /// `invalid_input` while it has no address.
    pub fn origin(&self, id: &str) -> Result<Origin> {
        let none = || {
            Error::invalid(Phrase::NoAddressYet { service: Peer::service(id) }).advise(Phrase::EnterAddress)
        };
        Origin::of_address(&self.address(id)).ok_or_else(none)
    }

    /// The settings are others now: the services whose address changed. What was found out about a key at the old one
    /// says nothing of the new one.
    pub fn readdressed(&self, before: &Settings, now: &Settings) -> Vec<&'static str> {
        let is_other =
            |id: &&str| !self.addresses.0.contains_key(*id) && before.address(id) != now.address(id);
        let changed: Vec<&str> = service::all().map(|about| about.id).filter(is_other).collect();
        if !changed.is_empty() {
            self.keys.address_changed();
        }
        changed
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn address(&self, id: &str) -> String {
        if let Some(address) = self.addresses.0.get(id) {
            return address.clone();
        }
        self.settings().address(id).to_owned()
    }

    /// How far a signed URL of this service may lead that was kept without a note of that.
    pub async fn reach_of_kept(&self, id: &str) -> Reach {
        match Url::parse(&self.address(id)) {
            Ok(address) => reach::on_word_of(&address).await,
            // The one inside has no address.
            Err(_) => Reach::Anywhere,
        }
    }

    /// The service that takes files when none is named. A service whose address came by variable counts as set up.
    pub fn default_id(&self) -> ServiceId {
        self.default.clone().unwrap_or_else(|| self.settings().default_service)
    }

    /// Every service as the services page shows it.
    pub fn statuses(&self) -> Vec<ServiceStatus> {
        service::all().map(|about| self.status(about)).collect()
    }

    fn status(&self, about: &'static About) -> ServiceStatus {
        let address = self.address(about.id);
        let key = if about.needs_key() { self.keys.state(about.id) } else { KeyState::Unneeded };
        let has_address = !address.is_empty() || !matches!(about.place, Place::Address { .. });
        let key_belongs_to = match self.keys.origin(about.id) {
            Some(origin) if about.needs_key() && Origin::of_address(&address).as_ref() != Some(&origin) => {
                Some(origin.to_string())
            }
            _ => None,
        };
        ServiceStatus {
            id: about.id.into(),
            name: about.name.into(),
            description: about.description.into(),
            uploads: about.uploads,
            downloads: about.downloads,
            links: about.links.into(),
            may_be_default: about.may_be_default(),
            is_at_first: ServiceId::from(about).is_at_first(),
            place: about.place.into(),
            address_setting: about.address_names().map(|(setting, _)| setting.to_owned()),
            address,
            address_from_variable: self.is_from_outside(about.id),
            key,
            ready: has_address && key != KeyState::Missing && key_belongs_to.is_none(),
            key_belongs_to,
            problem: lock(&self.problems).get(about.id).cloned(),
            method: lock(&self.methods).get(about.id).copied(),
            settings: status::settings(about, &self.settings().of_services),
        }
    }

    /// Asks the keychain for the keys, so that the statuses are right from the start.
    pub async fn look_up_keys(&self) {
        // All at once: of a keychain that hangs for one, the others need not hear.
        let keyed = service::all().filter(|about| about.needs_key());
        join_all(keyed.map(|about| self.keys.get(about.id))).await;
    }

    /// How often a key was set or removed in this run.
    pub fn key_changes(&self) -> u64 {
        self.keys.changes()
    }

    /// A service refused its key, or the account has nothing left: it stands still until the user has seen to that. Says whether that is news; `None` when the key
    /// has been changed since `key_changes`: then it was an old one that was refused.
    pub fn key_refused(&self, id: &str, failure: &Failure, key_changes: u64) -> Option<bool> {
        let mut problems = lock(&self.problems);
        // Under the lock: whoever changes a key counts first and clears the problem then.
        if self.keys.changes() != key_changes {
            return None;
        }
        Some(problems.insert(id.into(), failure.clone()).as_ref() != Some(failure))
    }

    /// A service no longer stands still. Says whether it did.
    pub fn clear_problem(&self, id: &str) -> bool {
        lock(&self.problems).remove(id).is_some()
    }

    /// Why a service stands still.
    pub fn problem(&self, id: &str) -> Option<Failure> {
        lock(&self.problems).get(id).cloned()
    }

    /// Remembers the upload method that worked.
    pub fn set_method(&self, id: &str, method: UploadMethod) {
        lock(&self.methods).insert(id.into(), method);
    }

    /// What a text in the add bar may mean, the likeliest first.
    pub fn recognise(&self, text: &str) -> Vec<Recognised> {
        let text = text.trim();
        let mut found = Vec::new();
        let mut offer = |about: &'static About, label: String, host: Option<&str>| {
            let (ready, host) = (self.status(about).ready, host.map(str::to_owned));
            found.push(Recognised { service: about.into(), label, ready, host });
        };
        if text.is_empty() || text.chars().any(char::is_control) {
            return found;
        }
        let url =
            address::completed(text).map_or_else(|| Url::parse(text).ok(), |whole| Url::parse(&whole).ok());
        if let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) {
            let host = url.host_str().unwrap_or("a server");
            for about in service::all() {
                if let Links::Any(label) = about.links {
                    offer(about, label.replace("{host}", host), Some(host));
                }
            }
            for about in service::all() {
                let is_set_up = about.place == Place::Inside || !self.address(about.id).is_empty();
                if let Links::Pages(label) = about.links
                    && is_set_up
                {
                    offer(about, label.to_owned(), Some(host));
                }
            }
            return found;
        }
        let default = self.default_id();
        let mut order: Vec<&'static About> = service::all().filter(|about| (about.takes)(text)).collect();
        // What is set up comes before what is not; the default before all.
        order.sort_by_key(|about| (default != *about.id, !self.status(about).ready));
        for about in order {
            offer(about, about.label.to_owned(), None);
        }
        found
    }

    /// Stops the sandbox, if it runs.
    pub async fn shut_down(&self) {
        self.sandbox.stop(&self.http).await;
    }
}

/// Whether all that goes to a service belongs to one account, so that one refusal is everybody's.
pub(crate) fn has_account(id: &str) -> bool {
    service::about(id).is_some_and(About::needs_key)
}

/// What a service writes as a text or as something else.
fn written(value: serde_json::Value) -> Foreign {
    match value {
        serde_json::Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// The refusal for a service that does not exist.
pub(crate) fn unknown(id: &str) -> Error {
    let all: Vec<&str> = service::all().map(|about| about.id).collect();
    Error::invalid(Phrase::ServiceUnknown { id: id.into() })
        .advise(Phrase::UseOneOf { services: all.join(", ").into() })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
