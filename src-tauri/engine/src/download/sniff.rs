//! What a body is, by its first bytes: an error in JSON, a web page in place of a file, or the file.

use std::sync::Arc;

use http::StatusCode;
use url::Url;

use super::publish::of_another_size;
use super::{Kept, Open, endpoint, refusal_of, who};
use crate::error::{Cause, Error, Result};
use crate::filename;
use crate::files::folder::read_at;
use crate::files::part_file::PartFile;
use crate::http::answer;
use crate::http::body::Body;
use crate::http::head::{Answer, Facts};
use crate::http::verdict::{self, Verdict};
use crate::run::Run;
use crate::services::{Plan, Service};
use crate::task::DownloadTask;
use crate::words::Phrase;

/// A body that may be an error in JSON is read this far before it is believed to be a file.
const JSON_LIMIT: usize = 64 * 1024;
/// By so many bytes a web page has shown that it is one.
const PAGE_BEGINS_WITHIN: usize = 512;

/// Reads as much as is needed to know what the body is: an error in JSON, a web page, or a file.
pub(super) async fn first_bytes(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    facts: &Facts,
    body: &mut Body,
    service: &dyn Service,
) -> Result<()> {
    let stall = run.queue().http.limits.stall;
    let media_type = facts.media_type().unwrap_or_default();
    let attachment = is_attachment(facts);
    let is_json = answer::is_json(&media_type);
    let wanted = if is_json && !attachment { JSON_LIMIT } else { 1 };
    let length = |body: &Body| usize::try_from(body.seen_length()).unwrap_or(usize::MAX);
    while length(body) < wanted
        || (length(body) < PAGE_BEGINS_WITHIN && is_page(facts, &body.seen()).is_none())
    {
        if !run.or_stop(body.look(stall)).await?? {
            break;
        }
    }
    if is_json && !attachment && length(body) < JSON_LIMIT {
        let whole = body.seen();
        let is_file = plan.pages_welcome && (is_json_meant(task, plan) || !answer::json_says_failure(&whole));
        if !is_file && let Some(said) = answer::is_json_error(Some(&media_type), attachment, &whole) {
            return Err(refusal_of(service, &said, &endpoint(plan, &facts.url)));
        }
    }
    if !plan.pages_welcome
        && (page_type(facts) == Some(PageType::Page) || is_page(facts, &body.seen()) == Some(true))
    {
        return Err(page_instead(service));
    }
    if !plan.pages_welcome && length(body) == 0 && facts.total() != Some(0) {
        return Err(Error::new(Cause::CutShort, Phrase::SentNothing));
    }
    if plan.pages_welcome && is_no_text_meant(task, plan, facts) {
        let is_called_words = !attachment && is_markup(&media_type);
        // Scripts give their messages any type, that of the file included.
        if has_words_only(run, facts, body).await? && (is_called_words || is_refusal(&body.seen())) {
            return Err(words_instead(facts, &body.seen(), service));
        }
        if begins_like_page(&body.seen()) {
            return Err(page_instead(service));
        }
    }
    // Known before the rest of it is fetched.
    match (plan.expected_size, facts.total()) {
        (Some(listed), Some(named)) if listed != named => Err(of_another_size(listed, named)),
        _ => Ok(()),
    }
}

/// Whether a file of this name may be a message in its place, as far as the bytes with which it begins tell.
pub(super) fn may_be_message(name: &str, begun: &[u8]) -> bool {
    is_of_no_text(name) && !begun.is_empty() && is_plain_text(begun)
}

/// Whether what arrived under the name of a film, a picture or an archive is nothing but a short text: a length is no proof
/// then, as a message has one, too. Blocks for a moment.
pub(super) fn is_short_text(part: &PartFile, size: u64) -> bool {
    if size == 0 || size > JSON_LIMIT as u64 || !is_of_no_text(part.name()) {
        return false;
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    read_at(part.file(), &mut bytes, 0).is_ok() && is_plain_text(&bytes)
}

/// Whether bytes are a text and have not the mark of a format either, as a small PDF has.
fn is_plain_text(bytes: &[u8]) -> bool {
    is_text(bytes) && infer::get(bytes).is_none_or(|kind| kind.matcher_type() == infer::MatcherType::Text)
}

/// Whether a text says that something was refused or went wrong, or asks to sign in. None of these is a film.
fn is_refusal(words: &[u8]) -> bool {
    let text = String::from_utf8_lossy(words);
    let text = text.trim_start_matches('\u{feff}').trim();
    let said =
        serde_json::from_str(text).map_or_else(|_| verdict::of_text(text), |value| verdict::of_json(&value));
    said == Verdict::Failed
        || answer::json_says_failure(text.as_bytes())
        || answer::is_error_document(text)
        || answer::looks_like_page(text)
}

/// What an answer is if it is no file at all, though one was begun: a web page, a short message or nothing, where the bytes
/// that are here are of another kind. `None` if it may be the file.
pub(super) async fn no_file_instead(
    run: &Run,
    kept: &Kept,
    answer: &mut Answer,
    service: &dyn Service,
) -> Result<Option<Error>> {
    let Some(open) = kept.open.as_ref().filter(|open| open.have() > 0) else { return Ok(None) };
    let Answer { facts, body } = answer;
    if page_type(facts) == Some(PageType::Page) && !is_page_name(open.part.name()) {
        return Ok(Some(page_instead(service)));
    }
    if is_attachment(facts) || !has_words_only(run, facts, body).await? {
        return Ok(None);
    }
    let words = body.seen();
    let kind = facts.media_type().unwrap_or_default();
    if is_text(&first_bytes_of(run, open).await?) {
        // A text may well become another one: only what is called JSON is none, where no JSON was begun.
        let is_other = answer::is_json(&kind) && !is_json_name(open.part.name());
        return Ok(is_other.then(|| words_instead(facts, &words, service)));
    }
    let is_called_words = is_markup(&kind) || kind.starts_with("text/");
    let is_told_apart = facts.identity.can_be_shown();
    if words.is_empty() {
        // A file may have become empty; a server of files says then of which version it is.
        return Ok((!is_told_apart).then(|| Error::new(Cause::CutShort, Phrase::SentNothing)));
    }
    let is_message = is_called_words || !is_told_apart || begins_like_page(&words);
    Ok(is_message.then(|| words_instead(facts, &words, service)))
}

/// The first bytes of what was begun, as far as they are here.
async fn first_bytes_of(run: &Run, open: &Open) -> Result<Vec<u8>> {
    let here =
        open.stretches.iter().find(|stretch| stretch.start == 0).map_or(0, |first| first.hasher.bytes());
    let mut bytes = vec![0; usize::try_from(here).unwrap_or(usize::MAX).min(PAGE_BEGINS_WITHIN)];
    // What cannot be read is taken for no text, as nearly everything that is worth a resume.
    let file = Arc::clone(open.part.file());
    run.disk(move || if read_at(&file, &mut bytes, 0).is_ok() { bytes } else { vec![0] }).await
}

/// Reads on while it may be a message: whether the whole body is a short text, or nothing.
async fn has_words_only(run: &Run, facts: &Facts, body: &mut Body) -> Result<bool> {
    if facts.total().is_some_and(|total| total > JSON_LIMIT as u64) {
        return Ok(false);
    }
    let stall = run.queue().http.limits.stall;
    loop {
        let is_short = body.seen_length() <= JSON_LIMIT as u64;
        if !is_short || !is_text(&body.seen()) {
            return Ok(false);
        }
        if facts.total() == Some(body.seen_length()) || !run.or_stop(body.look(stall)).await?? {
            return Ok(true);
        }
    }
}

/// Whether bytes are the beginning of a text, or nothing.
fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && *byte != 0x1b;
    let is_utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !bytes.iter().any(is_control)
}

/// A message in place of a file.
fn words_instead(facts: &Facts, words: &[u8], service: &dyn Service) -> Error {
    if page_type(facts) == Some(PageType::Page) || begins_like_page(words) {
        return page_instead(service);
    }
    let said = answer::decode(StatusCode::OK, &facts.headers, words);
    let error = Error::new(Cause::BadResponse, Phrase::SentMessage { service: who(service) })
        .advise(Phrase::CheckSignInOrDirectLink);
    if said.message.is_empty() { error } else { error.because(said.message) }
}

/// Types in which servers and services write messages.
fn is_markup(media_type: &str) -> bool {
    answer::is_json(media_type)
        || matches!(media_type, "text/html" | "application/xhtml+xml" | "application/xml" | "text/xml")
        || media_type.ends_with("+xml")
}

fn begins_like_page(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins =
        |mark: &str| text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()));
    begins("<!doctype html") || begins("<html")
}

/// Whether a file was meant that is no text: by the name that it is to have, or by the link and where that led.
fn is_no_text_meant(task: &DownloadTask, plan: &Plan, facts: &Facts) -> bool {
    let declared = || filename::from_content_disposition(facts.disposition()?, "");
    match task.name.clone().or_else(declared) {
        Some(name) => is_no_text(&name),
        None => [&plan.fetch.url, &facts.url]
            .into_iter()
            .any(|url| last_segment(url).is_some_and(|name| is_no_text(&name))),
    }
}

fn last_segment(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    Some(percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned())
}

/// The name that the file is to have, or that the link speaks of.
fn meant(task: &DownloadTask, plan: &Plan) -> Option<String> {
    task.name.clone().or_else(|| last_segment(&plan.fetch.url))
}

fn ending(name: &str) -> Option<String> {
    name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())
}

fn is_json_meant(task: &DownloadTask, plan: &Plan) -> bool {
    meant(task, plan).is_some_and(|name| is_json_name(&name))
}

fn is_json_name(name: &str) -> bool {
    ending(name).is_some_and(|ending| {
        ending.ends_with("json") || matches!(&*ending, "map" | "har" | "ipynb" | "gltf")
    })
}

/// Whether no file of such a name is a text.
fn is_no_text(name: &str) -> bool {
    // Lists of films, drawings and pictures in letters, and what has the ending of a film by chance: `go.mod`, TypeScript,
    // schemas, the heads of raw pictures.
    const TEXTS: [&str; 36] = [
        "asx", "cgm", "csv", "cts", "dif", "dts", "eps", "fbs", "hdr", "json", "lsf", "lsx", "m3u", "m3u8",
        "m4u", "mod", "mts", "mxu", "nsc", "pbm", "pgm", "pic", "pls", "pnm", "ppm", "ram", "smd", "srt",
        "svg", "ts", "vtt", "wax", "wmx", "wvx", "xbm", "xpm",
    ];
    filename::is_no_page(name) && ending(name).is_some_and(|ending| !TEXTS.contains(&&*ending))
}

/// The same, of a kind that is known: anything may be called `.bin`.
fn is_of_no_text(name: &str) -> bool {
    is_no_text(name) && ending(name).is_some_and(|ending| ending != "bin")
}

fn is_attachment(facts: &Facts) -> bool {
    facts.disposition().is_some_and(filename::is_attachment)
}

/// What a head says about whether its body is a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageType {
    /// It is one.
    Page,
    /// It says nothing about the kind of the body.
    Untold,
}

/// Whether the body may be a web page, and none that is meant to be saved as a file.
fn page_type(facts: &Facts) -> Option<PageType> {
    if is_attachment(facts) {
        return None;
    }
    let Some(told) = facts.media_type() else { return Some(PageType::Untold) };
    matches!(told.as_str(), "text/html" | "application/xhtml+xml").then_some(PageType::Page)
}

/// Whether the body is a web page; `None` while too little of it is here. Some servers call everything they do not
/// know a page: its bytes must agree.
pub(super) fn is_page(facts: &Facts, begun: &[u8]) -> Option<bool> {
    let marks: &[&str] = match page_type(facts) {
        Some(PageType::Page) => &["<"],
        Some(PageType::Untold) => &["<!doctype html", "<html"],
        None => return Some(false),
    };
    let text = begun.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begun).trim_ascii_start();
    let agrees = |mark: &&str| {
        let shared = mark.len().min(text.len());
        text[..shared].eq_ignore_ascii_case(&mark.as_bytes()[..shared])
    };
    // A drawing, or data in XML, begins like a page; in XML only what follows tells.
    if agrees(&"<svg") {
        return (text.len() >= 4).then_some(false);
    }
    if agrees(&"<?xml") {
        let has = |mark: &[u8]| text.windows(mark.len()).any(|word| word.eq_ignore_ascii_case(mark));
        let is_html = has(b"<html") || has(b"<!doctype html");
        return (is_html || text.len() >= PAGE_BEGINS_WITHIN).then_some(is_html);
    }
    let mark = marks.iter().find(|mark| agrees(mark));
    mark.map_or(Some(false), |mark| (text.len() >= mark.len()).then_some(true))
}

fn is_page_name(name: &str) -> bool {
    filename::of_page(name.to_owned()) == name
}

/// Whether a web page can be what the user wants: not when the name that is wanted, or the link, or what came before
/// is something else.
pub(super) fn page_was_meant(task: &DownloadTask, plan: &Plan, kept: &Kept) -> bool {
    let begun = kept.open.as_ref().map(|open| open.part.name());
    begun.is_none_or(is_page_name)
        && !filename::link_is_no_page(&plan.fetch.url)
        && !task.name.as_deref().is_some_and(filename::is_no_page)
}

/// The refusal of a web page. A network that one has not signed in to sends it in place of everything.
pub(super) fn page_instead(service: &dyn Service) -> Error {
    let advice = if service.about().is_any_link() {
        Phrase::CheckSignInOrDirectLink
    } else {
        Phrase::CheckAddressAndSignIn
    };
    Error::new(Cause::BadResponse, Phrase::SentPage { service: who(service) }).advise(advice)
}
