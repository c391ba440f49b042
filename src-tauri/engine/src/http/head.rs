//! One reading of every head: what an answer is, by its status *and* all that its head says.
//!
//! The first GET, a resume and a piece are all read here and nowhere else. Bytes are written only out of
//! [`Reading::Whole`] and [`Reading::Part`]: a [`Body`] is made here alone, and each byte of it comes with its place in the
//! file, never beyond what the head named and what was asked for.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    GetAll, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Version};
use reqwest::Response;
use url::Url;

use super::answer::their_time;
use super::body::Body;
use super::checksum::{Offered, offered};
use super::client::Reached;
use super::identity::{Identity, Sameness};
use super::range::{ContentRange, retry_after};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// The file.
    Whole,
    /// Bytes of a file that was begun, by one `Range`.
    Part {
        /// First byte.
        start: u64,
        /// Byte after the last; `None` = to the end.
        end: Option<u64>,
        /// The version that they must be of.
        of: &'a Identity,
    },
}

/// What an answer is.
pub(crate) enum Reading {
    /// The whole file, from its first byte on.
    Whole(Box<Answer>),
    /// Bytes that were asked for, shown to be of the version that was begun.
    Part(Box<Answer>),
    /// "What you have is what there is" (304).
    Unchanged,
    /// There is no content (204, 205).
    Nothing,
    /// The server is still about to make it (202).
    NotYet {
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// The range does not lie in the file (416), whose size this is, if it says so.
    OutOfRange {
        /// Size of the file as it is now.
        total: Option<u64>,
    },
    /// It cannot be joined to what was begun.
    StartOver(Unusable),
    /// A success of another kind than a file (multi-status, a difference to apply), or a part that nobody asked for.
    NoFile,
    /// An error, with its body still to be read.
    Refusal(Response),
}

/// Why a part is not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is of another version.
    Changed,
    /// Nothing shows of which version it is.
    NotShown,
    /// Its head contradicts itself, or what was asked for.
    Elsewhere,
    /// Several ranges in one body.
    SeveralParts,
}

/// An answer that brings bytes of the file.
pub(crate) struct Answer {
    /// What its head says.
    pub facts: Facts,
    /// Its bytes.
    pub body: Body,
}

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By a length, or by a mark of the protocol (chunked, HTTP/2).
    Marked,
    /// By closing the connection: a cut looks the same.
    Closed,
}

/// What a head says, apart from what it is.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// All of it.
    pub headers: HeaderMap,
    /// Where the answer came from, after redirects. May be a secret.
    pub url: Url,
    /// Where it was redirected from, in order.
    pub hops: Vec<Url>,
    /// Of which version the bytes are; its digests are what this head offers.
    pub identity: Identity,
    /// How its end is told.
    pub framing: Framing,
    /// How the bytes are packed, though that was not asked for.
    pub coding: Option<String>,
    /// Whether the server has shown, or says, that it gives ranges.
    pub gives_ranges: bool,
    /// Whether it does not say that it gives none.
    pub may_give_ranges: bool,
}

impl Facts {
    /// Size of the whole file, if the head tells.
    pub fn total(&self) -> Option<u64> {
        self.identity.size
    }

    /// The checksums that it offers.
    pub fn digests(&self) -> &Offered {
        &self.identity.digests
    }

    /// The media type, lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        let text = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The raw `Content-Disposition`.
    pub fn disposition(&self) -> Option<&[u8]> {
        self.headers.get(CONTENT_DISPOSITION).map(HeaderValue::as_bytes)
    }
}

impl Reading {
    /// Reads the head of an answer to what was asked.
    pub fn of(reached: Reached, asked: Asked<'_>) -> Self {
        let Reached { answer, hops } = reached;
        let status = answer.status();
        match status.as_u16() {
            206 => read_part(answer, hops, asked),
            202 => Self::NotYet { wait: wait_of(answer.headers()) },
            204 | 205 => Self::Nothing,
            // Several results, or a difference to be applied: neither is the file.
            207 | 208 | 226 => Self::NoFile,
            200..=299 => {
                let facts = facts(&answer, hops, length(answer.headers()), false);
                let end = facts.total();
                Self::Whole(Box::new(Answer { body: Body::new(answer, 0, end), facts }))
            }
            304 => Self::Unchanged,
            416 if matches!(asked, Asked::Part { .. }) => {
                let total = match content_range(answer.headers()) {
                    Some(ContentRange::Unsatisfied { total }) => Some(total),
                    _ => None,
                };
                Self::OutOfRange { total }
            }
            _ => Self::Refusal(answer),
        }
    }
}

fn read_part(answer: Response, hops: Vec<Url>, asked: Asked<'_>) -> Reading {
    let headers = answer.headers();
    if headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..20).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/byteranges"))
    }) {
        return Reading::StartOver(Unusable::SeveralParts);
    }
    let Some(ContentRange::Part { first, last, total }) = content_range(headers) else {
        return Reading::StartOver(Unusable::Elsewhere);
    };
    // Fewer bytes than the head names: it contradicts itself. What comes beyond them is never looked at.
    let fits_frame = length(headers).is_none_or(|length| length > last - first);
    let facts = facts(&answer, hops, total, true);
    let (start, end, of) = match asked {
        Asked::Whole => {
            // Not asked for. It is the whole file all the same, or nobody knows what it is a part of.
            return if first == 0 && total == Some(last + 1) && fits_frame {
                Reading::Whole(Box::new(Answer { body: Body::new(answer, 0, total), facts }))
            } else {
                Reading::NoFile
            };
        }
        Asked::Part { start, end, of } => (start, end, of),
    };
    match of.same_as(&facts.identity) {
        Sameness::Other => return Reading::StartOver(Unusable::Changed),
        Sameness::Unknown => return Reading::StartOver(Unusable::NotShown),
        Sameness::Same => {}
    }
    if first != start || !fits_frame {
        return Reading::StartOver(Unusable::Elsewhere);
    }
    let named = last + 1;
    let end = end.map_or(named, |end| end.min(named));
    Reading::Part(Box::new(Answer { body: Body::new(answer, start, Some(end)), facts }))
}

fn facts(answer: &Response, hops: Vec<Url>, total: Option<u64>, partial: bool) -> Facts {
    let headers = answer.headers();
    let is_http1 = answer.version() <= Version::HTTP_11;
    let is_told = length(headers).is_some() || headers.contains_key(TRANSFER_ENCODING) || !is_http1;
    let ranges = |word: &str| headers.get(ACCEPT_RANGES).is_some_and(|value| value == word);
    Facts {
        identity: Identity::of(headers, answer.url(), total, offered(headers, partial)),
        framing: if is_told { Framing::Marked } else { Framing::Closed },
        coding: coding(&headers.get_all(CONTENT_ENCODING)),
        gives_ranges: partial || ranges("bytes"),
        may_give_ranges: !ranges("none"),
        url: answer.url().clone(),
        headers: headers.clone(),
        hops,
    }
}

/// How long the body is, in bytes. With a `Transfer-Encoding` a length says nothing (RFC 9112 §6.3).
fn length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(ContentRange::parse)
}

/// How long a head asks to wait, by the clock of whoever asks.
pub(crate) fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(text, their_time(headers).unwrap_or_else(SystemTime::now))
}

/// The codings that change the bytes (IANA's HTTP content coding registry, and what servers are set up to call theirs).
/// Anything else (`aws-chunked`, which stores keep by mistake; `utf-8`; `none`) has changed nothing.
const CODINGS: [&str; 17] = [
    "gzip",
    "x-gzip",
    "deflate",
    "compress",
    "x-compress",
    "br",
    "zstd",
    "dcb",
    "dcz",
    "exi",
    "pack200-gzip",
    "aes128gcm",
    "bzip2",
    "x-bzip2",
    "xz",
    "x-xz",
    "lzma",
];

/// How a body is packed, in lower case, in the order in which it was; `None` = not at all.
pub(crate) fn coding(values: &GetAll<'_, HeaderValue>) -> Option<String> {
    let applied: Vec<String> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .filter(|word| CODINGS.contains(&word.as_str()))
        .collect();
    (!applied.is_empty()).then(|| applied.join(", "))
}

/// Whether a file of this name or media type is itself what the coding makes: then it is saved as it came. Web servers
/// name the coding of a `.tar.gz` that nobody packed on its way (Apache's `AddEncoding`).
pub(crate) fn is_packed_itself(coding: &str, name: &str, media_type: Option<&str>) -> bool {
    let (endings, types): (&[&str], &[&str]) = match coding {
        "gzip" | "x-gzip" | "pack200-gzip" => (
            &["gz", "tgz", "gzip", "svgz", "emz", "wmz", "taz", "cpgz", "adz", "vgz"],
            &["application/gzip", "application/x-gzip", "application/x-tgz", "application/x-gtar-compressed"],
        ),
        "compress" | "x-compress" => (&["z", "taz"], &["application/x-compress"]),
        "br" => (&["br"], &["application/x-brotli"]),
        "zstd" => (&["zst", "zstd", "tzst"], &["application/zstd", "application/x-zstd"]),
        "bzip2" | "x-bzip2" => (
            &["bz2", "tbz", "tbz2", "bz"],
            &["application/x-bzip2", "application/x-bzip", "application/bzip2"],
        ),
        "xz" | "x-xz" => (&["xz", "txz"], &["application/x-xz", "application/xz"]),
        "lzma" => (&["lzma", "tlz"], &["application/x-lzma"]),
        _ => return false,
    };
    let has_ending = name
        .rsplit_once('.')
        .is_some_and(|(_, ending)| endings.iter().any(|known| known.eq_ignore_ascii_case(ending)));
    has_ending || media_type.is_some_and(|media_type| types.contains(&media_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_the_bytes_is_a_coding() {
        let rows: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&["identity"], None),
            (&["aws-chunked"], None),
            (&["aws-chunked,"], None),
            (&["UTF-8"], None),
            (&["none"], None),
            (&["gzip"], Some("gzip")),
            (&["X-GZIP"], Some("x-gzip")),
            (&["aws-chunked,gzip"], Some("gzip")),
            (&["identity", "br"], Some("br")),
            (&["deflate, gzip"], Some("deflate, gzip")),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(coding(&headers.get_all(CONTENT_ENCODING)).as_deref(), *expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_packed_by_name_or_type_is_saved_as_it_came() {
        for (coding, name, media_type, expected) in [
            ("x-gzip", "a.tar.gz", Some("application/x-tar"), true),
            ("gzip", "A.TGZ", None, true),
            ("gzip", "drawing.svgz", Some("image/svg+xml"), true),
            ("gzip", "data", Some("application/gzip"), true),
            ("gzip", "film.mp4", Some("video/mp4"), false),
            ("gzip", "a.tar.bz2", None, false),
            ("bzip2", "a.tar.bz2", None, true),
            ("zstd", "a.zst", None, true),
            ("deflate", "a.zip", None, false),
            ("gzip, gzip", "a.gz", None, false),
        ] {
            assert_eq!(
                is_packed_itself(coding, name, media_type),
                expected,
                "{coding} {name} {media_type:?}"
            );
        }
    }

    #[test]
    fn a_transfer_coding_beats_a_length() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        assert_eq!(length(&headers), Some(3));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(length(&headers), None);
    }
}
