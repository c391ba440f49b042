//! Which bytes a GET asks for: `Range` and `If-Range` (RFC 9110 §14 and §13.1.5).

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything, with 200.
    Whole,
    /// The bytes from `start` up to but not including `end`, with 206.
    Part { start: u64, end: u64 },
    /// Nothing, with 416.
    Unsatisfiable,
    /// Not a range at all: Starlette says 400, RFC 9110 says to ignore it.
    Malformed,
}

/// Reads the headers of a request for `size` bytes with these validators.
pub(crate) fn wanted(
    headers: &HeaderMap,
    size: u64,
    etag: Option<&str>,
    last_modified: Option<&str>,
) -> Wanted {
    let Some(range) = headers.get(RANGE) else { return Wanted::Whole };
    if let Some(condition) = headers.get(IF_RANGE) {
        // Exact and strong: a weak tag never matches (RFC 9110 §13.1.5).
        let condition = condition.to_str().unwrap_or("W/");
        let fits =
            !condition.starts_with("W/") && (Some(condition) == etag || Some(condition) == last_modified);
        if !fits {
            return Wanted::Whole;
        }
    }
    range.to_str().map_or(Wanted::Malformed, |text| parse(text, size))
}

fn parse(text: &str, size: u64) -> Wanted {
    let Some((unit, set)) = text.split_once('=') else { return Wanted::Malformed };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Malformed;
    }
    if set.contains(',') {
        // RFC 9110 allows to ignore a request for several ranges, and a client of one range must cope.
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Malformed };
    let number = |digits: &str| {
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(start), _) if !last.is_empty() && number(last).is_none_or(|last| last < start) => {
            Wanted::Malformed
        }
        (Some(start), _) if start >= size => Wanted::Unsatisfiable,
        (Some(start), last) => {
            Wanted::Part { start, end: last.map_or(size, |last| last.saturating_add(1).min(size)) }
        }
        (None, Some(suffix)) if first.is_empty() => {
            if suffix == 0 || size == 0 {
                Wanted::Unsatisfiable
            } else {
                Wanted::Part { start: size.saturating_sub(suffix), end: size }
            }
        }
        _ => Wanted::Malformed,
    }
}

/// Reads the `Content-Range` of an upload: `bytes a-b/total`, `bytes a-b/*`, `bytes */total`, `bytes */*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// First and last position; `None` asks for the state.
    pub(crate) span: Option<(u64, u64)>,
    /// The size of the whole, if it is known.
    pub(crate) total: Option<u64>,
}

/// `None`: not a valid `Content-Range`.
pub(crate) fn sent(text: &str) -> Option<Sent> {
    let (span, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    let total = if total == "*" { None } else { Some(number(total)?) };
    if span == "*" {
        return Some(Sent { span: None, total });
    }
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (number(first)?, number(last)?);
    (first <= last && total.is_none_or(|total| last < total))
        .then_some(Sent { span: Some((first, last)), total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(axum::http::HeaderName, &str)]) -> Wanted {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        wanted(&headers, 100, Some("\"e\""), Some("Thu, 01 Jan 1970 00:00:00 GMT"))
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("bytes=0-", Wanted::Part { start: 0, end: 100 }),
            ("bytes=10-19", Wanted::Part { start: 10, end: 20 }),
            ("bytes=10-1000", Wanted::Part { start: 10, end: 100 }),
            ("bytes=-10", Wanted::Part { start: 90, end: 100 }),
            ("bytes=-1000", Wanted::Part { start: 0, end: 100 }),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=5-4", Wanted::Malformed),
            ("bytes=a-b", Wanted::Malformed),
            ("bytes=-", Wanted::Malformed),
            ("lines=0-1", Wanted::Malformed),
        ] {
            assert_eq!(ask(&[(RANGE, text)]), expected, "{text}");
        }
    }

    #[test]
    fn if_range_wants_the_same_strong_validator() {
        let part = Wanted::Part { start: 5, end: 100 };
        for (validator, expected) in [
            ("\"e\"", part),
            ("Thu, 01 Jan 1970 00:00:00 GMT", part),
            ("W/\"e\"", Wanted::Whole),
            ("\"other\"", Wanted::Whole),
            ("Thu, 01 Jan 1970 00:00:01 GMT", Wanted::Whole),
        ] {
            assert_eq!(ask(&[(RANGE, "bytes=5-"), (IF_RANGE, validator)]), expected, "{validator}");
        }
    }

    #[test]
    fn content_ranges_of_uploads_are_strict() {
        assert_eq!(sent("bytes 0-9/10"), Some(Sent { span: Some((0, 9)), total: Some(10) }));
        assert_eq!(sent("bytes 0-9/*"), Some(Sent { span: Some((0, 9)), total: None }));
        assert_eq!(sent("bytes */10"), Some(Sent { span: None, total: Some(10) }));
        assert_eq!(sent("bytes */*"), Some(Sent { span: None, total: None }));
        for wrong in
            ["", "bytes 0-9", "bytes=0-9/10", "bytes 9-0/10", "bytes 0-10/10", "bytes a-b/c", "bytes -/1"]
        {
            assert_eq!(sent(wrong), None, "{wrong}");
        }
    }
}
