//! Work that is as dumb as it can be: it waits, ends or fails as its plan says, and writes down what it was asked with.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use ferry_engine::seams::{Attempt, Work};
use ferry_engine::{Cause, Error, Result, Transfer};

use super::plan::{Number, Try, What};

/// The size of a short file, and of a long one.
const SIZES: [u64; 2] = [1_000, 3 << 20];

/// What the world knows of a transfer.
#[derive(Debug, Clone)]
struct Known {
    what: What,
    is_long: bool,
    /// What its next attempts come to, the last one first.
    tries: Vec<Try>,
    /// What is only in memory went with a life of Ferry's.
    may_lack_secrets: bool,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Number, Known>,
    at_work: HashSet<Number>,
    breaches: Vec<String>,
    attempts: u64,
}

/// The world, for every life of Ferry's.
#[derive(Debug)]
pub struct World {
    inner: Mutex<Inner>,
    /// The part of its time that each attempt takes.
    scale: f64,
}

/// A transfer's number, from the name of its file.
pub fn number_of(row: &Transfer) -> Option<Number> {
    row.name.split('.').next()?.parse().ok()
}

/// The link of a transfer. All but open ones hide a part of it.
pub fn link(number: Number, what: What) -> String {
    match what {
        What::OpenLink | What::OpenLinkWithHeader => format!("https://files.example.org/{number}.bin"),
        _ => format!("https://files.example.org/{number}.bin?sig=secret{number}"),
    }
}

pub fn header(number: Number) -> String {
    format!("cookie{number}")
}

impl World {
    pub fn new(scale: f64) -> Self {
        Self { inner: Mutex::default(), scale }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while held")
    }

    pub fn add(&self, number: Number, what: What, is_long: bool, tries: &[Try]) {
        let tries = tries.iter().rev().copied().collect();
        self.inner().known.insert(number, Known { what, is_long, tries, may_lack_secrets: false });
    }

    /// The link of this one was in memory only when Ferry ended.
    pub fn may_lack_secrets(&self, number: Number) {
        if let Some(known) = self.inner().known.get_mut(&number) {
            known.may_lack_secrets = true;
        }
    }

    /// From here on nothing goes wrong, and nobody is deaf.
    pub fn calms_down(&self) {
        for known in self.inner().known.values_mut() {
            known.tries.clear();
        }
    }

    pub fn is_at_work(&self) -> Vec<Number> {
        self.inner().at_work.iter().copied().collect()
    }

    pub fn attempts(&self) -> u64 {
        self.inner().attempts
    }

    pub fn breach(&self) -> Option<String> {
        self.inner().breaches.first().cloned()
    }

    fn begin(&self, number: Number, attempt: &dyn Attempt) -> Option<(Known, Try)> {
        let (link_now, headers) = attempt.link();
        let mut inner = self.inner();
        inner.attempts += 1;
        if !inner.at_work.insert(number) {
            inner.breaches.push(format!("two attempts of {number} at a time"));
        }
        let Some(known) = inner.known.get_mut(&number) else {
            inner.breaches.push(format!("work for {number}, which nobody added"));
            return None;
        };
        let next = known.tries.pop().unwrap_or(Try { after: 0, deaf: 0, stubborn: false, fails: None });
        // Only an account's key is refused.
        let fails = next.fails.map(|cause| match cause {
            Cause::Unauthorized if !known.what.has_account() => Cause::NotFound,
            cause => cause,
        });
        let (known, next) = (known.clone(), Try { fails, ..next });
        let has_link = !matches!(known.what, What::Asset | What::AssetOfDefault | What::File);
        let wanted = has_link.then(|| link(number, known.what));
        let wanted_header = known.what.has_header().then(|| header(number));
        let has_header = headers.first().map(|(_, value)| value.clone());
        if (link_now != wanted || has_header != wanted_header) && !known.may_lack_secrets {
            inner.breaches.push(format!(
                "{number} goes on without what belongs to it: {} and {} headers",
                if link_now.is_some() { "a link" } else { "no link" },
                headers.len()
            ));
        }
        if link_now != wanted {
            return Some((known, Try { fails: Some(Cause::LinkExpired), ..next }));
        }
        Some((known, next))
    }
}

/// However an attempt ends: also when the life of Ferry's does in which it runs.
struct AtWork<'a>(&'a World, Number);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.inner().at_work.remove(&self.1);
    }
}

#[async_trait]
impl Work for World {
    async fn attempt(&self, attempt: &dyn Attempt) -> Result<()> {
        let Some(number) = number_of(&attempt.row()) else { return Err(Error::canceled()) };
        let Some((known, plan)) = self.begin(number, attempt) else { return Err(Error::canceled()) };
        let _at_work = AtWork(self, number);
        let size = SIZES[usize::from(known.is_long)];
        if attempt.has_size(size) {
            return Err(Error::canceled());
        }
        let time = Duration::from_millis(plan.after.into()).mul_f64(self.scale);
        tokio::select! {
            biased;
            () = attempt.is_to_stop() => {
                pass(plan.deaf).await;
                if !plan.stubborn {
                    return Err(Error::canceled());
                }
            }
            () = tokio::time::sleep(time), if plan.after > 0 => {}
            () = pass(1), if plan.after == 0 => {}
        }
        attempt.has_bytes(size / 2);
        if let Some(cause) = plan.fails {
            return Err(Error::new(cause, "as planned"));
        }
        attempt.verifies();
        pass(1).await;
        attempt.has_bytes(size);
        Ok(())
    }
}

/// Lets every other task that can go on have this many turns.
pub async fn pass(turns: u8) {
    for _ in 0..turns {
        let mut is_over = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut is_over, true) {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}
