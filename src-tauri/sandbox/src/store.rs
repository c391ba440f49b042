//! The strict store behind signed URLs: `/store/{bucket}/{object}`, and `/{bucket}/{object}` for URLs that
//! other programs signed for this host. Which cloud's rules hold is told by the signature.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::BodyDataStream;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Multipart, Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, RANGE, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::content::goog_hash;
use crate::download::{Habits, serve, set, spoil_hashes};
use crate::faults::{FaultKind, Moment};
use crate::objects::{Ended, Incoming, MD5_UP_TO, Object, Objects, Sums, Target, receive};
use crate::ranges::{self, Sent};
use crate::session::Outcome;
use crate::signature::{Provider, Refusal, Signed, request_id, verify_policy};
use crate::wire::Hangup;
use crate::{Call, Shared};

/// No field of a form but the file is larger.
const LARGEST_FIELD: usize = 64 << 10;
/// A form has no more fields than this before its file.
const MOST_FIELDS: usize = 100;

/// Every request to the store.
pub(crate) async fn handle(
    State(shared): State<Arc<Shared>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer(&shared, &call, request).await;
    }
    // When a connection breaks, hyper drops what it was waiting for. The task lives on and keeps what came.
    let task = {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, &call, request).await }
    };
    shared.tasks.spawn(task).await.unwrap_or_else(|_| hang_up())
}

async fn answer(shared: &Shared, call: &Call, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let inside = path.strip_prefix("/store").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let decoded = percent_decode_str(inside.trim_start_matches('/')).decode_utf8_lossy().into_owned();
    let (bucket, name) = decoded.split_once('/').unwrap_or((&decoded, ""));

    let signed = Signed {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        now: call.now(),
        expired: false,
    };
    if let Some(id) = signed.parameter("upload_id") {
        return session_request(shared, call, &parts, &id, body).await;
    }
    let faults = call.claim(Moment::Signature);
    if faults.contains(&FaultKind::NotYetValidUrls) {
        return refused(&signed.is_early());
    }
    let signed = Signed { expired: faults.contains(&FaultKind::ExpiredUrls), ..signed };
    let result = if parts.method == Method::POST && is_form(&parts.headers) {
        form(shared, call, &parts, &signed, bucket, name, body).await
    } else {
        object_request(shared, call, &parts, &signed, bucket, name, body).await
    };
    result.unwrap_or_else(|refusal| refused(&refusal))
}

async fn object_request(
    shared: &Shared,
    call: &Call,
    parts: &Parts,
    signed: &Signed<'_>,
    bucket: &str,
    name: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let provider = signed.verify(&shared.keys)?;
    if provider == Provider::Token {
        if parts.method == Method::PUT && !call.claim(Moment::TokenUse).is_empty() {
            return put(shared, call, parts, provider, bucket, name, body).await;
        }
        // Only the form is signed for.
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        set(response.headers_mut(), ALLOW, "POST");
        return Ok(response);
    }
    if name.is_empty() {
        return Err(Refusal::new(provider, 404, "NoSuchBucket", "The specified bucket does not exist."));
    }
    match parts.method {
        Method::GET | Method::HEAD => download(shared, call, parts, signed, provider, bucket, name),
        Method::PUT => put(shared, call, parts, provider, bucket, name, body).await,
        Method::POST if provider == Provider::Google => start_session(shared, call, parts, bucket, name),
        Method::DELETE => {
            if shared.objects.delete(bucket, name).map_err(|error| internal(provider, &error))? {
                Ok(StatusCode::NO_CONTENT.into_response())
            } else {
                Err(no_such_key(provider))
            }
        }

        _ => Err(Refusal::new(
            provider,
            405,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        )),
    }
}

fn download(
    shared: &Shared,
    call: &Call,
    parts: &Parts,
    signed: &Signed<'_>,
    provider: Provider,
    bucket: &str,
    name: &str,
) -> Result<Response, Refusal> {
    let object = shared.objects.get(bucket, name).ok_or_else(|| no_such_key(provider))?;
    let mut content = shared.objects.content(&object).map_err(|error| internal(provider, &error))?;
    if provider != Provider::Google {
        (content.crc32c, content.md5) = (None, None);
    }
    let mut response = serve(call, &parts.headers, content, Habits::Standard);
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        let range = parts.headers.get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let refusal = Refusal::new(provider, 416, "InvalidRange", "The requested range cannot be satisfied.")
            .detail("Details", range);
        let headers = std::mem::take(response.headers_mut());
        response = refused(&refusal);
        response.headers_mut().extend(headers);
    }
    if let Some(disposition) = signed.parameter("response-content-disposition") {
        set(response.headers_mut(), axum::http::header::CONTENT_DISPOSITION, &disposition);
    }
    if provider == Provider::Amazon {
        set(response.headers_mut(), HeaderName::from_static("x-amz-request-id"), &request_id());
    }
    Ok(response)
}

async fn put(
    shared: &Shared,
    call: &Call,
    parts: &Parts,
    provider: Provider,
    bucket: &str,
    name: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let length = content_length(provider, &parts.headers)?;
    if provider == Provider::Azure {
        match text(&parts.headers, "x-ms-blob-type") {
            Some("BlockBlob") => {}
            Some(_) => {
                let message = "The value for one of the HTTP headers is not in the correct format.";
                return Err(Refusal::new(provider, 400, "InvalidHeaderValue", message)
                    .detail("HeaderName", "x-ms-blob-type"));
            }
            None => {
                let message = "An HTTP header that's mandatory for this request is not specified.";
                return Err(Refusal::new(provider, 400, "MissingRequiredHeader", message)
                    .detail("HeaderName", "x-ms-blob-type"));
            }
        }
    }
    check_length_range(&parts.headers, length)?;
    if text(&parts.headers, "x-goog-if-generation-match") == Some("0")
        && shared.objects.get(bucket, name).is_some()
    {
        return Err(Refusal::new(
            provider,
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold.",
        ));
    }
    let with_md5 =
        provider != Provider::Google || length <= MD5_UP_TO || parts.headers.contains_key("content-md5");
    let content_type = text(&parts.headers, "content-type").unwrap_or("application/octet-stream").to_owned();
    let incoming = body.into_data_stream().boxed();
    let stored = store(shared, call, provider, bucket, name, content_type, incoming, with_md5, |sums| {
        if sums.bytes != length {
            return Err(Refusal::new(
                provider,
                400,
                "IncompleteBody",
                "You did not provide the number of bytes that you announced.",
            ));
        }
        let told_md5 = text(&parts.headers, "content-md5");
        let told_crc = text(&parts.headers, "x-goog-hash")
            .and_then(|hash| hash.split(',').find_map(|part| part.trim().strip_prefix("crc32c=")));
        let wrong_md5 = told_md5.is_some_and(|told| Some(told) != sums.md5_base64().as_deref());
        let wrong_crc = told_crc.is_some_and(|told| told != BASE64.encode(sums.crc32c().to_be_bytes()));
        if wrong_md5 || wrong_crc {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(Refusal::new(provider, 400, "BadDigest", message));
        }
        Ok(())
    })
    .await?;
    Ok(stored.map_or_else(hang_up, |object| stored_answer(call, provider, &object)))
}

/// Receives and publishes an object; `None` if the connection broke.
#[allow(clippy::too_many_arguments, reason = "one argument for each fact about the upload")]
async fn store(
    shared: &Shared,
    call: &Call,
    provider: Provider,
    bucket: &str,
    name: &str,
    content_type: String,
    incoming: Incoming<'_>,
    with_md5: bool,
    check: impl FnOnce(&Sums) -> Result<(), Refusal> + Send,
) -> Result<Option<Object>, Refusal> {
    let failed = |error: std::io::Error| internal(provider, &error);
    let (path, file) = shared.objects.incoming().map_err(failed)?;
    shared.objects.set_receiving(bucket, name, true);
    let (sums, result) =
        receive(call, incoming, Target::File(file), Sums::new(with_md5), &CancellationToken::new()).await;
    shared.objects.set_receiving(bucket, name, false);
    let outcome = match result {
        Ok(()) => check(&sums).map(Some),
        Err(Ended::Disk(error)) => Err(internal(provider, &error)),
        Err(Ended::Cut | Ended::TakenOver | Ended::Fault) => Ok(None),
    };
    if !matches!(outcome, Ok(Some(()))) {
        let _ = std::fs::remove_file(path);
        return outcome.map(|_| None);
    }
    let object = Objects::new_object(bucket, name, content_type, &sums);
    shared.objects.publish(&object, &path).map_err(failed)?;
    Ok(Some(object))
}

/// What a store says when it has taken an object.
fn stored_answer(call: &Call, provider: Provider, object: &Object) -> Response {
    if call.claim(Moment::UploadDone).contains(&FaultKind::LoseFinalAnswer) {
        return hang_up();
    }
    let mut headers = HeaderMap::new();
    set(&mut headers, CONTENT_LENGTH, "0");
    set(&mut headers, ETAG, &object.etag());
    let mut status = StatusCode::OK;
    match provider {
        Provider::Amazon => set(&mut headers, HeaderName::from_static("x-amz-request-id"), &request_id()),
        Provider::Azure => {
            status = StatusCode::CREATED;
            set(&mut headers, ETAG, &format!("\"0x{:X}\"", object.modified));
            if let Some(md5) = object.md5_bytes() {
                set(&mut headers, HeaderName::from_static("content-md5"), &BASE64.encode(md5));
            }
            set(&mut headers, HeaderName::from_static("x-ms-request-id"), &request_id());
        }
        Provider::Google | Provider::Token => {
            if let Some(hash) = goog_hash(Some(object.crc32c), object.md5_bytes()) {
                set(&mut headers, HeaderName::from_static("x-goog-hash"), &hash);
            }
            set(&mut headers, HeaderName::from_static("x-goog-generation"), &object.modified.to_string());
            set(
                &mut headers,
                HeaderName::from_static("x-goog-stored-content-length"),
                &object.size.to_string(),
            );
        }
    }
    for fault in call.claim(Moment::UploadAnswer) {
        spoil_hashes(&mut headers, &fault);
        let FaultKind::UploadHeaders { headers: told } = fault else { continue };
        for (name, value) in told {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                set(&mut headers, name, &value);
            }
        }
    }
    (status, headers).into_response()
}

fn start_session(
    shared: &Shared,
    call: &Call,
    parts: &Parts,
    bucket: &str,
    name: &str,
) -> Result<Response, Refusal> {
    let provider = Provider::Google;
    if text(&parts.headers, "x-goog-resumable") != Some("start") {
        let message = "A POST to a signed URL starts a resumable session and needs x-goog-resumable: start.";
        return Err(
            Refusal::new(provider, 400, "InvalidArgument", "Invalid argument.").detail("Details", message)
        );
    }
    if content_length(provider, &parts.headers)? != 0 {
        return Err(Refusal::new(provider, 400, "InvalidArgument", "Invalid argument.")
            .detail("Details", "The request must be empty."));
    }
    let content_type = text(&parts.headers, "content-type").unwrap_or("application/octet-stream").to_owned();
    let total = text(&parts.headers, "x-upload-content-length").and_then(|length| length.parse().ok());
    let id = shared
        .sessions
        .start(bucket, name, content_type, total)
        .map_err(|error| internal(provider, &error))?;
    let mut headers = HeaderMap::new();
    set(&mut headers, CONTENT_LENGTH, "0");
    set(&mut headers, HeaderName::from_static("x-guploader-uploadid"), &id);
    if call.claim(Moment::SessionStart).is_empty() {
        let location = format!("{}{}?upload_id={id}", shared.origin(), parts.uri.path());
        set(&mut headers, LOCATION, &location);
    }
    Ok((StatusCode::CREATED, headers).into_response())
}

async fn session_request(shared: &Shared, call: &Call, parts: &Parts, id: &str, body: Body) -> Response {
    let provider = Provider::Google;
    if parts.headers.contains_key("authorization") {
        // The session's address is its key. One that leaks the account's key besides must not work here
        // either.
        let message = "A session URI is used without an Authorization header.";
        return refused(&Refusal::new(provider, 400, "InvalidArgument", message));
    }
    let sent = match text(&parts.headers, "content-range").map(|text| ranges::sent(text).ok_or(text)) {
        None => None,
        Some(Ok(sent)) => Some(sent),
        Some(Err(text)) => {
            let message = format!("Failed to parse Content-Range header: {text}");
            return refused(&Refusal::new(provider, 400, "InvalidArgument", message));
        }
    };
    let sessions = &shared.sessions;
    let outcome = match parts.method {
        Method::DELETE => sessions.ask(call, id, Sent { span: None, total: None }, true).await,
        Method::PUT => {
            let length = match content_length(provider, &parts.headers) {
                Ok(length) => length,
                Err(refusal) => return refused(&refusal),
            };
            match sent {
                Some(query @ Sent { span: None, .. }) if length == 0 => {
                    sessions.ask(call, id, query, false).await
                }
                Some(Sent { span: None, .. }) => Outcome::Refused("A status query has no body.".to_owned()),
                sent => sessions.take(call, id, sent, length, body.into_data_stream().boxed()).await,
            }
        }
        _ => {
            return refused(&Refusal::new(
                provider,
                405,
                "MethodNotAllowed",
                "A session takes PUT and DELETE.",
            ));
        }
    };
    let mut headers = HeaderMap::new();
    set(&mut headers, CONTENT_LENGTH, "0");
    set(&mut headers, HeaderName::from_static("x-guploader-uploadid"), id);
    match outcome {
        Outcome::Kept(kept) => {
            if kept > 0 {
                set(&mut headers, RANGE, &format!("bytes=0-{}", kept - 1));
            }
            (StatusCode::PERMANENT_REDIRECT, headers).into_response()
        }
        Outcome::Done(object) => stored_answer(call, provider, &object),
        Outcome::Refused(message) => refused(&Refusal::new(provider, 400, "InvalidArgument", message)),
        Outcome::Gone(404) => {
            refused(&Refusal::new(provider, 404, "NoSuchUpload", "The requested upload was not found."))
        }
        Outcome::Gone(status) => {
            refused(&Refusal::new(provider, status, "Gone", "The upload session is over."))
        }
        Outcome::Cancelled => {
            (StatusCode::from_u16(499).unwrap_or(StatusCode::GONE), headers).into_response()
        }
        Outcome::NoAnswer => hang_up(),
        Outcome::Failed(error) => refused(&internal(provider, &error)),
    }
}

async fn form(
    shared: &Shared,
    call: &Call,
    parts: &Parts,
    signed: &Signed<'_>,
    bucket: &str,
    name: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let by_token = signed.parameter("token").is_some();
    let provider = if by_token { Provider::Token } else { Provider::Google };
    if by_token {
        signed.verify(&shared.keys)?;
        if !call.claim(Moment::TokenUse).is_empty() {
            return put(shared, call, parts, provider, bucket, name, body).await;
        }
    } else if !name.is_empty() || parts.uri.query().is_some() {
        // What Google answers to a form that is sent to a signed URL.
        let message =
            "The content of the form does not meet the conditions specified in the policy document.";
        return Err(
            Refusal::new(provider, 400, "InvalidPolicyDocument", message).detail("Details", "Missing policy")
        );
    }
    let malformed = |details: String| {
        let message = "The body of your POST request is not well-formed multipart/form-data.";
        Refusal::new(provider, 400, "MalformedPOSTRequest", message).detail("Details", details)
    };
    let (pieces, ahead) = PieceByPiece::new(body);
    let mut request = Request::from_parts(parts.clone(), Body::from_stream(pieces));
    // A file is as large as it likes: it is not gathered.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
    let mut fields: Vec<(String, String)> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
        ahead.store(0, Ordering::Relaxed);
        let field_name = field.name().unwrap_or_default().to_owned();
        if field_name != "file" {
            if fields.len() == MOST_FIELDS {
                return Err(malformed("There are too many fields.".to_owned()));
            }
            let value = small_field(field)
                .await
                .ok_or_else(|| malformed(format!("The field {field_name} is too long.")))?;
            fields.push((field_name, value));
            continue;
        }
        let file_name = field.file_name().map(str::to_owned);
        let part_type = field.content_type().unwrap_or("application/octet-stream").to_owned();
        let (object_name, limits) = if by_token {
            if file_name.is_none() {
                return Err(malformed("The part \"file\" has no file name.".to_owned()));
            }
            (name.to_owned(), None)
        } else {
            let key = fields
                .iter()
                .find(|(name, _)| name == "key")
                .map(|(_, key)| key.replace("${filename}", file_name.as_deref().unwrap_or("")));
            let limits = verify_policy(&shared.keys, &fields, bucket, signed.now, signed.expired)?;
            (key.ok_or_else(|| malformed("Missing key".to_owned()))?, limits.sizes)
        };
        let content_type = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map_or(part_type, |(_, value)| value.clone());
        let incoming = field
            .map(|piece| {
                ahead.store(0, Ordering::Relaxed);
                piece.map_err(axum::Error::new)
            })
            .boxed();
        let with_md5 = content_length(provider, &parts.headers).is_ok_and(|length| length <= MD5_UP_TO);
        let stored =
            store(shared, call, provider, bucket, &object_name, content_type, incoming, with_md5, |sums| {
                if limits.is_some_and(|(least, _)| sums.bytes < least) {
                    return Err(Refusal::new(
                        provider,
                        400,
                        "EntityTooSmall",
                        "Your proposed upload is smaller than the minimum object size.",
                    ));
                }
                if limits.is_some_and(|(_, most)| sums.bytes > most) {
                    return Err(Refusal::new(
                        provider,
                        400,
                        "EntityTooLarge",
                        "Your proposed upload exceeds the maximum allowed object size.",
                    ));
                }
                Ok(())
            })
            .await?;
        let Some(object) = stored else { return Ok(hang_up()) };
        let mut response = stored_answer(call, provider, &object);
        if !by_token {
            let wanted = fields
                .iter()
                .find(|(name, _)| name == "success_action_status")
                .map(|(_, status)| status.as_str());
            *response.status_mut() = match wanted {
                Some("200") => StatusCode::OK,
                Some("201") => StatusCode::CREATED,
                _ => StatusCode::NO_CONTENT,
            };
            if response.status() == StatusCode::NO_CONTENT {
                response.headers_mut().remove(CONTENT_LENGTH);
            }
        }
        return Ok(response);
    }
    if by_token {
        return Err(malformed("There is no part named \"file\".".to_owned()));
    }
    verify_policy(&shared.keys, &fields, bucket, signed.now, signed.expired)?;
    Err(Refusal::new(provider, 400, "InvalidArgument", "POST requires exactly one file upload per request."))
}

/// The most of a form that is gathered while the reader looks for the end of what it reads.
const MOST_AHEAD: usize = 4 << 20;

/// A body for a reader of forms that takes all that it can get before it looks at any of it: of a sender that is quick
/// enough, the whole file. It gets one piece, and the next when it has looked.
struct PieceByPiece {
    body: BodyDataStream,
    /// A piece was given that has not been looked at.
    pauses: bool,
    /// Bytes that were given since the reader last came upon something.
    ahead: Arc<AtomicUsize>,
}

impl PieceByPiece {
    fn new(body: Body) -> (Self, Arc<AtomicUsize>) {
        let ahead = Arc::new(AtomicUsize::new(0));
        (Self { body: body.into_data_stream(), pauses: false, ahead: Arc::clone(&ahead) }, ahead)
    }
}

impl Stream for PieceByPiece {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pauses) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(self.body.poll_next_unpin(context));
        if let Some(Ok(piece)) = &piece {
            self.pauses = true;
            if self.ahead.fetch_add(piece.len(), Ordering::Relaxed) > MOST_AHEAD {
                let endless = io::Error::new(io::ErrorKind::InvalidData, "a part of the form has no end");
                return Poll::Ready(Some(Err(axum::Error::new(endless))));
            }
        }
        Poll::Ready(piece)
    }
}

async fn small_field(mut field: Field<'_>) -> Option<String> {
    let mut value = Vec::new();
    while let Some(piece) = field.chunk().await.ok()? {
        value.extend_from_slice(&piece);
        if value.len() > LARGEST_FIELD {
            return None;
        }
    }
    String::from_utf8(value).ok()
}

fn is_form(headers: &HeaderMap) -> bool {
    text(headers, "content-type")
        .is_some_and(|content_type| content_type.to_ascii_lowercase().starts_with("multipart/form-data"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn content_length(provider: Provider, headers: &HeaderMap) -> Result<u64, Refusal> {
    if let Some(length) = text(headers, "content-length").and_then(|length| length.parse().ok()) {
        return Ok(length);
    }
    Err(if provider == Provider::Amazon && headers.contains_key(TRANSFER_ENCODING) {
        Refusal::new(
            provider,
            501,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented.",
        )
        .detail("Header", "Transfer-Encoding")
    } else {
        Refusal::new(
            provider,
            411,
            "MissingContentLength",
            "You must provide the Content-Length HTTP header.",
        )
    })
}

fn check_length_range(headers: &HeaderMap, length: u64) -> Result<(), Refusal> {
    let Some(range) = text(headers, "x-goog-content-length-range") else { return Ok(()) };
    let bounds = range.split_once(',').and_then(|(least, most)| {
        Some((least.trim().parse::<u64>().ok()?, most.trim().parse::<u64>().ok()?))
    });
    match bounds {
        Some((least, _)) if length < least => Err(Refusal::new(
            Provider::Google,
            400,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum object size.",
        )),
        Some((_, most)) if length > most => Err(Refusal::new(
            Provider::Google,
            400,
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed object size.",
        )),
        Some(_) => Ok(()),
        None => Err(Refusal::new(
            Provider::Google,
            400,
            "InvalidArgument",
            "Invalid x-goog-content-length-range.",
        )),
    }
}

fn no_such_key(provider: Provider) -> Refusal {
    match provider {
        Provider::Azure => Refusal::new(provider, 404, "BlobNotFound", "The specified blob does not exist."),
        _ => Refusal::new(provider, 404, "NoSuchKey", "The specified key does not exist."),
    }
}

fn internal(provider: Provider, error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the sandbox's disk");
    Refusal::new(provider, 500, "InternalError", "We encountered an internal error. Please try again.")
}

/// An answer that is never sent: the connection closes.
pub(crate) fn hang_up() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(Hangup);
    response
}

/// A refusal as its cloud spells it.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    if refusal.provider == Provider::Token {
        return (refusal.status, Json(json!({"error": refusal.code, "detail": refusal.message})))
            .into_response();
    }
    let mut document = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>{}</Message>",
        refusal.code,
        escape(&refusal.message)
    );
    for (element, text) in &refusal.details {
        let _ = write!(document, "<{element}>{}</{element}>", escape(text));
    }
    if refusal.provider == Provider::Amazon {
        let _ = write!(document, "<RequestId>{}</RequestId><HostId>sandbox</HostId>", request_id());
    }
    document.push_str("</Error>");
    let mut response = (refusal.status, document).into_response();
    set(response.headers_mut(), CONTENT_TYPE, "application/xml; charset=UTF-8");
    if refusal.provider == Provider::Azure {
        set(response.headers_mut(), HeaderName::from_static("x-ms-error-code"), refusal.code);
    }
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
