//! The work since the last time that nothing ran: what taskbar, tray and the notice at the end speak of.

use std::collections::{HashMap, HashSet};

use ferry_engine::{Changes, Kind, State, Transfer, TransferId, WaitReason};

use crate::spoken::{Spoken, fill};

/// Runs, or will run without anybody doing anything. What waits for a key, for room, for the network or for a disk that
/// does not answer may wait for days: it keeps no computer awake and no window open.
pub(crate) fn is_working(transfer: &Transfer) -> bool {
    let waits_for_the_world = transfer.wait.as_ref().is_some_and(|wait| {
        matches!(
            wait.reason,
            WaitReason::Key
                | WaitReason::Quota
                | WaitReason::Space
                | WaitReason::Network
                | WaitReason::Folder
        )
    });
    matches!(transfer.state, State::Queued | State::Running | State::Verifying) && !waits_for_the_world
}

/// The rows that were at work in the same stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    rows: HashMap<TransferId, Row>,
    /// Ends that are old news, by when they came: such a row may change later, and be told again only once it has gone on.
    /// Clocks are put back, so that no moment divides the old from the new.
    told: HashMap<TransferId, Option<u64>>,
    /// The engine's revision of what was looked at; changes up to it are known.
    seen: u64,
}

#[derive(Debug)]
struct Row {
    kind: Kind,
    name: String,
    stands: Stands,
    bytes: u64,
    total: Option<u64>,
    speed: u64,
    ended_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Working,
    Waiting,
    Completed,
    Failed,
}

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Files that arrived at a service.
    pub sent: usize,
    /// Files that arrived here.
    pub downloaded: usize,
    /// Transfers that need the user.
    pub failed: usize,
    /// The file's name, if there was only one.
    pub only: Option<String>,
}

impl Batch {
    /// Begins with what is at work already; what ended before is old news. `look` shows every row and answers their revision.
    pub fn begin(&mut self, look: impl FnOnce(&mut dyn FnMut(&Transfer)) -> u64) {
        self.seen = look(&mut |transfer| {
            if transfer.state.has_ended() {
                self.told.insert(transfer.id, transfer.ended_at);
            } else {
                self.take(transfer);
            }
        });
    }

    /// Follows one set of changes, unless it is older than what was looked at.
    pub fn take_in(&mut self, changes: &Changes) {
        if changes.revision <= self.seen {
            return;
        }
        changes.changed.iter().for_each(|transfer| self.take(transfer));
        for id in &changes.removed {
            self.rows.remove(id);
            self.told.remove(id);
        }
    }

    fn take(&mut self, transfer: &Transfer) {
        let stands = match &transfer.state {
            State::Queued | State::Running | State::Verifying if is_working(transfer) => Stands::Working,
            State::Queued | State::Running | State::Verifying => Stands::Waiting,
            State::Completed => Stands::Completed,
            State::Failed(_) => Stands::Failed,
            State::Paused | State::Canceled => {
                self.rows.remove(&transfer.id);
                self.told.remove(&transfer.id);
                return;
            }
        };
        let has_ended = matches!(stands, Stands::Completed | Stands::Failed);
        if !has_ended {
            self.told.remove(&transfer.id);
        } else if self.told.get(&transfer.id) == Some(&transfer.ended_at) {
            return;
        }
        let row = Row {
            kind: transfer.kind,
            // Only ends are told by name, and there may be many more that wait.
            name: if has_ended { transfer.name.to_string() } else { String::new() },
            stands,
            bytes: transfer.bytes,
            total: transfer.total,
            speed: if stands == Stands::Working { transfer.speed.unwrap_or(0) } else { 0 },
            ended_at: transfer.ended_at,
        };
        self.rows.insert(transfer.id, row);
    }

    /// Starts over from the whole list after changes were missed; rows that are gone from it go here too.
    pub fn catch_up(&mut self, look: impl FnOnce(&mut dyn FnMut(&Transfer)) -> u64) {
        let mut there = HashSet::new();
        self.seen = look(&mut |transfer| {
            there.insert(transfer.id);
            self.take(transfer);
        });
        self.rows.retain(|id, _| there.contains(id));
        self.told.retain(|id, _| there.contains(id));
    }

    /// Something moves, or is about to.
    pub fn is_working(&self) -> bool {
        self.rows.values().any(|row| row.stands == Stands::Working)
    }

    /// Bytes a second that way.
    pub fn speed(&self, kind: Kind) -> u64 {
        self.rows.values().filter(|row| row.kind == kind).map(|row| row.speed).sum()
    }

    /// How much of the batch is done, in percent; absent while a size is unknown.
    pub fn percent(&self) -> Option<u64> {
        let (mut bytes, mut total) = (0_u64, 0_u64);
        for row in self.rows.values().filter(|row| matches!(row.stands, Stands::Working | Stands::Completed))
        {
            // A finished file counts with the size it turned out to have.
            let size = if row.stands == Stands::Completed { row.bytes } else { row.total? };
            bytes = bytes.saturating_add(row.bytes.min(size));
            total = total.saturating_add(size);
        }
        bytes.saturating_mul(100).checked_div(total)
    }

    /// Once nothing works any more: how it ended, if anything did, and a fresh start.
    pub fn finish(&mut self) -> Option<Outcome> {
        if self.is_working() {
            return None;
        }
        let count = |stands, kind: Option<Kind>| {
            self.rows
                .values()
                .filter(|row| row.stands == stands && kind.is_none_or(|kind| row.kind == kind))
                .count()
        };
        let sent = count(Stands::Completed, Some(Kind::Upload));
        let downloaded = count(Stands::Completed, Some(Kind::Download));
        let failed = count(Stands::Failed, None);
        let mut ended =
            self.rows.values().filter(|row| matches!(row.stands, Stands::Completed | Stands::Failed));
        let only = match (ended.next(), ended.next()) {
            (Some(row), None) => Some(row.name.clone()),
            _ => None,
        };
        let over =
            self.rows.drain().filter(|(_, row)| matches!(row.stands, Stands::Completed | Stands::Failed));
        self.told.extend(over.map(|(id, row)| (id, row.ended_at)));
        (sent + downloaded + failed > 0).then_some(Outcome { sent, downloaded, failed, only })
    }
}

impl Outcome {
    /// The notice's first line.
    pub fn title(&self, words: &Spoken) -> String {
        if let Some(name) = &self.only {
            let message = match (self.failed, self.sent) {
                (0, 0) => &words.shell_downloaded_name,
                (0, _) => &words.shell_sent_name,
                _ => &words.shell_stopped_name,
            };
            return fill(message, &[("name", name)]);
        }
        let files = |count: usize| match count {
            1 => words.shell_file.clone(),
            count => fill(&words.shell_files, &[("n", &count.to_string())]),
        };
        match (self.sent, self.downloaded) {
            (0, 0) => fill(&words.shell_stopped, &[("files", &files(self.failed))]),
            (sent, 0) => fill(&words.shell_sent, &[("files", &files(sent))]),
            (0, downloaded) => fill(&words.shell_downloaded, &[("files", &files(downloaded))]),
            (sent, downloaded) => {
                fill(&words.shell_both, &[("files", &files(sent)), ("n", &downloaded.to_string())])
            }
        }
    }

    /// The notice's second line.
    pub fn body(&self, words: &Spoken) -> String {
        match self.failed {
            0 => words.shell_all_arrived.clone(),
            1 => words.shell_one_needs.clone(),
            count => fill(&words.shell_many_need, &[("n", &count.to_string())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use ferry_engine::Language;

    use super::*;

    fn english() -> &'static Spoken {
        Spoken::in_language(Language::En)
    }

    fn row(
        id: u64,
        kind: &str,
        state: &str,
        bytes: u64,
        total: Option<u64>,
        ended_at: Option<u64>,
    ) -> Transfer {
        let state = match state {
            "failed" => {
                serde_json::json!({"is": "failed", "code": "network", "message": "m", "advice": "a", "remedy": "retry"})
            }
            word => serde_json::json!({ "is": word }),
        };
        serde_json::from_value(serde_json::json!({
            "id": id, "kind": kind, "service": "sandbox", "name": format!("file {id}"), "state": state, "stage": null,
            "stage_percent": null, "wait": null, "bytes": bytes, "total": total, "speed": 10, "seconds_left": null,
            "asset_id": null, "path": null, "host": null, "verified": null, "checksum": null, "note": null,
            "added_at": 1, "ended_at": ended_at, "position": 1, "resumable": true
        }))
        .unwrap()
    }

    fn changes(revision: u64, changed: &[Transfer]) -> Changes {
        Changes { revision, changed: changed.to_vec(), ..Changes::default() }
    }

    fn looked(rows: &[Transfer], revision: u64) -> impl FnOnce(&mut dyn FnMut(&Transfer)) -> u64 {
        move |look| {
            rows.iter().for_each(look);
            revision
        }
    }

    #[test]
    fn a_batch_is_told_once_and_whole() {
        let mut batch = Batch::default();
        batch.begin(looked(&[row(1, "upload", "completed", 5, Some(5), Some(100))], 1));
        assert_eq!(batch.finish(), None, "what ended before the start is old");

        batch.take_in(&changes(
            2,
            &[
                row(2, "upload", "running", 50, Some(100), None),
                row(3, "download", "queued", 0, Some(100), None),
            ],
        ));
        assert!(batch.is_working());
        assert_eq!(
            (batch.percent(), batch.speed(Kind::Upload), batch.speed(Kind::Download)),
            (Some(25), 10, 10)
        );
        assert_eq!(batch.finish(), None);

        batch.take_in(&changes(3, &[row(2, "upload", "completed", 100, Some(100), Some(200))]));
        assert_eq!(batch.percent(), Some(50));
        batch.take_in(&changes(4, &[row(3, "download", "failed", 20, Some(100), Some(210))]));
        let outcome = batch.finish().unwrap();
        assert_eq!(outcome, Outcome { sent: 1, downloaded: 0, failed: 1, only: None });
        assert_eq!(
            (outcome.title(english()).as_str(), outcome.body(english()).as_str()),
            ("1 file sent", "1 transfer needs you.")
        );
        let spanish = Spoken::in_language(Language::Es);
        assert_eq!(
            (outcome.title(spanish).as_str(), outcome.body(spanish).as_str()),
            ("Enviado: 1 archivo", "1 transferencia requiere tu atención.")
        );

        batch.take_in(&changes(5, &[row(2, "upload", "completed", 100, Some(100), Some(200))]));
        assert_eq!(batch.finish(), None, "an old row that changed once more is no news");
    }

    #[test]
    fn a_transfer_too_quick_to_be_seen_running_counts() {
        let mut batch = Batch::default();
        batch.take_in(&changes(1, &[row(9, "download", "completed", 7, Some(7), Some(300))]));
        assert_eq!(batch.finish().unwrap().title(english()), "Downloaded: file 9");
    }

    #[test]
    fn ends_are_told_whatever_the_clock_says() {
        let mut batch = Batch::default();
        let old = row(1, "upload", "completed", 5, Some(5), Some(900));
        batch.begin(looked(&[old], 1));
        // The clock was put back.
        batch.take_in(&changes(2, &[row(2, "download", "running", 5, Some(10), None)]));
        batch.take_in(&changes(3, &[row(2, "download", "completed", 10, Some(10), Some(100))]));
        assert_eq!(batch.percent(), Some(100));
        assert_eq!(batch.finish().unwrap().title(english()), "Downloaded: file 2");
        batch.take_in(&changes(4, &[row(1, "upload", "completed", 5, Some(5), Some(800))]));
        assert_eq!(
            batch.finish().unwrap().title(english()),
            "Sent: file 1",
            "tried again, and too quick to be seen"
        );
    }

    #[test]
    fn what_is_older_than_what_was_looked_at_is_no_news() {
        let mut batch = Batch::default();
        batch.catch_up(looked(&[row(1, "upload", "completed", 5, Some(5), Some(100))], 7));
        assert_eq!(batch.finish().unwrap().title(english()), "Sent: file 1");
        for revision in 5..=7 {
            batch.take_in(&changes(revision, &[row(1, "upload", "running", 5, Some(5), None)]));
            assert!(!batch.is_working(), "revision {revision}");
        }
        assert_eq!(batch.finish(), None);
        batch.take_in(&changes(8, &[row(1, "upload", "running", 5, Some(5), None)]));
        assert!(batch.is_working());
    }

    #[test]
    fn unknown_sizes_give_no_percent_and_removed_rows_no_count() {
        let mut batch = Batch::default();
        batch.take_in(&changes(1, &[row(1, "download", "running", 50, None, None)]));
        assert_eq!(batch.percent(), None);
        batch.take_in(&Changes { revision: 2, removed: vec![TransferId(1)], ..Changes::default() });
        assert!(!batch.is_working());
        assert_eq!(batch.finish(), None);
    }

    #[test]
    fn missed_changes_leave_no_row_at_work_for_ever() {
        let mut batch = Batch::default();
        batch.begin(looked(&[row(1, "download", "running", 5, Some(10), None)], 1));
        batch.catch_up(looked(&[row(2, "upload", "completed", 5, Some(5), Some(100))], 4));
        assert!(!batch.is_working());
        assert_eq!(batch.finish().unwrap().title(english()), "Sent: file 2");
    }

    #[test]
    fn waiting_for_a_key_is_not_work() {
        let mut waiting = row(1, "upload", "queued", 0, Some(5), None);
        waiting.wait =
            serde_json::from_value(serde_json::json!({"reason": "key", "until": null, "message": "m"}))
                .unwrap();
        assert!(!is_working(&waiting));
        waiting.wait =
            serde_json::from_value(serde_json::json!({"reason": "retry", "until": 5, "message": "m"}))
                .unwrap();
        assert!(is_working(&waiting));
    }
}
