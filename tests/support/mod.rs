//! What the tests of the terminal share: a home of one's own, the program, the services.
#![allow(dead_code, reason = "each test program uses its part of it")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub mod chance;
#[cfg(unix)]
pub mod disk;
pub mod files;
pub mod home;
pub mod http;
pub mod peers;
pub mod served;
pub mod service;
pub mod strace;
pub mod truth;
