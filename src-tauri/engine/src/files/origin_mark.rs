//! The mark that tells the system that a file came from outside, so that it asks before running it.
//!
//! It is set on the part file: no name that a person or a program would open ever has a file without it. A file system that
//! cannot keep it is no error, and neither is one that refuses: the log has it.

/// Shows that a file was given its mark, or that its disk did not take it: without this there is no final name.
#[derive(Debug)]
pub(crate) struct MarkTried(());

/// Marks a file where the platform knows such a mark. Linux knows none that anything heeds.
pub(crate) fn set(file: &std::fs::File, path: &std::path::Path) -> MarkTried {
    if let Err(error) = mark(file, path) {
        tracing::warn!(%error, "the disk does not take the mark of what came from outside");
    }
    MarkTried(())
}

/// A second stream of the file, which stays with it when it is renamed.
#[cfg(windows)]
fn mark(_file: &std::fs::File, path: &std::path::Path) -> std::io::Result<()> {
    let mut stream = path.as_os_str().to_owned();
    stream.push(":Zone.Identifier");
    std::fs::write(stream, "[ZoneTransfer]\r\nZoneId=3\r\n")
}

/// What Gatekeeper looks at. Set on the open file, whatever its name leads to by now.
#[cfg(target_os = "macos")]
fn mark(file: &std::fs::File, _path: &std::path::Path) -> std::io::Result<()> {
    use rustix::fs::{XattrFlags, fsetxattr};

    let entry = quarantine(std::time::SystemTime::now());
    Ok(fsetxattr(file, c"com.apple.quarantine", entry.as_bytes(), XattrFlags::empty())?)
}

#[cfg(not(any(windows, target_os = "macos")))]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere there is something that can fail")]
fn mark(_file: &std::fs::File, _path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

/// `flags;time;program;`: downloaded and not yet looked at, when in hexadecimal seconds since 1970, by whom. What may come
/// last, an id, would name an entry in the database of downloads, and there is none: whoever reads that would learn the link.
#[cfg(any(target_os = "macos", test))]
fn quarantine(now: std::time::SystemTime) -> String {
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("0081;{:08x};Ferry;", since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_entry_for_gatekeeper_has_flags_time_and_program_and_names_no_other_entry() {
        assert_eq!(quarantine(UNIX_EPOCH + Duration::from_secs(0x6651_8f00)), "0081;66518f00;Ferry;");
        assert_eq!(quarantine(UNIX_EPOCH + Duration::from_secs(7)), "0081;00000007;Ferry;");
        // A clock that stands before 1970.
        assert_eq!(quarantine(UNIX_EPOCH - Duration::from_secs(7)), "0081;00000000;Ferry;");
    }
}
