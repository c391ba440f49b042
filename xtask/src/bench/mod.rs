//! `cargo xtask bench`: Ferry against other programs in the same run, as ratios, so that the machine cancels out.
//!
//! Every scenario gives tables, what the budgets ask for, and bars for the plot; [`report`] and [`plot`] show them.

mod fairness;
mod measure;
mod memory;
mod peers;
mod plot;
mod queue;
mod report;
mod servers;
mod transfers;
mod window;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, Purpose};
use crate::program::{self, Done, built, cargo, root, target};
use measure::Samples;
use report::{Check, Outcome};
use servers::{KEY, Nginx, Sandbox};

/// Bytes of the one large file, unless told otherwise.
const SIZE: u64 = 2 << 30;
/// Rounds that count, unless told otherwise.
const ROUNDS: usize = 5;
/// What the user asked the engine never to exceed, whatever the work.
const MEMORY: f64 = 64.0;

/// What may be missed by no run of the benchmark (the table of budgets in the design).
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// How a scenario names it.
    key: &'static str,
    /// What it is about, for people.
    pub what: &'static str,
    /// The most that is allowed.
    pub most: f64,
    /// Of what: `×` the peer, `s`, `MiB`, `%`, nothing for a plain number.
    pub unit: &'static str,
    /// What the page says where it is missed; nothing where there is no excuse.
    pub because: &'static str,
}

#[rustfmt::skip]
const BUDGETS: &[Budget] = &[
    Budget { key: "download", what: "one large file down, against the fastest of curl, wget and aria2c", most: 1.0, unit: "×",
        because: "Ferry also computes the checksum, syncs the file and its folder, and renames; the line `curl + sync` shows what the sync alone costs." },
    Budget { key: "upload", what: "one large file up by PUT, against `curl -T`", most: 0.8, unit: "×",
        because: "Both ends share the two cores. The sink, which receives and hashes on one connection, is as busy as either client: neither is faster than it." },
    Budget { key: "throttled", what: "4 MiB/s a connection, against the faster aria2", most: 1.05, unit: "×",
        because: "Ferry finds out by itself: it adds connections while each brings more. aria2 opens all of them at once because it is told to." },
    Budget { key: "small-down", what: "many small files down, against `curl --parallel`", most: 1.5, unit: "×",
        because: "Each file is synced and gets its name only then, and each transfer is written down, which curl does not do." },
    Budget { key: "small-up", what: "many small files up, against `curl --parallel`", most: 1.5, unit: "×",
        because: "Each file is signed for, confirmed by the service and written down, which curl does not do." },
    Budget { key: "small-memory", what: "many small files: memory", most: MEMORY, unit: "MiB",
        because: "" },
    Budget { key: "memory", what: "any size of file: memory", most: MEMORY, unit: "MiB",
        because: "" },
    Budget { key: "queue", what: "100,000 queued: start-up beyond that of an empty queue", most: 0.5, unit: "s",
        because: "" },
    Budget { key: "queue-growth", what: "100,000 queued: start-up for each row, against 10,000", most: 1.5, unit: "×",
        because: "" },
    Budget { key: "adding-growth", what: "100,000 added: time for each row, against 10,000", most: 1.5, unit: "×",
        because: "" },
    Budget { key: "limit", what: "`--limit-rate`: off by", most: 5.0, unit: "%",
        because: "" },
    Budget { key: "starving", what: "a quick file behind six slow ones of another service", most: 2.0, unit: "s",
        because: "Slots are given in the order of the queue, whatever the service." },
    Budget { key: "both-ways", what: "up and down together, against the longer alone", most: 1.1, unit: "×",
        because: "" },
    Budget { key: "first-paint", what: "the window: start to first paint", most: 1.0, unit: "s",
        because: "Measured under the driver of the tests, on a display without a graphics card." },
    Budget { key: "window-messages", what: "the window: messages in any second", most: 5.0, unit: "",
        because: "" },
    Budget { key: "window-idle-messages", what: "the window: messages in 20 s of rest", most: 0.0, unit: "",
        because: "" },
    Budget { key: "window-idle", what: "the window: processor at rest", most: 0.5, unit: "%",
        because: "" },
    Budget { key: "window-memory", what: "the window: 100,000 rows beyond an empty list", most: 250.0, unit: "MiB",
        because: "" },
    Budget { key: "window-frames", what: "the window: time of a frame while scrolling 100,000 rows", most: 17.0, unit: "ms",
        because: "Without a graphics card every frame is drawn by the processor." },
    Budget { key: "requests", what: "requests for one download", most: 1.0, unit: "",
        because: "" },
    Budget { key: "twice", what: "bytes fetched twice", most: 1.0, unit: "%",
        because: "" },
];

/// Something that is measured.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it does, for people; `{size}` is the size of the one large file.
    pub about: &'static str,
    run: fn(&Bench) -> Done<Outcome>,
}

/// In the order of the page.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "download",
        title: "One large file down",
        about: "{size} from nginx (a plain link), also over TLS with HTTP/2 where a program speaks it, and from the sandbox \
                as a MAVI asset. Ferry writes to a part file, \
                computes the checksum that the server offers, syncs, renames and syncs the folder; the others write. \
                The line `curl + sync` adds only that sync to what curl does.",
        run: transfers::download,
    },
    Scenario {
        name: "upload",
        title: "One large file up",
        about: "{size} to the sandbox. The sink counts and hashes what comes; the store behind a signed URL also \
                writes it to the same disk, which is most of what that table measures. Ferry reads the file, hashes \
                it, compares with what the store says and, where a service is asked, has it signed and confirmed. \
                rclone speaks no plain PUT, so it is no peer here.",
        run: transfers::upload,
    },
    Scenario {
        name: "throttled",
        title: "A server that throttles each connection",
        about: "nginx gives each connection 4 MiB a second. Ferry is told nothing; aria2 is told how many connections \
                to open. By itself aria2 cuts no piece smaller than 20 MiB and so opens fewer; with `-k1M` it opens them all.",
        run: transfers::throttled,
    },
    Scenario {
        name: "small",
        title: "Many small files",
        about: "5,000 files of 8 KiB: down from nginx, as links; up to the sandbox's store, as a folder to a service. \
                Ferry writes every transfer down, syncs each file, and has each upload signed and confirmed by the \
                service; curl gets URLs that were signed before. The files of the run before are deleted first, which \
                makes new ones dearer for both on a file system like this: into a folder that was never used curl alone \
                is much quicker.",
        run: transfers::small,
    },
    Scenario {
        name: "memory",
        title: "Memory, whatever the size",
        about: "A sparse file up to the sandbox's sink and a generated one down, each for two minutes at most; the \
                memory that `ferry` holds, at five moments and at its highest. A download that the disk has no room \
                for is left out.",
        run: memory::run,
    },
    Scenario {
        name: "queue",
        title: "A long queue",
        about: "Downloads are added by `ferry download`, and the process is killed; then the time of \
                `ferry services` (which opens the engine) and of `ferry queue --json`, which also lists every row.",
        run: queue::run,
    },
    Scenario {
        name: "window",
        title: "The window",
        about: "The real window, built for release, on a virtual display without a graphics card: its start to the first \
                paint (the quickest of three); with 100,000 rows in the list and six downloads running, 20 seconds of \
                looking on and 8 of scrolling by 90 pixels a frame; then everything is paused, and after 15 seconds \
                20 more are watched. Memory is that of all its processes, what they share counted once. For comparison: \
                a new Electron app that shows six windows and does nothing holds 409 MB, one made with Tauri 172 MB \
                ([Hopp, 2025](https://gethopp.app/blog/tauri-vs-electron), on a Mac); of Motrix 1.8, which is made with \
                Electron, more than 1 GB without a download is reported \
                ([#1798](https://github.com/agalwood/Motrix/issues/1798), on Windows).",
        run: window::run,
    },
    Scenario {
        name: "fairness",
        title: "Fairness",
        about: "A speed limit of 8 MiB/s over 64 MiB; six files of a service that gives 256 KiB/s, added before one \
                small file of another; 64 MiB up and 64 MiB down at 16 MiB/s each, alone and together.",
        run: fairness::run,
    },
];

/// What all scenarios share.
pub struct Bench {
    ferry: PathBuf,
    folder: PathBuf,
    size: u64,
    rounds: usize,
    sandbox: Sandbox,
    nginx: Option<Nginx>,
}

/// `cargo xtask bench [SCENARIO…] [--rounds N] [--size BYTES] [--write]`
pub fn run(words: &[String]) -> Done {
    let options = Options::read(words)?;
    if let Err(why) = packages::install(Purpose::Bench) {
        println!("Not all peers could be installed ({why}): those that are missing are left out.");
    }
    program::run(cargo().args(["build", "--release", "-p", "ferry-cli", "--locked"]))?;
    let server = ["build", "--release", "-p", "ferry-sandbox", "--example", "sandbox_server", "--locked"];
    program::run(cargo().args(server))?;
    let bench = Bench::start(&options)?;
    let machine = peers::Machine::here(&bench.folder);
    println!("\n{machine}");
    let mut outcomes = Vec::new();
    let mut broken = Vec::new();
    for scenario in options.chosen() {
        println!("\n=== {}", scenario.title);
        match (scenario.run)(&bench) {
            Ok(outcome) => {
                report::print(&outcome);
                outcomes.push((scenario, outcome));
            }
            Err(why) => {
                println!("could not be measured: {why}");
                broken.push(scenario.name);
            }
        }
    }
    let report = report::Report { machine, size: bench.size, rounds: bench.rounds, outcomes };
    report.print_budgets();
    if options.write && broken.is_empty() {
        report.write(&root().join("docs"))?;
    }
    let folder = bench.folder.clone();
    drop(bench);
    std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    if !broken.is_empty() {
        return Err(format!("could not be measured: {}", broken.join(", ")));
    }
    match report.missed() {
        0 => Ok(()),
        missed => Err(format!("{missed} budgets are missed")),
    }
}

struct Options {
    scenarios: Vec<String>,
    rounds: usize,
    size: u64,
    write: bool,
}

impl Options {
    fn read(words: &[String]) -> Done<Self> {
        let mut options = Self { scenarios: Vec::new(), rounds: ROUNDS, size: SIZE, write: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || -> Done<u64> {
                let text = words.next().ok_or(format!("{word} needs a number"))?;
                match text.parse() {
                    Ok(number) if number > 0 => Ok(number),
                    _ => Err(format!("{word} needs a number above 0, not `{text}`")),
                }
            };
            match word.as_str() {
                "--rounds" => options.rounds = number()? as usize,
                "--size" => options.size = number()?,
                "--write" => options.write = true,
                name if SCENARIOS.iter().any(|scenario| scenario.name == name) => {
                    options.scenarios.push(name.to_owned());
                }
                other => {
                    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                    return Err(format!("there is no scenario `{other}`, only {}", names.join(", ")));
                }
            }
        }
        if options.write && !options.scenarios.is_empty() {
            return Err(
                "--write is for a run of all scenarios: a page holds figures of one run only".to_owned()
            );
        }
        Ok(options)
    }

    fn chosen(&self) -> impl Iterator<Item = &'static Scenario> {
        SCENARIOS.iter().filter(|scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name)
        })
    }
}

impl Bench {
    fn start(options: &Options) -> Done<Self> {
        let ferry = built("release", "ferry");
        let folder = target().join("xtask/bench");
        let _ = std::fs::remove_dir_all(&folder);
        for inner in ["home", "served", "fetched"] {
            make(&folder.join(inner))?;
        }
        let sandbox = Sandbox::start(&folder.join("sandbox"))?;
        let nginx = Nginx::start(&folder.join("served"), &folder.join("nginx"))?;
        Ok(Self { ferry, folder, size: options.size, rounds: options.rounds, sandbox, nginx })
    }

    /// A program with nothing of the real user's surroundings: no proxy, no configuration of the peers.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.folder.join("home")).current_dir(self.fetched());
        command
    }

    /// `ferry` with a data folder of its own, that takes the sandbox for MAVI.
    fn ferry(&self) -> Command {
        self.ferry_in(&self.folder.join("data"))
    }

    fn ferry_in(&self, data: &Path) -> Command {
        let mut command = self.command(&self.ferry);
        command.env("FERRY_MAVI_URL", self.sandbox.mavi()).env("FERRY_MAVI_KEY", KEY);
        command.env("FERRY_DATA_DIR", data);
        command
    }

    /// Where downloads go.
    fn fetched(&self) -> PathBuf {
        self.folder.join("fetched")
    }

    /// What a program that fails writes to stderr.
    fn complaints(&self) -> PathBuf {
        self.folder.join("stderr")
    }

    /// Removes what the last run brought, and Ferry's memory of it.
    fn clean(&self) -> Done {
        for folder in [self.fetched(), self.folder.join("data")] {
            let _ = std::fs::remove_dir_all(folder);
        }
        make(&self.fetched())
    }

    /// A file of this size, of which nothing can be compressed.
    fn file(&self, name: &str, size: u64) -> Done<PathBuf> {
        let path = self.folder.join("served").join(name);
        fill(&path, size)?;
        Ok(path)
    }
}

fn make(folder: &Path) -> Done {
    std::fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))
}

/// Writes a file of one random MiB over and over: nothing on the way compresses, and it is quickly made.
fn fill(path: &Path, size: u64) -> Done {
    use std::io::Write as _;
    let failed = |error: std::io::Error| format!("writing {}: {error}", path.display());
    let mut block = vec![0; 1 << 20];
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    for chunk in block.chunks_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let mut file = std::fs::File::create(path).map_err(failed)?;
    let mut left = size;
    while left > 0 {
        let length = left.min(block.len() as u64);
        file.write_all(&block[..length as usize]).map_err(failed)?;
        left -= length;
    }
    file.sync_all().map_err(failed)
}

/// What the budget of this name says about a value.
fn check(key: &'static str, about: &str, value: f64) -> Option<Check> {
    let budget = BUDGETS.iter().find(|budget| budget.key == key)?;
    Some(Check { budget: *budget, about: about.to_owned(), value })
}

/// The budget about ours against the fastest of the named; none if none of them ran.
fn check_ratio(
    key: &'static str,
    about: &str,
    samples: &[Samples],
    ours: &str,
    named: &[&str],
) -> Option<Check> {
    let ours = samples.iter().find(|samples| samples.name == ours)?.seconds().median;
    let fastest = samples
        .iter()
        .filter(|samples| named.contains(&samples.name))
        .map(|samples| samples.seconds().median)
        .min_by(f64::total_cmp)?;
    check(key, about, ours / fastest)
}

/// Bytes in MiB.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
