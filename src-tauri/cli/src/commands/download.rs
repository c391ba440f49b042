//! `ferry download`.

use std::io::{BufRead, IsTerminal as _, Read as _};
use std::path::PathBuf;

use ferry_engine::{DownloadRequest, Error};
use tokio::sync::mpsc;

use super::{LONGEST_SECRET, Session};
use crate::Outcome;
use crate::arguments::{Download, Headers};
use crate::follow::{Item, follow};

/// So many are written down together: few enough that the first ones begin at once.
const AT_ONCE: usize = 256;
/// Stands for the lines of stdin.
const STDIN: &str = "-";

/// Brings files and follows them to their ends.
pub async fn run(download: Download, session: &mut Session) -> Result<Outcome, Error> {
    let folder = match &download.dir {
        Some(folder) => Some(full(folder)?),
        None => None,
    };
    let engine = session.open_with(download.pace, download.connections).await?;
    if download.what.iter().any(|what| what == STDIN) && std::io::stdin().is_terminal() {
        session.report.note("Links and ids are read from here, one a line, until Ctrl-D.");
    }
    let changes = engine.subscribe();
    let headers = Headers::all(&download.headers);
    let (sender, added) = mpsc::channel(64);
    let adding = async {
        // Dropped at the end: the follower waits for that.
        let sender = sender;
        let add = async |some: &[String]| {
            let requests = some.iter().map(|what| DownloadRequest {
                what: what.clone(),
                service: download.service.map(|service| service.id().to_owned()),
                folder: folder.clone(),
                name: download.name.clone(),
                unique_id: download.unique_id.clone(),
                quality: download.quality.clone(),
                remove_after: download.remove_after.then_some(true),
                connections: download.connections,
                headers: headers.clone(),
            });
            let added = engine.download_all(requests.collect()).await;
            for added in added.unwrap_or_else(|error| vec![Err(error)]) {
                let _ = sender.send(added.map(|id| Item { id, path: None })).await;
            }
        };
        for given in download.what.chunk_by(|one, next| one != STDIN && next != STDIN) {
            if given != [STDIN] {
                for some in given.chunks(AT_ONCE) {
                    add(some).await;
                }
                continue;
            }
            let (lines, mut read) = mpsc::channel(AT_ONCE);
            // Whoever writes them may take its time: not on the async threads.
            tokio::task::spawn_blocking(move || read_lines(std::io::stdin().lock(), &lines));
            let (mut came, mut some) = (Vec::new(), Vec::new());
            while read.recv_many(&mut came, AT_ONCE).await > 0 {
                for line in came.drain(..) {
                    match line {
                        Ok(what) => some.push(what),
                        Err(error) => drop(sender.send(Err(error)).await),
                    }
                }
                add(&some).await;
                some.clear();
            }
        }
    };
    let (outcome, ()) = tokio::join!(follow(&engine, changes, added, &mut session.report), adding);
    Ok(outcome)
}

/// Hands on what stands in the lines, each as soon as it is there. One that cannot be read is told, and the others go on.
fn read_lines(mut from: impl BufRead, lines: &mpsc::Sender<Result<String, Error>>) {
    let unusable = |number: u64, why: String| {
        Error::invalid(format!("Line {number} of stdin cannot be used")).because(why)
    };
    let (mut line, mut is_empty) = (Vec::new(), true);
    for number in 1.. {
        line.clear();
        let read = from.by_ref().take(LONGEST_SECRET).read_until(b'\n', &mut line);
        let is_cut = line.len() as u64 == LONGEST_SECRET && !line.ends_with(b"\n");
        let (handed, is_last) = match (read, str::from_utf8(&line)) {
            (Ok(0), _) => break,
            (Err(error), _) => (Err(unusable(number, error.to_string())), true),
            _ if is_cut => (Err(unusable(number, "it is longer than any link".to_owned())), true),
            (_, Err(error)) => (Err(unusable(number, error.to_string())), false),
            (_, Ok(text)) => {
                let text = text.trim_start_matches('\u{feff}').trim();
                if text.is_empty() || text.starts_with('#') {
                    continue;
                }
                (Ok(text.to_owned()), false)
            }
        };
        is_empty = false;
        if lines.blocking_send(handed).is_err() || is_last {
            return;
        }
    }
    if is_empty {
        let error = Error::invalid("There was no link and no id on stdin");
        // Nobody listens any more who could be told.
        let _ = lines.blocking_send(Err(error.advise("write one a line, as in `ferry download - < FILE`")));
    }
}

fn full(folder: &std::path::Path) -> Result<PathBuf, Error> {
    std::path::absolute(folder)
        .map_err(|error| Error::invalid("--dir has no full path").because(error.to_string()))
}
