//! `ferry upload`.

use std::path::PathBuf;
use std::sync::Arc;

use ferry_engine::api::OneQueue;
use ferry_engine::{AddedUploads, Error, LinksLeftOut, UploadRequest};
use tokio::sync::mpsc;

use super::{Session, detached, read_secret};
use crate::Outcome;
use crate::arguments::{Headers, Pace, Upload};
use crate::follow::{Added, Item, follow};
use crate::report::Report;

/// Paths that are written down together: one sync of the disk for many files, and results early all the same.
const TOGETHER: usize = 256;
/// So many links are named for people, and so many for programs.
const NAMED: usize = 3;
const MOST_LINKS: usize = 100;

/// Sends files and follows them to their ends.
pub async fn run(upload: Upload, session: &mut Session) -> Result<Outcome, Error> {
    let to = match upload.to {
        Some(url) if url == "-" => Some(read_secret("Signed URL (not shown): ").await?.expose().to_owned()),
        other => other,
    };
    let request = UploadRequest {
        paths: Vec::new(),
        service: upload.service.map(|service| service.0),
        method: upload.method.map(Into::into),
        to,
        content_type: upload.content_type,
        headers: Headers::all(&upload.headers),
        if_sent: upload.if_sent.into(),
        follow_links: upload.follow_links.then_some(true),
    };
    if upload.detach {
        return leave(&request, &upload.paths, upload.pace, session).await;
    }
    let queue = session.open(upload.pace).await?;
    let changes = queue.subscribe();
    let (sender, added) = mpsc::channel(4);
    let adding = async {
        let mut left = LeftOut::default();
        for paths in upload.paths.chunks(TOGETHER) {
            add(&queue, &request, paths, &sender, &mut left).await;
        }
        drop(sender);
        left
    };
    let (outcome, left) = tokio::join!(follow(&queue, changes, added, &mut session.report), adding);
    left.say(&mut session.report);
    Ok(outcome)
}

/// Adds files and leaves them to whoever holds the queue.
async fn leave(
    request: &UploadRequest,
    paths: &[PathBuf],
    pace: Pace,
    session: &mut Session,
) -> Result<Outcome, Error> {
    let Some(queue) = detached::holder(pace, None, session).await? else { return Ok(Outcome::Usage) };
    let (sender, mut added) = mpsc::channel(4);
    let mut left = LeftOut::default();
    let adding = async {
        for paths in paths.chunks(TOGETHER) {
            add(&queue, request, paths, &sender, &mut left).await;
        }
        drop(sender);
    };
    let taking = async {
        let mut all = Vec::new();
        while let Some(some) = added.recv().await {
            all.extend(some.into_iter().map(|one: Result<Item, Error>| one.map(|item| item.id)));
        }
        all
    };
    let ((), all) = tokio::join!(adding, taking);
    let outcome = detached::tell(&queue, &all, session).await;
    left.say(&mut session.report);
    outcome
}

/// What was not sent, and is no failure.
#[derive(Default)]
struct LeftOut {
    sent_before: u64,
    links: LinksLeftOut,
}

impl LeftOut {
    fn say(&self, report: &mut Report) {
        let count = self.sent_before;
        if count > 0 {
            let files = if count == 1 { "file was" } else { "files were" };
            report.note(&format!("{count} {files} skipped: sent before"));
        }
        let LinksLeftOut { count, paths } = &self.links;
        if *count == 0 {
            return;
        }
        let links = if *count == 1 { "link" } else { "links" };
        let names: Vec<&str> = paths.iter().take(NAMED).map(|path| &**path).collect();
        let more = if *count > names.len() as u64 { ", …" } else { "" };
        report.note(&format!(
            "{count} {links} left out: {}{more}; --follow-links sends those that stay inside their folder",
            names.join(", ")
        ));
        report.object(
            &serde_json::json!({"event": "left_out", "reason": "link", "count": count, "paths": paths}),
        );
    }

    fn add(&mut self, sent_before: u64, links: LinksLeftOut) {
        self.sent_before += sent_before;
        self.links.count += links.count;
        let room = MOST_LINKS.saturating_sub(self.links.paths.len());
        self.links.paths.extend(links.paths.into_iter().take(room));
    }
}

/// Adds files.
async fn add(
    queue: &OneQueue,
    request: &UploadRequest,
    paths: &[PathBuf],
    sender: &mpsc::Sender<Added>,
    left: &mut LeftOut,
) {
    match queue.upload(UploadRequest { paths: full(paths), ..request.clone() }).await {
        Ok(AddedUploads { ids, skipped, links, .. }) => {
            left.add(skipped, links);
            // Where they lie is shown as it was written; those who follow them read that from the row.
            let given: Arc<[PathBuf]> = paths.into();
            for ids in ids.chunks(TOGETHER) {
                let items = ids.iter().map(|id| Ok(Item { id: *id, path: Some(Arc::clone(&given)) }));
                // The follower ends only after this side.
                let _ = sender.send(items.collect()).await;
            }
        }
        // One path that is not there must not keep back the others: each by itself.
        Err(_) if paths.len() > 1 && queue.failure().is_none() => {
            for path in paths {
                Box::pin(add(queue, request, std::slice::from_ref(path), sender, left)).await;
            }
        }
        Err(error) => {
            let _ = sender.send(vec![Err(error)]).await;
        }
    }
}

fn full(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())).collect()
}
