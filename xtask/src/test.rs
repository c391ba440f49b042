//! `cargo xtask test`: every check there is, on one machine, in one go.

use std::process::ExitCode;

use crate::dependencies;
use crate::peers::announce;
use crate::program::{built, cargo, find, npm, program, run as go, target};
use crate::setup;
use crate::steps::Steps;
use crate::types;

/// Runs every step, or those whose name holds the filter.
pub fn run(words: &[String]) -> ExitCode {
    let mut steps = Steps::new(words.first().cloned());
    steps.step("set-up", setup::for_testing);
    steps.step("format", || go(cargo().args(["fmt", "--all", "--check"])));
    steps.step("lint", || {
        go(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
    steps.step("dependencies: licences, bans, sources", dependencies::check);
    steps.step("dependencies: the engine knows no window", dependencies::engine_is_free_of_windows);
    steps.step("rust tests", rust_tests);
    steps.step("types in step with the engine", types::check);
    steps.step("page: types", || go(npm().args(["run", "check"])));
    steps.step("page: lint", || go(npm().args(["run", "lint"])));
    steps.step("page: unit tests", || go(npm().args(["run", "test"])));
    steps.step("page: in a browser", || go(announce(npm().args(["run", "e2e"]))));
    steps.step("demo", || go(program(built("debug", "ferry")).arg("demo").args(own_data_dir())));
    if cfg!(target_os = "linux") {
        steps.step("the real window", || {
            go(cargo().args(["build", "-p", "ferry-desktop", "-p", "ferry-cli", "--locked"]))?;
            go(announce(program("node").arg("tests/desktop/run.mjs")))
        });
    }
    steps.finish()
}

/// The machine's own Ferry is none of a test's business.
fn own_data_dir() -> [std::ffi::OsString; 2] {
    ["--data-dir".into(), target().join("xtask/demo-data").into()]
}

fn rust_tests() -> Result<(), String> {
    // Tests start `ferry` as a user does.
    go(cargo().args(["build", "-p", "ferry-cli", "--locked"]))?;
    if find("cargo-nextest").is_some() {
        go(announce(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast", "--locked"])))?;
        return go(cargo().args(["test", "--workspace", "--doc", "--quiet", "--locked"]));
    }
    go(announce(cargo().args(["test", "--workspace", "--no-fail-fast", "--locked"])))
}
