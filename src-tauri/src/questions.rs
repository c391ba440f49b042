//! Questions that the page must not answer: the desktop asks them, in a dialog that no page can reach.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_engine::{Cause, Error, Failure, Phrase, is_inward};
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

/// Asks before a service gets another address: files and keys go there from then on.
///
/// # Errors
///
/// `permission_denied` when the user does not agree.
pub(crate) async fn new_address(app: &AppHandle, service: &str, origin: &str) -> Result<(), Failure> {
    let words = Spoken::now(app);
    let question = Question {
        title: fill(&words.shell_address_title, &[("service", service), ("origin", origin)]),
        text: words.shell_address_text.clone(),
        yes: words.shell_address_do.clone(),
        no: words.shell_address_keep.clone(),
    };
    if !agreed(app, question).await {
        return Err(not_agreed(Phrase::NothingChanged));
    }
    // Who agrees that files go there agrees that they come from there.
    if let Some(place) = inward_place(origin) {
        inward(&app.state::<Questions>()).insert(place);
    }
    Ok(())
}

/// Asks before files are removed from the media server once they are here.
///
/// # Errors
///
/// `permission_denied` when the user does not agree.
pub(crate) async fn removal_there(app: &AppHandle) -> Result<(), Failure> {
    let words = Spoken::now(app);
    let question = Question {
        title: words.shell_remove_title.clone(),
        text: words.shell_remove_text.clone(),
        yes: words.shell_remove_do.clone(),
        no: words.shell_remove_keep.clone(),
    };
    if agreed(app, question).await { Ok(()) } else { Err(not_agreed(Phrase::NothingChanged)) }
}

fn not_agreed(what: Phrase) -> Failure {
    let error = Error::new(Cause::PermissionDenied, what).because(Phrase::NotAgreedTo);
    Failure::from(&error.advise(Phrase::PressAgain))
}

fn inward(questions: &Questions) -> MutexGuard<'_, HashSet<String>> {
    questions.inward.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks before Ferry fetches from this computer or the network that it is in: from outside nobody gets there, and a page
/// gone bad would, with Ferry's hands. Asked once for each place. `address` is what the engine would contact.
///
/// # Errors
///
/// `permission_denied` when the user does not agree.
pub(crate) async fn inward_fetch(app: &AppHandle, address: &str) -> Result<(), Failure> {
    let Some(place) = inward_place(address) else { return Ok(()) };
    if inward(&app.state::<Questions>()).contains(&place) {
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
        inward(&app.state::<Questions>()).insert(place);
        return Ok(());
    }
    Err(not_agreed(Phrase::NothingFetchedFrom { place: place.into() }))
}

/// Host and port of an address that leads to this computer or its own network, as far as it tells by itself.
fn inward_place(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
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
