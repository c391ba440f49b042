//! What must hold whenever Ferry is not running, however it ended: the promises of `docs/reliability.md`, checked by
//! one function.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::files::{all_below, names};
use super::home::Home;

/// The rest of a name while its bytes are not proven.
const PART: &str = ".ferrypart";

/// What is known to be true of a home, from outside.
#[derive(Default)]
pub struct Truth {
    /// What a name in the Downloads folder must hold, by the name without its number.
    downloads: BTreeMap<String, Vec<u8>>,
    /// Files that are none of Ferry's business, with everything that would show a change.
    untouched: BTreeMap<PathBuf, (Vec<u8>, SystemTime)>,
    /// Ids that the library was ever seen to hold.
    library: BTreeSet<String>,
    /// Asset ids that were written down for an unfinished transfer.
    assets: BTreeMap<u64, String>,
}

/// What Ferry itself says when asked.
pub struct Told {
    /// The rows of the queue.
    pub rows: Vec<Value>,
    /// The rows of the library.
    pub assets: Vec<Value>,
}

impl Told {
    /// A row.
    pub fn row(&self, id: u64) -> Option<&Value> {
        self.rows.iter().find(|row| row["id"] == id)
    }

    /// Bytes that a row says are there; 0 when it is not on the list.
    pub fn bytes(&self, id: u64) -> u64 {
        self.row(id).and_then(|row| row["bytes"].as_u64()).unwrap_or(0)
    }
}

impl Truth {
    /// A download of this name, if it is under a final name at all, holds these bytes.
    pub fn will_download(&mut self, name: &str, bytes: Vec<u8>) {
        self.downloads.insert(name.to_owned(), bytes);
    }

    /// This file stays as it is now: a source, or somebody else's.
    pub fn stays(&mut self, path: &Path) {
        self.untouched.insert(path.to_owned(), facts(path));
    }

    /// The asset id that was written down for a transfer, if there was one.
    pub fn asset_of(&self, id: u64) -> Option<&str> {
        self.assets.get(&id).map(String::as_str)
    }

    /// Checks everything that must hold, asking Ferry where only it can tell.
    #[track_caller]
    pub fn check(&mut self, home: &Home) -> Told {
        // Before Ferry has had a chance to put anything right.
        self.final_names_hold_whole_files(&home.downloads());
        for (path, before) in &self.untouched {
            let now = facts(path);
            assert!(now == *before, "{} was touched", path.display());
        }
        resume_is_private(&home.data().join("resume"));
        for (id, record) in records(&home.data()) {
            if let Some(asset) = record["asset_id"].as_str() {
                let known = self.assets.insert(id, asset.to_owned());
                assert!(
                    known.as_deref().is_none_or(|known| known == asset),
                    "transfer {id} had asset {known:?} and has {asset}: a second one without need"
                );
            }
        }

        let rows = home.ferry(["queue", "--json"]).exits(0).objects();
        for row in &rows {
            let (bytes, state) = (row["bytes"].as_u64().unwrap(), row["state"].as_str().unwrap());
            if let Some(total) = row["total"].as_u64() {
                assert!(bytes <= total, "more than all: {row}");
                assert!(state != "completed" || bytes == total, "done without all: {row}");
            }
            assert!(!matches!(state, "running" | "verifying"), "nothing runs, but: {row}");
            if state == "completed" && row["kind"] == "download" {
                let path = Path::new(row["path"].as_str().unwrap());
                assert!(path.is_file(), "completed, but not there: {row}");
            }
        }
        let assets = home.ferry(["assets", "--json"]).exits(0).objects();
        let ids: BTreeSet<String> =
            assets.iter().map(|asset| asset["asset_id"].as_str().unwrap().to_owned()).collect();
        let lost: Vec<_> = self.library.difference(&ids).collect();
        assert!(lost.is_empty(), "the library lost {lost:?}");
        self.library = ids;

        // Ferry has looked at its data folder: from here on only what is unfinished may be kept in secret.
        let unfinished: BTreeSet<u64> = rows
            .iter()
            .filter(|row| !matches!(row["state"].as_str(), Some("completed" | "canceled")))
            .filter_map(|row| row["id"].as_u64())
            .collect();
        for (id, _) in records(&home.data()) {
            assert!(unfinished.contains(&id), "the record {id} is kept although nothing needs it");
        }
        Told { rows, assets }
    }

    #[track_caller]
    fn final_names_hold_whole_files(&self, folder: &Path) {
        for path in all_below(folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(PART) || self.untouched.contains_key(&path) {
                continue;
            }
            let expected = self.downloads.get(&without_number(&name));
            let expected = expected.unwrap_or_else(|| panic!("nobody asked for {name}"));
            let found = std::fs::read(&path).unwrap();
            assert_eq!(found.len(), expected.len(), "{name} is under its final name and not whole");
            assert!(found == *expected, "{name} is under its final name with wrong bytes");
        }
    }
}

/// `film (2).bin` → `film.bin`.
fn without_number(name: &str) -> String {
    let (stem, extension) = name.rsplit_once('.').map_or((name, ""), |(stem, rest)| (stem, rest));
    let plain = match stem.rsplit_once(" (") {
        Some((plain, number)) if number.trim_end_matches(')').parse::<u32>().is_ok() => plain,
        _ => stem,
    };
    if extension.is_empty() { plain.to_owned() } else { format!("{plain}.{extension}") }
}

fn facts(path: &Path) -> (Vec<u8>, SystemTime) {
    let read = |error| panic!("{}: {error}", path.display());
    (
        std::fs::read(path).unwrap_or_else(read),
        std::fs::metadata(path).and_then(|facts| facts.modified()).unwrap(),
    )
}

/// What is kept for unfinished transfers, by their ids. A record that is not yet under its name is not one yet.
pub fn records(data: &Path) -> Vec<(u64, Value)> {
    let folder = data.join("resume");
    let mut found = Vec::new();
    let mut add = |name: &str, id: &str, text: &str| {
        let id = id.parse().unwrap_or_else(|_| panic!("resume/{name}: `{id}` is no transfer"));
        let record = serde_json::from_str(text);
        found.push((id, record.unwrap_or_else(|error| panic!("resume/{name} is half-written: {error}"))));
    };
    for name in names(&folder).iter().filter(|name| !name.ends_with(".ferry-new")) {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        if !name.contains('-') {
            add(name, name, &text);
            continue;
        }
        // Of what was added together; what is blank has ended.
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (id, text) = line.split_once(' ').unwrap_or((line, ""));
            add(name, id, text);
        }
    }
    found
}

/// Nobody but the owner can enter `resume/` or read what is in it.
#[track_caller]
pub fn resume_is_private(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).map(|facts| facts.permissions().mode() & 0o777);
        let Ok(of_folder) = mode(folder) else { return };
        assert_eq!(of_folder, 0o700, "{}", folder.display());
        for file in all_below(folder) {
            // A file may go while it is looked at, if Ferry runs.
            if let Ok(of_file) = mode(&file) {
                assert_eq!(of_file, 0o600, "{}", file.display());
            }
        }
    }
    #[cfg(not(unix))]
    let _ = folder;
}
