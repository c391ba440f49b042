//! A server that gives one file as its plan wants it, and writes down what it really gave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::digests::{digest, gzip, noise, zlib};
use super::plan::{
    Body, Change, Coding, Cut, Dated, DigestHeader, Fault, FileKind, Framing, Honour, Hops, Instead,
    PartFault, Pause, ServerPlan, Tag, Truth, Unasked, Unsatisfied, When,
};
use super::wire::{Head, Line, Passage, head};

/// Content in one chunk of a chunked body.
const CHUNK: usize = 5_000;
/// The time that every answer tells: 28 November 2026, noon.
const NOW: Duration = Duration::from_secs(1_795_867_200);
/// More versions than any server comes to; those of a mirror that differs are counted from here on.
const APART: usize = 4_000;
const HALF_A_MINUTE: Duration = Duration::from_secs(30);
/// What a network shows to those who have not signed in.
pub const PAGE: &str = "<!doctype html><html><title>Sign in</title><p>Welcome to the hotel.</html>";
/// So much of a body without an end is sent; whoever takes more than a little of it has taken too much.
const ENDLESS: usize = 96 << 20;
/// What it consists of.
const AGAIN_AND_AGAIN: &[u8] = &[b'!'; 64 << 10];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What an answer really was.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    pub status: u16,
    /// Which version its bytes are of; `None`: of none.
    pub version: Option<usize>,
    /// Where in the representation they begin.
    pub start: u64,
    /// How many went out.
    pub sent: u64,
    /// Size of the whole, as told.
    pub told: Option<u64>,
    /// It is whole by the protocol's own mark, from the first byte to the last.
    pub ended: bool,
    /// Digests of the whole that it named.
    pub claims: Vec<(&'static str, Vec<u8>)>,
    /// The same, behind its last byte.
    pub trailing: Vec<(&'static str, Vec<u8>)>,
}

/// Names and values of a head, or of what comes behind a body.
type Lines = Vec<(&'static str, String)>;

/// A running server.
pub struct Server {
    pub plan: ServerPlan,
    pub passage: Passage,
    /// Makes this case's bytes its own.
    seed: u64,
    /// The name that the file has in the link.
    name: String,
    versions: Mutex<HashMap<usize, Version>>,
    given: Mutex<Vec<Given>>,
    /// Requests for the file, at whatever mirror.
    fetches: AtomicUsize,
    redirects: AtomicUsize,
    open: AtomicUsize,
    /// Where the server and its mirrors are.
    pub places: Vec<String>,
}

/// One version of the file: as it is, and as it goes over the line.
#[derive(Clone)]
pub struct Version {
    pub plain: Arc<Vec<u8>>,
    pub coded: Arc<Vec<u8>>,
}

impl Server {
    /// Listens, until the tasks are dropped.
    pub async fn start(plan: ServerPlan, name: &str, passage: Passage, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let mirrors = match plan.hops {
            Hops::Mirrors { count, .. } => usize::from(count),
            _ => 0,
        };
        let mut listeners = Vec::new();
        for _ in 0..=mirrors {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback"));
        }
        let place = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let server = Arc::new(Self {
            passage,
            seed,
            name: name.to_owned(),
            versions: Mutex::default(),
            given: Mutex::default(),
            fetches: AtomicUsize::new(0),
            redirects: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            places: listeners.iter().map(place).collect(),
            plan,
        });
        for (mirror, listener) in listeners.into_iter().enumerate() {
            let server = Arc::clone(&server);
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let (server, life) = (Arc::clone(&server), server.passage.life());
                    connections.spawn(async move { server.serve(stream, mirror, life).await });
                    while connections.try_join_next().is_some() {}
                }
            });
        }
        server
    }

    /// The link to the file.
    pub fn link(&self) -> String {
        let door = if self.plan.hops == Hops::None { "file" } else { "door" };
        format!("{}/{door}/{}", self.places[0], self.name)
    }

    pub fn given(&self) -> Vec<Given> {
        self.given.lock().expect("no panic while held").clone()
    }

    /// Before it is sent: Ferry may be done with it before this server hears of that.
    fn note_given(&self, given: Given) {
        self.given.lock().expect("no panic while held").push(given);
    }

    /// The versions that a file is, whole.
    pub fn wholes(&self, found: &[u8]) -> Vec<usize> {
        let packed = self.plan.kind == FileKind::Packed;
        let compressed = self.compresses();
        let versions = self.versions();
        let whole = versions.iter().filter(|(_, version)| {
            // What is compressed on the way is not the file, unless the file is a compressed one.
            let as_it_came = *version.coded == found && (packed || !compressed);
            as_it_came || *version.plain == found && !(packed && compressed)
        });
        whole.map(|(number, _)| *number).collect()
    }

    /// Whether what goes over the line is not the file's bytes.
    pub fn compresses(&self) -> bool {
        matches!(self.plan.coding, Coding::Gzip | Coding::XGzip | Coding::Deflate)
    }

    /// Every version that there was.
    pub fn versions(&self) -> Vec<(usize, Version)> {
        let versions = self.versions.lock().expect("no panic while held");
        versions.iter().map(|(number, version)| (*number, version.clone())).collect()
    }

    /// A version of the file.
    pub fn version(&self, number: usize) -> Version {
        let mut versions = self.versions.lock().expect("no panic while held");
        let made = versions.entry(number).or_insert_with(|| {
            let size = self.plan.size as usize + self.plan.growth as usize * (number % APART);
            let plain = noise(self.seed.wrapping_add(number as u64 * 0x1_0000_0001), size);
            let coded = match self.plan.coding {
                Coding::Gzip | Coding::XGzip => gzip(&plain),
                Coding::Deflate => zlib(&plain),
                _ => plain.clone(),
            };
            Version { plain: Arc::new(plain), coded: Arc::new(coded) }
        });
        made.clone()
    }

    async fn serve(&self, stream: TcpStream, mirror: usize, life: usize) {
        let mut line = Line::new(stream, &self.passage, life);
        while let Some(asked) = line.head().await {
            let open = self.open.fetch_add(1, Ordering::Relaxed);
            let end = if self.plan.ceiling.is_some_and(|ceiling| open >= usize::from(ceiling)) {
                self.passage.note(format!("{} → 503: too many at a time", shown(&asked)));
                line.send(&head(503, &[("Content-Length", "0".into()), ("Connection", "close".into())]))
                    .await;
                End::Close
            } else {
                self.answer(&mut line, &asked, mirror).await
            };
            self.open.fetch_sub(1, Ordering::Relaxed);
            match end {
                End::Next => {}
                End::Close => return line.close().await,
                End::Reset => return line.reset(),
            }
        }
    }

    async fn answer(&self, line: &mut Line<'_>, asked: &Head, mirror: usize) -> End {
        if asked.path().starts_with("/door/") {
            let number = self.redirects.fetch_add(1, Ordering::Relaxed);
            let (status, to) = match self.plan.hops {
                Hops::Redirect(status) => (status, 0),
                Hops::Mirrors { count, .. } => (302, 1 + number % usize::from(count)),
                Hops::None | Hops::Numbered => (302, 0),
            };
            self.passage.note(format!("{} → {status} to place {to}", shown(asked)));
            let mirror = to;
            let mut to = format!("{}/file/{}", self.places[to], self.name);
            if self.plan.hops == Hops::Numbered {
                let newest = self.version_for(self.fetches.load(Ordering::Relaxed), mirror);
                to = format!("{to}?v={newest}");
            }
            let mut headers = vec![("Location", to), ("Content-Length", "0".into())];
            self.promise(&mut headers, status, mirror);
            let answer = head(status, &headers);
            return if line.send(&answer).await { End::Next } else { End::Close };
        }
        let number = self.fetches.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("visit={}", self.seed);
        if self.plan.wants_cookie && asked.get("cookie").is_none_or(|kept| !kept.contains(&cookie)) {
            self.passage.note(format!("{} → 302 to itself with a cookie", shown(asked)));
            let here = asked.target.clone();
            let set = format!("{cookie}; Path=/");
            let answer = [("Location", here), ("Set-Cookie", set), ("Content-Length", "0".into())];
            return if line.send(&head(302, &answer)).await { End::Next } else { End::Close };
        }
        let fault = self.plan.fault(number);
        if let Fault::Instead(instead) = fault {
            self.passage.note(format!("{} → {instead:?}", shown(asked)));
            return self.instead(line, asked, instead, mirror).await;
        }
        if fault == (Fault::Silence { after: None }) {
            self.passage.note(format!("{} → silence", shown(asked)));
            line.be_silent().await;
            return End::Reset;
        }
        let newest = self.version_for(number, mirror);
        if asked.target.split_once("?v=").is_some_and(|(_, version)| version != newest.to_string()) {
            self.passage.note(format!("{} → 410: there is a newer one", shown(asked)));
            let answer = head(410, &[("Content-Length", "0".into())]);
            return if line.send(&answer).await { End::Next } else { End::Close };
        }
        self.file(line, asked, number, mirror, fault).await
    }

    /// Which version is there for this request.
    fn version_for(&self, number: usize, mirror: usize) -> usize {
        let version = match self.plan.change {
            Change::Never => 0,
            Change::At(at) => usize::from(number >= usize::from(at)),
            Change::Always => number,
            Change::Turns => number % 2,
        };
        match self.plan.hops {
            Hops::Mirrors { differ: true, .. } if mirror == 2 => version + APART,
            _ => version,
        }
    }

    /// The file, or a part of it, with what goes wrong on the way.
    async fn file(
        &self,
        line: &mut Line<'_>,
        asked: &Head,
        number: usize,
        mirror: usize,
        fault: Fault,
    ) -> End {
        let plan = &self.plan;
        let at = self.version_for(number, mirror);
        let version = self.version(at);
        let (tag, dates) = self.validators(number, mirror, at);
        let body = &version.coded;
        let size = body.len() as u64;
        let mut headers: Vec<(&str, String)> = Vec::new();
        let mut given = Given {
            status: 200,
            version: Some(at),
            start: 0,
            sent: 0,
            told: None,
            ended: false,
            claims: Vec::new(),
            trailing: Vec::new(),
        };
        let wanted =
            asked.range(size).filter(|_| self.honours(asked, tag.as_deref(), dates.modified.as_deref()));
        let (mut start, mut end) = (0, size);
        let mut extra: Vec<u8> = Vec::new();
        let mut missing = 0;
        match wanted {
            None => {}
            Some(Err(())) => {
                headers.push(("Content-Range", format!("bytes */{size}")));
                headers.push(("Content-Length", "0".into()));
                self.validator_headers(&mut headers, tag, &dates, 416);
                self.passage.note(format!("{} → 416 */{size} (version {at})", shown(asked)));
                let told = Given { status: 416, told: Some(size), ..given };
                self.note_given(told);
                return if line.send(&head(416, &headers)).await { End::Next } else { End::Close };
            }
            Some(Ok((first, last))) => {
                given.status = 206;
                (start, end) = (first, last);
                if let Some(cap) = plan.ranges.cap {
                    end = end.min(start + u64::from(cap));
                }
                let mut total = Some(size);
                let part = match fault {
                    Fault::Part(part) => Some(part),
                    _ => None,
                };
                match part {
                    Some(PartFault::Later(by)) => start = (start + u64::from(by)).min(end - 1),
                    Some(PartFault::FromStart) => (start, end) = (0, size),
                    Some(PartFault::OtherTotal(by)) => total = Some(size + u64::from(by)),
                    Some(PartFault::UnknownTotal) => total = None,
                    Some(PartFault::Surplus(by)) => extra = vec![0xee; by as usize],
                    Some(PartFault::Missing(by)) => missing = u64::from(by).min(end - start),
                    _ => {}
                }
                let total_text = total.map_or("*".to_owned(), |total| total.to_string());
                let range = format!("{start}-{}/{total_text}", end - 1);
                match part {
                    Some(PartFault::NoContentRange) => {}
                    Some(PartFault::OtherUnit) => headers.push(("Content-Range", format!("items {range}"))),
                    Some(PartFault::Multipart) => {
                        return self.multipart(line, asked, &version, (start, end), given).await;
                    }
                    _ => {
                        headers.push(("Content-Range", format!("bytes {range}")));
                        given.told = total;
                    }
                }
            }
        }
        given.start = start;
        let content = [&body[start as usize..(end - missing) as usize], &extra[..]].concat();
        self.validator_headers(&mut headers, tag, &dates, given.status);
        self.describe(&mut headers);
        let mut trailers = Vec::new();
        self.digest_headers((&mut headers, &mut trailers), &mut given, number, at, &content);
        let (framing, length) = match (plan.framing, fault) {
            // What a part is said to be must not be hidden by another lie.
            (_, Fault::Part(_)) if given.status == 206 => (Framing::Length, content.len() as u64),
            (_, Fault::Less { by, .. }) if given.status == 200 && content.len() > by as usize => {
                (Framing::Length, content.len() as u64 - u64::from(by))
            }
            (Framing::Length, Fault::TooShort { missing }) => {
                (Framing::Length, content.len() as u64 + missing)
            }
            (framing, _) => (framing, content.len() as u64),
        };
        match framing {
            Framing::Length => headers.push(("Content-Length", length.to_string())),
            Framing::Chunked => headers.push(("Transfer-Encoding", "chunked".into())),
            Framing::Close => headers.push(("Connection", "close".into())),
            Framing::ChunkedAndLength(lie) => {
                headers.push(("Content-Length", lie.to_string()));
                headers.push(("Transfer-Encoding", "chunked".into()));
            }
            Framing::TwoLengths => {
                headers.push(("Content-Length", length.to_string()));
                headers.push(("Content-Length", (length + 7).to_string()));
            }
        }
        let chunked = matches!(framing, Framing::Chunked | Framing::ChunkedAndLength(_));
        if given.status == 200 && framing == Framing::Length && length == content.len() as u64 {
            given.told = Some(length);
        }
        let (stop, how) = match fault {
            Fault::Cut { after, how } if (after as usize) < content.len() => (Some(after as usize), how),
            Fault::Cut { how, .. } if chunked => (Some(content.len()), how),
            Fault::Less { after, .. } if length < content.len() as u64 => {
                (Some(u64::from(after).min(length - 1) as usize), Cut::Fin)
            }
            _ => (None, Cut::Fin),
        };
        // Without a length or a mark an orderly end is the end of the file.
        let how = if framing == Framing::Close { Cut::Reset } else { how };
        let hush = match fault {
            Fault::Silence { after: Some(after) } if (after as usize) < content.len() => Some(after as usize),
            _ => None,
        };
        let going = &content[..stop.or(hush).unwrap_or(content.len())];
        let told =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ");
        self.passage.note(format!(
            "{} → {} of version {at}, {start}+{} of {size}{} [{told}]",
            shown(asked),
            given.status,
            going.len(),
            match fault {
                Fault::None => String::new(),
                fault => format!(", {fault:?}"),
            },
        ));
        given.sent = going.len() as u64;
        given.ended = chunked && given.status == 200 && stop.is_none() && hush.is_none();
        if !given.ended {
            given.trailing.clear();
        }
        self.note_given(given.clone());
        line.pace = plan.throttled.then_some(if number == 0 { 1_000_000 } else { 6_000_000 });
        let is_short = matches!(fault, Fault::TooShort { .. }) && framing == Framing::Length;
        let mut intact = line.send(&head(given.status, &headers)).await;
        if intact && chunked {
            for chunk in going.chunks(CHUNK) {
                // The last one promises more than comes when the body is cut.
                let promised = if stop.is_some() || hush.is_some() { CHUNK } else { chunk.len() };
                if !line.send(format!("{promised:x}\r\n").as_bytes()).await {
                    intact = false;
                    break;
                }
                intact = line.send_content(chunk).await == chunk.len();
                if !intact || promised != chunk.len() || !line.send(b"\r\n").await {
                    break;
                }
            }
            if intact && stop.is_none() && hush.is_none() {
                let said: String =
                    trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                intact = line.send(format!("0\r\n{said}\r\n").as_bytes()).await;
            }
        } else if intact {
            intact = line.send_content(going).await == going.len();
        }
        if hush.is_some() {
            line.be_silent().await;
            return End::Reset;
        }
        match (intact, stop, how) {
            (true, Some(_), Cut::Reset) => End::Reset,
            (true, None, _) if !is_short && !matches!(framing, Framing::Close | Framing::TwoLengths) => {
                End::Next
            }
            _ => End::Close,
        }
    }

    /// Whether a range is given to this request.
    fn honours(&self, asked: &Head, tag: Option<&str>, modified: Option<&str>) -> bool {
        let condition = asked.get("if-range");
        let fits = condition.is_none_or(|condition| Some(condition) == tag || Some(condition) == modified);
        match self.plan.ranges.honour {
            Honour::Never => false,
            Honour::Blindly => true,
            Honour::IfRange => fits,
            Honour::OnlyDates => condition.is_none_or(|condition| Some(condition) == modified),
            Honour::OnlyPlain => condition.is_none(),
        }
    }

    fn validators(&self, number: usize, mirror: usize, version: usize) -> (Option<String>, Dates) {
        let tag = match self.plan.tag {
            Tag::None => None,
            Tag::Weak => Some("W/\"the-same\"".to_owned()),
            Tag::Unquoted => Some(format!("version-{version}")),
            Tag::Counter => Some("\"1\"".to_owned()),
            Tag::OfDate => Some(format!("\"{:x}-{:x}\"", NOW.as_secs(), self.version(version).coded.len())),
            Tag::Constant => Some("\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"".to_owned()),
            Tag::FirstOnly if number > 0 => None,
            Tag::Strong | Tag::FirstOnly | Tag::NotInParts => Some(match self.plan.hops {
                Hops::Mirrors { share_tags: false, .. } => format!("\"{mirror}-{version}\""),
                _ => format!("\"{version}\""),
            }),
        };
        let of_version = || {
            // Another day for each: an old date is as strong as a tag.
            let number = version % APART + if version >= APART { APART } else { 0 };
            let back = DAY * (1 + number as u32 % 9_000);
            httpdate::fmt_http_date(UNIX_EPOCH + NOW - back)
        };
        let now = httpdate::fmt_http_date(UNIX_EPOCH + NOW);
        let (modified, date) = match self.plan.date {
            Dated::None => (None, Some(now)),
            Dated::Fresh => (Some(now.clone()), Some(now)),
            Dated::Young => (Some(httpdate::fmt_http_date(UNIX_EPOCH + NOW - HALF_A_MINUTE)), Some(now)),
            Dated::Shared => (Some(httpdate::fmt_http_date(UNIX_EPOCH + NOW - DAY)), Some(now)),
            Dated::WithoutDate => (Some(of_version()), None),
            Dated::FirstOnly if number > 0 => (None, Some(now)),
            Dated::Old | Dated::FirstOnly | Dated::NotInParts => (Some(of_version()), Some(now)),
        };
        (tag, Dates { modified, date })
    }

    fn validator_headers(
        &self,
        headers: &mut Vec<(&str, String)>,
        tag: Option<String>,
        dates: &Dates,
        status: u16,
    ) {
        let in_part = status != 200;
        if let Some(tag) = tag.filter(|_| !(in_part && self.plan.tag == Tag::NotInParts)) {
            headers.push(("ETag", tag));
        }
        if let Some(modified) =
            dates.modified.clone().filter(|_| !(in_part && self.plan.date == Dated::NotInParts))
        {
            headers.push(("Last-Modified", modified));
        }
        if let Some(date) = dates.date.clone() {
            headers.push(("Date", date));
        }
        if self.plan.ranges.told {
            headers.push(("Accept-Ranges", "bytes".into()));
        }
    }

    /// What the body is.
    fn describe(&self, headers: &mut Vec<(&str, String)>) {
        let kind = match self.plan.kind {
            FileKind::Untyped => None,
            FileKind::Text => Some("text/plain"),
            FileKind::Packed => Some("application/x-tar"),
            FileKind::Plain | FileKind::Attachment => Some("application/octet-stream"),
        };
        if let Some(kind) = kind {
            headers.push(("Content-Type", kind.into()));
        }
        if self.plan.kind == FileKind::Attachment {
            headers.push(("Content-Disposition", format!("attachment; filename=\"{}\"", self.name)));
        }
        let coding = match self.plan.coding {
            Coding::None => return,
            Coding::Identity => "identity",
            Coding::Empty => "",
            Coding::AwsChunked => "aws-chunked",
            Coding::Gzip | Coding::GzipLie => "gzip",
            Coding::XGzip => "x-gzip",
            Coding::Deflate => "deflate",
            Coding::BrLie => "br",
        };
        headers.push(("Content-Encoding", coding.into()));
    }

    /// What a redirect says of the file that it leads to.
    fn promise(&self, headers: &mut Vec<(&'static str, String)>, status: u16, mirror: usize) {
        let version = self.version_for(self.fetches.load(Ordering::Relaxed), mirror);
        let mut claims = Vec::new();
        for named in self.plan.digests.iter().filter(|named| named.when == When::OnTheWay) {
            let (algorithm, of_message) = facts(named.header);
            if of_message && !matches!(named.header, DigestHeader::LegacyMd5 | DigestHeader::LegacySha256)
                || named.header.is_amazons()
            {
                continue;
            }
            let of_version = version + usize::from(named.truth == Truth::OfNext);
            let mut value = digest(algorithm, &self.version(of_version).coded);
            if named.truth == Truth::Wrong {
                value[0] ^= 0x5a;
            }
            headers.push(written(named.header, &value));
            claims.push((algorithm, value));
        }
        if !claims.is_empty() {
            self.note_given(Given {
                status,
                version: Some(version),
                start: 0,
                sent: 0,
                told: None,
                ended: false,
                claims,
                trailing: Vec::new(),
            });
        }
    }

    fn digest_headers(
        &self,
        (headers, trailers): (&mut Lines, &mut Lines),
        given: &mut Given,
        number: usize,
        version: usize,
        content: &[u8],
    ) {
        for named in &self.plan.digests {
            let due = match named.when {
                When::Always => true,
                When::FirstOnly => number == 0,
                When::LaterOnly => number > 0,
                When::Trailer => given.status == 200,
                When::OnTheWay => false,
            };
            if !due {
                continue;
            }
            let (algorithm, of_message) = facts(named.header);
            let right = |version: usize| digest(algorithm, &self.version(version).coded);
            let mut value = match named.truth {
                Truth::OfNext => right(version + 1),
                _ if of_message => digest(algorithm, content),
                Truth::Right | Truth::Wrong => right(version),
            };
            if named.truth == Truth::Wrong {
                value[0] ^= 0x5a;
            }
            let (name, text) = written(named.header, &value);
            if named.when == When::Trailer {
                trailers.push((name, text));
                given.trailing.push((algorithm, value));
                continue;
            }
            headers.push((name, text));
            if given.status == 200 || !of_message {
                given.claims.push((algorithm, value));
            }
        }
    }

    async fn multipart(
        &self,
        line: &mut Line<'_>,
        asked: &Head,
        version: &Version,
        (start, end): (u64, u64),
        given: Given,
    ) -> End {
        let size = version.coded.len();
        self.passage.note(format!("{} → 206 multipart", shown(asked)));
        let mut body =
            format!("--part\r\nContent-Range: bytes {start}-{}/{size}\r\n\r\n", end - 1).into_bytes();
        body.extend_from_slice(&version.coded[start as usize..end as usize]);
        body.extend_from_slice(b"\r\n--part--\r\n");
        let headers = [
            ("Content-Type", "multipart/byteranges; boundary=part".to_owned()),
            ("Content-Length", body.len().to_string()),
        ];
        self.note_given(Given { version: None, ..given });
        let sent = line.send(&head(206, &headers)).await && line.send_content(&body).await == body.len();
        if sent { End::Next } else { End::Close }
    }

    async fn instead(&self, line: &mut Line<'_>, asked: &Head, instead: Instead, mirror: usize) -> End {
        let version = self.version(self.version_for(0, mirror).min(1));
        let size = version.coded.len();
        let (status, mut headers, body): (u16, Vec<(&str, String)>, Vec<u8>) = match instead {
            Instead::Accepted { wait, body } => {
                let (kind, body) = words(body);
                (202, [kind, pause(wait)].into_iter().flatten().collect(), body)
            }
            Instead::NoContent => (204, Vec::new(), Vec::new()),
            Instead::ResetContent => (205, Vec::new(), Vec::new()),
            Instead::NotModified => (304, Vec::new(), Vec::new()),
            Instead::Status { code, wait, body } => {
                let (kind, body) = words(body);
                (code, [kind, pause(wait)].into_iter().flatten().collect(), body)
            }
            Instead::Unsatisfied(spelling) => {
                let text = match spelling {
                    Unsatisfied::Total => Some(format!("bytes */{size}")),
                    Unsatisfied::Bare => Some(format!("*/{size}")),
                    Unsatisfied::WrongTotal => Some(format!("bytes */{}", size * 2 + 7)),
                    Unsatisfied::Untold => None,
                };
                (416, text.map(|text| ("Content-Range", text)).into_iter().collect(), Vec::new())
            }
            Instead::UnaskedPart(unasked) => {
                if size < 2 || asked.get("range").is_some() {
                    (503, Vec::new(), Vec::new())
                } else {
                    let half = size / 2;
                    let (first, second) = version.coded.split_at(half);
                    let last = half - 1;
                    let (range, bytes) = match unasked {
                        Unasked::First => (Some(format!("bytes 0-{last}/{size}")), first),
                        Unasked::Second => (Some(format!("bytes {half}-{}/{size}", size - 1)), second),
                        Unasked::UnknownTotal => (Some(format!("bytes 0-{last}/*")), first),
                        Unasked::NoContentRange => (None, first),
                    };
                    (206, range.map(|range| ("Content-Range", range)).into_iter().collect(), bytes.to_vec())
                }
            }
            Instead::Nowhere => (302, Vec::new(), Vec::new()),
            Instead::Loop => {
                let here = format!("{}{}", self.places[mirror], asked.target);
                (302, vec![("Location", here)], Vec::new())
            }
            Instead::Page => (200, vec![("Content-Type", "text/html; charset=utf-8".into())], PAGE.into()),
            Instead::Envelope => {
                let text = r#"{"code":"0001","msg":"The item is not ready","success":false,"failed":true}"#;
                (200, vec![("Content-Type", "application/json".into())], text.into())
            }
            Instead::NotHttp => {
                line.send(b"220 mail.example.org ESMTP\r\n").await;
                return End::Close;
            }
            Instead::NoAnswer => return End::Close,
            Instead::HugeHead => {
                let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
                for number in 0..12_000 {
                    text.extend_from_slice(format!("X-Filling-{number}: {number:0>80}\r\n").as_bytes());
                }
                text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
                line.send(&text).await;
                return End::Close;
            }
            Instead::HeadOnly => {
                let length = (size + 1).to_string();
                line.send(&head(200, &[("Content-Length", length)])).await;
                return End::Close;
            }
        };
        let has_body = !matches!(status, 100..200 | 204 | 304);
        if let Instead::Accepted { body: Body::Endless, .. } | Instead::Status { body: Body::Endless, .. } =
            instead
            && has_body
        {
            go_on_for_ever(line, status, headers).await;
            return End::Close;
        }
        if has_body {
            headers.push(("Content-Length", body.len().to_string()));
        }
        let sent = line.send(&head(status, &headers)).await && (!has_body || line.send(&body).await);
        // After 101 it would be another protocol.
        if sent && status != 101 { End::Next } else { End::Close }
    }
}

/// An answer with a body that comes for as long as anybody listens.
pub async fn go_on_for_ever(line: &mut Line<'_>, status: u16, mut headers: Vec<(&str, String)>) {
    headers.push(("Content-Length", ENDLESS.to_string()));
    let mut goes_on = line.send(&head(status, &headers)).await;
    for _ in 0..ENDLESS / AGAIN_AND_AGAIN.len() {
        goes_on = goes_on && line.send(AGAIN_AND_AGAIN).await;
    }
}

/// `Last-Modified` and `Date`.
struct Dates {
    modified: Option<String>,
    date: Option<String>,
}

/// What becomes of the connection.
enum End {
    Next,
    Close,
    Reset,
}

/// A header with a digest.
fn written(header: DigestHeader, value: &[u8]) -> (&'static str, String) {
    let text = BASE64.encode(value);
    match header {
        DigestHeader::ContentMd5 => ("Content-MD5", text),
        DigestHeader::ContentSha256 => ("Content-Digest", format!("sha-256=:{text}:")),
        DigestHeader::ReprSha256 => ("Repr-Digest", format!("sha-256=:{text}:")),
        DigestHeader::ReprSha512 => ("Repr-Digest", format!("sha-512=:{text}:")),
        DigestHeader::LegacySha256 => ("Digest", format!("SHA-256={text}")),
        DigestHeader::LegacyMd5 => ("Digest", format!("md5={text}")),
        DigestHeader::GoogCrc32c => ("x-goog-hash", format!("crc32c={text}")),
        DigestHeader::GoogMd5 => ("x-goog-hash", format!("md5={text}")),
        DigestHeader::AmzCrc32 => ("x-amz-checksum-crc32", text),
        DigestHeader::AmzCrc32c => ("x-amz-checksum-crc32c", text),
        DigestHeader::AmzCrc64 => ("x-amz-checksum-crc64nvme", text),
        DigestHeader::AmzSha1 => ("x-amz-checksum-sha1", text),
        DigestHeader::AmzSha256 => ("x-amz-checksum-sha256", text),
        DigestHeader::AzureMd5 => ("x-ms-blob-content-md5", text),
        DigestHeader::LinkedSha256 => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            ("X-Linked-Etag", format!("\"{hex}\""))
        }
    }
}

/// The algorithm behind a header, and whether it is of the message rather than of the whole file.
fn facts(header: DigestHeader) -> (&'static str, bool) {
    match header {
        DigestHeader::ContentMd5 | DigestHeader::LegacyMd5 => ("md5", true),
        DigestHeader::ContentSha256 | DigestHeader::LegacySha256 => ("sha256", true),
        DigestHeader::ReprSha256 | DigestHeader::AmzSha256 | DigestHeader::LinkedSha256 => ("sha256", false),
        DigestHeader::ReprSha512 => ("sha512", false),
        DigestHeader::GoogCrc32c | DigestHeader::AmzCrc32c => ("crc32c", false),
        DigestHeader::GoogMd5 | DigestHeader::AzureMd5 => ("md5", false),
        DigestHeader::AmzCrc32 => ("crc32", false),
        DigestHeader::AmzCrc64 => ("crc64nvme", false),
        DigestHeader::AmzSha1 => ("sha1", false),
    }
}

/// A request in a line of the trace.
pub fn shown(asked: &Head) -> String {
    let condition = |name: &str| asked.get(name).map(|value| format!(" {name}: {value}")).unwrap_or_default();
    let conditions: String = ["range", "if-range", "content-range", "content-length"].map(condition).concat();
    format!("{} {}{conditions}", asked.method, asked.path())
}

/// `Retry-After`.
pub fn pause(wait: Pause) -> Option<(&'static str, String)> {
    let text = match wait {
        Pause::None => return None,
        Pause::Zero => "0".to_owned(),
        Pause::One => "1".to_owned(),
        Pause::Long => "86400".to_owned(),
        Pause::PastDate => httpdate::fmt_http_date(SystemTime::now() - DAY),
        Pause::Nonsense => "soon".to_owned(),
    };
    Some(("Retry-After", text))
}

/// A body that is not the file, with its type.
fn words(body: Body) -> (Option<(&'static str, String)>, Vec<u8>) {
    let (kind, text) = match body {
        Body::Empty => return (None, Vec::new()),
        Body::Text => ("text/plain", "Not now.".to_owned()),
        Body::Json => ("application/json", r#"{"status":"preparing","message":"Not now."}"#.to_owned()),
        Body::Xml => {
            ("application/xml", "<Error><Code>SlowDown</Code><Message>Not now.</Message></Error>".to_owned())
        }
        Body::Html => ("text/html", "<html><title>Not now</title><body>Not now.</body></html>".to_owned()),
        // Its bytes come elsewhere.
        Body::Endless => ("text/plain", String::new()),
    };
    (Some(("Content-Type", kind.into())), text.into())
}
