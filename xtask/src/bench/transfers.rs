//! Whole transfers against other programs: one large file down and up, a throttled one, many small ones.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{Contender, Race, Samples, race};
use super::report::{Check, Outcome, race_group, race_table};
use super::servers::{Cost, KEY, SLOW, SLOW_RATE};
use super::{Bench, check, check_ratio, make, mib};
use crate::program::Done;

/// Files of the scenario with many small ones, and their size.
const SMALL_FILES: usize = 5000;
const SMALL_SIZE: u64 = 8 << 10;
/// Bytes of the throttled file, at most: 64 seconds by one connection.
const THROTTLED: u64 = 256 << 20;
/// So many runs of the throttled file are enough: it is the server that decides how long they take.
const THROTTLED_ROUNDS: usize = 3;
const NO_NGINX: &str = "nginx is not installed: what it serves is not measured.";

/// What a folder must hold after a run.
fn expect(folder: &Path, files: usize, bytes: u64) -> Done {
    let failed = |error: std::io::Error| format!("reading {}: {error}", folder.display());
    let mut found = (0, 0);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let size = entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
        found = (found.0 + 1, found.1 + size);
    }
    if found == (files, bytes) {
        Ok(())
    } else {
        Err(format!("brought {} files with {} bytes instead of {files} with {bytes}", found.0, found.1))
    }
}

/// The programs that download one URL, ready to run.
fn downloaders<'a>(
    bench: &'a Bench,
    ferry: impl Fn() -> Command + 'a,
    url: &'a str,
    header: Option<&'a str>,
    notes: &mut Vec<String>,
) -> Vec<Contender<'a>> {
    let with = |program: &'static str, arguments: &'static [&'static str], option: &'static str| {
        move || {
            let mut command = bench.command(program);
            command.args(arguments);
            if let Some(header) = header {
                command.args([option, header]);
            }
            Ok(command)
        }
    };
    let named = |make: Box<dyn Fn() -> Done<Command> + 'a>| {
        move || {
            let mut command = make()?;
            command.arg(url);
            Ok(command)
        }
    };
    let curl = with("curl", &["--silent", "--fail", "--output", "x"], "--header");
    let wget = with("wget", &["--quiet", "--output-document", "x"], "--header");
    let aria2 = with("aria2c", &["--quiet", "--out", "x"], "--header");
    let rclone = with("rclone", &["copyurl"], "--header");
    let mut contenders = vec![Contender::new("ferry", move || Ok(ferry()))];
    let peers = [
        Contender::new("curl", named(Box::new(curl))),
        Contender::new("wget", named(Box::new(wget))),
        Contender::new("aria2c", named(Box::new(aria2))),
        Contender::new("rclone copyurl", move || {
            let mut command = rclone()?;
            command.arg(url).arg(bench.fetched().join("x"));
            Ok(command)
        }),
        Contender::new("curl + sync", move || {
            let mut command = bench.command("sh");
            let header = header.map_or_else(String::new, |header| format!("--header '{header}'"));
            command.args(["-c", &format!("curl --silent --fail --output x {header} '{url}' && sync x")]);
            Ok(command)
        }),
    ];
    contenders.extend(peers.into_iter().filter_map(|peer| peer.peer(notes)));
    contenders
}

/// The programs that download one URL over TLS, ready to run: those that speak HTTP/2 do, and curl without it once more.
fn secure_downloaders<'a>(
    bench: &'a Bench,
    url: &'a str,
    certificate: &'a Path,
    notes: &mut Vec<String>,
) -> Vec<Contender<'a>> {
    let peer = |program: &'static str, arguments: &'static [&'static str], trust: &'static str| {
        move || {
            let mut command = bench.command(program);
            command.args(arguments).arg(format!("{trust}{}", certificate.display())).arg(url);
            Ok(command)
        }
    };
    let mut contenders = vec![Contender::new("ferry", move || {
        let mut command = bench.ferry();
        command.args(["download", "--quiet", url, "--dir"]).arg(bench.fetched());
        command.env("SSL_CERT_FILE", certificate);
        Ok(command)
    })];
    const CURL: &[&str] = &["--silent", "--fail", "--output", "x", "--cacert"];
    let curl = move |version: &'static str| {
        move || {
            let mut command = bench.command("curl");
            command.arg(version).args(CURL).arg(certificate).arg(url);
            Ok(command)
        }
    };
    let peers = [
        Contender::new("curl", curl("--http2")),
        Contender::new("curl --http1.1", curl("--http1.1")),
        Contender::new("wget", peer("wget", &["--quiet", "--output-document", "x"], "--ca-certificate=")),
        Contender::new("aria2c", peer("aria2c", &["--quiet", "--out", "x"], "--ca-certificate=")),
    ];
    contenders.extend(peers.into_iter().filter_map(|peer| peer.peer(notes)));
    contenders
}

/// What one download may cost: one request, and hardly a byte twice.
fn check_cost(about: &str, samples: &[Samples], needed: u64, one_request: bool) -> Vec<Check> {
    let Some(ours) = samples.iter().find(|samples| samples.name == "ferry") else { return Vec::new() };
    let twice = (ours.cost.bytes as f64 / needed as f64 - 1.0) * 100.0;
    let requests = one_request.then(|| check("requests", about, ours.cost.requests as f64)).flatten();
    requests.into_iter().chain(check("twice", about, twice.max(0.0))).collect()
}

fn check_memory(about: &str, samples: &[Samples]) -> Option<Check> {
    let most =
        samples.iter().filter(|samples| samples.name.starts_with("ferry")).map(Samples::memory).max()?;
    check("memory", about, mib(most))
}

/// One large file down, as a plain link and as an asset.
pub fn download(bench: &Bench) -> Done<Outcome> {
    const NAMED: &[&str] = &["curl", "curl --http1.1", "wget", "aria2c"];
    let mut outcome = Outcome::default();
    let size = bench.size;
    let source = bench.file("large.bin", size)?;
    let before = || bench.clean();
    if let Some(nginx) = &bench.nginx {
        let url = nginx.url("large.bin");
        let ferry = || {
            let mut command = bench.ferry();
            command.args(["download", "--quiet", &url, "--dir"]).arg(bench.fetched());
            command
        };
        let after = || expect(&bench.fetched(), 1, size).and_then(|()| nginx.take_log());
        let contenders = downloaders(bench, ferry, &url, None, &mut outcome.notes);
        nginx.take_log()?;
        let samples =
            race(bench.rounds, &bench.complaints(), &Race { contenders, before: &before, after: &after })?;
        outcome.tables.push(race_table("From nginx", &samples, size));
        outcome.groups.push(race_group("One large file down, from nginx", &samples));
        outcome.checks.extend(check_ratio("download", "nginx", &samples, "ferry", NAMED));
        outcome.checks.extend(check_memory("one large file down", &samples));
        outcome.checks.extend(check_cost("nginx", &samples, size, true));
        if let Some((url, certificate)) = nginx.secure_url("large.bin") {
            let contenders = secure_downloaders(bench, &url, certificate, &mut outcome.notes);
            nginx.take_log()?;
            let samples = race(
                bench.rounds,
                &bench.complaints(),
                &Race { contenders, before: &before, after: &after },
            )?;
            outcome.tables.push(race_table("From nginx, over TLS", &samples, size));
            outcome.checks.extend(check_ratio("download", "nginx, over TLS", &samples, "ferry", NAMED));
            outcome.checks.extend(check_cost("nginx, over TLS", &samples, size, true));
        } else {
            outcome.notes.push("openssl is not installed: TLS is not measured.".to_owned());
        }
    } else {
        outcome.notes.push(NO_NGINX.to_owned());
    }

    bench.clean()?;
    bench.sandbox.forget()?;
    let sent =
        crate::program::output(bench.ferry().args(["upload", "--quiet", "--service", "mavi"]).arg(&source))?;
    let asset = sent.split('\t').next().unwrap_or_default().to_owned();
    let url = format!("{}/{asset}/download", bench.sandbox.mavi());
    let header = format!("Authorization: {KEY}");
    let ferry = || {
        let mut command = bench.ferry();
        command.args(["download", "--quiet", &asset, "--service", "mavi", "--dir"]).arg(bench.fetched());
        command
    };
    let after = || expect(&bench.fetched(), 1, size).and_then(|()| bench.sandbox.take_log());
    let contenders = downloaders(bench, ferry, &url, Some(&header), &mut Vec::new());
    bench.sandbox.take_log()?;
    let samples =
        race(bench.rounds, &bench.complaints(), &Race { contenders, before: &before, after: &after })?;
    outcome.tables.push(race_table("From the sandbox, as a MAVI asset", &samples, size));
    outcome.groups.push(race_group("One large file down, from the sandbox", &samples));
    outcome.checks.extend(check_ratio("download", "sandbox", &samples, "ferry", NAMED));
    outcome.checks.extend(check_cost("sandbox", &samples, size, true));
    bench.sandbox.forget()?;
    remove(&source)?;
    Ok(outcome)
}

/// One large file up: to a sink, and to the store behind signed URLs in each way that there is.
pub fn upload(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    let size = bench.size;
    let source = bench.file("large.bin", size)?;
    let before = || bench.clean().and_then(|()| bench.sandbox.forget());
    let curl = |arguments: &[&str], url: &str| {
        let mut command = bench.command("curl");
        command.args(["--silent", "--fail", "--output", "/dev/null"]).args(arguments);
        command.arg(if arguments.contains(&"-F") { file_field(&source) } else { source.clone().into() });
        command.arg(url);
        command
    };

    let sink = format!("{}/sink/large.bin", bench.sandbox.url);
    let contenders = [
        Some(Contender::new("ferry", || {
            let mut command = bench.ferry();
            command.args(["upload", "--quiet", "--method", "put", "--to", &sink]).arg(&source);
            Ok(command)
        })),
        Contender::new("curl -T", || Ok(curl(&["-T"], &sink))).peer(&mut outcome.notes),
    ];
    let after = || {
        let cost = bench.sandbox.take_log()?;
        if cost.bytes < size { Err(format!("sent {} bytes", cost.bytes)) } else { Ok(cost) }
    };
    bench.sandbox.take_log()?;
    let samples = race(
        bench.rounds,
        &bench.complaints(),
        &Race { contenders: contenders.into_iter().flatten().collect(), before: &before, after: &after },
    )?;
    outcome.tables.push(race_table("PUT to the sink", &samples, size));
    outcome.groups.push(race_group("One large file up, by PUT", &samples));
    outcome.checks.extend(check_ratio("upload", "sink", &samples, "ferry", &["curl -T"]));
    outcome.checks.extend(check_memory("one large file up", &samples));

    let service = |kind: &'static str| {
        let source = &source;
        move || {
            bench.sandbox.sign_with(kind)?;
            let mut command = bench.ferry();
            command.args(["upload", "--quiet", "--service", "mavi"]).arg(source);
            Ok(command)
        }
    };
    let signed = |kind: &'static str, arguments: &'static [&'static str]| {
        let curl = &curl;
        move || {
            bench.sandbox.sign_with(kind)?;
            let url = bench.sandbox.signed_url("large.bin")?;
            bench.sandbox.take_log()?;
            Ok(curl(arguments, &url))
        }
    };
    let contenders = [
        Some(Contender::new("ferry (PUT)", service("google_put"))),
        Contender::new("curl -T", signed("google_put", &["-T"])).peer(&mut Vec::new()),
        Some(Contender::new("ferry (form)", service("form"))),
        Contender::new("curl -F", signed("form", &["-F"])).peer(&mut Vec::new()),
        Some(Contender::new("ferry (resumable)", service("google_resumable"))),
    ];
    let after = || match bench.sandbox.holds() {
        (1, bytes) if bytes == size => bench.sandbox.take_log(),
        (files, bytes) => Err(format!("left {files} objects with {bytes} bytes at the store")),
    };
    let samples = race(
        bench.rounds,
        &bench.complaints(),
        &Race { contenders: contenders.into_iter().flatten().collect(), before: &before, after: &after },
    )?;
    outcome.tables.push(race_table("To the store behind signed URLs, as a MAVI asset", &samples, size));
    outcome.groups.push(race_group("One large file up, to a store on the same disk", &samples));
    outcome.checks.extend(check_memory("one large file up, each way", &samples));
    bench.sandbox.sign_with("google_resumable")?;
    remove(&source)?;
    Ok(outcome)
}

fn file_field(source: &Path) -> std::ffi::OsString {
    let mut field = std::ffi::OsString::from("file=@");
    field.push(source);
    field
}

/// A server that gives each connection little.
pub fn throttled(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    let Some(nginx) = &bench.nginx else {
        outcome.notes.push(NO_NGINX.to_owned());
        return Ok(outcome);
    };
    let size = bench.size.min(THROTTLED);
    let source = bench.file("throttled.bin", size)?;
    let url = nginx.url(&format!("{SLOW}/throttled.bin"));
    let aria2 = |more: &'static [&'static str]| {
        let url = &url;
        move || {
            let mut command = bench.command("aria2c");
            command.args(["--quiet", "--out", "x", "-x16", "-s16"]).args(more).arg(url);
            Ok(command)
        }
    };
    let contenders = [
        Some(Contender::new("ferry", || {
            let mut command = bench.ferry();
            command.args(["download", "--quiet", &url, "--dir"]).arg(bench.fetched());
            Ok(command)
        })),
        Contender::new("aria2c -x16 -s16", aria2(&[])).peer(&mut outcome.notes),
        Contender::new("aria2c -x16 -s16 -k1M", aria2(&["-k1M"])).peer(&mut Vec::new()),
    ];
    nginx.take_log()?;
    let samples = race(
        bench.rounds.min(THROTTLED_ROUNDS),
        &bench.complaints(),
        &Race {
            contenders: contenders.into_iter().flatten().collect(),
            before: &|| bench.clean(),
            after: &|| expect(&bench.fetched(), 1, size).and_then(|()| nginx.take_log()),
        },
    )?;
    let caption = format!("{:.0} MiB; one connection needs {} s", mib(size), size / SLOW_RATE);
    outcome.tables.push(race_table(&caption, &samples, size));
    outcome.groups.push(race_group("4 MiB/s a connection", &samples));
    let named = ["aria2c -x16 -s16", "aria2c -x16 -s16 -k1M"];
    outcome.checks.extend(check_ratio("throttled", "nginx", &samples, "ferry", &named));
    outcome.checks.extend(check_memory("throttled", &samples));
    outcome.checks.extend(check_cost("throttled", &samples, size, false));
    remove(&source)?;
    Ok(outcome)
}

/// Many small files, down and up.
pub fn small(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    let folder = bench.folder.join("served/small");
    make(&folder)?;
    let names: Vec<String> = (0..SMALL_FILES).map(|number| format!("{number:04}.bin")).collect();
    for name in &names {
        // Each with its own bytes, so that no two are the same upload.
        let mut bytes = name.repeat(SMALL_SIZE as usize / name.len() + 1).into_bytes();
        bytes.truncate(SMALL_SIZE as usize);
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let all = SMALL_FILES as u64 * SMALL_SIZE;
    if bench.nginx.is_some() {
        small_down(bench, &names, all, &mut outcome)?;
    } else {
        outcome.notes.push(NO_NGINX.to_owned());
    }
    small_up(bench, &folder, &names, all, &mut outcome)?;
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(outcome)
}

fn curl_parallel(bench: &Bench, list: &Path) -> Command {
    let mut command = bench.command("curl");
    command.args(["--silent", "--fail", "--parallel", "--config"]).arg(list);
    command
}

fn small_down(bench: &Bench, names: &[String], all: u64, outcome: &mut Outcome) -> Done {
    let Some(nginx) = &bench.nginx else { return Ok(()) };
    let urls: Vec<String> = names.iter().map(|name| nginx.url(&format!("small/{name}"))).collect();
    let list = bench.folder.join("small-down.curl");
    let lines = names.iter().zip(&urls).fold(String::new(), |mut text, (name, url)| {
        let _ = writeln!(text, "url = \"{url}\"\noutput = \"{name}\"");
        text
    });
    std::fs::write(&list, lines).map_err(|error| error.to_string())?;
    let contenders = [
        Some(Contender::new("ferry", || {
            let mut command = bench.ferry();
            command.args(["download", "--quiet", "--dir"]).arg(bench.fetched()).args(&urls);
            Ok(command)
        })),
        Contender::new("curl --parallel", || Ok(curl_parallel(bench, &list))).peer(&mut outcome.notes),
    ];
    nginx.take_log()?;
    let samples = race(
        bench.rounds,
        &bench.complaints(),
        &Race {
            contenders: contenders.into_iter().flatten().collect(),
            before: &|| bench.clean(),
            after: &|| expect(&bench.fetched(), names.len(), all).and_then(|()| nginx.take_log()),
        },
    )?;
    outcome.tables.push(race_table("Down", &samples, all));
    outcome.groups.push(race_group("5,000 files of 8 KiB down", &samples));
    outcome.checks.extend(check_ratio("small-down", "nginx", &samples, "ferry", &["curl --parallel"]));
    outcome.checks.extend(check_small_memory("down", &samples));
    outcome.checks.extend(check_cost("many small files", &samples, all, false));
    Ok(())
}

fn small_up(bench: &Bench, folder: &Path, names: &[String], all: u64, outcome: &mut Outcome) -> Done {
    bench.sandbox.sign_with("google_put")?;
    let list = bench.folder.join("small-up.curl");
    let mut lines = String::new();
    for name in names {
        let path: PathBuf = folder.join(name);
        let url = bench.sandbox.signed_url(name)?;
        let _ =
            writeln!(lines, "upload-file = \"{}\"\nurl = \"{url}\"\noutput = \"/dev/null\"", path.display());
    }
    std::fs::write(&list, lines).map_err(|error| error.to_string())?;
    let contenders = [
        Some(Contender::new("ferry", || {
            let mut command = bench.ferry();
            command.args(["upload", "--quiet", "--service", "mavi"]).arg(folder);
            Ok(command)
        })),
        Contender::new("curl --parallel", || Ok(curl_parallel(bench, &list))).peer(&mut Vec::new()),
    ];
    let after = || -> Done<Cost> {
        match bench.sandbox.holds() {
            (files, bytes) if files == names.len() as u64 && bytes == all => bench.sandbox.take_log(),
            (files, bytes) => Err(format!("left {files} objects with {bytes} bytes at the store")),
        }
    };
    bench.sandbox.take_log()?;
    let samples = race(
        bench.rounds,
        &bench.complaints(),
        &Race {
            contenders: contenders.into_iter().flatten().collect(),
            before: &|| bench.clean().and_then(|()| bench.sandbox.forget()),
            after: &after,
        },
    )?;
    outcome.tables.push(race_table("Up", &samples, all));
    outcome.groups.push(race_group("5,000 files of 8 KiB up", &samples));
    outcome.checks.extend(check_ratio("small-up", "sandbox", &samples, "ferry", &["curl --parallel"]));
    outcome.checks.extend(check_small_memory("up", &samples));
    bench.sandbox.sign_with("google_resumable")
}

fn check_small_memory(about: &str, samples: &[Samples]) -> Option<Check> {
    let ours = samples.iter().find(|samples| samples.name == "ferry")?;
    check("small-memory", about, mib(ours.memory()))
}

fn remove(path: &Path) -> Done {
    std::fs::remove_file(path).map_err(|error| format!("removing {}: {error}", path.display()))
}
