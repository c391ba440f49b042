//! `ferry demo`: the whole way of a file against the built-in service, with the proof printed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferry_engine::{
    Cause, DownloadRequest, Engine, Error, ServiceId, Settings, Size, State, Transfer, TransferId,
    UploadRequest, Verified, make_private_folder,
};
use sha2::{Digest as _, Sha256};

use super::Session;
use crate::Outcome;
use crate::report::{Event, Report};

/// Not ASCII on purpose: the name travels in `Content-Disposition` and must arrive unharmed.
const NAME: &str = "Überfahrt – demo 渡し船.bin";
const BUFFER: usize = 1 << 20;

/// Sends a file, brings it back, compares.
pub async fn run(bytes: u64, session: &mut Session) -> Result<Outcome, Error> {
    let data_dir = session.data_dir()?;
    // A queue of its own, inside the data folder: the user's queue is not touched. What is sent lies elsewhere, as nothing in the
    // data folder ever is.
    let sent_from = source_folder(&data_dir)?;
    let own = data_dir.join(format!(".ferry-demo-{}", std::process::id()));
    new_folder(&data_dir, &own)?;
    let engine = session.open_apart(own.join("data")).await?;
    let folder = users_downloads_folder(&data_dir).unwrap_or_else(|| engine.downloads_folder());
    let shown = show(&engine, &sent_from.path().join(NAME), folder, bytes, &mut session.report).await;
    session.report.finish();
    engine.shutdown().await;
    // This run made it; what cannot be removed is in nobody's way.
    let _ = std::fs::remove_dir_all(&own);
    shown
}

/// A folder for this user only, gone with what is in it when the demo ends. It lies beside the data folder or among the
/// downloads: the system's folder for such things is in memory on many computers, which a large file does not fit into.
fn source_folder(data_dir: &Path) -> Result<tempfile::TempDir, Error> {
    make_private_folder(data_dir).map_err(|error| Error::target_io("Creating", data_dir, &error))?;
    let mut folder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        folder.permissions(std::fs::Permissions::from_mode(0o700));
    }
    folder.prefix("ferry-demo-");
    // Somebody may have put it where nothing else can be, or into another data folder, out of which nothing is sent.
    let is_in_data = |place: &Path| place.ancestors().any(|above| above.join("ferry.db").exists());
    let beside = data_dir.parent().filter(|place| !is_in_data(place));
    if let Some(made) = beside.and_then(|place| folder.tempdir_in(place).ok()) {
        return Ok(made);
    }
    let elsewhere = users_downloads_folder(data_dir).filter(|place| place.is_dir());
    let place = elsewhere.unwrap_or_else(std::env::temp_dir);
    folder.tempdir_in(&place).map_err(|error| Error::target_io("Creating a folder in", &place, &error))
}

/// Makes a folder that was not there: what is removed afterwards must be nobody else's.
fn new_folder(data_dir: &Path, own: &Path) -> Result<(), Error> {
    make_private_folder(data_dir)
        .and_then(|()| std::fs::create_dir(own))
        .map_err(|error| Error::target_io("Creating", own, &error))
}

async fn show(
    engine: &Engine,
    source: &Path,
    folder: PathBuf,
    bytes: u64,
    report: &mut Report,
) -> Result<Outcome, Error> {
    report.line("Ferry demo: a file goes to the built-in service on this computer and comes back.\n");
    let sent_hash = blocking({
        let source = source.to_owned();
        move || make_source(&source, bytes)
    })
    .await?;
    report.line(&format!("made      “{NAME}”, {} of random bytes", Size(bytes)));
    report.line(&format!("          sha256 {sent_hash}"));

    let mut changes = engine.subscribe();
    let started = Instant::now();
    let request = UploadRequest {
        paths: vec![source.to_owned()],
        service: Some(ServiceId::at_first()),
        ..UploadRequest::default()
    };
    let id = *engine
        .upload(request)
        .await?
        .first()
        .ok_or_else(|| Error::internal("The demo file was not added"))?;
    let Some(sent) = watch(engine, &mut changes, id, report).await else { return Ok(Outcome::Failed) };
    let asset_id = sent.asset_id.clone().unwrap_or_default();
    report.line(&format!("signed    the service gave a signed URL for asset {asset_id}"));
    report.line(&format!("sent      {}", pace(bytes, started.elapsed())));
    report.line(&format!("verified  {}", proof(&sent, "what the store holds")));

    let started = Instant::now();
    let request = DownloadRequest {
        what: asset_id.to_string(),
        service: Some(ServiceId::at_first()),
        folder: Some(folder),
        ..DownloadRequest::default()
    };
    let id = engine.download(request).await?;
    let Some(brought) = watch(engine, &mut changes, id, report).await else { return Ok(Outcome::Failed) };
    let path = PathBuf::from(brought.path.clone().unwrap_or_default());
    report.line(&format!("streamed  {}", pace(bytes, started.elapsed())));
    report.line(&format!("verified  {}", proof(&brought, "what arrived")));
    let name = file_name(&path);
    if !name.starts_with(NAME.trim_end_matches(".bin")) {
        return Err(Error::new(
            Cause::BadResponse,
            format!("The file came back as “{name}”, not under its own name"),
        ));
    }
    let taken = if name == NAME { "" } else { "; that was taken, and nothing is replaced" };
    report.line(&format!("named     “{name}”, as Content-Disposition said{taken}"));

    let (equal, brought_hash) = blocking({
        let (source, path) = (source.to_owned(), path.clone());
        move || compare(&source, &path)
    })
    .await?;
    report.line(&format!("compared  sha256 {brought_hash}"));
    if !equal || brought_hash != sent_hash {
        return Err(Error::new(
            ferry_engine::Cause::Integrity,
            "The file that came back is not the one that was sent",
        ));
    }
    report.line(&format!(
        "\nProven: all {bytes} bytes were signed for, sent, confirmed by the service, streamed back,"
    ));
    report.line(
        "verified by checksum both ways, saved without replacing anything, and are equal byte by byte:",
    );
    report.line(&report.field(&path.display().to_string()));
    report.object(&serde_json::json!({
        "event": "proven", "asset_id": asset_id, "path": path.display().to_string(), "bytes": bytes,
        "sha256": brought_hash, "upload_verified": sent.verified.map(Verified::as_str),
        "download_verified": brought.verified.map(Verified::as_str),
    }));
    Ok(Outcome::Completed)
}

/// Where the user wants downloads, if the settings say so. Only read: the user's engine is not opened.
fn users_downloads_folder(data_dir: &Path) -> Option<PathBuf> {
    let text = std::fs::read(data_dir.join("settings.json")).ok()?;
    serde_json::from_slice::<Settings>(&text).ok()?.downloads_folder
}

/// Waits for the end of a transfer, saying how it moves. `None` = it failed, and that was told.
async fn watch(
    engine: &Engine,
    changes: &mut tokio::sync::broadcast::Receiver<std::sync::Arc<ferry_engine::Changes>>,
    id: TransferId,
    report: &mut Report,
) -> Option<Transfer> {
    let mut started = false;
    loop {
        let transfer = engine.transfer(id)?;
        if !started && !matches!(transfer.state, State::Queued) {
            started = true;
            report.event(Event::Started, &transfer, None);
        }
        match &transfer.state {
            State::Completed => {
                report.event(Event::Completed, &transfer, None);
                report.ended(id);
                return Some(transfer);
            }
            State::Failed(failure) => {
                report.failure(&transfer, failure, None);
                report.ended(id);
                return None;
            }
            State::Canceled | State::Paused => return None,
            State::Queued | State::Running | State::Verifying => {
                report.moving(&transfer, None);
                report.summary(0, 1, std::iter::once(&transfer).filter(|moving| moving.state.is_active()));
            }
        }
        if matches!(changes.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
            return None;
        }
    }
}

fn pace(bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    format!("{} in {seconds:.2} s, {}/s", Size(bytes), Size((bytes as f64 / seconds) as u64))
}

fn proof(transfer: &Transfer, subject: &str) -> String {
    match (transfer.verified, &transfer.checksum) {
        (Some(verified), Some(checksum)) => {
            format!("{subject}: {} {checksum}, as announced", verified.as_str())
        }
        (Some(Verified::Length), None) => format!("{subject}: its length"),
        _ => format!("{subject}: nothing was offered to compare"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Files are slow: not on the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::internal(error.to_string())))
}

/// Writes random-looking bytes, different each time so that nothing on the way can have them already, and tells their
/// SHA-256.
fn make_source(path: &Path, bytes: u64) -> Result<String, Error> {
    let failed = |error: io::Error| Error::target_io("Writing the demo file", path, &error);
    if let Some(folder) = path.parent() {
        make_private_folder(folder).map_err(failed)?;
    }
    let mut file = File::create_new(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut noise = Noise::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = bytes;
    while left > 0 {
        let part = &mut buffer[..left.min(BUFFER as u64) as usize];
        noise.fill(part);
        hash.update(&*part);
        file.write_all(part).map_err(failed)?;
        left -= part.len() as u64;
    }
    Ok(hex(&hash.finalize()))
}

/// Compares two files byte by byte, and tells the SHA-256 of the second.
fn compare(sent: &Path, brought: &Path) -> Result<(bool, String), Error> {
    let open = |path: &Path| File::open(path).map_err(|error| Error::target_io("Reading", path, &error));
    let (mut first, mut second) = (open(sent)?, open(brought)?);
    let (mut one, mut two) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut hash = Sha256::new();
    let mut equal = true;
    loop {
        let read =
            fill(&mut second, &mut two).map_err(|error| Error::target_io("Reading", brought, &error))?;
        hash.update(&two[..read]);
        let expected =
            fill(&mut first, &mut one).map_err(|error| Error::target_io("Reading", sent, &error))?;
        equal &= one[..expected] == two[..read];
        if read == 0 {
            return Ok((equal, hex(&hash.finalize())));
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// xorshift64*: fast bytes that no compression can shrink. Not for secrets.
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(now.as_nanos() as u64 | 1)
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
