//! A sandbox, and an engine that takes it for MAVI: for tests that upload.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_engine::{
    Asset, Code, Engine, Options, Overrides, Secret, State, Transfer, TransferId, UploadRequest,
};
use ferry_sandbox::{Fault, Sandbox, SignedUrls};

/// What the sandbox takes for a key.
pub const API_KEY: &str = "sk-uploads";

/// Longer than any test may take to see what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running pair; their folders go with them.
pub struct Uploads {
    pub engine: Engine,
    pub sandbox: Sandbox,
    root: tempfile::TempDir,
}

impl Uploads {
    /// With signed URLs of this kind.
    pub async fn new(kind: SignedUrls) -> Self {
        Self::with(kind, API_KEY).await
    }

    /// With this key.
    pub async fn with(kind: SignedUrls, key: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let options = ferry_sandbox::Options {
            root: root.path().join("sandbox"),
            port: 0,
            api_key: Some(API_KEY.to_owned()),
        };
        let sandbox = Sandbox::start(options).await.expect("a sandbox");
        sandbox.set_signed_urls(kind);
        let engine = open(root.path(), sandbox.mavi_url(), key).await;
        Self { engine, sandbox, root }
    }

    /// Starts a second engine that waits for the user as the window does, with a key that was typed in.
    pub async fn patient(key: &str) -> Self {
        let Self { engine, sandbox, root } = Self::new(SignedUrls::GoogleResumable).await;
        engine.shutdown().await;
        let mut options = Options::new(root.path().join("patient"));
        options.resume_unfinished = true;
        options.keychain = false;
        let engine = Engine::open(options).await.expect("an engine");
        let settings = engine.settings().with("mavi_url", sandbox.mavi_url());
        engine.save_settings(settings).await.expect("settings");
        engine.set_key("mavi", Secret::new(key)).await.expect("a key");
        Self { engine, sandbox, root }
    }

    /// With an engine of which some limits are others.
    pub async fn impatient(self, change: impl FnOnce(&mut Overrides)) -> Self {
        let Self { engine, sandbox, root } = self;
        engine.shutdown().await;
        let mut options = Options::new(root.path().join("impatient"));
        change(&mut options.overrides);
        options.keychain = false;
        options.keys.insert("mavi".into(), Secret::new(API_KEY));
        options.addresses.insert("mavi".into(), sandbox.mavi_url());
        options.addresses.insert("offline-tube".into(), sandbox.offline_tube_url());
        let engine = Engine::open(options).await.expect("an engine");
        Self { engine, sandbox, root }
    }

    /// With an engine for which MAVI is elsewhere.
    pub async fn at(self, mavi_url: String) -> Self {
        let Self { engine, sandbox, root } = self;
        engine.shutdown().await;
        let engine = open(&root.path().join("elsewhere"), mavi_url, API_KEY).await;
        Self { engine, sandbox, root }
    }

    /// Stops the engine and starts a new one on the same data; the sandbox goes on.
    pub async fn restart(self) -> Self {
        let Self { engine, sandbox, root } = self;
        engine.shutdown().await;
        drop(engine);
        let engine = open(root.path(), sandbox.mavi_url(), API_KEY).await;
        Self { engine, sandbox, root }
    }

    /// Makes the sandbox misbehave.
    pub fn fault(&self, fault: impl Into<Fault>) {
        self.sandbox.faults().add(fault);
    }

    /// A file of this length in a folder of the test's own.
    pub fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.root.path().join(name);
        let bytes: Vec<u8> = (0..length).map(|n| (n * 31 + n / 251) as u8).collect();
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Adds one upload.
    pub async fn add(&self, path: &Path) -> TransferId {
        let request = UploadRequest {
            paths: vec![path.to_owned()],
            service: Some("mavi".into()),
            ..UploadRequest::default()
        };
        self.engine.upload(request).await.expect("written down")[0]
    }

    /// Uploads and waits for the end.
    pub async fn run(&self, path: &Path) -> Transfer {
        let id = self.add(path).await;
        self.ended(id).await
    }

    /// Waits for the end of a transfer.
    pub async fn ended(&self, id: TransferId) -> Transfer {
        self.until(id, |row| row.state.has_ended()).await
    }

    /// Waits until a row is as wanted.
    pub async fn until(&self, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let row = self.engine.transfer(id).expect("on the list");
            if wanted(&row) {
                return row;
            }
            assert!(tokio::time::Instant::now() < deadline, "still {row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the service holds under a row's asset id, fetched outside of Ferry.
    pub async fn stored(&self, row: &Transfer) -> Vec<u8> {
        let id = row.asset_id.as_deref().expect("an asset id");
        let answer = reqwest::Client::new()
            .get(format!("{}/{id}/download", self.sandbox.mavi_url()))
            .header("Authorization", API_KEY)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.bytes().await.expect("a body").to_vec()
    }

    /// How many requests with this method went to a path that holds this text.
    pub fn requests(&self, method: &str, path: &str) -> usize {
        self.sandbox.requests().iter().filter(|r| r.method == method && r.path.contains(path)).count()
    }

    /// The library.
    pub async fn assets(&self) -> Vec<Asset> {
        self.engine.assets("").await.expect("a list")
    }

    /// What is still kept for transfers that have not ended.
    pub fn resume_records(&self) -> usize {
        std::fs::read_dir(self.root.path().join("data/resume")).expect("a folder").count()
    }

    /// Whether this word stands in one of them.
    pub fn is_in_resume_records(&self, word: &str) -> bool {
        let folder = std::fs::read_dir(self.root.path().join("data/resume")).expect("a folder");
        folder
            .flatten()
            .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(word)))
    }
}

async fn open(root: &Path, mavi_url: String, key: &str) -> Engine {
    let mut options = Options::new(root.join("data"));
    options.overrides = Overrides { stall: Some(Duration::from_secs(2)), ..Overrides::default() };
    options.keys.insert("mavi".into(), Secret::new(key));
    options.addresses.insert("mavi".into(), mavi_url);
    options.keychain = false;
    Engine::open(options).await.expect("an engine")
}

/// The code of a failed transfer.
pub fn code(row: &Transfer) -> Option<Code> {
    match &row.state {
        State::Failed(failure) => Some(failure.code),
        _ => None,
    }
}
