//! The floors of the house: which part may use which. Arrows point down only, and parts of one floor make no circle.
//!
//! A part is a file or a folder right below a tree's root. What a part uses is read from its sources as text: `use` of
//! `crate::…` and of a relative path, and paths that begin with `crate::`; in the page `from './…'`. Tests beside the code may
//! use what they like. Arrows that are known to be wrong stand in `xtask/floors.known`, which may only become shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::program::{Done, root};

/// A tree of sources and its floors, the lowest first.
struct House {
    name: &'static str,
    root: &'static str,
    floors: &'static [&'static [&'static str]],
}

const HOUSES: [House; 5] = [
    House {
        name: "engine",
        root: "src-tauri/engine/src",
        floors: &[
            &[
                "asset",
                "curve",
                "error",
                "foreign",
                "language",
                "memory",
                "redaction",
                "seams",
                "search",
                "secret",
                "service",
                "shell_command",
                "transfer",
                "turns",
                "units",
                "unseen",
                "upload_method",
                "words",
            ],
            &["filename"],
            &["http"],
            &["files"],
            &["library_copy", "library_file", "resume", "settings", "store", "task"],
            &["secrets", "services"],
            &["requests"],
            &["lane", "progress", "rows", "run", "speed_limit", "terms"],
            &["download", "upload"],
            &["queue"],
            &["deep_link", "engine"],
            &["list"],
            &["api"],
            &["fuzzing"],
        ],
    },
    House {
        name: "terminal",
        root: "src-tauri/cli/src",
        floors: &[
            &["arguments", "bars", "clock", "interrupt", "log", "report", "size", "standing"],
            &["follow"],
            &["commands"],
        ],
    },
    House {
        name: "page",
        root: "ui/src",
        floors: &[
            &["engine", "styles"],
            &["words"],
            &["primitives"],
            &["window"],
            &["services"],
            &["transfers"],
            &["library", "settings"],
            &["app"],
        ],
    },
    // Of these two only circles are looked for.
    House { name: "sandbox", root: "src-tauri/sandbox/src", floors: &[] },
    House { name: "window", root: "src-tauri/src", floors: &[] },
];

/// An arrow from one part of a house to another.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// Fails on an arrow up or a circle that is not known, and on a known one that is gone.
pub fn check() -> Done {
    let known = fs::read_to_string(root().join("xtask/floors.known")).map_err(|error| error.to_string())?;
    let mut known: BTreeSet<&str> =
        known.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut wrong = String::new();
    for house in &HOUSES {
        for fault in faults(house, &arrows(&root().join(house.root))?) {
            if !known.remove(fault.as_str()) {
                let _ = writeln!(wrong, "{fault}");
            }
        }
    }
    for gone in known {
        let _ = writeln!(wrong, "{gone}: is no more; take the line out of xtask/floors.known");
    }
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text =
            fs::read_to_string(root().join(document)).map_err(|error| format!("{document}: {error}"))?;
        for path in paths_named(&text).into_iter().filter(|path| !root().join(path).exists()) {
            let _ = writeln!(wrong, "{document} names {path}, which is not there");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The paths below the repository's root that a document names between backticks.
fn paths_named(text: &str) -> BTreeSet<&str> {
    let named = text.split('`').skip(1).step_by(2);
    named
        .filter(|word| {
            ["src-tauri/", "ui/", "tests/", "xtask/", "docs/"].iter().any(|top| word.starts_with(top))
        })
        .filter(|word| !word.contains(char::is_whitespace))
        .collect()
}

/// What is wrong with the arrows of a house, one line each.
fn faults(house: &House, arrows: &Arrows) -> BTreeSet<String> {
    let mut faults = BTreeSet::new();
    let floor = |part: &str| house.floors.iter().position(|floor| floor.contains(&part));
    for ((from, to), files) in arrows {
        let line = |what: &str| format!("{}: {from} -> {to}, {what}", house.name);
        match (floor(from), floor(to)) {
            (Some(below), Some(above)) if above > below => {
                faults.insert(line("up"));
            }
            (None, _) if !house.floors.is_empty() => {
                faults.insert(format!(
                    "{}: {from} ({}) stands on no floor of xtask/src/floors.rs",
                    house.name,
                    any(files)
                ));
            }
            (from_floor, to_floor) if from_floor == to_floor && leads_back(arrows, to, from, &floor) => {
                faults.insert(line("in a circle"));
            }
            _ => {}
        }
    }
    faults
}

fn any(files: &BTreeSet<String>) -> &str {
    files.first().map_or("", String::as_str)
}

/// Whether a way of arrows on one floor leads from one part to another.
fn leads_back(arrows: &Arrows, from: &str, to: &str, floor: &impl Fn(&str) -> Option<usize>) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(here) = next.pop() {
        if here == to {
            return true;
        }
        for (start, end) in arrows.keys() {
            if start == here && floor(end) == floor(to) && seen.insert(end) {
                next.push(end);
            }
        }
    }
    false
}

/// The arrows between the parts of a tree, each with the files that it starts from.
fn arrows(tree: &Path) -> Result<Arrows, String> {
    let mut files = Vec::new();
    collect(tree, &mut files).map_err(|error| format!("{}: {error}", tree.display()))?;
    let parts: BTreeSet<String> = files.iter().filter_map(|file| part_of(tree, file)).collect();
    let mut arrows = Arrows::new();
    for file in &files {
        let Some(from) = part_of(tree, file) else { continue };
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let used = if file.extension().is_some_and(|end| end == "rs") {
            let depth = depth_of(tree, file);
            used_by_rust(&text, depth)
        } else {
            used_by_page(tree, file, &text)
        };
        for to in used.into_iter().filter(|to| *to != from && parts.contains(to)) {
            let name = file.strip_prefix(tree).unwrap_or(file).display().to_string();
            arrows.entry((from.clone(), to)).or_default().insert(name);
        }
    }
    Ok(arrows)
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            // Made by a tool from ui/messages.
            if !path.ends_with("paraglide") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs" || end == "ts" || end == "svelte") {
            files.push(path);
        }
    }
    Ok(())
}

/// The part of a house that a file belongs to; none for a tree's own first files, which know all parts.
fn part_of(tree: &Path, file: &Path) -> Option<String> {
    let inner = file.strip_prefix(tree).ok()?;
    let first = inner.components().next()?.as_os_str().to_str()?;
    let first = first.split('.').next()?;
    let is_start = inner.components().count() == 1 && matches!(first, "lib" | "main");
    (!is_start).then(|| first.to_owned())
}

/// How many modules down a Rust file's own module lies: 1 for `a.rs` and `a/mod.rs`, 2 for `a/b.rs`.
fn depth_of(tree: &Path, file: &Path) -> usize {
    let inner = file.strip_prefix(tree).unwrap_or(file);
    let folders = inner.components().count() - 1;
    if inner.ends_with("mod.rs") { folders } else { folders + 1 }
}

/// The parts that a Rust file names, by `crate::part` and by as many `super::` as lead to the root.
fn used_by_rust(text: &str, depth: usize) -> BTreeSet<String> {
    let code = code_of(text);
    let mut used = BTreeSet::new();
    let up = "super::".repeat(depth);
    for start in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_' || sign == ':') {
                continue;
            }
            names_after(&code[at + start.len()..], &mut used);
        }
    }
    used
}

/// The first names of a path, or of each branch where it opens into braces.
fn names_after(rest: &str, used: &mut BTreeSet<String>) {
    let name = |text: &str| {
        text.chars().take_while(|sign| sign.is_alphanumeric() || *sign == '_').collect::<String>()
    };
    let Some(inside) = rest.strip_prefix('{') else {
        used.insert(name(rest));
        return;
    };
    let (mut depth, mut is_start) = (0, true);
    for (at, sign) in inside.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            sign if depth == 0 && is_start && !sign.is_whitespace() => {
                used.insert(name(&inside[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
}

/// A Rust file without its comments and without the tests at its end.
fn code_of(text: &str) -> String {
    let text = text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at]);
    let lines = text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
    lines.collect::<Vec<_>>().join("\n")
}

/// The parts that a file of the page imports.
fn used_by_page(tree: &Path, file: &Path, text: &str) -> BTreeSet<String> {
    let folder = file.parent().unwrap_or(tree);
    let quoted = text.split("from '").skip(1).chain(text.split("import '").skip(1));
    let named = quoted.filter_map(|rest| rest.split('\'').next()).filter(|path| path.starts_with('.'));
    let whole = named.map(|path| {
        let mut whole = folder.to_owned();
        for step in path.split('/') {
            match step {
                "." => {}
                ".." => {
                    whole.pop();
                }
                step => whole.push(step),
            }
        }
        whole
    });
    whole.filter_map(|path| part_of(tree, &path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House =
        House { name: "house", root: "", floors: &[&["cellar", "well"], &["kitchen"], &["attic"]] };

    fn told(pairs: &[(&str, &str)]) -> Vec<String> {
        let arrows =
            pairs.iter().map(|(a, b)| ((String::from(*a), String::from(*b)), BTreeSet::new())).collect();
        faults(&HOUSE, &arrows).into_iter().collect()
    }

    #[test]
    fn arrows_down_are_fine_and_arrows_up_are_told() {
        assert!(told(&[("attic", "cellar"), ("kitchen", "well"), ("cellar", "well")]).is_empty());
        assert_eq!(told(&[("cellar", "attic")]), ["house: cellar -> attic, up"]);
    }

    #[test]
    fn a_circle_on_one_floor_is_told_with_both_its_arrows() {
        let circle = ["house: cellar -> well, in a circle", "house: well -> cellar, in a circle"];
        assert_eq!(told(&[("cellar", "well"), ("well", "cellar")]), circle);
    }

    #[test]
    fn the_paths_of_a_document_are_those_of_the_repository() {
        let text = "`ui/src` and `a.rs`, `src-tauri/x.rs`, `ui/a b`\n```sh\ntests/y\n```\n`docs/z.md`";
        assert_eq!(
            paths_named(text).into_iter().collect::<Vec<_>>(),
            ["docs/z.md", "src-tauri/x.rs", "ui/src"]
        );
    }

    #[test]
    fn a_part_without_a_floor_is_told() {
        assert_eq!(told(&[("shed", "cellar")]).len(), 1);
    }

    #[test]
    fn what_a_file_uses_is_read_from_uses_and_from_paths() {
        let text = "use crate::{files::{folder, part_file}, http, words as w};\n// crate::comment::no\n\
                    fn f() { crate::store::open(); super::super::queue::go(); super::near(); }\n\
                    #[cfg(test)]\nmod tests { use crate::engine::Engine; }";
        let used: Vec<_> = used_by_rust(text, 2).into_iter().collect();
        assert_eq!(used, ["files", "http", "queue", "store", "words"]);
    }

    #[test]
    fn what_a_file_of_the_page_uses_is_read_from_its_imports() {
        let (tree, file) = (Path::new("ui/src"), Path::new("ui/src/views/Library.svelte"));
        let text = "import { a } from '../format';\nimport Row from '../components/Row.svelte';\nimport { b } from 'svelte';";
        let used: Vec<_> = used_by_page(tree, file, text).into_iter().collect();
        assert_eq!(used, ["components", "format"]);
    }
}
