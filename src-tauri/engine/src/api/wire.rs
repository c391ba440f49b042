//! What goes over the socket: JSON-RPC 2.0, one object a line, each of a bounded length.
//!
//! The first line is the client's `hello`: which protocols it speaks, who it is, what its run wants. Both then speak the
//! older of their newest protocols. The answers come in any order, each with its request's id; what changes meanwhile comes
//! as notifications without one.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::error::{Cause, Error, Result};
use crate::secrets::keys_from_environment;
use crate::service::ServiceId;
use crate::services::OutsideAddresses;
use crate::terms::Pace;
use crate::words::Words;

/// The newest protocol that this program speaks. It grows when a message changes its meaning; a new one alone needs none.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol that this program speaks.
pub(super) const OLDEST: u32 = 1;

/// The longest line that a client may send, in bytes: larger requests are split.
pub(super) const LONGEST_REQUEST: usize = 1 << 20;
/// The longest line that a holder sends, in bytes.
pub(super) const LONGEST_ANSWER: usize = 1 << 29;
/// A holder that says nothing for this long does not answer; a client that takes nothing for this long is dropped.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What holds a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HolderKind {
    /// `ferry-desktop`. It takes the folder over from the others, and gives it to nobody.
    Window,
    /// `ferry serve`.
    Serve,
    /// Any other `ferry`, for as long as its own work takes.
    Terminal,
}

impl fmt::Display for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "the window",
            Self::Serve => "`ferry serve`",
            Self::Terminal => "a `ferry` in a terminal",
        })
    }
}

/// A secret on its way from one of the user's processes to another. Printed as `•••`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireSecret(pub String);

impl fmt::Debug for WireSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// The first words of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The newest protocol that it speaks.
    pub protocol: u32,
    /// The oldest one.
    pub oldest: u32,
    /// Its version, for people.
    pub program: String,
    /// What it would be as a holder.
    pub kind: HolderKind,
    /// Its process.
    pub pid: u32,
    /// What it wants for the transfers that it lets go on.
    #[serde(default)]
    pub pace: Pace,
    /// What its variables say of the services.
    #[serde(default)]
    pub outside: Outside,
    /// What only the owner of the data folder can have read there, where the system does not tell who is at the other end.
    #[serde(default)]
    pub word: Option<WireSecret>,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The protocol that both speak from here on.
    pub protocol: u32,
    /// The holder's version, for people.
    pub program: String,
    /// What it is.
    pub kind: HolderKind,
    /// Its process.
    pub pid: u32,
}

/// Base URLs and keys by service id, as the variables of one process have them. Kept in memory only, for what that process
/// lets go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outside {
    pub addresses: HashMap<ServiceId, String>,
    pub keys: HashMap<ServiceId, WireSecret>,
}

impl Outside {
    /// What the variables of this process say.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an address that cannot be a base URL.
    pub fn from_environment() -> Result<Self> {
        let addresses = OutsideAddresses::from_environment(HashMap::new())?.into_all();
        let keys =
            keys_from_environment().map(|(service, key)| (service, WireSecret(key.expose().to_owned())));
        Ok(Self { addresses, keys: keys.collect() })
    }
}

/// A line from a client.
#[derive(Debug, Deserialize)]
pub(super) struct Asked<'a> {
    pub id: u64,
    pub method: String,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
}

/// A line from the holder: an answer (with an id) or a notification (with a method).
#[derive(Debug, Deserialize)]
pub(super) struct Told<'a> {
    pub id: Option<u64>,
    pub method: Option<String>,
    #[serde(borrow)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    pub error: Option<RpcError>,
}

/// JSON-RPC's error object; `data` is the whole of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RpcError {
    pub code: i32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<WireError>,
}

/// The line is no JSON-RPC.
pub(super) const PARSE_ERROR: i32 = -32700;
/// There is no such method, or not in this protocol.
pub(super) const NO_SUCH_METHOD: i32 = -32601;
/// Its parameters are others.
pub(super) const INVALID_PARAMS: i32 = -32602;
/// The holder lets go; the next one is to be asked.
pub(super) const GONE: i32 = -32001;
/// No more connections are served.
pub(super) const FULL: i32 = -32002;
/// The client speaks no protocol that is new enough; `message` is the holder's version.
pub(super) const CLIENT_TOO_OLD: i32 = -32003;
/// The client speaks no protocol that is old enough; `message` is the holder's version.
pub(super) const CLIENT_TOO_NEW: i32 = -32004;
/// An error of the engine's, in `data`.
pub(super) const FAILED: i32 = -32000;

impl RpcError {
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        Self { code: FAILED, message: error.to_string(), data: Some(error.into()) }
    }
}

/// An [`Error`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireError {
    cause: Cause,
    what: Words,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Words>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advice: Option<Words>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        let Error { cause, what, why, advice, retry_after, http_status } = error;
        Self { cause, what, why, advice, retry_after, http_status }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let WireError { cause, what, why, advice, retry_after, http_status } = error;
        Self { cause, what, why, advice, retry_after, http_status }
    }
}

/// Lines of a bounded length.
pub(super) struct Lines<R> {
    reader: R,
    most: usize,
    line: Vec<u8>,
    /// What is in `line` was handed out.
    is_old: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(reader: R, most: usize) -> Self {
        Self { reader, most, line: Vec::new(), is_old: false }
    }

    /// The next line without its end; nothing at the end of the stream. Can be dropped and called again.
    ///
    /// # Errors
    ///
    /// Those of the stream, and `InvalidData` for a line that is too long: there is no going on after it.
    pub async fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        if std::mem::take(&mut self.is_old) {
            self.line.clear();
            // One long line must not keep its room for good.
            self.line.shrink_to(LONGEST_REQUEST.min(64 << 10));
        }
        loop {
            let there = self.reader.fill_buf().await?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = end.unwrap_or(there.len());
            if self.line.len() + part > self.most {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a line is too long"));
            }
            self.line.extend_from_slice(&there[..part]);
            self.reader.consume(part + usize::from(end.is_some()));
            if end.is_some() {
                self.is_old = true;
                return Ok(Some(&self.line));
            }
        }
    }
}

/// Writes a line, unless nobody takes it for too long.
pub(super) async fn write_line(to: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> std::io::Result<()> {
    for part in line.chunks(64 << 10).chain([&b"\n"[..]]) {
        tokio::time::timeout(PATIENCE, to.write_all(part)).await??;
    }
    to.flush().await
}

pub(super) fn request(id: u64, method: &str, params: &impl Serialize) -> Result<String> {
    json(&serde_json::json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

pub(super) fn notification(method: &str, params: &impl Serialize) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        jsonrpc: &'a str,
        method: &'a str,
        params: &'a T,
    }
    json(&Line { jsonrpc: "2.0", method, params })
}

pub(super) fn answer(
    id: Option<u64>,
    answer: &std::result::Result<Box<RawValue>, RpcError>,
) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        jsonrpc: &'a str,
        id: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a RpcError>,
    }
    json(&Line { jsonrpc: "2.0", id, result: answer.as_deref().ok(), error: answer.as_ref().err() })
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_ends_it_and_takes_no_room() {
        let text = [b"one\n\ntwo\n".to_vec(), vec![b'x'; 100]].concat();
        let mut lines = Lines::new(&text[..], 10);
        for expected in ["one", "", "two"] {
            assert_eq!(lines.next().await.unwrap(), Some(expected.as_bytes()));
        }
        assert_eq!(lines.next().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        assert!(lines.line.capacity() < 1024);
    }

    #[test]
    fn an_error_arrives_as_it_was_sent() {
        let error = Error::invalid("no").because("so").advise("do");
        let sent = serde_json::to_string(&RpcError::from(error.clone())).unwrap();
        let came: RpcError = serde_json::from_str(&sent).unwrap();
        assert_eq!(Error::from(came.data.unwrap()).to_string(), error.to_string());
    }
}
