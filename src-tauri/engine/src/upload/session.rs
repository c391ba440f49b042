//! Resumable sessions (services.md §3.2): chunks that go on from what the store says it has.
//!
//! What the store has confirmed counts, not what was sent, and never more than this transfer handed over: anything beyond
//! that is another file's, or nothing. A "done" that answers the last chunk is believed; one that answers the question how
//! far the store is, only with a reason of its own ([`Line::is_believed`]).

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use reqwest::{Method as Verb, Response};
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::http::address;
use crate::http::error_body;
use crate::http::range;
use crate::http::reach::{self, Destination};
use crate::run::Run;
use crate::services::Confirmation;
use crate::transfer::Stage;
use crate::upload::acknowledged::{Refused, Taken, accept};
use crate::upload::body::Flow;
use crate::upload::signed_url::Method;
use crate::upload::source_file::SourceFile;
use crate::upload::{Kept, Sending, unchanged, verify};
use crate::words::{Phrase, Size};

/// The store's unit: every chunk but the last is a multiple of it.
const UNIT: u64 = 256 * 1024;
const FIRST_CHUNK: u64 = 8 * 1024 * 1024;
const SMALLEST_CHUNK: u64 = 4 * UNIT;
/// Below the hundred megabytes that some servers before a store take at once.
const LARGEST_CHUNK: u64 = 64 * 1024 * 1024;
/// Chunks are sized so that one takes some seconds: longer ones lose more when the line breaks, and each is a request.
const SLOW_CHUNK: Duration = Duration::from_secs(8);
const QUICK_CHUNK: Duration = Duration::from_secs(1);
/// What was quick grows towards this, but not by more than so much at once: a chunk may have been quick by chance.
const GOOD_CHUNK: Duration = Duration::from_secs(2);
const MOST_GROWTH: f64 = 4.0;
/// The status of an answer that says how far a session is.
const INCOMPLETE: u16 = 308;
/// A store that loses sessions more often in one run will lose the next one, too.
const MOST_LOST: u32 = 5;

/// Sends the file through a session: the one from before, the one that the URL is, or a new one.
pub(super) async fn send(sending: &Sending<'_>, method: Method, kept: &mut Kept) -> Result<Taken, Refused> {
    match chunks(sending, method, kept).await {
        Err(Refused::TooEarly) => {
            // What it holds, if anything, is not the file.
            forget(sending.run).await?;
            Err(Refused::TooEarly)
        }
        other => other,
    }
}

async fn forget(run: &Run) -> Result<()> {
    run.change_resume(|record| {
        (record.session, record.handed_over, record.handed) = (None, false, None);
    })
    .await?;
    run.counter.set(0);
    Ok(())
}

async fn chunks(sending: &Sending<'_>, method: Method, kept: &mut Kept) -> Result<Taken, Refused> {
    let Sending { run, source, .. } = *sending;
    let total = source.size();
    let record = run.resume_record();
    let is_new = record.session.is_none() && method == Method::Resumable;
    let handed = match (record.handed, &record.session) {
        _ if is_new => 0,
        (Some(handed), _) => handed,
        // Earlier records do not say; a session that stands in one was opened by its transfer.
        (None, Some(_)) => u64::MAX,
        (None, None) => 0,
    };
    let session = match record.session {
        Some(text) => {
            let reach = match record.session_reach {
                Some(reach) => reach,
                None => reach::on_word_of(&sending.destination()?.url).await,
            };
            Destination { url: parse_session(&text)?, reach }
        }
        None if method == Method::Session => sending.destination()?,
        None => begin(sending, kept).await?,
    };
    let mut line = Line { sending, session, method, handed: AtomicU64::new(handed) };
    // What the store has counts, not what was sent. A session that was just opened has nothing.
    let mut confirmed = 0;
    // The URL is a session that somebody has finished: it says "done" to whatever it is sent.
    let mut was_done = false;
    if !is_new {
        match line.query(kept).await? {
            Progress::Done(taken) if line.is_believed(&taken).await? => {
                hash_whole(run, source).await?;
                return Ok(taken);
            }
            // Nothing shows that this file is what it has.
            Progress::Done(_) if method == Method::Session => {
                run.note(Phrase::DoneNotShown);
                // Where the last byte may have gone out just before a kill, it is most likely this transfer's doing.
                was_done = handed < total;
            }
            Progress::Done(_) => {
                forget(run).await?;
                run.note(Phrase::DoneNotShown);
                line.session = begin(sending, kept).await?;
                line.handed.store(0, Ordering::Relaxed);
            }
            Progress::Has(bytes) => confirmed = bytes,
        }
    }
    if confirmed > source.hashed() {
        run.stage(Stage::Checking);
        hash_up_to(run, source, confirmed).await?;
        run.stage(Stage::Sending);
    }
    if confirmed > 0 {
        run.tell(Phrase::StoreHas { done: Size(confirmed) });
    }
    run.counter.set(confirmed);
    let mut size = FIRST_CHUNK;
    // A store that forgets and is told again has not come further: only what it never had before is progress.
    let (mut highest, mut idle) = (confirmed, 0);
    loop {
        let end = total.min(confirmed + size);
        unchanged(run, source).await?;
        let began = std::time::Instant::now();
        // The store may have every byte and only be about to say so: then it is asked, there is nothing to send.
        let answer = if confirmed == total && total > 0 {
            run.sleep(QUICK_CHUNK).await?;
            line.query(kept).await?
        } else {
            line.chunk(confirmed, end, kept).await?
        };
        match answer {
            Progress::Done(taken) if end == total => {
                if was_done && !line.is_shown(&taken).await? {
                    return Err(line.used_up(Phrase::SessionDoneBefore).into());
                }
                run.counter.set(total);
                return Ok(taken);
            }
            Progress::Done(_) => return Err(Refused::TooEarly),
            Progress::Has(bytes) if bytes > confirmed && bytes < total => {
                if bytes > highest {
                    (highest, idle) = (bytes, 0);
                }
                confirmed = bytes;
                run.counter.set(confirmed);
            }
            Progress::Has(_) => {
                idle += 1;
                if idle >= 3 {
                    return Err(Error::new(Cause::ServerTrouble, Phrase::StoreKeepsNothing).into());
                }
                match line.query(kept).await? {
                    Progress::Done(taken) if line.is_believed(&taken).await? => {
                        run.counter.set(total);
                        return Ok(taken);
                    }
                    Progress::Done(_) => return Err(Refused::TooEarly),
                    Progress::Has(bytes) => {
                        confirmed = bytes;
                        run.counter.set(confirmed);
                    }
                }
            }
        }
        size = next_size(size, began.elapsed());
    }
}

/// How large the next chunk is, after one of this size took so long.
fn next_size(size: u64, took: Duration) -> u64 {
    if took < QUICK_CHUNK {
        let growth = (GOOD_CHUNK.as_secs_f64() / took.as_secs_f64().max(0.001)).min(MOST_GROWTH);
        let grown = (size as f64 * growth) as u64;
        (grown - grown % UNIT).min(LARGEST_CHUNK)
    } else if took > SLOW_CHUNK {
        (size / 2).max(SMALLEST_CHUNK)
    } else {
        size
    }
}

fn parse_session(text: &str) -> Result<Url> {
    address::parse_secure(text)
        .map_err(|why| Error::new(Cause::BadResponse, Phrase::SessionUnusable).because(why))
}

async fn begin(sending: &Sending<'_>, kept: &Kept) -> Result<Destination, Refused> {
    let run = sending.run;
    let Destination { url, reach } = kept.elsewhere.clone().map_or_else(|| sending.destination(), Ok)?;
    let mut request = run
        .queue()
        .http
        .request(Verb::POST, url.clone())
        .header(CONTENT_LENGTH, 0)
        .header("x-goog-resumable", "start")
        .headers(sending.headers_for(&url));
    if let Some(content_type) = sending.content_type(kept) {
        request = request.header(CONTENT_TYPE, content_type);
    }
    let answer = run.or_stop(run.queue().http.send(request, reach)).await??;
    let reach = run.queue().http.reach_on_word_of(&answer);
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if answer.status().is_success() && location.is_some() {
        // The place is what was asked for: words beside it are not about the file, of which nothing was sent. They are read
        // only so that the connection can be used again.
        run.or_stop(error_body(answer, run.queue().http.limits.stall)).await?;
    } else {
        accept(run, answer, true).await?;
    }
    let location = location.ok_or_else(|| Error::new(Cause::ServerTrouble, Phrase::SessionWithoutPlace))?;
    let absolute = url.join(&location).map_err(|error| {
        Error::new(Cause::BadResponse, Phrase::SessionUnusable).because(error.to_string())
    })?;
    let session = parse_session(absolute.as_str())?;
    run.change_resume(|record| {
        (record.session, record.handed_over) = (Some(session.as_str().to_owned()), false);
        record.session_reach = Some(reach);
        // It is this transfer's own: the first chunk may go out before anything more is written down.
        record.handed = Some(sending.source.size().min(FIRST_CHUNK));
    })
    .await?;
    run.tell(Phrase::SessionOpened);
    Ok(Destination { url: session, reach })
}

/// How far the store is.
enum Progress {
    /// It has this many bytes.
    Has(u64),
    /// It says that it has the file.
    Done(Taken),
}

/// An open session.
struct Line<'a> {
    sending: &'a Sending<'a>,
    session: Destination,
    method: Method,
    /// The highest byte, plus one, that this transfer has handed over in it.
    handed: AtomicU64,
}

impl Line<'_> {
    async fn query(&self, kept: &mut Kept) -> Result<Progress, Refused> {
        let run = self.sending.run;
        let request = run
            .queue()
            .http
            .request(Verb::PUT, self.session.url.clone())
            .header(CONTENT_LENGTH, 0)
            .header(CONTENT_RANGE, format!("bytes */{}", self.sending.source.size()))
            .headers(self.sending.headers_for(&self.session.url));
        let answer = run.or_stop(run.queue().http.send(request, self.session.reach)).await??;
        if answer.status().as_u16() == INCOMPLETE {
            // What was handed over did not all arrive.
            self.hand_over(range::resumable_range(answer.headers()) == Some(self.sending.source.size()))
                .await?;
        }
        self.progress(answer, true, true, kept).await
    }

    /// Whether a "done" that answers a question is about this file, rather than a mistake, or about what somebody sent
    /// through this session before: every byte was handed over in it and nothing denies since then that it arrived, the
    /// answer names what is stored, so that it can be compared, or the service has a file of this size.
    async fn is_believed(&self, taken: &Taken) -> Result<bool> {
        let Sending { run, source, .. } = *self.sending;
        Ok(source.size() == 0 || run.resume_record().handed_over || self.is_shown(taken).await?)
    }

    /// Whether something else than the status says what is stored.
    async fn is_shown(&self, taken: &Taken) -> Result<bool> {
        let Sending { run, source, service, target, .. } = *self.sending;
        if verify::names_content(taken, &target.url, source.size()) {
            return Ok(true);
        }
        let (Some(service), Some(asset_id)) = (service, &target.asset_id) else { return Ok(false) };
        let answer = run.or_stop(service.confirm(asset_id)).await?;
        Ok(matches!(answer, Ok(Confirmation::Success { size: Some(size) }) if size == source.size()))
    }

    /// Keeps whether every byte was handed over in this session and may have arrived.
    async fn hand_over(&self, all: bool) -> Result<()> {
        self.sending.run.change_resume(|record| record.handed_over = all).await
    }

    /// Takes note of how far bytes were handed over, and writes down no more than that.
    async fn handed_up_to(&self, end: u64) -> Result<()> {
        let handed = self.handed.fetch_max(end, Ordering::Relaxed).max(end);
        self.sending.run.change_resume(|record| record.handed = Some(handed)).await
    }

    /// How much the store says that it has, if that can be of this transfer.
    async fn credit(&self, bytes: u64) -> Result<u64> {
        let handed = self.handed.load(Ordering::Relaxed);
        if bytes <= handed.min(self.sending.source.size()) {
            return Ok(bytes);
        }
        if self.method == Method::Session && handed == 0 {
            return Err(self.used_up(Phrase::SessionOfOtherBytes));
        }
        // What it holds has a hole, or is not the file.
        if self.method != Method::Session {
            forget(self.sending.run).await?;
        }
        let much = bytes > self.sending.source.size();
        let what = if much { Phrase::StoreHasTooMuch } else { Phrase::StoreHasUnsent };
        Err(Error::new(Cause::BadResponse, what))
    }

    /// The failure for a URL that is a session which somebody has used: only another URL helps.
    fn used_up(&self, what: Phrase) -> Error {
        let cause = if self.sending.is_link() { Cause::LinkExpired } else { Cause::Expired };
        Error::new(cause, what)
    }

    async fn chunk(&self, start: u64, end: u64, kept: &mut Kept) -> Result<Progress, Refused> {
        let Sending { run, source, .. } = *self.sending;
        let total = source.size();
        // Ahead, for a kill that comes in the middle; what it comes to is written down after it.
        run.change_resume(|record| record.handed = record.handed.max(Some(end))).await?;
        let range =
            if total == 0 { "bytes */0".to_owned() } else { format!("bytes {start}-{}/{total}", end - 1) };
        // The counter shows what the store has confirmed; the bytes on their way only keep the watchdog quiet.
        let flow = Flow::silent();
        let request = run
            .queue()
            .http
            .request(Verb::PUT, self.session.url.clone())
            .header(CONTENT_LENGTH, end - start)
            .header(CONTENT_RANGE, range)
            .headers(self.sending.headers_for(&self.session.url))
            .body(flow.body(run, source, start, end));
        let sent = if end == total && total > FIRST_CHUNK {
            let mut sent = pin!(flow.send(run, request, self.session.reach));
            tokio::select! {
                biased;
                answer = &mut sent => answer,
                () = flow.handed_over() => {
                    // A kill from here on must not cost all of a large file. A small one is sent again sooner than this
                    // would be on disk.
                    self.hand_over(true).await?;
                    sent.await
                }
            }
        } else {
            flow.send(run, request, self.session.reach).await
        };
        match sent {
            Ok(answer) => {
                if !answer.status().is_success() {
                    self.hand_over(false).await?;
                }
                if flow.all_sent() {
                    self.handed.fetch_max(end, Ordering::Relaxed);
                } else {
                    self.handed_up_to(start + flow.sent()).await?;
                }
                let is_success = answer.status().is_success();
                let progress = self.progress(answer, flow.all_sent(), start > 0, kept).await;
                if end == total && is_success && matches!(progress, Err(Refused::Fault(_))) {
                    // An answer that broke off is one that got lost.
                    self.hand_over(flow.all_sent()).await?;
                }
                progress
            }
            Err(error) => {
                if end == total && flow.all_sent() {
                    self.hand_over(true).await?;
                }
                self.handed_up_to(start + flow.sent()).await?;
                Err(error.into())
            }
        }
    }

    async fn progress(
        &self,
        answer: Response,
        all_sent: bool,
        of_chunk: bool,
        kept: &mut Kept,
    ) -> Result<Progress, Refused> {
        match answer.status().as_u16() {
            INCOMPLETE => match range::resumable_range(answer.headers()) {
                Some(bytes) => Ok(Progress::Has(self.credit(bytes).await?)),
                // The next attempt asks again before anything is sent.
                None => Err(Error::new(Cause::ServerTrouble, Phrase::StoreUnclear).into()),
            },
            // 499: somebody has canceled it.
            404 | 410 | 499 => Err(self.is_gone(kept).await?.into()),
            _ => {
                let taken = accept(self.sending.run, answer, all_sent).await?;
                Ok(Progress::Done(Taken { of_chunk, ..taken }))
            }
        }
    }

    /// The store no longer knows the session. What opened it opens another, where there is something that did.
    async fn is_gone(&self, kept: &mut Kept) -> Result<Error> {
        let run = self.sending.run;
        let handed_over = run.resume_record().handed_over;
        forget(run).await?;
        kept.lost_sessions += 1;
        kept.sent_all |= handed_over;
        if handed_over && self.method == Method::Session && self.sending.is_link() {
            let error = Error::new(Cause::LinkExpired, Phrase::MayBeThere);
            return Ok(error.because(Phrase::SessionForgotten).advise(Phrase::LookThereFirst));
        }
        run.note(Phrase::SessionLost);
        let cause = match self.method {
            // The service is asked first whether it has the file.
            Method::Session if handed_over && kept.lost_sessions == 1 => Cause::ServerTrouble,
            // The URL is the session itself: only a new one helps.
            Method::Session if self.sending.is_link() => Cause::LinkExpired,
            Method::Session => Cause::Expired,
            _ if kept.lost_sessions >= MOST_LOST => Cause::ServiceRefused,
            _ => Cause::ServerTrouble,
        };
        Ok(Error::new(cause, Phrase::SessionForgotten))
    }
}

async fn hash_whole(run: &Run, source: &SourceFile) -> Result<()> {
    run.stage(Stage::Checking);
    hash_up_to(run, source, source.size()).await?;
    run.counter.set(source.size());
    Ok(())
}

async fn hash_up_to(run: &Run, source: &SourceFile, end: u64) -> Result<()> {
    let (source, reader) = (source.clone(), run.clone());
    run.disk(move || source.hash_up_to(end, || reader.goes_on())).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_grows_with_the_speed_and_is_cut_where_the_line_is_slow() {
        const MIB: u64 = 1024 * 1024;
        let millis = Duration::from_millis;
        let mut sizes = vec![FIRST_CHUNK];
        for _ in 0..4 {
            sizes.push(next_size(sizes[sizes.len() - 1], millis(10)));
        }
        assert_eq!(sizes, [8, 32, 64, 64, 64].map(|size| size * MIB), "no more than that is ever lost");
        assert_eq!(next_size(8 * MIB, millis(800)), 20 * MIB, "two seconds' worth");
        assert_eq!(next_size(8 * MIB + UNIT, millis(900)) % UNIT, 0, "the store's unit");
        assert_eq!(next_size(32 * MIB, millis(3000)), 32 * MIB);
        assert_eq!(next_size(32 * MIB, millis(9000)), 16 * MIB);
        assert_eq!(next_size(MIB, millis(60_000)), MIB);
    }
}
