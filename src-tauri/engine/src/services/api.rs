//! What the services' APIs have in common: a base URL, a key, a pace, and one reading of every answer.

use std::fmt;
use std::marker::PhantomData;
use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use serde::Deserializer as _;
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::foreign::Foreign;
use crate::http::address::is_loopback;
use crate::http::answer::{self, Refusal, RefusalKind};
use crate::http::origin::BoundKey;
use crate::http::pace::{Limit, Pace, Paces};
use crate::http::packed::unpacked;
use crate::http::reach::Reach;
use crate::http::{self, Fetch, Http};
use crate::service::About;
use crate::services::Kind;
use crate::words::{Peer, Phrase};

/// The most of an API answer that is read, in bytes. The longest are lists of twenty entries.
const ANSWER_LIMIT: usize = 512 * 1024;
/// The most of a list without pages: ten thousand entries fit.
const LIST_LIMIT: usize = 32 * 1024 * 1024;

/// A service's API.
#[derive(Clone)]
pub(crate) struct Api {
    http: Http,
    about: &'static About,
    /// Whose habits it has: the sandbox's parts have those of the services that they stand for.
    part: &'static Kind,
    base: Url,
    key: Option<BoundKey>,
    paces: Paces,
}

/// A call of an endpoint: what, where, with what.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub url: Url,
    pub body: Option<&'a Value>,
    pub pace: Pace,
}

/// An answer as it came.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    /// How far an address may lead that it names.
    reach: Reach,
    body: Vec<u8>,
}

/// What a service told.
pub(crate) struct Told<T> {
    pub data: T,
    /// What time it is there.
    pub their_time: Option<SystemTime>,
    /// How far an address may lead that stands in it.
    pub reach: Reach,
}

impl Api {
    /// The API below this base URL.
    pub fn new(
        http: Http,
        kind: &'static Kind,
        base: &str,
        key: Option<BoundKey>,
        paces: Paces,
    ) -> Result<Self> {
        let base = Url::parse(base).map_err(|error| {
            Error::invalid(Phrase::AddressUnusable { service: Peer::service(kind.about.id) })
                .because(error.to_string())
        })?;
        Ok(Self { http, about: &kind.about, part: kind, base, key, paces })
    }

    /// The URL of an endpoint. Every part becomes exactly one path segment, whatever it holds.
    pub fn url(&self, parts: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        if parts.iter().any(|part| matches!(*part, "." | ".." | "")) {
            return Err(Error::invalid(Phrase::IdUnusable).advise(Phrase::CheckId));
        }
        url.path_segments_mut()
            .map_err(|()| Error::invalid(Phrase::AddressUnusable { service: self.peer() }))?
            .pop_if_empty()
            .extend(parts);
        Ok(url)
    }

    /// The same API with the habits of this service.
    pub fn of(self, part: &'static Kind) -> Self {
        Self { part, ..self }
    }

    /// How to fetch a file from this endpoint.
    pub fn fetch(&self, url: Url, post: Option<Value>, endpoint: &str, limit: Limit) -> Fetch {
        let mut fetch = Fetch::get(url, self.key.clone()).posting(post);
        fetch.pace = Some(self.pace(endpoint, limit));
        fetch
    }

    /// The pace of an endpoint. A service on this computer is asked as often as wanted until it says that this is too
    /// much: the published limits are those of the real ones.
    fn pace(&self, endpoint: &str, limit: Limit) -> Pace {
        let name = format!("{}/{}/{endpoint}", self.about.id, self.part.about.id);
        self.paces.of(name, limit, is_loopback(&self.base))
    }

    /// A call of this endpoint, in its turn.
    pub fn call<'a>(
        &self,
        method: Method,
        url: Url,
        body: Option<&'a Value>,
        endpoint: &str,
        limit: Limit,
    ) -> Call<'a> {
        Call { method, url, body, pace: self.pace(endpoint, limit) }
    }

    /// Makes a call and gives the answer, whatever it is.
    async fn ask(&self, call: &Call<'_>, limit: usize) -> Result<Answered> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if let Some(key) = self.key.as_ref().map(|key| key.header_for(&call.url)).transpose()?.flatten() {
            request = request.header(AUTHORIZATION, key);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        call.pace.ready().await;
        let answer = self.http.send(request, Reach::Anywhere).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let reach = self.http.reach_on_word_of(&answer);
        Ok(Answered { status, headers, reach, body: self.body(answer, limit).await? })
    }

    /// Makes a call that is answered with the envelope, and gives its `data`.
    pub async fn data<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        Ok(self.told_data(call).await?.data)
    }

    /// The same, with what is known of the service that told it.
    pub async fn told_data<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Told<T>> {
        let Answered { status, headers, reach, body } = self.ask(&call, ANSWER_LIMIT).await?;
        let data = answer::envelope_data(status, &headers, &body)
            .map_err(|refusal| self.refused(&refusal, &call))?;
        Ok(Told { data, their_time: answer::their_time(&headers), reach })
    }

    /// Makes a call about something that need not be there. Fine once the service itself has spoken of that, in its envelope, as
    /// it does to those alone whose key it takes: what else answers there, or leads elsewhere, accepts nothing.
    pub async fn speaks_of(&self, call: Call<'_>) -> Result<()> {
        let Answered { status, headers, body, .. } = self.ask(&call, ANSWER_LIMIT).await?;
        let refusal = match answer::envelope_data::<IgnoredAny>(status, &headers, &body) {
            Ok(_) if status != StatusCode::NO_CONTENT => return Ok(()),
            Ok(_) => {
                Refusal { kind: RefusalKind::NotAsDocumented, ..answer::decode(status, &headers, &body) }
            }
            Err(refusal) => refusal,
        };
        let is_about_it = status.is_success()
            || matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY
            );
        let is_spoken = refusal.code.is_some() && is_about_it;
        let error = self.refused(&refusal, &call);
        if is_spoken && matches!(error.cause, Cause::NotFound | Cause::ServiceRefused) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Makes a call that is answered with bare JSON.
    pub async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        self.bare(&call, ANSWER_LIMIT, |text| serde_json::from_slice(text)).await
    }

    /// Makes a call that is answered with a list as bare JSON, and gives the entry that is wanted. The others are read
    /// and forgotten one by one: millions of trifles take no more memory than they have bytes. One that cannot be read
    /// does not hide the others.
    pub async fn found<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<T>> {
        self.bare(&call, LIST_LIMIT, |text| {
            serde_json::Deserializer::from_slice(text).deserialize_seq(Find(&is_wanted, PhantomData))
        })
        .await
    }

    async fn bare<T>(
        &self,
        call: &Call<'_>,
        limit: usize,
        read: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T> {
        let Answered { status, headers, body, .. } = self.ask(call, limit).await?;
        if !status.is_success() {
            return Err(self.refused(&answer::decode(status, &headers, &body), call));
        }
        let text = if status == StatusCode::NO_CONTENT { b"null" } else { &body[..] };
        read(text).map_err(|error| {
            let mut refusal = answer::decode(status, &headers, &body);
            // What was only accepted (202) may hold it later.
            if refusal.kind != RefusalKind::NotReady {
                refusal.kind = RefusalKind::NotAsDocumented;
            }
            if refusal.message.is_empty() {
                refusal.message = Foreign::limited(&error.to_string(), answer::LONGEST_MESSAGE);
            }
            self.refused(&refusal, call)
        })
    }

    async fn body(&self, mut answer: Response, limit: usize) -> Result<Vec<u8>> {
        let (headers, mut body) = (answer.headers().clone(), Vec::new());
        let reading = async {
            while let Some(chunk) = answer.chunk().await.map_err(|error| http::from_reqwest(&error))? {
                if body.len() + chunk.len() > limit {
                    return Err(Error::new(
                        Cause::BadResponse,
                        Phrase::EndlessAnswer { service: self.peer() },
                    ));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        // An API's answer is small; one that drips for ever is as good as none.
        match tokio::time::timeout(self.http.limits.answer, reading).await {
            Ok(read) => read.map(|()| unpacked(&headers, &body, limit).into_owned()),
            Err(_) => Err(http::stalled(self.http.limits.answer)),
        }
    }

    /// What a refusal means for the user of this service.
    fn refused(&self, refusal: &Refusal, call: &Call<'_>) -> Error {
        let kind = refusal.meaning_in(self.part.refusals).unwrap_or(refusal.kind);
        if matches!(kind, RefusalKind::RateLimited | RefusalKind::LimitOrInvalid) {
            call.pace.keep();
        }
        let endpoint = format!("{} {}", call.method, call.url.path());
        from_refusal(&Refusal { kind, ..refusal.clone() }, self.peer(), &endpoint)
    }

    fn peer(&self) -> Peer {
        Peer::service(self.about.id)
    }
}

/// Reads a list for the one entry that is wanted.
struct Find<'a, T, F>(&'a F, PhantomData<T>);

impl<'de, T: DeserializeOwned, F: Fn(&T) -> bool> Visitor<'de> for Find<'_, T, F> {
    type Value = Option<T>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(entry) = list.next_element::<&RawValue>()? {
            if found.is_none() {
                found = serde_json::from_str(entry.get()).ok().filter(|entry| (self.0)(entry));
            }
        }
        Ok(found)
    }
}

/// Turns a decoded refusal into Ferry's error.
pub(crate) fn from_refusal(refusal: &Refusal, service: Peer, endpoint: &str) -> Error {
    use RefusalKind as K;
    let account = service.about().and_then(|about| about.account);
    let (cause, what) = match refusal.kind {
        K::Unauthorized => (Cause::Unauthorized, Phrase::KeyRefused { service }),
        K::RateLimited => (Cause::RateLimited, Phrase::PauseAsked { service }),
        K::LimitOrInvalid => (Cause::LimitOrInvalid, Phrase::LimitOrInvalid { service }),
        K::QuotaExceeded => (Cause::QuotaExceeded, Phrase::NothingLeft { service }),
        K::PaymentAsked => (Cause::ServiceRefused, Phrase::PaymentAsked { service }),
        K::NotFound => (Cause::NotFound, Phrase::ItemNotThere { service }),
        K::NotFoundOrTrouble => (Cause::ServiceHiccup, Phrase::ItemNotThereOrTrouble { service }),
        K::NotReady => (Cause::NotReady, Phrase::ItemNotFinished { service }),
        K::Expired => (Cause::Expired, Phrase::SignedUrlExpired),
        K::NotYetValid => (Cause::NotYetValid, Phrase::SignedUrlNotYetValid),
        K::ServerTrouble => (Cause::ServerTrouble, Phrase::ServiceHasTrouble { service }),
        K::NotAsDocumented => (Cause::BadResponse, Phrase::UnexpectedAnswer { service }),
        K::Disabled => (Cause::ServiceRefused, Phrase::NotLetIn { service }),
        K::NoPermission => (Cause::ServiceRefused, Phrase::KeyNotForThis { service }),
        K::WrongMethod => (Cause::ServiceRefused, Phrase::MethodNotTaken { service }),
        K::TypeNotTaken => (Cause::ServiceRefused, Phrase::TypeNotTaken { service }),
        K::TooLarge => (Cause::ServiceRefused, Phrase::SizeNotTaken { service }),
        K::Duplicate => (Cause::Duplicate, Phrase::ThereAlready { service }),
        K::DigestRefused => (Cause::ServiceRefused, Phrase::OtherBytesCame { service }),
        K::WrongRegion => (Cause::ServiceRefused, Phrase::InAnotherRegion { service }),
        K::Archived => (Cause::ServiceRefused, Phrase::IsArchived { service }),
        K::SignatureMismatch | K::MalformedRequest | K::Other => {
            (Cause::ServiceRefused, Phrase::ServiceRefused { service })
        }
    };
    let mut words = vec![format!("“{}”", refusal.message)];
    if refusal.message.is_empty() {
        words.clear();
    }
    if let Some(code) = &refusal.code {
        words.push(format!("code {code}"));
    }
    words.push(format!("HTTP {}", refusal.http_status));
    words.push(endpoint.to_owned());
    if let Some(request) = &refusal.request_id {
        words.push(format!("request {request}"));
    }
    let mut error = Error::new(cause, what).because(words.join(", "));
    error.advice = match (refusal.kind, account) {
        (K::NotAsDocumented, _) => Some(Phrase::CheckAddressAndSignIn.into()),
        (K::QuotaExceeded, Some(place)) => Some(Phrase::RechargeAt { place: place.into() }.into()),
        (K::Disabled, Some(place)) => Some(Phrase::SeeAccount { place: place.into() }.into()),
        (K::WrongRegion, _) => Some(Phrase::GetNewSignedUrl.into()),
        _ => None,
    };
    error.retry_after = refusal.retry_after;
    error.http_status = Some(refusal.http_status);
    error
}
