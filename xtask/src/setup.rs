//! Getting a machine ready: system packages, the page's packages, the tests' peers.

use crate::packages::{self, Purpose};
use crate::page;
use crate::peers;
use crate::program::{Done, has_display};

/// `cargo xtask setup [run|test|bundle]`
pub fn run(words: &[String]) -> Done {
    match words.first().map_or("run", String::as_str) {
        "run" => for_running(),
        "test" => for_testing(),
        "bundle" => for_bundling(),
        other => Err(format!("there is nothing to set up for `{other}`: use run, test or bundle")),
    }
}

/// Everything that building and starting needs.
pub fn for_running() -> Done {
    packages::install(Purpose::Run)?;
    if has_display() { page::build() } else { Ok(()) }
}

/// Everything that the tests need.
pub fn for_testing() -> Done {
    packages::install(Purpose::Test)?;
    peers::install()?;
    page::build()
}

/// Everything that installers need.
pub fn for_bundling() -> Done {
    packages::install(Purpose::Bundle)?;
    page::install()
}
