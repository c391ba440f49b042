//! The menu of a row, drawn by the system. The page says what can be done and hears what was chosen.

use ferry_engine::{Error, Failure};
use serde::Deserialize;
use tauri::{Manager as _, WebviewWindow};
use tokio::sync::oneshot;

use crate::presses::Presses;

/// One entry of a menu: a thing that can be done.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(export, export_to = "window.ts"))]
pub(crate) struct MenuEntry {
    pub id: String,
    pub words: String,
    pub enabled: bool,
    /// The keys that do the same, as the page calls them: `Space`, `Enter`, `Mod+O`.
    pub keys: Option<String>,
}

/// One menu of the bar at the top of a Mac's screen.
#[cfg(any(target_os = "macos", test))]
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(export, export_to = "window.ts"))]
#[cfg_attr(
    not(target_os = "macos"),
    expect(dead_code, reason = "only its shape is of use to the page elsewhere")
)]
pub(crate) struct BarMenu {
    pub id: String,
    pub title: String,
    pub groups: Vec<Vec<MenuEntry>>,
}

/// Where a menu opens that was asked for by keyboard, in the page's own pixels.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(export, export_to = "window.ts"))]
pub(crate) struct MenuPlace {
    x: f64,
    y: f64,
}

/// Opens a menu under the pointer, or at a place. Between two groups is a line. Answers the id of what was chosen; nothing
/// = the menu was closed.
pub(crate) async fn open(
    window: &WebviewWindow,
    groups: Vec<Vec<MenuEntry>>,
    at: Option<MenuPlace>,
) -> Result<Option<String>, Failure> {
    let (choose, chosen) = oneshot::channel();
    system::open(window, groups, at, choose)
        .await
        .map_err(|error| Failure::from(&Error::internal(error.to_string())))?;
    let chosen = system::answer(chosen).await;
    if chosen.is_some() {
        window.state::<Presses>().note();
    }
    Ok(chosen)
}

#[cfg(target_os = "linux")]
pub(crate) use system::page_of;
pub(crate) use system::prepare;

/// With GTK itself, which the window is made of. The menus of Tauri's own library wait in a loop of their own, in which
/// nothing else of the window runs: bars would stand still as long as a menu is open.
#[cfg(target_os = "linux")]
mod system {
    use std::cell::{Cell, RefCell};
    use std::future::{Ready, ready};
    use std::rc::Rc;

    use gtk::prelude::{
        AccelLabelExt as _, BinExt as _, Cast as _, ContainerExt as _, GtkMenuExt as _, GtkMenuItemExt as _,
        MenuShellExt as _, WidgetExt as _,
    };
    use gtk::{gdk, glib};

    use super::{MenuEntry, MenuPlace, WebviewWindow, oneshot};

    thread_local! {
        /// The last press of a button or a key: GTK wants to know which one a menu answers.
        static PRESSED: RefCell<Option<gdk::Event>> = const { RefCell::new(None) };
        /// The menu on the screen.
        static OPEN: RefCell<Option<gtk::Menu>> = const { RefCell::new(None) };
    }

    pub(crate) fn page_of(window: &WebviewWindow) -> Option<gtk::Widget> {
        window.default_vbox().ok()?.children().into_iter().next()
    }

    pub(crate) fn prepare(window: &WebviewWindow) {
        fn note(event: &gdk::Event) -> glib::Propagation {
            PRESSED.set(Some(event.clone()));
            glib::Propagation::Proceed
        }
        let Some(page) = page_of(window) else { return };
        page.connect_button_press_event(|_, event| note(event));
        page.connect_key_press_event(|_, event| note(event));
    }

    pub(super) fn open(
        window: &WebviewWindow,
        groups: Vec<Vec<MenuEntry>>,
        at: Option<MenuPlace>,
        choose: oneshot::Sender<String>,
    ) -> Ready<tauri::Result<()>> {
        let on_window = window.clone();
        ready(window.run_on_main_thread(move || {
            let choose = Rc::new(Cell::new(Some(choose)));
            let menu = menu(groups, &choose);
            menu.connect_selection_done(move |_| {
                // Whoever waits hears that nothing was chosen, if nothing was.
                choose.take();
                glib::idle_add_local_once(|| drop(OPEN.take()));
            });
            menu.show_all();
            OPEN.set(Some(menu.clone()));
            let pressed = PRESSED.take();
            let page = page_of(&on_window);
            // A hint about what lies under the pointer would come up over the menu.
            page.iter().for_each(|page| page.set_has_tooltip(false));
            let page = page.and_then(|page| page.window());
            match (at, page) {
                (Some(MenuPlace { x, y }), Some(page)) => {
                    let place = gdk::Rectangle::new(x as i32, y as i32, 1, 1);
                    let (below, above) = (gdk::Gravity::SouthWest, gdk::Gravity::NorthWest);
                    menu.popup_at_rect(&page, &place, below, above, pressed.as_ref());
                    menu.select_first(true);
                }
                _ => menu.popup_at_pointer(pressed.as_ref()),
            }
        }))
    }

    fn menu(groups: Vec<Vec<MenuEntry>>, choose: &Rc<Cell<Option<oneshot::Sender<String>>>>) -> gtk::Menu {
        let menu = gtk::Menu::new();
        for (nth, group) in groups.into_iter().enumerate() {
            if nth > 0 {
                menu.append(&gtk::SeparatorMenuItem::new());
            }
            for MenuEntry { id, words, enabled, keys } in group {
                let item = gtk::MenuItem::with_label(&words);
                item.set_sensitive(enabled);
                let label = item.child().and_then(|child| child.downcast::<gtk::AccelLabel>().ok());
                if let (Some(label), Some(keys)) = (label, keys) {
                    let (key, modifiers) = gtk::accelerator_parse(gtk_name(&keys));
                    label.set_accel(key, modifiers);
                }
                let choose = Rc::clone(choose);
                item.connect_activate(move |_| {
                    if let Some(choose) = choose.take() {
                        let _ = choose.send(id.clone());
                    }
                });
                menu.append(&item);
            }
        }
        menu
    }

    fn gtk_name(key: &str) -> &str {
        match key {
            "Space" => "space",
            "Enter" => "Return",
            other => other,
        }
    }

    pub(super) async fn answer(chosen: oneshot::Receiver<String>) -> Option<String> {
        chosen.await.ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use tauri::menu::{Menu, MenuItem, PredefinedMenuItem};
    use tauri::{LogicalPosition, Manager as _};

    use super::{MenuEntry, MenuPlace, WebviewWindow, oneshot};

    /// Every menu's choices are heard in one place: these are not the tray's.
    const OURS: &str = "row:";

    /// A choice is told by the event loop, a moment after the menu has gone.
    const CHOICE_COMES_WITHIN: Duration = Duration::from_secs(1);

    #[derive(Default)]
    struct Asked(Mutex<Option<oneshot::Sender<String>>>);

    impl Asked {
        fn put(&self, choose: Option<oneshot::Sender<String>>) -> Option<oneshot::Sender<String>> {
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), choose)
        }
    }

    pub(crate) fn prepare(window: &WebviewWindow) {
        let app = window.app_handle();
        app.manage(Asked::default());
        app.on_menu_event(|app, event| {
            if let Some(id) = event.id().as_ref().strip_prefix(OURS)
                && let Some(choose) = app.state::<Asked>().put(None)
            {
                let _ = choose.send(id.to_owned());
            }
        });
    }

    pub(super) async fn open(
        window: &WebviewWindow,
        groups: Vec<Vec<MenuEntry>>,
        at: Option<MenuPlace>,
        choose: oneshot::Sender<String>,
    ) -> tauri::Result<()> {
        window.state::<Asked>().put(Some(choose));
        let window = window.clone();
        // Answers when the menu has gone.
        tauri::async_runtime::spawn_blocking(move || {
            let menu = menu(&window, groups)?;
            match at {
                Some(MenuPlace { x, y }) => window.popup_menu_at(&menu, LogicalPosition::new(x, y)),
                None => window.popup_menu(&menu),
            }
        })
        .await?
    }

    fn menu(window: &WebviewWindow, groups: Vec<Vec<MenuEntry>>) -> tauri::Result<Menu<tauri::Wry>> {
        let menu = Menu::new(window)?;
        for (nth, group) in groups.into_iter().enumerate() {
            if nth > 0 {
                menu.append(&PredefinedMenuItem::separator(window)?)?;
            }
            for MenuEntry { id, words, enabled, keys } in group {
                // A single `&` would underline the letter behind it.
                let words = words.replace('&', "&&");
                menu.append(&MenuItem::with_id(
                    window,
                    format!("{OURS}{id}"),
                    words,
                    enabled,
                    keys.as_deref(),
                )?)?;
            }
        }
        Ok(menu)
    }

    pub(super) async fn answer(chosen: oneshot::Receiver<String>) -> Option<String> {
        tokio::time::timeout(CHOICE_COMES_WITHIN, chosen).await.ok()?.ok()
    }
}
