//! Row A8: marked keys, signatures, session URIs and link tokens go through every success and failure path, and are
//! then looked for in all that Ferry says and keeps. Only `resume/` may hold them, owner-only, until the transfer ends.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "support/bad_server.rs"]
mod bad_server;
#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bad_server::{BadServer, Step, response};
use ferry_engine::{DownloadRequest, Engine, Options, Secret, State, Transfer, UploadRequest};
use ferry_sandbox::{Fault, FaultKind, SignedUrls};
use serde_json::{Value, json};
use support::files::{all_below, assert_nowhere_below, names, noise};
use support::home::{Home, Run, wait_until};
use support::service::{KEY, Service};
use support::truth::{records, resume_is_private};
use tokio::sync::broadcast::error::RecvError;

const KINDS: [SignedUrls; 7] = [
    SignedUrls::GoogleResumable,
    SignedUrls::GooglePut,
    SignedUrls::AmazonPut,
    SignedUrls::AzurePut,
    SignedUrls::Form,
    SignedUrls::PolicyForm,
    SignedUrls::Session,
];
const MARK: &str = "marked5ecret";
/// Shorter values are no signatures.
const SHORTEST: usize = 12;

/// Everything that Ferry said, and what must not be in it.
#[derive(Default)]
struct Evidence {
    said: Vec<String>,
    secrets: BTreeSet<String>,
}

impl Evidence {
    fn take(&mut self, run: Run) -> Run {
        self.said.extend([run.stdout.clone(), run.stderr.clone()]);
        run
    }

    /// The values of a URL that sign something, or are all that is needed to use it.
    fn add_url(&mut self, url: &str) {
        let (before, query) = url.split_once('?').unwrap_or((url, ""));
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = name.to_ascii_lowercase();
            let signs = ["signature", "credential", "sig", "token", "upload_id", "key"];
            if value.len() >= SHORTEST && signs.iter().any(|word| name.contains(word)) {
                self.secrets.insert(value.to_owned());
            }
        }
        if query.is_empty() {
            // An opaque link: its last part is the secret.
            let last = before.rsplit('/').next().unwrap_or_default();
            if last.len() >= SHORTEST {
                self.secrets.insert(last.to_owned());
            }
        }
    }

    fn add_record(&mut self, record: &Value) {
        for field in ["url", "signed_url", "session"] {
            if let Some(url) = record[field].as_str() {
                self.add_url(url);
            }
        }
        for field in record["form"].as_array().into_iter().flatten() {
            let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
            let signs = ["signature", "policy", "credential"];
            if value.len() >= SHORTEST && signs.iter().any(|word| name.to_ascii_lowercase().contains(word)) {
                self.secrets.insert(value.to_owned());
            }
        }
    }

    /// Fails if any of the secrets is in anything that was said, or below the home, but for `resume/`.
    #[track_caller]
    fn is_clean(&mut self, home: &Home) {
        self.secrets.insert(KEY.to_owned());
        self.secrets.insert(MARK.to_owned());
        resume_is_private(&home.data().join("resume"));
        for secret in &self.secrets {
            for text in &self.said {
                if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                    panic!("a secret was said: {}", line.replace(secret, "<HERE>"));
                }
            }
            assert_nowhere_below(home.path(), secret, &["resume"]);
            for file in all_below(home.path()) {
                assert!(!file.to_string_lossy().contains(secret), "a secret is in a file's name");
                let attributes = extended_attributes(&file);
                let found = attributes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "a secret is in the extended attributes of {}", file.display());
            }
        }
    }

    /// The same, and nothing is kept in secret any more.
    #[track_caller]
    fn is_clean_and_over(&mut self, home: &Home) {
        self.is_clean(home);
        for secret in &self.secrets {
            assert_nowhere_below(home.path(), secret, &[]);
        }
        assert_eq!(names(&home.data().join("resume")), Vec::<String>::new());
    }
}

/// Names and values, one after the other.
fn extended_attributes(path: &Path) -> Vec<u8> {
    #[cfg(target_os = "linux")]
    {
        let mut list = vec![0; 64 * 1024];
        let Ok(length) = rustix::fs::listxattr(path, &mut list[..]) else { return Vec::new() };
        list.truncate(length);
        let mut all = list.clone();
        for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0; 64 * 1024];
            if let Ok(length) = rustix::fs::getxattr(path, name, &mut value[..]) {
                all.extend_from_slice(&value[..length]);
            }
        }
        all
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Vec::new()
    }
}

/// Reads what is kept for unfinished transfers for as long as it lives: these are the secrets to look for.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Value>>,
}

impl Watch {
    fn over(home: &Home) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (data, stopped) = (home.data(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut seen: Vec<Value> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                resume_is_private(&data.join("resume"));
                for name in names(&data.join("resume")) {
                    let text = std::fs::read(data.join("resume").join(name)).unwrap_or_default();
                    if let Ok(record) = serde_json::from_slice(&text)
                        && !seen.contains(&record)
                    {
                        seen.push(record);
                    }
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self, evidence: &mut Evidence) {
        self.stop.store(true, Ordering::Relaxed);
        let records = self.thread.join().unwrap();
        assert!(!records.is_empty(), "nothing was ever kept: the test watches the wrong place");
        records.iter().for_each(|record| evidence.add_record(record));
    }
}

fn traced(service: &Service) -> Home {
    let mut home = Home::with(service);
    home.set("FERRY_LOG", "trace");
    home
}

/// What a store says when a signature does not fit: all that was signed, word by word.
fn echo() -> FaultKind {
    FaultKind::Status {
        status: 403,
        retry_after: None,
        body: Some(format!(
            "<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we \
             calculated does not match.</Message><StringToSign>GOOG4-HMAC-SHA256\n{MARK}</StringToSign>\
             <CanonicalRequest>PUT\n/x?X-Goog-Signature={MARK}</CanonicalRequest></Error>"
        )),
        content_type: Some("application/xml".to_owned()),
        after: 0,
    }
}

#[test]
fn signatures_and_session_addresses_of_uploads_stay_secret() {
    let service = Service::start();
    let home = traced(&service);
    let mut evidence = Evidence::default();
    for (number, kind) in KINDS.into_iter().enumerate() {
        service.sign_with(kind);
        let name = format!("film-{number}.mp4");
        home.file(&name, &noise(number as u64, 400_000));
        let upload = ["upload", &name, "--service", "mavi"];

        // Refused, with everything that was signed in the refusal.
        service.fault(Fault::new(echo()).on_path("ferry-sandbox"));
        service.fault(Fault::new(echo()).on_path("/store/"));
        service.fault(Fault::new(echo()).on_path("upload/form"));
        let watch = Watch::over(&home);
        evidence.take(home.ferry(upload));
        service.heal();

        // Killed on the way.
        service.slow(400_000);
        let running = home.start(upload);
        wait_until("bytes flow, and what is needed to go on is kept", || {
            service.requests().iter().any(|asked| !asked.finished && asked.received > 0)
                && !records(&home.data()).is_empty()
        });
        running.kill();
        evidence.is_clean(&home);
        service.heal();

        // Expired once, cut once, then done.
        service.fault(Fault::new(FaultKind::ExpiredUrls).once());
        service.fault(Fault::new(FaultKind::CutUpload { after: 100_000 }).once());
        service.slow(1 << 20);
        let run = evidence.take(home.ferry(["retry"]));
        assert!(run.code == Some(0) || run.stderr.contains("Nothing has failed"), "{kind:?}: {}", run.stderr);
        evidence.take(home.ferry(["resume"])).exits(0);
        service.heal();
        watch.end(&mut evidence);
        for words in [vec!["queue", "--json"], vec!["queue"], vec!["assets", "--json"]] {
            evidence.take(home.ferry(words)).exits(0);
        }
        evidence.is_clean_and_over(&home);
    }
    assert!(evidence.secrets.len() >= 2 * KINDS.len(), "only {} secrets were met", evidence.secrets.len());
}

#[test]
fn a_signed_url_of_ones_own_stays_secret_also_in_the_list_of_processes() {
    let service = Service::start();
    let home = traced(&service);
    let mut evidence = Evidence::default();
    home.file("a.bin", &noise(1, 600_000));
    // The fields of a policy do not stand in its URL: such a form cannot be had by a URL alone.
    for kind in KINDS.into_iter().filter(|kind| *kind != SignedUrls::PolicyForm) {
        service.sign_with(kind);
        let (url, _) = service.signed_url("a.bin");
        evidence.add_url(&url);
        service.slow(1 << 20);
        let mut child = home.command(["upload", "a.bin", "--to", "-"]);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{url}\n").as_bytes()).unwrap();
        let shown = format!("/proc/{}/cmdline", child.id());
        wait_until("it is on its way", || {
            service.requests().iter().any(|asked| !asked.finished && asked.received > 0)
        });
        if let Ok(line) = std::fs::read(&shown) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let secret = evidence.secrets.iter().find(|secret| line.contains(secret.as_str()));
            assert!(secret.is_none(), "{kind:?}: the list of processes shows it");
        }
        let output = child.wait_with_output().unwrap();
        evidence.said.push(String::from_utf8(output.stdout).unwrap());
        evidence.said.push(String::from_utf8(output.stderr).unwrap());
        service.heal();

        // As an argument, refused, and tampered with.
        let (url, _) = service.signed_url("b.bin");
        evidence.add_url(&url);
        service.fault(Fault::new(echo()).on_method("PUT"));
        service.fault(Fault::new(echo()).on_method("POST"));
        evidence.take(home.ferry(["upload", "a.bin", "--to", &url])).exits(1);
        service.heal();
        evidence.take(home.ferry(["upload", "a.bin", "--to", &format!("{url}{MARK}")]));
    }
    let expired = format!(
        "{}/b/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-Signature={MARK}",
        service.origin()
    );
    evidence.take(home.ferry(["upload", "a.bin", "--to", &expired])).exits(1).says_error("expired_url");
    evidence.take(home.ferry(["queue", "--json"])).exits(0);
    evidence.is_clean(&home);
    // What failed is kept to be tried again, until the user gives it up.
    let rows = home.ferry(["queue", "--json"]).exits(0).objects();
    let ids: Vec<String> = rows.iter().map(|row| row["id"].to_string()).collect();
    evidence.take(home.ferry(["remove".to_owned()].into_iter().chain(ids))).exits(0);
    evidence.is_clean_and_over(&home);
}

#[test]
fn what_a_link_carries_stays_secret_on_every_way() {
    let service = Service::start();
    let home = traced(&service);
    let mut evidence = Evidence::default();
    let link = |name: &str| format!("{}?token={MARK}&x=1#{MARK}", service.link(400_000, name));
    evidence.take(home.ferry(["download", &link("whole.bin")])).exits(0);

    service.fault(FaultKind::Cut { after: 100_000 });
    evidence.take(home.ferry(["download", &link("cut.bin"), "--retries", "0"])).exits(1);
    service.heal();
    evidence.is_clean(&home);
    service.slow(200_000);
    let running = home.start(["resume"]);
    wait_until("it goes on", || service.requests().iter().any(|asked| !asked.finished && asked.sent > 0));
    running.kill();
    evidence.is_clean(&home);
    service.heal();
    evidence.take(home.ferry(["resume"])).exits(0);

    let with_user = link("user.bin").replace("http://", &format!("http://me:{MARK}@"));
    evidence.take(home.ferry(["download", &with_user]));

    let elsewhere = format!("{}?signature={MARK}", service.link(1000, "elsewhere.bin"));
    for location in [
        elsewhere.as_str(),
        &format!("ftp://me:{MARK}@127.0.0.1/{MARK}"),
        &format!("http://me:{MARK}@127.0.0.1/"),
        &format!("file:///etc/passwd?{MARK}"),
        &format!("http://127.0.0.1:1/x?token={MARK}"),
        &format!("//[{MARK}"),
    ] {
        service.fault(
            Fault::new(FaultKind::Redirect { status: 302, location: location.to_owned() })
                .on_path("moved")
                .once(),
        );
        evidence.take(home.ferry(["download", &link("moved.bin"), "--retries", "0"]));
    }
    // A server that answers with the address that it was asked for, in every kind of error.
    for status in ["400 Bad Request", "403 Forbidden", "404 Not Found", "410 Gone", "500 Oops"] {
        let echoing = BadServer::start(move |_, _| {
            let body = format!(
                "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message><StringToSign>{MARK}</StringToSign></Error>"
            );
            let length = body.len().to_string();
            let headers = [("Content-Type", "application/xml"), ("Content-Length", length.as_str())];
            vec![Step::Send(response(status, &headers, body.as_bytes()))]
        });
        let url = echoing.url(&format!("/echo.bin?token={MARK}"));
        evidence.take(home.ferry(["download", &url, "--retries", "0"])).exits(1);
    }
    for words in [vec!["queue"], vec!["queue", "--json"], vec!["assets"], vec!["retry", "--retries", "0"]] {
        evidence.take(home.ferry(words));
    }
    evidence.is_clean(&home);
    evidence.take(home.ferry(["cancel"])).exits(0);
    let rows = home.ferry(["queue", "--json"]).exits(0).objects();
    let ids: Vec<String> = rows.iter().map(|row| row["id"].to_string()).collect();
    evidence.take(home.ferry(["remove".to_owned()].into_iter().chain(ids))).exits(0);
    evidence.is_clean_and_over(&home);
}

/// What a service may say: it steers a terminal, turns a row around, forges a line, and echoes every kind of secret.
fn evil() -> String {
    format!(
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31mbad \u{202e}gpj.exe\u{2028}\r\nerror[ok]: all is well \u{200b}\u{e0041} \
         https://s.example/o?X-Amz-Signature={MARK} sig%3D{MARK} s\u{200b}ig={MARK} Bearer {MARK} \
         {{\"api_key\": \"{MARK}\"}} sk-{MARK}{MARK} https://u:{MARK}@s.example/#token={MARK}"
    )
}

#[test]
fn what_services_say_reaches_terminal_and_disk_clean_and_without_secrets() {
    const JOB: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let hostile = BadServer::start(|head, _| {
        let evil = evil();
        let body = if head.contains("/metadata") {
            json!({"code": "0000", "data": {"resource": [{
                "asset_id": "re_1", "original_filename": evil, "file_size": 5, "upload_status": evil, "create_time": evil,
            }]}})
        } else if head.contains("/list_videos") {
            json!({"code": "0000", "data": {"videos": [
                {"video_no": "VI1", "video_name": evil, "size": 5, "status": "FAILED", "cause": evil},
                {"video_no": "VI2", "video_name": evil, "size": 5, "status": "PARSE"},
            ]}})
        } else if head.starts_with("GET") && head.contains("/api/downloads") {
            json!([{"id": JOB, "title": evil, "status": "error", "error_message": evil, "filename": evil}])
        } else {
            json!({"code": "9999", "msg": evil, "failed": true, "requestId": evil})
        };
        let body = body.to_string();
        let length = body.len().to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        vec![Step::Send(response("200 OK", &headers, body.as_bytes()))]
    });
    let mut home = Home::new();
    for variable in ["FERRY_MAVI_URL", "FERRY_VISUAL_SEARCH_URL", "FERRY_OFFLINE_TUBE_URL"] {
        home.set(variable, &hostile.url(""));
    }
    for variable in ["FERRY_MAVI_KEY", "FERRY_VISUAL_SEARCH_KEY"] {
        home.set(variable, KEY);
    }
    home.set("FERRY_LOG", "debug");
    home.file("a.bin", &noise(1, 1000));
    // Another library, with the same in it.
    let line = json!([{
        "service": "mavi", "asset_id": "re_9", "name": evil(), "size": 5, "crc32c": null, "status": "seen", "at": 1,
    }]);
    home.file("library.json", line.to_string().as_bytes());
    let mut evidence = Evidence::default();
    for words in [
        vec!["assets", "info", "re_1", "--service", "mavi"],
        vec!["assets", "info", "VI1", "--service", "visual-search"],
        vec!["assets", "info", JOB, "--service", "offline-tube"],
        vec!["assets", "delete", "re_1", "--service", "mavi", "--yes"],
        vec!["upload", "a.bin", "--service", "mavi", "--retries", "0"],
        vec!["download", "re_1", "--service", "mavi", "--retries", "0"],
        vec!["download", "VI1", "VI2", "--service", "visual-search", "--retries", "0"],
        vec!["download", JOB, "--service", "offline-tube", "--retries", "0"],
        vec!["check", "mavi"],
        vec!["assets", "--import", "library.json"],
        vec!["queue"],
        vec!["assets"],
    ] {
        evidence.take(home.ferry(&words));
        evidence.take(home.ferry(words.iter().chain(&["--json"])));
    }
    std::fs::remove_file(home.path().join("library.json")).unwrap();
    assert!(
        evidence.said.iter().any(|text| text.contains("gpj.exe")),
        "nothing that the service said was shown"
    );
    for text in &evidence.said {
        let steers = |c: char| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || matches!(c, '\u{200b}' | '\u{2028}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..='\u{e007f}')
        };
        assert!(!text.contains(steers) && !text.contains("\\u00"), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error[ok]")), "a forged line: {text}");
    }
    evidence.is_clean(&home);
}

#[test]
fn keys_stay_secret_where_they_work_and_where_they_do_not() {
    let service = Service::start();
    let mut evidence = Evidence::default();
    let mut home = traced(&service);
    home.file("a.bin", &noise(1, 1000));
    let run = evidence.take(home.ferry(["upload", "a.bin", "--service", "mavi"])).exits(0);
    let id = run.asset_ids().remove(0);
    for words in [
        vec!["check", "mavi"],
        vec!["services"],
        vec!["services", "--json"],
        vec!["assets", "info", &id],
        vec!["download", &id, "--service", "mavi"],
        vec!["download", "re_unknown", "--service", "mavi"],
        vec!["download", "VI123", "--service", "visual-search"],
        vec!["assets", "delete", &id, "--yes"],
    ] {
        evidence.take(home.ferry(words));
    }
    service.fault(FaultKind::KeyRevoked);
    evidence.take(home.ferry(["upload", "a.bin", "--service", "mavi"])).exits(1).says_error("unauthorized");
    service.heal();
    home.set("FERRY_MAVI_KEY", &format!("sk-wrong-{MARK}"));
    evidence.take(home.ferry(["upload", "a.bin", "--service", "mavi"])).exits(1).says_error("unauthorized");
    evidence.take(home.ferry(["check", "mavi"])).exits(1);
    // A key that no header can hold.
    home.set("FERRY_MAVI_KEY", &format!("sk-\u{1}{MARK}"));
    evidence.take(home.ferry(["check", "mavi"])).exits(1);
    home.set("FERRY_MAVI_KEY", "");
    for input in [format!("sk-{MARK}\n"), format!("sk-\u{1}{MARK}\n"), format!("sk ü {MARK}\n")] {
        evidence.take(home.ferry_with_input(["key", "set", "mavi"], input.as_bytes()));
    }
    evidence.is_clean(&home);
}

/// Repeats what lets in, with nothing around it that would tell what it is.
fn parrot() -> BadServer {
    BadServer::start(|head, _| {
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_once(": ")).map_or("nothing", |(_, value)| value)
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let values: Vec<&str> =
            path.split(['?', '&']).filter_map(|pair| Some(pair.split_once('=')?.1)).collect();
        let told = format!(
            "you are {} and {} with {}, which does not fit",
            header("authorization"),
            header("x-lets-in"),
            values.join(" or ")
        );
        let body = json!({"code": "403", "msg": told, "data": null}).to_string();
        let length = body.len().to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        vec![Step::Send(response("403 Forbidden", &headers, body.as_bytes()))]
    })
}

#[test]
fn what_is_repeated_of_a_key_or_a_signature_stays_secret_also_without_a_name() {
    let parrot = parrot();
    let mut home = Home::new();
    home.set("FERRY_LOG", "trace");
    home.set("FERRY_MAVI_URL", &parrot.url("/v2"));
    home.set("FERRY_MAVI_KEY", &format!("Own{MARK}Key12345abc"));
    home.file("a.bin", b"a");
    let mut evidence = Evidence::default();
    let run = evidence.take(home.ferry(["check", "mavi"])).exits(1);
    assert!(run.stderr.contains("you are ••• and nothing with"), "{}", run.stderr);
    assert!(!run.stdout.contains("key accepted"), "a refusal of everything accepts no key: {}", run.stdout);
    evidence.take(home.ferry(["upload", "a.bin", "--service", "mavi"])).exits(1);
    let signed = format!("/b/a.bin?AWSAccessKeyId=ID{MARK}&Expires=4102444800&Signature=0f1e{MARK}");
    let signed = parrot.url(&signed);
    let run = evidence.take(home.ferry(["upload", "a.bin", "--to", &signed])).exits(1);
    assert!(run.stderr.contains("which does not fit"), "{}", run.stderr);
    let link = parrot.url(&format!("/film.mp4?token=12{MARK}34"));
    let header = format!("X-Lets-In: Custom zz{MARK}99");
    evidence.take(home.ferry(["download", &link, "--header", &header])).exits(1);
    for words in [vec!["queue"], vec!["queue", "--json"]] {
        evidence.take(home.ferry(words)).exits(0);
    }
    evidence.is_clean(&home);
}

#[test]
fn what_the_window_is_told_holds_no_secret() {
    // Outside of the runtime: the service brings one of its own.
    let service = Service::start();
    let home = Home::new();
    tokio::runtime::Runtime::new().unwrap().block_on(tell_the_window(&service, &home));
}

async fn tell_the_window(service: &Service, home: &Home) {
    let mut options = Options::new(home.data());
    options.overrides.retries = Some(1);
    options.resume_unfinished = true;
    options.keys.insert("mavi".into(), Secret::new(KEY));
    options.addresses.insert("mavi".into(), service.mavi_url());
    let engine = Engine::open(options).await.unwrap();
    let mut changes = engine.subscribe();
    let told = tokio::spawn(async move {
        let (mut told, mut ended) = (Vec::new(), HashSet::new());
        loop {
            match changes.recv().await {
                Ok(change) => {
                    let over = |row: &&Transfer| matches!(row.state, State::Completed | State::Failed(_));
                    ended.extend(change.changed.iter().filter(over).map(|row| row.id));
                    told.push(serde_json::to_string(&*change).unwrap());
                }
                // A busy machine: this listener was late, as a window can be.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return (told, ended),
            }
        }
    });

    let mut evidence = Evidence::default();
    let watch = Watch::over(home);
    let mut ids = Vec::new();
    for (number, kind) in KINDS.into_iter().enumerate() {
        service.sign_with(kind);
        let path = home.file(&format!("film-{number}.mp4"), &noise(number as u64, 200_000));
        service.fault(Fault::new(FaultKind::CutUpload { after: 100_000 }).once());
        service.slow(2 << 20);
        if number % 2 == 0 {
            service.fault(Fault::new(echo()).on_path("assets").skip(1).once());
        }
        let request =
            UploadRequest { paths: vec![path], service: Some("mavi".into()), ..UploadRequest::default() };
        let id = engine.upload(request).await.unwrap()[0];
        ended(&engine, id).await;
        ids.push(id);
        service.heal();
    }
    for (name, fault) in [
        ("a.bin", None),
        ("b.bin", Some(Fault::new(FaultKind::Cut { after: 1000 }).once())),
        ("c.bin", Some(echo().into())),
        ("d.bin", Some(FaultKind::Changed { revision: 1 }.into())),
    ] {
        if let Some(fault) = fault {
            service.fault(fault);
        }
        let what = format!("{}?token={MARK}", service.link(100_000, name));
        let request = DownloadRequest { what, folder: Some(home.downloads()), ..DownloadRequest::default() };
        let id = engine.download(request).await.unwrap();
        ended(&engine, id).await;
        ids.push(id);
        service.heal();
    }
    watch.end(&mut evidence);
    evidence.said.push(serde_json::to_string(&engine.snapshot()).unwrap());
    for &id in &ids {
        evidence.said.push(serde_json::to_string(&engine.timeline(id).await.unwrap()).unwrap());
    }
    evidence.said.push(serde_json::to_string(&engine.assets("").await.unwrap()).unwrap());
    evidence.said.push(serde_json::to_string(&engine.check("mavi").await.unwrap()).unwrap());
    engine.shutdown().await;
    drop(engine);
    let (told, over) =
        tokio::time::timeout(Duration::from_secs(5), told).await.expect("the stream ends").unwrap();
    assert_eq!(over, HashSet::from_iter(ids), "the end of every transfer is told");
    evidence.said.extend(told);
    evidence.is_clean(home);
}

async fn ended(engine: &Engine, id: ferry_engine::TransferId) {
    for _ in 0..3000 {
        let state = engine.transfer(id).unwrap().state;
        if matches!(state, State::Completed | State::Failed(_)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still {:?}", engine.transfer(id));
}

/// Runs in a process of its own, as the environment is all of it.
#[test]
fn no_program_that_is_started_inherits_a_key_and_the_engine_has_it_all_the_same() {
    const NAME: &str = "no_program_that_is_started_inherits_a_key_and_the_engine_has_it_all_the_same";
    const KEYS: [&str; 3] = ["FERRY_MAVI_KEY", "FERRY_VISUAL_SEARCH_KEY", "FERRY_SERVICE_TO_COME_KEY"];
    if std::env::var_os("TEST_APART").is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture"]).env("TEST_APART", "1").env("FERRY_LOG", "warn");
        for key in KEYS {
            command.env(key, format!("sk-{MARK}"));
        }
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let inherited =
        |command: &mut std::process::Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(inherited(&mut std::process::Command::new("env")).matches(MARK).count(), 3);
    #[allow(unsafe_code, reason = "nothing in this process reads the environment meanwhile")]
    // SAFETY: the thread that waits for this test does nothing else.
    unsafe {
        ferry_engine::take_keys_from_environment();
    }
    let now = inherited(&mut std::process::Command::new("env"));
    assert!(!now.contains(MARK) && now.contains("FERRY_LOG=warn"), "{now}");
    let mut again = std::process::Command::new("env");
    ferry_engine::hand_on_keys(&mut again);
    let again = inherited(&mut again);
    assert!(KEYS.iter().all(|key| again.contains(&format!("{key}=sk-{MARK}\n"))), "{again}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engine = runtime.block_on(Engine::open(Options::new(folder.path().join("data")))).unwrap();
    for status in
        engine.services().into_iter().filter(|status| matches!(&*status.id, "mavi" | "visual-search"))
    {
        assert_eq!(status.key, ferry_engine::KeyState::Variable, "{}", status.id);
    }
    runtime.block_on(engine.shutdown());
}
