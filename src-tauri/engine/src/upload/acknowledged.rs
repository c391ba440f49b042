//! What the store said when it had everything, and whether that is an acknowledgement at all.
//!
//! A status alone stores nothing: an answer that comes before the last byte was handed over, one whose body says that it
//! failed, one that broke off, or one that names another length, is not "stored" (docs/decisions/0025).

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{Cause, Error, Result};
use crate::foreign::Foreign;
use crate::http::answer::{self, LONGEST_LABEL, Refusal, RefusalKind};
use crate::http::packed::unpacked;
use crate::http::reach::Destination;
use crate::http::verdict::{self, Reading, Verdict};
use crate::http::{ERROR_BODY_LIMIT, error_body};
use crate::run::Run;
use crate::upload::store_refused;
use crate::words::Phrase;

/// What the store said when it had everything.
pub(super) struct Taken {
    pub headers: HeaderMap,
    /// The beginning of the body: some stores name digests there.
    pub body: Vec<u8>,
    /// What the request held in all, if it was a form that Ferry chose by itself: a store that keeps this much has kept
    /// the form, not the file.
    pub form_size: Option<u64>,
    /// Why its status alone is not believed.
    pub doubt: Option<Doubt>,
    /// Whether it answers a request with less than the file in it: what it says of its message is not of the file.
    pub of_chunk: bool,
}

/// Why a request came to nothing.
pub(super) enum Refused {
    /// The store answered, and refused; with what its answer said beside that.
    ByStore(Box<Refusal>, Box<HeaderMap>),
    /// The store wants the request at another address.
    Elsewhere(Box<Destination>, Box<Refusal>, Box<HeaderMap>),
    /// It said that it has the file before it could have it.
    TooEarly,
    /// Anything else.
    Fault(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// Why a success is not taken as it stands: something else has to show that the file is there.
pub(super) enum Doubt {
    /// A code that could mean either.
    Words(Box<Refusal>),
    /// A refusal that the file itself may be the reason of: it may be there from a request whose answer got lost.
    Exists(Box<Refusal>),
    /// A page to sign in to something.
    SignIn(Foreign),
    /// It was taken for later (RFC 9110, section 15.3.3).
    Later,
    /// By a status that is about a part, or about the page that asked (RFC 9110, sections 15.3.6 and 15.3.7).
    InPart,
    /// All of it was sent, and the store leads to a page of its own, at this path: as websites do when they have it, and when
    /// they have not.
    LeadsOn(Foreign),
}

impl Doubt {
    /// The failure where nothing shows it.
    pub(super) fn error(&self, service: &str) -> Error {
        match self {
            Self::Words(refusal) => store_refused(refusal, service),
            Self::Exists(refusal) => {
                let mut error = store_refused(refusal, service);
                // This URL takes it no more: another one has to.
                error.cause = Cause::ServiceRefused;
                error
            }
            Self::SignIn(title) => Error::new(Cause::BadResponse, Phrase::SignInPageCame)
                .because(title.clone())
                .advise(Phrase::CheckAddressAndSignIn),
            Self::Later => {
                Error::new(Cause::ServiceRefused, Phrase::TakenForLater).advise(Phrase::LookThereFirst)
            }
            Self::InPart => {
                Error::new(Cause::ServiceRefused, Phrase::StoredUnsaid).advise(Phrase::LookThereFirst)
            }
            Self::LeadsOn(path) => Error::new(Cause::ServiceRefused, Phrase::StoreLeadsOn)
                .because(path.clone())
                .advise(Phrase::LookThereFirst),
        }
    }
}

/// Reads an answer to a request with the file in it. `all_sent`: every byte was handed over when the answer came.
pub(super) async fn accept(run: &Run, answer: Response, all_sent: bool) -> Result<Taken, Refused> {
    let (status, headers, url) = (answer.status(), answer.headers().clone(), answer.url().clone());
    if status.is_success() && !all_sent {
        return Err(Refused::TooEarly);
    }
    let reach = run.queue().http.reach_on_word_of(&answer);
    let body = run.or_stop(error_body(answer, run.queue().http.limits.stall)).await?;
    if status.is_success() {
        let doubt = match judge(status, &headers, &body) {
            Judged::Stored => None,
            Judged::Doubtful(doubt) => Some(doubt),
            Judged::Cut => {
                let error = Error::new(Cause::CutShort, Phrase::AnswerCut);
                return Err(error.advise(Phrase::LookThereFirst).into());
            }
            Judged::Failed(refusal) => return Err(Refused::ByStore(refusal, Box::new(headers))),
        };
        return Ok(Taken { headers, body, form_size: None, doubt, of_chunk: false });
    }
    let refusal = Box::new(answer::decode(status, &headers, &body));
    let location = headers.get(LOCATION).filter(|_| status.is_redirection());
    let elsewhere = location.and_then(|place| url.join(std::str::from_utf8(place.as_bytes()).ok()?).ok());
    Err(match elsewhere {
        Some(url) => Refused::Elsewhere(Box::new(Destination { url, reach }), refusal, Box::new(headers)),
        None => Refused::ByStore(refusal, Box::new(headers)),
    })
}

/// What an answer whose status says success comes to.
enum Judged {
    Stored,
    Doubtful(Doubt),
    /// It broke off, in the middle or before its first byte: what it would have said is lost.
    Cut,
    Failed(Box<Refusal>),
}

fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Judged {
    let words = unpacked(headers, body, ERROR_BODY_LIMIT);
    let text = String::from_utf8_lossy(&words);
    let text = text.trim_start_matches('\u{feff}').trim();
    let Reading { verdict, words: no } = verdict::of_body(text);
    let refusal = || {
        let mut refusal = answer::decode(status, headers, body);
        if let Some(no) = &no {
            // Its words stand where the no stands, whatever is around that.
            let inner = answer::decode(status, headers, no.to_string().as_bytes());
            if !inner.message.is_empty() || inner.code.is_some() {
                refusal = inner;
            }
            if refusal.message.is_empty() {
                refusal.message = Foreign::limited(first_text(no).unwrap_or_default(), LONGEST_LABEL);
            }
        }
        if refusal.kind == RefusalKind::NotAsDocumented {
            refusal.kind = RefusalKind::Other;
        }
        Box::new(refusal)
    };
    let is_problem = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/problem+"));
    let failed = verdict == Verdict::Failed
        || answer::is_error_document(text)
        || names_failed_part(status, text)
        || (is_problem && verdict != Verdict::Well);
    if failed {
        return Judged::Failed(refusal());
    }
    let is_unfinished = text.starts_with(['{', '['])
        && serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof());
    // One that broke off before its first byte is lost as well. A 204 has no body, whatever length it names (RFC 9110,
    // section 15.3.5).
    let has_body = status != StatusCode::NO_CONTENT;
    if is_unfinished || (has_body && is_shorter(headers, body)) {
        return Judged::Cut;
    }
    if let Some(title) = answer::sign_in_page(headers, text) {
        return Judged::Doubtful(Doubt::SignIn(title));
    }
    if verdict == Verdict::Unclear {
        return Judged::Doubtful(Doubt::Words(refusal()));
    }
    match status {
        StatusCode::ACCEPTED => Judged::Doubtful(Doubt::Later),
        StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT => Judged::Doubtful(Doubt::InPart),
        _ => Judged::Stored,
    }
}

/// The first words in what says no, where its message has a name that few use: `resultMsg`, `errors.file`.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(&**text).filter(|text| text.contains(char::is_alphabetic)),
        Value::Array(items) => items.iter().find_map(first_text),
        Value::Object(object) => {
            let among = |is_named: fn(&str) -> bool| {
                let named = object.iter().filter(move |(name, _)| is_named(name));
                named.map(|(_, value)| value).find_map(|value| match value {
                    Value::Object(inner) => first_text(value).or_else(|| inner.values().find_map(first_text)),
                    other => first_text(other),
                })
            };
            among(verdict::is_message_name).or_else(|| among(verdict::is_error_name))
        }
        _ => None,
    }
}

/// What a store said in words that mean neither yes nor no, fit to be shown beside "nothing confirms it". Only what is meant
/// for people: an id, or JSON without a message, may be a secret of its own.
pub(super) fn words_of(taken: &Taken) -> Option<Foreign> {
    const LONGEST: usize = 120;
    let body = unpacked(&taken.headers, &taken.body, ERROR_BODY_LIMIT);
    let text = String::from_utf8_lossy(&body);
    if verdict::of_body(&text).verdict == Verdict::Well {
        return None;
    }
    let said = answer::decode(StatusCode::OK, &taken.headers, &taken.body).message;
    let is_for_people = said.contains(' ') && !said.starts_with(['{', '[']);
    is_for_people.then(|| Foreign::limited(&said, LONGEST))
}

/// Whether less came than the head had announced.
fn is_shorter(headers: &HeaderMap, body: &[u8]) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    announced.is_some_and(|length: u64| length > body.len() as u64 && body.len() < ERROR_BODY_LIMIT)
}

/// An answer of several statuses (RFC 4918, section 13), one of which is a refusal.
fn names_failed_part(status: StatusCode, text: &str) -> bool {
    status == StatusCode::MULTI_STATUS
        && text.match_indices("HTTP/1.1 ").any(|(at, name)| text[at + name.len()..].starts_with(['4', '5']))
}

/// The failure for a store that says too often that it has what it cannot have.
pub(super) fn too_early(times: u32) -> Error {
    const MOST: u32 = 3;
    let cause = if times < MOST { Cause::ServerTrouble } else { Cause::ServiceRefused };
    Error::new(cause, Phrase::StoredTooEarly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_says_it_failed_is_a_refusal_and_any_other_is_none() {
        let refusal = |body: &str| match judge(StatusCode::OK, &HeaderMap::new(), body.as_bytes()) {
            Judged::Failed(refusal) | Judged::Doubtful(Doubt::Words(refusal)) => Some(refusal),
            _ => None,
        };
        for (body, words) in [
            (r#"{"success": false, "msg": "The bucket is full"}"#, "The bucket is full"),
            (r#"{"code": "0001", "msg": "network abnormal"}"#, "network abnormal"),
            (r#"{"ok": false, "error": "file_too_big"}"#, "file_too_big"),
            (r#"{"status": "error", "message": "No room"}"#, "No room"),
            (r#"{"error": {"code": 7, "message": "No room"}}"#, "No room"),
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>Try again</Message></Error>",
                "Try again",
            ),
            (r#"{"expirationDateTime": "x", "nextExpectedRanges": ["12-"]}"#, ""),
            // Wherever it stands, and in whatever form.
            (r#"{"files": [{"name": "a", "size": 9, "error": "No room"}]}"#, "No room"),
            (r#"{"success": true, "data": {"state": "FAILED", "reason": "No room"}}"#, "No room"),
            (r#"{"errors": {"file": ["No room"]}}"#, "No room"),
            (r#"{"resultCode": "E001", "resultMsg": "No room"}"#, "No room"),
            ("cb({\"success\": false, \"msg\": \"No room\"});", "No room"),
            ("{\"progress\": 50}\n{\"success\": false, \"msg\": \"No room\"}", "No room"),
            ("event: error\ndata: {\"message\": \"No room\"}", "No room"),
            ("status=error&msg=No room", "No room"),
            ("<response><status>error</status><message>No room</message></response>", "No room"),
            ("<rsp stat=\"fail\"><err code=\"5\" msg=\"No room\"/></rsp>", "No room"),
            ("<html><body><h1>Upload failed: No room</h1></body></html>", "No room"),
            ("Upload failed: No room", "No room"),
        ] {
            let refusal = refusal(body).unwrap_or_else(|| panic!("{body}"));
            assert!(refusal.message.contains(words), "{body}: {refusal:?}");
        }
        for body in [
            "",
            "OK",
            "[1]",
            "<html>",
            r#"{"success": true, "msg": "stored"}"#,
            r#"{"code": 200, "msg": "success"}"#,
            r#"{"code": "0000", "msg": ""}"#,
            r#"{"ok": true, "error": null}"#,
            r#"{"error": "", "errors": [], "status": "ok"}"#,
            r#"{"Key": "bucket/a"}"#,
            "<PostResponse><ETag>x</ETag></PostResponse>",
        ] {
            assert!(refusal(body).is_none(), "{body}");
        }
    }

    #[test]
    fn a_status_that_is_not_about_the_whole_file_now_is_doubtful_whatever_the_body() {
        let doubt = |status: u16, body: &str| match judge(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        ) {
            Judged::Stored => "stored",
            Judged::Doubtful(Doubt::Later) => "later",
            Judged::Doubtful(Doubt::InPart) => "in part",
            _ => "something else",
        };
        for (status, expected) in [
            (200, "stored"),
            (201, "stored"),
            (202, "later"),
            (204, "stored"),
            (205, "in part"),
            (206, "in part"),
        ] {
            for body in ["", r#"{"status": "processing"}"#] {
                assert_eq!(doubt(status, body), expected, "{status} {body}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_shorter_than_it_announced_is_cut_wherever_it_broke_off() {
        for (status, length, body, is_cut) in [
            (200, "400", "", true),
            (200, "400", "The file is", true),
            (201, "2", "", true),
            (200, "0", "", false),
            (200, "2", "OK", false),
            (204, "400", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            let judged = judge(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
            assert_eq!(matches!(judged, Judged::Cut), is_cut, "{status} {length} {body}");
        }
    }

    #[test]
    fn words_that_mean_neither_are_shown_and_what_may_be_a_secret_is_not() {
        let words = |body: &str| {
            let (headers, body) = (HeaderMap::new(), body.as_bytes().to_vec());
            let taken = Taken { headers, body, form_size: None, doubt: None, of_chunk: false };
            words_of(&taken).map(|words| words.to_string())
        };
        for (body, expected) in [
            ("It works! Have a nice day", Some("It works! Have a nice day")),
            (r#"{"message": "Come back tomorrow"}"#, Some("Come back tomorrow")),
            ("<html><head><title>My files</title></head></html>", Some("My files")),
            (
                "It is at https://files.example/a?token=MARKED-SECRET",
                Some("It is at https://files.example/a?•••"),
            ),
            ("", None),
            ("0f0e7c", None),
            (r#"{"id": 1, "delete_token": "MARKED-SECRET"}"#, None),
            ("File uploaded", None),
            (r#"{"success": true, "message": "It was stored"}"#, None),
        ] {
            assert_eq!(words(body).as_deref(), expected, "{body}");
        }
    }
}
