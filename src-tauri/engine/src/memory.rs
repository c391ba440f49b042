//! Memory that is free goes back to the system.
//!
//! glibc keeps what was freed for the threads that share an arena, in up to eight arenas a core. Transfers come and go
//! on many threads, so a window that is open for days would hold several times what it needs: after twenty minutes of
//! small transfers 32 MB in 16 arenas, of which 7 MB were in use. Few arenas are enough: hardly anything here allocates
//! in a hurry.

use std::time::Duration;

/// How often giving back is worth the work, a few milliseconds.
pub(crate) const EVERY: Duration = Duration::from_secs(60);

/// Keeps memory together from here on; early, as arenas that exist stay.
pub(crate) fn keep_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "glibc's own function, which takes two numbers and touches nothing in use")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives back what is free. Blocks.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "glibc's own function, which takes a number and touches nothing in use")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
