//! The name that a downloaded file gets: where it comes from, and how it is made harmless.
//!
//! Sources, in order: `Content-Disposition`, the title that a list gave, the URL's last segment, the id. Whatever the
//! source, the name is then made safe for every system alike, so that files travel: it is always exactly one path
//! component that Linux, macOS and Windows can all store, with room left for the part file's suffix and a number.
//!
//! Owns nothing and asks nobody: pure functions of texts, which any floor above may call.

mod charset;
mod content_disposition;
mod extension;
mod safe;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

use self::charset::decode_unlabelled;
use self::extension::{extension, extension_by_evidence, is_known};
use self::safe::{LONGEST_SAFE, cut, is_edge};

use crate::redaction::redact;

pub(crate) use self::charset::{language_of, system_language};
pub(crate) use self::content_disposition::{from_content_disposition, is_attachment};
pub(crate) use self::safe::{fitted, make_safe, numbered};

/// The longest name of all disks together, in bytes of UTF-8. Those that count UTF-16 units (NTFS, APFS, FAT) take 255 of
/// them, and a text never has more of these than bytes.
pub(crate) const LONGEST_NAME: usize = 255;

/// What a file is called while it is not complete.
pub(crate) const PART_SUFFIX: &str = ".ferrypart";

/// `name.ext.ferrypart`.
pub(crate) fn part_name(name: &str) -> String {
    format!("{name}{PART_SUFFIX}")
}

/// Where a name can come from.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candidates<'a> {
    /// The `Content-Disposition` header, raw.
    pub content_disposition: Option<&'a [u8]>,
    /// The title or name that a list gave.
    pub title: Option<&'a str>,
    /// The URL that the file came from, if it may hold a name.
    pub url: Option<&'a Url>,
    /// The URLs that led there by redirects, the first one first.
    pub hops: &'a [Url],
    /// The user's language, as a tag or a locale, by which bytes without a charset are read; empty for none.
    pub language: &'a str,
    /// The id at the service.
    pub id: &'a str,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The first bytes of the file: some hundreds are enough.
    pub first_bytes: &'a [u8],
}

/// Chooses the name: the first source that leaves one, with an extension from type or content when it has none.
pub(crate) fn choose(candidates: &Candidates<'_>) -> String {
    let read = |header| from_content_disposition(header, candidates.language);
    let declared = candidates.content_disposition.and_then(read).and_then(|name| make_safe(&name));
    // Of titles and ids nobody promised that what follows their last dot is an extension.
    let (name, is_title) = if let Some(name) = declared {
        (name, false)
    } else if let Some(name) = candidates.title.and_then(from_title) {
        (name, true)
    } else if let Some(name) = candidates.url.and_then(|url| from_urls(url, candidates)) {
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

/// A name from a title or an id, where a slash is a sign and no path: "Live 24/7" must not become "7". Titles are prose: a
/// link in one may be signed.
pub(crate) fn from_title(title: &str) -> Option<String> {
    make_safe(&redact(title).replace(['/', '\\'], "_"))
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
    last_segment(url, "").is_some_and(|name| is_no_page(&name))
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

/// The name that the URLs on the way speak for. What a signed URL asks its store to say counts most, also where the store
/// does not say it; then the last segment of the last URL, unless only an earlier one ends like a file: many lead from
/// `film.mp4` to a place that is called by a number.
fn from_urls(url: &Url, candidates: &Candidates<'_>) -> Option<String> {
    let way = || std::iter::once(url).chain(candidates.hops.iter().rev());
    if let Some(name) = way().find_map(|url| asked_for(url, candidates.language)) {
        return Some(name);
    }
    let last = |url: &Url| last_segment(url, candidates.language);
    way().find_map(|url| last(url).filter(|name| ends_like_a_file(name))).or_else(|| last(url))
}

/// Whether a name ends as a file does, and not as the program that sends it.
fn ends_like_a_file(name: &str) -> bool {
    const PROGRAMS: [&str; 12] =
        ["action", "asp", "aspx", "ashx", "cfm", "cgi", "dll", "do", "jsp", "php", "php5", "pl"];
    extension(name).is_some_and(|found| {
        is_known(found) && !PROGRAMS.iter().any(|program| found.eq_ignore_ascii_case(program))
    })
}

/// The name in the query of a URL that asks for one: as a header that the store is to send (S3 and its kin, Google;
/// Azure), or bare (Qiniu, Supabase and many scripts), if it ends like a file then.
fn asked_for(url: &Url, language: &str) -> Option<String> {
    const AS_HEADER: [&str; 2] = ["response-content-disposition", "rscd"];
    const BARE: [&str; 4] = ["attname", "download", "filename", "file_name"];
    let value = |name: &str| {
        let found = query_pairs(url).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|value| !value.is_empty())
    };
    let header = AS_HEADER.iter().find_map(|name| value(name));
    let named = header.and_then(|header| from_content_disposition(&header, language));
    let bare = || BARE.iter().find_map(|name| value(name));
    named.and_then(|name| make_safe(&name)).or_else(|| {
        let name = make_safe(&decode_unlabelled(&bare()?, language))?;
        ends_like_a_file(&name).then_some(name)
    })
}

/// The fields of a query, as bytes: their charset is anybody's.
fn query_pairs(url: &Url) -> impl Iterator<Item = (String, Vec<u8>)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>();
    url.query().unwrap_or_default().split('&').map(move |field| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (String::from_utf8_lossy(&decoded(name)).into_owned(), decoded(value))
    })
}

/// The last part of a URL's path, as a name; bytes that are not UTF-8 are read as they are usual in `language`.
pub(crate) fn last_segment(url: &Url, language: &str) -> Option<String> {
    let segment = url.path_segments()?.rfind(|segment| !segment.is_empty())?;
    let bytes: Cow<'_, [u8]> = percent_decode_str(segment).into();
    // An encoded slash is part of the name here, but of no use in one: its last part is what was meant.
    make_safe(&decode_unlabelled(&bytes, language))
}

/// What must hold for names, whatever they were made from.
#[cfg(any(test, fuzzing))]
pub(crate) mod check {
    use unicode_normalization::UnicodeNormalization as _;

    use super::safe::{is_device, is_launcher};
    use super::*;
    use crate::unseen::{is_invisible, is_joiner, keep_joiners};

    /// What all three systems take, and no tool misunderstands.
    pub(crate) fn is_legal(name: &str) -> bool {
        name.len() <= LONGEST_SAFE && is_harmless(name)
    }

    /// A name that was numbered because it was taken: longer, but with room for the part file's suffixes.
    pub(crate) fn is_legal_numbered(name: &str) -> bool {
        let part = part_name(&format!("{name}.old"));
        part.len() <= LONGEST_NAME && is_harmless(name)
    }

    fn is_harmless(name: &str) -> bool {
        let folder = std::path::Path::new("folder");
        !name.is_empty()
            && !name.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*'])
            && !name.chars().any(|c| c.is_control() || (is_invisible(c) && !is_joiner(c)))
            && keep_joiners(name) == name
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
        language: Option<String>,
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
            let got = from_content_disposition(&header, row.language.as_deref().unwrap_or_default());
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
            ("کتاب\u{200c}ها.pdf", "کتاب\u{200c}ها.pdf"),
            ("کتاب\u{200c}.pdf", "کتاب.pdf"),
            ("👩\u{200d}👩\u{200d}👧.png", "👩\u{200d}👩\u{200d}👧.png"),
            ("e\u{200c}\u{301}.txt", "é.txt"),
            ("fi\u{200d}lm.mp4\u{200c}", "film.mp4"),
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
        // A flag, an accent that has no composed form, a family: none is cut in two.
        let flags = make_safe(&format!("{}.mp4", "🇩🇪".repeat(60))).unwrap();
        assert_eq!(flags, format!("{}.mp4", "🇩🇪".repeat(28)));
        let accents = make_safe(&"x\u{301}".repeat(200)).unwrap();
        assert!(accents.ends_with('\u{301}') && accents.len() == 234, "{accents}");
        let families = make_safe(&format!("{}.mp4", "👩\u{200d}👩\u{200d}👧".repeat(20))).unwrap();
        assert_eq!(families, format!("{}.mp4", "👩\u{200d}👩\u{200d}👧".repeat(12)));
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
            assert_eq!(numbered(given, 7, LONGEST_NAME), expected);
        }
        let longest = make_safe(&"ü".repeat(300)).unwrap();
        for n in [1, 999, u32::MAX] {
            assert!(
                numbered(&longest, n, LONGEST_NAME).len() + ".old".len() + PART_SUFFIX.len() <= LONGEST_NAME
            );
        }
        // Up to 999 nothing of the name is lost.
        assert!(numbered(&longest, 999, LONGEST_NAME).starts_with(&longest));
    }

    #[test]
    fn a_disk_of_short_names_or_few_letters_gets_a_name_that_it_takes() {
        for whole in ["film.mp4", "视频 — финал.mp4"] {
            assert_eq!(fitted(whole, LONGEST_NAME, true), whole);
        }
        let longest = make_safe(&"ü".repeat(300)).unwrap();
        assert_eq!(fitted(&longest, LONGEST_NAME, true), longest);
        // What eCryptfs takes: 143 bytes, of which the part file's suffixes need some.
        let name = fitted(&format!("{}.tar.gz", "é".repeat(100)), 143, true);
        assert_eq!(name, format!("{}.tar.gz", "é".repeat(58)));
        assert!(part_name(&format!("{}.old", numbered(&name, 999, 143))).len() <= 143);
        assert_eq!(
            fitted(&format!("{}.mp4", "🇩🇪".repeat(40)), 143, true),
            format!("{}.mp4", "🇩🇪".repeat(14))
        );
        assert_eq!(fitted("Crème brûlée – 视频.mp4", LONGEST_NAME, false), "Creme brulee _ __.mp4");
        assert_eq!(fitted("ﬁlm №1.mp4", LONGEST_NAME, false), "film No1.mp4");
    }

    #[test]
    fn the_urls_on_the_way_speak_for_a_name() {
        const STORE: &str = "https://store.example/bucket/3f2a9c41?X-Amz-Signature=aa";
        let named = |last: &str, hops: &[&str], language: &str| {
            let url = |text: &&str| Url::parse(text).unwrap();
            let hops: Vec<Url> = hops.iter().map(url).collect();
            choose(&Candidates {
                url: Some(&url(&last)),
                hops: &hops,
                language,
                id: "download",
                ..Candidates::default()
            })
        };
        let asks = |field: &str| format!("{STORE}&{field}");
        for (field, expected) in [
            ("response-content-disposition=attachment%3B%20filename%3D%22film%20one.mp4%22", "film one.mp4"),
            ("response-content-disposition=attachment;+filename=film.mp4", "film.mp4"),
            (
                "response-content-disposition=attachment%3B%20filename%2A%3DUTF-8%27%27caf%25C3%25A9.mp4",
                "café.mp4",
            ),
            ("Response-Content-Disposition=attachment%3Bfilename%3D%22../a.mp4%22", "a.mp4"),
            ("rscd=attachment%3B+filename%3Dapp.tar.gz&rsct=application%2Foctet-stream", "app.tar.gz"),
            ("attname=%E8%A7%86%E9%A2%91.mp4", "视频.mp4"),
            ("download=holiday.jpg", "holiday.jpg"),
            ("filename=report.pdf", "report.pdf"),
            // No name at all, or none that ends like a file.
            ("response-content-disposition=inline", "3f2a9c41"),
            ("download=1", "3f2a9c41"),
            ("filename=", "3f2a9c41"),
        ] {
            assert_eq!(named(&asks(field), &[], ""), expected, "{field}");
        }
        // GBK, as old servers percent-encode it.
        assert_eq!(named(&asks("attname=%CA%D3%C6%B5.mp4"), &[], "zh-CN"), "视频.mp4");
        assert_eq!(named("https://old.example/%CA%D3%C6%B5.mp4", &[], "zh-CN"), "视频.mp4");

        let link = "https://example.org/films/holiday.mp4";
        for (hops, last, expected) in [
            (&[link][..], STORE, "holiday.mp4"),
            (&[link, "https://mirrors.example/pick"], STORE, "holiday.mp4"),
            (&["https://example.org/a.zip", "https://mirrors.example/b.zip"], STORE, "b.zip"),
            (&[link], "https://cdn.example/other.mp4", "other.mp4"),
            (&[link], "https://cdn.example/download.php?id=3", "holiday.mp4"),
            (&["https://example.org/get.php"], STORE, "3f2a9c41"),
            (&["https://example.org/x?filename=asked.mp4"], STORE, "asked.mp4"),
            (&["https://example.org/"], "https://cdn.example/", "download"),
        ] {
            assert_eq!(named(last, hops, ""), expected, "{hops:?} to {last}");
        }
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
            (
                Candidates { content_type: Some("text/plain"), first_bytes: b"\xFF\xFEh\0i\0", ..base },
                "re_12.txt",
            ),
            (Candidates { content_type: Some("text/plain"), first_bytes: b"\x02\0\x7Fab", ..base }, "re_12"),
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
                for longest in [143, 100, 64] {
                    let fit = fitted(&name, longest, true);
                    prop_assert!(is_legal(&fit) && fit.len() <= name.len().max(8), "{:?} became {:?}", name, fit);
                    let part = part_name(&format!("{}.old", numbered(&fit, n % 1000, longest)));
                    prop_assert!(part.len() <= longest, "{:?} became {:?}", name, part);
                }
                prop_assert!(is_legal(&fitted(&name, LONGEST_NAME, false)), "{:?}", name);
                let next = numbered(&name, n, LONGEST_NAME);
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
            prop_assert_eq!(from_content_disposition(header.as_bytes(), "zh"), Some(name));
        }
    }
}
