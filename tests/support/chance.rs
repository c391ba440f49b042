//! Random choices that can be made again: the seed is printed, and `FERRY_SEED` brings it back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A small generator (SplitMix64). Not for secrets.
pub struct Chance(u64);

impl Chance {
    /// The seed of `FERRY_SEED`, or a new one; said either way, so that a failure can be repeated. Each test mixes in
    /// its own name, so that tests of one seed do not choose alike.
    pub fn new(test: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let given = std::env::var("FERRY_SEED").ok().and_then(|text| text.parse().ok());
        let seed: u64 = given.unwrap_or(now % 1_000_000_007);
        eprintln!("{test}: to repeat this, set FERRY_SEED={seed}");
        Self(test.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)))
    }

    /// The generator of a seed that is kept.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// Another generator that this one decides on, for work beside the first.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// An instant between now and then.
    pub fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros().max(1) as u64))
    }

    /// As many of these as wanted, in an order by chance; all of them when there are no more.
    pub fn some<T>(&mut self, mut all: Vec<T>, wanted: usize) -> Vec<T> {
        for at in (1..all.len()).rev() {
            let other = self.below(at as u64 + 1) as usize;
            all.swap(at, other);
        }
        all.truncate(wanted);
        all
    }
}
