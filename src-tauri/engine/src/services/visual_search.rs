//! Visual Search v1 (document S1): POST download, JSON errors under HTTP 200, no length.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::asset::AssetInfo;
use crate::error::{Cause, Error, Result};
use crate::foreign::Foreign;
use crate::http::answer::{RefusalKind, number_or_string};
use crate::http::pace::Limit;
use crate::http::refusals::{Row, code, status, words};
use crate::run::Run;
use crate::service::{About, DefaultRole, Input, Links, Place, Setting, is_plain_id};
use crate::services::api::Api;
use crate::services::{Kind, Plan, Service, written};
use crate::settings::ServiceSettings;
use crate::task::DownloadTask;
use crate::words::{Peer, Phrase};

pub(super) static KIND: Kind = Kind {
    about: About {
        id: "visual-search",
        name: "Visual Search",
        description: "Download by video number",
        product: "memories.ai Visual Search v1",
        uploads: false,
        downloads: true,
        links: Links::None,
        takes: |number| {
            number.strip_prefix("VI").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                && is_plain_id(number)
        },
        label: "Visual Search video",
        place: Place::Address {
            built_in: "https://api.memories.ai/serve/api/v1",
            variable: "FERRY_VISUAL_SEARCH_URL",
            setting: "visual_search_url",
        },
        key_variable: Some("FERRY_VISUAL_SEARCH_KEY"),
        account: Some("memories.ai"),
        default: DefaultRole::IfChosen,
        settings: &[Setting {
            name: UNIQUE_ID,
            label: "Unique id",
            input: Input::Text { at_first: "default", is_private: true },
        }],
    },
    refusals: REFUSALS,
    open: |opening| {
        Box::pin(async move {
            let api = opening.api().await?;
            Ok(Arc::new(VisualSearch::new(api, &opening.settings())) as Arc<dyn Service>)
        })
    },
};

/// The setting that holds the `unique_id` which was used at upload.
const UNIQUE_ID: &str = "unique_id";

/// Its page of errors: codes under HTTP 200. `PARSE_ERROR` and `UNPARSE` are states of a video, not errors.
#[rustfmt::skip]
const REFUSALS: &[Row] = &[
    // "No such video" and "network abnormal" alike: worth two more tries, not more.
    code("0001", RefusalKind::NotFoundOrTrouble),
    code("0003", RefusalKind::MalformedRequest),
    status(402, RefusalKind::QuotaExceeded),
    code("0402", RefusalKind::QuotaExceeded),
    status(403, RefusalKind::Disabled),
    code("0403", RefusalKind::Disabled),
    code("0409", RefusalKind::Duplicate),
    code("9009", RefusalKind::NoPermission),
    words(400, "insufficient balance", RefusalKind::QuotaExceeded),
    words(400, "request has exceeded the limit", RefusalKind::LimitOrInvalid),
];

/// Published limits: 12 downloads a minute, 5 lists a second.
const DOWNLOADS: Limit = Limit::OnceIn(Duration::from_secs(5));
const LISTS: Limit = Limit::PerSecond(NonZeroU32::MIN.saturating_add(4));

pub(crate) struct VisualSearch {
    api: Api,
    unique_id: String,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    videos: Vec<Video>,
}

#[derive(Deserialize)]
struct Video {
    video_no: Option<String>,
    video_name: Option<String>,
    #[serde(default, deserialize_with = "number_or_string")]
    size: Option<u64>,
    status: Option<Foreign>,
    create_time: Option<Value>,
    cause: Option<Foreign>,
}

impl VisualSearch {
    pub fn new(api: Api, settings: &ServiceSettings) -> Self {
        Self { api, unique_id: settings.text(UNIQUE_ID).to_owned() }
    }

    /// The service's list entry for one video; `None` when it has none.
    async fn video(&self, video_no: &str, unique_id: &str) -> Result<Option<Video>> {
        let url = self.api.url(&["list_videos"])?;
        let body = json!({ "page": 1, "size": 20, "unique_id": unique_id, "video_no": video_no });
        let listing: Listing =
            self.api.data(self.api.call(Method::POST, url, Some(&body), "list_videos", LISTS)).await?;
        Ok(listing.videos.into_iter().find(|video| video.video_no.as_deref() == Some(video_no)))
    }
}

#[async_trait]
impl Service for VisualSearch {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    async fn prepare(&self, task: &DownloadTask, _run: &Run) -> Result<Plan> {
        let unique_id = task.unique_id.as_ref().unwrap_or(&self.unique_id);
        // The list knows the name and the size that the download itself does not give. It is a help, not a must.
        let listed = match self.video(&task.what, unique_id).await {
            Ok(listed) => listed,
            Err(error)
                if matches!(error.cause, Cause::Unauthorized | Cause::RateLimited | Cause::QuotaExceeded) =>
            {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, "the list of videos was of no help");
                None
            }
        };
        if let Some(video) = &listed {
            let status = video.status.as_deref().unwrap_or("PARSE");
            if status.starts_with("FAIL") || status.ends_with("ERROR") {
                let reason = video.cause.clone().unwrap_or_else(|| status.into());
                return Err(Error::new(
                    Cause::ServiceRefused,
                    Phrase::VideoNotProcessed { service: Peer::service(KIND.about.id) },
                )
                .because(reason));
            }
        }
        let url = self.api.url(&["download"])?;
        let wanted = json!({ "video_no": task.what, "unique_id": unique_id });
        Ok(Plan {
            fetch: self.api.fetch(url, Some(wanted), "download", DOWNLOADS),
            rangeable: false,
            title: listed.as_ref().and_then(|video| video.video_name.clone()),
            id: task.what.clone(),
            expected_size: listed.and_then(|video| video.size).filter(|size| *size > 0),
            pages_welcome: false,
        })
    }

    async fn info(&self, video_no: &str) -> Result<AssetInfo> {
        let video = self.video(video_no, &self.unique_id).await?.ok_or_else(|| {
            Error::new(
                Cause::NotFound,
                Phrase::VideoUnknown { service: Peer::service(KIND.about.id), id: video_no.into() },
            )
        })?;
        Ok(AssetInfo {
            asset_id: video_no.into(),
            name: video.video_name.map(Foreign::from),
            size: video.size,
            status: video.status,
            created: video.create_time.map(written),
        })
    }

    async fn check(&self) -> Result<()> {
        let url = self.api.url(&["list_videos"])?;
        let body = json!({ "page": 1, "size": 1, "unique_id": self.unique_id });
        let _: Value =
            self.api.data(self.api.call(Method::POST, url, Some(&body), "list_videos", LISTS)).await?;
        Ok(())
    }
}
