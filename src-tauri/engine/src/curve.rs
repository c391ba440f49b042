//! The speed of a transfer over its whole time, for the plot in its details.
//!
//! Kept in memory, and only for the transfers that moved last: thousands of small files must not cost a write each, nor
//! memory without end. A reload of the window loses nothing; a new start begins with an empty plot.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::transfer::TransferId;

/// More detail than this no plot can show.
const MOST_SAMPLES: usize = 160;
/// Curves that are kept: with all their samples about 1.3 MB.
const MOST_CURVES: usize = 500;
/// Samples stand at least this far apart, in milliseconds; more, the longer a transfer takes.
const CLOSEST: u64 = 200;

/// One point of a speed curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct SpeedSample {
    /// Milliseconds since 1970.
    #[ts(type = "number")]
    pub at: u64,
    /// Bytes a second.
    #[ts(type = "number")]
    pub speed: u64,
}

/// One transfer's curve: all of its time, in as much detail as there is room for.
#[derive(Debug, Default)]
struct Curve {
    samples: Vec<SpeedSample>,
    apart: u64,
}

impl Curve {
    fn note(&mut self, at: u64, speed: u64) {
        let apart = self.apart.max(CLOSEST);
        // A clock may be put back meanwhile. The curve stands still until it has caught up: its time never runs backwards.
        let at = self.samples.last().map_or(at, |last| at.max(last.at));
        match self.samples[..] {
            // It begins with the first byte, and a pause is one fall to nothing and one rise.
            [] | [.., SpeedSample { speed: 0, .. }] if speed == 0 => return,
            [.., SpeedSample { speed: 0, at: before }] if at > before + 1 => {
                self.samples.push(SpeedSample { at: at - 1, speed: 0 });
            }
            // The newest stands for the present until it is far enough from the one before.
            [.., before, last] if last.speed > 0 && last.at - before.at < apart => {
                self.samples.pop();
            }
            _ => {}
        }
        self.samples.push(SpeedSample { at, speed });
        if self.samples.len() > MOST_SAMPLES {
            // Half the detail, instead of losing the beginning.
            let last = self.samples.len() - 1;
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                (index - 1) % 2 == 0 || index - 1 == last
            });
            self.apart = apart * 2;
        }
    }
}

/// The curves of the transfers that moved last.
#[derive(Debug, Default)]
pub(crate) struct Curves {
    all: HashMap<TransferId, Curve>,
    /// Oldest first.
    order: VecDeque<TransferId>,
}

impl Curves {
    /// Takes one sample.
    pub fn note(&mut self, id: TransferId, at: u64, speed: u64) {
        if speed == 0 && !self.all.contains_key(&id) {
            return;
        }
        if !self.all.contains_key(&id) {
            self.order.push_back(id);
            if self.order.len() > MOST_CURVES
                && let Some(oldest) = self.order.pop_front()
            {
                self.all.remove(&oldest);
            }
        }
        self.all.entry(id).or_default().note(at, speed);
    }

    /// The curve of one transfer, oldest sample first; empty when it never moved, or long ago.
    pub fn of(&self, id: TransferId) -> Vec<SpeedSample> {
        self.all.get(&id).map(|curve| curve.samples.clone()).unwrap_or_default()
    }

    /// A transfer is off the list.
    pub fn forget(&mut self, id: TransferId) {
        if self.all.remove(&id).is_some() {
            self.order.retain(|kept| *kept != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(curves: &Curves) -> Vec<(u64, u64)> {
        curves.of(TransferId(1)).iter().map(|sample| (sample.at, sample.speed)).collect()
    }

    #[test]
    fn a_curve_begins_with_the_first_byte_and_shows_a_pause_as_nothing() {
        let mut curves = Curves::default();
        for (at, speed) in [(1_000, 0), (2_000, 40), (3_000, 0), (4_000, 0), (60_000, 20)] {
            curves.note(TransferId(1), at, speed);
        }
        assert_eq!(samples(&curves), [(2_000, 40), (3_000, 0), (59_999, 0), (60_000, 20)]);
    }

    #[test]
    fn a_long_transfer_loses_detail_evenly_never_its_beginning_or_its_present() {
        let mut curves = Curves::default();
        let hours = 10 * 60 * 60 * 1000;
        for at in (200..=hours).step_by(200) {
            curves.note(TransferId(1), at, 7);
        }
        let samples = samples(&curves);
        assert!(samples.len() > MOST_SAMPLES / 3 && samples.len() <= MOST_SAMPLES, "{}", samples.len());
        assert!(samples[0].0 < 1000);
        assert_eq!(samples.last().unwrap().0, hours);
        let widest = samples.windows(2).map(|two| two[1].0 - two[0].0).max().unwrap();
        assert!(widest < hours / 20, "a hole of {widest} ms");
    }

    #[test]
    fn a_clock_that_is_put_back_bends_no_curve_and_ends_nothing() {
        let hour = 60 * 60 * 1000;
        for speeds in [[40, 30, 20, 10], [40, 0, 20, 10], [40, 30, 0, 10]] {
            let mut curves = Curves::default();
            for (at, speed) in [2 * hour, hour, hour + 1_000, 2 * hour + 1_000].into_iter().zip(speeds) {
                curves.note(TransferId(1), at, speed);
            }
            let samples = samples(&curves);
            assert!(samples.is_sorted_by_key(|(at, _)| *at), "{samples:?}");
            assert_eq!(samples.last(), Some(&(2 * hour + 1_000, 10)));
        }
        // It stays so far behind that the curve has to lose detail meanwhile.
        let mut curves = Curves::default();
        for step in 0..100_000 {
            curves.note(TransferId(1), if step < 1_000 { 10 * hour + step * 300 } else { step * 300 }, 7);
        }
        let samples = samples(&curves);
        assert!(samples.len() <= MOST_SAMPLES && samples.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let mut curves = Curves::default();
        for id in 0..2 * MOST_CURVES as u64 {
            curves.note(TransferId(id), 1, 5);
        }
        assert_eq!(curves.all.len(), MOST_CURVES);
        assert!(curves.of(TransferId(0)).is_empty());
        let newest = TransferId(2 * MOST_CURVES as u64 - 1);
        curves.forget(newest);
        assert!(curves.of(newest).is_empty());
        assert_eq!(curves.order.len(), MOST_CURVES - 1);
    }
}
