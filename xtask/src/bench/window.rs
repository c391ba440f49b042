//! The real window, on a display of its own: how soon it shows, what it costs when nothing moves and when much does.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::{add, fill};
use super::report::{Outcome, Table};
use super::{Bench, check, make};
use crate::program::{self, Done, built, cargo, program, root};

/// Rows of the long list.
const ROWS: usize = 100_000;
/// Of these, so many are slow and large, and run.
const RUNNING: usize = 6;
/// Starts of the empty window; the quickest counts, as the others measure what else the machine did.
const STARTS: usize = 3;

/// Builds the window for release, and measures it empty and with the long list.
pub fn run(bench: &Bench) -> Done<Outcome> {
    let mut outcome = Outcome::default();
    if !cfg!(target_os = "linux") {
        outcome.notes.push("The window is measured on Linux only.".to_owned());
        return Ok(outcome);
    }
    crate::page::build()?;
    program::run(cargo().args(["build", "--release", "-p", "ferry-desktop", "--locked"]))?;

    let empty = bench.folder.join("window-empty");
    let settings = json!({
        "welcomed": true, "concurrent_downloads": RUNNING, "connections": 1, "keep_awake": false,
        "downloads_folder": bench.fetched(),
    });
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let _ = std::fs::remove_dir_all(&empty);
        make(&empty)?;
        write(&empty.join("settings.json"), &settings.to_string())?;
        starts.push(measure(bench, &empty, 0, 0)?);
    }
    let first_paint = |figures: &Value| number(figures, "/first_paint");
    starts.sort_by(|one, other| first_paint(one).total_cmp(&first_paint(other)));

    let full = bench.folder.join("window-full");
    bench.sandbox.fault(&json!({"fault": "silence", "path": "/generate/9/"}))?;
    bench
        .sandbox
        .fault(&json!({"fault": "slow", "bytes_per_second": 1_000_000, "path": "/generate/300000000/"}))?;
    make(&full)?;
    write(&full.join("settings.json"), &settings.to_string())?;
    let mut large = bench.ferry_in(&full);
    large.args(["download", "--dir"]).arg(bench.fetched());
    large.args((0..RUNNING).map(|number| format!("{}/generate/300000000/{number}.bin", bench.sandbox.url)));
    add(large, RUNNING, Duration::from_secs(60))?;
    fill(bench, &full, ROWS - RUNNING)?;
    let long = measure(bench, &full, ROWS, RUNNING)?;
    bench.sandbox.heal()?;

    outcome.tables.push(starting(&starts[0], &long));
    outcome.tables.push(working(&long));
    outcome.tables.push(views(&long));
    let busy = number(&long, "/busy/most_in_a_second").max(number(&long, "/scrolling/most_in_a_second"));
    let more = number(&long, "/memory") - number(&starts[0], "/memory");
    for (key, about, value) in [
        ("first-paint", "empty", first_paint(&starts[0])),
        ("window-messages", "six running", busy),
        ("window-idle-messages", "all paused", number(&long, "/idle/messages")),
        ("window-idle", "all paused", number(&long, "/idle/cpu")),
        ("window-memory", "all processes", more),
        ("window-frames", "scrolling, six running", number(&long, "/scrolling/frames/median")),
    ] {
        outcome.checks.extend(check(key, about, value));
    }
    Ok(outcome)
}

fn starting(empty: &Value, long: &Value) -> Table {
    let mut table = Table::new(
        "Start, and rest",
        &["", "first paint (s)", "memory (MiB)", "CPU at rest (%)", "messages at rest"],
    );
    for (name, figures) in [("empty", empty), ("100,000 rows", long)] {
        table.push([
            name.to_owned(),
            format!("{:.2}", number(figures, "/first_paint")),
            format!("{:.0}", number(figures, "/memory")),
            format!("{:.1}", number(figures, "/idle/cpu")),
            format!("{:.0}", number(figures, "/idle/messages")),
        ]);
    }
    table
}

fn working(long: &Value) -> Table {
    let mut table = Table::new(
        "100,000 rows, six of them running",
        &[
            "",
            "messages a second, most",
            "bytes a message",
            "page’s thread a message (ms)",
            "CPU, all processes (%)",
            "frame, median (ms)",
            "frame, worst (ms)",
            "frames over 25 ms",
            "frames with an empty place",
        ],
    );
    for (name, part) in [("looking on", "busy"), ("scrolling", "scrolling")] {
        let figure = |name: &str| number(long, &format!("/{part}/{name}"));
        let mut row = vec![
            name.to_owned(),
            format!("{:.0}", figure("most_in_a_second")),
            format!("{:.0}", figure("bytes")),
            format!("{:.1}", figure("page_ms_a_message")),
            format!("{:.0}", figure("cpu")),
        ];
        if part == "scrolling" {
            row.extend([
                format!("{:.1}", figure("frames/median")),
                format!("{:.0}", figure("frames/worst")),
                format!("{:.0} of {:.0}", figure("frames/late"), figure("frames/count")),
                format!("{:.0}", figure("frames/empty")),
            ]);
        }
        table.push(row);
    }
    table
}

fn views(long: &Value) -> Table {
    let title = format!(
        "100,000 rows shown otherwise, from the page and back; an answer of 120 rows has {:.0} bytes",
        number(long, "/views/bytes")
    );
    let mut table = Table::new(&title, &["", "ms"]);
    for (name, view) in [
        ("scrolled to the middle", "scrolled"),
        ("filtered", "filtered"),
        ("searched", "searched"),
        ("by name", "by_name"),
        ("by size", "by_size"),
        ("the last row to the front of the queue, until it is told", "moved"),
        ("all selected", "selected"),
    ] {
        table.push([name.to_owned(), format!("{:.0}", number(long, &format!("/views/{view}")))]);
    }
    table
}

/// Opens the window on a data folder, as `tests/desktop/measure.mjs` says.
fn measure(bench: &Bench, data: &Path, rows: usize, running: usize) -> Done<Value> {
    let figures = bench.folder.join("window.json");
    let _ = std::fs::remove_file(&figures);
    let mut node = program("node");
    node.arg(root().join("tests/desktop/measure.mjs")).arg(data);
    node.args([rows.to_string(), running.to_string()]).arg(&figures);
    program::run(node.env("FERRY_DESKTOP", built("release", "ferry-desktop")))?;
    let text = std::fs::read_to_string(&figures).map_err(|error| format!("the window's figures: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("the window's figures: {error}"))
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn write(path: &Path, text: &str) -> Done {
    std::fs::write(path, text).map_err(|error| format!("writing {}: {error}", path.display()))
}
