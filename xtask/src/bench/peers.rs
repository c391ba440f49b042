//! The machine and the programs that figures belong to, in words: nothing that tells whose machine it is.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::program::{find, output, program};

/// What the figures were measured on.
#[derive(Debug)]
pub struct Machine {
    /// What it is (`Processor`), and which (`…, 2 cores`).
    pub facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// This one; `folder` lies on the disk that is written to.
    pub fn here(folder: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let processor =
            field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory = field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
            .map_or_else(|| "unknown".to_owned(), |kib| format!("{:.0} GiB", kib / f64::from(1 << 20)));
        let mut df = program("df");
        let file_system =
            first_line(df.arg("--output=fstype").arg(folder), 1).unwrap_or_else(|| "unknown".to_owned());
        let system =
            field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
        let kernel = first_line(program("uname").arg("-sr"), 0).unwrap_or_default();
        // What follows the version names whoever built it.
        let kernel = kernel.split('-').next().unwrap_or_default();
        let mut facts = vec![
            ("Processor", format!("{processor}, {cores} cores")),
            ("Memory", memory),
            ("File system", file_system),
            ("System", format!("{system}, {kernel}")),
            ("ferry", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        facts.extend(versions());
        Self { facts }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(formatter, "{name:<12} {value}")?;
        }
        Ok(())
    }
}

/// Each peer with its version, as it tells it itself.
fn versions() -> Vec<(&'static str, String)> {
    // nginx knows only its own option, and answers on stderr.
    [
        ("curl", "--version"),
        ("wget", "--version"),
        ("aria2c", "--version"),
        ("rclone", "version"),
        ("nginx", "-v"),
    ]
    .into_iter()
    .map(|(name, option)| (name, version(name, option).unwrap_or_else(|| "not installed".to_owned())))
    .collect()
}

fn version(name: &str, option: &str) -> Option<String> {
    let told = Command::new(find(name)?).arg(option).output().ok()?;
    let text = String::from_utf8_lossy(if told.stdout.is_empty() { &told.stderr } else { &told.stdout })
        .into_owned();
    let words = text.split([' ', '/', '\n']);
    words
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

/// `name: value` or `name=value` of a file, as Linux and its systems write them.
fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once([':', '='])?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn first_line(command: &mut Command, skip: usize) -> Option<String> {
    output(command).ok()?.lines().nth(skip).map(|line| line.trim().to_owned())
}
