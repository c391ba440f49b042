//! The TCP connection itself. Most answers go through hyper; those that break HTTP on purpose, or that must
//! leave before the request's body has been read, are written to the socket by hand, after which the
//! connection closes.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header, response};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::faults::HeaderBytes;
use crate::requests::Entry;

/// How long a connection is still read after an early answer. Closing at once would reset it, and a reset may
/// destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(2);

/// One connection; hyper reads and writes through it, and a handler may write past hyper.
pub(crate) struct Wire(pub(crate) Arc<TcpStream>);

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shut_down(&self.0))
    }
}

fn shut_down(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).shutdown(Shutdown::Write)
}

/// The connection closed without a (further) answer.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

/// Marks an answer that must not be sent: the connection closes instead.
#[derive(Clone, Copy)]
pub(crate) struct Hangup;

/// Marks an answer that is to break HTTP, and how.
#[derive(Clone, Default)]
pub(crate) struct Misbehaviour {
    /// Close after so many bytes of the body.
    pub(crate) cut_after: Option<u64>,
    /// Send nothing more after so many bytes of the body.
    pub(crate) stall_after: Option<u64>,
    /// Added to `Content-Length`.
    pub(crate) length_error: i64,
    /// The end of the connection is the end of the body.
    pub(crate) close_delimited: bool,
    /// Headers that `HeaderValue` may not be able to hold.
    pub(crate) headers: Vec<(String, HeaderBytes)>,
}

/// Writes an answer to the socket by hand. `early`: the request's body has not been read, so the rest of it
/// is read and dropped for a while.
pub(crate) async fn send(
    stream: &TcpStream,
    head: &response::Parts,
    body: Body,
    how: &Misbehaviour,
    early: bool,
    entry: &Entry,
) -> io::Result<()> {
    let declared = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok())
        .or(body.size_hint().exact());
    // These have no body by definition, so that their end never needs a length.
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let declared = declared.filter(|_| !bodiless);
    let chunked = declared.is_none() && !how.close_delimited && !bodiless;
    write_all(stream, &head_bytes(head, how, declared, chunked)).await?;

    let mut sent = 0;
    let mut body = body.into_data_stream();
    let end = how.cut_after.into_iter().chain(how.stall_after).min();
    'body: while let Some(bytes) = body.next().await {
        let mut bytes = bytes.map_err(io::Error::other)?;
        if let Some(end) = end {
            bytes.truncate(usize::try_from(end - sent).unwrap_or(usize::MAX));
        }
        if chunked && !bytes.is_empty() {
            write_all(stream, format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        }
        write_all(stream, &bytes).await?;
        sent += bytes.len() as u64;
        entry.sent(bytes.len());
        if chunked && !bytes.is_empty() {
            write_all(stream, b"\r\n").await?;
        }
        if end == Some(sent) {
            break 'body;
        }
    }
    if how.stall_after.is_some_and(|after| sent >= after) {
        // hyper notices when the other side goes, and drops this future.
        std::future::pending::<()>().await;
    }
    if chunked && how.cut_after.is_none_or(|after| sent < after) {
        write_all(stream, b"0\r\n\r\n").await?;
    }
    shut_down(stream)?;
    if early {
        // The time is up or the other side is done; either way there is nothing more to say.
        let _ = tokio::time::timeout(LINGER, drain(stream)).await;
    }
    Ok(())
}

fn head_bytes(head: &response::Parts, how: &Misbehaviour, declared: Option<u64>, chunked: bool) -> Vec<u8> {
    let reason = head.status.canonical_reason().unwrap_or("Unknown");
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in &head.headers {
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(name);
        let replaced = how.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name.as_str()));
        if !framing && !replaced {
            line(name.as_str(), value.as_bytes());
        }
    }
    for (name, value) in &how.headers {
        if !value.as_bytes().is_empty() {
            line(name, value.as_bytes());
        }
    }
    if chunked {
        line("transfer-encoding", b"chunked");
    } else if let Some(length) = declared.filter(|_| !how.close_delimited) {
        line("content-length", length.saturating_add_signed(how.length_error).to_string().as_bytes());
    }
    line("connection", b"close");
    out.extend_from_slice(b"\r\n");
    out
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn drain(stream: &TcpStream) {
    let mut scrap = vec![0; 256 << 10];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut scrap) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// A body whose bytes are counted as they pass.
pub(crate) struct Metered {
    inner: Body,
    entry: Arc<Entry>,
    incoming: bool,
    over: Arc<AtomicBool>,
}

impl Metered {
    /// The body of a request; the flag says whether it has been read to its end.
    pub(crate) fn request(inner: Body, entry: &Arc<Entry>) -> (Body, Arc<AtomicBool>) {
        let over = Arc::new(AtomicBool::new(inner.is_end_stream()));
        let body = Self { inner, entry: Arc::clone(entry), incoming: true, over: Arc::clone(&over) };
        (Body::new(body), over)
    }

    /// The body of an answer.
    pub(crate) fn response(inner: Body, entry: &Arc<Entry>) -> Body {
        Body::new(Self { inner, entry: Arc::clone(entry), incoming: false, over: Arc::default() })
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            if self.incoming {
                self.entry.received(bytes.len());
            } else {
                self.entry.sent(bytes.len());
            }
        }
        if frame.is_none() || self.inner.is_end_stream() {
            self.over.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if !self.incoming {
            self.entry.finish();
        }
    }
}
