//! The request for what is missing, and what its answer means for what is here.
//!
//! A resume is asked for on condition first; an answer that cannot be used is asked for once more without conditions
//! before anything is thrown away, and what is here is kept until the new body has begun.

use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};

use super::body::{Over, save};
use super::{Fetched, Kept, Open, endpoint, refusal_of, sniff, who};
use crate::error::{Cause, Error, Result};
use crate::http::answer;
use crate::http::error_body;
use crate::http::head::{Answer, Asked, Framing, Reading, Unusable};
use crate::http::identity::Sameness;
use crate::http::reach::Destination;
use crate::http::{Reached, Seat};
use crate::run::Run;
use crate::services::{Plan, Service};
use crate::task::DownloadTask;
use crate::transfer::{Wait, WaitReason};
use crate::words::{Count, Phrase};

/// A source that changes more often while it is fetched (or only seems to: several servers behind one name, each with a
/// mark of its own) would fill the disk with old parts.
const MOST_CHANGES: u32 = 3;
/// After so many answers in a row that were none, the place that an address led to is no longer asked.
pub(super) const MOST_MISSES: u32 = 2;
/// More questions than it can take to find out what a server means.
const MOST_QUESTIONS: u32 = 10;
/// A server that has refused further connections may refuse the next one, too, for the last ones' sake. So often it is asked
/// again, after so much more time each.
const MOST_REFUSALS: u32 = 4;
const REFUSES_FOR: Duration = Duration::from_secs(2);
/// After so long without an answer the row says that it is waited for.
const SAY_AFTER: Duration = Duration::from_secs(5);

/// What is asked of the source next. Each step gives up one more assumption about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// The bytes from the first gap on; with `If-Range` or without.
    Rest { on_condition: bool },
    /// The last byte that is here, to see of which version and how long the file is.
    LastByte { on_condition: bool },
    /// The file.
    Whole,
}

impl Question {
    /// What to ask after an answer to this one that could not be used.
    fn next(self) -> Self {
        match self {
            Self::Rest { on_condition: true } => Self::Rest { on_condition: false },
            Self::LastByte { on_condition: true } => Self::LastByte { on_condition: false },
            _ => Self::Whole,
        }
    }

    fn is_on_condition(self) -> bool {
        matches!(self, Self::Rest { on_condition: true } | Self::LastByte { on_condition: true })
    }
}

/// Asks until the file is saved, or it is clear that it cannot be had this way.
pub(super) async fn fetch(
    run: &Run,
    task: &DownloadTask,
    plan: &Plan,
    kept: &mut Kept,
    service: &dyn Service,
) -> Result<Fetched> {
    let is_complete = kept.open.as_ref().is_some_and(Open::is_complete);
    if is_complete && kept.open.as_ref().is_some_and(|open| !open.end_unseen) {
        // Only the proof or the final name was still to come: nobody need be asked.
        return Ok(Fetched::Saved(Framing::Marked));
    }
    let continues = plan.rangeable
        && !kept.no_ranges
        && kept.open.as_ref().is_some_and(|open| open.have() > 0 && open.identity.can_be_shown());
    let mut question = match (continues, is_complete) {
        (true, true) => Question::LastByte { on_condition: true },
        (true, false) => Question::Rest { on_condition: true },
        (false, _) => Question::Whole,
    };
    let mut reason = Phrase::CannotContinueHere;
    let (mut was_broken, mut was_part) = (false, false);
    let mut asked = 0;
    while asked < MOST_QUESTIONS {
        asked += 1;
        let mut seat = take_seat(run, plan, kept).await?;
        let asked_at = Instant::now();
        let reading = match ask(run, plan, kept, question).await {
            Ok(reading) => reading,
            Err(error) => {
                let misses = misses_by(error.cause).is_some_and(|misses| kept.pin_misses(misses));
                if question != Question::Whole && misses && unpin(run, kept).await? {
                    question = Question::Rest { on_condition: true };
                    continue;
                }
                // An answer that had none may have brought a body all the same, which was read as this one's head; that
                // connection is gone now.
                let may_be_of_another = error.cause == Cause::BadResponse && asked > 1;
                if may_be_of_another && !std::mem::replace(&mut was_broken, true) {
                    continue;
                }
                return Err(error);
            }
        };
        let answered = asked_at.elapsed();
        match reading {
            Reading::Part(answer) => {
                let Some(open) = &mut kept.open else { return Err(Error::internal("There is no part file")) };
                (kept.missed, kept.refused_after) = (0, 0);
                if matches!(question, Question::LastByte { .. }) {
                    if answer.body.end() != Some(open.have()) {
                        // It goes on behind what was to be the last.
                        question = Question::Whole;
                        continue;
                    }
                    open.identity.learn(&answer.facts.identity);
                    open.end_unseen = false;
                    return Ok(Fetched::Saved(Framing::Marked));
                }
                open.identity.learn(&answer.facts.identity);
                seat.is_served();
                let saved = save(run, task, plan, kept, (*answer, answered), Over::Join, service).await?;
                if kept.open.as_ref().is_some_and(|open| open.total().is_none()) {
                    // An honest part of a file whose size nobody names: the next one is asked for at once.
                    asked = 0;
                    continue;
                }
                return Ok(saved);
            }
            Reading::Whole(mut answer) => {
                let sameness = sameness(kept, &answer);
                if kept
                    .open
                    .as_ref()
                    .is_some_and(|open| open.have() > 0 && open.identity.contradicts(&answer.facts.identity))
                {
                    return Err(Error::new(Cause::BadResponse, Phrase::TwoSizesOfOne));
                }
                if sameness != Sameness::Same
                    && let Some(error) = sniff::no_file_instead(run, kept, &mut answer, service).await?
                {
                    // What a network shows before one has signed in to it, or a host whose link has ended: the part is as
                    // good as it was.
                    if question != Question::Whole && unpin(run, kept).await? {
                        question = Question::Rest { on_condition: true };
                        continue;
                    }
                    return Err(error);
                }
                // Who says that it gives no ranges has begun to send all of it: asked again it would only begin once more.
                let may_give_rest = answer.facts.may_give_ranges;
                if question.is_on_condition() && sameness != Sameness::Other && may_give_rest {
                    question = question.next();
                    continue;
                }
                let over = match sameness {
                    Sameness::Other
                        if kept
                            .open
                            .as_ref()
                            .is_some_and(|open| open.have() > 0 && open.identity.can_be_shown()) =>
                    {
                        kept.changes += 1;
                        if kept.changes > MOST_CHANGES {
                            break;
                        }
                        Over::Changed
                    }
                    _ => Over::Restart(reason),
                };
                seat.is_served();
                let saved = save(run, task, plan, kept, (*answer, answered), over, service).await?;
                if matches!(saved, Fetched::Saved(Framing::Closed)) {
                    Box::pin(look_behind(run, plan, kept)).await?;
                }
                return Ok(saved);
            }
            Reading::OutOfRange { total } => {
                let open = kept.open.as_ref();
                let is_here = |open: &Open| {
                    let fits = total.is_none_or(|total| total == open.have());
                    open.total().is_none() && fits && open.gaps().len() == 1
                };
                question = match question {
                    // Of a file whose size was never told all may be here, also where none is told now: its last byte shows it.
                    Question::Rest { on_condition } if open.is_some_and(is_here) => {
                        Question::LastByte { on_condition }
                    }
                    question => next(run, kept, question).await?,
                };
            }
            Reading::StartOver(_) if question == Question::Whole => {
                // A part, of which nobody says where it belongs, of a file that was asked for whole.
                if std::mem::replace(&mut was_part, true) {
                    return Err(not_asked_for(service));
                }
            }
            Reading::StartOver(unusable) => {
                (question, reason) = match unusable {
                    // A part of another version says so with or without a condition.
                    Unusable::Changed => (Question::Whole, reason),
                    Unusable::NotShown => (next(run, kept, question).await?, Phrase::SameFileNotShown),
                    Unusable::Elsewhere => (next(run, kept, question).await?, Phrase::ContinuedElsewhere),
                    Unusable::SeveralParts => (next(run, kept, question).await?, Phrase::SeveralParts),
                };
            }
            Reading::Unchanged | Reading::Nothing if question != Question::Whole => {
                question = next(run, kept, question).await?;
            }
            Reading::Unchanged => return Err(Error::new(Cause::BadResponse, Phrase::AnsweredUnchanged)),
            Reading::Nothing => return Err(Error::new(Cause::BadResponse, Phrase::NoContentThere)),
            Reading::NotYet { wait } => {
                let mut error = Error::new(Cause::NotYet, Phrase::NotReadyThere { service: who(service) });
                error.retry_after = wait;
                return Err(error);
            }
            Reading::NoFile if question != Question::Whole && unpin(run, kept).await? => {
                question = Question::Rest { on_condition: true };
            }
            Reading::NoFile => return Err(not_asked_for(service)),
            Reading::Refusal(answer) => {
                let status = answer.status().as_u16();
                if question != Question::Whole {
                    // Servers that know no ranges have more ways to say so than to ignore them.
                    let is_of_ranges = matches!(status, 400 | 405 | 412 | 417 | 501);
                    let may_be_of_condition = matches!(status, 412 | 417) && question.is_on_condition();
                    let passes = matches!(status, 408 | 425 | 429 | 500 | 502..=599);
                    let misses = if passes { 1 } else { MOST_MISSES };
                    if !may_be_of_condition && kept.pin_misses(misses) && unpin(run, kept).await? {
                        question = Question::Rest { on_condition: true };
                        continue;
                    }
                    if is_of_ranges {
                        question = question.next();
                        continue;
                    }
                }
                let error = refusal(run, plan, answer, service).await?;
                return Err(match may_pass(run, plan, kept, (status, &error)) {
                    // Its own word for the time counts more.
                    Some(_) if error.retry_after.is_some() => Error { cause: Cause::RateLimited, ..error },
                    Some(wait) => Error { cause: Cause::Crowded, retry_after: Some(wait), ..error },
                    None => error,
                });
            }
        }
        if question == Question::Whole {
            // What is known of this server: that it cannot continue.
            kept.no_ranges = true;
            run.update(|row| row.resumable = false);
        }
    }
    if kept.changes > MOST_CHANGES {
        return Err(Error::new(Cause::ChangedAtSource, Phrase::KeepsChanging));
    }
    Err(not_asked_for(service))
}

/// A body that ended with its connection may have been cut. Where nobody has told its size, the server is asked once, by its
/// last byte, whether it was all; if it does not say so, the row tells that nothing confirms it.
async fn look_behind(run: &Run, plan: &Plan, kept: &mut Kept) -> Result<()> {
    let Some(open) = &kept.open else { return Ok(()) };
    let is_told =
        open.total().is_some() || plan.expected_size.is_some() || !open.identity.digests.all.is_empty();
    if is_told || open.have() == 0 || !plan.rangeable || kept.no_ranges || !open.identity.can_be_shown() {
        return Ok(());
    }
    let asking = ask(run, plan, kept, Question::LastByte { on_condition: true });
    let reading = match tokio::time::timeout(run.queue().http.limits.stall, asking).await {
        Ok(Ok(reading)) => reading,
        Ok(Err(error)) if error.cause == Cause::Canceled => return Err(error),
        // That it cannot be asked says nothing about what has come.
        Ok(Err(_)) | Err(_) => return Ok(()),
    };
    let Some(open) = &mut kept.open else { return Ok(()) };
    match reading {
        Reading::Part(answer) => {
            let goes_on = answer.body.end().is_some_and(|end| end > open.have());
            open.identity.learn(&answer.facts.identity);
            if goes_on && open.total().is_none() {
                return Err(Error::new(Cause::CutShort, Phrase::CameIncomplete));
            }
        }
        Reading::Whole(answer) if open.identity.same_as(&answer.facts.identity) == Sameness::Same => {
            open.identity.learn(&answer.facts.identity);
        }
        _ => {}
    }
    Ok(())
}

fn not_asked_for(service: &dyn Service) -> Error {
    Error::new(Cause::BadResponse, Phrase::PartNotAskedFor { service: who(service) })
}

/// What to ask after an answer that could not be used. Before what is here is given up, the address itself is asked for the
/// rest: only where it led before was it not to be had.
async fn next(run: &Run, kept: &mut Kept, question: Question) -> Result<Question> {
    match question.next() {
        Question::Whole if question != Question::Whole && unpin(run, kept).await? => {
            Ok(Question::Rest { on_condition: true })
        }
        next => Ok(next),
    }
}

fn sameness(kept: &Kept, answer: &Answer) -> Sameness {
    // Of what came damaged nothing is here, and what was promised of it holds all the same.
    match &kept.open {
        Some(open) => open.identity.same_as(&answer.facts.identity),
        None => Sameness::Unknown,
    }
}

/// By how many misses an error brings a pinned place nearer to being given up; `None` for what says nothing about it.
fn misses_by(cause: Cause) -> Option<u32> {
    match cause {
        Cause::Dns
        | Cause::Unreachable
        | Cause::Tls
        | Cause::BadResponse
        | Cause::InsecureRedirect
        | Cause::LedInward => Some(MOST_MISSES),
        // That happens to any server, once.
        Cause::CutShort | Cause::Stalled => Some(1),
        _ => None,
    }
}

/// Asks at the address itself from here on. False if that is what was done.
async fn unpin(run: &Run, kept: &mut Kept) -> Result<bool> {
    if kept.pinned.take().is_none() {
        return Ok(false);
    }
    kept.missed = 0;
    run.change_resume(|record| (record.pinned, record.pinned_reach) = (None, None)).await?;
    Ok(true)
}

/// Waits for its turn at a server that has refused more connections at a time.
async fn take_seat(run: &Run, plan: &Plan, kept: &Kept) -> Result<Seat> {
    let http = &run.queue().http;
    let url = kept.asked_at(plan);
    let mut is_told = false;
    loop {
        let beside = kept.refused_beside.filter(|beside| http.served(url) >= *beside);
        match beside.map_or_else(|| http.seat(url), Err) {
            Ok(seat) => {
                if is_told {
                    run.wait(None);
                }
                return Ok(seat);
            }
            Err(ceiling) => {
                if !is_told {
                    is_told = true;
                    run.wait(Some(Wait {
                        reason: WaitReason::RateLimit,
                        until: None,
                        what: Phrase::ServerTakesSoMany { most: Count(ceiling as u64) }.into(),
                        why: None,
                    }));
                }
                run.sleep(Duration::from_millis(200)).await?;
            }
        }
    }
}

/// Whether a refusal may be about how many there are at a time, though its status has another meaning: many hosts say 403 to
/// one more than they take. After what time it is worth asking again then.
fn may_pass(run: &Run, plan: &Plan, kept: &mut Kept, (status, error): (u16, &Error)) -> Option<Duration> {
    let says_so = matches!(status, 429 | 503);
    let may_mean_it = matches!(status, 403 | 420 | 421 | 508 | 509)
        && matches!(error.cause, Cause::ServiceRefused | Cause::ServerTrouble);
    if !says_so && !may_mean_it {
        return None;
    }
    let served = run.queue().http.served(kept.asked_at(plan));
    kept.refused_beside = (served > 0).then_some(served);
    if served > 0 {
        kept.is_crowded = true;
        // As soon as there are fewer; what says so itself is learnt of the server as a whole.
        return may_mean_it.then_some(Duration::ZERO);
    }
    if !kept.is_crowded || kept.refused_after >= MOST_REFUSALS {
        return None;
    }
    kept.refused_after += 1;
    Some(REFUSES_FOR * kept.refused_after)
}

/// Asks one question and reads the head of the answer.
async fn ask(run: &Run, plan: &Plan, kept: &Kept, question: Question) -> Result<Reading> {
    let mut headers = HeaderMap::new();
    let mut asked = Asked::Whole;
    if question != Question::Whole
        && let Some(open) = &kept.open
    {
        let (start, end) = match question {
            Question::LastByte { .. } => (open.have().saturating_sub(1), None),
            _ => open.gaps().first().map_or((0, None), |(start, end)| {
                let is_last = open.total().is_none_or(|total| total == *end);
                (*start, (!is_last).then_some(*end))
            }),
        };
        let range = end.map_or_else(|| format!("bytes={start}-"), |end| format!("bytes={start}-{}", end - 1));
        headers.insert(RANGE, header(&range)?);
        if question.is_on_condition()
            && let Some(validator) = open.identity.validator()
        {
            headers.insert(IF_RANGE, header(validator.if_range())?);
        }
        asked = Asked::Part { start, end, of: &open.identity };
    }
    // Where the whole is to be had may have changed; what was begun goes on where its bytes are from.
    let pinned = kept.pinned.clone().filter(|_| question != Question::Whole);
    let from = pinned.unwrap_or_else(|| Destination::own(plan.fetch.url.clone()));
    let reached = patiently(run, plan, &from, &headers).await?;
    let host = reached.answer.url().host_str().map(Into::into);
    run.update(|row| row.host = host);
    Ok(Reading::of(reached, asked))
}

/// Waits for an answer, and says so when that takes long.
async fn patiently(run: &Run, plan: &Plan, from: &Destination, headers: &HeaderMap) -> Result<Reached> {
    let mut fetching = std::pin::pin!(run.queue().http.fetch(&plan.fetch, from, headers));
    tokio::select! {
        reached = run.or_stop(&mut fetching) => return reached?,
        () = tokio::time::sleep(SAY_AFTER) => {}
    }
    run.wait(Some(Wait {
        reason: WaitReason::Answer,
        until: None,
        what: Phrase::ServerPreparesAnswer.into(),
        why: None,
    }));
    let reached = run.or_stop(fetching).await;
    run.wait(None);
    reached?
}

/// What a refusal of the file means.
async fn refusal(run: &Run, plan: &Plan, answer: Response, service: &dyn Service) -> Result<Error> {
    let http = &run.queue().http;
    let (status, headers, url) = (answer.status(), answer.headers().clone(), answer.url().clone());
    let text = run.or_stop(error_body(answer, http.limits.stall)).await?;
    let mut error = refusal_of(service, &answer::decode(status, &headers, &text), &endpoint(plan, &url));
    if matches!(status.as_u16(), 429 | 503) && http.learn_ceiling(&plan.fetch.url) {
        // One more than it takes: it waits until another has ended, and that is no failure.
        error.cause = Cause::RateLimited;
    }
    if error.cause == Cause::Expired && plan.pages_welcome {
        error.cause = Cause::LinkExpired;
        error.what = Phrase::LinkExpired.into();
    }
    if error.cause == Cause::Unauthorized && plan.fetch.key.is_none() {
        // Nobody asked for a key here: the link itself is refused.
        error.cause = Cause::ServiceRefused;
        error.what = Phrase::LinkRefused.into();
        error.advice = Some(Phrase::GetOpenLink.into());
    }
    Ok(error)
}

pub(super) fn header(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::internal("A header could not be written"))
}
