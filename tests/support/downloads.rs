//! An engine with folders of its own, for tests that download.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_engine::{Code, DownloadRequest, Engine, Options, Overrides, Secret, State, Transfer, TransferId};

/// Longer than any test may take to see what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running engine; its folders go with it.
pub struct Downloads {
    engine: Engine,
    root: tempfile::TempDir,
    overrides: Overrides,
    /// A service that is somewhere else than usual: its id and its address.
    service: Option<(&'static str, String)>,
}

impl Downloads {
    /// An engine with the usual settings.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// An engine with some settings changed.
    pub async fn with(change: impl FnOnce(&mut Overrides)) -> Self {
        Self::of(None, change).await
    }

    /// The same, with a service at this address.
    pub async fn of(service: Option<(&'static str, String)>, change: impl FnOnce(&mut Overrides)) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(root.path().join("downloads")).expect("a folder");
        let mut overrides = Overrides::default();
        change(&mut overrides);
        Self { engine: open(root.path(), &overrides, service.as_ref()).await, root, overrides, service }
    }

    /// Stops the engine, lets the test touch the downloads folder, and starts a new one on the same data.
    pub async fn restart(self, between: impl FnOnce(&Path) + Send + 'static) -> Self {
        let Self { engine, root, overrides, service } = self;
        engine.shutdown().await;
        drop(engine);
        let folder = root.path().join("downloads");
        // Beside the runtime, on which the old engine comes to its end and lets go of its list.
        tokio::task::spawn_blocking(move || between(&folder)).await.expect("nothing failed");
        Self { engine: open(root.path(), &overrides, service.as_ref()).await, root, overrides, service }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Adds a download.
    pub async fn add(&self, what: &str) -> TransferId {
        let request =
            DownloadRequest { what: what.into(), folder: Some(self.folder()), ..DownloadRequest::default() };
        self.engine.download(request).await.expect("written down")
    }

    /// Downloads what a service calls by this id, and waits for the end.
    pub async fn run_of(&self, service: &str, id: &str) -> Transfer {
        let request = DownloadRequest {
            what: id.into(),
            service: Some(service.into()),
            folder: Some(self.folder()),
            ..DownloadRequest::default()
        };
        let id = self.engine.download(request).await.expect("written down");
        self.ended(id).await
    }

    /// Downloads and waits for the end.
    pub async fn run(&self, what: &str) -> Transfer {
        let id = self.add(what).await;
        self.ended(id).await
    }

    /// The same with an owned URL, for joins.
    pub async fn run_url(&self, what: String) -> Transfer {
        self.run(&what).await
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The downloads folder.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("downloads")
    }

    /// A file in it.
    pub fn saved(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}; {:?}", self.files()))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.folder().join(name).exists()
    }

    /// The names in it that are no part files.
    pub fn files(&self) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| !name.ends_with(".ferrypart"));
        names
    }

    /// All names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).expect("a folder").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Nothing is in the folder but this, not even a part file.
    pub fn nothing_else_than(&self, names: &[&str]) {
        assert_eq!(self.names(), names);
    }

    /// What is still kept for transfers that have not ended.
    pub fn resume_records(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.path().join("data/resume")).expect("a folder").flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

async fn open(root: &Path, overrides: &Overrides, service: Option<&(&'static str, String)>) -> Engine {
    let mut options = Options::new(root.join("data"));
    if let Some((id, address)) = service {
        options.addresses.insert((*id).to_owned(), address.clone());
        options.keys.insert((*id).to_owned(), Secret::new("key"));
    }
    options.overrides = overrides.clone();
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
