//! The mark that tells the system that a file came from outside, so that it asks before running it.

/// Marks a downloaded file where the platform knows such a mark. A file system without it is no error.
#[cfg(windows)]
pub(crate) fn set(path: &std::path::Path) {
    let mut stream = path.as_os_str().to_owned();
    stream.push(":Zone.Identifier");
    let _ = std::fs::write(stream, "[ZoneTransfer]\r\nZoneId=3\r\n");
}

/// Marks a downloaded file where the platform knows such a mark. Linux knows none that anything heeds; macOS sets
/// its own for programs that declare `LSFileQuarantineEnabled`, as Ferry's bundle does.
#[cfg(not(windows))]
pub(crate) fn set(_path: &std::path::Path) {}
