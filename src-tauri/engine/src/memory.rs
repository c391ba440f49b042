//! Memory that is free goes back to the system.
//!
//! glibc keeps what was freed for the thread that had it. Transfers come and go on many threads, so a window that is
//! open for days would hold ever more that nobody uses: an hour of small transfers kept some 20 MiB.

use std::time::Duration;

/// How often that is worth the work, a few milliseconds.
pub(crate) const EVERY: Duration = Duration::from_secs(60);

/// Gives back what is free. Blocks.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(
        unsafe_code,
        reason = "glibc's own function, which takes a number and touches nothing that is in use"
    )]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
