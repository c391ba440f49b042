//! Bodies of answers that came packed though nobody asked for that: what a service says in them is read all the same.
//!
//! Only for words, never for a file (docs/decisions/0006).

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::head::coding;

/// What a body holds, up to `limit` bytes of it: a bomb is cut off there. One that broke off gives what can be read of it;
/// one in a coding that is not known gives nothing, as it holds no words; one that is not packed as it says is taken as it
/// came.
pub(crate) fn unpacked<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Cow<'a, [u8]> {
    let Some(coding) = coding(&headers.get_all(CONTENT_ENCODING)) else { return body.into() };
    let mut words = match coding.strip_prefix("x-").unwrap_or(&coding) {
        "gzip" => read(MultiGzDecoder::new(body), limit),
        // RFC 9110 §8.4.1.2 means zlib's format by it; some send the bare one.
        "deflate" | "zlib" => read(ZlibDecoder::new(body), limit),
        _ => Vec::new(),
    };
    if words.is_empty() && coding == "deflate" {
        words = read(DeflateDecoder::new(body), limit);
    }
    let is_text = || std::str::from_utf8(body).is_ok_and(|text| !text.contains('\0'));
    if words.is_empty() && is_text() { body.into() } else { words.into() }
}

fn read(packed: impl Read, limit: usize) -> Vec<u8> {
    let mut words = Vec::new();
    // What came before an error is there.
    let _ = packed.take(limit as u64).read_to_end(&mut words);
    words
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    const WORDS: &[u8] = b"{\"code\":\"0401\",\"msg\":\"No such key\"}";

    fn named(coding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
        headers
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn words_are_read_in_the_codings_that_are_in_use() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(WORDS).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(WORDS).unwrap();
        let bare = bare.finish().unwrap();
        let packed = gzip(WORDS);
        for (coding, body) in [
            ("gzip", &packed[..]),
            ("X-Gzip", &packed),
            ("deflate", &zlib),
            ("deflate", &bare),
            ("gzip", WORDS),
            ("identity", WORDS),
            ("br", WORDS),
        ] {
            assert_eq!(*unpacked(&named(coding), body, 1000), *WORDS, "{coding}");
        }
        assert_eq!(*unpacked(&HeaderMap::new(), &packed, 1000), packed, "nobody says that it is packed");
        assert_eq!(*unpacked(&named("zstd"), &packed, 1000), [0_u8; 0], "no words are shown of it");
        assert!(WORDS.starts_with(&unpacked(&named("gzip"), &packed[..packed.len() - 9], 1000)));
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let bomb = gzip(&gzip(&vec![b'a'; 50 << 20]));
        assert!(bomb.len() < 10_000);
        assert_eq!(unpacked(&named("gzip"), &bomb, 1000).len(), 1000.min(gzip(&vec![b'a'; 50 << 20]).len()));
        assert_eq!(unpacked(&named("gzip"), &gzip(&vec![b'a'; 50 << 20]), 1000).len(), 1000);
    }
}
