//! Query signatures of the clouds, made and really checked: method, path byte for byte, query, signed
//! headers, expiry, clock.
//!
//! - `GOOG4-RSA-SHA256` and `GOOG4-HMAC-SHA256`: Google Cloud Storage, V4 signing process.
//! - `AWS4-HMAC-SHA256`: Amazon Signature Version 4, query parameters.
//! - The V2 signatures of both (`GoogleAccessId` with RSA, `AWSAccessKeyId` with HMAC-SHA1), which bind an absent
//!   `Content-Type`, too.
//! - Azure's service SAS for blobs (version 2020-12-06 and later).
//! - An opaque token, for the form upload of the service's own sample.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::{digest, hmac, rand::SecureRandom, signature};

use crate::objects::{hex, random_hex, write_whole};
use crate::{private, timestamp};

/// What needs no escape in a signed URL (RFC 3986 "unreserved").
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest life of a signed URL: a week.
const LONGEST: i64 = 7 * 24 * 3600;
/// How far a signer's clock may be ahead.
const CLOCK_LEEWAY: i64 = 15 * 60;

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided.";

const GOOGLE_ACCESS_ID: &str = "GOOG1ESANDBOX";
const AMAZON_ACCESS_ID: &str = "AKIASANDBOX";
const AZURE_ACCOUNT: &str = "sandbox";

/// Whose rules a signed request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Google,
    Amazon,
    Azure,
    /// A form upload behind an opaque token.
    Token,
}

/// What a store says when it refuses.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) provider: Provider,
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Further elements of the error document.
    pub(crate) details: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(
        provider: Provider,
        status: u16,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self { provider, status, code, message: message.into(), details: Vec::new() }
    }

    pub(crate) fn detail(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.details.push((element, text.into()));
        self
    }
}

/// The keys that signatures are checked against: the sandbox's own, and those that a test had it trust.
pub(crate) struct Keys {
    /// The sandbox's own secret; everything it signs itself hangs on it.
    secret: String,
    google: Mutex<HashMap<String, Vec<u8>>>,
    hmac: Mutex<HashMap<String, String>>,
}

/// The file of the secret, below the root.
pub(crate) const SECRET: &str = "secret";

impl Keys {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let secret_file = root.join(SECRET);
        let kept = private::read(&secret_file).ok().and_then(|secret| String::from_utf8(secret).ok());
        let secret = match kept {
            Some(secret) if secret.len() >= 64 => secret,
            _ => {
                let mut bytes = [0; 32];
                ring::rand::SystemRandom::new()
                    .fill(&mut bytes)
                    .map_err(|_| io::Error::other("no random numbers"))?;
                let secret = hex(&bytes);
                write_whole(&secret_file, secret.as_bytes())?;
                secret
            }
        };
        let own = [GOOGLE_ACCESS_ID, AMAZON_ACCESS_ID].map(|id| (id.to_owned(), secret.clone()));
        Ok(Self { secret, google: Mutex::default(), hmac: Mutex::new(own.into()) })
    }

    /// Trusts a service account: its RSA public key, as SubjectPublicKeyInfo or PKCS#1, DER.
    pub(crate) fn trust_google(&self, client_email: &str, public_key_der: &[u8]) -> io::Result<()> {
        let key = rsa_public_key(public_key_der)?;
        self.google.lock().unwrap_or_else(PoisonError::into_inner).insert(client_email.to_owned(), key);
        Ok(())
    }

    /// Trusts an access id and its secret, for `AWS4-HMAC-SHA256` and `GOOG4-HMAC-SHA256`.
    pub(crate) fn trust_hmac(&self, access_id: &str, secret: &str) {
        let mut hmac = self.hmac.lock().unwrap_or_else(PoisonError::into_inner);
        hmac.insert(access_id.to_owned(), secret.to_owned());
    }

    fn verify_rsa(&self, client_email: &str, message: &[u8], presented: &[u8]) -> Result<(), ()> {
        let key =
            self.google.lock().unwrap_or_else(PoisonError::into_inner).get(client_email).cloned().ok_or(())?;
        signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key)
            .verify(message, presented)
            .map_err(|_| ())
    }

    fn secret_of(&self, access_id: &str) -> Option<String> {
        self.hmac.lock().unwrap_or_else(PoisonError::into_inner).get(access_id).cloned()
    }
}

/// The RSAPublicKey inside a SubjectPublicKeyInfo; a bare RSAPublicKey is passed through.
fn rsa_public_key(der: &[u8]) -> io::Result<Vec<u8>> {
    fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
        let (&found, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (digits, rest) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
        };
        (found == tag).then(|| rest.split_at_checked(length)).flatten()
    }
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "not an RSA public key in DER");
    let (outer, _) = element(der, SEQUENCE).ok_or_else(wrong)?;
    if element(outer, INTEGER).is_some() {
        return Ok(der.to_vec());
    }
    let (_, rest) = element(outer, SEQUENCE).ok_or_else(wrong)?;
    let (bits, _) = element(rest, BIT_STRING).ok_or_else(wrong)?;
    bits.split_first().filter(|(unused, _)| **unused == 0).map(|(_, key)| key.to_vec()).ok_or_else(wrong)
}

/// A request as a signature sees it.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// A switched-on fault: every signature is too old.
    pub(crate) expired: bool,
}

impl Signed<'_> {
    /// The query's parameters as they were sent, still encoded.
    fn raw_query(&self) -> Vec<(&str, &str)> {
        let query = self.uri.query().unwrap_or_default();
        query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .collect()
    }

    /// A parameter, decoded. Names of signature parameters are compared as the stores do, without regard to
    /// case.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let (_, value) = self.raw_query().into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
    }

    fn header(&self, name: &str) -> Option<String> {
        if name == "host" {
            let authority = self.uri.authority().map(|authority| authority.as_str().to_owned());
            let host = self.headers.get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
            return host.or(authority);
        }
        let values: Vec<String> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                String::from_utf8_lossy(value.as_bytes())
                    .split_ascii_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// How the store whose signature it is says that the URL begins later, five minutes from now.
    pub(crate) fn is_early(&self) -> Refusal {
        let (start, now) = (self.now + 300, self.now);
        if self.parameter("sig").is_some() && self.parameter("sv").is_some() {
            let date = |seconds: i64| {
                httpdate::fmt_http_date(timestamp::system_time(u64::try_from(seconds).unwrap_or(0) * 1000))
            };
            let message = "Server failed to authenticate the request.";
            let detail = format!(
                "Signature not valid in the specified time frame: Start [{}] - Expiry [{}] - Current [{}]",
                date(start),
                date(start + 3600),
                date(now)
            );
            return Refusal::new(Provider::Azure, 403, "AuthenticationFailed", message)
                .detail("AuthenticationErrorDetail", detail);
        }
        let is_amazon =
            ["X-Amz-Signature", "AWSAccessKeyId"].iter().any(|name| self.parameter(name).is_some());
        let provider = if is_amazon { Provider::Amazon } else { Provider::Google };
        Refusal::new(provider, 403, "AccessDenied", "Request is not yet valid")
            .detail("X-Amz-Date", format!("{start}000"))
            .detail("Expires", timestamp::iso(start + 3600))
            .detail("ServerTime", timestamp::iso(now))
    }

    /// Checks whichever signature the query holds.
    pub(crate) fn verify(&self, keys: &Keys) -> Result<Provider, Refusal> {
        if self.parameter("X-Goog-Algorithm").is_some() || self.parameter("X-Goog-Signature").is_some() {
            self.verify_v4(keys, &GOOGLE).map(|()| Provider::Google)
        } else if self.parameter("X-Amz-Algorithm").is_some() || self.parameter("X-Amz-Signature").is_some() {
            self.verify_v4(keys, &AMAZON).map(|()| Provider::Amazon)
        } else if self.parameter("GoogleAccessId").is_some() {
            self.verify_v2(keys, Provider::Google).map(|()| Provider::Google)
        } else if self.parameter("AWSAccessKeyId").is_some() {
            self.verify_v2(keys, Provider::Amazon).map(|()| Provider::Amazon)
        } else if self.parameter("sig").is_some() && self.parameter("sv").is_some() {
            self.verify_azure(keys).map(|()| Provider::Azure)
        } else if self.parameter("token").is_some() {
            self.verify_token(keys).map(|()| Provider::Token)
        } else {
            let message =
                "Anonymous caller does not have storage.objects access to the Google Cloud Storage object.";
            Err(Refusal::new(Provider::Google, 403, "AccessDenied", "Access denied.")
                .detail("Details", message))
        }
    }

    fn verify_v4(&self, keys: &Keys, dialect: &Dialect) -> Result<(), Refusal> {
        let refuse = |status, code, message: &str| Refusal::new(dialect.provider, status, code, message);
        self.refuse_second_key(dialect.provider)?;
        let parameter = |name: &str| {
            self.parameter(&format!("{}{name}", dialect.prefix)).filter(|value| !value.is_empty()).ok_or_else(
                || {
                    refuse(400, dialect.malformed, "The query string of the signed URL lacks a parameter.")
                        .detail("ParameterName", format!("{}{name}", dialect.prefix))
                },
            )
        };
        let algorithm = parameter("Algorithm")?;
        let credential = parameter("Credential")?;
        let date = parameter("Date")?;
        let expires = parameter("Expires")?;
        let signed_headers = parameter("SignedHeaders")?;
        let presented = parameter("Signature")?;
        let malformed = |name: &str, message: &str| {
            refuse(400, dialect.malformed, message)
                .detail("ParameterName", format!("{}{name}", dialect.prefix))
        };

        if algorithm != dialect.hmac_algorithm && dialect.rsa_algorithm != Some(algorithm.as_str()) {
            return Err(malformed("Algorithm", "The algorithm is not supported."));
        }
        let scope: Vec<&str> = credential.rsplitn(5, '/').collect();
        let &[request, service, region, day, identity] = scope.as_slice() else {
            return Err(malformed("Credential", "The credential is mal-formed."));
        };
        if request != dialect.request
            || service != dialect.service
            || !date.starts_with(day)
            || day.len() != 8
        {
            return Err(malformed("Credential", "The credential's scope does not fit the request."));
        }
        let Some(signed_at) = timestamp::parse(&date).filter(|_| date.len() == 16) else {
            return Err(malformed("Date", "The date must look like 20260102T030405Z."));
        };
        let Some(lifetime) = expires.parse::<i64>().ok().filter(|seconds| (1..=LONGEST).contains(seconds))
        else {
            return Err(malformed("Expires", "The life of a signed URL lies between 1 and 604800 seconds."));
        };
        if signed_at > self.now + CLOCK_LEEWAY {
            return Err(refuse(403, "AccessDenied", "Request is not yet valid"));
        }
        let deadline = signed_at + lifetime;
        if self.expired || self.now > deadline {
            return Err(match dialect.provider {
                Provider::Amazon => refuse(403, "AccessDenied", "Request has expired")
                    .detail("X-Amz-Expires", expires)
                    .detail("Expires", timestamp::iso(deadline))
                    .detail("ServerTime", timestamp::iso(self.now)),
                _ => refuse(400, "ExpiredToken", "The provided token has expired.")
                    .detail("Details", format!("Request signature expired at: {}", timestamp::iso(deadline))),
            });
        }

        let names: Vec<&str> = signed_headers.split(';').collect();
        if !names.contains(&"host")
            || !names.is_sorted()
            || names.iter().any(|name| name.to_ascii_lowercase() != *name)
        {
            return Err(malformed("SignedHeaders", "Signed headers are lower-case, sorted, and hold host."));
        }
        let mut canonical_headers = String::new();
        for name in &names {
            let Some(value) = self.header(name) else {
                let message = "Header was included in signedheaders, but not in the request.";
                return Err(match dialect.provider {
                    Provider::Amazon => refuse(403, "SignatureDoesNotMatch", message),
                    _ => refuse(400, "MalformedSecurityHeader", "Your request has a malformed header.")
                        .detail("ParameterName", *name)
                        .detail("Details", message),
                });
            };
            let _ = writeln!(canonical_headers, "{name}:{value}");
        }
        let unsigned = self
            .headers
            .keys()
            .map(HeaderName::as_str)
            .find(|name| name.starts_with(dialect.header_prefix) && !names.contains(name));
        if let Some(unsigned) = unsigned {
            return Err(match dialect.provider {
                Provider::Amazon => refuse(
                    403,
                    "AccessDenied",
                    "There were headers present in the request which were not signed",
                )
                .detail("HeadersNotSigned", unsigned),
                _ => refuse(400, "MalformedSecurityHeader", "Your request has a malformed header.")
                    .detail("ParameterName", unsigned)
                    .detail("Details", "Header was included in the request, but not in signedheaders."),
            });
        }

        let signature_name = format!("{}Signature", dialect.prefix);
        let mut query: Vec<(&str, &str)> = self
            .raw_query()
            .into_iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case(&signature_name))
            .collect();
        query.sort_unstable();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let payload = self.header(dialect.payload_header).filter(|_| names.contains(&dialect.payload_header));
        let canonical = format!(
            "{}\n{}\n{}\n{canonical_headers}\n{signed_headers}\n{}",
            self.method,
            self.uri.path(),
            query.join("&"),
            payload.as_deref().unwrap_or("UNSIGNED-PAYLOAD")
        );
        let to_sign = format!(
            "{algorithm}\n{date}\n{day}/{region}/{service}/{request}\n{}",
            sha256_hex(canonical.as_bytes())
        );

        let mismatch = || {
            refuse(403, "SignatureDoesNotMatch", MISMATCH)
                .detail("StringToSign", to_sign.clone())
                .detail("CanonicalRequest", canonical.clone())
        };
        let presented = unhex(&presented).ok_or_else(mismatch)?;
        if dialect.rsa_algorithm == Some(algorithm.as_str()) {
            return keys.verify_rsa(identity, to_sign.as_bytes(), &presented).map_err(|()| mismatch());
        }
        let Some(secret) = keys.secret_of(identity) else {
            return Err(match dialect.provider {
                Provider::Amazon => refuse(
                    403,
                    "InvalidAccessKeyId",
                    "The AWS Access Key Id you provided does not exist in our records.",
                ),
                _ => mismatch(),
            });
        };
        let key = dialect.derive(&secret, day, region);
        hmac::verify(&key, to_sign.as_bytes(), &presented).map_err(|_| mismatch())
    }

    /// The older signatures: a few headers, a deadline and the path, none of them named in the query.
    fn verify_v2(&self, keys: &Keys, provider: Provider) -> Result<(), Refusal> {
        self.refuse_second_key(provider)?;
        let (identity_name, prefix) = match provider {
            Provider::Amazon => ("AWSAccessKeyId", "x-amz-"),
            _ => ("GoogleAccessId", "x-goog-"),
        };
        let parameter = |name: &str| {
            self.parameter(name).ok_or_else(|| {
                Refusal::new(
                    provider,
                    400,
                    "InvalidArgument",
                    "The query string of the signed URL lacks a parameter.",
                )
                .detail("ParameterName", name)
            })
        };
        let (identity, expires, presented) =
            (parameter(identity_name)?, parameter("Expires")?, parameter("Signature")?);
        let header = |name: &str| self.header(name).unwrap_or_default();
        let mut extensions: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        extensions.retain(|name| name.starts_with(prefix));
        extensions.sort_unstable();
        extensions.dedup();
        let extensions = header_lines(extensions.iter().map(|name| (*name, header(name))));
        let to_sign = format!(
            "{}\n{}\n{}\n{expires}\n{extensions}{}",
            self.method,
            header("content-md5"),
            header("content-type"),
            self.uri.path()
        );
        let mismatch = || {
            Refusal::new(provider, 403, "SignatureDoesNotMatch", MISMATCH)
                .detail("StringToSign", to_sign.clone())
        };
        let deadline: i64 = expires.parse().map_err(|_| mismatch())?;
        if self.expired || self.now > deadline {
            return Err(if provider == Provider::Amazon {
                Refusal::new(provider, 403, "AccessDenied", "Request has expired")
                    .detail("Expires", timestamp::iso(deadline))
            } else {
                Refusal::new(provider, 400, "ExpiredToken", "The provided token has expired.")
                    .detail("Details", format!("Request signature expired at: {}", timestamp::iso(deadline)))
            });
        }
        let presented = BASE64.decode(presented).map_err(|_| mismatch())?;
        if provider == Provider::Amazon {
            let secret = keys.secret_of(&identity).ok_or_else(|| {
                Refusal::new(
                    provider,
                    403,
                    "InvalidAccessKeyId",
                    "The AWS Access Key Id you provided does not exist in our records.",
                )
            })?;
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            return hmac::verify(&key, to_sign.as_bytes(), &presented).map_err(|_| mismatch());
        }
        keys.verify_rsa(&identity, to_sign.as_bytes(), &presented).map_err(|()| mismatch())
    }

    /// A signed URL and an `Authorization` header exclude each other.
    fn refuse_second_key(&self, provider: Provider) -> Result<(), Refusal> {
        if !self.headers.contains_key("authorization") {
            return Ok(());
        }
        let message = "Only one auth mechanism allowed: the query's signature or the Authorization header.";
        Err(Refusal::new(provider, 400, "InvalidArgument", message).detail("ArgumentName", "Authorization"))
    }

    fn verify_azure(&self, keys: &Keys) -> Result<(), Refusal> {
        let refuse = |detail: String| {
            let message = "Server failed to authenticate the request.";
            Refusal::new(Provider::Azure, 403, "AuthenticationFailed", message)
                .detail("AuthenticationErrorDetail", detail)
        };
        let parameter = |name: &str| self.parameter(name).unwrap_or_default();
        let Some(deadline) = timestamp::parse(&parameter("se")) else {
            return Err(refuse("se is mandatory. Cannot be empty".to_owned()));
        };
        if self.expired || self.now > deadline {
            let now = timestamp::iso(self.now);
            return Err(refuse(format!(
                "Signature not valid in the specified time frame: Expiry [{}] - Current [{now}]",
                timestamp::iso(deadline)
            )));
        }
        let path = percent_decode_str(self.uri.path()).decode_utf8_lossy();
        let to_sign = azure_string_to_sign(&path, parameter);
        let presented = BASE64.decode(parameter("sig")).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.as_bytes());
        hmac::verify(&key, to_sign.as_bytes(), &presented)
            .map_err(|_| refuse(format!("Signature did not match. String to sign used was {to_sign}")))?;
        let needed = if self.method == Method::GET { ['r', 'r'] } else { ['c', 'w'] };
        if !parameter("sp").contains(needed) {
            return Err(Refusal::new(
                Provider::Azure,
                403,
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            ));
        }
        Ok(())
    }

    fn verify_token(&self, keys: &Keys) -> Result<(), Refusal> {
        let refuse = || Refusal::new(Provider::Token, 403, "Forbidden", "The upload link is not valid.");
        let token = self.parameter("token").unwrap_or_default();
        // Earlier versions had the end beside the token, where a client could tell that it is a signature.
        let beside = self.parameter("expires").unwrap_or_default();
        let (expires, presented) = token.split_once('.').unwrap_or((&beside, &token));
        let presented = unhex(presented).ok_or_else(refuse)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.as_bytes());
        hmac::verify(&key, format!("{}\n{expires}", self.uri.path()).as_bytes(), &presented)
            .map_err(|_| refuse())?;
        if self.expired || expires.parse::<i64>().map_err(|_| refuse())? < self.now {
            return Err(Refusal::new(Provider::Token, 403, "ExpiredRequest", "The upload link has expired."));
        }
        Ok(())
    }
}

/// Where the V4 signatures of Google and Amazon differ.
struct Dialect {
    provider: Provider,
    prefix: &'static str,
    header_prefix: &'static str,
    hmac_algorithm: &'static str,
    rsa_algorithm: Option<&'static str>,
    key_prefix: &'static str,
    service: &'static str,
    request: &'static str,
    payload_header: &'static str,
    malformed: &'static str,
}

const GOOGLE: Dialect = Dialect {
    provider: Provider::Google,
    prefix: "X-Goog-",
    header_prefix: "x-goog-",
    hmac_algorithm: "GOOG4-HMAC-SHA256",
    rsa_algorithm: Some("GOOG4-RSA-SHA256"),
    key_prefix: "GOOG4",
    service: "storage",
    request: "goog4_request",
    payload_header: "x-goog-content-sha256",
    malformed: "InvalidArgument",
};

const AMAZON: Dialect = Dialect {
    provider: Provider::Amazon,
    prefix: "X-Amz-",
    header_prefix: "x-amz-",
    hmac_algorithm: "AWS4-HMAC-SHA256",
    rsa_algorithm: None,
    key_prefix: "AWS4",
    service: "s3",
    request: "aws4_request",
    payload_header: "x-amz-content-sha256",
    malformed: "AuthorizationQueryParametersError",
};

impl Dialect {
    fn derive(&self, secret: &str, day: &str, region: &str) -> hmac::Key {
        let mut key = format!("{}{secret}", self.key_prefix).into_bytes();
        for part in [day, region, self.service, self.request] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    }

    /// The query of a URL signed with the sandbox's own key.
    fn sign(&self, keys: &Keys, access_id: &str, region: &str, what: &ToSign<'_>) -> String {
        let date = timestamp::compact(what.now);
        let day = &date[..8];
        let scope = format!("{day}/{region}/{}/{}", self.service, self.request);
        let mut headers = vec![("host", what.host)];
        headers.extend_from_slice(what.headers);
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical_headers = header_lines(headers.iter().copied());
        let credential = format!("{access_id}/{scope}");
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let query = [
            ("Algorithm", self.hmac_algorithm.to_owned()),
            ("Credential", encode(&credential)),
            ("Date", date.clone()),
            ("Expires", what.lifetime.to_string()),
            ("SignedHeaders", encode(&names)),
        ]
        .map(|(name, value)| format!("{}{name}={value}", self.prefix))
        .join("&");
        let canonical = format!(
            "{}\n{}\n{query}\n{canonical_headers}\n{names}\nUNSIGNED-PAYLOAD",
            what.method, what.path
        );
        let to_sign =
            format!("{}\n{date}\n{scope}\n{}", self.hmac_algorithm, sha256_hex(canonical.as_bytes()));
        let signature = hmac::sign(&self.derive(&keys.secret, day, region), to_sign.as_bytes());
        format!("{query}&{}Signature={}", self.prefix, hex(signature.as_ref()))
    }
}

/// What the sandbox signs itself.
pub(crate) struct ToSign<'a> {
    pub(crate) method: &'a str,
    /// Encoded.
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    /// Signed beside `host`.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Seconds.
    pub(crate) lifetime: i64,
}

impl ToSign<'_> {
    /// The query of a `GOOG4-HMAC-SHA256` URL.
    pub(crate) fn google(&self, keys: &Keys) -> String {
        GOOGLE.sign(keys, GOOGLE_ACCESS_ID, "auto", self)
    }

    /// The query of an `AWS4-HMAC-SHA256` URL.
    pub(crate) fn amazon(&self, keys: &Keys) -> String {
        AMAZON.sign(keys, AMAZON_ACCESS_ID, "us-east-1", self)
    }

    /// The query of a shared access signature that may create and write.
    pub(crate) fn azure(&self, keys: &Keys) -> String {
        let expiry = timestamp::iso(self.now + self.lifetime);
        let path = percent_decode_str(self.path).decode_utf8_lossy();
        let to_sign = azure_string_to_sign(&path, |name| {
            match name {
                "sp" => "cw",
                "se" => &expiry,
                "spr" => "https,http",
                "sv" => "2022-11-02",
                "sr" => "b",
                _ => "",
            }
            .to_owned()
        });
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.as_bytes());
        let signature = BASE64.encode(hmac::sign(&key, to_sign.as_bytes()));
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        format!(
            "sp=cw&se={}&spr={}&sv=2022-11-02&sr=b&sig={}",
            encode(&expiry),
            encode("https,http"),
            encode(&signature)
        )
    }

    /// The query of an opaque link.
    pub(crate) fn token(&self, keys: &Keys) -> String {
        let expires = self.now + self.lifetime;
        let key = hmac::Key::new(hmac::HMAC_SHA256, keys.secret.as_bytes());
        let token = hmac::sign(&key, format!("{}\n{expires}", self.path).as_bytes());
        format!("token={expires}.{}", hex(token.as_ref()))
    }

    /// The form fields of a POST policy document, in order, `file` not included.
    pub(crate) fn policy(&self, keys: &Keys, bucket: &str, object: &str) -> Vec<(&'static str, String)> {
        let date = timestamp::compact(self.now);
        let day = &date[..8];
        let credential = format!("{GOOGLE_ACCESS_ID}/{day}/auto/storage/goog4_request");
        let document = serde_json::json!({
            "expiration": timestamp::iso(self.now + self.lifetime),
            "conditions": [
                {"bucket": bucket}, {"key": object}, {"x-goog-algorithm": "GOOG4-HMAC-SHA256"},
                {"x-goog-credential": credential}, {"x-goog-date": date},
            ],
        });
        let policy = BASE64.encode(document.to_string());
        let signature = hmac::sign(&GOOGLE.derive(&keys.secret, day, "auto"), policy.as_bytes());
        vec![
            ("key", object.to_owned()),
            ("x-goog-algorithm", "GOOG4-HMAC-SHA256".to_owned()),
            ("x-goog-credential", credential),
            ("x-goog-date", date),
            ("policy", policy),
            ("x-goog-signature", hex(signature.as_ref())),
        ]
    }
}

/// Checks a form's policy document: signature, expiry, and that every field is one that the policy allows.
pub(crate) fn verify_policy(
    keys: &Keys,
    fields: &[(String, String)],
    bucket: &str,
    now: i64,
    expired: bool,
) -> Result<PolicyLimits, Refusal> {
    let invalid = |details: &str| {
        Refusal::new(
            Provider::Google,
            400,
            "InvalidPolicyDocument",
            "The content of the form does not meet the conditions specified in the policy document.",
        )
        .detail("Details", details)
    };
    let field = |name: &str| {
        fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let policy = field("policy").ok_or_else(|| invalid("Missing policy"))?;
    let amazon = field("x-amz-signature").is_some();
    let (dialect, prefix) = if amazon { (&AMAZON, "x-amz-") } else { (&GOOGLE, "x-goog-") };
    let signature = field(&format!("{prefix}signature")).ok_or_else(|| invalid("Missing signature"))?;
    let credential = field(&format!("{prefix}credential")).ok_or_else(|| invalid("Missing credential"))?;
    let algorithm = field(&format!("{prefix}algorithm")).ok_or_else(|| invalid("Missing algorithm"))?;
    let mismatch = || {
        Refusal::new(dialect.provider, 403, "SignatureDoesNotMatch", MISMATCH).detail("StringToSign", policy)
    };
    let scope: Vec<&str> = credential.rsplitn(5, '/').collect();
    let &[_, _, region, day, identity] = scope.as_slice() else {
        return Err(invalid("Malformed credential"));
    };
    let presented = unhex(signature).ok_or_else(mismatch)?;
    if dialect.rsa_algorithm == Some(algorithm) {
        keys.verify_rsa(identity, policy.as_bytes(), &presented).map_err(|()| mismatch())?;
    } else {
        let secret = keys.secret_of(identity).ok_or_else(mismatch)?;
        hmac::verify(&dialect.derive(&secret, day, region), policy.as_bytes(), &presented)
            .map_err(|_| mismatch())?;
    }

    let document: serde_json::Value = BASE64
        .decode(policy)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| invalid("The policy is not JSON in Base64"))?;
    let expiration = document["expiration"]
        .as_str()
        .and_then(timestamp::parse)
        .ok_or_else(|| invalid("Missing expiration"))?;
    if expired || now > expiration {
        return Err(invalid("Policy expired."));
    }
    let mut limits = PolicyLimits::default();
    let mut allowed: Vec<(String, bool, String)> = Vec::new();
    for condition in document["conditions"].as_array().into_iter().flatten() {
        match condition {
            serde_json::Value::Object(exact) => allowed.extend(exact.iter().map(|(name, value)| {
                (name.to_ascii_lowercase(), true, value.as_str().unwrap_or_default().to_owned())
            })),
            serde_json::Value::Array(parts) => match parts.as_slice() {
                [kind, least, most] if kind == "content-length-range" => {
                    limits.sizes = least.as_u64().zip(most.as_u64());
                }
                [kind, name, value] => {
                    let name = name.as_str().unwrap_or_default().trim_start_matches('$').to_ascii_lowercase();
                    allowed.push((name, kind == "eq", value.as_str().unwrap_or_default().to_owned()));
                }
                _ => return Err(invalid("Malformed condition")),
            },
            _ => return Err(invalid("Malformed condition")),
        }
    }
    let given = fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()));
    for (name, value) in given.chain([("bucket".to_owned(), bucket)]) {
        let outside = ["policy", "x-goog-signature", "x-amz-signature", "awsaccesskeyid", "file"]
            .contains(&name.as_str())
            || name.starts_with("x-ignore-");
        let mut conditions = allowed.iter().filter(|(other, ..)| *other == name).peekable();
        if !outside && name != "bucket" && conditions.peek().is_none() {
            return Err(invalid(&format!("Policy did not reference the field: {name}")));
        }
        if !conditions.all(
            |(_, exact, wanted)| if *exact { wanted == value } else { value.starts_with(wanted.as_str()) },
        ) {
            return Err(invalid(&format!("Failed condition: {name}")));
        }
    }
    Ok(limits)
}

/// What a policy demands of the file.
#[derive(Debug, Default)]
pub(crate) struct PolicyLimits {
    /// `content-length-range`: least and most bytes.
    pub(crate) sizes: Option<(u64, u64)>,
}

/// `name:value` on a line each.
fn header_lines<'a, V: std::fmt::Display>(headers: impl Iterator<Item = (&'a str, V)>) -> String {
    headers.fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "{name}:{value}");
        lines
    })
}

/// The string that Azure's signatures cover, for a blob; `path` is decoded and starts with a slash.
fn azure_string_to_sign(path: &str, parameter: impl Fn(&str) -> String) -> String {
    let resource = format!("/blob/{AZURE_ACCOUNT}{path}");
    let before = ["sp", "st", "se"].map(&parameter).join("\n");
    let after = ["si", "sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct"]
        .map(&parameter)
        .join("\n");
    format!("{before}\n{resource}\n{after}")
}

/// A token that cannot be guessed, for things that need a name and no meaning.
pub(crate) fn request_id() -> String {
    random_hex()[..16].to_ascii_uppercase()
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
