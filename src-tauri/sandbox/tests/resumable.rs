//! Resumable sessions, strictly.

mod running;

use std::time::Duration;

use ferry_sandbox::{Fault, FaultKind};
use reqwest::{Method, StatusCode};
use running::{Running, UNIT, bytes, header, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn session(running: &Running) -> (String, String) {
    let (asset_id, url, _) = running.sign("a.bin").await;
    (asset_id, running.begin(&url).await)
}

async fn download(running: &Running, asset_id: &str) -> Vec<u8> {
    let answer = running.mavi(Method::GET, &format!("/{asset_id}/download")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn chunks_add_up() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(3 * UNIT + 5);
    let total = content.len();
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await, (308, 0));
    let first =
        running.chunk(&session, &format!("bytes 0-{}/{total}", 2 * UNIT - 1), &content[..2 * UNIT]).await;
    assert_eq!(first, (308, 2 * UNIT as u64));
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await, (308, 2 * UNIT as u64));
    let last = running
        .chunk(&session, &format!("bytes {}-{}/{total}", 2 * UNIT, total - 1), &content[2 * UNIT..])
        .await;
    assert_eq!(last.0, 200);
    assert_eq!(download(&running, &asset_id).await, content);
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await.0, 200, "asked after the end");
}

#[tokio::test]
async fn a_status_query_never_finishes_a_session() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(UNIT);
    assert_eq!(
        running.chunk(&session, &format!("bytes 0-{}/*", UNIT - 1), &content).await,
        (308, UNIT as u64)
    );
    assert_eq!(running.chunk(&session, &format!("bytes */{UNIT}"), b"").await, (308, UNIT as u64));
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "UPLOADING");
}

#[tokio::test]
async fn what_breaks_the_rules_is_refused() {
    let running = start().await;
    let (_, session) = session(&running).await;
    for (range, length) in [
        ("bytes 0-99/1000", 100),
        ("bytes 0-262144/1000000", UNIT + 1),
        ("bytes 262144-524287/1000000", UNIT),
        ("bytes 0-9/10", 11),
        ("bytes 0-9/5", 10),
        ("bytes=0-9/10", 10),
        ("bytes */10", 10),
    ] {
        assert_eq!(running.chunk(&session, range, &bytes(length)).await, (400, 0), "{range}");
    }
    assert_eq!(running.chunk(&session, "bytes 0-262143/1000000", &bytes(UNIT)).await, (308, UNIT as u64));
    assert_eq!(running.chunk(&session, "bytes */999999", b"").await.0, 400, "another total than before");
}

#[tokio::test]
async fn repeated_bytes_are_taken_once() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(2 * UNIT);
    running.chunk(&session, &format!("bytes 0-{}/{}", UNIT - 1, 2 * UNIT), &content[..UNIT]).await;
    let range = format!("bytes 0-{}/{}", 2 * UNIT - 1, 2 * UNIT);
    assert_eq!(running.chunk(&session, &range, &content).await.0, 200);
    assert_eq!(download(&running, &asset_id).await, content);
}

#[tokio::test]
async fn a_session_can_be_cancelled() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    assert_eq!(running.http.delete(&session).send().await.unwrap().status().as_u16(), 499);
    assert_eq!(running.chunk(&session, "bytes */10", b"").await.0, 410);
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "WAITING");
    let unknown = session.split_once("upload_id=").unwrap().0.to_owned() + "upload_id=" + &"0".repeat(64);
    assert_eq!(running.chunk(&unknown, "bytes */10", b"").await.0, 404);
}

/// Sends the head of a chunk and some of its bytes, and then only holds the connection.
async fn send_part(running: &Running, session: &str, total: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let path = session.strip_prefix(&running.sandbox.origin()).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {total}\r\nContent-Range: bytes 0-{}/{total}\r\n\r\n",
        running.address(),
        total - 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.flush().await.unwrap();
    while running.sandbox.requests().last().unwrap().received < body.len() as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream
}

#[tokio::test]
async fn a_cut_connection_keeps_what_came() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(8 * UNIT);
    drop(send_part(&running, &session, content.len(), &content[..5 * UNIT + 1000]).await);
    while !running.sandbox.requests().last().unwrap().finished {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let total = content.len();
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await, (308, 5 * UNIT as u64));
    let rest = format!("bytes {}-{}/{total}", 5 * UNIT, total - 1);
    assert_eq!(running.chunk(&session, &rest, &content[5 * UNIT..]).await.0, 200);
    assert_eq!(download(&running, &asset_id).await, content);
}

#[tokio::test]
async fn a_new_request_takes_over_from_one_that_hangs() {
    let running = start().await;
    let (_, session) = session(&running).await;
    let content = bytes(4 * UNIT);
    let mut hanging = send_part(&running, &session, content.len(), &content[..2 * UNIT]).await;
    assert_eq!(
        running.chunk(&session, &format!("bytes */{}", content.len()), b"").await,
        (308, 2 * UNIT as u64)
    );
    assert_eq!(hanging.read(&mut [0; 1]).await.unwrap_or(0), 0, "the hanging connection is closed");
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(2 * UNIT + 9);
    let total = content.len();
    running.chunk(&session, &format!("bytes 0-{}/{total}", 2 * UNIT - 1), &content[..2 * UNIT]).await;

    let running = running.restart().await;
    assert_eq!(running.metadata(&asset_id).await["upload_status"], "UPLOADING");
    assert_eq!(running.chunk(&session, &format!("bytes */{total}"), b"").await, (308, 2 * UNIT as u64));
    let rest = format!("bytes {}-{}/{total}", 2 * UNIT, total - 1);
    assert_eq!(running.chunk(&session, &rest, &content[2 * UNIT..]).await.0, 200);
    assert_eq!(download(&running, &asset_id).await, content);
}

#[tokio::test]
async fn the_store_may_keep_less_than_was_sent() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    let content = bytes(4 * UNIT);
    running.sandbox.faults().add(Fault::new(FaultKind::KeepFewer { bytes: 1 }).once());
    let whole = format!("bytes 0-{}/{}", 4 * UNIT - 1, 4 * UNIT);
    assert_eq!(running.chunk(&session, &whole, &content).await, (308, 3 * UNIT as u64));
    let rest = format!("bytes {}-{}/{}", 3 * UNIT, 4 * UNIT - 1, 4 * UNIT);
    assert_eq!(running.chunk(&session, &rest, &content[3 * UNIT..]).await.0, 200);
    assert_eq!(download(&running, &asset_id).await, content);
}

#[tokio::test]
async fn the_final_answer_may_be_lost() {
    let running = start().await;
    let (asset_id, session) = session(&running).await;
    running.sandbox.faults().add(Fault::new(FaultKind::LoseFinalAnswer).once());
    let put = running.http.put(&session).header("content-range", "bytes 0-2/3").body("abc").send().await;
    assert!(put.is_err());
    assert_eq!(running.chunk(&session, "bytes */3", b"").await.0, 200);
    assert_eq!(download(&running, &asset_id).await, b"abc");
}

#[tokio::test]
async fn a_session_may_be_gone_or_have_no_address() {
    let running = start().await;
    let (_, session) = session(&running).await;
    for status in [404, 410] {
        running.sandbox.faults().add(Fault::new(FaultKind::SessionGone { status }).once());
        assert_eq!(running.chunk(&session, "bytes */3", b"").await.0, status);
    }
    running.sandbox.faults().add(Fault::new(FaultKind::NoLocation).once());
    let (_, url, _) = running.sign("b.bin").await;
    let answer = running
        .http
        .post(&url)
        .header("x-goog-resumable", "start")
        .header("content-length", "0")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(header(&answer, "location"), "");
}

#[tokio::test]
async fn a_session_takes_no_key() {
    let running = start().await;
    let (_, session) = session(&running).await;
    let answer = running
        .http
        .put(&session)
        .header("Authorization", "sk-mavi-1")
        .header("content-range", "bytes */3")
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), StatusCode::BAD_REQUEST);
}
