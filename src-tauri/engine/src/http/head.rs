//! One reading of every head: what an answer is, by its status *and* all that its head says.
//!
//! The first GET, a resume and a piece are all read here and nowhere else. Bytes are written only out of
//! [`Reading::Whole`] and [`Reading::Part`]: a [`Body`] is made here alone, and each byte of it comes with its place in the
//! file, never beyond what the head named and what was asked for.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    GetAll, RETRY_AFTER, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Version};
use reqwest::Response;
use url::Url;

use super::answer::their_time;
use super::body::Body;
use super::checksum::{Offered, offered};
use super::client::{Promised, Reached};
use super::identity::{Identity, Sameness};
use super::range::{ContentRange, digits, only, retry_after};
use super::reach::Reach;

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
    /// How far the last address may lead.
    pub reach: Reach,
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
        let Reached { answer, hops, reach, promised } = reached;
        let way = (hops, reach, promised);
        let status = answer.status();
        match status.as_u16() {
            206 => read_part(answer, way, asked),
            202 => Self::NotYet { wait: wait_of(answer.headers()) },
            204 | 205 => Self::Nothing,
            // Several results, or a difference to be applied: neither is the file.
            207 | 208 | 226 => Self::NoFile,
            // Scripts send a part and forget to say 206. What names a range is one, whatever its status.
            200..=299 if matches!(content_range(answer.headers()), Some(ContentRange::Part { .. })) => {
                read_part(answer, way, asked)
            }
            200..=299 => read_whole(answer, way, asked),
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

/// The addresses that led to an answer, without the last, how far that may lead, and what was said of the file there.
type Way = (Vec<Url>, Reach, Promised);

fn read_whole(answer: Response, way: Way, asked: Asked<'_>) -> Reading {
    let facts = facts(&answer, way, length(answer.headers()), false);
    let end = facts.total();
    if let Asked::Part { start, of, .. } = asked {
        // Exactly what was missing, or another length under the same tag: it looks like the rest that was asked for, sent
        // without saying so. Asked for without a range it has to show what it is.
        let is_rest = start > 0 && end.is_some() && of.size.map(|size| size.saturating_sub(start)) == end;
        if is_rest || of.contradicts(&facts.identity) || is_ranged(&facts.headers) {
            return Reading::StartOver(Unusable::Elsewhere);
        }
    }
    // Beside a transfer coding, even one that is none, the client does not hold the body to its length, nor to one that a
    // redirect named. HTTP/2 has something behind the last byte also where a length was named.
    let is_framed = length(&facts.headers).is_some() && !facts.headers.contains_key(TRANSFER_ENCODING);
    let is_open = end.is_some() && (!is_framed || facts.headers.contains_key(TRAILER));
    Reading::Whole(Box::new(Answer { body: Body::new(answer, (0, end), is_open, false), facts }))
}

fn read_part(answer: Response, way: Way, asked: Asked<'_>) -> Reading {
    let headers = answer.headers();
    if headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..20).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/byteranges"))
    }) {
        return Reading::StartOver(Unusable::SeveralParts);
    }
    let Some(ContentRange::Part { first, last, total }) = content_range(headers) else {
        return Reading::StartOver(Unusable::Elsewhere);
    };
    // Another number of bytes than the head names: it contradicts itself, and nobody knows which of them begins where. Where
    // the frame has no length, the end of the body shows it.
    let framed = length(headers);
    let fits_frame = framed.is_none_or(|length| length == last - first + 1);
    let is_open = framed.is_none();
    let facts = facts(&answer, way, total, true);
    let (start, end, of) = match asked {
        Asked::Whole => {
            // Not asked for. It is the whole file all the same, or nobody knows what it is a part of.
            return if first == 0 && total == Some(last + 1) && fits_frame {
                Reading::Whole(Box::new(Answer { body: Body::new(answer, (0, total), is_open, true), facts }))
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
    // Nor does a version have a byte behind the last one that was promised of it.
    if first != start || !fits_frame || of.size.is_some_and(|size| last >= size) {
        return Reading::StartOver(Unusable::Elsewhere);
    }
    let named = last + 1;
    let end = end.map_or(named, |end| end.min(named));
    let body = Body::new(answer, (start, Some(end)), is_open && end == named, true);
    Reading::Part(Box::new(Answer { facts, body }))
}

fn facts(answer: &Response, (hops, reach, promised): Way, total: Option<u64>, partial: bool) -> Facts {
    let headers = answer.headers();
    let is_http1 = answer.version() <= Version::HTTP_11;
    let transfer = Transfer::of(headers);
    let is_told = length(headers).is_some() || transfer == Transfer::Chunked || !is_http1;
    let ranges = |word: &str| headers.get(ACCEPT_RANGES).is_some_and(|value| value == word);
    let mut digests = offered(headers, partial);
    digests.merge(promised.digests);
    let total = total.or(promised.size.filter(|_| !partial));
    Facts {
        identity: Identity::of(headers, answer.url(), total, digests),
        framing: if is_told { Framing::Marked } else { Framing::Closed },
        coding: transfer.packed().or_else(|| coding(&headers.get_all(CONTENT_ENCODING))),
        gives_ranges: partial || ranges("bytes"),
        may_give_ranges: !ranges("none"),
        url: answer.url().clone(),
        headers: headers.clone(),
        hops,
        reach,
    }
}

/// What a `Transfer-Encoding` (RFC 9112 §6.1) has made of the body.
#[derive(Debug, PartialEq, Eq)]
enum Transfer {
    /// There is none, or only what stands for none.
    Plain,
    /// Cut into chunks, and nothing else: the client has put them together again.
    Chunked,
    /// Anything else: what came are not the bytes of the file.
    Other(String),
}

impl Transfer {
    fn of(headers: &HeaderMap) -> Self {
        let named: Vec<String> = headers
            .get_all(TRANSFER_ENCODING)
            .iter()
            .flat_map(|value| {
                // What is not plain text is no word that the client knows, whatever it looks like.
                let text = value.to_str().unwrap_or("unreadable").to_ascii_lowercase();
                text.split(',').map(|word| word.trim_matches([' ', '\t']).to_owned()).collect::<Vec<_>>()
            })
            .collect();
        let applied: Vec<&str> = named
            .iter()
            .map(String::as_str)
            .filter(|word| !matches!(*word, "" | "identity" | "binary"))
            .collect();
        match applied[..] {
            [] => Self::Plain,
            // The client looks at the very last word only.
            ["chunked"] if named.last().is_some_and(|word| word == "chunked") => Self::Chunked,
            _ => Self::Other(applied.join(", ")),
        }
    }

    /// How the bytes are packed by it, for a refusal. No file is itself what this makes.
    fn packed(&self) -> Option<String> {
        match self {
            Self::Other(applied) => Some(format!("Transfer-Encoding: {applied}")),
            Self::Plain | Self::Chunked => None,
        }
    }
}

/// How long the body is, in bytes. Beside chunks a length says nothing (RFC 9112 §6.3); the same one said several times is
/// that length (RFC 9110 §8.6), and the client holds the body to it.
fn length(headers: &HeaderMap) -> Option<u64> {
    if Transfer::of(headers) != Transfer::Plain {
        return None;
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for text in value.to_str().ok()?.split(',') {
            let number = digits(text.trim())?;
            if *length.get_or_insert(number) != number {
                return None;
            }
        }
    }
    length
}

/// Whether there is a `Content-Range`, readable or not.
fn is_ranged(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_RANGE)
}

/// The `Content-Range`; one that cannot be read, or has copies that differ, is like none.
fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    only(headers, &CONTENT_RANGE).and_then(ContentRange::parse)
}

/// How long a head asks to wait, by the clock of whoever asks.
pub(crate) fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(text, their_time(headers).unwrap_or_else(SystemTime::now))
}

/// The codings that change the bytes (IANA's HTTP content coding registry, and what servers are set up to call theirs),
/// without the `x-` that some have. Anything else (`aws-chunked`, which stores keep by mistake; `utf-8`; `none`) has
/// changed nothing.
const CODINGS: [&str; 20] = [
    "gzip",
    "deflate",
    "zlib",
    "compress",
    "br",
    "brotli",
    "zstd",
    "dcb",
    "dcz",
    "exi",
    "pack200-gzip",
    "aes128gcm",
    "bzip",
    "bzip2",
    "xz",
    "lzma",
    "lz4",
    "snappy",
    "sdch",
    "base64",
];

/// The words of a `Content-Encoding` in lower case, without quotes, parameters and what cannot be read.
pub(super) fn coding_words(values: &GetAll<'_, HeaderValue>) -> Vec<String> {
    let word = |text: &str| {
        let text = text.trim().trim_matches(['"', '\'']).trim_start().to_ascii_lowercase();
        text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-_.+/".contains(letter)))
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    values
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split(',').map(word).collect::<Vec<_>>()
        })
        .filter(|word| !matches!(word.as_str(), "" | "identity" | "none" | "aws-chunked"))
        .collect()
}

/// How a body is packed, in lower case, in the order in which it was; `None` = not at all.
pub(crate) fn coding(values: &GetAll<'_, HeaderValue>) -> Option<String> {
    let applied: Vec<String> = coding_words(values)
        .into_iter()
        .filter(|word| CODINGS.contains(&word.strip_prefix("x-").unwrap_or(word)))
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
            (&["gzip;q=1"], Some("gzip")),
            (&["\"gzip\""], Some("gzip")),
            (&["x-deflate"], Some("x-deflate")),
            (&["video/mp4"], None),
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
    fn only_plain_chunks_are_put_together_by_the_client() {
        let rows: &[(&[&str], Transfer)] = &[
            (&[], Transfer::Plain),
            (&[""], Transfer::Plain),
            (&["identity"], Transfer::Plain),
            (&["Chunked"], Transfer::Chunked),
            (&["identity, chunked"], Transfer::Chunked),
            (&["identity", "chunked"], Transfer::Chunked),
            (&["chunked,"], Transfer::Other("chunked".into())),
            (&["chunked;q=1"], Transfer::Other("chunked;q=1".into())),
            (&["\"chunked\""], Transfer::Other("\"chunked\"".into())),
            (&["chunked, identity"], Transfer::Other("chunked".into())),
            (&["gzip, chunked"], Transfer::Other("gzip, chunked".into())),
            (&["chunked", "chunked"], Transfer::Other("chunked, chunked".into())),
            (&["gzip"], Transfer::Other("gzip".into())),
            (&["xchunked"], Transfer::Other("xchunked".into())),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(Transfer::of(&headers), *expected, "{values:?}");
        }
    }

    #[test]
    fn a_transfer_coding_beats_a_length() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        assert_eq!(length(&headers), Some(3));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("identity"));
        assert_eq!(length(&headers), Some(3), "which is none");
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(length(&headers), None);
    }

    #[test]
    fn a_length_that_is_said_several_times_is_one_if_all_agree() {
        let rows: &[(&[&str], Option<u64>)] = &[
            (&[], None),
            (&["5"], Some(5)),
            (&["5, 5"], Some(5)),
            (&["5", "5"], Some(5)),
            (&["5 ,5", "05"], Some(5)),
            (&["5, 6"], None),
            (&["5", "6"], None),
            (&["5,"], None),
            (&[""], None),
            (&["+5"], None),
            (&["-5"], None),
            (&["0x5"], None),
            (&["18446744073709551616"], None),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(length(&headers), *expected, "{values:?}");
        }
    }
}
