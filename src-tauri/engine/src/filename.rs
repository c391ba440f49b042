//! The name that a downloaded file gets: where it comes from, and how it is made harmless.
//!
//! Sources, in order: `Content-Disposition`, the title that a list gave, the URL's last segment, the id. Whatever the
//! source, the name is then made safe for every system alike, so that files travel: it is always exactly one path
//! component that Linux, macOS and Windows can all store, with room left for the part file's suffix and a number.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;
use url::Url;

/// What a file is called while it is not complete: `name.ext.ferrypart`.
pub(crate) const PART_SUFFIX: &str = ".ferrypart";

/// The longest name that file systems take, in bytes of UTF-8. (NTFS and APFS count UTF-16 units: never more.)
const LONGEST: usize = 255;
/// The longest name with room for the suffix of a part file, also of one that was set aside (`name.old.ferrypart`).
const LONGEST_NUMBERED: usize = LONGEST - PART_SUFFIX.len() - ".old".len();
/// The longest name with room for that and ` (999)`.
const LONGEST_SAFE: usize = LONGEST_NUMBERED - " (999)".len();
/// An extension longer than this, in bytes, is not kept when a name must be cut.
const LONGEST_EXTENSION: usize = 32;

/// Where a name can come from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candidates<'a> {
    /// The `Content-Disposition` header, raw.
    pub content_disposition: Option<&'a [u8]>,
    /// The title or name that a list gave.
    pub title: Option<&'a str>,
    /// The URL that the file came from, if its last segment may be a name.
    pub url: Option<&'a Url>,
    /// The id at the service.
    pub id: &'a str,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The first bytes of the file: some hundreds are enough.
    pub first_bytes: &'a [u8],
}

/// Chooses the name: the first source that leaves one, with an extension from type or content when it has none.
pub(crate) fn choose(candidates: &Candidates<'_>) -> String {
    let declared =
        candidates.content_disposition.and_then(from_content_disposition).and_then(|name| make_safe(&name));
    // Of titles and ids nobody promised that what follows their last dot is an extension.
    let (name, is_title) = if let Some(name) = declared {
        (name, false)
    } else if let Some(name) = candidates.title.and_then(from_title) {
        (name, true)
    } else if let Some(name) = candidates.url.and_then(last_segment) {
        (name, false)
    } else {
        (from_title(candidates.id).unwrap_or_else(|| "download".to_owned()), true)
    };
    let has_extension = extension(&name).is_some_and(|found| !is_title || is_known(found));
    if has_extension {
        return name;
    }
    let Some(found) = extension_by_evidence(candidates.content_type, candidates.first_bytes) else {
        return name;
    };
    // Made safe once more: the longer name may need a cut, and a type can name a launcher.
    make_safe(&with_extension(&name, &found)).unwrap_or(name)
}

/// A name from a title or an id, where a slash is a sign and no path: "Live 24/7" must not become "7".
pub(crate) fn from_title(title: &str) -> Option<String> {
    make_safe(&title.replace(['/', '\\'], "_"))
}

/// Whether the end of a name promises a film, a picture, an archive: something that no web page is.
pub(crate) fn is_no_page(name: &str) -> bool {
    const OTHERS: [&str; 34] = [
        "7z", "apk", "appimage", "avro", "bin", "bz2", "csv", "deb", "dmg", "docx", "epub", "exe", "gz",
        "img", "iso", "jar", "json", "msi", "npy", "npz", "odt", "parquet", "pdf", "pptx", "rar", "rpm",
        "srt", "tar", "tgz", "vtt", "xlsx", "xz", "zip", "zst",
    ];
    extension(name).map(str::to_ascii_lowercase).is_some_and(|extension| {
        OTHERS.contains(&extension.as_str())
            || mime_guess::from_ext(&extension)
                .first()
                .is_some_and(|mime| matches!(mime.type_().as_str(), "audio" | "font" | "image" | "video"))
    })
}

/// Whether a link's last segment promises that. `example.com` at its end promises nothing.
pub(crate) fn link_is_no_page(url: &Url) -> bool {
    last_segment(url).is_some_and(|name| is_no_page(&name))
}

/// The name under which a web page is saved: it ends as pages do, whatever stood there.
pub(crate) fn of_page(name: String) -> String {
    let is_there = extension(&name).is_some_and(|found| {
        ["html", "htm", "xhtml", "xht", "shtml"].iter().any(|known| found.eq_ignore_ascii_case(known))
    });
    if is_there { name } else { make_safe(&with_extension(&name, "html")).unwrap_or(name) }
}

/// Adds an extension, cutting the name rather than the extension.
fn with_extension(name: &str, extension: &str) -> String {
    let room = LONGEST_SAFE.saturating_sub(extension.len() + 1);
    format!("{}.{extension}", cut(name, room).trim_end_matches(is_edge))
}

/// The last part of a URL's path, as a name.
pub(crate) fn last_segment(url: &Url) -> Option<String> {
    let segment = url.path_segments()?.rfind(|segment| !segment.is_empty())?;
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    // An encoded slash is part of the name here, but of no use in one: its last part is what was meant.
    make_safe(&decode_unlabelled(&bytes))
}

// ---- Content-Disposition ------------------------------------------------------------------------------------------

/// Whether the header says that the body is a file to be saved. RFC 6266 §4.2: an unknown type counts as `attachment`.
pub(crate) fn is_attachment(value: &[u8]) -> bool {
    let kind = pieces(value).into_iter().next().unwrap_or_default().trim_ascii();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !kind.is_empty() && kind.iter().all(is_token) && !kind.eq_ignore_ascii_case(b"inline")
}

/// The file name in a `Content-Disposition` header (RFC 6266, RFC 8187), raw: not yet safe to use.
///
/// Order: `filename*`, then RFC 2231 continuations, then `filename`, and last a `filename*` that breaks its own rules
/// but can be read (no charset, no quotes): Firefox takes those too, and any name is better than an id. Of copies the
/// first counts. Where the header itself breaks the grammar, the reading is the one that the two big browsers share, or
/// the one that keeps more of the name; `tests/fixtures/content-disposition.json` shows each case.
pub(crate) fn from_content_disposition(value: &[u8]) -> Option<String> {
    let parameters = parameters(value);
    let first = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    };
    let extended = first("filename*");
    extended
        .and_then(decode_extended)
        .or_else(|| continued(&parameters))
        .or_else(|| first("filename").and_then(decode_plain))
        .or_else(|| extended.and_then(decode_sloppy))
        .filter(|name| !name.is_empty())
}

/// The header cut at the semicolons that do not stand in a quoted string.
fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    // A quote opens a string only where a value (or the type) begins: `foo"bar;` is no quoted string.
    let mut may_open = true;
    while at < value.len() {
        match value[at] {
            b'"' if may_open => {
                at += 1;
                while at < value.len() && value[at] != b'"' {
                    at += if value[at] == b'\\' { 2 } else { 1 };
                }
                may_open = false;
            }
            b';' => {
                pieces.push(&value[start..at]);
                start = at + 1;
                may_open = true;
            }
            b'=' => may_open = true,
            byte if byte.is_ascii_whitespace() => {}
            _ => may_open = false,
        }
        at += 1;
    }
    pieces.push(&value[start.min(value.len())..]);
    pieces
}

/// The parameters in order, values without their quotes.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    for piece in pieces(value) {
        // The type, an empty piece, `inline` in the wrong place: no parameter. But old servers leave the type out,
        // so the first piece is a parameter if it looks like one.
        let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { continue };
        found.push((piece[..equals].trim_ascii(), unquote(piece[equals + 1..].trim_ascii())));
    }
    found
}

/// Undoes quotes and quoted pairs. What follows the closing quote is dropped; a missing closing quote is forgiven.
fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return value.to_vec() };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            // A backslash at the very end escapes nothing and stands for itself.
            b'\\' => text.push(*bytes.next().unwrap_or(byte)),
            _ => text.push(*byte),
        }
    }
    text
}

/// A `filename` value: raw UTF-8 or Latin-1, percent-encoded, or RFC 2047 encoded words.
///
/// None of these encodings belongs here by the standards, but servers send them all. Chromium and Firefox decode
/// encoded words (RFC 2047 §5 forbids them in parameters, but a name like `=?UTF-8?B?…?=` is of no use to anyone, and
/// cannot even be stored as it is on Windows), and Chromium percent-encoding: a user who compares with a browser gets
/// the same name. An encoded word that is broken or in a charset beyond ours gives no name, so that the next source can.
fn decode_plain(value: &[u8]) -> Option<String> {
    if !value.is_ascii() {
        return Some(decode_unlabelled(value).into_owned());
    }
    let text = std::str::from_utf8(value).ok()?;
    if text.split_ascii_whitespace().any(|word| word.starts_with("=?")) {
        return decode_words(text);
    }
    // Only where all of it is valid: `50%.html` and `%B7%DD.png` stay as they are.
    match percent_decode(text.as_bytes()).map(String::from_utf8) {
        Some(Ok(decoded)) => Some(decoded),
        _ => Some(text.to_owned()),
    }
}

/// A `filename*` value by RFC 8187: `charset'language'percent-encoded`.
fn decode_extended(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    let mut parts = text.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    Charset::named(charset)?.decode(percent_decode(encoded.as_bytes())?).filter(|name| !name.is_empty())
}

/// A `filename*` that RFC 8187 would reject: without a charset, without its quotes, or with an unknown charset around
/// plain ASCII.
fn decode_sloppy(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let (charset, encoded) = match text.splitn(3, '\'').collect::<Vec<_>>().as_slice() {
        [charset, _language, encoded] => (*charset, *encoded),
        [charset, encoded] if Charset::named(charset).is_some() => (*charset, *encoded),
        _ => ("", text),
    };
    let decoded = percent_decode(encoded.as_bytes())?;
    if charset.is_empty() { String::from_utf8(decoded).ok() } else { decode_labelled(charset, decoded) }
}

/// Decodes by the charset's name. Of an unknown one plain ASCII can still be read: it is the same in all of them.
fn decode_labelled(charset: &str, bytes: Vec<u8>) -> Option<String> {
    match Charset::named(charset) {
        Some(charset) => charset.decode(bytes),
        None if bytes.is_ascii() => String::from_utf8(bytes).ok(),
        None => None,
    }
}

/// RFC 2231 continuations: `filename*0*=UTF-8''a; filename*1=b`. Not part of HTTP, but mail gateways send them.
/// Pieces may come in any order; a gap or a repeated number ends the name, as in Firefox.
fn continued(parameters: &[(&[u8], Vec<u8>)]) -> Option<String> {
    let mut series: Vec<(u32, bool, &[u8])> = Vec::new();
    for (name, value) in parameters {
        let Some(rest) = strip_prefix_in_any_case(name, b"filename*") else { continue };
        let (number, encoded) = rest.strip_suffix(b"*").map_or((rest, false), |number| (number, true));
        let is_canonical =
            number == b"0" || number.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
        let number: Option<u32> =
            std::str::from_utf8(number).ok().filter(|_| is_canonical).and_then(|n| n.parse().ok());
        let Some(number) = number else { continue };
        if series.iter().any(|(known, ..)| *known == number) {
            break;
        }
        series.push((number, encoded, value));
    }
    series.sort_by_key(|(number, ..)| *number);
    let mut charset = None;
    let mut bytes = Vec::new();
    for (expected, (number, encoded, value)) in (0..).zip(series) {
        if number != expected {
            break;
        }
        let mut value = value;
        if encoded && number == 0 {
            let mut parts = value.splitn(3, |byte| *byte == b'\'');
            if let (Some(name), Some(_language), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                charset = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
                value = rest;
            }
        }
        if encoded {
            bytes.extend(percent_decode(value)?);
        } else {
            bytes.extend_from_slice(value);
        }
    }
    let name = match charset {
        Some(charset) => decode_labelled(charset, bytes)?,
        None => decode_unlabelled(&bytes).into_owned(),
    };
    Some(name).filter(|name| !name.is_empty())
}

fn strip_prefix_in_any_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// RFC 2047: `=?charset?Q?…?=` and `=?charset?B?…?=`, blanks behind an encoded word left out as in Chromium.
fn decode_words(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
        name.push_str(&rest[..blank]);
        rest = &rest[blank..];
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        if rest.starts_with("=?") {
            name.push_str(&decode_word(&rest[..end])?);
            rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        } else {
            name.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    Some(name)
}

fn decode_word(word: &str) -> Option<String> {
    let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.split('?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?,
        "Q" | "q" => decode_escapes(text.replace('_', " ").as_bytes(), b'=')?,
        _ => return None,
    };
    // RFC 2231 §5 lets a language follow: `=?utf-8*en?…`.
    Charset::named(charset.split('*').next()?)?.decode(bytes)
}

/// Decodes `%41`; an incomplete or wrong escape makes all of it invalid.
fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    decode_escapes(text, b'%')
}

fn decode_escapes(text: &[u8], sign: u8) -> Option<Vec<u8>> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == sign {
            decoded.push((digit(bytes.next())? * 16 + digit(bytes.next())?) as u8);
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

/// The charsets that RFC 8187 senders use. Whoever says Latin-1 on the web means Windows-1252 (WHATWG Encoding).
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Latin1,
}

impl Charset {
    fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Some(Self::Utf8),
            "iso-8859-1" | "iso8859-1" | "iso88591" | "latin1" | "windows-1252" | "cp1252" | "us-ascii"
            | "ascii" => Some(Self::Latin1),
            _ => None,
        }
    }

    fn decode(self, bytes: Vec<u8>) -> Option<String> {
        match self {
            Self::Utf8 => String::from_utf8(bytes).ok(),
            Self::Latin1 => Some(decode_latin1(&bytes)),
        }
    }
}

/// Bytes that nobody labelled: UTF-8 if they are, else Latin-1. Real Latin-1 text is almost never valid UTF-8.
fn decode_unlabelled(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| decode_latin1(bytes).into(), Cow::Borrowed)
}

fn decode_latin1(bytes: &[u8]) -> String {
    /// What Windows-1252 has where Latin-1 has control characters; five places are empty in both.
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    bytes
        .iter()
        .map(|byte| if (0x80..0xa0).contains(byte) { HIGH[usize::from(byte - 0x80)] } else { (*byte).into() })
        .collect()
}

// ---- Making a name safe -------------------------------------------------------------------------------------------

/// Makes one harmless path component of any text; `None` when nothing is left. Doing it again changes nothing.
///
/// The rules (design, "Names"): last segment after `/` and `\`; NFC; control, bidirectional and zero-width characters
/// out (line breaks and tabs become blanks, so that words stay apart); `<>:"|?*` → `_`; no leading dot or blank, no
/// trailing dot or blank; device names of Windows get a `_` in front; at most 255 bytes with suffix and number, cut between
/// graphemes, extension kept; files that start something when merely looked at or double-clicked get `.download`.
pub(crate) fn make_safe(name: &str) -> Option<String> {
    let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    // Out before NFC: a zero-width character between a letter and its accent must not keep them apart.
    let visible: String = last
        .chars()
        .map(|c| if matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .filter(|c| !is_invisible(*c))
        .collect();
    let mut name: String = visible
        .nfc()
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();
    // Each rule can make work for another (a cut can leave a trailing dot, a trim a device name): until all are content.
    loop {
        let next = settle(&name);
        if next == name {
            break;
        }
        name = next;
    }
    (!name.is_empty()).then_some(name)
}

/// Applies the rules about edges, reserved names, launchers and length once. Each step that lengthens the name can
/// happen only once, so that repeating this ends.
fn settle(name: &str) -> String {
    let mut name = name.trim_matches(is_edge).to_owned();
    if is_device(&name) {
        name.insert(0, '_');
    }
    if is_launcher(&name) {
        name.push_str(".download");
    }
    if name.len() <= LONGEST_SAFE {
        return name;
    }
    let (stem, extension) = split(&name);
    let stem = cut(stem, LONGEST_SAFE - extension.len()).trim_end_matches(is_edge);
    format!("{stem}{extension}")
}

/// What a name neither begins nor ends with: Explorer cannot open `a.` and `a `, and `.a` is hidden elsewhere.
fn is_edge(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Characters without a shape of their own, and those that turn the direction of others: `photo\u{202e}gpj.exe` looks
/// like a picture. Also code points that will never be characters.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || (u32::from(c) & 0xfffe) == 0xfffe
}

/// Names that Windows keeps for devices, whatever extension follows.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    port.is_some_and(|port| {
        matches!(port, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
    })
}

/// Files that start or fetch something when they are merely shown in a folder or opened like a document, while they
/// look like one; and part files, which must never be mistaken for those of another transfer.
fn is_launcher(name: &str) -> bool {
    const EXTENSIONS: [&str; 25] = [
        "appref-ms",
        "desktop",
        "directory",
        "ferrypart",
        "fileloc",
        "ftploc",
        "inetloc",
        "inf",
        "kdelnk",
        "library-ms",
        "lnk",
        "local",
        "mailloc",
        "mapimail",
        "mydocs",
        "pif",
        "scf",
        "search-ms",
        "searchconnector-ms",
        "settingcontent-ms",
        "theme",
        "url",
        "webloc",
        "website",
        "zfsendtotarget",
    ];
    let lower = name.to_lowercase();
    if matches!(lower.as_str(), "desktop.ini" | "folder.htt") {
        return true;
    }
    let Some((_, extension)) = lower.rsplit_once('.') else { return false };
    // A class id as extension makes Explorer treat the file as that class: `a.{21EC2020-…}` opens a control panel.
    EXTENSIONS.contains(&extension.trim()) || extension.starts_with('{')
}

/// As much of the text as fits, cut between graphemes. One grapheme that is larger than that is cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let fits = |(at, _): &(usize, &str)| *at <= limit;
    let end = text.grapheme_indices(true).take_while(fits).last().map_or(0, |(at, _)| at);
    if end > 0 {
        return &text[..end];
    }
    let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// Stem and extension with its dot: `a`, `.tar.gz`. The extension is empty where there is none worth keeping.
fn split(name: &str) -> (&str, &str) {
    const PACKED: [&str; 8] = ["gz", "bz2", "xz", "zst", "lz", "lzma", "lz4", "br"];
    let is_short = |text: &str| {
        (1..LONGEST_EXTENSION).contains(&text.len())
            && !text.contains(|c: char| c.is_whitespace() || c == '/')
    };
    let Some((stem, last)) = name.rsplit_once('.').filter(|(stem, last)| !stem.is_empty() && is_short(last))
    else {
        return (name, "");
    };
    // `dump.sql.gz`, `photos.tar.zst`, and our own `setup.lnk.download`: the two belong together.
    let inner = stem.rsplit_once('.').filter(|(outer, inner)| {
        let is_word = inner.len() <= 5
            && inner.chars().any(char::is_alphabetic)
            && inner.chars().all(char::is_alphanumeric);
        !outer.is_empty()
            && ((is_word && PACKED.iter().any(|packed| last.eq_ignore_ascii_case(packed)))
                || (last == "download" && is_short(inner) && is_launcher(stem)))
    });
    name.split_at(inner.map_or(stem.len(), |(outer, _)| outer.len()))
}

/// `name (1).ext`: what a file is called when its name is taken. Never too long for a part file.
pub(crate) fn numbered(name: &str, n: u32) -> String {
    let (stem, extension) = split(name);
    let number = format!(" ({n})");
    let room = LONGEST_NUMBERED.saturating_sub(extension.len() + number.len());
    format!("{}{number}{extension}", cut(stem, room))
}

// ---- Extensions ---------------------------------------------------------------------------------------------------

/// The extension of a name, without its dot: what people and systems would take for one.
fn extension(name: &str) -> Option<&str> {
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
fn is_known(extension: &str) -> bool {
    !extension.eq_ignore_ascii_case("com") && mime_guess::from_ext(extension).first().is_some()
}

/// The extension that type or content speak for.
fn extension_by_evidence(content_type: Option<&str>, first_bytes: &[u8]) -> Option<String> {
    let declared = content_type.and_then(extension_by_type);
    // Servers say text/plain of everything that they do not know; known content is better evidence.
    if declared.as_deref() == Some("txt") {
        return extension_by_content(first_bytes).map(str::to_owned).or(declared);
    }
    declared.or_else(|| extension_by_content(first_bytes).map(str::to_owned))
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

/// What must hold for names, whatever they were made from.
#[cfg(any(test, fuzzing))]
pub(crate) mod check {
    use super::*;
    use crate::files::part_file::part_name;

    /// What all three systems take, and no tool misunderstands.
    pub(crate) fn is_legal(name: &str) -> bool {
        name.len() <= LONGEST_SAFE && is_harmless(name)
    }

    /// A name that was numbered because it was taken: longer, but with room for the part file's suffixes.
    pub(crate) fn is_legal_numbered(name: &str) -> bool {
        let part = part_name(&format!("{name}.old"));
        part.len() <= LONGEST && is_harmless(name)
    }

    fn is_harmless(name: &str) -> bool {
        let folder = std::path::Path::new("folder");
        !name.is_empty()
            && !name.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*'])
            && !name.chars().any(|c| c.is_control() || is_invisible(c))
            && !name.starts_with(is_edge)
            && !name.ends_with(is_edge)
            && !is_device(name)
            && !is_launcher(name)
            && std::path::Path::new(name).components().count() == 1
            && folder.join(part_name(name)).parent() == Some(folder)
            && name.nfc().eq(name.chars())
    }
}

#[cfg(test)]
mod tests {
    use super::check::{is_legal, is_legal_numbered};
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Row {
        source: String,
        header: Option<String>,
        header_hex: Option<String>,
        expected: Option<String>,
        attachment: Option<bool>,
    }

    impl Row {
        fn bytes(&self) -> Vec<u8> {
            let hex = self.header_hex.as_deref().unwrap_or_default();
            match &self.header {
                Some(text) => text.clone().into_bytes(),
                None => (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect(),
            }
        }
    }

    #[test]
    fn published_headers_give_the_expected_names() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/content-disposition.json"
        ));
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        let mut wrong = Vec::new();
        for row in &rows {
            let header = row.bytes();
            let got = from_content_disposition(&header);
            let shown = String::from_utf8_lossy(&header);
            if got != row.expected {
                wrong.push(format!("{}: {shown:?} gave {got:?}, expected {:?}", row.source, row.expected));
            }
            if row.attachment.is_some_and(|expected| expected != is_attachment(&header)) {
                wrong.push(format!("{}: {shown:?} is_attachment is not {:?}", row.source, row.attachment));
            }
        }
        assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    #[test]
    fn names_become_harmless() {
        let long = "x".repeat(300);
        let rows = [
            ("film.mp4", "film.mp4"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\a.txt", "a.txt"),
            ("/foo.html", "foo.html"),
            ("total/", "total"),
            ("a:b.txt", "a_b.txt"),
            ("<a>:\"b\"|c?*.txt", "_a___b__c__.txt"),
            ("cafe\u{301}.txt", "café.txt"),
            ("e\u{200b}\u{301}.txt", "é.txt"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\u{0}b\u{7f}\u{85}c\u{9f}.txt", "ab c.txt"),
            ("two\r\nlines\tand a tab.txt", "two  lines and a tab.txt"),
            ("\u{feff}\u{2066}a\u{2069}.txt", "a.txt"),
            ("a\u{fffe}\u{1ffff}.txt", "a.txt"),
            (".bashrc", "bashrc"),
            ("...hidden", "hidden"),
            (" . a.txt . ", "a.txt"),
            ("name. . .", "name"),
            ("a.txt\u{3000}", "a.txt"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("Nul.tar.gz", "_Nul.tar.gz"),
            ("aux .h", "_aux .h"),
            ("COM1", "_COM1"),
            ("com¹.txt", "_com¹.txt"),
            ("LPT³", "_LPT³"),
            ("lpt0.prn", "_lpt0.prn"),
            ("CONIN$", "_CONIN$"),
            ("conout$.x", "_conout$.x"),
            ("COM10.txt", "COM10.txt"),
            ("console.txt", "console.txt"),
            ("firefox.desktop", "firefox.desktop.download"),
            ("Invoice.LNK", "Invoice.LNK.download"),
            ("Invoice.lnk.", "Invoice.lnk.download"),
            ("a.URL", "a.URL.download"),
            ("autorun.inf", "autorun.inf.download"),
            ("Desktop.ini", "Desktop.ini.download"),
            ("x.search-ms", "x.search-ms.download"),
            ("x.{21EC2020-3AEA-1069-A2DD-08002B30309D}", "x.{21EC2020-3AEA-1069-A2DD-08002B30309D}.download"),
            ("film.mp4.ferrypart", "film.mp4.ferrypart.download"),
            ("setup.exe", "setup.exe"),
            ("视频 — финал.mp4", "视频 — финал.mp4"),
        ];
        for (given, expected) in rows {
            assert_eq!(make_safe(given).as_deref(), Some(expected), "{given:?}");
        }
        for nothing in
            ["", ".", "..", "/", "\\", " ", "...", "\u{200b}", "\u{202e}.", "\u{0}", "CON/..", "a/ . /"]
        {
            assert_eq!(make_safe(nothing), None, "{nothing:?}");
        }
        let cut_name = make_safe(&format!("{long}.tar.gz")).unwrap();
        assert_eq!(cut_name, format!("{}.tar.gz", "x".repeat(LONGEST_SAFE - 7)));
        assert_eq!(make_safe(&long).unwrap().len(), LONGEST_SAFE);
        // A "family" grapheme without its joiners, an accent that has no composed form, a flag.
        let flags = make_safe(&format!("{}.mp4", "🇩🇪".repeat(60))).unwrap();
        assert_eq!(flags, format!("{}.mp4", "🇩🇪".repeat(28)));
        let accents = make_safe(&"x\u{301}".repeat(200)).unwrap();
        assert!(accents.ends_with('\u{301}') && accents.len() == 234, "{accents}");
        assert_eq!(
            make_safe(&format!("a{}", "\u{301}".repeat(500))).map(|name| name.len() <= LONGEST_SAFE),
            Some(true)
        );
    }

    #[test]
    fn numbers_go_before_the_extension() {
        let rows = [
            ("film.mp4", "film (7).mp4"),
            ("photos.tar.gz", "photos (7).tar.gz"),
            ("dump.sql.zst", "dump (7).sql.zst"),
            ("v1.2.gz", "v1.2 (7).gz"),
            ("README", "README (7)"),
            ("Mr. Smith", "Mr. Smith (7)"),
            ("setup.lnk.download", "setup (7).lnk.download"),
            ("a.b.c", "a.b (7).c"),
            ("_CON.txt", "_CON (7).txt"),
        ];
        for (given, expected) in rows {
            assert_eq!(numbered(given, 7), expected);
        }
        let longest = make_safe(&"ü".repeat(300)).unwrap();
        for n in [1, 999, u32::MAX] {
            assert!(numbered(&longest, n).len() + ".old".len() + PART_SUFFIX.len() <= LONGEST);
        }
        // Up to 999 nothing of the name is lost.
        assert!(numbered(&longest, 999).starts_with(&longest));
    }

    #[test]
    fn the_first_source_that_leaves_a_name_wins() {
        const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
        const NEW_BRAND: &[u8] = b"\0\0\0\x20ftypzzzz\0\0\x02\0";
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        const EXE: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";
        let disposition = |text: &'static str| Some(text.as_bytes());
        let url = |text: &str| Url::parse(text).unwrap();
        let film = url("https://example.org/v/film%20one.mov?sig=1");
        let folder = url("https://example.org/v/");
        let root = url("https://example.org/");
        let traversal = url("https://example.org/x/..%2F..%2Fetc%2Fpasswd");
        let base = Candidates { id: "re_12", ..Candidates::default() };
        let octets = Some("application/octet-stream");
        let rows: &[(Candidates<'_>, &str)] = &[
            (
                Candidates {
                    content_disposition: disposition("attachment; filename=a.mp4"),
                    title: Some("b.mp4"),
                    ..base
                },
                "a.mp4",
            ),
            (
                Candidates {
                    content_disposition: disposition("attachment; filename=\"..\""),
                    title: Some("b.mp4"),
                    ..base
                },
                "b.mp4",
            ),
            (
                Candidates {
                    content_disposition: disposition("attachment"),
                    title: Some(" "),
                    url: Some(&film),
                    ..base
                },
                "film one.mov",
            ),
            (
                Candidates { title: Some("Live 24/7: part 2"), first_bytes: MP4, ..base },
                "Live 24_7_ part 2.mp4",
            ),
            (Candidates { title: Some("Mr.Bean"), first_bytes: MP4, ..base }, "Mr.Bean.mp4"),
            (
                Candidates { title: Some("Trends on YouTube.com"), first_bytes: MP4, ..base },
                "Trends on YouTube.com.mp4",
            ),
            (Candidates { title: Some("clip.MP4"), content_type: Some("video/mp4"), ..base }, "clip.MP4"),
            (
                Candidates { url: Some(&folder), content_type: Some("text/html; charset=utf-8"), ..base },
                "v.html",
            ),
            (Candidates { url: Some(&root), content_type: Some("text/html"), ..base }, "re_12.html"),
            (Candidates { url: Some(&traversal), ..base }, "passwd"),
            (Candidates { id: "", ..base }, "download"),
            (Candidates { id: "../..", ..base }, "_"),
            (Candidates { content_type: octets, first_bytes: MP4, ..base }, "re_12.mp4"),
            (Candidates { content_type: octets, first_bytes: NEW_BRAND, ..base }, "re_12.mp4"),
            (Candidates { content_type: octets, ..base }, "re_12"),
            (Candidates { content_type: Some("video/mp4"), first_bytes: PNG, ..base }, "re_12.mp4"),
            (Candidates { content_type: Some("text/plain"), first_bytes: PNG, ..base }, "re_12.png"),
            (Candidates { content_type: Some("text/plain"), first_bytes: b"hello", ..base }, "re_12.txt"),
            (Candidates { content_type: Some("image/jpeg"), ..base }, "re_12.jpg"),
            (Candidates { content_type: Some("IMAGE/JPEG; q=1"), ..base }, "re_12.jpg"),
            (Candidates { content_type: Some("audio/x-aiff"), ..base }, "re_12.aiff"),
            (Candidates { content_type: Some("font/woff2"), ..base }, "re_12.woff2"),
            (Candidates { content_type: Some("application/epub+zip"), ..base }, "re_12.epub"),
            (Candidates { content_type: Some("no/such-type"), first_bytes: PNG, ..base }, "re_12.png"),
            (Candidates { content_type: Some("nonsense"), ..base }, "re_12"),
            (Candidates { first_bytes: EXE, ..base }, "re_12"),
            (Candidates { first_bytes: b"#!/bin/sh\nrm -rf x", ..base }, "re_12.txt"),
            (
                Candidates {
                    content_disposition: disposition("attachment; filename=v1.5"),
                    first_bytes: PNG,
                    ..base
                },
                "v1.5.png",
            ),
            (
                Candidates {
                    content_disposition: disposition("attachment; filename=film.mkv.001"),
                    first_bytes: PNG,
                    ..base
                },
                "film.mkv.001",
            ),
            (
                Candidates { content_disposition: disposition("attachment; filename=x.url"), ..base },
                "x.url.download",
            ),
        ];
        for (candidates, expected) in rows {
            assert_eq!(choose(candidates), *expected, "{candidates:?}");
        }
        let long = "y".repeat(400);
        let name = choose(&Candidates { title: Some(&long), first_bytes: PNG, ..base });
        assert!(name.ends_with("y.png") && name.len() == LONGEST_SAFE, "{name}");
    }

    /// Text that is likelier to hurt than random text.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("CON".to_owned()),
            Just("com¹".to_owned()),
            Just(".lnk".to_owned()),
            Just(".desktop".to_owned()),
            Just(".ferrypart".to_owned()),
            Just(".tar.gz".to_owned()),
            Just("..".to_owned()),
            Just("\u{202e}".to_owned()),
            Just("e\u{301}".to_owned()),
            Just("\u{301}\u{308}".to_owned()),
            Just("👩\u{200d}👩\u{200d}👧".to_owned()),
            Just("\u{1100}\u{1161}\u{11a8}".to_owned()),
            "[ ./\\\\:<>\t\u{0}]{1,3}",
            "[a-zA-Z0-9.]{1,40}",
            "\\PC{1,40}",
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_name_becomes_legal_and_stays_so(text in hostile(), n in any::<u32>()) {
            if let Some(name) = make_safe(&text) {
                prop_assert!(is_legal(&name), "{:?} became {:?}", text, name);
                prop_assert_eq!(make_safe(&name), Some(name.clone()));
                let next = numbered(&name, n);
                prop_assert!(is_legal_numbered(&next), "{:?} became {:?}", name, next);
                prop_assert!(next != name);
            }
        }

        #[test]
        fn any_header_gives_a_legal_name(
            header in prop::collection::vec(any::<u8>(), 0..200),
            text in hostile(),
            content_type in "[a-z]{1,12}/[a-z0-9.+-]{1,30}",
            first_bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            for value in [
                header.clone(),
                [b"attachment; filename=".to_vec(), header.clone()].concat(),
                [b"attachment; filename*=UTF-8''".to_vec(), header].concat(),
                format!("attachment; filename=\"{text}\"; filename*0*={text}").into_bytes(),
            ] {
                let _ = is_attachment(&value);
                let name = choose(&Candidates {
                    content_disposition: Some(&value),
                    title: Some(&text),
                    id: &text,
                    content_type: Some(&content_type),
                    first_bytes: &first_bytes,
                    ..Candidates::default()
                });
                prop_assert!(is_legal(&name), "{:?}", name);
            }
        }

        #[test]
        fn what_rfc_8187_encodes_comes_back(name in "\\PC{1,60}") {
            let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
            let header = format!("attachment; filename=\"fallback\"; filename*=UTF-8''{encoded}");
            prop_assert_eq!(from_content_disposition(header.as_bytes()), Some(name));
        }
    }
}
