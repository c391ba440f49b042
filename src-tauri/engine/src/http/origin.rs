//! Where a key may go: the origin that it was entrusted to, and nowhere else.

use std::fmt;

use reqwest::header::HeaderValue;
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::secret::Secret;
use crate::words::Phrase;

/// Scheme, host and port of an http(s) address (RFC 6454, section 4), in the one spelling that each origin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(String);

impl Origin {
    /// The origin of a URL; `None` for what is no web address.
    pub fn of(url: &Url) -> Option<Self> {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web.then(|| Self(url.origin().ascii_serialization()))
    }

    /// The origin of an address as it is written in settings, variables and keychains.
    pub fn of_address(text: &str) -> Option<Self> {
        Self::of(&Url::parse(text.trim()).ok()?)
    }

    /// Its spelling: `https://host`, `http://127.0.0.1:8080`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service's key with the origin that it belongs to. The key cannot be had from it but as a header for a request to that
/// origin: whatever builds requests, and from whatever address, cannot send it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundKey {
    secret: Secret,
    origin: Origin,
}

impl BoundKey {
    /// Binds a key.
    pub fn new(secret: Secret, origin: Origin) -> Self {
        Self { secret, origin }
    }

    /// The key itself, for the keychain that keeps it.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// To whom it goes.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it goes along with a request for this URL.
    pub fn belongs_to(&self, url: &Url) -> bool {
        Origin::of(url).as_ref() == Some(&self.origin)
    }

    /// The header that carries it with a request for this URL; `None` where it does not belong. The client's own logging
    /// leaves it out.
    ///
    /// # Errors
    ///
    /// `unauthorized` if it holds what no header can.
    pub fn header_for(&self, url: &Url) -> Result<Option<HeaderValue>> {
        if !self.belongs_to(url) {
            return Ok(None);
        }
        let mut value = HeaderValue::from_str(self.secret.expose())
            .map_err(|_| Error::new(Cause::Unauthorized, Phrase::KeyUnusable))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_header_for_its_own_origin_only() {
        let key = BoundKey::new(Secret::new("sk-1"), Origin::of_address("https://Mavi.Example/api").unwrap());
        let header = |url: &str| key.header_for(&Url::parse(url).unwrap()).unwrap();
        for own in ["https://mavi.example/x?y", "https://mavi.example:443", "https://MAVI.example/other/path"]
        {
            assert!(header(own).is_some_and(|header| header.is_sensitive()), "{own}");
        }
        for foreign in [
            "http://mavi.example/api",
            "https://mavi.example:8443/api",
            "https://mavi.example./api",
            "https://mavi.example.evil.example/api",
            "https://evil.example/mavi.example",
            "https://mavi.example@evil.example/api",
            "https://xn--mvi-7na.example/api",
            "ftp://mavi.example/api",
            "data:,mavi.example",
        ] {
            assert!(header(foreign).is_none(), "{foreign}");
        }
    }

    #[test]
    fn what_has_no_host_has_no_origin() {
        for text in ["", "mavi.example", "file:///etc/passwd", "data:text/plain,x", "https://"] {
            assert_eq!(Origin::of_address(text), None, "{text}");
        }
    }
}
