//! One harmless path component out of any text, and names like it that are shorter or numbered.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{LONGEST_NAME, PART_SUFFIX};
use crate::unseen::{is_invisible, is_joiner, keep_joiners};

/// Room for the suffix of a part file, also of one that was set aside (`name.old.ferrypart`).
const SUFFIXES: usize = PART_SUFFIX.len() + ".old".len();
/// Room for ` (999)`.
const NUMBER: usize = " (999)".len();
/// The longest name with room for both, in bytes of UTF-8.
pub(super) const LONGEST_SAFE: usize = LONGEST_NAME - SUFFIXES - NUMBER;
/// An extension longer than this, in bytes, is not kept when a name must be cut.
const LONGEST_EXTENSION: usize = 32;

/// Makes one harmless path component of any text; `None` when nothing is left. Doing it again changes nothing.
///
/// The rules (design, "Names"): last segment after `/` and `\`; NFC; control, bidirectional and zero-width characters
/// out (line breaks and tabs become blanks, so that words stay apart), but for joiners where a script needs them; `<>:"|?*` → `_`; no leading dot or blank, no
/// trailing dot or blank; device names of Windows get a `_` in front; at most 255 bytes with suffix and number, cut between
/// graphemes, extension kept; files that start something when merely looked at or double-clicked get `.download`.
pub(crate) fn make_safe(name: &str) -> Option<String> {
    let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
    // Out before NFC: a zero-width character between a letter and its accent must not keep them apart.
    let visible: String = last
        .chars()
        .map(|c| if matches!(c, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .filter(|c| !is_invisible(*c) || is_joiner(*c))
        .collect();
    let mut name: String = keep_joiners(&visible)
        .nfc()
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();
    name = settled(name, LONGEST_SAFE);
    (!name.is_empty()).then_some(name)
}

/// Each rule can make work for another (a cut can leave a trailing dot, a trim a device name): until all are content.
fn settled(mut name: String, longest: usize) -> String {
    loop {
        let next = settle(&name, longest);
        if next == name {
            return name;
        }
        name = next;
    }
}

/// Applies the rules about joiners, edges, reserved names, launchers and length once. Each step that lengthens the name
/// can happen only once, so that repeating this ends.
fn settle(name: &str, longest: usize) -> String {
    let joined: String = keep_joiners(name).nfc().collect();
    let mut name = joined.trim_matches(is_edge).to_owned();
    if is_device(&name) {
        name.insert(0, '_');
    }
    if is_launcher(&name) {
        name.push_str(".download");
    }
    if name.len() <= longest {
        return name;
    }
    let (stem, extension) = split(&name);
    let stem = cut(stem, longest.saturating_sub(extension.len())).trim_end_matches(is_edge);
    format!("{stem}{extension}")
}

/// A safe name as a disk can store it that takes names of at most `longest` bytes, and perhaps of ASCII letters only: the
/// same name where there is room for a part file's suffixes, else a shorter one, cut between graphemes, extension kept.
pub(crate) fn fitted(name: &str, longest: usize, any_letters: bool) -> String {
    let plain = if any_letters { name.to_owned() } else { in_ascii(name) };
    if plain.len() + SUFFIXES <= longest && plain == name {
        return plain;
    }
    let fitted = settled(plain, longest.saturating_sub(SUFFIXES + NUMBER));
    if fitted.is_empty() { "download".to_owned() } else { fitted }
}

/// Letters without their marks; what is no harmless sign of ASCII then becomes `_`.
fn in_ascii(name: &str) -> String {
    let is_mark = |c: &char| is_combining_mark(*c) || canonical_combining_class(*c) > 0;
    // Taking a wide sign apart can leave one that has a meaning in paths.
    let is_plain = |c: char| c == ' ' || (c.is_ascii_graphic() && !r#"<>:"/\|?*"#.contains(c));
    let letters = name.nfkd().filter(|c| !is_mark(c) && !is_joiner(*c));
    letters.map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// What a name neither begins nor ends with: Explorer cannot open `a.` and `a `, and `.a` is hidden elsewhere.
pub(super) fn is_edge(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Names that Windows keeps for devices, whatever extension follows.
pub(super) fn is_device(name: &str) -> bool {
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
pub(super) fn is_launcher(name: &str) -> bool {
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
pub(super) fn cut(text: &str, limit: usize) -> &str {
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

/// `name (1).ext`: what a file is called when its name is taken, on a disk that takes names of at most `longest` bytes.
/// Never too long for a part file.
pub(crate) fn numbered(name: &str, n: u32, longest: usize) -> String {
    let (stem, extension) = split(name);
    let number = format!(" ({n})");
    let room = longest.saturating_sub(SUFFIXES + extension.len() + number.len());
    keep_joiners(&format!("{}{number}{extension}", cut(stem, room))).into_owned()
}
