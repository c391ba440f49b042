//! Presses of keys and buttons on the window, as the shell sees them. A page can make up events of its own, but not these:
//! they come from the display. What reaches beyond the window happens only soon after one.
//!
//! Windows and macOS hand such events to the webview alone. There a press is taken for granted while the window has the
//! keyboard: a page gone bad has to wait until its window is in front, and no longer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferry_engine::{Cause, Error, Failure, Phrase};
use tauri::{AppHandle, Manager as _, WebviewWindow};

use crate::WINDOW;

/// A list of many links is begun by one press.
const LASTS: Duration = Duration::from_secs(30);
/// The clipboard holds passwords: one press, one look, and at once.
const LASTS_FOR_SECRETS: Duration = Duration::from_secs(3);

/// The last of them.
#[derive(Debug, Default)]
pub(crate) struct Presses(Mutex<Option<Instant>>);

impl Presses {
    /// Something was pressed, or let go on the window, or chosen in a menu of the shell's.
    pub fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn within(&self, time: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() <= time)
    }

    /// Whether there was one just now, which then counts no more.
    fn take(&self, time: Duration) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.is_some_and(|at| at.elapsed() <= time)
    }
}

/// Begins to look.
#[cfg(target_os = "linux")]
pub(crate) fn prepare(window: &WebviewWindow) {
    use gtk::glib::Propagation;
    use gtk::prelude::WidgetExt as _;

    let Some(page) = crate::context_menu::page_of(window) else { return };
    let app = window.app_handle().clone();
    page.connect_button_press_event(move |_, _| {
        app.state::<Presses>().note();
        Propagation::Proceed
    });
    let app = window.app_handle().clone();
    page.connect_key_press_event(move |_, _| {
        app.state::<Presses>().note();
        Propagation::Proceed
    });
}

/// Refuses what the page asks for by itself.
pub(crate) fn require(app: &AppHandle) -> Result<(), Failure> {
    answer(app.state::<Presses>().within(LASTS) || unseen(app))
}

/// As [`require`], for what one press buys once.
pub(crate) fn require_one(app: &AppHandle) -> Result<(), Failure> {
    answer(app.state::<Presses>().take(LASTS_FOR_SECRETS) || unseen(app))
}

/// Where presses are not seen, the window in front stands for them.
fn unseen(app: &AppHandle) -> bool {
    !cfg!(target_os = "linux")
        && app.get_webview_window(WINDOW).is_some_and(|window| window.is_focused().unwrap_or(false))
}

fn answer(pressed: bool) -> Result<(), Failure> {
    if pressed {
        return Ok(());
    }
    let error = Error::new(Cause::PermissionDenied, Phrase::NothingPressed).advise(Phrase::PressAgain);
    Err(Failure::from(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_counts_for_a_while_and_once_for_secrets() {
        let presses = Presses::default();
        assert!(!presses.within(LASTS));
        assert!(!presses.take(LASTS_FOR_SECRETS));
        presses.note();
        assert!(presses.within(LASTS));
        assert!(presses.within(LASTS), "many links, one press");
        std::thread::sleep(Duration::from_millis(20));
        assert!(!presses.within(Duration::from_millis(10)), "it was long ago");
        assert!(presses.take(LASTS_FOR_SECRETS));
        assert!(!presses.take(LASTS_FOR_SECRETS), "one press, one look");
    }
}
