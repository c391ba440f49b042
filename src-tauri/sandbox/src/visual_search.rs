//! Visual Search v1: videos by number, sent without a length, and errors under HTTP 200.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::content::Content;
use crate::download::{Habits, serve};
use crate::mavi::authorized;
use crate::{Call, Shared};

/// Below the server's root.
pub(crate) const BASE: &str = "/search/serve/api/v1";

/// Videos that are always there: number, name, seconds, bytes.
const SAMPLES: [(&str, &str, u32, u64); 3] = [
    ("VI100000000000000001", "harbour at dawn.mp4", 12, 3 << 20),
    ("VI100000000000000002", "travesía en barco.mp4", 47, 11 << 20),
    ("VI100000000000000003", "渡轮.mp4", 5, 700 << 10),
];
/// 1 January 2026, when the samples were "made".
const SAMPLES_CREATED: u64 = 1_767_225_600_000;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(&format!("{BASE}/download"), post(download))
        .route(&format!("{BASE}/list_videos"), post(list))
}

/// An error as v1 spells it.
pub(crate) fn error(code: &str, msg: &str) -> Response {
    Json(json!({"code": code, "msg": msg, "data": null, "success": false, "failed": true})).into_response()
}

/// The refusal of a key.
pub(crate) fn unauthorized() -> Response {
    error("0401", "The API key is invalid!")
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    video_no: Option<String>,
    unique_id: Option<String>,
}

struct Video {
    number: String,
    name: String,
    seconds: u32,
    size: u64,
    status: &'static str,
    created: u64,
}

async fn download(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(&body) else {
        return error("0001", "Request parameter error!");
    };
    let Some(number) = wanted.video_no.filter(|number| !number.is_empty()) else {
        return error("0001", "The video number cannot be empty!");
    };
    let unknown = || error("0001", "download video error");
    if wanted.unique_id.as_deref().unwrap_or("default") != "default" {
        return unknown();
    }
    if let Some((_, name, _, size)) = SAMPLES.iter().find(|(sample, ..)| *sample == number) {
        let mut content = Content::generated(name, *size);
        "application/octet-stream".clone_into(&mut content.media_type);
        return serve(&call, &headers, content, Habits::Stream);
    }
    let asset = number.strip_prefix("VI").and_then(|digits| shared.assets.get(&format!("re_{digits}")));
    let content =
        asset.and_then(|asset| asset.object(&shared)).and_then(|object| shared.objects.content(&object).ok());
    let Some(mut content) = content else { return unknown() };
    "application/octet-stream".clone_into(&mut content.media_type);
    serve(&call, &headers, content, Habits::Stream)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Query {
    page: Option<u64>,
    size: Option<u64>,
    unique_id: Option<String>,
    video_name: Option<String>,
    video_no: Option<String>,
    video_nos: Option<Vec<String>>,
    status: Option<String>,
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !authorized(&shared, &call, &headers) {
        return unauthorized();
    }
    let Ok(query) = serde_json::from_slice::<Query>(&body) else {
        return error("0001", "Request parameter error!");
    };
    let (page, size) = (query.page.unwrap_or(1), query.size.unwrap_or(20));
    if page == 0 || !(1..=200).contains(&size) {
        return error("0001", "page starts at 1 and size lies between 1 and 200");
    }
    let mut videos = Vec::new();
    if query.unique_id.as_deref().unwrap_or("default") == "default" {
        videos.extend(SAMPLES.map(|(number, name, seconds, size)| Video {
            number: number.to_owned(),
            name: name.to_owned(),
            seconds,
            size,
            status: "PARSE",
            created: SAMPLES_CREATED,
        }));
        videos.extend(shared.assets.list().into_iter().filter_map(|asset| {
            let object = asset.object(&shared)?;
            Some(Video {
                number: format!("VI{}", asset.id.strip_prefix("re_")?),
                name: asset.file_name,
                seconds: 0,
                size: object.size,
                status: "PARSE",
                created: asset.created,
            })
        }));
    }
    videos.retain(|video| {
        query.video_name.as_ref().is_none_or(|name| video.name.contains(name.as_str()))
            && query.video_no.as_ref().is_none_or(|number| video.number == *number)
            && query.video_nos.as_ref().is_none_or(|numbers| numbers.contains(&video.number))
            && query.status.as_ref().is_none_or(|status| video.status == status)
    });
    // The newest first, as in a list that people look at.
    videos.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.number.cmp(&b.number)));
    let total = videos.len();
    let first = usize::try_from((page - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let listed: Vec<Value> = videos.iter().skip(first).take(size as usize).map(Video::listed).collect();
    let data =
        json!({"current_page": page, "page_size": size, "total_count": total.to_string(), "videos": listed});
    Json(json!({"code": "0000", "msg": "success", "data": data, "success": true, "failed": false}))
        .into_response()
}

impl Video {
    fn listed(&self) -> Value {
        json!({
            "video_no": self.number,
            "video_name": self.name,
            "duration": self.seconds.to_string(),
            "size": self.size.to_string(),
            "status": self.status,
            "create_time": self.created.to_string(),
        })
    }
}
