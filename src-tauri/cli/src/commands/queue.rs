//! `ferry queue`, and the commands that change it.

use ferry_engine::{Cause, Code, Engine, Error, Size, State, Transfer, TransferId};
use tokio::sync::mpsc;

use super::Session;
use crate::Outcome;
use crate::arguments::{Continue, Pace, Rows};
use crate::follow::{Item, follow};
use crate::report::{Event, standing};

/// Whether a transfer would go on if it were let.
pub fn is_unfinished(transfer: &Transfer) -> bool {
    !transfer.state.has_ended()
}

/// Whether `ferry resume` without an id goes on with it: everything that has not ended, and what only the
/// circumstances stopped, an account without balance among them. What failed for good (an unknown id, a refused key) is for `ferry retry`.
fn is_resumable(transfer: &Transfer) -> bool {
    match &transfer.state {
        State::Failed(failure) => matches!(
            failure.code,
            Code::Network
                | Code::TimedOut
                | Code::Incomplete
                | Code::DiskFull
                | Code::QuotaExceeded
                | Code::RateLimited
                | Code::NotReady
        ),
        _ => is_unfinished(transfer),
    }
}

/// Shows the queue.
pub async fn list(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&engine, &rows.ids, |_| true, session);
    if transfers.is_empty() && outcome == Outcome::Completed {
        session.report.note("The queue is empty.");
        return Ok(outcome);
    }
    let lines: Vec<[String; 5]> = transfers
        .iter()
        .map(|transfer| {
            [
                transfer.id.to_string(),
                transfer.kind.as_str().to_owned(),
                transfer.service.clone(),
                transfer.state.word().to_owned(),
                transfer.total.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string()),
            ]
        })
        .collect();
    let heads = ["ID", "KIND", "SERVICE", "STATE", "SIZE"].map(str::to_owned);
    let widths: [usize; 5] = std::array::from_fn(|column| {
        lines.iter().chain([&heads]).map(|line| line[column].len()).max().unwrap_or(0)
    });
    let row = |cells: &[String; 5], last: &str| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  "));
        padded.collect::<String>() + last
    };
    if !transfers.is_empty() {
        session.report.line(&row(&heads, "NAME"));
    }
    for (transfer, cells) in transfers.iter().zip(&lines) {
        let detail = match &transfer.state {
            State::Failed(failure) => format!("  ({}: {})", failure.code, failure.message()),
            State::Completed | State::Canceled => String::new(),
            _ if transfer.bytes > 0 || transfer.wait.is_some() => format!("  ({})", standing(transfer)),
            _ => String::new(),
        };
        session.report.line(&row(cells, &format!("{}{detail}", transfer.name)));
        session.report.row(transfer);
    }
    Ok(outcome)
}

/// Pauses transfers.
pub async fn pause(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&engine, &rows.ids, is_unfinished, session);
    engine.pause(&ids(&transfers)).await?;
    tell(&engine, &transfers, Event::Paused, "paused", session);
    Ok(outcome)
}

/// Gives transfers up.
pub async fn cancel(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&engine, &rows.ids, is_unfinished, session);
    engine.cancel(&ids(&transfers)).await?;
    tell(&engine, &transfers, Event::Canceled, "canceled", session);
    Ok(outcome)
}

/// Takes transfers off the list.
pub async fn remove(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(Pace::default()).await?;
    // Without ids only rows with nothing left to lose: a failed or canceled one may still hold a part file.
    let (transfers, outcome) =
        chosen(&engine, &rows.ids, |transfer| matches!(transfer.state, State::Completed), session);
    engine.remove(&ids(&transfers)).await?;
    for transfer in &transfers {
        session.report.line(&format!("{}\tremoved\t{}", transfer.id, transfer.name));
        session
            .report
            .object(&serde_json::json!({"event": "removed", "id": transfer.id, "kind": transfer.kind,
            "service": transfer.service, "name": transfer.name}));
    }
    Ok(outcome)
}

/// Goes on with transfers and follows them to their ends.
pub async fn resume(rows: Continue, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(rows.pace).await?;
    let (transfers, outcome) = chosen(&engine, &rows.ids, is_resumable, session);
    move_on(engine, &transfers, outcome, false, session).await
}

/// Tries transfers again and follows them to their ends.
pub async fn retry(rows: Continue, session: &mut Session) -> Result<Outcome, Error> {
    let engine = session.open(rows.pace).await?;
    let failed = |transfer: &Transfer| matches!(transfer.state, State::Failed(_));
    let (transfers, outcome) = chosen(&engine, &rows.ids, failed, session);
    move_on(engine, &transfers, outcome, true, session).await
}

async fn move_on(
    engine: Engine,
    transfers: &[Transfer],
    outcome: Outcome,
    again: bool,
    session: &mut Session,
) -> Result<Outcome, Error> {
    if transfers.is_empty() {
        if outcome == Outcome::Completed {
            session.report.note(if again { "Nothing has failed." } else { "Nothing is unfinished." });
        }
        return Ok(outcome);
    }
    let changes = engine.subscribe();
    let ids = ids(transfers);
    if again {
        engine.retry(&ids).await?;
    } else {
        engine.resume(&ids).await?;
    }
    let (sender, added) = mpsc::channel(64);
    let adding = async {
        for id in ids {
            // The follower ends only after this side.
            let _ = sender.send(Ok(Item { id, path: None })).await;
        }
        drop(sender);
    };
    let (followed, ()) = tokio::join!(follow(&engine, changes, added, &mut session.report), adding);
    Ok(if outcome == Outcome::Completed { followed } else { outcome })
}

/// The rows with these ids, or without ids all that are `meant`. An unknown id is told and makes the run fail.
fn chosen(
    engine: &Engine,
    ids: &[TransferId],
    meant: impl Fn(&Transfer) -> bool,
    session: &mut Session,
) -> (Vec<Transfer>, Outcome) {
    if ids.is_empty() {
        return (engine.transfers(meant), Outcome::Completed);
    }
    let mut outcome = Outcome::Completed;
    let mut found = Vec::new();
    for id in ids {
        if let Some(transfer) = engine.transfer(*id) {
            found.push(transfer);
        } else {
            let error = Error::new(Cause::NotFound, format!("There is no transfer {id}"));
            session.report.error(&error.advise("look at the ids that `ferry queue` shows"));
            outcome = Outcome::Failed;
        }
    }
    (found, outcome)
}

fn ids(transfers: &[Transfer]) -> Vec<TransferId> {
    transfers.iter().map(|transfer| transfer.id).collect()
}

/// Says what became of rows. A completed one stays completed, whatever was asked for.
fn tell(engine: &Engine, before: &[Transfer], event: Event, word: &str, session: &mut Session) {
    for transfer in before {
        let now = engine.transfer(transfer.id).unwrap_or_else(|| transfer.clone());
        let state = now.state.word();
        session.report.line(&format!("{}\t{state}\t{}", now.id, now.name));
        if state == word {
            session.report.event(event, &now, None);
        } else {
            session.report.row(&now);
        }
    }
}
