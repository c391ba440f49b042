//! What headers say about parts of a file: ranges, validators, how long to wait.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, ETAG, LAST_MODIFIED, RANGE};
use serde::{Deserialize, Serialize};

/// The longest that a server's `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// How much older than its answer a `Last-Modified` must be to count as strong; see [`last_modified`].
const STRONG_AGE: Duration = Duration::from_mins(1);

/// A `Content-Range` header (RFC 9110 §14.4), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes first-last/total`: the body is this part, both ends included.
    Part {
        /// Offset of the body's first byte.
        first: u64,
        /// Offset of its last byte, never below `first`.
        last: u64,
        /// Size of the whole file; absent for `/*`.
        total: Option<u64>,
    },
    /// `bytes */total`: the range asked for lies outside a file of this size (416).
    Unsatisfied {
        /// Size of the whole file.
        total: u64,
    },
}

impl ContentRange {
    /// Reads the header. Anything contradictory, overflowing or in another unit is no range at all.
    ///
    /// Starlette answers 416 with `*/N`, without the unit that the RFC wants: accepted, since nothing else can be meant.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if let Some(total) = value.strip_prefix("*/") {
            return Some(Self::Unsatisfied { total: digits(total)? });
        }
        let (unit, rest) = value.split_once([' ', '\t'])?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim_start().split_once('/')?;
        if range == "*" {
            return Some(Self::Unsatisfied { total: digits(total)? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (digits(first)?, digits(last)?);
        let total = if total == "*" { None } else { Some(digits(total)?) };
        // `last` below the total also keeps `last + 1` from overflowing; without a total that must be asked for.
        let in_order = first <= last && total.map_or(last < u64::MAX, |total| last < total);
        in_order.then_some(Self::Part { first, last, total })
    }
}

/// Digits only: `u64::from_str` would also take a `+`.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// How long a `Retry-After` (RFC 9110 §10.2.3) asks to wait from `now` on: seconds or a date.
///
/// A date in the past means at once; more than ten minutes means ten. What is neither (negative, fractional,
/// more digits than a number can have) says nothing: the caller's own back-off applies.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = match digits(value) {
        Some(seconds) => Duration::from_secs(seconds),
        None => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// What tells whether a file at its source is still, byte for byte, the one that was begun: goes into `If-Range`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Validator {
    /// A strong entity tag, with its quotes.
    Etag(String),
    /// A date of last change that is strong, exactly as the server wrote it: some compare it as a string.
    LastModified(String),
}

impl Validator {
    /// What to send in `If-Range`.
    pub(crate) fn if_range(&self) -> &str {
        match self {
            Self::Etag(text) | Self::LastModified(text) => text,
        }
    }
}

/// What an answer's `ETag` is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Byte for byte the same, wherever it is the same tag.
    Strong(String),
    /// The same meaning, not the same bytes.
    Weak(String),
    /// Not an entity tag at all (no quotes, several that differ). Where it stays the same it says nothing; where it does not,
    /// something has changed.
    Odd(String),
    /// Absent, or empty.
    None,
}

/// Reads the `ETag` (RFC 9110 §8.8.3).
pub(crate) fn entity_tag(headers: &HeaderMap) -> Tag {
    let Some(text) = only(headers, &ETAG) else {
        let all: Vec<_> =
            headers.get_all(ETAG).iter().map(|value| value.as_bytes().escape_ascii().to_string()).collect();
        let all = all.join(", ");
        return if all.trim().is_empty() { Tag::None } else { Tag::Odd(all) };
    };
    if matches!(text, "\"\"" | "W/\"\"" | "w/\"\"") {
        return Tag::None;
    }
    if text.starts_with("W/") || text.starts_with("w/") {
        return Tag::Weak(text.to_owned());
    }
    let opaque = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match opaque {
        Some(inner) if inner.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)) => {
            Tag::Strong(text.to_owned())
        }
        _ => Tag::Odd(text.to_owned()),
    }
}

/// Dates before this one (1 January 1981) are placeholders: builds that are to be repeated give all their files the
/// beginning of the clock, or of that of an archive's format.
const PLACEHOLDERS: Duration = Duration::from_secs(11 * 365 * 24 * 3600 + 3 * 24 * 3600);

/// The `Last-Modified` as it is written, and whether it is strong.
///
/// It is (RFC 9110 §8.8.2.2) when it is older than the answer's own `Date` *and* both come from one clock, "or there is
/// enough difference … to make clock synchronization issues unlikely". Whether one clock made both cannot be known from
/// outside, so the difference must be the 60 s that RFC 7232 asked for: too strict costs a fresh download of a file that is
/// less than a minute old, too lax would join halves of two different files.
pub(crate) fn last_modified(headers: &HeaderMap) -> (Option<String>, bool) {
    let Some(text) = only(headers, &LAST_MODIFIED) else { return (None, false) };
    let age = || {
        let modified = httpdate::parse_http_date(text).ok()?;
        if modified < SystemTime::UNIX_EPOCH + PLACEHOLDERS {
            return None;
        }
        let answered = httpdate::parse_http_date(only(headers, &DATE)?).ok()?;
        answered.duration_since(modified).ok()
    };
    (Some(text.to_owned()), age().is_some_and(|age| age >= STRONG_AGE))
}

/// A header's value when it is plain text and all its copies agree; copies that differ prove nothing.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    first.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// How many bytes a resumable session has kept, from the headers of its 308: `Range: bytes=0-N` means N + 1, no
/// `Range` means none. `None` when the header is there but makes no sense.
pub(crate) fn resumable_range(headers: &HeaderMap) -> Option<u64> {
    let Some(value) = headers.get(RANGE) else { return Some(0) };
    let value = value.to_str().ok()?.trim();
    // Google's older documents leave the unit out; others write it as `Content-Range` has it.
    let lower = value.to_ascii_lowercase();
    let range = lower.strip_prefix("bytes").map_or(&*lower, |rest| rest.trim_start_matches(['=', ' ']));
    let range = range.split(['/', ',']).next().unwrap_or_default();
    let (first, last) = range.split_once('-')?;
    if digits(first.trim())? != 0 {
        return None;
    }
    digits(last.trim())?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Given = &'static [(&'static str, &'static str)];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, http::HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn content_ranges_are_read_or_refused() {
        let part = |first, last, total| Some(ContentRange::Part { first, last, total });
        let rows = [
            ("bytes 0-0/1", part(0, 0, Some(1))),
            ("bytes 5-9/10", part(5, 9, Some(10))),
            (" bytes  5-9/* ", part(5, 9, None)),
            ("BYTES 0-499/1234", part(0, 499, Some(1234))),
            ("bytes */47", Some(ContentRange::Unsatisfied { total: 47 })),
            ("*/47", Some(ContentRange::Unsatisfied { total: 47 })),
            ("bytes */0", Some(ContentRange::Unsatisfied { total: 0 })),
            ("bytes 0-18446744073709551614/18446744073709551615", part(0, u64::MAX - 1, Some(u64::MAX))),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 9-5/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0-9/18446744073709551616", None),
            ("bytes +0-9/10", None),
            ("bytes 0-9/+10", None),
            ("bytes -5/10", None),
            ("bytes 0-/10", None),
            ("bytes */*", None),
            ("bytes=0-9/10", None),
            ("items 0-9/10", None),
            ("0-9/10", None),
            ("bytes 0-9", None),
            ("bytes 0x0-0x9/10", None),
            ("bytes 0-9,20-29/30", None),
            ("", None),
            ("*/", None),
        ];
        for (text, expected) in rows {
            assert_eq!(ContentRange::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_ten_minutes() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
        let rows = [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("600", Some(600)),
            ("86400", Some(600)),
            ("18446744073709551615", Some(600)),
            ("Sat, 21 Nov 2026 12:00:30 GMT", Some(30)),
            ("Saturday, 21-Nov-26 12:00:30 GMT", Some(30)),
            ("Sat Nov 21 12:00:30 2026", Some(30)),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(600)),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("99999999999999999999", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_validator_survives_the_journal() {
        for validator in [Validator::Etag("\"a\\u\"".into()), Validator::LastModified("x".into())] {
            let text = serde_json::to_string(&validator).unwrap();
            assert_eq!(serde_json::from_str::<Validator>(&text).unwrap(), validator);
        }
    }

    #[test]
    fn a_session_says_how_much_it_kept() {
        let rows: &[(Given, Option<u64>)] = &[
            (&[], Some(0)),
            (&[("range", "bytes=0-0")], Some(1)),
            (&[("range", "bytes=0-524287")], Some(524_288)),
            (&[("range", "0-42")], Some(43)),
            (&[("range", "BYTES=0-42")], Some(43)),
            (&[("range", "bytes 0-42")], Some(43)),
            (&[("range", "bytes=0 - 42,")], Some(43)),
            (&[("range", "bytes=0-42/100")], Some(43)),
            (&[("range", "bytes=1-42")], None),
            (&[("range", "bytes=0-")], None),
            (&[("range", "bytes=0-18446744073709551615")], None),
            (&[("range", "nonsense")], None),
        ];
        for (given, expected) in rows {
            assert_eq!(resumable_range(&headers(given)), *expected, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = ContentRange::parse(&text);
            let _ = retry_after(&text, SystemTime::now());
            if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                let mut map = HeaderMap::new();
                for name in ["etag", "last-modified", "date", "range"] {
                    map.append(name, value.clone());
                }
                let _ = (entity_tag(&map), last_modified(&map));
                let _ = resumable_range(&map);
            }
        }

        #[test]
        fn a_written_range_is_read_back(first in 0..u64::MAX / 2, length in 1..u64::MAX / 4, more in 0..u64::MAX / 4) {
            let last = first + length - 1;
            let total = last + 1 + more;
            let range = ContentRange::parse(&format!("bytes {first}-{last}/{total}"));
            prop_assert_eq!(range, Some(ContentRange::Part { first, last, total: Some(total) }));
        }
    }
}
