//! The thread that writes: many changes in one commit.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use rusqlite::{Connection, Transaction};
use tokio::sync::Notify;

use super::{LATER, Work};
use crate::seams;

/// The most jobs that share one commit.
pub(super) const GROUP: usize = 256;

/// Work for the writing thread.
pub(super) struct Job {
    pub(super) work: Work,
    /// Nobody waits for it.
    pub(super) later: bool,
}

/// A job that fails takes back its own changes only, not those of the jobs committed with it.
pub(super) fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    transaction.prepare_cached("SAVEPOINT job")?.execute([])?;
    match job(transaction) {
        Ok(value) => transaction.prepare_cached("RELEASE job")?.execute([]).map(|_| value),
        Err(error) => {
            transaction.execute_batch("ROLLBACK TO job; RELEASE job")?;
            Err(error)
        }
    }
}

pub(super) fn write_jobs(mut connection: Connection, inbox: &mpsc::Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let jobs = gather(first, inbox);
        commit(&mut connection, jobs);
    }
}

/// The same without a thread ([`Seams::turns_of_the_disk`]).
pub(super) async fn write_jobs_in_turn(
    mut connection: Connection,
    inbox: mpsc::Receiver<Job>,
    has_jobs: Arc<Notify>,
    turns: impl Fn() -> usize,
) {
    loop {
        has_jobs.notified().await;
        seams::pass(turns()).await;
        let jobs: Vec<Job> = inbox.try_iter().collect();
        if !jobs.is_empty() {
            commit(&mut connection, jobs);
        }
    }
}

pub(super) fn commit(connection: &mut Connection, jobs: Vec<Job>) {
    let mut answers = Vec::with_capacity(jobs.len());
    let committed = match connection.transaction() {
        Ok(mut transaction) => {
            answers.extend(jobs.into_iter().map(|job| (job.work)(&mut transaction)));
            transaction.commit()
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &committed {
        tracing::error!(%error, "the database could not be written");
    }
    for answer in answers {
        answer(committed.as_ref().copied());
    }
}

/// Everything that is waiting, in order. While nobody waits for any of it, there is time for more.
pub(super) fn gather(first: Job, inbox: &mpsc::Receiver<Job>) -> Vec<Job> {
    let until = Instant::now() + LATER;
    let mut somebody_waits = !first.later;
    let mut jobs = vec![first];
    while jobs.len() < GROUP {
        let next = if somebody_waits {
            inbox.try_recv().ok()
        } else {
            inbox.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        };
        let Some(job) = next else { break };
        somebody_waits |= !job.later;
        jobs.push(job);
    }
    jobs
}
