//! How often the endpoints of a service may be asked: one bucket for each account and endpoint, shared by all transfers.
//!
//! All keys of an account count together at the service. Which keys are of one account cannot be known; what goes to one
//! service counts as one account.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// What a service's documents allow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// Once in this time.
    OnceIn(Duration),
    /// This often a second.
    PerSecond(NonZeroU32),
    /// As often as wanted.
    Free,
}

/// The pace of one endpoint. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    rate: Option<DefaultDirectRateLimiter>,
    /// Whether it is kept to: always for a service elsewhere, for one on this computer once that has asked for it.
    is_kept: AtomicBool,
}

impl Pace {
    fn new(limit: Limit, is_kept: bool) -> Self {
        let quota = match limit {
            Limit::OnceIn(time) => Quota::with_period(time),
            Limit::PerSecond(times) => Some(Quota::per_second(times)),
            Limit::Free => None,
        };
        Self(Arc::new(Bucket { rate: quota.map(RateLimiter::direct), is_kept: AtomicBool::new(is_kept) }))
    }

    /// Waits until the next request may go out, and counts it. To be awaited before each one.
    pub async fn ready(&self) {
        if let Some(rate) = &self.0.rate
            && self.0.is_kept.load(Ordering::Relaxed)
        {
            rate.until_ready().await;
        }
    }

    /// The other side said that this was too much: from here on the pace is kept to, wherever the service is.
    pub fn keep(&self) {
        self.0.is_kept.store(true, Ordering::Relaxed);
    }
}

/// The paces of all endpoints.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paces(Arc<Mutex<HashMap<(String, bool), Pace>>>);

impl Paces {
    /// The pace of this endpoint. `is_here`: the service runs on this computer, where the published limits do not hold
    /// unless it says so.
    pub fn of(&self, endpoint: String, limit: Limit, is_here: bool) -> Pace {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.entry((endpoint, is_here)).or_insert_with(|| Pace::new(limit, !is_here)).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_an_endpoint_share_its_pace() {
        let paces = Paces::default();
        let once = Limit::OnceIn(Duration::from_millis(100));
        let (one, same) = (paces.of("a/x".into(), once, false), paces.of("a/x".into(), once, false));
        let other = paces.of("a/y".into(), once, false);
        let began = Instant::now();
        one.ready().await;
        other.ready().await;
        assert!(began.elapsed() < Duration::from_millis(90), "another endpoint has a pace of its own");
        tokio::join!(one.ready(), same.ready());
        assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_service_on_this_computer_has_a_pace_once_it_asks_for_one() {
        let pace = Paces::default().of("a/x".into(), Limit::OnceIn(Duration::from_millis(100)), true);
        let began = Instant::now();
        for _ in 0..50 {
            pace.ready().await;
        }
        assert!(began.elapsed() < Duration::from_millis(90), "{:?}", began.elapsed());
        pace.keep();
        for _ in 0..3 {
            pace.ready().await;
        }
        assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    }
}
