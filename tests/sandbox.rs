//! The sandbox is nobody else's: what another user of the computer, a program of theirs on its port, and a web page get
//! from it. `docs/security.md` names these tests.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test that can do less says so")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::files::{all_below, noise};
use support::home::{Home, Started, wait_until};
use support::http::request;
use support::peers::{free_port, is_root};

const MIB: usize = 1 << 20;
/// The user `nobody`, who has nothing and belongs to no group of ours.
const NOBODY: u32 = 65_534;
/// The name by which a sandbox inside the process is asked.
const INSIDE: &str = "http://ferry-sandbox.localhost";

/// `ferry sandbox`, and what it told.
struct Server {
    port: u16,
    key: String,
    told: Value,
    home: Home,
    process: Started,
}

impl Server {
    fn start() -> Self {
        Self::start_in(Home::new())
    }

    fn start_in(home: Home) -> Self {
        let port = free_port();
        let out = home.path().join("told");
        // What an earlier one told is not what this one tells.
        let _ = fs::remove_file(&out);
        // A umask that takes nothing away: what is private is so by itself.
        let script = format!("umask 000; exec \"$0\" \"$@\" > '{}'", out.display());
        let words = ["sandbox", "--json", "--port", &port.to_string()].map(str::to_owned);
        let process = home.start_under(&["sh".to_owned(), "-c".to_owned(), script], words);
        let mut told = Value::Null;
        wait_until("the sandbox listens", || {
            let line = fs::read_to_string(&out).unwrap_or_default();
            told = serde_json::from_str(&line).unwrap_or_default();
            told.is_object()
        });
        let key = told["key"].as_str().unwrap().to_owned();
        Self { port, key, told, home, process }
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn base(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    fn root(&self) -> PathBuf {
        self.home.data().join("sandbox-server")
    }

    /// A file that was sent to it: its id and its signed URL.
    fn sent(&self, bytes: &[u8]) -> (String, String) {
        let sign = format!("{}/mavi/serve/api/v2/upload/signed-url", self.origin());
        let answer = support::http::post_json(&sign, &self.key, &json!({"original_filename": "film.mp4"}));
        let url = answer["data"]["signed_url"].as_str().unwrap().to_owned();
        let id = answer["data"]["asset_id"].as_str().unwrap().to_owned();
        self.home.file("film.mp4", bytes);
        self.home.ferry(["upload", "film.mp4", "--to", &url]).exits(0);
        (id, url)
    }

    /// Its highest use of memory so far, in MiB.
    #[cfg(target_os = "linux")]
    fn peak(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }
}

/// A program as another user starts it, where there is a way to become one.
fn as_another(program: &str) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        eprintln!("not as another user: only root can become one; it is asked as a stranger all the same");
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// What another user is answered over HTTP: the status and the body.
fn asked_by_another(method: &str, url: &str, headers: &[&str], body: &str) -> (u16, String) {
    let mut command = as_another("curl");
    command.args(["-sS", "-q", "--noproxy", "*", "-m", "20", "-X", method, "-w", "\n%{http_code}"]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output =
        command.args(["--data-binary", body, url]).output().expect("curl (`cargo xtask setup test`)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// Whether an answer gives nothing: Visual Search spells its refusals under 200.
fn is_refused((status, body): &(u16, String)) -> bool {
    (400..500).contains(status) || (*status == 200 && body.contains("\"0401\""))
}

#[test]
fn another_user_who_finds_the_port_lists_reads_and_deletes_nothing() {
    let server = Server::start();
    let secret = noise(1, 100_000);
    let (id, signed) = server.sent(&secret);
    let origin = server.origin();
    let object = signed.split_once('?').unwrap().0;
    let mavi = format!("{origin}/mavi/serve/api/v2");
    let search = format!("{origin}/search/serve/api/v1");
    let video = id.replace("re_", "VI");
    let attempts = [
        ("GET", format!("{mavi}/{id}/metadata"), String::new()),
        ("GET", format!("{mavi}/{id}/download"), String::new()),
        ("DELETE", format!("{mavi}/{id}"), String::new()),
        ("POST", format!("{mavi}/upload/signed-url"), json!({"original_filename": "a"}).to_string()),
        ("POST", format!("{search}/list_videos"), "{}".to_owned()),
        ("POST", format!("{search}/download"), json!({"video_no": video}).to_string()),
        ("GET", format!("{origin}/tube/api/downloads"), String::new()),
        ("POST", format!("{origin}/tube/api/download"), json!({"url": "https://h/a"}).to_string()),
        ("GET", object.to_owned(), String::new()),
        ("PUT", object.to_owned(), "other".to_owned()),
        ("DELETE", object.to_owned(), String::new()),
        ("GET", format!("{origin}/files/a"), String::new()),
        ("GET", format!("{origin}/generate/10/a"), String::new()),
        ("PUT", format!("{origin}/sink"), "a".to_owned()),
        ("GET", format!("{origin}/mirror/0/tube/api/downloads"), String::new()),
        ("GET", format!("{origin}/%74ube/api/downloads"), String::new()),
        ("GET", format!("{origin}//tube/api/downloads"), String::new()),
        ("GET", format!("{origin}/_sandbox/requests"), String::new()),
    ];
    let guesses = ["", "sandbox-key", "anything", &server.key[1..], &server.key.to_uppercase()];
    for (method, url, body) in &attempts {
        for guess in guesses {
            let key = format!("Authorization: {guess}");
            let answer = asked_by_another(method, url, &[&key, "Content-Type: application/json"], body);
            assert!(is_refused(&answer), "{method} {url} with {guess:?}: {answer:?}");
        }
    }
    // The same with a pass of another run.
    let other = Server::start();
    let stranger = other.base("offline_tube_url").replace(&other.origin(), &origin);
    assert!(is_refused(&asked_by_another("GET", &format!("{stranger}/api/downloads"), &[], "")));

    // It is all still there, for those who were told.
    let kept = format!("{mavi}/{id}/download");
    assert_eq!(request("GET", &kept, &[("Authorization", &server.key)], b""), (200, secret));
    let jobs = format!("{}/api/downloads", server.base("offline_tube_url"));
    assert_eq!(request("GET", &jobs, &[], b""), (200, b"[]".to_vec()));
}

#[test]
fn the_switches_of_tests_are_not_in_the_program() {
    let server = Server::start();
    for (method, name) in [
        ("GET", "faults"),
        ("POST", "faults"),
        ("DELETE", "faults"),
        ("GET", "requests"),
        ("DELETE", "requests"),
        ("GET", "settings"),
        ("POST", "settings"),
        ("POST", "trust"),
    ] {
        let body = json!({"fault": "no_answer", "signed_urls": "form"}).to_string();
        let headers = [("Authorization", server.key.as_str()), ("Content-Type", "application/json")];
        for base in [server.origin(), server.base("links_url").to_owned()] {
            let (status, answer) =
                request(method, &format!("{base}/_sandbox/{name}"), &headers, body.as_bytes());
            assert!((400..500).contains(&status), "{method} {name}: {status} {answer:?}");
        }
    }
}

#[test]
fn a_web_page_makes_no_job_even_if_it_knows_the_address() {
    let server = Server::start();
    let start = format!("{}/api/download", server.base("offline_tube_url"));
    let job = json!({"url": "https://video.example/watch?v=1"}).to_string();
    let send = |url: &str, headers: &[(&str, &str)]| request("POST", url, headers, job.as_bytes()).0;
    for page in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        // What a page may send without being asked first.
        assert_eq!(send(&start, &[page, ("Content-Type", "text/plain")]), 403, "{page:?}");
    }
    // A browser asks first, and is given no leave.
    let asked = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "DELETE")];
    assert_eq!(request("OPTIONS", &start, &asked, b"").0, 403);

    // A name that the page had pointed here (DNS rebinding): then the browser takes it for its own.
    let path = start.strip_prefix(&server.origin()).unwrap();
    for host in
        ["evil.example", &format!("evil.example:{}", server.port), "127.0.0.1.evil.example", "", "localhost."]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let head =
            format!("POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{job}", job.len());
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 421 ") || answer.starts_with("HTTP/1.0 421 "),
            "{host}: {answer}"
        );
    }

    let jobs = format!("{}/api/downloads", server.base("offline_tube_url"));
    assert_eq!(request("GET", &jobs, &[], b""), (200, b"[]".to_vec()), "none of them made one");
    assert_eq!(send(&start, &[("Content-Type", "application/json")]), 200, "a program may");
}

#[test]
fn nothing_listens_while_the_engines_own_sandbox_is_used() {
    let home = Home::new();
    home.file("film.mp4", &noise(2, 20 * MIB));
    let upload = home.start(["upload", "film.mp4", "--limit-rate", "1M"]);
    let sessions = home.data().join("sandbox/sessions");
    wait_until("bytes have come", || part_bytes(&sessions) > 0);
    #[cfg(target_os = "linux")]
    {
        // The queue's own socket, in the folder that is the user's alone, leads to no sandbox.
        let mut found = listening(upload.id());
        let socket = home.data().join("socket").display().to_string();
        found.retain(|line| !line.ends_with(&socket));
        assert_eq!(found, Vec::<String>::new());
    }

    // The files are all that there is to be had, and they are private.
    let text = as_another("ls").arg("-R").arg(home.data().join("sandbox")).output().unwrap();
    if is_root() {
        assert!(!text.status.success() && text.stdout.is_empty(), "{text:?}");
    }
    upload.kill();
    assert_private(&home.data().join("sandbox"));
    assert!(!home.data().join("sandbox/port").exists());
}

/// Bytes of unfinished uploads.
fn part_bytes(sessions: &Path) -> u64 {
    let entries = fs::read_dir(sessions).into_iter().flatten().flatten();
    let parts = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "part"));
    parts.filter_map(|part| part.metadata().ok()).map(|about| about.len()).sum()
}

/// What of a process can be connected to, as the system lists it.
#[cfg(target_os = "linux")]
fn listening(process: u32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let own: HashSet<String> = open
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    // Columns of the state and of the inode, and what the state is of a socket that listens.
    for (table, state, inode, listens) in
        [("tcp", 3, 9, "0A"), ("tcp6", 3, 9, "0A"), ("unix", 3, 6, "00010000")]
    {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns.get(state) == Some(&listens)
                && columns.get(inode).is_some_and(|inode| own.contains(*inode))
            {
                found.push(line.to_owned());
            }
        }
    }
    found
}

/// A folder and all that is in it, links as what they are.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        if path.is_dir() && !path.is_symlink() {
            found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
        next += 1;
    }
    found
}

#[track_caller]
fn assert_private(folder: &Path) {
    for path in tree(folder) {
        let about = path.symlink_metadata().unwrap();
        if about.is_symlink() {
            continue;
        }
        let wanted = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(about.mode() & 0o777, wanted, "{}", path.display());
    }
}

/// A port that somebody else holds now, and how many came to it.
fn squatted() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, came) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            drop(stream);
        }
    });
    (port, came)
}

#[test]
fn a_kept_session_goes_on_in_the_sandbox_that_runs_now() {
    let home = Home::new();
    let film = noise(3, 6 * MIB);
    home.file("film.mp4", &film);
    let upload = home.start(["upload", "film.mp4", "--limit-rate", "2M"]);
    let sessions = home.data().join("sandbox/sessions");
    wait_until("a good part has come", || part_bytes(&sessions) > MIB as u64);
    upload.kill();
    let kept = part_bytes(&sessions) / (256 << 10) * (256 << 10);
    let run = home.ferry(["resume", "--json"]).exits(0);
    let moved = run.objects().into_iter().filter(|event| event["event"] == "progress");
    let least = moved.filter_map(|event| event["bytes"].as_u64()).filter(|bytes| *bytes > 0).min();
    assert!(least.is_none_or(|least| least >= kept), "it began at {least:?}, and {kept} were kept");
    let id = run.objects().iter().find_map(|event| event["asset_id"].as_str().map(str::to_owned)).unwrap();
    home.ferry(["download", &id]).exits(0);
    assert!(fs::read(home.downloads().join("film.mp4")).unwrap() == film);
}

/// As an older version left it, which listened on a port and remembered it.
#[test]
fn a_port_that_was_taken_after_a_kill_is_sent_nothing_on_resume() {
    let home = Home::new();
    let film = noise(4, 6 * MIB);
    home.file("film.mp4", &film);
    let upload = home.start(["upload", "film.mp4", "--limit-rate", "2M"]);
    wait_until("a good part has come", || part_bytes(&home.data().join("sandbox/sessions")) > MIB as u64);
    upload.kill();

    let (port, came) = squatted();
    fs::write(home.data().join("sandbox/port"), port.to_string()).unwrap();
    let mut changed = 0;
    for path in all_below(&home.data().join("resume")) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        changed += text.matches(INSIDE).count();
        fs::write(&path, text.replace(INSIDE, &format!("http://127.0.0.1:{port}"))).unwrap();
    }
    assert!(changed >= 2, "the signed URL and its session were kept");

    let run = home.ferry(["resume"]).exits(0);
    assert_eq!(came.load(Ordering::Relaxed), 0, "nobody else was asked");
    home.ferry(["download", &run.asset_ids()[0]]).exits(0);
    assert!(fs::read(home.downloads().join("film.mp4")).unwrap() == film);
}

/// Neither a link of a user's own nor a redirect by a server has the key, and the name leads into no network.
#[test]
fn the_name_of_the_engines_own_sandbox_is_no_way_in_and_no_way_out() {
    let home = Home::new();
    home.file("film.mp4", &noise(5, 1000));
    let id = home.ferry(["upload", "film.mp4"]).exits(0).asset_ids().remove(0);
    let (port, came) = squatted();
    for name in [INSIDE.to_owned(), format!("{INSIDE}:{port}"), INSIDE.to_uppercase().replace("HTTP", "http")]
    {
        for path in
            [format!("/mavi/serve/api/v2/{id}/download"), "/files/a".to_owned(), "/generate/9/a".to_owned()]
        {
            home.ferry(["download", &format!("{name}{path}"), "--retries", "0"]).exits(1);
        }
    }
    assert_eq!(came.load(Ordering::Relaxed), 0);
    assert_eq!(home.downloaded(), Vec::<String>::new());
}

#[test]
fn what_is_kept_is_private_whatever_the_umask_and_whatever_an_older_version_left() {
    let home = Home::new();
    home.file("film.mp4", &noise(6, 1000));
    let open = ["sh", "-c", "umask 000; exec \"$0\" \"$@\""].map(str::to_owned);
    let id = home.ferry_under(&open, ["upload", "film.mp4"]).exits(0).asset_ids().remove(0);
    let root = home.data().join("sandbox");
    assert_private(&root);

    // As it was before.
    for path in tree(&root) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    home.ferry(["download", &id]).exits(0);
    assert_private(&root);

    let server = Server::start();
    server.sent(&noise(7, 1000));
    assert_private(&server.root());
}

/// An older version let everybody read the secret that signs, name keys to trust, and see the ids of sessions.
#[test]
fn what_others_may_have_read_or_planted_before_opens_nothing_now() {
    let server = Server::start();
    let (_, known) = server.sent(&noise(9, 1000));
    let Server { home, process, .. } = server;
    process.kill();
    let root = home.data().join("sandbox-server");
    let secret = fs::read(root.join("secret")).unwrap();
    fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(root.join("trusted")).unwrap();
    fs::write(root.join("trusted/a.json"), r#"{"access_id":"AKIAPLANTED","secret":"planted"}"#).unwrap();
    let session = fs::read_dir(root.join("sessions")).unwrap().flatten().next().unwrap().path();
    let session = session.file_stem().unwrap().to_str().unwrap().to_owned();

    let server = Server::start_in(home);
    assert_ne!(fs::read(server.root().join("secret")).unwrap(), secret);
    let path =
        known.split_once('?').unwrap().0.rsplit_once("127.0.0.1:").unwrap().1.split_once('/').unwrap().1;
    let session = format!("{}/{path}?upload_id={session}", server.origin());
    assert_eq!(request("PUT", &session, &[("Content-Range", "bytes */1000")], b"").0, 404);
    let planted = format!(
        "{}/{path}?AWSAccessKeyId=AKIAPLANTED&Expires=99999999999&Signature=MTIzNDU2Nzg5MDEyMzQ1Njc4OTA%3D",
        server.origin()
    );
    let (status, answer) = request("GET", &planted, &[], b"");
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&answer).contains("InvalidAccessKeyId"), "nobody is known by that name");
    assert_private(&server.root());
}

#[test]
fn no_link_below_the_root_is_followed() {
    let home = Home::new();
    let root = home.data().join("sandbox-server");
    let outside = home.path().join("outside");
    fs::create_dir_all(root.join("files/inner")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), "a secret").unwrap();
    fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink(outside.join("secret"), root.join("files/direct")).unwrap();
    symlink(&outside, root.join("files/folder")).unwrap();
    symlink("../../../outside", root.join("files/inner/relative")).unwrap();
    fs::write(root.join("files/plain"), "plain").unwrap();
    let server = Server::start_in(home);
    let links = server.base("links_url");
    let get = |name: &str| request("GET", &format!("{links}/files/{name}"), &[], b"");
    for name in
        ["direct", "folder/secret", "inner/relative/secret", "inner/..%2f..%2fsecret", "..%2fsecret", "inner"]
    {
        assert_eq!(get(name).0, 404, "{name}");
    }
    assert_eq!(get("plain"), (200, b"plain".to_vec()));
    assert_eq!(
        fs::metadata(outside.join("secret")).unwrap().mode() & 0o777,
        0o644,
        "nothing of it was touched"
    );
    assert_private(&server.root());
}

#[test]
fn a_root_that_leads_away_or_holds_what_is_somebody_elses_is_not_used() {
    let home = Home::new();
    home.file("film.mp4", &noise(8, 1000));
    let (root, outside) = (home.data().join("sandbox"), home.path().join("outside"));
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(home.data()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o700)).unwrap();
    for link in [root.clone(), root.join("objects"), root.join("sessions")] {
        if link != root {
            fs::create_dir_all(&root).unwrap();
        }
        symlink(&outside, &link).unwrap();
        let run = home.ferry(["upload", "film.mp4", "--retries", "0"]).exits(1);
        assert!(run.stderr.contains("is a link"), "{}", run.stderr);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{}", link.display());
        fs::remove_file(&link).unwrap();
    }
    if !is_root() {
        eprintln!("skipped in part: only root can give a file to another user");
        return;
    }
    // A record that somebody put there would say which file is whose.
    let planted = root.join("assets/re_1.json");
    fs::create_dir_all(root.join("assets")).unwrap();
    fs::write(&planted, "{}").unwrap();
    std::os::unix::fs::chown(&planted, Some(NOBODY), Some(NOBODY)).unwrap();
    let run = home.ferry(["upload", "film.mp4", "--retries", "0"]).exits(1);
    assert!(run.stderr.contains("belongs to another user"), "{}", run.stderr);
    fs::remove_file(&planted).unwrap();
    home.ferry(["upload", "film.mp4"]).exits(0);
}

/// Sends a body of so many bytes, as far as it is taken, and gives the status of the answer.
#[cfg(target_os = "linux")]
fn pour(port: u16, head: &str, beginning: &str, bytes: usize) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let all = bytes + beginning.len();
    let head = format!("{head}Host: 127.0.0.1:{port}\r\nContent-Length: {all}\r\n\r\n{beginning}");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'a'; MIB];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        // It may well have answered and closed.
        if stream.write_all(&piece[..now]).is_err() {
            break;
        }
        left -= now;
    }
    let mut answer = [0; 12];
    let _ = stream.read_exact(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[cfg(target_os = "linux")]
#[test]
fn no_body_stands_in_memory_whatever_its_size() {
    const LARGE: usize = 300 * MIB;
    /// More than the program needs at rest, far less than any of these bodies.
    const MOST: usize = 96;
    let server = Server::start();
    let key = format!("Authorization: {}\r\n", server.key);
    let json = format!("{key}Content-Type: application/json\r\n");
    let boundary = "Content-Type: multipart/form-data; boundary=b\r\n";
    for path in [
        "/mavi/serve/api/v2/upload/signed-url",
        "/search/serve/api/v1/download",
        "/search/serve/api/v1/list_videos",
        "/tube/api/download",
    ] {
        let status = pour(server.port, &format!("POST {path} HTTP/1.1\r\n{json}"), "{\"url\":\"", LARGE);
        assert!(matches!(status, 0 | 413), "{path}: {status}");
        assert!(server.peak() < MOST, "{path}: {} MiB", server.peak());
    }
    // A form has parts, and each of them could be endless: what is before the first, its head, a field, the file.
    let part = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    for (what, beginning) in [
        ("preamble", String::new()),
        ("head", "--b\r\nContent-Disposition: form-data; name=\"".to_owned()),
        ("field", part("key")),
        ("file", format!("{}k\r\n{}", part("key"), part("file"))),
    ] {
        pour(server.port, &format!("POST /bucket HTTP/1.1\r\n{boundary}"), &beginning, LARGE);
        assert!(server.peak() < MOST, "{what}: {} MiB", server.peak());
    }
    let head = format!("PUT /sink HTTP/1.1\r\n{key}");
    assert_eq!(pour(server.port, &head, "", 2500 * MIB), 200);
    assert!(server.peak() < MOST, "sink: {} MiB", server.peak());

    // The only one of them that is kept is one that was signed for.
    let (_, url) = server.sent(b"small");
    let sink = server.root().join("objects/incoming");
    assert_eq!(fs::read_dir(sink).unwrap().count(), 0);
    let (path, _) = url.split_once('?').unwrap();
    assert_eq!(request("PUT", path, &[], b"unsigned").0, 403);
}
