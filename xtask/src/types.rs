//! `ui/src/types.ts`: written from the engine's types by ts-rs, never by hand.

use std::path::PathBuf;

use crate::program::{Done, cargo, output, root, target};

fn place() -> PathBuf {
    root().join("ui/src/types.ts")
}

/// Lets the engine's types write themselves down.
fn generate() -> Done<String> {
    let folder = target().join("xtask/types");
    // ts-rs adds to a file that is there.
    let _ = std::fs::remove_dir_all(&folder);
    output(
        cargo().args(["test", "--workspace", "--lib", "export_bindings"]).env("TS_RS_EXPORT_DIR", &folder),
    )?;
    let file = folder.join("types.ts");
    std::fs::read_to_string(&file).map_err(|error| format!("reading {}: {error}", file.display()))
}

/// `cargo xtask types`
pub fn write() -> Done {
    let text = generate()?;
    std::fs::write(place(), text).map_err(|error| format!("writing {}: {error}", place().display()))
}

/// Fails when the page's types are not the engine's.
pub fn check() -> Done {
    let text = generate()?;
    let there = std::fs::read_to_string(place()).unwrap_or_default();
    // A clone on Windows may have turned the line ends.
    if there.replace("\r\n", "\n") == text {
        Ok(())
    } else {
        Err("ui/src/types.ts is not what the engine's types say: run `cargo xtask types`".to_owned())
    }
}
