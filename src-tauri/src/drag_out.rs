//! A finished file dragged out of the window to another program.
//!
//! Done with GTK itself on Linux, which the window is made of there. The crate that does it on Windows and macOS writes a
//! file's address without escaping it on Linux, so that a name with a space or `%` in it means another file.

use std::path::PathBuf;

use tauri::WebviewWindow;

/// Begins a drag with the pointer that is down just now. Answers whether this system can.
#[cfg(target_os = "linux")]
pub(crate) fn begin(window: &WebviewWindow, paths: &[PathBuf]) -> bool {
    use std::cell::RefCell;
    use std::rc::Rc;

    use gtk::glib;
    use gtk::prelude::{ObjectExt as _, WidgetExt as _};

    let uris: Vec<String> = paths
        .iter()
        .filter_map(|path| glib::filename_to_uri(path, None).ok())
        .map(|uri| uri.to_string())
        .collect();
    if uris.is_empty() {
        return false;
    }
    let on_window = window.clone();
    let begun = window.run_on_main_thread(move || {
        let Ok(window) = on_window.gtk_window() else { return };
        let targets = gtk::TargetList::new(&[]);
        targets.add_uri_targets(0);
        let giving = window.connect_drag_data_get(move |_, _, data, _, _| {
            let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
            data.set_uris(&uris);
        });
        // Both end with the drag.
        let handlers = Rc::new(RefCell::new(vec![giving]));
        let ended = Rc::clone(&handlers);
        let ending = window.connect_drag_end(move |window, _| {
            for handler in ended.take() {
                window.disconnect(handler);
            }
        });
        handlers.borrow_mut().push(ending);
        let context =
            window.drag_begin_with_coordinates(&targets, gtk::gdk::DragAction::COPY, 1, None, -1, -1);
        if context.is_none() {
            for handler in handlers.take() {
                window.disconnect(handler);
            }
        }
    });
    begun.is_ok()
}

/// Begins a drag with the pointer that is down just now. Answers whether this system can.
#[cfg(not(target_os = "linux"))]
pub(crate) fn begin(window: &WebviewWindow, paths: &[PathBuf]) -> bool {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let (on_window, paths) = (window.clone(), paths.to_vec());
    // What hangs on the pointer meanwhile.
    let image = drag::Image::Raw(include_bytes!("../../icons/32x32.png").to_vec());
    // On Windows this takes as long as the drag; the system's own loop keeps the window going.
    let begun = window.run_on_main_thread(move || {
        let files = drag::DragItem::Files(paths);
        let drag = || drag::start_drag(&on_window, files, image, |_, _| {}, drag::Options::default());
        // It takes for granted what the shell may refuse, as for a file that goes just now.
        match catch_unwind(AssertUnwindSafe(drag)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "files could not be dragged out"),
            Err(_) => tracing::warn!("files could not be dragged out"),
        }
    });
    begun.is_ok()
}
