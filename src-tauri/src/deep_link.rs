//! `ferry://` links: what they propose is held here until the user has answered. The page sees what would be done, never
//! a link's query, and says by which service, or no. To a yes the desktop's own dialog asks for the user's.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ferry_engine::{DownloadRequest, Engine, LinkOffer, ServiceId};
use tauri::{AppHandle, Emitter as _, Manager as _};
use tauri_plugin_deep_link::DeepLinkExt as _;

use crate::{desktop, system};

/// The event that tells the page that there is something to ask. It carries nothing. After an answer the page looks for
/// the next by itself.
const LINK_OPENED: &str = "link-opened";

/// So many links wait for their answers. A page that opens more of them is up to no good.
const MOST_HELD: usize = 10;

type Proposal = (Option<DownloadRequest>, LinkOffer);

/// What waits for an answer, the one that is asked about in front.
#[derive(Default)]
pub(crate) struct Proposed(Mutex<VecDeque<Proposal>>);

impl Proposed {
    fn held(&self) -> std::sync::MutexGuard<'_, VecDeque<Proposal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a proposal behind those that wait: what is asked must not change under the user's hand.
    fn hold(&self, what: Option<String>, offer: LinkOffer) {
        let request = what.map(|what| DownloadRequest { what, ..DownloadRequest::default() });
        let mut held = self.held();
        if held.len() < MOST_HELD {
            held.push_back((request, offer));
        }
    }

    /// What to ask.
    pub fn offer(&self) -> Option<LinkOffer> {
        self.held().front().map(|(_, offer)| offer.clone())
    }

    /// The page's answer to what was `shown`: by which service, or none of them. What there is to start, if anything: an
    /// answer to another question than the one that is asked starts nothing.
    pub fn answer(&self, shown: &str, service: Option<ServiceId>) -> Option<DownloadRequest> {
        let mut held = self.held();
        if held.front()?.1.shown != shown {
            return None;
        }
        let (request, offer) = held.pop_front()?;
        drop(held);
        let service = service?;
        let offered = offer.readings.iter().any(|reading| reading.service == service && reading.ready);
        request.filter(|_| offered).map(|request| DownloadRequest { service: Some(service), ..request })
    }
}

/// Listens for links, those that Ferry was started with included.
pub(crate) fn listen(app: &AppHandle, engine: &Engine) {
    let links = app.deep_link();
    match links.get_current() {
        Ok(urls) => urls.iter().flatten().for_each(|url| propose(app, engine, url.as_str())),
        Err(error) => desktop::note(desktop::Part::Links, error.to_string()),
    }
    let (app, engine) = (app.clone(), engine.clone());
    links.on_open_url(move |event| {
        event.urls().iter().for_each(|url| propose(&app, &engine, url.as_str()));
    });
}

fn propose(app: &AppHandle, engine: &Engine, link: &str) {
    let (what, offer) = engine.read_link(link);
    app.state::<Proposed>().hold(what, offer);
    system::show_window(app);
    if let Err(error) = app.emit(LINK_OPENED, ()) {
        tracing::warn!(%error, "the window did not hear of a link");
    }
}

#[cfg(test)]
mod tests {
    use ferry_engine::Recognised;

    use super::*;

    fn offer(shown: &str) -> LinkOffer {
        let reading = |service: &str, ready| Recognised {
            service: service.into(),
            label: String::new(),
            ready,
            host: None,
        };
        LinkOffer {
            shown: shown.into(),
            readings: vec![reading("mavi", true), reading("visual-search", false)],
        }
    }

    #[test]
    fn only_what_was_offered_is_started_and_only_once() {
        let proposed = Proposed::default();
        assert!(proposed.answer("re_1", Some("mavi".into())).is_none(), "nothing was asked");
        for (answer, starts) in
            [(None, false), (Some("link"), false), (Some("visual-search"), false), (Some("mavi"), true)]
        {
            proposed.hold(Some("re_1".into()), offer("re_1"));
            let request = proposed.answer("re_1", answer.map(ServiceId::from));
            assert_eq!(request.is_some(), starts, "{answer:?}");
            assert!(proposed.answer("re_1", Some("mavi".into())).is_none(), "the question was answered");
        }
    }

    #[test]
    fn a_second_link_does_not_change_what_is_being_asked() {
        let proposed = Proposed::default();
        proposed.hold(Some("re_1".into()), offer("re_1"));
        proposed.hold(Some("re_2".into()), offer("re_2"));
        assert_eq!(proposed.offer().unwrap().shown, "re_1");
        assert_eq!(proposed.answer("re_1", Some("mavi".into())).unwrap().what, "re_1");
        assert!(
            proposed.answer("re_1", Some("mavi".into())).is_none(),
            "a second click is no answer to the next"
        );
        assert_eq!(proposed.offer().unwrap().shown, "re_2", "it is asked about next");
        assert_eq!(proposed.answer("re_2", Some("mavi".into())).unwrap().what, "re_2");
        for number in 0..100 {
            proposed.hold(Some(format!("re_{number}")), offer("re"));
        }
        let answered = (0..100).filter(|_| proposed.answer("re", Some("mavi".into())).is_some()).count();
        assert_eq!(answered, MOST_HELD);
    }
}
