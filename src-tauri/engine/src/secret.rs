//! What must not be shown: a type for it that does not print.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::{Error, Result};
use crate::redaction;
use crate::words::Phrase;

/// A text that is never shown: `Debug` and `Display` print `•••`. Not serializable on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        // Whoever is sent it may repeat it.
        redaction::learn_key(&text);
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// A header for one transfer by a link or a signed URL. Its value is a secret as the URL's query is: `Debug` hides it, and it
/// is kept in `resume/` only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: •••", self.name)
    }
}

/// These headers for a request, fit for the origin that the user named them for and for no other. Those that say how a
/// message is framed and to whom it goes are Ferry's own.
pub(crate) fn header_map(headers: &[Header]) -> Result<HeaderMap> {
    const OWN: [&str; 10] = [
        "host",
        "connection",
        "content-length",
        "content-range",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "range",
        "if-range",
    ];
    let mut map = HeaderMap::new();
    for header in headers {
        let unusable = || Error::invalid(Phrase::HeaderUnusable { name: header.name.trim().into() });
        let name = HeaderName::from_bytes(header.name.trim().as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(header.value.trim()).map_err(|_| unusable())?;
        if OWN.contains(&name.as_str()) {
            return Err(unusable());
        }
        value.set_sensitive(true);
        map.append(name, value);
    }
    Ok(map)
}
