//! A store that takes one file as its plan wants it, the service in front of it, and a record of what it really holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::digests::digest;
use super::plan::{
    Damage, EARLY_IS_SEEN_FROM, Envelope, LengthTold, OddRange, Says, ServiceEnd, SizeTold, StoreFault,
    StoreHeader, StorePlan, Way,
};
use super::server::{go_on_for_ever, pause, shown};
use super::wire::{Ear, Head, Line, Passage, head};

/// A body that a store refuses is read first, if it is not longer than this.
const READ_BEFORE_REFUSING: usize = 1 << 20;

/// One object that a URL was signed for.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// What arrived, whole.
    pub arrived: Option<Vec<u8>>,
    /// What is really there.
    pub held: Option<Vec<u8>>,
    /// To whom the store's last word was said, in full.
    pub words: Vec<Arc<Ear>>,
    /// The size that the service named, to whom.
    pub told: Vec<(u64, Arc<Ear>)>,
    /// To whom the service said that it failed.
    pub failed: Vec<Arc<Ear>>,
    polls: u8,
}

#[derive(Debug, Default)]
struct Session {
    object: usize,
    kept: Vec<u8>,
    /// All of the file was sent on its way, as far as its last chunk.
    offered: bool,
    /// Whoever was told since then that not all of it has arrived.
    denied: Option<Arc<Ear>>,
    done: bool,
    gone: bool,
}

impl Session {
    /// Whether Ferry may think that everything has arrived: all was handed over, and it has not heard otherwise.
    fn may_be_whole(&self, life: usize) -> bool {
        self.offered && !self.denied.as_ref().is_some_and(|ear| ear.heard_in(life))
    }
}

#[derive(Debug, Default)]
struct Held {
    objects: HashMap<usize, Object>,
    sessions: HashMap<usize, Session>,
    signed: usize,
    refusals: u8,
}

/// A running store.
pub struct Store {
    pub plan: StorePlan,
    pub passage: Passage,
    pub file: Arc<Vec<u8>>,
    pub place: String,
    held: Mutex<Held>,
    asked: AtomicUsize,
    /// The last of Ferry's lives that asked for anything here, or at the service about it.
    last_life: AtomicUsize,
}

impl Store {
    /// Listens, until the tasks are dropped.
    pub async fn start(
        plan: StorePlan,
        file: Arc<Vec<u8>>,
        passage: Passage,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let place = format!("http://{}", listener.local_addr().expect("an address"));
        let store = Arc::new(Self {
            plan,
            passage,
            file,
            place,
            held: Mutex::default(),
            asked: AtomicUsize::new(0),
            last_life: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&store);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (store, life) = (Arc::clone(&serving), serving.passage.life());
                connections.spawn(async move { store.serve(stream, life).await });
                while connections.try_join_next().is_some() {}
            }
        });
        store
    }

    /// In which of its lives Ferry came to its end with this store: who begins anew does not know what was said before.
    pub fn last_life(&self) -> usize {
        self.last_life.load(Ordering::SeqCst)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while held")
    }

    /// What is known of the object that was signed as the nth.
    pub fn object(&self, number: usize) -> Object {
        self.held().objects.get(&number).cloned().unwrap_or_default()
    }

    /// A URL for the user, who needs no service.
    pub fn link(&self) -> String {
        self.url(0)
    }

    fn url(&self, object: usize) -> String {
        let (place, way) = (&self.place, self.plan.way);
        let signed = match way {
            Way::GooglePut => {
                "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-SignedHeaders=host&X-Goog-Signature=abc"
            }
            Way::GoogleResumable => {
                "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-SignedHeaders=host%3Bx-goog-resumable&X-Goog-Signature=abc"
            }
            Way::AmazonPut => "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&X-Amz-Signature=abc",
            Way::AzurePut => "sv=2024-11-04&sr=b&sp=cw&sig=abc",
            Way::Form | Way::PolicyForm => "token=abc",
            Way::Session => {
                self.held()
                    .sessions
                    .entry(object)
                    .or_insert_with(|| Session { object, ..Session::default() });
                return format!("{place}/session/{object}?upload_id=abc");
            }
        };
        format!("{place}/object/{object}?{signed}")
    }

    /// The service's answer to a request for a signed URL: a status and a body.
    pub fn sign(&self, case: usize, life: usize) -> (u16, Value) {
        self.last_life.fetch_max(life, Ordering::SeqCst);
        let service = self.plan.service.expect("only a service is asked to sign");
        let object = {
            let mut held = self.held();
            if held.refusals < service.refusals {
                held.refusals += 1;
                self.passage.note("sign → 500".into());
                return (
                    500,
                    json!({"code": 500, "msg": "trouble", "data": null, "success": false, "failed": true}),
                );
            }
            held.signed += 1;
            held.signed - 1
        };
        self.passage.note(format!("sign → object {object}"));
        let mut data = json!({
            "asset_id": format!("re_{case}x{object}"),
            "signed_url": self.url(object),
            "expires_in": 93_600,
        });
        if self.plan.way == Way::PolicyForm {
            data["fields"] =
                json!({"key": format!("object/{object}"), "policy": "abc", "x-goog-signature": "abc"});
        }
        (200, json!({"code": 200, "msg": "success", "data": data, "success": true, "failed": false}))
    }

    /// The service's answer to a question about an asset.
    pub fn metadata(&self, asset: &str, object: usize, line: &mut Line<'_>) -> (u16, Value) {
        self.last_life.fetch_max(line.life, Ordering::SeqCst);
        let service = self.plan.service.expect("only a service is asked");
        let mut held = self.held();
        let found = held.objects.entry(object).or_default();
        let envelope = |status: &str, size: Value| {
            let resource = json!({"asset_id": asset, "original_filename": "x.bin", "file_size": size, "upload_status": status});
            (
                200,
                json!({"code": "0000", "msg": "success", "data": {"resource": [resource]}, "success": true, "failed": false}),
            )
        };
        let Some(bytes) = found.held.as_ref() else { return envelope("WAITING", Value::Null) };
        if found.polls < service.waits {
            found.polls += 1;
            return envelope("WAITING", Value::Null);
        }
        let length = bytes.len() as u64;
        let answer = match service.end {
            ServiceEnd::Never => envelope("UPLOADING", Value::Null),
            ServiceEnd::Trouble => {
                (500, json!({"code": 500, "msg": "trouble", "success": false, "failed": true}))
            }
            ServiceEnd::Failed => {
                found.failed.push(line.ear());
                envelope("FAILED", Value::Null)
            }
            ServiceEnd::Success => {
                let size = match service.size {
                    SizeTold::Missing => None,
                    SizeTold::Right | SizeTold::AsText => Some(length),
                    SizeTold::Wrong => Some(length + 251),
                };
                found.told.extend(size.map(|size| (size, line.ear())));
                let as_text = service.size == SizeTold::AsText;
                envelope(
                    "SUCCESS",
                    match size {
                        Some(size) if as_text => json!(size.to_string()),
                        size => json!(size),
                    },
                )
            }
        };
        self.passage.note(format!("metadata of {object} → {}", answer.1));
        answer
    }

    async fn serve(&self, stream: TcpStream, life: usize) {
        let mut line = Line::new(stream, &self.passage, life);
        while let Some(asked) = line.head().await {
            self.last_life.fetch_max(life, Ordering::SeqCst);
            match self.answer(&mut line, &asked).await {
                End::Next => {}
                End::Close => return line.close().await,
                End::Reset => return line.reset(),
            }
        }
    }

    async fn answer(&self, line: &mut Line<'_>, asked: &Head) -> End {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let fault = self.plan.fault(number);
        let note = |what: String| {
            let fault = if fault == StoreFault::None { String::new() } else { format!(" {fault:?}:") };
            self.passage.note(format!("{} →{fault} {what}", shown(asked)));
        };
        let length = asked.length();
        let target = asked.path().trim_start_matches('/').to_owned();
        let (place, id) = target.split_once('/').unwrap_or((&target, "0"));
        let id: usize = id.parse().unwrap_or(0);
        if let Some(session) = self.held().sessions.get_mut(&id).filter(|_| place == "session" && length > 0)
        {
            let range = asked.get("content-range").unwrap_or_default();
            let last = range.split(['-', '/']).nth(1).and_then(|text| text.parse::<u64>().ok());
            if last.is_some_and(|last| last + 1 == self.file.len() as u64) {
                (session.offered, session.denied) = (true, None);
            }
        }
        match fault {
            StoreFault::NoAnswer => {
                note("closed at once".into());
                return End::Close;
            }
            StoreFault::Silence { after } if place != "session" || length == 0 => {
                note("silence".into());
                line.read((after as usize).min(length)).await;
                line.be_silent().await;
                return End::Reset;
            }
            StoreFault::Status { code, says, wait } => {
                note(code.to_string());
                // The refusal of a question says nothing about what was sent.
                if place == "session" && (1..=READ_BEFORE_REFUSING).contains(&length) {
                    self.deny(id, line);
                }
                return self.refuse(line, length, code, says, pause(wait)).await;
            }
            // A shorter body may be handed on before an early answer arrives: then nobody can know.
            StoreFault::Early { after, status }
                if (after as usize) < length && (status >= 300 || length >= EARLY_IS_SEEN_FROM as usize) =>
            {
                note(format!("{status} after {after} bytes"));
                line.read(after as usize).await;
                let answer = [("Content-Length", "0".to_owned()), ("Connection", "close".to_owned())];
                line.send(&head(status, &answer)).await;
                return End::Close;
            }
            StoreFault::Gone { status } => {
                note(format!("{status}: gone"));
                if place == "session"
                    && let Some(session) = self.held().sessions.get_mut(&id)
                {
                    session.gone = true;
                }
                return self.refuse(line, length, status, Says::Nothing, None).await;
            }
            _ => {}
        }
        match (asked.method.as_str(), place, self.plan.way) {
            (_, "session", _) => self.session(line, asked, id, fault, note).await,
            ("POST", "object", Way::GoogleResumable) => {
                if asked.get("x-goog-resumable") != Some("start") {
                    note("403: no start of a session".into());
                    return self.refuse(line, length, 403, Says::SignatureDoesNotMatch, None).await;
                }
                let session = {
                    let mut held = self.held();
                    let session = 1_000 + held.sessions.len();
                    held.sessions.insert(session, Session { object: id, ..Session::default() });
                    session
                };
                if matches!(fault, StoreFault::LostAnswer | StoreFault::Cut { .. }) {
                    note(format!("opens session {session}, answer lost"));
                    return End::Close;
                }
                note(format!("201, session {session}"));
                let place = format!("{}/session/{session}?upload_id=abc", self.place);
                let answer = head(201, &[("Location", place), ("Content-Length", "0".into())]);
                if line.send(&answer).await { End::Next } else { End::Close }
            }
            ("PUT", "object", Way::GooglePut | Way::AmazonPut | Way::AzurePut)
            | ("POST", "object", Way::Form | Way::PolicyForm) => {
                let wanted = match fault {
                    StoreFault::Cut { after } => (after as usize).min(length),
                    _ => length,
                };
                let body = line.read(wanted).await;
                if body.len() < length {
                    note(format!("reset after {} of {length}", body.len()));
                    return End::Reset;
                }
                let file =
                    if asked.method == "PUT" { Some(body.clone()) } else { file_of_form(asked, &body) };
                let Some(file) = file else {
                    note("400: no form with a file".into());
                    return self.refuse(line, 0, 400, Says::InvalidPolicyDocument, None).await;
                };
                let around = (asked.method == "POST").then_some(body);
                self.keep(id, file, around);
                if fault == StoreFault::LostAnswer {
                    note("kept, answer lost".into());
                    return End::Close;
                }
                note(format!("kept {length}"));
                self.last_word(line, id).await
            }
            (_, _, way) => {
                let (code, says) = match way {
                    Way::Form | Way::PolicyForm => (405, Says::Nothing),
                    _ => (403, Says::SignatureDoesNotMatch),
                };
                note(format!("{code}: not this way"));
                self.refuse(line, length, code, says, None).await
            }
        }
    }

    /// A chunk of a session, or a question about it.
    async fn session(
        &self,
        line: &mut Line<'_>,
        asked: &Head,
        id: usize,
        fault: StoreFault,
        note: impl Fn(String),
    ) -> End {
        let length = asked.length();
        let total = self.file.len() as u64;
        let range = asked.get("content-range").unwrap_or_default().to_owned();
        let is_gone = self.held().sessions.get(&id).is_none_or(|session| session.gone);
        if is_gone {
            note("404: no such session".into());
            return self.refuse(line, length, 404, Says::Nothing, None).await;
        }
        let is_question = range.starts_with("bytes */") && total > 0;
        if !is_question {
            let start: u64 = range
                .trim_start_matches("bytes ")
                .split('-')
                .next()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let wanted = match fault {
                StoreFault::Cut { after } | StoreFault::Silence { after } => (after as usize).min(length),
                _ => length,
            };
            let chunk = line.read(wanted).await;
            let most = match fault {
                StoreFault::Keep { bytes } => (bytes as usize).min(chunk.len()),
                _ => chunk.len(),
            };
            {
                let mut held = self.held();
                let session = held.sessions.get_mut(&id).expect("looked up above");
                if start <= session.kept.len() as u64 && !session.done {
                    session.kept.truncate(start as usize);
                    session.kept.extend_from_slice(&chunk[..most]);
                }
            }
            if matches!(fault, StoreFault::Silence { .. }) {
                note(format!("silence after {} of {length}", chunk.len()));
                line.be_silent().await;
                return End::Reset;
            }
            if chunk.len() < length {
                note(format!("reset after {} of {length}", chunk.len()));
                return End::Reset;
            }
        }
        let (object, kept, is_done, false_end) = {
            let mut held = self.held();
            let session = held.sessions.get_mut(&id).expect("looked up above");
            let kept = session.kept.len() as u64;
            // Not where Ferry has handed everything over, and its answer got lost: then "done" is what it may expect, and
            // nobody could tell that it is not so.
            let false_end = fault == StoreFault::FalseEnd && !session.may_be_whole(line.life);
            session.done |= kept == total;
            (session.object, kept, session.done, false_end)
        };
        if is_done {
            let bytes = self.held().sessions[&id].kept.clone();
            self.keep(object, bytes, None);
            if fault == StoreFault::LostAnswer {
                note("all kept, answer lost".into());
                return End::Close;
            }
            note("all kept".into());
            return self.last_word(line, object).await;
        }
        if false_end {
            note(format!("says that it has all, and has {kept} of {total}"));
            let answer = head(200, &[("Content-Length", "0".into())]);
            return if line.send(&answer).await { End::Next } else { End::Close };
        }
        if fault == StoreFault::LostAnswer {
            note(format!("kept {kept} of {total}, answer lost"));
            return End::Close;
        }
        let plain = (kept > 0).then(|| format!("bytes=0-{}", kept.saturating_sub(1)));
        let text = match fault {
            StoreFault::OddRange(OddRange::NoUnit) => plain.map(|text| text.replace("bytes=", "")),
            StoreFault::OddRange(OddRange::NotFromZero) => Some(format!("bytes=1-{kept}")),
            StoreFault::OddRange(OddRange::BeyondTotal) => Some(format!("bytes=0-{}", total + 999)),
            StoreFault::OddRange(OddRange::Nonsense) => Some("all of it".to_owned()),
            StoreFault::OddRange(OddRange::Absent) => None,
            _ => plain,
        };
        note(format!("308, kept {kept} of {total}, told {text:?}"));
        self.deny(id, line);
        let mut headers = vec![("Content-Length", "0".to_owned())];
        headers.extend(text.map(|text| ("Range", text)));
        if line.send(&head(308, &headers)).await { End::Next } else { End::Close }
    }

    /// Whoever is about to be answered hears that a session has not got everything.
    fn deny(&self, id: usize, line: &mut Line<'_>) {
        if let Some(session) = self.held().sessions.get_mut(&id) {
            session.denied = Some(line.ear());
        }
    }

    /// Keeps an object, as well as this store does that.
    fn keep(&self, object: usize, mut bytes: Vec<u8>, around: Option<Vec<u8>>) {
        self.held().objects.entry(object).or_default().arrived = Some(bytes.clone());
        if !matches!(self.plan.word.envelope, Envelope::None | Envelope::Fine) {
            return;
        }
        match self.plan.seen_damage() {
            Damage::None => {}
            Damage::Flip => {
                if let Some(middle) = bytes.len().checked_sub(1).map(|last| last / 2) {
                    bytes[middle] ^= 1;
                }
            }
            Damage::Short(by) => bytes.truncate(bytes.len().saturating_sub(by as usize)),
            Damage::Envelope => bytes = around.unwrap_or(bytes),
        }
        self.held().objects.entry(object).or_default().held = Some(bytes);
    }

    /// What the store says when it has everything.
    async fn last_word(&self, line: &mut Line<'_>, object: usize) -> End {
        let word = &self.plan.word;
        let kept = self.object(object).held.unwrap_or_else(|| self.file.to_vec());
        let mut headers: Vec<(&str, String)> = Vec::new();
        for named in &word.digests {
            let algorithm = algorithm(named.header);
            let mut value = digest(algorithm, &kept);
            if !named.right {
                value[0] ^= 0x5a;
            }
            let text = BASE64.encode(&value);
            headers.push(match named.header {
                StoreHeader::GoogCrc32c => ("x-goog-hash", format!("crc32c={text}")),
                StoreHeader::GoogMd5 => ("x-goog-hash", format!("md5={text}")),
                StoreHeader::EtagMd5 => ("ETag", format!("\"{}\"", hex(&value))),
                StoreHeader::ContentMd5 => ("Content-MD5", text),
                StoreHeader::AmzCrc32 => ("x-amz-checksum-crc32", text),
                StoreHeader::AmzCrc32c => ("x-amz-checksum-crc32c", text),
                StoreHeader::AmzCrc64 => ("x-amz-checksum-crc64nvme", text),
                StoreHeader::AmzSha1 => ("x-amz-checksum-sha1", text),
                StoreHeader::AmzSha256 => ("x-amz-checksum-sha256", text),
            });
        }
        match word.length {
            LengthTold::Not => {}
            LengthTold::Right => headers.push(("x-goog-stored-content-length", kept.len().to_string())),
            LengthTold::Wrong => {
                headers.push(("x-goog-stored-content-length", (kept.len() + 251).to_string()));
            }
        }
        let body = match word.envelope {
            Envelope::None => "",
            Envelope::Fine => r#"{"code":"0000","msg":"success","success":true,"failed":false}"#,
            Envelope::NoSuccess => r#"{"success":false,"msg":"The file was not taken."}"#,
            Envelope::Failed => r#"{"failed":true,"msg":"The file was not taken."}"#,
            Envelope::Code => r#"{"code":"0003","msg":"The file was not taken."}"#,
        };
        if word.status != 204 {
            if !body.is_empty() {
                headers.push(("Content-Type", "application/json".into()));
            }
            headers.push(("Content-Length", body.len().to_string()));
        }
        self.held().objects.entry(object).or_default().words.push(line.ear());
        let sent = line.send(&head(word.status, &headers)).await && line.send(body.as_bytes()).await;
        if sent { End::Next } else { End::Close }
    }

    async fn refuse(
        &self,
        line: &mut Line<'_>,
        length: usize,
        code: u16,
        says: Says,
        wait: Option<(&'static str, String)>,
    ) -> End {
        let reads = length <= READ_BEFORE_REFUSING;
        if reads {
            line.read(length).await;
        }
        let xml = |code: &str| {
            format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>Not so.</Message></Error>")
        };
        let (kind, body) = match says {
            Says::SignatureDoesNotMatch => (Some("application/xml"), xml("SignatureDoesNotMatch")),
            Says::InvalidPolicyDocument => (Some("application/xml"), xml("InvalidPolicyDocument")),
            Says::ExpiredToken => (Some("application/xml"), xml("ExpiredToken")),
            Says::RequestTimeout => (Some("application/xml"), xml("RequestTimeout")),
            Says::EntityTooLarge => (Some("application/xml"), xml("EntityTooLarge")),
            Says::SlowDown => (Some("application/xml"), xml("SlowDown")),
            Says::Json => (Some("application/json"), r#"{"error":"not so"}"#.to_owned()),
            Says::Endless if code != 304 => {
                go_on_for_ever(line, code, wait.into_iter().collect()).await;
                return End::Close;
            }
            Says::Nothing | Says::Endless => (None, String::new()),
        };
        let has_body = code != 304;
        let mut headers: Vec<(&str, String)> = Vec::new();
        if has_body {
            headers.extend(kind.map(|kind| ("Content-Type", kind.to_owned())));
            headers.push(("Content-Length", body.len().to_string()));
        }
        headers.extend(wait);
        let sent = line.send(&head(code, &headers)).await && (!has_body || line.send(body.as_bytes()).await);
        if sent && reads { End::Next } else { End::Close }
    }
}

/// The service in front of the stores of a batch.
pub struct Service {
    stores: Vec<(usize, Arc<Store>)>,
    nobody: Passage,
}

impl Service {
    /// Listens, until the tasks are dropped; gives the base URL.
    pub async fn start(stores: Vec<(usize, Arc<Store>)>, nobody: Passage, tasks: &mut JoinSet<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let place = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Arc::new(Self { stores, nobody });
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (service, life) = (Arc::clone(&service), service.nobody.life());
                connections.spawn(async move { service.serve(stream, life).await });
                while connections.try_join_next().is_some() {}
            }
        });
        place
    }

    async fn serve(&self, stream: TcpStream, life: usize) {
        let mut line = Line::new(stream, &self.nobody, life);
        while let Some(asked) = line.head().await {
            let body = line.read(asked.length()).await;
            let (status, answer) = self.answer(&asked, &body, &mut line);
            let text = answer.to_string();
            let headers =
                [("Content-Type", "application/json".to_owned()), ("Content-Length", text.len().to_string())];
            if !line.send(&head(status, &headers)).await || !line.send(text.as_bytes()).await {
                return;
            }
        }
    }

    fn answer(&self, asked: &Head, body: &[u8], line: &mut Line<'_>) -> (u16, Value) {
        let unknown =
            || (400, json!({"code": 400, "msg": "Asset not found", "success": false, "failed": true}));
        let store =
            |case: usize| self.stores.iter().find(|(known, _)| *known == case).map(|(_, store)| store);
        if asked.method == "POST" && asked.path() == "/upload/signed-url" {
            let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
            let name = wanted["original_filename"].as_str().unwrap_or_default();
            let case = name.trim_start_matches('c').split('.').next().and_then(|text| text.parse().ok());
            return case
                .and_then(|case| Some((case, store(case)?)))
                .map_or_else(unknown, |(case, store)| store.sign(case, line.life));
        }
        let asset = asked.path().trim_start_matches('/').split('/').next().unwrap_or_default();
        match object_of(asset).and_then(|(case, object)| Some((store(case)?, object))) {
            Some((store, object)) if asked.path().ends_with("/metadata") => {
                store.metadata(asset, object, line)
            }
            _ => unknown(),
        }
    }
}

/// `re_17x2`: what was signed third for case 17.
pub fn object_of(asset: &str) -> Option<(usize, usize)> {
    let (case, object) = asset.strip_prefix("re_")?.split_once('x')?;
    Some((case.parse().ok()?, object.parse().ok()?))
}

/// What becomes of the connection.
enum End {
    Next,
    Close,
    Reset,
}

/// The algorithm behind a header, by Ferry's name for it.
pub fn algorithm(header: StoreHeader) -> &'static str {
    match header {
        StoreHeader::GoogCrc32c | StoreHeader::AmzCrc32c => "crc32c",
        StoreHeader::GoogMd5 | StoreHeader::EtagMd5 | StoreHeader::ContentMd5 => "md5",
        StoreHeader::AmzCrc32 => "crc32",
        StoreHeader::AmzCrc64 => "crc64nvme",
        StoreHeader::AmzSha1 => "sha1",
        StoreHeader::AmzSha256 => "sha256",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of the field `file` of a multipart form (RFC 7578).
fn file_of_form(asked: &Head, body: &[u8]) -> Option<Vec<u8>> {
    let boundary = asked.get("content-type")?.split("boundary=").nth(1)?.trim_matches('"');
    let after = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|window| window == what).map(|at| from + at + what.len())
    };
    let start = after(after(0, b"name=\"file\"")?, b"\r\n\r\n")?;
    // The file is the last field, and may be long.
    let boundary = format!("\r\n--{boundary}");
    let length = body[start..].windows(boundary.len()).rposition(|window| window == boundary.as_bytes())?;
    Some(body[start..start + length].to_vec())
}
