//! Counting bytes while they move, and turning counts into speed and time left.
//!
//! Workers only add to an atomic counter; one task reads the counters at a steady rate. Speed is the mean over
//! the last eight seconds, so that it stands still enough to be read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use crate::seams::now;
use crate::transfer::Extent;

/// Speed is the mean over this time.
const WINDOW: Duration = Duration::from_secs(8);
/// No time left is shown before there is this much to judge by.
const SETTLING: Duration = Duration::from_secs(3);

/// What a worker counts into.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    bytes: AtomicU64,
    /// Where they lie, if not all of them from the beginning on.
    places: Mutex<Vec<Extent>>,
}

impl Counter {
    fn places(&self) -> MutexGuard<'_, Vec<Extent>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the count: after a start over, or to what was already there.
    pub fn set(&self, bytes: u64) {
        self.places().clear();
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Adds bytes that are now really there.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says where the bytes lie that are counted already.
    pub fn set_places(&self, places: Vec<Extent>) {
        *self.places() = places;
    }

    /// Adds bytes that are now really there, with their place in the file.
    pub fn add_at(&self, offset: u64, bytes: u64) {
        let mut places = self.places();
        match places.iter_mut().find(|place| place.end == offset) {
            Some(place) => place.end += bytes,
            None => places.push(Extent { start: offset, end: offset + bytes }),
        }
        drop(places);
        self.add(bytes);
    }

    /// Where the bytes lie: in order, none touching the next.
    pub fn extents(&self) -> Vec<Extent> {
        let places = self.places().clone();
        if places.is_empty() { joined(vec![Extent { start: 0, end: self.get() }]) } else { joined(places) }
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Puts places in order, and those that touch together.
pub(crate) fn joined(mut places: Vec<Extent>) -> Vec<Extent> {
    places.retain(|place| place.start < place.end);
    places.sort_by_key(|place| place.start);
    places.dedup_by(|next, before| {
        let touches = next.start <= before.end;
        if touches {
            before.end = before.end.max(next.end);
        }
        touches
    });
    places
}

/// Reads a counter from time to time and knows the speed.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Instant, u64)>,
    began: Option<Instant>,
}

impl Meter {
    /// Takes one sample.
    pub fn sample(&mut self, at: Instant, bytes: u64) {
        if self.samples.back().is_some_and(|(_, last)| bytes < *last) {
            // Started over: what was measured before says nothing any more.
            self.samples.clear();
        }
        self.began.get_or_insert(at);
        self.samples.push_back((at, bytes));
        while self.samples.front().is_some_and(|(first, _)| at.duration_since(*first) > WINDOW)
            && self.samples.len() > 2
        {
            self.samples.pop_front();
        }
    }

    /// Bytes a second over the window; `None` while nothing can be said.
    pub fn speed(&self) -> Option<u64> {
        let ((first_at, first), (last_at, last)) = (self.samples.front()?, self.samples.back()?);
        let time = last_at.duration_since(*first_at).as_secs_f64();
        (time >= 0.2).then(|| ((last - first) as f64 / time) as u64)
    }

    /// Seconds left at this speed for a file of this size.
    pub fn seconds_left(&self, total: Option<u64>) -> Option<u64> {
        let (at, bytes) = self.samples.back()?;
        let speed = self.speed().filter(|speed| *speed > 0)?;
        if at.duration_since(self.began?) < SETTLING {
            return None;
        }
        Some(total?.saturating_sub(*bytes).div_ceil(speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_appears_after_three_seconds_and_follows_the_recent_speed() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for tenth in 0..=29_u32 {
            meter.sample(start + Duration::from_millis(100) * tenth, u64::from(tenth) * 100);
        }
        assert_eq!(meter.speed(), Some(1000));
        assert_eq!(meter.seconds_left(Some(100_000)), None);
        meter.sample(start + Duration::from_secs(3), 3000);
        assert_eq!(meter.seconds_left(Some(103_000)), Some(100));
        assert_eq!(meter.seconds_left(None), None);
    }

    #[test]
    fn the_map_joins_what_touches_and_starts_over_with_the_count() {
        let counter = Counter::default();
        let extents = || counter.extents().iter().map(|place| (place.start, place.end)).collect::<Vec<_>>();
        assert_eq!(extents(), []);
        counter.add(7);
        assert_eq!(extents(), [(0, 7)]);
        counter.set_places(counter.extents());
        counter.add_at(100, 10);
        counter.add_at(7, 3);
        counter.add_at(110, 5);
        assert_eq!((extents(), counter.get()), (vec![(0, 10), (100, 115)], 25));
        counter.add_at(10, 90);
        assert_eq!(extents(), [(0, 115)]);
        counter.set(0);
        assert_eq!(extents(), []);
    }

    #[test]
    fn starting_over_forgets_the_speed_from_before() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.sample(start, 0);
        meter.sample(start + Duration::from_secs(1), 1_000_000);
        meter.sample(start + Duration::from_secs(2), 10);
        assert_eq!(meter.speed(), None);
    }
}
