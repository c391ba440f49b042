//! Going on without the window: closing hides it and a tray icon brings it back, if the settings say so and a tray is there.
//!
//! A hidden window must have a way back. On Linux a tray icon shows only where a panel takes it in, so the panel is asked
//! each time: it may have come or gone since.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferry_engine::Engine;
use tauri::{AppHandle, Manager as _};
use tauri_plugin_notification::NotificationExt as _;

use crate::WINDOW;
#[cfg(target_os = "linux")]
use crate::desktop::{self, Part};
use crate::spoken::Spoken;
use crate::system::show_window;

/// The argument that the desktop starts Ferry with at login.
pub(crate) const HIDDEN: &str = "--hidden";

/// A desktop that is just starting may show its panel after Ferry.
const TRAY_COMES_WITHIN: Duration = Duration::from_secs(15);

/// How long the way out of the full screen takes.
#[cfg(target_os = "macos")]
const LEAVING_FULL_SCREEN: Duration = Duration::from_secs(1);

/// Where and how large the window was, as it is kept, while a window that began hidden was never shown. It knows nothing
/// of either then, and what is kept at the end would be that.
#[derive(Debug, Default)]
pub(crate) struct NeverShown(Mutex<Option<Vec<u8>>>);

impl NeverShown {
    /// The window begins hidden.
    pub fn begin(&self, app: &AppHandle) {
        let kept = kept_place(app).and_then(|path| std::fs::read(path).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// The window is shown: from here on it knows.
    pub fn over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Puts back what was kept before, after the end has kept anew.
    pub fn put_back(&self, app: &AppHandle) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(before), Some(path)) = (before, kept_place(app)) else { return };
        if let Err(error) = ferry_engine::write_whole(&path, &before) {
            tracing::debug!(%error, "the window's place is forgotten");
        }
    }
}

fn kept_place(app: &AppHandle) -> Option<PathBuf> {
    Some(app.path().app_config_dir().ok()?.join(tauri_plugin_window_state::DEFAULT_FILENAME))
}

/// Whether Ferry has made its tray icon. Whether anything shows it is another question.
#[derive(Debug, Default)]
pub(crate) struct TrayIcon(AtomicBool);

impl TrayIcon {
    pub fn made(&self, made: bool) {
        self.0.store(made, Ordering::Release);
    }
}

/// Whether a hidden window could be brought back.
pub(crate) fn has_way_back(app: &AppHandle) -> bool {
    app.state::<TrayIcon>().0.load(Ordering::Acquire) && trays_are_shown()
}

/// Whether closing the window leaves Ferry running.
pub(crate) fn goes_on_without_window(app: &AppHandle) -> bool {
    app.try_state::<Engine>().is_some_and(|engine| engine.settings().close_to_tray) && has_way_back(app)
}

/// Hides the window. The first time a notice says what became of it.
pub(crate) fn hide(app: &AppHandle) {
    let Some(window) = app.get_webview_window(WINDOW) else { return };
    // A Mac leaves a black screen of its own where a window that filled it is hidden.
    #[cfg(target_os = "macos")]
    if window.is_fullscreen().unwrap_or(false) && window.set_fullscreen(false).is_ok() {
        // Nothing tells when that is done.
        let app = app.clone();
        tauri::async_runtime::spawn(async move {
            tokio::time::sleep(LEAVING_FULL_SCREEN).await;
            hide(&app);
        });
        return;
    }
    if let Err(error) = window.hide() {
        tracing::warn!(%error, "the window could not be hidden");
        return;
    }
    let engine = app.state::<Engine>().inner().clone();
    if engine.settings().told_of_tray {
        return;
    }
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        // Not shown is not told: the next time tries again.
        if !matches!(tauri::async_runtime::spawn_blocking(notices_are_shown).await, Ok(true)) {
            return;
        }
        let words = Spoken::now(&app);
        let text =
            if cfg!(target_os = "macos") { &words.shell_hidden_text_mac } else { &words.shell_hidden_text };
        let notice = app.notification().builder().title(&words.shell_hidden).body(text);
        if let Err(error) = notice.show() {
            tracing::debug!(%error, "a notice could not be shown");
            return;
        }
        if let Err(error) = engine.change_settings(|settings| settings.told_of_tray = true).await {
            tracing::warn!(%error, "the same notice will come again");
        }
    });
}

/// Whether this start shows no window: the desktop's own, where closing would have hidden it.
pub(crate) fn starts_hidden(app: &AppHandle, engine: &Engine) -> bool {
    std::env::args_os().any(|argument| argument == HIDDEN)
        && engine.settings().close_to_tray
        && app.state::<TrayIcon>().0.load(Ordering::Acquire)
}

/// Shows a window that was started hidden after all, if no panel takes in the tray icon.
pub(crate) fn show_unless_tray_comes(app: &AppHandle) {
    let waiting_app = app.clone();
    let waiting = std::thread::Builder::new().name("tray".into()).spawn(move || {
        let began = Instant::now();
        while !has_way_back(&waiting_app) {
            if began.elapsed() > TRAY_COMES_WITHIN {
                show_window(&waiting_app);
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    if waiting.is_err() {
        show_window(app);
    }
}

/// The name on the session bus of whoever looks after tray icons.
#[cfg(target_os = "linux")]
const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// Shows a hidden window again when the panel that could bring it back has gone, and does not come back as one does that
/// is only started anew.
#[cfg(target_os = "linux")]
pub(crate) fn mind_the_panel(app: &AppHandle) {
    use gtk::gio;

    let gone = {
        let app = app.clone();
        move || {
            let window = app.get_webview_window(WINDOW);
            if window.is_some_and(|window| !window.is_visible().unwrap_or(true)) {
                show_unless_tray_comes(&app);
            }
        }
    };
    if desktop::lacks_part(Part::Bus) {
        return;
    }
    let bus = match gio::bus_get_sync(gio::BusType::Session, gio::Cancellable::NONE) {
        Ok(bus) => bus,
        // Nothing brings a hidden window back then, so none is hidden.
        Err(error) => {
            tracing::debug!(%error, "no session bus");
            return;
        }
    };
    // A bus that ends would take Ferry with it: that is GLib's habit unless it is told otherwise.
    bus.set_exit_on_close(false);
    let bus_gone = gone.clone();
    bus.connect_closed(move |_, _, _| bus_gone());
    // Not `bus_watch_name`: without a bus, or when it ends, that calls back without a connection, which its binding takes
    // for granted; and a panic in a callback from C ends the program.
    let watcher_gone = gone.clone();
    bus.signal_subscribe(
        Some("org.freedesktop.DBus"),
        Some("org.freedesktop.DBus"),
        Some("NameOwnerChanged"),
        Some("/org/freedesktop/DBus"),
        Some(WATCHER),
        gio::DBusSignalFlags::NONE,
        move |_, _, _, _, _, change| {
            let owner = change.try_child_value(2).and_then(|owner| owner.get::<String>());
            if owner.is_some_and(|owner| owner.is_empty()) {
                watcher_gone();
            }
        },
    );
    // Where something else than the panel looks after the icons, it says that the panel has gone.
    bus.signal_subscribe(
        Some(WATCHER),
        Some(WATCHER),
        Some("StatusNotifierHostUnregistered"),
        None,
        None,
        gio::DBusSignalFlags::NONE,
        move |_, _, _, _, _, _| gone(),
    );
}

/// Asks somebody on the session bus, and waits half a second at most.
#[cfg(target_os = "linux")]
fn ask_on_bus(
    [name, path, interface, method]: [&str; 4],
    arguments: Option<&gtk::glib::Variant>,
    flags: gtk::gio::DBusCallFlags,
) -> Result<gtk::glib::Variant, gtk::glib::Error> {
    use gtk::gio;

    const PATIENCE_MS: i32 = 500;
    if desktop::lacks_part(Part::Bus) {
        return Err(gtk::glib::Error::new(gio::IOErrorEnum::NotFound, "there is no session bus"));
    }
    let bus = gio::bus_get_sync(gio::BusType::Session, gio::Cancellable::NONE)?;
    bus.call_sync(
        Some(name),
        path,
        interface,
        method,
        arguments,
        None,
        flags,
        PATIENCE_MS,
        gio::Cancellable::NONE,
    )
}

/// Whether somebody is there who shows notices, and answers. Whoever hands a notice to one that hangs hangs, too.
#[cfg(target_os = "linux")]
pub(crate) fn notices_are_shown() -> bool {
    const NOTICES: &str = "org.freedesktop.Notifications";
    let whom = [NOTICES, "/org/freedesktop/Notifications", NOTICES, "GetServerInformation"];
    // The desktop starts it where it does not run yet.
    let asked = ask_on_bus(whom, None, gtk::gio::DBusCallFlags::NONE);
    if let Err(error) = &asked {
        desktop::note(Part::Notices, error.message());
    }
    asked.is_ok()
}

/// Whether somebody is there who shows notices.
#[cfg(not(target_os = "linux"))]
pub(crate) fn notices_are_shown() -> bool {
    true
}

/// Whether a panel is there that shows tray icons.
#[cfg(target_os = "linux")]
fn trays_are_shown() -> bool {
    use gtk::prelude::ToVariant as _;

    let asked = ask_on_bus(
        [WATCHER, "/StatusNotifierWatcher", "org.freedesktop.DBus.Properties", "Get"],
        Some(&(WATCHER, "IsStatusNotifierHostRegistered").to_variant()),
        gtk::gio::DBusCallFlags::NO_AUTO_START,
    );
    match asked {
        Ok(answer) => answer
            .try_child_value(0)
            .and_then(|value| value.as_variant())
            .and_then(|value| value.get::<bool>())
            .unwrap_or(false),
        Err(error) => {
            tracing::debug!(%error, "no panel shows tray icons");
            false
        }
    }
}

/// Whether a panel is there that shows tray icons.
#[cfg(not(target_os = "linux"))]
fn trays_are_shown() -> bool {
    true
}
