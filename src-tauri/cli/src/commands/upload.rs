//! `ferry upload`.

use std::path::{Path, PathBuf};

use ferry_engine::{AddedUploads, Engine, Error, TransferId, UploadRequest};
use tokio::sync::mpsc;

use super::{Session, read_secret};
use crate::Outcome;
use crate::arguments::{Headers, Upload};
use crate::follow::{Added, Item, as_given, follow};

/// Paths that are written down together: one sync of the disk for many files, and results early all the same.
const TOGETHER: usize = 256;

/// Sends files and follows them to their ends.
pub async fn run(upload: Upload, session: &mut Session) -> Result<Outcome, Error> {
    let to = match upload.to {
        Some(url) if url == "-" => Some(read_secret("Signed URL (not shown): ").await?.expose().to_owned()),
        other => other,
    };
    let request = UploadRequest {
        paths: Vec::new(),
        service: upload.service.map(|service| service.id().to_owned()),
        method: upload.method.map(Into::into),
        to,
        content_type: upload.content_type,
        headers: Headers::all(&upload.headers),
        if_sent: upload.if_sent.into(),
    };
    let engine = session.open(upload.pace).await?;
    let changes = engine.subscribe();
    let (sender, added) = mpsc::channel(TOGETHER);
    let adding = async {
        let mut skipped = 0;
        for paths in upload.paths.chunks(TOGETHER) {
            skipped += add(&engine, &request, paths, &sender).await;
        }
        drop(sender);
        skipped
    };
    let (outcome, skipped) = tokio::join!(follow(&engine, changes, added, &mut session.report), adding);
    if skipped > 0 {
        let files = if skipped == 1 { "file was" } else { "files were" };
        session.report.note(&format!("{skipped} {files} skipped: sent before"));
    }
    Ok(outcome)
}

/// Adds files; answers how many were left out as they were sent before.
async fn add(
    engine: &Engine,
    request: &UploadRequest,
    paths: &[PathBuf],
    sender: &mpsc::Sender<Added>,
) -> u64 {
    match engine.add_uploads(UploadRequest { paths: full(paths), ..request.clone() }).await {
        Ok(AddedUploads { ids, skipped, .. }) => {
            let mut given = paths;
            for id in ids {
                let path = shown_path(engine, id, &mut given);
                // The follower ends only after this side.
                let _ = sender.send(Ok(Item { id, path })).await;
            }
            skipped
        }
        // One path that is not there must not keep back the others: each by itself.
        Err(_) if paths.len() > 1 => {
            let mut skipped = 0;
            for path in paths {
                skipped += Box::pin(add(engine, request, std::slice::from_ref(path), sender)).await;
            }
            skipped
        }
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            0
        }
    }
}

fn full(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
}

/// Transfers come in the order of the paths, several for a folder, none for an empty one.
fn shown_path(engine: &Engine, id: TransferId, given: &mut &[PathBuf]) -> Option<String> {
    let full = engine.transfer(id)?.path?;
    while let Some((first, rest)) = given.split_first() {
        if let Some(path) = as_given(Path::new(&full), first) {
            return Some(path.display().to_string());
        }
        *given = rest;
    }
    None
}
