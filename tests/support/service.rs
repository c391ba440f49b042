//! The sandbox, run inside the test's own process, so that a test can switch faults and read what was asked.

use ferry_sandbox::{Fault, FaultKind, Options, Request, Sandbox, SignedUrls};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::http::post_json;

/// The only key, besides that of the sandbox's run, that it takes here.
pub const KEY: &str = "sk-test-right";

/// A running sandbox.
pub struct Service {
    // Dropped in this order: the server before its threads, these before its files.
    sandbox: Sandbox,
    runtime: Runtime,
    root: TempDir,
}

impl Service {
    pub fn start() -> Self {
        let root = TempDir::new().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options = Options { root: root.path().to_owned(), port: 0, api_key: Some(KEY.to_owned()) };
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        Self { sandbox, runtime, root }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        self.sandbox.origin()
    }

    /// Where plain links are.
    pub fn url(&self) -> String {
        self.sandbox.url()
    }

    pub fn mavi_url(&self) -> String {
        self.sandbox.mavi_url()
    }

    pub fn visual_search_url(&self) -> String {
        self.sandbox.visual_search_url()
    }

    pub fn offline_tube_url(&self) -> String {
        self.sandbox.offline_tube_url()
    }

    /// A link to a generated file.
    pub fn link(&self, size: u64, name: &str) -> String {
        format!("{}/generate/{size}/{name}", self.sandbox.url())
    }

    /// Switches a fault on.
    pub fn fault(&self, fault: impl Into<Fault>) {
        self.sandbox.faults().add(fault);
    }

    /// Every body flows at this speed.
    pub fn slow(&self, bytes_per_second: u64) {
        self.fault(FaultKind::Slow { bytes_per_second });
    }

    /// Switches all faults off.
    pub fn heal(&self) {
        self.sandbox.faults().clear();
    }

    /// Chooses the kind of signed URLs from now on.
    pub fn sign_with(&self, kind: SignedUrls) {
        self.sandbox.set_signed_urls(kind);
    }

    /// Puts a file where `/files/NAME` serves it.
    pub fn put_file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.root.path().join("files").join(name), bytes).unwrap();
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.sandbox.requests()
    }

    /// Asks for a signed URL as a script would, and gives it with its asset id.
    pub fn signed_url(&self, name: &str) -> (String, String) {
        let answer = post_json(
            &format!("{}/upload/signed-url", self.mavi_url()),
            KEY,
            &json!({"original_filename": name}),
        );
        let text = |field: &str| answer["data"][field].as_str().unwrap().to_owned();
        (text("signed_url"), text("asset_id"))
    }
}
