//! MAVI v2: sign, send, confirm, download, delete.

mod running;

use ferry_sandbox::{Options, Sandbox, SignedUrls};
use reqwest::{Method, StatusCode};
use running::{bytes, client, crc32c_base64, header, start};
use serde_json::{Value, json};

#[tokio::test]
async fn a_file_goes_up_and_comes_down_again() {
    let running = start().await;
    let content = bytes(700_001);
    let (asset_id, url, data) = running.sign("my video.mp4").await;
    assert!(asset_id.starts_with("re_"));
    assert_eq!(data["expires_in"], 93_600);
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "WAITING");

    let session = running.begin(&url).await;
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "UPLOADING");
    assert_eq!(running.chunk(&session, "bytes 0-700000/700001", &content).await.0, 200);
    let metadata = running.metadata(&asset_id).await;
    assert_eq!(metadata["upload_status"], "SUCCESS");
    assert_eq!(metadata["file_size"], "700001");
    assert_eq!(metadata["original_filename"], "my video.mp4");
    assert_eq!(metadata["extension"], "mp4");

    let download = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(header(&download, "content-type"), "video/mp4");
    assert_eq!(header(&download, "content-length"), "700001");
    assert_eq!(header(&download, "content-disposition"), "attachment; filename*=utf-8''my%20video.mp4");
    assert_eq!(header(&download, "accept-ranges"), "bytes");
    assert!(
        header(&download, "x-goog-hash").starts_with(&format!("crc32c={},md5=", crc32c_base64(&content)))
    );
    assert!(header(&download, "etag").starts_with('"'));
    assert_eq!(download.bytes().await.unwrap(), content);

    let gone = running.mavi(Method::DELETE, &format!("/{asset_id}")).send().await.unwrap();
    assert_eq!(gone.json::<Value>().await.unwrap()["success"], true);
    let after = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(after.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        after.json::<Value>().await.unwrap(),
        json!({"code": 400, "msg": "Asset not found", "data": null})
    );
}

#[tokio::test]
async fn keys_are_sent_raw() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { root: folder.path().to_owned(), port: 0, api_key: Some("sk-right".to_owned()) };
    let sandbox = Sandbox::start(options).await.unwrap();
    let url = format!("{}/re_1/metadata", sandbox.mavi_url());
    for (key, status) in [
        ("sk-right", 400),
        (sandbox.key(), 400),
        ("sk-wrong", 401),
        ("", 401),
        ("Bearer sk-right", 401),
        ("bearer sk-right", 401),
    ] {
        let answer = client().get(&url).header("Authorization", key).send().await.unwrap();
        assert_eq!(answer.status(), status, "{key}");
    }
    assert_eq!(client().get(&url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn bearer_is_refused_even_if_any_key_will_do() {
    let running = start().await;
    let url = format!("{}/re_1/metadata", running.sandbox.mavi_url());
    for (key, status) in [("anything", 400), ("Bearer anything", 401)] {
        assert_eq!(
            running.http.get(&url).header("Authorization", key).send().await.unwrap().status(),
            status
        );
    }
}

#[tokio::test]
async fn head_is_not_a_method_of_the_services() {
    let running = start().await;
    let asset_id = running.upload("a.bin", b"x").await;
    let head = running.mavi(Method::HEAD, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_asset_that_was_not_sent_cannot_be_fetched() {
    let running = start().await;
    let (asset_id, ..) = running.sign("a.bin").await;
    let answer = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn assets_and_signed_urls_survive_a_restart() {
    let running = start().await;
    let address = running.address();
    let content = bytes(100_000);
    let asset_id = running.upload("ü.bin", &content).await;
    running.sandbox.set_signed_urls(SignedUrls::GooglePut);
    let (later, url, _) = running.sign("later.bin").await;

    let running = running.restart().await;
    assert_eq!(running.address(), address, "the same port, so that signed hosts stay valid");
    let download = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(header(&download, "content-disposition"), "attachment; filename*=utf-8''%C3%BC.bin");
    assert_eq!(download.bytes().await.unwrap(), content);
    assert_eq!(running.http.put(&url).body("abc").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(running.metadata(&later).await["file_size"], "3");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let running = start().await;
    let asset_id = running.upload("empty.txt", b"").await;
    let download = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(header(&download, "content-length"), "0");
    assert_eq!(header(&download, "x-goog-hash"), "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(download.bytes().await.unwrap(), "");
}
