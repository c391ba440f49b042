//! The built-in service: on loopback, it behaves like every service that Ferry speaks to, and like the strict
//! store behind a signed URL. It is the demo, the other side of the tests and the other end of the
//! benchmarks, and so it is stricter than the real ones.
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
//! | below [`Sandbox::url`] | |
//! |---|---|
//! | `/mavi/serve/api/v2` | MAVI v2 |
//! | `/search/serve/api/v1` | Visual Search v1 |
//! | `/tube` | the media downloader |
//! | `/store/{bucket}/{object}`, `/{bucket}/{object}` | the store behind signed URLs |
//! | `/files/{name}` | files from the folder `files` of the root |
//! | `/generate/{size}/{name}` | generated files of any size |
//! | `/mirror/{number}/…` | the same as below the rest of the path, with an `ETag` of the mirror's own |
//! | `/sink` | counts and hashes what is sent |
//! | `/_sandbox/faults`, `requests`, `settings`, `trust` | faults, request log, kind of signed URL and trusted keys over HTTP |

mod content;
mod control;
mod download;
mod faults;
mod files;
mod mavi;
mod objects;
mod offline_tube;
mod pattern;
mod ranges;
mod requests;
mod server;
mod session;
mod signature;
mod store;
mod timestamp;
mod visual_search;
mod wire;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{BalanceSpelling, Fault, FaultKind, Faults, HeaderBytes, RateLimitSpelling};
pub use requests::Request;

/// An API key that MAVI and Visual Search always accept.
pub const API_KEY: &str = "sandbox-key";

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for everything that outlives the process: objects, sessions, keys. Made if it is missing;
    /// one sandbox at a time may use it.
    pub root: PathBuf,
    /// The TCP port on 127.0.0.1; 0: the one used last with this root if it is free, so that URLs signed
    /// earlier stay good, else any.
    pub port: u16,
    /// The key that MAVI and Visual Search accept beside [`API_KEY`]; `None`: any that is not empty.
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
    stopping: CancellationToken,
}

impl Sandbox {
    /// Starts listening.
    ///
    /// # Errors
    /// The root cannot be written, or the port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let Options { root, port, api_key } = options;
        fs::create_dir_all(root.join(files::FOLDER))?;
        let listener = bind(&root.join("port"), port).await?;
        let objects = objects::Objects::open(&root)?;
        let shared = Arc::new(Shared {
            address: listener.local_addr()?,
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
        });
        let stopping = CancellationToken::new();
        shared.tasks.spawn(server::listen(listener, Arc::clone(&shared), stopping.clone()));
        Ok(Self { shared, stopping })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// MAVI's base URL.
    pub fn mavi_url(&self) -> String {
        format!("{}{}", self.url(), mavi::BASE)
    }

    /// Visual Search's base URL.
    pub fn visual_search_url(&self) -> String {
        format!("{}{}", self.url(), visual_search::BASE)
    }

    /// The media downloader's base URL; its paths start with `/api`.
    pub fn offline_tube_url(&self) -> String {
        format!("{}{}", self.url(), offline_tube::BASE)
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

    /// Accepts `GOOG4-RSA-SHA256` signatures of a service account from now on, also after a restart. The key
    /// is an RSA public key in DER, as SubjectPublicKeyInfo or PKCS#1.
    ///
    /// # Errors
    /// The key cannot be read, or not be written down.
    pub fn trust_google_key(&self, client_email: &str, public_key_der: &[u8]) -> io::Result<()> {
        self.shared.keys.trust_google(client_email, public_key_der)
    }

    /// Accepts `AWS4-HMAC-SHA256` and `GOOG4-HMAC-SHA256` signatures of this access id from now on, also
    /// after a restart.
    ///
    /// # Errors
    /// The key cannot be written down.
    pub fn trust_hmac_key(&self, access_id: &str, secret: &str) -> io::Result<()> {
        self.shared.keys.trust_hmac(access_id, secret)
    }

    /// Stops and waits until every connection is closed and what came is written.
    pub async fn stop(self) {
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

async fn bind(port_file: &std::path::Path, port: u16) -> io::Result<TcpListener> {
    let last = fs::read_to_string(port_file).ok().and_then(|text| text.trim().parse::<u16>().ok());
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

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) address: SocketAddr,
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
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
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
