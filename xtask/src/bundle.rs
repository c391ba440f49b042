//! `cargo xtask bundle`: the installers of this platform.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::program::{Done, built, cargo, find, npm, output, program, root, run as go, target};
use crate::setup;

/// What each platform's users install.
fn formats() -> &'static str {
    if cfg!(target_os = "macos") {
        "dmg"
    } else if cfg!(windows) {
        "nsis,msi"
    } else {
        "deb,rpm"
    }
}

/// Builds Ferry for release and packs it.
pub fn run() -> Done {
    setup::for_bundling()?;
    build_terminal()?;
    if cfg!(target_os = "linux") {
        write_documents()?;
    }
    build_packages()?;
    for file in packages() {
        if file.extension().is_some_and(|extension| extension == "deb") {
            pack_tighter(&file)?;
        }
        let size = std::fs::metadata(&file).map_or(0, |facts| facts.len());
        println!("{} ({:.1} MB)", file.display(), size as f64 / 1e6);
    }
    Ok(())
}

fn build_terminal() -> Done {
    go(cargo().args(["build", "--release", "--locked", "-p", "ferry-cli"]))
}

fn build_packages() -> Done {
    go(npm().args(["run", "tauri", "build", "--", "--bundles", formats()]))
}

/// Tauri packs a deb with gzip only; xz, as Debian's own packages have it, saves a fifth. Elsewhere than on Debian the
/// tool may be missing, and the package is good without.
fn pack_tighter(deb: &Path) -> Done {
    if find("dpkg-deb").is_none() {
        return Ok(());
    }
    let folder = target().join("xtask/deb");
    let _ = std::fs::remove_dir_all(&folder);
    go(program("dpkg-deb").arg("--raw-extract").arg(deb).arg(&folder))?;
    go(program("dpkg-deb").args(["--root-owner-group", "-Zxz", "-z9", "--build"]).arg(&folder).arg(deb))
}

/// Manual pages and the changelog, where Debian's rules want them: compressed, without a time stamp. And what shells complete
/// `ferry` by.
fn write_documents() -> Done {
    let folder = target().join("xtask/documents");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let page = output(program(built("release", "ferry")).arg("man"))?;
    compress(page.as_bytes(), &folder.join("ferry.1.gz"))?;
    for (shell, file) in [("bash", "ferry.bash"), ("zsh", "_ferry"), ("fish", "ferry.fish")] {
        let script = output(program(built("release", "ferry")).args(["completions", shell]))?;
        std::fs::write(folder.join(file), script).map_err(|error| format!("writing {file}: {error}"))?;
    }
    for (document, packed) in [
        ("src-tauri/linux/ferry-desktop.1", "ferry-desktop.1.gz"),
        ("src-tauri/linux/changelog", "changelog.gz"),
    ] {
        let text =
            std::fs::read(root().join(document)).map_err(|error| format!("reading {document}: {error}"))?;
        compress(&text, &folder.join(packed))?;
    }
    Ok(())
}

fn compress(bytes: &[u8], file: &Path) -> Done {
    let out = std::fs::File::create(file).map_err(|error| format!("writing {}: {error}", file.display()))?;
    let mut gzip = program("gzip");
    gzip.args(["-9", "--no-name", "--stdout"]).stdin(Stdio::piped()).stdout(out);
    let mut gzip = gzip.spawn().map_err(|error| format!("`gzip` did not start: {error}"))?;
    if let Some(mut stdin) = gzip.stdin.take() {
        stdin.write_all(bytes).map_err(|error| format!("writing to gzip: {error}"))?;
    }
    match gzip.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("gzip ended with {status}")),
        Err(error) => Err(format!("gzip: {error}")),
    }
}

fn packages() -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir(target().join("release/bundle")) else { return Vec::new() };
    let files =
        folders.flatten().filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten();
    let wanted = ["deb", "rpm", "dmg", "exe", "msi"];
    files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| wanted.iter().any(|w| extension == *w)))
        .collect()
}
