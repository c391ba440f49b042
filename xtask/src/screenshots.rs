//! `cargo xtask screenshots`: the pictures in `docs/screenshots`, taken from the real page.

use crate::peers::announce;
use crate::program::{self, Done, npm};
use crate::setup;

/// Takes them all again.
pub fn run() -> Done {
    setup::for_testing()?;
    program::run(announce(npm().args(["run", "screenshots"])))
}
