//! Signed URLs: a secret type, and what its parameters say about how to send the bytes.
//!
//! S4's own sample and the stores behind it disagree (docs: services, "Sending the bytes"), so the method is chosen by
//! what the URL itself shows, changed once when the store refuses in a way that means "not like this", and never
//! guessed from a host name alone. Parameter names are compared without regard to case.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL};
use url::Url;

use crate::http::address::parse_secure;
use crate::http::answer::{Refusal, RefusalKind};
use crate::http::checksum::Algorithm;
use crate::words::{Phrase, Words};

/// A signed URL, byte for byte as the service gave it. Whoever knows it can write the object: it is never printed
/// beyond its path and cannot be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl {
    text: String,
    url: Url,
}

impl SignedUrl {
    /// Takes a URL: https, or http on this computer. `Err` is the reason as a clause, without the URL.
    pub fn parse(text: &str) -> Result<Self, Words> {
        // Pasted text brings its line end along; anything else within is not part of any URL.
        let text = text.trim();
        if text.is_empty() {
            return Err(Phrase::IsEmpty.into());
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Phrase::WithBlanks.into());
        }
        let url = parse_secure(text)?;
        Ok(Self { text: text.to_owned(), url })
    }

    /// The whole text, for the one place that sends or keeps it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The URL for an HTTP client. `Err` is the reason as a clause when a client would have to change bytes that the
    /// signature covers (dot segments, characters that must be escaped): the store would refuse what arrives.
    pub fn to_url(&self) -> Result<Url, Words> {
        if self.scheme().is_some() && raw_target(&self.text) != Some(sent_target(&self.url)) {
            return Err(Phrase::NotSendableAsItIs.into());
        }
        Ok(self.url.clone())
    }

    /// The host, which may be shown.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The host with its port, if that is an unusual one.
    pub(crate) fn place(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    /// A query parameter by its name, decoded; names in any case.
    fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let outer = self.url.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name));
        outer.map(|(_, value)| value).or_else(|| {
            // Tencent's older kits put all of it into one parameter.
            let (_, sign) = self.url.query_pairs().find(|(key, _)| key == "sign")?;
            let inner = sign.starts_with("q-sign-algorithm=").then_some(sign)?;
            url::form_urlencoded::parse(inner.as_bytes())
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| Cow::Owned(value.into_owned()))
        })
    }

    /// Whether it takes only a step of an upload that is made of several: a block, a part, a piece by PATCH.
    pub(crate) fn takes_only_a_part(&self) -> bool {
        let is = |name: &str, values: &[&str]| {
            self.parameter(name).is_some_and(|value| values.contains(&&*value.to_ascii_lowercase()))
        };
        // tus: the address of an upload that was opened elsewhere.
        let is_tus = self.url.path().split_once("/files/").is_some_and(|(_, id)| {
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && self.url.query().is_none()
        });
        is("comp", &["block", "appendblock", "blocklist", "page"])
            || (self.has("sig") && is("action", &["append", "flush"]))
            || (self.has("partNumber") && self.has("uploadId"))
            || is_tus
    }

    /// Whether it wants to know by `Content-Range` which bytes come, also where all of them do.
    pub(crate) fn wants_range(&self) -> bool {
        self.host_rule().is_some_and(|rule| rule.ranged)
    }

    /// Whether nothing shows that it is signed, and it is of no known store.
    pub(crate) fn is_plain(&self) -> bool {
        self.scheme().is_none() && self.known_store().is_none()
    }

    /// Whether its signature may cover the type without saying so: then none at all is the other guess.
    pub(crate) fn may_bind_type(&self) -> bool {
        matches!(self.scheme(), Some(Scheme::Unknown | Scheme::Swift))
    }

    fn has(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| !value.is_empty())
    }

    /// How it is signed; `None` if it does not look signed.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        let all = |names: &[&str]| names.iter().all(|name| self.has(name));
        let known = SCHEMES.iter().find(|(_, evidence)| all(evidence)).map(|(scheme, _)| *scheme);
        known
            .or_else(|| {
                let is_baidu =
                    self.parameter("authorization").is_some_and(|text| text.starts_with("bce-auth-v"));
                is_baidu.then_some(Scheme::Baidu)
            })
            .or_else(|| self.host_rule().filter(|rule| rule.signed).map(|_| Scheme::InPath))
            .or_else(|| self.looks_signed().then_some(Scheme::Unknown))
    }

    /// A signature by some name, and by another name what every signature needs beside it: an end, a key, a way. One
    /// alone could be anything, but for those of delivery networks that have both in one value.
    ///
    /// What looks signed is PUT first: a server that keeps whatever comes would keep the form around the file for good, and
    /// one that wanted a form refuses the PUT.
    fn looks_signed(&self) -> bool {
        let pairs: Vec<(String, Cow<'_, str>)> = self
            .url
            .query_pairs()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_ascii_lowercase(), value))
            .collect();
        let is_signature = |name: &str| {
            // `md5` is what nginx calls it.
            matches!(name, "sig" | "hmac" | "md5")
                || ["signature", "_sig", "-sig"].iter().any(|end| name.ends_with(end))
        };
        let is_beside = |name: &str| {
            ["expires", "expiry", "expires_at", "exp", "policy", "key-pair-id"].contains(&name)
                || [
                    "expires",
                    "credential",
                    "accesskeyid",
                    "access_key_id",
                    "algorithm",
                    "date",
                    "-sign-time",
                ]
                .iter()
                .any(|end| name.ends_with(end))
        };
        let by_names = pairs.iter().any(|(name, _)| is_signature(name))
            && pairs.iter().any(|(name, _)| !is_signature(name) && is_beside(name));
        // A moment to come or just gone, and beside it what only a signature is called, or looks like.
        let by_time = pairs.iter().any(|(end, time)| {
            let (is_end, may_be_end) =
                (is_end(end), matches!(&**end, "t" | "ts" | "e" | "time" | "timestamp"));
            (is_end || may_be_end)
                && is_moment(time)
                && pairs.iter().any(|(name, value)| {
                    name != end && (is_short_signature(name) || (is_end && looks_random(value)))
                })
        });
        by_names || by_time || pairs.iter().any(|(name, value)| signs_by_itself(name, value))
    }

    fn host_rule(&self) -> Option<&'static HostRule> {
        let path = self.url.path();
        HOSTS
            .iter()
            .find(|rule| (rule.host.is_empty() || self.is_under(rule.host)) && path.contains(rule.path))
    }

    fn is_under(&self, domain: &str) -> bool {
        let host = self.host().to_ascii_lowercase();
        host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    }

    /// What the store behind it names of what it took, as far as its signature shows: computed while the bytes pass, so
    /// that the file is read once.
    pub(crate) fn answers_with(&self) -> &'static [Algorithm] {
        match self.scheme() {
            Some(Scheme::AmazonV4 | Scheme::AmazonV2 | Scheme::Azure) => {
                &[Algorithm::Md5, Algorithm::Crc64Nvme]
            }
            Some(
                Scheme::AlibabaV1
                | Scheme::AlibabaV4
                | Scheme::Tencent
                | Scheme::Huawei
                | Scheme::Volcengine
                | Scheme::Kingsoft,
            ) => &[Algorithm::Md5, Algorithm::Crc64Ecma],
            Some(Scheme::Baidu) => &[Algorithm::Md5, Algorithm::Crc32],
            Some(Scheme::Swift) => &[Algorithm::Md5],
            _ => &[],
        }
    }

    /// Whether the entity tag of a file that was sent there whole and unencrypted is its MD5 by the store's own documents.
    pub(crate) fn tag_means_md5(&self) -> bool {
        match self.known_store() {
            // Directory buckets have tags of another kind; so have buckets whose key is another's, which the answer says.
            Some(Store::S3) => !self.host().contains("--x-s3") && !self.host().contains("s3express"),
            Some(
                Store::R2 | Store::Oss | Store::Cos | Store::Obs | Store::Wasabi | Store::B2 | Store::Spaces,
            ) => true,
            _ => false,
        }
    }

    /// How to send the bytes, by what the URL shows. `has_form_fields`: the service gave fields for a POST form.
    ///
    /// The URI of a running session repeats the parameters of the URL that opened it, so `upload_id` is looked at
    /// before the signed headers.
    pub fn infer(&self, has_form_fields: bool) -> Method {
        if has_form_fields {
            return Method::PostForm;
        }
        if self.has("upload_id") {
            return Method::Session;
        }
        let by_type = self.parameter("uploadType").filter(|_| self.is_under("googleapis.com"));
        match by_type.as_deref() {
            Some("resumable") => return Method::Resumable,
            Some("media") => return Method::PostRaw,
            _ => {}
        }
        if self.signed_headers().iter().any(|name| name == "x-goog-resumable") {
            return Method::Resumable;
        }
        match (self.host_rule(), self.scheme()) {
            (_, Some(Scheme::Azure)) => Method::AzurePut,
            (Some(rule), _) => rule.method,
            (None, Some(_)) => Method::Put,
            (None, None) => Method::Post,
        }
    }

    /// Names of the headers that the signature covers, in lower case; none for the signatures that do not say.
    pub fn signed_headers(&self) -> Vec<String> {
        const LISTS: [&str; 6] = [
            "X-Goog-SignedHeaders",
            "X-Amz-SignedHeaders",
            "X-Tos-SignedHeaders",
            "X-Obs-SignedHeaders",
            "x-oss-additional-headers",
            "q-header-list",
        ];
        let list = LISTS.iter().find_map(|name| self.parameter(name)).or_else(|| {
            // bce-auth-v1/KEY/TIME/SECONDS/HEADERS/SIGNATURE
            Some(self.parameter("authorization")?.split('/').nth(4)?.to_owned().into())
        });
        let list = list.unwrap_or_default();
        list.split(';').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
    }

    /// Whether this is a signature that covers `Content-Type` without saying so: what was signed is most often its
    /// absence.
    pub fn signs_type_silently(&self) -> bool {
        matches!(
            self.scheme(),
            Some(
                Scheme::GoogleV2
                    | Scheme::AmazonV2
                    | Scheme::AlibabaV1
                    | Scheme::AlibabaV4
                    | Scheme::Huawei
                    | Scheme::Kingsoft
            )
        )
    }

    /// Whether the type of the content has a part in the signature.
    pub(crate) fn binds_type(&self) -> bool {
        self.signs_type_silently() || self.signed_headers().iter().any(|name| name == "content-type")
    }

    /// Whether the signature holds for this host only; then a redirect to another can only be told.
    pub(crate) fn binds_host(&self) -> bool {
        match self.scheme() {
            Some(
                Scheme::GoogleV2 | Scheme::AmazonV2 | Scheme::AlibabaV1 | Scheme::Huawei | Scheme::Kingsoft,
            )
            | None => false,
            Some(_) => true,
        }
    }

    /// The value of a signed header that the query itself names, as some signers put it there.
    pub(crate) fn header_in_query(&self, name: &str) -> Option<String> {
        self.parameter(name).filter(|value| !value.is_empty()).map(Cow::into_owned)
    }

    /// The checksum that is a part of the signature, as Amazon's kits put it there: header and value.
    pub(crate) fn bound_checksum(&self) -> Option<(String, String)> {
        let bound = |name: &str| name.starts_with("x-amz-checksum-") || name == "content-md5";
        self.url
            .query_pairs()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
            .find(|(name, value)| bound(name) && !value.is_empty())
    }

    /// The store, when the host is one of the public ones.
    pub fn known_store(&self) -> Option<Store> {
        STORES.iter().find(|(domain, _)| self.is_under(domain)).map(|(_, store)| *store).or_else(|| {
            // Regions and generations stand within these names: `s3.eu-central-003.backblazeb2.com` is one of them.
            let host = self.host().to_ascii_lowercase();
            (host == "storage.cloud.google.com").then_some(Store::Gcs)
        })
    }

    /// The most bytes that the store takes in one request, as far as it is known.
    pub(crate) fn size_limit(&self, method: Method) -> Option<u64> {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        if method == Method::AzurePut {
            // By the version of the protocol, which is a date.
            let version = self.parameter("sv").unwrap_or_default();
            return Some(match &*version {
                old if old < "2016-05-31" => 64 * MIB,
                old if old < "2019-12-12" => 256 * MIB,
                _ => 5000 * MIB,
            });
        }
        if matches!(method, Method::Session | Method::Resumable) {
            return self.known_store().filter(|store| *store == Store::Gcs).map(|_| 5 << 40);
        }
        let by_host = self.host_rule().and_then(|rule| rule.limit);
        by_host.or_else(|| match self.known_store()? {
            Store::Gcs => Some(5 << 40),
            Store::Azure => None,
            Store::Oracle => Some(50 * GIB),
            Store::S3
            | Store::R2
            | Store::B2
            | Store::Oss
            | Store::Cos
            | Store::Obs
            | Store::Tos
            | Store::Bos
            | Store::Wasabi
            | Store::Spaces => Some(5 * GIB),
        })
    }

    /// When the URL itself says that it ends. What makes no sense is nothing.
    pub fn expires_at(&self) -> Option<SystemTime> {
        for (date, expires) in DATED {
            if let (Some(date), Some(expires)) = (self.parameter(date), self.parameter(expires)) {
                let lifetime = Duration::from_secs(expires.trim().parse().ok()?);
                return compact_time(date.trim())?.checked_add(lifetime);
            }
        }
        match self.scheme() {
            Some(Scheme::Azure) => self.parameter("se").and_then(|text| iso_time(text.trim())),
            Some(Scheme::Tencent) => unix_text(self.parameter("q-sign-time")?.split_once(';')?.1),
            Some(Scheme::Swift) => {
                let text = self.parameter("temp_url_expires")?;
                unix_text(&text).or_else(|| iso_time(text.trim()))
            }
            Some(Scheme::Baidu) => {
                let text = self.parameter("authorization")?;
                let lifetime = Duration::from_secs(text.split('/').nth(3)?.parse().ok()?);
                iso_time(text.split('/').nth(2)?)?.checked_add(lifetime)
            }
            scheme => {
                let named =
                    ["Expires", "expires_at", "expiry", "exp"].iter().find_map(|name| self.parameter(name));
                if let Some(text) = named.filter(|_| scheme.is_some()) {
                    return unix_text(&text).or_else(|| iso_time(text.trim()));
                }
                if scheme == Some(Scheme::CloudFront) {
                    return self.policy_time("DateLessThan");
                }
                self.token_time("exp")
            }
        }
    }

    /// When the URL says that it begins to hold.
    pub(crate) fn starts_at(&self) -> Option<SystemTime> {
        for (date, _) in DATED {
            if let Some(date) = self.parameter(date) {
                return compact_time(date.trim());
            }
        }
        match self.scheme()? {
            Scheme::Azure => self.parameter("st").and_then(|text| iso_time(text.trim())),
            Scheme::Tencent => unix_text(self.parameter("q-sign-time")?.split_once(';')?.0),
            Scheme::Baidu => iso_time(self.parameter("authorization")?.split('/').nth(2)?),
            Scheme::CloudFront => self.policy_time("DateGreaterThan"),
            _ => self.token_time("nbf"),
        }
    }

    /// A time in a policy of CloudFront's: JSON in base64, with `-_~` for `+=/`.
    fn policy_time(&self, name: &str) -> Option<SystemTime> {
        let text = self.parameter("Policy")?.replace('-', "+").replace('_', "=").replace('~', "/");
        let policy: serde_json::Value = serde_json::from_slice(&BASE64.decode(text).ok()?).ok()?;
        let condition = policy.get("Statement")?.get(0)?.get("Condition")?.get(name)?;
        let seconds = condition.get("AWS:EpochTime")?.as_u64()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// A time in a token of three parts (RFC 7519) that a URL carries.
    fn token_time(&self, name: &str) -> Option<SystemTime> {
        let token = self.parameter("token")?;
        let payload = BASE64_URL.decode(token.split('.').nth(1)?).ok()?;
        let payload: serde_json::Value = serde_json::from_slice(&payload).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(payload.get(name)?.as_u64()?))
    }
}

/// Whether a parameter is the end of a signature by its name.
fn is_end(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(&*plain, "exp" | "expiry" | "expire" | "deadline" | "validuntil" | "validto" | "until")
        || ["expires", "expiresat", "expiration"].iter().any(|end| plain.ends_with(end))
}

/// Whether a parameter is a signature by its name, where an end stands beside it.
fn is_short_signature(name: &str) -> bool {
    matches!(
        name,
        "s" | "st"
            | "h"
            | "hash"
            | "sign"
            | "token"
            | "auth"
            | "mac"
            | "digest"
            | "secret"
            | "verify"
            | "sig"
            | "hmac"
            | "md5"
            | "signature"
    )
}

/// Whether a value is a moment of this century, in seconds or thousandths of them, decimal or hex, or as a date.
fn is_moment(value: &str) -> bool {
    // 2001 to 2100.
    const SECONDS: std::ops::Range<u64> = 1_000_000_000..4_102_444_800;
    let value = value.trim();
    let decimal = value.parse::<u64>().ok();
    let is_hex = value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    decimal.is_some_and(|number| SECONDS.contains(&number) || SECONDS.contains(&(number / 1000)))
        || (is_hex && u64::from_str_radix(value, 16).is_ok_and(|number| SECONDS.contains(&number)))
        || iso_time(value).is_some()
        || compact_time(value).is_some()
}

/// Whether a value is long, of one piece, and made of letters and digits: nobody writes such a word.
fn looks_random(value: &str) -> bool {
    const SHORTEST: usize = 16;
    let is_piece = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=' | b'~'));
    value.len() >= SHORTEST
        && is_piece
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Parameters that hold an end and a signature at once: Akamai's, Alibaba's and Tencent's for their networks, Cloudflare's,
/// Upyun's.
fn signs_by_itself(name: &str, value: &str) -> bool {
    let ends_with_time =
        value.len() > 10 && value.is_char_boundary(value.len() - 10) && is_moment(&value[value.len() - 10..]);
    match name {
        "hdnts" | "hdnea" | "hdntl" | "__token__" | "__gda__" | "wssecret" | "txsecret" => true,
        "auth_key" | "verify" => {
            value.split_once('-').is_some_and(|(time, rest)| is_moment(time) && !rest.is_empty())
        }
        "_upt" => ends_with_time,
        _ => value.contains("~hmac=") || value.contains("~acl="),
    }
}

/// How a URL is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// Google's V4.
    GoogleV4,
    /// Google's V2.
    GoogleV2,
    /// Amazon's V4, also for several regions at once (V4A), and all who speak it.
    AmazonV4,
    /// Amazon's V2.
    AmazonV2,
    /// Azure's shared access signature.
    Azure,
    /// Alibaba OSS V1.
    AlibabaV1,
    /// Alibaba OSS V4.
    AlibabaV4,
    /// Tencent COS.
    Tencent,
    /// Huawei OBS.
    Huawei,
    /// Volcengine TOS.
    Volcengine,
    /// Kingsoft KS3.
    Kingsoft,
    /// OpenStack Swift's temporary URL.
    Swift,
    /// CloudFront's.
    CloudFront,
    /// Baidu BOS.
    Baidu,
    /// By what stands in the path, at a host that is known for it.
    InPath,
    /// It looks signed, nobody knows by what.
    Unknown,
}

/// The parameters by which each is known, the clearest first.
const SCHEMES: &[(Scheme, &[&str])] = &[
    (Scheme::GoogleV4, &["X-Goog-Signature"]),
    (Scheme::AmazonV4, &["X-Amz-Signature"]),
    (Scheme::AlibabaV4, &["x-oss-signature"]),
    (Scheme::Volcengine, &["X-Tos-Signature"]),
    (Scheme::Huawei, &["X-Obs-Signature"]),
    (Scheme::Tencent, &["q-signature", "q-sign-time"]),
    (Scheme::GoogleV2, &["GoogleAccessId", "Signature"]),
    (Scheme::AmazonV2, &["AWSAccessKeyId", "Signature"]),
    (Scheme::AlibabaV1, &["OSSAccessKeyId", "Signature"]),
    (Scheme::Kingsoft, &["KSSAccessKeyId", "Signature"]),
    (Scheme::Huawei, &["AccessKeyId", "Signature"]),
    (Scheme::CloudFront, &["Key-Pair-Id", "Signature"]),
    (Scheme::Swift, &["temp_url_sig", "temp_url_expires"]),
    (Scheme::Azure, &["sig", "sv"]),
    // Before 2012 there was no version.
    (Scheme::Azure, &["sig", "se", "sr", "sp"]),
];

/// Parameters with a moment, and with how many seconds from then on.
const DATED: [(&str, &str); 5] = [
    ("X-Goog-Date", "X-Goog-Expires"),
    ("X-Amz-Date", "X-Amz-Expires"),
    ("x-oss-date", "x-oss-expires"),
    ("X-Tos-Date", "X-Tos-Expires"),
    ("X-Obs-Date", "X-Obs-Expires"),
];

/// A place where a host, or a path at any host, says how bytes are wanted.
struct HostRule {
    /// The host, or what its name ends with; empty for any.
    host: &'static str,
    /// What the path holds.
    path: &'static str,
    method: Method,
    /// Whether the URL holds a signature in its path, and must be sent byte for byte.
    signed: bool,
    /// The most bytes that it takes.
    limit: Option<u64>,
    /// Whether it wants a `Content-Range` with them.
    ranged: bool,
}

const fn rule(
    host: &'static str,
    path: &'static str,
    method: Method,
    signed: bool,
    limit: Option<u64>,
) -> HostRule {
    HostRule { host, path, method, signed, limit, ranged: false }
}

/// OneDrive's and SharePoint's sessions take up to 60 MiB in one request.
const fn ranged(host: &'static str, path: &'static str) -> HostRule {
    HostRule { ranged: true, ..rule(host, path, Method::Put, true, Some(60 << 20)) }
}

const HOSTS: &[HostRule] = &[
    // Dropbox's temporary upload links; Slack's; Backblaze's own protocol; GitHub's releases: bare bytes by POST.
    rule("content.dropboxapi.com", "/apitul/", Method::PostRaw, true, Some(150 << 20)),
    rule("files.slack.com", "/upload/", Method::PostRaw, true, Some(1 << 30)),
    rule("backblaze.com", "/b2_upload_file/", Method::PostRaw, true, Some(5_000_000_000)),
    rule("uploads.github.com", "/releases/", Method::PostRaw, false, Some(2 << 30)),
    // Direct uploads by creators, which are forms.
    rule("upload.imagedelivery.net", "/", Method::Post, true, Some(10 << 20)),
    rule("upload.videodelivery.net", "/", Method::Post, true, Some(200 << 20)),
    rule("upload.cloudflarestream.com", "/", Method::Post, true, Some(200 << 20)),
    rule("api.cloudinary.com", "/upload", Method::Post, false, None),
    rule("qiniup.com", "/", Method::Post, false, None),
    rule("", "/storage/v1/object/upload/sign/", Method::Put, true, None),
    rule("blob.vercel-storage.com", "/", Method::Put, false, None),
    rule("vercel.com", "/api/blob", Method::Put, false, None),
    rule("oraclecloud.com", "/p/", Method::Put, true, Some(50 << 30)),
    rule("storage.bunnycdn.com", "/", Method::Put, false, None),
    rule("zenodo.org", "/api/files/", Method::Put, false, Some(50_000_000_000)),
    rule("", "/remote.php/", Method::Put, false, None),
    rule("", "/public.php/", Method::Put, false, None),
    rule("", "/artifactory/", Method::Put, false, None),
    rule("", "/repository/", Method::Put, false, None),
    rule("", "/dav/", Method::Put, false, None),
    rule("", "/webdav/", Method::Put, false, None),
    rule("", "/api/packages/", Method::Put, false, None),
    rule("", "/packages/generic/", Method::Put, false, None),
    // Yandex Disk's and LinkedIn's.
    rule("", "/upload-target/", Method::Put, true, None),
    rule("", "/dms-uploads/", Method::Put, true, None),
    ranged("up.1drv.com", "/up/"),
    ranged("", "/uploadSession"),
];

/// Public stores by their hosts, or what these end with.
const STORES: &[(&str, Store)] = &[
    ("storage.googleapis.com", Store::Gcs),
    ("firebasestorage.googleapis.com", Store::Gcs),
    ("r2.cloudflarestorage.com", Store::R2),
    ("amazonaws.com", Store::S3),
    ("amazonaws.com.cn", Store::S3),
    ("blob.core.windows.net", Store::Azure),
    ("blob.core.windows.cn", Store::Azure),
    ("blob.core.windows.us", Store::Azure),
    ("blob.core.chinacloudapi.net", Store::Azure),
    ("blob.core.chinacloudapi.cn", Store::Azure),
    ("blob.core.usgovcloudapi.net", Store::Azure),
    ("backblazeb2.com", Store::B2),
    ("backblaze.com", Store::B2),
    ("aliyuncs.com", Store::Oss),
    ("myqcloud.com", Store::Cos),
    ("myhuaweicloud.com", Store::Obs),
    ("volces.com", Store::Tos),
    ("bytepluses.com", Store::Tos),
    ("bcebos.com", Store::Bos),
    ("wasabisys.com", Store::Wasabi),
    ("digitaloceanspaces.com", Store::Spaces),
    ("oraclecloud.com", Store::Oracle),
];

impl fmt::Display for SignedUrl {
    /// Scheme, host and path; the query is what must not be seen, and the path where the signature stands in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        if self.scheme() == Some(Scheme::InPath) {
            return write!(f, "{}://{}{port}/•••", self.url.scheme(), self.host());
        }
        write!(f, "{}://{}{port}{}", self.url.scheme(), self.host(), self.url.path())?;
        f.write_str(if self.url.query().is_some() { "?•••" } else { "" })
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({self})")
    }
}

/// Path and query as they stand in the text, without the fragment, which is never sent.
fn raw_target(text: &str) -> Option<String> {
    let rest = &text[text.find("://")? + 3..];
    let start = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let target = rest[start..].split('#').next().unwrap_or_default();
    Some(if target.starts_with('/') { target.to_owned() } else { format!("/{target}") })
}

/// Path and query as a client would send them.
fn sent_target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// How the bytes of a file are sent to a signed URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// PUT, the body is the file.
    Put,
    /// POST of a multipart form with nothing but `file`, as S4's sample does.
    Post,
    /// POST of a multipart form: the fields that the service gave, in order, then `file`.
    PostForm,
    /// POST without a body opens a resumable session, then chunks go to its `Location`.
    Resumable,
    /// The URL already is a session: chunks.
    Session,
    /// PUT with `x-ms-blob-type: BlockBlob`.
    AzurePut,
    /// POST, the body is the file.
    PostRaw,
}

/// A public object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Store {
    /// Google Cloud Storage.
    Gcs,
    /// Amazon S3.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Cloudflare R2.
    R2,
    /// Backblaze B2.
    B2,
    /// Alibaba OSS.
    Oss,
    /// Tencent COS.
    Cos,
    /// Huawei OBS.
    Obs,
    /// Volcengine TOS.
    Tos,
    /// Baidu BOS.
    Bos,
    /// Wasabi.
    Wasabi,
    /// DigitalOcean Spaces.
    Spaces,
    /// Oracle Object Storage.
    Oracle,
}

/// The other method to try after this refusal of `sent`, if the refusal means "not like this". Only once per
/// transfer; that is the caller's to count.
///
/// Expired tokens, other 4xx, 5xx and time-outs say nothing about the method. Where nothing is signed and no known store
/// answers (`is_plain`), a bare 404 or 415 counts too: that is how a web server answers a method that its route does not
/// have. What is signed is signed for one method: a form that some server keeps there would be another file.
pub(crate) fn flips(refusal: &Refusal, sent: Method, is_plain: bool) -> Option<Method> {
    let is_post = matches!(sent, Method::Post | Method::PostForm | Method::PostRaw);
    let means_another_method = match (refusal.http_status, refusal.code.as_deref()) {
        // A form's policy that has ended was understood all the same.
        _ if refusal.kind == RefusalKind::Expired => false,
        (405 | 501, _) | (400, Some("InvalidPolicyDocument")) => true,
        // A URL that is signed for opening a session demands its POST: a PUT could only fail the same way.
        (403, Some("SignatureDoesNotMatch")) => sent != Method::Resumable,
        (400, Some("InvalidArgument")) => is_post,
        (404 | 415, None) => is_plain,
        _ => false,
    };
    let other = match sent {
        Method::Put | Method::AzurePut => Method::Post,
        Method::Post | Method::PostForm | Method::PostRaw | Method::Resumable => Method::Put,
        // A session that is refused is dead, not misunderstood.
        Method::Session => return None,
    };
    means_another_method.then_some(other)
}

/// Seconds since 1970, or thousandths of them.
fn unix_text(text: &str) -> Option<SystemTime> {
    let number: u64 = text.trim().parse().ok()?;
    let time =
        if number > 100_000_000_000 { Duration::from_millis(number) } else { Duration::from_secs(number) };
    SystemTime::UNIX_EPOCH.checked_add(time)
}

/// `20261121T120000Z`.
fn compact_time(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    unix_time(number(date.get(..4)?)?, number(date.get(4..6)?)?, number(date.get(6..)?)?)?
        .checked_add(day_time(number(time.get(..2)?)?, number(time.get(2..4)?)?, number(time.get(4..)?)?)?)
}

/// Azure's `2026-11-21`, `2026-11-21T12:00Z`, `2026-11-21T12:00:00Z`, `2026-11-21T12:00:00.1234567Z`.
fn iso_time(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00Z"));
    let mut date = date.splitn(3, '-').map(number);
    let midnight = unix_time(date.next()??, date.next()??, date.next()??)?;
    let time = time.strip_suffix('Z')?;
    let mut time = time.split('.').next()?.splitn(3, ':').map(number);
    let (hour, minute) = (time.next()??, time.next()??);
    midnight.checked_add(day_time(hour, minute, time.next().unwrap_or(Some(0))?)?)
}

/// Digits only.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn day_time(hour: u64, minute: u64, second: u64) -> Option<Duration> {
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60)
        .then(|| Duration::from_secs(hour * 3600 + minute * 60 + second))
}

/// Midnight UTC of a day from 1970 on.
fn unix_time(year: u64, month: u64, day: u64) -> Option<SystemTime> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    // Days from 1 March of year 0 to 1 January 1970.
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days.checked_sub(719_468)? * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::Foreign;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Fixture {
        accepted: Vec<Accepted>,
        refused: Vec<Refused>,
    }

    #[derive(Deserialize)]
    struct Accepted {
        name: String,
        url: String,
        #[serde(default)]
        form_fields: bool,
        expected: Expected,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Expected {
        method: String,
        store: Option<String>,
        signed_headers: Vec<String>,
        v2: bool,
        expires_at: Option<u64>,
        sent_as_is: bool,
    }

    #[derive(Deserialize)]
    struct Refused {
        name: String,
        url: String,
    }

    #[test]
    fn the_url_says_how_it_wants_to_be_used() {
        let text =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/signed-urls.json"));
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        for row in fixture.accepted {
            let url = SignedUrl::parse(&row.url).unwrap();
            let since_1970 =
                |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let got = Expected {
                method: format!("{:?}", url.infer(row.form_fields)),
                store: url.known_store().map(|store| format!("{store:?}")),
                signed_headers: url.signed_headers(),
                v2: url.signs_type_silently(),
                expires_at: url.expires_at().map(since_1970),
                sent_as_is: url.to_url().is_ok(),
            };
            assert_eq!(got, row.expected, "{}", row.name);
            assert_eq!(url.expose(), row.url, "{}", row.name);
            assert!(!format!("{url} {url:?}").contains("MARKED-SECRET"), "{}", row.name);
        }
        for row in fixture.refused {
            let reason = SignedUrl::parse(&row.url).unwrap_err().to_string();
            assert!(
                !reason.is_empty() && (row.url.is_empty() || !reason.contains(&row.url)),
                "{}: {reason}",
                row.name
            );
        }
    }

    #[test]
    fn only_host_and_path_are_shown() {
        let url = SignedUrl::parse(" https://h.example:8443/a/b?sig=x#y\n").unwrap();
        assert_eq!(url.to_string(), "https://h.example:8443/a/b?•••");
        assert_eq!(format!("{url:?}"), "SignedUrl(https://h.example:8443/a/b?•••)");
        assert_eq!(SignedUrl::parse("http://[::1]:80/a").unwrap().to_string(), "http://[::1]/a");
    }

    #[test]
    fn a_refusal_flips_the_method_only_when_it_is_about_the_method() {
        use Method::{AzurePut, Post, PostForm, Put, Resumable, Session};
        let (gcs, signed, plain) = (false, false, true);
        let rows = [
            (403, Some("SignatureDoesNotMatch"), Put, gcs, Some(Post)),
            (403, Some("SignatureDoesNotMatch"), Post, gcs, Some(Put)),
            (403, Some("SignatureDoesNotMatch"), Resumable, gcs, None),
            (403, Some("AccessDenied"), Put, gcs, None),
            (400, Some("InvalidPolicyDocument"), Post, gcs, Some(Put)),
            (400, Some("InvalidPolicyDocument"), PostForm, gcs, Some(Put)),
            (400, Some("InvalidArgument"), Post, gcs, Some(Put)),
            (400, Some("InvalidArgument"), Put, gcs, None),
            (400, Some("ExpiredToken"), Put, gcs, None),
            (400, Some("MalformedSecurityHeader"), Put, gcs, None),
            (400, None, Put, plain, None),
            (405, None, Put, gcs, Some(Post)),
            (405, None, Post, plain, Some(Put)),
            (405, None, Resumable, signed, Some(Put)),
            (405, None, AzurePut, signed, Some(Post)),
            (405, None, Session, gcs, None),
            (501, Some("NotImplemented"), Post, gcs, Some(Put)),
            (404, None, Put, plain, Some(Post)),
            (404, None, Put, signed, None),
            (404, Some("NoSuchBucket"), Put, plain, None),
            (404, Some("NoSuchKey"), Put, gcs, None),
            (415, None, Post, plain, Some(Put)),
            (415, None, Put, signed, None),
            (415, None, Post, gcs, None),
            (408, None, Put, plain, None),
            (500, None, Put, plain, None),
            (503, Some("SlowDown"), Post, plain, None),
            (200, Some("SignatureDoesNotMatch"), Put, plain, None),
        ];
        for (http_status, code, sent, is_plain, expected) in rows {
            let refusal = Refusal {
                http_status,
                code: code.map(Into::into),
                message: Foreign::default(),
                request_id: None,
                kind: RefusalKind::Other,
                retry_after: None,
            };
            assert_eq!(
                flips(&refusal, sent, is_plain),
                expected,
                "{http_status} {code:?} {sent:?} {is_plain}"
            );
        }
    }

    #[test]
    fn days_are_counted_right() {
        let days = |year, month, day| {
            unix_time(year, month, day)
                .map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400)
        };
        for (date, expected) in [
            ((1970, 1, 1), Some(0)),
            ((1972, 3, 1), Some(790)),
            ((2000, 2, 29), Some(11_016)),
            ((2026, 11, 21), Some(20_778)),
            ((2100, 3, 1), Some(47_541)),
            ((1969, 12, 31), None),
            ((2026, 13, 1), None),
            ((2026, 0, 1), None),
            ((2026, 1, 0), None),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", query in "(X-(Goog|Amz)-(Date|Expires)=|se=|sv=|sig=|Expires=|[0-9TZ:.-]{0,20}|é|&){0,12}") {
            for text in [text.clone(), format!("https://h/{text}?{query}"), format!("https://h?{query}")] {
                if let Ok(url) = SignedUrl::parse(&text) {
                    let _ = (url.infer(false), url.signed_headers(), url.signs_type_silently(), url.known_store(), url.expires_at());
                    prop_assert_eq!(url.expose(), text.trim());
                    if let Some(at) = url.to_string().find('?') {
                        prop_assert_eq!(&url.to_string()[at..], "?•••");
                    }
                    let _ = url.to_url();
                }
            }
        }
    }
}
