//! What a transfer was asked to do, as it is written down. Holds no secret: links are kept without their query,
//! the rest of them in [`crate::resume`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::own_file::FileId;
use crate::foreign::Foreign;
use crate::http::checksum::Checksum;
use crate::http::identity::Identity;
use crate::http::range::Validator;
use crate::transfer::{Extent, Verified};
use crate::upload_method::UploadMethod;

/// An upload or a download, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Send a file.
    Upload(UploadTask),
    /// Bring a file.
    Download(DownloadTask),
}

impl Task {
    /// Whether it goes by a link, which may have headers with it.
    pub fn has_link(&self) -> bool {
        match self {
            Self::Download(task) => task.is_url,
            Self::Upload(task) => task.to_own_url,
        }
    }

    /// What the list shows of it does not bring it any more.
    pub fn needs_record(&mut self) {
        if let Self::Download(task) = self {
            task.is_whole = false;
        }
    }

    /// Whether it goes by a link of which the list shows a part only.
    pub fn hides_link(&self) -> bool {
        match self {
            Self::Download(task) => task.is_url && !task.is_whole,
            Self::Upload(task) => task.to_own_url,
        }
    }

    /// What is sent or brought: the path, the id, or the link as far as the list has it.
    pub fn subject(&self) -> &[u8] {
        match self {
            Self::Upload(upload) => upload.path.as_os_str().as_encoded_bytes(),
            Self::Download(download) => download.what.as_bytes(),
        }
    }

    /// An earlier Ferry took a signed link without its `https://` for an id, and kept it whole. No service has such an id:
    /// what may be secret in it goes.
    pub fn without_secrets(&mut self) {
        if let Self::Download(download) = self
            && !download.is_url
        {
            download.what = Foreign::from(std::mem::take(&mut download.what)).into();
        }
    }

    /// What of a request added it.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Upload(upload) => upload.token,
            Self::Download(download) => download.token,
        }
    }

    /// Where its service was when it was added.
    pub fn origin(&self) -> Option<&str> {
        match self {
            Self::Upload(upload) => upload.origin.as_deref(),
            Self::Download(download) => download.origin.as_deref(),
        }
    }

    /// The same task, added by this part of a request.
    pub fn comes_by(mut self, part: Option<Token>) -> Self {
        match &mut self {
            Self::Upload(upload) => upload.token = part,
            Self::Download(download) => download.token = part,
        }
        self
    }

    /// Sends the file, whatever is at the service already.
    pub fn send_anyway(&mut self) {
        if let Self::Upload(upload) = self {
            upload.reuse = None;
        }
    }
}

/// Names one request to add transfers, whoever carries it out in the end. Made by whoever asks, at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(pub u64);

impl Token {
    /// One of the things that the request asks for.
    pub fn of_place(self, place: usize) -> Self {
        Self(self.0.wrapping_add(place as u64))
    }
}

/// Send one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadTask {
    /// The file, as it was named.
    pub path: PathBuf,
    /// Which file that was. An earlier Ferry did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// How to send it, if the user said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<UploadMethod>,
    /// The type of the content, if the user said so: for signatures that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Whether it goes to a signed URL of the user's own (kept in `resume/`).
    pub to_own_url: bool,
    /// The file as it was when its first byte was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceState>,
    /// What is at the service already and is to be reused, if the user said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Box<Reuse>>,
    /// The request that added it, so that the same request sent again adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Where the service was when the file was given to it: `https://host:port`. An earlier Ferry did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl UploadTask {
    /// Where the file really lies.
    pub fn place(&self) -> &Path {
        self.chosen.as_ref().and_then(|chosen| chosen.real.as_deref()).unwrap_or(&self.path)
    }
}

/// A file as it was when it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// Where it really lies, if its path leads there by a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<PathBuf>,
    /// Its disk, on Unix; 0 elsewhere.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// An asset that holds a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reuse {
    /// Its id.
    pub asset_id: String,
    /// The file as it was when the two were compared.
    pub source: SourceState,
}

/// What tells whether a source file is still the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceState {
    /// Size in bytes.
    pub size: u64,
    /// Last change, nanoseconds since 1970.
    pub modified: u64,
    /// Inode on Unix, 0 elsewhere.
    pub inode: u64,
}

/// Bring one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DownloadTask {
    /// Asset id, video number, server download id; for links and pages the URL without its query.
    pub what: String,
    /// Whether `what` is a URL whose whole text is in `resume/`.
    pub is_url: bool,
    /// Whether `what` is the whole URL all the same, as nothing in it had to be hidden and no headers go along. Then it can be
    /// fetched again when `resume/` has forgotten it, which it does when a transfer is canceled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_whole: bool,
    /// Target folder.
    pub folder: PathBuf,
    /// Name that the user wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Visual Search's `unique_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// Media downloader's quality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// Remove from the server afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_after: Option<bool>,
    /// Most connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u8>,
    /// What the user says the file's checksum is: it decides at the end, whatever the source offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Media downloader: the server's own id for this job, written down before anything is polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<String>,
    /// The request that added it, so that the same request sent again adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Where the service was when it was asked for: `https://host:port`. An earlier Ferry did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl DownloadTask {
    /// Whether `what` alone brings the file.
    pub fn is_known(&self) -> bool {
        !self.is_url || self.is_whole
    }

    /// The whole URL to fetch, `kept` being what `resume/` has of it.
    pub fn url(&self, kept: Option<String>) -> Option<String> {
        kept.or_else(|| self.is_whole.then(|| self.what.clone()))
    }
}

/// How far a download is, as far as it is provable: written only after the data was synced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// Final name that the part file is reserved for.
    pub name: String,
    /// Of which version the bytes are, and all that was promised of it: it decides at the end, over cuts and kills.
    #[serde(default)]
    pub identity: Identity,
    /// What an earlier Ferry kept in its place.
    #[serde(default, skip_serializing)]
    pub validator: Option<Validator>,
    /// Size of the whole file, if known.
    pub total: Option<u64>,
    /// What is on disk, in order, not overlapping.
    pub pieces: Vec<Piece>,
    /// Whether the answer that brought the last byte could still have turned out to be longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_unseen: bool,
    /// The whole file is proven and about to get its final name: after a kill it may have it already.
    #[serde(default)]
    pub proven_whole: Option<ProvenWhole>,
    /// The part file itself: another one under its name is none of Ferry's. An earlier Ferry noted nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileId>,
    /// Where the drive with the part file is mounted, unless it is the system's own: without it nothing is to be looked
    /// for, or begun, in the empty folder that it leaves behind.
    #[serde(default)]
    pub drive: Option<PathBuf>,
    /// The folder and the name that the part file had, while it is on its way to where the task says.
    #[serde(default)]
    pub moved_from: Option<(PathBuf, String)>,
}

/// What was proven about a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvenWhole {
    /// The final name that it gets: the reserved one, or the next if somebody else took that meanwhile.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its CRC32C.
    pub crc32c: u32,
    /// By what it was proven.
    pub verified: Verified,
    /// The checksum that proved it, as text.
    pub checksum: Option<String>,
}

impl Journal {
    /// Reads a stored journal. One that contradicts itself or names a file elsewhere proves nothing: `None`.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().and_then(Self::checked)
    }

    /// The same for one that was read with something else: in today's form, if it is sound.
    pub fn checked(mut self) -> Option<Self> {
        if let Some(validator) = self.validator.take() {
            self.identity = Identity::of_validator(Some(validator), self.total);
        }
        self.identity.size = self.total;
        self.is_sound().then_some(self)
    }

    fn is_sound(&self) -> bool {
        let in_order = self.pieces.iter().all(|piece| piece.start < piece.end)
            && self.pieces.windows(2).all(|two| two[0].end <= two[1].start);
        let end = self.pieces.last().map_or(0, |piece| piece.end);
        in_order
            && self.total.is_none_or(|total| end <= total)
            && is_one_component(&self.name)
            && self.proven_whole.as_ref().is_none_or(|whole| is_one_component(&whole.name))
            && self.moved_from.as_ref().is_none_or(|(_, name)| is_one_component(name))
    }

    /// Bytes that are provably on disk.
    pub fn proven(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }
}

/// Whether a name stays in the folder that it is joined to.
fn is_one_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// A stretch of the file that lies synced on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
    /// CRC32C of these bytes: a part file that was touched is found out.
    pub crc32c: u32,
}

impl Piece {
    /// Where it lies.
    pub fn extent(&self) -> Extent {
        Extent { start: self.start, end: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_contradicts_itself_proves_nothing() {
        let journal = |name: &str, total: &str, pieces: &[(u64, u64)]| {
            let pieces: Vec<String> = pieces
                .iter()
                .map(|(start, end)| format!(r#"{{"start":{start},"end":{end},"crc32c":0}}"#))
                .collect();
            format!(r#"{{"name":"{name}","validator":null,"total":{total},"pieces":[{}]}}"#, pieces.join(","))
        };
        let good = journal("a.mp4", "30", &[(0, 10), (10, 20), (25, 30)]);
        assert_eq!(Journal::read(&good).map(|journal| journal.proven()), Some(25));
        assert!(Journal::read(&journal("a.mp4", "null", &[])).is_some());
        let max = u64::MAX;
        for bad in [
            journal("a.mp4", "null", &[(10, 0)]),
            journal("a.mp4", "null", &[(5, 5)]),
            journal("a.mp4", "null", &[(0, max), (0, max)]),
            journal("a.mp4", "null", &[(10, 20), (0, 10)]),
            journal("a.mp4", "null", &[(0, 10), (9, 20)]),
            journal("a.mp4", "29", &[(0, 30)]),
            journal("", "null", &[]),
            journal("..", "null", &[]),
            journal("../a", "null", &[]),
            journal("a\\\\b", "null", &[]),
            journal("a\\u0000b", "null", &[]),
        ] {
            assert_eq!(Journal::read(&bad), None, "{bad}");
        }
        let elsewhere = r#"{"name":"../../a","size":1,"crc32c":0,"verified":"length","checksum":null}"#;
        let whole = good.replace("\"total\"", &format!("\"proven_whole\":{elsewhere},\"total\""));
        assert!(Journal::read(&whole).is_none());
        assert!(Journal::read(&whole.replace("../../a", "a (1).mp4")).is_some());
    }

    #[test]
    fn a_journal_of_an_earlier_ferry_still_proves_what_it_did() {
        let text = |validator: &str| {
            format!(
                r#"{{"name":"a.mp4","validator":{validator},"total":30,"pieces":[{{"start":0,"end":10,"crc32c":7}}],
                "proven_whole":null,"drive":null,"moved_from":null}}"#
            )
        };
        for (old, validator) in [
            (r#"{"etag":"\"v1\""}"#, Some(Validator::Etag("\"v1\"".into()))),
            (r#"{"last_modified":"yesterday"}"#, Some(Validator::LastModified("yesterday".into()))),
            ("null", None),
        ] {
            let journal = Journal::read(&text(old)).unwrap();
            assert_eq!(journal.identity.validator(), validator);
            assert_eq!((journal.identity.size, journal.proven()), (Some(30), 10));
            let kept = serde_json::to_string(&journal).unwrap();
            assert_eq!(Journal::read(&kept), Some(journal), "and is written in today's form");
        }
    }
}
