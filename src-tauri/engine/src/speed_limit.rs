//! A speed limit that can be changed while bytes move.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes are let through in slices of this size at most, so that a slow limit still moves visibly.
const SLICE: usize = 16 * 1024;

/// How much of its time a limit may make up for.
const LATE: Duration = Duration::from_millis(50);

/// Spaces bytes out so that all users of this limit together keep to its rate.
#[derive(Debug)]
pub(crate) struct SpeedLimit {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Bytes a second.
    rate: Option<u64>,
    /// When the bytes that were let through so far will have taken their time.
    free_at: Instant,
}

impl SpeedLimit {
    /// A limit of this many bytes a second.
    pub fn new(rate: Option<u64>) -> Self {
        Self { state: Mutex::new(State { rate, free_at: Instant::now() }), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a limit just now.
    pub fn is_set(&self) -> bool {
        self.state().rate.is_some()
    }

    /// Changes the rate for all bytes from now on; whoever waits by the old one waits no longer.
    pub fn set(&self, rate: Option<u64>) {
        let mut state = self.state();
        if state.rate != rate {
            *state = State { rate, free_at: Instant::now() };
            self.changed.notify_waiters();
        }
    }

    /// Waits until these bytes may pass, and says after each slice of them that they move.
    pub async fn pass(&self, bytes: usize, moves: impl Fn(usize)) {
        let mut left = bytes;
        while left > 0 {
            let changed = self.changed.notified();
            let slice = left.min(SLICE);
            let turn = {
                let mut state = self.state();
                let Some(rate) = state.rate else { break };
                // Who wakes a little late may make up for it, or a quick limit would never be reached: timers count
                // milliseconds.
                let now = Instant::now();
                let turn = state.free_at.max(now.checked_sub(LATE).unwrap_or(now));
                state.free_at = turn + Duration::from_secs_f64(slice as f64 / rate as f64);
                turn
            };
            tokio::select! {
                () = tokio::time::sleep_until(turn) => {}
                () = changed => {}
            }
            moves(slice);
            left -= slice;
        }
        if left > 0 {
            moves(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn users_together_keep_to_the_rate_and_a_change_takes_effect_at_once() {
        let limit = SpeedLimit::new(Some(64 * 1024));
        let began = Instant::now();
        tokio::join!(limit.pass(64 * 1024, |_| {}), limit.pass(64 * 1024, |_| {}));
        limit.pass(1, |_| {}).await;
        assert_eq!(began.elapsed().as_secs(), 2);
        let waiting = limit.pass(1024 * 1024, |_| {});
        let changing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            limit.set(None);
        };
        tokio::join!(waiting, changing);
        assert!(began.elapsed().as_secs() < 3, "still waited by the old rate");
    }

    /// Each slice of it takes less than a timer's millisecond.
    #[tokio::test(start_paused = true)]
    async fn a_quick_limit_is_reached() {
        let limit = SpeedLimit::new(Some(256 << 20));
        let began = Instant::now();
        limit.pass(256 << 20, |_| {}).await;
        let off = began.elapsed().abs_diff(Duration::from_secs(1));
        assert!(off < Duration::from_millis(60), "off by {off:?}");
    }
}
