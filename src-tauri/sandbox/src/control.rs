//! Switching faults and reading the request log over HTTP, for tests whose sandbox runs in another process:
//! everything below `/_sandbox`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::faults::Fault;
use crate::{Shared, SignedUrls};

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sandbox/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_sandbox/requests", get(requests).delete(clear_requests))
        .route("/_sandbox/settings", get(settings).post(change_settings))
        .route("/_sandbox/trust", post(trust))
}

/// Reads a JSON body. The content type is insisted on: no page in a browser may send it across origins
/// without asking first, so no page can switch faults on a sandbox that happens to run.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, (StatusCode, String)> {
    let is_json =
        headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send application/json.".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.faults.list()).into_response()
}

/// One fault, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<Fault>),
    One(Box<Fault>),
}

async fn add_faults(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let added = match read(&headers, &body) {
        Ok(OneOrMore::More(faults)) => faults,
        Ok(OneOrMore::One(fault)) => vec![*fault],
        Err(refusal) => return refusal.into_response(),
    };
    for fault in added {
        shared.faults.add(fault);
    }
    Json(shared.faults.list()).into_response()
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Response {
    shared.faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.requests.list()).into_response()
}

async fn clear_requests(State(shared): State<Arc<Shared>>) -> Response {
    shared.requests.clear();
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Serialize, Deserialize)]
struct Settings {
    signed_urls: SignedUrls,
}

async fn settings(State(shared): State<Arc<Shared>>) -> Response {
    Json(Settings { signed_urls: shared.signed_urls() }).into_response()
}

async fn change_settings(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    match read::<Settings>(&headers, &body) {
        Ok(settings) => {
            shared.set_signed_urls(settings.signed_urls);
            Json(settings).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// A key to trust: a service account's, or an access id with its secret.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trusted {
    Google { client_email: String, public_key_der: String },
    Hmac { access_id: String, secret: String },
}

async fn trust(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let result = match read(&headers, &body) {
        Ok(Trusted::Google { client_email, public_key_der }) => match BASE64.decode(public_key_der) {
            Ok(der) => shared.keys.trust_google(&client_email, &der),
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        Ok(Trusted::Hmac { access_id, secret }) => {
            shared.keys.trust_hmac(&access_id, &secret);
            Ok(())
        }
        Err(refusal) => return refusal.into_response(),
    };
    match result {
        Ok(()) => Json(json!({"trusted": true})).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
