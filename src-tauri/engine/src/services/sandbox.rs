//! The built-in service: runs inside this process, from its first use until Ferry ends. It has no port and no socket:
//! requests to its name are handed to it by a call (docs/decisions/0026), so nobody else can ask it anything.
//!
//! It behaves like all the others, so one name serves for all: asset ids go its MAVI way, video numbers its Visual
//! Search way, pages and job ids its media downloader's way.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ferry_sandbox::{INSIDE_HOST, Sandbox};
use url::Url;

use crate::asset::AssetInfo;
use crate::error::{Cause, Error, Result, plain_os_words};
use crate::http::Http;
use crate::http::answer::{Refusal, RefusalKind};
use crate::http::origin::{BoundKey, Origin};
use crate::http::pace::Paces;
use crate::run::Run;
use crate::secret::Secret;
use crate::service::{About, DefaultRole, Links, Place};
use crate::services::api::Api;
use crate::services::{
    Confirmation, Kind, Plan, Service, Services, Signed, mavi, offline_tube, visual_search,
};
use crate::settings::ServiceSettings;
use crate::task::DownloadTask;
use crate::words::Phrase;

pub(super) static KIND: Kind = Kind {
    about: About {
        id: "sandbox",
        name: "Sandbox",
        description: "Runs inside Ferry, on this computer only. For trying things out",
        product: "The built-in service on this computer",
        uploads: true,
        downloads: true,
        links: Links::Pages("Page for the sandbox’s media server"),
        takes: |id| PARTS.iter().any(|part| (part.about.takes)(id)),
        label: "File in the sandbox",
        place: Place::Inside,
        key_variable: None,
        account: None,
        default: DefaultRole::AtFirst,
        settings: &[],
    },
    // Each of its parts has its own.
    refusals: &[],
    open: |opening| {
        Box::pin(async move {
            let Services { sandbox, http, paces, .. } = opening.services;
            Ok(Arc::new(sandbox.service(http, &opening.settings(), paces).await?) as Arc<dyn Service>)
        })
    },
};

/// The services that it stands for. Their codes do not meet: v1 has four digits, v2 has HTTP's status, the media downloader
/// has none.
static PARTS: [&Kind; 3] = [&visual_search::KIND, &mavi::KIND, &offline_tube::KIND];

/// Starts the sandbox when it is first needed.
pub(crate) struct Launcher {
    root: PathBuf,
    running: tokio::sync::Mutex<Option<Arc<Sandbox>>>,
}

impl Launcher {
    pub fn new(root: PathBuf) -> Self {
        Self { root, running: tokio::sync::Mutex::default() }
    }

    /// The service, started if need be.
    pub async fn service(
        &self,
        http: &Http,
        settings: &ServiceSettings,
        paces: &Paces,
    ) -> Result<SandboxService> {
        let mut running = self.running.lock().await;
        let sandbox = match &*running {
            Some(sandbox) => Arc::clone(sandbox),
            None => Arc::clone(running.insert(self.start(http).await?)),
        };
        let key = Secret::new(sandbox.key());
        let api = |part: &'static Kind, base: String| {
            let key = Origin::of_address(&base).map(|origin| BoundKey::new(key.clone(), origin));
            Api::new(http.clone(), &KIND, &base, key, paces.clone()).map(|api| api.of(part))
        };
        Ok(SandboxService {
            mavi: mavi::Mavi::new(api(&mavi::KIND, sandbox.mavi_url())?),
            search: visual_search::VisualSearch::new(
                api(&visual_search::KIND, sandbox.visual_search_url())?,
                settings,
            ),
            tube: offline_tube::OfflineTube::new(
                api(&offline_tube::KIND, sandbox.offline_tube_url())?,
                settings,
            ),
        })
    }

    async fn start(&self, http: &Http) -> Result<Arc<Sandbox>> {
        let root = self.root.clone();
        // It looks through all that it has kept.
        let opened = tokio::task::spawn_blocking(move || Sandbox::open(root));
        let opened = opened.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        let sandbox = opened
            .map(Arc::new)
            .map_err(|error| Error::internal(Phrase::SandboxNotStarted).because(plain_os_words(&error)))?;
        http.set_inside(Some(Arc::clone(&sandbox)));
        Ok(sandbox)
    }

    /// Stops it, if it runs.
    pub async fn stop(&self, http: &Http) {
        if let Some(sandbox) = self.running.lock().await.take() {
            http.set_inside(None);
            sandbox.stop().await;
        }
    }
}

/// All the services of the sandbox under one name.
pub(crate) struct SandboxService {
    mavi: mavi::Mavi,
    search: visual_search::VisualSearch,
    tube: offline_tube::OfflineTube,
}

impl SandboxService {
    /// The part of the sandbox that an id belongs to.
    fn part(&self, id: &str, is_url: bool) -> &dyn Service {
        if is_url || (offline_tube::KIND.about.takes)(id) {
            &self.tube
        } else if (visual_search::KIND.about.takes)(id) {
            &self.search
        } else {
            &self.mavi
        }
    }
}

#[async_trait]
impl Service for SandboxService {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    async fn sign(&self, file_name: &str) -> Result<Signed> {
        self.mavi.sign(file_name).await
    }

    /// An older version listened on a port, which anybody may hold by now.
    fn is_own(&self, address: &str) -> bool {
        Url::parse(address).is_ok_and(|url| url.host_str() == Some(INSIDE_HOST))
    }

    async fn confirm(&self, asset_id: &str) -> Result<Confirmation> {
        self.mavi.confirm(asset_id).await
    }

    async fn prepare(&self, task: &DownloadTask, run: &Run) -> Result<Plan> {
        self.part(&task.what, task.is_url).prepare(task, run).await
    }

    async fn after_download(&self, task: &DownloadTask) -> Result<()> {
        self.part(&task.what, task.is_url).after_download(task).await
    }

    fn meaning(&self, refusal: &Refusal) -> Option<RefusalKind> {
        PARTS.iter().find_map(|part| refusal.meaning_in(part.refusals))
    }

    async fn info(&self, asset_id: &str) -> Result<AssetInfo> {
        self.part(asset_id, false).info(asset_id).await
    }

    async fn delete(&self, asset_id: &str) -> Result<()> {
        self.part(asset_id, false).delete(asset_id).await
    }

    async fn check(&self) -> Result<()> {
        match self.mavi.check().await {
            Err(error) if error.cause == Cause::Unauthorized => {
                Err(Error::internal(Phrase::SandboxRefusedItsKey).because(error.what))
            }
            other => other,
        }
    }
}
