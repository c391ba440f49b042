//! `cargo xtask soak`: mixed work with faults by chance, for as long as wanted (tests/soak.rs).

use crate::program::{Done, cargo, run};

/// Runs it: `--minutes N` (10), `--seed S` (a new one, which is printed).
pub fn soak(words: &[String]) -> Done {
    let value = |name: &str| -> Result<Option<f64>, String> {
        let Some(at) = words.iter().position(|word| word == name) else { return Ok(None) };
        let text = words.get(at + 1).ok_or(format!("{name} needs a number"))?;
        text.parse().map(Some).map_err(|_| format!("{name} needs a number, not `{text}`"))
    };
    let (minutes, seed) = (value("--minutes")?.unwrap_or(10.0), value("--seed")?);
    // Optimised: the figures are those of what users run.
    let mut command = cargo();
    command.args(["test", "--release", "-p", "ferry-cli", "--test", "soak", "--locked", "--", "--nocapture"]);
    command.env("FERRY_SOAK_MINUTES", minutes.to_string());
    if let Some(seed) = seed {
        command.env("FERRY_SEED", format!("{seed:.0}"));
    }
    run(&mut command)
}
