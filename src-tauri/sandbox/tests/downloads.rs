//! Downloads: ranges and validators as they should be, and every way in which they can go wrong.

mod running;

use std::time::{Duration, Instant};

use ferry_sandbox::{Fault, FaultKind, HeaderBytes, RateLimitSpelling};
use reqwest::{Method, StatusCode};
use running::{Running, crc32c_base64, header, start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SIZE: usize = 3_000_000;

fn url(running: &Running) -> String {
    format!("{}/generate/{SIZE}/a.bin", running.sandbox.url())
}

async fn whole(running: &Running) -> Vec<u8> {
    running.http.get(url(running)).send().await.unwrap().bytes().await.unwrap().to_vec()
}

/// The answer byte for byte, until the connection closes.
async fn raw(running: &Running, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let (pass, host) = (running.pass(), running.address());
    let request = format!("GET {pass}{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end..].to_vec())
}

async fn raw_generated(running: &Running) -> (String, Vec<u8>) {
    raw(running, &format!("/generate/{SIZE}/a.bin"), "").await
}

#[tokio::test]
async fn generated_files_are_the_same_at_every_position() {
    let running = start().await;
    let answer = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!(header(&answer, "content-length"), SIZE.to_string());
    let hash = header(&answer, "x-goog-hash").to_owned();
    let content = answer.bytes().await.unwrap();
    assert_eq!(hash, format!("crc32c={}", crc32c_base64(&content)));
    for (range, expected) in [
        ("bytes=0-0", &content[..1]),
        ("bytes=1048570-1048585", &content[1_048_570..1_048_586]),
        ("bytes=2000001-", &content[2_000_001..]),
        ("bytes=-5", &content[SIZE - 5..]),
    ] {
        let part = running.http.get(url(&running)).header("Range", range).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert!(header(&part, "content-range").ends_with(&format!("/{SIZE}")));
        assert_eq!(part.bytes().await.unwrap(), expected, "{range}");
    }
}

#[tokio::test]
async fn a_terabyte_starts_and_resumes_at_once() {
    let running = start().await;
    let url = format!("{}/generate/1TiB/huge.bin", running.sandbox.url());
    let range = format!("bytes={}-", (1_u64 << 40) - 10);
    let part = running.http.get(&url).header("Range", range).send().await.unwrap();
    assert_eq!(
        header(&part, "content-range"),
        format!("bytes {}-{}/{}", (1_u64 << 40) - 10, (1_u64 << 40) - 1, 1_u64 << 40)
    );
    assert_eq!(part.bytes().await.unwrap().len(), 10);
}

#[tokio::test]
async fn stored_files_have_ranges_and_validators() {
    let running = start().await;
    let folder = running.folder.path().join("files/inner");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ä b.txt"), "0123456789").unwrap();
    let url = format!("{}/files/inner/%C3%A4%20b.txt", running.sandbox.url());
    let first = running.http.get(&url).send().await.unwrap();
    assert_eq!(header(&first, "content-type"), "text/plain");
    let (etag, date) = (header(&first, "etag").to_owned(), header(&first, "last-modified").to_owned());
    for (condition, status) in
        [(etag.as_str(), 206), (date.as_str(), 206), ("\"other\"", 200), (&format!("W/{etag}"), 200)]
    {
        let answer = running
            .http
            .get(&url)
            .header("Range", "bytes=4-")
            .header("If-Range", condition)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{condition}");
    }
    let beyond = running.http.get(&url).header("Range", "bytes=10-").send().await.unwrap();
    assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range")), (416, "bytes */10"));
    for outside in [
        "/files/../secret",
        "/files/..%2Fsecret",
        "/files/%2E%2E/secret",
        "/files/%2Fetc%2Fpasswd",
        "/files/inner",
    ] {
        let (head, _) = raw(&running, outside, "Connection: close\r\n").await;
        assert!(head.starts_with("HTTP/1.1 40"), "{outside}: {head}");
    }
}

#[tokio::test]
async fn a_download_can_be_cut_at_any_byte() {
    let running = start().await;
    let content = whole(&running).await;
    for after in [0, 1, 700_000, SIZE as u64 - 1] {
        running.sandbox.faults().add(Fault::new(FaultKind::Cut { after }).once());
        let (head, body) = raw_generated(&running).await;
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")));
        assert_eq!(body, content[..after as usize]);
    }
    running.sandbox.faults().add(Fault::new(FaultKind::Cut { after: 5 }).once());
    assert!(running.http.get(url(&running)).send().await.unwrap().bytes().await.is_err());
    assert_eq!(whole(&running).await, content, "once is once");
}

#[tokio::test]
async fn a_chunked_download_that_is_cut_has_no_last_chunk() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(FaultKind::NoLength).times(2));
    assert_eq!(whole(&running).await.len(), SIZE);
    running.sandbox.faults().add(Fault::new(FaultKind::Cut { after: 10 }).once());
    let answer = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!((header(&answer, "content-length"), header(&answer, "transfer-encoding")), ("", "chunked"));
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn a_cut_reaches_http_2_as_a_broken_stream() {
    let running = start().await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let answer = http.get(url(&running)).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.bytes().await.unwrap().len(), SIZE);
    running.sandbox.faults().add(Fault::new(FaultKind::Cut { after: 100_000 }).once());
    assert!(http.get(url(&running)).send().await.unwrap().bytes().await.is_err());
}

#[tokio::test]
async fn a_download_can_stall() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(FaultKind::Stall { after: 1000 }).once());
    let mut answer = running.http.get(url(&running)).send().await.unwrap();
    let mut came = 0;
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(Duration::from_secs(1), answer.chunk()).await {
        came += piece.len();
    }
    assert_eq!(came, 1000);
}

#[tokio::test]
async fn a_download_can_be_slow() {
    let running = start().await;
    running.sandbox.faults().add(FaultKind::Slow { bytes_per_second: 4 << 20 });
    let started = Instant::now();
    assert_eq!(whole(&running).await.len(), SIZE);
    let took = started.elapsed().as_secs_f64();
    assert!(took > 0.6, "{SIZE} bytes at 4 MiB/s took {took} s");
}

#[tokio::test]
async fn lengths_can_lie() {
    let running = start().await;
    let content = whole(&running).await;
    running.sandbox.faults().add(Fault::new(FaultKind::LongerLength { by: 10 }).once());
    let (head, body) = raw_generated(&running).await;
    assert!(head.contains(&format!("content-length: {}\r\n", SIZE + 10)) && body == content);
    running.sandbox.faults().add(Fault::new(FaultKind::ShorterLength { by: 10 }).once());
    let (head, body) = raw_generated(&running).await;
    assert!(head.contains(&format!("content-length: {}\r\n", SIZE - 10)) && body == content);
    running.sandbox.faults().add(Fault::new(FaultKind::CloseDelimited).once());
    let (head, body) = raw_generated(&running).await;
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding") && body == content);
    running.sandbox.faults().add(Fault::new(FaultKind::EmptyBody).once());
    let empty = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!((empty.status().as_u16(), header(&empty, "content-length")), (200, "0"));
}

#[tokio::test]
async fn ranges_can_be_answered_wrongly() {
    let running = start().await;
    let content = whole(&running).await;
    let ask = |fault: FaultKind| {
        running.sandbox.faults().add(Fault::new(fault).once());
        running.http.get(url(&running)).header("Range", "bytes=100-199").send()
    };
    let answer = ask(FaultKind::IgnoreRange).await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (200, ""));
    assert_eq!(answer.bytes().await.unwrap(), content);

    let answer = ask(FaultKind::WrongRangeStart { by: -10 }).await.unwrap();
    assert_eq!(header(&answer, "content-range"), format!("bytes 90-199/{SIZE}"));
    assert_eq!(answer.bytes().await.unwrap(), content[90..200]);

    let answer = ask(FaultKind::WrongRangeTotal { by: 1 }).await.unwrap();
    assert_eq!(header(&answer, "content-range"), format!("bytes 100-199/{}", SIZE + 1));

    let answer = ask(FaultKind::MultipartRanges).await.unwrap();
    assert!(header(&answer, "content-type").starts_with("multipart/byteranges; boundary="));
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert!(answer.bytes().await.unwrap().len() > 100);

    for spelling in [Some("bytes */{size}"), Some("*/{size}"), Some("bytes */7"), None] {
        let answer =
            ask(FaultKind::RangeRefused { content_range: spelling.map(str::to_owned) }).await.unwrap();
        assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let expected = spelling.unwrap_or_default().replace("{size}", &SIZE.to_string());
        assert_eq!(header(&answer, "content-range"), expected);
    }

    running.sandbox.faults().add(Fault::new(FaultKind::UnaskedRange).once());
    let answer = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "content-range")),
        (206, &*format!("bytes 0-{}/{SIZE}", SIZE - 1))
    );
}

#[tokio::test]
async fn a_file_can_change_between_two_requests() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(FaultKind::Changed { revision: 1 }).skip(1));
    let before = running.http.get(url(&running)).send().await.unwrap();
    let (etag, date) = (header(&before, "etag").to_owned(), header(&before, "last-modified").to_owned());
    let before = before.bytes().await.unwrap();
    let after = running
        .http
        .get(url(&running))
        .header("Range", "bytes=5-")
        .header("If-Range", &etag)
        .send()
        .await
        .unwrap();
    assert_eq!(after.status(), StatusCode::OK);
    assert_ne!(header(&after, "etag"), etag);
    assert_ne!(header(&after, "last-modified"), date);
    let hash = header(&after, "x-goog-hash").to_owned();
    let after = after.bytes().await.unwrap();
    assert_ne!(before, after);
    assert_eq!(hash, format!("crc32c={}", crc32c_base64(&after)), "the new content's own hash");
}

#[tokio::test]
async fn validators_can_be_weak_or_missing() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(FaultKind::WeakEtag).once());
    let weak = running.http.get(url(&running)).send().await.unwrap();
    assert!(header(&weak, "etag").starts_with("W/\""));
    running.sandbox.faults().add(Fault::new(FaultKind::NoValidators).once());
    let none = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!((header(&none, "etag"), header(&none, "last-modified")), ("", ""));
}

#[tokio::test]
async fn hashes_can_be_wrong() {
    let running = start().await;
    for (fault, expected) in [
        (FaultKind::WrongHash, "crc32c=3q2+7w==,md5=3q2+796tvu/erb7v3q2+7w=="),
        (FaultKind::MalformedHash, "crc32c=!!!,md5"),
        (FaultKind::NoHash, ""),
    ] {
        running.sandbox.faults().add(Fault::new(fault).once());
        assert_eq!(header(&running.http.get(url(&running)).send().await.unwrap(), "x-goog-hash"), expected);
    }
}

#[tokio::test]
async fn gzip_comes_although_it_was_not_asked_for() {
    let running = start().await;
    let content = whole(&running).await;
    running.sandbox.faults().add(Fault::new(FaultKind::Gzip { broken: false }).once());
    let answer = running.http.get(url(&running)).header("Accept-Encoding", "identity").send().await.unwrap();
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let packed = answer.bytes().await.unwrap();
    assert_eq!(packed[..2], [0x1f, 0x8b]);
    // Stored blocks: five bytes before each of at most 65,535.
    let mut unpacked = Vec::new();
    let mut at = 10;
    loop {
        let length = usize::from(u16::from_le_bytes([packed[at + 1], packed[at + 2]]));
        unpacked.extend_from_slice(&packed[at + 5..at + 5 + length]);
        at += 5 + length;
        if packed[at - 5 - length] == 1 {
            break;
        }
    }
    assert!(unpacked == content);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &content) as u32;
    assert_eq!(packed[at..], [crc.to_le_bytes(), (SIZE as u32).to_le_bytes()].concat());
}

#[tokio::test]
async fn errors_and_login_pages_come_under_200() {
    let running = start().await;
    running
        .sandbox
        .faults()
        .add(Fault::new(FaultKind::JsonError { code: "0001".into(), msg: "no".into() }).once());
    let answer = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "0001");
    running.sandbox.faults().add(Fault::new(FaultKind::LoginPage).once());
    let page = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "content-type")), (200, "text/html; charset=utf-8"));
}

#[tokio::test]
async fn headers_can_hold_anything() {
    let running = start().await;
    let hostile = b"attachment; filename=\"\xff\0.mp4\"".to_vec();
    let headers = vec![
        ("Content-Disposition".to_owned(), HeaderBytes::from(hostile.clone())),
        ("content-type".to_owned(), HeaderBytes::from("video/mp4")),
        ("etag".to_owned(), HeaderBytes::from("")),
        ("X-Many".to_owned(), HeaderBytes::Bytes(vec![b'a'; 100_000])),
    ];
    running.sandbox.faults().add(Fault::new(FaultKind::Headers { headers }).once());
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let (pass, host) = (running.pass(), running.address());
    let request = format!("GET {pass}/generate/10/a.bin HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let holds = |needle: &[u8]| answer.windows(needle.len()).any(|window| window == needle);
    assert!(holds(&hostile) && holds(b"content-type: video/mp4\r\n") && !holds(b"etag"));
    assert!(!holds(b"application/octet-stream") && answer.len() > 100_000);
}

#[tokio::test]
async fn any_request_can_get_any_status() {
    let running = start().await;
    let status = |status, wait: &str| FaultKind::Status {
        status,
        retry_after: Some(wait.to_owned()),
        body: None,
        content_type: None,
        after: 0,
    };
    let faults = running.sandbox.faults();
    faults.add(Fault::new(status(503, "7")).once().on_path("/generate/"));
    faults.add(Fault::new(status(429, "Wed, 21 Oct 2099 07:28:00 GMT")).once().on_path("/generate/"));
    faults.add(Fault::new(status(503, "soon")).once().on_path("/mavi/"));
    for (expected, wait) in [(503, "7"), (429, "Wed, 21 Oct 2099 07:28:00 GMT"), (200, "")] {
        let answer = running.http.get(url(&running)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (expected, wait));
    }
    let mavi = running.mavi(Method::GET, "/re_1/metadata").send().await.unwrap();
    assert_eq!((mavi.status().as_u16(), header(&mavi, "retry-after")), (503, "soon"));
    assert_eq!(mavi.json::<Value>().await.unwrap()["code"], 503);

    faults.add(Fault::new(FaultKind::NoAnswer).once());
    assert!(running.http.get(url(&running)).send().await.is_err());
    faults.add(Fault::new(FaultKind::Silence).once());
    let silent = running.http.get(url(&running)).timeout(Duration::from_millis(200)).send().await;
    assert!(silent.unwrap_err().is_timeout());
    faults.add(Fault::new(FaultKind::Redirect { status: 302, location: "file:///etc/passwd".into() }).once());
    let redirect = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!((redirect.status().as_u16(), header(&redirect, "location")), (302, "file:///etc/passwd"));
}

#[tokio::test]
async fn rate_limits_and_revoked_keys_have_many_spellings() {
    let running = start().await;
    for (spelling, status, code) in [
        (RateLimitSpelling::Http, 429, json!(429)),
        (RateLimitSpelling::Code, 200, json!(429)),
        (RateLimitSpelling::TextCode, 200, json!("0429")),
        (RateLimitSpelling::BadRequest, 400, json!(400)),
    ] {
        running
            .sandbox
            .faults()
            .add(Fault::new(FaultKind::RateLimit { spelling, retry_after: Some("1".into()) }).once());
        let answer = running.mavi(Method::GET, "/re_1/metadata").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (status, "1"));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    running.sandbox.faults().add(Fault::new(FaultKind::KeyRevoked).once());
    assert_eq!(running.mavi(Method::GET, "/re_1/metadata").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_log_shows_what_was_asked_and_what_was_sent() {
    let running = start().await;
    running.sandbox.faults().add(Fault::new(FaultKind::Cut { after: 1000 }).once());
    let _ = running.http.get(format!("{}?secret=1", url(&running))).send().await.unwrap().bytes().await;
    let rest = running.http.get(url(&running)).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(rest.bytes().await.unwrap().len(), SIZE - 1000);
    let sunk = running
        .http
        .put(format!("{}/sink", running.sandbox.url()))
        .body(vec![7; 500_000])
        .send()
        .await
        .unwrap();
    assert_eq!(sunk.json::<Value>().await.unwrap()["bytes"], 500_000);
    while !running.sandbox.requests().iter().all(|request| request.finished) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = running.sandbox.requests();
    assert_eq!(log.len(), 3);
    assert_eq!(
        (log[0].path.as_str(), log[0].sent, log[0].status),
        (&*format!("/generate/{SIZE}/a.bin"), 1000, 200)
    );
    assert_eq!(
        (log[1].range.as_deref(), log[1].sent, log[1].status),
        (Some("bytes=1000-"), SIZE as u64 - 1000, 206)
    );
    assert_eq!((log[2].method.as_str(), log[2].received), ("PUT", 500_000));
    assert!(!serde_json::to_string(&log).unwrap().contains("secret"));
}

#[tokio::test]
async fn only_loopback_names_are_served() {
    let running = start().await;
    let asked = running.http.get(url(&running)).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn dropping_the_sandbox_closes_everything() {
    let running = start().await;
    running.sandbox.faults().add(FaultKind::Stall { after: 10 });
    let mut answer = running.http.get(url(&running)).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap().len(), 10);
    let address = running.address();
    drop(running.sandbox);
    assert!(tokio::time::timeout(Duration::from_secs(2), answer.chunk()).await.unwrap().is_err());
    assert!(TcpStream::connect(address).await.is_err());
}
