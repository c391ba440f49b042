//! Checksums: what passed through here, what the other side promised, and whether the two agree.
//!
//! CRC32C is computed for every transfer: with the processor's own instructions it costs next to nothing, and it is what
//! Google's and Amazon's stores offer. MD5 and SHA-256 only on demand.

use crate::words::Phrase;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A checksum that Ferry can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Algorithm {
    /// CRC-32C (Castagnoli): catches accidents, not intent.
    Crc32c,
    /// MD5 (RFC 1321): catches accidents; broken against intent.
    Md5,
    /// SHA-256 (FIPS 180-4).
    Sha256,
}

impl Algorithm {
    /// Strongest first: the order in which an offered checksum is believed.
    pub(crate) const BY_STRENGTH: [Self; 3] = [Self::Sha256, Self::Md5, Self::Crc32c];

    /// `crc32c`, `md5` or `sha256`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crc32c => "crc32c",
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
        }
    }

    /// Length of the value in bytes.
    fn length(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hashes bytes as they pass.
#[derive(Clone)]
pub(crate) struct Hasher {
    crc32c: crc_fast::Digest,
    extra: Extra,
    bytes: u64,
}

/// The hash that is computed beside the CRC32C.
#[derive(Clone)]
enum Extra {
    None,
    Md5(Box<md5::Md5>),
    Sha256(Box<sha2::Sha256>),
}

impl Hasher {
    /// CRC32C, and `extra` if it is another one.
    pub(crate) fn new(extra: Option<Algorithm>) -> Self {
        let extra = match extra {
            None | Some(Algorithm::Crc32c) => Extra::None,
            Some(Algorithm::Md5) => Extra::Md5(Box::default()),
            Some(Algorithm::Sha256) => Extra::Sha256(Box::default()),
        };
        Self { crc32c: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi), extra, bytes: 0 }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.crc32c.update(data);
        match &mut self.extra {
            Extra::None => {}
            Extra::Md5(hash) => hash.update(data),
            Extra::Sha256(hash) => hash.update(data),
        }
        self.bytes += data.len() as u64;
    }

    /// How many bytes were taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The CRC32C so far.
    pub(crate) fn crc32c(&self) -> u32 {
        self.crc32c.finalize() as u32
    }

    /// The values over everything that was taken.
    pub(crate) fn finish(self) -> Digests {
        let crc32c = self.crc32c();
        let (md5, sha256) = match self.extra {
            Extra::None => (None, None),
            Extra::Md5(hash) => (Some(hash.finalize().into()), None),
            Extra::Sha256(hash) => (None, Some(hash.finalize().into())),
        };
        Digests { crc32c, md5, sha256 }
    }
}

/// The CRC32C of two stretches in a row, from the CRC32C of each and the length of the second in bytes.
pub(crate) fn combine_crc32c(first: u32, second: u32, second_length: u64) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, first.into(), second.into(), second_length) as u32
}

/// What was computed over a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digests {
    /// CRC32C.
    pub crc32c: u32,
    /// MD5, if it was asked for.
    pub md5: Option<[u8; 16]>,
    /// SHA-256, if it was asked for.
    pub sha256: Option<[u8; 32]>,
}

impl Digests {
    /// The value of one algorithm, if it was computed; CRC32C in network order, as it is written.
    pub(crate) fn value(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        match algorithm {
            Algorithm::Crc32c => Some(self.crc32c.to_be_bytes().to_vec()),
            Algorithm::Md5 => self.md5.map(Vec::from),
            Algorithm::Sha256 => self.sha256.map(Vec::from),
        }
    }

    /// The value of one algorithm as lower-case hex, if it was computed.
    pub(crate) fn hex(&self, algorithm: Algorithm) -> Option<String> {
        self.value(algorithm).map(|value| hex(&value))
    }
}

/// What the other side says the whole file's checksums are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    /// The strongest one: what [`Hasher::new`] should be asked for.
    pub best: Option<(Algorithm, Vec<u8>)>,
    /// Every algorithm once, strongest first.
    pub all: Vec<(Algorithm, Vec<u8>)>,
    /// What was ignored and why, for the transfer's history.
    pub notes: Vec<Phrase>,
}

/// Reads the checksums in an answer's headers. `partial` for a 206: what covers only the message is left out then.
///
/// `x-goog-hash` and `x-ms-blob-content-md5` are about the stored object, `Repr-Digest` (RFC 9530) about the whole
/// representation; `Content-MD5`, `Content-Digest`, Amazon's `x-amz-checksum-*` and the older `Digest` (which
/// servers disagree about) are trusted only when the whole file is in this one answer.
pub(crate) fn offered(headers: &HeaderMap, partial: bool) -> Offered {
    let mut found = Offered::default();
    // Google unpacked or otherwise changed the body on its way: its hashes are about bytes that never arrive.
    if headers.contains_key("x-guploader-response-body-transformations") {
        found.notes.push(Phrase::ChecksumOfChangedBody);
        return found;
    }
    for (name, text) in texts(headers, "x-goog-hash", &mut found.notes) {
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match item.split_once('=') {
                Some((key, value)) => found.take_base64(name, key.trim(), value.trim()),
                None => found.ignore(name, Phrase::NoValueThere),
            }
        }
    }
    for (name, text) in texts(headers, "x-ms-blob-content-md5", &mut found.notes) {
        found.take_base64(name, "md5", text);
    }
    for (name, text) in texts(headers, "repr-digest", &mut found.notes) {
        found.take_dictionary(name, text);
    }
    if !partial {
        for (name, text) in texts(headers, "content-digest", &mut found.notes) {
            found.take_dictionary(name, text);
        }
        for (name, text) in texts(headers, "content-md5", &mut found.notes) {
            found.take_base64(name, "md5", text);
        }
        for (name, key) in [("x-amz-checksum-crc32c", "crc32c"), ("x-amz-checksum-sha256", "sha-256")] {
            for (name, text) in texts(headers, name, &mut found.notes) {
                // Of a composite (`value-PARTS`) only the store knows the parts.
                if !text.contains('-') {
                    found.take_base64(name, key, text);
                }
            }
        }
        for (name, text) in texts(headers, "digest", &mut found.notes) {
            for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                match item.split_once('=') {
                    Some((key, value)) => found.take_base64(name, key.trim(), value.trim()),
                    None => found.ignore(name, Phrase::NoValueThere),
                }
            }
        }
    }
    found.all.sort_by_key(|(algorithm, _)| std::cmp::Reverse(*algorithm));
    found.best = found.all.first().cloned();
    found
}

impl Offered {
    /// RFC 9530's `sha-256=:BASE64:, sha-512=:BASE64:` (a dictionary of byte sequences, RFC 8941).
    fn take_dictionary(&mut self, name: &str, text: &str) {
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some((key, value)) = item.split_once('=') else {
                self.ignore(name, Phrase::NoValueThere);
                continue;
            };
            // Parameters after `;` have no meaning here.
            let value = value.split(';').next().unwrap_or_default().trim();
            match value.strip_prefix(':').and_then(|value| value.strip_suffix(':')) {
                Some(value) => self.take_base64(name, key.trim(), value),
                None if algorithm(key.trim()).is_some() => {
                    self.ignore(name, Phrase::NotBetweenColons);
                }
                None => {}
            }
        }
    }

    fn take_base64(&mut self, name: &str, key: &str, value: &str) {
        // Unknown algorithms (sha-512, unixsum …) are none of our business.
        let Some(algorithm) = algorithm(key) else { return };
        let value = match BASE64.decode(value) {
            Ok(value) if value.len() == algorithm.length() => value,
            Ok(_) => return self.ignore(name, Phrase::WrongLength),
            Err(_) => return self.ignore(name, Phrase::NotBase64),
        };
        match self.all.iter().find(|(known, _)| *known == algorithm) {
            Some((_, known)) if *known != value => {
                self.ignore(name, Phrase::Contradicts);
            }
            Some(_) => {}
            None => self.all.push((algorithm, value)),
        }
    }

    fn ignore(&mut self, name: &str, why: Phrase) {
        self.notes.push(Phrase::ChecksumIgnored { header: name.to_owned(), why: why.into() });
    }
}

/// All copies of a header that are text, with the name; the others leave a note.
fn texts<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
    notes: &mut Vec<Phrase>,
) -> Vec<(&'static str, &'a str)> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => found.push((name, text.trim())),
            Err(_) => {
                notes.push(Phrase::ChecksumIgnored { header: name.to_owned(), why: Phrase::NotText.into() });
            }
        }
    }
    found
}

/// The algorithm by any of the names in use, in any case.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name.to_ascii_lowercase().as_str() {
        "crc32c" => Some(Algorithm::Crc32c),
        "md5" => Some(Algorithm::Md5),
        "sha-256" | "sha256" => Some(Algorithm::Sha256),
        _ => None,
    }
}

/// How what was computed compares with what was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The same, by the strongest checksum that both have.
    Match(Algorithm),
    /// Different.
    Mismatch {
        /// By this one.
        algorithm: Algorithm,
        /// What the other side said, in hex.
        expected: String,
        /// What was computed here, in hex.
        got: String,
    },
    /// There is no checksum that both have.
    Nothing,
}

/// Compares by the strongest checksum that both sides have.
pub(crate) fn compare(computed: &Digests, offered: &Offered) -> Proof {
    for algorithm in Algorithm::BY_STRENGTH {
        let expected = offered.all.iter().find(|(name, _)| *name == algorithm);
        if let (Some((_, expected)), Some(got)) = (expected, computed.value(algorithm)) {
            return if *expected == got {
                Proof::Match(algorithm)
            } else {
                Proof::Mismatch { algorithm, expected: hex(expected), got: hex(&got) }
            };
        }
    }
    Proof::Nothing
}

/// The MD5 in an S3 `ETag`: 32 hex digits, quoted or not. An object sent in parts has a tag with a dash, which is none.
/// Only for what was just uploaded: of other objects nobody knows how the tag was made.
pub(crate) fn etag_md5(etag: &str) -> Option<[u8; 16]> {
    let text = etag.trim();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut value = [0; 16];
    for (byte, pair) in value.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(value)
}

/// Lower-case hex, as checksum programs print it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, http::HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn digest(extra: Option<Algorithm>, data: &[u8]) -> Digests {
        let mut hasher = Hasher::new(extra);
        hasher.update(data);
        hasher.finish()
    }

    #[test]
    fn known_values_come_out() {
        // RFC 3720 §B.4, RFC 1321 §A.5, FIPS 180-2 §B.1.
        assert_eq!(digest(None, b"123456789").crc32c, 0xe306_9283);
        assert_eq!(digest(None, &[0; 32]).crc32c, 0x8a91_36aa);
        assert_eq!(digest(None, &[0xff; 32]).crc32c, 0x62a8_ab43);
        assert_eq!(digest(None, b"").crc32c, 0);
        let md5 = digest(Some(Algorithm::Md5), b"message digest");
        assert_eq!(md5.hex(Algorithm::Md5).as_deref(), Some("f96b697d7cb7938d525a2f31aaf161d0"));
        assert_eq!(md5.sha256, None);
        let sha = digest(Some(Algorithm::Sha256), b"abc");
        assert_eq!(
            sha.hex(Algorithm::Sha256).as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(sha.md5, None);
        assert_eq!(sha.hex(Algorithm::Crc32c).as_deref(), Some("364b3fb7"));
    }

    #[test]
    fn the_value_so_far_can_be_read_without_ending() {
        let mut hasher = Hasher::new(Some(Algorithm::Crc32c));
        hasher.update(b"1234");
        assert_eq!(hasher.crc32c(), digest(None, b"1234").crc32c);
        hasher.update(b"56789");
        assert_eq!((hasher.bytes(), hasher.finish().crc32c), (9, 0xe306_9283));
    }

    #[test]
    fn every_offer_is_understood() {
        let crc = |value: u32| (Algorithm::Crc32c, value.to_be_bytes().to_vec());
        let md5 = (Algorithm::Md5, digest(Some(Algorithm::Md5), b"").md5.unwrap().to_vec());
        let sha = (Algorithm::Sha256, digest(Some(Algorithm::Sha256), b"").sha256.unwrap().to_vec());
        const SHA: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        const MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
        let goog = format!("crc32c=n03x6A==,md5={MD5}");
        let digest_header = format!("SHA-256={SHA},unixsum=30637");
        let repr = format!("sha-512=:AAAA:, sha-256=:{SHA}:;x=1");
        type Row<'a> = (Vec<(&'static str, &'a str)>, bool, Vec<(Algorithm, Vec<u8>)>, usize);
        let rows: Vec<Row<'_>> = vec![
            (vec![], false, vec![], 0),
            // The value in Google's own documentation.
            (vec![("x-goog-hash", "crc32c=n03x6A==")], false, vec![crc(0x9f4d_f1e8)], 0),
            (vec![("x-goog-hash", &goog)], false, vec![md5.clone(), crc(0x9f4d_f1e8)], 0),
            (vec![("x-goog-hash", &goog)], true, vec![md5.clone(), crc(0x9f4d_f1e8)], 0),
            (
                vec![("x-goog-hash", "crc32c=n03x6A=="), ("x-goog-hash", "md5=1B2M2Y8AsgTpgAmY7PhCfg==")],
                false,
                vec![md5.clone(), crc(0x9f4d_f1e8)],
                0,
            ),
            (vec![("content-md5", MD5)], false, vec![md5.clone()], 0),
            (vec![("content-md5", MD5)], true, vec![], 0),
            (vec![("x-ms-blob-content-md5", MD5)], true, vec![md5.clone()], 0),
            (vec![("repr-digest", &repr)], true, vec![sha.clone()], 0),
            (vec![("content-digest", &repr)], true, vec![], 0),
            (vec![("content-digest", &repr)], false, vec![sha.clone()], 0),
            (vec![("digest", &digest_header)], false, vec![sha.clone()], 0),
            (vec![("digest", &digest_header)], true, vec![], 0),
            (vec![("x-amz-checksum-sha256", SHA)], false, vec![sha.clone()], 0),
            (vec![("x-amz-checksum-crc32c", "n03x6A==-3")], false, vec![], 0),
            (vec![("repr-digest", &repr), ("content-md5", MD5)], false, vec![sha.clone(), md5.clone()], 0),
            // Malformed ones: a note each, the others still count.
            (vec![("x-goog-hash", "crc32c=???")], false, vec![], 1),
            (vec![("x-goog-hash", "crc32c=AAAAAAAA")], false, vec![], 1),
            (vec![("x-goog-hash", "crc32c")], false, vec![], 1),
            (vec![("repr-digest", "sha-256=AAAA")], false, vec![], 1),
            (
                vec![("content-md5", "zzz"), ("x-goog-hash", "crc32c=n03x6A==")],
                false,
                vec![crc(0x9f4d_f1e8)],
                1,
            ),
            (
                vec![("content-md5", MD5), ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")],
                false,
                vec![md5.clone()],
                1,
            ),
            (vec![("content-md5", MD5), ("content-md5", MD5)], false, vec![md5], 0),
            (
                vec![("x-goog-hash", &goog), ("x-guploader-response-body-transformations", "gunzipped")],
                false,
                vec![],
                1,
            ),
        ];
        for (given, partial, expected, notes) in rows {
            let found = offered(&headers(&given), partial);
            assert_eq!(found.all, expected, "{given:?}");
            assert_eq!(found.best, expected.first().cloned(), "{given:?}");
            assert_eq!(found.notes.len(), notes, "{given:?}: {:?}", found.notes);
        }
    }

    #[test]
    fn the_strongest_common_checksum_decides() {
        let right = digest(Some(Algorithm::Md5), b"");
        let offer = |all: &[(Algorithm, &[u8])]| Offered {
            all: all.iter().map(|(name, value)| (*name, value.to_vec())).collect(),
            ..Offered::default()
        };
        let md5 = right.md5.unwrap();
        assert_eq!(compare(&right, &offer(&[])), Proof::Nothing);
        assert_eq!(compare(&right, &offer(&[(Algorithm::Crc32c, &[0; 4])])), Proof::Match(Algorithm::Crc32c));
        assert_eq!(
            compare(&right, &offer(&[(Algorithm::Crc32c, &[9; 4]), (Algorithm::Md5, &md5)])),
            Proof::Match(Algorithm::Md5)
        );
        // SHA-256 was offered but not computed: the next one counts.
        assert_eq!(
            compare(&right, &offer(&[(Algorithm::Sha256, &[0; 32]), (Algorithm::Crc32c, &[0; 4])])),
            Proof::Match(Algorithm::Crc32c)
        );
        assert_eq!(
            compare(&right, &offer(&[(Algorithm::Crc32c, &[0xab, 0xcd, 0, 1])])),
            Proof::Mismatch {
                algorithm: Algorithm::Crc32c,
                expected: "abcd0001".into(),
                got: "00000000".into()
            }
        );
    }

    #[test]
    fn an_s3_tag_is_an_md5_only_without_parts() {
        let md5 = digest(Some(Algorithm::Md5), b"").md5;
        assert_eq!(etag_md5("\"d41d8cd98f00b204e9800998ecf8427e\""), md5);
        assert_eq!(etag_md5("D41D8CD98F00B204E9800998ECF8427E"), md5);
        for none in [
            "\"d41d8cd98f00b204e9800998ecf8427e-2\"",
            "W/\"d41d8cd98f00b204e9800998ecf8427e\"",
            "",
            "\"",
            "\"é\"",
        ] {
            assert_eq!(etag_md5(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn stretches_combine(a in prop::collection::vec(any::<u8>(), 0..300), b in prop::collection::vec(any::<u8>(), 0..300)) {
            let whole = digest(None, &[a.clone(), b.clone()].concat()).crc32c;
            let (first, second) = (digest(None, &a).crc32c, digest(None, &b).crc32c);
            prop_assert_eq!(combine_crc32c(first, second, b.len() as u64), whole);
        }

        #[test]
        fn no_header_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[a-z0-9=:,; -]{0,60}") {
            let mut map = HeaderMap::new();
            for name in ["x-goog-hash", "content-md5", "repr-digest", "digest", "content-digest", "x-amz-checksum-crc32c"] {
                if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                    map.append(name, value);
                }
                map.append(name, http::HeaderValue::from_str(&text).unwrap());
            }
            let _ = compare(&digest(None, b""), &offered(&map, false));
            let _ = etag_md5(&text);
        }
    }
}
