//! Follows transfers until the last of them has ended, saying what happens to each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferry_engine::api::OneQueue;
use ferry_engine::{Changes, Code, Error, Failure, Kind, Remedy, State, Transfer, TransferId, WaitReason};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::Outcome;
use crate::report::{Event, Report};

/// A transfer to follow.
#[derive(Debug)]
pub struct Item {
    /// Its id.
    pub id: TransferId,
    /// Upload: the paths as the user wrote them, in their order. It is shown as the one that it lies below.
    pub path: Option<Arc<[PathBuf]>>,
}

/// What the adding side tells the following side.
pub type Added = Vec<Result<Item, Error>>;

/// Follows everything that comes in through `added` until that is closed and all have ended. Results go to stdout in
/// the order of `added`, each as soon as it and all before it are done.
pub async fn follow(
    queue: &OneQueue,
    mut changes: broadcast::Receiver<Arc<Changes>>,
    mut added: mpsc::Receiver<Added>,
    report: &mut Report,
) -> Outcome {
    let mut course = Course::default();
    let mut adding = true;
    while adding || !course.open.is_empty() {
        tokio::select! {
            next = added.recv(), if adding => match next {
                Some(added) => course.add(added, queue, report).await,
                None => adding = false,
            },
            change = changes.recv() => match change {
                Ok(change) => {
                    for transfer in &change.changed {
                        course.take(transfer, report);
                    }
                    for id in &change.removed {
                        course.gone(*id, report);
                    }
                }
                Err(RecvError::Lagged(_)) => course.read_again(queue, report).await,
                Err(RecvError::Closed) => {
                    if let Some(error) = queue.failure() {
                        report.error(&error);
                    }
                    break;
                }
            },
        }
        report.summary(
            course.all - course.open.len(),
            course.all,
            course.open.values().filter_map(|o| o.shown.as_ref()),
        );
    }
    report.finish();
    if course.failed || !course.open.is_empty() { Outcome::Failed } else { Outcome::Completed }
}

/// A transfer that has not ended.
#[derive(Debug, Default)]
struct Open {
    started: bool,
    path: Option<String>,
    /// As it stood last, while it holds a slot.
    shown: Option<Transfer>,
}

#[derive(Debug, Default)]
struct Course {
    all: usize,
    open: BTreeMap<TransferId, Open>,
    /// Places in the order of the command line; the same transfer may have several.
    order: Vec<TransferId>,
    next: usize,
    /// Ended: the line for stdout, if it completed.
    lines: HashMap<TransferId, Option<String>>,
    failed: bool,
}

impl Course {
    /// From the moment at which they are asked for, nothing that becomes of them is missed.
    async fn add(&mut self, added: Added, queue: &OneQueue, report: &mut Report) {
        let ids: Vec<TransferId> = added.iter().flatten().map(|item| item.id).collect();
        let rows = match queue.follow(&ids).await {
            Ok(rows) => rows,
            Err(error) => {
                // That there is no holder any more is told once, at the end.
                if queue.failure().is_none() {
                    report.error(&error);
                }
                self.failed = true;
                return;
            }
        };
        let mut rows: HashMap<TransferId, Transfer> = rows.into_iter().map(|row| (row.id, row)).collect();
        // Transfers come in the order of the paths, several for a folder, none for an empty one.
        let mut reached = 0;
        for one in added {
            let Item { id, path: given } = match one {
                Ok(item) => item,
                Err(error) => {
                    report.error(&error);
                    self.failed = true;
                    continue;
                }
            };
            self.order.push(id);
            if self.open.contains_key(&id) || self.lines.contains_key(&id) {
                self.flush(report);
                continue;
            }
            self.all += 1;
            let row = rows.remove(&id);
            let path = row.as_ref().and_then(|row| shown_path(row, given.as_deref()?, &mut reached));
            self.open.insert(id, Open { path: path.clone(), ..Open::default() });
            if let Some(transfer) = row {
                report.event(Event::Added, &transfer, path.as_deref());
                self.take(&transfer, report);
            } else {
                self.gone(id, report);
            }
        }
    }

    fn take(&mut self, transfer: &Transfer, report: &mut Report) {
        let Some(open) = self.open.get_mut(&transfer.id) else { return };
        let path = open.path.clone();
        let path = path.as_deref();
        if transfer.state.is_active() || matches!(transfer.state, State::Completed) {
            if !open.started {
                open.started = true;
                report.event(Event::Started, transfer, path);
            }
            if transfer.state.is_active() {
                report.moving(transfer, path);
            }
        }
        open.shown = (transfer.state.is_active() || transfer.wait.is_some()).then(|| transfer.clone());
        match &transfer.state {
            State::Completed => {
                report.event(Event::Completed, transfer, path);
                if let Some(note) = &transfer.note {
                    report.note(&format!("{}: {note}", transfer.name));
                }
                let line = result_line(transfer, path, report);
                self.end(transfer.id, Some(line), report);
            }
            State::Failed(failure) => {
                report.failure(transfer, failure, path);
                self.end(transfer.id, None, report);
            }
            State::Canceled => {
                report.event(Event::Canceled, transfer, path);
                report.note(&format!("{}: canceled", transfer.name));
                self.end(transfer.id, None, report);
            }
            State::Paused => {
                report.event(Event::Paused, transfer, path);
                report.note(&format!("{}: paused; `ferry resume {}` goes on", transfer.name, transfer.id));
                self.end(transfer.id, None, report);
            }
            State::Queued | State::Running | State::Verifying => {
                if let Some(failure) = needs_the_user(transfer) {
                    report.failure(transfer, &failure, path);
                    self.end(transfer.id, None, report);
                }
            }
        }
    }

    fn gone(&mut self, id: TransferId, report: &mut Report) {
        if self.open.contains_key(&id) {
            self.end(id, None, report);
        }
    }

    async fn read_again(&mut self, queue: &OneQueue, report: &mut Report) {
        let ids: Vec<TransferId> = self.open.keys().copied().collect();
        // What cannot be read now is told again by the next holder, or there is none and that is told.
        let Ok(rows) = queue.rows(&ids).await else { return };
        let there: HashSet<TransferId> = rows.iter().map(|row| row.id).collect();
        rows.iter().for_each(|row| self.take(row, report));
        ids.into_iter().filter(|id| !there.contains(id)).for_each(|id| self.gone(id, report));
    }

    fn end(&mut self, id: TransferId, line: Option<String>, report: &mut Report) {
        self.open.remove(&id);
        report.ended(id);
        self.failed |= line.is_none();
        self.lines.insert(id, line);
        self.flush(report);
    }

    /// Prints results up to the first that is still open.
    fn flush(&mut self, report: &mut Report) {
        while let Some(line) = self.order.get(self.next).and_then(|id| self.lines.get(id)) {
            if let Some(line) = line {
                report.line(line);
            }
            self.next += 1;
        }
    }
}

/// Download: the full path. Upload: the asset id (or `-`), a tab, the path.
fn result_line(transfer: &Transfer, path: Option<&str>, report: &Report) -> String {
    let path = report.field(path.or(transfer.path.as_deref()).unwrap_or(&transfer.name));
    match transfer.kind {
        Kind::Download => path.into_owned(),
        Kind::Upload => format!("{}\t{path}", transfer.asset_id.as_deref().unwrap_or("-")),
    }
}

/// A window would wait and ask. Nobody answers a command, so it ends with the question as its error; the transfer
/// stays in the queue.
fn needs_the_user(transfer: &Transfer) -> Option<Failure> {
    let wait = transfer.wait.as_ref()?;
    let resume = format!("then run `ferry resume {}`", transfer.id);
    let (code, remedy, advice) = match wait.reason {
        WaitReason::Key => (
            Code::Unauthorized,
            Remedy::EnterKey,
            format!("set a key that the service accepts with `ferry key set {}`, {resume}", transfer.service),
        ),
        WaitReason::Quota => (
            Code::QuotaExceeded,
            Remedy::Retry,
            format!("recharge the account of {} or make room in it, {resume}", transfer.service),
        ),
        WaitReason::Space => (Code::DiskFull, Remedy::FreeSpace, format!("make room, {resume}")),
        WaitReason::Retry
        | WaitReason::RateLimit
        | WaitReason::Network
        | WaitReason::Answer
        | WaitReason::Folder => return None,
    };
    Some(Failure { code, what: wait.what.clone(), why: wait.why.clone(), advice: advice.into(), remedy })
}

/// Where the file of a transfer lies, as the user wrote the path that it was found by.
fn shown_path(row: &Transfer, given: &[PathBuf], reached: &mut usize) -> Option<String> {
    let full = row.path.as_ref()?;
    while let Some(first) = given.get(*reached) {
        if let Some(path) = as_given(Path::new(full), first) {
            return Some(path.display().to_string());
        }
        *reached += 1;
    }
    None
}

/// Shows a full path the way that the user wrote its beginning: `photos/a.jpg` instead of `/home/me/photos/a.jpg`.
fn as_given(full: &Path, given: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(given).ok()?;
    let rest = full.strip_prefix(&absolute).ok()?;
    Some(if rest.as_os_str().is_empty() { given.to_owned() } else { given.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_they_were_given() {
        let here = std::env::current_dir().unwrap();
        let given = |full: PathBuf, given: &str| as_given(&full, Path::new(given));
        assert_eq!(given(here.join("a.txt"), "a.txt"), Some("a.txt".into()));
        assert_eq!(given(here.join("photos/b.jpg"), "photos/"), Some("photos/b.jpg".into()));
        assert_eq!(given(here.join("photos/b.jpg"), "elsewhere"), None);
    }
}
