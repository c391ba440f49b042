//! Programs run in turns, and what each took.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use super::servers::Cost;
use crate::program::{Done, output, program};

/// A program that needs longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often a running program is looked at: also the error of every time that is measured.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// From the start of the process to its end.
    pub seconds: f64,
    /// Processor time of all its threads, in seconds.
    pub cpu: f64,
    /// The most memory that it held at once, in bytes.
    pub memory: u64,
}

/// Runs a program to its end. `complaints` takes what it writes to stderr.
pub fn run(command: &mut Command, complaints: &Path) -> Done<Run> {
    watch(command, complaints, PATIENCE, &mut |_, _| {})?.ok_or_else(|| format!("{command:?} hangs"))
}

/// Runs a program, letting `look` see it (by its process id and its age) now and then. `None` if it had to be ended
/// because it took longer than `limit`.
pub fn watch(
    command: &mut Command,
    complaints: &Path,
    limit: Duration,
    look: &mut dyn FnMut(u32, Duration),
) -> Done<Option<Run>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stderr = File::create(complaints).map_err(|error| format!("writing {name}'s stderr: {error}"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let started = Instant::now();
    let mut process = command.spawn().map_err(|error| format!("`{name}` did not start: {error}"))?;
    loop {
        let ended = process.try_wait4().map_err(|error| format!("waiting for `{name}`: {error}"))?;
        let age = started.elapsed();
        if let Some(used) = ended {
            if !used.status.success() {
                let said = std::fs::read_to_string(complaints).unwrap_or_default();
                return Err(format!("`{name}` ended with {}:\n{}", used.status, said.trim_end()));
            }
            return Ok(Some(Run {
                seconds: age.as_secs_f64(),
                cpu: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
                memory: used.rusage.maxrss,
            }));
        }
        if age > limit {
            let _ = process.kill();
            let _ = process.wait();
            return Ok(None);
        }
        look(process.id(), age);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A program that takes part in a race.
pub struct Contender<'a> {
    /// As it stands in the tables: `ferry`, `curl -T`.
    pub name: &'static str,
    /// Makes the command; called before every run.
    pub command: Box<dyn Fn() -> Done<Command> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender.
    pub fn new(name: &'static str, command: impl Fn() -> Done<Command> + 'a) -> Self {
        Self { name, command: Box::new(command) }
    }

    /// The contender, if its program is installed; else a line that says that it is not.
    pub fn peer(self, notes: &mut Vec<String>) -> Option<Self> {
        let program = self.name.split(' ').next().unwrap_or(self.name);
        if crate::program::find(program).is_some() {
            return Some(self);
        }
        notes.push(format!("`{program}` is not installed: not measured."));
        None
    }
}

/// Contenders that do the same work.
pub struct Race<'a> {
    /// Who runs.
    pub contenders: Vec<Contender<'a>>,
    /// Makes everything as it was; not timed.
    pub before: &'a dyn Fn() -> Done,
    /// Looks at what the run brought, and at what it cost the server; not timed.
    pub after: &'a dyn Fn() -> Done<Cost>,
}

/// All runs of one contender.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Its name.
    pub name: &'static str,
    /// What each run took.
    pub runs: Vec<Run>,
    /// What the dearest run cost the server.
    pub cost: Cost,
}

/// Median, least and most.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of some values; zeros if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
            return Self { median: 0.0, least: 0.0, most: 0.0 };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, least, most }
    }
}

impl Samples {
    /// Of the time from start to end.
    pub fn seconds(&self) -> Spread {
        Spread::of(self.runs.iter().map(|run| run.seconds))
    }

    /// Of the processor time.
    pub fn cpu(&self) -> Spread {
        Spread::of(self.runs.iter().map(|run| run.cpu))
    }

    /// The most memory that any run held, in bytes.
    pub fn memory(&self) -> u64 {
        self.runs.iter().map(|run| run.memory).max().unwrap_or_default()
    }
}

/// One round to warm up, then `rounds` that count: A B C, A B C, … so that what the machine does besides hits all alike.
pub fn race(rounds: usize, complaints: &Path, race: &Race<'_>) -> Done<Vec<Samples>> {
    let mut all: Vec<Samples> = race
        .contenders
        .iter()
        .map(|contender| Samples { name: contender.name, runs: Vec::new(), cost: Cost::default() })
        .collect();
    for round in 0..=rounds {
        for (contender, samples) in race.contenders.iter().zip(&mut all) {
            (race.before)()?;
            // What the one before left to be written is not to slow this one down.
            settle();
            let run = run(&mut (contender.command)()?, complaints)?;
            let cost = (race.after)().map_err(|why| format!("{}: {why}", contender.name))?;
            if round > 0 {
                samples.runs.push(run);
                samples.cost = samples.cost.dearest(cost);
            }
        }
    }
    (race.before)()?;
    Ok(all)
}

/// Lets the system write down what it still holds.
pub fn settle() {
    // Without the program there is only more noise.
    let _ = output(&mut program("sync"));
}

/// The memory that a process holds now, in bytes; `None` where the system does not tell.
pub fn memory_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle_whatever_the_order() {
        for (values, median) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0), (vec![], 0.0)] {
            let spread = Spread::of(values.clone());
            assert!((spread.median - median).abs() < 1e-9, "{values:?}: {spread:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_run_tells_its_time_and_memory_and_a_failure_tells_why() {
        let folder = std::env::temp_dir().join(format!("ferry-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let complaints = folder.join("stderr");
        let slept = run(Command::new("sh").args(["-c", "sleep 0.2"]), &complaints).unwrap();
        assert!(slept.seconds >= 0.2 && slept.cpu < slept.seconds && slept.memory > 0, "{slept:?}");
        let failed =
            run(Command::new("sh").args(["-c", "echo no disk >&2; exit 3"]), &complaints).unwrap_err();
        assert!(failed.contains("no disk"), "{failed}");
        let mut looks = 0;
        let limit = Duration::from_millis(100);
        let hung =
            watch(Command::new("sleep").arg("60"), &complaints, limit, &mut |_, _| looks += 1).unwrap();
        assert!(hung.is_none() && looks > 0);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
