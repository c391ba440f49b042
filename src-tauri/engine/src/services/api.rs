//! What the services' APIs have in common: a base URL, a key, a pace, and one reading of every answer.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::error::{Cause, Error, Result};
use crate::http::answer::{self, Refusal, RefusalKind};
use crate::http::{self, Fetch, Http};
use crate::secrets::Secret;
use crate::services::About;
use crate::upload::signed_url::is_loopback;
use crate::words::{Peer, Phrase};

/// The most of an API answer that is read: lists of ten thousand entries fit.
const ANSWER_LIMIT: usize = 32 * 1024 * 1024;

/// One pace for each (service, key, endpoint), shared by all transfers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limiters(Arc<Mutex<HashMap<String, Arc<DefaultDirectRateLimiter>>>>);

impl Limiters {
    async fn turn(&self, name: String, quota: Quota) {
        let limiter = {
            let mut limiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(limiters.entry(name).or_insert_with(|| Arc::new(RateLimiter::direct(quota))))
        };
        limiter.until_ready().await;
    }
}

/// How often an endpoint may be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Once in this time.
    OnceIn(Duration),
    /// This often a second.
    PerSecond(NonZeroU32),
    /// As often as wanted.
    Free,
}

/// A service's API.
#[derive(Clone)]
pub(crate) struct Api {
    http: Http,
    about: &'static About,
    base: Url,
    key: Option<Secret>,
    limiters: Limiters,
}

impl Api {
    /// The API below this base URL.
    pub fn new(
        http: Http,
        about: &'static About,
        base: &str,
        key: Option<Secret>,
        limiters: Limiters,
    ) -> Result<Self> {
        let base = Url::parse(base).map_err(|error| {
            Error::invalid(Phrase::AddressUnusable { service: Peer::service(about.id) })
                .because(error.to_string())
        })?;
        Ok(Self { http, about, base, key, limiters })
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

    /// How to fetch a file from this service.
    pub fn fetch(&self, url: Url, post: Option<Value>) -> Fetch {
        Fetch::get(url, self.key.clone()).posting(post)
    }

    /// Waits for this endpoint's turn. A service on this computer is asked as often as wanted: the published
    /// limits are those of the real ones.
    pub async fn turn(&self, endpoint: &str, pace: Pace) {
        let quota = match pace {
            Pace::OnceIn(time) => Quota::with_period(time),
            Pace::PerSecond(times) => Some(Quota::per_second(times)),
            Pace::Free => None,
        };
        if let Some(quota) = quota
            && !is_loopback(&self.base)
        {
            self.limiters.turn(format!("{}/{endpoint}", self.about.id), quota).await;
        }
    }

    /// Calls an endpoint and gives the answer, whatever it is.
    pub async fn call(&self, method: Method, url: Url, body: Option<&Value>) -> Result<(Response, String)> {
        let endpoint = format!("{method} {}", url.path());
        let mut request = self.http.request(method, url);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, http::header_secret(key)?);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok((self.http.send(request).await?, endpoint))
    }

    /// Calls an endpoint that answers with the envelope, and gives its `data`.
    pub async fn data<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<T> {
        Ok(self.dated_data(method, url, body).await?.0)
    }

    /// The same, with what time it is for the service.
    pub async fn dated_data<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<(T, Option<SystemTime>)> {
        let (answer, endpoint) = self.call(method, url, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = self.body(answer).await?;
        let data = answer::envelope_data(status, &headers, &body)
            .map_err(|refusal| self.refused(&refusal, &endpoint))?;
        Ok((data, answer::their_time(&headers)))
    }

    /// Calls an endpoint that answers with bare JSON.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<T> {
        let (answer, endpoint) = self.call(method, url, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = self.body(answer).await?;
        if !status.is_success() {
            return Err(self.refused(&answer::decode(status, &headers, &body), &endpoint));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let mut refusal = answer::decode(status, &headers, &body);
            refusal.kind = RefusalKind::NotAsDocumented;
            if refusal.message.is_empty() {
                refusal.message = answer::clean(&error.to_string(), answer::LONGEST_MESSAGE);
            }
            self.refused(&refusal, &endpoint)
        })
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let reading = async {
            while let Some(chunk) = answer.chunk().await.map_err(|error| http::from_reqwest(&error))? {
                if body.len() + chunk.len() > ANSWER_LIMIT {
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
            Ok(read) => read.map(|()| body),
            Err(_) => Err(http::stalled(self.http.limits.answer)),
        }
    }

    /// What a refusal means for the user of this service.
    pub fn refused(&self, refusal: &Refusal, endpoint: &str) -> Error {
        from_refusal(refusal, self.peer(), endpoint)
    }

    fn peer(&self) -> Peer {
        Peer::service(self.about.id)
    }
}

/// Turns a decoded refusal into Ferry's error.
pub(crate) fn from_refusal(refusal: &Refusal, service: Peer, endpoint: &str) -> Error {
    let (cause, what) = match refusal.kind {
        RefusalKind::Unauthorized => (Cause::Unauthorized, Phrase::KeyRefused { service }),
        RefusalKind::RateLimited => (Cause::RateLimited, Phrase::PauseAsked { service }),
        RefusalKind::NotFound => (Cause::NotFound, Phrase::ItemNotThere { service }),
        RefusalKind::NotFoundOrTrouble => (Cause::ServiceHiccup, Phrase::ItemNotThereOrTrouble { service }),
        RefusalKind::NotReady => (Cause::NotReady, Phrase::ItemNotFinished { service }),
        RefusalKind::Expired => (Cause::Expired, Phrase::SignedUrlExpired),
        RefusalKind::ServerTrouble => (Cause::ServerTrouble, Phrase::ServiceHasTrouble { service }),
        RefusalKind::NotAsDocumented => (Cause::BadResponse, Phrase::UnexpectedAnswer { service }),
        _ => (Cause::ServiceRefused, Phrase::ServiceRefused { service }),
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
    if refusal.kind == RefusalKind::NotAsDocumented {
        error.advice = Some(Phrase::CheckAddressAndSignIn.into());
    }
    error.retry_after = refusal.retry_after;
    error.http_status = Some(refusal.http_status);
    error
}
