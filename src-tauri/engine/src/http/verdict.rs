//! What the body of a success says: stored, failed, or something that only its author understands.
//!
//! There is no standard for "200, but no": every kit has a name of its own for the flag, writes it as a truth value, a
//! number or a word, and puts it where it likes. So the whole value is walked, in whatever form it comes ([`of_body`]); names
//! are compared without case, `_` and `-`; and what stands inside decides before what stands around it. At one level a flag
//! decides before a code, since codes that mean success are as many as services. What is said plainly is believed; a code
//! that nobody knows is neither. What stands in a place that is not about the upload (somebody's metadata, a preview) says
//! nothing.

use serde_json::{Map, Value};

use crate::http::answer::{looks_like_page, page_headings, page_text};
use crate::http::markup;

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
const WELL: [&str; 28] = [
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
    "nil",
    "undefined",
    "n/a",
    "-",
    "no error",
    "no errors",
    "no_error",
    "noerror",
    "upload_err_ok",
    "true",
];

/// Words that stand for a failure there.
const FAILED: [&str; 19] = [
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
    "critical",
    "danger",
    "exception",
    "unsuccessful",
];

/// Words that stand for a failure wherever they are in a sentence, unless "no" or "not" is before them.
const BAD_WORDS: [&str; 39] = [
    "fehler",
    "fehlgeschlagen",
    "erreur",
    "échec",
    "ошибка",
    "error",
    "fail",
    "fails",
    "failed",
    "failure",
    "denied",
    "forbidden",
    "unauthorized",
    "unauthorised",
    "rejected",
    "refused",
    "aborted",
    "exception",
    "fatal",
    "invalid",
    "exceeded",
    "exceeds",
    "expired",
    "insufficient",
    "unavailable",
    "unsuccessful",
    "corrupt",
    "corrupted",
    "incomplete",
    "timeout",
    "cannot",
    "can't",
    "couldn't",
    "unable",
    "infected",
    "canceled",
    "cancelled",
    "unsupported",
    "disallowed",
];

/// Those that the small print of a success has as well: until when it is kept, what is not to be undone.
const WEAK_WORDS: [&str; 5] = ["expired", "cannot", "unable", "invalid", "unavailable"];

/// The same for pairs of words.
const BAD_PAIRS: [(&str, &[&str]); 10] = [
    (
        "not",
        &[
            "found",
            "allowed",
            "permitted",
            "authorized",
            "authorised",
            "authenticated",
            "uploaded",
            "stored",
            "saved",
            "received",
            "accepted",
            "supported",
            "enough",
            "implemented",
            "acceptable",
            "valid",
            "ok",
        ],
    ),
    ("too", &["large", "big", "many", "long", "small"]),
    ("no", &["space", "room", "file", "files", "such", "permission", "access"]),
    ("could", &["not"]),
    ("bad", &["request", "gateway"]),
    ("went", &["wrong"]),
    ("disk", &["full"]),
    ("is", &["full"]),
    ("limit", &["reached"]),
    ("quota", &["reached"]),
];

/// Words that stand for success in a sentence.
const GOOD_WORDS: [&str; 17] = [
    "ok",
    "okay",
    "success",
    "succeeded",
    "successful",
    "successfully",
    "done",
    "created",
    "accepted",
    "uploaded",
    "stored",
    "saved",
    "received",
    "complete",
    "completed",
    "finished",
    "thanks",
];

const SUCCESS_FLAGS: [&str; 11] = [
    "success",
    "succeeded",
    "successful",
    "successfully",
    "issuccess",
    "issuccessful",
    "ok",
    "isok",
    "succeed",
    "uploadsuccess",
    "uploadsuccessful",
];
/// What was done to the file: `false` is a no. Not `created`, which is false where a file took the place of another, nor
/// what comes after it is stored: processed, ready, published, and a bare `complete`, which may be the whole job; nor
/// Uploadcare's `is_stored`, which is "kept for good".
const DONE_FLAGS: [&str; 16] = [
    "uploaded",
    "isuploaded",
    "fileuploaded",
    "stored",
    "saved",
    "issaved",
    "filesaved",
    "received",
    "isreceived",
    "accepted",
    "isaccepted",
    "written",
    "persisted",
    "committed",
    "uploadcomplete",
    "uploadcompleted",
];
/// Those that say "no" also by being false, and nothing by being true.
const VALID_FLAGS: [&str; 2] = ["valid", "isvalid"];
/// Those of which a zero is a no as well, and a yes means that the file is there.
const STORED_FLAGS: [&str; 6] = ["uploaded", "isuploaded", "fileuploaded", "stored", "saved", "filesaved"];
const FAILURE_FLAGS: [&str; 14] = [
    "failed",
    "failure",
    "failures",
    "fail",
    "failedfiles",
    "rejected",
    "rejectedfiles",
    "haserror",
    "haserrors",
    "hasfailed",
    "iserror",
    "isfailed",
    "isfailure",
    "errored",
];
const STATES: [&str; 11] = [
    "status",
    "state",
    "result",
    "stat",
    "outcome",
    "ack",
    "uploadstatus",
    "uploadstate",
    "uploadresult",
    "filestatus",
    "responsestatus",
];
/// Where a message says of which kind it is.
const KINDS: [&str; 5] = ["type", "kind", "level", "severity", "event"];
const STATUSES: [&str; 5] = ["statuscode", "httpstatus", "httpstatuscode", "httpcode", "responsestatuscode"];
const ERRORS: [&str; 14] = [
    "error",
    "errors",
    "err",
    "errs",
    "exception",
    "exceptions",
    "fault",
    "errormessage",
    "errormessages",
    "errordescription",
    "errordetail",
    "errordetails",
    "errortext",
    "errorinfo",
];
/// Codes of errors, where anything but nothing is one.
const ERROR_CODES: [&str; 5] = ["errcode", "errno", "errorcode", "errorno", "errornumber"];
const CODES: [&str; 10] = [
    "code",
    "ret",
    "rc",
    "retcode",
    "returncode",
    "resultcode",
    "rescode",
    "respcode",
    "responsecode",
    "bizcode",
];
const MESSAGES: [&str; 4] = ["description", "desc", "reason", "statustext"];
/// What may stand beside a message that is all that an answer says.
const BESIDE_MESSAGES: [&str; 12] = [
    "type",
    "title",
    "instance",
    "path",
    "method",
    "timestamp",
    "time",
    "date",
    "requestid",
    "traceid",
    "documentationurl",
    "data",
];
/// Where services put such flags one level deeper; also what ends so.
const WRAPPERS: [&str; 32] = [
    "response",
    "resp",
    "result",
    "results",
    "return",
    "reply",
    "answer",
    "output",
    "payload",
    "content",
    "meta",
    "status",
    "state",
    "data",
    "header",
    "head",
    "body",
    "file",
    "files",
    "upload",
    "uploads",
    "item",
    "items",
    "entry",
    "entries",
    "object",
    "asset",
    "document",
    "attachment",
    "attachments",
    "value",
    "d",
];
/// What is not about the upload: the user's own data, an echo of the request, and what is made of the file later.
const ELSEWHERE: [&str; 36] = [
    "metadata",
    "custommetadata",
    "usermetadata",
    "custom",
    "context",
    "tags",
    "exif",
    "appdata",
    "attributes",
    "properties",
    "headers",
    "query",
    "params",
    "args",
    "form",
    "request",
    "config",
    "settings",
    "options",
    "user",
    "owner",
    "account",
    "quota",
    "moderation",
    "eager",
    "info",
    "permissions",
    "capabilities",
    "policy",
    "links",
    "thumbnail",
    "thumbnails",
    "preview",
    "previews",
    "workflows",
    "scan",
];

/// So deep, and so many values, are looked at.
const DEEPEST: usize = 12;
const MOST_VALUES: usize = 4096;

/// What was read, and the part of it that says so.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What it says.
    pub verdict: Verdict,
    /// The innermost object that says no, or something that could be one.
    pub words: Option<Value>,
}

/// What a whole body says: JSON, by itself or behind what keeps scripts from reading it, in a call, in lines or events;
/// pairs of names and values; XML; a page; words.
pub(crate) fn of_body(text: &str) -> Reading {
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut walk = Walk { left: MOST_VALUES, words: None };
    let verdict = walk.body(text);
    Reading { verdict, words: walk.words }
}

/// What a JSON value says.
pub(crate) fn of_json(value: &Value) -> Verdict {
    Walk { left: MOST_VALUES, words: None }.value(value, 0)
}

/// The values that a body holds, whatever stands around them: those of JSON, or an XML document as one.
pub(crate) fn values_in(text: &str) -> Vec<Value> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(value) = serde_json::from_str(text) {
        return vec![value];
    }
    if text.starts_with('<') {
        if !is_page(text) {
            return markup::value_of(text).into_iter().collect();
        }
        // A form in a frame gets its JSON wrapped into a page.
        let words = page_text(text);
        return embedded(if words.trim().is_empty() { text } else { &words });
    }
    embedded(text)
}

fn is_page(text: &str) -> bool {
    const PARTS: [&str; 15] = [
        "<h1",
        "<h2",
        "<h3",
        "<p>",
        "<p ",
        "<div",
        "<span",
        "<b>",
        "<br",
        "<pre",
        "<textarea",
        "<center",
        "<font",
        "<script",
        "<body",
    ];
    let start: String = text.chars().take(10).collect::<String>().to_ascii_lowercase();
    looks_like_page(text) || PARTS.iter().any(|part| start.starts_with(part))
}

/// Objects and arrays in a text that is not all JSON: behind `)]}'`, in a call, one a line, after `data:`, after a warning.
fn embedded(text: &str) -> Vec<Value> {
    const MOST: usize = 64;
    let (mut found, mut at, mut tried) = (Vec::new(), 0, 0);
    while let Some(start) = text[at..].find(['{', '[']).map(|place| at + place) {
        tried += 1;
        if tried > MOST {
            break;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        at = match stream.next() {
            Some(Ok(value)) => {
                found.push(value);
                start + stream.byte_offset().max(1)
            }
            _ => start + 1,
        };
    }
    found
}

/// What plain words say: `Upload failed: disk full`.
pub(crate) fn of_text(text: &str) -> Verdict {
    of_words(text, true)
}

/// What a whole answer in plain words says. Its first line is the answer; what stands below that, behind a link or in
/// brackets is the small print, and has words of failures in every success.
fn of_answer(text: &str) -> Verdict {
    let mut lines = text.lines().map(str::trim).filter(|line| line.contains(char::is_alphanumeric));
    let Some(first) = lines.next() else { return of_text(text) };
    let link = |line: &str| ["http://", "https://"].into_iter().filter_map(|scheme| line.find(scheme)).min();
    let first = &first[..link(first).unwrap_or(first.len())];
    if is_error_file(first) {
        return Verdict::Silent;
    }
    // Beside a link, which is most likely where the file is, they count only as the first word.
    let begins_so = words_of(&first.to_lowercase()).first().is_some_and(|one| WEAK_WORDS.contains(&&**one));
    let counts_weak = begins_so || link(text).is_none();
    let outside: String =
        first.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
    let found = match of_words(first, false) {
        Verdict::Failed => Verdict::Failed,
        _ if counts_weak => of_words(&outside, true),
        other => other,
    };
    // Below a greeting or a warning: `Error: no room`, `Fatal error: …`.
    let says_no_below = lines.any(|line| {
        line.split_once(':').is_some_and(|(head, _)| {
            head.split_whitespace().all(|one| word(one) == Some(Verdict::Failed))
                && of_words(line, false) == Verdict::Failed
        })
    });
    if says_no_below {
        Verdict::Failed
    } else if found == Verdict::Silent && of_words(text, false) == Verdict::Well {
        Verdict::Well
    } else {
        found
    }
}

/// Whether a line is only the name of a file of errors: `Error report.pdf`. With more words between it may be a sentence:
/// `Error saving report.pdf`.
fn is_error_file(line: &str) -> bool {
    const LONGEST_ENDING: usize = 5;
    let line = line.trim_end_matches(|c: char| !c.is_alphanumeric());
    let Some((first, name)) = line.split_once(' ') else { return false };
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    first.eq_ignore_ascii_case("error")
        && !stem.is_empty()
        && !stem.contains(char::is_whitespace)
        && ending.len() <= LONGEST_ENDING
        && ending.chars().all(|c| c.is_ascii_alphanumeric())
        && ending.contains(|c: char| c.is_ascii_alphabetic())
}

/// `counts_weak`: whether the words that a success may have in its small print count.
fn of_words(text: &str, counts_weak: bool) -> Verdict {
    const LONGEST: usize = 300;
    let text: String = text.trim().chars().take(LONGEST).collect();
    let lower = text.to_lowercase();
    if matches!(&*lower, "false" | "no") || lower.parse::<i64>().is_ok_and(|number| number < 0) {
        return Verdict::Failed;
    }
    if let Some(code) = status_line(&text) {
        return if code >= 400 { Verdict::Failed } else { Verdict::Silent };
    }
    let words = words_of(&lower);
    if words.first().is_some_and(|first| word(first) == Some(Verdict::Failed)) {
        let rest: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        return if matches!(rest[..], ["0" | "none" | "false" | "null"]) {
            Verdict::Silent
        } else {
            Verdict::Failed
        };
    }
    let is_denied =
        |at: usize| at > 0 && matches!(&*words[at - 1], "no" | "not" | "without" | "never" | "zero" | "0");
    // Where words are not parted by blanks.
    let mut good = lower.contains("成功");
    let mut bad = ["失败", "失敗", "错误", "錯誤", "エラー"].iter().any(|word| lower.contains(word))
        && !["无错误", "没有错误", "無錯誤", "沒有錯誤"].iter().any(|none| lower.contains(none));
    for (at, one) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", String::as_str);
        let is_bad = BAD_WORDS.contains(&&**one) && (counts_weak || !WEAK_WORDS.contains(&&**one));
        bad |= is_bad && !is_denied(at);
        bad |= BAD_PAIRS.iter().any(|(first, second)| first == one && second.contains(&next));
        good |= GOOD_WORDS.contains(&&**one) && !is_denied(at);
    }
    match (good, bad) {
        (false, true) => Verdict::Failed,
        (true, false) => Verdict::Well,
        _ => Verdict::Silent,
    }
}

/// The status of a line of HTTP, as WebDAV has it within its XML.
fn status_line(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()
}

/// The words of a text in lower case, without what is quoted and what is a name: of a file, an address.
fn words_of(lower: &str) -> Vec<String> {
    let outside: String = lower.split(['"', '“', '”', '`']).step_by(2).collect::<Vec<_>>().join(" \u{0} ");
    let mut words = Vec::new();
    for piece in outside.split_whitespace() {
        let piece = piece.trim_matches(|c: char| !c.is_alphanumeric());
        if piece.is_empty() {
            continue;
        }
        if piece.contains(['/', '.', '@', '=', '\\']) {
            // Nothing stands before what follows it.
            words.push(String::new());
            continue;
        }
        let parts = piece.split(|c: char| !c.is_alphanumeric() && c != '\'');
        words.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    }
    words
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

/// The same without numbers, which count what was done.
fn done(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match &*text.trim().to_ascii_lowercase() {
            "false" | "no" | "n" => Some(false),
            "true" | "yes" | "y" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a flag for failures is up; many count them there, or name them.
fn is_raised(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            matches!(&*text.trim().to_ascii_lowercase(), "true" | "1" | "yes" | "y")
                || of_text(text) == Verdict::Failed
        }
        Value::Array(items) => !items.is_empty(),
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
            let code = inner.iter().find(|(name, _)| CODES.contains(&&*plain(name)));
            code.and_then(|(_, code)| of_code(code)) != Some(Verdict::Well) && inner.values().any(is_error)
        }
    }
}

/// A name as it is compared: `is_success`, `isSuccess` and `Is-Success` are one.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether what stands under this name is about the upload.
pub(crate) fn is_wrapper(name: &str) -> bool {
    const ENDS: [&str; 10] =
        ["response", "result", "results", "return", "reply", "file", "files", "upload", "data", "output"];
    !ELSEWHERE.contains(&name) && (WRAPPERS.contains(&name) || ENDS.iter().any(|end| name.ends_with(end)))
}

/// Whether a field of this name, as it is written, holds errors.
pub(crate) fn is_error_name(name: &str) -> bool {
    let name = plain(name);
    ERRORS.contains(&&*name) || name.ends_with("error") || name.ends_with("errors")
}

/// Whether a field of this name, as it is written, holds a message.
pub(crate) fn is_message_name(name: &str) -> bool {
    is_message(&plain(name))
}

fn is_message(name: &str) -> bool {
    MESSAGES.contains(&name) || name.ends_with("msg") || name.ends_with("message")
}

struct Walk {
    left: usize,
    words: Option<Value>,
}

impl Walk {
    fn body(&mut self, text: &str) -> Verdict {
        if text.is_empty() {
            return Verdict::Silent;
        }
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return self.value(&value, 0);
        }
        if text.starts_with('<') {
            return self.markup(text);
        }
        let mut found = Verdict::Silent;
        for value in embedded(text) {
            found = worse(found, self.value(&value, 0));
        }
        if text.starts_with(['{', '[']) {
            return worse(found, self.unfinished(text));
        }
        for pairs in pairs_of(text) {
            found = worse(found, self.object(&pairs, 0, true));
        }
        worse(found, of_answer(text))
    }

    /// JSON that broke off, or that is a script's own spelling (Ext JS): only a no counts, the rest is lost.
    fn unfinished(&mut self, text: &str) -> Verdict {
        const ENDS: [&str; 7] = ["}", "\"}", "]}", "\"]}", "}}", "\"}}", "null}"];
        for value in ENDS.iter().filter_map(|end| serde_json::from_str(&format!("{text}{end}")).ok()) {
            if self.value(&value, 0) == Verdict::Failed {
                return Verdict::Failed;
            }
        }
        let squeezed: String =
            text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '"')).collect();
        if squeezed.to_ascii_lowercase().contains("success:false") {
            Verdict::Failed
        } else {
            Verdict::Silent
        }
    }

    fn markup(&mut self, text: &str) -> Verdict {
        if !is_page(text) {
            return markup::value_of(text).map_or(Verdict::Silent, |value| self.value(&value, 0));
        }
        let mut found = Verdict::Silent;
        for value in values_in(text) {
            found = worse(found, self.value(&value, 0));
        }
        // Only what stands out: the small print of a page may speak of errors, too, and so may its smaller headings, where
        // the title or a large one says that all went well.
        let said = |page: &str| {
            page_headings(page).iter().map(|heading| of_text(heading)).fold(Verdict::Silent, worse)
        };
        let large = said(&text.replace("<h2", "<h6").replace("<H2", "<h6"));
        worse(found, if large == Verdict::Well { large } else { said(text) })
    }

    fn value(&mut self, value: &Value, depth: usize) -> Verdict {
        match value {
            Value::Object(object) => self.object(object, depth, true),
            // One entry for each file that was sent.
            Value::Array(entries) => {
                let objects = entries.iter().filter_map(Value::as_object);
                objects.map(|entry| self.object(entry, depth + 1, true)).fold(Verdict::Silent, worse)
            }
            Value::String(text) => self.text(text, depth),
            Value::Bool(false) => Verdict::Failed,
            Value::Number(number) if number.as_f64().is_some_and(|number| number < 0.0) => Verdict::Failed,
            _ => Verdict::Silent,
        }
    }

    /// A text, which may hold JSON once more.
    fn text(&mut self, text: &str, depth: usize) -> Verdict {
        let text = text.trim();
        let inner = text.starts_with(['{', '[']) && depth < DEEPEST;
        match inner.then(|| serde_json::from_str::<Value>(text).ok()).flatten() {
            Some(value) => self.value(&value, depth + 1),
            None => of_text(text),
        }
    }

    /// `is_about`: it stands where it is about the upload; elsewhere only a flag counts.
    fn object(&mut self, object: &Map<String, Value>, depth: usize, is_about: bool) -> Verdict {
        if depth > DEEPEST || self.left < object.len() {
            return Verdict::Silent;
        }
        self.left -= object.len();
        let fields: Vec<(String, &Value)> = object.iter().map(|(name, value)| (plain(name), value)).collect();
        let among = |names: &[&str]| -> Vec<&Value> {
            fields.iter().filter(|(name, _)| names.contains(&&**name)).map(|(_, value)| *value).collect()
        };
        let says_no = among(&SUCCESS_FLAGS).into_iter().any(|value| flag(value) == Some(false))
            || among(&FAILURE_FLAGS).into_iter().any(is_raised);
        if says_no || (is_about && says_no_otherwise(&fields)) {
            return self.found(object, Verdict::Failed);
        }
        let inner = self.inner(&fields, depth);
        if inner == Verdict::Failed {
            return inner;
        }
        let says_yes = among(&SUCCESS_FLAGS).into_iter().any(|value| flag(value) == Some(true))
            || among(&STORED_FLAGS).into_iter().any(|value| done(value) == Some(true));
        if says_yes {
            return worse(Verdict::Well, inner);
        }
        if !is_about {
            return inner;
        }
        let has_error = among(&ERRORS).into_iter().any(is_error)
            || fields.iter().any(|(name, value)| {
                // Other names for them: `uploadError`, `fileErrors`.
                is_error_name(name) && !matches!(value, Value::Bool(_) | Value::Number(_)) && is_error(value)
            })
            || among(&ERROR_CODES)
                .into_iter()
                .any(|code| of_code(code).is_some_and(|verdict| verdict != Verdict::Well));
        if has_error {
            return self.found(object, Verdict::Failed);
        }
        let found = worse(of_codes(&fields), inner);
        if found == Verdict::Silent && (is_only_detail(&fields) || is_only_bad_news(&fields)) {
            return self.found(object, Verdict::Failed);
        }
        self.found(object, found)
    }

    fn inner(&mut self, fields: &[(String, &Value)], depth: usize) -> Verdict {
        let mut found = Verdict::Silent;
        for (name, value) in fields {
            if ELSEWHERE.contains(&&**name) || ERRORS.contains(&&**name) || FAILURE_FLAGS.contains(&&**name) {
                continue;
            }
            let is_about = is_wrapper(name) || fields.len() == 1;
            let said = match value {
                Value::Object(object) => self.object(object, depth + 1, is_about),
                Value::Array(entries) => {
                    let objects = entries.iter().filter_map(Value::as_object);
                    objects.map(|entry| self.object(entry, depth + 1, is_about)).fold(Verdict::Silent, worse)
                }
                Value::String(text) if is_about && text.trim_start().starts_with(['{', '[']) => {
                    self.text(text, depth)
                }
                _ => Verdict::Silent,
            };
            found = worse(found, said);
        }
        found
    }

    /// Keeps the innermost object that says no.
    fn found(&mut self, object: &Map<String, Value>, verdict: Verdict) -> Verdict {
        if matches!(verdict, Verdict::Failed | Verdict::Unclear) && self.words.is_none() {
            self.words = Some(Value::Object(object.clone()));
        }
        verdict
    }
}

/// Whether an object that is about the upload says no by something else than a flag.
fn says_no_otherwise(fields: &[(String, &Value)]) -> bool {
    let is_status = |name: &str, value: &Value| {
        let text = value.as_str();
        let line = text.and_then(|text| status_line(text.trim()));
        // A bare number is a status where it is called one: a result of 404 may be an id, or how many there are.
        let number = text.map_or_else(|| value.as_f64(), |text| text.trim().parse().ok());
        let may_be_status = name.contains("stat")
            || STATUSES.contains(&name)
            || number.is_some_and(|number: f64| number < 0.0);
        line.is_some_and(|code| code >= 400)
            || (may_be_status
                && !matches!(value, Value::Bool(_))
                && of_code(value) == Some(Verdict::Failed)
                && text.and_then(word).is_none())
    };
    fields.iter().any(|(name, value)| {
        let among = |names: &[&str]| names.contains(&&**name);
        // A store that names ranges which it still expects has not everything.
        (name == "nextexpectedranges" && value.as_array().is_some_and(|ranges| !ranges.is_empty()))
            || (among(&DONE_FLAGS) && done(value) == Some(false))
            || (among(&VALID_FLAGS) && done(value) == Some(false))
            || (among(&STORED_FLAGS) && value.as_u64() == Some(0))
            || (among(&STATES)
                && (matches!(value, Value::Bool(false)) || is_bad_state(value) || is_status(name, value)))
            || (among(&KINDS) && is_bad_kind(name, value))
            || (among(&STATUSES) && is_status(name, value))
    })
}

/// Whether a kind is that of failures. How much something matters may be said of anything: only `error` is plain there.
fn is_bad_kind(name: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    match name {
        "level" | "severity" => text.trim().eq_ignore_ascii_case("error"),
        _ => word(text) == Some(Verdict::Failed),
    }
}

/// What the codes say, by themselves and with the words beside them.
fn of_codes(fields: &[(String, &Value)]) -> Verdict {
    let messages: Vec<&Value> =
        fields.iter().filter(|(name, _)| is_message(name)).map(|(_, value)| *value).collect();
    let codes = fields.iter().filter(|(name, _)| CODES.contains(&&**name)).map(|(_, value)| *value);
    let mut found = Verdict::Silent;
    for said in codes.filter_map(of_code) {
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

/// Whether a state is a bad one: a word, a label of several (`quota_exceeded`), a sentence that begins so. The name of a
/// file is none.
fn is_bad_state(value: &Value) -> bool {
    const LONGEST_LABEL: usize = 40;
    let Some(text) = value.as_str().map(str::trim) else { return false };
    if !text.contains(char::is_whitespace) && text.contains(['.', '/']) {
        return false;
    }
    word_of(value) == Some(Verdict::Failed)
        || (text.len() <= LONGEST_LABEL && text.parse::<i64>().is_err() && of_text(text) == Verdict::Failed)
}

/// `FastAPI`, and those who learnt from it, say nothing else when they refuse.
fn is_only_detail(fields: &[(String, &Value)]) -> bool {
    const BESIDE: [&str; 4] = ["type", "title", "instance", "requestid"];
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

/// Whether all that is said is a message, and that is a bad one: `{"message":"Internal Server Error"}`.
fn is_only_bad_news(fields: &[(String, &Value)]) -> bool {
    let nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let others = fields.iter().all(|(name, value)| {
        is_message(name)
            || CODES.contains(&&**name)
            || (BESIDE_MESSAGES.contains(&&**name) && (name != "data" || nothing(value)))
    });
    let messages = fields.iter().filter(|(name, _)| is_message(name)).filter_map(|(_, value)| value.as_str());
    others && messages.map(of_text).fold(Verdict::Silent, worse) == Verdict::Failed
}

/// `status=error&msg=no`, and the same in lines: INI files, events. A name that comes again begins another group.
fn pairs_of(text: &str) -> Vec<Map<String, Value>> {
    const LONGEST_NAME: usize = 24;
    const MOST: usize = 64;
    let lines: Vec<&str> =
        text.split(['\n', '&']).map(str::trim).filter(|line| !line.is_empty()).take(MOST).collect();
    let pair = |line: &str| -> Option<(String, String)> {
        let (name, value) = line.split_once(['=', ':'])?;
        let is_name = !name.is_empty()
            && name.len() <= LONGEST_NAME
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let value = value.trim().trim_matches('"');
        (is_name && !value.starts_with("//")).then(|| (name.to_owned(), value.to_owned()))
    };
    let mut groups = vec![Map::new()];
    for line in lines {
        let Some((name, value)) = pair(line) else { return Vec::new() };
        if let Some(group) = groups.last_mut().filter(|group| !group.contains_key(&name)) {
            group.insert(name, Value::String(value));
        } else {
            groups.push(Map::from_iter([(name, Value::String(value))]));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Row {
        name: String,
        body: String,
        says: String,
    }

    /// Both ways to be wrong: a "no" that is taken for a success, and an honest answer that is taken for a "no".
    #[test]
    fn what_stores_say_under_a_success_is_understood_in_every_form() {
        let text =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/stored-answers.json"));
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        let wrong: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                let verdict = of_body(&row.body).verdict;
                let got = match verdict {
                    Verdict::Failed => "no",
                    Verdict::Unclear => "unclear",
                    Verdict::Well | Verdict::Silent => "fine",
                };
                (got != row.says)
                    .then(|| format!("{}: {verdict:?}, not {}: {}", row.name, row.says, row.body))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

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
        assert_eq!(of_text("OK - 7"), Verdict::Well);
    }

    #[test]
    fn a_bomb_of_values_costs_no_more_than_its_length() {
        let wide = format!("{{\"files\":[{}]}}", vec![r#"{"a":{"b":1}}"#; 4000].join(","));
        assert_eq!(of_body(&wide).verdict, Verdict::Silent);
        let deep = format!("{}1{}", r#"{"data":"#.repeat(100), "}".repeat(100));
        assert_eq!(of_body(&deep).verdict, Verdict::Silent);
        assert_eq!(of_body(&"{".repeat(60_000)).verdict, Verdict::Silent);
        assert_eq!(of_body(&"<a>".repeat(20_000)).verdict, Verdict::Silent);
    }
}
