//! URLs that Google's and Amazon's own client libraries signed are accepted, and refused once any part of
//! them is changed.

mod running;

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use reqwest::{Method, RequestBuilder, StatusCode};
use running::{Running, header, start};
use serde_json::Value;

const BUCKET: &str = "a-bucket";
const OBJECT: &str = "folder/a b+ü%~.bin";

/// Signs with the libraries and has the sandbox trust their keys.
async fn signed() -> (Running, Value) {
    let running = start().await;
    let python = std::env::var_os("FERRY_TEST_PYTHON").expect(
        "FERRY_TEST_PYTHON names a Python that has the client libraries of Google and Amazon; `cargo xtask test` sets one up and runs this",
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/sign_urls.py");
    let output =
        Command::new(python).arg(script).args([&running.sandbox.origin(), BUCKET, OBJECT]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let urls: Value = serde_json::from_slice(&output.stdout).unwrap();
    let der =
        base64::engine::general_purpose::STANDARD.decode(text(&urls["google"]["public_key_der"])).unwrap();
    running.sandbox.trust_google_key(text(&urls["google"]["client_email"]), &der).unwrap();
    running.sandbox.trust_hmac_key(text(&urls["amazon"]["access_id"]), text(&urls["amazon"]["secret"]));
    (running, urls)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Status and the `<Code>` of an error.
async fn outcome(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or("", |(code, _)| code);
    (status, code.to_owned())
}

fn expect(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The URL with a query parameter changed.
fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let (path, query) = url.split_once('?').unwrap();
    let changed: Vec<String> =
        query
            .split('&')
            .map(|part| {
                if part.starts_with(&format!("{name}=")) {
                    format!("{name}={value}")
                } else {
                    part.to_owned()
                }
            })
            .collect();
    let changed = format!("{path}?{}", changed.join("&"));
    assert_ne!(changed, url, "{name} is not in the URL");
    changed
}

/// The URL with the last digit of its signature changed.
fn with_other_signature(url: &str, name: &str) -> String {
    let (_, rest) = url.split_once(&format!("{name}=")).unwrap();
    let signature = rest.split_once('&').map_or(rest, |(signature, _)| signature);
    let (kept, last) = signature.split_at(signature.len() - 1);
    with_parameter(url, name, &format!("{kept}{}", if last == "0" { "1" } else { "0" }))
}

#[tokio::test]
async fn urls_of_the_client_libraries_are_accepted() {
    let (running, urls) = signed().await;
    for cloud in ["google", "amazon"] {
        let urls = &urls[cloud];
        let put = running.http.put(text(&urls["put"])).body(format!("from {cloud}")).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK, "{cloud}");
        if cloud == "google" {
            assert!(header(&put, "x-goog-hash").starts_with("crc32c="));
        } else {
            assert_eq!(header(&put, "etag").len(), 34, "a quoted MD5");
        }
        let get = running.http.get(text(&urls["get"])).header("Range", "bytes=5-").send().await.unwrap();
        assert_eq!(get.status(), StatusCode::PARTIAL_CONTENT, "{cloud}");
        assert_eq!(get.text().await.unwrap(), cloud);
        let typed = running.http.put(text(&urls["put_typed"])).header("Content-Type", "video/mp4").body("x");
        assert_eq!(typed.send().await.unwrap().status(), StatusCode::OK, "{cloud}");
        let v2 = running.http.put(text(&urls["put_v2"])).body("x").send().await.unwrap();
        assert_eq!(v2.status(), StatusCode::OK, "{cloud}");
    }
    let google = &urls["google"];
    let session = running.begin(text(&google["resumable"])).await;
    assert_eq!(running.chunk(&session, "bytes 0-2/3", b"abc").await.0, 200);
    let named = running.http.get(text(&google["get_named"])).send().await.unwrap();
    assert_eq!(header(&named, "content-disposition"), "attachment; filename=\"other name.bin\"");
    assert_eq!(named.text().await.unwrap(), "abc");
    let extended = running
        .http
        .put(text(&google["put_with_headers"]))
        .header("x-goog-meta-note", "two words")
        .header("Content-Type", "text/plain")
        .body("x");
    assert_eq!(extended.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn keys_are_trusted_until_the_sandbox_ends() {
    let (running, urls) = signed().await;
    let put = |http: &reqwest::Client, cloud: &str| http.put(text(&urls[cloud]["put"])).body("x").send();
    for cloud in ["google", "amazon"] {
        assert_eq!(put(&running.http, cloud).await.unwrap().status(), StatusCode::OK, "{cloud}");
    }
    // On disk they could be planted.
    let running = running.restart().await;
    for cloud in ["google", "amazon"] {
        assert_eq!(put(&running.http, cloud).await.unwrap().status(), StatusCode::FORBIDDEN, "{cloud}");
    }
}

#[tokio::test]
async fn a_change_to_any_part_of_a_google_url_is_refused() {
    let (running, urls) = signed().await;
    let (http, google) = (&running.http, &urls["google"]);
    let put = text(&google["put"]);
    let mismatch = expect(403, "SignatureDoesNotMatch");
    assert_eq!(outcome(http.get(put)).await, mismatch, "the method");
    assert_eq!(outcome(http.request(Method::DELETE, put)).await, mismatch, "the method");
    assert_eq!(outcome(http.put(put.replace(".bin?", ".bim?")).body("x")).await, mismatch, "the path");
    assert_eq!(
        outcome(http.put(put.replace("%2B", "+")).body("x")).await,
        mismatch,
        "the spelling of the path"
    );
    assert_eq!(
        outcome(http.put(put.replace("/folder/", "//folder/")).body("x")).await,
        mismatch,
        "a slash more"
    );
    let longer = with_parameter(put, "X-Goog-Expires", "7200");
    assert_eq!(outcome(http.put(longer).body("x")).await, mismatch, "the expiry");
    assert_eq!(
        outcome(http.put(with_other_signature(put, "X-Goog-Signature")).body("x")).await,
        mismatch,
        "the signature"
    );
    assert_eq!(
        outcome(http.put(format!("{put}&generation=1")).body("x")).await,
        mismatch,
        "a parameter more"
    );
    let other_host = put.replace("127.0.0.1", "localhost");
    assert_eq!(outcome(http.put(other_host).body("x")).await, mismatch, "the host");
    let other_key = put.replace("signer%40", "other%40");
    assert_eq!(outcome(http.put(other_key).body("x")).await, mismatch, "the signer");

    let typed = text(&google["put_typed"]);
    let malformed = expect(400, "MalformedSecurityHeader");
    assert_eq!(
        outcome(http.put(typed).header("Content-Type", "video/ogg").body("x")).await,
        mismatch,
        "a signed header"
    );
    assert_eq!(outcome(http.put(typed).body("x")).await, malformed, "a signed header is missing");
    assert_eq!(
        outcome(http.put(put).header("x-goog-meta-a", "b").body("x")).await,
        malformed,
        "a header is not signed"
    );
    assert_eq!(
        outcome(http.put(text(&google["resumable"])).body("x")).await,
        malformed,
        "a PUT where a session starts"
    );

    let v2 = text(&google["put_v2"]);
    assert_eq!(
        outcome(http.put(v2).header("Content-Type", "video/mp4").body("x")).await,
        mismatch,
        "V2 binds no type"
    );
    assert_eq!(outcome(http.get(v2)).await, mismatch);
    assert_eq!(outcome(http.put(with_parameter(v2, "Expires", "4102444800")).body("x")).await, mismatch);
}

#[tokio::test]
async fn a_change_to_any_part_of_an_amazon_url_is_refused() {
    let (running, urls) = signed().await;
    let (http, amazon) = (&running.http, &urls["amazon"]);
    let put = text(&amazon["put"]);
    let mismatch = expect(403, "SignatureDoesNotMatch");
    assert_eq!(outcome(http.get(put)).await, mismatch, "the method");
    assert_eq!(outcome(http.put(put.replace(".bin?", ".bim?")).body("x")).await, mismatch, "the path");
    let longer = with_parameter(put, "X-Amz-Expires", "7200");
    assert_eq!(outcome(http.put(longer).body("x")).await, mismatch, "the expiry");
    assert_eq!(
        outcome(http.put(with_other_signature(put, "X-Amz-Signature")).body("x")).await,
        mismatch,
        "the signature"
    );
    assert_eq!(outcome(http.put(format!("{put}&versionId=1")).body("x")).await, mismatch, "a parameter more");
    let typed = text(&amazon["put_typed"]);
    assert_eq!(
        outcome(http.put(typed).header("Content-Type", "video/ogg").body("x")).await,
        mismatch,
        "a signed header"
    );
    assert_eq!(outcome(http.put(typed).body("x")).await, mismatch, "a signed header is missing");
    let unsigned = http.put(put).header("x-amz-acl", "public-read").body("x");
    assert_eq!(outcome(unsigned).await, expect(403, "AccessDenied"), "a header is not signed");
    let other_key = put.replace("AKIAFERRYTEST", "AKIAFERRYTOAST");
    assert_eq!(outcome(http.put(other_key).body("x")).await, expect(403, "InvalidAccessKeyId"));
    let twice = http.put(put).header("Authorization", "sk-1").body("x");
    assert_eq!(outcome(twice).await, expect(400, "InvalidArgument"), "a second key");
    let week = with_parameter(put, "X-Amz-Expires", "604801");
    assert_eq!(outcome(http.put(week).body("x")).await, expect(400, "AuthorizationQueryParametersError"));
    let v2 = text(&amazon["put_v2"]);
    assert_eq!(outcome(http.put(v2).header("Content-Type", "video/mp4").body("x")).await, mismatch);
}

#[tokio::test]
async fn an_expired_url_says_so_as_its_cloud_does() {
    let (running, urls) = signed().await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let google = running.http.put(text(&urls["google"]["put_for_a_second"])).body("x");
    assert_eq!(outcome(google).await, expect(400, "ExpiredToken"));
    let amazon = running.http.put(text(&urls["amazon"]["put_for_a_second"])).body("x").send().await.unwrap();
    assert_eq!(amazon.status(), StatusCode::FORBIDDEN);
    assert!(
        amazon
            .text()
            .await
            .unwrap()
            .contains("<Code>AccessDenied</Code><Message>Request has expired</Message>")
    );
}

#[tokio::test]
async fn a_form_obeys_the_policy_that_google_signed() {
    let (running, urls) = signed().await;
    let url = format!("{}/{BUCKET}", running.sandbox.origin());
    let fields = urls["google"]["policy_fields"].as_object().unwrap();
    let form = |change: &dyn Fn(&str, &str) -> Option<String>, file: Vec<u8>| {
        let mut form = reqwest::multipart::Form::new();
        for (name, value) in fields {
            if let Some(value) = change(name, text(value)) {
                form = form.text(name.clone(), value);
            }
        }
        let part = reqwest::multipart::Part::bytes(file).file_name("x.bin");
        running.http.post(&url).multipart(form.part("file", part))
    };
    let same = |_: &str, value: &str| Some(value.to_owned());
    assert_eq!(form(&same, b"abc".to_vec()).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(
        running.http.get(text(&urls["google"]["get"])).send().await.unwrap().text().await.unwrap(),
        "abc"
    );
    assert_eq!(outcome(form(&same, vec![0; 1001])).await, expect(400, "EntityTooLarge"));
    assert_eq!(outcome(form(&same, Vec::new())).await, expect(400, "EntityTooSmall"));

    let invalid = expect(400, "InvalidPolicyDocument");
    let other_key =
        |name: &str, value: &str| Some(if name == "key" { "other".to_owned() } else { value.to_owned() });
    assert_eq!(outcome(form(&other_key, b"abc".to_vec())).await, invalid);
    let no_policy = |name: &str, value: &str| (name != "policy").then(|| value.to_owned());
    assert_eq!(outcome(form(&no_policy, b"abc".to_vec())).await, invalid);
    let no_signature = |name: &str, value: &str| {
        Some(if name == "x-goog-signature" { value.replace(&value[..4], "0000") } else { value.to_owned() })
    };
    assert_eq!(outcome(form(&no_signature, b"abc".to_vec())).await, expect(403, "SignatureDoesNotMatch"));
}
