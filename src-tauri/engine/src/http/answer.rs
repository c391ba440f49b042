//! Reading the answers of services and stores: one decoder for every spelling of an error.
//!
//! The order is that of the services' documents: the envelope, FastAPI's `detail`, `application/problem+json`,
//! Spring, the stores' XML, then plain text or a page's title. Whatever comes out is [`Foreign`], at most 500 characters.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use quick_xml::events::Event;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::foreign::Foreign;
use crate::http::packed::unpacked;
use crate::http::range::retry_after;
use crate::http::refusals::{GENERAL, Row, look_up, look_up_own, short_number};
use crate::http::verdict::{self, Verdict};
use crate::redaction::is_no_word;

/// The longest message that is shown, in characters.
pub(crate) const LONGEST_MESSAGE: usize = 500;
/// The longest code or request id that is shown, in characters.
pub(crate) const LONGEST_LABEL: usize = 128;

/// What a service or a store said instead of doing what was asked. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub http_status: u16,
    /// The other side's own code, as text: `0401`, `SignatureDoesNotMatch`.
    pub code: Option<Foreign>,
    /// Its words, or those of HTTP where it had none.
    pub message: Foreign,
    /// What its maintainers need to find the request again.
    pub request_id: Option<Foreign>,
    /// What it means.
    pub kind: RefusalKind,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What it means by the table of the service that it came from; `None` where that says nothing of its own.
    pub fn meaning_in(&self, rows: &[Row]) -> Option<RefusalKind> {
        // Nothing that was understood as a broken contract is a refusal by the service's own rules.
        if self.kind == RefusalKind::NotAsDocumented {
            return None;
        }
        look_up_own(rows, self.http_status, self.code.as_deref().unwrap_or_default(), &self.message)
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The key is missing or refused.
    Unauthorized,
    /// Too many requests.
    RateLimited,
    /// No such item.
    NotFound,
    /// No such item, or trouble that passes: one code for both.
    NotFoundOrTrouble,
    /// Too many requests, or one that is not valid: the same answer for both.
    LimitOrInvalid,
    /// The account's balance, its points or its space are used up.
    QuotaExceeded,
    /// Somebody is to pay first (402), and no account with a balance is known.
    PaymentAsked,
    /// The account is disabled, or this computer's address is not let in.
    Disabled,
    /// The key is good, and not for this.
    NoPermission,
    /// The item is not ready, or not known: only the list tells.
    NotReady,
    /// The signed URL has ended.
    Expired,
    /// The signed URL begins later, by the clock of whoever answered.
    NotYetValid,
    /// The store computed another signature.
    SignatureMismatch,
    /// Not with this method: a form where a PUT belongs, or the other way round.
    WrongMethod,
    /// Not of this type.
    TypeNotTaken,
    /// Not of this size.
    TooLarge,
    /// It is there already; of a deletion: it is gone already.
    Duplicate,
    /// What came does not have the digest that was sent with it.
    DigestRefused,
    /// The store keeps this in another region.
    WrongRegion,
    /// It lies in an archive and has to be brought back first.
    Archived,
    /// The request is wrong in another way; trying the same again is useless.
    MalformedRequest,
    /// No refusal at all: a success that is not what the service's documents say, as a page to sign in to a network.
    NotAsDocumented,
    /// The other side's own trouble; likely to pass.
    ServerTrouble,
    /// Anything else.
    Other,
}

/// What an error body said, before it is judged.
#[derive(Default)]
struct Said {
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    /// A word for the reason, beside a code that is only HTTP's.
    reason: String,
    /// What the times that the store names, or its reason for a failed authentication, say of the URL.
    times: Option<RefusalKind>,
    /// When the URL begins.
    begins: Option<SystemTime>,
}

/// Decodes an answer that is an error, whatever form it has, packed or not. Only the first 64 KiB of it are looked at.
pub(crate) fn decode(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let body = unpacked(headers, body, super::ERROR_BODY_LIMIT);
    let body = &body[..body.len().min(super::ERROR_BODY_LIMIT)];
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = read_body(content_type, body);
    judge(status, headers, said)
}

/// A code or a flag of an envelope has no more bytes than this.
const LONGEST_WORD: usize = 1024;

/// The `data` of an envelope, when it says success: HTTP 2xx, `failed` not true, `success` not false, and a `code`
/// that means success in one of its spellings ([`verdict::of_code`]). Services disagree about the spelling, and clients that accept only one break.
pub(crate) fn envelope_data<T: DeserializeOwned>(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<T, Refusal> {
    // Done, and nothing to say: a 204 to a deletion.
    if status == StatusCode::NO_CONTENT && body.trim_ascii().is_empty() {
        return serde_json::from_value(Value::Null)
            .map_err(|error| not_as_documented(status, headers, body, &error));
    }
    let Ok(envelope) = serde_json::from_slice::<HashMap<String, &RawValue>>(body) else {
        let mut refusal = decode(status, headers, body);
        if status.is_success() && refusal.kind != RefusalKind::NotReady {
            refusal.kind = RefusalKind::NotAsDocumented;
        }
        return Err(refusal);
    };
    // Only what is a word: as values, a few megabytes of nested trifles would become hundreds.
    let said = ["code", "failed", "success"].into_iter().filter_map(|name| {
        let text = envelope.get(name)?.get();
        let value = if text.len() <= LONGEST_WORD { serde_json::from_str(text).ok()? } else { Value::Null };
        Some((name.to_owned(), value))
    });
    if !status.is_success() || !says_success(&said.collect()) {
        return Err(decode(status, headers, body));
    }
    let data = envelope.get("data").map_or("null", |data| data.get());
    serde_json::from_str(data).map_err(|error| not_as_documented(status, headers, body, &error))
}

/// An answer that says success and holds something else. One that was only accepted (202) may hold it later.
fn not_as_documented(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    error: &serde_json::Error,
) -> Refusal {
    let mut refusal = decode(status, headers, body);
    if status != StatusCode::ACCEPTED {
        refusal.kind = RefusalKind::NotAsDocumented;
        refusal.message = Foreign::limited(&error.to_string(), LONGEST_MESSAGE);
    }
    refusal
}

/// Whether a 2xx answer to a download is a JSON error rather than the file: an object with `code` and `msg`, or
/// `success`/`failed`, that is not declared an attachment. A file of one's own may be JSON too: `None` means save it.
pub(crate) fn is_json_error(
    content_type: Option<&str>,
    has_attachment: bool,
    body: &[u8],
) -> Option<Refusal> {
    if has_attachment || !content_type.is_some_and(is_json) {
        return None;
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return None };
    let said = envelope(&object)?;
    Some(judge(StatusCode::OK, &HeaderMap::new(), said))
}

/// Whether a body is an envelope that says that something went wrong. A report of one's own has a `code` or a `success`
/// in it, too.
pub(crate) fn json_says_failure(body: &[u8]) -> bool {
    serde_json::from_slice::<Map<String, Value>>(body).is_ok_and(|object| !says_success(&object))
}

/// Whether a media type means JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Whether the envelope says that all went well.
fn says_success(envelope: &Map<String, Value>) -> bool {
    let is = |name: &str, wanted: bool| match envelope.get(name) {
        Some(Value::Bool(value)) => *value == wanted,
        Some(Value::String(text)) => text.trim().eq_ignore_ascii_case(if wanted { "true" } else { "false" }),
        _ => false,
    };
    let code = match envelope.get("code").and_then(verdict::of_code) {
        None | Some(Verdict::Well) => true,
        // Only the flag tells what a number of the service's own means.
        Some(Verdict::Unclear) => is("success", true),
        Some(_) => false,
    };
    code && !is("failed", true) && !is("success", false)
}

/// A code as text, whether it came as a number or a string.
fn code_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(match number.as_f64() {
            // 200.0 is how some serializers write 200.
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        }),
        Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// A non-empty string among these fields.
fn text_of(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let found =
        names.iter().find_map(|name| object.get(*name)?.as_str().filter(|text| !text.trim().is_empty()));
    found.map(str::to_owned)
}

fn request_id_of(object: &Map<String, Value>) -> Option<String> {
    text_of(object, &["requestId", "request_id", "RequestId", "traceId", "trace_id"])
}

fn read_body(content_type: Option<&str>, body: &[u8]) -> Said {
    let text = String::from_utf8_lossy(body);
    // Azure's XML starts with a byte order mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    // serde_json stops at 128 levels, so a nesting bomb is merely text.
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => return read_json(&object),
        // One entry for each file: the first that says no.
        Ok(Value::Array(entries)) => {
            let refused = entries.iter().find(|entry| verdict::of_json(entry) == Verdict::Failed);
            if let Some(object) = refused.and_then(Value::as_object) {
                return read_json(object);
            }
        }
        Ok(Value::String(message)) => return Said { message, ..Said::default() },
        _ => {}
    }
    if let Some(said) = read_xml(text) {
        return said;
    }
    let is_page =
        content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("html")) || looks_like_page(text);
    let message = if is_page {
        page_title(text)
    } else if text.starts_with('<') {
        // XML of another kind, or with a document type: not for people, and who knows what it echoes.
        String::new()
    } else {
        text.to_owned()
    };
    Said { message, ..Said::default() }
}

fn read_json(object: &Map<String, Value>) -> Said {
    envelope(object)
        .or_else(|| fast_api(object))
        .or_else(|| problem(object))
        .or_else(|| spring(object))
        .unwrap_or_else(|| {
            let said = any_json(object);
            if said.message.is_empty() && said.code.is_none() {
                // `Message`, `ErrorCode`: the same names as others write them.
                let lower = object.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
                return any_json(&lower.collect());
            }
            said
        })
}

/// `{"code":…,"msg":…}`, with or without `success` and `failed`.
fn envelope(object: &Map<String, Value>) -> Option<Said> {
    let has = |name: &str| object.contains_key(name);
    let is_envelope = (has("code") && has("msg")) || has("success") || has("failed");
    if !is_envelope {
        return None;
    }
    Some(Said {
        code: object.get("code").and_then(code_text).filter(|code| !code.is_empty()),
        message: text_of(object, &["msg", "message", "error", "detail"]).unwrap_or_default(),
        request_id: request_id_of(object),
        ..Said::default()
    })
}

/// FastAPI: `{"detail": "text"}` or, for validation, `{"detail": [{"loc": […], "msg": …, "type": …}]}`.
fn fast_api(object: &Map<String, Value>) -> Option<Said> {
    // A problem document has a `detail` too, and says more with its title.
    if object.contains_key("title") {
        return None;
    }
    let (code, message) = match object.get("detail")? {
        Value::String(text) => (error_word(object), text.clone()),
        Value::Array(items) => {
            (None, items.iter().take(5).filter_map(complaint).collect::<Vec<_>>().join("; "))
        }
        Value::Object(inner) => {
            let code = inner.get("code").and_then(code_text);
            (code, text_of(inner, &["msg", "message", "error"]).unwrap_or_default())
        }
        _ => return None,
    };
    Some(Said { code, message, request_id: request_id_of(object), ..Said::default() })
}

/// One entry of a validation error: `body.url: Field required`.
fn complaint(item: &Value) -> Option<String> {
    let message = item.get("msg")?.as_str()?;
    let place: Vec<String> = item
        .get("loc")
        .and_then(Value::as_array)
        .map(|parts| parts.iter().filter_map(code_text).collect())
        .unwrap_or_default();
    Some(if place.is_empty() { message.to_owned() } else { format!("{}: {message}", place.join(".")) })
}

/// RFC 9457: `{"type":…,"title":…,"status":…,"detail":…}`.
fn problem(object: &Map<String, Value>) -> Option<Said> {
    let title = text_of(object, &["title"])?;
    let message = match text_of(object, &["detail"]) {
        Some(detail) if detail != title => format!("{title}: {detail}"),
        _ => title,
    };
    let code = object.get("code").and_then(code_text);
    Some(Said { code, message, request_id: request_id_of(object), ..Said::default() })
}

/// Spring: `{"timestamp":…,"path":…,"status":404,"error":"Not Found","requestId":…}`.
fn spring(object: &Map<String, Value>) -> Option<Said> {
    if !object.contains_key("timestamp") || !object.contains_key("status") {
        return None;
    }
    let message = text_of(object, &["message", "error"]).unwrap_or_default();
    Some(Said { message, request_id: request_id_of(object), ..Said::default() })
}

/// `{"error":"ExpiredRequest","detail":"…"}`, as RFC 6749 §5.2 has it too: one word beside a text is a code.
fn error_word(object: &Map<String, Value>) -> Option<String> {
    let word = text_of(object, &["error"])?;
    let beside =
        ["detail", "error_description", "message", "msg"].iter().any(|name| object.contains_key(*name));
    (beside && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .then_some(word)
}

/// Anything else: Google's `{"error":{"code":…,"message":…,"status":…}}`, `{"error":"…"}`, `{"message":"…"}`.
fn any_json(object: &Map<String, Value>) -> Said {
    let inner = object.get("error").and_then(Value::as_object).unwrap_or(object);
    let code = ["code", "errcode", "errno", "error_code"].iter().find_map(|name| inner.get(*name));
    let first = || match object.get("errors")?.as_array()?.first()? {
        Value::String(text) => Some(text.clone()),
        Value::Object(error) => text_of(error, &["message", "msg", "detail", "title"]),
        _ => None,
    };
    Said {
        code: code.and_then(code_text).or_else(|| error_word(inner)),
        message: text_of(inner, &["message", "msg", "error_description", "errmsg", "error", "reason"])
            .or_else(first)
            .unwrap_or_default(),
        request_id: request_id_of(object),
        reason: reason_of(inner).unwrap_or_default(),
        ..Said::default()
    }
}

/// Google's `"errors":[{"reason":"rateLimitExceeded",…}]`.
fn reason_of(error: &Map<String, Value>) -> Option<String> {
    text_of(error.get("errors")?.as_array()?.first()?.as_object()?, &["reason"])
}

/// A store's `<Error><Code>…</Code><Message>…</Message>…</Error>`, also inside `<ErrorResponse>`.
///
/// No DTD, no entities but XML's own five: a document that declares more is not read at all. Of the elements only
/// those that are needed are looked at; `StringToSign`, `CanonicalRequest` and their kin give the signature away.
fn read_xml(text: &str) -> Option<Said> {
    // Whether it is a page shows itself at its root: words of a page within an error must not make it one, or all that
    // the store echoes of the signature would be the page's text.
    if !text.starts_with('<') {
        return None;
    }
    let mut reader = quick_xml::Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut said = Said::default();
    let mut details = String::new();
    let mut times = Times::default();
    let mut seen = false;
    loop {
        let piece = match reader.read_event() {
            Ok(Event::Start(element)) => {
                path.push(element.local_name().as_ref().to_owned());
                String::new()
            }
            Ok(Event::End(_)) => {
                path.pop();
                continue;
            }
            Ok(Event::Empty(element)) => {
                seen |= path.is_empty() && element.local_name().as_ref() == "Error";
                continue;
            }
            Ok(Event::Text(text)) => text.xml10_content().into_owned(),
            Ok(Event::CData(text)) => text.xml10_content().into_owned(),
            Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                Ok(Some(character)) => character.to_string(),
                _ => quick_xml::escape::resolve_xml_entity(&reference.xml10_content())
                    .unwrap_or_default()
                    .to_owned(),
            },
            Ok(Event::DocType(_)) if !seen => return None,
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => continue,
            // A body cut at 64 KiB ends in the middle, or it stops being XML: what was read so far counts.
            Ok(Event::Eof | Event::DocType(_)) | Err(_) => break,
        };
        // Nothing that is needed lies deeper: a nesting bomb costs no more than its length.
        if path.len() > 3 {
            continue;
        }
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (["Error", rest @ ..] | ["ErrorResponse", "Error", rest @ ..]) = names.as_slice() else {
            continue;
        };
        seen = true;
        match rest {
            ["Code"] => said.code.get_or_insert_default().push_str(&piece),
            ["Message"] => said.message.push_str(&piece),
            ["Details"] => details.push_str(&piece),
            ["RequestId"] => said.request_id.get_or_insert_default().push_str(&piece),
            ["AuthenticationErrorDetail"] => times.detail.push_str(&piece),
            ["Expires" | "ServerTime"] => times.names_expiry = true,
            ["X-Amz-Date"] => times.signed_at.push_str(&piece),
            _ => {}
        }
    }
    if !details.trim().is_empty() && details != said.message {
        said.message = format!("{} {details}", said.message);
    }
    said.code = said.code.map(|code| code.trim().to_owned()).filter(|code| !code.is_empty());
    times.judge(&mut said);
    seen.then_some(said)
}

/// What a store's XML says of the times of a signed URL.
#[derive(Default)]
struct Times {
    /// S3 has one code for "no right" and "not at this time"; only the latter names both times.
    names_expiry: bool,
    /// When S3's URL was signed, in milliseconds since 1970, where its time has not come yet.
    signed_at: String,
    /// Azure's reason for a failed authentication.
    detail: String,
}

impl Times {
    fn judge(&self, said: &mut Said) {
        match said.code.as_deref() {
            Some("AccessDenied") if self.names_expiry => {
                let message = said.message.to_lowercase();
                let is_early = message.contains("not yet valid") || message.contains("not valid yet");
                said.times = Some(if is_early { RefusalKind::NotYetValid } else { RefusalKind::Expired });
                if is_early && let Ok(millis) = self.signed_at.trim().parse::<u64>() {
                    said.begins = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
                }
            }
            // Azure has one code for a wrong signature, an early URL and a late one.
            Some("AuthenticationFailed") if self.detail.contains("did not match") => {
                said.times = Some(RefusalKind::SignatureMismatch);
            }
            // "Signature not valid in the specified time frame: Start [date] - Expiry [date] - Current [date]"
            Some("AuthenticationFailed") => {
                let start = dated(&self.detail, "Start [");
                if start > dated(&self.detail, "Current [") {
                    (said.times, said.begins) = (Some(RefusalKind::NotYetValid), start);
                }
            }
            _ => {}
        }
    }
}

/// The time in brackets after this word.
fn dated(text: &str, word: &str) -> Option<SystemTime> {
    let (_, rest) = text.split_once(word)?;
    httpdate::parse_http_date(rest.split(']').next()?.trim()).ok()
}

/// Whether a body is a store's XML error.
pub(crate) fn is_error_document(text: &str) -> bool {
    read_xml(text).is_some()
}

/// The title of a page that asks for a name and a password instead of answering: of a network, or of a service.
pub(crate) fn sign_in_page(headers: &HeaderMap, text: &str) -> Option<Foreign> {
    const WORDS: [&str; 7] =
        ["sign in", "sign-in", "signin", "log in", "login", "captive portal", "authentication"];
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_page = declared.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    if !is_page && !looks_like_page(text) {
        return None;
    }
    let title = Foreign::limited(&page_title(text), LONGEST_LABEL);
    let (lower, page) = (title.to_lowercase(), text.to_ascii_lowercase());
    let asks =
        ["type=\"password\"", "type='password'", "type=password"].iter().any(|field| page.contains(field));
    (asks || WORDS.iter().any(|word| lower.contains(word))).then_some(title)
}

/// Whether a text is a web page, by its beginning.
pub(crate) fn looks_like_page(text: &str) -> bool {
    let start: String = text.chars().take(200).collect::<String>().to_ascii_lowercase();
    match start.find("<!doctype") {
        Some(at) => start[at..].starts_with("<!doctype html"),
        None => ["<html>", "<html ", "<head>"].iter().any(|tag| start.contains(tag)),
    }
}

/// The title of a page, or its text where it has none.
fn page_title(page: &str) -> String {
    // Lower-casing ASCII keeps every offset.
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let open = start + lower[start..].find('>')? + 1;
        let close = open + lower[open..].find('<').unwrap_or(lower.len() - open);
        Some(page[open..close].trim()).filter(|title| !title.is_empty())
    });
    plain_text(match title {
        Some(title) => title.to_owned(),
        None => without_tags(page, &lower),
    })
}

/// What a page says to those who read it.
pub(crate) fn page_text(page: &str) -> String {
    plain_text(without_tags(page, &page.to_ascii_lowercase()))
}

/// What stands out on a page: its title and headings, or all of it where that is not much.
pub(crate) fn page_headings(page: &str) -> Vec<String> {
    /// A page that says no more than this says it at once.
    const SHORT: usize = 200;
    const MOST: usize = 8;
    let lower = page.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in ["title", "h1", "h2"] {
        let mut at = 0;
        while let Some(start) = lower[at..].find(&format!("<{name}")).map(|place| at + place)
            && found.len() < MOST
            && let Some(open) = lower[start..].find('>').map(|place| start + place + 1)
        {
            let close = lower[open..].find(&format!("</{name}")).map_or(lower.len(), |place| open + place);
            found.push(plain_text(without_tags(&page[open..close], &lower[open..close])));
            at = close;
        }
    }
    let all = page_text(page);
    if all.chars().count() <= SHORT {
        found.push(all);
    }
    found
}

fn plain_text(text: String) -> String {
    // Ampersands last, or `&amp;lt;` would become `<`.
    let named =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'"), ("&nbsp;", " ")];
    named.iter().fold(text, |text, (name, sign)| text.replace(name, sign)).replace("&amp;", "&")
}

fn without_tags(page: &str, lower: &str) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(open) = page[at..].find('<').map(|found| at + found) {
        text.push_str(&page[at..open]);
        text.push(' ');
        // What scripts and style sheets hold is not for people: on to the tag that closes them.
        let skipped = ["script", "style"].into_iter().find(|name| lower[open + 1..].starts_with(name));
        let tag = match skipped {
            Some(name) => lower[open..].find(&format!("</{name}")).map(|found| open + found),
            None => Some(open),
        };
        let end = tag.and_then(|tag| Some(tag + page[tag..].find('>')? + 1));
        let Some(end) = end else { return text };
        at = end;
    }
    text.push_str(&page[at..]);
    text
}

fn judge(status: StatusCode, headers: &HeaderMap, said: Said) -> Refusal {
    let mut said = said;
    if said.code.is_none() {
        // Azure says it here also where there is no body.
        let code = headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
        said.code = code.map(str::to_owned);
    }
    let kind = classify(status, &said);
    let mut message = Foreign::limited(&said.message, LONGEST_MESSAGE);
    if message.is_empty() && !status.is_success() {
        message = status.canonical_reason().unwrap_or_default().into();
    }
    // Not `X-GUploader-UploadID`: that one is the session's secret itself.
    let in_headers =
        ["x-request-id", "request-id", "x-amz-request-id", "x-ms-request-id", "x-correlation-id", "cf-ray"]
            .iter()
            .find_map(|name| headers.get(*name)?.to_str().ok());
    let request_id = said.request_id.as_deref().or(in_headers).map(|id| Foreign::limited(id, LONGEST_LABEL));
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Refusal {
        http_status: status.as_u16(),
        code: said
            .code
            .filter(|code| !is_no_word(code))
            .map(|code| Foreign::limited(&code, LONGEST_LABEL))
            .filter(|code| !code.is_empty()),
        message,
        request_id: request_id.filter(|id| !id.is_empty()),
        kind,
        // By the clock of whoever asks for it: this computer's may be off by a day.
        retry_after: wait
            .and_then(|value| retry_after(value, their_time(headers).unwrap_or_else(SystemTime::now)))
            .or_else(|| said.begins?.duration_since(their_time(headers)?).ok()),
    }
}

/// What time it is for whoever answered.
pub(crate) fn their_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

fn classify(status: StatusCode, said: &Said) -> RefusalKind {
    if let Some(kind) = said.times {
        return kind;
    }
    let code = said.code.as_deref().unwrap_or_default();
    // Google's JSON has HTTP's status for a code, and its own word for the reason.
    let named = look_up(GENERAL, 0, &said.reason, &said.message).filter(|_| !said.reason.is_empty());
    let known = named.or_else(|| look_up(GENERAL, status.as_u16(), code, &said.message));
    known.unwrap_or_else(|| {
        let number = short_number(code).filter(|_| status.is_success()).unwrap_or(status.as_u16());
        if (500..600).contains(&number) { RefusalKind::ServerTrouble } else { RefusalKind::Other }
    })
}

/// For `#[serde(default, deserialize_with = "number_or_string")]`: a whole number that may come as text
/// (`"file_size":"133652816"`); null and an empty string are nothing.
pub(crate) fn number_or_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        Value::String(text) => {
            text.trim().parse().map(Some).map_err(|_| D::Error::custom("a number was expected"))
        }
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| {
                // Some serializers write 5 as 5.0.
                let float = number.as_f64()?;
                (float.fract() == 0.0 && (0.0..9e15).contains(&float)).then_some(float as u64)
            });
            whole.map(Some).ok_or_else(|| D::Error::custom("a whole number was expected"))
        }
        _ => Err(D::Error::custom("a number was expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Row {
        name: String,
        /// Whose table is asked first; absent: nobody's.
        service: Option<String>,
        status: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        body: String,
        expected: Expected,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Expected {
        kind: String,
        code: Option<String>,
        message: String,
        request_id: Option<String>,
        retry_after: Option<u64>,
    }

    fn status(code: u16) -> StatusCode {
        StatusCode::from_u16(code).unwrap()
    }

    #[test]
    fn every_spelling_of_an_error_is_understood() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/answers.json"));
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        for row in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in &row.headers {
                headers
                    .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            let refusal = decode(status(row.status), &headers, row.body.as_bytes());
            assert!(!format!("{refusal:?}").contains("MARKED-SECRET"), "{}: {refusal:?}", row.name);
            assert_eq!(refusal.http_status, row.status);
            let rows =
                row.service.as_deref().map_or(&[][..], |id| crate::services::kind(id).unwrap().refusals);
            let got = Expected {
                kind: format!("{:?}", refusal.meaning_in(rows).unwrap_or(refusal.kind)),
                code: refusal.code.map(String::from),
                message: refusal.message.into(),
                request_id: refusal.request_id.map(String::from),
                retry_after: refusal.retry_after.map(|wait| wait.as_secs()),
            };
            assert_eq!(got, row.expected, "{}", row.name);
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Data {
        #[serde(default, deserialize_with = "number_or_string")]
        size: Option<u64>,
    }

    fn data(code: u16, body: &str) -> Result<Data, Refusal> {
        envelope_data(status(code), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn success_has_many_spellings() {
        for code in ["200", "\"200\"", "200.0", "\"0000\"", "0", "\"0\"", "\"\"", "null"] {
            let body = format!("{{\"code\":{code},\"msg\":\"success\",\"data\":{{\"size\":\"5\"}}}}");
            assert_eq!(data(200, &body), Ok(Data { size: Some(5) }), "{code}");
        }
        for body in [
            "{\"data\":{\"size\":5}}",
            "{\"code\":200,\"success\":true,\"failed\":false,\"data\":{\"size\":5.0}}",
        ] {
            assert_eq!(data(201, body), Ok(Data { size: Some(5) }), "{body}");
        }
        assert!(envelope_data::<()>(status(204), &HeaderMap::new(), b"{\"code\":200}").is_ok());
    }

    #[test]
    fn everything_else_is_an_error() {
        for body in [
            "{\"code\":\"0001\",\"msg\":\"no\",\"data\":{}}",
            "{\"code\":400,\"msg\":\"no\",\"data\":{}}",
            "{\"code\":200,\"msg\":\"no\",\"success\":false,\"data\":{}}",
            "{\"code\":200,\"msg\":\"no\",\"failed\":true,\"data\":{}}",
            "{\"code\":200,\"msg\":\"no\",\"failed\":\"True\",\"data\":{}}",
            "{\"code\":true,\"msg\":\"no\",\"success\":false}",
        ] {
            let refusal = data(200, body).unwrap_err();
            assert_eq!(refusal.message, "no", "{body}");
        }
        let refusal = data(500, "{\"code\":200,\"msg\":\"fine\",\"data\":{}}").unwrap_err();
        assert_eq!((refusal.http_status, refusal.kind), (500, RefusalKind::ServerTrouble));
        let page = data(200, "<html><title>Log in</title></html>").unwrap_err();
        assert_eq!((page.kind, page.message.as_str()), (RefusalKind::NotAsDocumented, "Log in"));
        let wrong = data(200, "{\"code\":200,\"msg\":\"ok\",\"data\":{\"size\":\"large\"}}").unwrap_err();
        assert_eq!(wrong.kind, RefusalKind::NotAsDocumented, "{}", wrong.message);
    }

    #[test]
    fn numbers_may_come_as_text() {
        let size = |text: &str| {
            serde_json::from_str::<Data>(&format!("{{\"size\":{text}}}")).map(|data| data.size).ok()
        };
        for (text, expected) in [
            ("133652816", Some(Some(133_652_816))),
            ("\"133652816\"", Some(Some(133_652_816))),
            ("\" 3 \"", Some(Some(3))),
            ("18446744073709551615", Some(Some(u64::MAX))),
            ("\"18446744073709551615\"", Some(Some(u64::MAX))),
            ("5.0", Some(Some(5))),
            ("null", Some(None)),
            ("\"\"", Some(None)),
            ("-1", None),
            ("\"-1\"", None),
            ("1.5", None),
            ("\"x\"", None),
            ("true", None),
            ("[]", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!(serde_json::from_str::<Data>("{}").unwrap(), Data { size: None });
    }

    #[test]
    fn a_json_file_is_not_an_error() {
        let error = b"{\"code\":\"0001\",\"msg\":\"download video error\"}";
        let json = Some("application/json;charset=UTF-8");
        assert_eq!(is_json_error(json, false, error).unwrap().message, "download video error");
        assert!(is_json_error(Some("application/problem+json"), false, b"{\"success\":false}").is_some());
        assert!(is_json_error(json, true, error).is_none());
        assert!(is_json_error(Some("application/octet-stream"), false, error).is_none());
        assert!(is_json_error(None, false, error).is_none());
        for file in [
            "{\"notes\":[1,2]}",
            "{\"code\":7}",
            "[{\"code\":1,\"msg\":\"x\"}]",
            "{\"code\":1,\"msg\":",
            "",
            "null",
        ] {
            assert!(is_json_error(json, false, file.as_bytes()).is_none(), "{file}");
        }
    }

    #[test]
    fn words_of_a_page_do_not_make_a_stores_error_one() {
        let body =
            "<Error><Message><html></html></Message><StringToSign>MARKED-SECRET</StringToSign></Error>";
        let refusal = decode(status(403), &HeaderMap::new(), body.as_bytes());
        assert!(!format!("{refusal:?}").contains("MARKED-SECRET"), "{refusal:?}");
        let page = "<html><head><title>Log in</title></head></html>";
        assert_eq!(decode(status(403), &HeaderMap::new(), page.as_bytes()).message, "Log in");
    }

    #[test]
    fn a_nesting_bomb_is_only_text() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("<a>", "</a>")] {
            let body = open.repeat(30_000) + &close.repeat(30_000);
            let refusal = decode(status(500), &HeaderMap::new(), body.as_bytes());
            assert!(refusal.message.chars().count() <= LONGEST_MESSAGE);
            assert!(data(200, &body).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            words in "(<[a-zA-Z!/]{0,6}>?|&[a-z#0-9]{0,5};?|\\?|=|sig|sk-|é|[a-z]{1,9}| ){0,60}",
            code in 200u16..600,
        ) {
            for body in [bytes, words.clone().into_bytes(), format!("<html>{words}").into_bytes(), format!("<Error>{words}").into_bytes()] {
                let refusal = decode(status(code), &HeaderMap::new(), &body);
                prop_assert!(refusal.message.chars().count() <= LONGEST_MESSAGE);
                let _ = envelope_data::<Value>(status(code), &HeaderMap::new(), &body);
                let _ = is_json_error(Some("application/json"), false, &body);
            }
        }
    }
}
