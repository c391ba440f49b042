//! Ctrl-C, and a session's or a service manager's wish to end: noticed from the start on, so that none is lost.

use std::io;

/// What ends Ferry from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Ctrl-C, or a wish to end: what this run began stops with it.
    Wanted,
    /// The terminal is gone, and nobody said anything.
    HungUp,
}

/// The signals that end Ferry in order.
#[derive(Debug)]
pub struct Interrupt {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
impl Interrupt {
    /// Starts listening.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Ending {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => Ending::Wanted,
            _ = terminate.recv() => Ending::Wanted,
            _ = hangup.recv() => Ending::HungUp,
        }
    }
}

#[cfg(not(unix))]
impl Interrupt {
    /// Starts listening.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) -> Ending {
        // Where there is no console there is no Ctrl-C either.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Ending::Wanted
    }
}
