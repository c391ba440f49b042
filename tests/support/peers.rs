//! Real programs that tests talk to. `cargo xtask test` says where they are; a test that misses one says so and ends.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a peer is, by its variable. Without it the test is skipped, and says so.
pub fn peer(variable: &str) -> Option<PathBuf> {
    let place = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    if place.is_none() {
        eprintln!("skipped: {variable} names no program (`cargo xtask test` sets it)");
    }
    place
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that is ended with the test.
pub struct Server {
    process: Child,
    pub port: u16,
}

impl Server {
    /// Starts a server and waits until it takes connections.
    pub fn start(command: &mut Command, port: u16) -> Self {
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut server = Self { process, port };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "the server ended at once");
            assert!(began.elapsed() < Duration::from_secs(20), "the server takes no connections");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// nginx over a folder, at a limited speed for each connection where a test needs time.
    pub fn nginx(program: &Path, folder: &Path, rate: &str) -> Self {
        let port = free_port();
        let own = folder.with_extension("nginx");
        std::fs::create_dir_all(&own).unwrap();
        let (root, dir) = (folder.display(), own.display());
        let user = if is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; {user} worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
             events {{ worker_connections 64; }}
             http {{
               access_log {dir}/access.log;
               client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
               uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
               types {{ video/mp4 mp4; }} default_type application/octet-stream;
               server {{ listen 127.0.0.1:{port}; root {root}; limit_rate {rate}; }}
             }}"
        );
        let config = own.join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        Self::start(
            Command::new(program).arg("-p").arg(&own).arg("-c").arg(&config).arg("-e").arg("stderr"),
            port,
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its worker only when it is asked politely.
        #[cfg(unix)]
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether this runs as root, for whom no file is unreadable.
pub fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    false
}

/// Runs a Python script and gives what it prints.
pub fn python(python: &Path, script: &str, arguments: &[&str]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support").join(script);
    let output = Command::new(python).arg(file).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The first line of a server's stdout that begins like this.
pub fn line_of(child: &mut Child, beginning: &str) -> String {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with(beginning))
        .expect("the line comes before the end")
}
