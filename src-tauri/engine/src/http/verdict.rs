//! What the body of a success says: stored, failed, or something that only its author understands.
//!
//! There is no standard for "200, but no": every kit has a name of its own for the flag, and writes it as a truth value, a
//! number or a word. The names are compared in any case, and a flag decides before a code, since codes that mean success
//! are as many as services. What is said plainly is believed; a code that nobody knows is neither.

use serde_json::{Map, Value};

/// What an answer says of what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// That all went well, in so many words.
    Well,
    /// Nothing about that.
    Silent,
    /// A code that could mean either.
    Unclear,
    /// That it failed.
    Failed,
}

/// Words that stand for success where a code, a state or an error is expected.
const WELL: [&str; 22] = [
    "ok",
    "okay",
    "success",
    "succeed",
    "succeeded",
    "successful",
    "successfully",
    "done",
    "created",
    "accepted",
    "uploaded",
    "stored",
    "saved",
    "complete",
    "completed",
    "finished",
    "none",
    "null",
    "no error",
    "no_error",
    "noerror",
    "true",
];

/// Words that stand for a failure there.
const FAILED: [&str; 17] = [
    "error",
    "err",
    "fail",
    "failed",
    "failure",
    "ko",
    "nok",
    "denied",
    "forbidden",
    "unauthorized",
    "invalid",
    "rejected",
    "refused",
    "aborted",
    "fatal",
    "exception",
    "unsuccessful",
];

const SUCCESS_FLAGS: [&str; 7] =
    ["success", "succeeded", "successful", "issuccess", "is_success", "ok", "succeed"];
const FAILURE_FLAGS: [&str; 7] =
    ["failed", "failure", "fail", "haserror", "has_error", "iserror", "is_error"];
const STATES: [&str; 7] = ["status", "state", "result", "stat", "outcome", "upload_status", "uploadstatus"];
const STATUSES: [&str; 6] =
    ["statuscode", "status_code", "httpstatus", "http_status", "httpcode", "http_code"];
const ERRORS: [&str; 9] = [
    "error",
    "errors",
    "err",
    "exception",
    "fault",
    "error_message",
    "errormessage",
    "error_description",
    "errordescription",
];
/// Codes of errors, where anything but nothing is one.
const ERROR_CODES: [&str; 7] =
    ["errcode", "err_code", "errno", "err_no", "error_code", "errorcode", "error_no"];
const CODES: [&str; 7] = ["code", "ret", "retcode", "ret_code", "returncode", "return_code", "resultcode"];
const MESSAGES: [&str; 8] =
    ["msg", "message", "errmsg", "err_msg", "errormsg", "error_msg", "description", "desc"];
/// Where services put such flags one level deeper.
const INNER: [&str; 8] = ["response", "result", "meta", "status", "data", "header", "head", "body"];

/// What a JSON value says.
pub(crate) fn of_json(value: &Value) -> Verdict {
    match value {
        Value::Object(object) => of_object(object, true),
        // One entry for each file that was sent.
        Value::Array(entries) => {
            let said = entries.iter().filter_map(Value::as_object).map(|entry| of_object(entry, true));
            said.fold(Verdict::Silent, worse)
        }
        Value::String(text) => of_text(text),
        Value::Bool(false) => Verdict::Failed,
        _ => Verdict::Silent,
    }
}

/// What plain text says: `Error: no room`.
pub(crate) fn of_text(text: &str) -> Verdict {
    let first: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    match word(&first) {
        Some(Verdict::Failed) => Verdict::Failed,
        _ => Verdict::Silent,
    }
}

/// What a code alone says; `None` for no code at all.
pub(crate) fn of_code(value: &Value) -> Option<Verdict> {
    let of_number = |number: i64| match number {
        0 | 200..=299 => Verdict::Well,
        i64::MIN..=-1 | 400..=599 => Verdict::Failed,
        _ => Verdict::Unclear,
    };
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().or_else(|| {
                number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15).map(|f| f as i64)
            });
            Some(whole.map_or(Verdict::Unclear, of_number))
        }
        Value::String(text) => {
            let text = text.trim();
            if text.is_empty() {
                return None;
            }
            Some(text.parse::<i64>().map_or_else(|_| word(text).unwrap_or(Verdict::Unclear), of_number))
        }
        Value::Bool(value) => Some(if *value { Verdict::Well } else { Verdict::Failed }),
        _ => None,
    }
}

fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Silent => 0,
        Verdict::Well => 1,
        Verdict::Unclear => 2,
        Verdict::Failed => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn word(text: &str) -> Option<Verdict> {
    let lower = text.trim().to_ascii_lowercase();
    let known = |words: &[&str]| words.contains(&&*lower);
    if known(&WELL) { Some(Verdict::Well) } else { known(&FAILED).then_some(Verdict::Failed) }
}

/// A flag, however it is written.
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match &*text.trim().to_ascii_lowercase() {
            "false" | "0" | "no" | "n" => Some(false),
            "true" | "1" | "yes" | "y" => Some(true),
            other => word(other).map(|verdict| verdict == Verdict::Well),
        },
        _ => None,
    }
}

/// Whether a flag for failures is up; many count them there.
fn is_raised(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => matches!(&*text.trim().to_ascii_lowercase(), "true" | "1" | "yes" | "y"),
        _ => false,
    }
}

/// Whether a field for errors holds one.
fn is_error(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            let text = text.trim();
            !matches!(&*text.to_ascii_lowercase(), "" | "0" | "no" | "false" | "200")
                && word(text) != Some(Verdict::Well)
        }
        Value::Array(items) => items.iter().any(is_error),
        Value::Object(inner) => {
            let code = inner.iter().find(|(name, _)| CODES.contains(&&*name.to_ascii_lowercase()));
            code.and_then(|(_, code)| of_code(code)) != Some(Verdict::Well) && inner.values().any(is_error)
        }
    }
}

fn of_object(object: &Map<String, Value>, is_outer: bool) -> Verdict {
    let fields: Vec<(String, &Value)> =
        object.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let among = |names: &[&str]| -> Vec<&Value> {
        fields.iter().filter(|(name, _)| names.contains(&&**name)).map(|(_, value)| *value).collect()
    };
    let is_status = |value: &&Value| {
        !matches!(value, Value::Bool(_))
            && of_code(value) == Some(Verdict::Failed)
            && word_of(value).is_none()
    };
    // A store that names ranges which it still expects has not everything.
    let expects_more = among(&["nextexpectedranges"])
        .iter()
        .any(|ranges| ranges.as_array().is_some_and(|ranges| !ranges.is_empty()));
    let says_no = among(&SUCCESS_FLAGS).into_iter().any(|value| flag(value) == Some(false))
        || among(&FAILURE_FLAGS).into_iter().any(is_raised)
        || among(&STATES).iter().any(|value| {
            matches!(value, Value::Bool(false)) || word_of(value) == Some(Verdict::Failed) || is_status(value)
        })
        || among(&STATUSES).iter().any(is_status);
    if expects_more || says_no {
        return Verdict::Failed;
    }
    if among(&SUCCESS_FLAGS).into_iter().any(|value| flag(value) == Some(true)) {
        return Verdict::Well;
    }
    if among(&ERRORS).into_iter().any(is_error)
        || among(&ERROR_CODES)
            .into_iter()
            .any(|code| of_code(code).is_some_and(|verdict| verdict != Verdict::Well))
    {
        return Verdict::Failed;
    }
    let messages = among(&MESSAGES);
    let mut found = Verdict::Silent;
    for said in among(&CODES).into_iter().filter_map(of_code) {
        let in_words = messages.iter().filter_map(|message| word_of(message)).fold(Verdict::Silent, worse);
        found = worse(
            found,
            match (said, in_words) {
                // A code without a word beside it may be anything: an id, a place in a list.
                (Verdict::Unclear, _) if messages.is_empty() => Verdict::Silent,
                (Verdict::Failed, _) if messages.is_empty() => Verdict::Unclear,
                (Verdict::Unclear, Verdict::Well) => Verdict::Well,
                (said, _) => said,
            },
        );
    }
    if is_outer {
        let inner = among(&INNER).into_iter().filter_map(Value::as_object);
        let inner = inner.map(|inner| of_object(inner, false)).fold(Verdict::Silent, worse);
        found = worse(found, inner);
        if found == Verdict::Silent && is_only_detail(&fields) {
            return Verdict::Failed;
        }
    }
    found
}

/// The word that stands first in a text: "Success", "success: stored".
fn word_of(value: &Value) -> Option<Verdict> {
    let text = value.as_str()?.trim();
    word(text).or_else(|| {
        let first: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
        word(&first)
    })
}

/// `FastAPI`, and those who learnt from it, say nothing else when they refuse.
fn is_only_detail(fields: &[(String, &Value)]) -> bool {
    const BESIDE: [&str; 5] = ["type", "title", "instance", "requestid", "request_id"];
    let detail = fields.iter().find(|(name, _)| name == "detail").map(|(_, value)| *value);
    let others = fields.iter().all(|(name, _)| name == "detail" || BESIDE.contains(&&**name));
    others
        && match detail {
            Some(Value::String(text)) => {
                let words = text.split(|c: char| !c.is_ascii_alphabetic());
                !text.trim().is_empty() && !words.into_iter().any(|one| word(one) == Some(Verdict::Well))
            }
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(inner)) => !inner.is_empty(),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_decide_before_codes_and_a_code_that_nobody_knows_is_neither() {
        let rows = [
            (r#"{"status": false, "message": "x"}"#, Verdict::Failed),
            (r#"{"error": 1, "message": "x"}"#, Verdict::Failed),
            (r#"{"errors": ["x"]}"#, Verdict::Failed),
            (r#"{"errors": [{"message": "x"}], "data": null}"#, Verdict::Failed),
            (r#"{"errcode": 40001, "errmsg": "x"}"#, Verdict::Failed),
            (r#"{"errno": -6}"#, Verdict::Failed),
            (r#"{"status": 403}"#, Verdict::Failed),
            (r#"{"statusCode": "403"}"#, Verdict::Failed),
            (r#"{"result": "error"}"#, Verdict::Failed),
            (r#"{"success": 0}"#, Verdict::Failed),
            (r#"{"Success": false}"#, Verdict::Failed),
            (r#"{"detail": "Not authenticated"}"#, Verdict::Failed),
            (r#"[{"ok": true}, {"error": "x"}]"#, Verdict::Failed),
            (r#"{"response": {"status": "failed"}}"#, Verdict::Failed),
            (r#"{"Response": {"Error": {"Code": "x"}}}"#, Verdict::Failed),
            (r#"{"nextExpectedRanges": ["12-"]}"#, Verdict::Failed),
            (r#"{"code": 400, "msg": "x"}"#, Verdict::Failed),
            (r#"{"code": 50001, "message": "x"}"#, Verdict::Unclear),
            (r#"{"code": "0001", "msg": "x"}"#, Verdict::Unclear),
            (r#"{"code": 201, "msg": "x"}"#, Verdict::Well),
            (r#"{"code": "SUCCESS", "msg": "x"}"#, Verdict::Well),
            (r#"{"code": "00000", "msg": "x"}"#, Verdict::Well),
            (r#"{"code": 1, "msg": "x", "success": true}"#, Verdict::Well),
            (r#"{"code": 10000, "msg": "Success"}"#, Verdict::Well),
            (r#"{"error": {"code": 0, "message": ""}, "success": true}"#, Verdict::Well),
            (r#"{"error": {"code": 0, "message": ""}}"#, Verdict::Silent),
            (r#"{"error": "none"}"#, Verdict::Silent),
            (r#"{"error": "0"}"#, Verdict::Silent),
            (r#"{"failed": [], "ok": 1}"#, Verdict::Well),
            (r#"{"status": "success", "failed": 0}"#, Verdict::Silent),
            (r#"{"errors": [], "code": 204, "msg": "No Content"}"#, Verdict::Well),
            (r#"{"detail": "File uploaded"}"#, Verdict::Silent),
            (r#"{"code": "X7", "id": 3}"#, Verdict::Silent),
            (r#"{"Key": "bucket/a"}"#, Verdict::Silent),
            (r#""Error: no room""#, Verdict::Failed),
            ("[1]", Verdict::Silent),
        ];
        for (body, expected) in rows {
            assert_eq!(of_json(&serde_json::from_str(body).unwrap()), expected, "{body}");
        }
        assert_eq!(of_text("Error: quota exceeded"), Verdict::Failed);
        assert_eq!(of_text("Errors are listed here"), Verdict::Silent);
        assert_eq!(of_text("OK - 7"), Verdict::Silent);
    }
}
