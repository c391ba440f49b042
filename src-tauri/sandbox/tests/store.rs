//! The kinds of signed URL that the sandbox hands out itself, and what the store refuses.

mod running;

use ferry_sandbox::{Fault, FaultKind, SignedUrls};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder, StatusCode};
use running::{Running, bytes, crc32c_base64, header, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn with(kind: SignedUrls) -> Running {
    let running = start().await;
    running.sandbox.set_signed_urls(kind);
    running
}

async fn stored(running: &Running, asset_id: &str) -> Vec<u8> {
    let answer = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap().to_vec()
}

async fn refusal(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn file_form(content: &[u8]) -> Form {
    Form::new().part("file", Part::bytes(content.to_vec()).file_name("a.bin"))
}

#[tokio::test]
async fn google_takes_a_raw_put() {
    let running = with(SignedUrls::GooglePut).await;
    let content = bytes(1_000_000);
    let (asset_id, url, _) = running.sign("a b+c.bin").await;
    let put = running.http.put(&url).body(content.clone()).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    assert!(header(&put, "x-goog-hash").contains(&crc32c_base64(&content)));
    assert_eq!(stored(&running, &asset_id).await, content);
}

#[tokio::test]
async fn google_refuses_a_form_but_stores_an_envelope_that_is_put() {
    let running = with(SignedUrls::GooglePut).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    let (status, body) = refusal(running.http.post(&url).multipart(file_form(b"abc"))).await;
    assert_eq!(status, 400);
    assert!(body.contains("<Code>InvalidPolicyDocument</Code>") && body.contains("Missing policy"), "{body}");

    let put = running.http.put(&url).multipart(file_form(b"abc")).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let envelope = stored(&running, &asset_id).await;
    assert!(envelope.starts_with(b"--") && envelope.len() > 100, "stored as it is, without a word");
}

#[tokio::test]
async fn google_wants_a_length() {
    let running = with(SignedUrls::GooglePut).await;
    let (_, url, _) = running.sign("a.bin").await;
    let chunked = Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("abc")]));
    let (status, body) = refusal(running.http.put(&url).body(chunked)).await;
    assert_eq!((status, body.contains("MissingContentLength")), (411, true));
}

#[tokio::test]
async fn google_compares_the_checksum_that_the_client_sends() {
    let running = with(SignedUrls::GooglePut).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    let (status, body) =
        refusal(running.http.put(&url).header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==").body("abc")).await;
    assert_eq!((status, body.contains("BadDigest")), (400, true));
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "WAITING");
}

#[tokio::test]
async fn amazon_takes_a_put_with_a_length_only() {
    let running = with(SignedUrls::AmazonPut).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    let chunked = Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("abc")]));
    let (status, body) = refusal(running.http.put(&url).body(chunked)).await;
    assert_eq!((status, body.contains("<Code>NotImplemented</Code>")), (501, true));
    let put = running.http.put(&url).body("abc").send().await.unwrap();
    assert_eq!(header(&put, "etag"), "\"900150983cd24fb0d6963f7d28e17f72\"");
    assert_eq!(header(&put, "x-goog-hash"), "");
    assert_eq!(stored(&running, &asset_id).await, b"abc");
}

#[tokio::test]
async fn azure_wants_to_know_the_type_of_blob() {
    let running = with(SignedUrls::AzurePut).await;
    let (asset_id, url, _) = running.sign("ä b.bin").await;
    let (status, body) = refusal(running.http.put(&url).body("abc")).await;
    assert_eq!((status, body.contains("MissingRequiredHeader")), (400, true));
    let put = running.http.put(&url).header("x-ms-blob-type", "BlockBlob").body("abc").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::CREATED);
    assert_eq!(header(&put, "content-md5"), "kAFQmDzST7DWlj99KOF/cg==");
    assert_eq!(stored(&running, &asset_id).await, b"abc");
    let tampered = url.replace("ferry-sandbox", "ferry-other");
    let (status, body) =
        refusal(running.http.put(&tampered).header("x-ms-blob-type", "BlockBlob").body("abc")).await;
    assert_eq!((status, body.contains("AuthenticationFailed")), (403, true));
}

#[tokio::test]
async fn an_opaque_link_takes_a_form_only() {
    let running = with(SignedUrls::Form).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    let content = bytes(3_000_000);
    assert_eq!(refusal(running.http.put(&url).body("abc")).await.0, 405);
    let wrong_name = Form::new().part("data", Part::bytes(&b"abc"[..]).file_name("a.bin"));
    assert_eq!(refusal(running.http.post(&url).multipart(wrong_name)).await.0, 400);
    assert_eq!(
        refusal(running.http.post(url.replace("token=", "token=0")).multipart(file_form(b"abc"))).await.0,
        403
    );
    let post = running.http.post(&url).multipart(file_form(&content)).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::OK);
    assert_eq!(stored(&running, &asset_id).await, content);
}

#[tokio::test]
async fn a_policy_form_needs_its_fields() {
    let running = with(SignedUrls::PolicyForm).await;
    let (asset_id, url, data) = running.sign("a b.bin").await;
    let (status, body) = refusal(running.http.post(&url).multipart(file_form(b"abc"))).await;
    assert_eq!((status, body.contains("InvalidPolicyDocument")), (400, true));
    let form =
        data["fields"].as_object().unwrap().iter().fold(Form::new(), |form, (name, value)| {
            form.text(name.clone(), value.as_str().unwrap().to_owned())
        });
    let form = form.part("file", Part::bytes(&b"abc"[..]).file_name("a.bin"));
    assert_eq!(
        running.http.post(&url).multipart(form).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(stored(&running, &asset_id).await, b"abc");
}

#[tokio::test]
async fn a_session_may_come_ready_made() {
    let running = with(SignedUrls::Session).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    assert!(url.contains("upload_id="));
    assert_eq!(running.chunk(&url, "bytes 0-2/3", b"abc").await.0, 200);
    assert_eq!(stored(&running, &asset_id).await, b"abc");
}

#[tokio::test]
async fn urls_expire_when_they_are_told_to() {
    for (kind, status, code) in [
        (SignedUrls::GooglePut, 400, "ExpiredToken"),
        (SignedUrls::AmazonPut, 403, "Request has expired"),
        (SignedUrls::AzurePut, 403, "AuthenticationFailed"),
        (SignedUrls::Form, 403, "ExpiredRequest"),
    ] {
        let running = with(kind).await;
        let (_, url, _) = running.sign("a.bin").await;
        running.sandbox.faults().add(Fault::new(FaultKind::ExpiredUrls).once());
        let request = match kind {
            SignedUrls::Form => running.http.post(&url).multipart(file_form(b"abc")),
            _ => running.http.put(&url).header("content-type", "text/plain").body("abc"),
        };
        let (got, body) = refusal(request).await;
        assert_eq!((got, body.contains(code)), (status, true), "{kind:?} {body}");
    }
    let running = with(SignedUrls::GooglePut).await;
    running.sandbox.faults().add(FaultKind::UrlLifetime { seconds: 1 });
    let (_, url, data) = running.sign("a.bin").await;
    assert_eq!(data["expires_in"], 1);
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(refusal(running.http.put(&url).body("abc")).await.0, 400);
}

#[tokio::test]
async fn nothing_is_open_to_everybody() {
    let running = with(SignedUrls::GooglePut).await;
    let (_, url, _) = running.sign("a.bin").await;
    let bare = url.split_once('?').unwrap().0;
    assert_eq!(refusal(running.http.put(bare).body("abc")).await.0, 403);
    assert_eq!(refusal(running.http.get(bare)).await.0, 403);
}

/// Sends the head of a PUT, reads the answer, and only then tries to send the rest.
#[tokio::test]
async fn a_refusal_comes_before_the_body_has_been_sent() {
    let running = with(SignedUrls::GooglePut).await;
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let head =
        format!("PUT /store/b/o HTTP/1.1\r\nHost: {}\r\nContent-Length: 50000000\r\n\r\n", running.address());
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than any buffer between holds: it must neither block nor reset the connection before the answer is
    // read.
    stream.write_all(&vec![0; 8 << 20]).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 403");
}

#[tokio::test]
async fn hashes_in_the_answer_can_be_spoilt() {
    let running = with(SignedUrls::GooglePut).await;
    for (fault, expected) in [
        (FaultKind::WrongHash, "crc32c=3q2+7w==,md5=3q2+796tvu/erb7v3q2+7w=="),
        (FaultKind::MalformedHash, "crc32c=!!!,md5"),
        (FaultKind::NoHash, ""),
    ] {
        running.sandbox.faults().add(Fault::new(fault).once());
        let (_, url, _) = running.sign("a.bin").await;
        let put = running.http.put(&url).body("abc").send().await.unwrap();
        assert_eq!(header(&put, "x-goog-hash"), expected);
    }
    running.sandbox.set_signed_urls(SignedUrls::AmazonPut);
    running.sandbox.faults().add(Fault::new(FaultKind::WrongHash).once());
    let (_, url, _) = running.sign("a.bin").await;
    let put = running.http.put(&url).body("abc").send().await.unwrap();
    assert_eq!(header(&put, "etag"), "\"deadbeefdeadbeefdeadbeefdeadbeef\"");
}

#[tokio::test]
async fn uploads_can_be_cut_and_stalled() {
    let running = with(SignedUrls::GooglePut).await;
    let (asset_id, url, _) = running.sign("a.bin").await;
    running.sandbox.faults().add(Fault::new(FaultKind::CutUpload { after: 300_000 }).once());
    assert!(running.http.put(&url).body(bytes(5_000_000)).send().await.is_err());
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "WAITING");
    running.sandbox.faults().add(Fault::new(FaultKind::StallUpload { after: 300_000 }).once());
    let stalled = running
        .http
        .put(&url)
        .body(bytes(50_000_000))
        .timeout(std::time::Duration::from_millis(500))
        .send()
        .await;
    assert!(stalled.unwrap_err().is_timeout());
    assert_eq!(running.http.put(&url).body("abc").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn metadata_can_lie() {
    let running = start().await;
    let asset_id = running.upload("a.bin", b"abc").await;
    running.sandbox.faults().add(Fault::new(FaultKind::MetadataSize { by: 200 }).once());
    assert_eq!(running.metadata(&asset_id).await["file_size"], "203");
    running.sandbox.faults().add(Fault::new(FaultKind::MetadataStatus { status: "FAILED".into() }).once());
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "FAILED");
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "SUCCESS");
}
