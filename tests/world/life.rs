//! Ferry's lives on one data folder: started, quit, killed, and started again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferry_engine::{Code, Engine, Options, Secret};
use tokio::runtime::{Builder, Runtime};

use super::memory;

/// No byte for this long is a stall, in these tests.
pub const STALL: Duration = Duration::from_millis(400);
/// Ferry's own waits take a thousandth of their time: a second of back-off is a millisecond, ten minutes are 600.
const WAIT_SCALE: f64 = 0.001;
/// What a killed life may still have to do on its way out.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Where the lives of one batch take place.
pub struct Place {
    pub data: PathBuf,
    pub downloads: PathBuf,
    pub uploads: PathBuf,
    /// The base URL of the service.
    pub api: String,
    /// Transfers at a time.
    pub at_a_time: u8,
    /// Whether the engine has several threads, as in the real program. It cannot be killed then: a runtime with several
    /// threads goes on for a while when it is dropped, and its tasks see it fall apart.
    pub many_threads: bool,
}

impl Place {
    pub fn make(root: &Path, api: String, at_a_time: u8, many_threads: bool) -> Self {
        let [data, downloads, uploads] = ["data", "downloads", "uploads"].map(|name| root.join(name));
        std::fs::create_dir(&downloads).expect("a folder");
        std::fs::create_dir(&uploads).expect("a folder");
        Self { data, downloads, uploads, api, at_a_time, many_threads }
    }

    /// The file that a case sends.
    pub fn upload(&self, case: usize) -> PathBuf {
        self.uploads.join(format!("c{case}.bin"))
    }
}

/// One life of the engine, with threads of its own.
pub struct Life {
    pub engine: Engine,
    pub runtime: Runtime,
}

impl Life {
    /// Begins one, as the window does: everything unfinished goes on.
    pub fn begin(place: &Place) -> Self {
        memory::work_for_the_test(false);
        let life = Self::open(place);
        memory::work_for_the_test(true);
        life
    }

    fn open(place: &Place) -> Self {
        let mut threads =
            if place.many_threads { Builder::new_multi_thread() } else { Builder::new_current_thread() };
        let runtime = threads.worker_threads(2).enable_all().build().expect("a runtime");
        let mut options = Options::new(place.data.clone());
        options.resume_unfinished = true;
        options.keychain = false;
        options.keys = HashMap::from([("mavi".into(), Secret::new("sk-world"))]);
        options.addresses = HashMap::from([("mavi".into(), place.api.clone())]);
        options.overrides.stall = Some(STALL);
        options.overrides.wait_scale = Some(WAIT_SCALE);
        options.overrides.concurrency = Some(place.at_a_time);
        let began = Instant::now();
        let engine = loop {
            match runtime.block_on(Engine::open(options.clone())) {
                Ok(engine) => break engine,
                // The life before is on its way out.
                Err(error) if error.code() == Code::BusyDataDir && began.elapsed() < LAST_WORK => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("the data folder was not opened: {error}"),
            }
        };
        if engine.settings().of_services.text("mavi_url") != place.api {
            let settings = engine.settings().with("mavi_url", place.api.clone());
            runtime.block_on(engine.save_settings(settings)).expect("settings");
        }
        Self { engine, runtime }
    }

    /// Lets it go on until this is done.
    pub fn run<T>(&self, until: impl Future<Output = T>) -> T {
        memory::work_for_the_test(false);
        let done = self.runtime.block_on(until);
        memory::work_for_the_test(true);
        done
    }

    /// Ends it in order.
    pub fn quit(self) {
        self.runtime.block_on(self.engine.shutdown());
        drop(self.engine);
        self.runtime.shutdown_timeout(LAST_WORK);
    }

    /// Ends it where it stands: no task is ever asked again. What a thread has begun with the disk, it ends.
    pub fn kill(self) {
        drop(self.runtime);
        drop(self.engine);
    }
}

/// A life of the real program, which ends by `kill -9`.
pub struct RealLife(Child);

impl RealLife {
    /// Begins one that downloads these links.
    pub fn begin_downloads(program: &Path, place: &Place, links: &[String]) -> Self {
        let mut command = Command::new(program);
        command.arg("download").args(links).arg("--dir").arg(&place.downloads);
        Self::begin(command, place)
    }

    /// Begins one that sends these files to the service.
    pub fn begin_uploads(program: &Path, place: &Place, files: &[PathBuf]) -> Self {
        let mut command = Command::new(program);
        command.arg("upload").args(files).args(["--service", "mavi"]);
        command.env("FERRY_MAVI_URL", &place.api).env("FERRY_MAVI_KEY", "sk-world");
        Self::begin(command, place)
    }

    fn begin(mut command: Command, place: &Place) -> Self {
        command.args(["--concurrency", &place.at_a_time.to_string()]).arg("--data-dir").arg(&place.data);
        command
            .env("FERRY_STALL_SECONDS", "1")
            .env("HOME", &place.data)
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("ferry starts"))
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// The most bytes of memory that it has taken so far, with its code.
    pub fn most_memory(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? << 10)
    }

    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
