//! An upload: sign, send, verify, confirm.
//!
//! The asset id is written down before the first byte goes out. How the bytes go is decided by the signed URL
//! (services.md §3.1), changed once if the store's refusal says so, and remembered. A resumable session is continued
//! only from what the store says it has. "The store took it" is no proof: its checksum and the service's metadata are.

pub(crate) mod sent_before;
pub(crate) mod signed_url;
pub(crate) mod source_file;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, LOCATION};
use reqwest::{Body, Method as Verb, RequestBuilder, Response, multipart};
use url::Url;

use crate::engine::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::http::answer::{self, Refusal, RefusalKind};
use crate::http::checksum::{Algorithm, Claim, Digests, Offered, Proof, compare, etag_md5, offered};
use crate::http::range;
use crate::http::{error_body, from_reqwest, stalled};
use crate::progress::{Counter, now};
use crate::run::Run;
use crate::services::{Confirmation, Service, refused};
use crate::settings::UploadMethod;
use crate::task::{Task, UploadTask};
use crate::transfer::{Stage, Verified};
use crate::upload::signed_url::{Method, SignedUrl};
use crate::upload::source_file::SourceFile;
use crate::words::{Count, Peer, Phrase, Size, Way};

/// The store's unit: every chunk but the last is a multiple of it.
const UNIT: u64 = 256 * 1024;
const FIRST_CHUNK: u64 = 8 * 1024 * 1024;
const SMALLEST_CHUNK: u64 = 4 * UNIT;
/// Below the hundred megabytes that some servers before a store take at once.
const LARGEST_CHUNK: u64 = 64 * 1024 * 1024;
/// Chunks are sized so that one takes some seconds: longer ones lose more when the line breaks, and each is a request.
const SLOW_CHUNK: Duration = Duration::from_secs(8);
const QUICK_CHUNK: Duration = Duration::from_secs(1);
/// What was quick grows towards this, but not by more than so much at once: a chunk may have been quick by chance.
const GOOD_CHUNK: Duration = Duration::from_secs(2);
const MOST_GROWTH: f64 = 4.0;
/// How long a pause waits for a service that is just signing: less than quitting takes.
const LAST_WORD: Duration = Duration::from_millis(1500);
/// The service is asked this often, this long, whether it has the file.
const CONFIRM_EVERY: Duration = Duration::from_secs(2);
const CONFIRM_LIMIT: Duration = Duration::from_secs(120);
/// Clocks of computers are off by hours and time zones, hardly by more than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(48 * 3600);

/// What one attempt leaves to the next within a run.
pub(crate) struct Kept {
    /// No attempt was made in this run yet.
    is_first: bool,
    source: Option<SourceFile>,
    /// The method after the store refused the first one.
    flipped: Option<Method>,
    /// All bytes of a plain request went out, the answer got lost: the file may be there.
    sent_all: bool,
}

impl Kept {
    /// For a run that begins.
    pub fn new() -> Self {
        Self { is_first: true, source: None, flipped: None, sent_all: false }
    }
}

/// Where the bytes go.
struct Target {
    url: SignedUrl,
    form: Vec<(String, String)>,
    asset_id: Option<String>,
}

/// What the store said when it had everything.
struct Taken {
    headers: HeaderMap,
    /// What the request held in all, if it was a form that Ferry chose by itself: a store that keeps this much has kept
    /// the form, not the file.
    form_size: Option<u64>,
}

/// How an attempt ended that did not fail.
enum Outcome {
    /// The file is there.
    Proven,
    /// The store kept the form with the file in it.
    FormKept,
}

/// Makes one attempt at an upload; `kept` carries what is worth keeping to the next.
pub(crate) async fn run(run: &Run, kept: &mut Kept) -> Result<()> {
    let task = upload_task(run)?;
    let row = run.row();
    let service = if task.to_own_url {
        None
    } else {
        Some(run.or_stop(run.queue().services.get(&row.service)).await??)
    };
    if let (Some(reuse), Some(service)) = (&task.reuse, service.as_deref())
        && sent_before::ends_with(run, &task.path, reuse, service).await?
    {
        return Ok(());
    }
    let mut result = attempt(run, &task, service.as_deref(), kept, &row.name).await;
    if let Ok(Outcome::FormKept) = result {
        run.note(Phrase::FormWasKept);
        abandon(run, &row.service).await?;
        kept.source = None;
        run.counter.set(0);
        result = attempt(run, &task, service.as_deref(), kept, &row.name).await;
    }
    if let Err(error) = &result {
        match error.cause {
            // The user's own URL is all there is; a service can be asked for another.
            Cause::ServiceRefused if task.to_own_url => {}
            Cause::SourceChanged | Cause::StoredWrong | Cause::Expired | Cause::ServiceRefused => {
                // What was begun cannot be continued: the next attempt begins with a URL of its own.
                abandon(run, &row.service).await?;
                kept.source = None;
                run.counter.set(0);
            }
            Cause::LinkExpired | Cause::Canceled => {}
            _ => {
                if row.resumable {
                    tracing::debug!(cause = ?error.cause, "the session is kept");
                }
            }
        }
    }
    result.map(|_| ())
}

async fn attempt(
    run: &Run,
    task: &UploadTask,
    service: Option<&dyn Service>,
    kept: &mut Kept,
    name: &str,
) -> Result<Outcome> {
    let source = &open_source(run, task, kept).await?;
    let record = run.resume_record();
    // Another run may have been killed between the last byte and the answer. A session can be asked by itself.
    let may_be_there =
        kept.sent_all || (kept.is_first && record.signed_url.is_some() && record.session.is_none());
    kept.is_first = false;
    let target = target(run, service, name, source.size()).await?;
    let service_id = run.row().service;
    if may_be_there
        && let (Some(service), Some(asset_id)) = (service, &target.asset_id)
        && let Ok(Confirmation::Success { size: Some(size) }) = service.confirm(asset_id).await
        && size == source.size()
    {
        run.tell(Phrase::AnswerLost);
        finish(run, service_id, source, &target, Some(service), None).await?;
        return Ok(Outcome::Proven);
    }
    let host = target.url.host().to_owned();
    run.update(|row| row.host = Some(host));
    let taken = send(run, task, &target, source, kept, name, &service_id).await?;
    kept.sent_all = false;
    source.check_unchanged()?;
    match finish(run, service_id.clone(), source, &target, service, Some(&taken)).await {
        Err(error)
            if error.cause == Cause::StoredWrong && form_was_kept(run, service, &target, &taken).await? =>
        {
            // Known from here on, also after a kill: the next file goes the right way at once.
            let key = learned_key(&service_id, target.url.infer(!target.form.is_empty()));
            run.queue().store.learn(key, "put".to_owned());
            kept.flipped = Some(Method::Put);
            Ok(Outcome::FormKept)
        }
        other => other.map(|()| Outcome::Proven),
    }
}

/// Whether the store has exactly as many bytes as the form around the file had, by its own word or by the service's.
async fn form_was_kept(
    run: &Run,
    service: Option<&dyn Service>,
    target: &Target,
    taken: &Taken,
) -> Result<bool> {
    let Some(form_size) = taken.form_size else { return Ok(false) };
    let by_store = taken.headers.get("x-goog-stored-content-length").and_then(|value| value.to_str().ok());
    if let Some(stored) = by_store.and_then(|text| text.parse::<u64>().ok()) {
        return Ok(stored == form_size);
    }
    let (Some(service), Some(asset_id)) = (service, &target.asset_id) else { return Ok(false) };
    let answer = run.or_stop(service.confirm(asset_id)).await?;
    Ok(matches!(answer, Ok(Confirmation::Success { size: Some(size) }) if size == form_size))
}

/// Under which name the method that worked is remembered.
fn learned_key(service: &str, inferred: Method) -> String {
    format!("method/{service}/{inferred:?}")
}

fn upload_task(run: &Run) -> Result<UploadTask> {
    match run.task() {
        Some(Task::Upload(task)) => Ok(task),
        _ => Err(Error::internal("This is no upload")),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::internal("A disk task was interrupted"))
}

/// Opens the source and makes sure that it is still the file that was begun.
async fn open_source(run: &Run, task: &UploadTask, kept: &mut Kept) -> Result<SourceFile> {
    if let Some(source) = &kept.source {
        source.check_unchanged()?;
        return Ok(source.clone());
    }
    let path = task.path.clone();
    let source = blocking(move || SourceFile::open(&path)).await??;
    let state = source.state();
    if task.source.is_some_and(|before| before != state) {
        abandon(run, &run.row().service).await?;
        run.counter.set(0);
        run.note(Phrase::SourceChangedSince);
    }
    if task.source != Some(state) {
        let remember = |task: &mut Task| {
            if let Task::Upload(upload) = task {
                upload.source = Some(state);
            }
        };
        if task.to_own_url {
            run.change_task(remember).await?;
        } else {
            // With the asset id, before the first byte.
            run.change_task_soon(remember);
        }
    }
    run.update(|row| row.total = Some(state.size));
    kept.source = Some(source.clone());
    Ok(source)
}

/// Gives up what was begun at the service: its asset id will never hold this file.
async fn abandon(run: &Run, service: &str) -> Result<()> {
    let record = run.resume_record();
    if let Some(asset_id) = &record.asset_id {
        run.queue().store.set_asset_status(service, asset_id, AssetStatus::Abandoned).await?;
        run.tell(Phrase::AssetGivenUp { id: asset_id.clone() });
    }
    run.change_task(|task| {
        if let Task::Upload(upload) = task {
            upload.source = None;
        }
    })
    .await?;
    run.change_resume(|record| {
        (record.signed_url, record.session, record.asset_id, record.expires_at) = (None, None, None, None);
        record.form.clear();
    })
    .await
}

// ---- sign ----

/// The signed URL to send to: the user's own, the one from before while it is good, or a new one.
async fn target(run: &Run, service: Option<&dyn Service>, name: &str, size: u64) -> Result<Target> {
    let record = run.resume_record();
    let parse = |text: &str| {
        SignedUrl::parse(text)
            .map_err(|why| Error::invalid(Phrase::NoSignedUrl).because(why).advise(Phrase::PasteWholeUrl))
    };
    let Some(service) = service else {
        let text = record.url.ok_or_else(|| Error::new(Cause::LinkExpired, Phrase::SignedUrlNotKept))?;
        let url = parse(&text)?;
        // What ended lately is for the store to judge, whose clock may be another.
        let long_ago = SystemTime::now().checked_sub(CLOCKS_DIFFER);
        if record.session.is_none() && url.expires_at().is_some_and(|end| Some(end) <= long_ago) {
            return Err(Error::new(Cause::LinkExpired, Phrase::SignedUrlExpired));
        }
        return Ok(Target { url, form: Vec::new(), asset_id: None });
    };
    if let (Some(text), Some(asset_id)) = (&record.signed_url, &record.asset_id) {
        if record.is_good_at(SystemTime::now()) {
            // A kill may have come between the record of this id and its place in the list and the library.
            let (id, asset_id) = (service.about().id, asset_id.clone());
            if run.row().asset_id.as_ref() != Some(&asset_id)
                || run.queue().store.asset(Some(id), &asset_id).await?.is_none()
            {
                write_down_asset(run, id, &asset_id, name, size).await?;
            }
            return Ok(Target { url: parse(text)?, form: record.form, asset_id: Some(asset_id) });
        }
        run.note(Phrase::SignedAgain);
        abandon(run, service.about().id).await?;
    }
    run.stage(Stage::Signing);
    // An id that the service has given is not to be lost because the user pauses in this moment.
    let signed = run.or_stop_after(LAST_WORD, service.sign(name)).await??;
    // From here on this asset id exists: it is on disk before the first byte is sent.
    run.change_resume(|record| {
        record.signed_url = Some(signed.url.expose().to_owned());
        record.form.clone_from(&signed.form);
        record.asset_id = Some(signed.asset_id.clone());
        record.session = None;
        record.expires_at = signed
            .expires_at
            .and_then(|end| end.duration_since(UNIX_EPOCH).ok())
            .map(|since| since.as_secs());
    })
    .await?;
    write_down_asset(run, service.about().id, &signed.asset_id, name, size).await?;
    if run.stop.is_cancelled() {
        return Err(Error::canceled());
    }
    run.tell(Phrase::SignedBy { service: Peer::service(service.about().id) });
    Ok(Target { url: signed.url, form: signed.form, asset_id: Some(signed.asset_id) })
}

/// Puts a new asset id into the library and the list.
async fn write_down_asset(run: &Run, service: &str, asset_id: &str, name: &str, size: u64) -> Result<()> {
    let asset = Asset {
        service: service.to_owned(),
        asset_id: asset_id.to_owned(),
        name: name.to_owned(),
        size: Some(size),
        crc32c: None,
        status: AssetStatus::Begun,
        at: now(),
    };
    run.update(|row| row.asset_id = Some(asset_id.to_owned()));
    // Both in one commit.
    run.queue().store.save_row_later(run.row());
    run.queue().store.save_asset(asset).await
}

// ---- send ----

async fn send(
    run: &Run,
    task: &UploadTask,
    target: &Target,
    source: &SourceFile,
    kept: &mut Kept,
    name: &str,
    service: &str,
) -> Result<Taken> {
    let inferred = target.url.infer(!target.form.is_empty());
    let wanted = task.method.filter(|method| *method != UploadMethod::Auto).or_else(|| {
        let setting = run.settings().upload_method;
        (service == "mavi" && setting != UploadMethod::Auto).then_some(setting)
    });
    let learned_key = learned_key(service, inferred);
    let mut method = match (kept.flipped, wanted) {
        (Some(method), _) => method,
        (None, Some(UploadMethod::Put)) => Method::Put,
        (None, Some(UploadMethod::Post)) => Method::Post,
        (None, Some(UploadMethod::Resumable)) if inferred != Method::Session => Method::Resumable,
        _ => match run.queue().store.learned(&learned_key).as_deref() {
            Some("put") => Method::Put,
            Some("post") => Method::Post,
            _ => inferred,
        },
    };
    check_signed_headers(&target.url)?;
    if target.url.answers_with_md5() {
        // And with nothing else; elsewhere it would only cost time.
        source.also(&[Algorithm::Md5]);
    }
    loop {
        let resumable = matches!(method, Method::Resumable | Method::Session);
        run.update(|row| row.resumable = resumable);
        run.stage(Stage::Sending);
        let result = if resumable {
            send_in_session(run, target, source, method, name).await
        } else {
            send_whole(run, target, source, method, name, kept).await
        };
        match result {
            Ok(mut taken) => {
                if kept.flipped.is_some() || wanted.is_some() || method != Method::Post {
                    taken.form_size = None;
                }
                if kept.flipped.is_some() && wanted.is_none() {
                    let word = if method == Method::Put { "put" } else { "post" };
                    run.queue().store.learn(learned_key, word.to_owned());
                }
                run.queue().services.set_method(service, shown(method));
                return Ok(taken);
            }
            Err(Refused::Fault(error)) => return Err(error),
            Err(Refused::ByStore(refusal)) => {
                let other = signed_url::flips(&refusal, method, target.url.known_store());
                if let (None, None, Some(other)) = (kept.flipped, wanted, other) {
                    run.tell(Phrase::OtherMethod { method: Way(shown(method)), other: Way(shown(other)) });
                    kept.flipped = Some(other);
                    method = other;
                    run.counter.set(0);
                    continue;
                }
                return Err(store_refused(&refusal, service));
            }
        }
    }
}

/// Why a request came to nothing.
enum Refused {
    /// The store answered, and refused.
    ByStore(Refusal),
    /// Anything else.
    Fault(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

fn store_refused(refusal: &Refusal, service: &str) -> Error {
    let mut error = refused(refusal, Peer::store(), "upload");
    match refusal.kind {
        RefusalKind::Expired if service == "link" => error.cause = Cause::LinkExpired,
        RefusalKind::SignatureMismatch | RefusalKind::Unauthorized => {
            // The key is not at fault: the store knows only the URL's signature.
            error.cause = Cause::ServiceRefused;
            error.what = Phrase::SignatureRefused.into();
            error.advice = Some(Phrase::GetNewSignedUrl.into());
        }
        _ => {}
    }
    error
}

fn shown(method: Method) -> UploadMethod {
    match method {
        Method::Put | Method::AzurePut => UploadMethod::Put,
        Method::Post | Method::PostForm => UploadMethod::Post,
        Method::Resumable | Method::Session => UploadMethod::Resumable,
    }
}

/// A header that was signed must be sent with the value that was signed. Ferry knows the values of these only.
fn check_signed_headers(url: &SignedUrl) -> Result<()> {
    const KNOWN: [&str; 6] = [
        "host",
        "content-type",
        "content-length",
        "x-goog-resumable",
        "x-ms-blob-type",
        "x-amz-content-sha256",
    ];
    let unknown: Vec<String> =
        url.signed_headers().into_iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(Cause::Unsupported, Phrase::UnknownSignedHeaders)
        .because(unknown.join(", "))
        .advise(Phrase::GetUrlWithoutHeaders))
}

fn url_of(url: &SignedUrl) -> Result<Url> {
    url.to_url().map_err(|why| Error::invalid(Phrase::SignedUrlUnusable).because(why))
}

/// A raw PUT or a form POST: one request with everything. A retry starts at the first byte.
async fn send_whole(
    run: &Run,
    target: &Target,
    source: &SourceFile,
    method: Method,
    name: &str,
    kept: &mut Kept,
) -> Result<Taken, Refused> {
    if run.counter.get() > 0 {
        run.note(Phrase::SentFromBeginning);
    }
    run.counter.set(0);
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    let flow = Flow::new(run, 0);
    let body = flow.body(run, source, 0, source.size());
    let http = &run.queue().http;
    let request = match method {
        Method::Post | Method::PostForm => {
            let mut form = multipart::Form::new();
            for (field, value) in &target.form {
                form = form.text(field.clone(), value.clone());
            }
            let part = multipart::Part::stream_with_length(body, source.size())
                .file_name(name.to_owned())
                .mime_str(mime.as_ref())
                .map_err(|error| {
                    Error::internal("A media type could not be written")
                        .because(error.without_url().to_string())
                })?;
            http.request(Verb::POST, url_of(&target.url)?).multipart(form.part("file", part))
        }
        _ => {
            let mut request = http
                .request(Verb::PUT, url_of(&target.url)?)
                .header(CONTENT_LENGTH, source.size())
                .body(body);
            if method == Method::AzurePut {
                request = request.header("x-ms-blob-type", "BlockBlob");
            }
            if target.url.signed_headers().iter().any(|header| header == "x-amz-content-sha256") {
                request = request.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
            }
            // V2 URLs sign the (absent) content type: any header would break the signature.
            if target.url.is_v2() { request } else { request.header(CONTENT_TYPE, mime.as_ref()) }
        }
    };
    let (client, request) = request.build_split();
    let request = request.map_err(|error| from_reqwest(&error))?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let request = RequestBuilder::from_parts(client, request);
    let answer =
        flow.send(run, request).await.inspect_err(|_| kept.sent_all = flow.all_sent(source.size()))?;
    Ok(Taken { form_size: length, ..accept(run, answer).await? })
}

/// Any 2xx means that the store took the bytes.
async fn accept(run: &Run, answer: Response) -> Result<Taken, Refused> {
    if answer.status().is_success() {
        return Ok(Taken { headers: answer.headers().clone(), form_size: None });
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = run.or_stop(error_body(answer, run.queue().http.limits.stall)).await?;
    Err(Refused::ByStore(answer::decode(status, &headers, &body)))
}

// ---- resumable sessions (services.md §3.2) ----

async fn send_in_session(
    run: &Run,
    target: &Target,
    source: &SourceFile,
    method: Method,
    name: &str,
) -> Result<Taken, Refused> {
    let total = source.size();
    let kept = run.resume_record().session;
    let is_new = kept.is_none() && method == Method::Resumable;
    let session = match kept {
        Some(text) => parse_session(&text)?,
        None if method == Method::Session => url_of(&target.url)?,
        None => begin_session(run, target, name).await?,
    };
    // What the store has counts, not what was sent. A session that was just opened has nothing.
    let mut confirmed = if is_new {
        0
    } else {
        match query(run, &session, total).await? {
            Progress::Done(taken) => {
                hash_whole(run, source).await?;
                return Ok(taken);
            }
            Progress::Has(bytes) => bytes,
        }
    };
    if confirmed > total {
        return Err(Error::new(Cause::BadResponse, Phrase::StoreHasTooMuch).into());
    }
    if confirmed > source.hashed() {
        run.stage(Stage::Checking);
        let source = source.clone();
        run.or_stop(blocking(move || source.hash_up_to(confirmed))).await???;
        run.stage(Stage::Sending);
    }
    if confirmed > 0 {
        run.tell(Phrase::StoreHas { done: Size(confirmed) });
    }
    run.counter.set(confirmed);
    let mut size = FIRST_CHUNK;
    let mut idle = 0;
    loop {
        let end = total.min(confirmed + size);
        source.check_unchanged()?;
        let began = std::time::Instant::now();
        // The store may have every byte and only be about to say so: then it is asked, there is nothing to send.
        let answer = if confirmed == total && total > 0 {
            run.sleep(QUICK_CHUNK).await?;
            query(run, &session, total).await?
        } else {
            chunk(run, &session, source, confirmed, end).await?
        };
        match answer {
            Progress::Done(taken) => {
                run.counter.set(total);
                return Ok(taken);
            }
            Progress::Has(bytes) if bytes > total => {
                return Err(Error::new(Cause::BadResponse, Phrase::StoreHasTooMuch).into());
            }
            Progress::Has(bytes) if bytes > confirmed && bytes < total => {
                (confirmed, idle) = (bytes, 0);
                run.counter.set(confirmed);
            }
            Progress::Has(_) => {
                idle += 1;
                if idle >= 3 {
                    return Err(Error::new(Cause::ServerTrouble, Phrase::StoreKeepsNothing).into());
                }
                match query(run, &session, total).await? {
                    Progress::Done(taken) => {
                        run.counter.set(total);
                        return Ok(taken);
                    }
                    Progress::Has(bytes) => {
                        confirmed = bytes.min(total);
                        run.counter.set(confirmed);
                    }
                }
            }
        }
        size = next_size(size, began.elapsed());
    }
}

/// How large the next chunk is, after one of this size took so long.
fn next_size(size: u64, took: Duration) -> u64 {
    if took < QUICK_CHUNK {
        let growth = (GOOD_CHUNK.as_secs_f64() / took.as_secs_f64().max(0.001)).min(MOST_GROWTH);
        let grown = (size as f64 * growth) as u64;
        (grown - grown % UNIT).min(LARGEST_CHUNK)
    } else if took > SLOW_CHUNK {
        (size / 2).max(SMALLEST_CHUNK)
    } else {
        size
    }
}

fn parse_session(text: &str) -> Result<Url> {
    signed_url::parse_secure(text)
        .map_err(|why| Error::new(Cause::BadResponse, Phrase::SessionUnusable).because(why))
}

async fn begin_session(run: &Run, target: &Target, name: &str) -> Result<Url, Refused> {
    let url = url_of(&target.url)?;
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    let mut request = run
        .queue()
        .http
        .request(Verb::POST, url.clone())
        .header(CONTENT_LENGTH, 0)
        .header("x-goog-resumable", "start");
    if !target.url.is_v2() {
        request = request.header(CONTENT_TYPE, mime.as_ref());
    }
    let answer = run.or_stop(run.queue().http.send(request)).await??;
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    accept(run, answer).await?;
    let location = location.ok_or_else(|| Error::new(Cause::ServerTrouble, Phrase::SessionWithoutPlace))?;
    let absolute = url.join(&location).map_err(|error| {
        Error::new(Cause::BadResponse, Phrase::SessionUnusable).because(error.to_string())
    })?;
    let session = parse_session(absolute.as_str())?;
    run.change_resume(|record| record.session = Some(session.as_str().to_owned())).await?;
    run.tell(Phrase::SessionOpened);
    Ok(session)
}

/// How far the store is.
enum Progress {
    /// It has this many bytes.
    Has(u64),
    /// It has the file.
    Done(Taken),
}

async fn query(run: &Run, session: &Url, total: u64) -> Result<Progress, Refused> {
    let request = run
        .queue()
        .http
        .request(Verb::PUT, session.clone())
        .header(CONTENT_LENGTH, 0)
        .header(CONTENT_RANGE, format!("bytes */{total}"));
    let answer = run.or_stop(run.queue().http.send(request)).await??;
    progress(run, answer).await
}

async fn chunk(
    run: &Run,
    session: &Url,
    source: &SourceFile,
    start: u64,
    end: u64,
) -> Result<Progress, Refused> {
    let total = source.size();
    let range =
        if total == 0 { "bytes */0".to_owned() } else { format!("bytes {start}-{}/{total}", end - 1) };
    // The counter shows what the store has confirmed; the bytes on their way only keep the watchdog quiet.
    let flow = Flow::silent();
    let request = run
        .queue()
        .http
        .request(Verb::PUT, session.clone())
        .header(CONTENT_LENGTH, end - start)
        .header(CONTENT_RANGE, range)
        .body(flow.body(run, source, start, end));
    let answer = flow.send(run, request).await?;
    progress(run, answer).await
}

async fn progress(run: &Run, answer: Response) -> Result<Progress, Refused> {
    match answer.status().as_u16() {
        308 => match range::resumable_range(answer.headers()) {
            Some(kept) => Ok(Progress::Has(kept)),
            // The next attempt asks again before anything is sent.
            None => Err(Error::new(Cause::ServerTrouble, Phrase::StoreUnclear).into()),
        },
        404 | 410 => {
            run.change_resume(|record| record.session = None).await?;
            run.counter.set(0);
            run.note(Phrase::SessionLost);
            Err(Error::new(Cause::ServerTrouble, Phrase::SessionForgotten).into())
        }
        _ => Ok(Progress::Done(accept(run, answer).await?)),
    }
}

async fn hash_whole(run: &Run, source: &SourceFile) -> Result<()> {
    let (source, size) = (source.clone(), source.size());
    run.stage(Stage::Checking);
    run.or_stop(blocking(move || source.hash_up_to(size))).await???;
    run.counter.set(size_of_hashed(run));
    Ok(())
}

fn size_of_hashed(run: &Run) -> u64 {
    run.row().total.unwrap_or(0)
}

// ---- bytes on their way ----

/// Watches one request's bytes: counts them, and gives the request up when they stop moving.
struct Flow {
    counter: Option<Arc<Counter>>,
    /// Bytes that are to go out in the request.
    wanted: AtomicU64,
    moved: Arc<AtomicU64>,
    source_error: Arc<Mutex<Option<Error>>>,
}

impl Flow {
    /// Counts bytes as they leave.
    fn new(run: &Run, start: u64) -> Self {
        run.counter.set(start);
        Self { counter: Some(Arc::clone(&run.counter)), ..Self::silent() }
    }

    /// Watches without counting.
    fn silent() -> Self {
        Self { counter: None, wanted: AtomicU64::new(0), moved: Arc::default(), source_error: Arc::default() }
    }

    /// The bytes `start..end` of the source as a request body. A chunk counts when the next one is asked for, so
    /// the last one never counts before the answer is here.
    fn body(&self, run: &Run, source: &SourceFile, start: u64, end: u64) -> Body {
        self.wanted.store(end - start, Ordering::Relaxed);
        let inbox = source.read(start, end);
        let state = (
            inbox,
            0_u64,
            run.clone(),
            self.counter.clone(),
            Arc::clone(&self.moved),
            Arc::clone(&self.source_error),
        );
        let stream = futures_util::stream::unfold(
            state,
            |(mut inbox, last, run, counter, moved, source_error)| async move {
                if let Some(counter) = &counter {
                    counter.add(last);
                }
                let chunk: std::io::Result<Bytes> = match inbox.recv().await? {
                    Ok(chunk) => {
                        // Bytes that wait for the speed limit are no standstill.
                        let moves = |bytes: usize| {
                            moved.fetch_add(bytes as u64, Ordering::Relaxed);
                        };
                        run.queue().limit_up.pass(chunk.len(), moves).await;
                        Ok(chunk)
                    }
                    Err(error) => {
                        *source_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Err(std::io::Error::other("the source file could not be read"))
                    }
                };
                let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Some((chunk, (inbox, length, run, counter, moved, source_error)))
            },
        );
        Body::wrap_stream(Exactly { stream: Box::pin(stream) })
    }

    fn all_sent(&self, size: u64) -> bool {
        self.moved.load(Ordering::Relaxed) >= size
    }

    /// Sends, unless the transfer is to stop, the source fails, or nothing moves for too long.
    async fn send(&self, run: &Run, request: RequestBuilder) -> Result<Response> {
        let http = &run.queue().http;
        let limits = http.limits;
        let result = tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err(Error::canceled()),
            answer = http.execute(request) => answer,
            limit = self.standstill(limits.stall, limits.answer) => Err(stalled(limit)),
        };
        match self.source_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Returns when no byte has moved for the stall limit; when all have gone out, the last of them may still be on their
    /// way, and the store may be thinking: then it is the longer one.
    async fn standstill(&self, stall: Duration, answer: Duration) -> Duration {
        let mut last = self.moved.load(Ordering::Relaxed);
        let mut still = Duration::ZERO;
        let step = stall.min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(step).await;
            let moved = self.moved.load(Ordering::Relaxed);
            still = if moved == last { still + step } else { Duration::ZERO };
            last = moved;
            let limit = if moved < self.wanted.load(Ordering::Relaxed) { stall } else { answer.max(stall) };
            if still >= limit {
                return limit;
            }
        }
    }
}

/// A stream in a box that is `Sync`-free and `Unpin`, as the client's body wants it.
struct Exactly<S> {
    stream: std::pin::Pin<Box<S>>,
}

impl<S: Stream<Item = std::io::Result<Bytes>>> Stream for Exactly<S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

// ---- verify and confirm ----

async fn finish(
    run: &Run,
    service_id: String,
    source: &SourceFile,
    target: &Target,
    service: Option<&dyn Service>,
    taken: Option<&Taken>,
) -> Result<()> {
    run.stage(Stage::Verifying);
    let whole = source.clone();
    let stored = taken.map(|taken| stored_checksums(&taken.headers, &target.url));
    let wanted = stored.as_ref().map(Offered::algorithms).unwrap_or_default();
    let digests = match whole.known_digests(&wanted) {
        Some(digests) => digests,
        None => blocking(move || whole.digests(&wanted)).await??,
    };
    let mut proof = match &stored {
        Some(stored) => compare_stored(&digests, stored)?,
        None => Verified::Length,
    };
    let mut status = AssetStatus::Sent;
    if let (Some(service), Some(asset_id)) = (service, &target.asset_id) {
        run.stage(Stage::Confirming);
        match confirm(run, service, asset_id).await? {
            Confirmation::Success { size } => {
                if let Some(size) = size.filter(|size| *size != source.size()) {
                    return Err(stored_wrong(size, source.size()));
                }
                status = AssetStatus::Confirmed;
                if size.is_some() && proof == Verified::None {
                    proof = Verified::Length;
                }
                run.tell(Phrase::ConfirmedByService);
            }
            Confirmation::Failed(word) => {
                return Err(Error::new(Cause::ServiceRefused, Phrase::FileNotTaken).because(word));
            }
            Confirmation::Pending => run.note(Phrase::NotYetConfirmed),
        }
        let asset = Asset {
            service: service_id,
            asset_id: asset_id.clone(),
            name: run.row().name,
            size: Some(source.size()),
            crc32c: Some(sent_before::shown(digests.crc32c)),
            status,
            at: now(),
        };
        sent_before::remember(&run.queue().store, source.path(), source.sighting(), digests.crc32c);
        run.queue().store.save_asset(asset).await?;
    }
    run.counter.set(source.size());
    let checksum = match proof.algorithm() {
        Some(algorithm) => digests.hex(algorithm),
        None => digests.hex(Algorithm::Crc32c),
    };
    run.update(|row| {
        row.verified = Some(proof);
        row.checksum = checksum;
    });
    Ok(())
}

/// The checksums that the store gave, an entity tag that is an MD5 included.
fn stored_checksums(headers: &HeaderMap, url: &SignedUrl) -> Offered {
    let mut stored = offered(headers, false);
    // With a customer's own key, or one of the key service, the entity tag is no MD5 although it looks like one.
    let encrypted = headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
        || headers.get("x-amz-server-side-encryption").is_some_and(|value| value != "AES256");
    if stored.all.is_empty()
        && url.answers_with_md5()
        && !encrypted
        && let Some(md5) = headers.get(ETAG).and_then(|value| value.to_str().ok()).and_then(etag_md5)
    {
        stored.all.push(Claim { header: "etag".to_owned(), algorithm: Algorithm::Md5, value: md5.to_vec() });
    }
    stored
}

/// Compares the store's checksum, if it gave one, with what was sent.
fn compare_stored(digests: &Digests, stored: &Offered) -> Result<Verified> {
    match compare(digests, stored) {
        Proof::Match(algorithm) => Ok(algorithm.into()),
        Proof::Nothing => Ok(Verified::None),
        Proof::Mismatch { algorithm, expected, got } => {
            Err(Error::new(Cause::StoredWrong, Phrase::StoreHasOther).because(Phrase::ChecksumThere {
                algorithm: algorithm.as_str().to_owned(),
                there: expected,
                here: got,
            }))
        }
    }
}

fn stored_wrong(there: u64, here: u64) -> Error {
    let why = if there > here && there - here < 4096 {
        Phrase::HoldsTheForm { more: Count(there - here) }
    } else {
        Phrase::HoldsAnotherSize { there: Count(there), here: Count(here) }
    };
    Error::new(Cause::StoredWrong, Phrase::ServiceHasOther).because(why)
}

/// Asks the service until it has the file, it failed, or two minutes have passed.
async fn confirm(run: &Run, service: &dyn Service, asset_id: &str) -> Result<Confirmation> {
    let deadline = tokio::time::Instant::now() + CONFIRM_LIMIT;
    loop {
        match run.or_stop(service.confirm(asset_id)).await? {
            Ok(Confirmation::Pending) => {}
            Ok(answer) => return Ok(answer),
            // The bytes are there; trouble with asking about them must not send them again. A refused key will not be
            // taken by asking on: the next transfer makes it the service's question.
            Err(error) if error.cause == Cause::Unauthorized || tokio::time::Instant::now() >= deadline => {
                tracing::info!(%error, "the service was not reached for its confirmation");
                return Ok(Confirmation::Pending);
            }
            Err(error) => tracing::debug!(%error, "the service has not confirmed"),
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(Confirmation::Pending);
        }
        run.sleep(CONFIRM_EVERY).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_grows_with_the_speed_and_is_cut_where_the_line_is_slow() {
        const MIB: u64 = 1024 * 1024;
        let millis = Duration::from_millis;
        let mut sizes = vec![FIRST_CHUNK];
        for _ in 0..4 {
            sizes.push(next_size(sizes[sizes.len() - 1], millis(10)));
        }
        assert_eq!(sizes, [8, 32, 64, 64, 64].map(|size| size * MIB), "no more than that is ever lost");
        assert_eq!(next_size(8 * MIB, millis(800)), 20 * MIB, "two seconds' worth");
        assert_eq!(next_size(8 * MIB + UNIT, millis(900)) % UNIT, 0, "the store's unit");
        assert_eq!(next_size(32 * MIB, millis(3000)), 32 * MIB);
        assert_eq!(next_size(32 * MIB, millis(9000)), 16 * MIB);
        assert_eq!(next_size(MIB, millis(60_000)), MIB);
    }
}
