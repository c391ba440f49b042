//! Questions that the page must not answer: the desktop asks them, in a dialog that no page can reach.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use ferry_engine::{Cause, Error, Failure, Phrase};
use tauri::{AppHandle, Manager as _, Url};
use tokio::sync::Mutex as Turn;

use crate::spoken::{Spoken, fill};

/// One question at a time: a page cannot bury one below others.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    turn: Turn<()>,
    /// Places inside the own network that the user has agreed to since the start.
    inward: Mutex<HashSet<String>>,
}

/// What is asked. The title holds the whole question.
pub(crate) struct Question {
    pub title: String,
    pub text: String,
    /// What is done on a yes.
    pub yes: String,
    pub no: String,
}

/// Whether the user agrees. While another question is open nothing more is asked, and nothing done.
pub(crate) async fn agreed(app: &AppHandle, question: Question) -> bool {
    let questions = app.state::<Questions>();
    let Ok(_turn) = questions.turn.try_lock() else { return false };
    ask(app, question).await
}

/// As [`agreed`], but waits for its turn: for what nobody but the desktop can bring about.
pub(crate) async fn agreed_in_turn(app: &AppHandle, question: Question) -> bool {
    let questions = app.state::<Questions>();
    let _turn = questions.turn.lock().await;
    ask(app, question).await
}

/// With GTK itself, which the window is made of. The toolkit-free library puts the yes under the Return key, where a page
/// would have its user press it: here the no is, and the yes cannot be pressed before it could be read.
#[cfg(target_os = "linux")]
async fn ask(app: &AppHandle, question: Question) -> bool {
    use std::cell::Cell;
    use std::time::Duration;

    use gtk::prelude::{DialogExt as _, GtkWindowExt as _, MessageDialogExt as _, WidgetExt as _};
    use gtk::{ButtonsType, DialogFlags, MessageDialog, MessageType, ResponseType};

    /// Before that a yes is for something else.
    const READS: Duration = Duration::from_millis(800);

    let (tell, told) = tokio::sync::oneshot::channel();
    let window = app.get_webview_window(crate::WINDOW);
    let shown = app.run_on_main_thread(move || {
        let Question { title, text, yes, no } = question;
        let parent = window.and_then(|window| window.gtk_window().ok());
        let flags = DialogFlags::MODAL | DialogFlags::DESTROY_WITH_PARENT;
        let dialog =
            MessageDialog::new(parent.as_ref(), flags, MessageType::Warning, ButtonsType::None, &title);
        dialog.set_title(&title);
        dialog.set_secondary_text(Some(&text));
        dialog.add_button(&no, ResponseType::Cancel);
        let agree = dialog.add_button(&yes, ResponseType::Accept);
        agree.set_sensitive(false);
        dialog.set_default_response(ResponseType::Cancel);
        gtk::glib::timeout_add_local_once(READS, move || agree.set_sensitive(true));
        let tell = Cell::new(Some(tell));
        dialog.connect_response(move |dialog, response| {
            if let Some(tell) = tell.take() {
                let _ = tell.send(response == ResponseType::Accept);
                dialog.close();
            }
        });
        dialog.present();
    });
    // Closing it, or a window that goes, is a no.
    shown.is_ok() && told.await.unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
async fn ask(app: &AppHandle, question: Question) -> bool {
    let Question { title, text, yes, no } = question;
    let mut dialog = AsyncMessageDialog::new()
        .set_level(MessageLevel::Warning)
        .set_title(title)
        .set_description(text)
        .set_buttons(MessageButtons::OkCancelCustom(yes.clone(), no));
    if let Some(window) = app.get_webview_window(crate::WINDOW) {
        dialog = dialog.set_parent(&window);
    }
    let answer = dialog.show().await;
    // Closing it is a no.
    matches!(answer, MessageDialogResult::Ok) || answer == MessageDialogResult::Custom(yes)
}

/// Asks before Ferry fetches from this computer or the network that it is in: from outside nobody gets there, and a page
/// gone bad would, with Ferry's hands. Asked once for each place.
///
/// # Errors
///
/// `permission_denied` when the user does not agree.
pub(crate) async fn inward_fetch(app: &AppHandle, what: &str) -> Result<(), Failure> {
    let Some(place) = inward_place(what) else { return Ok(()) };
    let known =
        || app.state::<Questions>().inward.lock().unwrap_or_else(PoisonError::into_inner).contains(&place);
    if known() {
        return Ok(());
    }
    let words = Spoken::now(app);
    let question = Question {
        title: fill(&words.shell_inward_title, &[("place", &place)]),
        text: words.shell_inward_text.clone(),
        yes: words.shell_inward_do.clone(),
        no: words.shell_inward_keep.clone(),
    };
    if agreed(app, question).await {
        let questions = app.state::<Questions>();
        questions.inward.lock().unwrap_or_else(PoisonError::into_inner).insert(place);
        return Ok(());
    }
    let error = Error::new(Cause::PermissionDenied, Phrase::NothingFetchedFrom { place: place.into() })
        .because(Phrase::NotAgreedTo);
    Err(Failure::from(&error.advise(Phrase::PressAgain)))
}

/// Host and port of a link that leads to this computer or its own network, as far as the link itself tells.
fn inward_place(what: &str) -> Option<String> {
    let url = Url::parse(what.trim()).ok()?;
    let host = url.host_str()?;
    let inward = match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => is_inward(address),
        Err(_) => is_inward_name(host),
    };
    inward.then(|| format!("{host}:{}", url.port_or_known_default().unwrap_or(0)))
}

fn is_inward_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // A name of one part is known only inside.
    !name.contains('.')
        || [
            "localhost",
            "local",
            "localdomain",
            "lan",
            "home",
            "internal",
            "intranet",
            "private",
            "corp",
            "home.arpa",
        ]
        .iter()
        .any(|inside| name.strip_suffix(inside).is_some_and(|front| front.ends_with('.')))
}

fn is_inward(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inward_v4(address),
        IpAddr::V6(address) => is_inward_v6(address),
    }
}

fn is_inward_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        // What providers share out behind one address (RFC 6598), and "this network" (RFC 791).
        || (first == 100 && (64..128).contains(&second))
        || first == 0
}

fn is_inward_v6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    // An IPv4 address inside of one (RFC 4291, RFC 6052) counts as itself.
    let inside = address.to_ipv4_mapped().or_else(|| match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => None,
    });
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || first & 0xfe00 == 0xfc00
        || first & 0xffc0 == 0xfe80
        || inside.is_some_and(is_inward_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_inside_is_seen_however_it_is_written() {
        for link in [
            "http://127.0.0.1:631/admin",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0/",
            "http://10.1.2.3/",
            "http://172.31.0.1/",
            "http://192.168.1.1:8080/reboot",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.0.1/",
            "http://[::1]/",
            "http://[::ffff:192.168.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://localhost:3000/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://nas.local/film.mp4",
            "https://router/",
            "https://wiki.corp/",
        ] {
            assert!(inward_place(link).is_some(), "{link}");
        }
        for link in [
            "https://files.example.org/a.mp4",
            "http://93.184.216.34/",
            "https://local.example.org/",
            "http://[2606:4700::1111]/",
            "re_1b6f3de0a410",
            "7",
        ] {
            assert_eq!(inward_place(link), None, "{link}");
        }
        assert_eq!(inward_place("http://192.168.1.1:8080/a?token=x").unwrap(), "192.168.1.1:8080");
    }
}
