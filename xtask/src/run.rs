//! `cargo xtask run`: from a fresh clone to a running Ferry.

use std::time::Instant;

use crate::program::{self, Done, cargo, has_display};
use crate::setup;

/// Starts the window; without a display, shows the demo in the terminal.
pub fn run(words: &[String]) -> Done {
    let started = Instant::now();
    setup::for_running()?;
    if has_display() {
        program::run(cargo().args(["build", "-p", "ferry-desktop", "-p", "ferry-cli"]))?;
        println!("Ready after {} s. Closing the window ends this command.", started.elapsed().as_secs());
        return program::run(cargo().args(["run", "--quiet", "-p", "ferry-desktop", "--"]).args(words));
    }
    println!("There is no display, so this shows Ferry in the terminal.");
    program::run(cargo().args(["build", "-p", "ferry-cli"]))?;
    println!("Ready after {} s.\n", started.elapsed().as_secs());
    let ferry = program::built("debug", "ferry");
    program::run(program::program(&ferry).arg("demo"))?;
    println!("\nNext: {} upload FILE, then {} download ID", ferry.display(), ferry.display());
    Ok(())
}
