//! `--detach`: transfers that are left to whoever holds the queue.

use ferry_engine::api::OneQueue;
use ferry_engine::{Error, TransferId};

use super::Session;
use crate::Outcome;
use crate::arguments::Pace;
use crate::report::Event;

/// Whoever holds the queue; nothing, and that is told, if nobody does.
pub async fn holder(
    pace: Pace,
    connections: Option<u8>,
    session: &mut Session,
) -> Result<Option<OneQueue>, Error> {
    let queue = session.join(pace, connections).await?;
    if queue.is_none() {
        let error = Error::invalid("--detach leaves transfers to whoever holds the queue, and nobody does");
        session.report.error(&error.advise("start `ferry serve` or the window, or leave --detach out"));
    }
    Ok(queue)
}

/// Says what was added, a line each: the id, a tab, the name.
pub async fn tell(
    queue: &OneQueue,
    added: &[Result<TransferId, Error>],
    session: &mut Session,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::Completed;
    for error in added.iter().filter_map(|one| one.as_ref().err()) {
        session.report.error(error);
        outcome = Outcome::Failed;
    }
    let ids: Vec<TransferId> = added.iter().flatten().copied().collect();
    for row in queue.rows(&ids).await? {
        session.report.line(&format!("{}\t{}", row.id, row.name));
        session.report.event(Event::Added, &row, None);
    }
    Ok(outcome)
}
