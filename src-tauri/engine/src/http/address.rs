//! Addresses that people, services and files give: which of them are asked at all, which a secret may go to, and which
//! lead to this computer.

use std::net::Ipv4Addr;

use url::{Host, Url};

use crate::words::{Phrase, Words};

/// Parses an http or https URL, for links and pages. `Err` is the reason as a clause.
pub fn parse_http(text: &str) -> Result<Url, Words> {
    let url = Url::parse(text.trim()).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => Phrase::WithoutScheme.into(),
        error => Words::from(error.to_string()),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Phrase::WithOtherScheme { scheme: url.scheme().into() }.into());
    }
    // Who puts a name before the host wants it mistaken for the host, or shows a password to everyone.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Phrase::WithUserName.into());
    }
    Ok(url)
}

/// The address that a text without `https://` stands for: `example.com/file.zip`. A host alone could be a file's name,
/// and so could anything before a slash that does not end as the names of hosts do.
pub fn completed(text: &str) -> Option<String> {
    let text = text.trim();
    let (host, _) = text.split_once('/')?;
    let whole = format!("https://{text}");
    let url = parse_http(&whole).ok()?;
    let name = url.domain()?;
    let (before, ending) = name.rsplit_once('.')?;
    let plain = host.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '.' | ':'))
        && before.split('.').all(|label| !label.is_empty())
        && (ending.starts_with("xn--")
            || ending.len() > 1 && ending.chars().all(|letter| letter.is_ascii_alphabetic()));
    (plain && !text.chars().any(char::is_whitespace)).then_some(whole)
}

/// Parses a URL that a secret is sent to: https, or http on this computer. `Err` is the reason as a clause.
pub fn parse_secure(text: &str) -> Result<Url, Words> {
    let url = parse_http(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Phrase::WithOpenScheme.into());
    }
    Ok(url)
}

/// Whether a URL leads to this computer. A connection to the address that stands for none (RFC 1122, section 3.2.1.3) is one to
/// this computer, too.
pub fn is_loopback(url: &Url) -> bool {
    let is_here = |address: Ipv4Addr| address.is_loopback() || address.is_unspecified();
    match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => is_here(address),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.is_unspecified() || address.to_ipv4_mapped().is_some_and(is_here)
        }
        None => false,
    }
}

/// Whether a name is this computer's own in every network (RFC 6761, section 6.3).
pub(crate) fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_secret_targets_differ_in_http() {
        assert!(parse_http("http://example.com/a").is_ok());
        assert!(parse_secure("http://example.com/a").is_err());
        for here in [
            "http://localhost/",
            "http://a.localhost/",
            "http://localhost./",
            "http://127.8.9.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
            "http://0/",
            "http://[::]/",
            "http://[::ffff:0.0.0.0]/",
        ] {
            assert!(parse_secure(here).is_ok(), "{here}");
        }
        for elsewhere in
            ["http://0.0.0.1/", "http://10.0.0.1/", "http://localhost.example/", "http://notlocalhost/"]
        {
            assert!(parse_secure(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
