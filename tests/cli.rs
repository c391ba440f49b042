//! The terminal's contract, line by line: exit codes, stdout, JSON, errors, secrets, kills and resumes.
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "names must arrive letter by letter")]

#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use ferry_sandbox::{Fault, FaultKind};
use serde_json::Value;
use support::files::{assert_holds, assert_nowhere_below, names, noise};
use support::home::{Home, Run, wait_until};
use support::peers::{free_port, is_root};
use support::service::Service;

const MIB: usize = 1 << 20;

/// Uploads a file to MAVI and gives its asset id.
fn upload(home: &Home, path: &Path) -> String {
    let run = home.ferry([Path::new("upload"), path, Path::new("--service"), Path::new("mavi")]).exits(0);
    run.asset_ids().remove(0)
}

fn mavi<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().chain(["--service", "mavi"]).collect()
}

/// Answers every request with these bytes and closes.
fn answers(bytes: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut part = [0; 1024];
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => head.extend_from_slice(&part[..read]),
                }
            }
            // The other side may be gone already.
            let _ = stream.write_all(bytes);
        }
    });
    url
}

#[test]
fn what_nothing_proves_is_said_to_be_not_confirmed() {
    let home = Home::new();
    let open_ended = answers(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome bytes");
    let run = home.ferry(["download", &format!("{open_ended}/one.bin")]).exits(0);
    assert!(run.stderr.contains("one.bin: saved, not confirmed"), "{}", run.stderr);
    let run = home.ferry(["download", &format!("{open_ended}/two.bin"), "--json"]).exits(0);
    assert_eq!(run.objects().last().unwrap()["verified"], "none");
    let run = home.ferry(["download", &format!("{open_ended}/three.bin"), "--quiet"]).exits(0);
    assert!(!run.stderr.contains("not confirmed"), "{}", run.stderr);

    let measured = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nsome bytes");
    let run = home.ferry(["download", &format!("{measured}/four.bin")]).exits(0);
    assert!(!run.stderr.contains("not confirmed"), "the length is a proof of its kind: {}", run.stderr);
}

#[test]
fn a_file_name_forges_no_line_and_no_field_of_the_result() {
    let home = Home::new();
    let name = "a\nre_0000\tfilm.mp4";
    home.file(&format!("films/{name}"), b"x");
    home.file("films/photo\u{202e}gpj\u{9b}31m.exe", b"x");
    let run = home.ferry(["upload", "films"]).exits(0);
    let paths: Vec<&str> = run.lines().into_iter().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(
        paths,
        [r"$'films/a\012re_0000\011film.mp4'", "$'films/photo\u{202e}gpj\\302\\23331m.exe'"],
        "{}",
        run.stdout
    );
    // In JSON it is the very name, with nothing that steers a terminal.
    let run = home.ferry(["upload", "films", "--json"]).exits(0);
    let unfit = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!run.stdout.contains(unfit), "{:?}", run.stdout);
    let done: Vec<String> = run
        .objects()
        .iter()
        .filter(|event| event["event"] == "completed")
        .map(|event| event["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(done, ["films/a\nre_0000\tfilm.mp4", "films/photo\u{202e}gpj\u{9b}31m.exe"]);
}

// ---- Nothing set up ----

#[test]
fn with_nothing_set_up_a_file_goes_up_and_comes_back_in_later_runs() {
    let home = Home::new();
    let content = noise(1, 3 * MIB + 17);
    let path = home.file("film.mp4", &content);
    let run = home.ferry(["upload", "film.mp4"]).exits(0);
    let (id, shown) = run.stdout.trim_end().split_once('\t').expect("an id, a tab, the path");
    assert!(!id.is_empty() && shown == "film.mp4", "{}", run.stdout);

    let run = home.ferry(["download", id]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("film.mp4").to_str().unwrap()]);
    assert_holds(&home.downloads().join("film.mp4"), &content);
    assert!(home.data().join("sandbox").is_dir());
    assert_holds(&path, &content);

    // Once more: a second copy, nothing overwritten.
    let run = home.ferry(["download", id]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("film (1).mp4").to_str().unwrap()]);
    assert_eq!(home.downloaded(), ["film (1).mp4", "film.mp4"]);
}

#[test]
fn the_demo_proves_the_whole_way_in_seconds_and_leaves_the_queue_alone() {
    let home = Home::new();
    let began = Instant::now();
    let run = home.ferry(["demo", "--size", "16MiB"]).exits(0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for word in ["signed", "sent", "verified", "streamed", "named", "compared", "sha256", "Proven"] {
        assert!(run.stdout.contains(word), "{word} is missing in: {}", run.stdout);
    }
    let [name] = <[String; 1]>::try_from(home.downloaded()).expect("one file");
    assert!(!name.is_ascii() && name.starts_with("Überfahrt") && name.ends_with(".bin"), "{name}");
    assert_eq!(run.lines().last(), Some(&home.downloads().join(&name).to_str().unwrap()));
    assert_eq!(std::fs::metadata(home.downloads().join(&name)).unwrap().len(), 16 << 20);
    assert_eq!(home.ferry(["queue", "--json"]).exits(0).stdout, "");
    assert!(!home.data().join("demo").exists());

    let objects = home.ferry(["demo", "--size", "1000000", "--json"]).exits(0).objects();
    let proven = objects.last().unwrap();
    assert_eq!(proven["event"], "proven");
    assert_eq!(proven["bytes"], 1_000_000);
    assert_eq!(home.downloaded().len(), 2);
}

#[test]
fn the_sandbox_tells_its_addresses_and_runs_until_it_is_interrupted() {
    let home = Home::new();
    let port = free_port();
    let running = home.start(["sandbox", "--port", &port.to_string()]);
    wait_until("the sandbox listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    std::thread::sleep(Duration::from_millis(100));
    stop(&running);
    let run = running.wait().exits(0);
    let lines = run.lines();
    assert_eq!(lines[0], format!("listening on http://127.0.0.1:{port}"));
    for (line, variable) in
        lines[1..].iter().zip(["FERRY_MAVI_URL", "FERRY_VISUAL_SEARCH_URL", "FERRY_OFFLINE_TUBE_URL"])
    {
        assert!(line.starts_with(&format!("{variable}=http://127.0.0.1:{port}")), "{line}");
    }
    // A key that is another one each time, for the two that want one.
    let key = lines[4].strip_prefix("FERRY_MAVI_KEY=").unwrap();
    assert_eq!(lines[5], format!("FERRY_VISUAL_SEARCH_KEY={key}"));
    assert_eq!((lines.len(), key.len()), (6, 64));
}

#[cfg(unix)]
fn stop(running: &support::home::Started) {
    running.signal(rustix::process::Signal::INT);
}

#[cfg(not(unix))]
fn stop(_running: &support::home::Started) {
    panic!("Ctrl-C cannot be sent to one program here");
}

// ---- Results ----

#[test]
fn results_stand_in_the_order_given() {
    let service = Service::start();
    let home = Home::with(&service);
    // The first is the slowest.
    home.file("a.bin", &noise(1, 4 * MIB));
    home.file("b.bin", &noise(2, 1000));
    home.file("c.bin", b"");
    let run = home.ferry(mavi(&["upload", "c.bin", "a.bin", "b.bin"])).exits(0);
    let paths: Vec<&str> = run.lines().iter().map(|line| line.split_once('\t').unwrap().1).collect();
    assert_eq!(paths, ["c.bin", "a.bin", "b.bin"]);

    let ids = run.asset_ids();
    let run = home.ferry(mavi(&["download", &ids[1], &ids[0], &ids[2]])).exits(0);
    let expected = ["a.bin", "c.bin", "b.bin"].map(|name| home.downloads().join(name).display().to_string());
    assert_eq!(run.lines(), expected);
    assert_holds(&home.downloads().join("a.bin"), &noise(1, 4 * MIB));
    assert_holds(&home.downloads().join("c.bin"), b"");
}

#[test]
fn one_failure_does_not_keep_back_the_others() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", &noise(1, 1000));
    home.file("b.bin", &noise(2, 1000));
    let run =
        home.ferry(mavi(&["upload", "a.bin", "missing.bin", "b.bin"])).exits(1).says_error("source_missing");
    assert_eq!(run.lines().len(), 2);
    assert!(run.stderr.contains("missing.bin"));

    let id = run.asset_ids().remove(0);
    let run = home.ferry(mavi(&["download", "re_unknown", &id])).exits(1).says_error("not_found");
    assert_eq!(run.lines(), [home.downloads().join("a.bin").to_str().unwrap()]);
    assert_eq!(home.downloaded(), ["a.bin"], "nothing under a name that is not whole");
}

#[test]
fn folders_send_every_file_in_them() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("photos/one.jpg", &noise(1, 100));
    home.file("photos/trip/two.jpg", &noise(2, 200));
    home.file("photos/trip/three 渡し船.jpg", &noise(3, 300));
    let run = home.ferry(mavi(&["upload", "photos/"])).exits(0);
    let mut paths: Vec<&str> = run.lines().iter().map(|line| line.split_once('\t').unwrap().1).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["photos/one.jpg", "photos/trip/three 渡し船.jpg", "photos/trip/two.jpg"]);

    std::fs::create_dir(home.path().join("empty")).unwrap();
    home.ferry(mavi(&["upload", "empty"])).exits(1).says_error("invalid_input");
}

#[test]
fn a_folder_is_sent_without_the_data_folder_in_it() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", b"a");
    let data = home.data();
    let run = home.ferry(mavi(&["upload", "."])).exits(0);
    assert!(data.starts_with(home.path()) && data.join("ferry.db").is_file());
    assert_eq!(run.lines().len(), 1, "{}", run.stdout);
    home.ferry(mavi(&["upload", data.to_str().unwrap()])).exits(1).says_error("invalid_input");
}

#[test]
fn progress_comes_at_most_once_a_second_without_a_terminal_and_not_at_all_when_quiet() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(MIB as u64);
    let run = home.ferry(["download", &service.link(3 << 20, "a.bin"), "--connections", "1"]).exits(0);
    let seconds = run.took.as_secs() as usize;
    assert!(run.stderr.lines().count() >= 1, "three seconds without a word");
    assert!(
        run.stderr.lines().count() <= seconds + 1,
        "{} lines in {seconds} s:\n{}",
        run.stderr.lines().count(),
        run.stderr
    );
    assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\r'), "{:?}", run.stderr);

    let run = home.ferry(["download", &service.link(1 << 20, "b.bin"), "--quiet"]).exits(0);
    assert_eq!(run.stderr, "");
    assert_eq!(run.lines().len(), 1);
}

#[test]
fn a_reader_that_leaves_does_not_stop_the_transfers() {
    let service = Service::start();
    let home = Home::with(&service);
    let mut command =
        home.command(["download", &service.link(1 << 20, "a.bin"), &service.link(1 << 20, "b.bin")]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    assert_eq!(home.downloaded(), ["a.bin", "b.bin"]);
}

// ---- JSON ----

/// Fields that every line about a transfer has, those it may have, and how often `progress` came.
fn check_events(run: &Run) -> HashMap<String, Vec<Value>> {
    const EVENTS: [&str; 7] = ["added", "started", "progress", "completed", "failed", "paused", "canceled"];
    const FIELDS: [&str; 13] = [
        "event", "id", "kind", "service", "name", "bytes", "total", "path", "asset_id", "verified", "code",
        "message", "note",
    ];
    let mut by_id: HashMap<String, Vec<Value>> = HashMap::new();
    for object in run.objects() {
        let fields = object.as_object().unwrap();
        for field in fields.keys() {
            assert!(FIELDS.contains(&field.as_str()), "unknown field {field}");
        }
        for field in ["event", "id", "kind", "service", "name", "bytes", "total"] {
            assert!(fields.contains_key(field), "{field} is missing in {object}");
        }
        assert!(EVENTS.contains(&object["event"].as_str().unwrap()), "{object}");
        assert!(["upload", "download"].contains(&object["kind"].as_str().unwrap()));
        assert!(object["id"].is_u64() && object["bytes"].is_u64());
        assert!(object["total"].is_u64() || object["total"].is_null());
        if let Some(total) = object["total"].as_u64() {
            assert!(object["bytes"].as_u64().unwrap() <= total, "more than all: {object}");
        }
        match object["event"].as_str().unwrap() {
            "completed" => {
                let verified = object["verified"].as_str().expect("what was proven");
                assert!(["crc32c", "md5", "sha256", "length", "none"].contains(&verified));
                assert!(object["path"].is_string());
            }
            "failed" => assert!(object["code"].is_string() && object["message"].is_string()),
            _ => assert!(object.get("code").is_none()),
        }
        by_id.entry(object["id"].to_string()).or_default().push(object);
    }
    by_id
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).filter(|word| *word != "progress").collect()
}

#[test]
fn json_lines_tell_the_course_of_every_transfer() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", &noise(1, 2 * MIB));
    let run = home.ferry(mavi(&["upload", "a.bin", "--json"])).exits(0);
    let by_id = check_events(&run);
    let events = by_id.values().next().unwrap();
    assert_eq!(words(events), ["added", "started", "completed"]);
    let last = events.last().unwrap();
    assert_eq!(last["kind"], "upload");
    assert_eq!(last["service"], "mavi");
    assert!(["crc32c", "md5", "sha256"].contains(&last["verified"].as_str().unwrap()), "{last}");
    assert_eq!(last["bytes"], 2 * MIB);
    let id = last["asset_id"].as_str().unwrap().to_owned();

    service.slow(2 << 20);
    let run = home.ferry(mavi(&["download", &id, "re_unknown", "--json"])).exits(1).says_error("not_found");
    let by_id = check_events(&run);
    assert_eq!(by_id.len(), 2);
    for events in by_id.values() {
        let progress = events.iter().filter(|event| event["event"] == "progress").count();
        assert!(progress <= 5 * (run.took.as_secs() as usize + 1), "{progress} in {:?}", run.took);
        match *words(events).last().unwrap() {
            "completed" => {
                assert_eq!(words(events), ["added", "started", "completed"]);
                assert!(progress > 0);
                let path = events.last().unwrap()["path"].as_str().unwrap().to_owned();
                assert_eq!(path, home.downloads().join("a.bin").to_str().unwrap());
            }
            other => {
                assert_eq!(other, "failed");
                assert_eq!(events.last().unwrap()["code"], "not_found");
            }
        }
    }
}

#[test]
fn everything_on_stdout_is_json_whatever_the_command() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.bin", &noise(1, 1000));
    let id = upload(&home, Path::new("a.bin"));
    for line in [
        vec!["queue"],
        vec!["services"],
        vec!["assets"],
        vec!["assets", "--search", "a"],
        vec!["assets", "info", &id],
        vec!["check", "mavi"],
        vec!["pause"],
        vec!["cancel"],
        vec!["remove"],
        vec!["resume"],
        vec!["retry"],
        vec!["assets", "delete", &id, "--yes"],
        vec!["pause", "999"],
    ] {
        let run = home.ferry(line.iter().copied().chain(["--json"]));
        assert!(run.code == Some(0) || line == ["pause", "999"], "{line:?}: {}", run.stderr);
        assert!(run.objects().iter().all(Value::is_object), "{line:?}");
    }
}

// ---- Usage ----

#[test]
fn help_and_version_are_results_and_nonsense_is_usage() {
    let home = Home::new();
    assert!(home.ferry(["--help"]).exits(0).stdout.contains("Examples:"));
    assert!(home.ferry(["upload", "--help"]).exits(0).stdout.contains("signed-url.txt"));
    assert!(home.ferry(["--version"]).exits(0).stdout.starts_with("ferry "));
    assert!(home.ferry(["man"]).exits(0).stdout.contains(".TH ferry 1"));
    for line in [
        vec![],
        vec!["fly"],
        vec!["upload"],
        vec!["download", "a", "--connections", "99"],
        vec!["download", "a", "--limit-rate", "quick"],
        vec!["upload", "a", "--service", "ftp"],
        vec!["upload", "a", "b", "--to", "-"],
        vec!["demo", "--size", "12 parsecs"],
    ] {
        let run = home.ferry(&line).exits(2);
        assert_eq!(run.stdout, "", "{line:?}");
        assert!(run.stderr.contains("error: "), "{line:?}");
    }
    let run = home.ferry(["download", "a", "--limit-rate", "2X"]).exits(2);
    assert!(run.stderr.contains("use K, M, G or T"), "{}", run.stderr);
    assert!(!home.data().exists(), "a typing error makes no data folder");
}

#[test]
fn what_was_typed_wrong_is_quoted_without_its_secret() {
    let home = Home::new();
    let url = "https://storage.example/b/o?X-Goog-Signature=marked5ecret&x=marked5ecret";
    home.file("a.bin", b"a");
    for line in [
        vec!["upload", "a.bin", "--to", url, "--method", "fax"],
        vec!["upload", "a.bin", "--two", url],
        vec!["upload", "a.bin", "--method", url],
        vec!["upload", url],
        vec!["fly", url],
        vec![url],
        vec!["queue", url],
        vec!["download", "a", "--limit-rate", url],
        vec!["pause", url],
    ] {
        home.ferry(&line).exits(2).hides("marked5ecret");
    }
}

// ---- Links by stdin ----

#[test]
fn links_come_by_stdin_one_a_line_in_their_place_and_not_by_the_list_of_processes() {
    let service = Service::start();
    let home = Home::new();
    let link = |name: &str| service.link(1000, name);
    let lines = format!(
        "\u{feff}# two\r\n\r\n{}\r\n \t {}  \n\n#{}\n{}",
        link("b.bin"),
        link("c.bin"),
        link("no.bin"),
        link("d.bin")
    );
    let run =
        home.ferry_with_input(["download", &link("a.bin"), "-", &link("e.bin")], lines.as_bytes()).exits(0);
    let names: Vec<_> = run.lines().iter().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["a.bin", "b.bin", "c.bin", "d.bin", "e.bin"]);
    assert_eq!(home.downloaded().len(), 5);

    let mut running = home.command(["download", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    writeln!(stdin, "{}", link("first.bin")).unwrap();
    wait_until("the first is there", || home.downloaded().contains(&"first.bin".to_owned()));
    let shown = std::fs::read_to_string(format!("/proc/{}/cmdline", running.id()));
    assert!(shown.is_err() || !shown.unwrap().contains("first.bin"));
    writeln!(stdin, "{}", link("second.bin")).unwrap();
    drop(stdin);
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(home.downloaded().contains(&"second.bin".to_owned()));
}

#[test]
fn many_lines_are_many_downloads_and_ids_go_to_their_service() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("film.mp4", &noise(2, 1000));
    let id = upload(&home, &home.path().join("film.mp4"));
    home.ferry_with_input(mavi(&["download", "-"]), format!("{id}\n").as_bytes()).exits(0);
    assert_holds(&home.downloads().join("film.mp4"), &noise(2, 1000));

    let lines: String = (0..300).map(|number| service.link(10, &format!("{number}.bin")) + "\n").collect();
    let run = home.ferry_with_input(["download", "-", "--quiet"], lines.as_bytes()).exits(0);
    let in_order = run.lines().iter().enumerate().all(|(at, line)| line.ends_with(&format!("/{at}.bin")));
    assert!(in_order && run.lines().len() == 300, "{}", run.stdout);
}

#[test]
fn lines_that_are_none_are_told_and_the_others_go_on() {
    let service = Service::start();
    let home = Home::new();
    for nothing in ["", "\n\r\n", "# nothing\n", "\u{feff}"] {
        let run = home.ferry_with_input(["download", "-"], nothing.as_bytes()).exits(1);
        assert!(run.says_error("invalid_input").stderr.contains("stdin"));
    }
    home.ferry_with_input(["download", "-", "-"], service.link(10, "a.bin").as_bytes())
        .exits(1)
        .says_error("invalid_input");
    assert_eq!(home.downloaded(), ["a.bin"]);

    let mut lines =
        b"https://h.example/\xff?token=marked5ecret\nftp://h.example/?token=marked5ecret\n".to_vec();
    lines.extend(format!("{}\n", service.link(10, "b.bin")).bytes());
    let run = home.ferry_with_input(["download", "-"], &lines).exits(1).hides("marked5ecret");
    assert!(run.stderr.contains("Line 1 of stdin"), "{}", run.stderr);
    assert_eq!(run.lines().len(), 1, "{}", run.stdout);
    // Not without end.
    let endless = vec![b'a'; 1 << 20];
    let run = home.ferry_with_input(["download", "-"], &endless).exits(1).says_error("invalid_input");
    assert!(run.stderr.len() < 1000);
}

// ---- Lists, and checksums of one's own ----

/// The SHA-256 of a file, as `--checksum` takes it.
fn sha256_of(file: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(file);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn a_list_says_for_each_item_where_it_goes_and_what_it_must_be() {
    let service = Service::start();
    let home = Home::with(&service);
    let files: Vec<Vec<u8>> = (0..3).map(|seed| noise(seed, 3000)).collect();
    for (number, file) in files.iter().enumerate() {
        service.put_file(&format!("{number}.bin"), file);
    }
    let link = |number: usize| format!("{}/files/{number}.bin", service.url());
    let id = upload(&home, &home.file("film.mp4", &files[0]));
    let list = format!(
        "# what, where to, what it must be\r\n\r\n{}\tname=first.bin\tchecksum={}\r\n{}\tdir=sub folder\n{id}\tservice=mavi\n",
        link(0),
        sha256_of(&files[0]),
        link(1),
    );
    home.file("list.txt", list.as_bytes());
    let run = home.ferry(["download", "-i", "list.txt", "--json"]).exits(0);
    let ends: Vec<Value> = run.objects().into_iter().filter(|line| line["event"] == "completed").collect();
    let proofs: Vec<_> = ends.iter().map(|end| (end["name"].as_str(), end["verified"].as_str())).collect();
    assert!(proofs.contains(&(Some("first.bin"), Some("sha256"))), "{proofs:?}");
    assert_eq!(home.downloaded(), ["film.mp4", "first.bin"]);
    assert_holds(&home.downloads().join("first.bin"), &files[0]);
    assert_holds(&home.path().join("sub folder/1.bin"), &files[1]);

    // By stdin, in either way of saying so; the command line's own apply where a line says nothing.
    for words in [["download", "-i", "-"].as_slice(), &["download", "-"], &["download", "--input=-"]] {
        let words = words.iter().copied().chain(["--dir", "other"]);
        let line = format!("{}\tchecksum={}\n", link(2), sha256_of(&files[2]));
        let run = home.ferry_with_input(words, line.as_bytes()).exits(0);
        assert!(run.lines()[0].contains("other"), "{}", run.stdout);
    }
    assert_eq!(names(&home.path().join("other")), ["2 (1).bin", "2 (2).bin", "2.bin"]);
}

#[test]
fn a_bad_line_of_a_list_is_said_with_its_number_and_the_others_go_on() {
    let service = Service::start();
    let home = Home::new();
    let lines = [
        service.link(10, "a.bin"),
        format!("{}\tnmae=x", service.link(10, "marked5ecret.bin")),
        format!("{}\tchecksum=sha256:00", service.link(10, "marked5ecret.bin")),
        "ftp://h.example/?token=marked5ecret".to_owned(),
        format!("{}\tchecksum=md5:d41d8cd98f00b204e9800998ecf8427e", service.link(10, "wrong.bin")),
        service.link(10, "z.bin"),
    ];
    home.file("list.txt", lines.join("\n").as_bytes());
    let run = home.ferry(["download", "--input", "list.txt"]).exits(1).hides("marked5ecret");
    for number in 2..=4 {
        assert!(
            run.stderr.contains(&format!("Line {number} of `list.txt` cannot be used")),
            "{}",
            run.stderr
        );
    }
    assert!(run.stderr.contains("error[integrity_mismatch]"), "{}", run.stderr);
    assert_eq!(run.lines().len(), 2, "{}", run.stdout);
    assert_eq!(home.downloaded().iter().filter(|name| name.ends_with(".bin")).count(), 2);

    let run = home.ferry(["download", "-i", "nowhere.txt"]).exits(1).says_error("invalid_input");
    assert!(run.stderr.contains("nowhere.txt"), "{}", run.stderr);
    home.ferry(["download", "-i", "."]).exits(1).says_error("invalid_input");
}

#[test]
fn a_checksum_of_ones_own_decides_after_a_kill_too() {
    let service = Service::start();
    let home = Home::with(&service);
    for bad in ["sha256:00", "d41d8cd98f00b204e9800998ecf8427e", "crc64:00", "md5:"] {
        let run = home.ferry(["download", &service.link(10, "a.bin"), "--checksum", bad]).exits(2);
        assert!(run.stderr.contains("--checksum"), "{}", run.stderr);
    }
    service.slow(4 << 20);
    let wrong = sha256_of(b"something else");
    let link = service.link(8 << 20, "a.bin");
    let running = home.start(["download", &link, "--checksum", &wrong]);
    wait_until("bytes flow", || service.requests().iter().any(|request| request.sent > 0));
    running.kill();
    service.heal();
    let run = home.ferry(["resume"]).exits(1).says_error("integrity_mismatch");
    assert!(run.stderr.contains(wrong.trim_start_matches("sha256:")), "{}", run.stderr);
    assert!(!home.downloaded().contains(&"a.bin".to_owned()), "{:?}", home.downloaded());

    home.ferry(["download", &link]).exits(0);
    let name = home.downloaded().into_iter().find(|name| name.ends_with(".bin")).expect("the file");
    let right = sha256_of(&std::fs::read(home.downloads().join(name)).unwrap());
    let run = home.ferry(["download", &link, "--checksum", &right, "--json"]).exits(0);
    assert_eq!(run.objects().last().unwrap()["verified"], "sha256");
}

// ---- What can go wrong ----

#[test]
fn a_wrong_or_missing_key_is_said_with_the_way_out() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.file("a.bin", b"a");
    home.set("FERRY_MAVI_KEY", "sk-wrong-marked5ecret");
    let run =
        home.ferry(mavi(&["upload", "a.bin"])).exits(1).says_error("unauthorized").hides("marked5ecret");
    assert_eq!(run.stdout, "");
    let run = home.ferry(["check", "mavi"]).exits(1).says_error("unauthorized").hides("marked5ecret");
    assert!(run.stdout.contains("key refused"), "{}", run.stdout);
    home.set("FERRY_MAVI_KEY", "");
    home.ferry(mavi(&["download", "re_1"])).exits(1).says_error("unauthorized");
    let run = home.ferry(["check", "mavi"]).exits(1).says_error("unauthorized");
    assert_eq!(run.stdout, "", "a key that is not there was not refused");
    assert_nowhere_below(&home.data(), "marked5ecret", &[]);
}

#[test]
fn a_key_without_a_keychain_is_not_claimed_to_be_kept() {
    let home = Home::new();
    let run = home
        .ferry_with_input(["key", "set", "mavi"], b"sk-marked5ecret\n")
        .exits(1)
        .says_error("unsupported");
    let run = run.hides("marked5ecret");
    assert!(run.stderr.contains("FERRY_MAVI_KEY"), "{}", run.stderr);
    home.ferry_with_input(["key", "set", "mavi"], b"").exits(1).says_error("invalid_input");
    home.ferry(["key", "set", "sandbox"]).exits(2);
    home.ferry(["key", "remove", "mavi"]).exits(0);
    assert_nowhere_below(&home.data(), "marked5ecret", &[]);
}

#[test]
fn files_that_cannot_be_read_are_refused_before_anything_is_signed() {
    let service = Service::start();
    let home = Home::with(&service);
    home.ferry(mavi(&["upload", "nowhere.bin"])).exits(1).says_error("source_missing");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if is_root() {
            eprintln!("skipped: for root no file is unreadable");
        } else {
            let path = home.file("closed.bin", b"closed");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
            home.ferry(mavi(&["upload", "closed.bin"])).exits(1).says_error("permission_denied");
        }
        let pipe = home.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        home.ferry(mavi(&["upload", "pipe"])).exits(1).says_error("invalid_input");
    }
    assert!(service.requests().iter().all(|request| !request.path.contains("signed-url")));
}

#[test]
fn hostile_names_stay_in_the_folder() {
    let service = Service::start();
    let home = Home::with(&service);
    for (name, saved) in [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\evil.exe", "evil.exe"),
        ("CON.txt", "_CON.txt"),
        (".bashrc", "bashrc"),
        ("run.desktop", "run.desktop.download"),
        ("a<b>:c|d?.txt", "a_b__c_d_.txt"),
    ] {
        service.heal();
        let value = format!("attachment; filename=\"{}\"", name.replace('\\', "\\\\"));
        service.fault(FaultKind::Headers {
            headers: vec![("Content-Disposition".to_owned(), value.as_str().into())],
        });
        let run = home.ferry(["download", &service.link(100, "x"), "--dir", "safe"]).exits(0);
        assert_eq!(run.lines(), [home.path().join("safe").join(saved).to_str().unwrap()], "for {name}");
    }
    assert_eq!(names(&home.path().join("safe")).len(), 6);
}

#[test]
fn a_json_error_is_never_saved_as_a_file() {
    let service = Service::start();
    let home = Home::with(&service);
    service.fault(FaultKind::JsonError { code: "0001".into(), msg: "download video error".into() });
    let run =
        home.ferry(["download", "VI0123456789", "--service", "visual-search", "--retries", "0"]).exits(1);
    let run = run.says_error("service_error");
    assert!(run.stderr.contains("download video error"), "{}", run.stderr);
    assert_eq!(home.downloaded(), Vec::<String>::new());
}

#[test]
fn a_short_body_is_incomplete_and_goes_on_later() {
    let service = Service::start();
    let home = Home::with(&service);
    service.fault(FaultKind::NoLength);
    service.fault(FaultKind::Cut { after: 300_000 });
    let link = service.link(1_000_000, "a.bin");
    home.ferry(["download", &link, "--retries", "0"]).exits(1).says_error("incomplete");
    assert!(home.downloaded().iter().all(|name| name.ends_with(".ferrypart")), "{:?}", home.downloaded());
    service.heal();
    let run = home.ferry(["resume"]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("a.bin").to_str().unwrap()]);
    assert_eq!(home.downloaded(), ["a.bin"]);
    assert_eq!(std::fs::metadata(home.downloads().join("a.bin")).unwrap().len(), 1_000_000);
}

#[test]
fn no_network_is_said_and_can_be_tried_again() {
    let home = Home::new();
    let link = format!("http://127.0.0.1:{}/a.bin", free_port());
    home.ferry(["download", &link, "--retries", "0"]).exits(1).says_error("network");
    assert_eq!(home.downloaded(), Vec::<String>::new());
    let run = home.ferry(["queue"]).exits(0);
    assert!(run.stdout.contains("failed") && run.stdout.contains("network"), "{}", run.stdout);
    home.ferry(["retry", "--retries", "0"]).exits(1).says_error("network");
}

#[test]
fn an_existing_file_is_never_replaced() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("Downloads/a.bin", b"mine");
    let run = home.ferry(["download", &service.link(1000, "a.bin")]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("a (1).bin").to_str().unwrap()]);
    assert_holds(&home.downloads().join("a.bin"), b"mine");
    let run = home.ferry(["download", &service.link(1000, "b.bin"), "--name", "a.bin"]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("a (2).bin").to_str().unwrap()]);
}

#[test]
fn a_full_disk_is_said_and_goes_on_after_room_was_made() {
    if !cfg!(target_os = "linux") || !is_root() {
        eprintln!("skipped: a small disk can be made by root on Linux only");
        return;
    }
    let service = Service::start();
    let home = Home::with(&service);
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |words: &[&str]| std::process::Command::new("mount").args(words).arg(&disk).status();
    if !mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).is_ok_and(|status| status.success()) {
        eprintln!("skipped: this root may not mount");
        return;
    }
    let _unmount = Unmount(disk.clone());
    std::fs::write(disk.join("ballast"), noise(1, 2 * MIB)).unwrap();
    // Known to be too large before the first byte, and found out on the way.
    for (name, fault) in [("known.bin", None), ("unknown.bin", Some(FaultKind::NoLength))] {
        service.heal();
        if let Some(fault) = fault {
            service.fault(fault);
        }
        home.ferry(["download", &service.link(3 << 20, name), "--dir", "disk"])
            .exits(1)
            .says_error("disk_full");
        assert!(
            names(&disk).iter().all(|name| name == "ballast" || name.ends_with(".ferrypart")),
            "{:?}",
            names(&disk)
        );
        home.ferry(["cancel"]).exits(0);
        if name == "known.bin" {
            home.ferry(["remove", "1"]).exits(0);
        }
    }
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let run = home.ferry(["resume", "2"]).exits(0);
    assert_eq!(run.lines(), [disk.join("unknown.bin").to_str().unwrap()]);
    assert_eq!(std::fs::metadata(disk.join("unknown.bin")).unwrap().len(), 3 << 20);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn one_process_at_a_time_owns_the_data_folder_and_the_others_are_its_clients() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(MIB as u64);
    let running = home.start(["download", &service.link(20 << 20, "a.bin"), "--connections", "1"]);
    wait_until("bytes flow", || service.requests().iter().any(|request| request.sent > 0));
    let objects = home.ferry(["queue", "--json"]).exits(0).objects();
    assert_eq!(objects[0]["state"], "running");
    home.ferry(["queue", "--data-dir", "other"]).exits(0);
    running.kill();
}

// ---- Ends that come from outside ----

/// Synced data counts; the engine syncs every 5 seconds.
const LONG_ENOUGH_TO_SYNC: Duration = Duration::from_millis(6500);

#[test]
fn a_killed_download_goes_on_where_it_stood() {
    let service = Service::start();
    let home = Home::with(&service);
    let size = 24 << 20;
    service.slow(2 << 20);
    let running = home.start(["download", &service.link(size, "a.bin"), "--connections", "1"]);
    wait_until("bytes flow", || service.requests().iter().any(|request| request.sent > 0));
    std::thread::sleep(LONG_ENOUGH_TO_SYNC);
    running.kill();
    assert_eq!(home.downloaded(), ["a.bin.ferrypart"]);
    service.heal();

    let run = home.ferry(["resume"]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("a.bin").to_str().unwrap()]);
    assert_eq!(home.downloaded(), ["a.bin"]);
    let gets: Vec<_> =
        service.requests().into_iter().filter(|request| request.path.contains("a.bin")).collect();
    assert_eq!(gets[0].range, None);
    let second = gets[1].range.as_deref().expect("the second run asks for the rest only");
    let start: u64 = second.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(start >= 4 << 20, "only {start} bytes were kept");
    assert!(gets[1].if_range.is_some(), "the rest is asked for on a condition");
    let sent: u64 = gets[1..].iter().map(|request| request.sent).sum();
    assert!(sent <= size - start + (1 << 20), "{sent} bytes were sent again");

    // The same bytes as an undisturbed download.
    let whole = home.ferry(["download", &service.link(size, "a.bin"), "--dir", "whole"]).exits(0);
    let expected = std::fs::read(whole.lines()[0]).unwrap();
    assert_holds(&home.downloads().join("a.bin"), &expected);
}

#[test]
fn a_killed_download_with_several_connections_keeps_what_each_brought() {
    let service = Service::start();
    let home = Home::with(&service);
    let size = 128 << 20;
    service.slow(1 << 20);
    let running = home.start(["download", &service.link(size, "a.bin")]);
    wait_until("bytes flow", || service.requests().iter().any(|request| request.sent > 0));
    std::thread::sleep(LONG_ENOUGH_TO_SYNC);
    running.kill();
    assert_eq!(home.downloaded(), ["a.bin.ferrypart"], "it was killed on its way");
    let before = service.requests().len();
    service.heal();

    home.ferry(["resume"]).exits(0);
    assert_eq!(home.downloaded(), ["a.bin"]);
    let again: u64 = service.requests()[before..].iter().map(|request| request.sent).sum();
    assert!(again < size - (2 << 20), "{again} of {size} bytes were sent again");
    let whole = home.ferry(["download", &service.link(size, "a.bin"), "--dir", "whole"]).exits(0);
    assert_holds(&home.downloads().join("a.bin"), &std::fs::read(whole.lines()[0]).unwrap());
}

#[test]
fn the_same_download_again_goes_on_with_the_unfinished_one() {
    let service = Service::start();
    let home = Home::with(&service);
    let link = service.link(1 << 20, "a.bin");
    service.fault(Fault::new(FaultKind::Cut { after: 400_000 }));
    home.ferry(["download", &link, "--retries", "0"]).exits(1).says_error("incomplete");
    service.heal();
    let run = home.ferry(["download", &link]).exits(0);
    assert_eq!(run.lines(), [home.downloads().join("a.bin").to_str().unwrap()]);
    assert_eq!(home.downloaded(), ["a.bin"]);
    assert_eq!(home.ferry(["queue", "--json"]).exits(0).objects().len(), 1, "one row, not two");
    assert!(service.requests().iter().any(|request| request.range.is_some()), "the rest was asked for");
}

#[test]
fn a_killed_resumable_upload_goes_on_where_the_store_stands() {
    let service = Service::start();
    let home = Home::with(&service);
    let content = noise(7, 40 * MIB);
    home.file("film.mp4", &content);
    service.slow(8 << 20);
    let running = home.start(mavi(&["upload", "film.mp4", "--method", "resumable"]));
    let chunks = || {
        let requests = service.requests();
        requests
            .into_iter()
            .filter(|r| r.content_range.as_deref().is_some_and(|range| !range.contains('*')))
            .count()
    };
    wait_until("the second chunk is on its way", || chunks() >= 2);
    std::thread::sleep(Duration::from_millis(300));
    running.kill();
    service.heal();
    let before = service.requests().len();

    let run = home.ferry(["resume"]).exits(0);
    let (id, path) = run.stdout.trim_end().split_once('\t').unwrap();
    assert!(path.ends_with("film.mp4"), "{path}");
    let requests = service.requests();
    let signings = requests.iter().filter(|request| request.path.contains("signed-url")).count();
    assert_eq!(signings, 1, "no second asset id for one file");
    let resumed: Vec<&str> =
        requests[before..].iter().filter_map(|request| request.content_range.as_deref()).collect();
    assert_eq!(resumed[0], format!("bytes */{}", content.len()), "the store is asked where it stands");
    let start: usize = resumed[1].trim_start_matches("bytes ").split('-').next().unwrap().parse().unwrap();
    assert!(start >= 8 * MIB, "the upload began again at {start}");

    home.ferry(mavi(&["download", id])).exits(0);
    assert_holds(&home.downloads().join("film.mp4"), &content);
    assert_eq!(names(&home.data().join("resume")), Vec::<String>::new(), "nothing secret is left");
}

#[cfg(unix)]
#[test]
fn an_interruption_keeps_the_queue_and_says_how_to_go_on() {
    use rustix::process::Signal;
    let service = Service::start();
    for signal in [Signal::INT, Signal::TERM] {
        let home = Home::with(&service);
        service.slow(MIB as u64);
        let running = home.start(["download", &service.link(6 << 20, "a.bin"), "--connections", "1"]);
        wait_until("bytes are saved", || home.downloaded() == ["a.bin.ferrypart"]);
        std::thread::sleep(Duration::from_millis(1500));
        let asked = Instant::now();
        running.signal(signal);
        let run = running.wait().exits(130);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        assert!(run.stderr.contains("`ferry resume`"), "{}", run.stderr);
        assert_eq!(run.stdout, "");
        assert!(home.ferry(["queue"]).exits(0).stdout.contains("queued"));
        service.heal();
        let before = service.requests().len();
        home.ferry(["resume"]).exits(0);
        assert_eq!(home.downloaded(), ["a.bin"]);
        assert!(service.requests()[before].range.is_some(), "it went on, it did not start over");
    }
}

// ---- Signed URLs of the user's own ----

#[test]
fn a_signed_url_of_ones_own_takes_one_file_and_stays_secret() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.set("FERRY_LOG", "trace");
    let content = noise(5, MIB);
    home.file("a.bin", &content);
    let (url, id) = service.signed_url("a.bin");
    let query = url.split_once('?').expect("a signed URL has a query").1.to_owned();
    let secret = &query[query.len() - 24..];

    let run = home.ferry_with_input(["upload", "a.bin", "--to", "-"], format!("{url}\n").as_bytes()).exits(0);
    assert_eq!(run.stdout, "-\ta.bin\n");
    run.hides(secret);
    home.ferry(mavi(&["download", &id])).exits(0);
    assert_holds(&home.downloads().join("a.bin"), &content);

    // On the command line as well; and a changed one is refused without being shown.
    let (url, _) = service.signed_url("b.bin");
    home.ferry(["upload", "a.bin", "--to", &url]).exits(0).hides(secret);
    let tampered = url.replace("Signature=", "Signature=00");
    let query = tampered.split_once('?').unwrap().1.to_owned();
    let run = home.ferry(["upload", "a.bin", "--to", &tampered]).exits(1).hides(&query[query.len() - 24..]);
    assert!(run.stderr.contains("error["), "{}", run.stderr);
    assert_nowhere_below(&home.data(), &query[query.len() - 24..], &["resume"]);
    assert_nowhere_below(&home.data(), secret, &[]);
}

#[test]
fn the_query_of_a_link_is_kept_for_resuming_only() {
    let service = Service::start();
    let mut home = Home::with(&service);
    home.set("FERRY_LOG", "trace");
    let link = format!("{}?token=marked5ecret", service.link(1 << 20, "a.bin"));
    service.fault(FaultKind::Cut { after: 100_000 });
    home.ferry(["download", &link, "--retries", "0"]).exits(1).hides("marked5ecret");
    home.ferry(["queue", "--json"]).exits(0).hides("marked5ecret");
    assert_nowhere_below(&home.data(), "marked5ecret", &["resume"]);
    #[cfg(unix)]
    for file in support::files::all_below(&home.data().join("resume")) {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
    }
    service.heal();
    home.ferry(["resume"]).exits(0).hides("marked5ecret");
    assert_nowhere_below(&home.data(), "marked5ecret", &[]);
}

// ---- Queue, library, services ----

#[cfg(unix)]
#[test]
fn the_queue_can_be_looked_at_and_changed() {
    let service = Service::start();
    let home = Home::with(&service);
    assert_eq!(home.ferry(["queue"]).exits(0).stdout, "");
    service.slow(MIB as u64);
    let running = home.start(["download", &service.link(8 << 20, "a.bin"), "--connections", "1"]);
    wait_until("bytes are saved", || home.downloaded() == ["a.bin.ferrypart"]);
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130);

    assert_eq!(home.ferry(["pause"]).exits(0).stdout, "1\tpaused\ta.bin\n");
    assert_eq!(home.ferry(["queue", "--json"]).exits(0).objects()[0]["state"], "paused");
    assert_eq!(home.ferry(["cancel", "1"]).exits(0).stdout, "1\tcanceled\ta.bin\n");
    assert_eq!(home.downloaded(), ["a.bin.ferrypart"], "a canceled transfer keeps what has arrived");
    assert_eq!(home.ferry(["remove"]).exits(0).stdout, "", "without an id only completed rows go");
    assert_eq!(home.ferry(["remove", "1"]).exits(0).stdout, "1\tremoved\ta.bin\n");
    assert_eq!(home.downloaded(), Vec::<String>::new());
    home.ferry(["cancel", "1"]).exits(1).says_error("not_found");
    home.ferry(["resume"]).exits(0);
}

#[test]
fn the_library_remembers_finds_exports_and_asks() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("Ferien, am Meer.mp4", &noise(1, 2000));
    home.file("other.bin", &noise(2, 10));
    let run = home.ferry(mavi(&["upload", "Ferien, am Meer.mp4", "other.bin"])).exits(0);
    let id = run.asset_ids().remove(0);
    home.file("Downloads/Ferien, am Meer.mp4", b"taken");
    home.ferry(mavi(&["download", &id])).exits(0);
    let run = home.ferry(["assets"]).exits(0);
    assert_eq!(run.lines().len(), 3);
    assert!(!run.stdout.contains("(1)"), "its name here is not its name there: {}", run.stdout);
    for (units, size) in [("decimal", "2.0 kB"), ("binary", "2.0 KiB")] {
        std::fs::write(home.data().join("settings.json"), format!(r#"{{"units":"{units}"}}"#)).unwrap();
        let run = home.ferry(["assets", "--search", "MÉER"]).exits(0);
        assert_eq!(run.lines().len(), 2);
        assert!(run.stdout.contains(&id) && run.stdout.contains(size), "{}", run.stdout);
    }
    std::fs::remove_file(home.data().join("settings.json")).unwrap();

    let run = home.ferry(["assets", "--export", "library.csv"]).exits(0);
    assert_eq!(run.lines(), [home.path().join("library.csv").to_str().unwrap()]);
    let text = std::fs::read_to_string(home.path().join("library.csv")).unwrap();
    assert!(text.contains(&id) && text.contains("\"Ferien, am Meer.mp4\""), "{text}");
    home.ferry(["assets", "--export", "library.json"]).exits(0);
    let text = std::fs::read_to_string(home.path().join("library.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_array().map(Vec::len), Some(2));

    let run = home.ferry(["assets", "--export", "-"]).exits(0);
    let table = std::fs::read_to_string(home.path().join("library.csv")).unwrap();
    assert_eq!(run.stdout.trim_end(), table.trim_end());
    for words in [["assets", "--json"].as_slice(), &["assets", "--export", "-", "--json"]] {
        // Which of the two was sent later is chance.
        let objects = home.ferry(words).exits(0).objects();
        let mut names: Vec<_> = objects.iter().filter_map(|one| one["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["Ferien, am Meer.mp4", "other.bin"], "{words:?}");
    }
    #[cfg(target_os = "linux")]
    for words in [["assets", "--export", "-"].as_slice(), &["assets", "--export", "-", "--json"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let done = home.command(words).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && said.contains("error[disk_full]"), "{said}");
    }
    home.file("of/another/name", &noise(1, 2000));
    let found = home.ferry(["assets", "--where", "of/another/name", "--json"]).exits(0).objects();
    assert_eq!((found.len(), &found[0]["asset_id"]), (1, &Value::String(id.clone())));
    // The same size, and another content; and no size that is known.
    for (seed, size) in [(3, 2000), (1, 1999)] {
        home.file("strange", &noise(seed, size));
        let run = home.ferry(["assets", "--where", "strange"]).exits(0);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("known to have this content"), "{}", run.stderr);
    }
    home.ferry(["assets", "--where", "nowhere"]).exits(1).says_error("source_missing");

    let run = home.ferry(["assets", "info", &id]).exits(0);
    assert!(
        run.stdout.contains("Ferien, am Meer.mp4") && run.stdout.contains("2000 bytes"),
        "{}",
        run.stdout
    );
    home.ferry(["assets", "info", "re_unknown", "--service", "mavi"]).exits(1).says_error("not_found");
    home.ferry(["assets", "delete", &id]).exits(2).says_error("invalid_input");
    home.ferry(["assets", "info", &id]).exits(0);
    assert_eq!(home.ferry(["assets", "delete", &id, "--yes"]).exits(0).lines(), [&id]);
    home.ferry(["assets", "info", &id]).exits(1).says_error("not_found");
}

#[test]
fn a_library_goes_to_another_computer_by_way_of_a_file() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("Ferien, \"am\" Meer.mp4", &noise(1, 2000));
    home.file("other.bin", &noise(2, 10));
    let ids = home.ferry(mavi(&["upload", "Ferien, \"am\" Meer.mp4", "other.bin"])).exits(0).asset_ids();
    let listed = home.ferry(["assets"]).exits(0).stdout;
    for format in ["csv", "json"] {
        let file = home.path().join(format!("library.{format}"));
        let file = file.to_str().unwrap();
        home.ferry(["assets", "--export", file]).exits(0);
        let elsewhere = Home::with(&service);
        // What is known there stays.
        elsewhere.file("own.bin", &noise(3, 10));
        elsewhere.ferry(mavi(&["upload", "own.bin"])).exits(0);
        let run = elsewhere.ferry(["assets", "--import", file, "--json"]).exits(0);
        assert_eq!(
            (run.objects()[0]["count"].as_u64(), run.objects()[0]["new"].as_u64()),
            (Some(2), Some(2))
        );
        let there = elsewhere.ferry(["assets"]).exits(0).stdout;
        assert!(listed.lines().skip(1).all(|line| there.contains(line)), "{listed}{there}");
        assert!(there.contains("own.bin"), "{there}");
        // Once more changes nothing, not even what was deleted meanwhile.
        let marked = ["assets", "delete", &ids[1], "--yes"];
        if format == "csv" {
            elsewhere.ferry(marked).exits(0);
            let run = elsewhere.ferry(["assets", "--import", file]).exits(0);
            assert!(run.stderr.contains("2 assets read, 0 of them new"), "{}", run.stderr);
            let there = elsewhere.ferry(["assets", "--search", "other"]).exits(0).stdout;
            assert!(there.contains("deleted"), "{there}");
        }
        // Its lines are somebody's word: none of them keeps a file from being sent. What was sent from here does.
        elsewhere.file("copy.mp4", &noise(1, 2000));
        let reuse = mavi(&["upload", "copy.mp4", "--if-sent", "reuse"]);
        let sent = elsewhere.ferry(&reuse).exits(0).asset_ids();
        assert_ne!(sent, ids[..1]);
        assert_eq!(elsewhere.ferry(&reuse).exits(0).asset_ids(), sent);
    }
    home.file("wrong.csv", b"date,amount\r\n1.1.,5\r\n");
    let run = home.ferry(["assets", "--import", "wrong.csv"]).exits(1).says_error("invalid_input");
    assert!(run.stderr.contains("no column `service`"), "{}", run.stderr);
    // However much follows a header that is right, none of it is read.
    let long = home.file("long.csv", &std::fs::read(home.path().join("library.csv")).unwrap());
    std::fs::File::options().write(true).open(long).unwrap().set_len(600 << 20).unwrap();
    let run = home.ferry(["assets", "--import", "long.csv"]).exits(1).says_error("invalid_input");
    assert!(run.stderr.contains("longer than"), "{}", run.stderr);
    home.ferry(["assets", "--import", "missing.csv"]).exits(1).says_error("source_missing");
    assert_eq!(home.ferry(["assets"]).exits(0).stdout, listed);
}

#[test]
fn what_was_sent_before_is_sent_again_reused_or_skipped_as_asked() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("one.mp4", &noise(1, 5000));
    home.file("folder/two.mp4", &noise(2, 7000));
    let ids = home.ferry(mavi(&["upload", "one.mp4", "folder"])).exits(0).asset_ids();
    home.file("folder/copy of one.mp4", &noise(1, 5000));
    home.file("folder/new.mp4", &noise(3, 7000));

    // Scripts rely on an id of its own for each run.
    let again = home.ferry(mavi(&["upload", "one.mp4"])).exits(0).asset_ids();
    assert!(!ids.contains(&again[0]), "{again:?}");

    let run = home.ferry(mavi(&["upload", "folder", "one.mp4", "--if-sent", "reuse"])).exits(0);
    let lines: Vec<_> = run.lines().into_iter().map(|line| line.split_once('\t').unwrap()).collect();
    let paths: Vec<_> = lines.iter().map(|(_, path)| path.replace('\\', "/")).collect();
    assert_eq!(paths, ["folder/copy of one.mp4", "folder/new.mp4", "folder/two.mp4", "one.mp4"]);
    // The newest of several.
    assert_eq!([lines[0].0, lines[2].0, lines[3].0], [&*again[0], &*ids[1], &*again[0]]);
    assert!(!ids.contains(&lines[1].0.to_owned()) && lines[1].0 != again[0], "the new one is sent");
    assert!(run.stderr.contains("nothing was sent again"), "{}", run.stderr);

    let run = home.ferry(mavi(&["upload", "one.mp4", "--if-sent", "reuse", "--json"])).exits(0);
    let completed = run.objects().into_iter().find(|line| line["event"] == "completed").unwrap();
    assert_eq!(completed["asset_id"].as_str(), Some(&*again[0]));
    assert_eq!((completed["bytes"].as_u64(), completed["total"].as_u64()), (Some(5000), Some(5000)));

    home.file("late.mp4", &noise(4, 5000));
    let run = home.ferry(mavi(&["upload", "folder", "late.mp4", "one.mp4", "--if-sent", "skip"])).exits(0);
    assert_eq!(run.lines().len(), 1, "{}", run.stdout);
    assert!(run.stdout.ends_with("\tlate.mp4\n"), "{}", run.stdout);
    assert!(run.stderr.contains("4 files were skipped"), "{}", run.stderr);
    let run = home.ferry(mavi(&["upload", "one.mp4", "--if-sent", "skip"])).exits(0);
    assert_eq!(run.stdout, "");
}

#[test]
fn what_could_not_be_reused_yet_is_sent_by_the_next_run_that_sends() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("one.mp4", &noise(1, 5000));
    let sent = home.ferry(mavi(&["upload", "one.mp4"])).exits(0).asset_ids();
    let trouble =
        FaultKind::Status { status: 503, retry_after: None, body: None, content_type: None, after: 0 };
    service.fault(trouble);
    home.ferry(mavi(&["upload", "one.mp4", "--if-sent", "reuse", "--retries", "0"])).exits(1);
    service.heal();
    let again = home.ferry(mavi(&["upload", "one.mp4"])).exits(0).asset_ids();
    assert_eq!(again.len(), 1);
    assert_ne!(again, sent);
}

#[test]
fn services_are_listed_and_checked() {
    let service = Service::start();
    let home = Home::with(&service);
    let run = home.ferry(["services"]).exits(0);
    let first: Vec<&str> = run.lines().iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first, ["mavi", "visual-search", "offline-tube", "sandbox", "link"]);
    assert!(run.stdout.contains("key from a variable"));
    for name in first {
        home.ferry(["check", name]).exits(0);
    }
    home.ferry(["check", "nobody"]).exits(2);
}

#[test]
fn each_service_brings_its_files_its_own_way() {
    let service = Service::start();
    let home = Home::with(&service);
    let page = service.link(300_000, "talk.mp4");
    let run =
        home.ferry(["download", &page, "--service", "offline-tube", "--quality", "1080p", "--remove-after"]);
    let run = run.exits(0);
    assert_eq!(run.lines().len(), 1);
    assert!(Path::new(run.lines()[0]).is_file());
    let asked = service.requests();
    assert!(asked.iter().any(|request| request.method == "DELETE" && request.path.ends_with("/remove")));
}

#[test]
fn limits_are_kept() {
    let service = Service::start();
    let home = Home::with(&service);
    let run = home.ferry(["download", &service.link(2 << 20, "a.bin"), "--limit-rate", "1M"]).exits(0);
    assert!(run.took >= Duration::from_millis(1200), "2 MiB at 1 MiB/s took {:?}", run.took);
    assert!(run.took < Duration::from_secs(8), "2 MiB at 1 MiB/s took {:?}", run.took);
}

#[test]
fn shells_get_what_they_complete_by_without_anything_being_opened() {
    let home = Home::new();
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ferry"),
        ("fish", "complete -c ferry"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let run = home.ferry(["completions", shell]).exits(0);
        assert!(run.stdout.contains(mark) && run.stdout.contains("checksum"), "{shell}: {}", run.stdout);
    }
    assert!(!home.data().exists());
    home.ferry(["completions", "tcsh"]).exits(2);
}

/// What bash itself offers after these words.
#[cfg(unix)]
fn offered_by_bash(script: &Path, words: &[&str]) -> Option<Vec<String>> {
    let asked = format!(
        "source {}; COMP_WORDS=({}); COMP_CWORD={}; _ferry ferry \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.join(" "),
        words.len() - 1,
    );
    let answer = std::process::Command::new("bash").args(["--norc", "-c", &asked]).output().ok()?;
    Some(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_and_their_options() {
    let home = Home::new();
    let script = home.file("ferry.bash", home.ferry(["completions", "bash"]).exits(0).stdout.as_bytes());
    for (words, offered) in [
        (["ferry", "down"].as_slice(), "download"),
        (&["ferry", "download", "--chec"], "--checksum"),
        (&["ferry", "--quiet", "assets", "inf"], "info"),
        (&["ferry", "download", "--service", "offl"], "offline-tube"),
    ] {
        let Some(found) = offered_by_bash(&script, words) else { return };
        assert_eq!(found, [offered], "{words:?}");
    }
}
