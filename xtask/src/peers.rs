//! The real programs that tests talk to: a Python with the makers' own signers and servers, nginx, s3s-fs, a browser.

use std::path::PathBuf;
use std::process::Command;

use crate::program::{Done, cargo, find, output, program, root, run, target};

/// A file-backed S3 that checks signatures, expiry and checksums. Newer ones want a newer Rust.
const S3S_FS: &str = "s3s-fs@0.14.1";
/// Checks licences, bans and sources of dependencies.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// Builds and drives the targets in `fuzz/`.
const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";

/// Where programs from crates are installed: beside the build, so that a clone stays in its folder.
fn tools() -> PathBuf {
    target().join("tools")
}

fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn python() -> PathBuf {
    root().join(if cfg!(windows) { ".venv/Scripts/python.exe" } else { ".venv/bin/python" })
}

/// cargo-deny, wherever it is installed.
pub fn cargo_deny() -> Option<PathBuf> {
    find("cargo-deny").or_else(|| Some(tool("cargo-deny")).filter(|path| path.is_file()))
}

/// cargo-fuzz, installed if it is not there yet.
pub fn cargo_fuzz() -> Done<PathBuf> {
    if let Some(installed) = find("cargo-fuzz") {
        return Ok(installed);
    }
    install_crate(CARGO_FUZZ, "cargo-fuzz", &[])?;
    Ok(tool("cargo-fuzz"))
}

/// Installs what can be installed without the system's package manager.
pub fn install() -> Done {
    install_python_packages()?;
    install_crate(S3S_FS, "s3s-fs", &["--features", "binary"])?;
    if cargo_deny().is_none() {
        install_crate(CARGO_DENY, "cargo-deny", &[])?;
    }
    Ok(())
}

fn install_crate(what: &str, name: &str, features: &[&str]) -> Done {
    if tool(name).is_file() {
        return Ok(());
    }
    println!("Building {name}, once.");
    let mut command = cargo();
    command.args(["install", what, "--locked"]).args(features).arg("--root").arg(tools());
    // Shares no crate with Ferry's own build, and must not wait for its lock.
    command.env("CARGO_TARGET_DIR", target().join("tools/build"));
    run(&mut command)?;
    // Some gigabytes that nobody needs again.
    let _ = std::fs::remove_dir_all(target().join("tools/build"));
    Ok(())
}

fn install_python_packages() -> Done {
    let wanted = root().join("tests/support/requirements.txt");
    let list =
        std::fs::read_to_string(&wanted).map_err(|error| format!("reading {}: {error}", wanted.display()))?;
    let stamp = root().join(".venv/installed-requirements.txt");
    if python().is_file() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    if !python().is_file() {
        let system = ["python3", "python"].into_iter().find(|name| find(name).is_some());
        let system = system.ok_or("Python is missing: `cargo xtask setup test` installs it")?;
        run(program(system).args(["-m", "venv", ".venv"]))?;
    }
    run(program(python())
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&wanted))?;
    std::fs::write(&stamp, list).map_err(|error| error.to_string())
}

/// Tells tests where the peers are. Tests that miss one say that they were skipped.
pub fn announce(command: &mut Command) -> &mut Command {
    let browser = ["chromium", "chromium-browser", "google-chrome", "chrome"].into_iter().find_map(find);
    let places = [
        ("FERRY_TEST_PYTHON", Some(python()).filter(|path| path.is_file())),
        ("FERRY_TEST_NGINX", find("nginx")),
        ("FERRY_TEST_S3S_FS", Some(tool("s3s-fs")).filter(|path| path.is_file())),
        ("FERRY_TEST_CHROMIUM", browser),
        ("FERRY_TEST_FFMPEG", find("ffmpeg")),
    ];
    for (variable, place) in places {
        if let Some(place) = place {
            command.env(variable, place);
        }
    }
    command
}

/// Whether a host that the advisories come from can be reached; a machine without the network tests the rest.
pub fn advisories_reachable() -> bool {
    let Some(git) = find("git") else { return false };
    let mut ask = Command::new(git);
    ask.args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=5"]);
    ask.args(["ls-remote", "--exit-code", "https://github.com/rustsec/advisory-db", "HEAD"]);
    output(ask.env("GIT_TERMINAL_PROMPT", "0")).is_ok()
}
