//! What a form with a large file in it takes of memory. The only test of its program: it looks at the program's own.
#![cfg(target_os = "linux")]

mod running;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ferry_sandbox::SignedUrls;
use running::start;

const MIB: usize = 1 << 20;
const FILE: usize = 300 * MIB;
/// More than the program needs at rest, and far less than the file.
const MOST: usize = 96;

/// The highest use of memory so far, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_a_form_is_not_gathered() {
    let running = start().await;
    running.sandbox.set_signed_urls(SignedUrls::Form);
    let (id, url, _) = running.sign("a.bin").await;
    let (origin, address) = (running.sandbox.origin(), running.address());
    let path = url.strip_prefix(&origin).unwrap().to_owned();
    let sending = tokio::task::spawn_blocking(move || {
        let begin = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
        let end = "\r\n--b--\r\n";
        let length = begin.len() + FILE + end.len();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n{begin}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let piece = vec![7; MIB];
        for _ in 0..FILE / MIB {
            stream.write_all(&piece).unwrap();
        }
        stream.write_all(end.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = sending.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(running.metadata(&id).await["file_size"], FILE.to_string());
    assert!(peak() < MOST, "{} MiB", peak());
}
