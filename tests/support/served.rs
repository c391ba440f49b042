//! The sandbox in a process of its own, so that this one's figures are Ferry's: the test program once more, which a
//! test of it turns into the server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use ferry_sandbox::{Options, Sandbox};
use tempfile::TempDir;

const ROOT: &str = "FERRY_TEST_SANDBOX_ROOT";
/// The key of the server's run.
pub const KEY: &str = "sk-served";

/// Serves until it is killed, if this process was started for that. To be called by a test of the name that
/// [`Served::start`] is given.
pub fn serve() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let options = Options { root: root.into(), port: 0, api_key: None };
        let sandbox = Sandbox::start_with_control(options, KEY.to_owned()).await.unwrap();
        // The test runner writes the test's name on the same line.
        let mut out = std::io::stdout();
        writeln!(out, "\nserving {} {} .", sandbox.origin(), sandbox.url()).unwrap();
        std::future::pending::<()>().await;
    });
}

/// A running server; killed when dropped.
pub struct Served {
    /// `http://127.0.0.1:PORT`: with [`KEY`] in `Authorization`, everything is below it.
    pub origin: String,
    /// Where plain links are.
    pub links: String,
    process: Child,
    _root: TempDir,
}

impl Served {
    /// `test`: the test that calls [`serve`].
    pub fn start(test: &str) -> Self {
        let root = TempDir::new().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROOT, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.into_iter().find_map(|line| line.strip_prefix("serving ").map(str::to_owned));
        let line = line.expect("the sandbox says where it listens");
        let mut told = line.split(' ').map(str::to_owned);
        Self {
            origin: told.next().expect("its origin"),
            links: told.next().expect("where its links are"),
            process,
            _root: root,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
