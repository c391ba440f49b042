//! `ferry assets`: the library of what was sent.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use ferry_engine::api::{
    AssetDelete, AssetInfoOf, Assets as AllAssets, AssetsWithContent, ExportAssets, ImportAssets,
};
use ferry_engine::{Asset, AssetStatus, Error, Foreign, ImportedAssets, ServiceId, Size, library_as_csv};

use super::Session;
use crate::Outcome;
use crate::arguments::{Assets, OneAsset, Pace, Service};
use crate::clock;

/// Stands for stdout.
const STDOUT: &str = "-";

/// Shows, exports, imports, or asks about the library.
pub async fn run(assets: Assets, session: &mut Session) -> Result<Outcome, Error> {
    if let Some(file) = assets.import {
        return import(&file, session).await;
    }
    if let Some(file) = assets.content_of {
        return with_content_of(&file, session).await;
    }
    match (assets.one, assets.export) {
        (Some(OneAsset::Info { id, service }), _) => info(&id, service, session).await,
        (Some(OneAsset::Delete { id, yes, service }), _) => delete(&id, yes, service, session).await,
        (None, Some(file)) if file.as_os_str() == STDOUT => export_here(session).await,
        (None, Some(file)) => export(&file, session).await,
        (None, None) => list(&assets.search, session).await,
    }
}

async fn list(search: &str, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let assets = queue.call(AllAssets { search: search.to_owned() }).await?;
    if assets.is_empty() {
        session.report.note(if search.is_empty() {
            "The library is empty."
        } else {
            "Nothing in the library matches."
        });
    }
    show(&assets, session);
    Ok(Outcome::Completed)
}

async fn with_content_of(file: &Path, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let file = std::path::absolute(file)
        .map_err(|error| Error::invalid("--where has no full path").because(error.to_string()))?;
    let assets = queue.call(AssetsWithContent { file: file.into() }).await?;
    if assets.is_empty() {
        session.report.note("Nothing that was sent from here is known to have this content.");
    }
    show(&assets, session);
    Ok(Outcome::Completed)
}

fn show(assets: &[Asset], session: &mut Session) {
    if assets.is_empty() {
        return;
    }
    let id_width =
        assets.iter().map(|asset| asset.asset_id.chars().count()).max().unwrap_or(0).max("ASSET ID".len());
    let row = |id: &str, service: &str, size: &str, status: &str, when: &str, name: &str| {
        format!("{id:<id_width$}  {service:<13}  {size:>10}  {status:<9}  {when:<16}  {name}")
    };
    session.report.line(&row("ASSET ID", "SERVICE", "SIZE", "STATUS", "WHEN (UTC)", "NAME"));
    for asset in assets {
        let size = asset.size.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string());
        let when = clock::show(asset.at);
        session.report.line(&row(&asset.asset_id, &asset.service, &size, status(asset), &when, &asset.name));
        session.report.object(asset);
    }
}

fn status(asset: &Asset) -> &'static str {
    match asset.status {
        AssetStatus::Begun => "begun",
        AssetStatus::Sent => "sent",
        AssetStatus::Confirmed => "confirmed",
        AssetStatus::Seen => "seen",
        AssetStatus::Abandoned => "abandoned",
        AssetStatus::Deleted => "deleted",
    }
}

async fn export(file: &Path, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let file = std::path::absolute(file)
        .map_err(|error| Error::invalid("--export has no full path").because(error.to_string()))?;
    let count = queue.call(ExportAssets { file: file.clone() }).await?;
    session.report.line(&session.report.field(&file.display().to_string()));
    session.report.object(
        &serde_json::json!({"event": "exported", "path": file.display().to_string(), "count": count}),
    );
    let assets = if count == 1 { "asset" } else { "assets" };
    session.report.note(&format!("{count} {assets} written"));
    Ok(Outcome::Completed)
}

async fn export_here(session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let assets = queue.call(AllAssets { search: String::new() }).await?;
    session.report.line(library_as_csv(&assets).trim_end());
    assets.iter().for_each(|asset| session.report.object(asset));
    session.report.wrote_all()?;
    Ok(Outcome::Completed)
}

async fn import(file: &Path, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let whole = std::path::absolute(file)
        .map_err(|error| Error::invalid("--import has no full path").because(error.to_string()))?;
    let ImportedAssets { count, new } = queue.call(ImportAssets { file: whole }).await?;
    session.report.line(&session.report.field(&file.display().to_string()));
    session.report.object(
        &serde_json::json!({"event": "imported", "path": file.display().to_string(), "count": count, "new": new}),
    );
    let assets = if count == 1 { "asset" } else { "assets" };
    session.report.note(&format!("{count} {assets} read, {new} of them new"));
    Ok(Outcome::Completed)
}

async fn info(id: &str, service: Option<Service>, session: &mut Session) -> Result<Outcome, Error> {
    let queue = session.open(Pace::default()).await?;
    let info = queue.call(AssetInfoOf { asset_id: id.to_owned(), service: named(service) }).await?;
    let mut line = |label: &str, value: Option<&dyn std::fmt::Display>| {
        if let Some(value) = value {
            session.report.line(&format!("{label:<9}{value}"));
        }
    };
    let size = info.size.map(|bytes| format!("{} ({bytes} bytes)", Size(bytes)));
    line("id", Some(&info.asset_id));
    line("name", info.name.as_ref().map(|name| name as _));
    line("size", size.as_ref().map(|size| size as _));
    line("status", info.status.as_ref().map(|status| status as _));
    line("created", info.created.as_ref().map(|created| created as _));
    session.report.object(&info);
    Ok(Outcome::Completed)
}

async fn delete(
    id: &str,
    yes: bool,
    service: Option<Service>,
    session: &mut Session,
) -> Result<Outcome, Error> {
    if !yes {
        if !std::io::stdin().is_terminal() {
            let error = Error::invalid(format!("`{id}` was not deleted: nobody is there to be asked"));
            session.report.error(&error.advise("add --yes to delete it for good without a question"));
            return Ok(Outcome::Usage);
        }
        if !confirmed(id).await {
            session.report.note("Nothing was deleted.");
            return Ok(Outcome::Failed);
        }
    }
    let queue = session.open(Pace::default()).await?;
    queue.call(AssetDelete { asset_id: id.to_owned(), service: named(service) }).await?;
    session.report.line(id);
    session.report.object(&serde_json::json!({"event": "deleted", "asset_id": id}));
    Ok(Outcome::Completed)
}

fn named(service: Option<Service>) -> Option<ServiceId> {
    service.map(|service| service.0)
}

async fn confirmed(id: &str) -> bool {
    let question =
        format!("Delete `{}` at the service for good? It cannot be brought back. [y/N] ", Foreign::from(id));
    let asked = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        // A terminal that takes no question gives no answer either, and that means no.
        let _ = write!(std::io::stderr(), "{question}");
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    matches!(asked.await, Ok(Ok(answer)) if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
