//! Answers that the world gives, byte for byte: each can be switched on, and is what it says it is.

mod running;

use std::time::{Duration, Instant};

use ferry_sandbox::{BalanceSpelling, Fault, FaultKind, SignedUrls};
use reqwest::{Method, Response};
use running::{Running, UNIT, bytes, header, start};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SIZE: usize = 1000;

fn path(running: &Running) -> String {
    format!("{}/generate/{SIZE}/a.bin", running.pass())
}

/// The answer byte for byte, until the connection closes: its head in lower case, and what follows.
async fn raw(running: &Running, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let address = running.address();
    let request =
        format!("GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n", path(running));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
    (String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase(), answer[end..].to_vec())
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn content(running: &Running) -> (Vec<u8>, String) {
    let (head, body) = raw(running, "").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    (body, value(&head, "etag").unwrap().to_owned())
}

fn resume(from: usize, etag: &str) -> String {
    format!("Range: bytes={from}-\r\nIf-Range: {etag}\r\n")
}

fn status(status: u16, body: &str, content_type: &str) -> FaultKind {
    FaultKind::Status {
        status,
        retry_after: Some("2".into()),
        body: Some(body.to_owned()),
        content_type: Some(content_type.to_owned()),
        after: u64::MAX,
    }
}

#[tokio::test]
async fn not_yet_comes_before_the_file() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(status(202, "", "text/plain")).once());
    let (head, body) = raw(&running, "").await;
    assert!(head.starts_with("http/1.1 202 "), "{head}");
    assert_eq!((value(&head, "retry-after"), body.len()), (Some("2"), 0));
    assert_eq!(content(&running).await.0.len(), SIZE);
}

#[tokio::test]
async fn a_resume_is_answered_with_something_else() {
    let running = start().await;
    let (whole, etag) = content(&running).await;
    for (status, body) in [(202, "{\"state\":\"packing\"}"), (304, ""), (200, "hello"), (503, "busy")] {
        let answer = FaultKind::RangeAnswer {
            status,
            retry_after: Some("1".into()),
            body: Some(body.into()),
            content_type: Some("application/json".into()),
        };
        running.sandbox.faults().add(Fault::new(answer).once());
        assert_eq!(content(&running).await.0, whole, "only a resume is answered so");
        let (head, came) = raw(&running, &resume(10, &etag)).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(came, body.as_bytes());
        assert_eq!(value(&head, "retry-after"), Some("1"));
    }
    assert_eq!(raw(&running, &resume(10, &etag)).await.1, whole[10..]);
}

#[tokio::test]
async fn if_range_is_ignored_and_the_bytes_are_of_another_file() {
    let running = start().await;
    let (whole, _) = content(&running).await;
    for revision in [0, 3] {
        running.sandbox.faults().add(Fault::new(FaultKind::IfRangeIgnored { revision }).once());
        let (head, body) = raw(&running, &resume(10, "\"of-something-else\"")).await;
        assert!(head.starts_with("http/1.1 206 "), "{head}");
        assert_eq!(value(&head, "content-range"), Some("bytes 10-999/1000"));
        assert_eq!((value(&head, "etag"), value(&head, "last-modified")), (None, None));
        assert_eq!(body == whole[10..], revision == 0);
        assert_eq!(body.len(), SIZE - 10);
    }
}

#[tokio::test]
async fn two_versions_alternate_each_right_in_itself() {
    let running = start().await;
    running.sandbox.faults().add(FaultKind::Alternating { revision: 5 });
    let (first, tag) = content(&running).await;
    let (second, other) = content(&running).await;
    assert!(first != second && tag != other && first.len() == second.len());
    assert_eq!(content(&running).await, (first, tag.clone()));
    // The other one's turn: what is asked of the first is answered with the whole of the second.
    let (head, body) = raw(&running, &resume(10, &tag)).await;
    assert!(head.starts_with("http/1.1 200 ") && body == second, "{head}");
}

#[tokio::test]
async fn two_framings_contradict_each_other() {
    let running = start().await;
    let (whole, _) = content(&running).await;
    running.sandbox.faults().add(Fault::new(FaultKind::TwoFramings { length: 3 }).once());
    let (head, body) = raw(&running, "").await;
    assert_eq!(value(&head, "content-length"), Some("3"));
    assert_eq!(value(&head, "transfer-encoding"), Some("chunked"));
    assert!(body.starts_with(b"3e8\r\n") && body.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(body[5..5 + SIZE], whole);
}

#[tokio::test]
async fn a_part_is_longer_or_shorter_than_asked() {
    let running = start().await;
    let (whole, etag) = content(&running).await;
    running.sandbox.faults().add(Fault::new(FaultKind::SurplusBytes { by: 7 }).once());
    let (head, body) = raw(&running, &format!("Range: bytes=10-19\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!(value(&head, "content-range"), Some("bytes 10-19/1000"));
    assert_eq!(value(&head, "content-length"), Some("17"));
    assert_eq!(body, [&whole[10..20], b"+++++++"].concat());

    running.sandbox.faults().add(FaultKind::ShortRanges { most: 40 });
    for from in [10, 980] {
        let (head, body) = raw(&running, &resume(from, &etag)).await;
        let end = (from + 40).min(SIZE);
        assert!(head.starts_with("http/1.1 206 "), "{head}");
        assert_eq!(value(&head, "content-range"), Some(&*format!("bytes {from}-{}/1000", end - 1)));
        assert_eq!(body, whole[from..end]);
    }
}

#[tokio::test]
async fn mirrors_take_turns_and_each_has_its_own_mark() {
    let running = start().await;
    let (whole, etag) = content(&running).await;
    running.sandbox.faults().add(FaultKind::Mirrors { count: 2 });
    let mut marks = Vec::new();
    for number in [0, 1, 0] {
        let (head, _) = raw(&running, "").await;
        assert!(head.starts_with("http/1.1 302 "), "{head}");
        let path = path(&running);
        let place = path.replacen("/generate", &format!("/mirror/{number}/generate"), 1);
        assert_eq!(value(&head, "location"), Some(&*place));
        let answer = running.http.get(format!("{}{place}", running.sandbox.origin())).send().await.unwrap();
        marks.push(header(&answer, "etag").to_owned());
        assert_eq!(answer.bytes().await.unwrap(), whole);
    }
    assert!(marks[0] != marks[1] && marks[0] == marks[2] && !marks.contains(&etag), "{marks:?}");
}

#[tokio::test]
async fn a_wall_wants_its_cookie_back() {
    let running = start().await;
    running.sandbox.faults().add(FaultKind::CookieWall);
    let (head, _) = raw(&running, "Cookie: other=1\r\n").await;
    assert!(head.starts_with("http/1.1 302 "), "{head}");
    assert_eq!(value(&head, "location"), Some(&*path(&running)));
    let cookie = value(&head, "set-cookie").unwrap().split(';').next().unwrap();
    let (head, body) = raw(&running, &format!("Cookie: other=1; {cookie}\r\n")).await;
    assert!(head.starts_with("http/1.1 200 ") && body.len() == SIZE, "{head}");
}

#[tokio::test]
async fn the_first_byte_takes_its_time() {
    let running = start().await;
    let silence = FaultKind::FirstByteAfter { milliseconds: 300 };
    running.sandbox.faults().add(Fault::new(silence).once());
    let began = Instant::now();
    assert_eq!(content(&running).await.0.len(), SIZE);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn an_account_is_held_to_its_limit_endpoint_by_endpoint() {
    let running = start().await;
    let asset = running.upload("a.bin", b"0123456789").await;
    running.sandbox.faults().add(FaultKind::AccountLimit { milliseconds: 200 });
    let get = async |what: &str| {
        let answer = running.mavi(Method::GET, &format!("/{asset}/{what}")).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!((get("download").await, get("metadata").await), (200, 200));
    assert_eq!(get("download").await, 429);
    tokio::time::sleep(Duration::from_millis(220)).await;
    assert_eq!(get("download").await, 200);
}

#[tokio::test]
async fn a_used_up_balance_has_three_spellings() {
    let running = start().await;
    for (spelling, status, code) in [
        (BalanceSpelling::Http, 402, Value::from(402)),
        (BalanceSpelling::BadRequest, 400, Value::from(400)),
        (BalanceSpelling::TextCode, 200, Value::from("0402")),
    ] {
        running.sandbox.faults().add(Fault::new(FaultKind::BalanceUsedUp { spelling }).once());
        let answer = running.mavi(Method::GET, "/re_1/download").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{spelling:?}");
        let envelope: Value = answer.json().await.unwrap();
        assert_eq!(envelope["code"], code, "{spelling:?}");
        let words = envelope["msg"].as_str().unwrap();
        assert_eq!(words.contains("Please recharge"), status != 402, "{words}");
    }
}

async fn put(running: &Running, url: &str, body: Vec<u8>) -> Response {
    let azure = url.contains("sig=");
    let request = running.http.put(url).body(body);
    if azure { request.header("x-ms-blob-type", "BlockBlob") } else { request }.send().await.unwrap()
}

#[tokio::test]
async fn a_store_says_done_before_it_is() {
    let running = start().await;
    running.sandbox.set_signed_urls(SignedUrls::GooglePut);
    let (asset, url, _) = running.sign("a.bin").await;
    let early = FaultKind::Status {
        status: 200,
        retry_after: None,
        body: Some(String::new()),
        content_type: None,
        after: 64 << 10,
    };
    running.sandbox.faults().add(Fault::new(early).on_path("/store/").once());
    let answer = put(&running, &url, bytes(8 << 20)).await;
    assert_eq!(answer.status(), 200);
    let asked = running.sandbox.requests().into_iter().find(|asked| asked.method == "PUT").unwrap();
    assert!(asked.received < 8 << 20, "{} bytes were read", asked.received);
    assert_eq!(running.metadata(&asset).await["upload_status"], "WAITING");

    // An envelope that says failed, under 200, after every byte.
    let envelope = r#"{"success":false,"msg":"virus scan failed"}"#;
    running
        .sandbox
        .faults()
        .add(Fault::new(status(200, envelope, "application/json")).on_path("/store/").once());
    let answer = put(&running, &url, bytes(100)).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, envelope));
    assert_eq!(running.metadata(&asset).await["upload_status"], "WAITING");
}

#[tokio::test]
async fn a_session_says_done_after_its_first_chunk() {
    let running = start().await;
    let (asset, url, _) = running.sign("a.bin").await;
    let session = running.begin(&url).await;
    running.sandbox.faults().add(Fault::new(FaultKind::DoneEarly).once());
    let body = bytes(3 * UNIT);
    let total = body.len();
    let range = format!("bytes 0-{}/{total}", UNIT - 1);
    assert_eq!(running.chunk(&session, &range, &body[..UNIT]).await.0, 200);
    assert_eq!(running.metadata(&asset).await["upload_status"], "UPLOADING");
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await, (308, UNIT as u64));
    for gone in [404, 410] {
        running.sandbox.faults().add(Fault::new(FaultKind::SessionGone { status: gone }).once());
        assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await.0, gone);
    }
}

#[tokio::test]
async fn a_store_names_digests_of_other_bytes() {
    let running = start().await;
    running.sandbox.set_signed_urls(SignedUrls::AmazonPut);
    let (_, url, _) = running.sign("a.bin").await;
    let told =
        [("x-amz-checksum-sha1", "3q2+796tvu/erb7v3q2+796tvu8="), ("x-amz-checksum-type", "FULL_OBJECT")];
    let headers = told.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    running.sandbox.faults().add(Fault::new(FaultKind::UploadHeaders { headers }).once());
    let answer = put(&running, &url, bytes(100)).await;
    assert_eq!(answer.status(), 200);
    for (name, value) in told {
        assert_eq!(header(&answer, name), value);
    }
}

#[tokio::test]
async fn the_time_of_a_signed_url_has_not_come() {
    let running = start().await;
    for (kind, words) in [
        (SignedUrls::GooglePut, "<Message>Request is not yet valid</Message>"),
        (SignedUrls::AmazonPut, "<Message>Request is not yet valid</Message>"),
        (SignedUrls::AzurePut, "Signature not valid in the specified time frame: Start ["),
    ] {
        running.sandbox.set_signed_urls(kind);
        let (_, url, _) = running.sign("a.bin").await;
        running.sandbox.faults().add(Fault::new(FaultKind::NotYetValidUrls).once());
        let answer = put(&running, &url, bytes(10)).await;
        assert_eq!(answer.status(), 403, "{kind:?}");
        let body = answer.text().await.unwrap();
        assert!(body.contains(words), "{kind:?}: {body}");
        assert!(put(&running, &url, bytes(10)).await.status().is_success(), "{kind:?}");
    }
}
