//! docs/recipes.md does what it says: its blocks are run as they stand, each section in a home of its own.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::Digest as _;
use support::files::{assert_holds, names, noise};
use support::home::Home;
use support::service::Service;

const PAGE: &str = include_str!("../docs/recipes.md");
/// What the page says instead of the test's server.
const SERVER: &str = "https://files.example.org";

/// One fenced block.
struct Block {
    language: &'static str,
    text: String,
}

/// The blocks of the section with this heading.
fn section(title: &str) -> Vec<Block> {
    let heading = format!("\n## {title}\n");
    let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section `{title}`"));
    let text = rest.split("\n## ").next().unwrap_or_default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(language) if !is_inside => blocks.push(Block { language, text: String::new() }),
            None if is_inside => {
                let block = blocks.last_mut().expect("inside of one");
                block.text += line;
                block.text.push('\n');
            }
            _ => {}
        }
        is_inside ^= line.starts_with("```");
    }
    assert!(!blocks.is_empty(), "`{title}` shows nothing");
    blocks
}

/// The files that the recipes send and fetch.
fn content(name: &str) -> Vec<u8> {
    noise(name.len() as u64 + u64::from(name.as_bytes()[0]), 50_000)
}

/// A home with an outbox, and a server with files.
struct Kitchen {
    home: Home,
    service: Service,
}

impl Kitchen {
    fn new() -> Self {
        let (home, service) = (Home::new(), Service::start());
        let mut sums = String::new();
        for name in ["one.bin", "two.bin"] {
            home.file(&format!("outbox/{name}"), &content(name));
            service.put_file(name, &content(name));
            let hash = sha2::Sha256::digest(content(name));
            let hex = hash.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            sums.extend([hex.as_str(), "  ", name, "\n"]);
        }
        service.put_file("SHA256SUMS", sums.as_bytes());
        Self { home, service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `sh` with `ferry` on its path, in this home.
    fn sh(&self, script: &str) -> std::process::Output {
        let ferry = self.home.command::<&str>([]);
        let mut sh = Command::new("sh");
        sh.args(["-euc", &script.replace(SERVER, &format!("{}/files", self.service.url()))]);
        for (name, value) in ferry.get_envs() {
            match value {
                Some(value) => sh.env(name, value),
                None => sh.env_remove(name),
            };
        }
        let folder = Path::new(ferry.get_program()).parent().expect("a folder");
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&paths));
        sh.env("PATH", std::env::join_paths(paths).expect("a path")).current_dir(self.home.path());
        sh.output().expect("sh starts")
    }

    /// Runs every block of a section. A line of a crontab is run as cron does it: its command.
    fn cook(&self, title: &str) {
        for block in section(title) {
            let script = match block.language {
                "sh" => block.text,
                "crontab" => {
                    let fields: Vec<&str> = block.text.trim().splitn(6, ' ').collect();
                    assert_eq!(fields.len(), 6, "{}", block.text);
                    fields[5].to_owned()
                }
                other => panic!("`{title}` has a block in {other}"),
            };
            let done = self.sh(&script);
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{script}\n{}: {said}", done.status);
        }
    }
}

/// Whether this computer has jq.
fn has_jq() -> bool {
    let has = Command::new("jq").arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: there is no jq here");
    }
    has
}

#[test]
fn every_section_has_a_test() {
    let tested = [
        "A list of links with their checksums",
        "A folder, every night",
        "Results by jq",
        "Is this file already there?",
        "A backup of the library",
    ];
    // They need a session's own services, or never end: tests/one_queue.rs has `serve`, `--detach` and `--watch`.
    let shown = ["The queue without a window, from login on", "Files as they are made"];
    for title in shown {
        assert!(section(title).iter().all(|block| block.language != "sh"), "{title}");
    }
    let sections: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, tested.into_iter().chain(shown).collect::<Vec<_>>());
}

#[test]
fn a_list_of_links_with_their_checksums() {
    const TITLE: &str = "A list of links with their checksums";
    let kitchen = Kitchen::new();
    kitchen.cook(TITLE);
    assert_eq!(names(&kitchen.path("iso")), ["SHA256SUMS", "one.bin", "two.bin"]);
    assert_holds(&kitchen.path("iso/one.bin"), &content("one.bin"));
    assert_eq!(names(&kitchen.path("by-name")), ["first.bin", "second.bin"]);
    assert_holds(&kitchen.path("by-name/second.bin"), &content("two.bin"));

    // And the promise of the first block.
    let kitchen = Kitchen::new();
    kitchen.service.put_file("two.bin", b"not what was published");
    let blocks = section(TITLE);
    let done = kitchen.sh(&blocks[0].text);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("error[integrity_mismatch]"));
    assert!(!kitchen.path("iso/two.bin").exists() && kitchen.path("iso/one.bin").exists());
}

#[test]
fn a_folder_every_night() {
    let kitchen = Kitchen::new();
    kitchen.cook("A folder, every night");
    // By hand, then by cron, which found nothing new.
    assert_eq!(kitchen.read("sent.tsv").lines().count(), 2, "{}", kitchen.read("sent.tsv"));
    kitchen.home.file("outbox/three.bin", &content("three.bin"));
    kitchen.home.file("outbox/copy of one.bin", &content("one.bin"));
    assert!(kitchen.sh("bin/nightly").status.success());
    let sent = kitchen.read("sent.tsv");
    assert!(sent.lines().count() == 3 && sent.contains("three.bin"), "{sent}");
}

#[test]
fn results_by_jq() {
    if !has_jq() {
        return;
    }
    let kitchen = Kitchen::new();
    kitchen.cook("Results by jq");
    let table = kitchen.read("assets.tsv");
    assert!(table.contains("\t50000\tone.bin") && table.contains("\t50000\ttwo.bin"), "{table}");
    assert_eq!(kitchen.read("failures.txt"), "");
    assert_eq!(kitchen.read("bytes.txt"), "100000\n");
}

#[test]
fn is_this_file_already_there() {
    if !has_jq() {
        return;
    }
    let kitchen = Kitchen::new();
    kitchen.cook("Is this file already there?");
    let (sent, known) = (kitchen.read("sent.tsv"), kitchen.read("known.txt"));
    assert_eq!(sent.split('\t').next(), Some(known.trim_end()));
}

#[test]
fn a_backup_of_the_library() {
    let kitchen = Kitchen::new();
    kitchen.cook("A backup of the library");
    let (sent, back) = (kitchen.read("sent.tsv"), kitchen.read("assets.ndjson"));
    assert_eq!(back.lines().count(), 2, "{back}");
    assert!(sent.lines().all(|line| back.contains(line.split('\t').next().unwrap())), "{sent}{back}");
}
