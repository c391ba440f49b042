//! `ferry download`.

use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};

use ferry_engine::api::HolderKind;
use ferry_engine::{Code, DownloadRequest, Error, TransferId};
use tokio::sync::mpsc;

use super::lines::{self, Line, Origin};
use super::{Session, detached};
use crate::Outcome;
use crate::arguments::{Download, Headers};
use crate::follow::{Item, follow};

/// So many are written down together: few enough that the first ones begin at once.
const AT_ONCE: usize = 256;
/// Stands for the lines of stdin.
const STDIN: &str = "-";

/// Brings files and follows them to their ends.
pub async fn run(download: Download, session: &mut Session) -> Result<Outcome, Error> {
    let folder = download.dir.as_deref().map(full).transpose()?;
    let mut given: Vec<&[String]> =
        download.what.chunk_by(|one, next| one != STDIN && next != STDIN).collect();
    let stdin = [STDIN.to_owned()];
    let mut file = None;
    match &download.input {
        Some(path) if path.as_os_str() == STDIN => given.push(&stdin),
        Some(path) => file = Some((open(path)?, Origin::File(path.clone()))),
        None => {}
    }
    let queue = if download.detach {
        let Some(queue) = detached::holder(download.pace, download.connections, session).await? else {
            return Ok(Outcome::Usage);
        };
        queue
    } else {
        session.open_as(HolderKind::Terminal, download.pace, download.connections).await?
    };
    if given.contains(&stdin.as_slice()) && std::io::stdin().is_terminal() {
        session.report.note("Links and ids are read from here, one a line, until Ctrl-D.");
    }
    let changes = queue.subscribe();
    let headers = Headers::all(&download.headers);
    let (sender, mut added) = mpsc::channel(4);
    let adding = async {
        // Dropped at the end: the follower waits for that.
        let sender = sender;
        let request = |line: &Line| {
            let own_folder = line.folder.as_deref().map(full).transpose()?;
            Ok(DownloadRequest {
                what: line.what.clone(),
                service: line.service.clone().or_else(|| download.service.clone()).map(|service| service.0),
                folder: own_folder.or_else(|| folder.clone()),
                name: line.name.clone().or_else(|| download.name.clone()),
                unique_id: download.unique_id.clone(),
                quality: download.quality.clone(),
                remove_after: download.remove_after.then_some(true),
                connections: download.connections,
                checksum: line.checksum.clone().or_else(|| download.checksum.clone()),
                headers: headers.clone(),
            })
        };
        let add = async |some: &[Line], origin: &Origin| {
            let mut requests = Vec::with_capacity(some.len());
            let mut asked = Vec::with_capacity(some.len());
            for line in some {
                match request(line) {
                    Ok(request) => {
                        requests.push(request);
                        asked.push(line.number);
                    }
                    Err(error) => drop(sender.send(vec![Err(of_line(error, line.number, origin))]).await),
                }
            }
            let added = queue.download(requests).await.unwrap_or_else(|error| vec![Err(error)]);
            let added = added.into_iter().zip(asked).map(|(added, number)| {
                added.map(|id| Item { id, path: None }).map_err(|error| of_line(error, number, origin))
            });
            // The follower ends only after this side.
            let _ = sender.send(added.collect()).await;
        };
        let add_lines = async |mut read: mpsc::Receiver<Result<Line, Error>>, origin: &Origin| {
            let (mut came, mut some) = (Vec::new(), Vec::new());
            while read.recv_many(&mut came, AT_ONCE).await > 0 {
                for line in came.drain(..) {
                    match line {
                        Ok(line) => some.push(line),
                        Err(error) => drop(sender.send(vec![Err(error)]).await),
                    }
                }
                add(&some, origin).await;
                some.clear();
            }
        };
        for some in given {
            if some == stdin {
                let (lines, read) = mpsc::channel(AT_ONCE);
                // Whoever writes them may take its time: not on the async threads.
                tokio::task::spawn_blocking(move || {
                    lines::read(std::io::stdin().lock(), &Origin::Stdin, &lines);
                });
                add_lines(read, &Origin::Stdin).await;
                continue;
            }
            for some in some.chunks(AT_ONCE) {
                let some: Vec<Line> = some.iter().map(|what| Line::typed(what)).collect();
                add(&some, &Origin::Stdin).await;
            }
        }
        if let Some((file, origin)) = file {
            let (lines, read) = mpsc::channel(AT_ONCE);
            let named = origin.clone();
            tokio::task::spawn_blocking(move || lines::read(BufReader::new(file), &named, &lines));
            add_lines(read, &origin).await;
        }
    };
    if !download.detach {
        let (outcome, ()) = tokio::join!(follow(&queue, changes, added, &mut session.report), adding);
        return Ok(outcome);
    }
    let all = async {
        let mut all: Vec<Result<TransferId, Error>> = Vec::new();
        while let Some(some) = added.recv().await {
            all.extend(some.into_iter().map(|one| one.map(|item| item.id)));
        }
        all
    };
    let (all, ()) = tokio::join!(all, adding);
    detached::tell(&queue, &all, session).await
}

/// What the engine finds wrong with an item, told with its line's number.
fn of_line(error: Error, number: u64, origin: &Origin) -> Error {
    if number == 0 || error.code() != Code::InvalidInput {
        return error;
    }
    let advice = error.advice();
    lines::unusable(number, origin, error.happened().to_string()).advise(advice)
}

fn open(list: &Path) -> Result<std::fs::File, Error> {
    std::fs::File::open(list).map_err(|error| {
        Error::invalid(format!("`{}` cannot be read", list.display())).because(error.to_string())
    })
}

fn full(folder: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(folder)
        .map_err(|error| Error::invalid("The folder has no full path").because(error.to_string()))
}
