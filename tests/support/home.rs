//! A user's home of their own for each test, and `ferry` as that user starts it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::files::names;
use super::service::{KEY, Service};

/// Longer than any test's single command may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A home with a data folder and a Downloads folder.
pub struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), variables: Vec::new() }
    }

    /// A home where MAVI and the others are this service.
    pub fn with(service: &Service) -> Self {
        let mut home = Self::new();
        home.set("FERRY_MAVI_URL", &service.mavi_url());
        home.set("FERRY_VISUAL_SEARCH_URL", &service.visual_search_url());
        home.set("FERRY_OFFLINE_TUBE_URL", &service.offline_tube_url());
        home.set("FERRY_MAVI_KEY", KEY);
        home.set("FERRY_VISUAL_SEARCH_KEY", KEY);
        home
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.variables.retain(|(name, _)| name != variable);
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn downloads(&self) -> PathBuf {
        self.path().join("Downloads")
    }

    /// Writes a file into the home.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What is in the Downloads folder.
    pub fn downloaded(&self) -> Vec<String> {
        names(&self.downloads())
    }

    /// `ferry` with nothing of the real user's surroundings.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferry"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("FERRY_")
                || name.starts_with("XDG_")
                || name.starts_with("DBUS_")
                || name == "NO_COLOR"
            {
                command.env_remove(&*name);
            }
        }
        command.env("HOME", self.path()).env("USERPROFILE", self.path()).env("FERRY_DATA_DIR", self.data());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same `ferry` as another program starts it: `strace …`, `prlimit …`.
    pub fn command_under<S: AsRef<OsStr>>(
        &self,
        wrapper: &[String],
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let plain = self.command(arguments);
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts `ferry` under another program and leaves it running.
    pub fn start_under<S: AsRef<OsStr>>(
        &self,
        wrapper: &[String],
        arguments: impl IntoIterator<Item = S>,
    ) -> Started {
        Started::new(self.command_under(wrapper, arguments).spawn().unwrap())
    }

    /// Runs `ferry` under another program to its end.
    pub fn ferry_under<S: AsRef<OsStr>>(
        &self,
        wrapper: &[String],
        arguments: impl IntoIterator<Item = S>,
    ) -> Run {
        Started::new(self.command_under(wrapper, arguments).spawn().unwrap()).wait()
    }

    /// Runs `ferry` to its end.
    pub fn ferry<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.ferry_with_input(arguments, b"")
    }

    /// Runs `ferry` to its end with something on stdin.
    pub fn ferry_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Run {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may well end without having read it.
        let _ = child.stdin.take().unwrap().write_all(input);
        Started::new(child).wait()
    }

    /// Starts `ferry` and leaves it running.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Started {
        Started::new(self.command(arguments).spawn().unwrap())
    }
}

/// A running `ferry`. Killed if the test ends first.
pub struct Started {
    child: Option<Child>,
    stdout: Option<std::thread::JoinHandle<Vec<u8>>>,
    stderr: Option<std::thread::JoinHandle<Vec<u8>>>,
    began: Instant,
}

impl Started {
    fn new(mut child: Child) -> Self {
        fn reader(
            pipe: Option<impl std::io::Read + Send + 'static>,
        ) -> Option<std::thread::JoinHandle<Vec<u8>>> {
            let mut pipe = pipe?;
            Some(std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                bytes
            }))
        }
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        Self { child: Some(child), stdout, stderr, began: Instant::now() }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Lets it run for this long at most, then `kill -9`. Gives the run if it ended by itself.
    pub fn kill_after(mut self, time: Duration) -> Option<Run> {
        let deadline = Instant::now() + time;
        while self.child.as_mut().unwrap().try_wait().unwrap().is_none() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                self.kill();
                return None;
            };
            std::thread::sleep(left.min(Duration::from_millis(2)));
        }
        Some(self.wait())
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal by name, as in `INT`.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Run {
        let mut child = self.child.take().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if self.began.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                let text = |handle: Option<std::thread::JoinHandle<Vec<u8>>>| {
                    handle.map_or_else(String::new, |h| {
                        String::from_utf8_lossy(&h.join().unwrap()).into_owned()
                    })
                };
                panic!(
                    "ferry did not end\nstdout: {}\nstderr: {}",
                    text(self.stdout.take()),
                    text(self.stderr.take())
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |handle: Option<std::thread::JoinHandle<Vec<u8>>>| {
            handle.map_or_else(String::new, |handle| String::from_utf8(handle.join().unwrap()).unwrap())
        };
        Run {
            code: status.code(),
            stdout: text(self.stdout.take()),
            stderr: text(self.stderr.take()),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `ferry` that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// Fails unless it ended like this.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless stderr says this code in the agreed form.
    #[track_caller]
    pub fn says_error(self, code: &str) -> Self {
        let line = self.stderr.lines().find(|line| line.starts_with(&format!("error[{code}]: ")));
        let line = line.unwrap_or_else(|| panic!("no error[{code}] in stderr: {}", self.stderr));
        assert!(line.contains("; "), "the error says no way out: {line}");
        self
    }

    /// Fails if a text occurs in either stream.
    #[track_caller]
    pub fn hides(self, secret: &str) -> Self {
        assert!(!self.stdout.contains(secret), "a secret stands in stdout");
        assert!(!self.stderr.contains(secret), "a secret stands in stderr: {}", self.stderr);
        self
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Asset ids of an upload's lines.
    #[track_caller]
    pub fn asset_ids(&self) -> Vec<String> {
        let id =
            |line: &str| line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line}")).0.to_owned();
        self.stdout.lines().map(id).collect()
    }

    /// The lines of stdout as JSON objects.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
