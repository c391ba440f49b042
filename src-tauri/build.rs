//! Gives the window its configuration, its icons, and for each function of `src/commands.rs` a handler and a permission:
//! without an explicit `allow` in `capabilities/` the page can call nothing.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

/// The names of the functions that are commands, and for which systems each is.
fn commands(source: &str) -> Vec<(&str, Option<&str>)> {
    let parts: Vec<&str> = source.split("#[tauri::command").collect();
    let found = parts.windows(2).filter_map(|pair| {
        let only_for = pair[0].lines().next_back().filter(|line| line.starts_with("#[cfg("));
        Some((pair[1].split_once("fn ")?.1.split_once('(')?.0, only_for))
    });
    found.collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo check` and the engine's tests must not need Node: without a built page there is one that says so.
    let page = Path::new("ui/dist/index.html");
    println!("cargo:rerun-if-changed=ui/dist");
    if !page.exists() {
        fs::create_dir_all("ui/dist")?;
        fs::write(
            page,
            "<!doctype html><title>Ferry</title><p>Build the page first: cd ui; npm run build</p>\n",
        )?;
    }
    println!("cargo:rerun-if-changed=src-tauri/src/commands.rs");
    let source = fs::read_to_string("src-tauri/src/commands.rs")?;
    let commands = commands(&source);
    let handlers: String = commands
        .iter()
        .map(|(name, only_for)| format!("{} commands::{name},\n", only_for.unwrap_or("")))
        .collect();
    let place = Path::new(&env::var("OUT_DIR")?).join("handlers.rs");
    fs::write(place, format!("tauri::generate_handler![\n{handlers}]"))?;
    let names: Vec<&'static str> = commands.iter().map(|(name, _)| &*String::from(*name).leak()).collect();
    tauri_build::try_build(
        tauri_build::Attributes::new()
            .capabilities_path_pattern("./src-tauri/capabilities/**/*")
            .app_manifest(tauri_build::AppManifest::new().commands(names.leak())),
    )?;
    Ok(())
}
