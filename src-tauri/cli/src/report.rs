//! What Ferry says: results on stdout, progress and failures on stderr, or one JSON object a line on stdout.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use ferry_engine::{
    Error, Failure, Kind, Phrase, Size, State, Transfer, TransferId, Verified, as_field, as_plain_json,
    redact, without_controls,
};
use serde::Serialize;

use crate::arguments::Everywhere;
use crate::bars::Bars;
use crate::standing::standing;

/// Plain progress lines are at least this far apart.
const BETWEEN_LINES: Duration = Duration::from_secs(1);
/// `progress` events of one transfer are at least this far apart.
const BETWEEN_EVENTS: Duration = Duration::from_millis(200);

/// What a JSON line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Written down in the queue.
    Added,
    /// Holds a slot and moves.
    Started,
    /// More bytes are there.
    Progress,
    /// Proven.
    Completed,
    /// Ended in an error.
    Failed,
    /// Stands still until the user says otherwise.
    Paused,
    /// Given up by the user.
    Canceled,
}

/// One JSON line about a transfer. Fields that do not apply are left out; an unknown total is `null`.
#[derive(Debug, Serialize)]
struct TransferLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    id: TransferId,
    kind: Kind,
    service: &'a str,
    name: &'a str,
    bytes: u64,
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl<'a> TransferLine<'a> {
    fn new(transfer: &'a Transfer, path: Option<&'a str>) -> Self {
        let failure = match &transfer.state {
            State::Failed(failure) => Some(&**failure),
            _ => None,
        };
        Self {
            event: None,
            state: None,
            id: transfer.id,
            kind: transfer.kind,
            service: &transfer.service,
            name: &transfer.name,
            bytes: transfer.bytes,
            total: transfer.total,
            path: path.or(transfer.path.as_deref()),
            asset_id: transfer.asset_id.as_deref(),
            verified: transfer.verified.map(ferry_engine::Verified::as_str),
            code: failure.map(|failure| failure.code.as_str()),
            message: failure.map(failure_text),
            note: transfer.note.as_ref().map(ToString::to_string),
        }
    }
}

/// `what happened; why; what to do`
fn failure_text(failure: &Failure) -> String {
    redact(&format!("{}; {}", failure.message(), failure.advice)).into_owned()
}

/// Where a command says what it has to say.
#[derive(Debug)]
pub struct Report {
    json: bool,
    quiet: bool,
    bars: Option<Bars>,
    to_terminal: bool,
    /// Why nothing more can be written there.
    stdout_gone: Option<io::ErrorKind>,
    last_line: Option<Instant>,
    last_events: HashMap<TransferId, (Instant, u64)>,
}

impl Report {
    /// Looks at the options and at what stdout and stderr are.
    pub fn new(everywhere: &Everywhere) -> Self {
        let fancy = !everywhere.json
            && !everywhere.quiet
            && io::stdout().is_terminal()
            && io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Self {
            json: everywhere.json,
            quiet: everywhere.quiet,
            bars: fancy.then(Bars::new),
            to_terminal: io::stdout().is_terminal(),
            stdout_gone: None,
            last_line: None,
            last_events: HashMap::new(),
        }
    }

    /// Writes one line to stdout at once: whoever reads a pipe wants it early. A reader that has gone is no error;
    /// the transfers go on.
    fn stdout(&mut self, line: &str) {
        if self.stdout_gone.is_some() {
            return;
        }
        let write = || {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        };
        let written = match &self.bars {
            Some(bars) => bars.beside(write),
            None => write(),
        };
        self.stdout_gone = written.err().map(|error| error.kind());
    }

    fn stderr(&self, line: &str) {
        let write = || {
            // Nobody is left to be told that stderr is gone.
            let _ = writeln!(io::stderr().lock(), "{}", without_controls(&redact(line)));
        };
        match &self.bars {
            Some(bars) => bars.beside(write),
            None => write(),
        }
    }

    /// A path as one field of a line: a program that reads it gets it as it is unless a field or a line would end within it.
    pub fn field<'a>(&self, path: &'a str) -> Cow<'a, str> {
        as_field(path, !self.to_terminal)
    }

    /// A line for people on stdout; nothing with `--json`. A path in it is a [`Report::field`].
    pub fn line(&mut self, line: &str) {
        if !self.json && self.to_terminal {
            self.stdout(&without_controls(line));
        } else if !self.json {
            self.stdout(line);
        }
    }

    /// A JSON line on stdout; nothing without `--json`.
    pub fn object(&mut self, object: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(object)
        {
            self.stdout(&as_plain_json(&line));
        }
    }

    /// Whether all that was to stand on stdout does. A reader that closed the pipe had what it wanted.
    ///
    /// # Errors
    ///
    /// With what the system said, for output that is the whole of a command: half of it must not look like all.
    pub fn wrote_all(&self) -> Result<(), Error> {
        match self.stdout_gone {
            None | Some(io::ErrorKind::BrokenPipe) => Ok(()),
            Some(kind) => Err(Error::target_io("Writing to", Path::new("stdout"), &kind.into())),
        }
    }

    /// Something worth knowing on stderr; nothing with `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// A failure that belongs to no transfer.
    pub fn error(&mut self, error: &Error) {
        self.stderr(&format!("error[{}]: {error}", error.code()));
        let message = redact(&error.to_string()).into_owned();
        self.object(&serde_json::json!({"event": Event::Failed, "code": error.code(), "message": message}));
    }

    /// A failure that belongs to no transfer and is told on stderr only.
    pub fn complaint(&self, failure: &Failure) {
        self.stderr(&format!("error[{}]: {}", failure.code, failure_text(failure)));
    }

    /// A failure of a transfer.
    pub fn failure(&mut self, transfer: &Transfer, failure: &Failure, path: Option<&str>) {
        let text = failure_text(failure);
        // With several transfers, a reader must see which one it was.
        let subject =
            if text.contains(&*transfer.name) { String::new() } else { format!("{}: ", transfer.name) };
        self.stderr(&format!("error[{}]: {subject}{text}", failure.code));
        let line = TransferLine {
            event: Some(Event::Failed),
            code: Some(failure.code.as_str()),
            message: Some(text),
            ..TransferLine::new(transfer, path)
        };
        self.object(&line);
    }

    /// Something happened to a transfer.
    pub fn event(&mut self, event: Event, transfer: &Transfer, path: Option<&str>) {
        if matches!(event, Event::Completed) && transfer.verified == Some(Verified::None) {
            self.note(&unconfirmed(transfer));
        }
        self.object(&TransferLine { event: Some(event), ..TransferLine::new(transfer, path) });
    }

    /// A transfer will not be heard of again.
    pub fn ended(&mut self, id: TransferId) {
        self.last_events.remove(&id);
        if let Some(bars) = &mut self.bars {
            bars.end(id);
        }
    }

    /// A row of the queue as a JSON line.
    pub fn row(&mut self, transfer: &Transfer) {
        self.object(&TransferLine {
            state: Some(transfer.state.word()),
            ..TransferLine::new(transfer, None)
        });
    }

    /// A transfer that moves: its bar or its event, not too often.
    pub fn moving(&mut self, transfer: &Transfer, path: Option<&str>) {
        if let Some(bars) = &mut self.bars {
            bars.show(transfer);
        }
        if self.json {
            let now = Instant::now();
            let due = self.last_events.get(&transfer.id).is_none_or(|(at, bytes)| {
                now.duration_since(*at) >= BETWEEN_EVENTS && *bytes != transfer.bytes
            });
            if due && transfer.bytes > 0 {
                self.last_events.insert(transfer.id, (now, transfer.bytes));
                self.event(Event::Progress, transfer, path);
            }
        }
    }

    /// Says in one plain line how the whole run stands, if the last such line is long enough ago.
    pub fn summary<'a>(&mut self, done: usize, all: usize, moving: impl Iterator<Item = &'a Transfer>) {
        if let Some(bars) = &mut self.bars {
            bars.headline(done, all);
            return;
        }
        if self.json || self.quiet || self.last_line.is_some_and(|at| at.elapsed() < BETWEEN_LINES) {
            return;
        }
        let moving: Vec<&Transfer> = moving.collect();
        let Some(first) = moving.first() else { return };
        self.last_line = Some(Instant::now());
        let line = if all == 1 {
            format!("{}: {}", first.name, standing(first))
        } else {
            let speed: u64 = moving.iter().filter_map(|transfer| transfer.speed).sum();
            let speed = if speed > 0 { format!(", {}/s", Size(speed)) } else { String::new() };
            format!("{done} of {all} done{speed}; {}: {}", first.name, standing(first))
        };
        self.stderr(&line);
    }

    /// Takes the bars off the terminal.
    pub fn finish(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.clear();
        }
    }
}

/// What is to be known of a transfer that ended in order, and of which nothing proves that the content is right.
fn unconfirmed(transfer: &Transfer) -> String {
    let (done, why) = match transfer.kind {
        Kind::Upload => ("sent", "the service named neither checksum nor length of what it holds"),
        Kind::Download if transfer.note == Some(Phrase::OnlyShortText.into()) => {
            ("saved", "a short text is no film, picture or archive")
        }
        Kind::Download => ("saved", "the server named neither checksum nor length of the file"),
    };
    format!("{}: {done}, not confirmed: nothing proves the content, as {why}", transfer.name)
}
