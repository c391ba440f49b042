//! Characters that show nothing, and the two of them that belong to a word: the zero-width non-joiner and the zero-width
//! joiner.
//!
//! Persian writes prefixes and plurals with the one, Indic scripts choose the shape of a letter by both, and emoji are put
//! together by the other. Elsewhere they show nothing and make two names look the same, so there they go.

use std::borrow::Cow;

use icu_properties::props::{BinaryProperty as _, CanonicalCombiningClass, EnumeratedProperty as _};
use icu_properties::props::{ExtendedPictographic, JoiningType};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
/// Asks for the coloured shape of a sign.
const AS_EMOJI: char = '\u{fe0f}';

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

/// Whether this is one of the two.
pub(crate) fn is_joiner(c: char) -> bool {
    matches!(c, NON_JOINER | JOINER)
}

/// The text without the joiners that join nothing: RFC 5892 A.1 and A.2, and emoji sequences (UTS 51).
pub(crate) fn keep_joiners(text: &str) -> Cow<'_, str> {
    if !text.contains(is_joiner) {
        return text.into();
    }
    let letters: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    for (at, letter) in letters.iter().enumerate() {
        if !is_joiner(*letter) || joins(*letter, &kept, &letters[at + 1..]) {
            kept.push(*letter);
        }
    }
    kept.into()
}

/// Whether a joiner between these two texts is to be kept.
fn joins(joiner: char, before: &str, after: &[char]) -> bool {
    let last = before.chars().next_back();
    if last.is_some_and(|last| CanonicalCombiningClass::for_char(last) == CanonicalCombiningClass::Virama) {
        return true;
    }
    if joiner == NON_JOINER {
        let seen = |c: &char| JoiningType::for_char(*c) != JoiningType::Transparent;
        let kind = |c: char| JoiningType::for_char(c);
        let first = before.chars().rev().find(seen).map(kind);
        let second = after.iter().copied().find(seen).map(kind);
        return matches!(first, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
            && matches!(second, Some(JoiningType::RightJoining | JoiningType::DualJoining));
    }
    // Skin tones and the wish for a coloured shape stand between an emoji and its joiner.
    let is_modifier = |c: &char| *c == AS_EMOJI || ('\u{1f3fb}'..='\u{1f3ff}').contains(c);
    let is_emoji = |c: char| ExtendedPictographic::for_char(c);
    before.chars().rev().find(|c| !is_modifier(c)).is_some_and(is_emoji)
        && after.first().copied().is_some_and(is_emoji)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiners_stay_where_a_script_needs_them() {
        for kept in [
            // Persian: "I go", "books".
            "می\u{200c}روم",
            "کتاب\u{200c}ها",
            // Across a vowel mark, which joins nothing itself.
            "بِ\u{200c}ت",
            // Hindi and Sinhala: behind a virama, also at the end.
            "क्\u{200d}ष",
            "श्री र्\u{200d}",
            "ක්\u{200d}ර",
            "क्\u{200c}ष",
            // Emoji: a family, a technician with a skin tone, a rainbow flag.
            "👩\u{200d}👩\u{200d}👧",
            "👩🏽\u{200d}💻",
            "🏳\u{fe0f}\u{200d}🌈",
        ] {
            assert_eq!(keep_joiners(kept), kept);
        }
        for (given, expected) in [
            ("a\u{200c}b", "ab"),
            ("a\u{200d}b", "ab"),
            ("\u{200d}👩", "👩"),
            ("👩\u{200d}", "👩"),
            ("👩\u{200d}\u{200d}👧", "👩\u{200d}👧"),
            ("می\u{200c}", "می"),
            ("\u{200c}می", "می"),
            // Alef joins nothing behind it, so nothing is to be kept apart.
            ("ا\u{200c}ب", "اب"),
            ("می\u{200c}\u{200c}روم", "می\u{200c}روم"),
            ("e\u{200d}\u{301}", "e\u{301}"),
        ] {
            assert_eq!(keep_joiners(given), expected, "{given:?}");
        }
    }
}
