//! What refusals mean, as data: rows of (HTTP status, code, words) → [`RefusalKind`].
//!
//! [`GENERAL`] holds what statuses mean everywhere and what the codes of the stores mean; each service has a table of its
//! own beside its calls (`services/*.rs`), which is asked first. Of the rows that fit, the most specific one decides: a
//! code says more than words, words say more than a status. Words stand in a row only where the other side gives one code
//! to two things. Each row is tested from `tests/fixtures/answers.json`.

use crate::http::answer::{Refusal, RefusalKind as Kind};

/// One row. What is left open fits everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The HTTP status, or the one that a code under a 2xx stands for; 0 = any.
    status: u16,
    /// The other side's code; a code of up to four digits is compared as a number: `0429` is 429. Empty = any.
    code: &'static str,
    /// What the message holds, in lower case. Empty = anything.
    says: &'static str,
    /// What it means.
    kind: Kind,
}

/// By status alone.
pub(crate) const fn status(status: u16, kind: Kind) -> Row {
    Row { status, code: "", says: "", kind }
}

/// By code, under whatever status.
pub(crate) const fn code(code: &'static str, kind: Kind) -> Row {
    Row { status: 0, code, says: "", kind }
}

/// By code and status, where a store uses the code for something else elsewhere.
const fn both(status: u16, code: &'static str, kind: Kind) -> Row {
    Row { status, code, says: "", kind }
}

/// By status and words, where the other side tells it in no other way.
pub(crate) const fn words(status: u16, says: &'static str, kind: Kind) -> Row {
    Row { status, code: "", says, kind }
}

/// By code and words, where one code stands for two things.
const fn told(code: &'static str, says: &'static str, kind: Kind) -> Row {
    Row { status: 0, code, says, kind }
}

impl Row {
    fn fits(&self, status: u16, code: &str, message: &str) -> bool {
        (self.status == 0 || self.status == status)
            && (self.code.is_empty() || is_code(self.code, code))
            && message.contains(self.says)
    }

    fn weight(&self) -> u8 {
        4 * u8::from(!self.code.is_empty()) + 2 * u8::from(!self.says.is_empty()) + u8::from(self.status != 0)
    }
}

/// The status or code that a short number is, whatever it is filled up with: `0429`, `429`.
pub(crate) fn short_number(code: &str) -> Option<u16> {
    let is_short = (1..=4).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    if is_short { code.parse().ok() } else { None }
}

fn is_code(known: &str, code: &str) -> bool {
    known == code || short_number(known).is_some_and(|number| short_number(code) == Some(number))
}

/// What the most specific row that fits says. `message` is compared in lower case.
pub(crate) fn look_up(rows: &[Row], status: u16, code: &str, message: &str) -> Option<Kind> {
    best(rows, status, code, message).map(|row| row.kind)
}

/// What a service's own table says, where it has a row that is as specific as the general one.
pub(crate) fn look_up_own(rows: &[Row], status: u16, code: &str, message: &str) -> Option<Kind> {
    let own = best(rows, status, code, message)?;
    let general = best(GENERAL, status, code, message).map_or(0, Row::weight);
    (own.weight() >= general).then_some(own.kind)
}

fn best<'a>(rows: &'a [Row], status: u16, code: &str, message: &str) -> Option<&'a Row> {
    // Some services send HTTP 200 and their own status as the code.
    let status = if (200..300).contains(&status) { short_number(code).unwrap_or(status) } else { status };
    let message = message.to_lowercase();
    let fitting = rows.iter().filter(|row| row.fits(status, code, &message));
    fitting.max_by_key(|row| row.weight())
}

/// The meaning of a refusal of a download, where it has another one of an upload: nothing was sent that could be there
/// already or be too large; and whoever says by 403 or 413 when to come back (RFC 9110 §10.2.3) asks for a pause.
pub(crate) fn of_download(kind: Kind, refusal: &Refusal) -> Kind {
    let names_a_time = refusal.retry_after.is_some() && matches!(refusal.http_status, 403 | 413);
    match kind {
        Kind::Other | Kind::TooLarge if names_a_time => Kind::RateLimited,
        Kind::Duplicate | Kind::TooLarge => Kind::Other,
        kind => kind,
    }
}

/// What statuses mean where nobody says otherwise, and the stores' codes.
///
/// Stores: GCS (cloud.google.com/storage/docs/xml-api/reference-status), S3 (`ErrorResponses` of its API reference), Azure
/// (Blob service error codes), R2 (developers.cloudflare.com/r2/api/error-codes), B2 (native and S3-compatible), OSS, COS,
/// OBS, TOS (each one's list of error codes), and what Ceph, `MinIO`, `Wasabi` and Google's JSON API answer.
#[rustfmt::skip]
pub(crate) const GENERAL: &[Row] = &[
    // ---- statuses ----
    status(202, Kind::NotReady),
    status(400, Kind::MalformedRequest),
    status(401, Kind::Unauthorized),
    status(402, Kind::PaymentAsked),
    status(404, Kind::NotFound),
    status(405, Kind::WrongMethod),
    status(408, Kind::ServerTrouble),
    status(409, Kind::Duplicate),
    status(410, Kind::NotFound),
    status(411, Kind::MalformedRequest),
    status(412, Kind::MalformedRequest),
    status(413, Kind::TooLarge),
    status(414, Kind::MalformedRequest),
    status(415, Kind::TypeNotTaken),
    status(416, Kind::MalformedRequest),
    status(417, Kind::MalformedRequest),
    status(421, Kind::ServerTrouble),
    status(422, Kind::MalformedRequest),
    status(423, Kind::ServerTrouble),
    status(425, Kind::NotReady),
    status(429, Kind::RateLimited),
    status(431, Kind::MalformedRequest),
    status(501, Kind::WrongMethod),
    // RFC 4918, section 11.5: it will not pass by itself.
    status(507, Kind::QuotaExceeded),
    // What is HTTP's in disguise, under any status: 401, "0401", 429, "0429".
    code("401", Kind::Unauthorized),
    code("429", Kind::RateLimited),

    // ---- a signed URL: ended, not begun, not fitting ----
    code("SignatureDoesNotMatch", Kind::SignatureMismatch),
    code("InvalidSignature", Kind::SignatureMismatch),
    code("ExpiredToken", Kind::Expired),
    code("ExpiredRequest", Kind::Expired),
    code("RequestExpired", Kind::Expired),
    code("RequestIsExpired", Kind::Expired),
    code("TokenExpired", Kind::Expired),
    code("TokenRefreshRequired", Kind::Expired),
    code("SecurityTokenExpired", Kind::Expired),
    code("expired_auth_token", Kind::Expired),
    // "No right" and "too late" are one code at S3, R2, OSS, COS and TOS; only the words tell.
    told("AccessDenied", "has expired", Kind::Expired),
    told("AccessDenied", "has been expired", Kind::Expired),
    told("AccessDenied", "policy expired", Kind::Expired),
    told("InvalidPolicyDocument", "policy expired", Kind::Expired),
    told("AccessDenied", "not yet valid", Kind::NotYetValid),
    told("AccessDenied", "not valid yet", Kind::NotYetValid),
    told("ExpiredToken", "not yet valid", Kind::NotYetValid),
    // Between the time of signing and the store's clock lies too much: a URL that is signed anew lies right.
    code("RequestTimeTooSkewed", Kind::Expired),
    told("RequestTimeTooSkewed", "not yet valid", Kind::NotYetValid),
    // Azure has one code for all three; its detail decides before this table is asked.
    code("AuthenticationFailed", Kind::Expired),

    // ---- not like this ----
    code("InvalidPolicyDocument", Kind::WrongMethod),
    code("MethodNotAllowed", Kind::WrongMethod),
    code("method_not_allowed", Kind::WrongMethod),
    code("NotImplemented", Kind::WrongMethod),
    code("UnsupportedHttpVerb", Kind::WrongMethod),
    code("MalformedSecurityHeader", Kind::MalformedRequest),
    code("InvalidArgument", Kind::MalformedRequest),
    code("UnsupportedMediaType", Kind::TypeNotTaken),

    // ---- other bytes than announced ----
    code("BadDigest", Kind::DigestRefused),
    code("XAmzContentSHA256Mismatch", Kind::DigestRefused),
    code("XAmzContentChecksumMismatch", Kind::DigestRefused),
    code("InvalidDigest", Kind::DigestRefused),
    code("Md5Mismatch", Kind::DigestRefused),
    code("Crc64Mismatch", Kind::DigestRefused),

    // ---- another region ----
    code("PermanentRedirect", Kind::WrongRegion),
    code("TemporaryRedirect", Kind::WrongRegion),
    code("AuthorizationHeaderMalformed", Kind::WrongRegion),
    code("IllegalLocationConstraintException", Kind::WrongRegion),
    code("IncorrectEndpoint", Kind::WrongRegion),
    told("AccessDenied", "must be addressed using the specified endpoint", Kind::WrongRegion),
    told("AuthorizationQueryParametersError", "region", Kind::WrongRegion),

    // ---- too large ----
    code("EntityTooLarge", Kind::TooLarge),
    code("RequestBodyTooLarge", Kind::TooLarge),
    code("MaxMessageLengthExceeded", Kind::TooLarge),
    code("RequestEntityTooLargeException", Kind::TooLarge),

    // ---- the account behind it has nothing left ----
    code("QuotaExceeded", Kind::QuotaExceeded),
    code("quotaExceeded", Kind::QuotaExceeded),
    code("storageQuotaExceeded", Kind::QuotaExceeded),
    code("InsufficientQuota", Kind::QuotaExceeded),
    code("XMinioStorageFull", Kind::QuotaExceeded),
    code("XMinioAdminBucketQuotaExceeded", Kind::QuotaExceeded),
    code("InArrearOrInsufficientBalance", Kind::QuotaExceeded),
    code("UserDisable", Kind::QuotaExceeded),
    code("cap_exceeded", Kind::QuotaExceeded),
    code("storage_cap_exceeded", Kind::QuotaExceeded),
    code("download_cap_exceeded", Kind::QuotaExceeded),
    code("transaction_cap_exceeded", Kind::QuotaExceeded),
    code("AccountProblem", Kind::QuotaExceeded),
    code("UserProjectAccountProblem", Kind::QuotaExceeded),
    told("AccessDenied", "cap exceeded", Kind::QuotaExceeded),
    told("AccessDenied", "account is overdue", Kind::QuotaExceeded),

    // ---- too much at a time ----
    code("SlowDown", Kind::RateLimited),
    code("TooManyRequests", Kind::RateLimited),
    code("too_many_requests", Kind::RateLimited),
    code("RequestLimitExceeded", Kind::RateLimited),
    code("RateLimitExceeded", Kind::RateLimited),
    code("rateLimitExceeded", Kind::RateLimited),
    code("userRateLimitExceeded", Kind::RateLimited),
    code("Throttling", Kind::RateLimited),
    code("ThrottlingException", Kind::RateLimited),
    code("RequestThrottled", Kind::RateLimited),
    code("BandwidthLimitExceeded", Kind::RateLimited),
    code("QpsLimitExceeded", Kind::RateLimited),
    code("TrafficRateLimitExceeded", Kind::RateLimited),
    code("UploadTrafficRateLimitExceeded", Kind::RateLimited),
    code("DownloadTrafficRateLimitExceeded", Kind::RateLimited),
    code("ExceedAccountQPSLimit", Kind::RateLimited),
    code("ExceedAccountRateLimit", Kind::RateLimited),
    code("ExceedBucketQPSLimit", Kind::RateLimited),
    code("ExceedBucketRateLimit", Kind::RateLimited),

    // ---- trouble that passes ----
    code("InternalError", Kind::ServerTrouble),
    code("internal_error", Kind::ServerTrouble),
    code("ServiceUnavailable", Kind::ServerTrouble),
    code("service_unavailable", Kind::ServerTrouble),
    code("RequestTimeout", Kind::ServerTrouble),
    code("request_timeout", Kind::ServerTrouble),
    code("RequestTimeOut", Kind::ServerTrouble),
    code("ServerBusy", Kind::ServerTrouble),
    code("OperationTimedOut", Kind::ServerTrouble),
    code("OperationAborted", Kind::ServerTrouble),
    code("ConditionalRequestConflict", Kind::ServerTrouble),
    code("IncompleteBody", Kind::ServerTrouble),
    code("AccountBeingCreated", Kind::ServerTrouble),

    // ---- not there ----
    code("NoSuchKey", Kind::NotFound),
    code("NoSuchVersion", Kind::NotFound),
    code("NoSuchBucket", Kind::NotFound),
    code("NoSuchUpload", Kind::NotFound),
    code("NoSuchFile", Kind::NotFound),
    code("no_such_file", Kind::NotFound),
    code("file_not_present", Kind::NotFound),
    code("BlobNotFound", Kind::NotFound),
    code("ContainerNotFound", Kind::NotFound),
    code("ResourceNotFound", Kind::NotFound),

    // ---- there, and not to be had ----
    code("InvalidObjectState", Kind::Archived),
    code("BlobArchived", Kind::Archived),
    code("RestoreAlreadyInProgress", Kind::Archived),
    both(403, "AccountIsDisabled", Kind::Disabled),
    both(403, "AllAccessDisabled", Kind::Disabled),
    both(403, "AuthorizationSourceIPMismatch", Kind::Disabled),

    // ---- there already ----
    code("BlobAlreadyExists", Kind::Duplicate),
    code("UnauthorizedBlobOverwrite", Kind::Duplicate),
    code("FileAlreadyExists", Kind::Duplicate),
    code("ObjectAlreadyExists", Kind::Duplicate),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_are_for_the_same() {
        let tables = crate::services::REGISTRY.iter();
        for rows in tables.map(|about| about.refusals).chain([GENERAL]) {
            for (at, row) in rows.iter().enumerate() {
                let same = |other: &Row| {
                    row.status == other.status && row.says == other.says && is_code(row.code, other.code)
                };
                assert!(!rows[at + 1..].iter().any(same), "{row:?}");
                assert_eq!(row.says, row.says.to_lowercase(), "words are compared in lower case");
            }
        }
    }

    #[test]
    fn a_code_says_more_than_words_and_words_say_more_than_a_status() {
        let rows = [
            status(400, Kind::MalformedRequest),
            words(400, "gone", Kind::NotFound),
            code("7", Kind::RateLimited),
            told("7", "gone", Kind::Expired),
        ];
        let kind = |status, code, message| look_up(&rows, status, code, message);
        assert_eq!(kind(400, "400", "no"), Some(Kind::MalformedRequest));
        assert_eq!(kind(400, "400", "It is GONE."), Some(Kind::NotFound));
        assert_eq!(kind(400, "0007", "no"), Some(Kind::RateLimited));
        assert_eq!(kind(400, "0007", "gone"), Some(Kind::Expired));
        assert_eq!(kind(200, "400", "no"), Some(Kind::MalformedRequest), "a code under 200 is the status");
        assert_eq!(kind(200, "200", "no"), None);
        assert_eq!(kind(500, "400", "no"), None);
        assert_eq!(kind(500, "00007", "no"), None, "five digits are a name, not a number");
    }
}
