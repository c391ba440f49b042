//! `cargo xtask world`: servers and stores by chance, as many as wanted (tests/world.rs).

use std::process::Command;

use crate::program::{Done, cargo, run};

/// Runs them: `--cases N` (100,000 of each), `--seed S` (a new one, which is printed), `servers` or `stores` for only
/// these. `compare`: curl, wget and aria2 against the same servers (2,000).
pub fn world(words: &[String]) -> Done {
    let (mut cases, mut seed, mut what) = (None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = |name: &str| -> Done<u64> {
            let text = words.next().ok_or(format!("{name} needs a number"))?;
            text.parse().map_err(|_| format!("{name} needs a number, not `{text}`"))
        };
        match word.as_str() {
            "--cases" => cases = Some(number("--cases")?),
            "--seed" => seed = Some(number("--seed")?),
            "servers" | "stores" | "compare" => what = Some(word.as_str()),
            other => return Err(format!("there is no `{other}`, only `servers`, `stores` and `compare`")),
        }
    }
    // Not optimised: what the engine asserts while it is built is a part of what is looked for.
    let mut command = if what == Some("compare") { compare() } else { by_chance(what) };
    let usual = if what == Some("compare") { 2_000 } else { 100_000 };
    command.env("FERRY_WORLD_CASES", cases.unwrap_or(usual).to_string());
    if let Some(seed) = seed {
        command.env("FERRY_SEED", seed.to_string());
    }
    run(&mut command)
}

fn by_chance(what: Option<&str>) -> Command {
    let mut command = cargo();
    command.args(["test", "-p", "ferry-engine", "-p", "ferry-cli", "--test", "world", "--locked", "--"]);
    // One after the other: each of them takes all of the computer.
    command.args(["--nocapture", "--test-threads", "1"]);
    command.arg(match what {
        Some("servers") => "any_server_",
        Some("stores") => "any_store_",
        _ => "any_s",
    });
    command
}

fn compare() -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "-p", "ferry-cli", "--example", "world_compare", "--locked"]);
    command
}
