//! The file name in a `Content-Disposition` header (RFC 6266), as servers really send it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use encoding_rs::Encoding;

use super::charset::{self, decode_unlabelled};

/// Whether the header says that the body is a file to be saved. RFC 6266 §4.2: an unknown type counts as `attachment`.
pub(crate) fn is_attachment(value: &[u8]) -> bool {
    let kind = pieces(value).into_iter().next().unwrap_or_default().trim_ascii();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !kind.is_empty() && kind.iter().all(is_token) && !kind.eq_ignore_ascii_case(b"inline")
}

/// The file name in a `Content-Disposition` header (RFC 6266, RFC 8187), raw: not yet safe to use.
///
/// Order: `filename*`, then RFC 2231 continuations, then `filename`, and last a `filename*` that breaks its own rules
/// but can be read (no charset, no quotes): Firefox takes those too, and any name is better than an id. Of copies the
/// first counts. Bytes without a charset are read as they are usual in `language`, a tag or locale. Where the header itself breaks the grammar, the reading is the one that the two big browsers share, or
/// the one that keeps more of the name; `tests/fixtures/content-disposition.json` shows each case.
pub(crate) fn from_content_disposition(value: &[u8], language: &str) -> Option<String> {
    let parameters = parameters(value);
    let first = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    };
    let extended = first("filename*");
    extended
        .and_then(decode_extended)
        .or_else(|| continued(&parameters, language))
        .or_else(|| first("filename").and_then(|value| decode_plain(value, language)))
        .or_else(|| extended.and_then(decode_sloppy))
        .filter(|name| !name.is_empty())
}

/// The header cut at the semicolons that do not stand in a quoted string.
fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    // A quote opens a string only where a value (or the type) begins: `foo"bar;` is no quoted string.
    let mut may_open = true;
    while at < value.len() {
        match value[at] {
            b'"' if may_open => {
                at += 1;
                while at < value.len() && value[at] != b'"' {
                    at += if value[at] == b'\\' { 2 } else { 1 };
                }
                may_open = false;
            }
            b';' => {
                pieces.push(&value[start..at]);
                start = at + 1;
                may_open = true;
            }
            b'=' => may_open = true,
            byte if byte.is_ascii_whitespace() => {}
            _ => may_open = false,
        }
        at += 1;
    }
    pieces.push(&value[start.min(value.len())..]);
    pieces
}

/// The parameters in order, values without their quotes.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    for piece in pieces(value) {
        // The type, an empty piece, `inline` in the wrong place: no parameter. But old servers leave the type out,
        // so the first piece is a parameter if it looks like one.
        let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { continue };
        found.push((piece[..equals].trim_ascii(), unquote(piece[equals + 1..].trim_ascii())));
    }
    found
}

/// Undoes quotes and quoted pairs. What follows the closing quote is dropped; a missing closing quote is forgiven.
fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(quoted) = value.strip_prefix(b"\"") else { return value.to_vec() };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            // A backslash at the very end escapes nothing and stands for itself.
            b'\\' => text.push(*bytes.next().unwrap_or(byte)),
            _ => text.push(*byte),
        }
    }
    text
}

/// A `filename` value: raw bytes, percent-encoded, or RFC 2047 encoded words.
///
/// None of these encodings belongs here by the standards, but servers send them all. Chromium and Firefox decode
/// encoded words (RFC 2047 §5 forbids them in parameters, but a name like `=?UTF-8?B?…?=` is of no use to anyone, and
/// cannot even be stored as it is on Windows), and Chromium percent-encoding: a user who compares with a browser gets
/// the same name. An encoded word that is broken or in an unknown charset gives no name, so that the next source can.
fn decode_plain(value: &[u8], language: &str) -> Option<String> {
    if !value.is_ascii() {
        return Some(decode_unlabelled(value, language).into_owned());
    }
    let text = std::str::from_utf8(value).ok()?;
    if text.split_ascii_whitespace().any(|word| word.starts_with("=?")) {
        return decode_words(text);
    }
    // Only where all of it is valid: `50%.html` and `%B7%DD.png` stay as they are.
    match percent_decode(text.as_bytes()).map(String::from_utf8) {
        Some(Ok(decoded)) => Some(decoded),
        _ => Some(text.to_owned()),
    }
}

/// A `filename*` value by RFC 8187: `charset'language'percent-encoded`.
fn decode_extended(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    let mut parts = text.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    charset::decode(charset::named(charset)?, &percent_decode(encoded.as_bytes())?)
        .filter(|name| !name.is_empty())
}

/// A `filename*` that RFC 8187 would reject: without a charset, without its quotes, or with an unknown charset around
/// plain ASCII.
fn decode_sloppy(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let (charset, encoded) = match text.splitn(3, '\'').collect::<Vec<_>>().as_slice() {
        [charset, _language, encoded] => (*charset, *encoded),
        [charset, encoded] if charset::named(charset).is_some() => (*charset, *encoded),
        _ => ("", text),
    };
    let decoded = percent_decode(encoded.as_bytes())?;
    if charset.is_empty() { String::from_utf8(decoded).ok() } else { decode_labelled(charset, &decoded) }
}

/// Decodes by the charset's name. Of an unknown one plain ASCII can still be read: it is the same in all of them.
fn decode_labelled(charset: &str, bytes: &[u8]) -> Option<String> {
    match charset::named(charset) {
        Some(charset) => charset::decode(charset, bytes),
        None if bytes.is_ascii() => std::str::from_utf8(bytes).ok().map(str::to_owned),
        None => None,
    }
}

/// RFC 2231 continuations: `filename*0*=UTF-8''a; filename*1=b`. Not part of HTTP, but mail gateways send them.
/// Pieces may come in any order; a gap or a repeated number ends the name, as in Firefox.
fn continued(parameters: &[(&[u8], Vec<u8>)], language: &str) -> Option<String> {
    let mut series: Vec<(u32, bool, &[u8])> = Vec::new();
    for (name, value) in parameters {
        let Some(rest) = strip_prefix_in_any_case(name, b"filename*") else { continue };
        let (number, encoded) = rest.strip_suffix(b"*").map_or((rest, false), |number| (number, true));
        let is_canonical =
            number == b"0" || number.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
        let number: Option<u32> =
            std::str::from_utf8(number).ok().filter(|_| is_canonical).and_then(|n| n.parse().ok());
        let Some(number) = number else { continue };
        if series.iter().any(|(known, ..)| *known == number) {
            break;
        }
        series.push((number, encoded, value));
    }
    series.sort_by_key(|(number, ..)| *number);
    let mut charset = None;
    let mut bytes = Vec::new();
    for (expected, (number, encoded, value)) in (0..).zip(series) {
        if number != expected {
            break;
        }
        let mut value = value;
        if encoded && number == 0 {
            let mut parts = value.splitn(3, |byte| *byte == b'\'');
            if let (Some(name), Some(_language), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                charset = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
                value = rest;
            }
        }
        if encoded {
            bytes.extend(percent_decode(value)?);
        } else {
            bytes.extend_from_slice(value);
        }
    }
    let name = match charset {
        Some(charset) => decode_labelled(charset, &bytes)?,
        None => decode_unlabelled(&bytes, language).into_owned(),
    };
    Some(name).filter(|name| !name.is_empty())
}

fn strip_prefix_in_any_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// RFC 2047: `=?charset?Q?…?=` and `=?charset?B?…?=`, blanks behind an encoded word left out as in Chromium.
fn decode_words(text: &str) -> Option<String> {
    let mut name = String::new();
    // Senders that cut by length cut a letter in two: bytes in one charset are put together before they are read.
    let mut open: Option<(&'static Encoding, Vec<u8>)> = None;
    let close = |open: &mut Option<(&'static Encoding, Vec<u8>)>, name: &mut String| {
        if let Some((charset, bytes)) = open.take() {
            name.push_str(&charset::decode(charset, &bytes)?);
        }
        Some(())
    };
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
        if blank > 0 {
            close(&mut open, &mut name)?;
            name.push_str(&rest[..blank]);
            rest = &rest[blank..];
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        if let Some(word) = rest[..end].strip_prefix("=?") {
            let (charset, bytes, tail) = decode_word(word)?;
            if open.as_ref().is_some_and(|(before, _)| *before != charset) {
                close(&mut open, &mut name)?;
            }
            open.get_or_insert_with(|| (charset, Vec::new())).1.extend(bytes);
            if !tail.is_empty() {
                close(&mut open, &mut name)?;
                name.push_str(tail);
            }
            rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        } else {
            close(&mut open, &mut name)?;
            name.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    close(&mut open, &mut name)?;
    Some(name)
}

/// What follows `=?`: the charset, the bytes, and an extension that somebody put behind it.
fn decode_word(word: &str) -> Option<(&'static Encoding, Vec<u8>, &str)> {
    let (charset, rest) = word.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (text, tail) = rest.split_once("?=")?;
    if text.contains('?') || !(tail.is_empty() || tail.starts_with('.')) {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?,
        "Q" | "q" => decode_escapes(text.replace('_', " ").as_bytes(), b'=')?,
        _ => return None,
    };
    // RFC 2231 §5 lets a language follow: `=?utf-8*en?…`.
    Some((charset::named(charset.split('*').next()?)?, bytes, tail))
}

/// Decodes `%41`; an incomplete or wrong escape makes all of it invalid.
fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    decode_escapes(text, b'%')
}

fn decode_escapes(text: &[u8], sign: u8) -> Option<Vec<u8>> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == sign {
            decoded.push((digit(bytes.next())? * 16 + digit(bytes.next())?) as u8);
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}
