//! `cargo xtask bench`: transfers against other programs in the same run, as ratios, so that the machine cancels out.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{self, Done, built, cargo, find, output, program, target};

const SIZE: u64 = 1 << 30;
const ROUNDS: usize = 3;
/// Stands for any key: the sandbox takes the one that it is given.
const KEY: &str = "bench";

/// Measures an upload and a download of 1 GiB over loopback.
pub fn run() -> Done {
    program::run(cargo().args(["build", "--release", "-p", "ferry-cli", "--locked"]))?;
    let ferry = built("release", "ferry");
    let folder = target().join("xtask/bench");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let source = folder.join("source.bin");
    make(&source)?;

    let server = Server::start(&ferry, &folder)?;
    let ferry_command = || {
        let mut command = program(&ferry);
        command.args(["--quiet", "--data-dir"]).arg(folder.join("data"));
        command.env("FERRY_MAVI_URL", &server.mavi_url).env("FERRY_MAVI_KEY", KEY);
        command
    };
    let sent = output(ferry_command().arg("upload").arg(&source).args(["--service", "mavi"]))?;
    let asset_id = sent.split('\t').next().unwrap_or_default().to_owned();
    let url = format!("{}/{asset_id}/download", server.mavi_url);

    let fetched = folder.join("fetched");
    let ours = best(&fetched, || {
        let mut command = ferry_command();
        command.args(["download", &asset_id, "--service", "mavi", "--dir"]).arg(&fetched);
        command
    })?;
    println!("download  ferry  {:.2} s", ours.as_secs_f64());
    let header = format!("Authorization: {KEY}");
    for (name, arguments) in [
        ("curl", vec!["--silent", "--fail", "--header", &header, "--output", "x", &url]),
        ("wget", vec!["--quiet", "--header", &header, "--output-document", "x", &url]),
        ("aria2c", vec!["--quiet", "--header", &header, "--out", "x", &url]),
    ] {
        if find(name).is_none() {
            println!("download  {name}  is not installed");
            continue;
        }
        let theirs = best(&fetched, || {
            let mut command = program(name);
            command.args(&arguments).current_dir(&fetched);
            command
        })?;
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("download  {name}  {:.2} s  (ferry takes {ratio:.2} of that)", theirs.as_secs_f64());
    }
    let ours = best(&fetched, || {
        let mut command = ferry_command();
        command.arg("upload").arg(&source).args(["--service", "mavi"]);
        command
    })?;
    println!("upload    ferry  {:.2} s", ours.as_secs_f64());
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())
}

/// The best of some rounds: what the machine did besides only ever adds.
fn best(folder: &Path, command: impl Fn() -> Command) -> Done<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let started = Instant::now();
        output(&mut command())?;
        best = best.min(started.elapsed());
    }
    Ok(best)
}

fn make(path: &Path) -> Done {
    use std::io::Write as _;
    let failed = |error: std::io::Error| format!("writing {}: {error}", path.display());
    // One random MiB over and over: nothing on the way compresses, and it is quickly made.
    let mut block = vec![0; 1 << 20];
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    for chunk in block.chunks_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let mut file = std::fs::File::create(path).map_err(failed)?;
    for _ in 0..SIZE / block.len() as u64 {
        file.write_all(&block).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

/// `ferry sandbox`, ended with the measurement.
struct Server {
    process: Child,
    mavi_url: String,
}

impl Server {
    fn start(ferry: &Path, folder: &Path) -> Done<Self> {
        let mut process = Command::new(ferry)
            .args(["sandbox", "--quiet", "--data-dir"])
            .arg(folder.join("server"))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the sandbox did not start: {error}"))?;
        let lines = process.stdout.take().map(|out| BufReader::new(out).lines());
        let mavi_url = lines
            .into_iter()
            .flatten()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("FERRY_MAVI_URL=").map(str::to_owned))
            .ok_or("the sandbox told no address")?;
        Ok(Self { process, mavi_url })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that must be written down.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
