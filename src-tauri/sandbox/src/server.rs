//! Accepts connections and takes each request to its service; what holds for all services is done here: the
//! log, faults of any request, answers that leave before the request has been read.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{ALLOW, CONTENT_TYPE, COOKIE, DATE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::faults::{BalanceSpelling, FaultKind, Moment, RateLimitSpelling};
use crate::requests::Entry;
use crate::signature::{Provider, Refusal};
use crate::wire::{self, Closed, Hangup, Metered, Misbehaviour, Wire};
use crate::{Call, Shared, files, mavi, offline_tube, store, timestamp, visual_search};

/// hyper reads up to this much at once; its default would cost several times the system calls.
const LARGEST_READ: usize = 1 << 20;

/// Where the mirrors are.
pub(crate) const MIRROR: &str = "/mirror/";
/// What the wall wants to be sent back.
const COOKIE_WANTED: &str = "ferry=1";
/// The most of a body that is no file: what the services are asked is a few fields. Bodies that are files are never
/// gathered, whatever their size.
const LARGEST_QUESTION: usize = 256 << 10;

/// All routes. Those below `/_sandbox` exist only in a build that has them, and there only where they are asked for.
pub(crate) fn router(shared: &Arc<Shared>, is_controlled: bool) -> Router {
    let mut router = Router::new()
        .merge(mavi::routes())
        .merge(visual_search::routes())
        .merge(offline_tube::routes())
        .merge(files::routes());
    if is_controlled {
        router = with_control(router);
    }
    router
        .fallback(store::handle)
        .layer(DefaultBodyLimit::max(LARGEST_QUESTION))
        .with_state(Arc::clone(shared))
}

#[cfg(feature = "control")]
fn with_control(router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    router.merge(crate::control::routes())
}

#[cfg(not(feature = "control"))]
fn with_control(router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    router
}

/// Serves until told to stop.
pub(crate) async fn listen(
    listener: TcpListener,
    router: Router,
    shared: Arc<Shared>,
    stopping: CancellationToken,
) {
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                number += 1;
                let connection =
                    connection(number, stream, router.clone(), Arc::clone(&shared), stopping.child_token());
                shared.tasks.spawn(connection);
            }
            // Out of descriptors, or gone before it was accepted: others may still come.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(
    number: u64,
    stream: TcpStream,
    router: Router,
    shared: Arc<Shared>,
    gone: CancellationToken,
) {
    let _gone_at_the_end = gone.clone().drop_guard();
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let wire = TokioIo::new(Wire(Arc::clone(&stream)));
    let service = {
        let gone = gone.clone();
        service_fn(move |request| {
            let (stream, router, shared, gone) =
                (Arc::clone(&stream), router.clone(), Arc::clone(&shared), gone.clone());
            async move { answer(number, request, &stream, router, &shared, gone).await }
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(LARGEST_READ);
    let serving = builder.serve_connection(wire, service);
    tokio::select! {
        () = gone.cancelled() => {}
        // A connection that breaks has been answered as far as it could be.
        _ = serving => {}
    }
}

async fn answer(
    connection: u64,
    request: hyper::Request<hyper::body::Incoming>,
    stream: &TcpStream,
    router: Router,
    shared: &Arc<Shared>,
    gone: CancellationToken,
) -> Result<Response, Closed> {
    let version = request.version();
    let Answered { response, is_early, entry, mut finishing } =
        answered(connection, request.map(Body::new), router, shared, gone).await;
    let misbehaviour = response.extensions().get::<Misbehaviour>().cloned();
    if response.extensions().get::<Hangup>().is_some() {
        return Err(Closed);
    }
    entry.answered(response.status().as_u16());
    let by_hand = version < Version::HTTP_2 && (misbehaviour.is_some() || is_early);
    if by_hand {
        let (head, body) = response.into_parts();
        let how = misbehaviour.unwrap_or_default();
        let _ = wire::send(stream, &head, body, &how, is_early, &entry).await;
        return Err(Closed);
    }
    // From here on the entry ends with the answer's body.
    finishing.0 = None;
    let response = match misbehaviour.and_then(|how| how.cut_after) {
        // HTTP/2 frames cannot be written by hand; a stream that breaks is what a cut looks like there.
        Some(after) => response.map(|body| broken_after(body, after)),
        None => response,
    };
    Ok(response.map(|body| Metered::response(body, &entry)))
}

/// An answer that has not been sent, and what belongs to it.
pub(crate) struct Answered {
    pub(crate) response: Response,
    /// The request's body has not been read to its end.
    pub(crate) is_early: bool,
    pub(crate) entry: Arc<Entry>,
    pub(crate) finishing: FinishOnDrop,
}

/// Takes a request to its service, if it is let in.
pub(crate) async fn answered(
    connection: u64,
    request: Request,
    router: Router,
    shared: &Arc<Shared>,
    gone: CancellationToken,
) -> Answered {
    let (mut parts, body) = request.into_parts();
    let admitted = shared.gate.admit(&mut parts);
    let entry = shared.requests.begin(connection, &parts);
    // If this future is dropped because the connection ended, the entry must still end.
    let finishing = FinishOnDrop(Some(Arc::clone(&entry)));
    let (body, body_over) = Metered::request(body, &entry);
    let response = match admitted {
        Err(refusal) => *refusal,
        Ok(admission) => {
            let call = Call {
                entry: Arc::clone(&entry),
                faults: shared.faults.clone(),
                gone,
                admission,
                mirror: None,
            };
            parts.extensions.insert(call.clone());
            let mut response = respond(Request::from_parts(parts, body), router, &call).await;
            if !response.headers().contains_key(DATE)
                && let Ok(now) = u64::try_from(call.now())
            {
                header(&mut response, DATE, &httpdate::fmt_http_date(timestamp::system_time(now * 1000)));
            }
            response
        }
    };
    let is_early = !body_over.load(Ordering::Acquire);
    Answered { response, is_early, entry, finishing }
}

/// Ends the entry of a request that is dropped.
pub(crate) struct FinishOnDrop(pub(crate) Option<Arc<Entry>>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        if let Some(entry) = &self.0 {
            entry.finish();
        }
    }
}

fn broken_after(body: Body, after: u64) -> Body {
    let pieces = stream::unfold((body.into_data_stream(), after), |(mut body, left)| async move {
        if left == 0 {
            // A reset overtakes what is queued before it; what was promised to arrive first needs a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Some((Err(axum::Error::new(Closed)), (body, left)));
        }
        let piece = body.next().await?.map(|mut piece| {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            piece
        });
        let left = piece.as_ref().map_or(left, |piece| left - piece.len() as u64);
        Some((piece, (body, left)))
    });
    Body::from_stream(pieces)
}

async fn respond(request: Request, mut router: Router, call: &Call) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/_sandbox/") {
        return router.call(request).await.unwrap_or_else(|never: Infallible| match never {});
    }
    for fault in call.claim(Moment::Request) {
        match fault {
            FaultKind::NoAnswer => return store::hang_up(),
            FaultKind::Silence => {
                let mut body = request.into_body().into_data_stream();
                while let Some(Ok(_)) = body.next().await {}
                std::future::pending::<()>().await;
                return store::hang_up();
            }
            FaultKind::Redirect { status, location } => {
                let mut response = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND).into_response();
                header(&mut response, LOCATION, &location);
                return response;
            }
            FaultKind::FirstByteAfter { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            FaultKind::BalanceUsedUp { spelling } => return balance_used_up(spelling),
            FaultKind::RateLimit { spelling, retry_after } => {
                let mut response = rate_limited(&path, spelling);
                if let Some(wait) = retry_after {
                    header(&mut response, RETRY_AFTER, &wait);
                }
                return response;
            }
            FaultKind::Status { status, retry_after, body, content_type, after } => {
                let mut read = 0;
                let mut incoming = request.into_body().into_data_stream();
                while read < after
                    && let Some(Ok(piece)) = incoming.next().await
                {
                    read += piece.len() as u64;
                }
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = match body {
                    Some(body) => (status, body).into_response(),
                    None => error_of(&path, status),
                };
                if let Some(content_type) = content_type {
                    header(&mut response, CONTENT_TYPE, &content_type);
                }
                if let Some(wait) = retry_after {
                    header(&mut response, RETRY_AFTER, &wait);
                }
                return response;
            }
            _ => {}
        }
    }
    if is_service(&path) && is_over_limit(call, request.method(), &path) {
        return rate_limited(&path, RateLimitSpelling::Http);
    }
    let cookies = request.headers().get_all(COOKIE);
    let has_cookie = cookies.iter().any(|cookies| {
        cookies.to_str().is_ok_and(|cookies| cookies.split(';').any(|cookie| cookie.trim() == COOKIE_WANTED))
    });
    if !has_cookie && !call.claim(Moment::Cookie).is_empty() {
        let mut response = StatusCode::FOUND.into_response();
        header(&mut response, LOCATION, &format!("{}{}", call.admission.pass, request.uri()));
        header(&mut response, SET_COOKIE, &format!("{COOKIE_WANTED}; Path=/; HttpOnly"));
        return response;
    }
    let mut request = request;
    if let Some((number, rest)) = path.strip_prefix(MIRROR).and_then(|path| path.split_once('/')) {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let (Ok(number), Ok(uri)) = (number.parse(), format!("/{rest}{query}").parse()) else {
            return (StatusCode::NOT_FOUND, "There is no such mirror.").into_response();
        };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Call { mirror: Some(number), ..call.clone() });
    } else if *request.method() == Method::GET
        && let [FaultKind::Mirrors { count }] = call.claim(Moment::Mirror)[..]
    {
        let mut response = StatusCode::FOUND.into_response();
        let number = call.faults.next_mirror(count);
        let pass = &call.admission.pass;
        header(&mut response, LOCATION, &format!("{pass}{MIRROR}{number}{}", request.uri()));
        return response;
    }
    if *request.method() == Method::HEAD && is_service(&path) {
        // FastAPI answers HEAD on a GET route so; the others do not document it.
        let mut response = offline_tube::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        header(&mut response, ALLOW, "GET");
        return response;
    }
    router.call(request).await.unwrap_or_else(|never: Infallible| match never {})
}

fn is_service(path: &str) -> bool {
    [mavi::BASE, visual_search::BASE, offline_tube::BASE].iter().any(|base| path.starts_with(base))
}

fn header(response: &mut Response, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        response.headers_mut().insert(name, value);
    }
}

/// An error as the service behind this path spells it.
pub(crate) fn error_of(path: &str, status: StatusCode) -> Response {
    let text = status.canonical_reason().unwrap_or("Error");
    if path.starts_with(mavi::BASE) || path.starts_with(visual_search::BASE) {
        mavi::error(status, text)
    } else if path.starts_with(offline_tube::BASE) {
        offline_tube::error(status, text)
    } else if ["/files/", "/generate/", "/sink"].iter().any(|prefix| path.starts_with(prefix)) {
        (status, text).into_response()
    } else {
        let code = match status.as_u16() {
            401 | 403 => "AccessDenied",
            404 => "NoSuchKey",
            408 => "RequestTimeout",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            400..=499 => "InvalidArgument",
            _ => "InternalError",
        };
        store::refused(&Refusal::new(Provider::Google, status.as_u16(), code, text))
    }
}

/// Whether the account has asked this endpoint too often.
fn is_over_limit(call: &Call, method: &Method, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    // Deleting has the asset's id for its last part.
    let endpoint = if *method == Method::DELETE { method.to_string() } else { format!("{method} {name}") };
    call.claim(Moment::Account).into_iter().any(|fault| match fault {
        FaultKind::AccountLimit { milliseconds } => {
            call.faults.was_asked_within(&endpoint, Duration::from_millis(milliseconds))
        }
        _ => false,
    })
}

fn balance_used_up(spelling: BalanceSpelling) -> Response {
    let msg = "Insufficient balance. Please recharge and try again.";
    match spelling {
        BalanceSpelling::Http => mavi::error(StatusCode::PAYMENT_REQUIRED, "Payment Required"),
        BalanceSpelling::BadRequest => mavi::error(StatusCode::BAD_REQUEST, msg),
        BalanceSpelling::TextCode => {
            Json(json!({"code": "0402", "msg": msg, "data": null, "success": false, "failed": true}))
                .into_response()
        }
    }
}

fn rate_limited(path: &str, spelling: RateLimitSpelling) -> Response {
    let envelope = |code: serde_json::Value| {
        let msg = "Request has exceeded the limit.";
        Json(json!({"code": code, "msg": msg, "data": null, "success": false, "failed": true}))
            .into_response()
    };
    match spelling {
        RateLimitSpelling::Http => error_of(path, StatusCode::TOO_MANY_REQUESTS),
        RateLimitSpelling::Code => envelope(json!(429)),
        RateLimitSpelling::TextCode => envelope(json!("0429")),
        RateLimitSpelling::BadRequest => {
            mavi::error(StatusCode::BAD_REQUEST, "Request has exceeded the limit.")
        }
    }
}
