//! Resumable sessions as Google's XML API has them. What came is on disk as soon as it came, so a session
//! outlives a cut connection and a kill of the process; what counts as kept is a multiple of 256 KiB until
//! the last byte is there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::Call;
use crate::faults::{FaultKind, Moment};
use crate::objects::{
    Ended, Incoming, MD5_UP_TO, Object, Objects, Sums, Target, random_hex, read_json, receive, write_json,
};
use crate::ranges::Sent;
use crate::{private, timestamp};

/// The folder of sessions, below the root.
pub(crate) const FOLDER: &str = "sessions";
/// Chunks are multiples of this, but the last.
pub(crate) const UNIT: u64 = 256 << 10;
/// A session that was not finished lives a week.
const LIFETIME_MILLIS: u64 = 7 * 24 * 3600 * 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    bucket: String,
    name: String,
    content_type: String,
    /// The size of the whole, once a request has told it.
    total: Option<u64>,
    created: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Open,
    /// Everything is here and the object is being published; repeated at the next look if the process ended
    /// meanwhile.
    Publishing(Object),
    Done(Object),
    Cancelled,
}

/// How a request to a session ends.
pub(crate) enum Outcome {
    /// 308, with so many bytes kept.
    Kept(u64),
    /// 200.
    Done(Object),
    /// 400, with what was wrong.
    Refused(String),
    /// 404 or 410.
    Gone(u16),
    /// 499.
    Cancelled,
    /// No answer: the connection is gone or to be closed.
    NoAnswer,
    /// 500.
    Failed(io::Error),
}

struct Session {
    /// One request at a time works on a session.
    busy: tokio::sync::Mutex<Option<Sums>>,
    /// Stops the request that works on it now. Its client may be long gone without the connection showing it.
    working: Mutex<CancellationToken>,
}

/// All sessions of the store.
pub(crate) struct Sessions {
    folder: PathBuf,
    objects: Objects,
    open: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn open(root: &Path, objects: Objects) -> io::Result<Self> {
        let folder = root.join(FOLDER);
        private::folder(&folder)?;
        let sessions = Self { folder, objects, open: Mutex::default() };
        sessions.tidy()?;
        Ok(sessions)
    }

    /// Forgets sessions whose week is over, and notes which objects are still on their way.
    fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(record) = read_json::<Record>(&path) else { continue };
            if timestamp::now_millis() > record.created + LIFETIME_MILLIS {
                fs::remove_file(&path)?;
                let _ = fs::remove_file(path.with_extension("part"));
            } else if matches!(record.phase, Phase::Open | Phase::Publishing(_)) {
                self.objects.set_receiving(&record.bucket, &record.name, true);
            }
        }
        Ok(())
    }

    /// Starts a session and returns its id.
    pub(crate) fn start(
        &self,
        bucket: &str,
        name: &str,
        content_type: String,
        total: Option<u64>,
    ) -> io::Result<String> {
        let id = format!("{}{}", random_hex(), random_hex());
        private::create(&self.part(&id))?;
        let created = timestamp::now_millis();
        let record = Record {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            content_type,
            total,
            created,
            phase: Phase::Open,
        };
        write_json(&self.record(&id), &record)?;
        self.objects.set_receiving(bucket, name, true);
        Ok(id)
    }

    /// A status query, or a DELETE.
    pub(crate) async fn ask(&self, call: &Call, id: &str, sent: Sent, cancel: bool) -> Outcome {
        if let Some(gone) = claimed_gone(call) {
            return gone;
        }
        let Some(session) = self.find(id) else { return Outcome::Gone(404) };
        let _working = session.take_over();
        let mut sums = session.busy.lock().await;
        let mut record = match self.load(id) {
            Ok(record) => record,
            Err(outcome) => return *outcome,
        };
        if let Phase::Done(object) = record.phase {
            return Outcome::Done(object);
        }
        if cancel {
            self.objects.set_receiving(&record.bucket, &record.name, false);
            record.phase = Phase::Cancelled;
            let _ = fs::remove_file(self.part(id));
            return write_json(&self.record(id), &record)
                .map_or_else(Outcome::Failed, |()| Outcome::Cancelled);
        }
        if let (Some(known), Some(told)) = (record.total, sent.total)
            && known != told
        {
            return Outcome::Refused(format!("The total size was {known} and is now {told}."));
        }
        let kept = match self.kept(id) {
            Ok(kept) => kept,
            Err(error) => return Outcome::Failed(error),
        };
        // `bytes */0` is the only query that finishes anything: an empty file has no chunk that could.
        if sent.total == Some(0) && kept == 0 {
            return self.finish(id, record, sums.take(), 0).await;
        }
        Outcome::Kept(kept)
    }

    /// A chunk, or the whole body without a `Content-Range`.
    pub(crate) async fn take(
        &self,
        call: &Call,
        id: &str,
        sent: Option<Sent>,
        length: u64,
        body: Incoming<'_>,
    ) -> Outcome {
        if let Some(gone) = claimed_gone(call) {
            return gone;
        }
        let Some(session) = self.find(id) else { return Outcome::Gone(404) };
        let working = session.take_over();
        let mut sums = session.busy.lock().await;
        let mut record = match self.load(id) {
            Ok(record) => record,
            Err(outcome) => return *outcome,
        };
        if let Phase::Done(object) = record.phase {
            return Outcome::Done(object);
        }
        let kept = match self.kept(id) {
            Ok(kept) => kept,
            Err(error) => return Outcome::Failed(error),
        };
        let Sent { span, total } =
            sent.unwrap_or(Sent { span: length.checked_sub(1).map(|last| (0, last)), total: Some(length) });
        let Some((first, last)) = span else { return self.finish(id, record, sums.take(), 0).await };
        if last - first + 1 != length {
            return Outcome::Refused(format!(
                "Content-Range names {} bytes but Content-Length is {length}.",
                last - first + 1
            ));
        }
        if let (Some(known), Some(told)) = (record.total, total)
            && known != told
        {
            return Outcome::Refused(format!("The total size was {known} and is now {told}."));
        }
        let is_last = total == Some(last + 1);
        if !is_last && !length.is_multiple_of(UNIT) {
            return Outcome::Refused(format!(
                "Every chunk but the last has a multiple of {UNIT} bytes; this one has {length}."
            ));
        }
        if first > kept {
            return Outcome::Refused(format!(
                "The chunk starts at {first}, which exceeds the {kept} bytes uploaded so far."
            ));
        }
        if total.is_some() && record.total != total {
            record.total = total;
            if let Err(error) = write_json(&self.record(id), &record) {
                return Outcome::Failed(error);
            }
        }

        // The running checksum fits only if nothing behind `first` has to be written again; else the file is
        // read once more at the end.
        let running =
            sums.take().filter(|sums| sums.bytes == first).or_else(|| (first == 0).then(|| Sums::new(false)));
        let has_running = running.is_some();
        // What was kept stays kept, even if this chunk repeats some of it and is then cut.
        let file = match self.part_file(id, kept, first) {
            Ok(file) => file,
            Err(error) => return Outcome::Failed(error),
        };
        let start = running.unwrap_or_else(|| Sums::new(false));
        let before = start.bytes;
        let (after, result) = receive(call, body, Target::File(file), start, &working).await;
        let mut came = after.bytes - before;
        match result {
            Ok(()) => {}
            Err(Ended::Disk(error)) => return Outcome::Failed(error),
            Err(Ended::Cut | Ended::Fault | Ended::TakenOver) => return Outcome::NoAnswer,
        }
        if came != length {
            return Outcome::NoAnswer;
        }
        for fault in call.claim(Moment::SessionChunk) {
            match fault {
                FaultKind::KeepFewer { bytes } => came = came.saturating_sub(bytes),
                FaultKind::DoneEarly if !is_last => {
                    return Outcome::Done(Objects::new_object(
                        &record.bucket,
                        &record.name,
                        record.content_type.clone(),
                        &after,
                    ));
                }
                _ => {}
            }
        }
        if came < length {
            let kept = first + came / UNIT * UNIT;
            return self.part_file(id, kept, kept).map_or_else(Outcome::Failed, |_| Outcome::Kept(kept));
        }
        if is_last {
            return self.finish(id, record, has_running.then_some(after), last + 1).await;
        }
        *sums = has_running.then_some(after);
        Outcome::Kept(last + 1)
    }

    fn find(&self, id: &str) -> Option<Arc<Session>> {
        let named_well = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        if !named_well || !self.record(id).exists() {
            return None;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else holds a session that no request works on, and all that matters of it is on disk.
        if open.len() > 10_000 {
            open.retain(|_, session| Arc::strong_count(session) > 1);
        }
        let fresh = || Arc::new(Session { busy: tokio::sync::Mutex::new(None), working: Mutex::default() });
        Some(Arc::clone(open.entry(id.to_owned()).or_insert_with(fresh)))
    }

    /// The record as it stands after repeating a publication that was cut short.
    fn load(&self, id: &str) -> Result<Record, Box<Outcome>> {
        let mut record: Record = read_json(&self.record(id)).ok_or_else(|| Box::new(Outcome::Gone(404)))?;
        match &record.phase {
            Phase::Publishing(object) => {
                let object = object.clone();
                self.publish(id, &mut record, object).map_err(|error| Box::new(Outcome::Failed(error)))?;
            }
            Phase::Cancelled => return Err(Box::new(Outcome::Gone(410))),
            Phase::Open if timestamp::now_millis() > record.created + LIFETIME_MILLIS => {
                return Err(Box::new(Outcome::Gone(410)));
            }
            _ => {}
        }
        Ok(record)
    }

    async fn finish(&self, id: &str, mut record: Record, running: Option<Sums>, size: u64) -> Outcome {
        let with_md5 = size <= MD5_UP_TO;
        let sums = if let Some(sums) = running.filter(|sums| sums.bytes == size && !with_md5) {
            Ok(sums)
        } else {
            let path = self.part(id);
            tokio::task::spawn_blocking(move || Sums::of_file(&mut private::open(&path)?, size, with_md5))
                .await
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        };
        let sums = match sums {
            Ok(sums) if sums.bytes == size => sums,
            Ok(_) => return Outcome::Failed(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Outcome::Failed(error),
        };
        let object = Objects::new_object(&record.bucket, &record.name, record.content_type.clone(), &sums);
        record.phase = Phase::Publishing(object.clone());
        let published = write_json(&self.record(id), &record)
            .and_then(|()| self.publish(id, &mut record, object.clone()));
        published.map_or_else(Outcome::Failed, |()| Outcome::Done(object))
    }

    fn publish(&self, id: &str, record: &mut Record, object: Object) -> io::Result<()> {
        self.objects.publish(&object, &self.part(id))?;
        record.phase = Phase::Done(object);
        write_json(&self.record(id), record)
    }

    /// Bytes that the store stands by.
    fn kept(&self, id: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.part(id))?.len() / UNIT * UNIT)
    }

    /// The file of received bytes, cut to `length` and ready to be written at `position`.
    fn part_file(&self, id: &str, length: u64, position: u64) -> io::Result<File> {
        let mut file = private::open_to_write(&self.part(id))?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(position))?;
        Ok(file)
    }

    fn part(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.part"))
    }

    fn record(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

impl Session {
    /// Stops the request that works on the session and returns the token by which the next one will stop
    /// this.
    fn take_over(&self) -> CancellationToken {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        working.cancel();
        *working = CancellationToken::new();
        working.clone()
    }
}

fn claimed_gone(call: &Call) -> Option<Outcome> {
    call.claim(Moment::Session).into_iter().find_map(|fault| match fault {
        FaultKind::SessionGone { status } => Some(Outcome::Gone(status)),
        _ => None,
    })
}
