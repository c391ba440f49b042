//! What proves that the store has the file: digests and lengths that it names, and the service's own word.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{CONTENT_LOCATION, ETAG, HeaderMap};
use serde_json::{Map, Value};

use crate::asset::{Asset, AssetStatus};
use crate::error::{Cause, Error, Result};
use crate::http::ERROR_BODY_LIMIT;
use crate::http::checksum::{
    self, Algorithm, Claim, Digests, Hasher, Offered, Proof, compare, etag_md5, from_hex, hex, offered,
};
use crate::http::packed::unpacked;
use crate::http::verdict;
use crate::progress::now;
use crate::run::Run;
use crate::service::ServiceId;
use crate::services::{Confirmation, Service};
use crate::transfer::{Stage, Verified, Wait, WaitReason};
use crate::upload::acknowledged::{Doubt, Taken};
use crate::upload::sign::Target;
use crate::upload::signed_url::SignedUrl;
use crate::upload::source_file::SourceFile;
use crate::upload::{acknowledged, digests_of, sent_before};
use crate::words::{Count, Phrase};

/// The service is asked this often, this long, whether it has the file.
const CONFIRM_EVERY: Duration = Duration::from_secs(2);
const CONFIRM_LIMIT: Duration = Duration::from_secs(120);

/// Headers of stores that say how many bytes they keep.
const LENGTHS: [&str; 7] = [
    "x-goog-stored-content-length",
    "x-amz-object-size",
    "x-obs-object-size",
    "x-oss-object-size",
    "x-tos-object-size",
    // How far a resumable upload is (RFC draft, and tus; Google's): a store that has less is not done.
    "upload-offset",
    "range",
];

/// What the store named of what it keeps.
#[derive(Default)]
struct Named {
    /// Digests by headers and in bodies of which it is known whose they are.
    offered: Offered,
    /// The same for lengths.
    lengths: Vec<u64>,
    /// What stands under a name that speaks for itself, at a store that nobody knows: `md5`, `x-content-sha256`.
    by_name: Vec<Claim>,
    /// The same for lengths: `size`, `bytes_received`.
    sizes: Vec<u64>,
    /// What may be a digest by its length alone, as an entity tag: that it is the file's proves it; that it is not proves
    /// nothing.
    hints: Vec<(Algorithm, Vec<u8>)>,
}

/// Whether the answer names a digest or a length, so that a file of this size can be held to it. A number that fits only
/// as a rounded size fits many files, and proves none.
pub(super) fn names_content(taken: &Taken, url: &SignedUrl, size: u64) -> bool {
    let named = named(taken, url);
    let names_digest = !named.offered.all.is_empty() || !named.by_name.is_empty();
    let tells = |there: &u64| *there == size || !may_be_size(*there, size);
    names_digest || !named.lengths.is_empty() || named.sizes.iter().any(tells)
}

/// Compares what the store named, asks the service, and writes down what is known.
pub(super) async fn finish(
    run: &Run,
    service_id: ServiceId,
    source: &SourceFile,
    target: &Target,
    service: Option<&dyn Service>,
    taken: Option<&Taken>,
) -> Result<()> {
    run.stage(Stage::Verifying);
    let named = taken.map(|taken| named(taken, &target.url)).unwrap_or_default();
    for note in &named.offered.notes {
        run.tell(note.clone());
    }
    let mut wanted = named.offered.algorithms();
    wanted.extend(named.by_name.iter().map(|claim| claim.algorithm));
    if wanted.is_empty() {
        wanted.extend(named.hints.iter().map(|(algorithm, _)| *algorithm));
    }
    if target.asset_id.is_some() && !wanted.contains(&Algorithm::Sha256) {
        wanted.push(Algorithm::Sha256);
    }
    let digests = match source.known_digests(&wanted) {
        Some(digests) => digests,
        None => digests_of(run, source, wanted).await?,
    };
    let compared = match taken {
        Some(taken) => compare_named(&digests, &named, source.size(), taken.form_size),
        None => Ok(Verified::Length),
    };
    let confirms = service.is_some() && target.asset_id.is_some();
    let (mut proof, other) = match compared {
        Ok(proof) => (proof, None),
        // Only a doubt: that the service has a file of this size settles it.
        Err(error) if confirms && error.cause == Cause::ServiceRefused => (Verified::None, Some(error)),
        Err(error) => return Err(error),
    };
    let mut status = AssetStatus::Sent;
    if let (Some(service), Some(asset_id)) = (service, &target.asset_id) {
        run.stage(Stage::Confirming);
        if taken.is_some_and(|taken| matches!(taken.doubt, Some(Doubt::Exists(_)))) {
            // Only the service can tell, and it may take as long as for any file.
            run.wait(Some(Wait {
                reason: WaitReason::Answer,
                until: None,
                what: Phrase::StoreSaysExists.into(),
                why: None,
            }));
        }
        let confirmed = confirm(run, service, asset_id, CONFIRM_LIMIT).await;
        run.wait(None);
        match confirmed? {
            Confirmation::Success { size } => {
                if let Some(size) = size.filter(|size| *size != source.size()) {
                    return Err(stored_wrong(Phrase::ServiceHasOther, size, source.size()));
                }
                status = AssetStatus::Confirmed;
                if size.is_some() && proof == Verified::None {
                    proof = Verified::Length;
                }
                run.tell(Phrase::ConfirmedByService);
            }
            Confirmation::Failed(word) => {
                return Err(Error::new(Cause::ServiceRefused, Phrase::FileNotTaken).because(word));
            }
            Confirmation::Pending if other.is_some() => {}
            Confirmation::Pending => run.note(Phrase::NotYetConfirmed),
        }
        if let Some(error) = other.filter(|_| proof == Verified::None) {
            return Err(error);
        }
        if status != AssetStatus::Confirmed
            && let Some(error) = unproven(&service_id, proof, taken)
        {
            return Err(error);
        }
        let asset = Asset {
            service: service_id,
            asset_id: asset_id.as_str().into(),
            name: run.row().name,
            size: Some(source.size()),
            crc32c: Some(sent_before::shown(digests.crc32c)),
            status,
            at: now(),
        };
        let store = &run.queue().store;
        match sent_before::sha256(&digests) {
            Some(sha256) => {
                let read = sent_before::Read { crc32c: digests.crc32c, sha256 };
                sent_before::remember(store, source.place(), source.sighting(), read);
                store.save_sent(asset, sha256).await?;
            }
            None => store.save_asset(asset).await?,
        }
    } else if let Some(error) = unproven(&service_id, proof, taken) {
        return Err(error);
    }
    if proof == Verified::None && (service.is_none() || status == AssetStatus::Confirmed) {
        let words = taken.and_then(acknowledged::words_of);
        run.note(words.map_or(Phrase::NotConfirmed, |words| Phrase::NotConfirmedSaid { words }));
    }
    run.counter.set(source.size());
    let checksum = digests.hex(proof.algorithm().unwrap_or(Algorithm::Crc32c));
    run.update(|row| {
        row.verified = Some(proof);
        row.checksum = checksum.map(Into::into);
    });
    Ok(())
}

/// The failure for a success that is doubtful, where nothing else shows that the file is there. A store whose words may say
/// that it failed may have read the file all the same: what it names of it then shows nothing.
fn unproven(service_id: &str, proof: Verified, taken: Option<&Taken>) -> Option<Error> {
    let doubt = taken?.doubt.as_ref()?;
    let settles = proof != Verified::None && !matches!(doubt, Doubt::Words(_));
    (!settles).then(|| doubt.error(service_id))
}

/// Whether the store has exactly as many bytes as the form around the file had, by its own word or by the service's.
pub(super) async fn form_was_kept(
    run: &Run,
    service: Option<&dyn Service>,
    target: &Target,
    taken: &Taken,
) -> Result<bool> {
    let Some(form_size) = taken.form_size else { return Ok(false) };
    let named = named(taken, &target.url);
    let stored = [named.lengths, named.sizes].concat();
    if !stored.is_empty() {
        return Ok(stored.contains(&form_size));
    }
    let (Some(service), Some(asset_id)) = (service, &target.asset_id) else { return Ok(false) };
    let answer = run.or_stop(service.confirm(asset_id)).await?;
    Ok(matches!(answer, Ok(Confirmation::Success { size: Some(size) }) if size == form_size))
}

/// Everything that the answer names of what is stored.
fn named(taken: &Taken, url: &SignedUrl) -> Named {
    let headers = &taken.headers;
    let mut named = Named { offered: offered(headers, false), ..Named::default() };
    named.offered.all.retain(|claim| is_of_the_file(claim, taken));
    named.lengths = stored_lengths(headers);
    named.read_headers(taken);
    // With a customer's own key, or one of the key service, the entity tag is no MD5 although it looks like one.
    let encrypted = headers.keys().any(|name| name.as_str().ends_with("-customer-algorithm"))
        || headers.iter().any(|(name, value)| {
            name.as_str().ends_with("-server-side-encryption") && value.as_bytes() != b"AES256"
        });
    let is_md5 = url.tag_means_md5() && !encrypted;
    let words = unpacked(headers, &taken.body, ERROR_BODY_LIMIT);
    named.read_body(&words, is_md5);
    let tag = headers.get(ETAG).and_then(|value| value.to_str().ok()).and_then(etag_md5);
    match tag {
        Some(md5) if is_md5 => {
            named.claim("etag", Algorithm::Md5, Some(md5.to_vec()));
        }
        Some(md5) => named.hints.push((Algorithm::Md5, md5.to_vec())),
        None => {}
    }
    named
}

/// Whether a digest may be of the file that was sent: those of a message are most often of the answer's own, and would call
/// a good file a wrong one.
fn is_of_the_file(claim: &Claim, taken: &Taken) -> bool {
    let is_of_message = matches!(&*claim.header, "content-digest" | "content-md5" | "digest");
    let is_of_representation = claim.header == "repr-digest";
    if !is_of_message && !is_of_representation {
        return true;
    }
    // RFC 9530, section 3.1: of what is at the address that the answer names, else of what the answer holds.
    let names_place = taken.headers.contains_key(CONTENT_LOCATION);
    if is_of_representation && !names_place && !taken.body.is_empty() {
        return false;
    }
    let is_of_chunk = is_of_message && taken.of_chunk;
    !is_of_chunk && !is_of(claim, &taken.body)
}

/// Whether a digest is that of these bytes.
fn is_of(claim: &Claim, bytes: &[u8]) -> bool {
    let mut hasher = Hasher::new(&[claim.algorithm]);
    hasher.update(bytes);
    hasher.finish().value(claim.algorithm).as_ref() == Some(&claim.value)
}

/// How many bytes the store says that it keeps, by every header that says so.
fn stored_lengths(headers: &HeaderMap) -> Vec<u64> {
    // Of a file that is kept packed it is not the file's.
    let packed = headers
        .get("x-goog-stored-content-encoding")
        .is_some_and(|value| !value.is_empty() && !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let number = |name: &str| -> Option<u64> {
        let text = headers.get(name)?.to_str().ok()?.trim();
        if name == "range" {
            let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
            return text.strip_prefix("0-")?.parse::<u64>().ok()?.checked_add(1);
        }
        text.parse().ok()
    };
    let named = LENGTHS.iter().filter(|name| !(packed && name.starts_with("x-goog")));
    named.filter_map(|name| number(name)).collect()
}

impl Named {
    fn claim(&mut self, header: &str, algorithm: Algorithm, value: Option<Vec<u8>>) {
        if let Some(value) = value {
            let claim = Claim { header: header.to_owned(), algorithm, value };
            self.offered.merge(Offered { all: vec![claim], ..Offered::default() });
        }
    }

    /// What the answer's body says of an object: in the forms of stores that are known, and by names that speak for
    /// themselves.
    fn read_body(&mut self, body: &[u8], tag_means_md5: bool) {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => self.read_object(&object),
            // One entry for each file that was sent; of several nobody knows which is this one.
            Ok(Value::Array(entries)) => {
                if let [Value::Object(object)] = &entries[..] {
                    self.read_object(object);
                }
            }
            _ => {
                // S3's answer to a form.
                let text = String::from_utf8_lossy(body);
                let tag = text
                    .contains("<PostResponse")
                    .then(|| text.split_once("<ETag>")?.1.split_once("</ETag>").map(|(tag, _)| tag))
                    .flatten();
                let md5 = tag.map(|tag| tag.replace("&quot;", "\"")).and_then(|tag| etag_md5(&tag));
                if let Some(md5) = md5.filter(|_| tag_means_md5) {
                    self.claim("etag", Algorithm::Md5, Some(md5.to_vec()));
                }
            }
        }
        // Of several values in a row, as of progress, the last one is about the whole file.
        if let Some(value) = verdict::values_in(&String::from_utf8_lossy(body)).last() {
            self.read_names(value, 0);
        }
    }

    /// Headers that are in no table, by their names.
    fn read_headers(&mut self, taken: &Taken) {
        for (header, value) in &taken.headers {
            let (name, Ok(text)) = (header.as_str(), value.to_str()) else { continue };
            // HTTP's own are about the answer, as is what an "original" length is of.
            let is_own = name.starts_with("x-") && !name.contains("original");
            if is_own && !checksum::is_listed(name) && !LENGTHS.contains(&name) {
                self.read_named(name, &Value::String(text.to_owned()), false);
            }
        }
        // Proxies write down the length of what they pass on. The body's own sizes are not read yet.
        let own = taken.body.len() as u64;
        self.sizes.retain(|size| own == 0 || *size != own);
        self.by_name.retain(|claim| !is_of(claim, &taken.body));
    }

    /// What stands under names that speak for themselves, where it is about the file.
    fn read_names(&mut self, value: &Value, depth: usize) {
        const DEEPEST: usize = 6;
        let object = match value {
            Value::Object(object) => object,
            Value::Array(entries) => match &entries[..] {
                [Value::Object(object)] => object,
                _ => return,
            },
            _ => return,
        };
        for (name, value) in object {
            let is_inner = matches!(value, Value::Object(_) | Value::Array(_));
            if is_inner && depth < DEEPEST {
                let plain = verdict::plain(name);
                let holds_digests = matches!(&*plain, "checksums" | "hashes" | "digests");
                if holds_digests || is_generic(&plain) || verdict::is_wrapper(&plain) || object.len() == 1 {
                    self.read_names(value, depth + 1);
                }
            } else {
                self.read_named(name, value, true);
            }
        }
    }

    /// One name and its value. `in_body`: a bare `length` may be a film's.
    fn read_named(&mut self, name: &str, value: &Value, in_body: bool) {
        let plain = verdict::plain(name);
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if let Some(number) = number
            && is_size(&plain, in_body)
        {
            self.sizes.push(number);
            return;
        }
        let Some(text) = value.as_str().map(str::trim) else { return };
        // `sha256:…`, `md5=…`, and OpenSSL's and npm's `sha256-…`.
        let (prefix, rest) = text.split_once([':', '=', '-']).unwrap_or(("", text));
        let prefixed =
            Algorithm::by_name(prefix).filter(|_| is_generic(&plain) || algorithm_in(&plain).is_some());
        let claim = match (prefixed, algorithm_in(&plain)) {
            (Some(algorithm), _) => Some((algorithm, rest)),
            (None, Some(algorithm)) => Some((algorithm, text)),
            (None, None) => None,
        };
        if let Some((algorithm, text)) = claim {
            if let Some(value) = checksum::value_of(algorithm, text) {
                self.by_name.push(Claim { header: name.to_ascii_lowercase(), algorithm, value });
            }
        } else if is_generic(&plain) {
            for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
                self.hints.extend(checksum::value_of(algorithm, text).map(|value| (algorithm, value)));
            }
        }
    }

    fn read_object(&mut self, object: &Map<String, Value>) {
        let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::trim);
        let number = |name: &str| match object.get(name) {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        let base64 = |name: &str, length: usize| {
            text(name).and_then(|text| BASE64.decode(text).ok()).filter(|value| value.len() == length)
        };
        let hex =
            |name: &str, length: usize| text(name).and_then(from_hex).filter(|value| value.len() == length);
        // Google's JSON interface.
        if text("kind") == Some("storage#object")
            || (object.contains_key("bucket") && object.contains_key("crc32c"))
        {
            self.claim("crc32c", Algorithm::Crc32c, base64("crc32c", 4));
            self.claim("md5Hash", Algorithm::Md5, base64("md5Hash", 16));
            self.lengths.extend(number("size"));
        }
        // Zenodo's, and other Invenio's.
        if let Some((name, value)) = text("checksum").and_then(|text| text.split_once(':'))
            && name.eq_ignore_ascii_case("md5")
            && (object.contains_key("key") || object.contains_key("version_id"))
        {
            self.claim("checksum", Algorithm::Md5, from_hex(value).filter(|value| value.len() == 16));
            self.lengths.extend(number("size"));
        }
        // Backblaze's own.
        if object.contains_key("fileId") && object.contains_key("contentSha1") {
            self.claim("contentSha1", Algorithm::Sha1, hex("contentSha1", 20));
            self.claim("contentMd5", Algorithm::Md5, hex("contentMd5", 16));
            self.lengths.extend(number("contentLength"));
        }
        // Google Drive's.
        if text("kind") == Some("drive#file") || object.contains_key("md5Checksum") {
            self.claim("md5Checksum", Algorithm::Md5, hex("md5Checksum", 16));
            self.claim("sha1Checksum", Algorithm::Sha1, hex("sha1Checksum", 20));
            self.claim("sha256Checksum", Algorithm::Sha256, hex("sha256Checksum", 32));
            self.lengths.extend(number("size"));
        }
        // A personal OneDrive's. One for business names another digest, which is not computed here.
        let hashes = object.get("file").and_then(|file| file.get("hashes")).and_then(Value::as_object);
        let of_item = |name: &str, length: usize| {
            let text = hashes?.get(name)?.as_str()?;
            from_hex(text).filter(|value| value.len() == length)
        };
        self.claim("sha1Hash", Algorithm::Sha1, of_item("sha1Hash", 20));
        self.claim("sha256Hash", Algorithm::Sha256, of_item("sha256Hash", 32));
        // GitHub's, of an asset of a release.
        if object.contains_key("browser_download_url") {
            let value = text("digest").and_then(|digest| digest.strip_prefix("sha256:")).and_then(from_hex);
            self.claim("digest", Algorithm::Sha256, value.filter(|value| value.len() == 32));
            self.lengths.extend(number("size"));
        }
        // Box's: a list of what was stored.
        let entries = object.get("entries").and_then(Value::as_array);
        if let Some([entry]) = entries.map(Vec::as_slice)
            && entry.get("type").and_then(Value::as_str) == Some("file")
        {
            let sha1 = entry.get("sha1").and_then(Value::as_str).and_then(from_hex);
            self.claim("sha1", Algorithm::Sha1, sha1.filter(|value| value.len() == 20));
            self.lengths.extend(entry.get("size").and_then(Value::as_u64));
        }
        // Dropbox's. Its `content_hash` is of blocks, and of them alone.
        if object.contains_key("content_hash") && object.contains_key("rev") {
            self.lengths.extend(number("size"));
        }
    }
}

/// What is left of a name when what only says that it is about a file is gone: `x-amz-meta-md5chksum` is `md5`.
fn bare(plain: &str) -> &str {
    const BEFORE: [&str; 20] = [
        "x", "amz", "goog", "ms", "oss", "cos", "obs", "tos", "meta", "file", "content", "object", "body",
        "data", "original", "source", "upload", "stored", "checksum", "hash",
    ];
    // Longer ones before their own ends.
    const AFTER: [&str; 9] =
        ["checksum", "chksum", "sum", "hash", "hexdigest", "digest", "hex", "base64", "b64"];
    let mut name = plain;
    loop {
        let before = BEFORE.iter().find_map(|part| name.strip_prefix(part));
        let shorter = before.or_else(|| AFTER.iter().find_map(|part| name.strip_suffix(part)));
        match shorter.filter(|rest| !rest.is_empty()) {
            Some(rest) => name = rest,
            None => return name,
        }
    }
}

/// The algorithm that a name names, and nothing but that.
fn algorithm_in(plain: &str) -> Option<Algorithm> {
    // `sha` alone is a commit as often as a digest.
    Algorithm::by_name(bare(plain)).filter(|_| bare(plain) != "sha")
}

/// Whether a name is that of a digest of whatever kind.
fn is_generic(plain: &str) -> bool {
    plain == "etag" || matches!(bare(plain), "checksum" | "hash" | "digest" | "hexdigest" | "chksum")
}

/// Whether a name is that of how many bytes are kept.
fn is_size(plain: &str, in_body: bool) -> bool {
    const NAMES: [&str; 19] = [
        "size",
        "bytes",
        "sizebytes",
        "bytesize",
        "sizeinbytes",
        "byteslength",
        "bytelength",
        "contentlength",
        "filelength",
        "objectlength",
        "storedlength",
        "bytesreceived",
        "receivedbytes",
        "byteswritten",
        "writtenbytes",
        "bytesuploaded",
        "uploadedbytes",
        "bytesstored",
        "storedbytes",
    ];
    NAMES.contains(&plain) || NAMES.contains(&bare(plain)) || (!in_body && bare(plain) == "length")
}

/// Compares all that the store named, if it named anything, with what was sent.
fn compare_named(digests: &Digests, named: &Named, size: u64, form_size: Option<u64>) -> Result<Verified> {
    if let Some(there) = named.lengths.iter().find(|there| **there != size) {
        return Err(stored_wrong(Phrase::StoreHasOther, *there, size));
    }
    let by_table = match compare(digests, &named.offered) {
        Proof::Match(algorithm) => Some(algorithm),
        Proof::Nothing => None,
        Proof::Mismatch { algorithm, expected, got } => {
            return Err(Error::new(Cause::StoredWrong, Phrase::StoreHasOther).because(
                Phrase::ChecksumThere {
                    algorithm: algorithm.as_str().into(),
                    there: expected.into(),
                    here: got.into(),
                },
            ));
        }
    };
    let is_files = |algorithm: Algorithm, value: &Vec<u8>| digests.value(algorithm).as_ref() == Some(value);
    let by_name = named.by_name.iter().filter(|claim| is_files(claim.algorithm, &claim.value));
    let by_length = named.hints.iter().filter(|(algorithm, value)| is_files(*algorithm, value));
    let best = by_table
        .into_iter()
        .chain(by_name.map(|claim| claim.algorithm))
        .chain(by_length.map(|(algorithm, _)| *algorithm))
        .max();
    // Names are words: what contradicts a digest that is the file's was about something else.
    if let Some(algorithm) = best.filter(|algorithm| by_table.is_some() || !algorithm.is_crc()) {
        return Ok(algorithm.into());
    }
    // Nothing but the form is as large as the form.
    if let Some(form_size) = form_size.filter(|form| *form != size && named.sizes.contains(form)) {
        return Err(stored_wrong(Phrase::StoreHasOther, form_size, size));
    }
    for claim in &named.by_name {
        if let Some(got) = digests.value(claim.algorithm).filter(|got| *got != claim.value) {
            return Err(names_other(Phrase::ChecksumThere {
                algorithm: claim.algorithm.as_str().into(),
                there: hex(&claim.value).into(),
                here: hex(&got).into(),
            }));
        }
    }
    if let Some(algorithm) = best {
        return Ok(algorithm.into());
    }
    if !named.lengths.is_empty() {
        return Ok(Verified::Length);
    }
    if let Some(there) = named.sizes.iter().copied().find(|there| !may_be_size(*there, size)) {
        return Err(names_other(other_size(there, size)));
    }
    Ok(if named.sizes.contains(&size) { Verified::Length } else { Verified::None })
}

/// Whether a number that is called a size may be this one: in bytes, or rounded to thousands or 1024s of them.
fn may_be_size(there: u64, size: u64) -> bool {
    let units = [1_000, 1_024, 1_000_000, 1 << 20, 1_000_000_000, 1 << 30];
    there == size
        || (there > 0 && units.iter().any(|unit| (size / unit).abs_diff(there) <= 1 && size >= unit / 2))
}

/// The failure for something that a store says under a name of its own: it may mean something else by it, so that to delete
/// what is there would be the wrong advice; but it may also have kept something else.
fn names_other(why: Phrase) -> Error {
    Error::new(Cause::ServiceRefused, Phrase::StoreNamesOther).because(why).advise(Phrase::LookThereFirst)
}

fn stored_wrong(what: Phrase, there: u64, here: u64) -> Error {
    Error::new(Cause::StoredWrong, what).because(other_size(there, here))
}

fn other_size(there: u64, here: u64) -> Phrase {
    if there > here && there - here < 4096 {
        Phrase::HoldsTheForm { more: Count(there - here) }
    } else {
        Phrase::HoldsAnotherSize { there: Count(there), here: Count(here) }
    }
}

/// Asks the service until it has the file, it failed, or this much time has passed.
pub(super) async fn confirm(
    run: &Run,
    service: &dyn Service,
    asset_id: &str,
    limit: Duration,
) -> Result<Confirmation> {
    let deadline = tokio::time::Instant::now() + run.scaled(limit);
    loop {
        match run.or_stop(service.confirm(asset_id)).await? {
            Ok(Confirmation::Pending) => {}
            Ok(answer) => return Ok(answer),
            // The bytes are there; trouble with asking about them must not send them again. A refused key will not be
            // taken by asking on: the next transfer makes it the service's question.
            Err(error) if error.cause == Cause::Unauthorized || tokio::time::Instant::now() >= deadline => {
                tracing::info!(%error, "the service was not reached for its confirmation");
                return Ok(Confirmation::Pending);
            }
            Err(error) => tracing::debug!(%error, "the service has not confirmed"),
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(Confirmation::Pending);
        }
        run.sleep(CONFIRM_EVERY).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    const MD5: &str = "\"25f9e794323b453885f5181f1b624d0b\"";
    const OTHER: &str = "\"00000000000000000000000000000000\"";

    fn judged(url: &str, headers: &[(&'static str, &str)], body: &str) -> Result<Verified, String> {
        let mut hasher = Hasher::new(&[
            Algorithm::Md5,
            Algorithm::Sha1,
            Algorithm::Sha256,
            Algorithm::Crc64Nvme,
            Algorithm::Crc64Ecma,
        ]);
        hasher.update(b"123456789");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let taken = Taken {
            headers: map,
            body: body.as_bytes().to_vec(),
            form_size: None,
            doubt: None,
            of_chunk: false,
        };
        let named = named(&taken, &SignedUrl::parse(url).unwrap());
        compare_named(&hasher.finish(), &named, 9, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_size_in_thousands_is_no_other_size_and_one_of_the_form_is_the_forms() {
        for (there, size, expected) in [
            (300_000, 300_000, true),
            (300, 300_000, true),
            (293, 300_000, true),
            (12, 12_000_000, true),
            (5, 300_000, false),
            (0, 300_000, false),
            (65_536, 300_000, false),
            (1, 9, false),
        ] {
            assert_eq!(may_be_size(there, size), expected, "{there} {size}");
        }
        let digests = Hasher::new(&[]).finish();
        let named = Named { sizes: vec![260], ..Named::default() };
        let cause = |form_size| compare_named(&digests, &named, 9, form_size).unwrap_err().cause;
        assert_eq!(cause(Some(260)), Cause::StoredWrong);
        assert_eq!(cause(Some(261)), Cause::ServiceRefused);
        assert_eq!(cause(None), Cause::ServiceRefused);
    }

    #[test]
    fn a_size_that_fits_only_when_it_is_rounded_is_nothing_to_hold_an_answer_to() {
        let url = SignedUrl::parse("https://files.example/o").unwrap();
        for (body, expected) in [
            (r#"{"size": 300000}"#, true),
            (r#"{"size": 300}"#, false),
            (r#"{"size": 293}"#, false),
            (r#"{"size": 5}"#, true),
            (r#"{"md5": "00000000000000000000000000000000"}"#, true),
            ("", false),
        ] {
            let (headers, body) = (HeaderMap::new(), body.as_bytes().to_vec());
            let taken = Taken { headers, body, form_size: None, doubt: None, of_chunk: false };
            assert_eq!(names_content(&taken, &url, 300_000), expected, "{:?}", taken.body);
        }
    }

    #[test]
    fn everything_that_a_store_names_is_compared() {
        const ANY: &str = "https://files.example/o";
        const S3: &str = "https://b.s3.amazonaws.com/o?X-Amz-Signature=x";
        const EXPRESS: &str =
            "https://b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/o?X-Amz-Signature=x";
        type Row<'a> = (&'a str, Vec<(&'static str, &'a str)>, &'a str, Option<Verified>);
        let rows: Vec<Row<'_>> = vec![
            (ANY, vec![], "", Some(Verified::None)),
            (ANY, vec![("x-goog-stored-content-length", "9")], "", Some(Verified::Length)),
            (ANY, vec![("x-goog-stored-content-length", "8")], "", None),
            (
                ANY,
                vec![("x-goog-stored-content-length", "8"), ("x-goog-stored-content-encoding", "gzip")],
                "",
                Some(Verified::None),
            ),
            (ANY, vec![("x-amz-object-size", "10")], "", None),
            (ANY, vec![("upload-offset", "4")], "", None),
            (ANY, vec![("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKfgqCg=")], "", None),
            (ANY, vec![("x-amz-checksum-crc64nvme", "rosUhgp5mIg=")], "", Some(Verified::Crc64Nvme)),
            (ANY, vec![("x-amz-checksum-crc64nvme", "rosUhgp5mIk=")], "", None),
            (ANY, vec![("x-oss-hash-crc64ecma", "11051210869376104954")], "", Some(Verified::Crc64Ecma)),
            // An agreeing digest and a wrong length, and the other way round.
            (ANY, vec![("x-amz-checksum-crc64nvme", "rosUhgp5mIg="), ("x-amz-object-size", "8")], "", None),
            (ANY, vec![("x-amz-checksum-crc32c", "AAAAAA=="), ("x-amz-object-size", "9")], "", None),
            // A tag is an MD5 where the store is known for it, a proof where it fits, and nothing otherwise.
            (S3, vec![("etag", MD5)], "", Some(Verified::Md5)),
            (S3, vec![("etag", OTHER)], "", None),
            (
                S3,
                vec![("etag", OTHER), ("x-amz-server-side-encryption", "aws:kms")],
                "",
                Some(Verified::None),
            ),
            (
                S3,
                vec![("etag", OTHER), ("x-amz-server-side-encryption-customer-algorithm", "AES256")],
                "",
                Some(Verified::None),
            ),
            (S3, vec![("etag", OTHER), ("x-amz-server-side-encryption", "AES256")], "", None),
            (EXPRESS, vec![("etag", OTHER)], "", Some(Verified::None)),
            (ANY, vec![("etag", MD5)], "", Some(Verified::Md5)),
            (ANY, vec![("etag", OTHER)], "", Some(Verified::None)),
            // Bodies of stores that are known.
            (
                ANY,
                vec![],
                r#"{"kind":"storage#object","size":"9","crc32c":"4waSgw=="}"#,
                Some(Verified::Crc32c),
            ),
            (
                ANY,
                vec![],
                r#"{"key":"o","checksum":"md5:25f9e794323b453885f5181f1b624d0b","size":9}"#,
                Some(Verified::Md5),
            ),
            (ANY, vec![], r#"{"key":"o","checksum":"md5:00000000000000000000000000000000","size":9}"#, None),
            (ANY, vec![("opc-content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "", None),
            (ANY, vec![], r#"{"kind":"storage#object","size":"8"}"#, None),
            (
                ANY,
                vec![],
                r#"{"fileId":"4_z","contentLength":9,"contentSha1":"f7c3bc1d808e04732adf679965ccc34ca7ae3441"}"#,
                Some(Verified::Sha1),
            ),
            (
                ANY,
                vec![],
                r#"{"fileId":"4_z","contentSha1":"0000000000000000000000000000000000000000"}"#,
                None,
            ),
            (
                ANY,
                vec![],
                r#"{"kind":"drive#file","md5Checksum":"25f9e794323b453885f5181f1b624d0b"}"#,
                Some(Verified::Md5),
            ),
            (ANY, vec![], r#"{"kind":"drive#file","md5Checksum":"00000000000000000000000000000000"}"#, None),
            (
                ANY,
                vec![],
                r#"{"id":"1","file":{"hashes":{"sha1Hash":"F7C3BC1D808E04732ADF679965CCC34CA7AE3441"}}}"#,
                Some(Verified::Sha1),
            ),
            (
                ANY,
                vec![],
                r#"{"id":"1","file":{"hashes":{"sha1Hash":"0000000000000000000000000000000000000000"}}}"#,
                None,
            ),
            (
                ANY,
                vec![],
                r#"{"browser_download_url":"x","size":9,"digest":"sha256:15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"}"#,
                Some(Verified::Sha256),
            ),
            (ANY, vec![], r#"{"browser_download_url":"x","size":8}"#, None),
            (
                ANY,
                vec![],
                r#"{"entries":[{"type":"file","size":9,"sha1":"f7c3bc1d808e04732adf679965ccc34ca7ae3441"}]}"#,
                Some(Verified::Sha1),
            ),
            (
                ANY,
                vec![],
                r#"{"entries":[{"type":"file","sha1":"0000000000000000000000000000000000000000"}]}"#,
                None,
            ),
            (ANY, vec![], r#"{"rev":"a","content_hash":"b","size":8}"#, None),
            (
                S3,
                vec![],
                "<PostResponse><Key>o</Key><ETag>&quot;25f9e794323b453885f5181f1b624d0b&quot;</ETag></PostResponse>",
                Some(Verified::Md5),
            ),
            (
                S3,
                vec![],
                "<PostResponse><ETag>\"00000000000000000000000000000000\"</ETag></PostResponse>",
                None,
            ),
            (
                ANY,
                vec![],
                "<PostResponse><ETag>\"00000000000000000000000000000000\"</ETag></PostResponse>",
                Some(Verified::None),
            ),
            // Names that speak for themselves, at a store that nobody knows.
            (ANY, vec![], r#"{"size": 9}"#, Some(Verified::Length)),
            (ANY, vec![], r#"{"data": {"file_size": "9"}}"#, Some(Verified::Length)),
            (ANY, vec![], r#"{"size": 3}"#, None),
            (ANY, vec![], r#"{"size": 0}"#, None),
            (ANY, vec![], r#"{"bytes_received": 3, "total": 9}"#, None),
            (ANY, vec![], "{\"bytes_received\": 3}\n{\"bytes_received\": 9}", Some(Verified::Length)),
            (ANY, vec![], "<PutObjectResult><Size>5</Size></PutObjectResult>", None),
            (ANY, vec![], "<PutObjectResult><Size>9</Size></PutObjectResult>", Some(Verified::Length)),
            (ANY, vec![], r#"{"md5": "25f9e794323b453885f5181f1b624d0b", "size": 3}"#, Some(Verified::Md5)),
            (ANY, vec![], r#"{"md5": "00000000000000000000000000000000"}"#, None),
            (ANY, vec![], r#"{"md5": "JfnnlDI7RTiF9RgfG2JNCw=="}"#, Some(Verified::Md5)),
            (ANY, vec![], r#"{"md5": "no digest"}"#, Some(Verified::None)),
            (
                ANY,
                vec![],
                r#"{"sha256": "0000000000000000000000000000000000000000000000000000000000000000", "size": 9}"#,
                None,
            ),
            (
                ANY,
                vec![],
                r#"{"checksum": "sha256:15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"}"#,
                Some(Verified::Sha256),
            ),
            (
                ANY,
                vec![],
                r#"{"checksum": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}"#,
                None,
            ),
            (
                ANY,
                vec![],
                r#"{"hashes": {"sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441"}}"#,
                Some(Verified::Sha1),
            ),
            (ANY, vec![("x-obs-object-size", "5")], "", None),
            (ANY, vec![("range", "bytes=0-4")], "", None),
            (ANY, vec![("range", "bytes=0-8")], "", Some(Verified::Length)),
            (ANY, vec![("x-content-length", "5")], "", None),
            (ANY, vec![("x-amz-meta-md5chksum", "JfnnlDI7RTiF9RgfG2JNCw==")], "", Some(Verified::Md5)),
            (ANY, vec![("x-amz-meta-md5chksum", "AAAAAAAAAAAAAAAAAAAAAA==")], "", None),
            (
                ANY,
                vec![(
                    "x-content-sha256",
                    "0000000000000000000000000000000000000000000000000000000000000000",
                )],
                "",
                None,
            ),
            (ANY, vec![("digest", "SHA-1=\"98O8HYCOBHMq32eZZczDTKeuNEE=\"")], "", Some(Verified::Sha1)),
            (ANY, vec![("digest", "SHA-1=\"AAAAAAAAAAAAAAAAAAAAAAAAAAA=\"")], "", None),
            (
                ANY,
                vec![("repr-digest", "sha-256=FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")],
                "",
                Some(Verified::Sha256),
            ),
            (ANY, vec![("repr-digest", "sha-256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")], "", None),
            // A digest by its length alone: one that is the file's is a proof, one that is not was of something else.
            (ANY, vec![("x-checksum", "25f9e794323b453885f5181f1b624d0b")], "", Some(Verified::Md5)),
            (ANY, vec![("x-checksum", "00000000000000000000000000000000")], "", Some(Verified::None)),
            (ANY, vec![], r#"{"hash": "f7c3bc1d808e04732adf679965ccc34ca7ae3441"}"#, Some(Verified::Sha1)),
            (ANY, vec![], r#"{"hash": "0000000000000000000000000000000000000000"}"#, Some(Verified::None)),
            // Of the answer itself, of a key, of something else, of several.
            (ANY, vec![("x-content-length", "5")], "12345", Some(Verified::None)),
            (ANY, vec![("x-content-length", "5")], "1234", None),
            (ANY, vec![("x-content-length", "9")], "12345", Some(Verified::Length)),
            (
                ANY,
                vec![("content-length", "5"), ("x-original-content-length", "5")],
                "12345",
                Some(Verified::None),
            ),
            (
                ANY,
                vec![("x-content-sha1", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12")],
                "The quick brown fox jumps over the lazy dog",
                Some(Verified::None),
            ),
            (
                ANY,
                vec![("x-amz-server-side-encryption-customer-key-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
                "",
                Some(Verified::None),
            ),
            (
                ANY,
                vec![],
                r#"{"thumbnail": {"size": 3}, "quota": {"size": 3}, "length": 3}"#,
                Some(Verified::None),
            ),
            (ANY, vec![], r#"{"files": [{"size": 3}, {"size": 9}]}"#, Some(Verified::None)),
            (ANY, vec![], r#"{"sha": "0000000000000000000000000000000000000000"}"#, Some(Verified::None)),
        ];
        for (url, headers, body, expected) in rows {
            let got = judged(url, &headers, body);
            assert_eq!(got.clone().ok(), expected, "{url} {headers:?} {body}: {got:?}");
        }
    }
}
