//! What Ferry says outside of its page: tray, notices, questions and titles of dialogs, in the language of the settings. The
//! words come out of the page's own message files, so that everything in one language lies in one place.

use std::sync::LazyLock;

use ferry_engine::{Engine, Language};
use serde::Deserialize;
use tauri::{AppHandle, Manager as _};

/// The messages by name, as `ui/messages/` has them. `{n}` and its like are blanks.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Spoken {
    pub shell_open: String,
    pub shell_pause_all: String,
    pub shell_resume_all: String,
    pub shell_quit: String,
    pub shell_idle: String,
    pub shell_starting: String,
    pub shell_awake: String,
    pub shell_hidden: String,
    pub shell_hidden_text: String,
    pub shell_quit_title: String,
    pub shell_quit_one: String,
    pub shell_quit_many: String,
    pub shell_quit_do: String,
    pub shell_quit_keep: String,
    pub shell_file: String,
    pub shell_files: String,
    pub shell_sent: String,
    pub shell_downloaded: String,
    pub shell_both: String,
    pub shell_stopped: String,
    pub shell_sent_name: String,
    pub shell_downloaded_name: String,
    pub shell_stopped_name: String,
    pub shell_all_arrived: String,
    pub shell_one_needs: String,
    pub shell_many_need: String,
    pub shell_upload_folders: String,
    pub shell_upload_files: String,
    pub shell_export_library: String,
    pub shell_table: String,
    pub shell_export_settings: String,
    pub shell_import_settings: String,
    pub shell_downloads_folder: String,
    pub shell_save_to: String,
}

impl Spoken {
    /// The words of this language; of the desktop's first that Ferry knows, if it is the desktop's to say.
    pub fn in_language(language: Language) -> &'static Self {
        static ENGLISH: LazyLock<Spoken> = LazyLock::new(|| read(include_str!("../../ui/messages/en.json")));
        static SPANISH: LazyLock<Spoken> = LazyLock::new(|| read(include_str!("../../ui/messages/es.json")));
        static CHINESE: LazyLock<Spoken> = LazyLock::new(|| read(include_str!("../../ui/messages/zh.json")));
        match language {
            Language::En => &ENGLISH,
            Language::Es => &SPANISH,
            Language::Zh => &CHINESE,
            Language::System => Self::in_language(first_known(sys_locale::get_locales())),
        }
    }

    /// The words of the settings as they are now.
    pub fn now(app: &AppHandle) -> &'static Self {
        Self::in_language(
            app.try_state::<Engine>().map_or(Language::System, |engine| engine.settings().language),
        )
    }
}

fn read(messages: &str) -> Spoken {
    serde_json::from_str(messages).unwrap_or_else(|error| {
        // The files are a part of the program: a test reads each of them.
        tracing::error!(%error, "a message file is not what the program needs");
        Spoken::default()
    })
}

/// As the page does it: the first language of the user's list that Ferry speaks, else English.
fn first_known(tags: impl IntoIterator<Item = String>) -> Language {
    let known = |tag: String| match tag.split(['-', '_', '.']).next()?.to_ascii_lowercase().as_str() {
        "en" => Some(Language::En),
        "es" => Some(Language::Es),
        "zh" => Some(Language::Zh),
        _ => None,
    };
    tags.into_iter().find_map(known).unwrap_or(Language::En)
}

/// Fills the blanks of a message.
pub(crate) fn fill(message: &str, blanks: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = message;
    // From left to right, once: what was filled in may hold braces of its own.
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((blank, behind)) = after.split_once('}') else { break };
        text.push_str(blanks.iter().find(|(name, _)| *name == blank).map_or("", |(_, value)| value));
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_word() {
        for language in [Language::En, Language::Es, Language::Zh] {
            assert!(!Spoken::in_language(language).shell_open.is_empty(), "{language:?}");
        }
        assert_eq!(Spoken::in_language(Language::Es).shell_quit_keep, "Seguir");
        assert_ne!(
            Spoken::in_language(Language::Zh).shell_idle,
            Spoken::in_language(Language::En).shell_idle
        );
    }

    #[test]
    fn the_desktops_first_known_language_is_spoken() {
        let first = |tags: &[&str]| first_known(tags.iter().map(|tag| (*tag).to_owned()));
        assert_eq!(first(&["fr-FR", "es-MX", "zh-CN"]), Language::Es);
        assert_eq!(first(&["zh_TW.UTF-8"]), Language::Zh);
        assert_eq!(first(&["fr-FR", "C"]), Language::En);
        assert_eq!(first(&[]), Language::En);
    }

    #[test]
    fn blanks_are_filled_once() {
        assert_eq!(fill("Sent: {name}", &[("name", "{n} of {name}")]), "Sent: {n} of {name}");
        assert_eq!(
            fill("{sent} sent, {n} downloaded", &[("n", "2"), ("sent", "1 file")]),
            "1 file sent, 2 downloaded"
        );
        assert_eq!(fill("no blank", &[]), "no blank");
    }
}
