//! One request with the whole file: a plain PUT, a plain POST, a form. A retry starts at the first byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method as Verb, RequestBuilder, Response, StatusCode};

use crate::error::{Error, Result};
use crate::foreign::Foreign;
use crate::http::answer::LONGEST_LABEL;
use crate::http::checksum::Algorithm;
use crate::http::from_reqwest;
use crate::http::reach::Destination;
use crate::upload::acknowledged::{Doubt, Refused, Taken, accept};
use crate::upload::body::Flow;
use crate::upload::signed_url::Method;
use crate::upload::{Kept, Sending, blocking, multipart};
use crate::words::Phrase;

/// Sends the file by one request and reads what the store says to it.
pub(super) async fn send(sending: &Sending<'_>, method: Method, kept: &mut Kept) -> Result<Taken, Refused> {
    let Sending { run, target, source, name, .. } = *sending;
    if run.counter.get() > 0 {
        run.note(Phrase::SentFromBeginning);
    }
    run.counter.set(0);
    let Destination { url, reach } = kept.elsewhere.clone().map_or_else(|| sending.destination(), Ok)?;
    let headers = signed_values(sending).await?;
    let content_type = sending.content_type(kept);
    let flow = Flow::new(run, 0);
    let body = flow.body(run, source, 0, source.size());
    let http = &run.queue().http;
    let request = match method {
        Method::Post | Method::PostForm => {
            let content_type = content_type.as_deref().unwrap_or("application/octet-stream");
            let form = multipart::form(&target.form, body, source.size(), name, content_type)?;
            http.request(Verb::POST, url.clone()).multipart(form)
        }
        _ => {
            let verb = if method == Method::PostRaw { Verb::POST } else { Verb::PUT };
            let mut request =
                http.request(verb, url.clone()).header(CONTENT_LENGTH, source.size()).body(body);
            if target.url.wants_range() && source.size() > 0 {
                let (last, size) = (source.size() - 1, source.size());
                request = request.header(CONTENT_RANGE, format!("bytes 0-{last}/{size}"));
            }
            if method == Method::AzurePut {
                request = request.header("x-ms-blob-type", "BlockBlob");
            }
            match content_type {
                Some(content_type) => request.header(CONTENT_TYPE, content_type),
                None => request,
            }
        }
    };
    let (client, request) = request.headers(headers).headers(sending.headers_for(&url)).build_split();
    let request = request.map_err(|error| from_reqwest(&error))?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let request = RequestBuilder::from_parts(client, request);
    let answer = flow.send(run, request, reach).await.inspect_err(|_| kept.sent_all |= flow.all_sent())?;
    let all_sent = flow.all_sent();
    if leads_on(&target.form, method) && answer.status() == StatusCode::SEE_OTHER && all_sent {
        return Ok(Taken {
            headers: answer.headers().clone(),
            body: Vec::new(),
            form_size: None,
            doubt: None,
            of_chunk: false,
        });
    }
    if all_sent && let Some(page) = page_after(&answer) {
        let headers = answer.headers().clone();
        let doubt = if asks_to_sign_in(&page) { Doubt::SignIn(page) } else { Doubt::LeadsOn(page) };
        return Ok(Taken { headers, body: Vec::new(), form_size: None, doubt: Some(doubt), of_chunk: false });
    }
    let form_size = length.filter(|_| method == Method::Post);
    let taken = accept(run, answer, all_sent).await.inspect_err(|refused| {
        // An answer that broke off is one that got lost.
        kept.sent_all |= all_sent && matches!(refused, Refused::Fault(_));
    })?;
    Ok(Taken { form_size, ..taken })
}

/// Whether the store was asked, by a field of the form, to lead a browser on when it has the file.
fn leads_on(form: &[(String, String)], method: Method) -> bool {
    let asks = |name: &str| matches!(name, "success_action_redirect" | "redirect");
    method == Method::PostForm && form.iter().any(|(name, _)| asks(&name.to_ascii_lowercase()))
}

/// The path of the page that a website leads to after it took a form, or a file (RFC 9110, section 15.4.4), if that is what
/// the answer does: one at the same place, by a status that asks for it by GET. What is led elsewhere was not taken.
fn page_after(answer: &Response) -> Option<Foreign> {
    if !matches!(answer.status(), StatusCode::FOUND | StatusCode::SEE_OTHER) {
        return None;
    }
    let place = std::str::from_utf8(answer.headers().get(LOCATION)?.as_bytes()).ok()?;
    let place = answer.url().join(place).ok()?;
    (place.origin() == answer.url().origin()).then(|| Foreign::limited(place.path(), LONGEST_LABEL))
}

/// Whether a page is one to sign in at: then nothing was taken.
fn asks_to_sign_in(path: &str) -> bool {
    let parts = path.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    parts.into_iter().any(|part| matches!(&*part, "login" | "signin" | "logon" | "sso" | "auth" | "oauth2"))
        || path.contains("sign_in")
        || path.contains("sign-in")
}

/// Headers that the signature covers and whose values are known: by the query, by the protocol, or by the file.
async fn signed_values(sending: &Sending<'_>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for name in sending.target.url.signed_headers() {
        let value = match digest_of(&name) {
            _ if matches!(name.as_str(), "host" | "content-type" | "content-length") => continue,
            _ if sending.headers.contains_key(&name) => continue,
            _ if name == "x-amz-content-sha256" => "UNSIGNED-PAYLOAD".to_owned(),
            None => match sending.target.url.header_in_query(&name) {
                Some(value) => value,
                None => continue,
            },
            Some(algorithm) => {
                let source = sending.source.clone();
                let digests = sending.run.or_stop(blocking(move || source.digests(&[algorithm]))).await???;
                BASE64.encode(digests.value(algorithm).unwrap_or_default())
            }
        };
        let unusable = || Error::internal("A signed header could not be written");
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        headers.insert(header, HeaderValue::from_str(&value).map_err(|_| unusable())?);
    }
    Ok(headers)
}

/// The digest of the file that is this header's value.
pub(super) fn digest_of(header: &str) -> Option<Algorithm> {
    Some(match header {
        "content-md5" => Algorithm::Md5,
        "x-amz-checksum-crc32" => Algorithm::Crc32,
        "x-amz-checksum-crc32c" => Algorithm::Crc32c,
        "x-amz-checksum-crc64nvme" => Algorithm::Crc64Nvme,
        "x-amz-checksum-sha1" => Algorithm::Sha1,
        "x-amz-checksum-sha256" => Algorithm::Sha256,
        _ => return None,
    })
}
