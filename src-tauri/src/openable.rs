//! What "Open" may hand to another program. A file from the network that would *run* is shown in its folder instead:
//! starting it is a decision to take there, where the system warns.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Endings of files that a desktop runs, installs or follows instead of showing.
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
    "rb",
    "sh",
    "tcl",
    "zsh",
    "xpi",
    "crx",
];

/// First bytes of programs and scripts.
const PROGRAMS: &[&[u8]] = &[
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"[Desktop Entry]",
    b"L\x00\x00\x00\x01\x14\x02\x00",
];

/// Whether the file is something to look at, not something to run.
pub(crate) fn is_openable(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if RUN_BY_SYSTEM.contains(&ending.as_str()) {
        return false;
    }
    let Ok(facts) = path.metadata() else { return false };
    if !facts.is_file() {
        return false;
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o111 != 0 {
        return false;
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && !PROGRAMS.iter().any(|program| start.starts_with(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_launchers_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        assert!(is_openable(&make("film.mp4", b"\0\0\0\x18ftypmp42")));
        assert!(is_openable(&make("notes", b"plain words")));
        assert!(is_openable(&make("empty.txt", b"")));
        for name in ["setup.EXE", "thing.desktop", "a.url", "b.AppImage", "c.sh", "movie.mp4.lnk"] {
            assert!(!is_openable(&make(name, b"x")), "{name}");
        }
        assert!(!is_openable(&make("film.avi", b"MZ\x90\0")));
        assert!(!is_openable(&make("film.mkv", b"\x7fELF\x02")));
        assert!(!is_openable(&make("script.txt", b"#!/bin/sh\n")));
        assert!(!is_openable(folder.path()));
        assert!(!is_openable(&folder.path().join("missing.mp4")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let path = make("run.txt", b"x");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert!(!is_openable(&path));
        }
    }
}
