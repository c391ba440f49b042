//! What one run of a terminal wants for the transfers that it lets go on, and for no others: its options stand here while
//! it is there, in memory only. Other transfers of the same queue know nothing of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::services::Services;
use crate::speed_limit::SpeedLimit;

/// Speed and patience that a run asks for. What is absent is as the settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Most bytes a second, each way, all of its transfers together.
    pub limit_rate: Option<u64>,
    /// So many of its transfers at the same time, each way.
    pub concurrency: Option<u8>,
    /// Attempts without progress before one of them fails.
    pub retries: Option<u32>,
    /// Most connections for one download.
    pub connections: Option<u8>,
}

/// The terms of one run.
pub(crate) struct Terms {
    /// Names the run in this process.
    pub id: u64,
    pub pace: Pace,
    /// Set where the run has a limit of its own.
    pub limit_up: Option<SpeedLimit>,
    /// Set where the run has a limit of its own.
    pub limit_down: Option<SpeedLimit>,
    /// Set where the run has addresses or keys of its own, by variables.
    pub services: Option<Arc<Services>>,
    /// Somebody stands at a terminal for the end of each transfer.
    awaited: AtomicBool,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("id", &self.id).field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Terms {
    pub fn new(pace: Pace, awaited: bool, services: Option<Arc<Services>>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let limit = || pace.limit_rate.map(|rate| SpeedLimit::new(Some(rate)));
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            pace,
            limit_up: limit(),
            limit_down: limit(),
            services,
            awaited: awaited.into(),
        })
    }

    /// Whether a transfer must come to an end rather than wait for its user.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Whoever waited is gone: what runs goes on, as patient as the queue.
    pub fn is_left(&self) {
        self.awaited.store(false, Ordering::Relaxed);
    }
}
