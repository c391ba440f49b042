//! The window's page in `ui/`: its packages and its build, redone only when something changed.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::program::{Done, find, npm, output, program, root, run, target};

/// Vite and the linters want this Node.js.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Installs the page's packages as the lock file says, unless they are there.
pub fn install() -> Done {
    check_node()?;
    let ui = root().join("ui");
    // By content, not by age: `npm install` makes a list and packages that agree here and nowhere else, and only
    // `npm ci` tells.
    let stamp = ui.join("node_modules/.ferry-installed");
    let wanted = fingerprint(&ui, &[ui.join("package.json"), ui.join("package-lock.json")])?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run(npm().args(["ci", "--no-audit", "--no-fund"]))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("writing {}: {error}", stamp.display()))
}

/// Builds the page into `ui/dist`, unless it was built from the same files.
pub fn build() -> Done {
    install()?;
    let stamp = target().join("xtask/page");
    let ui = root().join("ui");
    let now = fingerprint(&ui, &sources(&ui)?)?;
    let built = root().join("ui/dist/index.html").is_file();
    if built && std::fs::read_to_string(&stamp).is_ok_and(|before| before == now) {
        return Ok(());
    }
    run(npm().args(["run", "build"]))?;
    std::fs::create_dir_all(target().join("xtask")).map_err(|error| error.to_string())?;
    // Paraglide writes into src/ while it builds: what counts is how the files are afterwards.
    std::fs::write(&stamp, fingerprint(&ui, &sources(&ui)?)?).map_err(|error| error.to_string())
}

fn check_node() -> Done {
    if find("node").is_none() {
        return Err("Node.js is missing: `cargo xtask setup` installs it".to_owned());
    }
    let version = output(program("node").arg("--version"))?;
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST_NODE {
        return Err(format!(
            "Node.js {} is too old: {}.{} or newer is needed (nodejs.org, or your version manager)",
            version.trim(),
            OLDEST_NODE.0,
            OLDEST_NODE.1
        ));
    }
    Ok(())
}

/// What the page's build reads.
fn sources(ui: &Path) -> Done<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(ui, &mut files).map_err(|error| format!("reading {}: {error}", ui.display()))?;
    files.sort();
    Ok(files)
}

/// A number that changes with any name or byte of `files`.
fn fingerprint(ui: &Path, files: &[PathBuf]) -> Done<String> {
    let mut hash = DefaultHasher::new();
    for file in files {
        file.strip_prefix(ui).unwrap_or(file).hash(&mut hash);
        std::fs::read(file).map_err(|error| format!("reading {}: {error}", file.display()))?.hash(&mut hash);
    }
    Ok(format!("{:016x}", hash.finish()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["node_modules", "dist", "tests", "test-results"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
