//! An upload: sign, send, verify, confirm.
//!
//! The asset id is written down before the first byte goes out. How the bytes go is decided by the signed URL
//! (services.md §3.1), changed if the store's refusal says so, and remembered. A resumable session is continued only from
//! what the store says it has. "The store took it" is no proof: its checksums, its lengths and the service's metadata are.
//!
//! One file each for the phases: `sign` gives a [`sign::Target`], `whole` and `session` turn it into an
//! [`acknowledged::Taken`], `verify` turns that into the row's proof. Called by the queue alone. No lock is held over an
//! await, and the disk is asked by [`Run::disk`] alone. A cancel leaves what the store has confirmed, and the record in `resume/` that says where to go on.

mod acknowledged;
mod body;
pub(crate) mod chosen;
mod in_flight;
mod multipart;
pub(crate) mod sent_before;
mod session;
mod sign;
pub(crate) mod signed_url;
pub(crate) mod source_file;
mod verify;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use url::Url;

use crate::error::retry::longest_backoff;
use crate::error::{Cause, Error, Result};
use crate::http::address;
use crate::http::answer::{self, Refusal, RefusalKind};
use crate::http::checksum::{Algorithm, Digests, Hasher};
use crate::http::reach::Destination;
use crate::run::Run;
use crate::secret::header_map;
use crate::service::ServiceId;
use crate::services::{Confirmation, Service, refused};
use crate::task::{Task, UploadTask};
use crate::transfer::{Stage, Verified};
use crate::upload::acknowledged::{Doubt, Refused, Taken, too_early};
use crate::upload::sign::{Target, abandon, target};
use crate::upload::signed_url::{Method, SignedUrl};
use crate::upload::source_file::{SourceFile, file_name};
use crate::upload_method::UploadMethod;
use crate::words::{Peer, Phrase, Size, Way};

/// A URL that will be valid is waited for this long; clocks that differ by more are somebody's mistake.
const LONGEST_START: Duration = Duration::from_secs(300);
const MOST_REDIRECTS: u32 = 3;
/// The service is asked this long whether it has a file of which the store’s answer got lost, before it is sent again: where
/// it is slower than that, the store refuses the second one, or takes the same bytes once more.
const LOST_ANSWER: Duration = Duration::from_secs(4);

/// What one attempt leaves to the next within a run.
pub(crate) struct Kept {
    /// No attempt was made in this run yet.
    is_first: bool,
    source: Option<SourceFile>,
    /// The method after the store refused the first one, and those that it refused.
    flipped: Option<Method>,
    refused_methods: Vec<Method>,
    /// The refusal for which the method was changed: told, if the other one fares no better.
    first_refusal: Option<Box<Refusal>>,
    /// A way that was found, under which name: remembered when the file is proven.
    found: Option<(String, &'static str)>,
    /// Which of the types that may have been signed is the next to be tried.
    content_type: usize,
    /// Where the store wants the request instead.
    elsewhere: Option<Destination>,
    redirects: u32,
    /// All bytes of a plain request went out, the answer got lost: the file may be there.
    sent_all: bool,
    /// How often the store said that it has what it could not have.
    too_early: u32,
    lost_sessions: u32,
    /// How often the whole file was sent and refused.
    sent_in_vain: u32,
}

impl Kept {
    /// For a run that begins.
    pub fn new() -> Self {
        Self {
            is_first: true,
            source: None,
            flipped: None,
            refused_methods: Vec::new(),
            first_refusal: None,
            found: None,
            content_type: 0,
            elsewhere: None,
            redirects: 0,
            sent_all: false,
            too_early: 0,
            lost_sessions: 0,
            sent_in_vain: 0,
        }
    }
}

/// How an attempt ended that did not fail.
enum Outcome {
    /// The file is there.
    Proven,
    /// The store kept the form with the file in it.
    FormKept,
}

/// All that a request with the file is made of.
struct Sending<'a> {
    run: &'a Run,
    /// Who signed the URL; nobody, if it is the user's own.
    service: Option<&'a dyn Service>,
    target: &'a Target,
    source: &'a SourceFile,
    name: &'a str,
    /// The type that the user named.
    given_type: Option<String>,
    /// Headers that the user gave: secrets, for the signed URL's own origin.
    headers: HeaderMap,
}

impl Sending<'_> {
    fn url(&self) -> Result<Url> {
        let url = self.target.url.to_url();
        url.map_err(|why| Error::invalid(Phrase::SignedUrlUnusable).because(why))
    }

    /// Where it leads, and how far it may.
    fn destination(&self) -> Result<Destination> {
        Ok(Destination { url: self.url()?, reach: self.target.reach })
    }

    fn is_link(&self) -> bool {
        self.target.asset_id.is_none()
    }

    /// The user's headers, if this is where they belong.
    fn headers_for(&self, url: &Url) -> HeaderMap {
        let own = self.target.url.to_url().is_ok_and(|target| target.origin() == url.origin());
        if own { self.headers.clone() } else { HeaderMap::new() }
    }

    /// The types that may have been signed, the likeliest first; one where the signature leaves it open.
    fn content_types(&self) -> Vec<Option<String>> {
        if self.given_type.is_some() {
            return vec![self.given_type.clone()];
        }
        let url = &self.target.url;
        let guess = Some(mime_guess::from_path(self.name).first_or_octet_stream().to_string());
        let bytes = Some("application/octet-stream".to_owned());
        let mut types = match url.header_in_query("content-type") {
            Some(named) => vec![Some(named), guess, bytes, None],
            None if url.signs_type_silently() => vec![None, bytes, guess],
            None => vec![guess, bytes, None],
        };
        let mut seen = Vec::new();
        types.retain(|one| {
            !seen.contains(one) && {
                seen.push(one.clone());
                true
            }
        });
        if url.may_bind_type() {
            types = vec![types[0].clone(), None];
        } else if !url.binds_type() {
            types.truncate(1);
        }
        types
    }

    fn content_type(&self, kept: &Kept) -> Option<String> {
        self.content_types().get(kept.content_type).cloned().flatten()
    }
}

/// Makes one attempt at an upload; `kept` carries what is worth keeping to the next.
pub(crate) async fn run(run: &Run, kept: &mut Kept) -> Result<()> {
    let task = upload_task(run)?;
    let row = run.row();
    let service = if task.to_own_url { None } else { Some(run.or_stop(run.service()).await??) };
    if let (Some(reuse), Some(service)) = (&task.reuse, service.as_deref())
        && sent_before::ends_with(run, task.place(), reuse, service).await?
    {
        return Ok(());
    }
    // As it is on the disk: the row has what may be shown of it.
    let name = file_name(&task.path);
    let mut result = attempt(run, &task, service.as_ref(), kept, &name).await;
    if let Ok(Outcome::FormKept) = result {
        run.note(Phrase::FormWasKept);
        abandon(run, &row.service).await?;
        kept.source = None;
        run.counter.set(0);
        result = attempt(run, &task, service.as_ref(), kept, &name).await;
    }
    if let Err(error) = &result {
        // Whoever leads on names another place the next time, where that one is the trouble.
        (kept.elsewhere, kept.redirects) = (None, 0);
        match error.cause {
            // The user's own URL is all there is; a service can be asked for another.
            Cause::ServiceRefused if task.to_own_url => {}
            Cause::SourceChanged
            | Cause::StoredWrong
            | Cause::Expired
            | Cause::ServiceRefused
            | Cause::LedInward
            | Cause::Duplicate
                if error.cause != Cause::Duplicate || !task.to_own_url =>
            {
                // What was begun cannot be continued: the next attempt begins with a URL of its own.
                abandon(run, &row.service).await?;
                (kept.source, kept.sent_all) = (None, false);
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
    service: Option<&Arc<dyn Service>>,
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
    let service = service.map(|service| &**service);
    let service_id = run.row().service;
    if may_be_there
        && let (Some(service), Some(asset_id)) = (service, &target.asset_id)
        && let Ok(Confirmation::Success { size: Some(size) }) = if kept.sent_all {
            // It was the last byte whose answer got lost: the service may only be a moment behind.
            run.stage(Stage::Confirming);
            verify::confirm(run, service, asset_id, LOST_ANSWER).await
        } else {
            // A stop loses nothing: what may be there is in the record, and is asked about again.
            run.or_stop(service.confirm(asset_id)).await?
        }
        && size == source.size()
    {
        run.tell(Phrase::AnswerLost);
        verify::finish(run, service_id, source, &target, Some(service), None).await?;
        return Ok(Outcome::Proven);
    }
    let host = target.url.host().to_owned();
    run.update(|row| row.host = Some(host.into()));
    let headers = header_map(&record.headers)?;
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut sending = Sending {
        run,
        service,
        target: &target,
        source,
        name,
        given_type: task.content_type.clone().or(given),
        headers,
    };
    sending.headers.remove(CONTENT_TYPE);
    let taken = send(&sending, task, kept, &service_id).await?;
    kept.sent_all = false;
    unchanged(run, source).await?;
    match verify::finish(run, service_id.clone(), source, &target, service, Some(&taken)).await {
        Err(error)
            if error.cause == Cause::StoredWrong
                && verify::form_was_kept(run, service, &target, &taken).await? =>
        {
            // Known from here on, also after a kill: the next file goes the right way at once.
            run.queue().store.learn(learned_key(&service_id, &target), "put".to_owned());
            kept.refused_methods.push(Method::Post);
            kept.flipped = Some(Method::Put);
            Ok(Outcome::FormKept)
        }
        other => {
            other?;
            if let Some((key, word)) = kept.found.take()
                // A form may be what is kept now, instead of the file.
                && (word != "post" || run.row().verified.is_some_and(|proof| proof != Verified::None))
            {
                run.queue().store.learn(key, word.to_owned());
            }
            Ok(Outcome::Proven)
        }
    }
}

/// Under which name the method that worked is remembered: of a service's URLs, or of those at one host.
fn learned_key(service: &str, target: &Target) -> String {
    let inferred = target.url.infer(!target.form.is_empty());
    if target.asset_id.is_none() {
        format!("method/{service}/{}/{inferred:?}", target.url.place())
    } else {
        format!("method/{service}/{inferred:?}")
    }
}

fn upload_task(run: &Run) -> Result<UploadTask> {
    match run.task() {
        Some(Task::Upload(task)) => Ok(task),
        _ => Err(Error::internal("This is no upload")),
    }
}

/// Fails when the source is no longer the file that was opened.
async fn unchanged(run: &Run, source: &SourceFile) -> Result<()> {
    let source = source.clone();
    run.disk(move || source.check_unchanged()).await?
}

/// The source's digests, by whatever of it must still be read for that.
async fn digests_of(run: &Run, source: &SourceFile, wanted: Vec<Algorithm>) -> Result<Digests> {
    let (source, reader) = (source.clone(), run.clone());
    run.disk(move || source.digests(&wanted, || reader.goes_on())).await?
}

/// Opens the source and makes sure that it is still the file that was begun.
async fn open_source(run: &Run, task: &UploadTask, kept: &mut Kept) -> Result<SourceFile> {
    if let Some(source) = &kept.source {
        unchanged(run, source).await?;
        return Ok(source.clone());
    }
    let (path, chosen, own) = (task.path.clone(), task.chosen.clone(), run.queue().own_folder.clone());
    let source = run.disk(move || SourceFile::open(&path, chosen.as_ref(), &own)).await??;
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

// ---- send ----

async fn send(sending: &Sending<'_>, task: &UploadTask, kept: &mut Kept, service: &str) -> Result<Taken> {
    let Sending { run, target, source, .. } = *sending;
    let inferred = target.url.infer(!target.form.is_empty());
    let wanted = task.method.filter(|method| *method != UploadMethod::Auto).or_else(|| {
        let setting = run.settings().upload_method(service);
        (setting != UploadMethod::Auto).then_some(setting)
    });
    let learned_key = learned_key(service, target);
    let mut method = match (kept.flipped, wanted) {
        (Some(method), _) => method,
        (None, Some(UploadMethod::Put)) if inferred == Method::AzurePut => Method::AzurePut,
        (None, Some(UploadMethod::Put)) => Method::Put,
        (None, Some(UploadMethod::Post)) if inferred == Method::PostForm => Method::PostForm,
        (None, Some(UploadMethod::Post)) => Method::Post,
        (None, Some(UploadMethod::PostRaw)) => Method::PostRaw,
        (None, Some(UploadMethod::Resumable)) if inferred != Method::Session => Method::Resumable,
        _ => match run.queue().store.learned(&learned_key).as_deref() {
            Some("put") => Method::Put,
            Some("post") => Method::Post,
            Some("post-raw") => Method::PostRaw,
            _ => inferred,
        },
    };
    if target.url.takes_only_a_part() {
        return Err(Error::new(Cause::Unsupported, Phrase::UrlTakesOnePart).advise(Phrase::GetUrlForWhole));
    }
    check_signed_headers(&target.url, &sending.headers)?;
    // What it will name is computed while the bytes pass.
    let mut digests = target.url.answers_with().to_vec();
    if target.asset_id.is_some() && !digests.contains(&Algorithm::Sha256) {
        // By which the file is known again when it is to be sent once more.
        digests.push(Algorithm::Sha256);
    }
    source.also(&digests);
    loop {
        check_size(&target.url, method, source.size())?;
        let resumable = matches!(method, Method::Resumable | Method::Session);
        run.update(|row| row.resumable = resumable);
        run.stage(Stage::Sending);
        let result = if resumable {
            session::send(sending, method, kept).await
        } else {
            whole::send(sending, method, kept).await
        };
        let (refusal, headers) = match result {
            Ok(mut taken) => {
                if kept.flipped.is_some() || wanted.is_some() || method != Method::Post {
                    taken.form_size = None;
                }
                let was_found = kept.flipped.is_some() && wanted.is_none();
                if was_found || (wanted == Some(UploadMethod::PostRaw) && sending.is_link()) {
                    let word = match method {
                        Method::Put | Method::AzurePut => "put",
                        Method::PostRaw => "post-raw",
                        _ => "post",
                    };
                    kept.found = Some((learned_key, word));
                }
                run.queue().services.set_method(service, shown(method));
                return Ok(taken);
            }
            Err(Refused::Fault(error)) => return Err(error),
            Err(Refused::TooEarly) => {
                kept.too_early += 1;
                return Err(too_early(kept.too_early));
            }
            Err(Refused::Elsewhere(place, refusal, headers)) => {
                follow(sending, kept, &place, method, &refusal, &headers)?;
                run.counter.set(0);
                continue;
            }
            Err(Refused::ByStore(refusal, headers)) => (refusal, headers),
        };
        if let Some(error) = begins_later(&refusal, &headers, &target.url) {
            return Err(error);
        }
        if let Some(error) = bound_to_other_bytes(sending, &refusal).await? {
            return Err(error);
        }
        if let Some(region) = other_region(&refusal, &headers) {
            return Err(for_another_region(region));
        }
        if refusal.kind == RefusalKind::SignatureMismatch || binds_missing_type(&refusal) {
            let types = sending.content_types();
            if kept.content_type + 1 < types.len() {
                kept.content_type += 1;
                run.tell(Phrase::OtherType {
                    tried: types[kept.content_type].clone().unwrap_or_else(|| "-".to_owned()).into(),
                });
                run.counter.set(0);
                continue;
            }
            if target.url.binds_type() {
                let tried: Vec<String> = types.into_iter().flatten().collect();
                let mut error = store_refused(&refusal, service);
                error.what = Phrase::SignedForAnotherType { tried: tried.join(", ").into() }.into();
                error.advice = Some(Phrase::NameTheType.into());
                return Err(error);
            }
        }
        if kept.may_be_the_reason(&refusal) {
            if sending.is_link() {
                let mut error = store_refused(&refusal, service);
                (error.cause, error.what) = (Cause::Duplicate, Phrase::MayBeThere.into());
                return Err(error.advise(Phrase::LookThereFirst));
            }
            let doubt = Some(Doubt::Exists(refusal));
            let headers = HeaderMap::new();
            return Ok(Taken { headers, body: Vec::new(), form_size: None, doubt, of_chunk: true });
        }
        let other = kept.next_method(&refusal, method, &target.url);
        if let (None, Some(other)) = (wanted, other) {
            run.tell(Phrase::OtherMethod { method: Way(shown(method)), other: Way(shown(other)) });
            kept.refused_methods.push(method);
            kept.flipped = Some(other);
            kept.first_refusal.get_or_insert(refusal);
            method = other;
            run.counter.set(0);
            continue;
        }
        // What is wrong with the other way says less than what was wrong with the right one.
        let passes = matches!(refusal.kind, RefusalKind::ServerTrouble | RefusalKind::RateLimited);
        let is_about_way =
            refusal.code.is_none() || matches!(refusal.http_status, 403 | 404 | 405 | 415 | 501);
        let first = if is_about_way && !passes { kept.first_refusal.take() } else { None };
        let told = first.unwrap_or(refusal);
        let mut error = store_refused(&told, service);
        if !resumable {
            kept.sent_in_vain += 1;
            error.retry_after =
                error.retry_after.map(|asked| asked.max(floor(source.size(), kept.sent_in_vain)));
        }
        return Err(error);
    }
}

/// The shortest pause before a file is sent whole once more, however soon the store wants it: what it asks for is meant for
/// small requests, and "at once" would send the same bytes without a breath. The time that the file takes at 100 Mbit/s, at
/// least the nth of 1, 2, 4 … 60 seconds.
fn floor(size: u64, times: u32) -> Duration {
    const BYTES_IN_A_SECOND: u64 = 12_500_000;
    let of_size = Duration::from_millis(size.saturating_mul(1000) / BYTES_IN_A_SECOND);
    longest_backoff(times).max(of_size.min(longest_backoff(u32::MAX)))
}

impl Kept {
    /// Whether the store may refuse the file because it has it, from a request whose answer got lost.
    fn may_be_the_reason(&self, refusal: &Refusal) -> bool {
        // Of another way to send it the refusal says no more than that.
        let is_used_up = self.refused_methods.is_empty()
            && matches!(refusal.http_status, 403 | 404 | 405 | 409 | 410 | 412);
        self.sent_all
            && (refusal.kind == RefusalKind::Duplicate || is_used_up || names_duplicate(refusal))
            && !matches!(
                refusal.kind,
                RefusalKind::Expired
                    | RefusalKind::NotYetValid
                    | RefusalKind::SignatureMismatch
                    | RefusalKind::ServerTrouble
                    | RefusalKind::RateLimited
            )
    }

    /// The method to try after this refusal, if it is about the method. Each once at most; bare bytes by POST only where
    /// the store has shown that it takes neither a form nor a PUT.
    fn next_method(&self, refusal: &Refusal, sent: Method, url: &SignedUrl) -> Option<Method> {
        let other = signed_url::flips(refusal, sent, url.is_plain())?;
        if self.flipped.is_none() {
            return Some(other);
        }
        let form_refused = self.refused_methods.contains(&Method::Post);
        (form_refused && sent == Method::Put && !self.refused_methods.contains(&Method::PostRaw))
            .then_some(Method::PostRaw)
            .filter(|_| matches!(refusal.http_status, 405 | 501))
    }
}

/// The failure for a URL whose time has not come, if that is what the refusal is about: it is tried again when it has, by
/// the store's own clock.
fn begins_later(refusal: &Refusal, headers: &HeaderMap, url: &SignedUrl) -> Option<Error> {
    let may_be =
        matches!(refusal.http_status, 400 | 401 | 403) && refusal.kind != RefusalKind::SignatureMismatch;
    let times = url.starts_at().filter(|_| may_be).zip(answer::their_time(headers));
    let left = times.and_then(|(start, now)| start.duration_since(now).ok()).filter(|left| !left.is_zero());
    // Times are told in whole seconds.
    let left = left.map(|left| left + Duration::from_secs(1));
    if left.is_none() && refusal.kind != RefusalKind::NotYetValid {
        return None;
    }
    let wait = left.or(refusal.retry_after);
    let is_long = wait.is_some_and(|wait| wait > LONGEST_START);
    let cause = if is_long { Cause::ValidMuchLater } else { Cause::NotYetValid };
    let mut error = refused(refusal, Peer::store(), "upload");
    (error.cause, error.what, error.retry_after) = (cause, Phrase::SignedUrlNotYetValid.into(), wait);
    Some(error)
}

/// Supabase has a 400 for what is a 409.
fn names_duplicate(refusal: &Refusal) -> bool {
    refusal.code.as_deref().is_some_and(|code| matches!(code, "Duplicate" | "409"))
}

/// Google names the type as missing where it was signed and not sent.
fn binds_missing_type(refusal: &Refusal) -> bool {
    refusal.code.as_deref() == Some("MalformedSecurityHeader")
        && refusal.message.to_lowercase().contains("content-type")
}

/// The failure for a URL that was signed for other bytes: as kits do that put the checksum of "no file yet" into it.
async fn bound_to_other_bytes(sending: &Sending<'_>, refusal: &Refusal) -> Result<Option<Error>> {
    const ABOUT_CONTENT: [&str; 6] = [
        "BadDigest",
        "InvalidDigest",
        "InvalidRequest",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
        "ContentChecksumMismatch",
    ];
    let Some((header, bound)) = sending.target.url.bound_checksum() else { return Ok(None) };
    let Some(algorithm) = whole::digest_of(&header) else { return Ok(None) };
    if !refusal.code.as_deref().is_some_and(|code| ABOUT_CONTENT.contains(&code)) {
        return Ok(None);
    }
    let shown = |algorithm: Algorithm, digests: &Digests| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(digests.value(algorithm).unwrap_or_default())
    };
    if sending.source.size() > 0 && bound == shown(algorithm, &Hasher::new(&[algorithm]).finish()) {
        let error = Error::new(Cause::ServiceRefused, Phrase::SignedForEmptyFile);
        return Ok(Some(error.because(header).advise(Phrase::SignWithoutChecksum)));
    }
    let digests = digests_of(sending.run, sending.source, vec![algorithm]).await?;
    Ok((bound != shown(algorithm, &digests)).then(|| {
        Error::new(Cause::ServiceRefused, Phrase::SignedForOtherBytes)
            .because(header)
            .advise(Phrase::SignWithoutChecksum)
    }))
}

/// The region that the store names instead of the one that was signed for.
fn other_region(refusal: &Refusal, headers: &HeaderMap) -> Option<String> {
    const ABOUT_REGION: [&str; 5] = [
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "IllegalLocationConstraintException",
    ];
    if !refusal.code.as_deref().is_some_and(|code| ABOUT_REGION.contains(&code)) {
        return None;
    }
    let named = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok()).map(str::to_owned);
    named.or_else(|| {
        let (_, rest) = refusal.message.split_once("expecting '")?;
        Some(rest.split('\'').next()?.to_owned())
    })
}

fn for_another_region(region: String) -> Error {
    Error::new(Cause::ServiceRefused, Phrase::SignedForAnotherRegion { region: region.into() })
        .advise(Phrase::GetNewSignedUrl)
}

/// Goes where the store leads, where the signature holds there too; else says so.
fn follow(
    sending: &Sending<'_>,
    kept: &mut Kept,
    place: &Destination,
    method: Method,
    refusal: &Refusal,
    headers: &HeaderMap,
) -> Result<()> {
    kept.redirects += 1;
    let here = sending.url()?;
    let session_runs = method == Method::Session || sending.run.resume_record().session.is_some();
    let holds = place.url.origin() == here.origin() || !sending.target.url.binds_host();
    let is_safe = address::parse_secure(place.url.as_str()).is_ok();
    let asks_again = matches!(refusal.http_status, 307 | 308) && headers.contains_key(LOCATION);
    if asks_again && holds && is_safe && !session_runs && kept.redirects <= MOST_REDIRECTS {
        kept.elsewhere = Some(place.clone());
        return Ok(());
    }
    if let Some(region) = other_region(refusal, headers) {
        return Err(for_another_region(region));
    }
    let host = place.url.host_str().unwrap_or_default().to_owned();
    let mut error = Error::new(Cause::ServiceRefused, Phrase::StoreLeadsElsewhere { host: host.into() });
    error.http_status = Some(refusal.http_status);
    Err(error.because(format!("HTTP {}", refusal.http_status)).advise(Phrase::GetNewSignedUrl))
}

fn store_refused(refusal: &Refusal, service: &str) -> Error {
    let mut error = refused(refusal, Peer::store(), "upload");
    match refusal.kind {
        RefusalKind::Expired if ServiceId::from(service).is_any_link() => error.cause = Cause::LinkExpired,
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
        Method::PostRaw => UploadMethod::PostRaw,
        Method::Resumable | Method::Session => UploadMethod::Resumable,
    }
}

/// A header that was signed must be sent with the value that was signed: Ferry knows some, computes some, finds some in
/// the query, and is given others by the user.
fn check_signed_headers(url: &SignedUrl, given: &HeaderMap) -> Result<()> {
    const KNOWN: [&str; 6] = [
        "host",
        "content-type",
        "content-length",
        "x-goog-resumable",
        "x-ms-blob-type",
        "x-amz-content-sha256",
    ];
    let is_known = |name: &str| {
        KNOWN.contains(&name)
            || given.contains_key(name)
            || whole::digest_of(name).is_some()
            || url.header_in_query(name).is_some()
    };
    let unknown: Vec<String> = url.signed_headers().into_iter().filter(|name| !is_known(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(Cause::Unsupported, Phrase::UnknownSignedHeaders)
        .because(unknown.join(", "))
        .advise(Phrase::GetUrlWithoutHeaders))
}

/// What the store takes at most in one request is known before anything is sent.
fn check_size(url: &SignedUrl, method: Method, size: u64) -> Result<()> {
    match url.size_limit(method).filter(|limit| size > *limit) {
        Some(limit) => {
            Err(Error::new(Cause::TooLargeForStore, Phrase::LargerThanStoreTakes { limit: Size(limit) }))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_sent_whole_again_without_a_breath() {
        let seconds = |size, times| floor(size, times).as_secs();
        assert_eq!([1, 2, 3, 7, 1000].map(|times| seconds(1000, times)), [1, 2, 4, 60, 60]);
        assert_eq!([1, 7].map(|times| seconds(125_000_000, times)), [10, 60]);
        assert_eq!(seconds(u64::MAX, 1), 60);
    }
}
