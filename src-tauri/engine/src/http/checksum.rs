//! Digests: what passed through here, what the other side says of the file, and whether the two agree.
//!
//! CRC32C is computed for every transfer: with the processor's own instructions it costs next to nothing, and it is what
//! Google's and Amazon's stores offer. The others only where they are offered.
//!
//! What the other side says stands in [`TABLE`]: a header, how it is read, and of which bytes its value is. A new source
//! of digests is a line there. What the user says is a [`Checksum`], and decides before all of them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::Error;
use crate::words::Phrase;

/// A digest that Ferry can compute, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Algorithm {
    /// CRC-32 (ISO-HDLC, as in zip and Ethernet): catches accidents, not intent, like the other three.
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64 with ECMA-182's polynomial, reflected (CRC-64/XZ): Alibaba's, Tencent's, Huawei's and Volcengine's.
    Crc64Ecma,
    /// CRC-64/NVME: Amazon's default, and Azure's.
    Crc64Nvme,
    /// MD5 (RFC 1321): catches accidents; broken against intent.
    Md5,
    /// SHA-1 (FIPS 180-4): broken against intent, too.
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
}

impl Algorithm {
    /// `crc32`, `crc32c`, `crc64ecma`, `crc64nvme`, `md5`, `sha1`, `sha256` or `sha512`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Ecma => "crc64ecma",
            Self::Crc64Nvme => "crc64nvme",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// By any of the names in use, in any case.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "crc32" => Self::Crc32,
            "crc32c" => Self::Crc32c,
            "crc64nvme" => Self::Crc64Nvme,
            "md5" => Self::Md5,
            // RFC 3230 calls it so.
            "sha" | "sha1" | "sha-1" => Self::Sha1,
            "sha256" | "sha-256" => Self::Sha256,
            "sha512" | "sha-512" => Self::Sha512,
            _ => return None,
        })
    }

    /// Length of the value in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Ecma | Self::Crc64Nvme => 8,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Whether it is a CRC: two files may share it by chance, and those of pieces can be combined.
    pub(crate) fn is_crc(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Ecma => Some(CrcAlgorithm::Crc64Xz),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Sha512 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// ---- computing ----

/// Hashes bytes as they pass.
#[derive(Clone)]
pub(crate) struct Hasher {
    crc32c: crc_fast::Digest,
    extra: Vec<(Algorithm, Running)>,
    bytes: u64,
}

/// A digest that is being computed beside the CRC32C.
#[derive(Clone)]
enum Running {
    Crc(Box<crc_fast::Digest>),
    Md5(Box<md5::Md5>),
    Sha1(Box<sha1::Sha1>),
    Sha256(Box<sha2::Sha256>),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// CRC32C, and each of `extra` once.
    pub(crate) fn new(extra: &[Algorithm]) -> Self {
        let mut wanted = extra.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|algorithm| *algorithm != Algorithm::Crc32c);
        let running = |algorithm: Algorithm| match algorithm {
            Algorithm::Crc32 => Running::Crc(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))),
            Algorithm::Crc32c => Running::Crc(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi))),
            Algorithm::Crc64Ecma => Running::Crc(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc64Xz))),
            Algorithm::Crc64Nvme => Running::Crc(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))),
            Algorithm::Md5 => Running::Md5(Box::default()),
            Algorithm::Sha1 => Running::Sha1(Box::default()),
            Algorithm::Sha256 => Running::Sha256(Box::default()),
            Algorithm::Sha512 => Running::Sha512(Box::default()),
        };
        Self {
            crc32c: crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi),
            extra: wanted.into_iter().map(|algorithm| (algorithm, running(algorithm))).collect(),
            bytes: 0,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.crc32c.update(data);
        for (_, running) in &mut self.extra {
            match running {
                Running::Crc(hash) => hash.update(data),
                Running::Md5(hash) => hash.update(data),
                Running::Sha1(hash) => hash.update(data),
                Running::Sha256(hash) => hash.update(data),
                Running::Sha512(hash) => hash.update(data),
            }
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

    /// Whether it computes all of these.
    pub(crate) fn computes(&self, wanted: &[Algorithm]) -> bool {
        wanted.iter().all(|algorithm| {
            *algorithm == Algorithm::Crc32c || self.extra.iter().any(|(known, _)| known == algorithm)
        })
    }

    /// The values over everything that was taken.
    pub(crate) fn finish(self) -> Digests {
        let crc32c = self.crc32c();
        let value = |(algorithm, running): (Algorithm, Running)| {
            let value = match running {
                Running::Crc(hash) => crc_bytes(algorithm, hash.finalize()),
                Running::Md5(hash) => hash.finalize().to_vec(),
                Running::Sha1(hash) => hash.finalize().to_vec(),
                Running::Sha256(hash) => hash.finalize().to_vec(),
                Running::Sha512(hash) => hash.finalize().to_vec(),
            };
            (algorithm, value)
        };
        Digests { crc32c, others: self.extra.into_iter().map(value).collect() }
    }
}

/// A CRC in network order, as it is written.
fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.length().min(8)..].to_vec()
}

/// The CRC32C of two stretches in a row, from the CRC32C of each and the length of the second in bytes.
pub(crate) fn combine_crc32c(first: u32, second: u32, second_length: u64) -> u32 {
    crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, first.into(), second.into(), second_length) as u32
}

/// The CRC of two stretches in a row, from the CRC of each and the length of the second in bytes; `None` for what is no
/// CRC, and for values of another length.
pub(crate) fn combine(
    algorithm: Algorithm,
    first: &[u8],
    second: &[u8],
    second_length: u64,
) -> Option<Vec<u8>> {
    let crc = algorithm.crc()?;
    let number = |value: &[u8]| {
        (value.len() == algorithm.length())
            .then(|| value.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let both = crc_fast::checksum_combine(crc, number(first)?, number(second)?, second_length);
    Some(crc_bytes(algorithm, both))
}

/// What was computed over a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    /// CRC32C.
    pub crc32c: u32,
    others: Vec<(Algorithm, Vec<u8>)>,
}

impl Digests {
    /// A CRC32C, and these, each in the order in which it is written.
    pub(crate) fn new(crc32c: u32, others: Vec<(Algorithm, Vec<u8>)>) -> Self {
        Self { crc32c, others }
    }

    /// The value of one algorithm, if it was computed; CRCs in network order, as they are written.
    pub(crate) fn value(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        if algorithm == Algorithm::Crc32c {
            return Some(self.crc32c.to_be_bytes().to_vec());
        }
        self.others.iter().find(|(known, _)| *known == algorithm).map(|(_, value)| value.clone())
    }

    /// The value of one algorithm as lower-case hex, if it was computed.
    pub(crate) fn hex(&self, algorithm: Algorithm) -> Option<String> {
        self.value(algorithm).map(|value| hex(&value))
    }
}

// ---- what the other side says ----

/// Of which bytes a digest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covers {
    /// The object as it is stored, whatever answer tells it.
    Stored,
    /// The whole representation (RFC 9530, `Repr-Digest`), also in an answer with a part of it.
    Whole,
    /// The bytes of this message: the whole file only where the whole file is in it.
    Message,
    /// The digests of parts that only the store knows: nothing that could be computed here.
    Composite,
}

/// How the value of a header is read.
#[derive(Clone, Copy)]
enum Reading {
    /// `ALGORITHM=BASE64, …`: Google's, and RFC 3230's.
    Pairs,
    /// `ALGORITHM=:BASE64:, …`: a dictionary of byte sequences (RFC 8941), RFC 9530's.
    Dictionary,
    /// `ALGORITHM:HEX`, several of them with blanks between: ownCloud's, and the registries' of containers.
    Named,
    /// The value alone in base64; in hex where its length leaves no doubt, as some servers write it.
    Bare(Algorithm),
    /// Amazon's: base64, with `-PARTS` behind it (or `x-amz-checksum-type: COMPOSITE` beside it) for one of parts.
    Amazon(Algorithm),
    /// Azure's CRC-64 in base64, the lowest byte first.
    Reversed(Algorithm),
    /// A CRC as a decimal number.
    Decimal(Algorithm),
    /// Hex; Backblaze says `none` where it has none and `unverified:…` where it has not looked.
    Hex(Algorithm),
    /// Hex of this length; of any other it is another mark, and no digest.
    HexOrMark(Algorithm),
    /// Base 36: Wikimedia's SHA-1.
    Base36(Algorithm),
    /// An entity tag: `"md5:HEX"` (Zenodo and other Invenio), `"{SHA1{HEX}}"` (Nexus); the bare MD5 of Swift.
    Tag,
}

/// A header that may hold a digest.
struct Source {
    header: &'static str,
    reading: Reading,
    covers: Covers,
}

impl Source {
    /// Whether it means the file also in an answer that only leads to it. A tag is of that answer, as is what covers a
    /// message, but for `Digest`, which RFC 6249 uses so.
    fn holds_on_the_way(&self) -> bool {
        match self.covers {
            Covers::Stored => !matches!(self.reading, Reading::Tag),
            Covers::Whole => true,
            Covers::Message => self.header == "digest",
            Covers::Composite => false,
        }
    }
}

const fn source(header: &'static str, reading: Reading, covers: Covers) -> Source {
    Source { header, reading, covers }
}

/// Every header that is looked at. Each is the word of whoever keeps the object, but for `x-ms-blob-content-md5` and
/// Backblaze's `large_file`, which are the word of who stored it; all are taken at it: bytes that differ from what their
/// own owner said of them are not proven by anybody.
const TABLE: &[Source] = &[
    source("x-goog-hash", Reading::Pairs, Covers::Stored),
    source("x-ms-blob-content-md5", Reading::Bare(Algorithm::Md5), Covers::Stored),
    source("repr-digest", Reading::Dictionary, Covers::Whole),
    source("content-digest", Reading::Dictionary, Covers::Message),
    source("content-md5", Reading::Bare(Algorithm::Md5), Covers::Message),
    // Of the instance by RFC 3230, but servers disagree.
    source("digest", Reading::Pairs, Covers::Message),
    // With `partNumber` they are those of the part that was asked for.
    source("x-amz-checksum-crc32", Reading::Amazon(Algorithm::Crc32), Covers::Message),
    source("x-amz-checksum-crc32c", Reading::Amazon(Algorithm::Crc32c), Covers::Message),
    source("x-amz-checksum-crc64nvme", Reading::Amazon(Algorithm::Crc64Nvme), Covers::Message),
    source("x-amz-checksum-md5", Reading::Amazon(Algorithm::Md5), Covers::Message),
    source("x-amz-checksum-sha1", Reading::Amazon(Algorithm::Sha1), Covers::Message),
    source("x-amz-checksum-sha256", Reading::Amazon(Algorithm::Sha256), Covers::Message),
    source("x-amz-checksum-sha512", Reading::Amazon(Algorithm::Sha512), Covers::Message),
    source("x-ms-content-crc64", Reading::Reversed(Algorithm::Crc64Nvme), Covers::Message),
    source("x-oss-hash-crc64ecma", Reading::Decimal(Algorithm::Crc64Ecma), Covers::Stored),
    source("x-cos-hash-crc64ecma", Reading::Decimal(Algorithm::Crc64Ecma), Covers::Stored),
    source("x-obs-hash-crc64ecma", Reading::Decimal(Algorithm::Crc64Ecma), Covers::Stored),
    source("x-tos-hash-crc64ecma", Reading::Decimal(Algorithm::Crc64Ecma), Covers::Stored),
    source("x-kss-checksum-crc64ecma", Reading::Decimal(Algorithm::Crc64Ecma), Covers::Stored),
    source("x-bce-content-crc32", Reading::Decimal(Algorithm::Crc32), Covers::Stored),
    source("opc-content-crc32c", Reading::Bare(Algorithm::Crc32c), Covers::Stored),
    source("opc-content-md5", Reading::Bare(Algorithm::Md5), Covers::Stored),
    source("opc-content-sha256", Reading::Bare(Algorithm::Sha256), Covers::Stored),
    source("x-checksum-md5", Reading::Hex(Algorithm::Md5), Covers::Stored),
    source("x-checksum-sha1", Reading::Hex(Algorithm::Sha1), Covers::Stored),
    source("x-checksum-sha256", Reading::Hex(Algorithm::Sha256), Covers::Stored),
    source("x-checksum-sha512", Reading::Hex(Algorithm::Sha512), Covers::Stored),
    source("x-bz-content-sha1", Reading::Hex(Algorithm::Sha1), Covers::Stored),
    source("x-bz-info-large_file_sha1", Reading::Hex(Algorithm::Sha1), Covers::Stored),
    source("x-object-meta-sha1base36", Reading::Base36(Algorithm::Sha1), Covers::Stored),
    source("docker-content-digest", Reading::Named, Covers::Stored),
    source("oc-checksum", Reading::Named, Covers::Stored),
    source("x-linked-etag", Reading::HexOrMark(Algorithm::Sha256), Covers::Stored),
    source("etag", Reading::Tag, Covers::Stored),
];

/// One digest that the other side named for the whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Where it stood, in lower case.
    pub header: String,
    /// Of which kind it is.
    pub algorithm: Algorithm,
    /// Its value, CRCs in network order; never of another length than the algorithm's.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    pub value: Vec<u8>,
}

fn write_hex<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(value))
}

fn read_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    from_hex(&text).ok_or_else(|| serde::de::Error::custom("a digest that is not hex"))
}

/// What the other side says the whole file's digests are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Offered {
    /// Every one, strongest first. Two that contradict each other both stand here: no file can be as both say.
    pub all: Vec<Claim>,
    /// What was ignored and why, for the transfer's history.
    #[serde(skip)]
    pub notes: Vec<Phrase>,
}

/// Reads the digests in an answer's headers. `partial` for a 206: what covers only the message is left out then.
pub(crate) fn offered(headers: &HeaderMap, partial: bool) -> Offered {
    let mut found = Offered::default();
    // Google unpacked or otherwise changed the body on its way: what it says is about bytes that never arrive.
    if headers.contains_key("x-guploader-response-body-transformations") {
        found.notes.push(Phrase::ChecksumOfChangedBody);
        return found;
    }
    let unpacked = unpacked_on_the_way(headers);
    for source in TABLE {
        if partial && source.covers == Covers::Message {
            continue;
        }
        for value in headers.get_all(source.header) {
            if unpacked && source.covers == Covers::Stored {
                if !found.notes.contains(&Phrase::ChecksumOfChangedBody) {
                    found.notes.push(Phrase::ChecksumOfChangedBody);
                }
                continue;
            }
            match value.to_str() {
                Ok(text) => found.read(source, text.trim(), headers),
                Err(_) => found.ignore(source.header, Phrase::NotText),
            }
        }
    }
    found.sort();
    found
}

/// Reads the digests of the file in the head of a redirect that leads to it. Hugging Face names them so, as do Metalink
/// servers (RFC 6249) and Artifactory: it is the word of whoever was asked for the file, about what others bring. What is of
/// the redirect's own `body` is left out.
pub(crate) fn offered_on_the_way(headers: &HeaderMap, body: &[u8]) -> Offered {
    let mut found = Offered::default();
    for source in TABLE.iter().filter(|source| source.holds_on_the_way()) {
        for text in headers.get_all(source.header).iter().filter_map(|value| value.to_str().ok()) {
            found.read(source, text.trim(), headers);
        }
    }
    let mut hasher = Hasher::new(&found.algorithms());
    hasher.update(body);
    let own = hasher.finish();
    found.all.retain(|claim| own.value(claim.algorithm).as_ref() != Some(&claim.value));
    found.sort();
    found
}

/// Whether the object is stored packed, and comes unpacked.
fn unpacked_on_the_way(headers: &HeaderMap) -> bool {
    let text = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|text| text.trim().to_ascii_lowercase())
    };
    let stored =
        text("x-goog-stored-content-encoding").filter(|coding| !matches!(&**coding, "" | "identity"));
    stored.is_some() && stored != text("content-encoding")
}

impl Offered {
    /// What there is to compute, strongest first.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut found: Vec<Algorithm> = self.all.iter().map(|claim| claim.algorithm).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found
    }

    /// Adds what a later answer about the same version says. Where it says otherwise, both stand.
    pub(crate) fn merge(&mut self, later: Offered) {
        for claim in later.all {
            if !self.all.contains(&claim) {
                self.all.push(claim);
            }
        }
        for note in later.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.all.sort_by_key(|claim| std::cmp::Reverse(claim.algorithm));
    }

    fn read(&mut self, source: &Source, text: &str, headers: &HeaderMap) {
        let header = source.header;
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match source.reading {
            Reading::Pairs => {
                for item in items() {
                    match item.split_once('=') {
                        Some((key, value)) => self.take_named(header, key, value),
                        None => self.ignore(header, Phrase::NoValueThere),
                    }
                }
            }
            Reading::Dictionary => items().for_each(|item| self.take_entry(header, item)),
            Reading::Named => {
                for (key, value) in text.split_whitespace().filter_map(|item| item.split_once(':')) {
                    if let Some(algorithm) = Algorithm::by_name(key) {
                        self.take(header, algorithm, from_hex(value).ok_or(Phrase::NotHex));
                    }
                }
            }
            Reading::Bare(algorithm) => self.take(header, algorithm, binary(algorithm, text)),
            Reading::Amazon(algorithm) => {
                let composite = headers
                    .get("x-amz-checksum-type")
                    .is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"COMPOSITE"));
                if amazon_covers(text, composite) == Covers::Message {
                    self.take(header, algorithm, binary(algorithm, text));
                }
            }
            Reading::Reversed(algorithm) => {
                let value = binary(algorithm, text).map(|value| value.into_iter().rev().collect());
                self.take(header, algorithm, value);
            }
            Reading::Decimal(algorithm) => {
                let fits = |number: &u64| algorithm.length() == 8 || u32::try_from(*number).is_ok();
                let number = text.parse::<u64>().ok().filter(fits).ok_or(Phrase::NotNumber);
                self.take(header, algorithm, number.map(|number| crc_bytes(algorithm, number)));
            }
            Reading::Hex(algorithm) => {
                if text.starts_with("unverified:") {
                    self.ignore(header, Phrase::NotVerifiedThere);
                } else if !text.is_empty() && text != "none" {
                    self.take(header, algorithm, from_hex(text).ok_or(Phrase::NotHex));
                }
            }
            Reading::HexOrMark(algorithm) => {
                if let Some(value) =
                    from_hex(unquoted(text)).filter(|value| value.len() == algorithm.length())
                {
                    self.take(header, algorithm, Ok(value));
                }
            }
            Reading::Base36(algorithm) => {
                self.take(header, algorithm, from_base36(text, algorithm.length()).ok_or(Phrase::NotNumber));
            }
            Reading::Tag => {
                if let Some((algorithm, value)) = digest_in_tag(text, headers) {
                    self.take(header, algorithm, Ok(value));
                }
            }
        }
    }

    /// One member of RFC 9530's dictionary.
    fn take_entry(&mut self, header: &str, item: &str) {
        let Some((key, value)) = item.split_once('=') else {
            return self.ignore(header, Phrase::NoValueThere);
        };
        // Parameters after `;` have no meaning here.
        let value = value.split(';').next().unwrap_or_default().trim();
        let Some(algorithm) = Algorithm::by_name(key.trim()) else { return };
        match value.strip_prefix(':').and_then(|value| value.strip_suffix(':')) {
            Some(value) => self.take(header, algorithm, binary(algorithm, value.trim())),
            // Some write it as in `Digest`, which it took the place of: what can be nothing else is taken.
            None => match binary(algorithm, unquoted(value)) {
                Ok(value) if value.len() == algorithm.length() => self.take(header, algorithm, Ok(value)),
                _ => self.ignore(header, Phrase::NotBetweenColons),
            },
        }
    }

    /// Unknown algorithms (adler32, unixsum …) are none of our business.
    fn take_named(&mut self, header: &str, key: &str, value: &str) {
        if let Some(algorithm) = Algorithm::by_name(key.trim()) {
            self.take(header, algorithm, binary(algorithm, unquoted(value.trim())));
        }
    }

    fn take(&mut self, header: &str, algorithm: Algorithm, value: Result<Vec<u8>, Phrase>) {
        let value = match value {
            Ok(value) if value.len() == algorithm.length() => value,
            Ok(_) => return self.ignore(header, Phrase::WrongLength),
            Err(why) => return self.ignore(header, why),
        };
        // A header that contradicts itself (a proxy added its own) is believed once; two headers that contradict each
        // other are both compared.
        match self.all.iter().find(|claim| claim.header == header && claim.algorithm == algorithm) {
            Some(claim) if claim.value != value => self.ignore(header, Phrase::Contradicts),
            Some(_) => {}
            None => self.all.push(Claim { header: header.to_owned(), algorithm, value }),
        }
    }

    fn ignore(&mut self, header: &str, why: Phrase) {
        self.notes.push(Phrase::ChecksumIgnored { header: header.into(), why: why.into() });
    }
}

fn amazon_covers(text: &str, composite: bool) -> Covers {
    if composite || text.contains('-') { Covers::Composite } else { Covers::Message }
}

/// Whether this header, in lower case, has a line in the table.
pub(crate) fn is_listed(header: &str) -> bool {
    TABLE.iter().any(|source| source.header == header)
}

/// A digest's value as it is written in one of the ways in use, hex or base64, quoted or not; `None` where its length is not
/// the algorithm's.
pub(crate) fn value_of(algorithm: Algorithm, text: &str) -> Option<Vec<u8>> {
    binary(algorithm, unquoted(text.trim())).ok().filter(|value| value.len() == algorithm.length())
}

/// Base64, or hex where the length can be nothing else.
fn binary(algorithm: Algorithm, text: &str) -> Result<Vec<u8>, Phrase> {
    if text.len() == algorithm.length() * 2
        && let Some(value) = from_hex(text)
    {
        return Ok(value);
    }
    BASE64.decode(text).map_err(|_| Phrase::NotBase64)
}

/// The digest that an entity tag says that it is. A weak one is of several representations.
fn digest_in_tag(text: &str, headers: &HeaderMap) -> Option<(Algorithm, Vec<u8>)> {
    let tag = unquoted(text);
    if let Some(inner) = tag.strip_prefix('{').and_then(|rest| rest.strip_suffix("}}")) {
        let (name, value) = inner.split_once('{')?;
        return sized(Algorithm::by_name(name)?, value);
    }
    if let Some((name, value)) = tag.split_once(':') {
        return sized(Algorithm::by_name(name)?, value);
    }
    // Swift's, except for objects that are put together of others.
    let swift = headers.get("x-trans-id").is_some_and(|id| id.as_bytes().starts_with(b"tx"))
        && headers.contains_key("x-timestamp");
    let of_parts = headers.contains_key("x-static-large-object") || headers.contains_key("x-object-manifest");
    if swift && !of_parts { sized(Algorithm::Md5, tag) } else { None }
}

fn sized(algorithm: Algorithm, text: &str) -> Option<(Algorithm, Vec<u8>)> {
    from_hex(text).filter(|value| value.len() == algorithm.length()).map(|value| (algorithm, value))
}

// ---- what the user says ----

/// The checksum that the user gave for a file: it must have this one, whatever the other side says. Written
/// `ALGORITHM:HEX`, as in `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Checksum {
    /// Whether a file of which this was computed has it.
    pub(crate) fn is_of(&self, computed: &Digests) -> bool {
        computed.value(self.algorithm).as_ref() == Some(&self.value)
    }

    /// Its value in lower-case hex.
    pub(crate) fn hex(&self) -> String {
        hex(&self.value)
    }
}

/// Takes `md5`, `sha1`, `sha256`, `sha512` and `crc32c`, in any case.
impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        use Algorithm::{Crc32c, Md5, Sha1, Sha256, Sha512};
        let unusable =
            |why: Phrase| Error::invalid(Phrase::ChecksumUnusable).because(why).advise(Phrase::WriteChecksum);
        let (name, value) = text.trim().split_once(':').ok_or_else(|| unusable(Phrase::NoValueThere))?;
        let algorithm = Algorithm::by_name(name.trim())
            .filter(|algorithm| [Md5, Sha1, Sha256, Sha512, Crc32c].contains(algorithm))
            .ok_or_else(|| unusable(Phrase::AlgorithmUnknown { name: name.trim().into() }))?;
        let value = from_hex(value.trim()).ok_or_else(|| unusable(Phrase::NotHex))?;
        if value.len() != algorithm.length() {
            return Err(unusable(Phrase::WrongLength));
        }
        Ok(Self { algorithm, value })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl TryFrom<String> for Checksum {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

// ---- comparing ----

/// How what was computed compares with what was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Everything that both have is the same: the user's own, else the strongest of it.
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
    /// There is no digest that both have.
    Nothing,
}

/// What is to be computed: all that was offered, and what the user's own needs.
pub(crate) fn wanted(offered: &Offered, own: Option<&Checksum>) -> Vec<Algorithm> {
    let mut wanted = offered.algorithms();
    if let Some(own) = own.filter(|own| !wanted.contains(&own.algorithm)) {
        wanted.push(own.algorithm);
    }
    wanted
}

/// Compares with the user's own checksum, if there is one, and with everything that was offered. One that differs is
/// enough; the user's own differs also if it was not computed.
pub(crate) fn prove(computed: &Digests, offered: &Offered, own: Option<&Checksum>) -> Proof {
    if let Some(own) = own.filter(|own| !own.is_of(computed)) {
        let got = computed.hex(own.algorithm).unwrap_or_default();
        return Proof::Mismatch { algorithm: own.algorithm, expected: own.hex(), got };
    }
    match (compare(computed, offered), own) {
        (Proof::Match(_) | Proof::Nothing, Some(own)) => Proof::Match(own.algorithm),
        (proof, _) => proof,
    }
}

/// Compares everything that was offered and computed: one that differs is enough, however many agree.
pub(crate) fn compare(computed: &Digests, offered: &Offered) -> Proof {
    let mut best = None;
    for claim in &offered.all {
        let Some(got) = computed.value(claim.algorithm) else { continue };
        if got != claim.value {
            return Proof::Mismatch {
                algorithm: claim.algorithm,
                expected: hex(&claim.value),
                got: hex(&got),
            };
        }
        best = best.max(Some(claim.algorithm));
    }
    best.map_or(Proof::Nothing, Proof::Match)
}

/// The MD5 in an S3 `ETag`: 32 hex digits, quoted or not. An object sent in parts has a tag with a dash, which is none.
/// Only for what was just uploaded: of other objects nobody knows how the tag was made.
pub(crate) fn etag_md5(etag: &str) -> Option<[u8; 16]> {
    from_hex(unquoted(etag.trim()))?.try_into().ok()
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
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

/// Hex in any case; `None` for anything else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A number in base 36, as that many bytes.
fn from_base36(text: &str, length: usize) -> Option<Vec<u8>> {
    // Any number of that size is shorter.
    if text.is_empty() || text.len() > length * 2 {
        return None;
    }
    let mut value = vec![0_u8; length];
    for digit in text.chars() {
        let mut carry = digit.to_digit(36)?;
        for byte in value.iter_mut().rev() {
            let sum = u32::from(*byte) * 36 + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes over which every register of CRCs gives its check values.
    const CHECKED: &[u8] = b"123456789";
    const MD5: &str = "25f9e794323b453885f5181f1b624d0b";
    const SHA1: &str = "f7c3bc1d808e04732adf679965ccc34ca7ae3441";
    const SHA256: &str = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
    const SHA512: &str = "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85";
    const ALL: [Algorithm; 8] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Ecma,
        Algorithm::Crc64Nvme,
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
    ];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, http::HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn digest(extra: &[Algorithm], data: &[u8]) -> Digests {
        let mut hasher = Hasher::new(extra);
        hasher.update(data);
        hasher.finish()
    }

    fn claim(header: &str, algorithm: Algorithm, value: &str) -> Claim {
        Claim { header: header.to_owned(), algorithm, value: from_hex(value).unwrap() }
    }

    fn offer(claims: &[(Algorithm, &str)]) -> Offered {
        let all = claims.iter().map(|(algorithm, value)| claim("x", *algorithm, value)).collect();
        Offered { all, ..Offered::default() }
    }

    #[test]
    fn known_values_come_out() {
        let all = digest(&ALL, CHECKED);
        // The catalogue of CRC algorithms (reveng); the hashes by `md5sum` and its kin.
        let known =
            ["cbf43926", "e3069283", "995dc9bbdf1939fa", "ae8b14860a799888", MD5, SHA1, SHA256, SHA512];
        for (algorithm, value) in ALL.into_iter().zip(known) {
            assert_eq!(all.hex(algorithm).as_deref(), Some(value), "{algorithm}");
            assert_eq!(value.len(), algorithm.length() * 2);
        }
        // RFC 3720 §B.4.
        assert_eq!(digest(&[], &[0; 32]).crc32c, 0x8a91_36aa);
        assert_eq!(digest(&[], &[0xff; 32]).crc32c, 0x62a8_ab43);
        assert_eq!(digest(&[], b"").crc32c, 0);
        assert_eq!(digest(&[Algorithm::Md5], CHECKED).value(Algorithm::Sha1), None);
    }

    #[test]
    fn a_redirect_names_digests_of_the_file_and_none_of_its_own_words() {
        let linked = format!("\"{SHA256}\"");
        let named = |pairs: &[(&'static str, &str)], body: &[u8]| {
            offered_on_the_way(&headers(pairs), body)
                .all
                .into_iter()
                .map(|claim| claim.header)
                .collect::<Vec<_>>()
        };
        let digest = "SHA-256=FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
        let repr = "sha-256=:FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=:";
        assert_eq!(named(&[("x-linked-etag", &linked)], b"Found"), ["x-linked-etag"]);
        assert_eq!(named(&[("x-linked-etag", "\"f7c3bc1d808e04732adf679965ccc34ca7ae3441\"")], b""), [""; 0]);
        assert_eq!(named(&[("digest", digest), ("repr-digest", repr)], b"").len(), 2);
        assert_eq!(named(&[("digest", digest), ("repr-digest", repr)], CHECKED), [""; 0], "of its own body");
        let of_itself = [("etag", "\"md5:25f9e794323b453885f5181f1b624d0b\""), ("content-md5", MD5)];
        assert_eq!(named(&of_itself, b""), [""; 0]);
        let empty = "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(named(&[("digest", empty)], b""), [""; 0], "of nothing");
    }

    #[test]
    fn the_value_so_far_can_be_read_without_ending() {
        let mut hasher = Hasher::new(&[Algorithm::Crc32c]);
        hasher.update(b"1234");
        assert_eq!(hasher.crc32c(), digest(&[], b"1234").crc32c);
        hasher.update(b"56789");
        assert!(hasher.computes(&[Algorithm::Crc32c]) && !hasher.computes(&[Algorithm::Md5]));
        assert_eq!((hasher.bytes(), hasher.finish().crc32c), (9, 0xe306_9283));
    }

    #[test]
    fn every_header_of_the_table_is_read_and_proves_the_file() {
        let computed = digest(&ALL, CHECKED);
        let goog = "crc32c=4waSgw==,md5=JfnnlDI7RTiF9RgfG2JNCw==";
        let dictionary = "sha-512=:2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==:, sha-256=:FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=:;x=1, unixsum=:AAAA:";
        let named = format!("SHA1:{SHA1} MD5:{MD5} ADLER32:091e01de");
        let container = format!("sha256:{SHA256}");
        let (zenodo, nexus) = (format!("\"md5:{MD5}\""), format!("\"{{SHA1{{{SHA1}}}}}\""));
        let linked = format!("\"{SHA256}\"");
        use Algorithm::{Crc32, Crc32c, Crc64Ecma, Crc64Nvme, Md5, Sha1, Sha256, Sha512};
        let rows: Vec<(&str, &str, &[Algorithm], bool)> = vec![
            ("x-goog-hash", goog, &[Md5, Crc32c], true),
            ("x-ms-blob-content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", &[Md5], true),
            ("repr-digest", dictionary, &[Sha512, Sha256], true),
            ("content-digest", dictionary, &[Sha512, Sha256], false),
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", &[Md5], false),
            ("content-md5", MD5, &[Md5], false),
            (
                "digest",
                "SHA-256=FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=,sha=98O8HYCOBHMq32eZZczDTKeuNEE=,unixsum=30637",
                &[Sha256, Sha1],
                false,
            ),
            ("x-amz-checksum-crc32", "y/Q5Jg==", &[Crc32], false),
            ("x-amz-checksum-crc32c", "4waSgw==", &[Crc32c], false),
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=", &[Crc64Nvme], false),
            ("x-amz-checksum-md5", "JfnnlDI7RTiF9RgfG2JNCw==", &[Md5], false),
            ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE=", &[Sha1], false),
            ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", &[Sha256], false),
            (
                "x-amz-checksum-sha512",
                "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
                &[Sha512],
                false,
            ),
            ("x-ms-content-crc64", "iJh5CoYUi64=", &[Crc64Nvme], false),
            ("x-oss-hash-crc64ecma", "11051210869376104954", &[Crc64Ecma], true),
            ("x-cos-hash-crc64ecma", "11051210869376104954", &[Crc64Ecma], true),
            ("x-obs-hash-crc64ecma", "11051210869376104954", &[Crc64Ecma], true),
            ("x-tos-hash-crc64ecma", "11051210869376104954", &[Crc64Ecma], true),
            ("x-kss-checksum-crc64ecma", "11051210869376104954", &[Crc64Ecma], true),
            ("x-bce-content-crc32", "3421780262", &[Crc32], true),
            ("opc-content-crc32c", "4waSgw==", &[Crc32c], true),
            ("opc-content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", &[Md5], true),
            ("opc-content-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", &[Sha256], true),
            ("x-checksum-md5", MD5, &[Md5], true),
            ("x-checksum-sha1", SHA1, &[Sha1], true),
            ("x-checksum-sha256", SHA256, &[Sha256], true),
            ("x-checksum-sha512", SHA512, &[Sha512], true),
            ("x-bz-content-sha1", SHA1, &[Sha1], true),
            ("x-bz-info-large_file_sha1", SHA1, &[Sha1], true),
            ("x-object-meta-sha1base36", "sxwegbn0nrlcvbjtsz8zfaotesti4ht", &[Sha1], true),
            ("docker-content-digest", &container, &[Sha256], true),
            ("oc-checksum", &named, &[Sha1, Md5], true),
            ("x-linked-etag", &linked, &[Sha256], true),
            ("etag", &zenodo, &[Md5], true),
            ("etag", &nexus, &[Sha1], true),
        ];
        for (header, value, algorithms, in_a_part) in &rows {
            let map = headers(&[(*header, value)]);
            let whole = offered(&map, false);
            assert_eq!(
                (whole.algorithms(), &whole.notes),
                (algorithms.to_vec(), &vec![]),
                "{header}: {value}"
            );
            assert_eq!(compare(&computed, &whole), Proof::Match(algorithms[0]), "{header}: {value}");
            assert!(matches!(compare(&digest(&ALL, b"other"), &whole), Proof::Mismatch { .. }), "{header}");
            assert_eq!(!offered(&map, true).all.is_empty(), *in_a_part, "{header}");
        }
        for source in TABLE {
            assert!(rows.iter().any(|row| row.0 == source.header), "{}", source.header);
        }
    }

    #[test]
    fn what_is_no_digest_of_the_file_is_left_out() {
        let tag = format!("\"{MD5}\"");
        let swift = [("x-trans-id", "tx5f0-0"), ("x-timestamp", "1700000000.1"), ("etag", &*tag)];
        let large = [&swift[..], &[("x-static-large-object", "True")]].concat();
        let stored_packed = [("x-goog-stored-content-encoding", "gzip"), ("x-goog-hash", "crc32c=4waSgw==")];
        let comes_packed = [&stored_packed[..], &[("content-encoding", "gzip")]].concat();
        let composite = [
            ("x-amz-checksum-type", "COMPOSITE"),
            ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ];
        let whole_object = [("x-amz-checksum-type", "FULL_OBJECT"), ("x-amz-checksum-crc32c", "4waSgw==")];
        let changed = [("x-guploader-response-body-transformations", "gunzipped"), ("content-md5", MD5)];
        let twice = [("content-md5", MD5), ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
        let same_twice = [("content-md5", MD5), ("content-md5", MD5)];
        let unverified = format!("unverified:{SHA1}");
        // What is given; how many claims and how many notes it makes.
        type Row<'a> = (Vec<(&'static str, &'a str)>, usize, usize);
        let rows: Vec<Row<'_>> = vec![
            (vec![], 0, 0),
            (vec![("etag", &tag)], 0, 0),
            (vec![("etag", "W/\"md5:25f9e794323b453885f5181f1b624d0b\"")], 0, 0),
            (vec![("etag", "\"md5:25f9\"")], 0, 0),
            (vec![("x-linked-etag", "\"5f0c\"")], 0, 0),
            (swift.to_vec(), 1, 0),
            (large, 0, 0),
            (stored_packed.to_vec(), 0, 1),
            (comes_packed, 1, 0),
            (composite.to_vec(), 0, 0),
            (whole_object.to_vec(), 1, 0),
            (vec![("x-amz-checksum-crc32c", "4waSgw==-3")], 0, 0),
            (changed.to_vec(), 0, 1),
            (twice.to_vec(), 1, 1),
            (same_twice.to_vec(), 1, 0),
            (vec![("x-bz-content-sha1", "none")], 0, 0),
            (vec![("x-bz-content-sha1", &unverified)], 0, 1),
            // Malformed ones: a note each, the others still count.
            (vec![("x-goog-hash", "crc32c=???")], 0, 1),
            (vec![("x-goog-hash", "crc32c=AAAAAAAAAAAA")], 0, 1),
            (vec![("x-goog-hash", "crc32c")], 0, 1),
            (vec![("repr-digest", "sha-256=AAAA")], 0, 1),
            (vec![("content-md5", "zzz"), ("x-goog-hash", "crc32c=4waSgw==")], 1, 1),
            (vec![("x-checksum-sha1", "xyz")], 0, 1),
            (vec![("x-oss-hash-crc64ecma", "-1")], 0, 1),
            (vec![("x-bce-content-crc32", "4294967296")], 0, 1),
            (vec![("x-object-meta-sha1base36", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz")], 0, 1),
        ];
        for (given, claims, notes) in rows {
            let found = offered(&headers(&given), false);
            assert_eq!((found.all.len(), found.notes.len()), (claims, notes), "{given:?}: {found:?}");
        }
    }

    #[test]
    fn every_claim_is_compared_and_one_that_differs_is_enough() {
        let right = digest(&[Algorithm::Md5], CHECKED);
        assert_eq!(compare(&right, &offer(&[])), Proof::Nothing);
        assert_eq!(compare(&right, &offer(&[(Algorithm::Sha256, SHA256)])), Proof::Nothing, "not computed");
        let by_crc = offer(&[(Algorithm::Sha256, SHA256), (Algorithm::Crc32c, "e3069283")]);
        assert_eq!(compare(&right, &by_crc), Proof::Match(Algorithm::Crc32c));
        let both = offer(&[(Algorithm::Crc32c, "e3069283"), (Algorithm::Md5, MD5)]);
        assert_eq!(compare(&right, &both), Proof::Match(Algorithm::Md5));
        let differs = Proof::Mismatch {
            algorithm: Algorithm::Crc32c,
            expected: "abcd0001".into(),
            got: "e3069283".into(),
        };
        let one_differs = offer(&[(Algorithm::Md5, MD5), (Algorithm::Crc32c, "abcd0001")]);
        assert_eq!(compare(&right, &one_differs), differs, "although a stronger one agrees");
        let contradiction = offer(&[(Algorithm::Crc32c, "e3069283"), (Algorithm::Crc32c, "abcd0001")]);
        assert_eq!(compare(&right, &contradiction), differs, "no file is as both say");
    }

    #[test]
    fn the_users_own_checksum_decides_before_all_others() {
        let own = |text: &str| text.parse::<Checksum>().unwrap();
        let (md5, sha256) = (own(&format!("MD5:{}", MD5.to_uppercase())), own(&format!("sha-256:{SHA256}")));
        let computed = digest(&ALL, CHECKED);
        let offered = offer(&[(Algorithm::Sha256, SHA256)]);
        assert_eq!(wanted(&offered, Some(&md5)), [Algorithm::Sha256, Algorithm::Md5]);
        assert_eq!(wanted(&offered, Some(&sha256)), [Algorithm::Sha256]);
        assert_eq!(prove(&computed, &Offered::default(), None), Proof::Nothing);
        assert_eq!(prove(&computed, &Offered::default(), Some(&md5)), Proof::Match(Algorithm::Md5));
        assert_eq!(prove(&computed, &offered, Some(&md5)), Proof::Match(Algorithm::Md5), "and it is named");
        let lies = offer(&[(Algorithm::Crc32c, "abcd0001")]);
        assert!(matches!(prove(&computed, &lies, Some(&md5)), Proof::Mismatch { .. }));
        let other = digest(&ALL, b"other");
        assert!(matches!(prove(&other, &Offered::default(), Some(&md5)), Proof::Mismatch { .. }));
        let not_computed = digest(&[], CHECKED);
        assert!(matches!(prove(&not_computed, &Offered::default(), Some(&md5)), Proof::Mismatch { .. }));
    }

    #[test]
    fn a_checksum_is_kept_as_text_and_a_malformed_one_is_none() {
        let own: Checksum = format!(" SHA-1:{} ", SHA1.to_uppercase()).parse().unwrap();
        let kept = serde_json::to_string(&own).unwrap();
        assert_eq!(kept, format!("\"sha1:{SHA1}\""));
        assert_eq!(serde_json::from_str::<Checksum>(&kept).unwrap(), own);
        for bad in [
            "",
            "sha256",
            "sha256:",
            SHA256,
            "sha256:xyz",
            "md5:e3069283",
            "crc32:cbf43926",
            "crc32c:é3069283",
            ":00",
        ] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<Checksum>("\"sha256:00\"").is_err());
    }

    #[test]
    fn claims_are_kept_over_a_restart_and_later_answers_add_to_them() {
        let first = offered(
            &headers(&[("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="), ("x-goog-hash", "crc32c")]),
            false,
        );
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"all":[{{"header":"content-md5","algorithm":"md5","value":"{MD5}"}}]}}"#)
        );
        let mut kept: Offered = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.all, first.all);
        assert!(serde_json::from_str::<Offered>("{}").unwrap().all.is_empty());
        assert!(serde_json::from_str::<Claim>(r#"{"header":"x","algorithm":"md5","value":"x"}"#).is_err());

        kept.merge(offered(&headers(&[("x-goog-hash", "crc32c=4waSgw==")]), true));
        kept.merge(first);
        assert_eq!(kept.algorithms(), [Algorithm::Md5, Algorithm::Crc32c]);
        assert_eq!(compare(&digest(&ALL, CHECKED), &kept), Proof::Match(Algorithm::Md5));
        kept.merge(offered(&headers(&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")]), false));
        assert!(matches!(compare(&digest(&ALL, CHECKED), &kept), Proof::Mismatch { .. }));
    }

    #[test]
    fn an_s3_tag_is_an_md5_only_without_parts() {
        let md5 = digest(&[Algorithm::Md5], CHECKED).value(Algorithm::Md5);
        assert_eq!(etag_md5(&format!("\"{MD5}\"")).map(Vec::from), md5);
        assert_eq!(etag_md5(&MD5.to_uppercase()).map(Vec::from), md5);
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
            let whole = digest(&ALL, &[a.clone(), b.clone()].concat());
            let (first, second) = (digest(&ALL, &a), digest(&ALL, &b));
            let length = b.len() as u64;
            prop_assert_eq!(combine_crc32c(first.crc32c, second.crc32c, length), whole.crc32c);
            for algorithm in ALL {
                let (left, right) = (first.value(algorithm).unwrap(), second.value(algorithm).unwrap());
                let expected = whole.value(algorithm).filter(|_| algorithm.crc().is_some());
                prop_assert_eq!(combine(algorithm, &left, &right, length), expected);
            }
        }

        #[test]
        fn no_header_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[a-z0-9=:,;{}\" -]{0,60}") {
            let mut map = HeaderMap::new();
            for source in TABLE {
                if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
                    map.append(source.header, value);
                }
                map.append(source.header, http::HeaderValue::from_str(&text).unwrap());
            }
            let _ = compare(&digest(&ALL, b""), &offered(&map, false));
            let _ = etag_md5(&text);
        }
    }
}
