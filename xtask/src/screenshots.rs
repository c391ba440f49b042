//! `cargo xtask screenshots`: the pictures in `docs/screenshots`, taken from the real page.

use crate::peers::announce;
use crate::program::{self, Done, cargo, npm};
use crate::setup;

/// Takes them all again.
pub fn run() -> Done {
    setup::for_testing()?;
    program::run(announce(npm().args(["run", "screenshots"])))?;
    if cfg!(target_os = "linux") {
        program::run(cargo().args(["build", "-p", "ferry-desktop", "-p", "ferry-cli", "--locked"]))?;
        program::run(cargo().args([
            "build",
            "-p",
            "ferry-sandbox",
            "--example",
            "sandbox_server",
            "--locked",
        ]))?;
        program::run(announce(program::program("node").args(["tests/desktop/errors.mjs", "--keep"])))?;
    }
    Ok(())
}
