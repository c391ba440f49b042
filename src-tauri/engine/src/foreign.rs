//! Words that are not Ferry's: what a service, a server, a file's name or an imported file says.
//!
//! A service's error once moved the cursor of the terminal that showed it, turned a row around, and laid a signature down
//! in the database. So no such words are a `String` where they are kept or shown: they are [`Foreign`], and there is no way
//! to make one that does not clean them.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::filename::{is_invisible, keep_joiners};
use crate::redaction::redact;

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
        if is_harmless(text) && text.len() <= limit {
            return Self(text.into());
        }
        let line = in_one_line(text, limit.saturating_mul(16));
        let line = keep_joiners(&line);
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
        if matches!(c, '\u{1b}' | '\u{90}' | '\u{98}' | '\u{9b}' | '\u{9d}' | '\u{9e}' | '\u{9f}') {
            rest = after_sequence(c, rest);
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

/// What is left behind a control sequence (ECMA-48), of which `first` was read. One that has no end is no sequence: only
/// its beginning goes, or it could hide all the rest.
fn after_sequence(first: char, rest: &str) -> &str {
    let (kind, body) = match (first, rest.chars().next()) {
        ('\u{1b}', Some(kind @ ('[' | ']' | 'P' | 'X' | '^' | '_'))) => (kind, &rest[1..]),
        // Two characters, of which the second stands for a control.
        ('\u{1b}', Some(' '..='~')) => return &rest[1..],
        ('\u{1b}', _) => return rest,
        ('\u{9b}', _) => ('[', rest),
        _ => (']', rest),
    };
    if kind == '[' {
        let is_parameter = |c: char| matches!(c, ' '..='?');
        let end = body.trim_start_matches(is_parameter);
        return match end.chars().next() {
            Some('@'..='~') => &end[1..],
            _ => body,
        };
    }
    let end = body.char_indices().find_map(|(at, c)| match c {
        '\u{7}' | '\u{9c}' => Some(at + c.len_utf8()),
        '\u{1b}' if body[at + 1..].starts_with('\\') => Some(at + 2),
        _ => None,
    });
    end.map_or(body, |end| &body[end..])
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
        if is_harmless(&text) && text.len() <= LONGEST { Self(text.into()) } else { text.as_str().into() }
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
