//! What a search finds: in any script, whatever the case and the accents of what was typed and of what is searched.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::canonical_combining_class;

/// A text that is searched for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    folded: String,
}

impl Search {
    /// Spaces around it do not count.
    pub fn new(text: &str) -> Self {
        Self { folded: folded(text.trim()) }
    }

    /// Nothing is searched for: everything is found.
    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether the text holds what is searched for.
    pub fn finds(&self, text: &str) -> bool {
        self.is_empty() || folded(text).contains(&self.folded)
    }
}

/// Gives SQL the function `finds(text, folded search)`, so that the library is searched as the list is.
pub(crate) fn add_to(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("finds", 2, flags, |arguments| {
        let (text, search) = (arguments.get_raw(0).as_str()?, arguments.get_raw(1).as_str()?);
        Ok(search.is_empty() || folded(text).contains(search))
    })
}

impl rusqlite::ToSql for Search {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        self.folded.to_sql()
    }
}

/// A text as it is compared: without case, accents, and differences of form such as a ligature or a full-width letter.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    // By the capital, as small letters may differ where capitals do not: the two sigmas, the sharp s and its two letters.
    for letter in text.nfkd().filter(|letter| !is_accent(*letter)).flat_map(char::to_uppercase) {
        match without_stroke(letter) {
            Some(plain) => folded.push_str(plain),
            None => folded.extend(letter.to_lowercase()),
        }
    }
    // A letter of several characters is none of them.
    folded.nfc().collect()
}

/// Marks above and below a letter, and the points of Hebrew and Arabic. Those that make another letter of one, as in Indian
/// and Japanese scripts, stay.
fn is_accent(letter: char) -> bool {
    matches!(canonical_combining_class(letter), 10..=36 | 200..=240)
}

/// Letters with a stroke or of two, which Unicode takes for letters of their own; people who lack them on their keyboard
/// type these.
fn without_stroke(capital: char) -> Option<&'static str> {
    Some(match capital {
        'Ø' => "o",
        'Ł' => "l",
        'Đ' | 'Ð' => "d",
        'Ħ' => "h",
        'Ŧ' => "t",
        'Æ' => "ae",
        'Œ' => "oe",
        'Þ' => "th",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_knows_no_case_and_no_accents_in_any_script() {
        for (search, text) in [
            ("überfahrt", "Überfahrt.mp4"),
            ("uberfahrt", "ÜBERFAHRT.MP4"),
            ("Überfahrt", "u\u{308}berfahrt"),
            ("STRASSE", "Straße 7"),
            ("straße", "STRASSE"),
            ("ΟΔΟΣ", "οδός.pdf"),
            ("οδος", "ΟΔΌΣ"),
            ("ПРИВЕТ", "привет"),
            ("еж", "Ёж"),
            ("istanbul", "İSTANBUL"),
            ("ısparta", "Isparta"),
            ("lodz", "Łódź"),
            ("SMØRREBRØD", "smorrebrod"),
            ("file", "ﬁle"),
            ("abc", "ＡＢＣ"),
            ("שלום", "שָׁלוֹם"),
            ("محمد", "مُحَمَّد"),
            ("한국", "한국어"),
            ("caffè", "CAFFE"),
            ("  movie ", "The Movie"),
            ("", "anything"),
        ] {
            assert!(Search::new(search).finds(text), "“{search}” does not find “{text}”");
        }
        for (search, text) in [("か", "が"), ("कि", "का"), ("100%", "1000"), ("a_b", "axb"), ("ä", "b")]
        {
            assert!(!Search::new(search).finds(text), "“{search}” finds “{text}”");
        }
    }
}
