//! The connections of one download: one to begin with, more while that makes it faster.
//!
//! The file is cut into segments that nobody fetches twice. The first answer runs from the front towards the end; the
//! others ask for exact pieces, cut from the end of what it has left and smaller the less that is, so that all are done
//! at the same time. Only an answer that is cut short costs something, as what the server has sent of it already comes
//! for nothing: that is the first one, once, and one that has fallen far behind the others.
//!
//! More connections are tried only where the answer proved that ranges work and the file has a strong validator, while
//! the end is seconds away, while it is the network that is waited for, and only as long as each step brings more.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, IF_RANGE, RANGE};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::part_writer::Inbox;
use super::response::header;
use crate::error::{Cause, Error, Result};
use crate::http::body::Body;
use crate::http::head::{Asked, Reading};
use crate::http::identity::{Identity, Sameness};
use crate::http::reach::Destination;
use crate::http::{Fetch, stalled};
use crate::run::Run;
use crate::words::{Phrase, Size};

/// The gain is looked at this often, by how quickly the server answers: a new connection must have had the time to show
/// what it brings.
const LOOK_EVERY: std::ops::RangeInclusive<Duration> = Duration::from_millis(75)..=Duration::from_millis(150);
/// Between two looks the server could have answered so many times.
const ANSWERS_A_LOOK: u32 = 4;
/// After so many looks it is measured what a step brings, until so many.
const QUICKLY: (u32, u32) = (1, 2);
/// The same once more after a no, in time. What is throttled often comes in bursts, which a quick look may take for speed.
const PATIENTLY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1350));
/// With less than this to go at the present speed, a no is not asked about again.
const WORTH_PATIENCE: f64 = 5.0;
/// A step that brings less than this factor was one too many.
const WORTHWHILE: f64 = 1.25;
/// With so many it is certain that each connection is throttled by itself. From here on the factor says little: what is
/// throttled often comes in bursts, and those of the last step's new connections look like speed.
const CERTAIN: usize = 8;
/// With less than this to go at the present speed, a new connection comes too late.
const WORTH_STARTING: f64 = 1.0;
/// Bytes a second that no server throttles a connection to: what is as fast alone gains nothing that anybody would notice.
const FAST: f64 = (64 << 20) as f64;
/// So much of its time a connection may wait for the disk or the user's limit before more of them are pointless.
const HELD_BACK: f64 = 0.25;
/// What is left of less than this is not worth another request, however slow it is.
const SMALLEST_CUT: u64 = 2 << 20;
/// A piece takes as long as so many looks at least (a quarter to half a second), within these bounds.
const LOOKS_A_PIECE: f64 = 10.0 / 3.0;
const SMALLEST_PIECE: std::ops::RangeInclusive<u64> = (256 << 10)..=(2 << 20);
/// Pieces are cut as if there were so many connections, if there are fewer: one that fell behind must not hold half.
const SHARES: u64 = 16;
/// A piece is so much of its connection's share of all that is left. The rest of it evens out who is slower or later.
const OF_A_SHARE: f64 = 0.85;
/// Whoever has work for this many seconds left, when others have nothing, is behind.
const BEHIND: f64 = 2.0;

/// A further connection that has no answer for so long gets none, while others get theirs: some servers take them all, and
/// serve one at a time.
const UNANSWERED: Duration = Duration::from_secs(5);
/// Unless the first answer has taken its time, too: so many times that.
const AS_SLOW: u32 = 4;

/// A stretch that one connection fetches. Its end can come nearer while it does.
struct Segment(Mutex<Bounds>);

struct Bounds {
    /// Next byte to be handed to the writer.
    at: u64,
    /// The byte after the last.
    end: u64,
    /// Where it ended when it was asked for: so far its answer goes.
    reach: Option<u64>,
}

impl Segment {
    fn new(at: u64, end: u64) -> Self {
        Self(Mutex::new(Bounds { at, end, reach: None }))
    }

    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        lock(&self.0)
    }

    /// It is asked for as it is now: where it begins and ends.
    fn ask(&self) -> (u64, u64) {
        let mut bounds = self.bounds();
        bounds.reach = Some(bounds.end);
        (bounds.at, bounds.end)
    }

    /// Its answer brings no more than this, though more was asked for.
    fn reaches(&self, end: Option<u64>) {
        let mut bounds = self.bounds();
        bounds.reach = bounds.reach.map(|reach| end.map_or(reach, |end| reach.min(end)));
    }

    /// Takes the next `length` bytes, or as many as are left of it: their place and number.
    fn claim(&self, length: usize) -> (u64, usize) {
        let mut bounds = self.bounds();
        let at = bounds.at;
        let taken = length.min(usize::try_from(bounds.end - at).unwrap_or(usize::MAX));
        bounds.at += taken as u64;
        (at, taken)
    }

    fn left(&self) -> u64 {
        let bounds = self.bounds();
        bounds.end - bounds.at
    }

    /// Whether its answer is cut short as it is, or not asked for yet: cutting off more costs nothing.
    fn is_cut(&self) -> bool {
        let bounds = self.bounds();
        bounds.reach.is_none_or(|reach| bounds.end < reach)
    }

    /// Takes back what was cut off, if its own answer still brings it.
    fn rejoin(&self, start: u64, end: u64) -> bool {
        let mut bounds = self.bounds();
        let reaches = bounds.reach.is_some_and(|reach| end <= reach);
        let fits = bounds.end == start && bounds.at < bounds.end && reaches;
        if fits {
            bounds.end = end;
        }
        fits
    }

    /// Cuts off its end for another connection: about `wanted` bytes, no less than `smallest`, no more than half.
    fn cut(&self, wanted: u64, smallest: u64) -> Option<Self> {
        let mut bounds = self.bounds();
        let left = bounds.end - bounds.at;
        if left < SMALLEST_CUT.max(2 * smallest) {
            return None;
        }
        let end = bounds.end;
        bounds.end -= wanted.clamp(smallest, left / 2);
        Some(Self::new(bounds.end, end))
    }
}

/// What all connections of a download share.
pub(super) struct Connections {
    run: Run,
    fetch: Fetch,
    /// Where the bytes are from, and more of them are to be asked for.
    from: Destination,
    inbox: Inbox,
    /// The version that every further answer must show to be of; `None` = nothing more is asked for.
    of: Option<Identity>,
    /// A server that does not understand `If-Range` is asked without it.
    on_condition: AtomicBool,
    most: usize,
    busy: Mutex<Vec<Arc<Segment>>>,
    free: Mutex<Vec<Arc<Segment>>>,
    look_every: Duration,
    began: Instant,
    /// Bytes that were there when it began.
    before: u64,
    /// Time that connections have waited for the disk or the user's limit, in nanoseconds.
    held: AtomicU64,
    /// More connections brought nothing: they end with what they have.
    alone: AtomicBool,
    /// What the answers with pieces promised of the whole.
    learned: Mutex<Identity>,
    /// How long a further connection waits for its answer.
    patience: Duration,
    /// More connections were refused, or left without an answer.
    unwelcome: AtomicBool,
    /// So many answers that brought their last byte may still have more.
    end_unseen: AtomicUsize,
}

impl Connections {
    pub fn new(run: &Run, fetch: &Fetch, from: Destination, inbox: Inbox) -> Self {
        Self {
            run: run.clone(),
            fetch: fetch.clone(),
            from,
            inbox,
            of: None,
            on_condition: AtomicBool::new(true),
            most: 1,
            busy: Mutex::default(),
            free: Mutex::default(),
            look_every: *LOOK_EVERY.start(),
            began: Instant::now(),
            before: run.counter.get(),
            held: AtomicU64::new(0),
            alone: AtomicBool::new(false),
            learned: Mutex::default(),
            patience: UNANSWERED,
            unwelcome: AtomicBool::new(false),
            end_unseen: AtomicUsize::new(0),
        }
    }

    /// Whether the server let itself be asked by one connection only.
    pub fn were_unwelcome(&self) -> bool {
        self.unwelcome.load(Ordering::Relaxed)
    }

    /// What further answers have promised of the file.
    pub fn learned(&self) -> Identity {
        lock(&self.learned).clone()
    }

    /// The version that the bytes are of: whether more of it may be asked for at all, and by several connections.
    #[must_use]
    pub fn about(mut self, identity: Identity, can_continue: bool, gives_ranges: bool) -> Self {
        if can_continue && identity.size.is_some() {
            self.most = if gives_ranges { usize::MAX } else { 1 };
            self.of = Some(identity);
        }
        self
    }

    /// `gaps` is what is still to be fetched; the first one belongs to the answer that is already coming in, which the
    /// server took the time `answered` for.
    pub fn start(mut self, most: u8, gaps: &[(u64, u64)], answered: Duration) -> Arc<Self> {
        let ceiling = self.run.queue().http.ceiling(&self.from.url).unwrap_or(usize::MAX);
        self.most = self.most.min(most.into()).min(ceiling);
        // The last one is taken first.
        let segments = gaps.iter().rev().map(|(start, end)| Arc::new(Segment::new(*start, *end)));
        self.free = Mutex::new(segments.collect());
        self.look_every = look_every(answered);
        self.patience = UNANSWERED.max(answered.saturating_mul(AS_SLOW));
        self.began = Instant::now();
        Arc::new(self)
    }

    /// Saves everything: the answer that is coming in, then the rest, by as many connections as help.
    pub async fn save_all(self: Arc<Self>, body: Body) -> Result<()> {
        let mut team: JoinSet<Result<()>> = JoinSet::new();
        // Taken here and not by the task: no other connection may get hold of what this answer brings.
        let first = self.take();
        team.spawn(Arc::clone(&self).first(first, body));
        let (mut trouble, mut is_alone) = (None, false);
        let mut gain = Gain::new(self.run.counter.get(), self.look_every);
        let mut looks = tokio::time::interval_at(Instant::now() + self.look_every, self.look_every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = team.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        // The others go on; what this one had left is free again.
                        gain.settled = true;
                        if !trouble.as_ref().is_some_and(spoils_all) {
                            trouble = Some(error);
                        }
                        // Nobody is left to fetch it, and it was too many at a time that the server did not serve.
                        if team.is_empty() && self.were_unwelcome() && !std::mem::replace(&mut is_alone, true) {
                            team.spawn(Arc::clone(&self).rest());
                        }
                    }
                    Some(Err(_)) => trouble = Some(Error::internal("A connection was interrupted")),
                },
                _ = looks.tick(), if self.most > 1 && !gain.settled => {
                    let held = Duration::from_nanos(self.held.load(Ordering::Relaxed));
                    let more = gain.look(self.run.counter.get(), self.left(), team.len(), held);
                    if gain.settled && !gain.has_helped {
                        self.alone.store(true, Ordering::Relaxed);
                    }
                    // All are cut before one is asked for: none of their answers is cut short by the next.
                    let mut pieces = Vec::new();
                    for _ in 0..more.min(self.most.saturating_sub(team.len())) {
                        let permit = Arc::clone(&self.run.queue().extra_connections).try_acquire_owned();
                        let Ok(permit) = permit else { break };
                        let Some(piece) = self.take() else { break };
                        pieces.push((permit, piece));
                    }
                    for (permit, piece) in pieces {
                        team.spawn(Arc::clone(&self).extra(permit, piece));
                    }
                    if team.len() >= self.most {
                        gain.settled = true;
                    }
                }
            }
        }
        match trouble {
            Some(error)
                if self.left() > 0
                    || self.of.is_none()
                    || spoils_all(&error)
                    || self.end_unseen.load(Ordering::Relaxed) > 0 =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Bytes that nobody has handed to the writer yet.
    fn left(&self) -> u64 {
        let busy: u64 = lock(&self.busy).iter().map(|segment| segment.left()).sum();
        let free: u64 = lock(&self.free).iter().map(|segment| segment.left()).sum();
        busy.saturating_add(free)
    }

    async fn first(self: Arc<Self>, segment: Option<Arc<Segment>>, body: Body) -> Result<()> {
        if let Some(segment) = segment {
            segment.ask();
            segment.reaches(body.end());
            let result = self.pump(&segment, body).await;
            self.give_back(&segment);
            result?;
        }
        self.rest().await
    }

    /// Whatever is left for one connection.
    async fn rest(self: Arc<Self>) -> Result<()> {
        while self.of.is_some()
            && let Some(segment) = self.take()
        {
            self.bring(&segment).await?;
        }
        Ok(())
    }

    async fn extra(self: Arc<Self>, _permit: OwnedSemaphorePermit, piece: Arc<Segment>) -> Result<()> {
        self.bring(&piece).await?;
        while !self.alone.load(Ordering::Relaxed)
            && let Some(segment) = self.take()
        {
            self.bring(&segment).await?;
        }
        Ok(())
    }

    async fn bring(&self, segment: &Arc<Segment>) -> Result<()> {
        let result = self.fetch(segment).await;
        self.give_back(segment);
        result
    }

    /// What one connection has brought in a second so far.
    fn pace(&self, connections: usize) -> f64 {
        let bytes = self.run.counter.get().saturating_sub(self.before) as f64;
        bytes / self.began.elapsed().as_secs_f64().max(0.001) / connections as f64
    }

    /// The next piece: of what is free, else of what the first answer has left, else of whoever is far behind.
    fn take(&self) -> Option<Arc<Segment>> {
        let mut busy = lock(&self.busy);
        let connections = busy.len() + 1;
        let pace = self.pace(connections);
        let piece_of =
            |seconds: f64| ((pace * seconds) as u64).clamp(*SMALLEST_PIECE.start(), *SMALLEST_PIECE.end());
        let smallest = piece_of(self.look_every.as_secs_f64() * LOOKS_A_PIECE);
        let mut free = lock(&self.free);
        let left: u64 = busy.iter().chain(free.iter()).fold(0, |sum, one| sum.saturating_add(one.left()));
        let wanted = (left as f64 / SHARES.max(connections as u64) as f64 * OF_A_SHARE) as u64;
        let segment = match free.pop() {
            Some(segment) if connections == 1 => segment,
            Some(segment) => match segment.cut(wanted, smallest) {
                Some(piece) => {
                    free.push(segment);
                    Arc::new(piece)
                }
                None => segment,
            },
            None => {
                let longest = |segments: &mut dyn Iterator<Item = &Arc<Segment>>| {
                    segments.max_by_key(|segment| segment.left()).cloned()
                };
                let nobody_is_cut = !busy.iter().any(|segment| segment.is_cut());
                let is_cheap =
                    |segment: &&Arc<Segment>| segment.is_cut() || (connections == 2 && nobody_is_cut);
                let behind = 4 * piece_of(BEHIND / 4.0);
                let is_behind = |segment: &&Arc<Segment>| segment.left() >= behind;
                let cheap = longest(&mut busy.iter().filter(is_cheap));
                let piece = cheap.and_then(|segment| segment.cut(wanted, smallest));
                let piece =
                    piece.or_else(|| longest(&mut busy.iter().filter(is_behind))?.cut(wanted, smallest));
                Arc::new(piece?)
            }
        };
        busy.push(Arc::clone(&segment));
        Some(segment)
    }

    /// A connection is done with its segment, or gave up in the middle of it.
    fn give_back(&self, segment: &Arc<Segment>) {
        let mut busy = lock(&self.busy);
        busy.retain(|busy| !Arc::ptr_eq(busy, segment));
        let (start, end) = {
            let bounds = segment.bounds();
            (bounds.at, bounds.end)
        };
        if start < end && !busy.iter().any(|busy| busy.rejoin(start, end)) {
            lock(&self.free).push(Arc::new(Segment::new(start, end)));
        }
    }

    /// Asks for a segment until it is there: an honest answer may bring less than was asked for, and then the rest is asked
    /// for at once.
    async fn fetch(&self, segment: &Segment) -> Result<()> {
        let Some(identity) = &self.of else { return Ok(()) };
        while segment.left() > 0 {
            let before = segment.left();
            match self.ask(segment, identity).await? {
                Some(body) => {
                    segment.reaches(body.end());
                    self.pump(segment, body).await?;
                    if segment.left() == before {
                        return Err(Error::new(Cause::CutShort, Phrase::PartNotGiven));
                    }
                }
                None => self.on_condition.store(false, Ordering::Relaxed),
            }
        }
        Ok(())
    }

    /// Asks for a segment once. `None`: it must be asked for without a condition.
    async fn ask(&self, segment: &Segment, identity: &Identity) -> Result<Option<Body>> {
        let http = &self.run.queue().http;
        let (start, end) = segment.ask();
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, header(&format!("bytes={start}-{}", end - 1))?);
        let on_condition = self.on_condition.load(Ordering::Relaxed);
        if on_condition && let Some(validator) = identity.validator() {
            headers.insert(IF_RANGE, header(validator.if_range())?);
        }
        let asking = http.fetch(&self.fetch, &self.from, &headers);
        let is_one_of_several = lock(&self.busy).len() > 1;
        let reached = if is_one_of_several {
            let Ok(reached) = self.run.or_stop(tokio::time::timeout(self.patience, asking)).await? else {
                self.unwelcome.store(true, Ordering::Relaxed);
                http.learn_ceiling(&self.from.url);
                return Err(stalled(self.patience));
            };
            reached?
        } else {
            self.run.or_stop(asking).await??
        };
        let asked = Asked::Part { start, end: Some(end), of: identity };
        match Reading::of(reached, asked) {
            Reading::Part(answer) => {
                lock(&self.learned).learn(&answer.facts.identity);
                Ok(Some(answer.body))
            }
            Reading::Whole(answer)
                if on_condition && identity.same_as(&answer.facts.identity) == Sameness::Same =>
            {
                Ok(None)
            }
            Reading::Refusal(answer) => {
                let status = answer.status().as_u16();
                if matches!(status, 403 | 420 | 421 | 429 | 503 | 508 | 509) {
                    self.unwelcome.store(true, Ordering::Relaxed);
                    http.learn_ceiling(&self.from.url);
                }
                Err(match status {
                    429 => Error::new(Cause::RateLimited, Phrase::FewerConnections),
                    500..=599 => Error::new(Cause::ServerTrouble, Phrase::TroubleWithConnections),
                    _ => Error::new(Cause::CutShort, Phrase::PartNotGiven),
                })
            }
            // Whether the file changed is for the next attempt to find out, with one connection.
            _ => Err(Error::new(Cause::CutShort, Phrase::PartNotGiven)),
        }
    }

    /// Moves a body from the network to the writer, up to its own end or that of its segment, which may come nearer
    /// meanwhile.
    async fn pump(&self, segment: &Segment, mut body: Body) -> Result<()> {
        self.take_in(segment, &mut body).await?;
        if body.is_complete() {
            let stall = self.run.queue().http.limits.stall;
            self.end_unseen.fetch_add(1, Ordering::Relaxed);
            self.run.or_stop(body.see_end(stall)).await??;
            self.end_unseen.fetch_sub(1, Ordering::Relaxed);
        }
        lock(&self.learned).digests.merge(body.trailing_digests());
        Ok(())
    }

    async fn take_in(&self, segment: &Segment, body: &mut Body) -> Result<()> {
        let stall = self.run.queue().http.limits.stall;
        while segment.left() > 0 {
            let Some(mut placed) = self.run.or_stop(body.next(stall)).await?? else {
                return match segment.left() {
                    // It ended where it was said to; where nobody knows how long the file is, whoever asked sees to the rest.
                    left if body.is_complete() && (self.of.is_some() || left > u64::MAX / 2) => Ok(()),
                    // Its end is not known: the protocol said that this was it.
                    left if left > u64::MAX / 2 && body.end().is_none() => Ok(()),
                    left => Err(Error::new(Cause::CutShort, Phrase::ConnectionEndedEarly)
                        .because(Phrase::AreMissing { missing: Size(left) })),
                };
            };
            let came = Instant::now();
            self.run.or_stop(self.run.limit_down().pass(placed.bytes().len(), |_| {})).await?;
            // What lies beyond the segment belongs to somebody else, or to nobody.
            let (at, taken) = segment.claim(placed.bytes().len());
            if at != placed.at() {
                return Err(Error::internal("Bytes came for another place"));
            }
            placed.truncate(taken);
            if taken > 0 && !self.run.or_stop(self.inbox.write(placed)).await? {
                // The writer has stopped; its own error says why. Nobody may ask for more that has no place.
                return Err(Error::internal("Writing to the disk has stopped"));
            }
            self.held.fetch_add(came.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Judges whether more connections bring more.
struct Gain {
    look_every: Duration,
    /// Where and when it began.
    start: (u64, Instant),
    bytes: u64,
    at: Instant,
    held: Duration,
    /// Speed before the last step.
    before: Option<f64>,
    looks: u32,
    /// More have brought more, at least once.
    has_helped: bool,
    /// It was a no once, by a quick look.
    patient: bool,
    /// No more are added.
    settled: bool,
}

impl Gain {
    fn new(bytes: u64, look_every: Duration) -> Self {
        Self {
            look_every,
            start: (bytes, Instant::now()),
            bytes,
            at: Instant::now(),
            held: Duration::ZERO,
            before: None,
            looks: 0,
            has_helped: false,
            patient: false,
            settled: false,
        }
    }

    /// How many connections to add now. `held`: how long all of them have waited for something else than the network.
    fn look(&mut self, bytes: u64, left: u64, connections: usize, held: Duration) -> usize {
        self.looks += 1;
        let looks = |time: Duration| time.as_nanos().div_ceil(self.look_every.as_nanos()) as u32;
        let (from, until) = if self.patient { (looks(PATIENTLY.0), looks(PATIENTLY.1)) } else { QUICKLY };
        if self.looks == from {
            // What happened before, the new connections' first steps included, says nothing.
            (self.bytes, self.at, self.held) = (bytes, Instant::now(), held);
        }
        if self.looks < until {
            return 0;
        }
        self.looks = 0;
        let time = self.at.elapsed().as_secs_f64().max(0.001);
        let speed = bytes.saturating_sub(self.bytes) as f64 / time;
        let seconds_left = left as f64 / speed.max(1.0);
        let held = held.saturating_sub(self.held).as_secs_f64() / time / connections.max(1) as f64;
        let is_held_back = held > HELD_BACK;
        // A moment in which nothing came says nothing about a connection that was fast on the whole.
        let in_all =
            bytes.saturating_sub(self.start.0) as f64 / self.start.1.elapsed().as_secs_f64().max(0.001);
        if speed.max(in_all) >= FAST * connections as f64 {
            self.settled = true;
            return 0;
        }
        let worthwhile = if connections < CERTAIN { WORTHWHILE } else { 1.0 };
        if let Some(before) = self.before {
            if is_held_back || speed < before * worthwhile {
                self.settled = self.patient || seconds_left < WORTH_PATIENCE;
                (self.patient, self.before) = (true, None);
                return 0;
            }
            self.has_helped = true;
        }
        // Waiting for the disk may be a hiccup: it is looked at again.
        if is_held_back || seconds_left < WORTH_STARTING {
            return 0;
        }
        let is_first_question = self.before.is_none();
        self.before = Some(speed);
        match connections {
            // One more is the question whether it helps at all; after a yes the steps are large, as time is short.
            1 => 1,
            _ if is_first_question => connections,
            _ => connections * 3,
        }
    }
}

/// How often to look at the gain, if the server has taken so long to answer.
fn look_every(answered: Duration) -> Duration {
    answered.saturating_mul(ANSWERS_A_LOOK).clamp(*LOOK_EVERY.start(), *LOOK_EVERY.end())
}

/// Whether it is a failure though no byte is missing: those whose place is not known are worth nothing.
fn spoils_all(error: &Error) -> bool {
    error.cause == Cause::Misplaced
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn pieces_never_overlap_and_nothing_is_lost() {
        let whole = Segment::new(0, 20 * MIB);
        whole.ask();
        assert_eq!(whole.claim(100), (0, 100));
        assert!(!whole.is_cut());
        let piece = whole.cut(3 * MIB, MIB).unwrap();
        assert!(whole.is_cut() && piece.is_cut(), "one will be cut short, the other is not asked for yet");
        assert_eq!(whole.bounds().end, piece.bounds().at);
        assert_eq!(piece.ask(), (whole.bounds().end, 20 * MIB));
        assert!(!piece.is_cut());
        assert_eq!(whole.left() + piece.left() + 100, 20 * MIB);
        let most = usize::try_from(whole.left()).unwrap();
        assert_eq!(whole.claim(usize::MAX), (100, most));
        assert_eq!(whole.claim(1).1, 0);
        assert_eq!(Segment::new(0, 20 * MIB).cut(15 * MIB, MIB).unwrap().left(), 10 * MIB, "half at most");
        assert_eq!(Segment::new(0, 20 * MIB).cut(1, MIB).unwrap().left(), MIB);
        assert!(Segment::new(0, 2 * MIB - 1).cut(MIB, MIB).is_none());
    }

    #[test]
    fn what_was_cut_off_comes_back_only_to_an_answer_that_goes_so_far() {
        let whole = Segment::new(0, 20 * MIB);
        whole.ask();
        let end = whole.cut(5 * MIB, MIB).unwrap();
        assert!(whole.rejoin(end.bounds().at, 20 * MIB));
        assert_eq!(whole.left(), 20 * MIB);
        let shorter = Segment::new(0, 20 * MIB);
        let end = shorter.cut(5 * MIB, MIB).unwrap();
        shorter.ask();
        assert!(!shorter.rejoin(end.bounds().at, 20 * MIB), "it was asked for without its end");
    }

    #[tokio::test(start_paused = true)]
    async fn more_are_added_only_while_it_is_the_network_that_is_slow() {
        for answered in [Duration::ZERO, Duration::from_secs(1)] {
            adds_only_while_it_is_the_network_that_is_slow(look_every(answered)).await;
        }
    }

    async fn adds_only_while_it_is_the_network_that_is_slow(step: Duration) {
        // How many there are in the end, by what one brings in each step, by what several bring, and by how much of its
        // time each waits for the disk.
        let added = async |one: u64, several: &dyn Fn(u32) -> u64, held: Duration| {
            let mut gain = Gain::new(0, step);
            let (mut bytes, mut waited, mut connections) = (0, Duration::ZERO, 1_u32);
            for _ in 0..120 {
                tokio::time::advance(step).await;
                bytes += if connections == 1 { one } else { several(connections) };
                waited += held * connections;
                if !gain.settled && connections < 16 {
                    connections += gain.look(bytes, u64::MAX / 2, connections as usize, waited) as u32;
                }
            }
            (connections, gain.has_helped)
        };
        let slow = MIB / 2;
        let throttled = |connections: u32| slow * u64::from(connections);
        let (most, has_helped) = added(slow, &throttled, Duration::ZERO).await;
        assert!(most >= 16 && has_helped);
        let (most, has_helped) = added(3 * slow, &throttled, Duration::ZERO).await;
        assert!(most >= 16 && has_helped, "a burst at first is not the end of it: {most}");
        let no_more = |_| slow;
        assert_eq!(added(slow, &no_more, Duration::ZERO).await, (4, false), "asked twice");
        assert_eq!(added(slow, &throttled, step / 2).await, (1, false), "the disk is slow");
        assert_eq!(added(20 * MIB, &throttled, Duration::ZERO).await, (1, false), "it is fast");
    }
}
