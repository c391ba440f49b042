//! What Ferry is built from.

use crate::peers;
use crate::program::{Done, cargo, output, program, run};

/// Crates that belong to a window. The engine serves the terminal as well and must not know them.
const OF_WINDOWS: [&str; 6] = ["tauri", "tauri-", "wry", "tao", "gtk", "webkit2gtk"];

/// Licences, bans and sources by `deny.toml`; advisories too where their list can be reached.
pub fn check() -> Done {
    let deny = peers::cargo_deny().ok_or("cargo-deny is missing: `cargo xtask setup test` installs it")?;
    let mut checks = vec!["bans", "licenses", "sources"];
    if peers::advisories_reachable() {
        checks.push("advisories");
    } else {
        println!("The list of advisories cannot be reached from here: not checked.");
    }
    run(program(deny).args(["--log-level", "error", "check"]).args(checks))
}

/// What is shipped is built without the switches of the sandbox, which tests have.
pub fn shipped_programs_have_no_switches() -> Done {
    let tree = output(cargo().args([
        "tree",
        "-p",
        "ferry-cli",
        "-p",
        "ferry-desktop",
        "--edges",
        "normal,build,features",
        "--prefix",
        "none",
    ]))?;
    let has_switches = tree.lines().any(|line| line.starts_with("ferry-sandbox feature \"control\""));
    if has_switches { Err("a program that is shipped has the sandbox's switches".to_owned()) } else { Ok(()) }
}

/// The engine's tree of crates holds none of a window.
pub fn engine_is_free_of_windows() -> Done {
    let tree =
        output(cargo().args(["tree", "-p", "ferry-engine", "--edges", "normal,build", "--prefix", "none"]))?;
    let found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            OF_WINDOWS.iter().any(|part| name == part || (part.ends_with('-') && name.starts_with(part)))
        })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(format!("the engine depends on {}", found.join(", "))) }
}
