//! A sandbox that runs for one test, and a client that talks to it.

#![allow(dead_code, reason = "each test program uses some of it")]

use ferry_sandbox::{Options, Sandbox};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub const UNIT: usize = 256 << 10;

pub struct Running {
    pub sandbox: Sandbox,
    pub http: Client,
    pub folder: tempfile::TempDir,
}

pub async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(options(&folder)).await.unwrap();
    Running { sandbox, http: client(), folder }
}

pub fn client() -> Client {
    // Another test of the same program may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub fn options(folder: &tempfile::TempDir) -> Options {
    Options { root: folder.path().to_owned(), port: 0, api_key: None }
}

/// Bytes that differ at every position of a test's file.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn crc32c_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

impl Running {
    /// The same folder in a new sandbox, after the old one ended as it would at a kill: without a word.
    pub async fn restart(self) -> Self {
        let Self { sandbox, folder, .. } = self;
        let address = sandbox.address().unwrap();
        drop(sandbox);
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Self { sandbox: Sandbox::start(options(&folder)).await.unwrap(), http: client(), folder }
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.sandbox.address().unwrap()
    }

    /// What every path of a plain link begins with.
    pub fn pass(&self) -> String {
        self.sandbox.url().strip_prefix(&self.sandbox.origin()).unwrap().to_owned()
    }

    pub fn mavi(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.sandbox.mavi_url()))
            .header("Authorization", "sk-mavi-1")
    }

    /// Asset id, signed URL and the whole `data` of the answer.
    pub async fn sign(&self, name: &str) -> (String, String, Value) {
        let answer = self
            .mavi(Method::POST, "/upload/signed-url")
            .json(&json!({"original_filename": name}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let data = answer.json::<Value>().await.unwrap()["data"].take();
        (data["asset_id"].as_str().unwrap().to_owned(), data["signed_url"].as_str().unwrap().to_owned(), data)
    }

    /// Starts the session behind a signed URL.
    pub async fn begin(&self, signed_url: &str) -> String {
        let answer = self
            .http
            .post(signed_url)
            .header("x-goog-resumable", "start")
            .header("content-length", "0")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        header(&answer, "location").to_owned()
    }

    /// Sends a chunk, or asks for the state with an empty one; returns the status and how many bytes are
    /// kept.
    pub async fn chunk(&self, session: &str, range: &str, body: &[u8]) -> (u16, u64) {
        // The client leaves out the length of an empty body, which a store answers with 411.
        let request = self.http.put(session).header(CONTENT_RANGE, range).header(CONTENT_LENGTH, body.len());
        let answer = request.body(body.to_vec()).send().await.unwrap();
        let kept = header(&answer, RANGE.as_str())
            .strip_prefix("bytes=0-")
            .map_or(0, |last| last.parse::<u64>().unwrap() + 1);
        (answer.status().as_u16(), kept)
    }

    /// Uploads by the default kind of signed URL.
    pub async fn upload(&self, name: &str, body: &[u8]) -> String {
        let (asset_id, url, _) = self.sign(name).await;
        let session = self.begin(&url).await;
        let range = if body.is_empty() {
            "bytes */0".to_owned()
        } else {
            format!("bytes 0-{}/{}", body.len() - 1, body.len())
        };
        assert_eq!(self.chunk(&session, &range, body).await.0, 200);
        asset_id
    }

    pub async fn metadata(&self, asset_id: &str) -> Value {
        let answer = self.mavi(Method::GET, &format!("/{asset_id}/metadata")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["data"]["resource"][0].take()
    }
}
