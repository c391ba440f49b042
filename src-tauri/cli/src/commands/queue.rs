//! `ferry queue`, and the commands that change it.

use std::collections::{HashMap, HashSet};

use ferry_engine::api::{Cancel, OneQueue, Pause, Remove, Which};
use ferry_engine::{Cause, Error, Size, State, Transfer, TransferId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::Session;
use crate::Outcome;
use crate::arguments::{Continue, Pace, Rows};
use crate::follow::{Item, follow};
use crate::interrupt::Interrupt;
use crate::report::{Event, Report};
use crate::standing::standing;

/// So many rows are begun to be followed at a time.
const TOGETHER: usize = 256;

/// Shows the queue.
pub async fn list(ids: &[TransferId], session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&queue, ids, Which::All, session).await?;
    if transfers.is_empty() && outcome == Outcome::Completed {
        session.report.note("The queue is empty.");
        return Ok(outcome);
    }
    show(&transfers, session);
    Ok(outcome)
}

fn show(transfers: &[Transfer], session: &mut Session) {
    let lines: Vec<[String; 5]> = transfers
        .iter()
        .map(|transfer| {
            [
                transfer.id.to_string(),
                transfer.kind.as_str().to_owned(),
                transfer.service.to_string(),
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
}

/// Shows the queue, and then what becomes of each row, until it is interrupted.
pub async fn watch(
    ids: &[TransferId],
    interrupt: &mut Interrupt,
    session: &mut Session,
) -> Result<Outcome, Error> {
    let watching = async {
        let queue = session.open(Pace::default()).await?;
        let mut changes = queue.subscribe();
        // From here on nothing is missed.
        queue.watch().await?;
        let (transfers, outcome) = chosen(&queue, ids, Which::All, session).await?;
        if outcome != Outcome::Completed {
            return Ok(outcome);
        }
        let mut watched = Watched::default();
        for row in &transfers {
            watched.note(row);
        }
        show(&transfers, session);
        loop {
            match changes.recv().await {
                Ok(changes) => {
                    let meant = |id: &TransferId| ids.is_empty() || ids.contains(id);
                    let rows = changes.changed.iter().filter(|row| meant(&row.id));
                    rows.for_each(|row| watched.tell(row, &mut session.report));
                    let gone = changes.removed.iter().filter(|id| meant(id));
                    gone.for_each(|id| watched.gone(*id, &mut session.report));
                }
                Err(RecvError::Lagged(_)) => {
                    let rows =
                        if ids.is_empty() { queue.all(Which::All).await? } else { queue.rows(ids).await? };
                    let there: HashSet<TransferId> = rows.iter().map(|row| row.id).collect();
                    rows.iter().for_each(|row| watched.tell(row, &mut session.report));
                    for id in watched.all().filter(|id| !there.contains(id)).collect::<Vec<_>>() {
                        watched.gone(id, &mut session.report);
                    }
                }
                Err(RecvError::Closed) => return Err(queue.failure().unwrap_or_else(Error::canceled)),
            }
        }
    };
    tokio::select! {
        ended = watching => ended,
        _ = interrupt.next() => Ok(Outcome::Completed),
    }
}

/// How each row stood when it was told of last.
#[derive(Default)]
struct Watched(HashMap<TransferId, (&'static str, String)>);

impl Watched {
    fn all(&self) -> impl Iterator<Item = TransferId> {
        self.0.keys().copied()
    }

    /// Notes how a row stands, and says whether that is new.
    fn note(&mut self, row: &Transfer) -> bool {
        // The proof belongs to the work.
        let word = if row.state.is_active() { "running" } else { row.state.word() };
        let before = self.0.insert(row.id, (word, row.name.to_string()));
        before.is_none_or(|(before, _)| before != word)
    }

    fn tell(&mut self, row: &Transfer, report: &mut Report) {
        let is_new = !self.0.contains_key(&row.id);
        let is_other = self.note(row);
        if is_new {
            report.event(Event::Added, row, None);
        }
        if is_new || is_other {
            report.line(&format!("{}\t{}\t{}", row.id, row.state.word(), row.name));
        }
        match &row.state {
            State::Running | State::Verifying => {
                if is_other {
                    report.event(Event::Started, row, None);
                }
                report.moving(row, None);
            }
            _ if !is_other => {}
            State::Completed => report.event(Event::Completed, row, None),
            State::Failed(failure) => report.failure(row, failure, None),
            State::Paused => report.event(Event::Paused, row, None),
            State::Canceled => report.event(Event::Canceled, row, None),
            State::Queued => {}
        }
        if !row.state.is_active() {
            report.ended(row.id);
        }
    }

    fn gone(&mut self, id: TransferId, report: &mut Report) {
        let Some((_, name)) = self.0.remove(&id) else { return };
        report.ended(id);
        report.line(&format!("{id}\tremoved\t{name}"));
        report.object(&serde_json::json!({"event": "removed", "id": id, "name": name}));
    }
}

/// Pauses transfers.
pub async fn pause(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&queue, &rows.ids, Which::Unfinished, session).await?;
    queue.each(&ids(&transfers), |ids| Pause { ids }).await?;
    tell(&queue, &transfers, Event::Paused, "paused", session).await?;
    Ok(outcome)
}

/// Gives transfers up.
pub async fn cancel(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let (transfers, outcome) = chosen(&queue, &rows.ids, Which::Unfinished, session).await?;
    queue.each(&ids(&transfers), |ids| Cancel { ids }).await?;
    tell(&queue, &transfers, Event::Canceled, "canceled", session).await?;
    Ok(outcome)
}

/// Takes transfers off the list.
pub async fn remove(rows: Rows, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    // Without ids only rows with nothing left to lose: a failed or canceled one may still hold a part file.
    let (transfers, outcome) = chosen(&queue, &rows.ids, Which::Completed, session).await?;
    queue.each(&ids(&transfers), |ids| Remove { ids }).await?;
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
    let queue = session.open(rows.pace).await?;
    let (transfers, outcome) = chosen(&queue, &rows.ids, Which::Resumable, session).await?;
    move_on(queue, &transfers, outcome, false, session).await
}

/// Tries transfers again and follows them to their ends.
pub async fn retry(rows: Continue, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(rows.pace).await?;
    let (transfers, outcome) = chosen(&queue, &rows.ids, Which::Failed, session).await?;
    move_on(queue, &transfers, outcome, true, session).await
}

async fn move_on(
    queue: OneQueue,
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
    let changes = queue.subscribe();
    let ids = ids(transfers);
    queue.go_on(&ids, again).await?;
    let (sender, added) = mpsc::channel(4);
    let adding = async {
        for ids in ids.chunks(TOGETHER) {
            let items = ids.iter().map(|id| Ok(Item { id: *id, path: None }));
            // The follower ends only after this side.
            let _ = sender.send(items.collect()).await;
        }
        drop(sender);
    };
    let (followed, ()) = tokio::join!(follow(&queue, changes, added, &mut session.report), adding);
    Ok(if outcome == Outcome::Completed { followed } else { outcome })
}

/// The rows with these ids, or without ids all that are `meant`. An unknown id is told and makes the run fail.
async fn chosen(
    queue: &OneQueue,
    ids: &[TransferId],
    meant: Which,
    session: &mut Session,
) -> Result<(Vec<Transfer>, Outcome), Error> {
    if ids.is_empty() {
        return Ok((queue.all(meant).await?, Outcome::Completed));
    }
    let rows = queue.rows(ids).await?;
    let there: HashMap<TransferId, &Transfer> = rows.iter().map(|row| (row.id, row)).collect();
    let mut outcome = Outcome::Completed;
    let mut found = Vec::new();
    for id in ids {
        if let Some(transfer) = there.get(id) {
            found.push(Transfer::clone(transfer));
        } else {
            let error = Error::new(Cause::NotFound, format!("There is no transfer {id}"));
            session.report.error(&error.advise("look at the ids that `ferry queue` shows"));
            outcome = Outcome::Failed;
        }
    }
    Ok((found, outcome))
}

fn ids(transfers: &[Transfer]) -> Vec<TransferId> {
    transfers.iter().map(|transfer| transfer.id).collect()
}

/// Says what became of rows. A completed one stays completed, whatever was asked for.
async fn tell(
    queue: &OneQueue,
    before: &[Transfer],
    event: Event,
    word: &str,
    session: &mut Session,
) -> Result<(), Error> {
    let now: HashMap<TransferId, Transfer> =
        queue.rows(&ids(before)).await?.into_iter().map(|row| (row.id, row)).collect();
    for transfer in before {
        let now = now.get(&transfer.id).unwrap_or(transfer);
        let state = now.state.word();
        session.report.line(&format!("{}\t{state}\t{}", now.id, now.name));
        if state == word {
            session.report.event(event, now, None);
        } else {
            session.report.row(now);
        }
    }
    Ok(())
}
