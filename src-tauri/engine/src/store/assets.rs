//! The library in the database.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::contents::RECOGNISABLE;
use super::{COPIED, Sha256, Store};
use crate::asset::{Asset, AssetStatus};
use crate::error::{Error, Result};
use crate::foreign::Foreign;
use crate::search::Search;
use crate::service::ServiceId;

impl Store {
    /// Runs a job that changes the library and answers what it changed. That is told once it is committed, also if nobody
    /// waits for the answer any more.
    pub(super) async fn change_library(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Vec<Asset>> + Send + 'static,
    ) -> Result<()> {
        let news = Arc::clone(&self.news);
        let answered = self.hand_over_and(job, move |changed| news.note(changed))?;
        answered.await.map_err(|_| Error::internal("The database thread has ended"))?.map(drop)
    }

    /// Writes an asset into the library, or what is new about it.
    pub async fn save_asset(&self, asset: Asset) -> Result<()> {
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let now = upsert(transaction, &asset)?;
            library.append(&asset);
            Ok(vec![now])
        })
        .await
    }

    /// The same for one that was just sent, with what it holds.
    pub async fn save_sent(&self, asset: Asset, sha256: Sha256) -> Result<()> {
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let now = upsert(transaction, &asset)?;
            transaction
                .prepare_cached("UPDATE assets SET sha256 = ?3 WHERE service = ?1 AND asset_id = ?2")?
                .execute(params![asset.service, asset.asset_id, sha256])?;
            library.append(&asset);
            Ok(vec![now])
        })
        .await
    }

    /// Takes assets of another library in; what is known here stays. Says how many were new.
    pub async fn import_assets(&self, assets: Vec<Asset>) -> Result<u64> {
        let (new, changed) = self
            .run(move |transaction| {
                let count = || transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0));
                let before: u64 = count()?;
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO assets (service, asset_id, name, size, crc32c, status, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (service, asset_id) DO UPDATE SET
                       size = coalesce(size, excluded.size), crc32c = coalesce(crc32c, excluded.crc32c)
                     WHERE (size IS NULL AND excluded.size IS NOT NULL)
                        OR (crc32c IS NULL AND excluded.crc32c IS NOT NULL)",
                )?;
                let mut changed = Vec::new();
                for asset in assets {
                    let Asset { service, asset_id, name, size, crc32c, status, at } = asset;
                    let values = params![service, asset_id, name, size, crc32c, status_word(status), at];
                    if insert.execute(values)? > 0 {
                        changed.push((service, asset_id));
                    }
                }
                Ok((count()? - before, changed))
            })
            .await?;
        // In portions, so that others need not wait for all of it; what a kill leaves out is added at the next start.
        for portion in changed.chunks(COPIED) {
            let (portion, library) = (portion.to_vec(), Arc::clone(&self.library));
            self.change_library(move |transaction| {
                // As it is by now: what comes later in the copy counts.
                let mut select = transaction.prepare_cached(
                    "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                     WHERE service = ?1 AND asset_id = ?2",
                )?;
                let mut now = |(service, asset_id): &(ServiceId, Foreign)| {
                    select.query_row(params![service, asset_id], read_asset)
                };
                let assets = portion.iter().map(&mut now).collect::<rusqlite::Result<Vec<_>>>()?;
                library.append_all(&assets);
                Ok(assets)
            })
            .await?;
        }
        Ok(new)
    }

    /// Changes how an asset stands.
    pub async fn set_asset_status(&self, service: &str, asset_id: &str, status: AssetStatus) -> Result<()> {
        let (service, asset_id) = (service.to_owned(), asset_id.to_owned());
        let library = Arc::clone(&self.library);
        self.change_library(move |transaction| {
            let changed = transaction
                .query_row(
                    "UPDATE assets SET status = ?3 WHERE service = ?1 AND asset_id = ?2
                     RETURNING service, asset_id, name, size, crc32c, status, at",
                    params![service, asset_id, status_word(status)],
                    read_asset,
                )
                .optional()?;
            if let Some(asset) = &changed {
                library.append(asset);
            }
            Ok(Vec::from_iter(changed))
        })
        .await
    }

    /// Assets whose name or id holds the text, newest first; all of them for an empty text.
    pub async fn assets(&self, search: &str) -> Result<Vec<Asset>> {
        let search = Search::new(search);
        self.run(move |transaction| {
            let mut select = transaction.prepare_cached(
                "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                 WHERE finds(name, ?1) OR finds(asset_id, ?1) ORDER BY at DESC, rowid DESC",
            )?;
            let rows = select.query_map([search], read_asset)?;
            rows.collect()
        })
        .await
    }

    /// How many assets there are.
    pub async fn asset_count(&self) -> Result<u64> {
        self.run(|transaction| {
            let count: i64 = transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    /// One asset, by id, at one service or wherever it was last seen.
    pub async fn asset(&self, service: Option<&str>, asset_id: &str) -> Result<Option<Asset>> {
        let (service, asset_id) = (service.map(str::to_owned), asset_id.to_owned());
        self.run(move |transaction| {
            transaction
                .query_row(
                    "SELECT service, asset_id, name, size, crc32c, status, at FROM assets
                     WHERE asset_id = ?1 AND (?2 IS NULL OR service = ?2) ORDER BY at DESC LIMIT 1",
                    params![asset_id, service],
                    read_asset,
                )
                .optional()
        })
        .await
    }

    /// Whether anything that was sent to this service can be recognised.
    pub async fn has_sent(&self, service: &str) -> Result<bool> {
        let service = service.to_owned();
        self.run(move |transaction| {
            let any = format!("SELECT 1 FROM assets WHERE service = ?1 AND {RECOGNISABLE} LIMIT 1");
            transaction.prepare_cached(&any)?.exists([service])
        })
        .await
    }

    /// What was sent to this service and has one of these sizes, newest first.
    pub async fn sent_with_sizes(&self, service: &str, sizes: Vec<u64>) -> Result<Vec<(Asset, Sha256)>> {
        let service = service.to_owned();
        self.run(move |transaction| {
            let mut select = transaction.prepare_cached(&format!(
                "SELECT service, asset_id, name, size, crc32c, status, at, sha256 FROM assets
                 WHERE service = ?1 AND size = ?2 AND {RECOGNISABLE} ORDER BY at DESC, rowid DESC"
            ))?;
            let mut assets = Vec::new();
            for size in sizes {
                for asset in
                    select.query_map(params![service, size], |row| Ok((read_asset(row)?, row.get(7)?)))?
                {
                    assets.push(asset?);
                }
            }
            Ok(assets)
        })
        .await
    }
}

pub(super) fn read_asset(row: &rusqlite::Row<'_>) -> rusqlite::Result<Asset> {
    Ok(Asset {
        service: row.get(0)?,
        asset_id: row.get(1)?,
        name: row.get(2)?,
        size: row.get(3)?,
        crc32c: row.get(4)?,
        status: match row.get::<_, String>(5)?.as_str() {
            "sent" => AssetStatus::Sent,
            "confirmed" => AssetStatus::Confirmed,
            "seen" => AssetStatus::Seen,
            "abandoned" => AssetStatus::Abandoned,
            "deleted" => AssetStatus::Deleted,
            _ => AssetStatus::Begun,
        },
        at: row.get(6)?,
    })
}

pub(super) fn status_word(status: AssetStatus) -> &'static str {
    match status {
        AssetStatus::Begun => "begun",
        AssetStatus::Sent => "sent",
        AssetStatus::Confirmed => "confirmed",
        AssetStatus::Seen => "seen",
        AssetStatus::Abandoned => "abandoned",
        AssetStatus::Deleted => "deleted",
    }
}

/// Writes an asset down and answers how it stands then. A file that was only seen changes nothing about how it was sent: its
/// name here may be another.
pub(super) fn upsert(connection: &Connection, asset: &Asset) -> rusqlite::Result<Asset> {
    connection
        .prepare_cached(
            "INSERT INTO assets (service, asset_id, name, size, crc32c, status, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (service, asset_id) DO UPDATE SET
               name = CASE WHEN excluded.status = 'seen' THEN name ELSE excluded.name END,
               size = coalesce(excluded.size, size), crc32c = coalesce(excluded.crc32c, crc32c),
               status = CASE WHEN excluded.status = 'seen' THEN status ELSE excluded.status END,
               at = CASE WHEN excluded.status = 'seen' THEN at ELSE excluded.at END
             RETURNING service, asset_id, name, size, crc32c, status, at",
        )?
        .query_row(
            params![
                asset.service,
                asset.asset_id,
                asset.name,
                asset.size,
                asset.crc32c,
                status_word(asset.status),
                asset.at
            ],
            read_asset,
        )
}

/// Fills a new database from the copy of the library; says how many assets there are then.
pub(super) fn bring_back(connection: &mut Connection, assets: &[Asset]) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    for asset in assets {
        upsert(&transaction, asset)?;
    }
    let count = transaction.query_row("SELECT count(*) FROM assets", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(count)
}

pub(super) fn all_assets(connection: &Connection) -> rusqlite::Result<Vec<Asset>> {
    let mut select = connection
        .prepare("SELECT service, asset_id, name, size, crc32c, status, at FROM assets ORDER BY rowid")?;
    select.query_map([], read_asset)?.collect()
}
