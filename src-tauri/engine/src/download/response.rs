//! The request for what is missing, and what its answer means for what is here.
//!
//! A resume is asked for on condition first; an answer that cannot be used is asked for once more without conditions
//! before anything is thrown away, and what is here is kept until the new body has begun.

use std::time::{Duration, Instant};

use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use url::Url;

use super::body::{Over, save};
use super::{Fetched, Kept, Open, endpoint, refusal_of, sniff, who};
use crate::error::{Cause, Error, Result};
use crate::http::answer;
use crate::http::error_body;
use crate::http::head::{Answer, Asked, Framing, Reading, Unusable};
use crate::http::identity::Sameness;
use crate::http::{Reached, Seat};
use crate::run::Run;
use crate::services::{Plan, Service};
use crate::task::DownloadTask;
use crate::transfer::{Wait, WaitReason};
use crate::words::{Count, Phrase};

/// A source that changes more often while it is fetched (or only seems to: several servers behind one name, each with a
/// mark of its own) would fill the disk with old parts.
const MOST_CHANGES: u32 = 3;
/// More questions than it can take to find out what a server means.
const MOST_QUESTIONS: u32 = 10;
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
    if kept.open.as_ref().is_some_and(Open::is_complete) {
        // Only the proof or the final name was still to come: nobody need be asked.
        return Ok(Fetched::Saved(Framing::Marked));
    }
    let continues = plan.rangeable
        && !kept.no_ranges
        && kept.open.as_ref().is_some_and(|open| open.have() > 0 && open.identity.can_be_shown());
    let mut question = if continues { Question::Rest { on_condition: true } } else { Question::Whole };
    let mut reason = Phrase::CannotContinueHere;
    for _ in 0..MOST_QUESTIONS {
        let mut seat = take_seat(run, plan, kept).await?;
        let asked_at = Instant::now();
        let reading = match ask(run, plan, kept, question).await {
            Ok(reading) => reading,
            Err(error) if is_gone(error.cause) && question != Question::Whole && unpin(run, kept).await? => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let answered = asked_at.elapsed();
        match reading {
            Reading::Part(answer) => {
                let Some(open) = &mut kept.open else { return Err(Error::internal("There is no part file")) };
                open.identity.learn(&answer.facts.identity);
                if matches!(question, Question::LastByte { .. }) {
                    return Ok(Fetched::Saved(Framing::Marked));
                }
                seat.is_served();
                return save(run, task, plan, kept, (*answer, answered), Over::Join, service).await;
            }
            Reading::Whole(answer) => {
                let sameness = sameness(kept, &answer);
                if kept
                    .open
                    .as_ref()
                    .is_some_and(|open| open.have() > 0 && open.identity.contradicts(&answer.facts.identity))
                {
                    return Err(Error::new(Cause::BadResponse, Phrase::TwoSizesOfOne));
                }
                if question != Question::Whole
                    && sameness != Sameness::Same
                    && sniff::is_page_in_place_of_file(&answer.facts, kept)
                {
                    // What a network shows before one has signed in to it: the part is as good as it was.
                    return Err(sniff::page_instead(service));
                }
                if question.is_on_condition() && sameness != Sameness::Other {
                    question = question.next();
                    continue;
                }
                let over = match sameness {
                    Sameness::Other
                        if kept.open.as_ref().is_some_and(|open| open.identity.can_be_shown()) =>
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
                return save(run, task, plan, kept, (*answer, answered), over, service).await;
            }
            Reading::OutOfRange { total } => {
                let open = kept.open.as_ref();
                let is_here = |open: &Open| {
                    open.total().is_none() && total == Some(open.have()) && open.gaps().len() == 1
                };
                question = match question {
                    // Of a file whose size was never told all may be here: its last byte shows it.
                    Question::Rest { on_condition } if open.is_some_and(is_here) => {
                        Question::LastByte { on_condition }
                    }
                    question => question.next(),
                };
            }
            Reading::StartOver(unusable) => {
                (question, reason) = match unusable {
                    // A part of another version says so with or without a condition.
                    Unusable::Changed => (Question::Whole, reason),
                    Unusable::NotShown => (question.next(), Phrase::SameFileNotShown),
                    Unusable::Elsewhere => (question.next(), Phrase::ContinuedElsewhere),
                    Unusable::SeveralParts => (question.next(), Phrase::SeveralParts),
                };
            }
            Reading::Unchanged | Reading::Nothing if question != Question::Whole => {
                question = question.next();
            }
            Reading::Unchanged => return Err(Error::new(Cause::BadResponse, Phrase::AnsweredUnchanged)),
            Reading::Nothing => return Err(Error::new(Cause::BadResponse, Phrase::NoContentThere)),
            Reading::NotYet { wait } => {
                let mut error = Error::new(Cause::NotYet, Phrase::NotReadyThere { service: who(service) });
                error.retry_after = wait;
                return Err(error);
            }
            Reading::NoFile => {
                return Err(Error::new(
                    Cause::BadResponse,
                    Phrase::PartNotAskedFor { service: who(service) },
                ));
            }
            Reading::Refusal(answer) => {
                let status = answer.status().as_u16();
                if question != Question::Whole {
                    if matches!(status, 401 | 403 | 404 | 410) && unpin(run, kept).await? {
                        continue;
                    }
                    // Servers that know no ranges have more ways to say so than to ignore them.
                    if matches!(status, 400 | 405 | 412 | 417 | 501) {
                        question = question.next();
                        continue;
                    }
                }
                return Err(refusal(run, plan, answer, service).await?);
            }
        }
        if question == Question::Whole {
            // What is known of this server: that it cannot continue.
            kept.no_ranges = true;
            run.update(|row| row.resumable = false);
        }
    }
    Err(Error::new(Cause::ChangedAtSource, Phrase::KeepsChanging))
}

fn sameness(kept: &Kept, answer: &Answer) -> Sameness {
    match kept.open.as_ref().filter(|open| open.have() > 0) {
        Some(open) => open.identity.same_as(&answer.facts.identity),
        None => Sameness::Unknown,
    }
}

/// Whether a place is no longer there to be asked.
fn is_gone(cause: Cause) -> bool {
    matches!(cause, Cause::Dns | Cause::Unreachable | Cause::Tls)
}

/// Asks at the address itself from here on. False if that is what was done.
async fn unpin(run: &Run, kept: &mut Kept) -> Result<bool> {
    if kept.pinned.take().is_none() {
        return Ok(false);
    }
    run.change_resume(|record| record.pinned = None).await?;
    Ok(true)
}

/// Waits for its turn at a server that has refused more connections at a time.
async fn take_seat(run: &Run, plan: &Plan, kept: &Kept) -> Result<Seat> {
    let http = &run.queue().http;
    let url = kept.pinned.as_ref().unwrap_or(&plan.fetch.url);
    let mut is_told = false;
    loop {
        match http.seat(url) {
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
    let from = kept.pinned.as_ref().filter(|_| question != Question::Whole).unwrap_or(&plan.fetch.url);
    let reached = patiently(run, plan, from, &headers).await?;
    let host = reached.answer.url().host_str().map(str::to_owned);
    run.update(|row| row.host = host);
    Ok(Reading::of(reached, asked))
}

/// Waits for an answer, and says so when that takes long.
async fn patiently(run: &Run, plan: &Plan, from: &Url, headers: &HeaderMap) -> Result<Reached> {
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
