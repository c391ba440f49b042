//! The connections of one download: one to begin with, more while that makes it faster.
//!
//! The file is cut into segments that nobody fetches twice. A connection that has finished takes half of what the
//! slowest has left. More connections are tried only where the answer proved that ranges work and the file has a
//! strong validator, while the end is seconds away, and only as long as each step really brings more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, HeaderMap, IF_RANGE, RANGE};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::{Cause, Error, Result};
use crate::http::{self, Fetch};
use crate::part_writer::Inbox;
use crate::range::{ContentRange, Validator};
use crate::run::Run;
use crate::words::{Phrase, Size};

/// The gain is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// A new connection has this many looks to show what it brings.
const LOOKS_TO_SETTLE: u32 = 2;
/// A step that brings less than this factor was one too many.
const WORTHWHILE: f64 = 1.25;
/// With so many it is certain that each connection is throttled by itself. From here on the factor says little: what is
/// throttled often comes in bursts, and those of the last step's new connections look like speed.
const CERTAIN: usize = 8;
/// With less than this to go at the present speed, a new connection comes too late.
const WORTH_STARTING: f64 = 1.0;
/// Nothing smaller is cut in two.
const SMALLEST_CUT: u64 = 2 * 1024 * 1024;

/// A stretch that one connection fetches. Its end can come nearer while it does.
struct Segment {
    /// Next byte to be handed to the writer, and the byte after the last.
    bounds: Mutex<(u64, u64)>,
    /// Where it ended when it was asked for: so far its answer can reach.
    reach: u64,
}

impl Segment {
    fn new(start: u64, end: u64) -> Self {
        Self { bounds: Mutex::new((start, end)), reach: end }
    }

    fn bounds(&self) -> MutexGuard<'_, (u64, u64)> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next `length` bytes, or as many as are left of it: their place and number.
    fn claim(&self, length: usize) -> (u64, usize) {
        let mut bounds = self.bounds();
        let (at, end) = *bounds;
        let taken = length.min(usize::try_from(end - at).unwrap_or(usize::MAX));
        bounds.0 += taken as u64;
        (at, taken)
    }

    fn left(&self) -> u64 {
        let (at, end) = *self.bounds();
        end - at
    }

    /// Takes the half back that was cut off, if its own answer still brings it.
    fn rejoin(&self, start: u64, end: u64) -> bool {
        let mut bounds = self.bounds();
        let fits = bounds.1 == start && bounds.0 < bounds.1 && end <= self.reach;
        if fits {
            bounds.1 = end;
        }
        fits
    }

    /// Cuts off the second half for somebody else.
    fn halve(&self) -> Option<Self> {
        let mut bounds = self.bounds();
        let (at, end) = *bounds;
        if end - at < SMALLEST_CUT {
            return None;
        }
        let middle = at + (end - at) / 2;
        bounds.1 = middle;
        Some(Self::new(middle, end))
    }
}

/// What all connections of a download share.
pub(crate) struct Connections {
    run: Run,
    fetch: Fetch,
    inbox: Inbox,
    /// What tells that a further answer is about the same file; `None` = one connection only.
    several: Option<(Validator, u64)>,
    most: usize,
    busy: Mutex<Vec<Arc<Segment>>>,
    free: Mutex<Vec<Arc<Segment>>>,
}

impl Connections {
    /// `gaps` is what is still to be fetched; the first one belongs to the answer that is already coming in.
    pub fn new(
        run: &Run,
        fetch: &Fetch,
        inbox: Inbox,
        several: Option<(Validator, u64)>,
        most: u8,
        gaps: &[(u64, u64)],
    ) -> Arc<Self> {
        let segments = gaps.iter().map(|(start, end)| Arc::new(Segment::new(*start, *end)));
        let most = if several.is_some() { usize::from(most) } else { 1 };
        Arc::new(Self {
            run: run.clone(),
            fetch: fetch.clone(),
            inbox,
            several,
            most,
            busy: Mutex::default(),
            // The last one is taken first.
            free: Mutex::new(segments.rev().collect()),
        })
    }

    /// Saves everything: the answer that is coming in, then the rest, by as many connections as help.
    pub async fn save_all(self: Arc<Self>, answer: Response, begun: Vec<Bytes>) -> Result<()> {
        let mut team: JoinSet<Result<()>> = JoinSet::new();
        team.spawn(Arc::clone(&self).first(answer, begun));
        let mut trouble = None;
        let mut gain = Gain::new(self.run.counter.get());
        let mut looks = tokio::time::interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = team.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        // The others go on; what this one had left is free again.
                        gain.settled = true;
                        trouble = Some(error);
                    }
                    Some(Err(_)) => trouble = Some(Error::internal("A connection was interrupted")),
                },
                _ = looks.tick(), if self.most > 1 && !gain.settled => {
                    let more = gain.look(self.run.counter.get(), self.left(), team.len());
                    for _ in 0..more.min(self.most.saturating_sub(team.len())) {
                        let Ok(permit) = Arc::clone(&self.run.queue().extra_connections).try_acquire_owned() else {
                            break;
                        };
                        team.spawn(Arc::clone(&self).extra(permit));
                    }
                    if team.len() >= self.most {
                        gain.settled = true;
                    }
                }
            }
        }
        match trouble {
            Some(error) if self.left() > 0 || self.several.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// Bytes that nobody has handed to the writer yet.
    fn left(&self) -> u64 {
        let busy: u64 = lock(&self.busy).iter().map(|segment| segment.left()).sum();
        let free: u64 = lock(&self.free).iter().map(|segment| segment.left()).sum();
        busy.saturating_add(free)
    }

    async fn first(self: Arc<Self>, answer: Response, begun: Vec<Bytes>) -> Result<()> {
        if let Some(segment) = self.take() {
            let result = self.pump(&segment, answer, begun).await;
            self.give_back(&segment);
            result?;
        }
        if self.several.is_some() { self.rest().await } else { Ok(()) }
    }

    async fn extra(self: Arc<Self>, _permit: OwnedSemaphorePermit) -> Result<()> {
        self.rest().await
    }

    /// Fetches segments until there is none left worth a request.
    async fn rest(&self) -> Result<()> {
        while let Some(segment) = self.take() {
            let result = self.fetch(&segment).await;
            self.give_back(&segment);
            result?;
        }
        Ok(())
    }

    /// The next segment: one that is free, else half of the largest that somebody is busy with.
    fn take(&self) -> Option<Arc<Segment>> {
        let free = lock(&self.free).pop();
        let mut busy = lock(&self.busy);
        let segment = match free {
            Some(segment) => segment,
            None => Arc::new(busy.iter().max_by_key(|segment| segment.left())?.halve()?),
        };
        busy.push(Arc::clone(&segment));
        Some(segment)
    }

    /// A connection is done with its segment, or gave up in the middle of it.
    fn give_back(&self, segment: &Arc<Segment>) {
        let mut busy = lock(&self.busy);
        busy.retain(|busy| !Arc::ptr_eq(busy, segment));
        let (start, end) = *segment.bounds();
        if start < end && !busy.iter().any(|busy| busy.rejoin(start, end)) {
            lock(&self.free).push(Arc::new(Segment::new(start, end)));
        }
    }

    async fn fetch(&self, segment: &Segment) -> Result<()> {
        let Some((validator, total)) = &self.several else { return Ok(()) };
        let (start, end) = *segment.bounds();
        let header =
            |text: String| text.parse().map_err(|_| Error::internal("A header could not be written"));
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, header(format!("bytes={start}-{}", end - 1))?);
        headers.insert(IF_RANGE, header(validator.if_range().to_owned())?);
        let answer = self.run.or_stop(self.run.queue().http.fetch(&self.fetch, &headers)).await??;
        let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = matches!(range.and_then(ContentRange::parse),
            Some(ContentRange::Part { first, total: Some(known), .. }) if first == start && known == *total);
        match answer.status().as_u16() {
            206 if fits && validator.agrees_with(answer.headers()) != Some(false) => {
                self.pump(segment, answer, Vec::new()).await
            }
            429 => Err(Error::new(Cause::RateLimited, Phrase::FewerConnections)),
            500..=599 => Err(Error::new(Cause::ServerTrouble, Phrase::TroubleWithConnections)),
            // Whether the file changed is for the next attempt to find out, with one connection.
            _ => Err(Error::new(Cause::CutShort, Phrase::PartNotGiven)),
        }
    }

    /// Moves a body from the network to the writer, up to the end of its segment, which may come nearer meanwhile.
    async fn pump(&self, segment: &Segment, mut answer: Response, begun: Vec<Bytes>) -> Result<()> {
        let stall = self.run.queue().http.limits.stall;
        let mut begun = begun.into_iter();
        while segment.left() > 0 {
            let chunk = match begun.next() {
                Some(chunk) => Some(chunk),
                None => next_chunk(&self.run, &mut answer, stall).await?,
            };
            let Some(mut chunk) = chunk else {
                return match segment.left() {
                    // Its end is not known: the protocol said that this was it.
                    left if left > u64::MAX / 2 => Ok(()),
                    left => Err(Error::new(Cause::CutShort, Phrase::ConnectionEndedEarly)
                        .because(Phrase::AreMissing { missing: Size(left) })),
                };
            };
            self.run.or_stop(self.run.queue().limit_down.pass(chunk.len(), |_| {})).await?;
            // What lies beyond the segment belongs to somebody else, or to nobody.
            let (at, taken) = segment.claim(chunk.len());
            chunk.truncate(taken);
            if taken > 0 && !self.run.or_stop(self.inbox.write(at, chunk)).await? {
                // The writer has stopped; its own error says why.
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The next bytes of a body, no later than the stall limit.
pub(crate) async fn next_chunk(run: &Run, answer: &mut Response, stall: Duration) -> Result<Option<Bytes>> {
    match run.or_stop(tokio::time::timeout(stall, answer.chunk())).await? {
        Ok(chunk) => chunk.map_err(|error| http::from_reqwest(&error)),
        Err(_) => Err(http::stalled(stall)),
    }
}

/// Judges whether more connections bring more.
struct Gain {
    bytes: u64,
    at: Instant,
    /// Speed before the last step.
    before: Option<f64>,
    looks: u32,
    /// No more are added.
    settled: bool,
}

impl Gain {
    fn new(bytes: u64) -> Self {
        Self { bytes, at: Instant::now(), before: None, looks: 0, settled: false }
    }

    /// How many connections to add now.
    fn look(&mut self, bytes: u64, left: u64, connections: usize) -> usize {
        self.looks += 1;
        if self.looks < LOOKS_TO_SETTLE {
            if self.looks == 1 {
                // What happened before, the new connections' first steps included, says nothing.
                (self.bytes, self.at) = (bytes, Instant::now());
            }
            return 0;
        }
        let speed = bytes.saturating_sub(self.bytes) as f64 / self.at.elapsed().as_secs_f64().max(0.001);
        self.looks = 0;
        let worthwhile = if connections < CERTAIN { WORTHWHILE } else { 1.0 };
        if self.before.is_some_and(|before| speed < before * worthwhile) {
            self.settled = true;
            return 0;
        }
        if speed > 0.0 && (left as f64) / speed < WORTH_STARTING {
            return 0;
        }
        self.before = Some(speed);
        // One more is the question whether it helps at all; after a yes the steps are large, as time is short.
        if connections == 1 { 1 } else { connections * 3 }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_never_overlap_and_nothing_is_lost() {
        let whole = Segment::new(0, 10 * SMALLEST_CUT);
        assert_eq!(whole.claim(100), (0, 100));
        let half = whole.halve().unwrap();
        assert_eq!(whole.bounds().1, half.bounds().0);
        assert_eq!(whole.left() + half.left() + 100, 10 * SMALLEST_CUT);
        let most = usize::try_from(whole.left()).unwrap();
        assert_eq!(whole.claim(usize::MAX), (100, most));
        assert_eq!(whole.claim(1).1, 0);
        assert!(Segment::new(0, SMALLEST_CUT - 1).halve().is_none());
    }
}
