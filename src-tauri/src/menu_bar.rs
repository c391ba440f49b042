//! The menu bar at the top of a Mac's screen. The page, which knows every command and the language, says what is in it;
//! what the system does itself (copying, hiding) is asked for by name.

use tauri::menu::{
    AboutMetadata, HELP_SUBMENU_ID, IsMenuItem, Menu, MenuItem, PredefinedMenuItem, Submenu,
    WINDOW_SUBMENU_ID,
};
use tauri::{AppHandle, Emitter as _, Manager as _};

use crate::context_menu::{BarMenu, MenuEntry};
use crate::presses::Presses;
use crate::system;

/// The event that carries the id of a command of the page's.
const COMMAND_CHOSEN: &str = "command-chosen";

/// Every menu's choices are heard in one place: these are the bar's.
const OURS: &str = "bar:";

/// What the page calls the things that the system does itself.
const SYSTEM: &str = "system:";

/// Begins to hear what is chosen.
pub(crate) fn listen(app: &AppHandle) {
    app.on_menu_event(|app, event| match event.id().as_ref().strip_prefix(OURS) {
        // Not the system's own, which would ask nothing while work runs.
        Some("quit") => system::quit(app),
        Some(command) => {
            system::show_window(app);
            app.state::<Presses>().note();
            if let Err(error) = app.emit(COMMAND_CHOSEN, command) {
                tracing::warn!(%error, "the window did not hear of a command");
            }
        }
        None => {}
    });
}

/// Puts these menus into the bar.
pub(crate) fn show(app: &AppHandle, menus: Vec<BarMenu>) -> tauri::Result<()> {
    let bar = Menu::new(app)?;
    for BarMenu { id, title, groups } in menus {
        // The system adds to these two: the open windows, a search.
        let menu = match id.as_str() {
            "window" => Submenu::with_id(app, WINDOW_SUBMENU_ID, title, true)?,
            "help" => Submenu::with_id(app, HELP_SUBMENU_ID, title, true)?,
            _ => Submenu::new(app, title, true)?,
        };
        for (nth, group) in groups.into_iter().enumerate() {
            if nth > 0 {
                menu.append(&PredefinedMenuItem::separator(app)?)?;
            }
            for entry in group {
                menu.append(&*item(app, &entry)?)?;
            }
        }
        bar.append(&menu)?;
    }
    app.set_menu(bar).map(drop)
}

fn item(app: &AppHandle, entry: &MenuEntry) -> tauri::Result<Box<dyn IsMenuItem<tauri::Wry>>> {
    let Some(own) = entry.id.strip_prefix(SYSTEM) else {
        let keys = entry.keys.as_ref().map(|keys| keys.replace("Mod", "Cmd"));
        let id = format!("{OURS}{}", entry.id);
        return Ok(Box::new(MenuItem::with_id(app, id, &entry.words, entry.enabled, keys.as_deref())?));
    };
    let words = Some(entry.words.as_str());
    let own = match own {
        "about" => PredefinedMenuItem::about(app, words, Some(about(app))),
        "services" => PredefinedMenuItem::services(app, words),
        "hide" => PredefinedMenuItem::hide(app, words),
        "hide-others" => PredefinedMenuItem::hide_others(app, words),
        "show-all" => PredefinedMenuItem::show_all(app, words),
        "close" => PredefinedMenuItem::close_window(app, words),
        "undo" => PredefinedMenuItem::undo(app, words),
        "redo" => PredefinedMenuItem::redo(app, words),
        "cut" => PredefinedMenuItem::cut(app, words),
        "copy" => PredefinedMenuItem::copy(app, words),
        "paste" => PredefinedMenuItem::paste(app, words),
        "select-all" => PredefinedMenuItem::select_all(app, words),
        "full-screen" => PredefinedMenuItem::fullscreen(app, words),
        "minimize" => PredefinedMenuItem::minimize(app, words),
        "zoom" => PredefinedMenuItem::maximize(app, words),
        _ => PredefinedMenuItem::separator(app),
    };
    Ok(Box::new(own?))
}

fn about(app: &AppHandle) -> AboutMetadata<'static> {
    let about = app.package_info();
    AboutMetadata {
        name: Some("Ferry".into()),
        version: Some(about.version.to_string()),
        copyright: app.config().bundle.copyright.clone(),
        ..AboutMetadata::default()
    }
}
