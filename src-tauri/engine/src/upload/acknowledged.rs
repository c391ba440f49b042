//! What the store said when it had everything, and whether that is an acknowledgement at all.
//!
//! A status alone stores nothing: an answer that comes before the last byte was handed over, one whose body says that it
//! failed, or one that names another length, is not "stored" (docs/decisions/0025).

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::http::answer::{self, Refusal, RefusalKind};
use crate::http::error_body;
use crate::run::Run;
use crate::words::Phrase;

/// What the store said when it had everything.
pub(super) struct Taken {
    pub headers: HeaderMap,
    /// The beginning of the body: some stores name digests there.
    pub body: Vec<u8>,
    /// What the request held in all, if it was a form that Ferry chose by itself: a store that keeps this much has kept
    /// the form, not the file.
    pub form_size: Option<u64>,
}

/// Why a request came to nothing.
pub(super) enum Refused {
    /// The store answered, and refused; with what its answer said beside that.
    ByStore(Box<Refusal>, Box<HeaderMap>),
    /// The store wants the request at another address.
    Elsewhere(Box<Url>, Box<Refusal>, Box<HeaderMap>),
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

/// Reads an answer to a request with the file in it. `all_sent`: every byte was handed over when the answer came.
pub(super) async fn accept(run: &Run, answer: Response, all_sent: bool) -> Result<Taken, Refused> {
    let (status, headers, url) = (answer.status(), answer.headers().clone(), answer.url().clone());
    if status.is_success() && !all_sent {
        return Err(Refused::TooEarly);
    }
    let body = run.or_stop(error_body(answer, run.queue().http.limits.stall)).await?;
    if status.is_success() {
        return match failed_all_the_same(status, &headers, &body) {
            Some(refusal) => Err(Refused::ByStore(Box::new(refusal), Box::new(headers))),
            None => Ok(Taken { headers, body, form_size: None }),
        };
    }
    let refusal = Box::new(answer::decode(status, &headers, &body));
    let location = headers.get(LOCATION).filter(|_| status.is_redirection());
    let elsewhere = location.and_then(|place| url.join(std::str::from_utf8(place.as_bytes()).ok()?).ok());
    Err(match elsewhere {
        Some(place) => Refused::Elsewhere(Box::new(place), refusal, Box::new(headers)),
        None => Refused::ByStore(refusal, Box::new(headers)),
    })
}

/// The refusal in an answer whose status says success.
fn failed_all_the_same(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refusal> {
    let text = body.trim_ascii_start();
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let failed = match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => says_failed(&object),
        // Amazon's may say 200 before it knows, and the error then.
        _ => {
            let start = &text[..text.len().min(200)];
            let root = start.strip_prefix(b"<?xml").map_or(start, |rest| {
                let end = rest.windows(2).position(|two| two == b"?>").map_or(rest.len(), |at| at + 2);
                rest[end..].trim_ascii_start()
            });
            root.starts_with(b"<Error>") || root.starts_with(b"<Error ")
        }
    };
    failed.then(|| {
        let mut refusal = answer::decode(status, headers, body);
        if refusal.kind == RefusalKind::NotAsDocumented {
            refusal.kind = RefusalKind::Other;
        }
        refusal
    })
}

fn says_failed(object: &Map<String, Value>) -> bool {
    let is = |name: &str, wanted: &str| match object.get(name) {
        Some(Value::Bool(value)) => value.to_string() == wanted,
        Some(Value::String(text)) => text.trim().eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let bad_code = object.contains_key("msg")
        && match object.get("code") {
            Some(Value::Number(code)) => !code.as_f64().is_some_and(|code| [0.0, 200.0].contains(&code)),
            Some(Value::String(code)) => !matches!(code.trim(), "" | "0" | "0000" | "200"),
            _ => false,
        };
    let bad_error = match object.get("error") {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Object(inner)) => !inner.is_empty(),
        Some(Value::Bool(value)) => *value,
        _ => false,
    };
    // A store that names ranges which it still expects has not everything.
    let expects_more =
        object.get("nextExpectedRanges").and_then(Value::as_array).is_some_and(|ranges| !ranges.is_empty());
    is("success", "false")
        || is("failed", "true")
        || is("ok", "false")
        || ["error", "fail", "failed", "failure"].iter().any(|word| is("status", word))
        || bad_code
        || bad_error
        || expects_more
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
        let refusal = |body: &str| failed_all_the_same(StatusCode::OK, &HeaderMap::new(), body.as_bytes());
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
}
