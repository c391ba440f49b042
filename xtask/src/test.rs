//! `cargo xtask test`: every check there is, on one machine, in one go.

use std::process::ExitCode;

use crate::dependencies;
use crate::floors;
use crate::peers::announce;
use crate::program::{built, cargo, find, npm, program, root, run as go, target};
use crate::setup;
use crate::steps::Steps;
use crate::types;

/// Runs every step, or those whose name holds the filter.
pub fn run(words: &[String]) -> ExitCode {
    let mut steps = Steps::new(words.first().cloned());
    steps.step("set-up", setup::for_testing);
    steps.step("format", format);
    steps.step("README: the two commands", two_commands);
    steps.step("lint", || {
        go(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
    steps.step("floors: arrows point down only", floors::check);
    steps.step("dependencies: licences, bans, sources", dependencies::check);
    steps.step("dependencies: the engine knows no window", dependencies::engine_is_free_of_windows);
    steps.step(
        "dependencies: no switches in what is shipped",
        dependencies::shipped_programs_have_no_switches,
    );
    // Everything at once: Cargo builds shared crates anew for each choice of packages, as their features differ.
    steps.step("build", || go(cargo().args(["build", "--workspace", "--all-targets", "--locked"])));
    steps.step("rust tests", rust_tests);
    steps.step("types in step with the engine", types::check);
    steps.step("page: types", || go(npm().args(["run", "check"])));
    steps.step("page: lint", || go(npm().args(["run", "lint"])));
    steps.step("page: unit tests", || go(npm().args(["run", "test"])));
    steps.step("page: in a browser", || go(announce(npm().args(["run", "e2e"]))));
    steps.step("demo", demo);
    if cfg!(target_os = "linux") {
        steps.step("the real window", || in_a_window("tests/desktop/run.mjs"));
        steps.step("the tray in the real window", || in_a_window("tests/desktop/tray.mjs"));
        steps
            .step("the real window without parts of the desktop", || in_a_window("tests/desktop/no_bus.mjs"));
        steps.step("drops in the real window", || in_a_window("tests/desktop/drop_zones.mjs"));
        steps.step("bad days in the real window", || in_a_window("tests/desktop/bad_days.mjs"));
        steps.step("odd answers in the real window", || in_a_window("tests/desktop/odd_answers.mjs"));
        steps.step("a page gone bad in the real window", || in_a_window("tests/desktop/hostile_page.mjs"));
        steps.step("the page's sandbox", || in_a_window("tests/desktop/page_sandbox.mjs"));
        steps.step("every error in the real window", || in_a_window("tests/desktop/errors.mjs"));
    }
    steps.finish()
}

/// The fuzz targets are a workspace of their own.
fn format() -> Result<(), String> {
    go(cargo().args(["fmt", "--all", "--check"]))?;
    go(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

/// Whoever has just got the source needs no more than these, and finds them in the README.
fn two_commands() -> Result<(), String> {
    let readme = root().join("README.md");
    let text =
        std::fs::read_to_string(&readme).map_err(|error| format!("reading {}: {error}", readme.display()))?;
    let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    let told = |command: &str| {
        blocks
            .iter()
            .any(|block| block.lines().any(|line| line.split(" #").next().unwrap_or("").trim() == command))
    };
    let missing: Vec<&str> =
        ["cargo xtask run", "cargo xtask test"].into_iter().filter(|command| !told(command)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("README.md does not show {}", missing.join(" and ")))
    }
}

/// In a home of its own: the Downloads folder of whoever runs the tests is not the place for the file.
fn demo() -> Result<(), String> {
    let home = target().join("xtask/demo-home");
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).map_err(|error| format!("making {}: {error}", home.display()))?;
    let mut demo = program(built("debug", "ferry"));
    demo.args(["demo", "--data-dir"]).arg(home.join("data")).env("HOME", &home).env("USERPROFILE", &home);
    go(demo.env_remove("XDG_CONFIG_HOME"))
}

/// As in `.config/nextest.toml`: what passes only at the second try is told, and does not hold others up.
fn in_a_window(script: &str) -> Result<(), String> {
    let once = || go(announce(program("node").arg(script)));
    once().or_else(|why| {
        println!("FLAKY? {why}; once more");
        once()
    })
}

fn rust_tests() -> Result<(), String> {
    if find("cargo-nextest").is_some() {
        go(announce(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast", "--locked"])))?;
        return go(cargo().args(["test", "--workspace", "--doc", "--quiet", "--locked"]));
    }
    go(announce(cargo().args(["test", "--workspace", "--no-fail-fast", "--locked"])))
}
