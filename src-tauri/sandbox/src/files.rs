//! Plain downloads and uploads without a service: stored files, generated files of any size, and a sink that
//! counts and hashes.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{Extension, Path as UrlPath, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::content::{Content, Source, content_type};
use crate::download::{Habits, serve};
use crate::objects::{Sums, Target, receive};
use crate::store::hang_up;
use crate::{Call, Shared, private};

/// The folder of served files, below the sandbox's root.
pub(crate) const FOLDER: &str = "files";

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/files/{*name}", get(stored))
        .route("/generate/{size}/{*name}", get(generated))
        .route("/sink", put(sink).post(sink))
        .route("/sink/{*name}", put(sink).post(sink))
}

async fn stored(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    let opened = private::open_below(&shared.root.join(FOLDER), &name);
    let Ok((file, about)) = opened.and_then(|file| file.metadata().map(|about| (file, about))) else {
        return (StatusCode::NOT_FOUND, "Not Found").into_response();
    };
    let modified =
        about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let content = Content {
        source: Source::File(Arc::new(file)),
        size: about.len(),
        media_type: content_type(&name),
        etag: format!("\"{:x}-{:x}\"", modified.as_nanos(), about.len()),
        modified: modified.as_millis() as u64,
        file_name: None,
        crc32c: None,
        md5: None,
        mask: 0,
    };
    serve(&call, &headers, content, Habits::Standard)
}

/// `size` is a number of bytes, with an optional binary unit: `10`, `4KiB`, `64MiB`, `2GiB`, `1TiB`.
async fn generated(
    Extension(call): Extension<Call>,
    UrlPath((size, name)): UrlPath<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(size) = bytes(&size) else {
        return (StatusCode::BAD_REQUEST, "The size is a number of bytes, or ends in KiB, MiB, GiB or TiB.")
            .into_response();
    };
    serve(&call, &headers, Content::generated(&name, size), Habits::Standard)
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)]
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|digits| (digits, shift)))
        .unwrap_or((text, 0));
    let size = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (size <= 1 << 50).then_some(size)
}

async fn sink(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Response {
    let incoming = request.into_body().into_data_stream().boxed();
    let received = async move {
        receive(&call, incoming, Target::Nowhere, Sums::new(false), &CancellationToken::new()).await
    };
    let Ok((sums, Ok(()))) = shared.tasks.spawn(received).await else { return hang_up() };
    let crc32c = BASE64.encode(sums.crc32c().to_be_bytes());
    ([("x-goog-hash", format!("crc32c={crc32c}"))], Json(json!({"bytes": sums.bytes, "crc32c": crc32c})))
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("10"), Some(10));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("1TiB"), Some(1 << 40));
        for wrong in ["", "MiB", "-1", "1.5MiB", "9999999TiB", "2000TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
