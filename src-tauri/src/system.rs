//! What Ferry shows and asks outside of its window: tray, taskbar progress, one notice a batch, the question before
//! quitting while work runs; and what it tells the computer: not to fall asleep until the work is done.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ferry_engine::{Can, Engine, Kind, ListWindow, Size};
use tauri::menu::{Menu, MenuItem, PredefinedMenuItem};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::window::{ProgressBarState, ProgressBarStatus};
use tauri::{AppHandle, Manager as _, RunEvent, Window, WindowEvent};
use tauri_plugin_notification::NotificationExt as _;
use tokio::sync::broadcast::error::RecvError;

use crate::batch::{Batch, Outcome, is_working};
use crate::granted_paths::GrantedPaths;
use crate::presses::Presses;
use crate::spoken::{Spoken, fill};
use crate::{WINDOW, background, desktop, held_files};

/// How long the engine may take to write everything down when Ferry ends.
/// What was removed and can still be taken back goes for good before that.
const LONGEST_REMOVAL: Duration = Duration::from_secs(1);
const LONGEST_GOODBYE: Duration = Duration::from_secs(2);

/// A panel redraws for every change: once a second is enough for numbers that people read.
const TRAY_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the question before quitting is on the screen.
#[derive(Debug, Default)]
pub(crate) struct Asking(AtomicBool);

/// Makes the tray and begins to follow the work.
pub(crate) fn start(app: &AppHandle, engine: &Engine) {
    let tray = make_tray(app);
    app.state::<background::TrayIcon>().made(tray.is_some());
    leave_on_signals(app);
    let brought_forward = app.clone();
    let on_click = app.notification().on_action(move |_| show_window(&brought_forward));
    if let Err(error) = on_click {
        tracing::debug!(%error, "a click on a notice will do nothing");
    }
    let (app, engine) = (app.clone(), engine.clone());
    // A thread of its own: the calls to the desktop's bus block.
    let watching =
        std::thread::Builder::new().name("system".into()).spawn(move || watch(&app, &engine, tray));
    if let Err(error) = watching {
        tracing::warn!(%error, "tray, taskbar and notices stand still");
    }
}

/// Brings the window to the front.
pub(crate) fn show_window(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(WINDOW) {
        app.state::<background::NeverShown>().over();
        let _ = window.unminimize();
        let _ = window.show();
        let _ = window.set_focus();
    }
}

/// Follows drags. Closing hides the window or ends Ferry; before that it asks if work runs.
pub(crate) fn on_window_event(window: &Window, event: &WindowEvent) {
    match event {
        WindowEvent::DragDrop(drag) => {
            window.state::<GrantedPaths>().follow(drag);
            if matches!(drag, tauri::DragDropEvent::Drop { .. }) {
                window.state::<Presses>().note();
            }
            held_files::tell(window, drag);
        }
        WindowEvent::CloseRequested { api, .. } => {
            let app = window.app_handle();
            let running = running(app);
            if background::goes_on_without_window(app) {
                api.prevent_close();
                background::hide(app);
            } else if running > 0 {
                api.prevent_close();
                ask_to_quit(app, running);
            }
        }
        _ => {}
    }
}

/// Asks before quitting from outside the window, and lets the engine finish its writing at the very end.
pub(crate) fn on_run_event(app: &AppHandle, event: RunEvent) {
    match event {
        // Without a code it was the desktop that asked; with one, Ferry has decided.
        RunEvent::ExitRequested { code: None, api, .. } if app.get_webview_window(WINDOW).is_some() => {
            let running = running(app);
            if running > 0 {
                api.prevent_exit();
                ask_to_quit(app, running);
            }
        }
        // A click on the icon in the Dock.
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => show_window(app),
        RunEvent::Exit => {
            if let Some(engine) = app.try_state::<Engine>() {
                let list = app.try_state::<ListWindow>();
                let goodbye = async {
                    if let Some(list) = list {
                        let removed = tokio::time::timeout(LONGEST_REMOVAL, list.remove_hidden()).await;
                        if !matches!(removed, Ok(Ok(()))) {
                            tracing::warn!("what was removed last is on the list again at the next start");
                        }
                    }
                    tokio::time::timeout(LONGEST_GOODBYE, engine.shutdown()).await
                };
                if tauri::async_runtime::block_on(goodbye).is_err() {
                    tracing::warn!("the last writing took too long; the next start sorts it out");
                }
            }
            app.state::<background::NeverShown>().put_back(app);
            #[cfg(target_os = "linux")]
            crate::web_process::start_anew_if_need_be();
        }
        _ => {}
    }
}

/// Ends Ferry, after a question if work runs.
pub(crate) fn quit(app: &AppHandle) {
    match running(app) {
        0 => app.exit(0),
        running => ask_to_quit(app, running),
    }
}

fn running(app: &AppHandle) -> usize {
    app.try_state::<Engine>().map_or(0, |engine| engine.transfers(is_working).len())
}

fn ask_to_quit(app: &AppHandle, running: usize) {
    if app.state::<Asking>().0.swap(true, Ordering::AcqRel) {
        return;
    }
    show_window(app);
    let words = Spoken::now(app);
    let quit = words.shell_quit_do.clone();
    let what = match running {
        1 => words.shell_quit_one.clone(),
        count => fill(&words.shell_quit_many, &[("n", &count.to_string())]),
    };
    let dialog = rfd::AsyncMessageDialog::new()
        .set_level(rfd::MessageLevel::Warning)
        .set_title(&words.shell_quit_title)
        .set_description(what)
        .set_buttons(rfd::MessageButtons::OkCancelCustom(quit.clone(), words.shell_quit_keep.clone()));
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let answer = dialog.show().await;
        app.state::<Asking>().0.store(false, Ordering::Release);
        // Closing the question keeps things as they are.
        if matches!(answer, rfd::MessageDialogResult::Ok) || answer == rfd::MessageDialogResult::Custom(quit)
        {
            app.exit(0);
        }
    });
}

/// A service manager or a terminal that ends Ferry is no reason to lose a checkpoint.
#[cfg(unix)]
fn leave_on_signals(app: &AppHandle) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let app = app.clone();
        tauri::async_runtime::spawn(async move {
            match signal(kind) {
                Ok(mut arrived) => {
                    arrived.recv().await;
                    app.exit(0);
                }
                Err(error) => tracing::warn!(%error, "a signal cannot be heard"),
            }
        });
    }
}

#[cfg(not(unix))]
fn leave_on_signals(_app: &AppHandle) {}

struct Tray {
    icon: TrayIcon,
    speeds: MenuItem<tauri::Wry>,
    open: MenuItem<tauri::Wry>,
    pause: MenuItem<tauri::Wry>,
    resume: MenuItem<tauri::Wry>,
    quit: MenuItem<tauri::Wry>,
}

impl Tray {
    /// Another language was chosen.
    fn speak(&self, words: &Spoken) {
        for (item, text) in [
            (&self.open, &words.shell_open),
            (&self.pause, &words.shell_pause_all),
            (&self.resume, &words.shell_resume_all),
            (&self.quit, &words.shell_quit),
        ] {
            if let Err(error) = item.set_text(text) {
                tracing::debug!(%error, "the tray keeps its old words");
            }
        }
    }
}

/// A desktop without a tray, or without the library for it, goes without.
fn make_tray(app: &AppHandle) -> Option<Tray> {
    // The library behind the tray is looked for at run time, and its absence is a panic.
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| build_tray(app)));
    let why = match made {
        Ok(Ok(tray)) => return Some(tray),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the desktop lacks the library for it".to_owned(),
    };
    desktop::note(desktop::Part::Tray, why);
    None
}

fn build_tray(app: &AppHandle) -> tauri::Result<Tray> {
    let words = Spoken::now(app);
    let speeds = MenuItem::with_id(app, "speeds", &words.shell_idle, false, None::<&str>)?;
    let open = MenuItem::with_id(app, "open", &words.shell_open, true, None::<&str>)?;
    let pause = MenuItem::with_id(app, "pause", &words.shell_pause_all, true, None::<&str>)?;
    let resume = MenuItem::with_id(app, "resume", &words.shell_resume_all, true, None::<&str>)?;
    let quit_ferry = MenuItem::with_id(app, "quit", &words.shell_quit, true, None::<&str>)?;
    let menu = Menu::with_items(
        app,
        &[
            &speeds,
            &PredefinedMenuItem::separator(app)?,
            &open,
            &pause,
            &resume,
            &PredefinedMenuItem::separator(app)?,
            &quit_ferry,
        ],
    )?;
    // Only macOS tints an icon to fit its menu bar. Elsewhere a panel may be light or dark: colours show on both.
    let image = if cfg!(target_os = "macos") {
        tauri::include_image!("icons/tray.png")
    } else {
        tauri::include_image!("icons/64x64.png")
    };
    let mut builder = TrayIconBuilder::with_id("ferry")
        .icon(image)
        .icon_as_template(true)
        .tooltip("Ferry")
        .menu(&menu)
        .show_menu_on_left_click(cfg!(target_os = "macos"))
        .on_menu_event(|app, event| match event.id().as_ref() {
            "open" => show_window(app),
            "pause" => pause_all(app),
            "resume" => resume_all(app),
            "quit" => quit(app),
            _ => {}
        })
        .on_tray_icon_event(|tray, event| {
            let left = matches!(
                event,
                TrayIconEvent::Click { button: MouseButton::Left, button_state: MouseButtonState::Up, .. }
            );
            // On macOS that click opens the menu.
            if left && !cfg!(target_os = "macos") {
                show_window(tray.app_handle());
            }
        });
    // The icon passes through a file; a folder of the user's own is safer than one that everybody shares.
    if let Some(folder) = app.path().app_cache_dir().ok().filter(|folder| takes_files(folder)) {
        builder = builder.temp_dir_path(folder);
    }
    Ok(Tray { icon: builder.build(app)?, speeds, open, pause, resume, quit: quit_ferry })
}

/// Whether the icon can be written there. What belongs to the session is taken otherwise.
fn takes_files(folder: &Path) -> bool {
    let tried = folder.join(format!(".ferry-{}", std::process::id()));
    std::fs::create_dir_all(&tried).and_then(|()| std::fs::remove_dir(&tried)).is_ok()
}

/// As the page's own command does: rows that were removed and may still come back are none of all.
fn pause_all(app: &AppHandle) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let ids = app.state::<ListWindow>().which(None, Can::Pause);
        if let Err(error) = app.state::<Engine>().pause(&ids).await {
            tracing::warn!(%error, "pausing everything failed");
        }
    });
}

fn resume_all(app: &AppHandle) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let ids = app.state::<ListWindow>().which(None, Can::Resume);
        if let Err(error) = app.state::<Engine>().resume(&ids).await {
            tracing::warn!(%error, "resuming everything failed");
        }
    });
}

/// What is on show just now, so that nothing is drawn twice.
struct Shown {
    app: AppHandle,
    tray: Option<Tray>,
    tray_text: String,
    tray_words: &'static Spoken,
    tray_at: Option<Instant>,
    progress: Option<Progress>,
    awake: Option<Awake>,
}

/// Keeps the computer awake until it is dropped. In a thread of its own: what it asks the desktop may never be answered, and
/// that must hold up nothing else.
struct Awake {
    _held: mpsc::Sender<()>,
}

impl Awake {
    fn begin(reason: String) -> Self {
        let (held, dropped) = mpsc::channel::<()>();
        let keeping = move || {
            let asked = keepawake::Builder::default()
                .idle(true)
                .reason(reason.as_str())
                .app_name("Ferry")
                .app_reverse_domain("app.ferry.desktop")
                .create();
            match asked {
                // Nothing is ever sent: this ends when the other end is dropped.
                Ok(_awake) => drop(dropped.recv()),
                Err(error) => tracing::debug!(%error, "the computer may fall asleep while files move"),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("awake".into()).spawn(keeping) {
            tracing::debug!(%error, "the computer may fall asleep while files move");
        }
        Self { _held: held }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Percent(u64),
    Unknown,
}

fn watch(app: &AppHandle, engine: &Engine, tray: Option<Tray>) {
    // Listening begins before looking, so that nothing falls in between.
    let mut changes = engine.subscribe();
    let mut batch = Batch::default();
    batch.begin(|row| engine.look(row));
    let mut shown = Shown {
        app: app.clone(),
        tray,
        tray_text: String::new(),
        tray_words: Spoken::now(app),
        tray_at: None,
        progress: None,
        awake: None,
    };
    loop {
        shown.show(&batch, engine.settings().keep_awake);
        let outcome = batch.finish();
        if let Some(outcome) = outcome
            && engine.settings().notifications
            && !is_in_front(app)
        {
            notify(app, &outcome);
        }
        match changes.blocking_recv() {
            Ok(changes) => batch.take_in(&changes),
            Err(RecvError::Lagged(_)) => batch.catch_up(|row| engine.look(row)),
            Err(RecvError::Closed) => return,
        }
    }
}

impl Shown {
    fn show(&mut self, batch: &Batch, may_keep_awake: bool) {
        let working = batch.is_working();
        self.show_in_tray(batch, working);
        self.show_in_taskbar(working.then(|| batch.percent().map_or(Progress::Unknown, Progress::Percent)));
        self.keep_awake(working && may_keep_awake);
    }

    fn show_in_tray(&mut self, batch: &Batch, working: bool) {
        let Some(tray) = &self.tray else { return };
        let words = Spoken::now(&self.app);
        let text = if working {
            speed_words(batch.speed(Kind::Download), batch.speed(Kind::Upload))
                .unwrap_or_else(|| words.shell_starting.clone())
        } else {
            words.shell_idle.clone()
        };
        let due = !working || self.tray_at.is_none_or(|at| at.elapsed() >= TRAY_INTERVAL);
        if !std::ptr::eq(words, self.tray_words) {
            tray.speak(words);
            self.tray_words = words;
        }
        if text == self.tray_text || !due {
            return;
        }
        // A panel that refuses is not worth a word: the next change tries again.
        let _ = tray.speeds.set_text(&text);
        let _ = tray.icon.set_tooltip(Some(format!("Ferry: {text}")));
        // Windows has no room for words beside an icon.
        let _ = tray.icon.set_title(working.then_some(&text));
        self.tray_text = text;
        self.tray_at = Some(Instant::now());
    }

    fn show_in_taskbar(&mut self, progress: Option<Progress>) {
        if progress == self.progress {
            return;
        }
        let Some(window) = self.app.get_webview_window(WINDOW) else { return };
        let (status, percent) = match progress {
            None => (ProgressBarStatus::None, None),
            Some(Progress::Unknown) => (ProgressBarStatus::Indeterminate, None),
            Some(Progress::Percent(percent)) => (ProgressBarStatus::Normal, Some(percent)),
        };
        if window.set_progress_bar(ProgressBarState { status: Some(status), progress: percent }).is_ok() {
            self.progress = progress;
        }
    }

    fn keep_awake(&mut self, working: bool) {
        if !working {
            self.awake = None;
        } else if self.awake.is_none() {
            self.awake = Some(Awake::begin(Spoken::now(&self.app).shell_awake.clone()));
        }
    }
}

fn is_in_front(app: &AppHandle) -> bool {
    app.get_webview_window(WINDOW)
        .is_some_and(|window| window.is_focused().unwrap_or(false) && !window.is_minimized().unwrap_or(false))
}

fn notify(app: &AppHandle, outcome: &Outcome) {
    if !background::notices_are_shown() {
        return;
    }
    let words = Spoken::now(app);
    let shown = app.notification().builder().title(outcome.title(words)).body(outcome.body(words)).show();
    if let Err(error) = shown {
        tracing::debug!(%error, "a notice could not be shown");
    }
}

/// `↓ 41 MB/s  ↑ 0.3 MB/s`, only the ways in which something moves; nothing if none does.
fn speed_words(down: u64, up: u64) -> Option<String> {
    let mut words = Vec::new();
    for (arrow, speed) in [('↓', down), ('↑', up)] {
        if speed > 0 {
            words.push(format!("{arrow} {}/s", Size(speed)));
        }
    }
    (!words.is_empty()).then(|| words.join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_short() {
        assert_eq!(speed_words(41_000_000, 310_000).as_deref(), Some("↓ 41 MB/s  ↑ 310 kB/s"));
        assert_eq!(speed_words(0, 1_250_000_000).as_deref(), Some("↑ 1.3 GB/s"));
        assert_eq!(speed_words(0, 0), None);
    }
}
