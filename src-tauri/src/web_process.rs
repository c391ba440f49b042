//! The process that draws the page. When it ends by a fault, or the system takes it for want of memory, the window would
//! show its last picture for good: the page is loaded anew, and finds everything as the engine has it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tauri::WebviewWindow;
use webkit2gtk::{WebProcessTerminationReason, WebViewExt as _};

/// One that ends again this soon may do so for ever, and gets a while before it is tried again.
const TOO_SOON: Duration = Duration::from_secs(10);

/// Loads the page anew whenever its process is gone.
pub(crate) fn mind(window: &WebviewWindow) {
    let minded = window.with_webview(|webview| {
        let loaded_at: Cell<Option<Instant>> = Cell::new(None);
        webview.inner().connect_web_process_terminated(move |view, reason| {
            // One of its own accord goes with the window.
            if reason == WebProcessTerminationReason::TerminatedByApi {
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
