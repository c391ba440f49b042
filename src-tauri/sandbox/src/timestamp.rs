//! Moments as the stores spell them: `20260102T030405Z`, `2026-01-02T03:04:05Z` and Unix time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, now.
pub(crate) fn now_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Seconds since 1970, now.
pub(crate) fn now() -> i64 {
    (now_millis() / 1000).cast_signed()
}

/// The moment that lies `millis` after 1970, for HTTP dates.
pub(crate) fn system_time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// `20260102T030405Z`, as in `X-Goog-Date` and `X-Amz-Date`.
pub(crate) fn compact(unix: i64) -> String {
    let ([year, month, day], [hour, minute, second]) = civil(unix);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `2026-01-02T03:04:05Z`, as in policies, Azure's `se` and error answers.
pub(crate) fn iso(unix: i64) -> String {
    let ([year, month, day], [hour, minute, second]) = civil(unix);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads either spelling; fractions of a second are dropped. `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let text = text.split_once('.').map_or(text, |(whole, _)| whole);
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let (date, time) = digits.split_once('T')?;
    if date.len() != 8 || time.len() != 6 || !date.bytes().chain(time.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |part: &str| part.parse::<i64>().ok();
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date in the proleptic Gregorian calendar (Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], with the time of day.
fn civil(unix: i64) -> ([i64; 3], [i64; 3]) {
    let days = unix.div_euclid(86_400) + 719_468;
    let seconds = unix.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    ([year, month, day], [seconds / 3600, seconds / 60 % 60, seconds % 60])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_and_reads_the_same_moment() {
        assert_eq!(compact(1_709_210_096), "20240229T123456Z");
        assert_eq!(iso(1_709_210_096), "2024-02-29T12:34:56Z");
        for unix in [0, 951_782_400, 1_709_210_096, 4_102_444_799] {
            assert_eq!(parse(&compact(unix)), Some(unix));
            assert_eq!(parse(&iso(unix)), Some(unix));
        }
        assert_eq!(parse("2024-02-29T12:34:56.789Z"), Some(1_709_210_096));
        for wrong in ["", "Z", "20240229", "20241329T000000Z", "2024-02-29 12:34:56", "2024022xT123456Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
