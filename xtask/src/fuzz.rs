//! `cargo xtask fuzz`: odd input for the readers of foreign text (`fuzz/`), for as long as wanted.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers;
use crate::program::{Done, find, program, root, run, target};

/// libFuzzer stops an input that takes longer than this, in seconds: no reader may need more than a moment.
const SLOW: u32 = 10;
/// The longest input, in bytes: more than any header, and more of a body than any message needs.
const LONGEST: u32 = 4096;
/// The longest input that is kept, in bytes: room for all that is stored of one transfer.
const LONGEST_KEPT: u32 = 2048;

/// The most inputs that are kept of a target, besides the mended ones.
const MOST_KEPT: usize = 200;
/// What once was a fault stays in the corpus under a name that begins with this, whatever else reaches the same.
const MENDED: &str = "mended-";

/// Runs the targets: `--seconds N` for each (60), the name of one for only that; `--keep` puts what opened new ways
/// into `fuzz/corpus` and takes out what opens none of its own.
pub fn fuzz(words: &[String]) -> Done {
    let (mut seconds, mut keep, mut only) = (60, false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => {
                let text = words.next().ok_or("--seconds needs a number")?;
                seconds = text.parse().map_err(|_| format!("--seconds needs a number, not `{text}`"))?;
            }
            "--keep" => keep = true,
            name => only = Some(name),
        }
    }
    let targets = targets()?;
    let chosen: Vec<&String> = targets.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no target `{}`, only {}", only.unwrap_or("?"), targets.join(", ")));
    }
    println!(
        "Needs a C++ compiler (for libFuzzer), cargo-fuzz (installed beside the build) and some minutes to build."
    );
    if cfg!(windows) {
        return Err("libFuzzer is not part of Rust for Windows: run this on Linux or macOS".to_owned());
    }
    if ["c++", "g++", "clang++"].iter().all(|name| find(name).is_none()) {
        return Err("a C++ compiler is missing: `cargo xtask setup` installs it".to_owned());
    }
    let fuzzer = peers::cargo_fuzz()?;
    run(command(&fuzzer, "build").args(only))?;
    let mut failed = Vec::new();
    for name in chosen {
        println!("\n=== {name}");
        let (found, kept) = (target().join("fuzz-found").join(name), kept(name));
        make(&found)?;
        // What is found goes into the first folder; the kept inputs are only read.
        let mut fuzzing = command(&fuzzer, "run");
        fuzzing.arg(name).args([&found, &kept]).arg("--");
        fuzzing.arg(format!("-max_total_time={seconds}"));
        fuzzing.args([format!("-timeout={SLOW}"), format!("-max_len={LONGEST}")]);
        fuzzing.args(["-print_final_stats=1", "-rss_limit_mb=1024"]);
        match run(&mut fuzzing) {
            Ok(()) if keep => minimise(&fuzzer, name, &found, &kept)?,
            Ok(()) => {}
            Err(why) => failed.push(why),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// The names of the targets, in order.
fn targets() -> Done<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let files =
        std::fs::read_dir(&folder).map_err(|error| format!("reading {}: {error}", folder.display()))?;
    let mut names: Vec<String> =
        files.flatten().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn kept(name: &str) -> PathBuf {
    root().join("fuzz/corpus").join(name)
}

fn make(folder: &Path) -> Done {
    std::fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))
}

/// cargo-fuzz, with the stable compiler: its coverage and comparisons are not in stable Rust by name yet, and the
/// variable lets the compiler take them. Without AddressSanitizer: the readers have no unsafe code, so every fault of
/// theirs is a panic, and each second tries twice as much.
fn command(fuzzer: &Path, what: &str) -> Command {
    let mut command = program(fuzzer);
    command.args([what, "--fuzz-dir", "fuzz", "--sanitizer", "none"]);
    command.arg("--target-dir").arg(target().join("fuzz")).env("RUSTC_BOOTSTRAP", "1");
    command
}

/// The fewest inputs that reach what the kept ones and the found ones reach together.
fn minimise(fuzzer: &Path, name: &str, found: &Path, kept: &Path) -> Done {
    let fewest = target().join("fuzz-fewest").join(name);
    let _ = std::fs::remove_dir_all(&fewest);
    make(&fewest)?;
    let mut merge = command(fuzzer, "run");
    merge.arg(name).args([fewest.as_path(), kept, found]).args(["--", "-set_cover_merge=1"]);
    // Places count, not how often each was passed: that would keep thousands.
    merge.args(["-use_counters=0".to_owned(), format!("-max_len={LONGEST_KEPT}")]);
    run(&mut merge)?;
    replace(&fewest, kept).map_err(|error| format!("replacing {}: {error}", kept.display()))
}

fn replace(fewest: &Path, kept: &Path) -> std::io::Result<()> {
    let mut chosen = Vec::new();
    for file in std::fs::read_dir(fewest)? {
        let file = file?;
        chosen.push((file.metadata()?.modified()?, file));
    }
    // libFuzzer writes the one that reaches the most first, and then always the one that adds the most.
    chosen.sort_by_key(|(written, _)| *written);
    for file in std::fs::read_dir(kept)? {
        let file = file?;
        if !file.file_name().to_string_lossy().starts_with(MENDED) {
            std::fs::remove_file(file.path())?;
        }
    }
    for (_, file) in chosen.into_iter().take(MOST_KEPT) {
        std::fs::copy(file.path(), kept.join(file.file_name()))?;
    }
    Ok(())
}
