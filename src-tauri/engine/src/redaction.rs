//! What must never be shown, found in any text and hidden: queries of URLs, signatures, keys, tokens, passwords.
//!
//! Whoever echoes a secret writes it as it came to hand: percent-encoded (once or several times), as JSON within JSON, as an
//! entity of HTML. The text is therefore looked at with those spellings undone, and what is hidden is cut out of the text as
//! it was. What this process itself sends as a secret is known to it ([`learn`]) and found wherever it stands. What else cannot be
//! recognised by a name, a prefix or its place in a URL cannot be found here: Ferry's own texts hold no secret in the first place.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{LazyLock, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderMap;
use url::Url;

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

/// Beginnings of keys that say whose they are, and how many signs of letters, digits, `-` and `_` follow at least.
const PREFIXES: [(&str, usize); 14] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("aiza", 30),
];

/// The shortest secret that is looked for: what is shorter stands in words that hide nothing.
const SHORTEST: usize = 8;
/// The shortest value of a query that counts as a secret by its looks, whatever its name is.
const SHORTEST_UNNAMED: usize = 32;
/// So many of those that belong to single requests are remembered.
const MOST_REMEMBERED: usize = 4096;

/// What this process sent as a secret, or was given as one. Whoever echoes it bare, without a name and without a place in a URL,
/// finds it hidden.
static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

#[derive(Default)]
struct Known {
    /// By their first signs, in lower case.
    by_beginning: HashMap<[u8; SHORTEST], Vec<Box<[u8]>>>,
    /// Which pairs of signs any of them begins with, one bit for each.
    pairs: Vec<u64>,
    /// Those that are forgotten when there are too many, oldest first.
    passing: VecDeque<Box<[u8]>>,
}

impl Known {
    fn add(&mut self, secret: &[u8], passes: bool) {
        let Some(beginning) = secret.first_chunk::<SHORTEST>() else { return };
        let there = self.by_beginning.entry(*beginning).or_default();
        if there.iter().any(|one| **one == *secret) {
            if !passes {
                // A request carried it before anybody said that it is a key: now it stays.
                self.passing.retain(|one| **one != *secret);
            }
            return;
        }
        there.push(secret.into());
        self.pairs.resize(1 << 10, 0);
        let pair = pair_of(secret);
        self.pairs[pair / 64] |= 1 << (pair % 64);
        if !passes {
            return;
        }
        self.passing.push_back(secret.into());
        if self.passing.len() > MOST_REMEMBERED
            && let Some(oldest) = self.passing.pop_front()
            && let Some(beginning) = oldest.first_chunk::<SHORTEST>()
            && let Some(there) = self.by_beginning.get_mut(beginning)
        {
            there.retain(|one| *one != oldest);
            if there.is_empty() {
                self.by_beginning.remove(beginning);
            }
        }
    }

    /// How long the longest of them is that stands at the beginning of this text, in lower case.
    fn length_at(&self, text: &[u8]) -> Option<usize> {
        if self.pairs.is_empty() || text.len() < SHORTEST {
            return None;
        }
        let pair = pair_of(text);
        if self.pairs[pair / 64] & (1 << (pair % 64)) == 0 {
            return None;
        }
        let there = self.by_beginning.get(text.first_chunk::<SHORTEST>()?)?;
        there.iter().filter(|one| text.starts_with(one)).map(|one| one.len()).max()
    }
}

fn pair_of(text: &[u8]) -> usize {
    usize::from(text[0]) << 8 | usize::from(text[1])
}

fn add_known(secret: &str, passes: bool) {
    let secret = secret.trim().to_ascii_lowercase();
    let is_word = secret.len() < 16 && secret.bytes().all(|byte| byte.is_ascii_alphabetic());
    if secret.len() < SHORTEST || is_word || !secret.is_ascii() {
        return;
    }
    let is_there =
        |known: &Known| known.length_at(secret.as_bytes()).is_some_and(|length| length == secret.len());
    // A key that only passes so far must become one that stays.
    if !passes || !is_there(&KNOWN.read().unwrap_or_else(PoisonError::into_inner)) {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(secret.as_bytes(), passes);
    }
}

/// Hides a key from now on, in all that this process shows or keeps; its Base64, too.
pub(crate) fn learn_key(key: &str) {
    add_known(key, false);
    if key.len() >= SHORTEST {
        add_known(BASE64_STANDARD.encode(key).trim_end_matches('='), false);
    }
}

/// Hides what a request carries in secret: values of its query that sign or let in, and of headers that are marked and let in by
/// their name or look so. All that the user gives by `--header` is marked, a media type or the name of a project as well:
/// hidden, those were gone from every name of a file.
pub(crate) fn learn(url: &Url, headers: &HeaderMap) {
    for (name, value) in url.query_pairs() {
        learn_field(&name, &value);
    }
    for (name, value) in headers.iter().filter(|(_, value)| value.is_sensitive()) {
        let Ok(value) = value.to_str() else { continue };
        // What follows the scheme.
        let rest = value.split_once(' ').map(|(_, rest)| rest.trim());
        if header_lets_in(name.as_str()) {
            add_known(value, true);
            if let Some(rest) = rest {
                add_known(rest, true);
            }
            continue;
        }
        learn_field(name.as_str(), value);
        // A scheme and what only a machine writes, in a header of somebody's own.
        if let Some(rest) = rest.filter(|rest| is_mixed(rest)) {
            add_known(rest, true);
        }
    }
}

/// A name as it is compared: letters and digits, in lower case.
fn plain_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether a header is there to let in or to sign, by its name.
fn header_lets_in(name: &str) -> bool {
    const LET_IN: [&str; 8] = ["token", "key", "auth", "session", "sig", "jwt", "hmac", "sessionid"];
    let name = plain_name(name);
    // What tells one request from another is any words of the sender's.
    name != "idempotencykey" && SECRET.iter().chain(&LET_IN).any(|end| name.ends_with(end))
}

/// Whether letters and digits alternate as in no word with a number before or behind it.
fn is_mixed(text: &str) -> bool {
    text.len() >= 12 && turns(text) >= 2
}

/// Whether it is nothing that anybody would call a fault by: what stands where a code is meant may be a key.
pub(crate) fn is_no_word(text: &str) -> bool {
    text.len() >= 16 && turns(text) >= 4
}

/// How often letters and digits alternate; never in what holds anything else.
fn turns(text: &str) -> usize {
    let bytes = text.as_bytes();
    if !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return 0;
    }
    bytes.windows(2).filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit()).count()
}

/// Whether it looks as ids of services do: two small letters, `_`, and the rest. Keys that begin alike are none.
fn looks_like_id(value: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    value.split_once('_').is_some_and(|(kind, rest)| {
        kind.len() == 2
            && kind.bytes().all(|byte| byte.is_ascii_lowercase())
            && !matches!(kind, "sk" | "pk" | "rk")
            && !rest.is_empty()
            && rest.bytes().all(is_part)
    })
}

/// Whether it is words and numbers with `-` or `_` between them, as people name films.
fn is_of_words(value: &str) -> bool {
    let is_word = |part: &str| {
        let is_all = |is: fn(&u8) -> bool| part.as_bytes().iter().all(is);
        !part.is_empty() && (is_all(u8::is_ascii_alphabetic) || is_all(u8::is_ascii_digit))
    };
    value.contains(['-', '_']) && value.split(['-', '_']).all(is_word)
}

/// Hides the value of a field of a form or a query, if it signs or lets in, or looks as nothing but such a value does.
pub(crate) fn learn_field(name: &str, value: &str) {
    /// Ends of names whose values mostly sign or let in.
    const SIGN_OR_LET_IN: [&str; 8] =
        ["sig", "token", "keypairid", "sessionkey", "jwt", "auth", "hdnts", "hmac"];
    /// Names that do so only if they are the whole name: a `country_code` and a `sort_key` are no secrets.
    const ALONE: [&str; 5] = ["policy", "key", "code", "session", "ticket"];
    let name = plain_name(name);
    let has = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
    // Numbers and words are everywhere, and so are the ids that services give.
    let may_be_secret = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !looks_like_id(value);
    let is_named = if SECRET.iter().any(|end| name.ends_with(end)) {
        !value.bytes().all(|byte| byte.is_ascii_digit())
    } else if SIGN_OR_LET_IN.iter().any(|end| name.ends_with(end)) {
        may_be_secret
    } else {
        ALONE.contains(&&*name) && may_be_secret && !is_of_words(value)
    };
    let is_uuid = value.len() == 36 && value.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    // Whoever sends a file may say in its URL what it holds, which is named when it does not.
    let is_of_content =
        ["sha", "md5", "crc", "checksum", "hash", "digest"].iter().any(|of| name.contains(of));
    let is_random = value.len() >= SHORTEST_UNNAMED
        && !is_of_content
        && may_be_secret
        && !is_of_words(value)
        && !value.contains(['.', ' ', '/', ':'])
        && !is_uuid;
    // A form has the name of the file for a key.
    if (is_named && !(name == "key" && value.contains(['.', '/', '$']))) || is_random {
        add_known(value, true);
    }
    // An id of a key stands before what limits it (`AKIA…/20261129/us-east-1/s3/aws4_request`).
    if let Some((id, _)) = value.split_once('/').filter(|_| name.ends_with("credential")) {
        add_known(id, true);
    }
}

/// Whether there is anything in this text that this process knows to be a secret.
pub(crate) fn holds_known(text: &str) -> bool {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if known.pairs.is_empty() || text.len() < SHORTEST {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    (0..=lower.len() - SHORTEST).any(|at| known.length_at(&lower.as_bytes()[at..]).is_some())
}

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
    if !may_hold_any(text) && !holds_known(text) {
        return Cow::Borrowed(text);
    }
    let plain = Plain::of(text);
    let mut hidden = Vec::new();
    plain.known(&mut hidden);
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
        || ["sk-", "bearer", "eyj", "token ", "akia", "asia"]
            .iter()
            .chain(PREFIXES.iter().map(|(prefix, _)| prefix))
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

    /// What this process knows to be a secret, in any spelling.
    fn known(&self, hidden: &mut Vec<Range<usize>>) {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        if known.pairs.is_empty() {
            return;
        }
        // No secret that is looked for has a letter that is not of ASCII.
        let lower: Vec<u8> =
            self.letters.iter().map(|letter| u8::try_from(letter.letter).unwrap_or(0xff)).collect();
        let mut at = 0;
        while at < lower.len() {
            match known.length_at(&lower[at..]) {
                Some(length) => {
                    hidden.push(at..at + length);
                    at += length;
                }
                None => at += 1,
            }
        }
    }

    /// A key that says whose it is, beginning at this letter: where it ends.
    fn end_of_named_key(&self, at: usize, within: usize) -> Option<usize> {
        let is_part = |at: &usize| {
            self.letter(*at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let end = (at..within).find(|at| !is_part(at)).unwrap_or(within);
        let is_one =
            |(prefix, least): &(&str, usize)| self.is_at(at, prefix) && end >= at + prefix.len() + least;
        // The id of a key of Amazon's: "asia" is a word as well.
        let is_amazons = || {
            let is_capital = |letter: &Letter| letter.is_upper || letter.letter.is_ascii_digit();
            end == at + 20
                && (self.is_at(at, "akia") || self.is_at(at, "asia"))
                && self.letters[at..end].iter().all(is_capital)
        };
        (PREFIXES.iter().any(is_one) || is_amazons()).then_some(end)
    }

    /// `sk-…` and others by their beginnings, `Bearer …`, `token …`, and tokens that begin with the JSON of their header
    /// (RFC 7519).
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
            if starts_anew && let Some(end) = self.end_of_named_key(at, word.end) {
                hidden.push(at..end);
                at = end;
                continue;
            }
            // The word after it belongs to it, as with `bearer`.
            if starts_anew && self.is_at(at, "token ") {
                let begin = self.skip(at + 6, |c| matches!(c, ' ' | '\t'));
                let end = self.end_of_word(begin);
                if self.looks_random(begin..end, 8) {
                    hidden.push(begin..end);
                }
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
            ("got ghp_abcdefghijklmnopqrstuvwxyz0123456789.", "got •••."),
            ("github_pat_11ABCDEFG0abcdefghij_klmnop", "•••"),
            ("glpat-ABCdef123456_7890xyz", "•••"),
            ("'xoxb-1234567890-abcdefghij'", "'•••'"),
            ("(AIzaSyA1234567890abcdefghijklmnopqrstu)", "(•••)"),
            ("by AKIAIOSFODNN7EXAMPLE, ASIAIOSFODNN7EXAMPLE", "by •••, •••"),
            ("Authorization failed for token abcdef123456789", "Authorization failed for token •••"),
            // What only looks alike.
            ("asia-2024-holiday-film.mp4", "asia-2024-holiday-film.mp4"),
            ("invalid token at 14", "invalid token at 14"),
            ("ghp_short xoxb-1", "ghp_short xoxb-1"),
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

    #[test]
    fn what_was_sent_in_secret_is_hidden_wherever_it_is_echoed() {
        learn_key("MyMaviKey12345abcdefQQ");
        let url = "https://s.example/o?X-Amz-Signature=0f1e2d3c4b5a&X-Amz-Credential=KEYID7EXAMPLE9%2F20261129%2Fs3\
                   &X-Amz-Expires=3600&response-content-type=application&name=documentary.mp4\
                   &blob=0123456789abcdef0123456789abcdef01&id=550e8400-e29b-41d4-a716-446655440000\
                   &X-Content-MD5=fedcba9876543210fedcba9876543210\
                   &code=20261225&key=re_4f9a1c77d2b0&session=harbour-regatta-2026&sort_key=harbour2026x\
                   &title=a-long-name-of-words-with-hyphens-2026&part_token=20261231";
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "video/x-harbour1"),
            ("x-project", "harbour-wedding-2026"),
            ("x-title", "Regatta harbour2026"),
            ("x-auth-token", "harbourauthorisedonly"),
        ] {
            let mut value = reqwest::header::HeaderValue::from_static(value);
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut value = reqwest::header::HeaderValue::from_static("Custom Zq81kfjw02ld");
        value.set_sensitive(true);
        headers.insert("x-lets-in", value);
        headers.insert("x-plain", reqwest::header::HeaderValue::from_static("plain-value-0123"));
        learn(&Url::parse(url).unwrap(), &headers);
        learn_field("policy", "eYzFiB3Dqq81==");
        for (text, expected) in [
            ("The key MyMaviKey12345abcdefQQ is not valid", "The key ••• is not valid"),
            ("mymavikey12345ABCDEFqq!", "•••!"),
            ("xMyMaviKey12345abcdefQQx", "x•••x"),
            ("%4dyMaviKey12345abcdef%51Q", "•••"),
            ("basic TXlNYXZpS2V5MTIzNDVhYmNkZWZRUQ==", "basic •••=="),
            ("signature 0f1e2d3c4b5a does not match", "signature ••• does not match"),
            ("who is KEYID7EXAMPLE9?", "who is •••?"),
            ("KEYID7EXAMPLE9/20261129/s3", "•••"),
            ("you sent Zq81kfjw02ld", "you sent •••"),
            ("0123456789abcdef0123456789abcdef01", "•••"),
            ("eYzFiB3Dqq81==", "•••"),
            ("harbourauthorisedonly", "•••"),
            // What is no secret.
            ("a video/x-harbour1", "a video/x-harbour1"),
            ("harbour-wedding-2026.mp4", "harbour-wedding-2026.mp4"),
            ("harbour2026 harbour2026x", "harbour2026 harbour2026x"),
            ("harbour-regatta-2026, 20261225, 20261231", "harbour-regatta-2026, 20261225, 20261231"),
            ("re_4f9a1c77d2b0", "re_4f9a1c77d2b0"),
            ("a-long-name-of-words-with-hyphens-2026", "a-long-name-of-words-with-hyphens-2026"),
            ("documentary.mp4, application, 3600", "documentary.mp4, application, 3600"),
            ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
            ("plain-value-0123", "plain-value-0123"),
            ("fedcba9876543210fedcba9876543210", "fedcba9876543210fedcba9876543210"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
            assert_eq!(crate::foreign::Foreign::from(text), expected, "{text}");
        }
        // A key that is a word would hide it everywhere.
        learn_key("documentary");
        assert_eq!(redact("documentary"), "documentary");
    }

    #[test]
    fn what_single_requests_carry_is_forgotten_in_the_end() {
        let mut known = Known::default();
        for number in 0..MOST_REMEMBERED + 10 {
            known.add(format!("{number:08}secret").as_bytes(), true);
        }
        assert_eq!((known.passing.len(), known.by_beginning.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        assert_eq!(known.length_at(b"00000001secret"), None);
        assert_eq!(known.length_at(b"00000011secret and more"), Some(14));
        // But not one that turned out to be a key.
        known.add(b"00000011secret", false);
        assert!(!known.passing.iter().any(|one| **one == *b"00000011secret"));
        for number in 0..=MOST_REMEMBERED {
            known.add(format!("{number:08}another").as_bytes(), true);
        }
        assert_eq!(known.length_at(b"00000011secret"), Some(14));
        assert_eq!(known.length_at(b"00000012secret"), None);
    }

    proptest! {
        #[test]
        fn doing_it_again_changes_nothing(text in "(sig|key|=|:|\\?|%3D|%25|\\\\u003d|&#61;|://|@|#|\"| |sk-|bearer |é|[a-z0-9]{1,9}){0,20}") {
            let once = redact(&text).into_owned();
            prop_assert_eq!(redact(&once).into_owned(), once);
        }
    }
}
