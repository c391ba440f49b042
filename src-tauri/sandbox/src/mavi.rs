//! MAVI v2: signed upload URLs, and download, metadata and removal of assets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Extension, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use percent_encoding::utf8_percent_encode;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::download::{Habits, serve};
use crate::faults::{FaultKind, Moment};
use crate::objects::{Object, read_json, write_json};
use crate::signature::{ToSign, UNRESERVED};
use crate::{Call, Shared, SignedUrls, private, timestamp};

/// Below the server's root.
pub(crate) const BASE: &str = "/mavi/serve/api/v2";
/// The bucket that signed URLs point into.
const BUCKET: &str = "ferry-sandbox";
/// How long a signed URL lives: 26 hours, as the service's own sample has it.
const LIFETIME: i64 = 93_600;

/// Something that was, or is to be, uploaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asset {
    pub(crate) id: String,
    pub(crate) file_name: String,
    /// Milliseconds since 1970.
    pub(crate) created: u64,
    object: String,
}

impl Asset {
    /// The object behind it, once everything has come.
    pub(crate) fn object(&self, shared: &Shared) -> Option<Object> {
        shared.objects.get(BUCKET, &self.object)
    }
}

/// All assets, in memory and one record each on disk.
pub(crate) struct Assets {
    folder: PathBuf,
    all: Mutex<BTreeMap<String, Asset>>,
}

impl Assets {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("assets");
        private::folder(&folder)?;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(asset) = read_json::<Asset>(&path)
            {
                all.insert(asset.id.clone(), asset);
            }
        }
        Ok(Self { folder, all: Mutex::new(all) })
    }

    pub(crate) fn get(&self, asset_id: &str) -> Option<Asset> {
        self.lock().get(asset_id).cloned()
    }

    pub(crate) fn list(&self) -> Vec<Asset> {
        self.lock().values().cloned().collect()
    }

    fn create(&self, file_name: &str) -> io::Result<Asset> {
        let id = format!("re_{:018}", rand::rng().random_range(1..1_000_000_000_000_000_000_u64));
        let asset = Asset {
            object: format!("assets/{id}/{file_name}"),
            file_name: file_name.to_owned(),
            created: timestamp::now_millis(),
            id,
        };
        write_json(&self.record(&asset.id), &asset)?;
        self.lock().insert(asset.id.clone(), asset.clone());
        Ok(asset)
    }

    fn remove(&self, asset_id: &str) -> io::Result<()> {
        self.lock().remove(asset_id);
        fs::remove_file(self.record(asset_id))
    }

    fn record(&self, asset_id: &str) -> PathBuf {
        self.folder.join(format!("{asset_id}.json"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Asset>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(&format!("{BASE}/upload/signed-url"), post(sign))
        .route(&format!("{BASE}/{{asset_id}}/download"), get(download))
        .route(&format!("{BASE}/{{asset_id}}/metadata"), get(metadata))
        .route(&format!("{BASE}/{{asset_id}}"), axum::routing::delete(delete))
}

/// Whether the raw key in `Authorization` is accepted of whoever has been let in. `Bearer …` never is: neither service
/// knows the scheme.
pub(crate) fn authorized(shared: &Shared, call: &Call, headers: &HeaderMap) -> bool {
    let key = headers.get("authorization").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let known = match &shared.api_key {
        _ if call.admission.by_key => true,
        Some(expected) => key == expected,
        None => !key.is_empty() && !key.contains(' '),
    };
    known && call.claim(Moment::Auth).is_empty()
}

/// An error as v2 spells it: the HTTP status equals `code`, and `success` and `failed` are left out.
pub(crate) fn error(status: StatusCode, msg: &str) -> Response {
    (status, Json(json!({"code": status.as_u16(), "msg": msg, "data": null}))).into_response()
}

fn success(data: &Value) -> Response {
    Json(json!({"code": 200, "msg": "success", "data": data, "success": true, "failed": false}))
        .into_response()
}

fn unauthorized() -> Response {
    error(StatusCode::UNAUTHORIZED, "Unauthorized: invalid API key")
}

fn not_found() -> Response {
    error(StatusCode::BAD_REQUEST, "Asset not found")
}

fn failed(error_: &io::Error) -> Response {
    tracing::error!(error = %error_, "the sandbox's disk");
    error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}

async fn sign(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    #[derive(Deserialize)]
    struct Wanted {
        original_filename: String,
    }
    let Ok(Wanted { original_filename }) = serde_json::from_slice(&body) else {
        return error(StatusCode::BAD_REQUEST, "original_filename is required");
    };
    if original_filename.is_empty() || original_filename.len() > 1024 {
        return error(StatusCode::BAD_REQUEST, "original_filename must have between 1 and 1024 bytes");
    }
    let asset = match shared.assets.create(&original_filename) {
        Ok(asset) => asset,
        Err(error) => return failed(&error),
    };
    let lifetime = call
        .claim(Moment::Signing)
        .into_iter()
        .find_map(|fault| match fault {
            FaultKind::UrlLifetime { seconds } => i64::try_from(seconds).ok(),
            _ => None,
        })
        .unwrap_or(LIFETIME);

    let encoded: Vec<String> =
        asset.object.splitn(3, '/').map(|part| utf8_percent_encode(part, UNRESERVED).to_string()).collect();
    let path = format!("/store/{BUCKET}/{}", encoded.join("/"));
    let host = shared.host();
    let to_sign =
        |method, headers| ToSign { method, path: &path, host: &host, headers, now: call.now(), lifetime };
    let keys = &shared.keys;
    let mut fields = None;
    let query = match shared.signed_urls() {
        SignedUrls::GoogleResumable => to_sign("POST", &[("x-goog-resumable", "start")]).google(keys),
        SignedUrls::GooglePut => to_sign("PUT", &[]).google(keys),
        SignedUrls::AmazonPut => to_sign("PUT", &[]).amazon(keys),
        SignedUrls::AzurePut => to_sign("PUT", &[]).azure(keys),
        SignedUrls::Form => to_sign("POST", &[]).token(keys),
        SignedUrls::PolicyForm => {
            fields = Some(to_sign("POST", &[]).policy(keys, BUCKET, &asset.object));
            String::new()
        }
        SignedUrls::Session => {
            let content_type = crate::content::content_type(&asset.file_name);
            match shared.sessions.start(BUCKET, &asset.object, content_type, None) {
                Ok(id) => format!("upload_id={id}"),
                Err(error) => return failed(&error),
            }
        }
    };
    let mut data = json!({"asset_id": asset.id, "expires_in": lifetime});
    match fields {
        Some(fields) => {
            data["signed_url"] = json!(format!("{}/store/{BUCKET}", shared.origin()));
            data["fields"] = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::from(value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        None => data["signed_url"] = json!(format!("{}{path}?{query}", shared.origin())),
    }
    success(&data)
}

async fn download(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(asset_id): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    let Some(asset) = shared.assets.get(&asset_id) else { return not_found() };
    let Some(object) = asset.object(&shared) else {
        return error(StatusCode::BAD_REQUEST, "Asset has not been uploaded yet");
    };
    match shared.objects.content(&object) {
        Ok(mut content) => {
            content.media_type = crate::content::content_type(&asset.file_name);
            content.file_name = Some(asset.file_name);
            serve(&call, &headers, content, Habits::Standard)
        }
        Err(error) => failed(&error),
    }
}

async fn metadata(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(asset_id): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    let Some(asset) = shared.assets.get(&asset_id) else { return not_found() };
    let object = asset.object(&shared);
    let mut status = match &object {
        Some(_) => "SUCCESS",
        None if shared.objects.is_receiving(BUCKET, &asset.object) => "UPLOADING",
        None => "WAITING",
    }
    .to_owned();
    let mut size = object.as_ref().map_or(0, |object| object.size);
    for fault in call.claim(Moment::Metadata) {
        match fault {
            FaultKind::MetadataSize { by } => size = size.saturating_add_signed(by),
            FaultKind::MetadataStatus { status: other } => status = other,
            _ => {}
        }
    }
    let extension = asset.file_name.rsplit_once('.').map_or("", |(_, extension)| extension);
    success(&json!({"resource": [{
        "asset_id": asset.id,
        "original_filename": asset.file_name,
        "extension": extension,
        // The service sends numbers as text here.
        "file_size": size.to_string(),
        "upload_status": status,
        "create_time": asset.created.to_string(),
        "modify_time": object.map_or(asset.created, |object| object.modified).to_string(),
    }]}))
}

async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(asset_id): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    let Some(asset) = shared.assets.get(&asset_id) else { return not_found() };
    let deleted = shared.objects.delete(BUCKET, &asset.object).and_then(|_| shared.assets.remove(&asset_id));
    match deleted {
        Ok(()) => success(&Value::Null),
        Err(error) => failed(&error),
    }
}
