//! Moments as people read them. Always UTC, and said so where it is shown: no time zone data is needed.

/// `2026-11-21 12:04` for milliseconds since 1970.
pub fn show(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    let (year, month, day) = date(minutes / 1440);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// Year, month and day of a day since 1970 (Howard Hinnant's `civil_from_days`, for days after 1970 only).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn dates_are_right_also_around_leap_days() {
        assert_eq!(show(0), "1970-01-01 00:00");
        assert_eq!(show(951_782_399_000), "2000-02-28 23:59");
        assert_eq!(show(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(show(1_795_262_640_000), "2026-11-21 12:04");
    }
}
