//! Trying again, as data: one table decides for up- and downloads alike.
//!
//! Waiting is exponential with full jitter (0 … 1, 2, 4 … 60 s). A `Retry-After` of the other side wins, capped
//! at ten minutes. Attempts are counted *without progress in between*: every confirmed byte sets the count back
//! to nothing, so a bad line that still moves never runs out of attempts.

use std::time::Duration;

use rand::Rng as _;

use crate::error::{Cause, Code, Error, Remedy};
use crate::words::Phrase;

/// The longest wait that a server can ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How often a cause is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not at all: trying the same cannot help.
    Never,
    /// This many times at most, whatever the user's setting.
    AtMost(u32),
    /// As often as the user's setting says.
    Setting,
    /// Without counting: the other side asked for a pause, it is not a failure.
    Uncounted,
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The row's key.
    pub cause: Cause,
    /// The code that it shows.
    pub code: Code,
    /// Whether and how often it is tried again.
    pub again: Again,
    /// The button that it offers.
    pub remedy: Remedy,
    /// What the user reads about the way out.
    pub advice: Phrase,
}

const fn row(cause: Cause, code: Code, again: Again, remedy: Remedy, advice: Phrase) -> Rule {
    Rule { cause, code, again, remedy, advice }
}

/// The table. Its rows are tested one by one from `tests/fixtures/retries.json`.
#[rustfmt::skip]
pub const TABLE: &[Rule] = &[
    row(Cause::Unauthorized, Code::Unauthorized, Again::Never, Remedy::EnterKey, Phrase::EnterKey),
    row(Cause::RateLimited, Code::RateLimited, Again::Uncounted, Remedy::Retry, Phrase::WaitALittle),
    row(Cause::NotFound, Code::NotFound, Again::Never, Remedy::Remove, Phrase::CheckIdOrLink),
    row(Cause::NotReady, Code::NotReady, Again::Never, Remedy::Retry, Phrase::TryWhenFinished),
    row(Cause::NotYet, Code::NotReady, Again::Setting, Remedy::Retry, Phrase::TryWhenFinished),
    row(Cause::ServerTrouble, Code::ServiceError, Again::Setting, Remedy::Retry, Phrase::TryLater),
    row(Cause::ServiceHiccup, Code::ServiceError, Again::AtMost(2), Remedy::Retry, Phrase::CheckIdOrTryLater),
    row(Cause::ServiceRefused, Code::ServiceError, Again::Never, Remedy::Retry, Phrase::ReadTheReason),
    row(Cause::BadResponse, Code::BadResponse, Again::Never, Remedy::CheckService, Phrase::CheckAddress),
    row(Cause::CutShort, Code::Incomplete, Again::Setting, Remedy::Retry, Phrase::TryAgainArrivedKept),
    row(Cause::Integrity, Code::IntegrityMismatch, Again::AtMost(1), Remedy::StartOver, Phrase::StartOverOrDamaged),
    row(Cause::StoredWrong, Code::IntegrityMismatch, Again::Never, Remedy::DeleteAsset, Phrase::DeleteWrongAsset),
    row(Cause::ChangedAtSource, Code::ChangedAtSource, Again::AtMost(3), Remedy::StartOver, Phrase::StartOverForNewVersion),
    row(Cause::Expired, Code::ExpiredUrl, Again::AtMost(3), Remedy::SignAgain, Phrase::SignAgain),
    row(Cause::LinkExpired, Code::ExpiredUrl, Again::Never, Remedy::NewLink, Phrase::GetNewLink),
    row(Cause::DiskFull, Code::DiskFull, Again::Never, Remedy::FreeSpace, Phrase::MakeRoom),
    row(Cause::FileTooLarge, Code::FileTooLarge, Again::Never, Remedy::ChooseFolder, Phrase::ChooseLargerDisk),
    row(Cause::PathTooLong, Code::PathTooLong, Again::Never, Remedy::ChooseFolder, Phrase::ChooseShorterPath),
    row(Cause::PermissionDenied, Code::PermissionDenied, Again::Never, Remedy::ChooseFolder, Phrase::ChooseWritableFolder),
    row(Cause::SourceUnreadable, Code::PermissionDenied, Again::Never, Remedy::ChooseFile, Phrase::MakeReadable),
    row(Cause::SourceMissing, Code::SourceMissing, Again::Never, Remedy::ChooseFile, Phrase::PutFileBack),
    row(Cause::SourceChanged, Code::SourceChanged, Again::Never, Remedy::StartOver, Phrase::SendWhenStill),
    row(Cause::Offline, Code::Network, Again::Uncounted, Remedy::Retry, Phrase::ConnectToNetwork),
    row(Cause::Dns, Code::Network, Again::Setting, Remedy::Retry, Phrase::CheckAddressAndNetwork),
    row(Cause::Unreachable, Code::Network, Again::Setting, Remedy::Retry, Phrase::CheckNetworkConfirmedKept),
    row(Cause::ProxyRefused, Code::Network, Again::Never, Remedy::Retry, Phrase::SignInToProxy),
    row(Cause::Stalled, Code::TimedOut, Again::Setting, Remedy::Retry, Phrase::TryAgainConfirmedKept),
    row(Cause::Tls, Code::Tls, Again::Never, Remedy::CheckService, Phrase::CheckAddressAndClock),
    row(Cause::InsecureRedirect, Code::InsecureRedirect, Again::Never, Remedy::NewLink, Phrase::AskForDirectLink),
    row(Cause::Canceled, Code::Canceled, Again::Never, Remedy::Retry, Phrase::StartWheneverYouLike),
    row(Cause::Unsupported, Code::Unsupported, Again::Never, Remedy::CheckService, Phrase::UseAnotherService),
    row(Cause::BusyDataDir, Code::BusyDataDir, Again::Never, Remedy::Retry, Phrase::CloseOtherFerry),
    row(Cause::InvalidInput, Code::InvalidInput, Again::Never, Remedy::Remove, Phrase::CorrectIt),
    row(Cause::Internal, Code::Internal, Again::Never, Remedy::Report, Phrase::SendReport),
];

/// The row for a cause.
pub fn rule(cause: Cause) -> &'static Rule {
    TABLE.iter().find(|rule| rule.cause == cause).unwrap_or(&TABLE[TABLE.len() - 1])
}

/// Counts the attempts of one transfer and says when to try again.
#[derive(Debug, Clone)]
pub struct Attempts {
    limit: u32,
    failed: u32,
    uncounted: u32,
}

impl Attempts {
    /// Allows `limit` failed attempts without progress in between.
    pub fn new(limit: u32) -> Self {
        Self { limit, failed: 0, uncounted: 0 }
    }

    /// Bytes were confirmed: the line works, count from nothing again.
    pub fn progressed(&mut self) {
        self.failed = 0;
        self.uncounted = 0;
    }

    /// After this failure: how long to wait before the next attempt, or `None` to give up.
    pub fn next(&mut self, error: &Error) -> Option<Duration> {
        let allowed = match rule(error.cause).again {
            Again::Never => return None,
            Again::Uncounted => {
                self.uncounted += 1;
                return Some(
                    error.retry_after.map_or_else(|| backoff(self.uncounted), |wait| wait.min(LONGEST_WAIT)),
                );
            }
            Again::AtMost(limit) => limit.min(self.limit),
            Again::Setting => self.limit,
        };
        self.failed += 1;
        if self.failed > allowed {
            return None;
        }
        Some(error.retry_after.map_or_else(|| backoff(self.failed), |wait| wait.min(LONGEST_WAIT)))
    }
}

/// The longest that the nth wait can be: 1, 2, 4 … 60 s.
pub fn longest_backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

/// Full jitter: anything from nothing to the longest, so that a crowd of clients does not come back at once.
fn backoff(attempt: u32) -> Duration {
    longest_backoff(attempt).mul_f64(rand::rng().random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Row {
        cause: Cause,
        code: Code,
        remedy: Remedy,
        /// Attempts that are allowed after the first, with the user's setting at 5; absent = never counted.
        again: Option<u32>,
    }

    /// The promise in `docs/reliability.md`, row by row, against the table that decides.
    #[test]
    fn every_row_of_the_promise_is_what_the_table_does() {
        let rows: Vec<Row> =
            serde_json::from_str(include_str!("../../../tests/fixtures/retries.json")).unwrap();
        let promised: HashSet<Cause> = rows.iter().map(|row| row.cause).collect();
        assert_eq!(promised.len(), TABLE.len(), "each cause has one row in both");
        for row in rows {
            let rule = rule(row.cause);
            assert_eq!((rule.cause, rule.code, rule.remedy), (row.cause, row.code, row.remedy));
            let mut attempts = Attempts::new(5);
            let error = Error::new(row.cause, "x");
            let allowed = (0..50).take_while(|_| attempts.next(&error).is_some()).count() as u32;
            assert_eq!(Some(allowed).filter(|allowed| *allowed < 50), row.again, "{:?}", row.cause);
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_what_the_server_asks_for_wins_within_ten() {
        let longest: Vec<u64> = (1..=8).map(|n| longest_backoff(n).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        let mut attempts = Attempts::new(50);
        for n in 1..=50 {
            let wait = attempts.next(&Error::new(Cause::CutShort, "x")).unwrap();
            assert!(wait <= longest_backoff(n), "attempt {n} waits {wait:?}");
        }
        let mut asked = Error::new(Cause::ServerTrouble, "x");
        asked.retry_after = Some(Duration::from_secs(7));
        assert_eq!(Attempts::new(1).next(&asked), Some(Duration::from_secs(7)));
        asked.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(Attempts::new(1).next(&asked), Some(LONGEST_WAIT));
    }

    #[test]
    fn progress_gives_all_attempts_back() {
        let mut attempts = Attempts::new(1);
        let cut = Error::new(Cause::CutShort, "x");
        assert!(attempts.next(&cut).is_some());
        attempts.progressed();
        assert!(attempts.next(&cut).is_some());
        assert!(attempts.next(&cut).is_none());
    }

    #[test]
    fn a_pause_that_the_service_asks_for_is_no_failed_attempt() {
        let mut attempts = Attempts::new(0);
        for _ in 0..100 {
            assert!(attempts.next(&Error::new(Cause::RateLimited, "x")).is_some());
        }
        assert!(attempts.next(&Error::new(Cause::CutShort, "x")).is_none());
    }
}
