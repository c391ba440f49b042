//! Words that are not Ferry's: what a service, a server, a file's name or an imported file says.
//!
//! A service's error once moved the cursor of the terminal that showed it, turned a row around, and laid a signature down
//! in the database. So no such words are a `String` where they are kept or shown: they are [`Foreign`], and there is no way
//! to make one that does not clean them.

use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write as _};
use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::redaction::{holds_known, redact};
use crate::unseen::{is_invisible, keep_joiners};

/// The longest text that is kept, in characters.
const LONGEST: usize = 1000;
/// So many marks are stacked on a letter in any script that is written.
const MOST_MARKS: usize = 8;

/// Words of somebody else, fit to be kept and shown: one line without anything invisible or that steers a terminal or turns
/// a text around, without secrets that can be told by their looks, at most 1000 characters.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Foreign(Box<str>);

impl Foreign {
    /// These words, cut to `limit` characters (between those that readers see) with an ellipsis.
    pub(crate) fn limited(text: &str, limit: usize) -> Self {
        if is_harmless(text) && text.len() <= limit && !holds_known(text) {
            return Self(text.into());
        }
        let line = in_one_line(text, limit.saturating_mul(16));
        let line = match keep_joiners(&line) {
            // One that joined nothing may have kept two blanks apart.
            Cow::Owned(line) => line.split_whitespace().collect::<Vec<_>>().join(" "),
            Cow::Borrowed(_) => line,
        };
        // A store that explains a wrong signature goes on with all that belongs to it.
        let line = redact(before_what_was_signed(&line));
        Self(cut(&line, limit).into())
    }

    /// A path, as it may be shown. Of one that is too long the end is kept, which has the name.
    pub fn path(path: &Path) -> Self {
        let text = path.to_string_lossy();
        let length = text.chars().count();
        let kept: Cow<'_, str> = match length.checked_sub(LONGEST - 1) {
            Some(more) if length > LONGEST => {
                format!("…{}", text.chars().skip(more).collect::<String>()).into()
            }
            _ => text,
        };
        Self::limited(&kept, LONGEST)
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lines as they may stand in a terminal: without what steers it, turns them around or is not seen.
pub fn without_controls(lines: &str) -> Cow<'_, str> {
    let goes = |c: char| is_unfit(c) && !matches!(c, '\n' | '\t');
    if lines.contains(goes) { lines.replace(goes, "").into() } else { lines.into() }
}

/// Whether this steers a terminal, turns a line around or is not seen, and joins nothing.
pub(crate) fn is_unfit(c: char) -> bool {
    is_invisible(c) && !matches!(c, '\u{200c}' | '\u{200d}')
}

/// JSON as it may stand in a terminal: what steers it, turns a line around or is not seen stands escaped. It is the same JSON.
pub fn as_plain_json(json: &str) -> Cow<'_, str> {
    let goes = |c: char| !c.is_ascii_control() && is_invisible(c) || c == '\u{7f}';
    if !json.contains(goes) {
        return json.into();
    }
    let mut plain = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if goes(c) {
            // Such signs stand in strings only.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    plain.into()
}

/// Whether nothing has to be looked at closer: most words are letters, digits and full stops.
fn is_harmless(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins_like = |at: usize, mark: &str| {
        bytes.get(at..at + mark.len()).is_some_and(|there| there.eq_ignore_ascii_case(mark.as_bytes()))
    };
    let is_harmless_at = |at: usize, byte: u8| match byte {
        b' ' => at > 0 && bytes.get(at + 1).is_some_and(|next| *next != b' '),
        b's' | b'S' => !["sk-", "string to sign", "string-to-sign", "stringtosign"]
            .iter()
            .any(|mark| begins_like(at, mark)),
        b'b' | b'B' => !begins_like(at, "bearer"),
        b'c' | b'C' => !begins_like(at, "canonical"),
        b'e' | b'E' => !begins_like(at, "eyj"),
        b'a' | b'A' => !["akia", "asia", "aiza"].iter().any(|mark| begins_like(at, mark)),
        b'g' | b'G' => !["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"]
            .iter()
            .any(|mark| begins_like(at, mark)),
        b'x' | b'X' => !begins_like(at, "xox") && !begins_like(at, "xapp-"),
        b't' | b'T' => !begins_like(at, "token "),
        _ => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b',' | b'_' | b'-' | b'/' | b'(' | b')'),
    };
    bytes.iter().enumerate().all(|(at, byte)| is_harmless_at(at, *byte))
}

/// One line of what is to be seen: controls, what turns a text around and what has no shape are gone, breaks are blanks. Looks
/// at `most` characters; half a word at the end of them could be half a secret, and goes.
fn in_one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    let (mut blank, mut marks) = (false, 0);
    let mut rest = text;
    for _ in 0..most {
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        if matches!(c, '\u{1b}' | '\u{9b}') {
            rest = after_colour(c, rest);
            continue;
        }
        if c.is_whitespace() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') {
            blank = true;
            continue;
        }
        let is_joiner = matches!(c, '\u{200c}' | '\u{200d}');
        if is_invisible(c) && !is_joiner {
            continue;
        }
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > MOST_MARKS {
            continue;
        }
        if std::mem::take(&mut blank) && !line.is_empty() {
            line.push(' ');
        }
        line.push(c);
    }
    if !rest.is_empty() {
        let end =
            line.rfind(' ').unwrap_or_else(|| line.char_indices().rev().nth(63).map_or(0, |(at, _)| at));
        line.truncate(end);
    }
    line
}

/// What is left behind a sequence that sets colours (ECMA-48, SGR), of which `first` was read. Of any other only the control
/// itself goes: what a terminal would swallow with it may be a part of the name by which a secret is known.
fn after_colour(first: char, rest: &str) -> &str {
    let body = if first == '\u{1b}' { rest.strip_prefix('[') } else { Some(rest) };
    let end =
        body.map(|body| body.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':')));
    end.and_then(|end| end.strip_prefix('m')).unwrap_or(rest)
}

fn before_what_was_signed(text: &str) -> &str {
    let lower = text.to_ascii_lowercase();
    let telltale =
        ["stringtosign", "string to sign", "string-to-sign", "canonicalrequest", "canonical request"];
    let end = telltale.iter().filter_map(|words| lower.find(words)).min().unwrap_or(text.len());
    text[..end].trim_end()
}

/// At most so many characters, none of which a reader sees is cut in two.
fn cut(text: &str, limit: usize) -> String {
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let (mut kept, mut length) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        length += grapheme.chars().count();
        if length >= limit {
            break;
        }
        kept.push_str(grapheme);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

impl From<&str> for Foreign {
    fn from(text: &str) -> Self {
        Self::limited(text, LONGEST)
    }
}

impl From<String> for Foreign {
    fn from(text: String) -> Self {
        let is_fit = is_harmless(&text) && text.len() <= LONGEST && !holds_known(&text);
        if is_fit { Self(text.into()) } else { text.as_str().into() }
    }
}

impl From<Foreign> for String {
    fn from(words: Foreign) -> Self {
        words.0.into()
    }
}

/// What an earlier Ferry, or another hand, wrote down is cleaned as it is read.
impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Deref for Foreign {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Foreign {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Foreign {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Foreign {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Foreign {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<String> for Foreign {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// For the page it is a text like others.
impl TS for Foreign {
    type WithoutGenerics = Self;
    type OptionInnerType = Self;

    fn name(_: &ts_rs::Config) -> String {
        "string".to_owned()
    }

    fn inline(_: &ts_rs::Config) -> String {
        "string".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    use super::*;
    use crate::asset::{Asset, AssetInfo};
    use crate::error::{Error, Failure};
    use crate::http::answer;
    use crate::library_file;
    use crate::services::refused;
    use crate::store::Stored;
    use crate::transfer::{TimelineEntry, Transfer, TransferId};
    use crate::unseen::is_joiner;
    use crate::words::{Peer, Words};

    /// Every planted secret begins so, and nothing else does.
    const MARK: &str = "Q7x9";

    #[test]
    fn words_of_others_are_one_line_of_what_is_to_be_seen() {
        for (text, expected) in [
            ("as it came", "as it came"),
            (" two\r\n  lines\u{2028}and\tmore ", "two lines and more"),
            ("\u{1b}[31;1mred\u{1b}[0m \u{9b}2mdim", "red dim"),
            ("\u{1b}]0;title\u{7}x\u{1b}[2J", "]0;titlex[2J"),
            ("photo\u{202e}gpj.exe \u{2066}x\u{2069}", "photogpj.exe x"),
            ("a\u{200b}b\u{e0041}c\u{fdd0}d\u{0}e\u{7f}f\u{85}g", "abcdef g"),
            ("👩\u{200d}👧 می\u{200c}روم a\u{200d}b", "👩\u{200d}👧 می\u{200c}روم ab"),
            ("s\u{200b}ig=abc", "sig=•••"),
            ("wrong. StringToSign: GOOG4 abc", "wrong."),
            ("sk-MARKED-SECRET", "•••"),
        ] {
            assert_eq!(Foreign::from(text), expected, "{text:?}");
        }
        let marks = format!("a{}", "\u{301}".repeat(500));
        assert_eq!(Foreign::from(marks.as_str()).chars().count(), 1 + MOST_MARKS);
        let long = Foreign::limited(&"👩\u{200d}👧".repeat(50), 8);
        assert_eq!(long, "👩\u{200d}👧👩\u{200d}👧…", "cut between what readers see");
        assert_eq!(Foreign::from("x ".repeat(5000)).chars().count(), LONGEST);
    }

    #[test]
    fn json_is_the_same_and_steers_no_terminal() {
        let text = "a\u{9b}31m \u{202e}b \u{7f} \u{200d} \u{e0041} \u{85} é海👩 \" \\ \n";
        let json = serde_json::to_string(text).unwrap();
        let plain = as_plain_json(&json);
        assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
        assert!(!plain.chars().any(is_invisible), "{plain:?}");
        assert!(plain.contains("é海👩") && plain.contains("\\u009b31m"), "{plain}");
        assert!(matches!(as_plain_json("{\"a\":1}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_path_that_is_too_long_keeps_its_name() {
        let path = format!("/{}/film.mp4", "x".repeat(3000));
        let shown = Foreign::path(Path::new(&path));
        assert!(shown.starts_with('…') && shown.ends_with("/film.mp4") && shown.chars().count() == LONGEST);
    }

    /// A secret as services, stores and libraries write it.
    fn planted() -> impl Strategy<Value = String> {
        const NAMES: &[&str] = &[
            "sig",
            "apikey",
            "api_key",
            "api-key",
            "token",
            "access_token",
            "password",
            "key",
            "code",
            "Signature",
            "X-Amz-Signature",
            "X-Amz-Security-Token",
            "X-Goog-Signature",
            "X-Goog-Credential",
            "upload_id",
            "client_secret",
            "Authorization",
        ];
        const FORMS: &[&str] = &[
            "https://h.example/p?a=b&NAME=SECRET&c=d",
            "https://h.example/p?SECRET",
            "https://h.example/p#NAME=SECRET",
            "https://user:SECRET@h.example/p",
            "h.example/p?NAME=SECRET",
            "NAME=SECRET",
            "NAME = SECRET",
            "NAME: SECRET",
            "{\"NAME\":\"SECRET\"}",
            "{\"NAME\": \"SECRET\"}",
            "{\\\"NAME\\\":\\\"SECRET\\\"}",
            "NAME%3DSECRET",
            "NAME%253DSECRET",
            "https%3A%2F%2Fh.example%2Fp%3FNAME%3DSECRET",
            "NAME\\u003dSECRET",
            "NAME&#61;SECRET",
            "Bearer SECRET",
            "Authorization: Bearer SECRET",
            "sk-SECRET",
            "'NAME'='SECRET'",
            "<NAME=SECRET>",
        ];
        (select(NAMES), select(FORMS), "[a-zA-Z0-9]{12,40}").prop_map(|(name, form, tail)| {
            form.replace("NAME", name).replace("SECRET", &format!("{MARK}{tail}"))
        })
    }

    /// What is around it, and in it: what steers terminals, turns texts around, or is not seen.
    fn foreign() -> impl Strategy<Value = String> {
        let noise = "(\u{1b}\\[31m|\u{1b}\\]0;x\u{7}|\u{202e}|\u{2066}|\u{200b}|\u{200d}|\u{2028}|\u{85}|\u{7f}|\u{e0041}|\u{0}|\n| |[a-z]{1,7} |é|海|👩|\"|,|\\.|%|\\\\){0,8}";
        let unseen = select(vec!["", "", "\u{200b}", "\u{202e}", "\u{0}", "\u{1b}[1m", "\u{feff}"]);
        (noise, proptest::option::weighted(0.8, planted()), any::<prop::sample::Index>(), unseen, noise)
            .prop_map(|(before, planted, place, unseen, after)| {
                let mut planted = planted.unwrap_or_default();
                let places: Vec<usize> = planted.char_indices().map(|(at, _)| at).collect();
                if !places.is_empty() {
                    planted.insert_str(places[place.index(places.len())], unseen);
                }
                format!("{before} {planted} {after}")
            })
    }

    #[track_caller]
    fn is_clean(shown: &str) {
        assert!(!shown.contains(MARK), "a secret: {shown:?}");
        let is_unfit = |c: char| crate::unseen::is_invisible(c) && !is_joiner(c);
        assert!(!shown.chars().any(is_unfit), "unfit: {shown:?}");
    }

    /// Every text in some JSON.
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
            _ => {}
        }
    }

    #[track_caller]
    fn all_clean(value: &impl Serialize) {
        let mut found = Vec::new();
        texts(&serde_json::to_value(value).unwrap(), &mut found);
        found.iter().for_each(|text| is_clean(text));
    }

    proptest! {
        #[test]
        fn nothing_that_anybody_says_is_shown_or_kept_as_it_came(text in foreign()) {
            is_clean(&Foreign::from(text.as_str()));
            is_clean(&Foreign::limited(&text, 40));
            is_clean(&Foreign::path(Path::new(&text)));

            // A service's or a store's error, in each of its fields and forms.
            let xml = quick_xml::escape::escape(text.as_str());
            for body in [
                json!({"code": text, "msg": text, "failed": true, "requestId": text}).to_string(),
                json!({"detail": text}).to_string(),
                json!({"detail": [{"loc": ["body", text], "msg": text, "type": "x"}]}).to_string(),
                json!({"title": text, "detail": text, "status": 400}).to_string(),
                json!({"timestamp": 1, "status": 500, "error": text}).to_string(),
                json!({"error": {"code": text, "message": text, "errors": [{"reason": text}]}}).to_string(),
                json!(text).to_string(),
                format!("<html><title>{text}</title></html>"),
                format!("<Error><Code>{xml}</Code><Message>{xml}</Message><RequestId>{xml}</RequestId></Error>"),
                text.clone(),
            ] {
                let refusal = answer::decode(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
                let error = refused(&refusal, Peer::service("mavi"), "GET /x");
                is_clean(&error.to_string());
                all_clean(&Failure::from(&error));
                all_clean(&error.happened());
                is_clean(&error.happened().to_column());
            }

            // What is said of an asset, and what a library says.
            let info = json!({"asset_id": text, "name": text, "size": 1, "status": text, "created": text});
            all_clean(&serde_json::from_value::<AssetInfo>(info).unwrap());
            let asset = json!({
                "service": "mavi", "asset_id": "re_1", "name": text, "size": 1, "crc32c": null, "status": "sent", "at": 1,
            });
            let read = library_file::read(json!([asset]).to_string().as_bytes()).unwrap();
            all_clean(&read);
            let table = library_file::csv(&[serde_json::from_value::<Asset>(asset).unwrap()]);
            prop_assert_eq!(library_file::read(table.as_bytes()).unwrap(), read);
            let quoted = text.replace('"', "\"\"");
            let table = format!("service,asset_id,name,size,crc32c,status,at\nmavi,re_1,\"{quoted}\",1,,sent,1\n");
            all_clean(&library_file::read(table.as_bytes()).unwrap());

            // What an earlier Ferry wrote down.
            let mut row = serde_json::to_value(Transfer::blank(TransferId(1))).unwrap();
            for field in ["name", "asset_id", "host", "checksum", "note"] {
                row[field] = json!(text);
            }
            row["state"] = json!({
                "is": "failed", "code": "internal", "message": text, "why": text, "advice": text, "remedy": "retry",
            });
            row["wait"] = json!({
                "reason": "retry", "until": null, "what": {"is": "asset_unknown", "service": "mavi", "id": text}, "why": text,
            });
            let task = json!({"download": {"what": text, "is_url": false, "folder": "/d"}}).to_string();
            let stored = Stored::read(&row.to_string(), &task, None).unwrap();
            all_clean(&stored.row);
            all_clean(&stored.task);
            let line = TimelineEntry { at: 1, text: Words::from_column(text.clone()) };
            all_clean(&line);
            let own = json!({"is": "file_failed", "doing": text, "path": text}).to_string();
            all_clean(&Words::from_column(own));

            // And whatever is made of these later.
            let mut error = Error::internal(text.as_str()).because(text.as_str()).advise(text.as_str());
            error.retry_after = Some(Duration::from_secs(1));
            is_clean(&error.to_string());
        }

        #[test]
        fn doing_it_again_changes_nothing(text in foreign()) {
            let once = Foreign::from(text);
            prop_assert_eq!(Foreign::from(once.as_str()), once);
        }
    }

    #[test]
    fn words_that_look_like_a_sentence_of_ferrys_stay_somebody_elses() {
        let forged = Words::from(r#"{"is":"no_network"}"#);
        assert_eq!(Words::from_column(forged.to_column()), forged);
    }
}
