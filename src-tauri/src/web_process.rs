//! The process that draws the page. When it ends by a fault, or the system takes it for want of memory, the window would
//! show its last picture for good: the page is loaded anew, and finds everything as the engine has it. When it ends before it
//! has shown anything, its sandbox does not suit this system: Ferry starts anew without.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tauri::{AppHandle, WebviewWindow};
use webkit2gtk::{LoadEvent, WebProcessTerminationReason, WebViewExt as _};

use crate::web_sandbox;

/// One that ends again this soon may do so for ever, and gets a while before it is tried again.
const TOO_SOON: Duration = Duration::from_secs(10);

/// The sandbox let no page come up.
static NOT_IN_SANDBOX: AtomicBool = AtomicBool::new(false);

/// At the very end: whether Ferry is to start anew without the page's sandbox, which it then does.
pub(crate) fn start_anew_if_need_be() {
    if NOT_IN_SANDBOX.load(Ordering::Acquire) {
        web_sandbox::start_without();
    }
}

/// Loads the page anew whenever its process is gone.
pub(crate) fn mind(window: &WebviewWindow, app: &AppHandle) {
    let app = app.clone();
    let minded = window.with_webview(move |webview| {
        let was_there = Rc::new(Cell::new(false));
        let comes = Rc::clone(&was_there);
        webview.inner().connect_load_changed(move |_, event| {
            if event == LoadEvent::Finished {
                comes.set(true);
            }
        });
        let loaded_at: Cell<Option<Instant>> = Cell::new(None);
        webview.inner().connect_web_process_terminated(move |view, reason| {
            // One of its own accord goes with the window.
            if reason == WebProcessTerminationReason::TerminatedByApi {
                return;
            }
            if !was_there.get() && web_sandbox::why_without().is_none() {
                tracing::warn!(?reason, "the page's process does not start in its sandbox");
                NOT_IN_SANDBOX.store(true, Ordering::Release);
                app.exit(0);
                return;
            }
            tracing::warn!(?reason, "the page's process ended, the page is loaded anew");
            let last = loaded_at.replace(Some(Instant::now()));
            if last.is_none_or(|at| at.elapsed() >= TOO_SOON) {
                view.reload();
                return;
            }
            let view = view.clone();
            gtk::glib::timeout_add_local_once(TOO_SOON, move || view.reload());
        });
    });
    if let Err(error) = minded {
        tracing::warn!(%error, "a page whose process ends will not be loaded anew");
    }
}
