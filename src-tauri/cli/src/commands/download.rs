//! `ferry download`.

use std::path::PathBuf;

use ferry_engine::api::HolderKind;
use ferry_engine::{DownloadRequest, Error};
use tokio::sync::mpsc;

use super::{Session, detached};
use crate::Outcome;
use crate::arguments::{Download, Headers};
use crate::follow::{Item, follow};

/// So many are written down together: few enough that the first ones begin at once.
const AT_ONCE: usize = 256;

/// Brings files and follows them to their ends.
pub async fn run(download: Download, session: &mut Session) -> Result<Outcome, Error> {
    let folder = match &download.dir {
        Some(folder) => Some(full(folder)?),
        None => None,
    };
    let headers = Headers::all(&download.headers);
    let request = |what: &String| DownloadRequest {
        what: what.clone(),
        service: download.service.map(|service| service.id().to_owned()),
        folder: folder.clone(),
        name: download.name.clone(),
        unique_id: download.unique_id.clone(),
        quality: download.quality.clone(),
        remove_after: download.remove_after.then_some(true),
        connections: download.connections,
        headers: headers.clone(),
    };
    if download.detach {
        let Some(queue) = detached::holder(download.pace, download.connections, session).await? else {
            return Ok(Outcome::Usage);
        };
        let added = queue.download(download.what.iter().map(request).collect()).await?;
        return detached::tell(&queue, &added, session).await;
    }
    let queue = session.open_as(HolderKind::Terminal, download.pace, download.connections).await?;
    let changes = queue.subscribe();
    let (sender, added) = mpsc::channel(4);
    let adding = async {
        for some in download.what.chunks(AT_ONCE) {
            let added = queue.download(some.iter().map(request).collect()).await;
            let added = added.unwrap_or_else(|error| vec![Err(error)]);
            let added = added.into_iter().map(|added| added.map(|id| Item { id, path: None }));
            // The follower ends only after this side.
            let _ = sender.send(added.collect()).await;
        }
        drop(sender);
    };
    let (outcome, ()) = tokio::join!(follow(&queue, changes, added, &mut session.report), adding);
    Ok(outcome)
}

fn full(folder: &std::path::Path) -> Result<PathBuf, Error> {
    std::path::absolute(folder)
        .map_err(|error| Error::invalid("--dir has no full path").because(error.to_string()))
}
