//! The text on the clipboard, written and read. A page may do either only in answer to a click on itself, which a choice
//! in a menu of the system's is not, and WebKitGTK lets no page read it at all.

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

/// Nothing = there is no text on it. The program that put it there is asked for it, which may take a while.
#[cfg(target_os = "linux")]
pub(crate) async fn take(window: &WebviewWindow) -> Result<Option<String>, String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let ask = move || {
        gtk::Clipboard::get(&gtk::gdk::SELECTION_CLIPBOARD)
            // A window that is gone waits for no answer.
            .request_text(move |_, text| drop(tell.send(text.map(str::to_owned))));
    };
    window.run_on_main_thread(ask).map_err(|error| error.to_string())?;
    told.await.map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn take(_window: &WebviewWindow) -> Result<Option<String>, String> {
    match arboard::Clipboard::new().and_then(|mut clipboard| clipboard.get_text()) {
        Ok(text) => Ok(Some(text)),
        Err(arboard::Error::ContentNotAvailable) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
