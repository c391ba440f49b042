//! The other end: nginx over a folder, and Ferry's own sandbox, both on loopback, with what they were asked.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::program::{Done, built, find, output};

/// The key of the sandbox's run: opens everything of it.
pub const KEY: &str = "bench";
/// Below this path nginx sends each connection no more than [`SLOW_RATE`].
pub const SLOW: &str = "slow";
/// Bytes a second, for each connection below `/slow/`.
pub const SLOW_RATE: u64 = 4 << 20;
/// A server logs a request when it has ended, which for a connection that was cut may be a moment later.
const LOG_DELAY: Duration = Duration::from_millis(150);

/// What a run cost the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Requests.
    pub requests: u64,
    /// Connections that brought at least one request.
    pub connections: u64,
    /// Bytes of files, both ways: not of what is said about them.
    pub bytes: u64,
}

impl Cost {
    /// Reads the sandbox's log.
    fn read(log: &str) -> Done<Self> {
        let requests: Vec<Request> =
            serde_json::from_str(log).map_err(|error| format!("the sandbox's log: {error}"))?;
        Ok(Self::of(requests.iter().map(|request| (request.connection, request.bytes()))))
    }

    /// The greater of each.
    pub fn dearest(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            connections: self.connections.max(other.connections),
            bytes: self.bytes.max(other.bytes),
        }
    }

    fn of(requests: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut cost = Self::default();
        let mut connections = std::collections::HashSet::new();
        for (connection, bytes) in requests {
            cost.requests += 1;
            cost.bytes += bytes;
            connections.insert(connection);
        }
        Self { connections: connections.len() as u64, ..cost }
    }
}

/// nginx over a folder. Ended when dropped.
pub struct Nginx {
    process: Child,
    address: String,
    /// Where it speaks TLS, and the certificate that it shows; nothing where none could be made.
    secure: Option<(String, PathBuf)>,
    log: PathBuf,
    read: Cell<u64>,
}

impl Nginx {
    /// Starts it, with its own files in `own`; `None` if it is not installed.
    pub fn start(folder: &Path, own: &Path) -> Done<Option<Self>> {
        let Some(program) = find("nginx") else { return Ok(None) };
        let failed = |error: std::io::Error| format!("starting nginx: {error}");
        std::fs::create_dir_all(own).map_err(failed)?;
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let (address, secure) = (free().map_err(failed)?.to_string(), free().map_err(failed)?.to_string());
        let secure = make_certificate(own)?.map(|certificate| (secure, certificate));
        let listen_secure = secure.as_ref().map_or_else(String::new, |(address, certificate)| {
            let certificate = certificate.display();
            format!("listen {address} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {certificate};")
        });
        let (root, own) = (folder.display(), own.display());
        // One process that ends when it is killed, and plain defaults: sendfile is what every nginx is set up with.
        let text = format!(
            "daemon off; master_process off; pid {own}/pid; error_log {own}/error.log;
             events {{ worker_connections 1024; }}
             http {{
               log_format cost '$connection $body_bytes_sent';
               access_log {own}/access.log cost;
               client_body_temp_path {own}/a; proxy_temp_path {own}/b; fastcgi_temp_path {own}/c;
               uwsgi_temp_path {own}/d; scgi_temp_path {own}/e;
               sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
               server {{
                 listen {address} backlog=1024; {listen_secure} root {root};
                 location /{SLOW}/ {{ alias {root}/; limit_rate {SLOW_RATE}; }}
               }}
             }}"
        );
        let config = format!("{own}/nginx.conf");
        std::fs::write(&config, text).map_err(failed)?;
        let process = Command::new(program)
            .args(["-p", &own.to_string(), "-c", &config, "-e", &format!("{own}/error.log")])
            .stdin(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let log = PathBuf::from(format!("{own}/access.log"));
        let nginx = Self { process, address, secure, log, read: Cell::default() };
        let began = Instant::now();
        while TcpStream::connect(&nginx.address).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("nginx takes no connections".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(nginx))
    }

    /// The URL of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The URL of a file over TLS, and the certificate to be trusted.
    pub fn secure_url(&self, path: &str) -> Option<(String, &Path)> {
        self.secure
            .as_ref()
            .map(|(address, certificate)| (format!("https://{address}/{path}"), &**certificate))
    }

    /// What it was asked since the last time.
    pub fn take_log(&self) -> Done<Cost> {
        std::thread::sleep(LOG_DELAY);
        let failed = |error: std::io::Error| format!("reading nginx's log: {error}");
        let mut file = std::fs::File::open(&self.log).map_err(failed)?;
        file.seek(SeekFrom::Start(self.read.get())).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        self.read.set(self.read.get() + text.len() as u64);
        Ok(Cost::of(text.lines().filter_map(|line| {
            let (connection, bytes) = line.split_once(' ')?;
            Some((connection.parse().ok()?, bytes.parse().ok()?))
        })))
    }
}

/// A certificate for loopback and its key, in one file; nothing without `openssl`.
fn make_certificate(folder: &Path) -> Done<Option<PathBuf>> {
    let Some(program) = find("openssl") else { return Ok(None) };
    let (both, asked) = (folder.join("certificate.pem"), folder.join("certificate.conf"));
    // Its own issuer, and yet no authority: that one must not be a server, say some.
    let text = "[req]\ndistinguished_name = name\nx509_extensions = facts\nprompt = no\n[name]\nCN = 127.0.0.1\n\
                [facts]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";
    std::fs::write(&asked, text).map_err(|error| format!("writing {}: {error}", asked.display()))?;
    let mut command = Command::new(program);
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-config"]).arg(&asked);
    command.arg("-keyout").arg(&both).arg("-out").arg(folder.join("certificate.crt"));
    output(&mut command)?;
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let text = read(&both)? + &read(&folder.join("certificate.crt"))?;
    std::fs::write(&both, text).map_err(|error| format!("writing {}: {error}", both.display()))?;
    Ok(Some(both))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One line of the sandbox's log. Read into no more than this: a system counts the memory of whoever starts a program
/// as the program's own, so this one must stay small.
#[derive(Deserialize)]
struct Request<'a> {
    connection: u64,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    sent: u64,
    received: u64,
}

impl Request<'_> {
    /// Bytes of a file that it moved. What a service is asked to sign, and says about a file, is none of it.
    fn bytes(&self) -> u64 {
        let is_talk = ["/upload/signed-url", "/metadata"].iter().any(|end| self.path.ends_with(end));
        match &*self.method {
            _ if is_talk => 0,
            "GET" => self.sent,
            _ => self.received,
        }
    }
}

/// The service of `ferry sandbox`, with switches. Ended when dropped.
pub struct Sandbox {
    process: Child,
    objects: PathBuf,
    /// `http://127.0.0.1:PORT`.
    origin: String,
    /// Where plain links are.
    pub url: String,
}

impl Sandbox {
    /// Starts it, with its own files in `own`.
    pub fn start(own: &Path) -> Done<Self> {
        let mut process = Command::new(built("release", "examples/sandbox_server"))
            .arg(own)
            .args(["0", KEY])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the sandbox did not start: {error}"))?;
        let lines = process.stdout.take().map(|out| BufReader::new(out).lines());
        let mut lines = lines.into_iter().flatten().map_while(Result::ok);
        let mut told = |what: &str| {
            let address = lines.find_map(|line| line.strip_prefix(what).map(str::to_owned));
            address.ok_or("the sandbox told no address")
        };
        let (url, origin) = (told("links ")?, told("listening on ")?);
        Ok(Self { process, objects: own.join("objects"), origin, url })
    }

    /// Removes everything that was uploaded, so that the disk does not fill.
    pub fn forget(&self) -> Done {
        let failed = |error: std::io::Error| format!("emptying the sandbox: {error}");
        for entry in std::fs::read_dir(&self.objects).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                std::fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// How many uploads it holds, and their bytes.
    pub fn holds(&self) -> (u64, u64) {
        let files = std::fs::read_dir(&self.objects).into_iter().flatten().flatten();
        let data = files.filter(|entry| !entry.file_name().to_string_lossy().ends_with(".json"));
        let sizes = data.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
        sizes.fold((0, 0), |(files, bytes), facts| (files + 1, bytes + facts.len()))
    }

    /// MAVI's base URL.
    pub fn mavi(&self) -> String {
        format!("{}/mavi/serve/api/v2", self.origin)
    }

    /// What it was asked since the last time.
    pub fn take_log(&self) -> Done<Cost> {
        std::thread::sleep(LOG_DELAY);
        let log = self.ask("GET", "/_sandbox/requests", None)?;
        self.ask("DELETE", "/_sandbox/requests", None)?;
        Cost::read(&log)
    }

    /// Chooses the kind of signed URL that uploads get.
    pub fn sign_with(&self, kind: &str) -> Done {
        self.ask("POST", "/_sandbox/settings", Some(&json!({"signed_urls": kind}))).map(drop)
    }

    /// Switches a fault on.
    pub fn fault(&self, fault: &Value) -> Done {
        self.ask("POST", "/_sandbox/faults", Some(fault)).map(drop)
    }

    /// Switches all faults off.
    pub fn heal(&self) -> Done {
        self.ask("DELETE", "/_sandbox/faults", None).map(drop)
    }

    /// A signed URL for a new asset.
    pub fn signed_url(&self, name: &str) -> Done<String> {
        let body = json!({"original_filename": name});
        let answer = self.ask("POST", "/mavi/serve/api/v2/upload/signed-url", Some(&body))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("signing: {error}"))?;
        let url = answer["data"]["signed_url"].as_str();
        url.map(str::to_owned).ok_or_else(|| format!("the sandbox signed nothing: {answer}"))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Done<String> {
        let failed = |error: std::io::Error| format!("asking the sandbox for {path}: {error}");
        let host = self.origin.trim_start_matches("http://");
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(host).map_err(failed)?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: {KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        let head = answer.find("\r\n\r\n").ok_or("the sandbox did not answer")?;
        if !answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Err(format!("the sandbox refused {path}: {answer}"));
        }
        answer.drain(..head + 4);
        Ok(answer)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It holds nothing that must be written down.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_of_files_count_not_what_is_said_about_them() {
        let request = |connection, method: &str, path: &str, received: u64, sent: u64| {
            json!({
                "connection": connection, "method": method, "path": path, "authorization": true, "status": 200,
                "received": received, "sent": sent, "finished": true,
            })
        };
        let log = json!([
            request(1, "POST", "/mavi/serve/api/v2/upload/signed-url", 40, 900),
            request(2, "PUT", "/bucket/8192.bin", 8192, 15),
            request(1, "GET", "/mavi/serve/api/v2/7/metadata", 0, 300),
            request(1, "GET", "/mavi/serve/api/v2/7/download", 0, 8192),
            request(2, "PUT", "/sink/8192.bin", 8192, 40),
        ]);
        let cost = Cost::read(&log.to_string()).unwrap();
        assert_eq!((cost.requests, cost.connections, cost.bytes), (5, 2, 3 * 8192));
    }
}
