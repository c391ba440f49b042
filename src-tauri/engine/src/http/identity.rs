//! Which version of a file an answer is about: all that its head says of that, and whether two answers mean the same one.
//!
//! Bytes of two answers are joined only where [`Identity::same_as`] says [`Sameness::Same`]. What cannot be shown to be the
//! same is not spliced (RFC 9110 §15.3.7): a missing validator is "unknown", never "same".

use std::collections::HashSet;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::checksum::{Claim, Offered};
use super::head::coding_words;
use super::range::{Tag, Validator, entity_tag, last_modified};

/// What one answer says of the version that its bytes are of. Kept in the journal: what the first answer promised
/// decides over cuts, pieces and kills.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Strong entity tag, with its quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// Weak entity tag: the same meaning, not the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weak_etag: Option<String>,
    /// What stands for a tag and is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    odd_etag: Option<String>,
    /// Date of last change, exactly as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// Whether that date is so much older than the answer that two versions cannot share it.
    #[serde(default)]
    modified_is_strong: bool,
    /// Size of the whole in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What is said of how its bytes are packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coding: Option<String>,
    /// Every checksum of the whole that was offered for this version, by whichever answer.
    #[serde(default, skip_serializing_if = "promises_nothing")]
    pub digests: Offered,
    /// Scheme, host and port that it came from: entity tags of two servers say nothing about each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Of that origin and the path there: a tag belongs to one place (RFC 9110 §8.8.3). Hashed, as a path may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// Of the query there, which is as much of the place as the path is, but for what signs it: that is made anew each time.
    /// A journal of an earlier Ferry has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
}

/// Whether two answers are about one version of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// Byte for byte, by a strong validator or by a checksum.
    Same,
    /// Another version, or another file.
    Other,
    /// Nothing shows it either way.
    Unknown,
}

impl Identity {
    /// What a head says; `size` and `digests` as the reading of that head found them.
    pub fn of(headers: &HeaderMap, url: &Url, size: Option<u64>, digests: Offered) -> Self {
        let (etag, weak_etag, odd_etag) = match entity_tag(headers) {
            Tag::Strong(tag) => (Some(tag), None, None),
            Tag::Weak(tag) => (None, Some(tag), None),
            Tag::Odd(text) => (None, None, Some(text)),
            Tag::None => (None, None, None),
        };
        let words = coding_words(&headers.get_all(CONTENT_ENCODING));
        let (modified, modified_is_strong) = last_modified(headers);
        Self {
            etag,
            weak_etag,
            odd_etag,
            modified,
            modified_is_strong,
            size,
            coding: (!words.is_empty()).then(|| words.join(", ")),
            digests,
            origin: Some(url.origin().ascii_serialization()),
            place: Some(place(url)),
            query: Some(query(url)),
        }
    }

    /// What a journal of an earlier Ferry kept of it.
    pub fn of_validator(validator: Option<Validator>, size: Option<u64>) -> Self {
        let (etag, modified) = match validator {
            Some(Validator::Etag(tag)) => (Some(tag), None),
            Some(Validator::LastModified(date)) => (None, Some(date)),
            None => (None, None),
        };
        Self { modified_is_strong: modified.is_some(), etag, modified, size, ..Self::default() }
    }

    /// What goes into `If-Range`: a strong tag, else a strong date of a file that has no tag at all (RFC 9110 §13.1.5).
    pub fn validator(&self) -> Option<Validator> {
        let date = || {
            let has_no_tag = self.weak_etag.is_none();
            self.modified.clone().filter(|_| self.modified_is_strong && has_no_tag)
        };
        let tag = self.etag.clone().map(Validator::Etag);
        tag.or_else(|| date().map(Validator::LastModified))
    }

    /// Whether a later answer can show at all that it is about this version.
    pub fn can_be_shown(&self) -> bool {
        self.validator().is_some() || has_hash(&self.digests)
    }

    /// Date of last change as the server wrote it.
    pub fn modified(&self) -> Option<&str> {
        self.modified.as_deref()
    }

    /// Whether a later answer came from the same place: of another one it may be about another file.
    pub fn is_of_the_place_of(&self, later: &Self) -> bool {
        self.place == later.place && !differ(self.query.as_deref(), later.query.as_deref())
    }

    /// Whether a later answer gives this very version another size.
    pub fn contradicts(&self, later: &Self) -> bool {
        self.etag.is_some()
            && self.etag == later.etag
            && self.is_of_the_place_of(later)
            && matches!((self.size, later.size), (Some(mine), Some(theirs)) if mine != theirs)
    }

    /// Whether a later answer is about this version.
    pub fn same_as(&self, later: &Self) -> Sameness {
        use Sameness::{Other, Same, Unknown};
        if matches!((self.size, later.size), (Some(mine), Some(theirs)) if mine != theirs)
            || contradict(&self.digests, &later.digests)
        {
            return Other;
        }
        let has_same_tag = self.etag.is_some() && self.etag == later.etag && self.is_of_the_place_of(later);
        // A 206 to `If-Range` need not say once more how its bytes are packed (RFC 9110 §15.3.7).
        if self.coding != later.coding && !(has_same_tag && later.coding.is_none()) {
            return Unknown;
        }
        if agree(&self.digests, &later.digests, self.size.is_some()) {
            return Same;
        }
        let dates_differ = differ(self.modified.as_deref(), later.modified.as_deref());
        let has_same_date = self.modified_is_strong && self.modified == later.modified;
        if differ(self.odd_etag.as_deref(), later.odd_etag.as_deref()) {
            return Other;
        }
        let is_elsewhere = differ(self.origin.as_deref(), later.origin.as_deref())
            || differ(self.place.as_deref(), later.place.as_deref())
            || differ(self.query.as_deref(), later.query.as_deref());
        if is_elsewhere {
            // Tags of two places say nothing about each other, however long they are: many are made of date and size (nginx,
            // Starlette) or count versions. Mirrors copy date and size; that is enough where a checksum will decide at the end.
            return match () {
                () if has_same_date && self.size.is_some() && has_hash(&self.digests) => Same,
                () if dates_differ => Other,
                () => Unknown,
            };
        }
        match (&self.etag, &later.etag) {
            // A tag that stays while the date moves on is a constant, whatever it looks like.
            (Some(mine), Some(theirs)) if mine == theirs && !dates_differ => return Same,
            (Some(mine), Some(theirs)) if mine == theirs => return Unknown,
            (Some(_), Some(_)) => return Other,
            _ => {}
        }
        let opaque = |tag: &str| tag.trim_start_matches("W/").trim_start_matches("w/").to_owned();
        let mine = self.etag.as_deref().or(self.weak_etag.as_deref()).map(opaque);
        let theirs = later.etag.as_deref().or(later.weak_etag.as_deref()).map(opaque);
        if differ(mine.as_deref(), theirs.as_deref()) || dates_differ {
            return Other;
        }
        // A strong date proves it only of a file that has no tag, in neither answer.
        let has_no_tag = mine.is_none() && theirs.is_none() && self.odd_etag == later.odd_etag;
        if has_same_date && has_no_tag { Same } else { Unknown }
    }

    /// Keeps what a later answer about the same version promised beside.
    pub fn learn(&mut self, later: &Self) {
        self.size = self.size.or(later.size);
        self.digests.merge(later.digests.clone());
    }
}

/// Whether both are known, and not the same.
fn differ(mine: Option<&str>, theirs: Option<&str>) -> bool {
    matches!((mine, theirs), (Some(mine), Some(theirs)) if mine != theirs)
}

fn place(url: &Url) -> String {
    short(Sha256::new().chain_update(url.origin().ascii_serialization()).chain_update(url.path()))
}

/// The query without what signs it; empty where nothing is left.
fn query(url: &Url) -> String {
    let mut hash = Sha256::new();
    let mut is_empty = true;
    let names: HashSet<String> = url.query_pairs().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for (name, value) in url.query_pairs().filter(|(name, _)| !signs(name, &names)) {
        for part in [name, value] {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        is_empty = false;
    }
    if is_empty { String::new() } else { short(hash) }
}

fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a parameter belongs to a signature and says nothing of which file it is for, beside all those that there are. Only
/// names that mean nothing else: a `token` or an `id` may be all that tells two files apart.
fn signs(name: &str, beside: &HashSet<String>) -> bool {
    /// Of S3, Google Cloud Storage, Alibaba, Volcengine and Huawei.
    const BEGIN: [&str; 5] = ["x-amz-", "x-goog-", "x-oss-", "x-tos-", "x-obs-"];
    /// Of the older kinds of the same, of Tencent, Swift, GitHub and the delivery networks.
    const WHOLE: [&str; 29] = [
        "signature",
        "key-pair-id",
        "awsaccesskeyid",
        "googleaccessid",
        "ossaccesskeyid",
        "kssaccesskeyid",
        "accesskeyid",
        "security-token",
        "temp_url_sig",
        "temp_url_expires",
        "q-sign-algorithm",
        "q-ak",
        "q-sign-time",
        "q-key-time",
        "q-header-list",
        "q-url-param-list",
        "q-signature",
        "jwt",
        "hdnts",
        "hdnea",
        "hdntl",
        "__token__",
        "__gda__",
        "auth_key",
        "wssecret",
        "wstime",
        "txsecret",
        "txtime",
        "_upt",
    ];
    /// Of Azure, where its signature and its version stand beside them.
    const AZURE: [&str; 16] = [
        "sig", "se", "st", "sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv", "sip",
        "ss", "srt",
    ];
    let name = name.to_ascii_lowercase();
    let has = |name: &str| beside.contains(name);
    match name.as_str() {
        "expires" | "policy" => has("signature"),
        name if AZURE.contains(&name) => has("sig") && has("sv"),
        name => BEGIN.iter().any(|begin| name.starts_with(begin)) || WHOLE.contains(&name),
    }
}

fn promises_nothing(offered: &Offered) -> bool {
    offered.all.is_empty()
}

/// A checksum that two versions do not share by chance.
fn is_hash(claim: &Claim) -> bool {
    !claim.algorithm.is_crc()
}

fn has_hash(offered: &Offered) -> bool {
    offered.all.iter().any(is_hash)
}

/// Pairs of claims by one algorithm.
fn pairs<'a>(one: &'a Offered, other: &'a Offered) -> impl Iterator<Item = (&'a Claim, &'a Claim)> {
    let with = move |mine: &'a Claim| {
        let theirs = other.all.iter().filter(move |theirs| theirs.algorithm == mine.algorithm);
        theirs.map(move |theirs| (mine, theirs))
    };
    one.all.iter().flat_map(with)
}

fn contradict(one: &Offered, other: &Offered) -> bool {
    pairs(one, other).any(|(mine, theirs)| mine.value != theirs.value)
}

/// By a hash, or by a CRC beside a size that is the same.
fn agree(one: &Offered, other: &Offered, has_size: bool) -> bool {
    pairs(one, other).any(|(mine, theirs)| mine.value == theirs.value && (has_size || is_hash(mine)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::checksum::offered;

    const OLD: &str = "Sat, 21 Nov 2026 11:00:00 GMT";
    const OLDER: &str = "Fri, 20 Nov 2026 11:00:00 GMT";
    const NOW: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

    fn identity(host: &str, size: Option<u64>, headers: &[(&'static str, &str)]) -> Identity {
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().chain(&[("date", NOW)]) {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let url = Url::parse(&format!("https://{host}/f")).unwrap();
        Identity::of(&map, &url, size, offered(&map, true))
    }

    #[test]
    fn what_is_not_shown_to_be_the_same_is_not() {
        use Sameness::{Other, Same, Unknown};
        type Head = &'static [(&'static str, &'static str)];
        let rows: &[(&str, Head, Head, Sameness)] = &[
            ("the same strong tag", &[("etag", "\"a\"")], &[("etag", "\"a\"")], Same),
            ("another tag", &[("etag", "\"a\"")], &[("etag", "\"b\"")], Other),
            ("the tag is gone", &[("etag", "\"a\"")], &[], Unknown),
            ("a tag appears", &[], &[("etag", "\"a\"")], Unknown),
            ("the tag got weak", &[("etag", "\"a\"")], &[("etag", "W/\"a\"")], Unknown),
            ("weak and another", &[("etag", "\"a\"")], &[("etag", "W/\"b\"")], Other),
            ("weak tags", &[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], Unknown),
            (
                "a weak tag beside a strong date",
                &[("etag", "W/\"a\""), ("last-modified", OLD)],
                &[("etag", "W/\"a\""), ("last-modified", OLD)],
                Unknown,
            ),
            ("the same strong date", &[("last-modified", OLD)], &[("last-modified", OLD)], Same),
            ("another date", &[("last-modified", OLD)], &[("last-modified", OLDER)], Other),
            ("the date is gone", &[("last-modified", OLD)], &[], Unknown),
            (
                "a date that may be two versions'",
                &[("last-modified", NOW)],
                &[("last-modified", NOW)],
                Unknown,
            ),
            (
                "the tag is gone, the date is there",
                &[("etag", "\"a\""), ("last-modified", OLD)],
                &[("last-modified", OLD)],
                Unknown,
            ),
            ("nothing at all", &[], &[], Unknown),
            (
                "what is no tag, and the same",
                &[("etag", "a"), ("last-modified", OLD)],
                &[("etag", "a"), ("last-modified", OLD)],
                Same,
            ),
            (
                "what is no tag, and another",
                &[("etag", "a"), ("last-modified", OLD)],
                &[("etag", "b"), ("last-modified", OLD)],
                Other,
            ),
            (
                "two tags at once",
                &[("last-modified", OLD)],
                &[("etag", "\"a\""), ("etag", "\"b\""), ("last-modified", OLD)],
                Unknown,
            ),
            (
                "a tag that stays while the date moves on",
                &[("etag", "\"a\""), ("last-modified", OLDER)],
                &[("etag", "\"a\""), ("last-modified", OLD)],
                Unknown,
            ),
            (
                "what looks like a hash stays while the date moves on",
                &[("etag", "\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\""), ("last-modified", OLDER)],
                &[("etag", "\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\""), ("last-modified", OLD)],
                Unknown,
            ),
            (
                "a part that does not repeat how it is packed",
                &[("etag", "\"a\""), ("content-encoding", "x-gzip")],
                &[("etag", "\"a\"")],
                Same,
            ),
            (
                "a part of what is not packed any more",
                &[("last-modified", OLD), ("content-encoding", "gzip")],
                &[("last-modified", OLD)],
                Unknown,
            ),
            (
                "a coding that nobody knows appears",
                &[("etag", "\"a\"")],
                &[("etag", "\"a\""), ("content-encoding", "x-new")],
                Unknown,
            ),
            (
                "the same checksum",
                &[("x-goog-hash", "md5=1B2M2Y8AsgTpgAmY7PhCfg==")],
                &[("etag", "\"new\""), ("x-goog-hash", "md5=1B2M2Y8AsgTpgAmY7PhCfg==")],
                Same,
            ),
            (
                "the same tag, another checksum",
                &[("etag", "\"a\""), ("x-goog-hash", "crc32c=n03x6A==")],
                &[("etag", "\"a\""), ("x-goog-hash", "crc32c=AAAAAA==")],
                Other,
            ),
            (
                "packed on the way",
                &[("etag", "\"a\"")],
                &[("etag", "\"a\""), ("content-encoding", "gzip")],
                Unknown,
            ),
        ];
        for (what, first, later, expected) in rows {
            let (first, later) = (identity("h", Some(9), first), identity("h", Some(9), later));
            assert_eq!(first.same_as(&later), *expected, "{what}");
        }
        let tagged = |size| identity("h", size, &[("etag", "\"a\"")]);
        assert_eq!(tagged(Some(9)).same_as(&tagged(Some(8))), Other, "another size");
        assert_eq!(tagged(None).same_as(&tagged(Some(8))), Same, "the size was not known");
    }

    #[test]
    fn only_strong_validators_resume() {
        let etag = |text: &str| Some(Validator::Etag(text.into()));
        let dated = |text: &str| Some(Validator::LastModified(text.into()));
        type Given = &'static [(&'static str, &'static str)];
        let rows: &[(Given, Option<Validator>)] = &[
            (&[("etag", "\"abc\"")], etag("\"abc\"")),
            (&[("etag", "\"\"")], None),
            (&[("etag", "\"\""), ("last-modified", OLD), ("date", NOW)], dated(OLD)),
            (&[("last-modified", "Thu, 01 Jan 1970 00:00:01 GMT"), ("date", NOW)], None),
            (&[("last-modified", "Tue, 01 Jan 1980 00:00:00 GMT"), ("date", NOW)], None),
            (&[("etag", "\"abc\""), ("last-modified", OLD), ("date", NOW)], etag("\"abc\"")),
            (&[("etag", "\"abc\""), ("etag", "\"abc\"")], etag("\"abc\"")),
            (&[("etag", "\"abc\""), ("etag", "\"def\"")], None),
            (&[("etag", "W/\"abc\"")], None),
            (&[("etag", "W/\"abc\""), ("last-modified", OLD), ("date", NOW)], None),
            (&[("etag", "abc")], None),
            (&[("etag", "\"a\"b\"")], None),
            (&[("etag", "abc"), ("last-modified", OLD), ("date", NOW)], dated(OLD)),
            (&[("last-modified", OLD), ("date", NOW)], dated(OLD)),
            (
                &[("last-modified", "Sat, 21 Nov 2026 11:59:00 GMT"), ("date", NOW)],
                dated("Sat, 21 Nov 2026 11:59:00 GMT"),
            ),
            (&[("last-modified", "Sat, 21 Nov 2026 11:59:01 GMT"), ("date", NOW)], None),
            (&[("last-modified", NOW), ("date", OLD)], None),
            (&[("last-modified", OLD)], None),
            (&[("last-modified", "yesterday"), ("date", NOW)], None),
            (&[], None),
        ];
        for (given, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            let url = Url::parse("https://h/f").unwrap();
            let identity = Identity::of(&headers, &url, None, Offered::default());
            assert_eq!(identity.validator(), *expected, "{given:?}");
        }
    }

    #[test]
    fn tags_of_two_servers_say_nothing_about_each_other() {
        use Sameness::{Other, Same, Unknown};
        let at = |host: &str, tag: &str, date: &str, more: &[(&'static str, &str)]| {
            let head = [&[("etag", tag), ("last-modified", date)][..], more].concat();
            identity(host, Some(9), &head)
        };
        let first = at("one", "\"a\"", OLD, &[]);
        assert_eq!(
            first.same_as(&at("two", "\"a\"", OLD, &[])),
            Unknown,
            "a tag of date and size, as nginx's"
        );
        let hash = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        assert_eq!(at("one", hash, OLD, &[]).same_as(&at("two", hash, OLD, &[])), Unknown, "as Starlette's");
        assert_eq!(first.same_as(&at("two", "\"b\"", OLD, &[])), Unknown, "date and size are no proof");
        assert_eq!(first.same_as(&at("two", "\"b\"", OLDER, &[])), Other);
        let promised = at("one", "\"a\"", OLD, &[("x-goog-hash", "md5=1B2M2Y8AsgTpgAmY7PhCfg==")]);
        assert_eq!(promised.same_as(&at("two", "\"b\"", OLD, &[])), Same, "the checksum decides at the end");
    }

    #[test]
    fn a_tag_belongs_to_its_place_query_and_all() {
        use Sameness::{Other, Same, Unknown};
        let at = |path: &str, head: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in head.iter().chain(&[("date", NOW)]) {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            Identity::of(&map, &Url::parse(&format!("https://h{path}")).unwrap(), Some(9), Offered::default())
        };
        let tag: &[_] = &[("etag", "\"1\"")];
        let dated: &[_] = &[("last-modified", OLD)];
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Sameness);
        let rows: &[Row<'_>] = &[
            ("/d?v=1", "/d?v=1", tag, Same),
            ("/d?v=1", "/d?v=2", tag, Unknown),
            ("/d?v=1", "/d", tag, Unknown),
            ("/d", "/d?v=1", tag, Unknown),
            ("/d?v=1", "/d?v=2", dated, Unknown),
            ("/d?a=1&b=2", "/d?a=1b&=2", tag, Unknown),
            ("/v1/f", "/v2/f", tag, Unknown),
            ("/f?token=one", "/f?token=two", tag, Unknown),
            ("/f?X-Amz-Date=1&X-Amz-Signature=a", "/f?X-Amz-Date=2&X-Amz-Signature=b", tag, Same),
            ("/f?versionId=1&X-Amz-Signature=a", "/f?versionId=2&X-Amz-Signature=a", tag, Unknown),
            ("/f?Expires=1&Signature=a&Key-Pair-Id=K", "/f?Expires=2&Signature=b&Key-Pair-Id=K", tag, Same),
            ("/f?sv=2024&se=1&sig=a", "/f?sv=2024&se=2&sig=b", tag, Same),
            ("/f?se=1", "/f?se=2", tag, Unknown),
            ("/f?q-page=1", "/f?q-page=2", tag, Unknown),
            ("/f?expires=1", "/f?expires=2", tag, Unknown),
            ("/f?jwt=a.b.c", "/f?jwt=d.e.f", tag, Same),
            ("/f?hdnts=exp=1~hmac=a", "/f?hdnts=exp=2~hmac=b", tag, Same),
        ];
        for (first, later, head, expected) in rows {
            assert_eq!(at(first, head).same_as(&at(later, head)), *expected, "{first} then {later}");
        }
        assert_eq!(at("/d?v=1", dated).same_as(&at("/d?v=2", &[("last-modified", OLDER)])), Other);
        let mut earlier = at("/f?token=one", tag);
        earlier.query = None;
        assert_eq!(earlier.same_as(&at("/f?token=one", tag)), Same, "a journal of an earlier Ferry");
    }

    #[test]
    fn an_identity_survives_the_journal() {
        let first = identity("h", Some(9), &[("etag", "\"a\""), ("x-goog-hash", "crc32c=n03x6A==")]);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), first);
        let before = Identity::of_validator(Some(Validator::Etag("\"a\"".into())), Some(9));
        assert_eq!(before.same_as(&first), Sameness::Same, "a journal of an earlier Ferry");
    }
}
