//! What must hold whatever a reader of foreign text is given: one function for each reader, over any bytes.
//!
//! `cargo xtask fuzz` drives them with input that looks for new ways through the code; the test below gives them what
//! was found so far (`fuzz/corpus`). Part of tests and, with `--cfg fuzzing`, of the targets in `fuzz/`, of nothing else.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::filename::check::{is_legal, is_legal_numbered};
use crate::filename::{self, Candidates};
use crate::foreign::Foreign;
use crate::http::address;
use crate::http::answer::{self, LONGEST_LABEL, LONGEST_MESSAGE, Refusal, number_or_string};
use crate::http::checksum::{self, Hasher, Offered, Proof};
use crate::http::identity::{Identity, Sameness};
use crate::http::range::{self, ContentRange, Validator};
use crate::library_file;
use crate::resume::Resume;
use crate::settings::Settings;
use crate::store::Stored;
use crate::task::Journal;
use crate::unseen::{is_invisible, is_joiner};
use crate::upload::signed_url::SignedUrl;

/// Reads the input and panics when something does not hold.
pub type Reader = fn(&[u8]);

/// Every reader by the name of its target and its corpus.
pub const READERS: [(&str, Reader); 10] = [
    ("answer", answer),
    ("checksum", checksum),
    ("filename", filename),
    ("journal", journal),
    ("library", library),
    ("range", range),
    ("retry_after", retry_after),
    ("settings", settings),
    ("signed_url", signed_url),
    ("store_error", store_error),
];

/// What must never be shown.
const MARK: &str = "0123456789abcdefMARKED";

/// The longest that a server can make Ferry wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Whether the input itself holds what must never be shown: then nothing can be said about what is shown.
fn brings_the_mark(input: &str) -> bool {
    input.chars().filter(|c| !is_invisible(*c)).collect::<String>().contains("MARKED")
}

/// The fields of an input, one a line (no header holds a line break); the last one has all that is left.
fn fields<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut lines = input.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Headers with those values that a header can have.
fn headers<'a>(pairs: impl IntoIterator<Item = (HeaderName, &'a [u8])>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Names. Lines: `Content-Disposition`, title, `Content-Type`, URL; then the file's first bytes.
pub fn filename(input: &[u8]) {
    let [header, title, content_type, address, first_bytes] = fields(input);
    let _ = filename::is_attachment(header);
    if let Some(name) = filename::from_content_disposition(header, "zh") {
        // One byte of Latin-1 becomes at most three of UTF-8; every other encoding shrinks.
        assert!(!name.is_empty() && name.len() <= 3 * header.len(), "{name:?}");
    }
    let (title, content_type, address) = (text(title), text(content_type), text(address));
    let url = Url::parse(&address).ok();
    let evidence =
        Candidates { content_type: Some(&content_type), first_bytes, id: &title, ..Candidates::default() };
    for candidates in [
        Candidates { content_disposition: Some(header), title: Some(&title), url: url.as_ref(), ..evidence },
        Candidates { title: Some(&title), ..evidence },
        Candidates { url: url.as_ref(), ..evidence },
        evidence,
    ] {
        check_name(&filename::choose(&candidates));
    }
    if let Some(name) = filename::make_safe(&text(input)) {
        check_name(&name);
        let encoded = utf8_percent_encode(&name, NON_ALPHANUMERIC);
        let header = format!("attachment; filename=\"other\"; filename*=UTF-8''{encoded}");
        assert_eq!(filename::from_content_disposition(header.as_bytes(), ""), Some(name));
    }
}

/// One component of a path that every system can store, the same after another cleaning, with room for numbers.
fn check_name(name: &str) {
    assert!(is_legal(name), "{name:?}");
    assert_eq!(filename::make_safe(name).as_deref(), Some(name));
    for number in [1, 999, u32::MAX] {
        let next = filename::numbered(name, number, 255);
        assert!(next != name && is_legal_numbered(&next), "{name:?} became {next:?}");
    }
}

/// Ranges and validators. Lines: `Content-Range`, `ETag`, `Last-Modified`, `Date`, `Range`.
pub fn range(input: &[u8]) {
    let [content_range, etag, modified, date, kept] = fields(input);
    let parsed = ContentRange::parse(&text(content_range));
    if let Some(range) = parsed {
        let written = match range {
            ContentRange::Part { first, last, total } => {
                assert!(first <= last && last < total.unwrap_or(u64::MAX), "{range:?}");
                format!("bytes {first}-{last}/{}", total.map_or("*".to_owned(), |total| total.to_string()))
            }
            ContentRange::Unsatisfied { total } => format!("bytes */{total}"),
        };
        assert_eq!(ContentRange::parse(&written), parsed);
    }
    let headers = headers([(ETAG, etag), (LAST_MODIFIED, modified), (DATE, date), (RANGE, kept)]);
    let url = Url::parse("https://host/").unwrap();
    let identity = Identity::of(&headers, &url, None, Offered::default());
    assert_ne!(identity.same_as(&identity), Sameness::Other);
    if let Some(validator) = identity.validator() {
        assert!(HeaderValue::from_str(validator.if_range()).is_ok(), "{validator:?}");
        let kept = serde_json::to_string(&validator).unwrap();
        assert_eq!(serde_json::from_str::<Validator>(&kept).unwrap(), validator);
    }
    match range::resumable_range(&headers) {
        Some(0) => assert!(!headers.contains_key(RANGE)),
        Some(bytes) => {
            let written = format!("bytes=0-{}", bytes - 1);
            let again = self::headers([(RANGE, written.as_bytes())]);
            assert_eq!(range::resumable_range(&again), Some(bytes));
        }
        None => assert!(headers.contains_key(RANGE)),
    }
}

/// `Retry-After`: the header alone.
pub fn retry_after(input: &[u8]) {
    let value = text(input);
    let times =
        [0, 1_795_262_400, 253_402_300_799].map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
    let waits = times.map(|now| range::retry_after(&value, now));
    assert!(waits.iter().flatten().all(|wait| *wait <= LONGEST_WAIT), "{waits:?}");
    // Whether it says anything does not depend on the clock, and later nobody waits longer for the same.
    assert!(waits[0].is_some() == waits[2].is_some() && waits.is_sorted_by(|a, b| a >= b), "{waits:?}");
    if let Some(seconds) = value.trim().parse::<u64>().ok().filter(|_| !value.trim().starts_with('+')) {
        assert_eq!(waits[0], Some(Duration::from_secs(seconds).min(LONGEST_WAIT)));
    }
}

/// Answers of services. Lines: status, `Content-Type`, `x-request-id`, `Retry-After`; then the body.
pub fn answer(input: &[u8]) {
    let [status, content_type, request_id, wait, body] = fields(input);
    let (status, headers) = head(status, [content_type, request_id, wait]);
    check_refusal(&answer::decode(status, &headers, body), status);

    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match answer::envelope_data::<Value>(status, &headers, body) {
        Ok(data) if status == StatusCode::NO_CONTENT && body.trim_ascii().is_empty() => {
            assert!(data.is_null());
        }
        Ok(data) => {
            let envelope: Map<String, Value> = serde_json::from_slice(body).unwrap();
            assert!(status.is_success() && *envelope.get("data").unwrap_or(&Value::Null) == data);
        }
        Err(refusal) => check_refusal(&refusal, status),
    }
    if let Err(refusal) = answer::envelope_data::<WithSize>(status, &headers, body) {
        check_refusal(&refusal, status);
    }
    if let Some(refusal) = answer::is_json_error(Some("application/json"), false, body) {
        check_refusal(&refusal, StatusCode::OK);
        assert!(serde_json::from_slice::<Map<String, Value>>(body).is_ok());
        assert!(
            content_type.is_none_or(answer::is_json)
                || answer::is_json_error(content_type, false, body).is_none()
        );
        assert!(answer::is_json_error(Some("application/json"), true, body).is_none());
    }

    // What surrounds a secret must not bring it to light.
    let around = text(body);
    if brings_the_mark(&around) {
        return;
    }
    for shown in [
        Foreign::limited(&format!("{around} https://h.example/p?X-Goog-Signature={MARK}"), LONGEST_MESSAGE),
        Foreign::limited(&format!("https://h.example/p?X-Goog-Signature={MARK}{around}"), LONGEST_MESSAGE),
        Foreign::limited(&format!("{around}x-amz-signature={MARK}"), LONGEST_MESSAGE),
        Foreign::limited(&format!("sig={MARK}{around}"), LONGEST_MESSAGE),
        Foreign::limited(&format!("{around}sk-{MARK}"), LONGEST_MESSAGE),
        Foreign::limited(&format!("sk-{MARK}{around}"), LONGEST_MESSAGE),
    ] {
        assert!(!shown.contains(MARK), "{shown:?}");
        check_shown(&shown, LONGEST_MESSAGE);
    }
}

/// A size as services send it: a number or a text.
#[derive(Debug, Deserialize)]
struct WithSize {
    #[serde(default, deserialize_with = "number_or_string")]
    #[allow(dead_code, reason = "only whether it can be read counts")]
    size: Option<u64>,
}

/// A store's errors. Lines: status, `Content-Type`; then the XML.
pub fn store_error(input: &[u8]) {
    let [status, content_type, body] = fields(input);
    let (status, headers) = head(status, [content_type, b"", b""]);
    check_refusal(&answer::decode(status, &headers, body), status);

    // What stores echo of a signature stays hidden, whatever follows or stands around it.
    let around = text(body);
    if brings_the_mark(&around) {
        return;
    }
    for document in [
        format!("<Error><StringToSign>{MARK}</StringToSign>{around}</Error>"),
        format!(
            "<?xml version=\"1.0\"?><Error><Message>{around}</Message><CanonicalRequest>{MARK}</CanonicalRequest></Error>"
        ),
    ] {
        let refusal = answer::decode(status, &headers, document.as_bytes());
        check_refusal(&refusal, status);
        assert!(!format!("{refusal:?}").contains(MARK), "{refusal:?}");
    }
}

fn head(status: &[u8], [content_type, request_id, wait]: [&[u8]; 3]) -> (StatusCode, HeaderMap) {
    let request = HeaderName::from_static("x-request-id");
    let headers = headers([(CONTENT_TYPE, content_type), (request, request_id), (RETRY_AFTER, wait)]);
    (StatusCode::from_bytes(status).unwrap_or(StatusCode::OK), headers)
}

fn check_refusal(refusal: &Refusal, status: StatusCode) {
    assert_eq!(refusal.http_status, status.as_u16());
    check_shown(&refusal.message, LONGEST_MESSAGE);
    for label in [&refusal.code, &refusal.request_id].into_iter().flatten() {
        assert!(!label.is_empty());
        check_shown(label, LONGEST_LABEL);
    }
    assert!(refusal.retry_after.is_none_or(|wait| wait <= LONGEST_WAIT), "{refusal:?}");
}

/// Fit for one line of a window or a terminal.
fn check_shown(shown: &str, limit: usize) {
    let is_unfit = |c: char| is_invisible(c) && !is_joiner(c);
    assert!(shown.chars().count() <= limit && !shown.chars().any(is_unfit), "{shown:?}");
}

/// The settings file.
pub fn settings(input: &[u8]) {
    match Settings::parse(input) {
        Ok(settings) => {
            assert!(settings.check().is_ok());
            let written = serde_json::to_vec_pretty(&settings).unwrap();
            assert_eq!(Settings::parse(&written).unwrap(), settings);
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// A library to be imported.
pub fn library(input: &[u8]) {
    match library_file::read(input) {
        Ok(assets) => {
            assert!(assets.iter().all(|asset| !asset.asset_id.is_empty() && i64::try_from(asset.at).is_ok()));
            assert_eq!(library_file::read(library_file::csv(&assets).as_bytes()).as_ref(), Ok(&assets));
            assert_eq!(library_file::read(&serde_json::to_vec(&assets).unwrap()).as_ref(), Ok(&assets));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// What was kept of a transfer. Lines: its row, its task, its journal, its secrets, as the store has them.
pub fn journal(input: &[u8]) {
    let [row, task, journal, record] = fields(input);
    let (row, task, journal) = (text(row), text(task), text(journal));
    let alone = Journal::read(&journal);
    if let Some(stored) = Stored::read(&row, &task, Some(&journal)) {
        assert_eq!(stored.journal.as_deref(), alone.as_ref());
        let written = serde_json::to_string(&stored.row).unwrap();
        let task = serde_json::to_string(&stored.task).unwrap();
        let again = Stored::read(&written, &task, None).unwrap();
        assert!(again.task == stored.task && serde_json::to_string(&again.row).unwrap() == written);
    }
    if let Some(journal) = alone {
        sound(&journal);
        let written = serde_json::to_string(&journal).unwrap();
        assert_eq!(Journal::read(&written), Some(journal));
    }
    let record = Resume::read(record);
    let _ = record.is_good_at(SystemTime::UNIX_EPOCH);
    record.journal.iter().for_each(sound);
    let written = serde_json::to_vec(&record).unwrap();
    assert!(Resume::read(&written) == record);
}

fn sound(journal: &Journal) {
    let end = journal.pieces.last().map_or(0, |piece| piece.end);
    assert!(journal.proven() <= end && end <= journal.total.unwrap_or(u64::MAX));
    let names = [Some(&journal.name), journal.proven_whole.as_ref().map(|whole| &whole.name)];
    for name in names.into_iter().flatten() {
        let folder = std::path::Path::new("folder");
        assert_eq!(folder.join(crate::filename::part_name(name)).parent(), Some(folder), "{name:?}");
    }
}

/// Checksums in headers, `name: value` a line, over an empty file.
pub fn checksum(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((HeaderName::from_bytes(&line[..at]).ok()?, line[at + 1..].trim_ascii()))
    });
    let headers = headers(lines.take(64));
    let whole = checksum::offered(&headers, false);
    let part = checksum::offered(&headers, true);
    for offered in [&whole, &part] {
        assert!(offered.all.is_sorted_by(|a, b| a.algorithm >= b.algorithm), "{offered:?}");
        assert!(offered.notes.len() <= input.len());
        for claim in &offered.all {
            let computed = Hasher::new(&[claim.algorithm]).finish().value(claim.algorithm).unwrap();
            assert_eq!(claim.value.len(), computed.len());
        }
        let kept = serde_json::to_string(offered).unwrap();
        assert_eq!(serde_json::from_str::<Offered>(&kept).unwrap().all, offered.all);
    }
    assert!(part.all.iter().all(|offer| whole.all.contains(offer)), "{part:?} {whole:?}");
    for wanted in [Vec::new(), whole.algorithms()] {
        let computed = Hasher::new(&wanted).finish();
        let known: Vec<_> =
            whole.all.iter().filter_map(|claim| Some((claim, computed.value(claim.algorithm)?))).collect();
        match checksum::compare(&computed, &whole) {
            Proof::Match(by) => {
                assert!(known.iter().all(|(claim, value)| claim.value == *value && claim.algorithm <= by));
                assert!(known.iter().any(|(claim, _)| claim.algorithm == by));
            }
            Proof::Mismatch { algorithm, expected, got } => {
                assert!(expected != got && computed.hex(algorithm) == Some(got));
            }
            Proof::Nothing => assert!(known.is_empty()),
        }
    }
    let tag = text(input);
    if let Some(value) = checksum::etag_md5(&tag) {
        assert!(tag.to_ascii_lowercase().contains(&checksum::hex(&value)));
    }
}

/// A signed URL.
pub fn signed_url(input: &[u8]) {
    let given = text(input);
    if let Ok(url) = SignedUrl::parse(&given) {
        assert_eq!(url.expose(), given.trim());
        assert!(!url.host().is_empty());
        for shown in [url.to_string(), format!("{url:?}").trim_end_matches(')').to_owned()] {
            assert!(shown.find('?').is_none_or(|at| &shown[at..] == "?•••"), "{shown}");
        }
        let secure = address::parse_secure(&given).unwrap();
        assert!(secure.scheme() == "https" || address::is_loopback(&secure));
        let _ = (
            url.starts_at(),
            url.bound_checksum(),
            url.infer(false),
            url.infer(true),
            url.signs_type_silently(),
            url.known_store(),
            url.expires_at(),
        );
        assert!(
            url.signed_headers().iter().all(|name| !name.is_empty() && *name == name.to_ascii_lowercase())
        );
        assert!(url.to_url().is_ok_and(|sent| sent == secure) || url.to_url().is_err());
    }
    if brings_the_mark(&given) {
        return;
    }
    // Neither a refusal nor what is shown of a URL gives its query away.
    let secret = format!("{}?X-Goog-Signature={MARK}", given.trim_end());
    match SignedUrl::parse(&secret) {
        Ok(url) => assert!(!format!("{url} {url:?}").contains(MARK)),
        Err(why) => assert!(!why.to_string().is_empty() && !format!("{why:?}").contains(MARK), "{why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::READERS;

    fn fuzz() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let found = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        found.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_found_so_far_is_read_without_harm() {
        let mut wrong = Vec::new();
        for (name, read) in READERS {
            let inputs = entries(&fuzz().join("corpus").join(name));
            assert!(inputs.len() >= 10, "the corpus of {name} is gone");
            for path in inputs {
                let input = std::fs::read(&path).unwrap();
                if std::panic::catch_unwind(|| read(&input)).is_err() {
                    wrong.push(path);
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_reader_has_its_target() {
        let names: BTreeSet<String> = READERS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let stems = |folder: &str| -> BTreeSet<String> {
            let found = entries(&fuzz().join(folder));
            found.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(stems("fuzz_targets"), names);
        assert_eq!(stems("corpus"), names);
        let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
        for name in &names {
            assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name}");
        }
    }
}
