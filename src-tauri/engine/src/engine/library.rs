//! The library, and what the services know of its assets.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::downloads::check_id;
use super::{Engine, blocking};
use crate::asset::{Asset, AssetInfo, AssetStatus, ImportedAssets};
use crate::error::{Error, Result};
use crate::files::whole::write_whole;
use crate::library_file;
use crate::service::ServiceId;
use crate::services::Services;
use crate::terms::Terms;
use crate::upload::sent_before;
use crate::words::{Phrase, Words};

impl Engine {
    /// The library: what was sent and seen, newest first.
    pub async fn assets(&self, search: &str) -> Result<Vec<Asset>> {
        self.queue().store.assets(search).await
    }

    /// What was sent from here with the content of this file, by SHA-256, whichever service has it; newest first for each.
    /// The answer is as good as the library: what the services hold is not asked. A file that cannot be read is an error.
    pub async fn assets_with_content(&self, file: &Path) -> Result<Vec<Asset>> {
        sent_before::with_content_of(&self.queue().store, file, &self.queue().own_folder).await
    }

    /// How many assets the library holds.
    pub async fn asset_count(&self) -> Result<u64> {
        self.queue().store.asset_count().await
    }

    /// Writes the library to a file, as CSV or (by its extension) JSON. Gives the number of assets.
    pub async fn export_assets(&self, file: &Path) -> Result<usize> {
        let assets = self.assets("").await?;
        let as_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if as_json {
            serde_json::to_string_pretty(&assets).map_err(|error| Error::internal(error.to_string()))?
        } else {
            library_file::csv(&assets)
        };
        let (file, count) = (file.to_owned(), assets.len());
        blocking(move || {
            write_whole(&file, text.as_bytes()).map_err(|error| Error::target_io("Writing", &file, &error))
        })
        .await??;
        Ok(count)
    }

    /// Takes in a library that Ferry exported. What this one knows already stays as it is here; only a size or a
    /// checksum that it lacks is taken over.
    pub async fn import_assets(&self, file: &Path) -> Result<ImportedAssets> {
        /// Enough for a million assets.
        const LARGEST: u64 = 512 * 1024 * 1024;
        let file = file.to_owned();
        let read = move || {
            let another = |why: Words| {
                Error::invalid(Phrase::NoLibraryInFile).because(why).advise(Phrase::ChooseExported)
            };
            library_file::read(&read_up_to(&file, LARGEST, another)?).map_err(another)
        };
        let assets = blocking(read).await??;
        let count = assets.len() as u64;
        let new = self.queue().store.import_assets(assets).await?;
        Ok(ImportedAssets { count, new })
    }

    pub(super) async fn service_of(
        &self,
        asset_id: &str,
        service: Option<&str>,
        services: &Services,
    ) -> Result<ServiceId> {
        if let Some(service) = service {
            return Ok(service.into());
        }
        let known = self.queue().store.asset(None, asset_id).await?;
        Ok(known.map_or_else(|| services.default_id(), |asset| asset.service))
    }

    /// Asks the service about an asset.
    pub async fn asset_info(&self, asset_id: &str, service: Option<&str>) -> Result<AssetInfo> {
        self.asset_info_by(asset_id, service, None).await
    }

    pub(crate) async fn asset_info_by(
        &self,
        asset_id: &str,
        service: Option<&str>,
        terms: Option<&Arc<Terms>>,
    ) -> Result<AssetInfo> {
        let services = self.services_for(terms);
        let service = self.service_of(asset_id, service, services).await?;
        check_id(&service, asset_id)?;
        services.get(&service).await?.info(asset_id).await
    }

    /// Deletes an asset at its service for good. Ask the user first.
    pub async fn asset_delete(&self, asset_id: &str, service: Option<&str>) -> Result<()> {
        self.asset_delete_by(asset_id, service, None).await
    }

    pub(crate) async fn asset_delete_by(
        &self,
        asset_id: &str,
        service: Option<&str>,
        terms: Option<&Arc<Terms>>,
    ) -> Result<()> {
        let services = self.services_for(terms);
        let service = self.service_of(asset_id, service, services).await?;
        check_id(&service, asset_id)?;
        services.get(&service).await?.delete(asset_id).await?;
        self.queue().store.set_asset_status(&service, asset_id, AssetStatus::Deleted).await
    }
}

/// A file that the user chose. What Ferry wrote is never longer than `most`: then it is another one.
pub(super) fn read_up_to(file: &Path, most: u64, another: impl Fn(Words) -> Error) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::source_io("Reading", file, &error);
    let opened = File::open(file).map_err(failed)?;
    let mut text = Vec::new();
    // A device has no length that could be asked for.
    if opened.metadata().map_err(failed)?.len() <= most {
        let mut taken = std::io::Read::take(opened, most + 1);
        std::io::Read::read_to_end(&mut taken, &mut text).map_err(failed)?;
        if text.len() as u64 <= most {
            return Ok(text);
        }
    }
    Err(another(format!("it is longer than {most} bytes").into()))
}
