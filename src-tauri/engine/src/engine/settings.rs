//! The settings, changed by one after the other.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::library::read_up_to;
use super::{Engine, Entrusted, blocking};
use crate::error::{Error, Result};
use crate::service::{self, Input, ServiceId};
use crate::settings::{Settings, SettingsPatch};
use crate::words::{Phrase, Words};

impl Engine {
    /// The settings.
    pub fn settings(&self) -> Settings {
        self.inner.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks, writes and applies settings; what runs keeps to them from now on.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::change_settings`].
    pub async fn save_settings(&self, settings: Settings) -> Result<()> {
        self.change_settings(|all| *all = settings).await.map(drop)
    }

    /// Changes some of the settings, checks, writes and applies them. Several changes at once are made one after the
    /// other, and each leaves alone what it does not name. Gives what is in force now; every listener is told, too.
    ///
    /// # Errors
    ///
    /// `invalid_input` for values that cannot work, `disk_full` or `permission_denied` when they cannot be written; then
    /// nothing is changed.
    pub async fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<Settings> {
        let _changing = self.inner.changing_settings.lock().await;
        let mut settings = self.settings();
        change(&mut settings);
        self.put_settings(settings.clone()).await?;
        Ok(settings)
    }

    /// [`Engine::change_settings`] by the names of the fields.
    ///
    /// # Errors
    ///
    /// Those, and `internal` for a field that there is none of.
    pub async fn patch_settings(&self, patch: SettingsPatch) -> Result<Settings> {
        let _changing = self.inner.changing_settings.lock().await;
        let settings = self.settings().patched(patch)?;
        self.put_settings(settings.clone()).await?;
        Ok(settings)
    }

    /// What a change of settings would entrust to others that they do not have yet.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::patch_settings`].
    pub fn entrusts(&self, patch: &SettingsPatch) -> Result<Entrusted> {
        let before = self.settings();
        let after = before.patched(patch.clone())?;
        after.check()?;
        let moved = self.queue().services.moved(&after).into_iter();
        Ok(Entrusted {
            origins: moved.map(|(service, origin)| (service, origin.to_string())).collect(),
            removes_there: service::settings().any(|known| {
                let is_on = |settings: &Settings| settings.of_services.is_on(known.name);
                matches!(known.input, Some(Input::Switch { deletes: true, .. }))
                    && is_on(&after)
                    && !is_on(&before)
            }),
        })
    }

    /// For one who holds `changing_settings`.
    pub(super) async fn put_settings(&self, settings: Settings) -> Result<()> {
        let (file, mut written) = (self.inner.settings_file.clone(), settings.clone());
        {
            let mut for_this_run = self.default_for_this_run();
            if for_this_run.as_ref() == Some(&settings.default_service) {
                written.default_service = ServiceId::at_first();
            } else {
                // The user chose another.
                *for_this_run = None;
            }
        }
        self.queue().disk(move || written.save(&file)).await??;
        let before = self.settings();
        self.queue().set_settings(settings.clone());
        for service in self.queue().services.readdressed(&before, &settings) {
            self.queue().clear_problem(service);
        }
        Ok(())
    }

    /// Everything as it was at first, but where files and keys go. Gives what is in force now.
    pub async fn reset_settings(&self) -> Result<Settings> {
        self.change_settings(|all| *all = Settings::default().keeping_places_of(all)).await
    }

    /// Writes the settings to a file, for another computer or another day. Keys are not in it.
    pub async fn export_settings(&self, file: &Path) -> Result<()> {
        let (settings, file) = (self.settings(), file.to_owned());
        blocking(move || settings.save(&file)).await?
    }

    /// Takes settings over from a file, but where files and keys go. Gives what is in force now.
    pub async fn import_settings(&self, file: &Path) -> Result<Settings> {
        /// The longest text that can hold them.
        const LARGEST: u64 = 1024 * 1024;
        let file = file.to_owned();
        let read = move || {
            let another = |why: Words| {
                Error::invalid(Phrase::NoSettingsInFile).because(why).advise(Phrase::ChooseExported)
            };
            Settings::parse(&read_up_to(&file, LARGEST, another)?).map_err(another)
        };
        let settings = blocking(read).await??;
        self.change_settings(|all| *all = settings.keeping_places_of(all)).await
    }

    pub(super) fn default_for_this_run(&self) -> std::sync::MutexGuard<'_, Option<ServiceId>> {
        self.inner.default_for_this_run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where downloads go.
    pub fn downloads_folder(&self) -> PathBuf {
        if let Some(folder) = self.settings().downloads_folder {
            return folder;
        }
        directories::UserDirs::new().map_or_else(
            || PathBuf::from("Downloads"),
            |user| user.download_dir().map_or_else(|| user.home_dir().join("Downloads"), Path::to_owned),
        )
    }
}
