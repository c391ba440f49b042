//! Who gets in. A port of this computer can be reached by every user of it and by every page in a browser, so a
//! request must prove that it comes from whom the sandbox told its addresses.
//!
//! Each run has a key of its own, which nobody can guess. A request is let in
//! - to everything, with the key in `Authorization`;
//! - to one part, below that part's pass: the first segment of the addresses that the sandbox tells, for clients that
//!   have no place for a key or one of another kind in it. A pass is made from the key and opens that part alone: what
//!   stands in a link can be seen in the list of processes;
//! - to the store, by what the store itself checks: a signature, a policy, or the id of a session.
//!
//! A web page knows none of these. It is kept out all the same before anything is looked at: it cannot hide that it
//! asks for another host (DNS rebinding) or from another origin, and no answer has a header that would let it read.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ring::{digest, hmac};

use crate::objects::{hex, random_hex};
use crate::{INSIDE_HOST, mavi, offline_tube, server, visual_search};

/// Characters of a pass: 128 bits in hexadecimal.
const PASS_LENGTH: usize = 32;

/// The parts that have a pass each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Mavi,
    VisualSearch,
    OfflineTube,
    /// Plain files, generated ones and the sink.
    Links,
    /// Faults, request log and settings, for tests.
    Control,
}

impl Part {
    /// The part that a path belongs to; `None`: the store, which lets nobody in without a signature. Every route but
    /// the store's begins with one of these literally, so none is reached by another spelling.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let path = path
            .strip_prefix(server::MIRROR)
            .and_then(|rest| rest.find('/').map(|at| &rest[at..]))
            .unwrap_or(path);
        [
            (mavi::BASE, Self::Mavi),
            (visual_search::BASE, Self::VisualSearch),
            (offline_tube::BASE, Self::OfflineTube),
            ("/files/", Self::Links),
            ("/generate/", Self::Links),
            ("/sink", Self::Links),
            (server::MIRROR, Self::Links),
            ("/_sandbox/", Self::Control),
        ]
        .into_iter()
        .find_map(|(start, part)| path.starts_with(start).then_some(part))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mavi => "mavi",
            Self::VisualSearch => "visual search",
            Self::OfflineTube => "offline tube",
            Self::Links => "links",
            Self::Control => "control",
        }
    }
}

/// How a request came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    /// It carries the key of this run.
    pub(crate) by_key: bool,
    /// The pass that it came below, with its slash: what a `Location` within that part begins with.
    pub(crate) pass: String,
}

/// The key of this run and what is made from it.
pub(crate) struct Gate {
    key: String,
}

impl Gate {
    /// With this key, or a new one.
    pub(crate) fn new(key: Option<String>) -> Self {
        Self { key: key.unwrap_or_else(|| random_hex() + &random_hex()) }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The first segment of every address of a part.
    pub(crate) fn pass(&self, part: Part) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_bytes());
        hex(&hmac::sign(&key, part.name().as_bytes()).as_ref()[..PASS_LENGTH / 2])
    }

    /// Lets a request in or answers it. What came below a pass goes on without it.
    pub(crate) fn admit(&self, request: &mut Parts) -> Result<Admission, Box<Response>> {
        if !names_this_computer(request) {
            let why = "This server answers to loopback names only.";
            return Err((StatusCode::MISDIRECTED_REQUEST, why).into_response().into());
        }
        if is_of_a_page(&request.headers) {
            let why = "This server answers no web page.";
            return Err((StatusCode::FORBIDDEN, why).into_response().into());
        }
        let sent = request.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let by_key = sent.is_some_and(|sent| is_same(sent, self.key.as_bytes()));
        if let Some((pass, rest)) = split_pass(request.uri.path())
            && let Some(part) = Part::of(rest)
        {
            if !is_same(pass.as_bytes(), self.pass(part).as_bytes()) {
                return Err(refused(rest).into());
            }
            let admission = Admission { by_key, pass: format!("/{pass}") };
            request.uri = below(&request.uri, rest);
            return Ok(admission);
        }
        let path = request.uri.path();
        if Part::of(path).is_some() && !by_key {
            return Err(refused(path).into());
        }
        Ok(Admission { by_key, pass: String::new() })
    }
}

/// The refusal of whoever has neither key nor pass, as the service behind the path spells it.
fn refused(path: &str) -> Response {
    if path.starts_with(visual_search::BASE) {
        return visual_search::unauthorized();
    }
    server::error_of(path, StatusCode::UNAUTHORIZED)
}

fn split_pass(path: &str) -> Option<(&str, &str)> {
    let (pass, rest) = path.strip_prefix('/')?.split_at_checked(PASS_LENGTH)?;
    (rest.starts_with('/') && pass.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((pass, rest))
}

/// The same address with another path.
fn below(uri: &Uri, path: &str) -> Uri {
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = text.parse::<PathAndQuery>().ok();
    // It is a part of a path that was one before.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Compares without telling by its time how much was right: of two digests that says nothing about what they are of.
fn is_same(sent: &[u8], wanted: &[u8]) -> bool {
    let digest = |text| digest::digest(&digest::SHA256, text);
    digest(sent).as_ref() == digest(wanted).as_ref()
}

/// Only loopback names are served, so that a web page cannot reach the sandbox through a name that it points here.
fn names_this_computer(request: &Parts) -> bool {
    let authority = request
        .uri
        .authority()
        .map(Authority::as_str)
        .or_else(|| request.headers.get(HOST).and_then(|host| host.to_str().ok()))
        .unwrap_or_default();
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(authority, |(host, _)| host);
    matches!(host, "127.0.0.1" | "localhost" | "[::1]" | INSIDE_HOST) || host.ends_with(".localhost")
}

/// Whether a page in a browser is behind a request. Browsers say so themselves and let no page change it: with `Origin`
/// (RFC 6454 §7) on every request that could change something or be read, and with `Sec-Fetch-Site` on the others. An
/// address that was typed in has neither, or `none`.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() != b"none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Result<(String, Admission), u16> {
        let mut request = axum::http::Request::builder().uri(path).header("host", "127.0.0.1:9");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let admitted = gate.admit(&mut parts).map_err(|refusal| refusal.status().as_u16())?;
        Ok((parts.uri.to_string(), admitted))
    }

    #[test]
    fn a_pass_opens_its_own_part_and_no_other() {
        let gate = Gate::new(None);
        let parts = [
            ("/mavi/serve/api/v2/re_1", Part::Mavi),
            ("/tube/api/downloads", Part::OfflineTube),
            ("/sink", Part::Links),
        ];
        for (path, part) in parts {
            for (_, with) in parts {
                let asked = ask(&gate, &format!("/{}{path}?a=%20b", gate.pass(with)), &[]);
                if with == part {
                    let (uri, admission) = asked.unwrap();
                    assert_eq!(uri, format!("{path}?a=%20b"));
                    assert_eq!(admission.pass, format!("/{}", gate.pass(part)));
                } else {
                    assert_eq!(asked.unwrap_err(), 401, "{path} with the pass of {with:?}");
                }
            }
            assert_eq!(ask(&gate, path, &[]).unwrap_err(), 401);
            assert_eq!(ask(&gate, path, &[("authorization", "sandbox-key")]).unwrap_err(), 401);
            assert!(ask(&gate, path, &[("authorization", gate.key())]).unwrap().1.by_key);
        }
        let other = Gate::new(None);
        assert_eq!(ask(&other, &format!("/{}/sink", gate.pass(Part::Links)), &[]).unwrap_err(), 401);
    }

    #[test]
    fn the_way_over_a_mirror_is_no_way_in() {
        let gate = Gate::new(None);
        let over = |path: &str| format!("/mirror/1{path}");
        assert_eq!(ask(&gate, &over("/mavi/serve/api/v2/re_1"), &[]).unwrap_err(), 401);
        let links = gate.pass(Part::Links);
        assert_eq!(
            ask(&gate, &format!("/{links}{}", over("/mavi/serve/api/v2/re_1")), &[]).unwrap_err(),
            401
        );
        assert!(ask(&gate, &format!("/{links}{}", over("/generate/1/a")), &[]).is_ok());
        // One mirror over another would bring what was looked at here to a path that was not.
        assert_eq!(ask(&gate, &over("/mirror/1/tube/api/downloads"), &[]).unwrap_err(), 401);
        assert!(ask(&gate, &format!("/{links}{}", over("/mirror/1/tube/api/downloads")), &[]).is_ok());
    }

    #[test]
    fn pages_and_foreign_hosts_are_refused_whatever_they_know() {
        let gate = Gate::new(None);
        let key = gate.key().to_owned();
        let with = |name, value| ask(&gate, "/sink", &[("authorization", key.as_str()), (name, value)]);
        assert_eq!(with("origin", "https://evil.example").unwrap_err(), 403);
        assert_eq!(with("origin", "null").unwrap_err(), 403);
        assert_eq!(with("sec-fetch-site", "cross-site").unwrap_err(), 403);
        assert!(with("sec-fetch-site", "none").is_ok());
        let mut foreign = axum::http::Request::builder()
            .uri("/sink")
            .header("host", "evil.example")
            .header("authorization", gate.key())
            .body(())
            .unwrap()
            .into_parts()
            .0;
        assert_eq!(gate.admit(&mut foreign).unwrap_err().status(), 421);
    }
}
