//! What is written from the engine's types and the window's commands, never by hand: `ui/src/engine/types.ts` (by ts-rs),
//! `ui/src/engine/client.ts` and the capability of the window.

use crate::commands;
use crate::program::{Done, cargo, output, root, target};

/// Each file that is written, and what belongs into it.
fn files() -> Done<[(&'static str, String); 3]> {
    let source = root().join("src-tauri/src/commands.rs");
    let source =
        std::fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    Ok([
        ("ui/src/engine/types.ts", generate()?),
        ("ui/src/engine/client.ts", commands::client(&source)?),
        ("src-tauri/capabilities/main.json", commands::capability(&source)?),
    ])
}

/// Lets the engine's types write themselves down.
fn generate() -> Done<String> {
    let folder = target().join("xtask/types");
    // ts-rs adds to a file that is there.
    let _ = std::fs::remove_dir_all(&folder);
    output(
        cargo().args(["test", "--workspace", "--lib", "export_bindings"]).env("TS_RS_EXPORT_DIR", &folder),
    )?;
    // A process that writes a file writes it anew, so the window's own types stand in one of theirs.
    let read = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file).map_err(|error| format!("reading {}: {error}", file.display()))
    };
    let windows_own = read("window.ts")?;
    let without_head = windows_own.split_once('\n').map_or("", |(_, rest)| rest);
    Ok(format!("{}{without_head}", read("types.ts")?))
}

/// `cargo xtask types`
pub fn write() -> Done {
    for (name, text) in files()? {
        std::fs::write(root().join(name), text).map_err(|error| format!("writing {name}: {error}"))?;
    }
    Ok(())
}

/// Fails when one of them is not what it has to be.
pub fn check() -> Done {
    for (name, text) in files()? {
        let there = std::fs::read_to_string(root().join(name)).unwrap_or_default();
        // A clone on Windows may have turned the line ends.
        if there.replace("\r\n", "\n") != text {
            return Err(format!("{name} is not what the types and commands say: run `cargo xtask types`"));
        }
    }
    Ok(())
}
