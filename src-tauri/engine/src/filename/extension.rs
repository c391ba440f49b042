//! The extension of a name, and the one that type or content speak for.

/// The extension of a name, without its dot: what people and systems would take for one.
pub(super) fn extension(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let is_one = !stem.is_empty()
        && (1..=16).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+'))
        // `v1.5` has none, but `film.mkv.001` is the first of several volumes.
        && (extension.bytes().any(|byte| byte.is_ascii_alphabetic()) || extension.len() == 3);
    is_one.then_some(extension)
}

/// Whether a title's last word is an extension: "Mr.Bean" has none, and "Trends on YouTube.com" must not become a
/// program on Windows.
pub(super) fn is_known(extension: &str) -> bool {
    !extension.eq_ignore_ascii_case("com") && mime_guess::from_ext(extension).first().is_some()
}

/// The extension that type or content speak for.
pub(super) fn extension_by_evidence(content_type: Option<&str>, first_bytes: &[u8]) -> Option<String> {
    let declared = content_type.and_then(extension_by_type);
    // Servers say text/plain of everything that they do not know; known content is better evidence.
    if declared.as_deref() == Some("txt") {
        let known = extension_by_content(first_bytes).map(str::to_owned);
        return known.or_else(|| declared.filter(|_| !is_binary(first_bytes)));
    }
    declared.or_else(|| extension_by_content(first_bytes).map(str::to_owned))
}

/// Whether these bytes hold what no text does: the binary data bytes of the MIME Sniffing Standard (WHATWG, section 7.2).
/// Text in UTF-16 says so by its byte order mark.
fn is_binary(first_bytes: &[u8]) -> bool {
    !first_bytes.starts_with(&[0xFE, 0xFF])
        && !first_bytes.starts_with(&[0xFF, 0xFE])
        && first_bytes.iter().any(|byte| matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F))
}

/// The conventional extension of a media type.
fn extension_by_type(content_type: &str) -> Option<String> {
    /// Where the type has several extensions, or one that the list of `mime_guess` does not know.
    const CONVENTIONAL: &[(&str, &str)] = &[
        ("application/gzip", "gz"),
        ("application/javascript", "js"),
        ("application/json", "json"),
        ("application/mp4", "mp4"),
        ("application/msword", "doc"),
        ("application/ogg", "ogg"),
        ("application/pdf", "pdf"),
        ("application/postscript", "ps"),
        ("application/vnd.ms-excel", "xls"),
        ("application/vnd.ms-powerpoint", "ppt"),
        ("application/vnd.rar", "rar"),
        ("application/x-7z-compressed", "7z"),
        ("application/x-bzip2", "bz2"),
        ("application/x-gzip", "gz"),
        ("application/x-mpegurl", "m3u8"),
        ("application/x-ndjson", "ndjson"),
        ("application/x-rar-compressed", "rar"),
        ("application/x-subrip", "srt"),
        ("application/x-tar", "tar"),
        ("application/x-xz", "xz"),
        ("application/x-yaml", "yaml"),
        ("application/x-zip-compressed", "zip"),
        ("application/xhtml+xml", "xhtml"),
        ("application/xml", "xml"),
        ("application/yaml", "yaml"),
        ("application/zip", "zip"),
        ("application/zstd", "zst"),
        ("audio/aac", "aac"),
        ("audio/aiff", "aiff"),
        ("audio/flac", "flac"),
        ("audio/m4a", "m4a"),
        ("audio/midi", "mid"),
        ("audio/mp3", "mp3"),
        ("audio/mp4", "m4a"),
        ("audio/mpeg", "mp3"),
        ("audio/ogg", "ogg"),
        ("audio/opus", "opus"),
        ("audio/wav", "wav"),
        ("audio/wave", "wav"),
        ("audio/webm", "weba"),
        ("audio/x-aiff", "aiff"),
        ("audio/x-flac", "flac"),
        ("audio/x-m4a", "m4a"),
        ("audio/x-wav", "wav"),
        ("image/avif", "avif"),
        ("image/bmp", "bmp"),
        ("image/gif", "gif"),
        ("image/heic", "heic"),
        ("image/heif", "heif"),
        ("image/jpeg", "jpg"),
        ("image/jpg", "jpg"),
        ("image/jxl", "jxl"),
        ("image/png", "png"),
        ("image/svg+xml", "svg"),
        ("image/tiff", "tif"),
        ("image/vnd.microsoft.icon", "ico"),
        ("image/webp", "webp"),
        ("image/x-icon", "ico"),
        ("text/css", "css"),
        ("text/csv", "csv"),
        ("text/html", "html"),
        ("text/javascript", "js"),
        ("text/markdown", "md"),
        ("text/plain", "txt"),
        ("text/vtt", "vtt"),
        ("text/xml", "xml"),
        ("video/3gpp", "3gp"),
        ("video/matroska", "mkv"),
        ("video/mp2t", "ts"),
        ("video/mp4", "mp4"),
        ("video/mpeg", "mpg"),
        ("video/ogg", "ogv"),
        ("video/quicktime", "mov"),
        ("video/webm", "webm"),
        ("video/x-flv", "flv"),
        ("video/x-m4v", "m4v"),
        ("video/x-matroska", "mkv"),
        ("video/x-ms-wmv", "wmv"),
        ("video/x-msvideo", "avi"),
    ];
    /// What servers say when they mean "save this": no evidence.
    const UNKNOWN: [&str; 9] = [
        "application/binary",
        "application/download",
        "application/force-download",
        "application/octet-stream",
        "application/unknown",
        "application/x-download",
        "application/x-octet-stream",
        "binary/octet-stream",
        "unknown/unknown",
    ];
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if UNKNOWN.contains(&essence.as_str()) {
        return None;
    }
    if let Some((_, extension)) = CONVENTIONAL.iter().find(|(kind, _)| *kind == essence) {
        return Some((*extension).to_owned());
    }
    let known = mime_guess::get_mime_extensions_str(&essence)?;
    // `font/woff2` → woff2, `application/x-iso9660-image` → its first.
    let subtype =
        essence.split_once('/').map_or("", |(_, subtype)| subtype.strip_prefix("x-").unwrap_or(subtype));
    known
        .iter()
        .find(|extension| **extension == subtype)
        .or_else(|| known.first())
        .map(|found| (*found).to_owned())
}

/// The extension that the first bytes give away. Programs are left out: a name that runs is not made up here.
fn extension_by_content(first_bytes: &[u8]) -> Option<&'static str> {
    match infer::get(first_bytes) {
        Some(found) if found.matcher_type() == infer::MatcherType::App => None,
        Some(found) => Some(match found.extension() {
            // Old Office and installers share one container; nothing says which it is.
            "msi" => return None,
            "sh" => "txt",
            other => other,
        }),
        // ISO base media of a brand that `infer` does not list.
        None if first_bytes.get(4..8) == Some(b"ftyp") => Some("mp4"),
        None => None,
    }
}
