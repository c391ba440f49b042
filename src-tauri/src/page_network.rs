//! What of WebKit reaches into the network without asking the page's content policy: links of the kinds `preconnect` and
//! `dns-prefetch`, also such that come with a page before the rest of it. Words would leave in the names that are looked up. None
//! of it is of use to a page that has no network.

#![allow(unsafe_code, reason = "the bindings lack what it takes")]

use std::ffi::{CStr, c_char, c_int, c_void};

use tauri::WebviewWindow;
use webkit2gtk::WebViewExt;
use webkit2gtk::glib::translate::ToGlibPtr as _;

/// The words by which such features are known: `LinkPreconnect`, `LinkDNSPrefetch`, `LinkPreconnectEarlyHints`, `LinkPrefetch`,
/// `DNSPrefetching`.
const REACHING_OUT: [&str; 2] = ["preconnect", "prefetch"];

/// Switches it off, before the page has begun to load.
pub(crate) fn cut(window: &WebviewWindow) {
    let done = window.with_webview(|webview| {
        let Some(settings) = WebViewExt::settings(&webview.inner()) else { return };
        let to: *mut webkit2gtk::ffi::WebKitSettings = settings.to_glib_none().0;
        match Features::of_this_webkit() {
            // SAFETY: the settings live as long as `settings`, and this is the thread of the toolkit.
            Some(features) => unsafe { features.switch_off(to.cast()) },
            None => tracing::warn!("this WebKit is too old to be kept from looking up names for the page"),
        }
    });
    if let Err(error) = done {
        tracing::warn!(%error, "the page's links may look up names");
    }
}

/// The part of WebKitGTK 2.42 (`WebKitFeature`) that the bindings lack. Looked for at run time: Ferry starts with older ones.
struct Features {
    all: All,
    length: Length,
    get: Get,
    identifier: Identifier,
    set: Set,
    free: Free,
}

type All = unsafe extern "C" fn() -> *mut c_void;
type Length = unsafe extern "C" fn(*mut c_void) -> usize;
type Get = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Identifier = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type Set = unsafe extern "C" fn(*mut c_void, *mut c_void, c_int);
type Free = unsafe extern "C" fn(*mut c_void);

impl Features {
    fn of_this_webkit() -> Option<Self> {
        let find = |name: &CStr| {
            // SAFETY: the name ends with a zero, and the program is linked with the library.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: the types are those of `webkit/WebKitFeature.h` and `webkit/WebKitSettings.h`.
        unsafe {
            Some(Self {
                all: std::mem::transmute::<*mut c_void, All>(find(c"webkit_settings_get_all_features")?),
                length: std::mem::transmute::<*mut c_void, Length>(find(c"webkit_feature_list_get_length")?),
                get: std::mem::transmute::<*mut c_void, Get>(find(c"webkit_feature_list_get")?),
                identifier: std::mem::transmute::<*mut c_void, Identifier>(find(
                    c"webkit_feature_get_identifier",
                )?),
                set: std::mem::transmute::<*mut c_void, Set>(find(c"webkit_settings_set_feature_enabled")?),
                free: std::mem::transmute::<*mut c_void, Free>(find(c"webkit_feature_list_unref")?),
            })
        }
    }

    /// # Safety
    ///
    /// `settings` must be a `WebKitSettings`.
    unsafe fn switch_off(&self, settings: *mut c_void) {
        // SAFETY: the list is this function's own until it is given back; what it holds lives as long.
        unsafe {
            let list = (self.all)();
            for number in 0..(self.length)(list) {
                let feature = (self.get)(list, number);
                let name = (self.identifier)(feature);
                if !name.is_null() && reaches_out(&CStr::from_ptr(name).to_string_lossy()) {
                    (self.set)(settings, feature, 0);
                }
            }
            (self.free)(list);
        }
    }
}

fn reaches_out(identifier: &str) -> bool {
    let identifier = identifier.to_ascii_lowercase();
    REACHING_OUT.iter().any(|word| identifier.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_that_reach_into_the_network_are_known_by_their_names() {
        for name in [
            "LinkPreconnect",
            "LinkDNSPrefetch",
            "LinkPreconnectEarlyHints",
            "LinkPrefetch",
            "DNSPrefetching",
        ] {
            assert!(reaches_out(name), "{name}");
        }
        assert!(!reaches_out("LinkPreload") && !reaches_out("CSSNesting"));
    }
}
