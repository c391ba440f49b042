//! The form around a file, as services' samples and stores' policies want it.

use reqwest::{Body, multipart};

use crate::error::{Error, Result};
use crate::redaction::learn_field;

/// A form with these fields in their order, then the file.
pub(super) fn form(
    fields: &[(String, String)],
    body: Body,
    size: u64,
    name: &str,
    content_type: &str,
) -> Result<multipart::Form> {
    let mut form = multipart::Form::new();
    for (field, value) in fields {
        // Whoever answers may repeat it.
        learn_field(field, value);
        form = form.text(field.clone(), value.clone());
    }
    let part = multipart::Part::stream_with_length(body, size)
        .file_name(name.to_owned())
        .mime_str(content_type)
        .map_err(|error| {
            Error::internal("A media type could not be written").because(error.without_url().to_string())
        })?;
    // A store reads nothing of what comes behind the file.
    Ok(form.part("file", part))
}
