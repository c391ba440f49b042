//! What "Open" may hand to another program. A file from the network is opened when its ending says that it is something to
//! look at or to listen to, and its first bytes don't say otherwise. Any other is opened only after a question of the
//! desktop's own; a program never is: it is shown in its folder, where the system warns.
//!
//! A list of what is harmless, not of what is not: what a desktop runs, installs or follows is a list without an end.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Endings of media, pictures, plain text, PDF and archives. No format is among them that names other places (playlists,
/// subtitles with scripts, SVG, HTML), runs macros (office documents) or is mounted (disk images).
const HARMLESS: &[&str] = &[
    // films
    "3g2", "3gp", "avi", "flv", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv",
    "ts", "vob", "webm", "wmv", // sound
    "aac", "ac3", "aif", "aiff", "amr", "flac", "m4a", "m4b", "mid", "midi", "mka", "mp2", "mp3", "oga",
    "ogg", "opus", "wav", "weba", "wma", // pictures
    "arw", "avif", "bmp", "cr2", "cr3", "dng", "gif", "heic", "heif", "jfif", "jp2", "jpeg", "jpg", "jxl",
    "nef", "orf", "png", "raf", "tga", "tif", "tiff", "webp", // plain text
    "csv", "json", "log", "md", "srt", "text", "tsv", "txt", "vtt", // pages
    "pdf", // archives
    "7z", "bz2", "gz", "rar", "tar", "tbz2", "tgz", "txz", "xz", "zip", "zst",
];

/// Endings of files that a desktop runs, installs or follows instead of showing: not even asked about. What is missing here
/// is asked about.
const RUN_BY_SYSTEM: &[&str] = &[
    // Windows
    "appref-ms",
    "application",
    "bat",
    "chm",
    "cmd",
    "com",
    "cpl",
    "dll",
    "exe",
    "gadget",
    "hta",
    "inf",
    "ins",
    "iso",
    "isp",
    "js",
    "jse",
    "lnk",
    "msc",
    "msi",
    "msix",
    "appx",
    "appinstaller",
    "msp",
    "mst",
    "pif",
    "ps1",
    "ps1xml",
    "psc1",
    "psd1",
    "psm1",
    "rdp",
    "reg",
    "scf",
    "scr",
    "sct",
    "search-ms",
    "settingcontent-ms",
    "shb",
    "shs",
    "sys",
    "url",
    "vb",
    "vbe",
    "vbs",
    "vhd",
    "vhdx",
    "website",
    "ws",
    "wsc",
    "wsf",
    "wsh",
    "xll",
    "library-ms",
    "theme",
    "diagcab",
    // macOS
    "action",
    "app",
    "command",
    "definition",
    "dmg",
    "fileloc",
    "inetloc",
    "mobileconfig",
    "mpkg",
    "osx",
    "pkg",
    "scpt",
    "scptd",
    "term",
    "terminal",
    "tool",
    "webloc",
    "workflow",
    // Linux
    "appimage",
    "deb",
    "desktop",
    "directory",
    "flatpak",
    "flatpakref",
    "flatpakrepo",
    "ko",
    "kdelnk",
    "rpm",
    "run",
    "service",
    "snap",
    "so",
    // everywhere
    "bash",
    "class",
    "csh",
    "elf",
    "fish",
    "jar",
    "jnlp",
    "ksh",
    "lua",
    "mjs",
    "php",
    "pl",
    "py",
    "pyc",
    "pyw",
    "pyz",
    "pyzw",
    "rb",
    "sh",
    "tcl",
    "zsh",
    "xpi",
    "crx",
];

/// First bytes of what runs, is followed, or is read as a page, whatever its name says.
const SOMETHING_ELSE: &[&[u8]] = &[
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"[Desktop Entry]",
    b"[InternetShortcut]",
    b"L\x00\x00\x00\x01\x14\x02\x00",
];

/// What "Open" does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is handed to the program for its kind.
    Opens,
    /// The desktop asks first.
    Asks,
    /// It is shown in its folder.
    Shows,
}

/// How this file is opened.
pub(crate) fn opening(path: &Path) -> Opening {
    let Ok(facts) = path.metadata() else { return Opening::Shows };
    if !facts.is_file() {
        return Opening::Shows;
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o111 != 0 {
        return Opening::Shows;
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    if read.is_err() || SOMETHING_ELSE.iter().any(|program| start.starts_with(program)) {
        return Opening::Shows;
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if RUN_BY_SYSTEM.contains(&ending.as_str()) {
        return Opening::Shows;
    }
    // Desktops go by the first bytes where a name tells them too little, or even where it tells enough.
    if HARMLESS.contains(&ending.as_str()) && !is_markup(&start) { Opening::Opens } else { Opening::Asks }
}

/// Whether it begins as HTML, SVG or XML does, which bring scripts and addresses along.
fn is_markup(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let wide = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    let mut letters = start.iter().copied().filter(|byte| !(wide && matches!(byte, 0 | 0xfe | 0xff)));
    letters.find(|letter| !letter.is_ascii_whitespace()) == Some(b'<')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn only_what_is_looked_at_or_listened_to_is_opened_without_a_question() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, content: &[u8]| opening(&made(folder.path(), name, content));
        for name in ["film.mp4", "FILM.MOV", "song.flac", "photo.JPG", "notes.txt", "paper.pdf", "all.tar.gz"]
        {
            assert_eq!(of(name, b"\0\0\0\x18ftypmp42"), Opening::Opens, "{name}");
        }
        assert_eq!(of("empty.txt", b""), Opening::Opens);
        // What a desktop runs, installs, mounts or follows, and what nobody has heard of yet.
        for name in [
            "page.html",
            "page.xhtml",
            "page.mht",
            "drawing.svg",
            "remote.rdp",
            "notes.one",
            "tool.pyzw",
            "tool.jar",
            "setup.EXE",
            "thing.desktop",
            "a.url",
            "b.AppImage",
            "c.sh",
            "movie.mp4.lnk",
            "list.m3u8",
            "list.pls",
            "list.xspf",
            "list.asx",
            "letter.docm",
            "letter.doc",
            "table.xlsm",
            "slides.pptm",
            "mail.eml",
            "disk.iso",
            "disk.img",
            "pack.cab",
            "theme.themepack",
            "report.ps",
            "report.eps",
            "font.ttf",
            "sub.ass",
            "card.vcf",
            "date.ics",
            "book.chm",
            "q.sql",
            "nb.ipynb",
            "x.wsb",
            "x.settingcontent-ms",
            "x.webloc",
            "x.terminal",
            "x.flatpakref",
            "x.kdbx",
            "without",
            ".hidden",
            "trailing.txt.",
            "x.unheardof",
        ] {
            assert_ne!(of(name, b"x"), Opening::Opens, "{name}");
        }
        for name in
            ["setup.EXE", "thing.desktop", "a.url", "b.AppImage", "c.sh", "movie.mp4.lnk", "tool.pyzw"]
        {
            assert_eq!(of(name, b"x"), Opening::Shows, "{name} is not even asked about");
        }
    }

    #[test]
    fn a_program_is_never_opened_and_a_page_only_after_a_question_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, content: &[u8]| opening(&made(folder.path(), name, content));
        assert_eq!(of("film.avi", b"MZ\x90\0"), Opening::Shows);
        assert_eq!(of("film.mkv", b"\x7fELF\x02"), Opening::Shows);
        assert_eq!(of("script.txt", b"#!/bin/sh\n"), Opening::Shows);
        assert_eq!(of("a.txt", b"[Desktop Entry]\nExec=x"), Opening::Shows);
        assert_eq!(of("photo.jpg", b"\xef\xbb\xbf \n<html><script>"), Opening::Asks);
        assert_eq!(of("photo.png", b"<svg xmlns="), Opening::Asks);
        assert_eq!(of("words.txt", b"\xff\xfe<\0h\0t\0m\0l\0"), Opening::Asks);
        assert_eq!(opening(folder.path()), Opening::Shows);
        assert_eq!(opening(&folder.path().join("missing.mp4")), Opening::Shows);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let path = made(folder.path(), "run.txt", b"x");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(opening(&path), Opening::Shows);
        }
    }
}
