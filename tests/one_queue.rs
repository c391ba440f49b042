//! One queue, however many faces: rows A1 to A9 of the promises about several processes. Whoever holds a data folder serves
//! it to every other `ferry`; a holder that dies, lets go or is asked to loses nobody's transfers.
//!
//! `FERRY_QUEUE_ROWS` says how many rows two terminals add at once (2,000), `FERRY_QUEUE_ROUNDS` how often a holder is killed
//! (10), `FERRY_SEED` repeats a run.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test's figures belong to its output")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use ferry_engine::{Code, Options, State};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::chance::Chance;
use support::files::noise;
use support::home::{Home, Started, wait_until};
use support::http::request;
use support::service::Service;

const MIB: u64 = 1 << 20;
/// What may be sent again when the holder changes.
const AGAIN: u64 = 64 * MIB;

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// `ferry serve`, once it serves.
fn serve(home: &Home) -> Started {
    let started = home.start(["serve"]);
    let pid = u64::from(started.id());
    wait_until("it serves", || holder(home).is_some_and(|holder| holder["pid"] == pid));
    started
}

/// Who holds the data folder, as the file there says.
fn holder(home: &Home) -> Option<Value> {
    let said: Value = serde_json::from_slice(&std::fs::read(home.data().join("holder")).ok()?).ok()?;
    UnixStream::connect(home.data().join("socket")).is_ok().then_some(said)
}

fn rows(home: &Home) -> Vec<Value> {
    home.ferry(["queue", "--json"]).exits(0).objects()
}

fn fetched(url: &str) -> Vec<u8> {
    let (status, body) = request("GET", url, &[], b"");
    assert_eq!(status, 200);
    body
}

fn sent(service: &Service) -> u64 {
    service.requests().iter().map(|request| request.sent).sum()
}

/// A client that speaks by hand.
struct ByHand {
    stream: BufReader<UnixStream>,
    next: u64,
}

impl ByHand {
    fn connect(home: &Home) -> Self {
        let stream = UnixStream::connect(home.data().join("socket")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream: BufReader::new(stream), next: 1 }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stream.get_mut(), "{line}").unwrap();
    }

    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        loop {
            let heard = self.hear().unwrap_or_else(|| panic!("no answer to {method}"));
            if heard["id"] == id {
                return heard;
            }
        }
    }

    fn greet(home: &Home, protocol: u32, oldest: u32) -> (Self, Value) {
        let mut by_hand = Self::connect(home);
        let hello =
            json!({"protocol": protocol, "oldest": oldest, "program": "9.9.9", "kind": "terminal", "pid": 1});
        let answer = by_hand.ask("hello", &hello);
        (by_hand, answer)
    }
}

// ---- A client is as good as a run on its own ----

#[test]
fn every_command_works_while_another_ferry_holds_the_queue() {
    let service = Service::start();
    let home = Home::with(&service);
    home.file("a.txt", b"one");
    home.file("folder/b.txt", b"two");
    let own = home.ferry(["upload", "a.txt", "folder", "gone.txt", "--json"]).exits(1);
    let holder = serve(&home);
    let client = home.ferry(["upload", "a.txt", "folder", "gone.txt", "--json"]).exits(1);
    let shape = |run: &support::home::Run| -> Vec<Value> {
        let mut objects = run.objects();
        // Which of the two moves first is nobody's promise.
        objects.retain(|line| line["event"] != "progress");
        for line in &mut objects {
            let line = line.as_object_mut().unwrap();
            line.shift_remove("id");
            line.shift_remove("asset_id");
            line.shift_remove("note");
            if line["event"] == "started" {
                // It may be over before that is told.
                line.shift_remove("bytes");
                line.shift_remove("verified");
            }
        }
        objects.sort_by_key(ToString::to_string);
        objects
    };
    assert_eq!(shape(&client), shape(&own));
    assert_eq!(client.stderr, own.stderr);

    let link = service.link(MIB, "film.bin");
    let run = home.ferry(["download", &link, "--dir", "here"]).exits(0);
    assert_eq!(run.lines(), [home.path().join("here/film.bin").to_str().unwrap()]);
    home.ferry(["download", &service.link(1, "x"), "--service", "mavi"]).exits(1).says_error("invalid_input");
    home.ferry(["check", "mavi"]).exits(0);
    home.ferry(["services"]).exits(0);
    home.ferry(["assets", "--export", "library.csv"]).exits(0);
    assert!(home.path().join("library.csv").is_file(), "where the client stands, not the holder");
    home.ferry(["assets", "--import", "library.csv"]).exits(0);
    let id = client.objects().iter().find_map(|line| line["asset_id"].as_str().map(str::to_owned)).unwrap();
    home.ferry(["assets", "info", &id]).exits(0);
    home.ferry(["assets", "delete", &id, "--yes"]).exits(0);
    home.ferry(["queue", "99"]).exits(1).says_error("not_found");
    home.ferry(["retry"]).exits(0);
    home.ferry(["remove"]).exits(0);
    assert_eq!(home.ferry(["queue"]).exits(0).stdout, "");
    assert_eq!(rows_of(&home, &holder), 0);
}

/// The rows that are left, with the holder ended in order.
fn rows_of(home: &Home, holder: &Started) -> usize {
    holder.signal(Signal::TERM);
    wait_until("it has let go", || !home.data().join("holder").exists());
    rows(home).len()
}

/// `ferry download` of so many small files.
fn many(service: &Service, of: &str, count: usize, also: &[&str]) -> Vec<String> {
    let links = (0..count).map(|n| service.link(10, &format!("{of}{n}.bin")));
    ["download", "--quiet"].iter().chain(also).map(|word| (*word).to_owned()).chain(links).collect()
}

#[test]
fn two_terminals_add_at_once_and_none_is_lost_and_none_is_there_twice() {
    let service = Service::start();
    let home = Home::with(&service);
    let holder = serve(&home);
    let half = number("FERRY_QUEUE_ROWS", 2_000) / 2;
    // They are added, whatever becomes of them.
    service.slow(1);
    let began = Instant::now();
    let both = ["a", "b"].map(|of| home.start(many(&service, of, half, &["--detach"])));
    let mut ids = BTreeSet::new();
    for one in both {
        let run = one.wait().exits(0);
        assert_eq!(run.lines().len(), half);
        ids.extend(run.lines().iter().map(|line| line.split_once('\t').unwrap().0.parse::<u64>().unwrap()));
    }
    let took = began.elapsed();
    let all = rows(&home);
    let names: BTreeSet<&str> = all.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!((all.len(), names.len(), ids.len()), (2 * half, 2 * half, 2 * half));
    assert_eq!(rows_of(&home, &holder), 2 * half);
    eprintln!("{} rows from two terminals took {took:?}", 2 * half);
}

#[test]
fn who_follows_many_hears_of_each_once_and_in_order_beside_others() {
    let service = Service::start();
    let home = Home::with(&service);
    let _holder = serve(&home);
    let follows = home.start(many(&service, "a", 400, &[]));
    let leaves = home.start(many(&service, "b", 400, &["--detach"]));
    leaves.wait().exits(0);
    let expected: Vec<String> =
        (0..400).map(|n| home.downloads().join(format!("a{n}.bin")).display().to_string()).collect();
    assert_eq!(follows.wait().exits(0).lines(), expected);
    wait_until("all are there", || home.downloaded().len() == 800);
}

#[test]
fn the_same_request_again_adds_nothing() {
    let service = Service::start();
    let home = Home::with(&service);
    let file = home.file("a.txt", b"one");
    let holder = serve(&home);
    let (mut by_hand, _) = ByHand::greet(&home, 1, 1);
    let upload = json!({"token": 7, "paths": [file], "request": {"paths": []}});
    let download = json!({"token": 8, "requests": [
        {"what": service.link(9, "x.bin")}, {"what": service.link(9, "y.bin") + "?key=1"}, {"what": "http://"},
    ]});
    let first = (by_hand.ask("upload", &upload), by_hand.ask("download", &download));
    wait_until("all have ended", || rows(&home).iter().all(|row| row["state"] == "completed"));
    let (mut again, _) = ByHand::greet(&home, 1, 1);
    let second = (again.ask("upload", &upload), again.ask("download", &download));
    assert_eq!(first.0["result"]["ids"], second.0["result"]["ids"]);
    for place in 0..2 {
        let id = |answer: &Value| answer["result"][place]["Ok"].as_u64().unwrap();
        assert_eq!(id(&first.1), id(&second.1));
    }
    assert_eq!(second.1["result"][2]["Err"]["cause"], "invalid_input");
    // Another request for the same is another transfer, as ever.
    let mut other = upload;
    other["token"] = json!(9);
    assert_ne!(again.ask("upload", &other)["result"]["ids"], first.0["result"]["ids"]);
    assert_eq!(rows_of(&home, &holder), 4);
}

#[test]
fn the_options_of_a_client_count_for_what_it_adds_alone() {
    let service = Service::start();
    let home = Home::with(&service);
    let _holder = serve(&home);
    let began = Instant::now();
    let slow = home.start(["download", &service.link(3 * MIB, "slow.bin"), "--limit-rate", "1M"]);
    let links: Vec<String> = (0..8).map(|n| service.link(MIB / 2, &format!("{n}.bin"))).collect();
    let quick = home.start(["download"].into_iter().chain(links.iter().map(String::as_str)));
    quick.wait().exits(0);
    let quick = began.elapsed();
    slow.wait().exits(0);
    assert!(began.elapsed() > Duration::from_millis(2500), "the limit was not kept: {:?}", began.elapsed());
    assert!(quick < Duration::from_millis(2500), "the limit held up another's: {quick:?}");

    service.slow(MIB / 4);
    let links: Vec<String> = (0..6).map(|n| service.link(MIB / 4, &format!("c{n}.bin"))).collect();
    let words = ["download", "--concurrency", "5", "--connections", "1"];
    let five = home.start(words.into_iter().chain(links.iter().map(String::as_str)));
    let running = || rows(&home).iter().filter(|row| row["state"] == "running").count();
    wait_until("five run", || running() == 5);
    five.wait().exits(0);
}

#[test]
fn a_watch_tells_every_change_until_it_is_ended() {
    let service = Service::start();
    let home = Home::with(&service);
    let _holder = serve(&home);
    let watch = home.start(["queue", "--watch", "--json"]);
    std::thread::sleep(Duration::from_millis(500));
    home.ferry(["download", &service.link(MIB, "a.bin")]).exits(0);
    home.ferry(["remove"]).exits(0);
    std::thread::sleep(Duration::from_millis(600));
    watch.signal(Signal::INT);
    let run = watch.wait().exits(0);
    let events: Vec<String> =
        run.objects().iter().map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect();
    let told = |event: &str| events.iter().filter(|told| *told == event).count();
    assert_eq!((told("added"), told("completed"), told("removed")), (1, 1, 1), "{events:?}");
}

// ---- Ends of clients ----

#[test]
fn an_interrupted_client_stops_its_own_and_a_killed_one_leaves_them_running() {
    let service = Service::start();
    let home = Home::with(&service);
    let _holder = serve(&home);
    service.slow(MIB);
    let start = |name: &str| {
        let client = home.start(["download", &service.link(60 * MIB, name), "--concurrency", "1", "--quiet"]);
        wait_until("it runs", || {
            rows(&home).iter().any(|row| row["name"] == name && row["state"] == "running")
        });
        client
    };
    let state = |name: &str| {
        let all = rows(&home);
        all.iter().find(|row| row["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
    };
    let [interrupted, ended, hung_up, killed] = ["int.bin", "term.bin", "hup.bin", "kill.bin"].map(start);
    interrupted.signal(Signal::INT);
    let run = interrupted.wait().exits(130);
    assert!(run.stderr.contains("ferry resume"), "{}", run.stderr);
    ended.signal(Signal::TERM);
    ended.wait().exits(130);
    hung_up.signal(Signal::HUP);
    hung_up.wait().exits(130);
    killed.kill();
    std::thread::sleep(Duration::from_millis(500));
    let states = ["int.bin", "term.bin", "hup.bin", "kill.bin"].map(state);
    assert_eq!(states, ["paused", "paused", "running", "running"]);
}

#[test]
fn what_was_being_added_when_its_client_was_interrupted_stops_too() {
    let mut chance = Chance::new("what_was_being_added_when_its_client_was_interrupted_stops_too");
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(MIB);
    let _holder = serve(&home);
    for round in 0..4 {
        let links: Vec<String> =
            (0..600).map(|n| service.link(60 * MIB, &format!("{round}-{n}.bin"))).collect();
        let client = home.start(["download", "--quiet"].into_iter().chain(links.iter().map(String::as_str)));
        let name = format!("{round}-0.bin");
        wait_until("it adds", || rows(&home).iter().any(|row| row["name"] == name.as_str()));
        std::thread::sleep(chance.within(Duration::from_millis(300)));
        client.signal(Signal::INT);
        client.wait().exits(130);
        let moving = rows(&home).into_iter().filter(|row| row["state"] != "paused").count();
        assert_eq!(moving, 0, "round {round}");
    }
}

#[test]
fn nobody_to_leave_a_transfer_to_is_a_usage_error() {
    let home = Home::new();
    for words in [vec!["download", "http://127.0.0.1:9/x", "--detach"], vec!["upload", "x", "--detach"]] {
        let run = home.ferry(words).exits(2).says_error("invalid_input");
        assert!(run.stderr.contains("`ferry serve`"), "{}", run.stderr);
    }
    assert!(!home.data().join("ferry.db").exists(), "nothing was begun");
}

// ---- A server ----

#[test]
fn a_server_ends_when_told_or_with_nothing_to_do() {
    let service = Service::start();
    let home = Home::with(&service);
    let server = serve(&home);
    service.slow(4 * MIB);
    home.ferry(["download", &service.link(200 * MIB, "a.bin"), "--detach"]).exits(0);
    wait_until("bytes flow", || sent(&service) > MIB);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let run = server.wait().exits(0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(run.stderr.contains(home.data().join("socket").to_str().unwrap()), "{}", run.stderr);
    assert_eq!(rows(&home)[0]["state"], "queued");
    assert!(!home.data().join("socket").exists());

    // What is unfinished goes on; then there is nothing to do.
    service.heal();
    let run = home.ferry(["serve", "--idle", "1"]).exits(0);
    assert!(run.took < Duration::from_secs(60));
    assert_eq!(rows(&home)[0]["state"], "completed");
}

// ---- Holders that go ----

#[test]
fn a_killed_holder_costs_nobody_a_result() {
    let mut chance = Chance::new("a_killed_holder_costs_nobody_a_result");
    let mut longest = Duration::ZERO;
    for round in 0..number("FERRY_QUEUE_ROUNDS", 10) {
        let service = Service::start();
        let home = Home::with(&service);
        service.slow(2 * MIB);
        let server = serve(&home);
        let links: Vec<Vec<String>> = (0..3)
            .map(|of| (0..3).map(|n| service.link((n + 1) * MIB / 2, &format!("{of}-{n}.bin"))).collect())
            .collect();
        let file = home.file("up.bin", &noise(round as u64, 2 << 20));
        let mut clients: Vec<Started> = links
            .iter()
            .map(|links| {
                home.start(["download", "--quiet"].into_iter().chain(links.iter().map(String::as_str)))
            })
            .collect();
        clients.push(home.start(["upload", "--quiet", file.to_str().unwrap()]));
        std::thread::sleep(chance.within(Duration::from_millis(1500)));
        server.kill();
        let killed = Instant::now();
        if clients.iter_mut().any(|client| !client.has_ended()) {
            wait_until("another one holds it", || {
                holder(&home).is_some() || clients.iter_mut().all(Started::has_ended)
            });
            longest = longest.max(killed.elapsed());
        }
        let mut runs: Vec<_> = clients.into_iter().map(|client| client.wait().exits(0)).collect();
        let upload = runs.pop().unwrap();
        assert_eq!(upload.asset_ids().len(), 1, "{}", upload.stdout);
        for (of, run) in runs.iter().enumerate() {
            let expected: Vec<String> = (0..3)
                .map(|n| home.downloads().join(format!("{of}-{n}.bin")).display().to_string())
                .collect();
            assert_eq!(run.lines(), expected, "round {round}: {}", run.stderr);
        }
        service.heal();
        for (of, links) in links.iter().enumerate() {
            for (n, link) in links.iter().enumerate() {
                let path = home.downloads().join(format!("{of}-{n}.bin"));
                assert_eq!(std::fs::read(path).unwrap(), fetched(link), "round {round}");
            }
        }
        let all = rows(&home);
        assert_eq!(all.len(), 10, "none lost, none twice: {all:?}");
        assert!(all.iter().all(|row| row["state"] == "completed"), "{all:?}");
    }
    eprintln!("the longest time without a holder was {longest:?}");
    assert!(longest < Duration::from_secs(5));
}

#[test]
fn the_next_holder_goes_on_where_the_last_one_stood() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(24 * MIB);
    let file = home.file("up.bin", &noise(1, 96 << 20));
    let mut server = serve(&home);
    let link = service.link(96 * MIB, "down.bin");
    let down = home.start(["download", "--quiet", &link, "--connections", "1"]);
    let up = home.start(["upload", "--quiet", file.to_str().unwrap()]);
    let received = || service.requests().iter().map(|request| request.received).sum::<u64>();
    for gone in 1..=2 {
        wait_until("both are under way", || sent(&service) > gone * 24 * MIB && received() > gone * 24 * MIB);
        server.kill();
        // A client took over; a server that starts now waits behind it, and is the next.
        wait_until("another one holds it", || holder(&home).is_some());
        if gone == 2 {
            break;
        }
        server = home.start(["serve", "--quiet"]);
    }
    service.heal();
    down.wait().exits(0);
    up.wait().exits(0);
    assert!(sent(&service) <= 96 * MIB + AGAIN, "{} MiB came down", sent(&service) / MIB);
    assert!(received() <= 96 * MIB + AGAIN, "{} MiB went up", received() / MIB);
}

/// What a window does when it starts.
fn window(home: &Home) -> (tokio::runtime::Runtime, ferry_engine::Engine, ferry_engine::api::Holder) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut options = Options::new(home.data());
    options.resume_unfinished = true;
    options.keychain = false;
    let (engine, holder) = runtime.block_on(ferry_engine::api::take_over(options)).unwrap();
    (runtime, engine, holder)
}

#[test]
fn a_window_takes_over_and_gives_back_what_goes_on_all_the_while() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(4 * MIB);
    let link = service.link(24 * MIB, "film.bin");
    // The first terminal holds the queue, the second is its client.
    let mut first = home.start(["download", "--quiet", &link, "--connections", "1"]);
    wait_until("bytes flow", || sent(&service) > MIB);
    let other = service.link(20 * MIB, "other.bin");
    let mut second = home.start(["download", "--quiet", &other, "--connections", "1"]);
    wait_until("both run", || sent(&service) > 8 * MIB);
    let (runtime, engine, window_holder) = window(&home);
    assert_eq!(holder(&home).unwrap()["kind"], "window");
    assert!(!first.has_ended() && !second.has_ended());
    // Nothing starts at 0.
    let rows = engine.snapshot().transfers;
    assert!(rows.iter().all(|row| row.bytes > 0), "{rows:?}");
    wait_until("the window's engine moves them", || {
        engine.snapshot().transfers.iter().all(|row| row.state == State::Running)
    });
    // A row of a terminal's is in the window soon, with its origin, and the other way round.
    service.heal();
    let began = Instant::now();
    let third = home.start(["download", "--quiet", &service.link(9, "third.bin")]);
    let is_there = || engine.has_transfer(|row| &*row.name == "third.bin" && row.origin.is_some());
    wait_until("it is in the window", is_there);
    assert!(began.elapsed() < Duration::from_secs(5));
    third.wait().exits(0);
    // A second window does not take it, nor does a server.
    let refused = runtime.block_on(ferry_engine::api::take_over(Options::new(home.data())));
    assert_eq!(refused.unwrap_err().code(), Code::BusyDataDir);
    let server = home.start(["serve"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(holder(&home).unwrap()["kind"], "window");
    service.slow(2 * MIB);
    // The window ends.
    runtime.block_on(engine.shutdown());
    drop((window_holder, engine));
    runtime.shutdown_timeout(Duration::from_secs(1));
    wait_until("a terminal holds it again", || {
        holder(&home).is_some_and(|holder| holder["kind"] != "window")
            || (first.has_ended() && second.has_ended())
    });
    service.heal();
    assert_eq!(first.wait().exits(0).lines(), [home.downloads().join("film.bin").to_str().unwrap()]);
    assert_eq!(second.wait().exits(0).lines(), [home.downloads().join("other.bin").to_str().unwrap()]);
    assert!(sent(&service) <= 44 * MIB + AGAIN);
    server.signal(Signal::TERM);
    server.wait().exits(0);
}

#[test]
fn an_undo_in_the_window_leaves_a_terminals_rows_alone() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(MIB);
    let (runtime, engine, _holder) = window(&home);
    let link = service.link(30 * MIB, "a.bin");
    home.ferry(["download", &link, "--detach"]).exits(0);
    let id = engine.snapshot().transfers[0].id;
    let list = ferry_engine::ListWindow::new(engine.clone(), |_| {});
    // The same link, dropped on the window as well, goes on in the terminal's row.
    let request = ferry_engine::DownloadRequest { what: link, ..ferry_engine::DownloadRequest::default() };
    assert_eq!(runtime.block_on(engine.download(request)).unwrap(), id);
    assert_eq!(runtime.block_on(list.take_back(&[id])).unwrap().taken, 0);
    assert!(engine.transfer(id).is_some());
    runtime.block_on(engine.shutdown());
}

#[test]
fn a_terminal_that_has_done_its_own_ends_and_the_others_go_on() {
    let service = Service::start();
    let home = Home::with(&service);
    service.slow(4 * MIB);
    let first =
        home.start(["download", "--quiet", &service.link(6 * MIB, "first.bin"), "--connections", "1"]);
    wait_until("it holds the queue", || holder(&home).is_some());
    let mut second =
        home.start(["download", "--quiet", &service.link(16 * MIB, "second.bin"), "--connections", "1"]);
    wait_until("both run", || rows(&home).iter().filter(|row| row["state"] == "running").count() == 2);
    first.wait().exits(0);
    assert!(!second.has_ended());
    second.wait().exits(0);
    assert!(sent(&service) <= 22 * MIB + AGAIN);
}

// ---- Strange places ----

#[test]
fn a_socket_of_a_dead_process_is_in_nobodys_way() {
    let service = Service::start();
    let home = Home::with(&service);
    serve(&home).kill();
    assert!(std::fs::symlink_metadata(home.data().join("socket")).unwrap().file_type().is_socket());
    home.ferry(["download", &service.link(9, "a.bin")]).exits(0);
    let server = serve(&home);
    let mode = std::fs::symlink_metadata(home.data().join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    home.ferry(["download", &service.link(9, "b.bin")]).exits(0);
    assert_eq!(rows_of(&home, &server), 2);
}

#[test]
fn a_folder_with_a_long_path_is_served_too() {
    let service = Service::start();
    let mut home = Home::with(&service);
    let long = home.path().join("d".repeat(200)).join("data");
    home.set("FERRY_DATA_DIR", long.to_str().unwrap());
    let server = home.start(["serve"]);
    wait_until("it serves", || long.join("socket").exists() && long.join("holder").exists());
    home.ferry(["download", &service.link(9, "a.bin"), "--detach"]).exits(0);
    wait_until("it is there", || home.downloaded() == ["a.bin"]);
    server.signal(Signal::TERM);
    server.wait().exits(0);
}

#[test]
fn a_folder_that_cannot_be_written_to_says_so() {
    let home = Home::new();
    home.ferry(["queue"]).exits(0);
    let data = home.data();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Rights stop nobody here: another user's folder does.
        std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).unwrap();
    }
    home.ferry(["queue"]).exits(1).says_error("permission_denied");
    home.ferry(["serve", "--idle", "1"]).exits(1).says_error("permission_denied");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// Only where this test may be another user.
#[test]
fn another_user_is_sent_away() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can be another user");
        return;
    }
    let home = Home::new();
    let server = serve(&home);
    // As open as somebody could make them by mistake.
    for (path, mode) in [(home.path(), 0o755), (&home.data(), 0o755), (&home.data().join("socket"), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let socket = home.data().join("socket");
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect({:?}); s.settimeout(10); \
         s.sendall(b'{{\"id\":1,\"method\":\"hello\",\"params\":{{\"protocol\":1,\"oldest\":1,\"program\":\"1\",\"kind\":\"terminal\",\"pid\":1}}}}\\n'); \
         print(s.recv(100))",
        socket.to_str().unwrap()
    );
    let words = ["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", &script];
    let other = std::process::Command::new("setpriv").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    let refused = said.trim() == "b''" || String::from_utf8_lossy(&other.stderr).contains("Error");
    assert!(refused, "{said} {}", String::from_utf8_lossy(&other.stderr));
    home.ferry(["queue"]).exits(0);
    server.signal(Signal::TERM);
    server.wait().exits(0);
}

// ---- Strange company ----

/// Bytes in memory of a process.
#[cfg(target_os = "linux")]
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn garbage_floods_and_silence_cost_the_holder_nothing() {
    let service = Service::start();
    let home = Home::with(&service);
    let server = serve(&home);
    service.slow(MIB);
    home.ferry(["download", &service.link(200 * MIB, "a.bin"), "--connections", "1", "--detach"]).exits(0);
    wait_until("bytes flow", || sent(&service) > MIB / 2);
    let before = memory(server.id());

    // Garbage, binary and half a JSON.
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"{\"id\":1,\"method\":\"hello\"}\n", b"[]\n", b"\n"]
    {
        let mut stream = UnixStream::connect(home.data().join("socket")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may be closed before all is said.
        let _ = stream.write_all(garbage).and_then(|()| stream.write_all(b"\n"));
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || String::from_utf8_lossy(&said).contains("error"));
    }
    // A gigabyte in one line, before and after the greeting.
    for greeted in [false, true] {
        let mut stream = if greeted {
            ByHand::greet(&home, 1, 1).0.stream.into_inner()
        } else {
            UnixStream::connect(home.data().join("socket")).unwrap()
        };
        let part = vec![b'x'; 1 << 20];
        let taken = (0..1024).take_while(|_| stream.write_all(&part).is_ok()).count();
        assert!(taken < 64, "{taken} MiB were taken");
    }
    // Somebody who asks and asks and reads nothing.
    let (mut deaf, _) = ByHand::greet(&home, 1, 1);
    deaf.stream.get_ref().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let question = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "services", "params": {}}));
    while deaf.stream.get_mut().write_all(question.as_bytes()).is_ok() {}
    // A thousand at once: most are told that there are too many.
    let crowd: Vec<UnixStream> =
        (0..1000).filter_map(|_| UnixStream::connect(home.data().join("socket")).ok()).collect();
    assert!(crowd.len() > 100);
    let began = sent(&service);
    wait_until("the queue goes on", || sent(&service) > began + MIB / 2);
    drop(crowd);
    drop(deaf);
    home.ferry(["queue"]).exits(0);
    let grown = memory(server.id()).saturating_sub(before);
    assert!(grown < 64 * MIB, "grew by {} MiB", grown / MIB);
    server.signal(Signal::TERM);
    server.wait().exits(0);
}

#[test]
fn both_speak_the_older_ones_messages_or_say_which_is_to_be_updated() {
    let home = Home::new();
    let server = serve(&home);
    // Clients of the future and of the past.
    let (_, newer) = ByHand::greet(&home, 99, 1);
    assert_eq!(newer["result"]["protocol"], 1);
    assert_eq!(ByHand::greet(&home, 99, 98).1["error"]["code"], -32004);
    assert_eq!(ByHand::greet(&home, 0, 0).1["error"]["code"], -32003);
    let (mut newer, _) = ByHand::greet(&home, 1, 1);
    assert_eq!(newer.ask("of_the_future", &json!({}))["error"]["code"], -32601);
    server.signal(Signal::TERM);
    server.wait().exits(0);

    // Holders of the future and of the past.
    let held = Held::new(&home);
    let run = held.answers(&home, &json!({"result": welcome(99)})).exits(1).says_error("busy_data_dir");
    assert!(run.stderr.contains("update this Ferry") && run.stderr.contains("9.9.9"), "{}", run.stderr);
    let run = held.answers(&home, &json!({"result": welcome(0)})).exits(1).says_error("busy_data_dir");
    assert!(run.stderr.contains("update the other Ferry"), "{}", run.stderr);
    let refusal = json!({"error": {"code": -32003, "message": "9.9.9"}});
    let run = held.answers(&home, &refusal).exits(1).says_error("busy_data_dir");
    assert!(run.stderr.contains("update this Ferry"), "{}", run.stderr);
}

fn welcome(protocol: u32) -> Value {
    json!({"protocol": protocol, "program": "9.9.9", "kind": "serve", "pid": 1})
}

/// A data folder that is held by this test.
struct Held {
    _lock: std::fs::File,
    listener: UnixListener,
}

impl Held {
    fn new(home: &Home) -> Self {
        let lock = std::fs::File::options().write(true).open(home.data().join("lock")).unwrap();
        lock.try_lock().unwrap();
        Self { _lock: lock, listener: UnixListener::bind(home.data().join("socket")).unwrap() }
    }

    /// What `ferry queue` makes of this answer to its greeting.
    fn answers(&self, home: &Home, answer: &Value) -> support::home::Run {
        let running = home.start(["queue"]);
        let (stream, _) = self.listener.accept().unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let mut answer = answer.clone();
        answer["id"] = serde_json::from_str::<Value>(&line).unwrap()["id"].clone();
        writeln!(stream.get_mut(), "{answer}").unwrap();
        running.wait()
    }
}

#[test]
fn a_holder_that_does_not_answer_is_told_by_its_number() {
    let home = Home::new();
    let server = serve(&home);
    server.signal(Signal::STOP);
    let run = home.ferry(["queue"]).exits(1).says_error("busy_data_dir");
    assert!(run.took >= Duration::from_secs(9) && run.took < Duration::from_secs(25), "{:?}", run.took);
    assert!(run.stderr.contains(&server.id().to_string()), "{}", run.stderr);
    server.signal(Signal::CONT);
    home.ferry(["queue"]).exits(0);
}

#[test]
fn the_variables_of_a_client_count_for_what_it_adds_whatever_the_holder_has() {
    let (service, elsewhere) = (Service::start(), Service::start());
    let mut home = Home::new();
    home.file("a.txt", b"one");
    // It has no key and no address of its own.
    let server = serve(&home);
    let sandboxed = home.ferry(["upload", "a.txt"]).exits(0);
    for to in [&service, &elsewhere] {
        home.set("FERRY_MAVI_URL", &to.mavi_url());
        home.set("FERRY_MAVI_KEY", support::service::KEY);
        let run = home.ferry(["upload", "a.txt"]).exits(0);
        assert_ne!(run.asset_ids(), sandboxed.asset_ids());
        home.ferry(["assets", "info", &run.asset_ids()[0]]).exits(0);
        home.ferry(["check", "mavi"]).exits(0);
        assert!(!to.requests().is_empty());
        let services = home.ferry(["services"]).exits(0);
        assert!(services.stdout.contains(&to.mavi_url()), "{}", services.stdout);
    }
    let asked = service.requests().len();
    // A key that is refused holds up nobody else's.
    home.set("FERRY_MAVI_KEY", "wrong");
    home.ferry(["upload", "a.txt"]).exits(1).says_error("unauthorized");
    home.set("FERRY_MAVI_KEY", support::service::KEY);
    home.ferry(["upload", "a.txt"]).exits(0);
    assert_eq!(service.requests().len(), asked, "the others went elsewhere");
    // What a client brought goes with it, and to the next holder again.
    elsewhere.slow(MIB);
    let file = home.file("b.bin", &noise(1, 4 << 20));
    let upload = home.start(["upload", "--quiet", file.to_str().unwrap()]);
    let received = || elsewhere.requests().iter().map(|request| request.received).sum::<u64>();
    let before = received();
    wait_until("bytes flow", || received() > before + MIB / 2);
    server.kill();
    assert_eq!(upload.wait().exits(0).asset_ids().len(), 1);
    home.set("FERRY_MAVI_URL", "nonsense");
    home.ferry(["check", "mavi"]).exits(1).says_error("invalid_input");
}
