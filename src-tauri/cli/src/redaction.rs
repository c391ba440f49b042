//! The last gate before the terminal: whatever a message quotes, the query of a URL never leaves through it.
//!
//! The engine's own texts hold no secrets. What the *user* typed may come back from elsewhere, though: clap quotes an
//! argument that it cannot use, and a signed URL pasted in the wrong place is such an argument.

use std::borrow::Cow;

/// What stands in for a secret.
const HIDDEN: &str = "•••";

/// Parameters that sign a URL or carry a key. Found also where the scheme was cut off.
const SECRET_PARAMETERS: [&str; 9] = [
    "x-goog-signature=",
    "x-goog-credential=",
    "x-amz-signature=",
    "x-amz-credential=",
    "x-amz-security-token=",
    "signature=",
    "upload_id=",
    "sig=",
    "token=",
];

/// The text with every URL's query, fragment and user-info, and every signing parameter, replaced by `•••`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("://") && !SECRET_PARAMETERS.iter().any(|name| lower.contains(name)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends_word).unwrap_or(rest.len());
        out.push_str(&redact_word(&rest[..end]));
        let next = rest[end..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[end..end + next]);
        rest = &rest[end + next..];
    }
    Cow::Owned(out)
}

/// Quotes, blanks and terminal escapes: none of them stands in a URL unescaped.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | '`' | '<' | '>')
}

fn redact_word(word: &str) -> Cow<'_, str> {
    let lower = word.to_ascii_lowercase();
    if let Some(scheme) = lower.find("://") {
        let authority = scheme + 3;
        let query = word[authority..].find(['?', '#']).map_or(word.len(), |at| authority + at);
        let path = word[authority..query].find('/').map_or(query, |at| authority + at);
        let host = word[authority..path].rfind('@').map_or(authority, |at| authority + at + 1);
        if query == word.len() && host == authority {
            return Cow::Borrowed(word);
        }
        let user = if host == authority { String::new() } else { format!("{HIDDEN}@") };
        let tail =
            if query == word.len() { String::new() } else { format!("{}{HIDDEN}", &word[query..=query]) };
        return Cow::Owned(format!("{}{user}{}{tail}", &word[..authority], &word[host..query]));
    }
    // The earliest of them hides everything behind it, as several stand in a row.
    let found = SECRET_PARAMETERS.iter().filter_map(|name| lower.find(name).map(|at| at + name.len())).min();
    found.map_or(Cow::Borrowed(word), |at| Cow::Owned(format!("{}{HIDDEN}", &word[..at])))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn queries_fragments_and_users_are_hidden() {
        for (text, expected) in [
            ("nothing to hide", "nothing to hide"),
            ("see https://a.example/x.mp4 now", "see https://a.example/x.mp4 now"),
            ("'https://a.example/x?X-Goog-Signature=abc&b=c' found", "'https://a.example/x?•••' found"),
            ("HTTPS://A.example/x#frag", "HTTPS://A.example/x#•••"),
            ("https://user:pass@a.example/p?q", "https://•••@a.example/p?•••"),
            ("https://a.example?x@y", "https://a.example?•••"),
            ("--to=https://a.example/x?sig=1", "--to=https://a.example/x?•••"),
            ("\u{1b}[33mhttps://a.example/?k=1\u{1b}[0m", "\u{1b}[33mhttps://a.example/?•••\u{1b}[0m"),
            ("a.example/x?X-Amz-Signature=abc&X-Amz-Date=1", "a.example/x?X-Amz-Signature=•••"),
            ("x?sv=1&sig=abc", "x?sv=1&sig=•••"),
            ("überfahrt – 渡し船 https://ä.example/ü?ö", "überfahrt – 渡し船 https://ä.example/ü?•••"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
