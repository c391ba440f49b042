//! Sizes as people write them: `2M`, `64MiB`, `1.5G`. How they are shown, all of Ferry has in common: `ferry_engine::Size`.

/// Reads a number of bytes. `K`, `M`, `G`, `T` and `KiB`, `MiB`, … count in steps of 1024, `kB`, `MB`, … in steps of
/// 1000; without a unit it is bytes. Upper and lower case are the same.
pub fn parse(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, step) = match unit.as_bytes() {
        [] | [b'b'] => (b'b', 1024_u64),
        [letter] | [letter, b'i', b'b'] => (*letter, 1024),
        [letter, b'b'] => (*letter, 1000),
        _ => return Err(unknown_unit(&unit)),
    };
    let power = match letter {
        b'b' => 0,
        b'k' => 1,
        b'm' => 2,
        b'g' => 3,
        b't' => 4,
        _ => return Err(unknown_unit(&unit)),
    };
    let value: f64 = number
        .parse()
        .map_err(|_| "it must begin with a number, as in `2M`, `64MiB` or `1.5G`".to_owned())?;
    let bytes = value * step.pow(power) as f64;
    // 2^60 bytes: beyond any disk, and well inside of what 64 bits and a double both hold.
    if bytes >= 1_152_921_504_606_846_976.0 {
        return Err("that is more than any disk holds".to_owned());
    }
    Ok(bytes.round() as u64)
}

fn unknown_unit(unit: &str) -> String {
    format!("`{unit}` is no unit: use K, M, G or T (also KiB, MiB, … and kB, MB, …)")
}

/// Reads a speed limit: a size a second, at least 1 KiB.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let bytes = parse(trimmed.strip_suffix("/s").unwrap_or(trimmed))?;
    if bytes < 1024 {
        return Err("the limit must be at least 1 KiB a second, as in `500K` or `2M`".to_owned());
    }
    Ok(bytes)
}

/// A time span for people: `4 s`, `3 min 20 s`, `2 h 5 min`.
pub fn show_seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("512b", 512),
            ("2K", 2048),
            ("2k", 2048),
            ("2kB", 2000),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("2M", 2 << 20),
            ("1.5G", 3 << 29),
            ("1TB", 1_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in ["", "M", "2X", "2MM", "-1", "1e3", "2 MiBs", "1.2.3", "999999999T", "NaN", "∞"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_rate("1000").is_err());
        assert_eq!(parse_rate("2M/s"), Ok(2 << 20));
    }

    #[test]
    fn spans_are_shown_in_at_most_two_units() {
        assert_eq!(show_seconds(59), "59 s");
        assert_eq!(show_seconds(200), "3 min 20 s");
        assert_eq!(show_seconds(7500), "2 h 5 min");
    }
}
