//! The shell around the engine: start-up, plugins, the window. No logic of transfers lives here.

mod background;
mod batch;
#[cfg(target_os = "linux")]
mod cage;
mod clipboard;
mod commands;
mod context_menu;
mod deep_link;
mod desktop;
mod disk;
mod drag_out;
mod events;
mod granted_paths;
#[cfg(target_os = "linux")]
mod graphics;
mod held_files;
#[cfg(target_os = "macos")]
mod menu_bar;
mod openable;
#[cfg(target_os = "linux")]
mod page_network;
mod presses;
mod questions;
mod report;
mod spoken;
mod system;
mod thumbnails;
#[cfg(target_os = "linux")]
mod web_process;
#[cfg(target_os = "linux")]
mod web_sandbox;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use ferry_engine::api::take_over;
use ferry_engine::{Code, Engine, Options, Phrase, Theme, default_data_dir};
use tauri::webview::{NewWindowResponse, WebviewWindowBuilder};
use tauri::{AppHandle, Manager as _, Url, WebviewWindow};
use tauri_plugin_autostart::ManagerExt as _;

use crate::spoken::Spoken;

/// The label of the one window, as `tauri.conf.json` and the capabilities know it.
const WINDOW: &str = "main";

const HELP: &str = "\
Usage: ferry-desktop [--help | --version | --hidden | ferry://LINK]

The window of Ferry. `ferry` is the same engine in a terminal. A ferry:// link is
asked about in the window before anything happens.

--hidden  start behind the tray icon, as at login, if the settings say that closing
          the window leaves Ferry there and the desktop has a tray

FERRY_DATA_DIR  where settings, queue and library live; a window takes over from `ferry`
FERRY_LOG       what to log on stderr (error, warn, info, debug); default: warn
";

/// Starts the window and stays until it is closed.
///
/// Answers 1 when there is no display, when the data folder cannot be opened or belongs to another Ferry, and 2 for
/// arguments that it does not know.
pub fn run() -> ExitCode {
    if let Some(code) = answer_arguments() {
        return code;
    }
    // Before any program is started, the page's own processes included.
    #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment meanwhile")]
    // SAFETY: no thread was started yet.
    unsafe {
        ferry_engine::take_keys_from_environment();
    }
    #[cfg(target_os = "linux")]
    {
        graphics::prepare();
        web_sandbox::prepare();
    }
    log_to_stderr();
    #[cfg(target_os = "linux")]
    desktop::prepare();
    #[cfg(target_os = "linux")]
    if gtk::init().is_err() {
        tell(
            "error: Ferry's window needs a display, and DISPLAY or WAYLAND_DISPLAY names none; use `ferry` in a terminal",
        );
        return ExitCode::FAILURE;
    }
    let data_dir = match default_data_dir() {
        Ok(folder) => folder,
        Err(error) => {
            tell(&format!("error[{}]: {error}", error.code()));
            return ExitCode::FAILURE;
        }
    };
    match build(&data_dir) {
        Ok(app) => {
            app.run(system::on_run_event);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("error: the window could not be made; {error}"));
            ExitCode::FAILURE
        }
    }
}

fn build(data_dir: &Path) -> tauri::Result<tauri::App> {
    // The engine opens while the toolkit starts. A second instance ends in `build`, below, before it looks at the result.
    let mut options = Options::new(data_dir.to_owned());
    options.resume_unfinished = true;
    let folder = data_dir.to_owned();
    let opening = tauri::async_runtime::spawn(take_over(options));

    let builder = tauri::Builder::default();
    let builder = match single_instance(data_dir) {
        Some(plugin) => builder.plugin(plugin),
        None => builder,
    };
    builder
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_autostart::Builder::new().app_name("Ferry").arg(background::HIDDEN).build())
        .plugin(tauri_plugin_notification::init())
        .plugin(tauri_plugin_opener::Builder::new().open_js_links_on_click(false).build())
        .plugin(tauri_plugin_window_state::Builder::new().with_state_flags(kept_window_state()).build())
        .invoke_handler(include!(concat!(env!("OUT_DIR"), "/handlers.rs")))
        .manage(granted_paths::GrantedPaths::default())
        .manage(presses::Presses::default())
        .manage(questions::Questions::default())
        .manage(system::Asking::default())
        .manage(background::TrayIcon::default())
        .manage(background::NeverShown::default())
        .manage(deep_link::Proposed::default())
        .manage(thumbnails::Thumbnails::new(data_dir))
        .on_window_event(system::on_window_event)
        .setup(move |app| {
            let opened = tauri::async_runtime::block_on(opening)?;
            match opened {
                Ok((engine, holder)) => {
                    // For as long as the app: whoever is served through it finds another holder when that ends.
                    app.manage(holder);
                    start(app.handle(), &engine)?;
                }
                Err(error) => refuse_to_start(app.handle(), &folder, &error),
            }
            Ok(())
        })
        .build(tauri::generate_context!())
}

/// The window comes last: its page finds every command ready.
fn start(app: &AppHandle, engine: &Engine) -> tauri::Result<()> {
    app.manage(engine.clone());
    events::forward(app.clone(), engine);
    system::start(app, engine);
    deep_link::listen(app, engine);
    follow_desktop(app, engine);
    tell_of_lacks(engine);

    let config = app.config().app.windows.iter().find(|window| window.label == WINDOW);
    let config = config.cloned().unwrap_or_default();
    let hidden = background::starts_hidden(app, engine);
    let window = WebviewWindowBuilder::from_config(app, &config)?
        .visible(!hidden)
        .initialization_script(format!("window.systemLanguage = '{}';", Spoken::of_system()))
        .on_navigation(is_own_page)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .build()?;
    #[cfg(target_os = "linux")]
    page_network::cut(&window);
    show_theme(&window, engine.settings().theme);
    context_menu::prepare(&window);
    #[cfg(target_os = "linux")]
    presses::prepare(&window);
    #[cfg(target_os = "linux")]
    web_process::mind(&window, app);
    #[cfg(target_os = "macos")]
    menu_bar::listen(app);
    #[cfg(target_os = "linux")]
    background::mind_the_panel(app);
    if hidden {
        app.state::<background::NeverShown>().begin(app);
        background::show_unless_tray_comes(app);
    }
    Ok(())
}

/// Says what of the desktop is missing, as far as a user would wait for it in vain. The report has the rest.
fn tell_of_lacks(engine: &Engine) {
    if desktop::lacks_part(desktop::Part::Bus) {
        engine.add_notice(Phrase::NoDesktopBus);
    } else if desktop::lacks_part(desktop::Part::Tray) && engine.settings().close_to_tray {
        engine.add_notice(Phrase::NoTrayIcon);
    }
}

/// Whether Ferry starts with the desktop is the desktop's to say: it may have been changed there.
fn follow_desktop(app: &AppHandle, engine: &Engine) {
    let Ok(starts) = app.autolaunch().is_enabled() else { return };
    if engine.settings().start_at_login == starts {
        return;
    }
    let engine = engine.clone();
    tauri::async_runtime::spawn(async move {
        if let Err(error) = engine.change_settings(|settings| settings.start_at_login = starts).await {
            tracing::warn!(%error, "the settings still say otherwise about starting with the desktop");
        }
    });
}

/// Says why there will be no window, in a dialog and on stderr, then ends with 1.
fn refuse_to_start(app: &AppHandle, data_dir: &Path, error: &ferry_engine::Error) {
    tell(&format!("error[{}]: {error}", error.code()));
    let words = Spoken::in_folder(data_dir);
    let title = if error.code() == Code::BusyDataDir { &words.shell_busy } else { &words.shell_no_start };
    let dialog = rfd::AsyncMessageDialog::new()
        .set_level(rfd::MessageLevel::Error)
        .set_title(title)
        .set_description(words.sentences(error))
        .set_buttons(rfd::MessageButtons::OkCustom(words.shell_close.clone()));
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        dialog.show().await;
        app.exit(1);
    });
}

/// Keeps the window's frame, and the ground under the page until it has painted, in the theme of the settings.
fn show_theme(window: &WebviewWindow, theme: Theme) {
    let wanted = match theme {
        Theme::System => None,
        Theme::Light => Some(tauri::Theme::Light),
        Theme::Dark => Some(tauri::Theme::Dark),
    };
    let outcome = window.set_theme(wanted).and_then(|()| {
        let dark = wanted.map_or_else(|| window.theme(), Ok)? == tauri::Theme::Dark;
        let ground = if dark {
            tauri::window::Color(0x16, 0x1a, 0x21, 0xff)
        } else {
            tauri::window::Color(0xff, 0xff, 0xff, 0xff)
        };
        window.set_background_color(Some(ground))
    });
    if let Err(error) = outcome {
        tracing::warn!(%error, "the theme of the window's frame could not be set");
    }
}

/// The page never leaves Ferry's own address, whatever it is made to click on.
fn is_own_page(url: &Url) -> bool {
    is_page_of_system(url) || (tauri::is_dev() && url.as_str().starts_with("http://localhost:1420/"))
}

/// Where the page is on this system: the very address, without a port or a name in front, which other programs could serve.
fn is_page_of_system(url: &Url) -> bool {
    // Windows knows no schemes of its own in a webview; there the page has this name.
    let own = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
    url.as_str().strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Brings the window of a Ferry to the front that runs already. Nothing where it cannot be asked: then the lock on the data
/// folder says that it runs.
fn single_instance(data_dir: &Path) -> Option<tauri::plugin::TauriPlugin<tauri::Wry>> {
    let builder = tauri_plugin_single_instance::Builder::new().callback(|app, arguments, _folder| {
        if !arguments.iter().any(|argument| argument == background::HIDDEN) {
            system::show_window(app);
        }
    });
    let id = instance_id(data_dir);
    #[cfg(target_os = "linux")]
    if desktop::lacks_part(desktop::Part::Bus) {
        return None;
    } else if desktop::is_hung(&format!("{id}.SingleInstance")) {
        desktop::note(desktop::Part::Instances, "the Ferry that runs already does not answer");
        return None;
    }
    Some(builder.dbus_id(id).build())
}

/// Where a data folder was chosen, "the same Ferry" means the same folder.
fn instance_id(data_dir: &Path) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    const IDENTIFIER: &str = "app.ferry.desktop";
    if std::env::var_os("FERRY_DATA_DIR").is_none() {
        return IDENTIFIER.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    data_dir.hash(&mut hasher);
    format!("{IDENTIFIER}.data{:016x}", hasher.finish())
}

fn kept_window_state() -> tauri_plugin_window_state::StateFlags {
    use tauri_plugin_window_state::StateFlags as Keep;
    Keep::SIZE | Keep::POSITION | Keep::MAXIMIZED | Keep::FULLSCREEN
}

fn answer_arguments() -> Option<ExitCode> {
    let argument = std::env::args_os().nth(1)?;
    let text = match argument.to_str() {
        Some("--version" | "-V") => format!("ferry-desktop {}\n", env!("CARGO_PKG_VERSION")),
        Some("--help" | "-h") => HELP.to_owned(),
        Some(background::HIDDEN) => return None,
        Some(link) if link.starts_with("ferry:") => return None,
        // macOS hands a process serial number to programs that the Finder starts.
        Some(other) if other.starts_with("-psn_") => return None,
        _ => {
            tell(&format!("error: unknown argument `{}`; see ferry-desktop --help", argument.display()));
            return Some(ExitCode::from(2));
        }
    };
    // A closed pipe is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Some(ExitCode::SUCCESS)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_| "warn".into());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// One line for whoever started Ferry from a terminal.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words between backticks in the first column of the table.
    fn commands_in_threat_model() -> Vec<String> {
        let text = include_str!("../../docs/security.md");
        let (_, table) = text.split_once("\n## Commands of the page\n").unwrap();
        let table = table.split("\n## ").next().unwrap_or_default();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        rows.flat_map(|cell| cell.split(['`', ',', ' ']).filter(|word| !word.is_empty()))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn each_command_of_the_page_has_its_line_in_the_threat_model() {
        let capability: serde_json::Value =
            serde_json::from_str(include_str!("../capabilities/main.json")).unwrap();
        let granted = capability["permissions"].as_array().unwrap().iter().filter_map(|one| {
            one.as_str().and_then(|one| one.strip_prefix("allow-")).map(|one| one.replace('-', "_"))
        });
        let mut granted: Vec<String> = granted.collect();
        let mut told = commands_in_threat_model();
        granted.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, granted);
        // A command that is not granted to the page does not belong into the program.
        let source = include_str!("commands.rs");
        let made = source.split("#[tauri::command").skip(1).filter_map(|rest| {
            rest.split_once("pub(crate) ")?.1.split_once("fn ")?.1.split(['(', '<']).next()
        });
        let mut made: Vec<&str> = made.collect();
        made.sort_unstable();
        assert_eq!(made, granted);
    }

    #[test]
    fn the_page_cannot_leave() {
        let own = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
        for address in [own.to_owned(), format!("{own}/"), format!("{own}/index.html?x#y")] {
            assert!(is_page_of_system(&address.parse().unwrap()), "{address}");
        }
        // What another program of this computer could serve.
        for address in [format!("{own}:8080/"), format!("{own}.example.org/")] {
            assert!(!is_page_of_system(&address.parse().unwrap()), "{address}");
        }
        let other = if cfg!(windows) { "tauri://localhost/" } else { "http://tauri.localhost/" };
        for address in [
            other,
            "https://tauri.localhost:8443/",
            "tauri://evil/",
            "tauri://x@localhost/",
            "http://localhost/",
            "https://example.org/",
            "file:///etc/passwd",
            "data:text/html,x",
            "javascript:alert(1)",
        ] {
            assert!(!is_page_of_system(&address.parse().unwrap()), "{address}");
        }
    }
}
