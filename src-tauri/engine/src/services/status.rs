//! What a face is told of the services.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::error::Failure;
use crate::secrets::KeyState;
use crate::service::{self, About, Input, Links, Place, ServiceId};
use crate::settings::ServiceSettings;
use crate::upload_method::UploadMethod;

/// One service as the services page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct ServiceStatus {
    /// Its id.
    pub id: ServiceId,
    /// Its name for people.
    pub name: String,
    /// What it does, in one sentence.
    pub description: String,
    /// Takes uploads.
    pub uploads: bool,
    /// Gives downloads.
    pub downloads: bool,
    /// Which links it takes.
    #[serde(default)]
    pub links: LinksTaken,
    /// Whether it can be the default service.
    #[serde(default)]
    pub may_be_default: bool,
    /// Whether it is the default until another one is set up.
    #[serde(default)]
    pub is_at_first: bool,
    /// Where it is.
    #[serde(default)]
    pub place: ServicePlace,
    /// The setting that holds its base URL, if it has one.
    #[serde(default)]
    pub address_setting: Option<String>,
    /// Base URL in force, without any secret.
    pub address: String,
    /// Whether `address` comes from a variable and cannot be changed in the settings.
    pub address_from_variable: bool,
    /// Where its key is.
    pub key: KeyState,
    /// Where that key goes, if that is not `address`: it is not sent until it is entered anew, or the address is what it
    /// was. An origin, as in `https://host:port`.
    pub key_belongs_to: Option<String>,
    /// Ready to be used: has an address, and a key if it needs one.
    pub ready: bool,
    /// Why it stands still (a refused key), with the way out.
    pub problem: Option<Failure>,
    /// Upload method that worked last.
    pub method: Option<UploadMethod>,
    /// What else can be set for it, in the order of its card.
    #[serde(default)]
    pub settings: Vec<ServiceSetting>,
}

/// Which links a service takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum LinksTaken {
    /// None: ids only.
    #[default]
    None,
    /// Pages, beside ids.
    Pages,
    /// Any, and nothing else. There is nothing to be set up for it.
    Any,
}

/// Where a service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum ServicePlace {
    /// At its base URL.
    #[default]
    Address,
    /// In this program.
    Inside,
    /// Wherever the link leads.
    Link,
}

/// Something that can be set for a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct ServiceSetting {
    /// Its name in the settings.
    pub name: String,
    /// What it is called.
    pub label: String,
    /// What it takes.
    pub input: SettingInput,
    /// What is set.
    #[ts(type = "string | boolean")]
    pub value: serde_json::Value,
}

/// What a setting of a service takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "is", rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum SettingInput {
    /// One of the ways of sending a file.
    Method,
    /// Any text that is not empty.
    Text {
        /// What it is when it is emptied.
        at_first: String,
    },
    /// One of several texts, or another one that the service knows.
    Choice {
        /// The texts.
        of: Vec<String>,
    },
    /// Yes or no.
    Switch {
        /// What yes means.
        yes: String,
        /// What no means.
        no: String,
    },
}

impl From<Input> for SettingInput {
    fn from(input: Input) -> Self {
        match input {
            Input::Method => Self::Method,
            Input::Text { at_first, .. } => Self::Text { at_first: at_first.to_owned() },
            Input::Choice { of, .. } => Self::Choice { of: of.iter().map(ToString::to_string).collect() },
            Input::Switch { yes, no, .. } => Self::Switch { yes: yes.to_owned(), no: no.to_owned() },
        }
    }
}

impl From<Links> for LinksTaken {
    fn from(links: Links) -> Self {
        match links {
            Links::None => Self::None,
            Links::Pages(_) => Self::Pages,
            Links::Any(_) => Self::Any,
        }
    }
}

impl From<Place> for ServicePlace {
    fn from(place: Place) -> Self {
        match place {
            Place::Address { .. } => Self::Address,
            Place::Inside => Self::Inside,
            Place::InTheLink => Self::Link,
        }
    }
}

/// What can be set for a service, with what is set.
pub(super) fn settings(about: &About, set: &ServiceSettings) -> Vec<ServiceSetting> {
    let one = |setting: &service::Setting| ServiceSetting {
        name: setting.name.to_owned(),
        label: setting.label.to_owned(),
        input: setting.input.into(),
        value: set.value(setting.name).clone(),
    };
    about.settings.iter().map(one).collect()
}

/// What the add bar made of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = "types.ts")]
pub struct Recognised {
    /// The service that would be asked.
    pub service: ServiceId,
    /// "MAVI asset", "Link to files.example.org", "Page for the media server".
    pub label: String,
    /// Whether that service can be used now.
    pub ready: bool,
    /// The server of the link; absent for an id.
    #[serde(default)]
    pub host: Option<String>,
}
