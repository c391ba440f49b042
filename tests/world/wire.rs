//! HTTP/1.1 as bytes: heads are read, answers are written exactly as a plan wants them, however wrong.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::plan::{Meddle, Meddling};

/// How long a silent server keeps a connection open: longer than Ferry listens.
const SILENCE: Duration = Duration::from_secs(4);
/// How long a server holds its breath for what happens to Ferry at a byte: shorter than Ferry listens.
const BREATH: Duration = Duration::from_millis(300);
/// Bytes that are written or read at once.
pub const STEP: usize = 32 * 1024;

/// Something that happens to Ferry, at a byte of a case.
pub struct Event {
    pub case: usize,
    pub what: Meddling,
    /// Told when it has happened.
    pub done: oneshot::Sender<()>,
}

/// The method of a question that is no part of any case: whether everybody who came before it was let in.
const CALL: &str = "CALL";

/// Ferry's lives in a batch, counted from 0.
#[derive(Default)]
pub struct Lives {
    number: AtomicUsize,
    /// Ferry is neither about to end nor gone.
    is_on: AtomicBool,
}

impl Lives {
    /// The one that is, or was last.
    pub fn number(&self) -> usize {
        self.number.load(Ordering::SeqCst)
    }

    pub fn begin(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    /// Before it ends: what happens to its connections from here on is no sign of anything.
    pub fn end(&self) {
        self.is_on.store(false, Ordering::SeqCst);
    }

    /// Once all that it had begun is known to be its own.
    pub fn next(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until each of these servers has let in everybody who came before.
pub async fn settle(places: &[String]) {
    for place in places {
        let address = place.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("a server of this test");
        stream.write_all(format!("{CALL} / HTTP/1.1\r\n\r\n").as_bytes()).await.expect("it listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
    }
}

/// Who was told something, and whether they can have heard it.
#[derive(Debug)]
pub struct Ear {
    /// Which of Ferry's lives asked.
    life: usize,
    /// The connection was closed by Ferry, in the midst of that life, before anything else was asked through it: that is
    /// how a question is given up.
    hung_up: AtomicBool,
}

impl Ear {
    /// Whether this life of Ferry's heard what was said.
    pub fn heard_in(&self, life: usize) -> bool {
        self.life == life && !self.hung_up.load(Ordering::SeqCst)
    }
}

/// What passes between Ferry and the server of one case.
pub struct Passage {
    case: usize,
    passed: AtomicU64,
    meddling: Mutex<VecDeque<Meddle>>,
    events: mpsc::UnboundedSender<Event>,
    lives: Arc<Lives>,
    /// Requests so far, of every kind.
    pub requests: AtomicUsize,
    trace: Mutex<Vec<String>>,
}

impl Passage {
    pub fn new(
        case: usize,
        meddling: &[Meddle],
        events: mpsc::UnboundedSender<Event>,
        lives: Arc<Lives>,
    ) -> Self {
        let mut meddling = meddling.to_vec();
        meddling.sort_by_key(|meddle| meddle.after);
        Self {
            case,
            passed: AtomicU64::new(0),
            meddling: Mutex::new(meddling.into()),
            events,
            lives,
            requests: AtomicUsize::new(0),
            trace: Mutex::default(),
        }
    }

    /// Which of Ferry's lives this is, counted from 0.
    pub fn life(&self) -> usize {
        self.lives.number()
    }

    /// A line of what was seen on the wire.
    pub fn note(&self, line: String) {
        /// More than a person reads.
        const MOST: usize = 60;
        let mut trace = self.trace.lock().expect("no panic while held");
        if trace.len() < MOST {
            trace.push(line);
        }
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.lock().expect("no panic while held").clone()
    }

    /// How many bytes may pass until something is to happen, at most a step.
    fn until_next(&self) -> usize {
        let next =
            self.meddling.lock().expect("no panic while held").front().map(|meddle| u64::from(meddle.after));
        let passed = self.passed.load(Ordering::Relaxed);
        let room = next.map_or(u64::MAX, |next| next.saturating_sub(passed).max(1));
        room.min(STEP as u64) as usize
    }

    /// So many bytes have passed.
    async fn pass(&self, bytes: usize) {
        let passed = self.passed.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        loop {
            let due = {
                let mut meddling = self.meddling.lock().expect("no panic while held");
                let is_due = meddling.front().is_some_and(|meddle| u64::from(meddle.after) <= passed);
                if is_due { meddling.pop_front() } else { None }
            };
            let Some(meddle) = due else { return };
            let (done, heard) = oneshot::channel();
            self.note(format!("    {:?} after {passed} bytes in all", meddle.what));
            if self.events.send(Event { case: self.case, what: meddle.what, done }).is_ok() {
                // When nobody listens any more, nothing is waited for.
                let _ = tokio::time::timeout(BREATH, heard).await;
            }
        }
    }
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name (in lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path, without a query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Bytes of the body, as told.
    pub fn length(&self) -> usize {
        self.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The bytes that `Range: bytes=…` asks for of a file of this size: the first and the one after the last; `Err` when
    /// there are none.
    pub fn range(&self, size: u64) -> Option<Result<(u64, u64), ()>> {
        let text = self.get("range")?.strip_prefix("bytes=")?;
        let (first, last) = text.split_once('-')?;
        let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(size)),
            (Ok(first), Err(_)) => (first, size),
            (Err(_), Ok(suffix)) => (size.saturating_sub(suffix), size),
            (Err(_), Err(_)) => return None,
        };
        Some(if start < end { Ok((start, end)) } else { Err(()) })
    }
}

/// One connection that a server has taken.
pub struct Line<'a> {
    stream: TcpStream,
    /// What was read and belongs to what follows.
    ahead: Vec<u8>,
    passage: &'a Passage,
    /// Which of Ferry's lives has opened it.
    pub life: usize,
    /// Who was told the last answer.
    ear: Option<Arc<Ear>>,
    /// Content bytes a second; absent = as fast as they go.
    pub pace: Option<u32>,
}

impl<'a> Line<'a> {
    /// `life`: which of Ferry's lives it was when the connection was taken.
    pub fn new(stream: TcpStream, passage: &'a Passage, life: usize) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, ahead: Vec::new(), passage, life, ear: None, pace: None }
    }

    /// Whoever is about to be told the answer to what was asked last.
    pub fn ear(&mut self) -> Arc<Ear> {
        // The system is asked: a busy runtime hears of an end later than it comes.
        let ahead = socket2::SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        let is_there = ahead.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |bytes| bytes > 0);
        let ear = Arc::new(Ear { life: self.life, hung_up: AtomicBool::new(!is_there) });
        self.ear = Some(Arc::clone(&ear));
        ear
    }

    /// The next request's head; `None` when there is none any more.
    pub async fn head(&mut self) -> Option<Head> {
        let head = self.next_head().await;
        let ear = self.ear.take();
        let lives = &self.passage.lives;
        if let Some(ear) = ear.filter(|_| head.is_none() && lives.is_on.load(Ordering::SeqCst)) {
            ear.hung_up.store(true, Ordering::SeqCst);
        }
        if head.as_ref().is_some_and(|head| head.method == CALL) {
            self.send(b"HTTP/1.1 204 Here\r\n\r\n").await;
            return None;
        }
        self.passage.requests.fetch_add(usize::from(head.is_some()), Ordering::Relaxed);
        head
    }

    async fn next_head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.ahead.extend_from_slice(&bytes[..read]),
            }
        };
        let text = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
        self.ahead.drain(..end);
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Head { method, target, headers })
    }

    /// Reads so many bytes of a body, or fewer when the other side ends before.
    pub async fn read(&mut self, wanted: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < wanted {
            let most = (wanted - body.len()).min(self.passage.until_next());
            if self.ahead.is_empty() {
                let mut bytes = vec![0; STEP];
                match self.stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => self.ahead.extend_from_slice(&bytes[..read]),
                }
            }
            let taken = most.min(self.ahead.len());
            body.extend(self.ahead.drain(..taken));
            self.passage.pass(taken).await;
        }
        body
    }

    /// Sends what is no content.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).await.is_ok();
        if let Some(ear) = self.ear.take_if(|_| !sent) {
            ear.hung_up.store(true, Ordering::SeqCst);
        }
        sent
    }

    /// Sends content; gives how many bytes went out.
    pub async fn send_content(&mut self, mut bytes: &[u8]) -> usize {
        let mut sent = 0;
        while !bytes.is_empty() {
            let step = bytes.len().min(self.passage.until_next());
            if self.stream.write_all(&bytes[..step]).await.is_err() {
                break;
            }
            sent += step;
            bytes = &bytes[step..];
            self.passage.pass(step).await;
            if let Some(pace) = self.pace {
                tokio::time::sleep(Duration::from_secs_f64(step as f64 / f64::from(pace))).await;
            }
        }
        sent
    }

    /// Says nothing until the other side gives up.
    pub async fn be_silent(&mut self) {
        let mut byte = [0; 1024];
        let gone = async { while matches!(self.stream.read(&mut byte).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(SILENCE, gone).await;
    }

    /// Ends in order.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Breaks off: a zero linger makes the system send RST.
    pub fn reset(self) {
        if let Ok(stream) = self.stream.into_std() {
            let _ = socket2::Socket::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A status line and headers.
pub fn head(status: u16, headers: &[(&str, String)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200..300 => "Fine",
        300..400 => "Elsewhere",
        400..500 => "Refused",
        _ => "Trouble",
    }
}
