//! What a body is, by its first bytes: an error in JSON, a web page in place of a file, or the file.

use super::{Kept, endpoint, refusal_of, who};
use crate::error::{Cause, Error, Result};
use crate::filename;
use crate::http::answer;
use crate::http::body::Body;
use crate::http::head::Facts;
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
        if let Some(said) = answer::is_json_error(Some(&media_type), attachment, &whole) {
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
    Ok(())
}

/// Whether an answer is called a page where a file that is none was begun.
pub(super) fn is_page_in_place_of_file(facts: &Facts, kept: &Kept) -> bool {
    page_type(facts) == Some(PageType::Page)
        && kept.open.as_ref().is_some_and(|open| !is_page_name(open.part.name()))
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
    let advice = if service.about().id == "link" {
        Phrase::CheckSignInOrDirectLink
    } else {
        Phrase::CheckAddressAndSignIn
    };
    Error::new(Cause::BadResponse, Phrase::SentPage { service: who(service) }).advise(advice)
}
