//! The HTTP client: time limits, redirects, and what its errors mean.
//!
//! One client for everything, so that connections are reused. It follows no redirect by itself, sends no Referer,
//! asks for no compression, and its errors never carry a URL.
//!
//! It speaks HTTP/1.1, also where a server has HTTP/2. That would put all bytes to and from a server on one connection:
//! several connections for a file, which is what helps where each is throttled or loses packets, would be one, an upload
//! would go no faster than the window that the server grants, and each byte costs more (docs/decisions/0021). A server
//! that speaks HTTP/2 only is asked that way.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ferry_sandbox::{INSIDE_HOST, Sandbox};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, COOKIE, GetAll, HeaderMap, HeaderValue, LOCATION, SET_COOKIE,
};
use reqwest::{Method, RequestBuilder, Response, ResponseBuilderExt as _, StatusCode};
use rustls::AlertDescription;
use url::{Origin, Url};

use crate::error::{Cause, Error, Result};
use crate::http::address::is_loopback;
use crate::http::checksum::{Offered, offered_on_the_way};
use crate::http::origin::BoundKey;
use crate::http::pace::Pace;
use crate::http::reach::{Destination, LedInward, Names, Reach, is_inward, shows_inward};
use crate::redaction;
use crate::words::{Phrase, Seconds};

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// No byte for this long is a stall (design: "no byte for 30 s").
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// A server may pack or fetch the file before it can send the first byte of its answer.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(300);
/// How long a store may think after it has the last byte of an upload.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// A server's own work whose state and count do not change for this long is stuck.
const STUCK_LIMIT: Duration = Duration::from_secs(600);
const MOST_REDIRECTS: usize = 10;
/// How long the body of a redirect may take that names a checksum.
const REDIRECT_BODY_LIMIT: Duration = Duration::from_secs(2);
/// The most of an error's body that is read.
pub(crate) const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// How long Ferry waits for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// No byte for this long: the connection is given up and made anew.
    pub stall: Duration,
    /// From a request for a file to the first byte of the answer.
    pub first_byte: Duration,
    /// From the last byte of an upload to the answer.
    pub answer: Duration,
    /// A job on a server that does not move on for this long is given up.
    pub stuck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stall: STALL_LIMIT, first_byte: FIRST_BYTE_LIMIT, answer: ANSWER_LIMIT, stuck: STUCK_LIMIT }
    }
}

/// The clients for one way out, and the servers that were found out about.
#[derive(Debug, Clone)]
struct Clients {
    http1: reqwest::Client,
    /// For servers that speak nothing else.
    http2: reqwest::Client,
}

/// Who is asked in place of a server, by requests to [`INSIDE_HOST`].
#[derive(Clone, Default)]
struct Inside(Arc<RwLock<Option<Arc<Sandbox>>>>);

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inside")
    }
}

/// The client and its limits.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// By way of a proxy, if there is one.
    outward: Clients,
    /// For this computer itself.
    loopback: Clients,
    /// By no proxy, and to the public network only.
    guarded: Clients,
    /// Which addresses are asked for by way of a proxy.
    proxies: Arc<Matcher>,
    only_http2: Arc<Mutex<HashSet<Origin>>>,
    servers: Arc<Mutex<HashMap<Origin, Server>>>,
    /// The service that runs inside this process.
    inside: Inside,
    /// How long to wait for what.
    pub limits: Limits,
}

impl Http {
    /// Makes the client. Proxies are taken from the system and the usual variables.
    pub fn new(limits: Limits) -> Result<Self> {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clients = |has_proxy, reach| {
            Ok::<_, Error>(Clients {
                http1: client(false, has_proxy, reach)?,
                http2: client(true, has_proxy, reach)?,
            })
        };
        Ok(Self {
            outward: clients(true, Reach::Anywhere)?,
            loopback: clients(false, Reach::Anywhere)?,
            guarded: clients(false, Reach::Outward)?,
            proxies: Arc::new(Matcher::from_system()),
            only_http2: Arc::default(),
            servers: Arc::default(),
            inside: Inside::default(),
            limits,
        })
    }

    fn only_http2(&self) -> std::sync::MutexGuard<'_, HashSet<Origin>> {
        self.only_http2.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, HashMap<Origin, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most connections at a time that a server has been seen to allow, in this run of Ferry.
    pub fn ceiling(&self, url: &Url) -> Option<usize> {
        self.servers().get(&url.origin())?.ceiling
    }

    /// A place among those who fetch from a server at a time. `Err` is the most that it allows, if all are taken.
    pub fn seat(&self, url: &Url) -> Result<Seat, usize> {
        let origin = url.origin();
        let mut servers = self.servers();
        let server = servers.entry(origin.clone()).or_default();
        if let Some(ceiling) = server.ceiling.filter(|ceiling| server.seats >= *ceiling) {
            return Err(ceiling);
        }
        server.seats += 1;
        drop(servers);
        Ok(Seat { servers: Arc::clone(&self.servers), origin, brings: false })
    }

    /// How many a body is coming in to from a server.
    pub fn served(&self, url: &Url) -> usize {
        self.servers().get(&url.origin()).map_or(0, |server| server.brings)
    }

    /// A server has refused one more than those who are being served by it just now. False if there are none: then that
    /// was no reason.
    pub fn learn_ceiling(&self, url: &Url) -> bool {
        let mut servers = self.servers();
        let Some(server) = servers.get_mut(&url.origin()).filter(|server| server.brings > 0) else {
            return false;
        };
        server.ceiling = Some(server.ceiling.map_or(server.brings, |known| known.min(server.brings)));
        true
    }

    /// Whether it is by way of a proxy that this is asked for.
    fn goes_by_proxy(&self, url: &Url) -> bool {
        !is_loopback(url)
            && url.as_str().parse().is_ok_and(|address| self.proxies.intercept(&address).is_some())
    }

    fn clients(&self, url: &Url, reach: Reach) -> Result<&Clients> {
        match reach {
            Reach::Anywhere if is_loopback(url) => Ok(&self.loopback),
            Reach::Anywhere => Ok(&self.outward),
            Reach::Outward if shows_inward(url) => Err(led_inward(url)),
            Reach::Outward if self.goes_by_proxy(url) => Ok(&self.outward),
            Reach::Outward => Ok(&self.guarded),
        }
    }

    /// How far an address may lead that this answer names: whoever is inside may name neighbours.
    pub fn reach_on_word_of(&self, answer: &Response) -> Reach {
        let url = answer.url();
        let came_from = answer.remote_addr().filter(|_| !self.goes_by_proxy(url));
        let is_inside = shows_inward(url) || came_from.is_some_and(|peer| is_inward(peer.ip()));
        if is_inside { Reach::Anywhere } else { Reach::Outward }
    }

    /// A request to be completed by the caller. How far it may go is said when it is sent.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.outward.http1.request(method, url)
    }

    /// Sends a request and waits for the answer's head, no longer than the stall limit.
    pub async fn send(&self, request: RequestBuilder, reach: Reach) -> Result<Response> {
        self.send_within(self.limits.stall, request, reach).await
    }

    async fn send_within(&self, limit: Duration, request: RequestBuilder, reach: Reach) -> Result<Response> {
        match tokio::time::timeout(limit, self.execute(request, reach)).await {
            Ok(answer) => answer,
            Err(_) => Err(stalled(limit)),
        }
    }

    /// The same, without a limit.
    pub async fn execute(&self, request: RequestBuilder, reach: Reach) -> Result<Response> {
        let request = request.build().map_err(|error| from_reqwest(&error))?;
        let (url, again) = (request.url().clone(), request.try_clone());
        // Whoever answers may repeat what lets in here.
        redaction::learn(&url, request.headers());
        let clients = self.clients(&url, reach)?;
        if url.host_str() == Some(INSIDE_HOST) {
            return self.ask_inside(request).await;
        }
        let has_http1 = !self.only_http2().contains(&url.origin());
        let answer = match if has_http1 { &clients.http1 } else { &clients.http2 }.execute(request).await {
            Err(error) if refuses_http1(&error) => {
                tracing::debug!("a server speaks HTTP/2 only");
                self.only_http2().insert(url.origin());
                let Some(request) = again else {
                    // A body that cannot be sent twice: the next attempt goes the other way.
                    return Err(Error::new(Cause::CutShort, Phrase::ConnectionBroke));
                };
                clients.http2.execute(request).await
            }
            answer => answer,
        };
        let answer = answer
            .map_err(|error| if leads_inward(&error) { led_inward(&url) } else { from_reqwest(&error) })?;
        // Of a server this would make no sense (RFC 9110 §15.5.8): it is the proxy that speaks, if there is one.
        if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED && self.goes_by_proxy(&url) {
            return Err(proxy_wants_sign_in());
        }
        Ok(answer)
    }

    /// Whom requests to [`INSIDE_HOST`] are handed to from now on.
    pub fn set_inside(&self, sandbox: Option<Arc<Sandbox>>) {
        *self.inside.0.write().unwrap_or_else(PoisonError::into_inner) = sandbox;
    }

    /// Hands a request to the service that runs inside this process. With none there is nobody to ask: the name is
    /// never looked for in a network.
    async fn ask_inside(&self, request: reqwest::Request) -> Result<Response> {
        let sandbox = self.inside.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let sandbox = sandbox.ok_or_else(|| Error::new(Cause::Unreachable, Phrase::ServerNotReached))?;
        let url = request.url().clone();
        let request =
            http::Request::<reqwest::Body>::try_from(request).map_err(|error| from_reqwest(&error))?;
        let answer = sandbox.answer(request).await;
        let answer = answer.map_err(|_| Error::new(Cause::CutShort, Phrase::ConnectionBroke))?;
        let (head, body) = answer.map(reqwest::Body::wrap_stream).into_parts();
        // Whose word it is must be known of this answer, too.
        let answer = http::Response::builder().status(head.status).version(head.version).url(url).body(body);
        let mut answer = answer.map_err(|error| Error::internal(error.to_string()))?;
        *answer.headers_mut() = head.headers;
        Ok(answer.into())
    }

    /// Fetches by the rules for redirects: GET at most ten, secrets dropped on any change of origin, never from https to
    /// http, never out of http; a POST only within its origin, by 307 or 308. `from` is where to begin: the address
    /// itself, or where it led before.
    pub async fn fetch(&self, fetch: &Fetch, from: &Destination, extra: &HeaderMap) -> Result<Reached> {
        let Destination { mut url, mut reach } = from.clone();
        let (mut hops, mut wants_cookies) = (Vec::new(), false);
        let mut promised = Promised::default();
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = extra.clone();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if url.origin() == fetch.url.origin() {
                for (name, value) in &fetch.headers {
                    headers.append(name.clone(), value.clone());
                }
            }
            if let Some(key) = fetch.key.as_ref().map(|key| key.header_for(&url)).transpose()?.flatten() {
                headers.insert(AUTHORIZATION, key);
            }
            let set = fetch.cookies.cookies(&url);
            let cookies = cookie_header(&headers.get_all(COOKIE), set.as_ref());
            if let Some(cookies) = cookies {
                headers.insert(COOKIE, cookies);
            }
            let mut request = self.request(fetch.method(), url.clone()).headers(headers);
            if let Some(body) = &fetch.post {
                request = request.json(body.as_ref());
            }
            let pace = fetch.pace.as_ref().filter(|_| url.origin() == fetch.url.origin());
            if let Some(pace) = pace {
                pace.ready().await;
            }
            let answer = self.send_within(self.limits.first_byte, request, reach).await?;
            if let Some(pace) = pace
                && asks_for_less(answer.status())
            {
                pace.keep();
            }
            if answer.headers().contains_key(SET_COOKIE) {
                wants_cookies = true;
                fetch.cookies.set_cookies(&mut answer.headers().get_all(SET_COOKIE).iter(), &url);
            }
            if !is_redirect(answer.status()) {
                return Ok(Reached { answer, hops, reach, promised });
            }
            let Some(location) = answer.headers().get(LOCATION) else {
                return Ok(Reached { answer, hops, reach, promised });
            };
            let next = redirected(&url, location, fetch.post.is_some(), answer.status())?;
            // Where it began may lead anywhere, whoever leads back there.
            let is_own = next.origin() == fetch.url.origin();
            reach = if is_own { Reach::Anywhere } else { self.reach_on_word_of(&answer) };
            promised.learn(Box::pin(self.promised_by(answer)).await);
            hops.push(std::mem::replace(&mut url, next));
        }
        let what = if wants_cookies { Phrase::WantsCookies } else { Phrase::TooManyRedirects };
        Err(Error::new(Cause::BadResponse, what))
    }
}

impl Http {
    /// What a redirect says of the file that it leads to. What it says of its own few words is left out, so these are read
    /// where it matters, no longer than a moment.
    async fn promised_by(&self, answer: Response) -> Promised {
        let headers = answer.headers().clone();
        // Hugging Face's: of the file, where `Content-Length` is of the redirect itself.
        let size = headers.get("x-linked-size").and_then(|size| size.to_str().ok()?.trim().parse().ok());
        let digests = offered_on_the_way(&headers, &[]);
        if digests.all.is_empty() {
            return Promised { digests, size };
        }
        let body = error_body(answer, REDIRECT_BODY_LIMIT.min(self.limits.stall)).await;
        Promised { digests: offered_on_the_way(&headers, &body), size }
    }
}

/// What is known of a server for as long as Ferry runs.
#[derive(Debug, Default)]
struct Server {
    /// Who asks it or is being served by it.
    seats: usize,
    /// Those to whom a body is coming in.
    brings: usize,
    /// The most of them that it allows, once it has refused one more.
    ceiling: Option<usize>,
}

/// A place among those who fetch from a server; free again when it is dropped.
pub(crate) struct Seat {
    servers: Arc<Mutex<HashMap<Origin, Server>>>,
    origin: Origin,
    brings: bool,
}

impl Seat {
    /// A body is coming in.
    pub fn is_served(&mut self) {
        if !std::mem::replace(&mut self.brings, true)
            && let Some(server) =
                self.servers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.origin)
        {
            server.brings += 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(server) = servers.get_mut(&self.origin) else { return };
        server.seats -= 1;
        server.brings -= usize::from(self.brings);
        if server.seats == 0 && server.ceiling.is_none() {
            servers.remove(&self.origin);
        }
    }
}

/// One client: HTTP/2 alone or HTTP/1.1 alone, with the system's proxies or without, to what may be reached.
fn client(http2: bool, has_proxy: bool, reach: Reach) -> Result<reqwest::Client> {
    let builder = || {
        let builder = reqwest::Client::builder();
        let builder = if http2 { builder.http2_adaptive_window(true) } else { builder.http1_only() };
        let builder = if has_proxy { builder } else { builder.no_proxy() };
        builder
            .user_agent(concat!("Ferry/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Names(reach))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .tcp_nodelay(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .pool_max_idle_per_host(16)
    };
    builder()
        .build()
        .or_else(|error| {
            // A small system may have no list of authorities. What needs none of them works all the same, and every
            // secure connection is refused with its own error.
            tracing::warn!(%error, "no certificates of authorities were found on this computer");
            builder().tls_certs_only([]).build()
        })
        .map_err(|error| {
            Error::internal("The network part of Ferry did not start")
                .because(error.without_url().to_string())
        })
}

/// What redirects say of the file that they lead to.
#[derive(Default)]
pub(crate) struct Promised {
    /// Its checksums.
    pub digests: Offered,
    /// Its size in bytes.
    pub size: Option<u64>,
}

impl Promised {
    fn learn(&mut self, later: Self) {
        self.digests.merge(later.digests);
        self.size = later.size.or(self.size);
    }
}

/// An answer, and how it was come by.
pub(crate) struct Reached {
    /// What the last address answered.
    pub answer: Response,
    /// The addresses that led there, in order, without the last.
    pub hops: Vec<Url>,
    /// How far the last one may lead.
    pub reach: Reach,
    /// What those addresses named of the file.
    pub promised: Promised,
}

/// One thing to fetch.
#[derive(Clone)]
pub(crate) struct Fetch {
    /// Where from. May be a secret: never shown whole.
    pub url: Url,
    /// Sent as POST with this JSON, else as GET.
    pub post: Option<Arc<serde_json::Value>>,
    /// The service's key.
    pub key: Option<BoundKey>,
    /// Headers of the user's own, for that origin only.
    pub headers: HeaderMap,
    /// What servers on the way wanted to have back. Lives as long as this transfer runs.
    cookies: Arc<Jar>,
    /// How often the service lets itself be asked for files: each request waits for its turn.
    pub pace: Option<Pace>,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetch({})", self.url.host_str().unwrap_or_default())
    }
}

impl Fetch {
    /// A plain GET.
    pub fn get(url: Url, key: Option<BoundKey>) -> Self {
        Self { url, post: None, key, headers: HeaderMap::new(), cookies: Arc::default(), pace: None }
    }

    /// The same as a POST of this JSON, if there is one.
    #[must_use]
    pub fn posting(mut self, body: Option<serde_json::Value>) -> Self {
        self.post = body.map(Arc::new);
        self
    }

    fn method(&self) -> Method {
        if self.post.is_some() { Method::POST } else { Method::GET }
    }
}

/// The one `Cookie` header (RFC 6265 §5.4 allows no second) of the user's own cookies and those that the site has set on the
/// way. Of the same name the site's is the newer one.
fn cookie_header(own: &GetAll<'_, HeaderValue>, set: Option<&HeaderValue>) -> Option<HeaderValue> {
    fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
        value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
    }
    let name =
        |pair: &'_ [u8]| pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    let set: Vec<&[u8]> = set.into_iter().flat_map(pairs).collect();
    let is_set = |pair: &&[u8]| set.iter().any(|newer| name(newer) == name(pair));
    let own = own.iter().flat_map(pairs).filter(|pair| !is_set(pair));
    let all: Vec<&[u8]> = own.chain(set.iter().copied()).collect();
    let mut header =
        HeaderValue::from_bytes(&all.join(&b"; "[..])).ok().filter(|header| !header.is_empty())?;
    header.set_sensitive(true);
    Some(header)
}

/// A `Location` may hold raw bytes of any encoding; as browsers do, those that are no UTF-8 are percent-encoded as they are.
fn raw_location(location: &HeaderValue) -> String {
    let bytes = location.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => percent_encoding::percent_encode(bytes, percent_encoding::CONTROLS).to_string(),
    }
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
    let target = from.join(&raw_location(location)).map_err(|_| bad(Phrase::RedirectToNoAddress))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(Error::new(Cause::InsecureRedirect, Phrase::RedirectOutOfTheWeb)
            .because(Phrase::LeadsToScheme { scheme: target.scheme().into() }));
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

/// The refusal to go where somebody led who is not inside.
fn led_inward(url: &Url) -> Error {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let place = format!("{}{port}", url.host_str().unwrap_or_default());
    Error::new(Cause::LedInward, Phrase::LedInward).because(Phrase::IsInside { place: place.into() })
}

/// Whether a name was not let through.
fn leads_inward(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |error| (*error).source())
        .any(<dyn std::error::Error>::is::<LedInward>)
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
        // Of the tunnel that a proxy was asked for.
        match text.as_str() {
            "tunnel error: proxy authorization required" => return proxy_wants_sign_in(),
            "tunnel error: unsuccessful" => return proxy_refused(),
            _ => {}
        }
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

fn proxy_wants_sign_in() -> Error {
    Error::new(Cause::ProxyRefused, Phrase::ProxyWantsSignIn)
}

fn proxy_refused() -> Error {
    Error::new(Cause::Unreachable, Phrase::ProxyDidNotConnect)
}

/// Words of the HTTP library for a head that cannot be read, or is larger than any that means well.
fn is_no_http(reason: &str) -> bool {
    let is_unreadable = reason.starts_with("invalid ") || reason.starts_with("unexpected ");
    reason == "message head is too large" || (is_unreadable && reason.contains(" parsed"))
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
