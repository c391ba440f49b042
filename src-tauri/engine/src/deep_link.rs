//! Links of the form `ferry://download?what=…`, by which another program or a web page may propose a download.
//!
//! Anybody can make one, so it says little and starts nothing: the window asks, showing what would be done. Ferry's
//! scheme has one verb and one parameter; whatever else a link holds, it is refused as a whole.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use url::Url;

use crate::http::address;
use crate::services::Recognised;
use crate::unseen::is_invisible;

/// Longer than any link that a service hands out.
const LONGEST: usize = 8 * 1024;

/// What a link proposes, for the question to the user. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct LinkOffer {
    /// What would be downloaded: an id, or an address without its query. Empty when the link is refused.
    pub shown: String,
    /// What it could be, the likeliest first; none when Ferry refuses it.
    pub readings: Vec<Recognised>,
}

impl LinkOffer {
    /// What is shown for a link that proposes nothing that Ferry does.
    pub(crate) fn refused() -> Self {
        Self { shown: String::new(), readings: Vec::new() }
    }
}

/// What a link proposes to download, as the add bar takes it; `None` for any other link.
pub(crate) fn what_of(link: &str) -> Option<String> {
    if link.len() > LONGEST {
        return None;
    }
    let url = Url::parse(link).ok()?;
    let plain = url.scheme() == "ferry"
        && url.host_str() == Some("download")
        && matches!(url.path(), "" | "/")
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    let mut pairs = url.query_pairs();
    let (name, what) = pairs.next()?;
    if !plain || name != "what" || pairs.next().is_some() {
        return None;
    }
    let what = what.trim();
    // What is asked must be what is read: nothing that hides or turns the text around.
    let readable = !what.is_empty()
        && !what.chars().any(|letter| letter.is_control() || is_invisible(letter) || letter == '\u{fffd}');
    readable.then(|| what.to_owned())
}

/// A proposal as it may be shown: an address loses its query, which may be a secret.
pub(crate) fn shown(what: &str) -> String {
    let whole = address::completed(what);
    let Ok(mut url) = Url::parse(whole.as_deref().unwrap_or(what)) else { return what.to_owned() };
    let hidden = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    // Always possible for http(s); nothing else is recognised.
    let _ = (url.set_username(""), url.set_password(None));
    if hidden { format!("{url}?…") } else { url.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_verb_and_one_parameter_are_understood() {
        for (link, what) in [
            ("ferry://download?what=re_8f31", Some("re_8f31")),
            ("ferry://download/?what=re_8f31", Some("re_8f31")),
            (
                "ferry://download?what=https%3A%2F%2Ffiles.example.org%2Fa%20b.mp4%3Fsig%3Dx",
                Some("https://files.example.org/a b.mp4?sig=x"),
            ),
            ("ferry://download?what=a&what=b", None),
            ("ferry://download?what=a&service=mavi", None),
            ("ferry://download?service=mavi", None),
            ("ferry://download", None),
            ("ferry://download?what=", None),
            ("ferry://download?what=%20", None),
            ("ferry://upload?what=%2Fetc%2Fpasswd", None),
            ("ferry://download/more?what=a", None),
            ("ferry://someone@download?what=a", None),
            ("ferry://download:80?what=a", None),
            ("ferry://download?what=a#b", None),
            ("ferry:download?what=a", None),
            ("https://download?what=a", None),
            ("ferry://download?what=a%0Ab", None),
            ("ferry://download?what=evil%E2%80%AEgpj.exe", None),
            ("ferry://download?what=%FF", None),
            ("no link", None),
        ] {
            assert_eq!(what_of(link).as_deref(), what, "{link}");
        }
        assert_eq!(what_of(&format!("ferry://download?what={}", "a".repeat(LONGEST))), None);
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        assert_eq!(shown("re_8f31"), "re_8f31");
        assert_eq!(
            shown("https://me:pass@files.example.org/a.mp4?X-Goog-Signature=abc#frag"),
            "https://files.example.org/a.mp4?…"
        );
        assert_eq!(
            shown("files.example.org/a.mp4?X-Goog-Signature=abc"),
            "https://files.example.org/a.mp4?…"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_link_makes_it_panic_or_hides_something(
            any in "\\PC{0,60}",
            query in "((what|service|x|%00|=|&|%41|%E2%80%AE|#|\\?|/|re_1| ){0,8})",
        ) {
            for link in [any, format!("ferry://download?{query}"), format!("ferry://download?what={query}")] {
                if let Some(what) = what_of(&link) {
                    prop_assert!(!what.is_empty() && what.trim() == what);
                    prop_assert!(what.chars().all(|letter| !letter.is_control() && !is_invisible(letter)));
                    let _ = shown(&what);
                }
            }
        }
    }
}
