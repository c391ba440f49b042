//! Steps that all run, whatever became of the ones before, and the list of what came of them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::program::Done;

/// The steps so far.
#[derive(Debug, Default)]
pub struct Steps {
    filter: Option<String>,
    done: Vec<(String, Duration, Done)>,
}

impl Steps {
    /// Only steps whose name holds the filter will run.
    pub fn new(filter: Option<String>) -> Self {
        Self { filter, done: Vec::new() }
    }

    /// Runs a step.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Done) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        println!("\n=== {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        match &result {
            Ok(()) => println!("=== {name}: passed in {:.1} s", took.as_secs_f64()),
            Err(why) => println!("=== {name}: FAILED in {:.1} s: {why}", took.as_secs_f64()),
        }
        self.done.push((name.to_owned(), took, result));
    }

    /// Prints the list; its last line is `N passed, N failed`.
    pub fn finish(self) -> ExitCode {
        println!("\nSummary");
        for (name, took, result) in &self.done {
            let word = if result.is_ok() { "passed" } else { "FAILED" };
            println!("  {word}  {:>7.1} s  {name}", took.as_secs_f64());
        }
        let failed = self.done.iter().filter(|(_, _, result)| result.is_err()).count();
        for (name, _, result) in &self.done {
            if let Err(why) = result {
                println!("\n{name}:\n  {}", why.trim_end().replace('\n', "\n  "));
            }
        }
        let all: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("\n{} min {} s in all", all.as_secs() / 60, all.as_secs() % 60);
        println!("{} passed, {failed} failed", self.done.len() - failed);
        // A filter that no step matches has proven nothing.
        if failed == 0 && !self.done.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
