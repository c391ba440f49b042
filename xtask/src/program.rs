//! Other programs: finding them, running them, saying what is run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a step of the way came to: nothing, or the reason why it failed.
pub type Done<T = ()> = Result<T, String>;

/// The repository's root.
pub fn root() -> PathBuf {
    // The manifest lies one folder below it; the variable is set by Cargo for `cargo xtask`.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    here.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where Cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A program to be run in the repository's root.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    // Set by Cargo for this program alone. A build script that looks at one of them (ring's does) would run anew, and
    // everything above it be built again, whenever Cargo is started from here and then from a shell.
    let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

/// The Cargo that runs this.
pub fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// npm, in the page's folder.
pub fn npm() -> Command {
    let mut command = program(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(root().join("ui"));
    command
}

/// Runs a program with its output shown; an exit code other than 0 is a failure.
pub fn run(command: &mut Command) -> Done {
    let line = shown(command);
    println!("$ {line}");
    let status =
        command.stdin(Stdio::null()).status().map_err(|error| format!("`{line}` did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

/// Runs a program and takes what it prints.
pub fn output(command: &mut Command) -> Done<String> {
    let line = shown(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("`{line}` did not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`{line}` ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The full path of a program, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    // Servers live here, and not every user has it in the PATH.
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let endings: &[&str] = if cfg!(windows) { &[".exe", ".cmd"] } else { &[""] };
    folders
        .iter()
        .flat_map(|folder| endings.iter().map(move |e| folder.join(format!("{name}{e}"))))
        .find(|p| p.is_file())
}

/// Whether a window can be shown.
pub fn has_display() -> bool {
    let set = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// A program that Cargo built.
pub fn built(profile: &str, name: &str) -> PathBuf {
    target().join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
