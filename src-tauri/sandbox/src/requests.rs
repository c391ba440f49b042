//! What was asked of the sandbox: enough for a test to say "one request a download" or "resumed at N", and no
//! secret (no query, no header that holds a key).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::request::Parts;
use serde::Serialize;

/// As many requests are remembered; older ones are forgotten, so that a long run does not grow.
const REMEMBERED: usize = 20_000;

/// One request as the sandbox saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The connection that it came on: 1 for the first that the sandbox took, and so on.
    pub connection: u64,
    /// `GET`, `PUT`, ….
    pub method: String,
    /// The path as it was sent, byte for byte, without the query.
    pub path: String,
    /// The `Range` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The `If-Range` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_range: Option<String>,
    /// The `Content-Range` header of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_range: Option<String>,
    /// Whether an `Authorization` header came along.
    pub authorization: bool,
    /// The HTTP status of the answer; 0 while there is none, or if the connection was closed without one.
    pub status: u16,
    /// Bytes of the request body that were read so far.
    pub received: u64,
    /// Bytes of the answer's body that were handed to the connection so far.
    pub sent: u64,
    /// Whether request and answer are over, one way or another.
    pub finished: bool,
}

/// A request that may still run.
#[derive(Debug)]
pub(crate) struct Entry {
    connection: u64,
    method: String,
    path: String,
    range: Option<String>,
    if_range: Option<String>,
    content_range: Option<String>,
    authorization: bool,
    status: AtomicU16,
    received: AtomicU64,
    sent: AtomicU64,
    finished: AtomicBool,
}

impl Entry {
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    fn look(&self) -> Request {
        Request {
            connection: self.connection,
            method: self.method.clone(),
            path: self.path.clone(),
            range: self.range.clone(),
            if_range: self.if_range.clone(),
            content_range: self.content_range.clone(),
            authorization: self.authorization,
            status: self.status.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            finished: self.finished.load(Ordering::Relaxed),
        }
    }
}

/// The latest requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<VecDeque<Arc<Entry>>>);

impl Requests {
    pub(crate) fn begin(&self, connection: u64, request: &Parts) -> Arc<Entry> {
        let text = |name: &str| {
            request.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let entry = Arc::new(Entry {
            connection,
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            range: text("range"),
            if_range: text("if-range"),
            content_range: text("content-range"),
            authorization: request.headers.contains_key("authorization"),
            status: AtomicU16::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            finished: AtomicBool::new(false),
        });
        // Switching faults and reading the log are the test's own doing.
        if !entry.path.starts_with("/_sandbox/") {
            let mut list = self.lock();
            if list.len() == REMEMBERED {
                list.pop_front();
            }
            list.push_back(Arc::clone(&entry));
        }
        entry
    }

    pub(crate) fn list(&self) -> Vec<Request> {
        self.lock().iter().map(|entry| entry.look()).collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
