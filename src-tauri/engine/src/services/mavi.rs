//! MAVI v2 (documents S0, S2, S4): signed upload, download, metadata, delete.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::asset::AssetInfo;
use crate::error::{Cause, Error, Result};
use crate::foreign::Foreign;
use crate::http::answer::{RefusalKind, number_or_string};
use crate::http::pace::Limit;
use crate::http::refusals::{Row, code, status, words};
use crate::run::Run;
use crate::service::{About, DefaultRole, Input, Links, Place, Setting, is_plain_id, may_be_id};
use crate::services::api::Api;
use crate::services::{Confirmation, Kind, Plan, Service, Signed, written};
use crate::task::DownloadTask;
use crate::upload::signed_url::SignedUrl;
use crate::words::{Peer, Phrase, Words};

pub(super) static KIND: Kind = Kind {
    about: About {
        id: "mavi",
        name: "MAVI",
        description: "Upload by signed URL, download, delete",
        product: "memories.ai MAVI v2",
        uploads: true,
        downloads: true,
        links: Links::None,
        takes: |id| id.strip_prefix("re_").is_some_and(is_plain_id),
        label: "MAVI asset",
        place: Place::Address {
            built_in: "https://mavi-backend.memories.ai/serve/api/v2",
            variable: "FERRY_MAVI_URL",
            setting: "mavi_url",
        },
        key_variable: Some("FERRY_MAVI_KEY"),
        account: Some("memories.ai"),
        default: DefaultRole::IfChosen,
        settings: &[Setting { name: "upload_method", label: "Upload as", input: Input::Method }],
    },
    refusals: REFUSALS,
    open: |opening| {
        Box::pin(async move { Ok(Arc::new(Mavi::new(opening.api().await?)) as Arc<dyn Service>) })
    },
};

/// Its page of errors: the HTTP status is the code. A 400 alone says nothing but that: it is told apart by the words of
/// the page's samples, and those that the page itself calls ambiguous mean no more than that.
#[rustfmt::skip]
const REFUSALS: &[Row] = &[
    words(400, "insufficient balance", RefusalKind::QuotaExceeded),
    words(400, "request has exceeded the limit", RefusalKind::LimitOrInvalid),
    words(400, "asset not found", RefusalKind::NotFound),
    status(402, RefusalKind::QuotaExceeded),
    code("402", RefusalKind::QuotaExceeded),
    status(403, RefusalKind::Disabled),
];

/// Published limit: one request a second for each endpoint and account.
const PACE: Limit = Limit::OnceIn(Duration::from_secs(1));
/// A signed URL counts as ended this long before it does: a request takes its time, clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

pub(crate) struct Mavi {
    api: Api,
}

#[derive(Deserialize)]
struct SignedAnswer {
    asset_id: Option<Value>,
    signed_url: Option<String>,
    #[serde(default, deserialize_with = "number_or_string")]
    expires_in: Option<u64>,
    #[serde(default, alias = "form_fields", alias = "form_data")]
    fields: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    resource: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    asset_id: Option<String>,
    original_filename: Option<Foreign>,
    #[serde(default, deserialize_with = "number_or_string")]
    file_size: Option<u64>,
    upload_status: Option<Foreign>,
    create_time: Option<Value>,
}

impl Mavi {
    pub fn new(api: Api) -> Self {
        Self { api }
    }

    async fn metadata(&self, asset_id: &str) -> Result<Option<Resource>> {
        let url = self.api.url(&[asset_id, "metadata"])?;
        let found: Option<Metadata> =
            self.api.data(self.api.call(Method::GET, url, None, "metadata", PACE)).await?;
        let mut resources = found.map(|found| found.resource).unwrap_or_default();
        let at = resources.iter().position(|r| r.asset_id.as_deref() == Some(asset_id));
        Ok(match at {
            Some(at) => Some(resources.swap_remove(at)),
            None => resources.into_iter().find(|r| r.asset_id.is_none()),
        })
    }
}

#[async_trait]
impl Service for Mavi {
    fn kind(&self) -> &'static Kind {
        &KIND
    }

    async fn sign(&self, file_name: &str) -> Result<Signed> {
        let url = self.api.url(&["upload", "signed-url"])?;
        let asked_at = SystemTime::now();
        let wanted = json!({ "original_filename": file_name });
        let call = self.api.call(Method::POST, url, Some(&wanted), "upload/signed-url", PACE);
        let told = self.api.told_data::<SignedAnswer>(call).await?;
        let (answer, their_time) = (told.data, told.their_time);
        let bad = |why: Words| Error::new(Cause::BadResponse, Phrase::SignedUrlOfService).because(why);
        let asset_id = answer
            .asset_id
            .and_then(|id| match id {
                Value::String(id) => Some(id),
                Value::Number(id) => Some(id.to_string()),
                _ => None,
            })
            .filter(|id| may_be_id(id))
            .ok_or_else(|| bad(Phrase::CameWithoutAssetId.into()))?;
        let text = answer.signed_url.ok_or_else(|| bad(Phrase::NoneInTheAnswer.into()))?;
        let url = SignedUrl::parse(&text).map_err(bad)?;
        // PHP writes an object without entries as a list.
        let fields = match answer.fields {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(Value::Array(entries)) if entries.is_empty() => Map::new(),
            Some(_) => return Err(bad(Phrase::FieldsUnreadable.into())),
        };
        let form = fields.into_iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, value)
        });
        // How long it lives, not until when: the URL's end is a moment of the service's clock, not of this computer's.
        // A URL that seems to have ended on its arrival only shows that the clocks differ.
        let by_url = url.expires_at().and_then(|end| end.duration_since(their_time.unwrap_or(asked_at)).ok());
        let lifetime = [answer.expires_in.map(Duration::from_secs), by_url].into_iter().flatten().min();
        let expires_at = lifetime.and_then(|lifetime| asked_at.checked_add(lifetime)?.checked_sub(MARGIN));
        Ok(Signed { asset_id, form: form.collect(), url, reach: told.reach, expires_at })
    }

    async fn confirm(&self, asset_id: &str) -> Result<Confirmation> {
        let Some(resource) = self.metadata(asset_id).await? else { return Ok(Confirmation::Pending) };
        // Unknown words are states to come: pending.
        Ok(match resource.upload_status.as_deref() {
            Some(word) if word.eq_ignore_ascii_case("success") => {
                Confirmation::Success { size: resource.file_size }
            }
            Some(word) if word.eq_ignore_ascii_case("failed") => Confirmation::Failed(word.into()),
            _ => Confirmation::Pending,
        })
    }

    async fn prepare(&self, task: &DownloadTask, _run: &Run) -> Result<Plan> {
        let url = self.api.url(&[&task.what, "download"])?;
        Ok(Plan {
            // Each piece of a file is a request of its own.
            fetch: self.api.fetch(url, None, "download", PACE),
            rangeable: true,
            title: None,
            id: task.what.clone(),
            expected_size: None,
            pages_welcome: false,
        })
    }

    async fn info(&self, asset_id: &str) -> Result<AssetInfo> {
        let resource = self.metadata(asset_id).await?.ok_or_else(|| {
            Error::new(
                Cause::NotFound,
                Phrase::AssetUnknown { service: Peer::service(KIND.about.id), id: asset_id.into() },
            )
        })?;
        Ok(AssetInfo {
            asset_id: asset_id.into(),
            name: resource.original_filename,
            size: resource.file_size,
            status: resource.upload_status,
            created: resource.create_time.map(written),
        })
    }

    async fn delete(&self, asset_id: &str) -> Result<()> {
        let url = self.api.url(&[asset_id])?;
        match self.api.data::<Value>(self.api.call(Method::DELETE, url, None, "delete", PACE)).await {
            // Deleted twice, perhaps because the first answer was lost: it is gone, which is what was wanted.
            Err(error) if error.cause == Cause::Duplicate => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Asks for the metadata of an asset that cannot exist: costs nothing, and tells a refused key ("401")
    /// from an accepted one ("not found").
    async fn check(&self) -> Result<()> {
        let url = self.api.url(&["re_ferry-check", "metadata"])?;
        self.api.speaks_of(self.api.call(Method::GET, url, None, "metadata", PACE)).await
    }
}
