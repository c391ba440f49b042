//! Memory that is free goes back to the system.
//!
//! glibc keeps what was freed for the threads that share an arena, in up to eight arenas a core. Transfers come and go
//! on many threads, so a window that is open for days would hold several times what it needs: after twenty minutes of
//! small transfers 32 MB in 16 arenas, of which 7 MB were in use. Few arenas are enough: hardly anything here allocates
//! in a hurry. And it takes large buffers from the arenas, too, once one of that size was freed: they leave holes that
//! small things settle in.

use std::time::Duration;

/// How often giving back is worth the work, a few milliseconds.
pub(crate) const EVERY: Duration = Duration::from_secs(60);
/// The same when the last transfer has just ended: nothing else may come for long.
pub(crate) const EVERY_REST: Duration = Duration::from_secs(10);

/// What is larger is taken from the system and given back by itself: more than one read from a connection.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 512 << 10;

/// Keeps memory together from here on; early, as arenas that exist stay.
pub(crate) fn keep_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "glibc's own function, which takes two numbers and touches nothing in use")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
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
