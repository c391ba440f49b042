//! The bytes of a request on their way: counted, and given up when they stop moving.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{Body, RequestBuilder, Response};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::http::stalled;
use crate::progress::Counter;
use crate::run::Run;
use crate::upload::source_file::SourceFile;

/// Watches one request's bytes: counts them, and gives the request up when they stop moving.
pub(super) struct Flow {
    counter: Option<Arc<Counter>>,
    /// Bytes that are to go out in the request.
    wanted: AtomicU64,
    moved: Arc<AtomicU64>,
    /// Told whenever bytes have been handed over.
    has_moved: Arc<Notify>,
    source_error: Arc<Mutex<Option<Error>>>,
}

impl Flow {
    /// Counts bytes as they leave.
    pub(super) fn new(run: &Run, start: u64) -> Self {
        run.counter.set(start);
        Self { counter: Some(Arc::clone(&run.counter)), ..Self::silent() }
    }

    /// Watches without counting.
    pub(super) fn silent() -> Self {
        Self {
            counter: None,
            wanted: AtomicU64::new(0),
            moved: Arc::default(),
            has_moved: Arc::default(),
            source_error: Arc::default(),
        }
    }

    /// The bytes `start..end` of the source as a request body. A chunk counts when the next one is asked for, so
    /// the last one never counts before the answer is here.
    pub(super) fn body(&self, run: &Run, source: &SourceFile, start: u64, end: u64) -> Body {
        self.wanted.store(end - start, Ordering::Relaxed);
        let inbox = source.read(start, end);
        let state = (
            inbox,
            0_u64,
            run.clone(),
            self.counter.clone(),
            (Arc::clone(&self.moved), Arc::clone(&self.has_moved)),
            Arc::clone(&self.source_error),
        );
        let stream = futures_util::stream::unfold(
            state,
            |(mut inbox, last, run, counter, (moved, has_moved), source_error)| async move {
                if let Some(counter) = &counter {
                    counter.add(last);
                }
                let chunk: std::io::Result<Bytes> = match inbox.recv().await? {
                    Ok(chunk) => {
                        // Bytes that wait for the speed limit are no standstill.
                        let moves = |bytes: usize| {
                            moved.fetch_add(bytes as u64, Ordering::Relaxed);
                        };
                        run.limit_up().pass(chunk.len(), moves).await;
                        has_moved.notify_one();
                        Ok(chunk)
                    }
                    Err(error) => {
                        *source_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Err(std::io::Error::other("the source file could not be read"))
                    }
                };
                let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Some((chunk, (inbox, length, run, counter, (moved, has_moved), source_error)))
            },
        );
        Body::wrap_stream(Exactly { stream: Box::pin(stream) })
    }

    /// How many bytes of the body were handed over to the connection.
    pub(super) fn sent(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether every byte of the body was handed over to the connection.
    pub(super) fn all_sent(&self) -> bool {
        self.moved.load(Ordering::Relaxed) >= self.wanted.load(Ordering::Relaxed)
    }

    /// Returns when every byte of the body was handed over to the connection.
    pub(super) async fn handed_over(&self) {
        while !self.all_sent() {
            self.has_moved.notified().await;
        }
    }

    /// Sends, unless the transfer is to stop, the source fails, or nothing moves for too long.
    pub(super) async fn send(&self, run: &Run, request: RequestBuilder) -> Result<Response> {
        let http = &run.queue().http;
        let limits = http.limits;
        let result = tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err(Error::canceled()),
            answer = http.execute(request) => answer,
            limit = self.standstill(limits.stall, limits.answer) => Err(stalled(limit)),
        };
        match self.source_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Returns when no byte has moved for the stall limit; when all have gone out, the last of them may still be on their
    /// way, and the store may be thinking: then it is the longer one.
    async fn standstill(&self, stall: Duration, answer: Duration) -> Duration {
        let mut last = self.moved.load(Ordering::Relaxed);
        let mut still = Duration::ZERO;
        let step = stall.min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(step).await;
            let moved = self.moved.load(Ordering::Relaxed);
            still = if moved == last { still + step } else { Duration::ZERO };
            last = moved;
            let limit = if moved < self.wanted.load(Ordering::Relaxed) { stall } else { answer.max(stall) };
            if still >= limit {
                return limit;
            }
        }
    }
}

/// A stream in a box that is `Sync`-free and `Unpin`, as the client's body wants it.
struct Exactly<S> {
    stream: std::pin::Pin<Box<S>>,
}

impl<S: Stream<Item = std::io::Result<Bytes>>> Stream for Exactly<S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}
