//! Trying again, as data: one table decides for up- and downloads alike.
//!
//! Waiting is exponential with full jitter (0 … 1, 2, 4 … 60 s), and never shorter than a `Retry-After` of the other side,
//! which is followed for ten minutes at most. Attempts are counted *without progress in between*: every confirmed byte sets the count back
//! to nothing, so a bad line that still moves never runs out of attempts.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::{Cause, Code, Error, Remedy};
use crate::words::{Phrase, Seconds};

/// The longest wait that a server can ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Every wait lasts this long at least.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How often a cause is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not at all: trying the same cannot help.
    Never,
    /// This many times at most, whatever the user's setting, and however often something else went wrong before.
    AtMost(u32),
    /// As often as the user's setting says.
    Setting,
    /// Without counting, until so much time was waited in all without progress: the other side asked for a pause, that
    /// is no failure.
    Within(Duration),
    /// The same for as long as work on a server may stand still ([`crate::http::Limits::stuck`]).
    UntilStuck,
    /// The same where the other side names a time, even one that has passed by this computer's clock: it means to be ready
    /// then. Where it names none it may mean never, and the user's setting counts.
    UntilStuckIfAsked,
    /// The same as [`Self::Within`], after exactly the time that Ferry itself has found to be right.
    AsFound(Duration),
    /// Without counting and without end: what is waited for is on this computer.
    Uncounted,
}

/// A service that asks for pauses and brings nothing for this long is given up.
const LONGEST_PAUSES: Duration = Duration::from_secs(3600);

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
    row(Cause::RateLimited, Code::RateLimited, Again::Within(LONGEST_PAUSES), Remedy::Retry, Phrase::WaitALittle),
    row(Cause::Crowded, Code::RateLimited, Again::AsFound(LONGEST_PAUSES), Remedy::Retry, Phrase::WaitALittle),
    row(Cause::LimitOrInvalid, Code::ServiceError, Again::AtMost(3), Remedy::Retry, Phrase::ReadTheReasonOrLater),
    row(Cause::QuotaExceeded, Code::QuotaExceeded, Again::Never, Remedy::Retry, Phrase::RechargeThenResume),
    row(Cause::NotFound, Code::NotFound, Again::Never, Remedy::Remove, Phrase::CheckIdOrLink),
    row(Cause::NotReady, Code::NotReady, Again::UntilStuck, Remedy::Retry, Phrase::TryWhenFinished),
    row(Cause::NotYet, Code::NotReady, Again::UntilStuckIfAsked, Remedy::Retry, Phrase::TryWhenFinished),
    row(Cause::JobStuck, Code::NotReady, Again::Never, Remedy::Retry, Phrase::TryWhenFinished),
    row(Cause::ServerTrouble, Code::ServiceError, Again::UntilStuckIfAsked, Remedy::Retry, Phrase::TryLater),
    row(Cause::ServiceHiccup, Code::ServiceError, Again::AtMost(2), Remedy::Retry, Phrase::CheckIdOrTryLater),
    row(Cause::ServiceRefused, Code::ServiceError, Again::Never, Remedy::Retry, Phrase::ReadTheReason),
    row(Cause::Duplicate, Code::ServiceError, Again::Never, Remedy::Retry, Phrase::ReadTheReason),
    row(Cause::BadResponse, Code::BadResponse, Again::Never, Remedy::CheckService, Phrase::CheckAddress),
    row(Cause::Misplaced, Code::BadResponse, Again::AtMost(2), Remedy::CheckService, Phrase::CheckAddress),
    row(Cause::CutShort, Code::Incomplete, Again::Setting, Remedy::Retry, Phrase::TryAgainArrivedKept),
    row(Cause::Integrity, Code::IntegrityMismatch, Again::AtMost(1), Remedy::StartOver, Phrase::StartOverOrDamaged),
    row(Cause::StoredWrong, Code::IntegrityMismatch, Again::Never, Remedy::DeleteAsset, Phrase::DeleteWrongAsset),
    row(Cause::ChangedAtSource, Code::ChangedAtSource, Again::AtMost(3), Remedy::StartOver, Phrase::StartOverForNewVersion),
    row(Cause::Expired, Code::ExpiredUrl, Again::AtMost(3), Remedy::SignAgain, Phrase::SignAgain),
    row(Cause::NotYetValid, Code::NotReady, Again::UntilStuck, Remedy::Retry, Phrase::WaitForItsTime),
    row(Cause::ValidMuchLater, Code::NotReady, Again::Never, Remedy::Retry, Phrase::WaitForItsTime),
    row(Cause::LinkExpired, Code::ExpiredUrl, Again::Never, Remedy::NewLink, Phrase::GetNewLink),
    row(Cause::DiskFull, Code::DiskFull, Again::Never, Remedy::FreeSpace, Phrase::MakeRoom),
    row(Cause::FileTooLarge, Code::FileTooLarge, Again::Never, Remedy::ChooseFolder, Phrase::ChooseLargerDisk),
    row(Cause::TooLargeForStore, Code::FileTooLarge, Again::Never, Remedy::Remove, Phrase::SendInParts),
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
    row(Cause::LedInward, Code::InsecureRedirect, Again::Never, Remedy::NewLink, Phrase::AddAddressYourself),
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
    /// How long work on a server may stand still.
    stuck: Duration,
    failed: u32,
    /// Those with a limit of their own.
    failed_by: HashMap<Cause, u32>,
    uncounted: u32,
    /// What was waited in all without being counted.
    waited: Duration,
}

impl Attempts {
    /// Allows `limit` failed attempts without progress in between, and `stuck` of waiting for work on a server.
    pub fn new(limit: u32, stuck: Duration) -> Self {
        Self { limit, stuck, failed: 0, failed_by: HashMap::new(), uncounted: 0, waited: Duration::ZERO }
    }

    /// Bytes were confirmed: the line works, count from nothing again. But for what all bytes were given up for: those that
    /// come after it are the same ones over again, and a line that breaks often would bring them for ever.
    pub fn progressed(&mut self) {
        let mut failed_by = std::mem::take(&mut self.failed_by);
        failed_by.retain(|cause, _| matches!(cause, Cause::Integrity | Cause::Misplaced));
        *self = Self { failed_by, ..Self::new(self.limit, self.stuck) };
    }

    /// After this failure: how long to wait before the next attempt, or `None` to give up. `chance` is from 0 to 1.
    pub fn next(&mut self, error: &Error, chance: f64) -> Option<Duration> {
        let asked = error.retry_after.map(|wait| wait.min(LONGEST_WAIT));
        let (failed, allowed) = match rule(error.cause).again {
            Again::Never => return None,
            Again::Within(longest) => return self.pause(longest, |nth| no_sooner_than(asked, nth, chance)),
            Again::UntilStuck => return self.pause(self.stuck, |nth| no_sooner_than(asked, nth, chance)),
            Again::UntilStuckIfAsked if asked.is_some() => {
                return self.pause(self.stuck, |nth| no_sooner_than(asked, nth, chance));
            }
            Again::AsFound(longest) => {
                return self.pause(longest, |nth| asked.unwrap_or_else(|| backoff(nth, chance)));
            }
            Again::Uncounted => return self.pause(Duration::MAX, |nth| no_sooner_than(asked, nth, chance)),
            Again::AtMost(limit) => (self.failed_by.entry(error.cause).or_default(), limit.min(self.limit)),
            Again::Setting | Again::UntilStuckIfAsked => (&mut self.failed, self.limit),
        };
        *failed += 1;
        let failed = *failed;
        (failed <= allowed).then(|| no_sooner_than(asked, failed, chance))
    }

    fn pause(&mut self, longest: Duration, nth: impl FnOnce(u32) -> Duration) -> Option<Duration> {
        let left = longest.checked_sub(self.waited).filter(|left| !left.is_zero())?;
        self.uncounted += 1;
        // The last look is at the end of the time, not long before it.
        let wait = nth(self.uncounted).max(SHORTEST_PAUSE).min(left);
        self.waited += wait;
        Some(wait)
    }

    /// An error after which nothing is tried any more: what was waited for in vain is said with it.
    pub fn given_up(&self, mut error: Error) -> Error {
        let was_waited_for = match rule(error.cause).again {
            Again::Within(_) | Again::AsFound(_) | Again::UntilStuck => true,
            Again::UntilStuckIfAsked => error.retry_after.is_some(),
            Again::Never | Again::AtMost(_) | Again::Setting | Again::Uncounted => false,
        };
        if self.waited > Duration::ZERO && was_waited_for {
            let seconds = Seconds(self.waited.as_secs());
            error.what = Phrase::StillSo { what: error.what, seconds }.into();
        }
        error
    }
}

/// The longest that the nth wait can be: 1, 2, 4 … 60 s.
pub fn longest_backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

/// A time that is asked for is not the best one to come back at: who says "0", or names a time by a clock that is behind,
/// would be asked without a breath, and who says "1" for ten minutes would be sent a whole file each second. So the waits
/// grow all the same.
fn no_sooner_than(asked: Option<Duration>, nth: u32, chance: f64) -> Duration {
    asked.unwrap_or_default().max(backoff(nth, chance)).max(SHORTEST_PAUSE)
}

/// Full jitter: anything from nothing to the longest, so that a crowd of clients does not come back at once.
fn backoff(attempt: u32, chance: f64) -> Duration {
    longest_backoff(attempt).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde::Deserialize;

    use super::*;

    /// Chance at its worst.
    const LONGEST: f64 = 1.0;

    #[derive(Deserialize)]
    struct Row {
        cause: Cause,
        code: Code,
        remedy: Remedy,
        /// Attempts that are allowed after the first, with the user's setting at 5; absent = never counted.
        again: Option<u32>,
        /// Seconds that are waited in all where attempts are not counted, with ten minutes for work on a server; absent =
        /// without end.
        waits: Option<u64>,
        /// The same where the other side names a time and attempts are counted otherwise.
        waits_if_asked: Option<u64>,
    }

    fn five() -> Attempts {
        Attempts::new(5, Duration::from_secs(600))
    }

    /// The promise in `docs/reliability.md`, row by row, against the table that decides.
    #[test]
    fn every_row_of_the_promise_is_what_the_table_does() {
        let rows: Vec<Row> =
            serde_json::from_str(include_str!("../../../../tests/fixtures/retries.json")).unwrap();
        let promised: HashSet<Cause> = rows.iter().map(|row| row.cause).collect();
        assert_eq!(promised.len(), TABLE.len(), "each cause has one row in both");
        for row in rows {
            let rule = rule(row.cause);
            assert_eq!((rule.cause, rule.code, rule.remedy), (row.cause, row.code, row.remedy));
            let mut attempts = five();
            let mut error = Error::new(row.cause, "x");
            // No wait is longer than a minute, and none shorter than the shortest pause.
            let waits: Vec<Duration> =
                std::iter::from_fn(|| attempts.next(&error, LONGEST)).take(40_000).collect();
            if row.again.is_some() || row.waits.is_none() {
                let allowed = Some(waits.len() as u32).filter(|allowed| *allowed < 40_000);
                assert_eq!(allowed, row.again, "{:?}", row.cause);
            } else {
                assert_eq!(Some(waits.iter().sum::<Duration>().as_secs()), row.waits, "{:?}", row.cause);
            }
            if row.waits.is_none() && row.again.is_some_and(|again| again > 0) {
                error.retry_after = Some(Duration::ZERO);
                let mut attempts = five();
                let waits: Vec<Duration> = std::iter::from_fn(|| attempts.next(&error, LONGEST)).collect();
                let waited = waits.iter().sum::<Duration>().as_secs();
                assert!(waits.iter().all(|wait| *wait >= SHORTEST_PAUSE), "{:?}", row.cause);
                match row.waits_if_asked {
                    Some(expected) => assert_eq!(waited, expected, "{:?}", row.cause),
                    None => assert_eq!(Some(waits.len() as u32), row.again, "{:?}", row.cause),
                }
            }
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_what_the_server_asks_for_wins_within_ten() {
        let longest: Vec<u64> = (1..=8).map(|n| longest_backoff(n).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        let mut attempts = Attempts::new(50, Duration::ZERO);
        for n in 1..=50 {
            let wait = attempts.next(&Error::new(Cause::CutShort, "x"), LONGEST).unwrap();
            assert!(wait <= longest_backoff(n), "attempt {n} waits {wait:?}");
        }
        for cause in
            [Cause::ServerTrouble, Cause::RateLimited, Cause::NotYet, Cause::NotReady, Cause::CutShort]
        {
            let mut asked = Error::new(cause, "x");
            asked.retry_after = Some(Duration::from_secs(7));
            assert_eq!(five().next(&asked, LONGEST), Some(Duration::from_secs(7)), "{cause:?}");
            asked.retry_after = Some(Duration::from_secs(86_400));
            assert_eq!(five().next(&asked, LONGEST), Some(LONGEST_WAIT), "{cause:?}");
            // Nothing is asked for at once, nor so often for ever.
            asked.retry_after = Some(Duration::ZERO);
            let mut attempts = five();
            let waits: Vec<Duration> = std::iter::from_fn(|| attempts.next(&asked, LONGEST)).collect();
            assert!(waits.iter().all(|wait| *wait >= SHORTEST_PAUSE), "{cause:?}: {waits:?}");
            assert!(waits.len() < 300, "{cause:?}: {} times", waits.len());
        }
    }

    #[test]
    fn progress_gives_all_attempts_back() {
        let mut attempts = Attempts::new(1, Duration::ZERO);
        let cut = Error::new(Cause::CutShort, "x");
        assert!(attempts.next(&cut, LONGEST).is_some());
        attempts.progressed();
        assert!(attempts.next(&cut, LONGEST).is_some());
        assert!(attempts.next(&cut, LONGEST).is_none());
    }

    #[test]
    fn what_has_a_limit_of_its_own_is_counted_by_itself() {
        let mut attempts = five();
        let next = |attempts: &mut Attempts, cause| attempts.next(&Error::new(cause, "x"), LONGEST).is_some();
        assert!(next(&mut attempts, Cause::CutShort) && next(&mut attempts, Cause::ServerTrouble));
        assert!(next(&mut attempts, Cause::Integrity), "the first damage, after other trouble");
        assert!(!next(&mut attempts, Cause::Integrity));
        let more = std::iter::from_fn(|| next(&mut attempts, Cause::CutShort).then_some(())).count();
        assert_eq!(more, 3, "what the setting limits is one count");
        attempts.progressed();
        assert!(!next(&mut attempts, Cause::Integrity), "the same bytes over again are no progress");
    }

    #[test]
    fn a_pause_that_the_service_asks_for_is_no_failed_attempt_and_ends_all_the_same() {
        let mut asked = Error::new(Cause::RateLimited, "x");
        let mut attempts = Attempts::new(0, Duration::ZERO);
        for seconds in [0, 1, 600, 86_400] {
            asked.retry_after = Some(Duration::from_secs(seconds));
            assert!(attempts.next(&asked, LONGEST).is_some());
        }
        assert!(attempts.next(&Error::new(Cause::CutShort, "x"), LONGEST).is_none());
        let more = std::iter::from_fn(|| attempts.next(&asked, LONGEST)).count();
        assert_eq!(more, 4, "an hour in all, by ten minutes at a time");
        let said = attempts.given_up(asked.clone()).to_string();
        assert!(said.starts_with("x, and still so after 3600 s of waiting"), "{said}");
        attempts.progressed();
        assert!(
            attempts.next(&asked, LONGEST).is_some(),
            "with bytes in between it is a slow line, not a dead one"
        );
        // One that names no time at all is not asked without a breath.
        asked.retry_after = Some(Duration::ZERO);
        assert!(attempts.next(&asked, LONGEST).is_some_and(|wait| wait > Duration::ZERO));
    }
}
