//! What Ferry says outside of its page: tray, notices, questions and titles of dialogs, in the language of the settings. The
//! words come out of the page's own message files, so that everything in one language lies in one place.

use std::path::Path;
use std::sync::LazyLock;

use ferry_engine::{Engine, Error, Language, Words};
use serde::Deserialize;
use serde_json::{Map, Value};
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
    pub shell_busy: String,
    pub shell_no_start: String,
    pub shell_close: String,
    pub shell_hidden: String,
    pub shell_hidden_text: String,
    pub shell_hidden_text_mac: String,
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
    pub shell_import_library: String,
    pub shell_library: String,
    pub shell_table: String,
    pub shell_export_settings: String,
    pub shell_import_settings: String,
    pub shell_downloads_folder: String,
    pub shell_save_to: String,
    pub shell_delete_many: String,
    pub shell_delete_keep: String,
    pub shell_open_title: String,
    pub shell_open_text: String,
    pub shell_open_do: String,
    pub shell_open_keep: String,
    pub shell_link_by: String,
    pub shell_inward_title: String,
    pub shell_inward_text: String,
    pub shell_inward_do: String,
    pub shell_inward_keep: String,
    pub shell_address_title: String,
    pub shell_address_text: String,
    pub shell_address_do: String,
    pub shell_address_keep: String,
    pub shell_remove_title: String,
    pub shell_remove_text: String,
    pub shell_remove_do: String,
    pub shell_remove_keep: String,
    pub asset_delete_title: String,
    pub asset_delete_text: String,
    pub asset_delete_confirm: String,
    pub link_title: String,
    pub link_text: String,
    pub link_decline: String,
    pub add_download: String,
    full_stop: String,
    /// The page's own, and what the engine says.
    #[serde(flatten)]
    others: Map<String, Value>,
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

    /// What of the desktop's languages Ferry speaks, by its tag. The page would ask its webview, which knows only locales that
    /// are installed, and window and dialogs would speak two languages.
    pub fn of_system() -> &'static str {
        match first_known(sys_locale::get_locales()) {
            Language::Es => "es",
            Language::Zh => "zh",
            Language::En | Language::System => "en",
        }
    }

    /// The words of the settings in this folder, which may belong to another Ferry: nothing is touched there.
    pub fn in_folder(data_dir: &Path) -> &'static Self {
        #[derive(Default, Deserialize)]
        struct Chosen {
            language: Language,
        }
        let text = std::fs::read(data_dir.join("settings.json")).unwrap_or_default();
        let chosen: Chosen = serde_json::from_slice(&text).unwrap_or_default();
        Self::in_language(chosen.language)
    }

    /// What happened, why and what to do, each as a sentence on a line of its own.
    pub fn sentences(&self, error: &Error) -> String {
        let parts = [Some(error.what.clone()), error.why.clone(), Some(error.advice())];
        let sentence = |words: Words| {
            let said = self.say(&words);
            let clause = said.trim_end_matches('.');
            let mut letters = clause.chars();
            let first = letters.next().into_iter().flat_map(char::to_uppercase);
            first.chain(letters).chain(self.full_stop.chars()).collect::<String>()
        };
        parts.into_iter().flatten().map(sentence).collect::<Vec<_>>().join("\n")
    }

    /// As the page says it. Where that takes more than words in blanks (plurals, sizes, names of services) it is English:
    /// nothing that keeps Ferry from starting does.
    fn say(&self, words: &Words) -> String {
        self.say_here(words).unwrap_or_else(|| words.to_string())
    }

    fn say_here(&self, words: &Words) -> Option<String> {
        let Words::Own(phrase) = words else { return None };
        let Ok(Value::Object(mut blanks)) = serde_json::to_value(phrase) else { return None };
        let name = blanks.remove("is")?;
        let message = self.others.get(&format!("say_{}", name.as_str()?))?.as_str()?;
        let mut filled = Vec::new();
        for (blank, value) in blanks {
            // Nobody's words: it is run letter by letter.
            if let Value::String(command) = &value
                && blank == "command"
            {
                filled.push((blank, command.clone()));
                continue;
            }
            let words = if blank == "service" { None } else { serde_json::from_value(value).ok() };
            filled.push((blank, self.say(&words?)));
        }
        let filled: Vec<_> = filled.iter().map(|(blank, words)| (blank.as_str(), words.as_str())).collect();
        Some(fill(message, &filled))
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
    use ferry_engine::{Cause, Count, Phrase};

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
    fn why_there_is_no_window_is_said_in_the_language_of_the_folders_settings() {
        let folder = tempfile::tempdir().unwrap();
        let error = Error::new(Cause::BusyDataDir, Phrase::OtherFerry { folder: "/a {folder}".into() });
        std::fs::write(folder.path().join("settings.json"), r#"{"language": "es", "retries": "broken"}"#)
            .unwrap();
        let spanish = Spoken::in_folder(folder.path());
        assert_eq!(spanish.sentences(&error), "Otro Ferry está usando «/a {folder}».\nCierra el otro Ferry.");
        let chinese = Spoken::in_language(Language::Zh).sentences(&error.because("os error 13."));
        assert_eq!(chinese, "另一个 Ferry 正在使用“/a {folder}”。\nOs error 13。\n请关闭另一个 Ferry。");
    }

    #[test]
    fn a_command_is_said_letter_by_letter() {
        let command = "chmod 700 '/home/a  b/data'";
        let advice = serde_json::json!({"is": "close_folder", "command": command});
        let advice: Words = serde_json::from_value(advice).unwrap();
        let said = Spoken::in_language(Language::Es).say(&advice);
        assert!(said.contains(command), "{said}");
    }

    #[test]
    fn what_takes_more_than_words_in_blanks_is_english() {
        let counted = Error::invalid(Phrase::SignedUrlTakesOneFile { count: Count(3) });
        let said = Spoken::in_language(Language::Es).sentences(&counted);
        assert!(said.starts_with("A signed URL takes one file, not 3.\n"), "{said}");
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
