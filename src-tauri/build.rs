//! Gives the window its configuration, its icons, and a permission for each command: without an explicit `allow` in
//! `capabilities/` the page can call nothing.

/// The commands of `src/commands.rs`.
const COMMANDS: &[&str] = &[
    "open",
    "look",
    "rows",
    "which",
    "between",
    "hide",
    "unhide",
    "day",
    "pick_files",
    "summarise",
    "upload",
    "stop_comparing",
    "download",
    "recognise",
    "pause",
    "resume",
    "cancel",
    "retry",
    "remove",
    "move_rows",
    "move_behind",
    "take_back",
    "timeline",
    "pictures",
    "show_in_folder",
    "open_file",
    "thumbnail",
    "file_there",
    "can_download_again",
    "download_again",
    "assets",
    "asset_count",
    "asset_info",
    "asset_delete",
    "export_assets",
    "import_assets",
    "services",
    "check",
    "set_key",
    "remove_key",
    "save_settings",
    "tray_there",
    "reset_settings",
    "export_settings",
    "import_settings",
    "link_offer",
    "answer_link",
    "open_menu",
    "copy_text",
    "paste_text",
    "set_menu_bar",
    "drag_out",
    "pick_downloads_folder",
    "choose_folder_for",
    "diagnostics",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo check` and the engine's tests must not need Node: without a built page there is one that says so.
    let page = std::path::Path::new("ui/dist/index.html");
    println!("cargo:rerun-if-changed=ui/dist");
    if !page.exists() {
        std::fs::create_dir_all("ui/dist")?;
        std::fs::write(
            page,
            "<!doctype html><title>Ferry</title><p>Build the page first: cd ui; npm run build</p>\n",
        )?;
    }
    tauri_build::try_build(
        tauri_build::Attributes::new()
            .capabilities_path_pattern("./src-tauri/capabilities/**/*")
            .app_manifest(tauri_build::AppManifest::new().commands(COMMANDS)),
    )?;
    Ok(())
}
