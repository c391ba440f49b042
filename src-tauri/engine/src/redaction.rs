//! What must never be shown, found in any text and hidden: queries of URLs, signatures, keys, tokens, passwords.
//!
//! Whoever echoes a secret writes it as it came to hand: percent-encoded (once or several times), as JSON within JSON, as an
//! entity of HTML. The text is therefore looked at with those spellings undone, and what is hidden is cut out of the text as
//! it was. What cannot be recognised by a name, a prefix or its place in a URL cannot be found here: Ferry's own texts hold
//! no secret in the first place.

use std::borrow::Cow;
use std::ops::Range;

/// What stands where a secret was.
const HIDDEN: &str = "•••";

/// Ends of names whose values are secrets, without `-` and `_`: `client_secret`, `X-Goog-Signature`, `access_token`.
const SECRET: [&str; 14] = [
    "signature",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accesskeyid",
    "googleaccessid",
    "uploadid",
    "password",
    "passwd",
    "secret",
    "credential",
    "authorization",
    "cookie",
];

/// What stands before the secret in `Authorization` (RFC 9110 §11).
const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "token", "apikey"];

/// How many times an encoded text may have been encoded before: who nests deeper hides nothing that anybody reads.
const DEEPEST: usize = 6;

/// The text with every secret in it replaced by `•••`: the query, the fragment and the user of a URL, the values of
/// parameters that sign or let in, keys.
pub fn redact(text: &str) -> Cow<'_, str> {
    /// Two are enough for all that is written in earnest.
    const MOST: usize = 8;
    let mut shown = redact_once(text);
    // What was hidden may have kept a rule from seeing the rest; doing it again must change nothing.
    for _ in 0..MOST {
        let Cow::Owned(hidden) = &shown else { break };
        let again = redact_once(hidden).into_owned();
        if again == *hidden {
            break;
        }
        shown = again.into();
    }
    shown
}

fn redact_once(text: &str) -> Cow<'_, str> {
    if !may_hold_any(text) {
        return Cow::Borrowed(text);
    }
    let plain = Plain::of(text);
    let mut hidden = Vec::new();
    plain.values_of_secret_names(&mut hidden);
    plain.words(|word| {
        plain.parts_of_urls(word.clone(), &mut hidden);
        plain.keys(word, &mut hidden);
    });
    hidden.retain(|range| !range.is_empty());
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_unstable_by_key(|range| range.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for range in hidden {
        let (start, end) = (plain.place(range.start), plain.place(range.end));
        if start >= at && !(start == at && out.ends_with(HIDDEN)) {
            out.push_str(&text[at..start]);
            out.push_str(HIDDEN);
        }
        at = at.max(end);
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// A quick look: most texts hold nothing that any rule is about.
fn may_hold_any(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().any(|byte| matches!(byte, b'=' | b':' | b'?' | b'%' | b'\\' | b'&'))
        || ["sk-", "bearer", "eyj"]
            .iter()
            .any(|mark| bytes.windows(mark.len()).any(|window| window.eq_ignore_ascii_case(mark.as_bytes())))
}

/// A letter with its spelling undone, and where in the text it begins.
struct Letter {
    /// In lower case, if it is ASCII.
    letter: char,
    begins: usize,
    /// It stands in the text as itself: an encoded blank ends no word.
    is_itself: bool,
    is_upper: bool,
}

struct Plain {
    letters: Vec<Letter>,
    length: usize,
}

impl Plain {
    fn of(text: &str) -> Self {
        let (mut letters, mut at) = (Vec::with_capacity(text.len()), 0);
        while let Some(first) = text[at..].chars().next() {
            let (letter, length) = match encoded(&text.as_bytes()[at..]) {
                Some((byte, length)) => (char::from(byte), length),
                None => (first, first.len_utf8()),
            };
            letters.push(Letter {
                letter: letter.to_ascii_lowercase(),
                begins: at,
                is_itself: length == first.len_utf8(),
                is_upper: letter.is_ascii_uppercase(),
            });
            at += length;
        }
        Self { letters, length: text.len() }
    }

    /// Where the letter of this number begins in the text.
    fn place(&self, number: usize) -> usize {
        self.letters.get(number).map_or(self.length, |letter| letter.begins)
    }

    fn letter(&self, number: usize) -> Option<char> {
        self.letters.get(number).map(|letter| letter.letter)
    }

    /// Whether a word ends before this letter: at blanks and quotes, none of which stands in a URL as itself.
    fn is_end(&self, number: usize) -> bool {
        self.letters.get(number).is_none_or(|letter| {
            let c = letter.letter;
            let ends = c.is_whitespace() || c.is_control() || is_quote(c) || matches!(c, '<' | '>');
            letter.is_itself && ends
        })
    }

    fn end_of_word(&self, from: usize) -> usize {
        (from..self.letters.len()).find(|at| self.is_end(*at)).unwrap_or(self.letters.len())
    }

    /// The first place from this one on where something else stands.
    fn skip(&self, from: usize, is: impl Fn(char) -> bool) -> usize {
        (from..self.letters.len()).find(|at| !is(self.letters[*at].letter)).unwrap_or(self.letters.len())
    }

    fn words(&self, mut each: impl FnMut(Range<usize>)) {
        let mut at = 0;
        while at < self.letters.len() {
            let end = self.end_of_word(at);
            if end > at {
                each(at..end);
            }
            at = end + 1;
        }
    }

    fn find(&self, within: Range<usize>, sought: &str) -> Option<usize> {
        let length = sought.chars().count();
        let mut places = within.start..(within.end + 1).saturating_sub(length).max(within.start);
        places.find(|at| self.is_at(*at, sought))
    }

    fn is_at(&self, at: usize, sought: &str) -> bool {
        sought.chars().enumerate().all(|(offset, letter)| self.letter(at + offset) == Some(letter))
    }

    /// `name=value`, `"name": "value"`, `Name: value`, in any spelling.
    fn values_of_secret_names(&self, hidden: &mut Vec<Range<usize>>) {
        let mut covered = 0;
        for (at, separator) in self.letters.iter().enumerate() {
            if at < covered || !matches!(separator.letter, '=' | ':') {
                continue;
            }
            let Some(name) = self.name_before(at) else { continue };
            let begin = self.skip(at + 1, |c| matches!(c, ' ' | '\t'));
            let blanks = begin - (at + 1);
            let begin = self.skip(begin, |c| c == '\\');
            let quote = self.letter(begin).filter(|c| is_quote(*c));
            let begin = begin + usize::from(quote.is_some());
            let mut end = match quote {
                Some(quote) => (begin..self.letters.len())
                    .find(|at| self.letter(*at) == Some(quote))
                    .unwrap_or_else(|| self.end_of_word(begin)),
                None => self.end_of_word(begin),
            };
            let is_scheme = |scheme: &&str| end == begin + scheme.len() && self.is_at(begin, scheme);
            if quote.is_none() && name.ends_with("authorization") && SCHEMES.iter().any(is_scheme) {
                // The scheme and what belongs to it.
                end = self.end_of_word(end + 1).max(end).min(self.letters.len());
            }
            if quote.is_none() && name.ends_with("cookie") {
                // All the rest of the line belongs to it.
                end = (begin..self.letters.len())
                    .find(|at| self.letters[*at].is_itself && matches!(self.letter(*at), Some('\n' | '\r')))
                    .unwrap_or(self.letters.len());
            }
            let is_apart = blanks > 0 && separator.letter == ':';
            if self.is_secret(&name, begin..end, separator.letter, is_apart) {
                hidden.push(begin..end);
                covered = end;
            }
        }
    }

    /// The name before a `=` or `:`, in lower case, without `-`, `_` and what stands before its last dot.
    fn name_before(&self, separator: usize) -> Option<String> {
        const LONGEST: usize = 64;
        let mut end = separator;
        while end > 0
            && self.letter(end - 1).is_some_and(|c| matches!(c, ' ' | '\t' | '\\' | ']') || is_quote(c))
        {
            end -= 1;
        }
        let is_part = |at: &usize| {
            self.letter(*at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let begin = (0..end).rev().take(LONGEST).take_while(is_part).last()?;
        let name: String =
            (begin..end).filter_map(|at| self.letter(at)).filter(char::is_ascii_alphanumeric).collect();
        (!name.is_empty()).then_some(name)
    }

    /// Whether the value of this name is a secret. Some names stand in every second sentence, too (`error code: 5`): their
    /// values must look like one.
    fn is_secret(&self, name: &str, value: Range<usize>, separator: char, is_apart: bool) -> bool {
        let is_glued = separator == '=';
        if name.contains("xamz") || name.contains("xgoog") || SECRET.iter().any(|end| name.ends_with(end)) {
            return true;
        }
        if matches!(name, "sig" | "pwd" | "jwt" | "sas") || name.ends_with("xmssig") {
            return true;
        }
        if name.ends_with("token") || matches!(name, "auth" | "pass") {
            return !is_apart || self.looks_random(value, 8);
        }
        if matches!(name, "key" | "code") || name.ends_with("authcode") || name.ends_with("sessionkey") {
            let long_enough = if name == "code" { 16 } else { 8 };
            return if is_glued { value.len() > 5 } else { self.looks_random(value, long_enough) };
        }
        false
    }

    fn looks_random(&self, value: Range<usize>, shortest: usize) -> bool {
        value.len() >= shortest && value.clone().any(|at| self.letter(at).is_some_and(|c| c.is_ascii_digit()))
    }

    /// The user, the query and the fragment of a URL; of a path without a scheme the query.
    fn parts_of_urls(&self, word: Range<usize>, hidden: &mut Vec<Range<usize>>) {
        let scheme = self.find(word.clone(), "://");
        let question = word.clone().find(|at| self.letter(*at) == Some('?'));
        if let Some(scheme) = scheme.filter(|scheme| question.is_none_or(|question| question > *scheme)) {
            let host = scheme + 3;
            let is = |at: &usize, of: &[char]| self.letter(*at).is_some_and(|c| of.contains(&c));
            let rest = (host..word.end).find(|at| is(at, &['?', '#'])).unwrap_or(word.end);
            let path = (host..rest).find(|at| is(at, &['/', '\\'])).unwrap_or(rest);
            if let Some(user) = (host..path).rev().find(|at| is(at, &['@'])) {
                hidden.push(host..user);
            }
            hidden.push((rest + 1).min(word.end)..word.end);
            return;
        }
        if let Some(question) = question
            && (question..word.end).any(|at| self.letter(at) == Some('='))
        {
            hidden.push(question + 1..word.end);
        }
    }

    /// `sk-…`, `Bearer …`, and tokens that begin with the JSON of their header (RFC 7519).
    fn keys(&self, word: Range<usize>, hidden: &mut Vec<Range<usize>>) {
        let is_part = |at: &usize| {
            self.letter(*at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let mut at = word.start;
        while at < word.end {
            let starts_anew = at == 0 || !self.letter(at - 1).is_some_and(|c| c.is_ascii_alphanumeric());
            if self.is_at(at, "sk-") {
                let end = (at + 3..word.end).find(|at| !is_part(at)).unwrap_or(word.end);
                // "task-list" and "disk-2024-11-02" are words.
                let is_key = if starts_anew {
                    let has_upper = self.letters[at + 3..end].iter().any(|letter| letter.is_upper);
                    end - at >= 11 && (has_upper || end - at >= 23 || self.looks_random(at + 3..end, 8))
                } else {
                    let run = (at + 3..end)
                        .take_while(|at| self.letter(*at).is_some_and(|c| c.is_ascii_alphanumeric()));
                    let run = at + 3..at + 3 + run.count();
                    self.looks_random(run, 16)
                };
                if is_key {
                    hidden.push(at..end);
                }
                at = end;
                continue;
            }
            if starts_anew && self.is_at(at, "eyj") {
                let is_token = |at: &usize| is_part(at) || self.letter(*at) == Some('.');
                let end = (at..word.end).find(|at| !is_token(at)).unwrap_or(word.end);
                if end - at >= 20 && self.find(at..end, ".").is_some() {
                    hidden.push(at..end);
                    at = end;
                    continue;
                }
            }
            if starts_anew && self.is_at(at, "bearer") {
                let begin = self.skip(at + 6, |c| matches!(c, ' ' | '\t' | '+'));
                let end = self.end_of_word(begin);
                if begin > at + 6 && end >= begin + 8 {
                    hidden.push(begin..end);
                    at = at.max(end.min(word.end));
                    continue;
                }
            }
            at += 1;
        }
    }
}

fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"' | '`' | '“' | '”' | '‘' | '’' | '«' | '»')
}

/// A sign of ASCII in one of the ways in which texts write it, and the length of that: `%3D`, `%253D`, `\u003d`, `&#61;`.
fn encoded(bytes: &[u8]) -> Option<(u8, usize)> {
    let hex = |digits: &[u8]| {
        let text =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u8::from_str_radix(text, 16).ok().filter(u8::is_ascii)
    };
    match bytes {
        [b'%', rest @ ..] => {
            let again = rest.chunks(2).take(DEEPEST).take_while(|two| *two == b"25").count();
            let digits = rest.get(again * 2..again * 2 + 2)?;
            let byte = hex(digits)?;
            Some((byte, 3 + again * 2))
        }
        [b'\\', rest @ ..] => {
            let more = rest.iter().take(DEEPEST).take_while(|byte| **byte == b'\\').count();
            let digits = rest[more..].strip_prefix(b"u00")?.get(..2)?;
            Some((hex(digits)?, more + 6))
        }
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(5).position(|byte| *byte == b';')?;
            let text = std::str::from_utf8(&rest[..end]).ok()?;
            let byte = match text.strip_prefix(['x', 'X']) {
                Some(digits) => hex(digits.as_bytes())?,
                None => text.parse::<u8>().ok().filter(u8::is_ascii)?,
            };
            Some((byte, end + 3))
        }
        _ => {
            let named: [(&[u8], u8); 3] = [(b"&amp;", b'&'), (b"&quot;", b'"'), (b"&equals;", b'=')];
            named.iter().find(|(name, _)| bytes.starts_with(name)).map(|(name, byte)| (*byte, name.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_signs_or_lets_in_is_hidden_and_the_rest_stays() {
        for (text, expected) in [
            ("nothing to hide", "nothing to hide"),
            ("see https://a.example/x.mp4 now", "see https://a.example/x.mp4 now"),
            ("'https://a.example/x?X-Goog-Signature=abc&b=c' found", "'https://a.example/x?•••' found"),
            ("HTTPS://A.example/x#frag", "HTTPS://A.example/x#•••"),
            ("https://user:pass@a.example/p?q", "https://•••@a.example/p?•••"),
            ("https://a.example?x@y", "https://a.example?•••"),
            ("--to=https://a.example/x?sig=1", "--to=https://a.example/x?•••"),
            ("\u{1b}[33mhttps://a.example/?k=1\u{1b}[0m", "\u{1b}[33mhttps://a.example/?•••\u{1b}[0m"),
            ("a.example/x?X-Amz-Signature=abc&X-Amz-Date=1", "a.example/x?•••"),
            ("x?sv=1&sig=abc", "x?•••"),
            ("überfahrt – 渡し船 https://ä.example/ü?ö", "überfahrt – 渡し船 https://ä.example/ü?•••"),
            ("token=MARKED-SECRET&X-Goog-Signature=b", "token=•••"),
            ("sk-MARKED-SECRET&sig=b", "•••&sig=•••"),
            ("sk-a,sk-MARKED-SECRET,sk-MARKED-SECRET", "sk-a,•••,•••"),
            ("design=a", "design=a"),
            ("got {\"signature\": \"a b\", \"x\": 1}", "got {\"signature\": \"•••\", \"x\": 1}"),
            ("{\\\"api_key\\\":\\\"abc\\\"}", "{\\\"api_key\\\":\\\"•••\"}"),
            ("Authorization: Bearer abcdef and so on", "Authorization: ••• and so on"),
            ("it said bearer 0123abcd, twice", "it said bearer ••• twice"),
            ("Set-Cookie: a=b; path=/", "Set-Cookie: •••"),
            ("back to https%3A%2F%2Fa.example%2Fx%3Fq%3D1", "back to https%3A%2F%2Fa.example%2Fx%3F•••"),
            ("at h%253Fsig%253Dabc", "at h%253F•••"),
            ("sig\\u003dabc", "sig\\u003d•••"),
            ("sig&#61;abc sig&#x3d;abc", "sig&#61;••• sig&#x3d;•••"),
            ("%73ig=abc", "%73ig=•••"),
            ("#access_token=abc", "#access_token=•••"),
            ("key=0123456789", "key=•••"),
            ("api key: 0123456789", "api key: •••"),
            ("code=4/0AX4XfWh", "code=•••"),
            ("x-amz-meta-any: a", "x-amz-meta-any: •••"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "•••"),
            // What only looks alike.
            ("error code: 404", "error code: 404"),
            ("code: SignatureDoesNotMatch", "code: SignatureDoesNotMatch"),
            ("unexpected token: }", "unexpected token: }"),
            ("task-management-2024.pdf", "task-management-2024.pdf"),
            ("disk-2024-11-02-full.img", "disk-2024-11-02-full.img"),
            ("sk-subtitles.srt", "sk-subtitles.srt"),
            (
                "Design: a risk-free signature, sign=1, and 5? yes",
                "Design: a risk-free signature, sign=1, and 5? yes",
            ),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn doing_it_again_changes_nothing(text in "(sig|key|=|:|\\?|%3D|%25|\\\\u003d|&#61;|://|@|#|\"| |sk-|bearer |é|[a-z0-9]{1,9}){0,20}") {
            let once = redact(&text).into_owned();
            prop_assert_eq!(redact(&once).into_owned(), once);
        }
    }
}
