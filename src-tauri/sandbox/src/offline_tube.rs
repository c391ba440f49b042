//! The media downloader (OfflineTube): a page's address becomes a job, the job becomes a file. Answers are in
//! FastAPI's shapes and, where the original speaks Spanish, in its words.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Extension, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::content::Content;
use crate::download::{Habits, serve};
use crate::faults::{FaultKind, Moment};
use crate::objects::{random_hex, read_json, write_json};
use crate::{Call, Shared, private, timestamp};

/// Below the server's root.
pub(crate) const BASE: &str = "/tube";

// A job's life, in milliseconds since it began.
const DOWNLOADING_AFTER: u64 = 150;
const PROCESSING_AFTER: u64 = 1000;
const COMPLETED_AFTER: u64 = 1300;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    id: String,
    url: String,
    quality: String,
    title: String,
    size: u64,
    /// Milliseconds since 1970. All of a job's life follows from it, so nothing needs to run in the
    /// background or survive a restart.
    created: u64,
    cancelled: bool,
}

/// The jobs, in memory and one record each on disk.
pub(crate) struct Jobs {
    folder: PathBuf,
    all: Mutex<Vec<Job>>,
}

impl Jobs {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("jobs");
        private::folder(&folder)?;
        let mut all: Vec<Job> = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                all.extend(read_json::<Job>(&path));
            }
        }
        all.sort_by_key(|job| job.created);
        Ok(Self { folder, all: Mutex::new(all) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Job>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

/// Where a job stands.
struct Standing {
    status: &'static str,
    progress: f64,
    error: Option<String>,
}

impl Job {
    fn file_name(&self) -> String {
        format!("{}__{}.mp4", self.title, self.id)
    }

    fn standing(&self, call: &Call) -> Standing {
        let age = timestamp::now_millis().saturating_sub(self.created);
        let working =
            age.saturating_sub(DOWNLOADING_AFTER) as f64 / (PROCESSING_AFTER - DOWNLOADING_AFTER) as f64;
        let (status, progress) = match age {
            _ if self.cancelled => ("cancelled", 0.0),
            0..DOWNLOADING_AFTER => ("pending", 0.0),
            DOWNLOADING_AFTER..PROCESSING_AFTER => ("downloading", (working * 1000.0).round() / 10.0),
            PROCESSING_AFTER..COMPLETED_AFTER => ("processing", 100.0),
            _ => ("completed", 100.0),
        };
        let mut standing = Standing { status, progress, error: None };
        for fault in call.claim(Moment::JobState) {
            match fault {
                FaultKind::JobStuck if age >= DOWNLOADING_AFTER => {
                    standing.status = "downloading";
                    standing.progress = standing.progress.min(42.0);
                }
                FaultKind::JobError { message } if age >= DOWNLOADING_AFTER => {
                    standing.status = "error";
                    standing.error = Some(message);
                }
                FaultKind::JobProgress { progress } => standing.progress = progress,
                _ => {}
            }
        }
        standing
    }

    fn listed(&self, call: &Call) -> Value {
        let standing = self.standing(call);
        let done = (self.size as f64 * (standing.progress / 100.0).clamp(0.0, 1.0)) as u64;
        let downloading = standing.status == "downloading";
        json!({
            "id": self.id,
            "url": self.url,
            "title": self.title,
            "status": standing.status,
            "progress": standing.progress,
            "speed": if downloading { json!("3.10MiB/s") } else { Value::Null },
            "eta": if downloading { json!("00:01") } else { Value::Null },
            "filesize": self.size,
            "downloaded_bytes": done,
            "filename": if standing.status == "completed" { json!(self.file_name()) } else { Value::Null },
            "quality": self.quality,
            "download_type": "video",
            "error_message": standing.error,
        })
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(&format!("{BASE}/api/download"), post(start))
        .route(&format!("{BASE}/api/downloads"), get(list))
        .route(&format!("{BASE}/api/download/{{id}}/file"), get(file))
        .route(&format!("{BASE}/api/downloads/{{id}}"), delete(cancel))
        .route(&format!("{BASE}/api/downloads/{{id}}/remove"), delete(remove))
}

/// An error in FastAPI's shape.
pub(crate) fn error(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

fn invalid(kind: &str, place: &[&str], msg: &str, input: &Value) -> Response {
    let detail = json!([{"type": kind, "loc": place, "msg": msg, "input": input}]);
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": detail}))).into_response()
}

async fn start(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return invalid("json_invalid", &["body", "0"], "JSON decode error", &json!({}));
    };
    let Some(url) = body.get("url") else {
        return invalid("missing", &["body", "url"], "Field required", &body);
    };
    let Some(url) = url.as_str() else {
        return invalid("string_type", &["body", "url"], "Input should be a valid string", url);
    };
    let quality = match body.get("quality") {
        None => "720p",
        Some(Value::String(quality)) => quality,
        Some(other) => {
            return invalid("string_type", &["body", "quality"], "Input should be a valid string", other);
        }
    };
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        return error(StatusCode::BAD_REQUEST, "URL no válida");
    }
    let random = random_hex();
    let id = format!(
        "{}-{}-4{}-a{}-{}",
        &random[..8],
        &random[8..12],
        &random[13..16],
        &random[17..20],
        &random[20..]
    );
    let size = (2 << 20) + u64::from(crc_fast::crc32_iscsi(url.as_bytes())) % (4 << 20);
    let job = Job {
        title: title(url),
        url: url.to_owned(),
        quality: quality.to_owned(),
        size,
        created: timestamp::now_millis(),
        cancelled: false,
        id,
    };
    if let Err(error_) = write_json(&shared.jobs.record(&job.id), &job) {
        tracing::error!(error = %error_, "the sandbox's disk");
        return error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    let answer = json!({"download_id": job.id, "status": "pending", "message": "Descarga iniciada"});
    shared.jobs.lock().push(job);
    Json(answer).into_response()
}

/// The page's title: what its address ends in, or its `v` parameter.
fn title(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let video = query.split('&').find_map(|part| part.strip_prefix("v=")).filter(|video| !video.is_empty());
    let segment = path.split_once('/').and_then(|(_, path)| path.trim_end_matches('/').rsplit('/').next());
    let name = video.or(segment).filter(|name| !name.is_empty()).unwrap_or("video");
    let name = percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned();
    name.strip_suffix(".mp4").map(str::to_owned).unwrap_or(name)
}

async fn list(State(shared): State<Arc<Shared>>, Extension(call): Extension<Call>) -> Response {
    if !call.claim(Moment::JobList).is_empty() {
        return Json(json!([])).into_response();
    }
    let jobs: Vec<Value> = shared.jobs.lock().iter().rev().map(|job| job.listed(&call)).collect();
    Json(jobs).into_response()
}

async fn file(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    let job = shared.jobs.lock().iter().find(|job| job.id == id).cloned();
    let Some(job) = job.filter(|job| job.standing(&call).status == "completed") else {
        return error(StatusCode::NOT_FOUND, "Descarga no disponible o no completada");
    };
    let name = job.file_name();
    let mut content = Content::generated(&name, job.size);
    content.modified = job.created / 1000 * 1000 + COMPLETED_AFTER;
    content.file_name = Some(name);
    "video/mp4".clone_into(&mut content.media_type);
    serve(&call, &headers, content, Habits::Starlette)
}

async fn cancel(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(id): UrlPath<String>,
) -> Response {
    let mut jobs = shared.jobs.lock();
    let Some(job) = jobs.iter_mut().find(|job| job.id == id) else {
        return error(StatusCode::NOT_FOUND, "Descarga no encontrada");
    };
    if job.standing(&call).status != "completed" {
        job.cancelled = true;
        if let Err(error_) = write_json(&shared.jobs.record(&id), job) {
            tracing::error!(error = %error_, "the sandbox's disk");
            return error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
        }
    }
    Json(json!({"message": "Descarga cancelada"})).into_response()
}

async fn remove(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>) -> Response {
    let mut jobs = shared.jobs.lock();
    let Some(index) = jobs.iter().position(|job| job.id == id) else {
        return error(StatusCode::NOT_FOUND, "Descarga no encontrada");
    };
    jobs.remove(index);
    // A record that is gone already is as good as removed.
    let _ = fs::remove_file(shared.jobs.record(&id));
    Json(json!({"message": "Descarga eliminada"})).into_response()
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn a_title_comes_from_the_address() {
        assert_eq!(title("https://video.example/watch?v=abc123&t=9"), "abc123");
        assert_eq!(title("https://video.example/clips/My%20trip/"), "My trip");
        assert_eq!(title("https://video.example/a/clip.mp4#x"), "clip");
        assert_eq!(title("https://video.example"), "video");
    }
}
