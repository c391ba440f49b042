//! The media downloader (document S3; FastAPI): the server fetches a page's video first, then hands it out.
//!
//! One transfer in stages: start the job, poll until it ends (in *any* way: the document's own loop waits only for
//! `completed` and would hang for ever), fetch the file, remove it from the server if wanted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use crate::asset::AssetInfo;
use crate::error::{Cause, Error, Result};
use crate::foreign::Foreign;
use crate::http::address;
use crate::http::answer::{RefusalKind, number_or_string};
use crate::http::pace::Limit;
use crate::http::refusals::words;
use crate::run::Run;
use crate::service::{About, DefaultRole, Input, Links, Place, Setting, is_plain_id, may_be_id};
use crate::services::api::{Api, Call};
use crate::services::link::link_not_kept;
use crate::services::{Kind, Plan, Service};
use crate::settings::ServiceSettings;
use crate::task::DownloadTask;
use crate::transfer::Stage;
use crate::words::{Phrase, Seconds, Words};

pub(super) static KIND: Kind = Kind {
    about: About {
        id: "offline-tube",
        name: "Media server",
        description: "Fetches a page’s video, then hands you the file",
        product: "The media downloader",
        uploads: false,
        downloads: true,
        links: Links::Pages("Page for the media server"),
        // A UUID.
        takes: |job| job.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && is_plain_id(job),
        label: "File on the media server",
        place: Place::Address {
            built_in: "",
            variable: "FERRY_OFFLINE_TUBE_URL",
            setting: "offline_tube_url",
        },
        key_variable: None,
        account: None,
        default: DefaultRole::IfChosen,
        settings: &[
            Setting {
                name: QUALITY,
                label: "Quality",
                input: Input::Choice {
                    at_first: "720p",
                    of: &["best", "2160p", "1440p", "1080p", "720p", "480p", "360p", "audio"],
                },
            },
            Setting {
                name: REMOVE_AFTER,
                label: "Afterwards",
                input: Input::Switch {
                    yes: "Remove the file from the server",
                    no: "Keep the file on the server",
                    deletes: true,
                },
            },
        ],
    },
    refusals: &[
        // One 404 for "not finished" and "unknown"; its other one means that the file is gone.
        words(404, "no disponible o no completada", RefusalKind::NotReady),
    ],
    open: |opening| {
        Box::pin(async move {
            let api = opening.api().await?;
            Ok(Arc::new(OfflineTube::new(api, &opening.settings())) as Arc<dyn Service>)
        })
    },
};

/// The setting that holds the quality that it is asked for.
const QUALITY: &str = "quality";
/// The setting that has a file removed from the server after the download.
const REMOVE_AFTER: &str = "remove_after";

const FIRST_POLL: Duration = Duration::from_millis(500);
const LONGEST_POLL: Duration = Duration::from_secs(10);
/// Failed polls in a row before the server counts as gone.
const MOST_FAILED_POLLS: u32 = 5;

#[derive(Clone)]
pub(crate) struct OfflineTube {
    api: Api,
    quality: String,
    remove_after: bool,
}

#[derive(Deserialize)]
struct Started {
    #[serde(alias = "id")]
    download_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Job {
    id: String,
    title: Option<String>,
    status: Option<Foreign>,
    progress: Option<f32>,
    #[serde(default, deserialize_with = "number_or_string")]
    filesize: Option<u64>,
    #[serde(default, deserialize_with = "number_or_string")]
    downloaded_bytes: Option<u64>,
    filename: Option<String>,
    error_message: Option<Foreign>,
}

impl OfflineTube {
    pub fn new(api: Api, settings: &ServiceSettings) -> Self {
        let quality = settings.text(QUALITY).to_owned();
        Self { api, quality, remove_after: settings.is_on(REMOVE_AFTER) }
    }

    fn call<'a>(&self, method: Method, url: Url, body: Option<&'a Value>) -> Call<'a> {
        self.api.call(method, url, body, "jobs", Limit::Free)
    }

    async fn job(&self, id: &str) -> Result<Option<Job>> {
        let url = self.api.url(&["api", "downloads"])?;
        self.api.found(self.call(Method::GET, url, None), |job: &Job| job.id == id).await
    }

    /// Begins a job, and writes its id down before anything else: a crash from there on continues this job, not a second one.
    /// To its end also when nobody waits for it any more: what the server has begun is known to the run that comes next.
    async fn start(&self, page: &str, task: &DownloadTask, run: &Run) -> Result<String> {
        let url = self.api.url(&["api", "download"])?;
        let quality = task.quality.as_ref().unwrap_or(&self.quality);
        let wanted = json!({ "url": page, "quality": quality });
        let (tube, begun) = (self.clone(), run.clone());
        run.to_its_end(async move {
            let started: Started = tube.api.json(tube.call(Method::POST, url, Some(&wanted))).await?;
            let id = started
                .download_id
                .filter(|id| may_be_id(id))
                .ok_or_else(|| Error::new(Cause::BadResponse, Phrase::JobWithoutId))?;
            begun.set_server_id(&id).await?;
            begun.tell(Phrase::PageBegun);
            Ok(id)
        })
        .await
    }

    /// Follows a job to its end.
    async fn wait_for(&self, id: &str, run: &Run) -> Result<Job> {
        let stuck = run.queue().http.limits.stuck;
        let (mut missing, mut failed, mut pause) = (0, 0, FIRST_POLL);
        let (mut last, mut changed_at): (Option<Job>, _) = (None, Instant::now());
        loop {
            match self.job(id).await {
                Ok(Some(job)) => {
                    (missing, failed) = (0, 0);
                    match job.status.as_deref().unwrap_or_default() {
                        "completed" => return Ok(job),
                        "error" => {
                            let why = job.error_message.map_or(Phrase::NoReasonGiven.into(), Words::Said);
                            return Err(Error::new(Cause::ServiceRefused, Phrase::JobFailed).because(why));
                        }
                        "cancelled" | "canceled" => {
                            return Err(Error::new(Cause::ServiceRefused, Phrase::JobCanceled));
                        }
                        _ => {}
                    }
                    run.preparing(
                        job.title.as_deref(),
                        job.progress.map(|percent| percent.clamp(0.0, 100.0)),
                    );
                    if last.as_ref() != Some(&job) {
                        (last, changed_at, pause) = (Some(job), Instant::now(), FIRST_POLL);
                    } else if changed_at.elapsed() > stuck {
                        return Err(Error::new(
                            Cause::JobStuck,
                            Phrase::JobStuck { seconds: Seconds(stuck.as_secs()) },
                        )
                        .advise(Phrase::LookAtMediaServer));
                    }
                }
                Ok(None) => {
                    missing += 1;
                    if missing >= 2 {
                        return Err(
                            Error::new(Cause::NotFound, Phrase::JobVanished).advise(Phrase::StartAgain)
                        );
                    }
                }
                Err(error) => {
                    failed += 1;
                    if failed >= MOST_FAILED_POLLS
                        || crate::error::retry::rule(error.cause).again == crate::error::retry::Again::Never
                    {
                        return Err(error);
                    }
                }
            }
            run.sleep(pause).await?;
            pause = pause.mul_f32(1.5).min(LONGEST_POLL.min(Duration::from_secs(2).max(pause)));
        }
    }
}

#[async_trait]
impl Service for OfflineTube {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    async fn prepare(&self, task: &DownloadTask, run: &Run) -> Result<Plan> {
        let id = match (&task.server_id, task.is_url) {
            (Some(id), _) => id.clone(),
            (None, false) => task.what.clone(),
            (None, true) => {
                run.stage(Stage::Preparing);
                let page = task.url(run.resume_record().url).ok_or_else(link_not_kept)?;
                address::parse_http(&page)
                    .map_err(|why| Error::invalid(Phrase::PageAddressUnusable).because(why))?;
                self.start(&page, task, run).await?
            }
        };
        run.stage(Stage::Preparing);
        let job = match self.wait_for(&id, run).await {
            Ok(job) => job,
            Err(error) => {
                if task.is_url && !matches!(error.cause, Cause::Canceled) {
                    // The next attempt starts a job of its own: this one will not come to anything.
                    run.forget_server_id().await?;
                }
                return Err(error);
            }
        };
        let url = self.api.url(&["api", "download", &id, "file"])?;
        Ok(Plan {
            fetch: self.api.fetch(url, None, "file", Limit::Free),
            rangeable: true,
            title: job.title.or_else(|| job.filename.map(|name| without_id(&name, &id))),
            id,
            expected_size: None,
            pages_welcome: false,
        })
    }

    async fn after_download(&self, task: &DownloadTask) -> Result<()> {
        if !task.remove_after.unwrap_or(self.remove_after) {
            return Ok(());
        }
        let id = task.server_id.as_deref().unwrap_or(&task.what);
        let url = self.api.url(&["api", "downloads", id, "remove"])?;
        let _: IgnoredAny = self.api.json(self.call(Method::DELETE, url, None)).await?;
        Ok(())
    }

    async fn info(&self, id: &str) -> Result<AssetInfo> {
        let job = self
            .job(id)
            .await?
            .ok_or_else(|| Error::new(Cause::NotFound, Phrase::JobUnknown { id: id.into() }))?;
        Ok(AssetInfo {
            asset_id: id.into(),
            name: job.filename.or(job.title).map(Foreign::from),
            size: job.filesize.or(job.downloaded_bytes),
            status: job.status,
            created: None,
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let url = self.api.url(&["api", "downloads", id, "remove"])?;
        let _: IgnoredAny = self.api.json(self.call(Method::DELETE, url, None)).await?;
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        let url = self.api.url(&["api", "downloads"])?;
        self.api.found(self.call(Method::GET, url, None), |_: &Job| false).await.map(drop)
    }
}

/// The server calls its files `{title}__{uuid}.mp4`; the id is of no use in a name.
fn without_id(file_name: &str, id: &str) -> String {
    file_name.replace(&format!("__{id}"), "")
}
