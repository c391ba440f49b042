//! The bytes of a request on their way: counted, and given up when they stop moving.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{Body, RequestBuilder, Response};
use tokio::sync::{Notify, mpsc};

use crate::error::{Error, Result};
use crate::http::reach::Reach;
use crate::http::stalled;
use crate::progress::Counter;
use crate::run::Run;
use crate::upload::in_flight::InFlight;
use crate::upload::source_file::SourceFile;

/// A line that is not known to be fast gets so many bytes at once: a larger piece could take it minutes, in which nothing
/// would be seen to move.
const SMALL_PIECE: usize = 16 << 10;
/// So many bytes show what a line is like …
const SAMPLE: u64 = 8 << 20;
/// … that takes them in this time.
const FAST_SAMPLE: Duration = Duration::from_secs(8);
/// A connection whose socket nobody can tell from others may be taken to move for so long, because those do.
const MOST_HIDDEN: Duration = Duration::from_secs(600);

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
        let pieces = Pieces {
            inbox: source.read(start, end, run.calls()),
            rest: Bytes::new(),
            last: 0,
            sample: (0, Instant::now()),
            is_fast: false,
            run: run.clone(),
            counter: self.counter.clone(),
            moved: Arc::clone(&self.moved),
            has_moved: Arc::clone(&self.has_moved),
            source_error: Arc::clone(&self.source_error),
        };
        let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.next().await?;
            Some((piece, pieces))
        });
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
    pub(super) async fn send(&self, run: &Run, request: RequestBuilder, reach: Reach) -> Result<Response> {
        let http = &run.queue().http;
        let limits = http.limits;
        let result = tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err(Error::canceled()),
            answer = http.execute(request, reach) => answer,
            limit = Box::pin(self.standstill(run, limits.stall, limits.answer)) => Err(stalled(limit)),
        };
        match self.source_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => result,
        }
    }

    /// Returns when no byte has moved for twice the stall limit, where the system tells what the other side has
    /// acknowledged: two kilobytes a second are slow, and may be acknowledged in pieces of 64 KiB. Where it does not tell
    /// that, for four times as long. When all have been acknowledged, the store may be thinking: then it is the limit for
    /// answers.
    async fn standstill(&self, run: &Run, stall: Duration, answer: Duration) -> Duration {
        let mut last = self.moved.load(Ordering::Relaxed);
        let (mut still, mut hidden) = (Duration::ZERO, Duration::ZERO);
        let (mut in_flight, mut is_told) = (InFlight::default(), false);
        let step = stall.min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(step).await;
            let moved = self.moved.load(Ordering::Relaxed);
            // A source that does not come is no line that stands still.
            if moved != last || run.calls().is_silent(step) {
                (last, still, hidden) = (moved, Duration::ZERO, Duration::ZERO);
                continue;
            }
            still += step;
            let is_last = self.all_sent();
            if still >= stall / 4 {
                let moves = in_flight.look(is_last).await;
                is_told = moves.is_some();
                if moves == Some(true) && (is_last || hidden < MOST_HIDDEN) {
                    hidden += still;
                    still = Duration::ZERO;
                }
            }
            let limit = match (is_last, is_told) {
                (true, _) => answer.max(stall),
                (false, true) => 2 * stall,
                (false, false) => 4 * stall,
            };
            if still >= limit {
                return limit;
            }
        }
    }
}

/// The bytes of a body, in pieces that fit the line.
struct Pieces {
    inbox: mpsc::Receiver<Result<Bytes>>,
    /// What was read and not handed over yet.
    rest: Bytes,
    /// Length of the piece before: it counts when the next one is asked for.
    last: u64,
    /// Bytes that were handed over since then.
    sample: (u64, Instant),
    is_fast: bool,
    run: Run,
    counter: Option<Arc<Counter>>,
    moved: Arc<AtomicU64>,
    has_moved: Arc<Notify>,
    source_error: Arc<Mutex<Option<Error>>>,
}

impl Pieces {
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        if let Some(counter) = &self.counter {
            counter.add(std::mem::take(&mut self.last));
        }
        if self.rest.is_empty() {
            self.rest = match self.inbox.recv().await? {
                Ok(chunk) => chunk,
                Err(error) => {
                    *self.source_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Some(Err(std::io::Error::other("the source file could not be read")));
                }
            };
        }
        if self.sample.0 >= SAMPLE {
            self.is_fast = self.sample.1.elapsed() < FAST_SAMPLE;
            self.sample = (0, Instant::now());
        }
        let most = if self.is_fast { self.rest.len() } else { SMALL_PIECE };
        let piece = self.rest.split_to(self.rest.len().min(most));
        // Bytes that wait for the speed limit are no standstill.
        let moves = |bytes: usize| {
            self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        };
        self.run.limit_up().pass(piece.len(), moves).await;
        self.has_moved.notify_one();
        self.last = piece.len() as u64;
        self.sample.0 += self.last;
        Some(Ok(piece))
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
