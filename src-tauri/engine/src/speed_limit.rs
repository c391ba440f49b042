//! A speed limit that can be changed while bytes move.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Spaces bytes out so that all users of this limit together keep to its rate.
#[derive(Debug)]
pub(crate) struct SpeedLimit {
    /// Bytes a second; 0 = no limit.
    rate: AtomicU64,
    /// When the bytes that were let through so far will have taken their time.
    free_at: Mutex<Instant>,
}

impl SpeedLimit {
    /// A limit of this many bytes a second.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: AtomicU64::new(rate.unwrap_or(0)), free_at: Mutex::new(Instant::now()) }
    }

    /// Changes the rate for all bytes from now on.
    pub fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Waits until these bytes may pass.
    pub async fn pass(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let turn = {
            let mut free_at = self.free_at.lock().await;
            let turn = (*free_at).max(Instant::now());
            *free_at = turn + Duration::from_secs_f64(bytes as f64 / rate as f64);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}
