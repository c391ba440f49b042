//! How content becomes the answer to a GET: validators, ranges and hashes as the service at hand sends them,
//! and the faults that are switched on.

use axum::Json;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::Call;
use crate::content::{Content, goog_hash, gzipped, paced};
use crate::faults::{FaultKind, HeaderBytes, Moment};
use crate::ranges::{Wanted, wanted};
use crate::timestamp;
use crate::wire::Misbehaviour;

/// Whose habits to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habits {
    /// RFC 9110, with Google's hashes.
    Standard,
    /// Starlette's `FileResponse`: no hashes, 400 for a malformed `Range`.
    Starlette,
    /// Visual Search: no length, no ranges, no validators, no name.
    Stream,
}

/// What Python's `urllib.parse.quote` leaves alone, which is what Starlette quotes names with.
const QUOTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// `Content-Disposition` as Starlette builds it: either `filename` or `filename*`, never both.
pub(crate) fn disposition(name: &str) -> String {
    let quoted = utf8_percent_encode(name, QUOTE).to_string();
    if quoted == name {
        format!("attachment; filename=\"{name}\"")
    } else {
        format!("attachment; filename*=utf-8''{quoted}")
    }
}

/// Answers a GET with the content, or with what the switched-on faults make of it.
pub(crate) fn serve(call: &Call, headers: &HeaderMap, mut content: Content, habits: Habits) -> Response {
    let ranged = headers.contains_key(RANGE) && habits != Habits::Stream;
    let mut faults = call.claim(Moment::Download);
    faults.extend(call.claim(if ranged { Moment::RangedDownload } else { Moment::WholeDownload }));

    if let Some(mirror) = call.mirror {
        content.etag = format!("\"m{mirror}-{}\"", content.etag.trim_matches('"'));
    }
    let mut headers = headers.clone();
    for fault in &faults {
        match fault {
            FaultKind::RangeAnswer { status, retry_after, body, content_type } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = (status, body.clone().unwrap_or_default()).into_response();
                if let Some(content_type) = content_type {
                    set(response.headers_mut(), CONTENT_TYPE, content_type);
                }
                if let Some(wait) = retry_after {
                    set(response.headers_mut(), RETRY_AFTER, wait);
                }
                return response;
            }
            FaultKind::IfRangeIgnored { revision } => {
                headers.remove(IF_RANGE);
                if *revision > 0 {
                    content = content.changed(*revision);
                }
            }
            FaultKind::Alternating { revision } if call.faults.is_other_version() => {
                content = content.changed(*revision);
            }
            FaultKind::JsonError { code, msg } => {
                return Json(
                    json!({"code": code, "msg": msg, "data": null, "success": false, "failed": true}),
                )
                .into_response();
            }
            FaultKind::LoginPage => {
                let page = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head><body></body></html>";
                return ([(CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
            }
            FaultKind::Changed { revision } => content = content.changed(*revision),
            _ => {}
        }
    }

    let last_modified = httpdate::fmt_http_date(timestamp::system_time(content.modified));
    let wanted = if ranged && !faults.contains(&FaultKind::IgnoreRange) {
        wanted(&headers, content.size, Some(&content.etag), Some(&last_modified))
    } else {
        Wanted::Whole
    };

    let mut answer = HeaderMap::new();
    set(&mut answer, CONTENT_TYPE, &content.media_type);
    if habits != Habits::Stream {
        set(&mut answer, ACCEPT_RANGES, "bytes");
        set(&mut answer, ETAG, &content.etag);
        set(&mut answer, LAST_MODIFIED, &last_modified);
        if let Some(name) = &content.file_name {
            set(&mut answer, CONTENT_DISPOSITION, &disposition(name));
        }
    }
    if habits == Habits::Standard
        && let Some(hash) = goog_hash(content.crc32c, content.md5)
    {
        set(&mut answer, HeaderName::from_static("x-goog-hash"), &hash);
    }

    let size = content.size;
    let forced = faults.iter().find_map(|fault| match fault {
        FaultKind::RangeRefused { content_range } => {
            Some(content_range.as_deref().map(|text| text.replace("{size}", &size.to_string())))
        }
        _ => None,
    });
    if let Some(spelling) =
        forced.or_else(|| (wanted == Wanted::Unsatisfiable).then(|| Some(format!("bytes */{size}"))))
    {
        let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        if let Some(spelling) = spelling {
            set(response.headers_mut(), CONTENT_RANGE, &spelling);
        }
        return response;
    }
    if wanted == Wanted::Malformed && habits == Habits::Starlette {
        return (StatusCode::BAD_REQUEST, "Malformed range header.").into_response();
    }

    let (status, mut start, mut end) = match wanted {
        Wanted::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        _ if faults.contains(&FaultKind::UnaskedRange) => (StatusCode::PARTIAL_CONTENT, 0, size),
        _ => (StatusCode::OK, 0, size),
    };
    if faults.contains(&FaultKind::EmptyBody) {
        (start, end) = (0, 0);
    }
    let mut total = size;
    for fault in &faults {
        match *fault {
            FaultKind::WrongRangeStart { by } => {
                start = start.saturating_add_signed(by).min(end.saturating_sub(1));
            }
            FaultKind::ShortRanges { most } => end = end.min(start.saturating_add(most.max(1))),
            FaultKind::WrongRangeTotal { by } => total = total.saturating_add_signed(by),
            _ => {}
        }
    }
    let mut body = content.body(start, end);
    let mut length = Some(end - start);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
        if faults.contains(&FaultKind::MultipartRanges) {
            let boundary = "3d6b6a416f9b5";
            let head = format!(
                "--{boundary}\r\nContent-Type: {}\r\nContent-Range: {range}\r\n\r\n",
                content.media_type
            );
            let tail = format!("\r\n--{boundary}--\r\n");
            length = length.map(|length| length + (head.len() + tail.len()) as u64);
            body = joined(head, body, tail);
            set(&mut answer, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
        } else {
            set(&mut answer, CONTENT_RANGE, &range);
        }
    }

    let mut misbehaviour = Misbehaviour::default();
    let mut by_hand = false;
    for fault in faults {
        match fault {
            FaultKind::WeakEtag => set(&mut answer, ETAG, &format!("W/{}", content.etag)),
            FaultKind::IfRangeIgnored { .. } => {
                answer.remove(ETAG);
                answer.remove(LAST_MODIFIED);
                answer.remove("x-goog-hash");
            }
            FaultKind::SurplusBytes { by } => {
                body = joined(String::new(), body, "+".repeat(by));
                length = length.map(|length| length + by as u64);
            }
            FaultKind::TwoFramings { length: told } => {
                length = None;
                misbehaviour.headers.push(("content-length".to_owned(), HeaderBytes::Text(told.to_string())));
            }
            FaultKind::NoValidators => {
                answer.remove(ETAG);
                answer.remove(LAST_MODIFIED);
            }
            FaultKind::WrongHash | FaultKind::MalformedHash | FaultKind::NoHash => {
                spoil_hashes(&mut answer, &fault);
            }
            FaultKind::Gzip { broken } => {
                body = gzipped(body, broken);
                length = None;
                set(&mut answer, CONTENT_ENCODING, "gzip");
                // The hash would be that of the plain bytes, which is not what goes over the wire.
                answer.remove("x-goog-hash");
            }
            FaultKind::Slow { bytes_per_second } => {
                body = Body::from_stream(paced(body.into_data_stream(), bytes_per_second));
            }
            FaultKind::NoLength => length = None,
            FaultKind::Cut { after } => misbehaviour.cut_after = Some(after),
            FaultKind::Stall { after } => misbehaviour.stall_after = Some(after),
            FaultKind::LongerLength { by } => {
                misbehaviour.length_error = i64::try_from(by).unwrap_or(i64::MAX);
            }
            FaultKind::ShorterLength { by } => {
                misbehaviour.length_error = -i64::try_from(by).unwrap_or(i64::MAX);
            }
            FaultKind::CloseDelimited => misbehaviour.close_delimited = true,
            FaultKind::Headers { headers } => misbehaviour.headers.extend(headers),
            _ => continue,
        }
        by_hand |= misbehaviour.cut_after.is_some()
            || misbehaviour.stall_after.is_some()
            || misbehaviour.length_error != 0
            || misbehaviour.close_delimited
            || !misbehaviour.headers.is_empty();
    }
    if habits == Habits::Stream && misbehaviour.length_error == 0 {
        length = None;
    }
    match length {
        Some(length) => set(&mut answer, CONTENT_LENGTH, &length.to_string()),
        // A body of known size would be given a length by hyper.
        None => body = Body::from_stream(body.into_data_stream()),
    }
    let mut response = (status, answer, body).into_response();
    if by_hand {
        response.extensions_mut().insert(misbehaviour);
    }
    response
}

/// Makes the hashes in an answer wrong, unreadable or absent.
pub(crate) fn spoil_hashes(headers: &mut HeaderMap, fault: &FaultKind) {
    let spoil = |name: HeaderName, wrong: &str, headers: &mut HeaderMap| {
        if headers.contains_key(&name) {
            match fault {
                FaultKind::WrongHash => set(headers, name, wrong),
                FaultKind::MalformedHash => set(headers, name, "crc32c=!!!,md5"),
                FaultKind::NoHash => drop(headers.remove(name)),
                _ => {}
            }
        }
    };
    // The hashes of the empty string's neighbour: valid, and never those of a file that a test sends.
    spoil(HeaderName::from_static("x-goog-hash"), "crc32c=3q2+7w==,md5=3q2+796tvu/erb7v3q2+7w==", headers);
    spoil(HeaderName::from_static("content-md5"), "3q2+796tvu/erb7v3q2+7w==", headers);
    if *fault == FaultKind::NoHash {
        headers.remove("x-goog-stored-content-length");
    }
    if headers.contains_key("x-amz-request-id") {
        spoil(ETAG, "\"deadbeefdeadbeefdeadbeefdeadbeef\"", headers);
    }
}

/// Sets a header; values are built here and hold no forbidden bytes.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

fn joined(head: String, body: Body, tail: String) -> Body {
    use futures_util::{StreamExt, stream};
    let once = |text: String| stream::iter([Ok::<_, axum::Error>(bytes::Bytes::from(text))]);
    Body::from_stream(once(head).chain(body.into_data_stream()).chain(once(tail)))
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn names_are_sent_as_starlette_sends_them() {
        assert_eq!(disposition("video.mp4"), "attachment; filename=\"video.mp4\"");
        assert_eq!(disposition("../../etc/passwd"), "attachment; filename=\"../../etc/passwd\"");
        assert_eq!(disposition("my video.mp4"), "attachment; filename*=utf-8''my%20video.mp4");
        assert_eq!(disposition("vídeo.mp4"), "attachment; filename*=utf-8''v%C3%ADdeo.mp4");
    }
}
