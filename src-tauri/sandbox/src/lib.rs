//! The built-in service: it behaves like every service that Ferry speaks to, and like the strict store behind a
//! signed URL. It is the demo, the other side of the tests and the other end of the benchmarks, and so it is stricter
//! than the real ones.
//!
//! Ferry's own runs inside the process ([`Sandbox::open`]) and has no port. One that other programs talk to listens on
//! loopback ([`Sandbox::start`]) and lets in whoever has the key of its run, or an address that was made from it
//! (docs/decisions/0026).
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use ferry_sandbox::{Fault, FaultKind, Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options { root: "state".into(), port: 0, api_key: None }).await?;
//! sandbox.faults().add(Fault::new(FaultKind::Cut { after: 1000 }).on_path("/download").once());
//! println!("{}", sandbox.mavi_url());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! | below | |
//! |---|---|
//! | [`Sandbox::mavi_url`] | MAVI v2 |
//! | [`Sandbox::visual_search_url`] | Visual Search v1 |
//! | [`Sandbox::offline_tube_url`] | the media downloader |
//! | [`Sandbox::origin`]: `/store/{bucket}/{object}`, `/{bucket}/{object}` | the store behind signed URLs |
//! | [`Sandbox::url`]: `/files/{name}` | files from the folder `files` of the root |
//! | `/generate/{size}/{name}` | generated files of any size |
//! | `/sink` | counts and hashes what is sent |
//! | `/mirror/{number}/…` of each but the store | the same as below the rest of the path, with an `ETag` of the mirror's own |
//!
//! With the feature `control`, which no program that is shipped has, faults, request log, kind of signed URL and
//! trusted keys can be had over HTTP as well, below [`Sandbox::control_url`].

mod content;
#[cfg(feature = "control")]
mod control;
mod download;
mod faults;
mod files;
mod gate;
mod inside;
mod mavi;
mod objects;
mod offline_tube;
mod pattern;
mod private;
mod ranges;
mod requests;
mod server;
mod session;
mod signature;
mod store;
mod timestamp;
mod visual_search;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{BalanceSpelling, Fault, FaultKind, Faults, HeaderBytes, RateLimitSpelling};
pub use requests::Request;
pub use wire::Closed;

/// The name of a sandbox that runs inside the process, with which its addresses begin. No other computer has such a
/// name (RFC 6761 §6.3), and nothing that is called so is ever looked for in a network.
pub const INSIDE_HOST: &str = "ferry-sandbox.localhost";

/// How to start a sandbox that listens.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for everything that outlives the process: objects, sessions, keys. Made if it is missing;
    /// one sandbox at a time may use it.
    pub root: PathBuf,
    /// The TCP port on 127.0.0.1; 0: the one used last with this root if it is free, so that URLs signed
    /// earlier stay good, else any.
    pub port: u16,
    /// What MAVI and Visual Search take for an API key from those whose address has their pass in it, beside the key
    /// of the run; `None`: any that is not empty.
    pub api_key: Option<String>,
}

/// The kind of URL that MAVI's `upload/signed-url` hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedUrls {
    /// `GOOG4-HMAC-SHA256`, POST with `x-goog-resumable: start`, then a resumable session.
    #[default]
    GoogleResumable,
    /// `GOOG4-HMAC-SHA256`, one PUT.
    GooglePut,
    /// `AWS4-HMAC-SHA256`, one PUT.
    AmazonPut,
    /// A shared access signature, one PUT with `x-ms-blob-type: BlockBlob`.
    AzurePut,
    /// An opaque link that takes a form with the part `file`, as the service's own sample sends it.
    Form,
    /// A form with the fields of a POST policy, which stand in `data.fields` of the answer.
    PolicyForm,
    /// The URI of a resumable session that has been started already.
    Session,
}

/// A running sandbox. Dropping it stops it; [`Sandbox::stop`] also waits until it has.
pub struct Sandbox {
    shared: Arc<Shared>,
    router: axum::Router,
    stopping: CancellationToken,
}

impl Sandbox {
    /// Starts one that listens on loopback, with a new key.
    ///
    /// # Errors
    /// The root cannot be written or is not this user's own, or the port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::listen(options, None).await
    }

    /// The same with a key that is known beforehand, and the routes below [`Sandbox::control_url`].
    ///
    /// # Errors
    /// As those of [`Sandbox::start`].
    #[cfg(feature = "control")]
    pub async fn start_with_control(options: Options, key: String) -> io::Result<Self> {
        Self::listen(options, Some(key)).await
    }

    async fn listen(options: Options, key: Option<String>) -> io::Result<Self> {
        let Options { root, port, api_key } = options;
        take_possession(&root)?;
        let listener = bind(&root.join("port"), port).await?;
        let is_controlled = key.is_some();
        let address = listener.local_addr()?;
        let shared = Shared::open(root, Place::Loopback(address), gate::Gate::new(key), api_key)?;
        let sandbox = Self::new(shared, is_controlled);
        let listening = server::listen(
            listener,
            sandbox.router.clone(),
            Arc::clone(&sandbox.shared),
            sandbox.stopping.clone(),
        );
        sandbox.shared.tasks.spawn(listening);
        Ok(sandbox)
    }

    /// Opens one that has no port and is asked by [`Sandbox::answer`] alone. Its files are in this folder, which is
    /// made if it is missing; one sandbox at a time may use it.
    ///
    /// # Errors
    /// The root cannot be written, or is not this user's own.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        take_possession(&root)?;
        // Of a version that listened: what it says is no longer so.
        let _ = std::fs::remove_file(root.join("port"));
        Ok(Self::new(Shared::open(root, Place::Inside, gate::Gate::new(None), None)?, false))
    }

    fn new(shared: Shared, is_controlled: bool) -> Self {
        let shared = Arc::new(shared);
        let router = server::router(&shared, is_controlled);
        Self { shared, router, stopping: CancellationToken::new() }
    }

    /// The key of this run: in `Authorization` it opens everything but the store, which wants a signature.
    pub fn key(&self) -> &str {
        self.shared.gate.key()
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.shared.place {
            Place::Loopback(address) => Some(address),
            Place::Inside => None,
        }
    }

    /// `http://127.0.0.1:PORT`, which is where signed URLs lead, or the same with [`INSIDE_HOST`].
    pub fn origin(&self) -> String {
        self.shared.origin()
    }

    /// Where plain links are: `/files`, `/generate` and `/sink` are below it.
    pub fn url(&self) -> String {
        self.base(gate::Part::Links, "")
    }

    /// MAVI's base URL.
    pub fn mavi_url(&self) -> String {
        self.base(gate::Part::Mavi, mavi::BASE)
    }

    /// Visual Search's base URL.
    pub fn visual_search_url(&self) -> String {
        self.base(gate::Part::VisualSearch, visual_search::BASE)
    }

    /// The media downloader's base URL; its paths start with `/api`.
    pub fn offline_tube_url(&self) -> String {
        self.base(gate::Part::OfflineTube, offline_tube::BASE)
    }

    /// The base URLs of the services that it stands for, by their ids.
    pub fn addresses(&self) -> [(&'static str, String); 3] {
        [
            ("mavi", self.mavi_url()),
            ("visual-search", self.visual_search_url()),
            ("offline-tube", self.offline_tube_url()),
        ]
    }

    /// Where `faults`, `requests`, `settings` and `trust` are, for tests whose sandbox runs in another process.
    #[cfg(feature = "control")]
    pub fn control_url(&self) -> String {
        self.base(gate::Part::Control, "/_sandbox")
    }

    /// The base of a part. Inside the process it stands without a pass: who asks there has the key, and what a part
    /// is called must be the same in each run, or nothing that was begun could be continued.
    fn base(&self, part: gate::Part, path: &str) -> String {
        match self.shared.place {
            Place::Loopback(_) => format!("{}/{}{path}", self.origin(), self.shared.gate.pass(part)),
            Place::Inside => format!("{}{path}", self.origin()),
        }
    }

    /// The switchboard of faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The latest requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.list()
    }

    /// Empties the request log.
    pub fn clear_requests(&self) {
        self.shared.requests.clear();
    }

    /// Chooses the kind of signed URL that uploads get from now on.
    pub fn set_signed_urls(&self, kind: SignedUrls) {
        self.shared.set_signed_urls(kind);
    }

    /// Accepts `GOOG4-RSA-SHA256` signatures of a service account for as long as it runs. The key is an RSA public key
    /// in DER, as SubjectPublicKeyInfo or PKCS#1.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn trust_google_key(&self, client_email: &str, public_key_der: &[u8]) -> io::Result<()> {
        self.shared.keys.trust_google(client_email, public_key_der)
    }

    /// Accepts `AWS4-HMAC-SHA256` and `GOOG4-HMAC-SHA256` signatures of this access id for as long as it runs.
    pub fn trust_hmac_key(&self, access_id: &str, secret: &str) {
        self.shared.keys.trust_hmac(access_id, secret);
    }

    /// Stops and waits until every connection is closed and what came is written.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// Makes the root this user's alone. Where others could read the secret until now, as an older version let them, what
/// they may have learnt is worth nothing any more: it, and the ids of sessions, which are the names of their files. Keys
/// that an older version trusted may have been anybody's.
fn take_possession(root: &Path) -> io::Result<()> {
    let was_open = private::is_open_to_others(&root.join(signature::SECRET));
    private::take_possession(root)?;
    if was_open {
        std::fs::remove_file(root.join(signature::SECRET))?;
        for folder in [session::FOLDER, "trusted"] {
            match std::fs::remove_dir_all(root.join(folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

async fn bind(port_file: &Path, port: u16) -> io::Result<TcpListener> {
    let last =
        private::read(port_file).ok().and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
    let listener = match (port, last) {
        (0, Some(last)) => match TcpListener::bind((Ipv4Addr::LOCALHOST, last)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        },
        (port, _) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?,
    };
    objects::write_whole(port_file, listener.local_addr()?.port().to_string().as_bytes())?;
    Ok(listener)
}

/// Where a sandbox is asked.
pub(crate) enum Place {
    /// On loopback.
    Loopback(SocketAddr),
    /// By a call, inside the process.
    Inside,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    place: Place,
    pub(crate) gate: gate::Gate,
    pub(crate) api_key: Option<String>,
    pub(crate) faults: Faults,
    pub(crate) requests: requests::Requests,
    pub(crate) keys: signature::Keys,
    pub(crate) objects: objects::Objects,
    pub(crate) sessions: session::Sessions,
    pub(crate) assets: mavi::Assets,
    pub(crate) jobs: offline_tube::Jobs,
    signed_urls: Mutex<SignedUrls>,
    /// Everything that runs and must end before [`Sandbox::stop`] returns.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    fn open(root: PathBuf, place: Place, gate: gate::Gate, api_key: Option<String>) -> io::Result<Self> {
        private::folder(&root.join(files::FOLDER))?;
        let objects = objects::Objects::open(&root)?;
        Ok(Self {
            place,
            gate,
            api_key,
            faults: Faults::default(),
            requests: requests::Requests::default(),
            keys: signature::Keys::open(&root)?,
            sessions: session::Sessions::open(&root, objects.clone())?,
            objects,
            assets: mavi::Assets::open(&root)?,
            jobs: offline_tube::Jobs::open(&root)?,
            signed_urls: Mutex::default(),
            tasks: TaskTracker::new(),
            root,
        })
    }

    /// What `Host` is, in signatures too.
    pub(crate) fn host(&self) -> String {
        match self.place {
            Place::Loopback(address) => address.to_string(),
            Place::Inside => INSIDE_HOST.to_owned(),
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.host())
    }

    pub(crate) fn signed_urls(&self) -> SignedUrls {
        *self.signed_urls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_signed_urls(&self, kind: SignedUrls) {
        *self.signed_urls.lock().unwrap_or_else(PoisonError::into_inner) = kind;
    }
}

/// The request at hand, for handlers: its log entry, its faults, and when its connection ends.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) entry: Arc<requests::Entry>,
    pub(crate) faults: Faults,
    pub(crate) gone: CancellationToken,
    /// How it was let in.
    pub(crate) admission: gate::Admission,
    /// The mirror that it came to, if it came to one.
    pub(crate) mirror: Option<u64>,
}

impl Call {
    /// Takes the faults that hit this request at this moment.
    pub(crate) fn claim(&self, moment: faults::Moment) -> Vec<FaultKind> {
        self.faults.claim(moment, self.entry.method(), self.entry.path())
    }

    /// Seconds since 1970 by the clock of the service that this request goes to.
    pub(crate) fn now(&self) -> i64 {
        self.claim(faults::Moment::Clock).into_iter().fold(timestamp::now(), |now, fault| match fault {
            FaultKind::ClockAhead { seconds } => now + seconds,
            _ => now,
        })
    }
}
