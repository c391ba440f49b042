//! Just enough of HTTP to ask a test's own server something without the client under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

/// Sends a request and gives status and body.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
    let (status, mut answer) = stream(method, url, headers, body);
    let mut body = Vec::new();
    answer.read_to_end(&mut body).unwrap();
    (status, body)
}

/// Sends a request and gives the status, and the body to be read.
pub fn stream(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, BufReader<TcpStream>) {
    let rest = url.strip_prefix("http://").expect("tests speak plain http to this computer");
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = BufReader::new(stream);
    let (mut status, mut line) = (None, Vec::new());
    // The head ends with an empty line.
    while !matches!(line.as_slice(), b"\r\n") {
        line.clear();
        assert!(answer.read_until(b'\n', &mut line).unwrap() > 0, "the answer has a head");
        let text = String::from_utf8_lossy(&line);
        status = status.or_else(|| text.split_whitespace().nth(1)?.parse().ok());
    }
    (status.expect("the answer has a status"), answer)
}

/// Posts JSON and gives the answer's JSON.
pub fn post_json(url: &str, key: &str, body: &Value) -> Value {
    let headers = [("Content-Type", "application/json"), ("Authorization", key)];
    let (status, answer) = request("POST", url, &headers, body.to_string().as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).unwrap()
}
