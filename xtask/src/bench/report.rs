//! What came of it, on the terminal and as `docs/benchmarks.md`: from the same tables.

use std::fmt::Write as _;
use std::path::Path;

use super::measure::Samples;
use super::peers::Machine;
use super::{BUDGETS, Budget, Scenario, mib, plot};
use crate::program::Done;

/// What one scenario came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be measured, and why.
    pub notes: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// What the budgets say.
    pub checks: Vec<Check>,
    /// The same for the eye.
    pub groups: Vec<Group>,
}

/// A table: a heading for each column, and rows.
#[derive(Debug)]
pub struct Table {
    caption: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With its headings.
    pub fn new(caption: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|&word| word.to_owned()).collect();
        Self { caption: caption.to_owned(), rows: vec![head] }
    }

    /// Adds a row; cells that are left out are empty.
    pub fn push(&mut self, row: impl Into<Vec<String>>) {
        let mut row = row.into();
        row.resize(self.rows[0].len(), String::new());
        self.rows.push(row);
    }

    /// In Markdown, which is readable on a terminal too when its columns are `aligned`. On the page they are not, so that
    /// a new run changes nothing but figures.
    fn markdown(&self, aligned: bool) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().filter(|_| aligned).unwrap_or_default().max(3)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = format!("**{}**\n\n", self.caption);
        for (number, row) in self.rows.iter().enumerate() {
            // Words stand left, figures right.
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()) * usize::from(aligned));
                let _ = if column == 0 {
                    write!(text, "| {cell}{space} ")
                } else {
                    write!(text, "| {space}{cell} ")
                };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - 1);
                    let _ =
                        if column == 0 { write!(text, "| -{dashes} ") } else { write!(text, "| {dashes}: ") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// A budget and what was measured.
#[derive(Debug, Clone)]
pub struct Check {
    /// The budget.
    pub budget: Budget,
    /// Which of several that it is about.
    pub about: String,
    /// What was measured, in the budget's unit.
    pub value: f64,
}

impl Check {
    fn kept(&self) -> bool {
        // What stands in the table decides: 1.004 is shown as 1.00.
        (self.value * 100.0).round() <= self.budget.most * 100.0
    }

    fn with_unit(&self, value: f64) -> String {
        match self.budget.unit {
            "×" => format!("{value:.2} ×"),
            "" => format!("{value:.0}"),
            unit => format!("{value:.2} {unit}"),
        }
    }
}

/// Bars that belong together.
#[derive(Debug)]
pub struct Group {
    /// Above them.
    pub title: String,
    /// Of the values.
    pub unit: &'static str,
    /// In their order.
    pub bars: Vec<Bar>,
}

/// One bar: the median, with the least and the most.
#[derive(Debug)]
pub struct Bar {
    /// Beside it.
    pub name: String,
    /// How long it is.
    pub median: f64,
    /// Where its whisker begins.
    pub least: f64,
    /// Where it ends.
    pub most: f64,
    /// Whether it is Ferry's.
    pub ours: bool,
}

/// The table of a race in which `bytes` were to be moved.
pub fn race_table(caption: &str, samples: &[Samples], bytes: u64) -> Table {
    let head = [
        "",
        "seconds",
        "min–max",
        "MiB/s",
        "to ferry",
        "cpu (s)",
        "MiB held",
        "requests",
        "connections",
        "bytes again",
    ];
    let mut table = Table::new(caption, &head);
    let ours = samples.first().map_or(1.0, |samples| samples.seconds().median);
    for one in samples {
        let seconds = one.seconds();
        let again = (one.cost.bytes as f64 / bytes as f64 - 1.0).max(0.0) * 100.0;
        table.push([
            one.name.to_owned(),
            format!("{:.2}", seconds.median),
            format!("{:.2}–{:.2}", seconds.least, seconds.most),
            format!("{:.0}", mib(bytes) / seconds.median),
            format!("{:.2} ×", seconds.median / ours),
            format!("{:.2}", one.cpu().median),
            format!("{:.1}", mib(one.memory())),
            one.cost.requests.to_string(),
            one.cost.connections.to_string(),
            format!("{again:.2} %"),
        ]);
    }
    table
}

/// The bars of a race.
pub fn race_group(title: &str, samples: &[Samples]) -> Group {
    let bar = |one: &Samples| {
        let seconds = one.seconds();
        let ours = one.name.starts_with("ferry") || samples.iter().all(|one| !one.name.starts_with("ferry"));
        Bar {
            name: one.name.to_owned(),
            median: seconds.median,
            least: seconds.least,
            most: seconds.most,
            ours,
        }
    };
    Group { title: title.to_owned(), unit: "s", bars: samples.iter().map(bar).collect() }
}

/// One scenario on the terminal.
pub fn print(outcome: &Outcome) {
    for note in &outcome.notes {
        println!("{note}");
    }
    for table in &outcome.tables {
        println!("\n{}", table.markdown(true).trim_end());
    }
}

/// Everything that a run came to.
pub struct Report {
    /// What it was measured on.
    pub machine: Machine,
    /// Bytes of the one large file.
    pub size: u64,
    /// Rounds that counted.
    pub rounds: usize,
    /// Each scenario that was run.
    pub outcomes: Vec<(&'static Scenario, Outcome)>,
}

impl Report {
    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.outcomes.iter().flat_map(|(_, outcome)| &outcome.checks)
    }

    /// How many budgets were missed.
    pub fn missed(&self) -> usize {
        self.checks().filter(|check| !check.kept()).count()
    }

    /// The budgets on the terminal.
    pub fn print_budgets(&self) {
        println!("\n{}", self.budgets().markdown(true).trim_end());
    }

    fn budgets(&self) -> Table {
        let mut table = Table::new("Budgets", &["what", "measured", "at most", "kept"]);
        // In the order of the budgets, so that those about one thing stand together.
        for budget in BUDGETS {
            for check in self.checks().filter(|check| check.budget.key == budget.key) {
                table.push([
                    format!("{}: {}", budget.what, check.about),
                    check.with_unit(check.value),
                    check.with_unit(budget.most),
                    if check.kept() { "yes" } else { "**no**" }.to_owned(),
                ]);
            }
        }
        table
    }

    /// Writes `benchmarks.md` and `benchmarks.svg` into a folder.
    pub fn write(&self, folder: &Path) -> Done {
        for (name, text) in [("benchmarks.md", self.page()), ("benchmarks.svg", plot::draw(&self.groups()))] {
            let file = folder.join(name);
            std::fs::write(&file, text).map_err(|error| format!("writing {}: {error}", file.display()))?;
            println!("written: docs/{name}");
        }
        Ok(())
    }

    fn groups(&self) -> Vec<&Group> {
        self.outcomes.iter().flat_map(|(_, outcome)| &outcome.groups).collect()
    }

    fn page(&self) -> String {
        let size = format!("{:.0} MiB", mib(self.size));
        let mut text = format!(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench --write`; the words are in `xtask/src/bench/`, so do not edit them here.\n\n\
             Everything runs on one machine over loopback: no network hides what the programs cost. In each scenario \
             the programs take turns (A B C, A B C, …): one round to warm up, then {} that count (fewer where the \
             server decides the time). Before each run the target is removed and the system is told to write \
             down what it holds, so that nobody pays for the one before. Times are from the start of the process to \
             its end: medians, with the least and the most. Ratios are of medians in the same run.\n\n\
             The peers write a file and end. Ferry also proves it (checksum or length), makes it durable and gives it \
             its name only then; that is in its times.\n\n\
             ![Times of all scenarios as bars; the tables below hold the same figures](benchmarks.svg)\n\n\
             ## Machine\n\n| | |\n|---|---|\n",
            self.rounds
        );
        for (name, value) in &self.machine.facts {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        let _ = write!(text, "\n## Budgets\n\n{}", self.budgets().markdown(false));
        let missed = |budget: &&Budget| {
            self.checks().any(|check| check.budget.key == budget.key && !check.kept())
                && !budget.because.is_empty()
        };
        for budget in BUDGETS.iter().filter(missed) {
            let _ = write!(text, "\nNot kept: {}. {}\n", budget.what, budget.because);
        }
        for (scenario, outcome) in &self.outcomes {
            let about = scenario.about.replace("{size}", &size);
            let _ =
                write!(text, "\n## {}\n\n`cargo xtask bench {}`: {about}\n", scenario.title, scenario.name);
            for note in &outcome.notes {
                let _ = write!(text, "\n{note}\n");
            }
            for table in &outcome.tables {
                let _ = write!(text, "\n{}", table.markdown(false));
            }
        }
        text.push_str(
            "\n## Reading the tables\n\n\
             `to ferry`: the time of this line in times of Ferry's. `cpu`: processor time of the program itself, all \
             threads. `MiB held`: the most memory at once. `requests`, `connections`, `bytes again`: counted from the \
             server's log, the dearest run; bytes again are those of all bodies beyond the file's own size, as a share \
             of it.\n",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_by_what_the_table_shows() {
        let budget = BUDGETS[0];
        let kept = |value: f64| Check { budget, about: String::new(), value }.kept();
        assert!(kept(budget.most) && kept(budget.most + 0.004));
        assert!(!kept(budget.most + 0.006));
    }

    #[test]
    fn a_new_run_changes_only_figures_of_the_page() {
        let page = |figure: &str| {
            let mut table = Table::new("Down", &["", "seconds"]);
            table.push(["ferry", figure].map(str::to_owned));
            table.markdown(false).replace(figure, "#")
        };
        assert_eq!(page("9.9"), page("1000.25"));
    }
}
