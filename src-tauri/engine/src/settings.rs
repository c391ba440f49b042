//! The settings: one struct, read and written whole, in `settings.json` of the data folder.
//!
//! Keys are not here; see [`crate::secrets`]. Base URLs given by `FERRY_…_URL` variables win over these for the run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::error::{Error, Result};
use crate::files::own_folder::read_settings;
use crate::http::address;
use crate::language::Language;
use crate::service::{self, About, Input, Known, ServiceId};
use crate::units::Units;
use crate::upload_method::UploadMethod;
use crate::words::{Count, Peer, Phrase, Words, shown};

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Theme {
    /// As the desktop says.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

/// How close rows stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export, export_to = "types.ts")]
pub enum Density {
    /// Two lines a row, air around them.
    #[default]
    Normal,
    /// As many rows as fit.
    Compact,
}

/// What can be set for the services: for each name that one of them has (`service.rs`) a value that fits it. What is not
/// set is as it is at first; a name that no service has is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ServiceSettings(BTreeMap<String, Value>);

impl Default for ServiceSettings {
    fn default() -> Self {
        Self(service::settings().map(|known| (known.name.to_owned(), known.at_first())).collect())
    }
}

impl ServiceSettings {
    /// These with another value for a name. Whether it fits is found out when the settings are checked.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets the value of a name. Whether it fits is found out when the settings are checked.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The value of a name that holds a text; empty for any other.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The value of a name that is switched on or off; off for any other.
    pub fn is_on(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The way of sending that a name holds; the usual one for any other.
    pub fn method(&self, name: &str) -> UploadMethod {
        self.0.get(name).and_then(|value| UploadMethod::deserialize(value).ok()).unwrap_or_default()
    }

    /// The value of a name, as the file has it; `null` for a name that there is none of.
    pub(crate) fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn check(&self) -> Result<()> {
        for (name, value) in &self.0 {
            let known = service::settings().find(|known| known.name == name);
            if !known.is_some_and(|known| fits(known, value)) {
                return Err(
                    Error::internal("Settings were changed that there are none of").because(name.clone())
                );
            }
        }
        for about in service::all() {
            let Some((name, _)) = about.address_names() else { continue };
            let address = self.text(name);
            // Only what has no address of its own may have none.
            if !(address.is_empty() && about.built_in().is_empty()) {
                check_base_url(about.id, address)?;
            }
        }
        Ok(())
    }

    /// These, but the addresses as they are in `here`, and nothing on that deletes and is off there: the user is asked about
    /// that, which no file answers.
    fn keeping_what_was_agreed_to_in(mut self, here: &Self) -> Self {
        for (name, _) in service::all().filter_map(About::address_names) {
            self.set(name, here.text(name));
        }
        for known in service::settings() {
            if matches!(known.input, Some(Input::Switch { deletes: true, .. })) && !here.is_on(known.name) {
                self.set(known.name, false);
            }
        }
        self
    }
}

/// Whether a value is what a setting takes.
fn fits(known: Known, value: &Value) -> bool {
    match known.input {
        Some(Input::Method) => UploadMethod::deserialize(value).is_ok(),
        Some(Input::Switch { .. }) => value.is_boolean(),
        None | Some(Input::Text { .. } | Input::Choice { .. }) => value.is_string(),
    }
}

impl<'de> Deserialize<'de> for ServiceSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Named;

        impl<'de> Visitor<'de> for Named {
            type Value = ServiceSettings;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut all = ServiceSettings::default();
                while let Some(name) = map.next_key::<String>()? {
                    let Some(known) = service::settings().find(|known| known.name == name) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let value = map.next_value::<Value>()?;
                    if !fits(known, &value) {
                        return Err(de::Error::custom(format_args!("{name} cannot be {value}")));
                    }
                    all.set(known.name, value);
                }
                Ok(all)
            }
        }

        deserializer.deserialize_map(Named)
    }
}

/// Everything that the user can set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default)]
#[ts(export, export_to = "types.ts")]
pub struct Settings {
    /// Where downloads go; absent = the platform's Downloads folder.
    #[ts(type = "string | null")]
    pub downloads_folder: Option<PathBuf>,
    /// Uploads at the same time, 1 to 16.
    pub concurrent_uploads: u8,
    /// Downloads at the same time, 1 to 16.
    pub concurrent_downloads: u8,
    /// Most bytes a second down, all transfers together; absent = no limit.
    #[ts(type = "number | null")]
    pub limit_down: Option<u64>,
    /// Most bytes a second up, all transfers together; absent = no limit.
    #[ts(type = "number | null")]
    pub limit_up: Option<u64>,
    /// Attempts without progress before a transfer fails, 0 to 100.
    pub retries: u32,
    /// Most connections that one download may open, 1 to 16.
    pub connections: u8,
    /// The service that dropped files and bare ids go to.
    pub default_service: ServiceId,
    /// Give downloaded files the time of their last change at the source.
    pub keep_modified_time: bool,
    /// Send what links in folders lead to, as long as that is inside the folder as well.
    pub follow_links: bool,
    /// What the services have to be set, their addresses among it; beside the others in the file, by names of their own.
    #[serde(flatten)]
    #[ts(skip)]
    pub of_services: ServiceSettings,
    /// Light or dark.
    pub theme: Theme,
    /// How close rows stand.
    pub density: Density,
    /// How sizes are counted.
    pub units: Units,
    /// What Ferry speaks.
    pub language: Language,
    /// Keep the computer from falling asleep while something moves.
    pub keep_awake: bool,
    /// Start with the desktop.
    pub start_at_login: bool,
    /// Closing the window leaves Ferry at work behind its tray icon, where there is a tray; on a Mac also in the Dock.
    pub close_to_tray: bool,
    /// Tell when a batch is done and the window is not in front.
    pub notifications: bool,
    /// The first-run screen was answered.
    pub welcomed: bool,
    /// It was said once that Ferry goes on without its window.
    pub told_of_tray: bool,
}

/// Settings to be changed: fields by their names, with their new values. The others stay as they are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SettingsPatch(serde_json::Map<String, serde_json::Value>);

impl SettingsPatch {
    /// Whether a field is to be on.
    #[must_use]
    pub fn is_on(&self, field: &str) -> bool {
        self.0.get(field).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// The same without a field.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        self.0.remove(field);
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            downloads_folder: None,
            concurrent_uploads: 3,
            concurrent_downloads: 3,
            limit_down: None,
            limit_up: None,
            retries: 5,
            connections: 16,
            default_service: ServiceId::at_first(),
            keep_modified_time: false,
            follow_links: false,
            of_services: ServiceSettings::default(),
            theme: Theme::System,
            density: Density::Normal,
            units: Units::System,
            language: Language::System,
            keep_awake: true,
            start_at_login: false,
            // What closing a window means on a Mac.
            close_to_tray: cfg!(target_os = "macos"),
            notifications: true,
            welcomed: false,
            told_of_tray: false,
        }
    }
}

impl Settings {
    /// These with another value for something of a service's, by its name. Whether it fits is found out by
    /// [`Settings::check`].
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.of_services = self.of_services.with(name, value);
        self
    }

    /// Refuses values that cannot work, naming the field.
    pub fn check(&self) -> Result<()> {
        let refuse = |phrase| Err(Error::invalid(phrase));
        let (low, high) = (Count(1), Count(16));
        let value = Count(self.concurrent_uploads.into());
        if !(low..=high).contains(&value) {
            return refuse(Phrase::UploadsOutOfRange { low, high, value });
        }
        let value = Count(self.concurrent_downloads.into());
        if !(low..=high).contains(&value) {
            return refuse(Phrase::DownloadsOutOfRange { low, high, value });
        }
        let value = Count(self.connections.into());
        if !(low..=high).contains(&value) {
            return refuse(Phrase::ConnectionsOutOfRange { low, high, value });
        }
        let (low, high, value) = (Count(0), Count(100), Count(self.retries.into()));
        if !(low..=high).contains(&value) {
            return refuse(Phrase::AttemptsOutOfRange { low, high, value });
        }
        let is_too_low = |limit: Option<u64>| limit.is_some_and(|limit| limit < 1024);
        if is_too_low(self.limit_down) {
            return refuse(Phrase::DownloadLimitTooLow);
        }
        if is_too_low(self.limit_up) {
            return refuse(Phrase::UploadLimitTooLow);
        }
        self.of_services.check()?;
        if self.downloads_folder.as_ref().is_some_and(|folder| !folder.is_absolute()) {
            return refuse(Phrase::FolderNotInFull);
        }
        if !self.default_service.about().is_some_and(About::may_be_default) {
            return refuse(Phrase::ServiceUnknown { id: self.default_service.as_str().into() });
        }
        Ok(())
    }

    /// The base URL of a service; empty for one that has none.
    pub(crate) fn address(&self, service: &str) -> &str {
        let setting = service::about(service).and_then(About::address_names);
        setting.map_or("", |(name, _)| self.of_services.text(name))
    }

    /// How files are sent to a service.
    pub(crate) fn upload_method(&self, service: &str) -> UploadMethod {
        let mut settings = service::about(service).into_iter().flat_map(|about| about.settings);
        let setting = settings.find(|setting| setting.input == Input::Method);
        setting.map_or_else(UploadMethod::default, |setting| self.of_services.method(setting.name))
    }

    /// These with the fields of the patch.
    pub(crate) fn patched(&self, patch: SettingsPatch) -> Result<Self> {
        let wrong =
            |why: String| Error::internal("Settings were changed that there are none of").because(why);
        let all = serde_json::to_value(self).map_err(|error| wrong(error.to_string()))?;
        let serde_json::Value::Object(mut all) = all else { return Err(wrong(all.to_string())) };
        for (field, value) in patch.0 {
            match all.get_mut(&field) {
                Some(there) => *there = value,
                None => return Err(wrong(field)),
            }
        }
        serde_json::from_value(all.into()).map_err(|error| wrong(error.to_string()))
    }

    /// These, but what says where files and keys go, and what belongs to this computer, as it is in `here`. A file that
    /// somebody passed on must not send a key elsewhere, nor have anything deleted.
    pub(crate) fn keeping_places_of(self, here: &Self) -> Self {
        Self {
            downloads_folder: here.downloads_folder.clone(),
            of_services: self.of_services.keeping_what_was_agreed_to_in(&here.of_services),
            default_service: here.default_service.clone(),
            start_at_login: here.start_at_login,
            welcomed: here.welcomed,
            told_of_tray: here.told_of_tray,
            ..self
        }
    }

    /// Reads the text of `settings.json`. `Err` is the reason as a clause.
    pub(crate) fn parse(text: &[u8]) -> std::result::Result<Self, Words> {
        // Only an object: serde would also take a list, and read it as settings in some order.
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let settings: Self = serde_json::from_value(object.into()).map_err(|error| error.to_string())?;
        settings.check().map_err(|error| error.what)?;
        Ok(settings)
    }

    /// Reads `settings.json`. A broken file is set aside, never silently replaced: the note says so.
    ///
    /// # Errors
    ///
    /// Those of the disk, and `permission_denied` where somebody else can have written it. Nothing runs on the defaults then: the
    /// user set something else, perhaps another folder or a limit.
    pub fn load(path: &Path) -> Result<(Self, Option<Phrase>)> {
        let Some(text) = read_settings(path)? else { return Ok((Self::default(), None)) };
        let why = match Self::parse(&text) {
            Ok(settings) => return Ok((settings, None)),
            Err(why) => why,
        };
        let aside = free_name_beside(path);
        let told = match std::fs::rename(path, &aside) {
            Ok(()) => Phrase::SettingsBroken { why, aside: shown(&aside) },
            Err(_) => Phrase::SettingsBrokenInPlace { why },
        };
        Ok((Self::default(), Some(told)))
    }

    /// Writes `settings.json` so that a crash leaves either the old or the new one.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.check()?;
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::internal(e.to_string()))?;
        crate::files::whole::write_whole(path, text.as_bytes())
            .map_err(|error| Error::target_io("Writing the settings to", path, &error))
    }
}

/// Where a broken settings file goes: `settings.json.broken`, or with the first number that no earlier one has.
fn free_name_beside(path: &Path) -> PathBuf {
    let numbers = std::iter::once(String::new()).chain((2_u64..).map(|number| format!("-{number}")));
    let mut names = numbers.map(|number| path.with_extension(format!("json.broken{number}")));
    let is_free = |name: &PathBuf| name.symlink_metadata().is_err();
    names.find(is_free).unwrap_or_else(|| path.with_extension("json.broken"))
}

/// A base URL is http(s) and holds no query. A key goes nowhere in the open: https then, or this computer.
pub(crate) fn check_base_url(service: &str, text: &str) -> Result<()> {
    let takes_key = service::about(service).is_none_or(About::needs_key);
    let parsed = if takes_key { address::parse_secure(text) } else { address::parse_http(text) };
    let named = || Peer::service(service);
    let url =
        parsed.map_err(|why| Error::invalid(Phrase::AddressUnusable { service: named() }).because(why))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid(Phrase::AddressTooLong { service: named() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_that_is_no_text_is_set_aside_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        // An editor that saves as UTF-16.
        let content: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let (settings, told) = Settings::load(&path).unwrap();
        assert!(matches!(told, Some(Phrase::SettingsBroken { .. })), "{told:?}");
        settings.save(&path).unwrap();
        assert_eq!(std::fs::read(folder.path().join("settings.json.broken")).unwrap(), content);
    }

    #[test]
    fn neither_an_imported_file_nor_a_reset_has_anything_deleted() {
        let with_all = |is_on: bool| {
            service::settings()
                .filter(|known| matches!(known.input, Some(Input::Switch { deletes: true, .. })))
                .fold(Settings::default(), |all, known| all.with(known.name, is_on))
        };
        let (on, off) = (with_all(true), with_all(false));
        assert_ne!(on, off, "there is none");
        assert_eq!(on.clone().keeping_places_of(&off), off);
        assert_eq!(on.clone().keeping_places_of(&on), on);
        assert_eq!(off.clone().keeping_places_of(&on), off);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_file_makes_it_panic_and_none_is_lost(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            words in "(\\{|\\}|\\[|\\]|\"|:|,|null|true|-1|1e999|\"retries\"|\"mavi_url\"|\"downloads_folder\"|\\\\u0000| ){0,40}",
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("settings.json");
            let kept = || -> Vec<Vec<u8>> {
                let files = std::fs::read_dir(folder.path()).unwrap();
                files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
            };
            let mut aside = Vec::new();
            for content in [bytes, words.into_bytes()] {
                std::fs::write(&path, &content).unwrap();
                let (settings, told) = Settings::load(&path).unwrap();
                prop_assert!(settings.check().is_ok());
                prop_assert!(kept().contains(&content), "{content:?} is lost");
                prop_assert!(told.is_some() || path.exists());
                if told.is_some() {
                    aside.push(content);
                }
            }
            for content in aside {
                prop_assert!(kept().contains(&content), "{content:?} gave way to another one");
            }
        }
    }
}
