//! The HTTP client: time limits, redirects, and what its errors mean.
//!
//! One client for everything, so that connections are reused. It follows no redirect by itself, sends no Referer,
//! asks for no compression, and its errors never carry a URL.
//!
//! It speaks HTTP/1.1, also where a server has HTTP/2. That would put all bytes to and from a server on one connection:
//! several connections for a file, which is what helps where each is throttled or loses packets, would be one, an upload
//! would go no faster than the window that the server grants, and each byte costs more (docs/decisions/0021). A server
//! that speaks HTTP/2 only is asked that way.

use std::collections::HashSet;
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::AlertDescription;
use url::{Origin, Url};

use crate::error::{Cause, Error, Result};
use crate::http::pace::Pace;
use crate::secrets::Secret;
use crate::words::{Phrase, Seconds};

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// No byte for this long is a stall (design: "no byte for 30 s").
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How long a store may think after it has the last byte of an upload.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// A server's own work whose state and count do not change for this long is stuck.
const STUCK_LIMIT: Duration = Duration::from_secs(600);
const MOST_REDIRECTS: usize = 10;
/// The most of an error's body that is read.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// How long Ferry waits for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// No byte for this long: the connection is given up and made anew.
    pub stall: Duration,
    /// From the last byte of an upload to the answer.
    pub answer: Duration,
    /// A job on a server that does not move on for this long is given up.
    pub stuck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stall: STALL_LIMIT, answer: ANSWER_LIMIT, stuck: STUCK_LIMIT }
    }
}

/// The client and its limits.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// For servers that speak nothing else, and which those are.
    http2: reqwest::Client,
    only_http2: Arc<Mutex<HashSet<Origin>>>,
    /// How long to wait for what.
    pub limits: Limits,
}

impl Http {
    /// Makes the client. Proxies are taken from the system and the usual variables.
    pub fn new(limits: Limits) -> Result<Self> {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |http2: bool| {
            let builder = reqwest::Client::builder();
            let builder = if http2 { builder.http2_adaptive_window(true) } else { builder.http1_only() };
            builder
                .user_agent(concat!("Ferry/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_LIMIT)
                .tcp_nodelay(true)
                .pool_max_idle_per_host(16)
        };
        let build = |http2| {
            builder(http2)
                .build()
                .or_else(|error| {
                    // A small system may have no list of authorities. What needs none of them works all the same, and
                    // every secure connection is refused with its own error.
                    tracing::warn!(%error, "no certificates of authorities were found on this computer");
                    builder(http2).tls_certs_only([]).build()
                })
                .map_err(|error| {
                    Error::internal("The network part of Ferry did not start")
                        .because(error.without_url().to_string())
                })
        };
        Ok(Self { client: build(false)?, http2: build(true)?, only_http2: Arc::default(), limits })
    }

    fn only_http2(&self) -> std::sync::MutexGuard<'_, HashSet<Origin>> {
        self.only_http2.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request to be completed by the caller.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let client = if self.only_http2().contains(&url.origin()) { &self.http2 } else { &self.client };
        client.request(method, url)
    }

    /// Sends a request and waits for the answer's head, no longer than the stall limit.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        match tokio::time::timeout(self.limits.stall, self.execute(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(stalled(self.limits.stall)),
        }
    }

    /// The same, without a limit.
    pub async fn execute(&self, request: RequestBuilder) -> Result<Response> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| from_reqwest(&error))?;
        let (origin, again) = (request.url().origin(), request.try_clone());
        match client.execute(request).await {
            Err(error) if refuses_http1(&error) => {}
            answer => return answer.map_err(|error| from_reqwest(&error)),
        }
        tracing::debug!("a server speaks HTTP/2 only");
        self.only_http2().insert(origin);
        match again {
            Some(request) => self.http2.execute(request).await.map_err(|error| from_reqwest(&error)),
            // A body that cannot be sent twice: the next attempt goes the other way.
            None => Err(Error::new(Cause::CutShort, Phrase::ConnectionBroke)),
        }
    }

    /// Fetches by the rules for redirects: GET at most ten, the key dropped on any change of origin, never from
    /// https to http, never out of http; a POST only within its origin, by 307 or 308.
    pub async fn fetch(&self, fetch: &Fetch, extra: &HeaderMap) -> Result<Response> {
        let mut url = fetch.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = extra.clone();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if let Some(key) = &fetch.key
                && url.origin() == fetch.url.origin()
            {
                headers.insert(AUTHORIZATION, header_secret(key)?);
            }
            let mut request = self.request(fetch.method(), url.clone()).headers(headers);
            if let Some(body) = &fetch.post {
                request = request.json(body.as_ref());
            }
            let pace = fetch.pace.as_ref().filter(|_| url.origin() == fetch.url.origin());
            if let Some(pace) = pace {
                pace.ready().await;
            }
            let answer = self.send(request).await?;
            if let Some(pace) = pace
                && asks_for_less(answer.status())
            {
                pace.keep();
            }
            if !is_redirect(answer.status()) {
                return Ok(answer);
            }
            let Some(location) = answer.headers().get(LOCATION) else { return Ok(answer) };
            url = redirected(&url, location, fetch.post.is_some(), answer.status())?;
        }
        Err(Error::new(Cause::BadResponse, Phrase::TooManyRedirects))
    }
}

/// One thing to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    /// Where from. May be a secret: never shown whole.
    pub url: Url,
    /// Sent as POST with this JSON, else as GET.
    pub post: Option<Arc<serde_json::Value>>,
    /// The service's key, for its own origin only.
    pub key: Option<Secret>,
    /// How often the service lets itself be asked for files: each request waits for its turn.
    pub pace: Option<Pace>,
}

impl Fetch {
    /// A plain GET.
    pub fn get(url: Url, key: Option<Secret>) -> Self {
        Self { url, post: None, key, pace: None }
    }

    fn method(&self) -> Method {
        if self.post.is_some() { Method::POST } else { Method::GET }
    }
}

/// The key as a header that the client's own logging leaves out.
pub(crate) fn header_secret(key: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(key.expose())
        .map_err(|_| Error::new(Cause::Unauthorized, Phrase::KeyUnusable))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether an answer may mean that too much was asked: a service says so by 400, too.
pub(crate) fn asks_for_less(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 429)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirected(from: &Url, location: &HeaderValue, is_post: bool, status: StatusCode) -> Result<Url> {
    let bad = |what| Error::new(Cause::BadResponse, what);
    let text = std::str::from_utf8(location.as_bytes()).map_err(|_| bad(Phrase::RedirectUnreadable))?;
    let target = from.join(text).map_err(|_| bad(Phrase::RedirectToNoAddress))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(Error::new(Cause::InsecureRedirect, Phrase::RedirectOutOfTheWeb)
            .because(Phrase::LeadsToScheme { scheme: target.scheme().to_owned() }));
    }
    if from.scheme() == "https" && target.scheme() == "http" {
        return Err(Error::new(Cause::InsecureRedirect, Phrase::RedirectUnencrypted));
    }
    if !target.username().is_empty() || target.password().is_some() {
        return Err(Error::new(Cause::InsecureRedirect, Phrase::RedirectWithUserName));
    }
    if is_post && (!matches!(status.as_u16(), 307 | 308) || from.origin() != target.origin()) {
        return Err(bad(Phrase::RedirectNotAllowed));
    }
    Ok(target)
}

/// Reads an error's body, as far as it is worth reading, no longer than this in all.
pub(crate) async fn error_body(mut answer: Response, limit: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < ERROR_BODY_LIMIT
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What came is shown; an error about an error helps nobody.
    let _ = tokio::time::timeout(limit, reading).await;
    body.truncate(ERROR_BODY_LIMIT);
    body
}

/// No byte for too long.
pub(crate) fn stalled(limit: Duration) -> Error {
    Error::new(Cause::Stalled, Phrase::NothingMoved { seconds: Seconds(limit.as_secs()) })
}

/// Whether a server broke off because it does not speak the one protocol that it was offered (RFC 7301, section 3.2).
fn refuses_http1(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |error| (*error).source())
        .filter_map(tls_error)
        .any(|error| matches!(error, rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

/// TLS's own error. It comes wrapped in an I/O error, which hides it from `source`.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = || error.downcast_ref::<std::io::Error>()?.get_ref().and_then(|inner| tls_error(inner));
    error.downcast_ref().or_else(wrapped)
}

/// What an error of the HTTP client means. Its URL is left out: it may be a secret.
pub(crate) fn from_reqwest(error: &reqwest::Error) -> Error {
    let mut reasons = Vec::new();
    let mut cause = None;
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(io) = source.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as K;
            cause = cause.or(match io.kind() {
                K::NetworkUnreachable | K::NetworkDown => Some(Cause::Offline),
                K::TimedOut => Some(Cause::Stalled),
                K::ConnectionRefused | K::HostUnreachable | K::AddrNotAvailable => Some(Cause::Unreachable),
                _ => None,
            });
        }
        if tls_error(source).is_some() {
            cause = Some(Cause::Tls);
        }
        let text = source.to_string();
        if text.contains("dns error") || text.contains("failed to lookup address") {
            cause = cause.or(Some(Cause::Dns));
        }
        if is_no_http(&text) {
            cause = cause.or(Some(Cause::BadResponse));
        }
        reasons.push(text);
        next = source.source();
    }
    let cause = cause.unwrap_or(if error.is_connect() {
        if error.is_timeout() { Cause::Stalled } else { Cause::Unreachable }
    } else if error.is_timeout() {
        Cause::Stalled
    } else if error.is_builder() {
        Cause::InvalidInput
    } else {
        Cause::CutShort
    });
    let cause = if cause == Cause::Dns && !has_network() { Cause::Offline } else { cause };
    let what = match cause {
        Cause::Offline => Phrase::NoNetwork,
        Cause::Dns => Phrase::ServerNotFound,
        Cause::Tls => Phrase::NoSecureConnection,
        Cause::Stalled => Phrase::NoAnswerInTime,
        Cause::Unreachable => Phrase::ServerNotReached,
        Cause::InvalidInput => Phrase::RequestImpossible,
        Cause::BadResponse => Phrase::NoValidHttp,
        _ => Phrase::ConnectionBroke,
    };
    let mut fault = Error::new(cause, what);
    // The innermost reason is the operating system's or the protocol's own; the layers above repeat it.
    if let Some(reason) = reasons.pop().filter(|reason| !says_no_more(reason)) {
        let plain = reason.split(" (os error").next().unwrap_or(&reason).to_owned();
        fault.why = Some(plain.into());
    }
    fault
}

/// Words of the HTTP library for a head that cannot be read, or is larger than any that means well.
fn is_no_http(reason: &str) -> bool {
    reason == "message head is too large" || (reason.starts_with("invalid ") && reason.contains(" parsed"))
}

/// Words of the HTTP library for a body that ended early: the sentence above says it better.
fn says_no_more(reason: &str) -> bool {
    ["end of file before", "unexpected EOF", "connection closed before message completed"]
        .iter()
        .any(|known| reason.contains(known))
}

/// Whether this computer has a way out at all. Connecting a UDP socket sends nothing; it only asks the system for a
/// route, here to addresses that are reserved for documentation.
pub(crate) fn has_network() -> bool {
    [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")]
        .iter()
        .any(|(from, to)| std::net::UdpSocket::bind(from).and_then(|socket| socket.connect(to)).is_ok())
}
