//! Roads inward: what a server out in the world names must lie out there. Each test runs in a network of its own, in which
//! 203.0.113.7 and 203.0.113.8 (addresses for documentation, which nobody has) stand for the world, and 127.0.0.1 and
//! 10.9.8.7 for this computer and its network. The names are in a hosts file that the tests change.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "support/bad_server.rs"]
mod bad_server;
#[path = "support/mod.rs"]
mod support;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bad_server::{range_start, response};
use serde_json::{Value, json};
use support::files::{assert_holds, noise};
use support::home::Home;
use tempfile::TempDir;

const WORLD: &str = "203.0.113.7";
const MIRROR: &str = "203.0.113.8";
const HERE: &str = "127.0.0.1";
const NEAR: &str = "10.9.8.7";
/// Set for a test that is in its own network: the hosts file.
const APART: &str = "FERRY_TEST_HOSTS";
const NAMES: &str = "\
127.0.0.1 localhost here.example both.example proxy.example
203.0.113.7 world.example both.example
203.0.113.8 mirror.example
10.9.8.7 near.example
";

/// Runs the test of this name in a network of its own; there it goes on. `None` where it is to end: it ran there, or there
/// can be none.
fn apart(test: &str) -> Option<Hosts> {
    if let Some(hosts) = std::env::var_os(APART) {
        return Some(Hosts(hosts.into()));
    }
    let folder = TempDir::new().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, NAMES).unwrap();
    let begin = "ip link set lo up && for a in 203.0.113.7 203.0.113.8 10.9.8.7; do ip addr add $a/32 dev lo; done \
        && mount --bind \"$FERRY_TEST_HOSTS\" /etc/hosts && exec \"$0\" \"$@\"";
    let within = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["-rnm", "sh", "-c", begin]).arg(program).env(APART, &hosts);
        command
    };
    // Where even this does not run, it is not Ferry that fails: no such networks here, or a data folder that belongs to
    // nobody in them.
    let home = Home::new();
    let data = home.data();
    let mut tried = within(Path::new(env!("CARGO_BIN_EXE_ferry")));
    let tried = tried.arg("queue").env("FERRY_DATA_DIR", data).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        eprintln!("skipped: no network of one's own can be made here");
        return None;
    }
    let ran =
        within(&std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    None
}

/// The names that there are.
struct Hosts(std::path::PathBuf);

impl Hosts {
    /// From now on this name leads somewhere else.
    fn change(&self, name: &str, address: &str) {
        let others = NAMES.replace(name, "");
        // In place: it is this very file that the system sees.
        std::fs::write(&self.0, format!("{others}{address} {name}\n")).unwrap();
    }
}

/// What a server answers to a request's head, given its number (0 = first): bytes, after which it closes.
type Answers = Arc<dyn Fn(&str, usize) -> Vec<u8> + Send + Sync>;

/// A server at one address; with a certificate it speaks TLS.
struct Server {
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(
        address: &str,
        port: u16,
        secure: Option<&Secure>,
        answers: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> (Self, u16) {
        let listener = TcpListener::bind((address, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<AtomicUsize>::default();
        let (count, answers) = (Arc::clone(&asked), Arc::new(answers) as Answers);
        let config = secure.map(|secure| Arc::clone(&secure.config));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::AcqRel);
                let (answers, config) = (Arc::clone(&answers), config.clone());
                // A client that breaks off is its own business.
                std::thread::spawn(move || drop(serve(stream, config, &answers, number)));
            }
        });
        (Self { asked }, port)
    }

    /// How many connections came.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }
}

fn serve(
    mut stream: TcpStream,
    config: Option<Arc<rustls::ServerConfig>>,
    answers: &Answers,
    number: usize,
) -> std::io::Result<()> {
    let Some(config) = config else { return answer(&mut stream, answers, number) };
    let mut session = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    answer(&mut rustls::Stream::new(&mut session, &mut stream), answers, number)?;
    session.send_close_notify();
    session.complete_io(&mut stream).map(drop)
}

/// Reads one request, its body included, and answers it.
fn answer(
    stream: &mut (impl std::io::Read + std::io::Write),
    answers: &Answers,
    number: usize,
) -> std::io::Result<()> {
    let (mut came, mut some) = (Vec::new(), vec![0; 64 * 1024]);
    let end = loop {
        if let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut some)?;
        if read == 0 {
            return Ok(());
        }
        came.extend_from_slice(&some[..read]);
    };
    let head = String::from_utf8_lossy(&came[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut left = length.unwrap_or(0_usize).saturating_sub(came.len() - end);
    while left > 0 {
        let read = stream.read(&mut some)?;
        if read == 0 {
            return Ok(());
        }
        left = left.saturating_sub(read);
    }
    stream.write_all(&answers(&head, number))?;
    stream.flush()
}

fn redirect(to: &str) -> Vec<u8> {
    response("302 Found", &[("Location", to), ("Content-Length", "0"), ("Connection", "close")], b"")
}

fn file(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_string();
    response("200 OK", &[("Content-Length", &length), ("Connection", "close")], bytes)
}

/// The path of a request without its slash.
fn asked_for(head: &str) -> String {
    head.split([' ', '?']).nth(1).unwrap_or_default().trim_start_matches('/').to_owned()
}

/// A server that leads wherever its path says: `/to/http/host:port/path`.
fn leads_on(head: &str) -> Option<Vec<u8>> {
    let path = asked_for(head);
    let (scheme, rest) = path.strip_prefix("to/")?.split_once('/')?;
    Some(redirect(&format!("{scheme}://{rest}")))
}

/// A certificate for all names and addresses of these tests, and a home that trusts it.
struct Secure {
    config: Arc<rustls::ServerConfig>,
    authority: String,
}

impl Secure {
    fn new() -> Self {
        let names =
            [WORLD, MIRROR, HERE, NEAR, "world.example", "mirror.example", "here.example", "localhost"];
        let key = rcgen::KeyPair::generate().unwrap();
        let mut about = rcgen::CertificateParams::new(Vec::new()).unwrap();
        about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = about.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(about, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let about = rcgen::CertificateParams::new(names.map(str::to_owned)).unwrap();
        let certificate = about.signed_by(&key, &issuer).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self { config: Arc::new(config), authority: authority.pem() }
    }

    fn home(&self) -> Home {
        let mut home = Home::new();
        let trusted = home.file("authority.pem", self.authority.as_bytes());
        home.set("SSL_CERT_FILE", trusted.to_str().unwrap());
        home
    }
}

#[test]
fn whoever_is_outside_leads_nobody_inside() {
    let Some(_hosts) = apart("whoever_is_outside_leads_nobody_inside") else { return };
    let (here, port) = Server::start(HERE, 0, None, |_, _| file(b"secret"));
    let (near, _) = Server::start(NEAR, port, None, |_, _| file(b"secret"));
    let (here6, _) = Server::start("::1", port, None, |_, _| file(b"secret"));
    let (world, open) =
        Server::start(WORLD, 0, None, |head, _| leads_on(head).unwrap_or_else(|| file(b"open")));
    let home = Home::new();
    let mut asked = 0;
    for inside in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.9.8.7]",
        "[64:ff9b::a09:807]",
        "10.9.8.7",
        "169.254.169.254",
        "localhost",
        "localhost.",
        "a.localhost",
        "ferry-sandbox.localhost",
        "here.example",
        "near.example",
    ] {
        for outside in [WORLD, "world.example"] {
            let link =
                format!("http://{outside}:{open}/to/http/{inside}:{port}/secret.txt?token=marked5ecret");
            let run = home.ferry(["download", &link]).exits(1).says_error("insecure_redirect");
            let run = run.hides("marked5ecret");
            assert!(run.stderr.contains("your own network"), "{link}: {}", run.stderr);
            asked += 1;
            assert_eq!(world.asked(), asked, "tried again: {link}");
        }
    }
    assert_eq!([here.asked(), near.asked(), here6.asked()], [0; 3]);
    assert_eq!(home.downloaded(), Vec::<String>::new());

    // The same with more than one step, and by way of an insider who was named from outside: he is never asked.
    let steps =
        format!("http://{WORLD}:{open}/to/http/world.example:{open}/to/http/{HERE}:{port}/secret.txt");
    home.ferry(["download", &steps]).exits(1).says_error("insecure_redirect");
    assert_eq!(here.asked(), 0);
}

#[test]
fn of_a_name_that_leads_both_ways_only_the_public_address_is_asked() {
    let Some(_hosts) = apart("of_a_name_that_leads_both_ways_only_the_public_address_is_asked") else {
        return;
    };
    let (here, port) = Server::start(HERE, 0, None, |_, _| file(b"secret"));
    let (_world, _) =
        Server::start(WORLD, port, None, |head, _| leads_on(head).unwrap_or_else(|| file(b"open")));
    let home = Home::new();
    home.ferry(["download", &format!("http://{WORLD}:{port}/to/http/both.example:{port}/a.txt")]).exits(0);
    assert_holds(&home.downloads().join("a.txt"), b"open");
    assert_eq!(here.asked(), 0);
}

#[test]
fn a_name_that_changes_its_mind_in_between_gains_nothing() {
    let Some(hosts) = apart("a_name_that_changes_its_mind_in_between_gains_nothing") else { return };
    let (here, port) = Server::start(HERE, 0, None, |_, _| file(b"secret"));
    let (_world, open) = Server::start(WORLD, 0, None, move |_, _| {
        hosts.change("world.example", HERE);
        redirect(&format!("http://world.example:{port}/secret.txt"))
    });
    let home = Home::new();
    home.ferry(["download", &format!("http://world.example:{open}/a.txt")])
        .exits(1)
        .says_error("insecure_redirect");
    assert_eq!(here.asked(), 0);
}

#[test]
fn what_the_user_names_may_lie_inside_and_name_neighbours() {
    let Some(_hosts) = apart("what_the_user_names_may_lie_inside_and_name_neighbours") else { return };
    let (_here, port) =
        Server::start(HERE, 0, None, |head, _| leads_on(head).unwrap_or_else(|| file(b"here")));
    let (near, _) =
        Server::start(NEAR, port, None, |head, _| leads_on(head).unwrap_or_else(|| file(b"near")));
    let (_world, _) =
        Server::start(WORLD, port, None, |head, _| leads_on(head).unwrap_or_else(|| file(b"world")));
    let home = Home::new();
    let brings = |link: &str, content: &str| {
        let run = home.ferry(["download", &link.replace("PORT", &port.to_string())]).exits(0);
        assert_holds(Path::new(run.stdout.trim_end()), content.as_bytes());
    };
    for own in [HERE, "here.example", "localhost", "a.localhost", "localhost."] {
        brings(&format!("http://{own}:PORT/a.txt"), "here");
        brings(&format!("http://{own}:PORT/to/http/near.example:PORT/a.txt"), "near");
        brings(&format!("http://{own}:PORT/to/http/{WORLD}:PORT/a.txt"), "world");
    }
    // A name that leads both ways is the user's, too, and where it began anybody may lead back to.
    brings(&format!("http://near.example:PORT/to/http/{HERE}:PORT/a.txt"), "here");
    brings(&format!("http://{HERE}:PORT/to/http/{WORLD}:PORT/to/http/{HERE}:PORT/a.txt"), "here");
    // A neighbour of whom the user said nothing is not meant by a stranger whom an insider names.
    let asked = near.asked();
    let link = format!("http://{HERE}:{port}/to/http/{WORLD}:{port}/to/http/{NEAR}:{port}/a.txt");
    home.ferry(["download", &link]).exits(1).says_error("insecure_redirect");
    assert_eq!(near.asked(), asked);
}

#[test]
fn where_a_link_led_before_is_judged_again_when_it_goes_on() {
    let Some(hosts) = apart("where_a_link_led_before_is_judged_again_when_it_goes_on") else { return };
    let bytes = noise(3, 600_000);
    let part = |bytes: &[u8], from: usize| {
        let (length, range) =
            ((bytes.len() - from).to_string(), format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()));
        let mut headers =
            vec![("Content-Length", length.as_str()), ("ETag", "\"1\""), ("Connection", "close")];
        if from > 0 {
            headers.push(("Content-Range", &range));
        }
        response(if from > 0 { "206 Partial Content" } else { "200 OK" }, &headers, &bytes[from..])
    };
    for forgets in [false, true] {
        hosts.change("mirror.example", MIRROR);
        let (whole, served) = (bytes.clone(), bytes.clone());
        let (mirror, port) = Server::start(MIRROR, 0, None, move |_, _| {
            let mut answer = part(&whole, 0);
            answer.truncate(answer.len() - 200_000);
            answer
        });
        let (here, _) = Server::start(HERE, port, None, |_, _| file(b"secret"));
        let (world, open) = Server::start(WORLD, 0, None, move |head, number| match number {
            0 => redirect(&format!("http://mirror.example:{port}/f.bin")),
            _ => part(&served, range_start(head).unwrap_or(0)),
        });
        let home = Home::new();
        let link = format!("http://{WORLD}:{open}/f.bin");
        home.ferry(["download", &link, "--retries", "0"]).exits(1);
        assert_eq!((world.asked(), mirror.asked()), (1, 1));
        let record = only_record(&home);
        let text = std::fs::read_to_string(&record).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(kept["pinned_reach"], "outward", "{}", kept["pinned_reach"]);
        if forgets {
            forget(&record, &text, "pinned_reach");
        }
        hosts.change("mirror.example", HERE);
        home.ferry(["retry", "--retries", "0"]).exits(0);
        assert_holds(&home.downloads().join("f.bin"), &bytes);
        assert_eq!((here.asked(), mirror.asked()), (0, 1), "it went on at the link itself");
    }
}

/// Leaves a note out of a record, as an earlier Ferry wrote it.
fn forget(record: &Path, text: &str, note: &str) {
    let without = text.replace(&format!("\"{note}\":\"outward\","), "");
    assert_ne!(without, text);
    std::fs::write(record, without).unwrap();
}

fn only_record(home: &Home) -> std::path::PathBuf {
    let mut records = std::fs::read_dir(home.data().join("resume")).unwrap().flatten();
    let record = records.next().expect("a record").path();
    assert!(records.next().is_none());
    record
}

#[test]
fn a_service_outside_names_no_store_inside_and_one_inside_may() {
    let Some(_hosts) = apart("a_service_outside_names_no_store_inside_and_one_inside_may") else { return };
    let secure = Secure::new();
    let (here, port) = Server::start(HERE, 0, Some(&secure), |_, _| file(b""));
    let signs = move |place: &str| {
        let url = format!("https://{place}:{port}/o?X-Amz-Signature=marked5ecret00");
        move |head: &str, _: usize| {
            let data = if head.contains("/metadata") {
                json!({"resource": [{"asset_id": "re_1", "file_size": 7, "upload_status": "SUCCESS"}]})
            } else {
                json!({"asset_id": "re_1", "signed_url": url})
            };
            let answer =
                json!({"code": "200", "msg": "success", "success": true, "failed": false, "data": data});
            let headers = [("Content-Type", "application/json"), ("Connection", "close")];
            response("200 OK", &headers, answer.to_string().as_bytes())
        }
    };
    for place in [HERE, "here.example", "localhost"] {
        for (service, is_inside) in [(WORLD, false), (NEAR, true)] {
            let asked = here.asked();
            let (_api, api) = Server::start(service, 0, Some(&secure), signs(place));
            let mut home = secure.home();
            home.set("FERRY_MAVI_URL", &format!("https://{service}:{api}"));
            home.set("FERRY_MAVI_KEY", "sk-1");
            home.file("a.bin", b"content");
            let run = home.ferry(["upload", "a.bin", "--service", "mavi"]).hides("marked5ecret");
            if is_inside {
                run.exits(0);
            } else {
                run.exits(1).says_error("insecure_redirect");
            }
            assert_eq!(here.asked() > asked, is_inside, "{place}");
        }
    }
}

#[test]
fn a_store_outside_opens_no_session_inside_and_leads_no_request_there() {
    let Some(hosts) = apart("a_store_outside_opens_no_session_inside_and_leads_no_request_there") else {
        return;
    };
    let secure = Secure::new();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let (here, port) = Server::start(HERE, 0, Some(&secure), move |head, _| {
        seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        file(b"")
    });
    // It opens a session, or asks for the same once more there.
    let store = |place: &str, status: &'static str| {
        let place = format!("https://{place}:{port}/session");
        move |_: &str, _: usize| {
            response(status, &[("Location", &place), ("Content-Length", "0"), ("Connection", "close")], b"")
        }
    };
    for (method, status) in [("resumable", "201 Created"), ("put", "307 Temporary Redirect")] {
        for place in [HERE, "here.example", "localhost"] {
            for (at, is_inside) in [(WORLD, false), (NEAR, true)] {
                let asked = here.asked();
                let (_store, open) = Server::start(at, 0, Some(&secure), store(place, status));
                let home = secure.home();
                home.file("a.bin", b"content");
                let to = format!("https://{at}:{open}/o");
                let send = ["upload", "a.bin", "--to", &to, "--method", method, "--retries", "0"];
                let run = home.ferry(send);
                if is_inside {
                    run.exits(0);
                } else {
                    run.exits(1).says_error("insecure_redirect");
                }
                assert_eq!(here.asked() > asked, is_inside, "{method} {place}");
            }
        }
    }
    assert!(heads.lock().unwrap().iter().all(|head| head.starts_with("PUT /session")));

    // A session that was open before leads inside now.
    let (mirror, _) = Server::start(MIRROR, port, Some(&secure), |_, _| {
        response("503 Service Unavailable", &[("Content-Length", "0"), ("Connection", "close")], b"")
    });
    for forgets in [false, true] {
        hosts.change("mirror.example", MIRROR);
        let asked = (here.asked(), mirror.asked());
        let opens = format!("https://mirror.example:{port}/session");
        let (_store, open) = Server::start(WORLD, 0, Some(&secure), move |_, _| {
            let headers = [("Location", opens.as_str()), ("Content-Length", "0"), ("Connection", "close")];
            response("201 Created", &headers, b"")
        });
        let home = secure.home();
        home.file("a.bin", b"content");
        let to = format!("https://{WORLD}:{open}/o");
        home.ferry(["upload", "a.bin", "--to", &to, "--method", "resumable", "--retries", "0"]).exits(1);
        assert_eq!(mirror.asked(), asked.1 + 1);
        let record = only_record(&home);
        let text = std::fs::read_to_string(&record).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(kept["session_reach"], "outward");
        if forgets {
            forget(&record, &text, "session_reach");
        }
        hosts.change("mirror.example", HERE);
        home.ferry(["retry", "--retries", "0"]).exits(1).says_error("insecure_redirect");
        assert_eq!((here.asked(), mirror.asked()), (asked.0, asked.1 + 1));
    }
}

#[test]
fn by_way_of_a_proxy_what_the_url_shows_is_judged_and_the_proxy_may_be_anywhere() {
    let Some(_hosts) = apart("by_way_of_a_proxy_what_the_url_shows_is_judged_and_the_proxy_may_be_anywhere")
    else {
        return;
    };
    let (here, port) = Server::start(HERE, 0, None, |_, _| file(b"secret"));
    // It gets whole addresses, and answers in the place of whoever lies there.
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&asked);
    let (_proxy, by) = Server::start(HERE, 0, None, move |head, _| {
        let whole = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let host = whole.split('/').nth(2).unwrap_or_default().to_owned();
        seen.lock().unwrap().push(host);
        let to = whole.split_once("/to/").and_then(|(_, to)| to.split_once('/'));
        to.map_or_else(|| file(b"by proxy"), |(scheme, rest)| redirect(&format!("{scheme}://{rest}")))
    });
    for proxy in [HERE, "proxy.example", "localhost"] {
        let mut home = Home::new();
        for variable in ["HTTP_PROXY", "http_proxy"] {
            home.set(variable, &format!("http://{proxy}:{by}"));
        }
        asked.lock().unwrap().clear();
        home.ferry(["download", "http://one.invalid/to/http/two.invalid/a.txt"]).exits(0);
        assert_holds(&home.downloads().join("a.txt"), b"by proxy");
        for inside in [format!("{HERE}:{port}"), format!("{NEAR}:{port}"), format!("a.localhost:{port}")] {
            home.ferry(["download", &format!("http://one.invalid/to/http/{inside}/b.txt")])
                .exits(1)
                .says_error("insecure_redirect");
        }
        assert_eq!(
            *asked.lock().unwrap(),
            ["one.invalid", "two.invalid", "one.invalid", "one.invalid", "one.invalid"]
        );
        assert_eq!(here.asked(), 0);
        // What the user names on this computer is never asked of a proxy.
        for own in [HERE, "a.localhost", "localhost.", "0.0.0.0", "0", "[::ffff:0.0.0.0]"] {
            home.ferry(["download", &format!("http://{own}:{port}/c.txt")]).exits(0);
        }
        assert_eq!(asked.lock().unwrap().len(), 5);
        here.asked.store(0, Ordering::Release);
    }
}
