//! Bytes that stand for letters: in the charset that a sender names, or in the one that it most likely meant.

use std::borrow::Cow;
use std::sync::OnceLock;

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GB18030, GBK, ISO_8859_8_I, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250,
    WINDOWS_1251, WINDOWS_1252, WINDOWS_1253, WINDOWS_1254, WINDOWS_1255, WINDOWS_1256, WINDOWS_1257,
    WINDOWS_1258,
};

use crate::language::Language;

/// The charset of this name. By the WHATWG Encoding Standard, which says what senders mean by it: whoever says Latin-1
/// means Windows-1252, whoever says GB2312 means GBK.
pub(super) fn named(name: &str) -> Option<&'static Encoding> {
    let name = name.trim().to_ascii_lowercase();
    Encoding::for_label_no_replacement(name.as_bytes()).or_else(|| {
        // Names that mail and file servers use, and the standard does not list.
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        match name.as_str() {
            "cp936" | "ms936" | "windows-936" | "euc-cn" | "euccn" => Some(GBK),
            "cp54936" | "gb-18030" | "gb_18030" => Some(GB18030),
            "cp932" | "ms_932" | "windows-932" => Some(SHIFT_JIS),
            "cp949" | "ms949" | "uhc" | "euckr" | "ksc5601" | "ks_c_5601" => Some(EUC_KR),
            "cp950" | "ms950" | "windows-950" | "big5hkscs" => Some(BIG5),
            "eucjp" | "cp51932" => Some(encoding_rs::EUC_JP),
            "koi8r" | "koi-8-r" | "cp20866" => Some(encoding_rs::KOI8_R),
            "cp65001" => Some(UTF_8),
            "iso88598i" => Some(ISO_8859_8_I),
            _ if name.starts_with("win") || name.starts_with("cp") => {
                Encoding::for_label_no_replacement(format!("windows-{number}").as_bytes())
            }
            _ => None,
        }
    })
}

/// Decodes; `None` where the bytes are not what their charset says.
pub(super) fn decode(charset: &'static Encoding, bytes: &[u8]) -> Option<String> {
    charset.decode_without_bom_handling_and_without_replacement(bytes).map(Cow::into_owned)
}

/// Bytes that nobody labelled: UTF-8 if they are, else in the charset that servers in this language wrote in before,
/// and at last in Windows-1252, in which everything is text. Hardly any other text happens to be valid UTF-8.
///
/// The language is a tag (`zh-TW`) or a locale (`ja_JP.UTF-8`); empty for none.
pub(super) fn decode_unlabelled<'a>(bytes: &'a [u8], language: &str) -> Cow<'a, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let likely = legacy(language).decode_without_bom_handling_and_without_replacement(bytes);
    likely.unwrap_or_else(|| WINDOWS_1252.decode_without_bom_handling(bytes).0)
}

/// The charset of old programs in a language (HTML, "determining the character encoding").
fn legacy(language: &str) -> &'static Encoding {
    let tag = language.split(['.', '@']).next().unwrap_or_default().replace('_', "-").to_ascii_lowercase();
    let mut subtags = tag.split('-');
    match subtags.next().unwrap_or_default() {
        "zh" if subtags.any(|subtag| matches!(subtag, "tw" | "hk" | "mo" | "hant")) => BIG5,
        "zh" => GB18030,
        "ja" => SHIFT_JIS,
        "ko" => EUC_KR,
        "be" | "bg" | "kk" | "ky" | "mk" | "mn" | "ru" | "sah" | "sr" | "tg" | "tt" | "uk" => WINDOWS_1251,
        "bs" | "cs" | "hr" | "hu" | "pl" | "ro" | "sk" | "sl" | "sq" => WINDOWS_1250,
        "el" => WINDOWS_1253,
        "az" | "ku" | "tr" => WINDOWS_1254,
        "he" | "iw" | "yi" => WINDOWS_1255,
        "ar" | "fa" | "ur" => WINDOWS_1256,
        "et" | "lt" | "lv" => WINDOWS_1257,
        "vi" => WINDOWS_1258,
        "th" => WINDOWS_874,
        _ => WINDOWS_1252,
    }
}

/// The language of this computer, as a tag; empty where it tells none.
pub(crate) fn system_language() -> &'static str {
    static LANGUAGE: OnceLock<String> = OnceLock::new();
    LANGUAGE.get_or_init(|| sys_locale::get_locale().unwrap_or_default())
}

/// The language by which bytes without a charset are read: the one that the user chose, or the computer's.
pub(crate) fn language_of(setting: Language) -> &'static str {
    match setting {
        // The one choice that tells of a charset; the computer may tell which of the two.
        Language::Zh if !system_language().starts_with("zh") => "zh",
        _ => system_language(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_known_by_all_their_names() {
        for (name, expected) in [
            ("GBK", GBK),
            ("gb2312", GBK),
            ("CP936", GBK),
            ("GB18030", GB18030),
            ("Big5", BIG5),
            ("Shift_JIS", SHIFT_JIS),
            ("cp932", SHIFT_JIS),
            ("EUC-KR", EUC_KR),
            ("ks_c_5601-1987", EUC_KR),
            ("windows-1251", WINDOWS_1251),
            ("cp1251", WINDOWS_1251),
            ("win1251", WINDOWS_1251),
            ("iso-8859-1", WINDOWS_1252),
            (" utf8 ", UTF_8),
        ] {
            assert_eq!(named(name), Some(expected), "{name}");
        }
        for unknown in ["", "x-unknown", "cp", "utf-7", "hz-gb-2312", "replacement"] {
            assert_eq!(named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_nobody_labelled_is_read_as_the_users_language_writes() {
        let rows: [(&[u8], &str, &str); 14] = [
            (b"\xca\xd3\xc6\xb5", "zh-CN", "视频"),
            (b"\xca\xd3\xc6\xb5", "zh", "视频"),
            (b"\xb5\xf8\xb0T", "zh_TW.UTF-8", "視訊"),
            (b"\x93\xae\x89\xe6", "ja_JP.UTF-8", "動画"),
            (b"\xb5\xbf\xbf\xb5\xbb\xf3", "ko", "동영상"),
            (b"\xe2\xe8\xe4\xe5\xee", "ru_RU.UTF-8", "видео"),
            (b"\xb3\xf3d\x9f", "pl", "łódź"),
            (b"\xe2\xdf\xed\xf4\xe5\xef", "el", "βίντεο"),
            (b"g\xf6r\xfcnt\xfc", "tr", "görüntü"),
            (b"\xe5\xe9\xe3\xe0\xe5", "he", "וידאו"),
            (b"caf\xe9", "", "café"),
            (b"caf\xe9", "C", "café"),
            // What is not text in the user's charset is in the one in which everything is.
            (b"caf\xe9.mp4", "zh", "café.mp4"),
            ("фильм".as_bytes(), "ja", "фильм"),
        ];
        for (bytes, language, expected) in rows {
            assert_eq!(decode_unlabelled(bytes, language), expected, "{language}");
        }
    }
}
