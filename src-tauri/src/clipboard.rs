//! Putting text on the clipboard. A page may do that only in answer to a click on itself, and a choice in a menu of the
//! system's is none.

use tauri::WebviewWindow;

#[cfg(target_os = "linux")]
pub(crate) fn put(window: &WebviewWindow, text: String) -> Result<(), String> {
    let put = move || gtk::Clipboard::get(&gtk::gdk::SELECTION_CLIPBOARD).set_text(&text);
    window.run_on_main_thread(put).map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn put(_window: &WebviewWindow, text: String) -> Result<(), String> {
    arboard::Clipboard::new()
        .and_then(|mut clipboard| clipboard.set_text(text))
        .map_err(|error| error.to_string())
}
