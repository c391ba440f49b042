//! What is known of a service before it is spoken to, and the type of its id.
//!
//! The facts themselves stand in each service's own file in `services/`, and that file's line in `services/mod.rs` makes the
//! service known. They are needed further down as well (a sentence names a service, a setting is checked against its kind):
//! `lib.rs` hands the list down, so that what stands here knows the shape of the facts and none of them.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use ts_rs::TS;

use crate::foreign::Foreign;
use crate::redaction::redact;

/// Everything about a service but how it is spoken to.
#[derive(Debug)]
pub struct About {
    /// Its id: on the command line, in the list, in the library, in the keychain. Never renamed.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What it does, in one sentence without its full stop.
    pub description: &'static str,
    /// Whose it is, for the help of the command line.
    pub product: &'static str,
    /// Takes uploads.
    pub uploads: bool,
    /// Gives downloads.
    pub downloads: bool,
    /// Which links it takes.
    pub links: Links,
    /// Whether a text can be one of its ids.
    pub takes: fn(&str) -> bool,
    /// What one of its ids is called: "MAVI asset".
    pub label: &'static str,
    /// Where it is.
    pub place: Place,
    /// The `FERRY_…_KEY` variable that may hold its key; a service without one needs none.
    pub key_variable: Option<&'static str>,
    /// Where its account is looked after, for people.
    pub account: Option<&'static str>,
    /// Whether what nobody named a service for may go to it.
    pub default: DefaultRole,
    /// What else can be set on its card, in this order.
    pub settings: &'static [Setting],
}

/// Which links a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// None: ids only.
    None,
    /// Pages, beside ids; what one is called: "Page for the media server".
    Pages(&'static str),
    /// Any link, and nothing else; what one is called, with `{host}` for its server. One service does that.
    Any(&'static str),
}

/// Where a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a base URL.
    Address {
        /// The one of the public service; empty if there is none, so that it must be set up.
        built_in: &'static str,
        /// The `FERRY_…_URL` variable that wins over the setting.
        variable: &'static str,
        /// The setting that holds it.
        setting: &'static str,
    },
    /// In this program.
    Inside,
    /// Wherever the link leads.
    InTheLink,
}

/// Whether what nobody named a service for may go to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRole {
    /// Never.
    Never,
    /// If the user says so, or sets it up as the first one that takes uploads.
    IfChosen,
    /// It does until another one is set up. One service does that.
    AtFirst,
}

/// Something that can be set for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name in `settings.json`. Never renamed.
    pub name: &'static str,
    /// What it is called on the card.
    pub label: &'static str,
    /// What it takes.
    pub input: Input,
}

/// What a setting of a service takes, and what it is at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// One of the ways of sending a file; at first the usual one.
    Method,
    /// Any text that is not empty.
    Text {
        /// At first, and when it is emptied.
        at_first: &'static str,
        /// Whether it says who somebody is, and does not belong into a report.
        is_private: bool,
    },
    /// One of several texts, or another one that the service knows.
    Choice {
        /// At first.
        at_first: &'static str,
        /// The texts.
        of: &'static [&'static str],
    },
    /// Yes or no; at first no.
    Switch {
        /// What yes means.
        yes: &'static str,
        /// What no means.
        no: &'static str,
        /// Whether yes deletes something at the service, which the user is asked about.
        deletes: bool,
    },
}

impl Input {
    /// What it is at first.
    fn at_first(self) -> Value {
        match self {
            Self::Method => "auto".into(),
            Self::Text { at_first, .. } | Self::Choice { at_first, .. } => at_first.into(),
            Self::Switch { .. } => false.into(),
        }
    }
}

impl About {
    /// Whether nothing is done there without a key.
    pub fn needs_key(&self) -> bool {
        self.key_variable.is_some()
    }

    /// Whether it takes the address of a page or a file.
    pub fn takes_links(&self) -> bool {
        self.links != Links::None
    }

    /// Whether it is the one for any link.
    pub fn is_any_link(&self) -> bool {
        matches!(self.links, Links::Any(_))
    }

    /// Whether it can be the default service.
    pub fn may_be_default(&self) -> bool {
        self.default != DefaultRole::Never
    }

    /// Its address as long as nobody set another; empty where it has none.
    pub fn built_in(&self) -> &'static str {
        match self.place {
            Place::Address { built_in, .. } => built_in,
            _ => "",
        }
    }

    /// The setting that holds its address, and the variable that wins over it.
    pub fn address_names(&self) -> Option<(&'static str, &'static str)> {
        match self.place {
            Place::Address { variable, setting, .. } => Some((setting, variable)),
            _ => None,
        }
    }
}

/// Every service, in the order that the faces show them.
pub fn all() -> impl DoubleEndedIterator<Item = &'static About> + Clone {
    crate::known_services().iter().map(|kind| &kind.about)
}

/// What a service is, by id.
pub(crate) fn about(id: &str) -> Option<&'static About> {
    all().find(|about| about.id == id)
}

/// A name of `settings.json` that belongs to a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub about: &'static About,
    pub name: &'static str,
    /// What it takes; none for the address of the service.
    pub input: Option<Input>,
}

impl Known {
    pub fn at_first(self) -> Value {
        self.input.map_or_else(|| self.about.built_in().into(), Input::at_first)
    }
}

/// All that can be set for services.
pub(crate) fn settings() -> impl Iterator<Item = Known> {
    all().flat_map(|about| {
        let address = about.address_names().map(|(name, _)| Known { about, name, input: None });
        let others = about.settings.iter();
        let others = others.map(move |one| Known { about, name: one.name, input: Some(one.input) });
        address.into_iter().chain(others)
    })
}

/// Whether a setting says who and where somebody is: no report of a fault holds its value.
pub fn is_private_setting(name: &str) -> bool {
    settings().any(|known| {
        known.name == name && matches!(known.input, None | Some(Input::Text { is_private: true, .. }))
    })
}

/// The id of a service. Any text is one: lists and libraries of other versions of Ferry may name services that this one does
/// not know, and stay readable. Such a text is somebody else's.
#[derive(Clone, TS)]
#[ts(export, export_to = "types.ts", type = "string")]
pub struct ServiceId(Id);

#[derive(Clone)]
enum Id {
    Known(&'static About),
    Unknown(Foreign),
}

impl ServiceId {
    /// What is known of the service; nothing of one that there is not.
    pub fn about(&self) -> Option<&'static About> {
        match &self.0 {
            Id::Known(about) => Some(about),
            Id::Unknown(_) => None,
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Id::Known(about) => about.id,
            Id::Unknown(text) => text.as_str(),
        }
    }

    /// Whether it is the one for any link.
    pub fn is_any_link(&self) -> bool {
        self.about().is_some_and(About::is_any_link)
    }

    /// Whether it is the default until another one is set up.
    pub fn is_at_first(&self) -> bool {
        self.about().is_some_and(|about| about.default == DefaultRole::AtFirst)
    }

    /// The one for any link.
    pub fn any_link() -> Self {
        Self::the_one(About::is_any_link)
    }

    /// The one that is the default until another one is set up.
    pub fn at_first() -> Self {
        Self::the_one(|about| about.default == DefaultRole::AtFirst)
    }

    fn the_one(is_it: impl Fn(&About) -> bool) -> Self {
        all().find(|about| is_it(about)).map_or_else(|| "".into(), Self::from)
    }
}

impl From<&'static About> for ServiceId {
    fn from(about: &'static About) -> Self {
        Self(Id::Known(about))
    }
}

impl From<&str> for ServiceId {
    fn from(id: &str) -> Self {
        about(id).map_or_else(|| Self(Id::Unknown(Foreign::from(id))), Self::from)
    }
}

impl From<String> for ServiceId {
    fn from(id: String) -> Self {
        id.as_str().into()
    }
}

impl From<&Self> for ServiceId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl Default for ServiceId {
    fn default() -> Self {
        "".into()
    }
}

impl Deref for ServiceId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

/// Hashes and compares as the text does.
impl Borrow<str> for ServiceId {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for ServiceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Eq for ServiceId {}

impl PartialEq for ServiceId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialEq<str> for ServiceId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for ServiceId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Serialize for ServiceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok((&*text).into())
    }
}

/// Whether a text is made of nothing but what ids are made of, and no longer than any of them.
pub(crate) fn is_plain_id(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    (1..=128).contains(&text.len()) && text.chars().all(plain)
}

/// Whether a text has the form of an id at any service. What has not may be a link that was not copied from its beginning,
/// with a signature in it.
pub(crate) fn may_be_id(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    (1..=128).contains(&text.len()) && text.chars().all(is_part) && redact(text) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_its_own_names_and_two_have_a_task_of_their_own() {
        let mut taken = std::collections::HashSet::new();
        for about in all() {
            let variables = about.address_names().into_iter().map(|(_, variable)| variable);
            let names = [about.id, about.name].into_iter().chain(variables).chain(about.key_variable);
            for name in names {
                assert!(taken.insert(name), "{name} stands for two things");
            }
        }
        for known in settings() {
            assert!(taken.insert(known.name), "{} stands for two things", known.name);
        }
        assert_eq!(all().filter(|about| about.is_any_link()).count(), 1);
        assert_eq!(all().filter(|about| about.default == DefaultRole::AtFirst).count(), 1);
    }

    #[test]
    fn an_id_of_another_version_is_kept_as_it_is() {
        let id: ServiceId = serde_json::from_str(r#""ftp\u002d2031""#).unwrap();
        assert!(id.about().is_none() && !id.is_any_link() && !id.is_at_first());
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""ftp-2031""#);
        let known = ServiceId::any_link();
        assert_eq!(ServiceId::from(known.as_str()), known);
        assert!(known.about().is_some() && known != id);
    }
}
